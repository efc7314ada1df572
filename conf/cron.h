/* SPDX-License-Identifier: MIT */
/*
 * Schedules as crontab(5) has them: five fields, in local time. Pure functions of the text, the
 * time and the zone (TZ, /etc/localtime); nothing is kept.
 */
#ifndef CONF_CRON_H
#define CONF_CRON_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/slice.h"
#include "base/strbuf.h"

/* One bit for each value that a field allows. */
struct cron {
	uint64_t minute;    /* 0 to 59 */
	uint32_t hour;      /* 0 to 23 */
	uint32_t day;       /* 1 to 31 */
	uint16_t month;     /* 1 to 12 */
	uint8_t weekday;    /* 0 = Sunday to 6; 7 has become 0 */
	bool either_day;    /* neither field of days begins with "*": one of them is enough */
};

/*
 * "minute hour day-of-month month day-of-week": numbers, lists (1,15), ranges (1-5), steps (*, or
 * 10-40, each with /15), and names of months and days (jan, mon, in any case). Sunday is 0 and 7.
 * When neither field of days begins with "*", a day that is in one of them will do. @hourly,
 * @daily, @midnight, @weekly, @monthly, @yearly and @annually are what they are in crontab(5).
 * False: `why` says what is wrong ("has "25" as hour ..."), a date that never comes included.
 */
bool cron_parse(struct slice text, struct cron *ret, struct strbuf *why);

/*
 * The first time after `after` that the schedule is due, a whole minute. Where clocks are set
 * forward, all that is due in the time left out is due once, at its end; where they are set back,
 * what has been due in the time that comes twice is not due again. -1: never, which cron_parse()
 * lets nobody ask for.
 */
time_t cron_next(const struct cron *c, time_t after);

#endif
