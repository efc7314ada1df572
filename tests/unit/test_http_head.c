/* SPDX-License-Identifier: MIT */
/*
 * http/head.c. Every head of the tables is parsed whole, cut in two at each byte, and byte by byte,
 * each time from a heap block of just its size: the outcome must be the same, and a sanitizer
 * build sees a read past the end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "http/http.h"

#define FIELDS 5

static const struct http_limits small = { 64, FIELDS, 48, 256 };
static const struct http_limits large = { 8190, FIELDS, 8190, 65536 };

static struct http_field fields[FIELDS];
static struct http_request req;
static char *bytes;

/* Parses a copy of exactly len bytes; the one before is freed, so the buffer moves each time. */
static enum http_err parse(const struct http_limits *l, const char *raw, size_t len, size_t *scan)
{
	free(bytes);
	bytes = malloc(len ? len : 1);
	assert_non_null(bytes);
	memcpy(bytes, raw, len);
	memset(&req, 0x5a, sizeof(req)); /* the parser may not count on what was there */
	req.fields = fields;
	return http_parse_head(&req, l, bytes, len, scan);
}

static enum http_err whole(const struct http_limits *l, const char *raw)
{
	size_t scan = 0;

	return parse(l, raw, strlen(raw), &scan);
}

static void in_two(const struct http_limits *l, const char *raw, size_t len, enum http_err want)
{
	for (size_t cut = 0; cut <= len; cut++) {
		size_t scan = 0;
		enum http_err e = parse(l, raw, cut, &scan);

		if (e == HTTP_E_AGAIN && cut < len)
			e = parse(l, raw, len, &scan);
		if (e != want)
			fail_msg("cut at %zu: %s, not %s: %s", cut, http_err_word(e),
				 http_err_word(want), raw);
	}
}

static void dripped(const struct http_limits *l, const char *raw, size_t len, enum http_err want)
{
	enum http_err e = HTTP_E_AGAIN;
	size_t scan = 0;

	for (size_t n = 0; n <= len && e == HTTP_E_AGAIN; n++)
		e = parse(l, raw, n, &scan);
	if (e != want)
		fail_msg("dripped: %s, not %s: %s", http_err_word(e), http_err_word(want), raw);
}

static void expect_bytes(const struct http_limits *l, const char *raw, size_t len,
			 enum http_err want)
{
	size_t scan = 0;
	enum http_err e = parse(l, raw, len, &scan);

	if (e != want)
		fail_msg("%s, not %s: %s", http_err_word(e), http_err_word(want), raw);
	in_two(l, raw, len, want);
	dripped(l, raw, len, want);
}

static void expect(const struct http_limits *l, const char *raw, enum http_err want)
{
	expect_bytes(l, raw, strlen(raw), want);
}

static void assert_slice(struct slice s, const char *want)
{
	if (!slice_eq(s, slice_of(want)) || !s.p != !want)
		fail_msg("\"%.*s\", not \"%s\"", (int)s.len, s.p, want);
}

#define GET "GET / HTTP/1.1\r\n"
#define HOST "Host: a\r\n"

/* ---- what is right ---- */

static void test_plain(void **state)
{
	const char *raw = "GET /p/q?x=1?y HTTP/1.1\r\nHost: a:80\r\nAccept:\t */* \t\r\nE:\r\n"
			  "\r\nrest";

	(void)state;
	expect(&large, raw, HTTP_OK);
	assert_int_equal(whole(&large, raw), HTTP_OK);
	assert_int_equal(req.method, HTTP_M_GET);
	assert_int_equal(req.form, HTTP_ORIGIN_FORM);
	assert_int_equal(req.minor, 1);
	assert_int_equal(req.content_length, -1);
	assert_true(req.keep_alive);
	assert_false(req.chunked || req.has_body || req.upgrade || req.expect_continue);
	assert_slice(req.method_text, "GET");
	assert_slice(req.target, "/p/q?x=1?y");
	assert_slice(req.raw_path, "/p/q");
	assert_slice(req.query, "x=1?y");
	assert_slice(req.authority, "a:80");
	assert_slice(req.known[HTTP_F_HOST], "a:80");
	assert_slice(req.known[HTTP_F_ACCEPT], "*/*");
	assert_slice(req.known[HTTP_F_ORIGIN], NULL);
	assert_int_equal(req.nfields, 3);
	assert_slice(req.fields[2].name, "E");
	assert_slice(req.fields[2].value, "");
	assert_int_equal(req.head_len, strlen(raw) - 4);
}

static void test_prefixes_want_more(void **state)
{
	const char *raw = "\r\n\r\nPOST http://a/b HTTP/1.1\r\nHost: a\r\n"
			  "Content-Length: 3\r\n\r\n";
	size_t len = strlen(raw);

	(void)state;
	for (size_t n = 0; n < len; n++) {
		size_t scan = 0;

		assert_int_equal(parse(&large, raw, n, &scan), HTTP_E_AGAIN);
	}
	expect(&large, raw, HTTP_OK);
	assert_int_equal(whole(&large, raw), HTTP_OK);
	assert_int_equal(req.head_len, len);
	assert_int_equal(req.content_length, 3);
	assert_true(req.has_body);
}

static void test_methods(void **state)
{
	static const struct { const char *name; enum http_method m; } rows[] = {
		{ "GET", HTTP_M_GET }, { "HEAD", HTTP_M_HEAD }, { "POST", HTTP_M_POST },
		{ "PUT", HTTP_M_PUT }, { "DELETE", HTTP_M_DELETE }, { "TRACE", HTTP_M_TRACE },
		{ "OPTIONS", HTTP_M_OPTIONS }, { "PATCH", HTTP_M_PATCH }, { "ABC", HTTP_M_OTHER },
		{ "ABCD", HTTP_M_OTHER }, { "ABCDE", HTTP_M_OTHER }, { "ABCDEF", HTTP_M_OTHER },
		{ "ABCDEFG", HTTP_M_OTHER }, { "X", HTTP_M_OTHER }, { "-BLARGH", HTTP_M_OTHER },
		{ "UPDATEREDIRECTREF", HTTP_M_OTHER }, { "A2345678901234567890", HTTP_M_OTHER },
	};
	char raw[128];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(raw, sizeof(raw), "%s / HTTP/1.1\r\nHost: a\r\n\r\n", rows[i].name);
		expect(&large, raw, HTTP_OK);
		assert_int_equal(whole(&large, raw), HTTP_OK);
		assert_int_equal(req.method, rows[i].m);
		assert_slice(req.method_text, rows[i].name);
	}
	expect(&large, "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", HTTP_OK);
	assert_int_equal(whole(&large, "CONNECT a:1 HTTP/1.1\r\nHost: b\r\n\r\n"), HTTP_OK);
	assert_int_equal(req.method, HTTP_M_CONNECT);
	assert_slice(req.authority, "a:1");
}

static void test_known_fields(void **state)
{
	static const struct { const char *name; enum http_known id; } rows[] = {
		{ "HOST", HTTP_F_HOST }, { "Content-Type", HTTP_F_CONTENT_TYPE },
		{ "user-agent", HTTP_F_USER_AGENT }, { "REFERER", HTTP_F_REFERER },
		{ "Authorization", HTTP_F_AUTHORIZATION }, { "Origin", HTTP_F_ORIGIN },
		{ "aCCEPT", HTTP_F_ACCEPT }, { "X-Request-ID", HTTP_F_X_REQUEST_ID },
		{ "X-FORWARDED-For", HTTP_F_X_FORWARDED_FOR }, { "Forwarded", HTTP_F_FORWARDED },
		{ "Via", HTTP_F_VIA }, { "Expect", HTTP_F_EXPECT }, { "Upgrade", HTTP_F_UPGRADE },
		{ "Accept-Encoding", HTTP_F_ACCEPT_ENCODING }, { "If-Match", HTTP_F_IF_MATCH },
		{ "If-None-Match", HTTP_F_IF_NONE_MATCH }, { "RANGE", HTTP_F_RANGE },
		{ "If-Modified-Since", HTTP_F_IF_MODIFIED_SINCE },
		{ "if-unmodified-since", HTTP_F_IF_UNMODIFIED_SINCE },
		{ "If-Range", HTTP_F_IF_RANGE },
	};
	char raw[128];

	(void)state;
	assert_int_equal(sizeof(rows) / sizeof(rows[0]), HTTP_F_COUNT);
	for (size_t i = 0; i < HTTP_F_COUNT; i++) {
		snprintf(raw, sizeof(raw), "GET / HTTP/1.0\r\n%s: 100-continue\r\n\r\n",
			 rows[i].name);
		expect(&large, raw, HTTP_OK);
		assert_int_equal(whole(&large, raw), HTTP_OK);
		for (size_t k = 0; k < HTTP_F_COUNT; k++) {
			assert_int_equal(req.known_count[k], k == rows[i].id);
			assert_slice(req.known[k], k == rows[i].id ? "100-continue" : NULL);
		}
	}
	/* names of the same length and begin that are others */
	assert_int_equal(whole(&large, "GET / HTTP/1.0\r\nVix: 1\r\nHosv: 1\r\nAccepu: 1\r\n"
			       "Refereq: 1\r\nForwardee: 1\r\n\r\n"), HTTP_OK);
	assert_int_equal(whole(&large, "GET / HTTP/1.0\r\nUser-Agenu: 1\r\nContent-Typf: 1\r\n"
			       "Content-Lengtg: x\r\nX-Forwarded-Fos: 1\r\n"
			       "Transfer.Encoding: x\r\n\r\n"), HTTP_OK);
	assert_int_equal(whole(&large, "GET / HTTP/1.0\r\nRangf: 1\r\nIf-Matci: 1\r\n"
			       "If-Rangf: 1\r\nIf-None-Matci: 1\r\n\r\n"), HTTP_OK);
	for (size_t k = 0; k < HTTP_F_COUNT; k++)
		assert_int_equal(req.known_count[k], 0);
	assert_int_equal(whole(&large, "GET / HTTP/1.0\r\nIf-Modified-Sincf: 1\r\n"
			       "If-Unmodified-Sincf: 1\r\nAccept-Encodinh: 1\r\n\r\n"), HTTP_OK);
	for (size_t k = 0; k < HTTP_F_COUNT; k++)
		assert_int_equal(req.known_count[k], 0);
	assert_int_equal(req.content_length, -1);
	/* the first of several */
	assert_int_equal(whole(&large, GET HOST "Via: 1\r\nvia: 2\r\n\r\n"), HTTP_OK);
	assert_slice(req.known[HTTP_F_VIA], "1");
	assert_int_equal(req.known_count[HTTP_F_VIA], 2);
}

static void test_find_field(void **state)
{
	const struct http_field *f;

	(void)state;
	assert_int_equal(whole(&large, GET HOST "X-A: 1\r\nB: 2\r\nx-a: 3\r\n\r\n"), HTTP_OK);
	f = http_find_field(&req, SLICE("X-a"), NULL);
	assert_non_null(f);
	assert_slice(f->value, "1");
	f = http_find_field(&req, SLICE("X-a"), f);
	assert_non_null(f);
	assert_slice(f->value, "3");
	assert_null(http_find_field(&req, SLICE("X-a"), f));
	assert_null(http_find_field(&req, SLICE("X"), NULL));
}

static void test_keep_alive(void **state)
{
	static const struct { const char *raw; bool keep; } rows[] = {
		{ GET HOST "\r\n", true },
		{ GET HOST "Connection: close\r\n\r\n", false },
		{ GET HOST "Connection: x , CLOSE\r\n\r\n", false },
		{ GET HOST "Connection: keep-alive\r\nConnection: close\r\n\r\n", false },
		{ GET HOST "Connection: keep-alive, close\r\n\r\n", false },
		{ GET HOST "Connection: , ,closer\r\n\r\n", true },
		{ GET HOST "Connection:\r\n\r\n", true },
		{ "GET / HTTP/1.0\r\n\r\n", false },
		{ "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true },
		{ "GET / HTTP/1.0\r\nConnection: keep-alive,close\r\n\r\n", false },
		{ "GET / HTTP/1.7\r\nHost: a\r\n\r\n", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		expect(&large, rows[i].raw, HTTP_OK);
		assert_int_equal(whole(&large, rows[i].raw), HTTP_OK);
		if (req.keep_alive != rows[i].keep)
			fail_msg("keep_alive of %s", rows[i].raw);
	}
	assert_int_equal(req.minor, 1); /* of 1.7 */
}

static void test_upgrade_and_expect(void **state)
{
	(void)state;
	assert_int_equal(whole(&large, GET HOST "Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n"),
			 HTTP_OK);
	assert_true(req.upgrade);
	assert_int_equal(whole(&large, GET HOST "Upgrade: h2c\r\n\r\n"), HTTP_OK);
	assert_false(req.upgrade);
	assert_int_equal(whole(&large, GET HOST "Connection: Upgrade\r\n\r\n"), HTTP_OK);
	assert_false(req.upgrade);
	assert_int_equal(whole(&large, "GET / HTTP/1.0\r\nUpgrade: a\r\n"
			       "Connection: Upgrade\r\n\r\n"), HTTP_OK);
	assert_false(req.upgrade);
	assert_int_equal(whole(&large, GET HOST "Expect: 100-Continue\r\n\r\n"), HTTP_OK);
	assert_true(req.expect_continue);
	assert_int_equal(whole(&large, "GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n"), HTTP_OK);
	assert_false(req.expect_continue);
	expect(&large, GET HOST "Expect: 200-ok\r\n\r\n", HTTP_E_EXPECTATION);
	expect(&large, GET HOST "Expect: 100-continue\r\nExpect:\r\n\r\n", HTTP_E_EXPECTATION);
}

static void test_framing(void **state)
{
	(void)state;
	assert_int_equal(whole(&large, GET HOST "Transfer-Encoding: CHUNKED\r\n\r\n"), HTTP_OK);
	assert_true(req.chunked && req.has_body);
	assert_int_equal(whole(&large, GET HOST "Content-Length: 0\r\n\r\n"), HTTP_OK);
	assert_int_equal(req.content_length, 0);
	assert_false(req.has_body);
	assert_int_equal(whole(&large, GET HOST "Content-Length: 9223372036854775807\r\n\r\n"),
			 HTTP_OK);
	assert_true(req.content_length == INT64_MAX);
	assert_int_equal(whole(&large, GET HOST "Content-Length: 00000000000000000007\r\n\r\n"),
			 HTTP_OK);
	assert_int_equal(req.content_length, 7);
}

static void test_underscores(void **state)
{
	const char *raw = GET HOST "X_Y: 1\r\nContent_Length: 5\r\nTransfer_Encoding: z\r\n\r\n";

	(void)state;
	expect(&large, raw, HTTP_OK);
	assert_int_equal(whole(&large, raw), HTTP_OK);
	assert_int_equal(req.nfields, 1);
	assert_int_equal(req.dropped_fields, 3);
	assert_int_equal(req.content_length, -1);
	/* they count for the limit all the same */
	expect(&large, GET HOST "a_: \r\nb_: \r\nc_: \r\nd_: \r\ne_: \r\n\r\n",
	       HTTP_E_TOO_MANY_FIELDS);
}

static void test_every_byte(void **state)
{
	char raw[96];

	(void)state;
	for (int c = 0; c < 256; c++) {
		/* long enough for the wide steps and for the bytes behind them */
		int n = snprintf(raw, sizeof(raw), GET HOST "A: 0123456789%c0123456789abc\r\n\r\n",
				 'x');
		char *at = strchr(raw, 'x');
		bool ok = c == '\t' || (c >= ' ' && c != 0x7f);

		*at = (char)c;
		expect_bytes(&large, raw, (size_t)n, ok ? HTTP_OK : c == '\n' || c == '\r'
			     ? HTTP_E_BAD_LINE_END : HTTP_E_BAD_FIELD);
		n = snprintf(raw, sizeof(raw), "GET /0123456789%c012345 HTTP/1.1\r\n" HOST "\r\n",
			     'x');
		at = strchr(raw, 'x');
		*at = (char)c;
		ok = c > ' ' && c != 0x7f && c != '#';
		expect_bytes(&large, raw, (size_t)n, ok ? HTTP_OK : c == '\n'
			     ? HTTP_E_BAD_LINE_END : c == '\r' || c == ' ' ? HTTP_E_BAD_REQUEST_LINE
			     : HTTP_E_BAD_TARGET);
	}
}

/* ---- what is wrong ---- */

#define V0 "GET / HTTP/1.0\r\n"

static const struct { const char *raw; enum http_err e; } wrong[] = {
	{ "\n", HTTP_E_BAD_LINE_END }, { "\r\r", HTTP_E_BAD_LINE_END },
	{ "GET / HTTP/1.1\n", HTTP_E_BAD_LINE_END }, { "GET / HTTP/1.1\rX", HTTP_E_BAD_LINE_END },
	{ "GET\n", HTTP_E_BAD_LINE_END }, { "GET\r", HTTP_E_BAD_REQUEST_LINE },
	{ "GET /\r", HTTP_E_BAD_REQUEST_LINE }, { "GET /\n", HTTP_E_BAD_LINE_END },
	{ "GET  /", HTTP_E_BAD_REQUEST_LINE }, { "GET / \r", HTTP_E_BAD_REQUEST_LINE },
	{ "GET /  HTTP/1.1\r\n", HTTP_E_BAD_REQUEST_LINE },
	{ "GET / HTTP/1.1 \r\n", HTTP_E_BAD_REQUEST_LINE },
	{ "GET / http/1.1\r\n", HTTP_E_BAD_REQUEST_LINE },
	{ "GET / HTTP/11\r\n", HTTP_E_BAD_REQUEST_LINE },
	{ "GET / HTTP/1.10\r\n", HTTP_E_BAD_REQUEST_LINE },
	{ "GET / HTTP/1.\r\n", HTTP_E_BAD_REQUEST_LINE },
	{ "GET / HTTP/1,1\r\n", HTTP_E_BAD_REQUEST_LINE },
	{ "GET /a\tb HTTP/1.1\r\n", HTTP_E_BAD_TARGET },
	{ "GET\t/ HTTP/1.1\r\n", HTTP_E_BAD_METHOD },
	{ " GET / HTTP/1.1\r\n", HTTP_E_BAD_METHOD }, { "get / HTTP/1.1\r\n", HTTP_E_BAD_METHOD },
	{ "G#T / HTTP/1.1\r\n", HTTP_E_BAD_METHOD }, { "\x16\x03\x01", HTTP_E_BAD_METHOD },
	{ "A23456789012345678901 / HTTP/1.1\r\n", HTTP_E_BAD_METHOD },
	{ "GET / HTTP/2.0\r\n", HTTP_E_BAD_VERSION }, { "GET / HTTP/0.9\r\n", HTTP_E_BAD_VERSION },
	{ "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HTTP_E_BAD_VERSION },
	{ "GET a HTTP/1.1\r\n", HTTP_E_BAD_TARGET }, { "GET * HTTP/1.1\r\n", HTTP_E_BAD_TARGET },
	{ "CONNECT /x HTTP/1.1\r\n", HTTP_E_BAD_TARGET },
	{ GET ": b\r\n", HTTP_E_BAD_FIELD }, { GET "a\r\n", HTTP_E_BAD_FIELD },
	{ GET "a\n", HTTP_E_BAD_LINE_END }, { GET "a : b\r\n", HTTP_E_BAD_FIELD },
	{ GET "a\tb: c\r\n", HTTP_E_BAD_FIELD }, { GET "a[]: c\r\n", HTTP_E_BAD_FIELD },
	{ GET "\xc3: c\r\n", HTTP_E_BAD_FIELD }, { GET "a: b\x7f\r\n", HTTP_E_BAD_FIELD },
	{ GET "a: b\n", HTTP_E_BAD_LINE_END }, { GET "a: b\rc\r\n", HTTP_E_BAD_LINE_END },
	{ GET HOST "\rX: 1\r\n", HTTP_E_BAD_LINE_END }, { GET HOST "\n", HTTP_E_BAD_LINE_END },
	{ GET " a: b\r\n", HTTP_E_OBS_FOLD }, { GET "a: b\r\n\tc\r\n", HTTP_E_OBS_FOLD },
	{ GET "\r\n", HTTP_E_NO_HOST }, { GET HOST HOST "\r\n", HTTP_E_BAD_HOST },
	{ V0 HOST HOST "\r\n", HTTP_E_BAD_HOST }, { GET "Host:\r\n\r\n", HTTP_E_BAD_HOST },
	{ GET "Host: a b\r\n\r\n", HTTP_E_BAD_HOST }, { GET "Host: a/\r\n\r\n", HTTP_E_BAD_HOST },
	{ "GET http://a/ HTTP/1.1\r\nHost: u@a\r\n\r\n", HTTP_E_BAD_HOST },
	{ GET HOST "Content-Length: -1\r\n", HTTP_E_BAD_LENGTH },
	{ GET HOST "Content-Length: +1\r\n", HTTP_E_BAD_LENGTH },
	{ GET HOST "Content-Length:\r\n", HTTP_E_BAD_LENGTH },
	{ GET HOST "Content-Length: 1, 1\r\n", HTTP_E_BAD_LENGTH },
	{ GET HOST "Content-Length: 1 1\r\n", HTTP_E_BAD_LENGTH },
	{ GET HOST "Content-Length: 0x1\r\n", HTTP_E_BAD_LENGTH },
	{ GET HOST "Content-Length: 9223372036854775808\r\n", HTTP_E_BAD_LENGTH },
	{ GET HOST "Content-Length: 99999999999999999999\r\n", HTTP_E_BAD_LENGTH },
	{ GET HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", HTTP_E_BAD_LENGTH },
	{ GET HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
	  HTTP_E_LENGTH_AND_CODING },
	{ GET HOST "Transfer-Encoding: x\r\nContent-Length: 1\r\n\r\n", HTTP_E_LENGTH_AND_CODING },
	{ V0 "Transfer-Encoding: chunked\r\n\r\n", HTTP_E_BAD_CODING },
	{ GET HOST "Transfer-Encoding: identity\r\n\r\n", HTTP_E_BAD_CODING },
	{ GET HOST "Transfer-Encoding: chunked, gzip\r\n\r\n", HTTP_E_BAD_CODING },
	{ GET HOST "Transfer-Encoding: chunked,chunked\r\n\r\n", HTTP_E_BAD_CODING },
	{ GET HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
	  HTTP_E_BAD_CODING },
	{ GET HOST "Transfer-Encoding: chunked,\r\n\r\n", HTTP_E_BAD_CODING },
	{ GET HOST "Transfer-Encoding: ,chunked\r\n\r\n", HTTP_E_BAD_CODING },
	{ GET HOST "Transfer-Encoding:\r\n\r\n", HTTP_E_BAD_CODING },
	{ GET HOST "Transfer-Encoding: \"chunked\"\r\n\r\n", HTTP_E_BAD_CODING },
	{ GET HOST "Transfer-Encoding: chunked;a=b\r\n\r\n", HTTP_E_BAD_CODING },
	{ GET HOST "Transfer-Encoding: chunked\x0b\r\n\r\n", HTTP_E_BAD_FIELD },
	{ GET HOST "Transfer-Encoding: xchunked\r\n\r\n", HTTP_E_BAD_CODING },
	{ GET HOST "Transfer-Encoding: gzip, chunked\r\n\r\n", HTTP_E_CODING_NOT_BUILT },
	{ GET HOST "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n",
	  HTTP_E_CODING_NOT_BUILT },
	{ GET HOST "Content-Type: a/b\r\nContent-Type: a/b\r\n\r\n", HTTP_E_DUPLICATE_FIELD },
};

static void test_wrong(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		expect(&large, wrong[i].raw, wrong[i].e);
}

/* ---- limits: 64 bytes of request line, 48 of a field, 5 fields, 256 of all ---- */

static void test_line_limit(void **state)
{
	char raw[128];

	(void)state;
	for (int n = 45; n < 60; n++) {
		/* "GET " + "/" + n + " HTTP/1.1" */
		snprintf(raw, sizeof(raw), "GET /%0*d HTTP/1.1\r\nHost: a\r\n\r\n", n, 0);
		expect(&small, raw, 14 + n <= 64 ? HTTP_OK : HTTP_E_LINE_TOO_LONG);
		snprintf(raw, sizeof(raw), "GET /?%0*d HTTP/1.0\r\n\r\n", n - 1, 0);
		expect(&small, raw, 14 + n <= 64 ? HTTP_OK : HTTP_E_LINE_TOO_LONG);
		snprintf(raw, sizeof(raw), "GET /%0*d#", n, 0);
		expect(&small, raw, HTTP_E_BAD_TARGET);
	}
	snprintf(raw, sizeof(raw), "GET /%090d", 0); /* no need to wait for its end */
	expect(&small, raw, HTTP_E_LINE_TOO_LONG);
	expect(&(struct http_limits){ 8, 1, 48, 256 }, "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
	       HTTP_E_LINE_TOO_LONG);
	expect(&(struct http_limits){ 22, 1, 48, 256 }, "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
	       HTTP_E_BAD_METHOD);
}

static void test_field_limits(void **state)
{
	char raw[128];

	(void)state;
	for (int n = 36; n < 52; n++) {
		snprintf(raw, sizeof(raw), GET "Host: a\r\nb: %0*d\r\n\r\n", n, 0);
		expect(&small, raw, 3 + n + 2 <= 48 ? HTTP_OK : HTTP_E_FIELD_TOO_LARGE);
		snprintf(raw, sizeof(raw), GET "Host: a\r\n%0*d: b\r\n\r\n", n, 0);
		expect(&small, raw, 3 + n + 2 <= 48 ? HTTP_OK : HTTP_E_FIELD_TOO_LARGE);
	}
	snprintf(raw, sizeof(raw), GET "%060d", 0);
	expect(&small, raw, HTTP_E_FIELD_TOO_LARGE);
	expect(&small, GET HOST "a: b\r\nc: d\r\ne: f\r\ng: h\r\n\r\n", HTTP_OK);
	expect(&small, GET HOST "a: b\r\nc: d\r\ne: f\r\ng: h\r\ni: j\r\n\r\n",
	       HTTP_E_TOO_MANY_FIELDS);
	expect(&small, GET HOST "a: b\r\nc: d\r\ne: f\r\ng: h\r\ni", HTTP_E_TOO_MANY_FIELDS);
}

static void test_head_limit(void **state)
{
	char raw[512];

	(void)state;
	for (int n = 20; n < 40; n++) {
		int len = snprintf(raw, sizeof(raw), GET HOST "a: %040d\r\nb: %040d\r\nc: %040d\r\n"
				   "d: %0*d\r\n\r\n", 0, 0, 0, n, 0);

		expect(&(struct http_limits){ 64, FIELDS, 48, 200 }, raw,
		       len <= 200 ? HTTP_OK : HTTP_E_HEAD_TOO_LARGE);
	}
	memset(raw, '\0', sizeof(raw));
	for (size_t i = 0; i < 300; i += 2)
		memcpy(raw + i, "\r\n", 2);
	expect(&small, raw, HTTP_E_HEAD_TOO_LARGE); /* empty lines count too */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_prefixes_want_more),
		cmocka_unit_test(test_methods),
		cmocka_unit_test(test_known_fields),
		cmocka_unit_test(test_find_field),
		cmocka_unit_test(test_keep_alive),
		cmocka_unit_test(test_upgrade_and_expect),
		cmocka_unit_test(test_framing),
		cmocka_unit_test(test_underscores),
		cmocka_unit_test(test_every_byte),
		cmocka_unit_test(test_wrong),
		cmocka_unit_test(test_line_limit),
		cmocka_unit_test(test_field_limits),
		cmocka_unit_test(test_head_limit),
	};
	int failed = cmocka_run_group_tests_name("http/head", tests, NULL, NULL);

	free(bytes);
	return failed;
}
