/* SPDX-License-Identifier: MIT */
/*
 * What the file says of requests: the sections semaphores, rate_limits, defaults, routes and cache,
 * checked and resolved: a route has all that holds for it, defaults included, and names have become
 * indexes. Strings and arrays live as long as the conf. Nothing changes after conf_load().
 */
#ifndef CONF_POLICY_H
#define CONF_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "conf/cron.h"

#define CONF_SEMAPHORES_MAX 32   /* global and llm among them */
#define CONF_RATES_MAX      64   /* one for each path of a table, too */
#define CONF_ROUTES_MAX     4096
#define CONF_ROUTE_NAME_MAX 119     /* bytes of `name`, without a NUL; patterns may be longer */
#define CONF_ROUTE_SEMAPHORES_MAX 8
#define CONF_ROUTE_RATES_MAX 14
#define CONF_RATE_KEYS_MAX  4
#define CONF_SEMAPHORE_LIMIT_MAX 16384
#define CONF_SEMAPHORE_NAME_MAX 47  /* bytes, without a NUL */
#define CONF_RATE_MAX       1000000 /* of rate and burst */
#define CONF_RATE_NAME_MAX  95      /* bytes, without a NUL; with the path of a table */
#define CONF_RATE_ENTRIES   65536  /* of a keyed limit that does not say */
#define CONF_CACHE_KEYS_MAX 8
#define CONF_CACHE_TAGS_MAX 16
#define CONF_CACHE_STATUSES_MAX 16
#define CONF_TEMPLATE_MAX   255    /* bytes of a template as in the file, without a NUL */
#define CONF_PARTS_MAX      16     /* of a template */
#define CONF_WARMUPS_MAX    64
#define CONF_WARMUP_URLS_MAX 1024
#define CONF_INVALIDATIONS_MAX 64
#define CONF_WHEN_MAX       16
#define CONF_INVALIDATION_TEMPLATES_MAX 16 /* patterns, and as many tags */

enum conf_class { CONF_CLASS_HIGH, CONF_CLASS_MEDIUM, CONF_CLASS_LOW, CONF_CLASSES };

/* Always there: [0] is global, [1] is llm, their limits from MAX_CONCURRENT_REQUESTS and
 * LLM_CONCURRENT_LIMIT. `limit` in their entries is an error that names the setting. */
#define CONF_SEM_GLOBAL 0
#define CONF_SEM_LLM    1
struct conf_semaphore {
	const char *name;
	uint32_t limit;              /* 0 = no limit */
	uint32_t limit_max;          /* default: the larger of 2 x limit and 1024, at most 16384 */
	bool limit_max_given;        /* by the file */
	uint32_t queue;              /* over all classes; default ADMISSION_QUEUE */
	uint64_t queue_timeout_ms;   /* default QUEUE_TIMEOUT */
	bool hold_work;              /* hold: work; else until the answer is handed over */
	struct { uint32_t weight, queue; } class[CONF_CLASSES]; /* queue: default that of all */
	const char *place;           /* "capricorn.yaml:12:3", or the setting's */
};

enum conf_rate_algorithm { CONF_RATE_BUCKET = 1, CONF_RATE_WINDOW };
/* What a key is made of; path, query and argument only in keys of the cache. */
enum conf_key_kind { CONF_KEY_CLIENT = 1, CONF_KEY_HEADER, CONF_KEY_COOKIE, CONF_KEY_PATH,
		     CONF_KEY_QUERY, CONF_KEY_ARGUMENT };
struct conf_key_part {
	enum conf_key_kind kind;
	const char *name;            /* of a header, a cookie or an argument of the query */
};

struct conf_rate {
	const char *name;            /* "per_user"; of a path of a table: "per_endpoint /mcp/x" */
	const char *policy;          /* the name in the file: "per_endpoint" */
	const char *path;            /* of a table: the one pattern that it holds for; else NULL.
				      * The paths of one table are different patterns, and of those
				      * that match a path the most specific one is meant */
	enum conf_rate_algorithm algorithm; /* default token_bucket */
	uint32_t rate;               /* per period */
	uint64_t period_ns;
	uint32_t burst;              /* default: of a bucket the rate; of a window 0 */
	size_t nkeys;                /* 0 = none */
	struct conf_key_part key[CONF_RATE_KEYS_MAX];
	bool key_all;                /* {all: [...]}: all together; else the first present */
	uint32_t entries;            /* 0 when not keyed */
	bool allow_when_full;        /* default: deny */
	bool shadow;                 /* mode: shadow; else enforce */
	const char *place;
};

enum conf_priority_from { CONF_PRIORITY_FIXED, CONF_PRIORITY_TRUSTED, CONF_PRIORITY_ANY };
struct conf_priority {
	enum conf_priority_from from;
	const char *header;
	enum conf_class class;       /* fixed, or the default */
};

/*
 * A text with parts that a request fills in, in order; to write it nothing needs to be allocated.
 * The value of a PARAM is what http_match_param() finds, that of a QUERY what http_query_find()
 * does, decoded, and that of a HEADER the first field of the name; what a request lacks is empty. A
 * value is never read as a pattern: a "*" stands for any text only as a part.
 */
enum conf_part_kind { CONF_PART_TEXT = 1, CONF_PART_PARAM, CONF_PART_QUERY, CONF_PART_HEADER,
		      CONF_PART_ANY };
struct conf_part {
	enum conf_part_kind kind;    /* ANY: only in patterns of invalidations, no two in a row */
	struct slice text;           /* TEXT: the bytes; else the name, "*": the rest of a path */
};
struct conf_template {
	const char *text;            /* as in the file, "draft:{id}" */
	size_t nparts;               /* 1 to CONF_PARTS_MAX */
	const struct conf_part *part;
};

/*
 * How answers of a route are kept: those to GET and HEAD alone. The key always has the Host, and
 * what is in `key`. Routes that have it from defaults: share one.
 */
struct conf_cache_rule {
	uint64_t ttl_ms;             /* how long an answer is fresh that does not say so itself;
				      * default CACHE_TTL; 0 = not at all */
	uint64_t stale_ms;           /* how much longer it may be given while a new one is fetched;
				      * default 0 */
	size_t nkeys;                /* default: path and query */
	struct conf_key_part key[CONF_CACHE_KEYS_MAX]; /* in the order of the file, none twice */
	bool key_given;              /* by the file */
	size_t ntags;                /* default 0 */
	const struct conf_template *tag;
	size_t nstatuses;            /* default: 200 alone; never 206 and 304 */
	uint16_t status[CONF_CACHE_STATUSES_MAX];
	uint64_t max_object;         /* bytes, at most half of cache_bytes (conf/conf.h); 0 = not
				      * given: its cache_object_max */
	const char *place;           /* of the mapping */
};

/*
 * An entry of routes:, or defaults:. Patterns and methods are such that one http_router takes all
 * of them: no two routes of the same pattern have a method in common. So GET is for HEAD, too,
 * unless another route of the same pattern names HEAD; and a route that is for all methods is the
 * only one of its pattern.
 */
struct conf_policy_route {
	const char *pattern;         /* NULL for defaults */
	const char *name;            /* label: `name`, else the pattern; NULL for defaults */
	size_t nmethods;             /* 0 = all */
	const char **method;
	size_t nsems;                /* narrow to wide: as in the file, global last, always */
	struct { uint16_t sem; uint16_t weight; } sem[CONF_ROUTE_SEMAPHORES_MAX + 1];
	size_t nrates;               /* indexes; those with a path are not among them */
	uint16_t rate[CONF_ROUTE_RATES_MAX + 1]; /* in the order of the file, client last */
	struct conf_priority priority;
	uint64_t timeout_ms;         /* to the head of the answer; 0 = not given */
	uint64_t stream_idle_ms;     /* 0 = not given */
	uint64_t body_max;           /* 0 = not given */
	bool access_status;          /* access: status; else open */
	struct conf_cache_rule *cache; /* NULL = nothing is kept: nobody has said `cache`, the
				      * route says `cache: off`, or it has neither GET nor HEAD */
	const char *place;
};

/* Requests that fill the cache before somebody asks. */
struct conf_warmup {
	const char *name;
	size_t nurls;                /* at least 1 */
	const char **url;            /* "/drafts/1?full=1" */
	const char *host;            /* NULL = not given: localhost with the port of the first
				      * address of BIND */
	const char *schedule;        /* as in the file */
	bool at_start;               /* schedule: @start, once the server is ready; no cron then */
	struct cron cron;
	enum conf_class class;       /* default low */
	const char *place;
};

/*
 * What an answer makes obsolete: when the status of the answer to a request that one of `when` is
 * for is 2xx or 3xx, answers with a tag that is one of `tag`, or that one of `pattern` matches, are
 * dropped. Of `when` the patterns of one entry are such that one http_router takes all of them; two
 * entries may have the same, and then both hold. The names of PARAMs are in each of `when`.
 */
struct conf_invalidation {
	const char *name;
	size_t nwhen;                /* at least 1 */
	struct { const char *method, *pattern; } when[CONF_WHEN_MAX];
	size_t npatterns, ntags;     /* at least 1 of them together */
	const struct conf_template *pattern, *tag;
	bool cascade;                /* T is meant as T and T:*; default false */
	bool async;                  /* after the answer; default false: before its first byte */
	const char *place;
};

/* The section cache:. The default is an empty one. */
struct conf_cache {
	uint32_t warmup_concurrency; /* requests at the same time, 1 to 64; default 2 */
	size_t nwarmups;
	struct conf_warmup *warmup;
	size_t ninvalidations;
	struct conf_invalidation *invalidation;
};

struct conf_policy {
	size_t nsems;
	struct conf_semaphore sem[CONF_SEMAPHORES_MAX];
	size_t nrates;
	struct conf_rate rate[CONF_RATES_MAX];
	bool llm_idle;               /* LLM_CONCURRENT_LIMIT was set, and no route takes `llm` */
	int client_rate;             /* index of ENABLE_RATE_LIMITING's `client`, -1 if it is off */
	bool has_routes;             /* false: neither routes, defaults nor limits with a path: all
				      * requests have `defaults`, and nothing needs matching */
	struct conf_policy_route defaults;
	size_t nroutes;
	struct conf_policy_route *route;
	struct conf_cache cache;
};

/* What the segment has to have room for: permits of all semaphores (their limit_max), and entries
 * of all keyed rate limits. */
uint64_t conf_policy_permits(const struct conf_policy *p);
uint64_t conf_policy_entries(const struct conf_policy *p);

#endif
