/* SPDX-License-Identifier: MIT */
/* Slots: who gets which, what an owner inherits, what recovery takes away. */
#include "tests/unit/shm_help.h"

static void test_claim(void **state)
{
	struct shm s;

	(void)state;
	fake_init(&s, &small_geo);
	assert_int_equal(shm_slot_claim(&s, SHM_WORKER, 1, 10), 1);
	assert_int_equal(shm_slot_claim(&s, SHM_KEEPER, 1, 20), 0);
	assert_int_equal(shm_slot_claim(&s, SHM_KEEPER, 1, 20), -1);
	assert_int_equal(shm_slot_claim(&s, SHM_WORKER, 2, 30), 2);
	assert_int_equal(shm_slot_claim(&s, SHM_WORKER, 2, 30), -1);
	assert_int_equal(shm_get(&s.slots[0].kind), SHM_KEEPER);
	assert_int_equal(shm_get(&s.slots[1].kind), SHM_WORKER);
	assert_int_equal(shm_get(&s.slots[2].generation), 2);
	assert_int_equal(shm_get(&s.slots[2].born_ns), 30);
	assert_int_equal(shm_get(&s.slots[2].incarnation), 1);
	shm_slot_recover(&s, 2);
	assert_int_equal(shm_get(&s.slots[2].kind), SHM_FREE);
	assert_int_equal(shm_slot_claim(&s, SHM_WORKER, 3, 40), 2);
	assert_int_equal(shm_get(&s.slots[2].incarnation), 2);
	fake_fini(&s);
}

/* A slot is free when the master says so, whatever somebody wrote over the words. */
static void test_claim_over_garbage(void **state)
{
	struct shm s;
	uint64_t seed = 2;

	(void)state;
	fake_init(&s, &small_geo);
	assert_int_equal(shm_slot_claim(&s, SHM_WORKER, 1, 1), 1);
	fill_random(s.slots, sizeof(*s.slots) * s.geo.slots, &seed);
	assert_int_equal(shm_slot_claim(&s, SHM_WORKER, 1, 1), 2);
	assert_int_equal(shm_slot_claim(&s, SHM_WORKER, 1, 1), -1);
	shm_slot_recover(&s, 1);
	assert_int_equal(shm_slot_claim(&s, SHM_WORKER, 5, 77), 1);
	assert_int_equal(shm_get(&s.slots[1].kind), SHM_WORKER);
	assert_int_equal(shm_get(&s.slots[1].command), SHM_CMD_NONE);
	assert_int_equal(shm_get(&s.slots[1].connections), 0);
	assert_int_equal(shm_get(&s.slots[1].requests_life), 0);
	assert_int_equal(shm_get(&s.slots[1].note_len), 0);
	fake_fini(&s);
}

static void use(struct shm *s, uint32_t i)
{
	struct shm_slot *slot = shm_slot(s, i);

	shm_set(&slot->pid, 123);
	shm_set(&slot->command, SHM_CMD_DRAIN);
	shm_set(&slot->stuck, 1);
	shm_set(&slot->told_dead_ns, 5);
	shm_set(&slot->heartbeat_ns, 6);
	shm_set(&slot->phase, SHM_PH_DRAINING);
	shm_set(&slot->why, SHM_WHY_MAX_REQUESTS);
	shm_set(&slot->connections, 3);
	shm_set(&slot->in_flight, 2);
	shm_set(&slot->current_row, 1);
	shm_set(&slot->listening, 1);
	shm_set(&slot->requests_life, 9);
	shm_set(&slot->requests_goal, 10);
	shm_set(&slot->exit_code, 4);
	shm_set(&slot->rss_bytes, 1);
	shm_note_set(slot, "a.c:1: check failed: x");
	shm_add(&slot->c.requests, 11);
	for (uint32_t r = 0; r < s->geo.rows; r++)
		shm_row_begin(shm_row(s, i, r), SLICE("id"), SLICE("GET"), SLICE("/"), "c", 1);
	shm_set(&shm_row(s, i, 0)->seq, 5); /* killed while it wrote this one */
	shm_hist_add(shm_hist_of(s, i, 1), 100, 11);
	shm_series_add(s, i, 1, 1, 200, 11);
	assert_true(shm_ring_put(s, i, SHM_REC_ERROR_LOG, "last words", 10));
}

static void check_inherited(struct shm *s, uint32_t i)
{
	struct shm_hist_sum sum = {0};
	enum shm_record_kind kind;
	const char *p;
	size_t len;
	char buf[64];

	assert_int_equal(shm_get(&shm_slot(s, i)->c.requests), 11);
	shm_hist_merge(&sum, shm_hist_of(s, i, 1));
	assert_int_equal(sum.count, 11);
	assert_true(shm_ring_peek(s, i, &kind, &p, &len, buf, sizeof(buf)));
	assert_memory_equal(p, "last words", 10);
}

static void test_recover(void **state)
{
	struct shm s;
	struct shm_row_view v;
	char *once, note[SHM_NOTE_MAX];

	(void)state;
	fake_init(&s, &small_geo);
	assert_int_equal(shm_slot_claim(&s, SHM_WORKER, 1, 1), 1);
	assert_int_equal(shm_slot_claim(&s, SHM_WORKER, 1, 1), 2);
	use(&s, 1);
	use(&s, 2);
	shm_slot_recover(&s, 1);
	for (uint32_t r = 0; r < s.geo.rows; r++)
		assert_false(shm_row_read(shm_row(&s, 1, r), &v));
	assert_true(shm_row_read(shm_row(&s, 2, 1), &v)); /* the sibling's are left alone */
	assert_int_equal(shm_get(&s.slots[1].connections), 0);
	assert_int_equal(shm_get(&s.slots[1].in_flight), 0);
	assert_int_equal(shm_get(&s.slots[1].current_row), 0);
	assert_int_equal(shm_get(&s.slots[1].listening), 0);
	assert_int_equal(shm_get(&s.slots[1].phase), SHM_PH_NONE);
	assert_int_equal(shm_get(&s.slots[1].kind), SHM_FREE);
	assert_int_equal(shm_get(&s.slots[2].connections), 3);
	check_inherited(&s, 1);
	once = malloc(s.size);
	assert_non_null(once);
	memcpy(once, s.base, s.size);
	shm_slot_recover(&s, 1);
	assert_memory_equal(once, s.base, s.size);
	free(once);

	assert_int_equal(shm_slot_claim(&s, SHM_WORKER, 7, 2), 1);
	assert_int_equal(shm_get(&s.slots[1].command), SHM_CMD_NONE);
	assert_int_equal(shm_get(&s.slots[1].told_dead_ns), 0);
	assert_int_equal(shm_get(&s.slots[1].heartbeat_ns), 0);
	assert_int_equal(shm_get(&s.slots[1].why), SHM_WHY_NONE);
	assert_int_equal(shm_get(&s.slots[1].requests_life), 0);
	assert_int_equal(shm_get(&s.slots[1].requests_goal), 0);
	assert_int_equal(shm_get(&s.slots[1].exit_code), 0);
	assert_int_equal(shm_note_get(&s.slots[1], note), 0);
	check_inherited(&s, 1);
	fake_fini(&s);
}

static void test_note(void **state)
{
	static struct shm_slot slot;
	char text[600], note[SHM_NOTE_MAX];

	(void)state;
	assert_int_equal(shm_note_get(&slot, note), 0);
	assert_string_equal(note, "");
	shm_note_set(&slot, "x.c:1: check failed: y");
	assert_int_equal(shm_note_get(&slot, note), 22);
	assert_string_equal(note, "x.c:1: check failed: y");
	memset(text, 'n', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	shm_note_set(&slot, text);
	assert_int_equal(shm_note_get(&slot, note), SHM_NOTE_MAX - 1);
	shm_set(&slot.note_len, UINT32_MAX);
	assert_int_equal(shm_note_get(&slot, note), SHM_NOTE_MAX - 1);
}

/* Every row of counters.def is exported by metrics.def, so that none is kept for nobody. */
static void test_counters_are_exported(void **state)
{
	static const char *const exported[] = {
#define SHM_METRIC_FROM(name, labels, counter, per) #counter,
#include "shm/metrics.def"
	};
	static const char *const counted[] = {
#define SHM_COUNTER(name, help) #name,
#include "shm/counters.def"
#undef SHM_COUNTER
	};

	(void)state;
	for (size_t i = 0; i < sizeof(counted) / sizeof(counted[0]); i++) {
		size_t found = 0;

		for (size_t k = 0; k < sizeof(exported) / sizeof(exported[0]); k++)
			found += strcmp(counted[i], exported[k]) == 0;
		/* Requests are exported by series, of which they are the sum. */
		if (found != (strcmp(counted[i], "requests") != 0))
			fail_msg("counter %s is exported %zu times", counted[i], found);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_claim),	cmocka_unit_test(test_claim_over_garbage),
		cmocka_unit_test(test_recover), cmocka_unit_test(test_note),
		cmocka_unit_test(test_counters_are_exported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
