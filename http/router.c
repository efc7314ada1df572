/* SPDX-License-Identifier: MIT */
/*
 * The router. Patterns without parameters are in a hash table with the whole path as the key: one
 * of them is more specific than any other that matches. The others are in a tree with a segment a
 * level. It is walked depth first, literal before {name} before "*", which is the order of
 * specificity; a node is reached by one way only, so a walk is never longer than the tree is large.
 *
 * Routes of the same pattern are a list. Methods are bits of a word: those that have a name of
 * their own in enum http_method by it, others in the order in which they came.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "http/http_priv.h"
#include "http/router.h"

#define METHODS_MAX 64
#define METHOD_BYTES_MAX 20 /* as in the parser of requests */
#define ANY UINT64_MAX
#define BIT(m) ((uint64_t)1 << (m))
#define USUAL \
	(BIT(HTTP_M_GET) | BIT(HTTP_M_HEAD) | BIT(HTTP_M_POST) | BIT(HTTP_M_PUT) | \
	 BIT(HTTP_M_DELETE) | BIT(HTTP_M_OPTIONS) | BIT(HTTP_M_PATCH))

struct route {
	struct route *next;  /* of the same pattern */
	uint64_t methods;
	void *target;
	struct slice text;   /* the pattern; behind the names */
	uint32_t nparams;
	struct slice names[];
};

struct node {
	struct slice segment;    /* behind the structure */
	struct node **children;  /* literals, by length, then bytes */
	size_t nchildren;
	struct node *param;      /* {name} */
	struct route *here;      /* patterns that end with this segment */
	struct route *rest;      /* patterns that end with a "*" below it */
};

struct literal {
	uint64_t hash;
	struct route *routes; /* NULL: a free place */
};

struct http_router {
	struct node root;
	struct literal *literals;
	size_t nliterals;
	size_t mask;            /* places of the table less one; at least half of them are free */
	size_t literal_max;     /* bytes of the longest one */
	struct slice methods[METHODS_MAX]; /* from HTTP_M_COUNT on: allocated */
	uint32_t nmethods;
};

/* A pattern that is being added. */
struct adding {
	struct slice pattern;
	uint32_t nparams; /* names, "*" included */
	struct slice names[HTTP_PARAMS_MAX + 1];
	char *why;
	size_t why_cap;
};

/* ---- building ---- */

__attribute__((format(printf, 2, 3))) static int refuse(const struct adding *a,
							 const char *format, ...)
{
	int n = snprintf(a->why, a->why_cap, "pattern \"%.*s\": ", (int)a->pattern.len,
			 a->pattern.p);
	va_list args;

	if (n < 0 || (size_t)n >= a->why_cap)
		return -1;
	va_start(args, format);
	(void)vsnprintf(a->why + n, a->why_cap - (size_t)n, format, args);
	va_end(args);
	for (char *p = a->why; *p; p++) /* it will be a line of a log */
		if (!(class_of(*p) & C_VALUE) || *p == '\t')
			*p = '?';
	return -1;
}

static int refuse_memory(const struct adding *a)
{
	return refuse(a, "no memory");
}

int http_router_new(struct http_router **ret)
{
	struct http_router *r = calloc(1, sizeof(*r));

	if (!r)
		return -1;
	r->nmethods = HTTP_M_COUNT;
	for (int m = 0; m < HTTP_M_COUNT; m++)
		r->methods[m] = slice_of(http_method_name((enum http_method)m));
	*ret = r;
	return 0;
}

static void free_routes(struct route *route)
{
	while (route) {
		struct route *next = route->next;

		free(route);
		route = next;
	}
}

static void empty_node(struct node *n)
{
	for (size_t i = 0; i < n->nchildren; i++) {
		empty_node(n->children[i]);
		free(n->children[i]);
	}
	free(n->children);
	if (n->param)
		empty_node(n->param);
	free(n->param);
	free_routes(n->here);
	free_routes(n->rest);
}

void http_router_free(struct http_router *r)
{
	if (!r)
		return;
	empty_node(&r->root);
	for (size_t i = 0; r->literals && i <= r->mask; i++)
		free_routes(r->literals[i].routes);
	free(r->literals);
	for (uint32_t m = HTTP_M_COUNT; m < r->nmethods; m++)
		free((void *)(uintptr_t)r->methods[m].p);
	free(r);
}

/* Takes what stands before the next `sep`; p is NULL afterwards if it was the last. */
static struct slice take_part(struct slice *s, char sep)
{
	const char *end = memchr(s->p, sep, s->len);
	struct slice part = { s->p, end ? (size_t)(end - s->p) : s->len };

	*s = end ? (struct slice){end + 1, s->len - part.len - 1} : (struct slice){NULL, 0};
	return part;
}

static int add_param(struct adding *a, struct slice name)
{
	for (size_t i = 0; i < name.len; i++)
		if (!(class_of(name.p[i]) & C_ID) || name.p[i] == '.' || name.p[i] == ':')
			return refuse(a, "the name in \"{%.*s}\" may have letters, digits, \"_\" "
				      "and \"-\"", (int)name.len, name.p);
	if (name.len == 0)
		return refuse(a, "a parameter needs a name: \"{id}\"");
	if (a->nparams == HTTP_PARAMS_MAX)
		return refuse(a, "has more than %d parameters", HTTP_PARAMS_MAX);
	for (uint32_t i = 0; i < a->nparams; i++)
		if (slice_eq(a->names[i], name))
			return refuse(a, "two parameters are named \"%.*s\"", (int)name.len,
				      name.p);
	a->names[a->nparams++] = name;
	return 0;
}

static bool is_param(struct slice segment)
{
	return segment.len > 0 && segment.p[0] == '{';
}

static bool is_rest(struct slice segment)
{
	return segment.len == 1 && segment.p[0] == '*';
}

static int check_segment(struct adding *a, struct slice s, bool last)
{
	if (is_rest(s) && last) {
		a->names[a->nparams++] = s;
		return 0;
	}
	if (memchr(s.p, '*', s.len))
		return refuse(a, "\"*\" stands for the rest of the path: it must be the whole last "
			      "segment, as in \"/files/*\"");
	if (is_param(s) && memchr(s.p, '}', s.len) == s.p + s.len - 1)
		return add_param(a, (struct slice){s.p + 1, s.len - 2});
	if (memchr(s.p, '{', s.len) || memchr(s.p, '}', s.len))
		return refuse(a, "a parameter must be a whole segment, as in \"/users/{id}\"");
	return 0;
}

/* Paths come normalised, so a pattern that is not could never match. */
static int check_normal(const struct adding *a)
{
	char normal[HTTP_PATTERN_MAX + 1];
	size_t len;

	for (size_t i = 0; i < a->pattern.len; i++)
		if (!(class_of(a->pattern.p[i]) & C_VALUE) || a->pattern.p[i] == '\t')
			return refuse(a, "has a control character");
	if (memchr(a->pattern.p, '?', a->pattern.len))
		return refuse(a, "is matched with the path, which has no \"?\" and no query");
	if (http_normalise_path(a->pattern, normal, &len))
		return refuse(a, "\"%%\" is written \"%%25\"");
	if (!slice_eq((struct slice){normal, len}, a->pattern))
		return refuse(a, "would never match, since paths are decoded before: write \"%s\"",
			      normal);
	return 0;
}

static int check_pattern(struct adding *a)
{
	struct slice left = a->pattern;
	int segments = 0;

	if (left.len > HTTP_PATTERN_MAX) {
		a->pattern.len = 40;
		return refuse(a, "... is longer than %d bytes", HTTP_PATTERN_MAX);
	}
	if (left.len == 0 || left.p[0] != '/')
		return refuse(a, "must begin with \"/\": write \"/%.*s\"", (int)left.len,
			      left.len ? left.p : "");
	if (check_normal(a))
		return -1;
	(void)take_part(&left, '/');
	while (left.p) {
		struct slice segment = take_part(&left, '/');

		if (++segments > HTTP_SEGMENTS_MAX)
			return refuse(a, "has more than %d segments", HTTP_SEGMENTS_MAX);
		if (check_segment(a, segment, !left.p))
			return -1;
	}
	return 0;
}

static int add_method(struct http_router *r, const struct adding *a, struct slice t, uint64_t *ret)
{
	bool ok = t.len > 0 && t.len <= METHOD_BYTES_MAX;
	char *copy;

	for (size_t i = 0; ok && i < t.len; i++)
		ok = (class_of(t.p[i]) & C_METHOD) && t.p[i] != '*';
	if (!ok)
		return refuse(a, "\"%.*s\" is no method; write \"GET\", \"GET, POST\", or \"*\" "
			      "alone for any", (int)t.len, t.p);
	if (slice_eq(t, SLICE("CONNECT")))
		return refuse(a, "CONNECT has no path that could match");
	for (uint32_t m = 1; m < r->nmethods; m++) {
		if (slice_eq(r->methods[m], t)) {
			*ret |= BIT(m);
			return 0;
		}
	}
	if (r->nmethods == METHODS_MAX)
		return refuse(a, "%.*s is one method too many; there can be %d that are not "
			      "HTTP's own", (int)t.len, t.p, METHODS_MAX - HTTP_M_COUNT);
	copy = malloc(t.len);
	if (!copy)
		return refuse_memory(a);
	r->methods[r->nmethods] = (struct slice){memcpy(copy, t.p, t.len), t.len};
	*ret |= BIT(r->nmethods++);
	return 0;
}

/* A new method of a route that is refused later stays known, which nobody can see. */
static int read_methods(struct http_router *r, const struct adding *a, struct slice list,
			uint64_t *ret)
{
	*ret = 0;
	if (list.len == 0 || slice_eq(list, SLICE("*"))) {
		*ret = ANY;
		return 0;
	}
	while (list.p) {
		struct slice t = take_part(&list, ',');

		while (t.len > 0 && (*t.p == ' ' || *t.p == '\t'))
			t = (struct slice){t.p + 1, t.len - 1};
		while (t.len > 0 && (t.p[t.len - 1] == ' ' || t.p[t.len - 1] == '\t'))
			t.len--;
		if (add_method(r, a, t, ret))
			return -1;
	}
	return 0;
}

/* Where among the children the segment is, or would be. */
static size_t child_place(const struct node *n, struct slice segment, bool *ret_found)
{
	size_t low = 0, high = n->nchildren;

	*ret_found = false;
	while (low < high) {
		size_t mid = (low + high) / 2;
		struct slice s = n->children[mid]->segment;
		int order = s.len != segment.len ? (s.len < segment.len ? -1 : 1)
						 : memcmp(s.p, segment.p, s.len);

		if (order == 0) {
			*ret_found = true;
			return mid;
		}
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static struct node *new_node(struct slice segment)
{
	struct node *n = calloc(1, sizeof(*n) + segment.len);

	if (n)
		n->segment = (struct slice){memcpy(n + 1, segment.p, segment.len), segment.len};
	return n;
}

/* The node below n for a segment of a pattern, made if there is none; NULL: no memory. */
static struct node *node_below(struct node *n, struct slice segment)
{
	struct node **children, *child;
	size_t place;
	bool found;

	if (is_param(segment)) {
		if (!n->param)
			n->param = new_node(SLICE(""));
		return n->param;
	}
	place = child_place(n, segment, &found);
	if (found)
		return n->children[place];
	children = realloc(n->children, (n->nchildren + 1) * sizeof(*children));
	if (!children)
		return NULL;
	n->children = children;
	child = new_node(segment);
	if (!child)
		return NULL;
	memmove(children + place + 1, children + place,
		(n->nchildren - place) * sizeof(*children));
	children[place] = child;
	n->nchildren++;
	return child;
}

/* The list for a pattern with parameters; NULL: no memory. */
static struct route **tree_list(struct http_router *r, struct slice pattern)
{
	struct node *n = &r->root;

	(void)take_part(&pattern, '/');
	while (n && pattern.p) {
		struct slice segment = take_part(&pattern, '/');

		if (is_rest(segment))
			return &n->rest;
		n = node_below(n, segment);
	}
	return n ? &n->here : NULL;
}

/* Eight bytes a step. The keys in the table are the program's own, so nothing has to be secret. */
static uint64_t hash_path(struct slice s)
{
	uint64_t h = s.len * 0x9e3779b97f4a7c15u, word;
	size_t i = 0;

	for (; i + 8 <= s.len; i += 8) {
		memcpy(&word, s.p + i, 8);
		h = (h ^ word) * 0xff51afd7ed558ccdu;
		h ^= h >> 32;
	}
	for (word = 0; i < s.len; i++)
		word = word << 8 | (uint8_t)s.p[i];
	h = (h ^ word) * 0xff51afd7ed558ccdu;
	return h ^ h >> 32;
}

/* The place of a path in the table: with its routes, or free. */
static struct literal *find_literal(const struct http_router *r, struct slice path, uint64_t hash)
{
	size_t i = hash & r->mask;

	while (r->literals[i].routes && (r->literals[i].hash != hash ||
					 !slice_eq(r->literals[i].routes->text, path)))
		i = (i + 1) & r->mask;
	return &r->literals[i];
}

/* Makes the table twice as large if another literal would fill more than half of it. */
static int grow_literals(struct http_router *r)
{
	struct literal *old = r->literals;
	size_t places = old ? r->mask + 1 : 0, more = old ? 2 * places : 8;

	if ((r->nliterals + 1) * 2 <= places)
		return 0;
	r->literals = calloc(more, sizeof(*r->literals));
	if (!r->literals) {
		r->literals = old;
		return -1;
	}
	r->mask = more - 1;
	for (size_t i = 0; i < places; i++)
		if (old[i].routes)
			*find_literal(r, old[i].routes->text, old[i].hash) = old[i];
	free(old);
	return 0;
}

/* The list for a pattern without parameters; NULL: no memory. */
static struct route **literal_list(struct http_router *r, struct slice pattern)
{
	uint64_t hash = hash_path(pattern);
	struct literal *l;

	if (grow_literals(r))
		return NULL;
	l = find_literal(r, pattern, hash);
	l->hash = hash;
	return &l->routes;
}

static int check_overlap(const struct http_router *r, const struct adding *a,
			 const struct route *list, uint64_t methods)
{
	for (; list; list = list->next) {
		uint64_t both = list->methods & methods;
		struct slice name = SLICE("any method");

		if (both == 0)
			continue;
		if (both != ANY)
			name = r->methods[__builtin_ctzll(both)];
		return refuse(a, "%.*s is served by pattern \"%.*s\" already; only one of them can "
			      "have it", (int)name.len, name.p, (int)list->text.len, list->text.p);
	}
	return 0;
}

static struct route *new_route(const struct adding *a, uint64_t methods, void *target)
{
	size_t names = a->nparams * sizeof(struct slice);
	struct route *route = calloc(1, sizeof(*route) + names + a->pattern.len);
	char *text;

	if (!route)
		return NULL;
	text = memcpy((char *)(route + 1) + names, a->pattern.p, a->pattern.len);
	route->methods = methods;
	route->target = target;
	route->text = (struct slice){text, a->pattern.len};
	route->nparams = a->nparams;
	for (uint32_t i = 0; i < a->nparams; i++)
		route->names[i] = (struct slice){text + (a->names[i].p - a->pattern.p),
						 a->names[i].len};
	return route;
}

int http_router_add(struct http_router *r, struct slice methods, struct slice pattern,
		    void *target, char *why, size_t why_cap)
{
	struct adding a = { .pattern = pattern, .why = why, .why_cap = why_cap };
	struct route **list, *route;
	uint64_t bits;

	if (check_pattern(&a) || read_methods(r, &a, methods, &bits))
		return -1;
	list = a.nparams > 0 ? tree_list(r, pattern) : literal_list(r, pattern);
	if (!list)
		return refuse_memory(&a);
	if (check_overlap(r, &a, *list, bits))
		return -1;
	route = new_route(&a, bits, target);
	if (!route)
		return refuse_memory(&a);
	if (a.nparams == 0) {
		r->nliterals += !*list;
		r->literal_max = pattern.len > r->literal_max ? pattern.len : r->literal_max;
	}
	route->next = *list;
	*list = route;
	return 0;
}

/* ---- matching ---- */

struct walk {
	/* What to do with the routes of a pattern that matches; true ends the walk. */
	bool (*take)(struct walk *w, const struct route *list);
	const char *end;       /* of the path */
	uint64_t method;       /* one bit */
	uint64_t methods;      /* of all routes seen */
	uint32_t skip;
	struct http_match *ret;
	struct slice values[HTTP_PARAMS_MAX + 1]; /* of the parameters on the way here */
};

static bool walk(struct walk *w, const struct node *n, const char *p, uint32_t nvalues);

/* Below n, where a segment has brought us: further behind the slash, or this is the end. */
static bool step(struct walk *w, const struct node *n, const char *slash, uint32_t nvalues)
{
	if (slash)
		return walk(w, n, slash + 1, nvalues);
	return n->here && w->take(w, n->here);
}

/* What is below n for the path from p on, where a segment begins. */
static bool walk(struct walk *w, const struct node *n, const char *p, uint32_t nvalues)
{
	if (n->nchildren > 0 || n->param) {
		const char *slash = memchr(p, '/', (size_t)(w->end - p));
		struct slice segment = { p, (size_t)((slash ? slash : w->end) - p) };
		size_t place;
		bool found;

		place = child_place(n, segment, &found);
		if (found && step(w, n->children[place], slash, nvalues))
			return true;
		if (n->param && segment.len > 0) {
			w->values[nvalues] = segment;
			if (step(w, n->param, slash, nvalues + 1))
				return true;
		}
	}
	if (!n->rest)
		return false;
	w->values[nvalues] = (struct slice){p, (size_t)(w->end - p)};
	return w->take(w, n->rest);
}

/* Everything that matches the path, most specific first. */
static bool walk_path(struct walk *w, const struct http_router *r, struct slice path)
{
	if (path.len == 0 || path.p[0] != '/')
		return false;
	w->end = path.p + path.len;
	if (path.len <= r->literal_max) {
		const struct literal *l = find_literal(r, path, hash_path(path));

		if (l->routes && w->take(w, l->routes))
			return true;
	}
	return walk(w, &r->root, path.p + 1, 0);
}

static bool take_one(struct walk *w, const struct route *route)
{
	struct http_match *m = w->ret;

	if (w->skip-- > 0)
		return false;
	m->target = route->target;
	m->nparams = route->nparams;
	for (uint32_t i = 0; i < route->nparams; i++)
		m->param[i] = (struct http_param){route->names[i], w->values[i]};
	return true;
}

/* One route of a pattern has the method, and for HEAD perhaps another one has GET. */
static bool take_match(struct walk *w, const struct route *list)
{
	for (const struct route *route = list; route; route = route->next)
		if ((route->methods & w->method) && take_one(w, route))
			return true;
	if (w->method != BIT(HTTP_M_HEAD))
		return false;
	for (const struct route *route = list; route; route = route->next)
		if ((route->methods & BIT(HTTP_M_GET)) && !(route->methods & BIT(HTTP_M_HEAD)) &&
		    take_one(w, route))
			return true;
	return false;
}

/* Only a route of any method has the bit of HTTP_M_OTHER. */
static uint64_t method_bit(const struct http_router *r, enum http_method m, struct slice text)
{
	if (m == HTTP_M_OTHER)
		for (uint32_t i = HTTP_M_COUNT; i < r->nmethods; i++)
			if (slice_eq(r->methods[i], text))
				return BIT(i);
	return BIT(m);
}

bool http_router_match(const struct http_router *r, enum http_method m, struct slice method_text,
		       struct slice path, uint32_t skip, struct http_match *ret)
{
	struct walk w;

	/* Not cleared as a whole: the values are written before they are read. */
	w.take = take_match;
	w.method = method_bit(r, m, method_text);
	w.skip = skip;
	w.ret = ret;
	return walk_path(&w, r, path);
}

struct slice http_match_param(const struct http_match *m, struct slice name)
{
	for (uint32_t i = 0; i < m->nparams; i++)
		if (slice_eq(m->param[i].name, name))
			return m->param[i].value;
	return (struct slice){NULL, 0};
}

static bool take_methods(struct walk *w, const struct route *list)
{
	for (; list; list = list->next)
		w->methods |= list->methods == ANY ? USUAL : list->methods;
	return false;
}

size_t http_router_allow(const struct http_router *r, struct slice path, char *buf, size_t cap)
{
	struct walk w = { .take = take_methods };
	size_t len = 0;

	(void)walk_path(&w, r, path);
	if (w.methods == 0)
		return 0;
	w.methods |= BIT(HTTP_M_OPTIONS);
	if (w.methods & BIT(HTTP_M_GET))
		w.methods |= BIT(HTTP_M_HEAD);
	for (uint32_t m = 1; m < r->nmethods; m++) {
		struct slice name = r->methods[m];

		if (!(w.methods & BIT(m)) || name.len + 2 > cap - len)
			continue;
		if (len > 0) {
			memcpy(buf + len, ", ", 2);
			len += 2;
		}
		memcpy(buf + len, name.p, name.len);
		len += name.len;
	}
	return len;
}
