/* SPDX-License-Identifier: MIT */
/*
 * The life of a call (struct capri_request). It is held by its handler, and by an answer that lies
 * in its memory; who gives the last hold back frees it. All of that happens in the loop.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "app/app_priv.h"
#include "base/check.h"

static void rest(struct call_list *l, struct capri_request *c)
{
	c->next = NULL;
	c->resting = true;
	if (l->last)
		l->last->next = c;
	else
		l->first = c;
	l->last = c;
	l->n++;
}

static struct capri_request *wake(struct call_list *l)
{
	struct capri_request *c = l->first;

	l->first = c->next;
	if (!l->first)
		l->last = NULL;
	l->n--;
	c->resting = false;
	return c;
}

static struct capri_request *make(void)
{
	struct capri_request *c = malloc(sizeof(*c));

	if (!c)
		return NULL;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->cond, NULL);
	c->posts = 0;
	c->resting = false;
	return c;
}

struct capri_request *call_get(struct app *a)
{
	struct capri_request *c = a->free;

	if (c)
		a->free = c->next;
	else
		c = make();
	if (!c)
		return NULL;
	c->app = a;
	c->holds = 1;
	c->skip = 0;
	c->has_birth = false;
	atomic_store_explicit(&c->compute, NULL, memory_order_relaxed);
	c->ticket = NULL;
	c->shares = NULL;
	c->detached = c->collected = c->collecting = c->spool_used = false;
	c->streaming = c->sse = false;
	atomic_store_explicit(&c->at, CALL_IN_LOOP, memory_order_relaxed);
	atomic_store_explicit(&c->cancelled, false, memory_order_relaxed);
	atomic_store_explicit(&c->over, false, memory_order_relaxed);
	atomic_store_explicit(&c->answered, false, memory_order_relaxed);
	atomic_store_explicit(&c->completed, false, memory_order_relaxed);
	c->client_text[0] = c->peer_text[0] = '\0';
	c->fields = NULL;
	c->fields_len = c->fields_cap = 0;
	c->blocks = NULL;
	c->mem_used = 0;
	c->arena_used = 0;
	return c;
}

static void free_memory(struct capri_request *c)
{
	if (c->spool_used) {
		if (c->body_map)
			munmap(c->body_map, c->body.total);
		spool_fini(&c->body);
	}
	while (c->blocks) {
		struct block *b = c->blocks;

		c->blocks = b->next;
		free(b);
	}
	if (c->detached)
		stream_fini(c);
}

/* Its handler has ended, or there is none. */
void call_let_go(struct capri_request *c)
{
	struct ticket *t = c->ticket;

	c->ticket = NULL;
	limit_end(c);
	compute_end(c);
	admit_handler_ended(t);
}

void call_release(struct capri_request *c)
{
	struct app *a = c->app;

	CHECK(c->holds > 0);
	if (--c->holds > 0)
		return;
	call_let_go(c);
	if (c->detached && bridge_has(c))
		return; /* freed when the bridge lets go of it */
	free_memory(c);
	if (c->detached) {
		/* A module that completes it once more shall find that out, not another request. */
		rest(&a->resting, c);
		if (a->resting.n <= CALLS_RESTING)
			return;
		c = wake(&a->resting);
	}
	c->next = a->free;
	a->free = c;
}

bool call_has_room(const struct capri_request *c, size_t size)
{
	return size <= CALL_ARENA - ((c->arena_used + 15) & ~15u);
}

void *call_alloc(struct capri_request *c, size_t size)
{
	uint32_t at = (c->arena_used + 15) & ~15u;
	struct block *b;

	if (size <= CALL_ARENA - at) {
		c->arena_used = at + (uint32_t)size;
		memset(c->arena + at, 0, size);
		return c->arena + at;
	}
	if (size > CALL_MEM_MAX - c->mem_used)
		return NULL;
	b = calloc(1, sizeof(*b) + size);
	if (!b)
		return NULL;
	c->mem_used += size;
	b->next = c->blocks;
	c->blocks = b;
	return b->data;
}

/* ---- detaching ---- */

static void move_slice(struct slice *s, const char *from, size_t len, char *to)
{
	if (s->p >= from && s->p <= from + len)
		s->p = to + (s->p - from);
}

/* The head as it was received, in one piece, and everything that points into it. */
static bool copy_head(struct capri_request *c)
{
	const struct http_request *h = c->head;
	struct slice whole = request_head_bytes(c->r);
	char *bytes = call_alloc(c, whole.len);
	struct http_request *to = &c->copy;

	if (!bytes)
		return false;
	memcpy(bytes, whole.p, whole.len);
	*to = *h;
	to->fields = call_alloc(c, h->nfields * sizeof(h->fields[0]) + 1);
	if (!to->fields)
		return false;
	memcpy(to->fields, h->fields, h->nfields * sizeof(h->fields[0]));
	move_slice(&to->method_text, whole.p, whole.len, bytes);
	move_slice(&to->target, whole.p, whole.len, bytes);
	move_slice(&to->raw_path, whole.p, whole.len, bytes);
	move_slice(&to->query, whole.p, whole.len, bytes);
	move_slice(&to->authority, whole.p, whole.len, bytes);
	for (int i = 0; i < HTTP_F_COUNT; i++)
		move_slice(&to->known[i], whole.p, whole.len, bytes);
	for (size_t i = 0; i < to->nfields; i++) {
		move_slice(&to->fields[i].name, whole.p, whole.len, bytes);
		move_slice(&to->fields[i].value, whole.p, whole.len, bytes);
	}
	c->head = to;
	return true;
}

static bool copy_path(struct capri_request *c)
{
	struct slice from = c->path;
	char *to = call_alloc(c, from.len + 1), *id = call_alloc(c, c->id.len + 1);

	if (!to || !id)
		return false;
	memcpy(to, from.p, from.len);
	memcpy(id, c->id.p, c->id.len);
	c->path.p = to;
	c->id.p = id;
	for (uint32_t i = 0; i < c->match.nparams; i++)
		move_slice(&c->match.param[i].value, from.p, from.len, to);
	return true;
}

void call_watch(struct capri_request *c)
{
	request_on_gone(c->r, call_gone, c);
	request_on_hangup(c->r, call_hangup);
	if (request_hung_up(c->r)) /* the connection tells it once: it was an earlier request's */
		bridge_post(c, POST_HANGUP);
}

void call_unwatch(struct capri_request *c)
{
	request_on_hangup(c->r, NULL);
	request_on_gone(c->r, NULL, NULL);
}

bool call_detach(struct capri_request *c)
{
	if (c->detached)
		return true;
	c->client = *request_client(c->r);
	c->peer = *request_peer(c->r);
	if (!copy_head(c) || !copy_path(c))
		return false;
	c->detached = true;
	c->in = c->out = (struct flow){0};
	c->body_fn = NULL;
	c->cancel_fn = NULL;
	c->writable_fn = NULL;
	c->row = request_row(c->r);
	c->row_kept = false;
	c->deadline_ns = request_due(c->r);
	c->body_at = 0;
	c->body_held = c->body_told = false;
	c->body_paused = c->stream_begun = c->stream_ok = false;
	c->reported_slow = c->reported_stuck = c->given_up = c->abandoned = false;
	atomic_store_explicit(&c->tid, 0, memory_order_relaxed);
	atomic_store_explicit(&c->since_ns, request_since(c->r), memory_order_relaxed);
	atomic_store_explicit(&c->body_bytes, c->collected ? c->body.total : 0,
			      memory_order_relaxed);
	call_watch(c);
	return true;
}

/* ---- the end of either ---- */

void call_ended(struct capri_request *c)
{
	atomic_store_explicit(&c->at, CALL_ENDED, memory_order_relaxed);
	atomic_store_explicit(&c->completed, true, memory_order_relaxed);
	look_end(c->app, c);
	call_let_go(c);
	call_release(c);
}

/* The handler hears of it once. It may complete the request from within. */
void call_cancel(struct capri_request *c)
{
	capri_cancel_f *fn = c->cancel_fn;

	atomic_store_explicit(&c->cancelled, true, memory_order_release);
	c->holds++; /* what it waits for tells it, too */
	c->cancel_fn = NULL;
	limit_cancel(c);
	compute_cancel(c);
	if (fn && !atomic_load(&c->completed)) {
		fn(c, c->cancel_arg);
		look_held(c->app, c->route, "on_cancel() of handler");
	}
	call_release(c);
}

/* ---- a thread of the pool that waits for the loop ---- */

int call_sleep(struct capri_request *c, _Atomic int *result,
	       void (*fn)(struct capri_worker *w, void *arg), void *arg)
{
	int got;

	atomic_store(result, CALL_WAITS);
	got = capri_post(&c->app->w, fn, arg);
	if (got != CAPRI_OK)
		return got;
	pthread_mutex_lock(&c->lock);
	while ((got = atomic_load(result)) == CALL_WAITS)
		pthread_cond_wait(&c->cond, &c->lock);
	pthread_mutex_unlock(&c->lock);
	return got;
}

void call_wake(struct capri_request *c, _Atomic int *result, int value)
{
	pthread_mutex_lock(&c->lock);
	atomic_store(result, value);
	pthread_cond_broadcast(&c->cond);
	pthread_mutex_unlock(&c->lock);
}

void call_gone(struct request *r, void *arg)
{
	struct capri_request *c = arg;

	c->r = NULL;
	if (c->collecting) { /* its handler has not been called */
		call_release(c);
		return;
	}
	if (atomic_load(&c->at) == CALL_IN_LOOP)
		return; /* between two handlers, of which the first has declined */
	c->holds++;
	stream_cut(c);
	if (!atomic_load(&c->completed)) {
		if (c->route->kind == CAPRI_POOL && pool_remove(&c->app->pool, c)) {
			call_ended(c); /* it never began */
		} else {
			c->row = request_keep_row(r);
			c->row_kept = true;
			look_abandoned(c->app, c);
			call_cancel(c);
		}
	}
	call_release(c);
}

void call_hangup(struct request *r, void *arg)
{
	struct capri_request *c = arg;

	(void)r;
	if (!atomic_load(&c->completed))
		call_cancel(c);
}
