/* SPDX-License-Identifier: MIT */
/* The built-in paths as requests: what status/ needs to know of one, and its reply as an answer. */
#include "serve/serve_priv.h"
#include "status/status.h"

void request_answer_status(struct request *r, struct slice rest)
{
	const struct http_request *head = request_head(r);
	struct status_request rq = {
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
	struct status_reply reply;
	size_t len;
	char *body;

	request_is_status(r);
	status_answer(r->serve->h, &rq, &reply);
	if (reply.no_store)
		request_field(r, SLICE("Cache-Control"), SLICE("no-store"));
	if (reply.allow)
		request_field(r, SLICE("Allow"), slice_of(reply.allow));
	len = reply.body.len;
	body = strbuf_take(&reply.body);
	if (body)
		request_answer_take(r, reply.status, slice_of(reply.content_type), body, len);
	else
		request_problem(r, 503, "No memory for the document.");
	status_reply_fini(&reply);
}
