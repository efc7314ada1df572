/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"

static void check_quote(const char *in, size_t len, const char *want)
{
	char out[256];
	size_t n = json_quote(out, sizeof(out) - 1, (struct slice){in, len});

	out[n] = '\0';
	assert_string_equal(out, want);
}

#define QUOTE(in, want) check_quote(in, sizeof(in) - 1, want)

static void test_quote(void **state)
{
	(void)state;
	QUOTE("", "");
	QUOTE("plain text /", "plain text /");
	QUOTE("a\"b\\c", "a\\\"b\\\\c");
	QUOTE("\b\t\n\v\f\r", "\\b\\t\\n\\u000b\\f\\r");
	QUOTE("\0\x1f\x7f", "\\u0000\\u001f\\u007f");
	QUOTE("\xc2\x85\xc2\xa0", "\\u0085\xc2\xa0"); /* C1 is escaped, the space after it not */
	QUOTE("\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x90", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x90");
	QUOTE("\xe9", "\\u00e9");                             /* Latin-1 */
	QUOTE("\xc3", "\\u00c3");                             /* cut */
	QUOTE("\xe2\x82", "\\u00e2\\u0082");
	QUOTE("\xc0\x80", "\\u00c0\\u0080");                  /* overlong */
	QUOTE("\xed\xa0\x80", "\\u00ed\\u00a0\\u0080");       /* a surrogate */
	QUOTE("\xf5\x80\x80\x80", "\\u00f5\\u0080\\u0080\\u0080");
}

static void test_room(void **state)
{
	static const char in[] = "ab\"\x01\xe2\x82\xac";
	static const size_t want[] = {0, 1, 2, 2, 4, 4, 4, 4, 4, 4, 10, 10, 10, 13, 13};

	(void)state;
	for (size_t cap = 0; cap < sizeof(want) / sizeof(want[0]); cap++) {
		char *out = malloc(cap + 1);

		assert_non_null(out);
		assert_int_equal(json_quote(out, cap, (struct slice){in, sizeof(in) - 1}),
				 want[cap]);
		free(out);
	}
}

/* Every sequence of two bytes: never reads behind the end, never yields a control or bad UTF-8. */
static void test_all_pairs(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 65536; i++) {
		char *in = malloc(2), out[16];
		size_t n;

		assert_non_null(in);
		in[0] = (char)(i >> 8);
		in[1] = (char)i;
		n = json_quote(out, sizeof(out), (struct slice){in, 2});
		free(in);
		assert_in_range(n, 2, 12);
		for (size_t at = 0; at < n;) {
			size_t len = json_utf8_len((unsigned char *)out + at, n - at);

			assert_in_range(len, 1, 4);
			assert_true((unsigned char)out[at] >= 0x20 && out[at] != 0x7f);
			at += len;
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_quote), cmocka_unit_test(test_room),
		cmocka_unit_test(test_all_pairs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
