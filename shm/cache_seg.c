/* SPDX-License-Identifier: MIT */
/*
 * The cache's memory: segments, where objects are appended, and how they leave.
 *
 * Each queue has one open segment, to which all processes append. Room is claimed by a
 * compare-and-swap of the size in the head of the object to be, from 0 (a segment is cleared before
 * it is opened); `used` follows, by whoever comes next if need be. So a walk through a segment
 * finds all objects, complete ones and such as never will be, whoever was killed where.
 *
 * Who appends has a pin on the segment, taken before it looks whether the segment still is the open
 * one: a segment that is open no longer gets no new writers, and when it has no pins it has none.
 *
 * A segment leaves thus: EVICTING; no pin on it, so no writer is left; entries are taken away, or
 * moved along with a copy; still no pin on it, so no reader is left: FREE. With a pin on it, it is
 * in LIMBO, and is tried again later. Nobody waits. Killed anywhere in this, it goes to LIMBO.
 *
 * What has not been used since it came leaves first: new objects go to the small queue, which has
 * at least a tenth of the segments; those that were used by the time they would leave are copied
 * into the main queue, and those that come back soon after they have left go there at once
 * (ghosts). That is S3-FIFO with segments for its grain.
 */
#include <string.h>

#include "base/check.h"
#include "shm/cache_priv.h"
#include "shm/shm_priv.h"

#define SPARE 2u             /* free segments that puts leave, for what is moved */
#define SMALL_SHARE 10u      /* one in so many is the small queue's */
#define HEAD_UNITS 3u        /* of the smallest object */
#define TRIES 64

_Static_assert(sizeof(struct cache_object) <= HEAD_UNITS * CACHE_UNIT, "an object is not smaller");

/* ---- geometry ---- */

#define SEG_MIN 32768u
#define SEG_MAX (1u << 20)
#define SEG_SLACK 1024u          /* so that a value of a power of two fits with its head */
#define BYTES_PER_ENTRY 512u     /* objects may be so small before the index is what is full */
#define LEASES 1024u

static uint64_t fixed_bytes(const struct shm_geometry *g)
{
	uint64_t bits = (g->slots + 63) / 64;

	return sizeof(struct cache_head) + g->slots * sizeof(struct cache_slot) +
	       CACHE_BANS * sizeof(struct cache_ban) + LEASES * 8 * (1 + bits) + 8 * SHM_PAGE;
}

bool shm_cache_geometry(struct shm_geometry *g, uint64_t memory)
{
	uint64_t seg = SEG_MIN, n, buckets, ghosts;

	g->cache_segs = g->cache_seg_bytes = g->cache_buckets = g->cache_ghosts =
		g->cache_leases = 0;
	if (memory == 0)
		return true;
	if (memory < SHM_CACHE_MEMORY_MIN || memory < 2 * fixed_bytes(g))
		return false;
	while (seg < SEG_MAX && seg * 1024 < memory)
		seg *= 2;
	seg += SEG_SLACK;
	memory -= fixed_bytes(g);
	/* Of each segment: itself, its words, places in the index for small objects, ghosts. */
	n = memory / (seg + 20 + seg / BYTES_PER_ENTRY * SHM_LINE / 5 + seg / 1024 * 4);
	n = n < CACHE_SEGS_MAX ? n : CACHE_SEGS_MAX;
	buckets = n * (seg / BYTES_PER_ENTRY) / 5;
	ghosts = n * (seg / 1024);
	g->cache_segs = (uint32_t)n;
	g->cache_seg_bytes = (uint32_t)seg;
	g->cache_buckets = (uint32_t)(buckets < UINT32_MAX ? buckets : UINT32_MAX);
	g->cache_ghosts = (uint32_t)(ghosts < UINT32_MAX ? ghosts : UINT32_MAX);
	g->cache_leases = LEASES;
	return true;
}

uint64_t shm_cache_object_max(const struct shm_geometry *g)
{
	uint64_t n = g->cache_segs / 4;

	if (n < 2)
		return g->cache_seg_bytes;
	n = n < CACHE_PIECES_MAX ? n : CACHE_PIECES_MAX;
	n *= g->cache_seg_bytes;
	return n < CACHE_VALUE_MAX ? n : CACHE_VALUE_MAX;
}

/* ---- words ---- */

static struct cache_word word_at(const struct cache *c, uint32_t seg)
{
	return cache_word_of(atomic_load(&c->word[seg]));
}

static bool swap_word(const struct cache *c, uint32_t seg, struct cache_word from,
		      struct cache_word to)
{
	return cache_swap(&c->word[seg], cache_word_pack(from), cache_word_pack(to));
}

static struct cache_word freed(struct cache_word w)
{
	return (struct cache_word){.state = CACHE_FREE, .gen = w.gen};
}

static uint64_t open_word(uint32_t seg, uint32_t gen)
{
	return (uint64_t)gen << 32 | (seg + 1);
}

static bool is_open(const struct cache *c, uint32_t seg)
{
	for (uint32_t q = 0; q < CACHE_QUEUES; q++)
		if ((uint32_t)atomic_load(&c->head->open[q]) == seg + 1)
			return true;
	return false;
}

static bool has_pins(const struct cache *c, uint32_t seg)
{
	for (uint32_t i = 0; i < c->nslots; i++)
		for (uint32_t k = 0; k < SHM_CACHE_PINS; k++)
			if (atomic_load(&c->slots[i].pin[k]) == (uint64_t)seg + 1)
				return true;
	return false;
}

static uint64_t next_order(const struct cache *c)
{
	return atomic_fetch_add(&c->head->order, 1) + 1;
}

/* ---- ghosts: what has left unused ---- */

static _Atomic uint32_t *ghost_of(const struct cache *c, uint64_t hash)
{
	return &c->ghosts[(hash >> 8 & UINT32_MAX) * c->nghosts >> 32];
}

static uint32_t ghost_make(uint64_t hash, uint64_t order)
{
	return (uint32_t)(hash >> 48) << 16 | (uint16_t)order;
}

static void remember(const struct cache *c, uint64_t hash)
{
	if (c->nghosts > 0)
		shm_set(ghost_of(c, hash), ghost_make(hash, shm_get(&c->head->order)));
}

bool cache_was_here(const struct cache *c, uint64_t hash)
{
	uint32_t g, age, most = c->nsegs < UINT16_MAX ? c->nsegs : UINT16_MAX;

	if (c->nghosts == 0)
		return false;
	g = shm_get(ghost_of(c, hash));
	age = (uint16_t)(shm_get(&c->head->order) - g);
	return g != 0 && g >> 16 == hash >> 48 && age <= most;
}

/* ---- walking ---- */

struct walk { const struct cache *c; uint32_t seg, unit, size, gen; };

static struct walk walk_of(const struct cache *c, uint32_t seg, uint32_t gen)
{
	return (struct walk){.c = c, .seg = seg, .gen = gen};
}

/* The next object, complete or not; NULL at the end. */
static struct cache_object *walk_on(struct walk *w)
{
	struct cache_object *o;

	w->unit += w->size;
	if (w->unit > w->c->seg_units - HEAD_UNITS)
		return NULL;
	o = cache_at(w->c, w->seg, w->unit);
	w->size = atomic_load_explicit(&o->size, memory_order_acquire);
	if (w->size < HEAD_UNITS || w->size > w->c->seg_units - w->unit)
		return NULL;
	return o;
}

static bool walk_entry(const struct walk *w, const struct cache_object *o, uint64_t *ret_entry,
		       struct cache_place *ret_at)
{
	uint64_t hash = shm_get(&o->hash);

	*ret_entry = cache_entry(hash, w->gen, w->seg, w->unit);
	return cache_find_entry(w->c, hash, *ret_entry, ret_at);
}

/* ---- leaving ---- */

static bool reserve(const struct cache *c, uint32_t slot, uint32_t queue, uint32_t units,
		    bool may_evict, struct cache_room *ret);

/* Copies an object into the main queue, and its entry with it. false: no room for it. */
static bool move(const struct cache *c, uint32_t slot, struct cache_object *from, uint32_t units,
		 struct cache_place at, uint64_t entry, uint8_t freq)
{
	uint64_t hash = shm_get(&from->hash);
	struct cache_room r;

	if (!reserve(c, slot, CACHE_MAIN, units, false, &r))
		return false;
	r.o->key_len = from->key_len;
	r.o->meta_len = from->meta_len;
	r.o->tags_len = from->tags_len;
	r.o->value_len = from->value_len;
	r.o->kind = from->kind;
	shm_set(&r.o->seq, shm_get(&from->seq));
	shm_set(&r.o->times, shm_get(&from->times));
	shm_set(&r.o->hash, hash);
	memcpy(r.o->data, from->data, (size_t)units * CACHE_UNIT - sizeof(*from));
	atomic_fetch_add(&c->slots[slot].links, 1);
	if (cache_swap(&at.bucket->entry[at.way], entry, cache_entry(hash, r.gen, r.seg, r.unit))) {
		shm_set(&at.bucket->freq[at.way], freq);
		cache_count(c, slot, SHM_CACHE_KEPT, 1);
	}
	cache_unpin(c, slot, r.pin);
	return true;
}

/* How often it counts as used afterwards; -1: it has to leave. */
static int stays(const struct cache *c, struct cache_place at, bool main)
{
	uint32_t policy = shm_get(&c->head->policy), f = shm_get(&at.bucket->freq[at.way]);

	if (policy == SHM_CACHE_FIFO || f == 0)
		return -1;
	f = f < CACHE_FREQ_MAX ? f : CACHE_FREQ_MAX;
	if (policy == SHM_CACHE_LFU)
		return (int)f - main;
	return 0;
}

/* Of a segment that is EVICTING by this slot. `keep`: what was used is moved. */
static void empty(const struct cache *c, uint32_t slot, uint32_t seg, struct cache_word w,
		  bool keep)
{
	struct walk walk = walk_of(c, seg, w.gen);
	struct cache_object *o;

	while ((o = walk_on(&walk)) != NULL) {
		struct cache_place at;
		uint64_t entry;
		int freq;

		if (!walk_entry(&walk, o, &entry, &at))
			continue;
		freq = keep && !w.large ? stays(c, at, w.main) : -1;
		if (freq >= 0 && move(c, slot, o, walk.size, at, entry, (uint8_t)freq))
			continue;
		if (cache_unlink(c, at, entry, walk.size)) {
			cache_count(c, slot, SHM_CACHE_EVICTED, 1);
			if (!w.main)
				remember(c, shm_get(&o->hash));
		}
		if (w.large)
			return;
	}
}

/* Extents of a head; those of a head that is no more, if `seg` is CACHE_SEGS_MAX. */
static bool is_extent_of(const struct cache *c, struct cache_word x, uint32_t seg, uint32_t gen)
{
	struct cache_word head;

	if (x.state != CACHE_EXTENT)
		return false;
	if (seg != CACHE_SEGS_MAX)
		return x.ref == seg && x.of == (uint16_t)gen;
	if (x.ref >= c->nsegs)
		return true;
	head = word_at(c, x.ref);
	return head.state == CACHE_FREE || head.state == CACHE_EXTENT ||
	       (uint16_t)head.gen != x.of;
}

static void free_extents(const struct cache *c, uint32_t seg, uint32_t gen)
{
	for (uint32_t i = 0; i < c->nsegs; i++) {
		struct cache_word x = word_at(c, i);

		if (is_extent_of(c, x, seg, gen))
			(void)swap_word(c, i, x, freed(x));
	}
}

/* From EVICTING by this slot on. true: it has become free. */
static bool finish(const struct cache *c, uint32_t slot, uint32_t seg, struct cache_word w,
		   bool keep)
{
	struct cache_word next = w;
	bool writers = has_pins(c, seg);

	empty(c, slot, seg, w, keep);
	next.state = CACHE_LIMBO;
	next.ref = 0;
	if (!writers && !has_pins(c, seg)) {
		if (w.large)
			free_extents(c, seg, w.gen);
		next = freed(w);
	}
	return swap_word(c, seg, w, next) && next.state == CACHE_FREE;
}

/* From LIVE, or LIMBO: whoever has it in another state is at work on it. */
static bool begin(const struct cache *c, uint32_t slot, uint32_t seg, struct cache_word *w)
{
	struct cache_word mine = *w;

	if (w->state != CACHE_LIVE && w->state != CACHE_LIMBO)
		return false;
	mine.state = CACHE_EVICTING;
	mine.ref = slot;
	if (!swap_word(c, seg, *w, mine))
		return false;
	*w = mine;
	return true;
}

/* A large object that was used stays where it is, for another turn. */
static bool keep_large(const struct cache *c, uint32_t slot, uint32_t seg, struct cache_word w)
{
	struct walk walk = walk_of(c, seg, w.gen);
	struct cache_object *o = walk_on(&walk);
	struct cache_word next = {.state = CACHE_LIVE, .main = true, .large = true, .gen = w.gen};
	struct cache_place at;
	uint64_t entry;
	int freq;

	if (!o || !walk_entry(&walk, o, &entry, &at))
		return false;
	freq = stays(c, at, w.main);
	if (freq < 0)
		return false;
	shm_set(&at.bucket->freq[at.way], (uint8_t)freq);
	shm_set(&c->order[seg], next_order(c));
	cache_count(c, slot, SHM_CACHE_KEPT, 1);
	(void)swap_word(c, seg, w, next);
	/* Who took its entry away meanwhile saw that we are at work on it. */
	if (!cache_find_entry(c, shm_get(&o->hash), entry, &at))
		cache_release_large(c, slot, seg, w.gen);
	return true;
}

static bool evict(const struct cache *c, uint32_t slot, uint32_t seg, struct cache_word w)
{
	if (!begin(c, slot, seg, &w))
		return false;
	if (w.large && keep_large(c, slot, seg, w))
		return false;
	return finish(c, slot, seg, w, true);
}

static bool reap_limbo(const struct cache *c, uint32_t slot, uint32_t seg, struct cache_word w)
{
	return !has_pins(c, seg) && begin(c, slot, seg, &w) && finish(c, slot, seg, w, false);
}

void cache_release_large(const struct cache *c, uint32_t slot, uint32_t seg, uint32_t gen)
{
	struct cache_word w = word_at(c, seg);

	if (w.large && w.gen == gen && w.state == CACHE_LIVE && begin(c, slot, seg, &w))
		(void)finish(c, slot, seg, w, false);
}

/* ---- who leaves next ---- */

struct survey {
	uint32_t free, small, all;
	uint32_t oldest[CACHE_QUEUES], limbo;    /* UINT32_MAX = none */
};

static void look_around(const struct cache *c, struct survey *ret)
{
	uint64_t order[CACHE_QUEUES] = {UINT64_MAX, UINT64_MAX};

	*ret = (struct survey){.oldest = {UINT32_MAX, UINT32_MAX}, .limbo = UINT32_MAX};
	for (uint32_t i = 0; i < c->nsegs; i++) {
		struct cache_word w = cache_word_of(shm_get(&c->word[i]));
		uint64_t o = shm_get(&c->order[i]);

		ret->free += w.state == CACHE_FREE;
		if (w.state == CACHE_LIMBO && ret->limbo == UINT32_MAX && !has_pins(c, i))
			ret->limbo = i;
		if (w.state != CACHE_LIVE || is_open(c, i))
			continue;
		ret->all++;
		ret->small += !w.main;
		if (o < order[w.main]) {
			order[w.main] = o;
			ret->oldest[w.main] = i;
		}
	}
}

static uint32_t victim_of(const struct cache *c, const struct survey *s)
{
	uint32_t small = s->oldest[CACHE_SMALL], main = s->oldest[CACHE_MAIN];

	if (small == UINT32_MAX || main == UINT32_MAX)
		return small != UINT32_MAX ? small : main;
	if (shm_get(&c->head->policy) == SHM_CACHE_FIFO)
		return shm_get(&c->order[small]) < shm_get(&c->order[main]) ? small : main;
	return s->small > c->nsegs / SMALL_SHARE ? small : main;
}

/* Until `want` segments are free. Bounded: each turn ends one segment's stay, or lowers how often
 * it counts as used. */
static bool make_room(const struct cache *c, uint32_t slot, uint32_t want)
{
	for (uint32_t n = 0; n < 4 * c->nsegs + TRIES; n++) {
		struct survey s;
		uint32_t seg;

		look_around(c, &s);
		if (s.free >= want)
			return true;
		if (s.limbo != UINT32_MAX) {
			(void)reap_limbo(c, slot, s.limbo, word_at(c, s.limbo));
			continue;
		}
		seg = victim_of(c, &s);
		if (seg == UINT32_MAX)
			return s.free > 0;
		(void)evict(c, slot, seg, word_at(c, seg));
	}
	return false;
}

/* ---- coming ---- */

/* An entry is never 0: nor are the bits of the generation in it. */
static uint32_t next_gen(uint32_t gen)
{
	gen += (gen + 1) % 256 == 0 ? 2 : 1;
	return gen <= CACHE_GEN_MAX ? gen : 1;
}

static bool take_free(const struct cache *c, uint32_t slot, uint32_t *ret_seg, uint32_t *ret_gen)
{
	uint32_t i = (uint32_t)shm_get(&c->head->free_hint) % c->nsegs;

	for (uint32_t n = 0; n < c->nsegs; n++, i = (i + 1) % c->nsegs) {
		struct cache_word w = word_at(c, i), mine = {.state = CACHE_OPENING, .ref = slot};

		if (w.state != CACHE_FREE)
			continue;
		mine.gen = next_gen(w.gen);
		if (!swap_word(c, i, w, mine))
			continue;
		shm_set(&c->head->free_hint, i + 1);
		*ret_seg = i;
		*ret_gen = mine.gen;
		return true;
	}
	return false;
}

static bool take(const struct cache *c, uint32_t slot, bool may_evict, uint32_t *ret_seg,
		 uint32_t *ret_gen)
{
	if (!may_evict)
		return take_free(c, slot, ret_seg, ret_gen);
	for (int tries = 0; tries < TRIES; tries++) {
		bool room = make_room(c, slot, SPARE);

		if (take_free(c, slot, ret_seg, ret_gen))
			return true;
		if (!room)
			return false;
	}
	return false;
}

static void give(const struct cache *c, uint32_t slot, uint32_t seg, uint32_t gen)
{
	struct cache_word w = {.state = CACHE_OPENING, .gen = gen, .ref = slot};

	(void)swap_word(c, seg, w, freed(w));
}

/* Another open segment in the place of `old`; or somebody else's, if one was faster. */
static bool open_next(const struct cache *c, uint32_t slot, uint32_t queue, uint64_t old,
		      bool may_evict)
{
	struct cache_word mine = {.state = CACHE_OPENING, .ref = slot}, live;
	uint32_t seg;

	if (!take(c, slot, may_evict, &seg, &mine.gen))
		return false;
	memset(cache_at(c, seg, 0), 0, (size_t)c->seg_units * CACHE_UNIT);
	shm_set(&c->used[seg], 0);
	shm_set(&c->order[seg], next_order(c));
	live = (struct cache_word){
		.state = CACHE_LIVE, .main = queue == CACHE_MAIN, .gen = mine.gen};
	if (!swap_word(c, seg, mine, live))
		return true; /* somebody has scribbled on it */
	if (!cache_swap(&c->head->open[queue], old, open_word(seg, mine.gen)) &&
	    begin(c, slot, seg, &live))
		(void)finish(c, slot, seg, live, false);
	return true;
}

enum claim { CLAIMED, FULL, AGAIN };
static enum claim claim_room(const struct cache *c, struct cache_room *r, uint32_t units)
{
	uint32_t at = atomic_load(&c->used[r->seg]), size, none = 0;

	if (at > c->seg_units - HEAD_UNITS)
		return FULL;
	r->o = cache_at(c, r->seg, at);
	size = atomic_load(&r->o->size);
	if (size == 0 && units > c->seg_units - at)
		return FULL;
	if (size == 0 && atomic_compare_exchange_strong(&r->o->size, &none, units)) {
		(void)atomic_compare_exchange_strong(&c->used[r->seg], &(uint32_t){at}, at + units);
		r->unit = at;
		return CLAIMED;
	}
	/* Somebody has claimed it, and may not have come to saying so. */
	size = size != 0 ? size : none;
	if (size > c->seg_units - at)
		return FULL;
	(void)atomic_compare_exchange_strong(&c->used[r->seg], &at, at + size);
	return AGAIN;
}

static bool reserve(const struct cache *c, uint32_t slot, uint32_t queue, uint32_t units,
		    bool may_evict, struct cache_room *ret)
{
	for (int tries = 0; tries < 4 * TRIES; tries++) {
		uint64_t open = atomic_load(&c->head->open[queue]);
		uint32_t seg = (uint32_t)open - 1;
		enum claim got = FULL;
		struct cache_word w;

		if (seg < c->nsegs) {
			if (!cache_pin(c, slot, seg, &ret->pin))
				return false;
			w = word_at(c, seg);
			ret->seg = seg;
			ret->gen = w.gen;
			if (atomic_load(&c->head->open[queue]) != open)
				got = AGAIN;
			else if (w.state == CACHE_LIVE && open_word(seg, w.gen) == open)
				got = claim_room(c, ret, units);
			if (got == CLAIMED)
				return true;
			cache_unpin(c, slot, ret->pin);
		}
		if (got == FULL && !open_next(c, slot, queue, open, may_evict))
			return false;
	}
	return false;
}

bool cache_reserve(const struct cache *c, uint32_t slot, uint32_t queue, uint32_t units,
		   struct cache_room *ret)
{
	return reserve(c, slot, queue, units, true, ret);
}

/* ---- large objects ---- */

bool cache_reserve_large(const struct cache *c, uint32_t slot, uint32_t n, uint32_t *list,
			 struct cache_room *ret)
{
	uint32_t gen[CACHE_PIECES_MAX];
	uint32_t got = 0;

	if (!cache_pin(c, slot, c->nsegs, &ret->pin)) /* a place for it: no segment's */
		return false;
	if (take(c, slot, true, &ret->seg, &ret->gen)) {
		while (got < n && take(c, slot, true, &list[got], &gen[got]))
			got++;
		if (got == n) {
			atomic_store(&c->slots[slot].pin[ret->pin], (uint64_t)ret->seg + 1);
			memset(cache_at(c, ret->seg, 0), 0, HEAD_UNITS * CACHE_UNIT);
			ret->o = cache_at(c, ret->seg, 0);
			ret->unit = 0;
			return true;
		}
		while (got-- > 0)
			give(c, slot, list[got], gen[got]);
		give(c, slot, ret->seg, ret->gen);
	}
	cache_unpin(c, slot, ret->pin);
	return false;
}

void cache_publish_large(const struct cache *c, uint32_t slot, const struct cache_room *room,
			 bool main, const uint32_t *list, uint32_t n)
{
	struct cache_word mine = {.state = CACHE_OPENING, .gen = room->gen, .ref = slot};
	struct cache_word live = {
		.state = CACHE_LIVE, .main = main, .large = true, .gen = room->gen};

	for (uint32_t i = 0; i < n; i++) {
		struct cache_word x = word_at(c, list[i]), extent = {
			.state = CACHE_EXTENT, .ref = room->seg, .gen = x.gen,
			.of = (uint16_t)room->gen};

		if (x.state == CACHE_OPENING && x.ref == slot)
			(void)swap_word(c, list[i], x, extent);
	}
	atomic_store(&room->o->size, c->seg_units);
	shm_set(&c->used[room->seg], c->seg_units);
	shm_set(&c->order[room->seg], next_order(c));
	(void)swap_word(c, room->seg, mine, live);
}

/* ---- one object less ---- */

/* The segment that is next in order behind one, or the first. */
static uint32_t next_live(const struct cache *c, uint64_t behind)
{
	uint32_t best = UINT32_MAX, first = UINT32_MAX;

	for (uint32_t i = 0; i < c->nsegs; i++) {
		uint64_t o = shm_get(&c->order[i]);

		if (cache_word_of(shm_get(&c->word[i])).state != CACHE_LIVE)
			continue;
		if (first == UINT32_MAX || o < shm_get(&c->order[first]))
			first = i;
		if (o > behind && (best == UINT32_MAX || o < shm_get(&c->order[best])))
			best = i;
	}
	return best != UINT32_MAX ? best : first;
}

/* From this object of the segment on. true: one has left; *unit is where the next one is. `*turns`:
 * some stay for another turn. */
static bool trim_in(const struct cache *c, uint32_t slot, uint32_t seg, uint64_t except,
		    uint32_t *unit, bool *turns)
{
	struct cache_word w = word_at(c, seg);
	struct walk walk = walk_of(c, seg, w.gen);
	struct cache_object *o;

	while (w.state == CACHE_LIVE && (o = walk_on(&walk)) != NULL) {
		struct cache_place at;
		uint64_t entry;
		int freq;

		if (walk.unit < *unit || !walk_entry(&walk, o, &entry, &at) || entry == except)
			continue;
		freq = stays(c, at, true);
		if (freq >= 0) {
			shm_set(&at.bucket->freq[at.way], (uint8_t)freq);
			*turns = true;
			continue;
		}
		if (!cache_unlink(c, at, entry, walk.size))
			continue;
		cache_count(c, slot, SHM_CACHE_EVICTED, 1);
		*unit = walk.unit + walk.size;
		cache_release_large(c, slot, seg, w.gen);
		return true;
	}
	return false;
}

bool cache_trim(const struct cache *c, uint32_t slot, uint64_t except)
{
	uint64_t hint = shm_get(&c->head->trim), order;
	uint32_t seg = (uint32_t)(hint >> 32), unit = (uint32_t)hint, rounds = 0;
	bool turns = true;

	if (seg >= c->nsegs || word_at(c, seg).state != CACHE_LIVE)
		seg = next_live(c, unit = 0);
	/* The first round may have begun amidst; after that there is nothing to be had if none
	 * of them stayed for another turn. */
	for (uint32_t n = 0; seg < c->nsegs && n < 5 * c->nsegs; n++) {
		uint32_t pin;
		bool done;

		if (!cache_pin(c, slot, seg, &pin))
			return false;
		done = trim_in(c, slot, seg, except, &unit, &turns);
		cache_unpin(c, slot, pin);
		if (done) {
			shm_set(&c->head->trim, (uint64_t)seg << 32 | unit);
			return true;
		}
		unit = 0;
		order = shm_get(&c->order[seg]);
		seg = next_live(c, order);
		if (seg < c->nsegs && shm_get(&c->order[seg]) <= order) {
			if (rounds++ > 0 && !turns)
				return false;
			turns = false;
		}
	}
	return false;
}

/* ---- sweep ---- */

/* Why an object in the index has to go. false: it stays. */
static bool is_over(const struct cache *c, const struct walk *w, struct cache_object *o,
		    bool large, uint64_t now_ns, enum shm_cache_count *ret_why)
{
	struct cache_view v;
	uint64_t fresh_ns, stale_ns;

	*ret_why = SHM_CACHE_EXPIRED;
	if (!cache_view_of(c, o, w->unit, large, &v))
		return true;
	cache_times_of(o, &fresh_ns, &stale_ns);
	if (now_ns >= stale_ns)
		return true;
	*ret_why = SHM_CACHE_INVALIDATED;
	return cache_is_banned(c, o, &v);
}

static uint32_t sweep_live(const struct cache *c, uint32_t slot, uint32_t seg, struct cache_word w,
			   uint64_t now_ns, struct shm_cache_sweep *sw)
{
	struct walk walk = walk_of(c, seg, w.gen);
	struct cache_object *o;
	uint32_t live = 0;

	while ((o = walk_on(&walk)) != NULL) {
		enum shm_cache_count why;
		struct cache_place at;
		uint64_t entry;

		if (!walk_entry(&walk, o, &entry, &at))
			continue;
		if (is_over(c, &walk, o, w.large, now_ns, &why)) {
			if (cache_unlink(c, at, entry, walk.size))
				cache_count(c, slot, why, 1);
			continue;
		}
		live++;
		sw->units += walk.size;
	}
	sw->items += live;
	return live;
}

static bool sweep_segment(const struct cache *c, uint32_t slot, uint32_t seg, uint64_t now_ns,
			 struct shm_cache_sweep *sw)
{
	struct cache_word w = word_at(c, seg);
	uint32_t pin, live;

	if (w.state == CACHE_LIMBO)
		return reap_limbo(c, slot, seg, w);
	if (is_extent_of(c, w, CACHE_SEGS_MAX, 0))
		return swap_word(c, seg, w, freed(w));
	if (w.state != CACHE_LIVE || !cache_pin(c, slot, seg, &pin))
		return false;
	w = word_at(c, seg);
	live = w.state == CACHE_LIVE ? sweep_live(c, slot, seg, w, now_ns, sw) : 1;
	cache_unpin(c, slot, pin);
	/* With a pin on it somebody may be about to enter an object of it. */
	return live == 0 && !is_open(c, seg) && !has_pins(c, seg) && begin(c, slot, seg, &w) &&
	       finish(c, slot, seg, w, false);
}

/* Each only goes up: with a sum that is the same, all of them are. */
static uint64_t links_of(const struct cache *c)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < c->nslots; i++)
		sum += atomic_load(&c->slots[i].links);
	return sum;
}

bool shm_cache_sweep(struct shm *s, uint32_t slot, struct shm_cache_sweep *sw, uint32_t n,
		     uint64_t now_ns)
{
	struct cache c = cache_of(s);

	CHECK(slot < s->geo.slots);
	if (c.nsegs == 0)
		return true;
	if (sw->at == 0) {
		*sw = (struct shm_cache_sweep){
			.items_before = atomic_load(&c.head->items),
			.units_before = atomic_load(&c.head->units),
			.links = links_of(&c),
			.seq = shm_cache_birth(s),
		};
	}
	for (; n > 0 && sw->at < c.nsegs; n--, sw->at++)
		(void)sweep_segment(&c, slot, sw->at, now_ns, sw);
	if (sw->at < c.nsegs)
		return false;
	sw->at = 0;
	shm_set(&c.head->swept, sw->seq);
	/* Who was killed between an entry and its count has left them different. What was counted
	 * is right if no entry has come or moved; that none has gone the counts say themselves. */
	if (links_of(&c) != sw->links)
		return true;
	if (sw->items != sw->items_before)
		(void)cache_swap(&c.head->items, sw->items_before, sw->items);
	if (sw->units != sw->units_before)
		(void)cache_swap(&c.head->units, sw->units_before, sw->units);
	return true;
}

/* ---- recovery ---- */

void shm_cache_recover(struct shm *s, uint32_t slot)
{
	struct cache c = cache_of(s);

	CHECK(slot < s->geo.slots);
	if (c.nsegs == 0)
		return;
	for (uint32_t i = 0; i < c.nsegs; i++) {
		struct cache_word w = word_at(&c, i), next = w;

		if (w.ref != slot)
			continue;
		next.ref = 0;
		next.state = CACHE_LIMBO;
		if (w.state == CACHE_OPENING)
			(void)swap_word(&c, i, w, freed(w));
		else if (w.state == CACHE_EVICTING)
			(void)swap_word(&c, i, w, next);
	}
	free_extents(&c, CACHE_SEGS_MAX, 0);
	for (uint32_t k = 0; k < SHM_CACHE_PINS; k++)
		atomic_store(&c.slots[slot].pin[k], 0);
	cache_lease_recover(&c, slot);
	cache_ban_recover(&c, slot);
}

/* ---- what can be seen ---- */

void shm_cache_set(struct shm *s, enum shm_cache_policy policy, uint64_t items_max)
{
	if (s->geo.cache_segs == 0)
		return;
	shm_set(&s->cache_head->policy, policy);
	shm_set(&s->cache_head->items_max, items_max);
}

void shm_cache_read(const struct shm *s, struct shm_cache_view *ret)
{
	struct cache c = cache_of(s);
	uint64_t policy, extents;

	*ret = (struct shm_cache_view){0};
	if (c.nsegs == 0)
		return;
	policy = shm_get(&c.head->policy);
	ret->policy = policy <= SHM_CACHE_FIFO ? (enum shm_cache_policy)policy : SHM_CACHE_LRU;
	ret->items_max = shm_get(&c.head->items_max);
	ret->object_max = shm_cache_object_max(&s->geo);
	ret->segments = c.nsegs;
	ret->segment_bytes = s->geo.cache_seg_bytes;
	ret->memory = ret->segments * ret->segment_bytes;
	ret->items = cache_count_of(&c.head->items);
	ret->entries = (uint64_t)c.nbuckets * CACHE_WAYS;
	ret->live_bytes = cache_count_of(&c.head->units) * CACHE_UNIT;
	for (uint32_t i = 0; i < c.nsegs; i++) {
		struct cache_word w = word_at(&c, i);
		uint32_t used = shm_get(&c.used[i]);

		ret->by_state[w.state]++;
		if (cache_is_readable(w.state))
			ret->used_bytes += (uint64_t)(used < c.seg_units ? used : c.seg_units) *
					   CACHE_UNIT;
	}
	extents = ret->by_state[CACHE_EXTENT] * ret->segment_bytes;
	ret->used_bytes += extents;
	ret->live_bytes += extents;
	ret->leases = cache_leases_held(&c);
	for (uint32_t i = 0; i < c.nslots; i++) {
		for (uint32_t k = 0; k < SHM_CACHE_PINS; k++)
			ret->pinned += shm_get(&c.slots[i].pin[k]) != 0;
		for (uint32_t k = 0; k < SHM_CACHE_COUNTS; k++)
			ret->count[k] += shm_get(&c.slots[i].count[k]);
	}
}
