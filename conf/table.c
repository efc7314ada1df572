/* SPDX-License-Identifier: MIT */
/*
 * The table in memory, and how rows are found by the names that users give them. Read only.
 */
#include "conf/conf_priv.h"

#include <ctype.h>

#include "base/check.h"

#define SETTING(n, f, t, ...)                                                                  \
	[CONF_R_##n] = {.name = #n, .key = #f, .type = CONF_T_##t,                              \
			.offset = offsetof(struct settings, f), __VA_ARGS__},
const struct conf_row conf_rows[CONF_ROWS] = {
#include "conf/settings.def"
};
#undef SETTING

/* Values are read into these fields through their offset. */
_Static_assert(sizeof(enum log_level) == sizeof(int) && sizeof(enum log_format) == sizeof(int) &&
	       sizeof(enum conf_cache_policy) == sizeof(int),
	       "enumerated settings are kept as int");

const char *const *conf_type_words(enum conf_type type)
{
	static const char *const levels[] = {"debug", "info", "warning", "error", "critical", NULL};
	static const char *const formats[] = {"text", "json", NULL};
	static const char *const policies[] = {"lru", "lfu", "fifo", NULL};
	static const char *const holds[] = {"answer", "work", NULL};
	static const char *const algorithms[] = {"token_bucket", "sliding_window", NULL};
	static const char *const full[] = {"deny", "allow", NULL};
	static const char *const modes[] = {"enforce", "shadow", NULL};
	static const char *const access[] = {"open", "status", NULL};
	static const char *const from[] = {"trusted", "any", NULL};
	static const char *const classes[] = {"high", "medium", "low", NULL};

	switch (type) {
	case CONF_T_LEVEL: return levels;
	case CONF_T_LOGFORMAT: return formats;
	case CONF_T_POLICY: return policies;
	case CONF_T_HOLD: return holds;
	case CONF_T_ALGORITHM: return algorithms;
	case CONF_T_WHEN_FULL: return full;
	case CONF_T_RATE_MODE: return modes;
	case CONF_T_ACCESS: return access;
	case CONF_T_FROM: return from;
	case CONF_T_CLASS: return classes;
	default: return NULL;
	}
}

/* Is `word` one of the words of a list separated by spaces? */
static bool in_list(const char *list, struct slice word, bool nocase)
{
	for (const char *p = list; p && *p; ) {
		struct slice w = {p, strcspn(p, " ")};

		if (nocase ? slice_eq_nocase(w, word) : slice_eq(w, word))
			return true;
		p += w.len + strspn(p + w.len, " ");
	}
	return false;
}

static bool has_upper(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (isupper((unsigned char)s.p[i]))
			return true;
	return false;
}

const struct conf_row *conf_row_by_name(struct slice variable)
{
	for (size_t i = 0; i < CONF_ROWS; i++)
		if (slice_eq(slice_of(conf_rows[i].name), variable) ||
		    in_list(conf_rows[i].aliases, variable, false))
			return &conf_rows[i];
	return NULL;
}

const struct conf_row *conf_row_by_key(struct slice key)
{
	if (has_upper(key))
		return NULL;
	for (size_t i = 0; i < CONF_ROWS; i++)
		if (slice_eq(slice_of(conf_rows[i].key), key) ||
		    in_list(conf_rows[i].aliases, key, true))
			return &conf_rows[i];
	return NULL;
}

/* "--web-workers" for the key web_workers. */
static bool is_own_flag(const struct conf_row *row, struct slice flag)
{
	size_t len = strlen(row->key);

	if (flag.len != len + 2 || memcmp(flag.p, "--", 2) != 0)
		return false;
	for (size_t i = 0; i < len; i++)
		if (flag.p[i + 2] != (row->key[i] == '_' ? '-' : row->key[i]))
			return false;
	return true;
}

const struct conf_row *conf_row_by_flag(struct slice flag)
{
	for (size_t i = 0; i < CONF_ROWS; i++) {
		const struct conf_row *row = &conf_rows[i];

		if (row->flags && row->flags[0] == '\0')
			continue;
		if (in_list(row->flags, flag, false) || is_own_flag(row, flag))
			return row;
	}
	return NULL;
}

void conf_own_flag(const struct conf_row *row, struct strbuf *out)
{
	strbuf_puts(out, "--");
	for (const char *p = row->key; *p; p++)
		strbuf_add(out, *p == '_' ? "-" : p, 1);
}

/* ---- the nearest right name ---- */

#define WORD_MAX 48 /* of what is compared; no name is longer */

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;

	return m < c ? m : c;
}

/* Steps (insert, delete, replace, swap of neighbours) from one word to the other, without case. */
static unsigned distance(struct slice a, struct slice b)
{
	unsigned row[3][WORD_MAX + 1];
	unsigned *before = row[0], *last = row[1], *cur = row[2], *spare;
	size_t i, j;

	for (j = 0; j <= b.len; j++)
		last[j] = (unsigned)j;
	for (i = 1; i <= a.len; i++) {
		cur[0] = (unsigned)i;
		for (j = 1; j <= b.len; j++) {
			int x = tolower((unsigned char)a.p[i - 1]);
			int y = tolower((unsigned char)b.p[j - 1]);

			cur[j] = min3(last[j] + 1, cur[j - 1] + 1, last[j - 1] + (x != y));
			if (i > 1 && j > 1 && before[j - 2] + 1 < cur[j] &&
			    x == tolower((unsigned char)b.p[j - 2]) &&
			    y == tolower((unsigned char)a.p[i - 2]))
				cur[j] = before[j - 2] + 1;
		}
		spare = before;
		before = last;
		last = cur;
		cur = spare;
	}
	return last[b.len];
}

/* Is `candidate` nearer than *best? A third of a word may be wrong; more is another word. */
static bool nearer(struct slice word, const char *candidate, unsigned *best)
{
	struct slice c = slice_of(candidate);
	unsigned d;

	if (word.len > WORD_MAX || c.len > WORD_MAX)
		return false;
	d = distance(word, c);
	if (d > (word.len < 4 ? 1 : word.len / 3) || d >= *best)
		return false;
	*best = d;
	return true;
}

const char *conf_nearest(struct slice word, const char *const *words)
{
	const char *found = NULL;
	unsigned best = ~0u;

	for (; *words; words++)
		if (nearer(word, *words, &best))
			found = *words;
	return found;
}

/* The long flags of a row one after the other; false when there is none more. */
static bool next_flag(const char **p, char out[WORD_MAX + 1])
{
	while (**p) {
		size_t len = strcspn(*p, " ");
		const char *flag = *p;

		*p += len + strspn(*p + len, " ");
		if (len <= 2 || len > WORD_MAX)
			continue;
		memcpy(out, flag, len);
		out[len] = '\0';
		return true;
	}
	return false;
}

static void nearest_flag(struct slice word, const struct conf_row *row, unsigned *best,
			 struct strbuf *out)
{
	const char *p = row->flags ? row->flags : "";
	char flag[WORD_MAX + 1];
	struct strbuf own;

	if (row->flags && row->flags[0] == '\0')
		return;
	while (next_flag(&p, flag))
		if (nearer(word, flag, best)) {
			strbuf_clear(out);
			strbuf_puts(out, flag);
		}
	strbuf_init(&own);
	conf_own_flag(row, &own);
	if (own.p && nearer(word, own.p, best)) {
		strbuf_clear(out);
		strbuf_puts(out, own.p);
	}
	strbuf_fini(&own);
}

/* People know settings by their flags: who writes the key `workers` means that of --workers. */
static const struct conf_row *row_of_flag_named(struct slice word)
{
	char flag[WORD_MAX + 3] = "--";

	if (word.len > WORD_MAX)
		return NULL;
	for (size_t i = 0; i < word.len; i++)
		flag[2 + i] = word.p[i] == '_' ? '-' : (char)tolower((unsigned char)word.p[i]);
	return conf_row_by_flag((struct slice){flag, word.len + 2});
}

bool conf_nearest_row(struct slice word, enum conf_naming how, struct strbuf *out)
{
	unsigned best = ~0u;

	const struct conf_row *known = how == CONF_BY_FLAG ? NULL : row_of_flag_named(word);

	strbuf_clear(out);
	if (known) {
		strbuf_puts(out, how == CONF_BY_KEY ? known->key : known->name);
		return out->len > 0;
	}
	for (size_t i = 0; i < CONF_ROWS; i++) {
		const struct conf_row *row = &conf_rows[i];
		const char *name = how == CONF_BY_KEY ? row->key : row->name;

		if (how == CONF_BY_FLAG) {
			nearest_flag(word, row, &best, out);
		} else if (nearer(word, name, &best)) {
			strbuf_clear(out);
			strbuf_puts(out, name);
		}
	}
	return out->len > 0;
}
