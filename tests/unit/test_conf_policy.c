/* SPDX-License-Identifier: MIT */
/* conf/policy*.c, members.c: the sections about limits and routes, with what follows from them. */
#include "conf_help.h"

#include "conf/conf_priv.h"

static const struct conf_rate *rate_named(const struct conf_policy *p, const char *name)
{
	for (size_t i = 0; i < p->nrates; i++)
		if (strcmp(p->rate[i].name, name) == 0)
			return &p->rate[i];
	fail_msg("there is no rate limit %s", name);
	return NULL;
}

/* The rate limits of a route, or its semaphores with their weights, as one text. */
static void expect_rates(const struct conf_policy *p, const struct conf_policy_route *r,
			 const char *want)
{
	struct strbuf got;

	strbuf_init(&got);
	strbuf_puts(&got, "");
	for (size_t i = 0; i < r->nrates; i++)
		strbuf_printf(&got, "%s%s", i ? " " : "", p->rate[r->rate[i]].name);
	assert_string_equal(got.p ? got.p : "", want);
	strbuf_fini(&got);
}

static void expect_semaphores(const struct conf_policy *p, const struct conf_policy_route *r,
			      const char *want)
{
	struct strbuf got;

	strbuf_init(&got);
	for (size_t i = 0; i < r->nsems; i++)
		strbuf_printf(&got, "%s%s:%d", i ? " " : "", p->sem[r->sem[i].sem].name,
			      r->sem[i].weight);
	assert_string_equal(got.p, want);
	strbuf_fini(&got);
}

/* ---- a whole file ---- */

static const char whole[] =
	"performance:\n"
	"  concurrency:\n"
	"    max_concurrent_requests: 200\n"
	"    llm_concurrent_limit: 50\n"
	"semaphores:\n"
	"  global: {queue: 900, queue_timeout: 9s}\n"
	"  llm:\n"
	"    queue: 1000\n"
	"    queue_timeout: 10s\n"
	"    hold: work\n"
	"    classes:\n"
	"      high: {weight: 3, queue: 200}\n"
	"      medium: {weight: 20, queue: 500}\n"
	"      low: {queue: 300}\n"
	"  render: {limit: 4, limit_max: 16, queue: 20, queue_timeout: 30s}\n"
	"rate_limits:\n"
	"  global: {algorithm: token_bucket, key: none, rate: 1000/s, burst: 100}\n"
	"  per_user: {algorithm: sliding_window, key: [\"header:X-API-Key\", client], rate: 60/m,\n"
	"    burst: 10, entries: 1048576, when_full: allow}\n"
	"  per_endpoint:\n"
	"    algorithm: token_bucket\n"
	"    key: none\n"
	"    paths:\n"
	"      /mcp/create_draft: {rate: 100/s, burst: 20}\n"
	"      /mcp/{name}: {rate: 200/h}\n"
	"  trial: {key: {all: [client, \"cookie:sid\"]}, rate: 10/d, burst: 5, mode: shadow}\n"
	"defaults:\n"
	"  priority: high\n"
	"  rate_limits: [global, per_user]\n"
	"  timeout: 120s\n"
	"routes:\n"
	"  - path: /v1/chat/completions\n"
	"    name: chat\n"
	"    methods: [POST]\n"
	"    semaphores: [llm]\n"
	"    priority: {header: X-Priority, from: any, default: low}\n"
	"    timeout: 300s\n"
	"    stream_idle_timeout: 60s\n"
	"  - path: /drafts/{id}\n"
	"    name: draft\n"
	"    methods: [GET, HEAD]\n"
	"    rate_limits: [trial, global]\n"
	"  - path: /drafts/{id}\n"
	"    name: draft-write\n"
	"    methods: [POST, PUT, DELETE, PURGE]\n"
	"  - path: /render/*\n"
	"    name: render\n"
	"    semaphores: [{name: render, weight: 2}, {name: llm}]\n"
	"    priority: low\n"
	"    max_body: 200MB\n"
	"  - path: /internal/*\n"
	"    access: status\n"
	"    rate_limits: []\n";

static void test_semaphores(void **state)
{
	struct loaded l = load_yaml(whole);
	const struct conf_policy *p = l.conf->policy;
	const struct conf_semaphore *s = p->sem;

	(void)state;
	assert_int_equal(p->nsems, 3);
	assert_string_equal(s[CONF_SEM_GLOBAL].name, "global");
	assert_int_equal(s[CONF_SEM_GLOBAL].limit, 200);
	assert_int_equal(s[CONF_SEM_GLOBAL].limit_max, 1024);
	assert_false(s[CONF_SEM_GLOBAL].limit_max_given);
	assert_int_equal(s[CONF_SEM_GLOBAL].queue, 900);
	assert_int_equal(s[CONF_SEM_GLOBAL].queue_timeout_ms, 9000);
	assert_false(s[CONF_SEM_GLOBAL].hold_work);
	assert_int_equal(s[CONF_SEM_GLOBAL].class[CONF_CLASS_HIGH].weight, 3);
	assert_int_equal(s[CONF_SEM_GLOBAL].class[CONF_CLASS_LOW].queue, 900);
	assert_string_equal(s[CONF_SEM_GLOBAL].place, "test.yaml:6:3");
	assert_string_equal(s[CONF_SEM_LLM].name, "llm");
	assert_int_equal(s[CONF_SEM_LLM].limit, 50);
	assert_true(s[CONF_SEM_LLM].hold_work);
	assert_int_equal(s[CONF_SEM_LLM].class[CONF_CLASS_HIGH].queue, 200);
	assert_int_equal(s[CONF_SEM_LLM].class[CONF_CLASS_MEDIUM].weight, 20);
	assert_int_equal(s[CONF_SEM_LLM].class[CONF_CLASS_LOW].weight, 1);
	assert_int_equal(s[CONF_SEM_LLM].class[CONF_CLASS_LOW].queue, 300);
	assert_string_equal(s[2].name, "render");
	assert_int_equal(s[2].limit, 4);
	assert_int_equal(s[2].limit_max, 16);
	assert_true(s[2].limit_max_given);
	assert_int_equal(s[2].queue_timeout_ms, 30000);
	assert_int_equal(conf_policy_permits(p), 1024 + 1024 + 16);
	unload(&l);
}

static void test_rate_limits(void **state)
{
	struct loaded l = load_yaml(whole);
	const struct conf_policy *p = l.conf->policy;
	const struct conf_rate *r = rate_named(p, "global");

	(void)state;
	assert_int_equal(p->nrates, 5);
	assert_int_equal(p->client_rate, -1);
	assert_int_equal(r->algorithm, CONF_RATE_BUCKET);
	assert_int_equal(r->rate, 1000);
	assert_int_equal(r->period_ns, 1000000000);
	assert_int_equal(r->burst, 100);
	assert_int_equal(r->nkeys, 0);
	assert_int_equal(r->entries, 0);
	assert_string_equal(r->place, "test.yaml:17:3");
	r = rate_named(p, "per_user");
	assert_int_equal(r->algorithm, CONF_RATE_WINDOW);
	assert_int_equal(r->period_ns, 60000000000);
	assert_int_equal(r->nkeys, 2);
	assert_int_equal(r->key[0].kind, CONF_KEY_HEADER);
	assert_string_equal(r->key[0].name, "X-API-Key");
	assert_int_equal(r->key[1].kind, CONF_KEY_CLIENT);
	assert_false(r->key_all);
	assert_int_equal(r->entries, 1048576);
	assert_true(r->allow_when_full);
	assert_false(r->shadow);
	r = rate_named(p, "per_endpoint /mcp/create_draft");
	assert_string_equal(r->policy, "per_endpoint");
	assert_string_equal(r->path, "/mcp/create_draft");
	assert_int_equal(r->rate, 100);
	assert_int_equal(r->burst, 20);
	r = rate_named(p, "per_endpoint /mcp/{name}");
	assert_int_equal(r->burst, 200); /* of a bucket that does not say, the rate */
	assert_int_equal(r->period_ns, 3600000000000);
	r = rate_named(p, "trial");
	assert_true(r->key_all && r->shadow && !r->allow_when_full);
	assert_int_equal(r->key[1].kind, CONF_KEY_COOKIE);
	assert_string_equal(r->key[1].name, "sid");
	assert_int_equal(r->entries, CONF_RATE_ENTRIES);
	assert_int_equal(r->period_ns, 86400000000000);
	assert_int_equal(conf_policy_entries(p), 1048576 + CONF_RATE_ENTRIES);
	unload(&l);
}

static void test_routes(void **state)
{
	struct loaded l = load_yaml(whole);
	const struct conf_policy *p = l.conf->policy;
	const struct conf_policy_route *r = &p->defaults;

	(void)state;
	assert_true(p->has_routes);
	assert_int_equal(p->nroutes, 5);
	assert_null(r->pattern);
	expect_rates(p, r, "global per_user");
	expect_semaphores(p, r, "global:1");
	assert_int_equal(r->timeout_ms, 120000);
	assert_int_equal(r->priority.class, CONF_CLASS_HIGH);
	r = route_named(p, "chat");
	assert_string_equal(r->pattern, "/v1/chat/completions");
	assert_int_equal(r->nmethods, 1);
	assert_string_equal(r->method[0], "POST");
	expect_semaphores(p, r, "llm:1 global:1");
	expect_rates(p, r, "global per_user");
	assert_int_equal(r->priority.from, CONF_PRIORITY_ANY);
	assert_string_equal(r->priority.header, "X-Priority");
	assert_int_equal(r->priority.class, CONF_CLASS_LOW);
	assert_int_equal(r->timeout_ms, 300000);
	assert_int_equal(r->stream_idle_ms, 60000);
	assert_int_equal(r->body_max, 0);
	assert_string_equal(r->place, "test.yaml:32:5");
	r = route_named(p, "draft");
	expect_rates(p, r, "trial global");
	assert_int_equal(r->timeout_ms, 120000);
	assert_int_equal(r->priority.from, CONF_PRIORITY_FIXED);
	assert_int_equal(r->priority.class, CONF_CLASS_HIGH);
	assert_int_equal(route_named(p, "draft-write")->nmethods, 4);
	r = route_named(p, "render");
	expect_semaphores(p, r, "render:2 llm:1 global:1");
	assert_int_equal(r->priority.class, CONF_CLASS_LOW);
	assert_int_equal(r->body_max, 200 << 20);
	assert_int_equal(r->nmethods, 0);
	assert_false(r->access_status);
	r = route_named(p, "/internal/*");
	assert_true(r->access_status);
	expect_rates(p, r, "");
	unload(&l);
}

/* A route that says nothing else has all of the defaults, and one that does replaces it. */
static void test_defaults_are_replaced(void **state)
{
	struct loaded l = load_yaml(
		"semaphores: {a: {limit: 1}}\n"
		"rate_limits: {r: {rate: 1/s}}\n"
		"routes:\n"
		"  - {path: /same}\n"
		"  - {path: /other, semaphores: [], rate_limits: [], priority: medium, timeout: 1s,\n"
		"     stream_idle_timeout: 2s, max_body: 3, access: open}\n"
		"  - {path: /header, priority: {header: P}}\n"
		"  - {path: /null, semaphores: , rate_limits: ~, access: null}\n"
		"defaults: {semaphores: [{name: a, weight: 9}], rate_limits: [r], timeout: 10s,\n"
		"  stream_idle_timeout: 20s, max_body: 30k, access: status,\n"
		"  priority: {header: X, from: trusted, default: high}}\n");
	const struct conf_policy *p = l.conf->policy;
	const struct conf_policy_route *d = &p->defaults, *r;

	(void)state;
	for (int i = 0; i < 2; i++) {
		r = route_named(p, i ? "/null" : "/same");
		expect_semaphores(p, r, "a:9 global:1");
		expect_rates(p, r, "r");
		assert_memory_equal(&r->priority, &d->priority, sizeof(d->priority));
		assert_int_equal(r->timeout_ms, 10000);
		assert_int_equal(r->stream_idle_ms, 20000);
		assert_int_equal(r->body_max, 30 << 10);
		assert_true(r->access_status);
	}
	r = route_named(p, "/other");
	expect_semaphores(p, r, "global:1");
	expect_rates(p, r, "");
	assert_int_equal(r->priority.from, CONF_PRIORITY_FIXED);
	assert_null(r->priority.header);
	assert_int_equal(r->priority.class, CONF_CLASS_MEDIUM);
	assert_int_equal(r->timeout_ms, 1000);
	assert_int_equal(r->stream_idle_ms, 2000);
	assert_int_equal(r->body_max, 3);
	assert_false(r->access_status);
	r = route_named(p, "/header");
	assert_int_equal(r->priority.from, CONF_PRIORITY_TRUSTED);
	assert_int_equal(r->priority.class, CONF_CLASS_MEDIUM);
	/* More than its limit of 1 is possible, since that can be raised; but it is told. */
	assert_non_null(strstr(l.report.notes.p, "test.yaml:9:25: a request takes 9 permits of the "
			       "semaphore a, whose limit is 1"));
	unload(&l);
}

/* ---- settings ---- */

static void test_without_sections(void **state)
{
	struct loaded l = load_ok(ARGS(), NO_ENV);
	const struct conf_policy *p = l.conf->policy;

	(void)state;
	assert_int_equal(p->nsems, 2);
	assert_int_equal(p->sem[CONF_SEM_GLOBAL].limit, 0);
	assert_int_equal(p->sem[CONF_SEM_LLM].limit, 20);
	assert_int_equal(p->sem[CONF_SEM_LLM].limit_max, 1024);
	assert_int_equal(p->sem[CONF_SEM_LLM].queue, 1000);
	assert_int_equal(p->sem[CONF_SEM_LLM].class[CONF_CLASS_MEDIUM].queue, 1000);
	assert_int_equal(p->sem[CONF_SEM_LLM].queue_timeout_ms, 10000);
	assert_string_equal(p->sem[CONF_SEM_LLM].place, "LLM_CONCURRENT_LIMIT");
	assert_int_equal(p->nrates, 0);
	assert_int_equal(p->client_rate, -1);
	assert_false(p->has_routes);
	assert_int_equal(p->nroutes, 0);
	expect_semaphores(p, &p->defaults, "global:1");
	expect_rates(p, &p->defaults, "");
	assert_int_equal(p->defaults.priority.class, CONF_CLASS_MEDIUM);
	unload(&l);
	l = load_yaml("semaphores: {}\nrate_limits: {r: {rate: 1/s}}\nroutes: []\n");
	assert_false(l.conf->policy->has_routes);
	unload(&l);
	l = load_yaml("rate_limits: {t: {paths: {/x: {rate: 1/s}}}}\n");
	assert_true(l.conf->policy->has_routes);
	unload(&l);
}

static void test_settings(void **state)
{
	struct loaded l = load_ok(ARGS("--max-concurrent-requests=900"),
				  ENV("LLM_CONCURRENT_LIMIT=0", "ADMISSION_QUEUE=7",
				      "QUEUE_TIMEOUT=250ms"));
	const struct conf_semaphore *s = l.conf->policy->sem;

	(void)state;
	assert_int_equal(s[CONF_SEM_GLOBAL].limit, 900);
	assert_int_equal(s[CONF_SEM_GLOBAL].limit_max, 1800);
	assert_int_equal(s[CONF_SEM_GLOBAL].queue, 7);
	assert_int_equal(s[CONF_SEM_GLOBAL].class[CONF_CLASS_LOW].queue, 7);
	assert_int_equal(s[CONF_SEM_GLOBAL].queue_timeout_ms, 250);
	assert_string_equal(s[CONF_SEM_GLOBAL].place, "flag --max-concurrent-requests");
	assert_int_equal(s[CONF_SEM_LLM].limit, 0);
	unload(&l);
	l = load_ok(ARGS(), ENV("MAX_CONCURRENT_REQUESTS=16384"));
	assert_int_equal(l.conf->policy->sem[CONF_SEM_GLOBAL].limit_max, 16384);
	unload(&l);
	expect_errors(ARGS(), ENV("MAX_CONCURRENT_REQUESTS=16385"),
		      "environment variable MAX_CONCURRENT_REQUESTS: \"16385\" is not a whole "
		      "number from 0 to 16384\n");
	write_file("test.yaml", "semaphores:\n  llm: {limit_max: 30}\n");
	expect_errors(ARGS("-c", "test.yaml"), ENV("LLM_CONCURRENT_LIMIT=31"),
		      "environment variable LLM_CONCURRENT_LIMIT: LLM_CONCURRENT_LIMIT is 31, "
		      "which is more than semaphores.llm.limit_max with 30 (test.yaml:2:20)\n");
}

/* Of a limit that nobody has given, the fault is with limit_max. */
static void test_limit_max_below_the_default(void **state)
{
	(void)state;
	expect_wrong("semaphores: {llm: {limit_max: 19}}\n",
		     "1:31: semaphores.llm.limit_max: is 19, which is less than LLM_CONCURRENT_LIMIT "
		     "with 20 (default)\n");
}

static void test_rate_of_clients(void **state)
{
	struct loaded l;
	const struct conf_policy *p;
	const struct conf_rate *r;

	(void)state;
	write_file("test.yaml", "rate_limits: {a: {rate: 1/s}}\n"
				"defaults: {rate_limits: [a]}\n"
				"routes:\n"
				"  - {path: /as-defaults}\n"
				"  - {path: /none, rate_limits: []}\n");
	l = load_ok(ARGS("-c", "test.yaml"), ENV("ENABLE_RATE_LIMITING=on", "RATE_LIMIT_BURST=0",
						 "RATE_LIMIT_PER_MINUTE=90"));
	p = l.conf->policy;
	assert_int_equal(p->nrates, 2);
	r = &p->rate[p->client_rate];
	assert_string_equal(r->name, "client");
	assert_int_equal(r->algorithm, CONF_RATE_BUCKET);
	assert_int_equal(r->rate, 90);
	assert_int_equal(r->period_ns, 60000000000);
	assert_int_equal(r->burst, 0);
	assert_int_equal(r->nkeys, 1);
	assert_int_equal(r->key[0].kind, CONF_KEY_CLIENT);
	assert_int_equal(r->entries, CONF_RATE_ENTRIES);
	assert_string_equal(r->place, "environment variable ENABLE_RATE_LIMITING");
	expect_rates(p, &p->defaults, "a client");
	expect_rates(p, route_named(p, "/as-defaults"), "a client");
	expect_rates(p, route_named(p, "/none"), "client");
	unload(&l);
	l = load_ok(ARGS("--enable-rate-limiting"), NO_ENV);
	p = l.conf->policy;
	expect_rates(p, &p->defaults, "client");
	assert_int_equal(p->rate[0].rate, 60);
	assert_int_equal(p->rate[0].burst, 10);
	assert_false(p->has_routes);
	unload(&l);
}

static void test_performance(void **state)
{
	struct loaded l = load_yaml("performance: {concurrency: {max_concurrent_requests: 0020}}\n"
				    "max_concurrent_requests: 20\n");

	(void)state;
	assert_int_equal(l.conf->s.max_concurrent_requests, 20);
	unload(&l);
	l = load_yaml("performance: {concurrency: {llm_concurrent_limit: 7}}\n");
	assert_int_equal(l.conf->policy->sem[CONF_SEM_LLM].limit, 7);
	assert_string_equal(l.conf->policy->sem[CONF_SEM_LLM].place,
			    "test.yaml:1:51: llm_concurrent_limit");
	unload(&l);
	l = load_yaml("performance:\n  concurrency:\n    llm_concurrent_limit:\n");
	assert_int_equal(l.conf->s.llm_concurrent_limit, 20);
	unload(&l);
	write_file("test.yaml", "performance: {concurrency: {llm_concurrent_limit: 7}}\n");
	l = load_ok(ARGS("-c", "test.yaml"), ENV("LLM_CONCURRENT_LIMIT=8"));
	assert_int_equal(l.conf->s.llm_concurrent_limit, 8);
	unload(&l);
	expect_wrong("llm_concurrent_limit: 9\n"
		     "performance:\n"
		     "  concurrency:\n"
		     "    llm_concurrent_limit: 10\n",
		     "4:27: performance.concurrency.llm_concurrent_limit: \"10\" is not what "
		     "test.yaml:1:23: llm_concurrent_limit says (9); leave one of them out\n");
	expect_wrong("performance: {concurency: {}, concurrency: {llm_concurrent_limit: 99999,\n"
		     "  max_concurrent_request: 1}}\n",
		     "1:15: performance: \"concurency\" is unknown as a key; did you mean "
		     "concurrency?\n"
		     "2:3: performance.concurrency: \"max_concurrent_request\" is unknown as a "
		     "key; did you mean max_concurrent_requests?\n"
		     "1:67: performance.concurrency.llm_concurrent_limit: \"99999\" is not a whole "
		     "number from 0 to 16384\n");
	expect_wrong("performance: [1]\n",
		     "1:14: performance: is not a list of \"key: value\"\n");
}

/* ---- errors ---- */

static void test_wrong_semaphores(void **state)
{
	(void)state;
	expect_wrong("semaphores: [a]\n",
		     "1:13: semaphores: is not a list of \"key: value\"\n");
	expect_wrong("semaphores:\n"
		     "  global: {limit: 3}\n"
		     "  render: {limit: 40, limit_max: 16}\n"
		     "  render: {limit: 1}\n"
		     "  a b: {limit: 1}\n"
		     "  x: {queu: 1}\n"
		     "  y: 5\n"
		     "  z:\n"
		     "  llm: {hold: works, classes: {hihg: {}, high: {weight: 0, queue: 1001},\n"
		     "    low: {weight: 1001}}}\n"
		     "  w: {limit: 16385, limit_max: 0, queue: -1, queue_timeout: 1x}\n"
		     "  [v]: 1\n",
		     "4:3: semaphores.render: is given twice; the first time in line 3\n"
		     "5:3: semaphores.a b: \"a b\" is no name: 1 to 47 letters, digits, _, - and "
		     "dots\n"
		     "12:3: semaphores: has a key that is not a single word\n"
		     "2:19: semaphores.global.limit: is the setting MAX_CONCURRENT_REQUESTS, and "
		     "cannot be given here\n"
		     "9:15: semaphores.llm.hold: \"works\" is not one of answer, work; did you mean "
		     "work?\n"
		     "9:32: semaphores.llm.classes: \"hihg\" is unknown as a key; did you mean "
		     "high?\n"
		     "9:57: semaphores.llm.classes.high.weight: \"0\" is not a whole number from 1 to "
		     "1000\n"
		     "9:67: semaphores.llm.classes.high.queue: is 1001, which is more than the queue "
		     "of all classes of llm with 1000\n"
		     "10:19: semaphores.llm.classes.low.weight: \"1001\" is not a whole number from 1 "
		     "to 1000\n"
		     "3:19: semaphores.render.limit: is 40, which is more than limit_max with 16\n"
		     "6:7: semaphores.x: \"queu\" is unknown as a key; did you mean queue?\n"
		     "6:6: semaphores.x: needs a limit (0 = no limit)\n"
		     "7:6: semaphores.y: is not a list of \"key: value\"\n"
		     "8:5: semaphores.z: needs a limit (0 = no limit)\n"
		     "11:14: semaphores.w.limit: \"16385\" is not a whole number from 0 to 16384\n"
		     "11:32: semaphores.w.limit_max: \"0\" is not a whole number from 1 to 16384\n"
		     "11:42: semaphores.w.queue: \"-1\" is not a whole number from 0 to 1000000\n"
		     "11:61: semaphores.w.queue_timeout: \"1x\" is not a duration from 0 to 24h "
		     "(500ms, 30s, 5m, 1h, or plain seconds)\n");
}

static void test_wrong_rate_limits(void **state)
{
	(void)state;
	expect_wrong("rate_limits:\n"
		     "  client: {rate: 1/s}\n"
		     "  a: {rate: 1/x, algorithm: token_buckets, mode: shadw}\n"
		     "  b: {rate: 0/s, entries: 100, when_full: deny}\n"
		     "  c: {rate: 1000001/s, key: none, entries: 100}\n"
		     "  a: {rate: 1/s}\n"
		     "  d: {burst: 1000001}\n"
		     "  e: {rate: 1/s, burts: 1}\n"
		     "  f: {rate: 1/s, key: client, entries: 63, when_full: alow}\n"
		     "  g: {rate: [1]}\n",
		     "2:3: rate_limits.client: is the name of the limit that ENABLE_RATE_LIMITING "
		     "makes (RATE_LIMIT_PER_MINUTE, RATE_LIMIT_BURST)\n"
		     "3:29: rate_limits.a.algorithm: \"token_buckets\" is not one of token_bucket, "
		     "sliding_window; did you mean token_bucket?\n"
		     "3:50: rate_limits.a.mode: \"shadw\" is not one of enforce, shadow; did you mean "
		     "shadow?\n"
		     "3:13: rate_limits.a.rate: \"1/x\" is not a rate: N/s, N/m, N/h or N/d with N "
		     "from 1 to 1000000\n"
		     "4:27: rate_limits.b.entries: means nothing without a key\n"
		     "4:43: rate_limits.b.when_full: means nothing without a key\n"
		     "4:13: rate_limits.b.rate: \"0/s\" is not a rate: N/s, N/m, N/h or N/d with N "
		     "from 1 to 1000000\n"
		     "5:44: rate_limits.c.entries: means nothing without a key\n"
		     "5:13: rate_limits.c.rate: \"1000001/s\" is not a rate: N/s, N/m, N/h or N/d "
		     "with N from 1 to 1000000\n"
		     "6:3: rate_limits.a: is given twice; the first time in line 3\n"
		     "7:6: rate_limits.d: needs a rate (such as 60/m)\n"
		     "7:14: rate_limits.d.burst: \"1000001\" is not a whole number from 0 to 1000000\n"
		     "8:18: rate_limits.e: \"burts\" is unknown as a key; did you mean burst?\n"
		     "9:40: rate_limits.f.entries: \"63\" is not a whole number from 64 to 16777216\n"
		     "9:55: rate_limits.f.when_full: \"alow\" is not one of deny, allow; did you mean "
		     "allow?\n"
		     "10:13: rate_limits.g.rate: is not a single value\n");
}

static void test_rates_as_text(void **state)
{
	static const char *const bad[] = {
		"", "1", "/s", "1/", "1/ms", "1 /s", "-1/s", "1.5/s", "1/s ", "01x/s", "1\\s",
		"99999999999999999999/s",
	};
	char yaml[100], want[300];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(yaml, sizeof(yaml), "rate_limits: {a: {rate: '%s'}}\n", bad[i]);
		snprintf(want, sizeof(want), "1:25: rate_limits.a.rate: \"%s\" is not a rate: N/s, "
			 "N/m, N/h or N/d with N from 1 to 1000000\n", bad[i]);
		expect_wrong(yaml, want);
	}
}

static void test_wrong_keys(void **state)
{
	(void)state;
	expect_wrong("rate_limits:\n"
		     "  a: {rate: 1/s, key: [client, client, none, \"header:\"]}\n"
		     "  b: {rate: 1/s, key: heeder:X}\n"
		     "  c: {rate: 1/s, key: \"cookie:a b\"}\n"
		     "  d: {rate: 1/s, key: {any: [client]}}\n"
		     "  e: {rate: 1/s, key: {all: client}}\n"
		     "  f: {rate: 1/s, key: []}\n"
		     "  g: {rate: 1/s, key: [\"header:A\", \"header:a\", \"cookie:A\", \"cookie:a\"]}\n"
		     "  h: {rate: 1/s, key: [client, \"header:1\", \"header:2\", \"header:3\",\n"
		     "    \"header:4\"]}\n"
		     "  i: {rate: 1/s, key: cleint}\n"
		     "  j: {rate: 1/s, key: cookie}\n"
		     "  k: {rate: 1/s, key: x}\n",
		     "2:32: rate_limits.a.key.1: \"client\" is in the list twice\n"
		     "2:40: rate_limits.a.key.2: none stands alone, not in a list\n"
		     "2:46: rate_limits.a.key.3: \"header:\" needs the name of a field after a colon, "
		     "such as header:X-API-Key\n"
		     "3:23: rate_limits.b.key: \"heeder:X\" is no key: none, client, header:NAME or "
		     "cookie:NAME; did you mean header:NAME?\n"
		     "4:23: rate_limits.c.key: \"cookie:a b\" needs the name of a cookie after a "
		     "colon, such as cookie:session\n"
		     "5:24: rate_limits.d.key: \"any\" is unknown as a key\n"
		     "5:23: rate_limits.d.key: needs a list of keys: {all: [...]}\n"
		     "6:29: rate_limits.e.key.all: is not a list\n"
		     "7:23: rate_limits.f.key: has no items; write none if there is no key\n"
		     "8:36: rate_limits.g.key.1: \"header:a\" is in the list twice\n"
		     "9:23: rate_limits.h.key: has 5 items; 4 are possible\n"
		     "11:23: rate_limits.i.key: \"cleint\" is no key: none, client, header:NAME or "
		     "cookie:NAME; did you mean client?\n"
		     "12:23: rate_limits.j.key: \"cookie\" needs the name of a cookie after a colon, "
		     "such as cookie:session\n"
		     "13:23: rate_limits.k.key: \"x\" is no key: none, client, header:NAME or "
		     "cookie:NAME\n");
}

static void test_wrong_tables(void **state)
{
	(void)state;
	expect_wrong("rate_limits:\n"
		     "  t:\n"
		     "    rate: 1/s\n"
		     "    burst: 1\n"
		     "    paths:\n"
		     "      /x: {rate: 1/s}\n"
		     "      x: {rate: 1/s}\n"
		     "      /{a}/y: {burst: 1}\n"
		     "      /{b}/y: {rate: 1/s}\n"
		     "      /x/../y: {rate: 1/s}\n"
		     "      /y: 1/s\n"
		     "      /z: {rate: 1/s, key: client}\n"
		     "  u: {paths: {}}\n"
		     "  v: {paths: [/x]}\n",
		     "3:11: rate_limits.t.rate: stands with each of the paths\n"
		     "4:12: rate_limits.t.burst: stands with each of the paths\n"
		     "7:7: rate_limits.t.paths.x: pattern \"x\": must begin with \"/\": write \"/x\"\n"
		     "8:15: rate_limits.t.paths./{a}/y: needs a rate (such as 60/m)\n"
		     "9:7: rate_limits.t.paths./{b}/y: is there already, as \"/{a}/y\" at "
		     "test.yaml:8:7\n"
		     "10:7: rate_limits.t.paths./x/../y: pattern \"/x/../y\": would never match, "
		     "since paths are decoded before: write \"/y\"\n"
		     "11:11: rate_limits.t.paths./y: is not a list of \"key: value\"\n"
		     "11:11: rate_limits.t.paths./y: needs a rate (such as 60/m)\n"
		     "12:23: rate_limits.t.paths./z: \"key\" is unknown as a key\n"
		     "13:14: rate_limits.u.paths: has no path\n"
		     "14:14: rate_limits.v.paths: is not a list of \"key: value\"\n");
}

static void test_wrong_routes(void **state)
{
	(void)state;
	expect_wrong("routes: {path: /x}\n", "1:9: routes: is not a list\n");
	expect_wrong("rate_limits: {render: {rate: 1/s}, t: {paths: {/x: {rate: 1/s}}}}\n"
		     "semaphores: {render: {limit: 4, limit_max: 16}}\n"
		     "defaults:\n"
		     "  path: /x\n"
		     "  timeout: 0\n"
		     "  rate_limits: [t, client, rendr, render, render]\n"
		     "routes:\n"
		     "  - name: x\n"
		     "  - [x]\n"
		     "  - path: /a//%41\n"
		     "    semaphores: [global, {name: render, weight: 17}, lmm, render, {weight: 1}]\n"
		     "    priority: hihg\n"
		     "    cache: {ttl: 1h}\n"
		     "  - path: /z\n"
		     "    name: ''\n"
		     "    access: stauts\n"
		     "    priority: {heeder: x, from: anyone}\n"
		     "    max_body: 1x\n"
		     "    rate_limits: render\n"
		     "  - path: /y\n"
		     "    path: /w\n"
		     "    priority: {header: a b, default: hi}\n"
		     "    timeout: 25h\n"
		     "    stream_idle_timeout: [1]\n"
		     "  - path: !x /x\n"
		     "    Timeout: 1\n",
		     "4:3: defaults: \"path\" is unknown as a key\n"
		     "6:17: defaults.rate_limits.0: \"t\" holds on its paths without being named, and "
		     "nowhere else\n"
		     "6:20: defaults.rate_limits.1: \"client\" holds on every route if "
		     "ENABLE_RATE_LIMITING is on, without being named\n"
		     "6:28: defaults.rate_limits.2: \"rendr\" is no rate limit; did you mean "
		     "render?\n"
		     "6:43: defaults.rate_limits.4: \"render\" is in the list twice\n"
		     "5:12: defaults.timeout: \"0\" is not a duration from 1ms to 24h (500ms, 30s, 5m, "
		     "1h, or plain seconds)\n"
		     "8:5: routes.0: needs a path\n"
		     "9:5: routes.1: is not a list of \"key: value\"\n"
		     "10:11: routes.2.path: pattern \"/a//%41\": would never match, since paths are "
		     "decoded before: write \"/a//A\"\n"
		     "11:18: routes.2.semaphores.0: \"global\" is taken by every request, last of all, "
		     "without being named\n"
		     "11:49: routes.2.semaphores.1.weight: is 17, which is more than limit_max of "
		     "render with 16\n"
		     "11:54: routes.2.semaphores.2: \"lmm\" is no semaphore; did you mean llm?\n"
		     "11:59: routes.2.semaphores.3: \"render\" is in the list twice\n"
		     "11:67: routes.2.semaphores.4: needs the name of a semaphore\n"
		     "12:15: routes.2.priority: \"hihg\" is not one of high, medium, low; did you mean "
		     "high?\n"
		     "15:11: routes.3.name: has 1 to 119 bytes\n"
		     "19:18: routes.3.rate_limits: is not a list\n"
		     "17:16: routes.3.priority: \"heeder\" is unknown as a key; did you mean header?\n"
		     "17:15: routes.3.priority: needs the name of a header, or is one of high, medium, "
		     "low\n"
		     "17:33: routes.3.priority.from: \"anyone\" is not one of trusted, any\n"
		     "18:15: routes.3.max_body: \"1x\" is not a size from 1 to 1048576g (64k, 256m, "
		     "2g, or plain bytes)\n"
		     "16:13: routes.3.access: \"stauts\" is not one of open, status; did you mean "
		     "status?\n"
		     "21:5: routes.4.path: is given twice; the first time in line 20\n"
		     "22:24: routes.4.priority.header: \"a b\" is no name of a header\n"
		     "22:38: routes.4.priority.default: \"hi\" is not one of high, medium, low\n"
		     "23:14: routes.4.timeout: \"25h\" is not a duration from 1ms to 24h (500ms, 30s, "
		     "5m, 1h, or plain seconds)\n"
		     "24:26: routes.4.stream_idle_timeout: is not a single value\n"
		     "26:5: routes.5: \"Timeout\" is unknown as a key; did you mean timeout?\n"
		     "25:11: routes.5.path: has a tag (!x), which means nothing here\n");
}

static void test_methods(void **state)
{
	struct loaded l = load_yaml("routes:\n"
				    "  - {path: '/a/{x}', methods: [GET]}\n"
				    "  - {path: '/a/{y}', methods: [HEAD]}\n"
				    "  - {path: '/a/{z}', methods: [POST, PURGE]}\n"
				    "  - {path: /a/*}\n"
				    "  - {path: /a/b}\n"
				    "  - {path: '/a/{x}/', methods: [GET]}\n");

	(void)state;
	assert_int_equal(l.conf->policy->nroutes, 6);
	unload(&l);
	expect_wrong("routes:\n"
		     "  - {path: /a, methods: [get, PSOT, GET, GET, 'A B', CONNECT, '*']}\n"
		     "  - {path: '/b/{x}/*', methods: [GET, POST]}\n"
		     "  - {path: '/b/{y}/*', methods: [PURGE, POST]}\n"
		     "  - {path: '/b/{long}/*'}\n"
		     "  - {path: '/b/{y}/*', methods: []}\n"
		     "  - {path: /c, methods: GET}\n"
		     "  - {path: /c}\n"
		     "  - {path: /c}\n"
		     "  - {path: /c, methods: [HEAD]}\n"
		     "  - {path: /d, methods: [CONNECT]}\n",
		     "2:26: routes.0.methods.0: \"get\" is no method; did you mean GET?\n"
		     "2:31: routes.0.methods.1: \"PSOT\" is no method; did you mean POST?\n"
		     "2:42: routes.0.methods.3: \"GET\" is in the list twice\n"
		     "2:47: routes.0.methods.4: \"A B\" is no method\n"
		     "2:63: routes.0.methods.6: \"*\" is no method\n"
		     "4:12: routes.2.path: \"/b/{y}/*\" with POST is there already, as \"/b/{x}/*\" at "
		     "test.yaml:3:5\n"
		     "5:12: routes.3.path: \"/b/{long}/*\" with GET is there already, as \"/b/{x}/*\" "
		     "at test.yaml:3:5\n"
		     "6:33: routes.4.methods: has no items; leave it out for all methods\n"
		     "7:25: routes.5.methods: is not a list\n"
		     "9:12: routes.7.path: \"/c\" with all methods is there already, as \"/c\" at "
		     "test.yaml:8:5\n"
		     "10:12: routes.8.path: \"/c\" with HEAD is there already, as \"/c\" at "
		     "test.yaml:8:5\n"
		     "11:12: routes.9.path: pattern \"/d\": CONNECT has no path that could match\n");
}

/* What is wrong in settings, other sections and flags is told beside it. */
static void test_all_at_once(void **state)
{
	(void)state;
	write_file("test.yaml", "routes: [{path: x}]\nbacklog: 0\nalerts: {}\nsemaphors: {}\n"
				"routes: []\n");
	expect_errors(ARGS("-c", "test.yaml", "--port=x"), ENV("RATE_LIMIT_BURST=1000001"),
		      "test.yaml:2:10: backlog: \"0\" is not a whole number from 1 to 1048576\n"
		      "test.yaml:3:1: the section alerts is not built yet\n"
		      "test.yaml:4:1: the key \"semaphors\" is unknown; did you mean semaphores?\n"
		      "test.yaml:5:1: routes: is given twice; the first time in line 1\n"
		      "environment variable RATE_LIMIT_BURST: \"1000001\" is not a whole number "
		      "from 0 to 1000000\n"
		      "flag --port: \"x\" is not a whole number from 0 to 65535\n"
		      "test.yaml:1:17: routes.0.path: pattern \"x\": must begin with \"/\": write "
		      "\"/x\"\n");
}

/* ---- bounds ---- */

/* A file made of `before`, then n times `each` with numbers, then `after`. */
static void write_many(const char *before, const char *each, size_t n, const char *after)
{
	struct strbuf sb;

	strbuf_init(&sb);
	strbuf_puts(&sb, before);
	for (size_t i = 0; i < n; i++) {
		const char *hash = strchr(each, '#');

		strbuf_printf(&sb, "%.*s%zu%s", (int)(hash - each), each, i, hash + 1);
	}
	strbuf_puts(&sb, after);
	write_file("test.yaml", sb.p);
	strbuf_fini(&sb);
}

static void expect_many(const char *before, const char *each, size_t most, const char *after,
			const char *errors)
{
	struct loaded l;

	write_many(before, each, most, after);
	l = load_ok(ARGS("-c", "test.yaml"), NO_ENV);
	unload(&l);
	write_many(before, each, most + 1, after);
	expect_errors(ARGS("-c", "test.yaml"), NO_ENV, errors);
}

static void test_bounds(void **state)
{
	struct strbuf before;

	(void)state;
	expect_many("semaphores:\n", "  s#: {limit: 1}\n", 30, "",
		    "test.yaml:32:3: semaphores.s30: is one too many; there can be 32, global and "
		    "llm among them\n");
	expect_many("rate_limits:\n", "  r#: {rate: 1/s}\n", 64, "",
		    "test.yaml:66:3: rate_limits.r64: is one too many; there can be 64 limits, each "
		    "path of a table and ENABLE_RATE_LIMITING counted\n");
	expect_many("enable_rate_limiting: on\nrate_limits:\n  t:\n    paths:\n",
		    "      /x#: {rate: 1/s}\n", 63, "",
		    "test.yaml:68:7: rate_limits.t.paths./x63: is one too many; there can be 64 "
		    "limits, each path of a table and ENABLE_RATE_LIMITING counted\n");
	expect_many("routes:\n", "- {path: /x#}\n", CONF_ROUTES_MAX, "",
		    "test.yaml:2:1: routes: has 4097 items; 4096 are possible\n");
	expect_many("routes:\n- path: /x\n  methods: [", "M#,", 32, "]\n",
		    "test.yaml:3:12: routes.0.methods: has 33 items; 32 are possible\n");
	strbuf_init(&before);
	strbuf_puts(&before, "semaphores: {");
	for (int i = 0; i < 9; i++)
		strbuf_printf(&before, "n%d: {limit: 1}, ", i);
	strbuf_puts(&before, "}\ndefaults:\n  semaphores: [");
	expect_many(before.p, "n#,", 8, "]\n",
		    "test.yaml:3:15: defaults.semaphores: has 9 items; 8 are possible\n");
	strbuf_clear(&before);
	strbuf_puts(&before, "rate_limits: {");
	for (int i = 0; i < 15; i++)
		strbuf_printf(&before, "n%d: {rate: 1/s}, ", i);
	strbuf_puts(&before, "}\ndefaults:\n  rate_limits: [");
	expect_many(before.p, "n#,", 14, "]\n",
		    "test.yaml:3:16: defaults.rate_limits: has 15 items; 14 are possible\n");
	strbuf_fini(&before);
}

static void test_names(void **state)
{
	char name[60], yaml[300], want[300];
	struct loaded l;

	(void)state;
	memset(name, 'n', sizeof(name));
	name[48] = '\0';
	snprintf(yaml, sizeof(yaml), "semaphores: {%s: {limit: 1}}\nrate_limits: {%s: {rate: 1/s}}\n",
		 name + 1, name + 1);
	l = load_yaml(yaml);
	unload(&l);
	snprintf(yaml, sizeof(yaml), "semaphores: {%s: {limit: 1}, \"a\\0\": {limit: 1}}\n", name);
	snprintf(want, sizeof(want), "1:14: semaphores.%s: \"%s\" is no name: 1 to 47 letters, digits, "
		 "_, - and dots\n1:76: semaphores.a: \"a\\x00\" is no name: 1 to 47 letters, digits, "
		 "_, - and dots\n", name, name);
	expect_wrong(yaml, want);
	/* With the path of a table there is more room, but not without end. */
	snprintf(yaml, sizeof(yaml), "rate_limits: {%s: {paths: {\n"
		 " /234567890123456789012345678901234567890123456: {rate: 1/s},\n"
		 " /2345678901234567890123456789012345678901234567: {rate: 1/s},\n"
		 " /23456789012345678901234567890123456789012345678: {rate: 1/s}}}}\n", name + 1);
	snprintf(want, sizeof(want), "4:2: rate_limits.%s.paths."
		 "/23456789012345678901234567890123456789012345678: is too long: with %s before it "
		 "there may be 95 bytes\n", name + 1, name + 1);
	expect_wrong(yaml, want);
}

/* A file that is something else does not fill the screen. */
static void test_too_many_errors(void **state)
{
	struct loaded l;

	(void)state;
	write_many("routes:\n", "- {path: x#}\n", 1000, "");
	l = load(ARGS("-c", "test.yaml"), NO_ENV);
	assert_int_equal(l.rc, -1);
	assert_int_equal(l.report.nerrors, 201);
	assert_non_null(strstr(l.report.errors.p, "test.yaml: has too many errors; the rest is not "
						  "shown\n"));
	unload(&l);
	write_many("defaults: {", "x#: 1, ", 1000, "}\n");
	l = load(ARGS("-c", "test.yaml"), NO_ENV);
	assert_int_equal(l.report.nerrors, 51);
	unload(&l);
}

/* Aliases are values as good as others, also those that lead to themselves. */
static void test_aliases(void **state)
{
	struct loaded l = load_yaml("semaphores: {a: &s {limit: 3}, b: *s}\n"
				    "routes:\n"
				    "  - {path: /a, semaphores: &l [a, b]}\n"
				    "  - {path: /b, semaphores: *l}\n");

	(void)state;
	expect_semaphores(l.conf->policy, route_named(l.conf->policy, "/b"), "a:1 b:1 global:1");
	unload(&l);
	expect_wrong("routes: &r [*r]\n", "1:9: routes.0: is not a list of \"key: value\"\n");
	expect_wrong("semaphores: &s {a: *s}\n",
		     "1:17: semaphores.a: \"a\" is unknown as a key\n"
		     "1:13: semaphores.a: needs a limit (0 = no limit)\n");
}

/* ---- a reload ---- */

static void carry(struct loaded *cur, struct loaded *next, const char *notes)
{
	strbuf_clear(&next->report.notes);
	conf_carry_over(next->conf, cur->conf, &next->report);
	assert_string_equal(next->report.notes.p ? next->report.notes.p : "", notes);
	unload(cur);
}

static void test_carry_over(void **state)
{
	struct loaded cur = load_yaml("max_concurrent_requests: 300\n"
				      "semaphores:\n"
				      "  global: {limit_max: 400}\n"
				      "  a: {limit: 4, limit_max: 8}\n"
				      "  b: {limit: 4}\n"
				      "rate_limits: {r: {rate: 1/s, key: client, entries: 100}}\n");
	struct loaded next = load_yaml("max_concurrent_requests: 500\n"
				       "semaphores:\n"
				       "  a: {limit: 9, limit_max: 20}\n"
				       "  b: {limit: 600}\n"
				       "  c: {limit: 1, limit_max: 1}\n"
				       "rate_limits: {r: {rate: 2/s, key: client, entries: 200}}\n"
				       "routes: [{path: /x, semaphores: [{name: a, weight: 9}]}]\n");
	const struct conf_policy *p = next.conf->policy;

	(void)state;
	carry(&cur, &next,
	      "semaphores.global.limit_max: 1024 instead of 400 needs a restart or an upgrade\n"
	      "semaphores.global.limit: 500 instead of 300 is above limit_max with 400, which needs "
	      "a restart or an upgrade\n"
	      "semaphores.a.limit_max: 20 instead of 8 needs a restart or an upgrade\n"
	      "semaphores.a.limit: 9 instead of 4 is above limit_max with 8, which needs a restart "
	      "or an upgrade\n"
	      "rate_limits.r.entries: 200 instead of 100 needs a restart or an upgrade\n"
	      "test.yaml:7:10: a request takes 8 permits of the semaphore a instead of 9, since its "
	      "limit_max needs a restart or an upgrade\n");
	assert_int_equal(p->sem[CONF_SEM_GLOBAL].limit, 300);
	assert_int_equal(p->sem[CONF_SEM_GLOBAL].limit_max, 400);
	assert_int_equal(next.conf->s.max_concurrent_requests, 300);
	assert_int_equal(p->sem[2].limit, 4);
	assert_int_equal(p->sem[2].limit_max, 8);
	assert_int_equal(p->sem[3].limit, 600);
	assert_int_equal(p->sem[3].limit_max, 1024); /* computed, and nobody's wish: no note */
	assert_int_equal(p->sem[4].limit_max, 1);
	assert_int_equal(p->rate[0].rate, 2);
	assert_int_equal(p->rate[0].entries, 100);
	assert_int_equal(p->route[0].sem[0].weight, 8);
	unload(&next);
}

static void test_carry_over_nothing(void **state)
{
	struct loaded cur = load_yaml(whole), next = load_yaml(whole);

	(void)state;
	carry(&cur, &next, "");
	unload(&next);
}

/* ---- documents ---- */

static void test_example_loads(void **state)
{
	struct loaded l = load_yaml(conf_sections_example);

	(void)state;
	assert_int_equal(l.conf->policy->nsems, 3);
	assert_int_equal(l.conf->policy->nrates, 2);
	assert_int_equal(l.conf->policy->nroutes, 4);
	assert_int_equal(l.conf->policy->cache.nwarmups, 1);
	assert_int_equal(l.conf->policy->cache.ninvalidations, 1);
	unload(&l);
}

static void test_keys_are_whole(void **state)
{
	(void)state;
	for (int k = 0; k < CONF_KEYS; k++) {
		const struct conf_row *row = &conf_keys[k];

		assert_true(k == 0 || conf_key_group[k] >= conf_key_group[k - 1]);
		assert_string_equal(row->help + strlen(row->help) - 1, ".");
		assert_true((row->type == CONF_T_SHAPE) == (row->arg != NULL));
		assert_true(!conf_type_words(row->type) || row->def);
		if (row->type == CONF_T_INT || row->type == CONF_T_DURATION ||
		    row->type == CONF_T_SIZE)
			assert_true(row->min < row->max);
		assert_null(strchr(row->help, '|'));
	}
	for (int t = CONF_T_HOLD; t < CONF_T_SHAPE; t++)
		assert_non_null(conf_type_words((enum conf_type)t));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_semaphores),
		cmocka_unit_test(test_rate_limits),
		cmocka_unit_test(test_routes),
		cmocka_unit_test(test_defaults_are_replaced),
		cmocka_unit_test(test_without_sections),
		cmocka_unit_test(test_settings),
		cmocka_unit_test(test_limit_max_below_the_default),
		cmocka_unit_test(test_rate_of_clients),
		cmocka_unit_test(test_performance),
		cmocka_unit_test(test_wrong_semaphores),
		cmocka_unit_test(test_wrong_rate_limits),
		cmocka_unit_test(test_rates_as_text),
		cmocka_unit_test(test_wrong_keys),
		cmocka_unit_test(test_wrong_tables),
		cmocka_unit_test(test_wrong_routes),
		cmocka_unit_test(test_methods),
		cmocka_unit_test(test_all_at_once),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_too_many_errors),
		cmocka_unit_test(test_aliases),
		cmocka_unit_test(test_carry_over),
		cmocka_unit_test(test_carry_over_nothing),
		cmocka_unit_test(test_example_loads),
		cmocka_unit_test(test_keys_are_whole),
	};

	return cmocka_run_group_tests(tests, enter_directory, leave_directory);
}
