/* SPDX-License-Identifier: MIT */
/*
 * The life of one request, in the order of the functions: begin (parse, name, row, handler), step
 * (body, answer, end), failure and abort. What a handler may call is here too.
 */
#include <endian.h>

#include "base/check.h"
#include "base/log.h"
#include "serve/client.h"
#include "serve/serve_priv.h"

const struct http_request *request_head(const struct request *r) { return &r->head; }
struct slice request_path(const struct request *r) { return r->path; }
struct slice request_id(const struct request *r) { return r->id; }
const struct net_addr *request_peer(const struct request *r) { return &r->conn->peer; }
uint64_t request_now(const struct request *r) { return loop_now(r->serve->loop); }
uint64_t request_body_bytes(const struct request *r) { return r->body_bytes; }
uint64_t request_due(const struct request *r) { return r->deadline_ns; }
uint32_t request_row(const struct request *r) { return r->row; }
bool request_in_event(const struct request *r) { return r->conn->processing; }
bool request_hung_up(const struct request *r) { return r->conn->peer_done || r->conn->eof; }
void request_body_drop(struct request *r) { answer_done(r); }
uint64_t request_since(const struct request *r) { return r->since_ns; }
void request_route(struct request *r, uint32_t route) { r->route = route; }
void request_on_end(struct request *r, struct request_end *e) { r->on_end = e; }
struct request_end *request_end_of(const struct request *r) { return r->on_end; }
const struct request_rules *request_rules(const struct request *r) { return r->rules; }
void request_set_rules(struct request *r, const struct request_rules *rules) { r->rules = rules; }
void request_is_status(struct request *r) { r->is_status = true; }

struct slice request_head_bytes(const struct request *r)
{
	const struct buf *b = r->conn->in;
	const char *begin = r->head.method_text.p;

	return (struct slice){begin, (size_t)(b->data + b->head_len - begin)};
}

/* Most requests come without the fields, and then the client is the peer. */
static void know_client(struct request *r)
{
	if (r->client_known)
		return;
	r->client_known = true;
	r->client = r->conn->peer;
	r->forwarded = r->head.known[HTTP_F_X_FORWARDED_FOR].p ||
		       r->head.known[HTTP_F_FORWARDED].p || r->head.known[HTTP_F_VIA].p;
	if (r->forwarded)
		client_behind_proxies(&r->client, &r->head, &r->serve->h->conf->forwarded_allow);
}

const struct net_addr *request_client(const struct request *r)
{
	know_client((struct request *)r); /* a cache: what it says does not change */
	return &r->client;
}

bool request_forwarded(const struct request *r)
{
	know_client((struct request *)r);
	return r->forwarded;
}

void *request_alloc(struct request *r, size_t size)
{
	uint32_t at = (r->arena_used + 15) & ~15u;

	if (size > ARENA_MAX - at)
		return NULL;
	r->arena_used = at + (uint32_t)size;
	memset(r->arena + at, 0, size);
	return r->arena + at;
}

void request_body(struct request *r, request_body_f *cb, void *arg)
{
	r->body_cb = cb;
	r->body_arg = arg;
	if (!r->conn->processing)
		conn_kick(r->conn);
}

void request_run(struct request *r, void (*fn)(void *arg), void *arg)
{
	struct conn *c = r->conn;

	c->processing = true;
	fn(arg);
	conn_kick(c);
}

void request_body_resume(struct request *r)
{
	if (r->pause_ns == 0)
		return;
	r->body_since_ns += loop_now(r->serve->loop) - r->pause_ns;
	r->pause_ns = 0;
	if (!r->conn->processing)
		conn_kick(r->conn);
}

void request_on_gone(struct request *r, request_gone_f *cb, void *arg)
{
	r->gone_cb = cb;
	r->gone_arg = arg;
}

void request_on_hangup(struct request *r, request_gone_f *cb)
{
	r->hangup_cb = cb;
}

void request_deadline(struct request *r, uint64_t due_ns)
{
	r->deadline_ns = due_ns;
	if (!r->conn->processing)
		conn_kick(r->conn);
}

static void body_failed(struct request *r, enum http_err e)
{
	account_error(r->serve, r, SHM_ERR_BAD_REQUEST);
	request_fail(r, http_err_status(e), http_err_text(e));
}

bool request_limit_body(struct request *r, uint64_t max)
{
	r->body_max = max;
	if (r->body_bytes <= max &&
	    (r->head.content_length < 0 || (uint64_t)r->head.content_length <= max))
		return true;
	body_failed(r, HTTP_E_BODY_TOO_LARGE);
	return false;
}

void request_waits_as(struct request *r, enum shm_row_state state)
{
	r->waits_as = state;
	account_state(r, state);
}

uint32_t request_keep_row(struct request *r)
{
	uint32_t row = r->row;

	r->row = UINT32_MAX;
	return row;
}

/* ---- begin ---- */

/* Eight hexadecimal digits, all at once: a nibble per byte, then what makes it a character. A loop
 * over the digits of an id took 5 % of all instructions of a request. */
static void put_hex(char *to, uint32_t v)
{
	uint64_t x = v, above9;

	x = (x | x << 16) & 0x0000ffff0000ffffULL;
	x = (x | x << 8) & 0x00ff00ff00ff00ffULL;
	x = (x | x << 4) & 0x0f0f0f0f0f0f0f0fULL;
	above9 = (x + 0x0606060606060606ULL) >> 4 & 0x0101010101010101ULL;
	x = htobe64(x + 0x3030303030303030ULL + above9 * ('a' - '0' - 10));
	memcpy(to, &x, sizeof(x));
}

static void make_id(struct request *r)
{
	struct serve *s = r->serve;
	/* A bijection of the counter (splitmix64): no two requests of a process share an id. */
	uint64_t x = s->id_seed + 0x9e3779b97f4a7c15ULL * ++s->id_count;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	x ^= x >> 31;
	put_hex(r->id_text, (uint32_t)(x >> 32));
	put_hex(r->id_text + 8, (uint32_t)x);
	r->id = (struct slice){r->id_text, ID_LEN};
}

static const struct request_rules no_rules;

static void reset(struct request *r, struct conn *c)
{
	r->conn = c;
	r->since_ns = r->ready_ns = c->since_ns;
	r->deadline_ns = c->serve->request_ns ? c->since_ns + c->serve->request_ns : UINT64_MAX;
	r->waits_as = SHM_ROW_HANDLING;
	r->body_max = (uint64_t)c->serve->set->client_max_body_size;
	r->path = SLICE("");
	r->body_cb = NULL;
	r->chunked = (struct http_chunked){0};
	r->body_left = r->body_bytes = r->pause_ns = r->dropped = 0;
	r->body_since_ns = loop_now(c->serve->loop);
	r->body_done = r->body_told_end = r->continue_sent = false;
	r->kind = ANS_NONE;
	r->status = 0;
	r->head_done = r->produced = r->close = r->no_body = r->chunked_out = false;
	r->until_close = false;
	r->accounted = r->is_status = r->failed = r->broken_head = r->fill_waits = false;
	r->content_type = (struct slice){NULL, 0};
	r->release = NULL;
	r->coding = CODING_NONE;
	r->gzip = NULL;
	r->part_off = r->part_left = r->body_sent = 0;
	r->gone_cb = r->hangup_cb = NULL;
	r->on_end = NULL;
	r->rules = &no_rules;
	r->taps = NULL;
	r->route = 0;
	r->client_known = false;
	r->extra_len = r->arena_used = 0;
}

static char *path_room(struct request *r)
{
	return (char *)(r->head.fields + r->serve->limits.fields_max);
}

/* A head that is not one: an answer, and the end of the connection. */
static void refuse(struct request *r, enum http_err e)
{
	struct http_field *fields = r->head.fields;

	account_error(r->serve, r, SHM_ERR_BAD_REQUEST);
	r->head = (struct http_request){.minor = 1, .fields = fields, .content_length = -1};
	r->broken_head = true;
	r->body_done = true;
	make_id(r);
	account_begin(r);
	r->conn->linger = true;
	log_debug("bad request from %s: %s", r->conn->peer_text, http_err_word(e));
	request_problem(r, http_err_status(e), http_err_text(e));
}

void request_refuse(struct conn *c, enum http_err e)
{
	struct request *r = req_get(c->serve);

	if (!r) {
		conn_die(c);
		return;
	}
	reset(r, c);
	c->req = r;
	refuse(r, e);
}

static enum http_err accept_head(struct request *r)
{
	const struct http_request *h = &r->head;
	enum http_err e = HTTP_OK;
	size_t len = 0;

	if (h->form == HTTP_ORIGIN_FORM || h->form == HTTP_ABSOLUTE_FORM) {
		e = http_normalise_path(h->raw_path, path_room(r), &len);
		r->path = (struct slice){path_room(r), len};
	} else {
		r->path = h->target;
	}
	return e;
}

enum step request_begin(struct conn *c)
{
	struct serve *s = c->serve;
	struct buf *b = c->in;
	struct slice given;
	struct request *r;
	enum http_err e;

	if (!b || b->start == b->end)
		return STEP_WAIT;
	r = req_get(s);
	if (!r) {
		conn_die(c);
		return STEP_WAIT;
	}
	e = http_parse_head(&r->head, &s->limits, b->data + b->start, b->end - b->start, &b->scan);
	if (e == HTTP_E_AGAIN) {
		req_put(r);
		return STEP_WAIT;
	}
	reset(r, c);
	c->req = r;
	c->fresh = false;
	if (e == HTTP_OK)
		e = accept_head(r);
	if (e != HTTP_OK) {
		refuse(r, e);
		return STEP_MORE;
	}
	b->start += (uint32_t)r->head.head_len;
	b->head_len = b->start;
	b->scan = 0;
	r->body_done = !r->head.has_body;
	r->body_left = r->head.content_length > 0 ? (uint64_t)r->head.content_length : 0;
	given = r->head.known[HTTP_F_X_REQUEST_ID];
	if (given.p && http_request_id_ok(given))
		r->id = given;
	else
		make_id(r);
	account_begin(r);
	account_current(s, r);
	account_state(r, SHM_ROW_HANDLING);
	s->handler(s, r, s->handler_arg);
	copy_check();
	return STEP_MORE;
}

/* ---- body ---- */

/* May bytes of the body be looked at now? */
static bool reads_body(const struct request *r)
{
	return !r->body_done && r->pause_ns == 0 && (r->body_cb || r->head_done);
}

bool request_wants_input(const struct request *r)
{
	return reads_body(r);
}

static void deliver(struct request *r, struct slice data, bool end)
{
	bool goes_on;

	if (!r->body_cb || r->body_told_end)
		return;
	r->body_told_end = end;
	goes_on = r->body_cb(r, r->body_arg, data, end);
	copy_check();
	if (!goes_on && !end && r->body_cb && r->pause_ns == 0)
		r->pause_ns = loop_now(r->serve->loop);
}

static void body_piece(struct request *r, struct slice data)
{
	if (data.len == 0)
		return;
	r->body_bytes += data.len;
	if (r->body_cb)
		deliver(r, data, false);
	else
		r->dropped += data.len;
}

/* Are there bytes of the body that may be looked at now? */
static bool body_waits(const struct request *r)
{
	const struct buf *b = r->conn->in;

	return !r->conn->dead && !r->conn->blocked && reads_body(r) && b && b->start < b->end;
}

/* Takes one piece of the body out of the input. false: nothing more to take now. */
static bool body_step(struct request *r)
{
	struct conn *c = r->conn;
	struct buf *b = c->in;
	struct slice data;
	size_t used;

	if (!body_waits(r))
		return false;
	if (r->head.chunked) {
		enum http_err e = http_chunked_read(&r->chunked, &r->serve->limits,
						    b->data + b->start, b->end - b->start, &used,
						    &data);

		if (e == HTTP_OK && r->body_bytes + data.len > r->body_max)
			e = HTTP_E_BODY_TOO_LARGE;
		if (e != HTTP_OK) {
			body_failed(r, e);
			return false;
		}
		r->body_done = r->chunked.done;
	} else {
		used = b->end - b->start;
		if (used > r->body_left)
			used = (size_t)r->body_left;
		data = (struct slice){b->data + b->start, used};
		r->body_left -= used;
		r->body_done = r->body_left == 0;
	}
	b->start += (uint32_t)used;
	if (r->body_done)
		r->ready_ns = loop_now(r->serve->loop);
	body_piece(r, data);
	return true;
}

/* The client waits for a word before it sends (RFC 9110, 10.1.1); only if the body is wanted. */
static void say_continue(struct request *r)
{
	static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
	struct buf *b;

	if (!r->head.expect_continue || r->continue_sent || !r->body_cb || r->head_done ||
	    r->body_done || r->body_bytes > 0)
		return;
	b = conn_out(r->conn);
	if (!b)
		return;
	r->continue_sent = true;
	memcpy(b->data + b->end, text, sizeof(text) - 1);
	b->end += sizeof(text) - 1;
	shm_add(&r->serve->slot->c.responses_1xx, 1);
}

uint64_t request_body_due(const struct request *r)
{
	const struct serve *s = r->serve;
	uint64_t grace = s->header_ns;

	if (r->body_done || r->pause_ns != 0 || s->min_body_rate == 0)
		return UINT64_MAX;
	if (grace == 0)
		grace = 10 * NS_PER_S;
	return r->body_since_ns + grace +
	       (uint64_t)((double)r->body_bytes / (double)s->min_body_rate * 1e9);
}

/* ---- step and end ---- */

static void end(struct request *r)
{
	struct conn *c = r->conn;

	account_answer(r, 0);
	account_end(r);
	answer_release(r);
	if (r->on_end) {
		r->on_end->next = c->ends;
		c->ends = r->on_end;
	}
	if (r->close) {
		c->closing = true;
		/* The client did not ask for it: it may have sent more, and closing with input
		 * unread would make the kernel drop the answer (RFC 9112, 9.6). */
		if (r->head.keep_alive || r->broken_head || r->failed || !r->body_done ||
		    (c->in && c->in->start < c->in->end))
			c->linger = true;
	}
	c->req = NULL;
	if (c->in) {
		c->in->head_len = 0;
		c->in->scan = 0;
	}
	c->since_ns = loop_now(r->serve->loop);
	req_put(r);
}

/* The request waits: for whom is seen in its row. */
static enum step wait_or_go_on(struct request *r)
{
	if (body_waits(r))
		return STEP_MORE;
	account_state(r, reads_body(r) && !r->head_done ? SHM_ROW_READING :
			 r->head_done ? SHM_ROW_WRITING : r->waits_as);
	return STEP_WAIT;
}

enum step request_step(struct request *r)
{
	struct conn *c = r->conn;

	say_continue(r);
	while (!c->dead && body_step(r))
		if (r->dropped > DROP_MAX && r->produced) {
			r->close = r->failed = true;
			break;
		}
	if (c->dead)
		return STEP_WAIT;
	if (r->body_done && r->body_cb && !r->body_told_end)
		deliver(r, (struct slice){NULL, 0}, true);
	if (c->dead)
		return STEP_WAIT;
	if (!answer_push(r)) /* meanwhile the handler may have asked for more of the body */
		return wait_or_go_on(r);
	account_answer(r, 0); /* it may be written while the rest of the body is awaited */
	answer_done(r);
	if (!r->body_done && !r->close && !r->failed) /* the rest comes, and is dropped */
		return wait_or_go_on(r);
	end(r);
	return STEP_MORE;
}

void request_fail(struct request *r, int status, const char *detail)
{
	/* What is left of the input is no request, whatever the answer has promised. */
	r->close = r->failed = true;
	r->body_done = true;
	if (r->gone_cb && !r->produced) {
		request_gone_f *cb = r->gone_cb;

		r->gone_cb = NULL;
		cb(r, r->gone_arg);
	}
	answer_done(r);
	if (r->head_done) {
		if (!r->produced)
			conn_die(r->conn); /* a part is out: only a cut tells the client */
		return;
	}
	r->extra_len = 0;
	r->conn->linger = true;
	request_problem(r, status, detail);
}

void request_abort(struct request *r)
{
	if (r->gone_cb && !r->produced)
		r->gone_cb(r, r->gone_arg);
	if (!r->produced)
		account_gone(r);
	account_end(r);
	answer_release(r);
	if (r->on_end)
		r->on_end->fn(r->on_end);
	r->conn->req = NULL;
	req_put(r);
}
