/* SPDX-License-Identifier: MIT */
/*
 * The apps that are part of the server: what a worker answers with when a request is not for the
 * built-in API. An app is a row of a table: a name, the labels of its routes, one handler.
 */
#ifndef APP_APP_H
#define APP_APP_H

#include "conf/conf.h"
#include "serve/serve.h"
#include "shm/heritage.h"

/* Answers one request, or takes it over, see serve/serve.h. */
typedef void app_handler_f(struct request *r, const struct heritage *h);

struct app {
	const char *name;             /* "builtin:api" */
	const char *const *routes;    /* labels for metrics, NULL-ended; as h->route_ids */
	app_handler_f *handler;
};

/* 0, or -ENOENT. */
int app_find(enum conf_app which, const struct app **ret_app);
/* The labels of the app that `conf` names, ended by NULL; NULL if there is no such app. */
const char *const *app_route_labels(const struct conf *conf);

#endif
