/* SPDX-License-Identifier: MIT */
#include "base/json.h"
#include "http/http.h"
#include "status/status.h"

static void add_quoted(struct strbuf *out, struct slice s)
{
	char piece[2048];

	strbuf_add(out, "\"", 1);
	strbuf_add(out, piece, json_quote(piece, sizeof(piece), s));
	strbuf_add(out, "\"", 1);
}

static void as_text(struct strbuf *out, const struct status_problem *p, const char *title)
{
	strbuf_printf(out, "%d %s", p->status, title);
	if (p->detail)
		strbuf_printf(out, ": %s", p->detail);
	if (p->request_id.len > 0)
		strbuf_printf(out, " (request %.*s)", (int)p->request_id.len, p->request_id.p);
	strbuf_puts(out, "\n");
}

void status_problem(struct strbuf *out, bool text, const struct status_problem *p)
{
	const char *title = p->title ? p->title : http_reason(p->status);

	if (text) {
		as_text(out, p, title);
		return;
	}
	strbuf_puts(out, "{\"type\":");
	add_quoted(out, slice_of(p->type ? p->type : "about:blank"));
	strbuf_puts(out, ",\"title\":");
	add_quoted(out, slice_of(title));
	strbuf_printf(out, ",\"status\":%d", p->status);
	if (p->detail) {
		strbuf_puts(out, ",\"detail\":");
		add_quoted(out, slice_of(p->detail));
	}
	for (size_t i = 0; p->policies && p->policies[i]; i++) {
		strbuf_puts(out, i == 0 ? ",\"violated-policies\":[" : ",");
		add_quoted(out, slice_of(p->policies[i]));
		if (!p->policies[i + 1])
			strbuf_puts(out, "]");
	}
	if (p->request_id.len > 0) {
		strbuf_puts(out, ",\"request_id\":");
		add_quoted(out, p->request_id);
	}
	strbuf_puts(out, "}\n");
}
