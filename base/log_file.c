/* SPDX-License-Identifier: MIT */
/*
 * Files that log lines are appended to, in master and keeper. Whatever the other end does (a disk
 * that is full, a pipe nobody reads, a stopped terminal), a write costs lines, never time.
 */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define OPEN_FLAGS (O_WRONLY | O_APPEND | O_NOCTTY | O_NONBLOCK | O_CLOEXEC)

/* Takes the descriptor over and notes what kind of thing it is. */
static void use_fd(struct log_file *f, int fd)
{
	struct stat st;
	int flags = fcntl(fd, F_GETFL);
	mode_t kind = fstat(fd, &st) == 0 ? st.st_mode & S_IFMT : S_IFREG;

	if (f->fd >= 0)
		close(f->fd);
	f->fd = fd;
	f->torn = false;
	f->is_sock = kind == S_IFSOCK;
	f->is_pipe = kind == S_IFIFO || kind == S_IFCHR;
	f->must_poll = f->is_pipe && !(flags >= 0 && (flags & O_NONBLOCK));
}

static int open_path(const char *path)
{
	int fd = open(path, OPEN_FLAGS | O_CREAT, 0640);

	/* A FIFO that nobody reads yet: kept open from both ends it takes lines until it is full */
	if (fd < 0 && errno == ENXIO)
		fd = open(path, (OPEN_FLAGS & ~O_WRONLY) | O_RDWR);
	return fd;
}

/*
 * A descriptor of our own for standard output or error. O_NONBLOCK belongs to the open file, which
 * is shared with the shell and everybody else in the terminal: so it is opened a second time. A
 * regular file is not, since the position has to stay shared.
 */
static int open_std(int std)
{
	char self[32];
	struct stat st;
	int fd = -1;

	if (fstat(std, &st) < 0)
		return -1;
	if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)) {
		snprintf(self, sizeof(self), "/proc/self/fd/%d", std);
		fd = open(self, OPEN_FLAGS);
	}
	return fd >= 0 ? fd : fcntl(std, F_DUPFD_CLOEXEC, 3);
}

int log_file_open(struct log_file *f, const char *path, int std)
{
	*f = (struct log_file){.fd = -1, .path = path, .std = std};
	return log_file_reopen(f);
}

int log_file_reopen(struct log_file *f)
{
	bool is_std = strcmp(f->path, "-") == 0;
	int fd;

	if (is_std && f->fd >= 0)
		return 0;
	fd = is_std ? open_std(f->std) : open_path(f->path);
	if (fd < 0)
		return -1;
	use_fd(f, fd);
	return 0;
}

void log_file_adopt(struct log_file *f, int fd)
{
	use_fd(f, fd);
}

void log_file_close(struct log_file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

/* How many bytes to write at once: whole lines, on a pipe no more than it takes in one piece. */
static size_t piece(const struct log_file *f, const char *p, size_t len)
{
	const char *end;

	if (!f->is_pipe || len <= LOG_LINE_MAX)
		return len;
	end = memrchr(p, '\n', LOG_LINE_MAX);
	if (!end)
		end = memchr(p, '\n', len); /* longer than a piece: it may be torn */
	return end ? (size_t)(end - p) + 1 : len;
}

/* One write, after the newline that ends a torn line. What was written of p, or -1 with errno. */
static ssize_t write_piece(struct log_file *f, const char *p, size_t len)
{
	static const char newline = '\n';
	struct iovec iov[2] = {{(void *)(uintptr_t)&newline, 1}, {(void *)(uintptr_t)p, len}};
	struct iovec *first = f->torn ? iov : iov + 1;
	struct msghdr msg = {.msg_iov = first, .msg_iovlen = f->torn ? 2 : 1};
	struct pollfd ask = {.fd = f->fd, .events = POLLOUT};
	ssize_t n;

	if (f->must_poll && poll(&ask, 1, 0) != 1) {
		errno = EAGAIN;
		return -1;
	}
	do {
		n = f->is_sock ? sendmsg(f->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) :
				 writev(f->fd, first, (int)msg.msg_iovlen);
	} while (n < 0 && errno == EINTR);
	if (n > 0 && f->torn) {
		f->torn = false;
		n--;
	}
	return n;
}

long log_file_write(struct log_file *f, const char *p, size_t len)
{
	size_t done = 0;

	if (f->fd < 0) {
		errno = EBADF;
		return -1;
	}
	while (done < len) {
		size_t want = piece(f, p + done, len - done);
		ssize_t n = write_piece(f, p + done, want);
		const char *end;

		if (n < 0) {
			if (done > 0 || errno == EAGAIN)
				break;
			return -1;
		}
		if ((size_t)n == want) {
			done += want;
			continue;
		}
		/* Only lines that are there whole count; the rest of the last one is lost. */
		end = n > 0 ? memrchr(p + done, '\n', (size_t)n) : NULL;
		f->torn = n > 0 && (!end || end + 1 < p + done + n);
		done = end ? (size_t)(end - p) + 1 : done;
		break;
	}
	return (long)done;
}

bool log_file_sink(void *arg, const char *line, size_t len)
{
	return log_file_write(arg, line, len) == (long)len;
}

#define TAIL_MAX 16384 /* more than the longest line */

void log_file_mend(struct log_file *f)
{
	char path[40], tail[TAIL_MAX];
	const char *last;
	struct stat st;
	ssize_t n;
	int fd;

	if (f->fd < 0 || fstat(f->fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size == 0)
		return;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", f->fd);
	fd = open(path, O_RDONLY | O_CLOEXEC); /* ours can only be written */
	if (fd < 0)
		return;
	n = pread(fd, tail, sizeof(tail), st.st_size > TAIL_MAX ? st.st_size - TAIL_MAX : 0);
	close(fd);
	last = n > 0 ? memrchr(tail, '\n', (size_t)n) : NULL;
	if (last && last != tail + n - 1)
		(void)!ftruncate(f->fd, st.st_size - (tail + n - 1 - last));
}
