/* SPDX-License-Identifier: MIT */
/* Inside of conf/: the table, values as texts, the readers of the origins. */
#ifndef CONF_CONF_PRIV_H
#define CONF_CONF_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/slice.h"
#include "base/strbuf.h"
#include "conf/conf.h"

#define CONF_PREFIX "CAPRICORN_"
#define CONF_DEFAULT_FILE "capricorn.yaml"
#define CONF_FILE_BYTES_MAX (1024u * 1024u)

enum conf_type {
	CONF_T_INT, CONF_T_DURATION, CONF_T_SIZE, CONF_T_MODE, CONF_T_BOOL, CONF_T_TEXT,
	CONF_T_LIST, CONF_T_LEVEL, CONF_T_LOGFORMAT, CONF_T_POLICY,
	/* In sections.def alone; the words are in the order of the enums in policy.h. */
	CONF_T_HOLD, CONF_T_ALGORITHM, CONF_T_WHEN_FULL, CONF_T_RATE_MODE, CONF_T_ACCESS,
	CONF_T_FROM, CONF_T_CLASS,
	CONF_T_SHAPE            /* has a reader of its own */
};

/* Says in `why` what is wrong with a text ("is not ..."); true if nothing is. */
typedef bool conf_check_f(const char *text, struct strbuf *why);

struct conf_row {
	const char *name;       /* WEB_WORKERS */
	const char *key;        /* web_workers */
	enum conf_type type;
	size_t offset;          /* in struct settings */
	int64_t min, max;       /* numbers, in the unit of the field */
	const char *flags;      /* "--workers -w"; NULL = only --web-workers, "" = none at all */
	const char *aliases;    /* "WEB_CONCURRENCY": another variable for the same */
	const char *def;        /* as a user would write it; NULL = none, or computed */
	const char *shown;      /* what documents say instead of `def` */
	const char *zero;       /* what 0 means */
	const char *unit;       /* for documents, where the type does not say it */
	const char *arg;        /* name of the value in documents */
	const char *group;      /* begins a part of the documents */
	const char *help;
	conf_check_f *check;    /* TEXT, and each item of a LIST */
	enum conf_when when;
	bool later;             /* not built yet: only the default is accepted */
	bool prefixed;          /* the bare variable is somebody else's */
	bool secret;            /* never shown */
};

#define SETTING(name, ...) CONF_R_##name,
enum conf_row_id {
#include "conf/settings.def"
	CONF_ROWS
};
#undef SETTING

extern const struct conf_row conf_rows[CONF_ROWS];

/* ---- keys.c: the table of what can be in sections (conf/sections.def) ---- */

#define GROUP(id, ...) CONF_G_##id,
#define KEY(...)
enum conf_group {
#include "conf/sections.def"
	CONF_GROUPS
};
#undef GROUP
#undef KEY

#define GROUP(...)
#define KEY(group, name, ...) CONF_K_##group##_##name,
enum conf_key {
#include "conf/sections.def"
	CONF_KEYS
};
#undef GROUP
#undef KEY

/* A mapping: where it can stand, and what it is. Its keys follow each other in conf_keys. */
struct conf_group_row {
	const char *where;
	const char *help;
};

extern const struct conf_group_row conf_groups[CONF_GROUPS];
extern const struct conf_row conf_keys[CONF_KEYS]; /* key, type, min, max, def, shown, zero, arg,
						      help and later are used */
extern const enum conf_group conf_key_group[CONF_KEYS];
/* The sections, in the order of documents, as an example that can be loaded. */
extern const char conf_sections_example[];

/* ---- table.c: finding rows ---- */

const struct conf_row *conf_row_by_name(struct slice variable); /* bare name or alias */
const struct conf_row *conf_row_by_key(struct slice key);       /* key, or alias in lower case */
const struct conf_row *conf_row_by_flag(struct slice flag);     /* "--workers", "-w" */
/* The nearest of the words (which end with NULL), or NULL if none is near. Case does not count. */
const char *conf_nearest(struct slice word, const char *const *words);
/* The nearest row; its name, key or first flag, whichever is asked for. Into `out`; false = none.
 */
enum conf_naming { CONF_BY_NAME, CONF_BY_KEY, CONF_BY_FLAG };
bool conf_nearest_row(struct slice word, enum conf_naming how, struct strbuf *out);
/* The flag "--web-workers" of a row's own name. */
void conf_own_flag(const struct conf_row *row, struct strbuf *out);
/* Names of an enumerated type, ended by NULL; NULL for other types. */
const char *const *conf_type_words(enum conf_type type);

/* ---- memory: strings and arrays that live as long as the conf; NULL = no memory ---- */

void *conf_alloc(struct conf *c, size_t size); /* zeroed */
char *conf_strndup(struct conf *c, const char *p, size_t len);

/* ---- value.c ---- */

/* Reads a text into the row's field of `s`. A LIST gets one item more. False: `why` says what is
 * wrong, the field is as it was. */
bool conf_value_parse(struct conf *c, const struct conf_row *row, struct slice text,
		      struct settings *s, struct strbuf *why);
/* The same for what is no setting: a number, a boolean, or the index of a word; a text without
 * controls, in the memory of `c` (NULL: `why` says what is wrong). */
bool conf_number_parse(const struct conf_row *row, struct slice text, int64_t *ret,
		       struct strbuf *why);
char *conf_string_parse(struct conf *c, const struct conf_row *row, struct slice text,
			struct strbuf *why);
bool conf_value_equal(const struct conf_row *row, const struct settings *a,
		      const struct settings *b);
/* Copies the row's field; strings into the memory of `c`. False = no memory. */
bool conf_value_copy(struct conf *c, const struct conf_row *row, struct settings *to,
		     const struct settings *from);
void conf_value_format(const struct conf_row *row, const struct settings *s, struct strbuf *out);
/* A number of the row's type as a user would write it: "64k", "100ms", "022". */
void conf_number_format(enum conf_type type, int64_t n, struct strbuf *out);
/* "from 1 to 1024" and the like, empty if there is nothing to say. */
void conf_range_format(const struct conf_row *row, struct strbuf *out);
/* In quotes, cut to a readable length, controls escaped. */
void conf_quote(struct strbuf *out, struct slice text);

static inline int64_t *conf_int_field(const struct conf_row *row, const struct settings *s)
{
	return (int64_t *)((char *)(uintptr_t)s + row->offset);
}

static inline struct conf_list *conf_list_field(const struct conf_row *row,
						const struct settings *s)
{
	return (struct conf_list *)((char *)(uintptr_t)s + row->offset);
}

static inline const char **conf_text_field(const struct conf_row *row, const struct settings *s)
{
	return (const char **)((char *)(uintptr_t)s + row->offset);
}

/* ---- check.c: meanings of texts ---- */

conf_check_f conf_check_bind, conf_check_host, conf_check_network, conf_check_log_format,
	conf_check_shm_name, conf_check_prefix, conf_check_token, conf_check_name;

/* A listening address. Strings go into the memory of `c`. False: `why` says what is wrong. */
bool conf_bind_parse(struct conf *c, const char *text, struct conf_bind *ret, struct strbuf *why);
bool conf_host_parse(struct slice text, struct net_addr *ret);

/* ---- app.c: what APP names ---- */

struct conf_app_name {
	enum conf_app app;
	struct slice path;      /* of a module: a part of the text */
	const char *symbol;     /* of a module: the end of the text; NULL = none is named */
};

conf_check_f conf_check_app;
/* False: `why` says what is wrong. No file is looked at. */
bool conf_app_parse(const char *text, struct conf_app_name *ret, struct strbuf *why);

/* ---- load.c: one loading ---- */

struct conf_source {
	enum conf_origin origin;
	const char *place;      /* "capricorn.yaml:3:9: worker_timeout", "flag --timeout" */
};

struct conf_priv {
	struct conf_source from[CONF_ROWS];
	struct settings defaults;   /* for comparison; computed ones are not in it */
	struct conf_block *blocks;
	const struct conf_value *module; /* section.c; NULL = there is no section */
	const char *module_place;
	bool has_sections;          /* one of those in conf->policy is in the file */
};

struct conf_loading {
	struct conf *conf;
	struct conf_report *report;
	struct conf_sections *sections; /* of the file, until they are derived; NULL = no file */
	bool no_memory;
};

struct conf_item {
	struct slice text;
	const char *place;
};

/* Sets a row from the texts of one origin; the first call of an origin replaces what weaker ones
 * have set, further ones add to a LIST. An error is told with the item's place. */
void conf_set(struct conf_loading *ld, const struct conf_row *row, enum conf_origin origin,
	      const struct conf_item *item, size_t n);
/* The same with one text; a LIST is split at commas. */
void conf_set_text(struct conf_loading *ld, const struct conf_row *row, enum conf_origin origin,
		   struct slice text, const char *place);
/* A string in the memory of the conf; "" when there is none left (then no_memory is set). */
__attribute__((format(printf, 2, 3))) const char *conf_text(struct conf_loading *ld,
							    const char *fmt, ...);
__attribute__((format(printf, 3, 4))) void conf_error(struct conf_loading *ld, const char *place,
						       const char *fmt, ...);
__attribute__((format(printf, 2, 3))) void conf_note(struct conf_report *r, const char *fmt, ...);

/* ---- the origins ---- */

struct conf_args {
	const char *file, *file_place;     /* -c */
	const char *env_file;              /* --env-file */
};

/* Reads the flags: actions and file names into the conf and `ret`, the settings when `apply`. */
void conf_read_args(struct conf_loading *ld, const struct conf_input *in, bool apply,
		    struct conf_args *ret);
void conf_read_env(struct conf_loading *ld, char *const *env);
void conf_read_env_file(struct conf_loading *ld, const char *path);
const char *conf_env_get(char *const *env, const char *name); /* NULL if unset or empty */
void conf_read_file(struct conf_loading *ld, const char *path, const char *place);
/* The same for a text in memory, as if it came from `path`. */
void conf_read_yaml(struct conf_loading *ld, const char *path, const char *p, size_t len);
/* A whole regular file, at most CONF_FILE_BYTES_MAX; NULL after telling why not. Caller frees. */
char *conf_slurp(struct conf_loading *ld, const char *path, const char *place, size_t *ret_len);

/* ---- derive.c: what follows from the merged settings ---- */

void conf_derive(struct conf_loading *ld);
/* "WEB_WORKERS (flag --workers)", "WEB_WORKERS (default)" for messages about two settings. */
const char *conf_whence(struct conf_loading *ld, enum conf_row_id id);
/* What is kept of single answers, by the settings, the routes and cache_bytes. */
void conf_fit_objects(struct conf *c);
/* In app.c: APP and STATUS_PREFIX as the processes use them. A module that cannot be read is told.
 */
void conf_derive_app(struct conf_loading *ld);
/* In policy.c: conf->policy from the settings and the sections of the file, which are forgotten. */
void conf_derive_policy(struct conf_loading *ld);
/* What a reload cannot change in it, see conf_carry_over(). False = no memory. */
bool conf_carry_policy(struct conf *next, const struct conf *cur, struct conf_report *r);
/* In policy_key.c: how a part of a key is written before its name: "client", "header:". */
const char *conf_key_word(enum conf_key_kind kind);
/* In carry.c: the value of a row and where it came from. False = no memory. */
bool conf_carry_row(struct conf *next, const struct conf *cur, enum conf_row_id i);
/* CPUs that this process may use; `root` is put before /proc and /sys ("" but in tests). */
int conf_cpus(const char *root);

/* ---- documents ---- */

void conf_row_flags(const struct conf_row *row, struct strbuf *out); /* "-w, --workers N" */
const char *conf_row_arg(const struct conf_row *row);
void conf_row_default(const struct conf_row *row, struct strbuf *out); /* as documents show it */
const char *conf_when_word(enum conf_when when);
const char *conf_type_word(enum conf_type type);
void conf_write_markdown(FILE *f);
void conf_write_sample(FILE *f);
void conf_write_man8(FILE *f);
void conf_write_man5(FILE *f);
void conf_write_keys_markdown(FILE *f);
void conf_write_keys_man(FILE *f);
void conf_write_keys_sample(FILE *f);
void conf_put_roff(FILE *f, const char *text);         /* text of a table as roff */
/* "number from 1 to 1024; 0 = off" of a row of either table. */
void conf_row_facts(const struct conf_row *row, struct strbuf *out);

/* Flags that are no settings, for --help and the man page. */
struct conf_option {
	const char *flags;      /* "--config -c" */
	const char *arg;        /* NULL = takes none */
	const char *help;       /* NULL = not shown */
};
extern const struct conf_option conf_options[]; /* ended by flags NULL */

#endif
