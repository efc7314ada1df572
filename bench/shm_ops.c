/* SPDX-License-Identifier: MIT */
/* What the operations on the segment cost: nanoseconds each, best of several runs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "shm/shm_priv.h"

#define RUNS 7
#define OPS 2000000u

static struct shm seg;

static void init(void)
{
	shm_geometry_for(&seg.geo, 16, 1000, 64, 64, 8);
	seg.size = shm_size_for(&seg.geo);
	seg.base = mmap(NULL, seg.size, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (seg.base == MAP_FAILED)
		abort();
	shm_place(&seg);
	shm_format(&seg);
}

static void op_row(uint32_t i)
{
	struct shm_row *r = shm_row(&seg, 1, i & 63);

	shm_row_begin(r, SLICE("0123456789abcdef01234567"), SLICE("GET"), SLICE("/api/v1/items/42"),
		      "192.168.100.200", i);
	shm_row_end(r);
}

static void op_row_state(uint32_t i)
{
	shm_row_state(shm_row(&seg, 1, i & 63), SHM_ROW_HANDLING);
}

static void op_hist(uint32_t i)
{
	shm_hist_add(shm_hist_of(&seg, 1, i & 3), (uint64_t)i * 2654435761u >> 20, 1);
}

static void op_series(uint32_t i)
{
	static const uint32_t codes[] = {200, 200, 200, 204, 301, 404, 200, 503};

	shm_series_add(&seg, 1, i % 16, 1 + i % 3, codes[i % 8], 1);
}

static void op_ring(uint32_t i)
{
	static const char line[200] = "a line of the access log";

	if (!shm_ring_put(&seg, 1, SHM_REC_ACCESS_LOG, line, sizeof(line))) {
		/* As if all had been taken: the consumer's side is not what is measured. */
		shm_set(&seg.rings[1].tail, shm_get(&seg.rings[1].head));
		(void)i;
	}
}

static void op_read(uint32_t i)
{
	static struct shm_row_view v;

	(void)shm_row_read(shm_row(&seg, 1, i & 63), &v);
}

static void measure(const char *name, void (*op)(uint32_t))
{
	uint64_t best = UINT64_MAX;

	for (int run = 0; run < RUNS; run++) {
		uint64_t start = clock_mono_ns(), took;

		for (uint32_t i = 0; i < OPS; i++) {
			op(i);
			__asm__ volatile("" ::: "memory");
		}
		took = clock_mono_ns() - start;
		best = took < best ? took : best;
	}
	printf("%-22s %6.1f ns\n", name, (double)best / OPS);
}

int main(void)
{
	init();
	measure("row begin + end", op_row);
	for (uint32_t i = 0; i < 64; i++)
		shm_row_begin(shm_row(&seg, 1, i), SLICE("0123456789abcdef01234567"), SLICE("GET"),
			      SLICE("/api/v1/items/42"), "192.168.100.200", i);
	measure("row state", op_row_state);
	measure("row read", op_read);
	measure("histogram add", op_hist);
	measure("series add", op_series);
	measure("ring put, 200 bytes", op_ring);
	return 0;
}
