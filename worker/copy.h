/* SPDX-License-Identifier: MIT */
/* What user code forks off a worker must not act as the worker. */
#ifndef WORKER_COPY_H
#define WORKER_COPY_H

#include "base/loop.h"
#include "serve/serve.h"

/* From now on a fork() in this process makes a copy that has given up the segment, the listeners,
 * the loop, eventfds, lifeline, control socket and the clients' connections: see base/copy.h.
 * system(), popen() and posix_spawn() are not touched: what they start has close-on-exec.
 * `term_fd`: one more descriptor of the worker. `s` may be NULL as long as there are no
 * connections; a later call replaces what was given before. */
void copy_guard(const struct heritage *h, struct loop *l, struct serve *s, int term_fd);
void copy_guard_end(void); /* before these objects go */

#endif
