/* SPDX-License-Identifier: MIT */
/*
 * A JSON API with path parameters, a body, errors, settings and metrics. Notes live in the memory of
 * one worker: start it with --workers 1, or read docs/MODULES.md on what workers share.
 *
 *   GET /notes          POST /notes {"text": "..."}
 *   GET /notes/{id}     DELETE /notes/{id}
 */
#define _POSIX_C_SOURCE 200809L /* strdup() */
#include <capricorn.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define NOTES_MAX 1000

struct notes {
	size_t limit;
	unsigned next_id, n;
	struct note {
		unsigned id; /* 0: free */
		char *text;
	} note[NOTES_MAX];
	struct capri_metric *created, *held;
};

static struct notes *notes_of(struct capri_request *r)
{
	return capri_data(capri_worker_of(r));
}

/* Answers with a JSON value and gives it back. */
static int respond(struct capri_request *r, int status, json_t *value)
{
	char *text = json_dumps(value, JSON_COMPACT);

	json_decref(value);
	if (!text)
		return CAPRI_E_NOMEM;
	return capri_respond_ref(r, status, "application/json", text, strlen(text), free, text);
}

static json_t *note_json(const struct note *n)
{
	return json_pack("{s:i, s:s}", "id", (int)n->id, "text", n->text);
}

static struct note *find(struct capri_request *r)
{
	struct capri_str id = capri_param(r, "id");
	struct notes *all = notes_of(r);
	char *end, *text = capri_dup(r, id);
	unsigned long want = text ? strtoul(text, &end, 10) : 0;

	if (want == 0 || *end != '\0')
		return NULL;
	for (size_t i = 0; i < NOTES_MAX; i++)
		if (all->note[i].id == want)
			return &all->note[i];
	return NULL;
}

static int list(struct capri_request *r, void *arg)
{
	struct notes *all = notes_of(r);
	json_t *array = json_array();

	(void)arg;
	for (size_t i = 0; i < NOTES_MAX; i++)
		if (all->note[i].id)
			json_array_append_new(array, note_json(&all->note[i]));
	return respond(r, 200, array);
}

static int show(struct capri_request *r, void *arg)
{
	const struct note *n = find(r);

	(void)arg;
	return n ? respond(r, 200, note_json(n)) : capri_problem(r, 404, "There is no such note.");
}

static int create(struct capri_request *r, void *arg)
{
	struct notes *all = notes_of(r);
	struct capri_str body = capri_body(r);
	json_error_t err;
	json_t *doc = json_loadb(body.p, body.len, 0, &err);
	const char *text = json_string_value(json_object_get(doc, "text"));
	struct note *n = all->note;
	char *copy = NULL;
	int rc;

	(void)arg;
	if (!doc)
		rc = capri_problem(r, 400, capri_format(r, "The body is no JSON: %s", err.text).p);
	else if (!text)
		rc = capri_problem(r, 422, "\"text\" is missing, or is no string.");
	else if (all->n >= all->limit)
		rc = capri_problem(r, 507, "There is no room for another note.");
	else if (!(copy = strdup(text)))
		rc = CAPRI_E_NOMEM;
	else {
		while (n->id)
			n++;
		*n = (struct note){++all->next_id, copy};
		all->n++;
		capri_counter_add(all->created, 1);
		capri_gauge_add(all->held, 1);
		capri_set_header(r, "Location", capri_format(r, "/notes/%u", n->id).p);
		rc = respond(r, 201, note_json(n));
	}
	json_decref(doc);
	return rc;
}

static int delete_note(struct capri_request *r, void *arg)
{
	struct notes *all = notes_of(r);
	struct note *n = find(r);

	(void)arg;
	if (!n)
		return capri_problem(r, 404, "There is no such note.");
	free(n->text);
	*n = (struct note){0};
	all->n--;
	capri_gauge_add(all->held, -1);
	return capri_respond(r, 204, NULL, NULL, 0);
}

static int start(struct capri_worker *w)
{
	struct notes *all = calloc(1, sizeof(*all));
	struct capri_str limit = capri_setting(w, "limit");

	if (!all)
		return CAPRI_E_NOMEM;
	all->limit = limit.p ? strtoul(limit.p, NULL, 10) : 100;
	if (all->limit > NOTES_MAX)
		all->limit = NOTES_MAX;
	all->created = capri_counter(w, "notes_created_total", NULL, "Notes created.");
	all->held = capri_gauge(w, "notes_held", NULL, "Notes there are.");
	capri_set_data(w, all);
	return 0;
}

static void stop(struct capri_worker *w)
{
	struct notes *all = capri_data(w);

	for (size_t i = 0; i < NOTES_MAX; i++)
		free(all->note[i].text);
	free(all);
}

static const struct capri_route routes[] = {
	{"GET", "/notes", list, .kind = CAPRI_INLINE},
	{"POST", "/notes", create, .kind = CAPRI_INLINE},
	{"GET", "/notes/{id}", show, .kind = CAPRI_INLINE},
	{"DELETE", "/notes/{id}", delete_note, .kind = CAPRI_INLINE},
	{0}
};
const struct capri_app capricorn_app = {
	CAPRI_APP_INIT, .name = "notes", .routes = routes, .start = start, .stop = stop,
};
