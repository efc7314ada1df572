/* SPDX-License-Identifier: MIT */
/* Addresses of clients and listeners, and lists of networks. */
#ifndef BASE_NET_H
#define BASE_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/slice.h"

enum net_family { NET_NONE, NET_V4, NET_V6, NET_UNIX };

/* 20 bytes; IPv4-mapped IPv6 addresses are kept as NET_V4. */
struct net_addr {
	uint8_t family;
	uint8_t bytes[16];   /* network order; 4 of them for NET_V4 */
	uint16_t port;       /* host order */
};

#define NET_TEXT_MAX 56 /* "[v6]:port" with its NUL */

void net_addr_from_sockaddr(struct net_addr *a, const struct sockaddr *sa, socklen_t len);
socklen_t net_addr_to_sockaddr(const struct net_addr *a, struct sockaddr_storage *ss);
/* Parses an IPv4 or IPv6 address without port (brackets allowed). false if it is none. */
bool net_addr_parse(struct net_addr *a, struct slice text);
/* "127.0.0.1", "::1", "unix" (without the port); the length. */
size_t net_addr_format(const struct net_addr *a, char out[NET_TEXT_MAX]);
/* "127.0.0.1:80", "[::1]:80", "unix". */
size_t net_addr_format_port(const struct net_addr *a, char out[NET_TEXT_MAX]);
bool net_is_loopback(const struct net_addr *a); /* 127/8, ::1; never a unix socket */

struct net_cidr {
	struct net_addr addr;
	uint8_t bits;
};
struct net_cidrs {
	size_t n;
	bool any;               /* "*" */
	bool unix_peers;        /* "unix" is in the list */
	struct net_cidr *item;  /* heap */
};
/* "10.0.0.0/8", "::1", "*", "unix". false if it is none; host bits that are set are an error. */
bool net_cidr_parse(struct net_cidrs *list, struct slice text);
void net_cidrs_fini(struct net_cidrs *list);
bool net_cidrs_match(const struct net_cidrs *list, const struct net_addr *a);

#endif
