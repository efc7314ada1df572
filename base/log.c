/* SPDX-License-Identifier: MIT */
/*
 * Lines of the error log, in any process: made on the stack, handed to the sink in one piece. The
 * settings are set at the start and in a reload by the process's main thread; any thread may log.
 */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TEXT_MAX (LOG_LINE_MAX - 160) /* head and tail of a line take less than 160 bytes */

static struct {
	_Atomic enum log_level level;
	_Atomic enum log_format format;
	log_sink_f *sink;
	void *sink_arg;
	_Atomic uint64_t lost;
} lg = {.level = LOG_LV_INFO, .format = LOG_FMT_TEXT};

static const char *const level_names[] = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"};

void log_set_level(enum log_level level)
{
	lg.level = level;
}

void log_set_format(enum log_format format)
{
	lg.format = format;
}

void log_set_sink(log_sink_f *sink, void *arg)
{
	lg.sink = sink;
	lg.sink_arg = arg;
}

bool log_enabled(enum log_level level)
{
	return level >= lg.level;
}

uint64_t log_lost(void)
{
	return lg.lost;
}

/* Length of the well-formed UTF-8 sequence at s, 0 if it is none (RFC 3629, 4). */
static size_t utf8_len(const unsigned char *s, size_t left)
{
	size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 :
		   s[0] < 0xf5 ? 4 : 0;
	size_t i;

	if (n == 0 || n > left)
		return 0;
	for (i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

/* Writes one character of the message, escaped, to out (8 bytes of room). Returns its length. */
static size_t put_char(char *out, const unsigned char *s, size_t n, bool json)
{
	static const char hex[] = "0123456789abcdef";

	if (n == 0) {
		if (json)
			memcpy(out, "\\ufffd", 6);
		else
			memcpy(out, (char[]){'\\', 'x', hex[s[0] >> 4], hex[s[0] & 15]}, 4);
		return json ? 6 : 4;
	}
	if (s[0] < 0x20 || s[0] == 0x7f) {
		if (json)
			memcpy(out, (char[]){'\\', 'u', '0', '0', hex[s[0] >> 4], hex[s[0] & 15]},
			       6);
		else
			memcpy(out, (char[]){'\\', 'x', hex[s[0] >> 4], hex[s[0] & 15]}, 4);
		return json ? 6 : 4;
	}
	if (json && (s[0] == '"' || s[0] == '\\')) {
		out[0] = '\\';
		out[1] = (char)s[0];
		return 2;
	}
	memcpy(out, s, n);
	return n;
}

/* Escapes the message into out, cut between two characters; at most `max` bytes. */
static size_t put_message(char *out, size_t max, const char *msg, size_t len, bool json)
{
	const unsigned char *s = (const unsigned char *)msg;
	size_t at = 0;
	size_t i = 0;

	while (i < len) {
		char one[8];
		size_t n = utf8_len(s + i, len - i);
		size_t size = put_char(one, s + i, n, json);

		if (at + size > max)
			break;
		memcpy(out + at, one, size);
		at += size;
		i += n ? n : 1;
	}
	return at;
}

/* Local time with its distance from UTC: a log is read beside those of the other programs. */
static size_t put_time(char *out, size_t cap, bool json)
{
	struct timespec ts;
	struct tm tm;
	size_t at;

	clock_gettime(CLOCK_REALTIME, &ts);
	localtime_r(&ts.tv_sec, &tm);
	if (!json)
		return strftime(out, cap, "[%Y-%m-%d %H:%M:%S %z]", &tm);
	at = strftime(out, cap, "%Y-%m-%dT%H:%M:%S", &tm);
	at += (size_t)snprintf(out + at, cap - at, ".%03d", (int)(ts.tv_nsec / 1000000));
	at += strftime(out + at, cap - at, "%z", &tm);
	memmove(out + at - 1, out + at - 2, 3); /* "+0200" -> "+02:00" (RFC 3339) */
	out[at - 2] = ':';
	return at + 1;
}

/* Makes the line in `line`; returns its length. */
static size_t make_line(char line[LOG_LINE_MAX], enum log_level level, const char *msg, size_t len)
{
	bool json = lg.format == LOG_FMT_JSON;
	char when[48];
	int head;
	size_t at;

	put_time(when, sizeof(when), json);
	if (json)
		head = snprintf(line, LOG_LINE_MAX,
				"{\"time\":\"%s\",\"pid\":%d,\"level\":\"%s\",\"message\":\"", when,
				(int)getpid(), level_names[level]);
	else
		head = snprintf(line, LOG_LINE_MAX, "%s [%d] [%s] ", when, (int)getpid(),
				level_names[level]);
	at = (size_t)head;
	at += put_message(line + at, LOG_LINE_MAX - at - 3, msg, len, json);
	if (json) {
		line[at++] = '"';
		line[at++] = '}';
	}
	line[at++] = '\n';
	return at;
}

/* Before anything is set up: standard error, waiting for it. */
static bool write_stderr(const char *line, size_t len)
{
	while (len > 0) {
		ssize_t n = write(STDERR_FILENO, line, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		line += n;
		len -= (size_t)n;
	}
	return true;
}

__attribute__((format(printf, 3, 0)))
static void vlog(enum log_level level, bool with_errno, const char *fmt, va_list ap)
{
	int saved = errno;
	char msg[TEXT_MAX];
	char line[LOG_LINE_MAX];
	char err[128];
	size_t len, room;
	int n;

	n = vsnprintf(msg, sizeof(msg), fmt, ap);
	len = n < 0 ? 0 : (size_t)n < sizeof(msg) ? (size_t)n : sizeof(msg) - 1;
	if (with_errno) {
		const char *text = strerror_r(saved, err, sizeof(err));

		room = sizeof(msg) - strlen(text) - 3;
		if (len > room)
			len = room; /* rather the end of the text is lost than the reason */
		len += (size_t)snprintf(msg + len, sizeof(msg) - len, ": %s", text);
	}
	len = make_line(line, level, msg, len);
	if (!(lg.sink ? lg.sink(lg.sink_arg, line, len) : write_stderr(line, len)))
		atomic_fetch_add_explicit(&lg.lost, 1, memory_order_relaxed);
	errno = saved;
}

#define LOG_FUNCTION(name, level, with_errno)                   \
	void name(const char *fmt, ...)                         \
	{                                                       \
		va_list ap;                                     \
								\
		if (!log_enabled(level))                        \
			return;                                 \
		va_start(ap, fmt);                              \
		vlog(level, with_errno, fmt, ap);               \
		va_end(ap);                                     \
	}

LOG_FUNCTION(log_debug, LOG_LV_DEBUG, false)
LOG_FUNCTION(log_info, LOG_LV_INFO, false)
LOG_FUNCTION(log_warn, LOG_LV_WARNING, true)
LOG_FUNCTION(log_warnx, LOG_LV_WARNING, false)
LOG_FUNCTION(log_err, LOG_LV_ERROR, true)
LOG_FUNCTION(log_errx, LOG_LV_ERROR, false)
LOG_FUNCTION(log_crit, LOG_LV_CRITICAL, false)

void log_at(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	if (!log_enabled(level))
		return;
	va_start(ap, fmt);
	vlog(level, false, fmt, ap);
	va_end(ap);
}
