/* SPDX-License-Identifier: MIT */
/* What a handler can know of its request. */
#include <stdarg.h>
#include <stdio.h>

#include "app/app_priv.h"
#include "base/clock.h"
#include "shm/dump.h"

struct capri_str capri_method(const struct capri_request *c)
{
	return to_str(c->head->method_text);
}

struct capri_str capri_path(const struct capri_request *c)
{
	return to_str(c->path);
}

struct capri_str capri_target(const struct capri_request *c)
{
	return to_str(c->head->target);
}

struct capri_str capri_query(const struct capri_request *c)
{
	return to_str(c->head->query);
}

struct capri_str capri_query_param(struct capri_request *c, const char *name)
{
	const struct capri_str none = {NULL, 0};
	const struct slice nothing = {NULL, 0};
	struct slice raw = name ? http_query_find(c->head->query, slice_of(name)) : nothing;
	char *out = raw.p ? call_alloc(c, raw.len + 1) : NULL;

	return out ? (struct capri_str){out, http_query_decode(raw, out)} : none;
}

struct capri_str capri_param(const struct capri_request *c, const char *name)
{
	return name ? to_str(http_match_param(&c->match, slice_of(name)))
		    : (struct capri_str){NULL, 0};
}

struct capri_str capri_header(const struct capri_request *c, const char *name)
{
	const struct http_field *f = name ? http_find_field(c->head, slice_of(name), NULL) : NULL;

	return f ? to_str(f->value) : (struct capri_str){NULL, 0};
}

size_t capri_header_count(const struct capri_request *c)
{
	return c->head->nfields;
}

bool capri_header_at(const struct capri_request *c, size_t i, struct capri_str *ret_name,
		     struct capri_str *ret_value)
{
	if (i >= c->head->nfields)
		return false;
	*ret_name = to_str(c->head->fields[i].name);
	*ret_value = to_str(c->head->fields[i].value);
	return true;
}

int capri_http_minor(const struct capri_request *c)
{
	return c->head->minor;
}

static struct capri_str address(char text[NET_TEXT_MAX], const struct net_addr *a)
{
	if (text[0] == '\0')
		net_addr_format(a, text);
	return (struct capri_str){text, strlen(text)};
}

struct capri_str capri_client(struct capri_request *c)
{
	return address(c->client_text, c->detached ? &c->client : request_client(c->r));
}

struct capri_str capri_peer(struct capri_request *c)
{
	return address(c->peer_text, c->detached ? &c->peer : request_peer(c->r));
}

struct capri_str capri_request_id(const struct capri_request *c)
{
	return to_str(c->id);
}

/* ---- memory ---- */

void *capri_alloc(struct capri_request *c, size_t size)
{
	return call_alloc(c, size);
}

char *capri_dup(struct capri_request *c, struct capri_str s)
{
	char *to = s.len < CALL_MEM_MAX && (s.p || s.len == 0) ? call_alloc(c, s.len + 1) : NULL;

	if (to && s.len > 0)
		memcpy(to, s.p, s.len);
	return to;
}

struct capri_str capri_format(struct capri_request *c, const char *format, ...)
{
	struct capri_str s = {NULL, 0};
	va_list ap;
	char *to;
	int n;

	va_start(ap, format);
	n = vsnprintf(NULL, 0, format, ap);
	va_end(ap);
	to = n < 0 ? NULL : call_alloc(c, (size_t)n + 1);
	if (!to)
		return s;
	va_start(ap, format);
	vsnprintf(to, (size_t)n + 1, format, ap);
	va_end(ap);
	return (struct capri_str){to, (size_t)n};
}

/* ---- body ---- */

struct capri_str capri_body(const struct capri_request *c)
{
	if (!c->collected)
		return (struct capri_str){"", 0};
	if (c->body_map)
		return (struct capri_str){c->body_map, c->body.total};
	return (struct capri_str){c->body.mem ? c->body.mem : "", c->body.len};
}

uint64_t capri_body_bytes(const struct capri_request *c)
{
	if (c->collected)
		return c->body.total;
	return c->detached ? atomic_load(&c->body_bytes) : 0;
}

/* ---- deadline and cancellation ---- */

void call_set_deadline(struct capri_request *c, uint64_t due_ns)
{
	c->deadline_ns = due_ns;
	if (c->r)
		request_deadline(c->r, due_ns);
}

void capri_set_deadline(struct capri_request *c, uint32_t after_ms)
{
	uint64_t due = after_ms ? clock_mono_ns() + after_ms * NS_PER_MS : UINT64_MAX;

	if (call_is_here(c)) {
		call_set_deadline(c, due);
		return;
	}
	atomic_store(&c->new_deadline_ns, due);
	bridge_post(c, POST_DEADLINE);
}

bool capri_cancelled(const struct capri_request *c)
{
	return atomic_load_explicit(&c->cancelled, memory_order_acquire);
}

int capri_on_cancel(struct capri_request *c, capri_cancel_f *fn, void *arg)
{
	if (c->route->kind != CAPRI_ASYNC)
		return CAPRI_E_INVALID;
	if (!app_in_loop(c->app))
		return CAPRI_E_THREAD;
	if (capri_cancelled(c))
		return CAPRI_E_CANCELLED; /* too late to be told */
	c->cancel_fn = fn;
	c->cancel_arg = arg;
	return CAPRI_OK;
}

void capri_working(struct capri_request *c, bool begins)
{
	if (begins)
		atomic_store(&c->since_ns, clock_mono_ns());
	atomic_store(&c->tid, begins ? dump_tid() : 0);
}
