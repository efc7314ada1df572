/* SPDX-License-Identifier: MIT */
/*
 * Fill leases: of those who miss a key, one computes it. A lease is a word in one of four places of
 * the key: whose, since when, and a part of the hash. (Two keys with the same part share a lease:
 * who waits looks again anyhow.)
 *
 * No two leases of one key: a new one is first a claim, with which nobody waits or computes. Who
 * has claimed looks at all four places again, and gives way to a lease, and to a claim in a lower
 * place; a claim in a higher place gives way to it. Claims are compare-and-swaps, which have one
 * order: of two leases the later one's claimant would have seen the other. A claim that stands for
 * long is of a process that is dead or stopped, and is taken away; its owner finds that out, as no
 * two claims of a slot are the same word, even if two of its lanes claim one place at a time.
 *
 * Who waits says so in a bit of its slot, and then looks whether the lease is still there; who ends
 * a lease takes it away, and then looks at the bits: nobody is left asleep. One that is old may be
 * taken away by a claim, for another key perhaps, and with no lease after it: so its owner looks at
 * the bits in the end even if it is gone. Who is woken too early looks, and waits again. Recovery
 * takes the leases of the dead away, and the master then wakes everybody.
 */
#include "base/check.h"
#include "shm/cache_priv.h"
#include "shm/heritage.h"

#define TRIES 1024
#define SPINS 256

#define TAG_BITS 21
#define SLOT_BITS 17
#define TIME_BITS 25
#define TIME_SHIFT 26            /* ns to units of 67 ms */
#define HELD (1ULL << 63)

static uint64_t word_make(uint64_t hash, uint32_t slot, uint64_t since)
{
	return (hash >> 43) | (uint64_t)(slot + 1) << TAG_BITS |
	       (since & ((1u << TIME_BITS) - 1)) << (TAG_BITS + SLOT_BITS);
}

static uint64_t lease_make(uint64_t hash, uint32_t slot, uint64_t now_ns)
{
	return word_make(hash, slot, now_ns >> TIME_SHIFT) | HELD;
}

/* In the place of the time: which claim of the slot. */
static uint64_t claim_make(const struct cache *c, uint64_t hash, uint32_t slot)
{
	return word_make(hash, slot, atomic_fetch_add(&c->slots[slot].claims, 1));
}

static bool is_of(uint64_t w, uint64_t hash)
{
	return w != 0 && (w & ((1u << TAG_BITS) - 1)) == hash >> 43;
}

static uint32_t owner_of(uint64_t w)
{
	return (uint32_t)((w >> TAG_BITS & ((1u << SLOT_BITS) - 1)) - 1);
}

/* A lease that may pass to who asks. */
static bool is_old(uint64_t w, uint64_t patience_ns, uint64_t now_ns)
{
	uint64_t since = w >> (TAG_BITS + SLOT_BITS) & ((1u << TIME_BITS) - 1);
	uint64_t age = ((now_ns >> TIME_SHIFT) - since) & ((1u << TIME_BITS) - 1);

	/* One more, since both are rounded; a time that is ahead of ours is no age. */
	return (w & HELD) && age < 1u << (TIME_BITS - 1) && age > (patience_ns >> TIME_SHIFT) + 1;
}

static uint32_t place_of(const struct cache *c, uint64_t hash, uint32_t k)
{
	return (uint32_t)(((hash & UINT32_MAX) + k) % c->nleases);
}

static void pause_a_little(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#endif
}

/* Until the word is another one; in the end it is taken away. */
static void outwait(_Atomic uint64_t *word, uint64_t w)
{
	for (int i = 0; i < SPINS; i++) {
		if (atomic_load(word) != w)
			return;
		pause_a_little();
	}
	(void)cache_swap(word, w, 0);
}

/* Is there another one of the key before which place `mine` gives way? */
static bool gives_way(const struct cache *c, uint64_t hash, uint32_t mine)
{
	for (uint32_t k = 0; k < CACHE_LEASE_WAYS; k++) {
		_Atomic uint64_t *word = &c->leases[place_of(c, hash, k)];
		uint64_t w;

		while (k != mine && is_of(w = atomic_load(word), hash)) {
			if ((w & HELD) || k < mine)
				return true;
			outwait(word, w);
		}
	}
	return false;
}

static bool take(const struct cache *c, uint64_t hash, uint32_t k, uint64_t was, uint32_t slot,
		 uint64_t now_ns, struct shm_cache_fill *ret)
{
	uint64_t claim = claim_make(c, hash, slot);

	ret->index = place_of(c, hash, k);
	ret->word = lease_make(hash, slot, now_ns);
	if (!cache_swap(&c->leases[ret->index], was, claim))
		return false;
	if (gives_way(c, hash, k)) {
		(void)cache_swap(&c->leases[ret->index], claim, 0);
		return false;
	}
	return cache_swap(&c->leases[ret->index], claim, ret->word);
}

static bool wait_for(const struct cache *c, uint32_t slot, uint32_t i, uint64_t w)
{
	atomic_fetch_or(&c->lease_bits[(size_t)i * c->bit_words + slot / 64], 1ULL << slot % 64);
	return atomic_load(&c->leases[i]) == w;
}

enum shm_cache_lease shm_cache_fill_begin(struct shm *s, uint32_t slot, uint64_t hash,
					  uint64_t patience_ns, uint64_t now_ns,
					  struct shm_cache_fill *ret)
{
	struct cache c = cache_of(s);

	CHECK(slot < s->geo.slots);
	for (int tries = 0; c.nleases > 0 && tries < TRIES; tries++) {
		uint32_t room = CACHE_LEASE_WAYS, found = CACHE_LEASE_WAYS, i;
		uint64_t was = 0, w = 0;

		for (uint32_t k = 0; k < CACHE_LEASE_WAYS && found == CACHE_LEASE_WAYS; k++) {
			w = atomic_load(&c.leases[place_of(&c, hash, k)]);
			if (is_of(w, hash)) {
				found = k;
			} else if (room == CACHE_LEASE_WAYS &&
				   (w == 0 || is_old(w, patience_ns, now_ns))) {
				room = k;
				was = w;
			}
		}
		i = place_of(&c, hash, found);
		if (found == CACHE_LEASE_WAYS) {
			if (room == CACHE_LEASE_WAYS)
				break;
			if (take(&c, hash, room, was, slot, now_ns, ret)) {
				cache_count(&c, slot, SHM_CACHE_FILLS, 1);
				return SHM_CACHE_LEADER;
			}
		} else if (!(w & HELD)) {
			outwait(&c.leases[i], w);
		} else if (!is_old(w, patience_ns, now_ns)) {
			if (wait_for(&c, slot, i, w))
				return SHM_CACHE_FOLLOWER;
		} else {
			*ret = (struct shm_cache_fill){i, lease_make(hash, slot, now_ns)};
			if (cache_swap(&c.leases[i], w, ret->word)) {
				cache_count(&c, slot, SHM_CACHE_PROMOTED, 1);
				return SHM_CACHE_LEADER;
			}
		}
	}
	return SHM_CACHE_ALONE;
}

void shm_cache_fill_end(struct shm *s, const struct heritage *h, uint32_t slot,
			const struct shm_cache_fill *f)
{
	struct cache c = cache_of(s);

	CHECK(slot < s->geo.slots && f->index < c.nleases);
	(void)cache_swap(&c.leases[f->index], f->word, 0);
	for (uint32_t i = 0; i < c.bit_words; i++) {
		_Atomic uint64_t *word = &c.lease_bits[(size_t)f->index * c.bit_words + i];
		uint64_t bits = atomic_load(word) != 0 ? atomic_exchange(word, 0) : 0;

		for (; h && bits != 0; bits &= bits - 1) {
			uint32_t to = i * 64 + (uint32_t)__builtin_ctzll(bits);

			if (to < s->geo.slots)
				heritage_poke(h, to);
		}
	}
}

uint64_t cache_leases_held(const struct cache *c)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < c->nleases; i++)
		n += (atomic_load(&c->leases[i]) & HELD) != 0;
	return n;
}

void cache_lease_recover(const struct cache *c, uint32_t slot)
{
	for (uint32_t i = 0; i < c->nleases; i++) {
		uint64_t w = atomic_load(&c->leases[i]);

		if (w != 0 && owner_of(w) == slot)
			(void)cache_swap(&c->leases[i], w, 0);
	}
}
