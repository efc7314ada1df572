/* SPDX-License-Identifier: MIT */
/*
 * Threads for handlers that block. They start when there is work and none is idle, up to
 * THREAD_POOL_SIZE, and then stay. Calls wait in a queue of at most TASK_QUEUE_SIZE.
 *
 * Waking a thread, and being woken by it, costs more than many a handler. So how it is done depends
 * on how long handlers took lately (handler_ns):
 *
 *   as a rule       each call has a thread woken for it at once, each end of a handler wakes the
 *                   loop
 *   brisk handlers  the loop wakes at the end of its turn as many threads as will be through with
 *                   the queue within BRISK_NS, and a thread that finds more in the queue tells of
 *                   what it has done when it is through with that, too
 *
 * A brisk handler may block all the same. While the loop lets threads keep quiet (`lazy`), it looks
 * after STALL_NS by itself: at what was not told, and whether calls have been taken meanwhile. If
 * not, handlers are taken for slow ones, and threads are woken for all that wait.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

#include "app/app_priv.h"
#include "base/clock.h"
#include "base/copy.h"
#include "base/log.h"
#include "shm/dump.h"

#define STOP_WAIT_MS 200 /* for idle threads to end; one that is in a handler is not waited for */
#define BRISK_NS     (NS_PER_MS / 10)
#define STALL_NS     NS_PER_MS
#define SLOW_NS      NS_PER_MS /* the average is not above this: some brisk calls bring it down */
#define QUIET_MAX    64u       /* ends of handlers that are told of at once */

/* Nothing to do: app_end_turn() comes after it. */
static void on_stall(struct loop *l, struct timer *t)
{
	(void)l;
	(void)t;
}

void pool_init(struct pool *p, const struct settings *s)
{
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->cond, NULL);
	pthread_cond_init(&p->gone, NULL);
	p->threads_max = (uint32_t)s->thread_pool_size;
	p->queue_max = (uint32_t)s->task_queue_size;
	p->handler_ns = SLOW_NS;
	p->stall.cb = on_stall;
}

/* ---- the queue; the lock is held ---- */

static void append(struct pool *p, struct capri_request *c)
{
	c->next = NULL;
	c->prev = p->last;
	if (p->last)
		p->last->next = c;
	else
		p->first = c;
	p->last = c;
	p->queued++;
}

static void take_out(struct pool *p, struct capri_request *c)
{
	if (c->prev)
		c->prev->next = c->next;
	else
		p->first = c->next;
	if (c->next)
		c->next->prev = c->prev;
	else
		p->last = c->prev;
	p->queued--;
}

/* ---- a thread ---- */

/* Returns when the handler was through; since_ns is when it is called. */
static uint64_t run(struct capri_request *c, uint64_t since_ns)
{
	uint64_t end_ns;

	atomic_store_explicit(&c->since_ns, since_ns, memory_order_relaxed);
	atomic_store_explicit(&c->tid, dump_tid(), memory_order_relaxed);
	dump_thread_row(c->row);
	c->result = c->route->handler(c, c->route->arg);
	copy_check(); /* of a process that it forked off, and did not end */
	dump_thread_row(UINT32_MAX);
	atomic_store_explicit(&c->tid, 0, memory_order_relaxed);
	atomic_store(&c->completed, true);
	end_ns = clock_mono_ns();
	bridge_put(c, POST_ENDED);
	return end_ns;
}

static void note_duration(struct pool *p, uint64_t ns)
{
	if (ns > 8 * SLOW_NS)
		ns = 8 * SLOW_NS;
	p->handler_ns += ns / 8 - p->handler_ns / 8;
	if (p->handler_ns > SLOW_NS)
		p->handler_ns = SLOW_NS;
}

static void wait_for_work(struct pool *p)
{
	p->idle++;
	pthread_cond_wait(&p->cond, &p->lock);
	p->idle--;
	if (p->woken > 0)
		p->woken--;
}

/* Takes and runs calls until there are none; the lock is held before and after. What has ended is
 * told of when no other call follows, or the loop does not look by itself, or it is getting late.
 */
static void run_all(struct app *a)
{
	struct pool *p = &a->pool;
	uint64_t now = clock_mono_ns(), quiet_ns = now;
	uint32_t untold = 0;
	bool tell;

	while (p->first && !p->quit) {
		struct capri_request *c = p->first;
		uint64_t since = now;

		take_out(p, c);
		p->taken++;
		atomic_store(&c->at, CALL_RUNNING);
		tell = untold > 0 &&
		       (!p->lazy || untold >= QUIET_MAX || now - quiet_ns >= BRISK_NS);
		pthread_mutex_unlock(&p->lock);
		if (tell) {
			bridge_ring(a);
			untold = 0;
		}
		if (untold++ == 0)
			quiet_ns = now;
		now = run(c, since);
		pthread_mutex_lock(&p->lock);
		note_duration(p, now - since);
	}
	if (untold > 0) {
		pthread_mutex_unlock(&p->lock);
		bridge_ring(a);
		pthread_mutex_lock(&p->lock);
	}
}

static void *thread_main(void *arg)
{
	struct app *a = arg;
	struct pool *p = &a->pool;

	(void)prctl(PR_SET_NAME, "capricorn-pool");
	(void)dump_thread_init(); /* without it a stack overflow is not told as one */
	pthread_mutex_lock(&p->lock);
	p->starting--;
	while (!p->quit) {
		if (p->first)
			run_all(a);
		else
			wait_for_work(p);
	}
	dump_thread_fini();
	p->threads--;
	pthread_cond_signal(&p->gone);
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* Signals are the loop's; only what is sent to this very thread, or is its own fault, comes
 * here. */
static bool start_thread(struct app *a)
{
	static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
	struct pool *p = &a->pool;
	sigset_t all, old;
	pthread_attr_t attr;
	pthread_t t;
	int rc;

	sigfillset(&all);
	sigdelset(&all, DUMP_SIGNAL);
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		sigdelset(&all, own[i]);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&t, &attr, thread_main, a);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (rc == 0) {
		p->starting++;
		p->threads++;
		return true;
	}
	errno = rc;
	log_warn("cannot start a thread of the pool, %u run", p->threads);
	return false;
}

/* ---- the loop's side ---- */

/* Sees to it that there are threads for what is queued. Returns how many are to be woken, which is
 * done without the lock. */
static uint32_t summon(struct app *a)
{
	struct pool *p = &a->pool;
	uint32_t coming = p->woken + p->starting, want = p->queued, wake = 0;

	if (p->handler_ns < BRISK_NS) {
		uint64_t enough = 1 + want * p->handler_ns / BRISK_NS;

		coming += p->threads - p->idle - p->starting; /* they will be through soon */
		if (enough < want)
			want = (uint32_t)enough;
	}
	for (; coming < want; coming++) {
		if (p->idle > p->woken) {
			p->woken++;
			wake++;
		} else if (p->threads == p->threads_max || !start_thread(a)) {
			break;
		}
	}
	return wake;
}

static void wake_up(struct pool *p, uint32_t n)
{
	while (n-- > 0)
		pthread_cond_signal(&p->cond);
}

bool pool_push(struct app *a, struct capri_request *c)
{
	struct pool *p = &a->pool;
	uint32_t wake = 0;
	bool ok;

	pthread_mutex_lock(&p->lock);
	if (!p->pushed) {
		p->taken_seen = p->taken;
		p->seen_ns = loop_now(a->loop);
	}
	/* What threads without a call can take at once does not count as waiting. */
	ok = p->queued < p->queue_max + p->idle + p->starting + p->threads_max - p->threads &&
	     (p->threads > 0 || start_thread(a));
	if (ok) {
		append(p, c);
		atomic_store(&c->at, CALL_QUEUED);
		if (p->handler_ns >= BRISK_NS)
			wake = summon(a);
	}
	pthread_mutex_unlock(&p->lock);
	wake_up(p, wake);
	p->pushed = true;
	bridge_awake(a);
	return ok;
}

void pool_end_turn(struct app *a)
{
	struct pool *p = &a->pool;
	uint64_t now = loop_now(a->loop);
	uint32_t wake = 0;

	if (!p->pushed)
		return;
	pthread_mutex_lock(&p->lock);
	if (p->queued == 0 || p->taken != p->taken_seen) {
		p->taken_seen = p->taken;
		p->seen_ns = now;
	} else if (now - p->seen_ns >= STALL_NS && p->woken + p->starting == 0) {
		p->handler_ns = SLOW_NS;
	}
	if (p->queued > 0)
		wake = summon(a);
	p->pushed = p->queued > 0;
	p->lazy = p->pushed && p->handler_ns < BRISK_NS;
	pthread_mutex_unlock(&p->lock);
	wake_up(p, wake);
	if (p->lazy)
		timer_arm(a->loop, &p->stall, now + STALL_NS);
}

bool pool_remove(struct pool *p, struct capri_request *c)
{
	bool waits;

	pthread_mutex_lock(&p->lock);
	waits = atomic_load(&c->at) == CALL_QUEUED;
	if (waits)
		take_out(p, c);
	pthread_mutex_unlock(&p->lock);
	return waits;
}

bool pool_stop(struct pool *p)
{
	struct timespec until;
	bool ended;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += STOP_WAIT_MS * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	pthread_mutex_lock(&p->lock);
	p->quit = true;
	pthread_cond_broadcast(&p->cond);
	while (p->threads > 0 && pthread_cond_timedwait(&p->gone, &p->lock, &until) == 0)
		;
	ended = p->threads == 0;
	pthread_mutex_unlock(&p->lock);
	return ended;
}
