/* SPDX-License-Identifier: MIT */
/*
 * The keeper's loop. One timer beats every 600 ms and does all that is periodic: an idle keeper
 * wakes less than twice a second. While lines come in the rings are emptied every 50 ms, and at
 * once when one is half full; when a round finds nothing, any line is to wake the keeper. What it
 * wants to be woken for stands in the segment (keeper_wants).
 */
#include "keeper/keeper.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/loop.h"
#include "conf/conf.h"
#include "keeper/drain.h"
#include "keeper/sample.h"
#include "keeper/warm.h"
#include "serve/serve.h"
#include "shm/cache.h"
#include "shm/declare.h"
#include "shm/dump.h"
#include "status/status.h"

#define BEAT_NS       (600 * NS_PER_MS)
#define FLUSH_NS      (50 * NS_PER_MS)   /* between two rounds while lines come */
#define STALLED_NS    (250 * NS_PER_MS)  /* ... while a log takes none */
#define LEAVE_NS      (500 * NS_PER_MS)  /* for status answers that are under way at the end */
#define TELL_NS       (60 * NS_PER_S)    /* between two lines about lost lines */
#define FINAL_MS      500                /* for a log that takes nothing at the end */
#define CONNECTIONS   64u
#define ACCEPT_BATCH  16
#define OWN_TIMERS    4u

struct keeper {
	const struct heritage *h;
	struct shm_slot *slot;
	struct loop *loop;
	struct serve *serve;           /* NULL without STATUS_BIND */
	struct drain *drain;
	struct sample *sample;
	struct warm *warm;             /* NULL: there is none to do */
	struct watch command, lifeline, control, listener;
	struct timer beat, flush, deadline, sweeper;
	struct shm_cache_sweep sweep;
	uint64_t sampled_ns, told_ns, swept_ns;
	bool orphan, leave;
	int exit_code;
};

static struct keeper *self; /* for the callbacks of watches and timers; one keeper per process */

static void note_check(const char *text)
{
	shm_note_set(self->slot, text);
}

/* ---- logs ---- */

static void want(struct keeper *k, enum shm_keeper_wants what)
{
	atomic_store(&k->h->shm->inst->keeper_wants, what);
}

/* Rings to files; sets when to look again. */
static void flush(struct keeper *k)
{
	enum drain_result r = drain_round(k->drain);

	if (r == DRAIN_EMPTY) {
		/* Said first, looked at again then: a line that came in between is not left behind.
		 * A wake-up that gets lost all the same costs no more than the time to the next
		 * beat. */
		want(k, SHM_KEEPER_ANY_RECORD);
		r = drain_round(k->drain);
	}
	if (r == DRAIN_EMPTY)
		return;
	want(k, r == DRAIN_STALLED ? SHM_KEEPER_NOTHING : SHM_KEEPER_HALF_FULL);
	timer_arm(k->loop, &k->flush,
		  loop_now(k->loop) + (r == DRAIN_STALLED ? STALLED_NS : FLUSH_NS));
}

static void on_flush(struct loop *l, struct timer *t)
{
	(void)l;
	(void)t;
	flush(self);
}

/* All that is there, and a little patience for a log that takes nothing. */
static void final_flush(struct keeper *k)
{
	uint64_t due = clock_mono_ns() + FINAL_MS * NS_PER_MS;
	enum drain_result r;

	while ((r = drain_round(k->drain)) != DRAIN_EMPTY && clock_mono_ns() < due)
		if (r == DRAIN_STALLED)
			(void)poll(NULL, 0, 20); /* nobody else is served any more */
}

/* Lines that are missing from a log are a line in the log; the metrics have them by cause. */
static void tell_losses(struct keeper *k, bool at_the_end)
{
	struct shm *s = k->h->shm;
	uint64_t now = loop_now(k->loop), told = shm_get(&s->inst->losses_told);
	uint64_t lost = shm_get(&s->inst->access_failed);

	for (uint32_t i = 0; i < s->geo.slots; i++)
		lost += shm_get(&shm_slot(s, i)->c.log_lost);
	if (lost == told || (!at_the_end && k->told_ns != 0 && now - k->told_ns < TELL_NS))
		return;
	k->told_ns = now;
	shm_set(&s->inst->losses_told, lost);
	log_warnx("%" PRIu64 " log lines are lost: a log is full or stalled, or slower than lines "
		  "come", lost - told);
}

/* ---- descriptors of log files that were opened anew ---- */

/* One message. false: there is none, or the other end is closed. */
static bool receive(struct keeper *k)
{
	char what;
	int fd, r = declare_other(k->h, &what, &fd);

	if (r == -EPIPE)
		loop_watch(k->loop, &k->control, 0); /* the master is gone; so says the lifeline */
	if (r <= 0)
		return false;
	if (fd < 0)
		return true;
	/* What was logged so far belongs into the old file. */
	flush(k);
	if (what == HERITAGE_ERROR_LOG)
		log_file_adopt(k->h->error_log, fd);
	else if (what == HERITAGE_ACCESS_LOG)
		log_file_adopt(k->h->access_log, fd);
	else
		close(fd);
	return true;
}

static void on_control(struct loop *l, struct watch *w, unsigned events)
{
	(void)l;
	(void)w;
	(void)events;
	while (receive(self))
		;
}

/* ---- leaving ---- */

static void on_served(struct serve *s, void *arg)
{
	struct keeper *k = arg;

	(void)s;
	if (!k->orphan)
		k->leave = true;
}

/* No new status connections; those that are there end with the answer they are at. */
static void close_listener(struct keeper *k)
{
	if (k->listener.fd >= 0) {
		loop_forget(k->loop, &k->listener);
		close(k->listener.fd);
		k->listener.fd = -1;
	}
	if (k->serve)
		serve_drain(k->serve, 0, on_served, k);
}

static void on_deadline(struct loop *l, struct timer *t)
{
	(void)l;
	(void)t;
	self->leave = true;
}

static void leave_soon(struct keeper *k)
{
	if (shm_get(&k->slot->phase) == SHM_PH_DRAINING)
		return;
	atomic_store_explicit(&k->slot->phase, SHM_PH_DRAINING, memory_order_release);
	timer_arm(k->loop, &k->deadline, loop_now(k->loop) + LEAVE_NS);
	close_listener(k);
	if (!k->serve)
		k->leave = true;
}

static void on_command(struct loop *l, struct watch *w, unsigned events)
{
	struct keeper *k = self;
	uint64_t n;

	(void)l;
	(void)events;
	if (read(w->fd, &n, sizeof(n)) < 0 && errno != EAGAIN && errno != EINTR)
		log_warn("the keeper cannot read its eventfd");
	switch ((enum shm_command)atomic_load_explicit(&k->slot->command, memory_order_acquire)) {
	case SHM_CMD_NONE:
		break;
	case SHM_CMD_DRAIN:
	case SHM_CMD_STOP:
		leave_soon(k);
		break;
	case SHM_CMD_QUIT:
		k->leave = true;
		break;
	}
	flush(k);
}

/* The master has died: workers finish what they have begun, and what they log is written. */
static void on_lifeline(struct loop *l, struct watch *w, unsigned events)
{
	struct keeper *k = self;

	(void)events;
	loop_watch(l, w, 0);
	k->orphan = true;
	k->exit_code = HERITAGE_EXIT_ORPHAN;
	atomic_store_explicit(&k->slot->phase, SHM_PH_DRAINING, memory_order_release);
	close_listener(k);
	timer_arm(l, &k->deadline,
		  loop_now(l) + (uint64_t)k->h->conf->s.graceful_timeout * NS_PER_MS);
}

/* ---- the cache ---- */

#define SWEEP_SEGMENTS 16u /* looked at at a time */
#define SWEEP_PAUSE_NS (10 * NS_PER_MS)

/* A round by and by, so that the loop is not held; rounds at CACHE_CLEANUP_INTERVAL, or sooner if
 * there is much to take away. */
static void on_sweep(struct loop *l, struct timer *t)
{
	struct keeper *k = self;
	uint64_t now = loop_now(l);

	if (!shm_cache_sweep(k->h->shm, k->h->slot, &k->sweep, SWEEP_SEGMENTS, now)) {
		timer_arm(l, t, now + SWEEP_PAUSE_NS);
		return;
	}
	k->swept_ns = now;
}

static void sweep_if_due(struct keeper *k, uint64_t now)
{
	uint64_t interval = (uint64_t)k->h->conf->s.cache_cleanup_interval * NS_PER_MS;

	if (shm_cache_object_max(&k->h->shm->geo) == 0 || timer_armed(&k->sweeper))
		return;
	if (now - k->swept_ns >= interval || shm_cache_sweep_due(k->h->shm))
		timer_arm(k->loop, &k->sweeper, now);
}

/* ---- beat ---- */

static void watch_listener(struct keeper *k, bool on)
{
	if (k->listener.fd >= 0 && loop_watch(k->loop, &k->listener, on ? LOOP_IN : 0) != 0)
		log_warn("the keeper cannot watch the listener of STATUS_BIND");
}

static void on_beat(struct loop *l, struct timer *t)
{
	struct keeper *k = self;
	uint64_t now = loop_now(l), interval = (uint64_t)k->h->conf->s.metrics_interval * NS_PER_MS;

	timer_arm(l, t, now + BEAT_NS);
	watch_listener(k, true); /* accepting may have paused */
	if (now - k->sampled_ns + BEAT_NS / 2 >= interval) {
		k->sampled_ns = now;
		sample_all(k->sample, now);
	}
	flush(k);
	tell_losses(k, false);
	sweep_if_due(k, now);
	shm_cache_sample(k->h->shm, now);
	if (!k->orphan)
		warm_beat(k->warm);
	if (k->orphan && !sample_others_live(k->h))
		k->leave = true;
}

/* ---- STATUS_BIND ---- */

static void answer(struct serve *s, struct request *r, void *arg)
{
	const struct keeper *k = arg;
	struct slice rest;

	(void)s;
	if (!request_limit_body(r, (uint64_t)k->h->conf->s.client_max_body_size))
		return;
	if (status_match(k->h->conf, true, request_path(r), &rest))
		request_answer_status(r, rest);
	else
		request_problem(r, 404, "There is nothing at this path. /status is a good begin.");
}

static void on_listener(struct loop *l, struct watch *w, unsigned events)
{
	struct keeper *k = self;

	(void)l;
	(void)events;
	for (int i = 0; i < ACCEPT_BATCH; i++) {
		struct sockaddr_storage ss = {0};
		socklen_t len = sizeof(ss);
		struct net_addr peer;
		int fd;

		if (!serve_make_room(k->serve)) {
			watch_listener(k, false); /* until the next beat */
			return;
		}
		fd = accept4(w->fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (fd < 0) {
			if (errno != EAGAIN)
				watch_listener(k, false); /* EMFILE and the like: not a busy loop */
			return;
		}
		net_addr_from_sockaddr(&peer, (struct sockaddr *)&ss, len);
		serve_accepted(k->serve, fd, &peer);
	}
}

/* ---- boot and run ---- */

static int watch_fd(struct keeper *k, struct watch *w, int fd, watch_cb_f *cb)
{
	w->fd = fd;
	w->cb = cb;
	return fd >= 0 ? loop_watch(k->loop, w, LOOP_IN) : 0;
}

/* Commands come by a word of the slot. TERM may be meant for the whole group: the master leads. */
static void ignore_signals(void)
{
	static const int all[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGTTIN,
				  SIGTTOU, SIGWINCH, SIGPIPE};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		(void)signal(all[i], SIG_IGN); /* fails for none of these */
}

static int boot_serve(struct keeper *k)
{
	struct serve_options o = {
		.heritage = k->h, .loop = k->loop, .connections_max = CONNECTIONS, .keeper = true,
		.handler = answer, .handler_arg = k,
	};

	k->listener.fd = k->h->status_listener.fd;
	if (k->listener.fd < 0)
		return 0;
	return serve_new(&o, &k->serve);
}

static int boot(struct keeper *k)
{
	bool again = shm_get(&shm_slot(k->h->shm, k->h->slot)->incarnation) > 1;
	int rc;

	if (loop_init(&k->loop, serve_timers(CONNECTIONS) + OWN_TIMERS +
		      warm_timers(k->h->conf)) != 0)
		return -errno;
	if (again)
		log_file_mend(k->h->access_log); /* the one before us may have been killed */
	rc = drain_new(k->h, &k->drain);
	if (rc == 0)
		rc = sample_new(k->h, &k->sample);
	if (rc == 0)
		rc = warm_new(k->h, k->loop, again, &k->warm);
	if (rc == 0)
		rc = boot_serve(k);
	if (rc != 0)
		return rc;
	if (watch_fd(k, &k->command, k->h->slot_efd[k->h->slot], on_command) != 0 ||
	    watch_fd(k, &k->lifeline, k->h->lifeline_fd, on_lifeline) != 0 ||
	    watch_fd(k, &k->control, k->h->control_fd, on_control) != 0 ||
	    watch_fd(k, &k->listener, k->listener.fd, on_listener) != 0)
		return -errno;
	k->flush.cb = on_flush;
	k->deadline.cb = on_deadline;
	k->beat.cb = on_beat;
	k->sweeper.cb = on_sweep;
	k->swept_ns = loop_now(k->loop);
	timer_arm(k->loop, &k->beat, loop_now(k->loop) + BEAT_NS);
	return 0;
}

static void run(struct keeper *k)
{
	sample_all(k->sample, loop_clock(k->loop));
	k->sampled_ns = loop_now(k->loop);
	flush(k); /* also what a keeper before this one has left */
	while (!k->leave) {
		loop_run_once(k->loop, -1);
		shm_set(&k->slot->heartbeat_ns, loop_now(k->loop));
		if (k->serve)
			serve_end_turn(k->serve);
	}
	final_flush(k);
	tell_losses(k, true);
}

int keeper_main(const struct heritage *h)
{
	struct keeper k = {.h = h, .slot = shm_slot(h->shm, h->slot), .listener = {.fd = -1}};
	int rc;

	self = &k;
	ignore_signals();
	log_set_sink(log_file_sink, h->error_log);
	check_set_sink(note_check);
	(void)dump_open(h->shm, h->slot, h->master_efd); /* without: no stacks in reports */
	shm_set(&k.slot->heartbeat_ns, clock_mono_ns());
	rc = boot(&k);
	if (rc == 0) {
		atomic_store_explicit(&k.slot->phase, SHM_PH_READY, memory_order_release);
		heritage_poke_fd(h->master_efd);
		run(&k);
	} else {
		errno = -rc;
		log_err("the keeper cannot boot");
		k.exit_code = HERITAGE_EXIT_BOOT;
	}
	serve_free(k.serve);
	sample_free(k.sample);
	warm_free(k.warm);
	drain_free(k.drain);
	loop_free(k.loop);
	dump_close();
	check_set_sink(NULL); /* this frame is gone when exit handlers run */
	self = NULL;
	return k.exit_code;
}
