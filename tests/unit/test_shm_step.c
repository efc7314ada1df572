/* SPDX-License-Identifier: MIT */
/*
 * The proof by single steps: a child runs one operation on a shared segment, stopped after each
 * instruction. Whenever that has changed the segment, a copy is taken as if the child had been
 * killed there; on the copy the rules are checked, and recovery is run, twice.
 */
#include "tests/unit/shm_step.h"

/* What slot 1 looks like when it has been recovered, however far its owner or the master came. */
static void check_recovered(struct shm *c, const struct shm *before)
{
	struct shm_slot *slot = shm_slot(c, 1);
	struct shm_row_view v;
	char *once;

	shm_slot_recover(c, 1);
	once = malloc(c->size);
	assert_non_null(once);
	memcpy(once, c->base, c->size);
	shm_slot_recover(c, 1);
	assert_memory_equal(once, c->base, c->size);
	free(once);
	for (uint32_t r = 0; r < c->geo.rows; r++)
		assert_false(shm_row_read(shm_row(c, 1, r), &v));
	assert_int_equal(shm_get(&slot->kind), SHM_FREE);
	assert_int_equal(shm_get(&slot->connections), 0);
	assert_int_equal(shm_get(&slot->in_flight), 0);
	assert_int_equal(shm_get(&slot->current_row), 0);
	assert_int_equal(shm_get(&slot->listening), 0);
	assert_true(shm_get(&slot->c.requests) >= shm_get(&before->slots[1].c.requests));
}

static void prepare(struct shm *s)
{
	fake_init(s, &small_geo);
	assert_int_equal(shm_slot_claim(s, SHM_WORKER, 1, 1), 1);
	shm_set(&s->slots[1].connections, 3);
	shm_set(&s->slots[1].in_flight, 2);
	shm_set(&s->slots[1].current_row, 1);
	shm_set(&s->slots[1].listening, 1);
	shm_set(&s->slots[1].pid, 99);
	shm_set(&s->slots[1].requests_life, 7);
	shm_set(&s->slots[1].heartbeat_ns, 7);
	shm_add(&s->slots[1].c.requests, 7);
	for (uint32_t r = 0; r < 3; r++)
		shm_row_begin(shm_row(s, 1, r), SLICE("first-id"), SLICE("GET"), SLICE("/first"),
			      "10.0.0.1", 1);
	assert_true(shm_ring_put(s, 1, SHM_REC_ERROR_LOG, "first", 5));
}

static void op_recover(struct shm *s)
{
	shm_slot_recover(s, 1);
}

/* Until the slot is free it is somebody's; when it is free, all has been done. */
static void rule_recover(struct shm *c, const struct shm *before)
{
	struct shm_row_view v;

	if (shm_get(&c->slots[1].kind) == SHM_FREE) {
		for (uint32_t r = 0; r < c->geo.rows; r++)
			assert_false(shm_row_read(shm_row(c, 1, r), &v));
		assert_int_equal(shm_get(&c->slots[1].connections), 0);
		assert_int_equal(shm_get(&c->slots[1].in_flight), 0);
	}
	check_recovered(c, before);
}

static void test_recover(void **state)
{
	struct shm s;
	unsigned n;

	(void)state;
	prepare(&s);
	n = each_step(&s, op_recover, rule_recover);
	fake_fini(&s);
	need_states(n, 8);
}

static void op_claim(struct shm *s)
{
	(void)shm_slot_claim(s, SHM_WORKER, 5, 50);
}

/* Who sees the kind sees a slot that has nothing of its last owner in it. */
static void rule_claim(struct shm *c, const struct shm *before)
{
	struct shm_slot *slot = shm_slot(c, 1);

	if (shm_get(&slot->kind) != SHM_FREE) {
		assert_int_equal(shm_get(&slot->generation), 5);
		assert_int_equal(shm_get(&slot->born_ns), 50);
		assert_int_equal(shm_get(&slot->incarnation), 2);
		assert_int_equal(shm_get(&slot->requests_life), 0);
		assert_int_equal(shm_get(&slot->heartbeat_ns), 0);
	}
	check_recovered(c, before);
}

static void test_claim(void **state)
{
	struct shm s;
	unsigned n;

	(void)state;
	prepare(&s);
	shm_slot_recover(&s, 1);
	n = each_step(&s, op_claim, rule_claim);
	fake_fini(&s);
	need_states(n, 5);
}

static void op_row(struct shm *s)
{
	shm_row_end(shm_row(s, 1, 0));
	shm_row_begin(shm_row(s, 1, 0), SLICE("second-longer-id"), SLICE("DELETE"),
		      SLICE("/second/path"), "fe80::1", 2);
	shm_row_state(shm_row(s, 1, 0), SHM_ROW_WRITING);
	shm_row_end(shm_row(s, 1, 0));
}

/* A row is the first request, or the second one, or nothing. */
static void rule_row(struct shm *c, const struct shm *before)
{
	struct shm_row_view v;

	if (shm_row_read(shm_row(c, 1, 0), &v)) {
		bool first = v.since_ns == 1;

		assert_string_equal(v.id, first ? "first-id" : "second-longer-id");
		assert_string_equal(v.method, first ? "GET" : "DELETE");
		assert_string_equal(v.path, first ? "/first" : "/second/path");
		assert_string_equal(v.client, first ? "10.0.0.1" : "fe80::1");
	}
	check_recovered(c, before);
}

static void test_row(void **state)
{
	struct shm s;
	unsigned n;

	(void)state;
	prepare(&s);
	n = each_step(&s, op_row, rule_row);
	fake_fini(&s);
	need_states(n, 8);
}

/* Several records, long enough to go around the ring of 512 bytes. */
static void op_ring(struct shm *s)
{
	char text[150];

	for (int i = 0; i < 3; i++) {
		memset(text, 'a' + i, sizeof(text));
		(void)shm_ring_put(s, 1, SHM_REC_ACCESS_LOG, text, sizeof(text));
	}
}

/* The first record, then some of the others, whole and in order; the next owner's put works. */
static void rule_ring(struct shm *c, const struct shm *before)
{
	enum shm_record_kind kind;
	const char *p;
	size_t len;
	char buf[512];
	int n = 0;

	check_recovered(c, before); /* keeps the ring */
	while (shm_ring_peek(c, 1, &kind, &p, &len, buf, sizeof(buf))) {
		if (n == 0) {
			assert_int_equal(len, 5);
			assert_memory_equal(p, "first", 5);
		} else {
			assert_int_equal(len, 150);
			for (size_t i = 0; i < len; i++)
				assert_int_equal(p[i], 'a' + n - 1);
		}
		shm_ring_take(c, 1);
		n++;
	}
	assert_in_range(n, 1, 4);
	assert_int_equal(shm_get(&c->rings[1].damaged), 0);
	assert_true(shm_ring_put(c, 1, SHM_REC_ERROR_LOG, "next", 4));
	assert_true(shm_ring_peek(c, 1, &kind, &p, &len, buf, sizeof(buf)));
	assert_memory_equal(p, "next", 4);
}

static void test_ring(void **state)
{
	struct shm s;
	unsigned n;

	(void)state;
	prepare(&s);
	n = each_step(&s, op_ring, rule_ring);
	fake_fini(&s);
	need_states(n, 6);
}

static void op_series(struct shm *s)
{
	for (uint32_t code = 200; code < 205; code++)
		shm_series_add(s, 1, 1, 1, code, 2);
	shm_series_add(s, 1, 1, 1, 200, 1);
}

/* Counts only go up, and each one that can be seen has its key. */
static void rule_series(struct shm *c, const struct shm *before)
{
	struct shm_series_view v;
	uint64_t raw = 0, seen = 0;

	for (uint32_t i = 0; i < c->geo.series; i++) {
		raw += shm_get(&c->series[c->geo.series + i].count);
		if (shm_series_read(c, 1, i, &v)) {
			seen += v.count;
			assert_int_equal(v.route, 1);
			assert_in_range(v.code, 200, 204);
		}
	}
	assert_int_equal(raw, seen);
	check_recovered(c, before);
}

static void test_series(void **state)
{
	struct shm s;
	unsigned n;

	(void)state;
	prepare(&s);
	n = each_step(&s, op_series, rule_series);
	fake_fini(&s);
	need_states(n, 11);
}

static void op_errors(struct shm *s)
{
	for (uint32_t route = 0; route < 4; route++)
		shm_error_add(s, 1, route, SHM_ERR_TWICE);
	shm_error_add(s, 1, 1, SHM_ERR_TWICE);
}

static void rule_errors(struct shm *c, const struct shm *before)
{
	struct shm_series_view v;
	uint64_t raw = 0, seen = 0;

	for (uint32_t i = 0; i < c->geo.errors; i++) {
		raw += shm_get(&c->errors[c->geo.errors + i].count);
		if (shm_error_read(c, 1, i, &v)) {
			seen += v.count;
			assert_int_equal(v.code, SHM_ERR_TWICE);
		}
	}
	assert_int_equal(raw, seen);
	check_recovered(c, before);
}

static void test_errors(void **state)
{
	struct shm s;
	unsigned n;

	(void)state;
	prepare(&s);
	n = each_step(&s, op_errors, rule_errors);
	fake_fini(&s);
	need_states(n, 9);
}

static void op_module(struct shm *s)
{
	uint32_t at;

	(void)shm_module_intern(s, SHM_MK_GAUGE, "gauge", "k=\"v\"", "Help.", 2, &at);
	atomic_store(shm_module_cell(s, 1, at), (uint64_t)-3);
	(void)shm_module_intern(s, SHM_MK_HISTOGRAM, "times_seconds", NULL, NULL, 2, &at);
	shm_hist_add_shared(shm_module_hist(s, 1, at), 5, 1);
}

/* A metric is there whole or not at all, and a gauge never outlives its owner. */
static void rule_module(struct shm *c, const struct shm *before)
{
	struct shm_module_view v;
	uint32_t at;

	for (uint32_t i = 0; i < shm_module_entries(c); i++) {
		if (!shm_module_read(c, i, &v)) {
			assert_int_equal(shm_get(&c->module[i].first_generation), 0);
			continue;
		}
		assert_int_equal(v.last_generation, 2);
		assert_string_equal(v.name, i == 0 ? "gauge" : "times_seconds");
		assert_string_equal(v.labels, i == 0 ? "k=\"v\"" : "");
		assert_string_equal(v.help, i == 0 ? "Help." : "");
	}
	check_recovered(c, before);
	assert_int_equal(shm_get(shm_module_cell(c, 1, 0)), 0);
	/* What was cut can be done again. */
	assert_int_equal(shm_module_intern(c, SHM_MK_GAUGE, "gauge", "k=\"v\"", "Help.", 3, &at),
			 0);
	assert_int_equal(at, 0);
}

static void test_module(void **state)
{
	struct shm s;
	unsigned n;

	(void)state;
	prepare(&s);
	n = each_step(&s, op_module, rule_module);
	fake_fini(&s);
	need_states(n, 9);
}

static void op_history(struct shm *s)
{
	struct shm_exit x = {.pid = 2, .reason = "killed", .path = "/second"};

	shm_exit_add(s, &x);
	(void)shm_route_intern(s, "/second", 2);
}

static void rule_history(struct shm *c, const struct shm *before)
{
	struct shm_exit e;
	char name[SHM_ROUTE_NAME_MAX];

	(void)before;
	for (uint32_t i = 0; i < 6; i++) {
		if (!shm_exit_read(c, i, &e))
			continue;
		assert_true(e.pid == 1 || e.pid == 2);
		assert_string_equal(e.path, e.pid == 1 ? "/first" : "/second");
		assert_string_equal(e.reason, e.pid == 1 ? "stop" : "killed");
	}
	if (shm_route_name(c, 1, name))
		assert_string_equal(name, "/second");
}

static void test_history(void **state)
{
	struct shm_exit x = {.pid = 1, .reason = "stop", .path = "/first"};
	struct shm s;
	unsigned n;

	(void)state;
	prepare(&s);
	for (int i = 0; i < 5; i++)
		shm_exit_add(&s, &x);
	n = each_step(&s, op_history, rule_history);
	fake_fini(&s);
	need_states(n, 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_recover), cmocka_unit_test(test_claim),
		cmocka_unit_test(test_row),	cmocka_unit_test(test_ring),
		cmocka_unit_test(test_series),	cmocka_unit_test(test_errors),
		cmocka_unit_test(test_module),	cmocka_unit_test(test_history),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
