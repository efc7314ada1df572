/* SPDX-License-Identifier: MIT */
/*
 * The built-in API: documents made from the segment, the same whichever process answers. Not on the
 * request path: allocates, does not block (the documents are made from memory only).
 */
#ifndef STATUS_STATUS_H
#define STATUS_STATUS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/net.h"
#include "base/slice.h"
#include "base/strbuf.h"
#include "http/http.h"
#include "shm/heritage.h"

struct status_request {
	enum http_method method;
	struct slice path;           /* normalised, the prefix already taken off: "/status" */
	struct slice query;
	struct slice host, origin, content_type, authorization, accept;
	struct slice request_id;
	struct slice body;           /* of a POST: whole */
	const struct net_addr *client;  /* as FORWARDED_ALLOW_IPS yields it */
	const struct net_addr *peer;    /* of the connection */
	bool forwarded;              /* bears Forwarded, X-Forwarded-For or Via */
};

struct status_reply {
	int status;
	const char *content_type;
	const char *allow;           /* Allow field of a 405; NULL = none */
	bool no_store;
	struct strbuf body;
};

/* Is `path` (normalised, whole) one of the built-in paths under STATUS_PREFIX? If so *ret_rest is
 * the path without the prefix. `at_root` = a STATUS_BIND listener: no prefix. The open ones
 * (/health, /livez, /readyz) count; "/" and "/echo" are the api app's and do not. */
bool status_match(const struct conf *conf, bool at_root, struct slice path, struct slice *ret_rest);

/* Answers. Never fails: out of memory is a 503. Access rules and methods are checked here. */
void status_answer(const struct heritage *h, const struct status_request *rq,
		   struct status_reply *ret);
void status_reply_fini(struct status_reply *r);

/* A problem document (RFC 9457) or short text, for every error that the server answers itself. */
struct status_problem {
	int status;
	const char *title;           /* NULL = the reason phrase */
	const char *detail;          /* NULL = none */
	const char *type;            /* a URI; NULL = about:blank */
	const char *const *policies; /* violated-policies, ended by NULL; NULL = none */
	struct slice request_id;
};
void status_problem(struct strbuf *out, bool text, const struct status_problem *p);

/* Makes invalid in the cache what a text means: a tag, or a pattern over tags and keys if it has a
 * '*', '?' or '/'; at most SHM_CACHE_PATTERN_MAX bytes. */
void status_cache_drop(struct shm *s, uint32_t slot, struct slice text);
/* "draft:7" becomes "draft:7:*": it, and what lies below it. false: no room. */
bool status_cache_widen(struct http_out *o);

/* One access decision, for tests and for access: status. NULL = allowed; else why not (for the
 * 403). */
enum status_need { STATUS_NEED_READ, STATUS_NEED_WRITE };
const char *status_denied(const struct conf *conf, const struct status_request *rq,
			  enum status_need need);

/*
 * capricorn --health: asks the server that `conf` describes, at its first address (the loopback for
 * a wildcard; a relative unix socket as seen from CHDIR, which this process changes to), for
 * STATUS_PREFIX/health. Blocks, for timeout_ms at most. 0 and a line in `out` if it is healthy or
 * degraded; else -1 and a line in `err`: unhealthy, no answer, an answer of somebody else, or an
 * address that cannot be asked (port 0, fd://).
 */
#define STATUS_ASK_MS 5000
int status_ask_health(const struct conf *conf, int timeout_ms, FILE *out, FILE *err);

/* Documents made from the tables of this room: "metrics-md". 0, or -1 if there is none so named. */
int status_write_doc(const char *name, FILE *f);

#endif
