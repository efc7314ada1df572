/* SPDX-License-Identifier: MIT */
/*
 * What a request passes before its handler: who may ask, rate limits, semaphores, as the sections
 * routes and defaults of the configuration say; between the two the cache. One per worker; all
 * calls from its loop, except where said.
 */
#ifndef ADMIT_ADMIT_H
#define ADMIT_ADMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"
#include "cache/cache.h"
#include "serve/serve.h"
#include "shm/heritage.h"
#include "shm/sem.h"

struct admit;
struct ticket;

#define ADMIT_TIMERS (1u + CACHE_TIMERS)

/*
 * Compiles the routes and finds the semaphores and limits that the master has entered. `next` is
 * called with each request that is admitted. 0, or -1 after logging why.
 */
int admit_new(const struct heritage *h, struct loop *l, serve_handler_f *next, void *next_arg,
	      struct admit **ret_admit);
void admit_free(struct admit *a); /* after the server; NULL is borne */

/* The handler of a worker (serve_handler_f); arg is the struct admit. The built-in API under
 * STATUS_PREFIX comes first and is outside of every limit. */
void admit_handle(struct serve *s, struct request *r, void *arg);

/* The cache of this worker; it lives as long as `a`. */
struct cache *admit_cache(struct admit *a);

/* This process was poked: perhaps something was granted to it. */
void admit_poked(struct admit *a);
/* At the end of each turn: whose turn has come is handled. Did anything run? */
bool admit_end_turn(struct admit *a);
/* After all that the turn has ended with: if there is more to do by now, the next turn comes at
 * once. */
void admit_rest(struct admit *a);

/*
 * A request that holds permits has a ticket. It keeps them until its answer has been handed over,
 * and its handler has ended: who calls one holds the ticket while it lasts. Semaphores with "hold:
 * work" are left when the handler has ended.
 */
struct ticket *admit_hold(struct request *r);   /* NULL: it holds nothing */
void admit_handler_ended(struct ticket *t);     /* NULL is borne */
/* The exchange is over, and the handler goes on: counted. NULL is borne. */
void admit_abandoned(struct ticket *t);

/* ---- permits that a handler takes by itself ---- */

/* Number of a semaphore in the configuration; -1 = there is none of that name. */
int admit_semaphore(const struct conf *c, const char *name);
/* The class of a request, for what its handler takes. */
enum shm_class admit_class(struct admit *a, struct request *r);

/* [any thread] A ticket for `weight` permits of one semaphore; NULL: no memory. `row` shows who it
 * is. */
struct ticket *admit_ticket(struct admit *a, uint32_t sem, uint32_t weight, enum shm_class class,
			    uint32_t row);
/* [any thread] Takes them if they are free and nobody waits. */
bool admit_try(struct ticket *t);
/* Waits for them; `done` is called once, at the end of a turn, unless the wait is cancelled. 0, or
 * -EAGAIN: the queue is full. */
typedef void admit_done_f(struct ticket *t, bool got, void *arg);
int admit_wait(struct ticket *t, admit_done_f *done, void *arg);
void admit_cancel(struct ticket *t);
/* [any thread] Gives back what it has, and the ticket. It must not wait. */
void admit_give_back(struct ticket *t);

#endif
