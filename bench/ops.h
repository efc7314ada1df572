/* SPDX-License-Identifier: MIT */
/* What the measurements of single operations of the segment share: one process, and two at once. */
#ifndef BENCH_OPS_H
#define BENCH_OPS_H

#include "shm/shm_priv.h"

#define OPS_PROCESSES 2u

/* `i` counts up, from another place in each process, and comes around at ops_table.count. */
struct ops_row { const char *name; void (*op)(uint32_t slot, uint32_t i); };

struct ops_table {
	const struct ops_row *rows;   /* the first one is what the others are a ratio to */
	size_t n;
	uint32_t count;               /* operations of a run */
	struct shm *seg;              /* or NULL; looked through first by each process */
};

/* Shared memory of zeros, or the process is ended. */
void *ops_map(size_t size);
/* Places and formats the segment of seg->geo. It is ended with the process. */
void ops_make_segment(struct shm *seg);
/* An atomic addition to a counter that all processes share; with its opposite behind it. */
void ops_add(uint32_t slot, uint32_t i);
void ops_add_and_take(uint32_t slot, uint32_t i);
/* Prints ns of each row, best of several runs, and its ratio to the first row. Of two processes the
 * slower one counts. */
void ops_print(const struct ops_table *t);

#endif
