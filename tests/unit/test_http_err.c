/* SPDX-License-Identifier: MIT */
/* http/err.def: each row is complete, and says something of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "http/http.h"

static void test_rows(void **state)
{
	(void)state;
	for (int e = HTTP_E_AGAIN + 1; e < HTTP_ERR_COUNT; e++) {
		const char *word = http_err_word((enum http_err)e);
		const char *text = http_err_text((enum http_err)e);
		int status = http_err_status((enum http_err)e);

		assert_true(status >= 400 && status < 600);
		assert_true(*http_reason(status) != '\0');
		assert_true(http_token_ok(slice_of(word)));
		assert_true(text[0] >= 'A' && text[0] <= 'Z');
		assert_int_equal(text[strlen(text) - 1], '.');
		for (int k = HTTP_OK; k < e; k++) {
			assert_string_not_equal(word, http_err_word((enum http_err)k));
			assert_string_not_equal(text, http_err_text((enum http_err)k));
		}
	}
	assert_int_equal(http_err_status(HTTP_E_AGAIN), 0);
	assert_int_equal(http_err_status(HTTP_OK), 200);
	/* a number that is no error is told as the most general one */
	assert_int_equal(http_err_status((enum http_err)HTTP_ERR_COUNT), 400);
	assert_string_equal(http_err_word((enum http_err)9999), "bad_request_line");
}

static void test_statuses(void **state)
{
	static const struct { enum http_err e; int status; } rows[] = {
		{ HTTP_E_BAD_REQUEST_LINE, 400 }, { HTTP_E_BAD_VERSION, 505 },
		{ HTTP_E_LINE_TOO_LONG, 414 }, { HTTP_E_FIELD_TOO_LARGE, 431 },
		{ HTTP_E_TOO_MANY_FIELDS, 431 }, { HTTP_E_HEAD_TOO_LARGE, 431 },
		{ HTTP_E_LENGTH_AND_CODING, 400 }, { HTTP_E_CODING_NOT_BUILT, 501 },
		{ HTTP_E_EXPECTATION, 417 }, { HTTP_E_TRAILERS_TOO_LARGE, 431 },
		{ HTTP_E_BODY_TOO_LARGE, 413 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(http_err_status(rows[i].e), rows[i].status);
}

static void test_methods(void **state)
{
	(void)state;
	assert_string_equal(http_method_name(HTTP_M_GET), "GET");
	assert_string_equal(http_method_name(HTTP_M_PATCH), "PATCH");
	assert_string_equal(http_method_name(HTTP_M_OTHER), "OTHER");
	assert_string_equal(http_method_name(HTTP_M_COUNT), "OTHER");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_statuses),
		cmocka_unit_test(test_methods),
	};

	return cmocka_run_group_tests_name("http/err", tests, NULL, NULL);
}
