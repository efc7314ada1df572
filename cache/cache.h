/* SPDX-License-Identifier: MIT */
/*
 * The cache of answers, as requests meet it: who finds an answer in the segment gets it from there,
 * of those who do not one computes, and the others wait for it. One per worker; all calls from its
 * loop.
 */
#ifndef CACHE_CACHE_H
#define CACHE_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"
#include "serve/serve.h"
#include "shm/cache.h"
#include "shm/heritage.h"

struct cache;
struct cache_rule;
struct conf_policy_route;

#define CACHE_TIMERS 1u

/* 0, or -1 after logging why. Works without a cache in the segment, too: nothing is found then. */
int cache_new(const struct heritage *h, struct loop *l, struct cache **ret_cache);
void cache_free(struct cache *c); /* after the server; NULL is borne */

/* What the configuration says of a route, compiled: *ret NULL = its answers are not kept. 0, or -1
 * after logging. It lives as long as the cache. */
int cache_compile(struct cache *c, const struct conf_policy_route *route,
		  const struct cache_rule **ret);

/* ENDED: the request has been answered. PASSES: it goes on, on its own or to compute for others.
 * WAITS: cache_wait() says with what it goes on, if it has to; it may never. */
enum cache_step { CACHE_PASSES, CACHE_ENDED, CACHE_WAITS };
enum cache_step cache_enter(struct cache *c, struct request *r, const struct cache_rule *rule);
typedef void cache_go_f(struct request *r, void *arg);
void cache_wait(struct cache *c, struct request *r, const struct cache_rule *rule, cache_go_f *go,
		void *arg);

/* ---- values of a module's own, which others may be computing ---- */

/* Kinds of objects, beside those of answers; NO_VALUE: what is computed for it is not kept now. */
enum { CACHE_KIND_VALUE = 16, CACHE_KIND_NO_VALUE };

enum cache_wished { CACHE_IS_THERE, CACHE_IS_MINE, CACHE_IS_COMPUTED };
struct cache_wish {
	struct cache_wish *prev, *next;
	struct slice key;                /* the caller's, as long as it waits or computes */
	uint64_t hash;
	uint64_t until_ns;               /* it waits no longer than that, and is told COMPUTED */
	void (*done)(struct cache_wish *w, enum cache_wished what);
	bool leads;                      /* cache_wish_end() is to come */
	struct shm_cache_fill lease;
};
/* IS_THERE: just now, it can be read. IS_MINE: the caller computes it, and ends with
 * cache_wish_end(). IS_COMPUTED: by another one, of this process or another. Any thread. */
enum cache_wished cache_wish_look(const struct cache *c, struct cache_wish *w, uint64_t now_ns);
/* done() is called once, at the end of some turn, unless it is cancelled before. With WISHES_MAX
 * that wait already it is told COMPUTED at once, at the end of this turn. */
void cache_wish_wait(struct cache *c, struct cache_wish *w);
void cache_wish_cancel(struct cache *c, struct cache_wish *w);
/* What was computed for it is not kept: for a second nobody waits for one who computes it. */
void cache_wish_refuse(const struct cache *c, const struct cache_wish *w, uint64_t birth);
/* It is stored, or will not be: who waits for it looks. Any thread; again does nothing. */
void cache_wish_end(const struct cache *c, struct cache_wish *w);

/* This process was poked: perhaps something has been stored. */
void cache_poked(struct cache *c);
/* At the end of each turn: who need not wait any more goes on. Did anything run? */
bool cache_end_turn(struct cache *c);
/* Is there more to do by now? */
bool cache_is_dirty(const struct cache *c);

#endif
