/* SPDX-License-Identifier: MIT */
/* Query strings as forms write them (application/x-www-form-urlencoded). */
#include "http/http_priv.h"

/* Takes the next character, decoded. A "%" without two hex digits is itself. */
static inline char take_char(struct slice *s)
{
	char c = *s->p;
	size_t n = 1;

	if (c == '+') {
		c = ' ';
	} else if (c == '%' && s->len >= 3 && (class_of(s->p[1]) & C_HEX) &&
		   (class_of(s->p[2]) & C_HEX)) {
		c = (char)(hex_value(s->p[1]) << 4 | hex_value(s->p[2]));
		n = 3;
	}
	s->p += n;
	s->len -= n;
	return c;
}

static bool decodes_to(struct slice s, struct slice name)
{
	size_t i = 0;

	while (s.len > 0 && i < name.len)
		if (take_char(&s) != name.p[i++])
			return false;
	return s.len == 0 && i == name.len;
}

struct slice http_query_find(struct slice query, struct slice name)
{
	while (query.len > 0) {
		const char *end = memchr(query.p, '&', query.len);
		struct slice key = { query.p, end ? (size_t)(end - query.p) : query.len };
		const char *equals = memchr(key.p, '=', key.len);
		struct slice value = { key.p + key.len, 0 };

		query.p += key.len + !!end;
		query.len -= key.len + !!end;
		if (key.len == 0)
			continue;
		if (equals) {
			value = (struct slice){equals + 1, (size_t)(value.p - equals - 1)};
			key.len = (size_t)(equals - key.p);
		}
		if (decodes_to(key, name))
			return value;
	}
	return (struct slice){NULL, 0};
}

size_t http_query_decode(struct slice value, char *out)
{
	size_t len = 0;

	while (value.len > 0)
		out[len++] = take_char(&value);
	return len;
}
