/* SPDX-License-Identifier: MIT */
/*
 * One loading: the origins one after the other, the weakest first, then what follows from them.
 * Whatever is wrong is told and the loading goes on, so that all problems are seen at once.
 */
#include "conf/conf_priv.h"

#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- memory ---- */

struct conf_block {
	struct conf_block *next;
	_Alignas(16) char data[];
};

void *conf_alloc(struct conf *c, size_t size)
{
	struct conf_block *b = calloc(1, sizeof(*b) + size);

	if (!b)
		return NULL;
	b->next = c->priv->blocks;
	c->priv->blocks = b;
	return b->data;
}

char *conf_strndup(struct conf *c, const char *p, size_t len)
{
	char *copy = conf_alloc(c, len + 1);

	if (copy && len > 0)
		memcpy(copy, p, len);
	return copy;
}

static struct conf *conf_new(void)
{
	struct conf *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->priv = calloc(1, sizeof(*c->priv));
	if (!c->priv) {
		free(c);
		return NULL;
	}
	c->status_bind.fd = -1;
	c->module_json = "{}";
	return c;
}

void conf_free(struct conf *c)
{
	struct conf_block *b, *next;

	if (!c)
		return;
	for (b = c->priv->blocks; b; b = next) {
		next = b->next;
		free(b);
	}
	net_cidrs_fini(&c->forwarded_allow);
	net_cidrs_fini(&c->status_allow);
	free(c->priv);
	free(c);
}

/* ---- the report ---- */

void conf_report_init(struct conf_report *r)
{
	r->nerrors = 0;
	strbuf_init(&r->errors);
	strbuf_init(&r->notes);
}

void conf_report_fini(struct conf_report *r)
{
	strbuf_fini(&r->errors);
	strbuf_fini(&r->notes);
	r->nerrors = 0;
}

/* Names of variables, flags and files are foreign texts: none can begin a line of its own. */
static void end_line(struct strbuf *sb, size_t start)
{
	for (size_t i = start; !sb->failed && i < sb->len; i++)
		if ((unsigned char)sb->p[i] < 0x20 || sb->p[i] == 0x7f)
			sb->p[i] = '?';
	strbuf_puts(sb, "\n");
}

void conf_error(struct conf_loading *ld, const char *place, const char *fmt, ...)
{
	struct strbuf *sb = &ld->report->errors;
	size_t start = sb->len;
	va_list ap;

	ld->report->nerrors++;
	strbuf_printf(sb, "%s: ", place);
	va_start(ap, fmt);
	strbuf_vprintf(sb, fmt, ap);
	va_end(ap);
	end_line(sb, start);
}

void conf_note(struct conf_report *r, const char *fmt, ...)
{
	size_t start = r->notes.len;
	va_list ap;

	va_start(ap, fmt);
	strbuf_vprintf(&r->notes, fmt, ap);
	va_end(ap);
	end_line(&r->notes, start);
}

const char *conf_text(struct conf_loading *ld, const char *fmt, ...)
{
	struct strbuf sb;
	const char *text;
	va_list ap;

	strbuf_init(&sb);
	va_start(ap, fmt);
	strbuf_vprintf(&sb, fmt, ap);
	va_end(ap);
	text = sb.failed ? NULL : conf_strndup(ld->conf, sb.p, sb.len);
	strbuf_fini(&sb);
	if (!text)
		ld->no_memory = true;
	return text ? text : "";
}

/* ---- setting ---- */

static void refuse(struct conf_loading *ld, const struct conf_row *row,
		   const struct conf_item *item, const struct strbuf *why)
{
	struct strbuf text;

	strbuf_init(&text);
	if (row->secret)
		strbuf_puts(&text, "the value (not shown)");
	else
		conf_quote(&text, item->text);
	conf_error(ld, item->place, "%s %s", text.p ? text.p : "", why->p ? why->p : "");
	strbuf_fini(&text);
}

/* Is this the first word of an origin about a row? Then it stands alone. */
static void take_over(struct conf_loading *ld, const struct conf_row *row,
		      enum conf_origin origin, const char *place)
{
	struct conf_source *from = &ld->conf->priv->from[row - conf_rows];

	if (row->type == CONF_T_LIST && from->origin != origin)
		*conf_list_field(row, &ld->conf->s) = (struct conf_list){0};
	*from = (struct conf_source){.origin = origin, .place = place};
}

void conf_set(struct conf_loading *ld, const struct conf_row *row, enum conf_origin origin,
	      const struct conf_item *item, size_t n)
{
	struct strbuf why;

	strbuf_init(&why);
	if (n > 0)
		take_over(ld, row, origin, item[0].place);
	for (size_t i = 0; i < n; i++) {
		strbuf_clear(&why);
		if (!conf_value_parse(ld->conf, row, item[i].text, &ld->conf->s, &why))
			refuse(ld, row, &item[i], &why);
	}
	strbuf_fini(&why);
}

static struct slice trim(struct slice t)
{
	while (t.len > 0 && (t.p[0] == ' ' || t.p[0] == '\t'))
		t = (struct slice){t.p + 1, t.len - 1};
	while (t.len > 0 && (t.p[t.len - 1] == ' ' || t.p[t.len - 1] == '\t'))
		t.len--;
	return t;
}

void conf_set_text(struct conf_loading *ld, const struct conf_row *row, enum conf_origin origin,
		   struct slice text, const char *place)
{
	struct conf_item item = {.text = text, .place = place};
	struct slice rest = text;

	if (row->type != CONF_T_LIST) {
		conf_set(ld, row, origin, &item, 1);
		return;
	}
	for (;;) {
		const char *comma = memchr(rest.p, ',', rest.len);

		item.text = trim((struct slice){rest.p, comma ? (size_t)(comma - rest.p)
							      : rest.len});
		conf_set(ld, row, origin, &item, 1);
		if (!comma)
			return;
		rest = (struct slice){comma + 1, (size_t)(rest.p + rest.len - comma) - 1};
	}
}

static void set_defaults(struct conf_loading *ld)
{
	for (size_t i = 0; i < CONF_ROWS; i++) {
		const struct conf_row *row = &conf_rows[i];

		if (row->def)
			conf_set_text(ld, row, CONF_DEFAULT, slice_of(row->def), row->name);
		else if (row->type == CONF_T_INT || row->type == CONF_T_DURATION ||
			 row->type == CONF_T_SIZE || row->type == CONF_T_MODE)
			*conf_int_field(row, &ld->conf->s) = CONF_UNSET;
		ld->conf->priv->from[i].place = NULL;
	}
	ld->conf->priv->defaults = ld->conf->s;
}

/* ---- loading ---- */

/* The configuration file: -c, else CAPRICORN_CONFIG, else ./capricorn.yaml if there is one. */
static void read_file(struct conf_loading *ld, const struct conf_args *args, char *const *env)
{
	const char *named = conf_env_get(env, CONF_PREFIX "CONFIG");

	if (args->file)
		conf_read_file(ld, args->file, args->file_place);
	else if (named)
		conf_read_file(ld, named, "environment variable " CONF_PREFIX "CONFIG");
	else if (access(CONF_DEFAULT_FILE, F_OK) == 0)
		conf_read_file(ld, CONF_DEFAULT_FILE, "./" CONF_DEFAULT_FILE);
}

static bool needs_settings(enum conf_action action)
{
	return action == CONF_ACT_RUN || action == CONF_ACT_CHECK || action == CONF_ACT_PRINT ||
	       action == CONF_ACT_HEALTH;
}

static void load(struct conf_loading *ld, const struct conf_input *in)
{
	struct conf_args args = {0};

	set_defaults(ld);
	conf_read_args(ld, in, false, &args);
	conf_report_fini(ld->report); /* what is wrong with the flags is found again below */
	/* Help is for those who have something wrong: nothing else is read for it. */
	if (!needs_settings(ld->conf->action))
		return;
	read_file(ld, &args, in->env);
	if (args.env_file)
		conf_read_env_file(ld, args.env_file);
	conf_read_env(ld, in->env);
	conf_read_args(ld, in, true, &args);
	conf_derive(ld);
}

int conf_load(const struct conf_input *in, struct conf **ret_conf, struct conf_report *r)
{
	struct conf_loading ld = {.conf = conf_new(), .report = r};

	if (ld.conf)
		load(&ld, in);
	else
		ld.no_memory = true;
	if (ld.no_memory || r->errors.failed) {
		strbuf_clear(&r->errors);
		r->nerrors = 0;
		conf_error(&ld, "settings", "out of memory");
	}
	if (r->nerrors > 0) {
		conf_free(ld.conf);
		return -1;
	}
	*ret_conf = ld.conf;
	return 0;
}
