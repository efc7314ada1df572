/* SPDX-License-Identifier: MIT */
/*
 * One generation has one code. The file of a module is copied when the generation begins, into
 * memory that is sealed; its workers load that, also those that are started hours later, when
 * somebody has long built the file anew. The master never looks at what is in it.
 */
#include "master/master_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008u
#endif

#define MODULE_BYTES_MAX (1ull << 30) /* no module is so large: it is the wrong file */
#define MODULE_TRIES     5            /* while somebody writes it */
#define MEMFD_NAME_MAX   249          /* memfd_create(2) */

/* It is mapped, not executed, which kernels that allow no executable memory files do not mind. */
static int make_memory(const char *path)
{
	const char *slash = strrchr(path, '/');
	char name[MEMFD_NAME_MAX + 1];
	int fd;

	snprintf(name, sizeof(name), "%s", slash ? slash + 1 : path);
	fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
	if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
		fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return fd;
}

static int write_all(int fd, const char *p, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* From the begin to the end of the file; how many bytes that were, or -1. */
static int64_t copy_bytes(int from, int to)
{
	char buf[65536];
	int64_t total = 0;
	ssize_t n;

	if (ftruncate(to, 0) != 0 || lseek(to, 0, SEEK_SET) != 0)
		return -1;
	while ((n = pread(from, buf, sizeof(buf), total)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 || write_all(to, buf, (size_t)n) != 0)
			return -1;
		total += n;
		if ((uint64_t)total > MODULE_BYTES_MAX)
			break;
	}
	return total;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* NULL when the copy is whole, else what is wrong; errno is its reason if it is "". */
static const char *copy_file(int from, int to)
{
	struct stat before, after;
	int64_t n;

	for (int i = 0; i < MODULE_TRIES; i++) {
		if (fstat(from, &before) != 0)
			return "";
		if (!S_ISREG(before.st_mode))
			return "it is not a regular file";
		if ((uint64_t)before.st_size > MODULE_BYTES_MAX)
			return "it is larger than 1 GiB";
		n = copy_bytes(from, to);
		if (n < 0 || fstat(from, &after) != 0)
			return "";
		if (n > 0 && n == after.st_size && same_file(&before, &after))
			return NULL;
		if (n == 0 && same_file(&before, &after))
			return "it is empty";
	}
	return "somebody is writing it; put a new file in its place by renaming it (mv)";
}

static const char *seal(int fd)
{
	int seals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

	return fcntl(fd, F_ADD_SEALS, seals) == 0 ? NULL : "";
}

int master_module_copy(const struct master *m, const struct conf *c, int *ret_fd, char *why,
		       size_t cap)
{
	const char *wrong = "";
	int from, to = -1;

	*ret_fd = -1;
	if (c->app != CONF_APP_MODULE)
		return 0;
	/* Not blocking: a pipe is told apart before it can hold us up. */
	from = openat(m->start_dir, c->app_path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (from >= 0)
		to = make_memory(c->app_path);
	if (to >= 0)
		wrong = copy_file(from, to);
	if (to >= 0 && !wrong)
		wrong = seal(to);
	if (wrong) {
		snprintf(why, cap, "APP: cannot copy the module %s: %s", c->app_path,
			 wrong[0] ? wrong : strerror(errno));
		if (to >= 0)
			close(to);
	}
	if (from >= 0)
		close(from);
	if (wrong)
		return -1;
	*ret_fd = to;
	return 0;
}
