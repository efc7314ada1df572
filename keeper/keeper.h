/* SPDX-License-Identifier: MIT */
/*
 * The keeper: one process beside the workers for what is periodic and what could fail. It writes
 * the logs out of the rings, samples /proc, and answers the built-in API on STATUS_BIND even when
 * every worker is stuck.
 */
#ifndef KEEPER_KEEPER_H
#define KEEPER_KEEPER_H

#include "shm/heritage.h"

/* Runs in the forked child until it is told to leave, or its master and all workers have gone. The
 * exit code, one of enum heritage_exit. */
int keeper_main(const struct heritage *h);

#endif
