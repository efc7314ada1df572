/* SPDX-License-Identifier: MIT */
/*
 * What holds for requests: the sections semaphores, rate_limits, defaults, routes and cache,
 * together with the settings that they rest on. They are read when all settings are known, so that
 * what is wrong between them is told with everything else. Semaphores are here, the others in files
 * of their own.
 */
#include <stdlib.h>

#include "conf/policy_priv.h"
#include "http/router.h"

#define LIMIT_MAX_DEFAULT 1024u

static const char name_chars[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.";

bool conf_policy_over(struct conf_policy_reader *r)
{
	if (!r->over && r->ld->report->nerrors - r->errors_before >= CONF_POLICY_ERRORS_MAX) {
		conf_error(r->ld, r->y.path, "has too many errors; the rest is not shown");
		r->over = true;
	}
	return r->over || r->ld->no_memory;
}

bool conf_policy_name(struct conf_policy_reader *r, const struct conf_at *key)
{
	struct slice s = conf_yaml_scalar(key->n);

	if (s.len >= 1 && s.len <= CONF_SEMAPHORE_NAME_MAX && strspn(s.p, name_chars) == s.len)
		return true;
	conf_refuse_text(&r->y, key, "is no name: 1 to %d letters, digits, _, - and dots",
			 CONF_SEMAPHORE_NAME_MAX);
	return false;
}

const char *conf_setting_place(struct conf_loading *ld, enum conf_row_id id)
{
	const char *place = ld->conf->priv->from[id].place;

	return place ? place : conf_rows[id].name;
}

bool conf_same_pattern(const char *a, const char *b)
{
	for (;;) {
		if (*a == '{' && *b == '{') {
			a = strchrnul(a, '}');
			b = strchrnul(b, '}');
		}
		if (*a != *b)
			return false;
		if (!*a)
			return true;
		a++;
		b++;
	}
}

/* ---- semaphores ---- */

static const struct builtin {
	const char *name;
	enum conf_row_id limit;
} builtins[] = {
	[CONF_SEM_GLOBAL] = {"global", CONF_R_MAX_CONCURRENT_REQUESTS},
	[CONF_SEM_LLM] = {"llm", CONF_R_LLM_CONCURRENT_LIMIT},
};
#define BUILTINS (sizeof(builtins) / sizeof(builtins[0]))

int conf_find_semaphore(const struct conf_policy *p, struct slice name)
{
	for (size_t i = 0; i < p->nsems; i++)
		if (slice_eq(slice_of(p->sem[i].name), name))
			return (int)i;
	return -1;
}

static void read_limit(struct conf_policy_reader *r, const struct conf_at *at,
		       const struct conf_members *m, size_t i)
{
	const struct conf_at *given = &m->at[CONF_K_SEMAPHORE_limit];
	struct conf_semaphore *s = &r->p->sem[i];

	if (i < BUILTINS) {
		const struct conf_row *row = &conf_rows[builtins[i].limit];

		s->limit = (uint32_t)*conf_int_field(row, &r->ld->conf->s);
		if (given->n)
			conf_refuse(&r->y, given, "is the setting %s, and cannot be given here",
				    row->name);
		return;
	}
	s->limit = (uint32_t)conf_number_of(&r->y, m, CONF_K_SEMAPHORE_limit, 0);
	if (!given->n)
		conf_refuse(&r->y, at, "needs a limit (0 = no limit)");
}

/* A limit_max that is not given is large enough. */
static void check_limit(struct conf_policy_reader *r, const struct conf_members *m, size_t i)
{
	const struct conf_at *max = &m->at[CONF_K_SEMAPHORE_limit_max];
	const struct conf_semaphore *s = &r->p->sem[i];
	enum conf_row_id row = i < BUILTINS ? builtins[i].limit : 0;

	if (s->limit <= s->limit_max)
		return;
	if (i < BUILTINS && r->ld->conf->priv->from[row].place)
		conf_error(r->ld, r->ld->conf->priv->from[row].place, "%s is %u, which is more than "
			   "semaphores.%s.limit_max with %u (%s)", conf_rows[row].name, s->limit,
			   s->name, s->limit_max, conf_place_of(&r->y, max));
	else if (i < BUILTINS)
		conf_refuse(&r->y, max, "is %u, which is less than %s with %u (default)",
			    s->limit_max, conf_rows[row].name, s->limit);
	else
		conf_refuse(&r->y, &m->at[CONF_K_SEMAPHORE_limit], "is %u, which is more than "
			    "limit_max with %u", s->limit, s->limit_max);
}

static void read_limits(struct conf_policy_reader *r, const struct conf_at *at,
			const struct conf_members *m, size_t i)
{
	struct conf_semaphore *s = &r->p->sem[i];
	uint32_t most;

	read_limit(r, at, m, i);
	most = 2 * s->limit > LIMIT_MAX_DEFAULT ? 2 * s->limit : LIMIT_MAX_DEFAULT;
	if (most > CONF_SEMAPHORE_LIMIT_MAX)
		most = CONF_SEMAPHORE_LIMIT_MAX;
	s->limit_max = (uint32_t)conf_number_of(&r->y, m, CONF_K_SEMAPHORE_limit_max, most);
	s->limit_max_given = m->at[CONF_K_SEMAPHORE_limit_max].n;
	check_limit(r, m, i);
}

static void read_class(struct conf_policy_reader *r, const struct conf_at *at,
		       struct conf_semaphore *s, int c)
{
	struct conf_members m;

	(void)conf_read_members(&r->y, at, CONF_G_CLASS, CONF_G_CLASS, &m);
	s->class[c].weight = (uint32_t)conf_number_of(&r->y, &m, CONF_K_CLASS_weight,
						      CONF_CLASSES - c);
	s->class[c].queue = (uint32_t)conf_number_of(&r->y, &m, CONF_K_CLASS_queue, s->queue);
	if (s->class[c].queue > s->queue)
		conf_refuse(&r->y, &m.at[CONF_K_CLASS_queue], "is %u, which is more than the queue "
			    "of all classes of %s with %u", s->class[c].queue, s->name, s->queue);
}

/* One of those that can be in the section: n NULL in both if it is not. */
struct entry {
	struct conf_at at, key;
};

static void fill_semaphore(struct conf_policy_reader *r, const struct entry *e, size_t i)
{
	const struct conf_at *at = &e->at;
	const struct settings *set = &r->ld->conf->s;
	struct conf_semaphore *s = &r->p->sem[i];
	struct conf_members m, classes;

	/* What refers to an entry that is none has no problem of its own. */
	s->limit_max = CONF_SEMAPHORE_LIMIT_MAX;
	if (!conf_read_members(&r->y, at, CONF_G_SEMAPHORE, CONF_G_SEMAPHORE, &m))
		return;
	s->place = at->n ? conf_place_of(&r->y, &e->key)
			 : conf_setting_place(r->ld, builtins[i].limit);
	read_limits(r, at, &m, i);
	s->queue = (uint32_t)conf_number_of(&r->y, &m, CONF_K_SEMAPHORE_queue,
					    set->admission_queue);
	s->queue_timeout_ms = (uint64_t)conf_number_of(&r->y, &m, CONF_K_SEMAPHORE_queue_timeout,
						       set->queue_timeout);
	s->hold_work = conf_number_of(&r->y, &m, CONF_K_SEMAPHORE_hold, 0) == 1;
	(void)conf_read_members(&r->y, &m.at[CONF_K_SEMAPHORE_classes], CONF_G_CLASSES,
				CONF_G_CLASSES, &classes);
	for (int c = 0; c < CONF_CLASSES; c++)
		read_class(r, &classes.at[CONF_K_CLASSES_high + c], s, c);
}

/* The entry of a name, new or one of those that are always there; NULL after telling why not. */
static struct entry *place_entry(struct conf_policy_reader *r, const struct conf_at *key,
				 struct entry entries[])
{
	struct conf_policy *p = r->p;
	struct slice name = conf_yaml_scalar(key->n);
	int i = conf_find_semaphore(p, name);

	if (i >= 0 && entries[i].at.n) {
		conf_refuse(&r->y, key, "is given twice; the first time in line %zu",
			    entries[i].key.n->start_mark.line + 1);
		return NULL;
	}
	if (i >= 0)
		return &entries[i];
	if (!conf_policy_name(r, key))
		return NULL;
	if (p->nsems == CONF_SEMAPHORES_MAX) {
		conf_refuse(&r->y, key, "is one too many; there can be %d, global and llm among "
			    "them", CONF_SEMAPHORES_MAX);
		return NULL;
	}
	p->sem[p->nsems].name = conf_text(r->ld, "%s", name.p);
	return &entries[p->nsems++];
}

void conf_policy_semaphores(struct conf_policy_reader *r, const struct conf_at *at)
{
	struct entry entries[CONF_SEMAPHORES_MAX] = {0}, entry, *to;
	size_t n = at->n && conf_is_mapping(&r->y, at) ? conf_entries(at) : 0;

	for (; r->p->nsems < BUILTINS; r->p->nsems++)
		r->p->sem[r->p->nsems].name = builtins[r->p->nsems].name;
	for (size_t i = 0; i < n && !conf_policy_over(r); i++) {
		if (!conf_entry(&r->y, at, i, &entry.at, &entry.key))
			continue;
		to = place_entry(r, &entry.key, entries);
		if (to)
			*to = entry;
	}
	for (size_t i = 0; i < r->p->nsems; i++)
		fill_semaphore(r, &entries[i], i);
}

/* ---- all of it ---- */

static void end_sections(struct conf_loading *ld)
{
	if (ld->sections)
		yaml_document_delete(&ld->sections->doc);
	free(ld->sections);
	ld->sections = NULL;
}

static bool takes_llm(const struct conf_policy_route *c)
{
	for (size_t i = 0; i < c->nsems; i++)
		if (c->sem[i].sem == CONF_SEM_LLM)
			return true;
	return false;
}

static bool llm_is_idle(const struct conf *c)
{
	const struct conf_policy *p = c->policy;
	bool taken = takes_llm(&p->defaults);

	for (size_t i = 0; i < p->nroutes; i++)
		taken |= takes_llm(&p->route[i]);
	return !taken && p->sem[CONF_SEM_LLM].limit > 0 &&
	       c->priv->from[CONF_R_LLM_CONCURRENT_LIMIT].origin != CONF_DEFAULT;
}

void conf_derive_policy(struct conf_loading *ld)
{
	const struct conf_sections *s = ld->sections;
	struct conf_at at[CONF_SECTIONS] = {
		[CONF_S_SEMAPHORES] = {.word = SLICE("semaphores")},
		[CONF_S_RATE_LIMITS] = {.word = SLICE("rate_limits")},
		[CONF_S_DEFAULTS] = {.word = SLICE("defaults")},
		[CONF_S_ROUTES] = {.word = SLICE("routes")},
		[CONF_S_CACHE] = {.word = SLICE("cache")},
	};
	struct conf_policy_reader r = {
		.ld = ld,
		.p = conf_alloc(ld->conf, sizeof(*r.p)),
		.y = s ? s->y : (struct conf_yaml){.ld = ld, .path = ""},
		.errors_before = ld->report->nerrors,
	};

	for (size_t i = 0; s && i < CONF_SECTIONS; i++) {
		at[i].n = s->value[i];
		ld->conf->priv->has_sections |= at[i].n != NULL;
	}
	if (r.p && !ld->no_memory) {
		conf_policy_semaphores(&r, &at[CONF_S_SEMAPHORES]);
		conf_policy_rates(&r, &at[CONF_S_RATE_LIMITS]);
		conf_policy_routes(&r, &at[CONF_S_DEFAULTS], &at[CONF_S_ROUTES]);
		conf_policy_cache(&r, &at[CONF_S_CACHE]);
	}
	http_router_free(r.router);
	ld->no_memory |= !r.p;
	ld->conf->policy = r.p;
	if (r.p && !ld->no_memory)
		r.p->llm_idle = llm_is_idle(ld->conf);
	end_sections(ld);
}

uint64_t conf_policy_permits(const struct conf_policy *p)
{
	uint64_t n = 0;

	for (size_t i = 0; i < p->nsems; i++)
		n += p->sem[i].limit_max;
	return n;
}

uint64_t conf_policy_entries(const struct conf_policy *p)
{
	uint64_t n = 0;

	for (size_t i = 0; i < p->nrates; i++)
		n += p->rate[i].entries;
	return n;
}

/* ---- a reload ---- */

/* The words of a semaphore were set aside at the start: what does not fit is refused. */
static bool carry_semaphore(struct conf *next, const struct conf *cur, size_t i, size_t k,
			    struct conf_report *r)
{
	struct conf_semaphore *s = &next->policy->sem[i];
	const struct conf_semaphore *was = &cur->policy->sem[k];
	const char *needs = "needs a restart or an upgrade";

	if (s->limit_max != was->limit_max && (s->limit_max_given || was->limit_max_given))
		conf_note(r, "semaphores.%s.limit_max: %u instead of %u %s", s->name, s->limit_max,
			  was->limit_max, needs);
	s->limit_max = was->limit_max;
	s->limit_max_given = was->limit_max_given;
	if (s->limit <= s->limit_max)
		return true;
	conf_note(r, "semaphores.%s.limit: %u instead of %u is above limit_max with %u, which %s",
		  s->name, s->limit, was->limit, s->limit_max, needs);
	s->limit = was->limit;
	return i >= BUILTINS || conf_carry_row(next, cur, builtins[i].limit);
}

static void carry_rate(struct conf_rate *to, const struct conf_rate *was, struct conf_report *r)
{
	if (to->entries == was->entries || to->entries == 0 || was->entries == 0)
		return;
	conf_note(r, "rate_limits.%s.entries: %u instead of %u needs a restart or an upgrade",
		  to->policy, to->entries, was->entries);
	to->entries = was->entries;
}

/* Nobody can take more permits than there are words. */
static void fit_weights(const struct conf_policy *p, struct conf_policy_route *route,
			struct conf_report *r)
{
	for (size_t i = 0; i < route->nsems; i++) {
		const struct conf_semaphore *s = &p->sem[route->sem[i].sem];

		if (route->sem[i].weight <= s->limit_max)
			continue;
		conf_note(r, "%s: a request takes %u permits of the semaphore %s instead of %u, "
			  "since its limit_max needs a restart or an upgrade", route->place,
			  s->limit_max, s->name, route->sem[i].weight);
		route->sem[i].weight = (uint16_t)s->limit_max;
	}
}

bool conf_carry_policy(struct conf *next, const struct conf *cur, struct conf_report *r)
{
	bool ok = true;

	for (size_t i = 0; i < next->policy->nsems; i++) {
		int k = conf_find_semaphore(cur->policy, slice_of(next->policy->sem[i].name));

		if (k >= 0)
			ok = carry_semaphore(next, cur, i, (size_t)k, r) && ok;
	}
	for (size_t i = 0; i < next->policy->nrates; i++)
		for (size_t k = 0; k < cur->policy->nrates; k++)
			if (strcmp(next->policy->rate[i].name, cur->policy->rate[k].name) == 0)
				carry_rate(&next->policy->rate[i], &cur->policy->rate[k], r);
	fit_weights(next->policy, &next->policy->defaults, r);
	for (size_t i = 0; i < next->policy->nroutes; i++)
		fit_weights(next->policy, &next->policy->route[i], r);
	return ok;
}
