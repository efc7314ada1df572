/* SPDX-License-Identifier: MIT */
/* http/router.c: which route a path belongs to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "http/router.h"

static char why[256];

/* The linker puts these in the place of the allocators (see local.am). */
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);

static int fail_at; /* the allocation that fails, counted down; 0: none */

static bool fails(void)
{
	return fail_at > 0 && --fail_at == 0;
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return fails() ? NULL : __real_realloc(p, size);
}

/* The target of a route is the text that names it. */
static void add(struct http_router *r, const char *methods, const char *pattern,
		const char *target)
{
	if (http_router_add(r, slice_of(methods), slice_of(pattern), (void *)(uintptr_t)target,
			    why, sizeof(why)))
		fail_msg("%s", why);
}

static struct http_router *new_router(void)
{
	struct http_router *r;

	assert_int_equal(http_router_new(&r), 0);
	return r;
}

static enum http_method method_of(const char *name)
{
	for (int m = 1; m < HTTP_M_COUNT; m++)
		if (strcmp(http_method_name((enum http_method)m), name) == 0)
			return (enum http_method)m;
	return HTTP_M_OTHER;
}

/* The targets of all that match, and their parameters: "a(id=1,*=x/y) b()". The path is a copy of
 * just its size. */
static const char *matches(const struct http_router *r, const char *method, const char *path)
{
	static char out[1024];
	size_t len = strlen(path), n = 0;
	char *copy = malloc(len ? len : 1);
	struct http_match m;

	assert_non_null(copy);
	memcpy(copy, path, len);
	out[0] = '\0';
	for (uint32_t skip = 0; http_router_match(r, method_of(method), slice_of(method),
						  (struct slice){copy, len}, skip, &m); skip++) {
		n += (size_t)snprintf(out + n, sizeof(out) - n, "%s%s(", skip ? " " : "",
				      (const char *)m.target);
		for (uint32_t i = 0; i < m.nparams; i++)
			n += (size_t)snprintf(out + n, sizeof(out) - n, "%s%.*s=%.*s",
					      i ? "," : "", (int)m.param[i].name.len,
					      m.param[i].name.p, (int)m.param[i].value.len,
					      m.param[i].value.p);
		n += (size_t)snprintf(out + n, sizeof(out) - n, ")");
	}
	free(copy);
	return out;
}

static const char *allow(const struct http_router *r, const char *path)
{
	static char out[HTTP_ALLOW_MAX + 1];
	size_t len = http_router_allow(r, slice_of(path), out, HTTP_ALLOW_MAX);

	assert_true(len <= HTTP_ALLOW_MAX);
	out[len] = '\0';
	return out;
}

static void test_empty(void **state)
{
	struct http_router *r = new_router();

	(void)state;
	assert_string_equal(matches(r, "GET", "/"), "");
	assert_string_equal(matches(r, "GET", ""), "");
	assert_string_equal(allow(r, "/"), "");
	http_router_free(r);
	http_router_free(NULL);
}

static void test_literals(void **state)
{
	struct http_router *r = new_router();
	char pattern[32], target[200][12];

	(void)state;
	for (int i = 0; i < 200; i++) { /* more than the table has room for in the beginning */
		snprintf(pattern, sizeof(pattern), "/a/%d", i);
		snprintf(target[i], sizeof(target[i]), "%d", i);
		add(r, "GET", pattern, target[i]);
	}
	add(r, NULL, "/", "root");
	add(r, "GET", "/a//b", "empty");
	add(r, "GET", "/\xc3\xa4 %2F%25", "odd");
	for (int i = 0; i < 200; i++) {
		char want[16];

		snprintf(pattern, sizeof(pattern), "/a/%d", i);
		snprintf(want, sizeof(want), "%d()", i);
		assert_string_equal(matches(r, "GET", pattern), want);
	}
	assert_string_equal(matches(r, "GET", "/"), "root()");
	assert_string_equal(matches(r, "GET", "/a//b"), "empty()");
	assert_string_equal(matches(r, "GET", "/\xc3\xa4 %2F%25"), "odd()");
	assert_string_equal(matches(r, "GET", "/a/200"), "");
	assert_string_equal(matches(r, "GET", "/a/1/"), "");
	assert_string_equal(matches(r, "GET", "/a/b"), "");
	assert_string_equal(matches(r, "GET", "/A/1"), "");
	assert_string_equal(matches(r, "POST", "/a/1"), "");
	assert_string_equal(matches(r, "GET", "*"), "");
	assert_string_equal(matches(r, "GET", ""), "");
	assert_string_equal(matches(r, "GET", "/a/a-path-that-is-longer-than-every-pattern"), "");
	http_router_free(r);
}

static void test_specificity(void **state)
{
	static const char *const patterns[] = {
		"/*", "/{x}", "/a", "/{x}/b", "/a/{y}", "/a/b", "/a/*", "/{x}/*", "/a/{y}/c",
		"/{x}/b/c", "/a/{y}/", "/f/*", "/{x}/{y}/{z}/{w}",
	};
	static const struct { const char *path, *want; } rows[] = {
		{ "/", "/*(*=)" },
		{ "/a", "/a() /{x}(x=a) /*(*=a)" },
		{ "/b", "/{x}(x=b) /*(*=b)" },
		{ "/a/b", "/a/b() /a/{y}(y=b) /a/*(*=b) /{x}/b(x=a) /{x}/*(x=a,*=b) /*(*=a/b)" },
		{ "/a/c", "/a/{y}(y=c) /a/*(*=c) /{x}/*(x=a,*=c) /*(*=a/c)" },
		{ "/c/b", "/{x}/b(x=c) /{x}/*(x=c,*=b) /*(*=c/b)" },
		{ "/a/b/c", "/a/{y}/c(y=b) /a/*(*=b/c) /{x}/b/c(x=a) /{x}/*(x=a,*=b/c) "
			    "/*(*=a/b/c)" },
		{ "/a/", "/a/*(*=) /{x}/*(x=a,*=) /*(*=a/)" },
		{ "/f", "/{x}(x=f) /*(*=f)" },
		{ "/f/", "/f/*(*=) /{x}/*(x=f,*=) /*(*=f/)" },
		{ "/f//g/", "/f/*(*=/g/) /{x}/*(x=f,*=/g/) /*(*=f//g/)" },
		{ "/a/d/", "/a/{y}/(y=d) /a/*(*=d/) /{x}/*(x=a,*=d/) /*(*=a/d/)" },
		{ "//", "/*(*=/)" },
		{ "//b", "/*(*=/b)" },
		{ "/1/2/3/4", "/{x}/{y}/{z}/{w}(x=1,y=2,z=3,w=4) /{x}/*(x=1,*=2/3/4) "
			      "/*(*=1/2/3/4)" },
		{ "/1/2//4", "/{x}/*(x=1,*=2//4) /*(*=1/2//4)" },
	};
	const size_t n = sizeof(patterns) / sizeof(patterns[0]);

	(void)state;
	for (size_t shift = 0; shift < n; shift++) { /* whatever the order they come in */
		struct http_router *r = new_router();

		for (size_t i = 0; i < n; i++)
			add(r, "*", patterns[(i * 5 + shift) % n], patterns[(i * 5 + shift) % n]);
		for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
			assert_string_equal(matches(r, "GET", rows[i].path), rows[i].want);
		http_router_free(r);
	}
}

static void test_methods(void **state)
{
	struct http_router *r = new_router();

	(void)state;
	add(r, "GET", "/u/{id}", "get");
	add(r, "POST ,\tPUT", "/u/{name}", "post");
	add(r, "PURGE, BREW", "/u/{p}", "purge");
	add(r, "HEAD", "/u/{h}", "head");
	add(r, "GET, GET", "/g", "g");
	add(r, "GET, HEAD", "/gh", "gh");
	add(r, "", "/any/*", "any");
	add(r, "DELETE", "/u/*", "delete");
	assert_string_equal(matches(r, "GET", "/u/1"), "get(id=1)");
	assert_string_equal(matches(r, "PUT", "/u/1"), "post(name=1)");
	assert_string_equal(matches(r, "HEAD", "/u/1"), "head(h=1) get(id=1)");
	assert_string_equal(matches(r, "BREW", "/u/1"), "purge(p=1)");
	assert_string_equal(matches(r, "DELETE", "/u/1"), "delete(*=1)");
	assert_string_equal(matches(r, "OPTIONS", "/u/1"), "");
	assert_string_equal(matches(r, "BREWED", "/u/1"), "");
	assert_string_equal(matches(r, "HEAD", "/g"), "g()");
	assert_string_equal(matches(r, "HEAD", "/gh"), "gh()");
	assert_string_equal(matches(r, "HEAD", "/any/"), "any(*=)");
	assert_string_equal(matches(r, "TRACE", "/any/x"), "any(*=x)");
	assert_string_equal(matches(r, "UNHEARD-OF", "/any/x"), "any(*=x)");
	http_router_free(r);
}

static void test_allow(void **state)
{
	struct http_router *r = new_router();
	char methods[21 * 60] = "", buf[HTTP_ALLOW_MAX];

	(void)state;
	add(r, "GET", "/a", "1");
	add(r, "POST, PURGE", "/{x}", "2");
	add(r, "*", "/any", "3");
	add(r, "OPTIONS", "/o/1", "4");
	add(r, "PURGE", "/p/*", "5");
	assert_string_equal(allow(r, "/a"), "GET, HEAD, POST, OPTIONS, PURGE");
	assert_string_equal(allow(r, "/b"), "POST, OPTIONS, PURGE");
	assert_string_equal(allow(r, "/any"),
			    "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH, PURGE");
	assert_string_equal(allow(r, "/o/1"), "OPTIONS");
	assert_string_equal(allow(r, "/p/"), "OPTIONS, PURGE");
	assert_string_equal(allow(r, "/p"), "POST, OPTIONS, PURGE");
	assert_string_equal(allow(r, "/q/"), "");
	for (int i = 0; i < 20; i++)
		snprintf(methods + strlen(methods), sizeof(methods) - strlen(methods), "%sM%019d",
			 i ? "," : "", i);
	add(r, methods, "/many", "6");
	assert_in_range(http_router_allow(r, SLICE("/many"), buf, sizeof(buf)), 200, 256);
	http_router_free(r);
}

static void test_param(void **state)
{
	struct http_router *r = new_router();
	struct http_match m;

	(void)state;
	add(r, NULL, "/{a}/{b-2}/*", "x");
	assert_true(http_router_match(r, HTTP_M_GET, SLICE("GET"), SLICE("/1/2/3/4"), 0, &m));
	assert_true(slice_eq(http_match_param(&m, SLICE("a")), SLICE("1")));
	assert_true(slice_eq(http_match_param(&m, SLICE("b-2")), SLICE("2")));
	assert_true(slice_eq(http_match_param(&m, SLICE("*")), SLICE("3/4")));
	assert_null(http_match_param(&m, SLICE("c")).p);
	assert_true(http_router_match(r, HTTP_M_GET, SLICE("GET"), SLICE("/1/2/"), 0, &m));
	assert_non_null(http_match_param(&m, SLICE("*")).p); /* empty, not absent */
	http_router_free(r);
}

static void refused(struct http_router *r, const char *methods, const char *pattern,
		    const char *part)
{
	strcpy(why, "nothing");
	assert_int_equal(http_router_add(r, slice_of(methods), slice_of(pattern), NULL, why,
					 sizeof(why)), -1);
	if (!strstr(why, part) || strncmp(why, "pattern \"", 9) != 0)
		fail_msg("%s: %s", pattern, why);
	for (const char *p = why; *p; p++)
		assert_true((uint8_t)*p >= ' ' && *p != 127);
	assert_int_equal(http_router_add(r, slice_of(methods), slice_of(pattern), NULL, NULL, 0),
			 -1);
}

static void test_refused(void **state)
{
	struct http_router *r = new_router();
	char text[HTTP_PATTERN_MAX + 2];

	(void)state;
	refused(r, NULL, NULL, "must begin with \"/\"");
	refused(r, NULL, "", "must begin with \"/\"");
	refused(r, NULL, "users", "write \"/users\"");
	refused(r, NULL, "*", "must begin with \"/\"");
	refused(r, NULL, "/{}", "needs a name");
	refused(r, NULL, "/{a.b}", "may have letters");
	refused(r, NULL, "/{a:b}", "may have letters");
	refused(r, NULL, "/{a b}", "may have letters");
	refused(r, NULL, "/{{a}", "may have letters");
	refused(r, NULL, "/{id}/x/{id}", "two parameters are named \"id\"");
	refused(r, NULL, "/x{id}", "whole segment");
	refused(r, NULL, "/{id}.json", "whole segment");
	refused(r, NULL, "/{a}{b}", "whole segment");
	refused(r, NULL, "/{id", "whole segment");
	refused(r, NULL, "/id}", "whole segment");
	refused(r, NULL, "/*/a", "whole last segment");
	refused(r, NULL, "/*/", "whole last segment");
	refused(r, NULL, "/a*", "whole last segment");
	refused(r, NULL, "/**", "whole last segment");
	refused(r, NULL, "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}/{j}/{k}/{l}/{m}/{n}/{o}/{p}/{q}",
		"more than 16");
	refused(r, NULL, "/a?b=1", "no query");
	refused(r, NULL, "/a\nb", "control character");
	refused(r, NULL, "a\nb\t", "must begin");
	refused(r, NULL, "/a/../b", "write \"/b\"");
	refused(r, NULL, "/a%20b", "write \"/a b\"");
	refused(r, NULL, "/a%2fb", "write \"/a%2Fb\"");
	refused(r, NULL, "/100%", "\"%25\"");
	memset(text, 'a', sizeof(text));
	text[0] = '/';
	text[sizeof(text) - 1] = '\0';
	refused(r, NULL, text, "longer than 1024 bytes");
	for (size_t i = 0; i < 2 * (HTTP_SEGMENTS_MAX + 1); i += 2)
		memcpy(text + i, "/a", 2);
	text[2 * (HTTP_SEGMENTS_MAX + 1)] = '\0';
	refused(r, NULL, text, "more than 64 segments");
	refused(r, "get", "/", "\"get\" is no method");
	refused(r, "GET,", "/", "\"\" is no method");
	refused(r, "GET POST", "/", "\"GET POST\" is no method");
	refused(r, "GET, *", "/", "\"*\" is no method");
	refused(r, "A-METHOD-OF-21-LETTER", "/", "is no method");
	refused(r, "GET, CONNECT", "/", "CONNECT has no path");
	assert_string_equal(allow(r, "/"), "");
	http_router_free(r);
}

static void test_edges(void **state)
{
	struct http_router *r = new_router();
	char text[HTTP_PATTERN_MAX + 1], target[1];
	const char *p;

	(void)state;
	memset(text, 'a', sizeof(text));
	text[0] = '/';
	text[HTTP_PATTERN_MAX] = '\0';
	add(r, NULL, text, "long");
	p = matches(r, "GET", text);
	assert_string_equal(p, "long()");
	for (size_t i = 0; i < 2 * HTTP_SEGMENTS_MAX; i += 2)
		memcpy(text + i, "/a", 2);
	memcpy(text + 2 * (HTTP_SEGMENTS_MAX - 1), "/*", 3);
	add(r, NULL, text, "deep");
	text[2 * HTTP_SEGMENTS_MAX - 1] = '\0';
	assert_string_equal(matches(r, "GET", text), "deep(*=)");
	text[2 * HTTP_SEGMENTS_MAX - 3] = 'b';
	assert_string_equal(matches(r, "GET", text), "");
	add(r, NULL, "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}/{j}/{k}/{l}/{m}/{n}/{o}/{p}/*", "wide");
	assert_string_equal(matches(r, "GET", "/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18"),
			    "wide(a=1,b=2,c=3,d=4,e=5,f=6,g=7,h=8,i=9,j=10,k=11,l=12,m=13,n=14,"
			    "o=15,p=16,*=17/18)");
	for (int i = 0; i < 54; i++) {
		snprintf(text, sizeof(text), "X%d", i);
		add(r, text, "/x", "x");
	}
	assert_string_equal(matches(r, "X53", "/x"), "x()");
	assert_int_equal(http_router_add(r, SLICE("X54"), SLICE("/x"), target, why, sizeof(why)),
			 -1);
	assert_non_null(strstr(why, "one method too many"));
	http_router_free(r);
}

static void test_conflicts(void **state)
{
	struct http_router *r = new_router();

	(void)state;
	add(r, "GET, PUT", "/a", "1");
	add(r, "GET", "/u/{id}/x", "2");
	add(r, "*", "/f/*", "3");
	add(r, "PURGE", "/p", "4");
	refused(r, "POST, PUT", "/a", "PUT is served by pattern \"/a\" already");
	refused(r, "*", "/a", "GET is served by pattern \"/a\"");
	refused(r, "GET", "/u/{name}/x", "GET is served by pattern \"/u/{id}/x\"");
	refused(r, NULL, "/f/*", "any method is served by pattern \"/f/*\"");
	refused(r, "DELETE", "/f/*", "DELETE is served");
	refused(r, "PURGE", "/p", "PURGE is served");
	add(r, "POST", "/a", "5"); /* what was refused has left nothing */
	add(r, "POST", "/u/{name}/x", "6");
	add(r, NULL, "/f/{x}", "7");
	assert_string_equal(matches(r, "POST", "/a"), "5()");
	assert_string_equal(matches(r, "PUT", "/a"), "1()");
	http_router_free(r);
}

/* Adds all; the number of the route that had no memory, or how many there are. */
static int add_all(struct http_router *r, const char *const patterns[], int n)
{
	for (int i = 0; i < n; i++) {
		if (!http_router_add(r, i == 0 ? SLICE("PURGE") : SLICE(""), slice_of(patterns[i]),
				     NULL, why, sizeof(why)))
			continue;
		assert_non_null(strstr(why, "\": no memory"));
		return i;
	}
	return n;
}

/* Whichever allocation fails: it is said, what was there is there, and it can be done again. */
static void test_no_memory(void **state)
{
	static const char *const patterns[] = {
		"/1", "/2", "/3", "/4", "/5", "/{x}/a", "/{x}/b/*",
	};
	const int n = sizeof(patterns) / sizeof(patterns[0]);
	struct http_router *r = NULL;
	struct http_match m;
	int added = -1;

	(void)state;
	for (int at = 1; added < n; at++) {
		fail_at = at;
		if (http_router_new(&r)) {
			assert_int_equal(at, 1);
			assert_null(r);
			continue;
		}
		added = add_all(r, patterns, n);
		assert_true(added == n || fail_at == 0);
		fail_at = 0;
		for (int i = 0; i < n; i++)
			assert_int_equal(http_router_match(r, HTTP_M_OTHER, SLICE("PURGE"),
							   slice_of(patterns[i]), 0, &m),
					 i < added);
		assert_int_equal(add_all(r, patterns + added, n - added), n - added);
		assert_true(http_router_match(r, HTTP_M_OTHER, SLICE("PURGE"), SLICE("/y/b/c/d"), 0,
					      &m));
		http_router_free(r);
		r = NULL;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_literals),
		cmocka_unit_test(test_specificity),
		cmocka_unit_test(test_methods),
		cmocka_unit_test(test_allow),
		cmocka_unit_test(test_param),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_edges),
		cmocka_unit_test(test_conflicts),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests_name("http/router", tests, NULL, NULL);
}
