/* SPDX-License-Identifier: MIT */
/* base/strbuf.c: growing, formatting, giving away, and staying failed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/strbuf.h"

static void test_empty(void **state)
{
	struct strbuf sb;
	char *p;

	(void)state;
	strbuf_init(&sb);
	assert_null(sb.p);
	strbuf_add(&sb, NULL, 0);
	assert_string_equal(sb.p, "");
	strbuf_fini(&sb);
	p = strbuf_take(&sb); /* nothing was ever added: still a text */
	assert_string_equal(p, "");
	free(p);
}

static void test_grows(void **state)
{
	struct strbuf sb;

	(void)state;
	strbuf_init(&sb);
	for (int i = 0; i < 10000; i++) {
		strbuf_puts(&sb, "ab");
		strbuf_add(&sb, "\0c", 1);
		assert_int_equal(sb.p[sb.len], 0);
	}
	assert_int_equal(sb.len, 30000);
	assert_false(sb.failed);
	assert_memory_equal(sb.p + 29997, "ab", 3);
	strbuf_clear(&sb);
	assert_int_equal(sb.len, 0);
	assert_string_equal(sb.p, "");
	assert_true(sb.cap >= 30000);
	strbuf_fini(&sb);
	assert_null(sb.p);
}

/* Lengths around the room that is left: the text is formatted a second time when it did not fit. */
static void test_printf(void **state)
{
	char want[1500];

	(void)state;
	for (int len = 0; len < 1200; len++) {
		struct strbuf sb;

		strbuf_init(&sb);
		strbuf_puts(&sb, "head:");
		strbuf_printf(&sb, "%*d|%s", len, 7, "end");
		snprintf(want, sizeof(want), "head:%*d|%s", len, 7, "end");
		assert_string_equal(sb.p, want);
		assert_int_equal(sb.len, strlen(want));
		strbuf_fini(&sb);
	}
}

static void test_take(void **state)
{
	struct strbuf sb;
	char *p;

	(void)state;
	strbuf_init(&sb);
	strbuf_puts(&sb, "text");
	p = strbuf_take(&sb);
	assert_string_equal(p, "text");
	free(p);
	assert_null(sb.p);
	strbuf_puts(&sb, "again");
	assert_string_equal(sb.p, "again");
	strbuf_fini(&sb);
}

static void test_stays_failed(void **state)
{
	struct strbuf sb;

	(void)state;
	strbuf_init(&sb);
	strbuf_puts(&sb, "kept");
	strbuf_add(&sb, "x", SIZE_MAX / 2);
	assert_true(sb.failed);
	strbuf_puts(&sb, "more");
	strbuf_printf(&sb, "%d", 1);
	assert_string_equal(sb.p, "kept");
	assert_null(strbuf_take(&sb));
	assert_false(sb.failed); /* taking, like fini, begins anew */
	strbuf_puts(&sb, "new");
	assert_string_equal(sb.p, "new");
	strbuf_fini(&sb);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_grows),
		cmocka_unit_test(test_printf),
		cmocka_unit_test(test_take),
		cmocka_unit_test(test_stays_failed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
