/* SPDX-License-Identifier: MIT */
/*
 * What the store of the cache costs: a look-up with its pin, for keys of 40 bytes, and a put of 1
 * KiB into a full cache; in ns, and as a ratio to a plain atomic counter in the same run; one
 * process, and two at once. Beside the put stands the copy alone, into as much memory. Then how
 * much of it holds values when it is full.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bench/ops.h"
#include "shm/cache.h"

#define OPS 300000u
#define KEY 40
#define VALUE 1024
#define MEMORY (64u << 20)
#define NEVER (1ULL << 60)

static struct shm seg;
static char keys[OPS][KEY];
static uint64_t hashes[OPS], sum;
static char value[VALUE], *ring;
static uint32_t nkeys;

static void init(uint64_t memory, uint32_t workers)
{
	shm_geometry_for(&seg.geo, workers, 100, 64, 0, 0);
	if (!shm_cache_geometry(&seg.geo, memory))
		abort();
	ops_make_segment(&seg);
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

static void op_one(uint32_t slot, uint32_t i) { (void)i; get(slot, 3); }
static void op_few(uint32_t slot, uint32_t i) { get(slot, i % 256); }
static void op_many(uint32_t slot, uint32_t i)
{
	get(slot, (uint32_t)((uint64_t)i * 2654435761u % nkeys));
}

static void op_put(uint32_t slot, uint32_t i) { put(slot, i); }

static void op_copy(uint32_t slot, uint32_t i)
{
	(void)slot;
	memcpy(ring + (size_t)(i % (MEMORY / VALUE)) * VALUE, value, VALUE);
	__asm__ volatile("" ::: "memory");
}

static void table(void)
{
	static const struct ops_row rows[] = {
		{"plain atomic counter", ops_add}, {"get, the same key", op_one},
		{"get, one of 256", op_few}, {"get, one of a full cache", op_many},
		{"put of 1 KiB, evicting", op_put}, {"... a copy of 1 KiB alone", op_copy},
	};

	ops_print(&(struct ops_table){rows, sizeof(rows) / sizeof(rows[0]), OPS, &seg});
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
	ring = ops_map(MEMORY);
	init(MEMORY, 4);
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
