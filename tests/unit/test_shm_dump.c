/* SPDX-License-Identifier: MIT */
/* Stacks of threads: asked for, given, refused, of crashes; and random words in their area. */
#include <errno.h>
#include <pthread.h>

#include "shm/dump.h"
#include "tests/unit/shm_help.h"

#define WAIT_NS (10 * NS_PER_S)

static struct shm seg;
static _Atomic int tid_of[2], go_on;

__attribute__((noinline)) static void spin_here(void)
{
	while (!atomic_load(&go_on))
		__asm__ volatile("");
	__asm__ volatile("");
}

static void *spinner(void *arg)
{
	assert_int_equal(dump_thread_init(), 0);
	atomic_store((_Atomic int *)arg, dump_tid());
	spin_here();
	dump_thread_fini();
	return NULL;
}

static void start(pthread_t t[2])
{
	atomic_store(&go_on, 0);
	for (int i = 0; i < 2; i++) {
		atomic_store(&tid_of[i], 0);
		assert_int_equal(pthread_create(&t[i], NULL, spinner, &tid_of[i]), 0);
		while (!atomic_load(&tid_of[i]))
			continue;
	}
}

static void stop(pthread_t t[2])
{
	atomic_store(&go_on, 1);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
}

static int wait_for(uint32_t ticket, struct dump_stack *st)
{
	uint64_t end = clock_mono_ns() + WAIT_NS;
	int rc;

	while ((rc = dump_take(&seg, 1, ticket, st)) == -EAGAIN && clock_mono_ns() < end)
		continue;
	return rc;
}

static bool is_in(const struct dump_stack *st, void (*fn)(void))
{
	uint64_t at = (uint64_t)(uintptr_t)fn;

	for (uint32_t i = 0; i < st->n; i++)
		if (st->pc[i] >= at && st->pc[i] < at + 256)
			return true;
	return false;
}

static void test_a_thread_is_asked(void **state)
{
	struct dump_stack st;
	pthread_t t[2];
	uint32_t ticket;

	(void)state;
	start(t);
	for (int i = 0; i < 100; i++) {
		errno = 0;
		assert_int_equal(dump_ask(&seg, 1, getpid(), tid_of[i % 2], DUMP_BY_OWNER,
					  &ticket), 0);
		assert_int_equal(wait_for(ticket, &st), 0);
		assert_true(st.n >= 2 && st.n <= SHM_FRAMES);
		assert_true(is_in(&st, spin_here));
		/* Taken once. */
		assert_int_equal(dump_take(&seg, 1, ticket, &st), -ECANCELED);
	}
	stop(t);
}

static void test_who_cannot_be_asked(void **state)
{
	uint32_t ticket;

	(void)state;
	assert_int_equal(dump_ask(&seg, 2, getpid(), getpid(), DUMP_BY_MASTER, &ticket), -ENOTSUP);
	assert_int_equal(dump_ask(&seg, 1, getpid(), 1, DUMP_BY_MASTER, &ticket), -ESRCH);
	assert_int_equal(dump_ask(&seg, 1, getpid(), 0, DUMP_BY_MASTER, &ticket), -ESRCH);
	/* And nothing is left behind. */
	assert_int_equal(seg.dumps[1].claim & 0xf, CLAIM_FREE);
}

/* A thread that does not take signals: the question stays open. */
static void test_two_askers(void **state)
{
	struct dump_stack st;
	sigset_t set;
	uint32_t mine, theirs, again;

	(void)state;
	sigemptyset(&set);
	sigaddset(&set, DUMP_SIGNAL);
	assert_int_equal(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
	assert_int_equal(dump_ask(&seg, 1, getpid(), dump_tid(), DUMP_BY_OWNER, &mine), 0);
	assert_int_equal(dump_ask(&seg, 1, getpid(), dump_tid(), DUMP_BY_OWNER, &again), -EBUSY);
	assert_int_equal(dump_take(&seg, 1, mine, &st), -EAGAIN);
	assert_int_equal(dump_ask(&seg, 1, getpid(), dump_tid(), DUMP_BY_MASTER, &theirs), 0);
	assert_int_equal(dump_take(&seg, 1, mine, &st), -ECANCELED);
	/* Both signals come now; only the master's is answered. */
	assert_int_equal(pthread_sigmask(SIG_UNBLOCK, &set, NULL), 0);
	assert_int_equal(wait_for(theirs, &st), 0);
	/* Given up: the answer is none, and the next asker has the area. */
	assert_int_equal(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
	assert_int_equal(dump_ask(&seg, 1, getpid(), dump_tid(), DUMP_BY_OWNER, &mine), 0);
	dump_drop(&seg, 1, mine);
	assert_int_equal(pthread_sigmask(SIG_UNBLOCK, &set, NULL), 0);
	assert_int_equal(dump_take(&seg, 1, mine, &st), -ECANCELED);
	assert_int_equal(dump_ask(&seg, 1, getpid(), dump_tid(), DUMP_BY_OWNER, &again), 0);
	assert_int_equal(wait_for(again, &st), 0);
}

static void test_objects(void **state)
{
	struct dump_object o[SHM_OBJECTS];
	uint64_t at = (uint64_t)(uintptr_t)spin_here;
	uint32_t n = dump_read_objects(&seg, 1, o), own = 0, libc = 0;

	(void)state;
	assert_true(n >= 2);
	for (uint32_t i = 0; i < n; i++) {
		if (at >= o[i].start && at < o[i].end) {
			assert_string_equal(o[i].label, "test_shm_dump");
			assert_string_equal(o[i].path, "/proc/self/exe");
			own++;
		}
		if (strncmp(o[i].label, "libc.so", 7) == 0) {
			assert_int_equal(o[i].path[0], '/');
			assert_true(o[i].ino != 0);
			libc++;
		}
	}
	assert_int_equal(own, 1);
	assert_int_equal(libc, 1);
}

static void test_reports(void **state)
{
	struct dump_call c;
	uint32_t seen = 0;

	(void)state;
	assert_false(dump_next_call(&seg, 1, &seen, &c));
	dump_report_thread(DUMP_SLOW, 77, 3, 1000);
	dump_report_thread(DUMP_STUCK, 78, UINT32_MAX, 2000);
	assert_true(dump_next_call(&seg, 1, &seen, &c));
	assert_true(c.kind == DUMP_SLOW && c.tid == 77 && c.row == 3 && c.since_ns == 1000);
	assert_true(dump_next_call(&seg, 1, &seen, &c));
	assert_true(c.kind == DUMP_STUCK && c.tid == 78 && c.row == UINT32_MAX);
	assert_false(dump_next_call(&seg, 1, &seen, &c));
	/* Who does not look in time finds the last ones. */
	for (int i = 0; i < 20; i++)
		dump_report_thread(DUMP_SLOW, 100 + i, UINT32_MAX, 0);
	for (int i = 0; i < SHM_CALLS; i++) {
		assert_true(dump_next_call(&seg, 1, &seen, &c));
		assert_int_equal(c.tid, 100 + 20 - SHM_CALLS + i);
	}
	assert_false(dump_next_call(&seg, 1, &seen, &c));
}

/* ---- crashes, each in a child of its own ---- */

__attribute__((noinline)) static void crash_here(void)
{
	__asm__ volatile("");
	*(volatile int *)(uintptr_t)16 = 1;
}

static volatile int depth_max = 1 << 30;

__attribute__((noinline)) static int recurse(int depth)
{
	volatile char room[512];

	room[depth % 512] = (char)depth;
	return depth < depth_max ? recurse(depth + 1) + room[depth % 512] : 0;
}

static void *crash_thread(void *arg)
{
	(void)arg;
	if (dump_thread_init() == 0) {
		dump_thread_row(2);
		crash_here();
	}
	return NULL;
}

static void crash_by_null_call(void)
{
	void (*volatile fn)(void) = NULL;

	fn();
	__asm__ volatile("");
}

enum way { BY_FAULT, BY_OVERFLOW, BY_ABORT, BY_KILL, BY_THREAD, BY_NULL_CALL, BY_COPY };

__attribute__((noreturn)) static void crash(enum way way)
{
	static const int sigs[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
	pthread_t t;

	/* The framework has handlers, and so have sanitizers: this is about ours. */
	for (size_t i = 0; i < sizeof(sigs) / sizeof(sigs[0]); i++)
		signal(sigs[i], SIG_DFL);
	if (dump_open(&seg, 2, -1) != 0)
		_exit(1);
	switch (way) {
	case BY_FAULT:
		crash_here();
		break;
	case BY_OVERFLOW:
		(void)recurse(0);
		break;
	case BY_ABORT:
		abort();
	case BY_KILL:
		kill(getpid(), SIGSEGV);
		break;
	case BY_THREAD:
		pthread_create(&t, NULL, crash_thread, NULL);
		pthread_join(t, NULL);
		break;
	case BY_NULL_CALL:
		crash_by_null_call();
		break;
	case BY_COPY: /* not the owner of the slot */
		if (fork() == 0)
			crash_here();
		_exit(wait(NULL) < 0);
	}
	_exit(2);
}

static pid_t words_of(enum way way, int sig, struct dump_words *w)
{
	int status;
	pid_t pid;

	dump_clear(&seg.dumps[2]);
	assert_false(dump_last_words(&seg, 2, w));
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		crash(way);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), sig);
	assert_true(dump_last_words(&seg, 2, w));
	assert_int_equal(w->sig, sig);
	return pid;
}

static void test_last_words(void **state)
{
	struct dump_words w;
	pid_t pid;

	(void)state;
	shm_set(&shm_slot(&seg, 2)->current_row, 2);
	pid = words_of(BY_FAULT, SIGSEGV, &w);
	assert_true(w.addr == 16 && w.sender == 0 && w.thread == pid && !w.overflow);
	assert_int_equal(w.row, 1);
	assert_true(is_in(&w.stack, crash_here));

	(void)words_of(BY_OVERFLOW, SIGSEGV, &w);
	assert_true(w.overflow);
	assert_int_equal(w.stack.n, SHM_FRAMES);

	pid = words_of(BY_ABORT, SIGABRT, &w);
	assert_int_equal(w.sender, pid);

	pid = words_of(BY_KILL, SIGSEGV, &w);
	assert_int_equal(w.sender, pid);
	assert_int_equal(w.addr, 0);

	pid = words_of(BY_THREAD, SIGSEGV, &w);
	assert_int_not_equal(w.thread, pid);
	assert_int_equal(w.row, 2);
	assert_true(is_in(&w.stack, crash_here));

	(void)words_of(BY_NULL_CALL, SIGSEGV, &w);
	assert_int_equal(w.stack.pc[0], 0);
	assert_true(w.stack.n == 1 || is_in(&w.stack, crash_by_null_call));
	shm_set(&shm_slot(&seg, 2)->current_row, 0);
}

static void test_a_copy_says_nothing(void **state)
{
	struct dump_words w;
	int status;
	pid_t pid;

	(void)state;
	dump_clear(&seg.dumps[2]);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		crash(BY_COPY);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_false(dump_last_words(&seg, 2, &w));
}

/* ---- garbage ---- */

static void test_garbage(void **state)
{
	static struct dump_object o[SHM_OBJECTS];
	struct shm_dump *d = &seg.dumps[1], keep = *d;
	struct dump_words w;
	struct dump_stack st;
	struct dump_call c;
	uint64_t seed = 30;

	(void)state;
	for (int i = 0; i < 2000; i++) {
		uint32_t seen = (uint32_t)rnd(&seed), ticket = (uint32_t)rnd(&seed), n = 0;

		fill_random(d, sizeof(*d), &seed);
		if (dump_last_words(&seg, 1, &w))
			assert_true(w.stack.n <= SHM_FRAMES &&
				    (w.row == UINT32_MAX || w.row < seg.geo.rows));
		if (i % 2)
			d->objects_seq &= ~1u;
		assert_true(dump_read_objects(&seg, 1, o) <= SHM_OBJECTS);
		for (uint32_t k = 0; k < SHM_OBJECTS; k++)
			assert_true(strlen(o[k].label) < sizeof(o[k].label) &&
				    strlen(o[k].path) < sizeof(o[k].path));
		if (i % 2)
			ticket = claim_ticket(d->claim);
		if (dump_take(&seg, 1, ticket, &st) == 0)
			assert_true(st.n <= SHM_FRAMES);
		dump_drop(&seg, 1, ticket);
		while (dump_next_call(&seg, 1, &seen, &c)) {
			assert_true(c.tid > 0 && (c.row == UINT32_MAX || c.row < seg.geo.rows));
			assert_true(++n <= SHM_CALLS);
		}
		/* Able or not, free or not: an answer comes, or the question does not get out. */
		d->able = i % 4 != 0;
		if (dump_ask(&seg, 1, getpid(), dump_tid(), DUMP_BY_MASTER, &ticket) == 0)
			assert_int_equal(wait_for(ticket, &st), 0);
	}
	*d = keep;
}

static int setup(void **state)
{
	(void)state;
	fake_init(&seg, &small_geo);
	return dump_open(&seg, 1, -1);
}

static int teardown(void **state)
{
	(void)state;
	dump_close();
	fake_fini(&seg);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_thread_is_asked),
		cmocka_unit_test(test_who_cannot_be_asked),
		cmocka_unit_test(test_two_askers),
		cmocka_unit_test(test_objects),
		cmocka_unit_test(test_reports),
		cmocka_unit_test(test_last_words),
		cmocka_unit_test(test_a_copy_says_nothing),
		cmocka_unit_test(test_garbage),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
