/* SPDX-License-Identifier: MIT */
/*
 * Connections and requests of one process (worker or keeper): accept -> read -> parse -> handle ->
 * write -> account -> keep-alive or close. One loop, one thread; nothing is allocated from the heap
 * in steady state (large heads, spooled bodies and status documents are the exceptions).
 *
 * A handler owns its request until it has ended it. It never sees a descriptor.
 */
#ifndef SERVE_SERVE_H
#define SERVE_SERVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/loop.h"
#include "base/net.h"
#include "http/http.h"
#include "shm/heritage.h"

struct serve;
struct request;

/* ---- what a handler sees ---- */

const struct http_request *request_head(const struct request *r);
struct slice request_path(const struct request *r);        /* normalised */
struct slice request_id(const struct request *r);
uint64_t request_since(const struct request *r);            /* loop time of its first byte */
/* The head as it was received: what the slices of request_head() point into (but for the path). */
struct slice request_head_bytes(const struct request *r);
const struct net_addr *request_client(const struct request *r); /* behind trusted proxies */
const struct net_addr *request_peer(const struct request *r);
bool request_forwarded(const struct request *r);
uint64_t request_now(const struct request *r);              /* loop time */
/* Zeroed memory that lives as long as the request; NULL when more than 4 KiB are used up. */
void *request_alloc(struct request *r, size_t size);

/*
 * The body, if the handler wants it: `cb` is called with each piece as it comes, and once with
 * data.p NULL and end true. Bodies nobody asked for are read and dropped (up to a bound) after the
 * answer. Return false to stop reading until request_body_resume().
 */
typedef bool request_body_f(struct request *r, void *arg, struct slice data, bool end);
void request_body(struct request *r, request_body_f *cb, void *arg);
void request_body_resume(struct request *r);
/* The handler wants no more of the body: what still comes is thrown away. Kicks nothing. */
void request_body_drop(struct request *r);
uint64_t request_body_bytes(const struct request *r);

/* Called once when the request ends before its answer was complete (client gone, timeout). */
typedef void request_gone_f(struct request *r, void *arg);
void request_on_gone(struct request *r, request_gone_f *cb, void *arg);
/* Beside it, with the same arg: the client has shut its sending side. It may have left, or wait for
 * the answer: nobody can know before something is written. */
void request_on_hangup(struct request *r, request_gone_f *cb);
bool request_hung_up(const struct request *r); /* it has, perhaps before this request began */

/* Is this within an event of its own connection (its handler is being called, say)? Then nothing
 * that is done with the request calls anybody; else it may carry on the connection, and with it
 * call the handler of the next request, before it returns. */
bool request_in_event(const struct request *r);
/* Calls fn(arg) as within such an event; the request may have ended when it returns. */
void request_run(struct request *r, void (*fn)(void *arg), void *arg);

/*
 * What holds something as long as a request goes on: `fn` is called once, when its answer has been
 * handed to the kernel whole, or will not be. It lies in the caller's memory until then; the
 * request itself is gone by the time. One for each request.
 */
struct request_end {
	struct request_end *next;
	void (*fn)(struct request_end *e);
};
void request_on_end(struct request *r, struct request_end *e);
struct request_end *request_end_of(const struct request *r); /* NULL = none */

/* What the configuration says of the requests of a route. Lives longer than they do. */
struct request_rules {
	uint32_t label;            /* for the metrics; 0 = the handler's */
	uint64_t timeout_ns;       /* to the head of the answer; 0 = the handler's */
	uint64_t stream_idle_ns;   /* 0 = the setting's */
	uint64_t body_max;         /* 0 = the handler's */
};
void request_set_rules(struct request *r, const struct request_rules *rules);
const struct request_rules *request_rules(const struct request *r); /* never NULL */

/* When the head of the answer is due (loop time; UINT64_MAX = never). Default: REQUEST_TIMEOUT. */
void request_deadline(struct request *r, uint64_t due_ns);
uint64_t request_due(const struct request *r);
/* Bytes that the body may have; CLIENT_MAX_BODY_SIZE unless said otherwise. Every handler calls it
 * before it does anything with the request. false: the body is announced as larger, and the request
 * has been ended with 413. */
bool request_limit_body(struct request *r, uint64_t max);

/* What its row says while its handler has it (else "handling"). */
void request_waits_as(struct request *r, enum shm_row_state state);
/* Who works on after the request has ended (in the call-back of request_on_gone()) keeps its row,
 * and gives it back later. UINT32_MAX: it has none. */
uint32_t request_keep_row(struct request *r);
uint32_t request_row(const struct request *r);
void serve_row_state(struct serve *s, uint32_t row, enum shm_row_state state);
void serve_row_end(struct serve *s, uint32_t row);

/* ---- answers: head first, then the body in one of three ways ---- */

/* Extra fields are written before the head is closed: call before the body. Name and value are
 * checked (a bad one is dropped and logged). */
void request_field(struct request *r, struct slice name, struct slice value);
/* Whole lines ("name: value\r\n") that have been checked, up to REQUEST_FIELDS_MAX in all. */
void request_field_lines(struct request *r, struct slice lines);
void request_fields_clear(struct request *r);
size_t request_fields_room(const struct request *r); /* bytes of lines that it can take yet */
#define REQUEST_FIELDS_MAX 4096u
/* Called once when the answer needs its memory or source no more, whatever became of it: before one
 * of the answers below. */
void request_on_release(struct request *r, void (*release)(void *arg), void *arg);

/* 1. Whole: bytes are copied. Ends the request. */
void request_answer(struct request *r, int status, struct slice content_type, struct slice body);
/* 1a. Whole, memory that stays as it is until release(arg) is called (NULL: for ever). */
void request_answer_ref(struct request *r, int status, struct slice content_type,
			struct slice body, void (*release)(void *arg), void *arg);
/* 1b. Whole, heap memory given away (freed after the write). */
void request_answer_take(struct request *r, int status, struct slice content_type, char *heap,
			 size_t len);
/*
 * 1c. Whole, in parts that stay as they are until release(arg) is called: of all their bytes `len`
 * from `offset` on. It goes out as it is: nothing is compressed. `part` is asked for each part
 * below `nparts`, perhaps several times.
 */
typedef struct slice request_part_f(const void *arg, uint32_t i);
struct request_parts {
	request_part_f *part;
	const void *arg;
	uint32_t nparts;
	uint64_t offset, len;
	void (*release)(void *arg);
	void *release_arg;
};
void request_answer_parts(struct request *r, int status, struct slice content_type,
			  const struct request_parts *p);
/* What is left to be sent of such an answer is copied: it is released before this returns (or the
 * connection is given up, for want of memory). */
void request_own_rest(struct request *r);
/* 2. Pulled: `fill` is asked for up to `cap` bytes whenever the client can take more; returns the
 * number of bytes, 0 = nothing yet (request_body_more() later), -1 = failed (the connection is cut
 * so that the client sees it). total < 0: unknown length, chunked; then *ret_end = true ends it. */
typedef long request_fill_f(struct request *r, void *arg, char *buf, size_t cap, bool *ret_end);
void request_answer_pull(struct request *r, int status, struct slice content_type, int64_t total,
			 request_fill_f *fill, void *arg);
void request_body_more(struct request *r);
/* 3. A range of a file; `fd` is closed after the write. Ends the request. */
void request_answer_file(struct request *r, int status, struct slice content_type, int fd,
			 uint64_t offset, uint64_t len);
/* An error as a problem document, or text when the client prefers it. Ends the request. */
void request_problem(struct request *r, int status, const char *detail);

/* The same with more members in the document: the URI of what it is about, and the policies that
 * the request has violated (NULL-terminated; NULL = none). */
void request_problem_about(struct request *r, int status, const char *detail, const char *type,
			   const char *const *policies);
/*
 * Who looks on while a request is answered, and has a say in the head. `head` is called once, just
 * before the head is made, if it comes to that; it may add fields. `piece` gets the bytes of a body
 * that is SEEN_IN_PIECES, as they are sent but for the framing of chunks. `end` is called once,
 * when the answer is in the output whole (before its last bytes leave), or will not be. NULL for
 * what nobody wants to hear. It lies in the caller's memory until `end`.
 */
enum request_seen { SEEN_WHOLE, SEEN_IN_PIECES, SEEN_NOT };
struct request_view {
	int status;                /* of a body SEEN_WHOLE it may be made 304: no body is sent then,
				    * and the fields are sent as they stand afterwards */
	struct slice type;
	struct slice lines;        /* the fields, but for those that the server makes */
	bool coded;                /* ... and it is the server that compresses */
	enum request_seen seen;
	struct slice body;         /* SEEN_WHOLE: as it is sent */
	int64_t len;               /* of the body; -1 = not known */
};
struct request_tap {
	struct request_tap *next;
	void (*head)(struct request_tap *t, struct request *r, struct request_view *v);
	void (*piece)(struct request_tap *t, struct slice data);
	void (*end)(struct request_tap *t, struct request *r, bool whole);
};
void request_tap(struct request *r, struct request_tap *t);

/* If-None-Match and If-Modified-Since are no more among the fields: its answer shall be a whole
 * one. */
void request_hide_conditions(struct request *r);
/* Would its answer be compressed, if its type and size allow that? */
bool request_takes_gzip(const struct request *r);

/* Is the client one that may see the server's own status? false: it has been told so by a 403. */
bool request_may_see_status(struct request *r);

/* Answers one of the built-in paths; `rest` is the path under the prefix, see status_match(). */
void request_answer_status(struct request *r, struct slice rest);

/* Label for the metrics: index in the segment's directory of routes. Default 0 ("other"). */
void request_route(struct request *r, uint32_t route);
/* Counted as one of the server's own status requests instead. */
void request_is_status(struct request *r);

/* ---- the process's side ---- */

typedef void serve_handler_f(struct serve *s, struct request *r, void *arg);

struct serve_options {
	const struct heritage *heritage;
	struct loop *loop;
	uint32_t connections_max;
	bool keeper;               /* status listener: no access log, only status requests */
	serve_handler_f *handler;
	void *handler_arg;
};

/* How many timers a serve needs of its loop. */
size_t serve_timers(uint32_t connections_max);
int serve_new(const struct serve_options *o, struct serve **ret_serve); /* 0 or -errno */
void serve_free(struct serve *s);

/* A descriptor that is the process's own, and never a connection's: when accept() gives its number,
 * somebody has closed it, and a CHECK fails before it is used as either. */
void serve_reserve_fd(struct serve *s, int fd);

/* In a forked copy of the process: closes the clients' descriptors and nothing else. */
void serve_abandon(struct serve *s);

/* Takes a connected, non-blocking descriptor. */
void serve_accepted(struct serve *s, int fd, const struct net_addr *peer);
uint32_t serve_connections(const struct serve *s);
/* Room for one more? Makes room if need be: the longest idle keep-alive connection goes first, then
 * the oldest unfinished head. */
bool serve_make_room(struct serve *s);

/* From now on every answer says Connection: close; idle connections go after linger_ms (0: at
 * once); calls `done` (from the loop) when none is left. */
void serve_drain(struct serve *s, uint32_t linger_ms, void (*done)(struct serve *s, void *arg),
		 void *arg);

/* Puts a log record into the own slot's ring and wakes the keeper if it sleeps. false = no room;
 * the loss is counted. Does not block. */
bool serve_put_record(const struct heritage *h, enum shm_record_kind kind, const char *p,
		      size_t len);

/* Called before each wait: flushes what a turn has collected (counters, ring wake-up). */
void serve_end_turn(struct serve *s);

#endif
