/* SPDX-License-Identifier: MIT */
/* http/accept.c: text or JSON, gzip or not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "http/http.h"

static void test_prefers(void **state)
{
	static const struct { const char *accept; bool text; } rows[] = {
		{ "", false }, { "*/*", false }, { "text/plain", true }, { "TEXT/Plain", true },
		{ "text/*", true }, { "text/html", false }, { "application/json", false },
		{ "application/*", false }, { "application/problem+json", false },
		{ "text/plain, application/json", false },
		{ "text/plain;q=0.9, application/json;q=0.8", true },
		{ "text/plain;q=0.8, application/json;q=0.9", false },
		{ "text/plain;q=0.8, application/problem+json", false },
		{ "text/plain, */*", false }, { "text/plain, */*;q=0.5", true },
		{ "text/html,application/xhtml+xml,*/*;q=0.8", false },
		{ "text/*;q=0.9, text/plain;q=0.1, */*;q=0.5", false },
		{ "text/*;q=0.1, text/plain;q=0.9, */*;q=0.5", true },
		{ "text/plain;q=0.1, text/plain;q=0.9, */*;q=0.5", true },
		{ "text/plain ; charset=utf-8 ; Q=0.7 , */* ; q=0.6", true },
		{ "text/plain;a=\"x,y;q=0\\\";\";q=0.7, */*;q=0.6", true },
		{ "text/plain;a=\"unclosed, */*", true },
		{ "text/plain;q=1.000, */*;q=0.999", true }, { "text/plain;q=0", false },
		{ "text/plain;q=0.000", false }, { "text/plain;q=", false },
		{ "text/plain;q=2", false }, { "text/plain;q=1.001", false },
		{ "text/plain;q=0.1234", false }, { "text/plain;q=0,5", false },
		{ "text/plain;q=0x5", false }, { "text/plain;q=0.x", false },
		{ "text/plain;q=1.", true }, { ",,;,text/plain,", true }, { "text/plai*", false },
		{ "text", false }, { "text/", false }, { "*", false }, { "\ttext/plain\t", true },
		{ "text/plain;;q=1", true }, { "a/b;q=\"", false }, { "a/b;q=\"\\", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t len = strlen(rows[i].accept);
		char *copy = malloc(len ? len : 1);

		assert_non_null(copy);
		memcpy(copy, rows[i].accept, len);
		if (http_prefers_text((struct slice){copy, len}) != rows[i].text)
			fail_msg("%s", rows[i].accept);
		free(copy);
	}
	assert_false(http_prefers_text((struct slice){NULL, 0}));
}

static void test_gzip(void **state)
{
	static const struct { const char *value; bool gzip; } rows[] = {
		{ "gzip", true }, { "GZip", true }, { "x-gzip", true }, { "X-GZIP", true },
		{ "gzip, deflate, br", true }, { "deflate, br, gzip", true },
		{ "br;q=1.0, gzip;q=0.8, *;q=0.1", true }, { "\tgzip ; q=0.5 ", true },
		{ "gzip;q=1.000", true }, { "gzip;q=0.001", true }, { "gzip;Q=0.5", true },
		{ "*", true }, { "*;q=0.1", true }, { "br, *", true }, { ",,gzip,", true },
		{ "gzip, identity", true }, { "gzip, identity;q=0.5", true },
		{ "gzip;q=0.5, identity;q=0.5", true }, { "gzip, identity;q=0", true },
		{ "gzip;q=0.5, *;q=0", true }, { "gzip, *;q=0", true }, { "gzip;x=y", true },
		{ "", false }, { "identity", false }, { "br", false },
		{ "deflate, br, zstd", false },
		{ "gzip;q=0", false }, { "gzip;q=0.000", false }, { "gzip;q=0, *", false },
		{ "*;q=0", false }, { "identity;q=0", false }, { "identity;q=0, *;q=0", false },
		{ "gzip;q=0.5, identity", false }, { "identity;q=0.6, gzip;q=0.5", false },
		{ "identity, *;q=0.5", false }, { "gzip;q=", false }, { "gzip;q=x", false },
		{ "gzip;q=2", false }, { "gzip, x-gzip;q=0", false }, { "gzip;q=0, gzip", false },
		{ "gzipp", false }, { "zip", false }, { "gzip2", false }, { "x-gzip2", false },
		{ "\"gzip\"", false }, { "gzip br", false }, { "**", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t len = strlen(rows[i].value);
		char *copy = malloc(len ? len : 1);

		assert_non_null(copy);
		memcpy(copy, rows[i].value, len);
		if (http_accepts_gzip((struct slice){copy, len}) != rows[i].gzip)
			fail_msg("%s", rows[i].value);
		free(copy);
	}
	assert_false(http_accepts_gzip((struct slice){NULL, 0}));
}

static bool request_accepts(const char *fields)
{
	static const struct http_limits limits = { 8190, 10, 8190, 65536 };
	struct http_field room[10];
	struct http_request req = { .fields = room };
	size_t scan = 0;
	char head[256];
	int n = snprintf(head, sizeof(head), "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", fields);

	assert_int_equal(http_parse_head(&req, &limits, head, (size_t)n, &scan), HTTP_OK);
	return http_request_accepts_gzip(&req);
}

static void test_gzip_of_request(void **state)
{
	(void)state;
	assert_false(request_accepts(""));
	assert_true(request_accepts("accept-ENCODING: gzip\r\n"));
	assert_true(request_accepts("Accept-Encoding: br\r\nAccept-Encoding: gzip\r\n"));
	assert_true(request_accepts("Accept-Encoding: gzip\r\nA: b\r\nAccept-Encoding: br\r\n"));
	assert_false(request_accepts("Accept-Encoding: *\r\nAccept-Encoding: gzip;q=0\r\n"));
	assert_false(request_accepts("Accept-Encoding: br\r\nAccept-Encoding: zstd\r\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_prefers),
		cmocka_unit_test(test_gzip),
		cmocka_unit_test(test_gzip_of_request),
	};

	return cmocka_run_group_tests_name("http/accept", tests, NULL, NULL);
}
