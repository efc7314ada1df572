/* SPDX-License-Identifier: MIT */
/*
 * SipHash-1-3 (Aumasson and Bernstein), 64 bits: a hash under a secret key, so that who does not
 * know the key cannot choose inputs that collide. Not for signatures. Bytes may come in pieces.
 * One round for each word of input, three at the end. All inline: keys are short, and the
 * four words
 * stay in registers.
 */
#ifndef BASE_SIPHASH_H
#define BASE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct siphash {
	uint64_t v[4];
	uint64_t tail;           /* bytes that are no word yet, from the lowest up */
	uint64_t len;            /* bytes so far */
};

static inline uint64_t siphash_rotl(uint64_t x, int n)
{
	return x << n | x >> (64 - n);
}

static inline void siphash_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = siphash_rotl(v[1], 13) ^ v[0];
	v[0] = siphash_rotl(v[0], 32);
	v[2] += v[3];
	v[3] = siphash_rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = siphash_rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = siphash_rotl(v[1], 17) ^ v[2];
	v[2] = siphash_rotl(v[2], 32);
}

static inline void siphash_word(uint64_t v[4], uint64_t m)
{
	v[3] ^= m;
	siphash_round(v);
	v[0] ^= m;
}

/* Words of input are little-endian whatever the machine is. */
static inline uint64_t siphash_load(const unsigned char *p)
{
	uint64_t m;

	memcpy(&m, p, sizeof(m));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	m = __builtin_bswap64(m);
#endif
	return m;
}

static inline void siphash_init(struct siphash *h, const uint64_t key[2])
{
	*h = (struct siphash){.v = {
		key[0] ^ 0x736f6d6570736575ULL, key[1] ^ 0x646f72616e646f6dULL,
		key[0] ^ 0x6c7967656e657261ULL, key[1] ^ 0x7465646279746573ULL,
	}};
}

/* Up to 7 bytes, as the lowest of a word. */
static inline uint64_t siphash_part(const unsigned char *p, size_t len)
{
	uint64_t m = 0;

	for (size_t i = 0; i < len; i++)
		m |= (uint64_t)p[i] << 8 * i;
	return m;
}

static inline void siphash_add(struct siphash *h, const void *p, size_t len)
{
	uint64_t tail = h->tail, m;
	unsigned have = h->len & 7; /* bytes in the tail: those that come go above them */
	const unsigned char *b = p;

	h->len += len;
	for (; len >= 8; len -= 8, b += 8) {
		m = siphash_load(b);
		siphash_word(h->v, tail | m << 8 * have);
		tail = have > 0 ? m >> (64 - 8 * have) : 0;
	}
	m = siphash_part(b, len);
	tail |= m << 8 * have;
	if (have + len >= 8) {
		siphash_word(h->v, tail);
		tail = m >> (64 - 8 * have);
	}
	h->tail = tail;
}

/* Call once. */
static inline uint64_t siphash_end(struct siphash *h)
{
	siphash_word(h->v, h->tail | h->len << 56);
	h->v[2] ^= 0xff;
	siphash_round(h->v);
	siphash_round(h->v);
	siphash_round(h->v);
	return h->v[0] ^ h->v[1] ^ h->v[2] ^ h->v[3];
}

#endif
