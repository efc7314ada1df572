/* SPDX-License-Identifier: MIT */
/*
 * The four forms of a request target (RFC 9112, 3.2) and the syntax of an authority. Which form
 * goes with which method is decided here; a target that could be read in two ways is refused.
 */
#include "http/http_priv.h"

/* [":" port]; an empty port is what RFC 3986 allows, unless one is needed. */
static bool port_ok(const char *p, const char *end, bool needed)
{
	unsigned n = 0;

	if (p == end)
		return !needed;
	if (*p++ != ':')
		return false;
	if (p == end)
		return !needed;
	for (; p < end; p++) {
		if (*p < '0' || *p > '9')
			return false;
		n = n * 10 + (unsigned)(*p - '0');
		if (n > 65535)
			return false;
	}
	return n > 0 || !needed;
}

/* "[" IPv6 "]": which address it is does not matter here, only that it can be nothing else. */
static const char *skip_literal(const char *p, const char *end)
{
	const char *start = ++p;

	while (p < end && ((class_of(*p) & C_HEX) || *p == ':' || *p == '.'))
		p++;
	return p < end && *p == ']' && p - start >= 2 ? p + 1 : NULL;
}

static const char *skip_name(const char *p, const char *end)
{
	while (p < end) {
		if (class_of(*p) & C_HOST)
			p++;
		else if (*p == '%' && end - p >= 3 && (class_of(p[1]) & C_HEX) &&
			 (class_of(p[2]) & C_HEX))
			p += 3;
		else
			break;
	}
	return p;
}

bool http_authority_ok(struct slice a, bool needs_port)
{
	const char *p, *end;

	if (a.len == 0)
		return false;
	end = a.p + a.len;
	p = *a.p == '[' ? skip_literal(a.p, end) : skip_name(a.p, end);
	return p && p > a.p && port_ok(p, end, needs_port);
}

/* Length of "http://" or "https://" in any case, else 0. */
static size_t scheme_len(struct slice t)
{
	if (t.len >= 7 && slice_eq_nocase((struct slice){t.p, 7}, SLICE("http://")))
		return 7;
	if (t.len >= 8 && slice_eq_nocase((struct slice){t.p, 8}, SLICE("https://")))
		return 8;
	return 0;
}

/*
 * The authority without its user information. Names and passwords in a target are of no use to a
 * server and are dropped (RFC 9110, 4.2.4); since "@" can stand neither in them nor in a host, what
 * the host is does not depend on the reader.
 */
static struct slice strip_userinfo(struct slice a)
{
	const char *at = memchr(a.p, '@', a.len);
	const char *p;

	if (!at)
		return a;
	for (p = a.p; p < at; p++) {
		p = skip_name(p, at);
		if (p < at && *p != ':')
			return (struct slice){NULL, 0};
	}
	return (struct slice){at + 1, a.len - (size_t)(at + 1 - a.p)};
}

static enum http_err read_absolute(struct http_request *req, const char *question)
{
	const char *end = req->target.p + req->target.len;
	const char *start, *slash;
	size_t n = scheme_len(req->target);

	if (n == 0)
		return HTTP_E_BAD_TARGET;
	start = req->target.p + n;
	if (question < start)
		return HTTP_E_BAD_TARGET;
	slash = memchr(start, '/', (size_t)(question - start));
	if (!slash)
		slash = question;
	req->form = HTTP_ABSOLUTE_FORM;
	req->authority = strip_userinfo((struct slice){start, (size_t)(slash - start)});
	if (!http_authority_ok(req->authority, false))
		return HTTP_E_BAD_TARGET;
	req->raw_path = slash < question ? (struct slice){slash, (size_t)(question - slash)}
					 : SLICE("/");
	if (question < end)
		req->query = (struct slice){question + 1, (size_t)(end - question - 1)};
	return HTTP_OK;
}

enum http_err http_read_target(struct http_request *req, const char *question)
{
	struct slice t = req->target;
	const char *end = t.p + t.len;

	if (req->method == HTTP_M_CONNECT) {
		req->form = HTTP_AUTHORITY_FORM;
		req->authority = t;
		req->raw_path = (struct slice){t.p, 0};
		return http_authority_ok(t, true) ? HTTP_OK : HTTP_E_BAD_TARGET;
	}
	if (*t.p == '/') {
		req->form = HTTP_ORIGIN_FORM;
		req->raw_path = (struct slice){t.p, (size_t)(question - t.p)};
		if (question < end)
			req->query = (struct slice){question + 1, (size_t)(end - question - 1)};
		return HTTP_OK;
	}
	if (t.len == 1 && *t.p == '*') {
		req->form = HTTP_ASTERISK_FORM;
		req->raw_path = t;
		return req->method == HTTP_M_OPTIONS ? HTTP_OK : HTTP_E_BAD_TARGET;
	}
	return read_absolute(req, question);
}
