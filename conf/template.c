/* SPDX-License-Identifier: MIT */
/* Writing templates. Nothing is allocated. */
#include "conf/template.h"

static bool put_value(const struct conf_part *p, bool glob, conf_value_f *value, void *arg,
		      struct http_out *o)
{
	size_t from = o->len;
	bool was = value(arg, p, o);

	for (size_t i = from; glob && i < o->len; i++)
		if (o->p[i] == '*')
			o->p[i] = '?';
	return was;
}

size_t conf_template_put(const struct conf_template *t, bool glob, conf_value_f *value, void *arg,
			 struct http_out *o)
{
	size_t lacking = 0;

	for (size_t i = 0; i < t->nparts; i++) {
		const struct conf_part *p = &t->part[i];

		switch (p->kind) {
		case CONF_PART_TEXT:
			http_put_slice(o, p->text);
			break;
		case CONF_PART_ANY:
			http_put_slice(o, SLICE("*"));
			break;
		case CONF_PART_PARAM:
		case CONF_PART_QUERY:
		case CONF_PART_HEADER:
			lacking += !put_value(p, glob, value, arg, o);
			break;
		}
	}
	return lacking;
}

static bool put_query(const struct http_request *req, struct slice name, struct http_out *o)
{
	struct slice s = http_query_find(req->query, name);

	if (!s.p)
		return false;
	if (o->over || s.len > o->cap - o->len)
		o->over = true;
	else
		o->len += http_query_decode(s, o->p + o->len);
	return true;
}

bool conf_request_value(void *arg, const struct conf_part *part, struct http_out *o)
{
	const struct conf_values *v = arg;
	const struct http_field *f;
	struct slice s = {NULL, 0};

	switch (part->kind) {
	case CONF_PART_QUERY:
		return put_query(v->req, part->text, o);
	case CONF_PART_HEADER:
		f = http_find_field(v->req, part->text, NULL);
		s = f ? f->value : s;
		break;
	default:
		s = http_match_param(v->match, part->text);
		break;
	}
	http_put_slice(o, s);
	return s.p != NULL;
}
