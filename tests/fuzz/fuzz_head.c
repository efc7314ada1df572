/* SPDX-License-Identifier: MIT */
/*
 * Request heads: whatever the bytes are, nothing outside of them is read, slices lie inside of
 * them, and the outcome is the same in one piece, in two, and byte by byte.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/check.h"
#include "http/http.h"

#define FIELDS 8
#define SIZE_MAX_FUZZ 4096

static struct http_field fields[FIELDS];

static void check_slice(struct slice s, const char *buf, size_t len)
{
	if (s.p)
		CHECK(s.p >= buf && s.len <= len && s.p + s.len <= buf + len);
	else
		CHECK(s.len == 0);
}

static void check_target(const struct http_request *r, const char *buf)
{
	size_t len = r->head_len, path_len;
	char *path;

	check_slice(r->method_text, buf, len);
	check_slice(r->target, buf, len);
	check_slice(r->query, buf, len);
	check_slice(r->authority, buf, len);
	CHECK(r->target.len > 0);
	if (!(r->form == HTTP_ABSOLUTE_FORM && slice_eq(r->raw_path, SLICE("/"))))
		check_slice(r->raw_path, buf, len);
	CHECK((r->form == HTTP_AUTHORITY_FORM) == (r->method == HTTP_M_CONNECT));
	CHECK((r->form == HTTP_AUTHORITY_FORM) == (r->raw_path.len == 0));
	CHECK(r->form != HTTP_ORIGIN_FORM || r->raw_path.p[0] == '/');
	path = malloc(r->raw_path.len + 1);
	CHECK(path);
	if (!http_normalise_path(r->raw_path, path, &path_len))
		CHECK(path_len <= r->raw_path.len);
	free(path);
}

static void check_request(const struct http_request *r, const char *buf, size_t len)
{
	CHECK(r->head_len <= len && r->nfields + r->dropped_fields <= FIELDS);
	CHECK(memcmp(buf + r->head_len - 4, "\r\n\r\n", 4) == 0);
	CHECK(!r->chunked || (r->minor == 1 && r->content_length < 0));
	CHECK(r->has_body == (r->chunked || r->content_length > 0));
	CHECK(r->minor == 0 || r->known_count[HTTP_F_HOST] == 1);
	check_target(r, buf);
	for (size_t i = 0; i < HTTP_F_COUNT; i++) {
		check_slice(r->known[i], buf, r->head_len);
		CHECK(!r->known[i].p == !r->known_count[i]);
	}
	for (size_t i = 0; i < r->nfields; i++) {
		check_slice(r->fields[i].name, buf, r->head_len);
		check_slice(r->fields[i].value, buf, r->head_len);
		CHECK(http_field_ok(r->fields[i].name, r->fields[i].value));
		CHECK(http_find_field(r, r->fields[i].name, NULL));
	}
	(void)http_prefers_text(r->known[HTTP_F_ACCEPT]);
}

/*
 * Parses data[0..len), copied to the end of a block of `size` bytes: there a sanitizer sees a read
 * behind it, and the bytes lie elsewhere each time.
 */
static enum http_err parse(const struct http_limits *l, char *block, size_t size,
			   const uint8_t *data, size_t len, size_t *scan, size_t *ret_head_len)
{
	struct http_request req = { .fields = fields };
	char *buf = block + size - len;
	enum http_err e;

	memcpy(buf, data, len);
	e = http_parse_head(&req, l, buf, len, scan);
	if (!e) {
		check_request(&req, buf, len);
		*ret_head_len = req.head_len;
	}
	return e;
}

static void try_limits(const struct http_limits *l, const uint8_t *data, size_t size, size_t cut)
{
	char *block = malloc(size);
	size_t scan = 0, head_len = 0, again_len = 0;
	enum http_err whole, e;

	CHECK(block);
	whole = parse(l, block, size, data, size, &scan, &head_len);

	scan = 0;
	e = parse(l, block, size, data, cut, &scan, &again_len);
	if (e == HTTP_E_AGAIN)
		e = parse(l, block, size, data, size, &scan, &again_len);
	CHECK(e == whole && again_len == head_len);

	scan = again_len = 0;
	e = HTTP_E_AGAIN;
	for (size_t n = 1; n <= size && e == HTTP_E_AGAIN; n++)
		e = parse(l, block, size, data, n, &scan, &again_len);
	CHECK(e == whole && again_len == head_len);
	free(block);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first byte says where the bytes behind it are cut. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct http_limits small = { 40, 4, 32, 128 };
	static const struct http_limits large = { 8190, FIELDS, 8190, 65536 };
	size_t cut;

	if (size < 2 || size > SIZE_MAX_FUZZ)
		return 0;
	cut = data[0] % size;
	try_limits(&large, data + 1, size - 1, cut);
	try_limits(&small, data + 1, size - 1, cut);
	return 0;
}
