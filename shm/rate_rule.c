/* SPDX-License-Identifier: MIT */
/*
 * The arithmetic of rate limits, on numbers that have been read: what one word of state means, and
 * what it becomes. All exact: products of times and counts have 128 bits, divisions are rounded to
 * the side that admits less.
 *
 * Bucket (GCRA): the state is the time at which it is full again, in ns. What it owes, that time
 * less now, is at most quota x step; one more is admitted if it is at most (quota - 1) x step.
 * Window: two counts and the number of the window, now / period modulo 2^22.
 */
#include "shm/rate_priv.h"

#define COUNT_MASK RATE_COUNT_MASK
#define NUMBER_MASK RATE_NUMBER_MASK
#define AHEAD_MAX 1024u          /* windows that the time of one process may be behind another's */
#define GRACE_NS 1000000000ULL   /* so late a clock may be without an entry being missed by it */
_Static_assert(GRACE_NS <= RATE_PERIOD_MIN, "one window more is grace enough");

/* ---- the numbers of a limit ---- */

uint64_t rate_numbers_pack(const struct rate_numbers *n)
{
	return n->rate | (uint64_t)n->burst << RATE_FIELD_BITS | (n->shadow ? RATE_SHADOW : 0) |
	       (n->allow_when_full ? RATE_ALLOW : 0) | (n->changed ? RATE_CHANGED : 0);
}

bool rate_numbers_ok(enum shm_rate_algorithm algorithm, uint64_t period_ns, uint32_t rate,
		     uint32_t burst)
{
	if ((algorithm != SHM_RATE_BUCKET && algorithm != SHM_RATE_WINDOW) ||
	    period_ns < RATE_PERIOD_MIN || period_ns > RATE_PERIOD_MAX || rate < 1 ||
	    rate > RATE_COUNT_MAX || burst > RATE_COUNT_MAX)
		return false;
	return algorithm == SHM_RATE_WINDOW ||
	       (rate_u128)rate_step(period_ns, rate) * rate_quota(algorithm, rate, burst) <=
		       RATE_DEBT_MAX;
}

/* ---- windows ---- */

struct window {
	uint32_t number, before, count;
	uint64_t elapsed_ns;             /* of this window */
	uint64_t early_ns;               /* until it begins, for a process whose time is late */
};

static uint64_t window_pack(uint32_t before, uint32_t number, uint32_t count)
{
	return (uint64_t)before << RATE_BEFORE_SHIFT | (uint64_t)number << RATE_COUNT_BITS | count;
}

static struct window window_of(uint64_t state, uint64_t period_ns, uint64_t now_ns)
{
	uint64_t number = now_ns / period_ns;
	struct window w = {
		.number = (uint32_t)number & NUMBER_MASK,
		.elapsed_ns = now_ns - number * period_ns,
	};
	uint32_t before = (uint32_t)(state >> RATE_BEFORE_SHIFT);
	uint32_t count = (uint32_t)state & COUNT_MASK;
	uint32_t age = (w.number - rate_window_number(state)) & NUMBER_MASK;
	uint32_t ahead = NUMBER_MASK + 1 - age;

	if (age == 0) {
		w.before = before;
		w.count = count;
	} else if (age == 1) {
		w.before = count;
	} else if (ahead <= AHEAD_MAX && (before | count) != 0) {
		/* Another process is in a later window: judged as at its beginning, when the one
		 * before counts whole. Going back would lose what that window has admitted. */
		w = (struct window){
			.number = rate_window_number(state), .before = before, .count = count,
			.early_ns = ahead * period_ns - w.elapsed_ns,
		};
	}
	return w;
}

/* before x (share that is left of it) + count + n <= quota, times the period. */
static bool window_admits(const struct window *w, uint64_t period_ns, uint32_t quota, uint32_t n)
{
	return w->count + n <= quota &&
	       (rate_u128)w->before * (period_ns - w->elapsed_ns) <=
		       (rate_u128)(quota - w->count - n) * period_ns;
}

/* From which part of a window on a count of the one before weighs at most `weight`. */
static uint64_t weighs_from_ns(uint32_t before, uint32_t weight, uint64_t period_ns)
{
	if (before <= weight)
		return 0;
	return period_ns - (uint64_t)((rate_u128)weight * period_ns / before);
}

static uint64_t window_wait_ns(const struct window *w, uint64_t period_ns, uint32_t quota,
			       uint32_t n)
{
	if (window_admits(w, period_ns, quota, n))
		return w->early_ns;
	if (w->count + n <= quota)
		return w->early_ns + weighs_from_ns(w->before, quota - w->count - n, period_ns) -
		       w->elapsed_ns;
	/* Not in this one: in the next, this one is the one before. */
	return w->early_ns + period_ns - w->elapsed_ns +
	       weighs_from_ns(w->count, quota - n, period_ns);
}

static uint32_t window_remaining(const struct window *w, uint64_t period_ns, uint32_t quota)
{
	rate_u128 part = (rate_u128)w->before * (period_ns - w->elapsed_ns);
	uint32_t used = w->count + (uint32_t)((part + period_ns - 1) / period_ns);

	return used < quota ? quota - used : 0;
}

/* ---- what a state means ---- */

enum rate_verdict rate_decide_window(uint64_t period_ns, uint32_t quota, uint64_t state,
				     uint64_t now_ns, uint64_t *ret_next)
{
	struct window w = window_of(state, period_ns, now_ns);

	if (!window_admits(&w, period_ns, quota, 1))
		return RATE_REFUSE;
	*ret_next = window_pack(w.before, w.number, w.count + 1);
	return RATE_ADMIT;
}

bool rate_is_idle(const struct rate_rule *r, uint64_t state, uint64_t now_ns)
{
	uint32_t age;

	now_ns = now_ns > GRACE_NS ? now_ns - GRACE_NS : 0;
	if (r->algorithm != SHM_RATE_WINDOW)
		return state <= now_ns;
	if ((state >> RATE_BEFORE_SHIFT) == 0 && (state & COUNT_MASK) == 0)
		return true;
	age = ((uint32_t)(now_ns / r->period_ns) - rate_window_number(state)) & NUMBER_MASK;
	return age >= 2 && age < NUMBER_MASK + 1 - AHEAD_MAX;
}

uint64_t rate_idle_in_ns(const struct rate_rule *r, uint64_t state, uint64_t now_ns)
{
	uint64_t then = now_ns > GRACE_NS ? now_ns - GRACE_NS : 0;
	uint64_t early = then + GRACE_NS - now_ns;
	struct window w;

	if (rate_is_idle(r, state, now_ns))
		return 1;
	if (r->algorithm != SHM_RATE_WINDOW)
		return early + state - then;
	w = window_of(state, r->period_ns, then);
	/* What its window has counted weighs until the next one ends. */
	return early + w.early_ns - w.elapsed_ns +
	       (w.number == rate_window_number(state) ? 2 : 1) * r->period_ns;
}

uint32_t rate_remaining(const struct rate_rule *r, uint64_t state, uint64_t now_ns)
{
	uint64_t owed, taken;

	if (r->algorithm == SHM_RATE_WINDOW) {
		struct window w = window_of(state, r->period_ns, now_ns);

		return window_remaining(&w, r->period_ns, r->quota);
	}
	if (state <= now_ns)
		return r->quota;
	owed = state - now_ns;
	if (owed >= r->quota * r->step_ns)
		return 0;
	taken = (owed + r->step_ns - 1) / r->step_ns;
	return r->quota - (uint32_t)taken;
}

uint64_t rate_wait_ns(const struct rate_rule *r, uint64_t state, uint64_t now_ns, uint32_t n)
{
	uint64_t may_owe;

	if (r->algorithm == SHM_RATE_WINDOW) {
		struct window w = window_of(state, r->period_ns, now_ns);

		return window_wait_ns(&w, r->period_ns, r->quota, n);
	}
	may_owe = (r->quota - n) * r->step_ns;
	return state > now_ns && state - now_ns > may_owe ? state - now_ns - may_owe : 0;
}

bool rate_take_off(const struct rate_rule *r, uint64_t state, uint64_t before, uint64_t after,
		   uint64_t *ret)
{
	uint32_t age;

	if (r->algorithm != SHM_RATE_WINDOW) {
		/* Whoever was charged later would have found less owed, or an idle bucket: which of
		 * the two cannot be told from the sum. */
		*ret = before;
		return state == after;
	}
	/* Counts only add up, and an entry is not given away while its window counts. */
	age = (rate_window_number(state) - rate_window_number(after)) & NUMBER_MASK;
	if (age == 0 && (state & COUNT_MASK) > 0) {
		*ret = state - 1;
		return true;
	}
	*ret = state - (1ULL << RATE_BEFORE_SHIFT);
	return age == 1 && (state >> RATE_BEFORE_SHIFT) > 0;
}
