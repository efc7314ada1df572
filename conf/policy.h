/* SPDX-License-Identifier: MIT */
/*
 * What the file says of requests: the sections semaphores, rate_limits, defaults and routes,
 * checked and resolved: a route has all that holds for it, defaults included, and names have become
 * indexes. Strings and arrays live as long as the conf. Nothing changes after conf_load().
 */
#ifndef CONF_POLICY_H
#define CONF_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
enum conf_key_kind { CONF_KEY_CLIENT = 1, CONF_KEY_HEADER, CONF_KEY_COOKIE };
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
	struct { enum conf_key_kind kind; const char *name; } key[CONF_RATE_KEYS_MAX];
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
	const char *place;
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
};

/* What the segment has to have room for: permits of all semaphores (their limit_max), and entries
 * of all keyed rate limits. */
uint64_t conf_policy_permits(const struct conf_policy *p);
uint64_t conf_policy_entries(const struct conf_policy *p);

#endif
