/* SPDX-License-Identifier: MIT */
/*
 * What the built-in apps do not do with a request: answer later, pause a body, stream both ways,
 * fail in the midst, never answer. A serve with handlers of its own, over a pair of sockets.
 */
#include "tests/unit/shm_help.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/check.h"
#include "base/copy.h"
#include "base/log.h"
#include "conf/conf.h"
#include "serve/serve.h"

#define MANY 200000u
#define PLAIN "GET /plain HTTP/1.1\r\nHost: a\r\n\r\n"
#define LATER "GET /later HTTP/1.1\r\nHost: a\r\n\r\n"

static const struct shm_geometry geo = {
	.slots = 2, .rows = 8, .routes = 2, .series = 64, .errors = 32,
	.ring_bytes = 4096, .exits = 4,
	.events = 8,
};

struct fixture {
	struct shm shm;
	struct conf conf;
	struct heritage h;
	struct loop *loop;
	struct serve *serve;
	struct shm_slot *slot;
	int fd, server_fd;         /* the client's end, the server's */
	size_t got;
	char in[4 * MANY];         /* what it has received */
	/* the handler's */
	struct request *req;
	int gone, pieces, drained;
	size_t held_len, taken;
	char held[32768];
	bool ended;
};

static void on_gone(struct request *r, void *arg)
{
	struct fixture *f = arg;

	assert_ptr_equal(r, f->req);
	f->req = NULL;
	f->gone++;
}

static uint64_t errors_of(const struct fixture *f, uint32_t route, enum shm_error type)
{
	struct shm_series_view v;
	uint64_t n = 0;

	for (uint32_t i = 0; i < f->shm.geo.errors; i++)
		if (shm_error_read(&f->shm, f->h.slot, i, &v) && v.route == route &&
		    v.code == (uint32_t)type)
			n += v.count;
	return n;
}

/* ---- handlers, by path ---- */

static bool take_one(struct request *r, void *arg, struct slice data, bool end)
{
	struct fixture *f = arg;

	(void)r;
	(void)data;
	assert_false(end);
	f->pieces++;
	return false;
}

static bool hold(struct request *r, void *arg, struct slice data, bool end)
{
	struct fixture *f = arg;

	if (end) {
		f->ended = true;
		request_body_more(r);
		return true;
	}
	assert_int_equal(f->held_len, 0);
	assert_true(data.len <= sizeof(f->held));
	memcpy(f->held, data.p, data.len);
	f->held_len = data.len;
	f->taken = 0;
	request_body_more(r);
	return false;
}

/* Gives away what is held, some hundred bytes at a time, then asks for more from within. */
static long fill_mirror(struct request *r, void *arg, char *buf, size_t cap, bool *ret_end)
{
	struct fixture *f = arg;
	size_t n = f->held_len - f->taken;

	if (n > 700)
		n = 700;
	if (n > cap)
		n = cap;
	memcpy(buf, f->held + f->taken, n);
	f->taken += n;
	if (f->held_len > 0 && f->taken == f->held_len) {
		f->held_len = f->taken = 0;
		request_body_resume(r);
	}
	*ret_end = f->ended && f->held_len == 0;
	return (long)n;
}

static long fill_once(struct request *r, void *arg, char *buf, size_t cap, bool *ret_end)
{
	struct fixture *f = arg;
	bool first = f->pieces++ == 0;

	(void)ret_end;
	assert_true(cap >= 3);
	if (first) {
		memcpy(buf, "abc", 3);
		return 3;
	}
	return slice_eq(request_path(r), SLICE("/fail")) ? -1 : 0;
}

static bool answer_early(struct request *r, void *arg, struct slice data, bool end)
{
	struct fixture *f = arg;

	(void)data;
	assert_false(end);
	f->pieces++;
	f->req = NULL;
	request_answer(r, 200, SLICE("text/plain"), SLICE("early"));
	return false;
}

static void handle(struct serve *s, struct request *r, void *arg)
{
	struct fixture *f = arg;

	request_route(r, 1);
	struct slice path = request_path(r);

	(void)s;
	f->req = r;
	f->pieces = 0;
	f->ended = false;
	request_on_gone(r, on_gone, f);
	if (slice_eq(path, SLICE("/pause"))) {
		request_body(r, take_one, f);
	} else if (slice_eq(path, SLICE("/early"))) {
		request_body(r, answer_early, f);
	} else if (slice_eq(path, SLICE("/mirror"))) {
		request_body(r, hold, f);
		request_answer_pull(r, 200, SLICE("text/plain"), -1, fill_mirror, f);
	} else if (slice_eq(path, SLICE("/stall")) || slice_eq(path, SLICE("/fail"))) {
		request_answer_pull(r, 200, SLICE("text/plain"), -1, fill_once, f);
	} else if (slice_eq(path, SLICE("/long-type"))) {
		static char type[5000];

		memset(type, 'a', sizeof(type));
		request_answer(r, 200, (struct slice){type, sizeof(type)}, SLICE("x"));
	} else if (slice_eq(path, SLICE("/fork"))) {
		f->pieces = fork();
		if (f->pieces == 0)
			copy_set(); /* the worker does it, and more: see test_worker_copy.c */
		request_answer(r, 200, SLICE("text/plain"),
			       f->pieces ? SLICE("parent") : SLICE("child"));
	} else if (!slice_eq(path, SLICE("/later"))) {
		request_answer(r, 200, SLICE("text/plain"), SLICE("plain"));
	}
}

/* ---- client and loop ---- */

static void start(struct fixture *f)
{
	struct serve_options o = {
		.heritage = &f->h, .loop = f->loop, .connections_max = 4, .handler = handle,
		.handler_arg = f,
	};
	struct net_addr peer = {.family = NET_UNIX};
	int pair[2];

	assert_int_equal(serve_new(&o, &f->serve), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	f->fd = pair[0];
	f->server_fd = pair[1];
	serve_accepted(f->serve, pair[1], &peer);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct settings *set;

	assert_non_null(f);
	fake_init(&f->shm, &geo);
	set = &f->conf.s;
	set->limit_request_line = set->limit_request_field_size = 8190;
	set->limit_request_fields = 100;
	set->client_max_body_size = 10 * MANY;
	set->keepalive_timeout = set->header_timeout = set->write_timeout = 5000;
	set->access_log = NULL;
	f->h = (struct heritage){.conf = &f->conf, .shm = &f->shm, .slot = 1};
	f->slot = shm_slot(&f->shm, 1);
	f->fd = -1;
	assert_int_equal(loop_init(&f->loop, serve_timers(4)), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	serve_free(f->serve);
	assert_int_equal(shm_get(&f->slot->connections), 0);
	assert_int_equal(shm_get(&f->slot->in_flight), 0);
	if (f->fd >= 0)
		close(f->fd);
	loop_free(f->loop);
	fake_fini(&f->shm);
	free(f);
	return 0;
}

/* Sends what it can and reads what is there, until the text has come (NULL: the end). */
static void talk(struct fixture *f, const char *out, size_t len, const char *until)
{
	uint64_t give_up = clock_mono_ns() + 20 * NS_PER_S;

	for (;;) {
		ssize_t n = len > 0 ? send(f->fd, out, len, MSG_NOSIGNAL) : 0;

		if (n > 0) {
			out += n;
			len -= (size_t)n;
		}
		loop_run_once(f->loop, 1);
		serve_end_turn(f->serve);
		assert_true(f->got < sizeof(f->in) - 1);
		n = recv(f->fd, f->in + f->got, sizeof(f->in) - 1 - f->got, 0);
		if (n > 0)
			f->got += (size_t)n;
		f->in[f->got] = '\0';
		if (until && strstr(f->in, until))
			return;
		if (n == 0 || (n < 0 && errno != EAGAIN)) {
			if (!until)
				return;
			fail_msg("closed after \"%.2000s\"", f->in);
		}
		if (clock_mono_ns() > give_up)
			fail_msg("nothing more after \"%.2000s\"", f->in);
	}
}

static void ask(struct fixture *f, const char *request, const char *until)
{
	f->got = 0;
	f->in[0] = '\0';
	talk(f, request, strlen(request), until);
}

static void turns(struct fixture *f, int n)
{
	while (n-- > 0)
		loop_run_once(f->loop, 1);
}

/* The connection goes on: its next request is answered. */
static void goes_on(struct fixture *f)
{
	ask(f, PLAIN, "plain");
	assert_memory_equal(f->in, "HTTP/1.1 200 OK\r\n", 17);
}

/* ---- tests ---- */

static void test_an_answer_from_outside(void **state)
{
	struct fixture *f = *state;

	start(f);
	ask(f, PLAIN LATER PLAIN, "plain");
	assert_non_null(f->req);
	assert_int_equal(shm_get(&f->slot->in_flight), 1);
	request_answer(f->req, 200, SLICE("text/plain"), SLICE("now"));
	talk(f, NULL, 0, "now");
	talk(f, NULL, 0, "nowHTTP/1.1 200 OK\r\n");
	goes_on(f);
	assert_int_equal(f->gone, 0);
	assert_int_equal(shm_get(&f->slot->c.requests), 4);
}

static void test_an_answer_while_the_body_is_paused(void **state)
{
	struct fixture *f = *state;

	start(f);
	ask(f, "POST /pause HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nabcd", "");
	assert_int_equal(f->pieces, 1);
	request_answer(f->req, 200, SLICE("text/plain"), SLICE("enough"));
	talk(f, "efgh", 4, "enough");
	goes_on(f);
	assert_int_equal(f->pieces, 0);
}

static void test_an_answer_out_of_the_body(void **state)
{
	struct fixture *f = *state;

	start(f);
	ask(f, "POST /early HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
	       "3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n", "early");
	assert_int_equal(f->pieces, 1);
	goes_on(f);
	assert_int_equal(f->gone, 0);
}

static void test_streams_both_ways(void **state)
{
	struct fixture *f = *state;
	char *all = malloc(2 * MANY), *to = all;
	size_t n = 0;

	start(f);
	assert_non_null(all);
	/* Several chunks a read: what is left of it has to go on without a word from the client. */
	to += sprintf(to, "POST /mirror HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (unsigned i = 0; i < MANY / 1000; i++) {
		to += sprintf(to, "3e8\r\n");
		memset(to, 'm', 1000);
		to += 1000;
		to += sprintf(to, "\r\n");
	}
	to += sprintf(to, "0\r\n\r\n");
	talk(f, all, (size_t)(to - all), "\r\n0\r\n\r\n");
	assert_non_null(strstr(f->in, "Transfer-Encoding: chunked\r\n"));
	for (const char *p = strstr(f->in, "\r\n\r\n"); *p; p++)
		n += *p == 'm';
	assert_int_equal(n, MANY);
	free(all);
	goes_on(f);
}

static void test_an_unknown_length_for_http_1_0(void **state)
{
	struct fixture *f = *state;

	start(f);
	ask(f, "POST /mirror HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
	    "hello");
	talk(f, NULL, 0, NULL);
	assert_null(strstr(f->in, "chunked"));
	assert_non_null(strstr(f->in, "Connection: close\r\n"));
	assert_string_equal(strstr(f->in, "\r\n\r\n") + 4, "hello");
}

static void test_a_failing_stream_is_cut(void **state)
{
	struct fixture *f = *state;

	start(f);
	ask(f, "GET /fail HTTP/1.1\r\nHost: a\r\n\r\n", NULL);
	assert_null(strstr(f->in, "\r\n0\r\n"));
	assert_int_equal(f->gone, 1);
	assert_int_equal(shm_get(&f->slot->c.requests), 0);
}

static void test_a_stalling_stream_is_cut(void **state)
{
	struct fixture *f = *state;

	f->conf.s.stream_idle_timeout = 100;
	start(f);
	ask(f, "GET /stall HTTP/1.1\r\nHost: a\r\n\r\n", "3\r\nabc\r\n");
	talk(f, NULL, 0, NULL);
	assert_null(strstr(f->in, "\r\n0\r\n"));
	assert_int_equal(f->gone, 1);
}

static void test_a_handler_that_is_late(void **state)
{
	struct fixture *f = *state;

	f->conf.s.request_timeout = 100;
	start(f);
	ask(f, LATER PLAIN, NULL);
	assert_memory_equal(f->in, "HTTP/1.1 504 ", 13);
	assert_null(strstr(f->in, "200 OK"));
	assert_int_equal(f->gone, 1);
	assert_int_equal(shm_get(&f->slot->c.requests), 1);
}

static void test_a_body_that_its_handler_has_paused_is_not_the_clients_fault(void **state)
{
	struct fixture *f = *state;

	f->conf.s.request_timeout = 100;
	f->conf.s.min_body_rate = 1000000;
	start(f);
	ask(f, "POST /pause HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nabcd", NULL);
	assert_memory_equal(f->in, "HTTP/1.1 504 ", 13);
	assert_int_equal(f->gone, 1);
	assert_int_equal(errors_of(f, 1, SHM_ERR_REQUEST_TIMEOUT), 1);
}

static void test_a_client_that_leaves_is_told_of(void **state)
{
	struct fixture *f = *state;

	start(f);
	ask(f, PLAIN LATER, "plain");
	assert_non_null(f->req);
	close(f->fd);
	f->fd = -1;
	turns(f, 3);
	assert_int_equal(f->gone, 1);
	assert_int_equal(serve_connections(f->serve), 0);
	assert_int_equal(errors_of(f, 1, SHM_ERR_CLIENT_GONE), 1);
}

static void test_a_type_that_is_too_long_is_left_out(void **state)
{
	struct fixture *f = *state;

	start(f);
	ask(f, "GET /long-type HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n\r\nx");
	assert_null(strstr(f->in, "Content-Type"));
	goes_on(f);
}

static void count_drained(struct serve *s, void *arg)
{
	struct fixture *f = arg;

	(void)s;
	f->drained++;
}

static void test_draining_waits_for_the_last_answer(void **state)
{
	struct fixture *f = *state;

	start(f);
	ask(f, PLAIN LATER, "plain");
	serve_drain(f->serve, 100, count_drained, f);
	turns(f, 200);
	serve_drain(f->serve, 50, count_drained, f);
	serve_end_turn(f->serve);
	assert_int_equal(f->drained, 0);
	request_answer(f->req, 200, SLICE("text/plain"), SLICE("last"));
	talk(f, NULL, 0, "last");
	assert_non_null(strstr(strstr(f->in, "plain"), "Connection: close\r\n"));
	talk(f, NULL, 0, NULL);
	close(f->fd);
	f->fd = -1;
	turns(f, 5);
	serve_end_turn(f->serve);
	serve_end_turn(f->serve);
	assert_int_equal(f->drained, 1);
}

/* ---- what an app does to the server ---- */

static char *failed; /* shared: what a check in the child has said */

static void on_failed_check(const char *text)
{
	memcpy(failed, text, strlen(text) + 1);
	_exit(42);
}

static void accept_again(struct fixture *f)
{
	struct net_addr peer = {.family = NET_UNIX};
	int pair[2], fd = f->server_fd;

	close(fd); /* as an app might */
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	serve_accepted(f->serve, pair[0] == fd ? fd : dup2(pair[0], fd), &peer);
}

static void answer_closed(struct fixture *f)
{
	close(f->server_fd);
	request_answer(f->req, 200, SLICE("text/plain"), SLICE("now"));
}

/* Another file has the number: an answer must not get into it. */
static void answer_replaced(struct fixture *f)
{
	int pipes[2];

	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(dup2(pipes[1], f->server_fd), f->server_fd);
	request_answer(f->req, 200, SLICE("text/plain"), SLICE("now"));
}

static void test_a_closed_descriptor_is_a_failed_check(void **state)
{
	static void (*const way[])(struct fixture *f) = {accept_again, answer_closed,
							 answer_replaced};
	struct fixture *f = *state;

	failed = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(failed != MAP_FAILED);
	start(f);
	ask(f, PLAIN LATER, "plain");
	for (size_t i = 0; i < sizeof(way) / sizeof(way[0]); i++) {
		int status;
		pid_t pid;

		failed[0] = '\0';
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			check_set_sink(on_failed_check);
			way[i](f);
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 42 << 8);
		shm_set(&f->slot->in_flight, 1); /* the segment was the child's, too */
		shm_set(&f->slot->connections, 1);
		assert_non_null(strstr(failed, "a descriptor of ours was closed by the app"));
	}
	request_answer(f->req, 200, SLICE("text/plain"), SLICE("now"));
	talk(f, NULL, 0, "now");
	munmap(failed, 4096);
}

static void test_a_forked_copy_does_not_answer(void **state)
{
	struct fixture *f = *state;
	int status;

	start(f);
	ask(f, "GET /fork HTTP/1.1\r\nHost: a\r\n\r\n", "parent");
	assert_null(strstr(f->in, "child"));
	assert_int_equal(wait(&status), f->pieces);
	assert_int_equal(status, 70 << 8);
	goes_on(f);
}

static char slow_lines[4096];

static bool keep_line(void *arg, const char *line, size_t len)
{
	(void)arg;
	snprintf(slow_lines + strlen(slow_lines), sizeof(slow_lines) - strlen(slow_lines), "%.*s",
		 (int)len, line);
	return true;
}

static void test_slow_requests_are_told(void **state)
{
	struct fixture *f = *state;
	uint64_t end;

	f->conf.s.log_slow_requests = true;
	f->conf.s.slow_request_threshold = 50;
	start(f);
	slow_lines[0] = '\0';
	log_set_sink(keep_line, NULL);
	ask(f, PLAIN "GET /later HTTP/1.1\r\nHost: a\r\nX-Request-Id: tortoise\r\n\r\n", "plain");
	end = clock_mono_ns() + 60 * NS_PER_MS;
	while (clock_mono_ns() < end)
		loop_run_once(f->loop, 5);
	request_answer(f->req, 200, SLICE("text/plain"), SLICE("now"));
	talk(f, NULL, 0, "now");
	log_set_sink(NULL, NULL);
	assert_non_null(strstr(slow_lines, "SLOW request=tortoise method=GET path=/later"));
	assert_non_null(strstr(slow_lines, "status=200 took=0."));
	assert_true(shm_get(&f->slot->c.slow_requests) >= 1);
	/* What is quick is not told of. */
	end = shm_get(&f->slot->c.slow_requests);
	slow_lines[0] = '\0';
	goes_on(f);
	assert_int_equal(shm_get(&f->slot->c.slow_requests), end);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_an_answer_from_outside),
		T(test_an_answer_while_the_body_is_paused),
		T(test_an_answer_out_of_the_body),
		T(test_streams_both_ways),
		T(test_an_unknown_length_for_http_1_0),
		T(test_a_failing_stream_is_cut),
		T(test_a_stalling_stream_is_cut),
		T(test_a_handler_that_is_late),
		T(test_a_body_that_its_handler_has_paused_is_not_the_clients_fault),
		T(test_a_client_that_leaves_is_told_of),
		T(test_a_type_that_is_too_long_is_left_out),
		T(test_draining_waits_for_the_last_answer),
		T(test_a_closed_descriptor_is_a_failed_check),
		T(test_a_forked_copy_does_not_answer),
		T(test_slow_requests_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
