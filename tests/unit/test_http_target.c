/* SPDX-License-Identifier: MIT */
/* http/target.c: the forms of a target and the syntax of an authority. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "http/http.h"

static struct http_field fields[4];
static struct http_request req = { .fields = fields };

static enum http_err parse(const char *method, const char *target, const char *host)
{
	static const struct http_limits limits = { 256, 4, 256, 1024 };
	static char raw[512];
	size_t scan = 0;
	int n = snprintf(raw, sizeof(raw), "%s %s HTTP/1.1\r\nHost: %s\r\n\r\n", method, target,
			 host);

	return http_parse_head(&req, &limits, raw, (size_t)n, &scan);
}

static void assert_slice(struct slice s, const char *want)
{
	if (!slice_eq(s, slice_of(want)) || !s.p != !want)
		fail_msg("\"%.*s\", not \"%s\"", (int)s.len, s.p, want);
}

static void test_forms(void **state)
{
	static const struct {
		const char *method, *target;
		enum http_form form;
		const char *path, *query, *authority;
	} rows[] = {
		{ "GET", "/", HTTP_ORIGIN_FORM, "/", NULL, "h" },
		{ "GET", "//x//", HTTP_ORIGIN_FORM, "//x//", NULL, "h" },
		{ "GET", "/?", HTTP_ORIGIN_FORM, "/", "", "h" },
		{ "GET", "/a?b?c", HTTP_ORIGIN_FORM, "/a", "b?c", "h" },
		{ "GET", "http://x", HTTP_ABSOLUTE_FORM, "/", NULL, "x" },
		{ "GET", "HTTP://x?q", HTTP_ABSOLUTE_FORM, "/", "q", "x" },
		{ "GET", "https://x:1/y?z", HTTP_ABSOLUTE_FORM, "/y", "z", "x:1" },
		{ "GET", "http://x/y?http://z/", HTTP_ABSOLUTE_FORM, "/y", "http://z/", "x" },
		{ "GET", "http://u:p%40@x/", HTTP_ABSOLUTE_FORM, "/", NULL, "x" },
		{ "GET", "http://@x/", HTTP_ABSOLUTE_FORM, "/", NULL, "x" },
		{ "GET", "http://[::1]:8/", HTTP_ABSOLUTE_FORM, "/", NULL, "[::1]:8" },
		{ "GET", "http://x/@y", HTTP_ABSOLUTE_FORM, "/@y", NULL, "x" },
		{ "OPTIONS", "*", HTTP_ASTERISK_FORM, "*", NULL, "h" },
		{ "OPTIONS", "/x", HTTP_ORIGIN_FORM, "/x", NULL, "h" },
		{ "CONNECT", "x:1", HTTP_AUTHORITY_FORM, "", NULL, "x:1" },
		{ "CONNECT", "[::1]:65535", HTTP_AUTHORITY_FORM, "", NULL, "[::1]:65535" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (parse(rows[i].method, rows[i].target, "h") != HTTP_OK)
			fail_msg("%s %s", rows[i].method, rows[i].target);
		assert_int_equal(req.form, rows[i].form);
		assert_slice(req.target, rows[i].target);
		assert_slice(req.raw_path, rows[i].path);
		assert_slice(req.query, rows[i].query);
		assert_slice(req.authority, rows[i].authority);
	}
}

static void test_refused(void **state)
{
	static const struct { const char *method, *target; } rows[] = {
		{ "GET", "*" }, { "GET", "x" }, { "GET", "x:1" }, { "GET", "?" }, { "GET", "*x" },
		{ "OPTIONS", "**" }, { "OPTIONS", "*?" }, { "GET", "ftp://x/" }, { "GET", "http:" },
		{ "GET", "http:/x" }, { "GET", "http://" }, { "GET", "http:///" },
		{ "GET", "http:?//x" }, { "GET", "http:///?" }, { "GET", "http://?x" },
		{ "GET", "http://:80/" }, { "GET", "http://u@/" }, { "GET", "http://u@v@x/" },
		{ "GET", "http://u[@x/" }, { "GET", "http://u%4@x/" }, { "GET", "http://x:1:2/" },
		{ "GET", "http://x\\y/" }, { "GET", "http://x:65536/" }, { "GET", "s://]ufd/:" },
		{ "CONNECT", "x" }, { "CONNECT", "x:" }, { "CONNECT", "x:0" }, { "CONNECT", ":1" },
		{ "CONNECT", "x:99999" }, { "CONNECT", "/" }, { "CONNECT", "*" },
		{ "CONNECT", "http://x:1/" }, { "CONNECT", "u@x:1" }, { "CONNECT", "x:1?" },
		{ "CONNECT", "[::1]" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (parse(rows[i].method, rows[i].target, "h") != HTTP_E_BAD_TARGET)
			fail_msg("%s %s", rows[i].method, rows[i].target);
}

static void test_hosts(void **state)
{
	static const char *const good[] = {
		"a", "A.b-c_d~e", "a.", "127.0.0.1", "0.0.0.0=5000", "a:", "a:0", "a:65535",
		"a:00080", "[::1]", "[::1]:80", "[::ffff:1.2.3.4]", "%41%aF", "x!$&'()*+,;=",
	};
	static const char *const bad[] = {
		"", ":", ":80", "a:b", "a:65536", "a:-1", "a:80 ,b", "a b", "a/b", "a@b", "a?b",
		"a#b", "a\\b", "a\"", "<a>", "[", "[]", "[:", "[::1", "[::1]x", "[::1]:x", "[g::1]",
		"[::1%251]", "::1", "a:1:2", "%", "%4", "%4g", "%g4", "\xc3\xa4",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		if (parse("GET", "/", good[i]) != HTTP_OK)
			fail_msg("%s", good[i]);
		assert_slice(req.authority, good[i]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (parse("GET", "/", bad[i]) != HTTP_E_BAD_HOST)
			fail_msg("%s", bad[i]);
		/* the target's authority wins, but a bad Host is bad all the same */
		assert_int_equal(parse("GET", "http://x/", bad[i]), HTTP_E_BAD_HOST);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_hosts),
	};

	return cmocka_run_group_tests_name("http/target", tests, NULL, NULL);
}
