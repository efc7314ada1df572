/* SPDX-License-Identifier: MIT */
/*
 * A small module, made different by macros: broken ones (test_module_load.py), and generations of
 * one that can be told apart (test_module_reload.py).
 */
#include <capricorn.h>
#include <stdlib.h>
#include <time.h>

#ifndef SYMBOL
#define SYMBOL capricorn_app
#endif
#ifndef ABI
#define ABI CAPRI_ABI
#endif
#ifndef NAME
#define NAME "small"
#endif
#ifndef TEXT
#define TEXT "small"
#endif
#ifndef KIND
#define KIND CAPRI_INLINE
#endif

#ifdef UNRESOLVED
extern int nobody_has_this(void);
#endif

static int hello(struct capri_request *r, void *arg)
{
	(void)arg;
#ifdef UNRESOLVED
	if (nobody_has_this())
		return CAPRI_E_IO;
#endif
	return capri_respond_text(r, 200, TEXT);
}

__attribute__((unused)) static int all(struct capri_request *r, void *arg)
{
	(void)arg;
	return capri_respond_text(r, 200, "all");
}

static int start(struct capri_worker *w)
{
	(void)w;
#ifdef START_MS
	struct timespec t = {START_MS / 1000, START_MS % 1000 * 1000000L};

	nanosleep(&t, NULL);
#endif
#ifdef START_FAILS
	return START_FAILS;
#else
	return 0;
#endif
}

static const struct capri_route routes[] = {
	{"GET", "/", hello, .kind = KIND},
#ifdef ROUTE
	ROUTE,
#endif
#ifdef CATCH_ALL
	{NULL, "*", all, .kind = CAPRI_INLINE, .name = "everything"},
#endif
#ifdef MANY_ROUTES
	{"GET", "/m/1", hello, .kind = KIND}, {"GET", "/m/2", hello, .kind = KIND},
	{"GET", "/m/3", hello, .kind = KIND}, {"GET", "/m/4", hello, .kind = KIND},
#endif
	{0}
};

const struct capri_app SYMBOL = {
	.abi = ABI, .size = sizeof(struct capri_app), .route_size = sizeof(struct capri_route),
	.name = NAME, .routes = routes, .start = start,
};
