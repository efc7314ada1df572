/* SPDX-License-Identifier: MIT */
/*
 * Of those who miss a value one computes it. What a request waits for, or computes for all, belongs
 * its call, as a share of a semaphore does (limit.c), and ends with its handler. Waiting is the
 * loop's: a pool thread posts its wish and sleeps. While it waits the wish is the loop's alone;
 * what the owner has been told is the owner's.
 */
#include <string.h>

#include "app/app_priv.h"
#include "base/clock.h"

#define TRIES 8 /* at a value that is there when it is looked for, and gone when it is read */

/* One for a call, in its memory, used again and again. */
struct compute {
	struct cache_wish wish;  /* first */
	struct capri_request *c;
	bool queued;             /* loop only */
	_Atomic bool asked;      /* the owner has not been told yet */
	_Atomic bool computes;   /* it was told to; until it has put the value, or given up */
	uint64_t birth;          /* what it computes is from before what is invalidated later */
	_Atomic int result;
	capri_cache_f *fn;       /* of an async handler */
	void *arg;
	char *key;
	size_t cap;
};

static struct cache *home_of(const struct compute *p)
{
	return admit_cache(p->c->app->admit);
}

static struct compute *get(struct capri_request *c)
{
	struct compute *p = atomic_load(&c->compute);

	if (p)
		return p;
	p = capri_alloc(c, sizeof(*p));
	if (!p)
		return NULL;
	*p = (struct compute){.c = c};
	atomic_store(&c->compute, p);
	return p;
}

static bool set_key(struct compute *p, struct slice text)
{
	if (text.len > p->cap) {
		p->key = capri_alloc(p->c, text.len);
		p->cap = p->key ? text.len : 0;
		if (!p->key)
			return false;
	}
	memcpy(p->key, text.p, text.len);
	p->wish.key = (struct slice){p->key, text.len};
	return true;
}

static struct compute *begin(struct capri_request *c, struct capri_str key, uint32_t wait_ms,
			     int *ret_err)
{
	struct value_key k;
	struct compute *p;

	*ret_err = CAPRI_E_INVALID;
	if (atomic_load(&c->completed) || !value_key_make(c, key, &k))
		return NULL;
	*ret_err = CAPRI_E_NOMEM;
	p = get(c);
	if (!p)
		return NULL;
	*ret_err = CAPRI_E_INVALID;
	if (atomic_load(&p->asked) || atomic_load(&p->computes))
		return NULL;
	*ret_err = CAPRI_E_NOMEM;
	if (!set_key(p, k.text))
		return NULL;
	value_begin(c);
	p->wish.hash = k.hash;
	p->wish.until_ns = clock_mono_ns() + wait_ms * NS_PER_MS;
	p->fn = NULL;
	atomic_store(&p->asked, true);
	return p;
}

/* In the owner's thread. CALL_WAITS: another one computes it. */
static int look(struct compute *p, struct capri_str *ret_value)
{
	for (int i = 0; i < TRIES; i++) {
		*ret_value = value_get(p->c, p->wish.key, p->wish.hash);
		if (ret_value->p)
			return CAPRI_OK;
		switch (cache_wish_look(home_of(p), &p->wish, clock_mono_ns())) {
		case CACHE_IS_THERE:
			break;
		case CACHE_IS_MINE:
			return CAPRI_COMPUTE;
		case CACHE_IS_COMPUTED:
			return CALL_WAITS;
		}
	}
	return CAPRI_COMPUTE; /* no memory for it, or it goes as fast as it comes */
}

/* What the owner is told. */
static int tell(struct compute *p, int result)
{
	p->birth = shm_cache_birth(p->c->app->h->shm);
	atomic_store(&p->computes, result == CAPRI_COMPUTE);
	if (result != CAPRI_COMPUTE)
		cache_wish_end(home_of(p), &p->wish);
	atomic_store(&p->asked, false);
	return result;
}

/* ---- waiting; in the loop ---- */

static void call_back(struct compute *p, int result, struct capri_str value)
{
	struct capri_request *c = p->c;

	if (atomic_load(&c->completed)) { /* by another thread, and its end is on the way */
		cache_wish_end(home_of(p), &p->wish);
		return;
	}
	c->holds++; /* it may be completed from within */
	result = tell(p, result);
	p->fn(c, result, value, p->arg);
	look_held(c->app, c->route, "call-back of the cache, of handler");
	call_release(c);
}

static int result_of(enum cache_wished what)
{
	return what == CACHE_IS_THERE ? CAPRI_OK :
	       what == CACHE_IS_MINE ? CAPRI_COMPUTE : CAPRI_E_AGAIN;
}

static void wait_on(struct compute *p);

static void done(struct cache_wish *w, enum cache_wished what)
{
	struct compute *p = (struct compute *)w;
	struct capri_str value = {NULL, 0};
	int result = result_of(what);

	p->queued = false;
	if (!p->fn) {
		call_wake(p->c, &p->result, result);
		return;
	}
	if (result == CAPRI_OK)
		result = look(p, &value); /* the loop is the owner */
	if (result == CALL_WAITS)
		wait_on(p);
	else
		call_back(p, result, value);
}

static void wait_on(struct compute *p)
{
	p->wish.done = done;
	p->queued = true;
	cache_wish_wait(home_of(p), &p->wish);
}

/* What a pool thread wishes. */
static void wait_posted(struct capri_worker *w, void *arg)
{
	struct compute *p = arg;

	(void)w;
	if (atomic_load(&p->c->over) || atomic_load(&p->c->cancelled))
		call_wake(p->c, &p->result, CAPRI_E_CANCELLED);
	else
		wait_on(p);
}

/* ---- what modules call ---- */

int capri_cache_fill(struct capri_request *c, struct capri_str key, uint32_t wait_ms,
		     struct capri_str *ret_value)
{
	bool blocks = wait_ms > 0;
	struct compute *p;
	int result;

	*ret_value = (struct capri_str){NULL, 0};
	if (blocks && (c->route->kind != CAPRI_POOL || app_in_loop(c->app)))
		return CAPRI_E_INVALID;
	p = begin(c, key, wait_ms, &result);
	if (!p)
		return result;
	while ((result = look(p, ret_value)) == CALL_WAITS) {
		result = blocks ? call_sleep(c, &p->result, wait_posted, p) : CAPRI_E_AGAIN;
		if (result != CAPRI_OK)
			break;
	}
	return tell(p, result);
}

int capri_cache_fill_wait(struct capri_request *c, struct capri_str key, uint32_t wait_ms,
			  capri_cache_f *fn, void *arg)
{
	struct compute *p;
	int err;

	if (c->route->kind != CAPRI_ASYNC || !fn)
		return CAPRI_E_INVALID;
	if (!app_in_loop(c->app))
		return CAPRI_E_THREAD;
	p = begin(c, key, wait_ms, &err);
	if (!p)
		return err;
	p->fn = fn;
	p->arg = arg;
	wait_on(p);
	return CAPRI_OK;
}

static void give_up(struct compute *p)
{
	atomic_store(&p->computes, false);
	cache_wish_end(home_of(p), &p->wish);
}

void capri_cache_fill_end(struct capri_request *c)
{
	struct compute *p = atomic_load(&c->compute);

	if (p && atomic_load(&p->computes))
		give_up(p);
}

bool compute_is_of(struct capri_request *c, uint64_t hash, uint64_t *ret_birth)
{
	struct compute *p = atomic_load(&c->compute);

	if (!p || !atomic_load(&p->computes) || p->wish.hash != hash)
		return false;
	*ret_birth = p->birth;
	return true;
}

void compute_put(struct capri_request *c, bool kept)
{
	struct compute *p = atomic_load(&c->compute);

	if (!kept)
		cache_wish_refuse(home_of(p), &p->wish, p->birth);
	give_up(p);
}

void compute_cancel(struct capri_request *c)
{
	struct compute *p = atomic_load(&c->compute);

	if (!p || !p->queued)
		return;
	p->queued = false;
	cache_wish_cancel(home_of(p), &p->wish);
	if (p->fn)
		call_back(p, CAPRI_E_CANCELLED, (struct capri_str){NULL, 0});
	else
		call_wake(c, &p->result, CAPRI_E_CANCELLED);
}

void compute_end(struct capri_request *c)
{
	struct compute *p = atomic_load(&c->compute);

	if (!p)
		return;
	if (p->queued)
		cache_wish_cancel(home_of(p), &p->wish);
	p->queued = false;
	atomic_store(&p->asked, false);
	give_up(p);
}
