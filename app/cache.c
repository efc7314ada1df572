/* SPDX-License-Identifier: MIT */
/*
 * Values of the module's own in the cache that answers are kept in. Their keys begin with what no
 * Host can begin with, so that neither is ever taken for the other.
 */
#include <errno.h>
#include <string.h>

#include "app/app_priv.h"
#include "base/clock.h"
#include "shm/cache.h"
#include "status/status.h"

#define TTL_MAX_MS 31536000000ULL

bool value_key_make(const struct capri_request *c, struct capri_str s, struct value_key *ret)
{
	struct http_out o = {.p = ret->room, .cap = sizeof(ret->room)};

	if (!s.p || s.len == 0)
		return false;
	http_put_slice(&o, SLICE(VALUE_PREFIX));
	http_put(&o, s.p, s.len);
	ret->text = (struct slice){o.p, o.len};
	if (o.over)
		return false;
	ret->hash = shm_cache_hash(c->app->h->shm, ret->text);
	return true;
}

void value_begin(struct capri_request *c)
{
	if (!c->has_birth)
		c->birth = shm_cache_birth(c->app->h->shm);
	c->has_birth = true;
}

struct capri_str value_get(struct capri_request *c, struct slice key, uint64_t hash)
{
	struct capri_str value = {NULL, 0};
	struct shm_cache_ref ref;
	struct shm *s = c->app->h->shm;
	uint32_t slot = c->app->h->slot;
	char *to = NULL;

	if (shm_cache_get(s, slot, hash, key, true, clock_mono_ns(), &ref) == SHM_CACHE_MISS)
		return value;
	if (ref.kind == CACHE_KIND_VALUE)
		to = capri_alloc(c, ref.value_len + 1);
	if (to) {
		for (uint32_t i = 0; i < ref.npieces; i++) {
			struct slice part = shm_cache_piece(s, &ref, i);

			memcpy(to + value.len, part.p, part.len);
			value.len += part.len;
		}
		to[value.len] = '\0';
		value.p = to;
	}
	shm_cache_unpin(s, slot, &ref);
	return value;
}

struct capri_str capri_cache_get(struct capri_request *c, struct capri_str key)
{
	struct value_key k;

	value_begin(c);
	if (!value_key_make(c, key, &k))
		return (struct capri_str){NULL, 0};
	return value_get(c, k.text, k.hash);
}

int capri_cache_put(struct capri_request *c, struct capri_str key, struct capri_str value,
		    uint64_t ttl_ms, const struct capri_str *tags, size_t ntags)
{
	uint64_t now = clock_mono_ns();
	struct slice piece = {value.p, value.len}, tag[SHM_CACHE_TAGS_MAX];
	bool computes;
	struct value_key k;
	uint64_t birth;
	int rc;

	if (!value_key_make(c, key, &k) || (!value.p && value.len > 0) ||
	    ntags > SHM_CACHE_TAGS_MAX || (ntags > 0 && !tags) || ttl_ms > TTL_MAX_MS)
		return CAPRI_E_INVALID;
	for (size_t i = 0; i < ntags; i++)
		tag[i] = (struct slice){tags[i].p, tags[i].len};
	value_begin(c);
	birth = c->birth;
	computes = compute_is_of(c, k.hash, &birth);
	const struct shm_cache_put p = {
		.hash = k.hash, .key = k.text, .tags = tag, .ntags = (uint32_t)ntags,
		.value = &piece, .nvalue = piece.len > 0, .kind = CACHE_KIND_VALUE, .birth = birth,
		.fresh_ns = now + ttl_ms * NS_PER_MS, .stale_ns = now + ttl_ms * NS_PER_MS,
	};

	rc = shm_cache_put(c->app->h->shm, c->app->h->slot, &p, now);
	if (computes)
		compute_put(c, rc == 0 && ttl_ms > 0);
	return rc == 0 ? CAPRI_OK : rc == -EINVAL ? CAPRI_E_INVALID : CAPRI_E_NOMEM;
}

bool capri_cache_delete(struct capri_request *c, struct capri_str key)
{
	struct value_key k;

	return value_key_make(c, key, &k) &&
	       shm_cache_delete(c->app->h->shm, c->app->h->slot, k.hash, k.text);
}

int capri_cache_invalidate(struct capri_request *c, struct capri_str text)
{
	if (!text.p || text.len == 0 || text.len > SHM_CACHE_PATTERN_MAX)
		return CAPRI_E_INVALID;
	status_cache_drop(c->app->h->shm, c->app->h->slot, (struct slice){text.p, text.len});
	return CAPRI_OK;
}
