/* SPDX-License-Identifier: MIT */
/*
 * A reload: what was fixed at the start stays, the rest of the new configuration applies.
 */
#include "conf/conf_priv.h"

#include <inttypes.h>

static bool is_default(const struct conf *c, size_t row)
{
	return c->priv->from[row].origin == CONF_DEFAULT;
}

/* A computed default that comes out differently is nobody's wish, and no reason for a note. */
static void note_kept(const struct conf *next, const struct conf *cur, size_t i,
		      struct conf_report *r)
{
	const struct conf_row *row = &conf_rows[i];
	struct strbuf was, is;

	if (is_default(next, i) && is_default(cur, i))
		return;
	strbuf_init(&was);
	strbuf_init(&is);
	conf_value_format(row, &cur->s, &was);
	conf_value_format(row, &next->s, &is);
	conf_note(r, "%s: %s instead of %s needs a restart or an upgrade", row->name,
		  is.p ? is.p : "", was.p ? was.p : "");
	strbuf_fini(&was);
	strbuf_fini(&is);
}

bool conf_carry_row(struct conf *next, const struct conf *cur, enum conf_row_id i)
{
	const struct conf_source *from = &cur->priv->from[i];
	const char *place = NULL;

	if (from->place) {
		place = conf_strndup(next, from->place, strlen(from->place));
		if (!place)
			return false;
	}
	if (!conf_value_copy(next, &conf_rows[i], &next->s, &cur->s))
		return false;
	next->priv->from[i] = (struct conf_source){.origin = from->origin, .place = place};
	return true;
}

static bool copy_bind(struct conf *next, struct conf_bind *to, const struct conf_bind *from)
{
	struct strbuf why;
	bool ok;

	strbuf_init(&why);
	ok = conf_bind_parse(next, from->text, to, &why);
	strbuf_fini(&why);
	return ok;
}

static bool keep_binds(struct conf *next, const struct conf *cur)
{
	struct conf_bind *binds = conf_alloc(next, (cur->nbinds + 1) * sizeof(*binds));
	struct conf_bind status = {.fd = -1};

	if (!binds || (cur->has_status_bind && !copy_bind(next, &status, &cur->status_bind)))
		return false;
	for (size_t i = 0; i < cur->nbinds; i++)
		if (!copy_bind(next, &binds[i], &cur->binds[i]))
			return false;
	next->binds = binds;
	next->nbinds = cur->nbinds;
	next->has_status_bind = cur->has_status_bind;
	next->status_bind = status;
	return true;
}

/* The slots of the segment were counted at the start. */
static void fit_workers(struct settings *s, struct conf_report *r)
{
	if (s->web_workers > s->workers_max) {
		conf_note(r, "WEB_WORKERS: %" PRId64 " instead of %" PRId64 ", since WORKERS_MAX "
			  "needs a restart or an upgrade", s->workers_max, s->web_workers);
		s->web_workers = s->workers_max;
	}
	if (s->workers_min > s->web_workers)
		s->workers_min = s->web_workers;
}

void conf_carry_over(struct conf *next, const struct conf *cur, struct conf_report *r)
{
	bool ok = true;

	for (size_t i = 0; i < CONF_ROWS; i++) {
		if (conf_rows[i].when != CONF_BOOT ||
		    conf_value_equal(&conf_rows[i], &next->s, &cur->s))
			continue;
		note_kept(next, cur, i, r);
		ok = conf_carry_row(next, cur, (enum conf_row_id)i) && ok;
	}
	ok = keep_binds(next, cur) && ok;
	next->cache_bytes = cur->cache_bytes;
	conf_fit_objects(next);
	ok = conf_carry_policy(next, cur, r) && ok;
	/* Nobody opens anything by these again: a text that was not copied does no harm. */
	if (!ok)
		conf_note(r, "out of memory: settings that stay as they are may be shown wrongly");
	fit_workers(&next->s, r);
}
