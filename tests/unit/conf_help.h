/* SPDX-License-Identifier: MIT */
/* For the tests of conf/: loads settings from arguments, variables and files that a test writes. */
#ifndef TESTS_UNIT_CONF_HELP_H
#define TESTS_UNIT_CONF_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/strbuf.h"
#include "conf/conf.h"

struct loaded {
	int rc;
	struct conf *conf;
	struct conf_report report;
};

#define ARGS(...) (const char *const[]){"capricorn" __VA_OPT__(,) __VA_ARGS__, NULL}
#define ENV(...)  (const char *const[]){__VA_ARGS__ __VA_OPT__(,) NULL}
#define NO_ENV    ((const char *const[]){NULL})

/* Loads; to be given to unload(). */
static inline struct loaded load(const char *const *argv, const char *const *env)
{
	struct conf_input in = {.argv = (char *const *)(uintptr_t)argv,
				.env = (char *const *)(uintptr_t)env};
	struct loaded l = {0};

	while (argv[in.argc])
		in.argc++;
	conf_report_init(&l.report);
	l.rc = conf_load(&in, &l.conf, &l.report);
	if (l.rc == 0 && l.report.nerrors > 0)
		fail_msg("errors, but loaded: %s", l.report.errors.p);
	return l;
}

static inline void unload(struct loaded *l)
{
	conf_free(l->conf);
	conf_report_fini(&l->report);
}

/* Loads what has to be right. */
static inline struct loaded load_ok(const char *const *argv, const char *const *env)
{
	struct loaded l = load(argv, env);

	if (l.rc != 0)
		fail_msg("%s", l.report.errors.p);
	return l;
}

/* Loads what has to be wrong, and says exactly that. */
static inline void expect_errors(const char *const *argv, const char *const *env,
				 const char *errors)
{
	struct loaded l = load(argv, env);

	assert_int_equal(l.rc, -1);
	assert_string_equal(l.report.errors.p, errors);
	unload(&l);
}

static inline void write_file(const char *name, const char *text)
{
	FILE *f = fopen(name, "w");

	assert_non_null(f);
	assert_int_equal(fputs(text, f) >= 0, 1);
	assert_int_equal(fclose(f), 0);
}

static inline struct loaded load_yaml(const char *yaml)
{
	write_file("test.yaml", yaml);
	return load_ok(ARGS("-c", "test.yaml"), NO_ENV);
}

/* The same of a file; `errors` has the places without the name of the file: "1:2: what: ...\n". */
static inline void expect_wrong(const char *yaml, const char *errors)
{
	struct strbuf want;

	strbuf_init(&want);
	for (const char *p = errors; *p; p += strcspn(p, "\n") + 1)
		strbuf_printf(&want, "test.yaml:%.*s\n", (int)strcspn(p, "\n"), p);
	write_file("test.yaml", yaml);
	expect_errors(ARGS("-c", "test.yaml"), NO_ENV, want.p);
	strbuf_fini(&want);
}

static inline const struct conf_policy_route *route_named(const struct conf_policy *p,
							   const char *name)
{
	for (size_t i = 0; i < p->nroutes; i++)
		if (strcmp(p->route[i].name, name) == 0)
			return &p->route[i];
	fail_msg("there is no route %s", name);
	return NULL;
}

/* Each group of tests works in an empty directory, so that no ./capricorn.yaml is found by chance.
 */
static inline int enter_directory(void **state)
{
	static char dir[] = "/tmp/capricorn-conf-XXXXXX";

	*state = dir;
	return mkdtemp(dir) && chdir(dir) == 0 ? 0 : -1;
}

static inline int leave_directory(void **state)
{
	static const char *const names[] = {"capricorn.yaml", "test.yaml", "test.env",
					   "big", "big.so", "a:b.so"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unlink(names[i]);
	return chdir("/") == 0 ? rmdir(*state) : -1;
}

#endif
