/* SPDX-License-Identifier: MIT */
/* The table of what can be in the sections of the file, in memory. Read only. */
#include "conf/conf_priv.h"

#define GROUP(id, place, text) [CONF_G_##id] = {.where = place, .help = text},
#define KEY(...)
const struct conf_group_row conf_groups[CONF_GROUPS] = {
#include "conf/sections.def"
};
#undef GROUP
#undef KEY

#define GROUP(...)
#define KEY(g, k, t, ...) \
	[CONF_K_##g##_##k] = {.name = #k, .key = #k, .type = CONF_T_##t, __VA_ARGS__},
const struct conf_row conf_keys[CONF_KEYS] = {
#include "conf/sections.def"
};
#undef KEY

#define KEY(g, k, ...) [CONF_K_##g##_##k] = CONF_G_##g,
const enum conf_group conf_key_group[CONF_KEYS] = {
#include "conf/sections.def"
};
#undef KEY
#undef GROUP
