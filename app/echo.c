/* SPDX-License-Identifier: MIT */
/*
 * builtin:echo: answers any method and target with what was understood of the request, as JSON; or
 * with N bytes when the query says bytes=N. The body of the request is counted, not kept.
 */
#include <inttypes.h>

#include "app/app_priv.h"
#include "base/json.h"
#include "base/strbuf.h"

#define ECHO_BYTES_MAX (INT64_C(1) << 50)

/* ---- the query ---- */

/* The value of bytes=N; -1 if there is none, -2 if it is none that we take. */
static int64_t wanted_bytes(struct slice query)
{
	const char *p = query.p, *end = query.p + query.len;

	while (p && p < end) {
		const char *amp = memchr(p, '&', (size_t)(end - p));
		size_t len = (size_t)((amp ? amp : end) - p);
		int64_t n = 0;

		if (len >= 6 && memcmp(p, "bytes=", 6) == 0) {
			for (size_t i = 6; i < len; i++) {
				if (p[i] < '0' || p[i] > '9' || n > ECHO_BYTES_MAX / 10)
					return -2;
				n = n * 10 + (p[i] - '0');
			}
			return len > 6 ? n : -2;
		}
		p += len + 1;
	}
	return -1;
}

/* ---- N bytes, made while they are asked for: a gigabyte costs no memory ---- */

static const char pattern[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-\n";
#define PATTERN (sizeof(pattern) - 1)

struct pull {
	uint64_t at;
};

static long fill(struct request *r, void *arg, char *buf, size_t cap, bool *ret_end)
{
	struct pull *p = arg;
	size_t n = 0;

	(void)r;
	(void)ret_end; /* the length is known: the server asks for no more than that */
	while (n < cap) {
		size_t from = (p->at + n) % PATTERN;
		size_t piece = PATTERN - from;

		if (piece > cap - n)
			piece = cap - n;
		memcpy(buf + n, pattern + from, piece);
		n += piece;
	}
	p->at += n;
	return (long)n;
}

static void answer_bytes(struct request *r, int64_t n)
{
	struct pull *p = request_alloc(r, sizeof(*p));

	if (!p)
		request_problem(r, 503, "No memory for the answer.");
	else
		request_answer_pull(r, 200, SLICE("application/octet-stream"), n, fill, p);
}

/* ---- the JSON ---- */

static void add_string(struct strbuf *sb, struct slice s)
{
	char piece[1024];

	strbuf_puts(sb, "\"");
	while (s.len > 0) {
		/* Not in the midst of a character: a cut one would be escaped byte by byte. */
		size_t n = 0;

		while (n < s.len && n < sizeof(piece) / JSON_QUOTE_MAX - 4) {
			size_t u = json_utf8_len((const unsigned char *)s.p + n, s.len - n);

			n += u > 0 ? u : 1;
		}
		strbuf_add(sb, piece, json_quote(piece, sizeof(piece), (struct slice){s.p, n}));
		s.p += n;
		s.len -= n;
	}
	strbuf_puts(sb, "\"");
}

static void add_member(struct strbuf *sb, const char *key, struct slice value)
{
	strbuf_printf(sb, "\"%s\":", key);
	add_string(sb, value);
	strbuf_puts(sb, ",");
}

/* A list of pairs, since a field may occur more than once and its order matters. */
static void add_headers(struct strbuf *sb, const struct http_request *head)
{
	strbuf_puts(sb, "\"headers\":[");
	for (size_t i = 0; i < head->nfields; i++) {
		strbuf_puts(sb, i > 0 ? ",[" : "[");
		add_string(sb, head->fields[i].name);
		strbuf_puts(sb, ",");
		add_string(sb, head->fields[i].value);
		strbuf_puts(sb, "]");
	}
	strbuf_puts(sb, "],");
}

static void answer_json(struct request *r)
{
	const struct http_request *head = request_head(r);
	char client[NET_TEXT_MAX];
	struct strbuf sb;
	size_t len;
	char *body;

	strbuf_init(&sb);
	strbuf_puts(&sb, "{");
	add_member(&sb, "method", head->method_text);
	add_member(&sb, "target", head->target);
	add_member(&sb, "version", head->minor ? SLICE("HTTP/1.1") : SLICE("HTTP/1.0"));
	add_headers(&sb, head);
	len = net_addr_format(request_client(r), client);
	add_member(&sb, "client", (struct slice){client, len});
	strbuf_printf(&sb, "\"body_bytes\":%" PRIu64 "}\n", request_body_bytes(r));
	len = sb.len;
	body = strbuf_take(&sb);
	if (body)
		request_answer_take(r, 200, APP_JSON, body, len);
	else
		request_problem(r, 503, "No memory for the answer.");
}

/* ---- the handler ---- */

static void answer(struct request *r)
{
	const struct http_request *head = request_head(r);
	int64_t n = wanted_bytes(head->query);

	if (head->method == HTTP_M_CONNECT) {
		/* No tunnel: the server closes after it (RFC 9110, 9.3.6). */
		request_answer(r, 200, (struct slice){NULL, 0}, (struct slice){NULL, 0});
	} else if (n == -2) {
		request_problem(r, 400, "bytes=N takes a number of bytes, at most 2^50.");
	} else if (n >= 0) {
		answer_bytes(r, n);
	} else {
		answer_json(r);
	}
}

static bool count_body(struct request *r, void *arg, struct slice data, bool end)
{
	(void)arg;
	(void)data; /* the server counts */
	if (end)
		answer(r);
	return true;
}

static void handle(struct request *r, const struct app_bound *b)
{
	request_route(r, b->route[0]);
	if (request_head(r)->has_body)
		request_body(r, count_body, NULL);
	else
		answer(r);
}

static const char *const routes[] = {"/*", NULL};

const struct app app_echo = {
	.name = "builtin:echo",
	.routes = routes,
	.handler = handle,
};
