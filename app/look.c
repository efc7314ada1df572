/* SPDX-License-Identifier: MIT */
/*
 * Calls that outlive a turn of the loop: who they are, what their rows say, and which of them are
 * slow, stuck or abandoned. They are looked at four times a second while there are any.
 */
#include "app/app_priv.h"
#include "base/clock.h"
#include "base/copy.h"
#include "base/log.h"
#include "shm/dump.h"

static void set_abandoned(struct app *a, uint32_t n)
{
	a->nabandoned = n;
	shm_set(&a->slot->abandoned, n);
}

void look_begin(struct app *a, struct capri_request *c)
{
	c->newer = NULL;
	c->older = a->newest;
	if (a->newest)
		a->newest->newer = c;
	else
		a->oldest = c;
	a->newest = c;
	a->ndetached++;
	if (!timer_armed(&a->look))
		timer_arm(a->loop, &a->look, loop_now(a->loop) + LOOK_NS);
}

void look_abandoned(struct app *a, struct capri_request *c)
{
	c->abandoned = true;
	admit_abandoned(c->ticket);
	c->abandoned_ns = loop_now(a->loop);
	set_abandoned(a, a->nabandoned + 1);
	serve_row_state(a->serve, c->row, SHM_ROW_ABANDONED);
}

void look_end(struct app *a, struct capri_request *c)
{
	if (c->older)
		c->older->newer = c->newer;
	else
		a->oldest = c->newer;
	if (c->newer)
		c->newer->older = c->older;
	else
		a->newest = c->older;
	a->ndetached--;
	if (c->given_up)
		a->nstuck--;
	if (c->abandoned)
		set_abandoned(a, a->nabandoned - 1);
	c->abandoned = c->reported_stuck = c->given_up = false;
	if (c->row_kept)
		serve_row_end(a->serve, c->row);
	c->row_kept = false;
	if (a->draining && !app_busy(a))
		a->idle(a->idle_arg);
}

/* ---- what holds the loop ---- */

/*
 * After each piece of user code in the loop. The coarse clock is a load from memory, good to a few
 * ms; what it is compared with is the last reading of any kind, so that one handler is not blamed
 * for those before it.
 */
void look_held(struct app *a, const struct route *rt, const char *what)
{
	uint64_t now = clock_coarse_ns(), from = loop_now(a->loop);

	copy_check(); /* of a process that it forked off, and did not end */
	if (a->ran_ns > from)
		from = a->ran_ns;
	a->ran_ns = now;
	if (now < from + HELD_NS)
		return;
	shm_error_add(a->h->shm, a->h->slot, rt ? rt->label : 0, SHM_ERR_LOOP_HELD);
	log_warnx("%s%s%s of %s held the loop for %.0f ms", what, rt ? " " : "",
		  rt ? rt->name : "", a->module.name, (double)(now - from) / 1e6);
}

/* ---- what takes long ---- */

/* The master logs it with the stack of the thread, if it is known which one has it. */
static void report(const struct capri_request *c, enum dump_kind kind)
{
	dump_report_thread(kind, atomic_load(&c->tid), c->row, atomic_load(&c->since_ns));
}

static void stuck(struct app *a, struct capri_request *c)
{
	c->reported_stuck = true;
	app_error(c, SHM_ERR_ABANDONED);
	report(c, DUMP_STUCK);
	/* The thread, or what it holds, is lost; a new worker has all of them. */
	if (shm_get(&a->slot->why) == SHM_WHY_NONE) {
		atomic_store_explicit(&a->slot->why, SHM_WHY_STUCK, memory_order_release);
		heritage_poke_fd(a->h->master_efd);
	}
}

/* By the next look the master has had the time to ask the thread: nobody waits for it any more. */
static void give_up(struct app *a, struct capri_request *c)
{
	c->given_up = true;
	a->nstuck++;
	if (a->draining && !app_busy(a))
		a->idle(a->idle_arg);
}

/* The deadline is for the head of the answer; who streams hears of the end when its client goes. */
static bool is_stuck(const struct capri_request *c, uint64_t now)
{
	uint64_t from = c->deadline_ns;

	if (from == UINT64_MAX || !c->abandoned)
		return false;
	if (c->streaming && c->abandoned_ns > from)
		from = c->abandoned_ns;
	return now > from && now - from > LATE_NS;
}

static void look_at(struct app *a, struct capri_request *c, uint64_t now)
{
	uint64_t slow_ns = (uint64_t)a->conf->s.slow_request_threshold * NS_PER_MS;
	uint64_t since = atomic_load(&c->since_ns);

	if (c->r && !c->streaming && atomic_load(&c->at) == CALL_RUNNING)
		request_waits_as(c->r, SHM_ROW_RUNNING);
	if (!c->reported_stuck && is_stuck(c, now)) {
		stuck(a, c);
		return;
	}
	if (c->reported_stuck && !c->given_up)
		give_up(a, c);
	if (!c->reported_slow && a->conf->s.log_slow_requests && atomic_load(&c->tid) != 0 &&
	    !c->streaming && now > since && now - since > slow_ns) {
		c->reported_slow = true;
		report(c, DUMP_SLOW);
	}
}

static void on_look(struct loop *l, struct timer *t)
{
	struct app *a = (struct app *)(void *)((char *)t - offsetof(struct app, look));
	struct capri_request *c = a->oldest, *next;

	for (; c; c = next) {
		next = c->newer;
		look_at(a, c, loop_now(l));
	}
	if (a->oldest)
		timer_arm(l, t, loop_now(l) + LOOK_NS);
}

void look_init(struct app *a)
{
	a->look.cb = on_look;
}
