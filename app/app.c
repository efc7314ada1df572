/* SPDX-License-Identifier: MIT */
/* The app of one worker from start to end: load, routes, start; drain, stop. */
#include "app/app.h"

#include <errno.h>
#include <stdlib.h>

#include "app/app_priv.h"
#include "base/copy.h"
#include "base/log.h"

static int add_routes(struct app *a)
{
	const char *at = (const char *)a->module.routes;
	int rc = 0;

	/* Rows may be longer than those that we know: a newer header, the same interface. */
	for (; at; at += a->module.route_size) {
		const struct capri_route *route = (const struct capri_route *)(const void *)at;

		if (!route->handler && !route->pattern && !route->methods)
			break;
		if (app_route_add(a, route) != 0)
			rc = -1; /* all that is wrong with them is told */
	}
	return rc;
}

static int start(struct app *a)
{
	int rc;

	a->starting = true;
	rc = add_routes(a);
	if (rc == 0 && a->module.start) {
		rc = a->module.start(&a->w);
		copy_check();
		if (rc != 0)
			log_errx("APP: start() of %s returned %d", a->module.name, rc);
	}
	if (rc == 0 && !a->routes)
		log_warnx("APP: %s has no routes: every path is 404", a->module.name);
	a->starting = false;
	a->started = rc == 0;
	return rc;
}

/* A limit that nobody meets looks like one that holds. Said once, by the first worker. */
static void tell_idle_llm(const struct app *a)
{
	if (!a->conf->policy->llm_idle || a->semaphore[CONF_SEM_LLM].app || a->h->slot != 1 ||
	    shm_get(&a->slot->incarnation) > 1)
		return;
	log_warnx("LLM_CONCURRENT_LIMIT is set, and nothing takes the semaphore \"llm\": neither a "
		  "route of the configuration nor the module");
}

int app_new(const struct heritage *h, struct loop *l, struct app **ret_app)
{
	struct app *a = calloc(1, sizeof(*a));
	int rc;

	if (!a) {
		log_errx("no memory for the app");
		return -1;
	}
	a->h = h;
	a->conf = h->conf;
	a->loop = l;
	a->slot = shm_slot(h->shm, h->slot);
	a->loop_thread = pthread_self();
	look_init(a);
	pool_init(&a->pool, &h->conf->s);
	rc = bridge_open(a);
	if (rc != 0) {
		errno = -rc;
		log_err("cannot make the descriptor that threads wake the loop with");
	} else if (http_router_new(&a->router) != 0) {
		log_errx("no memory for the routes");
		rc = -1;
	} else if (app_load(a) != 0 || start(a) != 0) {
		rc = -1;
	}
	if (rc != 0) {
		(void)app_free(a);
		return -1;
	}
	tell_idle_llm(a);
	*ret_app = a;
	return 0;
}

void app_attach(struct app *a, struct serve *s, struct admit *admit)
{
	a->serve = s;
	a->admit = admit;
}

void app_drain(struct app *a, void (*idle)(void *arg), void *arg)
{
	struct capri_request *c, *next;

	a->draining = true;
	a->idle = idle;
	a->idle_arg = arg;
	/* They have no end of their own, and their clients connect again by themselves. */
	for (c = a->oldest; c; c = next) {
		next = c->newer;
		if (c->sse && !atomic_load(&c->completed))
			call_cancel(c);
	}
}

bool app_busy(const struct app *a)
{
	return a->ndetached > a->nstuck;
}

int app_fd(const struct app *a)
{
	return a->bridge.watch.fd;
}

static void free_calls(struct capri_request *c)
{
	while (c) {
		struct capri_request *next = c->next;

		pthread_cond_destroy(&c->cond);
		pthread_mutex_destroy(&c->lock);
		free(c);
		c = next;
	}
}

bool app_free(struct app *a)
{
	if (!a)
		return true;
	if (a->started && a->module.stop)
		a->module.stop(&a->w);
	copy_check();
	if (!pool_stop(&a->pool))
		return false; /* it may still use anything of this */
	if (a->dl)
		return true; /* threads of its own may still run in it, and post */
	bridge_close(a);
	app_routes_free(a);
	free_calls(a->free);
	free_calls(a->resting.first);
	free(a);
	return true;
}
