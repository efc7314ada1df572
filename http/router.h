/* SPDX-License-Identifier: MIT */
/*
 * Which of many patterns a path belongs to. A pattern is a normalised path (http_normalise_path())
 * with two things more: a segment {name} stands for any one segment that is not empty, and a last
 * segment "*" for the rest of the path, which may be empty. "/files/" and "/files/a/b" match
 * "/files/" "*"; "/files" does not. Segments are what lies between slashes, so "//" has an empty
 * one between them, which only an empty segment of a pattern matches (or "*"). A slash at the end
 * makes another path. "*" and the empty path (asterisk- and authority-form) match nothing.
 *
 * The order in which routes were added never matters. The most specific pattern comes first, from
 * the left: at the first segment in which two patterns differ, a literal goes before {name}, and
 * {name} before "*".
 *
 * A router is built once, which allocates; matching allocates nothing and may be done by several
 * threads. What a path can make it cost is bounded: no segment of a pattern is looked at twice.
 */
#ifndef HTTP_ROUTER_H
#define HTTP_ROUTER_H

#include "http/http.h"

#define HTTP_PARAMS_MAX 16     /* {name}s of a pattern; "*" is one more */
#define HTTP_SEGMENTS_MAX 64   /* segments of a pattern */
#define HTTP_PATTERN_MAX 1024  /* bytes of a pattern */
#define HTTP_ALLOW_MAX 256     /* room that every usual Allow has in */

struct http_router;

/* 0, or -1: no memory. */
int http_router_new(struct http_router **ret);
/* NULL is borne. */
void http_router_free(struct http_router *r);

/*
 * Adds a route. methods: "GET", or several with commas between; "*" or nothing: any; a method need
 * not be a known one, but must be one that a request can have. Everything is copied but target,
 * which is what a match gives back. 0, or -1 with the reason in `why` (a line that names pattern
 * and method and says what would be right; cut to why_cap bytes, terminated), and nothing is
 * changed: a pattern that is none or could never match, or one that is there already (names of
 * parameters do not count) for one of the methods.
 */
int http_router_add(struct http_router *r, struct slice methods, struct slice pattern,
		    void *target, char *why, size_t why_cap);

struct http_param {
	struct slice name;  /* the router's; "*" for the rest */
	struct slice value; /* within the path */
};

struct http_match {
	void *target;
	uint32_t nparams;
	struct http_param param[HTTP_PARAMS_MAX + 1]; /* from left to right */
};

/*
 * The route number `skip` (0 is the most specific) of those that match method and normalised path;
 * false if there are no more. method_text counts only for HTTP_M_OTHER. A route for GET also serves
 * HEAD; with the same pattern, one that names HEAD goes before it.
 */
bool http_router_match(const struct http_router *r, enum http_method m, struct slice method_text,
		       struct slice path, uint32_t skip, struct http_match *ret);

/* Value of the parameter; p is NULL when the pattern has none of that name. */
struct slice http_match_param(const struct http_match *m, struct slice name);

/*
 * What Allow says about a path, for 405 and for OPTIONS: "GET, HEAD, OPTIONS", the methods of all
 * patterns that match it, with HEAD for GET and always with OPTIONS. The length (not terminated),
 * or 0: no pattern matches (404). cap is at least HTTP_ALLOW_MAX; methods that have no room are
 * left out. A route of any method counts as the usual ones: GET, HEAD, POST, PUT, DELETE, OPTIONS
 * and PATCH; where one matches, http_router_match() never fails for skip 0, so no 405 can be.
 */
size_t http_router_allow(const struct http_router *r, struct slice path, char *buf, size_t cap);

#endif
