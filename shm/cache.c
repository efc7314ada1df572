/* SPDX-License-Identifier: MIT */
/*
 * The cache's index, and what is done by key. Runs in every process, in any lane of it.
 *
 * An object comes to be thus: room is reserved (cache_seg.c), it is filled, and its entry goes into
 * one of the 14 ways of the key's two buckets by one compare-and-swap. Until then nobody finds it,
 * after that it is complete. Killed before that, its bytes are dead and leave with the segment.
 *
 * Two that put the same key at once may both find it nowhere, and each take a way of its own. So
 * who has put looks through both buckets after that, and takes away all others of the key:
 * compare-and-swaps have one order for all, so the later one sees the earlier. Killed in between,
 * two may be left; the next put or delete of the key takes them away, and until then both were put
 * at about the same time.
 *
 * Reading: entry, pin, entry again. Who empties a segment takes its entries away before it looks
 * at the pins (a compare-and-swap, then loads; here a compare-and-swap, then a load): one of the
 * two sees the other. So if the entry is still there once the pin stands, the segment stays.
 */
#include "shm/cache.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/siphash.h"
#include "shm/cache_priv.h"
#include "shm/shm_priv.h"

#define NS_PER_MS 1000000u
#define NS_PER_S 1000000000u
#define MS_BITS 40
#define STALE_MAX ((1u << 24) - 1)
#define TRIES 64

struct cache cache_of(const struct shm *s)
{
	const struct shm_geometry *g = &s->geo;
	uint32_t n = g->cache_segs;

	return (struct cache){
		.head = s->cache_head,
		.word = s->cache_segs,
		.order = s->cache_segs + n,
		.used = (_Atomic uint32_t *)(s->cache_segs + 2 * (size_t)n),
		.slots = s->cache_slots,
		.buckets = s->cache_index,
		.ghosts = s->cache_ghosts,
		.bans = s->cache_bans,
		.leases = s->cache_leases,
		.lease_bits = s->cache_leases + g->cache_leases,
		.data = s->cache_data,
		.nslots = g->slots,
		.nsegs = n,
		.seg_units = g->cache_seg_bytes / CACHE_UNIT,
		.nbuckets = g->cache_buckets,
		.nghosts = g->cache_ghosts,
		.nleases = g->cache_leases,
		.bit_words = (g->slots + 63) / 64,
	};
}

uint64_t shm_cache_hash(const struct shm *s, struct slice key)
{
	struct siphash h;

	siphash_init(&h, s->head->hash_key);
	siphash_add(&h, key.p, key.len);
	return siphash_end(&h);
}

void cache_count(const struct cache *c, uint32_t slot, enum shm_cache_count what, uint64_t n)
{
	atomic_fetch_add_explicit(&c->slots[slot].count[what], n, memory_order_relaxed);
}

void shm_cache_count(struct shm *s, uint32_t slot, enum shm_cache_count what, uint64_t n)
{
	struct cache c = cache_of(s);

	CHECK(slot < s->geo.slots && what < SHM_CACHE_COUNTS);
	cache_count(&c, slot, what, n);
}

/* ---- times ---- */

static uint64_t times_pack(uint64_t fresh_ns, uint64_t stale_ns)
{
	uint64_t ms = fresh_ns / NS_PER_MS;
	uint64_t s = stale_ns > fresh_ns ? (stale_ns - fresh_ns + NS_PER_S - 1) / NS_PER_S : 0;

	return (ms & ((1ULL << MS_BITS) - 1)) | (s < STALE_MAX ? s : STALE_MAX) << MS_BITS;
}

void cache_times_of(const struct cache_object *o, uint64_t *ret_fresh_ns, uint64_t *ret_stale_ns)
{
	uint64_t times = shm_get(&o->times);

	*ret_fresh_ns = (times & ((1ULL << MS_BITS) - 1)) * NS_PER_MS;
	*ret_stale_ns = *ret_fresh_ns + (times >> MS_BITS) * NS_PER_S;
}

/* ---- pins ---- */

bool cache_pin(const struct cache *c, uint32_t slot, uint32_t seg, uint32_t *ret_pin)
{
	struct cache_slot *own = &c->slots[slot];
	uint32_t i = (uint32_t)shm_get(&own->pin_hint) % SHM_CACHE_PINS;

	for (uint32_t n = 0; n < SHM_CACHE_PINS; n++, i = (i + 1) % SHM_CACHE_PINS) {
		if (shm_get(&own->pin[i]) == 0 && cache_swap(&own->pin[i], 0, (uint64_t)seg + 1)) {
			*ret_pin = i;
			return true;
		}
	}
	return false;
}

void cache_unpin(const struct cache *c, uint32_t slot, uint32_t pin)
{
	struct cache_slot *own = &c->slots[slot];

	atomic_store_explicit(&own->pin[pin], 0, memory_order_release);
	shm_set(&own->pin_hint, pin);
}

/* ---- objects ---- */

static uint32_t align4(uint32_t n)
{
	return (n + 3) & ~3u;
}

static uint64_t extent_bytes(const struct cache *c)
{
	return (uint64_t)c->seg_units * CACHE_UNIT;
}

bool cache_view_of(const struct cache *c, const struct cache_object *o, uint32_t unit, bool large,
		   struct cache_view *ret)
{
	uint32_t size = shm_get(&o->size), texts = o->key_len + (uint32_t)o->tags_len + o->meta_len;
	uint64_t value_len = o->value_len, room;

	if (size > c->seg_units - unit)
		return false;
	room = (uint64_t)size * CACHE_UNIT;
	if (sizeof(*o) + texts > room)
		return false;
	room -= sizeof(*o) + texts;
	*ret = (struct cache_view){
		.key = {o->data, o->key_len},
		.tags = {o->data + o->key_len, o->tags_len},
		.meta = {o->data + o->key_len + o->tags_len, o->meta_len},
		.value = o->data + texts,
		.value_len = value_len,
		.first_len = value_len,
	};
	if (!large)
		return value_len <= room;
	/* What the list takes depends on what it leaves: as it was computed when it was put. */
	for (uint32_t n = 1; n <= CACHE_PIECES_MAX; n++) {
		uint64_t pad = align4((uint32_t)sizeof(*o) + texts) - sizeof(*o) - texts;
		uint64_t list = pad + n * sizeof(uint32_t);
		uint64_t first = room > list ? room - list : 0;

		if (first > 0 && value_len <= first + n * extent_bytes(c)) {
			ret->list = (const uint32_t *)(const void *)(o->data + texts + pad);
			ret->nlist = n;
			ret->value = o->data + texts + list;
			ret->first_len = first < value_len ? first : value_len;
			return value_len > first;
		}
	}
	return false;
}

/* ---- index ---- */

struct pair { struct cache_bucket *b[2]; };

static struct pair pair_of(const struct cache *c, uint64_t hash)
{
	return (struct pair){{
		&c->buckets[(hash & UINT32_MAX) * c->nbuckets >> 32],
		&c->buckets[(hash >> 16 & UINT32_MAX) * c->nbuckets >> 32],
	}};
}

bool cache_find_entry(const struct cache *c, uint64_t hash, uint64_t entry, struct cache_place *ret)
{
	struct pair p = pair_of(c, hash);

	for (uint32_t i = 0; i < 2 * CACHE_WAYS; i++) {
		*ret = (struct cache_place){p.b[i / CACHE_WAYS], i % CACHE_WAYS};
		if (atomic_load(&ret->bucket->entry[ret->way]) == entry)
			return true;
	}
	return false;
}

bool cache_unlink(const struct cache *c, struct cache_place at, uint64_t entry, uint32_t units)
{
	if (!cache_swap(&at.bucket->entry[at.way], entry, 0))
		return false;
	atomic_fetch_sub(&c->head->items, 1);
	atomic_fetch_sub(&c->head->units, units);
	return true;
}

/* Has the object of an entry this key? Pins its segment if so. */
enum same { SAME, OTHER, UNKNOWN };
struct object {
	struct cache_place at;
	uint64_t entry;
	uint32_t pin, seg;
	struct cache_word word;
	struct cache_object *o;
	struct cache_view v;
};

static bool is_same_object(const struct cache *c, struct object *x, uint64_t hash, struct slice key)
{
	uint32_t unit = cache_entry_unit(x->entry);

	/* Its segment cannot go any more; has it, or the entry, been there when we came? */
	if (atomic_load(&x->at.bucket->entry[x->at.way]) != x->entry)
		return false;
	x->word = cache_word_of(atomic_load(&c->word[x->seg]));
	if (!cache_is_readable(x->word.state) || !cache_entry_is_of(x->entry, x->word) ||
	    unit >= c->seg_units - sizeof(struct cache_object) / CACHE_UNIT)
		return false;
	x->o = cache_at(c, x->seg, unit);
	if (shm_get(&x->o->hash) != hash || x->o->key_len != key.len ||
	    !cache_view_of(c, x->o, unit, x->word.large, &x->v))
		return false;
	return memcmp(x->v.key.p, key.p, key.len) == 0;
}

static enum same look_at(const struct cache *c, uint32_t slot, struct object *x, uint64_t hash,
			 struct slice key)
{
	x->seg = cache_entry_seg(x->entry);
	if (x->seg >= c->nsegs)
		return OTHER;
	if (!cache_pin(c, slot, x->seg, &x->pin))
		return UNKNOWN;
	if (is_same_object(c, x, hash, key))
		return SAME;
	cache_unpin(c, slot, x->pin);
	return OTHER;
}

/* The object of a key from way *i on, pinned; *i moves on to behind it. */
static enum same find(const struct cache *c, uint32_t slot, uint64_t hash, struct slice key,
		      uint32_t *i, struct object *ret)
{
	struct pair p = pair_of(c, hash);
	int again = 0;

	__builtin_prefetch(p.b[1]);
	while (*i < 2 * CACHE_WAYS) {
		enum same same;

		ret->at = (struct cache_place){p.b[*i / CACHE_WAYS], *i % CACHE_WAYS};
		ret->entry = atomic_load(&ret->at.bucket->entry[ret->at.way]);
		++*i;
		if (ret->entry == 0 || ret->entry >> 48 != hash >> 48)
			continue;
		same = look_at(c, slot, ret, hash, key);
		if (same != OTHER)
			return same;
		/* It may have been moved meanwhile: then it is still there. */
		if (atomic_load(&ret->at.bucket->entry[ret->at.way]) != ret->entry &&
		    again++ < TRIES)
			--*i;
	}
	return OTHER;
}

/* false: the entry is another one by now. */
static bool drop(const struct cache *c, uint32_t slot, const struct object *x,
		 enum shm_cache_count why)
{
	bool gone = cache_unlink(c, x->at, x->entry, shm_get(&x->o->size));

	cache_unpin(c, slot, x->pin);
	if (!gone)
		return false;
	cache_count(c, slot, why, 1);
	cache_release_large(c, slot, x->seg, x->word.gen);
	return true;
}

/* ---- reading ---- */

static void note_use(struct cache_place at)
{
	_Atomic uint8_t *freq = &at.bucket->freq[at.way];
	uint8_t f = shm_get(freq);

	if (f < CACHE_FREQ_MAX)
		shm_set(freq, f + 1);
}

static void make_ref(const struct object *x, uint64_t fresh_ns, uint64_t stale_ns,
		     struct shm_cache_ref *ret)
{
	*ret = (struct shm_cache_ref){
		.pin = x->pin,
		.npieces = (x->v.value_len > 0) + x->v.nlist,
		.key = x->v.key,
		.meta = x->v.meta,
		.first = {x->v.value, (size_t)x->v.first_len},
		.value_len = x->v.value_len,
		.fresh_ns = fresh_ns,
		.stale_ns = stale_ns,
		.kind = x->o->kind,
		.head = x->seg,
		.list = x->v.list,
		.entry = x->entry,
		.object = x->o,
	};
}

enum shm_cache_found shm_cache_get(struct shm *s, uint32_t slot, uint64_t hash, struct slice key,
				   bool use, uint64_t now_ns, struct shm_cache_ref *ret)
{
	struct cache c = cache_of(s);
	enum shm_cache_count result = SHM_CACHE_MISSES;
	uint64_t fresh_ns, stale_ns;
	struct object x;
	uint32_t i = 0;

	CHECK(slot < s->geo.slots);
	if (c.nsegs == 0)
		return SHM_CACHE_MISS;
	switch (find(&c, slot, hash, key, &i, &x)) {
	case SAME:
		cache_times_of(x.o, &fresh_ns, &stale_ns);
		if (cache_is_banned(&c, x.o, &x.v)) {
			(void)drop(&c, slot, &x, SHM_CACHE_INVALIDATED);
			break;
		}
		if (now_ns >= stale_ns) {
			(void)drop(&c, slot, &x, SHM_CACHE_EXPIRED);
			break;
		}
		result = now_ns < fresh_ns ? SHM_CACHE_HITS : SHM_CACHE_STALES;
		if (use)
			note_use(x.at);
		make_ref(&x, fresh_ns, stale_ns, ret);
		break;
	case UNKNOWN:
		cache_count(&c, slot, SHM_CACHE_NO_PINS, 1);
		break;
	case OTHER:
		break;
	}
	if (use)
		cache_count(&c, slot, result, 1);
	return result == SHM_CACHE_HITS ? SHM_CACHE_HIT :
	       result == SHM_CACHE_STALES ? SHM_CACHE_STALE : SHM_CACHE_MISS;
}

struct slice shm_cache_piece(const struct shm *s, const struct shm_cache_ref *ref, uint32_t i)
{
	struct cache c = cache_of(s);
	uint64_t each = extent_bytes(&c), at = ref->first.len + (i - 1) * each;
	uint32_t seg;

	CHECK(i < ref->npieces);
	if (i == 0)
		return ref->first;
	seg = ((const uint32_t *)ref->list)[i - 1];
	if (seg >= c.nsegs)
		seg = ref->head; /* scribbled on: some bytes, but ours */
	return (struct slice){(const char *)cache_at(&c, seg, 0),
			      (size_t)(ref->value_len - at < each ? ref->value_len - at : each)};
}

void shm_cache_unpin(struct shm *s, uint32_t slot, const struct shm_cache_ref *ref)
{
	struct cache c = cache_of(s);

	CHECK(slot < s->geo.slots && ref->pin < SHM_CACHE_PINS);
	cache_unpin(&c, slot, ref->pin);
}

void shm_cache_touch(struct shm *s, const struct shm_cache_ref *ref, uint64_t fresh_ns,
		     uint64_t stale_ns)
{
	(void)s;
	shm_set(&((struct cache_object *)ref->object)->times, times_pack(fresh_ns, stale_ns));
}

/* ---- writing ---- */

struct sizes { uint32_t texts, tags, nlist; uint64_t value, first; };

/* 0 or -errno. */
static int measure(const struct cache *c, const struct shm_cache_put *p, struct sizes *ret)
{
	uint64_t head;

	*ret = (struct sizes){0};
	if (p->key.len == 0 || p->key.len > SHM_CACHE_KEY_MAX || p->meta.len > SHM_CACHE_META_MAX ||
	    p->ntags > SHM_CACHE_TAGS_MAX || p->kind > UINT8_MAX || p->stale_ns < p->fresh_ns)
		return -EINVAL;
	for (uint32_t i = 0; i < p->ntags; i++) {
		if (p->tags[i].len == 0 || p->tags[i].len > UINT8_MAX)
			return -EINVAL;
		ret->tags += 1 + (uint32_t)p->tags[i].len;
	}
	if (ret->tags > SHM_CACHE_TAGS_BYTES)
		return -EINVAL;
	for (uint32_t i = 0; i < p->nvalue; i++)
		ret->value += p->value[i].len;
	ret->texts = (uint32_t)(p->key.len + ret->tags + p->meta.len);
	head = sizeof(struct cache_object) + ret->texts;
	ret->first = ret->value;
	if (head + ret->value <= extent_bytes(c))
		return 0;
	if (ret->value > CACHE_VALUE_MAX)
		return -EFBIG;
	for (uint32_t n = 1; n <= CACHE_PIECES_MAX; n++) {
		uint64_t before = align4((uint32_t)head) + n * sizeof(uint32_t);

		if (before >= extent_bytes(c))
			break;
		ret->first = extent_bytes(c) - before;
		ret->nlist = n;
		if (ret->value <= ret->first + n * extent_bytes(c))
			return ret->value > ret->first ? 0 : -EFBIG;
	}
	return -EFBIG;
}

static void fill_head(const struct cache_room *r, const struct shm_cache_put *p,
		      const struct sizes *z)
{
	struct cache_object *o = r->o;
	char *at = o->data;

	o->key_len = (uint16_t)p->key.len;
	o->meta_len = (uint16_t)p->meta.len;
	o->tags_len = (uint16_t)z->tags;
	o->value_len = (uint32_t)z->value;
	o->kind = (uint8_t)p->kind;
	shm_set(&o->seq, p->birth);
	shm_set(&o->times, times_pack(p->fresh_ns, p->stale_ns));
	shm_set(&o->hash, p->hash);
	memcpy(at, p->key.p, p->key.len);
	at += p->key.len;
	for (uint32_t i = 0; i < p->ntags; i++) {
		*at++ = (char)(unsigned char)p->tags[i].len;
		memcpy(at, p->tags[i].p, p->tags[i].len);
		at += p->tags[i].len;
	}
	if (p->meta.len > 0)
		memcpy(at, p->meta.p, p->meta.len);
}

/* Copies the next bytes of the value. */
struct source { const struct slice *piece; size_t off; };
static void copy_from(struct source *from, char *to, uint64_t len)
{
	while (len > 0) {
		size_t n = from->piece->len - from->off;

		n = n < len ? n : (size_t)len;
		if (n > 0)
			memcpy(to, from->piece->p + from->off, n);
		to += n;
		len -= n;
		from->off += n;
		if (from->off == from->piece->len && len > 0) {
			from->piece++;
			from->off = 0;
		}
	}
}

static void fill_value(const struct cache *c, const struct cache_room *r,
		       const struct shm_cache_put *p, const struct sizes *z, const uint32_t *list)
{
	struct source from = {p->value, 0};
	char *at = r->o->data + z->texts;
	uint64_t left = z->value - (z->nlist > 0 ? z->first : z->value);

	if (z->nlist > 0) {
		at = (char *)r->o + align4((uint32_t)sizeof(*r->o) + z->texts);
		memcpy(at, list, z->nlist * sizeof(uint32_t));
		at += z->nlist * sizeof(uint32_t);
	}
	if (z->value == 0)
		return;
	copy_from(&from, at, z->value - left);
	for (uint32_t i = 0; i < z->nlist; i++) {
		uint64_t n = left < extent_bytes(c) ? left : extent_bytes(c);

		copy_from(&from, (char *)cache_at(c, list[i], 0), n);
		left -= n;
	}
}

/* Which way an entry of the key goes into: its own, a free one, or that of what is used least. */
struct choice { struct cache_place at; uint64_t was; uint32_t units; bool own; };

static void choose(const struct cache *c, uint64_t hash, struct choice *ret)
{
	struct pair p = pair_of(c, hash);
	uint32_t room[2] = {0, 0}, least = UINT32_MAX;

	for (uint32_t i = 0; i < 2 * CACHE_WAYS; i++)
		room[i / CACHE_WAYS] += shm_get(&p.b[i / CACHE_WAYS]->entry[i % CACHE_WAYS]) == 0;
	for (uint32_t k = 0; k < 2 * CACHE_WAYS; k++) {
		/* The bucket with more room first. */
		uint32_t i = room[1] > room[0] ? (k + CACHE_WAYS) % (2 * CACHE_WAYS) : k;
		struct cache_bucket *b = p.b[i / CACHE_WAYS];
		uint64_t e = atomic_load(&b->entry[i % CACHE_WAYS]);
		uint32_t cost = e == 0 ? 0 : 1 + shm_get(&b->freq[i % CACHE_WAYS]);

		if (cost < least) {
			least = cost;
			*ret = (struct choice){.at = {b, i % CACHE_WAYS}, .was = e};
		}
	}
}

/* What the object of an entry takes. false: the entry is another one by now. */
static bool units_of(const struct cache *c, uint32_t slot, struct cache_place at, uint64_t entry,
		     uint32_t *ret)
{
	uint32_t seg = cache_entry_seg(entry), unit = cache_entry_unit(entry), pin;
	bool same;

	*ret = 0;
	if (seg >= c->nsegs || unit >= c->seg_units - sizeof(struct cache_object) / CACHE_UNIT)
		return true; /* of nobody: scribbled on */
	if (!cache_pin(c, slot, seg, &pin))
		return false;
	same = atomic_load(&at.bucket->entry[at.way]) == entry;
	if (same && cache_entry_is_of(entry, cache_word_of(atomic_load(&c->word[seg]))))
		*ret = shm_get(&cache_at(c, seg, unit)->size);
	cache_unpin(c, slot, pin);
	return same;
}

static bool find_place(const struct cache *c, uint32_t slot, uint64_t hash, struct slice key,
		       struct choice *ret)
{
	struct object x;
	uint32_t i = 0;

	if (find(c, slot, hash, key, &i, &x) == SAME) {
		*ret = (struct choice){x.at, x.entry, shm_get(&x.o->size), true};
		cache_unpin(c, slot, x.pin);
		return true;
	}
	choose(c, hash, ret);
	return ret->was == 0 || units_of(c, slot, ret->at, ret->was, &ret->units);
}

static void release_if_large(const struct cache *c, uint32_t slot, uint64_t entry)
{
	uint32_t seg = cache_entry_seg(entry);
	struct cache_word w;

	if (seg >= c->nsegs)
		return;
	w = cache_word_of(atomic_load(&c->word[seg]));
	if (cache_entry_is_of(entry, w))
		cache_release_large(c, slot, seg, w.gen);
}

/* Puts the entry in; of the key there may be others then. false: the ways changed all the time. */
static bool link_entry(const struct cache *c, uint32_t slot, uint64_t hash, struct slice key,
		       uint64_t entry, uint32_t units)
{
	for (int tries = 0; tries < TRIES; tries++) {
		struct choice to;

		atomic_fetch_add(&c->slots[slot].links, 1);
		if (!find_place(c, slot, hash, key, &to) ||
		    !cache_swap(&to.at.bucket->entry[to.at.way], to.was, entry))
			continue;
		if (!to.own)
			shm_set(&to.at.bucket->freq[to.at.way], 0);
		atomic_fetch_add(&c->head->items, to.was == 0);
		atomic_fetch_add(&c->head->units, (uint64_t)units - to.units);
		if (to.was != 0) {
			cache_count(c, slot, to.own ? SHM_CACHE_REPLACED : SHM_CACHE_EVICTED, 1);
			release_if_large(c, slot, to.was);
		}
		return true;
	}
	return false;
}

/* Takes all of the key away, but for `except`. */
static uint32_t unlink_others(const struct cache *c, uint32_t slot, uint64_t hash, struct slice key,
			      uint64_t except, enum shm_cache_count why)
{
	struct object x;
	uint32_t i = 0, n = 0, again = 0;
	bool unknown = false;
	enum same same;

	while ((same = find(c, slot, hash, key, &i, &x)) != OTHER) {
		if (same == UNKNOWN)
			unknown = true;
		else if (x.entry == except)
			cache_unpin(c, slot, x.pin);
		else if (drop(c, slot, &x, why))
			n++;
		else if (again++ < TRIES)
			i--; /* it was moved, perhaps */
	}
	/* No pin to look at it with: then nothing that may be of this key is to be found. */
	if (unknown)
		cache_ban_key(c, slot, hash);
	return n;
}

/* While there are more than there may be, another one has to leave. */
static void keep_to_items_max(const struct cache *c, uint32_t slot, uint64_t entry)
{
	uint64_t most = shm_get(&c->head->items_max);

	for (int i = 0; most > 0 && i < TRIES && cache_count_of(&c->head->items) > most; i++)
		if (!cache_trim(c, slot, entry))
			return;
}

static int put(const struct cache *c, uint32_t slot, const struct shm_cache_put *p,
	       const struct sizes *z)
{
	uint32_t list[CACHE_PIECES_MAX], units = c->seg_units;
	bool fifo = shm_get(&c->head->policy) == SHM_CACHE_FIFO;
	bool main = !fifo && cache_was_here(c, p->hash);
	struct cache_room r;
	uint64_t entry;
	bool linked;

	if (z->nlist > 0) {
		if (!cache_reserve_large(c, slot, z->nlist, list, &r))
			return -ENOSPC;
	} else {
		units = cache_units(sizeof(struct cache_object) + z->texts + z->value);
		if (!cache_reserve(c, slot, main ? CACHE_MAIN : CACHE_SMALL, units, &r))
			return -ENOSPC;
	}
	fill_head(&r, p, z);
	fill_value(c, &r, p, z, list);
	if (z->nlist > 0)
		cache_publish_large(c, slot, &r, main, list, z->nlist);
	entry = cache_entry(p->hash, r.gen, r.seg, r.unit);
	linked = link_entry(c, slot, p->hash, p->key, entry, units);
	cache_unpin(c, slot, r.pin);
	if (!linked) {
		release_if_large(c, slot, entry);
		return -ENOSPC;
	}
	unlink_others(c, slot, p->hash, p->key, entry, SHM_CACHE_REPLACED);
	keep_to_items_max(c, slot, entry);
	return 0;
}

int shm_cache_put(struct shm *s, uint32_t slot, const struct shm_cache_put *p, uint64_t now_ns)
{
	struct cache c = cache_of(s);
	struct sizes z;
	int rc;

	(void)now_ns;
	CHECK(slot < s->geo.slots);
	if (c.nsegs == 0)
		return -ENOSPC;
	rc = measure(&c, p, &z);
	if (rc == 0 && sizeof(struct cache_object) + z.texts + z.value >
			       shm_cache_object_max(&s->geo))
		rc = -EFBIG;
	if (rc == 0)
		rc = put(&c, slot, p, &z);
	if (rc != 0) {
		cache_count(&c, slot, SHM_CACHE_REFUSED, 1);
		/* What was there before is not what the caller would have there. */
		unlink_others(&c, slot, p->hash, p->key, 0, SHM_CACHE_REPLACED);
		return rc;
	}
	cache_count(&c, slot, SHM_CACHE_PUTS, 1);
	cache_count(&c, slot, SHM_CACHE_PUT_BYTES, z.value);
	return 0;
}

bool shm_cache_delete(struct shm *s, uint32_t slot, uint64_t hash, struct slice key)
{
	struct cache c = cache_of(s);

	CHECK(slot < s->geo.slots);
	if (c.nsegs == 0)
		return false;
	cache_ban_key(&c, slot, hash);
	return unlink_others(&c, slot, hash, key, 0, SHM_CACHE_DELETED) > 0;
}
