/* SPDX-License-Identifier: MIT */
/*
 * How many CPUs there are for us: the smaller of the affinity of this process and the quota of its
 * control group (version 1 or 2) and of the groups above it.
 */
#include "conf/conf_priv.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#define CPUS_MAX 65536

/* A small file of /proc or /sys as a string; false if there is none. */
static bool read_small(const char *path, char *buf, size_t cap)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, buf, cap - 1);
	close(fd);
	if (n < 0)
		return false;
	buf[n] = '\0';
	return true;
}

static int affinity(void)
{
	/* More CPUs than a cpu_set_t holds are possible: it grows until the kernel is content. */
	for (int n = CPU_SETSIZE; n <= CPUS_MAX; n *= 2) {
		cpu_set_t *set = CPU_ALLOC((size_t)n);
		size_t size = CPU_ALLOC_SIZE((size_t)n);
		int count = 0;

		if (!set)
			break;
		if (sched_getaffinity(0, size, set) == 0)
			count = CPU_COUNT_S(size, set);
		CPU_FREE(set);
		if (count > 0)
			return count;
	}
	return (int)sysconf(_SC_NPROCESSORS_ONLN) > 0 ? (int)sysconf(_SC_NPROCESSORS_ONLN) : 1;
}

/* Whole CPUs of a quota, rounded up: half a CPU is one to somebody who counts processes. */
static int whole(int64_t quota, int64_t period)
{
	int64_t n;

	if (quota <= 0 || period <= 0)
		return INT_MAX;
	n = quota / period + (quota % period != 0);
	return n < CPUS_MAX ? (int)n : CPUS_MAX;
}

/* Quota of one directory of version 2: "max 100000" or "150000 100000". */
static int quota_v2(const char *dir)
{
	char path[PATH_MAX], text[64];
	int64_t quota, period;

	if (snprintf(path, sizeof(path), "%s/cpu.max", dir) >= (int)sizeof(path) ||
	    !read_small(path, text, sizeof(text)) ||
	    sscanf(text, "%" SCNd64 " %" SCNd64, &quota, &period) != 2)
		return INT_MAX;
	return whole(quota, period);
}

static int quota_v1(const char *dir)
{
	char path[PATH_MAX], quota[32], period[32];

	if (snprintf(path, sizeof(path), "%s/cpu.cfs_quota_us", dir) >= (int)sizeof(path) ||
	    !read_small(path, quota, sizeof(quota)))
		return INT_MAX;
	if (snprintf(path, sizeof(path), "%s/cpu.cfs_period_us", dir) >= (int)sizeof(path) ||
	    !read_small(path, period, sizeof(period)))
		return INT_MAX;
	return whole(strtoll(quota, NULL, 10), strtoll(period, NULL, 10));
}

/*
 * The smallest quota from `group` up to the mount point. In a container the group's path is often
 * that of the host and is not there; the mount point itself then is our group.
 */
static int smallest(const char *mount, const char *group, int (*quota)(const char *dir))
{
	char dir[PATH_MAX];
	size_t mount_len = strlen(mount);
	int least = INT_MAX, n;

	if (snprintf(dir, sizeof(dir), "%s%s", mount, group) >= (int)sizeof(dir))
		return INT_MAX;
	for (;;) {
		n = quota(dir);
		if (n < least)
			least = n;
		if (strlen(dir) <= mount_len)
			return least;
		*strrchr(dir, '/') = '\0';
	}
}

static bool has_controller(const char *list, const char *word)
{
	size_t len = strlen(word);

	for (; *list; list += strcspn(list, ",") + (list[strcspn(list, ",")] == ','))
		if (strcspn(list, ",") == len && strncmp(list, word, len) == 0)
			return true;
	return false;
}

/* One line of /proc/self/cgroup: "0::/user.slice" (version 2) or "4:cpu,cpuacct:/docker/1". */
static int quota_of_line(const char *root, char *line)
{
	char mount[PATH_MAX];
	char *list = strchr(line, ':');
	char *group = list ? strchr(list + 1, ':') : NULL;
	int n;

	if (!group || group[1] != '/')
		return INT_MAX;
	*group++ = '\0';
	list++;
	if (*list == '\0') {
		snprintf(mount, sizeof(mount), "%s/sys/fs/cgroup", root);
		n = smallest(mount, group, quota_v2);
		if (n != INT_MAX)
			return n;
		snprintf(mount, sizeof(mount), "%s/sys/fs/cgroup/unified", root); /* hybrid */
		return smallest(mount, group, quota_v2);
	}
	if (!has_controller(list, "cpu"))
		return INT_MAX;
	snprintf(mount, sizeof(mount), "%s/sys/fs/cgroup/%s", root, list);
	n = smallest(mount, group, quota_v1);
	if (n != INT_MAX)
		return n;
	snprintf(mount, sizeof(mount), "%s/sys/fs/cgroup/cpu", root);
	return smallest(mount, group, quota_v1);
}

int conf_cpus(const char *root)
{
	char path[PATH_MAX], text[8192];
	char *line, *state = NULL;
	int least = affinity(), n;

	snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
	if (!read_small(path, text, sizeof(text)))
		return least;
	for (line = strtok_r(text, "\n", &state); line; line = strtok_r(NULL, "\n", &state)) {
		n = quota_of_line(root, line);
		if (n < least)
			least = n;
	}
	return least < 1 ? 1 : least;
}
