/* SPDX-License-Identifier: MIT */
/* Set up, taken down; which requests are looked after, and what happens at the end of a turn. */
#include "cache/cache.h"

#include <stdlib.h>

#include "base/log.h"
#include "cache/cache_priv.h"

static void on_look(struct loop *l, struct timer *t)
{
	struct cache *c = (struct cache *)(void *)((char *)t - offsetof(struct cache, look));

	(void)l;
	hit_look(c);
	cache_poked(c); /* the turn ends with cache_end_turn() */
	cache_arm(c);
}

/* While somebody waits, or an answer is on its way: looks that nobody asks for. */
void cache_arm(struct cache *c)
{
	uint64_t now = loop_now(c->loop);

	if (c->groups || c->wishes.first) {
		uint64_t due = now + LOOK_NS;

		if (c->wishes.first && c->wishes.due_ns < due)
			due = c->wishes.due_ns;
		if (!timer_armed(&c->look) || c->look.due_ns > due)
			timer_arm(c->loop, &c->look, due);
	} else if (c->hits.first && !timer_armed(&c->look)) {
		timer_arm(c->loop, &c->look, now + NS_PER_S);
	}
}

int cache_new(const struct heritage *h, struct loop *l, struct cache **ret_cache)
{
	struct cache *c = calloc(1, sizeof(*c));
	uint64_t timeout_ms = (uint64_t)h->conf->s.request_timeout;

	if (!c) {
		log_errx("no memory for the cache");
		return -1;
	}
	c->h = h;
	c->loop = l;
	c->shm = h->shm;
	c->slot = h->slot;
	c->object_max = shm_cache_object_max(&h->shm->geo);
	c->patience_ns = (timeout_ms ? timeout_ms : 30000) * NS_PER_MS;
	c->look.cb = on_look;
	if (drop_compile(c) != 0) {
		cache_free(c);
		return -1;
	}
	*ret_cache = c;
	return 0;
}

void cache_free(struct cache *c)
{
	if (!c)
		return;
	timer_disarm(c->loop, &c->look);
	while (c->free) {
		struct group *g = c->free;

		c->free = g->next;
		free(g);
	}
	rule_free(c);
	drop_free(c);
	free(c);
}

/* Why the answer of a request would not be everybody's; NULL: it may be. */
static const char *not_shared(const struct cache_rule *rule, const struct http_request *head)
{
	if (head->has_body)
		return "fwd=bypass; detail=body";
	if (head->known[HTTP_F_AUTHORIZATION].p && !rule->names_auth)
		return "fwd=bypass; detail=authorization";
	if (!rule->names_cookie && http_find_field(head, SLICE("Cookie"), NULL))
		return "fwd=bypass; detail=cookie";
	return NULL;
}

static bool says_no_store(const struct http_request *head)
{
	const struct http_field *f = NULL;
	struct http_cache_control cc = {0};

	while ((f = http_find_field(head, SLICE("Cache-Control"), f)))
		http_read_cache_control(&cc, f->value);
	return cc.no_store;
}

enum cache_step cache_enter(struct cache *c, struct request *r, const struct cache_rule *rule)
{
	const struct http_request *head = request_head(r);
	const char *why;

	if (c->whens && !drop_watch(c, r))
		return CACHE_ENDED;
	if (!rule)
		return CACHE_PASSES;
	if (head->method != HTTP_M_GET && head->method != HTTP_M_HEAD) {
		fill_say(r, "fwd=method");
		return CACHE_PASSES;
	}
	why = not_shared(rule, head);
	if (!why && says_no_store(head))
		why = "fwd=request; detail=no-store";
	if (why) {
		shm_cache_count(c->shm, c->slot, SHM_CACHE_BYPASSED, 1);
		fill_say(r, why);
		return CACHE_PASSES;
	}
	return wait_look(c, r, rule, false);
}

void cache_poked(struct cache *c)
{
	if (c->groups || c->wishes.first)
		c->dirty = true;
}

bool cache_is_dirty(const struct cache *c)
{
	return c->dirty && (c->groups || c->wishes.first);
}
