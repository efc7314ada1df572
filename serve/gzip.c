/* SPDX-License-Identifier: MIT */
/*
 * Compressing with zlib. Making a state means to allocate and clear up to 256 KiB, which is more
 * work than to compress a small body; so states are kept and reset, and small bodies have small
 * ones, whose hash table (the part that a reset clears) is small as well.
 */
#define ZLIB_CONST /* its input is const */
#include "serve/gzip.h"

#include <stdint.h>
#include <stdlib.h>
#include <zlib.h>

#include "base/check.h"

#define GZIP_WRAPPER 16     /* added to windowBits: gzip instead of zlib around the data */
#define OVERHEAD     18     /* its head and trailer */
#define STREAM_ROOM  16384u

/* A window reaches back 262 bytes less than its size: a body that is shorter is seen whole. */
static const struct size_class {
	size_t max;
	int window_bits, mem_level;
} classes[] = {
	{(1u << 11) - 262, 11, 4},
	{(1u << 12) - 262, 12, 5},
	{(1u << 13) - 262, 13, 6},
	{(1u << 14) - 262, 14, 7},
	{GZIP_WHOLE_MAX, 15, 8},
};

#define CLASSES (sizeof(classes) / sizeof(classes[0]))

struct gzip_stream {
	struct gzip_stream *next;  /* of the free ones */
	z_stream z;
	int mode;                  /* Z_NO_FLUSH, or what is to be carried through */
	bool dirty;                /* input since the last flush */
	bool done;
	char room[STREAM_ROOM];
};

struct gzip {
	int level;
	z_stream *whole[CLASSES];
	char *out, *in;            /* GZIP_WHOLE_MAX bytes each */
	struct gzip_stream *free;
	unsigned nstreams;         /* made */
	unsigned used;
};

static bool init(z_stream *z, int level, int window_bits, int mem_level)
{
	return deflateInit2(z, level, Z_DEFLATED, window_bits + GZIP_WRAPPER, mem_level,
			    Z_DEFAULT_STRATEGY) == Z_OK;
}

struct gzip *gzip_new(int level)
{
	struct gzip *g = calloc(1, sizeof(*g));

	CHECK(level >= 1 && level <= 9);
	if (g)
		g->level = level;
	return g;
}

void gzip_free(struct gzip *g)
{
	if (!g)
		return;
	CHECK(g->used == 0);
	for (size_t i = 0; i < CLASSES; i++)
		if (g->whole[i]) {
			(void)deflateEnd(g->whole[i]);
			free(g->whole[i]);
		}
	while (g->free) {
		struct gzip_stream *z = g->free;

		g->free = z->next;
		(void)deflateEnd(&z->z); /* says so if it was not at its end */
		free(z);
	}
	free(g->out);
	free(g->in);
	free(g);
}

/* From level 7 on zlib looks through chains of up to 4096 places for the best match. */
size_t gzip_turn_max(const struct gzip *g)
{
	return g->level <= 6 ? GZIP_WHOLE_MAX : GZIP_WHOLE_MAX / 4;
}

/* ---- whole bodies ---- */

static z_stream *whole_state(struct gzip *g, size_t len)
{
	const struct size_class *c = classes;
	z_stream **at, *z;

	while (len > c->max)
		c++;
	at = &g->whole[c - classes];
	if (*at)
		return deflateReset(*at) == Z_OK ? *at : NULL;
	z = calloc(1, sizeof(*z));
	if (z && !init(z, g->level, c->window_bits, c->mem_level)) {
		free(z);
		z = NULL;
	}
	*at = z;
	return z;
}

struct slice gzip_whole(struct gzip *g, struct slice body)
{
	const struct slice none = {NULL, 0};
	z_stream *z;

	CHECK(body.len <= GZIP_WHOLE_MAX);
	if (body.len <= OVERHEAD)
		return none;
	if (!g->out)
		g->out = malloc(GZIP_WHOLE_MAX);
	z = g->out ? whole_state(g, body.len) : NULL;
	if (!z)
		return none;
	z->next_in = (const Bytef *)body.p;
	z->avail_in = (uInt)body.len;
	z->next_out = (Bytef *)g->out;
	z->avail_out = (uInt)body.len - 1;
	if (deflate(z, Z_FINISH) != Z_STREAM_END)
		return none;
	return (struct slice){g->out, (size_t)((char *)z->next_out - g->out)};
}

char *gzip_room(struct gzip *g)
{
	if (!g->in)
		g->in = malloc(GZIP_WHOLE_MAX);
	return g->in;
}

/* ---- streams ---- */

static struct gzip_stream *stream_new(struct gzip *g)
{
	struct gzip_stream *z;

	if (g->nstreams == GZIP_STREAMS_MAX)
		return NULL;
	z = malloc(sizeof(*z));
	if (!z)
		return NULL;
	z->z = (z_stream){.zalloc = Z_NULL};
	if (!init(&z->z, g->level, MAX_WBITS, 8)) {
		free(z);
		return NULL;
	}
	g->nstreams++;
	return z;
}

struct gzip_stream *gzip_stream_get(struct gzip *g)
{
	struct gzip_stream *z = g->free;

	if (z) {
		g->free = z->next;
		CHECK(deflateReset(&z->z) == Z_OK);
	} else {
		z = stream_new(g);
		if (!z)
			return NULL;
	}
	z->z.avail_in = 0;
	z->mode = Z_NO_FLUSH;
	z->dirty = z->done = false;
	g->used++;
	return z;
}

void gzip_stream_put(struct gzip *g, struct gzip_stream *z)
{
	if (!z)
		return;
	z->next = g->free;
	g->free = z;
	g->used--;
}

bool gzip_stream_hungry(const struct gzip_stream *z)
{
	return z->z.avail_in == 0 && z->mode == Z_NO_FLUSH && !z->done;
}

bool gzip_stream_done(const struct gzip_stream *z)
{
	return z->done;
}

char *gzip_stream_room(struct gzip_stream *z, size_t *ret_cap)
{
	*ret_cap = sizeof(z->room);
	return z->room;
}

void gzip_stream_input(struct gzip_stream *z, const char *p, size_t len)
{
	CHECK(gzip_stream_hungry(z) && len <= UINT32_MAX);
	z->z.next_in = (const Bytef *)p;
	z->z.avail_in = (uInt)len;
	z->dirty |= len > 0;
}

bool gzip_stream_flush(struct gzip_stream *z)
{
	CHECK(z->mode == Z_NO_FLUSH);
	if (z->dirty)
		z->mode = Z_SYNC_FLUSH;
	return z->dirty;
}

void gzip_stream_end(struct gzip_stream *z)
{
	CHECK(z->mode == Z_NO_FLUSH);
	z->mode = Z_FINISH;
}

size_t gzip_stream_output(struct gzip_stream *z, char *buf, size_t cap)
{
	int rc;

	CHECK(!z->done && cap >= GZIP_OUT_MIN && cap <= UINT32_MAX);
	z->z.next_out = (Bytef *)buf;
	z->z.avail_out = (uInt)cap;
	rc = deflate(&z->z, z->mode);
	CHECK(rc == Z_OK || rc == Z_STREAM_END || rc == Z_BUF_ERROR); /* the last: nothing to do */
	if (rc == Z_STREAM_END) {
		z->mode = Z_NO_FLUSH;
		z->done = true;
	} else if (z->mode == Z_SYNC_FLUSH && z->z.avail_out > 0) {
		z->mode = Z_NO_FLUSH; /* with room left over it is through */
		z->dirty = false;
	}
	return cap - z->z.avail_out;
}
