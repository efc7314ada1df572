/* SPDX-License-Identifier: MIT */
/*
 * The metrics of modules, for /metrics and for `module` of /status. Counters and histograms are
 * sums over all slots, so that they never go down; gauges over the slots that are somebody's. What
 * is in the directory is shown, also what no module makes any more.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "status/status_priv.h"

static const char *kind_name(enum shm_metric_kind kind)
{
	switch (kind) {
	case SHM_MK_COUNTER: return "counter";
	case SHM_MK_GAUGE: return "gauge";
	case SHM_MK_HISTOGRAM: break;
	}
	return "histogram";
}

/* All that the directory has; NULL: no memory. */
static struct shm_module_view *collect(const struct shm *s, size_t *ret_n)
{
	uint32_t entries = shm_module_entries(s), used = 0;
	struct shm_module_view *list, one;
	size_t n = 0;

	for (uint32_t i = 0; i < entries; i++)
		used += shm_module_read(s, i, &one);
	list = malloc((used + 1) * sizeof(*list));
	for (uint32_t i = 0; list && i < entries && n < used; i++)
		n += shm_module_read(s, i, &list[n]);
	*ret_n = n;
	return list;
}

static uint64_t value_of(const struct status_view *v, const struct shm_module_view *m)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < v->shm->geo.slots; i++) {
		const struct shm_slot *slot = shm_slot(v->shm, i);

		if (m->kind == SHM_MK_GAUGE ? shm_get(&slot->kind) != SHM_FREE
					    : shm_get(&slot->incarnation) != 0)
			sum += shm_get(shm_module_cell(v->shm, i, m->index));
	}
	return sum;
}

static void times_of(const struct status_view *v, const struct shm_module_view *m,
		     struct shm_hist_sum *into)
{
	for (uint32_t i = 0; i < v->shm->geo.slots; i++)
		if (shm_get(&shm_slot(v->shm, i)->incarnation) != 0) /* else never written */
			shm_hist_merge(into, shm_module_hist(v->shm, i, m->index));
}

/* ---- /metrics ---- */

static int by_name(const void *a, const void *b)
{
	const struct shm_module_view *x = a, *y = b;
	int r = strcmp(x->name, y->name);

	return r != 0 ? r : strcmp(x->labels, y->labels);
}

/* Before the first series of a name. Its help is that of the series which was there first. */
static void put_head(struct strbuf *out, const struct shm_module_view *m, size_t n)
{
	const char *help = m->help;
	uint32_t first = m->index;

	for (size_t i = 1; i < n && strcmp(m[i].name, m->name) == 0; i++) {
		if (m[i].index > first)
			continue;
		first = m[i].index;
		help = m[i].help;
	}
	strbuf_printf(out, "# HELP %s ", m->name);
	if (help[0] == '\0')
		strbuf_puts(out, "Of the module.");
	for (; *help; help++) {
		if (*help == '\\' || *help == '\n')
			strbuf_printf(out, "\\%c", *help == '\n' ? 'n' : '\\');
		else
			strbuf_add(out, help, 1);
	}
	strbuf_printf(out, "\n# TYPE %s %s\n", m->name, kind_name(m->kind));
}

static void put_series(struct strbuf *out, const struct status_view *v,
		       const struct shm_module_view *m)
{
	uint64_t value;

	if (m->kind == SHM_MK_HISTOGRAM) {
		struct shm_hist_sum sum = {0};

		times_of(v, m, &sum);
		status_histogram(out, m->name, m->labels, &sum);
		return;
	}
	value = value_of(v, m);
	strbuf_puts(out, m->name);
	if (m->labels[0] != '\0')
		strbuf_printf(out, "{%s}", m->labels);
	if (m->kind == SHM_MK_GAUGE)
		strbuf_printf(out, " %" PRId64 "\n", (int64_t)value);
	else
		strbuf_printf(out, " %" PRIu64 "\n", value);
}

bool status_module_text(const struct status_view *v, struct strbuf *out)
{
	size_t n;
	struct shm_module_view *list = collect(v->shm, &n);

	if (!list)
		return false;
	qsort(list, n, sizeof(*list), by_name);
	for (size_t i = 0; i < n; i++) {
		if (i == 0 || strcmp(list[i].name, list[i - 1].name) != 0)
			put_head(out, &list[i], n - i);
		put_series(out, v, &list[i]);
	}
	free(list);
	return true;
}

/* ---- /status ---- */

static json_t *metric_json(struct doc *d, const struct status_view *v,
			   const struct shm_module_view *m)
{
	json_t *o = json_object();

	doc_text(d, o, "name", m->name);
	doc_text(d, o, "labels", m->labels);
	doc_text(d, o, "kind", kind_name(m->kind));
	/* Did a worker of the generation that serves, or of one that comes, ask for it? */
	doc_bool(d, o, "current", m->last_generation >= shm_get(&v->shm->inst->generation));
	if (m->kind == SHM_MK_HISTOGRAM) {
		struct shm_hist_sum sum = {0};

		times_of(v, m, &sum);
		doc_int(d, o, "count", sum.count);
		doc_real(d, o, "sum", (double)sum.sum_us / 1e6);
		doc_real(d, o, "p50", (double)shm_hist_quantile_us(&sum, 0.5) / 1e6);
		doc_real(d, o, "p95", (double)shm_hist_quantile_us(&sum, 0.95) / 1e6);
		doc_real(d, o, "p99", (double)shm_hist_quantile_us(&sum, 0.99) / 1e6);
	} else if (m->kind == SHM_MK_GAUGE) {
		doc_put(d, o, "value", json_integer((int64_t)value_of(v, m)));
	} else {
		doc_int(d, o, "value", value_of(v, m));
	}
	return o;
}

json_t *status_module_json(struct doc *d, const struct status_view *v)
{
	json_t *o = json_object(), *metrics = json_array();
	size_t n;
	struct shm_module_view *list = collect(v->shm, &n);

	if (!list)
		d->failed = true;
	for (size_t i = 0; list && i < n; i++)
		doc_add(d, metrics, metric_json(d, v, &list[i]));
	free(list);
	doc_put(d, o, "metrics", metrics);
	return o;
}
