/* SPDX-License-Identifier: MIT */
/*
 * Threads for handlers that block. They start when there is work and none is idle, up to
 * THREAD_POOL_SIZE, and then stay. Calls wait in a queue of at most TASK_QUEUE_SIZE.
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

void pool_init(struct pool *p, const struct settings *s)
{
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->cond, NULL);
	pthread_cond_init(&p->gone, NULL);
	p->threads_max = (uint32_t)s->thread_pool_size;
	p->queue_max = (uint32_t)s->task_queue_size;
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

static void run(struct capri_request *c)
{
	atomic_store_explicit(&c->since_ns, clock_mono_ns(), memory_order_relaxed);
	atomic_store_explicit(&c->tid, dump_tid(), memory_order_relaxed);
	dump_thread_row(c->row);
	c->result = c->route->handler(c, c->route->arg);
	copy_check(); /* of a process that it forked off, and did not end */
	dump_thread_row(UINT32_MAX);
	atomic_store_explicit(&c->tid, 0, memory_order_relaxed);
	atomic_store(&c->completed, true);
	bridge_post(c, POST_ENDED);
}

static void *thread_main(void *arg)
{
	struct pool *p = arg;
	struct capri_request *c;

	(void)prctl(PR_SET_NAME, "capricorn-pool");
	(void)dump_thread_init(); /* without it a stack overflow is not told as one */
	pthread_mutex_lock(&p->lock);
	p->starting--;
	while (!p->quit) {
		c = p->first;
		if (!c) {
			p->idle++;
			pthread_cond_wait(&p->cond, &p->lock);
			p->idle--;
			if (p->woken > 0)
				p->woken--;
			continue;
		}
		take_out(p, c);
		atomic_store(&c->at, CALL_RUNNING);
		pthread_mutex_unlock(&p->lock);
		run(c);
		pthread_mutex_lock(&p->lock);
	}
	dump_thread_fini();
	p->threads--;
	pthread_cond_signal(&p->gone);
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* Signals are the loop's; only what is sent to this very thread, or is its own fault, comes
 * here. */
static bool start_thread(struct pool *p)
{
	static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
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
	rc = pthread_create(&t, &attr, thread_main, p);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (rc == 0) {
		p->starting++;
		p->threads++;
		return true;
	}
	errno = rc;
	log_warn("cannot start a thread of the pool, %u run", p->threads);
	return p->threads > 0;
}

/* ---- the loop's side ---- */

bool pool_push(struct app *a, struct capri_request *c)
{
	struct pool *p = &a->pool;
	bool ok = true, wake = false;

	pthread_mutex_lock(&p->lock);
	if (p->idle > p->woken) {
		p->woken++;
		wake = true;
	} else if (p->threads < p->threads_max) {
		ok = start_thread(p);
	}
	/* Those who are on their way to take one do not count as waiting. */
	if (ok && p->queued < p->queue_max + p->woken + p->starting)
		append(p, c);
	else
		ok = false;
	if (ok)
		atomic_store(&c->at, CALL_QUEUED);
	pthread_mutex_unlock(&p->lock);
	if (wake)
		pthread_cond_signal(&p->cond);
	return ok;
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
