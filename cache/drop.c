/* SPDX-License-Identifier: MIT */
/*
 * Invalidation by answers: a request that matches "METHOD pattern" of a rule, and is answered with
 * 2xx or 3xx, makes invalid what the rule names. That is in effect before the first byte of the
 * answer is written; with async when its last one is.
 */
#include <stdlib.h>

#include "base/log.h"
#include "cache/cache_priv.h"
#include "conf/template.h"
#include "status/status.h"

struct drop {
	struct request_tap tap;          /* first */
	struct cache *c;
	bool done_well;
};

/* ---- what is made invalid ---- */

/* false: it does not fit. */
static bool drop_text(struct cache *c, const struct conf_invalidation *conf,
		      const struct conf_template *t, enum shm_cache_what what,
		      struct conf_values *v)
{
	char room[SHM_CACHE_PATTERN_MAX];
	struct http_out o = {.p = room, .cap = sizeof(room)};
	bool glob = what == SHM_CACHE_PATTERN || conf->cascade;

	(void)conf_template_put(t, glob, conf_request_value, v, &o);
	if (conf->cascade)
		(void)status_cache_widen(&o);
	if (o.len == 0)
		return true;
	if (o.over)
		return false;
	if (glob)
		status_cache_drop(c->shm, c->slot, (struct slice){room, o.len});
	else
		(void)shm_cache_invalidate(c->shm, c->slot, what, (struct slice){room, o.len});
	return true;
}

/* A value that is too long to be named must not leave old answers behind. */
static void drop_for(struct cache *c, const struct conf_invalidation *conf, struct conf_values *v)
{
	bool fits = true;

	for (size_t i = 0; i < conf->npatterns; i++)
		fits &= drop_text(c, conf, &conf->pattern[i], SHM_CACHE_PATTERN, v);
	for (size_t i = 0; i < conf->ntags; i++)
		fits &= drop_text(c, conf, &conf->tag[i], SHM_CACHE_TAG, v);
	if (!fits) {
		log_warnx("cache: the rule %s names more than %u bytes: all is dropped", conf->name,
			  SHM_CACHE_PATTERN_MAX);
		(void)shm_cache_invalidate(c->shm, c->slot, SHM_CACHE_ALL, SLICE(""));
	}
}

static void drop_all(struct cache *c, struct request *r, bool async)
{
	const struct http_request *head = request_head(r);
	struct http_match m;
	struct conf_values v = {head, &m};

	for (const struct drop_when *w = c->whens; w; w = w->next)
		if (w->conf->async == async &&
		    http_router_match(w->router, head->method, head->method_text,
				      request_path(r), 0, &m))
			drop_for(c, w->conf, &v);
}

static void on_head(struct request_tap *t, struct request *r, struct request_view *v)
{
	struct drop *d = (struct drop *)(void *)t;

	d->done_well = v->status >= 200 && v->status < 400;
	if (d->done_well)
		drop_all(d->c, r, false);
}

static void on_end(struct request_tap *t, struct request *r, bool whole)
{
	struct drop *d = (struct drop *)(void *)t;

	(void)whole; /* it has been done, whether the client was told or not */
	if (d->done_well)
		drop_all(d->c, r, true);
}

bool drop_watch(struct cache *c, struct request *r)
{
	const struct http_request *head = request_head(r);
	const struct drop_when *w = c->whens;
	struct http_match m;
	struct drop *d;

	while (w && !http_router_match(w->router, head->method, head->method_text,
				       request_path(r), 0, &m))
		w = w->next;
	if (!w)
		return true;
	d = request_alloc(r, sizeof(*d));
	if (!d) {
		request_problem(r, 503, "No memory for the request.");
		return false;
	}
	d->tap.head = on_head;
	d->tap.end = on_end;
	d->c = c;
	request_tap(r, &d->tap);
	return true;
}

/* ---- set up ---- */

int drop_compile(struct cache *c)
{
	const struct conf_cache *conf = &c->h->conf->policy->cache;

	for (size_t i = 0; i < conf->ninvalidations && c->object_max > 0; i++)
		for (size_t k = 0; k < conf->invalidation[i].nwhen; k++) {
			struct drop_when *w = calloc(1, sizeof(*w));

			if (!w) {
				log_errx("no memory for the cache");
				return -1;
			}
			w->conf = &conf->invalidation[i];
			w->next = c->whens;
			c->whens = w;
			w->router = rule_router(slice_of(w->conf->when[k].method),
						w->conf->when[k].pattern, w, w->conf->place);
			if (!w->router)
				return -1;
		}
	return 0;
}

void drop_free(struct cache *c)
{
	while (c->whens) {
		struct drop_when *w = c->whens;

		c->whens = w->next;
		http_router_free(w->router);
		free(w);
	}
}
