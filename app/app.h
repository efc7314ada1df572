/* SPDX-License-Identifier: MIT */
/*
 * What a worker serves: a module (include/capricorn.h), be it one of a user's, loaded from a shared
 * object, or one of ours (builtin:api, builtin:echo, builtin:hello), which use the same interface.
 */
#ifndef APP_APP_H
#define APP_APP_H

#include <stdbool.h>
#include <stdint.h>

#include "admit/admit.h"
#include "base/loop.h"
#include "conf/conf.h"
#include "serve/serve.h"
#include "shm/heritage.h"

struct app;

/* How many timers it needs of its loop. */
#define APP_TIMERS (1024u + 2u)

/*
 * Loads the app that the configuration names, starts it, and enters its routes. Blocks for as long
 * as the module's start() does. 0, or -1 after logging why: the app cannot be loaded.
 */
int app_new(const struct heritage *h, struct loop *l, struct app **ret_app);
/* The server that the app answers with, and what admits its requests: after app_new(), before the
 * first request. */
void app_attach(struct app *a, struct serve *s, struct admit *admit);
/* The handler of requests that have been admitted (serve_handler_f); arg is the struct app. */
void app_handle(struct serve *s, struct request *r, void *arg);
/* At the end of each turn: takes what threads have completed meanwhile. */
void app_end_turn(struct app *a);
/* From now on nothing new begins; calls `idle` (from the loop) whenever the last call that is not
 * stuck has ended. */
void app_drain(struct app *a, void (*idle)(void *arg), void *arg);
/* Is there a call that somebody may still wait for, or that should be let end? Stuck ones do not
 * count: they have been reported. */
bool app_busy(const struct app *a);
/* The descriptor by which other threads wake the loop. */
int app_fd(const struct app *a);
/* The module's stop(), then the threads. false: some thread does not end, and the process must be
 * left without its exit handlers. NULL is borne. */
bool app_free(struct app *a);

#endif
