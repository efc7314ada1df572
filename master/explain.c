/* SPDX-License-Identifier: MIT */
/*
 * Stacks in reports. A thread is asked for its stack and has a second to give it; a short-lived
 * child, the reporter, then gives names to the addresses and has a second, too; what it writes into
 * a pipe the master logs in one go. So nothing here waits: not for a process that hangs, not for a
 * file. When there is no stack, or the reporter does not end in time, that is said, and who is to
 * be killed is killed all the same.
 */
#include "master/master_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/strbuf.h"

#define ASK_NS       NS_PER_S
#define RESOLVE_NS   NS_PER_S
#define LOOK_NS      (50 * NS_PER_MS) /* while one is awaited whose coming nobody tells of */
#define EXPLAIN_MAX  8u
#define TEXT_MAX     8192u

/* A process has one dump area: whoever comes while another thread of it is asked waits for that. */
enum explain_state { EXPLAIN_FREE, EXPLAIN_WAITING, EXPLAIN_ASKED, EXPLAIN_RESOLVING };

struct explain {
	struct master *m;
	enum explain_state state;
	enum explain_kind kind;
	uint32_t slot, ticket;
	pid_t pid, tid;
	uint64_t since_ns;         /* of the state */
	struct watch out;          /* the reporter's pipe */
	int reporter;              /* its pidfd; -1 = none */
	struct dump_stack stack;
	uint32_t nobjects;
	struct dump_object object[SHM_OBJECTS];
	size_t len;
	char text[TEXT_MAX];
};

int master_explain_open(struct master *m)
{
	m->explain = calloc(EXPLAIN_MAX, sizeof(*m->explain));
	for (uint32_t i = 0; m->explain && i < EXPLAIN_MAX; i++) {
		m->explain[i].m = m;
		m->explain[i].out.fd = m->explain[i].reporter = -1;
	}
	return m->explain ? 0 : -1;
}

static struct explain *get(struct master *m)
{
	for (uint32_t i = 0; i < EXPLAIN_MAX; i++)
		if (m->explain[i].state == EXPLAIN_FREE)
			return &m->explain[i];
	return NULL;
}

static void put(struct explain *e)
{
	if (e->out.fd >= 0) {
		(void)loop_watch(e->m->loop, &e->out, 0);
		close(e->out.fd);
	}
	if (e->reporter >= 0) {
		(void)pidfd_send_signal(e->reporter, SIGKILL, NULL, 0); /* most have ended */
		close(e->reporter);
	}
	e->out = (struct watch){.fd = -1};
	e->reporter = -1;
	e->state = EXPLAIN_FREE;
}

/* ---- what is logged ---- */

__attribute__((format(printf, 2, 3))) static void say(const struct explain *e, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	switch (e->kind) {
	case EXPLAIN_SLOW:
		log_warnx("  (pid:%d) %s", (int)e->pid, text);
		break;
	case EXPLAIN_CRASH:
		log_errx("  (pid:%d) %s", (int)e->pid, text);
		break;
	case EXPLAIN_TIMEOUT:
	case EXPLAIN_STUCK:
		log_crit("  (pid:%d) %s", (int)e->pid, text);
		break;
	}
}

/* The function that the first frame with a name is in, into the history: what a crash or a slow
 * request has been at is seen in /status too. */
static void note_event(const struct explain *e, const char *line)
{
	static const char *const kind[] = {"timeout_at", "stuck_at", "slow_at", "crash_at"};
	char text[160];

	snprintf(text, sizeof(text), "pid:%d %.140s", (int)e->pid, line);
	shm_event_add(&e->m->shm, kind[e->kind], text);
}

static void log_names(struct explain *e)
{
	struct child *c = &e->m->child[e->slot];
	char *line = e->text, *end;

	c->stack_told |= c->pid == e->pid && e->kind == EXPLAIN_TIMEOUT;
	e->text[e->len] = '\0';
	if (e->len > 0)
		note_event(e, strncmp(line, "#0 ", 3) == 0 ? line + 3 : line);
	for (; *line; line = end + 1) {
		end = strchr(line, '\n');
		if (!end)
			break;
		*end = '\0';
		say(e, "%s", line);
	}
}

/* Without names: whoever has the binary can find them. */
static void log_addresses(const struct explain *e)
{
	char text[380];
	int n = 0;

	text[0] = '\0';
	for (uint32_t i = 0; i < e->stack.n && n < (int)sizeof(text) - 20; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, " 0x%" PRIx64, e->stack.pc[i]);
	say(e, "stack without names:%s", text);
}

static void end(struct explain *e)
{
	struct master *m = e->m;
	uint32_t slot = e->slot;
	pid_t pid = e->pid;
	bool doomed = e->kind == EXPLAIN_TIMEOUT;

	put(e);
	if (doomed && m->child[slot].pid == pid)
		master_explained(m, &m->child[slot]);
}

/* ---- the reporter ---- */

__attribute__((noreturn)) static void run_reporter(const struct explain *e, int out)
{
	struct strbuf text;
	size_t at = 0;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)signal(SIGALRM, SIG_DFL);
	(void)alarm(5);
	if (master_drop_privileges(e->m) != 0)
		_exit(1);
	strbuf_init(&text);
	master_resolve(&e->stack, e->object, e->nobjects, &text);
	while (at < text.len) { /* a pipe holds more than it can be: this never waits */
		ssize_t n = write(out, text.p + at, text.len - at);

		if (n <= 0)
			break;
		at += (size_t)n;
	}
	_exit(0);
}

static void on_text(struct loop *l, struct watch *w, unsigned events)
{
	struct explain *e = (struct explain *)(void *)((char *)w - offsetof(struct explain, out));
	ssize_t n = read(w->fd, e->text + e->len, TEXT_MAX - 1 - e->len);

	(void)l;
	(void)events;
	if (n > 0 && (e->len += (size_t)n) < TEXT_MAX - 1)
		return;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (e->len > 0)
		log_names(e);
	else
		log_addresses(e);
	end(e);
}

static int start_reporter(struct explain *e)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		master_child_gives_up(e->m);
		master_title_set("capricorn-rep", "capricorn: reporter");
		run_reporter(e, fds[1]);
	}
	close(fds[1]);
	if (pid < 0) {
		close(fds[0]);
		return -1;
	}
	e->reporter = pidfd_open(pid, 0);
	e->out = (struct watch){.fd = fds[0], .cb = on_text};
	return loop_watch(e->m->loop, &e->out, LOOP_IN);
}

static void resolve(struct explain *e)
{
	e->state = EXPLAIN_RESOLVING;
	e->since_ns = loop_now(e->m->loop);
	e->len = 0;
	e->nobjects = dump_read_objects(&e->m->shm, e->slot, e->object);
	master_tick_soon(e->m);
	if (e->stack.n > 0 && start_reporter(e) == 0)
		return;
	log_addresses(e);
	end(e);
}

/* ---- the steps ---- */

static void no_stack(const struct explain *e, const char *why)
{
	char text[160];

	master_describe_process(e->pid, e->tid, text, sizeof(text));
	say(e, "no stack: %s (%s)", why, text);
}

/* Has the thread answered? */
static void look_at(struct explain *e)
{
	int rc = dump_take(&e->m->shm, e->slot, e->ticket, &e->stack);

	if (rc == 0) {
		resolve(e);
	} else if (rc == -ECANCELED) {
		no_stack(e, "the dump was taken away");
		end(e);
	}
}

static bool ask(struct explain *e)
{
	int rc = dump_ask(&e->m->shm, e->slot, e->pid, e->tid, DUMP_BY_MASTER, &e->ticket);

	if (rc != 0) {
		if (rc != -ENOTSUP)
			no_stack(e, strerror(-rc));
		return false;
	}
	e->state = EXPLAIN_ASKED;
	e->since_ns = loop_now(e->m->loop);
	master_tick_soon(e->m);
	return true;
}

bool master_explain(struct master *m, const struct child *c, enum explain_kind kind, pid_t tid)
{
	struct explain *e = get(m);

	if (!e)
		return false;
	e->kind = kind;
	e->slot = c->slot;
	e->pid = c->pid;
	e->tid = tid;
	e->since_ns = loop_now(m->loop);
	e->stack.n = 0;
	/* Who sleeps would be woken by the question: a diagnosis must not change what it looks at.
	 * Who is to be killed has no such claim. */
	if (kind == EXPLAIN_SLOW && master_sleeps(c->pid, tid)) {
		no_stack(e, "asking for it would end a sleep");
		return false;
	}
	if (master_explain_asks(m, c)) {
		e->state = EXPLAIN_WAITING;
		return true;
	}
	return ask(e);
}

void master_explain_crash(struct master *m, const struct child *c, const struct dump_stack *stack)
{
	struct explain *e = get(m);

	if (!e || stack->n == 0)
		return;
	e->kind = EXPLAIN_CRASH;
	e->slot = c->slot;
	e->pid = c->pid;
	e->tid = c->pid;
	e->stack = *stack;
	resolve(e);
}

void master_explain_look(struct master *m)
{
	for (uint32_t i = 0; i < EXPLAIN_MAX; i++)
		if (m->explain[i].state == EXPLAIN_ASKED)
			look_at(&m->explain[i]);
	for (uint32_t i = 0; i < EXPLAIN_MAX; i++) {
		struct explain *e = &m->explain[i];

		if (e->state == EXPLAIN_WAITING && !master_explain_asks(m, &m->child[e->slot]) &&
		    !ask(e))
			put(e);
	}
}

void master_explain_died(struct master *m, const struct child *c)
{
	for (uint32_t i = 0; i < EXPLAIN_MAX; i++) {
		struct explain *e = &m->explain[i];

		if (e->pid != c->pid)
			continue;
		if (e->state == EXPLAIN_ASKED)
			look_at(e); /* it may have answered just before */
		if (e->state == EXPLAIN_ASKED || e->state == EXPLAIN_WAITING)
			put(e);
	}
}

bool master_explain_asks(const struct master *m, const struct child *c)
{
	for (uint32_t i = 0; i < EXPLAIN_MAX; i++)
		if (m->explain[i].state == EXPLAIN_ASKED && m->explain[i].pid == c->pid)
			return true;
	return false;
}

void master_explain_cancel(struct master *m, const struct child *c)
{
	for (uint32_t i = 0; i < EXPLAIN_MAX; i++) {
		struct explain *e = &m->explain[i];

		if (e->pid != c->pid || (e->state != EXPLAIN_ASKED && e->state != EXPLAIN_WAITING))
			continue;
		if (e->state == EXPLAIN_ASKED)
			dump_drop(&m->shm, e->slot, e->ticket);
		put(e);
	}
}

static uint64_t step(struct explain *e, uint64_t now)
{
	uint64_t begun = e->since_ns > e->m->fresh_ns ? e->since_ns : e->m->fresh_ns;
	uint64_t due = begun + (e->state == EXPLAIN_ASKED ? ASK_NS : RESOLVE_NS);

	if (e->state == EXPLAIN_WAITING)
		due = begun + EXPLAIN_MAX * ASK_NS;
	if (now < due)
		return e->state != EXPLAIN_RESOLVING && now + LOOK_NS < due ? now + LOOK_NS : due;
	if (e->state == EXPLAIN_ASKED) {
		dump_drop(&e->m->shm, e->slot, e->ticket);
		no_stack(e, "it did not run to give one within a second");
	} else if (e->state == EXPLAIN_WAITING) {
		no_stack(e, "other threads were asked all of the time");
	} else {
		log_addresses(e);
	}
	end(e);
	return UINT64_MAX;
}

uint64_t master_explain_tick(struct master *m, uint64_t now)
{
	uint64_t next = UINT64_MAX;

	master_explain_look(m);
	for (uint32_t i = 0; i < EXPLAIN_MAX; i++) {
		uint64_t due;

		if (m->explain[i].state == EXPLAIN_FREE)
			continue;
		due = step(&m->explain[i], now);
		if (due < next)
			next = due;
	}
	return next;
}

void master_explain_child(struct master *m)
{
	for (uint32_t i = 0; i < EXPLAIN_MAX; i++) {
		if (m->explain[i].out.fd >= 0)
			close(m->explain[i].out.fd);
		if (m->explain[i].reporter >= 0)
			close(m->explain[i].reporter);
	}
}

void master_explain_close(struct master *m)
{
	for (uint32_t i = 0; m->explain && i < EXPLAIN_MAX; i++)
		if (m->explain[i].state != EXPLAIN_FREE)
			put(&m->explain[i]);
	free(m->explain);
	m->explain = NULL;
}
