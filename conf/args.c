/* SPDX-License-Identifier: MIT */
/*
 * The command line. It is read twice: first for what names files and actions, at the end for the
 * settings, since flags are the strongest origin.
 */
#include "conf/conf_priv.h"

#include <ctype.h>

const struct conf_option conf_options[] = {
	{"--config -c", "FILE",
	 "Configuration file (YAML). Default: CAPRICORN_CONFIG, else ./capricorn.yaml if present."},
	{"--env-file", "FILE",
	 "File of NAME=VALUE lines, weaker than the environment; read again at each reload."},
	{"--check-config", NULL,
	 "Check the settings, print what they cost in shared memory, and exit."},
	{"--print-config", NULL,
	 "Print each setting with its value and where it came from, as JSON, and exit."},
	{"--health", NULL,
	 "Ask the server that runs with these settings, at its first BIND, whether it is well, and "
	 "exit with 0 (healthy or degraded) or 1."},
	{"--help -h", NULL, "Print this help and exit."},
	{"--version -v", NULL, "Print the version and exit."},
	{"--print-doc", "NAME", NULL},
	{NULL, NULL, NULL},
};

/* What gunicorn has and Capricorn has not, and what to use instead. */
static const struct {
	const char *flags;
	bool takes_value;
	const char *instead;
} foreign[] = {
	{"--worker-class -k", true,
	 "there is one kind of worker, an event loop; leave it out"},
	{"--reuse-port", false,
	 "the listening sockets are shared by all workers, which loses no connection; leave it "
	 "out"},
	{"--preload --preload-app", false,
	 "apps are loaded in the workers, so that a reload can replace them; leave it out"},
	{"--reload", false, "send HUP to the master to load a new configuration"},
	{"--daemon -D", false,
	 "the server stays in the foreground; let systemd or a container engine keep it"},
	{"--worker-tmp-dir", true, "workers beat in shared memory, not in files; leave it out"},
	{"--certfile --keyfile --ca-certs --ciphers --ssl-version --cert-reqs", true,
	 "TLS is not spoken here; let a proxy in front of it do that"},
	{"--log-config --log-config-dict --log-config-json --logger-class", true,
	 "see --log-level, --log-format and --access-log-format"},
	{"--log-syslog --log-syslog-to --log-syslog-prefix --log-syslog-facility", true,
	 "log to standard error (-), and let systemd or a container engine collect it"},
	{"--capture-output", false,
	 "the standard output of workers is that of the master; leave it out"},
	{"--statsd-host --statsd-prefix --dogstatsd-tags", true,
	 "GET /metrics has the metrics, in the format of Prometheus"},
	{"--env -e", true, "set it in the environment, or in a file for --env-file"},
};

struct cursor {
	struct conf_loading *ld;
	char *const *argv;
	int argc, i;
	bool apply;
	bool flags_over;        /* after "--" */
	const char *app;
	struct conf_args *ret;
};

static bool word_in(const char *list, struct slice word)
{
	for (const char *p = list; *p; ) {
		struct slice w = {p, strcspn(p, " ")};

		if (slice_eq(w, word))
			return true;
		p += w.len + strspn(p + w.len, " ");
	}
	return false;
}

/* A flag and the value in the same argument: --flag=value, -w4, -w=4. */
struct flag {
	struct slice name;
	const char *value;      /* NULL = none in this argument */
	const char *place;
};

static struct flag split(struct cursor *c, const char *arg)
{
	const char *eq = strchr(arg, '=');
	struct flag f = {.name = slice_of(arg)};

	if (arg[1] != '-') {
		f.name.len = 2;
		if (arg[2] != '\0')
			f.value = arg + 2 + (arg[2] == '=');
	} else if (eq) {
		f.name.len = (size_t)(eq - arg);
		f.value = eq + 1;
	}
	f.place = conf_text(c->ld, "flag %.*s", (int)f.name.len, f.name.p);
	return f;
}

/* Could this argument be a value? "-" and "-1" are, "-w" and "--bind" are flags. */
static bool is_value(const char *arg)
{
	return arg[0] != '-' || arg[1] == '\0' || isdigit((unsigned char)arg[1]);
}

/* The value of a flag that needs one; NULL after telling that it is missing. */
static const char *take_value(struct cursor *c, const struct flag *f)
{
	const char *value = f->value;

	if (!value && c->i + 1 < c->argc && is_value(c->argv[c->i + 1]))
		value = c->argv[++c->i];
	if (value && *value)
		return value;
	conf_error(c->ld, f->place, "needs a value");
	return NULL;
}

/* A boolean flag alone is true; the next argument is its value only if it can be nothing else. */
static const char *take_bool(struct cursor *c, const struct flag *f)
{
	static const char *const words[] = {"true", "false", "yes", "no", "on", "off", "1", "0"};

	if (f->value)
		return f->value;
	for (size_t i = 0; c->i + 1 < c->argc && i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(c->argv[c->i + 1], words[i]) == 0)
			return c->argv[++c->i];
	return "true";
}

static void set_action(struct cursor *c, enum conf_action action)
{
	c->ld->conf->action = action;
}

/* One of conf_options[]; false if the flag is none of them. */
static bool take_option(struct cursor *c, const struct flag *f)
{
	const struct conf_option *o = conf_options;
	const char *value = NULL;

	while (o->flags && !word_in(o->flags, f->name))
		o++;
	if (!o->flags)
		return false;
	if (o->arg) {
		value = take_value(c, f);
		if (!value)
			return true;
	} else if (f->value) {
		conf_error(c->ld, f->place, "takes no value");
		return true;
	}
	if (slice_eq(f->name, SLICE("--config")) || slice_eq(f->name, SLICE("-c"))) {
		c->ret->file = value;
		c->ret->file_place = f->place;
	} else if (slice_eq(f->name, SLICE("--env-file"))) {
		c->ret->env_file = value;
	} else if (slice_eq(f->name, SLICE("--check-config"))) {
		set_action(c, CONF_ACT_CHECK);
	} else if (slice_eq(f->name, SLICE("--print-config"))) {
		set_action(c, CONF_ACT_PRINT);
	} else if (slice_eq(f->name, SLICE("--health"))) {
		set_action(c, CONF_ACT_HEALTH);
	} else if (slice_eq(f->name, SLICE("--help")) || slice_eq(f->name, SLICE("-h"))) {
		set_action(c, CONF_ACT_HELP);
	} else if (slice_eq(f->name, SLICE("--print-doc"))) {
		set_action(c, CONF_ACT_DOC);
		c->ld->conf->doc_name = conf_text(c->ld, "%s", value);
	} else {
		set_action(c, CONF_ACT_VERSION);
	}
	return true;
}

static bool refuse_foreign(struct cursor *c, const struct flag *f)
{
	for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
		if (!word_in(foreign[i].flags, f->name))
			continue;
		if (foreign[i].takes_value && !f->value && c->i + 1 < c->argc &&
		    is_value(c->argv[c->i + 1]))
			c->i++;
		conf_error(c->ld, f->place, "%s", foreign[i].instead);
		return true;
	}
	return false;
}

static void refuse_unknown(struct cursor *c, const struct flag *f)
{
	struct strbuf near;

	strbuf_init(&near);
	if (f->name.len > 2 && conf_nearest_row(f->name, CONF_BY_FLAG, &near)) {
		conf_error(c->ld, f->place, "is unknown; did you mean %s?", near.p);
		/* What follows was meant as its value, not as the app. */
		if (!f->value && c->i + 1 < c->argc && is_value(c->argv[c->i + 1]))
			c->i++;
	} else {
		conf_error(c->ld, f->place, "is unknown; see --help");
	}
	strbuf_fini(&near);
}

static void take_setting(struct cursor *c, const struct conf_row *row, const struct flag *f)
{
	const char *value = row->type == CONF_T_BOOL ? take_bool(c, f) : take_value(c, f);

	if (value && c->apply)
		conf_set_text(c->ld, row, CONF_FLAG, slice_of(value), f->place);
}

static void take_flag(struct cursor *c, const char *arg)
{
	struct flag f = split(c, arg);
	const struct conf_row *row = conf_row_by_flag(f.name);

	if (row)
		take_setting(c, row, &f);
	else if (!take_option(c, &f) && !refuse_foreign(c, &f))
		refuse_unknown(c, &f);
}

static void take_app(struct cursor *c, const char *arg)
{
	if (c->app) {
		conf_error(c->ld, "command line", "there can be one app, and there are %s and %s",
			   c->app, arg);
		return;
	}
	c->app = arg;
	if (c->apply && *arg)
		conf_set_text(c->ld, &conf_rows[CONF_R_APP], CONF_FLAG, slice_of(arg),
			      "argument APP");
}

void conf_read_args(struct conf_loading *ld, const struct conf_input *in, bool apply,
		    struct conf_args *ret)
{
	struct cursor c = {
		.ld = ld, .argv = in->argv, .argc = in->argc, .apply = apply, .ret = ret,
	};

	for (c.i = 1; c.i < c.argc; c.i++) {
		const char *arg = c.argv[c.i];

		if (c.flags_over || arg[0] != '-' || arg[1] == '\0')
			take_app(&c, arg);
		else if (strcmp(arg, "--") == 0)
			c.flags_over = true;
		else
			take_flag(&c, arg);
	}
}
