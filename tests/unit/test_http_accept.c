/* SPDX-License-Identifier: MIT */
/* http/accept.c: text or JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_prefers),
	};

	return cmocka_run_group_tests_name("http/accept", tests, NULL, NULL);
}
