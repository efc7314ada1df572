/* SPDX-License-Identifier: MIT */
/*
 * What can be said of a process without its help: the request that it is at (from its rows in the
 * segment) and what the kernel shows of it in /proc. Nothing here waits for the process, and every
 * text that comes from the segment is cleaned before it reaches a log line.
 */
#include "master/master_priv.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

void master_clean_text(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || (unsigned char)*s >= 0x7f)
			*s = '?';
}

static void clean_view(struct shm_row_view *v)
{
	master_clean_text(v->id);
	master_clean_text(v->method);
	master_clean_text(v->client);
	master_clean_text(v->path);
}

bool master_request_of(const struct master *m, uint32_t slot, struct shm_row_view *ret)
{
	uint32_t at = shm_get(&shm_slot(&m->shm, slot)->current_row);
	struct shm_row_view v;
	bool found = false;

	if (at >= 1 && at <= m->shm.geo.rows && shm_row_read(shm_row(&m->shm, slot, at - 1), ret)) {
		clean_view(ret);
		return true;
	}
	for (uint32_t i = 0; i < m->shm.geo.rows; i++) {
		if (!shm_row_read(shm_row(&m->shm, slot, i), &v))
			continue;
		if (!found || v.since_ns < ret->since_ns)
			*ret = v;
		found = true;
	}
	if (found)
		clean_view(ret);
	return found;
}

void master_note_of(const struct master *m, uint32_t slot, char *out, size_t cap)
{
	char note[SHM_NOTE_MAX];

	(void)shm_note_get(shm_slot(&m->shm, slot), note);
	snprintf(out, cap, "%s", note);
	master_clean_text(out);
}

/* A file of /proc/PID, cut to `cap`; empty when it cannot be read. */
static void read_proc(pid_t pid, const char *name, char *out, size_t cap)
{
	char path[64];
	ssize_t n;
	int fd;

	out[0] = '\0';
	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	n = read(fd, out, cap - 1);
	out[n > 0 ? n : 0] = '\0';
	close(fd);
}

/* The third field of stat, behind the name, which may itself hold brackets and blanks. */
static char process_state(pid_t pid)
{
	char stat[512];
	const char *p;

	read_proc(pid, "stat", stat, sizeof(stat));
	p = strrchr(stat, ')');
	return p && p[1] == ' ' && p[2] != '\0' ? p[2] : '?';
}

void master_report_timeout(struct master *m, const struct child *c, uint64_t stuck_ns)
{
	const char *kind = c->kind == SHM_KEEPER ? "KEEPER" : "WORKER";
	char text[600], wchan[64];
	struct shm_row_view v;
	uint64_t now = loop_now(m->loop);
	int n;

	read_proc(c->pid, "wchan", wchan, sizeof(wchan));
	master_clean_text(wchan);
	n = snprintf(text, sizeof(text),
		     "%s TIMEOUT (pid:%d) slot=%u no_progress=%.1fs process=%c wchan=%s", kind,
		     (int)c->pid, c->slot, (double)stuck_ns / NS_PER_S, process_state(c->pid),
		     wchan[0] ? wchan : "?");
	if (master_request_of(m, c->slot, &v))
		snprintf(text + n, sizeof(text) - (size_t)n,
			 " request=%s method=%s path=%s client=%s age=%.1fs state=%s", v.id,
			 v.method, v.path, v.client,
			 now > v.since_ns ? (double)(now - v.since_ns) / NS_PER_S : 0.0,
			 shm_row_state_name(v.state));
	else
		snprintf(text + n, sizeof(text) - (size_t)n, " request=none");
	log_crit("%s", text);
	shm_event_add(&m->shm, c->kind == SHM_KEEPER ? "keeper_timeout" : "worker_timeout", text);
}
