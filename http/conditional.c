/* SPDX-License-Identifier: MIT */
/* Conditional requests and ranges: does the client have what it would get, and how much of it does
 * it want? What can not be read is ignored or matches nothing, so that more is sent, never less. */
#include "http/conditional.h"
#include "http/http_priv.h"

/* An entity tag with its quotes, without the "W/"; opaque.p is NULL if there is none. */
struct etag {
	struct slice opaque;
	bool weak;
};

/* etagc (RFC 9110, 8.8.3): visible but the quote, and 0x80 and above. There is no escape. */
static bool is_etag_char(char c)
{
	return (class_of(c) & C_VALUE) && c != '"' && c != ' ' && c != '\t';
}

static struct etag take_etag(struct slice *s)
{
	struct etag e = { { NULL, 0 }, false };
	const char *p = s->p, *end = p + s->len, *start;

	if (end - p >= 2 && p[0] == 'W' && p[1] == '/') {
		e.weak = true;
		p += 2;
	}
	start = p;
	if (p == end || *p++ != '"')
		return e;
	while (p < end && is_etag_char(*p))
		p++;
	if (p == end || *p++ != '"')
		return e;
	e.opaque = (struct slice){start, (size_t)(p - start)};
	*s = (struct slice){p, (size_t)(end - p)};
	return e;
}

/* The tag that is all of s. */
static struct etag whole_etag(struct slice s)
{
	struct etag e = take_etag(&s);

	if (s.len > 0)
		e.opaque.p = NULL;
	return e;
}

static void skip_spaces(struct slice *s)
{
	while (s->len > 0 && (*s->p == ' ' || *s->p == '\t')) {
		s->p++;
		s->len--;
	}
}

/* To the next element; false if something else than a comma is in between, or nothing comes. */
static bool skip_comma(struct slice *s)
{
	bool comma = false;

	skip_spaces(s);
	while (s->len > 0 && *s->p == ',') {
		comma = true;
		s->p++;
		s->len--;
		skip_spaces(s);
	}
	return comma && s->len > 0;
}

static bool same_etag(const struct etag *a, const struct etag *b, bool weak)
{
	return a->opaque.p && b->opaque.p && (weak || (!a->weak && !b->weak)) &&
	       slice_eq(a->opaque, b->opaque);
}

bool http_etag_matches(struct slice list, struct slice etag, bool weak)
{
	struct etag mine, e;

	if (slice_eq(list, SLICE("*")))
		return true;
	if (list.len == 0 || etag.len == 0)
		return false;
	mine = whole_etag(etag);
	(void)(*list.p == ',' && skip_comma(&list)); /* empty elements may be anywhere */
	do {
		e = take_etag(&list);
		if (same_etag(&e, &mine, weak))
			return true;
	} while (e.opaque.p && skip_comma(&list));
	return false;
}

/* The same for all fields of that name. */
static bool any_matches(const struct http_request *req, enum http_known id, struct slice name,
			struct slice etag, bool weak)
{
	const struct http_field *f = NULL;

	if (req->known_count[id] == 1)
		return http_etag_matches(req->known[id], etag, weak);
	while ((f = http_find_field(req, name, f)))
		if (http_etag_matches(f->value, etag, weak))
			return true;
	return false;
}

/* The date of a field that occurs once, is one, and can be compared. */
static bool read_date(const struct http_request *req, enum http_known id,
		      const struct http_validator *v, int64_t now_s, int64_t *ret)
{
	return req->known_count[id] == 1 && v->has_mtime &&
	       http_parse_date(req->known[id], now_s, ret);
}

int http_check_conditions(const struct http_request *req, const struct http_validator *v,
			  int64_t now_s)
{
	enum http_method m = req->method;
	bool safe = m == HTTP_M_GET || m == HTTP_M_HEAD;
	int64_t date;

	if (m == HTTP_M_CONNECT || m == HTTP_M_OPTIONS || m == HTTP_M_TRACE)
		return 0;
	if (req->known_count[HTTP_F_IF_MATCH] > 0) {
		if (!any_matches(req, HTTP_F_IF_MATCH, SLICE("if-match"), v->etag, false))
			return 412;
	} else if (read_date(req, HTTP_F_IF_UNMODIFIED_SINCE, v, now_s, &date)) {
		if (v->mtime_s > date)
			return 412;
	}
	if (req->known_count[HTTP_F_IF_NONE_MATCH] > 0) {
		if (any_matches(req, HTTP_F_IF_NONE_MATCH, SLICE("if-none-match"), v->etag, true))
			return safe ? 304 : 412;
	} else if (safe && read_date(req, HTTP_F_IF_MODIFIED_SINCE, v, now_s, &date)) {
		if (v->mtime_s <= date)
			return 304;
	}
	return 0;
}

/* 1*DIGIT; what is too large for the type is larger than every size, too. */
static bool take_number(struct slice *s, uint64_t *ret)
{
	const char *start = s->p;
	uint64_t n = 0;

	while (s->len > 0 && *s->p >= '0' && *s->p <= '9') {
		unsigned d = (unsigned)(*s->p - '0');

		n = n > (UINT64_MAX - d) / 10 ? UINT64_MAX : n * 10 + d;
		s->p++;
		s->len--;
	}
	*ret = n;
	return s->p > start;
}

enum http_range http_read_range(struct slice value, uint64_t size, uint64_t *ret_offset,
				uint64_t *ret_len)
{
	uint64_t first, last = UINT64_MAX;
	bool has_first, has_last;

	if (value.len < 6 || !slice_eq_nocase((struct slice){value.p, 6}, SLICE("bytes=")))
		return HTTP_RANGE_NONE;
	value = (struct slice){value.p + 6, value.len - 6};
	has_first = take_number(&value, &first);
	if (value.len == 0 || *value.p != '-')
		return HTTP_RANGE_NONE;
	value = (struct slice){value.p + 1, value.len - 1};
	has_last = take_number(&value, &last);
	if (value.len > 0 || (!has_first && !has_last))
		return HTTP_RANGE_NONE;
	if (!has_first) {
		if (last == 0)
			return HTTP_RANGE_UNSATISFIABLE;
		if (size == 0)
			return HTTP_RANGE_NONE;
		*ret_len = last < size ? last : size;
		*ret_offset = size - *ret_len;
		return HTTP_RANGE_OK;
	}
	if (has_last && last < first)
		return HTTP_RANGE_NONE;
	if (first >= size)
		return HTTP_RANGE_UNSATISFIABLE;
	*ret_offset = first;
	*ret_len = (has_last && last < size ? last + 1 : size) - first;
	return HTTP_RANGE_OK;
}

/* Does If-Range allow the part? */
static bool if_range(const struct http_request *req, const struct http_validator *v, int64_t now_s)
{
	struct slice value = req->known[HTTP_F_IF_RANGE];
	struct etag theirs, mine;
	int64_t date;

	if (req->known_count[HTTP_F_IF_RANGE] == 0)
		return true;
	if (read_date(req, HTTP_F_IF_RANGE, v, now_s, &date))
		return date == v->mtime_s && v->mtime_s < now_s;
	if (req->known_count[HTTP_F_IF_RANGE] > 1 || v->etag.len == 0)
		return false;
	theirs = whole_etag(value);
	mine = whole_etag(v->etag);
	return same_etag(&theirs, &mine, false);
}

enum http_range http_request_range(const struct http_request *req, const struct http_validator *v,
				   int64_t now_s, uint64_t size, uint64_t *ret_offset,
				   uint64_t *ret_len)
{
	if (req->method != HTTP_M_GET || req->known_count[HTTP_F_RANGE] != 1 ||
	    !if_range(req, v, now_s))
		return HTTP_RANGE_NONE;
	return http_read_range(req->known[HTTP_F_RANGE], size, ret_offset, ret_len);
}

void http_put_content_range(struct http_out *o, uint64_t offset, uint64_t len, uint64_t size)
{
	http_put_slice(o, SLICE("Content-Range: bytes "));
	if (len > 0) {
		http_put_u64(o, offset);
		http_put(o, "-", 1);
		http_put_u64(o, offset + len - 1);
	} else {
		http_put(o, "*", 1);
	}
	http_put(o, "/", 1);
	http_put_u64(o, size);
	http_put(o, "\r\n", 2);
}
