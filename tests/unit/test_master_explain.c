/* SPDX-License-Identifier: MIT */
/* What the master says of children that hang, are slow, crash or grow: see fake_master.h. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/fake_master.h"

#define SETTINGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_stack_of_a_hung_worker_is_told(void **state)
{
	struct fm f;
	pid_t pid;

	(void)state;
	fm_prepare(&f);
	fm_start_ready(&f, SETTINGS("WEB_WORKERS=1", "WORKER_TIMEOUT=1s",
				    "LOG_SLOW_REQUESTS=no"), 1);
	pid = fm_some_worker(&f);
	f.ctl->spin = pid;
	fm_wait_log(&f, "WORKER TIMEOUT (pid:", 1);
	fm_wait_log(&f, "#0 fake_spin+0x", 1);
	fm_wait_log(&f, " hold+0x", 1);
	fm_wait_log(&f, "was sent SIGABRT! made no progress for WORKER_TIMEOUT", 1);
	assert_int_equal(fm_log_count(&f, "request=the-id method=GET path=/held"), 1);
	assert_int_equal(fm_log_count(&f, "#0 "), 1); /* and not once more by ABRT */
	assert_int_equal(fm_log_count(&f, "SLOW"), 0);
	FM_WAIT(&f, fm_gone(pid) && fm_ready(&f) == 1);
	fm_end(&f);
}

static void test_slow_request_is_explained_once(void **state)
{
	struct fm f;
	uint64_t end;
	pid_t pid;

	(void)state;
	fm_prepare(&f);
	fm_start_ready(&f, SETTINGS("WEB_WORKERS=1", "SLOW_REQUEST_THRESHOLD=300ms"), 1);
	pid = fm_some_worker(&f);
	f.ctl->spin = pid;
	fm_wait_log(&f, "[WARNING] SLOW (pid:", 1);
	fm_wait_log(&f, "#0 fake_spin+0x", 1);
	end = fm_now_ms() + 1500;
	FM_WAIT(&f, fm_now_ms() > end);
	assert_int_equal(fm_log_count(&f, "SLOW (pid:"), 1);
	assert_int_equal(fm_log_count(&f, "request=the-id method=GET path=/held client="), 1);
	f.ctl->spin_until = 1;
	/* The next one is another. */
	f.ctl->sleep = pid;
	fm_wait_log(&f, "SLOW (pid:", 2);
	fm_wait_log(&f, "no stack: asking for it would end a sleep (process=S", 1);
	FM_WAIT(&f, f.ctl->slept != 0);
	assert_int_equal(f.ctl->slept, 1);
	assert_int_equal(f.ctl->workers, 1);
	fm_end(&f);
}

static void test_crash_has_last_words(void **state)
{
	struct fm f;

	(void)state;
	fm_prepare(&f);
	f.ctl->last_words = 1;
	fm_start_ready(&f, SETTINGS("WEB_WORKERS=1"), 1);
	f.ctl->fault = fm_some_worker(&f);
	fm_wait_log(&f, "was sent SIGSEGV! crashed: address 0x10, at GET /held (id the-id", 1);
	fm_wait_log(&f, "#0 fake_fault+0x", 1);
	fm_wait_log(&f, " fake_worker+0x", 1);
	FM_WAIT(&f, fm_ready(&f) == 1);
	fm_end(&f);
}

static void test_large_worker_is_replaced(void **state)
{
	struct fm f;
	uint64_t begun = fm_now_ms();
	pid_t pid;

	(void)state;
	fm_prepare(&f);
	fm_start_ready(&f, SETTINGS("WEB_WORKERS=2", "MAX_WORKER_MEMORY=100m",
				    "MIN_WORKER_LIFETIME=0"), 2);
	pid = fm_some_worker(&f);
	f.ctl->memory = 200 << 20;
	f.ctl->memory_pid = pid;
	fm_wait_log(&f, "MAX_WORKER_MEMORY: a fresh worker", 1);
	fm_wait_log(&f, "MB of private memory, above MAX_WORKER_MEMORY", 1);
	assert_true(fm_now_ms() - begun >= 9000); /* not before it is 10 s old */
	fm_wait_log(&f, "has left: recycled above MAX_WORKER_MEMORY", 1);
	FM_WAIT(&f, fm_gone(pid) && fm_ready(&f) == 2);
	assert_int_equal(f.ctl->workers, 3);
	assert_true(f.ctl->fewest_ready >= 2); /* its replacement came first */
	assert_int_equal(fm_log_count(&f, "MAX_WORKER_MEMORY: a fresh worker"), 1);
	fm_end(&f);
}

/* A loop tells of another thread; and of more than anybody wants to read. */
static void test_reported_threads(void **state)
{
	struct fm f;
	uint64_t end;

	(void)state;
	fm_prepare(&f);
	fm_start_ready(&f, SETTINGS("WEB_WORKERS=1"), 1);
	f.ctl->report = fm_some_worker(&f);
	fm_wait_log(&f, "[CRITICAL] STUCK (pid:", 1);
	fm_wait_log(&f, "request=the-id method=GET path=/held", 1);
	fm_wait_log(&f, "#0 fake_spin+0x", 1);
	fm_wait_log(&f, " thread_main+0x", 1);
	f.ctl->spin_until = 1;
	f.ctl->report_flood = 1;
	end = fm_now_ms() + 2000;
	FM_WAIT(&f, fm_now_ms() > end);
	f.ctl->report_flood = 0;
	assert_in_range(fm_log_count(&f, "] SLOW (pid:"), 4, 16);
	assert_int_equal(f.ctl->workers, 1);
	fm_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stack_of_a_hung_worker_is_told),
		cmocka_unit_test(test_slow_request_is_explained_once),
		cmocka_unit_test(test_crash_has_last_words),
		cmocka_unit_test(test_large_worker_is_replaced),
		cmocka_unit_test(test_reported_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
