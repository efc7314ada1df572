/* SPDX-License-Identifier: MIT */
/* Inside of conf/: what the readers of YAML share (file.c, section.c). */
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

/* ---- section.c ---- */

/* The section module: keeps it in the conf, and tells what is wrong with it. */
void conf_read_section(const struct conf_yaml *y, const yaml_node_t *value);

#endif
