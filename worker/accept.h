/* SPDX-License-Identifier: MIT */
/*
 * Accepting, spread evenly over the workers by what the scoreboard says: a worker above its share
 * takes the listeners out of its epoll before it can be woken.
 */
#ifndef WORKER_ACCEPT_H
#define WORKER_ACCEPT_H

#include "serve/serve.h"

struct acceptor;

#define ACCEPT_TIMERS 1

/* 0 or -errno. The listeners stay the master's; this process has its own descriptors of them. */
int accept_new(const struct heritage *h, struct loop *l, struct serve *s, struct acceptor **ret);
void accept_free(struct acceptor *a);

/* Before each wait: listen or not? Cheap while the number of connections stays the same. */
void accept_decide(struct acceptor *a);
/* A sibling that is above its share has named us: looks at the queue now. */
void accept_poked(struct acceptor *a);
/* For good. With `empty_queue` what waits in the accept queues is taken first. */
void accept_stop(struct acceptor *a, bool empty_queue);

#endif
