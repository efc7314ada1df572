/* SPDX-License-Identifier: MIT */
/*
 * What follows from the merged settings: computed defaults, addresses and networks in the form that
 * the processes use, contradictions, and what is not built yet.
 */
#include "conf/conf_priv.h"

#include <stdlib.h>

#define WORKERS_DEFAULT_MAX 1024
#define CACHE_AUTO   (64u << 20) /* bytes, where /dev/shm has so much */
#define CACHE_LOWEST (8u << 20)  /* what the automatic size is lowered to at most */
#define CACHE_LEAST  (1u << 20)  /* less is of no use */

static bool is_set(const struct conf_loading *ld, enum conf_row_id id)
{
	return ld->conf->priv->from[id].origin != CONF_DEFAULT;
}

const char *conf_whence(struct conf_loading *ld, enum conf_row_id id)
{
	const struct conf_source *from = &ld->conf->priv->from[id];

	return conf_text(ld, "%s (%s)", conf_rows[id].name, from->place ? from->place : "default");
}

/* ---- computed defaults ---- */

static int64_t clamp(int64_t n, int64_t least, int64_t most)
{
	return n < least ? least : n > most ? most : n;
}

/*
 * A computed WEB_WORKERS gives way to the bounds that were set. Bounds that were set and cross each
 * other are told in check_workers().
 */
static void derive_workers(struct conf_loading *ld)
{
	struct settings *s = &ld->conf->s;
	int64_t least = is_set(ld, CONF_R_WORKERS_MIN) ? s->workers_min : 1;
	int64_t most = is_set(ld, CONF_R_WORKERS_MAX) ? s->workers_max : WORKERS_DEFAULT_MAX;

	if (!is_set(ld, CONF_R_WEB_WORKERS))
		s->web_workers = clamp((int64_t)ld->conf->cpus * 2 + 1, least,
				       most < least ? least : most);
	if (!is_set(ld, CONF_R_WORKERS_MIN))
		s->workers_min = s->web_workers;
	if (!is_set(ld, CONF_R_WORKERS_MAX))
		s->workers_max = s->web_workers > 8 ? 2 * s->web_workers : 16;
}

bool conf_lower_workers(struct conf *c, int64_t most)
{
	const struct conf_source *from = c->priv->from;
	struct settings *s = &c->s;

	if (most < 1 || from[CONF_R_WORKERS_MAX].origin != CONF_DEFAULT ||
	    (from[CONF_R_WEB_WORKERS].origin != CONF_DEFAULT && s->web_workers > most) ||
	    (from[CONF_R_WORKERS_MIN].origin != CONF_DEFAULT && s->workers_min > most))
		return false;
	s->workers_max = most;
	s->web_workers = clamp(s->web_workers, 1, most);
	s->workers_min = clamp(s->workers_min, 1, most);
	return true;
}

static void derive_times(struct conf_loading *ld)
{
	struct settings *s = &ld->conf->s;

	if (!is_set(ld, CONF_R_REQUEST_TIMEOUT))
		s->request_timeout = s->worker_timeout;
	/* Who has left MAX_REQUESTS alone has not asked for workers that come and go. */
	if (!is_set(ld, CONF_R_MIN_WORKER_LIFETIME))
		s->min_worker_lifetime = is_set(ld, CONF_R_MAX_REQUESTS) ? 0 : 60000;
}

/* ---- the cache ---- */

static void fit_object(struct conf_cache_rule *rule, uint64_t most)
{
	if (rule && rule->max_object > most)
		rule->max_object = most;
}

void conf_fit_objects(struct conf *c)
{
	uint64_t most = c->cache_bytes / 2;

	c->cache_object_max = c->s.cache_max_object == CONF_UNSET
				      ? c->cache_bytes / 4 : (uint64_t)c->s.cache_max_object;
	if (c->cache_object_max > most)
		c->cache_object_max = most;
	if (!c->policy)
		return;
	fit_object(c->policy->defaults.cache, most);
	for (size_t i = 0; i < c->policy->nroutes; i++)
		fit_object(c->policy->route[i].cache, most);
}

bool conf_lower_cache(struct conf *c, uint64_t most)
{
	if (c->s.cache_memory != CONF_UNSET || most >= c->cache_bytes ||
	    c->cache_bytes <= CACHE_LOWEST)
		return false;
	c->cache_bytes = most < CACHE_LOWEST ? CACHE_LOWEST : most;
	conf_fit_objects(c);
	return true;
}

static void derive_cache(struct conf_loading *ld)
{
	struct conf *c = ld->conf;
	const struct conf_source *from = c->priv->from;
	int64_t bytes = c->s.cache_memory, object = c->s.cache_max_object;

	c->cache_bytes = bytes == CONF_UNSET ? CACHE_AUTO : (uint64_t)bytes;
	if (c->cache_bytes > 0 && c->cache_bytes < CACHE_LEAST)
		conf_error(ld, from[CONF_R_CACHE_MEMORY].place, "CACHE_MEMORY is %lld; 0 is no "
			   "cache, and the smallest one has 1m", (long long)bytes);
	else if (c->cache_bytes > 0 && object > (int64_t)(c->cache_bytes / 2))
		conf_error(ld, from[CONF_R_CACHE_MAX_OBJECT].place, "%s is %lld, which is more "
			   "than half of %s with %lld", conf_whence(ld, CONF_R_CACHE_MAX_OBJECT),
			   (long long)object, conf_whence(ld, CONF_R_CACHE_MEMORY),
			   (long long)c->cache_bytes);
	conf_fit_objects(c);
}

/* ---- addresses ---- */

static bool same_bind(const struct conf_bind *a, const struct conf_bind *b)
{
	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case CONF_BIND_TCP:
		/* Port 0 picks a free one each time. */
		return a->addr.port != 0 && memcmp(&a->addr, &b->addr, sizeof(a->addr)) == 0;
	case CONF_BIND_UNIX:
		return strcmp(a->path, b->path) == 0;
	default:
		return a->fd == b->fd;
	}
}

/* Adds a listener; its text was checked when it was set. */
static void add_bind(struct conf_loading *ld, const char *text, const char *place)
{
	struct conf *c = ld->conf;
	struct strbuf why;

	strbuf_init(&why);
	if (!conf_bind_parse(c, text, &c->binds[c->nbinds], &why)) {
		ld->no_memory |= ld->report->nerrors == 0;
		strbuf_fini(&why);
		return;
	}
	strbuf_fini(&why);
	for (size_t i = 0; i < c->nbinds; i++)
		if (same_bind(&c->binds[i], &c->binds[c->nbinds])) {
			conf_error(ld, place, "the address %s is there twice", text);
			return;
		}
	c->nbinds++;
}

/* HOST and PORT as one address; PORT alone means every address, as in gunicorn. */
static const char *host_and_port(struct conf_loading *ld)
{
	const struct settings *s = &ld->conf->s;
	bool port = is_set(ld, CONF_R_PORT) && s->port != CONF_UNSET;
	const char *host = s->host ? s->host : port ? "0.0.0.0" : "127.0.0.1";
	bool bare_v6 = strchr(host, ':') && host[0] != '[';

	return conf_text(ld, "%s%s%s:%d", bare_v6 ? "[" : "", host, bare_v6 ? "]" : "",
			 port ? (int)s->port : 8000);
}

static void derive_binds(struct conf_loading *ld)
{
	struct conf *c = ld->conf;
	const struct conf_source *from = c->priv->from;
	enum conf_origin bind = from[CONF_R_BIND].origin;
	enum conf_origin host = from[CONF_R_HOST].origin, port = from[CONF_R_PORT].origin;
	enum conf_origin pair = host > port ? host : port;

	c->binds = conf_alloc(c, (c->s.bind.n + 1) * sizeof(*c->binds));
	if (!c->binds) {
		ld->no_memory = true;
		return;
	}
	if (bind != CONF_DEFAULT && pair == bind)
		conf_error(ld, from[CONF_R_BIND].place, "BIND and %s contradict each other; leave "
			   "one of them out",
			   conf_whence(ld, host == bind ? CONF_R_HOST : CONF_R_PORT));
	if (pair > bind) {
		add_bind(ld, host_and_port(ld), "HOST and PORT");
		return;
	}
	for (size_t i = 0; i < c->s.bind.n; i++)
		add_bind(ld, c->s.bind.item[i], from[CONF_R_BIND].place ? from[CONF_R_BIND].place
								       : "BIND");
}

static void derive_status_bind(struct conf_loading *ld)
{
	struct conf *c = ld->conf;
	const char *place = c->priv->from[CONF_R_STATUS_BIND].place;
	struct strbuf why;

	if (!c->s.status_bind)
		return;
	strbuf_init(&why);
	c->has_status_bind = conf_bind_parse(c, c->s.status_bind, &c->status_bind, &why);
	strbuf_fini(&why);
	for (size_t i = 0; c->has_status_bind && i < c->nbinds; i++)
		if (same_bind(&c->binds[i], &c->status_bind))
			conf_error(ld, place, "the address %s is one of BIND too; the keeper needs "
					      "one "
				   "of its own", c->s.status_bind);
}

static void derive_networks(struct conf_loading *ld, const struct conf_list *from,
			    struct net_cidrs *to)
{
	for (size_t i = 0; i < from->n; i++)
		if (!net_cidr_parse(to, slice_of(from->item[i])) && ld->report->nerrors == 0)
			ld->no_memory = true;
}

/* ---- contradictions ---- */

/* Tells when the first setting is larger than the second; the place is that of one that was set. */
static void check_order(struct conf_loading *ld, enum conf_row_id a, enum conf_row_id b)
{
	int64_t low = *conf_int_field(&conf_rows[a], &ld->conf->s);
	int64_t high = *conf_int_field(&conf_rows[b], &ld->conf->s);
	const struct conf_source *from = ld->conf->priv->from;
	enum conf_row_id at = from[a].origin >= from[b].origin ? a : b;

	if (low > high)
		conf_error(ld, from[at].place ? from[at].place : conf_rows[at].name,
			   "%s is %lld, which is more than %s with %lld", conf_whence(ld, a),
			   (long long)low, conf_whence(ld, b), (long long)high);
}

static void check_workers(struct conf_loading *ld)
{
	if (is_set(ld, CONF_R_WORKERS_MIN) && is_set(ld, CONF_R_WORKERS_MAX) &&
	    ld->conf->s.workers_min > ld->conf->s.workers_max) {
		check_order(ld, CONF_R_WORKERS_MIN, CONF_R_WORKERS_MAX);
		return; /* WEB_WORKERS between them is impossible too, and no second problem */
	}
	check_order(ld, CONF_R_WORKERS_MIN, CONF_R_WEB_WORKERS);
	check_order(ld, CONF_R_WEB_WORKERS, CONF_R_WORKERS_MAX);
}

/* A value that would do nothing is worse than an error. */
static void check_later(struct conf_loading *ld)
{
	struct conf *c = ld->conf;

	for (size_t i = 0; i < CONF_ROWS; i++) {
		const struct conf_row *row = &conf_rows[i];
		struct strbuf def;

		if (!row->later || c->priv->from[i].origin == CONF_DEFAULT ||
		    conf_value_equal(row, &c->s, &c->priv->defaults))
			continue;
		strbuf_init(&def);
		conf_row_default(row, &def);
		conf_error(ld, c->priv->from[i].place, "%s is not built yet; only its default (%s) "
			   "is possible", row->name, def.p ? def.p : "");
		strbuf_fini(&def);
	}
}

void conf_derive(struct conf_loading *ld)
{
	struct conf *c = ld->conf;

	c->cpus = conf_cpus("");
	derive_workers(ld);
	derive_times(ld);
	conf_derive_app(ld);
	derive_binds(ld);
	derive_cache(ld);
	conf_derive_policy(ld);
	if (ld->no_memory)
		return;
	derive_status_bind(ld);
	derive_networks(ld, &c->s.forwarded_allow_ips, &c->forwarded_allow);
	derive_networks(ld, &c->s.status_allow, &c->status_allow);
	check_workers(ld);
	check_later(ld);
	/* A file may be shared by servers of which not all run a module. */
	if (c->priv->module && c->app != CONF_APP_MODULE)
		conf_note(ld->report, "%s: is not used, since APP is %s and no module",
			  c->priv->module_place, c->s.app);
}
