/* SPDX-License-Identifier: MIT */
/*
 * Stacks of threads, by themselves: a thread that is asked for its stack by a signal of its own, or
 * that crashes, stores raw return addresses in its slot. Another process gives them names.
 *
 * Asking interrupts the thread: a system call that is never restarted (sleeps, poll, waits with a
 * timeout) returns EINTR in it.
 */
#ifndef SHM_DUMP_H
#define SHM_DUMP_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "shm/shm.h"

/* The signal that asks; its value is the ticket. SIGRTMIN tells of the master's death. Ignored
 * until dump_open() (see master/), so that it ends nobody. */
#define DUMP_SIGNAL (SIGRTMIN + 1)

/* ---- a process that can be asked ---- */

/* Once, in the thread of the loop, before others start: the process answers into its slot's area
 * and leaves last words when it crashes (for signals without a handler: sanitizers have theirs).
 * The thread that calls it can be asked from then on. `efd` is written when a stack has come: the
 * master's eventfd; -1 = none. 0, or -errno: no memory for a signal stack. */
int dump_open(struct shm *s, uint32_t slot, int efd);
/* Before the segment goes, or in a forked copy: handlers do nothing from then on. */
void dump_close(void);

/* Each other thread that runs user code, at its begin: a signal stack of its own, so that it can
 * tell of a stack overflow. A thread that did not call this can be asked, too. 0, -errno. */
int dump_thread_init(void);
void dump_thread_fini(void); /* at its end */
/* [any thread] The row of the request that this thread works at, UINT32_MAX = none: what a crash is
 * ascribed to. The loop's own need not be told: current_row of its slot says it. Cheap. */
void dump_thread_row(uint32_t row);

/* [loop] Publishes what is loaded (program, libraries, modules), if that has changed since: after
 * dlopen(), and now and then. An object that was opened as /proc/self/fd/N is read through the
 * master's descriptor of the same number, if that is the same file. */
void dump_objects(void);

enum dump_kind { DUMP_SLOW = 1, DUMP_STUCK = 2 };
/* [loop] Tells the master that a thread of this process (0: none that is known) is slow or stuck
 * with a request (its row, or UINT32_MAX; when the thread began with it). The master asks the
 * thread for its stack and logs both. Does not wait. The last SHM_CALLS are kept; the master logs a
 * few a second. */
void dump_report_thread(enum dump_kind kind, pid_t tid, uint32_t row, uint64_t since_ns);
pid_t dump_tid(void); /* of the calling thread */

/* ---- asking: the master for any process, a loop for the threads of its own ---- */

enum dump_asker { DUMP_BY_MASTER = 1, DUMP_BY_OWNER = 2 };

struct dump_stack {
	uint32_t n;                  /* at most SHM_FRAMES */
	uint64_t pc[SHM_FRAMES];     /* the first is exact, the others are return addresses */
};

/* Asks one thread. 0 and a ticket to look for, or -errno: -ENOTSUP it cannot be asked, -EBUSY
 * another asker waits for an answer (the master goes before a loop), -ESRCH no such thread, -EAGAIN
 * too many signals are queued. */
int dump_ask(struct shm *s, uint32_t slot, pid_t pid, pid_t tid, enum dump_asker who,
	     uint32_t *ret_ticket);
/* 0 and the stack; -EAGAIN not yet; -ECANCELED another asker was first. The ticket is used up. */
int dump_take(struct shm *s, uint32_t slot, uint32_t ticket, struct dump_stack *ret);
/* Gives up waiting: an answer that comes later is none. */
void dump_drop(struct shm *s, uint32_t slot, uint32_t ticket);

/* ---- reading; all bounded and NUL-terminated whatever is in the segment ---- */

struct dump_words {              /* the last words of a crash */
	int sig, code;           /* siginfo */
	pid_t sender;            /* who sent the signal; 0 = it is a fault */
	pid_t thread;
	uint32_t row;            /* UINT32_MAX = no request */
	bool overflow;
	uint64_t addr;           /* of a fault */
	struct dump_stack stack;
};
/* false: there are none. What a second fault cut short is told as far as it came. */
bool dump_last_words(const struct shm *s, uint32_t slot, struct dump_words *ret);

struct dump_object {
	uint64_t start, end, bias, dev, ino;
	char label[33], path[97];
};
/* What the slot's process has published; how many (at most SHM_OBJECTS). */
uint32_t dump_read_objects(const struct shm *s, uint32_t slot,
			   struct dump_object ret[SHM_OBJECTS]);
/* What is loaded in the calling process; not in a signal handler. */
uint32_t dump_own_objects(struct dump_object ret[SHM_OBJECTS]);

struct dump_call {
	enum dump_kind kind;
	pid_t tid;               /* 0 = none that is known */
	uint32_t row;            /* UINT32_MAX = none */
	uint64_t since_ns;
};
/* Master: the next report after *seen (which moves on). false: none. */
bool dump_next_call(const struct shm *s, uint32_t slot, uint32_t *seen, struct dump_call *ret);

/* Master, at the claim of a slot. */
void dump_clear(struct shm_dump *d);

#endif
