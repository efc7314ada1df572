/* SPDX-License-Identifier: MIT */
/*
 * The listening sockets: opened once, never closed in a reload, shared by all workers. A dying
 * worker loses no queued connection, because the queue is not its own.
 */
#include "master/master_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define RETRY_MS 50 /* an address that is in use is tried again for a second */
#define RETRIES  20

static int set_option(int fd, int level, int option)
{
	int on = 1;

	return setsockopt(fd, level, option, &on, sizeof(on));
}

static int bind_tcp(const struct conf_bind *b)
{
	struct sockaddr_storage ss;
	socklen_t len = net_addr_to_sockaddr(&b->addr, &ss);
	int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	/* [::]:80 and 0.0.0.0:80 are two addresses. TCP_NODELAY passes on to what is accepted. */
	if (set_option(fd, SOL_SOCKET, SO_REUSEADDR) != 0 ||
	    set_option(fd, IPPROTO_TCP, TCP_NODELAY) != 0 ||
	    (ss.ss_family == AF_INET6 && set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY) != 0) ||
	    bind(fd, (struct sockaddr *)&ss, len) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* A socket file that nobody listens on any more. Anything else stays. */
static bool is_stale(const char *path, const struct sockaddr_un *sun)
{
	struct stat st;
	bool stale;
	int fd;

	if (lstat(path, &st) != 0 || !S_ISSOCK(st.st_mode))
		return false;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	stale = connect(fd, (const struct sockaddr *)sun, sizeof(*sun)) != 0 &&
		errno == ECONNREFUSED;
	close(fd);
	return stale;
}

static int bind_unix(struct master *m, const struct conf_bind *b, struct listener *ln)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	struct stat st;
	int fd, rc;

	if (strlen(b->path) >= sizeof(sun.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(sun.sun_path, b->path, strlen(b->path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	rc = bind(fd, (struct sockaddr *)&sun, sizeof(sun));
	if (rc != 0 && errno == EADDRINUSE && is_stale(b->path, &sun)) {
		log_info("Removing %s, which nobody listens on", b->path);
		rc = unlink(b->path) == 0 ? bind(fd, (struct sockaddr *)&sun, sizeof(sun)) : -1;
		if (rc != 0 && errno == ENOENT)
			errno = EADDRINUSE; /* somebody else has removed it, and may bind now */
	}
	if (rc != 0) {
		rc = errno;
		if (rc == EADDRINUSE && lstat(b->path, &st) == 0 && !S_ISSOCK(st.st_mode))
			rc = EEXIST;
		close(fd);
		errno = rc;
		return -1;
	}
	ln->path = strdup(b->path);
	if (ln->path && lstat(b->path, &st) == 0) {
		ln->unlink = true;
		ln->dev = st.st_dev;
		ln->ino = st.st_ino;
	}
	if (m->drop && lchown(b->path, m->uid, m->gid) != 0)
		log_warn("cannot give %s to user %u", b->path, (unsigned)m->uid);
	return fd;
}

/* A stream socket that somebody else has opened and, most likely, made listening. */
static int take_fd(const struct conf_bind *b)
{
	int type, flags;
	socklen_t len = sizeof(type);

	if (getsockopt(b->fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0)
		return -1;
	if (type != SOCK_STREAM) {
		errno = ESOCKTNOSUPPORT;
		return -1;
	}
	flags = fcntl(b->fd, F_GETFL);
	if (flags < 0 || fcntl(b->fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
	    fcntl(b->fd, F_SETFD, FD_CLOEXEC) != 0)
		return -1;
	return b->fd;
}

static void describe(struct listener *ln)
{
	struct sockaddr_storage ss = {0};
	socklen_t len = sizeof(ss);
	char text[NET_TEXT_MAX];

	if (getsockname(ln->h.fd, (struct sockaddr *)&ss, &len) == 0)
		net_addr_from_sockaddr(&ln->h.addr, (struct sockaddr *)&ss, len);
	if (ln->h.addr.family == NET_UNIX) {
		const struct sockaddr_un *sun = (const struct sockaddr_un *)&ss;

		snprintf(ln->url, sizeof(ln->url), "unix:%s",
			 ln->path ? ln->path : sun->sun_path);
	} else {
		net_addr_format_port(&ln->h.addr, text);
		snprintf(ln->url, sizeof(ln->url), "http://%s", text);
	}
	ln->h.url = ln->url;
}

static int try_open(struct master *m, const struct conf_bind *b, int backlog, struct listener *ln)
{
	int err;

	ln->h.fd = -1;
	switch (b->kind) {
	case CONF_BIND_TCP:
		ln->h.fd = bind_tcp(b);
		break;
	case CONF_BIND_UNIX:
		ln->h.fd = bind_unix(m, b, ln);
		break;
	case CONF_BIND_FD:
		ln->h.fd = take_fd(b);
		break;
	}
	if (ln->h.fd < 0)
		return -1;
	/* On a socket that listens already this only sets the backlog. Two sockets may be bound to
	 * one address (SO_REUSEADDR) until one of them listens, so this too can find it in use. */
	if (listen(ln->h.fd, backlog) == 0)
		return 0;
	err = errno;
	close(ln->h.fd);
	ln->h.fd = -1;
	errno = err;
	return -1;
}

static int open_one(struct master *m, const struct conf_bind *b, const char *setting, int backlog,
		    struct listener *ln)
{
	static const struct timespec pause = {.tv_nsec = RETRY_MS * 1000000};
	int rc = try_open(m, b, backlog, ln);

	/* The workers of a master that was killed let go within 100 ms, later on a busy
	 * machine: who starts the next one at once is not turned away. */
	for (int i = 0; rc != 0 && errno == EADDRINUSE && i < RETRIES; i++) {
		nanosleep(&pause, NULL);
		rc = try_open(m, b, backlog, ln);
	}
	if (rc == 0) {
		describe(ln);
		return 0;
	}
	if (errno == EEXIST)
		log_errx("%s: %s is there, and is not a socket", setting, b->text);
	else if (errno == EADDRINUSE)
		log_errx("%s: %s is in use by another process", setting, b->text);
	else
		log_err("%s: cannot listen at %s", setting, b->text);
	return -1;
}

static void warn_of_somaxconn(long backlog)
{
	FILE *f = fopen("/proc/sys/net/core/somaxconn", "re");
	long most;

	if (!f)
		return;
	if (fscanf(f, "%ld", &most) == 1 && most < backlog)
		log_warnx("BACKLOG: %ld is cut to %ld by the kernel (net.core.somaxconn)", backlog,
			  most);
	fclose(f);
}

int master_listen_open(struct master *m, const struct conf *c)
{
	int backlog = c->s.backlog > INT32_MAX ? INT32_MAX : (int)c->s.backlog, failed = 0;

	m->listener = calloc(c->nbinds, sizeof(*m->listener));
	m->heritage_listener = calloc(c->nbinds, sizeof(*m->heritage_listener));
	if (!m->listener || !m->heritage_listener) {
		log_err("listeners");
		return -1;
	}
	for (size_t i = 0; i < c->nbinds; i++) {
		struct listener *ln = &m->listener[m->nlisteners++];

		failed += open_one(m, &c->binds[i], "BIND", backlog, ln) != 0;
		m->heritage_listener[i] = ln->h;
	}
	if (c->has_status_bind) {
		failed += open_one(m, &c->status_bind, "STATUS_BIND", backlog, &m->status) != 0;
		m->has_status = true;
	}
	warn_of_somaxconn(backlog);
	return failed ? -1 : 0;
}

static void close_one(struct listener *ln)
{
	struct stat st;

	/* The name first: who comes now finds nothing rather than a queue that nobody serves. */
	if (ln->unlink && lstat(ln->path, &st) == 0 && st.st_dev == ln->dev && st.st_ino == ln->ino)
		(void)unlink(ln->path);
	ln->unlink = false;
	if (ln->h.fd >= 0)
		close(ln->h.fd);
	ln->h.fd = -1;
	free((char *)ln->path);
	ln->path = NULL;
}

void master_listen_close(struct master *m)
{
	for (uint32_t i = 0; i < m->nlisteners; i++) {
		close_one(&m->listener[i]);
		m->heritage_listener[i].fd = -1;
	}
}

void master_listen_close_status(struct master *m)
{
	if (m->has_status)
		close_one(&m->status);
	m->has_status = false;
}
