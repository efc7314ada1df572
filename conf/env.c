/* SPDX-License-Identifier: MIT */
/*
 * Variables: of the environment, and of the file that --env-file names. Both are a list of names
 * and values; what they mean is the same.
 */
#include "conf/conf_priv.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_SHOWN 100 /* of a name in messages */
#define VARS_MAX   4096u /* lines of a file: nobody writes so many by hand */

struct var {
	struct slice name, value;
	unsigned line;          /* in the file; 0 = environment */
};

struct vars {
	struct conf_loading *ld;
	enum conf_origin origin;
	const char *file;       /* NULL = environment */
	struct var *item;
	size_t n;
};

const char *conf_env_get(char *const *env, const char *name)
{
	size_t len = strlen(name);

	for (; env && *env; env++)
		if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
			return (*env)[len + 1] ? *env + len + 1 : NULL;
	return NULL;
}

static bool push(struct vars *v, const struct var *var)
{
	struct var *item;

	if ((v->n & (v->n - 1)) == 0) { /* full at each power of two */
		item = realloc(v->item, (v->n ? 2 * v->n : 1) * sizeof(*item));
		if (!item) {
			v->ld->no_memory = true;
			return false;
		}
		v->item = item;
	}
	v->item[v->n++] = *var;
	return true;
}

static const char *place_of(struct vars *v, const struct var *var)
{
	int len = var->name.len < NAME_SHOWN ? (int)var->name.len : NAME_SHOWN;

	if (v->file)
		return conf_text(v->ld, "%s:%u: %.*s", v->file, var->line, len, var->name.p);
	return conf_text(v->ld, "environment variable %.*s", len, var->name.p);
}

static bool has_prefix(struct slice s, struct slice prefix)
{
	return s.len >= prefix.len && memcmp(s.p, prefix.p, prefix.len) == 0;
}

static struct slice after(struct slice s, size_t n)
{
	return (struct slice){s.p + n, s.len - n};
}

/* The variable of that name that is not empty: an empty one is as good as none. */
static const struct var *find(const struct vars *v, const char *prefix, struct slice name)
{
	size_t len = strlen(prefix);

	for (size_t i = 0; i < v->n; i++)
		if (v->item[i].value.len > 0 && v->item[i].name.len == len + name.len &&
		    memcmp(v->item[i].name.p, prefix, len) == 0 &&
		    memcmp(v->item[i].name.p + len, name.p, name.len) == 0)
			return &v->item[i];
	return NULL;
}

/* The one of several spellings that holds: prefix before bare name, name before alias. */
static const struct var *pick(const struct vars *v, const struct conf_row *row)
{
	static const char *const prefixes[] = {CONF_PREFIX, ""};
	const struct var *var;

	for (size_t i = 0; i < (row->prefixed ? 1 : 2); i++) {
		var = find(v, prefixes[i], slice_of(row->name));
		for (const char *p = row->aliases; !var && p && *p; ) {
			struct slice alias = {p, strcspn(p, " ")};

			var = find(v, prefixes[i], alias);
			p += alias.len + strspn(p + alias.len, " ");
		}
		if (var)
			return var;
	}
	return NULL;
}

/* Kubernetes sets these in each pod beside a service that is called capricorn. */
static bool is_service_link(const struct var *var)
{
	struct slice name = after(var->name, strlen(CONF_PREFIX));

	if (has_prefix(name, SLICE("PORT_")) || has_prefix(name, SLICE("SERVICE_")))
		return true;
	return slice_eq(name, SLICE("PORT")) && memmem(var->value.p, var->value.len, "://", 3);
}

/* Variables with our prefix are all ours: an unknown one is a slip of the pen. */
static void check_prefixed(struct vars *v, struct var *var)
{
	struct slice name = after(var->name, strlen(CONF_PREFIX));
	struct strbuf near;

	if (is_service_link(var)) {
		conf_note(v->ld->report, "%s is ignored: it looks like a Kubernetes service link",
			  place_of(v, var));
		var->value.len = 0;
		return;
	}
	if (conf_row_by_name(name))
		return;
	if (slice_eq(name, SLICE("CONFIG"))) {
		if (v->file)
			conf_error(v->ld, place_of(v, var), "has no meaning in such a file; use -c "
				   "or the environment");
		return;
	}
	strbuf_init(&near);
	if (conf_nearest_row(name, CONF_BY_NAME, &near))
		conf_error(v->ld, place_of(v, var), "is unknown; did you mean " CONF_PREFIX "%s?",
			   near.p);
	else
		conf_error(v->ld, place_of(v, var), "is unknown");
	strbuf_fini(&near);
}

static void apply(struct vars *v)
{
	for (size_t i = 0; i < v->n; i++) {
		struct var *var = &v->item[i];

		if (var->value.len == 0)
			continue;
		if (has_prefix(var->name, SLICE(CONF_PREFIX)))
			check_prefixed(v, var);
		else if (slice_eq(var->name, SLICE("GUNICORN_CMD_ARGS")))
			conf_error(v->ld, place_of(v, var), "is not read here: unset it, and use "
							    "the "
				   "variables of the settings (WEB_WORKERS, BIND, ...)");
	}
	for (size_t i = 0; i < CONF_ROWS; i++) {
		const struct var *var = pick(v, &conf_rows[i]);

		if (var)
			conf_set_text(v->ld, &conf_rows[i], v->origin, var->value,
				      place_of(v, var));
	}
	free(v->item);
}

void conf_read_env(struct conf_loading *ld, char *const *env)
{
	struct vars v = {.ld = ld, .origin = CONF_ENV};

	for (; env && *env; env++) {
		const char *eq = strchr(*env, '=');
		struct var var;

		if (!eq)
			continue;
		var = (struct var){.name = {*env, (size_t)(eq - *env)}, .value = slice_of(eq + 1)};
		if (!push(&v, &var))
			break;
	}
	apply(&v);
}

/* ---- the file ---- */

char *conf_slurp(struct conf_loading *ld, const char *path, const char *place, size_t *ret_len)
{
	/* Not blocking: a pipe or a device is told apart before it can hold us up. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	char *p = NULL;
	size_t len = 0;
	ssize_t n = 0;

	if (fd < 0 || fstat(fd, &st) < 0) {
		conf_error(ld, place, "cannot read %s: %s", path, strerror(errno));
	} else if (!S_ISREG(st.st_mode)) {
		conf_error(ld, place, "cannot read %s: it is not a regular file", path);
	} else if ((uint64_t)st.st_size > CONF_FILE_BYTES_MAX) {
		conf_error(ld, place, "cannot read %s: it is larger than %u bytes", path,
			   CONF_FILE_BYTES_MAX);
	} else if (!(p = malloc((size_t)st.st_size + 1))) {
		ld->no_memory = true;
	} else {
		while (len < (size_t)st.st_size &&
		       (n = read(fd, p + len, (size_t)st.st_size - len)) > 0)
			len += (size_t)n;
		if (n < 0) {
			conf_error(ld, place, "cannot read %s: %s", path, strerror(errno));
			free(p);
			p = NULL;
		}
	}
	if (fd >= 0)
		close(fd);
	if (p)
		p[len] = '\0';
	*ret_len = len;
	return p;
}

static struct slice trim(struct slice t)
{
	while (t.len > 0 && isspace((unsigned char)t.p[0]))
		t = after(t, 1);
	while (t.len > 0 && isspace((unsigned char)t.p[t.len - 1]))
		t.len--;
	return t;
}

/* Quotes around a whole value are taken off, as shells and systemd do. */
static struct slice unquote(struct slice t)
{
	if (t.len >= 2 && (t.p[0] == '"' || t.p[0] == '\'') && t.p[t.len - 1] == t.p[0])
		return (struct slice){t.p + 1, t.len - 2};
	return t;
}

static void take_line(struct vars *v, struct slice line, unsigned number)
{
	const char *eq;
	struct var var = {.line = number};

	line = trim(line);
	if (line.len == 0 || line.p[0] == '#')
		return;
	if (has_prefix(line, SLICE("export ")))
		line = trim(after(line, 7));
	eq = memchr(line.p, '=', line.len);
	if (!eq || eq == line.p || memchr(line.p, '\0', line.len)) {
		conf_error(v->ld, conf_text(v->ld, "%s:%u", v->file, number),
			   "is not a line NAME=VALUE");
		return;
	}
	var.name = trim((struct slice){line.p, (size_t)(eq - line.p)});
	var.value = unquote(trim(after(line, (size_t)(eq - line.p) + 1)));
	for (size_t i = 0; i < v->n; i++)
		if (slice_eq(v->item[i].name, var.name)) {
			conf_error(v->ld, place_of(v, &var), "is set twice; the first time in line "
				   "%u", v->item[i].line);
			return;
		}
	push(v, &var);
}

void conf_read_env_file(struct conf_loading *ld, const char *path)
{
	struct vars v = {.ld = ld, .origin = CONF_ENV_FILE, .file = path};
	unsigned number = 0;
	size_t len;
	char *text = conf_slurp(ld, path, "flag --env-file", &len);
	const char *p = text;

	if (!text)
		return;
	while (p < text + len && v.n < VARS_MAX) {
		const char *end = memchr(p, '\n', (size_t)(text + len - p));
		size_t n = end ? (size_t)(end - p) : (size_t)(text + len - p);

		take_line(&v, (struct slice){p, n}, ++number);
		p += n + 1;
	}
	if (v.n == VARS_MAX)
		conf_error(ld, path, "has more than %u variables", VARS_MAX - 1);
	apply(&v);
	free(text);
}
