/* SPDX-License-Identifier: MIT */
/* conf/policy_cache.c, policy_warmup.c, policy_key.c, policy_template.c: keeping answers. */
#include "conf_help.h"

#include "conf/conf_priv.h"

/* A template as "draft:|{id}|:|<*>", with a bar between parts. */
static void expect_template(const struct conf_template *t, const char *want)
{
	static const struct { const char *before, *after; } forms[] = {
		[CONF_PART_TEXT] = {"", ""}, [CONF_PART_PARAM] = {"{", "}"},
		[CONF_PART_QUERY] = {"{query.", "}"}, [CONF_PART_HEADER] = {"{header.", "}"},
		[CONF_PART_ANY] = {"<", ">"},
	};
	char got[400] = "";

	for (size_t i = 0; i < t->nparts; i++) {
		const struct conf_part *part = &t->part[i];
		size_t len = strlen(got);

		snprintf(got + len, sizeof(got) - len, "%s%s%.*s%s", i ? "|" : "",
			 forms[part->kind].before, (int)part->text.len, part->text.p,
			 forms[part->kind].after);
	}
	assert_string_equal(got, want);
}

static void expect_key(const struct conf_cache_rule *c, const char *want)
{
	char got[400] = "";

	for (size_t i = 0; i < c->nkeys; i++) {
		size_t len = strlen(got);

		snprintf(got + len, sizeof(got) - len, "%s%s%s", i ? " " : "",
			 conf_key_word(c->key[i].kind), c->key[i].name ? c->key[i].name : "");
	}
	assert_string_equal(got, want);
}

/* ---- routes ---- */

static void test_rule(void **state)
{
	struct loaded l = load_yaml(
		"routes:\n"
		"  - path: /drafts/{id}/{part}/*\n"
		"    methods: [GET, HEAD]\n"
		"    cache: {ttl: 1h, stale: 30s, statuses: [200, 404], max_object: 8MB,\n"
		"      key: [client, path, \"header:Accept\", \"cookie:lang\", \"query:a b\"],\n"
		"      tags: [\"draft:{id}\", \"{header.X-User-Id}:{query.a b}{part}{*}\", x]}\n");
	const struct conf_policy_route *r = &l.conf->policy->route[0];
	const struct conf_cache_rule *c = r->cache;

	(void)state;
	assert_int_equal(c->ttl_ms, 3600000);
	assert_int_equal(c->stale_ms, 30000);
	assert_int_equal(c->max_object, 8 << 20);
	assert_int_equal(c->nstatuses, 2);
	assert_int_equal(c->status[1], 404);
	assert_true(c->key_given);
	expect_key(c, "client path header:Accept cookie:lang query:a b");
	assert_int_equal(c->key[4].kind, CONF_KEY_ARGUMENT);
	assert_int_equal(c->ntags, 3);
	assert_string_equal(c->tag[0].text, "draft:{id}");
	expect_template(&c->tag[0], "draft:|{id}");
	expect_template(&c->tag[1], "{header.X-User-Id}|:|{query.a b}|{part}|{*}");
	expect_template(&c->tag[2], "x");
	assert_string_equal(c->place, "test.yaml:4:12");
	assert_null(l.conf->policy->defaults.cache);
	unload(&l);
}

static void test_defaults(void **state)
{
	struct loaded l = load_yaml("cache_ttl: 300s\n"
				    "defaults: {cache: {stale: 1m, tags: [\"u:{header.U}\"]}}\n"
				    "routes:\n"
				    "  - {path: /same}\n"
				    "  - {path: /null, cache: }\n"
				    "  - {path: /post, methods: [POST]}\n"
				    "  - {path: /head, methods: [POST, HEAD]}\n"
				    "  - {path: /off, cache: off}\n"
				    "  - {path: /post-off, methods: [POST], cache: OFF}\n"
				    "  - {path: /other, cache: {}}\n");
	const struct conf_policy *p = l.conf->policy;
	const struct conf_cache_rule *c = p->defaults.cache;

	(void)state;
	assert_int_equal(c->ttl_ms, 300000);
	assert_int_equal(c->stale_ms, 60000);
	assert_int_equal(c->max_object, 0);
	assert_int_equal(c->nstatuses, 1);
	assert_int_equal(c->status[0], 200);
	assert_false(c->key_given);
	expect_key(c, "path query");
	assert_int_equal(c->ntags, 1);
	assert_ptr_equal(route_named(p, "/same")->cache, c);
	assert_ptr_equal(route_named(p, "/null")->cache, c);
	assert_ptr_equal(route_named(p, "/head")->cache, c);
	assert_null(route_named(p, "/post")->cache);
	assert_null(route_named(p, "/off")->cache);
	assert_null(route_named(p, "/post-off")->cache);
	/* A mapping replaces that of defaults, with all that is in it. */
	c = route_named(p, "/other")->cache;
	assert_int_equal(c->stale_ms, 0);
	assert_int_equal(c->ntags, 0);
	unload(&l);
	l = load_ok(ARGS(), NO_ENV);
	assert_null(l.conf->policy->defaults.cache);
	assert_int_equal(l.conf->policy->cache.warmup_concurrency, 2);
	assert_int_equal(l.conf->policy->cache.nwarmups, 0);
	assert_int_equal(l.conf->policy->cache.ninvalidations, 0);
	unload(&l);
}

static void test_wrong_rules(void **state)
{
	(void)state;
	expect_wrong("routes:\n"
		     "  - {path: /a, cache: on}\n"
		     "  - {path: /b, cache: [1]}\n"
		     "  - {path: /c, methods: [POST, PUT], cache: {}}\n"
		     "  - {path: /d, cache: {ttl: 1w, stale: -1, max_object: 33m, tll: 1s}}\n"
		     "  - {path: /e, cache: {statuses: [199, 600, 206, 304, 200, 200, x, [1]]}}\n"
		     "  - {path: /f, cache: {statuses: [], key: [], tags: x}}\n"
		     "  - {path: /g, cache: {statuses: 200, key: path}}\n",
		     "2:23: routes.0.cache: \"on\" is not off, and not a mapping such as {ttl: 60s}; "
		     "{} is a cache with the defaults\n"
		     "3:23: routes.1.cache: is not a list of \"key: value\"\n"
		     "4:45: routes.2.cache: is for GET and HEAD, and methods has neither\n"
		     "5:61: routes.3.cache: \"tll\" is unknown as a key; did you mean ttl?\n"
		     "5:29: routes.3.cache.ttl: \"1w\" is not a duration from 0 to 8760h (500ms, "
		     "30s, 5m, 1h, or plain seconds)\n"
		     "5:40: routes.3.cache.stale: \"-1\" is not a duration from 0 to 8760h (500ms, "
		     "30s, 5m, 1h, or plain seconds)\n"
		     "5:56: routes.3.cache.max_object: is 34603008, which is more than half of "
		     "CACHE_MEMORY (default) with 67108864\n"
		     "6:35: routes.4.cache.statuses.0: \"199\" is not a whole number from 200 to "
		     "599\n"
		     "6:40: routes.4.cache.statuses.1: \"600\" is not a whole number from 200 to "
		     "599\n"
		     "6:45: routes.4.cache.statuses.2: 206 is not a whole answer, and is never "
		     "kept\n"
		     "6:50: routes.4.cache.statuses.3: 304 is not a whole answer, and is never "
		     "kept\n"
		     "6:60: routes.4.cache.statuses.5: \"200\" is in the list twice\n"
		     "6:65: routes.4.cache.statuses.6: \"x\" is not a whole number from 200 to "
		     "599\n"
		     "6:68: routes.4.cache.statuses.7: is not a single value\n"
		     "7:43: routes.5.cache.key: has no items; leave it out for [path, query]\n"
		     "7:53: routes.5.cache.tags: is not a list\n"
		     "7:34: routes.5.cache.statuses: has no items; leave it out for [200]\n"
		     "8:44: routes.6.cache.key: is not a list\n"
		     "8:34: routes.6.cache.statuses: is not a list\n");
}

static void test_wrong_keys(void **state)
{
	(void)state;
	expect_wrong("routes:\n"
		     "  - {path: /a, cache: {key: [path, host, method, pth, heeder:X, \"header:\",\n"
		     "      \"query:\", \"path\"]}}\n"
		     "  - {path: /b, cache: {key: [path, query, \"query:a\"]}}\n"
		     "  - {path: /c, cache: {key: [\"header:A\", \"header:a\", \"query:A\", \"query:a\",\n"
		     "      \"client:x\", [x]]}}\n"
		     "  - {path: /d, cache: {key: [path, query, client, \"header:1\", \"header:2\",\n"
		     "      \"header:3\", \"header:4\", \"header:5\", \"header:6\"]}}\n",
		     "2:36: routes.0.cache.key.1: host is always part of the key, without being "
		     "named\n"
		     "2:42: routes.0.cache.key.2: \"method\" is no key: path, query, query:NAME, "
		     "header:NAME, cookie:NAME or client\n"
		     "2:50: routes.0.cache.key.3: \"pth\" is no key: path, query, query:NAME, "
		     "header:NAME, cookie:NAME or client; did you mean path?\n"
		     "2:55: routes.0.cache.key.4: \"heeder:X\" is no key: path, query, query:NAME, "
		     "header:NAME, cookie:NAME or client; did you mean header:NAME?\n"
		     "2:65: routes.0.cache.key.5: \"header:\" needs the name of a field after a "
		     "colon, such as header:X-API-Key\n"
		     "3:7: routes.0.cache.key.6: \"query:\" needs the name of an argument after a "
		     "colon, such as query:page\n"
		     "3:17: routes.0.cache.key.7: \"path\" is in the list twice\n"
		     "4:29: routes.1.cache.key: has query, and so all of its arguments: leave out "
		     "query or query:NAME\n"
		     "5:42: routes.2.cache.key.1: \"header:a\" is in the list twice\n"
		     "6:7: routes.2.cache.key.4: \"client:x\" is no key: path, query, query:NAME, "
		     "header:NAME, cookie:NAME or client; did you mean client?\n"
		     "6:19: routes.2.cache.key.5: is not a single value\n"
		     "7:29: routes.3.cache.key: has 9 items; 8 are possible\n");
}

/* One answer for all paths is possible; but it is told where there are several. */
static void test_key_without_path(void **state)
{
	struct loaded l = load_yaml("routes:\n"
				    "  - {path: /a, cache: {key: [query]}}\n"
				    "  - {path: \"/b/{x}\", cache: {key: [query]}}\n"
				    "  - {path: \"/c/*\", cache: {key: [\"header:A\"]}}\n");

	(void)state;
	assert_null(strstr(l.report.notes.p, "test.yaml:2:"));
	assert_non_null(strstr(l.report.notes.p, "test.yaml:3:35: the key of the cache has no "
			       "path: all paths of /b/{x} get the same answer\n"));
	assert_non_null(strstr(l.report.notes.p, "test.yaml:4:33: the key of the cache has no "
			       "path: all paths of /c/* get the same answer\n"));
	unload(&l);
}

static void test_wrong_templates(void **state)
{
	char yaml[700], text[300];

	(void)state;
	expect_wrong("defaults: {cache: {tags: [\"a:{id}\"]}}\n"
		     "routes:\n"
		     "  - path: /a/{id}/{part}\n"
		     "    cache:\n"
		     "      tags: [\"{ids}\", \"{}\", \"{*}\", \"{query.}\", \"{header.a b}\", \"{id\",\n"
		     "        \"id}\", \"{{id}}\", \"a*\", \"\", ok, ok, [x]]\n"
		     "  - {path: /b, cache: {tags: [\"{id}\"]}}\n"
		     "  - {path: \"/c/*\", cache: {tags: [\"{id}\", \"{*}\"]}}\n",
		     "1:27: defaults.cache.tags.0: \"a:{id}\" has the unknown name {id}; here there "
		     "are {query.NAME} and {header.NAME}\n"
		     "5:14: routes.0.cache.tags.0: \"{ids}\" has the unknown name {ids}; here there "
		     "are {id}, {part}, {query.NAME} and {header.NAME}\n"
		     "5:23: routes.0.cache.tags.1: \"{}\" has the unknown name {}; here there are "
		     "{id}, {part}, {query.NAME} and {header.NAME}\n"
		     "5:29: routes.0.cache.tags.2: \"{*}\" has the unknown name {*}; here there are "
		     "{id}, {part}, {query.NAME} and {header.NAME}\n"
		     "5:36: routes.0.cache.tags.3: \"{query.}\" has the unknown name {query.}; here "
		     "there are {id}, {part}, {query.NAME} and {header.NAME}\n"
		     "5:48: routes.0.cache.tags.4: \"{header.a b}\" has the unknown name {header.a "
		     "b}; here there are {id}, {part}, {query.NAME} and {header.NAME}\n"
		     "5:64: routes.0.cache.tags.5: \"{id\" has a { without a }\n"
		     "6:9: routes.0.cache.tags.6: \"id}\" has a } without a {\n"
		     "6:16: routes.0.cache.tags.7: \"{{id}}\" has a { without a }\n"
		     "6:26: routes.0.cache.tags.8: \"a*\" has a *, which only patterns of "
		     "invalidations have\n"
		     "6:32: routes.0.cache.tags.9: has 1 to 255 bytes\n"
		     "6:40: routes.0.cache.tags.11: \"ok\" is in the list twice\n"
		     "6:44: routes.0.cache.tags.12: is not a single value\n"
		     "7:31: routes.1.cache.tags.0: \"{id}\" has the unknown name {id}; here there "
		     "are {query.NAME} and {header.NAME}\n"
		     "8:35: routes.2.cache.tags.0: \"{id}\" has the unknown name {id}; here there "
		     "are {*}, {query.NAME} and {header.NAME}\n");
	memset(text, 'x', sizeof(text));
	text[256] = '\0';
	snprintf(yaml, sizeof(yaml), "defaults: {cache: {tags: [%s, %s]}}\n", text + 1, text);
	expect_wrong(yaml, "1:284: defaults.cache.tags.1: has 1 to 255 bytes\n");
	/* 16 parts are possible. */
	text[0] = '\0';
	for (int i = 0; i < 8; i++)
		strcat(text, "-{query.a}");
	snprintf(yaml, sizeof(yaml), "defaults: {cache: {tags: [\"%s\", \"%s.\"]}}\n", text, text);
	expect_wrong(yaml, "1:111: defaults.cache.tags.1: \"-{query.a}-{query.a}-{query.a}-{query.a}"
			   "-{query.a}-{query.a}-{query.a}-{query.a}...\" has more than 16 parts\n");
}

/* ---- the section ---- */

static void test_warmup(void **state)
{
	struct loaded l = load_yaml(
		"routes: [{path: \"/d/{x}\", cache: {}}]\n"
		"cache:\n"
		"  warmup_concurrency: 64\n"
		"  warmup:\n"
		"    - {name: a, urls: [\"/d/1?x=%20&y\", /d/2], schedule: \"0 */6 * * mon\",\n"
		"       priority: high, host: \"example.com:80\"}\n"
		"    - {name: b, urls: [/d/%41, /, /other], schedule: \"@Start\"}\n"
		"    - {name: c, urls: [/d/1], schedule: \"@hourly\"}\n");
	const struct conf_cache *c = &l.conf->policy->cache;
	const struct conf_warmup *w = c->warmup;

	(void)state;
	assert_int_equal(c->warmup_concurrency, 64);
	assert_int_equal(c->nwarmups, 3);
	assert_string_equal(w[0].name, "a");
	assert_int_equal(w[0].nurls, 2);
	assert_string_equal(w[0].url[0], "/d/1?x=%20&y");
	assert_string_equal(w[0].url[1], "/d/2");
	assert_string_equal(w[0].host, "example.com:80");
	assert_string_equal(w[0].schedule, "0 */6 * * mon");
	assert_false(w[0].at_start);
	assert_int_equal(w[0].cron.hour, 1 | 1 << 6 | 1 << 12 | 1 << 18);
	assert_int_equal(w[0].cron.weekday, 1 << 1);
	assert_int_equal(w[0].class, CONF_CLASS_HIGH);
	assert_string_equal(w[0].place, "test.yaml:5:7");
	assert_true(w[1].at_start);
	assert_null(w[1].host);
	assert_int_equal(w[1].class, CONF_CLASS_LOW);
	assert_int_equal(w[2].cron.minute, 1);
	assert_non_null(strstr(l.report.notes.p, "test.yaml:7:7: 2 of the urls are of routes that "
			       "have no cache, / first: what is requested is not kept\n"));
	assert_null(strstr(l.report.notes.p, "test.yaml:5:7"));
	assert_null(strstr(l.report.notes.p, "test.yaml:8:7"));
	unload(&l);
}

static void test_wrong_warmups(void **state)
{
	static const char not_path[] = "is no path that a request can have: in it a blank is %20, # "
				       "is %23, and so on, and it fits into LIMIT_REQUEST_LINE";
	char want[3000];

	(void)state;
	snprintf(want, sizeof(want),
		 "2:23: cache.warmup_concurrency: \"65\" is not a whole number from 1 to 64\n"
		 "4:7: cache.warmup.0: needs a name\n"
		 "4:7: cache.warmup.0: needs urls, a list of paths\n"
		 "4:7: cache.warmup.0: needs a schedule, such as @start, or \"0 2 * * *\" for 2 "
		 "o'clock\n"
		 "5:14: cache.warmup.1.name: \"a b\" is no name: 1 to 47 letters, digits, _, - and "
		 "dots\n"
		 "5:25: cache.warmup.1.urls: has no items\n"
		 "5:39: cache.warmup.1.schedule: \"@often\" is no schedule; of such words there "
		 "are @hourly @daily @midnight @weekly @monthly @yearly @annually @start\n"
		 "6:24: cache.warmup.2.urls.0: \"x\" is no path, which begins with /; a host is "
		 "given by itself (host: example.com)\n"
		 "6:27: cache.warmup.2.urls.1: \"http://h/\" is no path, which begins with /; a "
		 "host is given by itself (host: example.com)\n"
		 "6:40: cache.warmup.2.urls.2: \"/a b\" %s\n"
		 "6:48: cache.warmup.2.urls.3: \"/a#b\" %s\n"
		 "6:56: cache.warmup.2.urls.4: \"/%%zz\" %s\n"
		 "7:18: cache.warmup.2.schedule: \"0 24 * * *\" has \"24\" as hour; there are 0 to "
		 "23\n"
		 "7:42: cache.warmup.2.priority: \"hihg\" is not one of high, medium, low; did you "
		 "mean high?\n"
		 "7:54: cache.warmup.2.host: \"a b\" is no host, such as example.com or "
		 "example.com:8000\n"
		 "8:14: cache.warmup.3.name: \"c\" is the name of the one at test.yaml:6:7 "
		 "already\n"
		 "8:54: cache.warmup.3.host: \"\" is no host, such as example.com or "
		 "example.com:8000\n"
		 "9:7: cache.warmup.4: is not a list of \"key: value\"\n"
		 "10:23: cache.warmup.5.host: \"a \" is no host, such as example.com or "
		 "example.com:8000\n"
		 "11:37: cache.warmup.6: \"url\" is unknown as a key; did you mean urls?\n"
		 "11:7: cache.warmup.6: needs urls, a list of paths\n"
		 "12:14: cache.warmup.7.name: \"\" is no name: 1 to 47 letters, digits, _, - and "
		 "dots\n",
		 not_path, not_path, not_path);
	expect_wrong("cache:\n"
		     "  warmup_concurrency: 65\n"
		     "  warmup:\n"
		     "    - {}\n"
		     "    - {name: a b, urls: [], schedule: \"@often\"}\n"
		     "    - {name: c, urls: [x, \"http://h/\", \"/a b\", \"/a#b\", /%zz],\n"
		     "       schedule: \"0 24 * * *\", priority: hihg, host: a b}\n"
		     "    - {name: c, urls: [/], schedule: \"@daily\", host: \"\"}\n"
		     "    - x\n"
		     "    - {name: d, host: \"a \", urls: [/], schedule: \"@daily\"}\n"
		     "    - {name: e, schedule: \"@daily\", url: [/]}\n"
		     "    - {name: \"\", schedule: \"@daily\", urls: [/1, /2, /3, /4]}\n"
		     "    - {name: f, schedule: \"@daily\", urls: [/]}\n", want);
}

static void test_invalidations(void **state)
{
	struct loaded l = load_yaml(
		"cache:\n"
		"  invalidate:\n"
		"    - name: updated\n"
		"      when: [\"POST /d/{id}\", \"DELETE /d/{id}\", \"PURGE /{x}/{id}/*\"]\n"
		"      patterns: [\"draft:{id}:*\", \"**u:{header.X-User}*x\", \"*\"]\n"
		"      tags: [\"drafts\", \"{query.q}\"]\n"
		"      cascade: true\n"
		"      async: on\n"
		"    - {name: again, when: [\"POST /d/{y}\"], tags: [\"{y}\"]}\n");
	const struct conf_cache *c = &l.conf->policy->cache;
	const struct conf_invalidation *inv = c->invalidation;

	(void)state;
	assert_int_equal(c->ninvalidations, 2);
	assert_string_equal(inv[0].name, "updated");
	assert_int_equal(inv[0].nwhen, 3);
	assert_string_equal(inv[0].when[0].method, "POST");
	assert_string_equal(inv[0].when[2].method, "PURGE");
	assert_string_equal(inv[0].when[2].pattern, "/{x}/{id}/*");
	assert_int_equal(inv[0].npatterns, 3);
	expect_template(&inv[0].pattern[0], "draft:|{id}|:|<*>");
	expect_template(&inv[0].pattern[1], "<*>|u:|{header.X-User}|<*>|x");
	expect_template(&inv[0].pattern[2], "<*>");
	assert_int_equal(inv[0].ntags, 2);
	expect_template(&inv[0].tag[0], "drafts");
	assert_true(inv[0].cascade && inv[0].async);
	assert_string_equal(inv[0].place, "test.yaml:3:7");
	assert_false(inv[1].cascade || inv[1].async);
	assert_int_equal(inv[1].npatterns, 0);
	expect_template(&inv[1].tag[0], "{y}");
	assert_false(l.conf->policy->has_routes);
	unload(&l);
}

static void test_wrong_invalidations(void **state)
{
	(void)state;
	expect_wrong("cache:\n"
		     "  invalidate:\n"
		     "    - {}\n"
		     "    - {name: a, when: [], tags: [x]}\n"
		     "    - {name: b, when: [POST, \"/x\", \"POST x\", \"PSOT /x\", \"post /x\", \"POST /{\",\n"
		     "      \"POST /a/{x}\", \"POST /a/{y}\", \"* /x\"], patterns: [\"*\"]}\n"
		     "    - {name: c, when: [\"PUT /a/{x}/{y}\", \"PUT /b/{x}\"], patterns: [\"{y}\"],\n"
		     "       tags: [\"*\"]}\n"
		     "    - {name: c, when: [\"PUT /a\"], cascade: maybe}\n"
		     "    - {name: d, when: \"PUT /a\", pattern: [x]}\n"
		     "  invalidates: []\n",
		     "11:3: cache: \"invalidates\" is unknown as a key; did you mean invalidate?\n"
		     "3:7: cache.invalidate.0: needs a name\n"
		     "3:7: cache.invalidate.0: needs when, a list of texts such as POST "
		     "/drafts/{id}\n"
		     "4:23: cache.invalidate.1.when: has no items\n"
		     "5:24: cache.invalidate.2.when.0: \"POST\" is not a method, a blank and a "
		     "pattern, such as POST /drafts/{id}\n"
		     "5:30: cache.invalidate.2.when.1: \"/x\" is not a method, a blank and a "
		     "pattern, such as POST /drafts/{id}\n"
		     "5:36: cache.invalidate.2.when.2: \"POST x\" is not a method, a blank and a "
		     "pattern, such as POST /drafts/{id}\n"
		     "5:46: cache.invalidate.2.when.3: \"PSOT /x\" begins with no method; did you "
		     "mean POST?\n"
		     "5:57: cache.invalidate.2.when.4: \"post /x\" begins with no method; did you "
		     "mean POST?\n"
		     "5:68: cache.invalidate.2.when.5: pattern \"/{\": a parameter must be a whole "
		     "segment, as in \"/users/{id}\"\n"
		     "6:22: cache.invalidate.2.when.7: \"POST /a/{y}\" is in the list twice\n"
		     "6:37: cache.invalidate.2.when.8: \"* /x\" begins with no method\n"
		     "7:68: cache.invalidate.3.patterns.0: \"{y}\" has the unknown name {y}; here "
		     "there are {x}, {query.NAME} and {header.NAME}\n"
		     "8:15: cache.invalidate.3.tags.0: \"*\" has a *, which only patterns of "
		     "invalidations have\n"
		     "9:14: cache.invalidate.4.name: \"c\" is the name of the one at test.yaml:7:7 "
		     "already\n"
		     "9:44: cache.invalidate.4.cascade: \"maybe\" is not a boolean (true, false, "
		     "yes, no, on, off, 1 or 0)\n"
		     "9:7: cache.invalidate.4: drops nothing: it needs patterns, tags or both\n"
		     "10:33: cache.invalidate.5: \"pattern\" is unknown as a key; did you mean "
		     "patterns?\n"
		     "10:23: cache.invalidate.5.when: is not a list\n");
}

static void test_wrong_section(void **state)
{
	(void)state;
	expect_wrong("cache: 5\n", "1:8: cache: is not a list of \"key: value\"\n");
	expect_wrong("cache: {warmup: {}, invalidate: x}\n",
		     "1:17: cache.warmup: is not a list\n1:33: cache.invalidate: is not a list\n");
}

/* ---- sizes ---- */

static void test_sizes(void **state)
{
	struct loaded l = load_yaml("defaults: {cache: {max_object: 20m}}\n");
	struct conf *c = l.conf;

	(void)state;
	assert_int_equal(c->cache_bytes, 64 << 20);
	assert_int_equal(c->cache_object_max, 16 << 20);
	assert_int_equal(c->policy->defaults.cache->max_object, 20 << 20);
	assert_false(conf_lower_cache(c, 64 << 20));
	assert_true(conf_lower_cache(c, (64 << 20) - 1));
	assert_int_equal(c->cache_bytes, (64 << 20) - 1);
	assert_true(conf_lower_cache(c, 32 << 20));
	assert_int_equal(c->cache_object_max, 8 << 20);
	assert_int_equal(c->policy->defaults.cache->max_object, 16 << 20);
	assert_true(conf_lower_cache(c, 1 << 20));
	assert_int_equal(c->cache_bytes, 8 << 20);
	assert_int_equal(c->policy->defaults.cache->max_object, 4 << 20);
	assert_false(conf_lower_cache(c, 0));
	assert_int_equal(c->s.cache_memory, CONF_UNSET);
	unload(&l);
}

static void test_settings(void **state)
{
	struct loaded l = load_ok(ARGS("--cache-memory=256m"), ENV("CACHE_TTL=0"));

	(void)state;
	assert_int_equal(l.conf->cache_bytes, 256 << 20);
	assert_int_equal(l.conf->cache_object_max, 64 << 20);
	assert_int_equal(l.conf->s.cache_max_object, CONF_UNSET);
	assert_false(conf_lower_cache(l.conf, 16 << 20)); /* somebody wants so much */
	unload(&l);
	l = load_ok(ARGS("--cache-memory=2m", "--cache-max-object=1m"), NO_ENV);
	assert_int_equal(l.conf->cache_object_max, 1 << 20);
	unload(&l);
	l = load_ok(ARGS("--cache-max-object=32m", "--cache-memory=auto"), NO_ENV);
	assert_true(conf_lower_cache(l.conf, 16 << 20));
	assert_int_equal(l.conf->cache_object_max, 8 << 20);
	unload(&l);
	/* Without a cache sizes of answers do not matter: files are shared. */
	write_file("test.yaml", "cache_max_object: 1g\ndefaults: {cache: {max_object: 1g}}\n");
	l = load_ok(ARGS("-c", "test.yaml", "--cache-memory=0"), NO_ENV);
	assert_int_equal(l.conf->cache_bytes, 0);
	assert_int_equal(l.conf->cache_object_max, 0);
	unload(&l);
	l = load_yaml("cache_ttl: 7s\ndefaults: {cache: {}}\nroutes:\n"
		      "  - {path: /x, cache: {ttl: 0}}\n");
	assert_int_equal(l.conf->policy->defaults.cache->ttl_ms, 7000);
	assert_int_equal(l.conf->policy->route[0].cache->ttl_ms, 0);
	unload(&l);
}

static void test_wrong_settings(void **state)
{
	(void)state;
	expect_errors(ARGS("--cache-memory=1048575"), NO_ENV,
		      "flag --cache-memory: CACHE_MEMORY is 1048575; 0 is no cache, and the "
		      "smallest one has 1m\n");
	expect_errors(ARGS("--cache-memory=1m"), ENV("CACHE_MAX_OBJECT=524289"),
		      "environment variable CACHE_MAX_OBJECT: CACHE_MAX_OBJECT (environment "
		      "variable CACHE_MAX_OBJECT) is 524289, which is more than half of "
		      "CACHE_MEMORY (flag --cache-memory) with 1048576\n");
	expect_errors(ARGS("--cache-max-object=33m"), NO_ENV,
		      "flag --cache-max-object: CACHE_MAX_OBJECT (flag --cache-max-object) is "
		      "34603008, which is more than half of CACHE_MEMORY (default) with 67108864\n");
	expect_errors(ARGS("--cache-max-object=0"), NO_ENV,
		      "flag --cache-max-object: \"0\" is not a size from 1 to 1024g (64k, 256m, 2g, "
		      "or plain bytes) and not auto\n");
}

static void test_carry_over_settings(void **state)
{
	struct loaded cur = load_ok(ARGS("--cache-memory=8m"), NO_ENV);
	struct loaded next = load_ok(ARGS("--cache-memory=80m", "--cache-max-object=30m"), NO_ENV);

	(void)state;
	strbuf_clear(&next.report.notes);
	conf_carry_over(next.conf, cur.conf, &next.report);
	assert_string_equal(next.report.notes.p, "CACHE_MEMORY: 80m instead of 8m needs a restart "
						 "or an upgrade\n");
	assert_int_equal(next.conf->cache_bytes, 8 << 20);
	assert_int_equal(next.conf->cache_object_max, 4 << 20);
	unload(&cur);
	unload(&next);
}

/* What was lowered at the start stays. */
static void test_carry_over(void **state)
{
	struct loaded cur = load_yaml("");
	struct loaded next = load_yaml("routes: [{path: /x, cache: {max_object: 20m}}]\n");

	(void)state;
	assert_true(conf_lower_cache(cur.conf, 10 << 20));
	strbuf_clear(&next.report.notes);
	conf_carry_over(next.conf, cur.conf, &next.report);
	assert_string_equal(next.report.notes.p, "");
	assert_int_equal(next.conf->cache_bytes, 10 << 20);
	assert_int_equal(next.conf->cache_object_max, (10 << 20) / 4);
	assert_int_equal(next.conf->policy->route[0].cache->max_object, 5 << 20);
	unload(&cur);
	unload(&next);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rule),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_wrong_rules),
		cmocka_unit_test(test_wrong_keys),
		cmocka_unit_test(test_key_without_path),
		cmocka_unit_test(test_wrong_templates),
		cmocka_unit_test(test_warmup),
		cmocka_unit_test(test_wrong_warmups),
		cmocka_unit_test(test_invalidations),
		cmocka_unit_test(test_wrong_invalidations),
		cmocka_unit_test(test_wrong_section),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_settings),
		cmocka_unit_test(test_wrong_settings),
		cmocka_unit_test(test_carry_over_settings),
		cmocka_unit_test(test_carry_over),
	};

	return cmocka_run_group_tests(tests, enter_directory, leave_directory);
}
