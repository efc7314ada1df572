/* SPDX-License-Identifier: MIT */
/*
 * Three questions of those who watch over the server. /livez: is a process there that answers.
 * /readyz: shall it get requests. /health: how is it, and why. 503 only when it cannot serve: what
 * is merely lacking must not make an orchestrator restart what still answers.
 */
#include "status/status_priv.h"

enum result { PASS, WARN, FAIL };

static json_t *check(struct doc *d, json_t *checks, const char *name, enum result r)
{
	static const char *const words[] = {[PASS] = "pass", [WARN] = "warn", [FAIL] = "fail"};
	json_t *o = json_object();

	doc_text(d, o, "status", words[r]);
	doc_put(d, checks, name, o);
	return o;
}

static enum result check_workers(struct doc *d, json_t *checks, const struct status_view *v)
{
	enum result r = v->ready == 0 ? FAIL : v->ready < v->wanted || v->lame > 0 ? WARN : PASS;
	json_t *o = check(d, checks, "workers", r);

	doc_int(d, o, "ready", v->ready);
	doc_int(d, o, "wanted", v->wanted);
	doc_int(d, o, "booting", v->booting);
	doc_int(d, o, "draining", v->draining);
	doc_int(d, o, "stuck", v->lame);
	return r;
}

static enum result check_keeper(struct doc *d, json_t *checks, const struct status_view *v)
{
	enum result r = v->has_keeper && (v->keeper == ST_READY || v->keeper == ST_BOOTING) ?
			PASS : WARN;
	json_t *o = check(d, checks, "keeper", r);

	doc_text(d, o, "state", v->has_keeper ? status_state_name(v->keeper) : "missing");
	return r;
}

static enum result check_reload(struct doc *d, json_t *checks, const struct status_view *v)
{
	enum result r = v->has_reload_error ? WARN : PASS;
	json_t *o = check(d, checks, "reload", r);

	doc_text(d, o, "last_error", v->has_reload_error ? v->reload_error.text : NULL);
	return r;
}

bool status_make_health(const struct heritage *h, struct strbuf *out, int *status)
{
	static const char *const words[] = {
		[PASS] = "healthy", [WARN] = "degraded", [FAIL] = "unhealthy"
	};
	json_t *root = json_object(), *checks = json_object();
	struct doc d = {false};
	struct status_view v;
	enum result all, r;

	status_view(&v, h);
	all = check_workers(&d, checks, &v);
	r = check_keeper(&d, checks, &v);
	all = r > all ? r : all;
	r = check_reload(&d, checks, &v);
	all = r > all ? r : all;
	if (all == FAIL)
		*status = 503;
	doc_text(&d, root, "status", words[all]);
	doc_real(&d, root, "uptime_seconds", (double)v.uptime_ns / 1e9);
	doc_put(&d, root, "checks", checks);
	return doc_end(&d, root, out);
}

bool status_make_livez(const struct heritage *h, struct strbuf *out, int *status)
{
	(void)h;
	(void)status;
	strbuf_puts(out, "{\"status\":\"alive\"}\n");
	return !out->failed;
}

bool status_make_readyz(const struct heritage *h, struct strbuf *out, int *status)
{
	uint32_t state = shm_get(&h->shm->inst->state);
	struct status_view v;
	const char *why = NULL;

	status_view(&v, h);
	if (state == SHM_IN_STOP)
		why = "the server stops";
	else if (v.ready == 0)
		why = "no worker is ready";
	if (why) {
		*status = 503;
		strbuf_printf(out, "{\"status\":\"not_ready\",\"reason\":\"%s\"}\n", why);
	} else {
		strbuf_puts(out, "{\"status\":\"ready\"}\n");
	}
	return !out->failed;
}
