/* SPDX-License-Identifier: MIT */
#include "status/status.h"

#include "status/status_priv.h"

enum access { OPEN, READ, WRITE };

#define TYPE_JSON "application/json"
#define TYPE_TEXT "text/plain; version=0.0.4; charset=utf-8"

#define PATH(lit) {lit, sizeof(lit) - 1}

/* Every built-in path. `make` is NULL where the feature is not built yet. */
static const struct endpoint {
	struct slice path;       /* one that ends in "/" takes a last segment of any name */
	enum access access;
	status_make_f *make;
	const char *type;
	status_change_f *change; /* of a path that takes a POST */
} endpoints[] = {
	{PATH("/health"), OPEN, status_make_health, TYPE_JSON, NULL},
	{PATH("/livez"), OPEN, status_make_livez, TYPE_JSON, NULL},
	{PATH("/readyz"), OPEN, status_make_readyz, TYPE_JSON, NULL},
	{PATH("/status"), READ, status_make_status, TYPE_JSON, NULL},
	{PATH("/metrics"), READ, status_make_metrics, TYPE_TEXT, NULL},
	{PATH("/dashboard"), READ, NULL, NULL, NULL},
	{PATH("/api/v1/performance/health"), READ, status_make_health, TYPE_JSON, NULL},
	{PATH("/api/v1/performance/stats"), READ, status_make_stats, TYPE_JSON, NULL},
	{PATH("/api/v1/performance/dashboard"), READ, NULL, NULL, NULL},
	{PATH("/api/v1/performance/operations"), READ, NULL, NULL, NULL},
	{PATH("/api/v1/performance/alerts"), READ, NULL, NULL, NULL},
	{PATH("/api/v1/performance/alerts/thresholds"), READ, NULL, NULL, NULL},
	{PATH("/api/v1/performance/active-requests"), READ, status_make_active, TYPE_JSON, NULL},
	{PATH("/api/v1/performance/slow-requests"), READ, status_make_slow, TYPE_JSON, NULL},
	{PATH("/api/v1/performance/resource-usage"), READ, NULL, NULL, NULL},
	{PATH("/api/v1/control/semaphores/"), WRITE, NULL, TYPE_JSON, status_change_semaphore},
	{PATH("/api/v1/control/rate-limits/"), WRITE, NULL, TYPE_JSON, status_change_rate},
	{PATH("/api/v1/control/cache/purge"), WRITE, NULL, TYPE_JSON, status_purge_cache},
	{PATH("/api/v1/control/cache/invalidate"), WRITE, NULL, TYPE_JSON, status_invalidate_cache},
	{PATH("/api/v1/control/workers"), WRITE, NULL, NULL, NULL},
};

/* Asked of every request: most paths differ in length, or else in the first letter. */
static bool endpoint_matches(const struct endpoint *e, struct slice path)
{
	size_t len = e->path.len;

	if (path.len < len || path.p[1] != e->path.p[1])
		return false;
	if (e->path.p[len - 1] != '/')
		return slice_eq(path, e->path);
	return path.len > len && memcmp(path.p, e->path.p, len) == 0 &&
	       !memchr(path.p + len, '/', path.len - len);
}

static const struct endpoint *find(struct slice path)
{
	for (size_t i = 0; i < sizeof(endpoints) / sizeof(endpoints[0]); i++)
		if (endpoint_matches(&endpoints[i], path))
			return &endpoints[i];
	return NULL;
}

bool status_match(const struct conf *conf, bool at_root, struct slice path, struct slice *ret_rest)
{
	struct slice prefix;

	if (path.len < 6) /* "/livez" */
		return false;
	prefix = at_root ? SLICE("") : slice_of(conf->s.status_prefix);
	if (prefix.len > 0 && prefix.p[prefix.len - 1] == '/')
		prefix.len--;
	if (path.len <= prefix.len)
		return false;
	if (prefix.len > 0 && memcmp(path.p, prefix.p, prefix.len) != 0)
		return false;
	path.p += prefix.len;
	path.len -= prefix.len;
	if (path.len < 6 || path.p[0] != '/' || !find(path))
		return false;
	*ret_rest = path;
	return true;
}

/* ---- answering ---- */

static void problem(const struct status_request *rq, struct status_reply *ret, int status,
		    const char *detail)
{
	bool text = http_prefers_text(rq->accept);

	strbuf_clear(&ret->body);
	ret->status = status;
	ret->content_type = text ? "text/plain; charset=utf-8" : "application/problem+json";
	status_problem(&ret->body, text, &(struct status_problem){
		.status = status, .detail = detail, .request_id = rq->request_id,
	});
}

static void refuse(const struct conf *conf, const struct status_request *rq,
		   struct status_reply *ret, const char *why)
{
	bool has_token = conf->s.admin_token && conf->s.admin_token[0] != '\0';
	char client[NET_TEXT_MAX], detail[512];

	net_addr_format(rq->client, client);
	snprintf(detail, sizeof(detail), "Not for %s%s%s. %s%s", client,
		 rq->forwarded ? " (through a proxy)" : "",
		 rq->authorization.p && has_token ? " with this token" : "", why,
		 has_token ? "" : " (No ADMIN_TOKEN is set.)");
	problem(rq, ret, 403, detail);
}

/* The method decides what the caller wants: seeing or changing. */
static bool may(const struct heritage *h, const struct status_request *rq,
		const struct endpoint *e, struct status_reply *ret)
{
	bool changes = e->access == WRITE && rq->method != HTTP_M_GET && rq->method != HTTP_M_HEAD;
	const char *why;

	if (e->access == OPEN)
		return true;
	why = status_denied(h->conf, rq, changes ? STATUS_NEED_WRITE : STATUS_NEED_READ);
	if (why)
		refuse(h->conf, rq, ret, why);
	return why == NULL;
}

static bool method_fits(const struct status_request *rq, const struct endpoint *e,
			struct status_reply *ret)
{
	if (e->access == WRITE) {
		if (rq->method == HTTP_M_POST)
			return true;
		ret->allow = "POST";
		problem(rq, ret, 405, "This path takes a POST.");
		return false;
	}
	if (rq->method == HTTP_M_GET || rq->method == HTTP_M_HEAD)
		return true;
	ret->allow = "GET, HEAD";
	problem(rq, ret, 405, "This path is there to be read: GET or HEAD.");
	return false;
}

/* The last segment of the path, as it stands there. */
static void change(const struct heritage *h, const struct status_request *rq,
		   const struct endpoint *e, struct status_reply *ret)
{
	struct slice name = {rq->path.p + e->path.len, rq->path.len - e->path.len};
	json_t *body = json_loadb(rq->body.p ? rq->body.p : "", rq->body.len,
				  JSON_REJECT_DUPLICATES, NULL);
	char why[240] = "No memory for the document.";

	ret->status = 400;
	ret->content_type = e->type;
	if (json_is_object(body))
		ret->status = e->change(h, name, body, &ret->body, why, sizeof(why));
	else
		snprintf(why, sizeof(why), "The body is not a JSON object.");
	json_decref(body);
	if (ret->status != 200) {
		strbuf_fini(&ret->body);
		strbuf_init(&ret->body);
		problem(rq, ret, ret->status, why);
	}
}

void status_answer(const struct heritage *h, const struct status_request *rq,
		   struct status_reply *ret)
{
	const struct endpoint *e = find(rq->path);

	*ret = (struct status_reply){.no_store = true};
	strbuf_init(&ret->body);
	if (!e) {
		problem(rq, ret, 404, "There is nothing at this path.");
		return;
	}
	if (!may(h, rq, e, ret) || !method_fits(rq, e, ret))
		return;
	if (e->change) {
		change(h, rq, e, ret);
		return;
	}
	if (!e->make) {
		problem(rq, ret, 501, "The feature behind this path is not built yet.");
		return;
	}
	ret->status = 200;
	ret->content_type = e->type;
	if (!e->make(h, &ret->body, &ret->status)) {
		strbuf_fini(&ret->body);
		strbuf_init(&ret->body);
		problem(rq, ret, 503, "No memory for the document.");
	}
}

void status_reply_fini(struct status_reply *r)
{
	strbuf_fini(&r->body);
}
