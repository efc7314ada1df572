/* SPDX-License-Identifier: MIT */
/*
 * Chunked bodies: what is decoded, where it ends and what is wrong do not depend on how the bytes
 * were cut; what was decoded comes out again when it is coded and decoded once more.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/check.h"
#include "http/http.h"

#define SIZE_MAX_FUZZ 8192

static const struct http_limits limits = { 64, 4, 64, 256 };

struct result {
	enum http_err e;
	bool done;
	size_t used;
	size_t len;
	char body[SIZE_MAX_FUZZ];
};

static void feed(struct http_chunked *c, struct result *r, const char *p, size_t len)
{
	char *copy = malloc(len ? len : 1);
	size_t at = 0, used;
	struct slice data;

	CHECK(copy);
	memcpy(copy, p, len);
	while (at < len && !c->done && !r->e) {
		r->e = http_chunked_read(c, &limits, copy + at, len - at, &used, &data);
		CHECK(used > 0 && used <= len - at);
		if (data.len > 0) {
			CHECK(data.p >= copy + at && data.p + data.len <= copy + at + used);
			CHECK(r->len + data.len <= sizeof(r->body));
			memcpy(r->body + r->len, data.p, data.len);
			r->len += data.len;
		}
		at += used;
	}
	r->used += at;
	r->done = c->done;
	CHECK(c->total == r->len);
	free(copy);
}

static void run(struct result *r, const char *p, size_t len, size_t piece)
{
	struct http_chunked c = { 0 };

	r->e = HTTP_OK;
	r->done = false;
	r->used = r->len = 0;
	for (size_t i = 0; i < len; i += piece)
		feed(&c, r, p + i, piece < len - i ? piece : len - i);
}

static void same(const struct result *a, const struct result *b)
{
	CHECK(a->e == b->e && a->done == b->done && a->used == b->used && a->len == b->len);
	CHECK(memcmp(a->body, b->body, a->len) == 0);
}

static void code_again(const struct result *r, struct result *other)
{
	static char coded[SIZE_MAX_FUZZ + 64];
	struct http_out o = { .p = coded, .cap = sizeof(coded) };

	if (r->len > 0) {
		http_put_chunk_size(&o, r->len);
		http_put(&o, r->body, r->len);
		http_put(&o, "\r\n", 2);
	}
	http_put_chunk_size(&o, 0);
	http_put(&o, "\r\n", 2);
	CHECK(!o.over);
	run(other, coded, o.len, o.len);
	CHECK(!other->e && other->done && other->used == o.len && other->len == r->len);
	CHECK(memcmp(other->body, r->body, r->len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first byte says how long the pieces are. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct result whole, other;
	const char *p = (const char *)data + 1;

	if (size < 2 || size > SIZE_MAX_FUZZ)
		return 0;
	run(&whole, p, size - 1, size - 1);
	run(&other, p, size - 1, 1);
	same(&whole, &other);
	run(&other, p, size - 1, 1 + data[0] % 32u);
	same(&whole, &other);
	if (whole.done)
		code_again(&whole, &other);
	return 0;
}
