/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_master.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "conf/conf.h"
#include "master/master.h"
#include "shm/declare.h"
#include "shm/dump.h"
#include "shm/heritage.h"

static struct fm_control *ctl; /* the children's way to it */

/* Present under AddressSanitizer only. */
extern void __lsan_do_leak_check(void) __attribute__((weak));

/* The test framework catches these, and would go on with its tests in a child: there, what was
 * before (the default, or a sanitizer's) holds. */
static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGSYS};
#define NFATAL (sizeof(fatal) / sizeof(fatal[0]))
static struct sigaction fatal_action[NFATAL];

__attribute__((constructor)) static void keep_actions(void)
{
	for (size_t i = 0; i < NFATAL; i++)
		sigaction(fatal[i], NULL, &fatal_action[i]);
}

/* ---- the children ---- */

static void poke(int fd)
{
	uint64_t one = 1;

	(void)!write(fd, &one, sizeof(one));
}

static void note_most(void)
{
	uint32_t n = 0;

	for (uint32_t i = 1; i < FM_SLOTS; i++)
		n += ctl->worker[i].pid != 0;
	if (n > ctl->most)
		ctl->most = n;
}

static void note_leaving(const struct fm_worker *me)
{
	uint32_t n = 0;

	for (uint32_t i = 1; i < FM_SLOTS; i++)
		n += ctl->worker[i].ready && &ctl->worker[i] != me;
	if (n < ctl->fewest_ready)
		ctl->fewest_ready = n;
}

static bool is_me(int32_t word)
{
	return word == -1 || word == getpid();
}

/* 0 = ready, else the exit code. */
static int fake_boot(uint32_t count)
{
	if (count < ctl->boot_from)
		return 0;
	while (ctl->boot == FM_BOOT_HOLD)
		if (getppid() == 1 || usleep(2000) != 0)
			return HERITAGE_EXIT_ORPHAN;
	switch ((uint32_t)ctl->boot) {
	case FM_BOOT_EXIT:
		return HERITAGE_EXIT_BOOT;
	case FM_BOOT_APP:
		return HERITAGE_EXIT_APP;
	case FM_BOOT_CRASH:
		signal(SIGSEGV, SIG_DFL); /* no report, please */
		raise(SIGSEGV);
		return 99;
	default:
		return 0;
	}
}

static void scribble(const struct heritage *h)
{
	uint32_t x = (uint32_t)getpid();
	char *from = (char *)h->shm->inst, *to = h->shm->base + h->shm->size;

	for (char *p = from; p < to; p++) {
		x = x * 1664525u + 1013904223u;
		*p = (char)(x >> 24);
	}
}

static void declare_all(const struct heritage *h)
{
	uint32_t index[3] = {99, 99, 99};

	(void)declare_route(h, "/first", &index[0]);
	ctl->results[0] = declare_route(h, "/of/a/module", &index[0]);
	ctl->results[1] = declare_metric(h, SHM_MK_COUNTER, "m_total", "kind=\"a\"", "Of a module.",
					 &index[1]);
	ctl->results[2] = declare_metric(h, SHM_MK_HISTOGRAM, "m_seconds", NULL, NULL, &index[2]);
	ctl->results[3] = declare_metric(h, SHM_MK_GAUGE, "m_total", NULL, NULL, &index[2]);
	for (int i = 0; i < 3; i++)
		ctl->indexes[i] = index[i];
	ctl->declared++;
}

/* Functions with names, for the stacks in reports. */
__attribute__((noinline)) void fake_spin(void);
__attribute__((noinline)) void fake_sleep(void);
__attribute__((noinline)) void fake_fault(void);

void fake_spin(void)
{
	while (!ctl->spin_until)
		__asm__ volatile("");
	__asm__ volatile("");
}

void fake_sleep(void)
{
	struct timespec ts = {.tv_sec = 3};

	ctl->slept = nanosleep(&ts, NULL) == 0 ? 1 : 2;
}

void fake_fault(void)
{
	__asm__ volatile("");
	*(volatile int *)(uintptr_t)16 = 1;
}

/* Holds the loop as a handler would. */
static __attribute__((noinline)) void hold(const struct heritage *h, void (*fn)(void))
{
	shm_row_begin(shm_row(h->shm, h->slot, 2), SLICE("the-id"), SLICE("GET"), SLICE("/held"),
		      "10.0.0.1", clock_mono_ns());
	shm_row_state(shm_row(h->shm, h->slot, 2), SHM_ROW_HANDLING);
	shm_set(&shm_slot(h->shm, h->slot)->current_row, 3);
	fn();
	shm_set(&shm_slot(h->shm, h->slot)->current_row, 0);
	shm_row_end(shm_row(h->shm, h->slot, 2));
}

__attribute__((noinline)) void *thread_main(void *arg);

static _Atomic int thread_id;

void *thread_main(void *arg)
{
	thread_id = dump_tid();
	fake_spin();
	return arg;
}

/* A pool of one thread that does not come back. */
static void report_thread(const struct heritage *h)
{
	pthread_t t;

	shm_row_begin(shm_row(h->shm, h->slot, 2), SLICE("the-id"), SLICE("GET"), SLICE("/held"),
		      "10.0.0.1", clock_mono_ns());
	shm_row_state(shm_row(h->shm, h->slot, 2), SHM_ROW_RUNNING);
	if (pthread_create(&t, NULL, thread_main, NULL) != 0)
		return;
	while (!thread_id)
		sched_yield();
	dump_report_thread(DUMP_STUCK, thread_id, 2, clock_mono_ns());
	while (!ctl->spin_until) {
		shm_set(&shm_slot(h->shm, h->slot)->heartbeat_ns, clock_mono_ns());
		usleep(1000);
	}
	pthread_join(t, NULL);
	shm_row_end(shm_row(h->shm, h->slot, 2));
}

static bool is_due(_Atomic int32_t *word)
{
	int32_t mine = getpid();

	return atomic_compare_exchange_strong(word, &mine, 0);
}

static void misbehave(const struct heritage *h, struct fm_worker *me)
{
	struct shm_slot *slot = shm_slot(h->shm, h->slot);
	uint32_t late = FM_DECLARE_LATE;
	int32_t mine = getpid();

	if (atomic_compare_exchange_strong(&ctl->declare, &late, FM_DECLARE_NOTHING))
		declare_all(h);
	if (is_me(ctl->ask) && !me->asking) {
		me->asking = 1;
		shm_set(&slot->why, SHM_WHY_MAX_REQUESTS);
		poke(h->master_efd);
	}
	if (atomic_compare_exchange_strong(&ctl->scribble, &mine, 0))
		scribble(h);
	if (is_due(&ctl->spin))
		hold(h, fake_spin);
	if (is_due(&ctl->sleep))
		hold(h, fake_sleep);
	if (is_due(&ctl->report))
		report_thread(h);
	for (int i = 0; i < 20 && ctl->report_flood; i++)
		dump_report_thread(DUMP_SLOW, getpid(), UINT32_MAX, clock_mono_ns());
	if (is_due(&ctl->fault))
		hold(h, fake_fault);
	mine = getpid();
	if (atomic_compare_exchange_strong(&ctl->orphan, &mine, 0)) {
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, 0);
			if (fork() == 0)
				usleep(50 * 1000);
			_exit(0);
		}
	}
}

static void take_files(int control_fd)
{
	char space[CMSG_SPACE(sizeof(int))], what;
	struct iovec iov = {.iov_base = &what, .iov_len = 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = space,
			     .msg_controllen = sizeof(space)};
	int fd;

	while (recvmsg(control_fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) == 1) {
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
		if ((what == HERITAGE_ERROR_LOG || what == HERITAGE_ACCESS_LOG) && fd >= 0) {
			(void)!write(fd, "from the keeper\n", 16);
			ctl->files++;
		}
		close(fd);
	}
}

uint32_t fm_memfds(pid_t pid)
{
	char path[64], target[64];
	uint32_t n = 0;

	for (int fd = 0; fd < 128; fd++) {
		ssize_t len;

		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, fd);
		len = readlink(path, target, sizeof(target));
		n += len > 7 && memcmp(target, "/memfd:", 7) == 0;
	}
	return n;
}

/* The first byte, if it is what a module has to be: sealed, and never to be handed on. */
static uint32_t first_of_module(int fd)
{
	int seals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	char c = 0;

	if (fd < 0)
		return 0;
	if ((fcntl(fd, F_GET_SEALS) & seals) != seals || write(fd, "x", 1) >= 0 ||
	    !(fcntl(fd, F_GETFD) & FD_CLOEXEC) || pread(fd, &c, 1, 0) != 1)
		return '?';
	return (unsigned char)c;
}

/* Serves nobody until it is told to leave. */
static int fake_loop(const struct heritage *h, struct fm_worker *me, bool keeper)
{
	struct shm_slot *slot = shm_slot(h->shm, h->slot);
	struct pollfd p[2] = {{.fd = h->slot_efd[h->slot], .events = POLLIN},
			      {.fd = h->lifeline_fd, .events = POLLIN}};

	for (;;) {
		uint64_t n;
		uint32_t command;

		if (!is_me(ctl->frozen))
			shm_set(&slot->heartbeat_ns, clock_mono_ns());
		dump_objects();
		(void)poll(p, 2, 10);
		if (p[0].revents & POLLIN)
			(void)!read(p[0].fd, &n, sizeof(n));
		if (p[1].revents & (POLLHUP | POLLIN))
			return HERITAGE_EXIT_ORPHAN;
		if (!keeper && is_me(ctl->memory_pid)) {
			shm_set(&slot->private_bytes, ctl->memory);
			shm_set(&slot->samples, shm_get(&slot->samples) + 1);
		}
		if (keeper)
			take_files(h->control_fd);
		else
			misbehave(h, me);
		command = shm_get(&slot->command);
		if (command >= SHM_CMD_DRAIN && command <= SHM_CMD_QUIT && (keeper || !ctl->deaf))
			return HERITAGE_EXIT_OK;
	}
}

/* Sends asks until the master takes no more of them; `hear`: takes its answers. */
static void send_many(const struct heritage *h, bool hear)
{
	struct declare_ask ask = {.what = DECLARE_ROUTE, .name = "/flood"};
	struct pollfd p = {.fd = h->control_fd, .events = (short)(hear ? POLLIN : 0) | POLLOUT};
	char answer[64];

	while (poll(&p, 1, 1000) > 0) {
		if ((p.revents & POLLIN) && hear)
			(void)!recv(h->control_fd, answer, sizeof(answer), MSG_DONTWAIT);
		if (p.revents & POLLOUT)
			(void)!send(h->control_fd, &ask, sizeof(ask), MSG_DONTWAIT | MSG_NOSIGNAL);
	}
}

static void fake_declare(const struct heritage *h)
{
	struct declare_ask ask = {.what = DECLARE_ROUTE};

	switch ((uint32_t)ctl->declare) {
	case FM_DECLARE_NOTHING:
	case FM_DECLARE_LATE:
		return;
	case FM_DECLARE_SHORT:
		(void)!send(h->control_fd, &ask, sizeof(ask) - 1, MSG_NOSIGNAL);
		break;
	case FM_DECLARE_NO_END:
		memset(ask.name, 'a', sizeof(ask.name));
		(void)!send(h->control_fd, &ask, sizeof(ask), MSG_NOSIGNAL);
		break;
	case FM_DECLARE_DEAF:
	case FM_DECLARE_FLOOD:
		send_many(h, ctl->declare == FM_DECLARE_FLOOD);
		break;
	default:
		declare_all(h);
		return;
	}
	ctl->declared++;
}

static int fake_worker(const struct heritage *h)
{
	struct fm_worker *me = &ctl->worker[h->slot];
	int rc;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (size_t i = 0; i < NFATAL; i++)
		if (ctl->last_words)
			signal(fatal[i], SIG_DFL); /* a sanitizer's handler would speak itself */
	(void)dump_open(h->shm, h->slot, h->master_efd);
	me->generation = h->generation;
	me->ready = me->asking = 0;
	me->module = first_of_module(h->app_fd);
	me->memfds = fm_memfds(getpid());
	me->pid = getpid();
	ctl->uid = geteuid();
	ctl->gid = getegid();
	note_most();
	rc = fake_boot(ctl->workers++);
	if (rc == 0) {
		fake_declare(h);
		shm_set(&shm_slot(h->shm, h->slot)->phase, SHM_PH_READY);
		me->ready = 1;
		poke(h->master_efd);
		rc = fake_loop(h, me, false);
		note_leaving(me);
	}
	ctl->worker_left = ++ctl->order;
	me->ready = 0;
	me->pid = 0;
	_exit(rc); /* leaks are looked for in the master's process, not in each child */
}

static int fake_keeper(const struct heritage *h)
{
	struct fm_worker *me = &ctl->worker[0];
	int rc;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	me->module = first_of_module(h->app_fd);
	me->memfds = fm_memfds(getpid());
	me->pid = getpid();
	ctl->keepers++;
	shm_set(&shm_slot(h->shm, h->slot)->phase, SHM_PH_READY);
	me->ready = 1;
	poke(h->master_efd);
	rc = fake_loop(h, me, true);
	ctl->keeper_left = ++ctl->order;
	me->ready = 0;
	me->pid = 0;
	_exit(rc); /* leaks are looked for in the master's process, not in each child */
}

/* ---- the master's process ---- */

static int run_master(const struct fm *f, const char *const settings[])
{
	static const struct master_roles roles = {fake_worker, fake_keeper};
	char *argv[] = {(char *)"capricorn", NULL};
	char name[96], log[128];
	char *env[32] = {(char *)"BIND=127.0.0.1:0", name, log, (char *)"CACHE_MEMORY=1m"};
	struct conf_input in = {.argc = 1, .argv = argv, .env = env};
	struct conf_report r;
	struct conf *conf;
	size_t n = 4;

	snprintf(name, sizeof(name), "SHM_NAME=/%s", f->shm);
	snprintf(log, sizeof(log), "ERROR_LOG=%s", f->log);
	for (; settings && *settings; settings++) {
		size_t i = 0, len = strcspn(*settings, "=") + 1;

		while (i < n && strncmp(env[i], *settings, len) != 0)
			i++;
		env[i] = (char *)*settings;
		n += i == n;
	}
	conf_report_init(&r);
	if (conf_load(&in, &conf, &r) != 0) {
		fprintf(stderr, "%s", r.errors.p);
		return 99;
	}
	conf_report_fini(&r);
	return master_run(&in, conf, &roles);
}

void fm_prepare(struct fm *f)
{
	static int count;

	*f = (struct fm){0};
	snprintf(f->dir, sizeof(f->dir), "/tmp/capricorn-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_int_equal(chmod(f->dir, 0755), 0);
	snprintf(f->shm, sizeof(f->shm), "capricorn-test-%d-%d", (int)getpid(), count++);
	snprintf(f->log, sizeof(f->log), "%s/error.log", f->dir);
	ctl = mmap(NULL, sizeof(*ctl), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(ctl != MAP_FAILED);
	ctl->fewest_ready = UINT32_MAX;
	f->ctl = ctl;
}

void fm_start(struct fm *f, const char *const settings[])
{
	char path[96];
	int fd;

	if (!f->ctl)
		fm_prepare(f);
	ctl = f->ctl;
	f->pid = fork();
	assert_true(f->pid >= 0);
	if (f->pid != 0)
		return;
	for (size_t i = 0; i < NFATAL; i++)
		sigaction(fatal[i], &fatal_action[i], NULL);
	/* Orphans come to the master, as they do when it is process 1. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(path, sizeof(path), "%s/stderr", f->dir);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
	if (fd < 0 || dup2(fd, STDERR_FILENO) < 0 || close(fd) != 0 || chdir(f->dir) != 0)
		_exit(98);
	int rc = run_master(f, settings);

	if (__lsan_do_leak_check)
		__lsan_do_leak_check();
	_exit(rc);
}

void fm_start_ready(struct fm *f, const char *const settings[], uint32_t n)
{
	fm_start(f, settings);
	FM_WAIT(f, fm_ready(f) == n && f->ctl->worker[0].ready);
	fm_wait_log(f, "Ready: ", 1); /* the master knows it too */
}

/* ---- looking at it ---- */

uint64_t fm_now_ms(void)
{
	return clock_mono_ns() / NS_PER_MS;
}

void fm_pause(void)
{
	usleep(2000);
}

static char *slurp(const char *path)
{
	char *text = calloc(1, 1 << 20);
	ssize_t n, len = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_non_null(text);
	while (fd >= 0 && (n = read(fd, text + len, (1 << 20) - 1 - (size_t)len)) > 0)
		len += n;
	if (fd >= 0)
		close(fd);
	return text;
}

uint32_t fm_log_count(const struct fm *f, const char *text)
{
	char *log = slurp(f->log);
	uint32_t n = 0;

	for (const char *p = log; (p = strstr(p, text)); p++)
		n++;
	free(log);
	return n;
}

static void show(const struct fm *f)
{
	char path[96], *text;

	snprintf(path, sizeof(path), "%s/stderr", f->dir);
	text = slurp(path);
	fprintf(stderr, "--- standard error\n%s", text);
	free(text);
	text = slurp(f->log);
	fprintf(stderr, "--- error log\n%s---\n", text);
	free(text);
}

static void kill_all(const struct fm *f)
{
	if (f->pid)
		kill(f->pid, SIGKILL);
	for (uint32_t i = 0; i < FM_SLOTS; i++)
		if (f->ctl->worker[i].pid > 1)
			kill(f->ctl->worker[i].pid, SIGKILL);
}

void fm_timed_out(const struct fm *f, const char *what)
{
	char path[96];

	print_error("not in time: %s\n", what);
	show(f);
	kill_all(f);
	snprintf(path, sizeof(path), "/%s", f->shm);
	shm_unlink(path);
	fail();
	abort(); /* fail() does not come back */
}

void fm_wait_log(const struct fm *f, const char *text, uint32_t times)
{
	FM_WAIT(f, fm_log_count(f, text) >= times);
}

bool fm_gone(pid_t pid)
{
	char path[32], stat[256] = "";
	const char *state;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return true;
	if (!fgets(stat, sizeof(stat), f))
		stat[0] = '\0';
	fclose(f);
	state = strrchr(stat, ')');
	return !state || state[2] == 'Z' || state[2] == 'X';
}

/* A process that was killed could not strike itself off. */
static bool lives(const struct fm_worker *w)
{
	pid_t pid = w->pid;

	return pid != 0 && !fm_gone(pid);
}

uint32_t fm_ready_of(const struct fm *f, uint32_t generation)
{
	uint32_t n = 0;

	for (uint32_t i = 1; i < FM_SLOTS; i++)
		n += f->ctl->worker[i].ready && lives(&f->ctl->worker[i]) &&
		     (generation == 0 || f->ctl->worker[i].generation == generation);
	return n;
}

uint32_t fm_ready(const struct fm *f)
{
	return fm_ready_of(f, 0);
}

uint32_t fm_alive(const struct fm *f)
{
	uint32_t n = 0;

	for (uint32_t i = 1; i < FM_SLOTS; i++)
		n += lives(&f->ctl->worker[i]);
	return n;
}

uint32_t fm_with_module(const struct fm *f, char first)
{
	uint32_t n = 0;

	for (uint32_t i = 1; i < FM_SLOTS; i++)
		n += f->ctl->worker[i].ready && lives(&f->ctl->worker[i]) &&
		     f->ctl->worker[i].module == (unsigned char)first &&
		     f->ctl->worker[i].memfds == (first != 0);
	return n;
}

pid_t fm_some_worker(const struct fm *f)
{
	for (uint32_t i = 1; i < FM_SLOTS; i++)
		if (f->ctl->worker[i].ready && lives(&f->ctl->worker[i]))
			return f->ctl->worker[i].pid;
	return 0;
}

void fm_write_file(const struct fm *f, const char *name, const char *text)
{
	char path[128];
	FILE *out;

	snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	out = fopen(path, "w");
	assert_non_null(out);
	fputs(text, out);
	assert_int_equal(fclose(out), 0);
}

/* ---- its end ---- */

void fm_signal(const struct fm *f, int sig)
{
	assert_int_equal(kill(f->pid, sig), 0);
}

int fm_wait_exit(struct fm *f)
{
	int status = 0;

	FM_WAIT(f, waitpid(f->pid, &status, WNOHANG) == f->pid);
	f->pid = 0;
	/* A killed worker could not say that it left. */
	for (uint32_t i = 0; i < FM_SLOTS; i++)
		f->ctl->worker[i].ready = 0;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

void fm_end(struct fm *f)
{
	char path[128], command[128];

	if (f->pid) {
		f->ctl->boot = FM_BOOT_READY;
		f->ctl->deaf = 0;
		kill(f->pid, SIGTERM);
		int rc = fm_wait_exit(f);

		if (rc != 0)
			show(f);
		assert_int_equal(rc, 0);
	}
	for (uint32_t i = 0; i < FM_SLOTS; i++) {
		pid_t pid = f->ctl->worker[i].pid;

		FM_WAIT(f, pid == 0 || fm_gone(pid));
	}
	snprintf(path, sizeof(path), "/dev/shm/%s", f->shm);
	assert_int_not_equal(access(path, F_OK), 0);
	munmap(f->ctl, sizeof(*f->ctl));
	snprintf(command, sizeof(command), "rm -rf %s", f->dir);
	assert_int_equal(system(command), 0);
	*f = (struct fm){0};
}
