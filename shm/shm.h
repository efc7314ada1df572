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

struct shm_rate;
struct shm_rate_word;
struct shm_rate_slot;
struct shm_rate_set;
struct cache_head;
struct cache_slot;
struct cache_bucket;
struct cache_ban;

/* ---- geometry: what settings decide, kept privately by each process and checked against ---- */

struct shm_geometry {
	uint32_t slots;          /* slot 0 is the keeper's; workers have 1 .. slots - 1 */
	uint32_t rows;           /* request rows per slot */
	uint32_t routes;         /* METRIC_ROUTES + 1; route 0 is "other" */
	uint32_t series;         /* request series per slot, at least SHM_SERIES_SPARE + 1 */
	uint32_t errors;         /* error series per slot, at least SHM_ERRORS_SPARE + 1 */
	uint32_t module_metrics; /* MODULE_METRICS: counters and gauges of modules; may be 0 */
	uint32_t module_hists;   /* MODULE_HISTOGRAMS; may be 0 */
	uint32_t rate_keys;      /* entries in all keyed tables of rate limits; may be 0 */
	uint32_t ring_bytes;     /* log ring per slot, a power of two */
	uint32_t exits;          /* exit records (64) */
	uint32_t events;         /* event records (256) */
	uint32_t sems;           /* semaphores (SHM_SEMS); may be 0 */
	uint32_t permits;        /* permits that all of them may have together; may be 0 */
	/* The cache: by shm_cache_geometry(). All 0: there is none. */
	uint32_t cache_segs, cache_seg_bytes, cache_buckets, cache_ghosts, cache_leases;
};

/* For so many workers at most and connections each. The caller may raise `permits` afterwards. */
void shm_geometry_for(struct shm_geometry *g, uint32_t workers_max, uint32_t connections,
		      uint32_t metric_routes, uint32_t module_metrics,
		      uint32_t module_histograms);

/* ---- the slot ---- */

enum shm_kind { SHM_FREE, SHM_WORKER, SHM_KEEPER };

/* What a process says of itself [L], except where noted. */
enum shm_phase { SHM_PH_NONE, SHM_PH_BOOTING, SHM_PH_READY, SHM_PH_DRAINING };

/* What the master asks for [M]; rank only rises within one incarnation. */
enum shm_command {
	SHM_CMD_NONE,
	SHM_CMD_DRAIN,      /* accept no more; finish what has begun; leave: others take over */
	SHM_CMD_STOP,       /* graceful stop of the server: empty the accept queue, then drain */
	SHM_CMD_QUIT        /* leave at once */
};

/* [L] why it asks for a successor */
enum shm_why { SHM_WHY_NONE, SHM_WHY_MAX_REQUESTS, SHM_WHY_STUCK };

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
	_Atomic uint32_t in_flight;               /* requests begun, not ended; reset by recovery */
	_Atomic uint32_t current_row;             /* row + 1 of what the loop does now, or 0 */
	_Atomic uint32_t listening;               /* hint: the listeners are in its epoll */
	_Atomic uint64_t requests_life;           /* requests of this incarnation (MAX_REQUESTS) */
	_Atomic uint64_t requests_goal;           /* recycle at so many; 0 = never */
	_Atomic uint32_t exit_code;               /* 4 = a worker's app cannot be loaded */
	_Atomic uint32_t abandoned;               /* calls nobody waits for; reset by recovery */

	/* [K] sampled from /proc */
	SHM_ALIGNED _Atomic uint64_t rss_bytes;
	_Atomic uint64_t cpu_ns;                  /* user + system time of this incarnation */
	_Atomic uint64_t busy_ppm;                /* share of the last interval spent on a CPU */
	_Atomic uint64_t private_bytes;           /* RssAnon: what no other process shares */
	_Atomic uint64_t samples;                 /* how often, so that two can be told apart */

	/* [L] note of a failed CHECK: written once, length last */
	SHM_ALIGNED _Atomic uint32_t note_len;
	char note[252];

	SHM_ALIGNED struct shm_counters c;
};

/* ---- rows: one per request in flight; single-writer, seqlock for readers ---- */

enum shm_row_state {
#define SHM_ROW_STATE(sym, word) SHM_ROW_##sym,
#include "shm/row_states.def"
#undef SHM_ROW_STATE
	SHM_ROW_STATES
};
const char *shm_row_state_name(uint32_t state); /* "unknown" for one that is none */

#define SHM_ROW_ID 48
#define SHM_ROW_METHOD 16
#define SHM_ROW_CLIENT 48
#define SHM_ROW_PATH 128
struct shm_row {             /* texts are words, so that every access is atomic: see row.c */
	SHM_ALIGNED _Atomic uint32_t seq;         /* odd while being written */
	_Atomic uint32_t about;                   /* state and the lengths of id, method and path */
	_Atomic uint64_t since_ns;                /* first byte of the request */
	_Atomic uint64_t id[SHM_ROW_ID / 8];
	_Atomic uint64_t method[SHM_ROW_METHOD / 8];
	_Atomic uint64_t client[SHM_ROW_CLIENT / 8];
	_Atomic uint64_t path[SHM_ROW_PATH / 8];  /* without the query; cut */
};
_Static_assert(sizeof(struct shm_row) == 256, "a row is 256 bytes");

/*
 * ---- latency histogram: log-linear, 8 buckets per power of two, up to 2^34 us (4.8 hours) ----
 *
 * The count is the sum of the buckets, so that the two can never disagree. sum_us is a second word:
 * it may be short of the last request of a process that was killed.
 */
#define SHM_HIST_SUB 8
#define SHM_HIST_BUCKETS 256
struct shm_hist {            /* [L] */
	SHM_ALIGNED _Atomic uint64_t bucket[SHM_HIST_BUCKETS];
	_Atomic uint64_t sum_us;
};
uint32_t shm_hist_index(uint64_t us);         /* below SHM_HIST_BUCKETS for any time */
/* Inclusive upper bound of a bucket; the last one also has everything above its own. */
uint64_t shm_hist_upper_us(uint32_t index);
void shm_hist_add(struct shm_hist *h, uint64_t us, uint64_t times);
/* The same for a histogram that several threads of its owner write. */
void shm_hist_add_shared(struct shm_hist *h, uint64_t us, uint64_t times);
struct shm_hist_sum { uint64_t count, sum_us, bucket[SHM_HIST_BUCKETS]; };
void shm_hist_merge(struct shm_hist_sum *into, const struct shm_hist *h); /* zero `into` first */
/* The bucket bound that at least the share q (0 to 1) of all times is not above; 0 when empty. */
uint64_t shm_hist_quantile_us(const struct shm_hist_sum *s, double q);

/*
 * ---- request series: {route, method, code} -> count, one table per slot ----
 *
 * The last SHM_SERIES_SPARE entries of a table are kept for "route 0, method 0, code N00", one per
 * class of codes: what finds no room elsewhere is counted there, so the sum over a table is always
 * the number of requests.
 */
#define SHM_SERIES_SPARE 16
struct shm_series { _Atomic uint64_t key, count; }; /* [L]; key 0 = unused; published first */
/* route < 2^24, method < 2^8, code < 2^16; never 0. */
uint64_t shm_series_key(uint32_t route, uint32_t method, uint32_t code);
void shm_series_split(uint64_t key, uint32_t *route, uint32_t *method, uint32_t *code);
struct shm_series_view { uint32_t route, method, code; uint64_t count; };

/*
 * Errors are series, too: {route, type} -> count. A view of one has the method 0, and its type as
 * the code. What finds no room is counted in a spare entry of its type as route 0.
 */
#define SHM_ERRORS_SPARE 16
enum shm_error {
#define SHM_ERROR(sym, word, counter, text) SHM_ERR_##sym,
#include "shm/errors.def"
#undef SHM_ERROR
	SHM_ERR_COUNT
};

/* ---- routes: labels of metrics ---- */

#define SHM_ROUTE_NAME_MAX 120 /* with its NUL; a longer name is cut */
struct shm_route {           /* [M] an entry is published by `first_generation` */
	_Atomic uint32_t first_generation, last_generation;
	char name[SHM_ROUTE_NAME_MAX]; /* never changed once published */
};

/*
 * ---- metrics of modules: a directory, and a cell per slot and metric ----
 *
 * Entries 0 .. module_metrics - 1 are counters and gauges, the rest are histograms; each half has
 * its own indexes, which are those of the cells. An entry keeps its texts for the life of the
 * segment: the same name and labels are the same cell in every worker and after a reload.
 *
 * A cell is written by any thread of the slot's owner, with one atomic read-modify-write; a gauge
 * is an int64_t. Counters and histograms pass to the next owner, gauges are reset by recovery.
 */
enum shm_metric_kind { SHM_MK_COUNTER = 1, SHM_MK_GAUGE, SHM_MK_HISTOGRAM };
#define SHM_MODULE_NAME_MAX 84   /* sizes with the NUL: a name has at most 80 bytes, */
#define SHM_MODULE_LABELS_MAX 204 /* labels 200, */
#define SHM_MODULE_HELP_MAX 164  /* and a help 160 */
struct shm_module_metric {   /* [M] an entry is published by `first_generation` */
	_Atomic uint32_t first_generation, last_generation;
	_Atomic uint32_t kind;   /* enum shm_metric_kind */
	char name[SHM_MODULE_NAME_MAX]; /* texts: never changed once published */
	char labels[SHM_MODULE_LABELS_MAX];
	char help[SHM_MODULE_HELP_MAX];
};
struct shm_module_view {
	enum shm_metric_kind kind;
	uint32_t index;          /* of the cell among those of its kind */
	uint32_t first_generation, last_generation;
	char name[SHM_MODULE_NAME_MAX], labels[SHM_MODULE_LABELS_MAX], help[SHM_MODULE_HELP_MAX];
};

/* ---- ring of log lines: single producer (the slot's owner), single consumer (the keeper) ---- */

enum shm_record_kind { SHM_REC_ERROR_LOG = 1, SHM_REC_ACCESS_LOG = 2 };
#define SHM_RECORD_MAX 8192 /* bytes of the longest record */
struct shm_ring {
	SHM_ALIGNED _Atomic uint64_t head; /* [L] bytes ever put */
	_Atomic uint64_t lost;             /* [L] records that found no room */
	SHM_ALIGNED _Atomic uint64_t tail; /* [K] bytes ever taken */
	_Atomic uint64_t damaged;          /* [K] times it was emptied since it made no sense */
};

/*
 * ---- dumps: stacks of threads as raw addresses, and what is needed to read them; see dump.h ----
 *
 * One area per slot, for two kinds of stack: that of a thread that was asked for it (`claim` says
 * who is asked, by whom, and how far it is), and that of a crash.
 */
#define SHM_FRAMES 48
#define SHM_OBJECTS 40        /* program, libraries, modules */
#define SHM_CALLS 8
struct shm_stack {
	_Atomic uint64_t count;
	_Atomic uint64_t pc[SHM_FRAMES]; /* the first exact, then return addresses */
};
struct shm_object {          /* [L] texts are words, see row.c */
	_Atomic uint64_t start, end, bias, dev, ino;
	_Atomic uint64_t label[4];       /* "app.so" */
	_Atomic uint64_t path[12];       /* to read its symbols from; empty = nowhere */
};
struct shm_call {            /* [L] a request that a thread is slow or stuck with */
	_Atomic uint64_t about;          /* enum dump_kind, row + 1, thread */
	_Atomic uint64_t since_ns;
};
struct shm_dump {
	SHM_ALIGNED _Atomic uint64_t claim; /* state with its owner inside: see dump.c */
	_Atomic uint32_t able;           /* [L] its threads answer when they are asked */
	struct shm_stack asked;          /* whoever has set the claim to "filling" */

	/* last words of a crash: who has set `crashed` from 0 */
	SHM_ALIGNED _Atomic uint32_t crashed; /* 1 = begun, 2 = whole */
	_Atomic int32_t sig, code, sender, thread;
	_Atomic uint32_t row;            /* + 1; 0 = none */
	_Atomic uint32_t overflow;       /* 1 = at the end of its stack */
	_Atomic uint64_t addr;
	struct shm_stack last;

	SHM_ALIGNED _Atomic uint32_t objects_seq; /* [L] odd while being written */
	_Atomic uint32_t objects;
	struct shm_object object[SHM_OBJECTS];

	SHM_ALIGNED _Atomic uint32_t calls;       /* [L] ever made; the last ones are in call[] */
	struct shm_call call[SHM_CALLS];
};

/* ---- exits and events: written by the master alone ---- */

struct shm_exit {            /* [M] what a caller gives and gets; the segment holds words of it */
	int32_t pid;
	uint32_t slot, generation;
	int32_t signal, code;    /* one of them is 0 */
	uint32_t oom;            /* 1 = the kernel's OOM killer, as far as it tells */
	uint32_t kind;           /* enum shm_kind */
	uint32_t pad;
	uint64_t wall_ns, age_ns, requests;
	char reason[32];         /* word of shm/reasons.def: "max_requests", "killed", ... */
	char note[160];          /* text of a failed CHECK, or more */
	char request_id[48], method[16], path[128], client[48]; /* in progress; empty = none */
};
struct shm_event {           /* [M] like an exit */
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
	_Atomic uint32_t keeper_wants;     /* hint [K/any]: enum shm_keeper_wants */
	_Atomic uint64_t access_written, access_failed; /* [K] lines */
	_Atomic uint64_t losses_told;      /* [K] lost lines that the error log has told of */
};
/* When who has put a record pokes the keeper; it takes the wish back first (exchange for nothing).
 */
enum shm_keeper_wants { SHM_KEEPER_NOTHING, SHM_KEEPER_ANY_RECORD, SHM_KEEPER_HALF_FULL };
enum shm_instance_state { SHM_IN_BOOT, SHM_IN_RUN, SHM_IN_RELOAD, SHM_IN_STOP };

/* ---- the mapped segment ---- */

struct shm {
	char *base;
	size_t size;
	struct shm_geometry geo;
	char name[256];          /* "/capricorn-0-127.0.0.1:8000" */
	int lock_fd;             /* master: bears the OFD lock, never mapped; -1 in children */
	bool *claimed;           /* master: slots in use, whatever the segment says */
	uint32_t exits_written, events_written; /* master: what it makes the counts in inst from */
	struct shm_header *head; /* written at creation, mapped read-only from then on */
	struct shm_instance *inst;
	struct shm_slot *slots;
	struct shm_row *rows;          /* slots x rows */
	struct shm_hist *hists;        /* slots x routes */
	struct shm_series *series;     /* slots x series */
	struct shm_series *errors;     /* slots x errors */
	struct shm_route *routes;
	struct shm_module_metric *module; /* module_metrics + module_hists */
	_Atomic uint64_t *module_cells;   /* slots x module_stride */
	struct shm_hist *module_hists;    /* slots x module_hists */
	struct shm_ring *rings;        /* slots */
	char *ring_data;               /* slots x ring_bytes */
	_Atomic uint64_t *exits;       /* cells, see history.c */
	_Atomic uint64_t *events;
	struct shm_dump *dumps;        /* slots */
	struct shm_sem *sems;          /* sem_priv.h */
	_Atomic uint64_t *sem_bits;    /* sems x bits of slots */
	struct shm_sem_cell *sem_cells; /* sems x slots */
	struct shm_sem_stats *sem_stats; /* slots x sems */
	_Atomic uint32_t *permits;
	_Atomic uint64_t *permit_hints; /* permits */
	struct shm_rate *rates;        /* SHM_RATES; these four: see rate.h, rate_priv.h */
	struct shm_rate_word *rate_words; /* SHM_RATES */
	struct shm_rate_slot *rate_slots; /* slots */
	struct shm_rate_set *rate_sets;   /* rate_keys / 4, rounded up */
	struct cache_head *cache_head; /* these: see cache.h, cache_priv.h */
	_Atomic uint64_t *cache_segs;  /* words, orders, units in use */
	struct cache_slot *cache_slots;
	struct cache_bucket *cache_index;
	_Atomic uint32_t *cache_ghosts;
	struct cache_ban *cache_bans;
	_Atomic uint64_t *cache_leases; /* words, then bits of who waits */
	char *cache_data;
};

/*
 * Creates the segment: all bytes reserved with posix_fallocate, mode 0600, locked before it gets
 * its name. A stale one of the same name (nobody holds its lock) is removed, *ret_stale says so.
 * 0, or -errno with nothing made:
 *   -EBUSY   a live instance has the name
 *   -ENOSPC  no room in /dev/shm; *ret_need = bytes needed
 *   -EACCES  the name belongs to another user, or is no regular file
 *   -EEXIST  the name belongs to a file of this user that is no segment of ours: left alone
 *   -EINVAL  the name is not "/" and 1 to 250 bytes without "/", or the geometry is none
 * or what the system said. Blocks for as long as the kernel needs to clear the memory.
 */
int shm_create(struct shm *s, const char *name, const struct shm_geometry *g, bool *ret_stale,
	       size_t *ret_need);
/* Child, first thing after fork: gives the lock descriptor up, since the lock lasts as long as any
 * process has it. The mapping stays. */
void shm_child(struct shm *s);
/* Master: removes the name (if it still is ours), unmaps, gives the lock up. In a child, after
 * shm_child(): only unmaps. Harmless when there is nothing. */
void shm_destroy(struct shm *s);

size_t shm_size_for(const struct shm_geometry *g);
uint64_t shm_room(void); /* bytes that are free in /dev/shm; 0 if that is not known */
/* The bill: "section  bytes" of every section, for --check-config and /status. */
struct shm_bill_line { const char *section; uint64_t bytes; };
size_t shm_bill(const struct shm_geometry *g, struct shm_bill_line *lines, size_t max);
/* What is in use of each section now, by elements; the same sections in the same order. */
struct shm_usage { const char *section; uint64_t bytes, used_bytes; };
size_t shm_usage(const struct shm *s, struct shm_usage *lines, size_t max);
#define SHM_SECTIONS_MAX 40 /* bill and usage have no more lines than this */

static inline struct shm_slot *shm_slot(const struct shm *s, uint32_t i) { return &s->slots[i]; }
static inline struct shm_row *shm_row(const struct shm *s, uint32_t slot, uint32_t row)
{
	return &s->rows[(size_t)slot * s->geo.rows + row];
}

static inline struct shm_hist *shm_hist_of(const struct shm *s, uint32_t slot, uint32_t route)
{
	return &s->hists[(size_t)slot * s->geo.routes + route];
}

/* Master: claims a free slot (keeper: 0, worker: from 1 up) and clears what is of one incarnation.
 * -1 if none. Publishes kind last. */
int shm_slot_claim(struct shm *s, enum shm_kind kind, uint32_t generation, uint64_t now_ns);
/* Master, after the owner has been reaped: frees its rows and permits, resets gauges. Idempotent.
 * Counters, histograms, series, counts of limits and ring stay for the next owner. The caller then
 * wakes everybody: see shm_sem_recover(). */
void shm_slot_recover(struct shm *s, uint32_t slot);

/* Note of a failed CHECK: async-signal-safe, cut to what fits. */
void shm_note_set(struct shm_slot *slot, const char *text);
/* The length, 0 if there is none. NUL-terminated whatever is in the segment. */
#define SHM_NOTE_MAX 253
size_t shm_note_get(const struct shm_slot *slot, char ret[SHM_NOTE_MAX]);

/* Row of a request. Slices are cut to what fits. `client` is cut to 47 bytes. */
void shm_row_begin(struct shm_row *r, struct slice id, struct slice method, struct slice path,
		   const char *client, uint64_t since_ns);
void shm_row_state(struct shm_row *r, enum shm_row_state st); /* of a row that has begun */
void shm_row_end(struct shm_row *r);
/* A torn-free copy; false if it is free, or was being written all the time. Bounded retries. All
 * lengths in the copy are within bounds whatever is in the segment; texts are NUL-terminated. */
struct shm_row_view {
	enum shm_row_state state;
	uint64_t since_ns;
	char id[49], method[17], client[49], path[129];
};
bool shm_row_read(const struct shm_row *r, struct shm_row_view *ret);
/* A row that its writer will read again after its end: what it held is there until the row is begun
 * anew. The mark is taken before the end. false: begun anew meanwhile. Two loads; writer only. */
struct shm_row_mark { uint32_t seq, about; };
static inline struct shm_row_mark shm_row_mark(const struct shm_row *r)
{
	return (struct shm_row_mark){
		atomic_load_explicit(&r->seq, memory_order_relaxed),
		atomic_load_explicit(&r->about, memory_order_relaxed),
	};
}
bool shm_row_read_marked(const struct shm_row *r, struct shm_row_mark mark,
			 struct shm_row_view *ret);

void shm_series_add(struct shm *s, uint32_t slot, uint32_t route, uint32_t method, uint32_t code,
		    uint64_t times);
/* Entry i (below geo.series) of a slot's table. false: unused, or nothing that was ever counted.
 * The route is in range and the code of three digits; a method may be any number below 256. */
bool shm_series_read(const struct shm *s, uint32_t slot, uint32_t i, struct shm_series_view *ret);

/* One error more, [L] as all series. Route 0 where none is known. */
void shm_error_add(struct shm *s, uint32_t slot, uint32_t route, enum shm_error type);
/* The same of entry i (below geo.errors) of a slot's errors: method 0, the type as the code. */
bool shm_error_read(const struct shm *s, uint32_t slot, uint32_t i, struct shm_series_view *ret);

/* Ring: producer. false = no room or longer than SHM_RECORD_MAX, counted as lost. */
bool shm_ring_put(struct shm *s, uint32_t slot, enum shm_record_kind kind, const char *p,
		  size_t len);
/* Keeper: the next record without taking it: kind and bytes (copied into buf, at most cap, when it
 * wraps around; *ret_p then points there; SHM_RECORD_MAX is always enough). false = empty. A
 * damaged ring is emptied and counted. What was not taken comes again: a keeper that is killed
 * between writing and taking leaves one record to be written twice, never one that is not. */
bool shm_ring_peek(struct shm *s, uint32_t slot, enum shm_record_kind *ret_kind, const char **ret_p,
		   size_t *ret_len, char *buf, size_t cap);
void shm_ring_take(struct shm *s, uint32_t slot); /* takes what peek showed */
/* The same for many records at a time: begin at shm_ring_begin(), look at one record after another
 * (*pos moves behind each), take all that lies before a place. Only the first record of a ring that
 * is damaged there empties it; behind it damage ends the walk. */
uint64_t shm_ring_begin(const struct shm *s, uint32_t slot);
bool shm_ring_half_full(const struct shm *s, uint32_t slot);
bool shm_ring_peek_at(struct shm *s, uint32_t slot, uint64_t *pos, enum shm_record_kind *ret_kind,
		      const char **ret_p, size_t *ret_len, char *buf, size_t cap);
void shm_ring_take_to(struct shm *s, uint32_t slot, uint64_t pos);

/* Master: directory of routes. Index of the name, made if need be; 0 ("other") when full.
 * Generations count from 1. */
uint32_t shm_route_intern(struct shm *s, const char *name, uint32_t generation);
/* Index of a name, 0 ("other") if it is not there. */
uint32_t shm_route_find(const struct shm *s, const char *name);
/* The name of route i; false if there is none. NUL-terminated whatever is in the segment. */
bool shm_route_name(const struct shm *s, uint32_t i, char ret[SHM_ROUTE_NAME_MAX]);

/* Master: directory of the modules' metrics. 0 and the index of the cell, made if need be, or
 *   -EINVAL  a name that is no Prometheus name, has more than 80 bytes or begins with "capricorn_";
 *            labels that are not `name="value"` with commas between them (escapes \\ \" \n; UTF-8;
 *            no name twice, none that is reserved), or have more than 200 bytes; no such kind
 *   -EEXIST  the name belongs to a metric of another kind, or would be mixed up with a series that
 *            a histogram has (_bucket, _sum, _count)
 *   -ENOSPC  as many as there may be are there
 * labels and help may be NULL; help is cut and cleaned. Generations count from 1. */
int shm_module_intern(struct shm *s, enum shm_metric_kind kind, const char *name,
		      const char *labels, const char *help, uint32_t generation,
		      uint32_t *ret_index);
/* Entry i; false: there is none, or its words make no sense. Its texts keep to those rules. */
bool shm_module_read(const struct shm *s, uint32_t i, struct shm_module_view *ret);
static inline uint32_t shm_module_entries(const struct shm *s)
{
	return s->geo.module_metrics + s->geo.module_hists;
}

/* Cells of a slot lie on lines of their own. */
static inline uint32_t shm_module_stride(const struct shm_geometry *g)
{
	return (g->module_metrics + 7) & ~7u;
}

/* Cell of a counter or gauge; `index` below geo.module_metrics. */
static inline _Atomic uint64_t *shm_module_cell(const struct shm *s, uint32_t slot, uint32_t index)
{
	return &s->module_cells[(size_t)slot * shm_module_stride(&s->geo) + index];
}

static inline struct shm_hist *shm_module_hist(const struct shm *s, uint32_t slot, uint32_t index)
{
	return &s->module_hists[(size_t)slot * s->geo.module_hists + index];
}

/* Master: histories. */
void shm_exit_add(struct shm *s, const struct shm_exit *e);
void shm_event_add(struct shm *s, const char *kind, const char *text);
/* Newest first: i = 0 is the newest. false past the end, torn or overwritten meanwhile. Texts are
 * NUL-terminated whatever is in the segment; numbers may be anything then. */
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
