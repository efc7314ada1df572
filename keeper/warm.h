/* SPDX-License-Identifier: MIT */
/*
 * Warm-ups: requests that fill the cache before somebody asks, as cache.warmup says. They are made
 * as any client makes them, over the first address of BIND.
 */
#ifndef KEEPER_WARM_H
#define KEEPER_WARM_H

#include "base/loop.h"
#include "shm/heritage.h"

struct warm;

/* How many timers it needs of the loop. */
size_t warm_timers(const struct conf *c);
/* *ret NULL: there is none to do. 0 or -errno. `again`: this keeper is not the first one. */
int warm_new(const struct heritage *h, struct loop *l, bool again, struct warm **ret);
void warm_free(struct warm *w); /* NULL is borne */
/* With each beat: begins what is due. Does not block. NULL is borne. */
void warm_beat(struct warm *w);

#endif
