/* SPDX-License-Identifier: MIT */
/* builtin:hello: what plain answers are measured with. */
#include "app/app_priv.h"

static void handle(struct request *r, const struct app_bound *b)
{
	request_route(r, b->route[0]);
	request_answer(r, 200, SLICE("text/plain"), SLICE("Hello, World!"));
}

static const char *const routes[] = {"/*", NULL};

const struct app app_hello = {
	.name = "builtin:hello",
	.routes = routes,
	.handler = handle,
};
