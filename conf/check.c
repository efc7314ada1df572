/* SPDX-License-Identifier: MIT */
/*
 * What texts mean: addresses, networks, formats, names. Pure functions; nothing is opened or
 * resolved here.
 */
#include "conf/conf_priv.h"

#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/un.h>

#define FD_FIRST 3       /* below are the standard streams */
#define FD_LAST  1048575
#define NAME_LEN_MAX 64u

/* ---- addresses ---- */

bool conf_host_parse(struct slice text, struct net_addr *ret)
{
	if (slice_eq_nocase(text, SLICE("localhost")))
		text = SLICE("127.0.0.1");
	return net_addr_parse(ret, text);
}

static bool parse_decimal(struct slice t, int max, int *ret)
{
	int n = 0;

	if (t.len == 0 || t.len > 7)
		return false;
	for (size_t i = 0; i < t.len; i++) {
		if (!isdigit((unsigned char)t.p[i]))
			return false;
		n = n * 10 + (t.p[i] - '0');
	}
	if (n > max)
		return false;
	*ret = n;
	return true;
}

static bool bind_unix(struct conf_bind *b, const char *path, struct strbuf *why)
{
	if (path[0] == '/' && path[1] == '/') /* unix:///run/x.sock, as in URLs */
		path += 2;
	if (path[0] == '\0') {
		strbuf_puts(why, "has no path");
		return false;
	}
	if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
		strbuf_printf(why, "has a path of more than %zu bytes",
			      sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
		return false;
	}
	b->kind = CONF_BIND_UNIX;
	b->addr.family = NET_UNIX;
	b->path = path;
	return true;
}

static bool bind_tcp(struct conf_bind *b, const char *text, struct strbuf *why)
{
	const char *colon = strrchr(text, ':');
	struct slice host;
	int port;

	if (!colon || (text[0] == '[' && colon[-1] != ']')) {
		strbuf_puts(why, "has no port (host:port)");
		return false;
	}
	host = (struct slice){text, (size_t)(colon - text)};
	if (host.len > 0 && text[0] != '[' && memchr(host.p, ':', host.len)) {
		strbuf_puts(why, "is an IPv6 address without brackets ([::1]:8000)");
		return false;
	}
	if (!parse_decimal(slice_of(colon + 1), 65535, &port)) {
		strbuf_puts(why, "has no port from 0 to 65535 at its end");
		return false;
	}
	if (host.len == 0)
		host = SLICE("0.0.0.0"); /* ":8000" is every address, as elsewhere */
	if (!conf_host_parse(host, &b->addr)) {
		strbuf_puts(why, "names a host that is no IP address; names are not looked up "
				 "(but localhost)");
		return false;
	}
	b->kind = CONF_BIND_TCP;
	b->addr.port = (uint16_t)port;
	return true;
}

static bool parse_bind(const char *text, struct conf_bind *b, struct strbuf *why)
{
	*b = (struct conf_bind){.fd = -1, .text = text};
	if (strncmp(text, "unix:", 5) == 0)
		return bind_unix(b, text + 5, why);
	if (strncmp(text, "fd://", 5) == 0) {
		b->kind = CONF_BIND_FD;
		if (parse_decimal(slice_of(text + 5), FD_LAST, &b->fd) && b->fd >= FD_FIRST)
			return true;
		strbuf_printf(why, "is not the number of an open descriptor, fd://%d or above",
			      FD_FIRST);
		return false;
	}
	if (strstr(text, "://")) {
		strbuf_puts(why, "is not an address (host:port, [::1]:port, unix:/path, fd://N)");
		return false;
	}
	return bind_tcp(b, text, why);
}

bool conf_bind_parse(struct conf *c, const char *text, struct conf_bind *ret, struct strbuf *why)
{
	const char *copy = conf_strndup(c, text, strlen(text));

	if (!copy) {
		strbuf_puts(why, "finds no memory");
		return false;
	}
	return parse_bind(copy, ret, why);
}

bool conf_check_bind(const char *text, struct strbuf *why)
{
	struct conf_bind b;

	return parse_bind(text, &b, why);
}

bool conf_check_host(const char *text, struct strbuf *why)
{
	struct net_addr a;

	if (conf_host_parse(slice_of(text), &a))
		return true;
	strbuf_puts(why, "is not an IP address; names are not looked up (but localhost)");
	return false;
}

bool conf_check_network(const char *text, struct strbuf *why)
{
	struct net_cidrs list = {0};
	bool ok = net_cidr_parse(&list, slice_of(text));

	net_cidrs_fini(&list);
	if (!ok)
		strbuf_puts(why, "is not an address, a network (10.0.0.0/8, no bits set beyond its "
				 "length), unix or *");
	return ok;
}

/* ---- the access log ---- */

/* One atom: "h", "{user-agent}i". */
static bool known_atom(struct slice a)
{
	if (a.len == 1)
		return a.p[0] != '\0' && strchr("hlutrsmUqHbBfaTDMLp", a.p[0]) != NULL;
	return a.len >= 4 && a.p[0] == '{' && a.p[a.len - 2] == '}' &&
	       strchr("ioe", a.p[a.len - 1]) != NULL;
}

bool conf_check_log_format(const char *text, struct strbuf *why)
{
	static const char *const words[] = {"combined", "json", NULL};
	const char *p = text, *end, *near;

	if (strcmp(text, "combined") == 0 || strcmp(text, "json") == 0)
		return true;
	near = conf_nearest(slice_of(text), words);
	if (!strchr(text, '%')) {
		strbuf_puts(why, "is not combined, json or a text with atoms like %(h)s");
		if (near)
			strbuf_printf(why, "; did you mean %s?", near);
		return false;
	}
	while ((p = strchr(p, '%'))) {
		if (p[1] == '%') {
			p += 2;
			continue;
		}
		end = p[1] == '(' ? strchr(p, ')') : NULL;
		if (!end || end[1] != 's') {
			strbuf_puts(why, "has a % that begins no atom %(...)s; a plain one is %%");
			return false;
		}
		if (!known_atom((struct slice){p + 2, (size_t)(end - p) - 2})) {
			strbuf_puts(why, "has the unknown atom ");
			conf_quote(why, (struct slice){p, (size_t)(end - p) + 2});
			strbuf_puts(why, "; there are h l u t r s m U q H b B f a T D M L p "
					 "{field}i {field}o {name}e");
			return false;
		}
		p = end + 2;
	}
	return true;
}

/* ---- names ---- */

bool conf_check_shm_name(const char *text, struct strbuf *why)
{
	size_t len = strlen(text);

	if (text[0] == '/' && len > 1 && len <= NAME_MAX && !strchr(text + 1, '/') &&
	    strcmp(text, "/.") != 0 && strcmp(text, "/..") != 0)
		return true;
	strbuf_printf(why, "is not a name of shared memory: one /, then up to %d other characters",
		      NAME_MAX - 1);
	return false;
}

bool conf_check_prefix(const char *text, struct strbuf *why)
{
	size_t len = strlen(text);
	bool ok = text[0] == '/' && !strstr(text, "//") && (len == 1 || text[len - 1] != '/');

	for (const char *p = text; ok && *p; p++)
		ok = isalnum((unsigned char)*p) || strchr("/-._~", *p);
	/* Requests are matched after their dot segments have gone. */
	if (ok && !strstr(text, "/./") && !strstr(text, "/../") &&
	    !(len >= 2 && strcmp(text + len - 2, "/.") == 0) &&
	    !(len >= 3 && strcmp(text + len - 3, "/..") == 0))
		return true;
	strbuf_puts(why, "is not a path like /_capricorn (letters, digits, - . _ ~ between single "
			 "slashes), or / alone");
	return false;
}

bool conf_check_token(const char *text, struct strbuf *why)
{
	const char *p = text;

	/* token68 of RFC 9110, 11.2: what a client can send after "Bearer". */
	while (isalnum((unsigned char)*p) || (*p && strchr("-._~+/", *p)))
		p++;
	while (p > text && *p == '=')
		p++;
	if (*p == '\0')
		return true;
	strbuf_puts(why, "has characters that a bearer token cannot have (letters, digits and "
			 "-._~+/ are allowed, = at the end)");
	return false;
}

bool conf_check_name(const char *text, struct strbuf *why)
{
	if (strlen(text) <= NAME_LEN_MAX)
		return true;
	strbuf_printf(why, "is longer than %u bytes", NAME_LEN_MAX);
	return false;
}
