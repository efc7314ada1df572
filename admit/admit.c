/* SPDX-License-Identifier: MIT */
/* Set up, taken down, and the way of a request up to its limits. */
#include "admit/admit.h"

#include <stdlib.h>

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
	if (!find_semaphores(a) || policy_compile(a) != 0) {
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
	free(a);
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
	queue_enter(a, r, rule, use, n);
}
