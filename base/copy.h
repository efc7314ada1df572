/* SPDX-License-Identifier: MIT */
/*
 * A process that user code has forked off a worker is a copy of it: it has its memory, but must not
 * act as the server. The worker gives everything up in it (worker/copy.c) and marks it here. User
 * code may go on in it, and end it; where it comes back into the server's code it ends.
 */
#ifndef BASE_COPY_H
#define BASE_COPY_H

#include <stdbool.h>

/* A byte that is 0 in a copy only. */
extern const volatile unsigned char *copy_mark;

/* From here on every process that is forked off this one is a copy, in whatever way it was forked:
 * the kernel clears the mark. (Where it cannot, who is told of the fork calls copy_set().) */
void copy_watch(void);
void copy_set(void); /* in the copy */

static inline bool copy_is(void)
{
	return __builtin_expect(*copy_mark == 0, 0);
}

/* Says so on standard error and ends the process with code 70, without exit handlers. */
__attribute__((noreturn, cold)) void copy_end(void);

/* After user code has returned, and before the server uses a descriptor on its behalf. */
static inline void copy_check(void)
{
	if (copy_is())
		copy_end();
}

#endif
