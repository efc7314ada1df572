/* SPDX-License-Identifier: MIT */
/*
 * The look-up, and who waits. Who misses asks for the lease of its key: one gets it and computes,
 * the others lie in a group of this process and occupy their memory, nothing else. A process with a
 * group is poked when the lease ends, and looks again: what it finds is everybody's; if nothing was
 * stored, the first of them computes. (A timer looks, too: a lease that is too old passes on.)
 */
#include <stdlib.h>

#include "cache/cache_priv.h"

/* ---- groups ---- */

static struct group *find_group(struct cache *c, uint64_t hash)
{
	struct group *g = c->groups;

	while (g && g->hash != hash)
		g = g->next;
	return g;
}

static struct group *new_group(struct cache *c, uint64_t hash)
{
	struct group *g = c->free;

	if (g)
		c->free = g->next;
	else
		g = malloc(sizeof(*g));
	if (!g)
		return NULL;
	*g = (struct group){.hash = hash, .next = c->groups};
	c->groups = g;
	return g;
}

static void drop_group(struct cache *c, struct group *g)
{
	struct group **at = &c->groups;

	while (*at != g)
		at = &(*at)->next;
	*at = g->next;
	g->next = c->free;
	c->free = g;
}

static void put_last(struct group *g, struct waiter *w)
{
	w->group = g;
	w->next = NULL;
	w->prev = g->last;
	if (g->last)
		g->last->next = w;
	else
		g->first = w;
	g->last = w;
	g->n++;
}

/* A group that is empty is given back. */
static void take_out(struct cache *c, struct waiter *w)
{
	struct group *g = w->group;

	if (w->prev)
		w->prev->next = w->next;
	else
		g->first = w->next;
	if (w->next)
		w->next->prev = w->prev;
	else
		g->last = w->prev;
	w->group = NULL;
	if (--g->n == 0)
		drop_group(c, g);
}

/* ---- what becomes of a request ---- */

/* It does not wait: there are enough who do, or it may not, or there is no memory. */
static enum cache_step alone(struct cache *c, struct request *r, const struct cache_rule *rule,
			     const struct key *key, const char *how)
{
	const struct fill_begin b = {.rule = rule, .key = key, .how = how};

	fill_begin(c, r, &b);
	return CACHE_PASSES;
}

static enum cache_step lead(struct cache *c, struct request *r, const struct cache_rule *rule,
			    const struct key *key, const struct shm_cache_fill *lease,
			    const char *how)
{
	const struct fill_begin b = {.rule = rule, .key = key, .lease = lease, .how = how};

	fill_begin(c, r, &b);
	return CACHE_PASSES;
}

/* A range, or a condition that a handler must decide: its answer is not the whole one. */
static bool is_special(const struct http_request *head)
{
	return head->method != HTTP_M_GET || head->known_count[HTTP_F_RANGE] > 0 ||
	       head->known_count[HTTP_F_IF_MATCH] > 0 ||
	       head->known_count[HTTP_F_IF_UNMODIFIED_SINCE] > 0;
}

static enum cache_step pass(struct request *r, const char *how)
{
	fill_say(r, how);
	return CACHE_PASSES;
}

static bool only_if_cached(const struct http_request *head)
{
	const struct http_field *f = NULL;
	struct http_cache_control cc = {0};

	while ((f = http_find_field(head, SLICE("Cache-Control"), f)))
		http_read_cache_control(&cc, f->value);
	return cc.only_if_cached;
}

static enum cache_step refuse(struct request *r, const char *how)
{
	fill_say(r, how);
	request_problem(r, 504, "It is not in the cache, and nothing else was wanted.");
	return CACHE_ENDED;
}

struct look {
	struct cache *c;
	struct request *r;
	const struct cache_rule *rule;
	struct key *key;
	bool waited;
};

/* Something is pinned. */
static enum cache_step found(const struct look *l, const struct shm_cache_ref *ref)
{
	if (ref->kind == KIND_OBJECT) {
		if (hit_answer(l->c, l->r, ref, l->waited))
			return CACHE_ENDED;
		return pass(l->r, "fwd=bypass; detail=unreadable");
	}
	shm_cache_unpin(l->c->shm, l->c->slot, ref);
	shm_cache_count(l->c->shm, l->c->slot, SHM_CACHE_PASSED, 1);
	if (only_if_cached(request_head(l->r)))
		return refuse(l->r, "fwd=bypass");
	if (is_special(request_head(l->r)))
		return pass(l->r, "fwd=bypass");
	return alone(l->c, l->r, l->rule, l->key, "fwd=bypass");
}

/* What is stale is everybody's, but for one, who computes anew. */
static enum cache_step found_stale(const struct look *l, const struct shm_cache_ref *ref)
{
	const struct http_request *head = request_head(l->r);
	struct cache *c = l->c;
	struct shm_cache_fill lease;

	if (ref->kind != KIND_OBJECT || is_special(head) || only_if_cached(head) ||
	    shm_cache_fill_begin(c->shm, c->slot, l->key->hash, c->patience_ns, loop_now(c->loop),
				 &lease) != SHM_CACHE_LEADER)
		return found(l, ref);
	shm_cache_unpin(c->shm, c->slot, ref);
	return lead(c, l->r, l->rule, l->key, &lease, "fwd=stale");
}

static enum cache_step missed(const struct look *l)
{
	const struct http_request *head = request_head(l->r);
	struct cache *c = l->c;
	struct shm_cache_fill lease;
	struct shm_cache_ref ref;
	struct group *g;

	if (only_if_cached(head))
		return refuse(l->r, "fwd=uri-miss");
	if (is_special(head))
		return pass(l->r, "fwd=uri-miss");
	switch (shm_cache_fill_begin(c->shm, c->slot, l->key->hash, c->patience_ns,
				     loop_now(c->loop), &lease)) {
	case SHM_CACHE_LEADER:
		break;
	case SHM_CACHE_FOLLOWER:
		g = find_group(c, l->key->hash);
		if (g && g->n >= WAITERS_MAX && !l->waited)
			return alone(c, l->r, l->rule, l->key, "fwd=uri-miss");
		return CACHE_WAITS;
	case SHM_CACHE_ALONE:
		return alone(c, l->r, l->rule, l->key, "fwd=uri-miss");
	}
	/* The one before may have stored it between our look and our lease. */
	if (shm_cache_get(c->shm, c->slot, l->key->hash, l->key->text, false, loop_now(c->loop),
			  &ref) == SHM_CACHE_MISS)
		return lead(c, l->r, l->rule, l->key, &lease, "fwd=uri-miss");
	fill_let_go(c, &lease);
	return found(l, &ref);
}

enum cache_step wait_look(struct cache *c, struct request *r, const struct cache_rule *rule,
			  bool waited)
{
	struct shm_cache_ref ref;
	struct key key;
	const struct look l = {c, r, rule, &key, waited};

	if (!key_make(c, rule, r, &key))
		return pass(r, "fwd=bypass; detail=key");
	switch (shm_cache_get(c->shm, c->slot, key.hash, key.text, !waited, loop_now(c->loop),
			      &ref)) {
	case SHM_CACHE_HIT:
		return found(&l, &ref);
	case SHM_CACHE_STALE:
		return found_stale(&l, &ref);
	case SHM_CACHE_MISS:
		break;
	}
	return missed(&l);
}

/* ---- waiting ---- */

static void unwatch(struct waiter *w)
{
	request_on_gone(w->r, NULL, NULL);
	request_on_hangup(w->r, NULL);
}

static void on_gone(struct request *r, void *arg)
{
	struct waiter *w = arg;

	(void)r;
	take_out(w->rule->cache, w);
}

static void tell_hangup(struct request *r)
{
	request_problem(r, 503, "The client closed its side while the request waited.");
}

static void on_hangup(struct request *r, void *arg)
{
	struct waiter *w = arg;

	unwatch(w);
	take_out(w->rule->cache, w);
	tell_hangup(r);
}

void cache_wait(struct cache *c, struct request *r, const struct cache_rule *rule, cache_go_f *go,
		void *arg)
{
	struct waiter *w = request_alloc(r, sizeof(*w));
	struct group *g = NULL;
	struct key key;

	if (request_hung_up(r)) {
		tell_hangup(r);
		return;
	}
	if (w && key_make(c, rule, r, &key)) {
		g = find_group(c, key.hash);
		if (!g)
			g = new_group(c, key.hash);
	}
	if (!g) {
		fill_say(r, "fwd=uri-miss");
		go(r, arg);
		return;
	}
	w->r = r;
	w->rule = rule;
	w->go = go;
	w->arg = arg;
	put_last(g, w);
	shm_cache_count(c->shm, c->slot, SHM_CACHE_WAITS, 1);
	request_waits_as(r, SHM_ROW_QUEUED);
	request_on_gone(r, on_gone, w);
	request_on_hangup(r, on_hangup);
	cache_arm(c);
}

/* Within an event of its connection. It stays where it is if it has to wait on. */
struct turn {
	struct waiter *w;
	enum cache_step step;
};

static void go_on(void *arg)
{
	struct turn *t = arg;
	struct waiter *w = t->w;
	struct cache *c = w->rule->cache;

	t->step = wait_look(c, w->r, w->rule, true);
	if (t->step == CACHE_WAITS)
		return;
	unwatch(w);
	take_out(c, w);
	request_waits_as(w->r, SHM_ROW_HANDLING);
	if (t->step == CACHE_PASSES)
		w->go(w->r, w->arg);
}

/* From the first on, as long as they need not wait. What one does may empty the group. */
static uint32_t run_group(struct cache *c, uint64_t hash, uint32_t most)
{
	struct group *g = find_group(c, hash);
	uint32_t n = 0;

	for (; g && n < most; g = find_group(c, hash)) {
		struct turn t = {.w = g->first};

		request_run(g->first->r, go_on, &t);
		if (t.step == CACHE_WAITS)
			return n;
		n++;
	}
	if (g)
		c->dirty = true; /* the rest in the next turn */
	return n;
}

bool cache_end_turn(struct cache *c)
{
	uint32_t n = 0, told = 0;

	for (int round = 0; c->dirty && round < 4 && n < RUNS_MAX; round++) {
		c->dirty = false;
		told += wish_run(c);
		for (struct group *g = c->groups, *next; g; g = next) {
			next = g->next; /* nobody but its own requests can empty a group */
			n += run_group(c, g->hash, RUNS_MAX - n);
		}
	}
	return n + told > 0;
}
