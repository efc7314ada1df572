/* SPDX-License-Identifier: MIT */
/*
 * The stepper: a child runs one operation on a shared segment, stopped after each instruction.
 * Whenever that has changed the segment it can be looked at as if the child had been killed there.
 *
 * With STEP_ALL in the environment it is stopped after each instruction there is, and all moments
 * are tried. Without, it is stopped where it writes to the segment, which it sees as read-only: the
 * states are the same, as nothing else changes it. Of what is tried between reads a part is tried.
 */
#ifndef TESTS_UNIT_SHM_STEP_H
#define TESTS_UNIT_SHM_STEP_H

#include "tests/unit/shm_help.h"

#include <sys/ptrace.h>
#include <sys/user.h>
#include <ucontext.h>

#define STEPS_MAX 3000000
#define STEPS_SEEN 200000  /* of a path */
#define POINTS_MAX 512

/* Copies of segments are freed by the hundred: if all were kept each fork would be slow. */
__attribute__((used)) const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "quarantine_size_mb=1";
}

typedef void operation_f(struct shm *s);
typedef void rule_f(struct shm *copy, const struct shm *before);

__attribute__((unused)) static struct shm as_copy(const struct shm *s, char *bytes, bool *claimed)
{
	struct shm c = *s;

	memcpy(bytes, s->base, s->size);
	memcpy(claimed, s->claimed, s->geo.slots);
	c.base = bytes;
	c.claimed = claimed;
	shm_place(&c);
	return c;
}

static bool step_all(void)
{
	return getenv("STEP_ALL") != NULL;
}

/* ---- a child that stops where it writes ---- */

#define TRAP_FLAG 0x100
static struct { char *base; size_t size; } guarded; /* in the child */

static void guard(int protection)
{
	if (mprotect(guarded.base, guarded.size, protection) != 0)
		_exit(98);
}

static void on_write(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	if ((uintptr_t)info->si_addr - (uintptr_t)guarded.base >= guarded.size)
		_exit(99); /* it is not ours: it has crashed */
	guard(PROT_READ | PROT_WRITE);
	((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
}

static void on_written(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)info;
	((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
	guard(PROT_READ);
	raise(SIGUSR1); /* here who steps looks */
}

static void guard_begin(const struct shm *s)
{
	struct sigaction write = {.sa_sigaction = on_write, .sa_flags = SA_SIGINFO};
	struct sigaction written = {.sa_sigaction = on_written, .sa_flags = SA_SIGINFO};

	guarded.base = s->base;
	guarded.size = s->size;
	if (sigaction(SIGSEGV, &write, NULL) != 0 || sigaction(SIGTRAP, &written, NULL) != 0)
		_exit(98);
	guard(PROT_READ);
}

/* ---- stepping ---- */

static void step_child(struct shm *s, operation_f *op, bool by_writes)
{
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
		_exit(77);
	if (by_writes)
		guard_begin(s);
	raise(SIGSTOP);
	op(s);
	raise(SIGSTOP); /* the way out is long, and not what is tested */
	_exit(0);
}

static pid_t step_fork(struct shm *s, operation_f *op, bool by_writes)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		step_child(s, op, by_writes);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
		print_message("no tracing of children here: not tested\n");
		skip();
	}
	assert_true(WIFSTOPPED(status));
	return pid;
}

/* A child that is stopped before the first instruction of `op`, for step_change(). */
__attribute__((unused)) static pid_t step_begin(struct shm *s, operation_f *op)
{
	return step_fork(s, op, !step_all());
}

/* The same, for go() and go_to(). */
__attribute__((unused)) static pid_t step_begin_plain(struct shm *s, operation_f *op)
{
	return step_fork(s, op, false);
}

/* Lets it run until it stops, but for the signals of writing, which it gets. */
static int step_on(pid_t pid, enum __ptrace_request how)
{
	long pass = 0;
	int status;

	do {
		assert_int_equal(ptrace(how, pid, NULL, (void *)pass), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		pass = WIFSTOPPED(status) ? WSTOPSIG(status) : 0;
	} while (how == PTRACE_CONT && (pass == SIGSEGV || pass == SIGTRAP));
	return status;
}

/* Lets the child go on to its end. */
__attribute__((unused)) static void step_finish(pid_t pid)
{
	int status;

	do
		status = step_on(pid, PTRACE_CONT);
	while (WIFSTOPPED(status) &&
	       (WSTOPSIG(status) == SIGSTOP || WSTOPSIG(status) == SIGUSR1));
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Runs the child until it has changed the segment from `last`, which is brought up to date. false:
 * it has come to its end instead. */
__attribute__((unused)) static bool step_change(const struct shm *s, pid_t pid, char *last)
{
	for (unsigned steps = 0; steps < STEPS_MAX; steps++) {
		int status = step_on(pid, step_all() ? PTRACE_SINGLESTEP : PTRACE_CONT);

		assert_true(WIFSTOPPED(status));
		if (WSTOPSIG(status) == SIGSTOP) {
			step_finish(pid);
			return false;
		}
		assert_int_equal(WSTOPSIG(status), step_all() ? SIGTRAP : SIGUSR1);
		if (memcmp(last, s->base, s->size) != 0) {
			memcpy(last, s->base, s->size);
			return true;
		}
	}
	fail_msg("the operation does not end");
	return false;
}

/* Runs `op` step by step; returns how many different states were seen. */
__attribute__((unused)) static unsigned each_step(struct shm *s, operation_f *op, rule_f *rule)
{
	char *before = malloc(s->size), *last = malloc(s->size), *bytes = malloc(s->size);
	bool claimed[8], claimed_before[8];
	unsigned states = 0;
	struct shm was;
	pid_t pid;

	assert_true(before && last && bytes && s->geo.slots <= 8);
	was = as_copy(s, before, claimed_before);
	memcpy(last, s->base, s->size);
	pid = step_begin(s, op);
	while (step_change(s, pid, last)) {
		struct shm copy = as_copy(s, bytes, claimed);

		states++;
		rule(&copy, &was);
	}
	free(before);
	free(last);
	free(bytes);
	return states;
}

/* Whether the k-th of n moments is tried: about `most` of them, the first and the last always. */
__attribute__((unused)) static bool is_tried(unsigned k, unsigned n, unsigned most)
{
	return step_all() || n <= most || k + 1 == n || k % ((n + most - 1) / most) == 0;
}

/* ---- back to a moment that was seen before ---- */

/* The nth time that an operation is about to run the instruction there. */
struct spot { uintptr_t pc; unsigned nth; };
struct path {
	unsigned steps, nchanges;
	uintptr_t pc[STEPS_SEEN];      /* after each step */
	unsigned change[POINTS_MAX];   /* steps after which the segment is another */
};

static uintptr_t pc_of(pid_t pid)
{
	struct user_regs_struct regs;

	assert_int_equal(ptrace(PTRACE_GETREGS, pid, NULL, &regs), 0);
	return regs.rip;
}

static void set_pc(pid_t pid, uintptr_t pc)
{
	struct user_regs_struct regs;

	assert_int_equal(ptrace(PTRACE_GETREGS, pid, NULL, &regs), 0);
	regs.rip = pc;
	assert_int_equal(ptrace(PTRACE_SETREGS, pid, NULL, &regs), 0);
}

/* Lets it run to its next stop. false: it has come to its end. */
static bool go(pid_t pid, enum __ptrace_request how)
{
	int status;

	assert_int_equal(ptrace(how, pid, NULL, NULL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSTOPPED(status));
	if (WSTOPSIG(status) == SIGTRAP)
		return true;
	assert_int_equal(WSTOPSIG(status), SIGSTOP);
	step_finish(pid);
	return false;
}

/* Lets it run to a moment. false: it has come to its end, without or before. */
__attribute__((unused)) static bool go_to(pid_t pid, struct spot spot)
{
	void *pc = (void *)spot.pc;
	long was = ptrace(PTRACE_PEEKTEXT, pid, pc, NULL);
	long stop = (was & ~0xffL) | 0xcc; /* int3 */

	for (unsigned hit = 0;; hit++) {
		assert_int_equal(ptrace(PTRACE_POKETEXT, pid, pc, (void *)stop), 0);
		if (!go(pid, PTRACE_CONT))
			return false;
		assert_int_equal(pc_of(pid), spot.pc + 1);
		set_pc(pid, spot.pc);
		assert_int_equal(ptrace(PTRACE_POKETEXT, pid, pc, (void *)was), 0);
		if (hit == spot.nth)
			return true;
		if (!go(pid, PTRACE_SINGLESTEP))
			return false;
	}
}

/* The way that `op` takes by itself, after `scene`. */
__attribute__((unused)) static void find_path(operation_f *scene, operation_f *op,
					      struct path *ret)
{
	char *last;
	struct shm s;
	pid_t pid;

	scene(&s);
	last = malloc(s.size);
	assert_non_null(last);
	memcpy(last, s.base, s.size);
	ret->steps = ret->nchanges = 0;
	pid = step_begin_plain(&s, op);
	while (go(pid, PTRACE_SINGLESTEP)) {
		ret->pc[ret->steps] = pc_of(pid);
		if (memcmp(last, s.base, s.size) != 0) {
			assert_true(ret->nchanges < POINTS_MAX);
			ret->change[ret->nchanges++] = ret->steps;
			memcpy(last, s.base, s.size);
		}
		assert_true(++ret->steps < STEPS_SEEN);
	}
	free(last);
	fake_fini(&s);
}

__attribute__((unused)) static struct spot spot_at(const struct path *path, unsigned at)
{
	struct spot spot = {.pc = path->pc[at]};

	for (unsigned i = 0; i < at; i++)
		spot.nth += path->pc[i] == spot.pc;
	return spot;
}

__attribute__((unused)) static void need_states(unsigned got, unsigned want)
{
	assert_true(got >= want);
}

#endif
