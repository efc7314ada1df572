/* SPDX-License-Identifier: MIT */
/*
 * The shared segment: one POSIX shared-memory object that master, workers and keeper map.
 * Rules (docs/DESIGN.md): every mutable word is single-writer, or a one-word state with its owner
 * inside, or a hint; no lock, no pointer, no pid as identity; publish last; time is passed in.
 * Each field below says who writes it: [M] master, [L] loop lane of the slot's owner, [K] keeper.
 */
#ifndef SHM_SHM_H
#define SHM_SHM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/slice.h"
#include "base/strbuf.h"

#define SHM_LINE 64
#define SHM_ALIGNED _Alignas(SHM_LINE)

/* ---- geometry: what settings decide, kept privately by each process and checked against ---- */

struct shm_geometry {
	uint32_t slots;          /* slot 0 is the keeper's; workers have 1 .. slots - 1 */
	uint32_t rows;           /* request rows per slot */
	uint32_t routes;         /* METRIC_ROUTES + 1; route 0 is "other" */
	uint32_t series;         /* request series per slot, a power of two */
	uint32_t ring_bytes;     /* log ring per slot, a power of two */
	uint32_t exits;          /* exit records (64) */
	uint32_t events;         /* event records (256) */
};

/* For so many workers at most and connections each. */
void shm_geometry_for(struct shm_geometry *g, uint32_t workers_max, uint32_t connections,
		      uint32_t metric_routes);

/* ---- the slot ---- */

enum shm_kind { SHM_FREE, SHM_WORKER, SHM_KEEPER };

/* What a process says of itself [L], except where noted. */
enum shm_phase { SHM_PH_NONE, SHM_PH_BOOTING, SHM_PH_READY, SHM_PH_DRAINING };

/* What the master asks for [M]; rank only rises within one incarnation. */
enum shm_command {
	SHM_CMD_NONE,
	SHM_CMD_DRAIN,      /* accept no more; finish what has begun; leave (another one takes over) */
	SHM_CMD_STOP,       /* graceful stop of the whole server: empty the accept queue first, then drain */
	SHM_CMD_QUIT        /* leave at once */
};

enum shm_why { SHM_WHY_NONE, SHM_WHY_MAX_REQUESTS }; /* [L] why the worker asks to be replaced */

struct shm_counters {        /* [L] one word per row of shm/metrics.def that is kept per slot */
#define SHM_COUNTER(name, help) _Atomic uint64_t name;
#include "shm/counters.def"
#undef SHM_COUNTER
};

struct shm_slot {
	/* [M] one line: identity */
	SHM_ALIGNED _Atomic uint32_t kind;        /* enum shm_kind; set last when claimed */
	_Atomic uint32_t incarnation;             /* counts the owners of this slot */
	_Atomic int32_t pid;                      /* information only */
	_Atomic uint32_t generation;              /* of the configuration */
	_Atomic uint64_t born_ns;
	_Atomic uint32_t command;                 /* enum shm_command */
	_Atomic uint32_t stuck;                   /* 1 = reported as making no progress */
	_Atomic uint64_t told_dead_ns;            /* when it was sent ABRT or KILL; 0 = not */

	/* [L] one line: what is written in each turn */
	SHM_ALIGNED _Atomic uint64_t heartbeat_ns;
	_Atomic uint32_t phase;                   /* enum shm_phase */
	_Atomic uint32_t why;                     /* enum shm_why: asks to be replaced */
	_Atomic uint32_t connections;             /* open client connections; reset by recovery */
	_Atomic uint32_t in_flight;               /* requests begun and not ended; reset by recovery */
	_Atomic uint32_t current_row;             /* row + 1 of what the loop does now; 0 = nothing */
	_Atomic uint32_t listening;               /* hint: the listeners are in its epoll */
	_Atomic uint64_t requests_life;           /* requests of this incarnation (MAX_REQUESTS) */
	_Atomic uint64_t requests_goal;           /* recycle at so many; 0 = never */
	_Atomic uint32_t exit_code;               /* 4 = said by a worker whose app cannot be loaded */

	/* [K] sampled from /proc */
	SHM_ALIGNED _Atomic uint64_t rss_bytes;
	_Atomic uint64_t cpu_ns;                  /* user + system time of this incarnation */
	_Atomic uint64_t busy_ppm;                /* share of the last interval spent on a CPU */

	/* [L] note of a failed CHECK: written once, length last */
	SHM_ALIGNED _Atomic uint32_t note_len;
	char note[252];

	SHM_ALIGNED struct shm_counters c;
};

/* ---- rows: one per request in flight; single-writer, seqlock for readers ---- */

enum shm_row_state {
	SHM_ROW_FREE, SHM_ROW_READING, SHM_ROW_HANDLING, SHM_ROW_WRITING, SHM_ROW_QUEUED
};

struct shm_row {             /* 256 bytes */
	_Atomic uint32_t seq;    /* odd while being written */
	uint8_t state, id_len, method_len, path_len;
	uint64_t since_ns;       /* first byte of the request */
	char id[48];
	char method[16];
	char client[48];         /* NUL-terminated */
	char path[128];          /* without the query; cut */
};
_Static_assert(sizeof(struct shm_row) == 256, "a row is 256 bytes");

/* ---- latency histogram: log-linear, 8 buckets per power of two, from 1 us to 2^32 us ---- */

#define SHM_HIST_SUB 8
#define SHM_HIST_BUCKETS 256
struct shm_hist {            /* [L] the count is the sum of the buckets */
	_Atomic uint64_t bucket[SHM_HIST_BUCKETS];
	_Atomic uint64_t sum_us;
};
uint32_t shm_hist_index(uint64_t us);
uint64_t shm_hist_upper_us(uint32_t index);   /* inclusive upper bound of a bucket */
void shm_hist_add(struct shm_hist *h, uint64_t us, uint64_t times);
struct shm_hist_sum { uint64_t count, sum_us, bucket[SHM_HIST_BUCKETS]; };
void shm_hist_merge(struct shm_hist_sum *into, const struct shm_hist *h);
uint64_t shm_hist_quantile_us(const struct shm_hist_sum *s, double q); /* 0 when empty */

/* ---- request series: {route, method, code} -> count, one table per slot ---- */

struct shm_series { _Atomic uint64_t key, count; }; /* [L]; key 0 = unused; published before count */
uint64_t shm_series_key(uint32_t route, uint32_t method, uint32_t code);
void shm_series_split(uint64_t key, uint32_t *route, uint32_t *method, uint32_t *code);

/* ---- routes: labels of metrics ---- */

struct shm_route {           /* [M] an entry is published by `first_generation` */
	_Atomic uint32_t first_generation, last_generation;
	char name[120];
};

/* ---- ring of log lines: single producer (the slot's owner), single consumer (the keeper) ---- */

enum shm_record_kind { SHM_REC_ERROR_LOG = 1, SHM_REC_ACCESS_LOG = 2 };
struct shm_ring {
	SHM_ALIGNED _Atomic uint64_t head; /* [L] bytes ever put */
	_Atomic uint64_t lost;             /* [L] records that found no room */
	SHM_ALIGNED _Atomic uint64_t tail; /* [K] bytes ever taken */
};

/* ---- exits and events: written by the master alone ---- */

struct shm_exit {            /* [M] seqlock like a row */
	_Atomic uint32_t seq;
	int32_t pid;
	uint32_t slot, generation;
	int32_t signal, code;    /* one of them is 0 */
	uint32_t oom;            /* 1 = the kernel's OOM killer, as far as it tells */
	uint32_t kind;           /* enum shm_kind */
	uint64_t wall_ns, age_ns, requests;
	char reason[32];         /* word of master/exits.def: "max_requests", "killed", ... */
	char note[160];          /* text of a failed CHECK, or more */
	char request_id[48], method[16], path[128], client[48]; /* in progress; empty = none */
};
struct shm_event {           /* [M] */
	_Atomic uint32_t seq;
	uint32_t pad;
	uint64_t wall_ns;
	char kind[24];           /* "reload_failed", "worker_timeout", ... */
	char text[216];
};

/* Instance-wide words [M]. */
struct shm_instance {
	SHM_ALIGNED _Atomic uint64_t started_wall_ns;
	_Atomic uint64_t started_ns;       /* monotonic */
	_Atomic int32_t master_pid;
	_Atomic uint32_t generation;       /* newest that is complete */
	_Atomic uint32_t state;            /* enum shm_instance_state */
	_Atomic uint32_t workers_wanted;
	_Atomic uint32_t restarts_by_reason[32]; /* worker exits by row of shm/reasons.def */
	_Atomic uint32_t exit_count, event_count; /* ever written */
	_Atomic uint64_t log_lost;         /* lines of the master that could not be written */
	_Atomic uint32_t keeper_idle;      /* hint [K/any]: 1 = wants its eventfd written when a ring fills */
	_Atomic uint64_t access_written, access_failed; /* [K] lines */
};
enum shm_instance_state { SHM_IN_BOOT, SHM_IN_RUN, SHM_IN_RELOAD, SHM_IN_STOP };

/* ---- the mapped segment ---- */

struct shm {
	char *base;
	size_t size;
	struct shm_geometry geo;
	char name[256];          /* "/capricorn-0-127.0.0.1:8000" */
	int lock_fd;             /* master: bears the OFD lock, never mapped; -1 in children */
	struct shm_instance *inst;
	struct shm_slot *slots;
	struct shm_row *rows;          /* slots x rows */
	struct shm_hist *hists;        /* slots x routes */
	struct shm_series *series;     /* slots x series */
	struct shm_route *routes;
	struct shm_ring *rings;        /* slots */
	char *ring_data;               /* slots x ring_bytes */
	struct shm_exit *exits;
	struct shm_event *events;
};

/*
 * Creates the segment: all bytes reserved with posix_fallocate, mode 0600, locked before it gets
 * its name. A stale one of the same name (nobody holds its lock) is removed, *ret_stale says so.
 * 0, or -errno: -EBUSY another live instance has it, -ENOSPC no room in /dev/shm (*ret_need = bytes).
 */
int shm_create(struct shm *s, const char *name, const struct shm_geometry *g, bool *ret_stale,
	       size_t *ret_need);
/* Child, first thing after fork: gives the lock descriptor up. The mapping stays. */
void shm_child(struct shm *s);
/* Master: removes the name and unmaps. */
void shm_destroy(struct shm *s);

size_t shm_size_for(const struct shm_geometry *g);
/* The bill: "section  bytes" of every section, for --check-config and /status. */
struct shm_bill_line { const char *section; uint64_t bytes; };
size_t shm_bill(const struct shm_geometry *g, struct shm_bill_line *lines, size_t max);

static inline struct shm_slot *shm_slot(const struct shm *s, uint32_t i) { return &s->slots[i]; }
static inline struct shm_row *shm_row(const struct shm *s, uint32_t slot, uint32_t row)
{
	return &s->rows[(size_t)slot * s->geo.rows + row];
}

/* Master: claims a free slot (worker: from 1 up). -1 if none. Publishes kind last. */
int shm_slot_claim(struct shm *s, enum shm_kind kind, uint32_t generation, uint64_t now_ns);
/* Master, after the owner has been reaped: frees its rows, resets gauges. Idempotent. Counters,
 * histograms, series and ring stay for the next owner. */
void shm_slot_recover(struct shm *s, uint32_t slot);

/* Row of a request. Slices are cut to what fits. */
void shm_row_begin(struct shm_row *r, struct slice id, struct slice method, struct slice path,
		   const char *client, uint64_t since_ns);
void shm_row_state(struct shm_row *r, enum shm_row_state st);
void shm_row_end(struct shm_row *r);
/* A torn-free copy; false if it is free, or was being written all the time. Bounded retries. All
 * lengths in the copy are within bounds whatever is in the segment; texts are NUL-terminated. */
struct shm_row_view {
	enum shm_row_state state;
	uint64_t since_ns;
	char id[49], method[17], client[49], path[129];
};
bool shm_row_read(const struct shm_row *r, struct shm_row_view *ret);

void shm_series_add(struct shm *s, uint32_t slot, uint32_t route, uint32_t method, uint32_t code,
		    uint64_t times);

/* Ring: producer. false = no room, counted as lost. len <= LOG_LINE_MAX * 2. */
bool shm_ring_put(struct shm *s, uint32_t slot, enum shm_record_kind kind, const char *p, size_t len);
/* Keeper: the next record without taking it: kind and bytes (copied into buf, at most cap, when it
 * wraps around; *ret_p then points there). false = empty. A damaged ring is emptied and counted. */
bool shm_ring_peek(struct shm *s, uint32_t slot, enum shm_record_kind *ret_kind, const char **ret_p,
		   size_t *ret_len, char *buf, size_t cap);
void shm_ring_take(struct shm *s, uint32_t slot); /* takes what peek showed */

/* Master: directory of routes. Index of the name, made if need be; 0 ("other") when full. */
uint32_t shm_route_intern(struct shm *s, const char *name, uint32_t generation);

/* Master: histories. */
void shm_exit_add(struct shm *s, const struct shm_exit *e);      /* seq is set here */
void shm_event_add(struct shm *s, const char *kind, const char *text);
/* Newest first: i = 0 is the newest. false past the end or torn. */
bool shm_exit_read(const struct shm *s, uint32_t i, struct shm_exit *ret);
bool shm_event_read(const struct shm *s, uint32_t i, struct shm_event *ret);

/* Single-writer add: a relaxed load and store, no lock prefix. */
static inline void shm_add(_Atomic uint64_t *w, uint64_t n)
{
	atomic_store_explicit(w, atomic_load_explicit(w, memory_order_relaxed) + n,
			      memory_order_relaxed);
}
#define shm_get(w) atomic_load_explicit((w), memory_order_relaxed)
#define shm_set(w, v) atomic_store_explicit((w), (v), memory_order_relaxed)

#endif
