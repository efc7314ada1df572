/* SPDX-License-Identifier: MIT */
/* The policy in --print-config: what holds for each route, defaults resolved and names in full. */
#include "conf/print_priv.h"

static const char *word(enum conf_type type, size_t i)
{
	return conf_type_words(type)[i];
}

static json_t *seconds(uint64_t ms)
{
	return ms % 1000 ? json_real((double)ms / 1000) : json_integer((json_int_t)(ms / 1000));
}

static void set(json_t *o, const char *key, json_t *value)
{
	json_object_set_new(o, key, value);
}

/* ---- semaphores ---- */

static json_t *semaphore(const struct conf_semaphore *s)
{
	json_t *o = json_object(), *classes = json_object();

	set(o, "limit", json_integer(s->limit));
	set(o, "limit_max", json_integer(s->limit_max));
	set(o, "queue", json_integer(s->queue));
	set(o, "queue_timeout", seconds(s->queue_timeout_ms));
	set(o, "hold", json_string(word(CONF_T_HOLD, s->hold_work)));
	for (size_t c = 0; c < CONF_CLASSES; c++)
		set(classes, word(CONF_T_CLASS, c),
		    json_pack("{s:i, s:i}", "weight", (int)s->class[c].weight, "queue",
			      (int)s->class[c].queue));
	set(o, "classes", classes);
	set(o, "place", conf_print_text(s->place));
	return o;
}

/* ---- rate limits ---- */

static json_t *keys(const struct conf_key_part *key, size_t n)
{
	json_t *list = json_array();
	char text[1024];

	for (size_t i = 0; i < n; i++) {
		snprintf(text, sizeof(text), "%s%s", conf_key_word(key[i].kind),
			 key[i].name ? key[i].name : "");
		json_array_append_new(list, conf_print_text(text));
	}
	return list;
}

static json_t *rate_keys(const struct conf_rate *r)
{
	if (r->nkeys == 0)
		return json_string("none");
	return r->key_all ? json_pack("{s:o}", "all", keys(r->key, r->nkeys))
			  : keys(r->key, r->nkeys);
}

static json_t *rate_limit(const struct conf_rate *r)
{
	static const struct { uint64_t seconds; char unit; } units[] = {
		{1, 's'}, {60, 'm'}, {3600, 'h'}, {86400, 'd'},
	};
	json_t *o = json_object();
	char text[40] = "";

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (units[i].seconds * 1000000000u == r->period_ns)
			snprintf(text, sizeof(text), "%u/%c", r->rate, units[i].unit);
	set(o, "algorithm", json_string(word(CONF_T_ALGORITHM, r->algorithm == CONF_RATE_WINDOW)));
	set(o, "rate", json_string(text));
	set(o, "burst", json_integer(r->burst));
	set(o, "key", rate_keys(r));
	if (r->nkeys > 0) {
		set(o, "entries", json_integer(r->entries));
		set(o, "when_full", json_string(word(CONF_T_WHEN_FULL, r->allow_when_full)));
	}
	set(o, "mode", json_string(word(CONF_T_RATE_MODE, r->shadow)));
	if (r->path)
		set(o, "path", conf_print_text(r->path));
	set(o, "place", conf_print_text(r->place));
	return o;
}

/* ---- the cache ---- */

static json_t *templates(const struct conf_template *t, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, conf_print_text(t[i].text));
	return list;
}

static json_t *cache_rule(const struct conf_cache_rule *c)
{
	json_t *o = json_object(), *statuses = json_array();

	for (size_t i = 0; i < c->nstatuses; i++)
		json_array_append_new(statuses, json_integer(c->status[i]));
	set(o, "ttl", seconds(c->ttl_ms));
	set(o, "stale", seconds(c->stale_ms));
	set(o, "key", keys(c->key, c->nkeys));
	set(o, "tags", templates(c->tag, c->ntags));
	set(o, "statuses", statuses);
	set(o, "max_object", c->max_object ? json_integer((json_int_t)c->max_object) : json_null());
	set(o, "place", conf_print_text(c->place));
	return o;
}

static json_t *warmup(const struct conf_warmup *w)
{
	json_t *o = json_object(), *urls = json_array();

	for (size_t i = 0; i < w->nurls; i++)
		json_array_append_new(urls, conf_print_text(w->url[i]));
	set(o, "name", json_string(w->name));
	set(o, "urls", urls);
	set(o, "schedule", conf_print_text(w->schedule));
	set(o, "priority", json_string(word(CONF_T_CLASS, w->class)));
	set(o, "host", w->host ? conf_print_text(w->host) : json_null());
	set(o, "place", conf_print_text(w->place));
	return o;
}

static json_t *invalidation(const struct conf_invalidation *inv)
{
	json_t *o = json_object(), *when = json_array();
	struct strbuf text;

	strbuf_init(&text);
	for (size_t i = 0; i < inv->nwhen; i++) {
		strbuf_clear(&text);
		strbuf_printf(&text, "%s %s", inv->when[i].method, inv->when[i].pattern);
		json_array_append_new(when, conf_print_text(text.p ? text.p : ""));
	}
	strbuf_fini(&text);
	set(o, "name", json_string(inv->name));
	set(o, "when", when);
	set(o, "patterns", templates(inv->pattern, inv->npatterns));
	set(o, "tags", templates(inv->tag, inv->ntags));
	set(o, "cascade", json_boolean(inv->cascade));
	set(o, "async", json_boolean(inv->async));
	set(o, "place", conf_print_text(inv->place));
	return o;
}

static json_t *cache(const struct conf_cache *c)
{
	json_t *warmups = json_array(), *invalidations = json_array();

	for (size_t i = 0; i < c->nwarmups; i++)
		json_array_append_new(warmups, warmup(&c->warmup[i]));
	for (size_t i = 0; i < c->ninvalidations; i++)
		json_array_append_new(invalidations, invalidation(&c->invalidation[i]));
	return json_pack("{s:i, s:o, s:o}", "warmup_concurrency", (int)c->warmup_concurrency,
			 "warmup", warmups, "invalidate", invalidations);
}

/* ---- routes ---- */

static json_t *priority(const struct conf_priority *p)
{
	const char *class = word(CONF_T_CLASS, p->class);

	if (p->from == CONF_PRIORITY_FIXED)
		return json_string(class);
	return json_pack("{s:o, s:s, s:s}", "header", conf_print_text(p->header), "from",
			 word(CONF_T_FROM, p->from == CONF_PRIORITY_ANY), "default", class);
}

static json_t *semaphores_of(const struct conf_policy *p, const struct conf_policy_route *r)
{
	json_t *list = json_array();

	for (size_t i = 0; i < r->nsems; i++)
		json_array_append_new(list, json_pack("{s:s, s:i}", "name",
						      p->sem[r->sem[i].sem].name, "weight",
						      (int)r->sem[i].weight));
	return list;
}

static json_t *route(const struct conf_policy *p, const struct conf_policy_route *r)
{
	json_t *o = json_object(), *methods = json_array(), *rates = json_array();

	for (size_t i = 0; i < r->nmethods; i++)
		json_array_append_new(methods, conf_print_text(r->method[i]));
	for (size_t i = 0; i < r->nrates; i++)
		json_array_append_new(rates, json_string(p->rate[r->rate[i]].name));
	if (r->pattern) {
		set(o, "path", conf_print_text(r->pattern));
		set(o, "name", conf_print_text(r->name));
		set(o, "methods", r->nmethods ? json_incref(methods) : json_null());
	}
	json_decref(methods);
	set(o, "semaphores", semaphores_of(p, r));
	set(o, "rate_limits", rates);
	set(o, "priority", priority(&r->priority));
	set(o, "timeout", r->timeout_ms ? seconds(r->timeout_ms) : json_null());
	set(o, "stream_idle_timeout", r->stream_idle_ms ? seconds(r->stream_idle_ms) : json_null());
	set(o, "max_body", r->body_max ? json_integer((json_int_t)r->body_max) : json_null());
	set(o, "access", json_string(word(CONF_T_ACCESS, r->access_status)));
	set(o, "cache", r->cache ? cache_rule(r->cache) : json_string("off"));
	set(o, "place", conf_print_text(r->place));
	return o;
}

json_t *conf_print_policy(const struct conf_policy *p)
{
	json_t *sems = json_object(), *rates = json_object(), *routes = json_array();

	for (size_t i = 0; i < p->nsems; i++)
		set(sems, p->sem[i].name, semaphore(&p->sem[i]));
	for (size_t i = 0; i < p->nrates; i++)
		set(rates, p->rate[i].name, rate_limit(&p->rate[i]));
	for (size_t i = 0; i < p->nroutes; i++)
		json_array_append_new(routes, route(p, &p->route[i]));
	return json_pack("{s:o, s:o, s:o, s:o, s:o}", "semaphores", sems, "rate_limits", rates,
			 "defaults", route(p, &p->defaults), "routes", routes, "cache",
			 cache(&p->cache));
}
