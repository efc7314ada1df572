/* SPDX-License-Identifier: MIT */
/*
 * /metrics: the text format of Prometheus, version 0.0.4, and the document about it, both from
 * shm/metrics.def. A metric is a sum of counters (rows of the table) or computed by a function
 * here; one that has no sample, since its feature is not built yet, is left out of the text.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/clock.h"
#include "shm/cache.h"
#include "shm/rate.h"
#include "shm/sem.h"
#include "status/status_priv.h"

#define PREFIX "capricorn_"

enum metric {
#define SHM_METRIC(name, type, labels, help) M_##name,
#include "shm/metrics.def"
	M_COUNT
};

enum metric_type { COUNTER, GAUGE, HISTOGRAM };

static const struct {
	const char *name;
	enum metric_type type;
	const char *labels, *help;
} metrics[] = {
#define SHM_METRIC(name, type, labels, help) {#name, type, labels, help},
#include "shm/metrics.def"
};

static const char *const type_names[] = {
	[COUNTER] = "counter", [GAUGE] = "gauge", [HISTOGRAM] = "histogram"
};

/* Samples that are counters of the slots, summed. */
struct sums {
#define SHM_COUNTER(name, help) uint64_t name;
#include "shm/counters.def"
#undef SHM_COUNTER
};

static const struct {
	enum metric metric;
	const char *labels;
	size_t offset;
	uint64_t per;
} samples[] = {
#define SHM_METRIC_FROM(name, labels, counter, per) \
	{M_##name, labels, offsetof(struct sums, counter), per},
#include "shm/metrics.def"
};
_Static_assert(sizeof(struct sums) == sizeof(((struct status_view *)NULL)->sum),
	       "both are made from shm/counters.def");

struct text {
	struct strbuf *out;
	const struct status_view *v;
	enum metric metric;
	bool failed;
};

/* ---- one sample ---- */

static void add_name(struct text *t, const char *labels)
{
	strbuf_puts(t->out, PREFIX);
	strbuf_puts(t->out, metrics[t->metric].name);
	if (labels[0] != '\0')
		strbuf_printf(t->out, "{%s}", labels);
}

static void sample(struct text *t, const char *labels, uint64_t n)
{
	add_name(t, labels);
	strbuf_printf(t->out, " %" PRIu64 "\n", n);
}

static void sample_real(struct text *t, const char *labels, double x)
{
	add_name(t, labels);
	strbuf_printf(t->out, " %.15g\n", x);
}

/* The value of a label; what is no UTF-8 must not get out, and no route has such a name. */
#define LABEL_MAX (SHM_ROUTE_NAME_MAX * 2 + 32)
static void put_label(char *out, size_t cap, const char *name, const char *value)
{
	size_t len = (size_t)snprintf(out, cap, "%s=\"", name);

	for (const char *p = value; *p != '\0' && len + 4 < cap; p++) {
		unsigned char c = (unsigned char)*p;

		if (c == '"' || c == '\\')
			out[len++] = '\\';
		out[len++] = c < 0x20 || c > 0x7e ? '?' : (char)c;
	}
	out[len++] = '"';
	out[len] = '\0';
}

static bool route_label(const struct text *t, uint32_t route, char *out)
{
	char name[SHM_ROUTE_NAME_MAX] = "other";

	if (route != 0 && !shm_route_name(t->v->shm, route, name))
		return false;
	put_label(out, LABEL_MAX, "route", name);
	return true;
}

/* ---- metrics that are computed ---- */

static void http_requests(struct text *t)
{
	size_t n = 0;
	struct status_series *list = status_series(t->v, &n);
	char route[LABEL_MAX], labels[LABEL_MAX + 64];

	if (!list) {
		t->failed = true;
		return;
	}
	for (size_t i = 0; i < n; i++) {
		enum http_method m = list[i].of.method < HTTP_M_COUNT ?
				     (enum http_method)list[i].of.method : HTTP_M_OTHER;

		/* A method that is none of ours can only be garbage. */
		if (list[i].of.method >= HTTP_M_COUNT || !route_label(t, list[i].of.route, route))
			continue;
		snprintf(labels, sizeof(labels), "%s,method=\"%s\",code=\"%u\"", route,
			 http_method_name(m), list[i].of.code);
		sample(t, labels, list[i].count);
	}
	free(list);
}

static const char *const error_words[] = {
#define SHM_ERROR(sym, word, counter, text) word,
#include "shm/errors.def"
#undef SHM_ERROR
};

/* Every type is there from the start, of route other; of other routes, once it has happened. */
static void errors(struct text *t)
{
	size_t n = 0;
	struct status_series *list = status_errors(t->v, &n);
	char route[LABEL_MAX], labels[LABEL_MAX + 64];
	bool other[SHM_ERR_COUNT] = {false};

	if (!list) {
		t->failed = true;
		return;
	}
	for (size_t i = 0; i < n; i++) {
		if (!route_label(t, list[i].of.route, route))
			continue;
		if (list[i].of.route == 0)
			other[list[i].of.code] = true;
		snprintf(labels, sizeof(labels), "%s,type=\"%s\"", route,
			 error_words[list[i].of.code]);
		sample(t, labels, list[i].count);
	}
	free(list);
	for (int i = 0; i < SHM_ERR_COUNT; i++) {
		snprintf(labels, sizeof(labels), "route=\"other\",type=\"%s\"", error_words[i]);
		if (!other[i])
			sample(t, labels, 0);
	}
}

/* Bounds are those of every eighth bucket (2^k - 1 microseconds), so that no bucket is split. */
#define LE_FIRST 7  /* 127 us */
#define LE_LAST  27 /* 134 s */

void status_histogram(struct strbuf *out, const char *name, const char *labels,
		      const struct shm_hist_sum *h)
{
	bool any = labels[0] != '\0';
	const char *open = any ? "{" : "", *comma = any ? "," : "", *close = any ? "}" : "";
	uint64_t count = 0;
	uint32_t bucket = 0;

	for (int k = LE_FIRST; k <= LE_LAST; k++) {
		uint32_t last = shm_hist_index((UINT64_C(1) << k) - 1);

		for (; bucket <= last && bucket < SHM_HIST_BUCKETS; bucket++)
			count += h->bucket[bucket];
		strbuf_printf(out, "%s_bucket{%s%sle=\"%.9g\"} %" PRIu64 "\n", name, labels, comma,
			      (double)shm_hist_upper_us(last) / 1e6, count);
	}
	strbuf_printf(out, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", name, labels, comma,
		      h->count);
	strbuf_printf(out, "%s_sum%s%s%s %.15g\n", name, open, labels, close,
		      (double)h->sum_us / 1e6);
	strbuf_printf(out, "%s_count%s%s%s %" PRIu64 "\n", name, open, labels, close, h->count);
}

static void http_request_duration(struct text *t)
{
	char route[LABEL_MAX];

	for (uint32_t i = 0; i < t->v->shm->geo.routes; i++) {
		struct shm_hist_sum sum = {0};

		if (!route_label(t, i, route))
			continue;
		status_latency(t->v, i, &sum);
		status_histogram(t->out, PREFIX "http_request_duration_seconds", route, &sum);
	}
}

static void in_flight(struct text *t)
{
	sample(t, "", t->v->in_flight);
}

static void connections_open(struct text *t)
{
	sample(t, "", t->v->connections);
}

static void build_info(struct text *t)
{
	sample(t, "version=\"" PACKAGE_VERSION "\"", 1);
}

static void start_time(struct text *t)
{
	sample_real(t, "", (double)(shm_get(&t->v->shm->inst->started_wall_ns) / NS_PER_MS) / 1e3);
}

static void generation(struct text *t)
{
	sample(t, "", shm_get(&t->v->shm->inst->generation));
}

static void workers_wanted(struct text *t)
{
	sample(t, "", t->v->wanted);
}

static void each_worker(struct text *t, void (*f)(struct text *t, const char *labels,
						  const struct status_slot *s))
{
	struct status_slot s;
	char labels[32];

	for (uint32_t i = 1; i < t->v->shm->geo.slots; i++) {
		if (!status_slot(t->v, i, SHM_WORKER, false, &s))
			continue;
		snprintf(labels, sizeof(labels), "slot=\"%u\"", i);
		f(t, labels, &s);
	}
}

static void one_up(struct text *t, const char *labels, const struct status_slot *s)
{
	sample(t, labels, s->state == ST_READY || s->state == ST_DRAINING);
}

static void one_busy(struct text *t, const char *labels, const struct status_slot *s)
{
	sample_real(t, labels, (double)s->busy_ppm / 1e6);
}

static void one_rss(struct text *t, const char *labels, const struct status_slot *s)
{
	sample(t, labels, s->rss_bytes);
}

static void worker_up(struct text *t)
{
	each_worker(t, one_up);
}

static void worker_busy(struct text *t)
{
	each_worker(t, one_busy);
}

static void worker_memory(struct text *t)
{
	each_worker(t, one_rss);
}

static void worker_restarts(struct text *t)
{
	static const char *const words[] = {
#define SHM_REASON(symbol, word, text) word,
#include "shm/reasons.def"
#undef SHM_REASON
	};
	char labels[64];

	_Static_assert(sizeof(words) / sizeof(words[0]) <= 32, "restarts_by_reason has 32 words");
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		put_label(labels, sizeof(labels), "reason", words[i]);
		sample(t, labels, shm_get(&t->v->shm->inst->restarts_by_reason[i]));
	}
}

static void shm_bytes(struct text *t)
{
	struct shm_usage lines[SHM_SECTIONS_MAX];
	size_t n = shm_usage(t->v->shm, lines, SHM_SECTIONS_MAX);
	char section[64], labels[96];

	for (size_t i = 0; i < n; i++) {
		put_label(section, sizeof(section), "section", lines[i].section);
		snprintf(labels, sizeof(labels), "%s,state=\"used\"", section);
		sample(t, labels, lines[i].used_bytes);
		snprintf(labels, sizeof(labels), "%s,state=\"capacity\"", section);
		sample(t, labels, lines[i].bytes);
	}
}

static void rings_damaged(struct text *t)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < t->v->shm->geo.slots; i++)
		n += shm_get(&t->v->shm->rings[i].damaged);
	sample(t, "", n);
}

static void log_lines_lost(struct text *t)
{
	sample(t, "log=\"access\"", shm_get(&t->v->shm->inst->access_failed));
	sample(t, "log=\"error\"", shm_get(&t->v->shm->inst->log_lost));
}

static void access_lines(struct text *t)
{
	sample(t, "", shm_get(&t->v->shm->inst->access_written));
}

/* ---- semaphores and rate limits ---- */

static void each_sem(struct text *t, void (*f)(struct text *t, const char *labels, uint32_t sem,
						const struct shm_sem_view *s))
{
	struct shm_sem_view s;
	char labels[LABEL_MAX];

	for (uint32_t i = 0; i < SHM_SEMS; i++) {
		if (!status_sem(t->v->shm, i, &s))
			continue;
		put_label(labels, sizeof(labels), "name", s.name);
		f(t, labels, i, &s);
	}
}

static void one_limit(struct text *t, const char *labels, uint32_t sem,
		      const struct shm_sem_view *s)
{
	(void)sem;
	sample(t, labels, s->limit);
}

static void one_held(struct text *t, const char *labels, uint32_t sem, const struct shm_sem_view *s)
{
	(void)sem;
	sample(t, labels, s->held);
}

static void one_waiting(struct text *t, const char *labels, uint32_t sem,
			const struct shm_sem_view *s)
{
	uint64_t n = 0;

	(void)sem;
	for (int i = 0; i < SHM_CLASSES; i++)
		n += s->waiting[i];
	sample(t, labels, n);
}

static void one_oldest(struct text *t, const char *labels, uint32_t sem,
		       const struct shm_sem_view *s)
{
	uint64_t age = 0;

	(void)sem;
	for (int i = 0; i < SHM_CLASSES; i++)
		if (s->oldest_ns[i] != 0 && status_age(t->v->now_ns, s->oldest_ns[i]) > age)
			age = status_age(t->v->now_ns, s->oldest_ns[i]);
	sample_real(t, labels, (double)age / 1e9);
}

static void one_events(struct text *t, const char *labels, uint32_t sem,
		       const struct shm_sem_view *s)
{
	const struct { const char *word; uint64_t n; } event[] = {
		{"acquired", s->acquired}, {"queued", s->queued}, {"timed_out", s->timed_out},
		{"rejected", s->rejected}, {"abandoned", s->abandoned},
		{"reclaimed", s->reclaimed},
	};
	char both[LABEL_MAX + 32];

	(void)sem;
	for (size_t i = 0; i < sizeof(event) / sizeof(event[0]); i++) {
		snprintf(both, sizeof(both), "%s,event=\"%s\"", labels, event[i].word);
		sample(t, both, event[i].n);
	}
}

static void wait_histogram(struct strbuf *out, const char *name, const char *labels,
			   const struct shm_sem_wait_sum *w)
{
	const char *comma = labels[0] != '\0' ? "," : "", *open = labels[0] != '\0' ? "{" : "";
	const char *close = labels[0] != '\0' ? "}" : "";
	uint64_t count = 0;

	for (int i = 0; i < SHM_SEM_WAIT_BUCKETS - 1; i++) {
		count += w->bucket[i];
		if (i >= LE_FIRST)
			strbuf_printf(out, "%s_bucket{%s%sle=\"%.9g\"} %" PRIu64 "\n", name, labels,
				      comma, (double)(((uint64_t)1 << i) - 1) / 1e6, count);
	}
	strbuf_printf(out, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", name, labels, comma,
		      w->count);
	strbuf_printf(out, "%s_sum%s%s%s %.15g\n", name, open, labels, close,
		      (double)w->sum_us / 1e6);
	strbuf_printf(out, "%s_count%s%s%s %" PRIu64 "\n", name, open, labels, close, w->count);
}

static void one_wait(struct text *t, const char *labels, uint32_t sem, const struct shm_sem_view *s)
{
	struct shm_sem_wait_sum w = {0};

	(void)s;
	shm_sem_wait_read(t->v->shm, sem, &w);
	wait_histogram(t->out, PREFIX "semaphore_wait_seconds", labels, &w);
}

static void semaphore_limit(struct text *t) { each_sem(t, one_limit); }
static void semaphore_held(struct text *t) { each_sem(t, one_held); }
static void semaphore_waiting(struct text *t) { each_sem(t, one_waiting); }
static void semaphore_oldest(struct text *t) { each_sem(t, one_oldest); }
static void semaphore_events(struct text *t) { each_sem(t, one_events); }
static void semaphore_wait(struct text *t) { each_sem(t, one_wait); }

/* Of all semaphores: a request that waits for two of them waits twice. */
static void queue_wait(struct text *t)
{
	struct shm_sem_wait_sum all = {0};
	struct shm_sem_view s;

	for (uint32_t i = 0; i < SHM_SEMS; i++) {
		struct shm_sem_wait_sum w = {0};

		if (!status_sem(t->v->shm, i, &s))
			continue;
		shm_sem_wait_read(t->v->shm, i, &w);
		for (int k = 0; k < SHM_SEM_WAIT_BUCKETS; k++)
			all.bucket[k] += w.bucket[k];
		all.count += w.count;
		all.sum_us += w.sum_us;
	}
	wait_histogram(t->out, PREFIX "queue_wait_seconds", "", &all);
}

static void ratelimit_decisions(struct text *t)
{
	char policy[LABEL_MAX], labels[LABEL_MAX + 32];
	struct shm_rate_view r;

	for (uint32_t i = 0; i < SHM_RATES; i++) {
		if (!status_rate(t->v->shm, i, &r))
			continue;
		put_label(policy, sizeof(policy), "policy", r.name);
		snprintf(labels, sizeof(labels), "%s,decision=\"allowed\"", policy);
		sample(t, labels, r.allowed);
		snprintf(labels, sizeof(labels), "%s,decision=\"limited\"", policy);
		sample(t, labels, r.limited);
		snprintf(labels, sizeof(labels), "%s,decision=\"shadowed\"", policy);
		sample(t, labels, r.shadowed);
	}
}

static void ratelimit_keys(struct text *t)
{
	char policy[LABEL_MAX], labels[LABEL_MAX + 32];
	struct shm_rate_view r;

	for (uint32_t i = 0; i < SHM_RATES; i++) {
		if (!status_rate(t->v->shm, i, &r) || r.capacity == 0)
			continue;
		put_label(policy, sizeof(policy), "policy", r.name);
		snprintf(labels, sizeof(labels), "%s,state=\"used\"", policy);
		sample(t, labels, shm_rate_keys_in_use(t->v->shm, i, t->v->now_ns));
		snprintf(labels, sizeof(labels), "%s,state=\"capacity\"", policy);
		sample(t, labels, r.capacity);
	}
}

static void ratelimit_overflows(struct text *t)
{
	char policy[LABEL_MAX];
	struct shm_rate_view r;

	for (uint32_t i = 0; i < SHM_RATES; i++) {
		if (!status_rate(t->v->shm, i, &r) || r.capacity == 0)
			continue;
		put_label(policy, sizeof(policy), "policy", r.name);
		sample(t, policy, r.overflowed);
	}
}

/* ---- the cache ---- */

struct counted { const char *word; uint64_t n; };

static bool read_cache(const struct text *t, struct shm_cache_view *ret)
{
	if (shm_cache_object_max(&t->v->shm->geo) == 0)
		return false;
	*ret = (struct shm_cache_view){0};
	shm_cache_read(t->v->shm, ret);
	return true;
}

static void sample_words(struct text *t, const char *label, const struct counted *list, size_t n)
{
	char labels[64];

	for (size_t i = 0; i < n; i++) {
		snprintf(labels, sizeof(labels), "%s=\"%s\"", label, list[i].word);
		sample(t, labels, list[i].n);
	}
}

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static void cache_requests(struct text *t)
{
	struct shm_cache_view v;

	if (!read_cache(t, &v))
		return;
	const uint64_t *n = v.count;
	const struct counted list[] = {
		{"hit", less(n[SHM_CACHE_HITS], n[SHM_CACHE_PASSED])},
		{"stale", n[SHM_CACHE_STALES]},
		{"miss", less(n[SHM_CACHE_MISSES], n[SHM_CACHE_COLLAPSED])},
		{"collapsed", n[SHM_CACHE_COLLAPSED]},
		{"pass", n[SHM_CACHE_PASSED]},
		{"bypass", n[SHM_CACHE_BYPASSED]},
	};

	sample_words(t, "result", list, sizeof(list) / sizeof(list[0]));
}

static void cache_removed(struct text *t)
{
	struct shm_cache_view v;

	if (!read_cache(t, &v))
		return;
	const uint64_t *n = v.count;
	const struct counted list[] = {
		{"evicted", n[SHM_CACHE_EVICTED]}, {"expired", n[SHM_CACHE_EXPIRED]},
		{"invalidated", n[SHM_CACHE_INVALIDATED]}, {"deleted", n[SHM_CACHE_DELETED]},
		{"replaced", n[SHM_CACHE_REPLACED]},
	};

	sample_words(t, "reason", list, sizeof(list) / sizeof(list[0]));
}

static void cache_stored(struct text *t)
{
	struct shm_cache_view v;

	if (read_cache(t, &v))
		sample(t, "", v.count[SHM_CACHE_PUTS]);
}

static void cache_stored_bytes(struct text *t)
{
	struct shm_cache_view v;

	if (read_cache(t, &v))
		sample(t, "", v.count[SHM_CACHE_PUT_BYTES]);
}

static void cache_refused(struct text *t)
{
	struct shm_cache_view v;

	if (read_cache(t, &v))
		sample(t, "", v.count[SHM_CACHE_REFUSED]);
}

static void cache_items(struct text *t)
{
	struct shm_cache_view v;

	if (read_cache(t, &v))
		sample(t, "", v.items);
}

static void cache_bytes(struct text *t)
{
	struct shm_cache_view v;

	if (!read_cache(t, &v))
		return;
	const struct counted list[] = {
		{"capacity", v.segments * v.segment_bytes}, {"used", v.used_bytes},
		{"live", v.live_bytes},
	};

	sample_words(t, "state", list, sizeof(list) / sizeof(list[0]));
}

static void cache_pins(struct text *t)
{
	struct shm_cache_view v;

	if (read_cache(t, &v))
		sample(t, "", v.pinned);
}

typedef void compute_f(struct text *t);
static compute_f *const computed[M_COUNT] = {
	[M_http_requests_total] = http_requests,
	[M_http_request_duration_seconds] = http_request_duration,
	[M_http_requests_in_flight] = in_flight,
	[M_errors_total] = errors,
	[M_connections_open] = connections_open,
	[M_build_info] = build_info,
	[M_start_time_seconds] = start_time,
	[M_generation] = generation,
	[M_workers_wanted] = workers_wanted,
	[M_worker_up] = worker_up,
	[M_worker_busy_ratio] = worker_busy,
	[M_worker_resident_memory_bytes] = worker_memory,
	[M_worker_restarts_total] = worker_restarts,
	[M_shm_bytes] = shm_bytes,
	[M_log_ring_damaged_total] = rings_damaged,
	[M_log_lines_lost_total] = log_lines_lost,
	[M_access_log_lines_total] = access_lines,
	[M_queue_wait_seconds] = queue_wait,
	[M_semaphore_limit] = semaphore_limit,
	[M_semaphore_held] = semaphore_held,
	[M_semaphore_waiting] = semaphore_waiting,
	[M_semaphore_oldest_wait_seconds] = semaphore_oldest,
	[M_semaphore_wait_seconds] = semaphore_wait,
	[M_semaphore_events_total] = semaphore_events,
	[M_ratelimit_decisions_total] = ratelimit_decisions,
	[M_ratelimit_keys] = ratelimit_keys,
	[M_ratelimit_overflows_total] = ratelimit_overflows,
	[M_cache_requests_total] = cache_requests,
	[M_cache_removed_total] = cache_removed,
	[M_cache_stored_total] = cache_stored,
	[M_cache_stored_bytes_total] = cache_stored_bytes,
	[M_cache_refused_total] = cache_refused,
	[M_cache_objects] = cache_items,
	[M_cache_bytes] = cache_bytes,
	[M_cache_pins] = cache_pins,
};

/* ---- the text ---- */

static void add_sums(struct text *t)
{
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		uint64_t n;

		if (samples[i].metric != t->metric)
			continue;
		memcpy(&n, (const char *)&t->v->sum + samples[i].offset, sizeof(n));
		if (samples[i].per == 1)
			sample(t, samples[i].labels, n);
		else
			sample_real(t, samples[i].labels, (double)n / (double)samples[i].per);
	}
}

bool status_make_metrics(const struct heritage *h, struct strbuf *out, int *status)
{
	struct status_view v;
	struct text t = {.out = out, .v = &v};

	(void)status;
	status_view(&v, h);
	for (int m = 0; m < M_COUNT; m++) {
		size_t begin = out->len, head;

		t.metric = (enum metric)m;
		strbuf_printf(out, "# HELP " PREFIX "%s %s\n", metrics[m].name, metrics[m].help);
		strbuf_printf(out, "# TYPE " PREFIX "%s %s\n", metrics[m].name,
			      type_names[metrics[m].type]);
		head = out->len;
		add_sums(&t);
		if (computed[m])
			computed[m](&t);
		if (out->len == head && !out->failed) { /* no sample: nothing is said of it */
			out->len = begin;
			out->p[begin] = '\0';
		}
	}
	t.failed |= !status_module_text(&v, out);
	return !t.failed && !out->failed;
}

/* ---- the document ---- */

static const char *const error_texts[] = {
#define SHM_ERROR(sym, word, counter, text) text,
#include "shm/errors.def"
#undef SHM_ERROR
};

static bool has_samples(enum metric m)
{
	if (computed[m])
		return true;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++)
		if (samples[i].metric == m)
			return true;
	return false;
}

int status_write_doc(const char *name, FILE *f)
{
	if (strcmp(name, "metrics-md") != 0)
		return -1;
	fputs("# Metrics\n\n"
	      "What `GET /metrics` shows, in the text format of Prometheus. Counters are sums over\n"
	      "all processes there have been since the start and never go down; every process\n"
	      "answers the same. A request is counted before the last write of its answer: never\n"
	      "fewer than clients received. A metric marked *later* belongs to a feature that is\n"
	      "not built yet: its name is fixed, and it has no samples.\n\n"
	      "| metric | type | labels | meaning |\n|---|---|---|---|\n", f);
	for (int m = 0; m < M_COUNT; m++)
		fprintf(f, "| `" PREFIX "%s` | %s | %s | %s%s |\n", metrics[m].name,
			type_names[metrics[m].type], metrics[m].labels, metrics[m].help,
			has_samples((enum metric)m) ? "" : " *later*");
	fputs("\nThe bounds of the histograms are 2^k - 1 microseconds, from 127 microseconds to 134\n"
	      "seconds. Within the server they are finer: eight buckets for each power of two, of\n"
	      "which `/status` and `/api/v1/performance/stats` make their percentiles.\n\n"
	      "## Errors\n\n"
	      "The types of `" PREFIX "errors_total`. Each is there from the start with the route\n"
	      "`other`, which is also that of requests that came to no route.\n\n"
	      "| type | what happened to the request |\n|---|---|\n", f);
	for (size_t i = 0; i < SHM_ERR_COUNT; i++)
		fprintf(f, "| `%s` | %s |\n", error_words[i], error_texts[i]);
	fputs("\n## Metrics of a module\n\n"
	      "They follow after ours, under the names that the module gives them: counters and\n"
	      "histograms as sums over all workers there have been, gauges as sums over those that\n"
	      "live. One that the module does not make any more since a reload is still shown, so\n"
	      "that no total goes down. `/status` has them in `module`.\n", f);
	return 0;
}
