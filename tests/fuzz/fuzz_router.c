/* SPDX-License-Identifier: MIT */
/*
 * Patterns, paths and methods from the input, compared with a matcher that looks at every pattern,
 * one segment after the other. The input is lines: "+METHODS PATTERN" adds a route, "?METHOD PATH"
 * asks. What is refused must be refused with a reason, and what is taken must match as the naive
 * matcher says, in its order.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/check.h"
#include "http/router.h"

#define ROUTES_MAX 24
#define NONE UINT32_MAX

struct line { struct slice methods, path; };

static struct line routes[ROUTES_MAX];
static uint32_t nroutes;

static struct slice take_until(struct slice *s, char sep)
{
	const char *end = s->len ? memchr(s->p, sep, s->len) : NULL;
	struct slice part = { s->p, end ? (size_t)(end - s->p) : s->len };

	*s = (struct slice){s->p + part.len + !!end, s->len - part.len - !!end};
	return part;
}

static struct slice trimmed(struct slice t)
{
	while (t.len > 0 && (*t.p == ' ' || *t.p == '\t'))
		t = (struct slice){t.p + 1, t.len - 1};
	while (t.len > 0 && (t.p[t.len - 1] == ' ' || t.p[t.len - 1] == '\t'))
		t.len--;
	return t;
}

/* Is the method named in the list? */
static bool names(struct slice list, struct slice method)
{
	while (list.len > 0)
		if (slice_eq(trimmed(take_until(&list, ',')), method))
			return true;
	return false;
}

static bool any(struct slice list)
{
	return list.len == 0 || slice_eq(list, SLICE("*"));
}

/* 0: literal, 1: {name}, 2: the rest. */
static int kind(struct slice segment, bool last)
{
	if (last && slice_eq(segment, SLICE("*")))
		return 2;
	return segment.len > 0 && segment.p[0] == '{';
}

static bool naive_match(struct slice pattern, struct slice path)
{
	if (path.len == 0 || path.p[0] != '/')
		return false;
	for (;;) {
		const char *ps, *xs;
		struct slice p, x;

		pattern = (struct slice){pattern.p + 1, pattern.len - 1};
		path = (struct slice){path.p + 1, path.len - 1};
		ps = pattern.len ? memchr(pattern.p, '/', pattern.len) : NULL;
		xs = path.len ? memchr(path.p, '/', path.len) : NULL;
		p = (struct slice){pattern.p, ps ? (size_t)(ps - pattern.p) : pattern.len};
		x = (struct slice){path.p, xs ? (size_t)(xs - path.p) : path.len};
		if (kind(p, !ps) == 2)
			return true;
		if (kind(p, !ps) == 1 ? x.len == 0 : !slice_eq(p, x))
			return false;
		if (!ps || !xs)
			return !ps && !xs;
		pattern = (struct slice){ps, pattern.len - (size_t)(ps - pattern.p)};
		path = (struct slice){xs, path.len - (size_t)(xs - path.p)};
	}
}

/* Negative: a is more specific than b, where both match one path; 0: the same pattern. */
static int compare(struct slice a, struct slice b)
{
	while (a.p && b.p) {
		struct slice as, bs;
		int ak, bk;

		as = take_until(&a, '/');
		bs = take_until(&b, '/');
		ak = kind(as, a.p == as.p + as.len);
		bk = kind(bs, b.p == bs.p + bs.len);
		if (ak != bk)
			return ak - bk;
		if (ak == 0 && !slice_eq(as, bs))
			return as.len != bs.len ? (as.len < bs.len ? -1 : 1)
						: memcmp(as.p, bs.p, as.len);
		if (a.p == as.p + as.len || b.p == bs.p + bs.len)
			return (a.p != as.p + as.len) - (b.p != bs.p + bs.len);
	}
	return 0;
}

/* Does the route serve it: 2 by its name or as any, 1 HEAD with GET, 0 not. */
static int serves(const struct line *l, struct slice method)
{
	if (any(l->methods) || names(l->methods, method))
		return 2;
	return slice_eq(method, SLICE("HEAD")) && names(l->methods, SLICE("GET"));
}

/* The best of the routes that match and come behind `after`. */
static uint32_t naive_next(struct slice method, struct slice path, uint32_t after)
{
	uint32_t best = NONE;

	for (uint32_t i = 0; i < nroutes; i++) {
		int order = 1;

		if (!serves(&routes[i], method) || !naive_match(routes[i].path, path))
			continue;
		if (after != NONE) {
			order = compare(routes[i].path, routes[after].path);
			if (order == 0)
				order = serves(&routes[after], method) - serves(&routes[i], method);
		}
		if (order <= 0)
			continue;
		if (best == NONE || compare(routes[i].path, routes[best].path) < 0 ||
		    (compare(routes[i].path, routes[best].path) == 0 &&
		     serves(&routes[i], method) > serves(&routes[best], method)))
			best = i;
	}
	return best;
}

static enum http_method method_of(struct slice name)
{
	for (int m = 1; m < HTTP_M_COUNT; m++)
		if (slice_eq(slice_of(http_method_name((enum http_method)m)), name))
			return (enum http_method)m;
	return HTTP_M_OTHER;
}

/* What Allow names may be used. */
static void check_allowed(struct slice name, struct slice path)
{
	bool allowed = slice_eq(name, SLICE("OPTIONS"));

	for (uint32_t i = 0; i < nroutes; i++)
		allowed |= naive_match(routes[i].path, path) && serves(&routes[i], name);
	CHECK(allowed);
}

/* The values put into the pattern yield the path again. */
static void check_values(const struct http_match *m, struct slice pattern, struct slice path)
{
	uint32_t n = 0;
	size_t at = 1;

	(void)take_until(&pattern, '/');
	for (;;) {
		struct slice s = take_until(&pattern, '/'), want = s;
		bool last = pattern.p == s.p + s.len;

		if (kind(s, last) != 0) {
			CHECK(n < m->nparams);
			want = m->param[n].value;
			CHECK(slice_eq(m->param[n].name, kind(s, last) == 2 ? s :
				       (struct slice){s.p + 1, s.len - 2}));
			CHECK(want.p == path.p + at && (want.len > 0 || kind(s, last) == 2));
			CHECK(http_match_param(m, m->param[n].name).p == want.p);
			n++;
		}
		CHECK(want.len <= path.len - at && memcmp(path.p + at, want.p, want.len) == 0);
		at += want.len;
		if (last)
			break;
		CHECK(at < path.len && path.p[at++] == '/');
	}
	CHECK(at == path.len && n == m->nparams);
}

static void check_allow(const struct http_router *r, struct slice path)
{
	char buf[HTTP_ALLOW_MAX];
	struct slice left = { buf, http_router_allow(r, path, buf, sizeof(buf)) };
	bool found = false;

	for (uint32_t i = 0; i < nroutes; i++)
		found |= naive_match(routes[i].path, path);
	CHECK(found == (left.len > 0) && left.len <= sizeof(buf));
	while (left.len > 0)
		check_allowed(trimmed(take_until(&left, ',')), path);
}

static void ask(const struct http_router *r, struct slice method, struct slice path)
{
	uint32_t want = NONE, skip = 0;
	struct http_match m;

	do {
		want = naive_next(method, path, want);
		CHECK(http_router_match(r, method_of(method), method, path, skip++, &m) ==
		      (want != NONE));
		if (want != NONE) {
			CHECK(m.target == &routes[want]);
			check_values(&m, routes[want].path, path);
		}
	} while (want != NONE);
	check_allow(r, path);
}

/* Nothing of a route may be refused for being there already unless it is. */
static void check_refusal(const struct line *l, const char *why)
{
	static const char taken[] = "already; only one of them can have it";
	size_t len = strlen(why);
	bool same = false;

	CHECK(strncmp(why, "pattern \"", 9) == 0);
	for (uint32_t i = 0; i < nroutes; i++)
		same |= compare(routes[i].path, l->path) == 0;
	CHECK(same || len < sizeof(taken) || strcmp(why + len + 1 - sizeof(taken), taken) != 0);
}

static void add(struct http_router *r, struct slice methods, struct slice pattern)
{
	struct line *l = &routes[nroutes];
	char why[200] = "";

	*l = (struct line){ methods, pattern };
	if (http_router_add(r, methods, pattern, l, why, sizeof(why))) {
		check_refusal(l, why);
		return;
	}
	for (uint32_t i = 0; i < nroutes; i++) {
		struct slice left = methods;

		if (compare(routes[i].path, pattern) != 0)
			continue;
		CHECK(!any(methods) && !any(routes[i].methods));
		while (left.len > 0)
			CHECK(!names(routes[i].methods, trimmed(take_until(&left, ','))));
	}
	nroutes++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice left = { (const char *)data, size };
	struct http_router *r;

	nroutes = 0;
	if (size == 0 || http_router_new(&r))
		return 0;
	while (left.len > 0) {
		struct slice line = take_until(&left, '\n'), methods;
		char what;

		if (line.len == 0)
			continue;
		what = *line.p;
		line = (struct slice){line.p + 1, line.len - 1};
		methods = take_until(&line, ' ');
		if (what == '+' && nroutes < ROUTES_MAX)
			add(r, methods, line);
		else if (what == '?')
			ask(r, methods, line);
	}
	http_router_free(r);
	return 0;
}
