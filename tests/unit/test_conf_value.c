/* SPDX-License-Identifier: MIT */
/* conf/value.c and conf/check.c: what each type takes, what it says to the rest. */
#include "conf_help.h"

static int64_t worker_timeout(const char *text)
{
	struct loaded l = load_ok(ARGS("--worker-timeout", text), NO_ENV);
	int64_t ms = l.conf->s.worker_timeout;

	unload(&l);
	return ms;
}

static void test_durations(void **state)
{
	(void)state;
	assert_int_equal(worker_timeout("0"), 0);
	assert_int_equal(worker_timeout("30"), 30000);
	assert_int_equal(worker_timeout("30s"), 30000);
	assert_int_equal(worker_timeout("500ms"), 500);
	assert_int_equal(worker_timeout("5m"), 300000);
	assert_int_equal(worker_timeout("1h"), 3600000);
	assert_int_equal(worker_timeout("1H"), 3600000);
	assert_int_equal(worker_timeout("0.5"), 500);
	assert_int_equal(worker_timeout("1.25s"), 1250);
	assert_int_equal(worker_timeout("1.5h"), 5400000);
	assert_int_equal(worker_timeout("86400"), 86400000);
}

#define DURATION_WANTED " is not a duration from 0 to 24h (500ms, 30s, 5m, 1h, or plain seconds)\n"

static void test_durations_refused(void **state)
{
	static const char *const bad[] = {
		"x", "5x", "s", "-1", "+1", "1 s", " 1", "1.", "1.0005", "0.5ms", ".5", "1e3",
		"86401", "25h", "99999999999999999999", "9223372036854775807h", "1d", "1s1s",
	};
	char want[200], var[60];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(want, sizeof(want), "environment variable WORKER_TIMEOUT: \"%s\""
			 DURATION_WANTED, bad[i]);
		snprintf(var, sizeof(var), "WORKER_TIMEOUT=%s", bad[i]);
		expect_errors(ARGS(), ENV(var), want);
	}
}

static int64_t body_size(const char *text)
{
	struct loaded l = load_ok(ARGS("--client-max-body-size", text), NO_ENV);
	int64_t bytes = l.conf->s.client_max_body_size;

	unload(&l);
	return bytes;
}

static void test_sizes(void **state)
{
	(void)state;
	assert_int_equal(body_size("0"), 0);
	assert_int_equal(body_size("1000"), 1000);
	assert_int_equal(body_size("1000b"), 1000);
	assert_int_equal(body_size("64k"), 65536);
	assert_int_equal(body_size("64KB"), 65536);
	assert_int_equal(body_size("256Mb"), 256 << 20);
	assert_int_equal(body_size("2g"), 2LL << 30);
	expect_errors(ARGS("--client-max-body-size=1t"), NO_ENV,
		      "flag --client-max-body-size: \"1t\" is not a size from 0 to 1048576g "
		      "(64k, 256m, 2g, or plain bytes)\n");
	expect_errors(ARGS("--limit-request-line=63", "--limit-request-field_size", "64KiB"),
		      NO_ENV,
		      "flag --limit-request-line: \"63\" is not a size from 64 to 64k "
		      "(64k, 256m, 2g, or plain bytes)\n"
		      "flag --limit-request-field_size: \"64KiB\" is not a size from 64 to 64k "
		      "(64k, 256m, 2g, or plain bytes)\n");
}

static void test_booleans(void **state)
{
	static const char *const yes[] = {"true", "YES", "on", "1"};
	static const char *const no[] = {"false", "No", "OFF", "0"};
	char var[40];

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct loaded l;

		snprintf(var, sizeof(var), "WINCH_DRAINS=%s", yes[i]);
		l = load_ok(ARGS(), ENV(var));
		assert_true(l.conf->s.winch_drains);
		unload(&l);
		snprintf(var, sizeof(var), "SERVER_HEADER=%s", no[i]);
		l = load_ok(ARGS(), ENV(var));
		assert_false(l.conf->s.server_header);
		unload(&l);
	}
	expect_errors(ARGS(), ENV("WINCH_DRAINS=maybe"),
		      "environment variable WINCH_DRAINS: \"maybe\" is not a boolean (true, false, "
		      "yes, no, on, off, 1 or 0)\n");
}

static void test_words(void **state)
{
	struct loaded l = load_ok(ARGS("--log-level", "WARNING", "--log-format=Json"), NO_ENV);

	(void)state;
	assert_int_equal(l.conf->s.log_level, LOG_LV_WARNING);
	assert_int_equal(l.conf->s.log_format, LOG_FMT_JSON);
	unload(&l);
	expect_errors(ARGS("--log-level=warn ing"), NO_ENV,
		      "flag --log-level: \"warn ing\" is not one of debug, info, warning, error, "
		      "critical; did you mean warning?\n");
	expect_errors(ARGS("--log-level=x"), NO_ENV,
		      "flag --log-level: \"x\" is not one of debug, info, warning, error, "
		      "critical\n");
}

static void test_octal(void **state)
{
	struct loaded l = load_ok(ARGS("-m", "0o027"), NO_ENV);

	(void)state;
	assert_int_equal(l.conf->s.umask, 027);
	unload(&l);
	l = load_ok(ARGS(), ENV("CAPRICORN_UMASK=22"));
	assert_int_equal(l.conf->s.umask, 022);
	unload(&l);
	l = load_ok(ARGS(), NO_ENV);
	assert_int_equal(l.conf->s.umask, CONF_UNSET);
	unload(&l);
	expect_errors(ARGS("--umask=8"), NO_ENV,
		      "flag --umask: \"8\" is not an octal number from 0000 to 0777\n");
	expect_errors(ARGS("--umask=1000"), NO_ENV,
		      "flag --umask: \"1000\" is not an octal number from 0000 to 0777\n");
}

static void test_texts(void **state)
{
	struct loaded l = load_ok(ARGS("--access-logfile", "-", "--name=x y"), NO_ENV);

	(void)state;
	assert_string_equal(l.conf->s.access_log, "-");
	assert_string_equal(l.conf->s.error_log, "-");
	assert_string_equal(l.conf->s.name, "x y");
	unload(&l);
	l = load_ok(ARGS("--access-log", "OFF"), ENV("ACCESS_LOG=/tmp/x"));
	assert_null(l.conf->s.access_log);
	unload(&l);
	/* Controls could forge lines of logs and messages. */
	expect_errors(ARGS("--name", "a\nb"), NO_ENV,
		      "flag --name: \"a\\x0ab\" has a control character in it\n");
	expect_errors(ARGS("--name", "\xc3\xa4\xff\x7f"), NO_ENV,
		      "flag --name: \"\xc3\xa4\\xff\\x7f\" has a control character in it\n");
}

static void test_log_formats(void **state)
{
	static const char *const good[] = {
		"combined", "json", "%(h)s", "100%% %(T)s",
		"%(h)s %(l)s %(u)s %(t)s \"%(r)s\" %(s)s %(b)s",
		"%({x-request-id}i)s %({server}o)s %({wsgi.url_scheme}e)s",
		"%(m)s%(U)s%(q)s%(H)s", "%(B)s %(f)s %(a)s %(D)s %(M)s %(L)s %(p)s",
	};
	static const struct { const char *text, *says; } bad[] = {
		{"combind", "is not combined, json or a text with atoms like %(h)s; did you mean "
			    "combined?"},
		{"plain", "is not combined, json or a text with atoms like %(h)s"},
		{"%(h)", "has a % that begins no atom %(...)s; a plain one is %%"},
		{"100%", "has a % that begins no atom %(...)s; a plain one is %%"},
		{"%(h)s %h", "has a % that begins no atom %(...)s; a plain one is %%"},
		{"%(Z)s", "has the unknown atom \"%(Z)s\"; there are h l u t r s m U q H b B f a T "
			  "D M L p {field}i {field}o {name}e"},
		{"%({x}z)s", "has the unknown atom \"%({x}z)s\"; there are h l u t r s m U q H b B "
			     "f a T D M L p {field}i {field}o {name}e"},
		{"%({}i)s", "has the unknown atom \"%({}i)s\"; there are h l u t r s m U q H b B f "
			    "a T D M L p {field}i {field}o {name}e"},
	};
	char want[300];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct loaded l = load_ok(ARGS("--access-logformat", good[i]), NO_ENV);

		assert_string_equal(l.conf->s.access_log_format, good[i]);
		unload(&l);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(want, sizeof(want), "flag --access-log-format: \"%s\" %s\n", bad[i].text,
			 bad[i].says);
		expect_errors(ARGS("--access-log-format", bad[i].text), NO_ENV, want);
	}
}

static void test_addresses(void **state)
{
	struct loaded l = load_ok(ARGS("-b", "[::1]:8001", "-b", ":0", "--bind=unix:/run/x.sock",
				       "-blocalhost:80", "-b", "fd://3"), NO_ENV);
	const struct conf_bind *b = l.conf->binds;
	char out[NET_TEXT_MAX];

	(void)state;
	assert_int_equal(l.conf->nbinds, 5);
	net_addr_format_port(&b[0].addr, out);
	assert_string_equal(out, "[::1]:8001");
	net_addr_format_port(&b[1].addr, out);
	assert_string_equal(out, "0.0.0.0:0");
	assert_int_equal(b[2].kind, CONF_BIND_UNIX);
	assert_string_equal(b[2].path, "/run/x.sock");
	net_addr_format_port(&b[3].addr, out);
	assert_string_equal(out, "127.0.0.1:80");
	assert_int_equal(b[4].kind, CONF_BIND_FD);
	assert_int_equal(b[4].fd, 3);
	assert_string_equal(b[4].text, "fd://3");
	unload(&l);
}

static void test_addresses_refused(void **state)
{
	static const char *const bad[] = {
		"8000", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "::1:8000",
		"[::1]", "[::1]8000", "example.org:80", "unix:", "unix://", "fd://x", "fd://2",
		"http://127.0.0.1:80", "[127.0.0.1]:80", "[:80", "127.0.0.1:8 0", "fd://99999999",
		("unix:/0123456789012345678901234567890123456789012345678901234567890123456789"
		 "0123456789012345678901234567890123456789"),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct loaded l = load(ARGS("--bind", bad[i]), NO_ENV);

		assert_int_equal(l.rc, -1);
		assert_int_equal(l.report.nerrors, 1);
		unload(&l);
	}
}

static void test_networks(void **state)
{
	struct loaded l = load_ok(ARGS("--forwarded-allow-ips", "10.0.0.0/8, ::1,unix"),
				  ENV("STATUS_ALLOW=*"));
	struct net_addr a;

	(void)state;
	assert_true(net_addr_parse(&a, SLICE("10.9.9.9")));
	assert_true(net_cidrs_match(&l.conf->forwarded_allow, &a));
	assert_true(l.conf->forwarded_allow.unix_peers);
	assert_true(net_addr_parse(&a, SLICE("127.0.0.1")));
	assert_false(net_cidrs_match(&l.conf->forwarded_allow, &a));
	assert_true(l.conf->status_allow.any);
	unload(&l);
	expect_errors(ARGS(), ENV("STATUS_ALLOW=10.0.0.1/8,,::1"),
		      "environment variable STATUS_ALLOW: \"10.0.0.1/8\" is not an address, a "
		      "network (10.0.0.0/8, no bits set beyond its length), unix or *\n"
		      "environment variable STATUS_ALLOW: \"\" is not an address, a "
		      "network (10.0.0.0/8, no bits set beyond its length), unix or *\n");
}

static void test_names(void **state)
{
	static const char *const bad[][2] = {
		{"--shm-name", "capricorn"}, {"--shm-name", "/"}, {"--shm-name", "/a/b"},
		{"--shm-name", "/.."}, {"--status-prefix", "status"}, {"--status-prefix", "/x/"},
		{"--status-prefix", "//x"}, {"--status-prefix", "/x/../y"},
		{"--status-prefix", "/%41"},
		{"--status-prefix", "/x/."}, {"--admin-token", "two "
							       "words"}, {"--admin-token", "a=b"},
		{"--name", "01234567890123456789012345678901234567890123456789012345678901234"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct loaded l = load(ARGS(bad[i][0], bad[i][1]), NO_ENV);

		assert_int_equal(l.rc, -1);
		assert_int_equal(l.report.nerrors, 1);
		unload(&l);
	}
	/* A secret is not shown, not even when it is wrong. */
	expect_errors(ARGS(), ENV("ADMIN_TOKEN=hush!"),
		      "environment variable ADMIN_TOKEN: the value (not shown) has characters that "
		      "a bearer token cannot have (letters, digits and -._~+/ are allowed, = at "
		      "the end)\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_durations_refused),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_booleans),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_octal),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_log_formats),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_addresses_refused),
		cmocka_unit_test(test_networks),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, enter_directory, leave_directory);
}
