/* SPDX-License-Identifier: MIT */
/*
 * Semaphores over all processes of an instance. A limit of N is N words, each of which says who
 * holds it: 0 is free, else the slot of its owner, or of whom it has been granted to. "Taken" and
 * "by whom" are one word, so nothing leaks when a process is killed: recovery frees what the dead
 * slot owned.
 *
 * Who has to wait queues in private memory; the segment has, for each semaphore and slot, how many
 * of each class wait there and since when the oldest. Who releases a permit while somebody waits
 * grants it to the slot whose turn it is, and wakes that slot. Wake-ups are hints: every operation
 * that may leave a waiter with something to do says which slots to wake, and a waiter looks again
 * by itself from time to time (SHM_SEM_LOOK_NS).
 *
 * Any lane of a slot may call these. Those of one slot that change what waits (shm_sem_wait()) are
 * serialised by the caller, with a lock private to the process. Nothing here blocks, or reads a
 * clock.
 */
#ifndef SHM_SEM_H
#define SHM_SEM_H

#include "shm/shm.h"

#define SHM_SEMS 32u                 /* in the directory */
#define SHM_SEM_NAME_MAX 48          /* with the NUL */
#define SHM_SEM_LIMIT_MAX 16384u
#define SHM_SEM_NONE UINT32_MAX
#define SHM_SEM_LOOK_NS 100000000u   /* who waits looks again after so long, woken or not */
#define SHM_SEM_STALE_NS 5000000u    /* a grant left alone for so long may be taken by others */

/* Classes of waiters. Each has a weight; those that wait get permits in proportion to it. */
enum shm_class { SHM_CLASS_HIGH, SHM_CLASS_MEDIUM, SHM_CLASS_LOW, SHM_CLASSES };

/* What waits in one slot, of each class. */
struct shm_sem_waits {
	uint32_t count[SHM_CLASSES];
	uint32_t permits[SHM_CLASSES];   /* that they need, without what the head has already;
					  * 0 stands for one each */
	uint64_t oldest_ns[SHM_CLASSES]; /* when the oldest came; of a count of 0: 0 */
};

/* Slots that are to be poked when the call has returned, the caller's own among them; `all`: all
 * that are in use. Calls add to it: zero it first. */
struct shm_sem_wake { uint32_t n; uint32_t slot[8]; bool all; };

struct heritage; /* shm/heritage.h */
/* Pokes them, but for slot `but` (SHM_SEM_NONE: all). A write to an eventfd each; never blocks. */
void shm_sem_poke(const struct heritage *h, const struct shm_sem_wake *wake, uint32_t but);

/* ---- the directory; master ---- */

struct shm_sem_spec {
	const char *name;                /* 1 to 47 bytes */
	uint32_t limit;                  /* 0 = no limit */
	uint32_t limit_max;              /* permits that are set aside, from 1; see below */
	uint32_t weight[SHM_CLASSES];    /* 1 to 1000 */
};
/*
 * Index of the semaphore of that name, made if need be; weights and limit are set (of one that is
 * there already at once, for all generations: the caller wakes all slots after that). limit_max of
 * one that a living generation knows stays as it is; of others it may change. Permits are set aside
 * by 16. Generations count from 1. 0 and *ret_index, or
 *   -EINVAL  name or numbers out of range, or a limit above the limit_max that the entry has
 *   -ENOSPC  no entry, or not so many permits, are left that no living generation knows
 */
int shm_sem_intern(struct shm *s, const struct shm_sem_spec *spec, uint32_t generation,
		   uint32_t *ret_index);
/* Index of a name, SHM_SEM_NONE if there is none in this generation. */
uint32_t shm_sem_find(const struct shm *s, const char *name, uint32_t generation);

/* ---- permits ---- */

/*
 * Takes `weight` permits (from 1).
 *
 * Without `queue`: all at once or none; only while nobody waits, in any slot.
 *
 * With `queue`: for the head of this slot's queue, which has been announced by shm_sem_wait(); one
 * lane of a slot at a time. It takes what was granted to its slot, what is free, or what was
 * granted to others who leave it alone. A head of a weight above one may get a part, when it is its
 * turn: the part is kept in permit[], *have says how many they are, and the next look goes on from
 * there.
 * It may also lose them again (*have falls), so that two heads with a part each never wait for each
 * other. When *have has changed the caller says so by shm_sem_wait(). A new head begins with *have
 * 0; of one that has given up the caller releases the permits it has.
 *
 * A weight above the limit of now is never acquired: *have is 0, and false. Who queues looks at
 * shm_sem_limit() and takes such a head out of its queue, or else it blocks what is behind it.
 *
 * With a limit of 0 it is acquired at once, without a permit: *have = 0, and true. What is to be
 * given back later are *have permits in any case. `row` and now_ns say who holds them, for those
 * who look. true: acquired.
 */
bool shm_sem_acquire(struct shm *s, uint32_t sem, uint32_t slot, uint32_t weight, bool queue,
		     uint32_t row, uint64_t now_ns, uint32_t permit[], uint32_t *have,
		     struct shm_sem_wake *wake);
/* Gives permits back, or hands them over to who waits (the slot's own waiters, too). */
void shm_sem_release(struct shm *s, uint32_t sem, uint32_t slot, const uint32_t permit[],
		     uint32_t n, uint64_t now_ns, struct shm_sem_wake *wake);
/*
 * Says what waits in this slot now: after each arrival, each one that has left, each change of a
 * head's part. After it has risen from nothing the caller tries once more (shm_sem_acquire() with
 * `queue`) before it waits to be woken. When it is woken it acquires for one head after another
 * until that fails. What was granted to this slot and is not needed any more is handed on.
 */
void shm_sem_wait(struct shm *s, uint32_t sem, uint32_t slot, const struct shm_sem_waits *w,
		  uint64_t now_ns, struct shm_sem_wake *wake);
/* The class that a grant to this slot was made for, or SHM_CLASSES: there is none. A hint for whose
 * turn it is among the slot's own waiters. */
enum shm_class shm_sem_granted(const struct shm *s, uint32_t sem, uint32_t slot);

uint32_t shm_sem_limit(const struct shm *s, uint32_t sem);
/* Changes the limit: in all processes at once. 0 or -EINVAL: above limit_max. Any process. Nobody
 * is admitted while as many hold permits as a lowered limit says. From 0 on (no limit) those who
 * have been admitted without a permit are not counted. */
int shm_sem_set_limit(struct shm *s, uint32_t sem, uint32_t limit, struct shm_sem_wake *wake);

/* Master, after the owner of the slot was reaped: frees what it held, was granted, or waited for,
 * and counts the permits as reclaimed. Idempotent. Part of shm_slot_recover(). The caller wakes
 * every living slot afterwards: who has died may have been about to. */
void shm_sem_recover(struct shm *s, uint32_t slot);

/* ---- what can be seen ---- */

struct shm_sem_view {
	char name[SHM_SEM_NAME_MAX];
	uint32_t limit, limit_max, held, granted, weight[SHM_CLASSES];
	uint32_t waiting[SHM_CLASSES];
	uint64_t oldest_ns[SHM_CLASSES];
	/* totals of all slots */
	uint64_t acquired, queued, timed_out, rejected, abandoned, reclaimed;
};
bool shm_sem_read(const struct shm *s, uint32_t sem, struct shm_sem_view *ret);
/* How many wait of each class, in all slots: looks at those alone in which somebody does. */
void shm_sem_waiting(const struct shm *s, uint32_t sem, uint32_t ret[SHM_CLASSES]);
/* Who holds permit i of a semaphore (below limit_max). false: nobody. */
struct shm_permit_view { uint32_t slot, row; uint64_t since_ns; bool granted; };
bool shm_permit_read(const struct shm *s, uint32_t sem, uint32_t i, struct shm_permit_view *ret);

/* Counters of one slot [any lane of it: each is one atomic addition]. */
enum shm_sem_count { SHM_SEM_ACQUIRED, SHM_SEM_QUEUED, SHM_SEM_TIMED_OUT, SHM_SEM_REJECTED,
		     SHM_SEM_ABANDONED, SHM_SEM_COUNTS };
void shm_sem_count(struct shm *s, uint32_t sem, uint32_t slot, enum shm_sem_count what);
/* How long somebody has waited who was admitted then: a histogram of 24 buckets, by powers of two
 * of microseconds; bucket i has what is below 2^i us. */
#define SHM_SEM_WAIT_BUCKETS 24
void shm_sem_waited(struct shm *s, uint32_t sem, uint32_t slot, uint64_t us);
struct shm_sem_wait_sum { uint64_t bucket[SHM_SEM_WAIT_BUCKETS], count, sum_us; };
void shm_sem_wait_read(const struct shm *s, uint32_t sem, struct shm_sem_wait_sum *ret);

#endif
