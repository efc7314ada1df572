/* SPDX-License-Identifier: MIT */
/* conf/cpus.c: affinity and the quotas of control groups, on trees that the test makes. */
#include "conf_help.h"

#include <sched.h>
#include <sys/stat.h>

#include "conf/conf_priv.h"

static char root[200];

/* Writes a file below the root, with the directories above it. */
static void put(const char *path, const char *text)
{
	char full[400];

	snprintf(full, sizeof(full), "%s%s", root, path);
	for (char *p = full + strlen(root) + 1; (p = strchr(p, '/')); *p++ = '/') {
		*p = '\0';
		mkdir(full, 0755);
	}
	write_file(full, text);
}

static int new_root(void **state)
{
	(void)state;
	snprintf(root, sizeof(root), "/tmp/capricorn-cpus-XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int drop_root(void **state)
{
	char command[300];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", root);
	return system(command);
}

static int affinity(void)
{
	cpu_set_t set;

	assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
	return CPU_COUNT(&set);
}

static int at_most(int n)
{
	return n < affinity() ? n : affinity();
}

static void test_no_groups(void **state)
{
	(void)state;
	assert_int_equal(conf_cpus(root), affinity());
	put("/proc/self/cgroup", "");
	assert_int_equal(conf_cpus(root), affinity());
	put("/proc/self/cgroup", "rubbish\n::\n0:\n0::no-slash\n");
	assert_int_equal(conf_cpus(root), affinity());
}

static void test_affinity(void **state)
{
	cpu_set_t was, one;
	int first = 0;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(was), &was), 0);
	while (!CPU_ISSET(first, &was))
		first++;
	CPU_ZERO(&one);
	CPU_SET(first, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	assert_int_equal(conf_cpus(root), 1);
	assert_int_equal(sched_setaffinity(0, sizeof(was), &was), 0);
}

static void test_v2(void **state)
{
	(void)state;
	put("/proc/self/cgroup", "0::/a/b\n");
	put("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
	assert_int_equal(conf_cpus(root), affinity());
	put("/sys/fs/cgroup/a/b/cpu.max", "100000 100000\n");
	assert_int_equal(conf_cpus(root), 1);
	put("/sys/fs/cgroup/a/b/cpu.max", "100001 100000\n"); /* a part of a CPU counts as one */
	assert_int_equal(conf_cpus(root), at_most(2));
	put("/sys/fs/cgroup/a/b/cpu.max", "1000 100000\n");
	assert_int_equal(conf_cpus(root), 1);
	put("/sys/fs/cgroup/a/b/cpu.max", "rubbish\n");
	assert_int_equal(conf_cpus(root), affinity());
}

/* The quota of a group above holds too. */
static void test_v2_parent(void **state)
{
	(void)state;
	put("/proc/self/cgroup", "0::/a/b/c\n");
	put("/sys/fs/cgroup/a/b/c/cpu.max", "max 100000\n");
	put("/sys/fs/cgroup/a/cpu.max", "50000 100000\n");
	assert_int_equal(conf_cpus(root), 1);
}

/* In a container the path may be the host's: the mount point is then the group. */
static void test_v2_mount(void **state)
{
	(void)state;
	put("/proc/self/cgroup", "0::/host/only\n");
	put("/sys/fs/cgroup/cpu.max", "70000 100000\n");
	assert_int_equal(conf_cpus(root), 1);
}

static void test_v1(void **state)
{
	(void)state;
	put("/proc/self/cgroup", "5:memory:/docker/1\n4:cpu,cpuacct:/docker/1\n");
	put("/sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_quota_us", "-1\n");
	put("/sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_period_us", "100000\n");
	assert_int_equal(conf_cpus(root), affinity());
	put("/sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_quota_us", "100000\n");
	assert_int_equal(conf_cpus(root), 1);
}

static void test_v1_short_name(void **state)
{
	(void)state;
	put("/proc/self/cgroup", "4:cpuacct,cpu:/docker/1\n");
	put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "30000\n");
	put("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
	assert_int_equal(conf_cpus(root), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_no_groups, new_root, drop_root),
		cmocka_unit_test_setup_teardown(test_affinity, new_root, drop_root),
		cmocka_unit_test_setup_teardown(test_v2, new_root, drop_root),
		cmocka_unit_test_setup_teardown(test_v2_parent, new_root, drop_root),
		cmocka_unit_test_setup_teardown(test_v2_mount, new_root, drop_root),
		cmocka_unit_test_setup_teardown(test_v1, new_root, drop_root),
		cmocka_unit_test_setup_teardown(test_v1_short_name, new_root, drop_root),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
