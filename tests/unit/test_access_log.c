/* SPDX-License-Identifier: MIT */
/* Lines of the access log: every atom, escaping, bounds. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/clock.h"
#include "base/log.h"
#include "serve/access_log.h"

struct fixture {
	struct http_field fields[8];
	struct http_request head;
	struct net_addr client, peer;
	struct access_log_entry e;
};

static void add_field(struct fixture *f, const char *name, struct slice value)
{
	f->head.fields[f->head.nfields++] = (struct http_field){slice_of(name), value};
}

static void fixture_init(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	f->head.fields = f->fields;
	f->head.minor = 1;
	f->head.method = HTTP_M_GET;
	f->head.method_text = SLICE("GET");
	f->head.target = SLICE("/a/b?x=1&y=2");
	f->head.raw_path = SLICE("/a/b");
	f->head.query = SLICE("x=1&y=2");
	f->head.known[HTTP_F_REFERER] = SLICE("http://example.org/");
	f->head.known[HTTP_F_USER_AGENT] = SLICE("curl/7.88");
	add_field(f, "X-Thing", SLICE("some thing"));
	f->client = (struct net_addr){.family = NET_V4, .bytes = {10, 0, 0, 9}};
	f->peer = (struct net_addr){.family = NET_V4, .bytes = {127, 0, 0, 1}};
	f->e = (struct access_log_entry){
		.head = &f->head, .id = SLICE("req-1"), .client = &f->client, .peer = &f->peer,
		.status = 200, .bytes = 1234, .duration_us = 1234567,
		.wall_ns = UINT64_C(1790000000) * NS_PER_S + 42 * NS_PER_MS,
		.content_type = SLICE("text/plain"),
	};
}

/* One line without its newline; static memory. */
static const char *line_of(const char *format, const struct access_log_entry *e)
{
	static char out[LOG_LINE_MAX + 1];
	struct access_log *al;
	size_t len;

	assert_int_equal(access_log_compile(format, &al), 0);
	len = access_log_format(al, e, out, LOG_LINE_MAX);
	access_log_free(al);
	assert_true(len > 0 && len <= LOG_LINE_MAX);
	assert_int_equal(out[len - 1], '\n');
	assert_null(memchr(out, '\n', len - 1));
	out[len - 1] = '\0';
	return out;
}

static void test_combined(void **state)
{
	const char *want = "10.0.0.9 - - [21/Sep/2026:14:13:20 +0000] \"GET /a/b?x=1&y=2 HTTP/1.1\" "
			   "200 1234 \"http://example.org/\" \"curl/7.88\"";
	struct fixture f;

	(void)state;
	fixture_init(&f);
	assert_string_equal(line_of("combined", &f.e), want);
	assert_string_equal(line_of(NULL, &f.e), want);
}

static void test_each_atom(void **state)
{
	static const struct { const char *format, *want; } cases[] = {
		{"%(h)s", "10.0.0.9"}, {"%(l)s", "-"}, {"%(u)s", "-"}, {"%(m)s", "GET"},
		{"%(U)s", "/a/b"}, {"%(q)s", "x=1&y=2"}, {"%(H)s", "HTTP/1.1"}, {"%(s)s", "200"},
		{"%(B)s", "1234"}, {"%(b)s", "1234"}, {"%(f)s", "http://example.org/"},
		{"%(a)s", "curl/7.88"}, {"%(T)s", "1"}, {"%(M)s", "1234"}, {"%(D)s", "1234567"},
		{"%(L)s", "1.234567"}, {"%({x-thing}i)s", "some thing"}, {"%({X-None}i)s", "-"},
		{"%({content-type}o)s", "text/plain"}, {"%({x-request-id}o)s", "req-1"},
		{"%({set-cookie}o)s", "-"}, {"%({wsgi.input}e)s", "-"}, {"100%%", "100%"},
		{"a %(s)s b %(m)s", "a 200 b GET"},
	};
	struct fixture f;
	char pid[32];

	(void)state;
	fixture_init(&f);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(line_of(cases[i].format, &f.e), cases[i].want);
	snprintf(pid, sizeof(pid), "<%d>", (int)getpid());
	assert_string_equal(line_of("%(p)s", &f.e), pid);
	f.e.bytes = 0;
	assert_string_equal(line_of("%(b)s %(B)s", &f.e), "- 0");
	f.e.duration_us = 42;
	assert_string_equal(line_of("%(L)s", &f.e), "0.000042");
}

static void test_bad_formats(void **state)
{
	static const char *const bad[] = {"%", "%x", "%(h)", "%(h", "%(z)s", "%(hh)s", "%({x}z)s",
					  "%({}i)s", "%()s", "ok %(s)d"};
	struct access_log *al;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(access_log_compile(bad[i], &al), -EINVAL);
}

static void test_user(void **state)
{
	static const struct { struct slice auth; const char *want; } cases[] = {
		{{"Basic dXNlcjpwYXNz", 18}, "user"},     /* user:pass */
		{{"basic  dXNlcjpwYXNz", 19}, "user"},
		{{"Basic dXNlcg==", 14}, "-"},            /* no colon: it could be a password */
		{{"Basic IjoK", 10}, "\\\""},             /* a quote as the name */
		{{"Basic Og==", 10}, "-"},                /* an empty name */
		{{"Bearer dXNlcjpwYXNz", 19}, "-"},
		{{"Basic ", 6}, "-"}, {{"Basic !!!!", 10}, "-"}, {{NULL, 0}, "-"},
	};
	struct fixture f;

	(void)state;
	fixture_init(&f);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		f.head.known[HTTP_F_AUTHORIZATION] = cases[i].auth;
		assert_string_equal(line_of("%(u)s", &f.e), cases[i].want);
	}
}

static void test_nothing_can_be_forged(void **state)
{
	static const char evil[] = "a\" 200 1\n1.2.3.4 - - \\ \x1b[31m\r\xc2\x85\x7f\xff";
	struct fixture f;
	json_error_t err;
	json_t *doc;

	(void)state;
	fixture_init(&f);
	f.head.known[HTTP_F_USER_AGENT] = (struct slice){evil, sizeof(evil) - 1};
	assert_string_equal(line_of("\"%(a)s\"", &f.e),
			    "\"a\\\" 200 1\\x0a1.2.3.4 - - \\\\ \\x1b[31m\\x0d\\xc2\\x85\\x7f\\xff\"");
	doc = json_loads(line_of("json", &f.e), 0, &err);
	assert_non_null(doc);
	assert_string_equal(json_string_value(json_object_get(doc, "user_agent")),
			    "a\" 200 1\n1.2.3.4 - - \\ \x1b[31m\r\xc2\x85\x7f\xc3\xbf");
	json_decref(doc);
}

static void test_json(void **state)
{
	static const char *const keys[] = {"time", "pid", "request_id", "client", "peer", "method",
		"target", "version", "referer", "user_agent", "status", "bytes", "duration_us",
		"content_type"};
	struct fixture f;
	json_error_t err;
	json_t *doc;

	(void)state;
	fixture_init(&f);
	doc = json_loads(line_of("json", &f.e), JSON_REJECT_DUPLICATES, &err);
	assert_non_null(doc);
	assert_int_equal(json_object_size(doc), sizeof(keys) / sizeof(keys[0]));
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		assert_non_null(json_object_get(doc, keys[i]));
	assert_string_equal(json_string_value(json_object_get(doc, "time")),
			    "2026-09-21T14:13:20.042Z");
	assert_string_equal(json_string_value(json_object_get(doc, "target")), "/a/b?x=1&y=2");
	assert_int_equal(json_integer_value(json_object_get(doc, "duration_us")), 1234567);
	json_decref(doc);
}

static void test_no_head(void **state)
{
	struct fixture f;
	json_error_t err;
	json_t *doc;

	(void)state;
	fixture_init(&f);
	f.e.head = NULL;
	f.e.client = f.e.peer = NULL;
	f.e.status = 400;
	assert_string_equal(line_of("%(h)s \"%(r)s\" %(s)s %(f)s %({a}i)s", &f.e),
			    "- \"-\" 400 - -");
	doc = json_loads(line_of("json", &f.e), 0, &err);
	assert_non_null(doc);
	assert_true(json_is_null(json_object_get(doc, "method")));
	assert_true(json_is_null(json_object_get(doc, "version")));
	json_decref(doc);
}

/* Values of any length and bytes: the line stays one, below PIPE_BUF, and JSON stays JSON. */
static void test_bounds(void **state)
{
	static const unsigned char bytes[] = {'a', '"', 0xff, '\\', 0x01, 0xe2};
	struct fixture f;
	json_error_t err;
	char *big = malloc(70000);

	(void)state;
	assert_non_null(big);
	for (size_t i = 0; i < sizeof(bytes); i++) {
		struct slice s = {big, 70000};
		json_t *doc;

		memset(big, bytes[i], 70000);
		fixture_init(&f);
		f.head.target = f.head.raw_path = f.head.query = f.head.method_text = s;
		f.head.known[HTTP_F_REFERER] = f.head.known[HTTP_F_USER_AGENT] = s;
		f.head.known[HTTP_F_AUTHORIZATION] = s;
		f.head.fields[0].value = s;
		f.e.id = f.e.content_type = s;
		f.e.bytes = f.e.duration_us = INT64_MAX;
		(void)line_of("combined", &f.e);
		(void)line_of("%(r)s%(U)s%(q)s%(f)s%(a)s%({x-thing}i)s%(u)s", &f.e);
		doc = json_loads(line_of("json", &f.e), JSON_DISABLE_EOF_CHECK, &err);
		assert_non_null(doc);
		json_decref(doc);
	}
	free(big);
}

/* No place after the end is written to, whatever the room. */
static void test_small_rooms(void **state)
{
	static const char *const formats[] = {"combined", "json"};
	struct fixture f;
	struct access_log *al;

	(void)state;
	fixture_init(&f);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(access_log_compile(formats[i], &al), 0);
		for (size_t cap = 0; cap < 600; cap++) {
			char *out = malloc(cap + 1);
			size_t len;

			assert_non_null(out);
			out[cap] = 'x';
			len = access_log_format(al, &f.e, out, cap);
			assert_true(len <= cap);
			assert_true(len == 0 ? cap < 2 : out[len - 1] == '\n');
			assert_int_equal(out[cap], 'x');
			free(out);
		}
		access_log_free(al);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_combined), cmocka_unit_test(test_each_atom),
		cmocka_unit_test(test_bad_formats), cmocka_unit_test(test_user),
		cmocka_unit_test(test_nothing_can_be_forged), cmocka_unit_test(test_json),
		cmocka_unit_test(test_no_head), cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_small_rooms),
	};

	setenv("TZ", "UTC", 1);
	tzset();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
