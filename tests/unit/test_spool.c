/* SPDX-License-Identifier: MIT */
/* Bodies that are kept: in memory, over the bound, in pieces of any size, without a directory. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "app/spool.h"

static char pattern_at(size_t i)
{
	return (char)(i * 7 + i / 251);
}

static void check_spool(size_t total, size_t piece, bool want_file)
{
	char *all = malloc(total + 1), *back = malloc(total + 1);
	struct spool sp;
	struct stat st;

	assert_non_null(all);
	assert_non_null(back);
	for (size_t i = 0; i < total; i++)
		all[i] = pattern_at(i);
	spool_init(&sp);
	for (size_t at = 0; at < total;) {
		size_t n = piece < total - at ? piece : total - at;

		assert_int_equal(spool_add(&sp, (struct slice){all + at, n}), 0);
		at += n;
	}
	assert_int_equal(spool_add(&sp, (struct slice){NULL, 0}), 0);
	assert_int_equal(sp.total, total);
	assert_int_equal(sp.fd >= 0, want_file);
	if (want_file) {
		assert_null(sp.mem);
		assert_int_equal(fstat(sp.fd, &st), 0);
		assert_int_equal(st.st_nlink, 0);
		assert_int_equal(st.st_size, total);
		assert_int_equal(pread(sp.fd, back, total, 0), total);
		assert_memory_equal(back, all, total);
	} else if (total > 0) {
		assert_int_equal(sp.len, total);
		assert_memory_equal(sp.mem, all, total);
	}
	spool_fini(&sp);
	spool_fini(&sp); /* harmless */
	free(all);
	free(back);
}

static void test_sizes(void **state)
{
	(void)state;
	check_spool(0, 1, false);
	check_spool(1, 1, false);
	check_spool(1500, 7, false);
	check_spool(SPOOL_MEMORY_MAX, SPOOL_MEMORY_MAX, false);
	check_spool(SPOOL_MEMORY_MAX, 1000, false);
	check_spool(SPOOL_MEMORY_MAX + 1, SPOOL_MEMORY_MAX + 1, true);
	check_spool(SPOOL_MEMORY_MAX + 1, 1, true);
	check_spool(300000, 32768, true);
}

static void test_directory_that_is_not_there(void **state)
{
	(void)state;
	setenv("TMPDIR", "/nonexistent-directory", 1);
	check_spool(100000, 5000, true);
	setenv("TMPDIR", "not/absolute", 1);
	check_spool(100000, 5000, true);
	unsetenv("TMPDIR");
}

static void test_no_descriptors(void **state)
{
	struct rlimit old, none;
	static char block[SPOOL_MEMORY_MAX];
	struct spool sp;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	none.rlim_cur = 0;
	spool_init(&sp);
	assert_int_equal(spool_add(&sp, (struct slice){block, sizeof(block)}), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(spool_add(&sp, (struct slice){block, 1}), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(sp.total, sizeof(block));
	spool_fini(&sp);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes), cmocka_unit_test(test_directory_that_is_not_there),
		cmocka_unit_test(test_no_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
