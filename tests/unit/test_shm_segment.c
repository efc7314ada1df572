/* SPDX-License-Identifier: MIT */
/*
 * The file: exclusive, complete before it has a name, gone after a stop, recognised when stale, and
 * left alone when it is somebody else's. Names bear the pid, so that runs do not meet.
 */
#include "tests/unit/shm_help.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define STARTERS 12
#define ROUNDS 25
#define DEADLINE_MS 20000

static char name[64];       /* "/capricorn-test-..." */
static char path[80];       /* the same in /dev/shm */

static int create(struct shm *s, bool *ret_stale)
{
	return shm_create(s, name, &small_geo, ret_stale, NULL);
}

static bool exists(void)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

static int setup(void **state)
{
	(void)state;
	snprintf(name, sizeof(name), "/capricorn-test-shm-%d", (int)getpid());
	snprintf(path, sizeof(path), "/dev/shm%s", name);
	(void)unlink(path);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return exists() ? -1 : 0; /* each test leaves nothing behind */
}

/* What the processes of a test tell each other. */
static struct {
	_Atomic int go, ready, child, won, busy, other;
} *told;

static void await(_Atomic int *word, int at_least)
{
	uint64_t end = clock_mono_ns() + DEADLINE_MS * NS_PER_MS;

	while (atomic_load(word) < at_least) {
		if (clock_mono_ns() > end)
			fail_msg("nothing came within %d ms", DEADLINE_MS);
		usleep(200);
	}
}

static void sleep_for_ever(void)
{
	for (;;)
		pause();
}

static void test_life_by(enum shm_make how)
{
	struct shm s;
	struct stat st;
	bool stale = true;
	size_t need = 0;
	const struct shm_header *h;

	assert_int_equal(shm_create_by(&s, name, &small_geo, &stale, &need, how), 0);
	assert_false(stale);
	assert_int_equal(stat(path, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_uid, geteuid());
	assert_int_equal(st.st_nlink, 1);
	assert_int_equal(st.st_size, shm_size_for(&small_geo));
	assert_int_equal(st.st_blocks * 512, shm_size_for(&small_geo)); /* all bytes are reserved */
	h = s.head;
	assert_true(h->magic == SHM_MAGIC);
	assert_int_equal(h->layout, SHM_LAYOUT);
	assert_int_equal(h->size, s.size);
	assert_int_equal(h->sections, SHM_SEC_COUNT);
	assert_int_equal(strlen(h->boot_id), 36);
	for (uint32_t i = 0; i < SHM_SEC_COUNT; i++) {
		assert_int_equal(h->section[i].id, i);
		assert_int_equal(h->section[i].offset % SHM_PAGE, 0);
		assert_true(h->section[i].offset + h->section[i].size <= s.size);
		assert_true((uint64_t)h->section[i].elem_size * h->section[i].elem_count <=
			    h->section[i].size);
	}
	assert_string_equal(s.name, name);
	assert_int_equal(fcntl(s.lock_fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	shm_destroy(&s);
	assert_false(exists());
	shm_destroy(&s); /* again: harmless */
}

static void test_life(void **state)
{
	mode_t old = umask(0777);

	(void)state;
	test_life_by(SHM_MAKE_AUTO);
	test_life_by(SHM_MAKE_TMPFILE);
	test_life_by(SHM_MAKE_NAMED);
	umask(old);
}

static void test_busy(void **state)
{
	struct shm a, b;
	bool stale;

	(void)state;
	for (int how = SHM_MAKE_AUTO; how <= SHM_MAKE_NAMED; how++) {
		assert_int_equal(create(&a, &stale), 0);
		assert_int_equal(shm_create_by(&b, name, &small_geo, &stale, NULL,
					       (enum shm_make)how), -EBUSY);
		assert_false(stale);
		assert_null(b.base);
		shm_destroy(&b); /* of what was never made */
		assert_true(exists());
		shm_destroy(&a);
	}
}

static void test_bad_names(void **state)
{
	static const char *const bad[] = {"", "/", "x", "/a/b", "/.", "/..", "//"};
	struct shm s;
	struct shm_geometry g = small_geo;
	char longest[300];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(shm_create(&s, bad[i], &small_geo, NULL, NULL), -EINVAL);
	memset(longest, 'n', sizeof(longest) - 1);
	longest[0] = '/';
	longest[299] = '\0';
	assert_int_equal(shm_create(&s, longest, &small_geo, NULL, NULL), -EINVAL);
	longest[250] = '\0';
	assert_int_equal(shm_create(&s, longest, &small_geo, NULL, NULL), 0);
	shm_destroy(&s);
	g.ring_bytes = 500;
	assert_int_equal(shm_create(&s, name, &g, NULL, NULL), -EINVAL);
	g = small_geo;
	g.slots = 0;
	assert_int_equal(shm_create(&s, name, &g, NULL, NULL), -EINVAL);
}

/* What is not ours is neither used nor removed. */
static void test_foreign(void **state)
{
	struct shm s;
	int fd;

	(void)state;
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_equal(create(&s, NULL), -EACCES);
	assert_int_equal(unlink(path), 0);

	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(create(&s, NULL), -EACCES);
	assert_int_equal(rmdir(path), 0);

	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(create(&s, NULL), -EACCES);
	assert_int_equal(unlink(path), 0);

	fd = open(path, O_CREAT | O_EXCL | O_RDWR, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "data of some other program", 26), 26);
	assert_int_equal(create(&s, NULL), -EEXIST);
	assert_true(exists());
	if (geteuid() == 0) {
		assert_int_equal(fchown(fd, 12345, 12345), 0);
		assert_int_equal(create(&s, NULL), -EACCES);
		assert_true(exists());
	}
	close(fd);
	assert_int_equal(unlink(path), 0);
}

/* Removed by hand, and the name taken by another instance: that one's file stays. */
static void test_name_lost(void **state)
{
	struct shm a, b;

	(void)state;
	assert_int_equal(create(&a, NULL), 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(create(&b, NULL), 0);
	shm_destroy(&a);
	assert_true(exists());
	shm_destroy(&b);
	assert_false(exists());
}

/*
 * A master with a child that has the mapping, too. The child gives the lock descriptor up, or keeps
 * it to show that this is what matters.
 */
static pid_t start_master(bool child_gives_up)
{
	pid_t pid;

	atomic_store(&told->child, 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct shm s;
		pid_t child;

		if (create(&s, NULL) != 0)
			_exit(1);
		child = fork();
		if (child == 0) {
			if (child_gives_up)
				shm_child(&s);
			atomic_store(&told->child, getpid());
			for (;; usleep(500))
				shm_add(&s.slots[1].c.requests, 1); /* its memory stays */
		}
		sleep_for_ever();
	}
	await(&told->child, 1);
	return pid;
}

/* Names and histories are the master's: a stray write of a child ends the child. */
static void test_children_cannot_write_what_is_the_masters(void **state)
{
	struct shm s;

	(void)state;
	assert_int_equal(create(&s, NULL), 0);
	volatile char *const at[] = {
		(char *)s.head, (char *)s.routes, (char *)s.exits, (char *)s.events,
		(char *)s.module,
		(char *)s.slots, /* the only one that it may */
	};
	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		pid_t pid = fork();
		int status;

		if (pid == 0) {
			shm_child(&s);
			(void)signal(SIGSEGV, SIG_DFL); /* a sanitizer has its own */
			*at[i] = 1;
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, i + 1 < sizeof(at) / sizeof(at[0]) ? SIGSEGV : 0);
	}
	shm_event_add(&s, "test", "the master may");
	shm_destroy(&s);
}

static void test_stale(void **state)
{
	struct shm s;
	pid_t master = start_master(true);
	bool stale;

	(void)state;
	assert_int_equal(create(&s, &stale), -EBUSY);
	kill_child(master);
	assert_true(exists());
	assert_int_equal(create(&s, &stale), 0); /* although the child lives on with its mapping */
	assert_true(stale);
	assert_int_equal(kill(told->child, 0), 0);
	assert_int_equal(shm_get(&s.slots[1].c.requests), 0); /* in a segment of its own */
	kill(told->child, SIGKILL);
	shm_destroy(&s);
	assert_false(exists());
}

static void test_lock_is_inherited_until_given_up(void **state)
{
	struct shm s;
	pid_t master = start_master(false);
	uint64_t end = clock_mono_ns() + DEADLINE_MS * NS_PER_MS;
	bool stale;
	int r;

	(void)state;
	kill_child(master);
	assert_int_equal(create(&s, &stale), -EBUSY);
	kill(told->child, SIGKILL); /* not ours to wait for: init reaps it */
	do {
		r = create(&s, &stale);
	} while (r == -EBUSY && clock_mono_ns() < end);
	assert_int_equal(r, 0);
	assert_true(stale);
	shm_destroy(&s);
}

static void starter(enum shm_make how)
{
	struct shm s;
	int r;

	atomic_fetch_add(&told->ready, 1);
	while (!atomic_load(&told->go))
		continue;
	r = shm_create_by(&s, name, &small_geo, NULL, NULL, how);
	atomic_fetch_add(r == 0 ? &told->won : r == -EBUSY ? &told->busy : &told->other, 1);
	while (atomic_load(&told->go) == 1)
		usleep(200);
	shm_destroy(&s);
	_exit(0);
}

/* Many start at once, in every second round over a stale one: exactly one gets it. */
static void test_simultaneous(void **state)
{
	(void)state;
	for (int round = 0; round < ROUNDS; round++) {
		pid_t pid[STARTERS];

		memset((void *)told, 0, sizeof(*told));
		if (round % 2) {
			kill_child(start_master(true));
			kill(told->child, SIGKILL);
		}
		for (int i = 0; i < STARTERS; i++) {
			pid[i] = fork();
			assert_true(pid[i] >= 0);
			if (pid[i] == 0)
				starter(round % 3 == i % 2 ? SHM_MAKE_NAMED : SHM_MAKE_AUTO);
		}
		await(&told->ready, STARTERS);
		atomic_store(&told->go, 1);
		for (uint64_t end = clock_mono_ns() + DEADLINE_MS * NS_PER_MS;
		     told->won + told->busy + told->other < STARTERS && clock_mono_ns() < end;)
			usleep(200);
		assert_int_equal(told->won, 1);
		assert_int_equal(told->busy, STARTERS - 1);
		assert_true(exists());
		atomic_store(&told->go, 2);
		for (int i = 0; i < STARTERS; i++)
			assert_int_equal(waitpid(pid[i], NULL, 0), pid[i]);
		assert_false(exists());
	}
}

/* Killed at any moment of making and removing: the next start finds its way. */
static void test_killed_makers(void **state)
{
	uint64_t seed = 4;
	unsigned stales = 0;

	(void)state;
	for (int i = 0; i < 150; i++) {
		struct shm s;
		bool stale;
		pid_t pid;

		memset((void *)told, 0, sizeof(*told));
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			for (;; atomic_store(&told->ready, 1)) {
				if (create(&s, NULL) != 0)
					_exit(1);
				shm_destroy(&s);
			}
		}
		await(&told->ready, 1);
		spin_us(rnd(&seed) % 300);
		kill_child(pid);
		assert_int_equal(create(&s, &stale), 0);
		stales += stale;
		shm_destroy(&s);
	}
	assert_true(stales > 0);
}

/* A stray write to what the next start relies on ends the process that does it. */
static void test_header_is_read_only(void **state)
{
	struct shm s;
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(create(&s, NULL), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		signal(SIGSEGV, SIG_DFL);
		*(volatile uint64_t *)&s.head->magic = 0;
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	shm_destroy(&s);
}

/* In a mount namespace of its own, with a /dev/shm of 256 KiB. */
static int in_small_shm(void)
{
	struct shm_geometry g;
	struct shm s;
	size_t need = 0;
	bool stale;
	int r;

	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=256k") != 0)
		return 77;
	shm_geometry_for(&g, 4, 100, 64, 64, 8);
	for (int how = SHM_MAKE_AUTO; how <= SHM_MAKE_NAMED; how++) {
		r = shm_create_by(&s, name, &g, &stale, &need, (enum shm_make)how);
		if (r != -ENOSPC || need != shm_size_for(&g) || exists())
			return 1;
	}
	/* Nothing was left behind: what does fit still fits. */
	if (create(&s, &stale) != 0 || s.size < 50000)
		return 2;
	/* A stale one makes room by going away first, before the new one needs it. */
	g = small_geo;
	g.rows = (uint32_t)((256 * 1024 - s.size) / sizeof(struct shm_row) / g.slots);
	if (shm_size_for(&g) + s.size <= 256 * 1024 || shm_size_for(&g) > 256 * 1024)
		return 3;
	munmap(s.base, s.size);
	close(s.lock_fd);
	if (shm_create(&s, name, &g, &stale, &need) != 0 || !stale)
		return 4;
	shm_destroy(&s);
	return exists() ? 5 : 0;
}

static void test_no_space(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(in_small_shm());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77) {
		print_message("no mount namespace of our own here: not tested\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), 0);
}

static uint64_t bill_of(uint32_t workers_max, uint32_t connections)
{
	struct shm_bill_line lines[SHM_SECTIONS_MAX];
	struct shm_geometry g;
	uint64_t total = 0, ours = 0;
	size_t n;

	shm_geometry_for(&g, workers_max, connections, 64, 64, 8);
	n = shm_bill(&g, lines, SHM_SECTIONS_MAX);
	assert_int_equal(n, SHM_SEC_COUNT);
	for (size_t i = 0; i < n; i++) {
		assert_true(strlen(lines[i].section) > 0);
		total += lines[i].bytes;
		/* What modules may have is a bill of its own. */
		if (strncmp(lines[i].section, "module_", 7) != 0)
			ours += lines[i].bytes;
	}
	assert_int_equal(total, shm_size_for(&g));
	return ours;
}

/* 24 and 80 MB are what everything but cache and tables may take: some of it is for later. */
static void test_bill(void **state)
{
	(void)state;
	assert_true(bill_of(18, 1000) <= 23 * 1000000);
	assert_true(bill_of(64, 2000) <= 76 * 1000000);
	assert_true(bill_of(1, 0) > 0);
}

static void test_usage(void **state)
{
	struct shm s;
	struct shm_usage u[SHM_SECTIONS_MAX];

	(void)state;
	fake_init(&s, &small_geo);
	assert_int_equal(shm_slot_claim(&s, SHM_WORKER, 1, 1), 1);
	shm_row_begin(shm_row(&s, 1, 2), SLICE("i"), SLICE("G"), SLICE("/"), "c", 1);
	assert_true(shm_ring_put(&s, 1, SHM_REC_ERROR_LOG, "12345678", 8));
	shm_event_add(&s, "k", "t");
	assert_int_equal(shm_usage(&s, u, SHM_SECTIONS_MAX), SHM_SEC_COUNT);
	assert_int_equal(u[SHM_SEC_SLOTS].used_bytes, sizeof(struct shm_slot));
	assert_int_equal(u[SHM_SEC_ROWS].used_bytes, sizeof(struct shm_row));
	assert_int_equal(u[SHM_SEC_ROUTES].used_bytes, sizeof(struct shm_route));
	assert_int_equal(u[SHM_SEC_RING_DATA].used_bytes, 16);
	assert_int_equal(u[SHM_SEC_EVENTS].used_bytes, SHM_EVENT_WORDS * 8);
	assert_int_equal(u[SHM_SEC_EXITS].used_bytes, 0);
	assert_string_equal(u[SHM_SEC_ROWS].section, "rows");
	assert_int_equal(shm_usage(&s, u, 2), 2);
	fake_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_life, setup, teardown),
		cmocka_unit_test_setup_teardown(test_busy, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_foreign, setup, teardown),
		cmocka_unit_test_setup_teardown(test_name_lost, setup, teardown),
		cmocka_unit_test_setup_teardown(test_children_cannot_write_what_is_the_masters,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_stale, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lock_is_inherited_until_given_up, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_simultaneous, setup, teardown),
		cmocka_unit_test_setup_teardown(test_killed_makers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_header_is_read_only, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_space, setup, teardown),
		cmocka_unit_test(test_bill),
		cmocka_unit_test(test_usage),
	};

	told = mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (told == MAP_FAILED)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
