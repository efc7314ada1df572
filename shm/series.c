/* SPDX-License-Identifier: MIT */
/*
 * Series, of requests and of errors: a hash table per slot with open addressing. One writer, no
 * removal, so an entry stays where it was put and a look-up may stop at the first unused one. A key
 * is published before its count. Keys are looked for in a short window only: the time of an add is
 * bounded whatever the table has in it, and what finds no place there is counted under route 0 and
 * in the end in the spare part.
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

/* Spare entry i: it belongs to one code alone, so it is always there. */
static struct shm_series *spare_of(struct shm_series *spare, uint32_t i, uint32_t code)
{
	shm_set(&spare[i].key, shm_series_key(0, 0, code));
	return &spare[i];
}

static struct shm_series *spare_of_class(struct shm_series *spare, uint32_t code)
{
	uint32_t class = code / 100 < 10 ? code / 100 : 0;

	return spare_of(spare, class, class * 100);
}
_Static_assert(SHM_SERIES_SPARE >= 10, "one for each class of three-digit codes");
_Static_assert(SHM_ERRORS_SPARE >= SHM_ERR_COUNT, "one for each type");

static void bump(struct shm_series *e, uint64_t times)
{
	/* Release: who sees this count sees the key that it belongs to. */
	atomic_store_explicit(&e->count, shm_get(&e->count) + times, memory_order_release);
}

/* false: unused, nothing that was ever counted, or no route of this segment. */
static bool read_entry(const struct shm *s, const struct shm_series *e, struct shm_series_view *ret)
{
	uint64_t count = atomic_load_explicit(&e->count, memory_order_acquire);
	uint64_t key = shm_get(&e->key);

	if (count == 0 || key == 0)
		return false;
	shm_series_split(key, &ret->route, &ret->method, &ret->code);
	ret->count = count;
	/* Anything else was never counted: the segment was written on. */
	return shm_series_key(ret->route, ret->method, ret->code) == key &&
	       ret->route < s->geo.routes;
}

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
			e = spare_of_class(table + n, code);
	}
	bump(e, times);
}

bool shm_series_read(const struct shm *s, uint32_t slot, uint32_t i, struct shm_series_view *ret)
{
	CHECK(slot < s->geo.slots && i < s->geo.series);
	return read_entry(s, &s->series[(size_t)slot * s->geo.series + i], ret) &&
	       ret->code >= 100 && ret->code <= 999;
}

void shm_error_add(struct shm *s, uint32_t slot, uint32_t route, enum shm_error type)
{
	struct shm_series *table = &s->errors[(size_t)slot * s->geo.errors];
	uint32_t n = s->geo.errors - SHM_ERRORS_SPARE;
	struct shm_series *e = entry_of(table, n, shm_series_key(route, 0, type));

	if (!e) {
		shm_add(&s->slots[slot].c.series_missing, 1);
		e = spare_of(table + n, type, type);
	}
	bump(e, 1);
}

bool shm_error_read(const struct shm *s, uint32_t slot, uint32_t i, struct shm_series_view *ret)
{
	CHECK(slot < s->geo.slots && i < s->geo.errors);
	return read_entry(s, &s->errors[(size_t)slot * s->geo.errors + i], ret) &&
	       ret->method == 0 && ret->code < SHM_ERR_COUNT;
}
