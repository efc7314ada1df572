/* SPDX-License-Identifier: MIT */
/*
 * Answers out of the segment: nothing is copied but small ones, and nothing comes from the heap.
 * The object is pinned until its last byte is with the kernel. Clients that are slow get what is
 * left from a copy: else they would keep memory of the cache from being used anew.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cache/cache_priv.h"
#include "http/conditional.h"

static void unlink_hit(struct hit *t)
{
	struct cache *c = t->c;

	if (t->prev)
		t->prev->next = t->next;
	else
		c->hits.first = t->next;
	if (t->next)
		t->next->prev = t->prev;
	else
		c->hits.last = t->prev;
	c->npinned--;
}

static void release(void *arg)
{
	struct hit *t = arg;

	unlink_hit(t);
	shm_cache_unpin(t->c->shm, t->c->slot, &t->ref);
}

static struct slice part(const void *arg, uint32_t i)
{
	const struct hit *t = arg;

	return i == 0 && t->ref.npieces == 1 ? t->ref.first
					     : shm_cache_piece(t->c->shm, &t->ref, i);
}

/* Too many are pinned: the oldest ones are the slowest. */
static void make_room(struct cache *c)
{
	while (c->npinned >= PINS_KEPT) {
		uint32_t before = c->npinned;

		request_own_rest(c->hits.first->r);
		CHECK(c->npinned < before);
	}
}

static struct hit *link_hit(struct cache *c, struct request *r, const struct shm_cache_ref *ref)
{
	struct hit *t = request_alloc(r, sizeof(*t));

	if (!t)
		return NULL;
	make_room(c);
	t->c = c;
	t->r = r;
	t->since_ns = loop_now(c->loop);
	t->ref = *ref;
	t->prev = c->hits.last;
	if (t->prev)
		t->prev->next = t;
	else
		c->hits.first = t;
	c->hits.last = t;
	c->npinned++;
	return t;
}

static void put_number(struct http_out *o, const char *before, int64_t n)
{
	http_put_slice(o, slice_of(before));
	if (n < 0)
		http_put_slice(o, SLICE("-"));
	http_put_u64(o, n < 0 ? (uint64_t)-n : (uint64_t)n);
}

/* RFC 9111, 5.1; RFC 9211. */
static void say(struct cache *c, struct request *r, const struct shm_cache_ref *ref,
		const struct meta *m, bool collapsed)
{
	uint64_t now = loop_now(c->loop);
	uint64_t age = now > m->stored_ns ? (now - m->stored_ns) / NS_PER_S : 0;
	int64_t ttl = ref->fresh_ns >= now ? (int64_t)((ref->fresh_ns - now) / NS_PER_S)
					   : -(int64_t)((now - ref->fresh_ns) / NS_PER_S) - 1;
	char text[160];
	struct http_out o = {.p = text, .cap = sizeof(text)};

	put_number(&o, "Age: ", (int64_t)(age + m->age_s));
	put_number(&o, collapsed ? "\r\nCache-Status: capricorn; fwd=uri-miss; collapsed; ttl="
				 : "\r\nCache-Status: capricorn; hit; ttl=", ttl);
	http_put_slice(&o, SLICE("\r\n"));
	request_field_lines(r, (struct slice){text, o.len});
}

static bool has_conditions(const struct http_request *head)
{
	return head->known_count[HTTP_F_IF_NONE_MATCH] > 0 ||
	       head->known_count[HTTP_F_IF_MODIFIED_SINCE] > 0 ||
	       head->known_count[HTTP_F_IF_MATCH] > 0 ||
	       head->known_count[HTTP_F_IF_UNMODIFIED_SINCE] > 0;
}

/* Has the request been ended by its conditions? */
static bool end_by_conditions(struct request *r, const struct meta *m,
			      const struct http_validator *v, int64_t now_s)
{
	int rc = has_conditions(request_head(r)) ?
		 http_check_conditions(request_head(r), v, now_s) : 0;

	if (rc == 304) {
		request_field_lines(r, (struct slice){m->lines.p, m->bare_len});
		request_answer(r, 304, (struct slice){NULL, 0}, (struct slice){NULL, 0});
	} else if (rc != 0) {
		request_problem(r, rc, "What is here is not what was meant.");
	}
	return rc != 0;
}

static void say_range(struct request *r, uint64_t offset, uint64_t len, uint64_t size)
{
	char text[96];
	struct http_out o = {.p = text, .cap = sizeof(text)};

	http_put_content_range(&o, offset, len, size);
	request_field_lines(r, (struct slice){text, o.len});
}

/* The status, and which part of the value is sent; 416: the request has been ended. */
static int choose_range(struct request *r, const struct http_validator *v, int64_t now_s,
			uint64_t size, struct request_parts *p)
{
	p->offset = 0;
	p->len = size;
	switch (http_request_range(request_head(r), v, now_s, size, &p->offset, &p->len)) {
	case HTTP_RANGE_OK:
		say_range(r, p->offset, p->len, size);
		return 206;
	case HTTP_RANGE_UNSATISFIABLE:
		say_range(r, 0, 0, size);
		request_problem(r, 416, "There is no byte of this range.");
		return 416;
	case HTTP_RANGE_NONE:
		break;
	}
	p->offset = 0;
	p->len = size;
	return 200;
}

static bool is_2xx(int status)
{
	return status >= 200 && status < 300;
}

bool hit_answer(struct cache *c, struct request *r, const struct shm_cache_ref *ref, bool collapsed)
{
	const struct http_request *head = request_head(r);
	struct request_parts p = {.part = part, .nparts = ref->npieces, .len = ref->value_len};
	struct http_validator v;
	struct meta m;
	struct hit *t;
	int64_t now_s = 0;
	int status;

	if (!meta_read(ref->meta, &m) ||
	    request_fields_room(r) < m.lines.len + 320 || !(t = link_hit(c, r, ref))) {
		shm_cache_unpin(c->shm, c->slot, ref);
		return false;
	}
	say(c, r, ref, &m, collapsed);
	v = (struct http_validator){.etag = m.etag, .has_mtime = m.has_mtime, .mtime_s = m.mtime_s};
	status = m.status;
	if (is_2xx(status) && (has_conditions(head) || head->known_count[HTTP_F_RANGE] > 0)) {
		now_s = (int64_t)(clock_wall_ns() / NS_PER_S);
		if (end_by_conditions(r, &m, &v, now_s))
			status = 0;
		else if (status == 200)
			status = choose_range(r, &v, now_s, ref->value_len, &p);
	}
	if (status == 0 || status == 416) { /* it has been ended, and what it has is copied */
		release(t);
		return true;
	}
	request_field_lines(r, m.lines);
	p.arg = p.release_arg = t;
	p.release = release;
	if (collapsed)
		shm_cache_count(c->shm, c->slot, SHM_CACHE_COLLAPSED, 1);
	request_answer_parts(r, status, m.type, &p);
	cache_arm(c);
	return true;
}

void hit_look(struct cache *c)
{
	uint64_t now = loop_now(c->loop);

	while (c->hits.first && now - c->hits.first->since_ns >= PINNED_NS)
		request_own_rest(c->hits.first->r);
}
