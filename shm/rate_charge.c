/* SPDX-License-Identifier: MIT */
/*
 * What a request is charged by its limits. With one limit that is one compare-and-swap. With
 * several, all are looked at first, so that one which is refused anyhow leaves no trace; then they
 * are charged in turn. If another process was faster at a later one, what the earlier ones were
 * charged is given back. Between the two others may be refused for it: one too many, never one too
 * few.
 */
#include "shm/rate_priv.h"

#include "base/check.h"

#define SELDOM __attribute__((noinline))

struct one {
	struct rate_rule rule;
	bool is_limit;
	struct rate_result got;
};

/* ---- one limit ---- */

static void charge_state(const struct rate_rule *r, uint64_t now_ns, struct rate_result *ret)
{
	uint64_t state = shm_get(r->state);

	for (;;) {
		uint64_t next = state;
		enum rate_verdict v = rate_decide(r, state, now_ns, &next);

		if (v == RATE_REFUSE) {
			*ret = (struct rate_result){.before = state, .after = state};
			return;
		}
		if (!atomic_compare_exchange_weak(r->state, &state, next))
			continue;
		if (v == RATE_ADMIT) {
			*ret = (struct rate_result){.admitted = true, .charged = true,
						    .before = state, .after = next};
			return;
		}
		state = next;
	}
}

static void charge_one(struct shm *s, uint32_t slot, struct one *o,
		       const struct shm_rate_use *use, uint64_t now_ns)
{
	if (!o->is_limit)
		o->got = (struct rate_result){.admitted = true};
	else if (o->rule.sets > 0)
		rate_table_charge(s, slot, &o->rule, use->hash, now_ns, &o->got);
	else
		charge_state(&o->rule, now_ns, &o->got);
}

static void look_at_one(struct one *o, const struct shm_rate_use *use, uint64_t now_ns)
{
	uint64_t state, next;

	if (!o->is_limit) {
		o->got = (struct rate_result){.admitted = true};
	} else if (o->rule.sets > 0) {
		rate_table_look(&o->rule, use->hash, now_ns, &o->got);
	} else {
		state = shm_get(o->rule.state);
		o->got = (struct rate_result){.before = state, .after = state};
		o->got.admitted = rate_decide(&o->rule, state, now_ns, &next) == RATE_ADMIT;
	}
}

static void refund_one(const struct rate_rule *r, const struct shm_rate_use *use)
{
	uint64_t state, less;

	if (r->sets > 0) {
		rate_table_refund(r, use->hash, use->before, use->after);
		return;
	}
	state = shm_get(r->state);
	while (rate_take_off(r, state, use->before, use->after, &less))
		if (atomic_compare_exchange_weak(r->state, &state, less))
			return;
}

/* ---- what it says ---- */

static void count(struct rate_counts *c, bool loop, uint32_t what)
{
	if (loop)
		shm_add(&c->loop[what], 1);
	else
		atomic_fetch_add_explicit(&c->other[what], 1, memory_order_relaxed);
}

/* Not if the request was neither charged nor refused by this limit, but by another one. */
static inline void count_one(struct rate_counts *c, bool loop, const struct one *o, bool charged)
{
	if (!o->is_limit || (o->got.admitted && !charged))
		return;
	if (o->got.full)
		count(c, loop, RATE_OVERFLOWED);
	if (o->got.admitted)
		count(c, loop, RATE_ALLOWED);
	else
		count(c, loop, o->rule.shadow ? RATE_SHADOWED : RATE_LIMITED);
}

void shm_rate_say(const struct shm *s, const struct shm_rate_use *use, uint64_t now_ns,
		  struct shm_rate_say *ret)
{
	struct rate_rule r;

	*ret = (struct shm_rate_say){
		.admitted = use->admitted, .shadow = use->shadow, .full = use->full,
	};
	if (!rate_rule_of(s, use->rate, &r))
		return;
	ret->quota = r.quota;
	ret->window_ns = r.period_ns;
	if (r.algorithm == SHM_RATE_BUCKET) /* the step is rounded up: not a second more for that */
		ret->window_ns = r.quota * (r.step_ns - 1) + 1;
	if (use->full && !use->admitted && r.sets > 0) {
		ret->retry_ns = ret->reset_ns = rate_table_wait_ns(&r, use->hash, now_ns);
		return;
	}
	if (use->admitted) {
		ret->remaining = rate_remaining(&r, use->state, now_ns);
		if (ret->remaining < r.quota)
			ret->reset_ns = rate_wait_ns(&r, use->state, now_ns, ret->remaining + 1);
		return;
	}
	ret->retry_ns = rate_wait_ns(&r, use->state, now_ns, 1);
	if (ret->retry_ns == 0)
		ret->retry_ns = 1; /* it was others' claims that were in the way */
	ret->reset_ns = ret->retry_ns;
}

static bool refuses(const struct one *o)
{
	return !o->got.admitted && !o->rule.shadow;
}

/* ---- all of them ---- */

/* Does one that is not in shadow mode refuse, as far as can be seen? */
static bool look_at_all(struct one *all, const struct shm_rate_use *uses, uint32_t n,
			uint64_t now_ns)
{
	bool refused = false;

	for (uint32_t i = 0; i < n; i++) {
		look_at_one(&all[i], &uses[i], now_ns);
		refused |= refuses(&all[i]);
	}
	return refused;
}

/* Charges one after another. false: one refuses, and those before it have got theirs back. */
static bool charge_all(struct shm *s, uint32_t slot, struct one *all, struct shm_rate_use *uses,
		       uint32_t n, uint64_t now_ns)
{
	for (uint32_t i = 0; i < n; i++) {
		charge_one(s, slot, &all[i], &uses[i], now_ns);
		uses[i].before = all[i].got.before;
		uses[i].after = all[i].got.after;
		if (!refuses(&all[i]))
			continue;
		shm_rate_refund(s, uses, i);
		for (uint32_t k = 0; k < i; k++)
			all[k].got.after = all[k].got.before;
		return false;
	}
	return true;
}

/* Which of those that refuse does so for longest. */
SELDOM static int find_refuser(const struct shm *s, const struct one *all,
			       const struct shm_rate_use *uses, uint32_t n, uint64_t now_ns)
{
	uint64_t longest = 0;
	int found = -1;

	for (uint32_t i = 0; i < n; i++) {
		struct shm_rate_say say;

		if (!refuses(&all[i]))
			continue;
		shm_rate_say(s, &uses[i], now_ns, &say);
		if (found < 0 || say.retry_ns > longest) {
			longest = say.retry_ns;
			found = (int)i;
		}
	}
	return found;
}

static inline void finish_one(struct shm *s, uint32_t slot, bool loop, struct shm_rate_use *use,
			      const struct one *o, bool charged)
{
	use->admitted = o->got.admitted;
	use->full = o->got.full;
	use->shadow = o->is_limit && o->rule.shadow;
	use->state = o->got.after;
	count_one(&s->rate_slots[slot].counts[use->rate], loop, o, charged);
}

/* A window's hint; written only when it is another one, as every worker reads its line. */
static void remember_window(struct shm *s, uint32_t rate, const struct rate_rule *r,
			    uint64_t now_ns)
{
	_Atomic uint64_t *hint = &s->rate_words[rate].hint;
	uint64_t number = now_ns / r->period_ns;

	if (shm_get(hint) != number)
		shm_set(hint, number);
}

static bool charge_only(struct shm *s, uint32_t slot, bool loop, struct shm_rate_use *use,
			uint64_t now_ns)
{
	struct rate_rule rule;
	struct rate_result got;
	struct rate_counts *c = &s->rate_slots[slot].counts[use->rate];

	CHECK(use->rate < SHM_RATES);
	if (!rate_rule_of(s, use->rate, &rule)) {
		use->admitted = true;
		use->full = use->shadow = false;
		use->before = use->after = use->state = 0;
		return true;
	}
	if (rule.sets > 0)
		rate_table_charge(s, slot, &rule, use->hash, now_ns, &got);
	else
		charge_state(&rule, now_ns, &got);
	if (rule.algorithm == SHM_RATE_WINDOW)
		remember_window(s, use->rate, &rule, now_ns);
	use->admitted = got.admitted;
	use->full = got.full;
	use->shadow = rule.shadow;
	use->before = got.before;
	use->after = use->state = got.after;
	if (got.full)
		count(c, loop, RATE_OVERFLOWED);
	count(c, loop, got.admitted ? RATE_ALLOWED : rule.shadow ? RATE_SHADOWED : RATE_LIMITED);
	return got.admitted || rule.shadow;
}

SELDOM static bool charge_several(struct shm *s, uint32_t slot, bool loop,
				  struct shm_rate_use *uses, uint32_t n, uint64_t now_ns,
				  int *ret_refused)
{
	struct one all[SHM_RATE_USES];
	bool charged;

	for (uint32_t i = 0; i < n; i++) {
		CHECK(uses[i].rate < SHM_RATES);
		all[i].rule.shadow = false;
		all[i].is_limit = rate_rule_of(s, uses[i].rate, &all[i].rule);
		uses[i].before = uses[i].after = 0;
	}
	charged = !look_at_all(all, uses, n, now_ns) && charge_all(s, slot, all, uses, n, now_ns);
	for (uint32_t i = 0; i < n; i++)
		finish_one(s, slot, loop, &uses[i], &all[i], charged);
	*ret_refused = charged ? -1 : find_refuser(s, all, uses, n, now_ns);
	return charged;
}

SELDOM static bool charge_any(struct shm *s, uint32_t slot, bool loop, struct shm_rate_use *uses,
			      uint32_t n, uint64_t now_ns, int *ret_refused)
{
	bool charged;

	if (n != 1)
		return charge_several(s, slot, loop, uses, n, now_ns, ret_refused);
	charged = charge_only(s, slot, loop, uses, now_ns);
	*ret_refused = charged ? -1 : 0;
	return charged;
}

/*
 * The usual charge: one limit without keys, not in shadow mode, that has room. The compare-and-swap
 * begins when all before it is done, so what counts is how many steps that is, and that none of
 * them waits for one of the others. false: it is another case, and nothing has been changed.
 */
static inline bool charge_usually(struct shm *s, uint32_t slot, bool loop,
				  struct shm_rate_use *use, uint64_t now_ns)
{
	const struct shm_rate *e = &s->rates[use->rate];
	struct shm_rate_word *w = &s->rate_words[use->rate];
	struct rate_numbers n = rate_numbers_unpack(shm_get(&w->numbers));
	uint64_t hint = shm_get(&w->hint), period_ns, state = shm_get(&w->state), next;
	uint32_t algorithm;

	if (atomic_load_explicit(&e->first_generation, memory_order_acquire) == 0 ||
	    shm_get(&e->sets) != 0 || n.shadow)
		return false;
	algorithm = shm_get(&e->algorithm);
	period_ns = shm_get(&e->period_ns);
	if (algorithm == SHM_RATE_WINDOW)
		next = rate_usual_window(state, now_ns, period_ns, hint, n.rate + n.burst);
	else if (!__builtin_mul_overflow(hint, (uint64_t)n.rate, &next) &&
		 next - period_ns < n.rate) /* it is the step of these numbers */
		next = rate_usual_bucket(state, now_ns, hint,
					 rate_quota(SHM_RATE_BUCKET, n.rate, n.burst));
	else
		return false;
	if (next == 0 || !atomic_compare_exchange_strong(&w->state, &state, next))
		return false;
	use->admitted = true;
	use->full = use->shadow = false;
	use->before = state;
	use->after = use->state = next;
	count(&s->rate_slots[slot].counts[use->rate], loop, RATE_ALLOWED);
	return true;
}

bool shm_rate_charge(struct shm *s, uint32_t slot, bool loop, struct shm_rate_use *uses,
		     uint32_t n, uint64_t now_ns, int *ret_refused)
{
	CHECK(slot < s->geo.slots && n <= SHM_RATE_USES && (n == 0 || uses->rate < SHM_RATES));
	if (n != 1 || !charge_usually(s, slot, loop, uses, now_ns))
		return charge_any(s, slot, loop, uses, n, now_ns, ret_refused);
	*ret_refused = -1;
	return true;
}

void shm_rate_prefetch(const struct shm *s, uint32_t rate, uint64_t hash)
{
	struct rate_rule r;

	CHECK(rate < SHM_RATES);
	if (rate_rule_of(s, rate, &r) && r.sets > 0)
		rate_table_prefetch(&r, hash);
}

void shm_rate_refund(struct shm *s, struct shm_rate_use *uses, uint32_t n)
{
	struct rate_rule r;

	for (uint32_t i = 0; i < n; i++) {
		if (uses[i].before != uses[i].after && rate_rule_of(s, uses[i].rate, &r))
			refund_one(&r, &uses[i]);
		uses[i].before = uses[i].after = 0;
	}
}
