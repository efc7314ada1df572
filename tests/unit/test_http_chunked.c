/* SPDX-License-Identifier: MIT */
/* http/chunked.c: each body whole, cut in two at each byte, and byte by byte, with one outcome. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "http/http.h"

static const struct http_limits limits = { 64, 3, 32, 64 };

struct result {
	enum http_err e;
	bool done;
	size_t used;
	char body[128];
	size_t len;
};

/* Feeds p[0..len) from a block of just its size. */
static void feed(struct http_chunked *c, struct result *r, const char *p, size_t len)
{
	char *copy = malloc(len ? len : 1);
	size_t at = 0, used;
	struct slice data;

	assert_non_null(copy);
	memcpy(copy, p, len);
	while (at < len && !c->done && !r->e) {
		r->e = http_chunked_read(c, &limits, copy + at, len - at, &used, &data);
		assert_true(used > 0 && used <= len - at);
		assert_true(r->len + data.len <= sizeof(r->body));
		if (data.len > 0)
			memcpy(r->body + r->len, data.p, data.len);
		r->len += data.len;
		at += used;
	}
	r->used += at;
	r->done = c->done;
	free(copy);
}

static struct result run(const char *raw, size_t len, size_t piece, size_t first)
{
	struct http_chunked c = { 0 };
	struct result r = { .e = HTTP_OK };

	feed(&c, &r, raw, first);
	for (size_t i = first; i < len; i += piece)
		feed(&c, &r, raw + i, piece < len - i ? piece : len - i);
	assert_int_equal(c.total, r.len);
	return r;
}

static void same(const struct result *a, const struct result *b, const char *raw)
{
	if (a->e != b->e || a->done != b->done || a->used != b->used || a->len != b->len ||
	    memcmp(a->body, b->body, a->len) != 0)
		fail_msg("cut: %s", raw);
}

static struct result run_all_ways(const char *raw)
{
	size_t len = strlen(raw);
	struct result w = run(raw, len, len, 0), r;

	for (size_t cut = 0; cut <= len; cut++) {
		r = run(raw, len, len, cut);
		same(&w, &r, raw);
	}
	r = run(raw, len, 1, 0);
	same(&w, &r, raw);
	return w;
}

static void test_good(void **state)
{
	static const struct { const char *raw, *body; } rows[] = {
		{ "0\r\n\r\n", "" },
		{ "000\r\n\r\n", "" },
		{ "5\r\nhello\r\n0\r\n\r\n", "hello" },
		{ "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world" },
		{ "A\r\n0123456789\r\n00b\r\n0123456789a\r\n0\r\n\r\n", "01234567890123456789a" },
		{ "2\r\n\r\n\r\n0\r\n\r\n", "\r\n" },
		{ "1;a\r\nx\r\n0;b\r\n\r\n", "x" },
		{ "1; a ; b=c;d = e; f=\"g;\\\"\r\"\r\nx\r\n", NULL },
		{ "1; a ; b=c;d = e; f=\"g;\\\"\t\";h\r\nx\r\n0 ;a\r\n\r\n", "x" },
		{ "1;a=\"b\" ;c\r\nx\r\n0\r\n\r\n", "x" },
		{ "0\r\nVary: *\r\nContent-Type: text/plain\r\n\r\n", "" },
		{ "0\r\nX:\r\nHos: a\r\nHosta: b\r\n\r\n", "" },
		{ "0\r\nContent-Lengt: 1\r\nContent_Length: 1\r\n\r\n", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct result r = run_all_ways(rows[i].raw);

		if (!rows[i].body) {
			assert_int_equal(r.e, HTTP_E_BAD_CHUNK);
			continue;
		}
		if (r.e || !r.done)
			fail_msg("%s: %s", http_err_word(r.e), rows[i].raw);
		assert_int_equal(r.used, strlen(rows[i].raw));
		assert_int_equal(r.len, strlen(rows[i].body));
		assert_memory_equal(r.body, rows[i].body, r.len);
	}
}

static void test_rest_is_left(void **state)
{
	const char *body = "3\r\nabc\r\n0\r\nA: b\r\n\r\n", *next = "GET / HTTP/1.1\r\n";
	char raw[64];
	struct result r;

	(void)state;
	snprintf(raw, sizeof(raw), "%s%s", body, next);
	r = run_all_ways(raw);
	assert_true(r.done);
	assert_int_equal(r.used, strlen(body));
}

static void test_after_the_end(void **state)
{
	struct http_chunked c = { 0 };
	struct slice data;
	size_t used = 9;

	(void)state;
	assert_int_equal(http_chunked_read(&c, &limits, "0\r\n\r\n", 5, &used, &data), HTTP_OK);
	assert_true(c.done);
	assert_int_equal(http_chunked_read(&c, &limits, "5\r\n", 3, &used, &data), HTTP_OK);
	assert_int_equal(used, 0);
	assert_null(data.p);
}

static void test_bad(void **state)
{
	static const struct { const char *raw; enum http_err e; } rows[] = {
		{ "\r\n", HTTP_E_BAD_CHUNK }, { " 5\r\n", HTTP_E_BAD_CHUNK },
		{ "5 \r\n", HTTP_E_BAD_CHUNK }, { "5\n", HTTP_E_BAD_CHUNK },
		{ "5\r5", HTTP_E_BAD_CHUNK }, { "-5\r\n", HTTP_E_BAD_CHUNK },
		{ "+5\r\n", HTTP_E_BAD_CHUNK }, { "0x5\r\n", HTTP_E_BAD_CHUNK },
		{ "6_0\r\n", HTTP_E_BAD_CHUNK }, { "g\r\n", HTTP_E_BAD_CHUNK },
		{ ";a\r\n", HTTP_E_BAD_CHUNK }, { "5;\r\n", HTTP_E_BAD_CHUNK },
		{ "5;a\n", HTTP_E_BAD_CHUNK }, { "5;a\rb\r\n", HTTP_E_BAD_CHUNK },
		{ "5;a b\r\n", HTTP_E_BAD_CHUNK }, { "5;a =\r\n", HTTP_E_BAD_CHUNK },
		{ "5;a \r\n", HTTP_E_BAD_CHUNK }, { "5;a=b c\r\n", HTTP_E_BAD_CHUNK },
		{ "5;a=\"b\n\"\r\n", HTTP_E_BAD_CHUNK }, { "5;a=\"\\\n\"\r\n", HTTP_E_BAD_CHUNK },
		{ "5;a=\"b\"c\r\n", HTTP_E_BAD_CHUNK }, { "5;a=\"b\"\n", HTTP_E_BAD_CHUNK },
		{ "5;a;;b\r\n", HTTP_E_BAD_CHUNK }, { "5;=a\r\n", HTTP_E_BAD_CHUNK },
		{ "5\r\nhello0\r\n", HTTP_E_BAD_CHUNK }, { "5\r\nhello\n", HTTP_E_BAD_CHUNK },
		{ "5\r\nhello\r0", HTTP_E_BAD_CHUNK }, { "5\r\nhello\r\n\r\n", HTTP_E_BAD_CHUNK },
		{ "fffffffffffffffff\r\n", HTTP_E_BAD_CHUNK },
		{ "10000000000000000\r\n", HTTP_E_BAD_CHUNK },
		{ "8000000000000000\r\n", HTTP_E_BAD_CHUNK },
		{ "1\r\nx\r\n7fffffffffffffff\r\n", HTTP_E_BAD_CHUNK },
		{ "0\r\n\n", HTTP_E_BAD_TRAILER }, { "0\r\n\rx", HTTP_E_BAD_TRAILER },
		{ "0\r\n a: b\r\n", HTTP_E_BAD_TRAILER }, { "0\r\na : b\r\n", HTTP_E_BAD_TRAILER },
		{ "0\r\n: b\r\n", HTTP_E_BAD_TRAILER }, { "0\r\na\r\n", HTTP_E_BAD_TRAILER },
		{ "0\r\na: b\n", HTTP_E_BAD_TRAILER }, { "0\r\na: b\rc", HTTP_E_BAD_TRAILER },
		{ "0\r\na: b\x01\r\n", HTTP_E_BAD_TRAILER },
		{ "0\r\nHost: a\r\n", HTTP_E_BAD_TRAILER },
		{ "0\r\nA: b\r\ncontent-LENGTH: 1\r\n", HTTP_E_BAD_TRAILER },
		{ "0\r\nTransfer-Encoding: chunked\r\n", HTTP_E_BAD_TRAILER },
		{ "0\r\na:1\r\nb:2\r\nc:3\r\nd:4\r\n", HTTP_E_TRAILERS_TOO_LARGE },
		{ "0\r\na: 012345678901234567890123456789\r\n", HTTP_E_TRAILERS_TOO_LARGE },
		{ "0\r\na: 01234567890123456789\r\nb: 01234567890123456789\r\n"
		  "c: 01234567890123456789\r\n\r\n", HTTP_E_TRAILERS_TOO_LARGE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct result r = run_all_ways(rows[i].raw);

		if (r.e != rows[i].e)
			fail_msg("%s: %s", http_err_word(r.e), rows[i].raw);
	}
}

/* Endless digits, extensions or white space in a size line come to an end. */
static void test_long_lines(void **state)
{
	static const char *const starts[] = { "0", "5;a", "5 ", "5;a=\"" };
	static const char fill[] = "0a x";

	(void)state;
	for (size_t k = 0; k < sizeof(starts) / sizeof(starts[0]); k++) {
		struct http_chunked c = { 0 };
		struct slice data;
		enum http_err e;
		size_t used, n = strlen(starts[k]);

		e = http_chunked_read(&c, &limits, starts[k], n, &used, &data);
		assert_int_equal(e, HTTP_OK);
		for (; !e && n < 10000; n++)
			e = http_chunked_read(&c, &limits, fill + k, 1, &used, &data);
		assert_int_equal(e, HTTP_E_BAD_CHUNK);
		assert_int_equal(n, 4097);
	}
}

static void test_large_chunk(void **state)
{
	struct http_chunked c = { 0 };
	struct slice raw = SLICE("7fffffffffffffff\r\nabc"), data;
	size_t used;

	(void)state;
	assert_int_equal(http_chunked_read(&c, &limits, raw.p, raw.len, &used, &data), HTTP_OK);
	assert_int_equal(used, 21);
	assert_int_equal(data.len, 3);
	assert_true(c.left == (uint64_t)INT64_MAX - 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_rest_is_left),
		cmocka_unit_test(test_after_the_end),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_long_lines),
		cmocka_unit_test(test_large_chunk),
	};

	return cmocka_run_group_tests_name("http/chunked", tests, NULL, NULL);
}
