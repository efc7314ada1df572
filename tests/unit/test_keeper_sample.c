/* SPDX-License-Identifier: MIT */
/* What is read out of /proc. */
#include "tests/unit/shm_help.h"

#include <sys/prctl.h>

#include "keeper/sample.h"

static const struct shm_geometry geo = {
	.slots = 4, .rows = 4, .routes = 2, .series = 64, .errors = 32,
	.ring_bytes = 512,
	.exits = 4, .events = 4,
};

static void test_parse(void **state)
{
	uint64_t ticks;
	char st;

	(void)state;
	assert_true(sample_parse_stat("12 (capricorn-w1) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14", &st,
				      &ticks));
	assert_int_equal(st, 'S');
	assert_int_equal(ticks, 11 + 12);
	assert_true(sample_parse_stat("12 (a) R 9 ) (\n) Z 1 2 3 4 5 6 7 8 9 10 1000 1 0 0", &st,
				      &ticks));
	assert_int_equal(st, 'Z');
	assert_int_equal(ticks, 1001);
	assert_false(sample_parse_stat("", &st, &ticks));
	assert_false(sample_parse_stat("12 (a", &st, &ticks));
	assert_false(sample_parse_stat("12 (a) S 1 2 3", &st, &ticks));
	assert_false(sample_parse_stat("12 (a) S 1 2 3 4 5 6 7 8 9 10 x y", &st, &ticks));
}

static void take_slot(struct shm *s, pid_t pid)
{
	int i = shm_slot_claim(s, SHM_WORKER, 1, clock_mono_ns());

	assert_true(i > 0);
	shm_set(&shm_slot(s, (uint32_t)i)->pid, pid);
}

static void test_sample(void **state)
{
	struct sample *sample;
	struct shm s;
	struct heritage h = {.shm = &s};
	struct shm_slot *me;

	(void)state;
	fake_init(&s, &geo);
	take_slot(&s, getpid());
	take_slot(&s, INT32_MAX); /* nobody */
	take_slot(&s, -5);        /* garbage */
	me = shm_slot(&s, 1);
	assert_int_equal(sample_new(&h, &sample), 0);
	sample_all(sample, clock_mono_ns());
	assert_true(shm_get(&me->rss_bytes) > 100000);
	assert_int_equal(shm_get(&me->busy_ppm), 0);
	spin_us(60000);
	sample_all(sample, clock_mono_ns());
	assert_true(shm_get(&me->cpu_ns) > 0);
	assert_true(shm_get(&me->busy_ppm) > 1000); /* busy, as far as the machine let it */
	assert_int_equal(shm_get(&shm_slot(&s, 2)->rss_bytes), 0);
	sample_free(sample);
	fake_fini(&s);
}

static void test_others(void **state)
{
	struct shm s;
	struct heritage h = {.shm = &s};
	siginfo_t info;
	pid_t pid;

	(void)state;
	fake_init(&s, &geo);
	assert_false(sample_others_live(&h));
	take_slot(&s, getpid());
	assert_false(sample_others_live(&h));
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	take_slot(&s, pid);
	assert_true(sample_others_live(&h));
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	assert_false(sample_others_live(&h)); /* a zombie */
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_false(sample_others_live(&h));
	fake_fini(&s);
}

static void test_private_memory(void **state)
{
	uint64_t n = 1;

	(void)state;
	assert_true(sample_parse_private("Name:\tRssAnon:\nVmRSS:\t 900 kB\nRssAnon:\t     140 kB\n"
					 "RssFile:\t 5 kB\n", &n));
	assert_int_equal(n, 140 * 1024);
	assert_false(sample_parse_private("Name:\tRssAnon: 5 kB\n", &n));
	assert_false(sample_parse_private("", &n));
	assert_false(sample_parse_private("\nRssAnon:\tmany kB\n", &n));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse), cmocka_unit_test(test_sample),
		cmocka_unit_test(test_others),
		cmocka_unit_test(test_private_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
