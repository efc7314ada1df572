/* SPDX-License-Identifier: MIT */
/* Writing of answers into a bounded buffer. */
#include "http/http_priv.h"

/* The whole status line of every known status, so that one copy is all there is to do. */
static const struct slice lines[1000] = {
#define HTTP_STATUS(code, reason) \
	[code] = { "HTTP/1.1 " #code " " reason "\r\n", sizeof("HTTP/1.1 100 " reason "\r\n") - 1 },
#include "http/status.def"
#undef HTTP_STATUS
};

#define LINE_START (sizeof("HTTP/1.1 ") - 1)

const char *http_reason(int status)
{
	switch (status) {
#define HTTP_STATUS(code, reason) case code: return reason;
#include "http/status.def"
#undef HTTP_STATUS
	default:
		return "";
	}
}

void http_put_u64(struct http_out *o, uint64_t v)
{
	char digits[20];
	size_t i = sizeof(digits);

	do {
		digits[--i] = (char)('0' + v % 10);
		v /= 10;
	} while (v > 0);
	http_put(o, digits + i, sizeof(digits) - i);
}

void http_put_status_line(struct http_out *o, int status)
{
	if (status >= 0 && status < 1000 && lines[status].p) {
		http_put_slice(o, lines[status]);
		return;
	}
	/* The reason phrase may be empty, the space before it not (RFC 9112, 4). */
	http_put(o, "HTTP/1.1 ", LINE_START);
	http_put_u64(o, status >= 100 && status < 1000 ? (uint64_t)status : 500);
	http_put(o, " \r\n", 3);
}

void http_put_chunk_size(struct http_out *o, uint64_t n)
{
	char text[18];
	size_t i = sizeof(text);

	text[--i] = '\n';
	text[--i] = '\r';
	do {
		text[--i] = "0123456789abcdef"[n & 15];
		n >>= 4;
	} while (n > 0);
	http_put(o, text + i, sizeof(text) - i);
}
