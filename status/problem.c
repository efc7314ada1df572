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

static void as_text(struct strbuf *out, int status, const char *title, const char *detail,
		    struct slice id)
{
	strbuf_printf(out, "%d %s", status, title);
	if (detail)
		strbuf_printf(out, ": %s", detail);
	if (id.len > 0)
		strbuf_printf(out, " (request %.*s)", (int)id.len, id.p);
	strbuf_puts(out, "\n");
}

void status_problem(struct strbuf *out, bool text, int status, const char *title,
		    const char *detail, struct slice request_id)
{
	if (!title)
		title = http_reason(status);
	if (text) {
		as_text(out, status, title, detail, request_id);
		return;
	}
	strbuf_puts(out, "{\"type\":\"about:blank\",\"title\":");
	add_quoted(out, slice_of(title));
	strbuf_printf(out, ",\"status\":%d", status);
	if (detail) {
		strbuf_puts(out, ",\"detail\":");
		add_quoted(out, slice_of(detail));
	}
	if (request_id.len > 0) {
		strbuf_puts(out, ",\"request_id\":");
		add_quoted(out, request_id);
	}
	strbuf_puts(out, "}\n");
}
