/* SPDX-License-Identifier: MIT */
/* Inside of conf/: what the readers of the policy share (policy*.c). */
#ifndef CONF_POLICY_PRIV_H
#define CONF_POLICY_PRIV_H

#include "conf/yaml_priv.h"

#define CONF_POLICY_ERRORS_MAX 200u /* as for the file */

struct conf_policy_reader {
	struct conf_loading *ld;
	struct conf_yaml y;
	struct conf_policy *p;
	size_t errors_before;
	bool over;              /* too many errors: the rest is not looked at */
};

/* Has so much been told that the rest is left out? Says so, once. */
bool conf_policy_over(struct conf_policy_reader *r);

/* 1 to CONF_SEMAPHORE_NAME_MAX letters, digits, _, - and dots; else that is told. */
bool conf_policy_name(struct conf_policy_reader *r, const struct conf_at *key);
const char *conf_setting_place(struct conf_loading *ld, enum conf_row_id id);

/* The sections, in this order, since the later ones name what is in the earlier ones; at->n NULL:
 * there is none. */
void conf_policy_semaphores(struct conf_policy_reader *r, const struct conf_at *at);
void conf_policy_rates(struct conf_policy_reader *r, const struct conf_at *at);
void conf_policy_routes(struct conf_policy_reader *r, const struct conf_at *defaults,
			const struct conf_at *routes);

/* Are these the same pattern, whatever their parameters are called? */
bool conf_same_pattern(const char *a, const char *b);

/* Index of a name, or -1. Of a table it is that of its first path. */
int conf_find_semaphore(const struct conf_policy *p, struct slice name);
int conf_find_rate(const struct conf_policy *p, struct slice policy);

#endif
