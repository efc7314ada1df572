/* SPDX-License-Identifier: MIT */
/*
 * The apps that are part of the server: what a worker answers with when a request is not for the
 * built-in API. An app is a row of a table: a name, the labels of its routes, one handler.
 */
#ifndef APP_APP_H
#define APP_APP_H

#include <stdint.h>

#include "conf/conf.h"
#include "serve/serve.h"
#include "shm/heritage.h"

#define APP_ROUTES_MAX 4

struct app_bound;

/* Answers one request, or takes it over, see serve/serve.h. */
typedef void app_handler_f(struct request *r, const struct app_bound *b);

struct app {
	const char *name;                /* "builtin:api" */
	const char *const *routes;       /* labels for metrics, NULL-ended */
	app_handler_f *handler;
};

/* An app in one process: with the numbers that its labels have in the segment's directory. */
struct app_bound {
	const struct app *app;
	const struct heritage *heritage;
	uint32_t route[APP_ROUTES_MAX];  /* 0 ("other") where the directory had no room */
};

/* 0, or -ENOENT. */
int app_find(enum conf_app which, const struct app **ret_app);
/* The labels of the app that `conf` names, NULL-ended; NULL if there is no such app. */
const char *const *app_route_labels(const struct conf *conf);
/* In the process that serves, after the fork. */
void app_bind(struct app_bound *b, const struct app *app, const struct heritage *h);
/* The handler of a worker (serve_handler_f); arg is the struct app_bound. The built-in API under
 * STATUS_PREFIX comes first, then the app. */
void app_handle(struct serve *s, struct request *r, void *arg);

#endif
