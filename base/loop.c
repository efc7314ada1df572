/* SPDX-License-Identifier: MIT */
/*
 * Readiness by epoll, timers by a 4-ary heap. The heap holds pointers to intrusive timers and has a
 * fixed capacity. A timer that is moved later (the common case: each request pushes the same
 * deadline ahead) only changes its `due_ns`; its key in the heap stays and is corrected when it
 * comes up. So a keep-alive connection costs one heap operation per timeout, not per request.
 */
#include "base/loop.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"

#define EVENTS_MAX 128
#define ARITY      4

struct node {
	uint64_t key_ns; /* <= timer->due_ns */
	struct timer *timer;
};

struct loop {
	int epfd;
	int nready;           /* events of this turn, and the one being served */
	int at;
	uint64_t now_ns;
	struct loop_stats stats;
	size_t cap, len;      /* of the heap; its elements are heap[1..len] */
	struct node *heap;
	struct epoll_event ready[EVENTS_MAX];
};

int loop_init(struct loop **ret_loop, size_t timers_max)
{
	struct loop *l = calloc(1, sizeof(*l));

	if (!l)
		return -1;
	l->cap = timers_max;
	l->heap = calloc(timers_max + 1, sizeof(l->heap[0]));
	l->epfd = l->heap ? epoll_create1(EPOLL_CLOEXEC) : -1;
	if (l->epfd < 0) {
		free(l->heap);
		free(l);
		return -1;
	}
	l->now_ns = clock_mono_ns();
	*ret_loop = l;
	return 0;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	close(l->epfd);
	free(l->heap);
	free(l);
}

void loop_abandon(struct loop *l)
{
	if (!l)
		return;
	close(l->epfd);
	l->epfd = -1;
}

int loop_fd(const struct loop *l)
{
	return l->epfd;
}

uint64_t loop_now(const struct loop *l)
{
	return l->now_ns;
}

uint64_t loop_clock(struct loop *l)
{
	l->now_ns = clock_mono_ns();
	return l->now_ns;
}

const struct loop_stats *loop_stats(const struct loop *l)
{
	return &l->stats;
}

/* ---- descriptors ---- */

static uint32_t to_epoll(unsigned events)
{
	uint32_t e = 0;

	if (events & LOOP_IN)
		e |= EPOLLIN;
	if (events & LOOP_OUT)
		e |= EPOLLOUT;
	if (events & LOOP_RDHUP)
		e |= EPOLLRDHUP;
	if (events & LOOP_EXCLUSIVE)
		e |= EPOLLEXCLUSIVE;
	if (events & LOOP_EDGE)
		e |= EPOLLET | EPOLLRDHUP;
	return e;
}

static unsigned from_epoll(uint32_t e)
{
	unsigned events = 0;

	if (e & EPOLLIN)
		events |= LOOP_IN;
	if (e & EPOLLOUT)
		events |= LOOP_OUT;
	if (e & EPOLLRDHUP)
		events |= LOOP_RDHUP;
	if (e & (EPOLLERR | EPOLLHUP))
		events |= LOOP_ERR;
	return events;
}

/* Takes events that were fetched but not yet served away from a watch that is going. */
static void drop_pending(struct loop *l, const struct watch *w)
{
	for (int i = l->at; i < l->nready; i++)
		if (l->ready[i].data.ptr == w)
			l->ready[i].data.ptr = NULL;
}

int loop_watch(struct loop *l, struct watch *w, unsigned events)
{
	struct epoll_event ev = {.events = to_epoll(events), .data.ptr = w};
	int op;

	if (w->events == events)
		return 0;
	if (w->events == 0)
		op = EPOLL_CTL_ADD;
	else if (events == 0)
		op = EPOLL_CTL_DEL;
	else
		op = EPOLL_CTL_MOD;
	if (epoll_ctl(l->epfd, op, w->fd, &ev) != 0)
		return -1;
	if (op == EPOLL_CTL_DEL)
		drop_pending(l, w);
	w->events = (uint8_t)events;
	return 0;
}

void loop_forget(struct loop *l, struct watch *w)
{
	drop_pending(l, w);
	w->events = 0;
}

/* ---- timers ---- */

static void heap_put(struct loop *l, uint32_t pos, struct node n)
{
	l->heap[pos] = n;
	n.timer->pos = pos;
}

static void heap_up(struct loop *l, uint32_t pos, struct node n)
{
	while (pos > 1) {
		uint32_t parent = (pos - 2) / ARITY + 1;

		if (l->heap[parent].key_ns <= n.key_ns)
			break;
		heap_put(l, pos, l->heap[parent]);
		pos = parent;
	}
	heap_put(l, pos, n);
}

static void heap_down(struct loop *l, uint32_t pos, struct node n)
{
	for (;;) {
		size_t first = (size_t)(pos - 1) * ARITY + 2, least = first;

		if (first > l->len)
			break;
		for (size_t i = first + 1; i < first + ARITY && i <= l->len; i++)
			if (l->heap[i].key_ns < l->heap[least].key_ns)
				least = i;
		if (l->heap[least].key_ns >= n.key_ns)
			break;
		heap_put(l, pos, l->heap[least]);
		pos = (uint32_t)least;
	}
	heap_put(l, pos, n);
}

/* Puts a node where it belongs, starting from `pos`. */
static void heap_settle(struct loop *l, uint32_t pos, struct node n)
{
	if (pos > 1 && l->heap[(pos - 2) / ARITY + 1].key_ns > n.key_ns)
		heap_up(l, pos, n);
	else
		heap_down(l, pos, n);
}

void timer_arm(struct loop *l, struct timer *t, uint64_t due_ns)
{
	struct node n = {.key_ns = due_ns, .timer = t};

	t->due_ns = due_ns;
	if (t->pos != 0) {
		if (due_ns < l->heap[t->pos].key_ns)
			heap_up(l, t->pos, n);
		return; /* later: corrected when it comes up */
	}
	CHECK(l->len < l->cap);
	l->len++;
	heap_up(l, (uint32_t)l->len, n);
}

void timer_disarm(struct loop *l, struct timer *t)
{
	uint32_t pos = t->pos;
	struct node last;

	if (pos == 0)
		return;
	t->pos = 0;
	last = l->heap[l->len--];
	if (last.timer != t)
		heap_settle(l, pos, last);
}

/* The timer that is due next, after correcting keys that lie too early. NULL: none is armed. */
static struct timer *next_timer(struct loop *l)
{
	while (l->len > 0 && l->heap[1].key_ns < l->heap[1].timer->due_ns) {
		struct node n = l->heap[1];

		n.key_ns = n.timer->due_ns;
		heap_down(l, 1, n);
	}
	return l->len > 0 ? l->heap[1].timer : NULL;
}

/* How long the wait may last, in ms rounded up. */
static int wait_ms(struct loop *l, int bound_ms)
{
	const struct timer *t = next_timer(l);

	if (t) {
		uint64_t key = t->due_ns;
		uint64_t left = key > l->now_ns ? key - l->now_ns : 0;
		uint64_t ms = (left + NS_PER_MS - 1) / NS_PER_MS;

		if (bound_ms < 0 || ms < (uint64_t)bound_ms)
			return ms > INT_MAX ? INT_MAX : (int)ms;
	}
	return bound_ms;
}

static int run_timers(struct loop *l)
{
	/* What a callback arms for "now" waits for the next turn: no callback can keep us here. */
	uint64_t now = l->now_ns;
	size_t budget = l->len;
	struct timer *t;
	int served = 0;

	while (budget-- > 0 && (t = next_timer(l)) && t->due_ns <= now) {
		timer_disarm(l, t);
		served++;
		t->cb(l, t);
	}
	return served;
}

/* ---- the turn ---- */

static void serve(struct loop *l, int i)
{
	struct watch *w = l->ready[i].data.ptr;

	l->ready[i].data.ptr = NULL;
	w->cb(l, w, from_epoll(l->ready[i].events));
}

int loop_run_once(struct loop *l, int bound_ms)
{
	int n, served = 0, timeout = wait_ms(l, bound_ms);
	uint64_t woke_ns;

	n = epoll_wait(l->epfd, l->ready, EVENTS_MAX, timeout);
	if (n < 0) {
		CHECK_SAY(errno == EINTR, "a descriptor of ours was closed by the app: the epoll");
		n = 0;
	}
	l->nready = n;
	l->at = 0;
	l->stats.turns++;
	woke_ns = loop_clock(l);

	for (int i = 0; i < n; i++) {
		struct watch *w = l->ready[i].data.ptr;

		if (w && w->first) {
			served++;
			serve(l, i);
		}
	}
	for (l->at = 0; l->at < n; l->at++) {
		if (l->ready[l->at].data.ptr) {
			served++;
			serve(l, l->at);
		}
	}
	l->nready = 0;
	served += run_timers(l);
	/* Not loop_now(): most of a turn is the write after its last reading. */
	l->stats.last_busy_ns = loop_clock(l) - woke_ns; /* also what the next wait starts from */
	return served;
}
