/* SPDX-License-Identifier: MIT */
/*
 * Inside of shm/: what a semaphore is made of.
 *
 * A permit is one word: 0 is free; slot + 1 is held; with the high bit and a class it is granted to
 * that slot, which has not taken it yet. Words of one semaphore are a run of the section.
 *
 * Every number that is read from the segment is put into bounds by struct sem, which is made anew
 * for each call from the geometry that the process keeps for itself.
 */
#ifndef SHM_SEM_PRIV_H
#define SHM_SEM_PRIV_H

#include "shm/sem.h"

#define SEM_RUN 16u /* words are set aside by so many: different semaphores share no line */

/* One entry of the directory. Three lines: what hardly changes; what changes with the limit; hints
 * that change with each grant. */
struct shm_sem {
	SHM_ALIGNED _Atomic uint32_t first_generation; /* [M] publishes */
	_Atomic uint32_t last_generation;         /* [M] */
	_Atomic uint32_t first_word, limit_max;   /* [M] fixed while it is published */
	_Atomic uint64_t name[SHM_SEM_NAME_MAX / 8]; /* [M] */
	SHM_ALIGNED _Atomic uint64_t bounds;      /* limit, high, version: sem.c; by CAS */
	_Atomic uint32_t collector;               /* 0, or whose head holds a part; by CAS */
	_Atomic uint32_t weight[SHM_CLASSES];     /* [M] */
	_Atomic uint64_t reclaimed;               /* [M] permits taken from the dead */
	SHM_ALIGNED _Atomic uint64_t pass[SHM_CLASSES]; /* hints: virtual time of each class */
	_Atomic uint64_t now;                     /* hint: that of what was granted last */
};

/* What waits in one slot for one semaphore [owner, serialised by it]; but the last two are hints
 * that anybody writes. */
struct shm_sem_cell {
	SHM_ALIGNED _Atomic uint64_t waits[SHM_CLASSES]; /* how many << 32 | permits wanted */
	_Atomic uint64_t oldest_ns[SHM_CLASSES];
	_Atomic uint32_t freed;                   /* the word that was given back last */
	_Atomic uint32_t granted;                 /* the word that was granted last */
};
_Static_assert(sizeof(struct shm_sem_cell) == SHM_LINE, "a cell is a line");

/* Counted for one slot and semaphore, by any lane of the slot; passes to the slot's next owner. */
struct shm_sem_stats {
	SHM_ALIGNED _Atomic uint64_t count[SHM_SEM_COUNTS];
	_Atomic uint64_t sum_us, wait[SHM_SEM_WAIT_BUCKETS];
	_Atomic uint64_t spare[2];
};
_Static_assert(sizeof(struct shm_sem_stats) == 256, "four lines");

/* Words of a semaphore's bitmap of slots in which somebody waits: whole lines. */
static inline uint32_t shm_sem_bit_words(const struct shm_geometry *g)
{
	return ((g->slots + 63) / 64 + 7) & ~7u;
}

/* One semaphore as this process sees it. */
struct sem {
	const struct shm *s;
	struct shm_sem *e;
	_Atomic uint32_t *word;      /* max of them */
	_Atomic uint64_t *hint;      /* row and time of each word */
	_Atomic uint64_t *bits;      /* slots in which somebody waits */
	struct shm_sem_cell *cell;   /* by slot */
	uint32_t max, slots, bit_words;
};

/* Words of a semaphore that is there. With a run that lies outside: none, max is 0. */
static inline struct sem sem_of(const struct shm *s, uint32_t i)
{
	struct shm_sem *e = &s->sems[i];
	uint32_t first = atomic_load_explicit(&e->first_word, memory_order_relaxed);
	uint32_t max = atomic_load_explicit(&e->limit_max, memory_order_relaxed);

	if (__builtin_expect(first > s->geo.permits || max > s->geo.permits - first, 0))
		first = max = 0;
	return (struct sem){
		.s = s, .e = e, .max = max, .slots = s->geo.slots,
		.word = s->permits + first, .hint = s->permit_hints + first,
		.bits = s->sem_bits + (size_t)i * shm_sem_bit_words(&s->geo),
		.bit_words = (s->geo.slots + 63) / 64,
		.cell = s->sem_cells + (size_t)i * s->geo.slots,
	};
}

static inline struct shm_sem_stats *sem_stats(const struct shm *s, uint32_t i, uint32_t slot)
{
	return &s->sem_stats[(size_t)slot * s->geo.sems + i];
}

/* The word of a permit. */
#define SEM_GRANTED 0x80000000u
#define SEM_CLASS_AT 29
#define SEM_SLOT_BITS 0x1fffffffu
static inline uint32_t sem_held(uint32_t slot) { return slot + 1; }
static inline uint32_t sem_granted(uint32_t slot, uint32_t class)
{
	return SEM_GRANTED | class << SEM_CLASS_AT | (slot + 1);
}

static inline uint32_t sem_word_slot(uint32_t w) { return (w & SEM_SLOT_BITS) - 1; }
static inline uint32_t sem_word_class(uint32_t w) { return w >> SEM_CLASS_AT & 3; }
static inline bool sem_is_granted_to(uint32_t w, uint32_t slot)
{
	return (w & SEM_GRANTED) && sem_word_slot(w) == slot;
}

/* The hint of a permit: row in 20 bits, milliseconds in 44. */
static inline uint64_t sem_hint(uint32_t row, uint64_t now_ns)
{
	return (uint64_t)(row & 0xfffff) << 44 | (now_ns / 1000000 & 0xfffffffffffULL);
}

/*
 * `high` is the highest limit that may still have holders: while it is above the limit there may be
 * more holders than the limit, or some above it. The version counts changes of the limit, so that
 * nothing that was decided for an old limit passes for a new one.
 */
struct bounds { uint32_t limit, high; uint64_t raw; };
#define BOUNDS_BITS 15
#define BOUNDS_MASK ((1u << BOUNDS_BITS) - 1)
_Static_assert(SHM_SEM_LIMIT_MAX <= BOUNDS_MASK, "a limit has room");

static inline struct bounds sem_bounds(const struct sem *m)
{
	uint64_t raw = atomic_load(&m->e->bounds);
	struct bounds b = {raw & BOUNDS_MASK, raw >> BOUNDS_BITS & BOUNDS_MASK, raw};

	b.limit = b.limit < m->max ? b.limit : m->max;
	b.high = b.high < m->max ? b.high : m->max;
	b.high = b.high > b.limit ? b.high : b.limit;
	return b;
}

static inline uint64_t sem_bounds_make(uint32_t limit, uint32_t high, uint64_t version)
{
	return limit | (uint64_t)high << BOUNDS_BITS | version << 32;
}

#endif
