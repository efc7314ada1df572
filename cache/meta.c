/* SPDX-License-Identifier: MIT */
/* Heads of answers: whether they allow the answer to be kept, for how long, and what is kept of
 * them. */
#include "base/siphash.h"
#include "cache/cache_priv.h"

#define MAGIC 0x63617031u

struct stored {
	uint32_t magic, status;
	uint64_t stored_ns, age_s;
	int64_t mtime_s;
	uint16_t type_len, lines_len, bare_len, etag_at, etag_len;
	uint8_t has_mtime, pad[5];
};
/* ... then the type, then the lines */

/* Takes the next line. Lines are well-formed: they have been checked, or made, by the server. */
static bool take_line(struct slice *rest, struct http_field *ret, struct slice *ret_line)
{
	const char *end = memchr(rest->p, '\n', rest->len), *colon;

	if (rest->len == 0 || !end)
		return false;
	colon = memchr(rest->p, ':', (size_t)(end - rest->p));
	if (!colon || end - colon < 3)
		return false;
	ret->name = (struct slice){rest->p, (size_t)(colon - rest->p)};
	ret->value = (struct slice){colon + 2, (size_t)(end - colon - 3)};
	*ret_line = (struct slice){rest->p, (size_t)(end + 1 - rest->p)};
	rest->p += ret_line->len;
	rest->len -= ret_line->len;
	return true;
}

static bool is_one_of(struct slice name, const char *const *list)
{
	for (; *list; list++)
		if (slice_eq_nocase(name, slice_of(*list)))
			return true;
	return false;
}

/* Of this exchange, this connection, this client, or made anew for each answer. */
static bool is_passing(struct slice name)
{
	static const char *const list[] = {
		"RateLimit", "RateLimit-Policy", "X-RateLimit-Limit", "X-RateLimit-Remaining",
		"X-RateLimit-Reset", "Cache-Status", "Age", "Date", "X-Request-Id", "Connection",
		"Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authentication-Info",
		"TE", "Trailer", "Transfer-Encoding", "Upgrade", NULL,
	};

	return is_one_of(name, list);
}

/* What a 304 does not say again (RFC 9110, 15.4.5): of the content, but for where it is. */
static bool is_of_content(struct slice name)
{
	return name.len > 8 && slice_eq_nocase((struct slice){name.p, 8}, SLICE("Content-")) &&
	       !slice_eq_nocase(name, SLICE("Content-Location"));
}

/* ---- may it be kept? ---- */

struct said {
	struct http_cache_control cc;
	uint64_t age_s;
	bool set_cookie, coded, etag, varies_coding;
	const char *vary;                /* why it is not kept; NULL */
};

static void read_vary(const struct cache_rule *rule, struct slice list, struct said *ret)
{
	struct slice name;

	while (http_next_token(&list, &name)) {
		if (slice_eq_nocase(name, SLICE("Accept-Encoding")))
			ret->varies_coding = true;
		else if (slice_eq(name, SLICE("*")) || !key_names(rule, name))
			ret->vary = "vary";
	}
}

static uint64_t read_age(struct slice s)
{
	uint64_t n = 0;

	for (size_t i = 0; i < s.len && i < 9 && s.p[i] >= '0' && s.p[i] <= '9'; i++)
		n = n * 10 + (uint64_t)(s.p[i] - '0');
	return n;
}

static void read_said(const struct cache_rule *rule, const struct request_view *v,
		      struct said *ret)
{
	struct slice rest = v->lines, line;
	struct http_field f;

	*ret = (struct said){0};
	while (take_line(&rest, &f, &line)) {
		if (slice_eq_nocase(f.name, SLICE("Cache-Control"))) {
			http_read_cache_control(&ret->cc, f.value);
		} else if (slice_eq_nocase(f.name, SLICE("Vary"))) {
			read_vary(rule, f.value, ret);
		} else if (slice_eq_nocase(f.name, SLICE("Set-Cookie"))) {
			ret->set_cookie = true;
		} else if (slice_eq_nocase(f.name, SLICE("ETag"))) {
			ret->etag = true;
		} else if (slice_eq_nocase(f.name, SLICE("Content-Encoding"))) {
			ret->coded = true;
		} else if (slice_eq_nocase(f.name, SLICE("Age"))) {
			ret->age_s = read_age(f.value);
		}
	}
	/* Coded by the handler for this client: who can read it is not what the key goes by. */
	if (ret->coded && !v->coded && ret->varies_coding &&
	    !key_names(rule, SLICE("Accept-Encoding")))
		ret->vary = "vary";
}

static bool status_is_kept(const struct cache_rule *rule, int status)
{
	if (status == 206 || status == 304)
		return false;
	for (size_t i = 0; i < rule->conf->nstatuses; i++)
		if (rule->conf->status[i] == status)
			return true;
	return false;
}

static void set_times(const struct cache_rule *rule, const struct said *s, struct verdict *ret)
{
	uint64_t age_ns = s->age_s * NS_PER_S;

	ret->ttl_ns = rule->ttl_ns;
	if (s->cc.has_s_maxage)
		ret->ttl_ns = s->cc.s_maxage_s * NS_PER_S;
	else if (s->cc.has_max_age)
		ret->ttl_ns = s->cc.max_age_s * NS_PER_S;
	ret->ttl_ns = ret->ttl_ns > age_ns ? ret->ttl_ns - age_ns : 0;
	ret->stale_ns = s->cc.has_stale ? s->cc.stale_s * NS_PER_S : rule->stale_ns;
	if (s->cc.must_revalidate)
		ret->stale_ns = 0;
}

void meta_judge(const struct cache_rule *rule, const struct request_view *v, uint64_t object_max,
		struct verdict *ret)
{
	struct said s;

	*ret = (struct verdict){.told = true};
	read_said(rule, v, &s);
	set_times(rule, &s, ret);
	ret->etag = s.etag;
	if (!status_is_kept(rule, v->status)) {
		ret->why = "status";
		ret->told = v->status < 500 && v->status != 206 && v->status != 304;
	} else if (s.set_cookie) {
		ret->why = "set-cookie";
	} else if (s.cc.no_store || s.cc.no_cache || s.cc.is_private) {
		ret->why = "cache-control";
	} else if (s.vary) {
		ret->why = s.vary;
	} else if (ret->ttl_ns == 0) {
		ret->why = "ttl";
	} else if (v->seen == SEEN_NOT || v->len > (int64_t)object_max) {
		ret->why = "size";
	} else if (v->type.len >= 17 && slice_eq_nocase((struct slice){v->type.p, 17},
							SLICE("text/event-stream"))) {
		ret->why = "stream";
	}
	ret->stores = ret->why == NULL;
}

/* ---- as it is kept ---- */

struct slice meta_etag(char to[META_ETAG_MAX], struct slice body, bool weak)
{
	static const uint64_t key[2] = {0x6361707269636f72ULL, 0x6e20636163686521ULL};
	struct siphash h;
	int n;

	siphash_init(&h, key);
	siphash_add(&h, body.p, body.len);
	n = snprintf(to, META_ETAG_MAX, "%s\"%016llx-%llx\"", weak ? "W/" : "",
		     (unsigned long long)siphash_end(&h), (unsigned long long)body.len);
	return (struct slice){to, (size_t)n};
}

static void put_lines(struct http_out *o, struct slice rest, bool content)
{
	struct http_field f;
	struct slice line;

	while (take_line(&rest, &f, &line))
		if (!is_passing(f.name) && is_of_content(f.name) == content)
			http_put_slice(o, line);
}

static void read_validators(struct slice lines, struct stored *s, uint64_t now_wall_s)
{
	const char *begin = lines.p;
	struct http_field f;
	struct slice line;

	while (take_line(&lines, &f, &line)) {
		if (slice_eq_nocase(f.name, SLICE("ETag"))) {
			s->etag_at = (uint16_t)(f.value.p - begin);
			s->etag_len = (uint16_t)f.value.len;
		} else if (slice_eq_nocase(f.name, SLICE("Last-Modified"))) {
			s->has_mtime = http_parse_date(f.value, (int64_t)now_wall_s, &s->mtime_s);
		}
	}
}

size_t meta_make(char *to, size_t cap, const struct request_view *v, struct slice etag,
		 uint64_t now_ns)
{
	struct stored s = {.magic = MAGIC, .status = (uint32_t)v->status, .stored_ns = now_ns};
	struct http_out o = {.p = to, .len = sizeof(s), .cap = cap};
	struct said said;
	const struct cache_rule none = {.conf = &(const struct conf_cache_rule){0}};
	size_t lines;

	if (cap < sizeof(s) || v->type.len > UINT16_MAX)
		return 0;
	read_said(&none, v, &said);
	s.age_s = said.age_s;
	s.type_len = (uint16_t)v->type.len;
	http_put_slice(&o, v->type);
	lines = o.len;
	put_lines(&o, v->lines, false);
	if (etag.len > 0)
		http_put_field(&o, SLICE("ETag"), etag);
	s.bare_len = (uint16_t)(o.len - lines);
	put_lines(&o, v->lines, true);
	if (o.over || o.len - lines > LINES_MAX)
		return 0;
	s.lines_len = (uint16_t)(o.len - lines);
	read_validators((struct slice){to + lines, s.lines_len}, &s, clock_wall_ns() / NS_PER_S);
	memcpy(to, &s, sizeof(s));
	return o.len;
}

bool meta_read(struct slice bytes, struct meta *ret)
{
	struct stored s;
	const char *lines;

	if (bytes.len < sizeof(s))
		return false;
	memcpy(&s, bytes.p, sizeof(s));
	if (s.magic != MAGIC || s.status < 200 || s.status > 599 ||
	    bytes.len != sizeof(s) + s.type_len + s.lines_len || s.bare_len > s.lines_len ||
	    s.lines_len > LINES_MAX || (size_t)s.etag_at + s.etag_len > s.lines_len)
		return false;
	lines = bytes.p + sizeof(s) + s.type_len;
	*ret = (struct meta){
		.status = (int)s.status, .stored_ns = s.stored_ns, .age_s = s.age_s,
		.has_mtime = s.has_mtime != 0, .mtime_s = s.mtime_s,
		.type = {bytes.p + sizeof(s), s.type_len},
		.etag = {lines + s.etag_at, s.etag_len},
		.lines = {lines, s.lines_len}, .bare_len = s.bare_len,
	};
	if (s.etag_len == 0)
		ret->etag.p = NULL;
	return true;
}
