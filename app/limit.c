/* SPDX-License-Identifier: MIT */
/*
 * What a handler takes of the configuration's semaphores and rate limits. A share belongs to its
 * call and is given back when the handler has ended, at the latest. Waiting is the loop's: a pool
 * thread posts its wish and sleeps.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "app/app_priv.h"
#include "base/clock.h"
#include "base/log.h"
#include "shm/rate.h"

struct share {
	struct share *next;      /* of the call; guarded by its lock */
	struct capri_request *c;
	const struct capri_semaphore *sem;
	struct ticket *ticket;
	bool queued;             /* loop only */
	_Atomic int result;
	capri_semaphore_f *fn;   /* of an async handler */
	void *arg;
};

struct capri_semaphore *capri_semaphore_find(struct capri_worker *w, const char *name)
{
	struct app *a = (struct app *)w;
	int i = name ? admit_semaphore(a->conf, name) : -1;

	if (i < 0) {
		log_warnx("APP: there is no semaphore \"%s\" in the configuration",
			  name ? name : "(null)");
		return NULL;
	}
	a->semaphore[i] = (struct capri_semaphore){a, (uint32_t)i};
	return &a->semaphore[i];
}

/* ---- shares of a call ---- */

static struct share **find(struct capri_request *c, const struct capri_semaphore *s)
{
	struct share **at = &c->shares;

	while (*at && (*at)->sem != s)
		at = &(*at)->next;
	return at;
}

/* A share that waits or has been taken; *ret_err says why there is none. */
static struct share *make(struct capri_request *c, struct capri_semaphore *s, uint32_t weight,
			  int *ret_err)
{
	struct share *sh = NULL;
	bool has;

	*ret_err = CAPRI_E_INVALID;
	if (atomic_load(&c->completed))
		return NULL; /* nobody would give it back */
	if (!s || weight < 1 || weight > s->app->conf->policy->sem[s->index].limit_max)
		return NULL;
	pthread_mutex_lock(&c->lock);
	has = *find(c, s) != NULL;
	pthread_mutex_unlock(&c->lock);
	if (has)
		return NULL;
	*ret_err = CAPRI_E_NOMEM;
	sh = calloc(1, sizeof(*sh));
	if (!sh)
		return NULL;
	sh->c = c;
	sh->sem = s;
	sh->ticket = admit_ticket(s->app->admit, s->index, weight, c->class,
				  c->detached ? c->row : request_row(c->r));
	if (!sh->ticket) {
		free(sh);
		return NULL;
	}
	pthread_mutex_lock(&c->lock);
	sh->next = c->shares;
	c->shares = sh;
	pthread_mutex_unlock(&c->lock);
	return sh;
}

static void take_out(struct share *sh)
{
	pthread_mutex_lock(&sh->c->lock);
	*find(sh->c, sh->sem) = sh->next;
	pthread_mutex_unlock(&sh->c->lock);
}

static void drop(struct share *sh)
{
	take_out(sh);
	admit_give_back(sh->ticket);
	free(sh);
}

int capri_semaphore_try(struct capri_request *c, struct capri_semaphore *s, uint32_t weight)
{
	int err;
	struct share *sh = make(c, s, weight, &err);

	if (!sh)
		return err;
	if (admit_try(sh->ticket))
		return CAPRI_OK;
	drop(sh);
	return CAPRI_E_AGAIN;
}

void capri_semaphore_release(struct capri_request *c, struct capri_semaphore *s)
{
	struct share *sh;

	if (!s)
		return;
	pthread_mutex_lock(&c->lock);
	sh = *find(c, s);
	pthread_mutex_unlock(&c->lock);
	if (sh && !sh->queued)
		drop(sh);
}

/* ---- waiting; in the loop ---- */

static void settle(struct share *sh, int result)
{
	struct capri_request *c = sh->c;

	sh->queued = false;
	if (!sh->fn) {
		call_wake(c, &sh->result, result);
		return;
	}
	if (atomic_load(&c->completed)) { /* by another thread, and its end is on the way */
		drop(sh);
		return;
	}
	c->holds++; /* it may be completed from within */
	if (result != CAPRI_OK) {
		capri_semaphore_f *fn = sh->fn;
		void *arg = sh->arg;

		drop(sh);
		fn(c, result, arg);
	} else {
		sh->fn(c, CAPRI_OK, sh->arg);
	}
	look_held(c->app, c->route, "call-back of a semaphore, of handler");
	call_release(c);
}

static void done(struct ticket *t, bool got, void *arg)
{
	(void)t;
	settle(arg, got ? CAPRI_OK : CAPRI_E_AGAIN);
}

static int begin(struct share *sh)
{
	if (admit_wait(sh->ticket, done, sh) != 0)
		return CAPRI_E_AGAIN;
	sh->queued = true;
	return CAPRI_OK;
}

/* What a pool thread wishes. */
static void begin_posted(struct capri_worker *w, void *arg)
{
	struct share *sh = arg;

	(void)w;
	if (atomic_load(&sh->c->over) || atomic_load(&sh->c->cancelled))
		settle(sh, CAPRI_E_CANCELLED);
	else if (begin(sh) != CAPRI_OK)
		settle(sh, CAPRI_E_AGAIN);
}

int capri_semaphore_acquire(struct capri_request *c, struct capri_semaphore *s, uint32_t weight)
{
	int err;
	struct share *sh;

	if (c->route->kind != CAPRI_POOL || app_in_loop(c->app))
		return CAPRI_E_INVALID;
	sh = make(c, s, weight, &err);
	if (!sh)
		return err;
	if (admit_try(sh->ticket))
		return CAPRI_OK;
	err = call_sleep(c, &sh->result, begin_posted, sh);
	if (err != CAPRI_OK)
		drop(sh);
	return err;
}

int capri_semaphore_wait(struct capri_request *c, struct capri_semaphore *s, uint32_t weight,
			 capri_semaphore_f *fn, void *arg)
{
	struct share *sh;
	int err;

	if (c->route->kind != CAPRI_ASYNC || !fn)
		return CAPRI_E_INVALID;
	if (!app_in_loop(c->app))
		return CAPRI_E_THREAD;
	sh = make(c, s, weight, &err);
	if (!sh)
		return err;
	sh->fn = fn;
	sh->arg = arg;
	err = begin(sh);
	if (err != CAPRI_OK)
		drop(sh);
	return err;
}

/* One that it waits for. */
static struct share *waited_for(struct capri_request *c)
{
	struct share *sh;

	pthread_mutex_lock(&c->lock);
	for (sh = c->shares; sh && !sh->queued;)
		sh = sh->next;
	pthread_mutex_unlock(&c->lock);
	return sh;
}

void limit_cancel(struct capri_request *c)
{
	struct share *sh;

	while ((sh = waited_for(c))) {
		admit_cancel(sh->ticket);
		settle(sh, CAPRI_E_CANCELLED);
	}
}

void limit_end(struct capri_request *c)
{
	while (c->shares) {
		struct share *sh = c->shares;

		if (sh->queued)
			admit_cancel(sh->ticket);
		drop(sh);
	}
}

/* ---- rate limits ---- */

struct capri_ratelimit *capri_ratelimit_find(struct capri_worker *w, const char *name)
{
	struct app *a = (struct app *)w;
	const struct conf_policy *p = a->conf->policy;

	for (size_t i = 0; name && i < p->nrates; i++) {
		struct capri_ratelimit *l = &a->rate[i];
		uint32_t index;

		if (strcmp(p->rate[i].name, name) != 0)
			continue;
		index = shm_rate_find(a->h->shm, name, a->h->generation);
		if (index == UINT32_MAX)
			break;
		*l = (struct capri_ratelimit){a, index, p->rate[i].nkeys > 0};
		return l;
	}
	log_warnx("APP: there is no rate limit \"%s\" in the configuration",
		  name ? name : "(null)");
	return NULL;
}

int capri_ratelimit_check(struct capri_ratelimit *l, struct capri_str key, uint32_t *ret_retry)
{
	struct shm_rate_use use;
	struct shm_rate_say say;
	struct slice parts[2] = {SLICE("module"), {key.p, key.len}};
	uint64_t wait, now_ns;
	int refused;

	if (!l || (l->keyed && key.len == 0))
		return CAPRI_E_INVALID;
	use.rate = l->index;
	use.hash = l->keyed ? shm_rate_hash(l->app->h->shm, parts, 2) : 0;
	now_ns = clock_mono_ns();
	if (shm_rate_charge(l->app->h->shm, l->app->h->slot, false, &use, 1, now_ns, &refused))
		return CAPRI_OK;
	shm_rate_say(l->app->h->shm, &use, now_ns, &say);
	wait = (say.retry_ns + NS_PER_S - 1) / NS_PER_S;
	if (ret_retry)
		*ret_retry = wait < 1 ? 1 : wait > UINT32_MAX ? UINT32_MAX : (uint32_t)wait;
	return CAPRI_E_AGAIN;
}
