/* SPDX-License-Identifier: MIT */
/* A worker: one process, one event loop, all of the serving. */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include "shm/heritage.h"

/* Runs in the forked child until it is told to leave, or its master has died. The exit code, one of
 * enum heritage_exit. */
int worker_main(const struct heritage *h);

#endif
