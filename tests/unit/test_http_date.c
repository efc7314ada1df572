/* SPDX-License-Identifier: MIT */
/* http/date.c, compared with the C library's calendar. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "http/http.h"

static void expect(int64_t s, int64_t clamped)
{
	char got[HTTP_DATE_LEN + 1], want[64];
	time_t t = (time_t)clamped;
	struct tm tm;

	gmtime_r(&t, &tm);
	assert_int_equal(strftime(want, sizeof(want), "%a, %d %b %Y %H:%M:%S GMT", &tm),
			 HTTP_DATE_LEN);
	http_format_date(s, got);
	assert_string_equal(got, want);
}

static void test_known(void **state)
{
	char got[HTTP_DATE_LEN + 1];

	(void)state;
	http_format_date(784111777, got);
	assert_string_equal(got, "Sun, 06 Nov 1994 08:49:37 GMT");
	http_format_date(951782400, got);
	assert_string_equal(got, "Tue, 29 Feb 2000 00:00:00 GMT");
}

static void test_calendar(void **state)
{
	(void)state;
	for (int64_t day = 0; day < 150000; day++) /* every day until 2380 */
		expect(day * 86400 + day % 86400, day * 86400 + day % 86400);
	for (int64_t s = 1700000000; s < 1700000000 + 100000; s += 7)
		expect(s, s);
	expect(253402300799, 253402300799);
}

static void test_out_of_range(void **state)
{
	(void)state;
	expect(-1, 0);
	expect(INT64_MIN, 0);
	expect(253402300800, 253402300799);
	expect(INT64_MAX, 253402300799);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_calendar),
		cmocka_unit_test(test_out_of_range),
	};

	return cmocka_run_group_tests_name("http/date", tests, NULL, NULL);
}
