/* SPDX-License-Identifier: MIT */
/* http/query.c: values of a query. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "http/http.h"

static struct slice copy_of(const char *s)
{
	size_t len = strlen(s);
	char *copy = malloc(len ? len : 1);

	assert_non_null(copy);
	return (struct slice){memcpy(copy, s, len), len};
}

static void test_find(void **state)
{
	static const struct { const char *query, *name, *value; } rows[] = {
		{ "a=1", "a", "1" }, { "a=1&b=2", "b", "2" }, { "a=1&a=2", "a", "1" },
		{ "aa=1&a=2", "a", "2" }, { "a=1&aa=2", "aa", "2" }, { "A=1&a=2", "a", "2" },
		{ "a", "a", "" }, { "a=", "a", "" }, { "b&a", "a", "" }, { "a&b=1", "a", "" },
		{ "b=a", "a", NULL }, { "", "a", NULL }, { "b", "a", NULL }, { "&&", "", NULL },
		{ "&&a=1&&", "a", "1" }, { "=x", "", "x" }, { "a=1", "", NULL },
		{ "a=b=c", "a", "b=c" }, { "a=1;b=2", "b", NULL }, { "a=1;b=2", "a", "1;b=2" },
		{ "%61=1", "a", "1" }, { "a+b=1", "a b", "1" }, { "a%20b=1", "a b", "1" },
		{ "a%2Bb=1", "a+b", "1" }, { "a%26b=1&b=2", "a&b", "1" }, { "a%3Db=1", "a=b", "1" },
		{ "%=1", "%", "1" }, { "%4=1", "%4", "1" }, { "%4g=1", "%4g", "1" },
		{ "%%41=1", "%A", "1" }, { "q=a%20b+c", "q", "a%20b+c" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct slice query = copy_of(rows[i].query);
		struct slice v = http_query_find(query, slice_of(rows[i].name));

		if (!v.p != !rows[i].value || !slice_eq(v, slice_of(rows[i].value)))
			fail_msg("%s: %s", rows[i].query, rows[i].name);
		free((void *)(uintptr_t)query.p);
	}
	assert_null(http_query_find((struct slice){NULL, 0}, SLICE("a")).p);
}

static void test_decode(void **state)
{
	static const struct { const char *in, *out; } rows[] = {
		{ "", "" }, { "a", "a" }, { "a+b", "a b" }, { "%41%7a%7A", "Azz" }, { "%2B", "+" },
		{ "%", "%" }, { "%4", "%4" }, { "%4g", "%4g" }, { "%g4", "%g4" }, { "%%41", "%A" },
		{ "100%", "100%" }, { "a%2", "a%2" }, { "%2541", "%41" }, { "%c3%A4", "\xc3\xa4" },
		{ "&=;", "&=;" },
	};
	char out[16];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct slice in = copy_of(rows[i].in);
		char *to = malloc(in.len ? in.len : 1);
		size_t len;

		assert_non_null(to);
		len = http_query_decode(in, to);
		if (!slice_eq((struct slice){to, len}, slice_of(rows[i].out)))
			fail_msg("%s", rows[i].in);
		free((void *)(uintptr_t)in.p);
		free(to);
	}
	assert_int_equal(http_query_decode(SLICE("a%00b"), out), 3);
	assert_memory_equal(out, "a\0b", 3);
	assert_int_equal(http_query_decode((struct slice){NULL, 0}, out), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_decode),
	};

	return cmocka_run_group_tests_name("http/query", tests, NULL, NULL);
}
