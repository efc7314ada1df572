/* SPDX-License-Identifier: MIT */
/*
 * Keys: "host/path?query", and a line for each thing more that the rule names. No two requests that
 * differ in what the rule names have the same key: within the path '?', '*' and what is no visible
 * character are encoded, and no value of a field has a line break.
 */
#include "cache/cache_priv.h"

static void put_lower(struct http_out *o, struct slice s)
{
	char *to = http_reserve(o, s.len);

	for (size_t i = 0; to && i < s.len; i++)
		to[i] = s.p[i] >= 'A' && s.p[i] <= 'Z' ? (char)(s.p[i] | 0x20) : s.p[i];
}

static void put_path(struct http_out *o, struct slice path)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t from = 0;

	for (size_t i = 0; i < path.len; i++) {
		unsigned char ch = (unsigned char)path.p[i];
		char enc[3] = {'%', hex[ch >> 4], hex[ch & 15]};

		if (ch > ' ' && ch != 0x7f && ch != '?' && ch != '*')
			continue;
		http_put(o, path.p + from, i - from);
		http_put(o, enc, 3);
		from = i + 1;
	}
	http_put(o, path.p + from, path.len - from);
}

/* All fields of the name: the handler may look at any of them. */
static void put_header(struct http_out *o, const struct http_request *head, struct slice name)
{
	const struct http_field *f = NULL;
	bool first = true;

	http_put_slice(o, SLICE("\nheader:"));
	put_lower(o, name);
	while ((f = http_find_field(head, name, f))) {
		http_put_slice(o, first ? SLICE("=") : SLICE(","));
		http_put_slice(o, f->value);
		first = false;
	}
}

static void put_cookie(struct http_out *o, const struct http_request *head, struct slice name)
{
	struct slice s = http_cookie(head, name);

	http_put_slice(o, SLICE("\ncookie:"));
	http_put_slice(o, name);
	if (s.p)
		http_put_slice(o, SLICE("="));
	http_put_slice(o, s);
}

static void put_client(struct http_out *o, const struct request *r)
{
	char text[NET_TEXT_MAX];
	size_t n = net_addr_format(request_client(r), text);

	http_put_slice(o, SLICE("\nclient="));
	http_put(o, text, n);
}

static void put_argument(struct http_out *o, const struct http_request *head, struct slice name)
{
	struct slice s = http_query_find(head->query, name);

	http_put_slice(o, SLICE("\nquery:"));
	http_put_slice(o, name);
	if (s.p)
		http_put_slice(o, SLICE("="));
	http_put_slice(o, s);
}

static void put_part(struct http_out *o, struct request *r, const struct conf_key_part *p)
{
	const struct http_request *head = request_head(r);

	switch (p->kind) {
	case CONF_KEY_HEADER:
		put_header(o, head, slice_of(p->name));
		break;
	case CONF_KEY_COOKIE:
		put_cookie(o, head, slice_of(p->name));
		break;
	case CONF_KEY_ARGUMENT:
		put_argument(o, head, slice_of(p->name));
		break;
	case CONF_KEY_CLIENT:
		put_client(o, r);
		break;
	case CONF_KEY_PATH: /* these come first */
	case CONF_KEY_QUERY:
		break;
	}
}

bool key_make(const struct cache *c, const struct cache_rule *rule, struct request *r,
	      struct key *ret)
{
	const struct http_request *head = request_head(r);
	struct http_out o = {.p = ret->room, .cap = sizeof(ret->room)};

	put_lower(&o, head->authority);
	put_path(&o, rule->path ? request_path(r) : slice_of(rule->pattern));
	if (rule->query && head->query.p) {
		http_put_slice(&o, SLICE("?"));
		http_put_slice(&o, head->query);
	}
	for (size_t i = 0; i < rule->conf->nkeys; i++)
		put_part(&o, r, &rule->conf->key[i]);
	/* A range is one of the plain form. */
	ret->gzip = head->known_count[HTTP_F_RANGE] == 0 && request_takes_gzip(r);
	if (ret->gzip)
		http_put_slice(&o, SLICE(HTTP_KEY_GZIP));
	ret->text = (struct slice){o.p, o.len};
	if (o.over || o.len == 0)
		return false;
	ret->hash = shm_cache_hash(c->shm, ret->text);
	return true;
}

bool key_names(const struct cache_rule *rule, struct slice field)
{
	for (size_t i = 0; i < rule->conf->nkeys; i++)
		if (rule->conf->key[i].kind == CONF_KEY_HEADER &&
		    slice_eq_nocase(slice_of(rule->conf->key[i].name), field))
			return true;
	return false;
}
