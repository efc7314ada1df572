/* SPDX-License-Identifier: MIT */
/* conf/cron.c: schedules as texts, and when they are due, also where clocks are set. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "conf/cron.h"

/* Rules instead of a name: the files of zones need not be there. */
#define BERLIN "CET-1CEST,M3.5.0,M10.5.0/3"
#define LORD_HOWE "LHST-10:30LHDT-11,M10.1.0,M4.1.0" /* half an hour */
#define NEW_YORK "EST5EDT,M3.2.0,M11.1.0"

static void use_zone(const char *tz)
{
	assert_int_equal(setenv("TZ", tz, 1), 0);
	tzset();
}

static struct cron parsed(const char *text)
{
	struct strbuf why;
	struct cron c;

	strbuf_init(&why);
	if (!cron_parse(slice_of(text), &c, &why))
		fail_msg("%s: %s", text, why.p);
	assert_null(why.p);
	return c;
}

static void expect_wrong(const char *text, const char *want)
{
	struct cron c = {.minute = 42};
	struct strbuf why;

	strbuf_init(&why);
	assert_false(cron_parse(slice_of(text), &c, &why));
	assert_string_equal(why.p, want);
	assert_int_equal(c.minute, 42);
	strbuf_fini(&why);
}

/* "2026-03-29 01:59:30 +0100" as a time. */
static time_t at(const char *text)
{
	int zone, n;
	struct tm tm = {0};

	n = sscanf(text, "%d-%d-%d %d:%d:%d %d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
		   &tm.tm_min, &tm.tm_sec, &zone);
	assert_int_equal(n, 7);
	tm.tm_year -= 1900;
	tm.tm_mon--;
	return timegm(&tm) - (zone / 100 * 60 + zone % 100) * 60;
}

/* The times that follow `after`, each from the one before it. */
static void expect_times(const char *schedule, const char *after, const char *const *want)
{
	struct cron c = parsed(schedule);
	time_t t = at(after);

	for (; *want; want++) {
		char got[64];
		struct tm tm;

		t = cron_next(&c, t);
		assert_non_null(localtime_r(&t, &tm));
		assert_true(strftime(got, sizeof(got), "%Y-%m-%d %H:%M:%S %z", &tm) > 0);
		if (strcmp(got, *want) != 0)
			fail_msg("\"%s\": %s instead of %s", schedule, got, *want);
	}
}
#define TIMES(...) (const char *const[]){__VA_ARGS__, NULL}

/* ---- texts ---- */

static void test_fields(void **state)
{
	struct cron c = parsed("0,30 */6 1-7,15 jan-mar,DEC mon-fri");

	(void)state;
	assert_int_equal(c.minute, 1 | 1ull << 30);
	assert_int_equal(c.hour, 1 | 1 << 6 | 1 << 12 | 1 << 18);
	assert_int_equal(c.day, 0xfe | 1 << 15);
	assert_int_equal(c.month, 0xe | 1 << 12);
	assert_int_equal(c.weekday, 0x3e);
	assert_true(c.either_day);
	c = parsed("\t5-59/15   0-23 *  * 7 ");
	assert_int_equal(c.minute, 1ull << 5 | 1ull << 20 | 1ull << 35 | 1ull << 50);
	assert_int_equal(c.hour, 0xffffff);
	assert_int_equal(c.day, 0xfffffffe);
	assert_int_equal(c.month, 0x1ffe);
	assert_int_equal(c.weekday, 1);
	assert_false(c.either_day);
	assert_int_equal(parsed("* * * * *").minute, (1ull << 60) - 1);
	assert_int_equal(parsed("* * * * *").weekday, 0x7f);
	assert_int_equal(parsed("* * * * 5-7").weekday, 0x61);
	assert_int_equal(parsed("* * * * Fri-Sun").weekday, 0x61);
	assert_int_equal(parsed("* * * * 0-7").weekday, 0x7f);
	assert_int_equal(parsed("* * * * sun").weekday, 1);
	assert_false(parsed("* * */2 * 1").either_day);
}

static void test_words(void **state)
{
	static const struct { const char *word, *means; } pairs[] = {
		{"@hourly", "0 * * * *"}, {"@daily", "0 0 * * *"}, {"@Midnight", "0 0 * * *"},
		{"@weekly", "0 0 * * sun"}, {"@monthly", "0 0 1 * *"},
		{"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 jan *"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		struct cron a = parsed(pairs[i].word), b = parsed(pairs[i].means);

		assert_int_equal(a.minute, b.minute);
		assert_int_equal(a.hour, b.hour);
		assert_int_equal(a.day, b.day);
		assert_int_equal(a.month, b.month);
		assert_int_equal(a.weekday, b.weekday);
		assert_int_equal(a.either_day, b.either_day);
	}
}

static void test_wrong_texts(void **state)
{
	static const char five[] = "; a schedule has 5: minute, hour, day of the month, month, day "
				   "of the week";
	char want[200];

	(void)state;
	snprintf(want, sizeof(want), "has 0 fields%s", five);
	expect_wrong("", want);
	expect_wrong("  ", want);
	snprintf(want, sizeof(want), "has 1 field%s", five);
	expect_wrong("5m", want);
	snprintf(want, sizeof(want), "has 6 fields%s", five);
	expect_wrong("0 0 0 1 1 *", want);
	expect_wrong("@often", "is no schedule; of such words there are @hourly @daily @midnight "
			       "@weekly @monthly @yearly @annually");
	expect_wrong("60 * * * *", "has \"60\" as minute; there are 0 to 59");
	expect_wrong("-1 * * * *", "has \"\" as minute; there are 0 to 59");
	expect_wrong("* 24 * * *", "has \"24\" as hour; there are 0 to 23");
	expect_wrong("* * 0 * *", "has \"0\" as day of the month; there are 1 to 31");
	expect_wrong("* * * 13 *", "has \"13\" as month; there are 1 to 12, and jan and so on");
	expect_wrong("* * * mai *", "has \"mai\" as month; there are 1 to 12, and jan and so on");
	expect_wrong("* * * * 8", "has \"8\" as day of the week; there are 0 to 7, and sun and so "
				  "on");
	expect_wrong("* * * * monday", "has \"monday\" as day of the week; there are 0 to 7, and "
				       "sun and so on");
	expect_wrong("jan * * * *", "has \"jan\" as minute; there are 0 to 59");
	expect_wrong("1,,2 * * * *", "has \"\" as minute; there are 0 to 59");
	expect_wrong("1, * * * *", "has \"\" as minute; there are 0 to 59");
	expect_wrong("99999999999 * * * *", "has \"99999999999\" as minute; there are 0 to 59");
	expect_wrong("*/0 * * * *", "has \"0\" as step of the minute; there are 1 to 59");
	expect_wrong("* */24 * * *", "has \"24\" as step of the hour; there are 1 to 23");
	expect_wrong("*/ * * * *", "has \"\" as step of the minute; there are 1 to 59");
	expect_wrong("*/2/3 * * * *", "has \"2/3\" as step of the minute; there are 1 to 59");
	expect_wrong("5/15 * * * *", "has a step after a single minute; write 5-59/15");
	expect_wrong("30-10 * * * *", "has \"30-10\" as minute, whose end is before its begin");
	expect_wrong("* * * * fri-mon", "has \"fri-mon\" as day of the week, whose end is before "
					"its begin");
	expect_wrong("1-2-3 * * * *", "has \"2-3\" as minute; there are 0 to 59");
	expect_wrong("*-5 * * * *", "has \"*\" as minute; there are 0 to 59");
	expect_wrong("0 0 30 2 *", "never comes: none of the months has such a day");
	expect_wrong("0 0 31 apr,jun *", "never comes: none of the months has such a day");
	expect_wrong("123456789012345678901234567890 * * * *",
		     "has \"12345678901234567890\" as minute; there are 0 to 59");
}

/* ---- times ---- */

static void test_times(void **state)
{
	(void)state;
	use_zone("UTC0");
	expect_times("* * * * *", "2026-01-01 00:00:00 +0000",
		     TIMES("2026-01-01 00:01:00 +0000", "2026-01-01 00:02:00 +0000"));
	expect_times("* * * * *", "2026-12-31 23:59:59 +0000", TIMES("2027-01-01 00:00:00 +0000"));
	expect_times("0 */6 * * *", "2026-05-05 11:59:59 +0000",
		     TIMES("2026-05-05 12:00:00 +0000", "2026-05-05 18:00:00 +0000",
			   "2026-05-06 00:00:00 +0000"));
	expect_times("30 4 31 * *", "2026-01-31 04:30:00 +0000",
		     TIMES("2026-03-31 04:30:00 +0000", "2026-05-31 04:30:00 +0000"));
	expect_times("@yearly", "2026-01-01 00:00:00 +0000", TIMES("2027-01-01 00:00:00 +0000"));
	expect_times("0 0 29 2 *", "2096-02-29 00:00:00 +0000", TIMES("2104-02-29 00:00:00 +0000"));
	/* Either of the days, or, where one of the fields begins with "*", both. */
	expect_times("0 0 13 * 5", "2026-02-01 00:00:00 +0000",
		     TIMES("2026-02-06 00:00:00 +0000", "2026-02-13 00:00:00 +0000",
			   "2026-02-20 00:00:00 +0000", "2026-02-27 00:00:00 +0000",
			   "2026-03-06 00:00:00 +0000", "2026-03-13 00:00:00 +0000"));
	expect_times("0 0 */2 * 5", "2026-02-01 00:00:00 +0000",
		     TIMES("2026-02-13 00:00:00 +0000", "2026-02-27 00:00:00 +0000"));
	expect_times("0 0 30 2 1", "2026-02-01 00:00:00 +0000", TIMES("2026-02-02 00:00:00 +0000"));
	/* A February 29 that is a Saturday or a Sunday: the next one is far away. */
	expect_times("0 0 29 2 */6", "2092-03-01 00:00:00 +0000",
		     TIMES("2116-02-29 00:00:00 +0000", "2128-02-29 00:00:00 +0000"));
	use_zone("IST-5:30");
	expect_times("0 0 * * *", "2026-06-30 18:29:59 +0000",
		     TIMES("2026-07-01 00:00:00 +0530", "2026-07-02 00:00:00 +0530"));
}

static void test_clock_is_set_forward(void **state)
{
	(void)state;
	use_zone(BERLIN);
	expect_times("30 2 * * *", "2026-03-28 00:00:00 +0100",
		     TIMES("2026-03-28 02:30:00 +0100", "2026-03-29 03:00:00 +0200",
			   "2026-03-30 02:30:00 +0200"));
	expect_times("*/20 2 * * *", "2026-03-28 02:40:00 +0100",
		     TIMES("2026-03-29 03:00:00 +0200", "2026-03-30 02:00:00 +0200"));
	/* What is due at the end of the gap anyhow is due once. */
	expect_times("*/30 * * * *", "2026-03-29 01:29:00 +0100",
		     TIMES("2026-03-29 01:30:00 +0100", "2026-03-29 03:00:00 +0200",
			   "2026-03-29 03:30:00 +0200"));
	expect_times("15 2,3 * * *", "2026-03-29 01:59:59 +0100",
		     TIMES("2026-03-29 03:00:00 +0200", "2026-03-29 03:15:00 +0200"));
	use_zone(NEW_YORK);
	expect_times("0 2 * * sun", "2026-03-07 00:00:00 -0500",
		     TIMES("2026-03-08 03:00:00 -0400", "2026-03-15 02:00:00 -0400"));
	use_zone(LORD_HOWE);
	expect_times("15 2 * * *", "2026-10-03 03:00:00 +1030",
		     TIMES("2026-10-04 02:30:00 +1100", "2026-10-05 02:15:00 +1100"));
}

static void test_clock_is_set_back(void **state)
{
	(void)state;
	use_zone(BERLIN);
	expect_times("30 2 * * *", "2026-10-24 03:00:00 +0200",
		     TIMES("2026-10-25 02:30:00 +0200", "2026-10-26 02:30:00 +0100"));
	/* From a time within the hour that comes again, in its first and in its second turn. */
	expect_times("30 2 * * *", "2026-10-25 02:45:00 +0200", TIMES("2026-10-26 02:30:00 +0100"));
	expect_times("30 2 * * *", "2026-10-25 02:10:00 +0100", TIMES("2026-10-26 02:30:00 +0100"));
	expect_times("*/30 * * * *", "2026-10-25 01:59:00 +0200",
		     TIMES("2026-10-25 02:00:00 +0200", "2026-10-25 02:30:00 +0200",
			   "2026-10-25 03:00:00 +0100"));
	expect_times("0 3 * * *", "2026-10-25 02:59:00 +0200", TIMES("2026-10-25 03:00:00 +0100"));
	use_zone(NEW_YORK);
	expect_times("@hourly", "2026-11-01 00:30:00 -0400",
		     TIMES("2026-11-01 01:00:00 -0400", "2026-11-01 02:00:00 -0500"));
	use_zone(LORD_HOWE);
	expect_times("*/15 1 * * *", "2026-04-05 01:29:00 +1100",
		     TIMES("2026-04-05 01:30:00 +1100", "2026-04-05 01:45:00 +1100",
			   "2026-04-06 01:00:00 +1030"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_wrong_texts),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_clock_is_set_forward),
		cmocka_unit_test(test_clock_is_set_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
