/* SPDX-License-Identifier: MIT */
/* Directory of routes. */
#include "tests/unit/shm_help.h"

static void test_intern(void **state)
{
	struct shm s;
	char name[SHM_ROUTE_NAME_MAX];

	(void)state;
	fake_init(&s, &small_geo);
	assert_true(shm_route_name(&s, 0, name));
	assert_string_equal(name, "other");
	assert_false(shm_route_name(&s, 1, name));
	assert_int_equal(shm_route_intern(&s, "other", 1), 0);
	assert_int_equal(shm_route_intern(&s, "/a/{x}", 1), 1);
	assert_int_equal(shm_route_intern(&s, "/b", 1), 2);
	assert_int_equal(shm_route_intern(&s, "/a/{x}", 2), 1); /* the same over a reload */
	assert_int_equal(shm_get(&s.routes[1].first_generation), 1);
	assert_int_equal(shm_get(&s.routes[1].last_generation), 2);
	assert_int_equal(shm_get(&s.routes[2].last_generation), 1);
	assert_true(shm_route_name(&s, 2, name));
	assert_string_equal(name, "/b");
	assert_int_equal(shm_route_find(&s, "/b"), 2);
	assert_int_equal(shm_route_find(&s, "/none"), 0);
	assert_int_equal(shm_route_find(&s, ""), 0);
	assert_int_equal(shm_route_intern(&s, "/c", 2), 3);
	assert_int_equal(shm_route_intern(&s, "/full", 2), 0);
	assert_int_equal(shm_route_find(&s, "/full"), 0);
	assert_int_equal(shm_route_find(&s, "/c"), 3);
	assert_false(shm_route_name(&s, 4, name));
	assert_false(shm_route_name(&s, UINT32_MAX, name));
	fake_fini(&s);
}

static void test_long(void **state)
{
	struct shm s;
	char text[400], name[SHM_ROUTE_NAME_MAX];

	(void)state;
	fake_init(&s, &small_geo);
	memset(text, 'r', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(shm_route_intern(&s, text, 1), 1);
	assert_int_equal(shm_route_find(&s, text), 1);
	assert_true(shm_route_name(&s, 1, name));
	assert_int_equal(strlen(name), SHM_ROUTE_NAME_MAX - 1);
	fake_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_intern),
		cmocka_unit_test(test_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
