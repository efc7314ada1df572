/* SPDX-License-Identifier: MIT */
/*
 * The master process: opens everything, forks workers and the keeper, watches them, replaces,
 * reloads, scales and stops them. It serves nobody and runs no user code.
 */
#ifndef MASTER_MASTER_H
#define MASTER_MASTER_H

#include <stdio.h>

#include "conf/conf.h"
#include "shm/heritage.h"

/* What the children run. The rooms of the processes do not know each other; main.c joins them. */
struct master_roles {
	/* Called in the forked child; what they return is the exit code (enum heritage_exit). */
	int (*worker)(const struct heritage *h);
	int (*keeper)(const struct heritage *h);
};

/*
 * Runs until the server is stopped. Takes `conf` over and frees it; `in` is read again at each
 * reload. Returns the exit code: 0 stopped as asked, 1 something could not be opened (configuration
 * or bind), 3 no worker could boot, 4 the app cannot be loaded. In a child it does not return.
 */
int master_run(const struct conf_input *in, struct conf *conf, const struct master_roles *roles);

/* Documents made from the tables of this room: "signals-md". 0, or -1 if there is none so named. */
int master_write_doc(const char *name, FILE *f);

/* What the segment of this configuration is made for. */
void master_geometry(const struct conf *c, int64_t workers_max, struct shm_geometry *geo);

/* The name of the segment that this configuration leads to when SHM_NAME is not set. */
void master_default_shm_name(const struct conf *conf, char *out, size_t cap);

#endif
