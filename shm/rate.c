/* SPDX-License-Identifier: MIT */
/*
 * Directory of rate limits, recovery, and what can be seen of them.
 *
 * The directory is the master's. An entry is published by `first_generation`; it and its sets go to
 * another limit when no living generation is one of those that know it. Which generations live is
 * told by the slots that the master has claimed (a keeper charges nothing) and by the instance.
 */
#include "shm/rate.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/siphash.h"
#include "shm/rate_priv.h"
#include "shm/shm_priv.h"

/* Of a table whose keys are counted: it is done beside requests, and is to take less than 1 ms. */
#define SETS_LOOKED_AT 16384u

/* ---- the hash ---- */

uint64_t shm_rate_hash(const struct shm *s, const struct slice *parts, size_t n)
{
	struct siphash h;

	siphash_init(&h, s->head->hash_key);
	for (size_t i = 0; i < n; i++) {
		uint64_t len = parts[i].len;

		siphash_add(&h, &len, sizeof(len));
		siphash_add(&h, parts[i].p, parts[i].len);
	}
	return siphash_end(&h);
}

/* ---- who knows an entry ---- */

static uint32_t first_of(const struct shm_rate *e)
{
	return atomic_load_explicit(&e->first_generation, memory_order_acquire);
}

static bool knows(const struct shm_rate *e, uint32_t generation)
{
	uint32_t first = first_of(e);

	return first != 0 && first <= generation && generation <= shm_get(&e->last_generation);
}

static bool is_known(const struct shm *s, const struct shm_rate *e, uint32_t generation)
{
	if (knows(e, generation) || knows(e, shm_get(&s->inst->generation)))
		return true;
	for (uint32_t i = 1; i < s->geo.slots; i++)
		if (s->claimed[i] && knows(e, shm_get(&s->slots[i].generation)))
			return true;
	return false;
}

/* ---- room for keys ---- */

static uint64_t end_of(const struct shm_rate *e)
{
	return (uint64_t)shm_get(&e->first_set) + shm_get(&e->sets);
}

static bool overlaps(const struct shm_rate *e, uint64_t first, uint64_t sets)
{
	return first_of(e) != 0 && shm_get(&e->first_set) < first + sets && first < end_of(e);
}

/* Is the range free of entries, or (if `dead_too`) of those that somebody knows? */
static bool is_free(const struct shm *s, uint64_t first, uint64_t sets, uint32_t generation,
		    bool dead_too)
{
	for (uint32_t i = 0; i < SHM_RATES; i++)
		if (overlaps(&s->rates[i], first, sets) &&
		    (!dead_too || is_known(s, &s->rates[i], generation)))
			return false;
	return true;
}

/* The first of so many sets in a row; they begin at 0 or behind another entry's. -1: none. */
static int64_t find_sets(const struct shm *s, uint64_t sets, uint32_t generation, bool dead_too)
{
	uint64_t pool = rate_sets_of(&s->geo);

	for (uint32_t i = 0; i <= SHM_RATES; i++) {
		uint64_t first = i == 0 ? 0 : end_of(&s->rates[i - 1]);

		if ((i == 0 || first_of(&s->rates[i - 1]) != 0) && first + sets <= pool &&
		    is_free(s, first, sets, generation, dead_too))
			return (int64_t)first;
	}
	return -1;
}

static int64_t take_sets(struct shm *s, uint64_t sets, uint32_t generation)
{
	int64_t first;

	if (sets == 0)
		return 0;
	first = find_sets(s, sets, generation, false);
	if (first < 0)
		first = find_sets(s, sets, generation, true);
	if (first < 0)
		return -1;
	for (uint32_t i = 0; i < SHM_RATES; i++)
		if (overlaps(&s->rates[i], (uint64_t)first, sets))
			shm_set(&s->rates[i].first_generation, 0); /* nobody knows it */
	memset(s->rate_sets + first, 0, sets * sizeof(struct shm_rate_set));
	return first;
}

/* ---- the directory ---- */

static uint64_t total(const struct shm *s, uint32_t rate, uint32_t what)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < s->geo.slots; i++)
		sum += shm_get(&s->rate_slots[i].counts[rate].loop[what]) +
		       shm_get(&s->rate_slots[i].counts[rate].other[what]);
	return sum;
}

static uint64_t sets_for(uint32_t entries)
{
	return ((uint64_t)entries + RATE_WAYS - 1) / RATE_WAYS;
}

/* Can it go on as what is wanted? */
static bool fits(const struct shm_rate *e, const char *kept, const struct shm_rate_spec *spec)
{
	return first_of(e) != 0 && memcmp(e->name, kept, SHM_RATE_NAME_MAX) == 0 &&
	       shm_get(&e->algorithm) == (uint32_t)spec->algorithm &&
	       shm_get(&e->period_ns) == spec->period_ns &&
	       (spec->entries > 0) == (shm_get(&e->sets) > 0) &&
	       sets_for(spec->entries) <= shm_get(&e->sets);
}

static uint32_t find_fitting(const struct shm *s, const char *kept,
			     const struct shm_rate_spec *spec)
{
	uint32_t best = SHM_RATES;

	for (uint32_t i = 0; i < SHM_RATES; i++)
		if (fits(&s->rates[i], kept, spec) &&
		    (best == SHM_RATES || shm_get(&s->rates[i].last_generation) >
						  shm_get(&s->rates[best].last_generation)))
			best = i;
	return best;
}

/* One that has never been used, else one that nobody knows. */
static uint32_t find_entry(const struct shm *s, uint32_t generation)
{
	for (uint32_t i = 0; i < SHM_RATES; i++)
		if (first_of(&s->rates[i]) == 0)
			return i;
	for (uint32_t i = 0; i < SHM_RATES; i++)
		if (!is_known(s, &s->rates[i], generation))
			return i;
	return SHM_RATES;
}

static void set_numbers(struct shm_rate_word *w, const struct shm_rate_spec *spec, bool changed)
{
	struct rate_numbers n = {
		spec->rate, spec->burst, spec->shadow, spec->allow_when_full, changed,
	};

	shm_set(&w->hint, rate_step(spec->period_ns, spec->rate)); /* a window finds its own */
	shm_set(&w->numbers, rate_numbers_pack(&n));
}

static int make(struct shm *s, const char *kept, const struct shm_rate_spec *spec,
		uint32_t generation, uint32_t *ret_index)
{
	uint32_t at = find_entry(s, generation);
	uint64_t sets = sets_for(spec->entries);
	struct shm_rate *e = &s->rates[at];
	int64_t first;

	if (at == SHM_RATES)
		return -ENOSPC;
	first = take_sets(s, sets, generation);
	if (first < 0)
		return -ENOSPC;
	shm_set(&e->first_generation, 0);
	memcpy(e->name, kept, SHM_RATE_NAME_MAX);
	shm_set(&e->algorithm, (uint32_t)spec->algorithm);
	shm_set(&e->period_ns, spec->period_ns);
	shm_set(&e->first_set, (uint32_t)first);
	shm_set(&e->sets, (uint32_t)sets);
	for (uint32_t k = 0; k < RATE_COUNTS; k++)
		shm_set(&e->base[k], total(s, at, k));
	shm_set(&s->rate_words[at].state, 0);
	set_numbers(&s->rate_words[at], spec, false);
	shm_set(&e->last_generation, generation);
	atomic_store_explicit(&e->first_generation, generation, memory_order_release);
	*ret_index = at;
	return 0;
}

int shm_rate_intern(struct shm *s, const struct shm_rate_spec *spec, uint32_t generation,
		    uint32_t *ret_index)
{
	char kept[SHM_RATE_NAME_MAX] = {0};
	size_t len = strnlen(spec->name, SHM_RATE_NAME_MAX);
	struct rate_numbers old;
	uint32_t i;

	if (len == 0 || len == SHM_RATE_NAME_MAX || generation == 0 ||
	    !rate_numbers_ok(spec->algorithm, spec->period_ns, spec->rate, spec->burst))
		return -EINVAL;
	memcpy(kept, spec->name, len);
	i = find_fitting(s, kept, spec);
	if (i == SHM_RATES)
		return make(s, kept, spec, generation, ret_index);
	old = rate_numbers_unpack(shm_get(&s->rate_words[i].numbers));
	set_numbers(&s->rate_words[i], spec,
		    old.changed || old.rate != spec->rate || old.burst != spec->burst);
	if (shm_get(&s->rates[i].last_generation) < generation)
		shm_set(&s->rates[i].last_generation, generation);
	*ret_index = i;
	return 0;
}

uint32_t shm_rate_find(const struct shm *s, const char *name, uint32_t generation)
{
	uint32_t best = UINT32_MAX;

	for (uint32_t i = 0; i < SHM_RATES; i++) {
		const struct shm_rate *e = &s->rates[i];

		/* Of two of a name the later one was made since the other did not fit. */
		if (knows(e, generation) && strncmp(e->name, name, SHM_RATE_NAME_MAX) == 0 &&
		    (best == UINT32_MAX || first_of(e) > first_of(&s->rates[best])))
			best = i;
	}
	return best;
}

int shm_rate_set(struct shm *s, uint32_t index, uint32_t rate, uint32_t burst, bool shadow)
{
	struct rate_rule r;
	uint64_t was;

	if (index >= SHM_RATES || !rate_rule_of(s, index, &r) ||
	    !rate_numbers_ok(r.algorithm, r.period_ns, rate, burst))
		return -EINVAL;
	was = shm_get(&s->rate_words[index].numbers);
	for (;;) {
		struct rate_numbers n = rate_numbers_unpack(was);

		n.changed = n.changed || n.rate != rate || n.burst != burst;
		n.rate = rate;
		n.burst = burst;
		n.shadow = shadow;
		if (atomic_compare_exchange_weak(&s->rate_words[index].numbers, &was,
						 rate_numbers_pack(&n)))
			break;
	}
	if (r.algorithm == SHM_RATE_BUCKET)
		shm_set(&s->rate_words[index].hint, rate_step(r.period_ns, rate));
	return 0;
}

/* ---- recovery ---- */

void shm_rate_recover(struct shm *s, uint32_t slot)
{
	_Atomic uint64_t *claims;
	uint64_t was;

	CHECK(slot < s->geo.slots);
	claims = &s->rate_slots[slot].claims;
	was = shm_get(claims);
	if ((uint32_t)was == 0)
		return; /* as nearly always: no need to look through tables */
	for (uint64_t i = 0; i < rate_sets_of(&s->geo); i++)
		rate_set_recover(&s->rate_sets[i], slot);
	shm_set(claims, was & ~(uint64_t)UINT32_MAX); /* last: until here it is to be done again */
}

/* ---- what can be seen ---- */

bool shm_rate_read(const struct shm *s, uint32_t rate, struct shm_rate_view *ret)
{
	const struct shm_rate *e;
	struct rate_numbers n;
	struct rate_rule r;

	if (rate >= SHM_RATES || !rate_rule_of(s, rate, &r))
		return false;
	e = &s->rates[rate];
	n = rate_numbers_unpack(shm_get(&s->rate_words[rate].numbers));
	*ret = (struct shm_rate_view){
		.algorithm = r.algorithm,
		.rate = n.rate,
		.burst = n.burst,
		.capacity = r.sets * RATE_WAYS,
		.first_generation = first_of(e),
		.last_generation = shm_get(&e->last_generation),
		.period_ns = r.period_ns,
		.shadow = n.shadow,
		.allow_when_full = n.allow_when_full,
		.allowed = total(s, rate, RATE_ALLOWED) - shm_get(&e->base[RATE_ALLOWED]),
		.limited = total(s, rate, RATE_LIMITED) - shm_get(&e->base[RATE_LIMITED]),
		.shadowed = total(s, rate, RATE_SHADOWED) - shm_get(&e->base[RATE_SHADOWED]),
		.overflowed = total(s, rate, RATE_OVERFLOWED) - shm_get(&e->base[RATE_OVERFLOWED]),
	};
	memcpy(ret->name, e->name, SHM_RATE_NAME_MAX);
	ret->name[SHM_RATE_NAME_MAX - 1] = '\0';
	return true;
}

uint64_t shm_rate_keys_in_use(const struct shm *s, uint32_t rate, uint64_t now_ns)
{
	uint32_t looked_at = 0, step;
	struct rate_rule r;
	uint64_t n = 0;

	if (rate >= SHM_RATES || !rate_rule_of(s, rate, &r) || r.sets == 0)
		return 0;
	step = (r.sets + SETS_LOOKED_AT - 1) / SETS_LOOKED_AT;
	for (uint64_t i = 0; i < r.sets; i += step, looked_at++)
		n += rate_set_in_use(&r, &r.table[i], now_ns);
	return n * r.sets / looked_at;
}

uint64_t rate_used(const struct shm *s, uint64_t *ret_sets)
{
	uint64_t pool = rate_sets_of(&s->geo), used = 0;

	*ret_sets = 0;
	for (uint32_t i = 0; i < SHM_RATES; i++) {
		if (first_of(&s->rates[i]) == 0)
			continue;
		used++;
		*ret_sets += shm_get(&s->rates[i].sets);
	}
	*ret_sets = *ret_sets < pool ? *ret_sets : pool;
	return used;
}
