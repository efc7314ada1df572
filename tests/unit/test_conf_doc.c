/* SPDX-License-Identifier: MIT */
/* The table itself, and the documents made from it. */
#include "conf_help.h"

#include <ctype.h>

#include <jansson.h>

#include "conf/conf_priv.h"

/* What a writer writes, as a text for the caller to free. */
static char *written(void (*write_doc)(FILE *f))
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	assert_non_null(f);
	write_doc(f);
	assert_int_equal(fclose(f), 0);
	return text;
}

static void test_rows_are_whole(void **state)
{
	(void)state;
	assert_non_null(conf_rows[0].group);
	for (size_t i = 0; i < CONF_ROWS; i++) {
		const struct conf_row *row = &conf_rows[i];

		assert_non_null(row->name);
		assert_int_equal(strlen(row->name), strlen(row->key));
		for (size_t k = 0; row->name[k]; k++)
			assert_int_equal(tolower((unsigned char)row->name[k]), row->key[k]);
		assert_non_null(row->help);
		assert_true(isupper((unsigned char)row->help[0]));
		assert_true(strchr(".:", row->help[strlen(row->help) - 1]) != NULL);
		if (row->type == CONF_T_INT || row->type == CONF_T_DURATION ||
		    row->type == CONF_T_SIZE || row->type == CONF_T_MODE)
			assert_true(row->min < row->max);
		if (row->later && !row->def) /* "only its default" needs one, or none at all */
			assert_null(row->shown);
	}
}

/* Every name leads to its own row: none is there twice. */
static void test_names_are_unique(void **state)
{
	(void)state;
	for (size_t i = 0; i < CONF_ROWS; i++) {
		const struct conf_row *row = &conf_rows[i];
		struct strbuf own;

		assert_ptr_equal(conf_row_by_name(slice_of(row->name)), row);
		assert_ptr_equal(conf_row_by_key(slice_of(row->key)), row);
		for (const char *p = row->aliases; p && *p; ) {
			size_t len = strcspn(p, " ");

			assert_ptr_equal(conf_row_by_name((struct slice){p, len}), row);
			p += len + strspn(p + len, " ");
		}
		for (const char *p = row->flags; p && *p; ) {
			size_t len = strcspn(p, " ");

			assert_ptr_equal(conf_row_by_flag((struct slice){p, len}), row);
			for (const struct conf_option *o = conf_options; o->flags; o++)
				assert_null(strstr(o->flags, row->flags));
			p += len + strspn(p + len, " ");
		}
		strbuf_init(&own);
		conf_own_flag(row, &own);
		assert_ptr_equal(conf_row_by_flag(slice_of(own.p)), i == CONF_R_APP ? NULL : row);
		strbuf_fini(&own);
	}
}

static void test_nearest(void **state)
{
	static const char *const words[] = {"alpha", "beta", NULL};
	struct strbuf near;

	(void)state;
	assert_string_equal(conf_nearest(SLICE("alhpa"), words), "alpha");
	assert_string_equal(conf_nearest(SLICE("bet"), words), "beta");
	assert_null(conf_nearest(SLICE("gamma"), words));
	assert_null(conf_nearest(SLICE(""), words));
	strbuf_init(&near);
	assert_true(conf_nearest_row(SLICE("WORKER_TIMOUT"), CONF_BY_NAME, &near));
	assert_string_equal(near.p, "WORKER_TIMEOUT");
	assert_true(conf_nearest_row(SLICE("keepalive_timout"), CONF_BY_KEY, &near));
	assert_string_equal(near.p, "keepalive_timeout");
	assert_true(conf_nearest_row(SLICE("--acces-logfile"), CONF_BY_FLAG, &near));
	assert_string_equal(near.p, "--access-logfile");
	assert_false(conf_nearest_row(SLICE("--quite-something-else"), CONF_BY_FLAG, &near));
	assert_true(conf_nearest_row(SLICE("workers"), CONF_BY_KEY, &near));
	assert_string_equal(near.p, "web_workers");
	assert_true(conf_nearest_row(SLICE("ACCESS_LOGFILE"), CONF_BY_NAME, &near));
	assert_string_equal(near.p, "ACCESS_LOG");
	strbuf_fini(&near);
}

/* Each key of a section is in the documents about the file. */
static void test_documents_name_keys(void **state)
{
	char *md = written(conf_write_markdown), *man = written(conf_write_man5), want[80];

	(void)state;
	for (int k = 0; k < CONF_KEYS; k++) {
		snprintf(want, sizeof(want), "| `%s` |", conf_keys[k].key);
		assert_non_null(strstr(md, want));
		snprintf(want, sizeof(want), ".TP\n\\fB%s\\fR\n", conf_keys[k].key);
		assert_non_null(strstr(man, want));
	}
	assert_non_null(strstr(md, conf_sections_example));
	free(man);
	free(md);
}

/* The documents name each setting, and say which are not built yet. */
static void test_documents_name_all(void **state)
{
	static void (*const writers[])(FILE *) = {
		conf_write_help, conf_write_markdown, conf_write_man8, conf_write_sample,
		conf_write_man5,
	};

	(void)state;
	for (size_t w = 0; w < sizeof(writers) / sizeof(writers[0]); w++) {
		char *text = written(writers[w]);
		bool by_key = writers[w] == conf_write_sample || writers[w] == conf_write_man5;

		for (size_t i = 0; i < CONF_ROWS; i++)
			if (!strstr(text, by_key ? conf_rows[i].key : conf_rows[i].name))
				fail_msg("document %zu lacks %s", w, conf_rows[i].name);
		assert_non_null(strstr(text, "ot built yet"));
		free(text);
	}
}

static void test_help_fits(void **state)
{
	char *text = written(conf_write_help), *line, *rest = NULL;

	(void)state;
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		assert_true(strlen(line) <= 80);
	free(text);
}

/* The sample file is the defaults: as it is, and with every key brought to life. */
static void test_sample_is_the_defaults(void **state)
{
	char *text = written(conf_write_sample);
	struct loaded plain, sample;

	(void)state;
	plain = load_ok(ARGS(), NO_ENV);
	for (int alive = 0; alive < 2; alive++) {
		for (char *p = text; alive && (p = strstr(p, "\n#")); p++)
			if (islower((unsigned char)p[2]))
				memmove(p + 1, p + 2, strlen(p + 2) + 1);
		write_file("test.yaml", text);
		sample = load_ok(ARGS("-c", "test.yaml"), NO_ENV);
		for (size_t i = 0; i < CONF_ROWS; i++) {
			/* MAX_REQUESTS that is set, if to its default, is not left alone. */
			if (alive && i == CONF_R_MIN_WORKER_LIFETIME)
				continue;
			if (!conf_value_equal(&conf_rows[i], &plain.conf->s, &sample.conf->s))
				fail_msg("%s is not its default", conf_rows[i].name);
		}
		assert_int_equal(sample.conf->priv->from[CONF_R_BACKLOG].origin,
				 alive ? CONF_FILE : CONF_DEFAULT);
		unload(&sample);
	}
	unload(&plain);
	free(text);
}

static const struct conf *to_print;

static void print_it(FILE *f)
{
	conf_write_print(to_print, f);
}

static json_t *printed(const struct conf *c)
{
	char *text;
	json_t *doc;

	to_print = c;
	text = written(print_it);
	doc = json_loads(text, 0, NULL);
	assert_non_null(doc);
	free(text);
	return doc;
}

static const json_t *member(const json_t *doc, const char *key, const char *name)
{
	return json_object_get(json_object_get(doc, key), name);
}

static void test_print(void **state)
{
	struct loaded l;
	json_t *doc;

	(void)state;
	write_file("test.yaml", "retry_delay: 500ms\nadmin_token: hush\nbacklog: 10\n");
	l = load_ok(ARGS("-c", "test.yaml", "-w3", "-m", "022", "--name", "\xff"),
		    ENV("KEEPALIVE=1m"));
	doc = printed(l.conf);
	assert_int_equal(json_object_size(doc), CONF_ROWS + 2); /* and module, policy */
	assert_int_equal(json_integer_value(member(doc, "web_workers", "value")), 3);
	assert_string_equal(json_string_value(member(doc, "web_workers", "origin")), "flag");
	assert_string_equal(json_string_value(member(doc, "web_workers", "place")), "flag -w");
	assert_int_equal(json_integer_value(member(doc, "keepalive_timeout", "value")), 60);
	assert_string_equal(json_string_value(member(doc, "keepalive_timeout", "place")),
			    "environment variable KEEPALIVE");
	assert_true(json_real_value(member(doc, "retry_delay", "value")) == 0.5);
	assert_string_equal(json_string_value(member(doc, "backlog", "place")),
			    "test.yaml:3:10: backlog");
	assert_string_equal(json_string_value(member(doc, "admin_token", "value")), "(not shown)");
	assert_string_equal(json_string_value(member(doc, "umask", "value")), "0022");
	assert_string_equal(json_string_value(member(doc, "name", "value")), "\"\\xff\"");
	assert_true(json_is_null(member(doc, "port", "value")));
	assert_string_equal(json_string_value(member(doc, "access_log", "value")), "off");
	assert_string_equal(json_string_value(member(doc, "cache_memory", "value")), "auto");
	assert_string_equal(json_string_value(member(doc, "bind", "origin")), "default");
	assert_string_equal(json_string_value(member(doc, "status_prefix", "value")), "/");
	json_decref(doc);
	unload(&l);
}

/* The policy is shown with defaults resolved and names in full. */
static void test_print_policy(void **state)
{
	struct loaded l;
	json_t *doc, *got, *want;

	(void)state;
	write_file("test.yaml",
		   "semaphores: {a: {limit: 2, queue: 5, queue_timeout: 1500ms, hold: work}}\n"
		   "rate_limits:\n"
		   "  r: {rate: 9/h, key: {all: [client, \"cookie:x\"]}, mode: shadow}\n"
		   "  t: {algorithm: sliding_window, paths: {/p: {rate: 1/d}}}\n"
		   "defaults: {rate_limits: [r], timeout: 1m, priority: low}\n"
		   "routes:\n"
		   "  - {path: /x, methods: [GET], semaphores: [{name: a, weight: 2}], max_body: 1k,\n"
		   "     priority: {header: P, from: any}, access: status, stream_idle_timeout: 1,\n"
		   "     cache: {stale: 500ms, key: [path, \"query:a\", \"header:B\"], tags: [\"x:{header.C}\"]}}\n"
		   "cache:\n"
		   "  warmup: [{name: w, urls: [/x?a=1], schedule: \"@start\", host: \"h:1\"}]\n"
		   "  invalidate: [{name: i, when: [\"PUT /x/{y}\"], patterns: [\"x:*\"],\n"
		   "    tags: [\"y:{y}\"], cascade: yes}]\n");
	l = load_ok(ARGS("-c", "test.yaml"), NO_ENV);
	doc = printed(l.conf);
	assert_string_equal(json_string_value(member(doc, "policy", "origin")), "file");
	assert_string_equal(json_string_value(member(doc, "policy", "takes_effect")), "reload");
	got = json_object_get(json_object_get(doc, "policy"), "value");
	want = json_loads(
		"{\"a\": {\"limit\": 2, \"limit_max\": 1024, \"queue\": 5, \"queue_timeout\": 1.5,"
		" \"hold\": \"work\", \"classes\": {\"high\": {\"weight\": 3, \"queue\": 5},"
		" \"medium\": {\"weight\": 2, \"queue\": 5}, \"low\": {\"weight\": 1, \"queue\": 5}},"
		" \"place\": \"test.yaml:1:14\"},"
		" \"rates\": {\"r\": {\"algorithm\": \"token_bucket\", \"rate\": \"9/h\", \"burst\": 9,"
		" \"key\": {\"all\": [\"client\", \"cookie:x\"]}, \"entries\": 65536,"
		" \"when_full\": \"deny\", \"mode\": \"shadow\", \"place\": \"test.yaml:3:3\"},"
		" \"t /p\": {\"algorithm\": \"sliding_window\", \"rate\": \"1/d\", \"burst\": 0,"
		" \"key\": \"none\", \"mode\": \"enforce\", \"path\": \"/p\","
		" \"place\": \"test.yaml:4:42\"}},"
		" \"defaults\": {\"semaphores\": [{\"name\": \"global\", \"weight\": 1}],"
		" \"rate_limits\": [\"r\"], \"priority\": \"low\", \"timeout\": 60,"
		" \"stream_idle_timeout\": null, \"max_body\": null, \"access\": \"open\","
		" \"cache\": \"off\","
		" \"place\": \"test.yaml:5:11\"},"
		" \"routes\": [{\"path\": \"/x\", \"name\": \"/x\", \"methods\": [\"GET\"],"
		" \"semaphores\": [{\"name\": \"a\", \"weight\": 2}, {\"name\": \"global\", \"weight\": 1}],"
		" \"rate_limits\": [\"r\"], \"priority\": {\"header\": \"P\", \"from\": \"any\","
		" \"default\": \"medium\"}, \"timeout\": 60, \"stream_idle_timeout\": 1,"
		" \"max_body\": 1024, \"access\": \"status\", \"cache\": {\"ttl\": 300, \"stale\": 0.5,"
		" \"key\": [\"path\", \"query:a\", \"header:B\"], \"tags\": [\"x:{header.C}\"],"
		" \"statuses\": [200], \"max_object\": null, \"place\": \"test.yaml:9:13\"},"
		" \"place\": \"test.yaml:7:5\"}],"
		" \"cache\": {\"warmup_concurrency\": 2, \"warmup\": [{\"name\": \"w\","
		" \"urls\": [\"/x?a=1\"], \"schedule\": \"@start\", \"priority\": \"low\","
		" \"host\": \"h:1\", \"place\": \"test.yaml:11:12\"}], \"invalidate\": [{"
		" \"name\": \"i\", \"when\": [\"PUT /x/{y}\"], \"patterns\": [\"x:*\"],"
		" \"tags\": [\"y:{y}\"], \"cascade\": true, \"async\": false,"
		" \"place\": \"test.yaml:12:16\"}]}}",
		0, NULL);
	assert_non_null(want);
	assert_true(json_equal(member(got, "semaphores", "a"), json_object_get(want, "a")));
	assert_int_equal(json_object_size(json_object_get(got, "semaphores")), 3);
	assert_true(json_equal(json_object_get(got, "rate_limits"), json_object_get(want, "rates")));
	assert_true(json_equal(json_object_get(got, "defaults"), json_object_get(want, "defaults")));
	assert_true(json_equal(json_object_get(got, "routes"), json_object_get(want, "routes")));
	assert_true(json_equal(json_object_get(got, "cache"), json_object_get(want, "cache")));
	json_decref(want);
	json_decref(doc);
	unload(&l);
}

/* What is listened on is shown also when HOST and PORT say it. */
static void test_print_host_and_port(void **state)
{
	struct loaded l = load_ok(ARGS("--host", "::1"), ENV("PORT=9000", "BIND=127.0.0.1:1"));
	json_t *doc = printed(l.conf);
	const json_t *bind = member(doc, "bind", "value");

	(void)state;
	assert_int_equal(json_array_size(bind), 1);
	assert_string_equal(json_string_value(json_array_get(bind, 0)), "[::1]:9000");
	assert_string_equal(json_string_value(member(doc, "bind", "origin")), "flag");
	assert_string_equal(json_string_value(member(doc, "bind", "place")), "flag --host");
	json_decref(doc);
	unload(&l);
}

/* Values that are printed can be used as they are. */
static void test_print_reads_back(void **state)
{
	struct loaded l = load_ok(ARGS("-w3", "-t", "90m", "--header-timeout=250ms"), NO_ENV);
	struct loaded again;
	json_t *doc = printed(l.conf), *entry, *value;
	struct strbuf yaml;
	const char *key;
	char *text;

	(void)state;
	strbuf_init(&yaml);
	json_object_foreach(doc, key, entry) {
		value = json_object_get(entry, "value");
		/* The policy is what sections come to, with names that are taken by themselves. */
		if (json_is_null(value) || strcmp(key, "policy") == 0)
			continue;
		text = json_dumps(value, JSON_ENCODE_ANY);
		strbuf_printf(&yaml, "%s: %s\n", key, text);
		free(text);
	}
	json_decref(doc);
	write_file("test.yaml", yaml.p);
	strbuf_fini(&yaml);
	again = load_ok(ARGS("-c", "test.yaml"), NO_ENV);
	for (size_t i = 0; i < CONF_ROWS; i++)
		assert_true(conf_value_equal(&conf_rows[i], &l.conf->s, &again.conf->s));
	unload(&again);
	unload(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows_are_whole),
		cmocka_unit_test(test_names_are_unique),
		cmocka_unit_test(test_nearest),
		cmocka_unit_test(test_documents_name_all),
		cmocka_unit_test(test_documents_name_keys),
		cmocka_unit_test(test_help_fits),
		cmocka_unit_test(test_sample_is_the_defaults),
		cmocka_unit_test(test_print),
		cmocka_unit_test(test_print_policy),
		cmocka_unit_test(test_print_host_and_port),
		cmocka_unit_test(test_print_reads_back),
	};

	return cmocka_run_group_tests(tests, enter_directory, leave_directory);
}
