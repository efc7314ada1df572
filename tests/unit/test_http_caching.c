/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "http/caching.h"

static struct http_cache_control read_cc(const char *value)
{
	struct http_cache_control c = {0};

	http_read_cache_control(&c, slice_of(value));
	return c;
}

static void test_directives(void **state)
{
	struct http_cache_control c = read_cc("Public , MAX-AGE=60,must-revalidate");

	(void)state;
	assert_true(c.is_public && c.must_revalidate && c.has_max_age);
	assert_int_equal(c.max_age_s, 60);
	assert_false(c.no_store || c.no_cache || c.is_private || c.has_s_maxage || c.has_stale);
	c = read_cc("private=\"a, no-store\", stale-while-revalidate=5, s-maxage=\"7\"");
	assert_true(c.is_private && c.has_stale && c.has_s_maxage);
	assert_false(c.no_store);
	assert_int_equal(c.stale_s, 5);
	assert_int_equal(c.s_maxage_s, 7);
	c = read_cc("no-store, no-cache=x, only-if-cached, proxy-revalidate");
	assert_true(c.no_store && c.no_cache && c.only_if_cached && c.must_revalidate);
	c = read_cc("no-storex, xno-store, max-agex=1, , =, \"");
	assert_false(c.no_store || c.has_max_age);
}

/* What cannot be read is not fresh. */
static void test_seconds(void **state)
{
	(void)state;
	assert_int_equal(read_cc("max-age=60, max-age=5").max_age_s, 5);
	assert_int_equal(read_cc("max-age=5, max-age=60").max_age_s, 5);
	assert_true(read_cc("max-age").has_max_age);
	assert_int_equal(read_cc("max-age").max_age_s, 0);
	assert_int_equal(read_cc("max-age=").max_age_s, 0);
	assert_int_equal(read_cc("max-age=-1").max_age_s, 0);
	assert_int_equal(read_cc("max-age=1.5").max_age_s, 0);
	assert_int_equal(read_cc("max-age=99999999999999999999999").max_age_s, HTTP_AGE_MAX);
}

static void test_tokens(void **state)
{
	struct slice rest = SLICE(" , Accept , \"a,b\",,c"), s;

	(void)state;
	assert_true(http_next_token(&rest, &s));
	assert_true(slice_eq(s, SLICE("Accept")));
	assert_true(http_next_token(&rest, &s));
	assert_true(slice_eq(s, SLICE("\"a,b\"")));
	assert_true(http_next_token(&rest, &s));
	assert_true(slice_eq(s, SLICE("c")));
	assert_false(http_next_token(&rest, &s));
}

static void parse(struct http_request *req, struct http_field fields[16], const char *text)
{
	const struct http_limits limits = {8000, 16, 8000, 65536};
	size_t scan = 0;

	*req = (struct http_request){.fields = fields};
	assert_int_equal(http_parse_head(req, &limits, text, strlen(text), &scan), HTTP_OK);
}

static void test_cookies(void **state)
{
	struct http_field fields[16];
	struct http_request req;

	(void)state;
	parse(&req, fields, "GET / HTTP/1.1\r\nHost: a\r\nCookie: a=1; bb = 2 ;c\r\nCookie: d=\r\n\r\n");
	assert_true(slice_eq(http_cookie(&req, SLICE("a")), SLICE("1")));
	assert_true(slice_eq(http_cookie(&req, SLICE("bb")), SLICE("2")));
	assert_null(http_cookie(&req, SLICE("c")).p);
	assert_null(http_cookie(&req, SLICE("b")).p);
	assert_non_null(http_cookie(&req, SLICE("d")).p);
	assert_int_equal(http_cookie(&req, SLICE("d")).len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_directives),
		cmocka_unit_test(test_seconds),
		cmocka_unit_test(test_tokens),
		cmocka_unit_test(test_cookies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
