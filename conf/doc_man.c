/* SPDX-License-Identifier: MIT */
/*
 * The man pages capricorn(8) and capricorn.yaml(5), in the macros of man(7).
 */
#include "conf/conf_priv.h"

/* Minus signs that can be copied, no accidental requests. */
void conf_put_roff(FILE *f, const char *s)
{
	if (*s == '.' || *s == '\'')
		fputs("\\&", f);
	for (; *s; s++) {
		if (*s == '\\')
			fputs("\\e", f);
		else if (*s == '-')
			fputs("\\-", f);
		else
			fputc(*s, f);
	}
}

/* "\fB\-w\fR, \fB\-\-workers\fR": names bold, what stands between them not. */
static void put_names(FILE *f, const char *names)
{
	while (*names) {
		int len = (int)strcspn(names, ",");
		char name[64];

		snprintf(name, sizeof(name), "%.*s", len, names);
		fputs("\\fB", f);
		conf_put_roff(f, name);
		fputs("\\fR", f);
		names += len;
		if (*names) {
			fputs(", ", f);
			names += strspn(names, ", ");
		}
	}
}

static void put_aliases(FILE *f, const struct conf_row *row)
{
	for (const char *p = row->aliases; p && *p; ) {
		int len = (int)strcspn(p, " ");

		fprintf(f, ", %.*s", len, p);
		p += len;
		p += strspn(p, " ");
	}
}

/* Type, range and default of a row as a sentence or two. */
static void put_facts(FILE *f, const struct conf_row *row)
{
	struct strbuf text;

	strbuf_init(&text);
	conf_row_facts(row, &text);
	strbuf_puts(&text, "; default: ");
	conf_row_default(row, &text);
	strbuf_printf(&text, "; takes effect: %s", conf_when_word(row->when));
	strbuf_puts(&text, row->later ? "; not built yet.\n" : ".\n");
	if (text.p) {
		/* A sentence begins with a capital. */
		if (text.p[0] >= 'a' && text.p[0] <= 'z')
			text.p[0] = (char)(text.p[0] - 'a' + 'A');
		conf_put_roff(f, text.p);
	}
	strbuf_fini(&text);
}

/* ---- capricorn(8) ---- */

static void man_option(FILE *f, const struct conf_option *o)
{
	const char *space = strchr(o->flags, ' ');
	char names[64];

	if (space) /* short flag first */
		snprintf(names, sizeof(names), "%s, %.*s", space + 1, (int)(space - o->flags),
			 o->flags);
	else
		snprintf(names, sizeof(names), "%s", o->flags);
	fputs(".TP\n", f);
	put_names(f, names);
	if (o->arg)
		fprintf(f, " \\fI%s\\fR", o->arg);
	fputc('\n', f);
	conf_put_roff(f, o->help);
	fputc('\n', f);
}

static void man_setting(FILE *f, const struct conf_row *row)
{
	struct strbuf flags;

	strbuf_init(&flags);
	conf_row_flags(row, &flags);
	fputs(".TP\n", f);
	if (flags.len > 0) {
		put_names(f, flags.p);
		fprintf(f, " \\fI%s\\fR (", conf_row_arg(row));
	} else {
		fprintf(f, "\\fI%s\\fR (argument, ", row->name);
	}
	fprintf(f, "%s%s", row->prefixed ? CONF_PREFIX : "", row->name);
	put_aliases(f, row);
	fputs(")\n", f);
	conf_put_roff(f, row->help);
	fputc('\n', f);
	put_facts(f, row);
	strbuf_fini(&flags);
}

static const char man8_head[] =
".TH CAPRICORN 8 \"\" Capricorn \"System Administration\"\n"
".SH NAME\n"
"capricorn \\- prefork application server\n"
".SH SYNOPSIS\n"
".B capricorn\n"
"[\\fIOPTIONS\\fR] [\\fIAPP\\fR]\n"
".br\n"
".B capricorn\n"
"[\\fIOPTIONS\\fR] \\fB\\-\\-check\\-config\\fR | \\fB\\-\\-print\\-config\\fR\n"
".SH DESCRIPTION\n"
"A master process opens the listening sockets and a segment of shared memory, and forks workers,\n"
"which serve, and a keeper, which writes the logs and samples. The master serves nobody; it "
"watches its children, replaces those that die or hang, and acts on signals. It stays in the "
"foreground.\n"
".PP\n"
"\\fIAPP\\fR is what to serve:\n"
".TP\n"
".B builtin:api\n"
"the built-in API: GET / and POST /echo, and /health, /livez, /readyz, /status, /metrics "
"(default)\n"
".TP\n"
".B builtin:echo\n"
"answers any request with JSON that describes it, or with N bytes for ?bytes=N\n"
".TP\n"
".B builtin:hello\n"
"answers any request with 13 bytes of text\n"
".TP\n"
"\\fIFILE\\fR.so[\\fB:\\fIsymbol\\fR]\n"
"a module: a shared object of C that exports \\fIsymbol\\fR (capricorn_app), see capricorn.h. A\n"
"text with a slash in it, or that ends in .so before the symbol, names a module. A relative path\n"
"begins where the server was started. HUP reads the file anew; while it runs, a generation keeps\n"
"the code that it began with.\n"
".SH OPTIONS\n"
"A value follows its flag as the next argument or after an equals sign; \\fB\\-\\-\\fR ends the\n"
"flags. A boolean flag alone is true.\n";

static const char man8_settings[] =
".SH SETTINGS\n"
"Each setting is a flag, an environment variable and a key of the configuration file, see\n"
".BR capricorn.yaml (5).\n"
"The strongest origin wins: flag, then environment, then \\fB\\-\\-env\\-file\\fR, then "
"configuration\n"
"file, then the default. Beside the flags below each setting has one of its own name, such as\n"
"\\fB\\-\\-web\\-workers\\fR.\n"
".PP\n"
"Durations are written 500ms, 30s, 5m, 1h or as plain seconds; sizes 64k, 256m, 2g or as plain\n"
"bytes; booleans true, false, yes, no, on, off, 1 or 0. A setting that takes effect at\n"
".I boot\n"
"needs a restart; one that takes effect at\n"
".I reload\n"
"is read again at HUP.\n";

static const char man8_tail[] =
".SH ENVIRONMENT\n"
"Each setting is a variable of its name, shown in parentheses above. With the prefix CAPRICORN_ "
"it wins over the bare name; those shown with the prefix exist only so. An empty variable is as "
"good as none. A variable with the prefix that is not known is an error, but what Kubernetes sets "
"for a service of that name (CAPRICORN_PORT=tcp://..., CAPRICORN_PORT_*, CAPRICORN_SERVICE_*) is "
"ignored.\n"
".TP\n"
".B CAPRICORN_CONFIG\n"
"the configuration file, when there is no \\fB\\-c\\fR\n"
".SH SIGNALS\n"
"To the master:\n"
".TP\n"
".B TERM\n"
"Graceful stop: requests in flight have GRACEFUL_TIMEOUT. A second TERM stops quickly.\n"
".TP\n"
".BR INT ,\\  QUIT\n"
"Quick stop: workers leave at once and are killed after 2 seconds.\n"
".TP\n"
".B HUP\n"
"Reload: configuration and environment file are read and checked; if they are good, new workers\n"
"start, and when they are ready, the old ones finish their requests and leave. A bad "
"configuration\n"
"changes nothing and is logged.\n"
".TP\n"
".B USR1\n"
"Open the log files again, after they have been rotated.\n"
".TP\n"
".B USR2\n"
"Reserved for the upgrade of the binary, which is not built yet; the log says so.\n"
".TP\n"
".BR TTIN ,\\  TTOU\n"
"One worker more, up to WORKERS_MAX, or less, down to WORKERS_MIN.\n"
".TP\n"
".B WINCH\n"
"With WINCH_DRAINS=true: drain the workers and keep the master; HUP or TTIN brings them back.\n"
"Otherwise ignored.\n"
".PP\n"
"TERM to a worker drains that worker, and it is replaced.\n"
".SH EXIT STATUS\n"
".TP\n"
".B 0\n"
"stopped as asked\n"
".TP\n"
".B 1\n"
"an error in the configuration, or an address, file or segment that could not be opened\n"
".TP\n"
".B 3\n"
"no worker could boot\n"
".TP\n"
".B 4\n"
"the app cannot be loaded\n"
".SH FILES\n"
".TP\n"
".I ./capricorn.yaml\n"
"the configuration file if none is named\n"
".TP\n"
".I /dev/shm/capricorn\\-*\n"
"the shared segment (SHM_NAME) while the server runs\n"
".SH EXAMPLES\n"
"Serve on all addresses with four workers:\n"
".PP\n"
".EX\n"
"    capricorn \\-b 0.0.0.0:8000 \\-w 4\n"
".EE\n"
".PP\n"
"The same by the environment, with an access log on standard output:\n"
".PP\n"
".EX\n"
"    PORT=8000 WEB_WORKERS=4 ACCESS_LOG=\\- capricorn\n"
".EE\n"
".PP\n"
"Check a file before a reload, then reload:\n"
".PP\n"
".EX\n"
"    capricorn \\-c /etc/capricorn.yaml \\-\\-check\\-config && kill \\-HUP \"$(cat "
"capricorn.pid)\"\n"
".EE\n"
".SH SEE ALSO\n"
".BR capricorn.yaml (5)\n";

void conf_write_man8(FILE *f)
{
	fputs(man8_head, f);
	for (const struct conf_option *o = conf_options; o->flags; o++)
		if (o->help)
			man_option(f, o);
	fputs(man8_settings, f);
	for (size_t i = 0; i < CONF_ROWS; i++) {
		if (conf_rows[i].group)
			fprintf(f, ".SS %s\n", conf_rows[i].group);
		man_setting(f, &conf_rows[i]);
	}
	fputs(man8_tail, f);
}

/* ---- capricorn.yaml(5) ---- */

static const char man5_head[] =
".TH CAPRICORN.YAML 5 \"\" Capricorn \"File Formats\"\n"
".SH NAME\n"
"capricorn.yaml \\- configuration file of capricorn\n"
".SH DESCRIPTION\n"
"A YAML mapping of settings to values, read by\n"
".BR capricorn (8)\n"
"from the file that \\fB\\-c\\fR or CAPRICORN_CONFIG names, else from\n"
".I ./capricorn.yaml\n"
"if there is one, and again at HUP. The environment and flags win over it.\n"
".PP\n"
"What a value means is decided by its setting, not by YAML: quotes matter only where YAML would "
"not read the text otherwise. A key without a value is as good as none. A key that is unknown, or "
"given twice, and a value that does not fit are errors; all of them are told at once with line and "
"column. Lists are YAML sequences, or texts with commas. Tags and further documents are errors.\n"
".PP\n"
"Durations are written 500ms, 30s, 5m, 1h or as plain seconds; sizes 64k, 256m, 2g (an optional "
"b, any case) or as plain bytes; booleans true, false, yes, no, on, off, 1 or 0.\n"
".PP\n"
"The sections\n"
".IR performance ,\n"
".IR semaphores ,\n"
".IR rate_limits ,\n"
".I defaults\n"
"and\n"
".I routes\n"
"say what holds for which requests, see below. They are read again at HUP; limits, queues, times and\n"
"routes change then, limit_max and entries need a restart.\n"
".PP\n"
"The sections\n"
".IR cache ,\n"
".IR alerts ,\n"
".IR reload ,\n"
".I autoscale\n"
"and\n"
".I upstreams\n"
"are reserved; they are not built yet and are errors.\n"
".PP\n"
"The section\n"
".I module\n"
"is a mapping of any shape, for the module that APP names: it is handed to it as it stands, and what "
"its keys mean is the module's to judge. A plain scalar that is a number, true or false in JSON is "
"that, one that is null, ~ or empty has no value, and all else is a text; in quotes everything is. "
"Keys keep their order. A key that is given twice, tags, anchors and aliases, a number that needs "
"more than 64 bits, more than 32 levels and more than 10000 values are errors. It takes effect at "
"HUP, for the workers that are started then. With a built-in app it is not used, which the log "
"says. \\fB\\-\\-print\\-config\\fR shows all of it, so passwords are better off elsewhere.\n"
".SH KEYS\n";

static const char man5_tail[] =
".SH EXAMPLE\n"
".EX\n"
"bind: [\"0.0.0.0:8000\", \"unix:/run/capricorn.sock\"]\n"
"web_workers: 4\n"
"worker_timeout: 60s\n"
"client_max_body_size: 10m\n"
"access_log: /var/log/capricorn/access.log\n"
"status_allow: [127.0.0.0/8, \"::1\", 10.0.0.0/8]\n"
"app: ./shop.so\n"
"module:\n"
"  database: {host: db.internal, port: 5432}\n"
"  greeting: \"Hello\"\n"
".EE\n"
".SH SEE ALSO\n"
".BR capricorn (8)\n";

void conf_write_man5(FILE *f)
{
	fputs(man5_head, f);
	for (size_t i = 0; i < CONF_ROWS; i++) {
		const struct conf_row *row = &conf_rows[i];

		if (row->group)
			fprintf(f, ".SS %s\n", row->group);
		fprintf(f, ".TP\n\\fB%s\\fR\n", row->key);
		conf_put_roff(f, row->help);
		fputc('\n', f);
		put_facts(f, row);
	}
	conf_write_keys_man(f);
	fputs(man5_tail, f);
}
