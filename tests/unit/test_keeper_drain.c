/* SPDX-License-Identifier: MIT */
/* From rings into files: order, batches, full disks, stalled pipes, a keeper that is killed. */
#include "tests/unit/shm_help.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "keeper/drain.h"

static const struct shm_geometry geo = {
	.slots = 4, .rows = 4, .routes = 2, .series = 64, .errors = 32,
	.ring_bytes = 65536, .exits = 4,
	.events = 4,
};

struct fixture {
	struct shm shm;
	struct heritage h;
	struct log_file error, access;
	char dir[64], error_path[96], access_path[96];
	struct drain *drain;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	fake_init(&f->shm, &geo);
	strcpy(f->dir, "/tmp/capricorn-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->error_path, sizeof(f->error_path), "%s/error", f->dir);
	snprintf(f->access_path, sizeof(f->access_path), "%s/access", f->dir);
	assert_int_equal(log_file_open(&f->error, f->error_path, 2), 0);
	assert_int_equal(log_file_open(&f->access, f->access_path, 1), 0);
	f->h = (struct heritage){.shm = &f->shm, .error_log = &f->error, .access_log = &f->access};
	assert_int_equal(drain_new(&f->h, &f->drain), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	drain_free(f->drain);
	log_file_close(&f->error);
	log_file_close(&f->access);
	unlink(f->error_path);
	unlink(f->access_path);
	assert_int_equal(rmdir(f->dir), 0);
	fake_fini(&f->shm);
	free(f);
	return 0;
}

static bool put(struct fixture *f, uint32_t slot, enum shm_record_kind kind, const char *line)
{
	return shm_ring_put(&f->shm, slot, kind, line, strlen(line));
}

/* What is in the file; static memory. */
static const char *content(const char *path)
{
	static char text[4 << 20];
	int fd = open(path, O_RDONLY);
	ssize_t n;

	assert_true(fd >= 0);
	n = read(fd, text, sizeof(text) - 1);
	assert_true(n >= 0);
	close(fd);
	text[n] = '\0';
	return text;
}

static uint64_t written(struct fixture *f)
{
	return shm_get(&f->shm.inst->access_written);
}

static uint64_t failed(struct fixture *f)
{
	return shm_get(&f->shm.inst->access_failed);
}

static void test_kinds(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(drain_round(f->drain), DRAIN_EMPTY);
	assert_true(put(f, 1, SHM_REC_ACCESS_LOG, "a1\n"));
	assert_true(put(f, 1, SHM_REC_ERROR_LOG, "e1\n"));
	assert_true(put(f, 1, SHM_REC_ACCESS_LOG, "a2\n"));
	assert_true(put(f, 3, SHM_REC_ACCESS_LOG, "a3\n"));
	assert_true(put(f, 0, SHM_REC_ERROR_LOG, "e0\n"));
	assert_int_equal(drain_round(f->drain), DRAIN_SOME);
	assert_int_equal(drain_round(f->drain), DRAIN_EMPTY);
	assert_string_equal(content(f->access_path), "a1\na2\na3\n");
	assert_string_equal(content(f->error_path), "e0\ne1\n");
	assert_int_equal(written(f), 3);
	assert_int_equal(failed(f), 0);
}

/* A line for each number, in order, over many laps of the ring. */
static void test_many(void **state)
{
	struct fixture *f = *state;
	char line[64];
	const char *p;
	int put_n = 0, n = 0;

	while (put_n < 40000) {
		snprintf(line, sizeof(line), "line %d of them\n", put_n);
		if (put(f, 2, SHM_REC_ACCESS_LOG, line))
			put_n++;
		else
			assert_int_equal(drain_round(f->drain), DRAIN_SOME);
	}
	while (drain_round(f->drain) != DRAIN_EMPTY)
		;
	p = content(f->access_path);
	for (; *p != '\0'; n++) {
		int len = snprintf(line, sizeof(line), "line %d of them\n", n);

		assert_memory_equal(p, line, (size_t)len);
		p += len;
	}
	assert_int_equal(n, put_n);
	assert_int_equal(written(f), put_n);
}

static void test_full_disk(void **state)
{
	struct fixture *f = *state;
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

	if (full < 0)
		skip();
	log_file_adopt(&f->access, full);
	f->access.is_pipe = f->access.must_poll = false;
	for (int i = 0; i < 100; i++)
		assert_true(put(f, 1, SHM_REC_ACCESS_LOG, "lost\n"));
	assert_true(put(f, 1, SHM_REC_ERROR_LOG, "not lost\n"));
	assert_int_equal(drain_round(f->drain), DRAIN_SOME);
	assert_int_equal(drain_round(f->drain), DRAIN_EMPTY);
	assert_int_equal(failed(f), 100);
	assert_int_equal(written(f), 0);
	assert_string_equal(content(f->error_path), "not lost\n");
}

/* A pipe that nobody reads: lines stay in the ring until it is half full; then access lines go, are
 * counted, and the error log gets on. Nothing blocks, and what the pipe takes is whole. */
static void test_stalled_pipe(void **state)
{
	struct fixture *f = *state;
	char line[128], back[256];
	uint64_t total = 0;
	int p[2];

	assert_int_equal(pipe2(p, O_CLOEXEC | O_NONBLOCK), 0);
	assert_true(fcntl(p[1], F_SETPIPE_SZ, 4096) >= 4096);
	log_file_adopt(&f->access, p[1]);
	for (int i = 0; i < 2000; i++, total++) {
		int len = snprintf(line, sizeof(line), "%05d a line that nobody reads\n", i);

		if (!shm_ring_put(&f->shm, 1, SHM_REC_ACCESS_LOG, line, (size_t)len))
			break;
	}
	assert_true(put(f, 1, SHM_REC_ERROR_LOG, "behind them\n") || total < 2000);
	for (int i = 0; i < 100 && drain_round(f->drain) != DRAIN_EMPTY; i++)
		;
	assert_true(written(f) > 0);
	assert_true(failed(f) > 0);
	/* What still waits is less than half a ring, and comes out when the pipe is read. */
	while (written(f) + failed(f) < total || drain_round(f->drain) != DRAIN_EMPTY) {
		ssize_t n = read(p[0], back, 32);

		assert_true(n > 0 || errno == EAGAIN);
		(void)drain_round(f->drain);
	}
	assert_int_equal(written(f) + failed(f), total);
	for (ssize_t n; (n = read(p[0], back, sizeof(back))) > 0;)
		back[0] = back[n - 1];
	assert_int_equal(back[0], '\n');
	close(p[0]);
}

static void test_access_log_off(void **state)
{
	struct fixture *f = *state;

	log_file_close(&f->access);
	assert_true(put(f, 1, SHM_REC_ACCESS_LOG, "a\n"));
	assert_true(put(f, 1, SHM_REC_ERROR_LOG, "e\n"));
	assert_int_equal(drain_round(f->drain), DRAIN_SOME);
	assert_int_equal(drain_round(f->drain), DRAIN_EMPTY);
	assert_string_equal(content(f->error_path), "e\n");
	assert_int_equal(failed(f), 0);
}

/* Keepers that are killed again and again: every line is in the file, in order, none is cut; some
 * may be there twice. */
static void test_kills(void **state)
{
	struct fixture *f = *state;
	uint64_t seed = 42;
	int put_n = 0, want = 0;
	char line[64];

	for (int round = 0; round < 30; round++) {
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL); /* not to be left over by a failed test */
			log_file_mend(&f->access); /* as the keeper does at its start */
			for (;;)
				(void)drain_round(f->drain);
		}
		for (int i = 0; i < 200; i++) {
			snprintf(line, sizeof(line), "line %d\n", put_n);
			if (put(f, 1, SHM_REC_ACCESS_LOG, line))
				put_n++;
		}
		spin_us(rnd(&seed) % 3000);
		kill_child(pid);
	}
	log_file_mend(&f->access);
	while (drain_round(f->drain) != DRAIN_EMPTY)
		;
	for (const char *p = content(f->access_path); *p != '\0';) {
		char *end;
		long n;

		assert_int_equal(strncmp(p, "line ", 5), 0);
		n = strtol(p + 5, &end, 10);
		assert_int_equal(*end, '\n');
		assert_true(n <= want); /* n < want: written a second time */
		want = (int)n + 1;
		p = end + 1;
	}
	assert_int_equal(want, put_n);
}

static void test_garbage(void **state)
{
	struct fixture *f = *state;
	uint64_t seed = 7;

	for (int round = 0; round < 200; round++) {
		fill_random(f->shm.rings, geo.slots * sizeof(*f->shm.rings), &seed);
		fill_random(f->shm.ring_data, (size_t)geo.slots * geo.ring_bytes, &seed);
		for (uint32_t i = 0; i < geo.slots; i++) {
			uint64_t tail = rnd(&seed) & ~UINT64_C(7);

			if (rnd(&seed) % 2 == 0)
				continue;
			shm_set(&f->shm.rings[i].tail, tail);
			shm_set(&f->shm.rings[i].head, tail + (rnd(&seed) % geo.ring_bytes & ~7u));
		}
		for (int i = 0; i < 3; i++)
			(void)drain_round(f->drain);
		assert_int_equal(drain_round(f->drain), DRAIN_EMPTY);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_kinds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full_disk, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stalled_pipe, setup, teardown),
		cmocka_unit_test_setup_teardown(test_access_log_off, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kills, setup, teardown),
		cmocka_unit_test_setup_teardown(test_garbage, setup, teardown),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
