/* SPDX-License-Identifier: MIT */
/* The section rate_limits: limits by name, and tables of limits by path. */
#include <ctype.h>

#include "conf/policy_priv.h"
#include "http/router.h"

#define SECOND_NS 1000000000u
#define CLIENT "client"

/* Those of the table, in its order. */
static const enum conf_rate_algorithm algorithms[] = {CONF_RATE_BUCKET, CONF_RATE_WINDOW};

int conf_find_rate(const struct conf_policy *p, struct slice policy)
{
	for (size_t i = 0; i < p->nrates; i++)
		if (slice_eq(slice_of(p->rate[i].policy), policy))
			return (int)i;
	return -1;
}

/* Room for one more, or NULL after telling that there is none at `at`. */
static struct conf_rate *add_rate(struct conf_policy_reader *r, const struct conf_at *at)
{
	if (r->p->nrates < CONF_RATES_MAX)
		return &r->p->rate[r->p->nrates++];
	conf_refuse(&r->y, at, "is one too many; there can be %d limits, each path of a table and "
		    "ENABLE_RATE_LIMITING counted", CONF_RATES_MAX);
	return NULL;
}

/* ---- rate and burst ---- */

/* "60/m". */
static bool parse_rate(struct slice t, struct conf_rate *ret)
{
	static const struct { char unit; uint32_t seconds; } units[] = {
		{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400},
	};
	uint32_t n = 0;
	size_t i;

	for (i = 0; i < t.len && isdigit((unsigned char)t.p[i]) && n <= CONF_RATE_MAX; i++)
		n = n * 10 + (uint32_t)(t.p[i] - '0');
	if (n < 1 || n > CONF_RATE_MAX || t.len != i + 2 || t.p[i] != '/')
		return false;
	for (size_t k = 0; k < sizeof(units) / sizeof(units[0]); k++)
		if (units[k].unit == t.p[i + 1]) {
			ret->rate = n;
			ret->period_ns = (uint64_t)units[k].seconds * SECOND_NS;
			return true;
		}
	return false;
}

/* Rate and burst of an entry at `at`, whose members they are. */
static void read_rate(struct conf_policy_reader *r, const struct conf_at *at,
		      const struct conf_members *m, enum conf_key rate, enum conf_key burst,
		      struct conf_rate *ret)
{
	const struct conf_at *given = &m->at[rate];

	if (!given->n)
		conf_refuse(&r->y, at, "needs a rate (such as 60/m)");
	else if (conf_is_scalar(&r->y, given) && !parse_rate(conf_yaml_scalar(given->n), ret))
		conf_refuse_text(&r->y, given, "is not a rate: N/s, N/m, N/h or N/d with N from 1 "
				 "to %d", CONF_RATE_MAX);
	ret->burst = ret->algorithm == CONF_RATE_BUCKET ? ret->rate : 0;
	ret->burst = (uint32_t)conf_number_of(&r->y, m, burst, ret->burst);
}

/* ---- what is limited by itself ---- */

static void read_key(struct conf_policy_reader *r, const struct conf_at *at, struct conf_rate *rate)
{
	if (!conf_is_scalar(&r->y, at))
		return;
	if (slice_eq(conf_yaml_scalar(at->n), SLICE("none")))
		conf_refuse(&r->y, at, "none stands alone, not in a list");
	else
		conf_read_key_part(r, at, &conf_rate_keys, rate->key, &rate->nkeys);
}

static void read_key_list(struct conf_policy_reader *r, const struct conf_at *at,
			  struct conf_rate *rate)
{
	if (!conf_is_list(&r->y, at, CONF_RATE_KEYS_MAX))
		return;
	if (conf_count(at) == 0)
		conf_refuse(&r->y, at, "has no items; write none if there is no key");
	for (size_t i = 0; i < conf_count(at); i++) {
		struct conf_at item = conf_item(&r->y, at, i);

		read_key(r, &item, rate);
	}
}

static bool is_keyless(const struct conf_at *key)
{
	return !key->n || (key->n->type == YAML_SCALAR_NODE &&
			   slice_eq(conf_yaml_scalar(key->n), SLICE("none")));
}

static void read_keys(struct conf_policy_reader *r, const struct conf_at *at,
		      struct conf_rate *rate)
{
	struct conf_members m;

	if (at->n->type == YAML_SCALAR_NODE) {
		read_key(r, at, rate);
	} else if (at->n->type == YAML_SEQUENCE_NODE) {
		read_key_list(r, at, rate);
	} else if (conf_read_members(&r->y, at, CONF_G_RATE_KEY, CONF_G_RATE_KEY, &m)) {
		rate->key_all = true;
		if (m.at[CONF_K_RATE_KEY_all].n)
			read_key_list(r, &m.at[CONF_K_RATE_KEY_all], rate);
		else
			conf_refuse(&r->y, at, "needs a list of keys: {all: [...]}");
	}
}

/* The key, and what there can be of its table. */
static void read_key_table(struct conf_policy_reader *r, const struct conf_members *m,
			   struct conf_rate *rate)
{
	static const enum conf_key keyed[] = {CONF_K_RATE_entries, CONF_K_RATE_when_full};
	const struct conf_at *key = &m->at[CONF_K_RATE_key];

	rate->entries = (uint32_t)conf_number_of(&r->y, m, CONF_K_RATE_entries, CONF_RATE_ENTRIES);
	rate->allow_when_full = conf_number_of(&r->y, m, CONF_K_RATE_when_full, 0) == 1;
	if (!is_keyless(key)) {
		read_keys(r, key, rate);
		return;
	}
	rate->entries = 0;
	for (size_t i = 0; i < sizeof(keyed) / sizeof(keyed[0]); i++)
		if (m->at[keyed[i]].n)
			conf_refuse(&r->y, &m->at[keyed[i]], "means nothing without a key");
}

/* ---- tables and limits ---- */

/* The router has refused a path: it is in the table already, or no pattern. */
static void refuse_path(struct conf_policy_reader *r, const struct conf_at *key,
			const struct conf_rate *like, const char *why)
{
	const struct conf_rate *other = r->p->rate;

	for (; other < r->p->rate + r->p->nrates; other++)
		if (other->path && strcmp(other->policy, like->policy) == 0 &&
		    conf_same_pattern(other->path, key->word.p)) {
			conf_refuse(&r->y, key, "is there already, as \"%s\" at %s", other->path,
				    other->place);
			return;
		}
	conf_refuse(&r->y, key, "%s", why);
}

/* One path of a table; `like` has what all of them have. */
static void read_path(struct conf_policy_reader *r, const struct conf_at *at,
		      const struct conf_at *key, struct http_router *router,
		      const struct conf_rate *like)
{
	struct conf_rate *rate;
	struct conf_members m;
	char why[512];

	if (http_router_add(router, SLICE("*"), conf_yaml_scalar(key->n), r, why, sizeof(why))) {
		refuse_path(r, key, like, why);
		return;
	}
	if (strlen(like->policy) + 1 + key->word.len > CONF_RATE_NAME_MAX) {
		conf_refuse(&r->y, key, "is too long: with %s before it there may be %d bytes",
			    like->policy, CONF_RATE_NAME_MAX);
		return;
	}
	rate = add_rate(r, key);
	if (!rate)
		return;
	*rate = *like;
	rate->path = conf_text(r->ld, "%s", key->word.p);
	rate->name = conf_text(r->ld, "%s %s", like->policy, rate->path);
	rate->place = conf_place_of(&r->y, key);
	(void)conf_read_members(&r->y, at, CONF_G_RATE_PATH, CONF_G_RATE_PATH, &m);
	read_rate(r, at, &m, CONF_K_RATE_PATH_rate, CONF_K_RATE_PATH_burst, rate);
}

static void read_paths(struct conf_policy_reader *r, const struct conf_members *m,
		       const struct conf_rate *like)
{
	static const enum conf_key own[] = {CONF_K_RATE_rate, CONF_K_RATE_burst};
	const struct conf_at *paths = &m->at[CONF_K_RATE_paths];
	struct http_router *router;

	for (size_t i = 0; i < 2; i++)
		if (m->at[own[i]].n)
			conf_refuse(&r->y, &m->at[own[i]], "stands with each of the paths");
	if (!conf_is_mapping(&r->y, paths))
		return;
	if (conf_entries(paths) == 0)
		conf_refuse(&r->y, paths, "has no path");
	if (http_router_new(&router)) {
		r->ld->no_memory = true;
		return;
	}
	for (size_t i = 0; i < conf_entries(paths) && !conf_policy_over(r); i++) {
		struct conf_at at, key;

		if (conf_entry(&r->y, paths, i, &at, &key))
			read_path(r, &at, &key, router, like);
	}
	http_router_free(router);
}

static void read_limit(struct conf_policy_reader *r, const struct conf_at *at,
		       const struct conf_at *key)
{
	struct conf_rate like = {.place = conf_place_of(&r->y, key)}, *rate;
	struct conf_members m;

	like.policy = like.name = conf_text(r->ld, "%s", key->word.p);
	if (!conf_read_members(&r->y, at, CONF_G_RATE, CONF_G_RATE, &m))
		return;
	like.algorithm = algorithms[conf_number_of(&r->y, &m, CONF_K_RATE_algorithm, 0)];
	like.shadow = conf_number_of(&r->y, &m, CONF_K_RATE_mode, 0) == 1;
	read_key_table(r, &m, &like);
	if (m.at[CONF_K_RATE_paths].n) {
		read_paths(r, &m, &like);
		return;
	}
	read_rate(r, at, &m, CONF_K_RATE_rate, CONF_K_RATE_burst, &like);
	rate = add_rate(r, key);
	if (rate)
		*rate = like;
}

/* ENABLE_RATE_LIMITING. */
static void add_client(struct conf_policy_reader *r)
{
	const struct settings *s = &r->ld->conf->s;

	r->p->client_rate = -1;
	if (!s->enable_rate_limiting)
		return;
	r->p->client_rate = (int)r->p->nrates;
	r->p->rate[r->p->nrates++] = (struct conf_rate){
		.name = CLIENT, .policy = CLIENT, .algorithm = CONF_RATE_BUCKET,
		.rate = (uint32_t)s->rate_limit_per_minute, .period_ns = 60ull * SECOND_NS,
		.burst = (uint32_t)s->rate_limit_burst, .nkeys = 1,
		.key = {{.kind = CONF_KEY_CLIENT}}, .entries = CONF_RATE_ENTRIES,
		.place = conf_setting_place(r->ld, CONF_R_ENABLE_RATE_LIMITING),
	};
}

static bool may_be_named(struct conf_policy_reader *r, const struct conf_at *map, size_t i,
			 const struct conf_at *key)
{
	if (slice_eq(key->word, SLICE(CLIENT))) {
		conf_refuse(&r->y, key, "is the name of the limit that ENABLE_RATE_LIMITING makes "
			    "(RATE_LIMIT_PER_MINUTE, RATE_LIMIT_BURST)");
		return false;
	}
	for (size_t k = 0; k < i; k++) {
		const yaml_node_t *n = yaml_document_get_node(
			r->y.doc, map->n->data.mapping.pairs.start[k].key);

		if (n->type == YAML_SCALAR_NODE && slice_eq(conf_yaml_scalar(n), key->word)) {
			conf_refuse(&r->y, key, "is given twice; the first time in line %zu",
				    n->start_mark.line + 1);
			return false;
		}
	}
	return conf_policy_name(r, key);
}

void conf_policy_rates(struct conf_policy_reader *r, const struct conf_at *at)
{
	add_client(r);
	if (!at->n || !conf_is_mapping(&r->y, at))
		return;
	/* Told once; what is beyond it cannot be there. */
	for (size_t i = 0; i < conf_entries(at) && !conf_policy_over(r); i++) {
		struct conf_at entry, key;

		if (conf_entry(&r->y, at, i, &entry, &key) && may_be_named(r, at, i, &key))
			read_limit(r, &entry, &key);
	}
}
