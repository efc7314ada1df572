/* SPDX-License-Identifier: MIT */
/*
 * Which answers are compressed, and what their heads say: a serve whose handler answers as each
 * test wants it, over a pair of sockets.
 */
#include "tests/unit/shm_help.h"

#include <errno.h>
#include <sys/socket.h>
#include <zlib.h>

#include "conf/conf.h"
#include "serve/gzip.h"
#include "serve/serve.h"

#define BIG (600u * 1024u)
#define CONNS (GZIP_STREAMS_MAX + 4)
#define GET "GET / HTTP/1.1\r\nHost: a\r\n"
#define GZ GET "Accept-Encoding: gzip\r\n\r\n"

static const struct shm_geometry geo = {
	.slots = 2, .rows = CONNS, .routes = 2, .series = 64, .ring_bytes = 4096, .exits = 4,
	.events = 8, .errors = 32,
};

enum way { COPIED, TAKEN, REF, PULLED, PULLED_KNOWN, FILED };

struct fixture {
	struct shm shm;
	struct conf conf;
	struct heritage h;
	struct loop *loop;
	struct serve *serve;
	struct shm_slot *slot;
	int fd;                    /* the client's end */
	size_t got;
	char in[2 * BIG];          /* what it has received */
	char plain[BIG + 1];       /* the body of the last answer, decoded */
	size_t plain_len;
	bool zipped;
	/* the handler's */
	enum way way;
	int status, released;
	const char *type;
	const char *field[4][2];
	size_t len;                /* of the body */
	size_t at, fill_max, given, allowed; /* of a pulled one */
	struct request *req;
};

static char text[BIG];

static void make_text(void)
{
	for (size_t n = 0; n < BIG;) {
		char item[64];
		int k = snprintf(item, sizeof(item), "{\"id\":%zu,\"odd\":%s},\n", n * 7919 % 10007,
				 n & 1 ? "true" : "false");

		for (int i = 0; i < k && n < BIG; i++)
			text[n++] = item[i];
	}
}

/* ---- handler ---- */

static long fill(struct request *r, void *arg, char *buf, size_t cap, bool *ret_end)
{
	struct fixture *f = arg;
	size_t n = f->len - f->at;

	(void)r;
	if (n > f->fill_max)
		n = f->fill_max;
	if (n > f->allowed - f->at)
		n = f->allowed - f->at;
	if (n > cap)
		n = cap;
	memcpy(buf, text + f->at, n);
	f->at += n;
	*ret_end = f->at == f->len;
	return (long)n;
}

static void released(void *arg)
{
	((struct fixture *)arg)->released++;
}

static void send_file(struct fixture *f, struct request *r, struct slice type)
{
	FILE *file = tmpfile();
	int fd;

	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, BIG, file), BIG);
	assert_int_equal(fflush(file), 0);
	fd = dup(fileno(file));
	assert_true(fd >= 0);
	fclose(file);
	request_answer_file(r, f->status, type, fd, 0, f->len);
}

static void handle(struct serve *s, struct request *r, void *arg)
{
	struct fixture *f = arg;
	struct slice type = slice_of(f->type), body = {text, f->len};
	char *heap;

	(void)s;
	f->req = r;
	f->at = 0;
	for (size_t i = 0; i < 4 && f->field[i][0]; i++)
		request_field(r, slice_of(f->field[i][0]), slice_of(f->field[i][1]));
	switch (f->way) {
	case COPIED:
		request_answer(r, f->status, type, body);
		break;
	case TAKEN:
		heap = malloc(f->len + 1);
		assert_non_null(heap);
		memcpy(heap, text, f->len);
		request_answer_take(r, f->status, type, heap, f->len);
		break;
	case REF:
		request_answer_ref(r, f->status, type, body, released, f);
		break;
	case PULLED:
		request_answer_pull(r, f->status, type, -1, fill, f);
		break;
	case PULLED_KNOWN:
		request_answer_pull(r, f->status, type, (int64_t)f->len, fill, f);
		break;
	case FILED:
		send_file(f, r, type);
		break;
	}
}

/* ---- client and loop ---- */

static int connect_to(struct fixture *f)
{
	struct net_addr peer = {.family = NET_UNIX};
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	serve_accepted(f->serve, pair[1], &peer);
	return pair[0];
}

static void start(struct fixture *f)
{
	struct serve_options o = {
		.heritage = &f->h, .loop = f->loop, .connections_max = CONNS, .handler = handle,
		.handler_arg = f,
	};

	assert_int_equal(serve_new(&o, &f->serve), 0);
	f->fd = connect_to(f);
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
	set->keepalive_timeout = set->header_timeout = set->write_timeout = 5000;
	set->compression_level = 6;
	set->compression_min_size = 1024;
	set->large_file_threshold = 500 * 1024;
	f->h = (struct heritage){.conf = &f->conf, .shm = &f->shm, .slot = 1};
	f->slot = shm_slot(&f->shm, 1);
	f->fd = -1;
	f->status = 200;
	f->type = "application/json";
	f->len = 2000;
	f->fill_max = f->allowed = SIZE_MAX;
	assert_int_equal(loop_init(&f->loop, serve_timers(CONNS)), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	serve_free(f->serve);
	assert_int_equal(shm_get(&f->slot->in_flight), 0);
	if (f->fd >= 0)
		close(f->fd);
	loop_free(f->loop);
	fake_fini(&f->shm);
	free(f);
	return 0;
}

/* One turn; false when the server has closed. */
static bool turn(struct fixture *f)
{
	ssize_t n;

	loop_run_once(f->loop, 1);
	serve_end_turn(f->serve);
	assert_true(f->got < sizeof(f->in) - 1);
	n = recv(f->fd, f->in + f->got, sizeof(f->in) - 1 - f->got, 0);
	if (n > 0)
		f->got += (size_t)n;
	f->in[f->got] = '\0';
	return n > 0 || (n < 0 && errno == EAGAIN);
}

/* The chunks of what has come, without their lines; *ret_end: the last one has come. */
static size_t dechunk(const char *p, const char *end, char *to, bool *ret_end)
{
	size_t n = 0;

	*ret_end = false;
	while (p < end) {
		const char *line = memmem(p, (size_t)(end - p), "\r\n", 2);
		size_t size = line ? strtoul(p, NULL, 16) : 0;

		if (!line || (size > 0 && (size_t)(end - line) < size + 4))
			break;
		*ret_end = size == 0;
		if (size == 0)
			break;
		memcpy(to + n, line + 2, size);
		n += size;
		p = line + 2 + size + 2;
	}
	return n;
}

static bool says(struct fixture *f, const char *line)
{
	const char *end = strstr(f->in, "\r\n\r\n"), *at = strstr(f->in, line);

	assert_non_null(end);
	return at && at < end;
}

static size_t gunzip(struct fixture *f, const char *p, size_t len, bool whole)
{
	z_stream z = {.next_in = (Bytef *)(uintptr_t)p, .avail_in = (uInt)len};
	int rc;

	assert_int_equal(inflateInit2(&z, MAX_WBITS + 16), Z_OK);
	z.next_out = (Bytef *)f->plain;
	z.avail_out = sizeof(f->plain);
	rc = inflate(&z, Z_SYNC_FLUSH);
	if (whole) {
		assert_int_equal(rc, Z_STREAM_END);
		assert_int_equal(z.avail_in, 0);
	}
	(void)inflateEnd(&z);
	return z.total_out;
}

/* Decodes the answer as far as it has come. false: it is not whole. */
static bool decode(struct fixture *f, bool closed)
{
	static char flat[2 * BIG];
	const char *head = strstr(f->in, "\r\n\r\n"), *end = f->in + f->got, *length;
	bool whole = closed;
	size_t n;

	if (!head)
		return false;
	head += 4;
	n = (size_t)(end - head);
	length = strstr(f->in, "Content-Length: ");
	if (says(f, "Transfer-Encoding: chunked\r\n")) {
		assert_false(says(f, "Content-Length"));
		n = dechunk(head, end, flat, &whole);
	} else {
		memcpy(flat, head, n);
		whole = whole || (length && n == strtoul(length + 16, NULL, 10));
	}
	f->zipped = says(f, "Content-Encoding: gzip\r\n");
	if (f->zipped) {
		f->plain_len = gunzip(f, flat, n, whole);
	} else {
		f->plain_len = n < BIG ? n : BIG;
		memcpy(f->plain, flat, f->plain_len);
	}
	return whole;
}

static void send_request(struct fixture *f, const char *request)
{
	f->got = 0;
	f->in[0] = '\0';
	assert_int_equal(send(f->fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
}

/* A whole answer, with the body that the handler gave. */
static void ask(struct fixture *f, const char *request)
{
	uint64_t give_up = clock_mono_ns() + 20 * NS_PER_S;
	bool open = true;

	send_request(f, request);
	while (open && !(f->got > 0 && decode(f, false))) {
		open = turn(f);
		assert_true(clock_mono_ns() < give_up);
	}
	assert_true(decode(f, !open));
	assert_int_equal(f->plain_len, f->len);
	assert_memory_equal(f->plain, text, f->len);
}

/* The head of an answer that has no body. */
static void ask_head(struct fixture *f, const char *request)
{
	uint64_t give_up = clock_mono_ns() + 20 * NS_PER_S;

	send_request(f, request);
	while (!strstr(f->in, "\r\n\r\n")) {
		assert_true(turn(f));
		assert_true(clock_mono_ns() < give_up);
	}
	assert_string_equal(strstr(f->in, "\r\n\r\n") + 4, "");
}

static unsigned times(const char *in, const char *what)
{
	unsigned n = 0;

	while ((in = strstr(in, what))) {
		n++;
		in++;
	}
	return n;
}

/* ---- tests ---- */

static void test_every_way_to_give_a_body(void **state)
{
	static const size_t sizes[] = {1024, 2000, 30000, 65536, 65537, 200000, 500000};
	struct fixture *f = *state;
	uint64_t in = 0, answers = 0;

	start(f);
	for (f->way = COPIED; f->way <= FILED; f->way++)
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			f->len = sizes[i];
			ask(f, GZ);
			assert_true(f->zipped);
			assert_true(says(f, "Vary: Accept-Encoding\r\n"));
			/* Small ones that are at hand have a length. */
			assert_int_equal(says(f, "Content-Length"), f->len <= GZIP_WHOLE_MAX &&
					 f->way != PULLED && f->way != PULLED_KNOWN);
			in += f->len;
			answers++;
			ask(f, GET "\r\n");
			assert_false(f->zipped);
			assert_true(says(f, "Vary: Accept-Encoding\r\n"));
		}
	assert_int_equal(f->released, 2 * sizeof(sizes) / sizeof(sizes[0]));
	assert_int_equal(shm_get(&f->slot->c.compressed), answers);
	assert_int_equal(shm_get(&f->slot->c.compression_in), in);
	assert_true(shm_get(&f->slot->c.compression_out) > 0);
	assert_true(shm_get(&f->slot->c.compression_out) < in / 4);
	assert_int_equal(shm_get(&f->slot->c.compression_skipped), 0);
	assert_int_equal(shm_get(&f->slot->c.requests), 2 * answers);
}

/* The first answer of those that have come, decoded and taken away. false: it is not whole. */
static bool take_answer(struct fixture *f)
{
	char *head = memmem(f->in, f->got, "\r\n\r\n", 4), *length;
	size_t n, got = f->got;

	if (!head)
		return false;
	length = strstr(f->in, "Content-Length: ");
	assert_true(length && length < head);
	n = (size_t)(head + 4 - f->in) + strtoul(length + 16, NULL, 10);
	if (got < n)
		return false;
	f->got = n;
	assert_true(decode(f, false));
	f->got = got - n;
	memmove(f->in, f->in + n, f->got);
	f->in[f->got] = '\0';
	return true;
}

/* Some 8 KiB each: they do not fit into the output at once. */
static void test_many_at_once(void **state)
{
	struct fixture *f = *state;
	uint64_t give_up = clock_mono_ns() + 20 * NS_PER_S;

	start(f);
	f->len = 60000;
	for (f->way = COPIED; f->way <= REF; f->way++) {
		int n = 0;

		send_request(f, GZ GZ GZ GZ GZ GZ GZ GZ GZ GZ);
		while (n < 10) {
			assert_true(turn(f));
			assert_true(clock_mono_ns() < give_up);
			while (take_answer(f)) {
				n++;
				assert_true(f->zipped);
				assert_int_equal(f->plain_len, f->len);
				assert_memory_equal(f->plain, text, f->len);
			}
		}
	}
	assert_int_equal(f->released, 10);
}

/* Compressed in one go, and still more than the output has room for. */
static void test_what_stays_large(void **state)
{
	struct fixture *f = *state;
	uint64_t x = 1;

	for (size_t i = 0; i < BIG; i++)
		text[i] = "0123456789abcdef"[rnd(&x) >> 60];
	start(f);
	f->len = 65536;
	for (f->way = COPIED; f->way <= FILED; f->way++) {
		ask(f, GZ);
		assert_true(f->zipped && f->got > 32768);
	}
	assert_int_equal(f->released, 1);
	fill_random(text, BIG, &x); /* and this not at all */
	for (f->way = COPIED; f->way <= FILED; f->way++) {
		ask(f, GZ);
		assert_int_equal(f->zipped, f->way == PULLED || f->way == PULLED_KNOWN);
	}
	assert_int_equal(f->released, 2);
	make_text();
}

static void test_what_is_left_as_it_is(void **state)
{
	struct fixture *f = *state;

	start(f);
	f->type = "image/png";
	ask(f, GZ);
	assert_false(f->zipped || says(f, "Vary"));
	f->type = NULL;
	ask(f, GZ);
	assert_false(f->zipped || says(f, "Vary"));
	f->type = "text/html";
	f->len = 1023;
	ask(f, GZ);
	assert_false(f->zipped || says(f, "Vary"));
	f->len = 1024;
	ask(f, GZ);
	assert_true(f->zipped);
	f->way = FILED;
	f->len = 500 * 1024 + 1; /* above LARGE_FILE_THRESHOLD */
	ask(f, GZ);
	assert_false(f->zipped || says(f, "Vary"));
}

static void test_statuses(void **state)
{
	static const int zipped[] = {200, 201, 299, 400, 404, 418, 500, 503};
	static const int plain[] = {300, 301, 308};
	struct fixture *f = *state;

	start(f);
	for (size_t i = 0; i < sizeof(zipped) / sizeof(zipped[0]); i++) {
		f->status = zipped[i];
		ask(f, GZ);
		assert_true(f->zipped);
	}
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
		f->status = plain[i];
		ask(f, GZ);
		assert_false(f->zipped || says(f, "Vary"));
	}
	f->status = 206; /* with or without a Content-Range */
	ask(f, GZ);
	assert_false(f->zipped);
	assert_true(says(f, "Vary: Accept-Encoding\r\n"));
	f->status = 304;
	ask_head(f, GZ);
	assert_false(says(f, "Content-Encoding"));
	assert_true(says(f, "Vary: Accept-Encoding\r\n"));
	f->status = 204;
	ask_head(f, GZ);
	assert_false(says(f, "Content-Encoding") || says(f, "Vary"));
}

static void test_level_0(void **state)
{
	struct fixture *f = *state;

	f->conf.s.compression_level = 0;
	start(f);
	for (f->way = COPIED; f->way <= FILED; f->way++) {
		ask(f, GZ);
		assert_false(f->zipped || says(f, "Vary"));
	}
}

static void test_min_size_0(void **state)
{
	struct fixture *f = *state;

	f->conf.s.compression_min_size = 0;
	start(f);
	f->len = 0;
	ask(f, GZ);
	assert_false(f->zipped || says(f, "Vary"));
	f->len = 18; /* it would become larger */
	ask(f, GZ);
	assert_false(f->zipped);
	assert_true(says(f, "Vary: Accept-Encoding\r\n"));
	f->len = 200;
	ask(f, GZ);
	assert_true(f->zipped);
	f->way = PULLED;
	f->len = 0;
	ask(f, GZ);
	assert_true(f->zipped);
}

static void with_field(struct fixture *f, const char *name, const char *value)
{
	f->field[0][0] = name;
	f->field[0][1] = value;
	ask(f, GZ);
}

static void test_fields_that_forbid_it(void **state)
{
	static const char *const forbid[][2] = {
		{"Content-Encoding", "br"}, {"content-encoding", "identity"},
		{"Cache-Control", "no-transform"}, {"cache-control", "public , No-Transform,max-age=1"},
		{"Content-Digest", "sha-256=:x:"}, {"Digest", "x"},
	};
	struct fixture *f = *state;

	start(f);
	for (f->way = COPIED; f->way <= FILED; f->way++)
		for (size_t i = 0; i < sizeof(forbid) / sizeof(forbid[0]); i++) {
			with_field(f, forbid[i][0], forbid[i][1]);
			assert_false(f->zipped || says(f, "Vary"));
		}
	f->way = COPIED;
	with_field(f, "Content-Range", "bytes 0-1999/5000");
	assert_false(f->zipped);
	assert_true(says(f, "Vary: Accept-Encoding\r\n"));
	with_field(f, "Cache-Control", "no-transformers");
	assert_true(f->zipped);
}

static void test_vary_is_merged(void **state)
{
	static const char *const merged[][2] = {
		{"Origin", "Vary: Origin, Accept-Encoding\r\n"},
		{"Origin ,Cookie", "Vary: Origin ,Cookie, Accept-Encoding\r\n"},
		{"accept-encoding", "Vary: accept-encoding\r\n"},
		{"Cookie,Accept-Encoding ", "Vary: Cookie,Accept-Encoding"},
		{"Accept-Encodings", "Vary: Accept-Encodings, Accept-Encoding\r\n"},
		{"*", "Vary: *\r\n"},
		{"", "Vary: Accept-Encoding\r\n"},
	};
	struct fixture *f = *state;

	start(f);
	for (size_t i = 0; i < sizeof(merged) / sizeof(merged[0]); i++) {
		with_field(f, "Vary", merged[i][0]);
		assert_true(f->zipped);
		assert_true(says(f, merged[i][1]));
		assert_int_equal(times(f->in, "Vary:"), 1);
	}
	f->field[1][0] = "vary";
	f->field[1][1] = "Cookie";
	with_field(f, "Vary", "Origin");
	assert_true(says(f, "Vary: Origin, Accept-Encoding\r\n"));
	assert_true(says(f, "vary: Cookie\r\n"));
	f->field[1][1] = "*";
	with_field(f, "Vary", "Origin");
	assert_true(says(f, "Vary: Origin\r\nvary: *\r\n"));
}

static void test_etags_become_weak(void **state)
{
	struct fixture *f = *state;

	start(f);
	f->field[1][0] = "Accept-Ranges";
	f->field[1][1] = "bytes";
	with_field(f, "ETag", "\"abc\"");
	assert_true(says(f, "ETag: W/\"abc\"\r\n"));
	assert_false(says(f, "Accept-Ranges"));
	with_field(f, "etag", "W/\"abc\"");
	assert_true(says(f, "etag: W/\"abc\"\r\n"));
	ask(f, GET "\r\n");
	assert_true(says(f, "etag: W/\"abc\"\r\n"));
	f->field[0][1] = "\"abc\"";
	ask(f, GET "\r\n");
	assert_true(says(f, "etag: \"abc\"\r\nAccept-Ranges: bytes\r\n"));
}

static void test_who_accepts_it(void **state)
{
	static const char *const yes[] = {"gzip", "GZip", "deflate, gzip;q=0.5", "br;q=1,gzip;q=0.001",
					  "*", "x-gzip"};
	static const char *const no[] = {"", "gzip;q=0", "gzip;q=0.000, *", "deflate", "*;q=0",
					 "identity", "xgzip", "gzips"};
	struct fixture *f = *state;
	char request[200];

	start(f);
	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
		snprintf(request, sizeof(request), GET "Accept-Encoding: %s\r\n\r\n", yes[i]);
		ask(f, request);
		assert_true(f->zipped);
	}
	for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
		snprintf(request, sizeof(request), GET "Accept-Encoding: %s\r\n\r\n", no[i]);
		ask(f, request);
		assert_false(f->zipped);
		assert_true(says(f, "Vary: Accept-Encoding\r\n"));
	}
}

/* The fields of HEAD are those of GET; a length that is not known without the work is left out. */
static void test_head_has_the_fields_of_get(void **state)
{
	static const size_t sizes[] = {500, 2000, 65536, 65537, 500000};
	struct fixture *f = *state;
	char get[1024], *type;

	start(f);
	for (f->way = COPIED; f->way <= FILED; f->way++)
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			f->len = sizes[i];
			ask(f, GET "Accept-Encoding: gzip\r\nX-Request-Id: a\r\n\r\n");
			*(strstr(f->in, "\r\n\r\n") + 4) = '\0';
			type = strstr(f->in, "Content-Type"); /* behind the date */
			assert_non_null(type);
			snprintf(get, sizeof(get), "%s", type);
			ask_head(f, "HEAD / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n"
				    "X-Request-Id: a\r\n\r\n");
			assert_string_equal(strstr(f->in, "Content-Type"), get);
		}
}

static void test_http_1_0(void **state)
{
	struct fixture *f = *state;
	const char *request = "GET / HTTP/1.0\r\nConnection: keep-alive\r\nAccept-Encoding: gzip\r\n"
			      "\r\n";

	start(f);
	ask(f, request);
	assert_true(f->zipped && says(f, "Content-Length") && says(f, "Connection: keep-alive"));
	/* A known length keeps the connection; a coding whose length is not known would not. */
	f->len = 200000;
	ask(f, request);
	assert_true(!f->zipped && says(f, "Content-Length") && says(f, "Connection: keep-alive"));
	f->way = PULLED;
	ask(f, request);
	assert_true(f->zipped && says(f, "Connection: close"));
}

/* What was written before a pause can be read in the pause: server-sent events. */
static void test_streams_are_flushed(void **state)
{
	struct fixture *f = *state;
	uint64_t give_up = clock_mono_ns() + 20 * NS_PER_S;

	start(f);
	f->type = "text/event-stream";
	f->way = PULLED;
	f->len = 70000;
	f->allowed = 10;
	send_request(f, GZ);
	for (;;) {
		while (f->got == 0 || (!decode(f, false) && f->plain_len < f->allowed)) {
			assert_true(turn(f));
			assert_true(clock_mono_ns() < give_up);
		}
		assert_true(f->zipped);
		assert_int_equal(f->plain_len, f->allowed);
		assert_memory_equal(f->plain, text, f->allowed);
		if (f->allowed == f->len)
			break;
		f->allowed = f->allowed * 3 > f->len ? f->len : f->allowed * 3;
		request_body_more(f->req);
	}
	assert_true(decode(f, false));
}

/* A client that reads slowly: the flush goes on where the output was full. */
static void test_a_flush_into_a_full_socket(void **state)
{
	struct fixture *f = *state;
	uint64_t x = 1, give_up = clock_mono_ns() + 20 * NS_PER_S;
	int small = 4096;

	start(f);
	fill_random(text, BIG, &x);
	assert_int_equal(setsockopt(f->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	f->way = PULLED;
	f->len = BIG;
	f->allowed = BIG / 2;
	send_request(f, GZ);
	for (int i = 0; i < 50; i++) {
		loop_run_once(f->loop, 1); /* nothing is read */
		if (i == 30) {
			f->allowed = BIG;
			request_body_more(f->req);
		}
	}
	while (f->got == 0 || !decode(f, false)) {
		assert_true(turn(f));
		assert_true(clock_mono_ns() < give_up);
	}
	assert_true(f->zipped);
	assert_int_equal(f->plain_len, BIG);
	assert_memory_equal(f->plain, text, BIG);
	make_text();
}

static void test_one_stream_too_many(void **state)
{
	struct fixture *f = *state;
	int fd[GZIP_STREAMS_MAX];

	start(f);
	f->way = PULLED;
	f->allowed = 500;
	for (unsigned i = 0; i < GZIP_STREAMS_MAX; i++) {
		fd[i] = connect_to(f);
		assert_int_equal(send(fd[i], GZ, sizeof(GZ) - 1, MSG_NOSIGNAL), sizeof(GZ) - 1);
		loop_run_once(f->loop, 1);
	}
	while (shm_get(&f->slot->c.compressed) < GZIP_STREAMS_MAX)
		loop_run_once(f->loop, 1);
	f->allowed = SIZE_MAX;
	ask(f, GZ);
	assert_false(f->zipped);
	assert_int_equal(shm_get(&f->slot->c.compression_skipped), 1);
	f->way = COPIED; /* a whole one needs none of them */
	ask(f, GZ);
	assert_true(f->zipped);
	for (unsigned i = 0; i < GZIP_STREAMS_MAX; i++)
		close(fd[i]);
	while (serve_connections(f->serve) > 1)
		loop_run_once(f->loop, 1);
	f->way = PULLED;
	ask(f, GZ);
	assert_true(f->zipped);
	assert_int_equal(shm_get(&f->slot->c.compression_skipped), 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static int setup_text(void **state)
{
	(void)state;
	make_text();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_every_way_to_give_a_body),
		T(test_many_at_once),
		T(test_what_stays_large),
		T(test_what_is_left_as_it_is),
		T(test_statuses),
		T(test_level_0),
		T(test_min_size_0),
		T(test_fields_that_forbid_it),
		T(test_vary_is_merged),
		T(test_etags_become_weak),
		T(test_who_accepts_it),
		T(test_head_has_the_fields_of_get),
		T(test_http_1_0),
		T(test_streams_are_flushed),
		T(test_a_flush_into_a_full_socket),
		T(test_one_stream_too_many),
	};

	return cmocka_run_group_tests(tests, setup_text, NULL);
}
