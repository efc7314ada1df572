/* SPDX-License-Identifier: MIT */
/*
 * The configuration file. YAML is only its shape: what a scalar means is decided by our table, so
 * that `name: 010` is a text, `web_workers: 010` the number ten and `umask: 010` octal.
 */
#include <stdlib.h>

#include "conf/yaml_priv.h"

#define FILE_ERRORS_MAX 200u /* a file with more than this is something else */
#define ITEMS_MAX       1024 /* of a list */

/* Sections of features that are not built yet. */
static const char *const later_sections[] = {
	"alerts", "reload", "autoscale", "upstreams", NULL
};

/* Those that are, behind those of enum conf_section. */
enum { SECTION_PERFORMANCE = CONF_SECTIONS, SECTION_MODULE, SECTION_COUNT };
static const char *const sections[SECTION_COUNT + 1] = {
	[CONF_S_SEMAPHORES] = "semaphores", [CONF_S_RATE_LIMITS] = "rate_limits",
	[CONF_S_DEFAULTS] = "defaults", [CONF_S_ROUTES] = "routes", [CONF_S_CACHE] = "cache",
	[SECTION_PERFORMANCE] = "performance", [SECTION_MODULE] = "module",
};

struct reader {
	struct conf_yaml y;
	size_t seen_line[CONF_ROWS]; /* where a key was given first; 0 = not yet */
	size_t section_line[SECTION_COUNT]; /* the same for sections */
	const yaml_node_t *value[SECTION_COUNT]; /* of sections; NULL = not given, or null */
};

const char *conf_yaml_place(const struct conf_yaml *y, yaml_mark_t mark, const char *key)
{
	return conf_text(y->ld, "%s:%zu:%zu%s%s", y->path, mark.line + 1, mark.column + 1,
			 key ? ": " : "", key ? key : "");
}

static const char *place_of(struct reader *r, const yaml_node_t *n, const char *key)
{
	return conf_yaml_place(&r->y, n->start_mark, key);
}

static bool check_scalar(struct reader *r, const yaml_node_t *n, const char *key)
{
	if (n->type != YAML_SCALAR_NODE)
		conf_error(r->y.ld, place_of(r, n, key), "is not a single value");
	else if (conf_yaml_has_tag(n))
		conf_error(r->y.ld, place_of(r, n, key), "has a tag (%s), which means nothing here",
			   (const char *)n->tag);
	else
		return true;
	return false;
}

static void set_sequence(struct reader *r, const struct conf_row *row, const yaml_node_t *n)
{
	const yaml_node_item_t *first = n->data.sequence.items.start;
	size_t count = (size_t)(n->data.sequence.items.top - first);
	struct conf_item *items;
	size_t used = 0;

	if (count == 0 || count > ITEMS_MAX) {
		conf_error(r->y.ld, place_of(r, n, row->key), "has %zu items; 1 to %d are possible",
			   count, ITEMS_MAX);
		return;
	}
	items = calloc(count, sizeof(*items));
	if (!items) {
		r->y.ld->no_memory = true;
		return;
	}
	for (size_t i = 0; i < count; i++) {
		const yaml_node_t *item = yaml_document_get_node(r->y.doc, first[i]);

		if (!check_scalar(r, item, row->key))
			continue;
		items[used].text = conf_yaml_scalar(item);
		items[used++].place = place_of(r, item, row->key);
	}
	conf_set(r->y.ld, row, CONF_FILE, items, used);
	free(items);
}

static void set_row(struct reader *r, const struct conf_row *row, const yaml_node_t *value)
{
	if (conf_yaml_is_null(value))
		return;
	if (row->type == CONF_T_LIST && value->type == YAML_SEQUENCE_NODE) {
		set_sequence(r, row, value);
		return;
	}
	if (!check_scalar(r, value, row->key))
		return;
	if (conf_yaml_scalar(value).len > 0)
		conf_set_text(r->y.ld, row, CONF_FILE, conf_yaml_scalar(value),
			      place_of(r, value, row->key));
}

static int find_word(struct slice key, const char *const *words)
{
	for (int i = 0; words[i]; i++)
		if (slice_eq(key, slice_of(words[i])))
			return i;
	return -1;
}

static bool is_nearly_section(struct slice key, struct strbuf *out)
{
	const char *near = conf_nearest(key, sections);

	strbuf_puts(out, near ? near : "");
	return near != NULL;
}

static void refuse_key(struct reader *r, const yaml_node_t *key)
{
	const char *place = place_of(r, key, NULL);
	struct strbuf text, near;
	int section = find_word(conf_yaml_scalar(key), later_sections);

	strbuf_init(&text);
	strbuf_init(&near);
	conf_quote(&text, conf_yaml_scalar(key));
	if (section >= 0)
		conf_error(r->y.ld, place, "the section %s is not built yet",
			   later_sections[section]);
	else if (conf_nearest_row(conf_yaml_scalar(key), CONF_BY_KEY, &near) ||
		 is_nearly_section(conf_yaml_scalar(key), &near))
		conf_error(r->y.ld, place, "the key %s is unknown; did you mean %s?",
			   text.p ? text.p : "", near.p);
	else
		conf_error(r->y.ld, place, "the key %s is unknown", text.p ? text.p : "");
	strbuf_fini(&near);
	strbuf_fini(&text);
}

static bool take_key(struct reader *r, const yaml_node_t *key, const char *name, size_t *seen)
{
	if (*seen) {
		conf_error(r->y.ld, place_of(r, key, name), "is given twice; the first time in "
			   "line %zu", *seen);
		return false;
	}
	*seen = key->start_mark.line + 1;
	return true;
}

static void read_pair(struct reader *r, const yaml_node_t *key, const yaml_node_t *value)
{
	const struct conf_row *row;
	int section;

	if (key->type != YAML_SCALAR_NODE) {
		conf_error(r->y.ld, place_of(r, key, NULL), "a key is not a single word");
		return;
	}
	section = find_word(conf_yaml_scalar(key), sections);
	if (section >= 0) {
		if (take_key(r, key, sections[section], &r->section_line[section]) &&
		    !conf_yaml_is_null(value))
			r->value[section] = value;
		return;
	}
	row = conf_row_by_key(conf_yaml_scalar(key));
	if (!row)
		refuse_key(r, key);
	else if (take_key(r, key, row->key, &r->seen_line[row - conf_rows]))
		set_row(r, row, value);
}

/* ---- performance: a second spelling of settings ---- */

/* The same setting by its own key and here is no problem if both mean the same. */
static void set_again(struct reader *r, const struct conf_row *row, const struct conf_at *at)
{
	struct conf_source *from = &r->y.ld->conf->priv->from[row - conf_rows];
	struct settings s = r->y.ld->conf->s;
	struct strbuf why, text;

	if (!conf_is_scalar(&r->y, at))
		return;
	strbuf_init(&why);
	strbuf_init(&text);
	if (!conf_value_parse(r->y.ld->conf, row, conf_yaml_scalar(at->n), &s, &why)) {
		conf_refuse_text(&r->y, at, "%s", why.p ? why.p : "");
	} else if (from->origin != CONF_FILE) {
		conf_set_text(r->y.ld, row, CONF_FILE, conf_yaml_scalar(at->n),
			      place_of(r, at->n, at->word.p));
	} else if (!conf_value_equal(row, &s, &r->y.ld->conf->s)) {
		conf_value_format(row, &r->y.ld->conf->s, &text);
		conf_refuse_text(&r->y, at, "is not what %s says (%s); leave one of them out",
				 from->place, text.p ? text.p : "");
	}
	strbuf_fini(&text);
	strbuf_fini(&why);
}

static void read_performance(struct reader *r, const yaml_node_t *n)
{
	struct conf_at root = {.word = SLICE("performance"), .n = n};
	struct conf_members m, in;

	if (!conf_read_members(&r->y, &root, CONF_G_PERFORMANCE, CONF_G_PERFORMANCE, &m) ||
	    !conf_read_members(&r->y, &m.at[CONF_K_PERFORMANCE_concurrency], CONF_G_CONCURRENCY,
			       CONF_G_CONCURRENCY, &in))
		return;
	for (int k = 0; k < CONF_KEYS; k++)
		if (in.at[k].n)
			set_again(r, conf_row_by_key(in.at[k].word), &in.at[k]);
}

static void read_document(struct reader *r)
{
	const yaml_node_t *root = yaml_document_get_root_node(r->y.doc);
	const yaml_node_pair_t *pair;
	size_t before = r->y.ld->report->nerrors;

	if (!root || conf_yaml_is_null(root))
		return; /* an empty file, or comments alone */
	if (root->type != YAML_MAPPING_NODE) {
		conf_error(r->y.ld, place_of(r, root, NULL), "the file is not a list of \"key: "
							   "value\"");
		return;
	}
	for (pair = root->data.mapping.pairs.start; pair < root->data.mapping.pairs.top; pair++) {
		if (r->y.ld->report->nerrors - before >= FILE_ERRORS_MAX) {
			conf_error(r->y.ld, r->y.path, "has too many errors; the rest is not shown");
			return;
		}
		read_pair(r, yaml_document_get_node(r->y.doc, pair->key),
			  yaml_document_get_node(r->y.doc, pair->value));
	}
	if (r->value[SECTION_PERFORMANCE])
		read_performance(r, r->value[SECTION_PERFORMANCE]);
	if (r->value[SECTION_MODULE])
		conf_read_section(&r->y, r->value[SECTION_MODULE]);
}

/* The document stays for the sections that need all settings; conf_derive_policy() ends it. */
static void keep_sections(struct reader *r, yaml_document_t *doc)
{
	struct conf_sections *s = calloc(1, sizeof(*s));

	if (!s) {
		r->y.ld->no_memory = true;
		yaml_document_delete(doc);
		return;
	}
	s->doc = *doc;
	s->y = (struct conf_yaml){.ld = r->y.ld, .path = r->y.path, .doc = &s->doc};
	for (size_t i = 0; i < CONF_SECTIONS; i++)
		s->value[i] = r->value[i];
	r->y.ld->sections = s;
}

static void refuse_syntax(struct reader *r, const yaml_parser_t *p)
{
	if (p->error == YAML_MEMORY_ERROR)
		r->y.ld->no_memory = true;
	else if (p->error == YAML_READER_ERROR)
		conf_error(r->y.ld, r->y.path, "is not text: %s at byte %zu",
			   p->problem ? p->problem : "unreadable", p->problem_offset);
	else
		conf_error(r->y.ld, conf_yaml_place(&r->y, p->problem_mark, NULL), "%s%s%s",
			   p->context ? p->context : "", p->context ? ", " : "",
			   p->problem ? p->problem : "is not YAML");
}

void conf_read_yaml(struct conf_loading *ld, const char *path, const char *p, size_t len)
{
	struct reader r = {.y = {.ld = ld, .path = path}};
	yaml_parser_t parser;
	yaml_document_t doc, rest;

	if (!yaml_parser_initialize(&parser)) {
		ld->no_memory = true;
		return;
	}
	yaml_parser_set_input_string(&parser, (const unsigned char *)p, len);
	if (!yaml_parser_load(&parser, &doc)) {
		refuse_syntax(&r, &parser);
		yaml_parser_delete(&parser);
		return;
	}
	r.y.doc = &doc;
	read_document(&r);
	/* What comes after the document has to be nothing. */
	if (yaml_document_get_root_node(&doc)) {
		if (!yaml_parser_load(&parser, &rest)) {
			refuse_syntax(&r, &parser);
		} else {
			const yaml_node_t *root = yaml_document_get_root_node(&rest);

			if (root)
				conf_error(ld, place_of(&r, root, NULL),
					   "a second document (after ---) has no meaning here");
			yaml_document_delete(&rest);
		}
	}
	keep_sections(&r, &doc);
	yaml_parser_delete(&parser);
}

void conf_read_file(struct conf_loading *ld, const char *path, const char *place)
{
	size_t path_len = strlen(path), len;
	char *text;

	if (path_len > 3 && strcmp(path + path_len - 3, ".py") == 0) {
		conf_error(ld, place, "%s is Python; write the settings as YAML (key: value), see "
			   "capricorn.yaml(5)", path);
		return;
	}
	text = conf_slurp(ld, path, place, &len);
	if (!text)
		return;
	ld->conf->file = conf_text(ld, "%s", path);
	conf_note(ld->report, "Configuration file: %s", path);
	conf_read_yaml(ld, ld->conf->file, text, len);
	free(text);
}
