/* SPDX-License-Identifier: MIT */
/*
 * What a check of a rate limit costs when the time is given: in ns, and as a ratio to a plain
 * atomic counter in the same run; one process, and two at once on the same limits. Best of several.
 */
#include <stdlib.h>
#include <string.h>

#include "bench/ops.h"
#include "shm/rate.h"

#define OPS 1000000u
#define KEYS 1000000u

static struct shm seg;
static uint32_t bucket, window, keyed;

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
	ops_make_segment(&seg);
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

int main(void)
{
	static const struct ops_row rows[] = {
		{"plain atomic counter", ops_add}, {"bucket", op_bucket},
		{"window", op_window}, {"one key of a table", op_one_key},
		{"a million keys", op_keyed}, {"... brought near", op_ahead},
		{"... a load of them", op_far_load}, {"hash of 16 bytes", op_hash},
	};

	init();
	for (uint32_t i = 0; i < KEYS; i++)
		check(1, keyed, hash_of(i));
	ops_print(&(struct ops_table){rows, sizeof(rows) / sizeof(rows[0]), OPS, &seg});
	return 0;
}
