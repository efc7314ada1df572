/* SPDX-License-Identifier: MIT */
/* What is said of keeping an answer. What can not be read makes it less fresh, never more. */
#include "http/caching.h"

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static struct slice trim(struct slice s)
{
	while (s.len > 0 && is_blank(s.p[0])) {
		s.p++;
		s.len--;
	}
	while (s.len > 0 && is_blank(s.p[s.len - 1]))
		s.len--;
	return s;
}

/* The end of the element that begins at p: a comma that is not within quotes. */
static const char *element_end(const char *p, const char *end)
{
	bool quoted = false;

	for (; p < end && (quoted || *p != ','); p++) {
		if (*p == '"')
			quoted = !quoted;
		else if (*p == '\\' && quoted && p + 1 < end)
			p++;
	}
	return p;
}

bool http_next_token(struct slice *rest, struct slice *ret)
{
	while (rest->len > 0) {
		const char *end = rest->p + rest->len, *to = element_end(rest->p, end);

		*ret = trim((struct slice){rest->p, (size_t)(to - rest->p)});
		rest->p = to < end ? to + 1 : to;
		rest->len = (size_t)(end - rest->p);
		if (ret->len > 0)
			return true;
	}
	return false;
}

/* Seconds, perhaps in quotes. What is no number is 0. */
static uint64_t seconds(struct slice s)
{
	uint64_t n = 0;

	if (s.len >= 2 && s.p[0] == '"' && s.p[s.len - 1] == '"') {
		s.p++;
		s.len -= 2;
	}
	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return 0;
		n = n * 10 + (uint64_t)(s.p[i] - '0');
		if (n > HTTP_AGE_MAX)
			n = HTTP_AGE_MAX;
	}
	return n;
}

static void take_seconds(struct slice value, bool *has, uint64_t *ret)
{
	uint64_t n = seconds(value);

	if (!*has || n < *ret)
		*ret = n;
	*has = true;
}

static void take_directive(struct http_cache_control *c, struct slice name, struct slice value)
{
	const struct { struct slice name; bool *flag; } flags[] = {
		{SLICE("no-store"), &c->no_store},
		{SLICE("no-cache"), &c->no_cache},
		{SLICE("private"), &c->is_private},
		{SLICE("public"), &c->is_public},
		{SLICE("must-revalidate"), &c->must_revalidate},
		{SLICE("proxy-revalidate"), &c->must_revalidate},
		{SLICE("only-if-cached"), &c->only_if_cached},
	};

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (slice_eq_nocase(name, flags[i].name))
			*flags[i].flag = true;
	if (slice_eq_nocase(name, SLICE("max-age")))
		take_seconds(value, &c->has_max_age, &c->max_age_s);
	else if (slice_eq_nocase(name, SLICE("s-maxage")))
		take_seconds(value, &c->has_s_maxage, &c->s_maxage_s);
	else if (slice_eq_nocase(name, SLICE("stale-while-revalidate")))
		take_seconds(value, &c->has_stale, &c->stale_s);
}

void http_read_cache_control(struct http_cache_control *c, struct slice value)
{
	struct slice e;

	while (http_next_token(&value, &e)) {
		const char *eq = memchr(e.p, '=', e.len);
		size_t n = eq ? (size_t)(eq - e.p) : e.len;
		struct slice arg = {NULL, 0};

		if (eq)
			arg = trim((struct slice){eq + 1, e.len - n - 1});
		take_directive(c, trim((struct slice){e.p, n}), arg);
	}
}

/* Of one field. */
static struct slice cookie_in(struct slice value, struct slice name)
{
	const char *p = value.p, *end = p + value.len;

	while (p < end) {
		const char *semi = memchr(p, ';', (size_t)(end - p)), *to = semi ? semi : end;
		const char *eq = memchr(p, '=', (size_t)(to - p));

		if (eq && slice_eq(trim((struct slice){p, (size_t)(eq - p)}), name))
			return trim((struct slice){eq + 1, (size_t)(to - eq - 1)});
		p = semi ? semi + 1 : end;
	}
	return (struct slice){NULL, 0};
}

struct slice http_cookie(const struct http_request *req, struct slice name)
{
	const struct http_field *f = NULL;

	while ((f = http_find_field(req, SLICE("Cookie"), f))) {
		struct slice s = cookie_in(f->value, name);

		if (s.p)
			return s;
	}
	return (struct slice){NULL, 0};
}
