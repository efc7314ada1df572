/* SPDX-License-Identifier: MIT */
/*
 * A handler that blocks: it runs in a thread of the pool, so that the loop goes on. This one sleeps,
 * as a database or another server would let it wait.
 *
 *   GET /sleep?ms=250
 */
#define _POSIX_C_SOURCE 200809L /* nanosleep() */
#include <capricorn.h>
#include <stdlib.h>
#include <time.h>

#define STEP_MS 50

static int sleep_handler(struct capri_request *r, void *arg)
{
	struct capri_str given = capri_query_param(r, "ms");
	char *text = given.p ? capri_dup(r, given) : NULL;
	long ms = text ? strtol(text, NULL, 10) : 250;

	(void)arg;
	if (ms < 0 || ms > 60000)
		return capri_problem(r, 400, "ms is from 0 to 60000.");
	for (long left = ms; left > 0; left -= STEP_MS) {
		struct timespec t = {0, (left < STEP_MS ? left : STEP_MS) * 1000000L};

		nanosleep(&t, NULL);
		if (capri_cancelled(r)) /* nobody waits for the answer any more */
			return CAPRI_E_CANCELLED;
	}
	return capri_respond_json(r, 200, capri_format(r, "{\"slept_ms\":%ld}\n", ms).p);
}

static const struct capri_route routes[] = {
	{"GET", "/sleep", sleep_handler, .kind = CAPRI_POOL, .timeout_ms = 30000},
	{0}
};
const struct capri_app capricorn_app = {CAPRI_APP_INIT, .name = "blocking", .routes = routes};
