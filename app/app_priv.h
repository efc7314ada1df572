/* SPDX-License-Identifier: MIT */
/*
 * Inside of app/. Three objects:
 *
 *   struct app            one per worker (struct capri_worker of the interface is its first member)
 *   struct route          one per route of the module
 *   struct capri_request  one per call of a handler ("the call"): a request as its handler sees it
 *
 * A call and its exchange (struct request, serve/) are two objects, since either may end first. For
 * an inline handler the call looks into the exchange. Before a pool or async handler runs, the call
 * is detached: it gets a copy of the head, and from then on the thread that owns it never touches
 * the exchange, nor the loop the copy. What a thread wants of the loop it posts (bridge.c).
 */
#ifndef APP_APP_PRIV_H
#define APP_APP_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "admit/admit.h"
#include "app/app.h"
#include "app/spool.h"
#include "base/strbuf.h"
#include "http/router.h"
#include "include/capricorn.h"
#include "shm/cache.h"
#include "shm/shm.h"

#define CALL_ARENA   4096u              /* bytes at hand in each call */
#define CALL_MEM_MAX (16u << 20)        /* of capri_alloc() in all */
#define CALL_FIELDS  REQUEST_FIELDS_MAX
#define CALLS_RESTING 64u               /* ended calls whose memory is not used again yet */
#define FLOW_HIGH    (256u * 1024u)     /* bytes of a stream that may wait for the client */
#define FLOW_LOW     (64u * 1024u)      /* below this a producer is told to go on */
#define BODY_HIGH    (64u * 1024u)      /* bytes of a body that may wait for a pool handler */
#define LATE_NS      (5 * NS_PER_S)     /* a call still running so long after its deadline: stuck */
#define LOOK_NS      (250 * NS_PER_MS)  /* how often running calls are looked at */
#define HELD_NS      (100 * NS_PER_MS)  /* an inline handler that takes longer is told */
#define MODULE_TIMERS 1024u

struct route {
	struct route *next;
	const char *name;                /* label; both texts are its own */
	const char *pattern;
	capri_handler_f *handler;
	void *arg;
	enum capri_kind kind;
	enum capri_body_mode body;
	uint64_t timeout_ns;             /* 0: the setting's */
	uint64_t body_max;
	uint32_t label;                  /* its number in the segment */
	_Atomic uint32_t twice;          /* second completions, not counted yet */
};

/* Bytes between a thread and the loop, in either direction. Guarded by the call's lock. */
struct flow {
	char *p;
	size_t start, end, cap;
	bool ended;                      /* the producer adds no more */
	bool lost;                       /* there was no memory for all of it */
	bool waiting;                    /* the producer wants to hear of room */
};

/* Memory of a call beyond its arena. */
struct block {
	struct block *next;
	_Alignas(16) char data[];
};

enum answer_way { WAY_COPY, WAY_REF, WAY_FILE, WAY_FILL, WAY_PROBLEM };

/* An answer that is given in one thread and carried out in the loop. */
struct answer {
	enum answer_way way;
	int status;
	const char *type;
	const char *body;                /* COPY, REF; the detail of a PROBLEM */
	size_t len;
	int64_t total;                   /* FILL, or of a stream */
	int fd;                          /* FILE */
	uint64_t offset;
	capri_fill_f *fill;
	void (*release)(void *arg);
	void *release_arg;
};

/* Where a detached call is. Written by whoever moves it on; read by the loop. */
enum call_at { CALL_IN_LOOP, CALL_QUEUED, CALL_RUNNING, CALL_PENDING, CALL_ENDED };

enum post { POST_ENDED = 1, POST_MORE = 2, POST_RESUME = 4, POST_DEADLINE = 8, POST_ANSWER = 16,
	    POST_BODY = 32, POST_WRITABLE = 64, POST_HANGUP = 128 };

struct capri_request {
	struct app *app;
	struct request *r;               /* loop only; NULL once the exchange is over */
	const struct http_request *head; /* the exchange's, or the own copy */
	const struct route *route;
	uint32_t label;                  /* of the configuration's route, or the handler's */
	struct slice path, id;
	uint32_t holds;                  /* loop only: freed when nobody holds it any more */
	uint32_t skip;                   /* handlers that have declined */
	bool has_birth;                  /* cache.c: what has been invalidated before it */
	uint64_t birth;
	_Atomic(struct compute *) compute; /* compute.c; NULL: it has never asked */
	struct ticket *ticket;           /* what its request holds while it goes on; or NULL */
	enum shm_class class;            /* for what it takes by itself */
	struct share *shares;            /* limit.c */
	bool detached, collected, collecting, spool_used;
	bool resting;                    /* completed, and not used again yet */

	/* of a detached call */
	_Atomic int at;                  /* enum call_at */
	_Atomic bool cancelled;          /* the handler should end */
	_Atomic bool over;               /* the exchange is over: nothing can be sent */
	_Atomic bool answered;           /* an answer was given, or a stream begun */
	_Atomic bool completed;          /* the handler has no further part in it */
	_Atomic uint64_t since_ns;       /* when its handler was called */
	_Atomic int32_t tid;             /* thread that works at it; 0 = none is known */
	_Atomic uint64_t body_bytes;
	bool streaming, stream_begun, stream_ok, sse, reported_slow, reported_stuck, abandoned;
	bool given_up;                   /* stuck, and its thread has been looked at */
	int result;                      /* of a pool handler */
	uint32_t row;                    /* UINT32_MAX = none */
	bool row_kept;                   /* it is the call's own, after the exchange */
	uint64_t deadline_ns;            /* as the loop knows it */
	uint64_t abandoned_ns;
	_Atomic uint64_t new_deadline_ns;
	struct answer answer;
	struct flow in, out;
	size_t body_at;                  /* capri_body_read() of a body that was collected */
	bool body_paused;                /* the pool has enough for now */
	bool body_held, body_told;       /* body_deliver(): it wants no more; it has had all */
	uint64_t stream_sent;            /* by the owner */
	uint64_t stream_taken;           /* by the loop */
	capri_body_f *body_fn;
	void *body_arg;
	capri_cancel_f *cancel_fn;
	void *cancel_arg;
	capri_writable_f *writable_fn;
	void *writable_arg;
	pthread_mutex_t lock;            /* flows; made once per object */
	pthread_cond_t cond;

	/* links */
	struct capri_request *next;      /* free list, queue of the pool */
	struct capri_request *prev;      /* queue of the pool */
	struct capri_request *older, *newer; /* all detached calls, oldest first */
	struct capri_request *posted_next;
	unsigned posts;                  /* guarded by the bridge's lock */

	struct spool body;
	void *body_map;                  /* of a body in a file */
	struct net_addr client, peer;
	char client_text[NET_TEXT_MAX], peer_text[NET_TEXT_MAX];
	char *fields;                    /* lines for the head of the answer */
	uint32_t fields_len, fields_cap;
	struct block *blocks;
	size_t mem_used;
	uint32_t arena_used;
	struct http_request copy;
	struct http_match match;
	_Alignas(16) char arena[CALL_ARENA];
};

struct call_list {
	struct capri_request *first, *last;
	uint32_t n;
};

/* What other threads want of the loop. */
struct post_fn {
	struct post_fn *next;
	void (*fn)(struct capri_worker *w, void *arg);
	void *arg;
};
struct bridge {
	pthread_mutex_t lock;
	struct capri_request *first, *last;
	struct post_fn *fn_first, *fn_last;
	_Atomic bool posted;             /* something lies here that the loop has not looked at */
	_Atomic bool rung;               /* the loop will look: it need not be woken */
	struct watch watch;              /* eventfd, edge-triggered: never read */
};

struct pool {
	pthread_mutex_t lock;
	pthread_cond_t cond, gone;
	struct capri_request *first, *last;
	uint32_t queued, queue_max;
	uint32_t threads, threads_max, idle;
	uint32_t woken;                  /* of the idle ones, not up yet */
	uint32_t starting;               /* threads that have not looked at the queue yet */
	uint32_t taken;                  /* calls that threads have taken, modulo 2^32 */
	uint64_t handler_ns;             /* how long handlers take, on average of the last ones */
	bool lazy;                       /* threads may keep quiet: the loop looks by itself */
	bool quit;

	/* the loop's own */
	bool pushed;                     /* the queue is to be looked at when the turn ends */
	uint32_t taken_seen;
	uint64_t seen_ns;                /* when `taken` had moved on */
	struct timer stall;
};

struct capri_worker {
	void *data;                      /* the module's */
};
struct capri_semaphore {
	struct app *app;
	uint32_t index;                  /* in the configuration */
};
struct capri_ratelimit {
	struct app *app;
	uint32_t index;                  /* in the segment */
	bool keyed;
};

struct app {
	struct capri_worker w;           /* first: what the interface hands out */
	const struct heritage *h;
	const struct conf *conf;
	struct loop *loop;
	struct serve *serve;
	struct admit *admit;
	struct shm_slot *slot;
	struct capri_semaphore semaphore[CONF_SEMAPHORES_MAX];
	struct capri_ratelimit rate[CONF_RATES_MAX];
	struct capri_app module;
	void *dl;
	bool starting, started;
	pthread_t loop_thread;

	struct http_router *router;
	struct route *routes;
	const struct route *catch_all;   /* the pattern "*": whatever no other route is for */
	struct capri_request *free;
	struct call_list resting;        /* ended calls that were detached, oldest first */
	struct capri_request *oldest, *newest; /* detached calls */
	uint32_t ndetached, nstuck, nabandoned;
	struct timer look;
	uint32_t ntimers;
	uint64_t ran_ns;                 /* when user code was done last */
	_Atomic bool twice;              /* some route has second completions to count */
	struct bridge bridge;
	struct pool pool;
	bool draining;
	void (*idle)(void *arg);
	void *idle_arg;
};

struct capri_timer {
	struct timer timer;              /* first */
	struct app *app;
	capri_timer_f *fn;
	void *arg;
};

extern const struct capri_app app_api;
extern const struct capri_app app_echo;
extern const struct capri_app app_hello;

static inline bool app_in_loop(const struct app *a)
{
	return pthread_equal(pthread_self(), a->loop_thread);
}

/* May its owner act on the exchange directly? In the loop, and within an event of the exchange: a
 * module's call must not run other handlers, or its own call-backs, before it returns. Otherwise it
 * is posted, like that of another thread. */
static inline bool call_is_here(const struct capri_request *c)
{
	return c->route->kind != CAPRI_POOL && app_in_loop(c->app) && c->r &&
	       request_in_event(c->r);
}

static inline struct capri_str to_str(struct slice s)
{
	return (struct capri_str){s.p, s.len};
}

/* ---- load.c ---- */
/* Fills a->module. 0, or -1 after logging. */
int app_load(struct app *a);

/* ---- route.c ---- */
int app_route_add(struct app *a, const struct capri_route *given); /* 0 or -1 after logging */
const struct route *app_route_find(const struct app *a, const struct http_request *head,
				   struct slice path, uint32_t skip, struct http_match *m);
/* Label for a request that the path has a route for, but not its method. */
uint32_t app_route_label(const struct app *a, struct slice path);
void app_routes_free(struct app *a);

/* ---- call.c: the life of a call ---- */
struct capri_request *call_get(struct app *a); /* NULL: no memory */
void call_release(struct capri_request *c);    /* gives one hold back */
void call_let_go(struct capri_request *c);     /* of what its request holds */
bool call_detach(struct capri_request *c);     /* copies what the exchange holds; false: no room */
void *call_alloc(struct capri_request *c, size_t size);
/* Would call_alloc() need nothing of the heap? */
bool call_has_room(const struct capri_request *c, size_t size);
/* The handler of a detached call has no further part in it. */
void call_ended(struct capri_request *c);
void call_gone(struct request *r, void *arg);  /* request_gone_f: the exchange is over */
void call_hangup(struct request *r, void *arg);
void call_watch(struct capri_request *c);      /* has both called */
void call_unwatch(struct capri_request *c);    /* the exchange goes on without the call */
void call_cancel(struct capri_request *c);     /* tells the handler, once */

void call_set_deadline(struct capri_request *c, uint64_t due_ns); /* loop */

/* A pool thread has fn called in the loop and sleeps until somebody there has called call_wake()
 * with what it then returns, 0 or negative or a result of its own; or CAPRI_E_NOMEM. */
#define CALL_WAITS (-1000)
int call_sleep(struct capri_request *c, _Atomic int *result,
	       void (*fn)(struct capri_worker *w, void *arg), void *arg);
void call_wake(struct capri_request *c, _Atomic int *result, int value);

/* ---- dispatch.c ---- */
/* Calls the handler, or the next one if it declines. */
void dispatch_run(struct capri_request *c);
/* What a handler has returned. */
void dispatch_result(struct capri_request *c, int result);

/* Counts an error by the call's route; in the loop. */
void app_error(const struct capri_request *c, enum shm_error type);

/* ---- answer.c ---- */
/* A finished text; the buffer is empty afterwards. */
int app_respond_strbuf(struct capri_request *c, int status, const char *type, struct strbuf *sb);
/* Carries an answer out; in the loop. */
void answer_perform(struct capri_request *c, const struct answer *a);
/* Takes an answer over from the owner. 0 or negative. */
int answer_give(struct capri_request *c, const struct answer *a);
/* No Content-Type, or one that can stand in a head? */
bool answer_type_ok(const char *type);
/* The first answer, and from a thread that may give it? */
bool answer_may_begin(struct capri_request *c, int *ret_err);

/* ---- stream.c ---- */
/* There is room again; calls on_writable(). */
void stream_writable(struct capri_request *c);
void stream_more(struct capri_request *c);     /* the loop looks at the flow */
void stream_break(struct capri_request *c);    /* it ends without being whole */
void stream_cut(struct capri_request *c);      /* wakes who waits; nothing will be taken any more */
void stream_fini(struct capri_request *c);
/* A body that comes as a stream: begins to take it. */
void body_stream_begin(struct capri_request *c);
/* What has come of it, and nobody has read. false: nothing. Valid until the next of these. */
bool body_stream_taken(struct capri_request *c, struct slice *ret_data, bool *ret_end);
void body_resume_perform(struct capri_request *c);
void body_deliver(struct capri_request *c);

/* ---- pool.c ---- */
void pool_init(struct pool *p, const struct settings *s);
/* Puts a call into the queue. false: it is full. */
bool pool_push(struct app *a, struct capri_request *c);
void pool_end_turn(struct app *a); /* wakes threads for what was pushed; see pool.c */
bool pool_remove(struct pool *p, struct capri_request *c); /* false: a thread has it already */
bool pool_stop(struct pool *p);                            /* false: some thread does not end */

/* ---- bridge.c ---- */
int bridge_open(struct app *a);                            /* 0 or -errno */
void bridge_close(struct app *a);
void bridge_post(struct capri_request *c, unsigned what);  /* any thread: puts and rings */
void bridge_put(struct capri_request *c, unsigned what);
void bridge_ring(struct app *a);
void bridge_awake(struct app *a); /* the loop: this turn will look, none need ring */
bool bridge_has(struct capri_request *c);                  /* was it posted, and not taken yet? */

/* ---- limit.c: what a call has of semaphores ---- */
void limit_cancel(struct capri_request *c); /* if it waits for some, it shall not */
void limit_end(struct capri_request *c);    /* all is given back */

/* ---- cache.c, compute.c: values in the cache ---- */

#define VALUE_PREFIX "@module/"          /* no Host begins like that, so no key of an answer */
struct value_key {
	struct slice text;
	uint64_t hash;
	char room[SHM_CACHE_KEY_MAX];
};
bool value_key_make(const struct capri_request *c, struct capri_str s, struct value_key *ret);
struct capri_str value_get(struct capri_request *c, struct slice key, uint64_t hash);
/* What it computes from the first one on is from before whatever is invalidated later. */
void value_begin(struct capri_request *c);

/* Is it told to compute this one, and since which birth? Then compute_put() follows: it was put, or
 * is not to be kept, and others need not wait for it any more. */
bool compute_is_of(struct capri_request *c, uint64_t hash, uint64_t *ret_birth);
void compute_put(struct capri_request *c, bool kept);
void compute_cancel(struct capri_request *c); /* if it waits for one, it shall not */
void compute_end(struct capri_request *c);    /* it waits for nothing, and nobody for it */

/* ---- look.c: calls that take long ---- */
void look_begin(struct app *a, struct capri_request *c);
void look_end(struct app *a, struct capri_request *c);
/* User code has run in the loop: did it hold it? rt may be NULL. */
void look_held(struct app *a, const struct route *rt, const char *what);
void look_init(struct app *a);
void look_abandoned(struct app *a, struct capri_request *c); /* its exchange is over */

#endif
