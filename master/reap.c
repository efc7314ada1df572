/* SPDX-License-Identifier: MIT */
/*
 * The end of a child: why it ended, what it was at, the record of it in log and segment, and then
 * the recovery of its slot. The order matters: the rows are read before recovery frees them.
 */
#include "master/master_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"

struct ending {
	enum shm_reason reason;
	int sig, code;            /* one of them is 0 */
	bool asked;               /* an end that belongs to normal life */
	bool has_request;
	struct shm_row_view request;
	char note[160];
	bool has_words;           /* of the crash itself */
	struct dump_words words;
	char fault[96];           /* "address 0x0, stack overflow" */
};

static enum shm_reason reason_of_signal(struct master *m, const struct child *c,
					const struct ending *e)
{
	switch (e->sig) {
	case SIGTERM:
		return c->state == CHILD_LEAVING ? c->reason : REASON_TERMINATED;
	case SIGKILL:
		return master_oom_happened(m) ? REASON_OOM : REASON_KILLED;
	case SIGABRT:
		return e->note[0] ? REASON_CHECK_FAILED : REASON_CRASHED;
	case SIGSEGV:
	case SIGBUS:
	case SIGFPE:
	case SIGILL:
	case SIGSYS:
	case SIGTRAP:
		return REASON_CRASHED;
	default:
		return REASON_KILLED;
	}
}

static enum shm_reason reason_of_code(struct master *m, const struct child *c, int code)
{
	const struct shm_slot *s = shm_slot(&m->shm, c->slot);

	if (code == HERITAGE_EXIT_OK && c->state == CHILD_LEAVING)
		return c->reason;
	if (code == HERITAGE_EXIT_OK && shm_get(&s->phase) == SHM_PH_DRAINING)
		return REASON_TERMINATED;
	if (c->state != CHILD_BOOTING)
		return REASON_EXITED; /* a module's exit(), whatever its code */
	if (code == HERITAGE_EXIT_APP || shm_get(&s->exit_code) == HERITAGE_EXIT_APP)
		return REASON_APP_FAILED;
	return code == HERITAGE_EXIT_BOOT ? REASON_BOOT_FAILED : REASON_EXITED;
}

/* What a crash has left behind: which thread, where, and at which request. */
static void examine_words(struct master *m, const struct child *c, struct ending *e)
{
	const struct dump_words *w = &e->words;
	int n = 0;

	if (!e->sig || !dump_last_words(&m->shm, c->slot, &e->words) || e->words.sig != e->sig)
		return;
	e->has_words = true;
	if (w->sender > 0 && w->sig != SIGABRT)
		n = snprintf(e->fault, sizeof(e->fault), "sent by pid %d", (int)w->sender);
	else if (w->sender == 0)
		n = snprintf(e->fault, sizeof(e->fault), "address 0x%" PRIx64, w->addr);
	if (w->overflow)
		n += snprintf(e->fault + n, sizeof(e->fault) - (size_t)n, ", stack overflow");
	if (w->thread != c->pid)
		snprintf(e->fault + n, sizeof(e->fault) - (size_t)n, "%sthread %d",
			 n > 0 ? ", " : "", (int)w->thread);
	if (w->row != UINT32_MAX)
		e->has_request = master_request_at(m, c->slot, w->row, &e->request);
	else if (w->thread != c->pid)
		e->has_request = false; /* not the loop, and at none */
}

static void examine(struct master *m, const struct child *c, int status, struct ending *e)
{
	*e = (struct ending){0};
	master_note_of(m, c->slot, e->note, sizeof(e->note));
	e->has_request = master_request_of(m, c->slot, &e->request);
	if (WIFSIGNALED(status))
		e->sig = WTERMSIG(status);
	else
		e->code = WEXITSTATUS(status);
	examine_words(m, c, e);
	if (c->state == CHILD_DOOMED)
		e->reason = c->reason;
	else if (e->sig)
		e->reason = reason_of_signal(m, c, e);
	else
		e->reason = reason_of_code(m, c, e->code);
	e->asked = e->reason < REASON_CRASHED || e->reason == REASON_MAX_MEMORY ||
		   e->reason == REASON_STUCK;
}

/* ", at GET /slow (id 7f.., client 10.0.0.1, 3.2 s)" or nothing. */
static void describe_request(const struct ending *e, uint64_t now, char *out, size_t cap)
{
	const struct shm_row_view *v = &e->request;

	out[0] = '\0';
	if (e->has_request)
		snprintf(out, cap, ", at %s %s (id %s, client %s, %.1f s)", v->method, v->path,
			 v->id, v->client,
			 now > v->since_ns ? (double)(now - v->since_ns) / NS_PER_S : 0.0);
}

static void log_ending(const struct child *c, const struct ending *e, uint64_t now)
{
	const char *kind = master_kind_name(c->kind);
	const char *why = e->note[0] ? e->note : e->fault;
	char at[400];

	describe_request(e, now, at, sizeof(at));
	if (e->asked && (!e->sig || c->kill_sent))
		log_info("%s (pid:%d) %s: %s%s", kind, (int)c->pid,
			 e->sig ? "was killed" : "has left", master_reason_text(e->reason), at);
	else if (e->reason == REASON_KILLED && e->sig == SIGKILL)
		log_errx("%s (pid:%d) was sent SIGKILL! Perhaps out of memory?%s", kind,
			 (int)c->pid, at);
	else if (e->sig)
		log_errx("%s (pid:%d) was sent SIG%s! %s%s%s%s", kind, (int)c->pid,
			 sigabbrev_np(e->sig) ? sigabbrev_np(e->sig) : "RT",
			 master_reason_text(e->reason), why[0] ? ": " : "", why, at);
	else
		log_errx("%s (pid:%d) exited with code %d: %s%s%s%s", kind, (int)c->pid, e->code,
			 master_reason_text(e->reason), e->note[0] ? ": " : "", e->note, at);
}

static void record_ending(struct master *m, const struct child *c, const struct ending *e,
			  uint64_t now)
{
	const struct shm_row_view *v = &e->request;
	struct shm_exit x = {
		.pid = c->pid,
		.slot = c->slot,
		.generation = c->generation,
		.signal = e->sig,
		.code = e->code,
		.oom = e->reason == REASON_OOM,
		.kind = (uint32_t)c->kind,
		.wall_ns = clock_wall_ns(),
		.age_ns = now - c->born_ns,
		.requests = shm_get(&shm_slot(&m->shm, c->slot)->requests_life),
	};

	snprintf(x.reason, sizeof(x.reason), "%s", master_reason_word(e->reason));
	snprintf(x.note, sizeof(x.note), "%s", e->note[0] ? e->note : e->fault);
	if (e->has_request) {
		snprintf(x.request_id, sizeof(x.request_id), "%.*s",
			 (int)sizeof(x.request_id) - 1, v->id);
		snprintf(x.method, sizeof(x.method), "%.*s", (int)sizeof(x.method) - 1, v->method);
		snprintf(x.path, sizeof(x.path), "%.*s", (int)sizeof(x.path) - 1, v->path);
		snprintf(x.client, sizeof(x.client), "%.*s", (int)sizeof(x.client) - 1, v->client);
	}
	shm_exit_add(&m->shm, &x);
	if (c->kind == SHM_WORKER)
		atomic_fetch_add_explicit(&m->shm.inst->restarts_by_reason[e->reason], 1,
					  memory_order_relaxed);
}

/* Gives the entry and the slot back. */
static void bury(struct master *m, struct child *c)
{
	uint32_t slot = c->slot;

	if (c->exit.fd >= 0) {
		/* Taken out, not only closed: a child forked just now may still have a copy, and
		 * as long as it has, the loop would be told of a watch that is no more. */
		(void)loop_watch(m->loop, &c->exit, 0);
		close(c->exit.fd);
	}
	(void)loop_watch(m->loop, &c->control, 0);
	close(c->control.fd);
	shm_slot_recover(&m->shm, slot);
	*c = (struct child){.m = m, .slot = slot, .exit.fd = -1, .control.fd = -1};
	/* What it held, its share of the listeners too, is free for the others. */
	master_wake_all(m);
}

/* What its end means for the generation that it belonged to. */
static void draw_conclusions(struct master *m, const struct child *c, const struct ending *e,
			     uint64_t now)
{
	char why[160];

	if (!e->asked && m->stop == STOP_NONE)
		master_backoff_death(m, c, now);
	if (e->reason == REASON_APP_FAILED && !m->ever_ready)
		m->boot_app_failed = true;
	if (c->state == CHILD_BOOTING && m->next.conf && c->generation == m->next.number) {
		snprintf(why, sizeof(why), "a new worker (pid:%d) failed at its start: %s",
			 (int)c->pid, master_reason_text(e->reason));
		master_reload_fail(m, why);
	}
}

static void child_ended(struct master *m, struct child *c, int status)
{
	uint64_t now = loop_now(m->loop);
	struct ending e;
	struct child was;

	master_explain_died(m, c);
	master_look(m, c); /* it may have become ready, or begun to drain, just before */
	examine(m, c, status, &e);
	log_ending(c, &e, now);
	record_ending(m, c, &e, now);
	if (e.has_words && !c->stack_told)
		master_explain_crash(m, c, &e.words.stack);
	was = *c;
	bury(m, c);
	draw_conclusions(m, &was, &e, now);
	master_settle(m);
}

void master_reap(struct master *m, struct child *c)
{
	int status;

	if (waitpid(c->pid, &status, WNOHANG) == c->pid)
		child_ended(m, c, status);
}

void master_reap_all(struct master *m)
{
	siginfo_t si;

	for (;;) {
		struct child *c;

		si.si_pid = 0;
		if (waitid(P_ALL, 0, &si, WEXITED | WNOHANG | WNOWAIT) != 0 || si.si_pid == 0)
			return;
		c = master_child_by_pid(m, si.si_pid);
		if (c)
			master_reap(m, c);
		else /* as pid 1, or after exec in a process that had children: orphans */
			(void)waitpid(si.si_pid, NULL, WNOHANG);
	}
}
