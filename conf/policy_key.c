/* SPDX-License-Identifier: MIT */
/* What keys are made of: those of rate limits, and those of the cache. */
#include "conf/policy_priv.h"
#include "http/http.h"

#define BIT(kind) (1u << (kind))

static const struct form {
	const char *word;
	enum conf_key_kind kind;
	const char *a_name, *example; /* NULL = without a name */
} forms[] = {
	{"path", CONF_KEY_PATH, NULL, NULL},
	{"query", CONF_KEY_QUERY, NULL, NULL},
	{"query", CONF_KEY_ARGUMENT, "an argument", "query:page"},
	{"header", CONF_KEY_HEADER, "a field", "header:X-API-Key"},
	{"cookie", CONF_KEY_COOKIE, "a cookie", "cookie:session"},
	{"client", CONF_KEY_CLIENT, NULL, NULL},
};
#define FORMS (sizeof(forms) / sizeof(forms[0]))

const struct conf_key_use conf_rate_keys = {
	.kinds = BIT(CONF_KEY_CLIENT) | BIT(CONF_KEY_HEADER) | BIT(CONF_KEY_COOKIE),
	.says = "is no key: none, client, header:NAME or cookie:NAME",
	.alone = "none",
};
const struct conf_key_use conf_cache_keys = {
	.kinds = BIT(CONF_KEY_PATH) | BIT(CONF_KEY_QUERY) | BIT(CONF_KEY_ARGUMENT) |
		 BIT(CONF_KEY_HEADER) | BIT(CONF_KEY_COOKIE) | BIT(CONF_KEY_CLIENT),
	.says = "is no key: path, query, query:NAME, header:NAME, cookie:NAME or client",
};

const char *conf_key_word(enum conf_key_kind kind)
{
	static const char *const words[] = {
		[CONF_KEY_CLIENT] = "client", [CONF_KEY_HEADER] = "header:",
		[CONF_KEY_COOKIE] = "cookie:", [CONF_KEY_PATH] = "path",
		[CONF_KEY_QUERY] = "query", [CONF_KEY_ARGUMENT] = "query:",
	};

	return words[kind];
}

static void refuse_kind(struct conf_policy_reader *r, const struct conf_at *at, struct slice kind,
			const struct conf_key_use *use)
{
	const char *words[FORMS + 2] = {NULL}, *near;
	bool named = false;
	size_t n = 0;

	if (use->alone)
		words[n++] = use->alone;
	for (size_t i = 0; i < FORMS; i++)
		if (use->kinds & BIT(forms[i].kind))
			words[n++] = forms[i].word;
	near = conf_nearest(kind, words);
	for (size_t i = 0; near && i < FORMS; i++)
		if (strcmp(forms[i].word, near) == 0)
			named = forms[i].a_name != NULL;
	conf_refuse_text(&r->y, at, "%s%s%s%s", use->says, near ? "; did you mean " : "",
			 near ? near : "", named ? ":NAME?" : near ? "?" : "");
}

/* A word with a colon has a name; one that needs it and has none is found, too. */
static const struct form *find_form(struct slice kind, bool colon, unsigned kinds)
{
	const struct form *found = NULL;

	for (size_t i = 0; i < FORMS; i++) {
		if (!(kinds & BIT(forms[i].kind)) || !slice_eq(slice_of(forms[i].word), kind))
			continue;
		if ((forms[i].a_name != NULL) == colon)
			return &forms[i];
		if (forms[i].a_name)
			found = &forms[i];
	}
	return found;
}

/* Names of arguments may be any text. */
static bool is_name(enum conf_key_kind kind, struct slice name)
{
	if (kind != CONF_KEY_ARGUMENT)
		return http_token_ok(name);
	for (size_t i = 0; i < name.len; i++)
		if ((unsigned char)name.p[i] < 0x20 || name.p[i] == 0x7f)
			return false;
	return name.len > 0;
}

static bool same_part(const struct conf_key_part *a, const struct conf_key_part *b)
{
	if (a->kind != b->kind)
		return false;
	if (a->kind == CONF_KEY_HEADER)
		return strcasecmp(a->name, b->name) == 0;
	return !a->name || strcmp(a->name, b->name) == 0;
}

static bool read_part(struct conf_policy_reader *r, const struct conf_at *at,
		      const struct conf_key_use *use, struct conf_key_part *ret)
{
	struct slice t = conf_yaml_scalar(at->n), kind, name;
	const char *colon = memchr(t.p, ':', t.len);
	const struct form *form;

	kind = (struct slice){t.p, colon ? (size_t)(colon - t.p) : t.len};
	form = find_form(kind, colon != NULL, use->kinds);
	if (!form) {
		refuse_kind(r, at, kind, use);
		return false;
	}
	*ret = (struct conf_key_part){.kind = form->kind};
	if (!form->a_name)
		return true;
	name = colon ? (struct slice){colon + 1, t.len - kind.len - 1} : (struct slice){t.p, 0};
	if (!is_name(form->kind, name)) {
		conf_refuse_text(&r->y, at, "needs the name of %s after a colon, such as %s",
				 form->a_name, form->example);
		return false;
	}
	ret->name = conf_text(r->ld, "%.*s", (int)name.len, name.p);
	return true;
}

void conf_read_key_part(struct conf_policy_reader *r, const struct conf_at *at,
			const struct conf_key_use *use, struct conf_key_part part[], size_t *n)
{
	if (!read_part(r, at, use, &part[*n]))
		return;
	for (size_t i = 0; i < *n; i++)
		if (same_part(&part[i], &part[*n])) {
			conf_refuse_text(&r->y, at, "is in the list twice");
			return;
		}
	++*n;
}
