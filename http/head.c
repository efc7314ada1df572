/* SPDX-License-Identifier: MIT */
/*
 * The parser of request heads: one pass over the bytes. Checks that need one line alone are made
 * while it is read, those that need several lines (Host, framing) when the head is complete; so
 * what is wrong, and which error it is, does not depend on how the bytes were cut into reads.
 *
 * A head that came in pieces: *scan keeps where the first line begins that was not complete, and
 * how many lines lie before it. Those are not looked at again until the empty line has come; then
 * the whole head is parsed once more, since the caller's buffer may have moved meanwhile.
 */
#include "http/http_priv.h"

#define METHOD_MAX 20 /* bytes, as in gunicorn; UPDATEREDIRECTREF has 17 */

/* *scan: offset of the line | lines before it, the request line included, above these bits */
#define SCAN_OFFSET_BITS 40
_Static_assert(sizeof(size_t) == 8, "*scan packs two numbers");

struct head {
	struct http_request *req;
	const struct http_limits *limits;
	const char *end;     /* of the bytes that may be looked at */
	const char *line;    /* where the line being read begins */
	size_t lines;        /* complete lines, the request line included */
	uint32_t lengths;    /* Content-Length fields */
	uint32_t codings;    /* Transfer-Encoding fields */
	bool coding_bad;     /* malformed, or something after chunked */
	bool coding_other;   /* a coding that is not chunked */
	bool close;          /* Connection: close */
	bool keep_alive;     /* Connection: keep-alive */
	bool upgrade;        /* Connection: upgrade */
	bool expect_bad;     /* an expectation other than 100-continue */
};

/* What else the parser acts on, beside enum http_known. */
enum { F_NONE = HTTP_F_COUNT, F_CONNECTION, F_CONTENT_LENGTH, F_TRANSFER_ENCODING };

/* The first byte of [p, end) that may not stand in a target, or is `mark`. */
static inline const char *scan_target(const char *p, const char *end, char mark)
{
#ifdef __SSE2__
	const __m128i top = _mm_set1_epi8(0x20), hash = _mm_set1_epi8('#');
	const __m128i del = _mm_set1_epi8(0x7f), stop = _mm_set1_epi8(mark);

	while (end - p >= 16) {
		__m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
		__m128i a = _mm_or_si128(_mm_cmpeq_epi8(_mm_min_epu8(x, top), x),
					 _mm_cmpeq_epi8(x, hash));
		__m128i b = _mm_or_si128(_mm_cmpeq_epi8(x, del), _mm_cmpeq_epi8(x, stop));
		int mask = _mm_movemask_epi8(_mm_or_si128(a, b));

		if (mask)
			return p + __builtin_ctz((unsigned)mask);
		p += 16;
	}
#endif
	while (p < end && (class_of(*p) & C_TARGET) && *p != mark)
		p++;
	return p;
}

/* ---- the request line ---- */

/* The line can not go on at p: too long, not all here yet, or wrong with `e`. */
static enum http_err line_stops(const struct head *h, const char *p, enum http_err e)
{
	if ((size_t)(p - h->line) > h->limits->line_max)
		return HTTP_E_LINE_TOO_LONG;
	if (p == h->end)
		return HTTP_E_AGAIN;
	if (*p == '\n')
		return HTTP_E_BAD_LINE_END;
	return *p == '\r' ? HTTP_E_BAD_REQUEST_LINE : e;
}

static enum http_method find_method(const char *p, size_t len)
{
	switch (len) {
	case 3:
		return memcmp(p, "GET", 3) == 0 ? HTTP_M_GET
		       : memcmp(p, "PUT", 3) == 0 ? HTTP_M_PUT : HTTP_M_OTHER;
	case 4:
		return memcmp(p, "POST", 4) == 0 ? HTTP_M_POST
		       : memcmp(p, "HEAD", 4) == 0 ? HTTP_M_HEAD : HTTP_M_OTHER;
	case 5:
		return memcmp(p, "PATCH", 5) == 0 ? HTTP_M_PATCH
		       : memcmp(p, "TRACE", 5) == 0 ? HTTP_M_TRACE : HTTP_M_OTHER;
	case 6:
		return memcmp(p, "DELETE", 6) == 0 ? HTTP_M_DELETE : HTTP_M_OTHER;
	case 7:
		return memcmp(p, "OPTIONS", 7) == 0 ? HTTP_M_OPTIONS
		       : memcmp(p, "CONNECT", 7) == 0 ? HTTP_M_CONNECT : HTTP_M_OTHER;
	default:
		return HTTP_M_OTHER;
	}
}

static enum http_err read_method(struct head *h, const char **pp)
{
	const char *start = *pp, *p = start;
	const char *end = h->end - p > METHOD_MAX + 1 ? p + METHOD_MAX + 1 : h->end;
	size_t len;

	if (h->end - p >= 4 && memcmp(p, "GET ", 4) == 0) {
		h->req->method = HTTP_M_GET;
		h->req->method_text = (struct slice){p, 3};
		*pp = p + 4;
		return HTTP_OK;
	}
	while (p < end && (class_of(*p) & C_METHOD))
		p++;
	len = (size_t)(p - start);
	if (len > METHOD_MAX)
		return len > h->limits->line_max ? HTTP_E_LINE_TOO_LONG : HTTP_E_BAD_METHOD;
	if (p == end || *p != ' ' || len == 0)
		return line_stops(h, p, HTTP_E_BAD_METHOD);
	h->req->method = find_method(start, len);
	h->req->method_text = (struct slice){start, len};
	*pp = p + 1;
	return HTTP_OK;
}

/* "HTTP/1.1" CR LF at v, which may not be all here; what is usual has been taken before. */
static enum http_err read_version(const struct head *h, const char *v)
{
	static const char form[] = "HTTP/9.9\r"; /* 9 = a digit */
	const char *p = v;

	for (size_t i = 0; i < sizeof(form) - 1; i++, p++)
		if (p == h->end || (form[i] == '9' ? *p < '0' || *p > '9' : *p != form[i]) ||
		    (size_t)(p - h->line) > h->limits->line_max)
			return line_stops(h, p, HTTP_E_BAD_REQUEST_LINE);
	if (p == h->end)
		return HTTP_E_AGAIN;
	if (*p != '\n')
		return HTTP_E_BAD_LINE_END;
	return v[5] == '1' ? HTTP_OK : HTTP_E_BAD_VERSION;
}

static enum http_err read_request_line(struct head *h, const char **pp)
{
	const char *p = *pp, *target, *question;
	struct http_request *req = h->req;
	enum http_err e;

	h->line = p;
	e = read_method(h, &p);
	if (e)
		return e;
	target = p;
	question = p = scan_target(p, h->end, '?');
	if (p < h->end && *p == '?')
		p = scan_target(p, h->end, ' ');
	if (p == h->end || *p != ' ' || (size_t)(p - h->line) > h->limits->line_max)
		return line_stops(h, p, HTTP_E_BAD_TARGET);
	if (p == target)
		return HTTP_E_BAD_REQUEST_LINE;
	req->target = (struct slice){target, (size_t)(p - target)};
	p++;
	if (h->end - p < 10 || memcmp(p, "HTTP/1.1\r\n", 10) != 0 ||
	    (size_t)(p + 8 - h->line) > h->limits->line_max) {
		e = read_version(h, p);
		if (e)
			return e;
	}
	req->minor = p[7] != '0';
	*pp = p + 10;
	h->lines = 1;
	return http_read_target(req, question);
}

/* ---- fields ---- */

static int find_known(const char *p, size_t len)
{
#define IS(lit, id) if (token_is(p, lit, sizeof(lit) - 1)) return (id)
	switch (len) {
	case 3:
		IS("via", HTTP_F_VIA);
		break;
	case 4:
		IS("host", HTTP_F_HOST);
		break;
	case 5:
		IS("range", HTTP_F_RANGE);
		break;
	case 6:
		IS("accept", HTTP_F_ACCEPT);
		IS("origin", HTTP_F_ORIGIN);
		IS("expect", HTTP_F_EXPECT);
		break;
	case 7:
		IS("referer", HTTP_F_REFERER);
		IS("upgrade", HTTP_F_UPGRADE);
		break;
	case 8:
		IS("if-match", HTTP_F_IF_MATCH);
		IS("if-range", HTTP_F_IF_RANGE);
		break;
	case 9:
		IS("forwarded", HTTP_F_FORWARDED);
		break;
	case 10:
		IS("user-agent", HTTP_F_USER_AGENT);
		IS("connection", F_CONNECTION);
		break;
	case 12:
		IS("content-type", HTTP_F_CONTENT_TYPE);
		IS("x-request-id", HTTP_F_X_REQUEST_ID);
		break;
	case 13:
		IS("authorization", HTTP_F_AUTHORIZATION);
		IS("if-none-match", HTTP_F_IF_NONE_MATCH);
		break;
	case 14:
		IS("content-length", F_CONTENT_LENGTH);
		break;
	case 15:
		IS("accept-encoding", HTTP_F_ACCEPT_ENCODING);
		IS("x-forwarded-for", HTTP_F_X_FORWARDED_FOR);
		break;
	case 17:
		IS("if-modified-since", HTTP_F_IF_MODIFIED_SINCE);
		IS("transfer-encoding", F_TRANSFER_ENCODING);
		break;
	case 19:
		IS("if-unmodified-since", HTTP_F_IF_UNMODIFIED_SINCE);
		break;
	}
#undef IS
	return F_NONE;
}

/* 1*DIGIT that fits; no sign, no list, no white space inside. */
static bool read_length(struct slice v, int64_t *ret)
{
	int64_t n = 0;

	if (v.len == 0)
		return false;
	for (size_t i = 0; i < v.len; i++) {
		int d = v.p[i] - '0';

		if (d < 0 || d > 9 || n > (INT64_MAX - d) / 10)
			return false;
		n = n * 10 + d;
	}
	*ret = n;
	return true;
}

/* Takes the next element of a comma-separated list, without the white space around it; false at
 * the end. Elements may be empty. */
static bool next_element(struct slice *list, struct slice *ret)
{
	const char *comma, *p, *end;

	if (!list->p)
		return false;
	p = list->p;
	comma = memchr(p, ',', list->len);
	end = comma ? comma : p + list->len;
	*list = comma ? (struct slice){comma + 1, list->len - (size_t)(comma + 1 - p)}
		      : (struct slice){NULL, 0};
	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	while (end > p && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	*ret = (struct slice){p, (size_t)(end - p)};
	return true;
}

static void note_connection(struct head *h, struct slice list)
{
	struct slice t;

	while (next_element(&list, &t)) {
		if (TOKEN_IS(t, "keep-alive"))
			h->keep_alive = true;
		else if (TOKEN_IS(t, "close"))
			h->close = true;
		else if (TOKEN_IS(t, "upgrade"))
			h->upgrade = true;
	}
}

/* What follows chunked, or is no token, makes the field bad; parameters make an other coding. */
static void note_coding(struct head *h, struct slice list)
{
	struct slice t;

	h->codings++;
	while (next_element(&list, &t)) {
		if (h->req->chunked || t.len == 0 || !(class_of(*t.p) & C_TOKEN))
			h->coding_bad = true;
		if (TOKEN_IS(t, "chunked"))
			h->req->chunked = true;
		else
			h->coding_other = true;
	}
}

static enum http_err note_field(struct head *h, struct slice name, struct slice value)
{
	struct http_request *req = h->req;
	int id = find_known(name.p, name.len);

	if (id < HTTP_F_COUNT) {
		if (req->known_count[id]++ == 0)
			req->known[id] = value;
		if (id == HTTP_F_EXPECT && !TOKEN_IS(value, "100-continue"))
			h->expect_bad = true;
	} else if (id == F_CONNECTION) {
		note_connection(h, value);
	} else if (id == F_TRANSFER_ENCODING) {
		note_coding(h, value);
	} else if (id == F_CONTENT_LENGTH) {
		h->lengths++;
		if (!read_length(value, &req->content_length))
			return HTTP_E_BAD_LENGTH;
	}
	return HTTP_OK;
}

/* Does the field line that comes to p, with the CR LF it will have, pass the limit? */
static inline bool field_over(const struct head *h, const char *p)
{
	return (size_t)(p - h->line) + 2 > h->limits->field_size_max;
}

/* The field line can not go on at p. */
static enum http_err field_stops(const struct head *h, const char *p)
{
	if (field_over(h, p))
		return HTTP_E_FIELD_TOO_LARGE;
	if (p == h->end)
		return HTTP_E_AGAIN;
	if (*p == '\n')
		return HTTP_E_BAD_LINE_END;
	return p == h->line && (*p == ' ' || *p == '\t') ? HTTP_E_OBS_FOLD : HTTP_E_BAD_FIELD;
}

static inline enum http_err read_field(struct head *h, const char **pp)
{
	const char *start = *pp, *p = start, *end = h->end, *colon, *value;
	struct http_request *req = h->req;
	struct http_field *f;
	uint8_t class, seen = 0;

	if (h->lines > h->limits->fields_max)
		return HTTP_E_TOO_MANY_FIELDS;
	while (p < end && ((class = class_of(*p)) & C_TOKEN)) {
		seen |= class;
		p++;
	}
	if (p == end || *p != ':' || p == start)
		return field_stops(h, p);
	colon = p++;
	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	value = p;
	p = scan_value(p, end);
	if (p == end || *p != '\r' || field_over(h, p))
		return field_stops(h, p);
	if (p + 1 == end)
		return HTTP_E_AGAIN;
	if (p[1] != '\n')
		return HTTP_E_BAD_LINE_END;
	*pp = p + 2;
	h->lines++;
	/*
	 * "A_B" and "A-B" become one name wherever fields are mapped to variables (CGI, WSGI), so a
	 * client could forge what a proxy in front has vouched for: dropped, as nginx does.
	 */
	if (seen & C_UNDER) {
		req->dropped_fields++;
		return HTTP_OK;
	}
	while (p > value && (p[-1] == ' ' || p[-1] == '\t'))
		p--;
	f = &req->fields[req->nfields++];
	f->name = (struct slice){start, (size_t)(colon - start)};
	f->value = (struct slice){value, (size_t)(p - value)};
	return note_field(h, f->name, f->value);
}

/* Reads field lines and the empty line after them. */
static enum http_err read_fields(struct head *h, const char **pp)
{
	const char *p = *pp;
	enum http_err e;

	for (;;) {
		h->line = p;
		if (p == h->end)
			return HTTP_E_AGAIN;
		if (*p == '\r') {
			if (p + 1 == h->end)
				return HTTP_E_AGAIN;
			*pp = p + 2;
			return p[1] == '\n' ? HTTP_OK : HTTP_E_BAD_LINE_END;
		}
		e = read_field(h, &p);
		if (e)
			return e;
	}
}

/* ---- the whole ---- */

static enum http_err check_host(const struct head *h)
{
	struct http_request *req = h->req;
	uint32_t n = req->known_count[HTTP_F_HOST];

	if (n == 0)
		return req->minor > 0 ? HTTP_E_NO_HOST : HTTP_OK;
	if (n > 1 || !http_authority_ok(req->known[HTTP_F_HOST], false))
		return HTTP_E_BAD_HOST;
	/* The authority of the target wins over Host (RFC 9112, 3.2.2). */
	if (!req->authority.p)
		req->authority = req->known[HTTP_F_HOST];
	return HTTP_OK;
}

/* How long the body is: the place where leniency becomes request smuggling. */
static enum http_err check_framing(const struct head *h)
{
	const struct http_request *req = h->req;

	if (h->codings > 0 && h->lengths > 0)
		return HTTP_E_LENGTH_AND_CODING;
	if (h->lengths > 1)
		return HTTP_E_BAD_LENGTH;
	if (h->codings == 0)
		return HTTP_OK;
	if (req->minor == 0 || h->coding_bad || !req->chunked)
		return HTTP_E_BAD_CODING;
	return h->coding_other ? HTTP_E_CODING_NOT_BUILT : HTTP_OK;
}

static enum http_err finish(const struct head *h)
{
	struct http_request *req = h->req;
	enum http_err e = check_host(h);

	if (!e)
		e = check_framing(h);
	if (e)
		return e;
	if (req->known_count[HTTP_F_CONTENT_TYPE] > 1)
		return HTTP_E_DUPLICATE_FIELD;
	if (h->expect_bad)
		return HTTP_E_EXPECTATION;
	req->has_body = req->chunked || req->content_length > 0;
	req->keep_alive = !h->close && (req->minor > 0 || h->keep_alive);
	req->expect_continue = req->minor > 0 && req->known[HTTP_F_EXPECT].p;
	req->upgrade = req->minor > 0 && h->upgrade && req->known[HTTP_F_UPGRADE].p;
	return HTTP_OK;
}

static void clear(struct http_request *req)
{
	struct http_field *fields = req->fields;

	memset(req, 0, sizeof(*req)); /* as an assignment it is made elsewhere, and then copied */
	req->fields = fields;
	req->content_length = -1;
}

/* Parses from p, where nothing but empty lines lies before; h->line says how far it came. */
static enum http_err parse_all(struct head *h, const char *buf, const char *p)
{
	struct http_request *req = h->req;
	enum http_err e;

	clear(req);
	while (p < h->end && *p == '\r') {
		h->line = p;
		if (p + 1 == h->end)
			return HTTP_E_AGAIN;
		if (p[1] != '\n')
			return HTTP_E_BAD_LINE_END;
		p += 2;
	}
	e = read_request_line(h, &p);
	if (!e)
		e = read_fields(h, &p);
	if (e)
		return e;
	req->head_len = (size_t)(p - buf);
	return finish(h);
}

enum http_err http_parse_head(struct http_request *req, const struct http_limits *limits,
			      const char *buf, size_t len, size_t *scan)
{
	size_t offset = *scan & (((size_t)1 << SCAN_OFFSET_BITS) - 1);
	size_t lines = *scan >> SCAN_OFFSET_BITS;
	struct head h = {
		.req = req,
		.limits = limits,
		.end = buf + (len < limits->head_max ? len : limits->head_max),
	};
	const char *p = buf + offset;
	enum http_err e;

	if (lines > 0) {
		h.lines = lines;
		clear(req);
		e = read_fields(&h, &p);
		if (e == HTTP_OK) {
			h = (struct head){ .req = req, .limits = limits, .end = h.end };
			e = parse_all(&h, buf, buf);
		}
	} else {
		e = parse_all(&h, buf, p);
	}
	if (e != HTTP_E_AGAIN)
		return e;
	if (len >= limits->head_max)
		return HTTP_E_HEAD_TOO_LARGE;
	*scan = (size_t)(h.line - buf) | h.lines << SCAN_OFFSET_BITS;
	return HTTP_E_AGAIN;
}

const struct http_field *http_find_field(const struct http_request *req, struct slice name,
					 const struct http_field *after)
{
	const struct http_field *end = req->fields + req->nfields;
	const struct http_field *f = after ? after + 1 : req->fields;

	for (; f < end; f++)
		if (slice_eq_nocase(f->name, name))
			return f;
	return NULL;
}
