/* SPDX-License-Identifier: MIT */
/* Routes of the configuration, compiled at the start of a worker and matched without allocation. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "admit/admit_priv.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "shm/declare.h"

static bool find_limit(const struct admit *a, const struct conf_rate *c, struct limit *ret)
{
	ret->conf = c;
	ret->index = shm_rate_find(a->shm, c->name, a->h->generation);
	if (ret->index != UINT32_MAX)
		return true;
	log_errx("the rate limit \"%s\" is not in the segment", c->name);
	return false;
}

static int compile_rule(struct admit *a, const struct conf_policy_route *c, struct rule *ret)
{
	const struct conf_policy *p = a->conf->policy;

	ret->conf = c;
	ret->rules = (struct request_rules){
		.timeout_ns = c->timeout_ms * NS_PER_MS,
		.stream_idle_ns = c->stream_idle_ms * NS_PER_MS,
		.body_max = c->body_max,
	};
	for (size_t i = 0; i < c->nrates; i++)
		if (!find_limit(a, &p->rate[c->rate[i]], &ret->limit[ret->nlimits++]))
			return -1;
	if (c->name) {
		int rc = declare_route(a->h, c->name, &ret->rules.label);

		if (rc != 0) {
			errno = -rc;
			log_err("%s: cannot enter the route \"%s\"", c->place, c->name);
			return -1;
		}
	}
	return cache_compile(a->cache, c, &ret->cache);
}

static int add(struct http_router *router, const struct conf_policy_route *c, const char *pattern,
	       const char *place, void *target)
{
	struct strbuf methods;
	char why[300];
	int rc;

	strbuf_init(&methods);
	for (size_t i = 0; c && i < c->nmethods; i++)
		strbuf_printf(&methods, "%s%s", i > 0 ? "," : "", c->method[i]);
	rc = methods.failed ? -1 : http_router_add(router, (struct slice){methods.p, methods.len},
						   slice_of(pattern), target, why, sizeof(why));
	if (rc != 0)
		log_errx("%s: %s", place, methods.failed ? "no memory" : why);
	strbuf_fini(&methods);
	return rc;
}

static struct path_table *table_of(struct admit *a, const char *policy)
{
	struct path_table *t = a->tables;

	while (t && strcmp(t->policy, policy) != 0)
		t = t->next;
	if (t)
		return t;
	t = calloc(1, sizeof(*t));
	if (!t || http_router_new(&t->router) != 0) {
		log_errx("no memory for the rate limits");
		free(t);
		return NULL;
	}
	t->policy = policy;
	t->next = a->tables;
	a->tables = t;
	return t;
}

static int compile_tables(struct admit *a)
{
	const struct conf_policy *p = a->conf->policy;

	a->table_limits = calloc(p->nrates + 1, sizeof(a->table_limits[0]));
	if (!a->table_limits)
		return -1;
	for (size_t i = 0; i < p->nrates; i++) {
		const struct conf_rate *c = &p->rate[i];
		struct path_table *t;

		if (!c->path)
			continue;
		t = table_of(a, c->policy);
		if (!t || !find_limit(a, c, &a->table_limits[i]) ||
		    add(t->router, NULL, c->path, c->place, &a->table_limits[i]) != 0)
			return -1;
	}
	return 0;
}

int policy_compile(struct admit *a)
{
	const struct conf_policy *p = a->conf->policy;

	a->rules = calloc(p->nroutes + 1, sizeof(a->rules[0]));
	if (!a->rules || http_router_new(&a->router) != 0) {
		log_errx("no memory for the routes");
		return -1;
	}
	if (compile_rule(a, &p->defaults, &a->defaults) != 0)
		return -1;
	for (size_t i = 0; i < p->nroutes; i++) {
		const struct conf_policy_route *c = &p->route[i];
		struct rule *rule = &a->rules[a->nrules++];

		if (compile_rule(a, c, rule) != 0 ||
		    add(a->router, c, c->pattern, c->place, rule) != 0)
			return -1;
	}
	return compile_tables(a);
}

void policy_free(struct admit *a)
{
	while (a->tables) {
		struct path_table *t = a->tables;

		a->tables = t->next;
		http_router_free(t->router);
		free(t);
	}
	http_router_free(a->router);
	free(a->table_limits);
	free(a->rules);
}

void policy_find(const struct admit *a, struct request *r, struct match *ret)
{
	const struct http_request *head = request_head(r);
	struct slice path = request_path(r);
	struct http_match m;

	ret->rule = &a->defaults;
	if (a->nrules > 0 &&
	    http_router_match(a->router, head->method, head->method_text, path, 0, &m))
		ret->rule = m.target;
	ret->nlimits = 0;
	for (uint32_t i = 0; i < ret->rule->nlimits; i++)
		ret->limit[ret->nlimits++] = &ret->rule->limit[i];
	for (const struct path_table *t = a->tables; t && ret->nlimits < SHM_RATE_USES; t = t->next)
		if (http_router_match(t->router, head->method, head->method_text, path, 0, &m))
			ret->limit[ret->nlimits++] = m.target;
}
