/* SPDX-License-Identifier: MIT */
/*
 * From a request to its handler: route, body, call, and what the handler has returned. All of it in
 * the loop; only the handler of a pool route runs elsewhere (pool.c).
 */
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>

#include "app/app_priv.h"
#include "base/clock.h"
#include "base/log.h"

static void choose(struct capri_request *c);

static struct slice slice_from(const char *s, size_t len)
{
	return (struct slice){s, len};
}

/* ---- no route ---- */

static void nothing_there(struct capri_request *c)
{
	const struct http_request *head = c->head;
	struct request *r = c->r;
	char allow[HTTP_ALLOW_MAX];
	size_t n;

	const struct request_rules *rules = r ? request_rules(r) : NULL;

	if (!r || !request_limit_body(r, rules->body_max ? rules->body_max :
				      (uint64_t)c->app->conf->s.client_max_body_size))
		return;
	if (head->method == HTTP_M_OPTIONS && head->form == HTTP_ASTERISK_FORM) {
		request_field(r, SLICE("Allow"), SLICE("GET, HEAD, POST, OPTIONS"));
		request_answer(r, 204, slice_from(NULL, 0), slice_from(NULL, 0));
		return;
	}
	n = c->skip > 0 ? 0 : http_router_allow(c->app->router, c->path, allow, sizeof(allow));
	if (n == 0) {
		request_problem(r, 404, "There is nothing at this path: no route of the app matches it.");
		return;
	}
	if (rules->label == 0)
		request_route(r, app_route_label(c->app, c->path));
	request_field(r, SLICE("Allow"), slice_from(allow, n));
	if (head->method == HTTP_M_OPTIONS)
		request_answer(r, 204, slice_from(NULL, 0), slice_from(NULL, 0));
	else
		request_problem(r, 405, "What is at this path does not have this method.");
}

/* ---- failures ---- */

void app_error(const struct capri_request *c, enum shm_error type)
{
	shm_error_add(c->app->h->shm, c->app->h->slot, c->label, type);
}

/* The handler has failed the request: 500, or a cut if a part of the answer is out. */
static void fail(struct capri_request *c, const char *why)
{
	const struct answer a = {
		.way = WAY_PROBLEM, .status = 500, .body = "The application failed.",
	};

	log_errx("handler %s of %s %s, request %.*s", c->route->name, c->app->module.name, why,
		 (int)c->id.len, c->id.p);
	app_error(c, SHM_ERR_HANDLER_FAILED);
	c->fields_len = 0;
	if (!atomic_exchange(&c->answered, true))
		answer_perform(c, &a);
	else if (c->streaming)
		stream_break(c);
}

static void fail_code(struct capri_request *c, int result)
{
	const struct answer gone = {
		.way = WAY_PROBLEM, .status = 503, .body = "The request was given up.",
	};
	char why[160];

	if (result == CAPRI_E_CANCELLED && capri_cancelled(c)) {
		/* As asked: the client has left, as far as anybody can tell. That is no failure. */
		atomic_store(&c->answered, true);
		answer_perform(c, &gone);
		return;
	}
	snprintf(why, sizeof(why), "returned %d (%s)", result, capri_strerror(result));
	fail(c, why);
}

/* ---- calling it ---- */

static void choose_next(void *arg)
{
	struct capri_request *c = arg;

	limit_end(c); /* what the one has taken is not the next one's */
	compute_end(c);
	c->fields_len = 0;
	c->cancel_fn = NULL;
	c->writable_fn = NULL;
	c->body_fn = NULL;
	if (c->detached && c->r)
		request_body(c->r, NULL, NULL); /* the next one says anew how it wants it */
	c->body_at = 0;
	atomic_store(&c->completed, false);
	c->skip++;
	choose(c);
}

static void decline(struct capri_request *c)
{
	if (!c->r || request_in_event(c->r))
		choose_next(c);
	else
		request_run(c->r, choose_next, c);
}

static void run_inline(struct capri_request *c)
{
	struct app *a = c->app;
	const struct route *rt = c->route;
	int result = rt->handler(c, rt->arg);
	bool answered = atomic_load_explicit(&c->answered, memory_order_relaxed);

	look_held(a, rt, "handler");
	if (!answered && result == CAPRI_DECLINED) {
		decline(c);
		return;
	}
	call_let_go(c);
	if (!answered && result < 0)
		fail_code(c, result);
	else if (!answered)
		fail(c, "returned without an answer");
	call_release(c);
}

static void no_memory(struct capri_request *c)
{
	static const char detail[] = "No memory for the request.";
	const struct answer a = {.way = WAY_PROBLEM, .status = 503, .body = detail};

	atomic_store(&c->answered, true);
	answer_perform(c, &a);
	call_release(c);
}

static void run_pool(struct capri_request *c)
{
	const struct answer full = {
		.way = WAY_PROBLEM, .status = 503,
		.body = "The server is busy: all its threads are, and the queue is full.",
	};

	if (!call_detach(c)) {
		no_memory(c);
		return;
	}
	body_stream_begin(c);
	request_waits_as(c->r, SHM_ROW_QUEUED);
	look_begin(c->app, c);
	if (pool_push(c->app, c))
		return;
	app_error(c, SHM_ERR_QUEUE_FULL);
	request_field(c->r, SLICE("Retry-After"), SLICE("1"));
	atomic_store(&c->answered, true);
	answer_perform(c, &full);
	call_ended(c);
}

static void run_async(struct capri_request *c)
{
	int result;

	if (!call_detach(c)) {
		no_memory(c);
		return;
	}
	request_waits_as(c->r, SHM_ROW_PENDING);
	atomic_store(&c->since_ns, loop_now(c->app->loop));
	atomic_store(&c->at, CALL_PENDING);
	look_begin(c->app, c);
	c->holds++; /* it may be completed before its handler returns */
	result = c->route->handler(c, c->route->arg);
	look_held(c->app, c->route, "handler");
	dispatch_result(c, result);
	call_release(c);
}

void dispatch_run(struct capri_request *c)
{
	switch (c->route->kind) {
	case CAPRI_INLINE:
		run_inline(c);
		break;
	case CAPRI_POOL:
		run_pool(c);
		break;
	case CAPRI_ASYNC:
		run_async(c);
		break;
	}
}

/* What a handler has read of a stream is not there for the next one. */
static bool has_read(const struct capri_request *c)
{
	return !c->collected && (c->body_at > 0 || c->in.lost);
}

/* Of a pool handler when it has ended, of an async one when it was called. */
void dispatch_result(struct capri_request *c, int result)
{
	bool pool = c->route->kind == CAPRI_POOL;
	bool answered = atomic_load(&c->answered);

	if (!answered && c->r && result == CAPRI_DECLINED && has_read(c)) {
		fail(c, "declined after it had read of the body");
	} else if (!answered && c->r && result == CAPRI_DECLINED) {
		look_end(c->app, c);
		atomic_store(&c->at, CALL_IN_LOOP);
		decline(c);
		return;
	}
	if (!pool) {
		/* It may be with a thread of the module's by now: what that does is its own. */
		if (result == CAPRI_PENDING || answered || atomic_load(&c->completed))
			return;
	} else if (answered && !c->streaming) {
		answer_perform(c, &c->answer);
	} else if (c->streaming && !c->out.ended) {
		fail(c, "returned in the midst of a stream");
	} else if (c->streaming && c->r) {
		request_body_drop(c->r); /* a client may send all of it before it reads */
		request_body_more(c->r);
	}
	if (!atomic_load(&c->answered) && c->r) {
		if (result < 0)
			fail_code(c, result);
		else
			fail(c, "returned without an answer");
	}
	call_ended(c);
}

/* ---- the body, whole ---- */

static bool map_body(struct capri_request *c)
{
	struct spool *sp = &c->body;

	if (sp->fd < 0)
		return true;
	c->body_map = mmap(NULL, sp->total, PROT_READ, MAP_PRIVATE, sp->fd, 0);
	if (c->body_map == MAP_FAILED)
		c->body_map = NULL;
	return c->body_map != NULL;
}

static void body_lost(struct capri_request *c, int err)
{
	errno = err;
	log_warn("cannot keep the body of request %.*s", (int)c->id.len, c->id.p);
	request_body(c->r, NULL, NULL);
	call_unwatch(c);
	request_problem(c->r, 503, "There is no room to keep the body.");
	call_release(c);
}

static bool collect_piece(struct request *r, void *arg, struct slice data, bool end)
{
	struct capri_request *c = arg;
	int rc = spool_add(&c->body, data);

	if (rc == 0 && !end)
		return true;
	c->collecting = false;
	if (!c->detached)
		request_on_gone(r, NULL, NULL);
	if (rc != 0 || !map_body(c)) {
		body_lost(c, rc != 0 ? -rc : errno);
		return true;
	}
	c->collected = true;
	if (!c->detached) {
		c->head = request_head(r); /* what it points into may have moved meanwhile */
		c->id = request_id(r);
		c->path = request_path(r);
	}
	dispatch_run(c);
	return true;
}

static void collect(struct capri_request *c)
{
	struct slice begun;
	bool ended = false;

	spool_init(&c->body);
	c->body_map = NULL;
	c->spool_used = c->collecting = true;
	if (!c->detached) {
		request_on_gone(c->r, call_gone, c);
	} else if (body_stream_taken(c, &begun, &ended)) {
		/* It came as a stream to a handler that has declined. */
		c->holds++;
		(void)collect_piece(c->r, c, begun, ended);
		ended = !c->collecting;
		call_release(c);
		if (ended)
			return;
	}
	request_body(c->r, collect_piece, c);
	request_body_resume(c->r);
}

/* ---- the route ---- */

static void set_deadline(struct capri_request *c)
{
	uint64_t ns = c->route->timeout_ns;

	if (ns == 0)
		ns = (uint64_t)c->app->conf->s.request_timeout * NS_PER_MS;
	call_set_deadline(c, ns ? request_since(c->r) + ns : UINT64_MAX);
}

static void choose(struct capri_request *c)
{
	const struct route *rt = app_route_find(c->app, c->head, c->path, c->skip, &c->match);
	const struct request_rules *rules;
	struct request *r = c->r;

	if (!rt || !r) {
		if (c->detached && r)
			call_unwatch(c);
		nothing_there(c);
		call_release(c);
		return;
	}
	c->route = rt;
	rules = request_rules(r);
	c->label = rules->label ? rules->label : rt->label;
	request_route(r, c->label);
	if (!request_limit_body(r, rules->body_max ? rules->body_max : rt->body_max)) {
		call_release(c);
		return;
	}
	if ((rt->timeout_ns != 0 || c->skip > 0) && rules->timeout_ns == 0)
		set_deadline(c);
	if (rt->body == CAPRI_BODY_WHOLE && c->head->has_body && !c->collected)
		collect(c);
	else
		dispatch_run(c);
}

void app_handle(struct serve *s, struct request *r, void *arg)
{
	struct app *a = arg;
	struct capri_request *c = call_get(a);

	(void)s;
	if (!c) {
		request_problem(r, 503, "No memory for the request.");
		return;
	}
	c->r = r;
	c->head = request_head(r);
	c->path = request_path(r);
	c->id = request_id(r);
	c->ticket = admit_hold(r);
	c->class = admit_class(a->admit, r);
	choose(c);
}
