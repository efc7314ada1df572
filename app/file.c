/* SPDX-License-Identifier: MIT */
/*
 * Files as answers: validators from size and time of last change, conditions and a range as RFC
 * 9110 has them. Small ones are copied, since one write is cheaper than a write and a sendfile.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "app/app_priv.h"
#include "base/clock.h"
#include "http/conditional.h"
#include "http/types.h"

struct file {
	int fd;
	int status;
	struct stat st;
	const char *type;
	uint64_t offset, len;    /* what is sent of it */
	char etag[64];
};

static void set_fields(struct capri_request *c, const struct file *f)
{
	char date[HTTP_DATE_LEN + 1];

	http_format_date(f->st.st_mtim.tv_sec, date);
	/* A handler that has used all the room there is gets its file without validators. */
	(void)capri_set_header(c, "ETag", f->etag);
	(void)capri_set_header(c, "Last-Modified", date);
	(void)capri_set_header(c, "Accept-Ranges", "bytes");
}

/* Reads all of what is to be sent. false: it cannot be read whole. */
static bool read_all(int fd, char *to, size_t len, uint64_t offset)
{
	while (len > 0) {
		ssize_t n = pread(fd, to, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		to += n;
		len -= (size_t)n;
		offset += (size_t)n;
	}
	return true;
}

static int answer_copied(struct capri_request *c, const struct file *f)
{
	char *mem = malloc(f->len > 0 ? f->len : 1);
	bool whole = mem && read_all(f->fd, mem, f->len, f->offset);

	close(f->fd);
	if (!whole) {
		free(mem);
		return mem ? CAPRI_E_IO : CAPRI_E_NOMEM;
	}
	return capri_respond_ref(c, f->status, f->type, mem, f->len, free, mem);
}

static int answer_file(struct capri_request *c, const struct file *f)
{
	const struct answer a = {
		.way = WAY_FILE, .status = f->status, .type = f->type, .fd = f->fd,
		.offset = f->offset, .len = f->len,
	};

	if (f->len <= (uint64_t)c->app->conf->s.large_file_threshold)
		return answer_copied(c, f);
	return answer_give(c, &a);
}

static int answer_range(struct capri_request *c, struct file *f, const struct http_validator *v,
			int64_t now_s)
{
	uint64_t size = (uint64_t)f->st.st_size;
	char value[96];

	switch (http_request_range(c->head, v, now_s, size, &f->offset, &f->len)) {
	case HTTP_RANGE_NONE:
		f->offset = 0;
		f->len = size;
		break;
	case HTTP_RANGE_OK:
		f->status = 206;
		snprintf(value, sizeof(value), "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, f->offset,
			 f->offset + f->len - 1, size);
		(void)capri_set_header(c, "Content-Range", value);
		break;
	case HTTP_RANGE_UNSATISFIABLE:
		close(f->fd);
		snprintf(value, sizeof(value), "bytes */%" PRIu64, size);
		(void)capri_set_header(c, "Content-Range", value);
		return capri_problem(c, 416, "The file has no byte of this range.");
	}
	return answer_file(c, f);
}

static int answer_open(struct capri_request *c, struct file *f)
{
	int64_t now_s = (int64_t)(clock_wall_ns() / NS_PER_S);
	struct http_validator v = {.has_mtime = true, .mtime_s = f->st.st_mtim.tv_sec};
	int rc;

	snprintf(f->etag, sizeof(f->etag), "\"%" PRIx64 "-%" PRIx64 ".%lx\"",
		 (uint64_t)f->st.st_size, (uint64_t)f->st.st_mtim.tv_sec,
		 (unsigned long)f->st.st_mtim.tv_nsec);
	v.etag = slice_of(f->etag);
	set_fields(c, f);
	rc = http_check_conditions(c->head, &v, now_s);
	if (rc != 0) {
		close(f->fd);
		return rc == 304 ? capri_respond(c, 304, f->type, NULL, 0)
				 : capri_problem(c, rc, "The file is not the one that was meant.");
	}
	return answer_range(c, f, &v, now_s);
}

static int no_file(struct capri_request *c, int err)
{
	switch (err) {
	case ENOENT:
	case ENOTDIR:
	case ENAMETOOLONG:
	case EISDIR:
	case ENXIO: /* a socket in its place */
		return capri_problem(c, 404, "There is no such file.");
	case EACCES:
	case EPERM:
	case ELOOP:
	case EXDEV: /* a way out of the directory */
		return capri_problem(c, 403, "This file may not be read.");
	default:
		return CAPRI_E_IO;
	}
}

/* fd: open, or -1 with errno. */
static int respond_fd(struct capri_request *c, int fd, const char *path, const char *type)
{
	struct file f = {.fd = fd, .type = type, .status = 200};

	if (fd < 0)
		return no_file(c, errno);
	if (fstat(fd, &f.st) != 0 || !S_ISREG(f.st.st_mode)) {
		close(fd);
		return no_file(c, EISDIR);
	}
	if (!f.type)
		f.type = http_type_of(slice_of(path)).p;
	return answer_open(c, &f);
}

int capri_respond_file(struct capri_request *c, const char *path, const char *type)
{
	if (!path)
		return CAPRI_E_INVALID;
	/* Without blocking: a pipe in the place of a file shall not hold us. */
	return respond_fd(c, open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), path, type);
}

int capri_respond_file_under(struct capri_request *c, const char *directory, struct capri_str path,
			     const char *type)
{
	struct open_how how = {
		.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	char *name;
	int dir, fd, err;

	if (!directory || (path.len > 0 && (!path.p || memchr(path.p, '\0', path.len))))
		return CAPRI_E_INVALID;
	while (path.len > 0 && path.p[0] == '/') {
		path.p++;
		path.len--;
	}
	name = capri_dup(c, path);
	if (!name)
		return CAPRI_E_NOMEM;
	dir = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return no_file(c, errno);
	fd = (int)syscall(SYS_openat2, dir, name[0] ? name : ".", &how, sizeof(how));
	err = errno;
	close(dir);
	errno = err;
	return respond_fd(c, fd, name, type);
}
