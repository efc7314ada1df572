/* SPDX-License-Identifier: MIT */
/* http/out.c: what answers are written with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "http/http.h"

static char buf[128];
static struct http_out o;

static void begin(size_t cap)
{
	memset(buf, '#', sizeof(buf));
	o = (struct http_out){ .p = buf, .cap = cap };
}

static void assert_out(const char *want)
{
	assert_false(o.over);
	assert_int_equal(o.len, strlen(want));
	assert_memory_equal(buf, want, o.len);
	assert_int_equal(buf[o.len], '#');
}

static void test_put(void **state)
{
	(void)state;
	begin(sizeof(buf));
	http_put(&o, "ab", 2);
	http_put(&o, NULL, 0);
	http_put_slice(&o, SLICE("c"));
	http_put_slice(&o, (struct slice){NULL, 0});
	http_put_field(&o, SLICE("X-A"), SLICE("b c"));
	http_put_field(&o, SLICE("E"), (struct slice){NULL, 0});
	assert_out("abcX-A: b c\r\nE: \r\n");
}

static void test_numbers(void **state)
{
	static const uint64_t n[] = { 0, 9, 10, 255, 256, 4096, UINT32_MAX, UINT64_MAX };
	char want[64];

	(void)state;
	for (size_t i = 0; i < sizeof(n) / sizeof(n[0]); i++) {
		begin(sizeof(buf));
		http_put_u64(&o, n[i]);
		snprintf(want, sizeof(want), "%ju", (uintmax_t)n[i]);
		assert_out(want);
		begin(sizeof(buf));
		http_put_chunk_size(&o, n[i]);
		snprintf(want, sizeof(want), "%jx\r\n", (uintmax_t)n[i]);
		assert_out(want);
	}
}

static void test_status_line(void **state)
{
	char want[128];
	int known = 0;

	(void)state;
	for (int s = 100; s < 1000; s++) {
		begin(sizeof(buf));
		http_put_status_line(&o, s);
		snprintf(want, sizeof(want), "HTTP/1.1 %d %s\r\n", s, http_reason(s));
		assert_out(want);
		known += *http_reason(s) != '\0';
	}
	assert_true(known > 50);
	assert_string_equal(http_reason(200), "OK");
	assert_string_equal(http_reason(505), "HTTP Version Not Supported");
	assert_string_equal(http_reason(299), "");
	assert_string_equal(http_reason(-1), "");
	for (int s = -1; s < 2000; s += 1001) { /* what is no status is our own fault */
		begin(sizeof(buf));
		http_put_status_line(&o, s);
		assert_out("HTTP/1.1 500 \r\n");
	}
}

/* Each writer, with each size that is too small: nothing behind the end, and nothing afterwards. */
static void test_bounds(void **state)
{
	(void)state;
	for (int which = 0; which < 6; which++) {
		size_t full = sizeof(buf), cap = 0;

		for (; cap <= full; cap++) {
			begin(cap);
			switch (which) {
			case 0: http_put(&o, "hello", 5); break;
			case 1: http_put_field(&o, SLICE("a"), SLICE("b")); break;
			case 2: http_put_u64(&o, 123456); break;
			case 3: http_put_status_line(&o, 200); break;
			case 4: http_put_status_line(&o, 299); break;
			default: http_put_chunk_size(&o, 0xabcdef); break;
			}
			assert_true(o.len <= cap);
			for (size_t i = o.len; i < sizeof(buf); i++)
				assert_int_equal(buf[i], '#');
			if (!o.over) {
				full = cap;
				assert_int_equal(o.len, cap);
				continue;
			}
			http_put(&o, "", 0); /* sticks */
			assert_true(o.over);
		}
		assert_true(full < sizeof(buf));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_put),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_status_line),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests_name("http/out", tests, NULL, NULL);
}
