/* SPDX-License-Identifier: MIT */
/*
 * The log files belong to the master: it opens them with its privileges, leaves them to the keeper
 * at fork, and sends new descriptors after a rotation. It writes its own lines, never blocking.
 */
#include "master/master_priv.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static bool same(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

bool master_logs_differ(const struct log_set *set, const struct conf *c)
{
	return !same(set->error_path, c->s.error_log) || !same(set->access_path, c->s.access_log);
}

int master_logs_open(struct log_set *set, const struct conf *c)
{
	*set = (struct log_set){.error.fd = -1, .access.fd = -1};
	set->error_path = strdup(c->s.error_log);
	set->access_path = c->s.access_log ? strdup(c->s.access_log) : NULL;
	if (!set->error_path || (c->s.access_log && !set->access_path)) {
		log_err("logs");
		goto fail;
	}
	if (log_file_open(&set->error, set->error_path, STDERR_FILENO) != 0) {
		log_err("cannot open %s (ERROR_LOG)", set->error_path);
		goto fail;
	}
	if (set->access_path &&
	    log_file_open(&set->access, set->access_path, STDOUT_FILENO) != 0) {
		log_err("cannot open %s (ACCESS_LOG)", set->access_path);
		goto fail;
	}
	return 0;
fail:
	if (set->error.fd < 0) {
		free(set->error_path);
		set->error_path = NULL;
	}
	master_logs_close(set);
	return -1;
}

void master_logs_close(struct log_set *set)
{
	if (set->error_path) {
		log_file_close(&set->error);
		if (set->access.fd >= 0)
			log_file_close(&set->access);
	}
	free(set->error_path);
	free(set->access_path);
	*set = (struct log_set){.error.fd = -1, .access.fd = -1};
}

void master_logs_use(struct master *m, const struct conf *c)
{
	log_set_level(c->s.log_level);
	log_set_format(c->s.log_format);
	log_set_sink(log_file_sink, &m->logs.error);
}

/* One byte and one descriptor. The queue of the pair holds it until the keeper looks. */
static void pass(const struct child *keeper, char what, int fd)
{
	union {
		struct cmsghdr h;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec iov = {.iov_base = &what, .iov_len = 1};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space),
	};
	struct cmsghdr *h = CMSG_FIRSTHDR(&msg);

	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &fd, sizeof(int));
	if (sendmsg(keeper->control.fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) != 1)
		log_warn("the keeper (pid:%d) could not be given a log file", (int)keeper->pid);
}

static void reopen(struct log_file *f, const char *setting, const struct child *keeper, char what)
{
	if (f->fd < 0 || strcmp(f->path, "-") == 0)
		return;
	if (log_file_reopen(f) != 0) {
		log_err("cannot open %s again (%s): the old file stays in use", f->path, setting);
		return;
	}
	if (keeper->state != CHILD_NONE)
		pass(keeper, what, f->fd);
}

void master_logs_reopen(struct master *m)
{
	const struct child *keeper = &m->child[0];

	reopen(&m->logs.error, "ERROR_LOG", keeper, HERITAGE_ERROR_LOG);
	reopen(&m->logs.access, "ACCESS_LOG", keeper, HERITAGE_ACCESS_LOG);
	log_info("Log files are open again");
}
