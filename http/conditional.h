/* SPDX-License-Identifier: MIT */
/*
 * Conditional requests (RFC 9110, 13) and ranges (14), for whoever sends a representation that has
 * an ETag or a time of last change. All functions are for a representation that exists.
 */
#ifndef HTTP_CONDITIONAL_H
#define HTTP_CONDITIONAL_H

#include "http/http.h"

struct http_validator {
	struct slice etag;  /* as ETag has it: "abc" or W/"abc", with quotes; p NULL: none */
	bool has_mtime;
	int64_t mtime_s;    /* as Last-Modified has it, in seconds since 1970 */
};

/*
 * Is the entity tag in the list, the value of If-Match or If-None-Match? weak: "W/" does not count;
 * else a tag that has it is equal to none (RFC 9110, 8.8.3.2). "*" matches any, also no tag. What
 * follows something that is no tag does not count, and an etag that is none matches nothing.
 */
bool http_etag_matches(struct slice list, struct slice etag, bool weak);

/*
 * If-Match, If-Unmodified-Since, If-None-Match and If-Modified-Since, in this order of precedence
 * (RFC 9110, 13.2.2). 0: go on; 304: not modified; 412: a precondition failed. now_s is for dates
 * with two digits of a year. Dates that are none, or of which there are several, are ignored;
 * several fields with entity tags are one list. CONNECT, OPTIONS and TRACE have no conditions. To
 * be asked when the answer would be 2xx without it.
 */
int http_check_conditions(const struct http_request *req, const struct http_validator *v,
			  int64_t now_s);

enum http_range {
	HTTP_RANGE_NONE,          /* no range that is served: send the whole with 200 */
	HTTP_RANGE_OK,            /* send the part with 206 */
	HTTP_RANGE_UNSATISFIABLE, /* 416 */
};

/*
 * The value of Range for a representation of `size` bytes: one range of bytes. "0-99", "100-" and
 * "-100" (the last hundred) are HTTP_RANGE_OK, with offset and length (never 0), or
 * HTTP_RANGE_UNSATISFIABLE if no byte of it exists. Several ranges, other units and what is
 * malformed are HTTP_RANGE_NONE, as RFC 9110, 14.2 allows; so is the end of an empty one, which
 * Content-Range can not say.
 */
enum http_range http_read_range(struct slice value, uint64_t size, uint64_t *ret_offset,
				uint64_t *ret_len);

/*
 * The same for a request, after its conditions: only GET has ranges, and only if If-Range (13.1.5)
 * says that the client's part is of this very representation: the same strong entity tag, or the
 * time of last change to the second if that is at least a second ago. Two Range or If-Range fields
 * mean no range.
 */
enum http_range http_request_range(const struct http_request *req, const struct http_validator *v,
				   int64_t now_s, uint64_t size, uint64_t *ret_offset,
				   uint64_t *ret_len);

/* "Content-Range: bytes 0-99/1000\r\n" for 206; with len 0 "bytes * /1000" (no blank) for 416. */
void http_put_content_range(struct http_out *o, uint64_t offset, uint64_t len, uint64_t size);

#endif
