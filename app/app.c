/* SPDX-License-Identifier: MIT */
#include "app/app.h"

#include <errno.h>

#include "app/app_priv.h"

int app_find(enum conf_app which, const struct app **ret_app)
{
	switch (which) {
	case CONF_APP_API: *ret_app = &app_api; return 0;
	case CONF_APP_ECHO: *ret_app = &app_echo; return 0;
	case CONF_APP_HELLO: *ret_app = &app_hello; return 0;
	}
	return -ENOENT;
}

const char *const *app_route_labels(const struct conf *conf)
{
	const struct app *app;

	return app_find(conf->app, &app) == 0 ? app->routes : NULL;
}
