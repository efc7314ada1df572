/* SPDX-License-Identifier: MIT */
/* Rings: order, wrapping, fullness, damage, and kills of the producer and of the consumer. */
#include "tests/unit/shm_help.h"

struct got {
	bool any;
	enum shm_record_kind kind;
	const char *p;
	size_t len;
	char buf[SHM_RECORD_MAX];
};

static bool peek(struct shm *s, struct got *g)
{
	g->any = shm_ring_peek(s, 1, &g->kind, &g->p, &g->len, g->buf, sizeof(g->buf));
	return g->any;
}

static void test_order(void **state)
{
	struct shm s;
	struct got g;

	(void)state;
	fake_init(&s, &small_geo);
	assert_false(peek(&s, &g));
	shm_ring_take(&s, 1); /* of an empty ring: nothing */
	assert_true(shm_ring_put(&s, 1, SHM_REC_ERROR_LOG, "one", 3));
	assert_true(shm_ring_put(&s, 1, SHM_REC_ACCESS_LOG, "second", 6));
	assert_true(shm_ring_put(&s, 1, SHM_REC_ACCESS_LOG, "", 0));
	for (int again = 0; again < 2; again++) { /* a peek takes nothing */
		assert_true(peek(&s, &g));
		assert_int_equal(g.kind, SHM_REC_ERROR_LOG);
		assert_int_equal(g.len, 3);
		assert_memory_equal(g.p, "one", 3);
	}
	shm_ring_take(&s, 1);
	assert_true(peek(&s, &g));
	assert_int_equal(g.kind, SHM_REC_ACCESS_LOG);
	assert_memory_equal(g.p, "second", 6);
	shm_ring_take(&s, 1);
	assert_true(peek(&s, &g));
	assert_int_equal(g.len, 0);
	shm_ring_take(&s, 1);
	assert_false(peek(&s, &g));
	assert_int_equal(shm_get(&s.rings[1].damaged), 0);
	fake_fini(&s);
}

/* Every length at every place of the ring, so also every way to wrap. */
static void test_wrap(void **state)
{
	struct shm s;
	struct got g;
	char text[504];
	unsigned wrapped = 0;

	(void)state;
	fake_init(&s, &small_geo);
	for (int round = 0; round < 20; round++) {
		for (size_t n = 0; n <= sizeof(text); n++) {
			memset(text, 'a' + (int)(n % 26), sizeof(text));
			assert_true(shm_ring_put(&s, 1, SHM_REC_ERROR_LOG, text, n));
			assert_true(peek(&s, &g));
			assert_int_equal(g.len, n);
			assert_memory_equal(g.p, text, n);
			wrapped += g.p == g.buf;
			shm_ring_take(&s, 1);
			assert_false(peek(&s, &g));
		}
	}
	assert_true(wrapped > 100);
	assert_int_equal(shm_get(&s.rings[1].damaged), 0);
	fake_fini(&s);
}

static void test_full(void **state)
{
	struct shm s;
	struct got g;
	char text[SHM_RECORD_MAX + 1] = {0};
	int n = 0;

	(void)state;
	fake_init(&s, &small_geo);
	while (shm_ring_put(&s, 1, SHM_REC_ERROR_LOG, "12345678", 8))
		n++;
	assert_int_equal(n, 512 / 16);
	assert_int_equal(shm_get(&s.rings[1].lost), 1);
	assert_true(peek(&s, &g));
	shm_ring_take(&s, 1);
	assert_false(shm_ring_put(&s, 1, SHM_REC_ERROR_LOG, "123456789", 9));
	assert_true(shm_ring_put(&s, 1, SHM_REC_ERROR_LOG, "12345678", 8));
	assert_int_equal(shm_get(&s.rings[1].lost), 2);
	assert_false(shm_ring_put(&s, 1, SHM_REC_ERROR_LOG, text, sizeof(text)));
	assert_false(shm_ring_put(&s, 1, SHM_REC_ERROR_LOG, text, SIZE_MAX));
	assert_int_equal(shm_get(&s.rings[1].lost), 4);
	for (int i = 0; i < n; i++) {
		assert_true(peek(&s, &g));
		shm_ring_take(&s, 1);
	}
	assert_false(peek(&s, &g));
	fake_fini(&s);
}

/* Several are looked at before one is taken: what a keeper does that writes them in one call. */
static void test_batch(void **state)
{
	struct shm s;
	struct got g;
	uint64_t pos, second = 0;
	int n = 0;

	(void)state;
	fake_init(&s, &small_geo);
	for (int i = 0; i < 3; i++)
		assert_true(shm_ring_put(&s, 1, SHM_REC_ERROR_LOG, &"abc"[i], 1));
	pos = shm_ring_begin(&s, 1);
	while (shm_ring_peek_at(&s, 1, &pos, &g.kind, &g.p, &g.len, g.buf, sizeof(g.buf))) {
		assert_int_equal(*g.p, "abc"[n]);
		if (n++ == 0)
			second = pos;
	}
	assert_int_equal(n, 3);
	assert_true(peek(&s, &g));
	assert_int_equal(*g.p, 'a'); /* nothing has been taken yet */
	shm_ring_take_to(&s, 1, second);
	assert_true(peek(&s, &g));
	assert_int_equal(*g.p, 'b');
	shm_ring_take_to(&s, 1, pos + 8); /* past the head, or between two records: not taken */
	shm_ring_take_to(&s, 1, pos - 1);
	assert_true(peek(&s, &g));
	assert_int_equal(*g.p, 'b');
	shm_ring_take_to(&s, 1, pos);
	assert_false(peek(&s, &g));
	assert_int_equal(shm_get(&s.rings[1].damaged), 0);
	fake_fini(&s);
}

/* A buffer that is too small cuts what wraps, and nothing else. */
static void test_small_buffer(void **state)
{
	struct shm s;
	enum shm_record_kind kind;
	const char *p;
	size_t len;
	char buf[4], text[400];

	(void)state;
	fake_init(&s, &small_geo);
	memset(text, 'x', sizeof(text));
	assert_true(shm_ring_put(&s, 1, SHM_REC_ERROR_LOG, text, sizeof(text)));
	assert_true(shm_ring_peek(&s, 1, &kind, &p, &len, buf, sizeof(buf)));
	assert_int_equal(len, sizeof(text));
	shm_ring_take(&s, 1);
	assert_true(shm_ring_put(&s, 1, SHM_REC_ERROR_LOG, text, sizeof(text)));
	assert_true(shm_ring_peek(&s, 1, &kind, &p, &len, buf, sizeof(buf)));
	assert_int_equal(len, sizeof(buf));
	assert_memory_equal(p, text, len);
	shm_ring_take(&s, 1);
	assert_int_equal(shm_get(&s.rings[1].damaged), 0);
	fake_fini(&s);
}

/* However the words are damaged: counted once or so, and the ring works again. */
static void test_damage(void **state)
{
	static const uint64_t words[] = {1, 7, 8, 16, 511, 512, 520, 1ULL << 32, UINT64_MAX,
					 UINT64_MAX - 7, UINT64_MAX - 15};
	struct shm s;
	struct got g;

	(void)state;
	fake_init(&s, &small_geo);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		for (int which = 0; which < 3; which++) {
			int records = 0;

			shm_ring_put(&s, 1, SHM_REC_ERROR_LOG, "old", 3);
			if (which == 0)
				shm_set(&s.rings[1].head, words[i]);
			else if (which == 1)
				shm_set(&s.rings[1].tail, words[i]);
			else
				memset(s.ring_data + s.geo.ring_bytes, (int)words[i] & 0xff, 512);
			while (peek(&s, &g) && records++ < 100)
				shm_ring_take(&s, 1);
			assert_true(records < 100);
			/* One put at most is lost by a word that the producer sees first. */
			shm_ring_put(&s, 1, SHM_REC_ERROR_LOG, "zero", 4);
			while (peek(&s, &g) && records++ < 100)
				shm_ring_take(&s, 1);
			assert_true(shm_ring_put(&s, 1, SHM_REC_ERROR_LOG, "good", 4));
			assert_true(peek(&s, &g));
			assert_int_equal(g.len, 4);
			assert_memory_equal(g.p, "good", 4);
			shm_ring_take(&s, 1);
			assert_false(peek(&s, &g));
		}
	}
	assert_true(shm_get(&s.rings[1].damaged) > 10);
	fake_fini(&s);
}

/* Record: its number, then as many bytes of it as the number says. */
static size_t make(char *rec, uint64_t number)
{
	size_t len = 8 + number * 37 % 200;

	memcpy(rec, &number, 8);
	memset(rec + 8, (int)(number & 0xff), len - 8);
	return len;
}

static void check(const struct got *g, uint64_t number)
{
	char want[256];
	size_t len = make(want, number);

	assert_int_equal(g->len, len);
	assert_memory_equal(g->p, want, len);
}

struct shared {
	_Atomic uint64_t made, taken; /* numbers of the next record of producer and consumer */
};

static void produce_for_ever(struct shm *s, struct shared *sh)
{
	char rec[256];

	for (;;) {
		uint64_t n = atomic_load(&sh->made);

		if (shm_ring_put(s, 1, SHM_REC_ERROR_LOG, rec, make(rec, n)))
			atomic_store(&sh->made, n + 1); /* a kill before this one: the same again */
	}
}

/*
 * Producers are killed at random moments. What comes out has no gap and nothing torn; a record
 * comes twice only when its producer was killed between the put and its own note of it.
 */
static void test_killed_producers(void **state)
{
	struct shm s;
	struct got g;
	uint64_t seed = 5, want = 0;
	struct shared *sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_true(sh != MAP_FAILED);
	fake_init(&s, &small_geo);
	for (int i = 0; i < 150; i++) {
		uint64_t repeats = 0, end = 0, before = atomic_load(&sh->made);
		pid_t pid = fork();
		bool dead = false;

		assert_true(pid >= 0);
		if (pid == 0)
			produce_for_ever(&s, sh);
		for (;;) {
			/* Counted from its first record: it may have to wait for a CPU. */
			if (end == 0 && atomic_load(&sh->made) > before)
				end = clock_mono_ns() + rnd(&seed) % 1000000;
			if (!dead && end != 0 && clock_mono_ns() > end) {
				kill_child(pid);
				dead = true;
			}
			if (!peek(&s, &g)) {
				if (dead)
					break;
				continue;
			}
			if (want > 0 && memcmp(g.p, &(uint64_t){want - 1}, 8) == 0) {
				repeats++;
				check(&g, want - 1);
			} else {
				check(&g, want++);
			}
			shm_ring_take(&s, 1);
		}
		assert_true(repeats <= 1);
		assert_true(want == atomic_load(&sh->made) || want == atomic_load(&sh->made) + 1);
	}
	assert_true(want > 150);
	assert_int_equal(shm_get(&s.rings[1].damaged), 0);
	munmap(sh, sizeof(*sh));
	fake_fini(&s);
}

static void consume_for_ever(struct shm *s, struct shared *sh)
{
	struct got g;

	for (;;) {
		uint64_t n;

		if (!peek(s, &g))
			continue;
		memcpy(&n, g.p, 8);
		atomic_store(&sh->taken, n + 1); /* "written to the log" */
		shm_ring_take(s, 1);
	}
}

/* Consumers are killed: each record was seen, the last one of a killed consumer maybe twice. */
static void test_killed_consumers(void **state)
{
	struct shm s;
	char rec[256];
	uint64_t seed = 9, n = 0;
	struct shared *sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_true(sh != MAP_FAILED);
	fake_init(&s, &small_geo);
	for (int i = 0; i < 100; i++) {
		uint64_t end = 0, seen, before = atomic_load(&sh->taken);
		struct got g;
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0)
			consume_for_ever(&s, sh);
		while (end == 0 || clock_mono_ns() < end) {
			if (shm_ring_put(&s, 1, SHM_REC_ERROR_LOG, rec, make(rec, n)))
				n++;
			if (end == 0 && atomic_load(&sh->taken) > before)
				end = clock_mono_ns() + rnd(&seed) % 1000000;
		}
		kill_child(pid);
		seen = atomic_load(&sh->taken);
		if (!peek(&s, &g)) {
			assert_int_equal(seen, n);
			continue;
		}
		/* The next in the ring is the one after what was seen, or that one again. */
		if (memcmp(g.p, &seen, 8) == 0) {
			check(&g, seen);
		} else {
			assert_true(seen > 0);
			check(&g, seen - 1);
		}
	}
	assert_true(n > 100);
	assert_int_equal(shm_get(&s.rings[1].damaged), 0);
	munmap(sh, sizeof(*sh));
	fake_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),		 cmocka_unit_test(test_wrap),
		cmocka_unit_test(test_full),		 cmocka_unit_test(test_small_buffer),
		cmocka_unit_test(test_batch),
		cmocka_unit_test(test_damage),		 cmocka_unit_test(test_killed_producers),
		cmocka_unit_test(test_killed_consumers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
