/* SPDX-License-Identifier: MIT */
/*
 * A load generator that costs little: it asks, counts the bytes of the answers, asks again.
 *
 * load [-c CONNECTIONS] [-s SECONDS | -n REQUESTS] [-p DEPTH] [-C] [-F FIELD]... [-u PATH] PORT
 *
 * -p sends DEPTH requests at a time; -C asks for the end of the connection with each; -n ends after
 * so many answers (for what is counted per request). The first answer is read as HTTP; all others
 * must begin with the same status and be of the same length, so it is right only for answers of
 * constant length. Prints one line: answers, seconds, then p50, p90, p99 and the greatest latency
 * of a batch in microseconds, the bytes of an answer, errors (connections that ended, answers that
 * were not like the first). Exit status 1 when it could not measure.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LATENCY_MAX 1000000u /* us; a longer one counts as this */
#define EVENTS      512
#define START_LEN   12 /* "HTTP/1.1 200" */

struct conn {
	int fd;
	size_t got;          /* bytes of the batch that is awaited */
	unsigned long sent_us;
};

static int port, conns = 64, depth = 1, ep;
static double seconds = 1;
static unsigned long goal; /* answers; 0 = until the time is over */
static bool closes;
static const char *path = "/";
static char request[65536], start[START_LEN];
static size_t one_len, answer_len;
static struct conn *conn;
static unsigned long latency[LATENCY_MAX + 1], done, errors;
static char buf[1 << 20];

static void die(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, errno ? strerror(errno) : "not as expected");
	exit(1);
}

static unsigned long now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (unsigned long)t.tv_sec * 1000000 + (unsigned long)t.tv_nsec / 1000;
}

static int dial(void)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) != 0)
		die("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

/* ---- the first answer ---- */

/* The length of the answer that begins at p and ends with it or later; 0 = not known yet. */
static size_t length_of(const char *p)
{
	const char *end = strstr(p, "\r\n\r\n"), *field;

	if (!end)
		return 0;
	end += 4;
	field = strcasestr(p, "\r\ncontent-length:");
	if (field && field < end)
		return (size_t)(end - p) + strtoul(field + 17, NULL, 10);
	end = strcasestr(p, "\r\ntransfer-encoding: chunked") ? memmem(end, sizeof(buf) / 2,
								       "\r\n0\r\n\r\n", 7) : NULL;
	return end ? (size_t)(end + 7 - p) : 0;
}

static void learn(void)
{
	struct timeval patience = {.tv_sec = 5};
	size_t n = 0;
	int fd = dial();

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (send(fd, request, one_len, MSG_NOSIGNAL) != (ssize_t)one_len)
		die("send");
	memset(buf, 0, sizeof(buf) / 2);
	while ((answer_len = length_of(buf)) == 0 || n < answer_len) {
		ssize_t r = recv(fd, buf + n, sizeof(buf) / 2 - n, 0);

		if (r <= 0)
			die("the first answer");
		n += (size_t)r;
	}
	memcpy(start, buf, START_LEN);
	close(fd);
}

/* ---- the load ---- */

static void ask(struct conn *c)
{
	size_t len = one_len * (size_t)depth;

	c->got = 0;
	c->sent_us = now_us();
	if (send(c->fd, request, len, MSG_NOSIGNAL) != (ssize_t)len)
		errors++;
}

static void open_conn(struct conn *c)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};

	c->fd = dial();
	if (epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &ev) != 0)
		die("epoll_ctl");
	ask(c);
}

static void again(struct conn *c)
{
	close(c->fd);
	open_conn(c);
}

static void count(struct conn *c, unsigned long now)
{
	unsigned long us = now - c->sent_us;

	if (c->got != answer_len * (size_t)depth)
		errors++;
	latency[us < LATENCY_MAX ? us : LATENCY_MAX]++;
	done += (unsigned long)depth;
}

static void on_readable(struct conn *c, unsigned long now)
{
	ssize_t n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		if (closes && n == 0 && c->got > 0)
			count(c, now);
		else
			errors++;
		again(c);
		return;
	}
	if (c->got == 0 && (n < START_LEN || memcmp(buf, start, START_LEN) != 0))
		errors++;
	c->got += (size_t)n;
	if (!closes && c->got >= answer_len * (size_t)depth) {
		count(c, now);
		ask(c);
	}
}

static unsigned long quantile(double q)
{
	unsigned long batches = done / (unsigned long)depth, seen = 0, i;

	for (i = 0; i < LATENCY_MAX; i++) {
		seen += latency[i];
		if ((double)seen >= q * (double)batches && seen > 0)
			break;
	}
	return i;
}

static void run(void)
{
	static struct epoll_event ev[EVENTS];
	unsigned long begin, end, now;

	ep = epoll_create1(0);
	conn = calloc((size_t)conns, sizeof(*conn));
	for (int i = 0; i < conns; i++)
		open_conn(&conn[i]);
	begin = now = now_us();
	end = begin + (unsigned long)(seconds * 1e6);
	while (goal > 0 ? done < goal : now < end) {
		int n = epoll_wait(ep, ev, EVENTS, 200);

		now = now_us();
		if (n == 0 && now > end + 10000000)
			die("no answer for 10 s");
		for (int i = 0; i < n; i++)
			on_readable(ev[i].data.ptr, now);
	}
	printf("%lu %.6f %lu %lu %lu %lu %zu %lu\n", done, (double)(now_us() - begin) / 1e6,
	       quantile(0.5), quantile(0.9), quantile(0.99), quantile(1), answer_len, errors);
}

int main(int argc, char **argv)
{
	char fields[4096] = "";
	size_t used = 0;
	int opt;

	while ((opt = getopt(argc, argv, "c:s:n:p:CF:u:")) != -1) {
		switch (opt) {
		case 'c': conns = atoi(optarg); break;
		case 's': seconds = atof(optarg); break;
		case 'n': goal = strtoul(optarg, NULL, 10); break;
		case 'p': depth = atoi(optarg); break;
		case 'C': closes = true; break;
		case 'u': path = optarg; break;
		case 'F':
			used += (size_t)snprintf(fields + used, sizeof(fields) - used,
						 "%s\r\n", optarg);
			break;
		default: return 1;
		}
		if (used >= sizeof(fields))
			return 1;
	}
	if (optind != argc - 1 || conns < 1 || depth < 1 || (closes && depth > 1)) {
		fprintf(stderr, "usage: see the head of bench/load.c\n");
		return 1;
	}
	port = atoi(argv[optind]);
	one_len = (size_t)snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\n"
				   "Host: 127.0.0.1\r\n%s%s\r\n", path, fields,
				   closes ? "Connection: close\r\n" : "");
	if (one_len * (size_t)depth > sizeof(request))
		return 1;
	for (int i = 1; i < depth; i++)
		memcpy(request + (size_t)i * one_len, request, one_len);
	learn();
	run();
	return 0;
}
