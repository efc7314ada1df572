/* SPDX-License-Identifier: MIT */
/*
 * What workers ask for while they boot: places in the segment's directories (shm/declare.h). They
 * run code of others, so nothing that comes is believed: a message has the right size and sound
 * texts, or the worker is not listened to any more. How much is done for one worker is bounded, in
 * a turn and in its life, and no answer is waited with.
 */
#include "master/master_priv.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "shm/declare.h"

#define ASKS_PER_TURN 32
#define ASKS_MAX 16384u /* twice what all directories hold at their largest, nearly */

/* Printable ASCII: it becomes a label. */
static bool route_name_ok(const char *name)
{
	if (*name == '\0')
		return false;
	for (; *name; name++)
		if (*name < 0x20 || *name > 0x7e)
			return false;
	return true;
}

static int intern(struct master *m, const struct child *c, const struct declare_ask *ask,
		  uint32_t *ret_index)
{
	if (ask->what == DECLARE_ROUTE) {
		if (!route_name_ok(ask->name))
			return -EINVAL;
		*ret_index = shm_route_intern(&m->shm, ask->name, c->generation);
		return 0;
	}
	return shm_module_intern(&m->shm, (enum shm_metric_kind)ask->what, ask->name, ask->labels,
				 ask->help, c->generation, ret_index);
}

static bool ends(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

static bool is_sound(const struct declare_ask *ask, ssize_t n)
{
	return n == (ssize_t)sizeof(*ask) && ends(ask->name, sizeof(ask->name)) &&
	       ends(ask->labels, sizeof(ask->labels)) && ends(ask->help, sizeof(ask->help)) &&
	       ask->what >= DECLARE_COUNTER && ask->what <= DECLARE_ROUTE;
}

static void turn_away(struct master *m, struct child *c, const char *why)
{
	log_warnx("Worker (pid:%d) %s on its control socket: not listened to any more",
		  (int)c->pid, why);
	(void)loop_watch(m->loop, &c->control, 0);
}

/* One message. false: there is none, or none is wanted any more. */
static bool serve_one(struct master *m, struct child *c)
{
	struct declare_answer answer = {0};
	struct declare_ask ask;
	/* The true length, and no room for descriptors: those are closed by the kernel. */
	ssize_t n = recv(c->control.fd, &ask, sizeof(ask), MSG_DONTWAIT | MSG_TRUNC);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) { /* it has closed its end, or is about to end */
		(void)loop_watch(m->loop, &c->control, 0);
		return false;
	}
	if (!is_sound(&ask, n)) {
		turn_away(m, c, "sends garbage");
		return false;
	}
	if (c->asks++ == ASKS_MAX) {
		turn_away(m, c, "asks too much");
		return false;
	}
	answer.number = ask.number;
	/* Once it serves there is nothing left to ask for. */
	answer.result = c->state == CHILD_BOOTING || c->state == CHILD_LEAVING ?
			intern(m, c, &ask, &answer.index) : -EPERM;
	if (send(c->control.fd, &answer, sizeof(answer), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
		turn_away(m, c, "takes no answers");
		return false;
	}
	return true;
}

static void on_control(struct loop *l, struct watch *w, unsigned events)
{
	struct child *c = (struct child *)((char *)w - offsetof(struct child, control));

	(void)l;
	(void)events;
	for (int i = 0; i < ASKS_PER_TURN && serve_one(c->m, c); i++)
		;
}

void master_declare_watch(struct master *m, struct child *c)
{
	c->control.cb = on_control;
	if (loop_watch(m->loop, &c->control, LOOP_IN) != 0)
		log_warn("epoll_ctl");
}
