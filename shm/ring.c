/* SPDX-License-Identifier: MIT */
/*
 * Ring of log records: one producer (the loop of the slot's owner), one consumer (the keeper), no
 * lock and no shared word that both write. head and tail count bytes for ever; their low bits are
 * the place in the ring.
 *
 *   record: { u32 kind << 24 | length, u32 stamp of its place, bytes, padded to 8 }
 *
 * A record exists once head has moved past it, which is the last store of a put. So a producer that
 * is killed leaves whole records only, and the next owner of the slot goes on where head is. The
 * stamp tells a record from bytes that happen to lie there when somebody has scribbled on the ring.
 * Whatever makes no sense is thrown away as a whole by the consumer, who moves its own word only;
 * a head that is no multiple of 8 is put right by the next put.
 */
#include "shm/shm.h"

#include <string.h>

#include "base/check.h"

#define HEAD_BYTES 8u
#define LEN_MASK 0xffffffu
#define STAMP 0x43a9u /* mixed with the place, so that an old record elsewhere is none */

static uint64_t padded(uint64_t len)
{
	return (len + 7) & ~(uint64_t)7;
}

static uint32_t stamp_of(uint64_t at)
{
	return ((uint32_t)(at >> 3) ^ STAMP) * 0x9e3779b1u;
}

static char *data_of(const struct shm *s, uint32_t slot)
{
	return s->ring_data + (size_t)slot * s->geo.ring_bytes;
}

/* Copies into the ring at a place that counts on for ever. */
static void copy_in(char *data, uint32_t size, uint64_t at, const char *p, size_t len)
{
	size_t from = at & (size - 1);
	size_t first = len < size - from ? len : size - from;

	memcpy(data + from, p, first);
	memcpy(data, p + first, len - first);
}

bool shm_ring_put(struct shm *s, uint32_t slot, enum shm_record_kind kind, const char *p,
		  size_t len)
{
	struct shm_ring *r = &s->rings[slot];
	const uint32_t size = s->geo.ring_bytes;
	uint64_t head = padded(shm_get(&r->head));
	uint64_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);
	uint64_t need = HEAD_BYTES + padded(len);
	uint32_t start[2] = {(uint32_t)kind << 24 | (uint32_t)(len & LEN_MASK), stamp_of(head)};
	char *data = data_of(s, slot);

	/* An impossible tail is "full" here; the consumer will see the same and empty the ring. */
	if (len > SHM_RECORD_MAX || head - tail > size || need > size - (head - tail)) {
		shm_add(&r->lost, 1);
		return false;
	}
	memcpy(data + (head & (size - 1)), start, HEAD_BYTES); /* never wraps: both are eights */
	if (len > 0)
		copy_in(data, size, head + HEAD_BYTES, p, len);
	atomic_store_explicit(&r->head, head + need, memory_order_release);
	return true;
}

struct record {
	uint64_t at;        /* where it begins */
	uint32_t kind, len;
};

static uint64_t end_of(const struct record *rec)
{
	return rec->at + HEAD_BYTES + padded(rec->len);
}

/* The record at a place before head. false: what lies there makes no sense. */
static bool read_at(const struct shm *s, uint32_t slot, uint64_t head, uint64_t at,
		    struct record *ret)
{
	const uint32_t size = s->geo.ring_bytes;
	uint32_t start[2];

	if ((head | at) % 8 != 0 || head - at > size)
		return false;
	memcpy(start, data_of(s, slot) + (at & (size - 1)), HEAD_BYTES);
	*ret = (struct record){at, start[0] >> 24, start[0] & LEN_MASK};
	return ret->kind != 0 && ret->len <= SHM_RECORD_MAX && start[1] == stamp_of(at) &&
	       end_of(ret) - at <= head - at;
}

/* The record at `at`, which is the tail or lies behind it. false: none; a ring that makes no sense
 * at its tail is emptied. */
static bool next(struct shm *s, uint32_t slot, uint64_t at, struct record *ret)
{
	struct shm_ring *r = &s->rings[slot];
	uint64_t head = atomic_load_explicit(&r->head, memory_order_acquire);

	if (head == at)
		return false;
	if (read_at(s, slot, head, at, ret))
		return true;
	if (at == shm_get(&r->tail)) {
		shm_add(&r->damaged, 1);
		atomic_store_explicit(&r->tail, head, memory_order_release);
	}
	return false;
}

uint64_t shm_ring_begin(const struct shm *s, uint32_t slot)
{
	CHECK(slot < s->geo.slots);
	return shm_get(&s->rings[slot].tail);
}

bool shm_ring_peek_at(struct shm *s, uint32_t slot, uint64_t *pos, enum shm_record_kind *ret_kind,
		      const char **ret_p, size_t *ret_len, char *buf, size_t cap)
{
	const uint32_t size = s->geo.ring_bytes;
	struct record rec;
	const char *data;
	size_t from, first;

	CHECK(slot < s->geo.slots);
	if (!next(s, slot, *pos, &rec))
		return false;
	*pos = end_of(&rec);
	data = data_of(s, slot);
	from = (rec.at + HEAD_BYTES) & (size - 1);
	*ret_kind = (enum shm_record_kind)rec.kind;
	*ret_len = rec.len;
	if (rec.len <= size - from) {
		*ret_p = data + from;
		return true;
	}
	if (rec.len > cap)
		*ret_len = cap;
	first = *ret_len < size - from ? *ret_len : size - from;
	memcpy(buf, data + from, first);
	memcpy(buf + first, data, *ret_len - first);
	*ret_p = buf;
	return true;
}

bool shm_ring_half_full(const struct shm *s, uint32_t slot)
{
	const struct shm_ring *r = &s->rings[slot];

	CHECK(slot < s->geo.slots);
	return shm_get(&r->head) - shm_get(&r->tail) > s->geo.ring_bytes / 2;
}

void shm_ring_take_to(struct shm *s, uint32_t slot, uint64_t pos)
{
	struct shm_ring *r;
	uint64_t tail;

	CHECK(slot < s->geo.slots);
	r = &s->rings[slot];
	tail = shm_get(&r->tail);
	/* Looked at anew: what the segment says may have been scribbled on since. */
	if (pos % 8 == 0 && pos - tail <= atomic_load(&r->head) - tail)
		atomic_store_explicit(&r->tail, pos, memory_order_release);
}

bool shm_ring_peek(struct shm *s, uint32_t slot, enum shm_record_kind *ret_kind, const char **ret_p,
		   size_t *ret_len, char *buf, size_t cap)
{
	uint64_t pos = shm_ring_begin(s, slot);

	return shm_ring_peek_at(s, slot, &pos, ret_kind, ret_p, ret_len, buf, cap);
}

void shm_ring_take(struct shm *s, uint32_t slot)
{
	struct record rec;

	if (next(s, slot, shm_ring_begin(s, slot), &rec))
		shm_ring_take_to(s, slot, end_of(&rec));
}
