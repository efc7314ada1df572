/* SPDX-License-Identifier: MIT */
/* One generation has one code: how the master copies a module, and to whom it hands the copy. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#include "master/master_priv.h"
#include "tests/unit/fake_master.h"

#define SETTINGS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define GIB (1ll << 30)

/* ---- the copy ---- */

#define FILE_BYTES (48 << 20) /* it takes many milliseconds to copy */

static char path[40];
static int file_fd = -1;
static volatile sig_atomic_t changes_left;

static int make_file(void **state)
{
	(void)state;
	snprintf(path, sizeof(path), "/tmp/capricorn-module-XXXXXX");
	file_fd = mkstemp(path);
	return file_fd >= 0 ? 0 : -1;
}

static int remove_file(void **state)
{
	(void)state;
	close(file_fd);
	return unlink(path);
}

/* Somebody writes into the file: its time moves on, whatever the kernel's clock does. */
static void touch(int sig)
{
	static long ns;
	struct timespec t[2] = {{0}};

	(void)sig;
	if (changes_left <= 0)
		return;
	changes_left--;
	t[0].tv_nsec = t[1].tv_nsec = ++ns % 1000000000;
	(void)!pwrite(file_fd, &ns, sizeof(ns), FILE_BYTES - 4096);
	futimens(file_fd, t);
}

static void set_timer(int us)
{
	struct itimerval every = {.it_interval.tv_usec = us, .it_value.tv_usec = us};

	assert_int_equal(setitimer(ITIMER_REAL, &every, NULL), 0);
}

static int copy(const char *name, int *ret_fd, char *why, size_t cap)
{
	struct conf c = {.app = CONF_APP_MODULE, .app_path = name};
	struct master m = {.start_dir = AT_FDCWD};

	return master_module_copy(&m, &c, ret_fd, why, cap);
}

static void test_file_that_changes_is_refused(void **state)
{
	char why[400], want[400], link[64], target[300];
	struct stat st;
	ssize_t len;
	int fd;

	(void)state;
	assert_int_equal(ftruncate(file_fd, FILE_BYTES), 0);
	signal(SIGALRM, touch);
	changes_left = 1 << 30;
	set_timer(500);
	assert_int_equal(copy(path, &fd, why, sizeof(why)), -1);
	assert_int_equal(fd, -1);
	snprintf(want, sizeof(want), "APP: cannot copy the module %s: somebody is writing it; put "
		 "a new file in its place by renaming it (mv)", path);
	assert_string_equal(why, want);
	/* It stops while the file is copied: then it is read again. */
	changes_left = 1;
	assert_int_equal(copy(path, &fd, why, sizeof(why)), 0);
	set_timer(0);
	assert_int_equal(changes_left, 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, FILE_BYTES);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, target, sizeof(target) - 1);
	assert_true(len > 0);
	target[len] = '\0';
	snprintf(want, sizeof(want), "/memfd:%s (deleted)", strrchr(path, '/') + 1);
	assert_string_equal(target, want);
	close(fd);
}

static void expect_refusal(const char *name, const char *says)
{
	char why[400], want[400];
	int fd;

	assert_int_equal(copy(name, &fd, why, sizeof(why)), -1);
	assert_int_equal(fd, -1);
	snprintf(want, sizeof(want), "APP: cannot copy the module %s: %s", name, says);
	assert_string_equal(why, want);
}

static void test_files_that_are_none(void **state)
{
	(void)state;
	expect_refusal("/nowhere/app.so", "No such file or directory");
	expect_refusal("/dev/null", "it is not a regular file");
	expect_refusal("/tmp", "it is not a regular file");
	assert_int_equal(ftruncate(file_fd, 0), 0);
	expect_refusal(path, "it is empty");
	assert_int_equal(ftruncate(file_fd, GIB + 1), 0);
	expect_refusal(path, "it is larger than 1 GiB");
}

/* ---- the generations ---- */

static uint32_t master_memfds(const struct fm *f)
{
	return fm_memfds(f->pid);
}

static void start_with_module(struct fm *f, const char *content)
{
	fm_prepare(f);
	fm_write_file(f, "app.so", content);
	/* The path is one of where it was started. */
	fm_start_ready(f, SETTINGS("WEB_WORKERS=2", "CAPRICORN_APP=./app.so", "CAPRICORN_CHDIR=/"),
		       2);
	assert_int_equal(fm_with_module(f, content[0]), 2);
	assert_int_equal(master_memfds(f), 1);
}

static void test_a_generation_keeps_its_code(void **state)
{
	struct fm f;

	(void)state;
	start_with_module(&f, "one");
	assert_int_equal(f.ctl->worker[0].memfds, 0); /* not the keeper's */
	assert_int_equal(f.ctl->worker[0].module, 0);
	fm_write_file(&f, "app.so", "two");
	kill(fm_some_worker(&f), SIGKILL);
	FM_WAIT(&f, f.ctl->workers == 3 && fm_with_module(&f, 'o') == 2);
	fm_signal(&f, SIGHUP);
	FM_WAIT(&f, fm_ready_of(&f, 2) == 2 && fm_alive(&f) == 2);
	assert_int_equal(fm_with_module(&f, 't'), 2);
	fm_wait_log(&f, "Reload finished: generation 2", 1);
	assert_int_equal(master_memfds(&f), 1);
	FM_WAIT(&f, f.ctl->keepers == 2 && f.ctl->worker[0].ready);
	assert_int_equal(f.ctl->worker[0].memfds, 0);
	fm_end(&f);
}

static void test_both_generations_at_once(void **state)
{
	struct fm f;

	(void)state;
	start_with_module(&f, "one");
	fm_write_file(&f, "app.so", "two");
	f.ctl->boot = FM_BOOT_HOLD;
	f.ctl->boot_from = 3; /* the first of the new ones boots, and then one that replaces */
	fm_signal(&f, SIGHUP);
	FM_WAIT(&f, fm_with_module(&f, 't') == 1);
	assert_int_equal(fm_with_module(&f, 'o'), 2);
	assert_int_equal(master_memfds(&f), 2);
	f.ctl->boot = FM_BOOT_EXIT;
	fm_wait_log(&f, "Reload failed: a new worker", 1);
	FM_WAIT(&f, fm_alive(&f) == 2 && fm_with_module(&f, 'o') == 2);
	FM_WAIT(&f, master_memfds(&f) == 1);
	f.ctl->boot = FM_BOOT_READY;
	fm_end(&f);
}

static void test_failed_copy_at_the_start(void **state)
{
	char file[128];
	struct fm f;

	(void)state;
	fm_prepare(&f);
	fm_write_file(&f, "app.so", "x");
	snprintf(file, sizeof(file), "%s/app.so", f.dir);
	assert_int_equal(truncate(file, GIB + 1), 0);
	fm_start(&f, SETTINGS("CAPRICORN_APP=./app.so"));
	assert_int_equal(fm_wait_exit(&f), HERITAGE_EXIT_APP);
	assert_int_equal(fm_log_count(&f, "APP: cannot copy the module ./app.so: it is larger"), 1);
	assert_int_equal(f.ctl->workers, 0);
	fm_end(&f);
}

static void test_failed_copy_in_a_reload(void **state)
{
	char file[128];
	struct fm f;

	(void)state;
	start_with_module(&f, "one");
	snprintf(file, sizeof(file), "%s/app.so", f.dir);
	assert_int_equal(truncate(file, GIB + 1), 0);
	fm_signal(&f, SIGHUP);
	fm_wait_log(&f, "Reload failed: APP: cannot copy the module ./app.so: it is larger than "
			"1 GiB; generation 1 goes on", 1);
	assert_int_equal(unlink(file), 0);
	fm_signal(&f, SIGHUP);
	fm_wait_log(&f, "Reload failed: environment variable CAPRICORN_APP: cannot read the module "
			"./app.so: there is no such file in ", 1);
	assert_int_equal(f.ctl->workers, 2);
	assert_int_equal(fm_with_module(&f, 'o'), 2);
	assert_int_equal(master_memfds(&f), 1);
	fm_write_file(&f, "app.so", "two");
	fm_signal(&f, SIGHUP);
	FM_WAIT(&f, fm_with_module(&f, 't') == 2 && fm_alive(&f) == 2);
	fm_end(&f);
}

static void test_a_reload_may_name_another_app(void **state)
{
	struct fm f;

	(void)state;
	fm_prepare(&f);
	fm_write_file(&f, "a.so", "a");
	fm_write_file(&f, "b.so", "b");
	fm_write_file(&f, "capricorn.yaml", "web_workers: 2\n");
	fm_start_ready(&f, NULL, 2);
	assert_int_equal(fm_with_module(&f, 0), 2);
	assert_int_equal(master_memfds(&f), 0);
	fm_write_file(&f, "capricorn.yaml", "web_workers: 2\napp: ./a.so\n");
	fm_signal(&f, SIGHUP);
	fm_wait_log(&f, "Reload finished", 1);
	assert_int_equal(fm_with_module(&f, 'a'), 2);
	fm_write_file(&f, "capricorn.yaml", "web_workers: 2\napp: b.so:other\n");
	fm_signal(&f, SIGHUP);
	fm_wait_log(&f, "Reload finished", 2);
	assert_int_equal(fm_with_module(&f, 'b'), 2);
	assert_int_equal(master_memfds(&f), 1);
	fm_write_file(&f, "capricorn.yaml", "web_workers: 2\napp: builtin:hello\n");
	fm_signal(&f, SIGHUP);
	fm_wait_log(&f, "Reload finished", 3);
	assert_int_equal(fm_with_module(&f, 0), 2);
	assert_int_equal(master_memfds(&f), 0);
	fm_end(&f);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_file_that_changes_is_refused, make_file,
						remove_file),
		cmocka_unit_test_setup_teardown(test_files_that_are_none, make_file, remove_file),
		cmocka_unit_test(test_a_generation_keeps_its_code),
		cmocka_unit_test(test_both_generations_at_once),
		cmocka_unit_test(test_failed_copy_at_the_start),
		cmocka_unit_test(test_failed_copy_in_a_reload),
		cmocka_unit_test(test_a_reload_may_name_another_app),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
