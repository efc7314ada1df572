/* SPDX-License-Identifier: MIT */
#include <capricorn.h>

static int hello(struct capri_request *r, void *arg)
{
	(void)arg;
	return capri_respond_text(r, 200, "Hello, World!");
}

static const struct capri_route routes[] = {{"GET", "/", hello, .kind = CAPRI_INLINE}, {0}};
const struct capri_app capricorn_app = {CAPRI_APP_INIT, .name = "hello", .routes = routes};
