/* SPDX-License-Identifier: MIT */
/*
 * Handlers that answer later: one by a timer of the loop, one by a thread of the module's own, and a
 * chat in which one client's request completes those of the others that wait.
 *
 *   GET /later?ms=250    GET /compute?n=30    GET /wait    POST /tell
 */
#include <capricorn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static long number(struct capri_request *r, const char *name, long otherwise)
{
	struct capri_str given = capri_query_param(r, name);
	char *text = given.p ? capri_dup(r, given) : NULL;

	return text ? strtol(text, NULL, 10) : otherwise;
}

/* ---- a timer ---- */

struct later {
	struct capri_request *r;
	struct capri_timer *timer;
};

static void later_gone(struct capri_request *r, void *arg)
{
	struct later *l = arg; /* lives in the request's memory: free what is outside of it first */

	capri_timer_free(l->timer);
	capri_problem(r, 503, "The client has gone.");
}

static void later_due(struct capri_worker *w, struct capri_timer *t, void *arg)
{
	struct later *l = arg;

	(void)w;
	capri_timer_free(t);
	capri_respond_text(l->r, 200, "Now.\n");
}

static int later(struct capri_request *r, void *arg)
{
	struct later *l = capri_alloc(r, sizeof(*l));
	long ms = number(r, "ms", 250);

	(void)arg;
	if (!l || ms < 0)
		return capri_problem(r, 400, "ms is a number of milliseconds.");
	l->r = r;
	l->timer = capri_timer_new(capri_worker_of(r), later_due, l);
	if (!l->timer)
		return capri_problem(r, 503, "Too many wait already.");
	capri_on_cancel(r, later_gone, l);
	capri_timer_arm(l->timer, (uint64_t)ms);
	return CAPRI_PENDING;
}

/* ---- a thread of our own ---- */

static unsigned long fibonacci(unsigned n)
{
	return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

static void *compute_main(void *arg)
{
	struct capri_request *r = arg;
	long n = number(r, "n", 20);

	capri_working(r, true); /* a report of a stuck request shows this thread */
	if (n < 0 || n > 40)
		capri_problem(r, 400, "n is from 0 to 40.");
	else
		capri_respond_text(r, 200, capri_format(r, "%lu\n", fibonacci((unsigned)n)).p);
	return NULL; /* the request is no longer ours */
}

static int compute(struct capri_request *r, void *arg)
{
	pthread_t t;

	(void)arg;
	if (pthread_create(&t, NULL, compute_main, r) != 0)
		return capri_problem(r, 503, "No thread.");
	pthread_detach(t);
	return CAPRI_PENDING;
}

/* ---- waiting for each other (within one worker) ---- */

#define WAITING_MAX 100

static struct {
	struct capri_request *r[WAITING_MAX];
	int n;
} waiting;

static void wait_gone(struct capri_request *r, void *arg)
{
	(void)arg;
	for (int i = 0; i < waiting.n; i++)
		if (waiting.r[i] == r)
			waiting.r[i] = waiting.r[--waiting.n];
	capri_problem(r, 503, "Nobody has said anything.");
}

static int wait_handler(struct capri_request *r, void *arg)
{
	(void)arg;
	if (waiting.n == WAITING_MAX)
		return capri_problem(r, 503, "Too many wait already.");
	waiting.r[waiting.n++] = r;
	capri_on_cancel(r, wait_gone, NULL);
	return CAPRI_PENDING;
}

static int tell(struct capri_request *r, void *arg)
{
	struct capri_str body = capri_body(r);
	int n = waiting.n;

	(void)arg;
	while (waiting.n > 0)
		capri_respond(waiting.r[--waiting.n], 200, "text/plain", body.p, body.len);
	return capri_respond_text(r, 200, capri_format(r, "told %d\n", n).p);
}

static const struct capri_route routes[] = {
	{"GET", "/later", later, .kind = CAPRI_ASYNC},
	{"GET", "/compute", compute, .kind = CAPRI_ASYNC},
	{"GET", "/wait", wait_handler, .kind = CAPRI_ASYNC},
	{"POST", "/tell", tell, .kind = CAPRI_INLINE},
	{0}
};
const struct capri_app capricorn_app = {CAPRI_APP_INIT, .name = "async", .routes = routes};
