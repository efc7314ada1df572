/* SPDX-License-Identifier: MIT */
/*
 * A module with a route for every feature of the interface, for tests/blackbox/test_module_*.py.
 * What happens to it is counted by name ("notes": GET /notes gives them as JSON), so that a test
 * can wait for it; handlers wait at a gate that a test opens, instead of sleeping.
 */
#include <capricorn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NOTES_MAX 64
#define FOR_ALL_KINDS(f) f(inline, CAPRI_INLINE) f(pool, CAPRI_POOL) f(async, CAPRI_ASYNC)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned gate_tickets;
static struct note {
	char name[32];
	unsigned n;
} notes[NOTES_MAX];

static struct capri_worker *worker;
static struct capri_metric *hits, *held, *times, *bad_metric;

/* ---- help ---- */

static void note(const char *name)
{
	int i = 0;

	pthread_mutex_lock(&lock);
	while (i < NOTES_MAX - 1 && notes[i].n > 0 && strcmp(notes[i].name, name) != 0)
		i++;
	snprintf(notes[i].name, sizeof(notes[i].name), "%s", name);
	notes[i].n++;
	pthread_mutex_unlock(&lock);
}

static const char *text_of(struct capri_request *r, const char *name, const char *otherwise)
{
	struct capri_str given = capri_query_param(r, name);

	return given.p ? capri_dup(r, given) : otherwise;
}

static long number(struct capri_request *r, const char *name, long otherwise)
{
	const char *text = text_of(r, name, NULL);

	return text ? strtol(text, NULL, 10) : otherwise;
}

static bool is(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

/* Waits until GET /gate/open has let one pass (or the request is cancelled, if it is heeded). */
static void gate_wait(struct capri_request *r, bool heed)
{
	note("gate_reached");
	pthread_mutex_lock(&lock);
	while (gate_tickets == 0 && !(heed && capri_cancelled(r))) {
		struct timespec t;

		clock_gettime(CLOCK_REALTIME, &t);
		t.tv_nsec += 20000000;
		t.tv_sec += t.tv_nsec / 1000000000;
		t.tv_nsec %= 1000000000;
		pthread_cond_timedwait(&changed, &lock, &t);
	}
	if (gate_tickets > 0)
		gate_tickets--;
	pthread_mutex_unlock(&lock);
}

static void spawn(void *(*fn)(void *), void *arg)
{
	pthread_t t;

	if (pthread_create(&t, NULL, fn, arg) != 0)
		abort();
	pthread_detach(t);
}

static void released(void *arg)
{
	note("released");
	free(arg);
}

/* ---- what tests look at and turn ---- */

static int get_notes(struct capri_request *r, void *arg)
{
	char buf[NOTES_MAX * 48];
	int len = snprintf(buf, sizeof(buf), "{");

	(void)arg;
	pthread_mutex_lock(&lock);
	for (int i = 0; i < NOTES_MAX && notes[i].n > 0; i++)
		len += snprintf(buf + len, sizeof(buf) - (size_t)len, "%s\"%s\":%u", i ? "," : "",
				notes[i].name, notes[i].n);
	pthread_mutex_unlock(&lock);
	snprintf(buf + len, sizeof(buf) - (size_t)len, "}");
	return capri_respond_json(r, 200, buf);
}

static int gate_open(struct capri_request *r, void *arg)
{
	(void)arg;
	pthread_mutex_lock(&lock);
	gate_tickets += (unsigned)number(r, "n", 1);
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	return capri_respond_text(r, 200, "open");
}

/* ---- the same for every kind ---- */

static int echo(struct capri_request *r, void *arg)
{
	struct capri_str body = capri_body(r);

	(void)arg;
	if (capri_body_bytes(r) != body.len)
		return CAPRI_E_INVALID;
	return capri_respond_ref(r, 200, "application/octet-stream", body.p, body.len, NULL, NULL);
}

static struct capri_str or_dash(struct capri_str s)
{
	return s.p ? s : (struct capri_str){"-", 1};
}

#define S(s) (int)or_dash(s).len, or_dash(s).p

static int info(struct capri_request *r, void *arg)
{
	struct capri_str text, name, value, type = capri_header(r, "x-probe");
	size_t n = capri_header_count(r);

	if (n > 0 && !capri_header_at(r, n - 1, &name, &value))
		return CAPRI_E_INVALID;
	if (capri_header_at(r, n, &name, &value))
		return CAPRI_E_INVALID;
	text = capri_format(
		r, "kind=%s method=%.*s path=%.*s target=%.*s query=%.*s q=%.*s id=%.*s rest=%.*s "
		"minor=%d client=%.*s peer=%.*s request=%.*s probe=%.*s last=%.*s:%.*s "
		"bytes=%llu\n",
		(const char *)arg, S(capri_method(r)), S(capri_path(r)), S(capri_target(r)),
		S(capri_query(r)), S(capri_query_param(r, "q")), S(capri_param(r, "id")),
		S(capri_param(r, "*")), capri_http_minor(r), S(capri_client(r)), S(capri_peer(r)),
		S(capri_request_id(r)), S(type), S(name), S(value),
		(unsigned long long)capri_body_bytes(r));
	return capri_respond(r, 200, "text/plain", text.p, text.len);
}

static long fill_x(void *arg, char *buf, size_t cap)
{
	(void)arg;
	memset(buf, 'x', cap);
	return (long)cap;
}

static long fill_fails(void *arg, char *buf, size_t cap)
{
	char *first = arg;

	if (*first)
		return -1;
	*first = 1;
	buf[0] = 'x';
	return cap > 0;
}

static int answer(struct capri_request *r, void *arg)
{
	const char *how = text_of(r, "how", "text");
	long n = number(r, "n", 10);
	char *mem;
	int rc;

	(void)arg;
	if (is(how, "text"))
		return capri_respond_text(r, (int)number(r, "status", 200), "text");
	if (is(how, "json"))
		return capri_respond_json(r, 201, "{\"a\":1}");
	if (is(how, "empty"))
		return capri_respond(r, 204, NULL, NULL, 0);
	if (is(how, "problem"))
		return capri_problem(r, 418, "A teapot: \"short\" & stout.");
	if (is(how, "none"))
		return CAPRI_DONE;
	if (is(how, "negative"))
		return CAPRI_E_IO;
	if (is(how, "own")) /* an error of the module's own */
		return -77;
	if (is(how, "status")) {
		rc = capri_respond_text(r, (int)n, "x");
		return rc == CAPRI_E_INVALID ? capri_respond_text(r, 200, "refused") : rc;
	}
	if (is(how, "copied")) { /* the bytes may change at once */
		char local[8] = "before";

		rc = capri_respond(r, 200, "text/plain", local, 6);
		memcpy(local, "after!", 6);
		return rc;
	}
	if (is(how, "twice")) {
		capri_respond_text(r, 200, "first");
		rc = capri_respond_text(r, 200, "second");
		note(rc == CAPRI_E_TWICE ? "told_twice" : "not_told");
		return CAPRI_DONE;
	}
	mem = malloc((size_t)n + 1);
	if (!mem)
		return CAPRI_E_NOMEM;
	memset(mem, 'r', (size_t)n);
	mem[0] = 0;
	if (is(how, "ref"))
		return capri_respond_ref(r, 200, "text/plain", mem, (size_t)n, released, mem);
	if (is(how, "fill"))
		return capri_respond_fill(r, 200, "text/plain", (uint64_t)n, fill_x, released, mem);
	if (is(how, "fill-fails"))
		return capri_respond_fill(r, 200, "text/plain", (uint64_t)n, fill_fails, released,
					  mem);
	free(mem);
	return capri_problem(r, 400, "how?");
}

/* Fields: each pair of name and value from the query's n and v, or ?fill=1 up to the bound. */
static int fields(struct capri_request *r, void *arg)
{
	const char *name = text_of(r, "n", ""), *value = text_of(r, "v", "");
	int rc = CAPRI_OK, count = 0;
	size_t bytes = 0;

	(void)arg;
	if (number(r, "fill", 0) == 0) {
		rc = capri_set_header(r, name, value);
		return capri_respond_text(r, 200, capri_format(r, "%d", rc).p);
	}
	for (char field[16]; rc == CAPRI_OK && count < 1000; count++) {
		snprintf(field, sizeof(field), "X-Fill-%03d", count);
		rc = capri_set_header(r, field, "0123456789012345678901234567");
		if (rc == CAPRI_OK)
			bytes += strlen(field) + 28 + 4;
	}
	return capri_respond_text(r, 200, capri_format(r, "%d %zu", rc, bytes).p);
}

static int no_route_later(struct capri_request *r, void *arg)
{
	const struct capri_route route = {"GET", "/later", no_route_later, .kind = CAPRI_INLINE};
	struct capri_metric *m = capri_counter(worker, "probe_late", NULL, NULL);

	(void)arg;
	capri_counter_add(m, 1); /* NULL is borne */
	return capri_respond_text(
		r, 200, capri_format(r, "%d %s", capri_add_route(capri_worker_of(r), &route),
				     m ? "made" : "none").p);
}

/* Memory: a bound that holds, alignment, zeroes. */
static int memory(struct capri_request *r, void *arg)
{
	unsigned bad = 0;
	size_t total = 0;
	char *p;

	(void)arg;
	for (size_t size = 1; (p = capri_alloc(r, size)); size = size * 3 + 1) {
		for (size_t i = 0; i < size; i++)
			bad += p[i] != 0;
		bad += (uintptr_t)p % 16 != 0;
		memset(p, 0xff, size);
		total += size;
	}
	/* 16 MiB in all, whatever the sizes. */
	while (total < (64u << 20) && capri_alloc(r, 1 << 20))
		total += 1 << 20;
	return capri_respond_text(r, 200, bad ? "bad" : total <= (17u << 20) ? "good" : "too much");
}

/* ---- deadlines and cancellation ---- */

static int pool_gate(struct capri_request *r, void *arg)
{
	bool heed = number(r, "heed", 0) != 0;
	long ms = number(r, "deadline", -1);

	(void)arg;
	note("pool_began");
	if (ms >= 0)
		capri_set_deadline(r, (uint32_t)ms);
	gate_wait(r, heed);
	note(capri_cancelled(r) ? "pool_cancelled" : "pool_in_time");
	if (capri_cancelled(r) && heed)
		return CAPRI_E_CANCELLED;
	return capri_respond_text(r, 200, "pool");
}

struct held {
	struct capri_request *r;
	struct capri_timer *timer;
};

static void hold_cancelled(struct capri_request *r, void *arg)
{
	struct held *h = arg;

	note("async_cancelled");
	if (h->timer)
		capri_timer_free(h->timer);
	note(capri_problem(r, 503, "Cancelled.") == CAPRI_OK ? "cancel_answered" : "cancel_over");
}

static void hold_due(struct capri_worker *w, struct capri_timer *t, void *arg)
{
	struct held *h = arg;

	(void)w;
	capri_timer_free(t);
	note("async_in_time");
	capri_respond_text(h->r, 200, "async");
}

/* Held until it is cancelled, or for ?ms. */
static int hold(struct capri_request *r, void *arg)
{
	struct held *h = capri_alloc(r, sizeof(*h));
	long ms = number(r, "deadline", -1), due = number(r, "ms", -1);

	(void)arg;
	note("async_began");
	h->r = r;
	if (due >= 0) {
		h->timer = capri_timer_new(capri_worker_of(r), hold_due, h);
		capri_timer_arm(h->timer, (uint64_t)due);
	}
	if (ms >= 0)
		capri_set_deadline(r, (uint32_t)ms);
	if (capri_on_cancel(r, hold_cancelled, h) != CAPRI_OK)
		note("on_cancel_refused");
	return CAPRI_PENDING;
}

static int inline_slow(struct capri_request *r, void *arg)
{
	struct timespec t = {0, number(r, "ms", 150) * 1000000};

	(void)arg;
	note("slow_began");
	nanosleep(&t, NULL);
	return capri_respond_text(r, 200, "slow");
}

/* ---- async: threads, timers, posts ---- */

static void *thread_answers(void *arg)
{
	struct capri_request *r = arg;

	capri_working(r, true);
	if (number(r, "gate", 0))
		gate_wait(r, false);
	if (number(r, "extend", 0))
		capri_set_deadline(r, (uint32_t)number(r, "extend", 0));
	capri_set_header(r, "X-Thread", "yes");
	capri_working(r, false);
	if (number(r, "twice", 0)) {
		char *mem = malloc(100000);

		memset(mem, 't', 100000);
		capri_respond_ref(r, 200, "text/plain", mem, 100000, released, mem);
		note(capri_respond_text(r, 200, "again") == CAPRI_E_TWICE ? "told_twice"
									  : "not_told");
		return NULL;
	}
	capri_respond_text(r, 200, "thread");
	return NULL;
}

static int from_thread(struct capri_request *r, void *arg)
{
	(void)arg;
	spawn(thread_answers, r);
	return CAPRI_PENDING;
}

static void posted(struct capri_worker *w, void *arg)
{
	if (capri_data(w) != &notes || w != worker)
		note("wrong_worker");
	capri_respond_text(arg, 200, "posted");
}

static void *thread_posts(void *arg)
{
	capri_post(worker, posted, arg);
	return NULL;
}

static int post_from_thread(struct capri_request *r, void *arg)
{
	(void)arg;
	spawn(thread_posts, r);
	return CAPRI_PENDING;
}

static int post_from_loop(struct capri_request *r, void *arg)
{
	(void)arg;
	capri_post(capri_worker_of(r), posted, r);
	return CAPRI_PENDING;
}

static void tick(struct capri_worker *w, struct capri_timer *t, void *arg)
{
	static int left = 3;

	(void)arg;
	note("tick");
	if (--left > 0)
		capri_timer_arm(t, 5);
	else
		capri_timer_free(t);
	(void)w;
}

/* 1024 at once, and one more; a disarmed one is not called. */
static int timers(struct capri_request *r, void *arg)
{
	struct capri_worker *w = capri_worker_of(r);
	static struct capri_timer *t[1100];
	int n = 0;

	(void)arg;
	while (n < 1100 && (t[n] = capri_timer_new(w, tick, NULL)))
		n++;
	for (int i = 0; i < n; i++) {
		capri_timer_arm(t[i], 0);
		if (i % 2)
			capri_timer_disarm(t[i]);
	}
	for (int i = 0; i < n; i++)
		capri_timer_free(t[i]);
	return capri_respond_text(r, 200, capri_format(r, "%d", n).p);
}

/* A thread that posts all the time, and a cancellation that completes meanwhile: as they should,
 * they agree by a lock. */
struct busy {
	struct capri_request *r;
	pthread_mutex_t lock;
	bool completed;
};

static void *thread_posts_much(void *arg)
{
	struct busy *b = arg;
	bool more = true;

	while (more) {
		pthread_mutex_lock(&b->lock);
		more = !b->completed;
		if (more)
			capri_set_deadline(b->r, 60000);
		pthread_mutex_unlock(&b->lock);
	}
	free(b);
	return NULL;
}

static void busy_cancelled(struct capri_request *r, void *arg)
{
	struct busy *b = arg;

	pthread_mutex_lock(&b->lock);
	capri_respond_text(r, 200, "cancelled");
	b->completed = true;
	pthread_mutex_unlock(&b->lock);
	note("busy_cancelled");
}

static int busy(struct capri_request *r, void *arg)
{
	struct busy *b = calloc(1, sizeof(*b));

	(void)arg;
	b->r = r;
	pthread_mutex_init(&b->lock, NULL);
	capri_on_cancel(r, busy_cancelled, b);
	spawn(thread_posts_much, b);
	return CAPRI_PENDING;
}

/* ---- bodies as streams ---- */

static int pool_stream(struct capri_request *r, void *arg)
{
	char buf[3000];
	unsigned long sum = 0, bytes = 0;
	long n;

	(void)arg;
	note("body_began");
	if (number(r, "gate", 0))
		gate_wait(r, true);
	while ((n = capri_body_read(r, buf, sizeof(buf))) > 0) {
		bytes += (unsigned long)n;
		for (long i = 0; i < n; i++)
			sum = sum * 31 + (unsigned char)buf[i];
	}
	if (n < 0) {
		note("body_cut");
		return (int)n;
	}
	return capri_respond_text(
		r, 200, capri_format(r, "%lu %lu %llu", bytes, sum,
				     (unsigned long long)capri_body_bytes(r)).p);
}

struct taken {
	struct capri_request *r;
	unsigned long sum, bytes, pauses;
	bool waits;
};

static void *thread_resumes(void *arg)
{
	struct taken *t = arg;
	struct timespec ms = {0, 1000000};

	nanosleep(&ms, NULL);
	capri_body_resume(t->r);
	return NULL;
}

static bool take(struct capri_request *r, void *arg, struct capri_str data, bool end)
{
	struct taken *t = arg;

	for (size_t i = 0; i < data.len; i++)
		t->sum = t->sum * 31 + (unsigned char)data.p[i];
	t->bytes += data.len;
	if (end) {
		capri_respond_text(r, 200,
				   capri_format(r, "%lu %lu %llu", t->bytes, t->sum,
						(unsigned long long)capri_body_bytes(r)).p);
		return true;
	}
	if (t->pauses == 0)
		return true;
	t->pauses--;
	note("paused");
	spawn(thread_resumes, t);
	return false;
}

static void take_cancelled(struct capri_request *r, void *arg)
{
	(void)arg;
	note("body_cut");
	capri_problem(r, 503, "x");
}

static int async_stream(struct capri_request *r, void *arg)
{
	struct taken *t = capri_alloc(r, sizeof(*t));

	(void)arg;
	t->r = r;
	t->pauses = (unsigned long)number(r, "pauses", 0);
	note("body_began");
	if (capri_on_body(r, take, t) != CAPRI_OK)
		return CAPRI_E_INVALID;
	capri_on_cancel(r, take_cancelled, t);
	return CAPRI_PENDING;
}

/* ---- answers as streams ---- */

/* ?n pieces of ?size bytes; ?total as announced; ?ok; ?gate: wait between them. */
static int pool_pieces(struct capri_request *r, void *arg)
{
	long n = number(r, "n", 10), size = number(r, "size", 1000);
	bool gate = number(r, "gate", 0) != 0;
	char *piece = capri_alloc(r, (size_t)size);
	int rc = capri_stream_begin(r, 200, "text/plain", number(r, "total", -1));

	(void)arg;
	for (long i = 0; i < size; i++)
		piece[i] = (char)('a' + i % 26);
	for (long i = 0; i < n && rc == 0; i++) {
		if (gate)
			gate_wait(r, true);
		rc = capri_write(r, piece, (size_t)size);
		note("piece");
	}
	note(rc == 0 ? "stream_whole" : rc == CAPRI_E_CANCELLED ? "stream_cancelled"
								: "stream_refused");
	if (number(r, "leave", 0))
		return CAPRI_DONE; /* without an end */
	return capri_stream_end(r, number(r, "ok", 1) && rc == 0);
}

struct pieces {
	struct capri_request *r;
	long left, size, agains;
	bool ok;
	char *piece;
};

static void more_pieces(struct capri_request *r, void *arg)
{
	struct pieces *p = arg;
	int rc = CAPRI_OK;

	while (p->left > 0 && (rc = capri_write(r, p->piece, (size_t)p->size)) == CAPRI_OK)
		p->left--;
	if (rc == CAPRI_E_AGAIN) {
		note("again");
		return;
	}
	note(rc == CAPRI_OK ? "stream_whole" : "stream_cancelled");
	capri_stream_end(r, p->ok && rc == CAPRI_OK);
}

static void pieces_cancelled(struct capri_request *r, void *arg)
{
	(void)arg;
	note("async_stream_cancelled");
	capri_stream_end(r, false);
}

static int async_pieces(struct capri_request *r, void *arg)
{
	struct pieces *p = capri_alloc(r, sizeof(*p));

	(void)arg;
	*p = (struct pieces){.r = r, .left = number(r, "n", 10), .size = number(r, "size", 1000),
			     .ok = number(r, "ok", 1) != 0};
	p->piece = capri_alloc(r, (size_t)p->size);
	memset(p->piece, 'p', (size_t)p->size);
	if (capri_stream_begin(r, 200, "text/plain", number(r, "total", -1)) != CAPRI_OK)
		return CAPRI_E_INVALID;
	capri_on_cancel(r, pieces_cancelled, p);
	capri_on_writable(r, more_pieces, p);
	if (number(r, "stay", 0))
		return CAPRI_PENDING; /* until the client leaves */
	more_pieces(r, p);
	return CAPRI_PENDING;
}

static int inline_stream(struct capri_request *r, void *arg)
{
	int rc = capri_stream_begin(r, 200, "text/plain", -1);

	(void)arg;
	return capri_respond_text(r, 200, capri_format(r, "%d", rc).p);
}

static int sse(struct capri_request *r, void *arg)
{
	int bad;

	(void)arg;
	if (capri_sse_begin(r) != CAPRI_OK)
		return CAPRI_E_INVALID;
	gate_wait(r, true);
	capri_sse_send(r, "one", "1", "first");
	gate_wait(r, true);
	capri_sse_send(r, NULL, NULL, "a\nb\r\nc\rd");
	gate_wait(r, true);
	bad = capri_sse_send(r, "x\ny", NULL, "data");
	capri_sse_send(r, NULL, NULL, bad == CAPRI_E_INVALID ? "" : "taken");
	return capri_stream_end(r, true);
}

/* ---- files ---- */

static int file_under(struct capri_request *r, void *arg)
{
	(void)arg;
	return capri_respond_file_under(r, capri_setting(worker, "directory").p,
					capri_param(r, "*"), text_of(r, "type", NULL));
}

/* The path comes in a query, so that no server has normalised it. */
static int file_query(struct capri_request *r, void *arg)
{
	struct capri_str path = capri_query_param(r, "path");

	(void)arg;
	return capri_respond_file_under(r, capri_setting(worker, "directory").p, path, NULL);
}

static int file_plain(struct capri_request *r, void *arg)
{
	(void)arg;
	return capri_respond_file(r, text_of(r, "path", ""), text_of(r, "type", NULL));
}

/* ---- settings, metrics, log ---- */

static int setting(struct capri_request *r, void *arg)
{
	struct capri_str s = capri_setting(worker, text_of(r, "path", ""));

	(void)arg;
	return capri_respond(r, s.p ? 200 : 404, "text/plain", s.p ? s.p : "none",
			     s.p ? s.len : 4);
}

static int settings(struct capri_request *r, void *arg)
{
	(void)arg;
	return capri_respond_json(r, 200, capri_settings_json(worker).p);
}

static int measure(struct capri_request *r, void *arg)
{
	(void)arg;
	capri_counter_add(hits, (uint64_t)number(r, "n", 1));
	capri_gauge_add(held, number(r, "g", 0));
	if (capri_query_param(r, "set").p)
		capri_gauge_set(held, number(r, "set", 0));
	capri_histogram_observe(times, (double)number(r, "us", 1000) / 1e6);
	return capri_respond_text(r, 200, capri_format(r, "%d", (int)getpid()).p);
}

static int log_line(struct capri_request *r, void *arg)
{
	(void)arg;
	capri_log(r, CAPRI_WARNING, "with %s", "request");
	capri_log(NULL, CAPRI_ERROR, "without one");
	capri_log(r, CAPRI_DEBUG, "not shown");
	return capri_respond(r, 200, NULL, capri_request_id(r).p, capri_request_id(r).len);
}

static int who(struct capri_request *r, void *arg)
{
	struct capri_worker *w = capri_worker_of(r);

	(void)arg;
	return capri_respond_json(
		r, 200, capri_format(r, "{\"pid\":%d,\"slot\":%u,\"generation\":%u,\"data\":%s}",
				     (int)getpid(), capri_worker_slot(w),
				     capri_worker_generation(w),
				     capri_data(w) == &notes ? "true" : "false").p);
}

static int crash(struct capri_request *r, void *arg)
{
	(void)arg;
	(void)r;
	abort();
}

/* ---- declining: /d/KINDS/..., where the route that is asked first is the most specific ---- */

static int declines(struct capri_request *r, void *arg)
{
	(void)arg;
	capri_set_header(r, "X-Declined", "not to be seen");
	note("declined");
	if (number(r, "hold", 0))
		gate_wait(r, false);
	if (number(r, "read", 0)) {
		char c;

		capri_body_read(r, &c, 1);
	}
	return CAPRI_DECLINED;
}

static int accepts(struct capri_request *r, void *arg)
{
	struct capri_str body = capri_body(r), id = capri_param(r, "id");
	unsigned long sum = 0;

	for (size_t i = 0; i < body.len; i++)
		sum = sum * 31 + (unsigned char)body.p[i];
	return capri_respond_text(r, 200,
				  capri_format(r, "%s %zu %lu %.*s", (const char *)arg, body.len,
					       sum, S(id)).p);
}

/* ---- the module ---- */

#define KIND_ROUTES(word, value)                                                                   \
	{"POST", "/" #word "/echo", echo, .kind = value},                                          \
	{"POST", "/" #word "/small", echo, .kind = value, .body_max = 10},                         \
	{"POST", "/" #word "/large", echo, .kind = value, .body_max = 3000000},                    \
	{NULL, "/" #word "/info/{id}/*", info, #word, .kind = value},                              \
	{NULL, "/" #word "/answer", answer, .kind = value},                                        \
	{"GET", "/" #word "/fields", fields, .kind = value},                                       \
	{"GET", "/" #word "/memory", memory, .kind = value},                                       \
	{"GET", "/" #word "/file", file_plain, .kind = value},

#define STREAM .body = CAPRI_BODY_STREAM

static const struct capri_route routes[] = {
	FOR_ALL_KINDS(KIND_ROUTES)
	{"GET", "/notes", get_notes, .kind = CAPRI_INLINE},
	{"GET", "/gate/open", gate_open, .kind = CAPRI_INLINE},
	{"GET", "/who", who, .kind = CAPRI_INLINE, .name = "who is it"},
	{"GET", "/add-late", no_route_later, .kind = CAPRI_INLINE},
	{"GET", "/pool/gate", pool_gate, .kind = CAPRI_POOL},
	{"GET", "/pool/short", pool_gate, .kind = CAPRI_POOL, .timeout_ms = 200},
	{"GET", "/async/hold", hold, .kind = CAPRI_ASYNC},
	{"GET", "/async/short", hold, .kind = CAPRI_ASYNC, .timeout_ms = 200},
	{"GET", "/inline/slow", inline_slow, .kind = CAPRI_INLINE},
	{"GET", "/pool/slow", inline_slow, .kind = CAPRI_POOL},
	{"GET", "/async/thread", from_thread, .kind = CAPRI_ASYNC},
	{"GET", "/async/thread-short", from_thread, .kind = CAPRI_ASYNC, .timeout_ms = 200},
	{"GET", "/async/busy", busy, .kind = CAPRI_ASYNC},
	{"GET", "/async/post", post_from_thread, .kind = CAPRI_ASYNC},
	{"GET", "/async/post-loop", post_from_loop, .kind = CAPRI_ASYNC},
	{"GET", "/timers", timers, .kind = CAPRI_INLINE},
	{"POST", "/pool/body", pool_stream, .kind = CAPRI_POOL, STREAM, .body_max = 1u << 30},
	{"POST", "/async/body", async_stream, .kind = CAPRI_ASYNC, STREAM, .body_max = 1u << 30},
	{"GET", "/pool/pieces", pool_pieces, .kind = CAPRI_POOL},
	{"GET", "/async/pieces", async_pieces, .kind = CAPRI_ASYNC},
	{"GET", "/inline/pieces", inline_stream, .kind = CAPRI_INLINE},
	{"GET", "/sse", sse, .kind = CAPRI_POOL},
	{"GET", "/files/*", file_under, .kind = CAPRI_POOL},
	{"GET", "/file-query", file_query, .kind = CAPRI_INLINE},
	{"GET", "/setting", setting, .kind = CAPRI_INLINE},
	{"GET", "/settings", settings, .kind = CAPRI_INLINE},
	{"GET", "/measure", measure, .kind = CAPRI_POOL},
	{"GET", "/log", log_line, .kind = CAPRI_INLINE},
	{"GET", "/crash", crash, .kind = CAPRI_INLINE},
	/* declining */
	{NULL, "/d/inline-inline/x", declines, .kind = CAPRI_INLINE},
	{NULL, "/d/inline-inline/{id}", accepts, "inline", .kind = CAPRI_INLINE},
	{NULL, "/d/inline-pool/x", declines, .kind = CAPRI_INLINE},
	{NULL, "/d/inline-pool/{id}", accepts, "pool", .kind = CAPRI_POOL},
	{NULL, "/d/inline-async/x", declines, .kind = CAPRI_INLINE},
	{NULL, "/d/inline-async/{id}", accepts, "async", .kind = CAPRI_ASYNC},
	{NULL, "/d/pool-inline/x", declines, .kind = CAPRI_POOL},
	{NULL, "/d/pool-inline/{id}", accepts, "inline", .kind = CAPRI_INLINE},
	{NULL, "/d/pool-pool/x", declines, .kind = CAPRI_POOL},
	{NULL, "/d/pool-pool/{id}", accepts, "pool", .kind = CAPRI_POOL},
	{NULL, "/d/pool-async/x", declines, .kind = CAPRI_POOL},
	{NULL, "/d/pool-async/{id}", accepts, "async", .kind = CAPRI_ASYNC},
	{NULL, "/d/async-inline/x", declines, .kind = CAPRI_ASYNC},
	{NULL, "/d/async-inline/{id}", accepts, "inline", .kind = CAPRI_INLINE},
	{NULL, "/d/async-pool/x", declines, .kind = CAPRI_ASYNC},
	{NULL, "/d/async-pool/{id}", accepts, "pool", .kind = CAPRI_POOL},
	{NULL, "/d/async-async/x", declines, .kind = CAPRI_ASYNC},
	{NULL, "/d/async-async/{id}", accepts, "async", .kind = CAPRI_ASYNC},
	{NULL, "/d/stream-inline/x", declines, .kind = CAPRI_POOL, STREAM},
	{NULL, "/d/stream-inline/{id}", accepts, "inline", .kind = CAPRI_INLINE},
	{NULL, "/d/stream-pool/x", declines, .kind = CAPRI_POOL, STREAM},
	{NULL, "/d/stream-pool/{id}", accepts, "pool", .kind = CAPRI_POOL},
	{NULL, "/d/stream-async/x", declines, .kind = CAPRI_POOL, STREAM},
	{NULL, "/d/stream-async/{id}", accepts, "async", .kind = CAPRI_ASYNC},
	{NULL, "/d/stream-streamed/x", declines, .kind = CAPRI_POOL, STREAM},
	{NULL, "/d/stream-streamed/{id}", pool_stream, .kind = CAPRI_POOL, STREAM},
	{NULL, "/d/stream-asyncbody/x", declines, .kind = CAPRI_POOL, STREAM},
	{NULL, "/d/stream-asyncbody/{id}", async_stream, .kind = CAPRI_ASYNC, STREAM},
	{NULL, "/d/whole-asyncbody/x", declines, .kind = CAPRI_POOL},
	{NULL, "/d/whole-asyncbody/{id}", async_stream, .kind = CAPRI_ASYNC, STREAM},
	{NULL, "/d/small/x", declines, .kind = CAPRI_POOL, STREAM},
	{NULL, "/d/small/{id}", accepts, "inline", .kind = CAPRI_INLINE, .body_max = 10},
	{NULL, "/d/pool-hold/x", declines, .kind = CAPRI_POOL},
	{NULL, "/d/pool-hold/{id}", hold, .kind = CAPRI_ASYNC},
	{NULL, "/d/pool-fails/x", declines, .kind = CAPRI_POOL},
	{NULL, "/d/pool-fails/{id}", answer, .kind = CAPRI_ASYNC},
	{NULL, "/d/{word}/*", declines, .kind = CAPRI_INLINE},
	{NULL, "/none/x", declines, .kind = CAPRI_POOL, STREAM},
	{0}
};

static int start(struct capri_worker *w)
{
	const struct capri_route all[] = {
		{"GET", "/route/literal", info, "literal", .kind = CAPRI_INLINE},
		{"GET", "/route/{id}", info, "param", .kind = CAPRI_INLINE},
		{"GET", "/route/*", info, "rest", .kind = CAPRI_INLINE},
		{"PUT, PATCH", "/route/put", info, "put", .kind = CAPRI_INLINE},
	};
	struct capri_timer *t = capri_timer_new(w, tick, NULL);

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (capri_add_route(w, &all[i]) != CAPRI_OK)
			return -1;
	worker = w;
	capri_set_data(w, &notes);
	capri_timer_arm(t, 5);
	hits = capri_counter(w, "probe_hits_total", "kind=\"a\"", "Hits of the probe.");
	held = capri_gauge(w, "probe_held", NULL, "Held by the probe.");
	times = capri_histogram(w, "probe_seconds", NULL, "Times of the probe.");
	bad_metric = capri_counter(w, "capricorn_mine", NULL, "Not allowed.");
	if (bad_metric || !hits || !held || !times)
		return -2;
	capri_log(NULL, CAPRI_INFO, "probe: start in slot %u", capri_worker_slot(w));
	return 0;
}

static void stop(struct capri_worker *w)
{
	capri_log(NULL, CAPRI_INFO, "probe: stop in slot %u", capri_worker_slot(w));
}

const struct capri_app capricorn_app = {
	CAPRI_APP_INIT, .name = "probe", .version = "1.0", .routes = routes, .start = start,
	.stop = stop,
};
