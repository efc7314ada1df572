/* SPDX-License-Identifier: MIT */
/*
 * An expensive call, limited over all workers: GET /render?ms=N takes the semaphore "render" while it
 * works, and a caller that asks for it too often is told so.
 */
#include <capricorn.h>
#include <stdlib.h>
#include <threads.h>

static struct capri_semaphore *renderer;
static struct capri_ratelimit *per_caller;

static int start(struct capri_worker *w)
{
	renderer = capri_semaphore_find(w, "render");
	per_caller = capri_ratelimit_find(w, "per_caller");
	return renderer && per_caller ? 0 : -1;
}

static int render(struct capri_request *r, void *arg)
{
	struct capri_str ms = capri_query_param(r, "ms");
	struct timespec t = {.tv_nsec = (ms.p ? atol(ms.p) : 50) % 1000 * 1000000L};
	uint32_t seconds;
	int rc;

	(void)arg;
	if (capri_ratelimit_check(per_caller, capri_client(r), &seconds) != CAPRI_OK) {
		capri_set_header(r, "Retry-After", capri_format(r, "%u", seconds).p);
		return capri_problem(r, 429, "You have asked for too many of these.");
	}
	rc = capri_semaphore_acquire(r, renderer, 1); /* waits for its turn */
	if (rc == CAPRI_E_AGAIN)
		return capri_problem(r, 503, "Too many wait for this.");
	if (rc != CAPRI_OK)
		return rc;
	thrd_sleep(&t, NULL); /* the expensive call */
	capri_semaphore_release(r, renderer);
	return capri_respond_text(r, 200, "rendered");
}

static const struct capri_route routes[] = {{"GET", "/render", render, .kind = CAPRI_POOL}, {0}};
const struct capri_app capricorn_app = {
	CAPRI_APP_INIT, .name = "limited", .routes = routes, .start = start,
};
