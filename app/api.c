/* SPDX-License-Identifier: MIT */
/*
 * builtin:api: what a first look at the server sees. GET / says who is there and what it offers,
 * POST /echo answers with the body it was sent. The rest of it is the built-in API (status/).
 */
#include <stdlib.h>

#include "app/app_priv.h"
#include "base/clock.h"

#define TYPE_MAX 1024 /* of a Content-Type that we repeat: an answer's head has its bounds too */

static const char *const endpoints[] = {
	"GET /", "POST /echo", "GET /health", "GET /livez", "GET /readyz", "GET /status",
	"GET /metrics", "GET /api/v1/performance/health", "GET /api/v1/performance/stats",
	"GET /api/v1/performance/active-requests",
};

static int root(struct capri_request *r, void *arg)
{
	uint64_t now = loop_now(r->app->loop);
	uint64_t started = shm_get(&r->app->h->shm->inst->started_ns);
	struct strbuf sb;

	(void)arg;
	strbuf_init(&sb);
	strbuf_puts(&sb, "{\"name\":\"capricorn\",\"version\":\"" PACKAGE_VERSION "\",");
	strbuf_printf(&sb, "\"uptime_seconds\":%.3f,\"endpoints\":[",
		      now > started ? (double)(now - started) / 1e9 : 0.0);
	for (size_t i = 0; i < sizeof(endpoints) / sizeof(endpoints[0]); i++)
		strbuf_printf(&sb, "%s\"%s\"", i > 0 ? "," : "", endpoints[i]);
	strbuf_puts(&sb, "]}\n");
	return app_respond_strbuf(r, 200, "application/json", &sb);
}

static int echo(struct capri_request *r, void *arg)
{
	struct capri_str type = capri_header(r, "Content-Type"), body = capri_body(r);

	(void)arg;
	if (type.len > TYPE_MAX)
		return capri_problem(r, 431, "/echo repeats a Content-Type of at most 1024 bytes.");
	return capri_respond_ref(r, 200,
				 type.len > 0 ? capri_dup(r, type) : "application/octet-stream",
				 body.p, body.len, NULL, NULL);
}

static const struct capri_route routes[] = {
	{.methods = "GET", .pattern = "/", .handler = root},
	{.methods = "POST", .pattern = "/echo", .handler = echo},
	{0},
};

const struct capri_app app_api = {CAPRI_APP_INIT, .name = "builtin:api", .routes = routes};
