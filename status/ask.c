/* SPDX-License-Identifier: MIT */
/*
 * capricorn --health: asks a running server, as a client would, how it is. Not part of that server:
 * a process of its own, so it may block, though never behind its deadline. Whoever answers may be
 * anybody: what is read has a bound, and nothing in it is believed.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "status/status_priv.h"

#define ANSWER_MAX 16384 /* head and document; /health has less than 1 KiB */
#define WORD_MAX   16    /* "healthy" */

struct ask {
	uint64_t deadline_ns;
	int timeout_ms;
	char host[NET_TEXT_MAX];  /* the Host field */
	char path[1024];
	char url[1280];           /* what was asked, for people */
	char problem[256];        /* why there is no good answer */
	size_t len;
	char answer[ANSWER_MAX + 1]; /* NUL-terminated, and may hold NULs */
};

static bool fail(struct ask *a, int error)
{
	if (error == EAGAIN || error == EWOULDBLOCK || error == EINPROGRESS)
		snprintf(a->problem, sizeof(a->problem), "no answer within %d ms", a->timeout_ms);
	else
		snprintf(a->problem, sizeof(a->problem), "%s", strerror(error));
	return false;
}

/* ---- whom to ask ---- */

static bool is_zero(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != 0)
			return false;
	return true;
}

/* 0.0.0.0 and [::] are where to listen, not whom to ask: the loopback of that family is one. */
static void to_loopback(struct net_addr *addr)
{
	if (addr->family == NET_V4 && is_zero(addr->bytes, 4))
		(void)net_addr_parse(addr, SLICE("127.0.0.1"));
	else if (addr->family == NET_V6 && is_zero(addr->bytes, 16))
		(void)net_addr_parse(addr, SLICE("::1"));
}

static bool unix_address(struct ask *a, const struct conf_bind *b, struct sockaddr_storage *ss,
			 socklen_t *ret_len)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};

	snprintf(a->host, sizeof(a->host), "localhost");
	snprintf(a->url, sizeof(a->url), "unix:%s, %s", b->path, a->path);
	if (strlen(b->path) >= sizeof(sun.sun_path))
		return fail(a, ENAMETOOLONG);
	memcpy(sun.sun_path, b->path, strlen(b->path) + 1);
	memcpy(ss, &sun, sizeof(sun));
	*ret_len = sizeof(sun);
	return true;
}

static bool tcp_address(struct ask *a, const struct conf_bind *b, struct sockaddr_storage *ss,
			socklen_t *ret_len)
{
	struct net_addr addr = b->addr;
	uint16_t port = addr.port;

	to_loopback(&addr);
	addr.port = port;
	net_addr_format_port(&addr, a->host);
	snprintf(a->url, sizeof(a->url), "http://%s%s", a->host, a->path);
	*ret_len = net_addr_to_sockaddr(&addr, ss);
	if (port != 0)
		return true;
	snprintf(a->problem, sizeof(a->problem),
		 "port 0 is a free one that only the server knows; give BIND a port");
	return false;
}

static bool find_address(struct ask *a, const struct conf *conf, struct sockaddr_storage *ss,
			 socklen_t *ret_len)
{
	const char *prefix = conf->s.status_prefix;
	size_t len = strlen(prefix);
	const struct conf_bind *b = &conf->binds[0];
	int n;

	if (len > 0 && prefix[len - 1] == '/')
		len--;
	n = snprintf(a->path, sizeof(a->path), "%.*s/health", (int)len, prefix);
	if (n < 0 || (size_t)n >= sizeof(a->path)) {
		snprintf(a->url, sizeof(a->url), "STATUS_PREFIX");
		return fail(a, ENAMETOOLONG);
	}
	switch (b->kind) {
	case CONF_BIND_TCP:
		return tcp_address(a, b, ss, ret_len);
	case CONF_BIND_UNIX:
		return unix_address(a, b, ss, ret_len);
	default:
		snprintf(a->url, sizeof(a->url), "%s", b->text);
		snprintf(a->problem, sizeof(a->problem),
			 "a descriptor is the server's alone and cannot be asked");
		return false;
	}
}

/* ---- asking ---- */

/* The time that is left, as the bound of the next call (SO_SNDTIMEO bounds connect(), too). */
static bool bound(struct ask *a, int fd, int option)
{
	uint64_t now = clock_mono_ns(), left;
	struct timeval tv;

	if (now >= a->deadline_ns)
		return fail(a, EAGAIN);
	left = (a->deadline_ns - now) / 1000 + 1; /* 0 would be no bound at all */
	tv.tv_sec = (time_t)(left / 1000000);
	tv.tv_usec = (suseconds_t)(left % 1000000);
	return setsockopt(fd, SOL_SOCKET, option, &tv, sizeof(tv)) == 0 || fail(a, errno);
}

/* A request is far smaller than any send buffer: it leaves in one piece, or something is wrong. */
static bool say(struct ask *a, int fd)
{
	char text[2048];
	int n = snprintf(text, sizeof(text),
			 "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: capricorn --health\r\n"
			 "Accept: application/json\r\nConnection: close\r\n\r\n",
			 a->path, a->host);

	if (n < 0 || (size_t)n >= sizeof(text))
		return fail(a, ENAMETOOLONG);
	if (!bound(a, fd, SO_SNDTIMEO))
		return false;
	return send(fd, text, (size_t)n, MSG_NOSIGNAL) == n || fail(a, errno);
}

/* Content-Length of the head that ends before `end`; SIZE_MAX: none, the body ends with the
 * connection. */
static size_t body_length(const char *head, const char *end)
{
	static const char name[] = "\r\ncontent-length:";
	const size_t len = sizeof(name) - 1;

	for (const char *p = head; p + len < end; p++)
		if (*p == '\r' && strncasecmp(p, name, len) == 0)
			return strtoul(p + len, NULL, 10);
	return SIZE_MAX;
}

/* The end of the head, where the body begins; NULL while it is not there. */
static const char *find_body(const struct ask *a)
{
	const char *end = memmem(a->answer, a->len, "\r\n\r\n", 4);

	return end ? end + 4 : NULL;
}

static bool is_whole(const struct ask *a)
{
	const char *body = find_body(a);

	return a->len == ANSWER_MAX ||
	       (body && (size_t)(a->answer + a->len - body) >= body_length(a->answer, body));
}

static bool hear(struct ask *a, int fd)
{
	while (!is_whole(a)) {
		ssize_t n;

		if (!bound(a, fd, SO_RCVTIMEO))
			return false;
		n = recv(fd, a->answer + a->len, ANSWER_MAX - a->len, 0);
		if (n < 0)
			return fail(a, errno);
		if (n == 0)
			break;
		a->len += (size_t)n;
		a->answer[a->len] = '\0';
	}
	return true;
}

static bool converse(struct ask *a, const struct sockaddr_storage *ss, socklen_t len)
{
	int fd = socket(ss->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool ok;

	if (fd < 0)
		return fail(a, errno);
	ok = bound(a, fd, SO_SNDTIMEO) &&
	     (connect(fd, (const struct sockaddr *)ss, len) == 0 || fail(a, errno)) &&
	     say(a, fd) && hear(a, fd);
	close(fd);
	return ok;
}

/* ---- the answer ---- */

/* The three digits of the status line; 0 if this is no HTTP. */
static int status_code(const struct ask *a)
{
	const char *p = a->answer;

	if (a->len < 12 || memcmp(p, "HTTP/1.", 7) != 0 || !isdigit((unsigned char)p[7]) ||
	    p[8] != ' ')
		return 0;
	for (int i = 9; i < 12; i++)
		if (!isdigit((unsigned char)p[i]))
			return 0;
	return (p[9] - '0') * 100 + (p[10] - '0') * 10 + (p[11] - '0');
}

/* "status" of the document, if it is one of the words that /health has; else "". */
static void status_word(const struct ask *a, char out[WORD_MAX])
{
	static const char *const words[] = {"healthy", "degraded", "unhealthy"};
	const char *body = find_body(a), *word;
	json_t *root;

	out[0] = '\0';
	if (!body)
		return;
	root = json_loadb(body, (size_t)(a->answer + a->len - body), 0, NULL);
	word = json_string_value(json_object_get(root, "status"));
	for (size_t i = 0; word && i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(word, words[i]) == 0)
			snprintf(out, WORD_MAX, "%s", word);
	json_decref(root);
}

/* 200 alone is not enough: an app that answers everything would be healthy for ever. */
static bool judge(struct ask *a, char word[WORD_MAX])
{
	int code = status_code(a);

	status_word(a, word);
	if (code == 200 && (strcmp(word, "healthy") == 0 || strcmp(word, "degraded") == 0))
		return true;
	if (code == 0)
		snprintf(a->problem, sizeof(a->problem), "%s",
			 a->len == 0 ? "the connection was closed without an answer" :
				       "the answer is no HTTP");
	else if (word[0] != '\0')
		snprintf(a->problem, sizeof(a->problem), "%s (%d)", word, code);
	else
		snprintf(a->problem, sizeof(a->problem),
			 "the answer (%d) is not that of /health; are BIND, STATUS_PREFIX and the "
			 "app those of the server?", code);
	return false;
}

int status_ask_health(const struct conf *conf, int timeout_ms, FILE *out, FILE *err)
{
	struct ask a = {
		.timeout_ms = timeout_ms,
		.deadline_ns = clock_mono_ns() + (uint64_t)timeout_ms * NS_PER_MS,
	};
	struct sockaddr_storage ss = {0};
	char word[WORD_MAX];
	socklen_t len = 0;

	if (conf->s.chdir && chdir(conf->s.chdir) != 0) {
		fprintf(err, "capricorn: --health: cannot change to %s: %s\n", conf->s.chdir,
			strerror(errno));
		return -1;
	}
	if (find_address(&a, conf, &ss, &len) && converse(&a, &ss, len) && judge(&a, word)) {
		fprintf(out, "%s: %s\n", a.url, word);
		return 0;
	}
	fprintf(err, "capricorn: --health: %s: %s\n", a.url, a.problem);
	return -1;
}
