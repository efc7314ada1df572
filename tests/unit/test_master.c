/* SPDX-License-Identifier: MIT */
/* What the master does about its children, whatever they do: see fake_master.h. */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "master/master.h"
#include "tests/unit/fake_master.h"

#define SETTINGS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* ---- start and stop ---- */

static void test_start_and_stop(void **state)
{
	struct fm f;

	(void)state;
	fm_prepare(&f);
	fm_start_ready(&f, SETTINGS("WEB_WORKERS=3"), 3);
	assert_int_equal(fm_log_count(&f, "Starting capricorn"), 1);
	assert_int_equal(fm_log_count(&f, "Listening at: http://127.0.0.1:"), 1);
	fm_wait_log(&f, "Booting worker with pid: ", 3);
	assert_int_equal(fm_log_count(&f, "Booting keeper with pid: "), 1);
	fm_signal(&f, SIGTERM);
	assert_int_equal(fm_wait_exit(&f), 0);
	assert_true(f.ctl->keeper_left > f.ctl->worker_left);
	assert_int_equal(fm_log_count(&f, "Shutting down"), 1);
	fm_end(&f);
}

static void test_children_that_cannot_boot_end_it(void **state)
{
	struct fm f;

	(void)state;
	fm_prepare(&f);
	f.ctl->boot = FM_BOOT_EXIT;
	fm_start(&f, SETTINGS("WEB_WORKERS=2"));
	assert_int_equal(fm_wait_exit(&f), 3);
	assert_int_equal(fm_log_count(&f, "No worker could boot"), 1);
	assert_int_equal(f.ctl->workers, 2);
	fm_end(&f);

	fm_prepare(&f);
	f.ctl->boot = FM_BOOT_APP;
	fm_start(&f, SETTINGS("WEB_WORKERS=2"));
	assert_int_equal(fm_wait_exit(&f), 4);
	assert_int_equal(fm_log_count(&f, "The app cannot be loaded"), 1);
	fm_end(&f);

	fm_prepare(&f);
	f.ctl->boot = FM_BOOT_HOLD;
	fm_start(&f, SETTINGS("WEB_WORKERS=1", "BOOT_TIMEOUT=1s"));
	assert_int_equal(fm_wait_exit(&f), 3);
	assert_int_equal(fm_log_count(&f, "WORKER BOOT TIMEOUT"), 1);
	fm_end(&f);
}

static void test_some_that_boot_are_enough(void **state)
{
	struct fm f;

	(void)state;
	fm_prepare(&f);
	f.ctl->boot = FM_BOOT_EXIT;
	f.ctl->boot_from = 1; /* the first one boots */
	fm_start(&f, SETTINGS("WEB_WORKERS=3"));
	FM_WAIT(&f, f.ctl->workers > 4 && fm_ready(&f) == 1);
	f.ctl->boot = FM_BOOT_READY;
	FM_WAIT(&f, fm_ready(&f) == 3);
	fm_end(&f);
}

/* ---- deaths ---- */

static void test_dead_worker_is_replaced(void **state)
{
	static const int sig[] = {SIGKILL, SIGTRAP, SIGABRT, SIGTERM};
	static const char *const says[] = {"was sent SIGKILL! Perhaps out of memory?",
					   "was sent SIGTRAP! crashed", "was sent SIGABRT! crashed",
					   "was sent SIGTERM! "};
	struct fm f;

	(void)state;
	fm_prepare(&f);
	fm_start_ready(&f, SETTINGS("WEB_WORKERS=2"), 2);
	for (size_t i = 0; i < sizeof(sig) / sizeof(sig[0]); i++) {
		pid_t pid = fm_some_worker(&f);
		uint32_t started = f.ctl->workers;

		assert_int_equal(kill(pid, sig[i]), 0);
		FM_WAIT(&f, f.ctl->workers == started + 1);
		fm_wait_log(&f, says[i], 1);
		FM_WAIT(&f, fm_ready(&f) == 2 && kill(pid, 0) != 0);
	}
	fm_end(&f);
}

static void test_keeper_is_replaced(void **state)
{
	struct fm f;

	(void)state;
	fm_prepare(&f);
	fm_start_ready(&f, SETTINGS("WEB_WORKERS=1"), 1);
	assert_int_equal(kill(f.ctl->worker[0].pid, SIGKILL), 0);
	fm_wait_log(&f, "Keeper (pid:", 1);
	FM_WAIT(&f, f.ctl->keepers == 2);
	fm_end(&f);
}

static void test_all_killed_at_once_come_back_at_once(void **state)
{
	struct fm f;
	uint64_t begun;

	(void)state;
	fm_prepare(&f);
	fm_start_ready(&f, SETTINGS("WEB_WORKERS=6"), 6);
	begun = fm_now_ms();
	for (uint32_t i = 1; i < FM_SLOTS; i++)
		if (f.ctl->worker[i].pid)
			kill(f.ctl->worker[i].pid, SIGKILL);
	FM_WAIT(&f, f.ctl->workers == 12);
	FM_WAIT(&f, fm_ready(&f) >= 6);
	assert_true(fm_now_ms() - begun < 5000);
	assert_int_equal(fm_log_count(&f, "die young"), 0);
	fm_end(&f);
}

static void test_crash_loop_backs_off_and_recovers(void **state)
{
	struct fm f;
	uint32_t started;
	uint64_t end;

	(void)state;
	fm_prepare(&f);
	fm_start_ready(&f, SETTINGS("WEB_WORKERS=2"), 2);
	f.ctl->boot = FM_BOOT_CRASH;
	kill(fm_some_worker(&f), SIGKILL);
	fm_wait_log(&f, "die young", 2);
	started = f.ctl->workers;
	end = fm_now_ms() + 1500;
	FM_WAIT(&f, fm_now_ms() > end);
	/* 100 ms doubling: not more than five fit into this time. */
	assert_in_range(f.ctl->workers - started, 1, 5);
	f.ctl->boot = FM_BOOT_READY;
	FM_WAIT(&f, fm_ready(&f) == 2);
	fm_end(&f);
}

/* ---- hung children ---- */

static void test_hung_worker_is_reported_and_killed(void **state)
{
	struct fm f;
	pid_t pid;

	(void)state;
	fm_prepare(&f);
	fm_start_ready(&f, SETTINGS("WEB_WORKERS=2", "WORKER_TIMEOUT=1s"), 2);
	pid = fm_some_worker(&f);
	f.ctl->frozen = pid;
	fm_wait_log(&f, "WORKER TIMEOUT (pid:", 1);
	FM_WAIT(&f, kill(pid, 0) != 0);
	FM_WAIT(&f, fm_ready(&f) >= 2);
	assert_int_equal(fm_log_count(&f, "[CRITICAL] WORKER TIMEOUT (pid:"), 1);
	fm_wait_log(&f, "was sent SIGABRT! made no progress for WORKER_TIMEOUT", 1);
	fm_end(&f);
}

static void test_stopped_worker_is_killed(void **state)
{
	struct fm f;
	pid_t pid;

	(void)state;
	fm_prepare(&f);
	fm_start_ready(&f, SETTINGS("WEB_WORKERS=2", "WORKER_TIMEOUT=1s"), 2);
	pid = fm_some_worker(&f);
	assert_int_equal(kill(pid, SIGSTOP), 0);
	fm_wait_log(&f, "process=T", 1);
	FM_WAIT(&f, f.ctl->workers == 3); /* replaced before it is dead */
	FM_WAIT(&f, kill(pid, 0) != 0);
	fm_wait_log(&f, "was sent SIGKILL! made no progress for WORKER_TIMEOUT", 1);
	fm_end(&f);
}

static void test_hung_keeper_is_replaced(void **state)
{
	struct fm f;
	pid_t pid;

	(void)state;
	fm_prepare(&f);
	fm_start_ready(&f, SETTINGS("WEB_WORKERS=1", "WORKER_TIMEOUT=1s"), 1);
	pid = f.ctl->worker[0].pid;
	assert_int_equal(kill(pid, SIGSTOP), 0);
	fm_wait_log(&f, "KEEPER TIMEOUT (pid:", 1);
	FM_WAIT(&f, f.ctl->keepers == 2);
	fm_end(&f);
}

static void test_late_clocks_kill_nobody(void **state)
{
	struct fm f;
	uint64_t end;

	(void)state;
	fm_prepare(&f);
	fm_start_ready(&f, SETTINGS("WEB_WORKERS=2", "WORKER_TIMEOUT=1s"), 2);
	for (int round = 0; round < 2; round++) {
		fm_signal(&f, SIGSTOP);
		for (uint32_t i = 0; i < FM_SLOTS; i++)
			if (f.ctl->worker[i].pid)
				kill(f.ctl->worker[i].pid, SIGSTOP);
		end = fm_now_ms() + 5000;
		FM_WAIT(&f, fm_now_ms() > end);
		/* The master first: it sees everybody's old heartbeat. */
		fm_signal(&f, SIGCONT);
		fm_wait_log(&f, "every deadline starts afresh", (uint32_t)round + 1);
		for (uint32_t i = 0; i < FM_SLOTS; i++)
			if (f.ctl->worker[i].pid)
				kill(f.ctl->worker[i].pid, SIGCONT);
		end = fm_now_ms() + 1500;
		FM_WAIT(&f, fm_now_ms() > end);
	}
	assert_int_equal(f.ctl->workers, 2);
	assert_int_equal(f.ctl->keepers, 1);
	assert_int_equal(fm_log_count(&f, "TIMEOUT"), 0);
	fm_end(&f);
}

static void test_deaf_worker_is_killed_after_graceful_timeout(void **state)
{
	struct fm f;

	(void)state;
	fm_prepare(&f);
	fm_start_ready(&f, SETTINGS("WEB_WORKERS=2", "GRACEFUL_TIMEOUT=1s"), 2);
	f.ctl->deaf = 1;
	fm_signal(&f, SIGTERM);
	assert_int_equal(fm_wait_exit(&f), 0);
	assert_int_equal(fm_log_count(&f, "did not finish within GRACEFUL_TIMEOUT"), 4);
	fm_end(&f);
}

/* ---- reload ---- */

static void test_reload_replaces_everybody(void **state)
{
	struct fm f;

	(void)state;
	fm_prepare(&f);
	fm_start_ready(&f, SETTINGS("WEB_WORKERS=3"), 3);
	fm_signal(&f, SIGHUP);
	FM_WAIT(&f, fm_ready_of(&f, 2) == 3 && fm_alive(&f) == 3);
	fm_wait_log(&f, "Reload finished: generation 2", 1);
	/* The first to leave left all three new ones behind. */
	assert_true(f.ctl->fewest_ready >= 3);
	FM_WAIT(&f, f.ctl->keepers == 2 && f.ctl->worker[0].ready);
	fm_end(&f);
}

static void start_with_file(struct fm *f, const char *text, uint32_t n)
{
	fm_prepare(f);
	fm_write_file(f, "capricorn.yaml", text);
	fm_start_ready(f, NULL, n);
}

static void test_reload_applies_the_file(void **state)
{
	struct fm f;

	(void)state;
	start_with_file(&f, "web_workers: 2\nworkers_max: 6\n", 2);
	fm_write_file(&f, "capricorn.yaml", "web_workers: 4\nworkers_max: 6\n");
	fm_signal(&f, SIGHUP);
	FM_WAIT(&f, fm_ready_of(&f, 2) == 4 && fm_alive(&f) == 4);
	/* A count that was changed live holds while the configured one stays. */
	fm_wait_log(&f, "Reload finished", 1);
	fm_signal(&f, SIGTTIN);
	FM_WAIT(&f, fm_ready(&f) == 5);
	fm_signal(&f, SIGHUP);
	FM_WAIT(&f, fm_ready_of(&f, 3) == 5 && fm_alive(&f) == 5);
	fm_end(&f);
}

static void test_bad_file_changes_nothing(void **state)
{
	struct fm f;

	(void)state;
	start_with_file(&f, "web_workers: 2\n", 2);
	fm_write_file(&f, "capricorn.yaml", "web_workers: many\nno_such_key: 1\n");
	fm_signal(&f, SIGHUP);
	fm_wait_log(&f, "Reload failed", 1);
	assert_true(fm_log_count(&f, "no_such_key") >= 1);
	assert_int_equal(f.ctl->workers, 2);
	assert_int_equal(fm_ready_of(&f, 1), 2);
	fm_write_file(&f, "capricorn.yaml", "web_workers: 1\n");
	fm_signal(&f, SIGHUP);
	FM_WAIT(&f, fm_ready_of(&f, 2) == 1 && fm_alive(&f) == 1);
	fm_end(&f);
}

static void test_failing_boot_keeps_the_old_generation(void **state)
{
	struct fm f;

	(void)state;
	fm_prepare(&f);
	fm_start_ready(&f, SETTINGS("WEB_WORKERS=2", "BOOT_TIMEOUT=2s"), 2);
	f.ctl->boot = FM_BOOT_EXIT;
	f.ctl->boot_from = 3; /* one of the two new ones boots */
	fm_signal(&f, SIGHUP);
	fm_wait_log(&f, "Reload failed: a new worker", 1);
	FM_WAIT(&f, fm_alive(&f) == 2 && fm_ready_of(&f, 1) == 2);
	f.ctl->boot = FM_BOOT_HOLD;
	f.ctl->boot_from = 0;
	fm_signal(&f, SIGHUP);
	fm_wait_log(&f, "Reload failed: a new worker", 2);
	FM_WAIT(&f, fm_alive(&f) == 2 && fm_ready_of(&f, 1) == 2);
	assert_int_equal(f.ctl->workers, 6);
	f.ctl->boot = FM_BOOT_READY;
	fm_signal(&f, SIGHUP);
	FM_WAIT(&f, fm_ready_of(&f, 4) == 2 && fm_alive(&f) == 2);
	fm_end(&f);
}

static void test_many_hups_are_at_most_two_reloads(void **state)
{
	struct fm f;

	(void)state;
	fm_prepare(&f);
	fm_start_ready(&f, SETTINGS("WEB_WORKERS=2"), 2);
	f.ctl->boot = FM_BOOT_HOLD;
	fm_signal(&f, SIGHUP);
	FM_WAIT(&f, fm_alive(&f) == 4);
	for (uint32_t i = 0; i < 5; i++) {
		fm_signal(&f, SIGHUP);
		fm_wait_log(&f, "Handling signal: HUP (phase reload: later)", i + 1);
	}
	f.ctl->boot = FM_BOOT_READY;
	FM_WAIT(&f, fm_ready_of(&f, 3) == 2 && fm_alive(&f) == 2);
	assert_int_equal(f.ctl->workers, 6);
	assert_true(f.ctl->most <= 4);
	fm_end(&f);
}

static void test_death_during_reload_is_replaced_in_both(void **state)
{
	struct fm f;

	(void)state;
	fm_prepare(&f);
	fm_start_ready(&f, SETTINGS("WEB_WORKERS=2"), 2);
	f.ctl->boot = FM_BOOT_HOLD;
	f.ctl->boot_from = 3; /* one new worker is ready, the other one is held */
	fm_signal(&f, SIGHUP);
	FM_WAIT(&f, fm_alive(&f) == 4 && fm_ready_of(&f, 2) == 1);
	for (uint32_t i = 1; i < FM_SLOTS; i++)
		if (f.ctl->worker[i].ready && f.ctl->worker[i].generation == 2)
			kill(f.ctl->worker[i].pid, SIGKILL);
	kill(fm_some_worker(&f), SIGKILL);
	FM_WAIT(&f, f.ctl->workers >= 4 && fm_log_count(&f, "Booting worker") == 6);
	f.ctl->boot = FM_BOOT_READY;
	FM_WAIT(&f, fm_ready_of(&f, 2) == 2 && fm_alive(&f) == 2);
	fm_end(&f);
}

/* ---- recycling and scaling ---- */

static void test_recycling_is_one_by_one_and_loses_no_place(void **state)
{
	struct fm f;

	(void)state;
	fm_prepare(&f);
	fm_start_ready(&f, SETTINGS("WEB_WORKERS=4"), 4);
	f.ctl->ask = -1;
	FM_WAIT(&f, f.ctl->workers >= 8);
	f.ctl->ask = 0;
	fm_wait_log(&f, "recycled after MAX_REQUESTS", 4);
	FM_WAIT(&f, fm_alive(&f) == 4 && fm_ready(&f) == 4);
	assert_true(f.ctl->most <= 5);
	assert_true(f.ctl->fewest_ready >= 4);
	fm_end(&f);
}

static void test_scaling_keeps_within_bounds(void **state)
{
	struct fm f;

	(void)state;
	fm_prepare(&f);
	fm_start_ready(&f, SETTINGS("WEB_WORKERS=2", "WORKERS_MIN=1", "WORKERS_MAX=3"), 2);
	fm_signal(&f, SIGTTIN);
	FM_WAIT(&f, fm_ready(&f) == 3);
	fm_signal(&f, SIGTTIN);
	fm_wait_log(&f, "WORKERS_MAX is 3", 1);
	for (uint32_t n = 2; n >= 1; n--) {
		fm_signal(&f, SIGTTOU);
		FM_WAIT(&f, fm_alive(&f) == n);
	}
	fm_signal(&f, SIGTTOU);
	fm_wait_log(&f, "WORKERS_MIN is 1", 1);
	assert_int_equal(fm_ready(&f), 1);
	/* The oldest ones went. */
	assert_int_equal(f.ctl->worker[3].ready, 1);
	fm_end(&f);
}

static void test_winch_is_ignored_unless_asked_for(void **state)
{
	struct fm f;

	(void)state;
	fm_prepare(&f);
	fm_start_ready(&f, SETTINGS("WEB_WORKERS=1", "LOG_LEVEL=debug"), 1);
	fm_signal(&f, SIGWINCH);
	fm_wait_log(&f, "WINCH is ignored", 1);
	assert_int_equal(fm_ready(&f), 1);
	fm_end(&f);
}

/* ---- trust nobody ---- */

static void test_garbage_in_the_segment_is_survived(void **state)
{
	struct fm f;

	(void)state;
	fm_prepare(&f);
	fm_start_ready(&f, SETTINGS("WEB_WORKERS=3", "GRACEFUL_TIMEOUT=1s"), 3);
	for (int i = 0; i < 5; i++) {
		uint32_t started = f.ctl->workers;
		pid_t pid;

		FM_WAIT(&f, (pid = fm_some_worker(&f)) != 0);
		f.ctl->scribble = pid;
		FM_WAIT(&f, f.ctl->scribble == 0);
		kill(pid, SIGKILL);
		FM_WAIT(&f, f.ctl->workers > started);
	}
	fm_signal(&f, SIGHUP);
	fm_wait_log(&f, "Reload finished", 1);
	FM_WAIT(&f, fm_ready(&f) == 3);
	fm_end(&f);
}

static void check_declared(const struct fm *f, uint32_t route, uint32_t metric)
{
	for (int i = 0; i < 3; i++)
		assert_int_equal(f->ctl->results[i], 0);
	assert_int_equal(f->ctl->results[3], -EEXIST);
	assert_int_equal(f->ctl->indexes[0], route);
	assert_int_equal(f->ctl->indexes[1], metric);
	assert_int_equal(f->ctl->indexes[2], 0);
}

/* Every worker, of every generation, gets the same place for the same name. */
static void test_names_are_declared(void **state)
{
	struct fm f;

	(void)state;
	fm_prepare(&f);
	f.ctl->declare = FM_DECLARE_SOUND;
	fm_start_ready(&f, SETTINGS("WEB_WORKERS=3"), 3);
	assert_int_equal(f.ctl->declared, 3);
	check_declared(&f, 2, 0); /* 0 is "other" */
	fm_signal(&f, SIGHUP);
	fm_wait_log(&f, "Reload finished", 1);
	assert_int_equal(f.ctl->declared, 6);
	check_declared(&f, 2, 0);
	fm_end(&f);
}

static void test_full_directories_say_so(void **state)
{
	struct fm f;

	(void)state;
	fm_prepare(&f);
	f.ctl->declare = FM_DECLARE_SOUND;
	fm_start_ready(&f, SETTINGS("WEB_WORKERS=1", "METRIC_ROUTES=1", "MODULE_METRICS=0",
				    "MODULE_HISTOGRAMS=0"), 1);
	assert_int_equal(f.ctl->results[0], 0);
	assert_int_equal(f.ctl->indexes[0], 0); /* "other" */
	assert_int_equal(f.ctl->results[1], -ENOSPC);
	assert_int_equal(f.ctl->results[2], -ENOSPC);
	fm_end(&f);
}

/* A worker that is mad is not listened to; the master and the others go on. */
static void test_bad_asks_are_survived(void **state)
{
	static const struct { uint32_t how; const char *told; } cases[] = {
		{FM_DECLARE_SHORT, "sends garbage on its control socket"},
		{FM_DECLARE_NO_END, "sends garbage on its control socket"},
		{FM_DECLARE_DEAF, "takes no answers on its control socket"},
		{FM_DECLARE_FLOOD, "asks too much on its control socket"},
	};
	struct fm f;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		fm_prepare(&f);
		f.ctl->declare = cases[i].how;
		fm_start_ready(&f, SETTINGS("WEB_WORKERS=1"), 1);
		fm_wait_log(&f, cases[i].told, 1);
		f.ctl->declare = FM_DECLARE_SOUND;
		fm_signal(&f, SIGHUP);
		fm_wait_log(&f, "Reload finished", 1);
		check_declared(&f, cases[i].how == FM_DECLARE_DEAF ||
			       cases[i].how == FM_DECLARE_FLOOD ? 3 : 2, 0);
		assert_int_equal(fm_log_count(&f, "on its control socket"), 1);
		fm_end(&f);
	}
}

static void test_asks_are_for_the_start_only(void **state)
{
	struct fm f;

	(void)state;
	fm_prepare(&f);
	fm_start_ready(&f, SETTINGS("WEB_WORKERS=1"), 1);
	f.ctl->declare = FM_DECLARE_LATE;
	FM_WAIT(&f, f.ctl->declared == 1);
	for (int i = 0; i < 4; i++)
		assert_int_equal(f.ctl->results[i], -EPERM);
	fm_end(&f);
}

static void test_orphans_are_reaped(void **state)
{
	struct fm f;
	char command[128];

	(void)state;
	fm_prepare(&f);
	fm_start_ready(&f, SETTINGS("WEB_WORKERS=1"), 1);
	f.ctl->orphan = fm_some_worker(&f);
	FM_WAIT(&f, f.ctl->orphan == 0);
	/* Worker and keeper are its only children: no zombie is among them. */
	snprintf(command, sizeof(command), "test $(wc -w </proc/%d/task/%d/children) = 2",
		 (int)f.pid, (int)f.pid);
	FM_WAIT(&f, system(command) == 0);
	assert_int_equal(f.ctl->workers, 1);
	fm_end(&f);
}

static void test_log_files_are_reopened(void **state)
{
	struct fm f;
	char access_log[160], old[160];

	(void)state;
	fm_prepare(&f);
	snprintf(access_log, sizeof(access_log), "ACCESS_LOG=%s/access.log", f.dir);
	fm_start_ready(&f, SETTINGS("WEB_WORKERS=1", access_log), 1);
	snprintf(old, sizeof(old), "%s.1", f.log);
	assert_int_equal(rename(f.log, old), 0);
	fm_signal(&f, SIGUSR1);
	fm_wait_log(&f, "Log files are open again", 1);
	FM_WAIT(&f, f.ctl->files == 2);
	fm_wait_log(&f, "from the keeper", 1);
	fm_end(&f);
}

static void test_privileges_are_dropped(void **state)
{
	const struct passwd *pw = getpwnam("nobody");
	struct fm f;

	(void)state;
	if (geteuid() != 0 || !pw)
		skip();
	fm_prepare(&f);
	fm_start_ready(&f, SETTINGS("WEB_WORKERS=1", "CAPRICORN_USER=nobody"), 1);
	assert_int_equal(f.ctl->uid, pw->pw_uid);
	assert_int_equal(f.ctl->gid, pw->pw_gid);
	fm_end(&f);

	fm_prepare(&f);
	fm_start(&f, SETTINGS("CAPRICORN_USER=nobody-of-that-name"));
	assert_int_equal(fm_wait_exit(&f), 1);
	fm_end(&f);
}

/* ---- what is taken already, and what is left behind ---- */

static void test_pid_file(void **state)
{
	struct fm f, g;
	char setting[160], path[128], text[16] = "";
	int fd;

	(void)state;
	fm_prepare(&f);
	snprintf(path, sizeof(path), "%s/pid", f.dir);
	snprintf(setting, sizeof(setting), "CAPRICORN_PID=%s", path);
	fm_write_file(&f, "pid", "1\n"); /* stale, although process 1 lives */
	fm_start_ready(&f, SETTINGS("WEB_WORKERS=1", setting), 1);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	assert_int_equal(atoi(text), f.pid);

	fm_prepare(&g);
	fm_start(&g, SETTINGS("WEB_WORKERS=1", setting));
	assert_int_equal(fm_wait_exit(&g), 1);
	assert_int_equal(fm_log_count(&g, "belongs to a running master"), 1);
	fm_end(&g);

	/* Killed: the file stays, and does not keep the next one from starting. */
	fm_signal(&f, SIGKILL);
	assert_int_equal(fm_wait_exit(&f), 128 + SIGKILL);
	assert_int_equal(access(path, F_OK), 0);
	fm_start_ready(&f, SETTINGS("WEB_WORKERS=1", setting), 1);
	fm_wait_log(&f, "of an instance that is gone", 1);
	fm_signal(&f, SIGTERM);
	assert_int_equal(fm_wait_exit(&f), 0);
	assert_int_not_equal(access(path, F_OK), 0);
	fm_end(&f);
}

static void test_segment_in_use(void **state)
{
	struct fm f, g;
	char name[96];

	(void)state;
	fm_prepare(&f);
	fm_start_ready(&f, SETTINGS("WEB_WORKERS=1"), 1);
	fm_prepare(&g);
	snprintf(name, sizeof(name), "SHM_NAME=/%s", f.shm);
	fm_start(&g, SETTINGS("WEB_WORKERS=1", name));
	assert_int_equal(fm_wait_exit(&g), 1);
	assert_int_equal(fm_log_count(&g, "belongs to another running instance"), 1);
	fm_end(&g);
	fm_end(&f);
}

static void test_unix_socket(void **state)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	struct fm f, g;
	char bind_to[160];

	(void)state;
	fm_prepare(&f);
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/sock", f.dir);
	snprintf(bind_to, sizeof(bind_to), "BIND=unix:%s", sun.sun_path);
	fm_start_ready(&f, SETTINGS("WEB_WORKERS=1", bind_to), 1);

	fm_prepare(&g);
	fm_start(&g, SETTINGS("WEB_WORKERS=1", bind_to));
	assert_int_equal(fm_wait_exit(&g), 1);
	assert_int_equal(fm_log_count(&g, "is in use by another process"), 1);
	fm_end(&g);
	assert_int_equal(access(sun.sun_path, F_OK), 0);

	fm_signal(&f, SIGKILL);
	assert_int_equal(fm_wait_exit(&f), 128 + SIGKILL);
	for (uint32_t i = 0; i < FM_SLOTS; i++) {
		pid_t pid = f.ctl->worker[i].pid;

		FM_WAIT(&f, pid == 0 || fm_gone(pid));
		f.ctl->worker[i].pid = 0;
	}
	fm_start_ready(&f, SETTINGS("WEB_WORKERS=1", bind_to), 1);
	fm_wait_log(&f, "which nobody listens on", 1);
	fm_signal(&f, SIGTERM);
	assert_int_equal(fm_wait_exit(&f), 0);
	assert_int_not_equal(access(sun.sun_path, F_OK), 0);
	fm_end(&f);
}

static void test_file_that_is_no_socket_stays(void **state)
{
	struct fm f;
	char bind_to[160], path[128];

	(void)state;
	fm_prepare(&f);
	snprintf(path, sizeof(path), "%s/sock", f.dir);
	snprintf(bind_to, sizeof(bind_to), "BIND=unix:%s", path);
	fm_write_file(&f, "sock", "precious");
	fm_start(&f, SETTINGS("WEB_WORKERS=1", bind_to));
	assert_int_equal(fm_wait_exit(&f), 1);
	assert_int_equal(access(path, F_OK), 0);
	fm_end(&f);
}

/* ---- names of segments ---- */

static void name_for(struct conf_bind *b, char *out, size_t cap)
{
	struct conf c = {.nbinds = 1, .binds = b};

	master_default_shm_name(&c, out, cap);
}

static void test_names_of_segments(void **state)
{
	struct conf_bind tcp = {.kind = CONF_BIND_TCP, .text = "localhost:8000",
				.addr = {.family = NET_V4, .bytes = {127, 0, 0, 1}, .port = 8000}};
	struct conf_bind sock = {.kind = CONF_BIND_UNIX, .text = "unix:/run/my app/x.sock"};
	char want[200], got[200], other[200], path[400];

	(void)state;
	name_for(&tcp, got, sizeof(got));
	snprintf(want, sizeof(want), "/capricorn-%u-127.0.0.1:8000", (unsigned)geteuid());
	assert_string_equal(got, want);
	tcp.addr.port = 0;
	name_for(&tcp, got, sizeof(got));
	snprintf(want, sizeof(want), "/capricorn-%u-127.0.0.1:0-%d", (unsigned)geteuid(), getpid());
	assert_string_equal(got, want);
	name_for(&sock, got, sizeof(got));
	snprintf(want, sizeof(want), "/capricorn-%u-unix:-run-my-app-x.sock", (unsigned)geteuid());
	assert_string_equal(got, want);

	/* Names that differ only where they are cut differ all the same. */
	memset(path, 'a', sizeof(path));
	memcpy(path, "unix:", 5);
	path[sizeof(path) - 1] = '\0';
	sock.text = path;
	name_for(&sock, got, sizeof(got));
	path[sizeof(path) - 2] = 'b';
	name_for(&sock, other, sizeof(other));
	assert_int_equal(strlen(got), sizeof(got) - 1);
	assert_string_not_equal(got, other);
	assert_null(strchr(got + 1, '/'));
}

static void test_there_is_no_other_document(void **state)
{
	(void)state;
	assert_int_equal(master_write_doc("no-such-document", stderr), -1);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_start_and_stop),
		cmocka_unit_test(test_children_that_cannot_boot_end_it),
		cmocka_unit_test(test_some_that_boot_are_enough),
		cmocka_unit_test(test_dead_worker_is_replaced),
		cmocka_unit_test(test_keeper_is_replaced),
		cmocka_unit_test(test_all_killed_at_once_come_back_at_once),
		cmocka_unit_test(test_crash_loop_backs_off_and_recovers),
		cmocka_unit_test(test_hung_worker_is_reported_and_killed),
		cmocka_unit_test(test_stopped_worker_is_killed),
		cmocka_unit_test(test_hung_keeper_is_replaced),
		cmocka_unit_test(test_late_clocks_kill_nobody),
		cmocka_unit_test(test_deaf_worker_is_killed_after_graceful_timeout),
		cmocka_unit_test(test_reload_replaces_everybody),
		cmocka_unit_test(test_reload_applies_the_file),
		cmocka_unit_test(test_bad_file_changes_nothing),
		cmocka_unit_test(test_failing_boot_keeps_the_old_generation),
		cmocka_unit_test(test_many_hups_are_at_most_two_reloads),
		cmocka_unit_test(test_death_during_reload_is_replaced_in_both),
		cmocka_unit_test(test_recycling_is_one_by_one_and_loses_no_place),
		cmocka_unit_test(test_scaling_keeps_within_bounds),
		cmocka_unit_test(test_winch_is_ignored_unless_asked_for),
		cmocka_unit_test(test_garbage_in_the_segment_is_survived),
		cmocka_unit_test(test_names_are_declared),
		cmocka_unit_test(test_full_directories_say_so),
		cmocka_unit_test(test_bad_asks_are_survived),
		cmocka_unit_test(test_asks_are_for_the_start_only),
		cmocka_unit_test(test_orphans_are_reaped),
		cmocka_unit_test(test_log_files_are_reopened),
		cmocka_unit_test(test_privileges_are_dropped),
		cmocka_unit_test(test_pid_file),
		cmocka_unit_test(test_segment_in_use),
		cmocka_unit_test(test_unix_socket),
		cmocka_unit_test(test_file_that_is_no_socket_stays),
		cmocka_unit_test(test_names_of_segments),
		cmocka_unit_test(test_there_is_no_other_document),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
