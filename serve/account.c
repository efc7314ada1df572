/* SPDX-License-Identifier: MIT */
/*
 * What the segment is told about requests: row, counters, series, histogram, access log. Only the
 * loop lane of the slot's owner writes here. An answer is counted before its last write, so that no
 * client ever holds an answer that the totals do not; answers of one batch are gathered and counted
 * with a single clock reading.
 */
#include <pthread.h>

#include "base/log.h"
#include "serve/serve_priv.h"

/* As in nginx, in the log only: the client left before its answer. */
#define STATUS_GONE 499

/* After a record was put: does the keeper want to hear of it? */
static void keeper_wake(const struct heritage *h)
{
	_Atomic uint32_t *wants = &h->shm->inst->keeper_wants;

	/* The record before the look: the keeper could say that it sleeps, look, and miss it. */
	atomic_thread_fence(memory_order_seq_cst);
	switch (atomic_load_explicit(wants, memory_order_relaxed)) {
	case SHM_KEEPER_ANY_RECORD:
		break;
	case SHM_KEEPER_HALF_FULL:
		if (shm_ring_half_full(h->shm, h->slot))
			break;
		return;
	default:
		return;
	}
	if (atomic_exchange(wants, SHM_KEEPER_NOTHING) != SHM_KEEPER_NOTHING)
		heritage_poke(h, 0);
}

bool serve_put_record(const struct heritage *h, enum shm_record_kind kind, const char *p,
		      size_t len)
{
	/* The ring has one producer, the process: of its threads, one at a time. */
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	bool ok;

	pthread_mutex_lock(&lock);
	ok = shm_ring_put(h->shm, h->slot, kind, p, len);
	if (!ok)
		shm_add(&shm_slot(h->shm, h->slot)->c.log_lost, 1);
	pthread_mutex_unlock(&lock);
	if (h->slot != 0)
		keeper_wake(h);
	return ok;
}

void account_begin(struct request *r)
{
	struct serve *s = r->serve;
	struct shm_slot *slot = s->slot;

	shm_set(&slot->in_flight, shm_get(&slot->in_flight) + 1);
	if (s->nrow_free == 0) {
		r->row = UINT32_MAX;
		shm_add(&slot->c.rows_missing, 1);
		return;
	}
	r->row = s->row_free[--s->nrow_free];
	shm_row_begin(shm_row(s->h->shm, s->h->slot, r->row), r->id, r->head.method_text, r->path,
		      r->conn->peer_text, r->since_ns);
}

void account_state(struct request *r, enum shm_row_state st)
{
	serve_row_state(r->serve, r->row, st);
}

void account_current(struct serve *s, const struct request *r)
{
	shm_set(&s->slot->current_row, r && r->row != UINT32_MAX ? r->row + 1 : 0);
}

static void log_access(struct request *r, uint64_t more)
{
	struct serve *s = r->serve;
	uint64_t took_ns = loop_clock(s->loop) - r->since_ns;
	struct access_log_entry e = {
		.head = r->broken_head ? NULL : &r->head,
		.id = r->id,
		.client = request_client(r),
		.peer = &r->conn->peer,
		.status = r->status,
		.bytes = r->body_sent + more,
		.duration_us = took_ns / 1000,
		.wall_ns = clock_wall_ns(),
		.content_type = r->content_type,
	};
	char line[LOG_LINE_MAX];
	size_t len = access_log_format(s->access, &e, line, sizeof(line));

	if (len > 0)
		serve_put_record(s->h, SHM_REC_ACCESS_LOG, line, len);
}

static void pend_add(struct serve *s, const struct request *r)
{
	struct pend *p = s->npend > 0 ? &s->pend[s->npend - 1] : NULL;

	if (p && p->route == r->route && p->method == (uint32_t)r->head.method &&
	    p->status == r->status && p->since_ns == r->since_ns) {
		p->times++;
	} else {
		if (s->npend == PEND_MAX)
			account_flush(s);
		p = &s->pend[s->npend++];
		*p = (struct pend){
			.route = r->route, .method = (uint32_t)r->head.method,
			.status = r->status, .times = 1, .since_ns = r->since_ns,
		};
	}
	p->ready_ns = r->ready_ns;
	/* What is sent piece by piece goes at the pace of the client. (The head of this turn is as
	 * good as not out yet: a handler may have held the loop since the turn began.) */
	p->head_ns = r->kind == ANS_COPIED || r->answer_since_ns == loop_now(s->loop) ? 0 :
		     r->answer_since_ns;
	p->row = r->row;
	if (r->row != UINT32_MAX)
		p->mark = shm_row_mark(shm_row(s->h->shm, s->h->slot, r->row));
}

/* ---- slow requests ---- */

#define SLOW_LINES 10u /* a second */

static bool may_tell_slow(struct serve *s, uint64_t now)
{
	if (now - s->slow_since_ns >= NS_PER_S) {
		if (s->slow_untold > 0)
			log_warnx("SLOW and %u more slow requests", s->slow_untold);
		s->slow_since_ns = now;
		s->slow_lines = s->slow_untold = 0;
	}
	if (s->slow_lines == SLOW_LINES) {
		s->slow_untold++;
		return false;
	}
	s->slow_lines++;
	return true;
}

/* The request itself is gone by now; its row has not been used again, unless it was one of a batch
 * of pipelined ones. */
static void tell_slow(struct serve *s, const struct pend *p, uint64_t took_ns, uint64_t now)
{
	struct shm_row_view v = {.id = "?", .path = "?", .client = "?"};

	shm_add(&s->slot->c.slow_requests, p->times);
	if (!may_tell_slow(s, now))
		return;
	if (p->row != UINT32_MAX)
		(void)shm_row_read_marked(shm_row(s->h->shm, s->h->slot, p->row), p->mark, &v);
	log_warnx("SLOW request=%s method=%s path=%s client=%s status=%d took=%.3fs", v.id,
		  v.method[0] ? v.method : "?", v.path, v.client, p->status,
		  (double)took_ns / NS_PER_S);
}

static void look_if_slow(struct serve *s, const struct pend *p, uint64_t now)
{
	uint64_t end = p->head_ns ? p->head_ns : now;

	if (end > p->ready_ns && end - p->ready_ns >= s->slow_ns)
		tell_slow(s, p, end - p->ready_ns, now);
}

void account_answer(struct request *r, uint64_t more)
{
	struct serve *s = r->serve;

	if (r->accounted)
		return;
	r->accounted = true;
	shm_add(&s->slot->requests_life, 1);
	if (r->is_status || s->keeper)
		shm_add(&s->slot->c.status_requests, 1);
	else
		pend_add(s, r);
	if (s->access)
		log_access(r, more);
}

void account_error(struct serve *s, const struct request *r, enum shm_error type)
{
	shm_error_add(s->h->shm, s->h->slot, r ? r->route : 0, type);
}

void account_gone(struct request *r)
{
	struct serve *s = r->serve;

	account_error(s, r, SHM_ERR_CLIENT_GONE);
	if (!s->access || r->accounted)
		return;
	r->accounted = true;
	if (!r->head_done)
		r->status = STATUS_GONE;
	log_access(r, 0);
}

void account_flush(struct serve *s)
{
	struct shm_counters *c = &s->slot->c;
	_Atomic uint64_t *by_class[] = {&c->responses_1xx, &c->responses_2xx, &c->responses_3xx,
					&c->responses_4xx, &c->responses_5xx};
	struct shm_hist *mine = &s->h->shm->hists[(size_t)s->h->slot * s->h->shm->geo.routes];
	uint64_t now;

	if (s->npend == 0)
		return;
	now = loop_clock(s->loop);
	for (uint32_t i = 0; i < s->npend; i++) {
		const struct pend *p = &s->pend[i];
		int class = p->status / 100;

		shm_add(&c->requests, p->times);
		if (class >= 1 && class <= 5)
			shm_add(by_class[class - 1], p->times);
		shm_series_add(s->h->shm, s->h->slot, p->route, p->method, (uint32_t)p->status,
			       p->times);
		shm_hist_add(&mine[p->route], (now - p->since_ns) / 1000, p->times);
		look_if_slow(s, p, now);
	}
	s->npend = 0;
}

void serve_row_state(struct serve *s, uint32_t row, enum shm_row_state st)
{
	if (row != UINT32_MAX)
		shm_row_state(shm_row(s->h->shm, s->h->slot, row), st);
}

void serve_row_end(struct serve *s, uint32_t row)
{
	if (row == UINT32_MAX)
		return;
	shm_row_end(shm_row(s->h->shm, s->h->slot, row));
	s->row_free[s->nrow_free++] = (uint16_t)row;
}

void account_end(struct request *r)
{
	struct serve *s = r->serve;

	shm_set(&s->slot->in_flight, shm_get(&s->slot->in_flight) - 1);
	serve_row_end(s, r->row);
	r->row = UINT32_MAX;
}
