/* SPDX-License-Identifier: MIT */
#include "serve/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* A head as a proxy sent it, and who the client is with these networks trusted. */
struct row {
	const char *fields; /* "Name: value\r\n" ... */
	const char *peer;
	const char *want;
};

static const struct row rows[] = {
	/* nobody forwarded */
	{"", "192.0.2.9", "192.0.2.9"},
	/* a peer that is not trusted is the client, whatever it says */
	{"X-Forwarded-For: 203.0.113.1\r\n", "192.0.2.9", "192.0.2.9"},
	/* one trusted proxy */
	{"X-Forwarded-For: 203.0.113.1\r\n", "127.0.0.1", "203.0.113.1"},
	/* what the client wrote itself stands to the left and does not count */
	{"X-Forwarded-For: 10.9.9.9, 203.0.113.1\r\n", "127.0.0.1", "203.0.113.1"},
	/* through two trusted proxies */
	{"X-Forwarded-For: 203.0.113.1, 10.1.2.3\r\n", "127.0.0.1", "203.0.113.1"},
	/* all trusted: the leftmost */
	{"X-Forwarded-For: 10.0.0.7, 10.1.2.3\r\n", "127.0.0.1", "10.0.0.7"},
	/* several field lines are one list */
	{"X-Forwarded-For: 203.0.113.1\r\nX-Forwarded-For: 10.1.2.3\r\n", "127.0.0.1", "203.0.113.1"},
	/* ports and brackets */
	{"X-Forwarded-For: 203.0.113.1:4711\r\n", "127.0.0.1", "203.0.113.1"},
	{"X-Forwarded-For: [2001:db8::1]:4711\r\n", "127.0.0.1", "2001:db8::1"},
	{"X-Forwarded-For: 2001:db8::1\r\n", "127.0.0.1", "2001:db8::1"},
	/* garbage ends the walk at the last address that was vouched for */
	{"X-Forwarded-For: unknown\r\n", "127.0.0.1", "127.0.0.1"},
	{"X-Forwarded-For: 203.0.113.1, , 10.1.2.3\r\n", "127.0.0.1", "10.1.2.3"},
	{"X-Forwarded-For: \r\n", "127.0.0.1", "127.0.0.1"},
	/* RFC 7239 */
	{"Forwarded: for=203.0.113.1\r\n", "127.0.0.1", "203.0.113.1"},
	{"Forwarded: proto=https; FOR=\"[2001:db8::1]:80\";by=10.0.0.1\r\n", "127.0.0.1",
	 "2001:db8::1"},
	{"Forwarded: for=198.51.100.3, for=203.0.113.1;proto=http\r\n", "127.0.0.1", "203.0.113.1"},
	{"Forwarded: for=_hidden\r\n", "127.0.0.1", "127.0.0.1"},
	{"Forwarded: proto=https\r\n", "127.0.0.1", "127.0.0.1"},
	/* with both, X-Forwarded-For counts */
	{"Forwarded: for=198.51.100.3\r\nX-Forwarded-For: 203.0.113.1\r\n", "127.0.0.1",
	 "203.0.113.1"},
};

static void test_rows(void **state)
{
	struct net_cidrs trusted = {0};

	(void)state;
	assert_true(net_cidr_parse(&trusted, SLICE("127.0.0.0/8")));
	assert_true(net_cidr_parse(&trusted, SLICE("10.0.0.0/8")));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct http_limits limits = {8190, 100, 8190, 65536};
		struct http_field fields[100];
		struct http_request head = {.fields = fields};
		struct net_addr client;
		char raw[512], got[NET_TEXT_MAX];
		size_t scan = 0;

		snprintf(raw, sizeof(raw), "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", rows[i].fields);
		assert_int_equal(http_parse_head(&head, &limits, raw, strlen(raw), &scan), HTTP_OK);
		assert_true(net_addr_parse(&client, slice_of(rows[i].peer)));
		client_behind_proxies(&client, &head, &trusted);
		net_addr_format(&client, got);
		assert_string_equal(got, rows[i].want);
	}
	net_cidrs_fini(&trusted);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
