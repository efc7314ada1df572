/* SPDX-License-Identifier: MIT */
/* Who the client is, behind proxies. */
#ifndef SERVE_CLIENT_H
#define SERVE_CLIENT_H

#include "base/net.h"
#include "http/http.h"

/*
 * *client is the peer of the connection when called. If `trusted` has it, the addresses that
 * X-Forwarded-For (else Forwarded, RFC 7239) lists are walked from the right, and the first that is
 * not trusted becomes the client; what cannot be read ends the walk. Ports are left out.
 */
void client_behind_proxies(struct net_addr *client, const struct http_request *head,
			   const struct net_cidrs *trusted);

#endif
