/* SPDX-License-Identifier: MIT */
/*
 * Invalidations: numbered, in a ring of cells. An object knows up to which number nothing touches
 * it (its birth, when it was put); who finds it looks at those that came after that. So an
 * invalidation costs the same whatever the cache holds, is in effect at once, and holds for what is
 * being computed, too: that is put with the birth it had before it was computed. The sweep looks at
 * all objects, so that nothing has to leave since its cells have been used again.
 *
 * A cell: word {n, owner, PENDING}, by compare-and-swap; then what it says; then word {n, owner,
 * DONE}. `bans` follows the newest word, by whoever comes next if need be. Who dies at a cell
 * leaves PENDING, which recovery makes VOID. Objects are not taken for looked at beyond a pending
 * one.
 *
 * Who is stopped at a cell may go on when the ring has gone around, and the cell is another one's,
 * and complete. So each part of what it says has the number of its invalidation, and is changed by
 * compare-and-swap from what it was while the cell was still one's own: what was written for a
 * newer one stays.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/check.h"
#include "shm/cache_priv.h"

#define N_AT 20
#define N_MAX (UINT64_MAX >> N_AT)
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
	for (;;) {
		uint64_t n = atomic_load(&c->head->bans) + 1;
		struct cache_ban *b = cell(c, n);
		uint64_t w = atomic_load(&b->word);

		if (word_n(w) == (n & N_MAX)) {
			(void)cache_swap(&c->head->bans, n - 1, n);
			continue;
		}
		/* A larger number: somebody was faster, and so `bans` is another one by now; if not
		 * it has been scribbled on. */
		if (word_n(w) > n && atomic_load(&c->head->bans) != n - 1)
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
		uint64_t was = atomic_load(&c->head->settled), n = was + 1;
		uint64_t newest = atomic_load(&c->head->bans);
		uint64_t w = atomic_load(&cell(c, n)->word);

		if (was >= newest)
			return;
		if (newest - was > CACHE_BANS) /* their cells are those of others */
			n = newest - CACHE_BANS;
		else if (word_n(w) < n || (word_n(w) == n && word_state(w) == CACHE_BAN_PENDING))
			return;
		(void)cache_swap(&c->head->settled, was, n);
	}
}

/* false: it was held up for so long that the ring went around, and the cell is another's. */
static bool write_part(struct cache_ban *b, uint64_t mine, size_t i, uint32_t bytes)
{
	uint64_t to = word_n(mine) << 32 | bytes, was;

	do {
		was = atomic_load(&b->part[i]);
		/* After that: if the cell is still ours, what was there is of an older number. */
		if (atomic_load(&b->word) != mine)
			return false;
	} while (!cache_swap(&b->part[i], was, to));
	return true;
}

static bool write_cell(const struct cache *c, uint32_t slot, uint64_t n,
		       const struct cache_said *said)
{
	struct cache_ban *b = cell(c, n);
	uint64_t mine = ban_word(n, slot, CACHE_BAN_PENDING);
	size_t parts = (offsetof(struct cache_said, text) + said->len + 3u) / 4;

	for (size_t i = 0; i < parts; i++) {
		uint32_t bytes;

		memcpy(&bytes, (const char *)said + 4 * i, 4);
		if (!write_part(b, mine, i, bytes))
			return false;
	}
	return cache_swap(&b->word, mine, ban_word(n, slot, CACHE_BAN_DONE));
}

static void ban(const struct cache *c, uint32_t slot, uint32_t what, uint64_t hash,
		struct slice text)
{
	struct cache_said said = {
		.what = (uint16_t)what,
		.len = (uint16_t)text.len,
		.hash = {(uint32_t)hash, (uint32_t)(hash >> 32)},
	};

	memcpy(said.text, text.p, text.len);
	while (!write_cell(c, slot, claim(c, slot), &said))
		continue;
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

/* A copy, of which nothing is known until the word was looked at again. */
static void read_cell(const struct cache_ban *b, struct cache_said *ret)
{
	size_t parts = offsetof(struct cache_said, text) / 4;

	for (size_t i = 0; i < parts; i++) {
		uint32_t bytes = (uint32_t)shm_get(&b->part[i]);

		memcpy((char *)ret + 4 * i, &bytes, 4);
		if (i == 0)
			parts += (ret->len <= sizeof(ret->text) ? ret->len + 3u : 0) / 4;
	}
	ret->len = ret->len <= sizeof(ret->text) ? ret->len : 0;
}

static uint64_t hash_of(const struct cache_said *b)
{
	return (uint64_t)b->hash[1] << 32 | b->hash[0];
}

static struct slice text_of(const struct cache_said *b)
{
	return (struct slice){b->text, b->len};
}

static bool same_text(struct slice a, struct slice b)
{
	return a.len == b.len && memcmp(a.p, b.p, a.len) == 0;
}

static bool touches_tag(const struct cache_said *b, struct slice tags)
{
	size_t at = 0;

	while (at < tags.len) {
		struct slice tag = {tags.p + at + 1, (unsigned char)tags.p[at]};

		if (tag.len > tags.len - at - 1)
			return true; /* scribbled on */
		if (b->what == SHM_CACHE_TAG ? same_text(text_of(b), tag)
					     : shm_cache_glob(text_of(b), tag))
			return true;
		at += 1 + tag.len;
	}
	return false;
}

static bool touches(const struct cache_said *b, const struct cache_object *o,
		    const struct cache_view *v)
{
	switch (b->what) {
	case SHM_CACHE_TAG:
		return touches_tag(b, v->tags);
	case SHM_CACHE_PATTERN:
		return shm_cache_glob(text_of(b), v->key) || touches_tag(b, v->tags);
	case CACHE_BAN_KEY:
		return hash_of(b) == shm_get(&o->hash);
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
		struct cache_said said;

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
