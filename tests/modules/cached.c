/* SPDX-License-Identifier: MIT */
/*
 * Handlers whose answers are kept, or not: they count their calls in a file that all workers map
 * (setting "counter"), and say the number in their answers.
 *
 *   GET  /inline/{x}, /pool/{x}, /stream/{x}
 *          ?size=N   so many bytes in all       ?status=N
 *          ?cc=TEXT  Cache-Control              ?vary=TEXT   ?cookie  Set-Cookie
 *          ?gate     answers when the file "gate" (setting) is there, or it is given up
 *   POST /inline/{x}, /pool/{x}                 204
 *   GET  /value/{key}  a value of the module's own: found, or 404
 *          ?put=TEXT&ttl=MS&tag=TEXT  keeps it   ?delete   ?drop=TEXT
 *          ?compute  puts it after it was looked for and the gate is there
 *   GET  /fill/pool/{key}, /fill/async/{key}, /fill/inline/{key}  the same, of whom one computes
 *          ?wait=MS  for another one; then 503   ?gate, ?gate=NAME, ?tag=TEXT, ?size=N
 *          ?fail     500, and puts nothing
 *   GET  /turns        computes and puts two keys, one after the other: the results
 *   GET  /older/{key}  what it puts was looked for before the tag "older" was dropped: 404
 */
#include <capricorn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define SIZE_MAX_SERVED (8u << 20)

static struct shared { _Atomic unsigned calls, posts, running, cancelled; } *shared;
static const char *gate;

static long number(struct capri_request *r, const char *name, long otherwise)
{
	struct capri_str s = capri_query_param(r, name);

	return s.p ? atol(s.p) : otherwise;
}

static void set_if(struct capri_request *r, const char *param, const char *field)
{
	struct capri_str s = capri_query_param(r, param);

	if (s.p)
		capri_set_header(r, field, s.p);
}

static void wait_for_gate(struct capri_request *r)
{
	const struct timespec ms = {.tv_nsec = 1000000};
	struct capri_str which = capri_query_param(r, "gate");
	const char *path = capri_format(r, "%s%s", gate, which.p ? which.p : "").p;

	while (access(path, F_OK) != 0 && !capri_cancelled(r))
		nanosleep(&ms, NULL);
}

/* "call 7 of /pool/x after 0 changes" and padding. */
static char *make_body(struct capri_request *r, size_t *ret_len)
{
	unsigned n = atomic_fetch_add(&shared->calls, 1) + 1;
	struct capri_str text = capri_format(r, "call %u of %s after %u changes\n", n,
					     capri_path(r).p, atomic_load(&shared->posts));
	size_t len = (size_t)number(r, "size", (long)text.len);
	char *body;

	if (len < text.len || len > SIZE_MAX_SERVED)
		len = text.len;
	body = malloc(len);
	if (!body)
		return NULL;
	for (size_t i = 0; i < len; i++)
		body[i] = (char)('a' + i % 23);
	memcpy(body, text.p, text.len);
	*ret_len = len;
	return body;
}

static int answer(struct capri_request *r, void *arg)
{
	size_t len = 0;
	char *body = make_body(r, &len);

	(void)arg;
	if (!body)
		return CAPRI_E_NOMEM;
	set_if(r, "cc", "Cache-Control");
	set_if(r, "vary", "Vary");
	if (capri_query_param(r, "cookie").p)
		capri_set_header(r, "Set-Cookie", "a=b");
	atomic_fetch_add(&shared->running, 1);
	if (capri_query_param(r, "gate").p)
		wait_for_gate(r);
	atomic_fetch_sub(&shared->running, 1);
	return capri_respond_ref(r, (int)number(r, "status", 200), "text/plain", body, len, free,
				 body);
}

static int stream(struct capri_request *r, void *arg)
{
	size_t len = 0;
	char *body = make_body(r, &len);
	int rc;

	(void)arg;
	if (!body)
		return CAPRI_E_NOMEM;
	rc = capri_stream_begin(r, 200, "text/plain", -1);
	for (size_t at = 0; rc == CAPRI_OK && at < len; at += 1000)
		rc = capri_write(r, body + at, len - at < 1000 ? len - at : 1000);
	free(body);
	return capri_stream_end(r, rc == CAPRI_OK);
}

static int change(struct capri_request *r, void *arg)
{
	(void)arg;
	atomic_fetch_add(&shared->posts, 1);
	return capri_respond(r, (int)number(r, "status", 204), NULL, NULL, 0);
}

static int put_value(struct capri_request *r, struct capri_str key, struct capri_str value)
{
	struct capri_str tag = capri_query_param(r, "tag");

	return capri_cache_put(r, key, value, (uint64_t)number(r, "ttl", 100000), &tag,
			       tag.p ? 1 : 0);
}

static int value(struct capri_request *r, void *arg)
{
	struct capri_str key = capri_param(r, "key"), s = capri_query_param(r, "put");

	(void)arg;
	if (s.p)
		return capri_respond_text(r, 200, capri_format(r, "%d", put_value(r, key, s)).p);
	if (capri_query_param(r, "delete").p)
		return capri_respond_text(r, 200, capri_cache_delete(r, key) ? "1" : "0");
	s = capri_query_param(r, "drop");
	if (s.p)
		return capri_respond_text(r, capri_cache_invalidate(r, s) == CAPRI_OK ? 200 : 500,
					  "0");
	s = capri_cache_get(r, key);
	if (!s.p && capri_query_param(r, "compute").p) {
		atomic_fetch_add(&shared->running, 1);
		wait_for_gate(r);
		s = (struct capri_str){"computed", 8};
		(void)put_value(r, key, s);
	}
	return s.p ? capri_respond(r, 200, "text/plain", s.p, s.len)
		   : capri_problem(r, 404, "There is no such value.");
}

/* Of the one who computes. */
static int computed(struct capri_request *r)
{
	size_t len = 0;
	char *body;
	int rc;

	atomic_fetch_add(&shared->running, 1);
	if (capri_query_param(r, "gate").p)
		wait_for_gate(r);
	atomic_fetch_sub(&shared->running, 1);
	body = make_body(r, &len);
	if (!body)
		return CAPRI_E_NOMEM;
	if (capri_query_param(r, "fail").p)
		return free(body), capri_problem(r, 500, "It failed.");
	rc = put_value(r, capri_param(r, "key"), (struct capri_str){body, len});
	if (rc == CAPRI_OK)
		rc = capri_respond(r, 200, "text/plain", body, len);
	free(body);
	return rc;
}

static int told(struct capri_request *r, int result, struct capri_str value)
{
	switch (result) {
	case CAPRI_OK:
		return capri_respond(r, 200, "text/plain", value.p, value.len);
	case CAPRI_COMPUTE:
		return computed(r);
	case CAPRI_E_AGAIN:
		return capri_problem(r, 503, "Another one computes it.");
	case CAPRI_E_CANCELLED:
		atomic_fetch_add(&shared->cancelled, 1);
		return result;
	default:
		return result;
	}
}

static int fill(struct capri_request *r, void *arg)
{
	struct capri_str value;
	bool pool = arg != NULL;
	int rc = capri_cache_fill(r, capri_param(r, "key"),
				  pool ? (uint32_t)number(r, "wait", 20000) : 0, &value);

	/* One key at a time. */
	if (rc == CAPRI_COMPUTE &&
	    capri_cache_fill(r, (struct capri_str){"other", 5}, 0, &value) != CAPRI_E_INVALID)
		return capri_problem(r, 500, "Two at once.");
	return told(r, rc, value);
}

static void filled(struct capri_request *r, int result, struct capri_str value, void *arg)
{
	(void)arg;
	if (told(r, result, value) < 0)
		capri_problem(r, 500, "It could not be kept.");
}

static int fill_async(struct capri_request *r, void *arg)
{
	int rc = capri_cache_fill_wait(r, capri_param(r, "key"),
				       (uint32_t)number(r, "wait", 20000), filled, arg);

	return rc == CAPRI_OK ? CAPRI_PENDING : rc;
}

static int turns(struct capri_request *r, void *arg)
{
	const struct capri_str key[2] = {{"one", 3}, {"two", 3}};
	struct capri_str value;
	int result[4];

	(void)arg;
	for (int i = 0; i < 2; i++) {
		result[2 * i] = capri_cache_fill(r, key[i], 0, &value);
		result[2 * i + 1] = capri_cache_put(r, key[i], key[i], 100000, NULL, 0);
	}
	return capri_respond_text(r, 200, capri_format(r, "%d %d %d %d", result[0], result[1],
						       result[2], result[3]).p);
}

/* Whether it was only looked for, or another one computes it. */
static int older(struct capri_request *r, void *arg)
{
	struct capri_str key = capri_param(r, "key"), value, tag = {"older", 5};
	int rc = capri_cache_fill(r, key, 0, &value);

	(void)arg;
	capri_cache_fill_end(r);
	if (rc != CAPRI_COMPUTE && rc != CAPRI_E_AGAIN)
		return capri_problem(r, 500, "It was there.");
	capri_cache_invalidate(r, tag);
	/* It computes another one from now on. */
	if (capri_cache_fill(r, (struct capri_str){"newer", 5}, 0, &value) != CAPRI_COMPUTE)
		return capri_problem(r, 500, "Another one computes.");
	capri_cache_put(r, key, key, 100000, &tag, 1);
	value = capri_cache_get(r, key);
	return value.p ? capri_respond(r, 200, "text/plain", value.p, value.len)
		       : capri_problem(r, 404, "There is no such value.");
}

static int start(struct capri_worker *w)
{
	struct capri_str path = capri_setting(w, "counter");
	int fd = path.p ? open(path.p, O_RDWR | O_CLOEXEC) : -1;

	if (fd < 0)
		return -1;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	gate = capri_setting(w, "gate").p;
	return shared == MAP_FAILED || !gate ? -1 : 0;
}

static const struct capri_route routes[] = {
	{"GET", "/inline/{x}", answer, .kind = CAPRI_INLINE},
	{"GET", "/pool/{x}", answer, .kind = CAPRI_POOL},
	{"GET", "/stream/{x}", stream, .kind = CAPRI_POOL},
	{"GET", "/value/{key}", value, .kind = CAPRI_POOL},
	{"GET", "/fill/pool/{key}", fill, .kind = CAPRI_POOL, .arg = &shared},
	{"GET", "/turns", turns, .kind = CAPRI_INLINE},
	{"GET", "/older/{key}", older, .kind = CAPRI_INLINE},
	{"GET", "/fill/inline/{key}", fill, .kind = CAPRI_INLINE},
	{"GET", "/fill/async/{key}", fill_async, .kind = CAPRI_ASYNC},
	{"POST", "/inline/{x}", change, .kind = CAPRI_INLINE},
	{"POST", "/pool/{x}", change, .kind = CAPRI_POOL},
	{0}
};
const struct capri_app capricorn_app = {
	CAPRI_APP_INIT, .name = "cached", .routes = routes, .start = start,
};
