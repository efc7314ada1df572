/* SPDX-License-Identifier: MIT */
#include "app/app.h"

#include <errno.h>

#include "app/app_priv.h"
#include "status/status.h"

int app_find(enum conf_app which, const struct app **ret_app)
{
	switch (which) {
	case CONF_APP_API: *ret_app = &app_api; return 0;
	case CONF_APP_ECHO: *ret_app = &app_echo; return 0;
	case CONF_APP_HELLO: *ret_app = &app_hello; return 0;
	case CONF_APP_MODULE: break; /* not loaded yet */
	}
	return -ENOENT;
}

const char *const *app_route_labels(const struct conf *conf)
{
	const struct app *app;

	return app_find(conf->app, &app) == 0 ? app->routes : NULL;
}

void app_bind(struct app_bound *b, const struct app *app, const struct heritage *h)
{
	*b = (struct app_bound){.app = app, .heritage = h};
	for (uint32_t i = 0; i < APP_ROUTES_MAX && app->routes[i]; i++)
		b->route[i] = shm_route_find(h->shm, app->routes[i]);
}

void app_handle(struct serve *s, struct request *r, void *arg)
{
	const struct app_bound *b = arg;
	struct slice rest;

	(void)s;
	if (!request_limit_body(r, (uint64_t)b->heritage->conf->s.client_max_body_size))
		return;
	if (status_match(b->heritage->conf, false, request_path(r), &rest))
		request_answer_status(r, rest);
	else
		b->app->handler(r, b);
}
