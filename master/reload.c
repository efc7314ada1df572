/* SPDX-License-Identifier: MIT */
/*
 * HUP. The configuration is read and checked first; a bad one changes nothing. Then a second
 * generation is brought up beside the first, and when all of it is ready the first one drains. If
 * a new worker fails at its start, the new generation goes and the old one stays. The reload is
 * over when only one generation is left, so there are never more than two.
 */
#include "master/master_priv.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Hands each line of `text` to the log; the first one is copied to `first`. */
static void log_lines(const struct strbuf *text, bool errors, char *first, size_t cap)
{
	const char *p = text->p ? text->p : "";

	while (*p) {
		const char *end = strchrnul(p, '\n');
		int len = (int)(end - p);

		if (errors)
			log_errx("%.*s", len, p);
		else
			log_info("%.*s", len, p);
		if (first && first[0] == '\0')
			snprintf(first, cap, "%.*s", len, p);
		p = *end ? end + 1 : end;
	}
}

static void tell_failure(struct master *m, const char *why)
{
	log_errx("Reload failed: %s; generation %u goes on", why, m->cur.number);
	shm_event_add(&m->shm, "reload_failed", why);
}

/* Reads the settings as at the start: relative paths mean what they meant there. */
static struct conf *load(struct master *m)
{
	struct conf_report r;
	struct conf *next = NULL;
	char first[200] = "";
	bool moved = m->cur.conf->s.chdir != NULL && fchdir(m->start_dir) == 0;

	conf_report_init(&r);
	if (conf_load(&m->in, &next, &r) == 0) {
		conf_carry_over(next, m->cur.conf, &r);
		log_lines(&r.notes, false, NULL, 0);
	} else {
		log_lines(&r.errors, true, first, sizeof(first));
		tell_failure(m, first[0] ? first : "the configuration cannot be read");
		next = NULL;
	}
	conf_report_fini(&r);
	if (moved && chdir(m->cur.conf->s.chdir) != 0)
		log_err("cannot go back to %s (CAPRICORN_CHDIR)", m->cur.conf->s.chdir);
	return next;
}

/* A count that was changed live holds until the configured one has itself changed. */
static uint32_t wanted_by(const struct master *m, const struct conf *next)
{
	int64_t n = next->s.web_workers;

	if (n == m->cur.conf->s.web_workers)
		n = m->cur.wanted;
	if (n < next->s.workers_min)
		n = next->s.workers_min;
	if (n > (int64_t)m->workers_cap) {
		log_warnx("WEB_WORKERS: %lld is more than WORKERS_MAX was at the start: %u it is",
			  (long long)n, m->workers_cap);
		n = m->workers_cap;
	}
	return (uint32_t)n;
}

void master_generation_end(struct generation *g)
{
	conf_free(g->conf);
	if (g->app_fd >= 0)
		close(g->app_fd);
	*g = NO_GENERATION;
}

void master_reload(struct master *m)
{
	struct conf *next;
	char why[400];
	int app_fd;

	if (!m->ever_ready || master_reloading(m)) {
		m->reload_again = true;
		return;
	}
	next = load(m);
	if (!next)
		return;
	if (master_module_copy(m, next, &app_fd, why, sizeof(why)) != 0) {
		tell_failure(m, why);
		conf_free(next);
		return;
	}
	if (master_logs_differ(&m->logs, next) && master_logs_open(&m->next_logs, next) != 0) {
		tell_failure(m, "a log file cannot be opened");
		if (app_fd >= 0)
			close(app_fd);
		conf_free(next);
		return;
	}
	if (master_limits_enter(m, next, m->last_generation + 1, why, sizeof(why)) != 0) {
		tell_failure(m, why);
		master_logs_close(&m->next_logs);
		if (app_fd >= 0)
			close(app_fd);
		conf_free(next);
		return;
	}
	master_raise_nofile(m, next);
	m->next = (struct generation){
		.number = ++m->last_generation,
		.conf = next,
		.app_fd = app_fd,
		.wanted = wanted_by(m, next),
	};
	m->reload_open = true;
	log_info("Reloading: generation %u with %u workers", m->next.number, m->next.wanted);
}

void master_reload_fail(struct master *m, const char *why)
{
	for (uint32_t i = 0; i < m->nslots; i++) {
		struct child *c = &m->child[i];

		if (!child_is_worker(c) || c->generation != m->next.number)
			continue;
		if (c->state == CHILD_BOOTING)
			master_doom(m, c, REASON_RELOAD, SIGKILL);
		else /* it may serve somebody already */
			master_leave(m, c, REASON_RELOAD, SHM_CMD_DRAIN);
	}
	tell_failure(m, why);
	master_generation_end(&m->next);
	master_logs_close(&m->next_logs);
	m->drained = false;
	m->reload_open = false;
}

/* All new workers are ready: they are the generation now. */
static void promote(struct master *m)
{
	uint32_t old = m->cur.number;

	master_limits_apply(m, m->cur.conf, m->next.conf, m->next.number);
	master_generation_end(&m->cur);
	m->cur = m->next;
	m->next = NO_GENERATION;
	m->drained = false;
	m->backoff = (struct backoff){0};
	if (m->next_logs.error_path) {
		struct log_set was = m->logs;

		m->logs = m->next_logs;
		m->next_logs = (struct log_set){.error.fd = -1, .access.fd = -1};
		master_logs_use(m, m->cur.conf);
		master_logs_close(&was);
	} else {
		master_logs_use(m, m->cur.conf);
	}
	log_info("Generation %u is ready; generation %u drains", m->cur.number, old);
	shm_event_add(&m->shm, "reload", "all new workers are ready");
	for (uint32_t i = 0; i < m->nslots; i++)
		if (m->child[i].state != CHILD_NONE && m->child[i].generation == old)
			master_leave(m, &m->child[i], REASON_RELOAD, SHM_CMD_DRAIN);
}

static bool next_is_ready(const struct master *m)
{
	uint32_t ready = 0;

	for (uint32_t i = 0; i < m->nslots; i++) {
		const struct child *c = &m->child[i];

		ready += child_is_worker(c) && c->generation == m->next.number &&
			 c->state >= CHILD_READY && c->state < CHILD_LEAVING;
	}
	return ready >= m->next.wanted;
}

bool master_reloading(const struct master *m)
{
	if (m->next.conf)
		return true;
	for (uint32_t i = 0; i < m->nslots; i++) {
		const struct child *c = &m->child[i];

		/* One that not even KILL ends at once (state D) must not hold up reloads. */
		if (c->state != CHILD_NONE && c->generation != m->cur.number && !c->kill_sent)
			return true;
	}
	return false;
}

void master_reload_settle(struct master *m)
{
	if (m->next.conf && next_is_ready(m))
		promote(m);
	if (master_reloading(m) || !m->ever_ready)
		return;
	if (m->reload_open) {
		m->reload_open = false;
		log_info("Reload finished: generation %u serves", m->cur.number);
	}
	if (m->reload_again) {
		m->reload_again = false;
		log_info("Reloading again, as was asked for meanwhile");
		master_reload(m);
		master_tick_soon(m); /* spawns in the next turn */
	}
}
