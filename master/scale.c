/* SPDX-License-Identifier: MIT */
/* How many workers are wanted. The pool (pool.c) does the rest. */
#include "master/master_priv.h"

static uint32_t within(const struct master *m, const struct conf *c, int64_t n)
{
	if (n < c->s.workers_min)
		n = c->s.workers_min;
	if (n > c->s.workers_max)
		n = c->s.workers_max;
	if (n > (int64_t)m->workers_cap)
		n = m->workers_cap;
	return n < 1 ? 1 : (uint32_t)n;
}

void master_scale(struct master *m, int by)
{
	/* In a reload the new generation is the one that will stay; both follow. */
	struct generation *g = m->next.conf ? &m->next : &m->cur;
	uint32_t was = g->wanted;

	g->wanted = within(m, g->conf, (int64_t)was + by);
	if (g == &m->next)
		m->cur.wanted = within(m, m->cur.conf, (int64_t)m->cur.wanted + by);
	if (g->wanted == was)
		log_warnx("%u workers already: %s is %lld", was,
			  by > 0 ? "WORKERS_MAX" : "WORKERS_MIN",
			  (long long)(by > 0 ? g->conf->s.workers_max : g->conf->s.workers_min));
	else
		log_info("%u workers are wanted now (were %u)", g->wanted, was);
}

void master_drain_all(struct master *m)
{
	if (!m->cur.conf->s.winch_drains) {
		log_debug("WINCH is ignored: WINCH_DRAINS is off");
		return;
	}
	m->drained = true;
	log_info("Draining all workers; HUP or TTIN brings them back");
}

void master_resume(struct master *m)
{
	m->drained = false;
	log_info("Bringing %u workers back", m->cur.wanted);
}
