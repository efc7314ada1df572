/* SPDX-License-Identifier: MIT */
/* The cache: what /status says of it, and what operators take out of it. */
#include <stdlib.h>

#include "base/log.h"
#include "conf/template.h"
#include "http/caching.h"
#include "shm/cache.h"
#include "status/status_priv.h"

static const char *const words[SHM_CACHE_COUNTS] = {
#define SHM_CACHE_COUNT(sym, word, help) [SHM_CACHE_##sym] = word,
#include "shm/cache_counts.def"
#undef SHM_CACHE_COUNT
};

static const char *const state_words[] = {
#define SHM_CACHE_STATE(sym, word) word,
#include "shm/cache_states.def"
#undef SHM_CACHE_STATE
};
#define STATES (sizeof(state_words) / sizeof(state_words[0]))
_Static_assert(STATES <= SHM_CACHE_STATES_MAX, "each has its count");

static uint64_t since(uint64_t now, uint64_t then)
{
	return now > then ? now - then : 0;
}

static void put_ratio(struct doc *d, json_t *o, uint64_t hits, uint64_t misses)
{
	double all = (double)hits + (double)misses;

	doc_real(d, o, "hit_ratio", all > 0 ? (double)hits / all : 0);
}

/* Minute by minute, the newest first, which is not over: what has come between two samples. */
static json_t *history_json(struct doc *d, const struct status_view *v)
{
	json_t *list = json_array(), *o;
	struct shm_cache_sample to, from;

	shm_cache_sample_now(v->shm, v->now_ns, &to);
	for (uint32_t i = 0; shm_cache_sample_read(v->shm, i, &from); i++, to = from) {
		o = json_object();
		doc_real(d, o, "age_seconds", (double)since(v->now_ns, from.at_ns) / 1e9);
		doc_int(d, o, "hits", since(to.hits, from.hits));
		doc_int(d, o, "misses", since(to.misses, from.misses));
		put_ratio(d, o, since(to.hits, from.hits), since(to.misses, from.misses));
		doc_int(d, o, "puts", since(to.puts, from.puts));
		doc_int(d, o, "evicted", since(to.evicted, from.evicted));
		doc_int(d, o, "expired", since(to.expired, from.expired));
		doc_int(d, o, "items", to.items);
		doc_int(d, o, "live_bytes", to.live_bytes);
		doc_add(d, list, o);
	}
	return list;
}

json_t *status_cache_json(struct doc *d, const struct status_view *v)
{
	static const char *const policies[] = {"lru", "lfu", "fifo"};
	json_t *o = json_object(), *counts, *states;
	struct shm_cache_view c = {0};

	if (shm_cache_object_max(&v->shm->geo) == 0)
		return o;
	shm_cache_read(v->shm, &c);
	counts = json_object();
	doc_text(d, o, "policy", policies[c.policy % 3]);
	doc_int(d, o, "memory_bytes", c.memory);
	doc_int(d, o, "object_max_bytes", c.object_max);
	doc_int(d, o, "items", c.items);
	doc_int(d, o, "items_max", c.items_max);
	doc_int(d, o, "entries", c.entries);
	doc_int(d, o, "segments", c.segments);
	doc_int(d, o, "segment_bytes", c.segment_bytes);
	doc_int(d, o, "used_bytes", c.used_bytes);
	doc_int(d, o, "live_bytes", c.live_bytes);
	doc_int(d, o, "dead_bytes", since(c.used_bytes, c.live_bytes));
	put_ratio(d, o, c.count[SHM_CACHE_HITS] + c.count[SHM_CACHE_STALES],
		  c.count[SHM_CACHE_MISSES]);
	states = json_object();
	for (size_t i = 0; i < STATES; i++)
		doc_int(d, states, state_words[i], c.by_state[i]);
	doc_put(d, o, "segments_by_state", states);
	doc_int(d, o, "pinned", c.pinned);
	doc_int(d, o, "leases", c.leases);
	for (int i = 0; i < SHM_CACHE_COUNTS; i++)
		doc_int(d, counts, words[i], c.count[i]);
	doc_put(d, o, "counts", counts);
	doc_put(d, o, "history", history_json(d, v));
	return o;
}

/* ---- taking out ---- */

void status_cache_drop(struct shm *s, uint32_t slot, struct slice text)
{
	bool wild = memchr(text.p, '*', text.len) || memchr(text.p, '?', text.len);
	bool path = memchr(text.p, '/', text.len) != NULL;
	char more[SHM_CACHE_PATTERN_MAX];
	size_t n = text.len;

	(void)shm_cache_invalidate(s, slot, wild || path ? SHM_CACHE_PATTERN : SHM_CACHE_TAG, text);
	if (!path || n > sizeof(more) || text.p[n - 1] == '*')
		return;
	/* A key has more lines than its first, one for those that accept gzip. Where there is no
	 * room to say that, rather too much is dropped. */
	memcpy(more, text.p, n);
	if (n + 2 <= sizeof(more))
		more[n++] = '\n';
	else if (n == sizeof(more))
		n--;
	more[n++] = '*';
	(void)shm_cache_invalidate(s, slot, SHM_CACHE_PATTERN, (struct slice){more, n});
}

/* The answer for clients that accept gzip, and that for the others. */
static bool delete_key(const struct heritage *h, struct slice key)
{
	char room[SHM_CACHE_KEY_MAX];
	struct http_out o = {.p = room, .cap = sizeof(room)};
	bool was;

	was = shm_cache_delete(h->shm, h->slot, shm_cache_hash(h->shm, key), key);
	http_put_slice(&o, key);
	http_put_slice(&o, SLICE(HTTP_KEY_GZIP));
	key = (struct slice){o.p, o.len};
	if (o.over)
		return was;
	return shm_cache_delete(h->shm, h->slot, shm_cache_hash(h->shm, key), key) || was;
}

static int say_done(struct strbuf *out, const char *what, size_t n)
{
	struct doc d = {false};
	json_t *o = json_object();

	doc_int(&d, o, what, n);
	return doc_end(&d, o, out) ? 200 : 503;
}

static bool has_cache(const struct heritage *h, char *why, size_t cap)
{
	if (shm_cache_object_max(&h->shm->geo) > 0)
		return true;
	snprintf(why, cap, "There is no cache: CACHE_MEMORY is 0.");
	return false;
}

#define PURGE_HOW "What is to go? One of {\"key\": \"host/path?query\"}, {\"tag\": ...}, " \
	"{\"pattern\": ...}, {\"all\": true}."

int status_purge_cache(const struct heritage *h, struct slice name, const json_t *body,
		       struct strbuf *out, char *why, size_t cap)
{
	const char *member = json_object_iter_key(json_object_iter((json_t *)(uintptr_t)body));
	const json_t *v = member ? json_object_get(body, member) : NULL;
	struct slice text = {json_string_value(v), json_string_length(v)};
	size_t max = SHM_CACHE_PATTERN_MAX;
	int rc = 0;

	(void)name;
	if (!has_cache(h, why, cap))
		return 404;
	snprintf(why, cap, "%s", PURGE_HOW);
	if (json_object_size(body) != 1)
		return 400;
	if (strcmp(member, "all") == 0) {
		if (!json_is_true(v))
			return 400;
		rc = shm_cache_invalidate(h->shm, h->slot, SHM_CACHE_ALL, SLICE(""));
		log_info("Cache: all of it was purged");
		return rc == 0 ? say_done(out, "purged", 1) : 503;
	}
	if (strcmp(member, "key") == 0)
		max = SHM_CACHE_KEY_MAX;
	if (text.len == 0 || text.len > max) {
		if (json_is_string(v))
			snprintf(why, cap, "\"%.40s\" has 1 to %zu bytes.", member, max);
		return 400;
	}
	if (strcmp(member, "key") == 0)
		return say_done(out, "purged", delete_key(h, text) ? 1 : 0);
	if (strcmp(member, "tag") == 0)
		(void)shm_cache_invalidate(h->shm, h->slot, SHM_CACHE_TAG, text);
	else if (strcmp(member, "pattern") == 0)
		status_cache_drop(h->shm, h->slot, text);
	else
		return 400;
	log_info("Cache: what has the %s %.*s was purged", member, (int)text.len, text.p);
	return say_done(out, "purged", 1);
}

/* ---- a rule of the configuration, by hand ---- */

struct by_hand {
	const json_t *values;
	char lacks[80];
};

/* "id", "query.x", "header.X": as the template has it. */
static bool put_value(void *arg, const struct conf_part *part, struct http_out *o)
{
	struct by_hand *b = arg;
	const char *kind = part->kind == CONF_PART_QUERY ? "query." :
			   part->kind == CONF_PART_HEADER ? "header." : "";
	char name[300];
	const json_t *v;

	snprintf(name, sizeof(name), "%s%.*s", kind, (int)part->text.len, part->text.p);
	v = json_object_get(b->values, name);
	if (!json_is_string(v)) {
		snprintf(b->lacks, sizeof(b->lacks), "%.79s", name);
		return false;
	}
	http_put(o, json_string_value(v), json_string_length(v));
	return true;
}

static const struct conf_invalidation *find_rule(const struct heritage *h, const char *name)
{
	const struct conf_cache *c = &h->conf->policy->cache;

	for (size_t i = 0; name && i < c->ninvalidations; i++)
		if (strcmp(c->invalidation[i].name, name) == 0)
			return &c->invalidation[i];
	return NULL;
}

bool status_cache_widen(struct http_out *o)
{
	if (o->len < 2 || memcmp(o->p + o->len - 2, ":*", 2) != 0)
		http_put_slice(o, SLICE(":*"));
	return !o->over;
}

/* First all are written, then all are dropped: half of a rule helps nobody. */
static bool drop_by_hand(const struct heritage *h, const struct conf_invalidation *rule,
			 struct by_hand *b, bool act)
{
	for (size_t i = 0; i < rule->npatterns + rule->ntags; i++) {
		bool tag = i >= rule->npatterns;
		const struct conf_template *t = tag ? &rule->tag[i - rule->npatterns]
						    : &rule->pattern[i];
		char room[SHM_CACHE_PATTERN_MAX];
		struct http_out o = {.p = room, .cap = sizeof(room)};

		if (conf_template_put(t, !tag || rule->cascade, put_value, b, &o) > 0)
			return false;
		if (rule->cascade)
			(void)status_cache_widen(&o);
		if (o.over || o.len == 0) {
			snprintf(b->lacks, sizeof(b->lacks), "a shorter value");
			return false;
		}
		if (act && tag && !rule->cascade)
			(void)shm_cache_invalidate(h->shm, h->slot, SHM_CACHE_TAG,
						   (struct slice){room, o.len});
		else if (act)
			status_cache_drop(h->shm, h->slot, (struct slice){room, o.len});
	}
	return true;
}

int status_invalidate_cache(const struct heritage *h, struct slice name, const json_t *body,
			    struct strbuf *out, char *why, size_t cap)
{
	const json_t *values = json_object_get(body, "values");
	const char *rule_name = json_string_value(json_object_get(body, "name"));
	const struct conf_invalidation *rule = find_rule(h, rule_name);
	struct by_hand b = {.values = values};

	(void)name;
	if (!has_cache(h, why, cap))
		return 404;
	if (!rule_name || (values && !json_is_object(values)) ||
	    json_object_size(body) != 1 + (values != NULL)) {
		snprintf(why, cap, "What is to be done? {\"name\": \"a rule of cache.invalidate\", "
			 "\"values\": {\"id\": \"7\"}}.");
		return 400;
	}
	if (!rule) {
		snprintf(why, cap, "There is no rule \"%.60s\" in cache.invalidate.", rule_name);
		return 404;
	}
	if (!drop_by_hand(h, rule, &b, false)) {
		snprintf(why, cap, "The rule needs %s%s, a text, in \"values\".",
			 strchr(b.lacks, ' ') ? "" : "the value ", b.lacks);
		return 400;
	}
	(void)drop_by_hand(h, rule, &b, true);
	log_info("Cache: the rule %s was applied", rule->name);
	return say_done(out, "invalidated", rule->npatterns + rule->ntags);
}
