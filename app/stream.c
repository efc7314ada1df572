/* SPDX-License-Identifier: MIT */
/*
 * Bodies in pieces, in both directions. Between the owner of a call and the loop lies a flow: bytes
 * behind the call's lock, with a mark above which the producer waits. A pool thread waits by
 * sleeping, an async handler by being told with CAPRI_E_AGAIN and called back.
 */
#include <limits.h>
#include <stdlib.h>

#include "app/app_priv.h"
#include "base/check.h"

#define FLOW_FIRST 4096u

/* ---- the flow; its call's lock is held ---- */

static size_t flow_len(const struct flow *f)
{
	return f->end - f->start;
}

static bool flow_add(struct flow *f, const void *p, size_t len)
{
	size_t have = flow_len(f), cap = f->cap ? f->cap : FLOW_FIRST;
	char *to;

	if (len == 0)
		return true;
	if (have == 0)
		f->start = f->end = 0;
	if (f->start > 0 && f->cap - f->end < len) {
		memmove(f->p, f->p + f->start, have);
		f->start = 0;
		f->end = have;
	}
	if (f->cap - f->end < len) {
		while (cap < have + len)
			cap *= 2;
		to = realloc(f->p, cap);
		if (!to)
			return false;
		f->p = to;
		f->cap = cap;
	}
	memcpy(f->p + f->end, p, len);
	f->end += len;
	return true;
}

static size_t flow_take(struct flow *f, void *buf, size_t cap)
{
	size_t n = flow_len(f) < cap ? flow_len(f) : cap;

	if (n > 0)
		memcpy(buf, f->p + f->start, n);
	f->start += n;
	return n;
}

void stream_fini(struct capri_request *c)
{
	free(c->in.p);
	free(c->out.p);
	c->in.p = c->out.p = NULL;
}

/* The exchange is over: who waits for it shall not. */
void stream_cut(struct capri_request *c)
{
	atomic_store(&c->over, true);
	pthread_mutex_lock(&c->lock);
	pthread_cond_broadcast(&c->cond);
	pthread_mutex_unlock(&c->lock);
}

/* ---- the answer: from the owner to the client ---- */

/* Does the handler go on with a stream that nobody takes any more? */
static bool goes_on(struct capri_request *c)
{
	bool whole = c->answer.total >= 0 && c->stream_taken == (uint64_t)c->answer.total, ended;

	pthread_mutex_lock(&c->lock);
	ended = c->out.ended;
	pthread_mutex_unlock(&c->lock);
	return !whole && !ended && !atomic_load(&c->completed);
}

/* The exchange needs the call no more: all has been sent, it was cut, or it was a HEAD. */
static void stream_released(void *arg)
{
	struct capri_request *c = arg;

	c->r = NULL;
	if (!c->row_kept)
		c->row = UINT32_MAX; /* another request's from now on */
	stream_cut(c);
	if (goes_on(c))
		call_cancel(c);
	call_release(c);
}

void stream_writable(struct capri_request *c)
{
	if (!c->writable_fn || atomic_load(&c->completed))
		return;
	c->holds++; /* it may be completed from within */
	c->writable_fn(c, c->writable_arg);
	look_held(c->app, c->route, "on_writable() of handler");
	call_release(c);
}

static long stream_fill(struct request *r, void *arg, char *buf, size_t cap, bool *ret_end)
{
	struct capri_request *c = arg;
	bool pool = c->route->kind == CAPRI_POOL, ended, ok, tell;
	size_t n, left;

	(void)r;
	pthread_mutex_lock(&c->lock);
	n = flow_take(&c->out, buf, cap);
	c->stream_taken += n;
	left = flow_len(&c->out);
	/* Who has not said yet whom to tell is told when it does. */
	tell = c->out.waiting && left < FLOW_LOW && n > 0 && (pool || c->writable_fn);
	if (tell) {
		c->out.waiting = false;
		pthread_cond_signal(&c->cond);
	}
	ended = c->out.ended && left == 0;
	ok = c->stream_ok;
	pthread_mutex_unlock(&c->lock);
	if (ended && n == 0 && (!ok || c->answer.total >= 0))
		return -1; /* not whole: only a cut tells the client */
	*ret_end = ended && ok;
	if (tell && !pool)
		stream_writable(c);
	return (long)n;
}

static void stream_perform(struct capri_request *c)
{
	struct request *r = c->r;

	c->stream_begun = true;
	if (c->fields_len > 0)
		request_field_lines(r, (struct slice){c->fields, c->fields_len});
	c->holds++;
	request_on_release(r, stream_released, c);
	request_answer_pull(r, c->answer.status, slice_of(c->answer.type), c->answer.total,
			    stream_fill, c);
}

void stream_more(struct capri_request *c)
{
	if (!c->r || !c->streaming)
		return;
	if (!c->stream_begun)
		stream_perform(c);
	else
		request_body_more(c->r);
}

static void end_flow(struct capri_request *c, bool ok)
{
	pthread_mutex_lock(&c->lock);
	if (!c->out.ended)
		c->stream_ok = ok;
	c->out.ended = true;
	c->out.waiting = false;
	pthread_mutex_unlock(&c->lock);
}

void stream_break(struct capri_request *c)
{
	end_flow(c, false);
	stream_more(c);
}

static void tell_loop(struct capri_request *c, unsigned what)
{
	if (!call_is_here(c)) {
		bridge_post(c, what);
		return;
	}
	stream_more(c);
	if (what & POST_ENDED)
		call_ended(c);
}

int capri_stream_begin(struct capri_request *c, int status, const char *type, int64_t total)
{
	char *kept = NULL;
	int err;

	if (c->route->kind == CAPRI_INLINE || status < 200 || status > 599 || !answer_type_ok(type))
		return CAPRI_E_INVALID;
	if (type && !(kept = capri_dup(c, (struct capri_str){type, strlen(type)})))
		return CAPRI_E_NOMEM;
	if (!answer_may_begin(c, &err))
		return err;
	c->answer = (struct answer){
		.status = status, .type = kept, .total = total < 0 ? -1 : total,
	};
	c->stream_sent = c->stream_taken = 0;
	c->streaming = true;
	if (atomic_load(&c->over))
		return CAPRI_E_CANCELLED;
	tell_loop(c, POST_MORE);
	return CAPRI_OK;
}

int capri_write(struct capri_request *c, const void *p, size_t len)
{
	int rc = CAPRI_OK;

	if (!c->streaming || c->out.ended || len > LONG_MAX || (!p && len > 0))
		return CAPRI_E_INVALID;
	if (c->answer.total >= 0 && len > (uint64_t)c->answer.total - c->stream_sent)
		return CAPRI_E_INVALID;
	pthread_mutex_lock(&c->lock);
	while (!atomic_load(&c->over) && flow_len(&c->out) >= FLOW_HIGH) {
		c->out.waiting = true;
		if (c->route->kind != CAPRI_POOL) {
			rc = CAPRI_E_AGAIN;
			break;
		}
		pthread_cond_wait(&c->cond, &c->lock);
	}
	if (atomic_load(&c->over))
		rc = CAPRI_E_CANCELLED;
	else if (rc == CAPRI_OK && !flow_add(&c->out, p, len))
		rc = CAPRI_E_NOMEM;
	pthread_mutex_unlock(&c->lock);
	if (rc != CAPRI_OK)
		return rc;
	c->stream_sent += len;
	tell_loop(c, POST_MORE);
	return CAPRI_OK;
}

int capri_stream_end(struct capri_request *c, bool ok)
{
	int err;

	if (!c->streaming || c->out.ended) {
		if (c->streaming && !answer_may_begin(c, &err))
			return err; /* it has ended before: told and counted */
		return CAPRI_E_INVALID;
	}
	end_flow(c, ok);
	if (c->route->kind == CAPRI_ASYNC)
		atomic_store(&c->completed, true); /* from here on it hears of nothing any more */
	tell_loop(c, c->route->kind == CAPRI_ASYNC ? POST_MORE | POST_ENDED : POST_MORE);
	return CAPRI_OK;
}

int capri_on_writable(struct capri_request *c, capri_writable_f *fn, void *arg)
{
	bool late;

	if (c->route->kind != CAPRI_ASYNC)
		return CAPRI_E_INVALID;
	if (!app_in_loop(c->app))
		return CAPRI_E_THREAD;
	c->writable_fn = fn;
	c->writable_arg = arg;
	pthread_mutex_lock(&c->lock);
	late = fn && c->out.waiting && flow_len(&c->out) < FLOW_LOW;
	if (late)
		c->out.waiting = false;
	pthread_mutex_unlock(&c->lock);
	if (late)
		bridge_post(c, POST_WRITABLE);
	return CAPRI_OK;
}

/* ---- server-sent events ---- */

int capri_sse_begin(struct capri_request *c)
{
	int rc = capri_set_header(c, "Cache-Control", "no-store");

	if (rc == CAPRI_OK)
		rc = capri_stream_begin(c, 200, "text/event-stream", -1);
	if (rc == CAPRI_OK)
		c->sse = true;
	return rc;
}

static void sse_line(struct strbuf *sb, const char *field, const char *text, size_t len)
{
	strbuf_puts(sb, field);
	strbuf_puts(sb, ": ");
	strbuf_add(sb, text, len);
	strbuf_puts(sb, "\n");
}

/* CR LF, LF and CR end a line of an event stream: data may have any of them. */
static void sse_data(struct strbuf *sb, const char *data)
{
	for (;;) {
		size_t len = strcspn(data, "\r\n");

		sse_line(sb, "data", data, len);
		data += len;
		if (*data == '\0')
			break;
		data += data[0] == '\r' && data[1] == '\n' ? 2 : 1;
	}
}

int capri_sse_send(struct capri_request *c, const char *event, const char *id, const char *data)
{
	struct strbuf sb;
	int rc;

	if ((event && strpbrk(event, "\r\n")) || (id && strpbrk(id, "\r\n")) || !data)
		return CAPRI_E_INVALID;
	strbuf_init(&sb);
	if (event)
		sse_line(&sb, "event", event, strlen(event));
	if (id)
		sse_line(&sb, "id", id, strlen(id));
	sse_data(&sb, data);
	strbuf_puts(&sb, "\n");
	rc = sb.failed ? CAPRI_E_NOMEM : capri_write(c, sb.p, sb.len);
	strbuf_fini(&sb);
	return rc;
}

/* ---- the body: from the client to the owner ---- */

static bool body_piece(struct request *r, void *arg, struct slice data, bool end)
{
	struct capri_request *c = arg;
	bool more;

	(void)r;
	pthread_mutex_lock(&c->lock);
	if (!c->in.lost && !flow_add(&c->in, data.p, data.len))
		c->in.lost = true; /* what comes from now on is thrown away */
	c->in.ended = end;
	more = flow_len(&c->in) < BODY_HIGH;
	c->body_paused = !more;
	pthread_cond_signal(&c->cond);
	pthread_mutex_unlock(&c->lock);
	atomic_fetch_add(&c->body_bytes, data.len);
	return more;
}

void body_stream_begin(struct capri_request *c)
{
	if (c->route->body != CAPRI_BODY_STREAM || c->collected)
		return;
	if (c->head->has_body)
		request_body(c->r, body_piece, c);
	else
		c->in.ended = true;
}

bool body_stream_taken(struct capri_request *c, struct slice *ret_data, bool *ret_end)
{
	struct flow *f = &c->in;

	*ret_data = (struct slice){f->p ? f->p + f->start : NULL, flow_len(f)};
	*ret_end = f->ended;
	f->start = f->end;
	return ret_data->len > 0 || f->ended;
}

static long read_collected(struct capri_request *c, void *buf, size_t cap)
{
	struct capri_str all = capri_body(c);
	size_t n = all.len - c->body_at;

	if (n > cap)
		n = cap;
	memcpy(buf, all.p + c->body_at, n);
	c->body_at += n;
	return (long)n;
}

long capri_body_read(struct capri_request *c, void *buf, size_t cap)
{
	bool resume = false;
	long n;

	if (c->route->kind != CAPRI_POOL || cap > LONG_MAX || !buf)
		return CAPRI_E_INVALID;
	if (c->collected || c->route->body != CAPRI_BODY_STREAM)
		return read_collected(c, buf, cap);
	pthread_mutex_lock(&c->lock);
	while (flow_len(&c->in) == 0 && !c->in.ended && !c->in.lost && !atomic_load(&c->over))
		pthread_cond_wait(&c->cond, &c->lock);
	n = (long)flow_take(&c->in, buf, cap);
	c->body_at += (size_t)n;
	if (n == 0 && c->in.lost)
		n = CAPRI_E_NOMEM;
	else if (n == 0 && !c->in.ended)
		n = CAPRI_E_CANCELLED;
	if (c->body_paused && flow_len(&c->in) < BODY_HIGH / 2) {
		c->body_paused = false;
		resume = true;
	}
	pthread_mutex_unlock(&c->lock);
	if (resume)
		bridge_post(c, POST_RESUME);
	return n;
}

static bool tell_piece(struct capri_request *c, struct slice data, bool end)
{
	bool more;

	c->holds++; /* it may be completed from within */
	more = c->body_fn(c, c->body_arg, to_str(data), end);
	look_held(c->app, c->route, "on_body() of handler");
	more = more || atomic_load(&c->completed);
	call_release(c);
	return more;
}

static bool async_piece(struct request *r, void *arg, struct slice data, bool end)
{
	struct capri_request *c = arg;

	(void)r;
	atomic_fetch_add(&c->body_bytes, data.len);
	if (atomic_load(&c->completed))
		return true; /* it hears of nothing any more; what comes is thrown away */
	return tell_piece(c, data, end);
}

/* What had come before on_body(): a handler that has declined had it read, or it began to come. */
void body_deliver(struct capri_request *c)
{
	struct slice data;
	bool end = true;

	if (!c->r || !c->body_fn || c->body_told || c->body_held || atomic_load(&c->completed))
		return;
	if (c->collected) {
		struct capri_str all = capri_body(c);

		data = (struct slice){all.p + c->body_at, all.len - c->body_at};
	} else {
		(void)body_stream_taken(c, &data, &end);
	}
	c->body_at += data.len;
	if (data.len > 0 && !tell_piece(c, data, false)) {
		c->body_held = true;
		return;
	}
	if (!c->r || atomic_load(&c->completed))
		return;
	c->body_told = end;
	if (end) {
		(void)tell_piece(c, (struct slice){NULL, 0}, true);
		return;
	}
	request_body(c->r, async_piece, c);
	if (c->r)
		request_body_resume(c->r);
}

int capri_on_body(struct capri_request *c, capri_body_f *fn, void *arg)
{
	if (c->route->kind != CAPRI_ASYNC || !fn ||
	    (c->route->body != CAPRI_BODY_STREAM && !c->collected))
		return CAPRI_E_INVALID;
	if (!app_in_loop(c->app))
		return CAPRI_E_THREAD;
	if (!c->r)
		return CAPRI_E_CANCELLED;
	c->body_fn = fn;
	c->body_arg = arg;
	if (c->collected || flow_len(&c->in) > 0 || c->in.ended || !request_in_event(c->r))
		bridge_post(c, POST_BODY); /* not before this has returned */
	else
		request_body(c->r, async_piece, c);
	return CAPRI_OK;
}

void body_resume_perform(struct capri_request *c)
{
	if (c->body_held) {
		c->body_held = false;
		body_deliver(c);
	} else if (c->r) {
		request_body_resume(c->r);
	}
}

void capri_body_resume(struct capri_request *c)
{
	if (!c->detached)
		return; /* an inline handler has all of its body */
	if (call_is_here(c) && !c->body_held)
		body_resume_perform(c);
	else
		bridge_post(c, POST_RESUME);
}
