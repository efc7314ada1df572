/* SPDX-License-Identifier: MIT */
/*
 * The list warmup of the section cache: requests that fill the cache before somebody asks. What
 * they will look like is judged by the parser of requests and by the routes.
 */
#include <stdlib.h>

#include "conf/policy_priv.h"
#include "http/router.h"

#define FIELDS_MAX 2

/* ---- requests ---- */

/* Is this a request that would be taken? *ret_path is its path, for the caller to free(); NULL: it
 * is none. */
static bool is_request(struct conf_policy_reader *r, const char *url, const char *host,
		       char **ret_path)
{
	const struct http_limits limits = {
		.line_max = (size_t)r->ld->conf->s.limit_request_line, .fields_max = FIELDS_MAX,
		.field_size_max = (size_t)r->ld->conf->s.limit_request_field_size,
		.head_max = SIZE_MAX,
	};
	struct http_field fields[FIELDS_MAX];
	struct http_request req = {.fields = fields};
	struct strbuf head;
	size_t scan = 0, len;

	*ret_path = NULL;
	strbuf_init(&head);
	strbuf_printf(&head, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", url, host);
	if (!head.failed && http_parse_head(&req, &limits, head.p, head.len, &scan) == HTTP_OK &&
	    req.form == HTTP_ORIGIN_FORM && slice_eq(req.authority, slice_of(host))) {
		*ret_path = malloc(req.raw_path.len + 1);
		r->ld->no_memory |= !*ret_path;
		if (*ret_path && http_normalise_path(req.raw_path, *ret_path, &len)) {
			free(*ret_path);
			*ret_path = NULL;
		}
	}
	r->ld->no_memory |= head.failed;
	strbuf_fini(&head);
	return *ret_path != NULL;
}

static bool is_cached(const struct conf_policy_reader *r, const char *path)
{
	const struct conf_policy_route *route = &r->p->defaults;
	struct http_match match;

	if (r->router && http_router_match(r->router, HTTP_M_GET, SLICE("GET"), slice_of(path), 0,
					   &match))
		route = match.target;
	return route->cache != NULL;
}

/* True: it can be requested, but nothing would be kept. */
static bool read_url(struct conf_policy_reader *r, const struct conf_at *at, struct conf_warmup *w)
{
	const char *url = conf_string_of(&r->y, at);
	bool kept = true;
	char *path;

	if (!url)
		return false;
	if (url[0] != '/') {
		conf_refuse_text(&r->y, at, "is no path, which begins with /; a host is given by "
				 "itself (host: example.com)");
	} else if (!is_request(r, url, "localhost", &path)) {
		conf_refuse_text(&r->y, at, "is no path that a request can have: in it a blank is "
				 "%%20, # is %%23, and so on, and it fits into LIMIT_REQUEST_LINE");
	} else {
		w->url[w->nurls++] = url;
		kept = is_cached(r, path);
		free(path);
	}
	return !kept;
}

static void read_urls(struct conf_policy_reader *r, const struct conf_at *at, struct conf_warmup *w)
{
	const char *first = NULL;
	size_t idle = 0;

	if (!conf_is_list(&r->y, at, CONF_WARMUP_URLS_MAX))
		return;
	if (conf_count(at) == 0) {
		conf_refuse(&r->y, at, "has no items");
		return;
	}
	w->url = conf_alloc(r->ld->conf, conf_count(at) * sizeof(*w->url));
	r->ld->no_memory |= !w->url;
	for (size_t i = 0; w->url && i < conf_count(at) && !conf_policy_over(r); i++) {
		struct conf_at item = conf_item(&r->y, at, i);

		if (read_url(r, &item, w) && !idle++)
			first = w->url[w->nurls - 1];
	}
	if (idle)
		conf_note(r->ld->report, "%s: %zu of the urls are of routes that have no cache, %s "
			  "first: what is requested is not kept", w->place, idle, first);
}

static void read_host(struct conf_policy_reader *r, const struct conf_at *at, struct conf_warmup *w)
{
	char *path;

	w->host = conf_string_of(&r->y, at);
	if (w->host && !is_request(r, "/", w->host, &path))
		conf_refuse_text(&r->y, at, "is no host, such as example.com or example.com:8000");
	else if (w->host)
		free(path);
}

/* ---- the list ---- */

static void read_schedule(struct conf_policy_reader *r, const struct conf_at *at,
			  struct conf_warmup *w)
{
	struct strbuf why;

	w->schedule = conf_string_of(&r->y, at);
	if (!w->schedule)
		return;
	w->at_start = strcasecmp(w->schedule, "@start") == 0;
	strbuf_init(&why);
	if (!w->at_start && !cron_parse(slice_of(w->schedule), &w->cron, &why))
		conf_refuse_text(&r->y, at, "%s%s", why.p ? why.p : "",
				 w->schedule[0] == '@' ? " @start" : "");
	strbuf_fini(&why);
}

static void read_warmup(struct conf_policy_reader *r, const struct conf_at *at)
{
	struct conf_cache *cache = &r->p->cache;
	struct conf_warmup *w = &cache->warmup[cache->nwarmups];
	struct conf_members m;

	*w = (struct conf_warmup){.place = conf_place_of(&r->y, at)};
	if (!conf_read_members(&r->y, at, CONF_G_WARMUP, CONF_G_WARMUP, &m))
		return;
	w->name = conf_read_name(r, at, &m.at[CONF_K_WARMUP_name]);
	for (size_t i = 0; w->name && i < cache->nwarmups; i++)
		if (strcmp(cache->warmup[i].name, w->name) == 0)
			conf_refuse_text(&r->y, &m.at[CONF_K_WARMUP_name], "is the name of the one "
					 "at %s already", cache->warmup[i].place);
	if (m.at[CONF_K_WARMUP_urls].n)
		read_urls(r, &m.at[CONF_K_WARMUP_urls], w);
	else
		conf_refuse(&r->y, at, "needs urls, a list of paths");
	if (m.at[CONF_K_WARMUP_schedule].n)
		read_schedule(r, &m.at[CONF_K_WARMUP_schedule], w);
	else
		conf_refuse(&r->y, at, "needs a schedule, such as @start, or \"0 2 * * *\" for 2 "
			    "o'clock");
	w->class = (enum conf_class)conf_number_of(&r->y, &m, CONF_K_WARMUP_priority,
						   CONF_CLASS_LOW);
	read_host(r, &m.at[CONF_K_WARMUP_host], w);
	cache->nwarmups += w->name != NULL;
}

void conf_cache_warmups(struct conf_policy_reader *r, const struct conf_at *at)
{
	struct conf_cache *cache = &r->p->cache;

	if (!at->n || !conf_is_list(&r->y, at, CONF_WARMUPS_MAX))
		return;
	cache->warmup = conf_alloc(r->ld->conf, conf_count(at) * sizeof(*cache->warmup));
	if (!cache->warmup) {
		r->ld->no_memory = true;
		return;
	}
	for (size_t i = 0; i < conf_count(at) && !conf_policy_over(r); i++) {
		struct conf_at item = conf_item(&r->y, at, i);

		read_warmup(r, &item);
	}
}
