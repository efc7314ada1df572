/* SPDX-License-Identifier: MIT */
/*
 * A process that user code has forked off a worker is a copy of it: it has its memory, but must not
 * act as the server. The worker gives everything up in it (worker/copy.c) and marks it here. User
 * code may go on in it, and end it; where it comes back into the server's code it ends.
 */
#ifndef BASE_COPY_H
#define BASE_COPY_H

#include <stdbool.h>

extern bool copy_is; /* this process is such a copy; set once, in it */

/* Says so on standard error and ends the process with code 70, without exit handlers. */
__attribute__((noreturn, cold)) void copy_end(void);

/* After user code has returned, and before the server uses a descriptor on its behalf. */
static inline void copy_check(void)
{
	if (__builtin_expect(copy_is, 0))
		copy_end();
}

#endif
