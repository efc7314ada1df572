/* SPDX-License-Identifier: MIT */
/*
 * Always-on checks. CHECK(x) states what cannot happen unless the program is wrong; it stays in
 * release builds. A failed one hands its text to the sink set by check_set_sink() (a worker stores
 * it in its slot, where the master finds it), writes it to standard error, and aborts.
 */
#ifndef BASE_CHECK_H
#define BASE_CHECK_H

/* Called with the text of a failed check, before abort(). Must be async-signal-safe. */
typedef void check_sink_f(const char *text);

/* Sets the sink; NULL takes it away. One sink per process. */
void check_set_sink(check_sink_f *sink);

__attribute__((noreturn, cold)) void check_failed(const char *file, int line, const char *what);

/* The same with a text for people, where the expression would say nothing to them. */
#define CHECK_SAY(x, text) \
	(__builtin_expect(!!(x), 1) ? (void)0 : check_failed(__FILE__, __LINE__, (text)))
#define CHECK(x) (__builtin_expect(!!(x), 1) ? (void)0 : check_failed(__FILE__, __LINE__, #x))

#endif
