/* SPDX-License-Identifier: MIT */
/*
 * What a check of a rate limit costs when the time is given: in ns, and as a ratio to a plain
 * atomic counter in the same run; one process, and two at once on the same limits. Best of several.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "shm/rate.h"
#include "shm/shm_priv.h"

#define RUNS 7
#define OPS 1000000u
#define KEYS 1000000u
#define PROCESSES 2

static struct shm seg;
static uint32_t bucket, window, keyed;

struct shared {
	_Atomic uint32_t arrived;
	_Atomic uint64_t counter;
	double best[PROCESSES];
};
static struct shared *shared;

static void *map(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (p == MAP_FAILED)
		abort();
	return p;
}

static uint32_t intern(const char *name, enum shm_rate_algorithm a, uint32_t entries)
{
	struct shm_rate_spec spec = {
		.name = name, .algorithm = a, .rate = 1000000, .burst = 1000000,
		.period_ns = 1000000000, .entries = entries,
	};
	uint32_t at;

	if (shm_rate_intern(&seg, &spec, 1, &at) != 0)
		abort();
	return at;
}

static uint64_t hash_of(uint32_t i)
{
	uint64_t x = (i % KEYS + 1) * 0x9e3779b97f4a7c15ULL;

	return (x ^ x >> 29) * 0xbf58476d1ce4e5b9ULL;
}

/* Keys in no order: of each a first charge makes the entry. */
static uint32_t scatter(uint32_t i)
{
	return (uint32_t)((uint64_t)i * 2654435761u % KEYS);
}

static void init(void)
{
	shm_geometry_for(&seg.geo, 4, 100, 64, 0, 0);
	seg.geo.rate_keys = 2u << 20;
	seg.size = shm_size_for(&seg.geo);
	seg.base = map(seg.size);
	seg.claimed = calloc(seg.geo.slots, sizeof(*seg.claimed));
	if (!seg.claimed)
		abort();
	shm_place(&seg);
	shm_format(&seg);
	shared = map(sizeof(*shared));
	bucket = intern("bucket", SHM_RATE_BUCKET, 0);
	window = intern("window", SHM_RATE_WINDOW, 0);
	keyed = intern("keyed", SHM_RATE_BUCKET, 2u << 20);
}

static uint64_t now_ns = 1000000000, hashed;

static void check(uint32_t slot, uint32_t rate, uint64_t hash)
{
	struct shm_rate_use use = {.rate = rate, .hash = hash};
	int refused;

	now_ns += 1000;
	(void)shm_rate_charge(&seg, slot, true, &use, 1, now_ns, &refused);
}

static void op_counter(uint32_t slot, uint32_t i)
{
	(void)slot;
	(void)i;
	atomic_fetch_add(&shared->counter, 1);
}

static void op_bucket(uint32_t slot, uint32_t i) { (void)i; check(slot, bucket, 0); }
static void op_window(uint32_t slot, uint32_t i) { (void)i; check(slot, window, 0); }
static void op_keyed(uint32_t slot, uint32_t i) { check(slot, keyed, hash_of(scatter(i))); }
/* The places are brought near eight checks before: what the check itself costs. */
static void op_ahead(uint32_t slot, uint32_t i)
{
	shm_rate_prefetch(&seg, keyed, hash_of(scatter(i + 8)));
	check(slot, keyed, hash_of(scatter(i)));
}

/* A load from the table of which the next one's place depends: what its memory costs. */
static void op_far_load(uint32_t slot, uint32_t i)
{
	size_t lines = ((size_t)2 << 20) * 16 / 64;
	const char *at = (const char *)seg.rate_sets +
			 hash_of(scatter(i) ^ (uint32_t)(hashed & 1)) % lines * 64;

	(void)slot;
	hashed += *(const volatile unsigned char *)at;
}

static void op_one_key(uint32_t slot, uint32_t i) { (void)i; check(slot, keyed, hash_of(7)); }

/* With the hash of a key of 16 bytes, as of a client. */
static void op_hash(uint32_t slot, uint32_t i)
{
	char key[16] = {0};
	struct slice part = {key, sizeof(key)};

	(void)slot;
	memcpy(key, &i, sizeof(i));
	hashed += shm_rate_hash(&seg, &part, 1);
}

typedef void op_f(uint32_t slot, uint32_t i);

static double best_of(op_f *op, uint32_t process)
{
	uint64_t best = UINT64_MAX;

	for (int run = 0; run < RUNS; run++) {
		uint64_t start = clock_mono_ns(), took;

		for (uint32_t i = 0; i < OPS; i++)
			op(1 + process, i + process * (OPS / 2));
		took = clock_mono_ns() - start;
		best = took < best ? took : best;
	}
	return (double)best / OPS;
}

/* A child has the pages only when it has touched them; a prefetch alone walks in vain each time. */
static void touch(void)
{
	for (size_t i = 0; i < seg.size; i += 4096)
		hashed += ((const volatile unsigned char *)seg.base)[i];
}

/* So many processes at once, one on each CPU; the slower one's best. */
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
		(void)sched_setaffinity(0, sizeof(cpu), &cpu); /* without: less steady */
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

int main(void)
{
	static const struct { const char *name; op_f *op; } ops[] = {
		{"plain atomic counter", op_counter}, {"bucket", op_bucket},
		{"window", op_window}, {"one key of a table", op_one_key},
		{"a million keys", op_keyed}, {"... brought near", op_ahead},
		{"... a load of them", op_far_load}, {"hash of 16 bytes", op_hash},
	};
	double counter[PROCESSES] = {0};

	init();
	for (uint32_t i = 0; i < KEYS; i++)
		check(1, keyed, hash_of(i));
	printf("%-22s %12s %18s\n", "", "one process", "two at once");
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		printf("%-22s", ops[i].name);
		fflush(stdout);
		for (uint32_t n = 1; n <= PROCESSES; n++) {
			double ns = measure(ops[i].op, n);

			if (i == 0)
				counter[n - 1] = ns;
			printf(" %6.1f ns x%5.2f", ns, ns / counter[n - 1]);
		}
		printf("\n");
	}
	return 0;
}
