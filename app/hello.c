/* SPDX-License-Identifier: MIT */
/* builtin:hello: what plain answers are measured with. */
#include "app/app_priv.h"

static int hello(struct capri_request *r, void *arg)
{
	(void)arg;
	return capri_respond(r, 200, "text/plain", "Hello, World!", 13);
}

static const struct capri_route routes[] = {
	{.pattern = "*", .name = "/*", .handler = hello, .body = CAPRI_BODY_NONE},
	{0},
};

const struct capri_app app_hello = {CAPRI_APP_INIT, .name = "builtin:hello", .routes = routes};
