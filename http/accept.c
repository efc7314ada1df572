/* SPDX-License-Identifier: MIT */
/* Accept (RFC 9110, 12.5.1), as far as the choice between text and JSON needs it, and
 * Accept-Encoding (12.5.3), as far as gzip is concerned. */
#include "http/http_priv.h"

/* How closely a media range names a type; a closer one wins whatever its weight. */
enum match { NO_MATCH, ANY_TYPE, ANY_SUBTYPE, EXACT };

/* The weight of a type as far as the field has been read. */
struct weight {
	enum match match;
	int q; /* thousandths */
};

static void skip_space(struct slice *s)
{
	while (s->len > 0 && (*s->p == ' ' || *s->p == '\t')) {
		s->p++;
		s->len--;
	}
}

/* Takes what stands before the next `sep` outside of quotes, and the separator. */
static struct slice take_until(struct slice *s, char sep)
{
	struct slice part = { s->p, 0 };
	bool quoted = false;
	size_t i;

	for (i = 0; i < s->len && (quoted || s->p[i] != sep); i++) {
		if (s->p[i] == '"')
			quoted = !quoted;
		else if (quoted && s->p[i] == '\\' && i + 1 < s->len)
			i++;
	}
	part.len = i;
	i += i < s->len;
	s->p += i;
	s->len -= i;
	while (part.len > 0 && (part.p[part.len - 1] == ' ' || part.p[part.len - 1] == '\t'))
		part.len--;
	return part;
}

/* "0.5" as 500; what is no weight counts as 0, so that it chooses nothing. */
static int read_weight(struct slice v)
{
	int q, unit = 100;

	if (v.len == 0 || v.len > 5 || v.p[0] < '0' || v.p[0] > '1')
		return 0;
	q = (v.p[0] - '0') * 1000;
	if (v.len > 1 && v.p[1] != '.')
		return 0;
	for (size_t i = 2; i < v.len; i++, unit /= 10) {
		if (v.p[i] < '0' || v.p[i] > '9')
			return 0;
		q += (v.p[i] - '0') * unit;
	}
	return q > 1000 ? 0 : q;
}

static int weight_of(struct slice params)
{
	while (params.len > 0) {
		struct slice param = take_until(&params, ';');

		skip_space(&param);
		if (param.len >= 2 && (param.p[0] | 0x20) == 'q' && param.p[1] == '=')
			return read_weight((struct slice){param.p + 2, param.len - 2});
	}
	return 1000;
}

static void note(struct weight *w, struct slice range, struct slice type, int q)
{
	const char *slash = memchr(type.p, '/', type.len);
	struct slice major = { type.p, (size_t)(slash + 1 - type.p) };
	enum match m = NO_MATCH;

	if (slice_eq(range, SLICE("*/*")))
		m = ANY_TYPE;
	else if (slice_eq_nocase(range, type))
		m = EXACT;
	else if (range.len == major.len + 1 && range.p[major.len] == '*' &&
		 slice_eq_nocase((struct slice){range.p, major.len}, major))
		m = ANY_SUBTYPE;
	if (m == NO_MATCH || m < w->match || (m == w->match && q <= w->q))
		return;
	w->match = m;
	w->q = q;
}

bool http_prefers_text(struct slice accept)
{
	struct weight text = { NO_MATCH, 0 }, json = text, problem = text;

	while (accept.len > 0) {
		struct slice params = take_until(&accept, ',');
		struct slice range;
		int q;

		skip_space(&params);
		range = take_until(&params, ';');
		q = weight_of(params);
		note(&text, range, SLICE("text/plain"), q);
		note(&json, range, SLICE("application/json"), q);
		note(&problem, range, SLICE("application/problem+json"), q);
	}
	return text.q > json.q && text.q > problem.q;
}

/* Weights of codings; -1: not named. */
struct codings {
	int gzip;
	int identity;
	int any;
};

/* What is named twice has the smaller weight: leaving gzip out is never wrong. */
static void note_coding(int *weight, int q)
{
	if (*weight < 0 || q < *weight)
		*weight = q;
}

static void read_codings(struct codings *c, struct slice value)
{
	while (value.len > 0) {
		struct slice params = take_until(&value, ',');
		struct slice coding;
		int q;

		skip_space(&params);
		coding = take_until(&params, ';');
		q = weight_of(params);
		if (TOKEN_IS(coding, "gzip") || TOKEN_IS(coding, "x-gzip"))
			note_coding(&c->gzip, q);
		else if (TOKEN_IS(coding, "identity"))
			note_coding(&c->identity, q);
		else if (slice_eq(coding, SLICE("*")))
			note_coding(&c->any, q);
	}
}

static bool gzip_is_best(const struct codings *c)
{
	int gzip = c->gzip < 0 ? c->any : c->gzip;

	return gzip > 0 && gzip >= c->identity;
}

bool http_accepts_gzip(struct slice value)
{
	struct codings c = { -1, -1, -1 };

	read_codings(&c, value);
	return gzip_is_best(&c);
}

bool http_request_accepts_gzip(const struct http_request *req)
{
	const struct http_field *f = NULL;
	struct codings c = { -1, -1, -1 };

	if (req->known_count[HTTP_F_ACCEPT_ENCODING] <= 1)
		return http_accepts_gzip(req->known[HTTP_F_ACCEPT_ENCODING]);
	while ((f = http_find_field(req, SLICE("accept-encoding"), f)))
		read_codings(&c, f->value);
	return gzip_is_best(&c);
}
