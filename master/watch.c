/* SPDX-License-Identifier: MIT */
/*
 * The tick: looks at every child, acts on deadlines that have passed, and sets itself to the next
 * one, at the latest 600 ms ahead. Deadlines are judged here and nowhere else, because here it is
 * known whether the machine slept: a tick that comes late gives every deadline a fresh period.
 */
#include "master/master_priv.h"

#include "base/clock.h"

static uint64_t ms_to_ns(int64_t ms)
{
	return (uint64_t)ms * NS_PER_MS;
}

static const struct conf *conf_of(const struct master *m, const struct child *c)
{
	return m->next.conf && c->generation == m->next.number ? m->next.conf : m->cur.conf;
}

/* When a period that began at `since` is over, given the late clocks. */
static uint64_t end_of(const struct master *m, uint64_t since, uint64_t period_ns)
{
	return (since > m->fresh_ns ? since : m->fresh_ns) + period_ns;
}

static void sooner(uint64_t *next, uint64_t due)
{
	if (due < *next)
		*next = due;
}

static uint64_t leave_period(const struct master *m, const struct child *c)
{
	if (c->kind == SHM_KEEPER)
		return ms_to_ns(KEEPER_STOP_MS);
	if (m->stop == STOP_QUICK)
		return ms_to_ns(QUICK_MS);
	return ms_to_ns(conf_of(m, c)->s.graceful_timeout);
}

/* Leaving: from when it was told, in a quick stop at most from when that began. */
static void watch_leaving(struct master *m, struct child *c, uint64_t now, uint64_t *next)
{
	uint64_t since = c->since_ns, due;

	if (m->stop == STOP_QUICK && c->kind == SHM_WORKER)
		since = m->stop_ns;
	due = end_of(m, since, leave_period(m, c));
	if (now < due) {
		sooner(next, due);
		return;
	}
	if (m->stop == STOP_QUICK)
		log_info("%s (pid:%d) has not left in time: sending SIGKILL",
			 master_kind_name(c->kind), (int)c->pid);
	else
		log_errx("%s (pid:%d) did not finish within %s: sending SIGKILL",
			 master_kind_name(c->kind), (int)c->pid,
			 c->kind == SHM_KEEPER ? "its time" : "GRACEFUL_TIMEOUT");
	master_doom(m, c, m->stop == STOP_QUICK ? REASON_STOP : REASON_GRACEFUL_TIMEOUT, SIGKILL);
}

static void watch_booting(struct master *m, struct child *c, uint64_t now, uint64_t *next)
{
	int64_t limit_ms = conf_of(m, c)->s.boot_timeout;
	uint64_t due = end_of(m, c->born_ns, ms_to_ns(limit_ms));

	if (limit_ms == 0)
		return;
	if (now < due) {
		sooner(next, due);
		return;
	}
	log_crit("%s BOOT TIMEOUT (pid:%d): not ready after %.1f s",
		 c->kind == SHM_KEEPER ? "KEEPER" : "WORKER", (int)c->pid,
		 (double)(now - c->born_ns) / NS_PER_S);
	shm_event_add(&m->shm, "boot_timeout", "a process was not ready within BOOT_TIMEOUT");
	master_doom(m, c, REASON_BOOT_TIMEOUT, SIGABRT);
	sooner(next, now + ms_to_ns(ABORT_MS));
	if (m->next.conf && c->generation == m->next.number)
		master_reload_fail(m, "a new worker was not ready within BOOT_TIMEOUT");
}

/* Everybody who has a loop: it must turn. */
static void watch_heartbeat(struct master *m, struct child *c, uint64_t now, uint64_t *next)
{
	int64_t limit_ms = conf_of(m, c)->s.worker_timeout;
	uint64_t due = end_of(m, c->beat_seen_ns, ms_to_ns(limit_ms));

	if (limit_ms == 0)
		return;
	if (now < due) {
		sooner(next, due);
		return;
	}
	shm_set(&shm_slot(&m->shm, c->slot)->stuck, 1);
	master_report_timeout(m, c, now - c->beat_seen_ns);
	master_explain_cancel(m, c);
	c->explaining = master_explain(m, c, EXPLAIN_TIMEOUT, c->pid);
	master_doom(m, c, REASON_TIMEOUT, c->explaining ? 0 : SIGABRT);
	sooner(next, now + ms_to_ns(ABORT_MS));
}

void master_explained(struct master *m, struct child *c)
{
	if (c->state != CHILD_DOOMED || !c->explaining)
		return;
	c->explaining = false;
	c->since_ns = loop_now(m->loop); /* ABRT has its time from now */
	master_kill(c, SIGABRT);
	master_tick_soon(m);
}

/* ---- memory ---- */

static struct generation *generation_of(struct master *m, const struct child *c)
{
	return m->next.conf && c->generation == m->next.number ? &m->next : &m->cur;
}

/* The keeper samples, we judge: a wrong word costs a recycling, no more. Two samples in a row,
 * so that a peak is none; and not before the worker is some age, so that a limit below what every
 * worker takes is no storm. */
static void watch_memory(struct master *m, struct child *c, uint64_t now)
{
	const struct settings *set = &conf_of(m, c)->s;
	const struct shm_slot *s = shm_slot(&m->shm, c->slot);
	uint64_t samples = atomic_load_explicit(&s->samples, memory_order_acquire);
	uint64_t bytes = shm_get(&s->private_bytes), age_ns = now - c->born_ns;
	uint64_t least_ns = ms_to_ns(set->min_worker_lifetime);

	if (set->max_worker_memory == 0 || samples == c->samples_seen)
		return;
	c->samples_seen = samples;
	c->over = bytes > (uint64_t)set->max_worker_memory ? c->over + 1 : 0;
	if (least_ns < ms_to_ns(MEMORY_AGE_MS))
		least_ns = ms_to_ns(MEMORY_AGE_MS);
	if (c->over < 2)
		return;
	if (age_ns < least_ns) {
		struct generation *g = generation_of(m, c);

		if (!g->memory_told && age_ns < ms_to_ns(MEMORY_AGE_MS))
			log_warnx("MAX_WORKER_MEMORY: a fresh worker (pid:%d) has %.1f MB already; "
				  "none is replaced before it is %.0f s old", (int)c->pid,
				  (double)bytes / 1e6, (double)least_ns / NS_PER_S);
		g->memory_told = true;
		return;
	}
	log_info("Worker (pid:%d) has %.1f MB of private memory, above MAX_WORKER_MEMORY",
		 (int)c->pid, (double)bytes / 1e6);
	c->state = CHILD_ASKED;
	c->ask = REASON_MAX_MEMORY;
}

/* ---- slow requests: seen, not judged ---- */

/* A loop that has not turned for the threshold, all of the time with the same request. */
static void watch_slow(struct master *m, struct child *c, uint64_t now, uint64_t *next)
{
	const struct settings *set = &conf_of(m, c)->s;
	uint32_t row = shm_get(&shm_slot(&m->shm, c->slot)->current_row);
	struct shm_row_view v;
	uint64_t due;

	if (!set->log_slow_requests || c->kind != SHM_WORKER || row == 0 ||
	    row > m->shm.geo.rows || !shm_row_read(shm_row(&m->shm, c->slot, row - 1), &v)) {
		c->hold.row = 0;
		return;
	}
	if (c->hold.row != row || c->hold.row_since_ns != v.since_ns ||
	    c->hold.beat != c->beat_word) {
		/* It told of its last turn; at this request it has been for as long as it is there,
		 * at most. */
		c->hold.beat = c->beat_word;
		c->hold.row = row;
		c->hold.row_since_ns = v.since_ns;
		c->hold.seen_ns = v.since_ns > c->beat_seen_ns && v.since_ns < now ? v.since_ns :
				  now;
	}
	if (c->hold.told_row == row && c->hold.told_since_ns == v.since_ns)
		return;
	due = end_of(m, c->hold.seen_ns, ms_to_ns(set->slow_request_threshold));
	if (now < due) {
		sooner(next, due);
		return;
	}
	c->hold.told_row = row;
	c->hold.told_since_ns = v.since_ns;
	master_report_slow(m, c, now - c->hold.seen_ns, &v);
}

static void watch_doomed(struct master *m, struct child *c, uint64_t now, uint64_t *next)
{
	uint64_t due = end_of(m, c->since_ns, ms_to_ns(ABORT_MS));

	if (c->explaining && now >= due + ms_to_ns(ABORT_MS))
		master_explained(m, c); /* cannot be; it shall not live for ever then */
	if (c->explaining)
		return;
	if (c->kill_sent)
		return; /* nothing is stronger; a process in state D goes when the kernel lets it */
	if (now >= due)
		master_kill(c, SIGKILL);
	else
		sooner(next, due);
}

static void watch_child(struct master *m, struct child *c, uint64_t now, uint64_t *next)
{
	master_look(m, c);
	switch (c->state) {
	case CHILD_NONE:
		break;
	case CHILD_BOOTING:
		watch_booting(m, c, now, next);
		break;
	case CHILD_READY:
		if (c->kind == SHM_WORKER)
			watch_memory(m, c, now);
		/* fall through */
	case CHILD_ASKED:
	case CHILD_REPLACING:
		watch_slow(m, c, now, next);
		watch_heartbeat(m, c, now, next);
		break;
	case CHILD_LEAVING:
		watch_leaving(m, c, now, next);
		if (c->state == CHILD_LEAVING && shm_get(&shm_slot(&m->shm, c->slot)->heartbeat_ns))
			watch_heartbeat(m, c, now, next);
		break;
	case CHILD_DOOMED:
		watch_doomed(m, c, now, next);
		break;
	}
}

static void note_lateness(struct master *m, uint64_t now)
{
	uint64_t late = now > m->tick_due_ns ? now - m->tick_due_ns : 0;

	if (late <= ms_to_ns(LATE_MS))
		return;
	m->fresh_ns = now;
	log_warnx("Late by %.1f s (stopped, suspended, or starved): every deadline starts afresh",
		  (double)late / NS_PER_S);
}

static void on_tick(struct loop *l, struct timer *t)
{
	struct master *m = (struct master *)((char *)t - offsetof(struct master, tick));
	uint64_t now = loop_now(l), next = now + ms_to_ns(TICK_MS), pause, explain;

	m->tick_again = false;
	note_lateness(m, now);
	master_oom_tick(m, now);
	for (uint32_t i = 0; i < m->nslots; i++)
		if (m->child[i].state != CHILD_NONE)
			watch_child(m, &m->child[i], now, &next);
	explain = master_explain_tick(m, now);
	sooner(&next, explain);
	master_settle(m);
	pause = master_backoff_tick(m, now);
	if (pause != 0)
		sooner(&next, pause);
	if (m->tick_again || next < now + NS_PER_MS)
		next = now + NS_PER_MS;
	m->tick_due_ns = next;
	timer_arm(l, t, next);
}

void master_tick_soon(struct master *m)
{
	uint64_t now = loop_now(m->loop);

	m->tick_again = true;
	/* One that is due already comes in this turn, and its lateness must stay visible. */
	if (!timer_armed(&m->tick) || m->tick_due_ns <= now)
		return;
	m->tick_due_ns = now;
	timer_arm(m->loop, &m->tick, now);
}

static void on_child_word(struct loop *l, struct watch *w, unsigned events)
{
	struct master *m = (struct master *)((char *)w - offsetof(struct master, efd));
	uint64_t n;

	(void)l;
	(void)events;
	(void)!read(w->fd, &n, sizeof(n)); /* only a hint: the slots say what there is */
	for (uint32_t i = 0; i < m->nslots; i++)
		if (m->child[i].state != CHILD_NONE)
			master_look(m, &m->child[i]);
	master_explain_look(m);
	master_settle(m);
}

int master_watch_start(struct master *m)
{
	m->tick.cb = on_tick;
	m->tick_due_ns = loop_clock(m->loop);
	timer_arm(m->loop, &m->tick, m->tick_due_ns);
	m->efd.cb = on_child_word;
	return loop_watch(m->loop, &m->efd, LOOP_IN);
}
