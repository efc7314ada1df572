/* SPDX-License-Identifier: MIT */
/* Inside of shm/: how rate limits lie in the segment, and the parts that rate.h is made of. */
#ifndef SHM_RATE_PRIV_H
#define SHM_RATE_PRIV_H

#include "shm/rate.h"

/* ---- what is in the segment ---- */

struct shm_rate {            /* [M] published by `first_generation`; 0 = none */
	SHM_ALIGNED _Atomic uint32_t first_generation;
	_Atomic uint32_t last_generation;
	_Atomic uint32_t algorithm;        /* enum shm_rate_algorithm */
	_Atomic uint32_t first_set, sets;  /* of its table; 0 sets = not keyed */
	_Atomic uint64_t period_ns;
	/* Totals that were there when the entry was given to this name. */
	_Atomic uint64_t base[4];
	char name[SHM_RATE_NAME_MAX];
};

struct shm_rate_word {
	SHM_ALIGNED _Atomic uint64_t numbers; /* rate, burst, mode: any process, see rate_rule.c */
	_Atomic uint64_t hint;             /* saves a division, and is looked at before it is
					    * believed. Bucket: the step in ns, of rate and period;
					    * window: the number of the one that is now */
	SHM_ALIGNED _Atomic uint64_t state; /* any process, by compare-and-swap; not keyed */
};

enum { RATE_ALLOWED, RATE_LIMITED, RATE_SHADOWED, RATE_OVERFLOWED, RATE_COUNTS };
struct rate_counts {
	SHM_ALIGNED _Atomic uint64_t loop[RATE_COUNTS]; /* [L] */
	_Atomic uint64_t other[RATE_COUNTS]; /* any other lane, by atomic addition */
};
_Static_assert(sizeof(struct rate_counts) == SHM_LINE, "a check counts in one line");
struct shm_rate_slot {       /* of the slot's owner */
	SHM_ALIGNED _Atomic uint64_t claims; /* tickets ever given (32) | claims under way (32);
					      * any lane, by atomic read-modify-write */
	struct rate_counts counts[SHM_RATES];
};

/* A key and its state are one word of 16 bytes, and change by one compare-and-swap. */
#define RATE_WAYS 4u
struct rate_way {
	_Alignas(16) _Atomic uint64_t key; /* 0 = empty */
	_Atomic uint64_t state;
};
struct shm_rate_set { SHM_ALIGNED struct rate_way way[RATE_WAYS]; };
_Static_assert(sizeof(struct shm_rate_set) == SHM_LINE, "a look-up touches one line");

static inline uint64_t rate_sets_of(const struct shm_geometry *g)
{
	return ((uint64_t)g->rate_keys + RATE_WAYS - 1) / RATE_WAYS;
}

/* ---- a limit's numbers and arithmetic; no access to what it counts ---- */

__extension__ typedef unsigned __int128 rate_u128;

/* A private copy, of which every number is in range whatever is in the segment. */
struct rate_rule {
	enum shm_rate_algorithm algorithm;
	bool shadow, allow_when_full;
	uint32_t quota;                    /* most that is admitted at once; at least 1 */
	uint32_t sets;                     /* 0 = not keyed */
	uint64_t step_ns, period_ns;
	bool changed;                      /* by a live change: others may have been in force */
	struct shm_rate_set *table;
	_Atomic uint64_t *state;
};

#define RATE_DEBT_MAX (1ULL << 62)         /* ns that a bucket may owe */
#define RATE_COUNT_MAX 1000000u
#define RATE_PERIOD_MIN 1000000000ULL
#define RATE_PERIOD_MAX 86400000000000ULL
#define RATE_FORGIVE_NS 60000000000ULL
struct rate_numbers { uint32_t rate, burst; bool shadow, allow_when_full, changed; };
uint64_t rate_numbers_pack(const struct rate_numbers *n);
bool rate_numbers_ok(enum shm_rate_algorithm algorithm, uint64_t period_ns, uint32_t rate,
		     uint32_t burst);

#define RATE_FIELD_BITS 20
#define RATE_FIELD_MASK ((1u << RATE_FIELD_BITS) - 1)
#define RATE_SHADOW (1ULL << 40)
#define RATE_ALLOW (1ULL << 41)
#define RATE_CHANGED (1ULL << 42)
_Static_assert(RATE_COUNT_MAX <= RATE_FIELD_MASK, "rate and burst have a field each");

static inline struct rate_numbers rate_numbers_unpack(uint64_t word)
{
	return (struct rate_numbers){
		.rate = word & RATE_FIELD_MASK,
		.burst = (word >> RATE_FIELD_BITS) & RATE_FIELD_MASK,
		.shadow = word & RATE_SHADOW,
		.allow_when_full = word & RATE_ALLOW,
		.changed = word & RATE_CHANGED,
	};
}

static inline uint64_t rate_step(uint64_t period_ns, uint32_t rate)
{
	return (period_ns + rate - 1) / rate;
}

static inline uint32_t rate_quota(enum shm_rate_algorithm algorithm, uint32_t rate, uint32_t burst)
{
	if (algorithm == SHM_RATE_WINDOW)
		return rate + burst;
	return burst > 0 ? burst : 1;
}

/* The step that a word remembers, if it is the one of these numbers: saves a division. */
static inline uint64_t rate_step_of(uint64_t period_ns, uint32_t rate, uint64_t hint)
{
	uint64_t product;

	if (!__builtin_mul_overflow(hint, rate, &product) && product >= period_ns &&
	    product - rate < period_ns)
		return hint;
	return rate_step(period_ns, rate);
}

static inline bool rate_in_range(const struct rate_numbers *n, uint64_t period_ns)
{
	return n->rate >= 1 && n->rate <= RATE_COUNT_MAX && n->burst <= RATE_COUNT_MAX &&
	       period_ns >= RATE_PERIOD_MIN && period_ns <= RATE_PERIOD_MAX;
}

/* The numbers of now. false: no limit. */
static inline __attribute__((always_inline)) bool
rate_rule_of(const struct shm *s, uint32_t rate, struct rate_rule *ret)
{
	const struct shm_rate *e = &s->rates[rate];
	struct shm_rate_word *w = &s->rate_words[rate];
	struct rate_numbers n = rate_numbers_unpack(shm_get(&w->numbers));
	uint32_t first = shm_get(&e->first_set);
	uint64_t owed;

	if (atomic_load_explicit(&e->first_generation, memory_order_acquire) == 0)
		return false;
	*ret = (struct rate_rule){
		.algorithm = (enum shm_rate_algorithm)shm_get(&e->algorithm),
		.shadow = n.shadow,
		.allow_when_full = n.allow_when_full,
		.changed = n.changed,
		.sets = shm_get(&e->sets),
		.period_ns = shm_get(&e->period_ns),
		.state = &w->state,
	};
	if (!rate_in_range(&n, ret->period_ns) ||
	    (uint64_t)first + ret->sets > rate_sets_of(&s->geo))
		return false;
	ret->table = s->rate_sets + first;
	ret->quota = rate_quota(ret->algorithm, n.rate, n.burst);
	if (ret->algorithm == SHM_RATE_WINDOW)
		return true;
	ret->step_ns = rate_step_of(ret->period_ns, n.rate, shm_get(&w->hint));
	if (__builtin_mul_overflow(ret->step_ns, (uint64_t)ret->quota, &owed) ||
	    owed > RATE_DEBT_MAX)
		return false;
	return ret->algorithm == SHM_RATE_BUCKET;
}

enum rate_verdict { RATE_ADMIT, RATE_REFUSE, RATE_FORGIVE };
enum rate_verdict rate_decide_window(uint64_t period_ns, uint32_t quota, uint64_t state,
				     uint64_t now_ns, uint64_t *ret_next);
/* A bucket that owes more was never filled like that. */
static inline uint64_t rate_owed_max_ns(const struct rate_rule *r)
{
	return (r->changed ? r->quota * r->step_ns : RATE_DEBT_MAX) + RATE_FORGIVE_NS;
}

/* What becomes of one more request. ADMIT, FORGIVE: *ret_next is to take the place of `state`;
 * after FORGIVE one looks again. State 0 is nothing admitted lately. */
static inline enum rate_verdict rate_decide(const struct rate_rule *r, uint64_t state,
					    uint64_t now_ns, uint64_t *ret_next)
{
	uint64_t full, owed;

	if (r->algorithm == SHM_RATE_WINDOW)
		return rate_decide_window(r->period_ns, r->quota, state, now_ns, ret_next);
	full = state > now_ns ? state : now_ns;
	owed = full - now_ns;
	if (owed <= (r->quota - 1) * r->step_ns) {
		*ret_next = full + r->step_ns;
		return RATE_ADMIT;
	}
	if (owed <= rate_owed_max_ns(r))
		return RATE_REFUSE;
	/* Owed under other numbers than those of today (or the word was written on). */
	*ret_next = now_ns + r->quota * r->step_ns;
	return RATE_FORGIVE;
}

/*
 * The same of the usual case, in fewer steps: 0 if it is another one. The step is the one of
 * rate and period; whether a window's number is right is seen here.
 */
static inline uint64_t rate_usual_bucket(uint64_t state, uint64_t now_ns, uint64_t step_ns,
					 uint32_t quota)
{
	uint64_t full = state > now_ns ? state : now_ns;

	return full - now_ns <= (quota - 1) * step_ns ? full + step_ns : 0;
}

/* A window's state: {count of the window before 21 | number of the window 22 | its count 21}. */
#define RATE_COUNT_BITS 21
#define RATE_BEFORE_SHIFT 43
#define RATE_COUNT_MASK ((1u << RATE_COUNT_BITS) - 1)
#define RATE_NUMBER_MASK ((1u << 22) - 1)
_Static_assert(2 * RATE_COUNT_MAX < RATE_COUNT_MASK, "rate + burst is a count; marks are none");

static inline uint32_t rate_window_number(uint64_t state)
{
	return (uint32_t)(state >> RATE_COUNT_BITS) & RATE_NUMBER_MASK;
}

static inline uint64_t rate_usual_window(uint64_t state, uint64_t now_ns, uint64_t period_ns,
					 uint64_t number, uint32_t quota)
{
	uint64_t elapsed = now_ns - number * period_ns, before = state >> RATE_BEFORE_SHIFT;
	uint32_t count = state & RATE_COUNT_MASK;

	if (elapsed >= period_ns || rate_window_number(state) != (number & RATE_NUMBER_MASK) ||
	    count >= quota ||
	    (rate_u128)before * (period_ns - elapsed) >
		    (rate_u128)(quota - count - 1) * period_ns)
		return 0;
	return state + 1;
}

/* Means the same as 0, for every process whose time is less than a second late. */
bool rate_is_idle(const struct rate_rule *r, uint64_t state, uint64_t now_ns);
/* Until it is that, at least 1. */
uint64_t rate_idle_in_ns(const struct rate_rule *r, uint64_t state, uint64_t now_ns);
/* How many would be admitted now; how long until n (1 to the quota) would be at once. */
uint32_t rate_remaining(const struct rate_rule *r, uint64_t state, uint64_t now_ns);
uint64_t rate_wait_ns(const struct rate_rule *r, uint64_t state, uint64_t now_ns, uint32_t n);
/* The state without one request that made `after` of `before`. false: that cannot be told. */
bool rate_take_off(const struct rate_rule *r, uint64_t state, uint64_t before, uint64_t after,
		   uint64_t *ret);

/*
 * An entry that is being made: its state has no count, but who makes it. All ones in the highest 21
 * bits are no time (that is 292 years off), and no count of a window (which is at most 2000000).
 */
#define RATE_PENDING (0x1fffffULL << 43)
#define RATE_TICKETS (1u << 27)
_Static_assert(sizeof(uint64_t) * 8 == 21 + 27 + 16, "mark, ticket and slot are a word");
static inline bool rate_is_pending(uint64_t state) { return state >= RATE_PENDING; }
static inline uint64_t rate_pending(uint32_t slot, uint32_t ticket)
{
	return RATE_PENDING | (uint64_t)(ticket & (RATE_TICKETS - 1)) << 16 | (slot & 0xffff);
}
static inline uint32_t rate_pending_slot(uint64_t state) { return state & 0xffff; }

/* ---- rate_table.c: entries of keys ---- */

/* What an operation on one limit came to. */
struct rate_result {
	bool admitted, charged, full;
	uint64_t before, after;            /* the state; the same if not charged */
};
/* Without changing anything; what the charge would come to if nobody else came. */
void rate_table_look(const struct rate_rule *r, uint64_t hash, uint64_t now_ns,
		     struct rate_result *ret);
void rate_table_charge(struct shm *s, uint32_t slot, const struct rate_rule *r, uint64_t hash,
		       uint64_t now_ns, struct rate_result *ret);
void rate_table_prefetch(const struct rate_rule *r, uint64_t hash);
void rate_table_refund(const struct rate_rule *r, uint64_t hash, uint64_t before, uint64_t after);
/* Takes the claims of a slot that has no owner any more away. */
void rate_set_recover(struct shm_rate_set *set, uint32_t slot);
/* Entries that mean something; no claims. */
uint32_t rate_set_in_use(const struct rate_rule *r, const struct shm_rate_set *set,
			 uint64_t now_ns);
/* Until the places of this key may have room. */
uint64_t rate_table_wait_ns(const struct rate_rule *r, uint64_t hash, uint64_t now_ns);

/* ---- rate.c ---- */

/* Limits in the directory; *ret_sets = sets that they have. */
uint64_t rate_used(const struct shm *s, uint64_t *ret_sets);

#endif
