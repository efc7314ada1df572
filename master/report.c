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
#include <sys/syscall.h>
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

bool master_request_at(const struct master *m, uint32_t slot, uint32_t row,
		       struct shm_row_view *ret)
{
	if (row >= m->shm.geo.rows || !shm_row_read(shm_row(&m->shm, slot, row), ret))
		return false;
	clean_view(ret);
	return true;
}

bool master_request_of(const struct master *m, uint32_t slot, struct shm_row_view *ret)
{
	uint32_t at = shm_get(&shm_slot(&m->shm, slot)->current_row);
	struct shm_row_view v;
	bool found = false;

	if (at >= 1 && master_request_at(m, slot, at - 1, ret))
		return true;
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
static char thread_state(pid_t pid, pid_t tid)
{
	char name[48], stat[512];
	const char *p;

	snprintf(name, sizeof(name), "task/%d/stat", (int)tid);
	read_proc(pid, name, stat, sizeof(stat));
	p = strrchr(stat, ')');
	return p && p[1] == ' ' && p[2] != '\0' ? p[2] : '?';
}

void master_describe_process(pid_t pid, pid_t tid, char *out, size_t cap)
{
	char name[48], wchan[64];

	snprintf(name, sizeof(name), "task/%d/wchan", (int)tid);
	read_proc(pid, name, wchan, sizeof(wchan));
	master_clean_text(wchan);
	snprintf(out, cap, "process=%c wchan=%s", thread_state(pid, tid), wchan[0] ? wchan : "?");
}

bool master_sleeps(pid_t pid, pid_t tid)
{
	char name[48], text[128];
	long nr = -1;

	snprintf(name, sizeof(name), "task/%d/syscall", (int)tid);
	read_proc(pid, name, text, sizeof(text));
	if (sscanf(text, "%ld", &nr) != 1)
		return false; /* it runs, or we may not know */
#ifdef SYS_nanosleep
	if (nr == SYS_nanosleep)
		return true;
#endif
	return nr == SYS_clock_nanosleep;
}

/* ---- reports: one line with the same fields, whatever it is about ---- */

static void describe(const struct master *m, const struct shm_row_view *v, char *out, size_t cap)
{
	uint64_t now = loop_now(m->loop);

	if (v)
		snprintf(out, cap,
			 "request=%s method=%s path=%s client=%s age=%.1fs state=%s", v->id,
			 v->method, v->path, v->client,
			 now > v->since_ns ? (double)(now - v->since_ns) / NS_PER_S : 0.0,
			 shm_row_state_name(v->state));
	else
		snprintf(out, cap, "request=none");
}

void master_report_timeout(struct master *m, const struct child *c, uint64_t stuck_ns)
{
	const char *kind = c->kind == SHM_KEEPER ? "KEEPER" : "WORKER";
	char text[700], process[96], request[480];
	struct shm_row_view v;

	master_describe_process(c->pid, c->pid, process, sizeof(process));
	describe(m, master_request_of(m, c->slot, &v) ? &v : NULL, request, sizeof(request));
	snprintf(text, sizeof(text), "%s TIMEOUT (pid:%d) slot=%u no_progress=%.1fs %s %s", kind,
		 (int)c->pid, c->slot, (double)stuck_ns / NS_PER_S, process, request);
	log_crit("%s", text);
	shm_event_add(&m->shm, c->kind == SHM_KEEPER ? "keeper_timeout" : "worker_timeout", text);
}

void master_report_slow(struct master *m, const struct child *c, uint64_t held_ns,
			const struct shm_row_view *v)
{
	char text[700], process[96], request[480];
	struct shm_row_view clean = *v;

	clean_view(&clean);
	master_describe_process(c->pid, c->pid, process, sizeof(process));
	describe(m, &clean, request, sizeof(request));
	snprintf(text, sizeof(text), "SLOW (pid:%d) slot=%u held=%.1fs %s %s", (int)c->pid, c->slot,
		 (double)held_ns / NS_PER_S, process, request);
	log_warnx("%s", text);
	snprintf(text, sizeof(text), "%s pid=%d held=%.1fs", request, (int)c->pid,
		 (double)held_ns / NS_PER_S);
	shm_event_add(&m->shm, "slow_request", text);
	(void)master_explain(m, c, EXPLAIN_SLOW, c->pid);
}

void master_report_call(struct master *m, const struct child *c, const struct dump_call *call)
{
	bool stuck = call->kind == DUMP_STUCK;
	uint64_t now = loop_now(m->loop);
	double running = now > call->since_ns ? (double)(now - call->since_ns) / NS_PER_S : 0.0;
	char text[700], process[96], request[480];
	struct shm_row_view v;
	bool known = call->row < m->shm.geo.rows &&
		     shm_row_read(shm_row(&m->shm, c->slot, call->row), &v);

	if (known)
		clean_view(&v);
	/* Of a pending call nobody may know a thread: then the loop's state stands there. */
	master_describe_process(c->pid, call->tid ? call->tid : c->pid, process, sizeof(process));
	describe(m, known ? &v : NULL, request, sizeof(request));
	snprintf(text, sizeof(text), "%s (pid:%d) slot=%u thread=%d running=%.1fs %s %s",
		 stuck ? "STUCK" : "SLOW", (int)c->pid, c->slot, (int)call->tid, running, process,
		 request);
	if (stuck)
		log_crit("%s", text);
	else
		log_warnx("%s", text);
	snprintf(text, sizeof(text), "%s pid=%d thread=%d running=%.1fs", request, (int)c->pid,
		 (int)call->tid, running);
	shm_event_add(&m->shm, stuck ? "stuck_request" : "slow_request", text);
	if (call->tid != 0)
		(void)master_explain(m, c, stuck ? EXPLAIN_STUCK : EXPLAIN_SLOW, call->tid);
	else
		log_warnx("  (pid:%d) no stack: no thread has said that it works on it "
			  "(capri_working())", (int)c->pid);
}
