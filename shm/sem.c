/* SPDX-License-Identifier: MIT */
/*
 * Semaphores: permits, and whose turn it is. Runs in every process, in any lane of it.
 *
 * Between any two instructions the process may be killed for good, or stopped. What keeps a waiter
 * from being left asleep beside a free permit are these looks, each of which comes after a
 * sequentially consistent store:
 *   (a) who waits says so first (cell, then bit), and then tries once more (shm_sem_acquire());
 *   (b) who has made a permit free looks for waiters after that;
 *   (c) who has granted a permit looks after that whether the slot still waits; if not it takes the
 *       grant back (the slot may have died, and been recovered, before the grant);
 *   (d) recovery frees grants to slots in which nobody waits, since who dies may have been inside
 *       of (c);
 *   (e) after a recovery everybody is woken, since who dies may have been inside of (b), or before
 *       its wake-ups.
 * A slot that stops waiting clears cell and bit and then hands on what is granted to it: with (c)
 * one of the two sees the other.
 *
 * A lowered limit. Holders above it go on, so that for a while there are more than the limit, or
 * words in use above it: `high` says how far up to look. Meanwhile who has taken a word counts all
 * that are taken, and gives its own back when there are more than the limit. This is exact: of
 * those who hold at some moment, look at the one who took its word last. Whoever else holds then
 * had taken its word before that, and had not given it back when the last one counted, so the last
 * one counted them all; it was admitted, so they are not more than the limit. Those from before the
 * change are seen by the same argument, since they took their words before it. The word of a
 * granted permit counts as taken; it is counted again by who takes it.
 *
 * Weights. Who needs several permits may hold a part of them only as the collector, which is one
 * slot at most: `collector` is its owner, changed by CAS. So two partial sets never wait for each
 * other; and what is released goes to the collector until it has all. It gets that role only when
 * it is its turn, and loses it to another when it leaves grants alone for too long (a stopped
 * process): a head that finds itself with a part and without the role gives the part back.
 */
#include "shm/sem.h"

#include <errno.h>

#include "base/check.h"
#include "shm/sem_priv.h"

#define NS_PER_MS 1000000u
#define FUTURE_MS 1000          /* a time so far ahead of mine is none */
#define GRANTS 32u              /* slots with grants that are told apart; more: some get too many */
#define SELDOM __attribute__((noinline)) /* keeps its frame off the path where nobody waits */
#define PASS_ONE (1ULL << 32)   /* what a permit costs a class of weight 1 */

static bool swap(_Atomic uint32_t *word, uint32_t from, uint32_t to)
{
	return atomic_compare_exchange_strong(word, &from, to);
}

/* More holders than the limit are possible, or some above it. */
static bool is_draining(const struct bounds *b)
{
	return b->limit != 0 && b->high > b->limit;
}

static void add_wake(struct shm_sem_wake *wake, uint32_t slot)
{
	for (uint32_t i = 0; i < wake->n; i++)
		if (wake->slot[i] == slot)
			return;
	if (wake->n < sizeof(wake->slot) / sizeof(wake->slot[0]))
		wake->slot[wake->n++] = slot;
	else
		wake->all = true;
}

static bool waits_in(const struct sem *m, uint32_t slot)
{
	return atomic_load(&m->bits[slot / 64]) >> slot % 64 & 1;
}

static bool anyone_waits(const struct sem *m)
{
	for (uint32_t i = 0; i < m->bit_words; i++)
		if (atomic_load(&m->bits[i]) != 0)
			return true;
	return false;
}

/* ---- who has been granted what ---- */

struct census {
	uint32_t taken;              /* words that are not free, below `high` */
	uint32_t free;               /* one that is, below the limit; else SHM_SEM_NONE */
	uint32_t n;
	struct grants { uint32_t slot, count[SHM_CLASSES], sum; bool stale; } of[GRANTS];
};

static bool is_stale(const struct sem *m, uint32_t i, uint64_t now_ns)
{
	uint64_t since = shm_get(&m->hint[i]) & 0xfffffffffffULL;
	int64_t age_ms = (int64_t)((now_ns / NS_PER_MS - since) << 20) >> 20; /* 44 bits */

	return age_ms >= SHM_SEM_STALE_NS / NS_PER_MS || age_ms < -FUTURE_MS;
}

static void note_grant(struct census *c, uint32_t word, bool stale)
{
	uint32_t slot = sem_word_slot(word), class = sem_word_class(word), i = 0;

	while (i < c->n && c->of[i].slot != slot)
		i++;
	if (i == GRANTS)
		return;
	if (i == c->n)
		c->of[c->n++] = (struct grants){.slot = slot};
	c->of[i].count[class < SHM_CLASSES ? class : 0]++;
	c->of[i].sum++;
	c->of[i].stale |= stale;
}

static void take_census(const struct sem *m, const struct bounds *b, uint64_t now_ns,
			struct census *c)
{
	c->taken = c->n = 0;
	c->free = SHM_SEM_NONE;
	for (uint32_t i = 0; i < b->high; i++) {
		uint32_t w = atomic_load(&m->word[i]);

		if (w == 0) {
			if (i < b->limit && c->free == SHM_SEM_NONE)
				c->free = i;
			continue;
		}
		c->taken++;
		if (w & SEM_GRANTED)
			note_grant(c, w, is_stale(m, i, now_ns));
	}
}

static const struct grants *grants_of(const struct census *c, uint32_t slot)
{
	static const struct grants none;

	for (uint32_t i = 0; i < c->n; i++)
		if (c->of[i].slot == slot)
			return &c->of[i];
	return &none;
}

/* ---- whose turn it is ---- */

/*
 * Weighted with aging: each class has a virtual time, which moves on by 1/weight when it gets a
 * permit; the class that is furthest behind is next. So what waits gains on what is served. Who
 * comes from idle starts at the present. All this is hints: a lost update costs one turn, and what
 * cannot be true is taken for the present.
 */
static uint64_t lead_of(const struct sem *m, uint32_t class)
{
	uint64_t lead = shm_get(&m->e->pass[class]) - shm_get(&m->e->now);

	return lead <= PASS_ONE ? lead : 0;
}

static void charge(const struct sem *m, uint32_t class)
{
	uint32_t weight = shm_get(&m->e->weight[class]);
	uint64_t start = shm_get(&m->e->now) + lead_of(m, class);

	shm_set(&m->e->pass[class], start + PASS_ONE / (weight ? weight : 1));
	shm_set(&m->e->now, start);
}

struct turn { uint32_t slot, class; };
struct best { uint32_t slot; bool granted; uint64_t oldest_ns; };

static uint32_t wanted(const struct sem *m, uint32_t slot, uint32_t class)
{
	return (uint32_t)shm_get(&m->cell[slot].waits[class]);
}

static uint64_t wanted_in(const struct sem *m, uint32_t slot)
{
	uint64_t sum = 0;

	for (uint32_t k = 0; k < SHM_CLASSES; k++)
		sum += wanted(m, slot, k);
	return sum;
}

/* Is this slot before the best one of a class so far? One that has a grant already comes behind
 * those that have none: since when its next waiter waits is not known. */
static void consider(const struct sem *m, uint32_t slot, const struct grants *g,
		     struct best best[SHM_CLASSES])
{
	if (wanted_in(m, slot) <= g->sum)
		return;
	for (uint32_t k = 0; k < SHM_CLASSES; k++) {
		struct best me = {slot, g->sum > 0, shm_get(&m->cell[slot].oldest_ns[k])};

		if (wanted(m, slot, k) <= g->count[k])
			continue;
		if (best[k].slot == SHM_SEM_NONE || me.granted < best[k].granted ||
		    (me.granted == best[k].granted && me.oldest_ns < best[k].oldest_ns))
			best[k] = me;
	}
}

/* Among the slots that do (not) leave grants alone. */
static bool choose_among(const struct sem *m, const struct census *c, bool stale, uint32_t except,
			 struct turn *ret)
{
	struct best best[SHM_CLASSES];
	uint32_t class = SHM_CLASSES;

	for (uint32_t k = 0; k < SHM_CLASSES; k++)
		best[k].slot = SHM_SEM_NONE;
	for (uint32_t i = 0; i < m->bit_words; i++) {
		for (uint64_t bits = atomic_load(&m->bits[i]); bits != 0; bits &= bits - 1) {
			uint32_t slot = i * 64 + (uint32_t)__builtin_ctzll(bits);
			const struct grants *g = grants_of(c, slot);

			if (slot < m->slots && slot != except && g->stale == stale)
				consider(m, slot, g, best);
		}
	}
	for (uint32_t k = 0; k < SHM_CLASSES; k++)
		if (best[k].slot != SHM_SEM_NONE &&
		    (class == SHM_CLASSES || lead_of(m, k) < lead_of(m, class)))
			class = k;
	if (class == SHM_CLASSES)
		return false;
	*ret = (struct turn){best[class].slot, class};
	return true;
}

/* The collector's word: whose it is, and the class of its head. */
static uint32_t collector_word(struct turn t)
{
	return t.class << SEM_CLASS_AT | sem_held(t.slot);
}

/* Who collects, as far as it waits, and takes what it is granted. */
static bool find_collector(const struct sem *m, const struct census *c, struct turn *ret)
{
	uint32_t w = atomic_load(&m->e->collector), slot = sem_word_slot(w);

	if (w == 0 || slot >= m->slots || !waits_in(m, slot) || grants_of(c, slot)->stale)
		return false;
	*ret = (struct turn){slot, sem_word_class(w) < SHM_CLASSES ? sem_word_class(w) : 0};
	return true;
}

/* Whom the next permit goes to. false: nobody waits for one that is not granted yet. */
static bool choose(const struct sem *m, const struct census *c, uint32_t except, struct turn *ret)
{
	if (find_collector(m, c, ret) && ret->slot != except &&
	    wanted_in(m, ret->slot) > grants_of(c, ret->slot)->sum)
		return true;
	return choose_among(m, c, false, except, ret) || choose_among(m, c, true, except, ret);
}

/* ---- granting ---- */

/* Look (c), and what goes with a grant. false: it has been taken back, the word is `back`. */
static bool grant_stands(const struct sem *m, uint32_t i, struct turn t, uint32_t back,
			 struct shm_sem_wake *wake)
{
	if (!waits_in(m, t.slot) && swap(&m->word[i], sem_granted(t.slot, t.class), back))
		return false;
	shm_set(&m->cell[t.slot].granted, i);
	charge(m, t.class);
	add_wake(wake, t.slot);
	return true;
}

/* Grants what is free to who waits, while there is both. Look (b) of all that make permits free. */
SELDOM static void serve(const struct sem *m, uint32_t except, uint64_t now_ns,
			 struct shm_sem_wake *wake)
{
	/* Every turn grants one, or is lost to somebody else; the limit is for words gone wild. */
	for (uint32_t tries = 0; tries < 2 * m->max && anyone_waits(m); tries++) {
		struct bounds b = sem_bounds(m);
		struct census c;
		struct turn t;

		take_census(m, &b, now_ns, &c);
		if (c.taken >= b.limit || c.free == SHM_SEM_NONE || !choose(m, &c, except, &t))
			return;
		if (!swap(&m->word[c.free], 0, sem_granted(t.slot, t.class)))
			continue;
		shm_set(&m->hint[c.free], sem_hint(0, now_ns));
		(void)grant_stands(m, c.free, t, 0, wake);
	}
}

/* A word that the slot holds goes to who is next. false: it is still held. */
SELDOM static bool hand_over(const struct sem *m, uint32_t slot, uint32_t i, uint32_t except,
		      uint64_t now_ns, struct shm_sem_wake *wake)
{
	for (uint32_t tries = 0; tries < m->slots && anyone_waits(m); tries++) {
		struct bounds b = sem_bounds(m);
		struct census c;
		struct turn t;

		if (i >= b.limit)
			return false;
		take_census(m, &b, now_ns, &c);
		if (c.taken > b.limit || !choose(m, &c, except, &t))
			return false;
		shm_set(&m->hint[i], sem_hint(0, now_ns));
		if (!swap(&m->word[i], sem_held(slot), sem_granted(t.slot, t.class)))
			return true; /* not ours: somebody has scribbled on it */
		if (grant_stands(m, i, t, sem_held(slot), wake))
			return true;
	}
	return false;
}

/* When nothing is in use above the limit, all is as if it had always been that. The version makes
 * sure that the limit has not been up again since we looked. */
static void settle(const struct sem *m)
{
	struct bounds b = sem_bounds(m);

	if (__builtin_expect(!is_draining(&b), 1))
		return;
	for (uint32_t i = b.limit; i < b.high; i++)
		if (atomic_load(&m->word[i]) != 0)
			return;
	(void)atomic_compare_exchange_strong(&m->e->bounds, &b.raw,
					     sem_bounds_make(b.limit, b.limit, b.raw >> 32));
}

/* Look (b). */
static void look_after_free(const struct sem *m, uint32_t except, uint64_t now_ns,
			    struct shm_sem_wake *wake)
{
	settle(m);
	if (anyone_waits(m))
		serve(m, except, now_ns, wake);
}

SELDOM static void give_back(const struct sem *m, uint32_t slot, uint32_t i, uint32_t except,
		      uint64_t now_ns, struct shm_sem_wake *wake)
{
	if (anyone_waits(m) && hand_over(m, slot, i, except, now_ns, wake))
		return;
	if (!swap(&m->word[i], sem_held(slot), 0))
		return;
	shm_set(&m->cell[slot].freed, i);
	look_after_free(m, except, now_ns, wake);
}

/* ---- taking ---- */

static uint32_t count_taken(const struct sem *m, const struct bounds *b)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < b->high; i++)
		n += atomic_load(&m->word[i]) != 0;
	return n;
}

/* Whether who has just taken this word may keep it: by the bounds of now. */
static bool is_admitted(const struct sem *m, uint32_t i)
{
	for (int tries = 0; tries < 64; tries++) {
		struct bounds b = sem_bounds(m);
		uint32_t taken;

		if (b.limit == 0)
			return true;
		if (i >= b.limit)
			return false;
		if (!is_draining(&b))
			return true;
		taken = count_taken(m, &b);
		if (atomic_load(&m->e->bounds) == b.raw)
			return taken <= b.limit;
	}
	return false; /* nobody changes limits so often */
}

/* Whom a permit is taken for, and where it goes. */
struct take {
	uint32_t slot, weight;
	uint64_t hint, now_ns;
	uint32_t *permit, *have;
	struct shm_sem_wake *wake;
};

/* Takes word i, which is `from`. false: another was faster, or it could not be kept. */
static bool take_word(const struct sem *m, const struct take *t, uint32_t i, uint32_t from)
{
	if (!swap(&m->word[i], from, sem_held(t->slot)))
		return false;
	shm_set(&m->hint[i], t->hint);
	if (__builtin_expect(!is_admitted(m, i), 0)) {
		give_back(m, t->slot, i, SHM_SEM_NONE, t->now_ns, t->wake);
		return false;
	}
	t->permit[(*t->have)++] = i;
	return true;
}

/* Where a slot begins to look for a free word: what it has freed last, else a line of its own. */
static uint32_t start_at(const struct sem *m, uint32_t slot, uint32_t limit)
{
	uint32_t at = shm_get(&m->cell[slot].freed);

	if (at == 0 || at >= limit)
		at = slot * SEM_RUN % limit;
	return at;
}

/* While there are more than the limit, none is even tried: who tries in vain makes others fail. */
static bool has_room(const struct sem *m, const struct bounds *b)
{
	return !is_draining(b) || count_taken(m, b) < b->limit;
}

static void take_free(const struct sem *m, const struct take *t, const struct bounds *b)
{
	uint32_t i = start_at(m, t->slot, b->limit);

	for (uint32_t n = 0; n < b->limit && *t->have < t->weight; n++, i++) {
		if (i == b->limit)
			i = 0;
		if (atomic_load(&m->word[i]) != 0)
			continue;
		if (!has_room(m, b))
			return;
		(void)take_word(m, t, i, 0);
	}
}

static void take_granted(const struct sem *m, const struct take *t, const struct bounds *b)
{
	uint32_t i = shm_get(&m->cell[t->slot].granted); /* where to begin: mostly it is there */

	if (i >= b->high)
		i = 0;
	for (uint32_t n = 0; n < b->high && *t->have < t->weight; n++, i++) {
		uint32_t w;

		if (i == b->high)
			i = 0;
		w = atomic_load(&m->word[i]);
		if (sem_is_granted_to(w, t->slot))
			(void)take_word(m, t, i, w);
	}
}

/* What was granted to others, who did not come for it. */
static void take_stale(const struct sem *m, const struct take *t, const struct bounds *b)
{
	for (uint32_t i = 0; i < b->high && *t->have < t->weight; i++) {
		uint32_t w = atomic_load(&m->word[i]);

		if ((w & SEM_GRANTED) && is_stale(m, i, t->now_ns))
			(void)take_word(m, t, i, w);
	}
}

SELDOM static void drop(const struct sem *m, const struct take *t)
{
	while (*t->have > 0)
		give_back(m, t->slot, t->permit[--*t->have], SHM_SEM_NONE, t->now_ns, t->wake);
}

/* Hands on what is granted to the slot, but for `keep` permits. */
static void hand_on(const struct sem *m, uint32_t slot, uint64_t keep, uint32_t except,
		    uint64_t now_ns, struct shm_sem_wake *wake)
{
	struct bounds b = sem_bounds(m);

	for (uint32_t i = 0; i < b.high; i++) {
		uint32_t w = atomic_load(&m->word[i]);

		if (!sem_is_granted_to(w, slot))
			continue;
		if (keep > 0)
			keep--;
		else if (swap(&m->word[i], w, sem_held(slot)))
			give_back(m, slot, i, except, now_ns, wake);
	}
}

/* ---- several at once ---- */

static bool is_collector(const struct sem *m, uint32_t slot)
{
	uint32_t w = atomic_load(&m->e->collector);

	return w != 0 && sem_word_slot(w) == slot;
}

static bool stop_collecting(const struct sem *m, uint32_t slot)
{
	uint32_t w = atomic_load(&m->e->collector);

	return w != 0 && sem_word_slot(w) == slot && swap(&m->e->collector, w, 0);
}

/* Others have been kept from free permits meanwhile: they get them now. Not this slot, which is
 * looking anyway, and what it has said of what it wants is no longer true. */
static void resign(const struct sem *m, const struct take *t)
{
	if (stop_collecting(m, t->slot))
		serve(m, t->slot, t->now_ns, t->wake);
}

static bool someone_collects(const struct sem *m, uint64_t now_ns)
{
	struct bounds b = sem_bounds(m);
	struct census c;
	struct turn t;

	if (atomic_load(&m->e->collector) == 0)
		return false;
	take_census(m, &b, now_ns, &c);
	return find_collector(m, &c, &t);
}

/* Becomes the collector, if it is this slot's turn. */
static bool become_collector(const struct sem *m, const struct take *t, const struct bounds *b)
{
	uint32_t was = atomic_load(&m->e->collector);
	struct census c;
	struct turn turn = {0};
	const struct grants *g;

	take_census(m, b, t->now_ns, &c);
	if (find_collector(m, &c, &turn))
		return false;
	g = grants_of(&c, t->slot);
	if (g->sum > 0) {
		turn.slot = t->slot;
		while (turn.class < SHM_CLASSES - 1 && g->count[turn.class] == 0)
			turn.class++;
	} else if (!choose(m, &c, SHM_SEM_NONE, &turn) || turn.slot != t->slot) {
		return false;
	}
	return swap(&m->e->collector, was, collector_word(turn));
}

/* May this head take a part? If not it has nothing, and what was granted to it has gone on. */
static bool may_collect(const struct sem *m, const struct take *t, const struct bounds *b)
{
	if (is_collector(m, t->slot))
		return true;
	drop(m, t);
	if (become_collector(m, t, b))
		return true;
	/* Not back to ourselves, who could but hand it on again, as long as another collects. Who
	 * stops that serves after it; we look whether it has stopped after we have let go. */
	hand_on(m, t->slot, 0, t->slot, t->now_ns, t->wake);
	serve(m, t->slot, t->now_ns, t->wake);
	if (!someone_collects(m, t->now_ns))
		serve(m, SHM_SEM_NONE, t->now_ns, t->wake);
	return false;
}

/* ---- what others call ---- */

/* The head of a slot's queue. */
SELDOM static bool acquire_queued(const struct sem *m, const struct take *t, const struct bounds *b)
{
	if (t->weight > b->limit) {
		drop(m, t);
		resign(m, t);
		return false;
	}
	if (*t->have == 0)
		resign(m, t);
	if (t->weight > 1 && !may_collect(m, t, b))
		return false;
	take_granted(m, t, b);
	if (*t->have < t->weight) {
		if (!is_collector(m, t->slot) && someone_collects(m, t->now_ns)) {
			serve(m, SHM_SEM_NONE, t->now_ns, t->wake);
			take_granted(m, t, b);
		} else {
			take_free(m, t, b);
		}
	}
	if (*t->have < t->weight)
		take_stale(m, t, b);
	if (*t->have < t->weight)
		return false;
	resign(m, t);
	return true;
}

/*
 * The usual case: nobody waits, the limit stays, and what this slot has freed last is free. These
 * are the steps of take_free() and give_back(), with what they need in registers.
 */
static inline bool nobody_waits(const struct shm *s, uint32_t sem)
{
	const _Atomic uint64_t *bits = s->sem_bits + (size_t)sem * shm_sem_bit_words(&s->geo);

	for (uint32_t i = 0; i < (s->geo.slots + 63) / 64; i++)
		if (atomic_load(&bits[i]) != 0)
			return false;
	return true;
}

/* Word i of a semaphore, if the limit is a plain one and i below it; else NULL. */
static inline _Atomic uint32_t *plain_word(const struct shm *s, uint32_t sem, uint64_t raw,
					   uint32_t i)
{
	const struct shm_sem *e = &s->sems[sem];
	uint32_t limit = raw & BOUNDS_MASK, first = shm_get(&e->first_word);

	if (limit != (raw >> BOUNDS_BITS & BOUNDS_MASK) || i >= limit ||
	    limit > shm_get(&e->limit_max) || first > s->geo.permits ||
	    limit > s->geo.permits - first)
		return NULL;
	return &s->permits[first + i];
}

/* The limit has been changed meanwhile: what was taken under the old one is given back. */
SELDOM static void take_back(const struct shm *s, uint32_t sem, uint32_t slot, uint32_t i,
			     uint64_t now_ns, struct shm_sem_wake *wake)
{
	struct sem m = sem_of(s, sem);

	give_back(&m, slot, i, SHM_SEM_NONE, now_ns, wake);
}

static inline bool acquire_fast(struct shm *s, uint32_t sem, uint32_t slot, uint32_t row,
				uint64_t now_ns, uint32_t *permit, struct shm_sem_wake *wake)
{
	const _Atomic uint64_t *bounds = &s->sems[sem].bounds;
	uint64_t raw = atomic_load(bounds);
	uint32_t i = shm_get(&s->sem_cells[(size_t)sem * s->geo.slots + slot].freed);
	_Atomic uint32_t *word = plain_word(s, sem, raw, i);

	if (word == NULL || !nobody_waits(s, sem) || atomic_load(word) != 0 ||
	    !swap(word, 0, sem_held(slot)))
		return false;
	shm_set(&s->permit_hints[word - s->permits], sem_hint(row, now_ns));
	if (__builtin_expect(atomic_load(bounds) != raw, 0)) {
		take_back(s, sem, slot, i, now_ns, wake);
		return false;
	}
	*permit = i;
	return true;
}

SELDOM static bool acquire(struct shm *s, uint32_t sem, uint32_t slot, uint32_t weight, bool queue,
			   uint32_t row, uint64_t now_ns, uint32_t permit[], uint32_t *have,
			   struct shm_sem_wake *wake)
{
	const struct take t = {slot, weight, sem_hint(row, now_ns), now_ns, permit, have, wake};
	struct sem m = sem_of(s, sem);
	struct bounds b = sem_bounds(&m);

	if (!queue)
		*have = 0;
	if (b.limit == 0) {
		drop(&m, &t);
		return true;
	}
	if (queue)
		return acquire_queued(&m, &t, &b);
	if (weight > b.limit || anyone_waits(&m))
		return false;
	take_free(&m, &t, &b);
	if (*have == weight)
		return true;
	drop(&m, &t);
	return false;
}

bool shm_sem_acquire(struct shm *s, uint32_t sem, uint32_t slot, uint32_t weight, bool queue,
		     uint32_t row, uint64_t now_ns, uint32_t permit[], uint32_t *have,
		     struct shm_sem_wake *wake)
{
	CHECK(sem < s->geo.sems && slot < s->geo.slots && weight > 0);
	if (!queue && weight == 1 && acquire_fast(s, sem, slot, row, now_ns, permit, wake)) {
		*have = 1;
		return true;
	}
	return acquire(s, sem, slot, weight, queue, row, now_ns, permit, have, wake);
}

/* Somebody has begun to wait meanwhile, or the limit was changed. */
SELDOM static void look_again(const struct shm *s, uint32_t sem, uint64_t now_ns,
			      struct shm_sem_wake *wake)
{
	struct sem m = sem_of(s, sem);

	look_after_free(&m, SHM_SEM_NONE, now_ns, wake);
}

/* Gives a permit back if nobody waits now. */
static inline bool release_fast(struct shm *s, uint32_t sem, uint32_t slot, uint32_t i,
				uint64_t now_ns, struct shm_sem_wake *wake)
{
	const _Atomic uint64_t *bounds = &s->sems[sem].bounds;
	_Atomic uint32_t *freed = &s->sem_cells[(size_t)sem * s->geo.slots + slot].freed;
	uint64_t raw = atomic_load(bounds);
	_Atomic uint32_t *word = plain_word(s, sem, raw, i);

	if (word == NULL || !nobody_waits(s, sem))
		return false;
	if (!swap(word, sem_held(slot), 0))
		return true;
	if (shm_get(freed) != i)
		shm_set(freed, i);
	if (__builtin_expect(atomic_load(bounds) != raw || !nobody_waits(s, sem), 0))
		look_again(s, sem, now_ns, wake);
	return true;
}

SELDOM static void release(struct shm *s, uint32_t sem, uint32_t slot, uint32_t permit,
			   uint64_t now_ns, struct shm_sem_wake *wake)
{
	struct sem m = sem_of(s, sem);

	if (permit < m.max)
		give_back(&m, slot, permit, SHM_SEM_NONE, now_ns, wake);
}

void shm_sem_release(struct shm *s, uint32_t sem, uint32_t slot, const uint32_t permit[],
		     uint32_t n, uint64_t now_ns, struct shm_sem_wake *wake)
{
	CHECK(sem < s->geo.sems && slot < s->geo.slots);
	for (uint32_t i = 0; i < n; i++)
		if (!release_fast(s, sem, slot, permit[i], now_ns, wake))
			release(s, sem, slot, permit[i], now_ns, wake);
}

void shm_sem_wait(struct shm *s, uint32_t sem, uint32_t slot, const struct shm_sem_waits *w,
		  uint64_t now_ns, struct shm_sem_wake *wake)
{
	struct shm_sem_cell *cell;
	uint64_t before, after, bit = 1ULL << slot % 64;
	bool waits = false;
	struct sem m;

	CHECK(sem < s->geo.sems && slot < s->geo.slots);
	m = sem_of(s, sem);
	cell = &m.cell[slot];
	before = wanted_in(&m, slot);
	for (uint32_t k = 0; k < SHM_CLASSES; k++) {
		uint32_t permits = w->permits[k] ? w->permits[k] : w->count[k];

		waits |= w->count[k] > 0;
		shm_set(&cell->oldest_ns[k], w->count[k] ? w->oldest_ns[k] : 0);
		shm_set(&cell->waits[k], w->count[k] ? (uint64_t)w->count[k] << 32 | permits : 0);
	}
	after = wanted_in(&m, slot);
	if (waits) {
		if (!waits_in(&m, slot))
			atomic_fetch_or(&m.bits[slot / 64], bit);
	} else if (waits_in(&m, slot)) {
		atomic_fetch_and(&m.bits[slot / 64], ~bit);
		if (stop_collecting(&m, slot))
			serve(&m, SHM_SEM_NONE, now_ns, wake);
	}
	/* After a rise it is the caller who looks, then or when it comes for what was granted: only
	 * that keeps others from granting more. */
	if (after < before)
		hand_on(&m, slot, after, SHM_SEM_NONE, now_ns, wake);
}

enum shm_class shm_sem_granted(const struct shm *s, uint32_t sem, uint32_t slot)
{
	struct bounds b;
	struct sem m;
	uint32_t i;

	CHECK(sem < s->geo.sems && slot < s->geo.slots);
	m = sem_of(s, sem);
	b = sem_bounds(&m);
	i = shm_get(&m.cell[slot].granted);
	if (i >= b.high)
		i = 0;
	for (uint32_t n = 0; n < b.high; n++, i++) {
		uint32_t w = atomic_load(&m.word[i == b.high ? i = 0 : i]);

		if (sem_is_granted_to(w, slot) && sem_word_class(w) < SHM_CLASSES)
			return (enum shm_class)sem_word_class(w);
	}
	return SHM_CLASSES;
}

uint32_t shm_sem_limit(const struct shm *s, uint32_t sem)
{
	struct sem m;

	CHECK(sem < s->geo.sems);
	m = sem_of(s, sem);
	return sem_bounds(&m).limit;
}

int shm_sem_set_limit(struct shm *s, uint32_t sem, uint32_t limit, struct shm_sem_wake *wake)
{
	struct sem m;
	struct bounds b;
	uint64_t next;

	CHECK(sem < s->geo.sems);
	m = sem_of(s, sem);
	if (limit > m.max)
		return -EINVAL;
	do {
		b = sem_bounds(&m);
		if (b.limit == limit)
			return 0;
		next = sem_bounds_make(limit, b.high > limit ? b.high : limit, (b.raw >> 32) + 1);
	} while (!atomic_compare_exchange_strong(&m.e->bounds, &b.raw, next));
	settle(&m);
	/* There may be more to take, or heads that want more than there will ever be. */
	if (anyone_waits(&m))
		wake->all = true;
	return 0;
}

/* ---- recovery ---- */

static void forget_waits(const struct sem *m, uint32_t slot)
{
	struct shm_sem_cell *cell = &m->cell[slot];
	uint32_t w = atomic_load(&m->e->collector);

	for (uint32_t k = 0; k < SHM_CLASSES; k++) {
		shm_set(&cell->waits[k], 0);
		shm_set(&cell->oldest_ns[k], 0);
	}
	atomic_fetch_and(&m->bits[slot / 64], ~(1ULL << slot % 64));
	if (w != 0 && (sem_word_slot(w) == slot || sem_word_slot(w) >= m->slots))
		(void)swap(&m->e->collector, w, 0);
}

/* Words of the dead, look (d), and those that belong to nobody there could be. */
static bool is_to_be_freed(const struct sem *m, uint32_t w, uint32_t dead)
{
	uint32_t owner = sem_word_slot(w);

	return w != 0 && (owner == dead || owner >= m->slots ||
			  ((w & SEM_GRANTED) && !waits_in(m, owner)));
}

void shm_sem_recover(struct shm *s, uint32_t slot)
{
	CHECK(slot < s->geo.slots);
	for (uint32_t k = 0; k < s->geo.sems; k++) {
		struct sem m = sem_of(s, k);

		/* First this: who grants to the dead after that sees it, by (c). */
		forget_waits(&m, slot);
		for (uint32_t i = 0; i < m.max; i++) {
			uint32_t w = atomic_load(&m.word[i]);

			if (!is_to_be_freed(&m, w, slot) || !swap(&m.word[i], w, 0))
				continue;
			if (sem_word_slot(w) == slot)
				shm_add(&m.e->reclaimed, 1);
		}
		settle(&m);
	}
}
