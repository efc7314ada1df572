/* SPDX-License-Identifier: MIT */
/*
 * Directory of semaphores, and what can be seen of them. Written by the master before the workers
 * of a generation are forked. An entry is published last and keeps name, number and permits as long
 * as a living generation knows it; after that its place may go to another.
 */
#include "shm/sem.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "shm/heritage.h"
#include "shm/sem_priv.h"

#define WEIGHT_MAX 1000u

/* ---- names: kept as words, so that every access is atomic ---- */

static void store_name(struct shm_sem *e, const char *name)
{
	uint64_t w[SHM_SEM_NAME_MAX / 8] = {0};

	memcpy(w, name, strlen(name));
	for (uint32_t i = 0; i < SHM_SEM_NAME_MAX / 8; i++)
		shm_set(&e->name[i], w[i]);
}

static void load_name(const struct shm_sem *e, char ret[SHM_SEM_NAME_MAX])
{
	for (uint32_t i = 0; i < SHM_SEM_NAME_MAX / 8; i++) {
		uint64_t w = shm_get(&e->name[i]);

		memcpy(ret + 8 * i, &w, 8);
	}
	ret[SHM_SEM_NAME_MAX - 1] = '\0';
}

static bool is_published(const struct shm_sem *e)
{
	return atomic_load_explicit(&e->first_generation, memory_order_acquire) != 0;
}

static uint32_t find(const struct shm *s, const char *name)
{
	char kept[SHM_SEM_NAME_MAX];

	for (uint32_t i = 0; i < s->geo.sems; i++) {
		if (!is_published(&s->sems[i]))
			continue;
		load_name(&s->sems[i], kept);
		if (strcmp(kept, name) == 0)
			return i;
	}
	return SHM_SEM_NONE;
}

uint32_t shm_sem_find(const struct shm *s, const char *name, uint32_t generation)
{
	uint32_t i = find(s, name);

	if (i == SHM_SEM_NONE || shm_get(&s->sems[i].first_generation) > generation ||
	    shm_get(&s->sems[i].last_generation) < generation)
		return SHM_SEM_NONE;
	return i;
}

/* ---- places ---- */

/* The oldest generation that a process still is of, or that is being made. */
static uint32_t oldest_generation(const struct shm *s, uint32_t generation)
{
	uint32_t oldest = generation;

	for (uint32_t i = 0; i < s->geo.slots; i++) {
		uint32_t g = shm_get(&s->slots[i].generation);

		if (s->claimed[i] && g < oldest)
			oldest = g;
	}
	return oldest;
}

static bool is_living(const struct shm_sem *e, uint32_t oldest)
{
	return is_published(e) && shm_get(&e->last_generation) >= oldest;
}

static uint64_t run_of(uint32_t limit_max)
{
	return ((uint64_t)limit_max + SEM_RUN - 1) & ~(uint64_t)(SEM_RUN - 1);
}

/* Do these words belong to an entry that is living by `oldest`? *ret_end: where that ends. */
static bool overlaps(const struct shm *s, uint32_t from, uint64_t run, uint32_t oldest,
		     uint64_t *ret_end)
{
	for (uint32_t i = 0; i < s->geo.sems; i++) {
		const struct shm_sem *e = &s->sems[i];
		uint32_t first = shm_get(&e->first_word);

		*ret_end = first + run_of(shm_get(&e->limit_max));
		if (is_living(e, oldest) && from < *ret_end && first < from + run)
			return true;
	}
	return false;
}

/* The first run of free words of that length, SHM_SEM_NONE if there is none. */
static uint32_t find_run(const struct shm *s, uint64_t run, uint32_t oldest)
{
	uint64_t at = 0, end;

	/* Each turn goes past one entry. */
	for (uint32_t i = 0; i <= s->geo.sems && at + run <= s->geo.permits; i++) {
		if (!overlaps(s, (uint32_t)at, run, oldest, &end))
			return (uint32_t)at;
		at = (end + SEM_RUN - 1) & ~(uint64_t)(SEM_RUN - 1);
	}
	return SHM_SEM_NONE;
}

/* An entry that is free, else the one that has been out of use for longest. */
static uint32_t find_entry(const struct shm *s, uint32_t oldest)
{
	uint32_t best = SHM_SEM_NONE;

	for (uint32_t i = 0; i < s->geo.sems; i++) {
		const struct shm_sem *e = &s->sems[i];

		if (!is_published(e))
			return i;
		if (!is_living(e, oldest) &&
		    (best == SHM_SEM_NONE || shm_get(&e->last_generation) <
						     shm_get(&s->sems[best].last_generation)))
			best = i;
	}
	return best;
}

static void unpublish(struct shm_sem *e)
{
	atomic_store_explicit(&e->first_generation, 0, memory_order_release);
}

/* Takes these words from entries that nobody knows any more. */
static void evict(struct shm *s, uint32_t from, uint64_t run)
{
	for (uint32_t i = 0; i < s->geo.sems; i++) {
		struct shm_sem *e = &s->sems[i];
		uint32_t first = shm_get(&e->first_word);

		if (is_published(e) && from < first + run_of(shm_get(&e->limit_max)) &&
		    first < from + run)
			unpublish(e);
	}
}

/* What other names have counted under this number does not belong to the new one. */
static void clear_stats(struct shm *s, uint32_t i)
{
	for (uint32_t slot = 0; slot < s->geo.slots; slot++) {
		struct shm_sem_stats *st = sem_stats(s, i, slot);

		for (uint32_t k = 0; k < SHM_SEM_COUNTS; k++)
			shm_set(&st->count[k], 0);
		for (uint32_t k = 0; k < SHM_SEM_WAIT_BUCKETS; k++)
			shm_set(&st->wait[k], 0);
		shm_set(&st->sum_us, 0);
	}
	shm_set(&s->sems[i].reclaimed, 0);
}

/* Gives words to an entry that nobody knows now, all of them free. */
static void place(struct shm *s, uint32_t i, uint32_t first, const struct shm_sem_spec *spec)
{
	struct shm_sem *e = &s->sems[i];
	struct sem m;

	shm_set(&e->first_word, first);
	shm_set(&e->limit_max, spec->limit_max);
	shm_set(&e->collector, 0);
	for (uint32_t k = 0; k < SHM_CLASSES; k++)
		shm_set(&e->pass[k], 0);
	shm_set(&e->now, 0);
	m = sem_of(s, i);
	for (uint32_t k = 0; k < m.max; k++) {
		shm_set(&m.word[k], 0);
		shm_set(&m.hint[k], 0);
	}
	for (uint32_t k = 0; k < m.bit_words; k++)
		shm_set(&m.bits[k], 0);
	for (uint32_t slot = 0; slot < s->geo.slots; slot++) {
		for (uint32_t k = 0; k < SHM_CLASSES; k++) {
			shm_set(&m.cell[slot].waits[k], 0);
			shm_set(&m.cell[slot].oldest_ns[k], 0);
		}
		shm_set(&m.cell[slot].freed, 0);
		shm_set(&m.cell[slot].granted, 0);
	}
	shm_set(&e->bounds, sem_bounds_make(spec->limit, spec->limit, 0));
}

static bool spec_ok(const struct shm_sem_spec *spec)
{
	size_t len = strnlen(spec->name, SHM_SEM_NAME_MAX);

	for (uint32_t k = 0; k < SHM_CLASSES; k++)
		if (spec->weight[k] < 1 || spec->weight[k] > WEIGHT_MAX)
			return false;
	return len >= 1 && len < SHM_SEM_NAME_MAX && spec->limit_max >= 1 &&
	       spec->limit_max <= SHM_SEM_LIMIT_MAX && spec->limit <= spec->limit_max;
}

/* Makes the entry of that name; `same`: where it has been, with what it has counted. */
static int make(struct shm *s, const struct shm_sem_spec *spec, uint32_t same, uint32_t oldest,
		uint32_t *ret_index)
{
	uint64_t run = run_of(spec->limit_max);
	uint32_t at, i = same;

	if (i == SHM_SEM_NONE)
		i = find_entry(s, oldest);
	if (i == SHM_SEM_NONE)
		return -ENOSPC;
	at = find_run(s, run, 1); /* rather where nobody has been */
	if (at == SHM_SEM_NONE)
		at = find_run(s, run, oldest);
	if (at == SHM_SEM_NONE)
		return -ENOSPC;
	evict(s, at, run);
	unpublish(&s->sems[i]);
	if (same == SHM_SEM_NONE)
		clear_stats(s, i);
	store_name(&s->sems[i], spec->name);
	place(s, i, at, spec);
	*ret_index = i;
	return 0;
}

int shm_sem_intern(struct shm *s, const struct shm_sem_spec *spec, uint32_t generation,
		   uint32_t *ret_index)
{
	uint32_t oldest = oldest_generation(s, generation), i = find(s, spec->name), first;
	struct shm_sem_wake wake = {0};
	struct shm_sem *e;
	int err;

	if (!spec_ok(spec))
		return -EINVAL;
	if (i == SHM_SEM_NONE || (!is_living(&s->sems[i], oldest) &&
				  shm_get(&s->sems[i].limit_max) != spec->limit_max)) {
		err = make(s, spec, i, oldest, &i);
		first = generation;
	} else {
		err = shm_sem_set_limit(s, i, spec->limit, &wake);
		first = shm_get(&s->sems[i].first_generation);
	}
	if (err != 0)
		return err;
	e = &s->sems[i];
	for (uint32_t k = 0; k < SHM_CLASSES; k++)
		shm_set(&e->weight[k], spec->weight[k]);
	shm_set(&e->last_generation, generation);
	atomic_store_explicit(&e->first_generation, first, memory_order_release);
	*ret_index = i;
	return 0;
}

void shm_sem_poke(const struct heritage *h, const struct shm_sem_wake *wake, uint32_t but)
{
	for (uint32_t i = 0; i < wake->n; i++)
		if (wake->slot[i] != but && wake->slot[i] < h->shm->geo.slots)
			heritage_poke(h, wake->slot[i]);
	for (uint32_t i = 1; wake->all && i < h->shm->geo.slots; i++)
		if (i != but && shm_get(&shm_slot(h->shm, i)->kind) == SHM_WORKER)
			heritage_poke(h, i);
}

/* ---- what can be seen ---- */

static uint64_t total(const struct shm *s, uint32_t sem, enum shm_sem_count what)
{
	uint64_t sum = 0;

	for (uint32_t slot = 0; slot < s->geo.slots; slot++)
		sum += shm_get(&sem_stats(s, sem, slot)->count[what]);
	return sum;
}

static void read_waits(const struct sem *m, struct shm_sem_view *v)
{
	for (uint32_t slot = 0; slot < m->slots; slot++) {
		if (!(atomic_load(&m->bits[slot / 64]) >> slot % 64 & 1))
			continue;
		for (uint32_t k = 0; k < SHM_CLASSES; k++) {
			uint32_t n = (uint32_t)(shm_get(&m->cell[slot].waits[k]) >> 32);
			uint64_t oldest = shm_get(&m->cell[slot].oldest_ns[k]);

			if (n > 0 && (v->waiting[k] == 0 || oldest < v->oldest_ns[k]))
				v->oldest_ns[k] = oldest;
			v->waiting[k] += n;
		}
	}
}

void shm_sem_waiting(const struct shm *s, uint32_t sem, uint32_t ret[SHM_CLASSES])
{
	struct shm_sem_view v = {0};
	struct sem m;

	if (sem < s->geo.sems && is_published(&s->sems[sem])) {
		m = sem_of(s, sem);
		read_waits(&m, &v);
	}
	memcpy(ret, v.waiting, sizeof(v.waiting));
}

bool shm_sem_read(const struct shm *s, uint32_t sem, struct shm_sem_view *ret)
{
	struct shm_sem_view v = {0};
	struct bounds b;
	struct sem m;

	if (sem >= s->geo.sems || !is_published(&s->sems[sem]))
		return false;
	m = sem_of(s, sem);
	b = sem_bounds(&m);
	load_name(m.e, v.name);
	v.limit = b.limit;
	v.limit_max = m.max;
	for (uint32_t i = 0; i < m.max; i++) {
		uint32_t w = shm_get(&m.word[i]);

		v.held += w != 0 && !(w & SEM_GRANTED);
		v.granted += (w & SEM_GRANTED) != 0;
	}
	read_waits(&m, &v);
	for (uint32_t k = 0; k < SHM_CLASSES; k++)
		v.weight[k] = shm_get(&m.e->weight[k]);
	v.acquired = total(s, sem, SHM_SEM_ACQUIRED);
	v.queued = total(s, sem, SHM_SEM_QUEUED);
	v.timed_out = total(s, sem, SHM_SEM_TIMED_OUT);
	v.rejected = total(s, sem, SHM_SEM_REJECTED);
	v.abandoned = total(s, sem, SHM_SEM_ABANDONED);
	v.reclaimed = shm_get(&m.e->reclaimed);
	*ret = v;
	return true;
}

bool shm_permit_read(const struct shm *s, uint32_t sem, uint32_t i, struct shm_permit_view *ret)
{
	uint64_t hint;
	uint32_t w;
	struct sem m;

	if (sem >= s->geo.sems || !is_published(&s->sems[sem]))
		return false;
	m = sem_of(s, sem);
	if (i >= m.max)
		return false;
	hint = shm_get(&m.hint[i]);
	w = shm_get(&m.word[i]);
	if (w == 0 || sem_word_slot(w) >= m.slots)
		return false;
	*ret = (struct shm_permit_view){
		.slot = sem_word_slot(w),
		.row = (uint32_t)(hint >> 44),
		.since_ns = (hint & 0xfffffffffffULL) * 1000000,
		.granted = (w & SEM_GRANTED) != 0,
	};
	return true;
}

void shm_sem_count(struct shm *s, uint32_t sem, uint32_t slot, enum shm_sem_count what)
{
	CHECK(sem < s->geo.sems && slot < s->geo.slots && what < SHM_SEM_COUNTS);
	atomic_fetch_add_explicit(&sem_stats(s, sem, slot)->count[what], 1, memory_order_relaxed);
}

void shm_sem_waited(struct shm *s, uint32_t sem, uint32_t slot, uint64_t us)
{
	struct shm_sem_stats *st;
	uint32_t i = us ? 64 - (uint32_t)__builtin_clzll(us) : 0;

	CHECK(sem < s->geo.sems && slot < s->geo.slots);
	st = sem_stats(s, sem, slot);
	i = i < SHM_SEM_WAIT_BUCKETS ? i : SHM_SEM_WAIT_BUCKETS - 1;
	atomic_fetch_add_explicit(&st->wait[i], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&st->sum_us, us, memory_order_relaxed);
}

void shm_sem_wait_read(const struct shm *s, uint32_t sem, struct shm_sem_wait_sum *ret)
{
	*ret = (struct shm_sem_wait_sum){0};
	if (sem >= s->geo.sems)
		return;
	for (uint32_t slot = 0; slot < s->geo.slots; slot++) {
		const struct shm_sem_stats *st = sem_stats(s, sem, slot);

		for (uint32_t i = 0; i < SHM_SEM_WAIT_BUCKETS; i++) {
			ret->bucket[i] += shm_get(&st->wait[i]);
			ret->count += shm_get(&st->wait[i]);
		}
		ret->sum_us += shm_get(&st->sum_us);
	}
}
