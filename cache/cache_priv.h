/* SPDX-License-Identifier: MIT */
/* Inside of cache/: rules, keys, what is stored of an answer's head, and who is on the way. */
#ifndef CACHE_CACHE_PRIV_H
#define CACHE_CACHE_PRIV_H

#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "cache/cache.h"
#include "conf/conf.h"
#include "http/caching.h"
#include "http/http.h"
#include "http/router.h"
#include "shm/cache.h"
#include "shm/shm.h"

#define MARK_NS     (5 * NS_PER_S)  /* how long it is known that an answer is not to be kept */
#define REFUSED_NS  NS_PER_S        /* ... that there was no room for it */
#define PINNED_NS   (5 * NS_PER_S)  /* a client that takes longer gets its answer from a copy */
#define PINS_KEPT   (SHM_CACHE_PINS / 2) /* with more, the oldest are copied at once */
#define WAITERS_MAX 1000u           /* in this process, for one key; more compute by themselves */
#define WISHES_MAX  4096u           /* values of modules that are waited for, in this process */
#define RUNS_MAX    256u            /* of those who wait, begun in one turn */
#define LOOK_NS     (250 * NS_PER_MS) /* who waits looks by itself, too */
#define LINES_MAX   4000u           /* fields of an answer that is kept, bytes; see serve/ */
#define CAPTURE_SHARE 4u            /* all captures of a process: so many of the largest object */

enum kind { KIND_OBJECT = 1, KIND_PASS }; /* PASS: says that the answers of this key are not kept */

/* ---- rule.c ---- */

struct group;

struct cache_rule {
	struct cache_rule *next;
	struct cache *cache;
	const struct conf_cache_rule *conf;
	uint64_t ttl_ns, stale_ns, object_max;
	const char *pattern;
	bool path, query;                /* the key goes by them */
	bool names_auth, names_cookie;   /* by fields that are one client's */
	struct http_router *router;      /* of the one pattern, for what tags name; or NULL */
};
void rule_free(struct cache *c);
/* Of a pattern and methods; NULL for want of memory, or after logging. */
struct http_router *rule_router(struct slice methods, const char *pattern, void *target,
				const char *place);

/* Requests whose answers make something invalid. */
struct drop_when {
	struct drop_when *next;
	struct http_router *router;
	const struct conf_invalidation *conf;
};

/* ---- */

struct hit {
	struct hit *prev, *next;
	struct cache *c;
	struct request *r;
	uint64_t since_ns;
	struct shm_cache_ref ref;
};

struct waiter {
	struct waiter *prev, *next;
	struct group *group;
	struct request *r;
	const struct cache_rule *rule;
	cache_go_f *go;
	void *arg;
};

/* Who waits for the same key, in the order of coming. */
struct group {
	struct group *next;
	uint64_t hash;
	uint32_t n;
	struct waiter *first, *last;
};

struct cache {
	const struct heritage *h;
	struct loop *loop;
	struct shm *shm;
	uint32_t slot;
	uint64_t object_max;             /* 0 = there is no cache */
	uint64_t patience_ns;            /* a lease that is older passes on */
	struct cache_rule *rules;
	struct drop_when *whens;
	struct { struct hit *first, *last; } hits; /* pinned, oldest first */
	uint32_t npinned;
	struct group *groups, *free;
	struct {
		struct cache_wish *first, *last, *at; /* `at`: whose turn is next */
		uint32_t n;
		uint64_t due_ns;         /* when the first of them has waited for long enough */
	} wishes;
	bool dirty;
	uint64_t captured;               /* bytes of captures that go on */
	struct timer look;
};

/* ---- key.c ---- */

struct key {
	struct slice text;
	uint64_t hash;
	bool gzip;
	char room[SHM_CACHE_KEY_MAX];
};
/* false: it would be too long. */
bool key_make(const struct cache *c, const struct cache_rule *rule, struct request *r,
	      struct key *ret);
/* Does the key go by this field of the request? */
bool key_names(const struct cache_rule *rule, struct slice field);

/* ---- meta.c: what is kept of the head of an answer ---- */

struct meta {
	int status;
	uint64_t stored_ns, age_s;       /* monotonic; how old it was then */
	bool has_mtime;
	int64_t mtime_s;
	struct slice type, etag;
	struct slice lines;              /* for 304 the first bare_len of them */
	size_t bare_len;
};
/* Reads what meta_make() has made. false: it is none. */
bool meta_read(struct slice bytes, struct meta *ret);

/* What may be done with an answer, and its head as it is kept. */
struct verdict {
	bool stores;
	bool told;                       /* not stored since the answer says so: it will again */
	const char *why;                 /* it is not stored; NULL */
	uint64_t ttl_ns, stale_ns;
	bool etag;                       /* it has one */
};
void meta_judge(const struct cache_rule *rule, const struct request_view *v, uint64_t object_max,
		struct verdict *ret);
/* `etag`: what is added as ETag if it has none; empty = nothing. The length; 0: it does not fit. */
size_t meta_make(char *to, size_t cap, const struct request_view *v, struct slice etag,
		 uint64_t now_ns);
/* "\"hash-length\"" of the bytes; W/ if they are coded. */
#define META_ETAG_MAX 48u
struct slice meta_etag(char to[META_ETAG_MAX], struct slice body, bool weak);

/* ---- hit.c ---- */

/* Answers from what is pinned; it is given back when the answer is out. `collapsed`: the request
 * has waited for it. false: it makes no sense, or there is no room; unpinned. */
bool hit_answer(struct cache *c, struct request *r, const struct shm_cache_ref *ref,
		bool collapsed);
/* Whose clients are slow are given copies. */
void hit_look(struct cache *c);

/* ---- fill.c ---- */

struct fill_begin {
	const struct cache_rule *rule;
	const struct key *key;
	const struct shm_cache_fill *lease; /* NULL: it computes for itself alone */
	const char *how;                 /* for Cache-Status: "fwd=uri-miss" */
};
/* The answer of the request is looked at, and kept if it may be. */
void fill_begin(struct cache *c, struct request *r, const struct fill_begin *b);
/* Only said: it is not kept. */
void fill_say(struct request *r, const char *how);
/* The lease is given back, and who waits looks. */
void fill_let_go(struct cache *c, const struct shm_cache_fill *lease);

/* ---- drop.c ---- */

int drop_compile(struct cache *c);       /* 0, or -1 after logging */
void drop_free(struct cache *c);
/* If its answer makes something invalid, it will. false: no memory, and it has been answered. */
bool drop_watch(struct cache *c, struct request *r);

/* ---- wait.c ---- */

/* Looks for the request's answer. */
enum cache_step wait_look(struct cache *c, struct request *r, const struct cache_rule *rule,
			  bool waited);

void cache_arm(struct cache *c);

/* ---- wish.c ---- */

/* Those who need not wait any more are told; how many. */
uint32_t wish_run(struct cache *c);

#endif
