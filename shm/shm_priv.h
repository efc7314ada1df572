/* SPDX-License-Identifier: MIT */
/* Inside of shm/: the header of the segment, how its sections lie, and words in atomic access. */
#ifndef SHM_SHM_PRIV_H
#define SHM_SHM_PRIV_H

#include "shm/shm.h"

#define SHM_DIR "/dev/shm"
#define SHM_MAGIC 0x4e524f4349525043ULL /* "CPRICORN" */
#define SHM_LAYOUT 1u                   /* of the header and of the table of sections */
#define SHM_PAGE 4096u

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "rows and the magic number are laid out for little-endian machines"
#endif

enum shm_section_id {
	SHM_SEC_HEADER, SHM_SEC_INSTANCE, SHM_SEC_SLOTS, SHM_SEC_ROWS, SHM_SEC_HISTS,
	SHM_SEC_SERIES, SHM_SEC_ROUTES, SHM_SEC_RINGS, SHM_SEC_RING_DATA, SHM_SEC_EXITS,
	SHM_SEC_EVENTS, SHM_SEC_MODULE, SHM_SEC_MODULE_CELLS, SHM_SEC_MODULE_HISTS,
	SHM_SEC_ERRORS, SHM_SEC_DUMPS, SHM_SEC_SEMS, SHM_SEC_SEM_BITS, SHM_SEC_SEM_CELLS,
	SHM_SEC_SEM_STATS, SHM_SEC_PERMITS, SHM_SEC_PERMIT_HINTS, SHM_SEC_RATES,
	SHM_SEC_RATE_WORDS, SHM_SEC_RATE_SLOTS, SHM_SEC_RATE_SETS, SHM_SEC_CACHE,
	SHM_SEC_CACHE_SEGS, SHM_SEC_CACHE_SLOTS, SHM_SEC_CACHE_INDEX, SHM_SEC_CACHE_GHOSTS,
	SHM_SEC_CACHE_BANS, SHM_SEC_CACHE_LEASES, SHM_SEC_CACHE_DATA, SHM_SEC_COUNT
};
_Static_assert(SHM_SEC_COUNT <= SHM_SECTIONS_MAX, "bill and usage have room");

struct shm_section {
	uint32_t id, version;        /* enum shm_section_id; of the layout of its elements */
	uint64_t offset, size;       /* bytes from the start of the segment */
	uint32_t elem_size, elem_count;
};

/*
 * First page. Complete before the segment has a name and never changed: who maps it maps it
 * read-only, so that a stray write hits nothing by which the next start knows what it has found.
 */
struct shm_header {
	uint64_t magic;
	uint32_t layout, sections;
	uint64_t size;
	uint64_t created_wall_ns;
	char boot_id[40];            /* monotonic times are of this boot; empty = unknown */
	uint8_t instance_id[16];     /* random */
	uint64_t hash_key[2];        /* random, and told to nobody: see shm_rate_hash() */
	struct shm_section section[SHM_SECTIONS_MAX];
};
_Static_assert(sizeof(struct shm_header) <= SHM_PAGE, "the header is one page");

/* Where each section lies for this geometry; the size of all. 0 if the geometry is none. */
size_t shm_layout(const struct shm_geometry *g, struct shm_section sec[SHM_SEC_COUNT]);
/* Points s->head, s->slots and so on into s->base, for s->geo. */
void shm_place(struct shm *s);
/* Fills the header and the entries that are there from the start. All bytes must be zero before. */
void shm_format(struct shm *s);

/* The kernel's id of this boot, NUL-terminated; empty if it is not told. */
void shm_boot_id(char ret[40]);

/* How the file comes to be before it has its name; the second way is for what lacks the first. */
enum shm_make { SHM_MAKE_AUTO, SHM_MAKE_TMPFILE, SHM_MAKE_NAMED };
int shm_create_by(struct shm *s, const char *name, const struct shm_geometry *g, bool *ret_stale,
		  size_t *ret_need, enum shm_make how);

/* The claim of a dump area: see dump.c. */
enum claim_state { CLAIM_FREE, CLAIM_ASKED, CLAIM_FILLING, CLAIM_DONE };
static inline uint64_t claim_make(int32_t tid, uint32_t ticket, uint32_t who, uint32_t state)
{
	return (uint64_t)(uint32_t)tid << 32 | (uint64_t)(ticket & 0xffffff) << 8 | who << 4 |
	       state;
}
static inline uint32_t claim_state(uint64_t claim) { return claim & 0xf; }
static inline uint32_t claim_ticket(uint64_t claim) { return (uint32_t)(claim >> 8) & 0xffffff; }
static inline int32_t claim_tid(uint64_t claim) { return (int32_t)(claim >> 32); }
static inline uint64_t claim_free(uint64_t claim) { return claim & 0xffffff00; }

/* History cells: one word that says which record is in it, then the words of the record. */
#define SHM_EXIT_WORDS (1 + sizeof(struct shm_exit) / 8)
#define SHM_EVENT_WORDS (1 + sizeof(struct shm_event) / 8)
_Static_assert(sizeof(struct shm_exit) % 8 == 0, "exits are kept as words");
_Static_assert(sizeof(struct shm_event) % 8 == 0, "events are kept as words");

#endif
