/* SPDX-License-Identifier: MIT */
/* X-Forwarded-For and Forwarded, read from the right: only what a trusted proxy wrote counts. */
#include "serve/client.h"

#define LINES_MAX 32 /* field lines of one name that are looked at; more are not believed at all */

static struct slice trim(struct slice s)
{
	while (s.len > 0 && (s.p[0] == ' ' || s.p[0] == '\t' || s.p[0] == '"')) {
		s.p++;
		s.len--;
	}
	while (s.len > 0 && strchr(" \t\"", s.p[s.len - 1]))
		s.len--;
	return s;
}

/* "192.0.2.1", "192.0.2.1:80", "[2001:db8::1]:80", "2001:db8::1". */
static bool parse_node(struct net_addr *a, struct slice s)
{
	const char *colon;

	s = trim(s);
	if (s.len > 0 && s.p[0] == '[') {
		const char *end = memchr(s.p, ']', s.len);

		if (!end)
			return false;
		s.len = (size_t)(end - s.p) + 1;
	} else {
		colon = memchr(s.p, ':', s.len);
		if (colon && !memchr(colon + 1, ':', s.len - (size_t)(colon + 1 - s.p)))
			s.len = (size_t)(colon - s.p);
	}
	return net_addr_parse(a, s);
}

/* The value of for= in one element of Forwarded. */
static struct slice forwarded_for(struct slice element)
{
	while (element.len > 0) {
		const char *semi = memchr(element.p, ';', element.len);
		size_t len = semi ? (size_t)(semi - element.p) : element.len;
		struct slice pair = trim((struct slice){element.p, len});

		if (pair.len > 4 && strncasecmp(pair.p, "for=", 4) == 0)
			return (struct slice){pair.p + 4, pair.len - 4};
		if (!semi)
			break;
		element.p = semi + 1;
		element.len -= len + 1;
	}
	return (struct slice){NULL, 0};
}

/* Walks one field line from the right. true: the walk goes on to the line before it. */
static bool walk(struct net_addr *client, struct slice line, bool forwarded,
		 const struct net_cidrs *trusted)
{
	size_t end = line.len;

	for (;;) {
		size_t start = end;
		struct slice element;
		struct net_addr a = {0};

		while (start > 0 && line.p[start - 1] != ',')
			start--;
		element = (struct slice){line.p + start, end - start};
		if (forwarded)
			element = forwarded_for(element);
		if (!element.p || !parse_node(&a, element))
			return false;
		*client = a;
		if (!net_cidrs_match(trusted, &a))
			return false;
		if (start == 0)
			return true;
		end = start - 1;
	}
}

void client_behind_proxies(struct net_addr *client, const struct http_request *head,
			   const struct net_cidrs *trusted)
{
	bool forwarded = !head->known[HTTP_F_X_FORWARDED_FOR].p;
	struct slice name = forwarded ? SLICE("Forwarded") : SLICE("X-Forwarded-For");
	const struct http_field *line[LINES_MAX], *f = NULL;
	int n = 0;

	if (!net_cidrs_match(trusted, client))
		return;
	while ((f = http_find_field(head, name, f))) {
		if (n == LINES_MAX)
			return;
		line[n++] = f;
	}
	while (n-- > 0)
		if (!walk(client, line[n]->value, forwarded, trusted))
			return;
}
