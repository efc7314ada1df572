/* SPDX-License-Identifier: MIT */
#include "base/net.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

static const uint8_t v4_mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static void set_v6(struct net_addr *a, const uint8_t bytes[16])
{
	if (memcmp(bytes, v4_mapped, sizeof(v4_mapped)) == 0) {
		a->family = NET_V4;
		memcpy(a->bytes, bytes + 12, 4);
	} else {
		a->family = NET_V6;
		memcpy(a->bytes, bytes, 16);
	}
}

void net_addr_from_sockaddr(struct net_addr *a, const struct sockaddr *sa, socklen_t len)
{
	*a = (struct net_addr){0};
	if (len < sizeof(sa->sa_family))
		return;
	if (sa->sa_family == AF_INET && len >= sizeof(struct sockaddr_in)) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)sa;

		a->family = NET_V4;
		memcpy(a->bytes, &in->sin_addr, 4);
		a->port = ntohs(in->sin_port);
	} else if (sa->sa_family == AF_INET6 && len >= sizeof(struct sockaddr_in6)) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)sa;

		set_v6(a, in6->sin6_addr.s6_addr);
		a->port = ntohs(in6->sin6_port);
	} else if (sa->sa_family == AF_UNIX) {
		a->family = NET_UNIX;
	}
}

socklen_t net_addr_to_sockaddr(const struct net_addr *a, struct sockaddr_storage *ss)
{
	memset(ss, 0, sizeof(*ss));
	if (a->family == NET_V4) {
		struct sockaddr_in *in = (struct sockaddr_in *)(void *)ss;

		in->sin_family = AF_INET;
		in->sin_port = htons(a->port);
		memcpy(&in->sin_addr, a->bytes, 4);
		return sizeof(*in);
	}
	if (a->family == NET_V6) {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)ss;

		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(a->port);
		memcpy(&in6->sin6_addr, a->bytes, 16);
		return sizeof(*in6);
	}
	return 0;
}

bool net_addr_parse(struct net_addr *a, struct slice text)
{
	char buf[INET6_ADDRSTRLEN];
	uint8_t v6[16];

	if (text.len >= 2 && text.p[0] == '[' && text.p[text.len - 1] == ']') {
		text.p++;
		text.len -= 2;
		if (!memchr(text.p, ':', text.len))
			return false;
	}
	if (text.len == 0 || text.len >= sizeof(buf) || memchr(text.p, '\0', text.len))
		return false;
	memcpy(buf, text.p, text.len);
	buf[text.len] = '\0';
	*a = (struct net_addr){0};
	if (inet_pton(AF_INET, buf, a->bytes) == 1) {
		a->family = NET_V4;
		return true;
	}
	if (inet_pton(AF_INET6, buf, v6) != 1)
		return false;
	set_v6(a, v6);
	return true;
}

size_t net_addr_format(const struct net_addr *a, char out[NET_TEXT_MAX])
{
	switch ((enum net_family)a->family) {
	case NET_V4:
		return (size_t)snprintf(out, NET_TEXT_MAX, "%u.%u.%u.%u", a->bytes[0], a->bytes[1],
					a->bytes[2], a->bytes[3]);
	case NET_V6:
		if (inet_ntop(AF_INET6, a->bytes, out, NET_TEXT_MAX))
			return strlen(out);
		break;
	case NET_UNIX:
		memcpy(out, "unix", 5);
		return 4;
	case NET_NONE:
		break;
	}
	memcpy(out, "-", 2);
	return 1;
}

size_t net_addr_format_port(const struct net_addr *a, char out[NET_TEXT_MAX])
{
	char text[NET_TEXT_MAX];
	size_t n = net_addr_format(a, text);

	if (a->family == NET_V4)
		return (size_t)snprintf(out, NET_TEXT_MAX, "%.15s:%u", text, a->port);
	if (a->family == NET_V6)
		return (size_t)snprintf(out, NET_TEXT_MAX, "[%.45s]:%u", text, a->port);
	memcpy(out, text, n + 1);
	return n;
}

bool net_is_loopback(const struct net_addr *a)
{
	static const uint8_t one[16] = {[15] = 1};

	if (a->family == NET_V4)
		return a->bytes[0] == 127;
	return a->family == NET_V6 && memcmp(a->bytes, one, sizeof(one)) == 0;
}

/* The first `bits` bits of both are the same. */
static bool same_prefix(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;

	if (memcmp(a, b, whole) != 0)
		return false;
	return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

static bool parse_bits(struct slice s, unsigned max, unsigned *ret)
{
	unsigned n = 0;

	if (s.len == 0 || s.len > 3)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		n = n * 10 + (unsigned)(s.p[i] - '0');
	}
	*ret = n;
	return n <= max;
}

static bool host_bits_are_zero(const struct net_cidr *c, unsigned max)
{
	for (unsigned bit = c->bits; bit < max; bit++)
		if (c->addr.bytes[bit / 8] & (0x80 >> bit % 8))
			return false;
	return true;
}

bool net_cidr_parse(struct net_cidrs *list, struct slice text)
{
	const char *slash = memchr(text.p, '/', text.len);
	struct slice addr = {text.p, slash ? (size_t)(slash - text.p) : text.len};
	struct net_cidr c, *item;
	unsigned max, bits;

	if (slice_eq(text, SLICE("*"))) {
		list->any = true;
		return true;
	}
	if (slice_eq(text, SLICE("unix"))) {
		list->unix_peers = true;
		return true;
	}
	if (!net_addr_parse(&c.addr, addr))
		return false;
	max = bits = c.addr.family == NET_V4 ? 32 : 128;
	if (slash && !parse_bits((struct slice){slash + 1, text.len - addr.len - 1}, max, &bits))
		return false;
	c.bits = (uint8_t)bits;
	if (!host_bits_are_zero(&c, max))
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
	if (list->any || (list->unix_peers && a->family == NET_UNIX))
		return true;
	for (size_t i = 0; i < list->n; i++) {
		const struct net_cidr *c = &list->item[i];

		if (c->addr.family == a->family && same_prefix(c->addr.bytes, a->bytes, c->bits))
			return true;
	}
	return false;
}
