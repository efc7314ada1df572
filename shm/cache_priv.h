/* SPDX-License-Identifier: MIT */
/*
 * Inside of shm/: how the cache lies in the segment.
 *
 * Every number that is read from the segment is put into bounds before it is used; what makes no
 * sense is a miss, and its memory comes back when its segment leaves.
 */
#ifndef SHM_CACHE_PRIV_H
#define SHM_CACHE_PRIV_H

#include "shm/cache.h"

/* ---- segments ---- */

/*
 * The word of a segment. FREE: nobody's. OPENING: claimed by a slot, which clears and fills it;
 * nobody else looks into it. LIVE: has objects; those of the queues' open segments are appended to.
 * EVICTING: a slot takes its objects away. LIMBO: they have been taken away, or are to be; it is
 * free when nobody has a pin on it. EXTENT: holds a part of a large object, the head of which is in
 * segment `ref`, generation `of`; without that head it is free.
 * `gen` goes up with each use, whatever it is used for: so a word does not come back, and who is
 * held up before a compare-and-swap does not take away what has another use by then.
 * Only OPENING and EVICTING have an owner: recovery makes them FREE and LIMBO.
 */
enum cache_state {
#define SHM_CACHE_STATE(sym, word) CACHE_##sym,
#include "shm/cache_states.def"
#undef SHM_CACHE_STATE
	CACHE_STATES
};
_Static_assert(CACHE_STATES <= SHM_CACHE_STATES_MAX, "a state has three bits");
#define CACHE_SEG_BITS 20
#define CACHE_SEGS_MAX (1u << CACHE_SEG_BITS)
#define CACHE_GEN_MAX ((1u << 20) - 1)
struct cache_word {
	enum cache_state state;
	bool main;               /* its objects have proved themselves */
	bool large;              /* it is the head of one large object */
	uint32_t ref;            /* owner's slot; of an extent its head */
	uint32_t gen;            /* counts its uses */
	uint16_t of;             /* of an extent: of its head's generation */
};

static inline uint64_t cache_word_pack(struct cache_word w)
{
	return (uint64_t)w.state | (uint64_t)w.main << 4 | (uint64_t)w.large << 5 |
	       (uint64_t)w.ref << 8 | (uint64_t)w.gen << 28 | (uint64_t)w.of << 48;
}

static inline struct cache_word cache_word_of(uint64_t raw)
{
	return (struct cache_word){
		.state = (enum cache_state)(raw & 7),
		.main = raw >> 4 & 1,
		.large = raw >> 5 & 1,
		.ref = (uint32_t)(raw >> 8) & (CACHE_SEGS_MAX - 1),
		.gen = (uint32_t)(raw >> 28) & CACHE_GEN_MAX,
		.of = (uint16_t)(raw >> 48),
	};
}

/* Objects of these may be in the index, and be read. */
static inline bool cache_is_readable(enum cache_state st)
{
	return st == CACHE_LIVE || st == CACHE_EVICTING || st == CACHE_LIMBO;
}

/* ---- objects ---- */

#define CACHE_UNIT 16u           /* objects begin at multiples of this, and are so long */
#define CACHE_SEG_MAX (CACHE_UNIT << 20) /* what an entry can say */
#define CACHE_SEG_BYTES 24u      /* of words by segment: see cache_of() */
struct cache_object {
	_Atomic uint32_t size;   /* in units, of what is in its segment; 0 = nothing yet. By CAS */
	uint16_t key_len, meta_len;
	_Atomic uint64_t hash;   /* those who walk a segment read it before it is complete */
	_Atomic uint64_t seq;    /* invalidations up to this one do not touch it */
	_Atomic uint64_t times;  /* fresh until, in ms (40 bits); stale for, in s (24 bits) */
	uint32_t value_len;
	uint16_t tags_len;
	uint8_t kind, spare;
	char data[];             /* key, tags (length and bytes each), meta, [list], value */
};
_Static_assert(sizeof(struct cache_object) == 40, "40 bytes of head");
/* A large object has `list` before its value: segments of the extents, uint32_t each, aligned. The
 * first piece fills the rest of the head's segment, then each extent holds as much as it can. */

#define CACHE_VALUE_MAX (1u << 30)
#define CACHE_PIECES_MAX (SHM_CACHE_PIECES - 1) /* extents */

/* ---- index ---- */

/* An entry: what of the hash, which use of the segment (8 bits of that, never 0), where. 0 = none.
 * By CAS. */
static inline uint64_t cache_entry(uint64_t hash, uint32_t gen, uint32_t seg, uint32_t unit)
{
	return hash >> 48 << 48 | (uint64_t)(uint8_t)gen << 40 | (uint64_t)seg << 20 | unit;
}
static inline bool cache_entry_is_of(uint64_t e, struct cache_word w)
{
	return (uint8_t)(e >> 40) == (uint8_t)w.gen;
}
static inline uint32_t cache_entry_seg(uint64_t e) { return e >> 20 & (CACHE_SEGS_MAX - 1); }
static inline uint32_t cache_entry_unit(uint64_t e) { return e & 0xfffff; }

#define CACHE_WAYS 7u
#define CACHE_FREQ_MAX 3u
struct cache_bucket {
	SHM_ALIGNED _Atomic uint64_t entry[CACHE_WAYS];
	_Atomic uint8_t freq[8]; /* hints: how often it was used, up to CACHE_FREQ_MAX */
};
_Static_assert(sizeof(struct cache_bucket) == SHM_LINE, "a bucket is a line");

/* ---- what all share ---- */

enum { CACHE_SMALL, CACHE_MAIN, CACHE_QUEUES };
#define CACHE_SAMPLE_WORDS 8u
struct cache_sample { _Atomic uint64_t label, word[CACHE_SAMPLE_WORDS]; };

struct cache_head {
	SHM_ALIGNED _Atomic uint32_t policy;      /* [M] */
	_Atomic uint64_t items_max;               /* [M] */
	SHM_ALIGNED _Atomic uint64_t open[CACHE_QUEUES]; /* gen << 32 | segment + 1; by CAS */
	SHM_ALIGNED _Atomic uint64_t order;       /* segments ever opened, and kept in turn */
	_Atomic uint64_t free_hint;               /* where to look for a free segment */
	_Atomic uint64_t trim;                    /* hint: where to look for an object to leave */
	SHM_ALIGNED _Atomic uint64_t items;       /* entries; put right by the sweep after a kill */
	_Atomic uint64_t units;                   /* of their objects, without extents */
	SHM_ALIGNED _Atomic uint64_t bans;        /* invalidations ever claimed */
	_Atomic uint64_t settled;                 /* all up to this one are complete */
	_Atomic uint64_t swept;                   /* hint [K]: all objects were looked at for it */
	SHM_ALIGNED _Atomic uint64_t samples;     /* [K] ever taken: cache_history.c */
	struct cache_sample sample[SHM_CACHE_SAMPLES]; /* [K] */
};

struct cache_slot {              /* of the slot's owner; any lane of it */
	SHM_ALIGNED _Atomic uint64_t pin[SHM_CACHE_PINS]; /* segment + 1; 0 = none. By CAS */
	_Atomic uint64_t count[SHM_CACHE_COUNTS];
	_Atomic uint64_t pin_hint;
	_Atomic uint64_t claims;         /* of leases, ever: no two of them are the same */
	_Atomic uint64_t links;          /* goes up before an entry comes or moves */
};

/* An invalidation, in a ring: number n is in cell n % CACHE_BANS. */
#define CACHE_BANS 256u
enum cache_ban_state { CACHE_BAN_NONE, CACHE_BAN_PENDING, CACHE_BAN_DONE, CACHE_BAN_VOID };
enum { CACHE_BAN_KEY = 100 };    /* beside enum shm_cache_what: the object of a hash */
struct cache_said { uint16_t what, len; uint32_t hash[2]; char text[SHM_CACHE_PATTERN_MAX]; };
#define CACHE_BAN_PARTS (sizeof(struct cache_said) / 4)
struct cache_ban {
	SHM_ALIGNED _Atomic uint64_t word;        /* n << 20 | owner << 2 | state; by CAS */
	_Atomic uint64_t part[CACHE_BAN_PARTS];   /* n << 32 | four bytes of what it says; by CAS */
};

#define CACHE_LEASE_WAYS 4u      /* places of a key: see cache_lease.c */

/* ---- as one process sees it ---- */

struct cache {
	struct cache_head *head;
	_Atomic uint64_t *word, *order;  /* by segment */
	_Atomic uint32_t *used;          /* units, by segment */
	struct cache_slot *slots;
	struct cache_bucket *buckets;
	_Atomic uint32_t *ghosts;
	struct cache_ban *bans;
	_Atomic uint64_t *leases, *lease_bits;
	char *data;
	uint32_t nslots, nsegs, seg_units, nbuckets, nghosts, nleases, bit_words;
};

struct cache cache_of(const struct shm *s);

static inline struct cache_object *cache_at(const struct cache *c, uint32_t seg, uint32_t unit)
{
	uint64_t at = (uint64_t)seg * c->seg_units + unit;

	return (struct cache_object *)(c->data + at * CACHE_UNIT);
}

static inline uint32_t cache_units(uint64_t bytes)
{
	return (uint32_t)((bytes + CACHE_UNIT - 1) / CACHE_UNIT);
}

static inline bool cache_swap(_Atomic uint64_t *w, uint64_t from, uint64_t to)
{
	return atomic_compare_exchange_strong(w, &from, to);
}

/* `items`, `units`. An entry may have gone before it was counted: none is below 0. */
static inline uint64_t cache_count_of(const _Atomic uint64_t *w)
{
	uint64_t n = atomic_load(w);

	return n <= INT64_MAX ? n : 0;
}

/* ---- cache.c ---- */

/* Lengths of an object, checked against its segment. false: they make no sense. */
struct cache_view {
	struct slice key, tags, meta;
	const uint32_t *list;            /* NULL = not large */
	uint32_t nlist;
	const char *value;
	uint64_t value_len, first_len;   /* all of it; what is in this segment */
};
bool cache_view_of(const struct cache *c, const struct cache_object *o, uint32_t unit, bool large,
		   struct cache_view *ret);

void cache_times_of(const struct cache_object *o, uint64_t *ret_fresh_ns, uint64_t *ret_stale_ns);

bool cache_pin(const struct cache *c, uint32_t slot, uint32_t seg, uint32_t *ret_pin);
void cache_unpin(const struct cache *c, uint32_t slot, uint32_t pin);

/* Where the index has this very entry. false: nowhere. */
struct cache_place { struct cache_bucket *bucket; uint32_t way; };
bool cache_find_entry(const struct cache *c, uint64_t hash, uint64_t entry,
		      struct cache_place *ret);
/* Takes an entry away, if it still is this one. */
bool cache_unlink(const struct cache *c, struct cache_place at, uint64_t entry, uint32_t units);
void cache_count(const struct cache *c, uint32_t slot, enum shm_cache_count what, uint64_t n);

/* ---- cache_seg.c ---- */

/* Room for an object in the open segment of a queue; its size is set, and the segment pinned. */
struct cache_room { struct cache_object *o; uint32_t seg, unit, pin, gen; };
bool cache_reserve(const struct cache *c, uint32_t slot, uint32_t queue, uint32_t units,
		   struct cache_room *ret);
/* A segment of its own and so many extents, all OPENING; `list` gets the extents. */
bool cache_reserve_large(const struct cache *c, uint32_t slot, uint32_t n, uint32_t *list,
			 struct cache_room *ret);
void cache_publish_large(const struct cache *c, uint32_t slot, const struct cache_room *room,
			 bool main, const uint32_t *list, uint32_t n);
/* Of a large object that is in the index no more: gives its segments free, if nobody reads. */
void cache_release_large(const struct cache *c, uint32_t slot, uint32_t seg, uint32_t gen);
/* Did a key that was taken away lately have this hash? */
bool cache_was_here(const struct cache *c, uint64_t hash);
/* One object less, but not the one of this entry. false: there is no other. */
bool cache_trim(const struct cache *c, uint32_t slot, uint64_t except);

/* ---- cache_ban.c ---- */

/* Has anything been invalidated that touches this object? If not, it need not be asked again. */
bool cache_is_banned(const struct cache *c, struct cache_object *o, const struct cache_view *v);
void cache_ban_key(const struct cache *c, uint32_t slot, uint64_t hash);
void cache_ban_recover(const struct cache *c, uint32_t slot);
void cache_lease_recover(const struct cache *c, uint32_t slot);
uint64_t cache_leases_held(const struct cache *c);

#endif
