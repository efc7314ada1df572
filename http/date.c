/* SPDX-License-Identifier: MIT */
/* Dates of HTTP, computed without the C library: no time zone, no locale, no lock. */
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
