/* SPDX-License-Identifier: MIT */
/* What a module asks of its worker: settings, data, timers, log. */
#include <stdio.h>
#include <stdlib.h>

#include "app/app_priv.h"
#include "base/clock.h"
#include "base/log.h"

#define TIMER_MAX_MS (100ull * 366 * 24 * 3600 * 1000) /* what is later never comes */
#define TEXT_MAX 3800 /* of a log line; what is longer is cut there anyway */

static const struct app *app_of(const struct capri_worker *w)
{
	return (const struct app *)(const void *)w; /* its first member */
}

const char *capri_strerror(int err)
{
	switch (err) {
	case CAPRI_OK: return "no error";
	case CAPRI_E_CANCELLED: return "the client has gone, or its time is over";
	case CAPRI_E_TWICE: return "the request has an answer already";
	case CAPRI_E_AGAIN: return "no room now";
	case CAPRI_E_INVALID: return "an argument that is none, or not in this state";
	case CAPRI_E_THREAD: return "not from this thread";
	case CAPRI_E_NOMEM: return "no memory, or above a bound";
	case CAPRI_E_IO: return "a file cannot be read";
	default: return "an error of the module's own";
	}
}

int capri_add_route(struct capri_worker *w, const struct capri_route *route)
{
	if (!w || !route)
		return CAPRI_E_INVALID;
	return app_route_add((struct app *)w, route) == 0 ? CAPRI_OK : CAPRI_E_INVALID;
}

/* ---- settings and data ---- */

struct capri_str capri_setting(const struct capri_worker *w, const char *path)
{
	const char *text = path ? conf_module_setting(app_of(w)->conf, path) : NULL;

	return (struct capri_str){text, text ? strlen(text) : 0};
}

struct capri_str capri_settings_json(const struct capri_worker *w)
{
	const char *json = app_of(w)->conf->module_json;

	return (struct capri_str){json, strlen(json)};
}

uint32_t capri_worker_slot(const struct capri_worker *w)
{
	return app_of(w)->h->slot;
}

uint32_t capri_worker_generation(const struct capri_worker *w)
{
	return app_of(w)->h->generation;
}

struct capri_worker *capri_worker_of(const struct capri_request *r)
{
	return &r->app->w;
}

void capri_set_data(struct capri_worker *w, void *data)
{
	w->data = data;
}

void *capri_data(const struct capri_worker *w)
{
	return w->data;
}

/* ---- timers ---- */

static void on_timer(struct loop *l, struct timer *t)
{
	struct capri_timer *ct = (struct capri_timer *)(void *)t;

	struct app *a = ct->app; /* it may free itself */

	(void)l;
	ct->fn(&a->w, ct, ct->arg);
	look_held(a, NULL, "a timer");
}

struct capri_timer *capri_timer_new(struct capri_worker *w, capri_timer_f *fn, void *arg)
{
	struct app *a = (struct app *)w;
	struct capri_timer *t;

	if (!app_in_loop(a) || !fn || a->ntimers == MODULE_TIMERS)
		return NULL;
	t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	*t = (struct capri_timer){.timer.cb = on_timer, .app = a, .fn = fn, .arg = arg};
	a->ntimers++;
	return t;
}

/* Timers have no lock: from another thread they would break the loop's. */
static bool may_touch(const struct capri_timer *t, const char *what)
{
	if (!t || app_in_loop(t->app))
		return t != NULL;
	log_errx("%s() of %s: not from this thread: a timer is the loop's", what,
		 t->app->module.name);
	return false;
}

void capri_timer_arm(struct capri_timer *t, uint64_t after_ms)
{
	if (!may_touch(t, "capri_timer_arm"))
		return;
	if (after_ms > TIMER_MAX_MS)
		after_ms = TIMER_MAX_MS;
	/* From now, not from the begin of the turn: a long start() is no reason to hurry. */
	timer_arm(t->app->loop, &t->timer, clock_mono_ns() + after_ms * NS_PER_MS);
}

void capri_timer_disarm(struct capri_timer *t)
{
	if (may_touch(t, "capri_timer_disarm"))
		timer_disarm(t->app->loop, &t->timer);
}

void capri_timer_free(struct capri_timer *t)
{
	if (!may_touch(t, "capri_timer_free"))
		return;
	timer_disarm(t->app->loop, &t->timer);
	t->app->ntimers--;
	free(t);
}

uint64_t capri_now_ms(const struct capri_worker *w)
{
	const struct app *a = app_of(w);

	return (app_in_loop(a) ? loop_now(a->loop) : clock_mono_ns()) / NS_PER_MS;
}

/* ---- log ---- */

void capri_log(const struct capri_request *r, enum capri_level level, const char *format, ...)
{
	static const enum log_level known[] = {
		[CAPRI_DEBUG] = LOG_LV_DEBUG, [CAPRI_INFO] = LOG_LV_INFO,
		[CAPRI_WARNING] = LOG_LV_WARNING, [CAPRI_ERROR] = LOG_LV_ERROR,
		[CAPRI_CRITICAL] = LOG_LV_CRITICAL,
	};
	char text[TEXT_MAX];
	va_list ap;

	if (level < CAPRI_DEBUG || level > CAPRI_CRITICAL)
		level = CAPRI_ERROR;
	if (!log_enabled(known[level]))
		return;
	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	if (r)
		log_at(known[level], "%s (request %.*s)", text, (int)r->id.len, r->id.p);
	else
		log_at(known[level], "%s", text);
}
