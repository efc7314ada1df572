/* SPDX-License-Identifier: MIT */
/* Metrics of modules: what names there may be, who gets which cell, what stays and what goes. */
#include "tests/unit/shm_help.h"

#include <errno.h>
#include <pthread.h>

static int intern(struct shm *s, enum shm_metric_kind kind, const char *name, const char *labels,
		  uint32_t *ret)
{
	*ret = 99;
	return shm_module_intern(s, kind, name, labels, "Help.", 1, ret);
}

static void test_same_metric_same_cell(void **state)
{
	struct shm_module_view v;
	struct shm s;
	uint32_t at;

	(void)state;
	fake_init(&s, &small_geo);
	assert_false(shm_module_read(&s, 0, &v));
	assert_int_equal(intern(&s, SHM_MK_COUNTER, "a_total", "k=\"1\"", &at), 0);
	assert_int_equal(at, 0);
	assert_int_equal(intern(&s, SHM_MK_COUNTER, "a_total", "k=\"2\"", &at), 0);
	assert_int_equal(at, 1);
	assert_int_equal(intern(&s, SHM_MK_GAUGE, "b", NULL, &at), 0);
	assert_int_equal(at, 2);
	assert_int_equal(intern(&s, SHM_MK_HISTOGRAM, "c_seconds", "", &at), 0);
	assert_int_equal(at, 0); /* of its own kind */
	assert_int_equal(shm_module_intern(&s, SHM_MK_COUNTER, "a_total", "k=\"1\"", "Other.", 7,
					   &at), 0);
	assert_int_equal(at, 0);

	assert_true(shm_module_read(&s, 0, &v));
	assert_int_equal(v.kind, SHM_MK_COUNTER);
	assert_string_equal(v.name, "a_total");
	assert_string_equal(v.labels, "k=\"1\"");
	assert_string_equal(v.help, "Help.");
	assert_int_equal(v.first_generation, 1);
	assert_int_equal(v.last_generation, 7);
	assert_true(shm_module_read(&s, s.geo.module_metrics, &v));
	assert_int_equal(v.kind, SHM_MK_HISTOGRAM);
	assert_int_equal(v.index, 0);
	assert_false(shm_module_read(&s, 3, &v));
	assert_false(shm_module_read(&s, shm_module_entries(&s), &v));
	fake_fini(&s);
}

static void test_other_kinds_are_refused(void **state)
{
	struct shm s;
	uint32_t at;

	(void)state;
	fake_init(&s, &small_geo);
	assert_int_equal(intern(&s, SHM_MK_COUNTER, "a", NULL, &at), 0);
	assert_int_equal(intern(&s, SHM_MK_HISTOGRAM, "h", NULL, &at), 0);
	assert_int_equal(intern(&s, SHM_MK_GAUGE, "a", NULL, &at), -EEXIST);
	assert_int_equal(intern(&s, SHM_MK_HISTOGRAM, "a", "k=\"v\"", &at), -EEXIST);
	assert_int_equal(intern(&s, SHM_MK_COUNTER, "h", NULL, &at), -EEXIST);
	/* These lines would be read as the histogram's. */
	assert_int_equal(intern(&s, SHM_MK_COUNTER, "h_count", NULL, &at), -EEXIST);
	assert_int_equal(intern(&s, SHM_MK_GAUGE, "h_bucket", NULL, &at), -EEXIST);
	assert_int_equal(intern(&s, SHM_MK_COUNTER, "h_counts", NULL, &at), 0);
	assert_int_equal(intern(&s, SHM_MK_COUNTER, "g_sum", NULL, &at), 0);
	assert_int_equal(intern(&s, SHM_MK_HISTOGRAM, "g", NULL, &at), -EEXIST);
	assert_int_equal(at, 99);
	fake_fini(&s);
}

static void test_full(void **state)
{
	struct shm_geometry g = small_geo;
	struct shm s;
	char name[16];
	uint32_t at;

	(void)state;
	fake_init(&s, &g);
	for (uint32_t i = 0; i < g.module_metrics; i++) {
		snprintf(name, sizeof(name), "m%u", i);
		assert_int_equal(intern(&s, SHM_MK_GAUGE, name, NULL, &at), 0);
		assert_int_equal(at, i);
	}
	assert_int_equal(intern(&s, SHM_MK_COUNTER, "more", NULL, &at), -ENOSPC);
	assert_int_equal(intern(&s, SHM_MK_GAUGE, "m3", NULL, &at), 0);
	assert_int_equal(at, 3);
	assert_int_equal(intern(&s, SHM_MK_HISTOGRAM, "h", NULL, &at), 0);
	fake_fini(&s);
	g.module_metrics = g.module_hists = 0;
	fake_init(&s, &g);
	assert_int_equal(intern(&s, SHM_MK_COUNTER, "m", NULL, &at), -ENOSPC);
	assert_int_equal(intern(&s, SHM_MK_HISTOGRAM, "m", NULL, &at), -ENOSPC);
	fake_fini(&s);
}

static void test_names(void **state)
{
	static const char *const bad[] = {
		"", "1a", "a-b", "a b", "a:b", "capricorn_x", "a\n", "\xc3\xa4", "a{}",
		"a2345678901234567890123456789012345678901234567890123456789012345678901234567890x",
	};
	static const char *const good[] = {
		"_", "A9_z", "capricorn", "acapricorn_",
		"a2345678901234567890123456789012345678901234567890123456789012345678901234567890",
	};
	struct shm s;
	uint32_t at;

	(void)state;
	fake_init(&s, &small_geo);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (intern(&s, SHM_MK_COUNTER, bad[i], NULL, &at) != -EINVAL)
			fail_msg("taken: %s", bad[i]);
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (intern(&s, SHM_MK_COUNTER, good[i], NULL, &at) != 0)
			fail_msg("not taken: %s", good[i]);
	assert_int_equal(intern(&s, (enum shm_metric_kind)0, "a", NULL, &at), -EINVAL);
	assert_int_equal(intern(&s, (enum shm_metric_kind)4, "a", NULL, &at), -EINVAL);
	fake_fini(&s);
}

static void test_labels(void **state)
{
	static const char *const bad[] = {
		"a", "a=", "a=1", "a=\"", "a=\"1", "a=\"1\",", ",a=\"1\"", "a=\"1\"b=\"2\"",
		"a=\"1\", b=\"2\"", "a=\"1\",a=\"2\"", "1a=\"1\"", "=\"1\"", "a=\"\n\"",
		"a=\"\\\"", "a=\"\\t\"", "a=\"\xff\"", "le=\"1\"", "__a=\"1\"", "a=\"1\"}",
		"a:b=\"1\"",
		"a=\"1\",bb=\"2\",bb=\"3\"", "a=\"\x7f\"",
	};
	static const char *const good[] = {
		"", "a=\"\"", "a=\"1\",b=\"2\"", "a=\"x,y={}\\\"\\\\\\n\",b=\"\xc3\xa4\"",
		"lee=\"1\",le_=\"2\"",
	};
	char longest[SHM_MODULE_LABELS_MAX] = "a=\"";
	struct shm s;
	uint32_t at;

	(void)state;
	fake_init(&s, &small_geo);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (intern(&s, SHM_MK_COUNTER, "m", bad[i], &at) != -EINVAL)
			fail_msg("taken: %s", bad[i]);
	memset(longest + 3, 'x', 197);
	longest[200] = '"';
	assert_int_equal(intern(&s, SHM_MK_COUNTER, "m", longest, &at), -EINVAL);
	for (size_t i = 1; i < sizeof(good) / sizeof(good[0]); i++)
		if (intern(&s, SHM_MK_COUNTER, "m", good[i], &at) != 0)
			fail_msg("not taken: %s", good[i]);
	longest[199] = '"';
	longest[200] = '\0';
	assert_int_equal(intern(&s, SHM_MK_COUNTER, "m", longest, &at), 0);
	fake_fini(&s);
}

/* Whatever is given as a help comes out as text of at most 160 bytes. */
static void test_help(void **state)
{
	struct shm_module_view v;
	char help[300];
	struct shm s;
	uint32_t at;

	(void)state;
	fake_init(&s, &small_geo);
	memset(help, 'h', sizeof(help) - 1);
	help[sizeof(help) - 1] = '\0';
	memcpy(help + 158, "\xe2\x82\xac", 3); /* three bytes, of which two would fit */
	help[0] = '\x01';
	help[1] = '\xff';
	assert_int_equal(shm_module_intern(&s, SHM_MK_GAUGE, "a", NULL, help, 1, &at), 0);
	assert_true(shm_module_read(&s, 0, &v));
	assert_int_equal(strlen(v.help), 158);
	assert_memory_equal(v.help, "??hh", 4);
	assert_int_equal(shm_module_intern(&s, SHM_MK_GAUGE, "b", NULL, NULL, 1, &at), 0);
	assert_true(shm_module_read(&s, 1, &v));
	assert_string_equal(v.help, "");
	fake_fini(&s);
}

/* Counters and histograms pass on, gauges go with their owner; its siblings' stay. */
static void test_recovery(void **state)
{
	struct shm_hist_sum sum = {0};
	uint32_t counter, gauge, hist;
	struct shm s;

	(void)state;
	fake_init(&s, &small_geo);
	assert_int_equal(intern(&s, SHM_MK_COUNTER, "c", NULL, &counter), 0);
	assert_int_equal(intern(&s, SHM_MK_GAUGE, "g", NULL, &gauge), 0);
	assert_int_equal(intern(&s, SHM_MK_HISTOGRAM, "h", NULL, &hist), 0);
	for (uint32_t slot = 1; slot <= 2; slot++) {
		assert_int_equal(shm_slot_claim(&s, SHM_WORKER, 1, 1), (int)slot);
		atomic_fetch_add(shm_module_cell(&s, slot, counter), 5);
		atomic_store(shm_module_cell(&s, slot, gauge), (uint64_t)-7);
		shm_hist_add_shared(shm_module_hist(&s, slot, hist), 100, 2);
	}
	shm_slot_recover(&s, 1);
	assert_int_equal(shm_get(shm_module_cell(&s, 1, counter)), 5);
	assert_int_equal(shm_get(shm_module_cell(&s, 1, gauge)), 0);
	assert_int_equal((int64_t)shm_get(shm_module_cell(&s, 2, gauge)), -7);
	assert_int_equal(shm_slot_claim(&s, SHM_WORKER, 2, 2), 1);
	assert_int_equal(shm_get(shm_module_cell(&s, 1, counter)), 5);
	shm_hist_merge(&sum, shm_module_hist(&s, 1, hist));
	assert_int_equal(sum.count, 2);
	assert_int_equal(sum.sum_us, 200);
	fake_fini(&s);
}

/* No two cells are the same, and all are in their section. */
static void test_cells(void **state)
{
	struct shm s;
	uint64_t sum = 0;

	(void)state;
	fake_init(&s, &small_geo);
	for (uint32_t slot = 0; slot < s.geo.slots; slot++) {
		assert_int_equal((uintptr_t)shm_module_cell(&s, slot, 0) % SHM_LINE, 0);
		for (uint32_t i = 0; i < s.geo.module_metrics; i++)
			atomic_fetch_add(shm_module_cell(&s, slot, i), 1);
		for (uint32_t i = 0; i < s.geo.module_hists; i++)
			shm_hist_add_shared(shm_module_hist(&s, slot, i), 1, 1);
	}
	for (char *p = (char *)s.module_cells; p < s.base + s.size; p += 8)
		sum += *(uint64_t *)(void *)p;
	/* Each add of a time is two words of 1. */
	assert_int_equal(sum, s.geo.slots * (s.geo.module_metrics + 2 * s.geo.module_hists));
	for (uint32_t slot = 0; slot < s.geo.slots; slot++)
		for (uint32_t i = 0; i < s.geo.module_metrics; i++)
			assert_int_equal(shm_get(shm_module_cell(&s, slot, i)), 1);
	fake_fini(&s);
}

#define THREADS 4
#define ADDS 20000

static void *add_many(void *arg)
{
	struct shm *s = arg;

	for (int i = 0; i < ADDS; i++) {
		atomic_fetch_add_explicit(shm_module_cell(s, 1, 0), 1, memory_order_relaxed);
		shm_hist_add_shared(shm_module_hist(s, 1, 0), 10, 1);
	}
	return NULL;
}

/* Threads of one process write the same cells, and nothing is lost. */
static void test_threads(void **state)
{
	struct shm_hist_sum sum = {0};
	pthread_t thread[THREADS];
	struct shm s;

	(void)state;
	fake_init(&s, &small_geo);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, add_many, &s), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(thread[i], NULL), 0);
	assert_int_equal(shm_get(shm_module_cell(&s, 1, 0)), THREADS * ADDS);
	shm_hist_merge(&sum, shm_module_hist(&s, 1, 0));
	assert_int_equal(sum.count, THREADS * ADDS);
	assert_int_equal(sum.sum_us, 10 * THREADS * ADDS);
	fake_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_metric_same_cell),
		cmocka_unit_test(test_other_kinds_are_refused),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_labels),
		cmocka_unit_test(test_help),
		cmocka_unit_test(test_recovery),
		cmocka_unit_test(test_cells),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
