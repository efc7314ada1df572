/* SPDX-License-Identifier: MIT */
/*
 * Settings: one table (conf/settings.def), five origins, one result. Every problem is collected
 * with its place, all are told at once. Not thread-safe; used at the start and in a reload.
 */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/log.h"
#include "base/net.h"
#include "base/strbuf.h"
#include "conf/policy.h"

struct conf_list {
	size_t n;
	const char **item;
};

enum conf_cache_policy { CONF_POLICY_LRU, CONF_POLICY_LFU, CONF_POLICY_FIFO };

/*
 * One field a row of the table, named like the variable in lower case. Durations are in ms, sizes
 * in bytes; CONF_UNSET (numbers) and NULL (texts) where a setting has no value: port and umask
 * that are not given, cache sizes that are "auto", an access log that is off.
 */
#define CONF_UNSET (-1)
#define CONF_FIELD_INT(f)       int64_t f;
#define CONF_FIELD_DURATION(f)  int64_t f;
#define CONF_FIELD_SIZE(f)      int64_t f;
#define CONF_FIELD_MODE(f)      int64_t f;
#define CONF_FIELD_BOOL(f)      bool f;
#define CONF_FIELD_TEXT(f)      const char *f;
#define CONF_FIELD_LIST(f)      struct conf_list f;
#define CONF_FIELD_LEVEL(f)     enum log_level f;
#define CONF_FIELD_LOGFORMAT(f) enum log_format f;
#define CONF_FIELD_POLICY(f)    enum conf_cache_policy f;
#define SETTING(name, field, type, ...) CONF_FIELD_##type(field)
struct settings {
#include "conf/settings.def"
};
#undef SETTING

enum conf_origin { CONF_DEFAULT, CONF_FILE, CONF_ENV_FILE, CONF_ENV, CONF_FLAG, CONF_LIVE };
enum conf_when { CONF_BOOT, CONF_RELOAD, CONF_LIVE_CHANGE };

enum conf_action {
	CONF_ACT_RUN, CONF_ACT_HELP, CONF_ACT_VERSION, CONF_ACT_CHECK, CONF_ACT_PRINT,
	CONF_ACT_HEALTH,
	CONF_ACT_DOC /* --print-doc NAME: writes one of the generated documents (for the build) */
};

/* What APP names. */
enum conf_app { CONF_APP_API, CONF_APP_ECHO, CONF_APP_HELLO, CONF_APP_MODULE };
#define CONF_APP_SYMBOL "capricorn_app" /* what a module exports unless APP says otherwise */

/* A listening address, checked. */
struct conf_bind {
	enum { CONF_BIND_TCP, CONF_BIND_UNIX, CONF_BIND_FD } kind;
	struct net_addr addr;    /* TCP: address and port */
	const char *path;        /* unix */
	int fd;                  /* fd:// */
	const char *text;        /* as given */
};

struct conf {
	struct settings s;
	enum conf_action action;
	const char *doc_name;          /* of CONF_ACT_DOC */
	enum conf_app app;
	const char *app_path;          /* of a module, as given: begins where we were started */
	const char *app_symbol;        /* of a module; NULL = CONF_APP_SYMBOL */
	const char *file;              /* the configuration file that was read; NULL = none */
	const char *module_json;       /* the section module: of the file; "{}" without one */
	size_t nbinds;
	struct conf_bind *binds;       /* BIND, or HOST and PORT, or PORT alone, or the default */
	bool has_status_bind;
	struct conf_bind status_bind;
	struct net_cidrs forwarded_allow; /* FORWARDED_ALLOW_IPS */
	struct net_cidrs status_allow;    /* STATUS_ALLOW */
	uint64_t cache_bytes;          /* CACHE_MEMORY; of auto 64m, see conf_lower_cache(); 0 = no
					* cache */
	uint64_t cache_object_max;     /* CACHE_MAX_OBJECT; of auto a quarter of cache_bytes */
	struct conf_policy *policy;    /* limits of requests, by routes; not changed by others */
	int cpus;                      /* the smaller of affinity and cgroup quota, at least 1 */
	/* private to conf/: origins and places of each row, the memory of all strings */
	struct conf_priv *priv;
};

/* Where the settings come from. The arrays stay the caller's and must live as long as a reload is
 * possible; argv[0] is skipped. */
struct conf_input {
	int argc;
	char *const *argv;
	char *const *env;
};

/* What is wrong or worth saying: one line each, in the order of finding. */
struct conf_report {
	size_t nerrors;
	struct strbuf errors;  /* "file.yaml:12: worker_timeout: ..." lines */
	struct strbuf notes;   /* lines for the log: file in use, ignored links, lowered values */
};
void conf_report_init(struct conf_report *r);
void conf_report_fini(struct conf_report *r);

/* Reads all origins. 0 and *ret_conf, or -1 and r->nerrors > 0. Blocks only for reading files. */
int conf_load(const struct conf_input *in, struct conf **ret_conf, struct conf_report *r);
void conf_free(struct conf *c);

/*
 * A value of the section module:, by a dotted path ("database.host", "hosts.0"): its text as it is
 * written, without quotes. NULL: there is none, it has no value (null), or is a list or a mapping.
 * Lives as long as the conf; may be called from any thread, since nothing changes.
 */
const char *conf_module_setting(const struct conf *c, const char *path);

/*
 * Makes `next` (just loaded) the configuration that follows `cur`: boot settings that differ keep
 * the value of `cur`, each told in r->notes as "NAME: ... needs a restart or an upgrade". The rest
 * applies. Strings are copied; `cur` may be freed afterwards.
 *
 * Of the policy, limit_max of a semaphore and `entries` of a rate limit stay, by name. A limit that
 * is above the limit_max that stays is refused: that of `cur` stays, in the setting, too, if it is
 * one. Weights of routes are cut to the limit_max that stays, and max_object of routes to half of
 * cache_bytes, which stays.
 */
void conf_carry_over(struct conf *next, const struct conf *cur, struct conf_report *r);

/*
 * For a segment that finds no room: lowers WORKERS_MAX to `most`, and WEB_WORKERS and WORKERS_MIN
 * with it. False, and nothing is changed, if that would be less than 1 or than what somebody asked
 * for: only computed values give way.
 */
bool conf_lower_workers(struct conf *c, int64_t most);

/*
 * The same for the cache, which gives way before workers do: lowers cache_bytes to `most`, but not
 * below 8m, and with it the size of answers that are kept. False, and nothing is changed, if
 * CACHE_MEMORY was given, or cache_bytes is no more than that. Who calls it says so in the log.
 */
bool conf_lower_cache(struct conf *c, uint64_t most);

/* Documents made from the table. */
void conf_write_help(FILE *f);                         /* --help */
/* "settings-md", "man8", "man5", "sample"; -1: there is none of that name. */
int conf_write_doc(const char *name, FILE *f);
/* --print-config: JSON, value and origin of each row. */
void conf_write_print(const struct conf *c, FILE *f);

#endif
