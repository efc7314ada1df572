/* SPDX-License-Identifier: MIT */
/*
 * gzip (RFC 1952) by zlib, over bytes: whole bodies in one go, and streams. It knows nothing of
 * requests; coding.c says what is compressed. One per process and for its one thread. States are
 * made on first use and kept, so that in steady state nothing comes from the heap.
 */
#ifndef SERVE_GZIP_H
#define SERVE_GZIP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

#define GZIP_WHOLE_MAX   65536u        /* of a body that is compressed in one go */
#define GZIP_STREAMS_MAX 64u           /* of one process at a time; each takes 280 KiB */

struct gzip;
struct gzip_stream;

struct gzip *gzip_new(int level); /* 1 to 9; NULL = no memory */
void gzip_free(struct gzip *g);   /* all its streams are back; NULL is borne */

/* Bytes that may be compressed without looking at anything else, at most GZIP_WHOLE_MAX: what takes
 * a few milliseconds (and with the worst of all data, some dozens). */
size_t gzip_turn_max(const struct gzip *g);

/* Compresses a body of at most GZIP_WHOLE_MAX bytes. The result is valid until the next call; it is
 * absent when it would not be smaller than the body, or when there is no memory. */
struct slice gzip_whole(struct gzip *g, struct slice body);
/* Room for GZIP_WHOLE_MAX bytes, for who has to read such a body first. NULL = no memory. */
char *gzip_room(struct gzip *g);

/*
 * A stream. As long as it is hungry, give it input and, if need be, say flush or end; then take the
 * output until it is hungry again, or done.
 */
struct gzip_stream *gzip_stream_get(struct gzip *g); /* NULL = all are in use, or no memory */
void gzip_stream_put(struct gzip *g, struct gzip_stream *z); /* NULL is borne */

bool gzip_stream_hungry(const struct gzip_stream *z);
bool gzip_stream_done(const struct gzip_stream *z);
/* Room to read input into, if the caller has none that stays. */
char *gzip_stream_room(struct gzip_stream *z, size_t *ret_cap);
/* The bytes stay where they are until it is hungry again. */
void gzip_stream_input(struct gzip_stream *z, const char *p, size_t len);
/* What was given shall reach the reader now. false: it has been flushed already. */
bool gzip_stream_flush(struct gzip_stream *z);
void gzip_stream_end(struct gzip_stream *z);
/* Writes up to cap bytes (at least GZIP_OUT_MIN: with less, zlib begins a flush again and again);
 * how many it wrote. */
#define GZIP_OUT_MIN 16u
size_t gzip_stream_output(struct gzip_stream *z, char *buf, size_t cap);

#endif
