/* SPDX-License-Identifier: MIT */
/*
 * A growing text buffer on the heap, for everything that is not on the request path (status
 * documents, configuration, log lines of the master). A failed allocation sets `failed`; every
 * later call is then a no-op, so that one look at the end is enough.
 */
#ifndef BASE_STRBUF_H
#define BASE_STRBUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct strbuf {
	char *p;        /* NUL-terminated when not NULL */
	size_t len;     /* without the NUL */
	size_t cap;
	bool failed;
};

void strbuf_init(struct strbuf *sb);
void strbuf_fini(struct strbuf *sb);                     /* frees; the buffer may be used again */
void strbuf_clear(struct strbuf *sb);                    /* empties, keeps the memory */
void strbuf_add(struct strbuf *sb, const void *p, size_t len);
void strbuf_puts(struct strbuf *sb, const char *s);
__attribute__((format(printf, 2, 3))) void strbuf_printf(struct strbuf *sb, const char *fmt, ...);
__attribute__((format(printf, 2, 0))) void strbuf_vprintf(struct strbuf *sb, const char *fmt,
							   va_list ap);
/* The text, for the caller to free(); the buffer is empty afterwards. NULL if it failed. */
char *strbuf_take(struct strbuf *sb);

#endif
