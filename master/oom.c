/* SPDX-License-Identifier: MIT */
/*
 * Was it the kernel's OOM killer? A SIGKILL does not tell its sender, but the memory cgroup counts
 * its OOM kills. The count is read at each tick; if it has risen within the last seconds when a
 * process dies of a SIGKILL that we did not send, that is taken for the cause.
 */
#include "master/master_priv.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define WINDOW_NS (2 * NS_PER_S) /* a large process takes a while to die */

/* Copies our path in one hierarchy of /proc/self/cgroup: "0::PATH" or "N:...memory...:PATH". */
static bool cgroup_path(const char *text, bool v2, char *out, size_t cap)
{
	while (*text) {
		const char *end = strchr(text, '\n');
		size_t len = end ? (size_t)(end - text) : strlen(text);
		const char *one = memchr(text, ':', len);
		const char *two = one ? memchr(one + 1, ':', len - (size_t)(one + 1 - text)) : NULL;

		if (two) {
			size_t names = (size_t)(two - one - 1);
			size_t path = len - (size_t)(two + 1 - text);
			bool hit = v2 ? names == 0 :
				   names == 6 && memcmp(one + 1, "memory", 6) == 0;

			if (hit && path < cap) {
				memcpy(out, two + 1, path);
				out[path] = '\0';
				return true;
			}
		}
		text += len + (end != NULL);
	}
	return false;
}

/* The file in our own group, or in the root of the mount (inside a container). */
static int open_in_group(const char *mount, const char *group, const char *file)
{
	char path[600];
	int fd;

	snprintf(path, sizeof(path), "%s%s/%s", mount, group, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	snprintf(path, sizeof(path), "%s/%s", mount, file);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static bool read_count(int fd, uint64_t *ret)
{
	char buf[512];
	const char *p;
	ssize_t n = fd >= 0 ? pread(fd, buf, sizeof(buf) - 1, 0) : -1;

	if (n <= 0)
		return false;
	buf[n] = '\0';
	p = strstr(buf, "oom_kill ");
	if (!p)
		return false;
	*ret = strtoull(p + 9, NULL, 10);
	return true;
}

void master_oom_open(struct master *m)
{
	char text[4096], group[400];
	uint64_t count;
	ssize_t n;
	int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);

	m->oom_fd = -1;
	if (fd < 0)
		return;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	if (cgroup_path(text, false, group, sizeof(group)))
		m->oom_fd = open_in_group("/sys/fs/cgroup/memory", group, "memory.oom_control");
	if (m->oom_fd < 0 && cgroup_path(text, true, group, sizeof(group)))
		m->oom_fd = open_in_group("/sys/fs/cgroup", group, "memory.events");
	if (read_count(m->oom_fd, &count)) {
		m->oom_seen[0] = m->oom_seen[1] = count;
	} else if (m->oom_fd >= 0) {
		close(m->oom_fd);
		m->oom_fd = -1;
	}
}

void master_oom_tick(struct master *m, uint64_t now)
{
	uint64_t count;

	if (m->oom_fd < 0 || now - m->oom_seen_ns < WINDOW_NS || !read_count(m->oom_fd, &count))
		return;
	m->oom_seen[0] = m->oom_seen[1];
	m->oom_seen[1] = count;
	m->oom_seen_ns = now;
}

bool master_oom_happened(struct master *m)
{
	uint64_t count;

	return read_count(m->oom_fd, &count) && count > m->oom_seen[0];
}
