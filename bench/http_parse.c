/* SPDX-License-Identifier: MIT */
/*
 * What parsing costs: nanoseconds per head for a client that sends little, for a load generator,
 * and for a browser; per normalised path; and per byte for a head that comes one byte at a time.
 * Prints the best of several runs, so that other load on the machine disturbs little.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "http/http.h"

#define RUNS 10
#define ROUNDS 200000

static const struct http_limits limits = { 8190, 100, 8190, 65536 };
static struct http_field fields[100];

static const struct kind {
	const char *name;
	struct slice head;
} kinds[] = {
	{ "wrk", SLICE("GET / HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n\r\n") },
	{ "curl", SLICE("GET /api/items HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n"
			"User-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n") },
	{ "browser", SLICE(
		"GET /shop/items/42?colour=blue&page=2 HTTP/1.1\r\n"
		"Host: shop.example.com\r\n"
		"Connection: keep-alive\r\n"
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 "
		"(KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36\r\n"
		"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,"
		"*/*;q=0.8\r\n"
		"Referer: https://shop.example.com/shop/items?page=1\r\n"
		"Accept-Encoding: gzip, deflate, br\r\n"
		"Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n"
		"Cookie: session=5f2d7c1e9a; theme=dark; basket=3\r\n\r\n") },
};

static void die(const char *what)
{
	fprintf(stderr, "http_parse: %s\n", what);
	exit(1);
}

static void bench_head(const struct kind *k)
{
	struct http_request req = { .fields = fields };
	uint64_t best = UINT64_MAX;

	for (int run = 0; run < RUNS; run++) {
		uint64_t start = clock_mono_ns(), took;

		for (int i = 0; i < ROUNDS; i++) {
			size_t scan = 0;

			if (http_parse_head(&req, &limits, k->head.p, k->head.len, &scan))
				die("a head that is right was refused");
		}
		took = clock_mono_ns() - start;
		best = took < best ? took : best;
	}
	printf("%-10s %4zu bytes %7.1f ns\n", k->name, k->head.len, (double)best / ROUNDS);
}

static void bench_path(void)
{
	struct slice path = SLICE("/shop/items/42%20b/../43");
	uint64_t best = UINT64_MAX;
	char out[64];
	size_t len;

	for (int run = 0; run < RUNS; run++) {
		uint64_t start = clock_mono_ns(), took;

		for (int i = 0; i < ROUNDS; i++)
			if (http_normalise_path(path, out, &len))
				die("a path that is right was refused");
		took = clock_mono_ns() - start;
		best = took < best ? took : best;
	}
	printf("%-10s %4zu bytes %7.1f ns\n", "path", path.len, (double)best / ROUNDS);
}

/* A head of almost 64 KiB, one byte at a time. */
static void bench_drip(void)
{
	static char buf[65536];
	struct http_request req = { .fields = fields };
	size_t len, scan = 0;
	uint64_t start;

	len = (size_t)snprintf(buf, sizeof(buf), "GET / HTTP/1.1\r\nHost: a\r\n");
	for (int i = 0; i < 8; i++)
		len += (size_t)snprintf(buf + len, sizeof(buf) - len, "a: %08000d\r\n", i);
	len += (size_t)snprintf(buf + len, sizeof(buf) - len, "\r\n");
	start = clock_mono_ns();
	for (size_t i = 1; i < len; i++)
		if (http_parse_head(&req, &limits, buf, i, &scan) != HTTP_E_AGAIN)
			die("a head that is not complete was taken or refused");
	if (http_parse_head(&req, &limits, buf, len, &scan))
		die("a head that is right was refused");
	printf("%-10s %4zu bytes %7.1f ns a byte\n", "drip", len,
	       (double)(clock_mono_ns() - start) / (double)len);
}

int main(void)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		bench_head(&kinds[i]);
	bench_path();
	bench_drip();
	return 0;
}
