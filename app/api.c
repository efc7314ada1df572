/* SPDX-License-Identifier: MIT */
/*
 * builtin:api: what a first look at the server sees. GET / says who is there and what it offers,
 * POST /echo answers with the body it was sent. The rest of it is the built-in API (status/).
 */
#include <errno.h>
#include <inttypes.h>

#include "app/app_priv.h"
#include "app/spool.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/strbuf.h"

enum { ROUTE_ROOT, ROUTE_ECHO };

static void not_allowed(struct request *r, struct slice allow, const char *detail)
{
	request_field(r, SLICE("Allow"), allow);
	request_problem(r, 405, detail);
}

/* ---- GET / ---- */

static const char *const endpoints[] = {
	"GET /", "POST /echo", "GET /health", "GET /livez", "GET /readyz", "GET /status",
	"GET /metrics", "GET /api/v1/performance/health", "GET /api/v1/performance/stats",
	"GET /api/v1/performance/active-requests",
};

static void answer_root(struct request *r, const struct heritage *h)
{
	uint64_t now = request_now(r), started = shm_get(&h->shm->inst->started_ns);
	struct strbuf sb;
	size_t len;
	char *body;

	strbuf_init(&sb);
	strbuf_puts(&sb, "{\"name\":\"capricorn\",\"version\":\"" PACKAGE_VERSION "\",");
	strbuf_printf(&sb, "\"uptime_seconds\":%.3f,\"endpoints\":[",
		      now > started ? (double)(now - started) / 1e9 : 0.0);
	for (size_t i = 0; i < sizeof(endpoints) / sizeof(endpoints[0]); i++)
		strbuf_printf(&sb, "%s\"%s\"", i > 0 ? "," : "", endpoints[i]);
	strbuf_puts(&sb, "]}\n");
	len = sb.len;
	body = strbuf_take(&sb);
	if (body)
		request_answer_take(r, 200, APP_JSON, body, len);
	else
		request_problem(r, 503, "No memory for the answer.");
}

/* ---- POST /echo ---- */

#define TYPE_MAX 1024 /* of a Content-Type that we repeat: an answer's head has its bounds too */

static struct slice echo_type(const struct request *r)
{
	struct slice type = request_head(r)->known[HTTP_F_CONTENT_TYPE];

	return type.len > 0 ? type : SLICE("application/octet-stream");
}

static void echo_gone(struct request *r, void *arg)
{
	(void)r;
	spool_fini(arg);
}

static void echo_end(struct request *r, struct spool *sp)
{
	struct slice type = echo_type(r);

	if (sp->fd >= 0) {
		int fd = sp->fd;

		sp->fd = -1; /* it is the server's now */
		request_answer_file(r, 200, type, fd, 0, sp->total);
	} else {
		char *mem = sp->mem;

		sp->mem = NULL;
		if (mem)
			request_answer_take(r, 200, type, mem, sp->len);
		else
			request_answer(r, 200, type, SLICE(""));
	}
}

static bool echo_body(struct request *r, void *arg, struct slice data, bool end)
{
	struct spool *sp = arg;
	int rc = spool_add(sp, data);

	if (rc < 0) {
		errno = -rc;
		log_warn("cannot keep the body of request %.*s", (int)request_id(r).len,
			 request_id(r).p);
		spool_fini(sp);
		request_body(r, NULL, NULL);
		request_problem(r, 503, "There is no room to keep the body.");
		return true;
	}
	if (end)
		echo_end(r, sp);
	return true;
}

static void answer_echo(struct request *r)
{
	struct spool *sp;

	if (echo_type(r).len > TYPE_MAX) {
		request_problem(r, 431, "/echo repeats a Content-Type of at most 1024 bytes.");
		return;
	}
	if (!request_head(r)->has_body) {
		request_answer(r, 200, echo_type(r), SLICE(""));
		return;
	}
	sp = request_alloc(r, sizeof(*sp));
	if (!sp) {
		request_problem(r, 503, "No memory for the body.");
		return;
	}
	spool_init(sp);
	request_on_gone(r, echo_gone, sp);
	request_body(r, echo_body, sp);
}

static void handle(struct request *r, const struct app_bound *b)
{
	struct slice path = request_path(r);
	enum http_method m = request_head(r)->method;

	if (slice_eq(path, SLICE("/"))) {
		request_route(r, b->route[ROUTE_ROOT]);
		if (m == HTTP_M_GET || m == HTTP_M_HEAD)
			answer_root(r, b->heritage);
		else
			not_allowed(r, SLICE("GET, HEAD"), "/ is there to be read: GET or HEAD.");
	} else if (slice_eq(path, SLICE("/echo"))) {
		request_route(r, b->route[ROUTE_ECHO]);
		if (m == HTTP_M_POST)
			answer_echo(r);
		else
			not_allowed(r, SLICE("POST"), "/echo answers a POST with its body.");
	} else if (m == HTTP_M_OPTIONS && request_head(r)->form == HTTP_ASTERISK_FORM) {
		request_field(r, SLICE("Allow"), SLICE("GET, HEAD, POST, OPTIONS"));
		request_answer(r, 204, (struct slice){NULL, 0}, (struct slice){NULL, 0});
	} else {
		request_problem(r, 404, "There is nothing at this path. GET / lists what there is.");
	}
}

static const char *const routes[] = {[ROUTE_ROOT] = "/", [ROUTE_ECHO] = "/echo", NULL};

const struct app app_api = {
	.name = "builtin:api",
	.routes = routes,
	.handler = handle,
};
