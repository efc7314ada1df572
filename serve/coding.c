/* SPDX-License-Identifier: MIT */
/*
 * Which answers are compressed, what their heads say of it, and the pushing of those that are
 * compressed as a stream. Decided once, just before the head is written: see coding_of().
 *
 * A body that is known and small is compressed whole, so that its length is known too. A larger one
 * is compressed piece by piece as the client takes it, in one of a bounded number of states; when
 * none is free it goes out as it is.
 */
#include <errno.h>
#include <unistd.h>

#include "base/log.h"
#include "http/types.h"
#include "serve/gzip.h"
#include "serve/serve_priv.h"

#define ACCEPT_ENCODING SLICE("Accept-Encoding")

/* ---- fields that the handler has set ---- */

/* Takes the next line of the handler's fields. */
static bool take_field(struct slice *rest, struct http_field *ret_f)
{
	const char *end = memchr(rest->p, '\r', rest->len), *colon;

	if (rest->len == 0 || !end)
		return false;
	colon = memchr(rest->p, ':', (size_t)(end - rest->p));
	ret_f->name = (struct slice){rest->p, (size_t)(colon - rest->p)};
	ret_f->value = (struct slice){colon + 2, (size_t)(end - colon - 2)};
	rest->len -= (size_t)(end + 2 - rest->p);
	rest->p = end + 2;
	return true;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Is the word an element of the list? */
static bool list_has(struct slice list, struct slice word)
{
	const char *p = list.p, *end = list.p + list.len;

	while (p < end) {
		const char *comma = memchr(p, ',', (size_t)(end - p)), *to = comma ? comma : end;

		while (p < to && is_blank(*p))
			p++;
		while (to > p && is_blank(to[-1]))
			to--;
		if (slice_eq_nocase((struct slice){p, (size_t)(to - p)}, word))
			return true;
		p = comma ? comma + 1 : end;
	}
	return false;
}

static bool is_vary(const struct http_field *f)
{
	return slice_eq_nocase(f->name, SLICE("Vary"));
}

/* What the handler's fields leave to us. Those that forbid it: it is coded already, or nobody may
 * change it, or they hold a digest of the bytes that are sent. */
static enum coding allowed_by_fields(const struct request *r)
{
	static const struct slice forbid[] = {
		SLICE("Content-Encoding"), SLICE("Content-Digest"), SLICE("Repr-Digest"),
		SLICE("Digest"), SLICE("Content-MD5"),
	};
	struct slice rest = {r->extra, r->extra_len};
	enum coding can = CODING_GZIP;
	struct http_field f;

	while (take_field(&rest, &f)) {
		for (size_t i = 0; i < sizeof(forbid) / sizeof(forbid[0]); i++)
			if (slice_eq_nocase(f.name, forbid[i]))
				return CODING_NONE;
		if (slice_eq_nocase(f.name, SLICE("Cache-Control")) &&
		    list_has(f.value, SLICE("no-transform")))
			return CODING_NONE;
		if (slice_eq_nocase(f.name, SLICE("Content-Range")))
			can = CODING_VARIES;
	}
	return can;
}

static bool varies_already(const struct request *r)
{
	struct slice rest = {r->extra, r->extra_len};
	struct http_field f;

	while (take_field(&rest, &f))
		if (is_vary(&f) &&
		    (list_has(f.value, SLICE("*")) || list_has(f.value, ACCEPT_ENCODING)))
			return true;
	return false;
}

void coding_put_fields(struct request *r, struct http_out *o)
{
	struct slice rest = {r->extra, r->extra_len};
	bool gzip = r->coding == CODING_GZIP, varies;
	struct http_field f;

	if (r->coding == CODING_NONE) {
		http_put_slice(o, rest);
		return;
	}
	if (gzip)
		http_put_field(o, SLICE("Content-Encoding"), SLICE("gzip"));
	varies = varies_already(r);
	while (take_field(&rest, &f)) {
		/* Ranges are served of the plain form only; its strong ETag is not this one's. */
		if (gzip && slice_eq_nocase(f.name, SLICE("Accept-Ranges")))
			continue;
		http_put_slice(o, f.name);
		http_put_slice(o, SLICE(": "));
		if (gzip && f.value.len > 0 && f.value.p[0] == '"' &&
		    slice_eq_nocase(f.name, SLICE("ETag")))
			http_put_slice(o, SLICE("W/"));
		http_put_slice(o, f.value);
		if (is_vary(&f) && !varies) {
			http_put_slice(o, f.value.len > 0 ? SLICE(", ") : SLICE(""));
			http_put_slice(o, ACCEPT_ENCODING);
			varies = true;
		}
		http_put_slice(o, SLICE("\r\n"));
	}
	if (!varies)
		http_put_field(o, SLICE("Vary"), ACCEPT_ENCODING);
}

/* ---- the decision ---- */

/* What can be done with an answer of this status. Of a part or of "not modified" only the Vary is
 * said that the whole answer would have. */
static enum coding allowed_by_status(const struct request *r, int status)
{
	if (r->head.method == HTTP_M_CONNECT && status < 300)
		return CODING_NONE;
	if (status == 206 || status == 304)
		return CODING_VARIES;
	if (status < 200 || status == 204 || status == 205 || (status >= 300 && status < 400))
		return CODING_NONE;
	return CODING_GZIP;
}

/* The least work comes first: most answers are small or of a type that is not compressed. */
static enum coding coding_of(const struct request *r, int status, struct slice type, int64_t len)
{
	struct serve *s = r->serve;
	enum coding can, by_fields;

	if (!s->gzip || type.len == 0)
		return CODING_NONE;
	can = allowed_by_status(r, status);
	if (can == CODING_GZIP && (len == 0 || (len > 0 && len < s->set->compression_min_size)))
		return CODING_NONE;
	if (can == CODING_NONE || !http_type_is_compressible(type))
		return CODING_NONE;
	by_fields = allowed_by_fields(r);
	if (by_fields < can)
		can = by_fields;
	if (can == CODING_GZIP && !http_request_accepts_gzip(&r->head))
		return CODING_VARIES;
	return can;
}

/* For a body that is not compressed whole: true if it is compressed as a stream. HTTP/1.0 has no
 * chunks: then only when the end of the connection is the end of the body anyway. */
static bool begin_stream(struct request *r, int64_t len)
{
	if (r->coding != CODING_GZIP)
		return false;
	r->coding = CODING_VARIES;
	if (len >= 0 && r->head.minor == 0)
		return false;
	if (r->head.method != HTTP_M_HEAD) {
		r->gzip = gzip_stream_get(r->serve->gzip);
		if (!r->gzip) {
			shm_add(&r->serve->slot->c.compression_skipped, 1);
			return false;
		}
		shm_add(&r->serve->slot->c.compressed, 1);
	}
	r->coding = CODING_GZIP;
	return true;
}

static struct slice compress_whole(struct request *r, struct slice body)
{
	struct shm_counters *c = &r->serve->slot->c;
	struct slice packed = gzip_whole(r->serve->gzip, body);

	if (!packed.p) {
		r->coding = CODING_VARIES;
		return body;
	}
	if (r->head.method != HTTP_M_HEAD) {
		shm_add(&c->compressed, 1);
		shm_add(&c->compression_in, body.len);
		shm_add(&c->compression_out, packed.len);
	}
	return packed;
}

int64_t coding_bytes(struct request *r, int status, struct slice type, struct slice *body)
{
	int64_t len = (int64_t)body->len;

	r->coding = coding_of(r, status, type, len);
	if (r->coding == CODING_NONE)
		return len;
	if (r->coding == CODING_GZIP && body->len <= gzip_turn_max(r->serve->gzip)) {
		*body = compress_whole(r, *body);
		return (int64_t)body->len;
	}
	return begin_stream(r, len) ? -1 : len;
}

int64_t coding_pull(struct request *r, int status, struct slice type, int64_t total)
{
	r->coding = coding_of(r, status, type, total);
	return begin_stream(r, total) ? -1 : total;
}

/* How many bytes could be read; fewer than len: the file is shorter, or cannot be read. */
static size_t read_file(int fd, uint64_t offset, char *to, size_t len)
{
	size_t have = 0;

	while (have < len) {
		ssize_t n = pread(fd, to + have, len - have, (off_t)(offset + have));

		if (n <= 0 && !(n < 0 && errno == EINTR))
			break;
		have += n > 0 ? (size_t)n : 0;
	}
	return have;
}

int64_t coding_file(struct request *r, int status, struct slice type, int fd, uint64_t offset,
		    uint64_t len, struct slice *ret_body)
{
	struct serve *s = r->serve;
	char *room;

	*ret_body = (struct slice){NULL, 0};
	/* Large ones are the kernel's: they are never read here. */
	if (len > (uint64_t)s->set->large_file_threshold)
		r->coding = CODING_NONE;
	else
		r->coding = coding_of(r, status, type, (int64_t)len);
	if (r->coding != CODING_GZIP || len > gzip_turn_max(s->gzip))
		return begin_stream(r, (int64_t)len) ? -1 : (int64_t)len;
	room = gzip_room(s->gzip);
	if (!room || read_file(fd, offset, room, len) < len) {
		r->coding = CODING_VARIES;
		return (int64_t)len;
	}
	*ret_body = compress_whole(r, (struct slice){room, len});
	return (int64_t)ret_body->len;
}

/* ---- streams ---- */

/* The next input out of the body. The number of bytes, 0 = nothing yet, -1 = it breaks off. */
static long take_input(struct request *r, size_t most)
{
	bool end = false;
	size_t cap;
	char *room = gzip_stream_room(r->gzip, &cap);
	const char *from = room;
	long n;

	if (cap > r->part_left)
		cap = (size_t)r->part_left;
	if (r->kind == ANS_PULL) {
		n = r->fill(r, r->fill_arg, room, cap, &end);
		copy_check();
		r->fill_ns = loop_now(r->serve->loop);
	} else if (r->kind == ANS_FILE) {
		cap = read_file(r->file_fd, r->part_off, room, cap);
		n = (long)cap;
		if (n == 0) {
			log_errx("a file that was being sent has shrunk, request %.*s",
				 (int)r->id.len, r->id.p);
			return -1;
		}
	} else {
		from = r->mem + r->part_off;
		n = (long)(r->part_left < most ? r->part_left : most);
		cap = (size_t)n;
	}
	if (n < 0 || (size_t)n > cap)
		return -1;
	gzip_stream_input(r->gzip, from, (size_t)n);
	shm_add(&r->serve->slot->c.compression_in, (uint64_t)n);
	r->part_off += (uint64_t)n;
	if (r->part_left != UINT64_MAX)
		r->part_left -= (uint64_t)n;
	else if (end)
		r->part_left = 0;
	return n;
}

/* Gives the compressor what it wants next. false: there is nothing now. */
static bool feed(struct request *r, uint64_t *budget)
{
	struct conn *c = r->conn;
	long n;

	if (r->part_left == 0) {
		gzip_stream_end(r->gzip);
		return true;
	}
	if (*budget == 0) {
		if (conn_flush(c))
			c->blocked = true; /* the others' turn */
		return false;
	}
	n = take_input(r, *budget);
	if (n < 0) {
		conn_die(c); /* a cut is the only way to say that it is not whole */
		return false;
	}
	*budget -= (uint64_t)n < *budget ? (uint64_t)n : *budget;
	if (n == 0 && r->part_left > 0 && !gzip_stream_flush(r->gzip)) {
		r->fill_waits = true;
		(void)conn_flush(c); /* now: streams are not held back */
		return false;
	}
	return true;
}

bool coding_push(struct request *r)
{
	struct conn *c = r->conn;
	uint64_t budget = gzip_turn_max(r->serve->gzip);

	while (!gzip_stream_done(r->gzip)) {
		struct buf *b = conn_out(c);
		size_t n, cap;
		char *at;

		if (!b)
			return false;
		if (b->cap - b->end < OUT_RESERVE) {
			if (!conn_flush(c))
				return false;
			continue;
		}
		if (gzip_stream_hungry(r->gzip) && !feed(r, &budget))
			return false;
		at = answer_room(r, b, &cap);
		n = gzip_stream_output(r->gzip, at, cap);
		shm_add(&r->serve->slot->c.compression_out, n);
		answer_piece(r, b, n);
	}
	return true;
}

void coding_release(struct request *r)
{
	if (r->gzip)
		gzip_stream_put(r->serve->gzip, r->gzip);
	r->gzip = NULL;
}
