/* SPDX-License-Identifier: MIT */
/*
 * The proof by single steps for semaphores. An operation is stopped at each of its states, and then
 *   - its process dies: others go on first, or not; recovery, twice; everybody is woken;
 *   - two lanes of one process are cut at once, each at each of its states;
 *   - nobody dies, but another does something in between, and only who was told is woken.
 * After each of these: nothing is owned by the dead, nobody is asleep beside a free permit, nobody
 * was admitted above the limit, and when all have given back what they had nothing is left over.
 */
#include "tests/unit/shm_step.h"

#include "shm/sem_priv.h"

#define SLOTS 4u
#define PERMITS 16u
#define NOW 50000000u
#define LATER (NOW + 1000000u) /* when permits are given back: times are seen to change */
#define READS 12u  /* instructions before which another comes in between */
#define ROUNDS 200 /* of wake-ups: more would be for ever */

static const struct shm_geometry geo = {
	.slots = SLOTS, .rows = 1, .routes = 1, .series = 17, .errors = 17, .ring_bytes = 64,
	.exits = 1, .events = 1, .sems = 2, .permits = 2 * PERMITS,
};

/* What each process knows, in private memory but for this test. */
struct mind {
	uint32_t n, weight[4];       /* who waits, in their order */
	uint32_t have, part[8];      /* what the head has */
	uint32_t n_held, held[16];
};
struct world {
	struct mind mind[SLOTS];
	struct shm_sem_wake wake;
};
static struct world *w; /* shared with children */

static uint32_t count_held(const struct shm *s)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < PERMITS; i++) {
		uint32_t word = shm_get(&s->permits[i]);

		n += word != 0 && !(word & SEM_GRANTED);
	}
	return n;
}

/* ---- what processes do ---- */

static void tell(struct shm *s, uint32_t slot)
{
	struct mind *m = &w->mind[slot];
	struct shm_sem_waits waits = {.count = {0, m->n, 0}, .oldest_ns = {0, slot, 0}};

	for (uint32_t i = 0; i < m->n; i++)
		waits.permits[1] += m->weight[i];
	waits.permits[1] -= m->have;
	shm_sem_wait(s, 0, slot, &waits, NOW, &w->wake);
}

/* Takes the heads of the queue in, as far as it goes. `now` decides which grants are stale. */
static void look_at(struct shm *s, uint32_t slot, uint64_t now)
{
	struct mind *m = &w->mind[slot];

	for (uint32_t i = 0; i < w->wake.n; i++) /* this is what it was woken for */
		if (w->wake.slot[i] == slot)
			w->wake.slot[i] = w->wake.slot[--w->wake.n];
	while (m->n > 0) {
		uint32_t had = m->have;

		if (!shm_sem_acquire(s, 0, slot, m->weight[0], true, 0, now, m->part, &m->have,
				     &w->wake)) {
			if (m->have != had)
				tell(s, slot);
			return;
		}
		memcpy(m->held + m->n_held, m->part, m->have * sizeof(m->part[0]));
		m->n_held += m->have;
		m->have = 0;
		memmove(m->weight, m->weight + 1, --m->n * sizeof(m->weight[0]));
		tell(s, slot);
	}
}

static void look(struct shm *s, uint32_t slot)
{
	look_at(s, slot, NOW);
}

static void arrive(struct shm *s, uint32_t slot, uint32_t weight)
{
	struct mind *m = &w->mind[slot];

	m->weight[m->n++] = weight;
	tell(s, slot);
	look(s, slot);
}

static void leave(struct shm *s, uint32_t slot)
{
	struct mind *m = &w->mind[slot];
	uint32_t n = m->have;

	if (m->n == 0)
		return; /* has been served before it could leave */
	m->have = 0;
	memmove(m->weight, m->weight + 1, --m->n * sizeof(m->weight[0]));
	shm_sem_release(s, 0, slot, m->part, n, NOW, &w->wake);
	tell(s, slot);
}

static void enter(struct shm *s, uint32_t slot)
{
	struct mind *m = &w->mind[slot];
	uint32_t have = 0;

	if (shm_sem_acquire(s, 0, slot, 1, false, 0, NOW, m->held + m->n_held, &have, &w->wake))
		m->n_held += have;
}

static void give(struct shm *s, uint32_t slot)
{
	struct mind *m = &w->mind[slot];

	if (m->n_held == 0)
		return;
	m->n_held--;
	shm_sem_release(s, 0, slot, &m->held[m->n_held], 1, LATER, &w->wake);
}

/* ---- the rules ---- */

static bool is_woken(uint32_t slot)
{
	for (uint32_t i = 0; i < w->wake.n; i++)
		if (w->wake.slot[i] == slot)
			return true;
	return w->wake.all;
}

/* Who has been told looks, and who is told by that, until nobody is. Nobody comes in above the
 * limit. */
static void wake_up(struct shm *s)
{
	for (int round = 0; w->wake.n > 0 || w->wake.all; round++) {
		struct world told = *w;

		assert_true(round < ROUNDS);
		for (uint32_t slot = 1; slot < SLOTS; slot++) {
			uint32_t before = w->mind[slot].n_held, limit = shm_sem_limit(s, 0);

			w->wake = told.wake;
			if (!is_woken(slot))
				continue;
			w->wake = (struct shm_sem_wake){0};
			look(s, slot);
			if (w->mind[slot].n_held > before && limit > 0)
				assert_true(count_held(s) <= limit);
			/* Collect what this one has told. */
			for (uint32_t i = 0; i < w->wake.n; i++)
				if (w->wake.slot[i] < SLOTS)
					told.mind[w->wake.slot[i]].n |= 0x100;
			if (w->wake.all)
				for (uint32_t i = 1; i < SLOTS; i++)
					told.mind[i].n |= 0x100;
		}
		w->wake = (struct shm_sem_wake){0};
		for (uint32_t slot = 1; slot < SLOTS; slot++)
			if (told.mind[slot].n & 0x100)
				w->wake.slot[w->wake.n++] = slot;
	}
}

/* Each permit is where its holder thinks it is, and nowhere else. */
static void check_owners(const struct shm *s)
{
	uint32_t words = 0, known = 0;
	struct sem sem = sem_of(s, 0);
	struct bounds b = sem_bounds(&sem);

	for (uint32_t i = 0; i < PERMITS; i++) {
		words += shm_get(&s->permits[i]) != 0;
		assert_true(shm_get(&s->permits[i]) == 0 || i < b.high);
	}
	for (uint32_t slot = 1; slot < SLOTS; slot++) {
		const struct mind *m = &w->mind[slot];

		for (uint32_t i = 0; i < m->n_held; i++)
			assert_int_equal(shm_get(&s->permits[m->held[i]]), sem_held(slot));
		for (uint32_t i = 0; i < m->have; i++)
			assert_int_equal(shm_get(&s->permits[m->part[i]]), sem_held(slot));
		known += m->n_held + m->have;
	}
	assert_int_equal(words, known);
}

static void check_nobody_sleeps(const struct shm *s)
{
	uint32_t limit = shm_sem_limit(s, 0);

	for (uint32_t slot = 1; slot < SLOTS; slot++)
		if (w->mind[slot].n > 0 && w->mind[slot].weight[0] <= limit)
			assert_true(count_held(s) >= limit);
}

/* Everybody gives back what he has, one after another, until all have been served. */
static void check_all_end(struct shm *s)
{
	struct bounds b;
	struct sem m;

	for (int round = 0; round < ROUNDS; round++) {
		bool any = false;

		for (uint32_t slot = 1; slot < SLOTS; slot++) {
			any |= w->mind[slot].n_held > 0;
			give(s, slot);
			wake_up(s);
			check_owners(s);
			check_nobody_sleeps(s);
		}
		if (!any)
			break;
	}
	for (uint32_t slot = 0; slot < SLOTS; slot++)
		assert_int_equal(w->mind[slot].n + w->mind[slot].have + w->mind[slot].n_held, 0);
	for (uint32_t i = 0; i < PERMITS; i++)
		assert_int_equal(shm_get(&s->permits[i]), 0);
	assert_int_equal(shm_get(&s->sems[0].collector), 0);
	assert_int_equal(shm_get(&s->sem_bits[0]), 0);
	m = sem_of(s, 0);
	b = sem_bounds(&m);
	assert_int_equal(b.high, b.limit); /* nothing needs to be counted any more */
}

/* An entry that can be found is whole. */
static void check_entry(const struct shm *s)
{
	uint32_t two = shm_sem_find(s, "two", 2);
	struct shm_sem_view v;

	if (two == SHM_SEM_NONE)
		return;
	assert_true(shm_sem_read(s, two, &v));
	assert_int_equal(v.limit, 3);
	assert_int_equal(v.limit_max, 9);
	for (uint32_t k = 0; k < SHM_CLASSES; k++)
		assert_int_equal(v.weight[k], 1);
}

/* Slot 1 has died: what it was about is gone. */
static void check_dead(struct shm *s)
{
	char *once = malloc(s->size);

	assert_non_null(once);
	w->mind[1] = (struct mind){0};
	shm_slot_recover(s, 1);
	memcpy(once, s->base, s->size);
	shm_slot_recover(s, 1);
	assert_memory_equal(once, s->base, s->size);
	free(once);
	check_entry(s);
	for (uint32_t i = 0; i < PERMITS; i++) {
		uint32_t word = shm_get(&s->permits[i]);

		assert_true(word == 0 || sem_word_slot(word) != 1);
	}
	assert_int_equal(shm_get(&s->sem_bits[0]) & 2, 0);
	for (uint32_t k = 0; k < SHM_CLASSES; k++)
		assert_int_equal(shm_get(&s->sem_cells[1].waits[k]), 0);
	w->wake = (struct shm_sem_wake){.all = true};
	wake_up(s);
	check_owners(s);
	check_nobody_sleeps(s);
	check_all_end(s);
}

/* What the others may do between the death and the recovery. */
static void nothing(struct shm *s) { (void)s; }
static void two_gives(struct shm *s) { give(s, 2); }
static void two_enters(struct shm *s) { enter(s, 2); }
static void three_leaves(struct shm *s) { leave(s, 3); }
static void three_arrives(struct shm *s) { arrive(s, 3, 1); }
static void all_look(struct shm *s)
{
	look(s, 2);
	look(s, 3);
	look_at(s, 3, NOW + 2 * SHM_SEM_STALE_NS); /* takes what was granted to the dead */
}
static operation_f *const meanwhile[] = {
	nothing, two_gives, two_enters, three_leaves, three_arrives, all_look,
};
#define MEANWHILE (sizeof(meanwhile) / sizeof(meanwhile[0]))

static void rule_dead(struct shm *copy, const struct shm *before)
{
	char *bytes = malloc(copy->size);
	struct world *real = w, mine;

	(void)before;
	assert_non_null(bytes);
	for (size_t i = 0; i < MEANWHILE; i++) {
		bool claimed[8];
		struct shm c = as_copy(copy, bytes, claimed);

		mine = *real;
		w = &mine;
		w->wake = (struct shm_sem_wake){0};
		meanwhile[i](&c);
		check_dead(&c);
	}
	w = real;
	free(bytes);
}

/* ---- scenes: what there is before the operation ---- */

static void begin(struct shm *s, uint32_t limit)
{
	struct shm_sem_spec spec = {"one", limit, PERMITS, {3, 2, 1}};
	uint32_t i;

	memset(w, 0, sizeof(*w));
	fake_init(s, &geo);
	for (int slot = 1; slot < (int)SLOTS; slot++)
		assert_int_equal(shm_slot_claim(s, SHM_WORKER, 1, 1), slot);
	assert_int_equal(shm_sem_intern(s, &spec, 1, &i), 0);
}

/* Nobody waits; one of two permits is held. */
static void scene_free(struct shm *s)
{
	begin(s, 2);
	enter(s, 2);
}

/* Slot 1 has one permit, slot 2 the other; 2 and 3 wait. */
static void scene_full(struct shm *s)
{
	begin(s, 2);
	enter(s, 1);
	enter(s, 2);
	arrive(s, 3, 1);
	arrive(s, 2, 1);
}

/* Others have all permits; slot 1 waits. */
static void scene_waiting(struct shm *s)
{
	begin(s, 2);
	enter(s, 2);
	enter(s, 2);
	arrive(s, 1, 1);
	arrive(s, 3, 1);
}

/* A permit was granted to slot 1, who has not looked yet. */
static void scene_granted(struct shm *s)
{
	scene_waiting(s);
	give(s, 2);
}

/* Slot 1 collects: it has one of 2, and one is granted; slot 3 wants 2 as well. */
static void scene_collecting(struct shm *s)
{
	begin(s, 3);
	for (int i = 0; i < 3; i++)
		enter(s, 2);
	arrive(s, 1, 2);
	arrive(s, 3, 2);
	give(s, 2);
	look(s, 1);
	assert_int_equal(w->mind[1].have, 1);
	give(s, 2);
}

/* Slot 3 collects and has been granted what it needs; slot 1 wants 2 and has been granted one. */
static void scene_beside_collector(struct shm *s)
{
	begin(s, 3);
	for (int i = 0; i < 3; i++)
		enter(s, 2);
	arrive(s, 3, 2);
	arrive(s, 1, 2);
	give(s, 2);
	look(s, 3);
	assert_int_equal(w->mind[3].have, 1);
	give(s, 2);
	give(s, 2);
	assert_int_equal(shm_sem_granted(s, 0, 1), SHM_CLASS_MEDIUM);
}

/* The limit was lowered below what is held. */
static void scene_lowered(struct shm *s)
{
	begin(s, 3);
	enter(s, 1);
	enter(s, 2);
	enter(s, 1);
	arrive(s, 3, 1);
	assert_int_equal(shm_sem_set_limit(s, 0, 1, &w->wake), 0);
}

/* ---- operations of slot 1 ---- */

static void op_enter(struct shm *s)
{
	enter(s, 1);
	give(s, 1);
}
static void op_give(struct shm *s) { give(s, 1); }
static void op_give_all(struct shm *s)
{
	give(s, 1);
	give(s, 1);
}
static void op_arrive(struct shm *s) { arrive(s, 1, 1); }
static void op_come_and_go(struct shm *s)
{
	arrive(s, 1, 1);
	leave(s, 1);
}
static void op_leave(struct shm *s) { leave(s, 1); }
static void op_look(struct shm *s) { look(s, 1); }
static void op_look_and_give(struct shm *s)
{
	look(s, 1);
	give(s, 1);
}
static void op_heavy(struct shm *s) { arrive(s, 1, 2); }
static void op_heavy_at_once(struct shm *s)
{
	uint32_t p[2], have = 0;

	if (shm_sem_acquire(s, 0, 1, 2, false, 0, NOW, p, &have, &w->wake))
		shm_sem_release(s, 0, 1, p, have, NOW, &w->wake);
}
static void op_stale(struct shm *s) { look_at(s, 1, NOW + 2 * SHM_SEM_STALE_NS); }
static void op_limit(struct shm *s)
{
	(void)shm_sem_set_limit(s, 0, 1, &w->wake);
	(void)shm_sem_set_limit(s, 0, 3, &w->wake);
	(void)shm_sem_set_limit(s, 0, 2, &w->wake);
}
static void op_recover(struct shm *s) { shm_slot_recover(s, 1); }
static void op_intern(struct shm *s)
{
	struct shm_sem_spec one = {"one", 1, PERMITS, {1, 1, 1}}, two = {"two", 3, 9, {1, 1, 1}};
	uint32_t i;

	(void)shm_sem_intern(s, &one, 2, &i);
	(void)shm_sem_intern(s, &two, 2, &i);
}

/* Slot 2 has let a grant lie. */
static void scene_stale(struct shm *s)
{
	begin(s, 1);
	enter(s, 2);
	arrive(s, 3, 1);
	arrive(s, 1, 1);
	w->mind[3].n = 1;
	give(s, 2);
}

static const struct {
	const char *name;
	operation_f *scene, *op;
	unsigned states;
} dying[] = {
	{"enter and give back", scene_free, op_enter, 4},
	{"enter in vain, hand over", scene_full, op_enter, 3},
	{"several at once, in vain", scene_free, op_heavy_at_once, 2},
	{"hand over", scene_full, op_give, 3},
	{"arrive where there is room", scene_free, op_arrive, 4},
	{"arrive", scene_full, op_arrive, 2},
	{"come and go", scene_full, op_come_and_go, 5},
	{"leave", scene_waiting, op_leave, 3},
	{"leave with a grant", scene_granted, op_leave, 4},
	{"take a grant", scene_granted, op_look, 4},
	{"take a grant, hand over", scene_granted, op_look_and_give, 6},
	{"arrive, wanting several", scene_free, op_heavy, 4},
	{"collect", scene_collecting, op_look, 4},
	{"collect, give back", scene_collecting, op_look_and_give, 6},
	{"look beside a collector", scene_beside_collector, op_look, 2},
	{"collect, give up", scene_collecting, op_leave, 4},
	{"take a stale grant", scene_stale, op_stale, 4},
	{"change the limit", scene_full, op_limit, 3},
	{"change the limit, lowered", scene_lowered, op_limit, 2},
	{"give back above the limit", scene_lowered, op_give_all, 2},
	{"recover a holder", scene_full, op_recover, 2},
	{"recover who was granted", scene_granted, op_recover, 3},
	{"recover a collector", scene_collecting, op_recover, 4},
	{"recover, lowered", scene_lowered, op_recover, 2},
	{"intern", scene_full, op_intern, 8},
};

static void test_dying(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(dying) / sizeof(dying[0]); i++) {
		struct shm s;
		unsigned n;

		dying[i].scene(&s);
		n = each_step(&s, dying[i].op, rule_dead);
		print_message("%-28s %4u states\n", dying[i].name, n);
		fake_fini(&s);
		need_states(n, dying[i].states);
	}
}

/* ---- two lanes of slot 1, both cut ---- */

static void reset(struct shm *s, operation_f *scene)
{
	fake_fini(s);
	scene(s);
}

/* Stops `a` at its state number k. 0: it has none. */
static pid_t stop_at(struct shm *s, operation_f *a, unsigned k, char *last)
{
	pid_t pid;

	memcpy(last, s->base, s->size);
	pid = step_begin(s, a);
	for (unsigned i = 0; i < k; i++)
		if (!step_change(s, pid, last))
			return 0;
	return pid;
}

static unsigned cut_both(operation_f *scene, operation_f *a, operation_f *b)
{
	char *last = malloc(shm_size_for(&geo));
	unsigned states = 0, k = 0;
	struct shm s;
	pid_t pid;

	assert_non_null(last);
	for (scene(&s); (pid = stop_at(&s, a, k, last)) != 0; reset(&s, scene), k++) {
		states += each_step(&s, b, rule_dead);
		kill_child(pid);
	}
	fake_fini(&s);
	free(last);
	return states;
}

/* A lane of its own waits and one has a permit: their parts of the mind are apart. */
static void op_lane_enter(struct shm *s)
{
	uint32_t p, have = 0;

	if (shm_sem_acquire(s, 0, 1, 1, false, 0, NOW, &p, &have, &w->wake))
		shm_sem_release(s, 0, 1, &p, have, NOW, &w->wake);
}

static void test_two_lanes(void **state)
{
	unsigned n;

	(void)state;
	n = cut_both(scene_free, op_enter, op_lane_enter);
	n += cut_both(scene_full, op_give, op_arrive);
	n += cut_both(scene_full, op_arrive, op_give);
	n += cut_both(scene_granted, op_look, op_lane_enter);
	n += cut_both(scene_lowered, op_give_all, op_lane_enter);
	n += cut_both(scene_collecting, op_look, op_lane_enter);
	n += cut_both(scene_full, op_give, op_limit);
	n += cut_both(scene_collecting, op_leave, op_lane_enter);
	n += cut_both(scene_lowered, op_give, op_limit);
	n += cut_both(scene_free, op_lane_enter, op_heavy);
	print_message("%u pairs of states\n", n);
	assert_true(n > 50);
}

/* ---- nobody dies: another does something in between ---- */

static void op_three_looks(struct shm *s) { look_at(s, 3, NOW + 2 * SHM_SEM_STALE_NS); }
static void three_looks(struct shm *s) { look(s, 3); }
static void op_three_heavy(struct shm *s) { arrive(s, 3, 2); }
static void op_lower(struct shm *s) { (void)shm_sem_set_limit(s, 0, 1, &w->wake); }
static void op_raise(struct shm *s) { (void)shm_sem_set_limit(s, 0, 3, &w->wake); }
/* Who waits in slot 3 dies, and is recovered, and everybody is woken, before the other goes on. */
static void op_three_dies(struct shm *s)
{
	w->mind[3] = (struct mind){0};
	shm_slot_recover(s, 3);
	look(s, 2);
}

static const struct {
	const char *name;
	operation_f *scene, *a, *b;
} between[] = {
	{"hand over, leave", scene_full, op_give, three_leaves},
	{"hand over, die", scene_full, op_give, op_three_dies},
	{"hand over, hand over", scene_full, op_give, two_gives},
	{"arrive, hand over", scene_full, op_arrive, two_gives},
	{"arrive, leave", scene_full, op_arrive, three_leaves},
	{"give, arrive", scene_free, op_enter, op_three_heavy},
	{"give, arrive one", scene_free, op_enter, three_arrives},
	{"enter, enter", scene_free, op_enter, two_enters},
	{"come and go, hand over", scene_full, op_come_and_go, two_gives},
	{"leave, hand over", scene_waiting, op_leave, two_gives},
	{"leave with a grant, leave", scene_granted, op_leave, three_leaves},
	{"leave with a grant, die", scene_granted, op_leave, op_three_dies},
	{"take, take when stale", scene_granted, op_look, op_three_looks},
	{"collect, give", scene_collecting, op_look, two_gives},
	{"collect, look", scene_collecting, op_look, op_three_looks},
	{"collect, die", scene_collecting, op_look_and_give, op_three_dies},
	{"give up, give", scene_collecting, op_leave, two_gives},
	{"give up, look", scene_collecting, op_leave, op_three_looks},
	{"look, stop collecting", scene_beside_collector, op_look, three_looks},
	{"arrive heavy, give", scene_full, op_heavy, two_gives},
	{"arrive heavy, heavy", scene_free, op_heavy, op_three_heavy},
	{"hand over, lower", scene_full, op_give, op_lower},
	{"hand over, raise", scene_full, op_give, op_raise},
	{"enter, lower", scene_free, op_enter, op_lower},
	{"arrive, raise", scene_full, op_arrive, op_raise},
	{"take, lower", scene_granted, op_look, op_lower},
	{"give above, raise", scene_lowered, op_give_all, op_raise},
	{"give above, give", scene_lowered, op_give_all, two_gives},
	{"change limit, give", scene_full, op_limit, two_gives},
	{"change limit, arrive", scene_full, op_limit, three_arrives},
};

static void check_all(struct shm *s)
{
	wake_up(s);
	check_owners(s);
	check_nobody_sleeps(s);
	check_all_end(s);
}

static unsigned do_between(operation_f *scene, operation_f *a, operation_f *b)
{
	char *last = malloc(shm_size_for(&geo));
	unsigned k = 0;
	struct shm s;
	pid_t pid;

	assert_non_null(last);
	for (scene(&s); (pid = stop_at(&s, a, k, last)) != 0; reset(&s, scene), k++) {
		struct shm_sem_wake mine = w->wake;

		w->wake = (struct shm_sem_wake){0};
		b(&s);
		/* Both tell at once: the child adds to what this has told. */
		for (uint32_t i = 0; i < mine.n; i++)
			w->wake.slot[w->wake.n++] = mine.slot[i];
		w->wake.all |= mine.all;
		step_finish(pid);
		check_all(&s);
	}
	fake_fini(&s);
	free(last);
	return k;
}

/* The same, stopped at each instruction: what has been read counts, too. */
static void scene_one_each(struct shm *s)
{
	begin(s, 2);
	enter(s, 1);
	enter(s, 2);
}

/* Two are held by another; the word that slot 1 has freed last is the first one. */
static void scene_one_left(struct shm *s)
{
	begin(s, 3);
	enter(s, 1);
	enter(s, 2);
	enter(s, 2);
	give(s, 1);
}

static void enter_one(struct shm *s) { enter(s, 1); }

/* Two of three are free: slot 1 takes both at once. */
static void scene_two_left(struct shm *s)
{
	begin(s, 3);
	enter(s, 2);
}

static void enter_pair(struct shm *s)
{
	struct mind *m = &w->mind[1];
	uint32_t have = 0;

	if (shm_sem_acquire(s, 0, 1, 2, false, 0, NOW, m->held + m->n_held, &have, &w->wake))
		m->n_held += have;
}
static void lower_by_one(struct shm *s)
{
	assert_int_equal(shm_sem_set_limit(s, 0, 2, &w->wake), 0);
}

/* Tries `b` before the instructions of `a`. `most` may hold a permit after that, if no more did
 * when `b` came: whoever came in after that has seen what `b` has done. */
static void between_reads(operation_f *scene, operation_f *a, operation_f *b, uint32_t most)
{
	static struct path path;
	unsigned tried = 0;

	find_path(scene, a, &path);
	for (unsigned at = 0; at < path.steps; at++) {
		uint32_t held;
		struct shm s;
		pid_t pid;

		if (!is_tried(at, path.steps, READS))
			continue;
		tried++;
		scene(&s);
		pid = step_begin_plain(&s, a);
		assert_true(go_to(pid, spot_at(&path, at)));
		held = count_held(&s);
		b(&s);
		step_finish(pid);
		if (held <= most)
			assert_true(count_held(&s) <= most);
		check_all(&s);
		fake_fini(&s);
	}
	print_message("before %u of %u instructions\n", tried, path.steps);
	assert_true(tried >= READS);
}

/* One is held above the limit, and slot 1 has it: its release ends that. */
static void scene_one_above(struct shm *s)
{
	begin(s, 3);
	for (int i = 0; i < 3; i++)
		enter(s, 1);
	while (w->mind[1].held[w->mind[1].n_held - 1] != 2) {
		uint32_t *held = w->mind[1].held, first = held[0];

		memmove(held, held + 1, 2 * sizeof(*held));
		held[2] = first;
	}
	assert_int_equal(shm_sem_set_limit(s, 0, 1, &w->wake), 0);
}

/* Slot 1 has the last word alone. */
static void scene_last_word(struct shm *s)
{
	struct mind *m = &w->mind[1];

	begin(s, 3);
	for (int i = 0; i < 3; i++)
		enter(s, 1);
	for (uint32_t i = 0; i < 3; i++)
		if (m->held[i] != 2)
			shm_sem_release(s, 0, 1, &m->held[i], 1, NOW, &w->wake);
	m->n_held = 1;
	m->held[0] = 2;
}

/* The limit is up and down again, and meanwhile somebody has come. */
static void up_and_down(struct shm *s)
{
	op_raise(s);
	enter(s, 2);
	op_lower(s);
}

static void test_between_reads(void **state)
{
	(void)state;
	between_reads(scene_one_each, op_give, three_arrives, PERMITS);
	between_reads(scene_one_each, op_give, op_lower, PERMITS);
	between_reads(scene_last_word, op_give, op_lower, PERMITS);
	between_reads(scene_free, enter_one, two_enters, PERMITS);
	between_reads(scene_one_left, enter_one, two_enters, PERMITS);
	between_reads(scene_one_left, enter_one, lower_by_one, 2);
	between_reads(scene_free, op_heavy, op_three_heavy, PERMITS);
	between_reads(scene_two_left, enter_pair, op_lower, 1);
	between_reads(scene_one_above, op_give_all, up_and_down, PERMITS);
}

/* Who grants dies after that, and whom it has granted to is gone since before. */
static void scene_one_waits(struct shm *s)
{
	begin(s, 1);
	enter(s, 1);
	arrive(s, 3, 1);
}

/* Runs a child that is stopped to its end, and looks at each state as if it had been killed. */
static void die_on_the_way(struct shm *s, pid_t pid)
{
	char *last = malloc(s->size), *bytes = malloc(s->size);

	assert_true(last && bytes);
	memcpy(last, s->base, s->size);
	while (go(pid, PTRACE_SINGLESTEP)) {
		struct world real = *w;
		bool claimed[8];
		struct shm c;

		if (memcmp(last, s->base, s->size) == 0)
			continue;
		memcpy(last, s->base, s->size);
		c = as_copy(s, bytes, claimed);
		check_dead(&c);
		*w = real;
	}
	free(last);
	free(bytes);
}

static void test_gone_before(void **state)
{
	static struct path path;

	(void)state;
	find_path(scene_one_waits, op_give, &path);
	for (unsigned at = 0; at < path.steps; at++) {
		struct shm s;
		pid_t pid;

		if (!is_tried(at, path.steps, READS))
			continue;
		scene_one_waits(&s);
		pid = step_begin_plain(&s, op_give);
		assert_true(go_to(pid, spot_at(&path, at)));
		three_leaves(&s);
		die_on_the_way(&s, pid);
		check_all(&s);
		fake_fini(&s);
	}
	print_message("%u instructions\n", path.steps);
}

static void test_between(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(between) / sizeof(between[0]); i++) {
		unsigned n = do_between(between[i].scene, between[i].a, between[i].b);

		print_message("%-28s %4u states\n", between[i].name, n);
		assert_true(n >= 2);
	}
}

/* ---- negative control: a counter and a ledger must be found wrong ---- */

static unsigned naive_wrong;

/* A counter for all and what each slot has of it, in words that nothing else uses. */
static _Atomic uint64_t *naive_count(const struct shm *s) { return &s->permit_hints[PERMITS]; }
static _Atomic uint64_t *naive_ledger(const struct shm *s, uint32_t slot)
{
	return &s->permit_hints[PERMITS + slot];
}

static void op_naive(struct shm *s)
{
	atomic_fetch_add(naive_count(s), 1);
	atomic_fetch_add(naive_ledger(s, 1), 1);
	atomic_fetch_sub(naive_ledger(s, 1), 1);
	atomic_fetch_sub(naive_count(s), 1);
}

static void rule_naive(struct shm *c, const struct shm *before)
{
	uint64_t mine = shm_get(naive_ledger(c, 1));

	(void)before;
	shm_set(naive_count(c), shm_get(naive_count(c)) - mine);
	shm_set(naive_ledger(c, 1), 0);
	naive_wrong += shm_get(naive_count(c)) != shm_get(naive_ledger(c, 2));
}

static void test_naive(void **state)
{
	struct shm s;

	(void)state;
	scene_free(&s);
	atomic_store(naive_count(&s), 1);
	atomic_store(naive_ledger(&s, 2), 1);
	naive_wrong = 0;
	need_states(each_step(&s, op_naive, rule_naive), 4);
	print_message("counter and ledger: %u wrong states\n", naive_wrong);
	assert_int_equal(naive_wrong, 2);
	fake_fini(&s);
}

/* With an argument: only the tests of that name. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dying),
		cmocka_unit_test(test_two_lanes),
		cmocka_unit_test(test_between),
		cmocka_unit_test(test_between_reads),
		cmocka_unit_test(test_gone_before),
		cmocka_unit_test(test_naive),
	};

	w = mmap(NULL, sizeof(*w), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (w == MAP_FAILED)
		return 1;
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
