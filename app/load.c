/* SPDX-License-Identifier: MIT */
/*
 * Finds the module's description: one of ours, or one that a shared object exports. What is loaded
 * is the sealed copy that the master has made for this generation, never the file itself, which
 * may be half written by now.
 */
#include <dlfcn.h>
#include <elf.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/app_priv.h"
#include "base/log.h"
#include "shm/dump.h"

static int wrong(const struct app *a, const char *why)
{
	log_errx("APP: %s cannot be loaded: %s", a->conf->s.app, why);
	return -1;
}

/* Everything that can be known before a function of the module is called. */
static int check(const struct app *a, const struct capri_app *m, const char *symbol)
{
	char why[200];

	if (m->abi != CAPRI_ABI) {
		snprintf(why, sizeof(why),
			 "%s is of version %u of the interface, this server has %u: compile it with "
			 "the capricorn.h of this server", symbol, m->abi, CAPRI_ABI);
		return wrong(a, why);
	}
	if (m->size < offsetof(struct capri_app, reserved) ||
	    m->route_size < offsetof(struct capri_route, reserved)) {
		snprintf(why, sizeof(why), "%s does not begin with CAPRI_APP_INIT", symbol);
		return wrong(a, why);
	}
	if (!m->name || m->name[0] == '\0') {
		snprintf(why, sizeof(why), "%s has no name", symbol);
		return wrong(a, why);
	}
	if (!m->routes && !m->start) {
		snprintf(why, sizeof(why), "%s has neither routes nor start()", symbol);
		return wrong(a, why);
	}
	return 0;
}

/* Does a part of it lie behind its end? The dynamic loader would map that and die of SIGBUS. What
 * else may be wrong with the file it finds by itself. */
static bool is_cut(int fd)
{
	struct stat st;
	Elf64_Ehdr e;
	Elf64_Phdr p;

	if (fstat(fd, &st) != 0 || pread(fd, &e, sizeof(e), 0) != (ssize_t)sizeof(e) ||
	    memcmp(e.e_ident, ELFMAG, SELFMAG) != 0 || e.e_ident[EI_CLASS] != ELFCLASS64 ||
	    e.e_phentsize != sizeof(p))
		return false;
	for (unsigned i = 0; i < e.e_phnum; i++) {
		if (pread(fd, &p, sizeof(p), (off_t)(e.e_phoff + i * sizeof(p))) != sizeof(p))
			return true;
		if (p.p_type == PT_LOAD && (p.p_filesz > (uint64_t)st.st_size ||
					    p.p_offset > (uint64_t)st.st_size - p.p_filesz))
			return true;
	}
	return false;
}

static int load_module(struct app *a, const struct capri_app **ret)
{
	const char *symbol = a->conf->app_symbol ? a->conf->app_symbol : CONF_APP_SYMBOL;
	char path[40], why[200];

	if (is_cut(a->h->app_fd))
		return wrong(a, "the file is not whole: a part of it is missing");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", a->h->app_fd);
	a->dl = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!a->dl) {
		const char *text = dlerror(), *rest;
		size_t len = strlen(path);

		/* The name under which we opened it means nothing to anybody. */
		rest = strncmp(text, path, len) == 0 && text[len] == ':' ? text + len + 1 : text;
		return wrong(a, rest + strspn(rest, " "));
	}
	dump_objects(); /* so that its functions have names in reports */
	*ret = dlsym(a->dl, symbol);
	if (!*ret) {
		snprintf(why, sizeof(why),
			 "it does not export \"%s\" (const struct capri_app %s = {CAPRI_APP_INIT, "
			 "...}; or name another one: APP=%s:SYMBOL)", symbol, symbol,
			 a->conf->app_path);
		return wrong(a, why);
	}
	return check(a, *ret, symbol);
}

int app_load(struct app *a)
{
	const struct capri_app *m = NULL;
	size_t size;

	switch (a->conf->app) {
	case CONF_APP_API: m = &app_api; break;
	case CONF_APP_ECHO: m = &app_echo; break;
	case CONF_APP_HELLO: m = &app_hello; break;
	case CONF_APP_MODULE:
		if (load_module(a, &m) != 0)
			return -1;
		break;
	}
	size = m->size < sizeof(a->module) ? m->size : sizeof(a->module);
	memcpy(&a->module, m, size);
	return 0;
}
