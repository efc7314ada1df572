/* SPDX-License-Identifier: MIT */
/*
 * From other threads into the loop. Who rings does so at most once until the loop has looked: a
 * batch of completions costs one write to the eventfd. It is watched edge-triggered, and never
 * read. The loop looks at the end of each turn at what was posted, rung or not.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "app/app_priv.h"

#define BATCH 1024 /* posts taken in one turn, so that those who go on posting do not hold it */

/* The loop itself need not be woken: it looks at the end of its turn. */
void bridge_ring(struct app *a)
{
	struct bridge *b = &a->bridge;
	uint64_t one = 1;

	if (!atomic_exchange(&b->rung, true) && !(app_in_loop(a) && a->serve))
		(void)!write(b->watch.fd, &one, sizeof(one)); /* full: it is readable already */
}

void bridge_awake(struct app *a)
{
	atomic_store_explicit(&a->bridge.rung, true, memory_order_relaxed);
}

void bridge_put(struct capri_request *c, unsigned what)
{
	struct bridge *b = &c->app->bridge;

	pthread_mutex_lock(&b->lock);
	if (c->posts == 0) {
		c->posted_next = NULL;
		if (b->last)
			b->last->posted_next = c;
		else
			b->first = c;
		b->last = c;
	}
	c->posts |= what;
	atomic_store_explicit(&b->posted, true, memory_order_relaxed);
	pthread_mutex_unlock(&b->lock);
}

void bridge_post(struct capri_request *c, unsigned what)
{
	struct app *a = c->app; /* the call may be over as soon as it is posted */

	bridge_put(c, what);
	bridge_ring(a);
}

int capri_post(struct capri_worker *w, void (*fn)(struct capri_worker *w, void *arg), void *arg)
{
	struct app *a = (struct app *)w;
	struct bridge *b = &a->bridge;
	struct post_fn *p;

	if (!fn)
		return CAPRI_E_INVALID;
	p = malloc(sizeof(*p));
	if (!p)
		return CAPRI_E_NOMEM;
	*p = (struct post_fn){.fn = fn, .arg = arg};
	pthread_mutex_lock(&b->lock);
	if (b->fn_last)
		b->fn_last->next = p;
	else
		b->fn_first = p;
	b->fn_last = p;
	atomic_store_explicit(&b->posted, true, memory_order_relaxed);
	pthread_mutex_unlock(&b->lock);
	bridge_ring(a);
	return CAPRI_OK;
}

/* ---- the loop's side ---- */

bool bridge_has(struct capri_request *c)
{
	struct bridge *b = &c->app->bridge;
	bool has;

	pthread_mutex_lock(&b->lock);
	has = c->posts != 0;
	pthread_mutex_unlock(&b->lock);
	return has;
}

static struct capri_request *next_call(struct bridge *b, unsigned *ret_posts)
{
	struct capri_request *c;

	pthread_mutex_lock(&b->lock);
	c = b->first;
	if (c) {
		b->first = c->posted_next;
		if (!b->first)
			b->last = NULL;
		*ret_posts = c->posts;
		c->posts = 0;
	}
	pthread_mutex_unlock(&b->lock);
	return c;
}

static struct post_fn *next_fn(struct bridge *b)
{
	struct post_fn *p;

	pthread_mutex_lock(&b->lock);
	p = b->fn_first;
	if (p) {
		b->fn_first = p->next;
		if (!b->fn_first)
			b->fn_last = NULL;
	}
	pthread_mutex_unlock(&b->lock);
	return p;
}

static void carry_out(struct capri_request *c, unsigned posts)
{
	if (c->resting)
		return; /* its handler goes on with a request that it has completed */
	c->holds++;
	if (posts & POST_DEADLINE)
		call_set_deadline(c, atomic_load(&c->new_deadline_ns));
	if (posts & POST_ANSWER)
		answer_perform(c, &c->answer);
	if (posts & POST_MORE)
		stream_more(c);
	if (posts & POST_RESUME)
		body_resume_perform(c);
	if (posts & POST_BODY)
		body_deliver(c);
	if (posts & POST_WRITABLE)
		stream_writable(c);
	if ((posts & POST_HANGUP) && c->r)
		call_hangup(c->r, c);
	if (posts & (POST_ENDED | POST_ANSWER)) {
		if (c->route->kind == CAPRI_POOL)
			dispatch_result(c, c->result);
		else
			call_ended(c);
	}
	call_release(c);
}

static void take_all(struct app *a)
{
	struct bridge *b = &a->bridge;
	struct capri_request *c = NULL;
	struct post_fn *p = NULL;
	unsigned posts;
	int n = 0, m = 0;

	atomic_store(&b->posted, false); /* before the look: what comes later is seen later */
	for (; n < BATCH && (c = next_call(b, &posts)); n++)
		carry_out(c, posts);
	for (; m < BATCH && (p = next_fn(b)); m++) {
		p->fn(&a->w, p->arg);
		look_held(a, NULL, "a posted function");
		free(p);
	}
	if (n == BATCH || m == BATCH)
		atomic_store(&b->posted, true); /* the rest in the next turn, whoever else waits */
}

/* Nothing to do: app_end_turn() comes after it. */
static void on_ring(struct loop *l, struct watch *w, unsigned events)
{
	(void)l;
	(void)w;
	(void)events;
}

static void count_twice(struct app *a)
{
	atomic_store(&a->twice, false);
	for (struct route *rt = a->routes; rt; rt = rt->next) {
		uint32_t n = atomic_exchange(&rt->twice, 0);

		for (; n > 0; n--)
			shm_error_add(a->h->shm, a->h->slot, rt->label, SHM_ERR_TWICE);
	}
}

/*
 * The order matters: who posts sets `posted` and then looks at `rung`, so that is given back before
 * the look; and a thread that keeps quiet posts before it takes its next call, so once the queue is
 * seen to be empty all that was posted quietly is seen as well.
 */
void app_end_turn(struct app *a)
{
	struct bridge *b = &a->bridge;
	uint64_t one = 1;

	pool_end_turn(a);
	if (atomic_load_explicit(&b->rung, memory_order_relaxed))
		atomic_store(&b->rung, false);
	if (atomic_load(&b->posted)) {
		take_all(a);
		pool_end_turn(a); /* with the next requests of those that were answered */
		if (atomic_load_explicit(&b->rung, memory_order_relaxed))
			atomic_store(&b->rung, false);
		/* What came meanwhile finds no other end of a turn before the wait. */
		if (atomic_load(&b->posted))
			(void)!write(b->watch.fd, &one, sizeof(one));
	}
	if (atomic_load_explicit(&a->twice, memory_order_relaxed))
		count_twice(a);
}

int bridge_open(struct app *a)
{
	struct bridge *b = &a->bridge;

	pthread_mutex_init(&b->lock, NULL);
	b->watch.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	b->watch.cb = on_ring;
	if (b->watch.fd < 0 || loop_watch(a->loop, &b->watch, LOOP_IN | LOOP_EDGE) != 0)
		return -errno;
	return 0;
}

void bridge_close(struct app *a)
{
	struct post_fn *p;

	while ((p = next_fn(&a->bridge)))
		free(p);
	if (a->bridge.watch.fd >= 0) {
		(void)loop_watch(a->loop, &a->bridge.watch, 0);
		close(a->bridge.watch.fd);
	}
}
