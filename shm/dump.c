/* SPDX-License-Identifier: MIT */
/*
 * The dump area of a slot, as seen by those who ask and read. The thread's half is unwind.c.
 *
 * The claim is one word {thread, ticket, asker, state}, so that "who is asked", "by whom" and "how
 * far is it" cannot disagree:
 *
 *   free -> asked     an asker, by compare-and-swap; the ticket is one more than the last
 *   asked -> asked    the master instead of a loop
 *   asked -> filling  the thread that is named, if ticket and thread are its own
 *   filling -> done   the same thread, when the addresses are stored
 *   asked -> free     the asker gives up;  done -> free: it has taken the stack
 *
 * Only who has brought the word to "filling" writes the addresses: two answers never mix. A thread
 * that ends there holds the area until the slot's next owner, and costs no more than the dumps.
 */
#include "shm/dump.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shm/shm_priv.h"

static struct shm_dump *area_of(const struct shm *s, uint32_t slot)
{
	return &s->dumps[slot];
}

static int send_ticket(pid_t pid, pid_t tid, uint32_t ticket)
{
	siginfo_t si;

	memset(&si, 0, sizeof(si));
	si.si_signo = DUMP_SIGNAL;
	si.si_code = SI_QUEUE;
	si.si_pid = getpid();
	si.si_uid = getuid();
	si.si_value.sival_int = (int)ticket;
	return syscall(SYS_rt_tgsigqueueinfo, pid, tid, DUMP_SIGNAL, &si) == 0 ? 0 : -errno;
}

int dump_ask(struct shm *s, uint32_t slot, pid_t pid, pid_t tid, enum dump_asker who,
	     uint32_t *ret_ticket)
{
	struct shm_dump *d = area_of(s, slot);
	uint64_t was = atomic_load_explicit(&d->claim, memory_order_acquire), now;
	int rc;

	if (shm_get(&d->able) != 1)
		return -ENOTSUP;
	if (pid <= 0 || tid <= 0)
		return -ESRCH;
	switch (claim_state(was)) {
	case CLAIM_FILLING:
		return -EBUSY;
	case CLAIM_ASKED:
	case CLAIM_DONE:
		if (who == DUMP_BY_OWNER)
			return -EBUSY;
		break;
	default:
		break; /* free, or no state of ours */
	}
	now = claim_make(tid, claim_ticket(was) + 1, who, CLAIM_ASKED);
	if (!atomic_compare_exchange_strong(&d->claim, &was, now))
		return -EBUSY;
	*ret_ticket = claim_ticket(now);
	rc = send_ticket(pid, tid, *ret_ticket);
	if (rc != 0)
		dump_drop(s, slot, *ret_ticket);
	return rc;
}

/* The addresses are somebody's who has written them; the count may be anything. */
static void read_stack(const struct shm_stack *from, struct dump_stack *ret)
{
	uint64_t n = atomic_load_explicit(&from->count, memory_order_acquire);

	ret->n = n < SHM_FRAMES ? (uint32_t)n : SHM_FRAMES;
	for (uint32_t i = 0; i < ret->n; i++)
		ret->pc[i] = shm_get(&from->pc[i]);
}

int dump_take(struct shm *s, uint32_t slot, uint32_t ticket, struct dump_stack *ret)
{
	struct shm_dump *d = area_of(s, slot);
	uint64_t was = atomic_load_explicit(&d->claim, memory_order_acquire);

	if (claim_ticket(was) != ticket)
		return -ECANCELED;
	if (claim_state(was) == CLAIM_ASKED || claim_state(was) == CLAIM_FILLING)
		return -EAGAIN;
	if (claim_state(was) != CLAIM_DONE)
		return -ECANCELED;
	read_stack(&d->asked, ret);
	/* Nobody may have begun to write anew meanwhile. */
	return atomic_compare_exchange_strong(&d->claim, &was, claim_free(was)) ? 0 : -ECANCELED;
}

void dump_drop(struct shm *s, uint32_t slot, uint32_t ticket)
{
	struct shm_dump *d = area_of(s, slot);
	uint64_t was = atomic_load_explicit(&d->claim, memory_order_acquire);

	if (claim_ticket(was) == ticket && claim_state(was) != CLAIM_FILLING)
		(void)atomic_compare_exchange_strong(&d->claim, &was, claim_free(was));
}

bool dump_last_words(const struct shm *s, uint32_t slot, struct dump_words *ret)
{
	const struct shm_dump *d = area_of(s, slot);
	uint32_t row;

	if (atomic_load_explicit(&d->crashed, memory_order_acquire) == 0)
		return false;
	row = shm_get(&d->row);
	*ret = (struct dump_words){
		.sig = shm_get(&d->sig),
		.code = shm_get(&d->code),
		.sender = shm_get(&d->sender),
		.thread = shm_get(&d->thread),
		.row = row >= 1 && row <= s->geo.rows ? row - 1 : UINT32_MAX,
		.overflow = shm_get(&d->overflow) == 1,
		.addr = shm_get(&d->addr),
	};
	read_stack(&d->last, &ret->stack);
	return true;
}

static void get_words(char *to, const _Atomic uint64_t *from, size_t words)
{
	for (size_t i = 0; i < words; i++) {
		uint64_t w = atomic_load_explicit(&from[i], memory_order_acquire);

		memcpy(to + 8 * i, &w, 8);
	}
	to[8 * words] = '\0';
}

uint32_t dump_read_objects(const struct shm *s, uint32_t slot,
			   struct dump_object ret[SHM_OBJECTS])
{
	const struct shm_dump *d = area_of(s, slot);
	uint32_t seq = atomic_load_explicit(&d->objects_seq, memory_order_acquire);
	uint32_t n = atomic_load_explicit(&d->objects, memory_order_acquire);

	if (n > SHM_OBJECTS)
		n = SHM_OBJECTS;
	for (uint32_t i = 0; i < n; i++) {
		const struct shm_object *o = &d->object[i];

		ret[i].start = atomic_load_explicit(&o->start, memory_order_acquire);
		ret[i].end = atomic_load_explicit(&o->end, memory_order_acquire);
		ret[i].bias = atomic_load_explicit(&o->bias, memory_order_acquire);
		ret[i].dev = atomic_load_explicit(&o->dev, memory_order_acquire);
		ret[i].ino = atomic_load_explicit(&o->ino, memory_order_acquire);
		get_words(ret[i].label, o->label, 4);
		get_words(ret[i].path, o->path, 12);
	}
	/* One look: who is killed while it writes leaves a list that is none. */
	return (seq & 1) == 0 && shm_get(&d->objects_seq) == seq ? n : 0;
}

bool dump_next_call(const struct shm *s, uint32_t slot, uint32_t *seen, struct dump_call *ret)
{
	const struct shm_dump *d = area_of(s, slot);
	uint32_t made = atomic_load_explicit(&d->calls, memory_order_acquire);
	uint64_t about;

	if (made - *seen > SHM_CALLS) /* also when it makes no sense: then once round */
		*seen = made - SHM_CALLS;
	while (*seen != made) {
		const struct shm_call *c = &d->call[(*seen)++ % SHM_CALLS];
		uint32_t row;

		about = atomic_load_explicit(&c->about, memory_order_acquire);
		row = (uint32_t)(about >> 8) & 0xffffff;
		*ret = (struct dump_call){
			.kind = (enum dump_kind)(about & 0xff),
			.tid = (pid_t)(about >> 32),
			.row = row >= 1 && row <= s->geo.rows ? row - 1 : UINT32_MAX,
			.since_ns = atomic_load_explicit(&c->since_ns, memory_order_acquire),
		};
		if ((ret->kind == DUMP_SLOW || ret->kind == DUMP_STUCK) && ret->tid >= 0)
			return true;
	}
	return false;
}

void dump_clear(struct shm_dump *d)
{
	shm_set(&d->able, 0);
	shm_set(&d->claim, claim_free(shm_get(&d->claim)));
	shm_set(&d->crashed, 0);
	shm_set(&d->objects, 0);
	shm_set(&d->objects_seq, 0);
	shm_set(&d->calls, 0);
	shm_set(&d->asked.count, 0);
	shm_set(&d->last.count, 0);
}
