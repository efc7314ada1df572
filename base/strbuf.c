/* SPDX-License-Identifier: MIT */
#include "base/strbuf.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CAP_MIN 256u

/* Room for `more` bytes and a NUL. Grows by half, so that n additions copy O(n) bytes. */
static bool reserve(struct strbuf *sb, size_t more)
{
	size_t need, cap;
	char *p;

	if (sb->failed)
		return false;
	if (more >= SIZE_MAX / 4 - sb->len) {
		sb->failed = true;
		return false;
	}
	need = sb->len + more + 1;
	if (need <= sb->cap)
		return true;
	cap = sb->cap + sb->cap / 2;
	if (cap < need)
		cap = need;
	if (cap < CAP_MIN)
		cap = CAP_MIN;
	p = realloc(sb->p, cap);
	if (!p) {
		sb->failed = true;
		return false;
	}
	sb->p = p;
	sb->cap = cap;
	return true;
}

void strbuf_init(struct strbuf *sb)
{
	*sb = (struct strbuf){0};
}

void strbuf_fini(struct strbuf *sb)
{
	free(sb->p);
	strbuf_init(sb);
}

void strbuf_clear(struct strbuf *sb)
{
	sb->len = 0;
	sb->failed = false;
	if (sb->p)
		sb->p[0] = '\0';
}

void strbuf_add(struct strbuf *sb, const void *p, size_t len)
{
	if (!reserve(sb, len))
		return;
	if (len > 0)
		memcpy(sb->p + sb->len, p, len);
	sb->len += len;
	sb->p[sb->len] = '\0';
}

void strbuf_puts(struct strbuf *sb, const char *s)
{
	strbuf_add(sb, s, strlen(s));
}

void strbuf_vprintf(struct strbuf *sb, const char *fmt, va_list ap)
{
	va_list again;
	size_t room;
	int n;

	if (!reserve(sb, 0))
		return;
	va_copy(again, ap);
	room = sb->cap - sb->len;
	n = vsnprintf(sb->p + sb->len, room, fmt, ap);
	if (n >= 0 && (size_t)n >= room) {
		sb->p[sb->len] = '\0'; /* what was cut is not text yet */
		if (reserve(sb, (size_t)n))
			n = vsnprintf(sb->p + sb->len, (size_t)n + 1, fmt, again);
	}
	va_end(again);
	if (n < 0)
		sb->failed = true;
	if (!sb->failed)
		sb->len += (size_t)n;
}

void strbuf_printf(struct strbuf *sb, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	strbuf_vprintf(sb, fmt, ap);
	va_end(ap);
}

char *strbuf_take(struct strbuf *sb)
{
	char *p;

	if (!reserve(sb, 0)) {
		strbuf_fini(sb);
		return NULL;
	}
	sb->p[sb->len] = '\0';
	p = sb->p;
	strbuf_init(sb);
	return p;
}
