/* SPDX-License-Identifier: MIT */
/*
 * Rate limits over all processes of an instance. What a limit has admitted lately is one word, that
 * is changed by one compare-and-swap: the decisions are those of one process with one clock. Keyed
 * limits have such a word for each key in a table of fixed size; an entry is given to another key
 * only when it means the same as no entry.
 *
 * Any lane of a slot may call these, the master's excepted. Nothing here blocks, or reads a clock:
 * `now_ns` is monotonic. A time that lies before another's charge makes a bucket seem to hold less.
 */
#ifndef SHM_RATE_H
#define SHM_RATE_H

#include "shm/shm.h"

#define SHM_RATES 64u                /* in the directory */
#define SHM_RATE_NAME_MAX 96         /* with the NUL */

/*
 * BUCKET: GCRA. It holds max(burst, 1); one comes back every period / rate (rounded up to 1 ns).
 * WINDOW: what the period has admitted is estimated as (count of the last whole window) x (share of
 * it that is less than a period ago) + (count of this window); windows begin at multiples of the
 * period. It admits while that and one more are at most rate + burst.
 */
enum shm_rate_algorithm { SHM_RATE_BUCKET = 1, SHM_RATE_WINDOW };

struct shm_rate_spec {
	const char *name;                /* 1 to 95 bytes */
	enum shm_rate_algorithm algorithm;
	uint32_t rate;                   /* per period; 1 to 1000000 */
	uint64_t period_ns;              /* 1 s to 1 d */
	uint32_t burst;                  /* 0 to 1000000 */
	uint32_t entries;                /* keys that there is room for; 0 = not keyed */
	bool allow_when_full;
	bool shadow;                     /* counts, and admits all */
};
/*
 * Master. Index of the limit of that name, made if need be; rate, burst and mode are set, for all
 * processes at once. What was counted stays if algorithm and period are the same, and the table is
 * not to grow (it never shrinks); otherwise older generations keep the limit that they know, and
 * this one begins with nothing counted. Generations count from 1. 0, or
 *   -EINVAL  numbers out of range, or a bucket that takes more than 146 years to fill
 *   -ENOSPC  no entry, or not so much room for keys, is left that no living generation knows: the
 *            one that is complete, those of the workers there are, and this one
 */
int shm_rate_intern(struct shm *s, const struct shm_rate_spec *spec, uint32_t generation,
		    uint32_t *ret_index);
/* Index of the limit of that name which the generation knows; UINT32_MAX: none. */
uint32_t shm_rate_find(const struct shm *s, const char *name, uint32_t generation);
/* Live change; any process. The period stays. A bucket that owes more than it can under the new
 * numbers (and a minute) is forgiven the rest. 0 or -EINVAL. */
int shm_rate_set(struct shm *s, uint32_t index, uint32_t rate, uint32_t burst, bool shadow);

/* The hash of a key, keyed with a secret of the instance (SipHash). `parts` are hashed with their
 * lengths, so that no two lists of parts are the same bytes. */
uint64_t shm_rate_hash(const struct shm *s, const struct slice *parts, size_t n);

/* Begins to bring the places of a key near, for a charge that comes soon: they are mostly far, in a
 * table of many keys. Changes nothing. */
void shm_rate_prefetch(const struct shm *s, uint32_t rate, uint64_t hash);

/* One limit that a request is charged by. */
struct shm_rate_use {
	uint32_t rate;
	uint64_t hash;                   /* of its key; not keyed: any */
	/* Set by the charge: what has come of it, */
	bool admitted;                   /* false also of one in shadow mode that would refuse */
	bool shadow;                     /* it is: the request goes on whatever `admitted` says */
	bool full;                       /* there was no room for the key */
	uint64_t before, after;          /* for the refund, */
	uint64_t state;                  /* and for shm_rate_say() */
};

/* What a limit says of a charge. */
struct shm_rate_say {
	bool admitted, shadow, full;     /* as in the use */
	uint32_t quota;                  /* most that it admits at once; 0 = no such limit */
	uint32_t remaining;              /* that it would admit now; a charged one is off */
	uint64_t reset_ns;               /* until there is more than `remaining`; 0 = never more */
	uint64_t retry_ns;               /* until the next would be admitted; 0 if this one was */
	uint64_t window_ns;              /* the period; of a bucket: until all is back */
};

/*
 * Charges all of `uses` (at most SHM_RATE_USES), or none if one that is not in shadow mode refuses.
 * *ret_refused is the index of the one that refused, with the longest retry_ns if there are
 * several, or -1. `loop`: the caller is the one lane of the slot that says so (the loop),
 * whose counts need
 * no lock. Refunds of what was charged before another process was
 * faster: a refund that cannot be exact is left out, so that one too many may be refused, none
 * admitted. A limit in shadow mode is charged as far as it admits. An index of no limit admits.
 */
#define SHM_RATE_USES 16u
bool shm_rate_charge(struct shm *s, uint32_t slot, bool loop, struct shm_rate_use *uses,
		     uint32_t n, uint64_t now_ns, int *ret_refused);
/* What the limit says of a charge at that time, by its numbers of now. */
void shm_rate_say(const struct shm *s, const struct shm_rate_use *use, uint64_t now_ns,
		  struct shm_rate_say *ret);
/* Gives what shm_rate_charge() has charged back (another limit has refused meanwhile): a window
 * always, a bucket if nobody has been charged since. Once; again does nothing. */
void shm_rate_refund(struct shm *s, struct shm_rate_use *uses, uint32_t n);

/* Master, after the owner of the slot was reaped. Idempotent. Called by shm_slot_recover(). */
void shm_rate_recover(struct shm *s, uint32_t slot);

/* ---- what can be seen ---- */

struct shm_rate_view {
	char name[SHM_RATE_NAME_MAX];
	enum shm_rate_algorithm algorithm;
	uint32_t rate, burst, capacity;  /* capacity 0 = not keyed */
	uint32_t first_generation, last_generation; /* that know it */
	uint64_t period_ns;
	bool shadow, allow_when_full;
	/* Totals of all slots. A request is one of the first three, or none if it was only another
	 * limit that refused it. Overflowed ones are counted besides. */
	uint64_t allowed, limited, shadowed, overflowed;
};
bool shm_rate_read(const struct shm *s, uint32_t rate, struct shm_rate_view *ret);
/* Keys that have an entry which still means something: counted in tables of up to 65536 entries, of
 * larger ones told by so many of them, evenly spread. */
uint64_t shm_rate_keys_in_use(const struct shm *s, uint32_t rate, uint64_t now_ns);

#endif
