/* SPDX-License-Identifier: MIT */
/* Inside of conf/: what the readers of the policy share (policy*.c). */
#ifndef CONF_POLICY_PRIV_H
#define CONF_POLICY_PRIV_H

#include "conf/yaml_priv.h"

#define CONF_POLICY_ERRORS_MAX 200u /* as for the file */

struct http_router;

struct conf_policy_reader {
	struct conf_loading *ld;
	struct conf_yaml y;
	struct conf_policy *p;
	struct http_router *router; /* of the routes of p; NULL = there are none */
	size_t errors_before;
	bool over;              /* too many errors: the rest is not looked at */
};

/* Has so much been told that the rest is left out? Says so, once. */
bool conf_policy_over(struct conf_policy_reader *r);

/* 1 to CONF_SEMAPHORE_NAME_MAX letters, digits, _, - and dots; else that is told. */
bool conf_policy_name(struct conf_policy_reader *r, const struct conf_at *key);
/* The name of an entry of a list at `at`; NULL, which is told: there is none, or it is none. */
const char *conf_read_name(struct conf_policy_reader *r, const struct conf_at *at,
			   const struct conf_at *name);
const char *conf_setting_place(struct conf_loading *ld, enum conf_row_id id);

/* The sections, in this order, since the later ones name what is in the earlier ones; at->n NULL:
 * there is none. */
void conf_policy_semaphores(struct conf_policy_reader *r, const struct conf_at *at);
void conf_policy_rates(struct conf_policy_reader *r, const struct conf_at *at);
void conf_policy_routes(struct conf_policy_reader *r, const struct conf_at *defaults,
			const struct conf_at *routes);
void conf_policy_cache(struct conf_policy_reader *r, const struct conf_at *at);
void conf_cache_warmups(struct conf_policy_reader *r, const struct conf_at *at); /* of the last */

/* The cache of a route that has what defaults have; at->n NULL: the route does not say. */
void conf_route_cache(struct conf_policy_reader *r, const struct conf_at *at,
		      struct conf_policy_route *route);

/* Are these the same pattern, whatever their parameters are called? */
bool conf_same_pattern(const char *a, const char *b);
/* Can a request have this method? One that nobody knows may be meant, but not one that is nearly
 * one that is known, which *ret_near is then (else NULL). */
bool conf_is_method(struct slice s, const char **ret_near);

/* ---- policy_key.c ---- */

/* What a key can be made of, and what it is for. */
struct conf_key_use {
	unsigned kinds;         /* bits */
	const char *says;       /* of what it cannot be made of */
	const char *alone;      /* a word that stands for no key at all; NULL = there is none */
};
extern const struct conf_key_use conf_rate_keys, conf_cache_keys;

/* Adds what the scalar says to part[*n], which there is room for; else that is told. */
void conf_read_key_part(struct conf_policy_reader *r, const struct conf_at *at,
			const struct conf_key_use *use, struct conf_key_part part[], size_t *n);

/* ---- policy_template.c ---- */

/* Where templates stand: what {x} may be is what all the patterns have. */
struct conf_template_scope {
	size_t npatterns;
	const char *const *pattern;
	bool any;               /* "*" stands for any text; else it is refused */
};

/* A list of templates, 0 to `max`, none twice; at->n NULL: an empty one. What is wrong is told, and
 * not among them. */
const struct conf_template *conf_read_templates(struct conf_policy_reader *r,
						const struct conf_at *at, size_t max,
						const struct conf_template_scope *scope,
						size_t *ret_n);

/* Index of a name, or -1. Of a table it is that of its first path. */
int conf_find_semaphore(const struct conf_policy *p, struct slice name);
int conf_find_rate(const struct conf_policy *p, struct slice policy);

#endif
