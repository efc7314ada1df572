/* SPDX-License-Identifier: MIT */
/*
 * What ps shows. The kernel reads a process's command line from the memory where the arguments and,
 * behind them, the environment were put at exec; the title is written there. Both are copied away
 * first. Where that memory lies is asked of the kernel, not guessed from argv.
 */
#include "master/master_priv.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static struct {
	char *start;       /* NULL: not known, no title */
	size_t size;       /* arguments and environment */
	char **argv, **env; /* copies that last as long as the process */
} area;

/* Fields 48 to 51 of /proc/self/stat: begin and end of arguments, begin and end of environment. */
static bool find_area(uintptr_t field[4])
{
	char stat[2048];
	const char *p;
	ssize_t n;
	int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC), at = 2;

	if (fd < 0)
		return false;
	n = read(fd, stat, sizeof(stat) - 1);
	close(fd);
	stat[n > 0 ? n : 0] = '\0';
	p = strrchr(stat, ')');
	for (; p && at < 48; at++)
		p = strchr(p + 1, ' ');
	for (int i = 0; i < 4; i++) {
		char *end;

		if (!p)
			return false;
		field[i] = strtoull(p, &end, 10);
		p = *end == ' ' ? end : NULL;
	}
	return field[0] != 0 && field[1] > field[0];
}

static void free_list(char **list)
{
	for (size_t i = 0; list && list[i]; i++)
		free(list[i]);
	free(list);
}

/* NULL: no memory. */
static char **copy_list(char *const *list)
{
	size_t n = 0;
	char **copy;

	while (list[n])
		n++;
	copy = calloc(n + 1, sizeof(*copy));
	for (size_t i = 0; copy && i < n; i++) {
		copy[i] = strdup(list[i]);
		if (!copy[i]) {
			free_list(copy);
			return NULL;
		}
	}
	return copy;
}

void master_title_init(struct conf_input *in)
{
	bool same = in->env == environ;
	char **argv, **env, **own;
	uintptr_t field[4];

	if (area.start || !find_area(field))
		return;
	argv = copy_list(in->argv);
	env = copy_list(in->env);
	own = same ? env : copy_list(environ);
	if (!argv || !env || !own) {
		free_list(argv);
		free_list(env);
		if (!same)
			free_list(own);
		return;
	}
	/* A reload reads both again, after the title has been written over the originals. */
	in->argv = area.argv = argv;
	in->env = area.env = env;
	environ = own;
	area.start = (char *)field[0]; /* NOLINT: an address that the kernel has given */
	area.size = field[1] - field[0];
	if (field[2] == field[1] && field[3] > field[2])
		area.size = field[3] - field[0];
}

void master_title_set(const char *comm, const char *title)
{
	(void)prctl(PR_SET_NAME, comm);
	if (area.size < 2)
		return;
	memset(area.start, 0, area.size);
	memcpy(area.start, title, strnlen(title, area.size - 1));
}
