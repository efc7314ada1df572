/* SPDX-License-Identifier: MIT */
/*
 * How a worker that boots gets a place in the segment's directories, which the master alone writes:
 * it asks over its control socket, and the master answers with the index, or says why not. Both
 * ends are of the same program: messages are structs, without a version.
 */
#ifndef SHM_DECLARE_H
#define SHM_DECLARE_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/heritage.h"
#include "shm/shm.h"

enum declare_what { /* metrics: as enum shm_metric_kind */
	DECLARE_COUNTER = SHM_MK_COUNTER,
	DECLARE_GAUGE = SHM_MK_GAUGE,
	DECLARE_HISTOGRAM = SHM_MK_HISTOGRAM,
	DECLARE_ROUTE
};

/* What the child sends; the master believes nothing of it but its size. Texts end with a NUL. */
struct declare_ask {
	uint32_t what;           /* enum declare_what */
	uint32_t number;         /* of the ask; the answer bears it, too */
	char name[SHM_ROUTE_NAME_MAX];
	char labels[SHM_MODULE_LABELS_MAX];
	char help[SHM_MODULE_HELP_MAX];
};

struct declare_answer {
	uint32_t number;
	int32_t result;          /* 0 or -errno */
	uint32_t index;
};

/*
 * The child's half. Only before the process says that it is ready, and from one thread. They block,
 * for 5 s at most. 0, or -errno:
 *   -EINVAL     the name, or the labels, cannot be (shm_route_intern(), shm_module_intern())
 *   -EEXIST     the name is that of a metric of another kind
 *   -ENOSPC     the directory of metrics is full; one of routes gives 0, which is "other"
 *   -ETIMEDOUT  no answer, -EPIPE: the master is gone; or what the system said
 * The name of a route is printable ASCII; it is cut to what a route can have. A help is cut, too.
 * labels and help may be NULL.
 */
int declare_route(const struct heritage *h, const char *name, uint32_t *ret_index);
int declare_metric(const struct heritage *h, enum shm_metric_kind kind, const char *name,
		   const char *labels, const char *help, uint32_t *ret_index);

/* The next message of enum heritage_message that the master has sent, also one that came while an
 * answer was waited for; *ret_fd is the descriptor that came with it, or -1. 1; 0: there is none
 * now; -EPIPE: the master is gone; or what the system said. Does not block. */
int declare_other(const struct heritage *h, char *ret_message, int *ret_fd);

#endif
