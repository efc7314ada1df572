/* SPDX-License-Identifier: MIT */
/*
 * An expensive call whose result is kept for all workers: GET /report/{id} computes once a minute,
 * whoever asks; DELETE /reports drops all of them.
 */
#include <capricorn.h>
#include <threads.h>

static const struct capri_str reports = {"reports", 7}; /* the tag of all of them */
static struct capri_semaphore *computer;

static int start(struct capri_worker *w)
{
	computer = capri_semaphore_find(w, "compute");
	return computer ? 0 : -1;
}

static struct capri_str compute(struct capri_request *r, struct capri_str id)
{
	struct timespec t = {.tv_nsec = 200000000};

	thrd_sleep(&t, NULL); /* the expensive call */
	timespec_get(&t, TIME_UTC);
	return capri_format(r, "%.*s at %lld.%09ld\n", (int)id.len, id.p, (long long)t.tv_sec,
			    t.tv_nsec);
}

static int report(struct capri_request *r, void *arg)
{
	struct capri_str id = capri_param(r, "id"), text = capri_cache_get(r, id);

	(void)arg;
	if (!text.p) {
		int rc = capri_semaphore_acquire(r, computer, 1); /* one at a time goes on */

		if (rc != CAPRI_OK)
			return rc == CAPRI_E_AGAIN ? capri_problem(r, 503, "Too many wait.") : rc;
		text = capri_cache_get(r, id); /* the others find here what it has left */
	}
	if (!text.p) {
		text = compute(r, id);
		(void)capri_cache_put(r, id, text, 60000, &reports, 1); /* no room: not kept */
	}
	return capri_respond(r, 200, "text/plain", text.p, text.len);
}

static int drop(struct capri_request *r, void *arg)
{
	(void)arg;
	(void)capri_cache_invalidate(r, reports); /* in effect when it returns, in all workers */
	return capri_respond(r, 204, NULL, NULL, 0);
}

static const struct capri_route routes[] = {
	{"GET", "/report/{id}", report, .kind = CAPRI_POOL},
	{"DELETE", "/reports", drop, .kind = CAPRI_INLINE},
	{0}
};
const struct capri_app capricorn_app = {
	CAPRI_APP_INIT, .name = "cached", .routes = routes, .start = start,
};
