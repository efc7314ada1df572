/* SPDX-License-Identifier: MIT */
#include "serve/access_log.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"

/* How much of a value a line shows: with the rest of a combined or JSON line below PIPE_BUF. */
#define TARGET_SHOWN 1800u
#define VALUE_SHOWN  512u
#define WORD_SHOWN   128u

enum op {
	OP_TEXT, OP_CLIENT, OP_DASH, OP_USER, OP_TIME, OP_LINE, OP_METHOD, OP_PATH, OP_QUERY,
	OP_PROTOCOL, OP_STATUS, OP_BYTES, OP_BYTES_CLF, OP_REFERER, OP_AGENT, OP_SECONDS, OP_MS,
	OP_US, OP_DECIMAL, OP_PID, OP_REQUEST_FIELD, OP_ANSWER_FIELD
};

struct step {
	enum op op;
	struct slice text;       /* OP_TEXT, and the name of a field */
};

struct access_log {
	bool json;
	size_t nsteps;
	struct step *steps;
	char *format;            /* what the steps point into */
	char pid[12];
	int64_t second;          /* that `stamp` was made for */
	size_t stamp_len;
	char stamp[48]; /* text: "[21/Nov/2026:04:33:46 +0000]"; JSON: "2026-11-21T04:33:46" */
};

static const char combined[] = "%(h)s %(l)s %(u)s %(t)s \"%(r)s\" %(s)s %(b)s \"%(f)s\" \"%(a)s\"";

/* ---- compile ---- */

static const struct { char letter; enum op op; } atoms[] = {
	{'h', OP_CLIENT},  {'l', OP_DASH},     {'u', OP_USER},      {'t', OP_TIME},
	{'r', OP_LINE},    {'m', OP_METHOD},   {'U', OP_PATH},      {'q', OP_QUERY},
	{'H', OP_PROTOCOL}, {'s', OP_STATUS},  {'B', OP_BYTES},     {'b', OP_BYTES_CLF},
	{'f', OP_REFERER}, {'a', OP_AGENT},    {'T', OP_SECONDS},   {'M', OP_MS},
	{'D', OP_US},      {'L', OP_DECIMAL},  {'p', OP_PID},
};

/* The atom between the parentheses of "%(...)s". */
static bool read_atom(struct slice a, struct step *step)
{
	if (a.len >= 4 && a.p[0] == '{' && a.p[a.len - 2] == '}') {
		step->text = (struct slice){a.p + 1, a.len - 3};
		switch (a.p[a.len - 1]) {
		case 'i': step->op = OP_REQUEST_FIELD; return true;
		case 'o': step->op = OP_ANSWER_FIELD; return true;
		case 'e': step->op = OP_DASH; return true; /* a WSGI environment: none here */
		default: return false;
		}
	}
	for (size_t i = 0; a.len == 1 && i < sizeof(atoms) / sizeof(atoms[0]); i++)
		if (atoms[i].letter == a.p[0]) {
			step->op = atoms[i].op;
			return true;
		}
	return false;
}

/* Reads one step at *p, which moves on. */
static bool read_step(const char **p, struct step *step)
{
	const char *at = *p, *end;

	if (at[0] != '%') {
		step->op = OP_TEXT;
		step->text = (struct slice){at, strcspn(at, "%")};
		*p = at + step->text.len;
		return true;
	}
	if (at[1] == '%') {
		step->op = OP_TEXT;
		step->text = (struct slice){at, 1};
		*p = at + 2;
		return true;
	}
	if (at[1] != '(')
		return false;
	end = strchr(at, ')');
	if (!end || end[1] != 's')
		return false;
	*p = end + 2;
	return read_atom((struct slice){at + 2, (size_t)(end - at) - 2}, step);
}

static int compile(struct access_log *al)
{
	const char *p = al->format;

	/* A step takes at least one byte of the format. */
	al->steps = calloc(strlen(p) + 1, sizeof(*al->steps));
	if (!al->steps)
		return -ENOMEM;
	while (*p != '\0')
		if (!read_step(&p, &al->steps[al->nsteps++]))
			return -EINVAL;
	return 0;
}

int access_log_compile(const char *format, struct access_log **ret_log)
{
	struct access_log *al = calloc(1, sizeof(*al));
	int rc = 0;

	if (!al)
		return -ENOMEM;
	al->second = -1;
	snprintf(al->pid, sizeof(al->pid), "%d", (int)getpid());
	if (format && strcmp(format, "json") == 0) {
		al->json = true;
	} else {
		al->format = strdup(!format || strcmp(format, "combined") == 0 ? combined : format);
		rc = al->format ? compile(al) : -ENOMEM;
	}
	if (rc < 0) {
		access_log_free(al);
		return rc;
	}
	*ret_log = al;
	return 0;
}

void access_log_free(struct access_log *al)
{
	if (!al)
		return;
	free(al->steps);
	free(al->format);
	free(al);
}

/* ---- a line ---- */

struct line {
	char *p;
	size_t len, cap;
};

static void add(struct line *l, const char *p, size_t len)
{
	if (len > l->cap - l->len)
		len = l->cap - l->len;
	memcpy(l->p + l->len, p, len);
	l->len += len;
}

static void add_u64(struct line *l, uint64_t v, unsigned digits_min)
{
	char tmp[20];
	size_t at = sizeof(tmp);

	do {
		tmp[--at] = (char)('0' + v % 10);
		v /= 10;
	} while (v > 0 || sizeof(tmp) - at < digits_min);
	add(l, tmp + at, sizeof(tmp) - at);
}

/* How many bytes from p on, at most n, are shown as they are. */
static size_t plain_run(const char *p, size_t n)
{
	size_t i = 0;

	while (i < n && p[i] >= 0x20 && p[i] <= 0x7e && p[i] != '"' && p[i] != '\\')
		i++;
	return i;
}

/* At most `shown` bytes of a value that a client chose. Runs are copied whole: almost always there
 * is nothing to escape. */
static void add_escaped(struct line *l, struct slice s, size_t shown)
{
	static const char hex[] = "0123456789abcdef";
	size_t room = l->cap - l->len;

	if (room > shown)
		room = shown;
	while (s.len > 0) {
		size_t n = plain_run(s.p, s.len < room ? s.len : room);
		unsigned char c;
		char esc[4] = "\\";

		add(l, s.p, n);
		room -= n;
		s = (struct slice){s.p + n, s.len - n};
		if (s.len == 0 || room == 0)
			return;
		c = (unsigned char)*s.p;
		n = 2;
		esc[1] = (char)c;
		if (c != '"' && c != '\\') {
			n = 4;
			esc[1] = 'x';
			esc[2] = hex[c >> 4];
			esc[3] = hex[c & 15];
		}
		if (n > room)
			return;
		add(l, esc, n);
		room -= n;
		s = (struct slice){s.p + 1, s.len - 1};
	}
}

static void add_value(struct line *l, struct slice s, size_t shown)
{
	if (s.len == 0)
		add(l, "-", 1);
	else
		add_escaped(l, s, shown);
}

static void add_addr(struct line *l, const struct net_addr *a)
{
	char text[NET_TEXT_MAX];

	if (a)
		add(l, text, net_addr_format(a, text));
	else
		add(l, "-", 1);
}

/* The time as text, made anew once a second. */
static void stamp(struct access_log *al, uint64_t wall_ns)
{
	time_t now = (time_t)(wall_ns / NS_PER_S);
	struct tm tm;

	if (al->second == (int64_t)now)
		return;
	al->second = (int64_t)now;
	al->stamp_len = 0;
	if (al->json) {
		if (gmtime_r(&now, &tm))
			al->stamp_len = strftime(al->stamp, sizeof(al->stamp),
						 "%Y-%m-%dT%H:%M:%S", &tm);
	} else if (localtime_r(&now, &tm)) {
		al->stamp_len = strftime(al->stamp, sizeof(al->stamp), "[%d/%b/%Y:%H:%M:%S %z]",
					 &tm);
	}
}

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* The user of basic authentication (RFC 7617): what is before the colon, never the password. */
static void add_user(struct line *l, struct slice auth)
{
	char user[VALUE_SHOWN];
	size_t len = 0, i = 6;
	uint32_t acc = 0;
	int bits = 0;

	if (auth.len < 6 || strncasecmp(auth.p, "basic ", 6) != 0) {
		add(l, "-", 1);
		return;
	}
	while (i < auth.len && auth.p[i] == ' ')
		i++;
	for (; i < auth.len && len < sizeof(user); i++) {
		int v = base64_value(auth.p[i]);

		if (v < 0)
			break;
		acc = (acc << 6 | (uint32_t)v) & 0xffff;
		bits += 6;
		if (bits < 8)
			continue;
		bits -= 8;
		user[len] = (char)(acc >> bits);
		if (user[len] == ':') {
			add_value(l, (struct slice){user, len}, WORD_SHOWN);
			return;
		}
		len++;
	}
	add(l, "-", 1); /* no colon: no credentials */
}

static void add_protocol(struct line *l, const struct http_request *head)
{
	add(l, "HTTP/1.", 7);
	add(l, head->minor ? "1" : "0", 1);
}

static struct slice answer_field(const struct access_log_entry *e, struct slice name)
{
	if (slice_eq_nocase(name, SLICE("content-type")))
		return e->content_type;
	if (slice_eq_nocase(name, SLICE("x-request-id")))
		return e->id;
	return (struct slice){NULL, 0};
}

static struct slice request_field_of(const struct http_request *head, struct slice name)
{
	const struct http_field *f = http_find_field(head, name, NULL);

	return f ? f->value : (struct slice){NULL, 0};
}

/* Steps that show a part of the request's head. */
static void add_head_step(struct line *l, const struct step *step, const struct http_request *head)
{
	switch (step->op) {
	case OP_USER:
		add_user(l, head->known[HTTP_F_AUTHORIZATION]);
		return;
	case OP_LINE:
		add_escaped(l, head->method_text, WORD_SHOWN);
		add(l, " ", 1);
		add_escaped(l, head->target, TARGET_SHOWN);
		add(l, " ", 1);
		add_protocol(l, head);
		return;
	case OP_METHOD:
		add_value(l, head->method_text, WORD_SHOWN);
		return;
	case OP_PATH:
		add_value(l, head->raw_path, TARGET_SHOWN);
		return;
	case OP_QUERY:
		add_escaped(l, head->query, TARGET_SHOWN);
		return;
	case OP_PROTOCOL:
		add_protocol(l, head);
		return;
	case OP_REFERER:
		add_value(l, head->known[HTTP_F_REFERER], VALUE_SHOWN);
		return;
	case OP_AGENT:
		add_value(l, head->known[HTTP_F_USER_AGENT], VALUE_SHOWN);
		return;
	default: /* OP_REQUEST_FIELD */
		add_value(l, request_field_of(head, step->text), VALUE_SHOWN);
		return;
	}
}

static void add_step(struct line *l, struct access_log *al, const struct step *step,
		     const struct access_log_entry *e)
{
	switch (step->op) {
	case OP_TEXT: add(l, step->text.p, step->text.len); break;
	case OP_CLIENT: add_addr(l, e->client); break;
	case OP_DASH: add(l, "-", 1); break;
	case OP_TIME: add(l, al->stamp, al->stamp_len); break;
	case OP_STATUS: add_u64(l, (uint64_t)e->status, 1); break;
	case OP_BYTES: add_u64(l, e->bytes, 1); break;
	case OP_BYTES_CLF:
		if (e->bytes > 0)
			add_u64(l, e->bytes, 1);
		else
			add(l, "-", 1);
		break;
	case OP_SECONDS: add_u64(l, e->duration_us / 1000000, 1); break;
	case OP_MS: add_u64(l, e->duration_us / 1000, 1); break;
	case OP_US: add_u64(l, e->duration_us, 1); break;
	case OP_DECIMAL:
		add_u64(l, e->duration_us / 1000000, 1);
		add(l, ".", 1);
		add_u64(l, e->duration_us % 1000000, 6);
		break;
	case OP_PID: /* gunicorn shows it so */
		add(l, "<", 1);
		add(l, al->pid, strlen(al->pid));
		add(l, ">", 1);
		break;
	case OP_ANSWER_FIELD: add_value(l, answer_field(e, step->text), VALUE_SHOWN); break;
	default:
		if (e->head)
			add_head_step(l, step, e->head);
		else
			add(l, "-", 1);
	}
}

/* ---- JSON ---- */

static void add_key(struct line *l, const char *key)
{
	add(l, l->len > 1 ? ",\"" : "\"", l->len > 1 ? 2 : 1);
	add(l, key, strlen(key));
	add(l, "\":", 2);
}

static void add_string(struct line *l, const char *key, struct slice s, size_t shown)
{
	size_t room;

	add_key(l, key);
	if (!s.p) {
		add(l, "null", 4);
		return;
	}
	add(l, "\"", 1);
	room = l->cap - l->len;
	l->len += json_quote(l->p + l->len, room < shown ? room : shown, s);
	add(l, "\"", 1);
}

static void add_number(struct line *l, const char *key, uint64_t v)
{
	add_key(l, key);
	add_u64(l, v, 1);
}

static void add_json_addr(struct line *l, const char *key, const struct net_addr *a)
{
	char text[NET_TEXT_MAX];
	struct slice s = {NULL, 0};

	if (a)
		s = (struct slice){text, net_addr_format(a, text)};
	add_string(l, key, s, sizeof(text));
}

static void add_json_head(struct line *l, const struct http_request *head)
{
	struct slice version = head->minor ? SLICE("HTTP/1.1") : SLICE("HTTP/1.0");

	if (!head->method_text.p)
		version = (struct slice){NULL, 0};
	add_string(l, "method", head->method_text, WORD_SHOWN);
	add_string(l, "target", head->target, TARGET_SHOWN);
	add_string(l, "version", version, WORD_SHOWN);
	add_string(l, "referer", head->known[HTTP_F_REFERER], VALUE_SHOWN);
	add_string(l, "user_agent", head->known[HTTP_F_USER_AGENT], VALUE_SHOWN);
}

/* The keys are always the same, and their values bounded: below LOG_LINE_MAX together. */
static void add_json(struct line *l, const struct access_log *al, const struct access_log_entry *e)
{
	static const struct http_request unknown;

	add(l, "{", 1);
	add_key(l, "time");
	add(l, "\"", 1);
	add(l, al->stamp, al->stamp_len);
	add(l, ".", 1);
	add_u64(l, e->wall_ns % NS_PER_S / NS_PER_MS, 3);
	add(l, "Z\"", 2);
	add_key(l, "pid");
	add(l, al->pid, strlen(al->pid));
	add_string(l, "request_id", e->id, WORD_SHOWN);
	add_json_addr(l, "client", e->client);
	add_json_addr(l, "peer", e->peer);
	add_json_head(l, e->head ? e->head : &unknown);
	add_number(l, "status", (uint64_t)e->status);
	add_number(l, "bytes", e->bytes);
	add_number(l, "duration_us", e->duration_us);
	add_string(l, "content_type", e->content_type, WORD_SHOWN);
	add(l, "}", 1);
}

size_t access_log_format(struct access_log *al, const struct access_log_entry *e, char *out,
			 size_t cap)
{
	struct line l = {out, 0, cap - 1}; /* room for the newline */

	if (cap < 2)
		return 0;
	stamp(al, e->wall_ns);
	if (al->json)
		add_json(&l, al, e);
	else
		for (size_t i = 0; i < al->nsteps; i++)
			add_step(&l, al, &al->steps[i], e);
	out[l.len++] = '\n';
	return l.len;
}
