/* SPDX-License-Identifier: MIT */
/*
 * An expensive call whose result is kept for all workers: GET /report/{id} computes once a minute,
 * whoever asks; DELETE /reports drops all of them.
 */
#include <capricorn.h>
#include <threads.h>

static const struct capri_str reports = {"reports", 7}; /* the tag of all of them */

static int report(struct capri_request *r, void *arg)
{
	struct capri_str id = capri_param(r, "id"), text;
	struct timespec t = {.tv_nsec = 200000000};
	int rc = capri_cache_fill(r, id, 10000, &text); /* while another one computes, it waits */

	(void)arg;
	if (rc == CAPRI_COMPUTE) {
		thrd_sleep(&t, NULL); /* the expensive call */
		timespec_get(&t, TIME_UTC);
		text = capri_format(r, "%s at %lld.%09ld\n", id.p, (long long)t.tv_sec, t.tv_nsec);
		(void)capri_cache_put(r, id, text, 60000, &reports, 1); /* no room: not kept */
	} else if (rc != CAPRI_OK) {
		return rc == CAPRI_E_AGAIN ? capri_problem(r, 503, "It takes too long.") : rc;
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
const struct capri_app capricorn_app = {CAPRI_APP_INIT, .name = "cached", .routes = routes};
