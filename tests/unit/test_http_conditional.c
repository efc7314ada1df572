/* SPDX-License-Identifier: MIT */
/* http/conditional.c: preconditions and ranges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "http/conditional.h"

#define NOW 784111900 /* Sun, 06 Nov 1994 08:51:40 GMT */
#define MTIME 784111777
#define AT "Sun, 06 Nov 1994 08:49:37 GMT"
#define BEFORE "Sun, 06 Nov 1994 08:49:36 GMT"
#define AFTER "Sun, 06 Nov 1994 08:49:38 GMT"

static const struct http_validator strong = { SLICE("\"a\""), true, MTIME };
static const struct http_validator weak = { SLICE("W/\"a\""), true, MTIME };
static const struct http_validator dated = { { NULL, 0 }, true, MTIME };
static const struct http_validator tagged = { SLICE("\"a\""), false, 0 };
static const struct http_validator none = { { NULL, 0 }, false, 0 };

static void test_etags(void **state)
{
	static const struct { const char *list, *etag; bool strong, weak; } rows[] = {
		{ "\"a\"", "\"a\"", true, true }, { "W/\"a\"", "\"a\"", false, true },
		{ "\"a\"", "W/\"a\"", false, true }, { "W/\"a\"", "W/\"a\"", false, true },
		{ "\"b\"", "\"a\"", false, false }, { "\"A\"", "\"a\"", false, false },
		{ "W/\"1\"", "W/\"2\"", false, false }, { "w/\"a\"", "\"a\"", false, false },
		{ "\"b\", \"a\"", "\"a\"", true, true }, { "\"b\",\"a\"", "\"a\"", true, true },
		{ "\"b\"\t,,\t, \"a\"", "\"a\"", true, true }, { ",\"a\"", "\"a\"", true, true },
		{ "\"a\" ,", "\"a\"", true, true }, { "\"b\" \"a\"", "\"a\"", false, false },
		{ "\"b\", x, \"a\"", "\"a\"", false, false }, { "\"b,\"", "\"b,\"", true, true },
		{ "\"b\",", "\"a\"", false, false }, { "\"x,\"a\",\"", "\"a\"", false, false },
		{ "\"\"", "\"\"", true, true }, { "\"\"", "\"a\"", false, false },
		{ "\"\xc3\xa4\"", "\"\xc3\xa4\"", true, true }, { "\"a", "\"a\"", false, false },
		{ "a", "\"a\"", false, false }, { "a", "a", false, false },
		{ "W/", "W/", false, false },
		{ "W/a", "\"a\"", false, false }, { "W", "\"a\"", false, false },
		{ "\"", "\"", false, false }, { "\"a b\"", "\"a b\"", false, false },
		{ "*", "\"a\"", true, true }, { "*", "", true, true },
		{ "\"*\"", "\"a\"", false, false },
		{ "*, \"a\"", "\"a\"", false, false }, { "\"b\", *", "\"a\"", false, false },
		{ "", "\"a\"", false, false }, { "\"a\"", "", false, false },
		{ ",", ",", false, false },
		{ "\"a\\\"", "\"a\\\"", true, true }, { "\"a\"", "\"a\"b", false, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t len = strlen(rows[i].list);
		char *copy = malloc(len ? len : 1);
		struct slice list = { copy, len };

		assert_non_null(copy);
		memcpy(copy, rows[i].list, len);
		if (http_etag_matches(list, slice_of(rows[i].etag), false) != rows[i].strong ||
		    http_etag_matches(list, slice_of(rows[i].etag), true) != rows[i].weak)
			fail_msg("%s %s", rows[i].list, rows[i].etag);
		free(copy);
	}
	assert_true(http_etag_matches(SLICE("*"), (struct slice){NULL, 0}, false));
	assert_false(http_etag_matches((struct slice){NULL, 0}, SLICE("\"a\""), false));
}

/* A request with these fields, "name: value" separated by "|"; all of its bytes are static. */
static struct http_request *request(const char *method, const char *lines)
{
	static const struct http_limits limits = { 8190, 100, 8190, 65536 };
	static struct http_field fields[100];
	static struct http_request req;
	static char head[1024];
	size_t n = (size_t)snprintf(head, sizeof(head), "%s %s HTTP/1.1\r\nHost: a\r\n", method,
				    strcmp(method, "CONNECT") == 0 ? "a:1" : "/");
	size_t scan = 0;

	for (const char *p = lines; *p; p++)
		n += (size_t)snprintf(head + n, sizeof(head) - n, *p == '|' ? "\r\n" : "%c", *p);
	n += (size_t)snprintf(head + n, sizeof(head) - n, "%s\r\n", *lines ? "\r\n" : "");
	req.fields = fields;
	assert_int_equal(http_parse_head(&req, &limits, head, n, &scan), HTTP_OK);
	return &req;
}

static void test_conditions(void **state)
{
	static const struct {
		const char *method;
		const struct http_validator *v;
		const char *fields;
		int want;
	} rows[] = {
		{ "GET", &strong, "", 0 },
		/* If-None-Match, alone */
		{ "GET", &strong, "If-None-Match: \"a\"", 304 },
		{ "HEAD", &strong, "If-None-Match: \"a\"", 304 },
		{ "GET", &weak, "If-None-Match: \"a\"", 304 },
		{ "GET", &strong, "If-None-Match: W/\"a\"", 304 },
		{ "GET", &strong, "If-None-Match: \"b\"", 0 },
		{ "GET", &strong, "If-None-Match: \"b\"|If-None-Match: \"a\"", 304 },
		{ "GET", &strong, "If-None-Match: \"b\"|If-None-Match: \"c\"", 0 },
		{ "GET", &none, "If-None-Match: *", 304 },
		{ "GET", &none, "If-None-Match: \"a\"", 0 },
		{ "GET", &strong, "If-None-Match: a", 0 },
		{ "PUT", &strong, "If-None-Match: *", 412 },
		{ "POST", &strong, "If-None-Match: \"a\"", 412 },
		{ "PURGE", &strong, "If-None-Match: \"b\"", 0 },
		{ "OPTIONS", &strong, "If-None-Match: \"a\"", 0 },
		{ "TRACE", &strong, "If-None-Match: \"a\"", 0 },
		{ "CONNECT", &strong, "If-None-Match: \"a\"", 0 },
		/* If-Modified-Since, unless there is If-None-Match */
		{ "GET", &strong, "If-Modified-Since: " AT, 304 },
		{ "HEAD", &dated, "If-Modified-Since: " AFTER, 304 },
		{ "GET", &strong, "If-Modified-Since: " BEFORE, 0 },
		{ "GET", &tagged, "If-Modified-Since: " AT, 0 },
		{ "PUT", &strong, "If-Modified-Since: " AT, 0 },
		{ "GET", &strong, "If-Modified-Since: yesterday", 0 },
		{ "GET", &strong, "If-Modified-Since: " AT "|If-Modified-Since: " AT, 0 },
		{ "GET", &strong, "If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT", 304 },
		{ "GET", &strong, "If-Modified-Since: Sun Nov  6 08:49:37 1994", 304 },
		{ "GET", &strong, "If-None-Match: \"b\"|If-Modified-Since: " AT, 0 },
		{ "GET", &strong, "If-None-Match: \"a\"|If-Modified-Since: " BEFORE, 304 },
		/* If-Match */
		{ "GET", &strong, "If-Match: \"a\"", 0 },
		{ "PUT", &strong, "If-Match: \"b\", \"a\"", 0 },
		{ "PUT", &strong, "If-Match: \"b\"|If-Match: \"a\"", 0 },
		{ "PUT", &strong, "If-Match: \"b\"", 412 },
		{ "GET", &strong, "If-Match: \"b\"", 412 },
		{ "PUT", &weak, "If-Match: W/\"a\"", 412 },
		{ "PUT", &weak, "If-Match: *", 0 },
		{ "PUT", &none, "If-Match: *", 0 },
		{ "PUT", &none, "If-Match: \"a\"", 412 },
		{ "OPTIONS", &strong, "If-Match: \"b\"", 0 },
		/* If-Unmodified-Since, unless there is If-Match */
		{ "PUT", &strong, "If-Unmodified-Since: " AT, 0 },
		{ "PUT", &strong, "If-Unmodified-Since: " AFTER, 0 },
		{ "PUT", &strong, "If-Unmodified-Since: " BEFORE, 412 },
		{ "GET", &dated, "If-Unmodified-Since: " BEFORE, 412 },
		{ "PUT", &tagged, "If-Unmodified-Since: " BEFORE, 0 },
		{ "PUT", &strong, "If-Unmodified-Since: 1994", 0 },
		{ "PUT", &strong, "If-Match: \"a\"|If-Unmodified-Since: " BEFORE, 0 },
		{ "PUT", &strong, "If-Match: \"b\"|If-Unmodified-Since: " AFTER, 412 },
		/* the first pair before the second */
		{ "GET", &strong, "If-None-Match: \"a\"|If-Match: \"b\"", 412 },
		{ "GET", &strong, "If-None-Match: \"a\"|If-Match: \"a\"", 304 },
		{ "GET", &strong, "If-Modified-Since: " AT "|If-Unmodified-Since: " AT, 304 },
		{ "GET", &strong, "If-Modified-Since: " AT "|If-Unmodified-Since: " BEFORE, 412 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int got = http_check_conditions(request(rows[i].method, rows[i].fields), rows[i].v,
						NOW);

		if (got != rows[i].want)
			fail_msg("%s %s: %d", rows[i].method, rows[i].fields, got);
	}
}

#define U "18446744073709551615"

static void test_ranges(void **state)
{
	static const struct {
		const char *value;
		uint64_t size;
		enum http_range want;
		uint64_t offset, len;
	} rows[] = {
		{ "bytes=0-0", 10, HTTP_RANGE_OK, 0, 1 },
		{ "bytes=2-5", 10, HTTP_RANGE_OK, 2, 4 },
		{ "Bytes=2-5", 10, HTTP_RANGE_OK, 2, 4 },
		{ "bytes=0-9", 10, HTTP_RANGE_OK, 0, 10 },
		{ "bytes=0-10", 10, HTTP_RANGE_OK, 0, 10 },
		{ "bytes=9-" U, 10, HTTP_RANGE_OK, 9, 1 },
		{ "bytes=9-999999999999999999999999", 10, HTTP_RANGE_OK, 9, 1 },
		{ "bytes=0-18446744073709551621", 10, HTTP_RANGE_OK, 0, 10 }, /* 2^64 + 5 */
		{ "bytes=18446744073709551621-", 10, HTTP_RANGE_UNSATISFIABLE, 0, 0 },
		{ "bytes=0007-", 10, HTTP_RANGE_OK, 7, 3 },
		{ "bytes=0-", 10, HTTP_RANGE_OK, 0, 10 },
		{ "bytes=-1", 10, HTTP_RANGE_OK, 9, 1 },
		{ "bytes=-10", 10, HTTP_RANGE_OK, 0, 10 },
		{ "bytes=-11", 10, HTTP_RANGE_OK, 0, 10 },
		{ "bytes=-99999999999999999999999", 10, HTTP_RANGE_OK, 0, 10 },
		{ "bytes=0-", UINT64_MAX, HTTP_RANGE_OK, 0, UINT64_MAX },
		{ "bytes=0-" U, UINT64_MAX, HTTP_RANGE_OK, 0, UINT64_MAX },
		{ "bytes=10-", 10, HTTP_RANGE_UNSATISFIABLE, 0, 0 },
		{ "bytes=10-11", 10, HTTP_RANGE_UNSATISFIABLE, 0, 0 },
		{ "bytes=999999999999999999999999-", 10, HTTP_RANGE_UNSATISFIABLE, 0, 0 },
		{ "bytes=-0", 10, HTTP_RANGE_UNSATISFIABLE, 0, 0 },
		{ "bytes=0-", 0, HTTP_RANGE_UNSATISFIABLE, 0, 0 },
		{ "bytes=-0", 0, HTTP_RANGE_UNSATISFIABLE, 0, 0 },
		{ "bytes=-1", 0, HTTP_RANGE_NONE, 0, 0 },
		{ "bytes=5-4", 10, HTTP_RANGE_NONE, 0, 0 },
		{ "bytes=0-1,3-4", 10, HTTP_RANGE_NONE, 0, 0 },
		{ "bytes=0-1,", 10, HTTP_RANGE_NONE, 0, 0 },
		{ "bytes=", 10, HTTP_RANGE_NONE, 0, 0 }, { "bytes", 10, HTTP_RANGE_NONE, 0, 0 },
		{ "bytes=-", 10, HTTP_RANGE_NONE, 0, 0 }, { "bytes=1", 10, HTTP_RANGE_NONE, 0, 0 },
		{ "bytes=a-b", 10, HTTP_RANGE_NONE, 0, 0 },
		{ "bytes=0-1x", 10, HTTP_RANGE_NONE, 0, 0 },
		{ "bytes= 0-1", 10, HTTP_RANGE_NONE, 0, 0 },
		{ "bytes=+0-1", 10, HTTP_RANGE_NONE, 0, 0 },
		{ "bytes=--1", 10, HTTP_RANGE_NONE, 0, 0 },
		{ "lines=0-1", 10, HTTP_RANGE_NONE, 0, 0 }, { "", 10, HTTP_RANGE_NONE, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t n = strlen(rows[i].value);
		char *copy = malloc(n ? n : 1);
		uint64_t offset = 0, len = 0;

		assert_non_null(copy);
		memcpy(copy, rows[i].value, n);
		if (http_read_range((struct slice){copy, n}, rows[i].size, &offset, &len) !=
		    rows[i].want || offset != rows[i].offset || len != rows[i].len)
			fail_msg("%s: %lu %lu", rows[i].value, offset, len);
		free(copy);
	}
}

static void test_request_ranges(void **state)
{
	static const struct {
		const char *method;
		const struct http_validator *v;
		const char *fields;
		enum http_range want;
	} rows[] = {
		{ "GET", &none, "", HTTP_RANGE_NONE },
		{ "GET", &none, "Range: bytes=1-2", HTTP_RANGE_OK },
		{ "GET", &none, "Range: bytes=10-", HTTP_RANGE_UNSATISFIABLE },
		{ "HEAD", &none, "Range: bytes=1-2", HTTP_RANGE_NONE },
		{ "POST", &none, "Range: bytes=1-2", HTTP_RANGE_NONE },
		{ "GET", &none, "Range: bytes=1-2|Range: bytes=1-2", HTTP_RANGE_NONE },
		{ "GET", &strong, "Range: bytes=1-2|If-Range: \"a\"", HTTP_RANGE_OK },
		{ "GET", &strong, "Range: bytes=1-2|If-Range: \"b\"", HTTP_RANGE_NONE },
		{ "GET", &strong, "Range: bytes=1-2|If-Range: W/\"a\"", HTTP_RANGE_NONE },
		{ "GET", &strong, "Range: bytes=1-2|If-Range: \"a\", \"b\"", HTTP_RANGE_NONE },
		{ "GET", &strong, "Range: bytes=1-2|If-Range: *", HTTP_RANGE_NONE },
		{ "GET", &strong, "Range: bytes=1-2|If-Range:", HTTP_RANGE_NONE },
		{ "GET", &strong, "Range: bytes=1-2|If-Range: \"a\"|If-Range: \"a\"",
		  HTTP_RANGE_NONE },
		{ "GET", &weak, "Range: bytes=1-2|If-Range: W/\"a\"", HTTP_RANGE_NONE },
		{ "GET", &dated, "Range: bytes=1-2|If-Range: \"a\"", HTTP_RANGE_NONE },
		{ "GET", &dated, "Range: bytes=1-2|If-Range: " AT, HTTP_RANGE_OK },
		{ "GET", &weak, "Range: bytes=1-2|If-Range: " AT, HTTP_RANGE_OK },
		{ "GET", &dated, "Range: bytes=1-2|If-Range: " AFTER, HTTP_RANGE_NONE },
		{ "GET", &dated, "Range: bytes=1-2|If-Range: " BEFORE, HTTP_RANGE_NONE },
		{ "GET", &tagged, "Range: bytes=1-2|If-Range: " AT, HTTP_RANGE_NONE },
		{ "GET", &none, "Range: bytes=1-2|If-Range: " AT, HTTP_RANGE_NONE },
	};
	uint64_t offset = 0, len = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (http_request_range(request(rows[i].method, rows[i].fields), rows[i].v, NOW, 10,
				       &offset, &len) != rows[i].want)
			fail_msg("%s %s", rows[i].method, rows[i].fields);
	/* What changed this second may change again in it. */
	assert_int_equal(http_request_range(request("GET", "Range: bytes=1-2|If-Range: " AT),
					    &dated, MTIME, 10, &offset, &len), HTTP_RANGE_NONE);
	assert_int_equal(http_request_range(request("GET", "Range: bytes=1-2|If-Range: " AT),
					    &dated, MTIME + 1, 10, &offset, &len), HTTP_RANGE_OK);
	assert_int_equal(offset, 1);
	assert_int_equal(len, 2);
}

static void test_content_range(void **state)
{
	char buf[128];
	struct http_out o = { .p = buf, .cap = sizeof(buf) };

	(void)state;
	http_put_content_range(&o, 0, 100, 1000);
	http_put_content_range(&o, 999, 1, 1000);
	http_put_content_range(&o, 0, 0, 1000);
	assert_false(o.over);
	buf[o.len] = '\0';
	assert_string_equal(buf, "Content-Range: bytes 0-99/1000\r\n"
				 "Content-Range: bytes 999-999/1000\r\n"
				 "Content-Range: bytes */1000\r\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_etags),
		cmocka_unit_test(test_conditions),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_request_ranges),
		cmocka_unit_test(test_content_range),
	};

	return cmocka_run_group_tests_name("http/conditional", tests, NULL, NULL);
}
