/* SPDX-License-Identifier: MIT */
/*
 * Answers that are kept, as clients see them: a serve whose handler counts its calls and answers as
 * each test wants it, over pairs of sockets, with a cache of one process.
 */
#include "tests/unit/shm_help.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "cache/cache_priv.h"
#include "conf/conf.h"
#include "serve/serve.h"

#define CLIENTS 4
#define IN_MAX  (1u << 20)
#define HEAD(path) "GET " path " HTTP/1.1\r\nHost: a.example\r\n"
#define GET(path) HEAD(path) "\r\n"

enum way { COPIED, PULLED, PULLED_KNOWN, BROKEN, LATER };

struct fixture {
	struct shm shm;
	struct conf conf;
	struct heritage h;
	int efd[2];
	struct loop *loop;
	struct serve *serve;
	struct cache *cache;
	const struct cache_rule *rule;
	struct client { int fd; size_t got; char *in; } client[CLIENTS];
	/* the handler's */
	enum way way;
	int status, calls;
	const char *type, *body;
	size_t len, at;
	const char *field[4][2];
	struct request *held;
};

static unsigned allocations;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

void *__wrap_malloc(size_t n)
{
	allocations++;
	return __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	allocations++;
	return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	allocations++;
	return __real_realloc(p, n);
}

/* ---- handler ---- */

static long fill(struct request *r, void *arg, char *buf, size_t cap, bool *ret_end)
{
	struct fixture *f = arg;
	size_t n = f->len - f->at;

	(void)r;
	if (f->way == BROKEN && f->at > 0)
		return -1;
	if (n > 1000)
		n = 1000;
	if (n > cap)
		n = cap;
	memcpy(buf, f->body + f->at, n);
	f->at += n;
	*ret_end = f->at == f->len;
	return (long)n;
}

static void respond(struct fixture *f, struct request *r)
{
	struct slice type = slice_of(f->type);

	for (size_t i = 0; i < 4 && f->field[i][0]; i++)
		request_field(r, slice_of(f->field[i][0]), slice_of(f->field[i][1]));
	f->at = 0;
	if (f->way == PULLED || f->way == PULLED_KNOWN || f->way == BROKEN)
		request_answer_pull(r, f->status, type,
				    f->way == PULLED_KNOWN ? (int64_t)f->len : -1, fill, f);
	else
		request_answer(r, f->status, type, (struct slice){f->body, f->len});
}

static void handle(struct fixture *f, struct request *r)
{
	f->calls++;
	if (f->way == LATER) {
		assert_null(f->held);
		f->held = r;
		return;
	}
	respond(f, r);
}

static void go(struct request *r, void *arg)
{
	handle(arg, r);
}

static void enter(struct serve *s, struct request *r, void *arg)
{
	struct fixture *f = arg;

	(void)s;
	switch (cache_enter(f->cache, r, f->rule)) {
	case CACHE_PASSES:
		handle(f, r);
		break;
	case CACHE_WAITS:
		cache_wait(f->cache, r, f->rule, go, f);
		break;
	case CACHE_ENDED:
		break;
	}
}

/* ---- set up ---- */

static void start(struct fixture *f, const char *pattern, struct conf_cache_rule *rule)
{
	struct conf_policy_route route = {.pattern = pattern, .cache = rule};
	struct serve_options o = {
		.heritage = &f->h, .loop = f->loop, .connections_max = CLIENTS, .handler = enter,
		.handler_arg = f,
	};
	struct net_addr peer = {.family = NET_UNIX};

	assert_int_equal(cache_new(&f->h, f->loop, &f->cache), 0);
	assert_int_equal(cache_compile(f->cache, &route, &f->rule), 0);
	assert_int_equal(serve_new(&o, &f->serve), 0);
	for (int i = 0; i < CLIENTS; i++) {
		int pair[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
		serve_accepted(f->serve, pair[1], &peer);
		f->client[i].fd = pair[0];
		f->client[i].in = malloc(IN_MAX);
	}
}

static struct conf_cache_rule plain = {
	.ttl_ms = 100000, .nstatuses = 1, .status = {200}, .nkeys = 2,
	.key = {{CONF_KEY_PATH, NULL}, {CONF_KEY_QUERY, NULL}},
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct shm_geometry geo = {
		.slots = 2, .rows = CLIENTS, .routes = 2, .series = 64, .ring_bytes = 4096,
		.exits = 4, .events = 8, .errors = 32,
	};
	struct settings *set;

	assert_non_null(f);
	assert_true(shm_cache_geometry(&geo, 4u << 20));
	fake_init(&f->shm, &geo);
	set = &f->conf.s;
	set->limit_request_line = set->limit_request_field_size = 8190;
	set->limit_request_fields = 100;
	set->keepalive_timeout = set->header_timeout = set->write_timeout = 5000;
	set->compression_level = 6;
	set->compression_min_size = 1024;
	f->conf.policy = calloc(1, sizeof(*f->conf.policy));
	f->conf.cache_object_max = 1 << 20;
	f->efd[0] = eventfd(0, EFD_NONBLOCK);
	f->efd[1] = eventfd(0, EFD_NONBLOCK);
	f->h = (struct heritage){.conf = &f->conf, .shm = &f->shm, .slot = 1, .slot_efd = f->efd};
	f->status = 200;
	f->type = "text/plain";
	f->body = "hello";
	f->len = 5;
	assert_int_equal(loop_init(&f->loop, serve_timers(CLIENTS) + CACHE_TIMERS), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	struct shm_cache_view v;

	serve_free(f->serve);
	shm_cache_read(&f->shm, &v);
	assert_int_equal(v.pinned, 0);
	cache_free(f->cache);
	for (int i = 0; i < CLIENTS; i++) {
		if (f->client[i].fd > 0)
			close(f->client[i].fd);
		free(f->client[i].in);
	}
	loop_free(f->loop);
	fake_fini(&f->shm);
	close(f->efd[0]);
	close(f->efd[1]);
	free(f->conf.policy);
	free(f);
	return 0;
}

/* ---- clients ---- */

static void say(struct fixture *f, int i, const char *text)
{
	struct client *c = &f->client[i];

	c->got = 0;
	c->in[0] = '\0';
	assert_int_equal(send(c->fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static bool turn(struct fixture *f)
{
	uint64_t n;

	loop_run_once(f->loop, 0);
	if (read(f->efd[1], &n, sizeof(n)) == (ssize_t)sizeof(n))
		cache_poked(f->cache);
	(void)cache_end_turn(f->cache);
	serve_end_turn(f->serve);
	return true;
}

static void hear(struct fixture *f, int i)
{
	struct client *c = &f->client[i];
	ssize_t n = recv(c->fd, c->in + c->got, IN_MAX - 1 - c->got, 0);

	if (n > 0)
		c->got += (size_t)n;
	c->in[c->got] = '\0';
}

static void turns(struct fixture *f, int n)
{
	while (n-- > 0)
		turn(f);
}

static bool is_whole(const struct client *c, bool head)
{
	const char *end = strstr(c->in, "\r\n\r\n"), *length;

	if (!end)
		return false;
	if (head || strncmp(c->in, "HTTP/1.1 304", 12) == 0)
		return true;
	length = strstr(c->in, "Content-Length: ");
	if (length && length < end)
		return c->got - (size_t)(end + 4 - c->in) >= strtoul(length + 16, NULL, 10);
	return c->got >= 5 && memcmp(c->in + c->got - 5, "0\r\n\r\n", 5) == 0;
}

/* Until its answer is whole. */
static const char *get_answer(struct fixture *f, int i, bool head)
{
	uint64_t give_up = clock_mono_ns() + 20 * NS_PER_S;

	while (!is_whole(&f->client[i], head)) {
		turn(f);
		hear(f, i);
		assert_true(clock_mono_ns() < give_up);
	}
	return f->client[i].in;
}

static const char *ask(struct fixture *f, int i, const char *text)
{
	say(f, i, text);
	return get_answer(f, i, strncmp(text, "HEAD", 4) == 0);
}

static const char *body_of(struct fixture *f, int i)
{
	return strstr(f->client[i].in, "\r\n\r\n") + 4;
}

static void assert_says(const char *answer, const char *line)
{
	const char *end = strstr(answer, "\r\n\r\n"), *at = strstr(answer, line);

	if (!at || at > end)
		fail_msg("no \"%s\" in: %.*s", line, (int)(end - answer), answer);
}

static void assert_says_not(const char *answer, const char *line)
{
	const char *end = strstr(answer, "\r\n\r\n"), *at = strstr(answer, line);

	if (at && at < end)
		fail_msg("\"%s\" in: %.*s", line, (int)(end - answer), answer);
}

/* Twice: is the second one a hit? */
static bool is_kept(struct fixture *f, const char *text)
{
	int before;

	(void)ask(f, 0, text);
	before = f->calls;
	(void)ask(f, 0, text);
	return f->calls == before;
}

/* ---- tests ---- */

static char big[300 * 1024];

static void make_big(void)
{
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (char)('a' + (i * 7919 ^ i >> 7) % 26);
}

static void test_hit(void **state)
{
	struct fixture *f = *state;
	const char *a;

	start(f, "/*", &plain);
	f->field[0][0] = "X-Mine";
	f->field[0][1] = "yes";
	a = ask(f, 0, GET("/x"));
	assert_says(a, "HTTP/1.1 200 OK\r\n");
	assert_says(a, "Cache-Status: capricorn; fwd=uri-miss; stored\r\n");
	assert_says(a, "ETag: \"");
	assert_string_equal(body_of(f, 0), "hello");
	a = ask(f, 1, GET("/x"));
	assert_int_equal(f->calls, 1);
	assert_says(a, "HTTP/1.1 200 OK\r\n");
	assert_says(a, "Cache-Status: capricorn; hit; ttl=");
	assert_says(a, "Age: 0\r\n");
	assert_says(a, "X-Mine: yes\r\n");
	assert_says(a, "Content-Type: text/plain\r\n");
	assert_says(a, "ETag: \"");
	assert_says(a, "X-Request-Id: ");
	assert_says(a, "Date: ");
	assert_string_equal(body_of(f, 1), "hello");
	/* HEAD from GET; another query, another host, another path */
	a = ask(f, 1, "HEAD /x HTTP/1.1\r\nHost: A.example\r\n\r\n");
	assert_says(a, "Content-Length: 5\r\n");
	assert_string_equal(body_of(f, 1), "");
	assert_int_equal(f->calls, 1);
	(void)ask(f, 1, GET("/x?a=1"));
	(void)ask(f, 1, "GET /x HTTP/1.1\r\nHost: b.example\r\n\r\n");
	(void)ask(f, 1, GET("/x%3Fa=1"));
	assert_int_equal(f->calls, 4);
}

/* Neither its look-up nor its answer, whatever the size, takes anything from the heap. */
static void test_hit_allocates_nothing(void **state)
{
	struct fixture *f = *state;
	static const char *const paths[] = {GET("/1"), GET("/2"), GET("/3")};
	static const size_t sizes[] = {5, 30000, 300000};

	start(f, "/*", &plain);
	make_big();
	f->body = big;
	for (int i = 0; i < 3; i++) {
		f->len = sizes[i];
		(void)ask(f, 0, paths[i]);
	}
	allocations = 0;
	for (int i = 0; i < 30; i++) {
		(void)ask(f, 0, paths[i % 3]);
		assert_memory_equal(body_of(f, 0), big, sizes[i % 3]);
	}
	assert_int_equal(allocations, 0);
	assert_int_equal(f->calls, 3);
}

/* Several in one write, answered in order, one of them a miss. */
static void test_pipelined(void **state)
{
	struct fixture *f = *state;

	start(f, "/*", &plain);
	(void)ask(f, 0, GET("/1"));
	say(f, 0, GET("/1") GET("/2") GET("/1"));
	for (int i = 0; i < 10; i++) {
		turn(f);
		hear(f, 0);
	}
	assert_int_equal(f->calls, 2);
	assert_non_null(strstr(f->client[0].in, "hello"));
	assert_int_equal(memcmp(f->client[0].in + f->client[0].got - 5, "hello", 5), 0);
}

static void test_conditions(void **state)
{
	struct fixture *f = *state;
	char text[300];
	const char *a, *etag;

	start(f, "/*", &plain);
	f->field[0][0] = "Last-Modified";
	f->field[0][1] = "Sun, 06 Nov 1994 08:49:37 GMT";
	f->field[1][0] = "Content-Language";
	f->field[1][1] = "en";
	a = ask(f, 0, GET("/x"));
	etag = strstr(a, "ETag: ") + 6;
	snprintf(text, sizeof(text), HEAD("/x") "If-None-Match: %.*s\r\n\r\n",
		 (int)(strchr(etag, '\r') - etag), etag);
	a = ask(f, 0, text);
	assert_says(a, "HTTP/1.1 304 Not Modified\r\n");
	assert_says(a, "ETag: ");
	assert_says(a, "Cache-Status: capricorn; hit");
	assert_says_not(a, "Content-");
	a = ask(f, 0, HEAD("/x") "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n");
	assert_says(a, "HTTP/1.1 304 ");
	a = ask(f, 0, HEAD("/x") "If-None-Match: \"other\"\r\n\r\n");
	assert_says(a, "HTTP/1.1 200 ");
	a = ask(f, 0, HEAD("/x") "If-Match: \"other\"\r\n\r\n");
	assert_says(a, "HTTP/1.1 412 ");
	assert_int_equal(f->calls, 1);
	/* Who computes for others has no conditions; its own answer has. */
	a = ask(f, 0, HEAD("/y") "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n");
	assert_says(a, "HTTP/1.1 304 ");
	assert_says(a, "fwd=uri-miss; stored");
	assert_says_not(a, "Content-Language");
	a = ask(f, 0, GET("/y"));
	assert_says(a, "HTTP/1.1 200 ");
	assert_string_equal(body_of(f, 0), "hello");
	assert_int_equal(f->calls, 2);
}

static void test_range(void **state)
{
	struct fixture *f = *state;
	const char *a;

	start(f, "/*", &plain);
	a = ask(f, 0, HEAD("/x") "Range: bytes=1-2\r\n\r\n");
	assert_says(a, "fwd=uri-miss\r\n"); /* not kept: it might be a part */
	(void)ask(f, 0, GET("/x"));
	assert_int_equal(f->calls, 2);
	a = ask(f, 0, HEAD("/x") "Range: bytes=1-2\r\n\r\n");
	assert_says(a, "HTTP/1.1 206 ");
	assert_says(a, "Content-Range: bytes 1-2/5\r\n");
	assert_string_equal(body_of(f, 0), "el");
	a = ask(f, 0, HEAD("/x") "Range: bytes=9-\r\n\r\n");
	assert_says(a, "HTTP/1.1 416 ");
	assert_says(a, "Content-Range: bytes */5\r\n");
	assert_int_equal(f->calls, 2);
}

static void test_not_kept(void **state)
{
	static const char *const fields[][2] = {
		{"Set-Cookie", "a=b"}, {"Cache-Control", "private"}, {"Cache-Control", "no-store"},
		{"Cache-Control", "public, no-cache"}, {"Vary", "*"}, {"Vary", "Accept-Language"},
		{"Cache-Control", "max-age=0"}, {"Cache-Control", "max-age=60, s-maxage=0"},
	};
	struct fixture *f = *state;
	const char *a;

	start(f, "/*", &plain);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		char text[80];

		f->field[0][0] = fields[i][0];
		f->field[0][1] = fields[i][1];
		snprintf(text, sizeof(text), GET("/%zu"), i);
		assert_false(is_kept(f, text));
	}
	a = ask(f, 0, GET("/7"));
	assert_says(a, "Cache-Status: capricorn; fwd=bypass; detail=ttl\r\n"); /* it is known */
	f->field[0][0] = NULL;
	f->status = 404;
	assert_false(is_kept(f, GET("/404")));
	f->status = 200;
	assert_false(is_kept(f, HEAD("/a") "Authorization: x\r\n\r\n"));
	assert_false(is_kept(f, HEAD("/a") "Cookie: x=y\r\n\r\n"));
	assert_false(is_kept(f, HEAD("/a") "Cache-Control: no-store\r\n\r\n"));
	assert_false(is_kept(f, "POST /a HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n"));
	f->type = "text/event-stream";
	assert_false(is_kept(f, GET("/stream")));
	f->type = "text/plain";
	f->field[0][0] = "Vary";
	f->field[0][1] = "Accept-Encoding";
	assert_true(is_kept(f, GET("/enc")));
	f->field[1][0] = "Content-Encoding";
	f->field[1][1] = "br";
	assert_false(is_kept(f, GET("/br")));
	a = ask(f, 0, HEAD("/none") "Cache-Control: only-if-cached\r\n\r\n");
	assert_says(a, "HTTP/1.1 504 ");
	a = ask(f, 0, HEAD("/br") "Cache-Control: only-if-cached\r\n\r\n");
	assert_says(a, "HTTP/1.1 504 ");
}

static void test_key(void **state)
{
	struct conf_cache_rule conf = {
		.ttl_ms = 100000, .nstatuses = 1, .status = {200}, .nkeys = 3,
		.key = {{CONF_KEY_PATH, NULL}, {CONF_KEY_HEADER, "Authorization"},
			{CONF_KEY_COOKIE, "u"}},
	};
	struct fixture *f = *state;
	const char *a;

	start(f, "/*", &conf);
	a = ask(f, 0, HEAD("/x?q=1") "Authorization: a\r\nCookie: z=1; u=7\r\n\r\n");
	assert_says(a, "fwd=uri-miss; stored");
	a = ask(f, 0, HEAD("/x?q=2") "Authorization: a\r\nCookie: u=7; z=2\r\n\r\n");
	assert_says(a, "hit");
	a = ask(f, 0, HEAD("/x") "Authorization: b\r\nCookie: u=7\r\n\r\n");
	assert_says(a, "fwd=uri-miss; stored");
	a = ask(f, 0, HEAD("/x") "Authorization: a\r\nCookie: u=8\r\n\r\n");
	assert_says(a, "fwd=uri-miss; stored");
	a = ask(f, 0, HEAD("/x") "Authorization: a\r\n\r\n");
	assert_says(a, "fwd=uri-miss; stored");
	assert_int_equal(f->calls, 4);
}

static void test_gzip(void **state)
{
	struct fixture *f = *state;
	const char *a;

	start(f, "/*", &plain);
	make_big();
	f->body = big;
	for (int streams = 0; streams < 2; streams++) {
		const char *zip = streams ? HEAD("/s") "Accept-Encoding: gzip\r\n\r\n"
					  : HEAD("/w") "Accept-Encoding: gzip\r\n\r\n";
		int before = f->calls;
		size_t len;

		f->way = streams ? PULLED : COPIED;
		f->len = streams ? 20000 : 5000;
		a = ask(f, 0, zip);
		assert_says(a, "Content-Encoding: gzip\r\n");
		assert_says(a, "Vary: Accept-Encoding\r\n");
		assert_says(a, "stored");
		if (!streams)
			assert_says(a, "ETag: W/\"");
		a = ask(f, 0, zip);
		assert_says(a, "hit");
		assert_says(a, "ETag: W/\"");
		assert_says(a, "Content-Encoding: gzip\r\n");
		assert_says(a, "Vary: Accept-Encoding\r\n");
		assert_says(a, "Content-Length: ");
		len = strtoul(strstr(a, "Content-Length: ") + 16, NULL, 10);
		assert_in_range(len, 100, f->len);
		assert_int_equal(f->calls, before + 1);
		/* Who does not accept it has another answer. */
		a = ask(f, 0, streams ? GET("/s") : GET("/w"));
		assert_says(a, "stored");
		assert_says_not(a, "Content-Encoding");
		a = ask(f, 0, streams ? GET("/s") : GET("/w"));
		assert_says(a, "hit");
		assert_memory_equal(body_of(f, 0), big, f->len);
		assert_int_equal(f->calls, before + 2);
	}
}

static void test_pieces(void **state)
{
	struct fixture *f = *state;
	struct conf_cache_rule conf = plain;

	conf.max_object = 200 * 1024;
	start(f, "/*", &conf);
	make_big();
	f->body = big;
	f->len = 100 * 1024;
	f->way = PULLED;
	assert_true(is_kept(f, GET("/1")));
	assert_int_equal(f->client[0].got - (size_t)(body_of(f, 0) - f->client[0].in), f->len);
	assert_memory_equal(body_of(f, 0), big, f->len);
	f->way = PULLED_KNOWN;
	assert_true(is_kept(f, GET("/2")));
	/* Too large, with and without its length. */
	f->len = sizeof(big);
	assert_false(is_kept(f, GET("/3")));
	f->way = PULLED;
	assert_false(is_kept(f, GET("/4")));
	assert_int_equal(f->cache->captured, 0);
	/* One that breaks off is not kept. */
	f->way = BROKEN;
	f->len = 10000;
	say(f, 1, GET("/5"));
	turns(f, 5);
	f->way = COPIED;
	f->len = 5;
	(void)ask(f, 2, GET("/5"));
	assert_says(f->client[2].in, "fwd=uri-miss; stored");
	assert_int_equal(f->cache->captured, 0);
}

static void test_collapse(void **state)
{
	struct fixture *f = *state;

	start(f, "/*", &plain);
	f->way = LATER;
	for (int i = 0; i < CLIENTS; i++)
		say(f, i, GET("/x"));
	turns(f, 5);
	assert_int_equal(f->calls, 1);
	f->way = COPIED;
	respond(f, f->held);
	for (int i = 0; i < CLIENTS; i++) {
		(void)get_answer(f, i, false);
		assert_string_equal(body_of(f, i), "hello");
		assert_says(f->client[i].in, i == 0 ? "fwd=uri-miss; stored"
						    : "fwd=uri-miss; collapsed; ttl=");
	}
	assert_int_equal(f->calls, 1);
}

/* The one that computes fails, leaves, or its answer is not to be kept: nobody waits on. */
static void test_collapse_in_vain(void **state)
{
	struct fixture *f = *state;

	start(f, "/*", &plain);
	f->way = LATER;
	for (int i = 0; i < 3; i++)
		say(f, i, GET("/x"));
	turns(f, 5);
	assert_int_equal(f->calls, 1);
	/* Gone: the next one computes. */
	f->held = NULL;
	close(f->client[0].fd);
	f->client[0].fd = -1;
	turns(f, 8);
	assert_int_equal(f->calls, 2);
	/* Failed: the next one, again. */
	f->way = COPIED;
	f->status = 500;
	respond(f, f->held);
	f->held = NULL;
	(void)get_answer(f, 1, false);
	turns(f, 5);
	(void)get_answer(f, 2, false);
	assert_int_equal(f->calls, 3);
	/* Not to be kept: all of them at once. */
	f->status = 200;
	f->way = LATER;
	say(f, 1, GET("/y"));
	say(f, 2, GET("/y"));
	turns(f, 5);
	assert_int_equal(f->calls, 4);
	f->way = COPIED;
	f->field[0][0] = "Cache-Control";
	f->field[0][1] = "private";
	respond(f, f->held);
	f->held = NULL;
	(void)get_answer(f, 1, false);
	assert_says(get_answer(f, 2, false), "fwd=bypass; detail=cache-control");
	assert_int_equal(f->calls, 5);
}

/* A client that leaves while it waits never runs. */
static void test_waiter_leaves(void **state)
{
	struct fixture *f = *state;

	start(f, "/*", &plain);
	f->way = LATER;
	say(f, 0, GET("/x"));
	say(f, 1, GET("/x"));
	say(f, 2, GET("/x"));
	turns(f, 5);
	close(f->client[1].fd);
	f->client[1].fd = -1;
	shutdown(f->client[2].fd, SHUT_WR);
	turns(f, 5);
	hear(f, 2);
	assert_int_equal(strncmp(f->client[2].in, "HTTP/1.1 503", 12), 0);
	assert_null(f->cache->groups);
	f->way = COPIED;
	respond(f, f->held);
	(void)get_answer(f, 0, false);
	assert_int_equal(f->calls, 1);
}

static void test_stale(void **state)
{
	struct conf_cache_rule conf = plain;
	struct fixture *f = *state;

	conf.ttl_ms = 1;
	conf.stale_ms = 1000000;

	start(f, "/*", &conf);
	(void)ask(f, 0, GET("/x"));
	spin_us(1100);
	turn(f);
	assert_says(ask(f, 0, HEAD("/x") "Cache-Control: only-if-cached\r\n\r\n"), "hit; ttl=-");
	assert_int_equal(f->calls, 1);
	f->way = LATER;
	f->body = "world";
	say(f, 0, GET("/x"));
	turns(f, 3);
	assert_int_equal(f->calls, 2);
	assert_says(ask(f, 1, GET("/x")), "hit; ttl=-");
	assert_string_equal(body_of(f, 1), "hello");
	f->way = COPIED;
	respond(f, f->held);
	assert_says(get_answer(f, 0, false), "fwd=stale; stored");
	assert_string_equal(body_of(f, 0), "world");
	assert_int_equal(f->calls, 2);
}

/* A client that does not read holds the object for a while, then it has a copy of the rest. */
static void test_slow_client(void **state)
{
	struct fixture *f = *state;
	struct shm_cache_view v;
	uint64_t give_up = clock_mono_ns() + 20 * NS_PER_S;
	int small = 4096;

	start(f, "/*", &plain);
	make_big();
	f->body = big;
	f->len = sizeof(big);
	(void)ask(f, 0, GET("/x"));
	setsockopt(f->client[1].fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	say(f, 1, GET("/x"));
	turns(f, 5);
	shm_cache_read(&f->shm, &v);
	assert_int_equal(v.pinned, 1);
	f->cache->hits.first->since_ns -= PINNED_NS;
	hit_look(f->cache);
	shm_cache_read(&f->shm, &v);
	assert_int_equal(v.pinned, 0);
	assert_int_equal(f->cache->npinned, 0);
	(void)shm_cache_invalidate(&f->shm, 1, SHM_CACHE_ALL, SLICE(""));
	while (!is_whole(&f->client[1], false)) {
		turn(f);
		hear(f, 1);
		assert_true(clock_mono_ns() < give_up);
	}
	assert_memory_equal(body_of(f, 1), big, sizeof(big));
	assert_int_equal(f->calls, 1);
}

static void test_drop(void **state)
{
	static const struct conf_part item[] = {
		{CONF_PART_TEXT, {"item:", 5}}, {CONF_PART_PARAM, {"id", 2}},
	}, of[] = {
		{CONF_PART_TEXT, {"of:", 3}}, {CONF_PART_HEADER, {"X-User", 6}},
	}, query[] = {
		{CONF_PART_TEXT, {"q:", 2}}, {CONF_PART_QUERY, {"q", 1}},
	}, bare[] = {{CONF_PART_QUERY, {"none", 4}}};
	static const struct conf_template tags[] = {
		{"item:{id}", 2, item}, {"of:{header.X-User}", 2, of}, {"q:{query.q}", 2, query},
		{"{query.none}", 1, bare}, /* empty: left out */
	};
	struct conf_invalidation drop = {
		.name = "d", .nwhen = 1, .when = {{"POST", "/item/{id}"}}, .npatterns = 1,
		.pattern = tags, .cascade = true, .place = "here",
	};
	struct conf_cache_rule conf = plain;
	struct fixture *f = *state;

	conf.ntags = 4;
	conf.tag = tags;
	f->conf.policy->cache.ninvalidations = 1;
	f->conf.policy->cache.invalidation = &drop;
	start(f, "/item/{id}", &conf);
	assert_true(is_kept(f, GET("/item/1")));
	assert_true(is_kept(f, GET("/item/2")));
	f->status = 500;
	(void)ask(f, 0, "POST /item/1 HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n");
	f->status = 200;
	assert_says(ask(f, 0, GET("/item/1")), "hit");
	(void)ask(f, 0, "POST /item/1 HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n");
	assert_says(ask(f, 0, GET("/item/1")), "uri-miss");
	assert_says(ask(f, 0, GET("/item/2")), "hit");
	/* A value is no pattern. */
	(void)ask(f, 0, "POST /item/* HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n");
	assert_true(is_kept(f, GET("/item/10")));
	(void)ask(f, 0, "POST /item/* HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n");
	assert_says(ask(f, 0, GET("/item/10")), "hit");
	/* What is computed while it is dropped is not kept. */
	f->way = LATER;
	say(f, 0, GET("/item/3"));
	turns(f, 3);
	f->way = COPIED;
	(void)ask(f, 1, "POST /item/3 HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n");
	respond(f, f->held);
	(void)get_answer(f, 0, false);
	assert_says(ask(f, 0, GET("/item/3")), "uri-miss");
	(void)shm_cache_invalidate(&f->shm, 1, SHM_CACHE_TAG, SLICE("of:u"));
	assert_true(is_kept(f, HEAD("/item/9?q=a%20b") "X-User: u\r\n\r\n"));
	(void)shm_cache_invalidate(&f->shm, 1, SHM_CACHE_TAG, SLICE("q:a b"));
	assert_says(ask(f, 0, HEAD("/item/9?q=a%20b") "X-User: u\r\n\r\n"), "uri-miss");
}

static void test_max_object(void **state)
{
	static const struct { enum way way; const char *path; } ways[] = {
		{COPIED, "w"}, {PULLED, "s"}, {PULLED_KNOWN, "k"},
	};
	struct fixture *f = *state;
	struct conf_cache_rule conf = plain;

	conf.max_object = 20000;
	start(f, "/*", &conf);
	make_big();
	f->body = big;
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		f->way = ways[i].way;
		for (f->len = conf.max_object - 1; f->len <= conf.max_object + 1; f->len++) {
			char text[80];

			snprintf(text, sizeof(text), GET("/%s%zu"), ways[i].path, f->len);
			assert_int_equal(is_kept(f, text), f->len <= conf.max_object);
			if (f->len <= conf.max_object) /* (others may come in chunks) */
				assert_memory_equal(body_of(f, 0), big, f->len);
		}
	}
	assert_int_equal(f->cache->captured, 0);
}

/* A body that may be kept, but not together with its key and head: that is known from then on, by
 * those who come, and by those who have waited; whether it comes whole or in pieces. */
static void test_no_room_for_the_head(void **state)
{
	struct fixture *f = *state;
	uint64_t most = shm_cache_object_max(&f->shm.geo);
	char *body = calloc(1, most + 1);

	assert_non_null(body);
	start(f, "/*", &plain);
	f->body = body;
	for (int pieces = 0; pieces < 2; pieces++) {
		char text[80];
		int before;

		snprintf(text, sizeof(text), GET("/%d"), pieces);
		f->way = pieces ? PULLED : COPIED;
		f->len = most - 1000;
		assert_true(is_kept(f, text));
		(void)shm_cache_invalidate(&f->shm, 1, SHM_CACHE_ALL, SLICE(""));
		f->len = most - 10;
		(void)ask(f, 0, text);
		for (int i = 0; i < 3; i++)
			assert_says(ask(f, 0, text), "Cache-Status: capricorn; fwd=bypass");
		(void)shm_cache_invalidate(&f->shm, 1, SHM_CACHE_ALL, SLICE(""));
		/* The second waits for the first, the third for nobody any more. */
		before = f->calls;
		f->way = LATER;
		for (int i = 0; i < 3; i++)
			say(f, i, text);
		turns(f, 5);
		assert_int_equal(f->calls, before + 1);
		f->way = COPIED;
		respond(f, f->held);
		f->held = NULL;
		(void)get_answer(f, 0, false);
		for (int i = 1; i < 3; i++)
			assert_says(get_answer(f, i, false), "fwd=bypass");
	}
	free(body);
}

/* Around the longest that can be named, and beyond: both forms of an answer go. */
static void test_drop_of_long_keys(void **state)
{
	static const struct conf_part path[] = {
		{CONF_PART_TEXT, {"a.example/item/", 15}}, {CONF_PART_PARAM, {"id", 2}},
	};
	static const struct conf_template patterns[] = {{"a.example/item/{id}", 2, path}};
	struct conf_invalidation drop = {
		.name = "d", .nwhen = 1, .when = {{"POST", "/item/{id}"}}, .npatterns = 1,
		.pattern = patterns, .place = "here",
	};
	struct conf_cache_rule conf = plain;
	struct fixture *f = *state;

	f->conf.policy->cache.ninvalidations = 1;
	f->conf.policy->cache.invalidation = &drop;
	start(f, "/item/{id}", &conf);
	for (int n = SHM_CACHE_PATTERN_MAX - 3; n <= (int)SHM_CACHE_PATTERN_MAX + 1; n++) {
		char text[2][400], post[400], id[300];

		memset(id, 'x', sizeof(id));
		for (int gzip = 0; gzip < 2; gzip++) {
			snprintf(text[gzip], sizeof(text[gzip]),
				 "GET /item/%.*s HTTP/1.1\r\nHost: a.example\r\n%s\r\n", n - 15, id,
				 gzip ? "Accept-Encoding: gzip\r\n" : "");
			assert_true(is_kept(f, text[gzip]));
		}
		snprintf(post, sizeof(post), "POST /item/%.*s HTTP/1.1\r\nHost: a.example\r\n"
			 "Content-Length: 0\r\n\r\n", n - 15, id);
		(void)ask(f, 0, post);
		for (int gzip = 0; gzip < 2; gzip++)
			assert_says(ask(f, 0, text[gzip]), "uri-miss");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_hit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hit_allocates_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pipelined, setup, teardown),
		cmocka_unit_test_setup_teardown(test_conditions, setup, teardown),
		cmocka_unit_test_setup_teardown(test_range, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(test_key, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gzip, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pieces, setup, teardown),
		cmocka_unit_test_setup_teardown(test_collapse, setup, teardown),
		cmocka_unit_test_setup_teardown(test_collapse_in_vain, setup, teardown),
		cmocka_unit_test_setup_teardown(test_waiter_leaves, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stale, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slow_client, setup, teardown),
		cmocka_unit_test_setup_teardown(test_drop, setup, teardown),
		cmocka_unit_test_setup_teardown(test_drop_of_long_keys, setup, teardown),
		cmocka_unit_test_setup_teardown(test_max_object, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_room_for_the_head, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
