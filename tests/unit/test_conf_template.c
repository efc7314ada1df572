/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "conf/template.h"

static struct http_field fields[16];
static struct http_request req;
static const struct http_match match = {.nparams = 1, .param = {{{"id", 2}, {"4*2", 3}}}};

static int setup(void **state)
{
	static const char text[] = "GET /x?q=a%2Ab+c&e= HTTP/1.1\r\nHost: a\r\nX-U: me\r\n\r\n";
	const struct http_limits limits = {8000, 16, 8000, 65536};
	size_t scan = 0;

	(void)state;
	req = (struct http_request){.fields = fields};
	return http_parse_head(&req, &limits, text, sizeof(text) - 1, &scan) == HTTP_OK ? 0 : -1;
}

static size_t write_to(struct http_out *o, bool glob, const struct conf_part *part, size_t n)
{
	const struct conf_template t = {"", n, part};
	struct conf_values v = {&req, &match};

	return conf_template_put(&t, glob, conf_request_value, &v, o);
}

static void assert_text(bool glob, const struct conf_part *part, size_t n, const char *want,
			size_t lacking)
{
	char room[64];
	struct http_out o = {.p = room, .cap = sizeof(room)};

	assert_int_equal(write_to(&o, glob, part, n), lacking);
	assert_false(o.over);
	assert_true(slice_eq((struct slice){o.p, o.len}, slice_of(want)));
}

static const struct conf_part all[] = {
	{CONF_PART_TEXT, {"d:", 2}}, {CONF_PART_PARAM, {"id", 2}}, {CONF_PART_TEXT, {":", 1}},
	{CONF_PART_QUERY, {"q", 1}}, {CONF_PART_TEXT, {"*", 1}}, {CONF_PART_HEADER, {"x-u", 3}},
	{CONF_PART_ANY, {NULL, 0}},
};

static void test_values(void **state)
{
	(void)state;
	assert_text(false, all, 6, "d:4*2:a*b c*me", 0);
	/* A value is no pattern, and ANY is one. */
	assert_text(true, all, 7, "d:4?2:a?b c*me*", 0);
}

static void test_what_is_not_there_is_empty(void **state)
{
	static const struct conf_part none[] = {
		{CONF_PART_TEXT, {"a", 1}}, {CONF_PART_PARAM, {"no", 2}},
		{CONF_PART_QUERY, {"no", 2}}, {CONF_PART_HEADER, {"no", 2}},
		{CONF_PART_QUERY, {"e", 1}}, {CONF_PART_TEXT, {"b", 1}},
	};

	(void)state;
	assert_text(false, none, 6, "ab", 3);
}

static void test_no_room(void **state)
{
	char room[64];

	(void)state;
	for (size_t cap = 0; cap < 15; cap++) {
		struct http_out o = {.p = room, .cap = cap};

		memset(room, '!', sizeof(room));
		(void)write_to(&o, true, all, 7);
		assert_true(o.over);
		assert_int_equal(room[cap], '!');
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_what_is_not_there_is_empty),
		cmocka_unit_test(test_no_room),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
