/* SPDX-License-Identifier: MIT */
/*
 * The sections defaults and routes. Patterns and methods are judged by a router that is built for
 * it alone, so that what is accepted here is what can be matched later.
 */
#include "conf/policy_priv.h"
#include "http/router.h"

#define METHODS_MAX 32
#define NAMES_MAX (CONF_SEMAPHORES_MAX + CONF_RATES_MAX)

/* ---- lists of names ---- */

static void refuse_semaphore(struct conf_policy_reader *r, const struct conf_at *at)
{
	const char *words[NAMES_MAX + 1] = {NULL};

	for (size_t i = 0; i < r->p->nsems; i++)
		words[i] = r->p->sem[i].name;
	conf_refuse_name(&r->y, at, "is no semaphore", words);
}

/* Index of the semaphore that `at` names, or -1 after telling what is wrong. */
static int find_semaphore(struct conf_policy_reader *r, const struct conf_at *at,
			  const struct conf_policy_route *route)
{
	int sem;

	if (!conf_is_scalar(&r->y, at))
		return -1;
	sem = conf_find_semaphore(r->p, conf_yaml_scalar(at->n));
	if (sem < 0) {
		refuse_semaphore(r, at);
		return -1;
	}
	if (sem == CONF_SEM_GLOBAL) {
		conf_refuse_text(&r->y, at, "is taken by every request, last of all, without being "
				 "named");
		return -1;
	}
	for (size_t i = 0; i < route->nsems; i++)
		if (route->sem[i].sem == sem) {
			conf_refuse_text(&r->y, at, "is in the list twice");
			return -1;
		}
	return sem;
}

static void warn_of_weight(struct conf_policy_reader *r, const struct conf_at *at,
			   const struct conf_semaphore *s, uint32_t weight)
{
	if (s->limit > 0 && weight > s->limit)
		conf_note(r->ld->report, "%s: a request takes %u permits of the semaphore %s, whose "
			  "limit is %u: as long as that is so, it is never admitted",
			  conf_place_of(&r->y, at), weight, s->name, s->limit);
}

/* NAME, or {name: NAME, weight: N}. */
static void read_semaphore(struct conf_policy_reader *r, const struct conf_at *at,
			   struct conf_policy_route *route)
{
	const struct conf_at *name = at, *weight_at = NULL;
	struct conf_members m;
	uint32_t weight = 1;
	int sem;

	if (at->n->type == YAML_MAPPING_NODE) {
		if (!conf_read_members(&r->y, at, CONF_G_TAKE, CONF_G_TAKE, &m))
			return;
		name = &m.at[CONF_K_TAKE_name];
		weight_at = &m.at[CONF_K_TAKE_weight];
		weight = (uint32_t)conf_number_of(&r->y, &m, CONF_K_TAKE_weight, 1);
		if (!name->n) {
			conf_refuse(&r->y, at, "needs the name of a semaphore");
			return;
		}
	}
	sem = find_semaphore(r, name, route);
	if (sem < 0)
		return;
	if (weight > r->p->sem[sem].limit_max)
		conf_refuse(&r->y, weight_at, "is %u, which is more than limit_max of %s with %u",
			    weight, r->p->sem[sem].name, r->p->sem[sem].limit_max);
	else
		warn_of_weight(r, at, &r->p->sem[sem], weight);
	route->sem[route->nsems].sem = (uint16_t)sem;
	route->sem[route->nsems++].weight = (uint16_t)weight;
}

static void read_semaphores(struct conf_policy_reader *r, const struct conf_at *at,
			    struct conf_policy_route *route)
{
	size_t n = 0;

	if (!at->n)
		return;
	route->nsems = 0;
	if (conf_is_list(&r->y, at, CONF_ROUTE_SEMAPHORES_MAX))
		n = conf_count(at);
	for (size_t i = 0; i < n; i++) {
		struct conf_at item = conf_item(&r->y, at, i);

		read_semaphore(r, &item, route);
	}
	route->sem[route->nsems].sem = CONF_SEM_GLOBAL;
	route->sem[route->nsems++].weight = 1;
}

static void refuse_rate(struct conf_policy_reader *r, const struct conf_at *at)
{
	const char *words[NAMES_MAX + 1] = {NULL};
	size_t n = 0;

	for (size_t i = 0; i < r->p->nrates; i++)
		if (!r->p->rate[i].path && (int)i != r->p->client_rate)
			words[n++] = r->p->rate[i].policy;
	conf_refuse_name(&r->y, at, "is no rate limit", words);
}

static int find_rate(struct conf_policy_reader *r, const struct conf_at *at,
		     const struct conf_policy_route *route)
{
	bool twice = false;
	int rate;

	if (!conf_is_scalar(&r->y, at))
		return -1;
	rate = conf_find_rate(r->p, conf_yaml_scalar(at->n));
	for (size_t i = 0; i < route->nrates; i++)
		twice |= route->rate[i] == rate;
	if (slice_eq(conf_yaml_scalar(at->n), SLICE("client")))
		conf_refuse_text(&r->y, at, "holds on every route if ENABLE_RATE_LIMITING is on, "
				 "without being named");
	else if (rate < 0)
		refuse_rate(r, at);
	else if (r->p->rate[rate].path)
		conf_refuse_text(&r->y, at, "holds on its paths without being named, and nowhere "
				 "else");
	else if (twice)
		conf_refuse_text(&r->y, at, "is in the list twice");
	else
		return rate;
	return -1;
}

static void read_rates(struct conf_policy_reader *r, const struct conf_at *at,
		       struct conf_policy_route *route)
{
	size_t n = 0;

	if (!at->n)
		return;
	route->nrates = 0;
	if (conf_is_list(&r->y, at, CONF_ROUTE_RATES_MAX))
		n = conf_count(at);
	for (size_t i = 0; i < n; i++) {
		struct conf_at item = conf_item(&r->y, at, i);
		int rate = find_rate(r, &item, route);

		if (rate >= 0)
			route->rate[route->nrates++] = (uint16_t)rate;
	}
	if (r->p->client_rate >= 0)
		route->rate[route->nrates++] = (uint16_t)r->p->client_rate;
}

/* ---- what routes and defaults have in common ---- */

static void read_priority_header(struct conf_policy_reader *r, const struct conf_at *at,
				 struct conf_priority *ret)
{
	const struct conf_at *header;
	struct conf_members m;

	if (!conf_read_members(&r->y, at, CONF_G_PRIORITY, CONF_G_PRIORITY, &m))
		return;
	header = &m.at[CONF_K_PRIORITY_header];
	ret->header = conf_string_of(&r->y, header);
	if (!header->n)
		conf_refuse(&r->y, at, "needs the name of a header, or is one of high, medium, low");
	else if (ret->header && !http_token_ok(slice_of(ret->header)))
		conf_refuse_text(&r->y, header, "is no name of a header");
	ret->from = conf_number_of(&r->y, &m, CONF_K_PRIORITY_from, 0) == 1 ? CONF_PRIORITY_ANY
									    : CONF_PRIORITY_TRUSTED;
	ret->class = (enum conf_class)conf_number_of(&r->y, &m, CONF_K_PRIORITY_default,
						     CONF_CLASS_MEDIUM);
}

static void read_priority(struct conf_policy_reader *r, const struct conf_at *at,
			  struct conf_priority *ret)
{
	static const struct conf_row class = {.type = CONF_T_CLASS};
	int64_t word = CONF_CLASS_MEDIUM;
	struct strbuf why;

	if (!at->n)
		return;
	*ret = (struct conf_priority){.class = CONF_CLASS_MEDIUM};
	if (at->n->type == YAML_MAPPING_NODE) {
		read_priority_header(r, at, ret);
		return;
	}
	if (!conf_is_scalar(&r->y, at))
		return;
	strbuf_init(&why);
	if (!conf_number_parse(&class, conf_yaml_scalar(at->n), &word, &why))
		conf_refuse_text(&r->y, at, "%s", why.p ? why.p : "");
	strbuf_fini(&why);
	ret->class = (enum conf_class)word;
}

/* A key that is there replaces what `route` has. */
static void read_policy(struct conf_policy_reader *r, const struct conf_members *m,
			struct conf_policy_route *route)
{
	const struct conf_yaml *y = &r->y;

	read_semaphores(r, &m->at[CONF_K_POLICY_semaphores], route);
	read_rates(r, &m->at[CONF_K_POLICY_rate_limits], route);
	read_priority(r, &m->at[CONF_K_POLICY_priority], &route->priority);
	route->timeout_ms = (uint64_t)conf_number_of(y, m, CONF_K_POLICY_timeout,
						     (int64_t)route->timeout_ms);
	route->stream_idle_ms = (uint64_t)conf_number_of(y, m, CONF_K_POLICY_stream_idle_timeout,
							 (int64_t)route->stream_idle_ms);
	route->body_max = (uint64_t)conf_number_of(y, m, CONF_K_POLICY_max_body,
						   (int64_t)route->body_max);
	route->access_status = conf_number_of(y, m, CONF_K_POLICY_access,
					      route->access_status) == 1;
}

static void read_defaults(struct conf_policy_reader *r, const struct conf_at *at)
{
	struct conf_policy_route *d = &r->p->defaults;
	struct conf_members m;

	*d = (struct conf_policy_route){
		.priority = {.class = CONF_CLASS_MEDIUM},
		.nsems = 1, .sem = {{.sem = CONF_SEM_GLOBAL, .weight = 1}},
		.place = at->n ? conf_place_of(&r->y, at) : "default",
	};
	if (r->p->client_rate >= 0)
		d->rate[d->nrates++] = (uint16_t)r->p->client_rate;
	(void)conf_read_members(&r->y, at, CONF_G_POLICY, CONF_G_POLICY, &m);
	read_policy(r, &m, d);
	conf_route_cache(r, &m.at[CONF_K_POLICY_cache], d);
}

/* ---- methods and patterns ---- */

bool conf_is_method(struct slice s, const char **ret_near)
{
	const char *words[HTTP_M_COUNT] = {NULL};

	*ret_near = NULL;
	for (int m = 1; m < HTTP_M_COUNT; m++) {
		words[m - 1] = http_method_name((enum http_method)m);
		if (slice_eq(slice_of(words[m - 1]), s))
			return true;
	}
	*ret_near = conf_nearest(s, words);
	return !*ret_near && http_token_ok(s) && !memchr(s.p, '*', s.len);
}

static bool check_method(struct conf_policy_reader *r, const struct conf_at *at,
			 const struct conf_policy_route *route)
{
	const char *near;
	struct slice s;

	if (!conf_is_scalar(&r->y, at))
		return false;
	s = conf_yaml_scalar(at->n);
	for (size_t i = 0; i < route->nmethods; i++)
		if (slice_eq(slice_of(route->method[i]), s)) {
			conf_refuse_text(&r->y, at, "is in the list twice");
			return false;
		}
	if (conf_is_method(s, &near))
		return true;
	conf_refuse_near(&r->y, at, "is no method", near);
	return false;
}

/* False if any of them is wrong: then nothing can be said of the pattern with them. */
static bool read_methods(struct conf_policy_reader *r, const struct conf_at *at,
			 struct conf_policy_route *route)
{
	size_t n;

	if (!at->n)
		return true;
	if (!conf_is_list(&r->y, at, METHODS_MAX))
		return false;
	n = conf_count(at);
	if (n == 0) {
		conf_refuse(&r->y, at, "has no items; leave it out for all methods");
		return false;
	}
	route->method = conf_alloc(r->ld->conf, n * sizeof(*route->method));
	if (!route->method) {
		r->ld->no_memory = true;
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		struct conf_at item = conf_item(&r->y, at, i);

		if (check_method(r, &item, route))
			route->method[route->nmethods++] =
				conf_text(r->ld, "%s", (const char *)item.n->data.scalar.value);
	}
	return route->nmethods == n;
}

/* A method that both have, "all methods" if both have all; NULL: none. */
static const char *common_method(const struct conf_policy_route *a,
				 const struct conf_policy_route *b)
{
	if (a->nmethods == 0 && b->nmethods == 0)
		return "all methods";
	if (a->nmethods == 0)
		return b->method[0];
	if (b->nmethods == 0)
		return a->method[0];
	for (size_t i = 0; i < a->nmethods; i++)
		for (size_t k = 0; k < b->nmethods; k++)
			if (strcmp(a->method[i], b->method[k]) == 0)
				return a->method[i];
	return NULL;
}

/* The router has refused a route: another one has it, or its pattern is none. */
static void refuse_pattern(struct conf_policy_reader *r, const struct conf_at *at,
			   const struct conf_policy_route *route, const char *why)
{
	const struct conf_policy_route *other = r->p->route;

	for (; other < r->p->route + r->p->nroutes; other++) {
		const char *method = common_method(route, other);

		if (method && conf_same_pattern(route->pattern, other->pattern)) {
			conf_refuse_text(&r->y, at, "with %s is there already, as \"%s\" at %s",
					 method, other->pattern, other->place);
			return;
		}
	}
	conf_refuse(&r->y, at, "%s", why);
}

static void add_pattern(struct conf_policy_reader *r, const struct conf_at *at,
			struct conf_policy_route *route)
{
	struct strbuf methods;
	char why[512];

	strbuf_init(&methods);
	for (size_t i = 0; i < route->nmethods; i++)
		strbuf_printf(&methods, "%s%s", i ? "," : "", route->method[i]);
	if (methods.failed)
		r->ld->no_memory = true;
	else if (http_router_add(r->router, (struct slice){methods.p, methods.len},
				 slice_of(route->pattern), route, why, sizeof(why)))
		refuse_pattern(r, at, route, why);
	strbuf_fini(&methods);
}

/* ---- routes ---- */

static void read_route(struct conf_policy_reader *r, const struct conf_at *at)
{
	struct conf_policy_route *route = &r->p->route[r->p->nroutes];
	struct conf_members m;
	bool methods;

	*route = r->p->defaults;
	route->place = conf_place_of(&r->y, at);
	if (!conf_read_members(&r->y, at, CONF_G_ROUTE, CONF_G_POLICY, &m))
		return;
	methods = read_methods(r, &m.at[CONF_K_ROUTE_methods], route);
	route->pattern = conf_string_of(&r->y, &m.at[CONF_K_ROUTE_path]);
	route->name = conf_string_of(&r->y, &m.at[CONF_K_ROUTE_name]);
	if (!route->name)
		route->name = route->pattern;
	else if (route->name[0] == '\0' || strlen(route->name) > CONF_ROUTE_NAME_MAX)
		conf_refuse(&r->y, &m.at[CONF_K_ROUTE_name], "has 1 to %d bytes",
			    CONF_ROUTE_NAME_MAX);
	if (!m.at[CONF_K_ROUTE_path].n)
		conf_refuse(&r->y, at, "needs a path");
	else if (route->pattern && methods)
		add_pattern(r, &m.at[CONF_K_ROUTE_path], route);
	read_policy(r, &m, route);
	if (route->pattern && methods) {
		conf_route_cache(r, &m.at[CONF_K_POLICY_cache], route);
		r->p->nroutes++;
	}
}

static void read_routes(struct conf_policy_reader *r, const struct conf_at *at)
{
	if (!at->n || !conf_is_list(&r->y, at, CONF_ROUTES_MAX) || conf_count(at) == 0)
		return;
	r->p->route = conf_alloc(r->ld->conf, conf_count(at) * sizeof(*r->p->route));
	if (!r->p->route || http_router_new(&r->router)) {
		r->ld->no_memory = true;
		return;
	}
	for (size_t i = 0; i < conf_count(at) && !conf_policy_over(r); i++) {
		struct conf_at item = conf_item(&r->y, at, i);

		read_route(r, &item);
	}
}

void conf_policy_routes(struct conf_policy_reader *r, const struct conf_at *defaults,
			const struct conf_at *routes)
{
	read_defaults(r, defaults);
	read_routes(r, routes);
	r->p->has_routes = defaults->n || r->p->nroutes > 0;
	for (size_t i = 0; i < r->p->nrates; i++)
		r->p->has_routes |= r->p->rate[i].path != NULL;
}
