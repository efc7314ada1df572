/* SPDX-License-Identifier: MIT */
/*
 * Rate limits of a request: by which key, all of them charged or none, and what the answer says of
 * them: RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers), 429 with Retry-After
 * and a problem document that names the policy.
 */
#include <stdio.h>
#include <string.h>

#include "admit/admit_priv.h"
#include "http/caching.h"
#include "http/http.h"

#define PARTS_MAX  (1 + 2 * CONF_RATE_KEYS_MAX)
#define LINES_MAX  1792u /* of fields that an answer gets; see REQUEST_FIELDS_MAX */
#define QUOTA_TYPE "https://iana.org/assignments/http-problem-types#quota-exceeded"

/* ---- keys ---- */

/* A host has a /64 of IPv6, and its address changes within it. */
static struct slice client_key(const struct net_addr *c)
{
	switch (c->family) {
	case NET_V4:
		return (struct slice){(const char *)c->bytes, 4};
	case NET_V6:
		return (struct slice){(const char *)c->bytes, 8};
	default: /* a peer on a unix socket: all of them are one */
		return SLICE("unix");
	}
}

static struct slice key_of(struct request *r, enum conf_key_kind kind, const char *name)
{
	const struct http_field *f;

	switch (kind) {
	case CONF_KEY_CLIENT:
		return client_key(request_client(r));
	case CONF_KEY_HEADER:
		f = http_find_field(request_head(r), slice_of(name), NULL);
		return f ? f->value : SLICE("");
	case CONF_KEY_COOKIE:
		return http_cookie(request_head(r), slice_of(name));
	case CONF_KEY_PATH: /* only of the cache */
	case CONF_KEY_QUERY:
	case CONF_KEY_ARGUMENT:
		break;
	}
	return SLICE("");
}

/* false: the request bears none of what the limit goes by, which does not count it then. */
static bool find_key(const struct admit *a, struct request *r, const struct conf_rate *c,
		     uint64_t *ret_hash)
{
	struct slice part[PARTS_MAX];
	char kinds[CONF_RATE_KEYS_MAX];
	size_t n = 0;

	*ret_hash = 0;
	if (c->nkeys == 0)
		return true;
	for (size_t i = 0; i < c->nkeys; i++) {
		struct slice s = key_of(r, c->key[i].kind, c->key[i].name);

		if (s.len == 0 && c->key_all)
			return false;
		if (s.len == 0)
			continue;
		/* Which of the keys it is belongs to it: a field can have any value. */
		kinds[i] = (char)i;
		part[n++] = (struct slice){&kinds[i], 1};
		part[n++] = s;
		if (!c->key_all)
			break;
	}
	if (n == 0)
		return false;
	*ret_hash = shm_rate_hash(a->shm, part, n);
	return true;
}

/* ---- what the answer says ---- */

static uint64_t up_to_seconds(uint64_t ns)
{
	return (ns + NS_PER_S - 1) / NS_PER_S;
}

static void put_item(struct http_out *o, const char *name, uint64_t a, uint64_t b,
		     const char *keys)
{
	struct slice n = slice_of(name);

	http_put_slice(o, SLICE("\""));
	http_put_slice(o, n);
	http_put_slice(o, SLICE("\";"));
	http_put(o, keys, 1);
	http_put_slice(o, SLICE("="));
	http_put_u64(o, a);
	http_put_slice(o, SLICE(";"));
	http_put(o, keys + 1, 1);
	http_put_slice(o, SLICE("="));
	http_put_u64(o, b);
}

static void put_lists(struct http_out *o, const struct conf_rate *const conf[],
		      const struct shm_rate_say say[], uint32_t n)
{
	for (int what = 0; what < 2; what++) {
		bool first = true;

		for (uint32_t i = 0; i < n; i++) {
			if (say[i].shadow)
				continue;
			if (first)
				http_put_slice(o, what == 0 ? SLICE("RateLimit-Policy: ")
							    : SLICE("RateLimit: "));
			else
				http_put_slice(o, SLICE(", "));
			first = false;
			if (what == 0)
				put_item(o, conf[i]->policy, say[i].quota,
					 up_to_seconds(say[i].window_ns), "qw");
			else
				put_item(o, conf[i]->policy, say[i].remaining,
					 up_to_seconds(say[i].reset_ns), "rt");
		}
		if (!first)
			http_put_slice(o, SLICE("\r\n"));
	}
}

static void put_legacy(struct http_out *o, const char *name, uint64_t v)
{
	http_put_slice(o, slice_of(name));
	http_put_slice(o, SLICE(": "));
	http_put_u64(o, v);
	http_put_slice(o, SLICE("\r\n"));
}

/* Of the limit that is nearest to its end. */
static void put_legacies(struct http_out *o, const struct shm_rate_say say[], uint32_t n)
{
	const struct shm_rate_say *least = NULL;

	for (uint32_t i = 0; i < n; i++)
		if (!say[i].shadow && (!least || say[i].remaining < least->remaining))
			least = &say[i];
	if (!least)
		return;
	put_legacy(o, "X-RateLimit-Limit", least->quota);
	put_legacy(o, "X-RateLimit-Remaining", least->remaining);
	put_legacy(o, "X-RateLimit-Reset", up_to_seconds(least->reset_ns));
}

static void say_fields(const struct admit *a, struct request *r,
		       const struct conf_rate *const conf[], const struct shm_rate_say say[],
		       uint32_t n)
{
	char lines[LINES_MAX];
	struct http_out o = {.p = lines, .cap = sizeof(lines)};

	put_lists(&o, conf, say, n);
	if (a->conf->s.rate_limit_legacy_headers)
		put_legacies(&o, say, n);
	if (!o.over && o.len > 0) /* else there are so many that none is told of */
		request_field_lines(r, (struct slice){lines, o.len});
}

static void refuse(struct request *r, const struct conf_rate *c, const struct shm_rate_say *say)
{
	const char *policies[] = {c->policy, NULL};
	uint64_t wait = up_to_seconds(say->retry_ns);
	char text[24], detail[200];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)(wait > 0 ? wait : 1));
	request_field(r, SLICE("Retry-After"), slice_of(text));
	snprintf(detail, sizeof(detail), "More requests than the limit \"%s\" allows%s.", c->policy,
		 say->full ? ", which has no room for more keys" : "");
	request_problem_about(r, 429, detail, QUOTA_TYPE, policies);
}

/* ---- charging ---- */

bool rate_pass(struct admit *a, struct request *r, const struct match *m,
	       struct shm_rate_use use[], uint32_t *ret_n)
{
	const struct conf_rate *conf[SHM_RATE_USES];
	struct shm_rate_say say[SHM_RATE_USES];
	uint64_t now_ns;
	int refused = -1;
	uint32_t n = 0;
	bool charged;

	for (uint32_t i = 0; i < m->nlimits; i++) {
		conf[n] = m->limit[i]->conf;
		use[n].rate = m->limit[i]->index;
		if (!find_key(a, r, conf[n], &use[n].hash))
			continue;
		if (conf[n]->nkeys > 0)
			shm_rate_prefetch(a->shm, use[n].rate, use[n].hash);
		n++;
	}
	*ret_n = n;
	if (n == 0)
		return true;
	/* Not the time of the turn: that may lie before another worker's charge, and the bucket
	 * would seem to hold less than it does. */
	now_ns = loop_clock(a->loop);
	charged = shm_rate_charge(a->shm, a->slot, true, use, n, now_ns, &refused);
	for (uint32_t i = 0; i < n; i++)
		shm_rate_say(a->shm, &use[i], now_ns, &say[i]);
	say_fields(a, r, conf, say, n);
	if (charged)
		return true;
	*ret_n = 0;
	refuse(r, conf[refused], &say[refused]);
	return false;
}
