/* SPDX-License-Identifier: MIT */
/* The cache of routes, and the section cache: with what is dropped after which requests. */
#include "conf/policy_priv.h"
#include "http/router.h"

/* ---- the cache of a route ---- */

static bool has_key(const struct conf_cache_rule *rule, enum conf_key_kind kind)
{
	for (size_t i = 0; i < rule->nkeys; i++)
		if (rule->key[i].kind == kind)
			return true;
	return false;
}

/* Without the path it is one answer for all that the pattern matches: seldom meant. */
static void check_key(struct conf_policy_reader *r, const struct conf_at *at,
		      const struct conf_cache_rule *rule, const char *pattern)
{
	if (has_key(rule, CONF_KEY_QUERY) && has_key(rule, CONF_KEY_ARGUMENT))
		conf_refuse(&r->y, at, "has query, and so all of its arguments: leave out query or "
			    "query:NAME");
	if (!has_key(rule, CONF_KEY_PATH) && (!pattern || strpbrk(pattern, "{*")))
		conf_note(r->ld->report, "%s: the key of the cache has no path: all paths of %s "
			  "get the same answer", conf_place_of(&r->y, at),
			  pattern ? pattern : "a route");
}

static void read_key(struct conf_policy_reader *r, const struct conf_at *at,
		     struct conf_cache_rule *rule, const char *pattern)
{
	rule->key_given = at->n;
	if (!at->n) {
		rule->key[rule->nkeys++].kind = CONF_KEY_PATH;
		rule->key[rule->nkeys++].kind = CONF_KEY_QUERY;
		return;
	}
	if (!conf_is_list(&r->y, at, CONF_CACHE_KEYS_MAX))
		return;
	if (conf_count(at) == 0) {
		conf_refuse(&r->y, at, "has no items; leave it out for [path, query]");
		return;
	}
	for (size_t i = 0; i < conf_count(at); i++) {
		struct conf_at item = conf_item(&r->y, at, i);

		if (!conf_is_scalar(&r->y, &item))
			continue;
		if (slice_eq(conf_yaml_scalar(item.n), SLICE("host")))
			conf_refuse(&r->y, &item, "host is always part of the key, without being "
				    "named");
		else
			conf_read_key_part(r, &item, &conf_cache_keys, rule->key, &rule->nkeys);
	}
	check_key(r, at, rule, pattern);
}

/* False, which is told: no status, one that is there already, or one that cannot be kept: a 206 is
 * a piece of an answer, a 304 none at all. */
static bool read_status(struct conf_policy_reader *r, const struct conf_at *at,
			const struct conf_cache_rule *rule, uint16_t *ret)
{
	static const struct conf_row status = {.type = CONF_T_INT, .min = 200, .max = 599};
	struct strbuf why;
	int64_t n;

	if (!conf_is_scalar(&r->y, at))
		return false;
	strbuf_init(&why);
	if (!conf_number_parse(&status, conf_yaml_scalar(at->n), &n, &why)) {
		conf_refuse_text(&r->y, at, "%s", why.p ? why.p : "");
		strbuf_fini(&why);
		return false;
	}
	if (n == 206 || n == 304) {
		conf_refuse(&r->y, at, "%d is not a whole answer, and is never kept", (int)n);
		return false;
	}
	for (size_t i = 0; i < rule->nstatuses; i++)
		if (rule->status[i] == n) {
			conf_refuse_text(&r->y, at, "is in the list twice");
			return false;
		}
	*ret = (uint16_t)n;
	return true;
}

static void read_statuses(struct conf_policy_reader *r, const struct conf_at *at,
			  struct conf_cache_rule *rule)
{
	if (!at->n) {
		rule->status[rule->nstatuses++] = 200;
		return;
	}
	if (!conf_is_list(&r->y, at, CONF_CACHE_STATUSES_MAX))
		return;
	if (conf_count(at) == 0)
		conf_refuse(&r->y, at, "has no items; leave it out for [200]");
	for (size_t i = 0; i < conf_count(at); i++) {
		struct conf_at item = conf_item(&r->y, at, i);

		rule->nstatuses += read_status(r, &item, rule, &rule->status[rule->nstatuses]);
	}
}

static void read_max_object(struct conf_policy_reader *r, const struct conf_members *m,
			    struct conf_cache_rule *rule)
{
	const struct conf_at *at = &m->at[CONF_K_CACHE_RULE_max_object];
	const struct conf *c = r->ld->conf;

	rule->max_object = (uint64_t)conf_number_of(&r->y, m, CONF_K_CACHE_RULE_max_object, 0);
	if (c->cache_bytes > 0 && rule->max_object > c->cache_bytes / 2)
		conf_refuse(&r->y, at, "is %llu, which is more than half of %s with %llu",
			    (unsigned long long)rule->max_object,
			    conf_whence(r->ld, CONF_R_CACHE_MEMORY),
			    (unsigned long long)c->cache_bytes);
}

static void read_rule(struct conf_policy_reader *r, const struct conf_at *at,
		      const struct conf_policy_route *route, struct conf_cache_rule *rule)
{
	const struct conf_template_scope scope = {.npatterns = route->pattern != NULL,
						  .pattern = &route->pattern};
	struct conf_members m;

	if (!conf_read_members(&r->y, at, CONF_G_CACHE_RULE, CONF_G_CACHE_RULE, &m))
		return;
	rule->place = conf_place_of(&r->y, at);
	rule->ttl_ms = (uint64_t)conf_number_of(&r->y, &m, CONF_K_CACHE_RULE_ttl,
						r->ld->conf->s.cache_ttl);
	rule->stale_ms = (uint64_t)conf_number_of(&r->y, &m, CONF_K_CACHE_RULE_stale, 0);
	read_key(r, &m.at[CONF_K_CACHE_RULE_key], rule, route->pattern);
	rule->tag = conf_read_templates(r, &m.at[CONF_K_CACHE_RULE_tags], CONF_CACHE_TAGS_MAX,
					&scope, &rule->ntags);
	read_statuses(r, &m.at[CONF_K_CACHE_RULE_statuses], rule);
	read_max_object(r, &m, rule);
}

static bool takes_get(const struct conf_policy_route *route)
{
	for (size_t i = 0; i < route->nmethods; i++)
		if (strcmp(route->method[i], "GET") == 0 || strcmp(route->method[i], "HEAD") == 0)
			return true;
	return route->nmethods == 0;
}

void conf_route_cache(struct conf_policy_reader *r, const struct conf_at *at,
		      struct conf_policy_route *route)
{
	if (!at->n) {
		if (!takes_get(route))
			route->cache = NULL;
		return;
	}
	route->cache = NULL;
	if (at->n->type == YAML_SCALAR_NODE) {
		if (!slice_eq_nocase(conf_yaml_scalar(at->n), SLICE("off")))
			conf_refuse_text(&r->y, at, "is not off, and not a mapping such as {ttl: "
					 "60s}; {} is a cache with the defaults");
		return;
	}
	if (!takes_get(route))
		conf_refuse(&r->y, at, "is for GET and HEAD, and methods has neither");
	route->cache = conf_alloc(r->ld->conf, sizeof(*route->cache));
	if (route->cache)
		read_rule(r, at, route, route->cache);
	else
		r->ld->no_memory = true;
}

/* ---- what is dropped after which requests ---- */

/* "POST /drafts/{id}", a request that no other text of the list is for, too. */
static bool read_when(struct conf_policy_reader *r, const struct conf_at *at,
		      struct http_router *router, struct conf_invalidation *inv)
{
	const char *text = conf_string_of(&r->y, at), *blank, *near;
	struct slice method, pattern;
	char why[512];

	if (!text)
		return false;
	blank = strchr(text, ' ');
	if (!blank || blank[1] != '/') {
		conf_refuse_text(&r->y, at, "is not a method, a blank and a pattern, such as POST "
				 "/drafts/{id}");
		return false;
	}
	method = (struct slice){text, (size_t)(blank - text)};
	pattern = slice_of(blank + 1);
	if (!conf_is_method(method, &near)) {
		conf_refuse_near(&r->y, at, "begins with no method", near);
		return false;
	}
	for (size_t i = 0; i < inv->nwhen; i++)
		if (slice_eq(slice_of(inv->when[i].method), method) &&
		    conf_same_pattern(inv->when[i].pattern, pattern.p)) {
			conf_refuse_text(&r->y, at, "is in the list twice");
			return false;
		}
	if (http_router_add(router, method, pattern, inv, why, sizeof(why))) {
		conf_refuse(&r->y, at, "%s", why);
		return false;
	}
	inv->when[inv->nwhen].method = conf_text(r->ld, "%.*s", (int)method.len, method.p);
	inv->when[inv->nwhen++].pattern = pattern.p;
	return true;
}

/* False: not all of them can be used, which is told. */
static bool read_whens(struct conf_policy_reader *r, const struct conf_at *at,
		       struct conf_invalidation *inv)
{
	struct http_router *router;
	size_t n;

	if (!conf_is_list(&r->y, at, CONF_WHEN_MAX))
		return false;
	n = conf_count(at);
	if (n == 0)
		conf_refuse(&r->y, at, "has no items");
	if (n == 0 || http_router_new(&router)) {
		r->ld->no_memory |= n > 0;
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		struct conf_at item = conf_item(&r->y, at, i);

		(void)read_when(r, &item, router, inv);
	}
	http_router_free(router);
	return inv->nwhen == n;
}

static void read_drops(struct conf_policy_reader *r, const struct conf_at *at,
		       const struct conf_members *m, struct conf_invalidation *inv)
{
	const struct conf_at *patterns = &m->at[CONF_K_INVALIDATE_patterns];
	const struct conf_at *tags = &m->at[CONF_K_INVALIDATE_tags];
	const char *when[CONF_WHEN_MAX];
	struct conf_template_scope scope = {.npatterns = inv->nwhen, .pattern = when, .any = true};
	size_t before = r->ld->report->nerrors;

	for (size_t i = 0; i < inv->nwhen; i++)
		when[i] = inv->when[i].pattern;
	inv->pattern = conf_read_templates(r, patterns, CONF_INVALIDATION_TEMPLATES_MAX, &scope,
					   &inv->npatterns);
	scope.any = false;
	inv->tag = conf_read_templates(r, tags, CONF_INVALIDATION_TEMPLATES_MAX, &scope,
				       &inv->ntags);
	if (inv->npatterns + inv->ntags == 0 && r->ld->report->nerrors == before)
		conf_refuse(&r->y, at, "drops nothing: it needs patterns, tags or both");
}

static void read_invalidation(struct conf_policy_reader *r, const struct conf_at *at)
{
	struct conf_cache *cache = &r->p->cache;
	struct conf_invalidation *inv = &cache->invalidation[cache->ninvalidations];
	const struct conf_at *when;
	struct conf_members m;

	*inv = (struct conf_invalidation){.place = conf_place_of(&r->y, at)};
	if (!conf_read_members(&r->y, at, CONF_G_INVALIDATE, CONF_G_INVALIDATE, &m))
		return;
	inv->name = conf_read_name(r, at, &m.at[CONF_K_INVALIDATE_name]);
	for (size_t i = 0; inv->name && i < cache->ninvalidations; i++)
		if (strcmp(cache->invalidation[i].name, inv->name) == 0)
			conf_refuse_text(&r->y, &m.at[CONF_K_INVALIDATE_name], "is the name of the "
					 "one at %s already", cache->invalidation[i].place);
	inv->cascade = conf_number_of(&r->y, &m, CONF_K_INVALIDATE_cascade, false);
	inv->async = conf_number_of(&r->y, &m, CONF_K_INVALIDATE_async, false);
	when = &m.at[CONF_K_INVALIDATE_when];
	if (!when->n)
		conf_refuse(&r->y, at, "needs when, a list of texts such as POST /drafts/{id}");
	else if (read_whens(r, when, inv))
		read_drops(r, at, &m, inv);
	cache->ninvalidations += inv->name != NULL;
}

static void read_invalidations(struct conf_policy_reader *r, const struct conf_at *at)
{
	struct conf_cache *cache = &r->p->cache;

	if (!at->n || !conf_is_list(&r->y, at, CONF_INVALIDATIONS_MAX))
		return;
	cache->invalidation = conf_alloc(r->ld->conf, conf_count(at) *
					 sizeof(*cache->invalidation));
	if (!cache->invalidation) {
		r->ld->no_memory = true;
		return;
	}
	for (size_t i = 0; i < conf_count(at) && !conf_policy_over(r); i++) {
		struct conf_at item = conf_item(&r->y, at, i);

		read_invalidation(r, &item);
	}
}

/* ---- the section ---- */

const char *conf_read_name(struct conf_policy_reader *r, const struct conf_at *at,
			   const struct conf_at *name)
{
	if (!name->n) {
		conf_refuse(&r->y, at, "needs a name");
		return NULL;
	}
	if (!conf_is_scalar(&r->y, name) || !conf_policy_name(r, name))
		return NULL;
	return conf_string_of(&r->y, name);
}

void conf_policy_cache(struct conf_policy_reader *r, const struct conf_at *at)
{
	struct conf_members m;

	(void)conf_read_members(&r->y, at, CONF_G_CACHE, CONF_G_CACHE, &m);
	r->p->cache.warmup_concurrency =
		(uint32_t)conf_number_of(&r->y, &m, CONF_K_CACHE_warmup_concurrency, 2);
	conf_cache_warmups(r, &m.at[CONF_K_CACHE_warmup]);
	read_invalidations(r, &m.at[CONF_K_CACHE_invalidate]);
}
