/* SPDX-License-Identifier: MIT */
/* What --health makes of an answer: a thread plays the server, one row for each thing it says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "conf/conf.h"
#include "status/status.h"

#define QUICK_MS 200  /* for a server that says too little */
#define LONG_MS  20000

#define OK200 "HTTP/1.1 200 OK\r\n"

static const struct row {
	const char *answer;
	bool stays_open;   /* after the answer, until the client leaves */
	bool well;
	const char *said;  /* a part of the line */
} rows[] = {
	{OK200 "Content-Length: 20\r\n\r\n{\"status\":\"healthy\"}", true, true, ": healthy\n"},
	{OK200 "\r\n{\"status\":\"degraded\",\"checks\":{}}\n", false, true, ": degraded\n"},
	{OK200 "content-length:20\r\n\r\n{\"status\":\"healthy\"}HTTP/1.1 503", true, false,
	 "not that of /health"}, /* more than it announced is no document */
	{"HTTP/1.1 503 Service Unavailable\r\n\r\n{\"status\":\"unhealthy\"}", false, false,
	 "unhealthy (503)"},
	{"HTTP/1.1 503 Service Unavailable\r\n\r\n{\"status\":\"healthy\"}", false, false,
	 "healthy (503)"},
	{OK200 "\r\n{\"status\":\"unhealthy\"}", false, false, "unhealthy (200)"},
	{OK200 "\r\n{\"status\":\"splendid\"}", false, false, "(200) is not that of /health"},
	{OK200 "\r\n{\"status\":[\"healthy\"]}", false, false, "not that of /health"},
	{OK200 "\r\n[\"healthy\"]", false, false, "not that of /health"},
	{OK200 "\r\nhealthy", false, false, "not that of /health"},
	{OK200 "\r\n", false, false, "not that of /health"},
	{OK200, false, false, "not that of /health"},
	{OK200 "Content-Length: 99999999999999999999999\r\n\r\n{\"status\":\"healthy\"}", false,
	 true, ": healthy\n"},
	{"HTTP/1.1 404 Not Found\r\n\r\n", false, false, "(404) is not that of /health"},
	{"HTTP/1.1 20", false, false, "no HTTP"},
	{"HTTP/1.1 2x0 OK\r\n\r\n{\"status\":\"healthy\"}", false, false, "no HTTP"},
	{"HTTP/2.0 200 OK\r\n\r\n{\"status\":\"healthy\"}", false, false, "no HTTP"},
	{"SSH-2.0-OpenSSH_9.2\r\n", false, false, "no HTTP"},
	{"", false, false, "closed without an answer"},
	{"", true, false, "no answer within 200 ms"},
	{OK200 "Content-Length: 30\r\n\r\n{\"status\":\"healthy\"}", true, false,
	 "no answer within 200 ms"},
};

struct server {
	int fd;
	const struct row *row;    /* NULL: random bytes until the client has enough */
	char request[1024];
};

/* Reads a request to its end; whoever is asked only reads so far. */
static void read_request(struct server *s, int fd)
{
	size_t len = 0;
	ssize_t n;

	while (len + 1 < sizeof(s->request) && !strstr(s->request, "\r\n\r\n")) {
		n = recv(fd, s->request + len, sizeof(s->request) - 1 - len, 0);
		if (n <= 0)
			break;
		len += (size_t)n;
		s->request[len] = '\0';
	}
}

static void *answer(void *arg)
{
	struct server *s = arg;
	int fd = accept(s->fd, NULL, NULL);
	uint64_t x = 88172645463325252ULL;
	char byte;

	read_request(s, fd);
	if (s->row) {
		(void)send(fd, s->row->answer, strlen(s->row->answer), MSG_NOSIGNAL);
	} else {
		do {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
		} while (send(fd, &x, sizeof(x), MSG_NOSIGNAL) > 0);
	}
	if (s->row && s->row->stays_open)
		while (recv(fd, &byte, 1, 0) > 0)
			;
	close(fd);
	return NULL;
}

static void listen_at(struct server *s, struct conf_bind *b)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	socklen_t len = sizeof(in);

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(s->fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(s->fd, 1), 0);
	assert_int_equal(getsockname(s->fd, (struct sockaddr *)&in, &len), 0);
	*b = (struct conf_bind){.kind = CONF_BIND_TCP, .fd = -1};
	/* Where a server listens for everybody, it is asked at the loopback. */
	b->addr = (struct net_addr){.family = NET_V4, .port = ntohs(in.sin_port)};
}

/* Asks a server that does as `row` says; the line that came of it, to be freed. */
static char *ask(struct server *s, const char *prefix, int timeout_ms, int *ret_rc)
{
	struct conf_bind b;
	struct conf conf = {.nbinds = 1, .binds = &b, .s.status_prefix = prefix};
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	pthread_t server;

	listen_at(s, &b);
	assert_int_equal(pthread_create(&server, NULL, answer, s), 0);
	*ret_rc = status_ask_health(&conf, timeout_ms, f, f);
	pthread_join(server, NULL);
	close(s->fd);
	fclose(f);
	return text;
}

static void test_answers(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct server s = {.row = &rows[i]};
		bool waits = strstr(rows[i].said, "200 ms") != NULL;
		char *line;
		int rc;

		line = ask(&s, "", waits ? QUICK_MS : LONG_MS, &rc);
		if ((rc == 0) != rows[i].well || !strstr(line, rows[i].said))
			fail_msg("\"%s\": %d, %s", rows[i].answer, rc, line);
		assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
		free(line);
	}
}

/* An answer without end is read as far as there is room, and no further. */
static void test_garbage_without_end(void **state)
{
	struct server s = {0};
	char *line;
	int rc;

	(void)state;
	line = ask(&s, "", LONG_MS, &rc);
	assert_int_equal(rc, -1);
	assert_non_null(strstr(line, "no HTTP"));
	free(line);
}

static void test_request(void **state)
{
	static const char *const prefixes[][2] = {
		{"", "GET /health HTTP/1.1\r\nHost: 127.0.0.1:"},
		{"/_capricorn", "GET /_capricorn/health HTTP/1.1\r\nHost: 127.0.0.1:"},
		{"/a/b", "GET /a/b/health HTTP/1.1\r\nHost: 127.0.0.1:"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		struct server s = {.row = &rows[0]};
		char *line;
		int rc;

		line = ask(&s, prefixes[i][0], LONG_MS, &rc);
		assert_int_equal(rc, 0);
		assert_ptr_equal(strstr(s.request, prefixes[i][1]), s.request);
		assert_non_null(strstr(s.request, "\r\nConnection: close\r\n"));
		free(line);
	}
}

/* A byte now and then does not move the deadline. */
static void *drip(void *arg)
{
	struct server *s = arg;
	int fd = accept(s->fd, NULL, NULL);

	while (send(fd, "H", 1, MSG_NOSIGNAL) > 0)
		usleep(QUICK_MS * 1000 / 4);
	close(fd);
	return NULL;
}

static void test_drip(void **state)
{
	struct server s = {0};
	struct conf_bind b;
	struct conf conf = {.nbinds = 1, .binds = &b, .s.status_prefix = ""};
	FILE *f = fopen("/dev/null", "w");
	uint64_t begin = clock_mono_ns();
	pthread_t server;

	(void)state;
	listen_at(&s, &b);
	assert_int_equal(pthread_create(&server, NULL, drip, &s), 0);
	assert_int_equal(status_ask_health(&conf, QUICK_MS, f, f), -1);
	assert_true(clock_mono_ns() - begin < 10 * QUICK_MS * NS_PER_MS);
	pthread_join(server, NULL);
	close(s.fd);
	fclose(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_garbage_without_end),
		cmocka_unit_test(test_request),
		cmocka_unit_test(test_drip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
