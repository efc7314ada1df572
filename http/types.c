/* SPDX-License-Identifier: MIT */
/* Media types by the ending of a file's name. */
#include "http/http_priv.h"
#include "http/types.h"

#define ENDING_MAX 11 /* "webmanifest" */

static const struct {
	struct slice ending;
	struct slice type;
} types[] = {
#define HTTP_TYPE(ending, type) { { ending, sizeof(ending) - 1 }, { type, sizeof(type) - 1 } },
#include "http/types.def"
#undef HTTP_TYPE
};

#define HTTP_TYPE(ending, type) \
	_Static_assert(sizeof(ending) - 1 <= ENDING_MAX, "ENDING_MAX is too small for " ending);
#include "http/types.def"
#undef HTTP_TYPE

/* As strcmp() on lower-case letters. */
static int compare(struct slice ending, struct slice row)
{
	size_t n = ending.len < row.len ? ending.len : row.len;
	int order = strncasecmp(ending.p, row.p, n);

	return order ? order : (ending.len > row.len) - (ending.len < row.len);
}

/* What is behind the last dot of the last segment; empty if there is none. */
static struct slice ending_of(struct slice path)
{
	for (size_t n = 0; n < path.len && n <= ENDING_MAX; n++) {
		const char *p = path.p + path.len - 1 - n;

		if (*p == '/')
			break;
		if (*p == '.')
			return (struct slice){p + 1, n};
	}
	return (struct slice){path.p, 0};
}

struct slice http_type_of(struct slice path)
{
	struct slice ending = ending_of(path);
	size_t low = 0, high = ending.len > 0 ? sizeof(types) / sizeof(types[0]) : 0;

	while (low < high) {
		size_t mid = (low + high) / 2;
		int order = compare(ending, types[mid].ending);

		if (order == 0)
			return types[mid].type;
		if (order < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return SLICE("application/octet-stream");
}

static bool begins(struct slice s, struct slice with)
{
	return s.len >= with.len && slice_eq_nocase((struct slice){s.p, with.len}, with);
}

static bool ends(struct slice s, struct slice with)
{
	return s.len >= with.len &&
	       slice_eq_nocase((struct slice){s.p + s.len - with.len, with.len}, with);
}

bool http_type_is_compressible(struct slice t)
{
	static const struct slice others[] = {
		SLICE("application/json"), SLICE("application/javascript"),
		SLICE("application/xml"), SLICE("application/x-javascript"),
		SLICE("application/wasm"),
		SLICE("application/x-ndjson"), SLICE("application/yaml"), SLICE("application/toml"),
		SLICE("application/rtf"), SLICE("application/graphql"),
		SLICE("application/x-www-form-urlencoded"), SLICE("application/openmetrics-text"),
		SLICE("application/vnd.apple.mpegurl"), SLICE("application/vnd.ms-fontobject"),
		SLICE("application/x-tar"), SLICE("font/ttf"), SLICE("font/otf"),
	};
	const char *semicolon = t.len > 0 ? memchr(t.p, ';', t.len) : NULL;

	if (semicolon)
		t.len = (size_t)(semicolon - t.p);
	while (t.len > 0 && (t.p[t.len - 1] == ' ' || t.p[t.len - 1] == '\t'))
		t.len--;
	if (begins(t, SLICE("text/")) || ends(t, SLICE("+json")) || ends(t, SLICE("+xml")))
		return true;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (slice_eq_nocase(t, others[i]))
			return true;
	return false;
}
