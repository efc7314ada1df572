/* SPDX-License-Identifier: MIT */
/* The built-in paths as requests: what status/ needs to know of one, and its reply as an answer. */
#include "serve/serve_priv.h"
#include "status/status.h"

#define CHANGE_MAX 2048

static struct status_request asked(struct request *r, struct slice rest)
{
	const struct http_request *head = request_head(r);

	return (struct status_request){
		.method = head->method,
		.path = rest,
		.query = head->query,
		.host = head->authority,
		.origin = head->known[HTTP_F_ORIGIN],
		.content_type = head->known[HTTP_F_CONTENT_TYPE],
		.authorization = head->known[HTTP_F_AUTHORIZATION],
		.accept = head->known[HTTP_F_ACCEPT],
		.request_id = r->id,
		.client = request_client(r),
		.peer = request_peer(r),
		.forwarded = request_forwarded(r),
	};
}

bool request_may_see_status(struct request *r)
{
	struct status_request rq = asked(r, r->path);
	const char *why = status_denied(r->serve->h->conf, &rq, STATUS_NEED_READ);

	if (why)
		request_problem(r, 403, why);
	return why == NULL;
}

static void answer(struct request *r, struct slice rest, struct slice body)
{
	struct status_request rq = asked(r, rest);
	struct status_reply reply;
	size_t len;
	char *text;

	rq.body = body;
	request_is_status(r);
	status_answer(r->serve->h, &rq, &reply);
	if (reply.no_store)
		request_field(r, SLICE("Cache-Control"), SLICE("no-store"));
	if (reply.allow)
		request_field(r, SLICE("Allow"), slice_of(reply.allow));
	len = reply.body.len;
	text = strbuf_take(&reply.body);
	if (text)
		request_answer_take(r, reply.status, slice_of(reply.content_type), text, len);
	else
		request_problem(r, 503, "No memory for the document.");
	status_reply_fini(&reply);
}

/* The body of a change: small, and needed whole. */
struct change {
	size_t at;                 /* of the rest of the path, from its begin */
	size_t len;
	char body[CHANGE_MAX];
};

static bool change_piece(struct request *r, void *arg, struct slice data, bool end)
{
	struct change *c = arg;

	if (data.len > CHANGE_MAX - c->len) {
		request_body_drop(r);
		request_problem(r, 413, "The body of a change is at most 2048 bytes long.");
		return true;
	}
	if (data.len > 0)
		memcpy(c->body + c->len, data.p, data.len);
	c->len += data.len;
	if (end)
		answer(r, (struct slice){r->path.p + c->at, r->path.len - c->at},
		       (struct slice){c->body, c->len});
	return true;
}

void request_answer_status(struct request *r, struct slice rest)
{
	struct change *c = NULL;

	if (r->head.method == HTTP_M_POST && r->head.has_body)
		c = request_alloc(r, sizeof(*c));
	if (!c) {
		answer(r, rest, (struct slice){NULL, 0});
		return;
	}
	c->at = (size_t)(rest.p - r->path.p);
	request_body(r, change_piece, c);
}
