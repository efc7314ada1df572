/* SPDX-License-Identifier: MIT */
/*
 * HTTP/1.1 over bytes (RFC 9110, RFC 9112): pure functions, no descriptor, no clock, no segment,
 * no allocation. Everything a parser returns is a slice of the caller's bytes.
 */
#ifndef HTTP_HTTP_H
#define HTTP_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* What can be wrong with a request: http/err.def has one row each (symbol, status, word, text). */
enum http_err {
	HTTP_OK = 0,
#define HTTP_ERR(sym, status, word, text) HTTP_E_##sym,
#include "http/err.def"
#undef HTTP_ERR
	HTTP_ERR_COUNT
};

int http_err_status(enum http_err e);        /* 400, 413, 414, 431, 501, 505 ... */
const char *http_err_word(enum http_err e);  /* "bad_request_line": for logs and metrics */
const char *http_err_text(enum http_err e);  /* one sentence for the client */

enum http_method {
	HTTP_M_OTHER, /* a valid token that is none of these; see `method_text` */
	HTTP_M_GET, HTTP_M_HEAD, HTTP_M_POST, HTTP_M_PUT, HTTP_M_DELETE,
	HTTP_M_CONNECT, HTTP_M_OPTIONS, HTTP_M_TRACE, HTTP_M_PATCH,
	HTTP_M_COUNT
};
const char *http_method_name(enum http_method m); /* "GET"; "OTHER" for HTTP_M_OTHER */

enum http_form { HTTP_ORIGIN_FORM, HTTP_ABSOLUTE_FORM, HTTP_AUTHORITY_FORM, HTTP_ASTERISK_FORM };

struct http_field {
	struct slice name;
	struct slice value; /* without the white space around it */
};

/* Fields that the server itself looks at; their values are at hand without a search. */
enum http_known {
	HTTP_F_HOST, HTTP_F_CONTENT_TYPE, HTTP_F_USER_AGENT, HTTP_F_REFERER, HTTP_F_AUTHORIZATION,
	HTTP_F_ORIGIN, HTTP_F_ACCEPT, HTTP_F_X_REQUEST_ID, HTTP_F_X_FORWARDED_FOR, HTTP_F_FORWARDED,
	HTTP_F_VIA, HTTP_F_EXPECT, HTTP_F_UPGRADE, HTTP_F_ACCEPT_ENCODING, HTTP_F_IF_MATCH,
	HTTP_F_IF_NONE_MATCH, HTTP_F_IF_MODIFIED_SINCE, HTTP_F_IF_UNMODIFIED_SINCE,
	HTTP_F_IF_RANGE, HTTP_F_RANGE,
	HTTP_F_COUNT
};

#define HTTP_FIELDS_MAX 32768 /* upper bound of LIMIT_REQUEST_FIELDS, as in gunicorn */

struct http_limits {
	size_t line_max;        /* LIMIT_REQUEST_LINE: request line without its CR LF, bytes */
	size_t fields_max;      /* LIMIT_REQUEST_FIELDS; `fields` has room for so many */
	size_t field_size_max;  /* LIMIT_REQUEST_FIELD_SIZE: a field line with its CR LF, bytes */
	size_t head_max;        /* the whole head, bytes */
};

/* A parsed request head. Slices point into the buffer that was parsed. */
struct http_request {
	enum http_method method;
	enum http_form form;
	uint8_t minor;               /* HTTP/1.minor: 0 or 1 (a higher minor counts as 1) */
	bool keep_alive;             /* the connection may go on afterwards (RFC 9112, 9.3) */
	bool chunked;                /* the body is chunked */
	bool expect_continue;        /* Expect: 100-continue, and HTTP/1.1 */
	bool upgrade;                /* an Upgrade field that Connection names */
	bool has_body;               /* chunked or content_length > 0 */
	int64_t content_length;      /* -1 = none given */
	struct slice method_text;
	struct slice target;         /* as sent */
	struct slice raw_path;       /* path part of the target, as sent; "/" if absolute-form has
				      * none, "*" for asterisk-form, empty for authority-form */
	struct slice query;          /* without the question mark; p is NULL when there is none */
	struct slice authority;      /* of an absolute- or authority-form target, without user
				      * information; else the Host value */
	struct slice known[HTTP_F_COUNT]; /* first value; p is NULL when absent */
	uint32_t known_count[HTTP_F_COUNT]; /* how often the field occurred */
	size_t nfields;
	size_t dropped_fields;       /* fields with "_" in their names: not among `fields` */
	struct http_field *fields;   /* the caller's array of limits->fields_max elements */
	size_t head_len;             /* bytes of the head, its empty line included */
};

/*
 * Looks for a whole request head at buf[0..len). Empty lines (CR LF) before the request line are
 * skipped (RFC 9112, 2.2) and belong to head_len. *scan carries on where the last call stopped, so
 * that bytes that come one by one cost no more than in one piece; it is opaque: set it to 0 for a
 * new request, leave it alone until then. Between the calls of one request the buffer may move and
 * *req may be used for another. req->fields is the caller's array and set before the call. Returns
 * HTTP_OK (*req is filled), HTTP_E_AGAIN (more bytes are needed; nothing is wrong with what is
 * there: a line is checked when it is complete, a limit as soon as it is passed, Host and framing
 * when the head is complete), or what is wrong; the same error however the bytes were cut.
 *
 * Fields with "_" in their names are dropped: mapped to variables they look like those with "-".
 */
enum http_err http_parse_head(struct http_request *req, const struct http_limits *limits,
			      const char *buf, size_t len, size_t *scan);

/* First field of that name after `after` (NULL: from the start); NULL if there is none. */
const struct http_field *http_find_field(const struct http_request *req, struct slice name,
					 const struct http_field *after);

/*
 * Normalises a path once, for routing: percent-decodes, removes dot segments (RFC 3986, 5.2.4; ".."
 * never leaves the root), collapses nothing else ("//" stays). %2F and %25 stay encoded as "%2F"
 * and "%25", so that no slash becomes a separator and no two paths become one; normalising the
 * result again changes nothing. NUL, a "%" without two hex digits, and a path that does not begin
 * with "/" are HTTP_E_BAD_TARGET; "*" and the empty path (asterisk- and authority-form) stay what
 * they are. out has room for path.len + 1 bytes; the result is NUL-terminated.
 */
enum http_err http_normalise_path(struct slice path, char *out, size_t *ret_len);

/*
 * The first value of that name in a query (http_request.query), as it was sent: "a=1&b=2" has a and
 * b. Names are compared decoded. A name without "=" has the empty value; p is NULL only when the
 * name does not occur. Empty parts ("a=1&&b=2") are skipped; the empty name is that of "=x".
 */
struct slice http_query_find(struct slice query, struct slice name);
/* The value decoded: "+" is a blank, %41 is "A", a "%" without two hex digits is itself. out has
 * room for value.len bytes; returns how many were written. They may be anything, NUL included. */
size_t http_query_decode(struct slice value, char *out);

/* ---- bodies ---- */

/* Decoder of the chunked coding (RFC 9112, 7.1), fed with what comes in. Zero it to start. */
struct http_chunked {
	uint8_t state;
	uint8_t maybe;        /* forbidden trailer names that this one may still become */
	bool done;            /* the last chunk and the trailer section have been read */
	uint64_t left;        /* bytes left of this chunk */
	uint64_t total;       /* body bytes so far */
	uint32_t line_len;    /* of the line being read: size and extensions, or a trailer field */
	uint32_t trailers;    /* trailer fields so far */
	uint32_t trailer_bytes;
};

/*
 * Reads from buf[0..len). On HTTP_OK *ret_used bytes have been consumed and *ret_data is body data
 * among them (it may be empty); call again with the rest until everything is used or ->done. Bytes
 * after the end are not consumed. Trailer fields are checked like header fields and dropped;
 * Content-Length, Transfer-Encoding and Host may not be among them. fields_max, field_size_max and
 * head_max hold for the trailer section too. Extensions are checked, at most 4096 bytes a line, and
 * dropped; LF without CR is an error. HTTP_E_BAD_CHUNK, HTTP_E_BAD_TRAILER,
 * HTTP_E_TRAILERS_TOO_LARGE otherwise.
 */
enum http_err http_chunked_read(struct http_chunked *c, const struct http_limits *limits,
				const char *buf, size_t len, size_t *ret_used,
				struct slice *ret_data);

/* ---- answers ---- */

const char *http_reason(int status); /* "OK"; "" for an unknown one */

/* A bounded writer; `over` is set instead of writing past the end. */
struct http_out {
	char *p;
	size_t len;
	size_t cap;
	bool over;
};

/* Inline: what is put is mostly a literal, and then a copy is a move or two instead of two
 * calls. */

/* Room for n bytes, or NULL. */
static inline char *http_reserve(struct http_out *o, size_t n)
{
	char *p = o->p + o->len;

	if (o->over || n > o->cap - o->len) {
		o->over = true;
		return NULL;
	}
	o->len += n;
	return p;
}

static inline void http_put(struct http_out *o, const char *p, size_t len)
{
	char *to = http_reserve(o, len);

	if (to && len > 0)
		memcpy(to, p, len);
}

static inline void http_put_slice(struct http_out *o, struct slice s)
{
	http_put(o, s.p, s.len);
}

/* "name: value\r\n". The caller vouches for name and value: see http_field_ok(). */
static inline void http_put_field(struct http_out *o, struct slice name, struct slice value)
{
	char *p = http_reserve(o, name.len + value.len + 4);

	if (!p)
		return;
	memcpy(p, name.p, name.len);
	p += name.len;
	*p++ = ':';
	*p++ = ' ';
	if (value.len > 0)
		memcpy(p, value.p, value.len);
	p += value.len;
	*p++ = '\r';
	*p = '\n';
}

void http_put_u64(struct http_out *o, uint64_t v);
/* Is this a field name (token) and a value without CR, LF, NUL or other controls but tab? */
bool http_field_ok(struct slice name, struct slice value);
bool http_value_ok(struct slice value); /* the same of the value alone */
bool http_token_ok(struct slice s);

/* "HTTP/1.1 200 OK\r\n", for 100 to 999. Common statuses are one memcpy. */
void http_put_status_line(struct http_out *o, int status);
/* Size line of a chunk: "1f4\r\n". */
void http_put_chunk_size(struct http_out *o, uint64_t n);

#define HTTP_DATE_LEN 29
/* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, 5.6.7) into out[HTTP_DATE_LEN + 1]. */
void http_format_date(int64_t unix_s, char *out);
/* Reads a date in one of the three formats of RFC 9110, 5.6.7, to the letter; the weekday must be
 * the right one. now_s chooses the century of a year of two digits (RFC 850): at most 50 years
 * ahead. False: it is none, and *ret is untouched. */
bool http_parse_date(struct slice s, int64_t now_s, int64_t *ret);

/* X-Request-Id as we accept it: 1 to 128 characters of [A-Za-z0-9._:-]. */
bool http_request_id_ok(struct slice s);

/* Does the client prefer text/plain over JSON for an error? By Accept with q-values; absent or
 * any type: no (JSON). */
bool http_prefers_text(struct slice accept);

/* Does the value of Accept-Encoding allow gzip (x-gzip is the same), not less gladly than no coding
 * at all? Absent or empty, and where the weight is malformed: no. */
bool http_accepts_gzip(struct slice value);
/* The same for all Accept-Encoding fields of a request together. */
bool http_request_accepts_gzip(const struct http_request *req);

#endif
