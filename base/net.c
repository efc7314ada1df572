/* SPDX-License-Identifier: MIT */
#include "base/net.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

#include "base/check.h"

/* ::ffff:0:0/96, where a socket of both families shows its IPv4 clients. */
static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static void set_v6(struct net_addr *a, const uint8_t bytes[16])
{
	if (memcmp(bytes, mapped, sizeof(mapped)) == 0) {
		a->family = NET_V4;
		memcpy(a->bytes, bytes + sizeof(mapped), 4);
	} else {
		a->family = NET_V6;
		memcpy(a->bytes, bytes, 16);
	}
}

void net_addr_from_sockaddr(struct net_addr *a, const struct sockaddr *sa, socklen_t len)
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	memset(a, 0, sizeof(*a));
	if (len < sizeof(sa->sa_family)) {
		a->family = NET_UNIX; /* what accept() says of an unnamed peer on some kernels */
	} else if (sa->sa_family == AF_INET && len >= sizeof(in)) {
		memcpy(&in, sa, sizeof(in));
		a->family = NET_V4;
		memcpy(a->bytes, &in.sin_addr, 4);
		a->port = ntohs(in.sin_port);
	} else if (sa->sa_family == AF_INET6 && len >= sizeof(in6)) {
		memcpy(&in6, sa, sizeof(in6));
		set_v6(a, in6.sin6_addr.s6_addr);
		a->port = ntohs(in6.sin6_port);
	} else if (sa->sa_family == AF_UNIX) {
		a->family = NET_UNIX;
	}
}

socklen_t net_addr_to_sockaddr(const struct net_addr *a, struct sockaddr_storage *ss)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(a->port)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(a->port)};

	memset(ss, 0, sizeof(*ss));
	switch (a->family) {
	case NET_V4:
		memcpy(&in.sin_addr, a->bytes, 4);
		memcpy(ss, &in, sizeof(in));
		return sizeof(in);
	case NET_V6:
		memcpy(&in6.sin6_addr, a->bytes, 16);
		memcpy(ss, &in6, sizeof(in6));
		return sizeof(in6);
	default:
		return 0;
	}
}

bool net_addr_parse(struct net_addr *a, struct slice text)
{
	char buf[INET6_ADDRSTRLEN];
	uint8_t bytes[16];
	bool brackets = text.len >= 2 && text.p[0] == '[' && text.p[text.len - 1] == ']';

	if (brackets)
		text = (struct slice){text.p + 1, text.len - 2};
	if (text.len == 0 || text.len >= sizeof(buf) || memchr(text.p, '\0', text.len))
		return false;
	memcpy(buf, text.p, text.len);
	buf[text.len] = '\0';
	memset(a, 0, sizeof(*a));
	if (!brackets && inet_pton(AF_INET, buf, bytes) == 1) {
		a->family = NET_V4;
		memcpy(a->bytes, bytes, 4);
		return true;
	}
	if (inet_pton(AF_INET6, buf, bytes) == 1) {
		set_v6(a, bytes);
		return true;
	}
	return false;
}

/* By hand: inet_ntop() formats with printf, 1,600 instructions for each line of an access log. */
static size_t put_v4(const uint8_t bytes[4], char *out)
{
	char *p = out;

	for (int i = 0; i < 4; i++) {
		unsigned v = bytes[i];

		if (v >= 100)
			*p++ = (char)('0' + v / 100);
		if (v >= 10)
			*p++ = (char)('0' + v / 10 % 10);
		*p++ = (char)('0' + v % 10);
		*p++ = '.';
	}
	*--p = '\0'; /* instead of the last dot */
	return (size_t)(p - out);
}

/* An address of either family into `out`; the length. */
static size_t put_ip(const struct net_addr *a, char out[NET_TEXT_MAX])
{
	const char *s;

	if (a->family == NET_V4)
		return put_v4(a->bytes, out);
	s = inet_ntop(AF_INET6, a->bytes, out, INET6_ADDRSTRLEN);
	CHECK(s != NULL); /* the buffer is large enough */
	return strlen(out);
}

static size_t put_word(char out[NET_TEXT_MAX], struct slice word)
{
	memcpy(out, word.p, word.len);
	out[word.len] = '\0';
	return word.len;
}

size_t net_addr_format(const struct net_addr *a, char out[NET_TEXT_MAX])
{
	switch (a->family) {
	case NET_V4:
	case NET_V6:
		return put_ip(a, out);
	case NET_UNIX:
		return put_word(out, SLICE("unix"));
	default:
		return put_word(out, SLICE("-"));
	}
}

size_t net_addr_format_port(const struct net_addr *a, char out[NET_TEXT_MAX])
{
	char ip[NET_TEXT_MAX];
	int n;

	switch (a->family) {
	case NET_V4:
		put_ip(a, ip);
		n = snprintf(out, NET_TEXT_MAX, "%.45s:%u", ip, (unsigned)a->port);
		return (size_t)n;
	case NET_V6:
		put_ip(a, ip);
		n = snprintf(out, NET_TEXT_MAX, "[%.45s]:%u", ip, (unsigned)a->port);
		return (size_t)n;
	default:
		return net_addr_format(a, out);
	}
}

bool net_is_loopback(const struct net_addr *a)
{
	static const uint8_t one[16] = {[15] = 1};

	switch (a->family) {
	case NET_V4: return a->bytes[0] == 127;
	case NET_V6: return memcmp(a->bytes, one, 16) == 0;
	default: return false;
	}
}

/* The first `bits` bits of both are the same. */
static bool prefix_eq(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;

	if (memcmp(a, b, whole) != 0)
		return false;
	return rest == 0 || ((a[whole] ^ b[whole]) & (0xff00u >> rest) & 0xffu) == 0;
}

/* Decimal, 0 to max, without sign or leading zeros. */
static bool parse_bits(struct slice t, unsigned max, uint8_t *ret_bits)
{
	unsigned n = 0;

	if (t.len == 0 || t.len > 3 || (t.len > 1 && t.p[0] == '0'))
		return false;
	for (size_t i = 0; i < t.len; i++) {
		if (t.p[i] < '0' || t.p[i] > '9')
			return false;
		n = n * 10 + (unsigned)(t.p[i] - '0');
	}
	if (n > max)
		return false;
	*ret_bits = (uint8_t)n;
	return true;
}

static bool parse_network(struct net_cidr *c, struct slice text)
{
	const char *slash = memchr(text.p, '/', text.len);
	struct slice ip = {text.p, slash ? (size_t)(slash - text.p) : text.len};
	unsigned width, i;

	if (!net_addr_parse(&c->addr, ip))
		return false;
	/* An IPv4-mapped network is kept as IPv4, but its length was meant for 128 bits. */
	if (c->addr.family == NET_V4 && slash && memchr(ip.p, ':', ip.len))
		return false;
	width = c->addr.family == NET_V4 ? 32 : 128;
	c->bits = (uint8_t)width;
	if (slash && !parse_bits((struct slice){slash + 1, text.len - ip.len - 1}, width, &c->bits))
		return false;
	/* Bits below the network's are a slip of the pen: nobody could say what was meant. */
	for (i = c->bits; i < width; i++)
		if (c->addr.bytes[i / 8] & (0x80u >> (i % 8)))
			return false;
	return true;
}

bool net_cidr_parse(struct net_cidrs *list, struct slice text)
{
	struct net_cidr c = {0}, *item;

	if (slice_eq(text, SLICE("*"))) {
		list->any = true;
		return true;
	}
	if (slice_eq(text, SLICE("unix"))) {
		list->unix_peers = true;
		return true;
	}
	if (text.len == 0 || !parse_network(&c, text))
		return false;
	item = realloc(list->item, (list->n + 1) * sizeof(*item));
	if (!item)
		return false;
	list->item = item;
	item[list->n++] = c;
	return true;
}

void net_cidrs_fini(struct net_cidrs *list)
{
	free(list->item);
	*list = (struct net_cidrs){0};
}

bool net_cidrs_match(const struct net_cidrs *list, const struct net_addr *a)
{
	if (list->any)
		return true;
	if (a->family == NET_UNIX)
		return list->unix_peers;
	for (size_t i = 0; i < list->n; i++)
		if (list->item[i].addr.family == a->family &&
		    prefix_eq(list->item[i].addr.bytes, a->bytes, list->item[i].bits))
			return true;
	return false;
}
