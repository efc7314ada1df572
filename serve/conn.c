/* SPDX-License-Identifier: MIT */
/*
 * Connections: reading, writing, waiting, closing. An event runs conn_process(), which carries the
 * requests in the input as far as they go, writes what came out of it in one piece, and then
 * conn_settle(), which decides what the connection waits for: list, interest, timer, buffers.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "serve/serve_priv.h"

#define SHED_SCAN 64 /* connections looked at for one that may go, when room is needed */
#define SPARED_NS NS_PER_S

static void conn_settle(struct conn *c);
static void conn_leave(struct conn *c);

static struct conn *conn_of_timer(struct timer *t)
{
	return (struct conn *)(void *)((char *)t - offsetof(struct conn, timer));
}

/* ---- lists ---- */

static void list_remove(struct conn *c)
{
	struct serve *s = c->serve;

	if (c->prev)
		c->prev->next = c->next;
	else
		s->list[c->list].first = c->next;
	if (c->next)
		c->next->prev = c->prev;
	else
		s->list[c->list].last = c->prev;
}

static void list_append(struct conn *c, enum conn_list list)
{
	struct serve *s = c->serve;

	c->list = (uint8_t)list;
	c->next = NULL;
	c->prev = s->list[list].last;
	if (c->prev)
		c->prev->next = c;
	else
		s->list[list].first = c;
	s->list[list].last = c;
}

static void list_move(struct conn *c, enum conn_list list)
{
	/* Idle is ordered by the end of the last request, the others by when it came there. */
	if (c->list == list && (list != CL_IDLE || !c->next))
		return;
	list_remove(c);
	list_append(c, list);
	c->sent = 0;
	c->mark_ns = 0;
	if (list == CL_WRITE)
		c->progress_ns = loop_now(c->serve->loop);
}

/* ---- buffers ---- */

static void rebase(struct slice *s, const char *from, size_t len, ptrdiff_t delta)
{
	if (s->p >= from && s->p <= from + len)
		s->p += delta;
}

/* The head of the running request has moved: its slices move along. */
static void rebase_head(struct request *r, const struct buf *from, const struct buf *to)
{
	ptrdiff_t delta = to->data - from->data;
	size_t len = from->head_len;
	struct http_request *h = &r->head;

	rebase(&h->method_text, from->data, len, delta);
	rebase(&h->target, from->data, len, delta);
	rebase(&h->raw_path, from->data, len, delta);
	rebase(&h->query, from->data, len, delta);
	rebase(&h->authority, from->data, len, delta);
	for (int i = 0; i < HTTP_F_COUNT; i++)
		rebase(&h->known[i], from->data, len, delta);
	for (size_t i = 0; i < h->nfields; i++) {
		rebase(&h->fields[i].name, from->data, len, delta);
		rebase(&h->fields[i].value, from->data, len, delta);
	}
	rebase(&r->id, from->data, len, delta);
	rebase(&r->path, from->data, len, delta);
}

/* Moves what the input holds (head of the running request, and bytes not used) to a buffer of at
 * least `size`. false: no memory. */
static bool in_move(struct conn *c, uint32_t size)
{
	struct buf *from = c->in, *to = buf_get(c->serve, size);
	uint32_t rest = from->end - from->start;

	if (!to)
		return false;
	memcpy(to->data, from->data, from->head_len);
	memcpy(to->data + from->head_len, from->data + from->start, rest);
	to->head_len = to->start = from->head_len;
	to->end = to->start + rest;
	to->scan = from->scan;
	if (c->req && from->head_len > 0)
		rebase_head(c->req, from, to);
	buf_put(c->serve, from);
	c->in = to;
	return true;
}

/* Makes room to read into. false: no memory. */
static bool in_room(struct conn *c)
{
	struct buf *b = c->in;
	uint32_t rest;

	if (!b) {
		c->in = buf_get(c->serve, BUF_BIG);
		return c->in != NULL;
	}
	rest = b->end - b->start;
	if (b->start > b->head_len) {
		memmove(b->data + b->head_len, b->data + b->start, rest);
		b->start = b->head_len;
		b->end = b->start + rest;
	}
	if (b->cap - b->end >= ROOM_MIN)
		return true;
	if (b->cap < c->serve->huge_cap)
		(void)in_move(c, b->cap < BUF_BIG ? BUF_BIG : c->serve->huge_cap);
	return c->in->end < c->in->cap;
}

/* Before a wait: gives back what is empty, and lets a few waiting bytes not hold a large buffer. */
static void in_park(struct conn *c)
{
	struct buf *b = c->in;
	uint32_t keep;

	if (!b)
		return;
	keep = b->head_len + b->end - b->start;
	if (keep == 0) {
		buf_put(c->serve, b);
		c->in = NULL;
	} else if (b->cap > BUF_SMALL && keep <= BUF_SMALL) {
		(void)in_move(c, BUF_SMALL); /* no memory: it stays where it is */
	}
}

struct buf *conn_out(struct conn *c)
{
	if (!c->out) {
		c->out = buf_get(c->serve, BUF_BIG);
		if (!c->out)
			conn_die(c);
	}
	return c->out;
}

/* All answers that had ended are with the kernel, or never will be. */
static void tell_ends(struct conn *c)
{
	while (c->ends) {
		struct request_end *e = c->ends;

		c->ends = e->next;
		e->fn(e);
	}
}

bool conn_flush(struct conn *c)
{
	struct serve *s = c->serve;
	struct buf *b = c->out;
	ssize_t n;

	if (c->dead)
		return false;
	if (!b) {
		tell_ends(c);
		return true;
	}
	if (b->start < b->end) {
		copy_check();
		account_flush(s);
		n = send(c->watch.fd, b->data + b->start, b->end - b->start,
			 MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0) {
			if (errno == EAGAIN || errno == EINTR) {
				c->blocked = true;
			} else {
				fd_failed(c->watch.fd, errno);
				conn_die(c);
			}
			return false;
		}
		shm_add(&s->slot->c.bytes_sent, (uint64_t)n);
		c->progress_ns = loop_now(s->loop);
		c->sent += (uint64_t)n;
		b->start += (uint32_t)n;
		if (b->start < b->end) {
			c->blocked = true;
			return false;
		}
	}
	b->start = b->end = 0;
	if (c->ends)
		tell_ends(c);
	return true;
}

/* ---- the end ---- */

void conn_die(struct conn *c)
{
	c->dead = true;
	if (!c->processing)
		conn_settle(c);
}

/* ---- descriptors: each number is one connection's at most ---- */

static void fd_take(struct serve *s, int fd)
{
	if ((uint32_t)fd >= s->fd_max)
		return;
	CHECK_SAY(!(s->fd_mine[fd / 8] & 1u << fd % 8), FD_CLOSED);
	s->fd_mine[fd / 8] |= (uint8_t)(1u << fd % 8);
}

void serve_reserve_fd(struct serve *s, int fd)
{
	if ((uint32_t)fd < s->fd_max)
		s->fd_mine[fd / 8] |= (uint8_t)(1u << fd % 8);
}

static void fd_close(struct serve *s, int fd)
{
	if ((uint32_t)fd < s->fd_max)
		s->fd_mine[fd / 8] &= (uint8_t)~(1u << fd % 8);
	CHECK_SAY(close(fd) == 0 || errno != EBADF, FD_CLOSED);
}

void serve_abandon(struct serve *s)
{
	for (uint32_t i = 0; s && i < s->used; i++)
		if (s->slab[i].watch.fd >= 0)
			close(s->slab[i].watch.fd);
}

/* Where the end of the connection would be taken for that of the body, only a reset tells the
 * client that it is not whole. */
static void reset_on_close(const struct conn *c)
{
	const struct linger now = {.l_onoff = 1, .l_linger = 0};

	(void)setsockopt(c->watch.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

static void conn_free(struct conn *c)
{
	struct serve *s = c->serve;

	c->processing = true; /* nothing that a handler calls on its way out comes back here */
	if (c->req && c->req->until_close && !c->req->produced)
		reset_on_close(c);
	if (c->req)
		request_abort(c->req);
	tell_ends(c);
	account_flush(s);
	timer_disarm(s->loop, &c->timer);
	/* A process that a module forks has the socket, too, until it gives it up: closing it does
	 * not take it out of the epoll then, which would go on telling of what is gone. */
	if (s->forks)
		(void)loop_watch(s->loop, &c->watch, 0);
	loop_forget(s->loop, &c->watch);
	fd_close(s, c->watch.fd);
	c->watch.fd = -1;
	buf_put(s, c->in);
	buf_put(s, c->out);
	list_remove(c);
	c->next = s->free;
	s->free = c;
	s->nconns--;
	shm_add(&s->slot->c.closed, 1);
	shm_set(&s->slot->connections, s->nconns);
}

/* All answers are written and none will follow. */
static void close_gently(struct conn *c)
{
	struct serve *s = c->serve;

	if (!c->linger || c->eof) {
		c->dead = true;
		return;
	}
	if (c->list == CL_LINGER)
		return;
	(void)shutdown(c->watch.fd, SHUT_WR); /* ENOTCONN: the next read says so */
	c->drained = false; /* from now on it is read by pieces */
	list_move(c, CL_LINGER);
	c->since_ns = c->progress_ns = loop_now(s->loop);
	buf_put(s, c->in);
	c->in = NULL;
}

/* Throws away what comes: many clients look for the answer only when they have sent everything. */
static void linger_read(struct conn *c)
{
	char waste[BUF_BIG];
	ssize_t n = recv(c->watch.fd, waste, sizeof(waste), MSG_DONTWAIT);

	if (n > 0) {
		c->progress_ns = loop_now(c->serve->loop);
		c->sent += (uint64_t)n; /* counts what is thrown away, on this list */
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		if (n < 0)
			fd_failed(c->watch.fd, errno);
		c->dead = true;
	}
}

/* ---- what is waited for ---- */

static bool wants_input(const struct conn *c)
{
	if (c->eof)
		return false;
	if (c->list == CL_LINGER)
		return true;
	if (c->closing || c->blocked)
		return false;
	return !c->req || request_wants_input(c->req);
}

static enum conn_list right_list(const struct conn *c)
{
	if (c->list == CL_LINGER)
		return CL_LINGER;
	if (c->blocked)
		return CL_WRITE;
	if (c->req)
		return request_wants_input(c->req) ? CL_BODY : CL_BUSY;
	return c->in || c->fresh ? CL_HEAD : CL_IDLE;
}

static uint64_t after(uint64_t since, uint64_t ns)
{
	return ns == 0 ? UINT64_MAX : since + ns; /* 0 = no limit */
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t exchange_due(const struct conn *c)
{
	const struct serve *s = c->serve;
	const struct request *r = c->req;
	uint64_t due = UINT64_MAX;

	if (!r->head_done)
		due = r->deadline_ns;
	else if (!r->produced)
		due = after(r->answer_since_ns, s->stream_ns);
	if (r->fill_waits)
		due = least(due, after(r->fill_ns, r->rules->stream_idle_ns ?
						   r->rules->stream_idle_ns : s->stream_idle_ns));
	if (c->list == CL_BODY)
		due = least(due, request_body_due(r));
	/* The rest of a body that nobody wants does not hold the connection for long. */
	if (c->list == CL_BODY && r->produced)
		due = least(due, after(c->progress_ns, s->header_ns));
	return due;
}

/* Draining: a connection that becomes idle meanwhile has its time as well. */
static uint64_t drain_due(const struct conn *c)
{
	const struct serve *s = c->serve;
	uint64_t since = c->since_ns > s->drain_ns ? c->since_ns : s->drain_ns;

	return s->draining ? since + s->drain_idle_ns : UINT64_MAX;
}

/* A silent client is waited for a little; one that still sends, longer, if it does not drip. */
static uint64_t linger_due(const struct conn *c)
{
	uint64_t more = c->serve->draining ? 0 : c->sent / LINGER_RATE * NS_PER_S;

	return least(c->progress_ns + LINGER_NS,
		     c->since_ns + least(LINGER_NS + more, LINGER_MAX_NS));
}

static uint64_t conn_due(const struct conn *c)
{
	const struct serve *s = c->serve;
	uint64_t due;

	switch ((enum conn_list)c->list) {
	case CL_IDLE:
		return least(after(c->since_ns, s->keepalive_ns), drain_due(c));
	case CL_HEAD:
		/* A new connection has no more time for having been silent at first. */
		due = least(after(c->fresh ? c->progress_ns : c->since_ns, s->header_ns),
			    after(c->since_ns, s->request_ns));
		return c->in ? due : least(due, drain_due(c));
	case CL_LINGER:
		return linger_due(c);
	case CL_WRITE:
		due = after(c->progress_ns, s->write_ns);
		return c->req ? least(due, exchange_due(c)) : due;
	case CL_BODY:
	case CL_BUSY:
	case CL_COUNT:
		break;
	}
	return c->req ? exchange_due(c) : UINT64_MAX;
}

static void conn_settle(struct conn *c)
{
	struct serve *s = c->serve;
	unsigned want;
	uint64_t due;

	if (!c->dead && c->closing && !c->req && !c->blocked)
		close_gently(c);
	if (!c->dead && c->eof && !c->req && !c->blocked)
		c->dead = true; /* nothing more will come, and nothing is owed */
	if (c->dead) {
		conn_free(c);
		return;
	}
	in_park(c);
	if (c->out && c->out->start == c->out->end) {
		buf_put(s, c->out);
		c->out = NULL;
	}
	list_move(c, right_list(c));
	want = c->blocked ? LOOP_OUT : 0;
	if (wants_input(c)) /* edge-triggered where it can be: see serve/README.md */
		want |= LOOP_IN | (c->drained ? LOOP_EDGE : 0);
	if (want == 0 && !c->eof && !c->peer_done)
		want = LOOP_RDHUP; /* a client that goes is noticed even while nothing is read */
	/* While a handler has the request mostly nothing comes. A watch that tells once of input
	 * may stay as it is until something does: that saves two system calls a request. */
	if (want == LOOP_RDHUP && c->drained && c->watch.events == (LOOP_IN | LOOP_EDGE))
		want = c->watch.events;
	if (loop_watch(s->loop, &c->watch, want) != 0) {
		/* ENOENT: another file has the number now; EPERM: one that cannot be waited for. */
		CHECK_SAY(errno != EBADF && errno != ENOENT && errno != EPERM, FD_CLOSED);
		c->dead = true;
		conn_free(c);
		return;
	}
	due = conn_due(c);
	if (due == UINT64_MAX)
		timer_disarm(s->loop, &c->timer);
	else
		timer_arm(s->loop, &c->timer, due);
}

/* ---- events ---- */

static void conn_process(struct conn *c)
{
	account_current(c->serve, c->req);
	while (!c->dead && !c->blocked) {
		if (c->req) {
			if (request_step(c->req) == STEP_WAIT)
				break;
		} else if (c->closing || c->list == CL_LINGER) {
			break;
		} else {
			if (c->out && c->out->cap - c->out->end < OUT_RESERVE && !conn_flush(c))
				break;
			if (request_begin(c) == STEP_WAIT)
				break;
		}
	}
	if (!c->dead && !c->blocked)
		(void)conn_flush(c);
	account_current(c->serve, NULL);
}

/* The end of every entry from the loop. Between setting `processing` and this, a connection that
 * dies is only marked. */
static void conn_leave(struct conn *c)
{
	if (!c->dead && !c->blocked && c->list != CL_LINGER)
		conn_process(c);
	c->processing = false;
	conn_settle(c);
}

void conn_kick(struct conn *c)
{
	copy_check();
	c->processing = true;
	conn_leave(c);
}

/* `events`: what was told of the socket before. A read that leaves room has emptied it, unless the
 * end of the stream or an error lies behind the bytes: both were told, and are read next. */
static void conn_read(struct conn *c, unsigned events)
{
	struct serve *s = c->serve;
	bool was_empty = !c->in || c->in->start == c->in->end;
	size_t room;
	ssize_t n;

	if (!in_room(c)) {
		c->dead = true;
		return;
	}
	room = c->in->cap - c->in->end;
	n = recv(c->watch.fd, c->in->data + c->in->end, room, MSG_DONTWAIT);
	c->drained = n < (ssize_t)room && !(events & (LOOP_RDHUP | LOOP_ERR));
	if (n > 0) {
		shm_add(&s->slot->c.bytes_received, (uint64_t)n);
		c->in->end += (uint32_t)n;
		if (was_empty && !c->req)
			c->since_ns = loop_now(s->loop);
	} else if (n == 0) {
		c->eof = true;
		if (c->req && !c->req->body_done)
			c->dead = true; /* the body will never be whole */
	} else if (errno != EAGAIN && errno != EINTR) {
		fd_failed(c->watch.fd, errno);
		c->dead = true;
	}
}

static void on_event(struct loop *l, struct watch *w, unsigned events)
{
	struct conn *c = (struct conn *)(void *)w; /* its first member */
	bool reads = wants_input(c);

	(void)l;
	c->processing = true;
	if (!reads && (events & (LOOP_IN | LOOP_RDHUP)))
		c->drained = false; /* what comes now lies there: it will be told of again */
	if (c->list == CL_LINGER) {
		linger_read(c);
	} else if (events & LOOP_OUT) {
		c->blocked = false;
		(void)conn_flush(c);
	} else if ((events & LOOP_ERR) && !(reads && (events & LOOP_IN))) {
		c->dead = true;
	} else if ((events & LOOP_IN) && reads) {
		conn_read(c, events);
	}
	if ((events & LOOP_RDHUP) && !reads && !c->peer_done) {
		c->peer_done = true;
		if (c->req && c->req->hangup_cb && !c->dead)
			c->req->hangup_cb(c->req, c->req->gone_arg);
	}
	conn_leave(c);
}

static void request_is_late(struct conn *c, uint64_t now)
{
	struct request *r = c->req;
	struct serve *s = c->serve;

	if (!r->head_done && now >= r->deadline_ns) {
		bool client = request_wants_input(r); /* it is the client that is waited for */

		account_error(s, r, SHM_ERR_REQUEST_TIMEOUT);
		request_fail(r, client ? 408 : 504, client ?
			     "The request did not arrive whole in its time." :
			     "The handler did not answer in its time.");
	} else if (c->list == CL_BODY && (r->produced || now >= request_body_due(r))) {
		account_error(s, r, SHM_ERR_BODY_RATE);
		request_fail(r, 408, "The body came slower than MIN_BODY_RATE.");
	} else {
		account_error(s, r, SHM_ERR_WRITE_TIMEOUT);
		c->dead = true;
	}
}

/* Empty lines before a request line are nothing that an answer is owed to. */
static bool has_begun_head(const struct buf *b)
{
	for (uint32_t i = b ? b->start : 0; b && i < b->end; i++)
		if (b->data[i] != '\r' && b->data[i] != '\n')
			return true;
	return false;
}

static void on_timer(struct loop *l, struct timer *t)
{
	struct conn *c = conn_of_timer(t);
	struct shm_counters *k = &c->serve->slot->c;
	uint64_t now = loop_now(l);

	if (conn_due(c) > now) { /* what it waits for has changed since it was armed */
		conn_settle(c);
		return;
	}
	c->processing = true;
	switch ((enum conn_list)c->list) {
	case CL_IDLE:
		if (!c->serve->draining)
			shm_add(&k->timeouts_keepalive, 1);
		c->dead = true;
		break;
	case CL_HEAD:
		if (c->in || !c->serve->draining)
			account_error(c->serve, NULL, SHM_ERR_HEADER_TIMEOUT);
		if (has_begun_head(c->in))
			request_refuse(c, HTTP_E_HEAD_TIMEOUT);
		else
			c->dead = true; /* it never said a word */
		break;
	case CL_LINGER:
		c->dead = true;
		break;
	case CL_WRITE:
		if (!c->req || now >= after(c->progress_ns, c->serve->write_ns)) {
			account_error(c->serve, c->req, SHM_ERR_WRITE_TIMEOUT);
			c->dead = true;
			break;
		}
		/* fall through */
	case CL_BODY:
	case CL_BUSY:
	case CL_COUNT:
		request_is_late(c, now);
		break;
	}
	conn_leave(c);
}

/* ---- the process's side ---- */

static struct conn *conn_take(struct serve *s)
{
	struct conn *c = s->free;

	if (c)
		s->free = c->next;
	else if (s->used < s->max)
		c = &s->slab[s->used++];
	return c;
}

void serve_accepted(struct serve *s, int fd, const struct net_addr *peer)
{
	struct conn *c = conn_take(s);

	CHECK(c); /* serve_make_room() said so */
	fd_take(s, fd);
	*c = (struct conn){
		.watch = {.fd = fd, .cb = on_event}, .timer = {.cb = on_timer}, .serve = s,
		.since_ns = loop_now(s->loop), .progress_ns = loop_now(s->loop), .peer = *peer,
		.fresh = true,
	};
	net_addr_format(peer, c->peer_text);
	list_append(c, CL_HEAD);
	s->nconns++;
	shm_add(&s->slot->c.accepted, 1);
	shm_set(&s->slot->connections, s->nconns);
	/* The request is often there already: reading at once saves a turn. */
	c->processing = true;
	conn_read(c, 0);
	conn_leave(c);
}

uint32_t serve_connections(const struct serve *s)
{
	return s->nconns;
}

/* Bytes that the client has sent of its body, or has taken of its answer. What merely waits in the
 * kernel's buffer has not been taken: it may be megabytes that nobody reads. */
static int64_t transferred(const struct conn *c)
{
	int queued = 0;

	if (c->list == CL_BODY)
		return (int64_t)c->req->body_bytes;
	(void)ioctl(c->watch.fd, SIOCOUTQ, &queued);
	return (int64_t)c->sent - queued;
}

/* Has it moved slower than MIN_BODY_RATE since it was looked at before, at least a second ago? */
static bool is_slow(struct conn *c, uint64_t now)
{
	int64_t bytes;
	double s = (double)(now - c->mark_ns) / 1e9;
	bool slow;

	if (c->mark_ns != 0 && s < 1)
		return false;
	bytes = transferred(c);
	slow = c->mark_ns != 0 &&
	       (double)(bytes - c->mark_bytes) < s * (double)c->serve->min_body_rate;
	c->mark_ns = now;
	c->mark_bytes = bytes;
	return slow;
}

/* The longest idle connection whose next request is not just arriving: what has been sent to us
 * would be lost with a close. */
static struct conn *find_idle(struct serve *s)
{
	struct conn *c = s->list[CL_IDLE].first;
	char byte;

	for (int i = 0; c && i < SHED_SCAN; i++, c = c->next)
		if (recv(c->watch.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0)
			return c;
	return NULL;
}

static struct conn *find_slow(struct serve *s, enum conn_list list)
{
	uint64_t now = loop_now(s->loop);
	struct conn *c = s->list[list].first, *next;

	for (int i = 0; c && i < SHED_SCAN; i++, c = next) {
		next = c->next;
		if (is_slow(c, now))
			return c;
		list_remove(c); /* the next look is at others */
		list_append(c, list);
	}
	return NULL;
}

/* A head that had its second: a client that has just come is not the one to go. */
static struct conn *find_head(struct serve *s)
{
	struct conn *c = s->list[CL_HEAD].first;

	for (int i = 0; c && i < SHED_SCAN; i++, c = c->next)
		if (loop_now(s->loop) - c->since_ns > SPARED_NS)
			return c;
	return NULL;
}

bool serve_make_room(struct serve *s)
{
	struct shm_counters *k = &s->slot->c;
	struct conn *c;

	if (s->nconns < s->max)
		return true;
	if ((c = s->list[CL_LINGER].first)) {
		conn_die(c);
	} else if ((c = find_idle(s))) {
		shm_add(&k->shed_idle, 1);
		conn_die(c);
	} else if ((c = find_head(s))) {
		shm_add(&k->shed_head, 1);
		conn_die(c);
	} else if ((c = find_slow(s, CL_BODY))) {
		account_error(s, c->req, SHM_ERR_BODY_RATE);
		conn_die(c);
	} else if ((c = find_slow(s, CL_WRITE))) {
		account_error(s, c->req, SHM_ERR_WRITE_TIMEOUT);
		conn_die(c);
	}
	return s->nconns < s->max;
}

/* Connections that nothing is owed: idle, or without a byte of their first request. */
static void drain_list(struct serve *s, enum conn_list list, bool at_once)
{
	struct conn *c, *next;

	for (c = s->list[list].first; c; c = next) {
		next = c->next;
		if (c->in)
			continue;
		if (at_once)
			conn_die(c);
		else
			timer_arm(s->loop, &c->timer, conn_due(c)); /* it keeps its place */
	}
}

void serve_drain(struct serve *s, uint32_t linger_ms, void (*done)(struct serve *s, void *arg),
		 void *arg)
{
	if (!s->draining)
		s->drain_ns = loop_now(s->loop);
	/* Told again, it can only become shorter. */
	s->drain_idle_ns = s->draining ? least(s->drain_idle_ns, linger_ms * NS_PER_MS)
				       : linger_ms * NS_PER_MS;
	s->draining = true;
	s->done = done;
	s->done_arg = arg;
	drain_list(s, CL_IDLE, linger_ms == 0);
	drain_list(s, CL_HEAD, linger_ms == 0);
}

void serve_end_turn(struct serve *s)
{
	account_flush(s);
	if (s->draining && s->nconns == 0 && !s->done_told) {
		s->done_told = true;
		s->done(s, s->done_arg);
	}
}
