/* SPDX-License-Identifier: MIT */
/*
 * Writers and readers as threads of one process, which a thread sanitizer can watch: whatever two
 * processes share, these share in the same way. Counts what has been seen, so that it is not idle.
 */
#include "tests/unit/shm_help.h"

#include <pthread.h>

#define RECORDS 20000u

struct both {
	struct shm s;
	_Atomic bool done;
};

static void *write_all(void *arg)
{
	struct both *b = arg;
	struct shm *s = &b->s;
	char text[128];

	for (unsigned n = 0; n < RECORDS; n++) {
		struct slice t = {text, 1 + n % 100};

		memset(text, 'a' + (int)(n % 26), sizeof(text));
		text[101] = '\0';
		shm_row_begin(shm_row(s, 1, 0), t, t, t, text, n);
		shm_row_state(shm_row(s, 1, 0), SHM_ROW_HANDLING);
		shm_series_add(s, 1, n % 4, n % 5, 200 + n % 7, 1);
		shm_hist_add(shm_hist_of(s, 1, n % 4), n, 1);
		while (!shm_ring_put(s, 1, SHM_REC_ERROR_LOG, (char *)&n, sizeof(n)))
			sched_yield();
		if (n % 16 == 0)
			shm_event_add(s, "kind", "text");
		if (n % 64 == 0)
			shm_note_set(shm_slot(s, 2), "note");
		shm_row_end(shm_row(s, 1, 0));
	}
	atomic_store(&b->done, true);
	return NULL;
}

static void *read_all(void *arg)
{
	struct both *b = arg;
	struct shm *s = &b->s;
	struct shm_row_view v;
	struct shm_event e;
	struct shm_series_view sv;
	uintptr_t seen = 0;

	while (!atomic_load(&b->done)) {
		uint64_t total = 0;

		if (shm_row_read(shm_row(s, 1, 0), &v)) {
			seen++;
			if (v.path[0] != v.id[0] || v.method[0] != v.id[0] ||
			    v.client[0] != v.id[0])
				return NULL;
		}
		for (uint32_t i = 0; i < s->geo.series; i++)
			total += shm_series_read(s, 1, i, &sv) ? sv.count : 0;
		if (total > RECORDS)
			return NULL;
		if (shm_event_read(s, 0, &e) && strcmp(e.text, "text") != 0)
			return NULL;
	}
	return (void *)(seen + 1);
}

static void *take_all(void *arg)
{
	struct both *b = arg;
	unsigned want = 0;

	while (want < RECORDS) {
		enum shm_record_kind kind;
		const char *p;
		size_t len;
		char buf[64];

		if (!shm_ring_peek(&b->s, 1, &kind, &p, &len, buf, sizeof(buf))) {
			sched_yield();
			continue;
		}
		if (len != sizeof(want) || memcmp(p, &want, len) != 0)
			return NULL;
		shm_ring_take(&b->s, 1);
		want++;
	}
	return b;
}

static void test_threads(void **state)
{
	static struct both b;
	struct shm_hist_sum sum = {0};
	pthread_t writer, readers[2], taker;
	void *r;

	(void)state;
	fake_init(&b.s, &small_geo);
	assert_int_equal(pthread_create(&writer, NULL, write_all, &b), 0);
	assert_int_equal(pthread_create(&taker, NULL, take_all, &b), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&readers[i], NULL, read_all, &b), 0);
	assert_int_equal(pthread_join(taker, &r), 0);
	assert_non_null(r);
	assert_int_equal(pthread_join(writer, &r), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(pthread_join(readers[i], &r), 0);
		assert_non_null(r);
	}
	for (uint32_t i = 0; i < 4; i++)
		shm_hist_merge(&sum, shm_hist_of(&b.s, 1, i));
	assert_int_equal(sum.count, RECORDS);
	fake_fini(&b.s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
