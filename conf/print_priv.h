/* SPDX-License-Identifier: MIT */
/* Inside of conf/: what the printers of --print-config share. */
#ifndef CONF_PRINT_PRIV_H
#define CONF_PRINT_PRIV_H

#include <jansson.h>

#include "conf/conf_priv.h"

/* A text as it is, or, where it is not UTF-8, as messages show it. */
json_t *conf_print_text(const char *text);
json_t *conf_print_policy(const struct conf_policy *p);

#endif
