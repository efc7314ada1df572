/* SPDX-License-Identifier: MIT */
/* Semaphores one call after another: limits, whose turn it is, weights, the directory. */
#include "tests/unit/shm_help.h"

#include <errno.h>

#include "shm/sem_priv.h"

#define MS 1000000u
#define SLOTS 6u
#define NO_ONE SHM_SEM_NONE

static struct shm_sem_wake wake;

static void init(struct shm *s)
{
	struct shm_geometry g = small_geo;

	g.slots = SLOTS;
	g.permits = 128;
	fake_init(s, &g);
}

static uint32_t make(struct shm *s, const char *name, uint32_t limit, uint32_t max)
{
	struct shm_sem_spec spec = {name, limit, max, {3, 2, 1}};
	uint32_t i;

	assert_int_equal(shm_sem_intern(s, &spec, 1, &i), 0);
	return i;
}

/* Semaphore 0 of this limit. */
static void init_with(struct shm *s, uint32_t limit, uint32_t max)
{
	init(s);
	assert_int_equal(make(s, "one", limit, max), 0);
}

static uint32_t try_one(struct shm *s, uint32_t slot)
{
	uint32_t p = 0, have = 0;

	return shm_sem_acquire(s, 0, slot, 1, false, 7, MS, &p, &have, &wake) && have == 1 ? p
											 : NO_ONE;
}

static uint32_t queue_one(struct shm *s, uint32_t slot, uint64_t now)
{
	uint32_t p = 0, have = 0;

	return shm_sem_acquire(s, 0, slot, 1, true, 7, now, &p, &have, &wake) && have == 1 ? p
											 : NO_ONE;
}

static void give(struct shm *s, uint32_t slot, uint32_t p)
{
	wake = (struct shm_sem_wake){0};
	shm_sem_release(s, 0, slot, &p, 1, MS, &wake);
}

/* So many of one class wait in a slot. */
static void waits(struct shm *s, uint32_t slot, enum shm_class k, uint32_t n, uint64_t since)
{
	struct shm_sem_waits w = {0};

	w.count[k] = n;
	w.oldest_ns[k] = since;
	wake = (struct shm_sem_wake){0};
	shm_sem_wait(s, 0, slot, &w, MS, &wake);
}

static bool woken(uint32_t slot)
{
	for (uint32_t i = 0; i < wake.n; i++)
		if (wake.slot[i] == slot)
			return true;
	return wake.all;
}

static struct shm_sem_view view(const struct shm *s)
{
	struct shm_sem_view v;

	assert_true(shm_sem_read(s, 0, &v));
	return v;
}

static void test_limit(void **state)
{
	struct shm_permit_view pv;
	uint32_t p[3];
	struct shm s;

	(void)state;
	init_with(&s, 3, 5);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_not_equal(p[i] = try_one(&s, 1 + i), NO_ONE);
	assert_int_equal(try_one(&s, 1), NO_ONE);
	assert_int_equal(view(&s).held, 3);
	assert_true(shm_permit_read(&s, 0, p[1], &pv));
	assert_int_equal(pv.slot, 2);
	assert_int_equal(pv.row, 7);
	assert_int_equal(pv.since_ns, MS);
	assert_false(pv.granted);
	give(&s, 2, p[1]);
	assert_int_equal(wake.n, 0);
	assert_false(shm_permit_read(&s, 0, p[1], &pv));
	assert_int_equal(try_one(&s, 3), p[1]);
	/* What is not mine I cannot give away. */
	give(&s, 1, p[1]);
	assert_int_equal(view(&s).held, 3);
	fake_fini(&s);
}

static void test_no_limit(void **state)
{
	uint32_t p[4], have = 4;
	struct shm s;

	(void)state;
	init_with(&s, 0, 4);
	for (int i = 0; i < 10; i++) {
		assert_true(shm_sem_acquire(&s, 0, 1, 1, false, 0, 1, p, &have, &wake));
		assert_int_equal(have, 0);
	}
	assert_int_equal(view(&s).held, 0);
	/* Who waits when the limit goes comes in without a permit. */
	assert_int_equal(shm_sem_set_limit(&s, 0, 1, &wake), 0);
	p[0] = try_one(&s, 1);
	assert_int_not_equal(p[0], NO_ONE);
	waits(&s, 2, SHM_CLASS_LOW, 1, 5);
	assert_int_equal(queue_one(&s, 2, MS), NO_ONE);
	assert_int_equal(shm_sem_set_limit(&s, 0, 0, &wake), 0);
	assert_true(wake.all);
	have = 0;
	assert_true(shm_sem_acquire(&s, 0, 2, 1, true, 0, 1, p + 1, &have, &wake));
	assert_int_equal(have, 0);
	waits(&s, 2, SHM_CLASS_LOW, 0, 0);
	/* The holder from before counts when there is a limit again. */
	assert_int_equal(shm_sem_set_limit(&s, 0, 1, &wake), 0);
	assert_int_equal(try_one(&s, 2), NO_ONE);
	give(&s, 1, p[0]);
	assert_int_not_equal(try_one(&s, 2), NO_ONE);
	fake_fini(&s);
}

static void test_hand_over(void **state)
{
	uint32_t p;
	struct shm s;

	(void)state;
	init_with(&s, 1, 1);
	p = try_one(&s, 1);
	waits(&s, 2, SHM_CLASS_MEDIUM, 1, 20);
	waits(&s, 3, SHM_CLASS_MEDIUM, 1, 10);
	assert_int_equal(queue_one(&s, 2, MS), NO_ONE);
	assert_int_equal(queue_one(&s, 3, MS), NO_ONE);
	give(&s, 1, p);
	assert_true(woken(3) && !woken(2));
	assert_int_equal(shm_sem_granted(&s, 0, 3), SHM_CLASS_MEDIUM);
	assert_int_equal(shm_sem_granted(&s, 0, 2), SHM_CLASSES);
	assert_int_equal(view(&s).granted, 1);
	/* Nobody else gets it: neither who comes, nor who waits. */
	assert_int_equal(try_one(&s, 1), NO_ONE);
	assert_int_equal(queue_one(&s, 2, MS), NO_ONE);
	assert_int_equal(queue_one(&s, 3, MS), p);
	waits(&s, 3, SHM_CLASS_MEDIUM, 0, 0);
	assert_int_equal(wake.n, 0);
	give(&s, 3, p);
	assert_true(woken(2));
	/* Who does not want it any more hands it on: nobody waits, so it is free. */
	waits(&s, 2, SHM_CLASS_MEDIUM, 0, 0);
	assert_int_equal(view(&s).granted, 0);
	assert_int_equal(try_one(&s, 1), p);
	fake_fini(&s);
}

/* More slots are to be woken than a list has room for. */
static void test_wake_all(void **state)
{
	struct shm_geometry g = small_geo;
	struct shm_sem_wake all = {0};
	uint32_t p[9];
	struct shm s;

	(void)state;
	g.slots = 12;
	fake_init(&s, &g);
	assert_int_equal(make(&s, "one", 9, 9), 0);
	for (uint32_t i = 0; i < 9; i++)
		p[i] = try_one(&s, 1);
	for (uint32_t slot = 2; slot < 11; slot++)
		waits(&s, slot, SHM_CLASS_LOW, 1, slot);
	shm_sem_release(&s, 0, 1, p, 8, MS, &all);
	assert_int_equal(all.n, 8);
	assert_false(all.all);
	shm_sem_release(&s, 0, 1, p + 8, 1, MS, &all);
	assert_true(all.all);
	fake_fini(&s);
}

/* Who comes while somebody waits queues, even if he would find something. */
static void test_no_barging(void **state)
{
	struct shm s;

	(void)state;
	init_with(&s, 1, 1);
	waits(&s, 2, SHM_CLASS_LOW, 1, 10);
	assert_int_equal(try_one(&s, 1), NO_ONE);
	assert_int_equal(try_one(&s, 2), NO_ONE);
	assert_int_not_equal(queue_one(&s, 2, MS), NO_ONE);
	fake_fini(&s);
}

static void test_handed_on(void **state)
{
	uint32_t p[2];
	struct shm s;

	(void)state;
	init_with(&s, 2, 2);
	p[0] = try_one(&s, 1);
	p[1] = try_one(&s, 1);
	waits(&s, 2, SHM_CLASS_LOW, 2, 10);
	waits(&s, 3, SHM_CLASS_LOW, 1, 20);
	give(&s, 1, p[0]);
	give(&s, 1, p[1]);
	/* Slot 2 has a grant, and since when its second one waits is not known: slot 3 is next. */
	assert_int_equal(shm_sem_granted(&s, 0, 2), SHM_CLASS_LOW);
	assert_int_equal(shm_sem_granted(&s, 0, 3), SHM_CLASS_LOW);
	waits(&s, 3, SHM_CLASS_LOW, 0, 0);
	assert_true(woken(2));
	assert_int_equal(view(&s).granted, 2);
	/* One of two is gone: one grant is too many, and there is nobody for it. */
	waits(&s, 2, SHM_CLASS_LOW, 1, 10);
	assert_int_equal(view(&s).granted, 1);
	fake_fini(&s);
}

static void test_stale(void **state)
{
	uint32_t p, q;
	struct shm s;

	(void)state;
	init_with(&s, 1, 1);
	p = try_one(&s, 1);
	waits(&s, 2, SHM_CLASS_LOW, 1, 10);
	waits(&s, 3, SHM_CLASS_LOW, 1, 20);
	give(&s, 1, p);
	assert_true(woken(2));
	assert_int_equal(queue_one(&s, 3, SHM_SEM_STALE_NS), NO_ONE);
	q = queue_one(&s, 3, MS + SHM_SEM_STALE_NS);
	assert_int_equal(q, p);
	assert_int_equal(queue_one(&s, 2, MS), NO_ONE);
	fake_fini(&s);
}

static void test_lowered(void **state)
{
	uint32_t p[4], q;
	struct bounds b;
	struct sem m;
	struct shm s;

	(void)state;
	init_with(&s, 4, 8);
	for (uint32_t i = 0; i < 4; i++)
		p[i] = try_one(&s, 1);
	waits(&s, 2, SHM_CLASS_LOW, 1, 10);
	wake = (struct shm_sem_wake){0};
	assert_int_equal(shm_sem_set_limit(&s, 0, 2, &wake), 0);
	assert_int_equal(shm_sem_limit(&s, 0), 2);
	assert_int_equal(queue_one(&s, 2, MS), NO_ONE);
	for (uint32_t i = 0; i < 2; i++) { /* 3, then 2 are left */
		give(&s, 1, p[i]);
		assert_int_equal(wake.n, 0);
		assert_int_equal(queue_one(&s, 2, MS), NO_ONE);
		assert_int_equal(view(&s).granted, 0);
	}
	give(&s, 1, p[2]);
	assert_true(woken(2));
	q = queue_one(&s, 2, MS);
	assert_int_not_equal(q, NO_ONE);
	assert_true(q < 2);
	waits(&s, 2, SHM_CLASS_LOW, 0, 0);
	assert_int_equal(try_one(&s, 3), NO_ONE);
	give(&s, 1, p[3]);
	assert_int_not_equal(try_one(&s, 3), NO_ONE);
	assert_int_equal(try_one(&s, 3), NO_ONE);
	/* It is as if the limit had always been that: nothing needs to be counted any more. */
	m = sem_of(&s, 0);
	b = sem_bounds(&m);
	assert_int_equal(b.high, b.limit);
	fake_fini(&s);
}

/* All orders in which four holders may leave after the limit went from 4 to 2: never more than 2
 * who came after it. */
static void test_lowered_orders(void **state)
{
	(void)state;
	for (uint32_t order = 0; order < 24; order++) {
		uint32_t p[4], left[4] = {0, 1, 2, 3}, o = order, held = 4;
		struct shm s;

		init_with(&s, 4, 4);
		for (uint32_t i = 0; i < 4; i++)
			p[i] = try_one(&s, 1);
		assert_int_equal(shm_sem_set_limit(&s, 0, 2, &wake), 0);
		for (uint32_t n = 4; n > 0; n--) {
			uint32_t k = o % n;

			o /= n;
			assert_int_equal(try_one(&s, 2) != NO_ONE, held < 2);
			held += held < 2;
			give(&s, 1, p[left[k]]);
			left[k] = left[n - 1];
			held--;
			assert_int_equal(view(&s).held, held);
		}
		while (held++ < 2)
			assert_int_not_equal(try_one(&s, 2), NO_ONE);
		assert_int_equal(try_one(&s, 2), NO_ONE);
		fake_fini(&s);
	}
}

static void test_raised(void **state)
{
	struct shm s;

	(void)state;
	init_with(&s, 1, 8);
	assert_int_not_equal(try_one(&s, 1), NO_ONE);
	waits(&s, 2, SHM_CLASS_LOW, 1, 10);
	wake = (struct shm_sem_wake){0};
	assert_int_equal(shm_sem_set_limit(&s, 0, 9, &wake), -EINVAL);
	assert_int_equal(shm_sem_set_limit(&s, 0, 1, &wake), 0);
	assert_false(wake.all);
	assert_int_equal(shm_sem_set_limit(&s, 0, 2, &wake), 0);
	assert_true(wake.all);
	assert_int_not_equal(queue_one(&s, 2, MS), NO_ONE);
	assert_int_equal(queue_one(&s, 2, MS), NO_ONE);
	fake_fini(&s);
}

static void test_recover(void **state)
{
	uint32_t p[3];
	struct shm s;

	(void)state;
	init_with(&s, 3, 3);
	p[0] = try_one(&s, 1);
	p[1] = try_one(&s, 2);
	p[2] = try_one(&s, 3);
	waits(&s, 1, SHM_CLASS_HIGH, 2, 1);
	waits(&s, 4, SHM_CLASS_HIGH, 1, 2);
	give(&s, 2, p[1]);
	assert_int_equal(shm_sem_granted(&s, 0, 1), SHM_CLASS_HIGH);
	shm_sem_recover(&s, 1);
	assert_int_equal(view(&s).held, 1);
	assert_int_equal(view(&s).granted, 0);
	assert_int_equal(view(&s).reclaimed, 2);
	assert_int_equal(view(&s).waiting[SHM_CLASS_HIGH], 1);
	/* A grant that came too late: nobody will take it. */
	shm_set(&s.permits[p[0]], sem_granted(1, 0));
	shm_sem_recover(&s, 3);
	assert_int_equal(view(&s).held + view(&s).granted, 0);
	assert_int_equal(view(&s).reclaimed, 3);
	assert_int_not_equal(queue_one(&s, 4, MS), NO_ONE);
	fake_fini(&s);
}

/* ---- weights ---- */

struct head { uint32_t slot, weight, have, permit[8]; };

static bool look(struct shm *s, struct head *h)
{
	bool got = shm_sem_acquire(s, 0, h->slot, h->weight, true, 0, MS, h->permit, &h->have,
				   &wake);

	return got;
}

static void announce(struct shm *s, struct head *h, uint64_t since)
{
	struct shm_sem_waits w = {.count = {1}, .permits = {h->weight - h->have},
				  .oldest_ns = {since}};

	shm_sem_wait(s, 0, h->slot, &w, MS, &wake);
}

static void test_weight(void **state)
{
	uint32_t p[4], have;
	struct shm s;

	(void)state;
	init_with(&s, 4, 4);
	assert_true(shm_sem_acquire(&s, 0, 1, 3, false, 0, MS, p, &have, &wake));
	assert_int_equal(have, 3);
	assert_false(shm_sem_acquire(&s, 0, 2, 2, false, 0, MS, p + 3, &have, &wake));
	assert_int_equal(have, 0);
	assert_int_equal(view(&s).held, 3);
	assert_false(shm_sem_acquire(&s, 0, 2, 5, false, 0, MS, p + 3, &have, &wake));
	shm_sem_release(&s, 0, 1, p, 3, MS, &wake);
	assert_int_equal(view(&s).held, 0);
	fake_fini(&s);
}

/* Two heads of 3, four permits: the one whose turn it is gets all it needs, then the other. */
static void test_two_heads(void **state)
{
	struct head a = {.slot = 1, .weight = 3}, b = {.slot = 2, .weight = 3};
	uint32_t p[4];
	struct shm s;

	(void)state;
	init_with(&s, 4, 4);
	for (uint32_t i = 0; i < 4; i++)
		p[i] = try_one(&s, 3);
	announce(&s, &a, 10);
	assert_false(look(&s, &a));
	announce(&s, &b, 20);
	assert_false(look(&s, &b));
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(a.have, i);
		assert_int_equal(b.have, 0);
		give(&s, 3, p[i]);
		assert_true(woken(1) && !woken(2));
		assert_false(look(&s, &b));
		assert_int_equal(look(&s, &a), i == 2);
		announce(&s, &a, 10);
	}
	waits(&s, 1, SHM_CLASS_HIGH, 0, 0);
	give(&s, 3, p[3]);
	assert_true(woken(2));
	assert_false(look(&s, &b));
	assert_int_equal(b.have, 1);
	announce(&s, &b, 20);
	wake = (struct shm_sem_wake){0};
	shm_sem_release(&s, 0, 1, a.permit, a.have, MS, &wake);
	assert_true(woken(2));
	assert_true(look(&s, &b));
	fake_fini(&s);
}

/* Who wants several waits for its turn like all others: it collects nothing before. */
static void test_heavy_turn(void **state)
{
	struct head a = {.slot = 1, .weight = 2};
	uint32_t p[2];
	struct shm s;

	(void)state;
	init_with(&s, 2, 4);
	p[0] = try_one(&s, 3);
	p[1] = try_one(&s, 3);
	waits(&s, 2, SHM_CLASS_HIGH, 1, 10);
	announce(&s, &a, 20);
	assert_false(look(&s, &a));
	give(&s, 3, p[0]);
	assert_true(woken(2) && !woken(1));
	fake_fini(&s);
}

/* Two permits are free, but another collects, who has been granted all that it needs: who wants two
 * as well does not get them before the other has stopped collecting, and is woken then. */
static void test_beside_collector(void **state)
{
	struct head a = {.slot = 1, .weight = 2}, b = {.slot = 2, .weight = 2};
	uint32_t p[4];
	struct shm s;

	(void)state;
	for (int i = 0; i < 2; i++) {
		a.have = b.have = 0;
		init_with(&s, 4, 4);
		for (uint32_t k = 0; k < 4; k++)
			p[k] = try_one(&s, 3);
		announce(&s, &a, 10);
		give(&s, 3, p[0]);
		assert_false(look(&s, &a));
		announce(&s, &a, 10);
		for (uint32_t k = 1; k < 4; k++)
			give(&s, 3, p[k]);
		assert_int_equal(view(&s).held + view(&s).granted, 2);
		announce(&s, &b, 20);
		assert_false(look(&s, &b));
		assert_int_equal(view(&s).held + view(&s).granted, 2);
		wake = (struct shm_sem_wake){0};
		if (i == 0) {
			assert_true(look(&s, &a));
		} else { /* gives up */
			struct shm_sem_waits none = {0};

			shm_sem_wait(&s, 0, 1, &none, MS, &wake);
			shm_sem_release(&s, 0, 1, a.permit, a.have, MS, &wake);
		}
		assert_true(woken(2));
		assert_true(look(&s, &b));
		fake_fini(&s);
	}
}

/* A part is not kept when the limit has become too low for the whole. */
static void test_head_too_big(void **state)
{
	struct head a = {.slot = 1, .weight = 3};
	uint32_t p[4];
	struct shm s;

	(void)state;
	init_with(&s, 4, 4);
	for (uint32_t i = 0; i < 4; i++)
		p[i] = try_one(&s, 3);
	announce(&s, &a, 10);
	waits(&s, 2, SHM_CLASS_LOW, 1, 20);
	give(&s, 3, p[0]);
	assert_false(look(&s, &a));
	assert_int_equal(a.have, 1);
	announce(&s, &a, 10);
	wake = (struct shm_sem_wake){0};
	assert_int_equal(shm_sem_set_limit(&s, 0, 2, &wake), 0);
	assert_true(wake.all);
	assert_false(look(&s, &a));
	assert_int_equal(a.have, 0);
	assert_int_equal(view(&s).held, 3);
	/* Its owner takes it out of the queue, and the others go on. */
	waits(&s, 1, SHM_CLASS_HIGH, 0, 0);
	give(&s, 3, p[1]);
	assert_false(woken(2));
	give(&s, 3, p[2]);
	assert_true(woken(2));
	fake_fini(&s);
}

/* A collector that is stopped loses its role, and when it goes on the part it had. */
static void test_stopped_collector(void **state)
{
	struct head a = {.slot = 1, .weight = 2}, b = {.slot = 2, .weight = 3};
	uint32_t p[4];
	struct shm s;

	(void)state;
	init_with(&s, 4, 4);
	for (uint32_t i = 0; i < 4; i++)
		p[i] = try_one(&s, 3);
	announce(&s, &a, 10);
	give(&s, 3, p[0]);
	assert_false(look(&s, &a));
	assert_int_equal(a.have, 1);
	announce(&s, &a, 10);
	announce(&s, &b, 20);
	give(&s, 3, p[1]); /* granted to a, which does not look */
	assert_false(look(&s, &b));
	assert_int_equal(b.have, 0);
	assert_false(shm_sem_acquire(&s, 0, 2, 3, true, 0, 2 * SHM_SEM_STALE_NS, b.permit, &b.have,
				     &wake));
	assert_int_equal(b.have, 1);
	announce(&s, &b, 20);
	/* a goes on: what it has goes to the new collector. */
	wake = (struct shm_sem_wake){0};
	assert_false(look(&s, &a));
	assert_int_equal(a.have, 0);
	assert_true(woken(2));
	announce(&s, &a, 10);
	assert_false(look(&s, &b));
	assert_int_equal(b.have, 2);
	announce(&s, &b, 20);
	give(&s, 3, p[2]);
	assert_true(woken(2) && !woken(1));
	assert_true(look(&s, &b));
	waits(&s, 2, SHM_CLASS_HIGH, 0, 0);
	wake = (struct shm_sem_wake){0};
	shm_sem_release(&s, 0, 2, b.permit, b.have, MS, &wake);
	assert_true(woken(1));
	assert_true(look(&s, &a));
	fake_fini(&s);
}

/* ---- shares and order: a simulation in which nothing is left to chance ---- */

#define QUEUE 64u
struct waiter { uint64_t since; };
struct line { uint32_t n; struct waiter w[QUEUE]; };
struct sim {
	struct shm s;
	struct line line[SLOTS][SHM_CLASSES];
	uint32_t held[16], held_by[16], n_held;
	uint64_t now, seed, served[SHM_CLASSES], last[SHM_CLASSES], late;
};

static void sim_tell(struct sim *x, uint32_t slot)
{
	struct shm_sem_waits w = {0};

	for (uint32_t k = 0; k < SHM_CLASSES; k++) {
		w.count[k] = x->line[slot][k].n;
		w.oldest_ns[k] = w.count[k] ? x->line[slot][k].w[0].since : 0;
	}
	shm_sem_wait(&x->s, 0, slot, &w, x->now, &wake);
}

static void sim_arrive(struct sim *x, uint32_t slot, uint32_t k)
{
	struct line *l = &x->line[slot][k];

	assert_true(l->n < QUEUE);
	l->w[l->n++].since = ++x->now;
	sim_tell(x, slot);
}

/* What a worker does when it is woken. */
static void sim_look(struct sim *x, uint32_t slot)
{
	for (;;) {
		uint32_t k = shm_sem_granted(&x->s, 0, slot), p;
		struct line *l;

		if (k == SHM_CLASSES)
			return;
		l = &x->line[slot][k];
		assert_true(l->n > 0);
		p = queue_one(&x->s, slot, x->now);
		assert_int_not_equal(p, NO_ONE);
		x->held[x->n_held] = p;
		x->held_by[x->n_held++] = slot;
		x->served[k]++;
		x->late += l->w[0].since < x->last[k];
		x->last[k] = l->w[0].since;
		memmove(l->w, l->w + 1, --l->n * sizeof(l->w[0]));
		sim_tell(x, slot);
	}
}

static void sim_release(struct sim *x)
{
	uint32_t i = (uint32_t)(rnd(&x->seed) % x->n_held), slot = x->held_by[i], p = x->held[i];

	x->held[i] = x->held[--x->n_held];
	x->held_by[i] = x->held_by[x->n_held];
	wake = (struct shm_sem_wake){0};
	shm_sem_release(&x->s, 0, slot, &p, 1, ++x->now, &wake);
	assert_false(wake.all);
	while (wake.n > 0)
		sim_look(x, wake.slot[--wake.n]);
}

static struct sim *sim_new(uint32_t limit)
{
	struct sim *x = calloc(1, sizeof(*x));

	assert_non_null(x);
	x->seed = 5;
	x->now = MS;
	init_with(&x->s, limit, 16);
	for (uint32_t i = 0; i < limit; i++) {
		x->held[i] = try_one(&x->s, 5);
		x->held_by[i] = 5;
	}
	x->n_held = limit;
	return x;
}

static void sim_end(struct sim *x)
{
	fake_fini(&x->s);
	free(x);
}

static void test_shares(void **state)
{
	struct sim *x = sim_new(4);
	uint64_t sum;

	(void)state;
	for (int i = 0; i < 6000; i++) {
		for (uint32_t k = 0; k < SHM_CLASSES; k++) {
			uint32_t slot = 1 + (uint32_t)(rnd(&x->seed) % 4);

			if (x->line[slot][k].n < 20)
				sim_arrive(x, slot, k);
		}
		if (i >= 200)
			sim_release(x);
	}
	sum = x->served[0] + x->served[1] + x->served[2];
	print_message("served %lu %lu %lu, out of order %lu\n", x->served[0], x->served[1],
		      x->served[2], x->late);
	for (uint32_t k = 0; k < SHM_CLASSES; k++)
		assert_in_range(x->served[k] * 6000, sum * (3 - k) * 950, sum * (3 - k) * 1050);
	assert_int_equal(x->late, 0);
	sim_end(x);
}

/* A class that has waited for nothing has saved nothing up: it gets its share from then on. */
static void test_from_idle(void **state)
{
	struct sim *x = sim_new(2);
	uint64_t before;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		sim_arrive(x, 1 + i % 4, SHM_CLASS_LOW);
		sim_release(x);
	}
	assert_int_equal(x->served[SHM_CLASS_LOW], 1000);
	for (int i = 0; i < 40; i++) {
		sim_arrive(x, 1 + i % 4, SHM_CLASS_HIGH);
		sim_arrive(x, 1 + i % 4, SHM_CLASS_LOW);
	}
	before = x->served[SHM_CLASS_LOW];
	for (int i = 0; i < 40; i++)
		sim_release(x);
	assert_in_range(x->served[SHM_CLASS_HIGH], 29, 31);
	assert_in_range(x->served[SHM_CLASS_LOW] - before, 9, 11);
	sim_end(x);
}

/* ---- directory ---- */

static int intern(struct shm *s, const char *name, uint32_t limit, uint32_t max, uint32_t gen,
		  uint32_t *ret)
{
	struct shm_sem_spec spec = {name, limit, max, {4, 2, 1}};

	return shm_sem_intern(s, &spec, gen, ret);
}

static void test_directory(void **state)
{
	struct shm_sem_spec bad = {"x", 1, 1, {1, 0, 1}};
	char longest[] = "1234567890123456789012345678901234567890123456712";
	uint32_t a, b, c, d;
	struct shm s;

	(void)state;
	init(&s);
	assert_int_equal(shm_sem_find(&s, "a", 1), SHM_SEM_NONE);
	assert_int_equal(shm_sem_intern(&s, &bad, 1, &a), -EINVAL);
	assert_int_equal(intern(&s, "", 1, 1, 1, &a), -EINVAL);
	assert_int_equal(intern(&s, "a", 2, 1, 1, &a), -EINVAL);
	assert_int_equal(intern(&s, "a", 0, 0, 1, &a), -EINVAL);
	assert_int_equal(intern(&s, "a", 1, SHM_SEM_LIMIT_MAX + 1, 1, &a), -EINVAL);
	assert_int_equal(intern(&s, longest + 1, 1, 1, 1, &a), -EINVAL);
	assert_int_equal(intern(&s, "a", 0, SHM_SEM_LIMIT_MAX, 1, &a), -ENOSPC);
	assert_int_equal(shm_slot_claim(&s, SHM_WORKER, 1, 1), 1);
	assert_int_equal(intern(&s, "a", 1, 60, 1, &a), 0);
	assert_int_equal(intern(&s, longest + 2, 1, 30, 1, &b), 0);
	assert_int_equal(shm_sem_find(&s, longest + 2, 1), b);
	assert_int_equal(intern(&s, "c", 1, 33, 1, &c), -ENOSPC);
	assert_int_equal(intern(&s, "c", 1, 32, 1, &c), 0);
	assert_int_equal(intern(&s, "d", 1, 1, 1, &d), -ENOSPC);
	/* Another generation: the limit is set, limit_max stays; what is not named goes. */
	assert_int_equal(intern(&s, "a", 5, 100, 2, &d), 0);
	assert_int_equal(d, a);
	assert_int_equal(shm_sem_limit(&s, a), 5);
	assert_int_equal(intern(&s, "a", 61, 100, 2, &d), -EINVAL);
	assert_int_equal(shm_sem_find(&s, "a", 2), a);
	assert_int_equal(shm_sem_find(&s, "c", 2), SHM_SEM_NONE);
	assert_int_equal(shm_sem_find(&s, "c", 1), c);
	/* As long as a process of generation 1 lives its permits are its own. */
	assert_int_equal(intern(&s, "d", 1, 32, 2, &d), -ENOSPC);
	shm_sem_count(&s, c, 1, SHM_SEM_QUEUED);
	shm_slot_recover(&s, 1);
	assert_int_equal(intern(&s, "d", 1, 64, 2, &d), 0);
	assert_true(d == b || d == c);
	assert_int_equal(shm_sem_find(&s, "d", 1), SHM_SEM_NONE);
	assert_int_equal(shm_sem_find(&s, "c", 1), SHM_SEM_NONE);
	fake_fini(&s);
}

/* Words of different semaphores never overlap, however names come and go. */
static void test_places(void **state)
{
	uint64_t seed = 8;
	struct shm s;

	(void)state;
	init(&s);
	for (uint32_t gen = 1; gen < 500; gen++) {
		for (uint32_t n = 0; n < 2; n++) {
			char name[2] = {(char)('a' + rnd(&seed) % 5), '\0'};
			uint32_t at;
			int err = intern(&s, name, 1, 1 + (uint32_t)(rnd(&seed) % 60), gen, &at);

			assert_true(err == 0 || err == -EINVAL || err == -ENOSPC);
			if (err == 0)
				assert_int_equal(shm_sem_find(&s, name, gen), at);
		}
		for (uint32_t i = 0; i < s.geo.sems; i++)
			for (uint32_t k = 0; k < i; k++) {
				struct sem x = sem_of(&s, i), y = sem_of(&s, k);

				if (!shm_get(&x.e->first_generation) ||
				    !shm_get(&y.e->first_generation))
					continue;
				assert_true(x.max > 0 && y.max > 0);
				assert_true(x.word + x.max <= y.word || y.word + y.max <= x.word);
			}
	}
	fake_fini(&s);
}

static void test_counts(void **state)
{
	struct shm_sem_wait_sum sum;
	struct shm s;

	(void)state;
	init_with(&s, 1, 1);
	for (int i = 0; i < SHM_SEM_COUNTS; i++)
		for (int n = 0; n <= i; n++)
			shm_sem_count(&s, 0, 1 + (uint32_t)n % 2, (enum shm_sem_count)i);
	shm_sem_recover(&s, 1);
	assert_int_equal(view(&s).acquired, 1);
	assert_int_equal(view(&s).queued, 2);
	assert_int_equal(view(&s).timed_out, 3);
	assert_int_equal(view(&s).rejected, 4);
	assert_int_equal(view(&s).abandoned, 5);
	shm_sem_waited(&s, 0, 1, 0);
	shm_sem_waited(&s, 0, 1, 1);
	shm_sem_waited(&s, 0, 2, 1000);
	shm_sem_waited(&s, 0, 2, UINT64_MAX / 2);
	shm_sem_wait_read(&s, 0, &sum);
	assert_int_equal(sum.count, 4);
	assert_int_equal(sum.bucket[0], 1);
	assert_int_equal(sum.bucket[1], 1);
	assert_int_equal(sum.bucket[10], 1);
	assert_int_equal(sum.bucket[SHM_SEM_WAIT_BUCKETS - 1], 1);
	fake_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limit),	    cmocka_unit_test(test_no_limit),
		cmocka_unit_test(test_hand_over),   cmocka_unit_test(test_no_barging),
		cmocka_unit_test(test_handed_on),   cmocka_unit_test(test_wake_all),
		cmocka_unit_test(test_stale),	    cmocka_unit_test(test_lowered),
		cmocka_unit_test(test_lowered_orders), cmocka_unit_test(test_raised),
		cmocka_unit_test(test_recover),	    cmocka_unit_test(test_weight),
		cmocka_unit_test(test_two_heads),   cmocka_unit_test(test_head_too_big),
		cmocka_unit_test(test_heavy_turn),  cmocka_unit_test(test_beside_collector),
		cmocka_unit_test(test_stopped_collector), cmocka_unit_test(test_shares),
		cmocka_unit_test(test_from_idle),   cmocka_unit_test(test_directory),
		cmocka_unit_test(test_places),	    cmocka_unit_test(test_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
