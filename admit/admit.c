/* SPDX-License-Identifier: MIT */
/* Set up, taken down, and the way of a request up to its limits. */
#include "admit/admit.h"

#include <stdlib.h>
#include <string.h>

#include "admit/admit_priv.h"
#include "base/log.h"
#include "status/status.h"

static bool find_semaphores(struct admit *a)
{
	const struct conf_policy *p = a->conf->policy;

	for (size_t i = 0; i < p->nsems; i++) {
		struct sem *q = &a->sem[a->nsems++];

		q->conf = &p->sem[i];
		q->index = shm_sem_find(a->shm, q->conf->name, a->h->generation);
		if (q->index == SHM_SEM_NONE) {
			log_errx("the semaphore \"%s\" is not in the segment", q->conf->name);
			return false;
		}
	}
	return true;
}

int admit_new(const struct heritage *h, struct loop *l, serve_handler_f *next, void *next_arg,
	      struct admit **ret_admit)
{
	struct admit *a = calloc(1, sizeof(*a));

	if (!a) {
		log_errx("no memory for the routes");
		return -1;
	}
	a->h = h;
	a->conf = h->conf;
	a->loop = l;
	a->next = next;
	a->next_arg = next_arg;
	a->shm = h->shm;
	a->slot = h->slot;
	queue_init(a);
	if (cache_new(h, l, &a->cache) != 0 || !find_semaphores(a) || policy_compile(a) != 0) {
		admit_free(a);
		return -1;
	}
	*ret_admit = a;
	return 0;
}

void admit_free(struct admit *a)
{
	if (!a)
		return;
	queue_free(a);
	policy_free(a);
	cache_free(a->cache);
	free(a);
}

struct cache *admit_cache(struct admit *a)
{
	return a->cache;
}

/* What a request goes on with that has waited for an answer in the cache. */
struct passed {
	struct admit *a;
	const struct rule *rule;
	uint32_t n;
	struct shm_rate_use use[SHM_RATE_USES];
};

static void go_on(struct request *r, void *arg)
{
	struct passed *p = arg;

	queue_enter(p->a, r, p->rule, p->use, p->n);
}

static void wait_for_cache(struct admit *a, struct request *r, const struct rule *rule,
			   const struct shm_rate_use use[], uint32_t n)
{
	struct passed *p = request_alloc(r, sizeof(*p));

	if (!p) {
		queue_enter(a, r, rule, use, n);
		return;
	}
	p->a = a;
	p->rule = rule;
	p->n = n;
	memcpy(p->use, use, n * sizeof(use[0]));
	cache_wait(a->cache, r, rule->cache, go_on, p);
}

void admit_handle(struct serve *s, struct request *r, void *arg)
{
	struct shm_rate_use use[SHM_RATE_USES];
	struct admit *a = arg;
	const struct rule *rule;
	struct slice rest;
	struct match m;
	uint32_t n;

	a->serve = s;
	if (status_match(a->conf, false, request_path(r), &rest)) {
		if (request_limit_body(r, (uint64_t)a->conf->s.client_max_body_size))
			request_answer_status(r, rest);
		return;
	}
	policy_find(a, r, &m);
	rule = m.rule;
	request_set_rules(r, &rule->rules);
	request_route(r, rule->rules.label);
	if (rule->rules.timeout_ns != 0)
		request_deadline(r, request_since(r) + rule->rules.timeout_ns);
	/* Else it is the handler's to say. */
	if (rule->rules.body_max != 0 && !request_limit_body(r, rule->rules.body_max))
		return;
	if (rule->conf->access_status && !request_may_see_status(r))
		return;
	if (!rate_pass(a, r, &m, use, &n))
		return;
	switch (cache_enter(a->cache, r, rule->cache)) {
	case CACHE_PASSES:
		queue_enter(a, r, rule, use, n);
		break;
	case CACHE_WAITS:
		wait_for_cache(a, r, rule, use, n);
		break;
	case CACHE_ENDED:
		break;
	}
}
