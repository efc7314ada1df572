/* SPDX-License-Identifier: MIT */
/*
 * The store of the cache by single steps. A process is stopped after each instruction that has
 * changed the segment, as if killed there. On copies of that moment: others go on without a
 * recovery; recovery, twice; others go on after it. At no moment has a key other bytes than were
 * put under it, half of them, or those of before once it was told that they are gone; and
 * afterwards nothing is lost: all of the memory can be filled again, each segment is somebody's or
 * free, and what is counted is what is there. Then some are not killed, but held up for long.
 */
#include "tests/unit/shm_step.h"

#include "shm/cache_priv.h"

#define S_NS 1000000000ULL
#define NOW (50 * S_NS)
#define END (100 * S_NS)
#define KEYS 40
#define ME 1u
#define OTHER 2u

static const struct shm_geometry geo = {
	.slots = 4, .rows = 1, .routes = 2, .series = 17, .errors = 17, .ring_bytes = 64,
	.exits = 1, .events = 1,
	.cache_segs = 8, .cache_seg_bytes = 512, .cache_buckets = 8, .cache_ghosts = 64,
	.cache_leases = 8,
};

/* ---- objects: all bytes follow from key and version ---- */

static struct slice key_of(unsigned k, char buf[8])
{
	snprintf(buf, 8, "key-%02u", k % 100);
	return (struct slice){buf, 6};
}

static unsigned char byte_of(unsigned k, unsigned version, size_t i)
{
	return (unsigned char)(k * 31 + version * 97 + i * 7 + (i >> 8));
}

static int put(struct shm *s, uint32_t slot, unsigned k, unsigned version, size_t len,
	       uint64_t birth)
{
	unsigned char value[2048];
	char buf[8], tag[8];
	struct slice piece = {(char *)value, len}, tags[1] = {{tag, 4}};
	struct shm_cache_put p = {
		.key = key_of(k, buf), .value = &piece, .nvalue = 1, .tags = tags, .ntags = 1,
		.fresh_ns = END, .stale_ns = END, .kind = version, .birth = birth,
	};

	snprintf(tag, sizeof(tag), "t:%02u", k % 100);
	p.hash = shm_cache_hash(s, p.key);
	for (size_t i = 0; i < len; i++)
		value[i] = byte_of(k, version, i);
	return shm_cache_put(s, slot, &p, NOW);
}

/* Version of what is found + 1; 0 = nothing. */
static unsigned look(struct shm *s, uint32_t slot, unsigned k, bool use)
{
	struct shm_cache_ref ref;
	char buf[8];
	struct slice key = key_of(k, buf);
	size_t at = 0;

	if (shm_cache_get(s, slot, shm_cache_hash(s, key), key, use, NOW, &ref) != SHM_CACHE_HIT)
		return 0;
	assert_int_equal(ref.key.len, key.len);
	assert_memory_equal(ref.key.p, key.p, key.len);
	for (uint32_t i = 0; i < ref.npieces; i++) {
		struct slice p = shm_cache_piece(s, &ref, i);

		for (size_t n = 0; n < p.len; n++, at++)
			assert_true((unsigned char)p.p[n] == byte_of(k, ref.kind, at));
	}
	assert_int_equal(at, ref.value_len);
	shm_cache_unpin(s, slot, &ref);
	return ref.kind + 1;
}

static unsigned look_at_all(struct shm *s)
{
	unsigned n = 0;

	for (unsigned k = 0; k < KEYS; k++)
		n += look(s, OTHER, k, false) != 0;
	return n;
}

/* What the operation has been told that it is gone, or is there: the slot's words say it. */
static _Atomic uint64_t *gone(struct shm *s) { return &s->slots[ME].requests_life; }
#define NOTHING 0
#define IS_GONE 1

/* ---- what must be true ---- */

static uint64_t entries(const struct shm *s)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < geo.cache_buckets; i++)
		for (uint32_t w = 0; w < CACHE_WAYS; w++)
			n += shm_get(&s->cache_index[i].entry[w]) != 0;
	return n;
}

static void sweep(struct shm *s)
{
	struct shm_cache_sweep sw = {0};

	assert_true(shm_cache_sweep(s, 0, &sw, geo.cache_segs, NOW));
}

static void check_owned(struct shm *s)
{
	for (uint32_t i = 0; i < geo.cache_segs; i++) {
		struct cache_word w = cache_word_of(shm_get(&s->cache_segs[i])), head;

		assert_true(w.state != CACHE_OPENING && w.state != CACHE_EVICTING);
		if (w.state != CACHE_EXTENT)
			continue;
		head = cache_word_of(shm_get(&s->cache_segs[w.ref]));
		assert_true(cache_is_readable(head.state) && head.large &&
			    (uint16_t)head.gen == w.of);
	}
	for (uint32_t k = 0; k < SHM_CACHE_PINS; k++)
		assert_int_equal(shm_get(&s->cache_slots[ME].pin[k]), 0);
	for (uint32_t i = 0; i < CACHE_BANS; i++)
		assert_true((shm_get(&s->cache_bans[i].word) & 3) != CACHE_BAN_PENDING);
	for (uint32_t i = 0; i < geo.cache_leases; i++)
		assert_int_equal(shm_get(&s->cache_leases[i]), 0);
}

/* Others use the cache: small ones and large ones. All of the memory comes around. */
static void others_go_on(struct shm *s, bool all)
{
	uint64_t birth = shm_cache_birth(s);

	for (unsigned k = 10; k < (all ? 40 : 16); k++) {
		assert_int_equal(put(s, OTHER, k, 5, k % 9 == 0 ? 900 : 120, birth), 0);
		assert_int_equal(look(s, OTHER, k, true), 6);
	}
}

static void check_later(struct shm *s)
{
	struct shm_cache_view v;

	sweep(s);
	sweep(s);
	shm_cache_read(s, &v);
	assert_int_equal(v.items, entries(s));
	assert_int_equal(v.by_state[CACHE_LIMBO] + v.by_state[CACHE_OPENING] +
			 v.by_state[CACHE_EVICTING], 0);
	assert_int_equal(v.by_state[CACHE_FREE] + v.by_state[CACHE_LIVE] + v.by_state[CACHE_EXTENT],
			 geo.cache_segs);
	assert_int_equal(look_at_all(s), v.items);
	others_go_on(s, true);
	(void)shm_cache_invalidate(s, OTHER, SHM_CACHE_ALL, (struct slice){"", 0});
	sweep(s);
	shm_cache_read(s, &v);
	assert_int_equal(v.items, 0);
	assert_int_equal(v.live_bytes, 0);
	/* But for the two that are open all is free. */
	assert_in_range(v.by_state[CACHE_FREE], geo.cache_segs - 2, geo.cache_segs);
}

static void rule(struct shm *c, const struct shm *before)
{
	bool told = shm_get(gone(c)) == IS_GONE;
	enum shm_cache_lease lease;
	struct shm_cache_fill f;

	(void)before;
	(void)look_at_all(c);
	if (told)
		assert_int_equal(look(c, OTHER, 1, false), 0);
	others_go_on(c, false);
	lease = shm_cache_fill_begin(c, OTHER, 77, S_NS, NOW, &f);
	assert_int_not_equal(lease, SHM_CACHE_ALONE);
	(void)look_at_all(c);
	shm_slot_recover(c, ME);
	if (lease == SHM_CACHE_LEADER)
		shm_cache_fill_end(c, NULL, OTHER, &f);
	check_owned(c);
	if (told)
		assert_int_equal(look(c, OTHER, 1, false), 0);
	shm_slot_recover(c, ME);
	check_owned(c);
	check_later(c);
}

/* The same without others before the recovery: what was cut meets it as it was. */
static void rule_alone(struct shm *c, const struct shm *before)
{
	(void)before;
	shm_slot_recover(c, ME);
	check_owned(c);
	(void)look_at_all(c);
	check_later(c);
}

/* ---- operations ---- */

static void scene(struct shm *s)
{
	fake_init(s, &geo);
	assert_int_equal(shm_slot_claim(s, SHM_KEEPER, 1, NOW), 0);
	assert_int_equal(shm_slot_claim(s, SHM_WORKER, 1, NOW), ME);
	assert_int_equal(shm_slot_claim(s, SHM_WORKER, 1, NOW), OTHER);
	for (unsigned k = 0; k < 4; k++)
		assert_int_equal(put(s, OTHER, k, 0, 40 + 50 * k, 0), 0);
}

/* The cache is full, and some of it was used. */
static void full_scene(struct shm *s)
{
	scene(s);
	for (unsigned k = 10; k < 40; k++) {
		assert_int_equal(put(s, OTHER, k, 0, 120, 0), 0);
		if (k % 3 == 0)
			assert_int_equal(look(s, OTHER, k, true), 1);
	}
}

static void op_put(struct shm *s)
{
	(void)put(s, ME, 5, 1, 90, shm_cache_birth(s));
}

static void op_replace(struct shm *s)
{
	(void)put(s, ME, 1, 1, 100, shm_cache_birth(s));
	(void)put(s, ME, 1, 2, 60, shm_cache_birth(s));
}

static void op_get(struct shm *s)
{
	(void)look(s, ME, 1, true);
	(void)look(s, ME, 2, true);
}

static void op_touch(struct shm *s)
{
	struct shm_cache_ref ref;
	char buf[8];
	struct slice key = key_of(1, buf);

	if (shm_cache_get(s, ME, shm_cache_hash(s, key), key, true, NOW, &ref) != SHM_CACHE_HIT)
		return;
	shm_cache_touch(s, &ref, END + S_NS, END + 2 * S_NS);
	shm_cache_unpin(s, ME, &ref);
}

static void op_delete(struct shm *s)
{
	char buf[8];
	struct slice key = key_of(1, buf);

	(void)shm_cache_delete(s, ME, shm_cache_hash(s, key), key);
	shm_set(gone(s), IS_GONE);
}

static void op_tag(struct shm *s)
{
	(void)shm_cache_invalidate(s, ME, SHM_CACHE_TAG, (struct slice){"t:01", 4});
	shm_set(gone(s), IS_GONE);
	(void)look(s, ME, 1, true);
}

static void op_pattern(struct shm *s)
{
	(void)shm_cache_invalidate(s, ME, SHM_CACHE_PATTERN, (struct slice){"key-0?", 6});
	shm_set(gone(s), IS_GONE);
}

/* It was computed before, and is put after it was invalidated. */
static void op_late(struct shm *s)
{
	uint64_t birth = shm_cache_birth(s);

	(void)shm_cache_invalidate(s, ME, SHM_CACHE_TAG, (struct slice){"t:01", 4});
	shm_set(gone(s), IS_GONE);
	(void)put(s, ME, 1, 3, 70, birth);
}

/* Seals, opens, evicts, moves. */
static void op_evict(struct shm *s)
{
	for (unsigned k = 4; k < 8; k++)
		(void)put(s, ME, k, 1, 200, shm_cache_birth(s));
}

static void op_large(struct shm *s)
{
	(void)put(s, ME, 5, 1, 900, shm_cache_birth(s));
	(void)put(s, ME, 5, 2, 950, shm_cache_birth(s));
	(void)put(s, ME, 5, 3, 20, shm_cache_birth(s));
}

static void op_trim(struct shm *s)
{
	shm_cache_set(s, SHM_CACHE_LRU, 4);
	(void)put(s, ME, 5, 1, 30, shm_cache_birth(s));
	(void)put(s, ME, 6, 1, 30, shm_cache_birth(s));
}

static void op_sweep(struct shm *s)
{
	struct shm_cache_sweep sw = {0};

	(void)shm_cache_invalidate(s, ME, SHM_CACHE_PATTERN, (struct slice){"key-?1", 6});
	shm_set(gone(s), IS_GONE);
	(void)shm_cache_sweep(s, ME, &sw, geo.cache_segs, NOW);
}

static void op_lease(struct shm *s)
{
	struct shm_cache_fill f, g;

	if (shm_cache_fill_begin(s, ME, 77, S_NS, NOW, &f) != SHM_CACHE_LEADER)
		return;
	(void)shm_cache_fill_begin(s, ME, 77, S_NS, NOW, &g);
	shm_cache_fill_end(s, NULL, ME, &f);
	if (shm_cache_fill_begin(s, ME, 78, S_NS, NOW, &f) == SHM_CACHE_LEADER)
		shm_cache_fill_end(s, NULL, ME, &f);
}

/* Recovery is cut, too: of a slot that was cut amidst all that has an owner. */
static void op_recover(struct shm *s)
{
	shm_slot_recover(s, ME);
}

static void cut_scene(struct shm *s)
{
	struct cache c;
	struct cache_room large;
	struct shm_cache_ref ref;
	struct shm_cache_fill f;
	uint32_t list[1];
	char buf[8];
	struct slice key = key_of(1, buf);

	scene(s);
	c = cache_of(s);
	assert_true(cache_reserve_large(&c, ME, 1, list, &large));
	assert_int_equal(shm_cache_get(s, ME, shm_cache_hash(s, key), key, true, NOW, &ref),
			 SHM_CACHE_HIT);
	assert_int_equal(shm_cache_fill_begin(s, ME, 77, S_NS, NOW, &f), SHM_CACHE_LEADER);
	shm_set(&c.bans[1].word, 1ULL << 20 | ME << 2 | CACHE_BAN_PENDING);
	for (uint32_t i = 0; i < geo.cache_segs; i++) {
		struct cache_word w = cache_word_of(shm_get(&c.word[i]));

		if (w.state != CACHE_LIVE)
			continue;
		w.state = CACHE_EVICTING;
		w.ref = ME;
		shm_set(&c.word[i], cache_word_pack(w));
		break;
	}
}

/* ---- history ---- */

/* One miss a minute: of a sample that is whole the misses tell the minute. */
static void one_more_minute(struct shm *s, uint64_t minute)
{
	shm_cache_count(s, ME, SHM_CACHE_MISSES, 1);
	shm_cache_sample(s, NOW + minute * SHM_CACHE_SAMPLE_NS);
}

static void sampled_scene(struct shm *s)
{
	scene(s);
	for (uint64_t i = 0; i < SHM_CACHE_SAMPLES; i++)
		one_more_minute(s, i);
}

static void op_sample(struct shm *s)
{
	one_more_minute(s, SHM_CACHE_SAMPLES);
	one_more_minute(s, SHM_CACHE_SAMPLES + 1);
}

/* Who reads gets whole ones, each a minute older than the one before; the next keeper goes on. */
static void rule_sample(struct shm *c, const struct shm *before)
{
	uint64_t later = NOW + 2 * SHM_CACHE_SAMPLES * SHM_CACHE_SAMPLE_NS, at = later;
	struct shm_cache_sample x;
	uint32_t n = 0;

	(void)before;
	for (; shm_cache_sample_read(c, n, &x); n++, at = x.at_ns) {
		assert_true(x.items == 4 && x.puts == 4);
		assert_int_equal(x.at_ns, NOW + (x.misses - 1) * SHM_CACHE_SAMPLE_NS);
		assert_true(n == 0 ? x.at_ns < at : x.at_ns + SHM_CACHE_SAMPLE_NS == at);
	}
	assert_in_range(n, SHM_CACHE_SAMPLES - 1, SHM_CACHE_SAMPLES);
	shm_slot_recover(c, ME);
	shm_cache_sample(c, later);
	assert_true(shm_cache_sample_read(c, 0, &x));
	assert_true(x.at_ns == later && x.items == 4);
}

static void test_sample(void **state)
{
	struct shm s;
	unsigned n;

	(void)state;
	sampled_scene(&s);
	n = each_step(&s, op_sample, rule_sample);
	print_message("%u states\n", n);
	need_states(n, 10);
	fake_fini(&s);
}

/* ---- held up ---- */

#define HELD_UP_MOST 10

/* An operation is stopped before and after each of its changes, others come and go, and then it
 * goes on: what it had in hand must not damage what they have made since. */
static void held_up(operation_f *set, operation_f *op, operation_f *others, operation_f *check,
		    bool long_one)
{
	static struct path path;
	unsigned n, tried = 0;

	if (!step_all() && long_one) {
		print_message("only with STEP_ALL: it takes seconds to find the way of it\n");
		skip();
	}
	find_path(set, op, &path);
	n = 2 * path.nchanges;
	for (unsigned k = 0; k < n; k++) {
		struct shm s;
		pid_t pid;

		if (!is_tried(k, n, HELD_UP_MOST))
			continue;
		set(&s);
		pid = step_begin_plain(&s, op);
		if (go_to(pid, spot_at(&path, path.change[k / 2] - (k % 2 == 0)))) {
			others(&s);
			step_finish(pid);
			tried++;
		}
		check(&s);
		fake_fini(&s);
	}
	print_message("held up at %u of %u moments\n", tried, n);
	assert_true(tried >= 6);
}

/* The ring goes around, to the cell that the other one was stopped at. */
static void others_invalidate(struct shm *s)
{
	uint64_t from = shm_get(&s->cache_head->bans);

	while (shm_get(&s->cache_head->bans) < from + CACHE_BANS - 1)
		(void)shm_cache_invalidate(s, OTHER, SHM_CACHE_TAG, (struct slice){"none", 4});
	assert_int_equal(put(s, OTHER, 2, 1, 30, shm_get(&s->cache_head->bans)), 0);
	assert_int_equal(put(s, OTHER, 3, 1, 30, shm_get(&s->cache_head->bans)), 0);
	(void)shm_cache_invalidate(s, OTHER, SHM_CACHE_TAG, (struct slice){"t:02", 4});
}

static void rule_invalidated(struct shm *s)
{
	assert_int_equal(look(s, OTHER, 1, false), 0);
	assert_int_equal(look(s, OTHER, 2, false), 0);
	assert_int_equal(look(s, OTHER, 3, false), 2);
}

static void op_tag_only(struct shm *s)
{
	(void)shm_cache_invalidate(s, ME, SHM_CACHE_TAG, (struct slice){"t:01", 4});
}

static void test_held_up_invalidation(void **state)
{
	(void)state;
	held_up(scene, op_tag_only, others_invalidate, rule_invalidated, false);
}

/* What is moved while one looks for it is found. */
static void op_seek(struct shm *s)
{
	shm_set(gone(s), NOTHING);
	if (look(s, ME, 1, true) == 0)
		shm_set(gone(s), IS_GONE);
}

static void others_move(struct shm *s)
{
	uint64_t birth = shm_cache_birth(s);

	for (unsigned k = 10; k < 30; k++) {
		assert_int_equal(put(s, OTHER, k, 5, 120, birth), 0);
		assert_int_equal(look(s, OTHER, 1, true), 1);
	}
	assert_true(shm_get(&s->cache_slots[OTHER].count[SHM_CACHE_KEPT]) > 0);
}

static void rule_found(struct shm *s)
{
	assert_int_equal(shm_get(gone(s)), NOTHING);
	assert_int_equal(look(s, OTHER, 1, false), 1);
}

static void test_held_up_reader(void **state)
{
	(void)state;
	held_up(scene, op_seek, others_move, rule_found, false);
}

/* All of the memory comes around several times, in other ways than before. */
static void others_turn(struct shm *s)
{
	uint64_t birth = shm_cache_birth(s);

	for (unsigned n = 0; n < 3; n++)
		for (unsigned k = 10; k < 40; k++)
			(void)put(s, OTHER, k, 5 + n, (k + n) % 7 == 0 ? 900 : 30 + k * 3, birth);
	(void)look_at_all(s);
}

static void rule_whole(struct shm *s)
{
	struct shm_cache_view v;

	(void)look_at_all(s);
	sweep(s);
	(void)look_at_all(s);
	sweep(s);
	shm_cache_read(s, &v);
	assert_int_equal(v.items, entries(s));
	assert_int_equal(v.pinned, 0);
	check_owned(s);
	check_later(s);
}

static void op_one_large(struct shm *s)
{
	(void)put(s, ME, 5, 1, 900, shm_cache_birth(s));
}

static void op_one_more(struct shm *s)
{
	(void)put(s, ME, 5, 1, 300, shm_cache_birth(s));
}

#define HELD_UP(name, set, op, long_one)                               \
	static void name(void **state)                                 \
	{                                                              \
		(void)state;                                           \
		held_up(set, op, others_turn, rule_whole, long_one);   \
	}
HELD_UP(test_held_up_put, scene, op_replace, false)
HELD_UP(test_held_up_delete, scene, op_delete, false)
HELD_UP(test_held_up_large, full_scene, op_one_large, true)
HELD_UP(test_held_up_evict, full_scene, op_one_more, true)
HELD_UP(test_held_up_trim, full_scene, op_trim, true)
HELD_UP(test_held_up_sweep, full_scene, op_sweep, true)

/* ---- tests ---- */

static void run(void (*set)(struct shm *s), operation_f *op, unsigned want)
{
	struct shm s;
	unsigned n;

	set(&s);
	n = each_step(&s, op, rule);
	fake_fini(&s);
	print_message("%u states\n", n);
	need_states(n, want);
	set(&s);
	(void)each_step(&s, op, rule_alone);
	fake_fini(&s);
}

#define TEST(name, set, op, want) \
	static void name(void **state) { (void)state; run(set, op, want); }
TEST(test_put, scene, op_put, 12)
TEST(test_replace, scene, op_replace, 24)
TEST(test_get, scene, op_get, 6)
TEST(test_touch, scene, op_touch, 4)
TEST(test_delete, scene, op_delete, 8)
TEST(test_tag, scene, op_tag, 8)
TEST(test_pattern, scene, op_pattern, 7)
TEST(test_late, scene, op_late, 20)
TEST(test_evict, full_scene, op_evict, 100)
TEST(test_large, full_scene, op_large, 100)
TEST(test_trim, full_scene, op_trim, 20)
TEST(test_sweep, full_scene, op_sweep, 12)
TEST(test_lease, scene, op_lease, 6)
TEST(test_recover, cut_scene, op_recover, 8)

/* With an argument: only the tests of that name. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_put),	cmocka_unit_test(test_replace),
		cmocka_unit_test(test_get),	cmocka_unit_test(test_touch),
		cmocka_unit_test(test_delete),	cmocka_unit_test(test_tag),
		cmocka_unit_test(test_pattern), cmocka_unit_test(test_late),
		cmocka_unit_test(test_evict),	cmocka_unit_test(test_large),
		cmocka_unit_test(test_trim),	cmocka_unit_test(test_sweep),
		cmocka_unit_test(test_lease),	cmocka_unit_test(test_recover),
		cmocka_unit_test(test_sample),
		cmocka_unit_test(test_held_up_invalidation), cmocka_unit_test(test_held_up_reader),
		cmocka_unit_test(test_held_up_put),	cmocka_unit_test(test_held_up_delete),
		cmocka_unit_test(test_held_up_large),	cmocka_unit_test(test_held_up_evict),
		cmocka_unit_test(test_held_up_trim),	cmocka_unit_test(test_held_up_sweep),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
