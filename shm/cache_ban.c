/* SPDX-License-Identifier: MIT */
/*
 * Invalidations: numbered, in a ring of cells. An object knows up to which number nothing touches
 * it (its birth, when it was put); who finds it looks at those that came after that. So an
 * invalidation costs the same whatever the cache holds, is in effect at once, and holds for what is
 * being computed, too: that is put with the birth it had before it was computed. The sweep looks at
 * all objects, so that nothing has to leave since its cells have been used again.
 *
 * A cell: word {n, owner, PENDING}, by compare-and-swap; then its text; then word {n, owner, DONE}.
 * `bans` follows the newest word, by whoever comes next if need be. Who dies at a cell leaves
 * PENDING, which recovery makes VOID. Objects are not taken for looked at beyond a pending one.
 */
#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "shm/cache_priv.h"

#define TRIES 64
#define N_AT 20
#define OWNER_MASK 0x3ffffu

static uint64_t ban_word(uint64_t n, uint32_t owner, enum cache_ban_state st)
{
	return n << N_AT | (uint64_t)owner << 2 | (uint64_t)st;
}

static uint64_t word_n(uint64_t w) { return w >> N_AT; }
static uint32_t word_owner(uint64_t w) { return (uint32_t)(w >> 2) & OWNER_MASK; }
static enum cache_ban_state word_state(uint64_t w) { return (enum cache_ban_state)(w & 3); }

static struct cache_ban *cell(const struct cache *c, uint64_t n)
{
	return &c->bans[n % CACHE_BANS];
}

/* ---- making one ---- */

static uint64_t claim(const struct cache *c, uint32_t slot)
{
	for (int tries = 0;; tries++) {
		uint64_t n = atomic_load(&c->head->bans) + 1;
		struct cache_ban *b = cell(c, n);
		uint64_t w = atomic_load(&b->word);

		if (word_n(w) == n && tries < TRIES) {
			(void)cache_swap(&c->head->bans, n - 1, n);
			continue;
		}
		/* A larger number is that of somebody who was faster, or has been scribbled on. */
		if (word_n(w) > n && tries < TRIES)
			continue;
		if (cache_swap(&b->word, w, ban_word(n, slot, CACHE_BAN_PENDING))) {
			(void)cache_swap(&c->head->bans, n - 1, n);
			return n;
		}
	}
}

/* All that are complete without a gap. */
static void settle(const struct cache *c)
{
	for (;;) {
		uint64_t n = atomic_load(&c->head->settled) + 1;
		uint64_t w = atomic_load(&cell(c, n)->word);

		if (n > atomic_load(&c->head->bans) || word_n(w) < n ||
		    (word_n(w) == n && word_state(w) == CACHE_BAN_PENDING))
			return;
		(void)cache_swap(&c->head->settled, n - 1, n);
	}
}

static void ban(const struct cache *c, uint32_t slot, uint32_t what, uint64_t hash,
		struct slice text)
{
	uint64_t n;

	do {
		struct cache_ban *b;

		n = claim(c, slot);
		b = cell(c, n);
		shm_set(&b->about, (uint64_t)what << 32 | text.len);
		shm_set(&b->hash, hash);
		for (size_t i = 0; i < text.len; i += 8) {
			uint64_t word = 0;

			memcpy(&word, text.p + i, text.len - i < 8 ? text.len - i : 8);
			shm_set(&b->text[i / 8], word);
		}
		/* Taken over when it was held up for so many that the ring went around: again. */
	} while (!cache_swap(&cell(c, n)->word, ban_word(n, slot, CACHE_BAN_PENDING),
			     ban_word(n, slot, CACHE_BAN_DONE)));
	settle(c);
}

void cache_ban_key(const struct cache *c, uint32_t slot, uint64_t hash)
{
	ban(c, slot, CACHE_BAN_KEY, hash, (struct slice){"", 0});
}

int shm_cache_invalidate(struct shm *s, uint32_t slot, enum shm_cache_what what, struct slice text)
{
	struct cache c = cache_of(s);

	CHECK(slot < s->geo.slots);
	if (what == SHM_CACHE_ALL)
		text.len = 0;
	else if (text.len == 0 || text.len > SHM_CACHE_PATTERN_MAX ||
		 (what != SHM_CACHE_TAG && what != SHM_CACHE_PATTERN))
		return -EINVAL;
	if (c.nsegs > 0)
		ban(&c, slot, what, 0, text);
	return 0;
}

uint64_t shm_cache_birth(const struct shm *s)
{
	struct cache c = cache_of(s);

	if (c.nsegs == 0)
		return 0;
	settle(&c); /* who has completed the last one may not have come to it */
	return atomic_load(&c.head->settled);
}

bool shm_cache_sweep_due(const struct shm *s)
{
	struct cache c = cache_of(s);

	return c.nsegs > 0 &&
	       atomic_load(&c.head->bans) - shm_get(&c.head->swept) > CACHE_BANS / 4;
}

/* ---- what it touches ---- */

static bool glob(const char *p, const char *pend, const char *t, const char *tend)
{
	const char *star = NULL, *from = NULL;

	while (t < tend) {
		if (p < pend && *p == '*') {
			star = ++p;
			from = t;
		} else if (p < pend && (*p == '?' || *p == *t)) {
			p++;
			t++;
		} else if (star) {
			p = star;
			t = ++from;
		} else {
			return false;
		}
	}
	while (p < pend && *p == '*')
		p++;
	return p == pend;
}

bool shm_cache_glob(struct slice pattern, struct slice text)
{
	const char *p = pattern.p, *end = p + pattern.len;

	if (glob(p, end, text.p, text.p + text.len))
		return true;
	return pattern.len > 2 && end[-2] == ':' && end[-1] == '*' &&
	       glob(p, end - 2, text.p, text.p + text.len);
}

/* A copy of what a cell says, of which nothing is known until the word was looked at again. */
struct said { uint32_t what; uint64_t hash; struct slice text; char buf[SHM_CACHE_PATTERN_MAX]; };

static void read_cell(const struct cache_ban *b, struct said *ret)
{
	uint64_t about = shm_get(&b->about);
	size_t len = (uint32_t)about <= SHM_CACHE_PATTERN_MAX ? (uint32_t)about : 0;

	ret->what = (uint32_t)(about >> 32);
	ret->hash = shm_get(&b->hash);
	for (size_t i = 0; i < len; i += 8) {
		uint64_t word = shm_get(&b->text[i / 8]);

		memcpy(ret->buf + i, &word, 8);
	}
	ret->text = (struct slice){ret->buf, len};
}

static bool same_text(struct slice a, struct slice b)
{
	return a.len == b.len && memcmp(a.p, b.p, a.len) == 0;
}

static bool touches_tag(const struct said *b, struct slice tags)
{
	size_t at = 0;

	while (at < tags.len) {
		struct slice tag = {tags.p + at + 1, (unsigned char)tags.p[at]};

		if (tag.len > tags.len - at - 1)
			return true; /* scribbled on */
		if (b->what == SHM_CACHE_TAG ? same_text(b->text, tag)
					     : shm_cache_glob(b->text, tag))
			return true;
		at += 1 + tag.len;
	}
	return false;
}

static bool touches(const struct said *b, const struct cache_object *o, const struct cache_view *v)
{
	switch (b->what) {
	case SHM_CACHE_TAG:
		return touches_tag(b, v->tags);
	case SHM_CACHE_PATTERN:
		return shm_cache_glob(b->text, v->key) || touches_tag(b, v->tags);
	case CACHE_BAN_KEY:
		return b->hash == shm_get(&o->hash);
	default:
		return true;
	}
}

bool cache_is_banned(const struct cache *c, struct cache_object *o, const struct cache_view *v)
{
	uint64_t seq = shm_get(&o->seq), newest = atomic_load(&c->head->bans), upto = seq;
	bool gap = false;

	if (seq == newest)
		return false;
	if (seq > newest || newest - seq >= CACHE_BANS)
		return true; /* nobody knows any more what came after it */
	for (uint64_t n = seq + 1; n <= newest; n++) {
		const struct cache_ban *b = cell(c, n);
		uint64_t w = atomic_load(&b->word);
		struct said said;

		if (word_n(w) != n)
			return true; /* the ring has gone around meanwhile */
		if (word_state(w) == CACHE_BAN_DONE) {
			read_cell(b, &said);
			atomic_thread_fence(memory_order_acquire);
			if (atomic_load(&b->word) != w || touches(&said, o, v))
				return true;
		}
		gap |= word_state(w) == CACHE_BAN_PENDING;
		if (!gap)
			upto = n;
	}
	if (upto != seq)
		shm_set(&o->seq, upto);
	return false;
}

void cache_ban_recover(const struct cache *c, uint32_t slot)
{
	for (uint32_t i = 0; i < CACHE_BANS; i++) {
		uint64_t w = atomic_load(&c->bans[i].word);

		if (word_state(w) == CACHE_BAN_PENDING && word_owner(w) == slot)
			(void)cache_swap(&c->bans[i].word, w,
					 ban_word(word_n(w), slot, CACHE_BAN_VOID));
	}
	settle(c);
}
