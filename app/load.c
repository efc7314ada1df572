/* SPDX-License-Identifier: MIT */
/*
 * Finds the module's description: one of ours, or one that a shared object exports. What is loaded
 * is the sealed copy that the master has made for this generation, never the file itself, which
 * may be half written by now.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "app/app_priv.h"
#include "base/log.h"
#include "shm/dump.h"

static int wrong(const struct app *a, const char *why)
{
	log_errx("APP: %s cannot be loaded: %s", a->conf->s.app, why);
	return -1;
}

/* Everything that can be known before a function of the module is called. */
static int check(const struct app *a, const struct capri_app *m, const char *symbol)
{
	char why[200];

	if (m->abi != CAPRI_ABI) {
		snprintf(why, sizeof(why),
			 "%s is of version %u of the interface, this server has %u: compile it with "
			 "the capricorn.h of this server", symbol, m->abi, CAPRI_ABI);
		return wrong(a, why);
	}
	if (m->size < offsetof(struct capri_app, reserved) ||
	    m->route_size < offsetof(struct capri_route, reserved)) {
		snprintf(why, sizeof(why), "%s does not begin with CAPRI_APP_INIT", symbol);
		return wrong(a, why);
	}
	if (!m->name || m->name[0] == '\0') {
		snprintf(why, sizeof(why), "%s has no name", symbol);
		return wrong(a, why);
	}
	if (!m->routes && !m->start) {
		snprintf(why, sizeof(why), "%s has neither routes nor start()", symbol);
		return wrong(a, why);
	}
	return 0;
}

static int load_module(struct app *a, const struct capri_app **ret)
{
	const char *symbol = a->conf->app_symbol ? a->conf->app_symbol : CONF_APP_SYMBOL;
	char path[40], why[200];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", a->h->app_fd);
	a->dl = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!a->dl) {
		const char *text = dlerror(), *rest;
		size_t len = strlen(path);

		/* The name under which we opened it means nothing to anybody. */
		rest = strncmp(text, path, len) == 0 && text[len] == ':' ? text + len + 1 : text;
		return wrong(a, rest + strspn(rest, " "));
	}
	dump_objects(); /* so that its functions have names in reports */
	*ret = dlsym(a->dl, symbol);
	if (!*ret) {
		snprintf(why, sizeof(why),
			 "it does not export \"%s\" (const struct capri_app %s = {CAPRI_APP_INIT, "
			 "...}; or name another one: APP=%s:SYMBOL)", symbol, symbol,
			 a->conf->app_path);
		return wrong(a, why);
	}
	return check(a, *ret, symbol);
}

int app_load(struct app *a)
{
	const struct capri_app *m = NULL;
	size_t size;

	switch (a->conf->app) {
	case CONF_APP_API: m = &app_api; break;
	case CONF_APP_ECHO: m = &app_echo; break;
	case CONF_APP_HELLO: m = &app_hello; break;
	case CONF_APP_MODULE:
		if (load_module(a, &m) != 0)
			return -1;
		break;
	}
	size = m->size < sizeof(a->module) ? m->size : sizeof(a->module);
	memcpy(&a->module, m, size);
	return 0;
}
