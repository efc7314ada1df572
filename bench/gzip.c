/* SPDX-License-Identifier: MIT */
/*
 * What compressing a whole body costs: with states that are kept, as we do it, and with one made
 * for each body and sized by its length, in memory that is at hand, as nginx does it. JSON as an
 * API sends it, and bytes of which each is one of two values at random: about the worst there is
 * for zlib, and so what bounds how long a loop is held. Prints the least CPU time of several runs.
 */
#define ZLIB_CONST /* its input is const */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <zlib.h>

#include "serve/gzip.h"

#define RUNS 7

static char out[GZIP_WHOLE_MAX];
static char pool[512 * 1024];
static size_t pool_used;

static void die(const char *what)
{
	fprintf(stderr, "gzip: %s\n", what);
	exit(1);
}

static uint64_t cpu_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void *pool_alloc(void *arg, uInt n, uInt size)
{
	void *p = pool + pool_used;

	(void)arg;
	pool_used += ((size_t)n * size + 15) & ~(size_t)15;
	if (pool_used > sizeof(pool))
		die("the pool is too small");
	return p;
}

static void pool_free(void *arg, void *p)
{
	(void)arg;
	(void)p;
}

static size_t as_nginx(const char *p, size_t len, int level)
{
	z_stream z = {.zalloc = pool_alloc, .zfree = pool_free};
	int bits = MAX_WBITS, mem = MAX_MEM_LEVEL - 1;

	while (len < (1u << (bits - 1)) - 262 && bits > 9) {
		bits--;
		mem = mem > 1 ? mem - 1 : 1;
	}
	pool_used = 0;
	if (deflateInit2(&z, level, Z_DEFLATED, bits + 16, mem, Z_DEFAULT_STRATEGY) != Z_OK)
		die("deflateInit2 failed");
	z.next_in = (const Bytef *)p;
	z.avail_in = (uInt)len;
	z.next_out = (Bytef *)out;
	z.avail_out = sizeof(out);
	if (deflate(&z, Z_FINISH) != Z_STREAM_END)
		die("deflate failed");
	(void)deflateEnd(&z);
	return (size_t)((char *)z.next_out - out);
}

static uint32_t next_random(uint32_t *x)
{
	*x = *x * 1664525 + 1013904223;
	return *x >> 16;
}

static void make_json(char *p, size_t len)
{
	uint32_t x = 1;

	for (size_t n = 0; n < len;) {
		char item[256];
		uint32_t a = next_random(&x), b = next_random(&x);
		int k = snprintf(item, sizeof(item),
				 "{\"id\":%u,\"name\":\"item %u\",\"price\":%u.%02u,"
				 "\"tags\":[\"red\",\"t%u\"],\"active\":%s},",
				 a, b % 1000, b % 499, b % 97, b % 19, a & 1 ? "true" : "false");

		for (int i = 0; i < k && n < len; i++)
			p[n++] = item[i];
	}
}

static void make_worst(char *p, size_t len)
{
	uint32_t x = 1;

	for (size_t n = 0; n < len; n++)
		p[n] = next_random(&x) & 1 ? 'a' : 'b';
}

static void bench(const char *name, const char *p, size_t len, int level)
{
	struct gzip *g = gzip_new(level);
	uint64_t ours = UINT64_MAX, theirs = UINT64_MAX;
	int rounds = len < 4096 ? 2000 : 2000 * 1024 / (int)len;
	size_t n = 0, m = 0;

	if (!g)
		die("no memory");
	for (int run = 0; run < RUNS; run++) {
		uint64_t start = cpu_ns(), took;

		for (int i = 0; i < rounds; i++)
			n = gzip_whole(g, (struct slice){p, len}).len;
		took = cpu_ns() - start;
		ours = took < ours ? took : ours;
		start = cpu_ns();
		for (int i = 0; i < rounds; i++)
			m = as_nginx(p, len, level);
		took = cpu_ns() - start;
		theirs = took < theirs ? took : theirs;
	}
	gzip_free(g);
	printf("%-6s level %d %6zu bytes: kept %8.1f us (%5zu)   made anew %8.1f us (%5zu)\n", name,
	       level, len, (double)ours / rounds / 1e3, n, (double)theirs / rounds / 1e3, m);
}

int main(void)
{
	static const size_t sizes[] = {256, 1024, 4096, 16384, GZIP_WHOLE_MAX};
	static const int levels[] = {1, 6, 9};
	static char data[GZIP_WHOLE_MAX];

	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		make_json(data, sizeof(data));
		for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++)
			bench("json", data, sizes[k], levels[i]);
		make_worst(data, sizeof(data));
		bench("worst", data, sizeof(data), levels[i]);
	}
	return 0;
}
