/* SPDX-License-Identifier: MIT */
/*
 * What finding a route costs: nanoseconds for a single "*" route, for some literal ones, and for
 * the patterns of a small API. Prints the best of many short runs, so that other load on the
 * machine disturbs little.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "http/router.h"

#define RUNS 2000
#define ROUNDS 1000

static const char *const any[] = { "/*", NULL };
static const char *const literals[] = {
	"/", "/health", "/api/users", "/api/items", "/api/orders", "/login", "/logout", "/about",
	NULL,
};
static const char *const api[] = {
	"/", "/users", "/users/{id}", "/users/{id}/posts", "/users/{id}/posts/{post}", "/items",
	"/items/{id}", "/files/*", "/orders/{id}", "/orders/{id}/lines/{n}", NULL,
};

static const struct {
	const char *name;
	const char *const *patterns;
	const char *path;
} cases[] = {
	{ "any", any, "/" },
	{ "any", any, "/shop/items/42" },
	{ "literals", literals, "/api/orders" },
	{ "literals", literals, "/api/nothing" },
	{ "api", api, "/users" },
	{ "api", api, "/users/42" },
	{ "api", api, "/users/42/posts/7" },
	{ "api", api, "/files/css/site.css" },
	{ "api", api, "/nothing/here" },
};

static struct http_router *build(const char *const *patterns)
{
	struct http_router *r;
	char why[200];

	if (http_router_new(&r))
		exit(1);
	for (; *patterns; patterns++) {
		if (http_router_add(r, SLICE("GET"), slice_of(*patterns), NULL, why, sizeof(why))) {
			fprintf(stderr, "http_router: %s\n", why);
			exit(1);
		}
	}
	return r;
}

static double best_ns(const struct http_router *r, struct slice path)
{
	uint64_t best = UINT64_MAX;
	struct http_match m;

	for (int run = 0; run < RUNS; run++) {
		uint64_t start = clock_mono_ns(), took;

		for (int i = 0; i < ROUNDS; i++) {
			(void)http_router_match(r, HTTP_M_GET, SLICE("GET"), path, 0, &m);
			__asm__ volatile("" : : "r"(&m) : "memory"); /* the result is used */
		}
		took = clock_mono_ns() - start;
		best = took < best ? took : best;
	}
	return (double)best / ROUNDS;
}

int main(void)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct http_router *r = build(cases[i].patterns);

		printf("%-10s %-22s %7.1f ns\n", cases[i].name, cases[i].path,
		       best_ns(r, slice_of(cases[i].path)));
		http_router_free(r);
	}
	return 0;
}
