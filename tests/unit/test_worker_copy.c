/* SPDX-License-Identifier: MIT */
/* What user code forks off a worker has nothing of the worker's; what it starts otherwise works. */
#include <fcntl.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>

#include "base/copy.h"
#include "base/loop.h"
#include "shm/dump.h"
#include "tests/unit/shm_help.h"
#include "worker/copy.h"

static struct shm seg;
static int slot_efd[3], fds[8], nfds;
static struct heritage_listener listener;
static struct heritage h = {.shm = &seg, .slot = 1, .nlisteners = 1, .listeners = &listener,
			    .slot_efd = slot_efd};
static struct loop *loop;

static int some_fd(void)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	assert_true(fd >= 0);
	fds[nfds++] = fd;
	return fd;
}

static int setup(void **state)
{
	int term;

	(void)state;
	fake_init(&seg, &small_geo);
	for (int i = 0; i < 3; i++)
		slot_efd[i] = some_fd();
	h.master_efd = some_fd();
	h.lifeline_fd = some_fd();
	h.control_fd = some_fd();
	listener.fd = some_fd();
	term = some_fd();
	assert_int_equal(loop_init(&loop, 1), 0);
	copy_guard(&h, loop, NULL, term);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	copy_guard_end();
	loop_free(loop);
	for (int i = 0; i < nfds; i++)
		assert_int_equal(close(fds[i]), 0);
	fake_fini(&seg);
	return 0;
}

static int exit_of(pid_t pid)
{
	int status;

	assert_true(pid >= 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* 0, or the number of what is wrong. */
static int look_around(int epfd)
{
	struct shm_slot *slot = shm_slot(&seg, 1);

	if (!copy_is())
		return 1;
	for (int i = 0; i < nfds; i++)
		if (fcntl(fds[i], F_GETFD) >= 0)
			return 2;
	if (fcntl(epfd, F_GETFD) >= 0)
		return 3;
	if (shm_get(&slot->requests_life) != 0)
		return 4; /* not the segment */
	shm_set(&slot->requests_life, 99);
	return 0;
}

static void test_a_copy_has_nothing(void **state)
{
	int epfd = loop_fd(loop);
	pid_t pid;

	(void)state;
	shm_set(&shm_slot(&seg, 1)->requests_life, 7);
	pid = fork();
	if (pid == 0)
		_exit(look_around(epfd));
	assert_int_equal(exit_of(pid), 0);
	assert_int_equal(shm_get(&shm_slot(&seg, 1)->requests_life), 7);
	assert_false(copy_is());
	assert_true(fcntl(epfd, F_GETFD) >= 0);
}

static void test_a_copy_that_comes_back_ends(void **state)
{
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		copy_check();
		_exit(1);
	}
	copy_check(); /* nothing happens to us */
	assert_int_equal(exit_of(pid), 70);
}

/* By the bare system call nobody is told of it; it ends all the same. */
static void test_a_copy_of_the_bare_system_call(void **state)
{
	pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	(void)state;
	if (pid == 0) {
		copy_check();
		_exit(1);
	}
	assert_false(copy_is());
	assert_int_equal(exit_of(pid), 70);
}

/* A copy is a process of its own: it may fork, too, and dies by the usual signals. */
static void test_a_copy_of_a_copy(void **state)
{
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		pid_t again = fork();
		int status = 1;

		if (again == 0)
			_exit(copy_is() ? 3 : 4);
		waitpid(again, &status, 0);
		_exit(WEXITSTATUS(status));
	}
	assert_int_equal(exit_of(pid), 3);
	pid = fork();
	if (pid == 0)
		for (;;)
			pause();
	assert_int_equal(kill(pid, SIGTERM), 0);
	assert_int_equal(exit_of(pid), 128 + SIGTERM);
}

extern char **environ;

static void test_programs_can_be_started(void **state)
{
	char *argv[] = {(char *)"sh", (char *)"-c", (char *)"exit 5", NULL}, word[16] = "";
	FILE *f = popen("echo hello", "r");
	pid_t pid;

	(void)state;
	assert_non_null(f);
	assert_non_null(fgets(word, sizeof(word), f));
	assert_string_equal(word, "hello\n");
	assert_int_equal(pclose(f), 0);
	assert_int_equal(WEXITSTATUS(system("exit 4")), 4);
	assert_int_equal(posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ), 0);
	assert_int_equal(exit_of(pid), 5);
	assert_false(copy_is());
	for (int i = 0; i < nfds; i++)
		assert_true(fcntl(fds[i], F_GETFD) >= 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_copy_has_nothing),
		cmocka_unit_test(test_a_copy_that_comes_back_ends),
		cmocka_unit_test(test_a_copy_of_the_bare_system_call),
		cmocka_unit_test(test_a_copy_of_a_copy),
		cmocka_unit_test(test_programs_can_be_started),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
