/* SPDX-License-Identifier: MIT */
/* http/path.c: one path, one form. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "http/http.h"

/* Normalises from and into blocks of just the size that is promised. */
static enum http_err normalise(struct slice in, char **ret_out, size_t *ret_len)
{
	char *copy = malloc(in.len ? in.len : 1);
	enum http_err e;

	assert_non_null(copy);
	if (in.len > 0)
		memcpy(copy, in.p, in.len);
	*ret_out = malloc(in.len + 1);
	assert_non_null(*ret_out);
	e = http_normalise_path((struct slice){copy, in.len}, *ret_out, ret_len);
	free(copy);
	return e;
}

static void test_normalised(void **state)
{
	static const struct { const char *in, *out; } rows[] = {
		{ "/", "/" }, { "/a", "/a" }, { "/a/", "/a/" }, { "/a/b/c", "/a/b/c" },
		{ "//", "//" }, { "//a///b//", "//a///b//" },
		{ "/.", "/" }, { "/./", "/" }, { "/..", "/" }, { "/../", "/" },
		{ "/../../a", "/a" },
		{ "/a/.", "/a/" }, { "/a/./b", "/a/b" }, { "/a/..", "/" }, { "/a/../b", "/b" },
		{ "/a/b/../../c", "/c" }, { "/a/b/..", "/a/" }, { "/a/b/../", "/a/" },
		{ "/a//../b", "/a/b" }, { "//..", "/" }, { "/a/...", "/a/..." }, { "/.a", "/.a" },
		{ "/..a", "/..a" }, { "/a..", "/a.." }, { "/a/.b/..c/d.", "/a/.b/..c/d." },
		{ "/mid/content=5/../6", "/mid/6" }, { "/a/b/c/./../../g", "/a/g" },
		{ "/%41%7a%7A", "/Azz" }, { "/%2e", "/" }, { "/a/%2E%2e/b", "/b" },
		{ "/a/.%2e", "/" }, { "/a%2fb", "/a%2Fb" }, { "/a%2F..%2fb", "/a%2F..%2Fb" },
		{ "/a/..%2Fb", "/a/..%2Fb" }, { "/100%25", "/100%25" },
		{ "/%252e%252E", "/%252e%252E" },
		{ "/%2541", "/%2541" }, { "/%c3%a4", "/\xc3\xa4" }, { "/\xff", "/\xff" },
		{ "/a%20b+c", "/a b+c" }, { "/%0a", "/\n" }, { "/%3f%23", "/?#" },
		{ "/\\..\\", "/\\..\\" },
		{ "*", "*" }, { "", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *out, *again;
		size_t len, n;

		assert_int_equal(normalise(slice_of(rows[i].in), &out, &len), HTTP_OK);
		assert_string_equal(out, rows[i].out);
		assert_int_equal(len, strlen(rows[i].out));
		assert_int_equal(normalise((struct slice){out, len}, &again, &n), HTTP_OK);
		assert_string_equal(again, out);
		free(out);
		free(again);
	}
	{
		char out[1] = "x";
		size_t len = 9;

		assert_int_equal(http_normalise_path((struct slice){NULL, 0}, out, &len), HTTP_OK);
		assert_int_equal(len, 0);
		assert_int_equal(out[0], '\0');
	}
}

static void test_refused(void **state)
{
	static const char *const bad[] = {
		"a", "a/b", ".", "..", "**", "*/", "%2F", "/%", "/%4", "/%4/", "/%4g", "/%g4",
		"/%%41", "/%00", "/a/%00/b", "/a%0", "http://a/",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char *out;
		size_t len;

		if (normalise(slice_of(bad[i]), &out, &len) != HTTP_E_BAD_TARGET)
			fail_msg("%s", bad[i]);
		free(out);
	}
	{
		char *out;
		size_t len;

		assert_int_equal(normalise(SLICE("/a\0b"), &out, &len), HTTP_E_BAD_TARGET);
		free(out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_normalised),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests_name("http/path", tests, NULL, NULL);
}
