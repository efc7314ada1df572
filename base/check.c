/* SPDX-License-Identifier: MIT */
/*
 * Failed checks, in any process. Runs in a program that is known to be wrong, maybe within a
 * signal handler: no malloc, no stdio, no lock, and standard error only if it does not block.
 */
#include "base/check.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHECK_TEXT_MAX 240 /* what the note in a slot holds */

static struct {
	_Atomic(check_sink_f *) sink;
	atomic_flag failing;       /* a sink that fails a check itself shall not run again */
} chk = {.failing = ATOMIC_FLAG_INIT};

void check_set_sink(check_sink_f *sink)
{
	atomic_store(&chk.sink, sink);
}

/* Appends as much of s as there is room for, one byte being kept for the newline. */
static size_t put(char *out, size_t at, const char *s)
{
	size_t room = CHECK_TEXT_MAX - 2 - at;
	size_t len = strlen(s);

	if (len > room)
		len = room;
	memcpy(out + at, s, len);
	return at + len;
}

static size_t put_line(char *out, size_t at, int line)
{
	char digits[12];
	size_t i = sizeof(digits);
	unsigned n = line > 0 ? (unsigned)line : 0;

	digits[--i] = '\0';
	do {
		digits[--i] = (char)('0' + n % 10);
		n /= 10;
	} while (n);
	return put(out, at, digits + i);
}

/* A stalled pipe must not keep a broken process alive. */
static void put_stderr(const char *text, size_t len)
{
	struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};

	if (poll(&p, 1, 0) == 1 && (p.revents & POLLOUT) && write(STDERR_FILENO, text, len) < 0)
		return; /* nobody is left to tell */
}

void check_failed(const char *file, int line, const char *what)
{
	char text[CHECK_TEXT_MAX];
	check_sink_f *sink = atomic_load(&chk.sink);
	size_t len = 0;

	len = put(text, len, file);
	len = put(text, len, ":");
	len = put_line(text, len, line);
	len = put(text, len, ": check failed: ");
	len = put(text, len, what);
	text[len] = '\0';
	if (!atomic_flag_test_and_set(&chk.failing) && sink)
		sink(text);
	text[len++] = '\n';
	put_stderr(text, len);
	abort();
}
