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

static long fill(void *arg, char *buf, size_t cap)
{
	struct pull *p = arg;
	size_t n = 0;

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

static int answer_bytes(struct capri_request *r, int64_t n)
{
	struct pull *p = capri_alloc(r, sizeof(*p));

	if (!p)
		return CAPRI_E_NOMEM;
	return capri_respond_fill(r, 200, "application/octet-stream", (uint64_t)n, fill, NULL, p);
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

static void add_member(struct strbuf *sb, const char *key, struct capri_str value)
{
	strbuf_printf(sb, "\"%s\":", key);
	add_string(sb, (struct slice){value.p, value.len});
	strbuf_puts(sb, ",");
}

/* A list of pairs, since a field may occur more than once and its order matters. */
static void add_headers(struct strbuf *sb, const struct capri_request *r)
{
	struct capri_str name, value;

	strbuf_puts(sb, "\"headers\":[");
	for (size_t i = 0; capri_header_at(r, i, &name, &value); i++) {
		strbuf_puts(sb, i > 0 ? ",[" : "[");
		add_string(sb, (struct slice){name.p, name.len});
		strbuf_puts(sb, ",");
		add_string(sb, (struct slice){value.p, value.len});
		strbuf_puts(sb, "]");
	}
	strbuf_puts(sb, "],");
}

static int answer_json(struct capri_request *r)
{
	const char *version = capri_http_minor(r) ? "HTTP/1.1" : "HTTP/1.0";
	struct strbuf sb;

	strbuf_init(&sb);
	strbuf_puts(&sb, "{");
	add_member(&sb, "method", capri_method(r));
	add_member(&sb, "target", capri_target(r));
	add_member(&sb, "version", (struct capri_str){version, strlen(version)});
	add_headers(&sb, r);
	add_member(&sb, "client", capri_client(r));
	strbuf_printf(&sb, "\"body_bytes\":%" PRIu64 "}\n", capri_body_bytes(r));
	return app_respond_strbuf(r, 200, "application/json", &sb);
}

/* ---- the handler ---- */

static int answer(struct capri_request *r)
{
	struct capri_str query = capri_query(r);
	int64_t n = wanted_bytes((struct slice){query.p, query.len});

	if (r->head->method == HTTP_M_CONNECT) /* no tunnel: the server closes (RFC 9110, 9.3.6) */
		return capri_respond(r, 200, NULL, NULL, 0);
	if (n == -2)
		return capri_problem(r, 400, "bytes=N takes a number of bytes, at most 2^50.");
	return n >= 0 ? answer_bytes(r, n) : answer_json(r);
}

static bool count_body(struct capri_request *r, void *arg, struct capri_str data, bool end)
{
	(void)arg;
	(void)data; /* the server counts */
	if (end && answer(r) != CAPRI_OK)
		(void)capri_problem(r, 503, "No memory for the answer.");
	return true;
}

/* The rest of the body will not come: nobody waits for the answer. */
static void gone(struct capri_request *r, void *arg)
{
	(void)arg;
	(void)capri_problem(r, 503, "The body did not come to its end.");
}

static int handle(struct capri_request *r, void *arg)
{
	(void)arg;
	if (!r->head->has_body)
		return answer(r);
	(void)capri_on_cancel(r, gone, NULL); /* both are called as they have to be */
	(void)capri_on_body(r, count_body, NULL);
	return CAPRI_PENDING;
}

static const struct capri_route routes[] = {
	{.pattern = "*", .name = "/*", .handler = handle, .kind = CAPRI_ASYNC,
	 .body = CAPRI_BODY_STREAM},
	{0},
};

const struct capri_app app_echo = {CAPRI_APP_INIT, .name = "builtin:echo", .routes = routes};
