/* SPDX-License-Identifier: MIT */
/* conf/section.c: the section module:, as JSON and value by value. */
#include "conf_help.h"

#include <jansson.h>

#include "base/strbuf.h"

static struct loaded load_section(const char *yaml)
{
	write_file("test.yaml", yaml);
	write_file("big.so", "x");
	return load_ok(ARGS("-c", "test.yaml", "./big.so"), NO_ENV);
}

static void expect_json(const char *yaml, const char *json)
{
	struct loaded l = load_section(yaml), again;
	struct strbuf back;
	json_t *doc = json_loads(l.conf->module_json, 0, NULL);

	assert_string_equal(l.conf->module_json, json);
	assert_non_null(doc);
	json_decref(doc);
	assert_null(strstr(l.report.notes.p, "not used"));
	/* It is a section itself. */
	strbuf_init(&back);
	strbuf_printf(&back, "module: %s\n", json);
	again = load_section(back.p);
	assert_string_equal(again.conf->module_json, json);
	strbuf_fini(&back);
	unload(&again);
	unload(&l);
}

static void test_json(void **state)
{
	(void)state;
	expect_json("web_workers: 1\n", "{}");
	expect_json("module:\n", "{}");
	expect_json("module: ~\n", "{}");
	expect_json("module: {}\n", "{}");
	expect_json("module:\n  z: 1\n  a: {y: [], x: {}}\n  m:\n  - 1\n  - [2, {k: v}]\n",
		    "{\"z\":1,\"a\":{\"y\":[],\"x\":{}},\"m\":[1,[2,{\"k\":\"v\"}]]}");
}

static void test_scalars(void **state)
{
	static const struct { const char *yaml, *json; } v[] = {
		{"0", "0"}, {"-0", "-0"}, {"1.50", "1.50"}, {"-1e+5", "-1e+5"}, {"2E3", "2E3"},
		{"9223372036854775807", "9223372036854775807"},
		{"-9223372036854775808", "-9223372036854775808"}, {"1e308", "1e308"},
		{"true", "true"}, {"false", "false"},
		{"null", "null"}, {"~", "null"}, {"", "null"}, {"NULL", "null"},
		{"True", "\"True\""}, {"yes", "\"yes\""}, {"010", "\"010\""}, {"1.", "\"1.\""},
		{".5", "\".5\""}, {"+1", "\"+1\""}, {"1_000", "\"1_000\""}, {"0x10", "\"0x10\""},
		{"-", "[null]"}, {"1e", "\"1e\""}, {"1e+", "\"1e+\""}, {"--1", "\"--1\""},
		{"1 2", "\"1 2\""}, {".inf", "\".inf\""}, {"12:30", "\"12:30\""}, {"1,5", "\"1,5\""},
		{"\"1\"", "\"1\""}, {"'true'", "\"true\""}, {"\"null\"", "\"null\""}, {"''", "\"\""},
		{"!!str '1'", "\"1\""}, {"|\n    a\n    1\n", "\"a\\n1\\n\""}, {">-\n    5\n", "\"5\""},
		{"a\n    b", "\"a b\""}, {"\"\\\"\\\\\\n\\e\"", "\"\\\"\\\\\\n\\u001b\""},
		{"\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\x90", "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\x90\""},
	};
	char yaml[200], json[200];

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		struct loaded l;

		snprintf(yaml, sizeof(yaml), "module:\n  v: %s\n  w: 1\n",
			 strcmp(v[i].yaml, "-") == 0 ? "\n  -" : v[i].yaml);
		snprintf(json, sizeof(json), "{\"v\":%s,\"w\":1}", v[i].json);
		l = load_section(yaml);
		assert_string_equal(l.conf->module_json, json);
		unload(&l);
	}
}

/* Longer than a piece of what is quoted at once, with characters across its border. */
static void test_long_texts(void **state)
{
	struct strbuf yaml, json;

	(void)state;
	for (int shift = 0; shift < 4; shift++) {
		strbuf_init(&yaml);
		strbuf_init(&json);
		strbuf_printf(&yaml, "module: {k: \"%.*s", shift, "xxx");
		strbuf_printf(&json, "{\"k\":\"%.*s", shift, "xxx");
		for (int i = 0; i < 1000; i++) {
			strbuf_puts(&yaml, "\xe2\x82\xac\\e\xf0\x9f\x90\x90");
			strbuf_puts(&json, "\xe2\x82\xac\\u001b\xf0\x9f\x90\x90");
		}
		strbuf_puts(&yaml, "\"}\n");
		strbuf_puts(&json, "\"}");
		struct loaded l = load_section(yaml.p);

		assert_string_equal(l.conf->module_json, json.p);
		strbuf_fini(&yaml);
		strbuf_fini(&json);
		unload(&l);
	}
}

static void expect_setting(const struct loaded *l, const char *path, const char *text)
{
	const char *got = conf_module_setting(l->conf, path);

	if (!text && got)
		fail_msg("%s is %s", path, got);
	else if (text && !got)
		fail_msg("%s is not there", path);
	else if (text)
		assert_string_equal(got, text);
}

static void test_looking_into_it(void **state)
{
	struct loaded l = load_section("module:\n"
				    "  database: {host: db.internal, port: 05432, ratio: 1.50}\n"
				    "  hosts: [a, 2, [x, {deep: yes}]]\n"
				    "  on: true\n"
				    "  off: \"false\"\n"
				    "  none:\n"
				    "  empty: ''\n"
				    "  a.b: {c: 1, e: 9}\n"
				    "  a: {b.c: 2, b.d: 3}\n"
				    "  7: seven\n"
				    "  '': {'': nameless}\n");

	(void)state;
	expect_setting(&l, "database.host", "db.internal");
	expect_setting(&l, "database.port", "05432");
	expect_setting(&l, "database.ratio", "1.50");
	expect_setting(&l, "hosts.0", "a");
	expect_setting(&l, "hosts.1", "2");
	expect_setting(&l, "hosts.2.0", "x");
	expect_setting(&l, "hosts.2.1.deep", "yes");
	expect_setting(&l, "on", "true");
	expect_setting(&l, "off", "false");
	expect_setting(&l, "empty", "");
	expect_setting(&l, "7", "seven");
	expect_setting(&l, "a.b.c", "2"); /* of two keys the shorter one */
	expect_setting(&l, "a.b.d", "3");
	expect_setting(&l, "a.b.e", "9");
	expect_setting(&l, ".", "nameless");
	expect_setting(&l, "", NULL);
	expect_setting(&l, "none", NULL);
	expect_setting(&l, "database", NULL);
	expect_setting(&l, "hosts", NULL);
	expect_setting(&l, "hosts.3", NULL);
	expect_setting(&l, "hosts.00", NULL);
	expect_setting(&l, "hosts.", NULL);
	expect_setting(&l, "database.host.x", NULL);
	expect_setting(&l, "database.hos", NULL);
	expect_setting(&l, "database.hosts", NULL);
	unload(&l);
	l = load_ok(ARGS(), NO_ENV);
	expect_setting(&l, "database.host", NULL);
	unload(&l);
}

static void expect_refusal(const char *yaml, const char *errors)
{
	write_file("test.yaml", yaml);
	write_file("big.so", "x");
	expect_errors(ARGS("-c", "test.yaml", "./big.so"), NO_ENV, errors);
}

static void test_errors(void **state)
{
	(void)state;
	expect_refusal("module: 5\n", "test.yaml:1:9: module: is not a list of \"key: value\"\n");
	expect_refusal("module: [a]\n", "test.yaml:1:9: module: is not a list of \"key: value\"\n");
	expect_refusal("module: {}\nmodule: {}\n",
		       "test.yaml:2:1: module: is given twice; the first time in line 1\n");
	expect_refusal("module:\n  a: {b: 1, c: 2, b: 3}\n",
		       "test.yaml:2:19: module.a.b: is given twice\n");
	expect_refusal("module: {a: [{1: x, '1': y}]}\n",
		       "test.yaml:1:21: module.a.0.1: is given twice\n");
	expect_refusal("module: {[a]: 1}\n",
		       "test.yaml:1:10: module: has a key that is not a single word\n");
	expect_refusal("module: {\"a\\0b\": 1, c: \"\\0\"}\n",
		       "test.yaml:1:10: module: has a key that is not a single word\n"
		       "test.yaml:1:24: module.c: has a NUL character in it\n");
	expect_refusal("module: {a: 9223372036854775808, b: -1e999}\n",
		       "test.yaml:1:13: module.a: is a number that is too large for 64 bits; in "
		       "quotes it is a text\n"
		       "test.yaml:1:37: module.b: is a number that is too large for 64 bits; in "
		       "quotes it is a text\n");
	expect_refusal("modul: {}\n", "test.yaml:1:1: the key \"modul\" is unknown; did you mean "
				      "module?\n");
}

static void test_tags_and_aliases(void **state)
{
	static const char *const properties[] = {
		"!x 5", "!!int 5", "!!str 5", "! 5", "&a 5", "&a !!str 5", "!!str", "!!str\n    5",
		"!!int '5'", "!x [1]", "!x {k: 1}", "!!set {k: 1}", "!!str \xc3\xa4\xc3\xa4\xc3\xa4",
	};
	char yaml[100];

	(void)state;
	for (size_t i = 0; i < sizeof(properties) / sizeof(properties[0]); i++) {
		snprintf(yaml, sizeof(yaml), "module:\n  k: %s\n", properties[i]);
		expect_refusal(yaml, "test.yaml:2:6: module.k: has a tag (!) or an anchor (&), "
				     "which means nothing here\n");
	}
	expect_refusal("module:\n  ? !x k\n  : 1\n", "test.yaml:2:5: module: has a tag (!) or an "
		       "anchor (&), which means nothing here\n");
	expect_refusal("module:\n  a: &x [1]\n  b: *x\n",
		       "test.yaml:2:6: module.b: is used by an alias (*), which means nothing here\n");
	expect_refusal("module:\n  a: &x [*x]\n",
		       "test.yaml:2:6: module.a.0: is used by an alias (*), which means nothing "
		       "here\n");
	expect_refusal("module: &m\n  a: *m\n",
		       "test.yaml:1:9: module.a: is used by an alias (*), which means nothing "
		       "here\n");
	expect_refusal("web_workers: &n 4\nmodule:\n  a: *n\n",
		       "test.yaml:1:14: module.a: is used by an alias (*), which means nothing "
		       "here\n");
	expect_refusal("bind: &b ['127.0.0.1:1']\nmodule:\n  - *b\n",
		       "test.yaml:3:3: module: is not a list of \"key: value\"\n");
}

static void nest(struct strbuf *yaml, int depth)
{
	strbuf_puts(yaml, "module: ");
	for (int i = 0; i < depth; i++)
		strbuf_puts(yaml, "{k: ");
	strbuf_puts(yaml, "1");
	for (int i = 0; i < depth; i++)
		strbuf_puts(yaml, "}");
	strbuf_puts(yaml, "\n");
}

static void test_bounds(void **state)
{
	struct strbuf yaml;
	struct loaded l;

	(void)state;
	strbuf_init(&yaml);
	nest(&yaml, 31);
	l = load_section(yaml.p);
	unload(&l);
	strbuf_clear(&yaml);
	nest(&yaml, 200);
	write_file("test.yaml", yaml.p);
	l = load(ARGS("-c", "test.yaml", "./big.so"), NO_ENV);
	assert_int_equal(l.report.nerrors, 1);
	assert_non_null(strstr(l.report.errors.p, ".k.k: is nested too deeply; 32 levels are "
						  "possible\n"));
	unload(&l);
	for (int extra = 0; extra < 2; extra++) {
		strbuf_clear(&yaml);
		strbuf_puts(&yaml, "module:\n");
		for (int i = 0; i < 9999 + extra; i++)
			strbuf_printf(&yaml, "  key%d: x\n", i);
		write_file("test.yaml", yaml.p);
		l = load(ARGS("-c", "test.yaml", "./big.so"), NO_ENV);
		assert_int_equal(l.report.nerrors, extra);
		if (extra)
			assert_non_null(strstr(l.report.errors.p, "is too much; the section can "
								  "have 10000 values\n"));
		else
			expect_setting(&l, "key9998", "x");
		unload(&l);
	}
	strbuf_clear(&yaml);
	strbuf_puts(&yaml, "module:\n");
	for (int i = 0; i < 1000; i++)
		strbuf_puts(&yaml, "  k: x\n");
	write_file("test.yaml", yaml.p);
	strbuf_fini(&yaml);
	l = load(ARGS("-c", "test.yaml"), NO_ENV);
	assert_int_equal(l.report.nerrors, 20); /* of 999 */
	unload(&l);
}

static void test_without_a_module(void **state)
{
	struct loaded l;

	(void)state;
	write_file("test.yaml", "backlog: 5\nmodule:\n  k: 1\n");
	l = load_ok(ARGS("-c", "test.yaml"), NO_ENV);
	assert_non_null(strstr(l.report.notes.p, "test.yaml:3:3: module: is not used, since APP is "
						 "builtin:api and no module\n"));
	assert_string_equal(l.conf->module_json, "{\"k\":1}");
	unload(&l);
}

static void test_shown(void **state)
{
	struct loaded l = load_section("module: {big: 9007199254740993, pi: 3.14, t: \"\\e\"}\n");
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	json_t *doc, *value;

	(void)state;
	assert_non_null(f);
	conf_write_print(l.conf, f);
	fclose(f);
	doc = json_loads(text, 0, NULL);
	free(text);
	value = json_object_get(doc, "module");
	assert_string_equal(json_string_value(json_object_get(value, "origin")), "file");
	assert_string_equal(json_string_value(json_object_get(value, "place")),
			    "test.yaml:1:9: module");
	assert_string_equal(json_string_value(json_object_get(value, "takes_effect")), "reload");
	value = json_object_get(value, "value");
	assert_true(json_integer_value(json_object_get(value, "big")) == 9007199254740993);
	assert_string_equal(json_string_value(json_object_get(value, "t")), "\x1b");
	json_decref(doc);
	unload(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_scalars),
		cmocka_unit_test(test_long_texts),
		cmocka_unit_test(test_looking_into_it),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_tags_and_aliases),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_without_a_module),
		cmocka_unit_test(test_shown),
	};

	return cmocka_run_group_tests(tests, enter_directory, leave_directory);
}
