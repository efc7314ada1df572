/* SPDX-License-Identifier: MIT */
/*
 * The interface between Capricorn and the modules that it runs: C11, nothing but the standard
 * headers. docs/MODULES.md teaches it from zero; examples/ has a module of each kind.
 *
 * A module is a shared object that exports one `const struct capri_app` (capricorn ./app.so, or
 * ./app.so:symbol). Every worker process loads it, calls its start(), and then its handlers.
 *
 * Which thread. Each worker has one event loop, its "loop", and a pool of threads. Every function
 * says where it may be called: [loop], [start] (only within start()), [owner] (whichever thread
 * works on the request now: one at a time), [any]. None blocks unless it says so.
 *
 * Results. Functions that return int return 0 or a negative enum capri_err; CAPRI_OK is 0.
 *
 * Memory. Texts are `struct capri_str`: not NUL-terminated, p is NULL when there is none. What
 * belongs to a request is valid until that request is completed. What is passed in is copied, if
 * not said otherwise.
 */
#ifndef CAPRICORN_H
#define CAPRICORN_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Raised when a module that was built before would no longer work. Checked at load. */
#define CAPRI_ABI 1u

#if defined(__GNUC__)
#define CAPRI_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define CAPRI_EXPORT       __attribute__((visibility("default")))
#else
#define CAPRI_PRINTF(f, a)
#define CAPRI_EXPORT
#endif

struct capri_request; /* one request, for the handler that has it */
struct capri_worker;  /* the process that the module runs in */
struct capri_metric;
struct capri_timer;

struct capri_str {
	const char *p;
	size_t len;
};

enum capri_err {
	CAPRI_OK = 0,
	CAPRI_E_CANCELLED = -1, /* the client has gone or the time is over: nobody waits for it */
	CAPRI_E_TWICE = -2,     /* the request has an answer already */
	CAPRI_E_AGAIN = -3,     /* no room now: wait for the call-back, then try again */
	CAPRI_E_INVALID = -4,   /* an argument that is none, or not in this state */
	CAPRI_E_THREAD = -5,    /* not from this thread */
	CAPRI_E_NOMEM = -6,     /* no memory, or above a bound */
	CAPRI_E_IO = -7         /* a file or the body could not be read or kept */
};
CAPRI_EXPORT const char *capri_strerror(int err); /* [any] one sentence; never NULL */

/* ---- the module ---- */

/* What a handler returns besides a negative error (which becomes a 500, logged by name). */
enum capri_result {
	CAPRI_DONE = 0,     /* answered; the same as CAPRI_OK, so `return capri_respond(...)` */
	CAPRI_PENDING = 1,  /* async: will be completed later, from any thread */
	CAPRI_DECLINED = 2  /* not mine: the next route that matches is asked, in the end 404. Not
			     * after a part of a body that comes as a stream was read: 500 */
};

/*
 * How a handler runs.
 *
 *   CAPRI_INLINE  in the loop. It must answer (or decline) before it returns, and must not block:
 *                 every other client of the worker waits for it. Holding the loop for more than
 *                 100 ms is counted by the route's name and logged.
 *   CAPRI_POOL    in one of THREAD_POOL_SIZE threads, which start on first use. It may block, and
 *                 answers before it returns. With TASK_QUEUE_SIZE calls waiting the client gets
 *                 503 with Retry-After.
 *   CAPRI_ASYNC   called in the loop, must not block; answers at once, or returns CAPRI_PENDING
 *                 and completes the request later, from any thread.
 *
 * Completing is what ends a request: capri_respond*(), capri_problem() or capri_stream_end(). An
 * async handler must not touch the request after that. (A second completion is told with
 * CAPRI_E_TWICE, counted and logged, as long as the memory of the request is not in use again.)
 */
enum capri_kind { CAPRI_INLINE, CAPRI_POOL, CAPRI_ASYNC };

typedef int capri_handler_f(struct capri_request *r, void *arg);

/* The body of a request: read whole before the handler is called (the default; it is in memory, or
 * mapped from a file when it is large), taken by the handler as it comes (not inline), or not
 * wanted: the handler is called at once, and what comes is thrown away. */
enum capri_body_mode { CAPRI_BODY_WHOLE, CAPRI_BODY_STREAM, CAPRI_BODY_NONE };

/*
 * A route. The pattern is matched with the path as capri_path() gives it: literal segments, {name}
 * for one segment, and a last "*" for the rest, which may be empty (both "/files/" and "/files/a/b"
 * match "/files/" + "*"). The most specific pattern is asked first: a literal segment before {name}
 * before "*". A GET route also answers HEAD (the body is left out), and OPTIONS is answered by
 * itself. The pattern "*" alone is for everything that no other route takes. Two routes with the
 * same pattern and a method in common are an error.
 */
struct capri_route {
	const char *methods;          /* "GET", "GET, POST"; NULL or "*": any */
	const char *pattern;          /* "/users/{id}" */
	capri_handler_f *handler;
	void *arg;                    /* for the handler */
	enum capri_kind kind;
	enum capri_body_mode body;
	const char *name;             /* label in the metrics; NULL: the pattern */
	uint32_t timeout_ms;          /* to the head of the answer; 0: REQUEST_TIMEOUT */
	uint64_t body_max;            /* bytes; 0: CLIENT_MAX_BODY_SIZE */
	void *reserved[4];            /* zero */
};

/*
 * The exported description. Use CAPRI_APP_INIT for the first fields:
 *
 *   const struct capri_app capricorn_app = {CAPRI_APP_INIT, .name = "shop", .routes = routes};
 */
struct capri_app {
	uint32_t abi;                 /* CAPRI_ABI */
	uint32_t size;                /* sizeof(struct capri_app) */
	uint32_t route_size;          /* sizeof(struct capri_route) */
	const char *name;             /* short: for logs and /status */
	const char *version;          /* or NULL */
	const struct capri_route *routes; /* ended by one without a handler; or NULL */
	/* In each worker before it serves; may block (BOOT_TIMEOUT), add routes, make metrics and
	 * start threads. Non-zero: the worker cannot start. */
	int (*start)(struct capri_worker *w);
	/* In each worker that leaves in good order: after its last request, before its exit. Not
	 * called when it is killed. May block (GRACEFUL_TIMEOUT). */
	void (*stop)(struct capri_worker *w);
	void *reserved[4];            /* zero */
};
#define CAPRI_APP_INIT                                                                             \
	.abi = CAPRI_ABI, .size = sizeof(struct capri_app),                                        \
	.route_size = sizeof(struct capri_route)

/* ---- the worker ---- */

/* [start] Adds a route beside those of the table. CAPRI_E_INVALID is logged with the reason. */
CAPRI_EXPORT int capri_add_route(struct capri_worker *w, const struct capri_route *route);

/* [any] The module's own settings, the section `module:` of the configuration file. A dotted path
 * names a value ("database.host", "hosts.0"); numbers and booleans are given as they are written.
 * p is NULL when there is none or it is a list or mapping. NUL-terminated; valid as long as the
 * worker. */
CAPRI_EXPORT struct capri_str capri_setting(const struct capri_worker *w, const char *path);
/* [any] The whole section as a JSON object ("{}" without one); NUL-terminated. */
CAPRI_EXPORT struct capri_str capri_settings_json(const struct capri_worker *w);

/* [any] Information: number of the worker's slot (from 1), generation of the configuration. */
CAPRI_EXPORT uint32_t capri_worker_slot(const struct capri_worker *w);
CAPRI_EXPORT uint32_t capri_worker_generation(const struct capri_worker *w);
/* [owner] The worker that a request is in. */
CAPRI_EXPORT struct capri_worker *capri_worker_of(const struct capri_request *r);
/* [any] A pointer of the module's own, for its state in this worker. */
CAPRI_EXPORT void capri_set_data(struct capri_worker *w, void *data);
CAPRI_EXPORT void *capri_data(const struct capri_worker *w);

/* [any] Calls fn(w, arg) in the loop, soon. 0, or CAPRI_E_NOMEM. */
CAPRI_EXPORT int capri_post(struct capri_worker *w, void (*fn)(struct capri_worker *w, void *arg),
			    void *arg);

/* Timers of the loop: one shot; arm again for more. Monotonic time in milliseconds. */
typedef void capri_timer_f(struct capri_worker *w, struct capri_timer *t, void *arg);
/* [loop, start] NULL: no memory. At most 1024 of them exist at once. */
CAPRI_EXPORT struct capri_timer *capri_timer_new(struct capri_worker *w, capri_timer_f *fn,
						 void *arg);
CAPRI_EXPORT void capri_timer_arm(struct capri_timer *t, uint64_t after_ms);  /* [loop, start] */
CAPRI_EXPORT void capri_timer_disarm(struct capri_timer *t);                  /* [loop, start] */
CAPRI_EXPORT void capri_timer_free(struct capri_timer *t);                    /* [loop, start] */
/* [loop] Time of this turn of the loop, [any] in other threads: the time now. */
CAPRI_EXPORT uint64_t capri_now_ms(const struct capri_worker *w);

/* ---- log ---- */

enum capri_level { CAPRI_DEBUG, CAPRI_INFO, CAPRI_WARNING, CAPRI_ERROR, CAPRI_CRITICAL };
/* [any] A line in the error log; with a request its id is in the line. r may be NULL. */
CAPRI_EXPORT void capri_log(const struct capri_request *r, enum capri_level level,
			    const char *format, ...) CAPRI_PRINTF(3, 4);

/* ---- semaphores and rate limits of the configuration, over all workers: docs/LIMITS.md ---- */

struct capri_semaphore;
struct capri_ratelimit;

/* [start] By its name in the file ("global" and "llm" are always there). NULL: there is none, which
 * is logged. */
CAPRI_EXPORT struct capri_semaphore *capri_semaphore_find(struct capri_worker *w, const char *name);
CAPRI_EXPORT struct capri_ratelimit *capri_ratelimit_find(struct capri_worker *w, const char *name);

/*
 * What a handler takes belongs to its request: it is given back by capri_semaphore_release(), or
 * when the handler has ended, and when its process is killed. weight: how many permits at once, 1
 * to the limit_max of the semaphore. A request has one share of a semaphore at a time: asking for
 * another is CAPRI_E_INVALID. (Asking for what its route takes already would wait for itself.)
 *
 * [owner] Takes them if they are free and nobody waits. CAPRI_E_AGAIN: not now.
 */
CAPRI_EXPORT int capri_semaphore_try(struct capri_request *r, struct capri_semaphore *s,
				     uint32_t weight);
/* [owner, pool handler] Blocks until they are the request's. CAPRI_E_AGAIN: the queue is full, or
 * it has waited for queue_timeout; CAPRI_E_CANCELLED: nobody waits for the answer any more. */
CAPRI_EXPORT int capri_semaphore_acquire(struct capri_request *r, struct capri_semaphore *s,
					 uint32_t weight);
/* [loop, async handler] Calls fn once, in the loop, when they are the request's (result 0), or will
 * not be (results as above). 0, CAPRI_E_AGAIN (the queue is full) or CAPRI_E_NOMEM: then fn is not
 * called; nor is it when the request is completed before. */
typedef void capri_semaphore_f(struct capri_request *r, int result, void *arg);
CAPRI_EXPORT int capri_semaphore_wait(struct capri_request *r, struct capri_semaphore *s,
				      uint32_t weight, capri_semaphore_f *fn, void *arg);
/* [owner] Gives back what the request has of it; nothing if it has none. */
CAPRI_EXPORT void capri_semaphore_release(struct capri_request *r, struct capri_semaphore *s);

/* [any] Charges one to the limit, by this key (of a limit that is not keyed: any). 0, or
 * CAPRI_E_AGAIN: more than it allows; then *ret_retry_after, if it is not NULL, is in how many
 * seconds the next is allowed, at least 1. */
CAPRI_EXPORT int capri_ratelimit_check(struct capri_ratelimit *l, struct capri_str key,
				       uint32_t *ret_retry_after);

/* ---- the cache, over all workers, for values of the module's own; docs/CACHING.md ---- */

/*
 * Keys are 1 to 4000 bytes of any kind, and have nothing to do with those of answers. Tags are 1 to
 * 255 bytes, up to 16. But for capri_cache_fill() nothing of it blocks, or runs for longer than a
 * copy of the value takes.
 *
 * [owner] The value of a key, in the memory of the request, with a NUL behind it; p is NULL: there
 * is none (any more).
 */
CAPRI_EXPORT struct capri_str capri_cache_get(struct capri_request *r, struct capri_str key);
/* [owner] Keeps a copy for ttl_ms, unless it is made invalid before. That counts from the first
 * capri_cache_get() or capri_cache_fill() of the request on: a value that was computed from what
 * somebody has changed meanwhile is not found. CAPRI_E_NOMEM: too large, or no room now. */
CAPRI_EXPORT int capri_cache_put(struct capri_request *r, struct capri_str key,
				 struct capri_str value, uint64_t ttl_ms,
				 const struct capri_str *tags, size_t ntags);
/*
 * For what is dear to compute: of all requests in all workers that ask for a key that is not
 * there, one is told CAPRI_COMPUTE. It puts the value (which counts as computed from when it was
 * told); that, capri_cache_fill_end(), or the end of its handler or of its process lets those that
 * wait go on: with the value, or one of them computes next. So they do when it takes longer than
 * REQUEST_TIMEOUT (30 s if that is 0). When the value finds no room, or its ttl is 0, nobody waits
 * for the key for a second: each computes. A request computes or waits for one key at a time:
 * asking for another meanwhile is CAPRI_E_INVALID.
 *
 * [owner] CAPRI_OK and the value, as by capri_cache_get(); CAPRI_COMPUTE; CAPRI_E_AGAIN: another
 * request has computed it for longer than wait_ms (0: does at all). A pool handler blocks as long,
 * others have to pass 0. CAPRI_E_CANCELLED: nobody waits for the answer any more.
 */
#define CAPRI_COMPUTE 3 /* other than what a handler may return */
CAPRI_EXPORT int capri_cache_fill(struct capri_request *r, struct capri_str key, uint32_t wait_ms,
				  struct capri_str *ret_value);
/* [loop, async handler] The same without blocking: calls fn once, in the loop, after it has
 * returned. 0, CAPRI_E_NOMEM or CAPRI_E_INVALID: then fn is not called; nor is it when the request
 * is completed before. */
typedef void capri_cache_f(struct capri_request *r, int result, struct capri_str value, void *arg);
CAPRI_EXPORT int capri_cache_fill_wait(struct capri_request *r, struct capri_str key,
				       uint32_t wait_ms, capri_cache_f *fn, void *arg);
/* [owner] Gives up computing; nothing if the request computes none. */
CAPRI_EXPORT void capri_cache_fill_end(struct capri_request *r);
/* [owner] Was there one? */
CAPRI_EXPORT bool capri_cache_delete(struct capri_request *r, struct capri_str key);
/* [owner] In effect when it returns, in all workers, for values and for answers: a tag, or with
 * '*', '?' or '/' a pattern over tags and keys. */
CAPRI_EXPORT int capri_cache_invalidate(struct capri_request *r, struct capri_str tag_or_pattern);

/* ---- metrics of the module: in /metrics and in `module` of /status, over all workers ---- */

/*
 * [start] A name is [a-zA-Z_][a-zA-Z0-9_]*, at most 80 bytes, and does not begin with "capricorn_".
 * labels is what stands between the braces (`kind="a"`), or NULL; the same name with other labels
 * is another series of the same metric. The same name and labels are the same metric, in every
 * worker and after a reload. NULL when that cannot be (logged with the reason; MODULE_METRICS and
 * MODULE_HISTOGRAMS say how many there may be); the calls below bear NULL.
 */
CAPRI_EXPORT struct capri_metric *capri_counter(struct capri_worker *w, const char *name,
						const char *labels, const char *help);
/* A gauge is the sum over the workers that live; the share of a dead one is gone with it. */
CAPRI_EXPORT struct capri_metric *capri_gauge(struct capri_worker *w, const char *name,
					      const char *labels, const char *help);
/* Of durations: 1 us to some hours, with an error of at most 1/8. */
CAPRI_EXPORT struct capri_metric *capri_histogram(struct capri_worker *w, const char *name,
						  const char *labels, const char *help);
CAPRI_EXPORT void capri_counter_add(struct capri_metric *m, uint64_t n);          /* [any] */
CAPRI_EXPORT void capri_gauge_add(struct capri_metric *m, int64_t n);             /* [any] */
CAPRI_EXPORT void capri_gauge_set(struct capri_metric *m, int64_t value);         /* [any] */
CAPRI_EXPORT void capri_histogram_observe(struct capri_metric *m, double seconds); /* [any] */

/* ---- the request ---- */

/* [owner] all of them. */
CAPRI_EXPORT struct capri_str capri_method(const struct capri_request *r);
/* Percent-decoded once, dot segments removed; "%2F" and "%25" stay. */
CAPRI_EXPORT struct capri_str capri_path(const struct capri_request *r);
CAPRI_EXPORT struct capri_str capri_target(const struct capri_request *r); /* as sent */
/* After the "?", as sent; p is NULL when there is no "?". */
CAPRI_EXPORT struct capri_str capri_query(const struct capri_request *r);
/* First value of that name in the query, decoded ("+" is a blank); p is NULL: not there. */
CAPRI_EXPORT struct capri_str capri_query_param(struct capri_request *r, const char *name);
/* What {name} in the route's pattern, or "*" of its end, has matched. */
CAPRI_EXPORT struct capri_str capri_param(const struct capri_request *r, const char *name);
/* First field of that name (any case), without the white space around it. */
CAPRI_EXPORT struct capri_str capri_header(const struct capri_request *r, const char *name);
CAPRI_EXPORT size_t capri_header_count(const struct capri_request *r);
CAPRI_EXPORT bool capri_header_at(const struct capri_request *r, size_t i,
				  struct capri_str *ret_name, struct capri_str *ret_value);
CAPRI_EXPORT int capri_http_minor(const struct capri_request *r); /* HTTP/1.minor: 0 or 1 */
/* The client's address as text, behind the proxies that FORWARDED_ALLOW_IPS trusts (rightmost
 * untrusted), and the address that is connected. */
CAPRI_EXPORT struct capri_str capri_client(struct capri_request *r);
CAPRI_EXPORT struct capri_str capri_peer(struct capri_request *r);
CAPRI_EXPORT struct capri_str capri_request_id(const struct capri_request *r);

/* [owner] Memory that lives as long as the request, zeroed, aligned for anything. The first few KiB
 * are at hand; more comes from the heap, up to 16 MiB in all. NULL: no more. */
CAPRI_EXPORT void *capri_alloc(struct capri_request *r, size_t size);
/* [owner] A NUL-terminated copy in that memory; NULL: no more. */
CAPRI_EXPORT char *capri_dup(struct capri_request *r, struct capri_str s);
/* [owner] Formatted text in that memory; p is NULL: no more. */
CAPRI_EXPORT struct capri_str capri_format(struct capri_request *r, const char *format, ...)
	CAPRI_PRINTF(2, 3);

/* [owner] The whole body (CAPRI_BODY_WHOLE); len 0 without one. */
CAPRI_EXPORT struct capri_str capri_body(const struct capri_request *r);
/* [owner] Bytes of the body so far; -1 is never returned. */
CAPRI_EXPORT uint64_t capri_body_bytes(const struct capri_request *r);
/* [owner, pool] The next bytes of a body that comes as a stream; blocks until there are some. The
 * number, 0 at the end, or CAPRI_E_CANCELLED. */
CAPRI_EXPORT long capri_body_read(struct capri_request *r, void *buf, size_t cap);
/* [loop, async handler] Has fn called in the loop with each piece of a body that comes as a stream,
 * and once with end true and no data. Returning false stops it until capri_body_resume(). */
typedef bool capri_body_f(struct capri_request *r, void *arg, struct capri_str data, bool end);
CAPRI_EXPORT int capri_on_body(struct capri_request *r, capri_body_f *fn, void *arg);
CAPRI_EXPORT void capri_body_resume(struct capri_request *r); /* [owner] */

/* ---- deadline and cancellation ---- */

/* [owner] The head of the answer is due so long from now; 0: no deadline. */
CAPRI_EXPORT void capri_set_deadline(struct capri_request *r, uint32_t after_ms);
/* [owner] Has the client gone, or shut its sending side (it may still wait for the answer: who can
 * tell), or has the deadline passed (the client has been told 504)? Then the handler should end;
 * the request is still its own until it has. */
CAPRI_EXPORT bool capri_cancelled(const struct capri_request *r);
/* [loop, async handler] Calls fn in the loop when that happens, once, unless the request has been
 * completed. CAPRI_E_CANCELLED: it has happened already, and fn is not called. The request still
 * has to be completed, which fn may do. Where another thread may be just about to, that thread and
 * fn need a lock of the module's: the second of them gets CAPRI_E_TWICE. */
typedef void capri_cancel_f(struct capri_request *r, void *arg);
CAPRI_EXPORT int capri_on_cancel(struct capri_request *r, capri_cancel_f *fn, void *arg);
/* [any] An async handler's thread says that it begins (true) or ends to work on the request, so
 * that a report of a stuck one shows this thread's stack. */
CAPRI_EXPORT void capri_working(struct capri_request *r, bool begins);

/* ---- the answer ---- */

/* [owner] all of them, once; they complete the request. */
/* Adds a field to the head of the answer: before the answer, at most 4 KiB in all.
 * CAPRI_E_INVALID: not a field, or one that is the server's own (Content-Length, Transfer-Encoding,
 * Connection, Date). */
CAPRI_EXPORT int capri_set_header(struct capri_request *r, const char *name, const char *value);
/* status: 200 to 599. type NULL: no Content-Type. */
CAPRI_EXPORT int capri_respond(struct capri_request *r, int status, const char *type,
			       const void *body, size_t len);
CAPRI_EXPORT int capri_respond_text(struct capri_request *r, int status, const char *text);
CAPRI_EXPORT int capri_respond_json(struct capri_request *r, int status, const char *json);
/* Not copied: memory that stays as it is until release(arg) is called in the loop, at the
 * earliest before this returns; with release NULL it is static, or belongs to the request (its
 * body, capri_alloc()). On an error release(arg) is called before this returns, in the caller's
 * thread. */
CAPRI_EXPORT int capri_respond_ref(struct capri_request *r, int status, const char *type,
				   const void *body, size_t len, void (*release)(void *arg),
				   void *arg);
/* A file: Content-Type by its ending if type is NULL, ETag, Last-Modified, conditional requests
 * (RFC 9110, 13) and ranges (RFC 9110, 14; one range). Above LARGE_FILE_THRESHOLD with sendfile. No
 * such file, or none that may be read: 404 or 403. It blocks as open() and fstat() do. The path is
 * taken as it is: never make one from a client's text without checking it (see
 * capri_respond_file_under()). */
CAPRI_EXPORT int capri_respond_file(struct capri_request *r, const char *path, const char *type);
/* The same for a client's path below a directory: no "..", no link that leads out of it. */
CAPRI_EXPORT int capri_respond_file_under(struct capri_request *r, const char *directory,
					  struct capri_str path, const char *type);
/* Bytes that are made while the client takes them: fill() is called in the loop for up to cap bytes
 * and returns how many it wrote, or -1: the answer breaks off. total: their number. release may be
 * NULL. */
typedef long capri_fill_f(void *arg, char *buf, size_t cap);
CAPRI_EXPORT int capri_respond_fill(struct capri_request *r, int status, const char *type,
				    uint64_t total, capri_fill_f *fill, void (*release)(void *arg),
				    void *arg);
/* An error as application/problem+json (RFC 9457), or text if the client prefers it. */
CAPRI_EXPORT int capri_problem(struct capri_request *r, int status, const char *detail);

/*
 * A stream: the head now, bytes as they come, each written to the client at once. [owner; pool and
 * async]. From a pool thread capri_write() blocks while the client is slow; from an async handler
 * it returns CAPRI_E_AGAIN when 256 KiB wait, and the call-back says when there is room. total < 0:
 * not known. CAPRI_E_CANCELLED when the client has gone: end the stream all the same.
 */
CAPRI_EXPORT int capri_stream_begin(struct capri_request *r, int status, const char *type,
				    int64_t total);
CAPRI_EXPORT int capri_write(struct capri_request *r, const void *p, size_t len);
/* ok false: it is not whole; the connection is cut, so that the client sees it. Completes. */
CAPRI_EXPORT int capri_stream_end(struct capri_request *r, bool ok);
/* [loop, async handler] Calls fn in the loop whenever there is room again. */
typedef void capri_writable_f(struct capri_request *r, void *arg);
CAPRI_EXPORT int capri_on_writable(struct capri_request *r, capri_writable_f *fn, void *arg);
/* Server-sent events (WHATWG HTML, 9.2): head with text/event-stream and no-store; one event. event
 * and id may be NULL; data may have several lines. End with capri_stream_end(). When the worker is
 * to leave (reload, recycling, stop) such a stream is cancelled: see capri_on_cancel(). */
CAPRI_EXPORT int capri_sse_begin(struct capri_request *r);
CAPRI_EXPORT int capri_sse_send(struct capri_request *r, const char *event, const char *id,
				const char *data);

#ifdef __cplusplus
}
#endif
#endif
