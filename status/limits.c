/* SPDX-License-Identifier: MIT */
/* Semaphores and rate limits: what /status says of them, and their live changes. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "shm/rate.h"
#include "shm/sem.h"
#include "status/status_priv.h"

#define HOLDERS_SHOWN 64

static const char *const class_words[SHM_CLASSES] = {"high", "medium", "low"};

static double ms_since(uint64_t now, uint64_t then)
{
	return then == 0 ? 0 : (double)(status_age(now, then) / 1000) / 1e3;
}

/* ---- what the newest generation knows; the rest is on its way out ---- */

bool status_sem(const struct shm *s, uint32_t i, struct shm_sem_view *ret)
{
	return shm_sem_read(s, i, ret) &&
	       shm_sem_find(s, ret->name, shm_get(&s->inst->generation)) == i;
}

bool status_rate(const struct shm *s, uint32_t i, struct shm_rate_view *ret)
{
	return shm_rate_read(s, i, ret) &&
	       shm_rate_find(s, ret->name, shm_get(&s->inst->generation)) == i;
}

/* ---- semaphores ---- */

static json_t *classes_json(struct doc *d, const struct status_view *v,
			    const struct shm_sem_view *s)
{
	json_t *o = json_object();

	for (int i = 0; i < SHM_CLASSES; i++) {
		json_t *c = json_object();

		doc_int(d, c, "weight", s->weight[i]);
		doc_int(d, c, "waiting", s->waiting[i]);
		doc_real(d, c, "oldest_wait_ms", ms_since(v->now_ns, s->oldest_ns[i]));
		doc_put(d, o, class_words[i], c);
	}
	return o;
}

static json_t *holder_json(struct doc *d, const struct status_view *v,
			   const struct shm_permit_view *p)
{
	json_t *o = json_object();
	struct shm_row_view row;

	doc_int(d, o, "slot", p->slot);
	doc_bool(d, o, "granted", p->granted);
	doc_real(d, o, "age_ms", ms_since(v->now_ns, p->since_ns));
	if (p->row < v->shm->geo.rows && shm_row_read(shm_row(v->shm, p->slot, p->row), &row)) {
		doc_text(d, o, "request", row.id);
		doc_text(d, o, "method", row.method);
		doc_text(d, o, "path", row.path);
		doc_text(d, o, "state", shm_row_state_name(row.state));
	} else {
		doc_put(d, o, "request", json_null());
	}
	return o;
}

static json_t *holders_json(struct doc *d, const struct status_view *v, uint32_t sem,
			    uint32_t limit_max)
{
	json_t *list = json_array();
	struct shm_permit_view p;
	int shown = 0;

	for (uint32_t i = 0; i < limit_max && shown < HOLDERS_SHOWN; i++)
		if (shm_permit_read(v->shm, sem, i, &p) && p.slot < v->shm->geo.slots) {
			doc_add(d, list, holder_json(d, v, &p));
			shown++;
		}
	return list;
}

/* The bucket bound that the share q of all waits is not above, in ms. */
static double wait_ms(const struct shm_sem_wait_sum *w, double q)
{
	uint64_t need = (uint64_t)((double)w->count * q), sum = 0;

	for (int i = 0; i < SHM_SEM_WAIT_BUCKETS && w->count > 0; i++) {
		sum += w->bucket[i];
		if (sum > 0 && sum >= need)
			return (double)((uint64_t)1 << i) / 1e3;
	}
	return 0;
}

static json_t *waits_json(struct doc *d, const struct status_view *v, uint32_t sem)
{
	struct shm_sem_wait_sum w = {0};
	json_t *o = json_object();

	shm_sem_wait_read(v->shm, sem, &w);
	doc_int(d, o, "count", w.count);
	doc_real(d, o, "p50", wait_ms(&w, 0.50));
	doc_real(d, o, "p95", wait_ms(&w, 0.95));
	doc_real(d, o, "p99", wait_ms(&w, 0.99));
	return o;
}

static json_t *sem_json(struct doc *d, const struct status_view *v, uint32_t sem,
			const struct shm_sem_view *s)
{
	uint64_t waiting = 0, oldest = 0;
	json_t *o = json_object();

	for (int i = 0; i < SHM_CLASSES; i++) {
		waiting += s->waiting[i];
		if (s->oldest_ns[i] != 0 && (oldest == 0 || s->oldest_ns[i] < oldest))
			oldest = s->oldest_ns[i];
	}
	doc_text(d, o, "name", s->name);
	doc_int(d, o, "limit", s->limit);
	doc_int(d, o, "limit_max", s->limit_max);
	doc_int(d, o, "held", s->held);
	doc_int(d, o, "granted", s->granted);
	doc_int(d, o, "waiting", waiting);
	doc_real(d, o, "oldest_wait_ms", ms_since(v->now_ns, oldest));
	doc_put(d, o, "classes", classes_json(d, v, s));
	doc_int(d, o, "acquired", s->acquired);
	doc_int(d, o, "queued", s->queued);
	doc_int(d, o, "timed_out", s->timed_out);
	doc_int(d, o, "rejected", s->rejected);
	doc_int(d, o, "abandoned", s->abandoned);
	doc_int(d, o, "reclaimed", s->reclaimed);
	doc_put(d, o, "wait_ms", waits_json(d, v, sem));
	doc_put(d, o, "holders", holders_json(d, v, sem, s->limit_max));
	return o;
}

json_t *status_semaphores_json(struct doc *d, const struct status_view *v)
{
	json_t *list = json_array();
	struct shm_sem_view s;

	for (uint32_t i = 0; i < SHM_SEMS; i++)
		if (status_sem(v->shm, i, &s))
			doc_add(d, list, sem_json(d, v, i, &s));
	return list;
}

/* ---- rate limits ---- */

static json_t *rate_json(struct doc *d, const struct status_view *v, uint32_t rate,
			 const struct shm_rate_view *r)
{
	json_t *o = json_object();

	doc_text(d, o, "name", r->name);
	doc_text(d, o, "algorithm",
		 r->algorithm == SHM_RATE_WINDOW ? "sliding_window" : "token_bucket");
	doc_int(d, o, "rate", r->rate);
	doc_real(d, o, "period_seconds", (double)r->period_ns / 1e9);
	doc_int(d, o, "burst", r->burst);
	doc_text(d, o, "mode", r->shadow ? "shadow" : "enforce");
	doc_int(d, o, "allowed", r->allowed);
	doc_int(d, o, "limited", r->limited);
	doc_int(d, o, "shadowed", r->shadowed);
	doc_int(d, o, "overflowed", r->overflowed);
	doc_int(d, o, "capacity", r->capacity);
	doc_int(d, o, "keys", r->capacity ? shm_rate_keys_in_use(v->shm, rate, v->now_ns) : 0);
	return o;
}

json_t *status_rates_json(struct doc *d, const struct status_view *v)
{
	json_t *list = json_array();
	struct shm_rate_view r;

	for (uint32_t i = 0; i < SHM_RATES; i++)
		if (status_rate(v->shm, i, &r))
			doc_add(d, list, rate_json(d, v, i, &r));
	return list;
}

/* ---- live changes ---- */

/* A number of the body in [min, max]; `now` if it is not there. false: why says what is wrong. */
static bool take_number(const json_t *body, const char *key, uint64_t min, uint64_t max,
			uint64_t now, uint64_t *ret, char *why, size_t cap)
{
	const json_t *v = json_object_get(body, key);

	*ret = now;
	if (!v)
		return true;
	if (json_is_integer(v) && json_integer_value(v) >= (json_int_t)min &&
	    (uint64_t)json_integer_value(v) <= max) {
		*ret = (uint64_t)json_integer_value(v);
		return true;
	}
	snprintf(why, cap, "\"%s\" is not a whole number from %llu to %llu.", key,
		 (unsigned long long)min, (unsigned long long)max);
	return false;
}

/* Members that are none of ours: a slip of the pen must not look like a change. */
static bool only_known(const json_t *body, const char *const *keys, char *why, size_t cap)
{
	void *i = json_object_iter((json_t *)(uintptr_t)body);

	for (; i; i = json_object_iter_next((json_t *)(uintptr_t)body, i)) {
		const char *const *k = keys;

		while (*k && strcmp(*k, json_object_iter_key(i)) != 0)
			k++;
		if (!*k) {
			snprintf(why, cap, "There is no member \"%.40s\".",
				 json_object_iter_key(i));
			return false;
		}
	}
	return true;
}

static bool find_sem(const struct shm *s, struct slice name, uint32_t *ret, struct shm_sem_view *v)
{
	for (*ret = 0; *ret < SHM_SEMS; (*ret)++)
		if (status_sem(s, *ret, v) && slice_eq(name, slice_of(v->name)))
			return true;
	return false;
}

static bool find_rate(const struct shm *s, struct slice name, uint32_t *ret,
		      struct shm_rate_view *v)
{
	for (*ret = 0; *ret < SHM_RATES; (*ret)++)
		if (status_rate(s, *ret, v) && slice_eq(name, slice_of(v->name)))
			return true;
	return false;
}

int status_change_semaphore(const struct heritage *h, struct slice name, const json_t *body,
			    struct strbuf *out, char *why, size_t cap)
{
	static const char *const keys[] = {"limit", NULL};
	struct shm_sem_wake w = {0};
	struct doc d = {false};
	struct status_view v;
	struct shm_sem_view s;
	uint64_t limit;
	uint32_t sem;

	if (!find_sem(h->shm, name, &sem, &s)) {
		snprintf(why, cap, "There is no semaphore \"%.*s\".", (int)name.len, name.p);
		return 404;
	}
	if (!only_known(body, keys, why, cap))
		return 400;
	if (!json_object_get(body, "limit")) {
		snprintf(why, cap, "What is to be changed? {\"limit\": N}, 0 = no limit.");
		return 400;
	}
	if (!take_number(body, "limit", 0, s.limit_max, s.limit, &limit, why, cap)) {
		size_t n = strlen(why);

		snprintf(why + n, cap - n, " (limit_max of this semaphore is %u.)", s.limit_max);
		return 400;
	}
	if (shm_sem_set_limit(h->shm, sem, (uint32_t)limit, &w) != 0) {
		snprintf(why, cap, "The limit is above limit_max, %u.", s.limit_max);
		return 400;
	}
	shm_sem_poke(h, &w, SHM_SEM_NONE);
	log_info("Semaphore %s: limit %u, was %u (live change)", s.name, (uint32_t)limit, s.limit);
	status_view(&v, h);
	if (!shm_sem_read(h->shm, sem, &s))
		return 404;
	return doc_end(&d, sem_json(&d, &v, sem, &s), out) ? 200 : 503;
}

int status_change_rate(const struct heritage *h, struct slice name, const json_t *body,
		       struct strbuf *out, char *why, size_t cap)
{
	static const char *const keys[] = {"rate", "burst", "mode", NULL};
	const json_t *mode = json_object_get(body, "mode");
	struct doc d = {false};
	struct status_view v;
	struct shm_rate_view r;
	uint64_t rate, burst;
	uint32_t index;
	bool shadow;

	if (!find_rate(h->shm, name, &index, &r)) {
		snprintf(why, cap, "There is no rate limit \"%.*s\".", (int)name.len, name.p);
		return 404;
	}
	if (!only_known(body, keys, why, cap) ||
	    !take_number(body, "rate", 1, 1000000, r.rate, &rate, why, cap) ||
	    !take_number(body, "burst", 0, 1000000, r.burst, &burst, why, cap))
		return 400;
	shadow = mode ? json_is_string(mode) && strcmp(json_string_value(mode), "shadow") == 0
		      : r.shadow;
	if (mode && !shadow &&
	    !(json_is_string(mode) && strcmp(json_string_value(mode), "enforce") == 0)) {
		snprintf(why, cap, "\"mode\" is neither \"enforce\" nor \"shadow\".");
		return 400;
	}
	if (json_object_size(body) == 0) {
		snprintf(why, cap, "What is to be changed? {\"rate\": N, \"burst\": N, \"mode\": "
			 "\"enforce\" or \"shadow\"}, any of them.");
		return 400;
	}
	if (shm_rate_set(h->shm, index, (uint32_t)rate, (uint32_t)burst, shadow) != 0) {
		snprintf(why, cap, "These numbers do not fit together.");
		return 400;
	}
	log_info("Rate limit %s: rate %u, burst %u, %s (live change)", r.name, (uint32_t)rate,
		 (uint32_t)burst, shadow ? "shadow" : "enforce");
	status_view(&v, h);
	if (!shm_rate_read(h->shm, index, &r))
		return 404;
	return doc_end(&d, rate_json(&d, &v, index, &r), out) ? 200 : 503;
}
