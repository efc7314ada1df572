/* SPDX-License-Identifier: MIT */
/*
 * What the store of the cache costs: a look-up with its pin, for keys of 40 bytes, and a put of 1
 * KiB into a full cache; in ns, and as a ratio to a plain atomic counter in the same run; one
 * process, and two at once. Best of several. Then how much of the memory holds values when it is
 * full.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "shm/cache.h"
#include "shm/shm_priv.h"

#define RUNS 7
#define OPS 300000u
#define PROCESSES 2
#define KEY 40
#define VALUE 1024
#define NEVER (1ULL << 60)

static struct shm seg;
static struct shared {
	_Atomic uint32_t arrived;
	_Atomic uint64_t counter;
	double best[PROCESSES];
} *shared;
static char keys[OPS][KEY];
static uint64_t hashes[OPS], sum;
static uint32_t nkeys;

static void *map(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (p == MAP_FAILED)
		abort();
	return p;
}

static void init(uint64_t memory, uint32_t workers)
{
	shm_geometry_for(&seg.geo, workers, 100, 64, 0, 0);
	if (!shm_cache_geometry(&seg.geo, memory))
		abort();
	seg.size = shm_size_for(&seg.geo);
	seg.base = map(seg.size);
	seg.claimed = calloc(seg.geo.slots, sizeof(*seg.claimed));
	if (!seg.claimed)
		abort();
	shm_place(&seg);
	shm_format(&seg);
}

static void fini(void)
{
	munmap(seg.base, seg.size);
	free(seg.claimed);
}

static struct slice key_of(uint32_t i) { return (struct slice){keys[i], KEY}; }

static void make_keys(void)
{
	for (uint32_t i = 0; i < OPS; i++) {
		snprintf(keys[i], KEY, "GET localhost /api/v1/items/%010u", i);
		hashes[i] = shm_cache_hash(&seg, key_of(i));
	}
}

static void put(uint32_t slot, uint32_t i)
{
	static char value[VALUE];
	struct slice piece = {value, VALUE};
	struct shm_cache_put p = {
		.hash = hashes[i], .key = key_of(i), .value = &piece, .nvalue = 1,
		.fresh_ns = NEVER, .stale_ns = NEVER, .birth = shm_cache_birth(&seg),
	};

	(void)shm_cache_put(&seg, slot, &p, 1);
}

static void get(uint32_t slot, uint32_t i)
{
	struct shm_cache_ref ref;

	if (shm_cache_get(&seg, slot, hashes[i], key_of(i), true, 1, &ref) == SHM_CACHE_MISS)
		return;
	sum += ref.value_len;
	shm_cache_unpin(&seg, slot, &ref);
}

static void op_counter(uint32_t slot, uint32_t i)
{
	(void)slot;
	(void)i;
	atomic_fetch_add(&shared->counter, 1);
}

static void op_one(uint32_t slot, uint32_t i) { (void)i; get(slot, 3); }
static void op_few(uint32_t slot, uint32_t i) { get(slot, i % 256); }
static void op_many(uint32_t slot, uint32_t i)
{
	get(slot, (uint32_t)((uint64_t)i * 2654435761u % nkeys));
}

static void op_put(uint32_t slot, uint32_t i) { put(slot, i); }

typedef void op_f(uint32_t slot, uint32_t i);

static double best_of(op_f *op, uint32_t process)
{
	uint64_t best = UINT64_MAX;

	for (int run = 0; run < RUNS; run++) {
		uint64_t start = clock_mono_ns(), took;

		for (uint32_t i = 0; i < OPS; i++)
			op(1 + process, (i + process * (OPS / 2)) % OPS);
		took = clock_mono_ns() - start;
		best = took < best ? took : best;
	}
	return (double)best / OPS;
}

static void touch(void)
{
	for (size_t i = 0; i < seg.size; i += 4096)
		sum += ((const volatile unsigned char *)seg.base)[i];
}

static double measure(op_f *op, uint32_t n)
{
	double worst = 0;

	atomic_store(&shared->arrived, 0);
	for (uint32_t k = 0; k < n; k++) {
		cpu_set_t cpu;

		if (fork() != 0)
			continue;
		CPU_ZERO(&cpu);
		CPU_SET(k, &cpu);
		(void)sched_setaffinity(0, sizeof(cpu), &cpu);
		touch();
		atomic_fetch_add(&shared->arrived, 1);
		while (atomic_load(&shared->arrived) < n)
			continue;
		shared->best[k] = best_of(op, k);
		_exit(0);
	}
	for (uint32_t k = 0; k < n; k++)
		(void)wait(NULL);
	for (uint32_t k = 0; k < n; k++)
		worst = shared->best[k] > worst ? shared->best[k] : worst;
	return worst;
}

static void table(void)
{
	static const struct { const char *name; op_f *op; } ops[] = {
		{"plain atomic counter", op_counter}, {"get, the same key", op_one},
		{"get, one of 256", op_few}, {"get, one of a full cache", op_many},
		{"put of 1 KiB, evicting", op_put},
	};
	double counter[PROCESSES] = {0};

	printf("%-26s %12s %18s\n", "", "one process", "two at once");
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		printf("%-26s", ops[i].name);
		(void)fflush(stdout);
		for (uint32_t n = 1; n <= PROCESSES; n++) {
			double ns = measure(ops[i].op, n);

			if (i == 0)
				counter[n - 1] = ns;
			printf(" %6.1f ns x%5.2f", ns, ns / counter[n - 1]);
		}
		printf("\n");
	}
}

/* Filled by all workers in turn, twice around. */
static void space(uint64_t memory, uint32_t workers)
{
	struct shm_geometry without;
	struct shm_cache_view v;

	init(memory, workers);
	make_keys();
	for (uint32_t i = 0; i < OPS; i++)
		put(1 + i % workers, i);
	shm_cache_read(&seg, &v);
	without = seg.geo;
	(void)shm_cache_geometry(&without, 0);
	printf("%5llu MiB, %2u workers: %llu objects of 1 KiB are %.1f %% of it (%.1f %% of what it takes)\n",
	       (unsigned long long)(memory >> 20), workers, (unsigned long long)v.items,
	       100.0 * (double)v.items * VALUE / (double)memory,
	       100.0 * (double)v.items * VALUE / (double)(seg.size - shm_size_for(&without)));
	fini();
}

int main(void)
{
	shared = map(sizeof(*shared));
	init(64u << 20, 4);
	make_keys();
	nkeys = OPS;
	for (uint32_t i = 0; i < OPS; i++)
		put(1, i);
	/* The keys that are there, in front. */
	nkeys = 0;
	for (uint32_t i = 0; i < OPS; i++) {
		struct shm_cache_ref ref;

		if (shm_cache_get(&seg, 1, hashes[i], key_of(i), false, 1, &ref) == SHM_CACHE_MISS)
			continue;
		shm_cache_unpin(&seg, 1, &ref);
		memcpy(keys[nkeys], keys[i], KEY);
		hashes[nkeys++] = hashes[i];
	}
	printf("%u keys of %u bytes in 64 MiB\n", nkeys, KEY);
	table();
	fini();
	space(16u << 20, 16);
	space(64u << 20, 4);
	return 0;
}
