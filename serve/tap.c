/* SPDX-License-Identifier: MIT */
/* Who looks on while a request is answered; and what of its head may be hidden from its handler. */
#include "serve/serve_priv.h"

void request_tap(struct request *r, struct request_tap *t)
{
	t->next = r->taps;
	r->taps = t;
}

static void tell(struct request *r, struct request_view *v)
{
	char text[EXTRA_MAX + 256]; /* with what the coding adds */

	for (struct request_tap *t = r->taps; t; t = t->next) {
		struct http_out o = {.p = text, .cap = sizeof(text)};

		if (!t->head)
			continue;
		coding_put_fields(r, &o); /* anew: the one before may have added some */
		v->lines = (struct slice){text, o.len};
		v->coded = r->coding == CODING_GZIP;
		t->head(t, r, v);
	}
}

void tap_head(struct request *r, int *status, struct slice type, enum request_seen seen,
	      struct slice *body, int64_t *len)
{
	struct request_view v = {.status = *status, .type = type, .seen = seen, .len = *len};

	if (!r->taps)
		return;
	if (seen == SEEN_WHOLE)
		v.body = *body;
	tell(r, &v);
	if (v.status == *status || seen != SEEN_WHOLE)
		return;
	*status = v.status;
	*len = 0;
	body->len = 0;
	r->coding = CODING_NONE;
}

void tap_piece(const struct request *r, struct slice data)
{
	for (struct request_tap *t = r->taps; t; t = t->next)
		if (t->piece)
			t->piece(t, data);
}

void tap_end(struct request *r, bool whole)
{
	while (r->taps) {
		struct request_tap *t = r->taps;

		r->taps = t->next;
		if (t->end)
			t->end(t, r, whole);
	}
}

static void hide(struct http_request *h, enum http_known id, struct slice name)
{
	size_t n = 0;

	if (!h->known[id].p)
		return;
	for (size_t i = 0; i < h->nfields; i++)
		if (!slice_eq_nocase(h->fields[i].name, name))
			h->fields[n++] = h->fields[i];
	h->nfields = n;
	h->known[id] = (struct slice){NULL, 0};
	h->known_count[id] = 0;
}

void request_hide_conditions(struct request *r)
{
	hide(&r->head, HTTP_F_IF_NONE_MATCH, SLICE("If-None-Match"));
	hide(&r->head, HTTP_F_IF_MODIFIED_SINCE, SLICE("If-Modified-Since"));
}

bool request_takes_gzip(const struct request *r)
{
	return r->serve->gzip && http_request_accepts_gzip(&r->head);
}
