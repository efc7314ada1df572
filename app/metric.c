/* SPDX-License-Identifier: MIT */
/*
 * The module's own metrics. The master enters them in the segment's directory while the worker
 * boots; then each is a word, or a histogram, of this slot that any thread adds to.
 */
#include <errno.h>
#include <stdlib.h>

#include "app/app_priv.h"
#include "base/log.h"
#include "shm/declare.h"

#define MOST_SECONDS 1e9 /* what is above, or no number, is none */

struct capri_metric {
	_Atomic uint64_t *cell;
	struct shm_hist *hist;
};

static const char *reason(int rc)
{
	switch (rc) {
	case -EINVAL: return "its name or its labels are not valid";
	case -EEXIST: return "the name is that of a metric of another kind";
	case -ENOSPC: return "there are as many as MODULE_METRICS or MODULE_HISTOGRAMS allow";
	default: return strerror(-rc);
	}
}

static struct capri_metric *make(struct capri_worker *w, enum shm_metric_kind kind,
				 const char *name, const char *labels, const char *help)
{
	struct app *a = (struct app *)w;
	struct capri_metric *m;
	uint32_t index = 0;
	int rc = a->starting ? declare_metric(a->h, kind, name, labels, help, &index) : -EINVAL;

	if (rc != 0) {
		log_errx("APP: metric \"%s\" of %s: %s", name ? name : "", a->module.name,
			 a->starting ? reason(rc) : "metrics are made in start() only");
		return NULL;
	}
	m = calloc(1, sizeof(*m));
	if (!m)
		return NULL;
	if (kind == SHM_MK_HISTOGRAM)
		m->hist = shm_module_hist(a->h->shm, a->h->slot, index);
	else
		m->cell = shm_module_cell(a->h->shm, a->h->slot, index);
	return m;
}

struct capri_metric *capri_counter(struct capri_worker *w, const char *name, const char *labels,
				   const char *help)
{
	return make(w, SHM_MK_COUNTER, name, labels, help);
}

struct capri_metric *capri_gauge(struct capri_worker *w, const char *name, const char *labels,
				 const char *help)
{
	return make(w, SHM_MK_GAUGE, name, labels, help);
}

struct capri_metric *capri_histogram(struct capri_worker *w, const char *name, const char *labels,
				     const char *help)
{
	return make(w, SHM_MK_HISTOGRAM, name, labels, help);
}

void capri_counter_add(struct capri_metric *m, uint64_t n)
{
	if (m && m->cell)
		atomic_fetch_add_explicit(m->cell, n, memory_order_relaxed);
}

void capri_gauge_add(struct capri_metric *m, int64_t n)
{
	capri_counter_add(m, (uint64_t)n);
}

void capri_gauge_set(struct capri_metric *m, int64_t value)
{
	if (m && m->cell)
		atomic_store_explicit(m->cell, (uint64_t)value, memory_order_relaxed);
}

void capri_histogram_observe(struct capri_metric *m, double seconds)
{
	if (m && m->hist)
		shm_hist_add_shared(m->hist, seconds > 0 && seconds < MOST_SECONDS ?
					     (uint64_t)(seconds * 1e6) : 0, 1);
}
