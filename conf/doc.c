/* SPDX-License-Identifier: MIT */
/*
 * Documents made from the table: --help, docs/SETTINGS.md and the sample file. The man pages are in
 * doc_man.c.
 */
#include "conf/conf_priv.h"

#include <ctype.h>

#define HELP_INDENT 26
#define LINE_WIDTH  80

/* ---- words about a row ---- */

const char *conf_type_word(enum conf_type type)
{
	static const char *const words[] = {
		[CONF_T_INT] = "number", [CONF_T_DURATION] = "duration", [CONF_T_SIZE] = "size",
		[CONF_T_MODE] = "octal number", [CONF_T_BOOL] = "boolean", [CONF_T_TEXT] = "text",
		[CONF_T_LIST] = "list", [CONF_T_LEVEL] = "word", [CONF_T_LOGFORMAT] = "word",
		[CONF_T_POLICY] = "word",
	};

	return type < sizeof(words) / sizeof(words[0]) ? words[type] : "word";
}

const char *conf_when_word(enum conf_when when)
{
	static const char *const words[] = {
		[CONF_BOOT] = "boot", [CONF_RELOAD] = "reload", [CONF_LIVE_CHANGE] = "live",
	};

	return words[when];
}

const char *conf_row_arg(const struct conf_row *row)
{
	static const char *const args[] = {
		[CONF_T_INT] = "N", [CONF_T_DURATION] = "TIME", [CONF_T_SIZE] = "SIZE",
		[CONF_T_MODE] = "MODE", [CONF_T_BOOL] = "BOOL", [CONF_T_TEXT] = "TEXT",
		[CONF_T_LIST] = "LIST", [CONF_T_LEVEL] = "LEVEL", [CONF_T_LOGFORMAT] = "WORD",
		[CONF_T_POLICY] = "WORD",
	};

	return row->arg ? row->arg : args[row->type];
}

void conf_row_facts(const struct conf_row *row, struct strbuf *out)
{
	const char *const *words = conf_type_words(row->type);
	struct strbuf range;

	strbuf_puts(out, row->type == CONF_T_SHAPE ? row->arg : conf_type_word(row->type));
	for (size_t i = 0; words && words[i]; i++)
		strbuf_printf(out, "%s%s", i ? ", " : ": ", words[i]);
	strbuf_init(&range);
	conf_range_format(row, &range);
	if (range.len > 0)
		strbuf_printf(out, " %s", range.p);
	strbuf_fini(&range);
	if (row->unit)
		strbuf_printf(out, " (%s)", row->unit);
	if (row->zero)
		strbuf_printf(out, ", 0 = %s", row->zero);
}

void conf_row_default(const struct conf_row *row, struct strbuf *out)
{
	strbuf_puts(out, row->shown ? row->shown : row->def ? row->def : "none");
}

/* Short flags first, as usual: "-w, --workers". */
static void join_flags(const char *flags, struct strbuf *out)
{
	for (int pass = 0; pass < 2; pass++)
		for (const char *p = flags; *p; ) {
			size_t len = strcspn(p, " ");

			if ((len == 2) == (pass == 0))
				strbuf_printf(out, "%s%.*s", out->len ? ", " : "", (int)len, p);
			p += len + strspn(p + len, " ");
		}
}

void conf_row_flags(const struct conf_row *row, struct strbuf *out)
{
	if (!row->flags)
		conf_own_flag(row, out);
	else
		join_flags(row->flags, out);
}

/* ---- --help ---- */

/* Text broken into lines that begin at `indent`; the cursor stands at `column`. */
static void wrap(FILE *f, const char *text, int indent, int column)
{
	while (*text) {
		int len = (int)strcspn(text, " ");

		if (column > indent && column + 1 + len > LINE_WIDTH) {
			fprintf(f, "\n%*s", indent, "");
			column = indent;
		}
		column += fprintf(f, "%s%.*s", column > indent ? " " : "", len, text);
		text += len;
		text += strspn(text, " ");
	}
	fputc('\n', f);
}

static void help_entry(FILE *f, const char *flags, const char *arg, const char *text)
{
	int column = fprintf(f, "  %s%s%s", flags, arg ? " " : "", arg ? arg : "");

	if (column >= HELP_INDENT) {
		fputc('\n', f);
		column = 0;
	}
	fprintf(f, "%*s", HELP_INDENT - column, "");
	wrap(f, text, HELP_INDENT, HELP_INDENT);
}

static void help_row(FILE *f, const struct conf_row *row)
{
	struct strbuf flags, text;

	strbuf_init(&flags);
	strbuf_init(&text);
	conf_row_flags(row, &flags);
	strbuf_printf(&text, "%s [%s%s, ", row->help, row->prefixed ? CONF_PREFIX : "", row->name);
	if (row->shown || row->def) {
		strbuf_puts(&text, "default ");
		conf_row_default(row, &text);
	} else {
		strbuf_puts(&text, "no default");
	}
	strbuf_puts(&text, row->later ? "; not built yet]" : "]");
	if (flags.p && text.p)
		help_entry(f, flags.p, conf_row_arg(row), text.p);
	strbuf_fini(&text);
	strbuf_fini(&flags);
}

void conf_write_help(FILE *f)
{
	fputs("Usage: capricorn [OPTIONS] [APP]\n\n"
	      "A prefork application server: a master, worker processes and a keeper.\n"
	      "APP is builtin:api (the default), builtin:echo, builtin:hello, or a module of C\n"
	      "by its file: ./app.so, or ./app.so:symbol if that is not capricorn_app.\n\n"
	      "Options:\n", f);
	for (const struct conf_option *o = conf_options; o->flags; o++) {
		struct strbuf flags;

		if (!o->help)
			continue;
		strbuf_init(&flags);
		join_flags(o->flags, &flags);
		if (flags.p)
			help_entry(f, flags.p, o->arg, o->help);
		strbuf_fini(&flags);
	}
	for (size_t i = 0; i < CONF_ROWS; i++) {
		if (conf_rows[i].group)
			fprintf(f, "\n%s:\n", conf_rows[i].group);
		if (i != CONF_R_APP)
			help_row(f, &conf_rows[i]);
	}
	fputs("\nEach setting is also an environment variable (its name, also with the prefix\n"
	      "CAPRICORN_) and a key of the configuration file (its name in lower case), and\n"
	      "has a flag of its own name (--web-workers). Flags win over the environment,\n"
	      "that over the --env-file, that over the configuration file. See capricorn(8).\n", f);
}

/* ---- docs/SETTINGS.md ---- */

static const char markdown_head[] =
"# Settings\n"
"\n"
"This page is made from `conf/settings.def` (`capricorn --print-doc settings-md`).\n"
"\n"
"## Where a setting comes from\n"
"\n"
"| origin | how | |\n"
"|---|---|---|\n"
"| default | the table below | weakest |\n"
"| file | `-c FILE` or `CAPRICORN_CONFIG`, else `./capricorn.yaml` if present; the key is the "
"variable's name in lower case | |\n"
"| `--env-file FILE` | lines `NAME=VALUE`, read again at each reload | |\n"
"| environment | `WEB_WORKERS=4`, or `CAPRICORN_WEB_WORKERS=4`, which wins over the bare name | |\n"
"| flag | `--workers 4`, `--workers=4`, `-w 4`, `-w4`; each setting also has the flag of its own "
"name: `--web-workers` | strongest |\n"
"\n"
"- An empty variable is as good as none, and so is a key without a value.\n"
"- A variable that begins with `CAPRICORN_` and is not known is an error. Only what Kubernetes "
"sets beside a service of that name (`CAPRICORN_PORT=tcp://...`, `CAPRICORN_PORT_*`, "
"`CAPRICORN_SERVICE_*`) is ignored, with a note.\n"
"- All problems are told at once, each with its place, and the program ends with exit code 1. At a "
"reload they are logged and nothing changes.\n"
"- `capricorn --check-config` checks and says what the settings cost in shared memory; "
"`capricorn --print-config` prints each value with its origin as JSON. Values in it can be used as "
"they are: durations are in seconds, sizes in bytes.\n"
"- A list is written with commas, in the file also as a YAML sequence; its flag can be repeated.\n"
"\n"
"## Types\n"
"\n"
"| type | written |\n"
"|---|---|\n"
"| duration | `500ms`, `30s`, `5m`, `1h`, or plain seconds (`30`, `0.5`) |\n"
"| size | `64k`, `256m`, `2g` (an optional `b`, any case; a k is 1024), or plain bytes |\n"
"| boolean | `true` `false` `yes` `no` `on` `off` `1` `0`; a flag without a value is true |\n"
"| number | decimal digits |\n"
"| word | one of those named, in any case |\n"
"\n"
"\"Takes effect\" is `boot` (a change needs a restart; at a reload the old value stays, with a "
"note in the log), `reload` (HUP) or `live`. A setting marked *not built yet* accepts its default "
"only.\n";

static const char markdown_tail[] =
"\n## The section `module`\n"
"\n"
"In the file, `module:` is a mapping of any shape for the module that APP names. It is handed over "
"as it stands (`capri_setting()`, `capri_settings_json()`); what its keys mean is the module's to "
"judge. It takes effect at a reload, for the workers that are started then.\n"
"\n"
"- A plain scalar that is a number, `true` or `false` in JSON is that; `null`, `~` and nothing are "
"null; all else, and whatever is in quotes, is a text (`yes`, `1_000`, `010`). Keys keep their "
"order.\n"
"- Errors are: a key given twice, tags, anchors and aliases, numbers that need more than 64 bits, "
"more than 32 levels, more than 10000 values.\n"
"- With a built-in app the section is not used, which the log says: a file may be shared.\n"
"- `--print-config` shows all of it: passwords are better off elsewhere.\n";

/* Cells must not be broken by a | of their own. */
static void put_cell(FILE *f, const char *s)
{
	for (; *s; s++) {
		if (*s == '|')
			fputc('\\', f);
		fputc(*s, f);
	}
}

static void markdown_names(FILE *f, const struct conf_row *row)
{
	struct strbuf flags;

	fprintf(f, "| `%s%s`", row->prefixed ? CONF_PREFIX : "", row->name);
	for (const char *p = row->aliases; p && *p; ) {
		size_t len = strcspn(p, " ");

		fprintf(f, ", `%.*s`", (int)len, p);
		p += len + strspn(p + len, " ");
	}
	strbuf_init(&flags);
	conf_row_flags(row, &flags);
	fputs(" | ", f);
	if (flags.len == 0)
		fputs("(argument)", f);
	for (char *p = flags.p; p && *p; ) {
		size_t len = strcspn(p, ",");

		fprintf(f, "%s`%.*s`", p == flags.p ? "" : " ", (int)len, p);
		p += len;
		p += strspn(p, ", ");
	}
	strbuf_fini(&flags);
}

static void markdown_row(FILE *f, const struct conf_row *row)
{
	struct strbuf def, facts;

	strbuf_init(&def);
	strbuf_init(&facts);
	conf_row_default(row, &def);
	conf_row_facts(row, &facts);
	markdown_names(f, row);
	fprintf(f, " | %s", facts.p ? facts.p : "");
	strbuf_fini(&facts);
	fputs(row->shown || !row->def ? " | " : " | `", f);
	put_cell(f, def.p ? def.p : "");
	fprintf(f, "%s | %s | ", row->shown || !row->def ? "" : "`", conf_when_word(row->when));
	if (row->later)
		fputs("*Not built yet.* ", f);
	put_cell(f, row->help);
	fputs(" |\n", f);
	strbuf_fini(&def);
}

void conf_write_markdown(FILE *f)
{
	fputs(markdown_head, f);
	for (size_t i = 0; i < CONF_ROWS; i++) {
		if (conf_rows[i].group)
			fprintf(f, "\n## %s\n\n| variable | flag | type | default | takes effect | "
				"meaning |\n|---|---|---|---|---|---|\n", conf_rows[i].group);
		markdown_row(f, &conf_rows[i]);
	}
	conf_write_keys_markdown(f);
	fputs(markdown_tail, f);
}

/* ---- the sample file ---- */

/* Comment lines of at most LINE_WIDTH. */
static void comment(FILE *f, const char *text)
{
	int column = fprintf(f, "#");

	while (*text) {
		int len = (int)strcspn(text, " ");

		if (column > 1 && column + 1 + len > LINE_WIDTH) {
			fputs("\n#", f);
			column = 1;
		}
		column += fprintf(f, " %.*s", len, text);
		text += len;
		text += strspn(text, " ");
	}
	fputc('\n', f);
}

/* A default as YAML: lists as sequences, quotes where YAML would read something else. */
static void sample_value(FILE *f, const struct conf_row *row)
{
	const char *p = row->def;

	if (row->type != CONF_T_LIST) {
		fprintf(f, strpbrk(p, ":#%") || strcmp(p, "-") == 0 ? "\"%s\"\n" : "%s\n", p);
		return;
	}
	fputc('[', f);
	while (*p) {
		size_t len = strcspn(p, ",");

		fprintf(f, "%s\"%.*s\"", p == row->def ? "" : ", ", (int)len, p);
		p += len + (p[len] == ',');
	}
	fputs("]\n", f);
}

static void sample_row(FILE *f, const struct conf_row *row)
{
	struct strbuf text;

	strbuf_init(&text);
	strbuf_puts(&text, row->help);
	if (row->later)
		strbuf_puts(&text, " Not built yet.");
	if (!row->def && row->shown)
		strbuf_printf(&text, " Default: %s.", row->shown);
	fputc('\n', f);
	comment(f, text.p ? text.p : "");
	strbuf_fini(&text);
	/* What has no value to show is left out; what is computed must not be pinned down. */
	if (!row->def) {
		fprintf(f, "#%s:\n", row->key);
		return;
	}
	fprintf(f, "#%s: ", row->key);
	sample_value(f, row);
}

void conf_write_sample(FILE *f)
{
	fputs("# Settings of Capricorn, all at their defaults: take the # away before a key to "
	      "set\n"
	      "# it. See capricorn.yaml(5). The environment and flags win over this file; check "
	      "it\n"
	      "# with: capricorn -c FILE --check-config\n", f);
	for (size_t i = 0; i < CONF_ROWS; i++) {
		if (conf_rows[i].group)
			fprintf(f, "\n# ---- %s ----\n", conf_rows[i].group);
		sample_row(f, &conf_rows[i]);
	}
	conf_write_keys_sample(f);
	fputs("\n# ---- The module's own ----\n\n", f);
	comment(f, "For the module that APP names: any mapping, handed to it as it stands.");
	fputs("#module:\n#  greeting: \"Hello\"\n", f);
}

int conf_write_doc(const char *name, FILE *f)
{
	if (strcmp(name, "settings-md") == 0)
		conf_write_markdown(f);
	else if (strcmp(name, "man8") == 0)
		conf_write_man8(f);
	else if (strcmp(name, "man5") == 0)
		conf_write_man5(f);
	else if (strcmp(name, "sample") == 0)
		conf_write_sample(f);
	else
		return -1;
	return 0;
}
