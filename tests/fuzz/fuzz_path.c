/* SPDX-License-Identifier: MIT */
/*
 * Paths: a normalised one begins with a slash, has no dot segments, is no longer than what it was
 * made from, and stays what it is when it is normalised again.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/check.h"
#include "http/http.h"

static void check_segments(const char *p, size_t len)
{
	size_t start = 1;

	CHECK(len > 0 && p[0] == '/' && p[len] == '\0');
	for (size_t i = 1; i <= len; i++) {
		if (i < len && p[i] != '/') {
			CHECK(p[i] != '\0');
			continue;
		}
		CHECK(!(i - start == 1 && p[start] == '.'));
		CHECK(!(i - start == 2 && p[start] == '.' && p[start + 1] == '.'));
		start = i + 1;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *out, *again;
	size_t len, again_len;

	if (size < 2)
		return 0;
	out = malloc(size + 1);
	again = malloc(size + 1);
	CHECK(out && again);
	if (!http_normalise_path((struct slice){(const char *)data, size}, out, &len)) {
		CHECK(len <= size);
		check_segments(out, len);
		CHECK(!http_normalise_path((struct slice){out, len}, again, &again_len));
		CHECK(again_len == len && memcmp(again, out, len + 1) == 0);
	}
	free(out);
	free(again);
	return 0;
}
