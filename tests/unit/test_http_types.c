/* SPDX-License-Identifier: MIT */
/* http/types.c: media types of files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "http/types.h"

static const struct { const char *ending, *type; } table[] = {
#define HTTP_TYPE(ending, type) { ending, type },
#include "http/types.def"
#undef HTTP_TYPE
};

#define ROWS (sizeof(table) / sizeof(table[0]))

static struct slice type_of(const char *path)
{
	size_t len = strlen(path);
	char *copy = malloc(len ? len : 1);
	struct slice type;

	assert_non_null(copy);
	type = http_type_of((struct slice){memcpy(copy, path, len), len});
	free(copy);
	assert_int_equal(type.p[type.len], '\0');
	return type;
}

/* Every row is found, in any case; the order is the one that the search needs. */
static void test_rows(void **state)
{
	char path[64];

	(void)state;
	for (size_t i = 0; i < ROWS; i++) {
		assert_true(i == 0 || strcmp(table[i - 1].ending, table[i].ending) < 0);
		strcat(strcpy(path, "/a.b/c."), table[i].ending);
		assert_string_equal(type_of(path).p, table[i].type);
		for (char *p = path; *p; p++)
			if (*p >= 'a' && *p <= 'z')
				*p = (char)(*p - 'a' + 'A');
		assert_string_equal(type_of(path).p, table[i].type);
		assert_true(http_field_ok(SLICE("content-type"), slice_of(table[i].type)));
	}
}

static void test_others(void **state)
{
	static const char *const unknown[] = {
		"", "html", "/", ".", "a.", "/a.html/", "/a.html/b", "a.unknown", "a.htmlx",
		"a.htm.l", "a.averylongending", "a.ht ml", "a.\xff", "a.0", "a.zzzzz", "a.html ",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
		if (!slice_eq(type_of(unknown[i]), SLICE("application/octet-stream")))
			fail_msg("%s", unknown[i]);
	assert_string_equal(type_of("a.tar.gz").p, "application/gzip");
	assert_string_equal(type_of(".html").p, "text/html; charset=utf-8");
	assert_string_equal(http_type_of((struct slice){NULL, 0}).p, "application/octet-stream");
}

static void test_compressible(void **state)
{
	static const struct { const char *type; bool yes; } rows[] = {
		{ "text/html", true }, { "text/html; charset=utf-8", true }, { "TEXT/CSS", true },
		{ "text/event-stream", true }, { "application/json", true },
		{ "application/json ; a=b", true }, { "Application/JSON", true },
		{ "application/problem+json", true }, { "application/manifest+json\t;x", true },
		{ "application/javascript", true }, { "application/atom+xml", true },
		{ "image/svg+xml", true }, { "application/wasm", true }, { "font/ttf", true },
		{ "", false }, { ";", false }, { "text", false }, { "image/png", false },
		{ "image/jpeg", false }, { "image/webp", false }, { "font/woff2", false },
		{ "video/mp4", false }, { "application/octet-stream", false },
		{ "application/gzip", false }, { "application/zip", false },
		{ "application/epub+zip", false }, { "application/jsonx", false },
		{ "application/octet-stream; x=+json", false }, { "application/pdf", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t len = strlen(rows[i].type);
		char *copy = malloc(len ? len : 1);

		assert_non_null(copy);
		memcpy(copy, rows[i].type, len);
		if (http_type_is_compressible((struct slice){copy, len}) != rows[i].yes)
			fail_msg("%s", rows[i].type);
		free(copy);
	}
	assert_false(http_type_is_compressible((struct slice){NULL, 0}));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_others),
		cmocka_unit_test(test_compressible),
	};

	return cmocka_run_group_tests_name("http/types", tests, NULL, NULL);
}
