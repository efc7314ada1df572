/* SPDX-License-Identifier: MIT */
#include "bench/ops.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

#define RUNS 7

static struct shared {
	SHM_ALIGNED _Atomic uint32_t arrived;
	SHM_ALIGNED _Atomic uint64_t counter;
	double best[OPS_PROCESSES];
} *shared;

void *ops_map(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (p == MAP_FAILED)
		abort();
	return p;
}

void ops_make_segment(struct shm *seg)
{
	seg->size = shm_size_for(&seg->geo);
	seg->base = ops_map(seg->size);
	seg->claimed = calloc(seg->geo.slots, sizeof(*seg->claimed));
	if (!seg->claimed)
		abort();
	shm_place(seg);
	shm_format(seg);
}

void ops_add(uint32_t slot, uint32_t i)
{
	(void)slot;
	(void)i;
	atomic_fetch_add(&shared->counter, 1);
}

void ops_add_and_take(uint32_t slot, uint32_t i)
{
	(void)slot;
	(void)i;
	atomic_fetch_add(&shared->counter, 1);
	atomic_fetch_sub(&shared->counter, 1);
}

static double best_of(const struct ops_table *t, const struct ops_row *row, uint32_t process)
{
	uint64_t best = UINT64_MAX;

	for (int run = 0; run < RUNS; run++) {
		uint32_t at = process * (t->count / OPS_PROCESSES);
		uint64_t start = clock_mono_ns(), took;

		for (uint32_t k = 0; k < t->count; k++) {
			row->op(1 + process, at);
			at = at + 1 == t->count ? 0 : at + 1;
		}
		took = clock_mono_ns() - start;
		best = took < best ? took : best;
	}
	return (double)best / t->count;
}

/* A child has the pages only when it has touched them; a prefetch alone walks in vain each time. */
static void touch(const struct shm *seg)
{
	for (size_t i = 0; seg && i < seg->size; i += 4096)
		(void)((const volatile unsigned char *)seg->base)[i];
}

static double measure(const struct ops_table *t, const struct ops_row *row, uint32_t n)
{
	double worst = 0;

	atomic_store(&shared->arrived, 0);
	for (uint32_t k = 0; k < n; k++) {
		cpu_set_t cpu;

		if (fork() != 0)
			continue;
		CPU_ZERO(&cpu);
		CPU_SET(k, &cpu);
		(void)sched_setaffinity(0, sizeof(cpu), &cpu); /* without: less steady */
		touch(t->seg);
		atomic_fetch_add(&shared->arrived, 1);
		while (atomic_load(&shared->arrived) < n)
			continue;
		shared->best[k] = best_of(t, row, k);
		_exit(0);
	}
	for (uint32_t k = 0; k < n; k++)
		(void)wait(NULL);
	for (uint32_t k = 0; k < n; k++)
		worst = shared->best[k] > worst ? shared->best[k] : worst;
	return worst;
}

void ops_print(const struct ops_table *t)
{
	double first[OPS_PROCESSES] = {0};

	if (!shared)
		shared = ops_map(sizeof(*shared));
	printf("%-30s %12s %18s\n", "", "one process", "two at once");
	for (size_t i = 0; i < t->n; i++) {
		printf("%-30s", t->rows[i].name);
		(void)fflush(stdout);
		for (uint32_t n = 1; n <= OPS_PROCESSES; n++) {
			double ns = measure(t, &t->rows[i], n);

			if (i == 0)
				first[n - 1] = ns;
			printf(" %6.1f ns x%5.2f", ns, ns / first[n - 1]);
		}
		printf("\n");
	}
}
