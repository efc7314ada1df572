/* SPDX-License-Identifier: MIT */
/*
 * Answers: the head, and the body in one of the ways of serve.h. Small bodies are copied behind
 * their head, so that the answers of one batch of pipelined requests leave in one write. Whether a
 * body is compressed is decided in coding.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "serve/serve_priv.h"
#include "status/status.h"

#define CHUNK_HEAD 10 /* "ffffffff\r\n": room kept before a chunk */

void answer_date(struct serve *s)
{
	struct http_out o = {.p = s->fixed, .cap = sizeof(s->fixed)};
	uint64_t wall = clock_wall_ns();
	char date[HTTP_DATE_LEN + 1];

	http_put_status_line(&o, 200);
	s->fixed_at = (uint32_t)o.len;
	if (s->set->server_header)
		http_put_field(&o, SLICE("Server"), SLICE("capricorn"));
	http_format_date((int64_t)(wall / NS_PER_S), date);
	http_put_field(&o, SLICE("Date"), (struct slice){date, HTTP_DATE_LEN});
	CHECK(!o.over);
	s->fixed_len = (uint32_t)o.len;
	s->date_due_ns = loop_now(s->loop) + NS_PER_S - wall % NS_PER_S;
}

/* May the connection be kept although the body was not read to its end? Only if what is left will
 * come anyway and is little: else reading it costs more than a new connection. */
static bool body_is_droppable(const struct request *r)
{
	if (r->body_done)
		return true;
	if (r->head.expect_continue && !r->continue_sent && r->body_bytes == 0)
		return false;
	return r->head.chunked || r->body_left <= DROP_MAX;
}

static bool must_close(const struct request *r)
{
	return r->close || r->failed || r->broken_head || r->serve->draining ||
	       r->serve->keepalive_ns == 0 ||
	       !r->head.keep_alive || r->conn->eof ||
	       (r->head.method == HTTP_M_CONNECT && r->status < 300) ||
	       (!r->body_cb && !body_is_droppable(r));
}

static void put_length(struct http_out *o, struct request *r, int64_t len)
{
	bool connected = r->head.method == HTTP_M_CONNECT && r->status >= 200 && r->status < 300;

	/* RFC 9110, 8.6: neither field in 1xx, 204 or a 2xx to CONNECT. */
	if (r->status == 204 || connected || r->status < 200) {
		r->no_body = true;
		return;
	}
	if (r->status == 304) {
		r->no_body = true;
		if (len <= 0) /* not the length that a 200 would have: none is said */
			return;
	}
	if (len >= 0) {
		http_put_slice(o, SLICE("Content-Length: "));
		http_put_u64(o, (uint64_t)len);
		http_put_slice(o, SLICE("\r\n"));
	} else if (r->head.minor == 1) {
		http_put_field(o, SLICE("Transfer-Encoding"), SLICE("chunked"));
		r->chunked_out = true;
	} else {
		r->close = r->until_close = true; /* HTTP/1.0 */
	}
	if (r->head.method == HTTP_M_HEAD)
		r->no_body = true;
}

/* Mostly it is one that we have made: then all lengths are known here. */
static void put_id(struct http_out *o, const struct request *r)
{
	if (r->id.p == r->id_text)
		http_put_field(o, SLICE("X-Request-Id"), (struct slice){r->id_text, ID_LEN});
	else
		http_put_field(o, SLICE("X-Request-Id"), r->id);
}

static void keep_content_type(struct request *r, struct slice type)
{
	size_t room = sizeof(r->content_type_text);
	size_t n = type.len < room ? type.len : room;

	if (!r->serve->access || n == 0)
		return;
	memcpy(r->content_type_text, type.p, n);
	r->content_type = (struct slice){r->content_type_text, n};
}

/* Writes the head into the output. len < 0: unknown. false: the connection is dead. */
static bool put_head(struct request *r, int status, struct slice type, int64_t len)
{
	struct serve *s = r->serve;
	struct buf *b = conn_out(r->conn);
	struct http_out o;

	CHECK(!r->head_done);
	if (!b)
		return false;
	if (loop_now(s->loop) >= s->date_due_ns)
		answer_date(s);
	r->status = status;
	r->answer_since_ns = r->fill_ns = loop_now(s->loop);
	o = (struct http_out){.p = b->data + b->end, .cap = b->cap - b->end};
	if (status == 200) {
		http_put(&o, s->fixed, s->fixed_len);
	} else {
		http_put_status_line(&o, status);
		http_put(&o, s->fixed + s->fixed_at, s->fixed_len - s->fixed_at);
	}
	if (type.len > 0 && type.len <= TYPE_MAX)
		http_put_field(&o, SLICE("Content-Type"), type);
	else if (type.len > 0)
		log_warnx("a handler's Content-Type was dropped: more than %u bytes", TYPE_MAX);
	put_length(&o, r, len);
	put_id(&o, r);
	coding_put_fields(r, &o);
	if (must_close(r)) {
		r->close = true;
		http_put_field(&o, SLICE("Connection"), SLICE("close"));
	} else if (r->head.minor == 0) {
		http_put_field(&o, SLICE("Connection"), SLICE("keep-alive"));
	}
	http_put_slice(&o, SLICE("\r\n"));
	CHECK(!o.over); /* OUT_RESERVE holds the longest head: type, id and extra are bounded */
	b->end += (uint32_t)o.len;
	r->head_done = true;
	keep_content_type(r, type);
	return true;
}

/* The handler has ended the request: what is left of the body goes nowhere, paused or not. */
void answer_done(struct request *r)
{
	r->body_cb = NULL;
	if (r->pause_ns != 0)
		r->body_since_ns += loop_now(r->serve->loop) - r->pause_ns;
	r->pause_ns = 0;
}

/* After an answer function was called from outside of the connection's own events. */
static void answered(struct request *r)
{
	if (!r->conn->processing)
		conn_kick(r->conn);
}

void request_fields_clear(struct request *r)
{
	r->extra_len = 0;
}

size_t request_fields_room(const struct request *r)
{
	return EXTRA_MAX - r->extra_len;
}

void request_field_lines(struct request *r, struct slice lines)
{
	CHECK(!r->head_done && lines.len <= EXTRA_MAX - r->extra_len);
	memcpy(r->extra + r->extra_len, lines.p, lines.len);
	r->extra_len += (uint32_t)lines.len;
}

void request_on_release(struct request *r, void (*release)(void *arg), void *arg)
{
	CHECK(!r->release);
	r->release = release;
	r->release_arg = arg;
}

void request_field(struct request *r, struct slice name, struct slice value)
{
	struct http_out o = {.p = r->extra, .len = r->extra_len, .cap = EXTRA_MAX};

	if (r->head_done || !http_field_ok(name, value)) {
		log_warnx("a handler's field \"%.*s\" was dropped: %s", (int)name.len, name.p,
			  r->head_done ? "the head is out" : "not a valid field");
		return;
	}
	http_put_field(&o, name, value);
	if (o.over) {
		log_warnx("a handler's field \"%.*s\" was dropped: more than %u bytes of fields",
			  (int)name.len, name.p, EXTRA_MAX);
		return;
	}
	r->extra_len = (uint32_t)o.len;
}

/* A body behind its head in the output, if it is small or there is nowhere else to put it. */
static bool copy_behind(struct request *r, struct slice body, size_t most)
{
	struct buf *b = r->conn->out;

	if (!r->no_body && (body.len > most || body.len > b->cap - b->end))
		return false;
	if (!r->no_body && body.len > 0) {
		memcpy(b->data + b->end, body.p, body.len);
		b->end += (uint32_t)body.len;
		r->body_sent = body.len;
	}
	r->kind = ANS_COPIED;
	r->produced = true;
	return true;
}

static void send_from(struct request *r, const char *mem, size_t len)
{
	r->kind = ANS_MEM;
	r->mem = mem;
	r->part_left = len;
}

static void release_source(struct request *r)
{
	void (*release)(void *arg) = r->release;

	r->release = NULL;
	if (release)
		release(r->release_arg);
}

/* Bytes that do not stay, or are not the handler's (those are needed no more then). */
static void send_copy(struct request *r, struct slice body)
{
	char *copy;

	if (!r->gzip && copy_behind(r, body, BUF_BIG))
		return;
	copy = malloc(body.len);
	if (!copy) {
		conn_die(r->conn);
		return;
	}
	memcpy(copy, body.p, body.len);
	release_source(r);
	request_on_release(r, free, copy);
	send_from(r, copy, body.len);
}

void request_answer(struct request *r, int status, struct slice type, struct slice body)
{
	int64_t len;

	answer_done(r);
	len = coding_bytes(r, status, type, &body);
	tap_head(r, &status, type, r->gzip ? SEEN_IN_PIECES : SEEN_WHOLE, &body, &len);
	if (!put_head(r, status, type, len))
		return;
	send_copy(r, body);
	answered(r);
}

void request_answer_ref(struct request *r, int status, struct slice type, struct slice body,
			void (*release)(void *arg), void *arg)
{
	struct slice out = body;
	int64_t len;

	answer_done(r);
	if (release)
		request_on_release(r, release, arg);
	len = coding_bytes(r, status, type, &out);
	tap_head(r, &status, type, r->gzip ? SEEN_IN_PIECES : SEEN_WHOLE, &out, &len);
	if (!put_head(r, status, type, len))
		return;
	if (out.p != body.p)
		send_copy(r, out);
	else if (r->gzip || !copy_behind(r, out, COPY_MAX))
		send_from(r, out.p, out.len);
	answered(r);
}

void request_answer_take(struct request *r, int status, struct slice type, char *heap, size_t len)
{
	request_answer_ref(r, status, type, (struct slice){heap, len}, free, heap);
}

/* On to the part that byte `skip` of what is left lies in. */
static void skip_parts(struct request *r, uint64_t skip)
{
	r->part_off += skip;
	while (r->part_left > 0) {
		uint64_t len = r->part(r->part_arg, r->part_at).len;

		if (r->part_off < len)
			break;
		r->part_off -= len;
		r->part_at++;
	}
}

/* What is left of an answer in parts. */
static void copy_parts(struct request *r, char *to)
{
	while (r->part_left > 0) {
		struct slice s = r->part(r->part_arg, r->part_at);
		uint64_t n = s.len - r->part_off;

		if (n > r->part_left)
			n = r->part_left;
		memcpy(to, s.p + r->part_off, n);
		to += n;
		r->part_left -= n;
		skip_parts(r, n);
	}
}

void request_answer_parts(struct request *r, int status, struct slice type,
			  const struct request_parts *p)
{
	struct buf *b;

	answer_done(r);
	if (p->release)
		request_on_release(r, p->release, p->release_arg);
	r->coding = CODING_NONE;
	if (!put_head(r, status, type, (int64_t)p->len))
		return;
	r->part = p->part;
	r->part_arg = p->arg;
	r->part_at = 0;
	r->part_off = 0;
	r->part_left = r->no_body ? 0 : p->len;
	skip_parts(r, p->offset);
	b = r->conn->out;
	r->kind = ANS_PARTS;
	if (r->no_body || (p->len <= COPY_MAX && p->len <= b->cap - b->end)) {
		r->kind = ANS_COPIED;
		r->produced = true;
		r->body_sent = r->part_left;
		copy_parts(r, b->data + b->end);
		b->end += (uint32_t)r->body_sent;
		release_source(r);
	}
	answered(r);
}

void request_own_rest(struct request *r)
{
	uint64_t len = r->part_left;
	char *copy;

	if (r->kind != ANS_PARTS || r->produced)
		return;
	copy = malloc(len > 0 ? len : 1);
	if (!copy) {
		conn_die(r->conn);
		return;
	}
	copy_parts(r, copy);
	release_source(r);
	request_on_release(r, free, copy);
	send_from(r, copy, len);
	r->part_off = 0;
}

void request_answer_pull(struct request *r, int status, struct slice type, int64_t total,
			 request_fill_f *fill, void *arg)
{
	int64_t len = coding_pull(r, status, type, total);

	tap_head(r, &status, type, SEEN_IN_PIECES, NULL, &len);
	if (!put_head(r, status, type, len))
		return;
	r->kind = ANS_PULL;
	r->fill = fill;
	r->fill_arg = arg;
	r->part_left = r->no_body ? 0 : total < 0 ? UINT64_MAX : (uint64_t)total;
	answered(r);
}

void request_body_more(struct request *r)
{
	r->fill_waits = false;
	answered(r);
}

void request_answer_file(struct request *r, int status, struct slice type, int fd, uint64_t offset,
			 uint64_t len)
{
	struct slice small;
	int64_t coded;

	answer_done(r);
	coded = coding_file(r, status, type, fd, offset, len, &small);
	if (small.p)
		close(fd);
	tap_head(r, &status, type, small.p ? SEEN_WHOLE : r->gzip ? SEEN_IN_PIECES : SEEN_NOT,
		 &small, &coded);
	if (!put_head(r, status, type, coded)) {
		if (!small.p)
			close(fd);
		return;
	}
	if (small.p) {
		send_copy(r, small);
		answered(r);
		return;
	}
	r->kind = ANS_FILE;
	r->file_fd = fd;
	r->part_off = offset;
	r->part_left = r->no_body ? 0 : len;
	answered(r);
}

void request_problem(struct request *r, int status, const char *detail)
{
	request_problem_about(r, status, detail, NULL, NULL);
}

void request_problem_about(struct request *r, int status, const char *detail, const char *about,
			   const char *const *policies)
{
	const struct slice type[] = {SLICE("application/problem+json"),
				     SLICE("text/plain; charset=utf-8")};
	bool text = http_prefers_text(r->head.known[HTTP_F_ACCEPT]);
	const struct status_problem p = {
		.status = status, .detail = detail, .request_id = r->id, .type = about,
		.policies = policies,
	};
	struct strbuf sb;
	size_t len;
	char *body;

	strbuf_init(&sb);
	status_problem(&sb, text, &p);
	len = sb.len;
	body = strbuf_take(&sb);
	if (body)
		request_answer_take(r, status, type[text], body, len);
	else
		request_answer(r, status, type[1], slice_of(http_reason(status)));
}

/* ---- bodies that do not fit behind their head ---- */

static bool wrote(struct request *r, size_t n)
{
	struct conn *c = r->conn;

	c->progress_ns = loop_now(r->serve->loop);
	c->sent += n;
	shm_add(&r->serve->slot->c.bytes_sent, n);
	return true;
}

/* A failed write: blocked (stay), or the client is gone. */
static bool write_failed(struct request *r)
{
	struct conn *c = r->conn;

	int err = errno;

	fd_failed(c->watch.fd, err);
	if (err == EAGAIN || err == EINTR)
		c->blocked = true;
	else
		conn_die(c);
	return false;
}

static bool push_mem(struct request *r)
{
	struct conn *c = r->conn;
	struct buf *b = c->out;
	size_t head = b ? b->end - b->start : 0, n;
	struct iovec iov[2] = {
		{.iov_base = b ? b->data + b->start : NULL, .iov_len = head},
		{.iov_base = (char *)(uintptr_t)r->mem + r->part_off, .iov_len = r->part_left},
	};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
	ssize_t w;

	if (r->part_left == 0)
		return true;
	account_answer(r, r->part_left);
	account_flush(r->serve);
	w = sendmsg(c->watch.fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (w < 0)
		return write_failed(r);
	wrote(r, (size_t)w);
	n = (size_t)w < head ? (size_t)w : head;
	if (b)
		b->start += (uint32_t)n;
	n = (size_t)w - n;
	r->part_off += n;
	r->part_left -= n;
	r->body_sent += n;
	if (r->part_left > 0)
		c->blocked = true;
	return r->part_left == 0;
}

#define PARTS_IOV 16

/* Fills in what is to be sent next: the output, and as many parts as there is room for. */
static int parts_iov(const struct request *r, struct iovec iov[PARTS_IOV + 1], uint64_t *ret_body)
{
	struct buf *b = r->conn->out;
	uint64_t left = r->part_left, off = r->part_off;
	uint32_t at = r->part_at;
	int n = 0;

	if (b && b->end > b->start)
		iov[n++] = (struct iovec){b->data + b->start, b->end - b->start};
	for (; left > 0 && n <= PARTS_IOV; at++, off = 0) {
		struct slice s = r->part(r->part_arg, at);
		uint64_t len = s.len - off < left ? s.len - off : left;

		iov[n++] = (struct iovec){(char *)(uintptr_t)s.p + off, len};
		left -= len;
	}
	*ret_body = r->part_left - left;
	return n;
}

static bool push_parts(struct request *r)
{
	struct conn *c = r->conn;
	uint64_t budget = FLUSH_MAX;

	while (r->part_left > 0) {
		struct buf *b = c->out;
		size_t head = b ? b->end - b->start : 0, n;
		struct iovec iov[PARTS_IOV + 1];
		uint64_t body;
		struct msghdr msg = {.msg_iov = iov,
				     .msg_iovlen = (size_t)parts_iov(r, iov, &body)};
		ssize_t w;

		if (body == r->part_left) { /* this may be the last write */
			account_answer(r, body);
			account_flush(r->serve);
		}
		w = sendmsg(c->watch.fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (w < 0)
			return write_failed(r);
		wrote(r, (size_t)w);
		n = (size_t)w < head ? (size_t)w : head;
		if (b)
			b->start += (uint32_t)n;
		n = (size_t)w - n;
		r->part_left -= n;
		r->body_sent += n;
		skip_parts(r, n);
		if ((size_t)w < head + body) {
			c->blocked = true;
			break;
		}
		if (n >= budget && r->part_left > 0) {
			c->blocked = true; /* the others' turn */
			break;
		}
		budget -= n < budget ? n : budget;
	}
	if (r->part_left == 0)
		release_source(r);
	return r->part_left == 0;
}

static bool push_file(struct request *r)
{
	struct conn *c = r->conn;
	uint64_t budget = FLUSH_MAX;

	if (r->part_left > 0 && !conn_flush(c))
		return false;
	while (r->part_left > 0) {
		size_t want = r->part_left < FILE_CHUNK ? (size_t)r->part_left : FILE_CHUNK;
		off_t off = (off_t)r->part_off;
		ssize_t w;

		if (want == r->part_left) { /* this may be the last write */
			account_answer(r, want);
			account_flush(r->serve);
		}
		w = sendfile(c->watch.fd, r->file_fd, &off, want);
		if (w < 0)
			return write_failed(r);
		if (w == 0) { /* the file has become shorter: only a cut tells the client */
			log_errx("a file that was being sent has shrunk, request %.*s",
				 (int)r->id.len, r->id.p);
			conn_die(c);
			return false;
		}
		wrote(r, (size_t)w);
		r->part_off += (uint64_t)w;
		r->part_left -= (uint64_t)w;
		r->body_sent += (uint64_t)w;
		if ((uint64_t)w >= budget) {
			c->blocked = true; /* the others' turn */
			break;
		}
		budget -= (uint64_t)w;
	}
	return r->part_left == 0;
}

char *answer_room(const struct request *r, struct buf *b, size_t *ret_cap)
{
	uint32_t lead = r->chunked_out ? CHUNK_HEAD : 0, tail = r->chunked_out ? 2 : 0;

	*ret_cap = b->cap - b->end - lead - tail;
	return b->data + b->end + lead;
}

void answer_piece(struct request *r, struct buf *b, size_t n)
{
	if (n == 0)
		return; /* as a chunk it would be the last one */
	if (r->taps)
		tap_piece(r, (struct slice){
			b->data + b->end + (r->chunked_out ? CHUNK_HEAD : 0), n});
	if (r->chunked_out) {
		struct http_out o = {.p = b->data + b->end, .cap = CHUNK_HEAD};

		http_put_chunk_size(&o, (uint64_t)n);
		memmove(b->data + b->end + o.len, b->data + b->end + CHUNK_HEAD, n);
		b->end += (uint32_t)o.len + (uint32_t)n;
		memcpy(b->data + b->end, "\r\n", 2);
		b->end += 2;
	} else {
		b->end += (uint32_t)n;
	}
	r->body_sent += (uint64_t)n;
}

/* Asks the handler for more into the output. Returns what was added; -1 when it failed. */
static long fill_once(struct request *r, struct buf *b, bool *ret_end)
{
	size_t cap;
	char *at = answer_room(r, b, &cap);
	long n;

	if (cap > r->part_left)
		cap = (size_t)r->part_left;
	n = r->fill(r, r->fill_arg, at, cap, ret_end);
	copy_check();
	if (n < 0 || (size_t)n > cap)
		return -1;
	answer_piece(r, b, (size_t)n);
	return n;
}

static bool push_pull(struct request *r)
{
	struct conn *c = r->conn;
	uint64_t budget = FLUSH_MAX;

	while (r->part_left > 0) {
		struct buf *b = conn_out(c);
		bool end = false;
		long n;

		if (!b)
			return false;
		if (b->cap - b->end < OUT_RESERVE) {
			if (!conn_flush(c))
				return false;
			continue;
		}
		n = fill_once(r, b, &end);
		if (n < 0) {
			conn_die(c); /* a cut is the only way to say that it is not whole */
			return false;
		}
		r->fill_ns = loop_now(r->serve->loop);
		if (r->part_left != UINT64_MAX)
			r->part_left -= (uint64_t)n;
		else if (end)
			r->part_left = 0;
		if (n == 0 && r->part_left > 0) {
			r->fill_waits = true;
			(void)conn_flush(c); /* now: streams are not held back */
			return false;
		}
		if (r->part_left == 0)
			break; /* the last piece is counted before it is written */
		if ((uint64_t)n >= budget) {
			if (conn_flush(c))
				c->blocked = true; /* the others' turn */
			return false;
		}
		budget -= (uint64_t)n;
	}
	return true;
}

/* The last chunk. There is room: OUT_RESERVE was kept. */
static bool end_chunked(struct request *r)
{
	struct buf *b;

	if (!r->chunked_out || r->no_body)
		return true;
	b = conn_out(r->conn);
	if (!b)
		return false;
	if (b->cap - b->end < 5 && !conn_flush(r->conn))
		return false;
	b = conn_out(r->conn);
	if (!b)
		return false;
	memcpy(b->data + b->end, "0\r\n\r\n", 5);
	b->end += 5;
	return true;
}

bool answer_push(struct request *r)
{
	bool whole = false;

	if (r->produced)
		return true;
	if (r->fill_waits || r->conn->blocked)
		return false;
	if (r->gzip) {
		r->produced = coding_push(r) && end_chunked(r);
		return r->produced;
	}
	switch (r->kind) {
	case ANS_NONE:
		return false;
	case ANS_COPIED:
		whole = true;
		break;
	case ANS_MEM:
		whole = push_mem(r);
		break;
	case ANS_PARTS:
		whole = push_parts(r);
		break;
	case ANS_FILE:
		whole = push_file(r);
		break;
	case ANS_PULL:
		whole = push_pull(r) && end_chunked(r);
		break;
	}
	r->produced = whole;
	return whole;
}

void answer_release(struct request *r)
{
	tap_end(r, r->produced && !r->failed);
	coding_release(r);
	if (r->kind == ANS_FILE)
		close(r->file_fd);
	release_source(r);
	r->kind = ANS_NONE;
}
