/* SPDX-License-Identifier: MIT */
/* Compressing: zlib makes the same of it again, for every size, level and way to take it. */
#define ZLIB_CONST
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

#include "serve/gzip.h"

#define BIG 300000u

static char text[BIG], noise[BIG];

static int make_data(void **state)
{
	uint32_t x = 1;

	(void)state;
	for (size_t n = 0; n < BIG;) {
		char item[64];
		int k = snprintf(item, sizeof(item), "{\"id\":%zu,\"odd\":%s},\n", n * 7919 % 10007,
				 n & 1 ? "true" : "false");

		for (int i = 0; i < k && n < BIG; i++)
			text[n++] = item[i];
	}
	for (size_t n = 0; n < BIG; n++) {
		x = x * 1664525 + 1013904223;
		noise[n] = (char)(x >> 24);
	}
	return 0;
}

/* Reads one whole gzip member of exactly these bytes. */
static void check_gunzip(const char *p, size_t len, const char *want, size_t want_len)
{
	char *got = malloc(want_len + 1);
	z_stream z = {.next_in = (const Bytef *)p, .avail_in = (uInt)len};

	assert_non_null(got);
	assert_int_equal(inflateInit2(&z, MAX_WBITS + 16), Z_OK);
	z.next_out = (Bytef *)got;
	z.avail_out = (uInt)want_len + 1;
	assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
	assert_int_equal(z.avail_in, 0);
	assert_int_equal(z.total_out, want_len);
	assert_memory_equal(got, want, want_len);
	(void)inflateEnd(&z);
	free(got);
}

static struct gzip *start(int level)
{
	struct gzip *g = gzip_new(level);

	assert_non_null(g);
	assert_true(gzip_turn_max(g) > 0 && gzip_turn_max(g) <= GZIP_WHOLE_MAX);
	return g;
}

static void check_whole(struct gzip *g, const char *p, size_t len)
{
	struct slice s = gzip_whole(g, (struct slice){p, len});

	assert_non_null(s.p);
	assert_true(s.len < len);
	check_gunzip(s.p, s.len, p, len);
}

/* Around the bounds of every class, and in between; twice, since states are used again. */
static void test_whole_bodies_of_every_size_and_level(void **state)
{
	static const size_t sizes[] = {
		100, 1023, 1024, 1785, 1786, 1787, 3833, 3834, 3835, 7929, 7930, 7931, 16121,
		16122, 16123, 40000, GZIP_WHOLE_MAX - 1, GZIP_WHOLE_MAX,
	};

	(void)state;
	for (int level = 1; level <= 9; level++) {
		struct gzip *g = start(level);

		for (size_t i = 0; i < 2 * sizeof(sizes) / sizeof(sizes[0]); i++)
			check_whole(g, text + i, sizes[i / 2]);
		gzip_free(g);
	}
}

static void test_what_does_not_become_smaller(void **state)
{
	struct gzip *g = start(6);

	(void)state;
	for (size_t len = 0; len <= 24; len++)
		assert_null(gzip_whole(g, (struct slice){text, len}).p);
	for (size_t len = 25; len <= GZIP_WHOLE_MAX; len = len * 3 / 2)
		assert_null(gzip_whole(g, (struct slice){noise, len}).p);
	assert_null(gzip_whole(g, (struct slice){noise, GZIP_WHOLE_MAX}).p);
	/* The states were left in the midst of it. */
	for (size_t len = 100; len <= GZIP_WHOLE_MAX; len = len * 3 / 2)
		check_whole(g, text, len);
	gzip_free(g);
}

/* Takes what there is, in pieces of cap bytes, until it is hungry or done. */
static size_t drain(struct gzip_stream *z, char *to, size_t room, size_t cap)
{
	size_t n = 0;

	while (!gzip_stream_hungry(z) && !gzip_stream_done(z)) {
		assert_true(room - n >= cap);
		n += gzip_stream_output(z, to + n, cap);
	}
	return n;
}

static void check_stream(struct gzip *g, const char *p, size_t len, size_t piece, size_t cap)
{
	static char out[2 * BIG];
	struct gzip_stream *z = gzip_stream_get(g);
	size_t n = 0;

	assert_non_null(z);
	for (size_t at = 0; at < len; at += piece) {
		gzip_stream_input(z, p + at, len - at < piece ? len - at : piece);
		n += drain(z, out + n, sizeof(out) - n, cap);
	}
	gzip_stream_end(z);
	n += drain(z, out + n, sizeof(out) - n, cap);
	assert_true(gzip_stream_done(z));
	gzip_stream_put(g, z);
	check_gunzip(out, n, p, len);
}

static void test_streams(void **state)
{
	(void)state;
	for (int level = 1; level <= 9; level += 4) {
		struct gzip *g = start(level);

		check_stream(g, text, 0, 1, 100);
		check_stream(g, text, 1, 1, GZIP_OUT_MIN);
		check_stream(g, text, 5000, 1, GZIP_OUT_MIN);
		check_stream(g, text, BIG, 16384, 28000);
		check_stream(g, text, BIG, BIG, 4084);
		check_stream(g, noise, BIG, 1000, 999);
		gzip_free(g);
	}
}

/* Every piece that was flushed can be read as soon as it is out, whatever the room was. */
static void flush_pieces(struct gzip *g, size_t cap)
{
	struct gzip_stream *z = gzip_stream_get(g);
	z_stream in = {0};
	char out[8192], got[64];
	size_t n;

	assert_non_null(z);
	assert_int_equal(inflateInit2(&in, MAX_WBITS + 16), Z_OK);
	assert_false(gzip_stream_flush(z)); /* there is nothing yet */
	for (int i = 0; i < 200; i++) {
		int k = snprintf(got, sizeof(got), "data: event %d\n\n", i);
		char want[64];

		memcpy(want, got, sizeof(want));
		gzip_stream_input(z, want, (size_t)k);
		n = drain(z, out, sizeof(out), cap);
		assert_true(gzip_stream_hungry(z));
		assert_true(gzip_stream_flush(z));
		n += drain(z, out + n, sizeof(out) - n, cap);
		assert_false(gzip_stream_flush(z)); /* once is enough */
		in.next_in = (const Bytef *)out;
		in.avail_in = (uInt)n;
		in.next_out = (Bytef *)got;
		in.avail_out = sizeof(got);
		assert_int_equal(inflate(&in, Z_SYNC_FLUSH), Z_OK);
		assert_int_equal(sizeof(got) - in.avail_out, k);
		assert_memory_equal(got, want, k);
	}
	gzip_stream_end(z);
	n = drain(z, out, sizeof(out), cap);
	in.next_in = (const Bytef *)out;
	in.avail_in = (uInt)n;
	in.avail_out = sizeof(got);
	in.next_out = (Bytef *)got;
	assert_int_equal(inflate(&in, Z_FINISH), Z_STREAM_END);
	(void)inflateEnd(&in);
	gzip_stream_put(g, z);
}

static void test_flush_points(void **state)
{
	struct gzip *g = start(6);

	(void)state;
	for (size_t cap = GZIP_OUT_MIN; cap <= 60; cap++)
		flush_pieces(g, cap);
	flush_pieces(g, 4000);
	gzip_free(g);
}

static void test_the_number_of_streams_is_bounded(void **state)
{
	struct gzip_stream *z[GZIP_STREAMS_MAX], *again;
	struct gzip *g = start(1);
	char buf[100];

	(void)state;
	for (unsigned i = 0; i < GZIP_STREAMS_MAX; i++) {
		z[i] = gzip_stream_get(g);
		assert_non_null(z[i]);
	}
	assert_null(gzip_stream_get(g));
	/* One that was given up in the midst is as good as a new one. */
	gzip_stream_input(z[3], noise, BIG);
	(void)gzip_stream_output(z[3], buf, sizeof(buf));
	assert_false(gzip_stream_hungry(z[3]));
	gzip_stream_put(g, z[3]);
	again = gzip_stream_get(g);
	assert_ptr_equal(again, z[3]);
	assert_null(gzip_stream_get(g));
	gzip_stream_put(g, again);
	check_stream(g, text, 50000, 16384, 28000);
	for (unsigned i = 0; i < GZIP_STREAMS_MAX; i++)
		if (i != 3)
			gzip_stream_put(g, z[i]);
	gzip_free(g);
}

static void test_room_is_there_once(void **state)
{
	struct gzip *g = start(6);
	char *room = gzip_room(g);

	(void)state;
	assert_non_null(room);
	assert_ptr_equal(gzip_room(g), room);
	memcpy(room, text, GZIP_WHOLE_MAX);
	check_whole(g, room, GZIP_WHOLE_MAX);
	assert_memory_equal(room, text, GZIP_WHOLE_MAX);
	gzip_free(g);
	gzip_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole_bodies_of_every_size_and_level),
		cmocka_unit_test(test_what_does_not_become_smaller),
		cmocka_unit_test(test_streams),
		cmocka_unit_test(test_flush_points),
		cmocka_unit_test(test_the_number_of_streams_is_bounded),
		cmocka_unit_test(test_room_is_there_once),
	};

	return cmocka_run_group_tests(tests, make_data, NULL);
}
