/* SPDX-License-Identifier: MIT */
/*
 * What the master leaves to a child at fork: the one contract between master/, worker/ and keeper/
 * beside the segment itself. All descriptors were opened by the master before the fork and are
 * close-on-exec. A child closes what is not meant for it (heritage_child()).
 */
#ifndef SHM_HERITAGE_H
#define SHM_HERITAGE_H

#include <stdint.h>
#include <unistd.h>

#include "base/log.h"
#include "base/net.h"
#include "shm/shm.h"

struct conf; /* conf/conf.h */

struct heritage_listener {
	int fd;                  /* listening, non-blocking, close-on-exec */
	struct net_addr addr;    /* with the port really bound; NET_UNIX for unix sockets */
	const char *url;         /* "http://127.0.0.1:8000", "unix:/run/x": for logs, /status */
};

struct heritage {
	const struct conf *conf;
	struct shm *shm;
	uint32_t slot;               /* the child's */
	uint32_t generation;

	uint32_t nlisteners;
	const struct heritage_listener *listeners;
	struct heritage_listener status_listener; /* STATUS_BIND: the keeper's; fd -1 = none */

	int lifeline_fd;             /* read end of a pipe that the master holds: EOF = it died */
	const int *slot_efd;         /* an eventfd per slot: makes its owner look at its words */
	int master_efd;              /* makes the master look at the slots (ready, why, phase) */
	int app_fd;                  /* a worker's: the module's code, sealed; -1 = built-in app */
	int control_fd;              /* child's end of a SOCK_SEQPACKET pair: log files */
	struct log_file *error_log;  /* used by master and keeper; workers log into their ring */
	struct log_file *access_log; /* keeper; fd -1 = off */
};

/* Makes the owner of a slot look at its words. A hint: a full eventfd is as good as another. */
static inline void heritage_poke_fd(int efd)
{
	uint64_t one = 1;

	if (write(efd, &one, sizeof(one)) < 0)
		return; /* EAGAIN: it is readable already */
}

static inline void heritage_poke(const struct heritage *h, uint32_t slot)
{
	heritage_poke_fd(h->slot_efd[slot]);
}

/* Messages on control_fd: one byte, and one descriptor by SCM_RIGHTS where said. */
enum heritage_message {
	HERITAGE_ERROR_LOG = 'E',   /* + descriptor: use this one from now on (USR1) */
	HERITAGE_ACCESS_LOG = 'A'   /* + descriptor */
};

/* Exit codes of children that the master understands. */
enum heritage_exit {
	HERITAGE_EXIT_OK = 0,         /* left as asked */
	HERITAGE_EXIT_BOOT = 3,       /* cannot boot; why is in the slot's note and log */
	HERITAGE_EXIT_APP = 4,        /* the app cannot be loaded */
	HERITAGE_EXIT_ORPHAN = 5      /* the master has died; finished what was begun */
};

#endif
