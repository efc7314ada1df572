/* SPDX-License-Identifier: MIT */
/*
 * Decoder of the chunked coding (RFC 9112, 7.1): one state per place in the grammar, so that a
 * body may be cut anywhere. Body data is handed out where it lies; nothing is copied.
 */
#include "http/http_priv.h"

#define LINE_MAX_LEN 4096 /* of a size line: size and extensions */
#define BODY_MAX INT64_MAX

enum state {
	SIZE_FIRST,  /* waits for the first digit of a size */
	SIZE,        /* more digits, an extension, or the end of the line */
	EXT_SPACE,   /* white space: another extension must follow */
	EXT_START,   /* behind ";" */
	EXT_NAME,
	EXT_EQUALS,  /* white space behind a name: "=" or ";" must follow */
	EXT_VALUE,   /* behind "=" */
	EXT_TOKEN,
	EXT_QUOTED,
	EXT_ESCAPED, /* behind "\" in a quoted string */
	EXT_END,     /* behind the closing quote */
	SIZE_LF,
	DATA,
	DATA_CR,
	DATA_LF,
	TRAILER,     /* begin of a trailer field or of the last line */
	NAME,
	VALUE,
	VALUE_LF,
	LAST_LF,
};

/* Fields that must not come behind the body whose length they speak of, or choose the server. */
static const char *const forbidden[] = { "content-length", "transfer-encoding", "host" };
#define FORBIDDEN_N (sizeof(forbidden) / sizeof(forbidden[0]))

/* Behind an extension, or where one may begin: what the line goes on with. */
static int after_item(char b)
{
	if (b == '\r')
		return SIZE_LF;
	if (b == ';')
		return EXT_START;
	return b == ' ' || b == '\t' ? EXT_SPACE : -1;
}

static bool add_digit(struct http_chunked *c, char b)
{
	if (!(class_of(b) & C_HEX) || c->left >> 59)
		return false;
	c->left = c->left << 4 | hex_value(b);
	return true;
}

/* One byte of a size line: the next state, or -1. */
static int step_size(struct http_chunked *c, char b)
{
	uint8_t class = class_of(b);
	bool space = b == ' ' || b == '\t';

	switch ((enum state)c->state) {
	case SIZE_FIRST:
		return add_digit(c, b) ? SIZE : -1;
	case SIZE:
		return add_digit(c, b) ? SIZE : after_item(b);
	case EXT_SPACE:
		return space ? EXT_SPACE : b == ';' ? EXT_START : -1;
	case EXT_START:
		return space ? EXT_START : class & C_TOKEN ? EXT_NAME : -1;
	case EXT_NAME:
		if (class & C_TOKEN)
			return EXT_NAME;
		return b == '=' ? EXT_VALUE : space ? EXT_EQUALS : after_item(b);
	case EXT_EQUALS:
		return space ? EXT_EQUALS : b == '=' ? EXT_VALUE : b == ';' ? EXT_START : -1;
	case EXT_VALUE:
		if (b == '"')
			return EXT_QUOTED;
		return space ? EXT_VALUE : class & C_TOKEN ? EXT_TOKEN : -1;
	case EXT_TOKEN:
		return class & C_TOKEN ? EXT_TOKEN : after_item(b);
	case EXT_QUOTED:
		if (b == '"')
			return EXT_END;
		return b == '\\' ? EXT_ESCAPED : class & C_VALUE ? EXT_QUOTED : -1;
	case EXT_ESCAPED:
		return class & C_VALUE ? EXT_QUOTED : -1;
	case EXT_END:
		return after_item(b);
	default: /* SIZE_LF */
		return b != '\n' ? -1 : c->left > 0 ? DATA : TRAILER;
	}
}

static enum http_err read_size(struct http_chunked *c, char b)
{
	int next;

	if (++c->line_len > LINE_MAX_LEN)
		return HTTP_E_BAD_CHUNK;
	next = step_size(c, b);
	if (next < 0 || (next == DATA && c->left > BODY_MAX - c->total))
		return HTTP_E_BAD_CHUNK;
	if (next == TRAILER)
		c->line_len = 0;
	c->state = (uint8_t)next;
	return HTTP_OK;
}

/* Byte `i` of a trailer field's name: drops the forbidden names that it does not match. */
static void match_name(struct http_chunked *c, size_t i, char b)
{
	for (size_t k = 0; k < FORBIDDEN_N; k++)
		if (i >= strlen(forbidden[k]) || forbidden[k][i] != (b | 0x20))
			c->maybe &= (uint8_t)~(1u << k);
}

static bool name_forbidden(const struct http_chunked *c, size_t len)
{
	for (size_t k = 0; k < FORBIDDEN_N; k++)
		if ((c->maybe >> k & 1) && len == strlen(forbidden[k]))
			return true;
	return false;
}

static int step_trailer(struct http_chunked *c, char b)
{
	switch ((enum state)c->state) {
	case TRAILER:
		if (b == '\r')
			return LAST_LF;
		c->maybe = (1u << FORBIDDEN_N) - 1;
		c->line_len = 0;
		__attribute__((fallthrough));
	case NAME:
		if (class_of(b) & C_TOKEN) {
			match_name(c, c->line_len, b);
			return NAME;
		}
		return b == ':' && c->line_len > 0 && !name_forbidden(c, c->line_len) ? VALUE : -1;
	case VALUE:
		return b == '\r' ? VALUE_LF : class_of(b) & C_VALUE ? VALUE : -1;
	case VALUE_LF:
		return b == '\n' ? TRAILER : -1;
	default: /* LAST_LF */
		return b == '\n' ? LAST_LF : -1;
	}
}

static enum http_err read_trailer(struct http_chunked *c, const struct http_limits *limits, char b)
{
	bool first = c->state == TRAILER;
	int next = step_trailer(c, b);

	if (next < 0)
		return HTTP_E_BAD_TRAILER;
	if (next == LAST_LF) {
		c->done = c->state == LAST_LF;
	} else if (next == NAME || next == VALUE) {
		if (first)
			c->trailers++;
		c->line_len++;
	}
	c->state = (uint8_t)next;
	if (++c->trailer_bytes > limits->head_max || c->trailers > limits->fields_max ||
	    c->line_len > limits->field_size_max)
		return HTTP_E_TRAILERS_TOO_LARGE;
	return HTTP_OK;
}

/* CR LF behind a chunk. */
static enum http_err read_data_end(struct http_chunked *c, char b)
{
	if (b != (c->state == DATA_CR ? '\r' : '\n'))
		return HTTP_E_BAD_CHUNK;
	c->line_len = 0;
	c->state = c->state == DATA_CR ? DATA_LF : SIZE_FIRST;
	return HTTP_OK;
}

static size_t take_data(struct http_chunked *c, const char *p, size_t len, struct slice *ret_data)
{
	size_t n = len < c->left ? len : (size_t)c->left;

	*ret_data = (struct slice){p, n};
	c->left -= n;
	c->total += n;
	if (c->left == 0)
		c->state = DATA_CR;
	return n;
}

enum http_err http_chunked_read(struct http_chunked *c, const struct http_limits *limits,
				const char *buf, size_t len, size_t *ret_used,
				struct slice *ret_data)
{
	enum http_err e = HTTP_OK;
	size_t i = 0;

	*ret_data = (struct slice){NULL, 0};
	while (i < len && !c->done && !e) {
		if (c->state == DATA) {
			i += take_data(c, buf + i, len - i, ret_data);
			break;
		}
		if (c->state < DATA)
			e = read_size(c, buf[i]);
		else if (c->state < TRAILER)
			e = read_data_end(c, buf[i]);
		else
			e = read_trailer(c, limits, buf[i]);
		i++;
	}
	*ret_used = i;
	return e;
}
