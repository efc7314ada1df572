/* SPDX-License-Identifier: MIT */
/* Rows: what is cut, what is read, and that a reader sees whole rows whoever is killed. */
#include "tests/unit/shm_help.h"

static void begin(struct shm_row *r, const char *id, const char *method, const char *path,
		  const char *client)
{
	shm_row_begin(r, slice_of(id), slice_of(method), slice_of(path), client, 42);
}

static void test_life(void **state)
{
	static struct shm_row r; /* gcc's fake stack does not align to a cache line */
	struct shm_row_view v;

	(void)state;
	assert_false(shm_row_read(&r, &v));
	begin(&r, "abc", "GET", "/a/long/path", "127.0.0.1");
	assert_true(shm_row_read(&r, &v));
	assert_int_equal(v.state, SHM_ROW_READING);
	assert_int_equal(v.since_ns, 42);
	assert_string_equal(v.id, "abc");
	assert_string_equal(v.method, "GET");
	assert_string_equal(v.path, "/a/long/path");
	assert_string_equal(v.client, "127.0.0.1");
	for (int st = SHM_ROW_READING; st < SHM_ROW_STATES; st++) {
		shm_row_state(&r, (enum shm_row_state)st);
		assert_true(shm_row_read(&r, &v));
		assert_int_equal(v.state, st);
		assert_string_equal(v.path, "/a/long/path");
	}
	shm_row_end(&r);
	assert_false(shm_row_read(&r, &v));
	shm_row_end(&r);
	/* Nothing of the last request shines through a shorter one. */
	begin(&r, "", "", "", "");
	assert_true(shm_row_read(&r, &v));
	assert_string_equal(v.id, "");
	assert_string_equal(v.method, "");
	assert_string_equal(v.path, "");
	assert_string_equal(v.client, "");
	shm_row_begin(&r, (struct slice){0}, (struct slice){0}, (struct slice){0}, "x", 1);
	assert_true(shm_row_read(&r, &v));
	assert_string_equal(v.id, "");
}

/* Each text at each length, over one row that always has the rest of the one before in it. */
static void test_lengths(void **state)
{
	static struct shm_row r; /* gcc's fake stack does not align to a cache line */
	struct shm_row_view v;
	char text[301];

	(void)state;
	for (size_t n = 0; n <= 300; n++) {
		for (size_t i = 0; i < n; i++)
			text[i] = (char)('!' + (i + n) % 90);
		text[n] = '\0';
		begin(&r, text, text, text, text);
		assert_true(shm_row_read(&r, &v));
		assert_int_equal(strlen(v.id), n < SHM_ROW_ID ? n : SHM_ROW_ID);
		assert_int_equal(strlen(v.method), n < SHM_ROW_METHOD ? n : SHM_ROW_METHOD);
		assert_int_equal(strlen(v.path), n < SHM_ROW_PATH ? n : SHM_ROW_PATH);
		assert_int_equal(strlen(v.client), n < SHM_ROW_CLIENT ? n : SHM_ROW_CLIENT - 1);
		assert_memory_equal(v.id, text, strlen(v.id));
		assert_memory_equal(v.method, text, strlen(v.method));
		assert_memory_equal(v.path, text, strlen(v.path));
		assert_memory_equal(v.client, text, strlen(v.client));
	}
}

static void test_half_written(void **state)
{
	static struct shm_row r; /* gcc's fake stack does not align to a cache line */
	struct shm_row_view v;

	(void)state;
	begin(&r, "id", "GET", "/", "c");
	shm_set(&r.seq, shm_get(&r.seq) + 1); /* killed in a begin */
	assert_false(shm_row_read(&r, &v));
	shm_row_end(&r);
	assert_false(shm_row_read(&r, &v));
	begin(&r, "next", "GET", "/", "c"); /* the next owner of the slot */
	assert_true(shm_row_read(&r, &v));
	assert_string_equal(v.id, "next");
}

/* All texts of one writing are runs of the same letter, so a mixture of two shows. */
static void write_for_ever(struct shm_row *r, uint64_t seed)
{
	char text[128];

	for (;;) {
		uint64_t n = rnd(&seed);
		struct slice s = {text, 1 + (n >> 8) % sizeof(text)};

		memset(text, 'a' + (int)(n % 26), sizeof(text));
		text[40] = '\0'; /* the client is a string */
		shm_row_begin(r, s, s, (struct slice){text, s.len < 40 ? s.len : 40}, text, n % 26);
		shm_row_state(r, SHM_ROW_HANDLING);
		if (n % 5 == 0)
			shm_row_end(r);
	}
}

static void check_run(const char *text, uint64_t letter)
{
	size_t n = strlen(text);

	assert_true(n > 0);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(text[i], 'a' + (int)letter);
}

static unsigned read_while(const struct shm_row *r, uint64_t us)
{
	uint64_t end = clock_mono_ns() + us * 1000;
	struct shm_row_view v;
	unsigned seen = 0;

	while (clock_mono_ns() < end) {
		if (!shm_row_read(r, &v))
			continue;
		seen++;
		check_run(v.id, v.since_ns);
		check_run(v.method, v.since_ns);
		check_run(v.client, v.since_ns);
		check_run(v.path, v.since_ns);
	}
	return seen;
}

static void test_killed_writers(void **state)
{
	struct shm_row *r = mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t seed = 7;
	unsigned seen = 0;

	(void)state;
	assert_true(r != MAP_FAILED);
	for (int i = 0; i < 100; i++) {
		struct shm_row_view v;
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0)
			write_for_ever(r, (uint64_t)i + 1);
		seen += read_while(r, 2000 + rnd(&seed) % 1000);
		kill_child(pid);
		seen += read_while(r, 20);
		shm_row_end(r);
		assert_false(shm_row_read(r, &v));
	}
	assert_true(seen > 100);
	munmap(r, sizeof(*r));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_life),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_half_written),
		cmocka_unit_test(test_killed_writers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
