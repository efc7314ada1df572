/* SPDX-License-Identifier: MIT */
/* Inside of admit/: compiled routes, tickets, and the queues of one process. */
#ifndef ADMIT_ADMIT_PRIV_H
#define ADMIT_ADMIT_PRIV_H

#include "admit/admit.h"
#include "base/clock.h"
#include "conf/conf.h"
#include "http/router.h"
#include "shm/rate.h"
#include "shm/sem.h"

#define TICKET_SEMS (CONF_ROUTE_SEMAPHORES_MAX + 1)

/* A limit as a request meets it: where it is in the segment, and what it is about. */
struct limit {
	uint32_t index;
	const struct conf_rate *conf;
};

/* A route of the configuration, or its defaults. */
struct rule {
	struct request_rules rules;
	const struct conf_policy_route *conf;
	const struct cache_rule *cache;  /* NULL: its answers are not kept */
	uint32_t nlimits;
	struct limit limit[SHM_RATE_USES];
};

/* rate_limits with paths: which limit holds on which path. */
struct path_table {
	struct path_table *next;
	const char *policy;
	struct http_router *router;      /* its targets are struct limit */
};

/* What holds for a request. */
struct match {
	const struct rule *rule;
	uint32_t nlimits;
	const struct limit *limit[SHM_RATE_USES];
};

/* What a ticket has, or wants, of one semaphore. */
struct share {
	struct sem *sem;
	uint32_t weight, have;
	uint32_t one;
	uint32_t *permit;                /* &one, or from the heap if the weight is above one */
	uint64_t since_ns;               /* when it was acquired */
};

struct ticket {
	struct request_end end;          /* first */
	struct admit *a;
	struct ticket *next, *prev;      /* queue, or free list */
	struct request *r;               /* NULL once the exchange is over */
	enum shm_class class;
	bool exchange, handler;          /* who holds it */
	uint32_t n, at;                  /* semaphores; acquired: share[at] is waited for */
	struct share share[TICKET_SEMS];
	uint64_t since_ns, due_ns;       /* in the queue */
	admit_done_f *done;              /* of a handler's own ticket: r is NULL */
	void *done_arg;
	uint32_t row;
	uint32_t nuses;                  /* limits that were charged */
	struct shm_rate_use use[SHM_RATE_USES];
};

struct queue {
	struct ticket *first, *last;
	uint32_t n, permits;             /* that they want in all */
};

/* A semaphore as one process sees it. */
struct sem {
	uint32_t index;                  /* in the segment */
	const struct conf_semaphore *conf;
	struct queue queue[SHM_CLASSES];
	struct ticket *part;             /* the head that has some of its permits */
	uint32_t waiting;
	bool dirty;                      /* to be looked at when the turn ends */
	uint64_t held_ns;                /* how long permits are held, on average of the last */
};

struct admit {
	const struct heritage *h;
	const struct conf *conf;
	struct loop *loop;
	struct serve *serve;
	serve_handler_f *next;
	void *next_arg;
	struct shm *shm;
	uint32_t slot;
	struct cache *cache;

	struct http_router *router;
	uint32_t nrules;
	struct rule *rules;
	struct rule defaults;
	struct path_table *tables;
	struct limit *table_limits;

	uint32_t nsems;
	struct sem sem[CONF_SEMAPHORES_MAX];
	bool dirty;
	struct timer look;
	struct ticket *free;
};

/* ---- policy.c ---- */
int policy_compile(struct admit *a); /* 0, or -1 after logging */
void policy_free(struct admit *a);
/* The rule of a request, and the limits that hold for it. Allocates nothing. */
void policy_find(const struct admit *a, struct request *r, struct match *ret);

/* ---- rate.c ---- */
/* Charges the request by all limits. false: it was refused, and answered. *ret_n: what was charged.
 */
bool rate_pass(struct admit *a, struct request *r, const struct match *m,
	       struct shm_rate_use use[], uint32_t *ret_n);

/* ---- queue.c ---- */
void queue_init(struct admit *a);
/* Acquires, waits, or refuses; then calls the handler. */
void queue_enter(struct admit *a, struct request *r, const struct rule *rule,
		 const struct shm_rate_use use[], uint32_t nuses);
void queue_free(struct admit *a);

#endif
