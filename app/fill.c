/* SPDX-License-Identifier: MIT */
/*
 * Of those who miss a value one computes it. What a request waits for, or computes for all, belongs
 * to its call, as a share of a semaphore does (limit.c), and ends with its handler. Waiting is the
 * loop's: a pool thread posts its wish and sleeps.
 */
#include <string.h>

#include "app/app_priv.h"
#include "base/clock.h"

#define TRIES 8 /* at a value that is there when it is looked for, and gone when it is read */

enum { WAITS = -1000 }; /* no result */

struct fill {
	struct cache_wish wish;  /* first */
	struct capri_request *c;
	bool queued;             /* loop only */
	_Atomic int result;
	capri_cache_f *fn;       /* of an async handler */
	void *arg;
	char key[];
};

static struct cache *cache_of(const struct capri_request *c)
{
	return admit_cache(c->app->admit);
}

/* In the memory of the request: it is not freed before the call has ended. */
static struct fill *make(struct capri_request *c, struct capri_str key, uint32_t wait_ms,
			 int *ret_err)
{
	struct value_key k;
	struct fill *f;

	*ret_err = CAPRI_E_INVALID;
	if (atomic_load(&c->fill) || atomic_load(&c->completed) || !value_key_make(c, key, &k))
		return NULL;
	*ret_err = CAPRI_E_NOMEM;
	f = capri_alloc(c, sizeof(*f) + k.text.len);
	if (!f)
		return NULL;
	*f = (struct fill){.c = c};
	memcpy(f->key, k.text.p, k.text.len);
	f->wish.key = (struct slice){f->key, k.text.len};
	f->wish.hash = k.hash;
	f->wish.until_ns = clock_mono_ns() + wait_ms * NS_PER_MS;
	atomic_store(&c->fill, f);
	return f;
}

static void drop(struct fill *f)
{
	atomic_store(&f->c->fill, NULL);
	cache_wish_end(cache_of(f->c), &f->wish);
}

/* In the owner's thread. WAITS: another one computes it. */
static int look(struct fill *f, struct capri_str *ret_value)
{
	for (int i = 0; i < TRIES; i++) {
		*ret_value = value_get(f->c, f->wish.key, f->wish.hash);
		if (ret_value->p)
			return CAPRI_OK;
		switch (cache_wish_look(cache_of(f->c), &f->wish, clock_mono_ns())) {
		case CACHE_IS_THERE:
			break;
		case CACHE_IS_MINE:
			return CAPRI_COMPUTE;
		case CACHE_IS_COMPUTED:
			return WAITS;
		}
	}
	return CAPRI_COMPUTE; /* no memory for it, or it goes as fast as it comes */
}

/* What the owner is told. It goes on to be the one who computes, or has done with it. */
static int tell(struct fill *f, int result)
{
	if (result == CAPRI_COMPUTE)
		value_begin(f->c);
	else
		drop(f);
	return result;
}

/* ---- waiting; in the loop ---- */

static void wake(struct fill *f, int result)
{
	struct capri_request *c = f->c;

	f->queued = false;
	pthread_mutex_lock(&c->lock);
	atomic_store(&f->result, result);
	pthread_cond_broadcast(&c->cond);
	pthread_mutex_unlock(&c->lock);
}

static void call_back(struct fill *f, int result, struct capri_str value)
{
	struct capri_request *c = f->c;

	if (atomic_load(&c->completed)) { /* by another thread, and its end is on the way */
		drop(f);
		return;
	}
	c->holds++; /* it may be completed from within */
	f->fn(c, tell(f, result), value, f->arg);
	look_held(c->app, c->route, "call-back of the cache, of handler");
	call_release(c);
}

static int result_of(enum cache_wished what)
{
	return what == CACHE_IS_THERE ? CAPRI_OK :
	       what == CACHE_IS_MINE ? CAPRI_COMPUTE : CAPRI_E_AGAIN;
}

static void done(struct cache_wish *w, enum cache_wished what)
{
	struct fill *f = (struct fill *)w;
	struct capri_str value = {NULL, 0};
	int result = result_of(what);

	f->queued = false;
	if (!f->fn) {
		wake(f, result);
		return;
	}
	if (result == CAPRI_OK)
		result = look(f, &value); /* the loop is the owner */
	if (result != WAITS) {
		call_back(f, result, value);
		return;
	}
	f->queued = true;
	cache_wish_wait(cache_of(f->c), &f->wish);
}

static void begin(struct fill *f)
{
	f->wish.done = done;
	f->queued = true;
	cache_wish_wait(cache_of(f->c), &f->wish);
}

/* What a pool thread wishes. */
static void begin_posted(struct capri_worker *w, void *arg)
{
	struct fill *f = arg;

	(void)w;
	if (atomic_load(&f->c->over) || atomic_load(&f->c->cancelled))
		wake(f, CAPRI_E_CANCELLED);
	else
		begin(f);
}

static int sleep_until_told(struct fill *f)
{
	struct capri_request *c = f->c;
	int result;

	atomic_store(&f->result, WAITS);
	result = capri_post(&c->app->w, begin_posted, f);
	if (result != CAPRI_OK)
		return result;
	pthread_mutex_lock(&c->lock);
	while ((result = atomic_load(&f->result)) == WAITS)
		pthread_cond_wait(&c->cond, &c->lock);
	pthread_mutex_unlock(&c->lock);
	return result;
}

/* ---- what modules call ---- */

int capri_cache_fill(struct capri_request *c, struct capri_str key, uint32_t wait_ms,
		     struct capri_str *ret_value)
{
	bool blocks = wait_ms > 0;
	struct fill *f;
	int result;

	*ret_value = (struct capri_str){NULL, 0};
	if (blocks && (c->route->kind != CAPRI_POOL || app_in_loop(c->app)))
		return CAPRI_E_INVALID;
	f = make(c, key, wait_ms, &result);
	if (!f)
		return result;
	while ((result = look(f, ret_value)) == WAITS) {
		result = blocks ? sleep_until_told(f) : CAPRI_E_AGAIN;
		if (result != CAPRI_OK)
			break;
	}
	return tell(f, result);
}

int capri_cache_fill_wait(struct capri_request *c, struct capri_str key, uint32_t wait_ms,
			  capri_cache_f *fn, void *arg)
{
	struct fill *f;
	int err;

	if (c->route->kind != CAPRI_ASYNC || !fn)
		return CAPRI_E_INVALID;
	if (!app_in_loop(c->app))
		return CAPRI_E_THREAD;
	f = make(c, key, wait_ms, &err);
	if (!f)
		return err;
	f->fn = fn;
	f->arg = arg;
	begin(f);
	return CAPRI_OK;
}

void fill_put(struct capri_request *c, uint64_t hash)
{
	struct fill *f = atomic_load(&c->fill);

	if (f && f->wish.leads && f->wish.hash == hash)
		drop(f);
}

void fill_cancel(struct capri_request *c)
{
	struct fill *f = atomic_load(&c->fill);

	if (!f || !f->queued || f->fn)
		return;
	cache_wish_cancel(cache_of(c), &f->wish);
	wake(f, CAPRI_E_CANCELLED);
}

void fill_end(struct capri_request *c)
{
	struct fill *f = atomic_load(&c->fill);

	if (!f)
		return;
	if (f->queued)
		cache_wish_cancel(cache_of(c), &f->wish);
	drop(f);
}
