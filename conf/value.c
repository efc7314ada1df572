/* SPDX-License-Identifier: MIT */
/*
 * Values and their texts: reading, writing, comparing, copying. What a text means is decided by the
 * type of the row alone, wherever the text came from.
 */
#include "conf/conf_priv.h"

#include <ctype.h>
#include <inttypes.h>

#include "base/json.h"

#define QUOTE_MAX 80u /* of a value in a message */
#define TEXT_LEN_MAX 4000u

/* ---- numbers ---- */

struct unit {
	const char *word;
	int64_t factor;
};

static const struct unit times[] = {
	{"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}, {NULL, 0},
};
static const struct unit sizes[] = {
	{"g", 1 << 30}, {"m", 1 << 20}, {"k", 1 << 10}, {NULL, 0},
};

/* Decimal digits at the start of *t, which moves on. False if there is none or too many. */
static bool read_digits(struct slice *t, int64_t *ret)
{
	int64_t n = 0;
	size_t i;

	for (i = 0; i < t->len && isdigit((unsigned char)t->p[i]); i++)
		if (__builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, t->p[i] - '0', &n))
			return false;
	if (i == 0)
		return false;
	*t = (struct slice){t->p + i, t->len - i};
	*ret = n;
	return true;
}

/* ".5" as thousandths: 500. At most three digits. */
static bool read_fraction(struct slice *t, int64_t *ret)
{
	int64_t n = 0;
	size_t i;

	*ret = 0;
	if (t->len == 0 || t->p[0] != '.')
		return true;
	for (i = 1; i < t->len && isdigit((unsigned char)t->p[i]); i++)
		n = i <= 3 ? n * 10 + (t->p[i] - '0') : n;
	if (i == 1 || i > 4)
		return false;
	for (size_t k = i; k < 4; k++)
		n *= 10;
	*t = (struct slice){t->p + i, t->len - i};
	*ret = n;
	return true;
}

static bool parse_duration(struct slice t, int64_t *ret)
{
	int64_t n, thousandths, factor = 1000, whole;
	const struct unit *u;

	if (!read_digits(&t, &n) || !read_fraction(&t, &thousandths))
		return false;
	if (t.len > 0) {
		for (u = times; u->word && !slice_eq_nocase(t, slice_of(u->word)); u++)
			;
		if (!u->word)
			return false;
		factor = u->factor;
	}
	if (thousandths * factor % 1000 != 0 || __builtin_mul_overflow(n, factor, &whole))
		return false;
	return !__builtin_add_overflow(whole, thousandths * factor / 1000, ret);
}

static bool parse_size(struct slice t, int64_t *ret)
{
	const struct unit *u;
	int64_t n;

	if (!read_digits(&t, &n))
		return false;
	if (t.len > 0 && (t.p[t.len - 1] == 'b' || t.p[t.len - 1] == 'B'))
		t.len--;
	if (t.len == 0) {
		*ret = n;
		return true;
	}
	for (u = sizes; u->word && !slice_eq_nocase(t, slice_of(u->word)); u++)
		;
	return u->word && !__builtin_mul_overflow(n, u->factor, ret);
}

static bool parse_octal(struct slice t, int64_t *ret)
{
	int64_t n = 0;

	if (t.len > 2 && t.p[0] == '0' && (t.p[1] == 'o' || t.p[1] == 'O'))
		t = (struct slice){t.p + 2, t.len - 2};
	if (t.len == 0 || t.len > 6)
		return false;
	for (size_t i = 0; i < t.len; i++) {
		if (t.p[i] < '0' || t.p[i] > '7')
			return false;
		n = n * 8 + (t.p[i] - '0');
	}
	*ret = n;
	return true;
}

static bool parse_number(const struct conf_row *row, struct slice t, int64_t *ret)
{
	int64_t n;
	bool ok;

	if (row->def && strcmp(row->def, "auto") == 0 && slice_eq_nocase(t, SLICE("auto"))) {
		*ret = CONF_UNSET;
		return true;
	}
	switch (row->type) {
	case CONF_T_DURATION:
		ok = parse_duration(t, &n);
		break;
	case CONF_T_SIZE:
		ok = parse_size(t, &n);
		break;
	case CONF_T_MODE:
		ok = parse_octal(t, &n);
		break;
	default:
		ok = read_digits(&t, &n) && t.len == 0;
		break;
	}
	if (!ok || n < row->min || n > row->max)
		return false;
	*ret = n;
	return true;
}

/* ---- words ---- */

static bool parse_bool(struct slice t, bool *ret)
{
	static const char *const yes[] = {"true", "yes", "on", "1", NULL};
	static const char *const no[] = {"false", "no", "off", "0", NULL};

	for (size_t i = 0; yes[i]; i++) {
		if (slice_eq_nocase(t, slice_of(yes[i])) || slice_eq_nocase(t, slice_of(no[i]))) {
			*ret = slice_eq_nocase(t, slice_of(yes[i]));
			return true;
		}
	}
	return false;
}

static bool parse_word(enum conf_type type, struct slice t, int *ret)
{
	const char *const *words = conf_type_words(type);

	for (int i = 0; words[i]; i++)
		if (slice_eq_nocase(t, slice_of(words[i]))) {
			*ret = i;
			return true;
		}
	return false;
}

/* ---- what was expected ---- */

void conf_number_format(enum conf_type type, int64_t n, struct strbuf *out)
{
	const struct unit *u = type == CONF_T_DURATION ? times : type == CONF_T_SIZE ? sizes : NULL;

	if (type == CONF_T_MODE) {
		strbuf_printf(out, "%04" PRIo64, (uint64_t)n);
		return;
	}
	for (; n != 0 && u && u->word; u++)
		if (n % u->factor == 0) {
			strbuf_printf(out, "%" PRId64 "%s", n / u->factor, u->word);
			return;
		}
	strbuf_printf(out, "%" PRId64, n);
}

void conf_range_format(const struct conf_row *row, struct strbuf *out)
{
	if (row->max == 0)
		return;
	strbuf_puts(out, "from ");
	conf_number_format(row->type, row->min, out);
	strbuf_puts(out, " to ");
	conf_number_format(row->type, row->max, out);
}

static void expect_words(const struct conf_row *row, struct slice text, struct strbuf *why)
{
	const char *const *words = conf_type_words(row->type);
	const char *near = conf_nearest(text, words);

	strbuf_puts(why, "is not one of ");
	for (size_t i = 0; words[i]; i++)
		strbuf_printf(why, "%s%s", i ? ", " : "", words[i]);
	if (near)
		strbuf_printf(why, "; did you mean %s?", near);
}

static void expect(const struct conf_row *row, struct slice text, struct strbuf *why)
{
	static const char *const kinds[] = {
		[CONF_T_INT] = "a whole number ", [CONF_T_DURATION] = "a duration ",
		[CONF_T_SIZE] = "a size ", [CONF_T_MODE] = "an octal number ",
	};
	static const char *const forms[] = {
		[CONF_T_INT] = "", [CONF_T_DURATION] = " (500ms, 30s, 5m, 1h, or plain seconds)",
		[CONF_T_SIZE] = " (64k, 256m, 2g, or plain bytes)", [CONF_T_MODE] = "",
	};

	if (conf_type_words(row->type)) {
		expect_words(row, text, why);
	} else if (row->type == CONF_T_BOOL) {
		strbuf_puts(why, "is not a boolean (true, false, yes, no, on, off, 1 or 0)");
	} else {
		strbuf_printf(why, "is not %s", kinds[row->type]);
		conf_range_format(row, why);
		strbuf_puts(why, forms[row->type]);
		if (row->def && strcmp(row->def, "auto") == 0)
			strbuf_puts(why, " and not auto");
	}
}

void conf_quote(struct strbuf *out, struct slice t)
{
	size_t i = 0, n;

	strbuf_puts(out, "\"");
	while (i < t.len && i < QUOTE_MAX) {
		unsigned char c = (unsigned char)t.p[i];

		n = json_utf8_len((const unsigned char *)t.p + i, t.len - i);
		if (n == 1 && c >= 0x20 && c != 0x7f) {
			strbuf_add(out, t.p + i, 1);
		} else if (n > 1 && !(c == 0xc2 && (unsigned char)t.p[i + 1] < 0xa0)) {
			strbuf_add(out, t.p + i, n);
		} else {
			strbuf_printf(out, "\\x%02x", c);
			n = 1;
		}
		i += n;
	}
	strbuf_puts(out, i < t.len ? "...\"" : "\"");
}

/* ---- texts ---- */

char *conf_string_parse(struct conf *c, const struct conf_row *row, struct slice t,
			struct strbuf *why)
{
	char *copy;

	for (size_t i = 0; i < t.len; i++)
		if ((unsigned char)t.p[i] < 0x20 || t.p[i] == 0x7f) {
			strbuf_puts(why, "has a control character in it");
			return NULL;
		}
	if (t.len > TEXT_LEN_MAX) {
		strbuf_printf(why, "is longer than %u bytes", TEXT_LEN_MAX);
		return NULL;
	}
	copy = conf_strndup(c, t.p, t.len);
	if (!copy) {
		strbuf_puts(why, "finds no memory");
		return NULL;
	}
	return !row->check || row->check(copy, why) ? copy : NULL;
}

static bool add_item(struct conf *c, struct conf_list *list, const char *text)
{
	const char **item = conf_alloc(c, (list->n + 1) * sizeof(*item));

	if (!item)
		return false;
	if (list->n > 0)
		memcpy(item, list->item, list->n * sizeof(*item));
	item[list->n] = text;
	list->item = item;
	list->n++;
	return true;
}

static bool parse_text(struct conf *c, const struct conf_row *row, struct slice t,
		       struct settings *s, struct strbuf *why)
{
	char *copy;

	if (row->type == CONF_T_TEXT && row->def && strcmp(row->def, "off") == 0 &&
	    slice_eq_nocase(t, SLICE("off"))) {
		*conf_text_field(row, s) = NULL;
		return true;
	}
	copy = conf_string_parse(c, row, t, why);
	if (!copy)
		return false;
	if (row->type == CONF_T_TEXT) {
		*conf_text_field(row, s) = copy;
		return true;
	}
	if (!add_item(c, conf_list_field(row, s), copy)) {
		strbuf_puts(why, "finds no memory");
		return false;
	}
	return true;
}

bool conf_number_parse(const struct conf_row *row, struct slice text, int64_t *ret,
		       struct strbuf *why)
{
	bool ok, yes;
	int word;

	if (conf_type_words(row->type)) {
		ok = parse_word(row->type, text, &word);
		if (ok)
			*ret = word;
	} else if (row->type == CONF_T_BOOL) {
		ok = parse_bool(text, &yes);
		if (ok)
			*ret = yes;
	} else {
		ok = parse_number(row, text, ret);
	}
	if (!ok)
		expect(row, text, why);
	return ok;
}

bool conf_value_parse(struct conf *c, const struct conf_row *row, struct slice text,
		      struct settings *s, struct strbuf *why)
{
	char *field = (char *)s + row->offset;
	bool ok;

	switch (row->type) {
	case CONF_T_TEXT:
	case CONF_T_LIST:
		return parse_text(c, row, text, s, why);
	case CONF_T_BOOL:
		ok = parse_bool(text, (bool *)field);
		break;
	case CONF_T_LEVEL:
	case CONF_T_LOGFORMAT:
	case CONF_T_POLICY:
		ok = parse_word(row->type, text, (int *)field);
		break;
	default:
		ok = parse_number(row, text, (int64_t *)field);
		break;
	}
	if (!ok)
		expect(row, text, why);
	return ok;
}

/* ---- all types: compare, copy, write ---- */

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

bool conf_value_equal(const struct conf_row *row, const struct settings *a,
		      const struct settings *b)
{
	const struct conf_list *la, *lb;

	switch (row->type) {
	case CONF_T_TEXT:
		return same_text(*conf_text_field(row, a), *conf_text_field(row, b));
	case CONF_T_LIST:
		la = conf_list_field(row, a);
		lb = conf_list_field(row, b);
		if (la->n != lb->n)
			return false;
		for (size_t i = 0; i < la->n; i++)
			if (!same_text(la->item[i], lb->item[i]))
				return false;
		return true;
	case CONF_T_BOOL:
		return *(const bool *)((const char *)a + row->offset) ==
		       *(const bool *)((const char *)b + row->offset);
	case CONF_T_LEVEL:
	case CONF_T_LOGFORMAT:
	case CONF_T_POLICY:
		return *(const int *)((const char *)a + row->offset) ==
		       *(const int *)((const char *)b + row->offset);
	default:
		return *conf_int_field(row, a) == *conf_int_field(row, b);
	}
}

static bool copy_text(struct conf *c, const char **to, const char *from)
{
	const char *copy = from ? conf_strndup(c, from, strlen(from)) : NULL;

	if (from && !copy)
		return false;
	*to = copy;
	return true;
}

static bool copy_list(struct conf *c, struct conf_list *to, const struct conf_list *from)
{
	struct conf_list list = {0};

	for (size_t i = 0; i < from->n; i++) {
		const char *text;

		if (!copy_text(c, &text, from->item[i]) || !add_item(c, &list, text))
			return false;
	}
	*to = list;
	return true;
}

bool conf_value_copy(struct conf *c, const struct conf_row *row, struct settings *to,
		     const struct settings *from)
{
	size_t size;

	switch (row->type) {
	case CONF_T_TEXT:
		return copy_text(c, conf_text_field(row, to), *conf_text_field(row, from));
	case CONF_T_LIST:
		return copy_list(c, conf_list_field(row, to), conf_list_field(row, from));
	case CONF_T_BOOL:
		size = sizeof(bool);
		break;
	case CONF_T_LEVEL:
	case CONF_T_LOGFORMAT:
	case CONF_T_POLICY:
		size = sizeof(int);
		break;
	default:
		size = sizeof(int64_t);
		break;
	}
	memcpy((char *)to + row->offset, (const char *)from + row->offset, size);
	return true;
}

static void format_list(const struct conf_list *list, struct strbuf *out)
{
	for (size_t i = 0; i < list->n; i++)
		strbuf_printf(out, "%s%s", i ? "," : "", list->item[i]);
}

void conf_value_format(const struct conf_row *row, const struct settings *s, struct strbuf *out)
{
	const char *field = (const char *)s + row->offset;
	const char *text;
	int64_t n;

	switch (row->type) {
	case CONF_T_TEXT:
		text = *conf_text_field(row, s);
		strbuf_puts(out, text ? text : row->def ? "off" : "none");
		break;
	case CONF_T_LIST:
		format_list(conf_list_field(row, s), out);
		break;
	case CONF_T_BOOL:
		strbuf_puts(out, *(const bool *)field ? "true" : "false");
		break;
	case CONF_T_LEVEL:
	case CONF_T_LOGFORMAT:
	case CONF_T_POLICY:
		strbuf_puts(out, conf_type_words(row->type)[*(const int *)field]);
		break;
	default:
		n = *conf_int_field(row, s);
		if (n == CONF_UNSET)
			strbuf_puts(out, row->def ? "auto" : "none");
		else
			conf_number_format(row->type, n, out);
	}
}
