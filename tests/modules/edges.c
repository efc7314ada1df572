/* SPDX-License-Identifier: MIT */
/*
 * The edges of a request's life, for tests/blackbox/test_module_edges.py. Call-backs that must not
 * come are counted; GET /counts gives the counts as JSON.
 */
#include <capricorn.h>
#include <stdlib.h>
#include <string.h>

static struct {
	unsigned late_pieces, late_writable, within, cancelled, writable;
} count;

static int counts(struct capri_request *r, void *arg)
{
	(void)arg;
	return capri_respond_json(
		r, 200,
		capri_format(r, "{\"late_pieces\":%u,\"late_writable\":%u,\"within\":%u,"
			     "\"cancelled\":%u,\"writable\":%u}", count.late_pieces,
			     count.late_writable, count.within, count.cancelled,
			     count.writable).p);
}

/* ---- a fill that gives nothing ---- */

static long fill_nothing(void *arg, char *buf, size_t cap)
{
	(void)arg;
	(void)buf;
	(void)cap;
	return 0;
}

static int nothing(struct capri_request *r, void *arg)
{
	(void)arg;
	return capri_respond_fill(r, 200, "text/plain", 10, fill_nothing, NULL, NULL);
}

/* ---- a later route has a smaller limit ---- */

static int decline(struct capri_request *r, void *arg)
{
	(void)r;
	(void)arg;
	return CAPRI_DECLINED;
}

static int length(struct capri_request *r, void *arg)
{
	(void)arg;
	return capri_respond_text(r, 200, capri_format(r, "%zu", capri_body(r).len).p);
}

static int path(struct capri_request *r, void *arg)
{
	struct capri_str p = capri_path(r);

	(void)arg;
	capri_set_header(r, "X-Path", capri_dup(r, p)); /* CONNECT has no body */
	return capri_respond(r, 200, "text/plain", p.p, p.len);
}

/* ---- completed with the first piece of its body ---- */

static bool first_piece(struct capri_request *r, void *arg, struct capri_str data, bool end)
{
	bool *done = arg; /* not in the request's memory: it may be looked at after its end */

	if (*done) {
		count.late_pieces++;
		return true;
	}
	if (end || data.len == 0)
		return true;
	*done = true;
	capri_stream_begin(r, 200, "text/plain", -1);
	capri_write(r, "early", 5);
	capri_stream_end(r, true);
	return true;
}

static int early(struct capri_request *r, void *arg)
{
	bool *done = calloc(1, sizeof(*done)); /* never freed: a late piece may look at it */

	(void)arg;
	if (!done)
		return CAPRI_E_NOMEM;
	capri_on_body(r, first_piece, done);
	return CAPRI_PENDING;
}

/* Asks for its body, and leaves it to the next one, which does not want it. */
static bool never(struct capri_request *r, void *arg, struct capri_str data, bool end)
{
	(void)r;
	(void)arg;
	(void)data;
	(void)end;
	count.late_pieces++;
	return true;
}

static int ask_and_decline(struct capri_request *r, void *arg)
{
	(void)arg;
	capri_on_body(r, never, NULL);
	return CAPRI_DECLINED;
}

static int later_text(struct capri_request *r, void *arg);

/* ---- on_body() from a timer ---- */

static bool inside;

static bool timed_piece(struct capri_request *r, void *arg, struct capri_str data, bool end)
{
	(void)arg;
	(void)data;
	count.within += inside;
	if (end)
		capri_respond_text(r, 200, "all of it");
	return true;
}

static void body_now(struct capri_worker *w, struct capri_timer *t, void *arg)
{
	(void)w;
	inside = true;
	capri_on_body(arg, timed_piece, NULL);
	inside = false;
	capri_timer_free(t);
}

static int timed(struct capri_request *r, void *arg)
{
	struct capri_timer *t = capri_timer_new(capri_worker_of(r), body_now, r);

	(void)arg;
	capri_timer_arm(t, 50);
	return CAPRI_PENDING;
}

/* ---- a client that hangs up ---- */

static void hung_up(struct capri_request *r, void *arg)
{
	(void)arg;
	count.cancelled++;
	capri_respond_text(r, 200, "you left");
}

static int hang(struct capri_request *r, void *arg)
{
	(void)arg;
	capri_on_cancel(r, hung_up, NULL);
	return CAPRI_PENDING;
}

static void text_now(struct capri_worker *w, struct capri_timer *t, void *arg)
{
	(void)w;
	capri_respond_text(arg, 200, "later");
	capri_timer_free(t);
}

static int later_text(struct capri_request *r, void *arg)
{
	struct capri_timer *t = capri_timer_new(capri_worker_of(r), text_now, r);

	(void)arg;
	capri_timer_arm(t, 300);
	return CAPRI_PENDING;
}

/* ---- room again ---- */

static const char piece[65536];

static void room(struct capri_request *r, void *arg)
{
	(void)arg;
	count.writable++;
	capri_stream_end(r, true);
}

static void ended_room(struct capri_request *r, void *arg)
{
	(void)r;
	(void)arg;
	count.late_writable++;
}

static void register_now(struct capri_worker *w, struct capri_timer *t, void *arg)
{
	(void)w;
	capri_on_writable(arg, room, NULL);
	capri_timer_free(t);
}

/* Fills the flow; says whom to tell only when the client has long taken all of it. */
static int writable(struct capri_request *r, void *arg)
{
	struct capri_timer *t = capri_timer_new(capri_worker_of(r), register_now, r);

	(void)arg;
	capri_stream_begin(r, 200, "application/octet-stream", -1);
	while (capri_write(r, piece, sizeof(piece)) == CAPRI_OK)
		;
	capri_timer_arm(t, 500);
	return CAPRI_PENDING;
}

/* Ends while much of it waits: nobody is to be told of room any more. */
static int full_and_ended(struct capri_request *r, void *arg)
{
	(void)arg;
	capri_on_writable(r, ended_room, NULL);
	capri_stream_begin(r, 200, "application/octet-stream", -1);
	while (capri_write(r, piece, sizeof(piece)) == CAPRI_OK)
		;
	capri_stream_end(r, true);
	return CAPRI_PENDING;
}

static const struct capri_route routes[] = {
	{"GET", "/counts", counts, .kind = CAPRI_INLINE},
	{"GET", "/nothing", nothing, .kind = CAPRI_INLINE},
	{"POST", "/limit/small", decline, .kind = CAPRI_INLINE},
	{"POST", "/limit/{x}", length, .kind = CAPRI_INLINE, .body_max = 10},
	{"POST", "/early", early, .kind = CAPRI_ASYNC, .body = CAPRI_BODY_STREAM},
	{"POST", "/declined/it", ask_and_decline, .kind = CAPRI_ASYNC, .body = CAPRI_BODY_STREAM},
	{"POST", "/declined/{x}", later_text, .kind = CAPRI_ASYNC, .body = CAPRI_BODY_NONE},
	{"POST", "/timed", timed, .kind = CAPRI_ASYNC, .body = CAPRI_BODY_STREAM},
	{"GET", "/hang", hang, .kind = CAPRI_ASYNC},
	{"GET", "/writable", writable, .kind = CAPRI_ASYNC},
	{"GET", "/full", full_and_ended, .kind = CAPRI_ASYNC},
	{NULL, "*", path, .kind = CAPRI_INLINE},
	{0}
};
const struct capri_app capricorn_app = {CAPRI_APP_INIT, .name = "edges", .routes = routes};
