/* SPDX-License-Identifier: MIT */
/* Normalised paths: the one form of a path that routes and access rules are matched with. */
#include "http/http_priv.h"

/* Decodes the percent sequence at p into out; the bytes written, 0 if it is none or NUL. */
static size_t decode(const char *p, const char *end, char *out)
{
	unsigned c;

	if (end - p < 3 || !(class_of(p[1]) & C_HEX) || !(class_of(p[2]) & C_HEX))
		return 0;
	c = hex_value(p[1]) << 4 | hex_value(p[2]);
	if (c == 0)
		return 0;
	if (c == '/' || c == '%') {
		memcpy(out, c == '/' ? "%2F" : "%25", 3);
		return 3;
	}
	*out = (char)c;
	return 1;
}

/*
 * A segment, out[seg..len), ends here. Removes it if it is a dot segment, and the one before it
 * for "..": the new length, which is just behind a slash. Otherwise len.
 */
static size_t fold_segment(const char *out, size_t seg, size_t len)
{
	size_t n = len - seg;

	if (n == 1 && out[seg] == '.')
		return seg;
	if (n != 2 || out[seg] != '.' || out[seg + 1] != '.')
		return len;
	if (seg == 1) /* the root's parent is the root */
		return seg;
	for (seg--; out[seg - 1] != '/'; )
		seg--;
	return seg;
}

enum http_err http_normalise_path(struct slice path, char *out, size_t *ret_len)
{
	const char *p = path.p, *end;
	size_t len = path.len, seg = 1, n;

	if (len == 0 || slice_eq(path, SLICE("*"))) {
		out[0] = '*';
		out[len] = '\0';
		*ret_len = len;
		return HTTP_OK;
	}
	if (*p != '/')
		return HTTP_E_BAD_TARGET;
	end = p + len;
	out[0] = *p++;
	len = 1;
	while (p < end) {
		if (*p == '/') {
			n = fold_segment(out, seg, len);
			if (n == len)
				out[n++] = '/';
			len = seg = n;
			p++;
		} else if (*p == '%') {
			n = decode(p, end, out + len);
			if (n == 0)
				return HTTP_E_BAD_TARGET;
			len += n;
			p += 3;
		} else if (*p == '\0') {
			return HTTP_E_BAD_TARGET;
		} else {
			out[len++] = *p++;
		}
	}
	len = fold_segment(out, seg, len);
	out[len] = '\0';
	*ret_len = len;
	return HTTP_OK;
}
