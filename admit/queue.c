/* SPDX-License-Identifier: MIT */
/*
 * Semaphores of a request: taken one after another, from the narrow to the wide one; while one is
 * waited for, the request lies in a queue of this process, by class, and occupies nothing but its
 * memory. What the segment knows of the queues is said by announce(); whose turn it is, is decided
 * there, over all processes (shm/sem.h).
 *
 * Nothing here runs a handler but run_next(), at the end of a turn: a permit that is given back
 * within the answer of one request may not carry on another's connection.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admit/admit_priv.h"
#include "base/check.h"
#include "base/log.h"

#define CAPACITY_TYPE "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
#define RUNS_MAX 256u /* requests that are begun in one turn; the rest in the next */

/* ---- waking ---- */

/* This process looks when its turn ends: it need not be poked. */
static void wake(struct admit *a, struct sem *q, const struct shm_sem_wake *w)
{
	bool mine = w->all;

	for (uint32_t i = 0; i < w->n; i++)
		mine |= w->slot[i] == a->slot;
	if (mine)
		q->dirty = a->dirty = true;
	if (w->all || w->n > 0)
		shm_sem_poke(a->h, w, a->slot);
}

/* ---- the queues ---- */

static void put(struct sem *q, struct ticket *t)
{
	struct queue *c = &q->queue[t->class];

	t->next = NULL;
	t->prev = c->last;
	if (c->last)
		c->last->next = t;
	else
		c->first = t;
	c->last = t;
	c->n++;
	c->permits += t->share[t->at].weight;
	q->waiting++;
}

static void take_out(struct sem *q, struct ticket *t)
{
	struct queue *c = &q->queue[t->class];

	if (t->prev)
		t->prev->next = t->next;
	else
		c->first = t->next;
	if (t->next)
		t->next->prev = t->prev;
	else
		c->last = t->prev;
	c->n--;
	c->permits -= t->share[t->at].weight;
	q->waiting--;
	if (q->part == t)
		q->part = NULL;
}

static void announce(struct admit *a, struct sem *q)
{
	struct shm_sem_wake w = {0};
	struct shm_sem_waits say;

	for (int i = 0; i < SHM_CLASSES; i++) {
		say.count[i] = q->queue[i].n;
		say.permits[i] = q->queue[i].permits;
		if (q->part && (int)q->part->class == i)
			say.permits[i] -= q->part->share[q->part->at].have;
		say.oldest_ns[i] = q->queue[i].first ? q->queue[i].first->since_ns : 0;
	}
	shm_sem_wait(a->shm, q->index, a->slot, &say, loop_now(a->loop), &w);
	wake(a, q, &w);
}

/* The timer fires when the first of those who wait has waited long enough, or for a look. */
static void arm(struct admit *a)
{
	uint64_t now = loop_now(a->loop), due = UINT64_MAX;

	for (uint32_t i = 0; i < a->nsems; i++) {
		if (a->sem[i].waiting == 0)
			continue;
		if (due > now + SHM_SEM_LOOK_NS)
			due = now + SHM_SEM_LOOK_NS;
		for (int k = 0; k < SHM_CLASSES; k++)
			if (a->sem[i].queue[k].first && a->sem[i].queue[k].first->due_ns < due)
				due = a->sem[i].queue[k].first->due_ns;
	}
	if (due == UINT64_MAX)
		timer_disarm(a->loop, &a->look);
	else if (!timer_armed(&a->look) || due < a->look.due_ns)
		timer_arm(a->loop, &a->look, due);
}

/* ---- permits ---- */

static bool acquire(struct ticket *t, struct share *sh, bool queued)
{
	struct admit *a = t->a;
	struct shm_sem_wake w = {0};
	uint64_t now = loop_now(a->loop);
	uint32_t row = t->r ? request_row(t->r) : t->row;
	bool got = shm_sem_acquire(a->shm, sh->sem->index, a->slot, sh->weight, queued, row, now,
				   sh->permit, &sh->have, &w);

	wake(a, sh->sem, &w);
	if (!got)
		return false;
	sh->since_ns = now;
	shm_sem_count(a->shm, sh->sem->index, a->slot, SHM_SEM_ACQUIRED);
	return true;
}

static void give_back(struct ticket *t, struct share *sh)
{
	struct admit *a = t->a;
	struct shm_sem_wake w = {0};
	uint64_t now = loop_now(a->loop);

	if (sh->have == 0)
		return;
	if (sh->since_ns != 0) /* not of a part */
		sh->sem->held_ns += (now - sh->since_ns) / 8 - sh->sem->held_ns / 8;
	shm_sem_release(a->shm, sh->sem->index, a->slot, sh->permit, sh->have, now, &w);
	sh->have = 0;
	wake(a, sh->sem, &w);
}

/* ---- tickets ---- */

static struct ticket *ticket_get(struct admit *a)
{
	struct ticket *t = a->free;

	if (t)
		a->free = t->next;
	else
		t = malloc(sizeof(*t));
	return t;
}

static void ticket_free(struct ticket *t)
{
	for (uint32_t i = 0; i < t->n; i++)
		if (t->share[i].permit != &t->share[i].one)
			free(t->share[i].permit);
	t->next = t->a->free;
	t->a->free = t;
}

/* Who holds it has let go. */
static void settle(struct ticket *t)
{
	for (uint32_t i = 0; i < t->n; i++)
		if (!t->handler && (!t->exchange || t->share[i].sem->conf->hold_work))
			give_back(t, &t->share[i]);
	if (!t->handler && !t->exchange)
		ticket_free(t);
}

static void on_end(struct request_end *e)
{
	struct ticket *t = (struct ticket *)(void *)e;

	t->exchange = false;
	t->r = NULL;
	settle(t);
}

struct ticket *admit_hold(struct request *r)
{
	struct ticket *t = (struct ticket *)(void *)request_end_of(r);

	if (t)
		t->handler = true;
	return t;
}

void admit_handler_ended(struct ticket *t)
{
	if (!t)
		return;
	t->handler = false;
	settle(t);
}

void admit_abandoned(struct ticket *t)
{
	for (uint32_t i = 0; t && i < t->n; i++)
		if (t->share[i].have > 0)
			shm_sem_count(t->a->shm, t->share[i].sem->index, t->a->slot,
				      SHM_SEM_ABANDONED);
}

/* ---- refusals ---- */

static void unwatch(struct ticket *t)
{
	if (!t->r)
		return;
	request_on_gone(t->r, NULL, NULL);
	request_on_hangup(t->r, NULL);
}

/* It leaves the queue without having been handled: all that it was charged is given back. */
static void leave(struct ticket *t)
{
	struct admit *a = t->a;
	struct sem *q = t->share[t->at].sem;

	unwatch(t);
	take_out(q, t);
	for (uint32_t i = 0; i <= t->at; i++)
		give_back(t, &t->share[i]);
	announce(a, q);
	shm_rate_refund(a->shm, t->use, t->nuses);
}

static void refuse(struct admit *a, struct request *r, const struct sem *q, uint64_t ahead,
		   const char *why)
{
	const char *policies[] = {q->conf->name, NULL};
	uint32_t limit = shm_sem_limit(a->shm, q->index);
	char text[24], detail[160];
	uint64_t wait = 0;

	if (limit > 0)
		wait = (ahead + 1) * q->held_ns / limit / NS_PER_S + 1;
	snprintf(text, sizeof(text), "%llu", (unsigned long long)(wait > 0 ? wait : 1));
	snprintf(detail, sizeof(detail), "The semaphore \"%s\" is taken: %s.", q->conf->name, why);
	request_fields_clear(r);
	request_field(r, SLICE("Retry-After"), slice_of(text));
	request_problem_about(r, 503, detail, CAPACITY_TYPE, policies);
}

static uint64_t all_waiting(const struct admit *a, const struct sem *q, enum shm_class class,
			    uint32_t *ret_of_class)
{
	uint32_t n[SHM_CLASSES];
	uint64_t sum = 0;

	shm_sem_waiting(a->shm, q->index, n);
	for (int i = 0; i < SHM_CLASSES; i++)
		sum += n[i];
	*ret_of_class = n[class];
	return sum;
}

static bool is_full(const struct admit *a, const struct sem *q, enum shm_class class,
		    uint64_t *ret_ahead)
{
	uint32_t of_class;

	*ret_ahead = all_waiting(a, q, class, &of_class);
	return *ret_ahead >= q->conf->queue || of_class >= q->conf->class[class].queue;
}

/* It has waited in vain. */
static void turn_away(struct ticket *t, const char *why)
{
	struct request *r = t->r;
	struct sem *q = t->share[t->at].sem;
	struct admit *a = t->a;
	uint32_t of_class;
	uint64_t ahead = all_waiting(a, q, t->class, &of_class);

	leave(t);
	shm_sem_count(a->shm, q->index, a->slot, SHM_SEM_TIMED_OUT);
	if (r)
		refuse(a, r, q, ahead, why);
	else
		t->done(t, false, t->done_arg);
}

static void on_gone(struct request *r, void *arg)
{
	(void)r;
	leave(arg);
}

/* Whoever shuts its side while it waits has left, as far as anybody can tell: it never runs. */
static void tell_hangup(struct request *r)
{
	request_problem(r, 503, "The client closed its side while the request waited.");
}

static void on_hangup(struct request *r, void *arg)
{
	leave(arg);
	tell_hangup(r);
}

/* ---- through the semaphores ---- */

static void run(struct ticket *t)
{
	struct admit *a = t->a;

	a->next(a->serve, t->r, a->next_arg);
}

static void begin_wait(struct ticket *t, struct sem *q)
{
	struct admit *a = t->a;

	t->since_ns = loop_now(a->loop);
	t->due_ns = q->conf->queue_timeout_ms == 0 ? UINT64_MAX
		    : t->since_ns + q->conf->queue_timeout_ms * NS_PER_MS;
	put(q, t);
	shm_sem_count(a->shm, q->index, a->slot, SHM_SEM_QUEUED);
	announce(a, q);
	q->dirty = a->dirty = true; /* the look after the announcement: at the end of the turn */
	arm(a);
}

/* It does not even come into the queue. */
static void forgo(struct ticket *t)
{
	for (uint32_t i = 0; i < t->at; i++)
		give_back(t, &t->share[i]);
	shm_rate_refund(t->a->shm, t->use, t->nuses);
}

static void enqueue(struct ticket *t)
{
	struct share *sh = &t->share[t->at];
	struct sem *q = sh->sem;
	struct admit *a = t->a;
	struct request *r = t->r;
	uint64_t ahead;

	if (request_hung_up(r)) { /* the connection tells it once: it was an earlier request's */
		forgo(t);
		tell_hangup(r);
		return;
	}
	if (is_full(a, q, t->class, &ahead)) {
		shm_sem_count(a->shm, q->index, a->slot, SHM_SEM_REJECTED);
		forgo(t);
		refuse(a, r, q, ahead, "as many requests wait as may");
		return;
	}
	request_waits_as(r, SHM_ROW_QUEUED);
	request_on_gone(r, on_gone, t);
	request_on_hangup(r, on_hangup);
	begin_wait(t, q);
}

/* On from where it is. */
static void go_on(struct ticket *t)
{
	for (; t->at < t->n; t->at++) {
		struct share *sh = &t->share[t->at];

		if (sh->sem->waiting > 0 || !acquire(t, sh, false)) {
			enqueue(t);
			return;
		}
	}
	run(t);
}

static void go_on_with(void *arg)
{
	struct ticket *t = arg;

	request_waits_as(t->r, SHM_ROW_HANDLING);
	go_on(t);
}

static bool is_off(const struct admit *a, const struct sem *q)
{
	return shm_sem_limit(a->shm, q->index) == 0;
}

static bool want(struct ticket *t, struct sem *q, uint32_t weight)
{
	struct share *sh = &t->share[t->n];

	*sh = (struct share){.sem = q, .weight = weight, .permit = &sh->one};
	if (weight > 1) {
		sh->permit = malloc(weight * sizeof(sh->permit[0]));
		if (!sh->permit)
			return false;
	}
	t->n++;
	return true;
}

static enum shm_class class_of(const struct admit *a, struct request *r,
			       const struct conf_priority *p)
{
	static const char *const word[SHM_CLASSES] = {"high", "medium", "low"};
	const struct http_field *f;

	if (p->from == CONF_PRIORITY_FIXED)
		return (enum shm_class)p->class;
	if (p->from == CONF_PRIORITY_TRUSTED &&
	    !net_cidrs_match(&a->conf->forwarded_allow, request_peer(r)))
		return (enum shm_class)p->class;
	f = http_find_field(request_head(r), slice_of(p->header), NULL);
	for (int i = 0; f && i < SHM_CLASSES; i++)
		if (slice_eq_nocase(f->value, slice_of(word[i])))
			return (enum shm_class)i;
	return (enum shm_class)p->class;
}

/* Not cleared as a whole: most of it is for shares and limits that are not there. */
static struct ticket *ticket_for(struct admit *a, struct request *r, const struct rule *rule,
				 const struct shm_rate_use use[], uint32_t nuses)
{
	struct ticket *t = ticket_get(a);

	if (!t)
		return NULL;
	t->end.fn = on_end;
	t->a = a;
	t->r = r;
	t->class = class_of(a, r, &rule->conf->priority);
	t->exchange = true;
	t->handler = false;
	t->n = t->at = 0;
	t->nuses = nuses;
	memcpy(t->use, use, nuses * sizeof(use[0]));
	request_on_end(r, &t->end);
	return t;
}

void queue_enter(struct admit *a, struct request *r, const struct rule *rule,
		 const struct shm_rate_use use[], uint32_t nuses)
{
	const struct conf_policy_route *c = rule->conf;
	struct ticket *t = NULL;

	for (size_t i = 0; i < c->nsems; i++) {
		struct sem *q = &a->sem[c->sem[i].sem];

		if (is_off(a, q))
			continue;
		if (!t)
			t = ticket_for(a, r, rule, use, nuses);
		if (!t || !want(t, q, c->sem[i].weight)) {
			struct shm_rate_use back[SHM_RATE_USES];

			memcpy(back, use, nuses * sizeof(use[0]));
			shm_rate_refund(a->shm, back, nuses);
			request_problem(r, 503, "No memory for the request.");
			return;
		}
	}
	if (t)
		go_on(t);
	else
		a->next(a->serve, r, a->next_arg);
}

/* ---- whose turn it is ---- */

/* The head that a grant is for; else the one that came first. */
static struct ticket *head_of(const struct admit *a, const struct sem *q)
{
	enum shm_class class = shm_sem_granted(a->shm, q->index, a->slot);
	struct ticket *t = NULL;

	if (q->part)
		return q->part;
	if (class < SHM_CLASSES && q->queue[class].first)
		return q->queue[class].first;
	for (int i = 0; i < SHM_CLASSES; i++)
		if (q->queue[i].first && (!t || q->queue[i].first->since_ns < t->since_ns))
			t = q->queue[i].first;
	return t;
}

/* Begins what has its permits now. Returns how many. */
static uint32_t run_next(struct admit *a, struct sem *q)
{
	uint64_t now = loop_now(a->loop);
	uint32_t n = 0;

	q->dirty = false;
	while (q->waiting > 0 && n < RUNS_MAX) {
		struct ticket *t = head_of(a, q);
		struct share *sh = &t->share[t->at];
		uint32_t had = sh->have, limit = shm_sem_limit(a->shm, q->index);

		if (limit > 0 && sh->weight > limit) { /* it, and all behind, would stay */
			turn_away(t, "the request needs more permits than there are");
			continue;
		}
		if (!acquire(t, sh, true)) {
			q->part = sh->have > 0 ? t : NULL;
			if (sh->have != had)
				announce(a, q);
			break;
		}
		unwatch(t);
		take_out(q, t);
		announce(a, q);
		shm_sem_waited(a->shm, q->index, a->slot, (now - t->since_ns) / 1000);
		t->at++;
		n++;
		if (t->r)
			request_run(t->r, go_on_with, t);
		else
			t->done(t, true, t->done_arg);
	}
	if (n == RUNS_MAX)
		q->dirty = a->dirty = true;
	return n;
}

bool admit_end_turn(struct admit *a)
{
	bool ran = cache_end_turn(a->cache);

	for (int round = 0; a->dirty && round < 4; round++) {
		a->dirty = false;
		for (uint32_t i = 0; i < a->nsems; i++)
			if (a->sem[i].dirty && run_next(a, &a->sem[i]) > 0)
				ran = true;
	}
	return ran;
}

void admit_rest(struct admit *a)
{
	if (a->dirty || cache_is_dirty(a->cache))
		heritage_poke(a->h, a->slot);
}

void admit_poked(struct admit *a)
{
	cache_poked(a->cache);
	for (uint32_t i = 0; i < a->nsems; i++)
		if (a->sem[i].waiting > 0)
			a->sem[i].dirty = a->dirty = true;
}

static void on_look(struct loop *l, struct timer *timer)
{
	struct admit *a = (struct admit *)(void *)((char *)timer - offsetof(struct admit, look));
	uint64_t now = loop_now(l);

	for (uint32_t i = 0; i < a->nsems; i++)
		for (int k = 0; k < SHM_CLASSES; k++) {
			struct queue *q = &a->sem[i].queue[k];

			while (q->first && q->first->due_ns <= now)
				turn_away(q->first, "the request has waited for its queue_timeout");
		}
	admit_poked(a);
	arm(a);
}

/* ---- what a handler takes by itself ---- */

int admit_semaphore(const struct conf *c, const char *name)
{
	for (size_t i = 0; i < c->policy->nsems; i++)
		if (strcmp(c->policy->sem[i].name, name) == 0)
			return (int)i;
	return -1;
}

enum shm_class admit_class(struct admit *a, struct request *r)
{
	const struct rule *rule = (const void *)((const char *)request_rules(r) -
						 offsetof(struct rule, rules));

	return class_of(a, r, &rule->conf->priority);
}

struct ticket *admit_ticket(struct admit *a, uint32_t sem, uint32_t weight, enum shm_class class,
			    uint32_t row)
{
	struct ticket *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->a = a;
	t->class = class;
	t->row = row;
	if (want(t, &a->sem[sem], weight))
		return t;
	free(t);
	return NULL;
}

bool admit_try(struct ticket *t)
{
	struct share *sh = &t->share[0];
	struct shm_sem_wake w = {0};
	bool got = shm_sem_acquire(t->a->shm, sh->sem->index, t->a->slot, sh->weight, false, t->row,
				   clock_mono_ns(), sh->permit, &sh->have, &w);

	shm_sem_poke(t->a->h, &w, SHM_SEM_NONE); /* not the loop: it is woken like any other */
	if (got)
		shm_sem_count(t->a->shm, sh->sem->index, t->a->slot, SHM_SEM_ACQUIRED);
	return got;
}

int admit_wait(struct ticket *t, admit_done_f *done, void *arg)
{
	struct sem *q = t->share[0].sem;
	uint64_t ahead;

	if (is_full(t->a, q, t->class, &ahead)) {
		shm_sem_count(t->a->shm, q->index, t->a->slot, SHM_SEM_REJECTED);
		return -EAGAIN;
	}
	t->done = done;
	t->done_arg = arg;
	begin_wait(t, q);
	return 0;
}

void admit_cancel(struct ticket *t)
{
	leave(t);
}

void admit_give_back(struct ticket *t)
{
	struct share *sh = &t->share[0];
	struct shm_sem_wake w = {0};

	if (sh->have > 0)
		shm_sem_release(t->a->shm, sh->sem->index, t->a->slot, sh->permit, sh->have,
				clock_mono_ns(), &w);
	shm_sem_poke(t->a->h, &w, SHM_SEM_NONE);
	if (sh->permit != &sh->one)
		free(sh->permit);
	free(t);
}

void queue_init(struct admit *a)
{
	a->look.cb = on_look;
}

void queue_free(struct admit *a)
{
	timer_disarm(a->loop, &a->look);
	while (a->free) {
		struct ticket *t = a->free;

		a->free = t->next;
		free(t);
	}
}
