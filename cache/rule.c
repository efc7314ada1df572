/* SPDX-License-Identifier: MIT */
/* What the configuration says of keeping the answers of a route, compiled. */
#include <stdlib.h>

#include "base/log.h"
#include "cache/cache_priv.h"

struct http_router *rule_router(struct slice methods, const char *pattern, void *target,
				const char *place)
{
	struct http_router *router = NULL;
	char why[300] = "no memory";

	if (http_router_new(&router) == 0 &&
	    http_router_add(router, methods, slice_of(pattern), target, why, sizeof(why)) == 0)
		return router;
	log_errx("%s: %s", place, why);
	http_router_free(router);
	return NULL;
}

static void read_key(struct cache_rule *rule)
{
	for (size_t i = 0; i < rule->conf->nkeys; i++) {
		const struct conf_key_part *p = &rule->conf->key[i];
		struct slice name = slice_of(p->name);

		rule->path |= p->kind == CONF_KEY_PATH;
		rule->query |= p->kind == CONF_KEY_QUERY;
		rule->names_cookie |= p->kind == CONF_KEY_COOKIE;
		if (p->kind == CONF_KEY_HEADER && slice_eq_nocase(name, SLICE("Cookie")))
			rule->names_cookie = true;
		if (p->kind == CONF_KEY_HEADER && slice_eq_nocase(name, SLICE("Authorization")))
			rule->names_auth = true;
	}
}

int cache_compile(struct cache *c, const struct conf_policy_route *route,
		  const struct cache_rule **ret)
{
	const struct conf_cache_rule *conf = route->cache;
	struct cache_rule *rule;

	*ret = NULL;
	if (!conf || c->object_max == 0)
		return 0;
	rule = calloc(1, sizeof(*rule));
	if (!rule) {
		log_errx("no memory for the cache of a route");
		return -1;
	}
	rule->next = c->rules;
	c->rules = rule;
	rule->cache = c;
	rule->conf = conf;
	rule->pattern = route->pattern ? route->pattern : "";
	rule->ttl_ns = conf->ttl_ms * NS_PER_MS;
	rule->stale_ns = conf->stale_ms * NS_PER_MS;
	rule->object_max = conf->max_object ? conf->max_object : c->h->conf->cache_object_max;
	if (rule->object_max > c->object_max)
		rule->object_max = c->object_max;
	read_key(rule);
	if (conf->ntags > 0 && route->pattern) {
		rule->router = rule_router(SLICE("*"), route->pattern, rule, conf->place);
		if (!rule->router)
			return -1;
	}
	*ret = rule;
	return 0;
}

void rule_free(struct cache *c)
{
	while (c->rules) {
		struct cache_rule *rule = c->rules;

		c->rules = rule->next;
		http_router_free(rule->router);
		free(rule);
	}
}
