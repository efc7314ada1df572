/* SPDX-License-Identifier: MIT */
/*
 * Who may see and who may change. Reading: clients in STATUS_ALLOW by their address, or anybody
 * with ADMIN_TOKEN. Changing: the token; or a client on this very machine that could not be a page
 * in a browser (a JSON body needs the consent of the server, a foreign page has its own Origin, a
 * name that was rebound to 127.0.0.1 is not a loopback Host).
 */
#include "conf/conf.h"
#include "status/status.h"

/* Takes as long for a wrong token as for the right one; only its length can be learnt. */
static bool same_secret(struct slice a, struct slice b)
{
	volatile unsigned char diff = a.len != b.len;

	for (size_t i = 0; i < a.len; i++)
		diff |= (unsigned char)(a.p[i] ^ (b.len > 0 ? b.p[i % b.len] : 0));
	return diff == 0;
}

static bool bears_token(const struct conf *conf, struct slice authorization)
{
	struct slice token = slice_of(conf->s.admin_token), given = authorization;

	if (token.len == 0 || given.len < 7 || strncasecmp(given.p, "bearer ", 7) != 0)
		return false;
	given.p += 7;
	given.len -= 7;
	while (given.len > 0 && *given.p == ' ') {
		given.p++;
		given.len--;
	}
	return same_secret(given, token);
}

/*
 * A request that came through a proxy is not local, whatever address it has: a proxy on this
 * machine connects from loopback, and may let through an X-Forwarded-For that a client made up.
 */
static bool in_status_allow(const struct conf *conf, const struct status_request *rq)
{
	const struct net_cidrs *allow = &conf->status_allow;
	bool local = net_is_loopback(rq->client) || rq->client->family == NET_UNIX;

	if (rq->forwarded && local && !allow->any)
		return false;
	return net_cidrs_match(allow, rq->client);
}

static bool is_loopback_host(struct slice host)
{
	struct net_addr a;
	size_t len = host.len;

	if (len > 0 && host.p[0] == '[') {
		const char *end = memchr(host.p, ']', len);

		if (!end)
			return false;
		len = (size_t)(end - host.p) + 1;
	} else if (len > 0) {
		const char *colon = memchr(host.p, ':', len);

		if (colon)
			len = (size_t)(colon - host.p);
	}
	host.len = len;
	if (slice_eq_nocase(host, SLICE("localhost")))
		return true;
	return net_addr_parse(&a, host) && net_is_loopback(&a);
}

/* "application/json", with parameters or without. */
static bool is_json(struct slice type)
{
	const char *semicolon = type.len > 0 ? memchr(type.p, ';', type.len) : NULL;

	if (semicolon)
		type.len = (size_t)(semicolon - type.p);
	while (type.len > 0 && (type.p[type.len - 1] == ' ' || type.p[type.len - 1] == '\t'))
		type.len--;
	return slice_eq_nocase(type, SLICE("application/json"));
}

/* No Origin (not a browser), or the very place that was asked. */
static bool is_own_origin(const struct status_request *rq)
{
	struct slice o = rq->origin;

	if (!o.p)
		return true;
	if (o.len < 7 || strncasecmp(o.p, "http://", 7) != 0)
		return false;
	return slice_eq_nocase((struct slice){o.p + 7, o.len - 7}, rq->host);
}

const char *status_denied(const struct conf *conf, const struct status_request *rq,
			  enum status_need need)
{
	if (bears_token(conf, rq->authorization))
		return NULL;
	if (need == STATUS_NEED_READ)
		return in_status_allow(conf, rq) ? NULL :
		       "Ask from an address in STATUS_ALLOW, or with the field "
		       "\"Authorization: Bearer\" and ADMIN_TOKEN.";
	if (rq->forwarded || !net_is_loopback(rq->peer) || !net_is_loopback(rq->client) ||
	    !in_status_allow(conf, rq))
		return "What changes the server needs the field \"Authorization: Bearer\" and "
		       "ADMIN_TOKEN, or a direct connection from a loopback address in STATUS_ALLOW.";
	if (!is_json(rq->content_type))
		return "Without ADMIN_TOKEN, what changes the server needs \"Content-Type: "
		       "application/json\".";
	if (!is_loopback_host(rq->host))
		return "Without ADMIN_TOKEN, what changes the server needs a loopback Host such as "
		       "localhost or 127.0.0.1.";
	if (!is_own_origin(rq))
		return "Without ADMIN_TOKEN, what changes the server must not come from a page of "
		       "another origin.";
	return NULL;
}
