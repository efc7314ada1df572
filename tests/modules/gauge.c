/* SPDX-License-Identifier: MIT */
/*
 * Handlers that see for themselves how many of them run at once, over all workers: in a file that
 * all of them map (setting "gauge"). Each worker has a cell there, with its pid, since what a
 * killed one had counted runs no more.
 *
 *   GET /{kind}/{gauge}?ms=N    works for N ms; {kind}: pool, async, inline; {gauge}: 0 to 7
 *   GET /take/{gauge}?ms=N&how=try|acquire&weight=N  the same, with the semaphore "own", that the
 *                               handler takes by itself; /wait/{gauge}: async
 *   GET /decline/{gauge}?ms=N   one takes it and declines, and the next one takes it
 *   GET /charge/{key}           by the limit "own"
 *
 * And some whose answers are kept, which say of each byte whose it is: see kept.py.
 *   GET /kept/{kind}/{key}?size=N&ms=N   {kind}: pool (counted by gauge 0), inline, stream
 *   POST /kept/change/{key}     204
 */
#include <capricorn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define GAUGES 8
#define CELLS 256
#define KEPT 512

struct cell {
	_Atomic int pid;
	_Atomic unsigned running[GAUGES];
	_Atomic unsigned changes[GAUGES];
};

static struct shared {
	_Atomic unsigned peak[GAUGES];
	_Atomic unsigned ended[GAUGES];
	struct cell cell[CELLS];
	_Atomic unsigned calls;          /* of handlers of /kept */
	_Atomic unsigned version[KEPT];  /* the test's */
} *shared;
static struct cell *mine;
static struct capri_semaphore *own;     /* with the setting "own": what is so named */
static struct capri_ratelimit *own_rate;

static long number(struct capri_request *r, const char *name, long otherwise)
{
	struct capri_str s = capri_query_param(r, name);

	return s.p ? atol(s.p) : otherwise;
}

static int alive(const struct cell *c)
{
	int pid = atomic_load(&c->pid);

	return pid != 0 && (kill(pid, 0) == 0 || errno == EPERM);
}

/* Of two looks that agree in how often anything has changed, the sum; 0 when they never do. */
static unsigned sum_now(int g)
{
	for (int tries = 0; tries < 50; tries++) {
		unsigned sum = 0, before = 0, after = 0;

		for (int i = 0; i < CELLS; i++)
			before += atomic_load(&shared->cell[i].changes[g]);
		for (int i = 0; i < CELLS; i++)
			if (atomic_load(&shared->cell[i].running[g]) > 0 && alive(&shared->cell[i]))
				sum += atomic_load(&shared->cell[i].running[g]);
		for (int i = 0; i < CELLS; i++)
			after += atomic_load(&shared->cell[i].changes[g]);
		if (before == after)
			return sum;
	}
	return 0;
}

static void enter(int g, unsigned weight)
{
	unsigned sum, peak = atomic_load(&shared->peak[g]);

	atomic_fetch_add(&mine->running[g], weight);
	atomic_fetch_add(&mine->changes[g], 1);
	sum = sum_now(g);
	while (sum > peak && !atomic_compare_exchange_weak(&shared->peak[g], &peak, sum))
		;
}

static void leave(int g, unsigned weight)
{
	atomic_fetch_sub(&mine->running[g], weight);
	atomic_fetch_add(&mine->changes[g], 1);
	atomic_fetch_add(&shared->ended[g], 1);
}

static int gauge_of(struct capri_request *r)
{
	struct capri_str s = capri_param(r, "gauge");

	return s.p ? (s.p[0] - '0') & (GAUGES - 1) : 0;
}

static void nap(long ms)
{
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	while (nanosleep(&t, &t) != 0)
		;
}

static int work(struct capri_request *r, void *arg)
{
	int g = gauge_of(r);
	unsigned weight = (unsigned)number(r, "weight", 1);

	(void)arg;
	enter(g, weight);
	nap(number(r, "ms", 10));
	leave(g, weight);
	return capri_respond_text(r, 200, "done");
}

struct later {
	struct capri_request *r;
	int g;
	unsigned weight;
};

static void on_time(struct capri_worker *w, struct capri_timer *t, void *arg)
{
	struct later *l = arg;

	(void)w;
	leave(l->g, l->weight);
	capri_respond_text(l->r, 200, "done");
	free(l);
	capri_timer_free(t);
}

static int work_later(struct capri_request *r, unsigned weight)
{
	struct later *l = malloc(sizeof(*l));
	struct capri_timer *t = l ? capri_timer_new(capri_worker_of(r), on_time, l) : NULL;

	if (!t)
		return capri_problem(r, 503, "no timer");
	*l = (struct later){r, gauge_of(r), weight};
	enter(l->g, weight);
	capri_timer_arm(t, (uint32_t)number(r, "ms", 10));
	return CAPRI_PENDING;
}

static int async(struct capri_request *r, void *arg)
{
	(void)arg;
	return work_later(r, 1);
}

static int take(struct capri_request *r, void *arg)
{
	unsigned weight = (unsigned)number(r, "weight", 1);
	struct capri_str how = capri_query_param(r, "how");
	int rc, g = gauge_of(r);

	(void)arg;
	rc = how.p && strcmp(how.p, "try") == 0 ? capri_semaphore_try(r, own, weight)
						: capri_semaphore_acquire(r, own, weight);
	if (rc == CAPRI_E_CANCELLED)
		return rc;
	if (rc != CAPRI_OK)
		return capri_problem(r, 503, capri_strerror(rc));
	enter(g, weight);
	nap(number(r, "ms", 10));
	leave(g, weight);
	if (number(r, "keep", 0) == 0)
		capri_semaphore_release(r, own);
	return capri_respond_text(r, 200, "done");
}

static int take_and_decline(struct capri_request *r, void *arg)
{
	(void)arg;
	return capri_semaphore_try(r, own, 1) == CAPRI_OK ? CAPRI_DECLINED : CAPRI_E_INVALID;
}

static void taken(struct capri_request *r, int result, void *arg)
{
	(void)arg;
	if (result != CAPRI_OK)
		capri_problem(r, 503, capri_strerror(result));
	else
		(void)work_later(r, (unsigned)number(r, "weight", 1));
}

static int take_async(struct capri_request *r, void *arg)
{
	int rc = capri_semaphore_wait(r, own, (uint32_t)number(r, "weight", 1), taken, NULL);

	(void)arg;
	return rc == CAPRI_OK ? CAPRI_PENDING : capri_problem(r, 503, capri_strerror(rc));
}

static int charge(struct capri_request *r, void *arg)
{
	uint32_t seconds = 0;
	int rc = capri_ratelimit_check(own_rate, capri_param(r, "key"), &seconds);

	(void)arg;
	return capri_respond_text(r, rc == CAPRI_OK ? 200 : 429,
				  capri_format(r, "%d %u", rc, seconds).p);
}

/* ---- what is kept ---- */

#define RECORD 20                /* "key version index\n" */
#define SUM 9                    /* of all before it, at the end */
#define SIZE_MIN 100
#define SIZE_MAX_KEPT (1l << 20)

static unsigned crc32_of(const char *p, size_t len)
{
	unsigned crc = ~0u;

	for (size_t i = 0; i < len; i++) {
		crc ^= (unsigned char)p[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (0xedb88320u & -(crc & 1));
	}
	return ~crc;
}

static char *make_kept(struct capri_request *r, size_t *ret_len)
{
	struct capri_str key = capri_param(r, "key");
	unsigned k = key.p ? (unsigned)atoi(key.p) % KEPT : 0;
	unsigned version = atomic_load(&shared->version[k]);
	long size = number(r, "size", SIZE_MIN);
	size_t len, at = 0;
	char *body;

	size = size < SIZE_MIN ? SIZE_MIN : size < SIZE_MAX_KEPT ? size : SIZE_MAX_KEPT;
	len = (size_t)size;
	body = malloc(len + RECORD + 1);
	atomic_fetch_add(&shared->calls, 1);
	for (unsigned i = 0; body && at < len - SUM; i++, at += RECORD)
		snprintf(body + at, RECORD + 1, "%05u %08u %04u\n", k, version % 100000000,
			 i % 10000);
	if (body)
		snprintf(body + len - SUM, SUM + 1, "%08x\n", crc32_of(body, len - SUM));
	nap(number(r, "ms", 0));
	*ret_len = len;
	return body;
}

static int keep(struct capri_request *r, void *arg)
{
	int counted = arg != NULL;
	size_t len = 0;
	char *body;

	if (counted)
		enter(0, 1);
	body = make_kept(r, &len);
	if (counted)
		leave(0, 1);
	return body ? capri_respond_ref(r, 200, "text/plain", body, len, free, body)
		    : CAPRI_E_NOMEM;
}

static int keep_stream(struct capri_request *r, void *arg)
{
	size_t len = 0;
	char *body = make_kept(r, &len);
	int rc = body ? capri_stream_begin(r, 200, "text/plain", -1) : CAPRI_E_NOMEM;

	(void)arg;
	for (size_t at = 0; rc == CAPRI_OK && at < len; at += 5000)
		rc = capri_write(r, body + at, len - at < 5000 ? len - at : 5000);
	free(body);
	return body ? capri_stream_end(r, rc == CAPRI_OK) : rc;
}

static int change(struct capri_request *r, void *arg)
{
	(void)arg;
	return capri_respond(r, 204, NULL, NULL, 0);
}

static int start(struct capri_worker *w)
{
	struct capri_str path = capri_setting(w, "gauge");
	int fd = path.p ? open(path.p, O_RDWR | O_CLOEXEC) : -1;

	if (fd < 0)
		return -1;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (shared == MAP_FAILED)
		return -1;
	mine = &shared->cell[capri_worker_slot(w) % CELLS];
	for (int g = 0; g < GAUGES; g++)
		atomic_store(&mine->running[g], 0);
	atomic_store(&mine->pid, (int)getpid());
	if (!capri_setting(w, "own").p)
		return 0;
	own = capri_semaphore_find(w, "own");
	own_rate = capri_ratelimit_find(w, "own");
	return own && own_rate ? 0 : -1;
}

static const struct capri_route routes[] = {
	{"GET", "/pool/{gauge}", work, .kind = CAPRI_POOL},
	{"GET", "/inline/{gauge}", work, .kind = CAPRI_INLINE},
	{"GET", "/async/{gauge}", async, .kind = CAPRI_ASYNC},
	{"GET", "/take/{gauge}", take, .kind = CAPRI_POOL},
	{"GET", "/wait/{gauge}", take_async, .kind = CAPRI_ASYNC},
	{"GET", "/decline/{gauge}", take_and_decline, .kind = CAPRI_POOL},
	{"GET", "/decline/*", take, .kind = CAPRI_POOL},
	{"GET", "/charge/{key}", charge, .kind = CAPRI_INLINE},
	{"GET", "/kept/pool/{key}", keep, (void *)1, .kind = CAPRI_POOL},
	{"GET", "/kept/inline/{key}", keep, .kind = CAPRI_INLINE},
	{"GET", "/kept/stream/{key}", keep_stream, .kind = CAPRI_POOL},
	{"POST", "/kept/change/{key}", change, .kind = CAPRI_INLINE},
	{0}
};
const struct capri_app capricorn_app = {
	CAPRI_APP_INIT, .name = "gauge", .routes = routes, .start = start,
};
