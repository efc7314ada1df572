/* SPDX-License-Identifier: MIT */
/*
 * Answers that come piece by piece, and a body that is taken so.
 *
 *   GET /clock           server-sent events, one a second, until the client leaves (async)
 *   GET /count?to=1000   lines, as fast as the client takes them (pool)
 *   POST /upper          the body in capitals, while it is being sent (pool)
 */
#include <capricorn.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- server-sent events by a timer ---- */

struct clock {
	struct capri_request *r;
	struct capri_timer *timer;
	unsigned n;
};

static void clock_gone(struct capri_request *r, void *arg)
{
	struct clock *c = arg;

	capri_timer_free(c->timer);
	capri_stream_end(r, true);
}

static void clock_tick(struct capri_worker *w, struct capri_timer *t, void *arg)
{
	struct clock *c = arg;

	(void)w;
	/* CAPRI_E_AGAIN: a slow client misses a tick; that it has gone is told to clock_gone(). */
	capri_sse_send(c->r, "tick", NULL, capri_format(c->r, "%u", ++c->n).p);
	capri_timer_arm(t, 1000);
}

static int clock_handler(struct capri_request *r, void *arg)
{
	struct clock *c = capri_alloc(r, sizeof(*c));
	int rc;

	(void)arg;
	if (!c)
		return CAPRI_E_NOMEM;
	c->r = r;
	c->timer = capri_timer_new(capri_worker_of(r), clock_tick, c);
	if (!c->timer)
		return capri_problem(r, 503, "Too many clocks.");
	rc = capri_sse_begin(r);
	if (rc < 0) {
		capri_timer_free(c->timer);
		return rc;
	}
	capri_on_cancel(r, clock_gone, c);
	capri_timer_arm(c->timer, 0);
	return CAPRI_PENDING;
}

/* ---- lines from a thread: capri_write() waits while the client is slow ---- */

static int count(struct capri_request *r, void *arg)
{
	struct capri_str to = capri_query_param(r, "to");
	char *text = to.p ? capri_dup(r, to) : NULL;
	long last = text ? strtol(text, NULL, 10) : 1000;
	int rc = capri_stream_begin(r, 200, "text/plain", -1);

	(void)arg;
	for (long i = 1; i <= last && rc == 0; i++) {
		char line[32];
		int len = snprintf(line, sizeof(line), "%ld\n", i);

		rc = capri_write(r, line, (size_t)len);
	}
	return capri_stream_end(r, rc == 0);
}

/* ---- both ways at once ---- */

static int upper(struct capri_request *r, void *arg)
{
	char buf[8192];
	long n;
	int rc = capri_stream_begin(r, 200, "text/plain", -1);

	(void)arg;
	while (rc == 0 && (n = capri_body_read(r, buf, sizeof(buf))) != 0) {
		if (n < 0)
			return capri_stream_end(r, false);
		for (long i = 0; i < n; i++)
			buf[i] = (char)toupper((unsigned char)buf[i]);
		rc = capri_write(r, buf, (size_t)n);
	}
	return capri_stream_end(r, rc == 0);
}

static const struct capri_route routes[] = {
	{"GET", "/clock", clock_handler, .kind = CAPRI_ASYNC},
	{"GET", "/count", count, .kind = CAPRI_POOL},
	{"POST", "/upper", upper, .kind = CAPRI_POOL, .body = CAPRI_BODY_STREAM,
	 .body_max = UINT64_C(1) << 40},
	{0}
};
const struct capri_app capricorn_app = {CAPRI_APP_INIT, .name = "stream", .routes = routes};
