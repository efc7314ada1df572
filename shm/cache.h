/* SPDX-License-Identifier: MIT */
/*
 * The store of the cache: objects under keys, one for all processes of an instance.
 *
 * Objects lie in segments, to which all processes append, and which leave as a whole. An index of
 * one-word entries says where the object of a key is. Who reads pins the segment with a word of
 * its own slot, reads the entry again, and then reads from the segment as long as the pin stands:
 * no lock, no count that a killed process could leave behind.
 *
 * Any lane of a slot may call these, the master's excepted. Nothing here blocks (putting an object
 * copies it) or reads a clock: `now_ns` is monotonic.
 */
#ifndef SHM_CACHE_H
#define SHM_CACHE_H

#include "shm/shm.h"

#define SHM_CACHE_KEY_MAX   4096u
#define SHM_CACHE_META_MAX  8192u
#define SHM_CACHE_TAGS_MAX  16u         /* of an object */
#define SHM_CACHE_TAGS_BYTES 2048u      /* all of them, with a byte each */
#define SHM_CACHE_PATTERN_MAX 240u      /* of an invalidation */
#define SHM_CACHE_PINS      64u         /* objects that a slot may read from at a time */

/* ---- geometry ---- */

/*
 * Makes the part of the geometry that is the cache's: segments, index and the rest take at most
 * `memory` bytes. 0 = no cache. false: not 0 and below SHM_CACHE_MEMORY_MIN.
 */
#define SHM_CACHE_MEMORY_MIN (1u << 20)
bool shm_cache_geometry(struct shm_geometry *g, uint64_t memory);
/* The largest object that can be kept: key, tags, meta and value together; 0 = no cache. */
uint64_t shm_cache_object_max(const struct shm_geometry *g);

/* ---- what leaves a full cache ---- */

/* LRU: what was used since it came, or since its last turn, stays for another turn. LFU: for as
 * many turns as it was used often (up to 3). FIFO: nothing stays. LRU and LFU let what comes first
 * prove itself in a tenth of the memory. */
enum shm_cache_policy { SHM_CACHE_LRU, SHM_CACHE_LFU, SHM_CACHE_FIFO };
/* Master; live. `items_max` 0 = no bound. */
void shm_cache_set(struct shm *s, enum shm_cache_policy policy, uint64_t items_max);

/* ---- reading ---- */

/* SipHash of the key under the instance's secret. */
uint64_t shm_cache_hash(const struct shm *s, struct slice key);

#define SHM_CACHE_PIECES 258u           /* of a value, at most: see shm_cache_piece() */
struct shm_cache_ref {
	uint32_t pin;                   /* of the own slot */
	uint32_t npieces;               /* of the value; 0 if it is empty */
	struct slice key, meta;         /* in the segment, like the value: stable while pinned */
	struct slice first;             /* the value's first piece: all of it, if npieces is 1 */
	uint64_t value_len;
	uint64_t fresh_ns, stale_ns;    /* monotonic: fresh until, and then stale until */
	uint32_t kind;                  /* as it was put: the caller's */
	uint32_t head;                  /* (for shm_cache_piece()) */
	const void *list;
	void *object;                   /* (for shm_cache_touch()) */
	uint64_t entry;                 /* which object it is: another one has another */
};
enum shm_cache_found { SHM_CACHE_MISS, SHM_CACHE_HIT, SHM_CACHE_STALE };
/*
 * Looks for the object of a key. HIT, STALE: *ret is pinned, until shm_cache_unpin(). Counted as a
 * use once if `use`: ask with false for the second time within a request. A miss also if all pins
 * of the slot are in use, which is counted.
 */
enum shm_cache_found shm_cache_get(struct shm *s, uint32_t slot, uint64_t hash, struct slice key,
				   bool use, uint64_t now_ns, struct shm_cache_ref *ret);
/* Piece i, below npieces, of the value. */
struct slice shm_cache_piece(const struct shm *s, const struct shm_cache_ref *ref, uint32_t i);
void shm_cache_unpin(struct shm *s, uint32_t slot, const struct shm_cache_ref *ref);
/* Other times for what was found, while it is pinned. */
void shm_cache_touch(struct shm *s, const struct shm_cache_ref *ref, uint64_t fresh_ns,
		     uint64_t stale_ns);

/* ---- writing ---- */

struct shm_cache_put {
	uint64_t hash;
	struct slice key;               /* 1 to SHM_CACHE_KEY_MAX */
	struct slice meta;              /* the caller's, up to SHM_CACHE_META_MAX */
	const struct slice *tags;       /* 1 to 255 bytes each; up to SHM_CACHE_TAGS_MAX */
	uint32_t ntags;
	const struct slice *value;      /* in pieces */
	uint32_t nvalue;
	uint64_t fresh_ns, stale_ns;    /* monotonic; stale_ns at least fresh_ns */
	uint32_t kind;                  /* below 256 */
	uint64_t birth;                 /* shm_cache_birth() before the value was computed */
};
/* What has been invalidated up to now. An object that is put with it is invalid if anything that
 * touches it was invalidated after this call. */
uint64_t shm_cache_birth(const struct shm *s);
/*
 * Takes the place of what the key had. 0, or
 *   -EINVAL  lengths out of range
 *   -EFBIG   larger than shm_cache_object_max()
 *   -ENOSPC  no room could be made: everything is pinned, or there is no cache
 */
int shm_cache_put(struct shm *s, uint32_t slot, const struct shm_cache_put *p, uint64_t now_ns);
/* Takes the object of a key away, in flight ones, too. Was there one? */
bool shm_cache_delete(struct shm *s, uint32_t slot, uint64_t hash, struct slice key);

/* ---- invalidation: in effect when the call returns, for everything that was put with an older
 * birth; the memory comes back with the next sweep ---- */

enum shm_cache_what {
	SHM_CACHE_TAG = 1,              /* exactly this tag */
	SHM_CACHE_PATTERN,              /* glob over tags and keys: '*' any bytes, '?' one; one
					 * that ends in ":*" is also for what lies before that */
	SHM_CACHE_ALL
};
/* 0, or -EINVAL: a text of no or more than SHM_CACHE_PATTERN_MAX bytes (but for ALL). */
int shm_cache_invalidate(struct shm *s, uint32_t slot, enum shm_cache_what what,
			 struct slice text);
bool shm_cache_glob(struct slice pattern, struct slice text);
/* So many have come since the last sweep that one is due. */
bool shm_cache_sweep_due(const struct shm *s);
/*
 * Takes away what has expired or is invalid, and gives free what holds nothing: up to `n` segments
 * from s->at on. true: a round is done. The keeper. Zero *sw for the first one.
 */
struct shm_cache_sweep {
	uint32_t at;
	uint64_t items, units, items_before, units_before, links, seq;
};
bool shm_cache_sweep(struct shm *s, uint32_t slot, struct shm_cache_sweep *sw, uint32_t n,
		     uint64_t now_ns);

/* ---- fill leases: of those who miss a key, one computes ---- */

enum shm_cache_lease { SHM_CACHE_LEADER, SHM_CACHE_FOLLOWER, SHM_CACHE_ALONE };
struct shm_cache_fill { uint32_t index; uint64_t word; };
/*
 * LEADER: the caller computes, and ends with shm_cache_fill_end(). FOLLOWER: another one does; this
 * slot is poked when it has ended or died: then look again. ALONE: there are so many at once that
 * no lease was to be had; compute. A lease older than `patience_ns` passes to who asks.
 */
enum shm_cache_lease shm_cache_fill_begin(struct shm *s, uint32_t slot, uint64_t hash,
					  uint64_t patience_ns, uint64_t now_ns,
					  struct shm_cache_fill *ret);
/* The caller has put the object, or given up: pokes those who wait (`h` NULL: nobody), also if the
 * lease has passed on. */
struct heritage;
void shm_cache_fill_end(struct shm *s, const struct heritage *h, uint32_t slot,
			const struct shm_cache_fill *f);

/* Master, after the owner of the slot was reaped: pins, segments, leases, invalidations.
 * Idempotent. Called by shm_slot_recover(). The caller then wakes everybody. */
void shm_cache_recover(struct shm *s, uint32_t slot);

/* ---- what can be seen ---- */

enum shm_cache_count {
#define SHM_CACHE_COUNT(sym, word, help) SHM_CACHE_##sym,
#include "shm/cache_counts.def"
#undef SHM_CACHE_COUNT
	SHM_CACHE_COUNTS
};
/* By any lane of the slot. */
void shm_cache_count(struct shm *s, uint32_t slot, enum shm_cache_count what, uint64_t n);

#define SHM_CACHE_STATES_MAX 8u
struct shm_cache_view {
	enum shm_cache_policy policy;
	uint64_t memory, items_max, object_max;
	uint64_t segments, segment_bytes;
	/* segments, in the order of cache_states.def: their sum is `segments` */
	uint64_t by_state[SHM_CACHE_STATES_MAX];
	uint64_t items, entries;        /* objects in the index; places that it has */
	uint64_t used_bytes, live_bytes; /* of segments; of objects that are in the index (hint) */
	uint64_t pinned;                /* pins that stand */
	uint64_t leases;                /* fill leases that are held */
	uint64_t count[SHM_CACHE_COUNTS];
};
/* Walks segments, pins and leases: for the keeper and status. */
void shm_cache_read(const struct shm *s, struct shm_cache_view *ret);

/* Totals at some time: what came between two of them is the difference. */
#define SHM_CACHE_SAMPLES 60u
#define SHM_CACHE_SAMPLE_NS 60000000000ULL
struct shm_cache_sample {
	uint64_t at_ns;                 /* monotonic */
	uint64_t hits, misses, puts, evicted, expired; /* hits: stale ones too */
	uint64_t items, live_bytes;     /* at that time */
};
/* The keeper, every few seconds: takes a sample if the last one is SHM_CACHE_SAMPLE_NS old. */
void shm_cache_sample(struct shm *s, uint64_t now_ns);
/* The i-th newest of those taken. false: there is none. */
bool shm_cache_sample_read(const struct shm *s, uint32_t i, struct shm_cache_sample *ret);
/* What one would be that is taken now. */
void shm_cache_sample_now(const struct shm *s, uint64_t now_ns, struct shm_cache_sample *ret);

#endif
