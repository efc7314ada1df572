/* SPDX-License-Identifier: MIT */
/*
 * Latency histograms. Times below 8 us have a bucket each; above, every power of two is cut into 8,
 * so a bucket is at most an eighth of its times wide. Written by the loop of one worker; those of
 * modules by any of its threads.
 */
#include "shm/shm.h"

#define SUB_BITS 3
_Static_assert(SHM_HIST_SUB == 1 << SUB_BITS, "buckets per power of two");

uint32_t shm_hist_index(uint64_t us)
{
	uint32_t top, index;

	if (us < SHM_HIST_SUB)
		return (uint32_t)us;
	top = 63 - (uint32_t)__builtin_clzll(us); /* 3 or more */
	index = (top - SUB_BITS + 1) * SHM_HIST_SUB +
		(uint32_t)(us >> (top - SUB_BITS) & (SHM_HIST_SUB - 1));
	return index < SHM_HIST_BUCKETS ? index : SHM_HIST_BUCKETS - 1;
}

uint64_t shm_hist_upper_us(uint32_t index)
{
	uint32_t shift;

	if (index >= SHM_HIST_BUCKETS)
		index = SHM_HIST_BUCKETS - 1;
	if (index < SHM_HIST_SUB)
		return index;
	shift = index / SHM_HIST_SUB - 1;
	return ((uint64_t)(SHM_HIST_SUB + index % SHM_HIST_SUB + 1) << shift) - 1;
}

void shm_hist_add(struct shm_hist *h, uint64_t us, uint64_t times)
{
	shm_add(&h->bucket[shm_hist_index(us)], times);
	shm_add(&h->sum_us, us * times);
}

void shm_hist_add_shared(struct shm_hist *h, uint64_t us, uint64_t times)
{
	atomic_fetch_add_explicit(&h->bucket[shm_hist_index(us)], times, memory_order_relaxed);
	atomic_fetch_add_explicit(&h->sum_us, us * times, memory_order_relaxed);
}

void shm_hist_merge(struct shm_hist_sum *into, const struct shm_hist *h)
{
	for (uint32_t i = 0; i < SHM_HIST_BUCKETS; i++) {
		uint64_t n = shm_get(&h->bucket[i]);

		into->bucket[i] += n;
		into->count += n;
	}
	into->sum_us += shm_get(&h->sum_us);
}

uint64_t shm_hist_quantile_us(const struct shm_hist_sum *s, double q)
{
	uint64_t rank = 1;
	uint64_t seen = 0;
	uint32_t i;

	if (s->count == 0)
		return 0;
	if (q >= 1) {
		rank = s->count;
	} else if (q > 0) { /* false for what is no number, too */
		double r = q * (double)s->count;

		rank = (uint64_t)r;
		rank += (double)rank < r; /* rounded up */
		if (rank == 0)
			rank = 1;
	}
	for (i = 0; i < SHM_HIST_BUCKETS - 1; i++) {
		seen += s->bucket[i];
		if (seen >= rank)
			break;
	}
	return shm_hist_upper_us(i);
}
