/* SPDX-License-Identifier: MIT */
/* A body that is kept: small ones in memory, larger ones in a file without a name. */
#ifndef APP_SPOOL_H
#define APP_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

#define SPOOL_MEMORY_MAX 65536u

struct spool {
	char *mem;       /* NULL while empty, and once it is in a file */
	size_t len, cap; /* of `mem` */
	int fd;          /* -1 = in memory */
	uint64_t total;
};

void spool_init(struct spool *sp);
/* 0, or -errno: nothing of the body is of use then. */
int spool_add(struct spool *sp, struct slice data);
void spool_fini(struct spool *sp);

#endif
