/* SPDX-License-Identifier: MIT */
/* The module's routes: checked and compiled at the start, matched without allocation. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/app_priv.h"
#include "base/clock.h"
#include "base/log.h"
#include "shm/declare.h"

#define TIMEOUT_MAX_MS 86400000u

static int wrong(const struct app *a, const struct capri_route *given, const char *why)
{
	log_errx("APP: route \"%s\" of %s: %s", given->pattern ? given->pattern : "",
		 a->module.name, why);
	return -1;
}

static const char *unfit(const struct app *a, const struct capri_route *given)
{
	if (!a->starting)
		return "routes are added in start() only";
	if (!given->pattern || !given->handler)
		return "it needs a pattern and a handler";
	if (given->kind < CAPRI_INLINE || given->kind > CAPRI_ASYNC)
		return "its kind is none of CAPRI_INLINE, CAPRI_POOL and CAPRI_ASYNC";
	if (given->body < CAPRI_BODY_WHOLE || given->body > CAPRI_BODY_NONE)
		return "its body mode is none of CAPRI_BODY_WHOLE, _STREAM and _NONE";
	if (given->kind == CAPRI_INLINE && given->body == CAPRI_BODY_STREAM)
		return "an inline handler gets its body whole: make it CAPRI_ASYNC or CAPRI_POOL";
	if (given->kind == CAPRI_POOL && a->conf->s.thread_pool_size == 0)
		return "it needs threads, and THREAD_POOL_SIZE is 0";
	if (given->timeout_ms > TIMEOUT_MAX_MS)
		return "its timeout_ms is above a day";
	return NULL;
}

static struct route *make(struct app *a, const struct capri_route *given)
{
	struct route *rt = calloc(1, sizeof(*rt));
	char *pattern = strdup(given->pattern);
	char *name = strdup(given->name ? given->name : given->pattern);

	if (!rt || !pattern || !name) {
		free(rt);
		free(pattern);
		free(name);
		return NULL;
	}
	rt->pattern = pattern;
	rt->name = name;
	rt->handler = given->handler;
	rt->arg = given->arg;
	rt->kind = given->kind;
	rt->body = given->body;
	rt->timeout_ns = given->timeout_ms * NS_PER_MS;
	rt->body_max = given->body_max ? given->body_max
				       : (uint64_t)a->conf->s.client_max_body_size;
	return rt;
}

int app_route_add(struct app *a, const struct capri_route *given)
{
	const char *problem = unfit(a, given);
	char why[300];
	struct route *rt;
	int rc;

	if (problem)
		return wrong(a, given, problem);
	rt = make(a, given);
	if (!rt)
		return wrong(a, given, "no memory");
	rt->next = a->routes;
	a->routes = rt;
	if (strcmp(rt->pattern, "*") == 0) {
		if (a->catch_all)
			return wrong(a, given, "there can be one \"*\" only");
		if (given->methods && strcmp(given->methods, "*") != 0)
			return wrong(a, given, "\"*\" is for every method; \"/*\" has methods");
		a->catch_all = rt;
	} else if (http_router_add(a->router, slice_of(given->methods), slice_of(rt->pattern), rt,
				   why, sizeof(why)) != 0) {
		return wrong(a, given, why);
	}
	rc = declare_route(a->h, rt->name, &rt->label);
	if (rc == -EINVAL)
		return wrong(a, given, "its name must be printable ASCII");
	if (rc != 0) {
		errno = -rc;
		log_err("APP: cannot enter the route \"%s\"", rt->name);
		return -1;
	}
	return 0;
}

const struct route *app_route_find(const struct app *a, const struct http_request *head,
				   struct slice path, uint32_t skip, struct http_match *m)
{
	if (http_router_match(a->router, head->method, head->method_text, path, skip, m))
		return m->target;
	m->nparams = 0;
	if (!a->catch_all)
		return NULL;
	/* It is the last one: asked when all others that match have been. */
	if (skip == 0 || http_router_match(a->router, head->method, head->method_text, path,
					   skip - 1, m)) {
		m->nparams = 0;
		return a->catch_all;
	}
	return NULL;
}

uint32_t app_route_label(const struct app *a, struct slice path)
{
	static const enum http_method usual[] = {
		HTTP_M_GET, HTTP_M_POST, HTTP_M_PUT, HTTP_M_DELETE, HTTP_M_PATCH, HTTP_M_HEAD,
		HTTP_M_OPTIONS,
	};
	struct http_match m;

	for (size_t i = 0; i < sizeof(usual) / sizeof(usual[0]); i++)
		if (http_router_match(a->router, usual[i], (struct slice){NULL, 0}, path, 0, &m))
			return ((const struct route *)m.target)->label;
	return 0;
}

void app_routes_free(struct app *a)
{
	while (a->routes) {
		struct route *rt = a->routes;

		a->routes = rt->next;
		free((char *)(uintptr_t)rt->pattern);
		free((char *)(uintptr_t)rt->name);
		free(rt);
	}
	http_router_free(a->router);
}
