/* SPDX-License-Identifier: MIT */
/* SipHash-1-3 against vectors of an independent program that gives the published ones for 2-4. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/siphash.h"

static const uint64_t key[2] = {0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL};

/* Of the bytes 0, 1, 2 ... under the key 0, 1, ... 15. */
static const struct { size_t len; uint64_t want; } vectors[] = {
	{0, 0xabac0158050fc4dcULL},  {1, 0xc9f49bf37d57ca93ULL},  {7, 0xd3927d989bb11140ULL},
	{8, 0x369095118d299a8eULL},  {9, 0x25a48eb36c063de4ULL},  {15, 0xd320d86d2a519956ULL},
	{16, 0xcc4fdd1a7d908b66ULL}, {63, 0x9d199062b7bbb3a8ULL},
};

static void test_vectors(void **state)
{
	unsigned char in[64];

	(void)state;
	for (unsigned i = 0; i < sizeof(in); i++)
		in[i] = (unsigned char)i;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		struct siphash h;

		siphash_init(&h, key);
		siphash_add(&h, in, vectors[i].len);
		assert_int_equal(siphash_end(&h), vectors[i].want);
	}
}

/* In two and in three pieces, cut anywhere: the same. */
static void test_pieces(void **state)
{
	unsigned char in[63];

	(void)state;
	for (unsigned i = 0; i < sizeof(in); i++)
		in[i] = (unsigned char)i;
	for (size_t a = 0; a <= sizeof(in); a++) {
		for (size_t b = a; b <= sizeof(in); b++) {
			struct siphash h;

			siphash_init(&h, key);
			siphash_add(&h, in, a);
			siphash_add(&h, in + a, b - a);
			siphash_add(&h, in + b, sizeof(in) - b);
			assert_int_equal(siphash_end(&h), 0x9d199062b7bbb3a8ULL);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
