/* SPDX-License-Identifier: MIT */
/*
 * What a client may write into a query and into the fields that say what it takes: queries,
 * Accept, Accept-Encoding, entity tags, dates, ranges, endings of paths. The first byte chooses;
 * the rest is the text, in two parts if it has a line end. Each is asked for what must hold,
 * whatever the bytes are.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/check.h"
#include "http/conditional.h"
#include "http/types.h"

#define NOW 1750000000

static bool within(struct slice part, struct slice of)
{
	return part.p >= of.p && part.p + part.len <= of.p + of.len;
}

/* a: query, b: name. A name is found if and only if one of the parts decodes to it. */
static void try_query(struct slice a, struct slice b)
{
	struct slice v = http_query_find(a, b), left = a;
	char *out = malloc(a.len + 1);
	const char *first = NULL;
	size_t len;

	CHECK(out);
	while (left.len > 0 && !first) {
		const char *end = memchr(left.p, '&', left.len);
		size_t n = end ? (size_t)(end - left.p) : left.len;
		const char *equals = memchr(left.p, '=', n);

		len = http_query_decode((struct slice){left.p, equals ? (size_t)(equals - left.p)
								      : n}, out);
		if (n > 0 && slice_eq((struct slice){out, len}, b))
			first = equals ? equals + 1 : left.p + n;
		left = (struct slice){left.p + n + !!end, left.len - n - !!end};
	}
	CHECK(v.p == first);
	if (v.p) {
		CHECK(within(v, a) && !memchr(v.p, '&', v.len));
		CHECK(v.p + v.len == a.p + a.len || v.p[v.len] == '&');
	}
	len = http_query_decode(a, out);
	CHECK(len <= a.len);
	if (len == a.len) /* nothing but blanks has been decoded */
		for (size_t i = 0; i < len; i++)
			CHECK(out[i] == (a.p[i] == '+' ? ' ' : a.p[i]));
	free(out);
}

/* a and b are two fields of a request; they count as one list. */
static void try_codings(struct slice a, struct slice b)
{
	struct http_field fields[2] = { { SLICE("Accept-Encoding"), a },
					{ SLICE("accept-encoding"), b } };
	struct http_request req = { .fields = fields, .nfields = 2 };
	char *joined = malloc(a.len + b.len + 1);
	bool quoted = (a.len > 0 && memchr(a.p, '"', a.len));

	CHECK(joined);
	if (a.len > 0)
		memcpy(joined, a.p, a.len);
	joined[a.len] = ',';
	if (b.len > 0)
		memcpy(joined + a.len + 1, b.p, b.len);
	req.known[HTTP_F_ACCEPT_ENCODING] = a;
	req.known_count[HTTP_F_ACCEPT_ENCODING] = 2;
	CHECK(quoted || http_request_accepts_gzip(&req) ==
	      http_accepts_gzip((struct slice){joined, a.len + b.len + 1}));
	if (http_accepts_gzip(a))
		CHECK(memchr(a.p, '*', a.len) || memchr(a.p, 'p', a.len) ||
		      memchr(a.p, 'P', a.len));
	(void)http_prefers_text(a);
	free(joined);
}

/* a: list, b: tag. What matches strongly matches weakly; a tag matches itself. */
static void try_etags(struct slice a, struct slice b)
{
	bool strong = http_etag_matches(a, b, false), weak = http_etag_matches(a, b, true);
	bool star = slice_eq(a, SLICE("*"));

	CHECK(weak || !strong);
	if (weak && !star) {
		size_t from = b.len > 0 && b.p[0] == 'W' ? 2 : 0;

		CHECK(b.len >= from + 2 && b.p[from] == '"' && a.len >= b.len - from);
		CHECK(!strong || from == 0);
	}
	if (http_etag_matches(b, b, true) && !slice_eq(b, SLICE("*")))
		CHECK(http_etag_matches(b, b, false) == (b.p[0] != 'W'));
}

/* What is read, and written again, is the same second, and what it was if it was in that format. */
static void try_date(struct slice a)
{
	int64_t s = 0, again;
	char out[HTTP_DATE_LEN + 1];

	if (!http_parse_date(a, NOW, &s))
		return;
	CHECK(s >= -62167219200 && s <= 253402300800);
	if (s < 0 || s > 253402300799)
		return;
	http_format_date(s, out);
	CHECK(http_parse_date((struct slice){out, HTTP_DATE_LEN}, NOW, &again) && again == s);
	if (a.len == HTTP_DATE_LEN && a.p[3] == ',' && memcmp(a.p + 23, "60", 2) != 0)
		CHECK(memcmp(a.p, out, HTTP_DATE_LEN) == 0);
}

/* a: range, b: its length is the size. */
static void try_range(struct slice a, struct slice b)
{
	const uint64_t sizes[] = { b.len, 0, 1, 1000, INT64_MAX, UINT64_MAX };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t offset = 0, len = 0;

		if (http_read_range(a, sizes[i], &offset, &len) == HTTP_RANGE_OK)
			CHECK(len > 0 && offset < sizes[i] && len <= sizes[i] - offset);
		else
			CHECK(offset == 0 && len == 0);
	}
}

/* a is the value of each of the conditional fields, b the entity tag and If-Range. */
static void try_conditions(uint8_t which, struct slice a, struct slice b)
{
	static const enum http_method methods[] = { HTTP_M_GET, HTTP_M_PUT, HTTP_M_OPTIONS };
	struct http_validator v = { b, true, NOW - 10 };
	uint64_t offset, len;

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		struct http_request req = { .method = methods[i] };
		int got;

		for (int f = 0; f < 6; f++) {
			if (!(which & 1u << f))
				continue;
			req.known[HTTP_F_IF_MATCH + f] = HTTP_F_IF_MATCH + f == HTTP_F_IF_RANGE
							 ? b : a;
			req.known_count[HTTP_F_IF_MATCH + f] = 1;
		}
		got = http_check_conditions(&req, &v, NOW);
		CHECK(got == 0 || (got == 412 && i < 2) || (got == 304 && i == 0));
		if (http_request_range(&req, &v, NOW, 100, &offset, &len) != HTTP_RANGE_NONE)
			CHECK(i == 0 && req.known_count[HTTP_F_RANGE] == 1);
	}
}

static void try_type(struct slice a)
{
	struct slice type = http_type_of(a);

	CHECK(type.len > 0 && memchr(type.p, '/', type.len) && type.p[type.len] == '\0');
	(void)http_type_is_compressible(a);
	(void)http_type_is_compressible(type);
}

/* A copy in a block of its own, where a sanitizer sees a read behind it. */
static struct slice copy_of(const uint8_t *p, size_t len)
{
	char *copy = malloc(len ? len : 1);

	CHECK(copy);
	if (len > 0)
		memcpy(copy, p, len);
	return (struct slice){copy, len};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end;
	struct slice a, b;

	if (size < 2)
		return 0;
	end = memchr(data + 1, '\n', size - 1);
	a = copy_of(data + 1, end ? (size_t)(end - data - 1) : size - 1);
	b = end ? copy_of(end + 1, (size_t)(data + size - end - 1)) : copy_of(data, 0);
	switch (data[0]) {
	case 'q': try_query(a, b); break;
	case 'a': try_codings(a, b); break;
	case 'e': try_etags(a, b); break;
	case 'd': try_date(a); break;
	case 'r': try_range(a, b); break;
	case 't': try_type(a); break;
	default:
		try_conditions(data[0], a, b);
	}
	free((void *)(uintptr_t)a.p);
	free((void *)(uintptr_t)b.p);
	return 0;
}
