/* SPDX-License-Identifier: MIT */
/*
 * The master from start to end: opens everything, runs the loop, closes everything. Between the
 * first and the last it does what the other files of this room say: one loop, fed by a signalfd,
 * the children's pidfds, one eventfd that they write, and one timer.
 */
#include "master/master_priv.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "unknown"
#endif

#define EXIT_CANNOT_OPEN 1

/* ---- the segment ---- */

/* What may stand in the name of a segment; a socket's path has slashes, which may not. */
static void append_clean(char *out, size_t cap, const char *text)
{
	size_t at = strlen(out);

	for (; *text && at + 1 < cap; text++, at++)
		out[at] = isalnum((unsigned char)*text) || strchr(".:[]_-", *text) ? *text : '-';
	out[at] = '\0';
}

/* Of a name that is too long, the end is replaced by a number made from all of it (FNV-1a). */
static void shorten(char *out, size_t cap, const char *text)
{
	uint32_t h = 2166136261u;

	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * 16777619u;
	snprintf(out + cap - 9, 9, "%08x", h);
}

void master_default_shm_name(const struct conf *conf, char *out, size_t cap)
{
	const struct conf_bind *b = conf->nbinds > 0 ? &conf->binds[0] : NULL;
	char text[NET_TEXT_MAX], number[16];
	const char *first = b ? b->text : "";

	snprintf(out, cap, "/capricorn-%u-", (unsigned)geteuid());
	if (b && b->kind == CONF_BIND_TCP) {
		net_addr_format_port(&b->addr, text);
		first = text;
	}
	append_clean(out, cap, first);
	if (b && b->kind == CONF_BIND_TCP && b->addr.port == 0) {
		/* Any number of instances may ask for any port. */
		snprintf(number, sizeof(number), "-%d", (int)getpid());
		append_clean(out, cap, number);
	}
	if (strlen(out) + 1 >= cap)
		shorten(out, cap, first);
}

/*
 * A container has 64 MB of /dev/shm whatever the number of its CPUs, which the numbers of workers
 * are computed from: as long as nobody has asked for them, they give way.
 */
static bool lower_workers(struct master *m, struct conf *c)
{
	int64_t had = c->s.workers_max, wanted = c->s.web_workers, most = had;
	uint64_t room = shm_room();
	struct shm_geometry geo;

	do {
		master_geometry(c, --most, &geo);
	} while (most > 0 && shm_size_for(&geo) > room);
	if (!conf_lower_workers(c, most))
		return false;
	log_warnx("WORKERS_MAX: %lld do not fit into the %llu bytes that are free in /dev/shm: "
		  "lowered to %lld", (long long)had, (unsigned long long)room, (long long)most);
	if (c->s.web_workers < wanted)
		log_warnx("WEB_WORKERS: lowered from %lld to %lld", (long long)wanted,
			  (long long)c->s.web_workers);
	m->cur.wanted = (uint32_t)c->s.web_workers;
	return true;
}

static bool fits(const struct conf *c)
{
	struct shm_geometry geo;

	master_geometry(c, c->s.workers_max, &geo);
	return shm_size_for(&geo) <= shm_room();
}

/* What nobody has asked for gives way: the cache down to the least one (not to what is left: others
 * need /dev/shm, too), then workers, then all of the cache. */
static bool make_fit(struct master *m, struct conf *c)
{
	uint64_t room = shm_room(), had = c->cache_bytes;
	bool gives = c->s.cache_memory == CONF_UNSET && had > 0;

	if (!(conf_lower_cache(c, 0) && fits(c)) && !lower_workers(m, c)) {
		if (!gives)
			return false;
		c->cache_bytes = 0;
		if (!fits(c) && !lower_workers(m, c))
			return false;
	}
	if (c->cache_bytes != had)
		log_warnx("CACHE_MEMORY: %llu bytes do not fit into the %llu that are free in "
			  "/dev/shm: lowered to %llu", (unsigned long long)had,
			  (unsigned long long)room, (unsigned long long)c->cache_bytes);
	return true;
}

static int open_segment(struct master *m, struct conf *c)
{
	char name[200]; /* NAME_MAX is 255 */
	struct shm_geometry geo;
	bool stale = false, gone = false;
	size_t need = 0;
	int rc;

	if (c->s.shm_name)
		snprintf(name, sizeof(name), "%s", c->s.shm_name);
	else
		master_default_shm_name(c, name, sizeof(name));
	master_geometry(c, c->s.workers_max, &geo);
	rc = shm_create(&m->shm, name, &geo, &gone, &need);
	if (rc == -ENOSPC && make_fit(m, c)) {
		master_geometry(c, c->s.workers_max, &geo);
		rc = shm_create(&m->shm, name, &geo, &stale, &need);
	}
	stale |= gone;
	m->workers_cap = (uint32_t)c->s.workers_max;
	if (rc == -EBUSY) {
		log_errx("SHM_NAME: %s belongs to another running instance", name);
	} else if (rc == -ENOSPC) {
		log_errx("SHM_NAME: no room for %s in /dev/shm: %zu bytes are needed", name, need);
	} else if (rc != 0) {
		errno = -rc;
		log_err("SHM_NAME: cannot create %s", name);
	}
	if (rc != 0)
		return -1;
	m->shm_made = true;
	if (stale)
		log_info("Removed the segment %s of an instance that is gone", name);
	m->nslots = m->shm.geo.slots;
	master_cache_apply(m, c);
	log_debug("Segment %s: %zu bytes, %u slots", name, m->shm.size, m->nslots);
	return 0;
}

static int make_table(struct master *m)
{
	m->child = calloc(m->nslots, sizeof(*m->child));
	m->slot_efd = calloc(m->nslots, sizeof(*m->slot_efd));
	if (!m->child || !m->slot_efd)
		return -1;
	for (uint32_t i = 0; i < m->nslots; i++) {
		m->child[i] = (struct child){.m = m, .slot = i, .exit.fd = -1, .control.fd = -1};
		m->slot_efd[i] = -1;
	}
	for (uint32_t i = 0; i < m->nslots; i++) {
		m->slot_efd[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		if (m->slot_efd[i] < 0)
			return -1;
	}
	m->efd.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return m->efd.fd < 0 || pipe2(m->lifeline, O_CLOEXEC | O_NONBLOCK) != 0 ? -1 : 0;
}

static void fill_instance(struct master *m)
{
	struct shm_instance *inst = m->shm.inst;

	shm_set(&inst->started_wall_ns, clock_wall_ns());
	shm_set(&inst->started_ns, m->started_ns);
	shm_set(&inst->master_pid, (int32_t)getpid());
	shm_set(&inst->generation, m->cur.number);
	shm_set(&inst->workers_wanted, m->cur.wanted);
	shm_set(&inst->state, SHM_IN_BOOT);
}

/* ---- from start to end ---- */

static void init(struct master *m, const struct conf_input *in, struct conf *conf,
		 const struct master_roles *roles)
{
	*m = (struct master){
		.in = *in,
		.roles = roles,
		.cur = {.number = 1, .conf = conf, .app_fd = -1,
			.wanted = (uint32_t)conf->s.web_workers},
		.next = NO_GENERATION,
		.last_generation = 1,
		.started_ns = clock_mono_ns(),
		.status.h.fd = -1,
		.lifeline = {-1, -1},
		.efd.fd = -1,
		.sigs.fd = -1,
		.start_dir = -1,
		.pid_fd = -1,
		.oom_fd = -1,
		.logs = {.error.fd = -1, .access.fd = -1},
		.next_logs = {.error.fd = -1, .access.fd = -1},
	};
}

/* Directory, mask, title, user: what later steps are done under. */
static int settle_in(struct master *m, const struct conf *c)
{
	char title[128];

	m->start_dir = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (c->s.chdir && chdir(c->s.chdir) != 0) {
		log_err("cannot change to %s (CAPRICORN_CHDIR)", c->s.chdir);
		return -1;
	}
	if (c->s.umask >= 0)
		umask((mode_t)c->s.umask);
	master_title_init(&m->in);
	snprintf(title, sizeof(title), "capricorn: master%s%s%s", c->s.name ? " [" : "",
		 c->s.name ? c->s.name : "", c->s.name ? "]" : "");
	master_title_set("capricorn", title);
	return master_resolve_user(m, c);
}

static int copy_module(struct master *m, const struct conf *c)
{
	char why[400];

	if (master_module_copy(m, c, &m->cur.app_fd, why, sizeof(why)) == 0)
		return 0;
	log_errx("%s", why);
	m->exit_code = HERITAGE_EXIT_APP;
	return -1;
}

static int enter_limits(struct master *m, const struct conf *c)
{
	char why[400];

	if (master_limits_enter(m, c, m->cur.number, why, sizeof(why)) == 0)
		return 0;
	log_errx("%s", why);
	return -1;
}

/* Everything that children inherit, in an order in which an early failure leaves nothing behind. */
static int open_all(struct master *m, struct conf *c)
{
	if (loop_init(&m->loop, 4) != 0) {
		log_err("event loop");
		return -1;
	}
	if (master_signals_open(m) != 0) {
		log_err("signalfd");
		return -1;
	}
	if (settle_in(m, c) != 0 || master_logs_open(&m->logs, c) != 0)
		return -1;
	master_logs_use(m, c);
	log_info("Starting capricorn %s", PACKAGE_VERSION);
	if (copy_module(m, c) != 0)
		return -1;
	if (c->s.pid && master_pidfile_take(m, c->s.pid) != 0)
		return -1;
	if (master_listen_open(m, c) != 0 || open_segment(m, c) != 0)
		return -1;
	master_raise_nofile(m, c);
	if (make_table(m) != 0 || master_explain_open(m) != 0 || master_watch_start(m) != 0) {
		log_err("cannot make what the children need");
		return -1;
	}
	master_oom_open(m);
	fill_instance(m);
	return enter_limits(m, c);
}

static void announce(const struct master *m)
{
	for (uint32_t i = 0; i < m->nlisteners; i++)
		log_info("Listening at: %s (%d)", m->listener[i].url, (int)getpid());
	if (m->has_status)
		log_info("Status at: %s (%d)", m->status.url, (int)getpid());
	log_info("Using %u workers", m->cur.wanted);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void close_all(struct master *m)
{
	master_explain_close(m);
	master_listen_close(m);
	master_listen_close_status(m);
	if (m->shm_made)
		shm_destroy(&m->shm);
	master_pidfile_drop(m);
	for (uint32_t i = 0; m->slot_efd && i < m->nslots; i++)
		close_fd(&m->slot_efd[i]);
	close_fd(&m->efd.fd);
	close_fd(&m->sigs.fd);
	close_fd(&m->lifeline[0]);
	close_fd(&m->lifeline[1]);
	close_fd(&m->oom_fd);
	close_fd(&m->start_dir);
	loop_free(m->loop);
	log_set_sink(NULL, NULL);
	master_logs_close(&m->logs);
	master_logs_close(&m->next_logs);
	master_generation_end(&m->cur);
	master_generation_end(&m->next);
	free(m->user_name);
	free(m->listener);
	free(m->heritage_listener);
	free(m->child);
	free(m->slot_efd);
}

int master_run(const struct conf_input *in, struct conf *conf, const struct master_roles *roles)
{
	struct master m;

	init(&m, in, conf, roles);
	if (open_all(&m, conf) == 0) {
		announce(&m);
		master_settle(&m);
		while (!m.done)
			loop_run_once(m.loop, -1);
		log_info("Shutting down: capricorn (%d)", (int)getpid());
	} else if (m.exit_code == 0) {
		m.exit_code = EXIT_CANNOT_OPEN;
	}
	close_all(&m);
	return m.exit_code;
}
