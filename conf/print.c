/* SPDX-License-Identifier: MIT */
/*
 * --print-config: each setting with its value and where it came from. Values are such that they can
 * be fed back: durations in seconds, sizes in bytes, words as words.
 */
#include <stdlib.h>

#include "conf/print_priv.h"

json_t *conf_print_text(const char *text)
{
	json_t *j = json_string(text);
	struct strbuf sb;

	if (j)
		return j;
	strbuf_init(&sb);
	conf_quote(&sb, slice_of(text));
	j = json_string(sb.p ? sb.p : "");
	strbuf_fini(&sb);
	return j;
}

static json_t *list_value(const struct conf_list *list)
{
	json_t *array = json_array();

	for (size_t i = 0; i < list->n; i++)
		json_array_append_new(array, conf_print_text(list->item[i]));
	return array;
}

static json_t *number_value(const struct conf_row *row, int64_t n)
{
	if (n == CONF_UNSET)
		return row->def ? json_string(row->def) : json_null();
	if (row->type == CONF_T_DURATION && n % 1000 != 0)
		return json_real((double)n / 1000);
	return json_integer(row->type == CONF_T_DURATION ? n / 1000 : n);
}

static json_t *value(const struct conf_row *row, const struct settings *s)
{
	const char *text;
	struct strbuf sb;
	json_t *j;

	switch (row->type) {
	case CONF_T_LIST:
		return list_value(conf_list_field(row, s));
	case CONF_T_BOOL:
		return json_boolean(*(const bool *)((const char *)s + row->offset));
	case CONF_T_INT:
	case CONF_T_DURATION:
	case CONF_T_SIZE:
		return number_value(row, *conf_int_field(row, s));
	case CONF_T_TEXT:
		text = *conf_text_field(row, s);
		if (text && row->secret)
			return json_string("(not shown)");
		if (!text)
			return row->def ? json_string(row->def) : json_null();
		return conf_print_text(text);
	default:
		break;
	}
	if (row->type == CONF_T_MODE && *conf_int_field(row, s) == CONF_UNSET)
		return json_null();
	strbuf_init(&sb);
	conf_value_format(row, s, &sb);
	j = json_string(sb.p ? sb.p : "");
	strbuf_fini(&sb);
	return j;
}

/* Where HOST and PORT win, BIND is what they make, and comes from where the stronger one does. */
static size_t source_of(const struct conf *c, size_t i)
{
	const struct conf_source *from = c->priv->from;
	size_t pair = from[CONF_R_HOST].origin > from[CONF_R_PORT].origin ? CONF_R_HOST
									  : CONF_R_PORT;

	return i == CONF_R_BIND && from[pair].origin > from[i].origin ? pair : i;
}

static json_t *value_in_effect(const struct conf *c, size_t i)
{
	json_t *array;

	if (source_of(c, i) != i) {
		array = json_array();
		for (size_t k = 0; k < c->nbinds; k++)
			json_array_append_new(array, conf_print_text(c->binds[k].text));
		return array;
	}
	/* The root, which is no prefix at all; but an empty value would mean the default. */
	if (i == CONF_R_STATUS_PREFIX && c->s.status_prefix[0] == '\0')
		return json_string("/");
	return value(&conf_rows[i], &c->s);
}

static const char *unit(const struct conf_row *row)
{
	if (row->unit)
		return row->unit;
	return row->type == CONF_T_DURATION ? "seconds" : row->type == CONF_T_SIZE ? "bytes" : NULL;
}

static json_t *entry(const struct conf *c, size_t i)
{
	static const char *const origins[] = {
		[CONF_DEFAULT] = "default", [CONF_FILE] = "file", [CONF_ENV_FILE] = "env-file",
		[CONF_ENV] = "environment", [CONF_FLAG] = "flag", [CONF_LIVE] = "live",
	};
	const struct conf_row *row = &conf_rows[i];
	const struct conf_source *from = &c->priv->from[source_of(c, i)];
	json_t *e = json_object();

	json_object_set_new(e, "value", value_in_effect(c, i));
	if (unit(row))
		json_object_set_new(e, "unit", json_string(unit(row)));
	json_object_set_new(e, "origin", json_string(origins[from->origin]));
	if (from->place)
		json_object_set_new(e, "place", conf_print_text(from->place));
	json_object_set_new(e, "takes_effect", json_string(conf_when_word(row->when)));
	return e;
}

/* The section module: it is no setting, and all of it comes from the file. */
static json_t *section(const struct conf *c)
{
	json_t *e = json_object();

	json_object_set_new(e, "value", json_loads(c->module_json, 0, NULL));
	json_object_set_new(e, "origin", json_string(c->priv->module ? "file" : "default"));
	if (c->priv->module_place)
		json_object_set_new(e, "place", conf_print_text(c->priv->module_place));
	json_object_set_new(e, "takes_effect", json_string(conf_when_word(CONF_RELOAD)));
	return e;
}

/* What the sections and settings about limits come to. */
static json_t *policy(const struct conf *c)
{
	json_t *e = json_object();

	json_object_set_new(e, "value", conf_print_policy(c->policy));
	json_object_set_new(e, "origin", json_string(c->priv->has_sections ? "file" : "default"));
	json_object_set_new(e, "takes_effect", json_string(conf_when_word(CONF_RELOAD)));
	return e;
}

void conf_write_print(const struct conf *c, FILE *f)
{
	json_t *doc = json_object();

	for (size_t i = 0; i < CONF_ROWS; i++)
		json_object_set_new(doc, conf_rows[i].key, entry(c, i));
	json_object_set_new(doc, "module", section(c));
	json_object_set_new(doc, "policy", policy(c));
	json_dumpf(doc, f, JSON_INDENT(2));
	fputc('\n', f);
	json_decref(doc);
}
