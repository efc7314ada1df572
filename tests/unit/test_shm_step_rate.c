/* SPDX-License-Identifier: MIT */
/*
 * Rate limits by single steps. First one process alone: stopped after each instruction that has
 * changed the segment, as if killed there; others go on before and after the recovery, which is run
 * twice. Then two processes: one is stopped at its instructions, the other one runs as far as it
 * can, or to its own instructions, before the first goes on.
 *
 * Each process writes beside what it does how much it may have been admitted and how much it has
 * been for certain. Of what a limit admits at once, the rest must be there: not one more, and not
 * one less than that one which was cut.
 */
#include "tests/unit/shm_step.h"

#include "shm/rate_priv.h"

#define SECOND 1000000000ULL
#define NOW (100 * SECOND)
#define LATER (NOW + 1000)
#define QUOTA 3u
#define STOPS 30u          /* at which one is interrupted, besides each change */
#define PAIRS 6u           /* changes of one that are paired with those of another */

enum { BUCKET, WINDOW, TABLE, WINDOWS, WIDE, LIMITS };
#define KEY(n) ((uint64_t)(n) + 1)

static const struct shm_geometry geo = {
	.slots = 4, .rows = 1, .routes = 2, .series = 17, .errors = 17, .ring_bytes = 64,
	.exits = 1, .events = 1, .rate_keys = 8,
};

/* ---- what the processes do ---- */

static uint64_t slot_now[4] = {LATER, LATER, LATER, LATER};

static bool charge(struct shm *s, uint32_t slot, struct shm_rate_use *uses, uint32_t n,
		   uint64_t now)
{
	int refused;

	return shm_rate_charge(s, slot, false, uses, n, now, &refused);
}

static bool ask(struct shm *s, uint32_t slot, uint32_t rate, uint64_t hash)
{
	struct shm_rate_use use = {.rate = rate, .hash = hash};

	return charge(s, slot, &use, 1, slot_now[slot]);
}

static _Atomic uint64_t *most(struct shm *s, uint32_t slot)
{
	return &s->slots[slot].requests_life;
}

static _Atomic uint64_t *least(struct shm *s, uint32_t slot)
{
	return &s->slots[slot].requests_goal;
}

/* Charges `times`; what it was admitted is written down. */
static void charge_written(struct shm *s, uint32_t slot, struct shm_rate_use *uses, uint32_t n,
			   int times)
{
	for (; times > 0; times--) {
		shm_add(most(s, slot), 1);
		if (charge(s, slot, uses, n, slot_now[slot]))
			shm_add(least(s, slot), 1);
		else
			shm_set(most(s, slot), shm_get(least(s, slot)));
	}
}

static void several(struct shm *s, uint32_t slot, uint32_t rate, uint32_t key, int times)
{
	struct shm_rate_use use = {.rate = rate, .hash = KEY(key)};

	charge_written(s, slot, &use, 1, times);
}

static void op_bucket(struct shm *s) { several(s, 1, BUCKET, 0, 4); }
static void op_window(struct shm *s) { several(s, 1, WINDOW, 0, 4); }
static void op_insert(struct shm *s) { several(s, 1, TABLE, 0, 2); }
static void op_insert_window(struct shm *s) { several(s, 1, WINDOWS, 0, 2); }
static void op_insert_once(struct shm *s) { several(s, 1, TABLE, 0, 1); }
static void op_insert_all_2(struct shm *s) { several(s, 2, TABLE, 0, 4); }
static void op_insert_once_2(struct shm *s) { several(s, 2, TABLE, 0, 1); }

static void refund_written(struct shm *s, struct shm_rate_use *uses, uint32_t n)
{
	charge_written(s, 1, uses, n, 1);
	shm_set(least(s, 1), shm_get(least(s, 1)) - 1);
	shm_rate_refund(s, uses, n);
	shm_set(most(s, 1), shm_get(most(s, 1)) - 1);
}

static void op_refund(struct shm *s)
{
	struct shm_rate_use use = {.rate = BUCKET};

	several(s, 1, BUCKET, 0, 1);
	refund_written(s, &use, 1);
	several(s, 1, BUCKET, 0, 1);
}

static void op_refund_key(struct shm *s)
{
	struct shm_rate_use use = {.rate = TABLE, .hash = KEY(0)};

	refund_written(s, &use, 1);
	several(s, 1, TABLE, 0, 1);
	refund_written(s, &use, 1);
}

/* Of the last three, of which two are left, one is refused: all is given back. */
static void op_lose(struct shm *s)
{
	struct shm_rate_use uses[5] = {
		{.rate = BUCKET}, {.rate = WINDOW}, {.rate = TABLE, .hash = KEY(0)},
		{.rate = TABLE, .hash = KEY(0)}, {.rate = TABLE, .hash = KEY(0)},
	};

	charge_written(s, 1, uses, 3, 1);
	charge_written(s, 1, uses, 5, 1);
	charge_written(s, 1, uses, 3, 1);
}

static void op_recover(struct shm *s) { shm_slot_recover(s, 1); }

/* ---- a segment with limits ---- */

static void intern(struct shm *s, const char *name, enum shm_rate_algorithm a, uint32_t burst,
		   uint32_t entries, uint32_t want)
{
	struct shm_rate_spec spec = {
		.name = name, .algorithm = a, .rate = a == SHM_RATE_WINDOW ? 1 : 3,
		.burst = a == SHM_RATE_WINDOW ? burst - 1 : burst, .period_ns = 60 * SECOND,
		.entries = entries,
	};
	uint32_t at;

	assert_int_equal(shm_rate_intern(s, &spec, 1, &at), 0);
	assert_int_equal(at, want);
}

/* Without its hint a bucket is charged the long way. */
static bool no_hint;

/* The one set of each table has keys 1 and 2 that are spent, key 3 that was so long ago, and one
 * empty place. */
static void prepare(struct shm *s)
{
	struct shm_rate_use use = {.hash = KEY(3)};

	fake_init(s, &geo);
	intern(s, "bucket", SHM_RATE_BUCKET, QUOTA, 0, BUCKET);
	if (no_hint)
		shm_set(&s->rate_words[BUCKET].hint, 0);
	intern(s, "window", SHM_RATE_WINDOW, QUOTA, 0, WINDOW);
	intern(s, "table", SHM_RATE_BUCKET, QUOTA, 4, TABLE);
	intern(s, "windows", SHM_RATE_WINDOW, QUOTA, 4, WINDOWS);
	intern(s, "wide", SHM_RATE_BUCKET, 100, 0, WIDE);
	for (uint32_t slot = 1; slot < geo.slots; slot++)
		assert_int_equal(shm_slot_claim(s, SHM_WORKER, 1, 1), slot);
	for (use.rate = TABLE; use.rate <= WINDOWS; use.rate++) {
		for (uint32_t i = 0; i < QUOTA; i++)
			assert_true(ask(s, 3, use.rate, KEY(1)) && ask(s, 3, use.rate, KEY(2)));
		/* Given away from between NOW and LATER on: of a bucket one is 20 s. */
		assert_true(charge(s, 3, &use, 1,
				   use.rate == TABLE ? LATER - 21 * SECOND - 500 : 1));
	}
}

/* ---- rules ---- */

/* Ways of the table in which the key is. */
static uint32_t ways_of(const struct shm *s, uint32_t table, uint64_t key, uint32_t *ret_claims)
{
	const struct shm_rate_set *set = &s->rate_sets[shm_get(&s->rates[table].first_set)];
	uint32_t n = 0;

	*ret_claims = 0;
	for (uint32_t i = 0; i < RATE_WAYS; i++) {
		bool claim = rate_is_pending(shm_get(&set->way[i].state));

		n += shm_get(&set->way[i].key) == key && !claim;
		*ret_claims += claim;
	}
	return n;
}

static void check_tables(const struct shm *s, bool recovered)
{
	uint32_t claims;

	for (uint32_t t = TABLE; t <= WINDOWS; t++) {
		for (uint32_t key = 0; key < 6; key++)
			assert_true(ways_of(s, t, KEY(key), &claims) <= 1);
		if (recovered)
			assert_int_equal(claims, 0);
		assert_false(ask((struct shm *)s, 3, t, KEY(1)));
		assert_false(ask((struct shm *)s, 3, t, KEY(2)));
	}
}

static uint32_t rule_rate;      /* what the operation charges */
static uint32_t rule_times = 1; /* how often it charges that at once */
static bool rule_others_first;

/* How many there are left for slot 3. */
static uint32_t rest(struct shm *s, uint32_t rate)
{
	uint32_t n = 0;

	while (ask(s, 3, rate, KEY(0)))
		n++;
	return n;
}

static void recover_twice(struct shm *c)
{
	char *once = malloc(c->size);

	assert_non_null(once);
	shm_slot_recover(c, 1);
	memcpy(once, c->base, c->size);
	shm_slot_recover(c, 1);
	assert_memory_equal(once, c->base, c->size);
	free(once);
}

static void check_rest(struct shm *c, uint32_t rate)
{
	uint32_t left;

	check_tables(c, false);
	left = rest(c, rate);
	assert_in_range(left + shm_get(most(c, 1)), QUOTA + 1 - rule_times, QUOTA + 1);
	assert_true(left + shm_get(least(c, 1)) <= QUOTA);
}

static void rule(struct shm *c, const struct shm *before)
{
	(void)before;
	if (rule_others_first)
		check_rest(c, rule_rate);
	recover_twice(c);
	check_tables(c, true);
	if (!rule_others_first)
		check_rest(c, rule_rate);
	assert_int_equal(rest(c, rule_rate), 0);
}

static void step_one(operation_f *op, uint32_t rate, unsigned states)
{
	for (int others_first = 0; others_first < 2; others_first++) {
		struct shm s;
		unsigned n;

		prepare(&s);
		rule_rate = rate;
		rule_others_first = others_first;
		n = each_step(&s, op, rule);
		fake_fini(&s);
		print_message("%u states\n", n);
		need_states(n, states);
	}
}

static void test_bucket(void **state) { (void)state; step_one(op_bucket, BUCKET, 11); }
static void test_window(void **state) { (void)state; step_one(op_window, WINDOW, 11); }
static void test_insert(void **state) { (void)state; step_one(op_insert, TABLE, 10); }
static void test_insert_window(void **s) { (void)s; step_one(op_insert_window, WINDOWS, 10); }
static void test_refund(void **state) { (void)state; step_one(op_refund, BUCKET, 14); }
static void test_refund_key(void **state) { (void)state; step_one(op_refund_key, TABLE, 18); }

/* Several limits: each of them keeps to it. */
static void test_lose(void **state)
{
	(void)state;
	step_one(op_lose, BUCKET, 20);
	step_one(op_lose, WINDOW, 20);
	rule_times = 2; /* the third is refused */
	step_one(op_lose, TABLE, 20);
	rule_times = 1;
}

/* What one limit refuses leaves no trace in another one, at no moment. */
static void op_refused(struct shm *s)
{
	struct shm_rate_use uses[2] = {{.rate = BUCKET}, {.rate = TABLE, .hash = KEY(1)}};

	charge_written(s, 1, uses, 2, 2);
}

static void rule_refused(struct shm *c, const struct shm *before)
{
	assert_int_equal(shm_get(&c->rate_words[BUCKET].state),
			 shm_get(&before->rate_words[BUCKET].state));
	assert_int_equal(shm_get(least(c, 1)), 0);
}

static void test_refused(void **state)
{
	struct shm s;
	unsigned n;

	(void)state;
	prepare(&s);
	n = each_step(&s, op_refused, rule_refused);
	fake_fini(&s);
	need_states(n, 4);
}

/* Claims of slot 1 go, those of slot 2 stay, however far recovery came. */
static void rule_recover(struct shm *c, const struct shm *before)
{
	uint32_t claims;

	(void)before;
	recover_twice(c);
	(void)ways_of(c, TABLE, KEY(0), &claims);
	assert_int_equal(claims, 1);
	(void)ways_of(c, WINDOWS, KEY(0), &claims);
	assert_int_equal(claims, 0);
	assert_int_equal(shm_get(&c->rate_slots[1].claims), 7ULL << 32);
}

static void test_recover(void **state)
{
	struct rate_way *way;
	struct shm s;
	unsigned n;

	(void)state;
	prepare(&s);
	for (uint32_t t = TABLE; t <= WINDOWS; t++) {
		way = s.rate_sets[shm_get(&s.rates[t].first_set)].way;
		for (uint32_t i = 0; i < RATE_WAYS; i++) {
			bool others = t == TABLE && i == 2;

			shm_set(&way[i].key, KEY(i));
			shm_set(&way[i].state, rate_pending(others ? 2 : 1, i));
		}
	}
	shm_set(&s.rate_slots[1].claims, 7ULL << 32 | 3);
	n = each_step(&s, op_recover, rule_recover);
	fake_fini(&s);
	need_states(n, 8);
}

/* ---- two processes ---- */

/* Both are through: nothing is lost, and nothing was admitted twice. */
static void check_both(struct shm *s)
{
	uint64_t had = shm_get(least(s, 1)) + shm_get(least(s, 2));

	assert_int_equal(shm_get(most(s, 1)), shm_get(least(s, 1)));
	assert_int_equal(shm_get(most(s, 2)), shm_get(least(s, 2)));
	check_tables(s, true);
	assert_int_equal(had + rest(s, TABLE), QUOTA);
	assert_int_equal(shm_get(&s->rate_slots[1].claims) & UINT32_MAX, 0);
	assert_int_equal(shm_get(&s->rate_slots[2].claims) & UINT32_MAX, 0);
}

/* Before or after an instruction that changes the segment? */
static bool is_change(const struct path *path, unsigned at)
{
	for (unsigned i = 0; i < path->nchanges; i++)
		if (path->change[i] == at || path->change[i] == at + 1)
			return true;
	return false;
}

/* `a` is stopped before its instructions in turn, `b` comes and goes. Not before each one: but
 * always before and after one that changes the segment. */
static void interrupt(operation_f *a, operation_f *b, rule_f *check)
{
	static struct path path;
	unsigned stops = 0;

	find_path(prepare, a, &path);
	for (unsigned at = 0; at < path.steps; at++) {
		struct shm s;
		pid_t pid;
		bool on;

		if (!is_tried(at, path.steps, STOPS) && !is_change(&path, at))
			continue;
		stops++;
		prepare(&s);
		pid = step_begin_plain(&s, a);
		on = go_to(pid, spot_at(&path, at));
		b(&s);
		if (on)
			step_finish(pid);
		check(&s, NULL);
		fake_fini(&s);
	}
	print_message("stopped before %u of %u instructions\n", stops, path.steps);
	assert_true(stops >= STOPS);
}

static void rule_both(struct shm *s, const struct shm *before)
{
	(void)before;
	check_both(s);
}

static void test_interrupt_insert(void **state)
{
	(void)state;
	slot_now[1] = NOW;
	interrupt(op_insert_once, op_insert_all_2, rule_both);
	slot_now[1] = LATER;
}

/* Key 0 takes the place of key 3, or finds it taken, while key 3 comes back. */
static void op_evict(struct shm *s)
{
	several(s, 1, TABLE, 0, 1);
	several(s, 1, TABLE, 4, 1);
}

static void op_come_back(struct shm *s)
{
	several(s, 2, TABLE, 3, 4);
}

static void rule_come_back(struct shm *s, const struct shm *before)
{
	uint32_t claims;

	(void)before;
	check_tables(s, true);
	/* What key 3 was admitted is all it gets, if there was room for it. */
	if (shm_get(least(s, 2)) > 0) {
		assert_int_equal(shm_get(least(s, 2)), QUOTA);
		assert_int_equal(ways_of(s, TABLE, KEY(3), &claims), 1);
		assert_false(ask(s, 3, TABLE, KEY(3)));
	}
}

static void test_interrupt_evict(void **state)
{
	(void)state;
	interrupt(op_evict, op_come_back, rule_come_back);
}

/* Key 3 comes back, stopped anywhere, while its place is given to others. */
static void op_back_once(struct shm *s) { several(s, 1, TABLE, 3, 1); }

static void op_fill(struct shm *s)
{
	for (uint32_t key = 0; key < 6; key++)
		(void)ask(s, 2, TABLE, KEY(key == 3 ? 0 : key));
}

static void rule_fill(struct shm *s, const struct shm *before)
{
	uint32_t claims;

	(void)before;
	check_tables(s, true);
	/* It was admitted: then there is an entry that says so. */
	if (shm_get(least(s, 1)) == 1)
		assert_int_equal(ways_of(s, TABLE, KEY(3), &claims), 1);
}

static void test_interrupt_back(void **state)
{
	(void)state;
	interrupt(op_back_once, op_fill, rule_fill);
}

/* The same, while its place goes to a key that is spent at once: that is not taken for its own. */
static void op_spend(struct shm *s)
{
	several(s, 2, TABLE, 0, 3);
	several(s, 2, TABLE, 4, 3);
}

static void rule_spend(struct shm *s, const struct shm *before)
{
	struct shm_rate_view v;

	rule_fill(s, before);
	assert_true(shm_rate_read(s, TABLE, &v));
	assert_int_equal(shm_get(least(s, 1)) + v.overflowed >= 1, 1);
}

static void test_interrupt_spent(void **state)
{
	(void)state;
	interrupt(op_back_once, op_spend, rule_spend);
}

/* A refund, while others are charged: never one too many. */
static void op_charge_refund(struct shm *s)
{
	struct shm_rate_use use = {.rate = BUCKET};

	if (!charge(s, 1, &use, 1, NOW - 10 * SECOND))
		return;
	shm_rate_refund(s, &use, 1);
}

static void op_later(struct shm *s)
{
	several(s, 2, BUCKET, 0, 1);
}

static void rule_refunded(struct shm *s, const struct shm *before)
{
	uint32_t left = rest(s, BUCKET);
	uint64_t full = shm_get(&s->rate_words[BUCKET].state);

	(void)before;
	/* Slot 2 was charged at LATER, and one is 20 s: whatever became of the other charge, it
	 * owed that from then on. */
	assert_in_range(left, QUOTA - 2, QUOTA - 1);
	assert_true(full - left * 20 * SECOND >= LATER + 20 * SECOND);
}

static void test_interrupt_refund(void **state)
{
	(void)state;
	interrupt(op_charge_refund, op_later, rule_refunded);
	no_hint = true;
	interrupt(op_charge_refund, op_later, rule_refunded);
	no_hint = false;
}

/* Moment k of a path: before (even) or after a change. */
static struct spot change_spot(const struct path *path, unsigned k)
{
	return spot_at(path, path->change[k / 2] - (k % 2 == 0));
}

static void do_pair(struct spot at_a, struct spot at_b, bool a_first)
{
	struct shm s;
	pid_t pa, pb;
	bool a_on, b_on;

	prepare(&s);
	pa = step_begin_plain(&s, op_insert_once);
	a_on = go_to(pa, at_a);
	pb = step_begin_plain(&s, op_insert_once_2);
	b_on = go_to(pb, at_b);
	if (a_on && a_first)
		step_finish(pa);
	if (b_on)
		step_finish(pb);
	if (a_on && !a_first)
		step_finish(pa);
	check_both(&s);
	fake_fini(&s);
}

/* Both make the same entry, in different places since the first one's time is late. They are
 * stopped before or after each change; then one after the other goes to its end. */
static void test_pairs(void **state)
{
	static struct path a, b;
	unsigned pairs = 0;

	(void)state;
	slot_now[1] = NOW;
	find_path(prepare, op_insert_once, &a);
	find_path(prepare, op_insert_once_2, &b);
	assert_true(a.nchanges >= 5 && b.nchanges >= 5);
	for (unsigned i = 0; i < 2 * a.nchanges; i++) {
		for (unsigned k = 0; k < 2 * b.nchanges; k++) {
			if (!is_tried(i, 2 * a.nchanges, PAIRS) ||
			    !is_tried(k, 2 * b.nchanges, PAIRS))
				continue;
			do_pair(change_spot(&a, i), change_spot(&b, k), (i + k) % 2 == 0);
			pairs++;
		}
	}
	slot_now[1] = LATER;
	print_message("%u of %u pairs\n", pairs, 4 * a.nchanges * b.nchanges);
}

/* With an argument: only the tests of that name. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bucket),		 cmocka_unit_test(test_window),
		cmocka_unit_test(test_insert),		 cmocka_unit_test(test_insert_window),
		cmocka_unit_test(test_refund),		 cmocka_unit_test(test_refund_key),
		cmocka_unit_test(test_lose),		 cmocka_unit_test(test_recover),
		cmocka_unit_test(test_interrupt_insert), cmocka_unit_test(test_interrupt_evict),
		cmocka_unit_test(test_refused),		 cmocka_unit_test(test_interrupt_spent),
		cmocka_unit_test(test_interrupt_back),	 cmocka_unit_test(test_interrupt_refund),
		cmocka_unit_test(test_pairs),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
