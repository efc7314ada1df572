/* SPDX-License-Identifier: MIT */
/*
 * The master's private table of children, one entry per slot, and what passes between it and the
 * slots: commands go out, "ready", "replace me" and "I drain" come in. Words read from a slot are
 * compared with known values only; an unknown one means nothing.
 */
#include "master/master_priv.h"

#include <sys/pidfd.h>
#include <unistd.h>

#include "base/clock.h"

#define CALLS_A_SECOND 4 /* of one worker: slow and stuck threads that are reported */

const char *master_reason_word(enum shm_reason r)
{
	static const char *const word[] = {
#define SHM_REASON(sym, w, text) w,
#include "shm/reasons.def"
#undef SHM_REASON
	};

	return word[r];
}

const char *master_reason_text(enum shm_reason r)
{
	static const char *const name[] = {
#define SHM_REASON(sym, w, text) text,
#include "shm/reasons.def"
#undef SHM_REASON
	};

	return name[r];
}

const char *master_kind_name(enum shm_kind kind)
{
	return kind == SHM_KEEPER ? "Keeper" : "Worker";
}

struct child *master_child_by_pid(struct master *m, pid_t pid)
{
	for (uint32_t i = 0; i < m->nslots; i++)
		if (m->child[i].state != CHILD_NONE && m->child[i].pid == pid)
			return &m->child[i];
	return NULL;
}

uint32_t master_count_workers(const struct master *m)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < m->nslots; i++)
		n += child_is_worker(&m->child[i]);
	return n;
}

void master_wake_slot(const struct master *m, uint32_t slot)
{
	uint64_t one = 1;

	/* The only failure is a full counter: then it is awake already. */
	(void)!write(m->slot_efd[slot], &one, sizeof(one));
}

void master_wake_all(const struct master *m)
{
	for (uint32_t i = 0; i < m->nslots; i++)
		if (m->child[i].state != CHILD_NONE)
			master_wake_slot(m, i);
}

void master_tell(struct master *m, struct child *c, enum shm_command command)
{
	if (command <= c->command)
		return;
	c->command = command;
	atomic_store_explicit(&shm_slot(&m->shm, c->slot)->command, (uint32_t)command,
			      memory_order_release);
	master_wake_slot(m, c->slot);
}

void master_leave(struct master *m, struct child *c, enum shm_reason why,
		  enum shm_command command)
{
	if (c->state < CHILD_LEAVING) {
		c->state = CHILD_LEAVING;
		c->reason = why;
		c->since_ns = loop_now(m->loop);
		master_tick_soon(m);
	}
	if (c->state == CHILD_LEAVING)
		master_tell(m, c, command);
}

void master_kill(struct child *c, int sig)
{
	if (sig == SIGKILL)
		c->kill_sent = true;
	/* It is our child and not yet reaped, so its pid is still its own. */
	if (c->exit.fd < 0 || pidfd_send_signal(c->exit.fd, sig, NULL, 0) != 0)
		(void)kill(c->pid, sig);
}

void master_doom(struct master *m, struct child *c, enum shm_reason why, int sig)
{
	uint64_t now = loop_now(m->loop);

	if (c->state != CHILD_DOOMED) {
		c->state = CHILD_DOOMED;
		c->reason = why;
		c->since_ns = now;
		shm_set(&shm_slot(&m->shm, c->slot)->told_dead_ns, now);
		master_tick_soon(m);
	}
	if (sig != 0)
		master_kill(c, sig);
}

/* What the pace of its heartbeat says, whatever is in the word: see watch.c. */
static void look_at_heartbeat(struct child *c, const struct shm_slot *s, uint64_t now)
{
	uint64_t beat = shm_get(&s->heartbeat_ns);

	if (beat == c->beat_word)
		return;
	c->beat_word = beat;
	/* A plausible time is taken at its word, any other only as a sign of life. */
	c->beat_seen_ns = beat > c->beat_seen_ns && beat <= now ? beat : now;
}

/* What its loop says of its other threads. A process gone mad may say it without end. */
static void look_at_calls(struct master *m, struct child *c, uint64_t now)
{
	struct dump_call call;

	while (dump_next_call(&m->shm, c->slot, &c->calls_seen, &call)) {
		if (now >= c->calls_ns) {
			c->calls_ns = now + NS_PER_S;
			c->calls_left = CALLS_A_SECOND;
		}
		if (c->calls_left > 0) {
			c->calls_left--;
			master_report_call(m, c, &call);
		}
	}
}

static bool reason_of_ask(uint32_t why, enum shm_reason *ret)
{
	if (why != SHM_WHY_MAX_REQUESTS && why != SHM_WHY_STUCK)
		return false;
	*ret = why == SHM_WHY_STUCK ? REASON_STUCK : REASON_MAX_REQUESTS;
	return true;
}

void master_look(struct master *m, struct child *c)
{
	const struct shm_slot *s = shm_slot(&m->shm, c->slot);
	uint64_t now = loop_now(m->loop);
	uint32_t phase = atomic_load_explicit(&s->phase, memory_order_acquire);

	look_at_heartbeat(c, s, now);
	if (c->state >= CHILD_READY && c->state < CHILD_DOOMED)
		look_at_calls(m, c, now);
	if (c->state == CHILD_BOOTING && (phase == SHM_PH_READY || phase == SHM_PH_DRAINING)) {
		c->state = CHILD_READY;
		c->beat_seen_ns = now;
		if (c->kind == SHM_WORKER)
			m->ever_ready = true;
	}
	if (c->kind != SHM_WORKER)
		return;
	if (c->state == CHILD_READY && reason_of_ask(shm_get(&s->why), &c->ask))
		c->state = CHILD_ASKED;
	if (c->state >= CHILD_READY && c->state < CHILD_LEAVING && phase == SHM_PH_DRAINING) {
		log_info("Worker (pid:%d) drains on its own", (int)c->pid);
		c->state = CHILD_LEAVING;
		c->reason = REASON_TERMINATED;
		c->since_ns = now;
	}
}
