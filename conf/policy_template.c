/* SPDX-License-Identifier: MIT */
/* Templates: texts with {x}, {query.NAME} and {header.NAME}, taken apart once, for the workers. */
#include "conf/policy_priv.h"
#include "http/http.h"

static const char query[] = "query.", header[] = "header.";

/* ---- names that patterns have ---- */

/* The next parameter of a pattern from *p on, "*" for the rest; p NULL: there is none. */
static struct slice next_param(const char **p)
{
	struct slice name = {NULL, 0};
	const char *at = strpbrk(*p, "{*");

	if (!at)
		return name;
	name = *at == '*' ? (struct slice){at, 1} : (struct slice){at + 1, strcspn(at + 1, "}")};
	*p = name.p + name.len;
	return name;
}

static bool has_param(const char *pattern, struct slice name)
{
	struct slice s;

	while ((s = next_param(&pattern)).p)
		if (slice_eq(s, name))
			return true;
	return false;
}

static bool all_have(const struct conf_template_scope *scope, struct slice name)
{
	for (size_t i = 0; i < scope->npatterns; i++)
		if (!has_param(scope->pattern[i], name))
			return false;
	return scope->npatterns > 0;
}

static void refuse_param(struct conf_policy_reader *r, const struct conf_at *at, struct slice name,
			 const struct conf_template_scope *scope)
{
	const char *p = scope->npatterns ? scope->pattern[0] : "";
	struct strbuf names;
	struct slice s;

	strbuf_init(&names);
	strbuf_puts(&names, "");
	while ((s = next_param(&p)).p)
		if (all_have(scope, s))
			strbuf_printf(&names, "{%.*s}, ", (int)s.len, s.p);
	conf_refuse_text(&r->y, at, "has the unknown name {%.*s}; here there are %s{query.NAME} and "
			 "{header.NAME}", (int)name.len, name.p, names.p ? names.p : "");
	strbuf_fini(&names);
}

/* ---- parts ---- */

static bool begins_with(struct slice s, const char *word)
{
	return s.len > strlen(word) && memcmp(s.p, word, strlen(word)) == 0;
}

static struct slice without(struct slice s, const char *word)
{
	return (struct slice){s.p + strlen(word), s.len - strlen(word)};
}

/* What stands between braces. */
static bool read_name(struct conf_policy_reader *r, const struct conf_at *at, struct slice name,
		      const struct conf_template_scope *scope, struct conf_part *ret)
{
	if (begins_with(name, query)) {
		*ret = (struct conf_part){CONF_PART_QUERY, without(name, query)};
		return true;
	}
	if (begins_with(name, header) && http_token_ok(without(name, header))) {
		*ret = (struct conf_part){CONF_PART_HEADER, without(name, header)};
		return true;
	}
	if (!all_have(scope, name)) {
		refuse_param(r, at, name, scope);
		return false;
	}
	*ret = (struct conf_part){CONF_PART_PARAM, name};
	return true;
}

/* The part at *p, which moves on behind it. */
static bool read_part(struct conf_policy_reader *r, const struct conf_at *at, const char **p,
		      const struct conf_template_scope *scope, struct conf_part *ret)
{
	const char *from = *p;
	size_t len = strcspn(from, "{}*");

	if (len > 0) {
		*p += len;
		*ret = (struct conf_part){CONF_PART_TEXT, {from, len}};
		return true;
	}
	if (*from == '*') {
		*p += strspn(from, "*");
		*ret = (struct conf_part){CONF_PART_ANY, {from, 1}};
		if (!scope->any)
			conf_refuse_text(&r->y, at, "has a *, which only patterns of invalidations "
					 "have");
		return scope->any;
	}
	len = strcspn(from + 1, "{}");
	if (*from == '}' || from[len + 1] != '}') {
		conf_refuse_text(&r->y, at, *from == '}' ? "has a } without a {"
							 : "has a { without a }");
		return false;
	}
	*p += len + 2;
	return read_name(r, at, (struct slice){from + 1, len}, scope, ret);
}

static bool read_template(struct conf_policy_reader *r, const struct conf_at *at,
			  const struct conf_template_scope *scope, struct conf_template *ret)
{
	struct conf_part *part = conf_alloc(r->ld->conf, CONF_PARTS_MAX * sizeof(*part));
	const char *p = conf_string_of(&r->y, at);

	*ret = (struct conf_template){.text = p, .part = part};
	r->ld->no_memory |= !part;
	if (!p || !part)
		return false;
	if (!*p || strlen(p) > CONF_TEMPLATE_MAX) {
		conf_refuse(&r->y, at, "has 1 to %d bytes", CONF_TEMPLATE_MAX);
		return false;
	}
	while (*p) {
		if (ret->nparts == CONF_PARTS_MAX) {
			conf_refuse_text(&r->y, at, "has more than %d parts", CONF_PARTS_MAX);
			return false;
		}
		if (!read_part(r, at, &p, scope, &part[ret->nparts++]))
			return false;
	}
	return true;
}

const struct conf_template *conf_read_templates(struct conf_policy_reader *r,
						const struct conf_at *at, size_t max,
						const struct conf_template_scope *scope,
						size_t *ret_n)
{
	struct conf_template *list;
	size_t n = 0;

	*ret_n = 0;
	if (!at->n || !conf_is_list(&r->y, at, max) || conf_count(at) == 0)
		return NULL;
	list = conf_alloc(r->ld->conf, conf_count(at) * sizeof(*list));
	if (!list) {
		r->ld->no_memory = true;
		return NULL;
	}
	for (size_t i = 0; i < conf_count(at) && !conf_policy_over(r); i++) {
		struct conf_at item = conf_item(&r->y, at, i);
		size_t k = 0;

		if (!read_template(r, &item, scope, &list[n]))
			continue;
		while (k < n && strcmp(list[k].text, list[n].text) != 0)
			k++;
		if (k < n)
			conf_refuse_text(&r->y, &item, "is in the list twice");
		else
			n++;
	}
	*ret_n = n;
	return list;
}
