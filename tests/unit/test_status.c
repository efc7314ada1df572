/* SPDX-License-Identifier: MIT */
/* The documents of the built-in API, from a segment made by hand and from one full of garbage. */
#include "tests/unit/shm_help.h"

#include <jansson.h>

#include "conf/conf.h"
#include "status/status.h"

static const struct shm_geometry geo = {
	.slots = 5, .rows = 8, .routes = 4, .series = 64, .errors = 32,
	.ring_bytes = 512,
	.exits = 4, .events = 8, .module_metrics = 8, .module_hists = 2,
};

struct fixture {
	struct shm shm;
	struct conf conf;
	struct heritage h;
	struct heritage_listener listener;
	struct net_addr client;
	struct status_request rq;
	struct status_reply reply;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	fake_init(&f->shm, &geo);
	assert_true(net_cidr_parse(&f->conf.status_allow, SLICE("127.0.0.0/8")));
	f->conf.s.status_prefix = "";
	f->conf.s.worker_timeout = 120000;
	f->listener.url = "http://127.0.0.1:8000";
	f->h = (struct heritage){.conf = &f->conf, .shm = &f->shm, .nlisteners = 1,
				 .listeners = &f->listener};
	shm_set(&f->shm.inst->started_ns, clock_mono_ns() - 10 * NS_PER_S);
	shm_set(&f->shm.inst->started_wall_ns, clock_wall_ns() - 10 * NS_PER_S);
	f->client = (struct net_addr){.family = NET_V4, .bytes = {127, 0, 0, 1}};
	f->rq = (struct status_request){
		.method = HTTP_M_GET, .client = &f->client, .peer = &f->client,
		.host = SLICE("localhost"), .request_id = SLICE("test-1"),
	};
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	status_reply_fini(&f->reply);
	net_cidrs_fini(&f->conf.status_allow);
	fake_fini(&f->shm);
	free(f);
	return 0;
}

static void ask(struct fixture *f, const char *path)
{
	status_reply_fini(&f->reply);
	f->rq.path = slice_of(path);
	status_answer(&f->h, &f->rq, &f->reply);
	assert_non_null(f->reply.body.p);
	assert_int_equal(strlen(f->reply.body.p), f->reply.body.len);
}

static json_t *ask_json(struct fixture *f, const char *path, int status)
{
	json_error_t err;
	json_t *doc;

	ask(f, path);
	assert_int_equal(f->reply.status, status);
	doc = json_loads(f->reply.body.p, JSON_REJECT_DUPLICATES, &err);
	assert_non_null(doc);
	return doc;
}

static struct shm_slot *start(struct fixture *f, enum shm_kind kind, enum shm_phase phase)
{
	int i = shm_slot_claim(&f->shm, kind, 1, clock_mono_ns());
	struct shm_slot *s;

	assert_true(i >= 0);
	s = shm_slot(&f->shm, (uint32_t)i);
	shm_set(&s->pid, 1000 + i);
	shm_set(&s->heartbeat_ns, clock_mono_ns());
	shm_set(&s->phase, phase);
	return s;
}

/* A keeper and two workers, both wanted. */
static void populate(struct fixture *f, struct shm_slot *worker[2])
{
	(void)start(f, SHM_KEEPER, SHM_PH_READY);
	worker[0] = start(f, SHM_WORKER, SHM_PH_READY);
	worker[1] = start(f, SHM_WORKER, SHM_PH_READY);
	shm_set(&f->shm.inst->workers_wanted, 2);
	shm_set(&f->shm.inst->state, SHM_IN_RUN);
	shm_set(&f->shm.inst->generation, 1);
	shm_set(&f->shm.inst->master_pid, 999);
	assert_int_equal(shm_route_intern(&f->shm, "/echo", 1), 1);
}

static json_int_t number(json_t *o, const char *key)
{
	json_t *v = json_object_get(o, key);

	assert_true(json_is_number(v));
	return (json_int_t)json_number_value(v);
}

static const char *text(json_t *o, const char *key)
{
	json_t *v = json_object_get(o, key);

	assert_true(json_is_string(v));
	return json_string_value(v);
}

static void test_match(void **state)
{
	static const char *const yes[] = {"/health", "/livez", "/readyz", "/status", "/metrics",
		"/dashboard", "/api/v1/performance/alerts/thresholds", "/api/v1/control/workers",
		"/api/v1/control/semaphores/llm"};
	static const char *const no[] = {"/", "/echo", "/healthz", "/status/", "/Status", "", "x",
		"/api/v1/control/semaphores/", "/api/v1/control/semaphores/a/b", "/statu"};
	struct fixture *f = *state;
	struct slice rest;
	char path[128];

	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
		assert_true(status_match(&f->conf, false, slice_of(yes[i]), &rest));
		assert_true(slice_eq(rest, slice_of(yes[i])));
		f->conf.s.status_prefix = "/_capricorn";
		assert_false(status_match(&f->conf, false, slice_of(yes[i]), &rest));
		assert_true(status_match(&f->conf, true, slice_of(yes[i]), &rest));
		strcpy(stpcpy(path, "/_capricorn"), yes[i]);
		assert_true(status_match(&f->conf, false, slice_of(path), &rest));
		assert_true(slice_eq(rest, slice_of(yes[i])));
		f->conf.s.status_prefix = "";
	}
	for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
		assert_false(status_match(&f->conf, false, slice_of(no[i]), &rest));
}

static void test_status(void **state)
{
	struct fixture *f = *state;
	struct shm_exit e = {.pid = 77, .slot = 2, .signal = 9, .kind = SHM_WORKER,
			     .reason = "killed", .request_id = "abc", .method = "GET",
			     .path = "/x\xff", .client = "1.2.3.4"};
	struct shm_slot *w[2];
	json_t *doc, *o;

	populate(f, w);
	shm_row_begin(shm_row(&f->shm, 1, 3), SLICE("id-7"), SLICE("POST"), SLICE("/slow"), "9.9.9.9",
		      clock_mono_ns() - 2 * NS_PER_S);
	shm_row_state(shm_row(&f->shm, 1, 3), SHM_ROW_HANDLING);
	shm_set(&w[0]->in_flight, 1);
	shm_add(&w[0]->c.requests, 5);
	shm_add(&shm_slot(&f->shm, 4)->c.requests, 7); /* a slot that is free counts, too */
	shm_add(&w[1]->c.responses_2xx, 12);
	shm_exit_add(&f->shm, &e);
	shm_event_add(&f->shm, "reload_failed", "capricorn.yaml:1: no");
	doc = ask_json(f, "/status", 200);
	assert_string_equal(f->reply.content_type, "application/json");
	assert_true(f->reply.no_store);
	assert_string_equal(text(doc, "server"), "capricorn");
	assert_string_equal(text(doc, "version"), PACKAGE_VERSION);
	assert_int_equal(number(doc, "uptime_seconds"), 10);
	assert_int_equal(number(json_object_get(doc, "master"), "pid"), 999);
	assert_int_equal(json_array_size(json_object_get(doc, "workers")), 2);
	o = json_array_get(json_object_get(doc, "workers"), 0);
	assert_string_equal(text(o, "state"), "ready");
	assert_int_equal(number(o, "pid"), 1001);
	o = json_object_get(o, "request");
	assert_string_equal(text(o, "id"), "id-7");
	assert_string_equal(text(o, "method"), "POST");
	assert_string_equal(text(o, "path"), "/slow");
	assert_in_range(number(o, "age_ms"), 2000, 60000);
	o = json_array_get(json_object_get(doc, "workers"), 1);
	assert_true(json_is_null(json_object_get(o, "request")));
	assert_int_equal(number(json_object_get(doc, "keeper"), "slot"), 0);
	o = json_object_get(doc, "totals");
	assert_int_equal(number(o, "requests"), 12);
	assert_int_equal(number(json_object_get(o, "responses"), "2xx"), 12);
	o = json_array_get(json_object_get(doc, "exits"), 0);
	assert_string_equal(text(o, "signal"), "SIGKILL");
	assert_true(json_is_null(json_object_get(o, "code")));
	assert_string_equal(text(json_object_get(o, "request"), "path"), "/x\xef\xbf\xbd");
	o = json_object_get(json_object_get(doc, "config"), "last_error");
	assert_string_equal(text(o, "text"), "capricorn.yaml:1: no");
	o = json_object_get(doc, "shm");
	assert_int_equal(number(o, "size_bytes"), f->shm.size);
	assert_true(json_array_size(json_object_get(o, "sections")) >= 5);
	assert_true(json_is_array(json_object_get(doc, "semaphores")));
	assert_true(json_is_array(json_object_get(doc, "rate_limits")));
	assert_true(json_is_object(json_object_get(doc, "cache")));
	assert_string_equal(json_string_value(json_array_get(json_object_get(doc, "listeners"), 0)),
			    "http://127.0.0.1:8000");
	json_decref(doc);
}

static void check_health(struct fixture *f, int status, const char *word)
{
	json_t *doc = ask_json(f, "/health", status);

	assert_string_equal(text(doc, "status"), word);
	json_decref(doc);
}

static void test_health(void **state)
{
	struct fixture *f = *state;
	struct shm_slot *w[2];

	check_health(f, 503, "unhealthy");
	ask(f, "/readyz");
	assert_int_equal(f->reply.status, 503);
	ask(f, "/livez");
	assert_int_equal(f->reply.status, 200);
	populate(f, w);
	check_health(f, 200, "healthy");
	ask(f, "/readyz");
	assert_int_equal(f->reply.status, 200);
	shm_set(&w[0]->heartbeat_ns, clock_mono_ns() - 6 * NS_PER_S);
	check_health(f, 200, "degraded");
	shm_set(&w[0]->heartbeat_ns, clock_mono_ns());
	check_health(f, 200, "healthy");
	shm_set(&w[0]->stuck, 1);
	check_health(f, 200, "degraded");
	shm_set(&w[1]->phase, SHM_PH_DRAINING);
	check_health(f, 503, "unhealthy");
	shm_set(&w[0]->stuck, 0);
	shm_set(&w[1]->phase, SHM_PH_READY);
	shm_set(&shm_slot(&f->shm, 0)->kind, SHM_FREE);
	check_health(f, 200, "degraded");
	shm_set(&shm_slot(&f->shm, 0)->kind, SHM_KEEPER);
	shm_event_add(&f->shm, "reload_failed", "why");
	shm_event_add(&f->shm, "worker_timeout", "not of a reload");
	check_health(f, 200, "degraded");
	shm_event_add(&f->shm, "reload", "went well");
	check_health(f, 200, "healthy");
	shm_set(&f->shm.inst->state, SHM_IN_STOP);
	ask(f, "/readyz");
	assert_int_equal(f->reply.status, 503);
}

static void test_stats(void **state)
{
	struct fixture *f = *state;
	struct shm_slot *w[2];
	json_t *doc, *o;

	populate(f, w);
	shm_series_add(&f->shm, 1, 1, HTTP_M_POST, 200, 3);
	shm_series_add(&f->shm, 2, 1, HTTP_M_POST, 200, 4);
	shm_series_add(&f->shm, 2, 1, HTTP_M_GET, 405, 1);
	shm_hist_add(shm_hist_of(&f->shm, 1, 1), 1000, 99);
	shm_hist_add(shm_hist_of(&f->shm, 2, 1), 1000000, 1);
	doc = ask_json(f, "/api/v1/performance/stats", 200);
	assert_int_equal(json_array_size(json_object_get(doc, "routes")), 2);
	o = json_array_get(json_object_get(doc, "routes"), 1);
	assert_string_equal(text(o, "route"), "/echo");
	assert_int_equal(number(o, "requests"), 8);
	assert_int_equal(number(json_object_get(o, "codes"), "200"), 7);
	assert_int_equal(number(json_object_get(o, "codes"), "405"), 1);
	o = json_object_get(doc, "latency_ms");
	assert_in_range(number(o, "p50"), 0, 2);
	assert_in_range(number(o, "max"), 999, 1200);
	assert_true(json_is_object(json_object_get(doc, "counters")));
	json_decref(doc);
}

static void test_active(void **state)
{
	struct fixture *f = *state;
	struct shm_slot *w[2];
	json_t *doc, *list;

	populate(f, w);
	shm_row_begin(shm_row(&f->shm, 1, 0), SLICE("young"), SLICE("GET"), SLICE("/b"), "::1",
		      clock_mono_ns() - NS_PER_S);
	shm_row_begin(shm_row(&f->shm, 2, 7), SLICE("old"), SLICE("GET"), SLICE("/a"), "::1",
		      clock_mono_ns() - 2 * NS_PER_S);
	doc = ask_json(f, "/api/v1/performance/active-requests", 200);
	list = json_object_get(doc, "requests");
	assert_int_equal(number(doc, "total"), 2);
	assert_int_equal(json_array_size(list), 2);
	assert_string_equal(text(json_array_get(list, 0), "id"), "old");
	assert_int_equal(number(json_array_get(list, 0), "pid"), 1002);
	assert_string_equal(text(json_array_get(list, 1), "id"), "young");
	json_decref(doc);
}

static void test_slow_requests(void **state)
{
	struct fixture *f = *state;
	json_t *doc, *list;

	shm_event_add(&f->shm, "slow_request", "request=one method=GET path=/a b client=::1 age=1.5s "
		      "state=handling pid=7 held=1.2s");
	shm_event_add(&f->shm, "slow_at", "pid:7 spin+0x12 (app.so)");
	shm_event_add(&f->shm, "reload", "all new workers are ready");
	shm_event_add(&f->shm, "stuck_request", "request=none");
	doc = ask_json(f, "/api/v1/performance/slow-requests", 200);
	list = json_object_get(doc, "requests");
	assert_int_equal(json_array_size(list), 3);
	assert_string_equal(text(json_array_get(list, 0), "kind"), "stuck_request");
	assert_true(json_is_null(json_object_get(json_array_get(list, 0), "path")));
	assert_string_equal(text(json_array_get(list, 1), "text"), "pid:7 spin+0x12 (app.so)");
	assert_string_equal(text(json_array_get(list, 2), "id"), "one");
	assert_string_equal(text(json_array_get(list, 2), "method"), "GET");
	assert_string_equal(text(json_array_get(list, 2), "path"), "/a b");
	assert_string_equal(text(json_array_get(list, 2), "client"), "::1");
	json_decref(doc);
}

/* The value of a line of /metrics that begins so. */
static double metric(struct fixture *f, const char *series)
{
	size_t len = strlen(series);
	const char *p = f->reply.body.p;

	while (p) {
		if (strncmp(p, series, len) == 0 && p[len] == ' ')
			return strtod(p + len, NULL);
		p = strchr(p, '\n');
		p = p ? p + 1 : NULL;
	}
	fail_msg("no such series: %s", series);
	return 0;
}

static void test_metrics(void **state)
{
	struct fixture *f = *state;
	struct shm_slot *w[2];

	populate(f, w);
	shm_add(&w[0]->c.accepted, 3);
	shm_add(&w[0]->c.busy_ns, 2500000000u);
	shm_set(&w[1]->in_flight, 2);
	shm_series_add(&f->shm, 1, 1, HTTP_M_POST, 200, 3);
	shm_series_add(&f->shm, 2, 1, HTTP_M_POST, 200, 4);
	shm_hist_add(shm_hist_of(&f->shm, 1, 1), 127, 2);
	shm_hist_add(shm_hist_of(&f->shm, 2, 1), 128, 1);
	shm_hist_add(shm_hist_of(&f->shm, 2, 1), UINT64_C(1) << 40, 1);
	ask(f, "/metrics");
	assert_int_equal(f->reply.status, 200);
	assert_string_equal(f->reply.content_type, "text/plain; version=0.0.4; charset=utf-8");
	assert_true(metric(f, "capricorn_connections_accepted_total") == 3);
	assert_true(metric(f, "capricorn_loop_busy_seconds_total") == 2.5);
	assert_true(metric(f, "capricorn_http_requests_in_flight") == 2);
	assert_true(metric(f, "capricorn_http_requests_total{route=\"/echo\",method=\"POST\","
			      "code=\"200\"}") == 7);
	assert_true(metric(f, "capricorn_http_request_duration_seconds_bucket{route=\"/echo\","
			      "le=\"0.000127\"}") == 2);
	assert_true(metric(f, "capricorn_http_request_duration_seconds_bucket{route=\"/echo\","
			      "le=\"0.000255\"}") == 3);
	assert_true(metric(f, "capricorn_http_request_duration_seconds_bucket{route=\"/echo\","
			      "le=\"134.217727\"}") == 3);
	assert_true(metric(f, "capricorn_http_request_duration_seconds_bucket{route=\"/echo\","
			      "le=\"+Inf\"}") == 4);
	assert_true(metric(f, "capricorn_http_request_duration_seconds_count{route=\"/echo\"}") ==
		    4);
	assert_true(metric(f, "capricorn_worker_up{slot=\"1\"}") == 1);
	assert_true(metric(f, "capricorn_worker_restarts_total{reason=\"killed\"}") == 0);
	assert_true(metric(f, "capricorn_build_info{version=\"" PACKAGE_VERSION "\"}") == 1);
	assert_null(strstr(f->reply.body.p, "capricorn_cache_requests_total")); /* no samples yet */
	shm_set(&w[0]->heartbeat_ns, clock_mono_ns() - 60 * NS_PER_S);
	ask(f, "/metrics");
	assert_true(metric(f, "capricorn_worker_up{slot=\"1\"}") == 0);
}

static uint32_t times_in(const struct fixture *f, const char *what)
{
	uint32_t n = 0;

	for (const char *p = f->reply.body.p; (p = strstr(p, what)); p++)
		n++;
	return n;
}

static void test_errors(void **state)
{
	struct fixture *f = *state;
	struct shm_slot *w[2];
	json_t *doc, *o;

	populate(f, w);
	shm_error_add(&f->shm, 1, 1, SHM_ERR_CLIENT_GONE);
	shm_error_add(&f->shm, 2, 1, SHM_ERR_CLIENT_GONE);
	shm_error_add(&f->shm, 2, 0, SHM_ERR_CLIENT_GONE);
	shm_error_add(&f->shm, 2, 0, SHM_ERR_BAD_REQUEST);
	ask(f, "/metrics");
	assert_true(metric(f, "capricorn_errors_total{route=\"/echo\",type=\"client_gone\"}") == 2);
	assert_true(metric(f, "capricorn_errors_total{route=\"other\",type=\"client_gone\"}") == 1);
	assert_true(metric(f, "capricorn_errors_total{route=\"other\",type=\"bad_request\"}") == 1);
	assert_true(metric(f, "capricorn_errors_total{route=\"other\",type=\"loop_held\"}") == 0);
	assert_int_equal(times_in(f, "\ncapricorn_errors_total{"), SHM_ERR_COUNT + 1);
	doc = ask_json(f, "/api/v1/performance/stats", 200);
	o = json_object_get(doc, "counters");
	assert_int_equal(number(o, "client_gone"), 3);
	assert_int_equal(number(o, "bad_requests"), 1);
	assert_int_equal(number(o, "timeouts_header"), 0);
	assert_int_equal(number(o, "timeouts_body"), 0);
	assert_int_equal(number(o, "timeouts_write"), 0);
	assert_int_equal(number(o, "timeouts_request"), 0);
	json_decref(doc);
}

/* Two workers, one of which is gone, with a counter of two series, a gauge and a histogram. */
static void make_module(struct fixture *f)
{
	static const struct { enum shm_metric_kind kind; const char *name, *labels, *help; } m[] = {
		{SHM_MK_COUNTER, "b_total", "k=\"2\"", "Of b: \\ and\nmore."},
		{SHM_MK_GAUGE, "a", NULL, NULL},
		{SHM_MK_COUNTER, "b_total", "k=\"1\"", "Not shown."},
		{SHM_MK_HISTOGRAM, "c_seconds", NULL, "Times."},
		{SHM_MK_HISTOGRAM, "c_seconds", "k=\"v\"", "Times."},
	};
	uint32_t at[5];

	for (int i = 0; i < 5; i++)
		assert_int_equal(shm_module_intern(&f->shm, m[i].kind, m[i].name, m[i].labels,
						   m[i].help, 1, &at[i]), 0);
	for (uint32_t slot = 1; slot <= 2; slot++) {
		shm_set(shm_module_cell(&f->shm, slot, at[0]), 10 * slot);
		shm_set(shm_module_cell(&f->shm, slot, at[1]), (uint64_t)-4);
		shm_hist_add_shared(shm_module_hist(&f->shm, slot, at[3]), 1000000, slot);
	}
	shm_set(&shm_slot(&f->shm, 2)->kind, SHM_FREE);
}

static void test_module(void **state)
{
	struct fixture *f = *state;
	struct shm_slot *w[2];
	json_t *doc, *list, *o;

	populate(f, w);
	doc = ask_json(f, "/status", 200);
	list = json_object_get(json_object_get(doc, "module"), "metrics");
	assert_true(json_is_array(list));
	assert_int_equal(json_array_size(list), 0);
	json_decref(doc);
	make_module(f);
	ask(f, "/metrics");
	assert_int_equal(times_in(f, "# TYPE b_total counter\n"), 1);
	assert_int_equal(times_in(f, "# HELP b_total Of b: \\\\ and\\nmore.\n"), 1);
	assert_int_equal(times_in(f, "# TYPE a gauge\n"), 1);
	assert_int_equal(times_in(f, "# TYPE c_seconds histogram\n"), 1);
	/* The series of a name stand together, and all of them behind ours. */
	assert_non_null(strstr(f->reply.body.p, "b_total{k=\"1\"} 0\nb_total{k=\"2\"} 30\n"));
	assert_null(strstr(strstr(f->reply.body.p, "# HELP a "), "capricorn_"));
	assert_true(metric(f, "a") == -4); /* the share of the dead one is gone */
	assert_true(metric(f, "c_seconds_count") == 3);
	assert_true(metric(f, "c_seconds_sum") == 3);
	assert_true(metric(f, "c_seconds_bucket{le=\"0.524287\"}") == 0);
	assert_true(metric(f, "c_seconds_bucket{le=\"1.048575\"}") == 3);
	assert_true(metric(f, "c_seconds_bucket{k=\"v\",le=\"+Inf\"}") == 0);
	assert_true(metric(f, "c_seconds_count{k=\"v\"}") == 0);

	doc = ask_json(f, "/status", 200);
	list = json_object_get(json_object_get(doc, "module"), "metrics");
	assert_int_equal(json_array_size(list), 5);
	o = json_array_get(list, 0);
	assert_string_equal(text(o, "name"), "b_total");
	assert_string_equal(text(o, "labels"), "k=\"2\"");
	assert_string_equal(text(o, "kind"), "counter");
	assert_int_equal(number(o, "value"), 30);
	assert_true(json_is_true(json_object_get(o, "current")));
	o = json_array_get(list, 1);
	assert_int_equal(number(o, "value"), -4);
	o = json_array_get(list, 3);
	assert_string_equal(text(o, "kind"), "histogram");
	assert_int_equal(number(o, "count"), 3);
	assert_int_equal(number(o, "sum"), 3);
	assert_true(json_real_value(json_object_get(o, "p50")) >= 1 &&
		    json_real_value(json_object_get(o, "p99")) < 1.2);
	json_decref(doc);

	/* A generation that has no use for them: they are shown, and said to be of the past. */
	shm_set(&f->shm.inst->generation, 2);
	doc = ask_json(f, "/status", 200);
	list = json_object_get(json_object_get(doc, "module"), "metrics");
	assert_true(json_is_false(json_object_get(json_array_get(list, 0), "current")));
	json_decref(doc);
}

static void test_refusals(void **state)
{
	static const char *const later[] = {"/dashboard", "/api/v1/performance/dashboard",
		"/api/v1/performance/operations", "/api/v1/performance/alerts",
		"/api/v1/performance/alerts/thresholds", "/api/v1/performance/resource-usage"};
	struct fixture *f = *state;
	json_t *doc;

	for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++) {
		doc = ask_json(f, later[i], 501);
		assert_string_equal(f->reply.content_type, "application/problem+json");
		assert_string_equal(text(doc, "request_id"), "test-1");
		assert_int_equal(number(doc, "status"), 501);
		assert_non_null(strstr(text(doc, "detail"), "not built yet"));
		json_decref(doc);
	}
	f->rq.method = HTTP_M_POST;
	ask(f, "/status");
	assert_int_equal(f->reply.status, 405);
	assert_string_equal(f->reply.allow, "GET, HEAD");
	ask(f, "/health");
	assert_int_equal(f->reply.status, 405);
	f->rq.content_type = SLICE("application/json");
	ask(f, "/api/v1/control/workers");
	assert_int_equal(f->reply.status, 501);
	f->rq.content_type = SLICE("text/plain");
	ask(f, "/api/v1/control/workers");
	assert_int_equal(f->reply.status, 403);
	f->rq.method = HTTP_M_GET;
	ask(f, "/api/v1/control/cache/purge");
	assert_int_equal(f->reply.status, 405);
	assert_string_equal(f->reply.allow, "POST");
	ask(f, "/no-such-path");
	assert_int_equal(f->reply.status, 404);
	f->client.bytes[0] = 9;
	ask(f, "/health");
	assert_int_equal(f->reply.status, 503); /* open to all; there are no workers */
	doc = ask_json(f, "/dashboard", 403);
	assert_non_null(strstr(text(doc, "detail"), "STATUS_ALLOW"));
	assert_non_null(strstr(text(doc, "detail"), "9.0.0.1"));
	json_decref(doc);
	f->rq.accept = SLICE("text/plain");
	ask(f, "/status");
	assert_int_equal(f->reply.status, 403);
	assert_string_equal(f->reply.content_type, "text/plain; charset=utf-8");
	assert_int_equal(strncmp(f->reply.body.p, "403 Forbidden: ", 15), 0);
}

static void test_garbage(void **state)
{
	static const char *const paths[] = {"/health", "/livez", "/readyz", "/status", "/metrics",
		"/api/v1/performance/health", "/api/v1/performance/stats",
		"/api/v1/performance/active-requests"};
	struct fixture *f = *state;
	uint64_t seed = 20260131;

	for (int round = 0; round < 60; round++) {
		fill_random(f->shm.base, f->shm.size, &seed);
		for (uint32_t i = 0; i < geo.slots; i++) /* some of them look like processes */
			if (rnd(&seed) % 2)
				shm_set(&shm_slot(&f->shm, i)->kind,
					i == 0 ? SHM_KEEPER : SHM_WORKER);
		for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
			json_error_t err;
			json_t *doc;

			ask(f, paths[i]);
			assert_true(f->reply.status == 200 || f->reply.status == 503);
			if (strcmp(paths[i], "/metrics") == 0)
				continue;
			doc = json_loads(f->reply.body.p, 0, &err);
			assert_non_null(doc);
			json_decref(doc);
		}
	}
}

static void test_metrics_doc(void **state)
{
	char *p = NULL;
	size_t len = 0;
	FILE *file = open_memstream(&p, &len);

	(void)state;
	assert_non_null(file);
	assert_int_equal(status_write_doc("metrics-md", file), 0);
	assert_int_equal(status_write_doc("another", file), -1);
	assert_int_equal(fclose(file), 0);
	assert_non_null(strstr(p, "| `capricorn_http_requests_total` | counter | route,method,code |"));
	assert_non_null(strstr(p, "*later*"));
	free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_match, setup, teardown),
		cmocka_unit_test_setup_teardown(test_status, setup, teardown),
		cmocka_unit_test_setup_teardown(test_health, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stats, setup, teardown),
		cmocka_unit_test_setup_teardown(test_active, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slow_requests, setup, teardown),
		cmocka_unit_test_setup_teardown(test_metrics, setup, teardown),
		cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_module, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_garbage, setup, teardown),
		cmocka_unit_test(test_metrics_doc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
