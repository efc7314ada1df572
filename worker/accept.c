/* SPDX-License-Identifier: MIT */
/*
 * Who accepts. The listening sockets are shared, so no queued connection is lost with a worker.
 * Each worker that is not above its share has them in its epoll, exclusively: the kernel wakes one
 * that waits. "Above" is more than an eighth (at least one) over the mean of the workers that are
 * ready.
 *
 * What others count is read without a lock and may be old; it may even come from a worker that is
 * stopped. So a worker that does not listen looks at the queue every RESCUE_NS: what has been left
 * there, nobody else was awake for, and it takes it whatever its share. That bound holds for every
 * combination of stale counts, and costs wake-ups only while the spread is uneven.
 */
#include "worker/accept.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "conf/conf.h"
#include "shm/shm.h"

#define RESCUE_NS    (40 * NS_PER_MS)
#define BATCH        16 /* connections taken in one go, so that requests are not kept waiting */
#define ABSENT_NS    (1500 * NS_PER_MS) /* without a beat: two have been missed */
#define ERROR_LOG_NS NS_PER_S /* EMFILE and the like: one line a second */

struct listener {
	struct watch watch;        /* first */
	struct acceptor *acceptor;
};

struct acceptor {
	const struct heritage *h;
	struct loop *loop;
	struct serve *serve;
	struct shm_slot *slot;
	struct timer rescue;
	bool listening, stopped;
	uint32_t decided_at;       /* connections when it was decided last; UINT32_MAX = never */
	uint64_t error_logged_ns;
	uint32_t n;
	struct listener listener[];
};

struct board {
	uint32_t workers;          /* ready ones, ourselves included */
	uint32_t connections;
	uint32_t least_slot;       /* of the others; 0 = there is none */
};

static struct acceptor *of_timer(struct timer *t)
{
	return (struct acceptor *)(void *)((char *)t - offsetof(struct acceptor, rescue));
}

static struct board read_board(const struct acceptor *a)
{
	const struct shm *shm = a->h->shm;
	struct board b = {.workers = 1, .connections = serve_connections(a->serve)};
	uint32_t least = UINT32_MAX;
	uint64_t now = loop_now(a->loop);

	for (uint32_t i = 1; i < shm->geo.slots; i++) {
		const struct shm_slot *o = shm_slot(shm, i);
		uint32_t n;

		if (i == a->h->slot || shm_get(&o->kind) != SHM_WORKER ||
		    shm_get(&o->phase) != SHM_PH_READY || shm_get(&o->stuck) ||
		    shm_get(&o->heartbeat_ns) + ABSENT_NS < now)
			continue; /* nothing can be left to it */
		n = shm_get(&o->connections);
		b.workers++;
		b.connections += n;
		if (n < least) {
			least = n;
			b.least_slot = i;
		}
	}
	return b;
}

static bool above_share(const struct board *b, uint32_t mine)
{
	uint32_t mean = b->connections / b->workers;
	uint32_t slack = mean / 8 > 1 ? mean / 8 : 1;

	return b->least_slot != 0 && mine > mean + slack;
}

static void listen_off(struct acceptor *a)
{
	if (a->listening)
		for (uint32_t i = 0; i < a->n; i++)
			(void)loop_watch(a->loop, &a->listener[i].watch, 0);
	a->listening = false;
	shm_set(&a->slot->listening, 0);
	if (!timer_armed(&a->rescue)) /* who is told so again and again must not put it off */
		timer_arm(a->loop, &a->rescue, loop_now(a->loop) + RESCUE_NS);
}

static void log_failure(struct acceptor *a, const char *what)
{
	uint64_t now = loop_now(a->loop);

	if (now - a->error_logged_ns < ERROR_LOG_NS)
		return;
	a->error_logged_ns = now;
	log_warn("%s, %u are open; trying again", what, serve_connections(a->serve));
}

static void listen_on(struct acceptor *a)
{
	if (a->listening)
		return;
	a->listening = true;
	for (uint32_t i = 0; i < a->n; i++)
		if (loop_watch(a->loop, &a->listener[i].watch, LOOP_IN | LOOP_EXCLUSIVE) != 0) {
			log_failure(a, "cannot watch a listener");
			listen_off(a); /* the rescue timer takes what comes */
			return;
		}
	shm_set(&a->slot->listening, 1);
	timer_disarm(a->loop, &a->rescue);
}

static void accept_failed(struct acceptor *a, int err)
{
	if (err == ECONNABORTED || err == EINTR || err == EPROTO || err == EPERM)
		return; /* of this one connection: the next may be well */
	shm_add(&a->slot->c.accept_errors, 1);
	errno = err;
	log_failure(a, "cannot accept connections");
	listen_off(a); /* the rescue timer tries again; spinning would help nobody */
}

/* Accepts one connection. 1, 0 = the queue is empty, -1 = not now. */
static int accept_one(struct acceptor *a, struct watch *w)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct net_addr peer;
	int fd;

	if (!serve_make_room(a->serve)) {
		if (a->listening)
			shm_add(&a->slot->c.accept_paused, 1);
		listen_off(a);
		return -1;
	}
	fd = accept4(w->fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0) {
		if (errno == EAGAIN)
			return 0;
		CHECK_SAY(errno != EBADF && errno != ENOTSOCK,
			  "a descriptor of ours was closed by the app: a listener");
		accept_failed(a, errno);
		return a->listening ? 1 : -1;
	}
	net_addr_from_sockaddr(&peer, (struct sockaddr *)&ss, len);
	serve_accepted(a->serve, fd, &peer);
	return 1;
}

/* Accepts until the queue is empty or we are above our share; then a named sibling is woken. */
static void accept_share(struct acceptor *a, struct watch *w)
{
	struct board b = read_board(a);

	for (int i = 0; i < BATCH; i++) {
		uint32_t mine = serve_connections(a->serve);
		int rc;

		if (above_share(&b, mine)) {
			/* The kernel has told us of it and tells no other: we must. */
			heritage_poke(a->h, b.least_slot);
			listen_off(a);
			return;
		}
		rc = accept_one(a, w);
		if (rc <= 0)
			return;
		b.connections += serve_connections(a->serve) - mine;
	}
}

static void on_listener(struct loop *l, struct watch *w, unsigned events)
{
	struct listener *li = (struct listener *)(void *)w;

	(void)l;
	(void)events;
	accept_share(li->acceptor, w);
}

static void on_rescue(struct loop *l, struct timer *t)
{
	struct acceptor *a = of_timer(t);

	if (a->stopped)
		return;
	for (uint32_t i = 0; i < a->n; i++)
		for (int k = 0; k < BATCH; k++) {
			if (accept_one(a, &a->listener[i].watch) <= 0)
				break;
			shm_add(&a->slot->c.accept_rescued, 1);
		}
	a->decided_at = UINT32_MAX;
	if (!timer_armed(&a->rescue))
		timer_arm(l, &a->rescue, loop_now(l) + RESCUE_NS);
}

void accept_decide(struct acceptor *a)
{
	uint32_t mine = serve_connections(a->serve);
	struct board b;

	if (a->stopped || mine == a->decided_at)
		return;
	a->decided_at = mine;
	b = read_board(a);
	if (above_share(&b, mine))
		listen_off(a);
	else
		listen_on(a);
}

void accept_poked(struct acceptor *a)
{
	if (a->stopped)
		return;
	for (uint32_t i = 0; i < a->n; i++)
		accept_share(a, &a->listener[i].watch);
	a->decided_at = UINT32_MAX;
}

int accept_new(const struct heritage *h, struct loop *l, struct serve *s, struct acceptor **ret)
{
	struct acceptor *a = calloc(1, sizeof(*a) + h->nlisteners * sizeof(a->listener[0]));
	int one = 1;

	if (!a)
		return -ENOMEM;
	a->h = h;
	a->loop = l;
	a->serve = s;
	a->slot = shm_slot(h->shm, h->slot);
	a->rescue.cb = on_rescue;
	a->decided_at = UINT32_MAX;
	a->n = h->nlisteners;
	for (uint32_t i = 0; i < a->n; i++) {
		int fd = h->listeners[i].fd;

		a->listener[i] = (struct listener){
			.watch = {.fd = fd, .first = true, .cb = on_listener}, .acceptor = a,
		};
		/* Inherited by what is accepted: saves a system call per connection. Not for unix.
		 */
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	}
	*ret = a;
	return 0;
}

void accept_free(struct acceptor *a)
{
	free(a);
}

void accept_stop(struct acceptor *a, bool empty_queue)
{
	if (a->stopped)
		return;
	/* No more than can have waited: those who keep coming would keep us for ever. */
	for (uint32_t i = 0; i < a->n && empty_queue; i++)
		for (int64_t k = 0; k <= a->h->conf->s.backlog; k++)
			if (accept_one(a, &a->listener[i].watch) <= 0)
				break;
	listen_off(a);
	timer_disarm(a->loop, &a->rescue);
	a->stopped = true;
	for (uint32_t i = 0; i < a->n; i++)
		close(a->listener[i].watch.fd);
}
