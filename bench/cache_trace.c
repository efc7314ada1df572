/* SPDX-License-Identifier: MIT */
/*
 * How often the cache finds what it is asked for, beside a true LRU of the same number of objects
 * (as many as the cache holds at the end), on traces of three kinds: zipf (s = 0.9), the same with
 * scans in between, and a loop that is larger than the cache. All requests of a trace are made of a
 * generator with a fixed seed.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "shm/cache.h"
#include "shm/shm_priv.h"

#define MEMORY (16u << 20)
#define OBJECTS 100000u          /* that zipf chooses from */
#define REQUESTS 1500000u
#define WARM 500000u             /* not counted */
#define VALUE 1000
#define NEVER (1ULL << 60)

static struct shm seg;
static double cumulated[OBJECTS];
static uint64_t seed;

static uint64_t rnd(void)
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return seed * 0x2545f4914f6cdd1dULL;
}

static uint32_t zipf(void)
{
	double u = (double)(rnd() >> 11) / (double)(1ULL << 53) * cumulated[OBJECTS - 1];
	uint32_t lo = 0, hi = OBJECTS - 1;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (cumulated[mid] < u)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* ---- traces ---- */

enum trace { ZIPF, SCANS, LOOP, TRACES };
static const char *const trace_names[TRACES] = {"zipf", "zipf with scans", "loop"};

static uint32_t next(enum trace t, uint32_t i, uint32_t held)
{
	static uint32_t fresh;

	if (i == 0)
		fresh = OBJECTS;
	/* A scan is as long as the cache, of objects that never come again, one time in three. */
	if (t == SCANS && i / held % 3 == 2)
		return fresh++;
	if (t == LOOP)
		return i % (held + held / 4);
	return zipf();
}

/* ---- a true LRU ---- */

#define NONE UINT32_MAX
static struct { uint32_t *prev, *next, first, last, n, max; unsigned char *in; } lru;

static void lru_init(uint32_t max, uint32_t keys)
{
	lru.prev = calloc(keys, sizeof(uint32_t));
	lru.next = calloc(keys, sizeof(uint32_t));
	lru.in = calloc(keys, 1);
	if (!lru.prev || !lru.next || !lru.in)
		abort();
	lru.first = lru.last = NONE;
	lru.n = 0;
	lru.max = max;
}

static void lru_fini(void)
{
	free(lru.prev);
	free(lru.next);
	free(lru.in);
}

static void lru_unlink(uint32_t k)
{
	if (lru.prev[k] == NONE)
		lru.first = lru.next[k];
	else
		lru.next[lru.prev[k]] = lru.next[k];
	if (lru.next[k] == NONE)
		lru.last = lru.prev[k];
	else
		lru.prev[lru.next[k]] = lru.prev[k];
	lru.in[k] = 0;
	lru.n--;
}

static bool lru_get(uint32_t k)
{
	bool hit = lru.in[k];

	if (hit)
		lru_unlink(k);
	else if (lru.n == lru.max)
		lru_unlink(lru.last);
	lru.prev[k] = NONE;
	lru.next[k] = lru.first;
	if (lru.first != NONE)
		lru.prev[lru.first] = k;
	else
		lru.last = k;
	lru.first = k;
	lru.in[k] = 1;
	lru.n++;
	return hit;
}

/* ---- the cache ---- */

static void init(enum shm_cache_policy policy)
{
	shm_geometry_for(&seg.geo, 4, 100, 64, 0, 0);
	if (!shm_cache_geometry(&seg.geo, MEMORY))
		abort();
	seg.size = shm_size_for(&seg.geo);
	seg.base = mmap(NULL, seg.size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	seg.claimed = calloc(seg.geo.slots, sizeof(*seg.claimed));
	if (seg.base == MAP_FAILED || !seg.claimed)
		abort();
	shm_place(&seg);
	shm_format(&seg);
	shm_cache_set(&seg, policy, 0);
}

static void fini(void)
{
	munmap(seg.base, seg.size);
	free(seg.claimed);
}

static bool cache_get(uint32_t k)
{
	static char value[VALUE];
	char text[24];
	struct slice key = {text, (size_t)snprintf(text, sizeof(text), "/items/%u", k)};
	struct slice piece = {value, VALUE};
	struct shm_cache_ref ref;
	struct shm_cache_put p = {
		.hash = shm_cache_hash(&seg, key), .key = key, .value = &piece, .nvalue = 1,
		.fresh_ns = NEVER, .stale_ns = NEVER,
	};

	if (shm_cache_get(&seg, 1, p.hash, key, true, 1, &ref) == SHM_CACHE_HIT) {
		shm_cache_unpin(&seg, 1, &ref);
		return true;
	}
	(void)shm_cache_put(&seg, 1, &p, 1);
	return false;
}

static double run(enum trace t, uint32_t held, bool (*get)(uint32_t))
{
	uint32_t hits = 0;

	seed = 88172645463325252ULL;
	for (uint32_t i = 0; i < REQUESTS; i++)
		hits += get(next(t, i, held)) && i >= WARM;
	return 100.0 * hits / (REQUESTS - WARM);
}

static double run_lru(enum trace t, uint32_t held)
{
	double got;

	lru_init(held, OBJECTS + REQUESTS);
	got = run(t, held, lru_get);
	lru_fini();
	return got;
}

static double run_cache(enum trace t, uint32_t held, enum shm_cache_policy policy)
{
	double got;

	init(policy);
	got = run(t, held, cache_get);
	fini();
	return got;
}

int main(void)
{
	struct shm_cache_view v;
	uint32_t held;

	for (uint32_t i = 0; i < OBJECTS; i++)
		cumulated[i] = (i > 0 ? cumulated[i - 1] : 0) + pow(i + 1, -0.9);
	init(SHM_CACHE_LRU);
	for (uint32_t i = 0; i < OBJECTS; i++)
		(void)cache_get(i);
	shm_cache_read(&seg, &v);
	held = (uint32_t)v.items;
	fini();
	printf("%u of %u objects are held; hits in %%\n", held, OBJECTS);
	printf("%-18s %9s %7s %7s %7s\n", "", "true LRU", "lru", "lfu", "fifo");
	for (int t = 0; t < TRACES; t++) {
		printf("%-18s %9.2f", trace_names[t], run_lru((enum trace)t, held));
		for (int p = 0; p <= SHM_CACHE_FIFO; p++)
			printf(" %7.2f", run_cache((enum trace)t, held, (enum shm_cache_policy)p));
		printf("\n");
	}
	return 0;
}
