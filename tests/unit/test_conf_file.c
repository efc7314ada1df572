/* SPDX-License-Identifier: MIT */
/* conf/file.c and conf/env.c: files, their forms, and the places of what is wrong in them. */
#include "conf_help.h"

#include <sys/stat.h>

static void expect_yaml_errors(const char *yaml, const char *errors)
{
	write_file("test.yaml", yaml);
	expect_errors(ARGS("-c", "test.yaml"), NO_ENV, errors);
}

static void test_values(void **state)
{
	struct loaded l = load_yaml("# comment\n"
				    "bind: [127.0.0.1:1, '[::1]:2', \"unix:/run/x.sock\"]\n"
				    "web_workers: 010\n"
				    "worker_timeout: 5m\n"
				    "winch_drains: yes\n"
				    "umask: 010\n"
				    "name: 010\n"
				    "log_level: DEBUG\n"
				    "status_allow: 10.0.0.0/8, ::1\n"
				    "access_log_format: '%(h)s \"%(r)s\"'\n"
				    "server_header: off\n"
				    "app: builtin:echo\n");

	(void)state;
	assert_int_equal(l.conf->nbinds, 3);
	assert_int_equal(l.conf->binds[1].addr.port, 2);
	assert_int_equal(l.conf->s.web_workers, 10); /* our types, not YAML's */
	assert_int_equal(l.conf->s.umask, 010);
	assert_string_equal(l.conf->s.name, "010");
	assert_int_equal(l.conf->s.worker_timeout, 300000);
	assert_true(l.conf->s.winch_drains);
	assert_int_equal(l.conf->s.log_level, LOG_LV_DEBUG);
	assert_int_equal(l.conf->status_allow.n, 2);
	assert_string_equal(l.conf->s.access_log_format, "%(h)s \"%(r)s\"");
	assert_false(l.conf->s.server_header);
	assert_int_equal(l.conf->app, CONF_APP_ECHO);
	unload(&l);
}

static void test_nothing(void **state)
{
	static const char *const empty[] = {
		"", "\n\n", "# only a comment\n", "---\n", "~\n", "name: ''\n",
		"web_workers:\nport: ~\nhost: null\n", "%YAML 1.1\n---\n...\n",
		"\xef\xbb\xbf# a byte order mark\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++) {
		struct loaded l = load_yaml(empty[i]);

		assert_int_equal(l.conf->s.web_workers, 2 * l.conf->cpus + 1);
		assert_int_equal(l.conf->s.port, CONF_UNSET);
		assert_null(l.conf->s.name);
		unload(&l);
	}
}

static void test_places(void **state)
{
	(void)state;
	expect_yaml_errors("web_workers: 0\n"
			   "worker_timeout:   5x\n"
			   "web_worker: 1\n"
			   "Web_Workers: 1\n"
			   "nonsense: 1\n"
			   "bind: [127.0.0.1:1,\n"
			   "       127.0.0.1]\n"
			   "web_workers: 2\n",
			   "test.yaml:1:14: web_workers: \"0\" is not a whole number from 1 to "
			   "1024\n"
			   "test.yaml:2:19: worker_timeout: \"5x\" is not a duration from 0 to 24h "
			   "(500ms, 30s, 5m, 1h, or plain seconds)\n"
			   "test.yaml:3:1: the key \"web_worker\" is unknown; did you mean "
			   "web_workers?\n"
			   "test.yaml:4:1: the key \"Web_Workers\" is unknown; did you mean "
			   "web_workers?\n"
			   "test.yaml:5:1: the key \"nonsense\" is unknown\n"
			   "test.yaml:7:8: bind: \"127.0.0.1\" has no port (host:port)\n"
			   "test.yaml:8:1: web_workers: is given twice; the first time in line "
			   "1\n");
}

static void test_sections(void **state)
{
	(void)state;
	expect_yaml_errors("reload:\n  delay: 1\nupstreams: {a: b}\nalert: {}\nautoscale:\n"
			   "route: []\nreload: 1\nalerts: 2\n",
			   "test.yaml:1:1: the section reload is not built yet\n"
			   "test.yaml:3:1: the section upstreams is not built yet\n"
			   "test.yaml:4:1: the key \"alert\" is unknown\n"
			   "test.yaml:5:1: the section autoscale is not built yet\n"
			   "test.yaml:6:1: the key \"route\" is unknown; did you mean routes?\n"
			   "test.yaml:7:1: the section reload is not built yet\n"
			   "test.yaml:8:1: the section alerts is not built yet\n");
}

static void test_shapes(void **state)
{
	(void)state;
	expect_yaml_errors("- a\n- b\n", "test.yaml:1:1: the file is not a list of \"key: "
					 "value\"\n");
	expect_yaml_errors("text\n", "test.yaml:1:1: the file is not a list of \"key: value\"\n");
	expect_yaml_errors("web_workers: [1]\n",
			   "test.yaml:1:14: web_workers: is not a single value\n");
	expect_yaml_errors("web_workers: {a: 1}\n",
			   "test.yaml:1:14: web_workers: is not a single value\n");
	expect_yaml_errors("bind: []\n", "test.yaml:1:7: bind: has 0 items; 1 to 1024 are "
					 "possible\n");
	expect_yaml_errors("bind: [[a]]\n", "test.yaml:1:8: bind: is not a single value\n");
	expect_yaml_errors("[a]: 1\n", "test.yaml:1:1: a key is not a single word\n");
	expect_yaml_errors("name: !env HOME\n",
			   "test.yaml:1:7: name: has a tag (!env), which means nothing here\n");
	expect_yaml_errors("a: 1\n---\nb: 2\n",
			   "test.yaml:1:1: the key \"a\" is unknown\n"
			   "test.yaml:3:1: a second document (after ---) has no meaning here\n");
	/* The alias and its key are both given: a second name for a setting is no second setting.
	 */
	expect_yaml_errors("keepalive: 1\nkeepalive_timeout: 2\n",
			   "test.yaml:2:1: keepalive_timeout: is given twice; the first time in "
			   "line 1\n");
	expect_yaml_errors("name: \"a\\0b\"\n",
			   "test.yaml:1:7: name: \"a\\x00b\" has a control character in it\n");
}

static void test_anchors(void **state)
{
	struct loaded l = load_yaml("web_workers: &n 4\nworkers_min: *n\n");

	(void)state;
	assert_int_equal(l.conf->s.workers_min, 4);
	unload(&l);
}

static void test_syntax(void **state)
{
	(void)state;
	expect_yaml_errors("web_workers: 1\n\tname: x\n",
			   "test.yaml:2:1: while scanning a plain scalar, found a tab character "
			   "that violates indentation\n");
	expect_yaml_errors("bind: [\n",
			   "test.yaml:2:1: while parsing a flow node, did not find expected node "
			   "content\n");
	expect_yaml_errors("name: \xff\n",
			   "test.yaml: is not text: invalid leading UTF-8 octet at byte 6\n");
}

static void test_unreadable(void **state)
{
	char *big = malloc(1024 * 1024 + 2);

	(void)state;
	expect_errors(ARGS("-c", "missing.yaml"), NO_ENV,
		      "flag -c: cannot read missing.yaml: No such file or directory\n");
	expect_errors(ARGS(), ENV("CAPRICORN_CONFIG=missing.yaml"),
		      "environment variable CAPRICORN_CONFIG: cannot read missing.yaml: No such "
		      "file or directory\n");
	expect_errors(ARGS("-c", "."), NO_ENV,
		      "flag -c: cannot read .: it is not a regular file\n");
	/* A pipe must not hold up the start. */
	assert_int_equal(mkfifo("big", 0600), 0);
	expect_errors(ARGS("-c", "big"), NO_ENV,
		      "flag -c: cannot read big: it is not a regular file\n");
	unlink("big");
	assert_non_null(big);
	memset(big, '#', 1024 * 1024 + 1);
	big[1024 * 1024 + 1] = '\0';
	write_file("big", big);
	free(big);
	expect_errors(ARGS("-c", "big"), NO_ENV,
		      "flag -c: cannot read big: it is larger than 1048576 bytes\n");
	expect_errors(ARGS("--env-file", "missing.env"), NO_ENV,
		      "flag --env-file: cannot read missing.env: No such file or directory\n");
}

/* A file of rubbish is not commented on line by line for ever. */
static void test_many_errors(void **state)
{
	struct strbuf yaml;
	struct loaded l;

	(void)state;
	strbuf_init(&yaml);
	for (int i = 0; i < 5000; i++)
		strbuf_printf(&yaml, "key%d: x\n", i);
	write_file("test.yaml", yaml.p);
	strbuf_fini(&yaml);
	l = load(ARGS("-c", "test.yaml"), NO_ENV);
	assert_int_equal(l.rc, -1);
	assert_int_equal(l.report.nerrors, 201);
	unload(&l);
}

static void test_env_file(void **state)
{
	struct loaded l;

	(void)state;
	write_file("test.env", "# comment\n"
		   "\n"
		   "WEB_WORKERS=3\r\n"
		   "  export LOG_LEVEL = debug  \n"
		   "CAPRICORN_NAME=\"a b\"\n"
		   "ACCESS_LOG='-'\n"
		   "SOMETHING_ELSE=x\n"
		   "STATUS_PREFIX=/s\n"
		   "KEEPALIVE=\n"
		   "ADMIN_TOKEN=last-line-without-end=");
	l = load_ok(ARGS("--env-file", "test.env"), NO_ENV);
	assert_int_equal(l.conf->s.web_workers, 3);
	assert_int_equal(l.conf->s.log_level, LOG_LV_DEBUG);
	assert_string_equal(l.conf->s.name, "a b");
	assert_string_equal(l.conf->s.access_log, "-");
	assert_string_equal(l.conf->s.status_prefix, "/s");
	assert_int_equal(l.conf->s.keepalive_timeout, 65000);
	assert_string_equal(l.conf->s.admin_token, "last-line-without-end=");
	unload(&l);
}

static void test_env_file_errors(void **state)
{
	(void)state;
	write_file("test.env", "WEB_WORKERS\n"
		   "=4\n"
		   "WEB_WORKERS=x\n"
		   "WEB_WORKERS=5\n"
		   "CAPRICORN_CONFIG=other.yaml\n"
		   "CAPRICORN_PROT=1\n");
	expect_errors(ARGS("--env-file=test.env"), NO_ENV,
		      "test.env:1: is not a line NAME=VALUE\n"
		      "test.env:2: is not a line NAME=VALUE\n"
		      "test.env:4: WEB_WORKERS: is set twice; the first time in line 3\n"
		      "test.env:5: CAPRICORN_CONFIG: has no meaning in such a file; use -c or the "
		      "environment\n"
		      "test.env:6: CAPRICORN_PROT: is unknown; did you mean CAPRICORN_PORT?\n"
		      "test.env:3: WEB_WORKERS: \"x\" is not a whole number from 1 to 1024\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_sections),
		cmocka_unit_test(test_shapes),
		cmocka_unit_test(test_anchors),
		cmocka_unit_test(test_syntax),
		cmocka_unit_test(test_unreadable),
		cmocka_unit_test(test_many_errors),
		cmocka_unit_test(test_env_file),
		cmocka_unit_test(test_env_file_errors),
	};

	return cmocka_run_group_tests(tests, enter_directory, leave_directory);
}
