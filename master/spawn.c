/* SPDX-License-Identifier: MIT */
/*
 * Fork. The parent's half enters the child into table and slot; the child's half gives up what is
 * the master's (locks first), restores signals, drops privileges, and runs its role.
 */
#include "master/master_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"

/* ---- the child's half ---- */

static void shut(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* The code is for the workers of its generation alone. */
static void give_up_modules(struct master *m, enum shm_kind kind, const struct generation *g)
{
	if (kind == SHM_KEEPER || g != &m->cur)
		shut(&m->cur.app_fd);
	if (kind == SHM_KEEPER || g != &m->next)
		shut(&m->next.app_fd);
}

/* Closes what is the master's, or another child's, or not this kind's. */
static void give_up_masters(struct master *m, enum shm_kind kind)
{
	/* Locks live as long as any copy of their descriptor: these two go first. */
	shm_child(&m->shm);
	shut(&m->pid_fd);
	shut(&m->lifeline[1]);
	loop_free(m->loop);
	m->loop = NULL;
	shut(&m->sigs.fd);
	shut(&m->oom_fd);
	shut(&m->start_dir);
	for (uint32_t i = 0; i < m->nslots; i++) {
		shut(&m->child[i].exit.fd);
		shut(&m->child[i].control_fd);
	}
	if (kind == SHM_KEEPER) {
		for (uint32_t i = 0; i < m->nlisteners; i++)
			shut(&m->heritage_listener[i].fd); /* /status still names them */
	} else {
		shut(&m->status.h.fd);
	}
}

static void set_title(const struct heritage *h, enum shm_kind kind)
{
	char title[64], comm[16];

	if (kind == SHM_KEEPER) {
		master_title_set("capricorn-keep", "capricorn: keeper");
		return;
	}
	snprintf(title, sizeof(title), "capricorn: worker %u", h->slot);
	snprintf(comm, sizeof(comm), "capricorn-w%u", h->slot);
	master_title_set(comm, title);
}

__attribute__((noreturn)) static void run_child(struct master *m, enum shm_kind kind,
						const struct generation *g, uint32_t slot,
						int control_fd)
{
	struct heritage h = {
		.conf = g->conf,
		.shm = &m->shm,
		.slot = slot,
		.generation = g->number,
		.lifeline_fd = m->lifeline[0],
		.slot_efd = m->slot_efd,
		.master_efd = m->efd.fd,
		.control_fd = control_fd,
		.error_log = &m->logs.error,
		.access_log = &m->logs.access,
	};
	int rc = HERITAGE_EXIT_BOOT;

	/* As the master does: whoever is ready first shall not be seen without a pid. */
	shm_set(&shm_slot(&m->shm, slot)->pid, getpid());
	give_up_masters(m, kind);
	give_up_modules(m, kind, g);
	h.app_fd = g->app_fd;
	h.nlisteners = m->nlisteners;
	h.listeners = m->heritage_listener;
	h.status_listener = m->status.h;
	master_signals_child(m);
	set_title(&h, kind);
	if (master_drop_privileges(m) == 0)
		rc = kind == SHM_KEEPER ? m->roles->keeper(&h) : m->roles->worker(&h);
	exit(rc);
}

/* ---- the parent's half ---- */

static void on_exit_ready(struct loop *l, struct watch *w, unsigned events)
{
	struct child *c = (struct child *)((char *)w - offsetof(struct child, exit));

	(void)l;
	(void)events;
	master_reap(c->m, c);
}

static void enter(struct master *m, uint32_t slot, enum shm_kind kind, uint32_t generation,
		  pid_t pid, int control_fd)
{
	struct child *c = &m->child[slot];
	uint64_t now = loop_now(m->loop);

	*c = (struct child){
		.m = m,
		.state = CHILD_BOOTING,
		.kind = kind,
		.slot = slot,
		.generation = generation,
		.pid = pid,
		.control_fd = control_fd,
		.born_ns = now,
		.beat_seen_ns = now,
	};
	shm_set(&shm_slot(&m->shm, slot)->pid, pid);
	/* Without a pidfd (none left) SIGCHLD still tells of the end. */
	c->exit.fd = pidfd_open(pid, 0);
	c->exit.cb = on_exit_ready;
	if (c->exit.fd >= 0 && loop_watch(m->loop, &c->exit, LOOP_IN) != 0)
		log_warn("epoll_ctl");
	master_tick_soon(m);
}

int master_spawn(struct master *m, enum shm_kind kind, const struct generation *g)
{
	int control[2], slot;
	pid_t pid;

	loop_clock(m->loop);
	slot = shm_slot_claim(&m->shm, kind, g->number, loop_now(m->loop));
	if (slot < 0) {
		if (!m->no_slot_told)
			log_warnx("No free slot: waiting until a process has left");
		m->no_slot_told = true;
		return 0; /* no failure: tried again when one has gone */
	}
	m->no_slot_told = false;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, control) != 0) {
		log_err("socketpair");
		shm_slot_recover(&m->shm, (uint32_t)slot);
		return -1;
	}
	pid = fork();
	if (pid == 0) {
		close(control[0]);
		run_child(m, kind, g, (uint32_t)slot, control[1]);
	}
	close(control[1]);
	if (pid < 0) {
		log_err("fork");
		close(control[0]);
		shm_slot_recover(&m->shm, (uint32_t)slot);
		return -1;
	}
	enter(m, (uint32_t)slot, kind, g->number, pid, control[0]);
	log_info("Booting %s with pid: %d", kind == SHM_KEEPER ? "keeper" : "worker", (int)pid);
	return 0;
}
