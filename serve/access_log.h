/* SPDX-License-Identifier: MIT */
/*
 * Lines of the access log. The format is compiled once, at boot, into a list of steps; a line is
 * then written without allocation. What a client sent can neither end a line nor close a quote:
 * quotes, backslashes and bytes outside of printable ASCII are escaped (text: \" \\ \x1b; JSON: as
 * JSON has it). A line fits PIPE_BUF: long values are cut.
 */
#ifndef SERVE_ACCESS_LOG_H
#define SERVE_ACCESS_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "base/net.h"
#include "base/slice.h"
#include "http/http.h"

struct access_log;

struct access_log_entry {
	const struct http_request *head; /* NULL = it could not be parsed */
	struct slice id;                 /* of the request */
	const struct net_addr *client;   /* behind trusted proxies; NULL = unknown */
	const struct net_addr *peer;     /* of the connection; NULL = unknown */
	int status;
	uint64_t bytes;                  /* of the answer's body, as sent */
	uint64_t duration_us;            /* first byte of the request to the end of the answer */
	uint64_t wall_ns;                /* when the line is written */
	struct slice content_type;       /* of the answer; p is NULL when there is none */
};

/*
 * `format` is "combined" (also NULL), "json", or text with gunicorn's atoms: %(h)s %(l)s %(u)s
 * %(t)s
 * %(r)s %(m)s %(U)s %(q)s %(H)s %(s)s %(B)s %(b)s %(f)s %(a)s %(T)s %(M)s %(D)s %(L)s %(p)s
 * %({name}i)s (request field) %({name}o)s (answer field) %({name}e)s, and %% . 0, -EINVAL (a
 * format that conf/ would have refused) or -ENOMEM. Call it in the process that writes: %(p)s is
 * its pid.
 */
int access_log_compile(const char *format, struct access_log **ret_log);
void access_log_free(struct access_log *al);

/* Writes one line with its newline and returns its length (0 if cap is below 2). */
size_t access_log_format(struct access_log *al, const struct access_log_entry *e, char *out,
			 size_t cap);

#endif
