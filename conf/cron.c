/* SPDX-License-Identifier: MIT */
/*
 * Schedules. What the clock on the wall shows is a number here, too: minutes since 1970 as if there
 * were neither zones nor summer time. So a calendar is searched without a thought of them, and only
 * the outcome is turned into a time.
 */
#include "conf/cron.h"

#include <ctype.h>

#define DAY_MINUTES     (24 * 60)
#define SET_BACK_MAX    (3 * 60) /* minutes; clocks are set back by less */
#define SEARCH_DAYS_MAX (41 * 366) /* to a February 29 that is a certain day of the week */
#define SHOWN_MAX       20 /* bytes of a wrong text */

enum field { MINUTE, HOUR, DAY, MONTH, WEEKDAY, FIELDS };

static const char *const months[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep",
				     "oct", "nov", "dec", NULL};
static const char *const weekdays[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};

static const struct {
	const char *what;
	unsigned min, max;
	const char *const *names; /* of min and those that follow */
} fields[FIELDS] = {
	[MINUTE] = {"minute", 0, 59, NULL},
	[HOUR] = {"hour", 0, 23, NULL},
	[DAY] = {"day of the month", 1, 31, NULL},
	[MONTH] = {"month", 1, 12, months},
	[WEEKDAY] = {"day of the week", 0, 7, weekdays},
};

static const struct { const char *word, *means; } words[] = {
	{"@hourly", "0 * * * *"}, {"@daily", "0 0 * * *"}, {"@midnight", "0 0 * * *"},
	{"@weekly", "0 0 * * 0"}, {"@monthly", "0 0 1 * *"}, {"@yearly", "0 0 1 1 *"},
	{"@annually", "0 0 1 1 *"},
};

/* ---- reading ---- */

/* Takes what stands before the next `sep`; p is NULL afterwards if it was the last. */
static struct slice take_part(struct slice *s, char sep)
{
	const char *end = memchr(s->p, sep, s->len);
	struct slice part = {s->p, end ? (size_t)(end - s->p) : s->len};

	*s = end ? (struct slice){end + 1, s->len - part.len - 1} : (struct slice){NULL, 0};
	return part;
}

static bool parse_number(struct slice t, unsigned *ret)
{
	unsigned n = 0;

	if (t.len < 1 || t.len > 4)
		return false;
	for (size_t i = 0; i < t.len; i++) {
		if (!isdigit((unsigned char)t.p[i]))
			return false;
		n = n * 10 + (unsigned)(t.p[i] - '0');
	}
	*ret = n;
	return true;
}

static int shown(struct slice t)
{
	return t.len > SHOWN_MAX ? SHOWN_MAX : (int)t.len;
}

/* "15", "mon". */
static bool parse_value(enum field f, struct slice t, unsigned *ret, struct strbuf *why)
{
	const char *const *names = fields[f].names;

	for (unsigned i = 0; names && names[i]; i++)
		if (slice_eq_nocase(t, slice_of(names[i]))) {
			*ret = fields[f].min + i;
			return true;
		}
	if (parse_number(t, ret) && *ret >= fields[f].min && *ret <= fields[f].max)
		return true;
	strbuf_printf(why, "has \"%.*s\" as %s; there are %u to %u", shown(t), t.p,
		      fields[f].what, fields[f].min, fields[f].max);
	if (names)
		strbuf_printf(why, ", and %s and so on", names[0]);
	return false;
}

static bool parse_step(enum field f, struct slice t, unsigned *ret, struct strbuf *why)
{
	if (parse_number(t, ret) && *ret >= 1 && *ret <= fields[f].max)
		return true;
	strbuf_printf(why, "has \"%.*s\" as step of the %s; there are 1 to %u", shown(t), t.p,
		      fields[f].what, fields[f].max);
	return false;
}

/* "*", "5", "1-5", and the first and the last with a step. */
static bool parse_item(enum field f, struct slice t, uint64_t *ret_bits, struct strbuf *why)
{
	struct slice step = t, range = take_part(&step, '/'), end = range;
	struct slice begin = take_part(&end, '-');
	unsigned low = fields[f].min, high = fields[f].max, by = 1;

	if (!slice_eq(range, SLICE("*"))) {
		if (!parse_value(f, begin, &low, why) ||
		    (end.p && !parse_value(f, end, &high, why)))
			return false;
		high = end.p ? high : low;
		if (f == WEEKDAY && high == 0 && low > 0)
			high = 7; /* a week may end with Sunday, too */
		if (step.p && !end.p) {
			strbuf_printf(why, "has a step after a single %s; write %u-%u/%.*s",
				      fields[f].what, low, fields[f].max, shown(step),
				      step.p);
			return false;
		}
	}
	if (step.p && !parse_step(f, step, &by, why))
		return false;
	if (low > high) {
		strbuf_printf(why, "has \"%.*s\" as %s, whose end is before its begin",
			      shown(range), range.p, fields[f].what);
		return false;
	}
	for (unsigned i = low; i <= high; i += by)
		*ret_bits |= (uint64_t)1 << i;
	return true;
}

static bool parse_field(enum field f, struct slice t, uint64_t *ret_bits, struct strbuf *why)
{
	*ret_bits = 0;
	while (t.p)
		if (!parse_item(f, take_part(&t, ','), ret_bits, why))
			return false;
	return true;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* The fields of a text; how many there are, those beyond FIELDS counted, too. */
static size_t split(struct slice text, struct slice field[FIELDS])
{
	size_t n = 0;

	for (size_t i = 0; i < text.len; n++) {
		size_t begin;

		for (; i < text.len && is_blank(text.p[i]); i++)
			;
		if (i == text.len)
			break;
		for (begin = i; i < text.len && !is_blank(text.p[i]); i++)
			;
		if (n < FIELDS)
			field[n] = (struct slice){text.p + begin, i - begin};
	}
	return n;
}

/* Is there a month that has one of the days? The weekday may make up for it. */
static bool comes(const struct cron *c)
{
	static const unsigned char days[] = {0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	for (unsigned m = 1; m <= 12; m++)
		if (c->month & 1u << m)
			for (unsigned d = 1; d <= days[m]; d++)
				if (c->day & 1u << d)
					return true;
	return c->either_day;
}

static bool parse_word(struct slice *text, struct strbuf *why)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (slice_eq_nocase(*text, slice_of(words[i].word))) {
			*text = slice_of(words[i].means);
			return true;
		}
	strbuf_puts(why, "is no schedule; of such words there are");
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		strbuf_printf(why, " %s", words[i].word);
	return false;
}

bool cron_parse(struct slice text, struct cron *ret, struct strbuf *why)
{
	struct slice field[FIELDS];
	uint64_t bits[FIELDS];
	struct cron c;
	size_t n;

	if (text.len > 0 && text.p[0] == '@' && !parse_word(&text, why))
		return false;
	n = split(text, field);
	if (n != FIELDS) {
		strbuf_printf(why, "has %zu field%s; a schedule has 5: minute, hour, day of the "
			      "month, month, day of the week", n, n == 1 ? "" : "s");
		return false;
	}
	for (int f = 0; f < FIELDS; f++)
		if (!parse_field((enum field)f, field[f], &bits[f], why))
			return false;
	c = (struct cron){
		.minute = bits[MINUTE], .hour = (uint32_t)bits[HOUR], .day = (uint32_t)bits[DAY],
		.month = (uint16_t)bits[MONTH],
		.weekday = (uint8_t)((bits[WEEKDAY] | bits[WEEKDAY] >> 7) & 0x7f),
		.either_day = field[DAY].p[0] != '*' && field[WEEKDAY].p[0] != '*',
	};
	if (!comes(&c)) {
		strbuf_puts(why, "never comes: none of the months has such a day");
		return false;
	}
	*ret = c;
	return true;
}

/* ---- the next time ---- */

static int64_t floor_minutes(int64_t seconds)
{
	return seconds / 60 - (seconds % 60 < 0);
}

/* What the clock on the wall shows. */
static int64_t wall_minutes(time_t t)
{
	struct tm tm;

	if (!localtime_r(&t, &tm))
		return floor_minutes(t);
	return floor_minutes((int64_t)t + tm.tm_gmtoff);
}

/* What it has shown at most: more than now, where it was set back a moment ago. */
static int64_t wall_most(time_t t)
{
	int64_t most = wall_minutes(t);

	for (int i = 1; i <= SET_BACK_MAX; i++) {
		int64_t before = wall_minutes(t - (time_t)i * 60);

		most = before > most ? before : most;
	}
	return most;
}

static bool is_day(const struct cron *c, const struct tm *tm)
{
	bool day = c->day & 1u << tm->tm_mday, weekday = c->weekday & 1u << tm->tm_wday;

	if (!(c->month & 1u << (tm->tm_mon + 1)))
		return false;
	return c->either_day ? day || weekday : day && weekday;
}

/* The first minute on the wall after `wall` that the schedule names; -1: none. */
static int64_t next_wall(const struct cron *c, int64_t wall)
{
	int64_t end = wall + (int64_t)SEARCH_DAYS_MAX * DAY_MINUTES;

	for (int64_t m = wall + 1; m < end; ) {
		time_t t = (time_t)m * 60;
		struct tm tm;

		if (!gmtime_r(&t, &tm))
			return -1;
		if (!is_day(c, &tm))
			m += DAY_MINUTES - (tm.tm_hour * 60 + tm.tm_min);
		else if (!(c->hour & 1u << tm.tm_hour))
			m += 60 - tm.tm_min;
		else if (!(c->minute & (uint64_t)1 << tm.tm_min))
			m++;
		else
			return m;
	}
	return -1;
}

time_t cron_next(const struct cron *c, time_t after)
{
	int64_t wall;
	time_t t;

	tzset(); /* localtime_r() need not look whether the zone is another one now */
	wall = next_wall(c, wall_most(after));
	if (wall < 0)
		return -1;
	/* No zone is as far from UTC as a day. The minute that is looked for may not exist: then
	 * the first one after it is as good. */
	t = (time_t)(wall - DAY_MINUTES) * 60;
	if (t <= after)
		t = (time_t)(floor_minutes(after) + 1) * 60;
	while (wall_minutes(t) < wall)
		t += 60;
	return t;
}
