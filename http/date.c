/* SPDX-License-Identifier: MIT */
/* Dates of HTTP (RFC 9110, 5.6.7), computed without the C library: no time zone, no locale, no
 * lock. */
#include "http/http_priv.h"

#define DAY_S 86400
#define YEAR_9999_END 253402300799 /* the last second that the format can hold */

static char *put2(char *p, unsigned v)
{
	*p++ = (char)('0' + v / 10);
	*p++ = (char)('0' + v % 10);
	return p;
}

static char *put_name(char *p, const char *names, unsigned i)
{
	memcpy(p, names + 3 * i, 3);
	return p + 3;
}

void http_format_date(int64_t unix_s, char *out)
{
	int64_t s = unix_s < 0 ? 0 : unix_s > YEAR_9999_END ? YEAR_9999_END : unix_s;
	unsigned days = (unsigned)(s / DAY_S), rest = (unsigned)(s % DAY_S);
	/* Days since 1 March of the year 0, so that the leap day is the last of its year; an era
	 * is the 400 years after which the calendar repeats. */
	unsigned z = days + 719468, era = z / 146097, doe = z % 146097;
	unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	unsigned m = (5 * doy + 2) / 153; /* 0 = March */
	unsigned year = yoe + era * 400 + (m >= 10);
	char *p = out;

	p = put_name(p, "ThuFriSatSunMonTueWed", days % 7);
	*p++ = ',';
	*p++ = ' ';
	p = put2(p, doy - (153 * m + 2) / 5 + 1);
	*p++ = ' ';
	p = put_name(p, "MarAprMayJunJulAugSepOctNovDecJanFeb", m);
	*p++ = ' ';
	p = put2(p, year / 100);
	p = put2(p, year % 100);
	*p++ = ' ';
	p = put2(p, rest / 3600);
	*p++ = ':';
	p = put2(p, rest / 60 % 60);
	*p++ = ':';
	p = put2(p, rest % 60);
	memcpy(p, " GMT", 5);
}

/* ---- reading ---- */

static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
static const char weekdays[] = "SunMonTueWedThuFriSat";

/* What a date says, and whether it has been well-formed so far. */
struct date {
	struct slice left;
	bool ok;
	int year, month, day; /* month: 0 to 11 */
	int hour, minute, second;
	int weekday; /* 0 = Sunday */
};

static void take_text(struct date *d, struct slice text)
{
	if (d->left.len < text.len || memcmp(d->left.p, text.p, text.len) != 0) {
		d->ok = false;
		return;
	}
	d->left.p += text.len;
	d->left.len -= text.len;
}

static int take_digits(struct date *d, size_t n)
{
	int v = 0;

	if (d->left.len < n) {
		d->ok = false;
		return 0;
	}
	for (size_t i = 0; i < n; i++) {
		int digit = d->left.p[i] - '0';

		d->ok = d->ok && digit >= 0 && digit <= 9;
		v = v * 10 + digit;
	}
	d->left.p += n;
	d->left.len -= n;
	return v;
}

/* One of the names of three letters each: its number. */
static int take_name(struct date *d, const char *names, int n)
{
	for (int i = 0; i < n && d->left.len >= 3; i++) {
		if (memcmp(d->left.p, names + 3 * i, 3) == 0) {
			d->left.p += 3;
			d->left.len -= 3;
			return i;
		}
	}
	d->ok = false;
	return 0;
}

static void take_time(struct date *d)
{
	d->hour = take_digits(d, 2);
	take_text(d, SLICE(":"));
	d->minute = take_digits(d, 2);
	take_text(d, SLICE(":"));
	d->second = take_digits(d, 2);
}

/* Days from 1 January 1970 to the first of a month; see http_format_date(). */
static int64_t days_before(int year, int month)
{
	int y = year - (month < 2) + 400, m = (month + 10) % 12;
	int yoe = y % 400;

	return (int64_t)(y / 400) * 146097 + yoe * 365 + yoe / 4 - yoe / 100 +
	       (153 * m + 2) / 5 - 719468 - 146097;
}

static bool finish_date(const struct date *d, int64_t *ret)
{
	int64_t days, next;

	if (!d->ok || d->left.len > 0 || d->hour > 23 || d->minute > 59 || d->second > 60)
		return false;
	days = days_before(d->year, d->month);
	next = d->month == 11 ? days_before(d->year + 1, 0) : days_before(d->year, d->month + 1);
	if (d->day < 1 || d->day > next - days)
		return false;
	days += d->day - 1;
	if (((days + 4) % 7 + 7) % 7 != d->weekday) /* 1 January 1970 was a Thursday */
		return false;
	*ret = days * DAY_S + d->hour * 3600 + d->minute * 60 + d->second;
	return true;
}

/* " 06 Nov 1994 08:49:37 GMT" */
static bool read_fixdate(struct date *d, int64_t *ret)
{
	take_text(d, SLICE(" "));
	d->day = take_digits(d, 2);
	take_text(d, SLICE(" "));
	d->month = take_name(d, months, 12);
	take_text(d, SLICE(" "));
	d->year = take_digits(d, 4);
	take_text(d, SLICE(" "));
	take_time(d);
	take_text(d, SLICE(" GMT"));
	return finish_date(d, ret);
}

/* "day, 06-Nov-94 08:49:37 GMT", behind the first three letters of the weekday */
static bool read_rfc850(struct date *d, int64_t now_s, int64_t *ret)
{
	static const struct slice rest[7] = {
		SLICE("day"), SLICE("day"), SLICE("sday"), SLICE("nesday"), SLICE("rsday"),
		SLICE("day"), SLICE("urday"),
	};
	int64_t years;

	take_text(d, rest[d->weekday]);
	take_text(d, SLICE(", "));
	d->day = take_digits(d, 2);
	take_text(d, SLICE("-"));
	d->month = take_name(d, months, 12);
	take_text(d, SLICE("-"));
	d->year = take_digits(d, 2);
	take_text(d, SLICE(" "));
	take_time(d);
	take_text(d, SLICE(" GMT"));
	/* The latest year with these digits that is not more than 50 years ahead. */
	years = 1970 + now_s / (DAY_S * 365 + DAY_S / 4) + 50;
	d->year += (int)((years - d->year) / 100) * 100;
	return finish_date(d, ret);
}

/* " Nov  6 08:49:37 1994" */
static bool read_asctime(struct date *d, int64_t *ret)
{
	take_text(d, SLICE(" "));
	d->month = take_name(d, months, 12);
	take_text(d, SLICE(" "));
	if (d->left.len > 0 && *d->left.p == ' ') {
		take_text(d, SLICE(" "));
		d->day = take_digits(d, 1);
	} else {
		d->day = take_digits(d, 2);
	}
	take_text(d, SLICE(" "));
	take_time(d);
	take_text(d, SLICE(" "));
	d->year = take_digits(d, 4);
	return finish_date(d, ret);
}

bool http_parse_date(struct slice s, int64_t now_s, int64_t *ret)
{
	struct date d = { .left = s, .ok = true };

	d.weekday = take_name(&d, weekdays, 7);
	if (!d.ok || d.left.len == 0)
		return false;
	if (*d.left.p == ' ')
		return read_asctime(&d, ret);
	if (*d.left.p != ',')
		return read_rfc850(&d, now_s, ret);
	take_text(&d, SLICE(","));
	return read_fixdate(&d, ret);
}
