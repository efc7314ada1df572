/* SPDX-License-Identifier: MIT */
/* conf/: origins and which of them wins, computed defaults, contradictions, flags, reloads. */
#include "conf_help.h"

/* ---- origins ---- */

static int64_t timeout_of(const char *const *argv, const char *const *env)
{
	struct loaded l = load_ok(argv, env);
	int64_t ms = l.conf->s.worker_timeout;

	unload(&l);
	return ms;
}

static void test_precedence(void **state)
{
	(void)state;
	assert_int_equal(timeout_of(ARGS(), NO_ENV), 120000);
	write_file("test.yaml", "worker_timeout: 1s\n");
	write_file("test.env", "WORKER_TIMEOUT=2s\n");
	assert_int_equal(timeout_of(ARGS("-c", "test.yaml"), NO_ENV), 1000);
	assert_int_equal(timeout_of(ARGS(), ENV("CAPRICORN_CONFIG=test.yaml")), 1000);
	assert_int_equal(timeout_of(ARGS("-c", "test.yaml", "--env-file", "test.env"), NO_ENV),
			 2000);
	assert_int_equal(timeout_of(ARGS("-ctest.yaml", "--env-file=test.env"),
				    ENV("WORKER_TIMEOUT=3s")), 3000);
	assert_int_equal(timeout_of(ARGS("-ctest.yaml", "--env-file=test.env"),
				    ENV("CAPRICORN_WORKER_TIMEOUT=4s", "WORKER_TIMEOUT=3s")), 4000);
	assert_int_equal(timeout_of(ARGS("-ctest.yaml", "--env-file=test.env", "-t", "5s"),
				    ENV("CAPRICORN_WORKER_TIMEOUT=4s", "WORKER_TIMEOUT=3s")), 5000);
	assert_int_equal(timeout_of(ARGS("-t", "5s", "--timeout=6s", "-t7"), NO_ENV), 7000);
}

static void test_default_file(void **state)
{
	struct loaded l;

	(void)state;
	write_file("capricorn.yaml", "web_workers: 7\n");
	l = load_ok(ARGS(), NO_ENV);
	assert_int_equal(l.conf->s.web_workers, 7);
	assert_string_equal(l.conf->file, "capricorn.yaml");
	assert_string_equal(l.report.notes.p, "Configuration file: capricorn.yaml\n");
	unload(&l);
	unlink("capricorn.yaml");
	l = load_ok(ARGS(), NO_ENV);
	assert_null(l.conf->file);
	assert_int_equal(l.report.notes.len, 0);
	unload(&l);
}

static void test_spellings(void **state)
{
	struct loaded l = load_ok(ARGS(), ENV("WEB_CONCURRENCY=3", "KEEPALIVE=5",
					      "CAPRICORN_KEEPALIVE=6", "KEEPALIVE_TIMEOUT=7"));

	(void)state;
	assert_int_equal(l.conf->s.web_workers, 3);
	assert_int_equal(l.conf->s.keepalive_timeout, 6000); /* the prefix wins */
	unload(&l);
	l = load_ok(ARGS(), ENV("WEB_CONCURRENCY=3", "WEB_WORKERS=4"));
	assert_int_equal(l.conf->s.web_workers, 4);
	unload(&l);
	/* An empty variable is as good as none. */
	l = load_ok(ARGS(), ENV("CAPRICORN_WEB_WORKERS=", "WEB_WORKERS=", "WEB_CONCURRENCY=2",
				"CAPRICORN_NONSENSE=", "odd"));
	assert_int_equal(l.conf->s.web_workers, 2);
	unload(&l);
}

/* These names are everybody's: only the prefix makes them ours. */
static void test_prefixed_only(void **state)
{
	struct loaded l = load_ok(ARGS(), ENV("USER=root", "GROUP=x", "NAME=host", "UMASK=9",
					      "PID=1", "CHDIR=/nowhere", "APP=nothing"));

	(void)state;
	assert_null(l.conf->s.user);
	assert_null(l.conf->s.group);
	assert_null(l.conf->s.name);
	assert_int_equal(l.conf->s.umask, CONF_UNSET);
	assert_null(l.conf->s.pid);
	assert_null(l.conf->s.chdir);
	assert_int_equal(l.conf->app, CONF_APP_API);
	unload(&l);
	l = load_ok(ARGS(), ENV("CAPRICORN_USER=www", "CAPRICORN_PID=/run/x.pid",
				"CAPRICORN_APP=builtin:echo"));
	assert_string_equal(l.conf->s.user, "www");
	assert_string_equal(l.conf->s.pid, "/run/x.pid");
	assert_int_equal(l.conf->app, CONF_APP_ECHO);
	unload(&l);
}

static void test_unknown_variables(void **state)
{
	struct loaded l;

	(void)state;
	expect_errors(ARGS(), ENV("CAPRICORN_WEB_WORKRES=4", "CAPRICORN_ZZZ=1", "WEB_WORKRES=x"),
		      "environment variable CAPRICORN_WEB_WORKRES: is unknown; did you mean "
		      "CAPRICORN_WEB_WORKERS?\n"
		      "environment variable CAPRICORN_ZZZ: is unknown\n");
	expect_errors(ARGS(), ENV("GUNICORN_CMD_ARGS=--workers 4"),
		      "environment variable GUNICORN_CMD_ARGS: is not read here: unset it, and use "
		      "the variables of the settings (WEB_WORKERS, BIND, ...)\n");
	l = load_ok(ARGS(), ENV("CAPRICORN_PORT=tcp://10.0.0.1:80",
				"CAPRICORN_SERVICE_HOST=10.0.0.1",
				"CAPRICORN_PORT_80_TCP=tcp://10.0.0.1:80"));
	assert_int_equal(l.conf->s.port, CONF_UNSET);
	assert_string_equal(l.report.notes.p,
		"environment variable CAPRICORN_PORT is ignored: it looks like a Kubernetes "
		"service link\n"
		"environment variable CAPRICORN_SERVICE_HOST is ignored: it looks like a "
		"Kubernetes service link\n"
		"environment variable CAPRICORN_PORT_80_TCP is ignored: it looks like a Kubernetes "
		"service link\n");
	unload(&l);
}

/* ---- BIND, HOST and PORT ---- */

static void expect_bind(const char *const *argv, const char *const *env, const char *want)
{
	struct loaded l = load_ok(argv, env);
	char out[NET_TEXT_MAX];

	assert_int_equal(l.conf->nbinds, 1);
	net_addr_format_port(&l.conf->binds[0].addr, out);
	assert_string_equal(out, want);
	unload(&l);
}

static void test_host_and_port(void **state)
{
	(void)state;
	expect_bind(ARGS(), NO_ENV, "127.0.0.1:8000");
	expect_bind(ARGS(), ENV("PORT=9000"), "0.0.0.0:9000");
	expect_bind(ARGS(), ENV("HOST=::1"), "[::1]:8000");
	expect_bind(ARGS("--host", "[::1]"), ENV("PORT=9000"), "[::1]:9000");
	expect_bind(ARGS("--port=0", "--host=localhost"), NO_ENV, "127.0.0.1:0");
	/* Of two origins the stronger one holds. */
	expect_bind(ARGS("-b", "127.0.0.1:1"), ENV("PORT=9000"), "127.0.0.1:1");
	expect_bind(ARGS("--port", "2"), ENV("BIND=127.0.0.1:1"), "0.0.0.0:2");
	expect_errors(ARGS(), ENV("BIND=127.0.0.1:1", "PORT=2"),
		      "environment variable BIND: BIND and PORT (environment variable PORT) "
		      "contradict each other; leave one of them out\n");
	expect_errors(ARGS("--bind=:1", "--host=::1"), NO_ENV,
		      "flag --bind: BIND and HOST (flag --host) contradict each other; leave one "
		      "of them out\n");
	expect_errors(ARGS("--bind=:1", "--bind=0.0.0.0:1"), NO_ENV,
		      "flag --bind: the address 0.0.0.0:1 is there twice\n");
	expect_errors(ARGS("--status-bind=127.0.0.1:8000"), NO_ENV,
		      "flag --status-bind: the address 127.0.0.1:8000 is one of BIND too; the "
		      "keeper needs one of its own\n");
}

static void test_lists(void **state)
{
	struct loaded l = load_ok(ARGS(), ENV("BIND=127.0.0.1:0, [::1]:0,127.0.0.1:0"));

	(void)state;
	assert_int_equal(l.conf->nbinds, 3); /* port 0 is another one each time */
	assert_string_equal(l.conf->s.bind.item[1], "[::1]:0");
	unload(&l);
	/* A stronger origin replaces a list, it does not add to it. */
	l = load_ok(ARGS("-b:1", "-b:2"), ENV("BIND=127.0.0.1:3"));
	assert_int_equal(l.conf->nbinds, 2);
	assert_int_equal(l.conf->binds[0].addr.port, 1);
	assert_int_equal(l.conf->binds[1].addr.port, 2);
	unload(&l);
}

/* ---- computed defaults, contradictions, what is not built ---- */

static void test_computed(void **state)
{
	struct loaded l = load_ok(ARGS(), NO_ENV);

	(void)state;
	assert_true(l.conf->cpus >= 1);
	assert_int_equal(l.conf->s.web_workers, 2 * l.conf->cpus + 1);
	assert_int_equal(l.conf->s.workers_min, l.conf->s.web_workers);
	assert_int_equal(l.conf->s.request_timeout, 120000);
	assert_int_equal(l.conf->s.min_worker_lifetime, 60000);
	assert_string_equal(l.conf->s.status_prefix, "");
	unload(&l);
	l = load_ok(ARGS("-w9", "-t0", "--max-requests=1000", "builtin:hello"), NO_ENV);
	assert_int_equal(l.conf->s.workers_min, 9);
	assert_int_equal(l.conf->s.workers_max, 18);
	assert_int_equal(l.conf->s.request_timeout, 0);
	assert_int_equal(l.conf->s.min_worker_lifetime, 0);
	assert_string_equal(l.conf->s.status_prefix, "/_capricorn");
	unload(&l);
	l = load_ok(ARGS("-w2", "builtin:echo", "--status-prefix", "/"), NO_ENV);
	assert_int_equal(l.conf->s.workers_max, 16);
	assert_string_equal(l.conf->s.status_prefix, "");
	unload(&l);
	/* A computed number of workers gives way to bounds. */
	l = load_ok(ARGS("--workers-max=1"), NO_ENV);
	assert_int_equal(l.conf->s.web_workers, 1);
	unload(&l);
	l = load_ok(ARGS("--workers-min=1000"), NO_ENV);
	assert_int_equal(l.conf->s.web_workers, 1000);
	assert_int_equal(l.conf->s.workers_max, 2000);
	unload(&l);
}

static void test_contradictions(void **state)
{
	(void)state;
	expect_errors(ARGS("-w2"), ENV("WORKERS_MIN=3"),
		      "flag -w: WORKERS_MIN (environment variable WORKERS_MIN) is 3, which is more "
		      "than WEB_WORKERS (flag -w) with 2\n");
	expect_errors(ARGS("-w5"), ENV("WORKERS_MAX=4"),
		      "flag -w: WEB_WORKERS (flag -w) is 5, which is more than WORKERS_MAX "
		      "(environment variable WORKERS_MAX) with 4\n");
	expect_errors(ARGS("--workers-min=9", "--workers-max=8"), NO_ENV,
		      "flag --workers-min: WORKERS_MIN (flag --workers-min) is 9, which is more "
		      "than WORKERS_MAX (flag --workers-max) with 8\n");
}

static void test_not_built(void **state)
{
	struct loaded l = load_ok(ARGS("--threads", "8"),
				  ENV("PROXY_PROTOCOL=no", "RETRY_DELAY=0.5",
				      "SERVER_TIMING=FALSE"));

	(void)state;
	assert_int_equal(l.conf->s.thread_pool_size, 8);
	unload(&l);
	expect_errors(ARGS("--retry-count", "4"), ENV("PROXY_PROTOCOL=on", "CONTROL_SOCKET=/x"),
		      "environment variable PROXY_PROTOCOL: PROXY_PROTOCOL is not built yet; only "
		      "its default (off) is possible\n"
		      "flag --retry-count: RETRY_COUNT is not built yet; only its default (3) is "
		      "possible\n"
		      "environment variable CONTROL_SOCKET: CONTROL_SOCKET is not built yet; only "
		      "its default (none) is possible\n");
}

static void test_apps(void **state)
{
	static const struct { const char *app, *says; } bad[] = {
		{"http://127.0.0.1:9000", "is a server to pass requests on to, which is not built "
					  "yet"},
		{"package.module:app", "is a Python application, which is not built yet"},
		{"builtin:what", "is not a built-in app"},
		{"builtin:a/b.so", "is not a built-in app"},
		{"what", "is nothing that can be served"},
		{"what.so.1", "is nothing that can be served"},
		{"ftp://host/app.so", "is nothing that can be served"},
	};
	char want[300];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(want, sizeof(want), "argument APP: \"%s\" %s; there are builtin:api, "
			 "builtin:echo, builtin:hello and modules (./app.so)\n", bad[i].app,
			 bad[i].says);
		expect_errors(ARGS(bad[i].app), NO_ENV, want);
	}
	expect_errors(ARGS("builtin:ehco"), NO_ENV,
		      "argument APP: \"builtin:ehco\" is not a built-in app; did you mean "
		      "builtin:echo?\n");
	expect_errors(ARGS("builtin:echo", "--", "-x"), NO_ENV,
		      "command line: there can be one app, and there are builtin:echo and -x\n");
}

static void expect_module(const char *app, const char *path, const char *symbol)
{
	struct loaded l = load_ok(ARGS(app), NO_ENV);

	assert_int_equal(l.conf->app, CONF_APP_MODULE);
	assert_string_equal(l.conf->app_path, path);
	if (symbol)
		assert_string_equal(l.conf->app_symbol, symbol);
	else
		assert_null(l.conf->app_symbol);
	assert_string_equal(l.conf->s.status_prefix, "/_capricorn");
	unload(&l);
}

static void test_modules(void **state)
{
	struct loaded l;

	(void)state;
	write_file("big", "x");
	write_file("big.so", "x");
	write_file("a:b.so", "x");
	expect_module("big.so", "big.so", NULL);
	expect_module("./big.so", "./big.so", NULL);
	expect_module("./big", "./big", NULL);
	expect_module("big.so:main", "big.so", "main");
	expect_module("./big:_x9", "./big", "_x9");
	expect_module("./a:b.so:capricorn_app", "./a:b.so", "capricorn_app");
	l = load_ok(ARGS("--status-prefix", "/s"), ENV("CAPRICORN_APP=./big.so:x", "APP=no"));
	assert_int_equal(l.conf->app, CONF_APP_MODULE);
	assert_string_equal(l.conf->app_symbol, "x");
	assert_string_equal(l.conf->s.status_prefix, "/s");
	unload(&l);
	l = load_ok(ARGS("--status-prefix", "/", "./big.so"), NO_ENV);
	assert_string_equal(l.conf->s.status_prefix, "");
	unload(&l);
	l = load_ok(ARGS(), NO_ENV);
	assert_null(l.conf->app_path);
	assert_null(l.conf->app_symbol);
	unload(&l);
	/* A weaker origin is not looked at. */
	l = load_ok(ARGS("builtin:hello"), ENV("CAPRICORN_APP=./nothing.so"));
	assert_int_equal(l.conf->app, CONF_APP_HELLO);
	unload(&l);
}

static void test_bad_modules(void **state)
{
	static const struct { const char *app, *says; } bad[] = {
		{"./big.so:", "has no symbol after the colon; leave the colon out (capricorn_app), "
			      "or write ./app.so:symbol"},
		{"big.so:1x", "has a symbol after its last colon that is no identifier of C "
			      "(letters, digits and _)"},
		{"./big.so:a-b", "has a symbol after its last colon that is no identifier of C "
				 "(letters, digits and _)"},
		{"./app.py", "is Python, which is not built yet; a module is a shared object "
			     "(./app.so) of C"},
		{"./app.py:app", "is Python, which is not built yet; a module is a shared object "
				 "(./app.so) of C"},
		{"./dir/", "names a directory, not the file of a module (./app.so)"},
	};
	char want[300], *dir = getcwd(NULL, 0);

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(want, sizeof(want), "argument APP: \"%s\" %s\n", bad[i].app, bad[i].says);
		expect_errors(ARGS(bad[i].app), NO_ENV, want);
	}
	assert_string_equal(dir, *state);
	snprintf(want, sizeof(want), "environment variable CAPRICORN_APP: cannot read the module "
		 "./no.so: there is no such file in %s, where the server was started\n", dir);
	expect_errors(ARGS(), ENV("CAPRICORN_APP=./no.so:x"), want);
	free(dir);
	expect_errors(ARGS("/no.so"), NO_ENV,
		      "argument APP: cannot read the module /no.so: there is no such file\n");
	expect_errors(ARGS("/dev"), NO_ENV,
		      "argument APP: cannot read the module /dev: it is not a regular file\n");
	expect_errors(ARGS("/dev/null"), NO_ENV,
		      "argument APP: cannot read the module /dev/null: it is not a regular file\n");
	write_file("big.so", "");
	expect_errors(ARGS("./big.so"), NO_ENV,
		      "argument APP: cannot read the module ./big.so: it is empty\n");
	expect_errors(ARGS("./big.so/x"), NO_ENV,
		      "argument APP: cannot read the module ./big.so/x: Not a directory\n");
}

/* ---- flags ---- */

static void test_flag_forms(void **state)
{
	static const char *const forms[][2] = {
		{"-w4", NULL}, {"-w=4", NULL}, {"-w", "4"}, {"--workers=4", NULL},
		{"--workers", "4"}, {"--web-workers", "4"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		struct loaded l = load_ok(ARGS(forms[i][0], forms[i][1]), NO_ENV);

		assert_int_equal(l.conf->s.web_workers, 4);
		unload(&l);
	}
}

/* A boolean flag takes the next argument only if it can be nothing else. */
static void test_flag_booleans(void **state)
{
	struct loaded l = load_ok(ARGS("--winch-drains", "--server-header", "off", "builtin:echo"),
				  NO_ENV);

	(void)state;
	assert_true(l.conf->s.winch_drains);
	assert_false(l.conf->s.server_header);
	assert_int_equal(l.conf->app, CONF_APP_ECHO);
	unload(&l);
	l = load_ok(ARGS("--winch-drains", "builtin:echo", "--server-header=no"), NO_ENV);
	assert_true(l.conf->s.winch_drains);
	assert_int_equal(l.conf->app, CONF_APP_ECHO);
	unload(&l);
}

static void test_flag_errors(void **state)
{
	(void)state;
	expect_errors(ARGS("--wrokers", "4", "-Z", "--bind", "--name", "--check-config=1", "-w"),
		      NO_ENV,
		      "flag --wrokers: is unknown; did you mean --workers?\n"
		      "flag -Z: is unknown; see --help\n"
		      "flag --bind: needs a value\n"
		      "flag --name: needs a value\n"
		      "flag --check-config: takes no value\n"
		      "flag -w: needs a value\n");
	expect_errors(ARGS("-k", "gevent", "--reuse-port", "--preload", "--reload", "-D",
			   "builtin:api"), NO_ENV,
		      "flag -k: there is one kind of worker, an event loop; leave it out\n"
		      "flag --reuse-port: the listening sockets are shared by all workers, which "
		      "loses no connection; leave it out\n"
		      "flag --preload: apps are loaded in the workers, so that a reload can "
		      "replace them; leave it out\n"
		      "flag --reload: send HUP to the master to load a new configuration\n"
		      "flag -D: the server stays in the foreground; let systemd or a container "
		      "engine keep it\n");
	expect_errors(ARGS("-c", "gunicorn.conf.py"), NO_ENV,
		      "flag -c: gunicorn.conf.py is Python; write the settings as YAML (key: "
		      "value), see capricorn.yaml(5)\n");
	expect_errors(ARGS("-w", "-1"), NO_ENV,
		      "flag -w: \"-1\" is not a whole number from 1 to 1024\n");
}

static void test_gunicorn_spellings(void **state)
{
	struct loaded l = load_ok(ARGS("--access-logfile", "-", "--access-logformat", "%(h)s",
				       "--error-logfile", "/tmp/e", "--log-level", "debug", "-p",
				       "/p",
				       "-u", "u", "-g", "g", "-m", "7", "--chdir", "/", "-n", "n",
				       "--threads=8", "--forwarded-allow-ips=*",
				       "--limit-request-line=4094", "--limit-request-fields=50",
				       "--limit-request-field_size=1000", "--max-requests-jitter",
				       "1",
				       "--keep-alive", "2", "--graceful-timeout", "3", "--backlog",
				       "64",
				       "--worker-connections", "10", "--max-requests", "0"),
		    NO_ENV);
	const struct settings *s = &l.conf->s;

	(void)state;
	assert_string_equal(s->access_log, "-");
	assert_string_equal(s->access_log_format, "%(h)s");
	assert_string_equal(s->error_log, "/tmp/e");
	assert_int_equal(s->log_level, LOG_LV_DEBUG);
	assert_string_equal(s->pid, "/p");
	assert_string_equal(s->user, "u");
	assert_string_equal(s->group, "g");
	assert_int_equal(s->umask, 7);
	assert_string_equal(s->chdir, "/");
	assert_string_equal(s->name, "n");
	assert_true(l.conf->forwarded_allow.any);
	assert_int_equal(s->limit_request_line, 4094);
	assert_int_equal(s->limit_request_fields, 50);
	assert_int_equal(s->limit_request_field_size, 1000);
	assert_int_equal(s->max_requests_jitter, 1);
	assert_int_equal(s->keepalive_timeout, 2000);
	assert_int_equal(s->graceful_timeout, 3000);
	assert_int_equal(s->backlog, 64);
	assert_int_equal(s->worker_connections, 10);
	assert_int_equal(s->max_requests, 0);
	unload(&l);
}

/* Who asks for help has perhaps a broken configuration: it is not looked at. */
static void test_actions(void **state)
{
	struct loaded l = load_ok(ARGS("--nonsense", "-c", "missing.yaml", "--help"),
				  ENV("CAPRICORN_ZZZ=1"));

	(void)state;
	assert_int_equal(l.conf->action, CONF_ACT_HELP);
	unload(&l);
	l = load_ok(ARGS("-v"), ENV("PORT=x"));
	assert_int_equal(l.conf->action, CONF_ACT_VERSION);
	unload(&l);
	l = load_ok(ARGS("--print-doc", "man8"), NO_ENV);
	assert_int_equal(l.conf->action, CONF_ACT_DOC);
	assert_string_equal(l.conf->doc_name, "man8");
	unload(&l);
	l = load_ok(ARGS("--check-config"), NO_ENV);
	assert_int_equal(l.conf->action, CONF_ACT_CHECK);
	unload(&l);
	l = load_ok(ARGS("--print-config"), NO_ENV);
	assert_int_equal(l.conf->action, CONF_ACT_PRINT);
	unload(&l);
	l = load_ok(ARGS("--health", "builtin:echo"), ENV("PORT=81"));
	assert_int_equal(l.conf->action, CONF_ACT_HEALTH);
	assert_int_equal(l.conf->binds[0].addr.port, 81);
	assert_string_equal(l.conf->s.status_prefix, "/_capricorn");
	unload(&l);
}

/* Computed numbers of workers give way to the room there is; what somebody asked for does not. */
static void test_lower_workers(void **state)
{
	struct loaded l = load_ok(ARGS("-w12"), NO_ENV);

	(void)state;
	assert_int_equal(l.conf->s.workers_max, 24);
	assert_false(conf_lower_workers(l.conf, 11));
	assert_int_equal(l.conf->s.workers_max, 24);
	assert_true(conf_lower_workers(l.conf, 12));
	assert_int_equal(l.conf->s.workers_max, 12);
	assert_int_equal(l.conf->s.web_workers, 12);
	unload(&l);
	l = load_ok(ARGS("-b:1"), NO_ENV);
	assert_false(conf_lower_workers(l.conf, 0));
	assert_true(conf_lower_workers(l.conf, 2));
	assert_int_equal(l.conf->s.workers_max, 2);
	assert_int_equal(l.conf->s.web_workers, 2);
	assert_int_equal(l.conf->s.workers_min, 2);
	unload(&l);
	l = load_ok(ARGS("--workers-max=20"), NO_ENV);
	assert_false(conf_lower_workers(l.conf, 19));
	unload(&l);
	l = load_ok(ARGS("--workers-min=2"), NO_ENV);
	assert_false(conf_lower_workers(l.conf, 1));
	assert_true(conf_lower_workers(l.conf, 2));
	unload(&l);
}

/* ---- reload ---- */

static void test_carry_over(void **state)
{
	struct loaded cur = load_ok(ARGS("-b", "127.0.0.1:1", "-w2", "--name", "one"),
				    ENV("STATUS_BIND=127.0.0.1:9"));
	struct loaded next = load_ok(ARGS("-b", "127.0.0.1:2", "-b", ":3", "-w30", "-t", "7s",
					  "--access-log=-", "builtin:hello"), NO_ENV);

	(void)state;
	conf_carry_over(next.conf, cur.conf, &next.report);
	unload(&cur); /* nothing of it may be needed from now on */
	assert_string_equal(next.report.notes.p,
		"BIND: 127.0.0.1:2,:3 instead of 127.0.0.1:1 needs a restart or an upgrade\n"
		"STATUS_BIND: none instead of 127.0.0.1:9 needs a restart or an upgrade\n"
		"NAME: none instead of one needs a restart or an upgrade\n"
		"WEB_WORKERS: 16 instead of 30, since WORKERS_MAX needs a restart or an upgrade\n");
	assert_int_equal(next.conf->nbinds, 1);
	assert_int_equal(next.conf->binds[0].addr.port, 1);
	assert_true(next.conf->has_status_bind);
	assert_int_equal(next.conf->status_bind.addr.port, 9);
	assert_string_equal(next.conf->s.name, "one");
	assert_int_equal(next.conf->app, CONF_APP_HELLO);
	assert_string_equal(next.conf->s.status_prefix, "/_capricorn");
	assert_int_equal(next.conf->s.workers_max, 16);
	assert_int_equal(next.conf->s.web_workers, 16);
	assert_int_equal(next.conf->s.workers_min, 16);
	/* What may change has changed. */
	assert_int_equal(next.conf->s.worker_timeout, 7000);
	assert_string_equal(next.conf->s.access_log, "-");
	unload(&next);
}

static void test_carry_over_nothing(void **state)
{
	struct loaded cur = load_ok(ARGS("-w2"), NO_ENV);
	struct loaded next = load_ok(ARGS("-w2"), NO_ENV);

	(void)state;
	conf_carry_over(next.conf, cur.conf, &next.report);
	assert_int_equal(next.report.notes.len, 0);
	unload(&cur);
	unload(&next);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_precedence),
		cmocka_unit_test(test_default_file),
		cmocka_unit_test(test_spellings),
		cmocka_unit_test(test_prefixed_only),
		cmocka_unit_test(test_unknown_variables),
		cmocka_unit_test(test_host_and_port),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_computed),
		cmocka_unit_test(test_contradictions),
		cmocka_unit_test(test_not_built),
		cmocka_unit_test(test_apps),
		cmocka_unit_test(test_modules),
		cmocka_unit_test(test_bad_modules),
		cmocka_unit_test(test_flag_forms),
		cmocka_unit_test(test_flag_booleans),
		cmocka_unit_test(test_flag_errors),
		cmocka_unit_test(test_gunicorn_spellings),
		cmocka_unit_test(test_actions),
		cmocka_unit_test(test_lower_workers),
		cmocka_unit_test(test_carry_over),
		cmocka_unit_test(test_carry_over_nothing),
	};

	return cmocka_run_group_tests(tests, enter_directory, leave_directory);
}
