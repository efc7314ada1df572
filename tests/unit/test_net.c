/* SPDX-License-Identifier: MIT */
/* base/net.c: addresses as texts and back, loopback, networks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

#include <cmocka.h>

#include "base/net.h"

static struct net_addr addr(const char *text)
{
	struct net_addr a;

	assert_true(net_addr_parse(&a, slice_of(text)));
	return a;
}

static void test_parse_and_format(void **state)
{
	static const struct { const char *text, *shown, *with_port; } cases[] = {
		{"127.0.0.1", "127.0.0.1", "127.0.0.1:80"},
		{"255.255.255.255", "255.255.255.255", "255.255.255.255:80"},
		{"::1", "::1", "[::1]:80"},
		{"[::1]", "::1", "[::1]:80"},
		{"::", "::", "[::]:80"},
		{"2001:DB8::00ff", "2001:db8::ff", "[2001:db8::ff]:80"},
		{"::ffff:10.1.2.3", "10.1.2.3", "10.1.2.3:80"},
		{"1111:2222:3333:4444:5555:6666:7777:8888",
		 "1111:2222:3333:4444:5555:6666:7777:8888",
		 "[1111:2222:3333:4444:5555:6666:7777:8888]:80"},
	};
	char out[NET_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct net_addr a = addr(cases[i].text);

		a.port = 80;
		assert_int_equal(net_addr_format(&a, out), strlen(cases[i].shown));
		assert_string_equal(out, cases[i].shown);
		assert_int_equal(net_addr_format_port(&a, out), strlen(cases[i].with_port));
		assert_string_equal(out, cases[i].with_port);
	}
}

static void test_v4_is_formatted_as_by_the_library(void **state)
{
	struct net_addr a = addr("1.2.3.4");
	char out[NET_TEXT_MAX], want[INET_ADDRSTRLEN];

	(void)state;
	for (unsigned v = 0; v < 256; v++)
		for (unsigned at = 0; at < 4; at++) {
			a.bytes[at] = (uint8_t)v;
			a.bytes[(at + 1) % 4] = (uint8_t)(v * 7);
			assert_non_null(inet_ntop(AF_INET, a.bytes, want, sizeof(want)));
			assert_int_equal(net_addr_format(&a, out), strlen(want));
			assert_string_equal(out, want);
		}
}

static void test_parse_refuses(void **state)
{
	static const char *const bad[] = {
		"", "[]", "[", "]", "localhost", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.4:80",
		"[127.0.0.1]", "01.2.3.4", " 1.2.3.4", "1.2.3.4 ", ":::", "::1%lo", "12345::",
		"1:2:3:4:5:6:7:8:9", "[::1", "::1]", "0x7f.1", "2130706433",
		"1111:2222:3333:4444:5555:6666:255.255.255.2555555",
	};
	struct net_addr a;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(net_addr_parse(&a, slice_of(bad[i])));
	assert_false(net_addr_parse(&a, SLICE("1.2.3.4\0")));
}

static void test_sockaddr(void **state)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct sockaddr_storage ss;
	struct net_addr a, b;
	char out[NET_TEXT_MAX];

	(void)state;
	a = addr("10.1.2.3");
	a.port = 8000;
	assert_int_equal(net_addr_to_sockaddr(&a, &ss), sizeof(struct sockaddr_in));
	net_addr_from_sockaddr(&b, (struct sockaddr *)&ss, sizeof(struct sockaddr_in));
	assert_memory_equal(&a, &b, sizeof(a));
	a = addr("2001:db8::1");
	a.port = 65535;
	assert_int_equal(net_addr_to_sockaddr(&a, &ss), sizeof(struct sockaddr_in6));
	net_addr_from_sockaddr(&b, (struct sockaddr *)&ss, sizeof(struct sockaddr_in6));
	assert_memory_equal(&a, &b, sizeof(a));

	net_addr_from_sockaddr(&b, (struct sockaddr *)&un, sizeof(un.sun_family));
	assert_int_equal(b.family, NET_UNIX);
	net_addr_format_port(&b, out);
	assert_string_equal(out, "unix");
	assert_int_equal(net_addr_to_sockaddr(&b, &ss), 0);
	/* A family that was cut short or that nobody knows is no address. */
	ss.ss_family = AF_INET6;
	net_addr_from_sockaddr(&b, (struct sockaddr *)&ss, sizeof(struct sockaddr_in));
	assert_int_equal(b.family, NET_NONE);
	net_addr_format(&b, out);
	assert_string_equal(out, "-");
}

/* An IPv4 client of an IPv6 socket is the same client. */
static void test_mapped(void **state)
{
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(7)};
	struct net_cidrs list = {0};
	struct net_addr a;

	(void)state;
	assert_int_equal(inet_pton(AF_INET6, "::ffff:127.0.0.9", &in6.sin6_addr), 1);
	net_addr_from_sockaddr(&a, (struct sockaddr *)&in6, sizeof(in6));
	assert_int_equal(a.family, NET_V4);
	assert_true(net_is_loopback(&a));
	assert_true(net_cidr_parse(&list, SLICE("127.0.0.0/8")));
	assert_true(net_cidrs_match(&list, &a));
	net_cidrs_fini(&list);
}

static void test_loopback(void **state)
{
	struct net_addr u = {.family = NET_UNIX}, a;

	(void)state;
	a = addr("127.255.0.1");
	assert_true(net_is_loopback(&a));
	a = addr("::1");
	assert_true(net_is_loopback(&a));
	a = addr("128.0.0.1");
	assert_false(net_is_loopback(&a));
	a = addr("::");
	assert_false(net_is_loopback(&a));
	assert_false(net_is_loopback(&u));
}

static bool matches(const char *network, const char *text)
{
	struct net_cidrs list = {0};
	struct net_addr a = addr(text);
	bool yes;

	assert_true(net_cidr_parse(&list, slice_of(network)));
	yes = net_cidrs_match(&list, &a);
	net_cidrs_fini(&list);
	return yes;
}

static void test_networks(void **state)
{
	(void)state;
	assert_true(matches("10.0.0.0/8", "10.255.255.255"));
	assert_false(matches("10.0.0.0/8", "11.0.0.0"));
	assert_true(matches("192.168.4.0/22", "192.168.7.255"));
	assert_false(matches("192.168.4.0/22", "192.168.8.0"));
	assert_true(matches("1.2.3.4", "1.2.3.4"));
	assert_false(matches("1.2.3.4", "1.2.3.5"));
	assert_true(matches("0.0.0.0/0", "9.9.9.9"));
	assert_false(matches("0.0.0.0/0", "::1"));
	assert_true(matches("::/0", "2001:db8::1"));
	assert_false(matches("::/0", "1.2.3.4"));
	assert_true(matches("2001:db8::/33", "2001:db8:7fff::1"));
	assert_false(matches("2001:db8::/33", "2001:db8:8000::1"));
	assert_true(matches("*", "2001:db8::1"));
	assert_false(matches("unix", "127.0.0.1"));
}

static void test_networks_refused(void **state)
{
	static const char *const bad[] = {
		"", "/", "/8", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "10.0.0.0/08",
		"10.0.0.1/8", "10.0.0.0/8/8", "10.0.0.0/8 ", "::1/64", "::ffff:10.0.0.0/104", "**",
		"unix:", "example.org", "10.0.0.0/1000",
	};
	struct net_cidrs list = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(net_cidr_parse(&list, slice_of(bad[i])));
	assert_int_equal(list.n, 0);
	assert_false(list.any || list.unix_peers);
	net_cidrs_fini(&list);
}

static void test_unix_peers(void **state)
{
	struct net_addr u = {.family = NET_UNIX}, none = {0};
	struct net_cidrs list = {0};

	(void)state;
	assert_false(net_cidrs_match(&list, &u));
	assert_true(net_cidr_parse(&list, SLICE("0.0.0.0/0")));
	assert_false(net_cidrs_match(&list, &u));
	assert_false(net_cidrs_match(&list, &none));
	assert_true(net_cidr_parse(&list, SLICE("unix")));
	assert_true(net_cidrs_match(&list, &u));
	net_cidrs_fini(&list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_and_format),
		cmocka_unit_test(test_v4_is_formatted_as_by_the_library),
		cmocka_unit_test(test_parse_refuses),
		cmocka_unit_test(test_sockaddr),
		cmocka_unit_test(test_mapped),
		cmocka_unit_test(test_loopback),
		cmocka_unit_test(test_networks),
		cmocka_unit_test(test_networks_refused),
		cmocka_unit_test(test_unix_peers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
