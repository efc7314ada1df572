/* SPDX-License-Identifier: MIT */
/* Inside of http/: classes of characters, scans over bytes, and what the parts of the head parser
 * share. Nothing here is for other rooms. */
#ifndef HTTP_HTTP_PRIV_H
#define HTTP_HTTP_PRIV_H

#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "http/http.h"

/* Bits of http_class[byte]. */
#define C_TOKEN  0x01u /* tchar of RFC 9110, 5.6.2 */
#define C_METHOD 0x02u /* a tchar that may stand in a method: no lower case, no "#" */
#define C_VALUE  0x04u /* in a field value: visible, space, tab, 0x80 and above */
#define C_TARGET 0x08u /* in a request target: visible but "#", and 0x80 and above */
#define C_HOST   0x10u /* unreserved and sub-delims of RFC 3986 */
#define C_HEX    0x20u
#define C_UNDER  0x40u /* "_" */
#define C_ID     0x80u /* in an X-Request-Id */

extern const uint8_t http_class[256];

static inline uint8_t class_of(char c)
{
	return http_class[(uint8_t)c];
}

/* The first byte of [p, end) that may not stand in a field value; long values 16 bytes a step. */
static inline const char *scan_value(const char *p, const char *end)
{
#ifdef __SSE2__
	const __m128i top = _mm_set1_epi8(0x1f), tab = _mm_set1_epi8('\t');
	const __m128i del = _mm_set1_epi8(0x7f);

	while (end - p >= 16) {
		__m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
		__m128i low = _mm_cmpeq_epi8(_mm_min_epu8(x, top), x);
		__m128i bad = _mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(x, tab), low),
					   _mm_cmpeq_epi8(x, del));
		int mask = _mm_movemask_epi8(bad);

		if (mask)
			return p + __builtin_ctz((unsigned)mask);
		p += 16;
	}
#endif
	while (p < end && (class_of(*p) & C_VALUE))
		p++;
	return p;
}

/* 0 to 15; the character must be C_HEX. */
static inline unsigned hex_value(char c)
{
	return c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
}

/*
 * Is the token p[0..n) the literal, which is of lower-case letters, digits and "-"? n is the
 * literal's length, known at compile time: it folds into one to four comparisons of words. No
 * token character but the two cases of a letter becomes that letter under "| 0x20", and "-" only
 * comes from "-", since CR is no token character.
 */
static inline __attribute__((always_inline)) bool token_is(const char *p, const char *lower,
							    size_t n)
{
	uint64_t a, b;
	size_t i = 0;

	for (; i + 8 <= n; i += 8) {
		memcpy(&a, p + i, 8);
		memcpy(&b, lower + i, 8);
		if ((a | 0x2020202020202020u) != b)
			return false;
	}
	for (; i < n; i++)
		if ((p[i] | 0x20) != lower[i])
			return false;
	return true;
}

/* The same for a slice of any bytes. */
#define TOKEN_IS(s, lit) \
	((s).len == sizeof(lit) - 1 && slice_eq_nocase((s), SLICE(lit)))

/* uri-host [":" port] (RFC 3986, 3.2; no user information), not empty. */
bool http_authority_ok(struct slice a, bool needs_port);

/* Finds the form of req->target and fills form, raw_path, query and authority. `question` is the
 * first "?" of the target, or its end. HTTP_OK or HTTP_E_BAD_TARGET. */
enum http_err http_read_target(struct http_request *req, const char *question);

#endif
