/* SPDX-License-Identifier: MIT */
/*
 * The life of the segment's file: made, locked, named, and removed by the master.
 *
 * An instance is a lock, never a pid. Two facts make it safe between any number of starters:
 *
 *  1. A segment gets its name complete and already locked (linkat, or renameat2 that replaces
 *     nothing), so a name without a lock is always one whose master is gone.
 *  2. A name is taken away only by who holds the lock of the very file that has it. While it is
 *     held nobody else may remove the name, and nobody can give it to another file since naming
 *     never replaces. So between looking and unlinking the name cannot change hands.
 *
 * Of two starters that find a stale segment one gets its lock and removes it; the other sees it
 * busy, or finds the name free and competes in linkat, which one of them wins.
 *
 * The lock belongs to an open file description (OFD) and lasts as long as any process has that. A
 * mapping keeps the description alive it was made from, and children live on when a master is
 * killed. Hence a second open of the file that nothing is mapped from, which children close first.
 */
#include "shm/shm_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"

#define NAME_BYTES_MAX 250 /* with its slash; a file name has 255, and `shm.name` 256 */
#define PATH_BYTES_MAX (sizeof(SHM_DIR) + NAME_BYTES_MAX)
#define TRIES_MAX 16       /* more starters than this do not take the name from us one by one */

/* A segment that has no name yet. */
struct draft {
	int fd;                /* what is mapped */
	int lock_fd;           /* the second open */
	char temp[64];         /* its name until then; empty = it has none */
};

void shm_boot_id(char ret[40])
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = 0;

	memset(ret, 0, 40);
	if (fd < 0)
		return; /* no /proc: unknown */
	n = read(fd, ret, 36);
	if (n < 0)
		memset(ret, 0, 40);
	close(fd);
}

static int path_of(const char *name, char path[PATH_BYTES_MAX])
{
	size_t len = strnlen(name, NAME_BYTES_MAX + 1);

	if (len < 2 || len > NAME_BYTES_MAX || name[0] != '/' || strchr(name + 1, '/') ||
	    strcmp(name, "/.") == 0 || strcmp(name, "/..") == 0)
		return -EINVAL;
	snprintf(path, PATH_BYTES_MAX, "%s%s", SHM_DIR, name);
	return 0;
}

/* 0, -EBUSY when another open file description has it. */
static int take_lock(int fd)
{
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	if (fcntl(fd, F_OFD_SETLK, &fl) == 0)
		return 0;
	return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
}

/* Does this name still lead to this open file? */
static bool is_named(int fd, const char *path)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && lstat(path, &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

static bool is_ours(int fd)
{
	uint64_t magic = 0;

	/* Nobody writes this page after the file got its name: see struct shm_header. */
	return pread(fd, &magic, sizeof(magic), 0) == (ssize_t)sizeof(magic) && magic == SHM_MAGIC;
}

/* Removes the stale segment that `fd` is, unless its name has changed hands meanwhile. */
static int remove_stale(int fd, const char *path, bool *ret_stale)
{
	struct stat st;
	int r;

	if (fstat(fd, &st) != 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid())
		return -EACCES;
	if (!is_ours(fd))
		return -EEXIST;
	r = take_lock(fd);
	if (r != 0)
		return r;
	if (!is_named(fd, path))
		return 0; /* removed by another starter just before */
	if (unlink(path) != 0)
		return -errno;
	*ret_stale = true;
	return 0;
}

/* Looks at what has the name now. 0: nothing that is in the way any more. */
static int clear_name(const char *path, bool *ret_stale)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	int r;

	if (fd < 0) {
		switch (errno) {
		case ENOENT:
			return 0;
		case ELOOP:  /* a symbolic link, a directory, a socket, or not for us: no segment */
		case EISDIR:
		case ENXIO:
		case EPERM:
			return -EACCES;
		default:
			return -errno;
		}
	}
	r = remove_stale(fd, path, ret_stale);
	close(fd);
	return r;
}

/* A file without a name: a kill before it gets one leaves nothing. */
static int open_tmpfile(struct draft *d)
{
	char self[64];

	d->fd = open(SHM_DIR, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (d->fd < 0)
		return -errno;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", d->fd);
	d->lock_fd = open(self, O_RDWR | O_CLOEXEC);
	return d->lock_fd < 0 ? -errno : 0;
}

/* A file with a name of its own. A kill within the next milliseconds leaves it behind. */
static int open_named(struct draft *d)
{
	snprintf(d->temp, sizeof(d->temp), "%s/.capricorn-%d-%llx", SHM_DIR, (int)getpid(),
		 (unsigned long long)clock_mono_ns());
	d->fd = open(d->temp, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (d->fd < 0) {
		int r = -errno;

		d->temp[0] = '\0'; /* not ours to remove */
		return r;
	}
	d->lock_fd = open(d->temp, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	return d->lock_fd < 0 ? -errno : 0;
}

static void draft_drop(struct draft *d)
{
	if (d->temp[0] != '\0')
		(void)unlink(d->temp); /* a leftover at worst */
	if (d->fd >= 0)
		close(d->fd);
	if (d->lock_fd >= 0)
		close(d->lock_fd);
	*d = (struct draft){.fd = -1, .lock_fd = -1};
}

/* Gives the draft its name if nothing has it: 0, -EEXIST, or another -errno. */
static int draft_publish(struct draft *d, const char *path)
{
	char self[64];

	if (d->temp[0] != '\0') {
		if (renameat2(AT_FDCWD, d->temp, AT_FDCWD, path, RENAME_NOREPLACE) != 0)
			return -errno;
		d->temp[0] = '\0';
		return 0;
	}
	snprintf(self, sizeof(self), "/proc/self/fd/%d", d->fd);
	return linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0 ? 0 : -errno;
}

uint64_t shm_room(void)
{
	struct statvfs fs;

	return statvfs(SHM_DIR, &fs) == 0 ? (uint64_t)fs.f_bavail * fs.f_frsize : 0;
}

/* Reserves all bytes: with a sparse file a full /dev/shm would be a SIGBUS in some worker later. */
static int reserve(int fd, size_t size)
{
	int r;

	do {
		r = posix_fallocate(fd, 0, (off_t)size);
	} while (r == EINTR);
	return -r;
}

/* Fills and locks the file; maps it into s. */
static int draft_fill(const struct draft *d, struct shm *s, size_t *ret_need)
{
	int r;

	if (fchmod(d->fd, 0600) != 0) /* whatever the umask says */
		return -errno;
	r = reserve(d->fd, s->size);
	if (r == -ENOSPC && ret_need)
		*ret_need = s->size;
	if (r != 0)
		return r;
	s->base = mmap(NULL, s->size, PROT_READ | PROT_WRITE, MAP_SHARED, d->fd, 0);
	if (s->base == MAP_FAILED) {
		s->base = NULL;
		return -errno;
	}
	shm_place(s);
	shm_format(s);
	/* From here on, and in all children: no stray write hits what the next start relies on. */
	if (mprotect(s->base, SHM_PAGE, PROT_READ) != 0)
		return -errno;
	return take_lock(d->lock_fd);
}

/* Until the draft has the name, or it is certain that it cannot. */
static int win_name(struct draft *d, const char *path, bool *ret_stale)
{
	for (int i = 0; i < TRIES_MAX; i++) {
		int r = draft_publish(d, path);

		if (r != -EEXIST)
			return r;
		r = clear_name(path, ret_stale);
		if (r != 0)
			return r;
	}
	return -EBUSY;
}

static void unmap(struct shm *s)
{
	if (s->base)
		munmap(s->base, s->size);
	s->base = NULL;
}

static int make(struct shm *s, const char *path, bool *ret_stale, size_t *ret_need, bool named)
{
	struct draft d = {.fd = -1, .lock_fd = -1};
	int r = named ? open_named(&d) : open_tmpfile(&d);

	if (r == 0)
		r = draft_fill(&d, s, ret_need);
	if (r == 0)
		r = win_name(&d, path, ret_stale);
	if (r == 0) {
		s->lock_fd = d.lock_fd;
		d.lock_fd = -1;
	} else {
		unmap(s);
	}
	draft_drop(&d);
	return r;
}

/* Results that say "not this way" rather than "not at all": no O_TMPFILE there, or no /proc. */
static bool is_way_closed(int r)
{
	return r == -EOPNOTSUPP || r == -EISDIR || r == -ENOENT || r == -EPERM || r == -EXDEV ||
	       r == -ENOSYS;
}

int shm_create_by(struct shm *s, const char *name, const struct shm_geometry *g, bool *ret_stale,
		  size_t *ret_need, enum shm_make how)
{
	char path[PATH_BYTES_MAX];
	bool stale = false;
	int r;

	*s = (struct shm){.geo = *g, .lock_fd = -1, .size = shm_size_for(g)};
	r = path_of(name, path);
	if (r != 0 || s->size == 0)
		return -EINVAL;
	snprintf(s->name, sizeof(s->name), "%s", name);
	s->claimed = calloc(g->slots, sizeof(*s->claimed));
	if (!s->claimed)
		return -ENOMEM;
	r = clear_name(path, &stale); /* first: a stale one may have the room that is needed */
	if (r == 0)
		r = make(s, path, &stale, ret_need, how == SHM_MAKE_NAMED);
	if (how == SHM_MAKE_AUTO && is_way_closed(r))
		r = make(s, path, &stale, ret_need, true);
	if (r != 0) {
		free(s->claimed);
		*s = (struct shm){.lock_fd = -1};
	}
	if (ret_stale)
		*ret_stale = stale;
	return r;
}

int shm_create(struct shm *s, const char *name, const struct shm_geometry *g, bool *ret_stale,
	       size_t *ret_need)
{
	return shm_create_by(s, name, g, ret_stale, ret_need, SHM_MAKE_AUTO);
}

void shm_child(struct shm *s)
{
	static const enum shm_section_id masters[] = {
		SHM_SEC_ROUTES, SHM_SEC_EXITS, SHM_SEC_EVENTS, SHM_SEC_MODULE,
		SHM_SEC_RATES,
	};
	struct shm_section sec[SHM_SEC_COUNT];

	/* A stray write of a module ends it, not the names that every later worker asks for. */
	if (shm_layout(&s->geo, sec) == s->size)
		for (size_t i = 0; i < sizeof(masters) / sizeof(masters[0]); i++)
			(void)mprotect(s->base + sec[masters[i]].offset, sec[masters[i]].size,
				       PROT_READ); /* without: as safe as the module is */
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	s->lock_fd = -1;
}

void shm_destroy(struct shm *s)
{
	char path[PATH_BYTES_MAX];

	if (!s->base)
		return;
	/* Somebody may have removed the file by hand, and another instance taken the name. */
	if (s->lock_fd >= 0 && path_of(s->name, path) == 0 && is_named(s->lock_fd, path))
		(void)unlink(path); /* stale at worst: the next start removes it */
	unmap(s);
	if (s->lock_fd >= 0)
		close(s->lock_fd); /* last: until here the name was ours to remove */
	free(s->claimed);
	*s = (struct shm){.lock_fd = -1};
}
