/* SPDX-License-Identifier: MIT */
/* What the documents say of the sections of the file: from their table, and one example for all. */
#include "conf/conf_priv.h"

const char conf_sections_example[] =
"semaphores:\n"
"  llm:\n"
"    queue: 100\n"
"    hold: work\n"
"    classes:\n"
"      high: {weight: 3}\n"
"      low: {weight: 1, queue: 20}\n"
"  render: {limit: 4, limit_max: 16, queue: 20, queue_timeout: 30s}\n"
"rate_limits:\n"
"  per_user: {algorithm: sliding_window, key: [\"header:X-API-Key\", client], rate: 60/m}\n"
"  drafts:\n"
"    paths:\n"
"      /drafts/new: {rate: 100/s, burst: 20}\n"
"defaults:\n"
"  rate_limits: [per_user]\n"
"  timeout: 120s\n"
"routes:\n"
"  - path: /v1/chat/completions\n"
"    name: chat\n"
"    methods: [POST]\n"
"    semaphores: [llm]\n"
"    priority: {header: X-Priority, from: trusted}\n"
"    timeout: 300s\n"
"  - path: /render/*\n"
"    semaphores: [{name: render, weight: 2}]\n"
"    max_body: 200m\n"
"  - path: /drafts/{id}\n"
"    methods: [GET]\n"
"    cache: {ttl: 1h, stale: 30s, tags: [\"draft:{id}\"], statuses: [200, 404]}\n"
"  - path: /internal/*\n"
"    access: status\n"
"    rate_limits: []\n"
"cache:\n"
"  warmup:\n"
"    - {name: popular, urls: [/drafts/1, /drafts/2], schedule: \"0 */6 * * *\"}\n"
"  invalidate:\n"
"    - {name: draft-changed, when: [\"PUT /drafts/{id}\"], tags: [\"draft:{id}\"]}\n";

static void put_default(const struct conf_row *row, struct strbuf *out)
{
	if (row->def || row->shown)
		conf_row_default(row, out);
	else
		strbuf_puts(out, "has to be given");
}

/* ---- docs/SETTINGS.md ---- */

static const char markdown_head[] =
"\n## The sections `performance`, `semaphores`, `rate_limits`, `defaults`, `routes` and `cache`\n"
"\n"
"They are in the file alone, and say what holds for which requests. A key of a route replaces that "
"of `defaults`; requests that no route is for have the defaults. All problems are told at once, "
"with line and column. They take effect at a reload, but `limit_max` and `entries` of a name that "
"was there at the start need a restart. `--print-config` shows the outcome, defaults resolved, as "
"`policy`.\n"
"\n"
"```yaml\n";

static void markdown_key(FILE *f, const struct conf_row *row)
{
	struct strbuf def, facts;

	strbuf_init(&def);
	strbuf_init(&facts);
	put_default(row, &def);
	conf_row_facts(row, &facts);
	fprintf(f, "| `%s` | %s | %s | %s%s |\n", row->key, facts.p ? facts.p : "",
		def.p ? def.p : "", row->later ? "*Not built yet.* " : "", row->help);
	strbuf_fini(&facts);
	strbuf_fini(&def);
}

void conf_write_keys_markdown(FILE *f)
{
	fprintf(f, "%s%s```\n", markdown_head, conf_sections_example);
	for (int k = 0; k < CONF_KEYS; k++) {
		const struct conf_group_row *g = &conf_groups[conf_key_group[k]];

		if (k == 0 || conf_key_group[k] != conf_key_group[k - 1])
			fprintf(f, "\n### %s\n\n%s\n\n| key | value | default | meaning |\n"
				"|---|---|---|---|\n", g->where, g->help);
		markdown_key(f, &conf_keys[k]);
	}
}

/* ---- capricorn.yaml(5) ---- */

static void man_key(FILE *f, const struct conf_row *row)
{
	struct strbuf text;

	strbuf_init(&text);
	strbuf_printf(&text, "%s\n(", row->help);
	conf_row_facts(row, &text);
	strbuf_puts(&text, "; default: ");
	put_default(row, &text);
	strbuf_puts(&text, row->later ? "; not built yet)\n" : ")\n");
	fprintf(f, ".TP\n\\fB%s\\fR\n", row->key);
	conf_put_roff(f, text.p ? text.p : "");
	strbuf_fini(&text);
}

static void man_example(FILE *f)
{
	fputs(".PP\n.EX\n", f);
	conf_put_roff(f, conf_sections_example);
	fputs(".EE\n", f);
}

void conf_write_keys_man(FILE *f)
{
	fputs(".SH SECTIONS\n"
	      "What holds for which requests. A key of a route replaces that of\n"
	      ".IR defaults ;\n"
	      "requests that no route is for have the defaults.\n", f);
	man_example(f);
	for (int k = 0; k < CONF_KEYS; k++) {
		const struct conf_group_row *g = &conf_groups[conf_key_group[k]];

		if (k == 0 || conf_key_group[k] != conf_key_group[k - 1]) {
			fprintf(f, ".SS \"%s\"\n", g->where);
			conf_put_roff(f, g->help);
			fputc('\n', f);
		}
		man_key(f, &conf_keys[k]);
	}
}

/* ---- the sample file ---- */

void conf_write_keys_sample(FILE *f)
{
	const char *p = conf_sections_example;

	fputs("\n# ---- Limits and cache by route ----\n\n"
	      "# An example: semaphores (how many requests are at work at once), rate limits (how "
	      "many\n"
	      "# in a time), where they hold, and which answers are kept. All keys are in\n"
	      "# capricorn.yaml(5).\n", f);
	while (*p) {
		size_t len = strcspn(p, "\n") + 1;

		fprintf(f, "#%.*s", (int)len, p);
		p += len;
	}
}
