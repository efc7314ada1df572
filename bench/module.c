/* SPDX-License-Identifier: MIT */
/*
 * The module that bench/compare measures: 13 bytes by an inline handler, the same by one of the
 * pool, a JSON document of 1 KiB, the same that nginx is given, and as many bytes as the path says,
 * for the cache.
 */
#include <capricorn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char json[2048];
static size_t json_len;

static int hello(struct capri_request *r, void *arg)
{
	(void)arg;
	return capri_respond(r, 200, "text/plain", "Hello, World!", 13);
}

static int document(struct capri_request *r, void *arg)
{
	(void)arg;
	return capri_respond(r, 200, "application/json", json, json_len);
}

static int bytes(struct capri_request *r, void *arg)
{
	static char body[65536];
	struct capri_str n = capri_param(r, "n");
	size_t len = n.p ? (size_t)strtoul(n.p, NULL, 10) : 0;

	(void)arg;
	if (body[0] == 0)
		memset(body, 'x', sizeof(body));
	return capri_respond(r, 200, "application/octet-stream", body,
			     len < sizeof(body) ? len : sizeof(body));
}

static int start(struct capri_worker *w)
{
	size_t n = 0;

	(void)w;
	for (int i = 0; i < 18; i++)
		n += (size_t)snprintf(json + n, sizeof(json) - n,
				      "%s{\"id\":%d,\"name\":\"item %d\",\"price\":%d.%02d,"
				      "\"tags\":[\"a%d\",\"b%d\"]}", i ? "," : "{\"items\":[", i, i,
				      i * 7 % 90, i * 13 % 100, i % 5, i % 7);
	json_len = n + (size_t)snprintf(json + n, sizeof(json) - n, "]}");
	return 0;
}

static const struct capri_route routes[] = {
	{"GET", "/", hello, .kind = CAPRI_INLINE},
	{"GET", "/pool", hello, .kind = CAPRI_POOL},
	{"GET", "/json", document, .kind = CAPRI_INLINE},
	{"GET", "/bytes/{n}", bytes, .kind = CAPRI_INLINE},
	{0}
};
const struct capri_app capricorn_app = {
	CAPRI_APP_INIT, .name = "bench", .routes = routes, .start = start,
};
