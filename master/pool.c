/* SPDX-License-Identifier: MIT */
/*
 * What is wanted against what is there. Every event (a death, "ready", a signal, the tick) only
 * changes facts; master_settle() then compares and takes the next steps: spawn what is missing,
 * drain what is too much, replacement before the replaced. So there is one place that decides,
 * and no sequence of events that it could not come back from.
 */
#include "master/master_priv.h"

#include "base/clock.h"

struct census {
	uint32_t booting;
	uint32_t serving;     /* ready, not being replaced */
	uint32_t replacing;   /* serve too, until their replacements are ready */
	uint32_t recycled;    /* told to leave, replacement ready; not gone yet */
};

static struct census count(const struct master *m, uint32_t generation)
{
	struct census n = {0};

	for (uint32_t i = 0; i < m->nslots; i++) {
		const struct child *c = &m->child[i];

		if (!child_is_worker(c) || c->generation != generation)
			continue;
		n.booting += c->state == CHILD_BOOTING;
		n.serving += c->state == CHILD_READY || c->state == CHILD_ASKED;
		n.replacing += c->state == CHILD_REPLACING;
		n.recycled += c->state == CHILD_LEAVING && reason_recycles(c->reason);
	}
	return n;
}

/* The oldest worker of a generation in one of two states. */
static struct child *oldest(struct master *m, uint32_t generation, enum child_state a,
			    enum child_state b)
{
	struct child *found = NULL;

	for (uint32_t i = 0; i < m->nslots; i++) {
		struct child *c = &m->child[i];

		if (!child_is_worker(c) || c->generation != generation)
			continue;
		if ((c->state == a || c->state == b) && (!found || c->born_ns < found->born_ns))
			found = c;
	}
	return found;
}

/* ---- back-off: a crash loop must not become a fork storm ---- */

static uint64_t backoff_delay_ns(uint32_t steps)
{
	uint64_t ms = BACKOFF_MIN_MS;

	for (; steps > 1 && ms < BACKOFF_MAX_MS; steps--)
		ms *= 2;
	return (ms < BACKOFF_MAX_MS ? ms : BACKOFF_MAX_MS) * NS_PER_MS;
}

/* As many as all of one set, and two more, may die young before it is called a loop: somebody who
 * kills every worker once is served by fresh ones at once. */
static uint32_t backoff_free(const struct master *m, const struct backoff *b)
{
	return b == &m->keeper_backoff ? 2 : m->cur.wanted + 2;
}

static void backoff_note(struct master *m, struct backoff *b, const char *kind, uint64_t now)
{
	uint32_t free_deaths = backoff_free(m, b);
	uint64_t delay;

	b->last_ns = now;
	if (now < b->not_before_ns)
		return; /* a set that dies together is one step, not as many as it has workers */
	b->early++;
	if (b->early <= free_deaths)
		return;
	delay = backoff_delay_ns(b->early - free_deaths);
	b->not_before_ns = now + delay;
	log_warnx("%s processes die young (%u in a row): the next one in %.1f s", kind, b->early,
		  (double)delay / NS_PER_S);
}

void master_backoff_death(struct master *m, const struct child *c, uint64_t now)
{
	if (now - c->born_ns >= EARLY_DEATH_MS * NS_PER_MS && c->state != CHILD_BOOTING &&
	    c->reason != REASON_BOOT_TIMEOUT)
		return;
	if (c->kind == SHM_KEEPER)
		backoff_note(m, &m->keeper_backoff, "Keeper", now);
	else
		backoff_note(m, &m->backoff, "Worker", now);
}

static uint64_t backoff_step(struct backoff *b, uint64_t now)
{
	/* Forgotten after twice the pause that was last in force, at least a few seconds. */
	uint64_t calm = 2 * EARLY_DEATH_MS * NS_PER_MS;

	if (b->not_before_ns > b->last_ns)
		calm += 2 * (b->not_before_ns - b->last_ns);
	if (b->early != 0 && now - b->last_ns > calm)
		*b = (struct backoff){0};
	return b->not_before_ns > now ? b->not_before_ns : 0;
}

uint64_t master_backoff_tick(struct master *m, uint64_t now)
{
	uint64_t a = backoff_step(&m->backoff, now), b = backoff_step(&m->keeper_backoff, now);

	if (a == 0 || b == 0)
		return a ? a : b;
	return a < b ? a : b;
}

/* How many may be spawned now: all, none, or in a crash loop one at a time. */
static uint32_t backoff_allows(const struct master *m, const struct backoff *b, uint32_t booting)
{
	if (b->early <= backoff_free(m, b))
		return UINT32_MAX;
	if (loop_now(m->loop) < b->not_before_ns || booting > 0)
		return 0;
	return 1;
}

/* ---- one generation ---- */

/* Lets workers that asked for it be replaced: a tenth of the pool at once, at least one, and until
 * the replaced one has gone. Who waits for his turn serves on, beyond his MAX_REQUESTS. */
static void admit_recycling(struct master *m, const struct generation *g)
{
	uint32_t most = g->wanted / 10 > 1 ? g->wanted / 10 : 1;
	struct census n = count(m, g->number);

	for (uint32_t busy = n.replacing + n.recycled; busy < most; busy++) {
		struct child *c = oldest(m, g->number, CHILD_ASKED, CHILD_ASKED);

		if (!c)
			return;
		c->state = CHILD_REPLACING;
	}
}

/* Spawns what is missing. */
static void fill_up(struct master *m, struct generation *g, uint32_t missing, uint32_t booting)
{
	uint32_t allowed = UINT32_MAX;

	if (!m->ever_ready) {
		/* The first set gets one try each: if all of it fails, so would its successors. */
		missing = g->wanted > g->boot_spawned ? g->wanted - g->boot_spawned : 0;
	} else if (g == &m->cur) {
		allowed = backoff_allows(m, &m->backoff, booting);
	}
	for (; missing > 0 && allowed > 0; missing--, allowed--) {
		if (!m->ever_ready)
			g->boot_spawned++;
		if (master_spawn(m, SHM_WORKER, g) == 0)
			continue;
		if (g == &m->next)
			master_reload_fail(m, "a worker could not be started");
		else
			backoff_note(m, &m->backoff, "Worker", loop_now(m->loop));
		return;
	}
}

static void drain_surplus(struct master *m, const struct generation *g, uint32_t wanted,
			  struct census n)
{
	while (n.serving + n.replacing > wanted) {
		struct child *c = oldest(m, g->number, CHILD_REPLACING, CHILD_REPLACING);

		if (c) {
			n.replacing--;
			master_leave(m, c, c->ask, SHM_CMD_DRAIN);
			continue;
		}
		c = oldest(m, g->number, CHILD_READY, CHILD_ASKED);
		if (!c)
			return;
		n.serving--;
		master_leave(m, c, REASON_SCALE_DOWN, SHM_CMD_DRAIN);
	}
}

static void settle_generation(struct master *m, struct generation *g)
{
	uint32_t wanted = m->drained && g == &m->cur ? 0 : g->wanted;
	struct census n;

	if (g == &m->cur && !m->next.conf && !m->drained)
		admit_recycling(m, g);
	n = count(m, g->number);
	if (n.booting + n.serving < wanted)
		fill_up(m, g, wanted - n.booting - n.serving, n.booting);
	drain_surplus(m, g, wanted, n);
}

static void settle_keeper(struct master *m)
{
	if (m->child[0].state != CHILD_NONE ||
	    backoff_allows(m, &m->keeper_backoff, 0) == 0)
		return;
	if (master_spawn(m, SHM_KEEPER, &m->cur) != 0)
		backoff_note(m, &m->keeper_backoff, "Keeper", loop_now(m->loop));
}

/* Said once: from here on the server is what its settings want it to be. */
static void tell_ready(struct master *m)
{
	struct census n;

	if (m->ready_told)
		return;
	n = count(m, m->cur.number);
	if (n.serving < m->cur.wanted)
		return;
	m->ready_told = true;
	log_info("Ready: %u workers, %.0f ms after the start", n.serving,
		 (double)(clock_mono_ns() - m->started_ns) / NS_PER_MS);
}

/* Nobody of the first set came up. */
static void check_boot(struct master *m)
{
	if (m->ever_ready || m->cur.boot_spawned < m->cur.wanted || master_count_workers(m) > 0)
		return;
	if (m->boot_app_failed) {
		log_crit("The app cannot be loaded: giving up");
		master_give_up(m, HERITAGE_EXIT_APP);
	} else {
		log_crit("No worker could boot: giving up");
		master_give_up(m, HERITAGE_EXIT_BOOT);
	}
}

static void tell_state(const struct master *m)
{
	struct shm_instance *inst = m->shm.inst;
	enum shm_instance_state st = SHM_IN_RUN;

	if (m->stop != STOP_NONE)
		st = SHM_IN_STOP;
	else if (!m->ever_ready)
		st = SHM_IN_BOOT;
	else if (master_reloading(m))
		st = SHM_IN_RELOAD;
	shm_set(&inst->state, (uint32_t)st);
	shm_set(&inst->workers_wanted, m->drained ? 0 : m->cur.wanted);
	shm_set(&inst->generation, m->cur.number);
	shm_set(&inst->log_lost, log_lost());
}

void master_settle(struct master *m)
{
	if (m->stop == STOP_NONE)
		check_boot(m);
	if (m->stop != STOP_NONE) {
		master_stop_settle(m);
	} else {
		settle_keeper(m);
		settle_generation(m, &m->cur);
		if (m->next.conf)
			settle_generation(m, &m->next);
		master_reload_settle(m);
		tell_ready(m);
	}
	tell_state(m);
}

enum master_phase master_phase(const struct master *m)
{
	uint32_t serving = 0, others = 0;

	if (m->stop != STOP_NONE)
		return m->stop == STOP_QUICK ? PHASE_QUIT : PHASE_STOP;
	if (!m->ever_ready)
		return PHASE_BOOT;
	if (master_reloading(m))
		return PHASE_RELOAD;
	if (m->drained)
		return PHASE_DRAINED;
	for (uint32_t i = 0; i < m->nslots; i++) {
		const struct child *c = &m->child[i];

		if (!child_is_worker(c))
			continue;
		if (c->state == CHILD_REPLACING ||
		    (c->state == CHILD_LEAVING && reason_recycles(c->reason)))
			return PHASE_RECYCLE;
		if (c->state == CHILD_READY || c->state == CHILD_ASKED)
			serving++;
		else
			others++;
	}
	return serving == m->cur.wanted && others == 0 ? PHASE_RUN : PHASE_SCALE;
}
