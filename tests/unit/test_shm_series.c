/* SPDX-License-Identifier: MIT */
/* Series: every request is in exactly one, whatever finds no room. */
#include "tests/unit/shm_help.h"

static uint64_t sum(const struct shm *s, uint32_t slot, uint32_t *ret_used)
{
	struct shm_series_view v;
	uint64_t total = 0;

	*ret_used = 0;
	for (uint32_t i = 0; i < s->geo.series; i++) {
		if (shm_series_read(s, slot, i, &v)) {
			total += v.count;
			++*ret_used;
		}
	}
	return total;
}

static uint64_t count_of(const struct shm *s, uint32_t slot, uint32_t route, uint32_t method,
			 uint32_t code)
{
	struct shm_series_view v;
	uint64_t total = 0;

	for (uint32_t i = 0; i < s->geo.series; i++)
		if (shm_series_read(s, slot, i, &v) && v.route == route && v.method == method &&
		    v.code == code)
			total += v.count;
	return total;
}

static void test_key(void **state)
{
	uint64_t seed = 1;

	(void)state;
	assert_true(shm_series_key(0, 0, 0) != 0);
	for (int i = 0; i < 1000; i++) {
		uint32_t want[3] = {rnd(&seed) & 0xffffff, rnd(&seed) & 0xff, rnd(&seed) & 0xffff};
		uint32_t r, m, c;

		shm_series_split(shm_series_key(want[0], want[1], want[2]), &r, &m, &c);
		assert_int_equal(r, want[0]);
		assert_int_equal(m, want[1]);
		assert_int_equal(c, want[2]);
	}
}

static void test_add(void **state)
{
	struct shm s;
	uint32_t used;

	(void)state;
	fake_init(&s, &small_geo);
	shm_series_add(&s, 1, 2, 3, 200, 1);
	shm_series_add(&s, 1, 2, 3, 200, 4);
	shm_series_add(&s, 1, 2, 3, 404, 1);
	shm_series_add(&s, 2, 2, 3, 200, 7);
	assert_int_equal(count_of(&s, 1, 2, 3, 200), 5);
	assert_int_equal(count_of(&s, 1, 2, 3, 404), 1);
	assert_int_equal(count_of(&s, 2, 2, 3, 200), 7);
	assert_int_equal(sum(&s, 0, &used), 0);
	assert_int_equal(sum(&s, 1, &used), 6);
	assert_int_equal(used, 2);
	assert_int_equal(shm_get(&s.slots[1].c.series_missing), 0);
	fake_fini(&s);
}

/* More series than room: totals stay exact, what has a place keeps it, the rest is "other". */
static void test_overflow(void **state)
{
	struct shm s;
	uint64_t total = 0;
	uint32_t used;

	(void)state;
	fake_init(&s, &small_geo);
	shm_series_add(&s, 1, 1, 1, 200, 1);
	total++;
	for (uint32_t round = 0; round < 3; round++)
		for (uint32_t code = 100; code < 1000; code++, total++)
			shm_series_add(&s, 1, 3, code % 7, code, 1);
	shm_series_add(&s, 1, 1, 1, 200, 1);
	total++;
	assert_int_equal(sum(&s, 1, &used), total);
	assert_int_equal(count_of(&s, 1, 1, 1, 200), 2);
	assert_true(shm_get(&s.slots[1].c.series_missing) > 0);
	assert_true(count_of(&s, 1, 0, 0, 500) > 0);
	assert_true(used <= s.geo.series);
	fake_fini(&s);
}

/* A code that is none must not be lost from memory safety's point of view. */
static void test_odd_codes(void **state)
{
	struct shm s;
	struct shm_geometry g = small_geo;

	(void)state;
	g.series = SHM_SERIES_SPARE + 1;
	fake_init(&s, &g);
	for (uint32_t code = 0; code < 70000; code += 13)
		shm_series_add(&s, 2, code, code, code, 1);
	fake_fini(&s);
}

static uint64_t errors_of(const struct shm *s, uint32_t slot, uint32_t route, uint32_t type)
{
	struct shm_series_view v;
	uint64_t n = 0;

	for (uint32_t i = 0; i < s->geo.errors; i++)
		if (shm_error_read(s, slot, i, &v) && v.route == route && v.code == type)
			n += v.count;
	return n;
}

static void test_errors(void **state)
{
	struct shm s;

	(void)state;
	fake_init(&s, &small_geo);
	shm_error_add(&s, 1, 2, SHM_ERR_CLIENT_GONE);
	shm_error_add(&s, 1, 2, SHM_ERR_CLIENT_GONE);
	shm_error_add(&s, 1, 0, SHM_ERR_BAD_REQUEST);
	shm_error_add(&s, 2, 2, SHM_ERR_CLIENT_GONE);
	assert_int_equal(errors_of(&s, 1, 2, SHM_ERR_CLIENT_GONE), 2);
	assert_int_equal(errors_of(&s, 1, 0, SHM_ERR_BAD_REQUEST), 1);
	assert_int_equal(errors_of(&s, 2, 2, SHM_ERR_CLIENT_GONE), 1);
	assert_int_equal(errors_of(&s, 0, 2, SHM_ERR_CLIENT_GONE), 0);
	assert_int_equal(shm_get(&s.slots[1].c.series_missing), 0);
	fake_fini(&s);
}

/* More than there is room for: the sum over a type stays exact, as route 0 in the end. */
static void test_errors_overflow(void **state)
{
	struct shm_geometry g = small_geo;
	uint64_t total[SHM_ERR_COUNT] = {0};
	struct shm s;

	(void)state;
	g.routes = 100;
	fake_init(&s, &g);
	for (uint32_t route = 0; route < g.routes; route++) {
		for (uint32_t type = 0; type < SHM_ERR_COUNT; type++)
			shm_error_add(&s, 1, route, (enum shm_error)type);
	}
	for (uint32_t type = 0; type < SHM_ERR_COUNT; type++) {
		for (uint32_t route = 0; route < g.routes; route++)
			total[type] += errors_of(&s, 1, route, type);
		assert_int_equal(total[type], g.routes);
		assert_true(errors_of(&s, 1, 0, type) > 1);
	}
	assert_true(shm_get(&s.slots[1].c.series_missing) > 0);
	fake_fini(&s);
}

/* Series go on from one owner of a slot to the next. */
static void test_killed_writers(void **state)
{
	struct shm s;
	uint64_t seed = 11, last = 0;

	(void)state;
	fake_init(&s, &small_geo);
	for (int i = 0; i < 50; i++) {
		pid_t pid = fork();
		uint64_t now;
		uint32_t used;

		assert_true(pid >= 0);
		if (pid == 0)
			for (uint64_t n = 1;; n++)
				shm_series_add(&s, 1, n % 4, n % 3, 200 + n % 5, 1);
		for (uint64_t end = clock_mono_ns() + 1000000 + rnd(&seed) % 500000;
		     clock_mono_ns() < end;) {
			now = sum(&s, 1, &used);
			assert_true(now >= last);
			last = now;
		}
		kill_child(pid);
		now = sum(&s, 1, &used);
		assert_true(now >= last && used <= 60);
		last = now;
	}
	assert_true(last > 0);
	fake_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_key),	  cmocka_unit_test(test_add),
		cmocka_unit_test(test_overflow),  cmocka_unit_test(test_odd_codes),
		cmocka_unit_test(test_killed_writers),
		cmocka_unit_test(test_errors),	  cmocka_unit_test(test_errors_overflow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
