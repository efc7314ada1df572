/* SPDX-License-Identifier: MIT */
/* Histograms: buckets cover all times without gap or overlap, and are at most an eighth wide. */
#include "tests/unit/shm_help.h"

static void test_index(void **state)
{
	uint32_t last = 0;

	(void)state;
	assert_int_equal(shm_hist_index(0), 0);
	for (uint64_t us = 1; us < 1u << 20; us++) {
		uint32_t i = shm_hist_index(us);

		assert_true(i == last || i == last + 1);
		last = i;
	}
	for (unsigned bit = 0; bit < 64; bit++) {
		assert_in_range(shm_hist_index(1ULL << bit), 0, SHM_HIST_BUCKETS - 1);
		assert_true(shm_hist_index((1ULL << bit) - 1) <= shm_hist_index(1ULL << bit));
	}
	assert_int_equal(shm_hist_index(UINT64_MAX), SHM_HIST_BUCKETS - 1);
}

static void test_bounds(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < SHM_HIST_BUCKETS; i++) {
		uint64_t upper = shm_hist_upper_us(i);

		assert_int_equal(shm_hist_index(upper), i);
		if (i + 1 < SHM_HIST_BUCKETS)
			assert_int_equal(shm_hist_index(upper + 1), i + 1);
		if (i > 0) {
			uint64_t lower = shm_hist_upper_us(i - 1) + 1;

			assert_true(upper >= lower);
			assert_true(i < 2 * SHM_HIST_SUB ||
				    (upper - lower + 1) * SHM_HIST_SUB <= lower);
		}
	}
	assert_int_equal(shm_hist_upper_us(SHM_HIST_BUCKETS - 1), (1ULL << 34) - 1);
	assert_int_equal(shm_hist_upper_us(UINT32_MAX), (1ULL << 34) - 1);
}

static void test_quantiles(void **state)
{
	static struct shm_hist h;
	struct shm_hist_sum s = {0};

	(void)state;
	assert_int_equal(shm_hist_quantile_us(&s, 0.5), 0);
	for (uint64_t us = 1; us <= 1000; us++)
		shm_hist_add(&h, us, 1);
	shm_hist_merge(&s, &h);
	assert_int_equal(s.count, 1000);
	assert_int_equal(s.sum_us, 500500);
	for (int percent = 1; percent <= 100; percent++) {
		uint64_t exact = (uint64_t)percent * 10;
		uint64_t got = shm_hist_quantile_us(&s, percent / 100.0);

		assert_true(got >= exact && got <= exact + exact / 8 + 1);
	}
	assert_int_equal(shm_hist_quantile_us(&s, 0), 1);
	assert_int_equal(shm_hist_quantile_us(&s, -1), 1);
	assert_int_equal(shm_hist_quantile_us(&s, 0.0 / 0.0 * -1), 1);
	assert_int_equal(shm_hist_quantile_us(&s, 2), 1023);
	shm_hist_merge(&s, &h);
	assert_int_equal(s.count, 2000);
}

static void test_times(void **state)
{
	static struct shm_hist h;
	struct shm_hist_sum s = {0};

	(void)state;
	shm_hist_add(&h, 5, 3);
	shm_hist_add(&h, 100, 1);
	shm_hist_merge(&s, &h);
	assert_int_equal(s.count, 4);
	assert_int_equal(s.sum_us, 115);
	assert_int_equal(shm_hist_quantile_us(&s, 0.75), 5);
	assert_int_equal(shm_hist_quantile_us(&s, 0.76), shm_hist_upper_us(shm_hist_index(100)));
}

static void test_garbage(void **state)
{
	static struct shm_hist h;
	uint64_t seed = 3;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		struct shm_hist_sum s = {0};

		fill_random(&h, sizeof(h), &seed);
		shm_hist_merge(&s, &h);
		for (int q = 0; q <= 10; q++)
			assert_true(shm_hist_quantile_us(&s, q / 10.0) < 1ULL << 34);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_index),	  cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_quantiles), cmocka_unit_test(test_times),
		cmocka_unit_test(test_garbage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
