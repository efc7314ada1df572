/* SPDX-License-Identifier: MIT */
/*
 * What fields say of keeping an answer (RFC 9111): the directives of Cache-Control, the names of
 * Vary, cookies by name, and the text of a stored answer's key.
 */
#ifndef HTTP_CACHING_H
#define HTTP_CACHING_H

#include "http/http.h"

/* All Cache-Control fields of a message together. Add each value; zero it first. */
struct http_cache_control {
	bool no_store, no_cache, is_private, is_public, must_revalidate, only_if_cached;
	bool has_max_age, has_s_maxage, has_stale;
	uint64_t max_age_s, s_maxage_s; /* at most HTTP_AGE_MAX; of several the least */
	uint64_t stale_s;               /* stale-while-revalidate */
};
#define HTTP_AGE_MAX 2147483648u        /* RFC 9111, 1.2.2 */

/*
 * Directives that are not known are ignored; one with an argument where none belongs counts without
 * it (private="x-field" as private). A number of seconds that is none counts as 0: what cannot be
 * read is not fresh (RFC 9111, 4.2.1). must_revalidate is proxy-revalidate, too.
 */
void http_read_cache_control(struct http_cache_control *c, struct slice value);

/* The next element of a list of tokens ("a, b"), without the white space around it; false: none is
 * left. `*rest` is what is left of the list. Empty elements are skipped. */
bool http_next_token(struct slice *rest, struct slice *ret);

/* The first cookie of that name (RFC 6265, 4.2.1) in all Cookie fields; p is NULL if there is none.
 */
struct slice http_cookie(const struct http_request *req, struct slice name);

/*
 * The key of a stored answer begins with "host/path?query", as people write it, and what else it
 * goes by follows on lines of its own. An answer for clients that accept gzip has another key,
 * which ends in HTTP_KEY_GZIP.
 */
#define HTTP_KEY_GZIP "\ngzip"

#endif
