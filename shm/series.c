/* SPDX-License-Identifier: MIT */
/*
 * Request series: a hash table per slot with open addressing. One writer, no removal, so an entry
 * stays where it was put and a look-up may stop at the first unused one. A key is published before
 * its count. Keys are looked for in a short window only: the time of an add is bounded whatever the
 * table has in it, and what finds no place there is counted under route 0, then in the spare part.
 */
#include "shm/shm.h"

#include "base/check.h"

#define WINDOW 16u                /* entries that a key may be in */
#define USED (1ULL << 63)         /* in every key */
#define ROUTE_SHIFT 24
#define METHOD_SHIFT 16
#define GOLDEN 0x9e3779b97f4a7c15ULL

uint64_t shm_series_key(uint32_t route, uint32_t method, uint32_t code)
{
	return USED | (uint64_t)(route & 0xffffff) << ROUTE_SHIFT |
	       (uint64_t)(method & 0xff) << METHOD_SHIFT | (code & 0xffff);
}

void shm_series_split(uint64_t key, uint32_t *route, uint32_t *method, uint32_t *code)
{
	*route = (uint32_t)(key >> ROUTE_SHIFT) & 0xffffff;
	*method = (uint32_t)(key >> METHOD_SHIFT) & 0xff;
	*code = (uint32_t)key & 0xffff;
}

/* The entry of a key among the first `n`; taken for it if need be. NULL: there is no room. */
static struct shm_series *entry_of(struct shm_series *table, uint32_t n, uint64_t key)
{
	/* The high half of the product is the well-mixed one; scaled to n without a division. */
	uint32_t at = (uint32_t)((key * GOLDEN >> 32) * n >> 32);
	uint32_t window = WINDOW < n ? WINDOW : n;

	for (uint32_t i = 0; i < window; i++) {
		struct shm_series *e = &table[at];
		uint64_t k = shm_get(&e->key);

		if (k == key)
			return e;
		if (k == 0) {
			shm_set(&e->key, key);
			return e;
		}
		if (++at == n)
			at = 0;
	}
	return NULL;
}

/* The spare entry of a class of codes: each class has its own, so it is always there. */
static struct shm_series *spare_of(struct shm_series *spare, uint32_t code)
{
	uint32_t class = code / 100 < 10 ? code / 100 : 0;
	struct shm_series *e = &spare[class];

	shm_set(&e->key, shm_series_key(0, 0, class * 100));
	return e;
}
_Static_assert(SHM_SERIES_SPARE >= 10, "one for each class of three-digit codes");

void shm_series_add(struct shm *s, uint32_t slot, uint32_t route, uint32_t method, uint32_t code,
		    uint64_t times)
{
	struct shm_series *table = &s->series[(size_t)slot * s->geo.series];
	uint32_t n = s->geo.series - SHM_SERIES_SPARE;
	struct shm_series *e = entry_of(table, n, shm_series_key(route, method, code));

	if (__builtin_expect(!e, 0)) {
		shm_add(&s->slots[slot].c.series_missing, times);
		e = entry_of(table, n, shm_series_key(0, method, code));
		if (!e)
			e = spare_of(table + n, code);
	}
	/* Release: who sees this count sees the key that it belongs to. */
	atomic_store_explicit(&e->count, shm_get(&e->count) + times, memory_order_release);
}

bool shm_series_read(const struct shm *s, uint32_t slot, uint32_t i, struct shm_series_view *ret)
{
	const struct shm_series *e;
	uint64_t count, key;

	CHECK(slot < s->geo.slots && i < s->geo.series);
	e = &s->series[(size_t)slot * s->geo.series + i];
	count = atomic_load_explicit(&e->count, memory_order_acquire);
	key = shm_get(&e->key);
	if (count == 0 || key == 0)
		return false;
	shm_series_split(key, &ret->route, &ret->method, &ret->code);
	ret->count = count;
	/* Anything else was never counted: the segment was written on. */
	return shm_series_key(ret->route, ret->method, ret->code) == key &&
	       ret->route < s->geo.routes && ret->code >= 100 && ret->code <= 999;
}
