/* SPDX-License-Identifier: MIT */
/*
 * Directory of the metrics that modules have: names, labels, help and kind. Written by the master,
 * as a worker asks for it while it boots (declare.h). The rules for texts are those of Prometheus'
 * format, checked where they come in and again where they are read, since they go out as they are.
 */
#include "shm/shm.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"

#define NAME_BYTES 80
#define LABELS_BYTES 200
#define HELP_BYTES 160
_Static_assert(NAME_BYTES < SHM_MODULE_NAME_MAX && LABELS_BYTES < SHM_MODULE_LABELS_MAX &&
	       HELP_BYTES < SHM_MODULE_HELP_MAX, "each text has room for its NUL");

/* ---- texts ---- */

static bool is_name_byte(char c, bool first)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
	       (!first && c >= '0' && c <= '9');
}

/* Bytes of the name that begins here; 0 if none does. */
static size_t name_len(const char *p)
{
	size_t n = 0;

	while (is_name_byte(p[n], n == 0))
		n++;
	return n;
}

static bool name_ok(const char *name)
{
	static const char ours[] = "capricorn_";
	size_t len = name_len(name);

	return len > 0 && len <= NAME_BYTES && name[len] == '\0' &&
	       strncmp(name, ours, sizeof(ours) - 1) != 0;
}

/* Bytes of a value up to its closing quote, which is there; -1 if this is none. */
static long value_len(const char *p)
{
	size_t left = strlen(p), i = 0;

	while (i < left && p[i] != '"') {
		size_t n = json_utf8_len((const unsigned char *)p + i, left - i);

		if (n == 0 || (unsigned char)p[i] < 0x20 || p[i] == 0x7f)
			return -1;
		if (p[i] == '\\') {
			if (p[i + 1] != '\\' && p[i + 1] != '"' && p[i + 1] != 'n')
				return -1;
			n = 2;
		}
		i += n;
	}
	return i < left ? (long)i : -1;
}

/* Is a label of this name among those that stand before `end`? */
static bool has_label(const char *labels, const char *end, const char *name, size_t len)
{
	while (labels < end) {
		size_t n = name_len(labels);

		if (n == len && memcmp(labels, name, len) == 0)
			return true;
		labels += n + 2;
		labels += value_len(labels) + 2; /* a closing quote, a comma */
	}
	return false;
}

static bool labels_ok(const char *labels)
{
	const char *p = labels;

	if (strlen(labels) > LABELS_BYTES)
		return false;
	while (*p != '\0') {
		size_t n = name_len(p);
		long value;

		/* "le" is a histogram's own, two underscores are Prometheus'. */
		if (n == 0 || strncmp(p, "__", 2) == 0 || strncmp(p, "le=", 3) == 0 ||
		    has_label(labels, p, p, n) || p[n] != '=' || p[n + 1] != '"')
			return false;
		p += n + 2;
		value = value_len(p);
		if (value < 0)
			return false;
		p += value + 1;
		if (*p == '\0')
			return true;
		if (*p++ != ',')
			return false;
	}
	return p == labels; /* none at all; else there is a comma too many */
}

/* As help is kept: whole characters that fit; what is no text becomes '?'. */
static void make_help(char out[SHM_MODULE_HELP_MAX], const char *help)
{
	size_t len = strnlen(help, SHM_MODULE_HELP_MAX), at = 0;

	while (at < len) {
		size_t n = json_utf8_len((const unsigned char *)help + at, len - at);

		if (at + (n ? n : 1) > HELP_BYTES)
			break;
		if (n == 0 || ((unsigned char)help[at] < 0x20 && help[at] != '\n') ||
		    help[at] == 0x7f)
			out[at++] = '?';
		else
			for (; n > 0; n--, at++)
				out[at] = help[at];
	}
	memset(out + at, 0, SHM_MODULE_HELP_MAX - at);
}

/* ---- the directory ---- */

/* An entry's texts, NUL-terminated whatever is in the segment. */
static void copy_text(char *out, const char *in, size_t size)
{
	memcpy(out, in, size);
	out[size - 1] = '\0';
}

bool shm_module_read(const struct shm *s, uint32_t i, struct shm_module_view *ret)
{
	const struct shm_module_metric *e;
	char help[SHM_MODULE_HELP_MAX];
	bool hist = i >= s->geo.module_metrics;

	if (i >= shm_module_entries(s))
		return false;
	e = &s->module[i];
	ret->first_generation = atomic_load_explicit(&e->first_generation, memory_order_acquire);
	if (ret->first_generation == 0)
		return false;
	ret->last_generation = shm_get(&e->last_generation);
	ret->kind = (enum shm_metric_kind)shm_get(&e->kind);
	ret->index = hist ? i - s->geo.module_metrics : i;
	copy_text(ret->name, e->name, sizeof(ret->name));
	copy_text(ret->labels, e->labels, sizeof(ret->labels));
	copy_text(help, e->help, sizeof(help));
	make_help(ret->help, help);
	return (hist ? ret->kind == SHM_MK_HISTOGRAM
		     : ret->kind == SHM_MK_COUNTER || ret->kind == SHM_MK_GAUGE) &&
	       name_ok(ret->name) && labels_ok(ret->labels);
}

/* Is `name` the name of a series that the histogram `hist` has? */
static bool is_series_of(const char *name, const char *hist)
{
	size_t len = strlen(hist);

	return strncmp(name, hist, len) == 0 &&
	       (strcmp(name + len, "_bucket") == 0 || strcmp(name + len, "_sum") == 0 ||
		strcmp(name + len, "_count") == 0);
}

/* Looks at `n` entries from `first` on. 1: *ret_at is the entry of this metric; 0: there is none,
 * and *ret_at is the first free one, or behind the last; -EEXIST. */
static int look(const struct shm *s, uint32_t first, uint32_t n, const struct shm_module_view *want,
		uint32_t *ret_at)
{
	char name[SHM_MODULE_NAME_MAX], labels[SHM_MODULE_LABELS_MAX];

	for (*ret_at = first; *ret_at < first + n; ++*ret_at) {
		const struct shm_module_metric *e = &s->module[*ret_at];
		uint32_t kind = shm_get(&e->kind);

		if (atomic_load_explicit(&e->first_generation, memory_order_acquire) == 0)
			return 0; /* entries are taken from the front */
		copy_text(name, e->name, sizeof(name));
		if (strcmp(name, want->name) != 0) {
			if ((kind == SHM_MK_HISTOGRAM && is_series_of(want->name, name)) ||
			    (want->kind == SHM_MK_HISTOGRAM && is_series_of(name, want->name)))
				return -EEXIST;
			continue;
		}
		if (kind != (uint32_t)want->kind)
			return -EEXIST;
		copy_text(labels, e->labels, sizeof(labels));
		if (strcmp(labels, want->labels) == 0)
			return 1;
	}
	return 0;
}

static void fill(struct shm_module_metric *e, const struct shm_module_view *want)
{
	memcpy(e->name, want->name, sizeof(e->name));
	memcpy(e->labels, want->labels, sizeof(e->labels));
	memcpy(e->help, want->help, sizeof(e->help));
	shm_set(&e->kind, (uint32_t)want->kind);
}

/* 0, or -EINVAL; texts are filled up with zeros. */
static int make_wanted(struct shm_module_view *want, enum shm_metric_kind kind, const char *name,
		       const char *labels, const char *help)
{
	*want = (struct shm_module_view){.kind = kind};
	if (kind < SHM_MK_COUNTER || kind > SHM_MK_HISTOGRAM || !name_ok(name) ||
	    (labels && !labels_ok(labels)))
		return -EINVAL;
	memcpy(want->name, name, strlen(name));
	if (labels)
		memcpy(want->labels, labels, strlen(labels));
	make_help(want->help, help ? help : "");
	return 0;
}

int shm_module_intern(struct shm *s, enum shm_metric_kind kind, const char *name,
		      const char *labels, const char *help, uint32_t generation,
		      uint32_t *ret_index)
{
	bool hist = kind == SHM_MK_HISTOGRAM;
	uint32_t first[2] = {0, s->geo.module_metrics};
	uint32_t n[2] = {s->geo.module_metrics, s->geo.module_hists};
	struct shm_module_metric *e;
	struct shm_module_view want;
	uint32_t at, other;
	int found, r = make_wanted(&want, kind, name, labels, help);

	if (r != 0)
		return r;
	found = look(s, first[hist], n[hist], &want, &at);
	if (found == 0)
		found = look(s, first[!hist], n[!hist], &want, &other);
	if (found < 0)
		return found;
	if (found == 0) {
		if (at == first[hist] + n[hist])
			return -ENOSPC;
		fill(&s->module[at], &want);
	}
	e = &s->module[at];
	shm_set(&e->last_generation, generation);
	if (found == 0)
		atomic_store_explicit(&e->first_generation, generation, memory_order_release);
	*ret_index = at - first[hist];
	return 0;
}
