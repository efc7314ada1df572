/* SPDX-License-Identifier: MIT */
/*
 * Random bytes over the whole segment: every reader and every operation of the master goes on,
 * within bounds (the segment ends at a page that may not be touched, copies are watched by the
 * sanitizers), and comes to an end. Rounds with few wild bytes find what plain noise does not.
 */
#include "tests/unit/shm_help.h"

#include "shm/sem_priv.h"
#include "shm/rate_priv.h"

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

static void i_found(uint32_t i, uint32_t n)
{
	assert_true(i < n || i == SHM_SEM_NONE);
}

static void read_sems(const struct shm *s)
{
	struct shm_sem_wait_sum sum;
	struct shm_permit_view p;
	struct shm_sem_view v;

	for (uint32_t i = 0; i < s->geo.sems + 2; i++) {
		shm_sem_wait_read(s, i, &sum);
		if (shm_sem_read(s, i, &v)) {
			assert_true(strlen(v.name) < sizeof(v.name));
			assert_true(v.limit <= v.limit_max && v.limit_max <= s->geo.permits);
		}
		for (uint32_t k = 0; k < s->geo.permits + 2; k++)
			if (shm_permit_read(s, i, k, &p))
				assert_true(p.slot < s->geo.slots);
	}
	i_found(shm_sem_find(s, "new", 3), s->geo.sems);
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

/* What workers do with one semaphore, whatever it looks like. */
static void use_sem(struct shm *s, uint32_t sem, uint32_t slot)
{
	struct shm_sem_waits w = {.count = {1, 2, 3}, .oldest_ns = {1, 2, 3}};
	struct shm_sem_wake wake = {0};
	uint32_t permit[4], have = 0;

	(void)shm_sem_acquire(s, sem, slot, 1, false, 1, 1, permit, &have, &wake);
	assert_true(have <= 1);
	shm_sem_release(s, sem, slot, permit, have, 1, &wake);
	shm_sem_wait(s, sem, slot, &w, 1, &wake);
	assert_true(shm_sem_granted(s, sem, slot) <= SHM_CLASSES);
	have = 0;
	(void)shm_sem_acquire(s, sem, slot, 3, true, 1, 1ULL << 40, permit, &have, &wake);
	assert_true(have <= 3);
	for (uint32_t i = 0; i < have; i++)
		assert_true(permit[i] < s->geo.permits);
	(void)shm_sem_set_limit(s, sem, 2, &wake);
	(void)shm_sem_set_limit(s, sem, 9, &wake);
	assert_true(shm_sem_limit(s, sem) <= s->geo.permits);
	shm_sem_release(s, sem, slot, permit, have, 1, &wake);
	shm_sem_wait(s, sem, slot, &(struct shm_sem_waits){0}, 1, &wake);
	shm_sem_count(s, sem, slot, SHM_SEM_QUEUED);
	shm_sem_waited(s, sem, slot, 5);
	for (uint32_t i = 0; i < wake.n; i++)
		assert_true(wake.slot[i] < s->geo.slots);
}

static void read_rates(const struct shm *s)
{
	struct shm_rate_view v;

	for (uint32_t i = 0; i < SHM_RATES + 2; i++) {
		(void)shm_rate_keys_in_use(s, i, 1000000000);
		if (!shm_rate_read(s, i, &v))
			continue;
		assert_in_range(v.algorithm, SHM_RATE_BUCKET, SHM_RATE_WINDOW);
		assert_in_range(v.rate, 1, 1000000);
		assert_true(v.burst <= 1000000 && v.capacity <= s->geo.rate_keys);
		assert_true(strlen(v.name) < sizeof(v.name));
	}
	(void)shm_rate_find(s, "new", 3);
}

static void write_rates(struct shm *s)
{
	struct shm_rate_spec spec = {.name = "new", .algorithm = SHM_RATE_BUCKET, .rate = 5,
				     .period_ns = 1000000000, .burst = 3, .entries = 8};
	struct slice part = SLICE("key");
	struct shm_rate_use uses[4];
	struct shm_rate_say say;
	uint32_t at;
	int refused;

	for (uint32_t i = 0; i < SHM_RATES; i += 4) {
		for (uint32_t k = 0; k < 4; k++)
			uses[k] = (struct shm_rate_use){
				.rate = i + k, .hash = shm_rate_hash(s, &part, 1) * (k + 1)};
		(void)shm_rate_charge(s, 1, false, uses, 4, 5000000000, &refused);
		for (uint32_t k = 0; k < 4; k++)
			shm_rate_say(s, &uses[k], 5000000000, &say);
		assert_true(refused >= -1 && refused < 4);
		shm_rate_refund(s, uses, 4);
		(void)shm_rate_set(s, i, 7, 7, false);
	}
	for (uint32_t i = 0; i < 3; i++) {
		if (shm_rate_intern(s, &spec, 3, &at) == 0)
			assert_true(at < SHM_RATES);
		spec.algorithm = SHM_RATE_WINDOW;
		spec.entries = 16 * i;
	}
	(void)shm_rate_charge(s, 1, true, uses, 4, 5000000000, &refused);
}

/* What master and workers write must stay inside as well. */
static void write_all(struct shm *s)
{
	struct shm_sem_spec spec = {"new", 2, 9, {3, 2, 1}};
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
		for (uint32_t k = 0; k < s->geo.sems; k++)
			use_sem(s, k, i);
		shm_slot_recover(s, i);
	}
	assert_int_equal(shm_slot_claim(s, SHM_KEEPER, 1, 1), 0);
	assert_int_equal(shm_slot_claim(s, SHM_WORKER, 1, 1), 1);
	(void)shm_route_intern(s, "/new", 3);
	if (shm_sem_intern(s, &spec, 3, &at) == 0)
		assert_true(at < s->geo.sems);
	if (shm_module_intern(s, SHM_MK_GAUGE, "new", "a=\"b\"", "Help.", 3, &at) == 0)
		assert_true(at < s->geo.module_metrics);
	if (shm_module_intern(s, SHM_MK_HISTOGRAM, "new_seconds", NULL, NULL, 3, &at) == 0)
		assert_true(at < s->geo.module_hists);
	write_rates(s);
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
	read_sems(s);
	read_rates(s);
	read_rings(s);
	read_rest(s);
	write_all(s);
	read_rows(s);
	read_series(s);
	read_errors(s);
	read_module(s);
	read_sems(s);
	read_rates(s);
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
		for (int k = 0; k < 4; k++) {
			((char *)s.rates)[rnd(&seed) % (8 * sizeof(*s.rates))] = (char)rnd(&seed);
			((char *)s.rate_words)[rnd(&seed) % (8 * sizeof(*s.rate_words))] =
				(char)rnd(&seed);
			((char *)s.rate_sets)[rnd(&seed) % (8 * sizeof(*s.rate_sets))] =
				(char)rnd(&seed);
		}
		for (int k = 0; k < 4; k++)
			((char *)s.module)[rnd(&seed) % (sizeof(*s.module) *
							 shm_module_entries(&s))] =
				(char)rnd(&seed);
		for (int k = 0; k < 4; k++) {
			((char *)s.sems)[rnd(&seed) % (sizeof(*s.sems) * s.geo.sems)] =
				(char)rnd(&seed);
			shm_set(&s.permits[rnd(&seed) % s.geo.permits], (uint32_t)rnd(&seed));
			shm_set(&s.permits[rnd(&seed) % s.geo.permits],
				sem_granted((uint32_t)rnd(&seed) % 4, (uint32_t)rnd(&seed) % 4));
			shm_set(&s.sem_bits[rnd(&seed) % 24], rnd(&seed) & rnd(&seed));
		}
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
		read_sems(&s);
		read_rates(&s);
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
