/* SPDX-License-Identifier: MIT */
/*
 * Reading the mappings of a section by the table of keys: which members there are, their shapes,
 * numbers and words. All problems are told, each with its place and the way to it.
 */
#include <stdarg.h>

#include "conf/yaml_priv.h"

#define WORD_SHOWN 60  /* bytes of a key in messages */
#define ERRORS_MAX 50u /* of the keys of one mapping */

/* ---- messages ---- */

static void put_way(const struct conf_at *at, struct strbuf *out)
{
	if (at->up) {
		put_way(at->up, out);
		strbuf_puts(out, ".");
	}
	if (at->word.p)
		strbuf_printf(out, "%.*s", at->word.len > WORD_SHOWN ? WORD_SHOWN
								      : (int)at->word.len,
			      at->word.p);
	else
		strbuf_printf(out, "%zu", at->index);
}

__attribute__((format(printf, 4, 0)))
static void tell(const struct conf_yaml *y, const struct conf_at *at, bool text, const char *fmt,
		 va_list ap)
{
	struct strbuf way, what;

	strbuf_init(&way);
	strbuf_init(&what);
	put_way(at, &way);
	if (text) {
		conf_quote(&what, conf_yaml_scalar(at->n));
		strbuf_puts(&what, " ");
	}
	strbuf_vprintf(&what, fmt, ap);
	if (way.failed || what.failed)
		y->ld->no_memory = true;
	else
		conf_error(y->ld, conf_yaml_place(y, at->n->start_mark, way.p), "%s", what.p);
	strbuf_fini(&what);
	strbuf_fini(&way);
}

void conf_refuse(const struct conf_yaml *y, const struct conf_at *at, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	tell(y, at, false, fmt, ap);
	va_end(ap);
}

void conf_refuse_text(const struct conf_yaml *y, const struct conf_at *at, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	tell(y, at, true, fmt, ap);
	va_end(ap);
}

void conf_refuse_near(const struct conf_yaml *y, const struct conf_at *at, const char *says,
		      const char *near)
{
	conf_refuse_text(y, at, "%s%s%s%s", says, near ? "; did you mean " : "", near ? near : "",
			 near ? "?" : "");
}

void conf_refuse_name(const struct conf_yaml *y, const struct conf_at *at, const char *says,
		      const char *const *words)
{
	conf_refuse_near(y, at, says, conf_nearest(conf_yaml_scalar(at->n), words));
}

const char *conf_place_of(const struct conf_yaml *y, const struct conf_at *at)
{
	return conf_yaml_place(y, at->n->start_mark, NULL);
}

/* ---- shapes ---- */

static bool has_shape(const struct conf_yaml *y, const struct conf_at *at, yaml_node_type_t type,
		      const char *what)
{
	if (at->n->type != type)
		conf_refuse(y, at, "is not %s", what);
	else if (conf_yaml_has_tag(at->n))
		conf_refuse(y, at, "has a tag (%s), which means nothing here",
			    (const char *)at->n->tag);
	else
		return true;
	return false;
}

bool conf_is_scalar(const struct conf_yaml *y, const struct conf_at *at)
{
	return has_shape(y, at, YAML_SCALAR_NODE, "a single value");
}

bool conf_is_mapping(const struct conf_yaml *y, const struct conf_at *at)
{
	return has_shape(y, at, YAML_MAPPING_NODE, "a list of \"key: value\"");
}

bool conf_is_list(const struct conf_yaml *y, const struct conf_at *at, size_t max)
{
	if (!has_shape(y, at, YAML_SEQUENCE_NODE, "a list"))
		return false;
	if (conf_count(at) <= max)
		return true;
	conf_refuse(y, at, "has %zu items; %zu are possible", conf_count(at), max);
	return false;
}

size_t conf_count(const struct conf_at *list)
{
	return (size_t)(list->n->data.sequence.items.top - list->n->data.sequence.items.start);
}

size_t conf_entries(const struct conf_at *map)
{
	return (size_t)(map->n->data.mapping.pairs.top - map->n->data.mapping.pairs.start);
}

struct conf_at conf_item(const struct conf_yaml *y, const struct conf_at *list, size_t i)
{
	const yaml_node_t *n = yaml_document_get_node(y->doc,
						      list->n->data.sequence.items.start[i]);

	return (struct conf_at){.up = list, .index = i, .n = n};
}

bool conf_entry(const struct conf_yaml *y, const struct conf_at *map, size_t i,
		struct conf_at *ret, struct conf_at *ret_key)
{
	const yaml_node_pair_t *pair = &map->n->data.mapping.pairs.start[i];
	const yaml_node_t *key = yaml_document_get_node(y->doc, pair->key);
	struct conf_at at = {.up = map->up, .word = map->word, .index = map->index, .n = key};

	if (key->type != YAML_SCALAR_NODE) {
		conf_refuse(y, &at, "has a key that is not a single word");
		return false;
	}
	*ret = (struct conf_at){.up = map, .word = conf_yaml_scalar(key),
				.n = yaml_document_get_node(y->doc, pair->value)};
	*ret_key = *ret;
	ret_key->n = key;
	return true;
}

/* ---- members ---- */

static void refuse_key(const struct conf_yaml *y, const struct conf_at *at, enum conf_group first,
		       enum conf_group last)
{
	const char *words[CONF_KEYS + 1];
	size_t n = 0;

	for (int k = 0; k < CONF_KEYS; k++)
		if (conf_key_group[k] >= first && conf_key_group[k] <= last)
			words[n++] = conf_keys[k].key;
	words[n] = NULL;
	conf_refuse_name(y, at, "is unknown as a key", words);
}

static int find_key(struct slice word, enum conf_group first, enum conf_group last)
{
	for (int k = 0; k < CONF_KEYS; k++)
		if (conf_key_group[k] >= first && conf_key_group[k] <= last &&
		    slice_eq(slice_of(conf_keys[k].key), word))
			return k;
	return -1;
}

/* Takes one member: its key stands at `key`, below `at`. */
static void take_member(const struct conf_yaml *y, const struct conf_at *at, struct conf_at *key,
			const yaml_node_t *value, int k, struct conf_members *m, size_t seen[])
{
	key->up = at;
	key->word = conf_yaml_scalar(key->n);
	if (seen[k])
		conf_refuse(y, key, "is given twice; the first time in line %zu", seen[k]);
	else if (conf_keys[k].later)
		conf_refuse(y, key, "is not built yet");
	else if (!conf_yaml_is_null(value))
		m->at[k].n = value;
	seen[k] = key->n->start_mark.line + 1;
}

bool conf_read_members(const struct conf_yaml *y, const struct conf_at *at, enum conf_group first,
		       enum conf_group last, struct conf_members *m)
{
	size_t seen[CONF_KEYS] = {0}, before = y->ld->report->nerrors;

	for (int k = 0; k < CONF_KEYS; k++)
		m->at[k] = (struct conf_at){.up = at, .word = slice_of(conf_keys[k].key)};
	if (!at->n || conf_yaml_is_null(at->n))
		return true;
	if (!conf_is_mapping(y, at))
		return false;
	for (size_t i = 0; i < conf_entries(at); i++) {
		const yaml_node_pair_t *pair = &at->n->data.mapping.pairs.start[i];
		/* A key that is wrong is told by what it stands in. */
		struct conf_at key = {.up = at->up, .word = at->word, .index = at->index,
				      .n = yaml_document_get_node(y->doc, pair->key)};
		int k;

		if (y->ld->report->nerrors - before >= ERRORS_MAX) {
			conf_refuse(y, at, "has too many errors; the rest is not shown");
			break;
		}
		if (key.n->type != YAML_SCALAR_NODE) {
			conf_refuse(y, &key, "has a key that is not a single word");
			continue;
		}
		k = find_key(conf_yaml_scalar(key.n), first, last);
		if (k < 0)
			refuse_key(y, &key, first, last);
		else
			take_member(y, at, &key, yaml_document_get_node(y->doc, pair->value), k, m,
				    seen);
	}
	return true;
}

/* ---- values ---- */

int64_t conf_number_of(const struct conf_yaml *y, const struct conf_members *m, enum conf_key key,
		       int64_t other)
{
	const struct conf_at *at = &m->at[key];
	struct strbuf why;

	if (!at->n || !conf_is_scalar(y, at))
		return other;
	strbuf_init(&why);
	if (!conf_number_parse(&conf_keys[key], conf_yaml_scalar(at->n), &other, &why))
		conf_refuse_text(y, at, "%s", why.p ? why.p : "");
	strbuf_fini(&why);
	return other;
}

const char *conf_string_of(const struct conf_yaml *y, const struct conf_at *at)
{
	static const struct conf_row text = {.type = CONF_T_TEXT};
	struct strbuf why;
	const char *s;

	if (!at->n || !conf_is_scalar(y, at))
		return NULL;
	strbuf_init(&why);
	s = conf_string_parse(y->ld->conf, &text, conf_yaml_scalar(at->n), &why);
	if (!s)
		conf_refuse_text(y, at, "%s", why.p ? why.p : "");
	strbuf_fini(&why);
	return s;
}
