/* SPDX-License-Identifier: MIT */
/* From the rings of all slots into the log files. */
#ifndef KEEPER_DRAIN_H
#define KEEPER_DRAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/heritage.h"

struct drain;

enum drain_result {
	DRAIN_EMPTY,    /* nothing was there */
	DRAIN_SOME,     /* something was written */
	DRAIN_STALLED   /* something is left that nobody takes now */
};

/* 0 or -errno. Writes to h->error_log and h->access_log. */
int drain_new(const struct heritage *h, struct drain **ret_drain);
void drain_free(struct drain *d);
/* One round over all rings. Never blocks (but for a disk that hangs), and ends however fast the
 * rings are filled meanwhile. */
enum drain_result drain_round(struct drain *d);

#endif
