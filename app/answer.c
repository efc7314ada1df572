/* SPDX-License-Identifier: MIT */
/*
 * Answers. The owner of a call gives one; the loop carries it out: at once when it is the loop that
 * gives it, when the handler has returned (pool), or when it is posted (async, other threads).
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/app_priv.h"
#include "base/copy.h"
#include "base/log.h"

#define FIELDS_FIRST 512u

/* ---- in the loop ---- */

static void drop(const struct answer *a)
{
	if (a->way == WAY_FILE)
		close(a->fd);
	if (a->release)
		a->release(a->release_arg);
}

static void release_call(void *arg)
{
	call_release(arg);
}

static void fill_released(void *arg)
{
	struct capri_request *c = arg;

	if (c->answer.release)
		c->answer.release(c->answer.release_arg);
	call_release(c);
}

static long pull_fill(struct request *r, void *arg, char *buf, size_t cap, bool *ret_end)
{
	struct capri_request *c = arg;
	long n = c->answer.fill(c->answer.release_arg, buf, cap);

	(void)r;
	(void)ret_end; /* the length is known: the server asks for no more than that */
	return n > 0 ? n : -1; /* nobody would ask again for what was not there */
}

static void perform_fill(struct capri_request *c, struct request *r, const struct answer *a)
{
	if (a != &c->answer)
		c->answer = *a;
	c->holds++;
	request_on_release(r, fill_released, c);
	request_body_drop(r); /* nobody reads what is left of it */
	request_answer_pull(r, a->status, slice_of(a->type), a->total, pull_fill, c);
}

static void perform_ref(struct capri_request *c, struct request *r, const struct answer *a)
{
	struct slice body = {a->body, a->len};

	if (a->release) {
		request_answer_ref(r, a->status, slice_of(a->type), body, a->release,
				   a->release_arg);
		return;
	}
	c->holds++; /* it may lie in the memory of the call */
	request_answer_ref(r, a->status, slice_of(a->type), body, release_call, c);
}

void answer_perform(struct capri_request *c, const struct answer *a)
{
	struct request *r = c->r;

	if (!r) {
		drop(a);
		return;
	}
	if (c->detached) {
		call_unwatch(c);
		c->r = NULL; /* from here on the exchange does without the call */
	}
	if (c->fields_len > 0)
		request_field_lines(r, (struct slice){c->fields, c->fields_len});
	switch (a->way) {
	case WAY_COPY:
		request_answer(r, a->status, slice_of(a->type), (struct slice){a->body, a->len});
		break;
	case WAY_REF:
		perform_ref(c, r, a);
		break;
	case WAY_FILE:
		request_answer_file(r, a->status, slice_of(a->type), a->fd, a->offset, a->len);
		break;
	case WAY_FILL:
		perform_fill(c, r, a);
		break;
	case WAY_PROBLEM:
		request_problem(r, a->status, a->body);
		break;
	}
}

/* ---- the owner's side ---- */

bool answer_type_ok(const char *type)
{
	return !type || http_value_ok(slice_of(type));
}

bool answer_may_begin(struct capri_request *c, int *ret_err)
{
	bool first;

	copy_check(); /* the client is the worker's: a copy answers nobody */
	if (c->route->kind == CAPRI_INLINE && !app_in_loop(c->app)) {
		*ret_err = CAPRI_E_THREAD;
		return false;
	}
	if (c->route->kind == CAPRI_INLINE) { /* no other thread may: a locked exchange less */
		first = !atomic_load_explicit(&c->answered, memory_order_relaxed);
		atomic_store_explicit(&c->answered, true, memory_order_relaxed);
	} else {
		first = !atomic_exchange(&c->answered, true);
	}
	if (first)
		return true;
	*ret_err = CAPRI_E_TWICE;
	atomic_fetch_add(&((struct route *)(uintptr_t)c->route)->twice, 1);
	atomic_store(&c->app->twice, true);
	log_errx("handler %s of %s answered a request twice", c->route->name,
		 c->app->module.name);
	return false;
}

static const char *keep(struct capri_request *c, const char *text)
{
	return text ? capri_dup(c, (struct capri_str){text, strlen(text)}) : NULL;
}

/* What the caller's memory holds becomes the answer's own: it will be looked at later. */
static bool own(struct capri_request *c, struct answer *a)
{
	const char *type = keep(c, a->type);
	char *copy;

	if (a->type && !type)
		return false;
	a->type = type;
	if (a->way == WAY_PROBLEM) {
		a->body = keep(c, a->body);
	} else if (a->way == WAY_COPY) {
		bool small = call_has_room(c, a->len);

		copy = small ? call_alloc(c, a->len) : malloc(a->len);
		if (!copy)
			return false;
		if (a->len > 0)
			memcpy(copy, a->body, a->len);
		*a = (struct answer){
			.way = WAY_REF, .status = a->status, .type = type, .body = copy,
			.len = a->len, .release = small ? NULL : free, .release_arg = copy,
		};
	}
	return true;
}

static int give_later(struct capri_request *c, const struct answer *a)
{
	struct answer mine = *a;

	if (!own(c, &mine)) {
		drop(a);
		mine = (struct answer){
			.way = WAY_PROBLEM, .status = 503, .body = "No memory for the answer.",
		};
	}
	c->answer = mine;
	if (c->route->kind == CAPRI_ASYNC) {
		atomic_store(&c->completed, true); /* from here on it hears of nothing any more */
		bridge_post(c, POST_ANSWER);
	}
	return CAPRI_OK;
}

/* What cannot be an answer is refused before it counts as one. */
static bool is_sound(const struct answer *a)
{
	if (a->status < 200 || a->status > 599 || !answer_type_ok(a->type))
		return false;
	switch (a->way) {
	case WAY_COPY:
	case WAY_REF:
		return a->body || a->len == 0;
	case WAY_FILL:
		return a->fill && a->total >= 0;
	case WAY_FILE:
	case WAY_PROBLEM:
		break;
	}
	return true;
}

int answer_give(struct capri_request *c, const struct answer *a)
{
	bool over;
	int err;

	if (!is_sound(a)) {
		drop(a);
		return CAPRI_E_INVALID;
	}
	if (!answer_may_begin(c, &err)) {
		drop(a);
		return err;
	}
	over = atomic_load(&c->over);
	if (!call_is_here(c)) {
		give_later(c, a);
	} else {
		answer_perform(c, a);
		if (c->route->kind == CAPRI_ASYNC)
			call_ended(c);
	}
	return over ? CAPRI_E_CANCELLED : CAPRI_OK;
}

int capri_respond(struct capri_request *c, int status, const char *type, const void *body,
		  size_t len)
{
	const struct answer a = {
		.way = WAY_COPY, .status = status, .type = type, .body = body, .len = len,
	};

	return answer_give(c, &a);
}

int capri_respond_text(struct capri_request *c, int status, const char *text)
{
	return capri_respond(c, text ? status : 0, "text/plain; charset=utf-8", text,
			     text ? strlen(text) : 0);
}

int capri_respond_json(struct capri_request *c, int status, const char *json)
{
	return capri_respond(c, json ? status : 0, "application/json", json,
			     json ? strlen(json) : 0);
}

int capri_respond_ref(struct capri_request *c, int status, const char *type, const void *body,
		      size_t len, void (*release)(void *arg), void *arg)
{
	const struct answer a = {
		.way = WAY_REF, .status = status, .type = type, .body = body, .len = len,
		.release = release, .release_arg = arg,
	};

	return answer_give(c, &a);
}

int app_respond_strbuf(struct capri_request *c, int status, const char *type, struct strbuf *sb)
{
	size_t len = sb->len;
	char *text = strbuf_take(sb);

	return text ? capri_respond_ref(c, status, type, text, len, free, text) : CAPRI_E_NOMEM;
}

int capri_respond_fill(struct capri_request *c, int status, const char *type, uint64_t total,
		       capri_fill_f *fill, void (*release)(void *arg), void *arg)
{
	const struct answer a = {
		.way = WAY_FILL, .status = status, .type = type, .total = (int64_t)total,
		.fill = fill, .release = release, .release_arg = arg,
	};

	return answer_give(c, &a);
}

int capri_problem(struct capri_request *c, int status, const char *detail)
{
	const struct answer a = {.way = WAY_PROBLEM, .status = status, .body = detail};

	return answer_give(c, &a);
}

/* ---- fields ---- */

/* These are made by the server: two of them would be one too many. */
static bool is_servers(struct slice name)
{
	static const char *const own[] = {
		"Content-Length", "Transfer-Encoding", "Connection", "Date", "Content-Type",
		"Keep-Alive", "Upgrade", "X-Request-Id",
	};

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (slice_eq_nocase(name, slice_of(own[i])))
			return true;
	return false;
}

static bool fields_room(struct capri_request *c, uint32_t need)
{
	uint32_t cap = c->fields_cap ? c->fields_cap : FIELDS_FIRST;
	char *to;

	if (need > CALL_FIELDS - c->fields_len)
		return false;
	while (cap < c->fields_len + need)
		cap *= 2;
	if (cap == c->fields_cap)
		return true;
	to = call_alloc(c, cap);
	if (!to)
		return false;
	if (c->fields_len > 0)
		memcpy(to, c->fields, c->fields_len);
	c->fields = to;
	c->fields_cap = cap;
	return true;
}

int capri_set_header(struct capri_request *c, const char *name, const char *value)
{
	struct slice n = slice_of(name), v = slice_of(value);
	struct http_out o;

	if (!name || !value || !http_field_ok(n, v) || is_servers(n))
		return CAPRI_E_INVALID;
	if (atomic_load_explicit(&c->answered, memory_order_relaxed))
		return CAPRI_E_TWICE;
	if (n.len + v.len + 4 > CALL_FIELDS || !fields_room(c, (uint32_t)(n.len + v.len + 4)))
		return CAPRI_E_NOMEM;
	o = (struct http_out){.p = c->fields, .len = c->fields_len, .cap = c->fields_cap};
	http_put_field(&o, n, v);
	c->fields_len = (uint32_t)o.len;
	return CAPRI_OK;
}
