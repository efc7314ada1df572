/* SPDX-License-Identifier: MIT */
/* Inside of conf/: what the readers of YAML share (file.c, section.c, members.c, policy*.c). */
#ifndef CONF_YAML_PRIV_H
#define CONF_YAML_PRIV_H

#include <stdbool.h>

#include <yaml.h>

#include "conf/conf_priv.h"

/* A file that is being read. */
struct conf_yaml {
	struct conf_loading *ld;
	const char *path;
	yaml_document_t *doc;
};

/* "capricorn.yaml:3:9: key"; key NULL: the place alone. */
const char *conf_yaml_place(const struct conf_yaml *y, yaml_mark_t mark, const char *key);

static inline struct slice conf_yaml_scalar(const yaml_node_t *n)
{
	return (struct slice){(const char *)n->data.scalar.value, n->data.scalar.length};
}

static inline bool conf_yaml_is_plain(const yaml_node_t *n)
{
	return n->type == YAML_SCALAR_NODE && n->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

/* `key:` and `key: ~` are as good as no key at all. */
static inline bool conf_yaml_is_null(const yaml_node_t *n)
{
	struct slice s;

	if (!conf_yaml_is_plain(n))
		return false;
	s = conf_yaml_scalar(n);
	return s.len == 0 || slice_eq(s, SLICE("~")) || slice_eq_nocase(s, SLICE("null"));
}

/* Tags would promise types that the tables have to decide on. */
static inline bool conf_yaml_has_tag(const yaml_node_t *n)
{
	return n->tag && strncmp((const char *)n->tag, "tag:yaml.org,2002:", 18) != 0;
}

/* ---- file.c: sections that can only be read when all settings are known ---- */

enum conf_section { CONF_S_SEMAPHORES, CONF_S_RATE_LIMITS, CONF_S_DEFAULTS, CONF_S_ROUTES,
		    CONF_S_CACHE, CONF_SECTIONS };

struct conf_sections {
	yaml_document_t doc;
	struct conf_yaml y;
	const yaml_node_t *value[CONF_SECTIONS]; /* NULL = is not there, or empty */
};

/* ---- members.c: reading mappings by the table of keys ---- */

/* A value, and the way to it for messages: "routes.0.methods". */
struct conf_at {
	const struct conf_at *up;
	struct slice word;           /* p NULL: an item of a list */
	size_t index;                /* of an item */
	const yaml_node_t *n;        /* NULL = not given */
};

struct conf_members {
	struct conf_at at[CONF_KEYS];
};

__attribute__((format(printf, 3, 4))) void conf_refuse(const struct conf_yaml *y,
							const struct conf_at *at,
							const char *fmt, ...);
/* The same with the text of the scalar before it. */
__attribute__((format(printf, 3, 4))) void conf_refuse_text(const struct conf_yaml *y,
							     const struct conf_at *at,
							     const char *fmt, ...);
/* "...; did you mean X?"; near NULL: without it. */
void conf_refuse_near(const struct conf_yaml *y, const struct conf_at *at, const char *says,
		      const char *near);
/* The same for a text that is none of the words. */
void conf_refuse_name(const struct conf_yaml *y, const struct conf_at *at, const char *says,
		      const char *const *words);

/* Each tells what is wrong, with false (NULL). */
bool conf_is_scalar(const struct conf_yaml *y, const struct conf_at *at);
bool conf_is_list(const struct conf_yaml *y, const struct conf_at *at, size_t max);
bool conf_is_mapping(const struct conf_yaml *y, const struct conf_at *at);
/* The members of a mapping whose keys are those of the groups from `first` to `last`; what is not
 * given, or null, has n NULL, all of them if it is no mapping at all (false). */
bool conf_read_members(const struct conf_yaml *y, const struct conf_at *at, enum conf_group first,
		       enum conf_group last, struct conf_members *ret);
/* Item i of a list. */
struct conf_at conf_item(const struct conf_yaml *y, const struct conf_at *list, size_t i);
size_t conf_count(const struct conf_at *list);
/* Entry i of a mapping with free names, and the same at its key, for messages about the name;
 * false: the key is not a single word, which is told. */
bool conf_entry(const struct conf_yaml *y, const struct conf_at *map, size_t i,
		struct conf_at *ret, struct conf_at *ret_key);
size_t conf_entries(const struct conf_at *map);

/* The number, the boolean, or the index of the word, of a key; `other` if it is not given or
 * wrong. */
int64_t conf_number_of(const struct conf_yaml *y, const struct conf_members *m, enum conf_key key,
		       int64_t other);
/* The text of a scalar in the memory of the conf; NULL if it is not given or wrong. */
const char *conf_string_of(const struct conf_yaml *y, const struct conf_at *at);
/* Where a value stands: "capricorn.yaml:3:9". */
const char *conf_place_of(const struct conf_yaml *y, const struct conf_at *at);

/* ---- section.c ---- */

/* The section module: keeps it in the conf, and tells what is wrong with it. */
void conf_read_section(const struct conf_yaml *y, const yaml_node_t *value);

#endif
