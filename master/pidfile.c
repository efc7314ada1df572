/* SPDX-License-Identifier: MIT */
/*
 * The pid file. Who has it is decided by a lock on it (OFD, gone with the process that holds it),
 * never by the number in it: pids are used again. So a file left behind is simply taken over.
 */
#include "master/master_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Is the path still the file that we have open? */
static bool is_ours(int fd, const char *path)
{
	struct stat open_one, named;

	return fstat(fd, &open_one) == 0 && lstat(path, &named) == 0 &&
	       open_one.st_dev == named.st_dev && open_one.st_ino == named.st_ino;
}

static void tell_holder(int fd, const char *path)
{
	char text[32] = "?";
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 1] = '\0';
	text[strcspn(text, "\n")] = '\0';
	master_clean_text(text);
	log_errx("%s (CAPRICORN_PID) belongs to a running master (pid %s)", path, text);
}

/* 1: locked; 0: the file was replaced meanwhile, try again; -1 after logging. */
static int open_locked(const char *path, int *ret_fd)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644);

	if (fd < 0) {
		log_err("cannot open %s (CAPRICORN_PID)", path);
		return -1;
	}
	if (fcntl(fd, F_OFD_SETLK, &lock) != 0) {
		if (errno == EAGAIN || errno == EACCES)
			tell_holder(fd, path);
		else
			log_err("cannot lock %s (CAPRICORN_PID)", path);
		close(fd);
		return -1;
	}
	if (is_ours(fd, path)) {
		*ret_fd = fd;
		return 1;
	}
	close(fd);
	return 0;
}

int master_pidfile_take(struct master *m, const char *path)
{
	char text[16];
	int rc = 0, len = snprintf(text, sizeof(text), "%d\n", (int)getpid());

	/* Its last holder may remove it between our open and our lock. */
	for (int tries = 0; rc == 0 && tries < 100; tries++)
		rc = open_locked(path, &m->pid_fd);
	if (rc == 0)
		log_errx("%s (CAPRICORN_PID) changes all the time", path);
	if (rc != 1)
		return -1;
	m->pid_path = strdup(path);
	if (!m->pid_path || ftruncate(m->pid_fd, 0) != 0 ||
	    pwrite(m->pid_fd, text, (size_t)len, 0) != len) {
		log_err("cannot write %s (CAPRICORN_PID)", path);
		return -1;
	}
	return 0;
}

void master_pidfile_drop(struct master *m)
{
	if (m->pid_fd >= 0) {
		if (m->pid_path && is_ours(m->pid_fd, m->pid_path))
			(void)unlink(m->pid_path); /* else it is somebody else's now */
		close(m->pid_fd);
	}
	free(m->pid_path);
	m->pid_fd = -1;
	m->pid_path = NULL;
}
