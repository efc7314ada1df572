/* SPDX-License-Identifier: MIT */
/*
 * Random bytes over the whole segment: every reader and every operation of the master goes on,
 * within bounds (the segment ends at a page that may not be touched, copies are watched by the
 * sanitizers), and comes to an end. Rounds with few wild bytes find what plain noise does not.
 */
#include "tests/unit/shm_help.h"

#define ROUNDS 300

static volatile char touched; /* makes sure that records are read to their end */

static void read_rows(const struct shm *s)
{
	struct shm_row_view v;

	for (uint32_t i = 0; i < s->geo.slots; i++) {
		for (uint32_t r = 0; r < s->geo.rows; r++) {
			if (!shm_row_read(shm_row(s, i, r), &v))
				continue;
			assert_in_range(v.state, SHM_ROW_READING, SHM_ROW_STATES - 1);
			assert_true(strlen(v.id) < sizeof(v.id));
			assert_true(strlen(v.method) < sizeof(v.method));
			assert_true(strlen(v.client) < sizeof(v.client));
			assert_true(strlen(v.path) < sizeof(v.path));
		}
	}
}

static void read_series(const struct shm *s)
{
	struct shm_series_view v;

	for (uint32_t i = 0; i < s->geo.slots; i++) {
		for (uint32_t k = 0; k < s->geo.series; k++) {
			if (!shm_series_read(s, i, k, &v))
				continue;
			assert_true(v.route < s->geo.routes && v.method < 256);
			assert_in_range(v.code, 100, 999);
		}
	}
}

static void read_errors(const struct shm *s)
{
	struct shm_series_view v;

	for (uint32_t i = 0; i < s->geo.slots; i++)
		for (uint32_t k = 0; k < s->geo.errors; k++)
			if (shm_error_read(s, i, k, &v))
				assert_true(v.route < s->geo.routes && v.method == 0 &&
					    v.code < SHM_ERR_COUNT);
}

static void read_module(const struct shm *s)
{
	struct shm_module_view v;

	for (uint32_t i = 0; i < shm_module_entries(s) + 2; i++) {
		if (!shm_module_read(s, i, &v))
			continue;
		assert_in_range(v.kind, SHM_MK_COUNTER, SHM_MK_HISTOGRAM);
		assert_true(v.index < (v.kind == SHM_MK_HISTOGRAM ? s->geo.module_hists
								  : s->geo.module_metrics));
		assert_in_range(strlen(v.name), 1, 80);
		assert_true(strlen(v.labels) <= 200 && strlen(v.help) <= 160);
	}
}

static void read_rings(struct shm *s)
{
	enum shm_record_kind kind;
	const char *p;
	size_t len;
	char buf[64];

	for (uint32_t i = 0; i < s->geo.slots; i++) {
		uint32_t n = 0;

		while (shm_ring_peek(s, i, &kind, &p, &len, buf, sizeof(buf))) {
			assert_true(len <= SHM_RECORD_MAX);
			for (size_t k = 0; k < len; k++)
				touched ^= p[k];
			assert_true(n++ < s->geo.ring_bytes / 8);
			shm_ring_take(s, i);
		}
	}
}

static void read_rest(const struct shm *s)
{
	struct shm_usage use[SHM_SECTIONS_MAX];
	struct shm_hist_sum sum = {0};
	struct shm_exit e;
	struct shm_event ev;
	char name[SHM_ROUTE_NAME_MAX], note[SHM_NOTE_MAX];

	for (uint32_t i = 0; i < s->geo.slots; i++) {
		assert_true(shm_note_get(shm_slot(s, i), note) < sizeof(note));
		for (uint32_t r = 0; r < s->geo.routes; r++)
			shm_hist_merge(&sum, shm_hist_of(s, i, r));
	}
	(void)shm_hist_quantile_us(&sum, 0.99);
	for (uint32_t i = 0; i < s->geo.routes + 2; i++)
		if (shm_route_name(s, i, name))
			assert_true(strlen(name) < sizeof(name));
	assert_true(shm_route_find(s, "/x") < s->geo.routes);
	for (uint32_t i = 0; i < s->geo.exits + 2; i++)
		if (shm_exit_read(s, i, &e))
			assert_true(strlen(e.reason) < sizeof(e.reason) &&
				    strlen(e.note) < sizeof(e.note) &&
				    strlen(e.request_id) < sizeof(e.request_id) &&
				    strlen(e.method) < sizeof(e.method) &&
				    strlen(e.path) < sizeof(e.path) &&
				    strlen(e.client) < sizeof(e.client));
	for (uint32_t i = 0; i < s->geo.events + 2; i++)
		if (shm_event_read(s, i, &ev))
			assert_true(strlen(ev.kind) < sizeof(ev.kind) &&
				    strlen(ev.text) < sizeof(ev.text));
	assert_int_equal(shm_usage(s, use, SHM_SECTIONS_MAX), SHM_SEC_COUNT);
	for (int i = 0; i < SHM_SEC_COUNT; i++)
		assert_true(use[i].used_bytes <= use[i].bytes);
}

/* What master and workers write must stay inside as well. */
static void write_all(struct shm *s)
{
	struct shm_exit x = {.pid = 1};
	uint32_t at;

	for (uint32_t i = 0; i < s->geo.slots; i++) {
		shm_row_begin(shm_row(s, i, 0), SLICE("id"), SLICE("GET"), SLICE("/"), "c", 1);
		shm_row_state(shm_row(s, i, 0), SHM_ROW_HANDLING);
		shm_hist_add(shm_hist_of(s, i, 1), 77, 1);
		shm_series_add(s, i, 1, 2, 200, 1);
		shm_error_add(s, i, 1, SHM_ERR_TWICE);
		shm_hist_add_shared(shm_module_hist(s, i, 1), 77, 1);
		(void)shm_ring_put(s, i, SHM_REC_ERROR_LOG, "text", 4);
		shm_slot_recover(s, i);
	}
	assert_int_equal(shm_slot_claim(s, SHM_KEEPER, 1, 1), 0);
	assert_int_equal(shm_slot_claim(s, SHM_WORKER, 1, 1), 1);
	(void)shm_route_intern(s, "/new", 3);
	if (shm_module_intern(s, SHM_MK_GAUGE, "new", "a=\"b\"", "Help.", 3, &at) == 0)
		assert_true(at < s->geo.module_metrics);
	if (shm_module_intern(s, SHM_MK_HISTOGRAM, "new_seconds", NULL, NULL, 3, &at) == 0)
		assert_true(at < s->geo.module_hists);
	shm_exit_add(s, &x);
	shm_event_add(s, "kind", "text");
	assert_true(shm_exit_read(s, 0, &x)); /* the newest is sound */
	shm_slot_recover(s, 0);
	shm_slot_recover(s, 1);
}

static void go_on(struct shm *s)
{
	read_rows(s);
	read_series(s);
	read_errors(s);
	read_module(s);
	read_rings(s);
	read_rest(s);
	write_all(s);
	read_rows(s);
	read_series(s);
	read_errors(s);
	read_module(s);
	read_rings(s);
	read_rest(s);
}

/* Like fake_init(), with an inaccessible page behind. */
static void fenced_init(struct shm *s, const struct shm_geometry *g)
{
	*s = (struct shm){.geo = *g, .size = shm_size_for(g), .lock_fd = -1};
	s->base = mmap(NULL, s->size + SHM_PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(s->base != MAP_FAILED);
	assert_int_equal(mprotect(s->base + s->size, SHM_PAGE, PROT_NONE), 0);
	s->claimed = calloc(g->slots, sizeof(*s->claimed));
	assert_non_null(s->claimed);
	shm_place(s);
	shm_format(s);
}

static void test_noise(void **state)
{
	struct shm s;
	uint64_t seed = 20;

	(void)state;
	fenced_init(&s, &small_geo);
	for (int i = 0; i < ROUNDS; i++) {
		fill_random(s.base + SHM_PAGE, s.size - SHM_PAGE, &seed);
		go_on(&s);
	}
	free(s.claimed);
	munmap(s.base, s.size + SHM_PAGE);
}

/* A living segment in which some words have been overwritten: most of it still makes sense. */
static void test_wild_words(void **state)
{
	static const uint64_t words[] = {0, 1, 255, 0xffffffff, 1ULL << 63, UINT64_MAX, 512, 7};
	struct shm s;
	uint64_t seed = 21;

	(void)state;
	fenced_init(&s, &small_geo);
	for (int i = 0; i < ROUNDS; i++) {
		write_all(&s);
		/* A section that is small among the others gets its part, too. */
		for (int k = 0; k < 4; k++)
			((char *)s.module)[rnd(&seed) % (sizeof(*s.module) *
							 shm_module_entries(&s))] =
				(char)rnd(&seed);
		for (int k = 0; k < 200; k++) {
			uint64_t at = SHM_PAGE + rnd(&seed) % (s.size - SHM_PAGE - 8);
			uint64_t w = k % 4 ? words[rnd(&seed) % 8] : rnd(&seed);

			memcpy(s.base + (at & ~7ULL), &w, 8);
		}
		shm_set(&s.rings[i % 3].head, words[rnd(&seed) % 8]);
		shm_set(&s.rings[i % 3].tail, rnd(&seed) % 1024);
		go_on(&s);
	}
	free(s.claimed);
	munmap(s.base, s.size + SHM_PAGE);
}

/* Readers while another process writes noise all the time. */
static void test_noise_meanwhile(void **state)
{
	struct shm s;
	uint64_t seed = 22, end;
	pid_t pid;

	(void)state;
	fake_init(&s, &small_geo);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		for (;;)
			fill_random(s.base + SHM_PAGE, s.size - SHM_PAGE, &seed);
	end = clock_mono_ns() + 300 * NS_PER_MS;
	while (clock_mono_ns() < end) {
		read_rows(&s);
		read_series(&s);
		read_errors(&s);
		read_module(&s);
		for (uint32_t i = 0; i < s.geo.slots; i++) {
			enum shm_record_kind kind;
			const char *p;
			size_t len;
			char buf[64];

			for (int n = 0; n < 100; n++) {
				if (!shm_ring_peek(&s, i, &kind, &p, &len, buf, sizeof(buf)))
					break;
				assert_true(len <= SHM_RECORD_MAX);
				shm_ring_take(&s, i);
			}
		}
		read_rest(&s);
	}
	kill_child(pid);
	fake_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_noise),
		cmocka_unit_test(test_wild_words),
		cmocka_unit_test(test_noise_meanwhile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
