/* SPDX-License-Identifier: MIT */
/* Templates of the configuration (struct conf_template), written with the values of a request, or
 * with others. */
#ifndef CONF_TEMPLATE_H
#define CONF_TEMPLATE_H

#include "conf/policy.h"
#include "http/http.h"
#include "http/router.h"

/* Puts the value of a PARAM, QUERY or HEADER into the output; false: there is none. */
typedef bool conf_value_f(void *arg, const struct conf_part *part, struct http_out *o);

/*
 * `glob`: as a pattern, in which ANY is "*". What a value has of '*' becomes '?' then (any one
 * byte): it stands for itself, and can at most be another byte's in that place. The number of
 * values that there were none of; they are empty.
 */
size_t conf_template_put(const struct conf_template *t, bool glob, conf_value_f *value, void *arg,
			 struct http_out *o);

/* A conf_value_f: the values that a request has. arg is a struct conf_values. */
struct conf_values {
	const struct http_request *req;
	const struct http_match *match;
};
bool conf_request_value(void *arg, const struct conf_part *part, struct http_out *o);

#endif
