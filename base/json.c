/* SPDX-License-Identifier: MIT */
#include "base/json.h"

#include <stdint.h>

static bool is_tail(unsigned char c)
{
	return (c & 0xc0) == 0x80;
}

size_t json_utf8_len(const unsigned char *p, size_t left)
{
	uint32_t c = p[0];

	if (c < 0x80)
		return 1;
	if (c >= 0xc2 && c <= 0xdf)
		return left >= 2 && is_tail(p[1]) ? 2 : 0;
	if (c >= 0xe0 && c <= 0xef) {
		if (left < 3 || !is_tail(p[1]) || !is_tail(p[2]))
			return 0;
		if ((c == 0xe0 && p[1] < 0xa0) || (c == 0xed && p[1] > 0x9f))
			return 0; /* overlong, or a surrogate */
		return 3;
	}
	if (c >= 0xf0 && c <= 0xf4) {
		if (left < 4 || !is_tail(p[1]) || !is_tail(p[2]) || !is_tail(p[3]))
			return 0;
		if ((c == 0xf0 && p[1] < 0x90) || (c == 0xf4 && p[1] > 0x8f))
			return 0;
		return 4;
	}
	return 0;
}

/* Escapes one code point below 256 into esc; the length. */
static size_t escape(char esc[JSON_QUOTE_MAX], unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	static const char letters[] = "btn\0fr"; /* 8 to 13; 11 has none */

	esc[0] = '\\';
	if (c == '"' || c == '\\') {
		esc[1] = (char)c;
		return 2;
	}
	if (c >= 8 && c <= 13 && letters[c - 8]) {
		esc[1] = letters[c - 8];
		return 2;
	}
	memcpy(esc + 1, "u00", 3);
	esc[4] = hex[c >> 4];
	esc[5] = hex[c & 15];
	return 6;
}

size_t json_quote(char *out, size_t cap, struct slice s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t len = 0, i = 0;

	while (i < s.len) {
		char esc[JSON_QUOTE_MAX];
		const char *from = (const char *)p + i;
		size_t used = json_utf8_len(p + i, s.len - i), n = used;

		if (used == 0) {
			used = 1;
			n = escape(esc, p[i]);
			from = esc;
		} else if (p[i] < 0x20 || p[i] == '"' || p[i] == '\\' || p[i] == 0x7f) {
			n = escape(esc, p[i]);
			from = esc;
		} else if (p[i] == 0xc2 && p[i + 1] < 0xa0) {
			n = escape(esc, p[i + 1]); /* C1 */
			from = esc;
		}
		if (n > cap - len)
			break;
		memcpy(out + len, from, n);
		len += n;
		i += used;
	}
	return len;
}
