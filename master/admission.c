/* SPDX-License-Identifier: MIT */
/*
 * Semaphores and rate limits of the configuration in the segment. Entered before the workers that
 * use them are forked, with the numbers that hold now; the new numbers hold when the generation
 * that they belong to is complete. What was changed live holds until the configured number has
 * itself changed.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "master/master_priv.h"
#include "shm/cache.h"
#include "shm/rate.h"
#include "shm/sem.h"

#define SPARE_PERMITS 4096u /* for semaphores that a reload brings */

void master_geometry(const struct conf *c, int64_t workers_max, struct shm_geometry *geo)
{
	shm_geometry_for(geo, (uint32_t)workers_max, (uint32_t)c->s.worker_connections,
			 (uint32_t)c->s.metric_routes, (uint32_t)c->s.module_metrics,
			 (uint32_t)c->s.module_histograms);
	geo->permits = SPARE_PERMITS + conf_policy_permits(c->policy);
	geo->rate_keys = conf_policy_entries(c->policy);
	if (!shm_cache_geometry(geo, c->cache_bytes))
		(void)shm_cache_geometry(geo, 0); /* less than the least, which has been told */
}

void master_cache_apply(struct master *m, const struct conf *c)
{
	_Static_assert((int)CONF_POLICY_LRU == SHM_CACHE_LRU &&
		       (int)CONF_POLICY_LFU == SHM_CACHE_LFU &&
		       (int)CONF_POLICY_FIFO == SHM_CACHE_FIFO, "the same words");
	if (shm_cache_object_max(&m->shm.geo) > 0)
		shm_cache_set(&m->shm, (enum shm_cache_policy)c->s.cache_policy,
			      (uint64_t)c->s.max_cache_size);
}

/* ---- semaphores ---- */

static bool find_sem(const struct shm *s, const char *name, struct shm_sem_view *ret)
{
	for (uint32_t i = 0; i < SHM_SEMS; i++)
		if (shm_sem_read(s, i, ret) && strcmp(ret->name, name) == 0)
			return true;
	return false;
}

static const struct conf_semaphore *configured_sem(const struct conf *c, const char *name)
{
	for (size_t i = 0; c && i < c->policy->nsems; i++)
		if (strcmp(c->policy->sem[i].name, name) == 0)
			return &c->policy->sem[i];
	return NULL;
}

static void from_conf(const struct conf_semaphore *c, struct shm_sem_spec *ret)
{
	*ret = (struct shm_sem_spec){.name = c->name, .limit = c->limit, .limit_max = c->limit_max};
	for (int i = 0; i < SHM_CLASSES; i++)
		ret->weight[i] = c->class[i].weight;
}

static int enter_sem(struct master *m, const struct conf_semaphore *c, uint32_t generation,
		     char *why, size_t cap)
{
	struct shm_sem_view now;
	struct shm_sem_spec spec;
	uint32_t index;
	int rc;

	from_conf(c, &spec);
	if (find_sem(&m->shm, c->name, &now)) {
		if (c->limit > now.limit_max) {
			snprintf(why, cap, "%s: semaphore %s: the limit %u is above limit_max, which "
				 "was fixed as %u: it needs a restart", c->place, c->name, c->limit,
				 now.limit_max);
			return -1;
		}
		spec.limit = now.limit;
		spec.limit_max = now.limit_max;
		memcpy(spec.weight, now.weight, sizeof(spec.weight));
	}
	rc = shm_sem_intern(&m->shm, &spec, generation, &index);
	if (rc == 0)
		return 0;
	if (rc == -ENOSPC)
		snprintf(why, cap, "%s: semaphore %s with limit_max %u finds no room in the segment: "
			 "it needs a restart", c->place, c->name, spec.limit_max);
	else
		snprintf(why, cap, "%s: semaphore %s: %s", c->place, c->name, strerror(-rc));
	return -1;
}

static void apply_sem(struct master *m, const struct conf *from, const struct conf_semaphore *c,
		      uint32_t generation)
{
	const struct conf_semaphore *was = configured_sem(from, c->name);
	struct shm_sem_wake w = {0};
	struct shm_sem_spec spec;
	struct shm_sem_view now;
	uint32_t index;

	from_conf(c, &spec);
	if (!find_sem(&m->shm, c->name, &now))
		return;
	spec.limit_max = now.limit_max;
	spec.limit = now.limit;
	if (shm_sem_intern(&m->shm, &spec, generation, &index) != 0)
		return;
	if (!was || was->limit != c->limit)
		(void)shm_sem_set_limit(&m->shm, index, c->limit, &w);
}

/* ---- rate limits ---- */

/* As the generation that serves knows it: a newer one may be of a reload that has failed. */
static bool find_rate(const struct master *m, const char *name, struct shm_rate_view *ret)
{
	uint32_t i = shm_rate_find(&m->shm, name, m->cur.number);

	return i != UINT32_MAX && shm_rate_read(&m->shm, i, ret);
}

static const struct conf_rate *configured_rate(const struct conf *c, const char *name)
{
	for (size_t i = 0; c && i < c->policy->nrates; i++)
		if (strcmp(c->policy->rate[i].name, name) == 0)
			return &c->policy->rate[i];
	return NULL;
}

static struct shm_rate_spec spec_of(const struct conf_rate *c)
{
	return (struct shm_rate_spec){
		.name = c->name, .algorithm = (enum shm_rate_algorithm)c->algorithm,
		.rate = c->rate, .period_ns = c->period_ns, .burst = c->burst,
		.entries = c->entries,
		.allow_when_full = c->allow_when_full, .shadow = c->shadow,
	};
}

static void keep_live(struct shm_rate_spec *spec, const struct shm_rate_view *now)
{
	if (now->algorithm != spec->algorithm || now->period_ns != spec->period_ns)
		return; /* another limit by the same name */
	spec->rate = now->rate;
	spec->burst = now->burst;
	spec->shadow = now->shadow;
}

static int enter_rate(struct master *m, const struct conf_rate *c, uint32_t generation, char *why,
		      size_t cap)
{
	struct shm_rate_spec spec = spec_of(c);
	struct shm_rate_view now;
	uint32_t index;
	int rc;

	if (find_rate(m, c->name, &now))
		keep_live(&spec, &now);
	rc = shm_rate_intern(&m->shm, &spec, generation, &index);
	if (rc == 0)
		return 0;
	if (rc == -ENOSPC)
		snprintf(why, cap, "%s: rate limit %s with %u entries finds no room in the segment: it "
			 "needs a restart", c->place, c->name, c->entries);
	else
		snprintf(why, cap, "%s: rate limit %s: %s", c->place, c->name, strerror(-rc));
	return -1;
}

static bool same_numbers(const struct conf_rate *a, const struct conf_rate *b)
{
	return a->rate == b->rate && a->burst == b->burst && a->shadow == b->shadow;
}

static void apply_rate(struct master *m, const struct conf *from, const struct conf_rate *c,
		       uint32_t generation)
{
	const struct conf_rate *was = configured_rate(from, c->name);
	struct shm_rate_spec spec = spec_of(c);
	struct shm_rate_view now;
	uint32_t index;

	if (was && same_numbers(was, c) && find_rate(m, c->name, &now))
		keep_live(&spec, &now);
	(void)shm_rate_intern(&m->shm, &spec, generation, &index);
}

/* ---- all of them ---- */

int master_limits_enter(struct master *m, const struct conf *c, uint32_t generation, char *why,
			size_t cap)
{
	for (size_t i = 0; i < c->policy->nsems; i++)
		if (enter_sem(m, &c->policy->sem[i], generation, why, cap) != 0)
			return -1;
	for (size_t i = 0; i < c->policy->nrates; i++)
		if (enter_rate(m, &c->policy->rate[i], generation, why, cap) != 0)
			return -1;
	return 0;
}

void master_limits_apply(struct master *m, const struct conf *from, const struct conf *to,
			 uint32_t generation)
{
	for (size_t i = 0; i < to->policy->nsems; i++)
		apply_sem(m, from, &to->policy->sem[i], generation);
	for (size_t i = 0; i < to->policy->nrates; i++)
		apply_rate(m, from, &to->policy->rate[i], generation);
	master_cache_apply(m, to);
	master_wake_all(m);
}
