/* SPDX-License-Identifier: MIT */
/*
 * The life of a worker: boot, serve, drain, leave. Commands come as a word in the slot, announced
 * by the slot's eventfd; what the worker has to say (ready, wants to be replaced) it writes into
 * its slot and pokes the master.
 */
#include "worker/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admit/admit.h"
#include "app/app.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/copy.h"
#include "base/log.h"
#include "conf/conf.h"
#include "serve/serve.h"
#include "shm/dump.h"
#include "worker/accept.h"
#include "worker/copy.h"

#define BEAT_NS       (600 * NS_PER_MS) /* an idle process wakes less than twice a second */
#define LINGER_MS     2000              /* idle connections of a worker that is replaced */
#define LINGER_END_MS 500               /* ... when the server as a whole ends */

struct kept {
	int fd;
	bool listener;             /* until we close it */
	dev_t dev;
	ino_t ino;
};

struct worker {
	const struct heritage *h;
	struct shm_slot *slot;
	struct loop *loop;
	struct serve *serve;
	struct acceptor *acceptor;
	struct app *app;
	struct admit *admit;
	struct watch command, lifeline, term, signalled;
	struct timer beat, deadline;
	uint64_t born_ns;
	struct kept *kept;         /* descriptors that must stay what they are */
	uint32_t nkept;
	bool leave, draining;
	int exit_code;
};

static struct worker *self; /* for the sinks, which have no argument or run in a signal */

/* ---- what happens to a worker whose master has died while it is stuck ---- */

static void on_parent_death(int sig)
{
	(void)sig;
	/* The loop sees the end of the lifeline. If it is stuck, this ends it: SIGALRM is not
	 * caught. */
	(void)alarm(self ? (unsigned)(self->h->conf->s.graceful_timeout / 1000) + 1 : 1);
}

static void note_check(const char *text)
{
	struct shm_slot *slot = self->slot;
	size_t len = strnlen(text, sizeof(slot->note) - 1);

	memcpy(slot->note, text, len);
	atomic_store_explicit(&slot->note_len, (uint32_t)len, memory_order_release);
}

static bool log_to_ring(void *arg, const char *line, size_t len)
{
	const struct worker *w = arg;

	return serve_put_record(w->h, SHM_REC_ERROR_LOG, line, len);
}

/* ---- leaving ---- */

/* All clients have gone, and every call that is not stuck has ended: whoever works on for nobody
 * is let finish, too. */
static void leave_if_idle(struct worker *w)
{
	if (serve_connections(w->serve) == 0 && !app_busy(w->app))
		w->leave = true;
}

static void on_drained(struct serve *s, void *arg)
{
	(void)s;
	leave_if_idle(arg);
}

static void on_app_idle(void *arg)
{
	leave_if_idle(arg);
}

static void on_deadline(struct loop *l, struct timer *t)
{
	(void)l;
	(void)t;
	self->leave = true;
}

static void drain(struct worker *w, uint32_t linger_ms, bool empty_queue)
{
	atomic_store_explicit(&w->slot->phase, SHM_PH_DRAINING, memory_order_release);
	w->draining = true;
	accept_stop(w->acceptor, empty_queue);
	app_drain(w->app, on_app_idle, w);
	serve_drain(w->serve, linger_ms, on_drained, w);
}

static void on_lifeline(struct loop *l, struct watch *watch, unsigned events)
{
	struct worker *w = self;

	(void)events;
	log_warnx("The master is gone, shutting down (pid: %d)", (int)getpid());
	w->exit_code = HERITAGE_EXIT_ORPHAN;
	loop_watch(l, watch, 0);
	drain(w, LINGER_END_MS, false);
	timer_arm(l, &w->deadline,
		  loop_now(l) + (uint64_t)w->h->conf->s.graceful_timeout * NS_PER_MS);
}

/* SIGTERM to this one process: it drains, and the master replaces it. A handler that writes an
 * eventfd, not a blocked signal and a signalfd: the mask is inherited, and what user code starts by
 * system() or popen() would be deaf to TERM. */
static void on_term_signal(int sig)
{
	uint64_t one = 1;
	int saved = errno;

	(void)sig;
	if (self && !copy_is())
		(void)!write(self->term.fd, &one, sizeof(one)); /* full: it is told already */
	errno = saved;
}

static void on_term(struct loop *l, struct watch *watch, unsigned events)
{
	uint64_t n;

	(void)l;
	(void)events;
	if (read(watch->fd, &n, sizeof(n)) == (ssize_t)sizeof(n))
		drain(self, LINGER_MS, true); /* the whole group may have got it: leave no queue */
}

static void on_command(struct loop *l, struct watch *watch, unsigned events)
{
	struct worker *w = self;
	uint64_t n;

	(void)l;
	(void)events;
	if (read(watch->fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
		log_warn("cannot read the command eventfd");
	admit_poked(w->admit); /* whatever the command: who drains has waiters, too */
	switch ((enum shm_command)atomic_load_explicit(&w->slot->command, memory_order_acquire)) {
	case SHM_CMD_NONE:
		accept_poked(w->acceptor);
		break;
	case SHM_CMD_DRAIN:
		drain(w, LINGER_MS, false);
		break;
	case SHM_CMD_STOP:
		drain(w, LINGER_END_MS, true);
		break;
	case SHM_CMD_QUIT:
		w->leave = true;
		break;
	}
}

/* ---- beat ---- */

static void ask_for_replacement(struct worker *w, enum shm_why why)
{
	atomic_store_explicit(&w->slot->why, why, memory_order_release);
	heritage_poke_fd(w->h->master_efd);
}

static void after_turn(struct worker *w)
{
	struct shm_slot *slot = w->slot;
	uint64_t goal = shm_get(&slot->requests_goal), now = loop_now(w->loop);

	shm_set(&slot->heartbeat_ns, now);
	shm_set(&slot->c.turns, shm_get(&slot->c.turns) + 1);
	shm_add(&slot->c.busy_ns, loop_stats(w->loop)->last_busy_ns);
	if (goal != 0 && shm_get(&slot->requests_life) >= goal &&
	    shm_get(&slot->why) == SHM_WHY_NONE &&
	    now - w->born_ns >= (uint64_t)w->h->conf->s.min_worker_lifetime * NS_PER_MS)
		ask_for_replacement(w, SHM_WHY_MAX_REQUESTS);
}

/* ---- user code that closes what is ours ---- */

static void keep(struct worker *w, int fd, bool listener)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return;
	w->kept[w->nkept++] = (struct kept){fd, listener, st.st_dev, st.st_ino};
	serve_reserve_fd(w->serve, fd);
}

/* A closed descriptor leaves the epoll without a word: nobody would be told of a command, or of a
 * connection, any more. */
static void check_descriptors(const struct worker *w)
{
	struct stat st;

	for (uint32_t i = 0; i < w->nkept; i++) {
		const struct kept *k = &w->kept[i];

		if (k->listener && w->draining)
			continue;
		CHECK_SAY(fstat(k->fd, &st) == 0 && st.st_dev == k->dev && st.st_ino == k->ino,
			  k->listener ? "a descriptor of ours was closed by the app: a listener" :
			  "a descriptor of ours was closed by the app: of the event loop");
	}
}

static int keep_all(struct worker *w)
{
	w->kept = calloc(7 + (size_t)w->h->nlisteners, sizeof(*w->kept));
	if (!w->kept)
		return -1;
	keep(w, loop_fd(w->loop), false);
	keep(w, w->command.fd, false);
	keep(w, w->lifeline.fd, false);
	keep(w, w->term.fd, false);
	keep(w, w->signalled.fd, false);
	keep(w, w->h->master_efd, false);
	keep(w, app_fd(w->app), false);
	for (uint32_t i = 0; i < w->h->nlisteners; i++)
		keep(w, w->h->listeners[i].fd, true);
	return 0;
}

static void on_beat(struct loop *l, struct timer *t)
{
	timer_arm(l, t, loop_now(l) + BEAT_NS);
	check_descriptors(self);
	dump_objects(); /* a library may have been loaded meanwhile */
}

/* ---- boot ---- */

static uint64_t requests_goal(const struct settings *s)
{
	uint64_t jitter = 0;

	if (s->max_requests == 0)
		return 0;
	if (s->max_requests_jitter > 0 &&
	    getrandom(&jitter, sizeof(jitter), 0) == (ssize_t)sizeof(jitter))
		jitter %= (uint64_t)s->max_requests_jitter + 1;
	return (uint64_t)s->max_requests + jitter;
}

/*
 * A signalfd that never has anything to read. The kernel notifies it of every signal within kill(),
 * and with that takes us off the wait queue of our epoll: who is sent a STOP is not woken for a
 * connection in the milliseconds before it has stopped, which it would then keep from the others.
 */
static int signalled_fd(void)
{
	sigset_t none;

	sigemptyset(&none);
	return signalfd(-1, &none, SFD_NONBLOCK | SFD_CLOEXEC);
}

static void on_signalled(struct loop *l, struct watch *watch, unsigned events)
{
	(void)l;
	(void)watch;
	(void)events;
}

static int watch_fd(struct worker *w, struct watch *watch, int fd, watch_cb_f *cb)
{
	watch->fd = fd;
	watch->cb = cb;
	return loop_watch(w->loop, watch, LOOP_IN);
}

static void take_signals(void)
{
	struct sigaction sa = {.sa_handler = on_parent_death, .sa_flags = SA_RESTART};

	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGALRM, SIG_DFL);
	sigaction(SIGRTMIN, &sa, NULL);
	(void)prctl(PR_SET_PDEATHSIG, SIGRTMIN);
}

/* -1: with errno. */
static int term_fd(struct worker *w)
{
	struct sigaction sa = {.sa_handler = on_term_signal, .sa_flags = SA_RESTART};

	w->term.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (w->term.fd >= 0)
		sigaction(SIGTERM, &sa, NULL);
	return w->term.fd;
}

static int boot(struct worker *w)
{
	const struct settings *set = &w->h->conf->s;
	uint32_t max = (uint32_t)set->worker_connections;
	struct serve_options o = {
		.heritage = w->h, .connections_max = max, .handler = admit_handle,
	};
	int rc, term = term_fd(w); /* before there is a thread of the app that it could end */

	if (loop_init(&w->loop, serve_timers(max) + ACCEPT_TIMERS + APP_TIMERS + ADMIT_TIMERS +
		      2) != 0) {
		log_err("cannot make an event loop");
		return HERITAGE_EXIT_BOOT;
	}
	copy_guard(w->h, w->loop, NULL, term); /* start() may fork, too */
	if (app_new(w->h, w->loop, &w->app) != 0)
		return HERITAGE_EXIT_APP;
	if (admit_new(w->h, w->loop, app_handle, w->app, &w->admit) != 0)
		return HERITAGE_EXIT_BOOT;
	o.loop = w->loop;
	o.handler_arg = w->admit;
	rc = serve_new(&o, &w->serve);
	if (rc == 0)
		rc = accept_new(w->h, w->loop, w->serve, &w->acceptor);
	if (rc != 0) {
		errno = -rc;
		log_err("cannot set up %u connections", max);
		return HERITAGE_EXIT_BOOT;
	}
	if (watch_fd(w, &w->command, w->h->slot_efd[w->h->slot], on_command) != 0 ||
	    watch_fd(w, &w->lifeline, w->h->lifeline_fd, on_lifeline) != 0 ||
	    watch_fd(w, &w->term, term, on_term) != 0 ||
	    watch_fd(w, &w->signalled, signalled_fd(), on_signalled) != 0) {
		log_err("cannot watch a descriptor");
		return HERITAGE_EXIT_BOOT;
	}
	if (keep_all(w) != 0) {
		log_err("no memory");
		return HERITAGE_EXIT_BOOT;
	}
	copy_guard(w->h, w->loop, w->serve, w->term.fd);
	app_attach(w->app, w->serve, w->admit);
	w->deadline.cb = on_deadline;
	w->beat.cb = on_beat;
	timer_arm(w->loop, &w->beat, loop_now(w->loop) + BEAT_NS);
	return 0;
}

/* What the app has completed lets others go on, which may give the app something to do. */
static void end_turn(struct worker *w)
{
	app_end_turn(w->app);
	if (admit_end_turn(w->admit))
		app_end_turn(w->app);
	admit_rest(w->admit);
}

static void run(struct worker *w)
{
	while (!w->leave) {
		accept_decide(w->acceptor);
		loop_run_once(w->loop, -1);
		end_turn(w);
		copy_check(); /* of a process that user code forked off */
		after_turn(w);
		serve_end_turn(w->serve);
	}
}

int worker_main(const struct heritage *h)
{
	struct worker w = {.h = h, .slot = shm_slot(h->shm, h->slot), .born_ns = clock_mono_ns()};

	self = &w;
	take_signals();
	log_set_sink(log_to_ring, &w);
	check_set_sink(note_check);
	if (dump_open(h->shm, h->slot, h->master_efd) != 0)
		log_warnx("no memory for a signal stack: no stacks in reports");
	shm_set(&w.slot->heartbeat_ns, w.born_ns);
	w.exit_code = boot(&w);
	if (w.exit_code == 0) {
		shm_set(&w.slot->requests_goal, requests_goal(&h->conf->s));
		atomic_store_explicit(&w.slot->phase, SHM_PH_READY, memory_order_release);
		heritage_poke_fd(h->master_efd);
		run(&w);
		log_info("Worker exiting (pid: %d)", (int)getpid());
	}
	copy_guard_end();
	(void)signal(SIGTERM, SIG_IGN); /* it leaves */
	accept_free(w.acceptor);
	serve_free(w.serve);
	if (!app_free(w.app))
		_exit(w.exit_code); /* a thread that cannot be ended still uses all of this */
	admit_free(w.admit);
	loop_free(w.loop);
	free(w.kept);
	/* Exit handlers run after this frame is gone: nothing may reach for it any more. */
	(void)prctl(PR_SET_PDEATHSIG, 0);
	dump_close();
	self = NULL;
	log_set_sink(NULL, NULL);
	check_set_sink(NULL);
	return w.exit_code;
}
