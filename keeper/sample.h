/* SPDX-License-Identifier: MIT */
/* What the kernel knows of the processes of this instance, from /proc. */
#ifndef KEEPER_SAMPLE_H
#define KEEPER_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "shm/heritage.h"

struct sample;

int sample_new(const struct heritage *h, struct sample **ret_sample); /* 0 or -errno */
void sample_free(struct sample *s);
/* Memory and processor time of every process that has a slot, into its words [K]. */
void sample_all(struct sample *s, uint64_t now_ns);
/* Is any process but this one left? By its pid and state; a zombie is not. */
bool sample_others_live(const struct heritage *h);

/* Of the text of /proc/PID/stat: the letter of the state, and user + system time in clock ticks.
 * The name of a process may hold anything, parentheses and newlines too. */
bool sample_parse_stat(const char *text, char *ret_state, uint64_t *ret_ticks);

/* Of /proc/PID/status: RssAnon. Heap, stacks and private pages that were written to, not the shared
 * segment and not the files mapped. The name of a process has no newline in there. */
bool sample_parse_private(const char *text, uint64_t *ret_bytes);

#endif
