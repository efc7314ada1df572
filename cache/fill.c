/* SPDX-License-Identifier: MIT */
/*
 * From the answer of a handler to an object. A body that is at hand is stored before the head is
 * made, so that the head can say so; one that comes in pieces is captured as it is sent, and stored
 * before its last bytes leave. Whatever becomes of the request, the lease is given back: at once
 * when the head says that nothing will be stored.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "cache/cache_priv.h"
#include "conf/template.h"
#include "http/conditional.h"

#define META_ROOM   SHM_CACHE_META_MAX
#define FIRST_ROOM  16384u
#define CONDITION_MAX 1024u
#define HOW_MAX     64u

struct fill {
	struct request_tap tap;          /* first */
	struct cache *c;
	const struct cache_rule *rule;
	bool leads;
	struct shm_cache_fill lease;
	uint64_t hash, birth;
	char how[HOW_MAX];
	/* conditions that its handler does not see */
	bool has_match, has_since;
	struct slice match, since;

	/* a body that comes in pieces */
	bool captures, lacks_etag;
	struct verdict verdict;
	char *body;
	uint64_t len, cap;
	struct request_view view;        /* its lines and type are in `saved` */
	char *saved;

	struct slice key;
	char room[];                     /* key, conditions */
};

void fill_let_go(struct cache *c, const struct shm_cache_fill *lease)
{
	shm_cache_fill_end(c->shm, c->h, c->slot, lease);
	c->dirty = true;
}

static void let_go(struct fill *f)
{
	if (f->leads)
		fill_let_go(f->c, &f->lease);
	f->leads = false;
}

/* ---- putting ---- */

struct tags {
	struct slice tag[SHM_CACHE_TAGS_MAX];
	uint32_t n;
	bool lacking;                    /* one is too long: it could not be dropped by it */
	char room[SHM_CACHE_TAGS_BYTES];
};

static void make_tags(const struct cache_rule *rule, struct request *r, struct tags *ret)
{
	const struct http_request *head = request_head(r);
	struct http_match m = {0};
	struct conf_values v = {head, &m};
	struct http_out o = {.p = ret->room, .cap = sizeof(ret->room)};

	ret->n = 0;
	ret->lacking = false;
	if (rule->router)
		(void)http_router_match(rule->router, head->method, head->method_text,
					request_path(r), 0, &m);
	for (size_t i = 0; i < rule->conf->ntags && ret->n < SHM_CACHE_TAGS_MAX; i++) {
		size_t from = o.len;

		(void)conf_template_put(&rule->conf->tag[i], false, conf_request_value, &v, &o);
		if (!o.over && o.len - from <= 255) {
			if (o.len > from) /* else its only value is missing: it names nothing */
				ret->tag[ret->n++] = (struct slice){o.p + from, o.len - from};
			continue;
		}
		o.len = from;
		o.over = false;
		ret->lacking = true;
	}
}

static bool put_object(struct fill *f, struct request *r, const struct request_view *v,
		       const struct verdict *d, struct slice body, struct slice etag)
{
	uint64_t now = loop_now(f->c->loop);
	char meta[META_ROOM];
	struct tags tags;
	struct shm_cache_put p = {
		.hash = f->hash, .key = f->key, .value = &body, .nvalue = body.len > 0,
		.fresh_ns = now + d->ttl_ns, .kind = KIND_OBJECT, .birth = f->birth,
	};

	p.stale_ns = p.fresh_ns + d->stale_ns;
	p.meta.p = meta;
	p.meta.len = meta_make(meta, sizeof(meta), v, etag, now);
	if (p.meta.len == 0)
		return false;
	make_tags(f->rule, r, &tags);
	if (tags.lacking)
		return false;
	p.tags = tags.tag;
	p.ntags = tags.n;
	return shm_cache_put(f->c->shm, f->c->slot, &p, now) == 0;
}

/* The answers of this key are not kept, as far as is known: nobody waits for one meanwhile, as all
 * who wait would compute one after the other. */
static void put_mark(const struct fill *f, uint64_t for_ns)
{
	uint64_t now = loop_now(f->c->loop);
	struct shm_cache_put p = {
		.hash = f->hash, .key = f->key, .fresh_ns = now + for_ns,
		.stale_ns = now + for_ns, .kind = KIND_PASS, .birth = f->birth,
	};

	(void)shm_cache_put(f->c->shm, f->c->slot, &p, now); /* without it they wait in vain once */
}

/* ---- the head ---- */

static void say(struct request *r, const char *how, bool stored, const char *why)
{
	char text[200];
	int n = snprintf(text, sizeof(text), "Cache-Status: capricorn; %s%s%s%s\r\n", how,
			 stored ? "; stored" : "", why ? "; detail=" : "", why ? why : "");

	if (n > 0 && (size_t)n < sizeof(text) && request_fields_room(r) >= (size_t)n)
		request_field_lines(r, (struct slice){text, (size_t)n});
}

void fill_say(struct request *r, const char *how)
{
	say(r, how, false, NULL);
}

static void add_etag(struct request *r, struct slice etag)
{
	if (etag.len > 0 && request_fields_room(r) >= etag.len + 64)
		request_field(r, SLICE("ETag"), etag);
}

static struct slice field_value(struct slice lines, struct slice name)
{
	while (lines.len > name.len + 2) {
		const char *end = memchr(lines.p, '\r', lines.len);

		if (!end)
			break;
		if (lines.p[name.len] == ':' &&
		    slice_eq_nocase((struct slice){lines.p, name.len}, name))
			return (struct slice){lines.p + name.len + 2,
					      (size_t)(end - lines.p) - name.len - 2};
		lines.len -= (size_t)(end + 2 - lines.p);
		lines.p = end + 2;
	}
	return (struct slice){NULL, 0};
}

/* What its handler was not told of: does the client have this very answer? */
static bool is_not_modified(const struct fill *f, const struct request_view *v, struct slice etag)
{
	int64_t now_s = (int64_t)(clock_wall_ns() / NS_PER_S);
	struct http_request cond = {.method = HTTP_M_GET};
	struct http_validator val = {.etag = field_value(v->lines, SLICE("ETag"))};
	struct slice date = field_value(v->lines, SLICE("Last-Modified"));

	if (!f->has_match && !f->has_since)
		return false;
	if (!val.etag.p && etag.len > 0)
		val.etag = etag;
	val.has_mtime = date.p && http_parse_date(date, now_s, &val.mtime_s);
	cond.known[HTTP_F_IF_NONE_MATCH] = f->match;
	cond.known_count[HTTP_F_IF_NONE_MATCH] = f->has_match;
	cond.known[HTTP_F_IF_MODIFIED_SINCE] = f->since;
	cond.known_count[HTTP_F_IF_MODIFIED_SINCE] = f->has_since;
	return http_check_conditions(&cond, &val, now_s) == 304;
}

/* The head becomes that of a 304: the same fields, but for those of the content. */
static void make_304(struct request *r, struct request_view *v)
{
	struct slice lines = v->lines;

	request_fields_clear(r);
	while (lines.len > 0) {
		const char *end = memchr(lines.p, '\n', lines.len);
		size_t n = end ? (size_t)(end + 1 - lines.p) : lines.len;

		if (n < 9 || !slice_eq_nocase((struct slice){lines.p, 8}, SLICE("Content-")) ||
		    slice_eq_nocase((struct slice){lines.p, 17}, SLICE("Content-Location:")))
			request_field_lines(r, (struct slice){lines.p, n});
		lines.p += n;
		lines.len -= n;
	}
	v->status = 304;
}

static void whole(struct fill *f, struct request *r, struct request_view *v)
{
	char text[META_ETAG_MAX];
	struct slice etag = {NULL, 0}, strong = {NULL, 0};
	const struct verdict *d = &f->verdict;
	bool stored;

	if (!d->etag && v->status == 200) {
		etag = strong = meta_etag(text, v->body, v->coded);
		if (v->coded) { /* as it comes in: the coding makes it weak */
			strong.p += 2;
			strong.len -= 2;
		}
	}
	stored = put_object(f, r, v, d, v->body, etag);
	if (!stored)
		put_mark(f, REFUSED_NS); /* who has not led, too: a mark has gone with the try */
	let_go(f);
	if (v->status == 200 && is_not_modified(f, v, etag)) {
		make_304(r, v);
		add_etag(r, etag);
	} else {
		add_etag(r, strong);
	}
	say(r, f->how, stored, NULL);
}

/* Keeps what will be needed of the head when the body is whole. */
static bool begin_capture(struct fill *f, const struct request_view *v)
{
	struct cache *c = f->c;
	uint64_t room = v->len > 0 ? (uint64_t)v->len : FIRST_ROOM;

	if (c->captured + room > CAPTURE_SHARE * c->object_max)
		return false;
	f->saved = malloc(v->type.len + v->lines.len + 1);
	f->body = malloc(room);
	if (!f->saved || !f->body)
		return false;
	f->cap = room;
	c->captured += room;
	f->view = *v;
	if (v->type.len > 0)
		memcpy(f->saved, v->type.p, v->type.len);
	if (v->lines.len > 0)
		memcpy(f->saved + v->type.len, v->lines.p, v->lines.len);
	f->view.type.p = f->saved;
	f->view.lines.p = f->saved + v->type.len;
	f->captures = true;
	return true;
}

static void on_head(struct request_tap *t, struct request *r, struct request_view *v)
{
	struct fill *f = (struct fill *)(void *)t;
	struct verdict *d = &f->verdict;

	meta_judge(f->rule, v, f->rule->object_max, d);
	f->lacks_etag = !d->etag && v->status == 200;
	if (d->stores && v->seen == SEEN_WHOLE) {
		whole(f, r, v);
		return;
	}
	if (d->stores && begin_capture(f, v)) {
		say(r, f->how, true, NULL);
		return;
	}
	if (f->leads && !d->stores && d->told)
		put_mark(f, MARK_NS);
	let_go(f);
	say(r, f->how, false, d->why);
}

/* ---- pieces ---- */

static void give_up(struct fill *f)
{
	f->c->captured -= f->cap;
	free(f->body);
	f->body = NULL;
	f->cap = 0;
	f->captures = false;
}

static bool grow(struct fill *f, uint64_t need)
{
	uint64_t max = f->rule->object_max, cap = f->cap;
	char *more;

	if (need > max)
		return false;
	while (cap < need)
		cap = cap * 2 < max ? cap * 2 : max;
	if (f->c->captured + cap - f->cap > CAPTURE_SHARE * f->c->object_max)
		return false;
	more = realloc(f->body, cap);
	if (!more)
		return false;
	f->c->captured += cap - f->cap;
	f->body = more;
	f->cap = cap;
	return true;
}

static void on_piece(struct request_tap *t, struct slice data)
{
	struct fill *f = (struct fill *)(void *)t;

	if (!f->captures)
		return;
	if (f->len + data.len > f->cap && !grow(f, f->len + data.len)) {
		give_up(f); /* it is larger than what is kept: nobody need wait for it */
		if (f->leads)
			put_mark(f, MARK_NS);
		let_go(f);
		return;
	}
	memcpy(f->body + f->len, data.p, data.len);
	f->len += data.len;
}

static void on_end(struct request_tap *t, struct request *r, bool whole)
{
	struct fill *f = (struct fill *)(void *)t;
	char text[META_ETAG_MAX];
	struct slice etag = {NULL, 0};

	if (f->captures && whole) {
		struct slice body = {f->body, f->len};

		if (f->lacks_etag)
			etag = meta_etag(text, body, f->view.coded);
		if (!put_object(f, r, &f->view, &f->verdict, body, etag))
			put_mark(f, REFUSED_NS);
	}
	let_go(f);
	f->c->captured -= f->cap;
	free(f->body);
	free(f->saved);
	free(f);
}

/* ---- begin ---- */

static struct slice copy(char **at, struct slice s)
{
	struct slice ret = {*at, s.len};

	memcpy(*at, s.p, s.len);
	*at += s.len;
	return ret;
}

static bool can_hide(const struct http_request *head, enum http_known id)
{
	return head->known_count[id] == 1 && head->known[id].len <= CONDITION_MAX;
}

void fill_begin(struct cache *c, struct request *r, const struct fill_begin *b)
{
	const struct http_request *head = request_head(r);
	bool hides = b->lease != NULL;
	size_t room = b->key->text.len;
	struct fill *f;
	char *at;

	for (int id = HTTP_F_IF_NONE_MATCH; id <= HTTP_F_IF_MODIFIED_SINCE; id++)
		if (hides && can_hide(head, (enum http_known)id))
			room += head->known[id].len;
	f = malloc(sizeof(*f) + room);
	if (!f) {
		if (b->lease)
			fill_let_go(c, b->lease);
		fill_say(r, b->how);
		return;
	}
	*f = (struct fill){
		.tap = {.head = on_head, .piece = on_piece, .end = on_end}, .c = c,
		.rule = b->rule, .leads = b->lease != NULL, .hash = b->key->hash,
		.birth = shm_cache_birth(c->shm),
	};
	snprintf(f->how, sizeof(f->how), "%s", b->how);
	if (b->lease)
		f->lease = *b->lease;
	at = f->room;
	f->key = copy(&at, b->key->text);
	if (hides && can_hide(head, HTTP_F_IF_NONE_MATCH)) {
		f->has_match = true;
		f->match = copy(&at, head->known[HTTP_F_IF_NONE_MATCH]);
	}
	if (hides && can_hide(head, HTTP_F_IF_MODIFIED_SINCE)) {
		f->has_since = true;
		f->since = copy(&at, head->known[HTTP_F_IF_MODIFIED_SINCE]);
	}
	if (hides)
		request_hide_conditions(r);
	request_tap(r, &f->tap);
}
