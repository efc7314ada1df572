/* SPDX-License-Identifier: MIT */
/*
 * What semaphores cost: one process, two at once, each beside a plain counter that both processes
 * share, in the same run; and how long it takes until a waiter in another process has a permit.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "shm/sem.h"
#include "shm/shm_priv.h"

#define RUNS 7
#define OPS 1000000u
#define HANDS 2000u
#define LIMIT 200u

static struct shm seg;
static struct shared {
	SHM_ALIGNED _Atomic uint64_t counter;
	SHM_ALIGNED _Atomic uint32_t ready;
	SHM_ALIGNED _Atomic uint64_t ps;
	SHM_ALIGNED _Atomic uint64_t given_ns;
} *sh;

static void *map(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (p == MAP_FAILED)
		abort();
	return p;
}

static void init(void)
{
	struct shm_sem_spec many = {"many", LIMIT, 1024, {3, 2, 1}}, one = {"one", 1, 1, {3, 2, 1}};
	uint32_t at;

	shm_geometry_for(&seg.geo, 16, 1000, 64, 64, 8);
	seg.size = shm_size_for(&seg.geo);
	seg.base = map(seg.size);
	seg.claimed = calloc(seg.geo.slots, sizeof(*seg.claimed));
	shm_place(&seg);
	shm_format(&seg);
	if (seg.claimed == NULL || shm_sem_intern(&seg, &many, 1, &at) != 0 ||
	    shm_sem_intern(&seg, &one, 1, &at) != 0)
		abort();
	sh = map(sizeof(*sh));
}

static void op_counter(uint32_t slot)
{
	(void)slot;
	atomic_fetch_add(&sh->counter, 1);
	atomic_fetch_sub(&sh->counter, 1);
}

static void op_permit(uint32_t slot)
{
	struct shm_sem_wake wake;
	uint32_t p, have = 0;

	wake.n = 0;
	if (!shm_sem_acquire(&seg, 0, slot, 1, false, 1, 1000000, &p, &have, &wake))
		abort();
	shm_sem_release(&seg, 0, slot, &p, 1, 1000000, &wake);
}

static double run(void (*op)(uint32_t), uint32_t slot)
{
	uint64_t start = clock_mono_ns();

	for (uint32_t i = 0; i < OPS; i++)
		op(slot);
	return (double)(clock_mono_ns() - start) / OPS;
}

static double best_alone(void (*op)(uint32_t))
{
	double best = 1e9;

	for (int i = 0; i < RUNS; i++) {
		double ns = run(op, 1);

		best = ns < best ? ns : best;
	}
	return best;
}

/* Both begin together; the slower of the two counts. */
static double once_both(void (*op)(uint32_t))
{
	pid_t pid;
	double mine, other;

	atomic_store(&sh->ready, 0);
	pid = fork();
	atomic_fetch_add(&sh->ready, 1);
	while (atomic_load(&sh->ready) != 2)
		continue;
	mine = run(op, pid == 0 ? 2 : 1);
	if (pid == 0) {
		atomic_store(&sh->ps, (uint64_t)(mine * 1000));
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, NULL, 0) != pid)
		abort();
	other = (double)atomic_load(&sh->ps) / 1000;
	return mine > other ? mine : other;
}

static double best_both(void (*op)(uint32_t))
{
	double best = 1e9;

	for (int i = 0; i < RUNS; i++) {
		double ns = once_both(op);

		best = ns < best ? ns : best;
	}
	return best;
}

static void compare(const char *how, double permit, double counter)
{
	printf("permit acquire + release, %-14s %6.1f ns, counter %5.1f ns, ratio %5.2f\n", how,
	       permit, counter, permit / counter);
}

/* ---- hand-over: parent and child pass the only permit to each other ---- */

static void pass(uint32_t slot, int mine, int other, uint64_t *sum, bool has)
{
	struct shm_sem_waits none = {0}, one = {.count = {1}, .oldest_ns = {1}};
	struct shm_sem_wake wake = {0};
	uint32_t p = 0, have = 0;
	uint64_t word;

	if (has && !shm_sem_acquire(&seg, 1, slot, 1, false, 0, clock_mono_ns(), &p, &have, &wake))
		abort();
	for (uint32_t i = 0; i < HANDS; i++) {
		uint64_t now = clock_mono_ns();

		if (have == 1) {
			/* The other one waits by now, or else there is nobody to hand it to. */
			struct shm_sem_view v;

			while (!shm_sem_read(&seg, 1, &v) || v.waiting[0] == 0)
				sched_yield();
			for (uint64_t until = clock_mono_ns() + 20000; now < until;)
				now = clock_mono_ns(); /* it sleeps now */
			atomic_store(&sh->given_ns, now);
			shm_sem_release(&seg, 1, slot, &p, 1, now, &wake);
			have = 0;
			if (wake.n != 1 || write(other, &(uint64_t){1}, 8) != 8)
				abort();
			wake.n = 0;
		} else {
			shm_sem_wait(&seg, 1, slot, &one, now, &wake);
			while (!shm_sem_acquire(&seg, 1, slot, 1, true, 0, now, &p, &have, &wake))
				if (read(mine, &word, 8) != 8)
					abort();
			*sum += clock_mono_ns() - atomic_load(&sh->given_ns);
			shm_sem_wait(&seg, 1, slot, &none, now, &wake);
			wake.n = 0;
		}
	}
	shm_sem_release(&seg, 1, slot, &p, have, 1, &wake);
}

static void hand_over(void)
{
	int a = eventfd(0, EFD_CLOEXEC), b = eventfd(0, EFD_CLOEXEC);
	uint64_t sum = 0;
	pid_t pid = fork();

	if (pid == 0) {
		/* It gives first when it has none: it waits until it is given one. */
		pass(2, b, a, &sum, false);
		_exit(0);
	}
	pass(1, a, b, &sum, true);
	if (pid < 0 || waitpid(pid, NULL, 0) != pid)
		abort();
	printf("permit hand-over to another process     %6.1f us, by eventfd, from release to "
	       "acquired\n", (double)sum / (HANDS / 2) / 1000);
}

int main(void)
{
	init();
	compare("alone:", best_alone(op_permit), best_alone(op_counter));
	compare("two processes:", best_both(op_permit), best_both(op_counter));
	(void)fflush(stdout);
	hand_over();
	return 0;
}
