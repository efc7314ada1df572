/* SPDX-License-Identifier: MIT */
#include "app/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

void spool_init(struct spool *sp)
{
	*sp = (struct spool){.fd = -1};
}

void spool_fini(struct spool *sp)
{
	free(sp->mem);
	if (sp->fd >= 0)
		close(sp->fd);
	spool_init(sp);
}

/* Without a name from its first moment, so that nothing is left behind by a kill. */
static int open_file(void)
{
	const char *dirs[] = {getenv("TMPDIR"), "/tmp", "/var/tmp"};
	int fd;

	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		if (!dirs[i] || dirs[i][0] != '/')
			continue;
		fd = open(dirs[i], O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600);
		if (fd >= 0)
			return fd;
	}
	fd = memfd_create("capricorn-body", MFD_CLOEXEC); /* a read-only root file system */
	return fd >= 0 ? fd : -errno;
}

static int write_all(int fd, const char *p, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Moves what is in memory into a file. */
static int to_file(struct spool *sp)
{
	int fd = open_file(), rc;

	if (fd < 0)
		return fd;
	rc = write_all(fd, sp->mem, sp->len);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	free(sp->mem);
	sp->mem = NULL;
	sp->len = sp->cap = 0;
	sp->fd = fd;
	return 0;
}

static int grow(struct spool *sp, size_t need)
{
	size_t cap = sp->cap ? sp->cap : 1024;
	char *mem;

	while (cap < need)
		cap *= 2;
	if (cap == sp->cap)
		return 0;
	mem = realloc(sp->mem, cap);
	if (!mem)
		return -ENOMEM;
	sp->mem = mem;
	sp->cap = cap;
	return 0;
}

int spool_add(struct spool *sp, struct slice data)
{
	int rc = 0;

	if (data.len == 0)
		return 0;
	if (sp->fd < 0 && data.len > SPOOL_MEMORY_MAX - sp->len)
		rc = to_file(sp);
	else if (sp->fd < 0)
		rc = grow(sp, sp->len + data.len);
	if (rc == 0 && sp->fd >= 0) {
		rc = write_all(sp->fd, data.p, data.len);
	} else if (rc == 0) {
		memcpy(sp->mem + sp->len, data.p, data.len);
		sp->len += data.len;
	}
	if (rc == 0)
		sp->total += data.len;
	return rc;
}
