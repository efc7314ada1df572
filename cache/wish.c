/* SPDX-License-Identifier: MIT */
/*
 * Values of a module that somebody else computes: as in wait.c, but who waits is not a request that
 * is answered from here, and what it is told is that there is something to be had, or that it is
 * the one to compute.
 */
#include "cache/cache_priv.h"

/* Not counted as a look-up: those who wait look often. */
static bool is_there(const struct cache *c, const struct cache_wish *w, uint64_t now_ns)
{
	struct shm_cache_ref ref;

	if (shm_cache_get(c->shm, c->slot, w->hash, w->key, false, now_ns, &ref) == SHM_CACHE_MISS)
		return false;
	shm_cache_unpin(c->shm, c->slot, &ref);
	return true;
}

enum cache_wished cache_wish_look(const struct cache *c, struct cache_wish *w, uint64_t now_ns)
{
	w->leads = false;
	if (is_there(c, w, now_ns))
		return CACHE_IS_THERE;
	switch (shm_cache_fill_begin(c->shm, c->slot, w->hash, c->patience_ns, now_ns, &w->lease)) {
	case SHM_CACHE_FOLLOWER:
		return CACHE_IS_COMPUTED;
	case SHM_CACHE_ALONE:
		return CACHE_IS_MINE;
	case SHM_CACHE_LEADER:
		break;
	}
	w->leads = true;
	/* The one before may have stored it between our look and our lease. */
	if (!is_there(c, w, now_ns))
		return CACHE_IS_MINE;
	cache_wish_end(c, w);
	return CACHE_IS_THERE;
}

void cache_wish_end(const struct cache *c, struct cache_wish *w)
{
	if (w->leads)
		shm_cache_fill_end(c->shm, c->h, c->slot, &w->lease);
	w->leads = false;
}

/* ---- waiting ---- */

void cache_wish_wait(struct cache *c, struct cache_wish *w)
{
	w->next = NULL;
	w->prev = c->wishes.last;
	if (w->prev)
		w->prev->next = w;
	else
		c->wishes.first = w;
	c->wishes.last = w;
	shm_cache_count(c->shm, c->slot, SHM_CACHE_WAITS, 1);
	c->dirty = true; /* it may have come by now */
	cache_arm(c);
}

void cache_wish_cancel(struct cache *c, struct cache_wish *w)
{
	if (c->wishes.at == w)
		c->wishes.at = w->next;
	if (w->prev)
		w->prev->next = w->next;
	else
		c->wishes.first = w->next;
	if (w->next)
		w->next->prev = w->prev;
	else
		c->wishes.last = w->prev;
}

/* Each has its turn once, in the order of coming. Whatever is called may take others out. */
uint32_t wish_run(struct cache *c)
{
	uint64_t now = loop_now(c->loop);
	struct cache_wish *w;
	uint32_t n = 0;

	c->wishes.at = c->wishes.first;
	while ((w = c->wishes.at) && n < RUNS_MAX) {
		enum cache_wished what = cache_wish_look(c, w, now);

		c->wishes.at = w->next;
		if (what == CACHE_IS_COMPUTED && now < w->until_ns)
			continue;
		cache_wish_cancel(c, w);
		w->done(w, what);
		n++;
	}
	if (w)
		c->dirty = true; /* the rest in the next turn */
	return n;
}
