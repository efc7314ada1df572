/* SPDX-License-Identifier: MIT */
/* http/chars.c: every byte against the words of the grammar. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "http/http.h"

#define ALNUM "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

static bool one_of(int c, const char *set)
{
	return c != 0 && strchr(set, c);
}

static void test_every_byte(void **state)
{
	(void)state;
	for (int c = 0; c < 256; c++) {
		char text[3] = { 'a', (char)c, 'b' };
		struct slice s = { text, 3 };
		bool value = c == '\t' || (c >= ' ' && c != 0x7f);

		assert_int_equal(http_token_ok(s), one_of(c, ALNUM "!#$%&'*+-.^_`|~"));
		assert_int_equal(http_field_ok(s, SLICE("v")), one_of(c, ALNUM "!#$%&'*+-.^_`|~"));
		assert_int_equal(http_field_ok(SLICE("n"), s), value);
		assert_int_equal(http_request_id_ok(s), one_of(c, ALNUM "._:-"));
	}
}

static void test_lengths(void **state)
{
	char id[129];

	(void)state;
	memset(id, 'x', sizeof(id));
	assert_false(http_token_ok((struct slice){NULL, 0}));
	assert_false(http_field_ok((struct slice){NULL, 0}, SLICE("v")));
	assert_true(http_field_ok(SLICE("n"), (struct slice){NULL, 0}));
	assert_false(http_request_id_ok((struct slice){NULL, 0}));
	assert_true(http_request_id_ok((struct slice){id, 1}));
	assert_true(http_request_id_ok((struct slice){id, 128}));
	assert_false(http_request_id_ok((struct slice){id, 129}));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_byte),
		cmocka_unit_test(test_lengths),
	};

	return cmocka_run_group_tests_name("http/chars", tests, NULL, NULL);
}
