/* SPDX-License-Identifier: MIT */
/*
 * What the cache had counted a while ago: the counts are never set back, so what happened lately is
 * the difference to a sample. The keeper takes one a minute, and finds those of the keepers before
 * it; nobody else writes. A cell begins with a word that says which sample it is (twice its number,
 * from 1 on), odd while it is written.
 */
#include "shm/cache_priv.h"

#include <string.h>

#define READ_TRIES 8

_Static_assert(sizeof(struct shm_cache_sample) == sizeof(uint64_t) * CACHE_SAMPLE_WORDS,
	       "a sample is words");

static struct cache_sample *cell_of(const struct cache *c, uint64_t number)
{
	return &c->head->sample[number % SHM_CACHE_SAMPLES];
}

static bool read_cell(const struct cache *c, uint64_t number, struct shm_cache_sample *ret)
{
	const struct cache_sample *cell = cell_of(c, number);
	uint64_t word[CACHE_SAMPLE_WORDS];

	for (int i = 0; i < READ_TRIES; i++) {
		uint64_t label = atomic_load(&cell->label);

		if (label != 2 * number)
			return false;
		for (size_t k = 0; k < CACHE_SAMPLE_WORDS; k++)
			word[k] = atomic_load(&cell->word[k]);
		if (atomic_load(&cell->label) != label)
			continue;
		memcpy(ret, word, sizeof(*ret));
		return true;
	}
	return false;
}

static void write_cell(const struct cache *c, uint64_t number, const struct shm_cache_sample *from)
{
	struct cache_sample *cell = cell_of(c, number);
	uint64_t word[CACHE_SAMPLE_WORDS];

	memcpy(word, from, sizeof(word));
	atomic_store(&cell->label, 2 * number + 1);
	for (size_t k = 0; k < CACHE_SAMPLE_WORDS; k++)
		atomic_store(&cell->word[k], word[k]);
	atomic_store(&cell->label, 2 * number);
}

bool shm_cache_sample_read(const struct shm *s, uint32_t i, struct shm_cache_sample *ret)
{
	struct cache c = cache_of(s);
	uint64_t taken;

	if (c.nsegs == 0)
		return false;
	taken = atomic_load(&c.head->samples);
	return i < taken && i < SHM_CACHE_SAMPLES && read_cell(&c, taken - i, ret);
}

void shm_cache_sample_now(const struct shm *s, uint64_t now_ns, struct shm_cache_sample *ret)
{
	struct shm_cache_view v = {0};

	shm_cache_read(s, &v);
	*ret = (struct shm_cache_sample){
		.at_ns = now_ns,
		.hits = v.count[SHM_CACHE_HITS] + v.count[SHM_CACHE_STALES],
		.misses = v.count[SHM_CACHE_MISSES],
		.puts = v.count[SHM_CACHE_PUTS],
		.evicted = v.count[SHM_CACHE_EVICTED],
		.expired = v.count[SHM_CACHE_EXPIRED],
		.items = v.items,
		.live_bytes = v.live_bytes,
	};
}

void shm_cache_sample(struct shm *s, uint64_t now_ns)
{
	struct cache c = cache_of(s);
	struct shm_cache_sample last, now;
	uint64_t taken;

	if (c.nsegs == 0)
		return;
	taken = atomic_load(&c.head->samples);
	if (taken > 0 && read_cell(&c, taken, &last) && now_ns - last.at_ns < SHM_CACHE_SAMPLE_NS)
		return;
	shm_cache_sample_now(s, now_ns, &now);
	write_cell(&c, taken + 1, &now);
	atomic_store(&c.head->samples, taken + 1);
}
