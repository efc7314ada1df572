/* SPDX-License-Identifier: MIT */
/* The JSON documents about what the server does: /status, stats and active-requests. */
#include <signal.h>
#include <stdlib.h>

#include "base/clock.h"
#include "status/status_priv.h"

#define EVENTS_SHOWN 64
#define EXITS_SHOWN  64
#define ACTIVE_SHOWN 1000

static double to_ms(uint64_t ns)
{
	return (double)(ns / 1000) / 1e3;
}

static double to_s(uint64_t ns)
{
	return (double)(ns / NS_PER_MS) / 1e3;
}

/* ---- processes ---- */

static json_t *row_json(struct doc *d, const struct status_view *v, const struct shm_row_view *row)
{
	json_t *o = json_object();

	doc_text(d, o, "id", row->id);
	doc_text(d, o, "method", row->method);
	doc_text(d, o, "path", row->path);
	doc_text(d, o, "client", row->client);
	doc_text(d, o, "state", shm_row_state_name(row->state));
	doc_real(d, o, "age_ms", to_ms(status_age(v->now_ns, row->since_ns)));
	return o;
}

static json_t *slot_json(struct doc *d, const struct status_view *v, const struct status_slot *s)
{
	json_t *o = json_object();

	doc_int(d, o, "slot", s->slot);
	doc_put(d, o, "pid", json_integer(s->pid));
	doc_text(d, o, "state", status_state_name(s->state));
	doc_int(d, o, "generation", s->generation);
	doc_real(d, o, "age_seconds", to_s(s->age_ns));
	doc_int(d, o, "requests", s->requests);
	doc_int(d, o, "connections", s->connections);
	doc_int(d, o, "in_flight", s->in_flight);
	doc_int(d, o, "abandoned", s->abandoned);
	doc_int(d, o, "rss_bytes", s->rss_bytes);
	doc_real(d, o, "cpu_seconds", to_s(s->cpu_ns));
	doc_real(d, o, "busy_ratio", (double)s->busy_ppm / 1e6);
	doc_real(d, o, "heartbeat_age_ms", to_ms(s->heartbeat_age_ns));
	doc_put(d, o, "request", s->has_row ? row_json(d, v, &s->row) : json_null());
	return o;
}

static json_t *workers_json(struct doc *d, const struct status_view *v)
{
	json_t *list = json_array();
	struct status_slot s;

	for (uint32_t i = 1; i < v->shm->geo.slots; i++)
		if (status_slot(v, i, SHM_WORKER, true, &s))
			doc_add(d, list, slot_json(d, v, &s));
	return list;
}

static json_t *keeper_json(struct doc *d, const struct status_view *v)
{
	struct status_slot s;

	return status_slot(v, 0, SHM_KEEPER, true, &s) ? slot_json(d, v, &s) : json_null();
}

/* ---- numbers ---- */

static json_t *responses_json(struct doc *d, const struct status_view *v)
{
	json_t *o = json_object();

	doc_int(d, o, "1xx", v->sum.responses_1xx);
	doc_int(d, o, "2xx", v->sum.responses_2xx);
	doc_int(d, o, "3xx", v->sum.responses_3xx);
	doc_int(d, o, "4xx", v->sum.responses_4xx);
	doc_int(d, o, "5xx", v->sum.responses_5xx);
	return o;
}

static json_t *totals_json(struct doc *d, const struct status_view *v)
{
	json_t *o = json_object();

	doc_int(d, o, "requests", v->sum.requests);
	doc_int(d, o, "status_requests", v->sum.status_requests);
	doc_int(d, o, "connections", v->sum.accepted);
	doc_int(d, o, "bytes_received", v->sum.bytes_received);
	doc_int(d, o, "bytes_sent", v->sum.bytes_sent);
	doc_put(d, o, "responses", responses_json(d, v));
	return o;
}

/* Errors of all routes, by type. */
static void add_errors(struct doc *d, json_t *o, const struct status_view *v)
{
	static const char *const names[] = {
#define SHM_ERROR(sym, word, counter, text) counter,
#include "shm/errors.def"
#undef SHM_ERROR
	};
	uint64_t sum[SHM_ERR_COUNT] = {0};
	size_t n = 0;
	struct status_series *list = status_errors(v, &n);

	if (!list)
		d->failed = true;
	for (size_t i = 0; i < n; i++)
		sum[list[i].of.code] += list[i].count;
	free(list);
	for (int i = 0; i < SHM_ERR_COUNT; i++)
		doc_int(d, o, names[i], sum[i]);
}

/* Every counter under the name that it has in its table. */
static json_t *counters_json(struct doc *d, const struct status_view *v)
{
	json_t *o = json_object();

#define SHM_COUNTER(name, help) doc_int(d, o, #name, v->sum.name);
#include "shm/counters.def"
#undef SHM_COUNTER
	add_errors(d, o, v);
	return o;
}

static json_t *latency_json(struct doc *d, const struct shm_hist_sum *h)
{
	static const struct { const char *name; double q; } quantiles[] = {
		{"p50", 0.5}, {"p95", 0.95}, {"p99", 0.99}, {"max", 1.0}
	};
	json_t *o = json_object();

	for (size_t i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++)
		doc_real(d, o, quantiles[i].name,
			 (double)shm_hist_quantile_us(h, quantiles[i].q) / 1e3);
	return o;
}

static json_t *all_latency_json(struct doc *d, const struct status_view *v)
{
	struct shm_hist_sum sum = {0};
	char name[SHM_ROUTE_NAME_MAX];

	for (uint32_t i = 0; i < v->shm->geo.routes; i++)
		if (i == 0 || shm_route_name(v->shm, i, name))
			status_latency(v, i, &sum);
	return latency_json(d, &sum);
}

/* ---- histories ---- */

static json_t *exit_request_json(struct doc *d, const struct shm_exit *e)
{
	json_t *o;

	if (e->request_id[0] == '\0')
		return json_null();
	o = json_object();
	doc_text(d, o, "id", e->request_id);
	doc_text(d, o, "method", e->method);
	doc_text(d, o, "path", e->path);
	doc_text(d, o, "client", e->client);
	return o;
}

static json_t *exit_json(struct doc *d, const struct shm_exit *e)
{
	const char *abbrev = e->signal > 0 ? sigabbrev_np(e->signal) : NULL;
	json_t *o = json_object();
	char name[16];

	doc_time(d, o, "time", e->wall_ns);
	doc_put(d, o, "pid", json_integer(e->pid));
	doc_int(d, o, "slot", e->slot);
	doc_text(d, o, "kind", e->kind == SHM_KEEPER ? "keeper" : "worker");
	doc_int(d, o, "generation", e->generation);
	doc_text(d, o, "reason", e->reason);
	if (e->signal > 0) {
		snprintf(name, sizeof(name), abbrev ? "SIG%s" : "%s", abbrev ? abbrev : "unknown");
		doc_text(d, o, "signal", name);
		doc_put(d, o, "code", json_null());
	} else {
		doc_put(d, o, "signal", json_null());
		doc_put(d, o, "code", json_integer(e->code));
	}
	doc_bool(d, o, "oom", e->oom != 0);
	doc_real(d, o, "age_seconds", to_s(e->age_ns));
	doc_int(d, o, "requests", e->requests);
	doc_text(d, o, "note", e->note[0] != '\0' ? e->note : NULL);
	doc_put(d, o, "request", exit_request_json(d, e));
	return o;
}

static json_t *exits_json(struct doc *d, const struct status_view *v)
{
	json_t *list = json_array();
	struct shm_exit e;

	for (uint32_t i = 0; i < EXITS_SHOWN && i < v->shm->geo.exits; i++)
		if (shm_exit_read(v->shm, i, &e))
			doc_add(d, list, exit_json(d, &e));
	return list;
}

static json_t *event_json(struct doc *d, const struct shm_event *e)
{
	json_t *o = json_object();

	doc_time(d, o, "time", e->wall_ns);
	doc_text(d, o, "kind", e->kind);
	doc_text(d, o, "text", e->text);
	return o;
}

static json_t *events_json(struct doc *d, const struct status_view *v)
{
	json_t *list = json_array();
	struct shm_event e;

	for (uint32_t i = 0; i < EVENTS_SHOWN && i < v->shm->geo.events; i++)
		if (shm_event_read(v->shm, i, &e))
			doc_add(d, list, event_json(d, &e));
	return list;
}

/* ---- /status ---- */

static json_t *shm_json(struct doc *d, const struct status_view *v)
{
	json_t *o = json_object(), *list = json_array();
	struct shm_usage lines[SHM_SECTIONS_MAX];
	size_t n = shm_usage(v->shm, lines, SHM_SECTIONS_MAX);

	doc_text(d, o, "name", v->shm->name);
	doc_int(d, o, "size_bytes", v->shm->size);
	for (size_t i = 0; i < n; i++) {
		json_t *s = json_object();

		doc_text(d, s, "name", lines[i].section);
		doc_int(d, s, "used_bytes", lines[i].used_bytes);
		doc_int(d, s, "capacity_bytes", lines[i].bytes);
		doc_add(d, list, s);
	}
	doc_put(d, o, "sections", list);
	return o;
}

static json_t *config_json(struct doc *d, const struct status_view *v)
{
	json_t *o = json_object();

	doc_text(d, o, "file", v->h->conf->file);
	doc_put(d, o, "last_error",
		v->has_reload_error ? event_json(d, &v->reload_error) : json_null());
	return o;
}

static json_t *listeners_json(struct doc *d, const struct status_view *v)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < v->h->nlisteners; i++)
		doc_add(d, list, json_string(v->h->listeners[i].url));
	return list;
}

static const char *instance_state_name(uint32_t state)
{
	switch (state) {
	case SHM_IN_BOOT: return "booting";
	case SHM_IN_RUN: return "running";
	case SHM_IN_RELOAD: return "reloading";
	case SHM_IN_STOP: return "stopping";
	}
	return "unknown";
}

static json_t *master_json(struct doc *d, const struct shm_instance *in)
{
	json_t *o = json_object();

	doc_put(d, o, "pid", json_integer(shm_get(&in->master_pid)));
	doc_text(d, o, "state", instance_state_name(shm_get(&in->state)));
	doc_int(d, o, "workers_wanted", shm_get(&in->workers_wanted));
	return o;
}

bool status_make_status(const struct heritage *h, struct strbuf *out, int *status)
{
	const struct shm_instance *in = h->shm->inst;
	json_t *root = json_object();
	struct doc d = {false};
	struct status_view v;

	(void)status;
	status_view(&v, h);
	doc_text(&d, root, "server", "capricorn");
	doc_text(&d, root, "version", PACKAGE_VERSION);
	doc_time(&d, root, "time", v.wall_ns);
	doc_real(&d, root, "uptime_seconds", to_s(v.uptime_ns));
	doc_int(&d, root, "generation", shm_get(&in->generation));
	doc_put(&d, root, "listeners", listeners_json(&d, &v));
	doc_put(&d, root, "master", master_json(&d, in));
	doc_put(&d, root, "workers", workers_json(&d, &v));
	doc_put(&d, root, "keeper", keeper_json(&d, &v));
	doc_put(&d, root, "totals", totals_json(&d, &v));
	doc_put(&d, root, "latency_ms", all_latency_json(&d, &v));
	doc_put(&d, root, "module", status_module_json(&d, &v));
	doc_put(&d, root, "semaphores", status_semaphores_json(&d, &v));
	doc_put(&d, root, "rate_limits", status_rates_json(&d, &v));
	doc_put(&d, root, "cache", status_cache_json(&d, &v));
	doc_put(&d, root, "shm", shm_json(&d, &v));
	doc_put(&d, root, "config", config_json(&d, &v));
	doc_put(&d, root, "exits", exits_json(&d, &v));
	doc_put(&d, root, "events", events_json(&d, &v));
	return doc_end(&d, root, out);
}

/* ---- stats ---- */

static json_t *route_json(struct doc *d, const struct status_view *v, uint32_t route,
			  const char *name, const struct status_series *list, size_t n)
{
	json_t *o = json_object(), *codes = json_object();
	struct shm_hist_sum sum = {0};
	uint64_t requests = 0, by_code[1000] = {0};
	char code[8];

	for (size_t i = 0; i < n; i++) {
		if (list[i].of.route != route)
			continue;
		requests += list[i].count;
		by_code[list[i].of.code % 1000] += list[i].count;
	}
	for (unsigned i = 0; i < 1000; i++) {
		if (by_code[i] == 0)
			continue;
		snprintf(code, sizeof(code), "%u", i);
		doc_int(d, codes, code, by_code[i]);
	}
	status_latency(v, route, &sum);
	doc_text(d, o, "route", name);
	doc_int(d, o, "requests", requests);
	doc_put(d, o, "codes", codes);
	doc_put(d, o, "latency_ms", latency_json(d, &sum));
	return o;
}

static json_t *routes_json(struct doc *d, const struct status_view *v)
{
	size_t n = 0;
	struct status_series *list = status_series(v, &n);
	json_t *routes = json_array();
	char name[SHM_ROUTE_NAME_MAX];

	if (!list)
		d->failed = true;
	for (uint32_t i = 0; list && i < v->shm->geo.routes; i++) {
		if (i == 0)
			doc_add(d, routes, route_json(d, v, 0, "other", list, n));
		else if (shm_route_name(v->shm, i, name))
			doc_add(d, routes, route_json(d, v, i, name, list, n));
	}
	free(list);
	return routes;
}

bool status_make_stats(const struct heritage *h, struct strbuf *out, int *status)
{
	json_t *root = json_object();
	struct doc d = {false};
	struct status_view v;
	double uptime;

	(void)status;
	status_view(&v, h);
	uptime = (double)v.uptime_ns / 1e9;
	doc_real(&d, root, "uptime_seconds", to_s(v.uptime_ns));
	doc_real(&d, root, "requests_per_second",
		 uptime > 0 ? (double)v.sum.requests / uptime : 0.0);
	doc_int(&d, root, "connections_open", v.connections);
	doc_int(&d, root, "in_flight", v.in_flight);
	doc_put(&d, root, "totals", totals_json(&d, &v));
	doc_put(&d, root, "latency_ms", all_latency_json(&d, &v));
	doc_put(&d, root, "routes", routes_json(&d, &v));
	doc_put(&d, root, "counters", counters_json(&d, &v));
	return doc_end(&d, root, out);
}

/* ---- active requests ---- */

struct active {
	uint32_t slot;
	int32_t pid;
	struct shm_row_view row;
};

static int oldest_first(const void *a, const void *b)
{
	const struct active *x = a, *y = b;

	return x->row.since_ns < y->row.since_ns ? -1 : x->row.since_ns > y->row.since_ns;
}

/* The rows of all processes, ACTIVE_SHOWN at most; *ret_total is how many there are. */
static size_t collect_rows(const struct status_view *v, struct active *list, uint64_t *ret_total)
{
	struct shm_row_view row;
	struct status_slot s;
	size_t n = 0;

	for (uint32_t i = 0; i < v->shm->geo.slots; i++) {
		if (!status_slot(v, i, i == 0 ? SHM_KEEPER : SHM_WORKER, false, &s))
			continue;
		for (uint32_t r = 0; r < v->shm->geo.rows; r++) {
			if (!shm_row_read(shm_row(v->shm, i, r), &row))
				continue;
			if (n < ACTIVE_SHOWN)
				list[n++] = (struct active){i, s.pid, row};
			(*ret_total)++;
		}
	}
	qsort(list, n, sizeof(*list), oldest_first);
	return n;
}

bool status_make_active(const struct heritage *h, struct strbuf *out, int *status)
{
	struct active *list = malloc(ACTIVE_SHOWN * sizeof(*list));
	json_t *root, *requests;
	struct doc d = {false};
	struct status_view v;
	uint64_t total = 0;
	size_t n;

	(void)status;
	if (!list)
		return false;
	root = json_object();
	requests = json_array();
	status_view(&v, h);
	n = collect_rows(&v, list, &total);
	for (size_t i = 0; i < n; i++) {
		json_t *o = row_json(&d, &v, &list[i].row);

		doc_int(&d, o, "slot", list[i].slot);
		doc_put(&d, o, "pid", json_integer(list[i].pid));
		doc_add(&d, requests, o);
	}
	free(list);
	doc_int(&d, root, "total", total);
	doc_bool(&d, root, "truncated", total > n);
	doc_put(&d, root, "requests", requests);
	return doc_end(&d, root, out);
}

/* ---- slow requests ---- */

/* "request=ID method=GET path=/x client=ADDRESS age=1.2s ...": the master's line (report.c
 * there). A path may hold anything; what cannot be told apart stays in the text. */
static void slow_fields(struct doc *d, json_t *o, const char *text)
{
	char id[49] = "", method[17] = "", path[129] = "", client[49] = "";
	const char *from = strstr(text, " path="), *to = from ? strstr(from, " client=") : NULL;

	(void)sscanf(text, "request=%48s method=%16s", id, method);
	if (to && (size_t)(to - from - 6) < sizeof(path))
		memcpy(path, from + 6, (size_t)(to - from - 6));
	if (to)
		(void)sscanf(to, " client=%48s", client);
	doc_text(d, o, "id", id);
	doc_text(d, o, "method", method[0] ? method : NULL);
	doc_text(d, o, "path", path[0] ? path : NULL);
	doc_text(d, o, "client", client[0] ? client : NULL);
}

/* The newest requests that held a loop or a thread for SLOW_REQUEST_THRESHOLD, and where they were
 * found at. What was slow without holding anything is in the error log. */
bool status_make_slow(const struct heritage *h, struct strbuf *out, int *status)
{
	json_t *root = json_object(), *requests = json_array();
	struct doc d = {false};
	struct status_view v;
	struct shm_event e;

	(void)status;
	status_view(&v, h);
	for (uint32_t i = 0; i < v.shm->geo.events; i++) {
		bool at, slow;
		json_t *o;

		if (!shm_event_read(v.shm, i, &e))
			continue;
		slow = strcmp(e.kind, "slow_request") == 0 || strcmp(e.kind, "stuck_request") == 0;
		at = strcmp(e.kind, "slow_at") == 0 || strcmp(e.kind, "stuck_at") == 0;
		if (!slow && !at)
			continue;
		o = json_object();
		doc_time(&d, o, "time", e.wall_ns);
		doc_text(&d, o, "kind", e.kind);
		if (slow)
			slow_fields(&d, o, e.text);
		doc_text(&d, o, "text", e.text);
		doc_add(&d, requests, o);
	}
	doc_int(&d, root, "slow_total", v.sum.slow_requests);
	doc_real(&d, root, "threshold_seconds", (double)h->conf->s.slow_request_threshold / 1e3);
	doc_bool(&d, root, "logged", h->conf->s.log_slow_requests);
	doc_put(&d, root, "requests", requests);
	return doc_end(&d, root, out);
}
