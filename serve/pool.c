/* SPDX-License-Identifier: MIT */
/*
 * Free lists of buffers and request objects, last in first out, so that the next user finds warm
 * cache lines. They grow to the high-water mark of what is in use at once and are then never
 * touched by the allocator again.
 */
#include <stdlib.h>

#include "base/check.h"
#include "serve/serve_priv.h"

struct buf *buf_get(struct serve *s, uint32_t size)
{
	struct buf **pool = NULL, *b = NULL;

	if (size <= BUF_SMALL) {
		size = BUF_SMALL;
		pool = &s->small_free;
	} else if (size <= BUF_BIG) {
		size = BUF_BIG;
		pool = &s->big_free;
	}
	if (pool && *pool) {
		b = *pool;
		*pool = b->next;
	} else {
		b = malloc(sizeof(*b) + size);
		if (!b)
			return NULL;
		b->cap = size;
	}
	b->next = NULL;
	b->start = b->end = b->head_len = 0;
	b->scan = 0;
	return b;
}

void buf_put(struct serve *s, struct buf *b)
{
	struct buf **pool;

	if (!b)
		return;
	if (b->cap > BUF_BIG) {
		free(b);
		return;
	}
	pool = b->cap == BUF_SMALL ? &s->small_free : &s->big_free;
	b->next = *pool;
	*pool = b;
}

struct request *req_get(struct serve *s)
{
	struct request *r = s->req_free;

	if (r) {
		s->req_free = r->next;
		return r;
	}
	r = malloc(s->req_size);
	if (!r)
		return NULL;
	r->serve = s;
	r->head.fields = (struct http_field *)(void *)(r + 1);
	return r;
}

void req_put(struct request *r)
{
	r->next = r->serve->req_free;
	r->serve->req_free = r;
}

static void free_bufs(struct buf *b)
{
	while (b) {
		struct buf *next = b->next;

		free(b);
		b = next;
	}
}

void pool_fini(struct serve *s)
{
	free_bufs(s->small_free);
	free_bufs(s->big_free);
	while (s->req_free) {
		struct request *r = s->req_free;

		s->req_free = r->next;
		free(r);
	}
}
