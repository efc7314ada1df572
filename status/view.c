/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "base/clock.h"
#include "status/status_priv.h"

/* A loop beats at least every 600 ms. After this long without a beat it is shown as stuck, long
 * before WORKER_TIMEOUT makes the master act. */
#define STUCK_NS (5 * NS_PER_S)

uint64_t status_age(uint64_t now_ns, uint64_t then_ns)
{
	return now_ns > then_ns ? now_ns - then_ns : 0;
}

const char *status_state_name(enum status_state st)
{
	switch (st) {
	case ST_BOOTING: return "booting";
	case ST_READY: return "ready";
	case ST_DRAINING: return "draining";
	case ST_STUCK: return "stuck";
	case ST_DEAD: return "dead";
	}
	return "dead";
}

static enum status_state slot_state(const struct status_view *v, const struct shm_slot *s,
				    uint64_t heartbeat_age_ns)
{
	int64_t timeout_ms = v->h->conf->s.worker_timeout;
	uint64_t limit = STUCK_NS;
	uint32_t phase = shm_get(&s->phase);

	if (timeout_ms > 0 && (uint64_t)timeout_ms < limit / NS_PER_MS)
		limit = (uint64_t)timeout_ms * NS_PER_MS;
	if (shm_get(&s->told_dead_ns) != 0)
		return ST_DEAD;
	if (phase != SHM_PH_READY && phase != SHM_PH_DRAINING)
		return ST_BOOTING; /* BOOT_TIMEOUT is the master's to watch */
	if (shm_get(&s->stuck) != 0 || heartbeat_age_ns > limit)
		return ST_STUCK;
	return phase == SHM_PH_READY ? ST_READY : ST_DRAINING;
}

/* What the loop does now; else the oldest request that it has begun. */
static void find_row(const struct status_view *v, const struct shm_slot *s, struct status_slot *ret)
{
	uint32_t current = shm_get(&s->current_row);
	struct shm_row_view row;

	if (current > 0 && current <= v->shm->geo.rows)
		ret->has_row = shm_row_read(shm_row(v->shm, ret->slot, current - 1), &ret->row);
	if (ret->has_row || ret->in_flight == 0)
		return;
	for (uint32_t i = 0; i < v->shm->geo.rows; i++) {
		if (!shm_row_read(shm_row(v->shm, ret->slot, i), &row))
			continue;
		if (ret->has_row && row.since_ns >= ret->row.since_ns)
			continue;
		ret->has_row = true;
		ret->row = row;
	}
}

bool status_slot(const struct status_view *v, uint32_t slot, enum shm_kind kind, bool row,
		 struct status_slot *ret)
{
	const struct shm_slot *s = shm_slot(v->shm, slot);
	uint64_t born, beat;

	if (atomic_load_explicit(&s->kind, memory_order_acquire) != kind)
		return false;
	born = shm_get(&s->born_ns);
	beat = shm_get(&s->heartbeat_ns);
	*ret = (struct status_slot){
		.slot = slot,
		.pid = shm_get(&s->pid),
		.generation = shm_get(&s->generation),
		.connections = shm_get(&s->connections),
		.in_flight = shm_get(&s->in_flight),
		.abandoned = shm_get(&s->abandoned),
		.requests = shm_get(&s->requests_life),
		.rss_bytes = shm_get(&s->rss_bytes),
		.cpu_ns = shm_get(&s->cpu_ns),
		.busy_ppm = shm_get(&s->busy_ppm),
		.age_ns = status_age(v->now_ns, born),
		.heartbeat_age_ns = status_age(v->now_ns, beat > 0 ? beat : born),
	};
	ret->state = slot_state(v, s, ret->heartbeat_age_ns);
	if (row)
		find_row(v, s, ret);
	return true;
}

static void add_slot(struct status_view *v, uint32_t i)
{
	const struct shm_slot *s = shm_slot(v->shm, i);
	struct status_slot slot;

#define SHM_COUNTER(name, help) v->sum.name += shm_get(&s->c.name);
#include "shm/counters.def"
#undef SHM_COUNTER
	if (i == 0) {
		v->has_keeper = status_slot(v, 0, SHM_KEEPER, false, &slot);
		v->keeper = v->has_keeper ? slot.state : ST_DEAD;
	} else if (status_slot(v, i, SHM_WORKER, false, &slot)) {
		v->seen++;
		v->ready += slot.state == ST_READY;
		v->draining += slot.state == ST_DRAINING;
		v->booting += slot.state == ST_BOOTING;
		v->lame += slot.state == ST_STUCK || slot.state == ST_DEAD;
	} else {
		return;
	}
	v->connections += shm_get(&s->connections);
	v->in_flight += shm_get(&s->in_flight);
}

static void find_reload_error(struct status_view *v)
{
	static const char word[] = "reload";

	for (uint32_t i = 0; i < v->shm->geo.events; i++) {
		if (!shm_event_read(v->shm, i, &v->reload_error))
			continue;
		if (strncmp(v->reload_error.kind, word, sizeof(word) - 1) != 0)
			continue;
		v->has_reload_error = strcmp(v->reload_error.kind, "reload_failed") == 0;
		return;
	}
}

void status_view(struct status_view *v, const struct heritage *h)
{
	*v = (struct status_view){
		.h = h,
		.shm = h->shm,
		.now_ns = clock_mono_ns(),
		.wall_ns = clock_wall_ns(),
		.wanted = shm_get(&h->shm->inst->workers_wanted),
	};
	v->uptime_ns = status_age(v->now_ns, shm_get(&h->shm->inst->started_ns));
	for (uint32_t i = 0; i < h->shm->geo.slots; i++)
		add_slot(v, i);
	find_reload_error(v);
}

void status_latency(const struct status_view *v, uint32_t route, struct shm_hist_sum *into)
{
	for (uint32_t i = 0; i < v->shm->geo.slots; i++)
		if (shm_get(&shm_slot(v->shm, i)->incarnation) != 0) /* else never written */
			shm_hist_merge(into, shm_hist_of(v->shm, i, route));
}

static int by_key(const void *a, const void *b)
{
	const struct status_series *x = a, *y = b;

	return x->key < y->key ? -1 : x->key > y->key;
}

/* Entries with the same key become one. */
static size_t merge(struct status_series *list, size_t n)
{
	size_t out = 0;

	qsort(list, n, sizeof(*list), by_key);
	for (size_t i = 0; i < n; i++) {
		if (out > 0 && list[out - 1].key == list[i].key)
			list[out - 1].count += list[i].count;
		else
			list[out++] = list[i];
	}
	return out;
}

typedef bool series_read_f(const struct shm *s, uint32_t slot, uint32_t i,
			   struct shm_series_view *ret);

/* The tables of all slots, `each` entries long. */
static struct status_series *collect(const struct status_view *v, uint32_t each,
				     series_read_f *read_entry, size_t *ret_n)
{
	size_t n = 0, cap = 64;
	struct status_series *list = malloc(cap * sizeof(*list)), *more;
	struct shm_series_view of;

	for (uint32_t s = 0; list && s < v->shm->geo.slots; s++) {
		if (shm_get(&shm_slot(v->shm, s)->incarnation) == 0)
			continue;
		for (uint32_t i = 0; i < each; i++) {
			if (!read_entry(v->shm, s, i, &of))
				continue;
			if (n == cap) {
				cap *= 2;
				more = realloc(list, cap * sizeof(*list));
				if (!more) {
					free(list);
					return NULL;
				}
				list = more;
			}
			list[n].key = shm_series_key(of.route, of.method, of.code);
			list[n].count = of.count;
			list[n++].of = of;
		}
	}
	*ret_n = list ? merge(list, n) : 0;
	return list;
}

struct status_series *status_series(const struct status_view *v, size_t *ret_n)
{
	return collect(v, v->shm->geo.series, shm_series_read, ret_n);
}

struct status_series *status_errors(const struct status_view *v, size_t *ret_n)
{
	return collect(v, v->shm->geo.errors, shm_error_read, ret_n);
}
