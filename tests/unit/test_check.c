/* SPDX-License-Identifier: MIT */
/* base/check.c: a failed check tells its sink and stderr, then aborts; nothing stalls it. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"

static char *shared; /* what the sink was told, seen from the parent */

static void keep(const char *text)
{
	memcpy(shared, text, strlen(text) + 1);
}

static void fail_again(const char *text)
{
	keep(text);
	CHECK(!"the sink is wrong too");
}

/* Runs a failing check in a child whose standard error is fd; returns its wait status. */
static int fail_in_child(int fd, check_sink_f *sink)
{
	int status;
	pid_t pid;

	shared[0] = '\0';
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct rlimit none = {0, 0};

		setrlimit(RLIMIT_CORE, &none);
		signal(SIGABRT, SIG_DFL);
		dup2(fd, STDERR_FILENO);
		alarm(10);
		check_set_sink(sink);
		CHECK(1 + 1 == 3);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void test_true_does_nothing(void **state)
{
	(void)state;
	CHECK(1 + 1 == 2);
}

static void test_tells_sink_and_stderr(void **state)
{
	char line[512] = "";
	int p[2];
	int status;

	(void)state;
	assert_int_equal(pipe(p), 0);
	status = fail_in_child(p[1], keep);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
	assert_non_null(strstr(shared, "test_check.c:"));
	assert_non_null(strstr(shared, ": check failed: 1 + 1 == 3"));
	assert_true(read(p[0], line, sizeof(line) - 1) > 0);
	assert_int_equal(strncmp(line, shared, strlen(shared)), 0);
	assert_int_equal(line[strlen(shared)], '\n');
	close(p[0]);
	close(p[1]);
}

static void test_without_sink(void **state)
{
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	int status = fail_in_child(fd, NULL);

	(void)state;
	assert_int_equal(WTERMSIG(status), SIGABRT);
	assert_string_equal(shared, "");
	close(fd);
}

static void test_failing_sink_runs_once(void **state)
{
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	int status = fail_in_child(fd, fail_again);

	(void)state;
	assert_int_equal(WTERMSIG(status), SIGABRT);
	assert_non_null(strstr(shared, "1 + 1 == 3"));
	close(fd);
}

static void test_stalled_stderr_does_not_keep_it(void **state)
{
	char full[4096];
	int p[2];
	int status;

	(void)state;
	assert_int_equal(pipe(p), 0);
	memset(full, 'x', sizeof(full));
	assert_int_equal(fcntl(p[1], F_SETFL, O_NONBLOCK), 0);
	while (write(p[1], full, sizeof(full)) > 0)
		;
	assert_int_equal(fcntl(p[1], F_SETFL, 0), 0);
	status = fail_in_child(p[1], keep);
	assert_int_equal(WTERMSIG(status), SIGABRT); /* not SIGALRM */
	close(p[0]);
	close(p[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_true_does_nothing),
		cmocka_unit_test(test_tells_sink_and_stderr),
		cmocka_unit_test(test_without_sink),
		cmocka_unit_test(test_failing_sink_runs_once),
		cmocka_unit_test(test_stalled_stderr_does_not_keep_it),
	};

	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
