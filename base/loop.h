/* SPDX-License-Identifier: MIT */
/*
 * The event loop: readiness of descriptors (epoll, level-triggered unless asked for otherwise) and
 * timers, nothing else. One descriptor; no allocation after loop_init(). Single-threaded.
 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;
struct watch;
struct timer;

#define LOOP_IN        1u /* readable */
#define LOOP_OUT       2u /* writable */
#define LOOP_RDHUP     4u /* the peer has shut down its sending side */
#define LOOP_ERR       8u /* error or hang-up; reported whether asked for or not */
#define LOOP_EXCLUSIVE 16u /* of several loops on one descriptor wake one (listeners) */
/* With LOOP_IN: told once, when something arrives, LOOP_RDHUP among it; not while it lies there.
 * Only for who has read all there is, or never reads it (an eventfd). Saves the kernel a second
 * look at each descriptor per event, and events come in the order of arrival: level-triggered ones
 * in that of the turn before. */
#define LOOP_EDGE      32u

typedef void watch_cb_f(struct loop *l, struct watch *w, unsigned events);
typedef void timer_cb_f(struct loop *l, struct timer *t);

/* Lies inside the object that it reports on (container_of). Zero it before the first use. */
struct watch {
	int fd;
	uint8_t events;   /* what is asked for now; 0 = not in the epoll */
	uint8_t first;    /* served before all others of its turn (listeners) */
	watch_cb_f *cb;
};

/* Lies inside its object. `pos` is 0 while it is not armed. Zero it before the first use. */
struct timer {
	uint64_t due_ns;  /* when it shall fire */
	uint32_t pos;     /* place in the heap, from 1 */
	timer_cb_f *cb;
};

struct loop_stats {
	uint64_t turns;
	uint64_t last_busy_ns; /* of the last turn: time outside of the wait */
};

/* timers_max: how many timers can be armed at once. 0, or -1 with errno. */
int loop_init(struct loop **ret_loop, size_t timers_max);
void loop_free(struct loop *l);
/* In a forked copy of the process: closes the descriptor; it must not be turned any more. */
void loop_abandon(struct loop *l);
/* The loop's own descriptor: to see that it still is one. */
int loop_fd(const struct loop *l);

/* Monotonic time of this turn, read once when the wait returned (or by loop_clock()). */
uint64_t loop_now(const struct loop *l);
/* Reads the clock now; loop_now() moves on to it. */
uint64_t loop_clock(struct loop *l);

/* Sets what is watched (0 = nothing; the descriptor may then be closed). 0, or -1 with errno. */
int loop_watch(struct loop *l, struct watch *w, unsigned events);
/* For a descriptor that is about to be closed: forgets the watch without a system call; events of
 * this turn that are still to be delivered to it are dropped. */
void loop_forget(struct loop *l, struct watch *w);

/* Arms or moves. Moving a timer to a later time only notes the time: no work until it fires. */
void timer_arm(struct loop *l, struct timer *t, uint64_t due_ns);
void timer_disarm(struct loop *l, struct timer *t);
static inline bool timer_armed(const struct timer *t) { return t->pos != 0; }

/* Waits for at most bound_ms (-1: until something happens), then serves what is ready, listeners
 * first, then the timers that are due. Returns the number of events and timers served. */
int loop_run_once(struct loop *l, int bound_ms);
const struct loop_stats *loop_stats(const struct loop *l);

#endif
