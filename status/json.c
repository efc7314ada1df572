/* SPDX-License-Identifier: MIT */
/* Small helpers around jansson: memory that is missing is noted once, texts may hold any bytes. */
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/json.h"
#include "status/status_priv.h"

void doc_put(struct doc *d, json_t *object, const char *key, json_t *value)
{
	if (json_object_set_new(object, key, value) != 0)
		d->failed = true;
}

void doc_add(struct doc *d, json_t *array, json_t *value)
{
	if (json_array_append_new(array, value) != 0)
		d->failed = true;
}

void doc_int(struct doc *d, json_t *object, const char *key, uint64_t n)
{
	doc_put(d, object, key, json_integer(n < INT64_MAX ? (json_int_t)n : INT64_MAX));
}

void doc_real(struct doc *d, json_t *object, const char *key, double x)
{
	doc_put(d, object, key, json_real(x));
}

void doc_bool(struct doc *d, json_t *object, const char *key, bool x)
{
	doc_put(d, object, key, json_boolean(x));
}

/* Bytes that are no UTF-8 become U+FFFD: jansson takes nothing else. */
static json_t *any_text(const char *text)
{
	struct slice s = slice_of(text);
	char *clean = malloc(s.len * 3 + 1);
	size_t len = 0;
	json_t *v;

	if (!clean)
		return NULL;
	for (size_t i = 0; i < s.len;) {
		size_t n = json_utf8_len((const unsigned char *)s.p + i, s.len - i);

		if (n == 0) {
			memcpy(clean + len, "\xef\xbf\xbd", 3);
			len += 3;
			i++;
			continue;
		}
		memcpy(clean + len, s.p + i, n);
		len += n;
		i += n;
	}
	v = json_stringn(clean, len);
	free(clean);
	return v;
}

void doc_text(struct doc *d, json_t *object, const char *key, const char *text)
{
	doc_put(d, object, key, text ? any_text(text) : json_null());
}

void doc_time(struct doc *d, json_t *object, const char *key, uint64_t wall_ns)
{
	time_t s = (time_t)(wall_ns / NS_PER_S);
	char day[32], text[48];
	struct tm tm;

	if (!gmtime_r(&s, &tm) || strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm) == 0) {
		doc_put(d, object, key, json_null());
		return;
	}
	snprintf(text, sizeof(text), "%s.%03uZ", day, (unsigned)(wall_ns % NS_PER_S / NS_PER_MS));
	doc_put(d, object, key, json_string(text));
}

static int dump(const char *p, size_t len, void *arg)
{
	strbuf_add(arg, p, len);
	return 0;
}

bool doc_end(struct doc *d, json_t *root, struct strbuf *out)
{
	if (!root || d->failed ||
	    json_dump_callback(root, dump, out, JSON_INDENT(2) | JSON_REAL_PRECISION(10)) != 0)
		d->failed = true;
	json_decref(root);
	strbuf_puts(out, "\n");
	return !d->failed && !out->failed;
}
