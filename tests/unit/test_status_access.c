/* SPDX-License-Identifier: MIT */
/* Who may see and who may change: each rule, one row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "conf/conf.h"
#include "status/status.h"

#define R STATUS_NEED_READ
#define W STATUS_NEED_WRITE

struct row {
	const char *what;
	enum status_need need;
	const char *client, *peer;   /* "unix" = a unix socket */
	bool forwarded;
	const char *allow;           /* STATUS_ALLOW, one entry; NULL = 127.0.0.0/8 */
	const char *token;           /* ADMIN_TOKEN */
	const char *authorization, *content_type, *host, *origin;
	bool may;
};

#define ME "127.0.0.1", "127.0.0.1", false
#define JSON "application/json"

static const struct row rows[] = {
	{"loopback reads", R, ME, 0, 0, 0, 0, 0, 0, true},
	{"another loopback address", R, "127.9.9.9", "127.9.9.9", false, 0, 0, 0, 0, 0, 0, true},
	{"a stranger", R, "10.0.0.9", "10.0.0.9", false, 0, 0, 0, 0, 0, 0, false},
	{"a stranger who is let in", R, "10.0.0.9", "10.0.0.9", false, "10.0.0.0/8", 0, 0, 0, 0, 0,
	 true},
	{"loopback that is not let in", R, ME, "10.0.0.0/8", 0, 0, 0, 0, 0, false},
	{"a proxy on loopback", R, "127.0.0.1", "127.0.0.1", true, 0, 0, 0, 0, 0, 0, false},
	{"a proxy says loopback", R, "127.0.0.1", "10.0.0.1", true, 0, 0, 0, 0, 0, 0, false},
	{"a proxy's client is let in", R, "10.0.0.9", "127.0.0.1", true, "10.0.0.0/8", 0, 0, 0, 0,
	 0,
	 true},
	{"a proxy's client is not", R, "10.0.0.9", "127.0.0.1", true, 0, 0, 0, 0, 0, 0, false},
	{"everybody", R, "10.0.0.9", "127.0.0.1", true, "*", 0, 0, 0, 0, 0, true},
	{"unix", R, "unix", "unix", false, 0, 0, 0, 0, 0, 0, false},
	{"unix that is let in", R, "unix", "unix", false, "unix", 0, 0, 0, 0, 0, true},
	{"a proxy on unix", R, "unix", "unix", true, "unix", 0, 0, 0, 0, 0, false},
	{"v6 loopback", R, "::1", "::1", false, "::1", 0, 0, 0, 0, 0, true},
	{"the token", R, "10.0.0.9", "10.0.0.9", true, 0, "s3cret", "Bearer s3cret", 0, 0, 0, true},
	{"scheme in any case", R, "10.0.0.9", "10.0.0.9", false, 0, "s3cret", "bEARER  s3cret", 0,
	 0,
	 0, true},
	{"a wrong token", R, "10.0.0.9", "10.0.0.9", false, 0, "s3cret", "Bearer s3creT", 0, 0, 0,
	 false},
	{"a part of it", R, "10.0.0.9", "10.0.0.9", false, 0, "s3cret", "Bearer s3c", 0, 0, 0,
	 false},
	{"more than it", R, "10.0.0.9", "10.0.0.9", false, 0, "s3cret", "Bearer s3crets", 0, 0, 0,
	 false},
	{"repeated", R, "10.0.0.9", "10.0.0.9", false, 0, "abc", "Bearer abcabc", 0, 0, 0, false},
	{"an empty token", R, "10.0.0.9", "10.0.0.9", false, 0, "s3cret", "Bearer ", 0, 0, 0,
	 false},
	{"no token is set", R, "10.0.0.9", "10.0.0.9", false, 0, "", "Bearer ", 0, 0, 0, false},
	{"no token is set, one is sent", R, "10.0.0.9", "10.0.0.9", false, 0, 0, "Bearer x", 0, 0,
	 0,
	 false},
	{"basic", R, "10.0.0.9", "10.0.0.9", false, 0, "s3cret", "Basic s3cret", 0, 0, 0, false},

	{"loopback writes", W, ME, 0, 0, 0, JSON, "localhost:8000", 0, true},
	{"with parameters", W, ME, 0, 0, 0, "Application/JSON ; charset=utf-8", "127.0.0.1", 0,
	 true},
	{"v6", W, "::1", "::1", false, "::1", 0, 0, JSON, "[::1]:80", 0, true},
	{"another type", W, ME, 0, 0, 0, "text/plain", "localhost", 0, false},
	{"a type that begins so", W, ME, 0, 0, 0, "application/jsonp", "localhost", 0, false},
	{"no type", W, ME, 0, 0, 0, 0, "localhost", 0, false},
	{"another Host", W, ME, 0, 0, 0, JSON, "evil.example", 0, false},
	{"a Host that begins so", W, ME, 0, 0, 0, JSON, "127.0.0.1.evil.example", 0, false},
	{"localhost as a label", W, ME, 0, 0, 0, JSON, "localhost.evil.example", 0, false},
	{"an address that is not loopback", W, ME, 0, 0, 0, JSON, "10.0.0.1", 0, false},
	{"no Host", W, ME, 0, 0, 0, JSON, 0, 0, false},
	{"a broken Host", W, ME, 0, 0, 0, JSON, "[::1", 0, false},
	{"own Origin", W, ME, 0, 0, 0, JSON, "localhost:8000", "http://localhost:8000", true},
	{"foreign Origin", W, ME, 0, 0, 0, JSON, "localhost:8000", "http://evil.example", false},
	{"another port", W, ME, 0, 0, 0, JSON, "localhost:8000", "http://localhost:9000", false},
	{"null Origin", W, ME, 0, 0, 0, JSON, "localhost", "null", false},
	{"a proxy writes", W, "127.0.0.1", "127.0.0.1", true, 0, 0, 0, JSON, "localhost", 0, false},
	{"everybody may read, not write", W, "10.0.0.9", "10.0.0.9", false, "*", 0, 0, JSON,
	 "localhost", 0, false},
	{"loopback behind another peer", W, "127.0.0.1", "10.0.0.9", false, 0, 0, 0, JSON,
	 "localhost", 0, false},
	{"loopback that is not let in", W, ME, "10.0.0.0/8", 0, 0, JSON, "localhost", 0, false},
	{"unix writes", W, "unix", "unix", false, "unix", 0, 0, JSON, "localhost", 0, false},
	{"the token writes", W, "10.0.0.9", "10.0.0.9", true, 0, "t", "Bearer t", 0, "any.example",
	 "http://any.example", true},
	{"a wrong token from loopback", W, ME, 0, "t", "Bearer x", "text/plain", "localhost", 0,
	 false},
};

static void set_addr(struct net_addr *a, const char *text)
{
	*a = (struct net_addr){.family = NET_UNIX};
	if (strcmp(text, "unix") != 0)
		assert_true(net_addr_parse(a, slice_of(text)));
}

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *r = &rows[i];
		struct net_addr client, peer;
		struct conf conf = {0};
		struct status_request rq = {
			.method = r->need == W ? HTTP_M_POST : HTTP_M_GET,
			.path = SLICE("/status"), .host = slice_of(r->host),
			.origin = slice_of(r->origin), .content_type = slice_of(r->content_type),
			.authorization = slice_of(r->authorization),
			.client = &client, .peer = &peer, .forwarded = r->forwarded,
		};
		const char *why;

		set_addr(&client, r->client);
		set_addr(&peer, r->peer);
		assert_true(net_cidr_parse(&conf.status_allow,
					   slice_of(r->allow ? r->allow : "127.0.0.0/8")));
		conf.s.admin_token = r->token;
		why = status_denied(&conf, &rq, r->need);
		if ((why == NULL) != r->may)
			fail_msg("%s: %s", r->what, why ? why : "allowed");
		net_cidrs_fini(&conf.status_allow);
	}
}

static void test_problem(void **state)
{
	struct strbuf sb;

	(void)state;
	strbuf_init(&sb);
	status_problem(&sb, false, &(struct status_problem){
		.status = 404, .detail = "no \"such\"\npath", .request_id = SLICE("id-1"),
	});
	assert_string_equal(sb.p, "{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404,"
				  "\"detail\":\"no \\\"such\\\"\\npath\",\"request_id\":\"id-1\"}\n");
	strbuf_clear(&sb);
	status_problem(&sb, true, &(struct status_problem){
		.status = 404, .detail = "nothing", .request_id = SLICE("id-1"),
	});
	assert_string_equal(sb.p, "404 Not Found: nothing (request id-1)\n");
	strbuf_clear(&sb);
	status_problem(&sb, true, &(struct status_problem){.status = 503, .title = "Busy"});
	assert_string_equal(sb.p, "503 Busy\n");
	strbuf_clear(&sb);
	status_problem(&sb, false, &(struct status_problem){.status = 503});
	assert_string_equal(sb.p, "{\"type\":\"about:blank\",\"title\":\"Service Unavailable\","
				  "\"status\":503}\n");
	strbuf_fini(&sb);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows), cmocka_unit_test(test_problem),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
