/* SPDX-License-Identifier: MIT */
/*
 * What semaphores cost: one process, two at once, each beside a plain counter that both processes
 * share, in the same run; and how long it takes until a waiter in another process has a permit.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench/ops.h"
#include "shm/sem.h"

#define OPS 1000000u
#define HANDS 2000u
#define LIMIT 200u

static struct shm seg;
static _Atomic uint64_t *given_ns;

static void init(void)
{
	struct shm_sem_spec many = {"many", LIMIT, 1024, {3, 2, 1}}, one = {"one", 1, 1, {3, 2, 1}};
	uint32_t at;

	shm_geometry_for(&seg.geo, 16, 1000, 64, 64, 8);
	ops_make_segment(&seg);
	if (shm_sem_intern(&seg, &many, 1, &at) != 0 || shm_sem_intern(&seg, &one, 1, &at) != 0)
		abort();
	given_ns = ops_map(sizeof(*given_ns));
}

static void op_permit(uint32_t slot, uint32_t i)
{
	struct shm_sem_wake wake;
	uint32_t p, have = 0;

	(void)i;
	wake.n = 0;
	if (!shm_sem_acquire(&seg, 0, slot, 1, false, 1, 1000000, &p, &have, &wake))
		abort();
	shm_sem_release(&seg, 0, slot, &p, 1, 1000000, &wake);
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
			atomic_store(given_ns, now);
			shm_sem_release(&seg, 1, slot, &p, 1, now, &wake);
			have = 0;
			/* None to wake: it was late, and takes the permit before it sleeps. */
			if (wake.n > 0 && write(other, &(uint64_t){1}, 8) != 8)
				abort();
			wake.n = 0;
		} else {
			shm_sem_wait(&seg, 1, slot, &one, now, &wake);
			while (!shm_sem_acquire(&seg, 1, slot, 1, true, 0, now, &p, &have, &wake))
				if (read(mine, &word, 8) != 8)
					abort();
			*sum += clock_mono_ns() - atomic_load(given_ns);
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
	static const struct ops_row rows[] = {
		{"plain counter, up and down", ops_add_and_take},
		{"permit, acquire and release", op_permit},
	};

	init();
	ops_print(&(struct ops_table){rows, sizeof(rows) / sizeof(rows[0]), OPS, &seg});
	(void)fflush(stdout);
	hand_over();
	return 0;
}
