/* SPDX-License-Identifier: MIT */
/* Histories: newest first, the last N, whole records only. */
#include "tests/unit/shm_help.h"

static void test_exits(void **state)
{
	struct shm s;
	struct shm_exit e;

	(void)state;
	fake_init(&s, &small_geo);
	assert_false(shm_exit_read(&s, 0, &e));
	for (int n = 1; n <= 10; n++) {
		struct shm_exit x = {.pid = n, .slot = 1, .signal = 9, .reason = "killed",
				     .path = "/x", .requests = 100};

		shm_exit_add(&s, &x);
		for (int i = 0; i < 6; i++) {
			bool any = shm_exit_read(&s, (uint32_t)i, &e);

			assert_int_equal(any, i < n && i < 4);
			if (!any)
				continue;
			assert_int_equal(e.pid, n - i);
			assert_string_equal(e.reason, "killed");
			assert_string_equal(e.path, "/x");
			assert_int_equal(e.requests, 100);
		}
	}
	assert_int_equal(shm_get(&s.inst->exit_count), 10);
	assert_false(shm_exit_read(&s, UINT32_MAX, &e));
	fake_fini(&s);
}

static void test_events(void **state)
{
	struct shm s;
	struct shm_event e;
	char text[1000];

	(void)state;
	fake_init(&s, &small_geo);
	assert_false(shm_event_read(&s, 0, &e));
	memset(text, 't', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	shm_event_add(&s, "reload_failed", "because");
	shm_event_add(&s, text, text);
	assert_true(shm_event_read(&s, 1, &e));
	assert_string_equal(e.kind, "reload_failed");
	assert_string_equal(e.text, "because");
	assert_true(e.wall_ns > 0);
	assert_true(shm_event_read(&s, 0, &e));
	assert_int_equal(strlen(e.kind), sizeof(e.kind) - 1);
	assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
	assert_false(shm_event_read(&s, 2, &e));
	fake_fini(&s);
}

/* The master is killed in the middle: the record that it was at is gone, the others are not. */
static void test_half_written(void **state)
{
	struct shm s;
	struct shm_exit e, x = {.pid = 7};

	(void)state;
	fake_init(&s, &small_geo);
	for (int i = 0; i < 5; i++)
		shm_exit_add(&s, &x);
	shm_set(&s.exits[SHM_EXIT_WORDS * 1], 2 * 6 + 1); /* number 5, over number 1 */
	assert_true(shm_exit_read(&s, 0, &e));
	assert_true(shm_exit_read(&s, 2, &e));
	assert_false(shm_exit_read(&s, 3, &e));
	shm_exit_add(&s, &x);
	assert_true(shm_exit_read(&s, 0, &e));
	fake_fini(&s);
}

/* A writer at full speed in another process: every record that is read is of one piece. */
static void test_concurrent(void **state)
{
	struct shm s;
	struct shm_event e;
	uint64_t end = clock_mono_ns() + 300 * NS_PER_MS;
	unsigned seen = 0;
	pid_t pid;

	(void)state;
	fake_init(&s, &small_geo);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		char text[sizeof(e.text)];

		for (unsigned n = 0;; n++) {
			memset(text, 'a' + (int)(n % 26), sizeof(text));
			text[1 + n % (sizeof(text) - 1)] = '\0';
			text[sizeof(text) - 1] = '\0';
			shm_event_add(&s, text, text);
		}
	}
	while (clock_mono_ns() < end) {
		if (!shm_event_read(&s, (uint32_t)(seen % 4), &e))
			continue;
		seen++;
		for (const char *p = e.text; *p; p++)
			assert_int_equal(*p, e.kind[0]);
	}
	kill_child(pid);
	assert_true(seen > 10);
	fake_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exits),
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_half_written),
		cmocka_unit_test(test_concurrent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
