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
static const char *const sections[] = {
	"performance", "semaphores", "rate_limits", "defaults", "routes", "cache", "alerts",
	"reload", "autoscale", "upstreams", NULL
};

struct reader {
	struct conf_yaml y;
	size_t seen_line[CONF_ROWS]; /* where a key was given first; 0 = not yet */
	size_t section_line;         /* the same for the section module */
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

/* Tags would promise types that the table has to decide on. */
static bool has_own_tag(const yaml_node_t *n)
{
	return n->tag && strncmp((const char *)n->tag, "tag:yaml.org,2002:", 18) != 0;
}

static bool check_scalar(struct reader *r, const yaml_node_t *n, const char *key)
{
	if (n->type != YAML_SCALAR_NODE)
		conf_error(r->y.ld, place_of(r, n, key), "is not a single value");
	else if (has_own_tag(n))
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

static const char *find_section(struct slice key)
{
	for (size_t i = 0; sections[i]; i++)
		if (slice_eq(key, slice_of(sections[i])))
			return sections[i];
	return NULL;
}

static bool is_nearly_module(struct slice key, struct strbuf *out)
{
	static const char *const words[] = {"module", NULL};
	const char *near = conf_nearest(key, words);

	strbuf_puts(out, near ? near : "");
	return near != NULL;
}

static void refuse_key(struct reader *r, const yaml_node_t *key)
{
	const char *place = place_of(r, key, NULL);
	struct strbuf text, near;
	const char *section;

	strbuf_init(&text);
	strbuf_init(&near);
	conf_quote(&text, conf_yaml_scalar(key));
	section = find_section(conf_yaml_scalar(key));
	if (section)
		conf_error(r->y.ld, place, "the section %s is not built yet", section);
	else if (conf_nearest_row(conf_yaml_scalar(key), CONF_BY_KEY, &near) ||
		 is_nearly_module(conf_yaml_scalar(key), &near))
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

	if (key->type != YAML_SCALAR_NODE) {
		conf_error(r->y.ld, place_of(r, key, NULL), "a key is not a single word");
		return;
	}
	if (slice_eq(conf_yaml_scalar(key), SLICE("module"))) {
		if (take_key(r, key, "module", &r->section_line) && !conf_yaml_is_null(value))
			conf_read_section(&r->y, value);
		return;
	}
	row = conf_row_by_key(conf_yaml_scalar(key));
	if (!row)
		refuse_key(r, key);
	else if (take_key(r, key, row->key, &r->seen_line[row - conf_rows]))
		set_row(r, row, value);
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
	yaml_document_delete(&doc);
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
