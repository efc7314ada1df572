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

#define NOW 1750000000 /* June 2025 */

static void expect_parsed(struct slice text, int64_t s)
{
	int64_t got = -1;

	if (!http_parse_date(text, NOW, &got) || got != s)
		fail_msg("%.*s: %ld", (int)text.len, text.p, got);
}

/* Every hundredth hour or so from the year 1000 on, in all three formats; the one with two digits
 * of a year around now. */
static void test_parse_calendar(void **state)
{
	char text[64];
	size_t len;

	(void)state;
	for (int64_t s = -30610224000; s <= 253402300799; s += 350001) {
		time_t t = (time_t)s;
		struct tm tm;

		gmtime_r(&t, &tm);
		len = strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &tm);
		expect_parsed((struct slice){text, len}, s);
		len = strftime(text, sizeof(text), "%a %b %e %H:%M:%S %Y", &tm);
		expect_parsed((struct slice){text, len}, s);
		if (s < NOW - 49LL * 31557600 || s > NOW + 49LL * 31557600)
			continue;
		len = strftime(text, sizeof(text), "%A, %d-%b-", &tm);
		text[len++] = (char)('0' + tm.tm_year / 10 % 10);
		text[len++] = (char)('0' + tm.tm_year % 10);
		len += strftime(text + len, sizeof(text) - len, " %H:%M:%S GMT", &tm);
		expect_parsed((struct slice){text, len}, s);
	}
}

static void test_parse_known(void **state)
{
	static const struct { const char *text; int64_t s; } rows[] = {
		{ "Sun, 06 Nov 1994 08:49:37 GMT", 784111777 },
		{ "Sunday, 06-Nov-94 08:49:37 GMT", 784111777 },
		{ "Sun Nov  6 08:49:37 1994", 784111777 },
		{ "Thu, 01 Jan 1970 00:00:00 GMT", 0 },
		{ "Wed, 31 Dec 1969 23:59:59 GMT", -1 },
		{ "Sat, 01 Jan 0000 00:00:00 GMT", -62167219200 },
		{ "Fri, 31 Dec 9999 23:59:59 GMT", 253402300799 },
		{ "Tue, 29 Feb 2000 00:00:00 GMT", 951782400 },
		{ "Tue Feb 29 00:00:00 2000", 951782400 },
		{ "Sat, 31 Dec 2016 23:59:60 GMT", 1483228800 }, /* a leap second */
		{ "Saturday, 01-Jan-00 00:00:00 GMT", 946684800 },
		{ "Tuesday, 01-Jan-75 00:00:00 GMT", 3313526400 }, /* 50 years ahead */
		{ "Thursday, 01-Jan-76 00:00:00 GMT", 189302400 }, /* not 51 */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int64_t got = 42;

		if (!http_parse_date(slice_of(rows[i].text), NOW, &got) || got != rows[i].s)
			fail_msg("%s: %ld", rows[i].text, got);
	}
}

static void test_parse_refused(void **state)
{
	static const char *const good[] = {
		"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
		"Sun Nov  6 08:49:37 1994", "Wednesday, 02-Nov-94 08:49:37 GMT",
	};
	static const char *const bad[] = {
		"", "S", "Sun", "Sun,", "Sun ", "0", "yesterday", "784111777",
		"Mon, 06 Nov 1994 08:49:37 GMT", "sun, 06 Nov 1994 08:49:37 GMT",
		"Sun, 06 nov 1994 08:49:37 GMT", "Sun, 6 Nov 1994 08:49:37 GMT",
		"Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 06 Nov 1994 08:49:37 +0000",
		"Sun, 06 Nov 94 08:49:37 GMT", "Sun, 06 Nov 1994 24:00:00 GMT",
		"Sun, 06 Nov 1994 08:60:37 GMT", "Sun, 06 Nov 1994 08:49:61 GMT",
		"Sun,  6 Nov 1994 08:49:37 GMT", "Sun, 06  Nov 1994 08:49:37 GMT",
		"Wed, 00 Nov 1994 08:49:37 GMT", "Thu, 31 Nov 1994 08:49:37 GMT",
		"Wed, 29 Feb 1995 00:00:00 GMT", "Thu, 29 Feb 1900 00:00:00 GMT",
		"Sun, 06 Nov -994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT ",
		"Sun, 06-Nov-94 08:49:37 GMT", "Sunday, 06 Nov 1994 08:49:37 GMT",
		"Sunday, 06-Nov-1994 08:49:37 GMT", "Monday, 06-Nov-94 08:49:37 GMT",
		"Wednesday, 01-Jan-75 00:00:00 GMT", /* right in 1975 */
		"Sunsday, 06-Nov-94 08:49:37 GMT", "Sun Nov 6 08:49:37 1994",
		"Sun Nov   6 08:49:37 1994", "Sun Nov  6 08:49:37 1994 GMT",
		"Mon Nov  6 08:49:37 1994", "Sun Nov  0 08:49:37 1994", "Sun Nov",
		"Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int64_t got = 42;

		if (http_parse_date(slice_of(bad[i]), NOW, &got) || got != 42)
			fail_msg("%s", bad[i]);
	}
	assert_false(http_parse_date((struct slice){NULL, 0}, NOW, NULL));
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		for (size_t len = 0; len < strlen(good[i]); len++) { /* cut anywhere */
			char *copy = malloc(len ? len : 1);
			int64_t got = 42;

			assert_non_null(copy);
			memcpy(copy, good[i], len);
			assert_false(http_parse_date((struct slice){copy, len}, NOW, &got));
			free(copy);
		}
		for (size_t at = 0; at < strlen(good[i]); at++) { /* one byte is none that may be */
			char text[40];
			int64_t got = 42;

			strcpy(text, good[i]);
			text[at] = '@';
			assert_false(http_parse_date(slice_of(text), NOW, &got));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_calendar),
		cmocka_unit_test(test_out_of_range),
		cmocka_unit_test(test_parse_calendar),
		cmocka_unit_test(test_parse_known),
		cmocka_unit_test(test_parse_refused),
	};

	return cmocka_run_group_tests_name("http/date", tests, NULL, NULL);
}
