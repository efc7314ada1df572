/* SPDX-License-Identifier: MIT */
/*
 * What APP names: an app that is built in, or a module by its file. A module's file is looked at
 * when the settings are loaded, so that a wrong path is told with all the other problems; the
 * master reads it later.
 */
#include "conf/conf_priv.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const builtins[] = {
	[CONF_APP_API] = "builtin:api", [CONF_APP_ECHO] = "builtin:echo",
	[CONF_APP_HELLO] = "builtin:hello", [CONF_APP_MODULE] = NULL,
};

#define WHAT_THERE_IS "; there are builtin:api, builtin:echo, builtin:hello and modules (./app.so)"

static bool begins_with(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

static bool ends_with(struct slice text, struct slice end)
{
	return text.len >= end.len &&
	       memcmp(text.p + text.len - end.len, end.p, end.len) == 0;
}

static bool is_identifier(const char *text)
{
	if (!isalpha((unsigned char)*text) && *text != '_')
		return false;
	while (isalnum((unsigned char)*text) || *text == '_')
		text++;
	return *text == '\0';
}

/* "package.module:app" */
static bool looks_python(const char *text)
{
	size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.");

	return len > 0 && text[len] == ':' && is_identifier(text + len + 1);
}

/* ---- modules ---- */

/* "dir/app.so:symbol": a symbol begins after the last colon of the last component. */
static struct conf_app_name split_module(const char *text)
{
	const char *slash = strrchr(text, '/');
	const char *colon = strrchr(slash ? slash : text, ':');
	size_t len = colon ? (size_t)(colon - text) : strlen(text);

	return (struct conf_app_name){
		.app = CONF_APP_MODULE,
		.path = {text, len},
		.symbol = colon ? colon + 1 : NULL,
	};
}

/* Is it a module's name? Whether there is such a file is another question. */
static bool looks_module(const char *text)
{
	if (begins_with(text, "builtin:") || strstr(text, "://"))
		return false;
	return strchr(text, '/') || ends_with(split_module(text).path, SLICE(".so"));
}

static bool check_module(const struct conf_app_name *name, struct strbuf *why)
{
	if (ends_with(name->path, SLICE(".py")))
		strbuf_puts(why, "is Python, which is not built yet; a module is a shared object "
				 "(./app.so) of C");
	else if (ends_with(name->path, SLICE("/")))
		strbuf_puts(why, "names a directory, not the file of a module (./app.so)");
	else if (name->symbol && name->symbol[0] == '\0')
		strbuf_puts(why, "has no symbol after the colon; leave the colon out "
				 "(" CONF_APP_SYMBOL "), or write ./app.so:symbol");
	else if (name->symbol && !is_identifier(name->symbol))
		strbuf_puts(why, "has a symbol after its last colon that is no identifier of C "
				 "(letters, digits and _)");
	else
		return true;
	return false;
}

/* A relative path begins where we were started, which may be another place than was meant. */
static void say_missing(const char *path, struct strbuf *why)
{
	char dir[PATH_MAX];

	strbuf_puts(why, "there is no such file");
	if (path[0] != '/' && getcwd(dir, sizeof(dir)))
		strbuf_printf(why, " in %s, where the server was started", dir);
}

/* Why the module cannot be read; false: it can be, as far as a look can tell. */
static bool unreadable(const char *path, struct strbuf *why)
{
	struct stat st;
	int fd = -1;

	if (stat(path, &st) < 0) {
		if (errno == ENOENT)
			say_missing(path, why);
		else
			strbuf_puts(why, strerror(errno));
	} else if (!S_ISREG(st.st_mode)) {
		/* Nor is it opened: a device may act on that. */
		strbuf_puts(why, "it is not a regular file");
	} else if (st.st_size == 0) {
		strbuf_puts(why, "it is empty");
	} else {
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		if (fd < 0)
			strbuf_puts(why, strerror(errno));
	}
	if (fd >= 0)
		close(fd);
	return why->len > 0;
}

/* ---- all apps ---- */

/* What follows "builtin:" has to be near by itself: the prefix is a good part of a short name. */
static const char *nearest_builtin(const char *text)
{
	static const char *const words[] = {"api", "echo", "hello", NULL};
	const char *word;

	if (!begins_with(text, "builtin:"))
		return conf_nearest(slice_of(text), builtins);
	word = conf_nearest(slice_of(text + 8), words);
	for (size_t i = 0; words[i]; i++)
		if (words[i] == word)
			return builtins[i];
	return NULL;
}

static void explain(const char *text, struct strbuf *why)
{
	const char *near = nearest_builtin(text);

	if (near || begins_with(text, "builtin:"))
		strbuf_puts(why, "is not a built-in app");
	else if (begins_with(text, "http://") || begins_with(text, "https://"))
		strbuf_puts(why, "is a server to pass requests on to, which is not built yet");
	else if (looks_python(text))
		strbuf_puts(why, "is a Python application, which is not built yet");
	else
		strbuf_puts(why, "is nothing that can be served");
	if (near)
		strbuf_printf(why, "; did you mean %s?", near);
	else
		strbuf_puts(why, WHAT_THERE_IS);
}

bool conf_app_parse(const char *text, struct conf_app_name *ret, struct strbuf *why)
{
	for (size_t i = 0; builtins[i]; i++)
		if (strcmp(text, builtins[i]) == 0) {
			*ret = (struct conf_app_name){.app = (enum conf_app)i};
			return true;
		}
	if (looks_module(text)) {
		*ret = split_module(text);
		return check_module(ret, why);
	}
	explain(text, why);
	return false;
}

bool conf_check_app(const char *text, struct strbuf *why)
{
	struct conf_app_name name;

	return conf_app_parse(text, &name, why);
}

static void check_file(struct conf_loading *ld)
{
	const char *place = ld->conf->priv->from[CONF_R_APP].place;
	struct strbuf why;

	strbuf_init(&why);
	if (unreadable(ld->conf->app_path, &why))
		conf_error(ld, place ? place : "APP", "cannot read the module %s: %s",
			   ld->conf->app_path, why.p ? why.p : "");
	strbuf_fini(&why);
}

void conf_derive_app(struct conf_loading *ld)
{
	struct conf *c = ld->conf;
	struct conf_app_name name = {.app = CONF_APP_API};
	struct strbuf why;

	/* What is wrong with it was told when it was set. */
	strbuf_init(&why);
	(void)conf_app_parse(c->s.app, &name, &why);
	strbuf_fini(&why);
	c->app = name.app;
	if (name.app == CONF_APP_MODULE) {
		c->app_path = conf_text(ld, "%.*s", (int)name.path.len, name.path.p);
		c->app_symbol = name.symbol;
		check_file(ld);
	}
	if (c->priv->from[CONF_R_STATUS_PREFIX].origin == CONF_DEFAULT || !c->s.status_prefix)
		c->s.status_prefix = c->app == CONF_APP_API ? "" : "/_capricorn";
	else if (strcmp(c->s.status_prefix, "/") == 0)
		c->s.status_prefix = "";
}
