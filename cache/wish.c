/* SPDX-License-Identifier: MIT */
/*
 * Values of a module that somebody else computes: as in wait.c, but who waits is not a request that
 * is answered from here, and what it is told is that there is something to be had, or that it is
 * the one to compute.
 */
#include "cache/cache_priv.h"

#define SEEN 16u /* keys that wish_run() remembers */

/* The kind of what is there, 0 = nothing. Not counted as a look-up: those who wait look often. */
static uint32_t kind_of(const struct cache *c, const struct cache_wish *w, uint64_t now_ns)
{
	struct shm_cache_ref ref;

	if (shm_cache_get(c->shm, c->slot, w->hash, w->key, false, now_ns, &ref) == SHM_CACHE_MISS)
		return 0;
	shm_cache_unpin(c->shm, c->slot, &ref);
	return ref.kind;
}

static enum cache_wished found(uint32_t kind)
{
	return kind == CACHE_KIND_NO_VALUE ? CACHE_IS_MINE : CACHE_IS_THERE;
}

enum cache_wished cache_wish_look(const struct cache *c, struct cache_wish *w, uint64_t now_ns)
{
	uint32_t kind = kind_of(c, w, now_ns);

	w->leads = false;
	if (kind != 0)
		return found(kind);
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
	kind = kind_of(c, w, now_ns);
	if (kind == 0)
		return CACHE_IS_MINE;
	cache_wish_end(c, w);
	return found(kind);
}

void cache_wish_refuse(const struct cache *c, const struct cache_wish *w, uint64_t birth)
{
	uint64_t now = clock_mono_ns();
	const struct shm_cache_put p = {
		.hash = w->hash, .key = w->key, .fresh_ns = now + REFUSED_NS,
		.stale_ns = now + REFUSED_NS, .kind = CACHE_KIND_NO_VALUE, .birth = birth,
	};

	(void)shm_cache_put(c->shm, c->slot, &p, now); /* without it they compute one by one */
}

void cache_wish_end(const struct cache *c, struct cache_wish *w)
{
	if (w->leads)
		shm_cache_fill_end(c->shm, c->h, c->slot, &w->lease);
	w->leads = false;
}

/* ---- waiting ---- */

static void wait_until(struct cache *c, uint64_t until_ns)
{
	if (until_ns < c->wishes.due_ns)
		c->wishes.due_ns = until_ns;
}

void cache_wish_wait(struct cache *c, struct cache_wish *w)
{
	w->next = NULL;
	w->prev = c->wishes.last;
	if (w->prev)
		w->prev->next = w;
	else
		c->wishes.first = w;
	if (c->wishes.n++ >= WISHES_MAX)
		w->until_ns = 0;
	if (!w->prev)
		c->wishes.due_ns = UINT64_MAX;
	wait_until(c, w->until_ns);
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
	c->wishes.n--;
}

/*
 * Each has its turn once, in the order of coming. Whatever is called may take others out. Of those
 * who wait for the same one only the first need look: `seen` are keys that are being computed.
 */
uint32_t wish_run(struct cache *c)
{
	uint64_t now = loop_now(c->loop), seen[SEEN];
	struct cache_wish *w;
	uint32_t n = 0;

	for (uint32_t i = 0; i < SEEN; i++)
		seen[i] = i + 1; /* no hash that belongs there */
	c->wishes.due_ns = UINT64_MAX;
	c->wishes.at = c->wishes.first;
	while ((w = c->wishes.at) && n < RUNS_MAX) {
		uint64_t *known = &seen[w->hash % SEEN];
		enum cache_wished what = CACHE_IS_COMPUTED;

		c->wishes.at = w->next;
		if (*known != w->hash)
			what = cache_wish_look(c, w, now);
		if (what == CACHE_IS_COMPUTED && now < w->until_ns) {
			*known = w->hash;
			wait_until(c, w->until_ns);
			continue;
		}
		cache_wish_cancel(c, w);
		w->done(w, what);
		n++;
	}
	if (w)
		c->dirty = true; /* the rest in the next turn */
	if (c->wishes.first)
		cache_arm(c);
	return n;
}
