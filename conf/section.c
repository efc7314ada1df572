/* SPDX-License-Identifier: MIT */
/*
 * The section module: of the configuration file. It is the module's own, so no table says what its
 * values mean: a plain scalar that is a number, true, false or null in JSON is that, everything
 * else is a text. It is kept as a tree, which conf_module_setting() looks into, and as JSON.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "base/json.h"
#include "conf/yaml_priv.h"

#define DEPTH_MAX   32u
#define VALUES_MAX  10000u
#define MEMBERS_CAP 32768u
#define ERRORS_MAX  20u    /* of the section */
#define KEY_SHOWN   60     /* bytes of a key in messages */

enum conf_value_kind {
	VALUE_NULL,
	VALUE_WORD,    /* a number, true or false: its text is JSON as it is */
	VALUE_STRING,
	VALUE_LIST,
	VALUE_MAPPING
};

struct conf_value {
	struct conf_value *parent, *next, *first, *last;
	enum conf_value_kind kind;
	struct slice key;      /* of a member of a mapping; NUL-terminated */
	size_t index;          /* among its siblings */
	struct slice text;     /* of a scalar, as written; NUL-terminated */
};

struct walk {
	const struct conf_yaml *y;
	bool *seen;            /* by number of the node: who comes again is an alias */
	struct conf_value **members; /* all, by parent and key: of MEMBERS_CAP, never full */
	size_t values, begin;  /* begin of the section in the file */
	size_t errors_before;
	bool over;             /* too much of anything: the rest is not looked at */
};

/* ---- messages ---- */

static void put_path(const struct conf_value *v, struct strbuf *out)
{
	if (!v->parent) {
		strbuf_puts(out, "module");
		return;
	}
	put_path(v->parent, out);
	if (v->key.p)
		strbuf_printf(out, ".%.*s", v->key.len > KEY_SHOWN ? KEY_SHOWN : (int)v->key.len,
			      v->key.p);
	else
		strbuf_printf(out, ".%zu", v->index);
}

static void refuse(struct walk *w, yaml_mark_t mark, const struct conf_value *v, const char *what)
{
	struct conf_loading *ld = w->y->ld;
	struct strbuf path;

	strbuf_init(&path);
	put_path(v, &path);
	conf_error(ld, conf_yaml_place(w->y, mark, path.p), "%s", what);
	strbuf_fini(&path);
	w->over = w->over || ld->report->nerrors - w->errors_before >= ERRORS_MAX;
}

/* ---- scalars ---- */

static size_t skip_digits(const char *p)
{
	return strspn(p, "0123456789");
}

/* RFC 8259, 6. *ret_whole: it has neither a fraction nor an exponent. */
static bool is_number(const char *p, bool *ret_whole)
{
	size_t n;

	p += *p == '-';
	n = skip_digits(p);
	if (n == 0 || (n > 1 && *p == '0'))
		return false;
	p += n;
	*ret_whole = *p == '\0';
	if (*p == '.') {
		n = skip_digits(++p);
		if (n == 0)
			return false;
		p += n;
	}
	if (*p == 'e' || *p == 'E') {
		p++;
		p += *p == '+' || *p == '-';
		n = skip_digits(p);
		if (n == 0)
			return false;
		p += n;
	}
	return *p == '\0';
}

/* Readers of JSON refuse a whole document for the sake of one such number. */
static bool is_in_range(const char *p, bool whole)
{
	errno = 0;
	if (whole) {
		(void)strtoll(p, NULL, 10);
		return errno != ERANGE;
	}
	return isfinite(strtod(p, NULL));
}

static size_t count_characters(struct slice s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.len; i++)
		n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
	return n;
}

/*
 * A tag or an anchor stands before its node. libyaml says nothing of an anchor, nor of the tags
 * that nodes have by themselves (!!str); but they make the place of a plain scalar longer than its
 * text.
 */
static bool has_properties(const yaml_node_t *n)
{
	const char *usual = n->type == YAML_SCALAR_NODE ? YAML_DEFAULT_SCALAR_TAG
			    : n->type == YAML_SEQUENCE_NODE ? YAML_DEFAULT_SEQUENCE_TAG
							    : YAML_DEFAULT_MAPPING_TAG;

	struct slice s;

	if (n->tag && strcmp((const char *)n->tag, usual) != 0)
		return true;
	if (!conf_yaml_is_plain(n))
		return false;
	s = conf_yaml_scalar(n);
	if (n->start_mark.line != n->end_mark.line) /* a text of two lines has a blank in it */
		return !memchr(s.p, ' ', s.len) && !memchr(s.p, '\n', s.len);
	return n->end_mark.column - n->start_mark.column > count_characters(s);
}

static struct slice copy_text(struct walk *w, struct slice s)
{
	char *p = conf_strndup(w->y->ld->conf, s.p, s.len);

	if (!p) {
		w->y->ld->no_memory = w->over = true;
		return SLICE("");
	}
	return (struct slice){p, s.len};
}

static void read_scalar(struct walk *w, const yaml_node_t *n, struct conf_value *v)
{
	bool whole;

	v->kind = VALUE_STRING;
	v->text = copy_text(w, conf_yaml_scalar(n));
	if (strlen(v->text.p) != v->text.len)
		refuse(w, n->start_mark, v, "has a NUL character in it");
	else if (conf_yaml_is_null(n))
		v->kind = VALUE_NULL;
	else if (!conf_yaml_is_plain(n))
		return;
	else if (strcmp(v->text.p, "true") == 0 || strcmp(v->text.p, "false") == 0)
		v->kind = VALUE_WORD;
	else if (!is_number(v->text.p, &whole))
		return;
	else if (is_in_range(v->text.p, whole))
		v->kind = VALUE_WORD;
	else
		refuse(w, n->start_mark, v, "is a number that is too large for 64 bits; in quotes "
					    "it is a text");
}

/* ---- the tree ---- */

static struct conf_value *add_child(struct walk *w, struct conf_value *parent)
{
	struct conf_value *v = conf_alloc(w->y->ld->conf, sizeof(*v));

	if (!v) {
		w->y->ld->no_memory = w->over = true;
		return NULL;
	}
	v->parent = parent;
	if (parent->last) {
		v->index = parent->last->index + 1;
		parent->last->next = v;
	} else {
		parent->first = v;
	}
	parent->last = v;
	return v;
}

static const char *bound_reached(struct walk *w, size_t depth)
{
	if (depth > DEPTH_MAX)
		return "is nested too deeply; 32 levels are possible";
	if (++w->values > VALUES_MAX)
		return "is too much; the section can have 10000 values";
	return NULL;
}

/* The node as a value, with all that is below it. */
static void read_value(struct walk *w, int number, struct conf_value *v, size_t depth);

static void read_items(struct walk *w, const yaml_node_t *n, struct conf_value *v, size_t depth)
{
	const yaml_node_item_t *i;

	v->kind = VALUE_LIST;
	for (i = n->data.sequence.items.start; i < n->data.sequence.items.top && !w->over; i++) {
		struct conf_value *child = add_child(w, v);

		if (child)
			read_value(w, *i, child, depth + 1);
	}
}

/* The place of a member in the table: where it is, or would be (FNV-1a, then the next free one). */
static struct conf_value **find_member(struct walk *w, const struct conf_value *parent,
				       struct slice key)
{
	uint32_t h = 2166136261u ^ (uint32_t)((uintptr_t)parent >> 4);
	struct conf_value **at;

	for (size_t i = 0; i < key.len; i++)
		h = (h ^ (unsigned char)key.p[i]) * 16777619u;
	for (;; h++) {
		at = &w->members[h % MEMBERS_CAP];
		if (!*at || ((*at)->parent == parent && slice_eq((*at)->key, key)))
			return at;
	}
}

/* Is this node to be read? An alias is told at the place of what it stands for. */
static bool may_read(struct walk *w, int number, const struct conf_value *v)
{
	const yaml_node_t *n = yaml_document_get_node(w->y->doc, number);
	bool *seen = &w->seen[number - 1];

	if (*seen || n->start_mark.index < w->begin) {
		refuse(w, n->start_mark, v, "is used by an alias (*), which means nothing here");
		return false;
	}
	*seen = true;
	if (has_properties(n)) {
		refuse(w, n->start_mark, v, "has a tag (!) or an anchor (&), which means nothing "
					    "here");
		return false;
	}
	return true;
}

static void read_member(struct walk *w, const yaml_node_pair_t *pair, struct conf_value *v,
			size_t depth)
{
	const yaml_node_t *n = yaml_document_get_node(w->y->doc, pair->key);
	struct conf_value *child, **member;
	struct slice key;

	if (!may_read(w, pair->key, v))
		return;
	key = n->type == YAML_SCALAR_NODE ? conf_yaml_scalar(n) : SLICE("");
	if (n->type != YAML_SCALAR_NODE || memchr(key.p, '\0', key.len)) {
		refuse(w, n->start_mark, v, "has a key that is not a single word");
		return;
	}
	member = find_member(w, v, key);
	if (*member) {
		struct conf_value twice = {.parent = v, .key = key};

		refuse(w, n->start_mark, &twice, "is given twice");
		return;
	}
	child = add_child(w, v);
	if (!child)
		return;
	child->key = copy_text(w, key);
	*member = child;
	read_value(w, pair->value, child, depth + 1);
}

static void read_value(struct walk *w, int number, struct conf_value *v, size_t depth)
{
	const yaml_node_t *n = yaml_document_get_node(w->y->doc, number);
	const char *bound = bound_reached(w, depth);
	const yaml_node_pair_t *p, *end;

	if (bound) {
		refuse(w, n->start_mark, v, bound);
		w->over = true;
		return;
	}
	if (!may_read(w, number, v))
		return;
	if (n->type == YAML_SCALAR_NODE) {
		read_scalar(w, n, v);
	} else if (n->type == YAML_SEQUENCE_NODE) {
		read_items(w, n, v, depth);
	} else {
		v->kind = VALUE_MAPPING;
		end = n->data.mapping.pairs.top;
		for (p = n->data.mapping.pairs.start; p < end && !w->over; p++)
			read_member(w, p, v, depth);
	}
}

/* ---- the tree as JSON ---- */

static void put_string(struct strbuf *out, struct slice s)
{
	char piece[1024];

	strbuf_puts(out, "\"");
	while (s.len > 0) {
		/* Whole characters alone, and so few that each fits as an escape. */
		size_t n = s.len < sizeof(piece) / JSON_QUOTE_MAX ? s.len
								  : sizeof(piece) / JSON_QUOTE_MAX;

		while (n < s.len && n > 1 && ((unsigned char)s.p[n] & 0xc0) == 0x80)
			n--;
		strbuf_add(out, piece, json_quote(piece, sizeof(piece), (struct slice){s.p, n}));
		s = (struct slice){s.p + n, s.len - n};
	}
	strbuf_puts(out, "\"");
}

static void put_json(struct strbuf *out, const struct conf_value *v)
{
	switch (v->kind) {
	case VALUE_NULL:
		strbuf_puts(out, "null");
		return;
	case VALUE_WORD:
		strbuf_add(out, v->text.p, v->text.len);
		return;
	case VALUE_STRING:
		put_string(out, v->text);
		return;
	default:
		break;
	}
	strbuf_puts(out, v->kind == VALUE_LIST ? "[" : "{");
	for (const struct conf_value *c = v->first; c; c = c->next) {
		if (c != v->first)
			strbuf_puts(out, ",");
		if (v->kind == VALUE_MAPPING) {
			put_string(out, c->key);
			strbuf_puts(out, ":");
		}
		put_json(out, c);
	}
	strbuf_puts(out, v->kind == VALUE_LIST ? "]" : "}");
}

static void keep(const struct conf_yaml *y, const struct conf_value *root, yaml_mark_t mark)
{
	struct conf *c = y->ld->conf;
	struct strbuf json;

	strbuf_init(&json);
	put_json(&json, root);
	c->priv->module = root;
	c->priv->module_place = conf_yaml_place(y, mark, "module");
	c->module_json = conf_text(y->ld, "%s", json.p ? json.p : "{}");
	y->ld->no_memory |= json.failed;
	strbuf_fini(&json);
}

void conf_read_section(const struct conf_yaml *y, const yaml_node_t *value)
{
	struct conf_value *root = conf_alloc(y->ld->conf, sizeof(*root));
	size_t nodes = (size_t)(y->doc->nodes.top - y->doc->nodes.start);
	struct walk w = {
		.y = y,
		.begin = value->start_mark.index,
		.errors_before = y->ld->report->nerrors,
		.seen = calloc(nodes, sizeof(bool)),
		.members = calloc(MEMBERS_CAP, sizeof(*w.members)),
	};

	if (!root || !w.seen || !w.members)
		y->ld->no_memory = true;
	else if (value->type != YAML_MAPPING_NODE)
		conf_error(y->ld, conf_yaml_place(y, value->start_mark, "module"),
			   "is not a list of \"key: value\"");
	else
		read_value(&w, (int)(value - y->doc->nodes.start) + 1, root, 1);
	free(w.seen);
	free(w.members);
	if (y->ld->report->nerrors == w.errors_before && !y->ld->no_memory)
		keep(y, root, value->start_mark);
}

/* ---- looking into it ---- */

static bool is_label(const struct conf_value *v, struct slice word)
{
	char index[24];

	if (v->key.p)
		return slice_eq(v->key, word);
	return slice_eq((struct slice){index, (size_t)snprintf(index, sizeof(index), "%zu",
							       v->index)}, word);
}

/* Keys may have dots of their own, so every way to cut the path is tried. */
static const struct conf_value *find(const struct conf_value *v, const char *path)
{
	for (const char *end = path; ; end++) {
		const struct conf_value *found = NULL, *c = v->first;

		end = strchrnul(end, '.');
		while (c && !is_label(c, (struct slice){path, (size_t)(end - path)}))
			c = c->next;
		if (c && *end)
			found = find(c, end + 1);
		else
			found = c;
		if (found || !*end)
			return found;
	}
}

const char *conf_module_setting(const struct conf *c, const char *path)
{
	const struct conf_value *v = c->priv->module ? find(c->priv->module, path) : NULL;

	return v && (v->kind == VALUE_WORD || v->kind == VALUE_STRING) ? v->text.p : NULL;
}
