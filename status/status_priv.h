/* SPDX-License-Identifier: MIT */
/* Inside of status/: what is read from the segment, and how documents are made of it. */
#ifndef STATUS_STATUS_PRIV_H
#define STATUS_STATUS_PRIV_H

#include <jansson.h>

#include "conf/conf.h"
#include "shm/rate.h"
#include "shm/sem.h"
#include "shm/shm.h"
#include "status/status.h"

/* ---- view.c: the segment, read with bounds; numbers may be any if it holds garbage ---- */

enum status_state { ST_BOOTING, ST_READY, ST_DRAINING, ST_STUCK, ST_DEAD };
const char *status_state_name(enum status_state st);

struct status_slot {
	uint32_t slot, generation, connections, in_flight, abandoned;
	int32_t pid;
	enum status_state state;
	uint64_t age_ns, heartbeat_age_ns, requests, rss_bytes, cpu_ns, busy_ppm;
	bool has_row;
	struct shm_row_view row;
};

/* One reading of what concerns the whole instance. */
struct status_view {
	const struct heritage *h;
	const struct shm *shm;
	uint64_t now_ns, wall_ns;
	uint64_t uptime_ns;
	struct {
#define SHM_COUNTER(name, help) uint64_t name;
#include "shm/counters.def"
#undef SHM_COUNTER
	} sum;                         /* over all slots, free ones too: never goes down */
	uint64_t connections, in_flight; /* open now, begun and not ended */
	uint32_t wanted, seen, ready, draining, booting, lame; /* workers; lame: stuck or dead */
	bool has_keeper;
	enum status_state keeper;
	bool has_reload_error;         /* the newest event of a reload tells of a failure */
	struct shm_event reload_error;
};

void status_view(struct status_view *v, const struct heritage *h);
/* false if no process of that kind has the slot. `row`: also what it is working at. */
bool status_slot(const struct status_view *v, uint32_t slot, enum shm_kind kind, bool row,
		 struct status_slot *ret);
/* Adds the times of one route over all slots; `into` starts zeroed. */
void status_latency(const struct status_view *v, uint32_t route, struct shm_hist_sum *into);
/* Requests by {route, method, code}, summed over the slots, in the order of their keys. */
struct status_series { uint64_t key, count; struct shm_series_view of; };
struct status_series *status_series(const struct status_view *v, size_t *ret_n); /* heap; or NULL */
/* The same of errors: method 0, the type as the code. */
struct status_series *status_errors(const struct status_view *v, size_t *ret_n);
uint64_t status_age(uint64_t now_ns, uint64_t then_ns); /* 0 for what lies ahead */

/* ---- metrics.c ---- */

/* The lines of one histogram: the name is whole, labels are as they stand in the text, or "". */
void status_histogram(struct strbuf *out, const char *name, const char *labels,
		      const struct shm_hist_sum *h);

/* ---- json.c ---- */

/* A document in the making; `failed` once memory was missing. */
struct doc {
	bool failed;
};
void doc_put(struct doc *d, json_t *object, const char *key, json_t *value);
void doc_add(struct doc *d, json_t *array, json_t *value);
void doc_int(struct doc *d, json_t *object, const char *key, uint64_t n);
void doc_real(struct doc *d, json_t *object, const char *key, double x);
void doc_text(struct doc *d, json_t *object, const char *key, const char *text); /* any bytes */
void doc_bool(struct doc *d, json_t *object, const char *key, bool x);
void doc_time(struct doc *d, json_t *object, const char *key, uint64_t wall_ns); /* RFC 3339 */
/* Dumps into the reply and gives `root` up; false = no memory. */
bool doc_end(struct doc *d, json_t *root, struct strbuf *out);

/* ---- module.c: the metrics of modules ---- */

bool status_module_text(const struct status_view *v, struct strbuf *out); /* false: no memory */
json_t *status_module_json(struct doc *d, const struct status_view *v);

/* ---- limits.c: semaphores and rate limits ---- */

bool status_sem(const struct shm *s, uint32_t i, struct shm_sem_view *ret);
bool status_rate(const struct shm *s, uint32_t i, struct shm_rate_view *ret);
json_t *status_semaphores_json(struct doc *d, const struct status_view *v);
json_t *status_rates_json(struct doc *d, const struct status_view *v);
/* Live changes: `body` is an object. The status of the answer: 200 with the document in `out`, or
 * what is wrong in `why`. */
typedef int status_change_f(const struct heritage *h, struct slice name, const json_t *body,
			    struct strbuf *out, char *why, size_t cap);
status_change_f status_change_semaphore, status_change_rate;

/* ---- cache.c ---- */

json_t *status_cache_json(struct doc *d, const struct status_view *v);
status_change_f status_purge_cache, status_invalidate_cache;

/* ---- documents: true, or false for want of memory; *status is 200 when called ---- */

typedef bool status_make_f(const struct heritage *h, struct strbuf *out, int *status);
status_make_f status_make_health, status_make_livez, status_make_readyz, status_make_status,
	status_make_metrics, status_make_stats, status_make_active, status_make_slow;

#endif
