/* SPDX-License-Identifier: MIT */
/* The store of the cache: what is put is found, or nothing is; what leaves, and when. */
#include "shm_help.h"

#include <errno.h>
#include <sys/eventfd.h>

#include "shm/cache_priv.h"
#include "shm/heritage.h"

#define S_NS 1000000000ULL

static struct shm seg;

static const struct shm_geometry tiny = {
	.slots = 3, .rows = 1, .routes = 1, .series = 17, .errors = 17, .ring_bytes = 64,
	.exits = 1, .events = 1,
	.cache_segs = 12, .cache_seg_bytes = 1024, .cache_buckets = 32, .cache_ghosts = 1024,
	.cache_leases = 8,
};

static int setup(void **state)
{
	(void)state;
	fake_init(&seg, &tiny);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_fini(&seg);
	return 0;
}

static struct slice text(const char *s) { return (struct slice){s, strlen(s)}; }

/* A value that only this key has: bytes of a generator that begins with it. */
static void fill(struct slice key, char *to, size_t len)
{
	uint64_t x = 88172645463325252ULL;

	for (size_t i = 0; i < key.len; i++)
		x = (x ^ (unsigned char)key.p[i]) * 0x100000001b3ULL | 1;
	fill_random(to, len, &x);
}

static int put_as(uint32_t slot, const char *key, size_t len, const char *tag, uint64_t fresh_ns,
		  uint64_t stale_ns, uint64_t birth)
{
	static char value[1 << 16];
	struct slice pieces[2], tags[1] = {text(tag ? tag : "")};
	struct shm_cache_put p = {
		.hash = shm_cache_hash(&seg, text(key)), .key = text(key), .meta = text("meta"),
		.tags = tags, .ntags = tag != NULL, .value = pieces, .nvalue = 2,
		.fresh_ns = fresh_ns, .stale_ns = stale_ns, .kind = 7, .birth = birth,
	};

	assert_true(len <= sizeof(value));
	fill(text(key), value, len);
	pieces[0] = (struct slice){value, len / 3};
	pieces[1] = (struct slice){value + len / 3, len - len / 3};
	return shm_cache_put(&seg, slot, &p, 1);
}

static int put(const char *key, size_t len)
{
	return put_as(1, key, len, NULL, 100 * S_NS, 100 * S_NS, shm_cache_birth(&seg));
}

static enum shm_cache_found get_at(uint32_t slot, const char *key, uint64_t now_ns,
				   struct shm_cache_ref *ret)
{
	return shm_cache_get(&seg, slot, shm_cache_hash(&seg, text(key)), text(key), true, now_ns,
			     ret);
}

static void check_value(const char *key, const struct shm_cache_ref *ref)
{
	static char value[1 << 16];
	size_t at = 0;

	assert_true(ref->value_len <= sizeof(value));
	fill(text(key), value, (size_t)ref->value_len);
	for (uint32_t i = 0; i < ref->npieces; i++) {
		struct slice p = shm_cache_piece(&seg, ref, i);

		assert_true(at + p.len <= ref->value_len);
		assert_memory_equal(p.p, value + at, p.len);
		at += p.len;
	}
	assert_int_equal(at, ref->value_len);
	assert_int_equal(ref->key.len, strlen(key));
	assert_memory_equal(ref->key.p, key, ref->key.len);
	assert_int_equal(ref->meta.len, 4);
	assert_memory_equal(ref->meta.p, "meta", 4);
	assert_int_equal(ref->kind, 7);
}

/* Is it there? Its bytes are checked. */
static bool has(const char *key)
{
	struct shm_cache_ref ref;

	if (get_at(2, key, 1, &ref) == SHM_CACHE_MISS)
		return false;
	check_value(key, &ref);
	shm_cache_unpin(&seg, 2, &ref);
	return true;
}

static struct shm_cache_view view(void)
{
	struct shm_cache_view v;
	uint64_t sum = 0;

	shm_cache_read(&seg, &v);
	for (int i = 0; i < CACHE_STATES; i++)
		sum += v.by_state[i];
	assert_int_equal(sum, v.segments);
	return v;
}

static void sweep(uint64_t now_ns)
{
	struct shm_cache_sweep sw = {0};

	while (!shm_cache_sweep(&seg, 0, &sw, 5, now_ns))
		continue;
}

/* What a look at all words of the index says. */
static uint64_t entries(void)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < tiny.cache_buckets; i++)
		for (uint32_t w = 0; w < CACHE_WAYS; w++)
			n += shm_get(&seg.cache_index[i].entry[w]) != 0;
	return n;
}

/* ---- put and get ---- */

static void test_what_was_put_is_found(void **state)
{
	struct shm_cache_ref ref;

	(void)state;
	assert_false(has("a"));
	assert_int_equal(put("a", 100), 0);
	assert_int_equal(put("b", 0), 0);
	assert_true(has("a"));
	assert_true(has("b"));
	assert_false(has("c"));
	assert_int_equal(get_at(1, "b", 1, &ref), SHM_CACHE_HIT);
	assert_int_equal(ref.npieces, 0);
	shm_cache_unpin(&seg, 1, &ref);
	assert_int_equal(view().items, 2);
	assert_int_equal(view().pinned, 0);
	assert_int_equal(view().count[SHM_CACHE_PUTS], 2);
	assert_int_equal(view().count[SHM_CACHE_HITS], 3);
	assert_int_equal(view().count[SHM_CACHE_MISSES], 2);
}

static void test_another_takes_its_place(void **state)
{
	(void)state;
	assert_int_equal(put("a", 100), 0);
	assert_int_equal(put("a", 200), 0);
	assert_true(has("a"));
	assert_int_equal(view().items, 1);
	assert_int_equal(entries(), 1);
	assert_int_equal(view().count[SHM_CACHE_REPLACED], 1);
	assert_true(shm_cache_delete(&seg, 1, shm_cache_hash(&seg, text("a")), text("a")));
	assert_false(has("a"));
	assert_false(shm_cache_delete(&seg, 1, shm_cache_hash(&seg, text("a")), text("a")));
	assert_int_equal(entries(), 0);
	assert_int_equal(view().items, 0);
	assert_int_equal(view().live_bytes, 0);
}

/* Two processes that put one key at once may each take a way: the next one leaves one. */
static void test_double_entries_go(void **state)
{
	struct shm_cache_ref ref;
	struct cache c = cache_of(&seg);
	uint64_t hash = shm_cache_hash(&seg, text("a"));
	struct cache_place at;

	(void)state;
	assert_int_equal(put("a", 50), 0);
	assert_int_equal(get_at(1, "a", 1, &ref), SHM_CACHE_HIT);
	shm_cache_unpin(&seg, 1, &ref);
	assert_true(cache_find_entry(&c, hash, ref.entry, &at));
	/* As if the second one did not see the first: it is hidden while it puts. */
	shm_set(&at.bucket->entry[at.way], 0);
	assert_int_equal(put("a", 60), 0);
	shm_set(&at.bucket->entry[(at.way + 3) % CACHE_WAYS], ref.entry);
	assert_int_equal(entries(), 2);
	assert_int_equal(put("a", 70), 0);
	assert_int_equal(entries(), 1);
	assert_true(has("a"));
}

static void test_lengths(void **state)
{
	static char long_key[SHM_CACHE_KEY_MAX + 2];
	struct slice tag = text("t");
	struct shm_cache_put p = {.key = text("k"), .fresh_ns = S_NS, .stale_ns = S_NS,
				  .tags = &tag, .ntags = 1};

	(void)state;
	p.hash = shm_cache_hash(&seg, p.key);
	assert_int_equal(shm_cache_put(&seg, 1, &p, 1), 0);
	p.stale_ns = p.fresh_ns - 1;
	assert_int_equal(shm_cache_put(&seg, 1, &p, 1), -EINVAL);
	p.stale_ns = p.fresh_ns;
	p.key.len = 0;
	assert_int_equal(shm_cache_put(&seg, 1, &p, 1), -EINVAL);
	memset(long_key, 'k', sizeof(long_key));
	p.key = (struct slice){long_key, SHM_CACHE_KEY_MAX + 1};
	assert_int_equal(shm_cache_put(&seg, 1, &p, 1), -EINVAL);
	p.key = text("k");
	p.meta = (struct slice){long_key, SHM_CACHE_META_MAX + 1};
	assert_int_equal(shm_cache_put(&seg, 1, &p, 1), -EINVAL);
	p.meta.len = 0;
	tag.len = 0;
	assert_int_equal(shm_cache_put(&seg, 1, &p, 1), -EINVAL);
	assert_int_equal(view().count[SHM_CACHE_REFUSED], 5);
}

/* Nobody can make keys of one hash; should there be any, they are two. */
static void test_two_keys_of_one_hash(void **state)
{
	struct slice value = text("of a"), got;
	struct shm_cache_put p = {
		.hash = 77, .key = text("a"), .value = &value, .nvalue = 1, .fresh_ns = S_NS,
		.stale_ns = S_NS,
	};
	struct shm_cache_ref ref;

	(void)state;
	assert_int_equal(shm_cache_put(&seg, 1, &p, 1), 0);
	assert_int_equal(shm_cache_get(&seg, 1, 77, text("b"), true, 1, &ref), SHM_CACHE_MISS);
	p.key = text("b");
	value = text("of b");
	assert_int_equal(shm_cache_put(&seg, 1, &p, 1), 0);
	assert_int_equal(view().items, 2);
	assert_int_equal(shm_cache_get(&seg, 1, 77, text("a"), true, 1, &ref), SHM_CACHE_HIT);
	got = shm_cache_piece(&seg, &ref, 0);
	assert_memory_equal(got.p, "of a", 4);
	shm_cache_unpin(&seg, 1, &ref);
}

static void test_no_cache(void **state)
{
	struct shm_geometry g = tiny;
	struct shm_cache_ref ref;
	struct shm_cache_sweep sw = {0};
	struct shm_cache_fill f;

	(void)state;
	fake_fini(&seg);
	assert_true(shm_cache_geometry(&g, 0));
	fake_init(&seg, &g);
	assert_int_equal(put("a", 1), -ENOSPC);
	assert_int_equal(get_at(1, "a", 1, &ref), SHM_CACHE_MISS);
	assert_false(shm_cache_delete(&seg, 1, 1, text("a")));
	assert_int_equal(shm_cache_invalidate(&seg, 1, SHM_CACHE_TAG, text("a")), 0);
	assert_true(shm_cache_sweep(&seg, 0, &sw, 1, 1));
	assert_int_equal(shm_cache_fill_begin(&seg, 1, 1, 1, 1, &f), SHM_CACHE_ALONE);
	shm_cache_recover(&seg, 1);
	assert_int_equal(view().segments, 0);
}

/* ---- time ---- */

static void test_edge_of_expiry(void **state)
{
	struct shm_cache_ref ref;

	(void)state;
	assert_int_equal(put_as(1, "a", 10, NULL, 5 * S_NS, 7 * S_NS, 0), 0);
	assert_int_equal(get_at(1, "a", 5 * S_NS - 1, &ref), SHM_CACHE_HIT);
	assert_int_equal(ref.fresh_ns, 5 * S_NS);
	assert_int_equal(ref.stale_ns, 7 * S_NS);
	shm_cache_unpin(&seg, 1, &ref);
	assert_int_equal(get_at(1, "a", 5 * S_NS, &ref), SHM_CACHE_STALE);
	shm_cache_unpin(&seg, 1, &ref);
	assert_int_equal(get_at(1, "a", 7 * S_NS - 1, &ref), SHM_CACHE_STALE);
	shm_cache_touch(&seg, &ref, 8 * S_NS, 8 * S_NS);
	shm_cache_unpin(&seg, 1, &ref);
	assert_int_equal(get_at(1, "a", 7 * S_NS, &ref), SHM_CACHE_HIT);
	shm_cache_unpin(&seg, 1, &ref);
	assert_int_equal(get_at(1, "a", 8 * S_NS, &ref), SHM_CACHE_MISS);
	assert_int_equal(view().count[SHM_CACHE_EXPIRED], 1);
	assert_int_equal(view().items, 0);
}

static void test_sweep_frees_what_has_expired(void **state)
{
	char key[24];

	(void)state;
	for (int i = 0; i < 20; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		assert_int_equal(put_as(1, key, 200, NULL, 2 * S_NS, 2 * S_NS, 0), 0);
	}
	assert_true(view().by_state[CACHE_FREE] < 8);
	sweep(1);
	assert_int_equal(view().items, 20);
	/* Of somebody who was killed between the entry and its count. */
	shm_set(&seg.cache_head->items, 23);
	shm_set(&seg.cache_head->units, 1);
	sweep(1);
	assert_int_equal(view().items, 20);
	assert_true(view().live_bytes >= 20 * 200);
	sweep(2 * S_NS);
	assert_int_equal(view().items, 0);
	assert_int_equal(view().count[SHM_CACHE_EXPIRED], 20);
	assert_int_equal(view().by_state[CACHE_FREE], 11); /* but for the open one */
}

static void test_history(void **state)
{
	struct shm_cache_sample x, y;

	(void)state;
	assert_false(shm_cache_sample_read(&seg, 0, &x));
	shm_cache_sample(&seg, S_NS);
	assert_true(shm_cache_sample_read(&seg, 0, &x));
	assert_true(x.at_ns == S_NS && x.hits == 0 && x.puts == 0 && x.items == 0);
	assert_int_equal(put("k", 100), 0);
	assert_true(has("k"));
	assert_false(has("none"));
	shm_cache_sample(&seg, S_NS + SHM_CACHE_SAMPLE_NS - 1);
	assert_false(shm_cache_sample_read(&seg, 1, &x));
	shm_cache_sample(&seg, S_NS + SHM_CACHE_SAMPLE_NS);
	assert_true(shm_cache_sample_read(&seg, 0, &y));
	assert_true(shm_cache_sample_read(&seg, 1, &x));
	assert_true(y.hits - x.hits == 1 && y.misses - x.misses == 1 && y.puts - x.puts == 1);
	assert_true(y.items == 1 && y.live_bytes >= 100);
	for (uint64_t i = 2; i < 3 * SHM_CACHE_SAMPLES; i++)
		shm_cache_sample(&seg, S_NS + i * SHM_CACHE_SAMPLE_NS);
	assert_true(shm_cache_sample_read(&seg, SHM_CACHE_SAMPLES - 1, &x));
	assert_int_equal(x.at_ns, S_NS + 2 * SHM_CACHE_SAMPLES * SHM_CACHE_SAMPLE_NS);
	assert_false(shm_cache_sample_read(&seg, SHM_CACHE_SAMPLES, &x));
}

/* What comes and goes during a sweep is in the count already. */
static void test_sweep_leaves_a_right_count(void **state)
{
	struct shm_cache_sweep sw = {0};
	char key[16];

	(void)state;
	for (int i = 0; i < 10; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		assert_int_equal(put(key, 100), 0);
	}
	assert_false(shm_cache_sweep(&seg, 0, &sw, 1, 1));
	/* One goes that was seen, and one comes that is still to be seen. */
	assert_true(shm_cache_delete(&seg, 1, shm_cache_hash(&seg, text("k0")), text("k0")));
	assert_int_equal(put("k10", 100), 0);
	while (!shm_cache_sweep(&seg, 0, &sw, 1, 1))
		continue;
	assert_int_equal(view().items, 10);
	assert_int_equal(entries(), 10);
	/* One that has gone before it was counted: who put it is held up. */
	shm_set(&seg.cache_head->items, UINT64_MAX);
	assert_int_equal(view().items, 0);
	shm_cache_set(&seg, SHM_CACHE_LRU, 20);
	assert_int_equal(put("k11", 100), 0);
	assert_int_equal(entries(), 11);
}

/* A segment that holds nothing yet, but somebody is about to enter what he has put there. */
static void test_sweep_leaves_what_comes(void **state)
{
	struct cache c = cache_of(&seg);
	struct cache_room r;
	uint32_t list[2];

	(void)state;
	assert_true(cache_reserve_large(&c, 1, 2, list, &r));
	cache_publish_large(&c, 1, &r, false, list, 2);
	sweep(1);
	assert_int_equal(view().by_state[CACHE_LIVE], 1);
	assert_int_equal(view().by_state[CACHE_EXTENT], 2);
	cache_unpin(&c, 1, r.pin);
	sweep(1);
	assert_int_equal(view().by_state[CACHE_FREE], 12);
}

/* ---- room ---- */

static void test_a_full_cache(void **state)
{
	char key[24];
	int found = 0;

	(void)state;
	for (int i = 0; i < 2000; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		assert_int_equal(put(key, (size_t)i % 300), 0);
		assert_true(has(key));
	}
	for (int i = 0; i < 2000; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		found += has(key);
	}
	assert_int_equal(found, view().items);
	assert_int_equal(found, entries());
	assert_true(found > 20);
	assert_int_equal(view().count[SHM_CACHE_EVICTED], 2000 - found);
	assert_int_equal(view().by_state[CACHE_LIMBO], 0);
	sweep(1);
	assert_int_equal(view().items, found);
}

static bool survives(enum shm_cache_policy policy)
{
	char key[24];

	shm_cache_set(&seg, policy, 0);
	assert_int_equal(put("hot", 100), 0);
	for (int i = 0; i < 400; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		assert_int_equal(put(key, 100), 0);
		if (i % 20 == 0 && !has("hot"))
			return false;
	}
	return true;
}

static void test_what_is_used_stays(void **state)
{
	(void)state;
	assert_true(survives(SHM_CACHE_LRU));
	assert_true(survives(SHM_CACHE_LFU));
	assert_false(survives(SHM_CACHE_FIFO));
	assert_true(view().count[SHM_CACHE_KEPT] > 0);
}

/* Two keys in one place of the ghosts forget each other; where they are is random: most do not. */
static void test_what_comes_back_is_taken_at_once(void **state)
{
	struct cache c = cache_of(&seg);
	char key[24];
	int known = 0, found = 0;

	(void)state;
	for (int i = 0; i < 90; i++) {
		snprintf(key, sizeof(key), "%s%d", i < 10 ? "again" : "k", i);
		assert_int_equal(put(key, 100), 0);
	}
	for (int i = 0; i < 10; i++) {
		snprintf(key, sizeof(key), "again%d", i);
		assert_false(has(key));
		known += cache_was_here(&c, shm_cache_hash(&seg, text(key)));
		assert_int_equal(put(key, 100), 0);
	}
	for (int i = 0; i < 40; i++) {
		snprintf(key, sizeof(key), "m%d", i);
		assert_int_equal(put(key, 100), 0);
	}
	for (int i = 0; i < 10; i++) {
		snprintf(key, sizeof(key), "again%d", i);
		found += has(key);
	}
	assert_true(known >= 5);
	assert_in_range(found, known, 10);
}

static void test_items_max(void **state)
{
	char key[24];

	(void)state;
	shm_cache_set(&seg, SHM_CACHE_LRU, 10);
	for (int i = 0; i < 100; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		assert_int_equal(put(key, 20), 0);
		assert_int_equal(view().items, i < 10 ? i + 1 : 10);
	}
	assert_int_equal(entries(), 10);
	assert_true(has("k99"));
	assert_true(has("k91"));
	/* Counts that are too high, after a kill: the last one stays. */
	shm_set(&seg.cache_head->items, 100);
	assert_int_equal(put("last", 20), 0);
	assert_int_equal(entries(), 1);
	assert_true(has("last"));
}

static void test_a_pinned_object_stays(void **state)
{
	struct shm_cache_ref ref, now;
	char key[24];

	(void)state;
	shm_cache_set(&seg, SHM_CACHE_FIFO, 0);
	assert_int_equal(put("pinned", 300), 0);
	assert_int_equal(get_at(2, "pinned", 1, &ref), SHM_CACHE_HIT);
	for (int i = 0; i < 500; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		assert_int_equal(put(key, 300), 0);
		check_value("pinned", &ref);
	}
	assert_int_equal(get_at(1, "pinned", 1, &now), SHM_CACHE_MISS);
	assert_int_equal(view().by_state[CACHE_LIMBO], 1);
	assert_int_equal(view().pinned, 1);
	shm_cache_unpin(&seg, 2, &ref);
	sweep(1);
	assert_int_equal(view().by_state[CACHE_LIMBO], 0);
}

static void test_no_more_pins(void **state)
{
	struct shm_cache_ref ref[SHM_CACHE_PINS + 1], now;

	(void)state;
	assert_int_equal(put("a", 10), 0);
	for (uint32_t i = 0; i < SHM_CACHE_PINS; i++)
		assert_int_equal(get_at(2, "a", 1, &ref[i]), SHM_CACHE_HIT);
	assert_int_equal(get_at(2, "a", 1, &ref[SHM_CACHE_PINS]), SHM_CACHE_MISS);
	assert_int_equal(view().count[SHM_CACHE_NO_PINS], 1);
	assert_int_equal(put_as(2, "b", 10, NULL, S_NS, S_NS, 0), -ENOSPC);
	assert_int_equal(get_at(1, "a", 1, &now), SHM_CACHE_HIT);
	shm_cache_unpin(&seg, 1, &now);
	/* It was refused; and what was there cannot be looked at, so it may not be found either. */
	assert_int_equal(put_as(2, "a", 20, NULL, S_NS, S_NS, 0), -ENOSPC);
	assert_int_equal(get_at(1, "a", 1, &now), SHM_CACHE_MISS);
	shm_cache_recover(&seg, 2);
	assert_int_equal(view().pinned, 0);
	assert_int_equal(put("a", 10), 0);
	assert_true(has("a"));
}

static void test_everything_is_pinned(void **state)
{
	struct shm_cache_ref ref[12];
	char key[24];
	int n = 0;

	(void)state;
	for (int i = 0; i < 12; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		if (put(key, 900) == 0 && get_at(2, key, 1, &ref[n]) == SHM_CACHE_HIT)
			n++;
	}
	assert_true(n >= 10);
	assert_int_equal(put("more", 900), -ENOSPC);
	for (int i = 0; i < n; i++)
		shm_cache_unpin(&seg, 2, &ref[i]);
	assert_int_equal(put("more", 900), 0);
	assert_true(has("more"));
}

/* ---- large objects ---- */

static void test_large_objects(void **state)
{
	uint64_t most = shm_cache_object_max(&tiny);
	size_t head = sizeof(struct cache_object) + 1 + 4;

	(void)state;
	assert_int_equal(most, 3 * 1024);
	/* Around what fits into one segment. */
	for (size_t n = 1024 - head - 3; n < 1024 - head + 4; n++) {
		assert_int_equal(put("a", n), 0);
		assert_true(has("a"));
		assert_int_equal(view().items, 1);
	}
	assert_int_equal(put("a", (size_t)most - head), 0);
	assert_true(has("a"));
	assert_int_equal(view().by_state[CACHE_EXTENT], 3);
	assert_int_equal(put("a", (size_t)most - head + 1), -EFBIG);
	assert_false(has("a")); /* what would be there now is not the one from before */
	assert_int_equal(view().by_state[CACHE_EXTENT], 0);
	assert_int_equal(view().items, 0);
}

static void test_large_objects_leave(void **state)
{
	struct shm_cache_ref ref;
	char key[24];

	(void)state;
	assert_int_equal(put("first", 2500), 0);
	assert_int_equal(get_at(2, "first", 1, &ref), SHM_CACHE_HIT);
	for (int i = 0; i < 200; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		assert_int_equal(put(key, i % 3 == 0 ? 2500 : 100), 0);
		assert_true(has(key));
		check_value("first", &ref);
	}
	shm_cache_unpin(&seg, 2, &ref);
	shm_cache_invalidate(&seg, 1, SHM_CACHE_ALL, text(""));
	sweep(1);
	assert_int_equal(view().items, 0);
	assert_int_equal(view().live_bytes, 0);
	assert_true(view().by_state[CACHE_FREE] >= 10);
	assert_int_equal(view().by_state[CACHE_EXTENT], 0);
}

/* Who was held up before it gave an extent free must not find the same word there later: no word
 * comes back, however its segment was used meanwhile. */
static void test_words_do_not_come_back(void **state)
{
	static uint64_t was[12][3000];
	struct cache c = cache_of(&seg);
	uint64_t seed = 7;

	(void)state;
	for (uint32_t n = 0; n < 3000; n++) {
		char key[16];

		snprintf(key, sizeof(key), "k%u", (unsigned)(rnd(&seed) >> 33) % 100);
		(void)put(key, n % 2 == 0 ? 2500 : 500);
		for (uint32_t i = 0; i < c.nsegs; i++)
			was[i][n] = shm_get(&c.word[i]);
	}
	for (uint32_t i = 0; i < c.nsegs; i++) {
		for (uint32_t n = 2; n < 3000; n++) {
			if (was[i][n] == was[i][n - 1])
				continue;
			for (uint32_t k = 0; k < n - 1; k++)
				assert_true(was[i][k] != was[i][n]);
		}
	}
}

/* ---- invalidation ---- */

static void test_globs(void **state)
{
	static const struct { const char *p, *t; bool is; } cases[] = {
		{"a", "a", true}, {"a", "b", false}, {"a", "aa", false}, {"*", "", true},
		{"*", "x", true}, {"a*", "a", true}, {"a*", "abc", true}, {"a*", "ba", false},
		{"*a", "ba", true}, {"*a", "ab", false}, {"a?c", "abc", true}, {"a?c", "ac", false},
		{"a*b*c", "aXbYc", true}, {"a*b*c", "aXcYb", false}, {"*ab", "aab", true},
		{"user:1:*", "user:1:x", true}, {"user:1:*", "user:1", true},
		{"user:1:*", "user:10", false}, {"user:1:*", "user:1:", true}, {":*", "", false},
		{"u?:*", "u1", true}, {"", "", true}, {"", "a", false}, {"**", "ab", true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(shm_cache_glob(text(cases[i].p), text(cases[i].t)), cases[i].is);
}

static void test_by_tag_and_pattern(void **state)
{
	(void)state;
	assert_int_equal(put_as(1, "a", 10, "user:1", S_NS, S_NS, 0), 0);
	assert_int_equal(put_as(1, "b", 10, "user:1:x", S_NS, S_NS, 0), 0);
	assert_int_equal(put_as(1, "c", 10, "user:10", S_NS, S_NS, 0), 0);
	assert_int_equal(put_as(1, "/p/x", 10, NULL, S_NS, S_NS, 0), 0);
	assert_int_equal(shm_cache_invalidate(&seg, 1, SHM_CACHE_TAG, text("user:1")), 0);
	assert_false(has("a"));
	assert_true(has("b"));
	assert_true(has("c"));
	assert_int_equal(shm_cache_invalidate(&seg, 1, SHM_CACHE_PATTERN, text("user:1:*")), 0);
	assert_false(has("b"));
	assert_true(has("c"));
	assert_int_equal(shm_cache_invalidate(&seg, 1, SHM_CACHE_PATTERN, text("/p/*")), 0);
	assert_false(has("/p/x"));
	assert_true(has("c"));
	assert_int_equal(shm_cache_invalidate(&seg, 1, SHM_CACHE_ALL, text("")), 0);
	assert_false(has("c"));
	assert_int_equal(view().items, 0);
	assert_int_equal(view().count[SHM_CACHE_INVALIDATED], 4);
	assert_int_equal(shm_cache_invalidate(&seg, 1, SHM_CACHE_TAG, text("")), -EINVAL);
	/* What comes later is not touched. */
	assert_int_equal(put_as(1, "a", 10, "user:1", S_NS, S_NS, shm_cache_birth(&seg)), 0);
	assert_true(has("a"));
}

/* What was being computed when it was invalidated is not found after that. */
static void test_in_flight(void **state)
{
	uint64_t birth = shm_cache_birth(&seg);

	(void)state;
	assert_int_equal(shm_cache_invalidate(&seg, 1, SHM_CACHE_TAG, text("t")), 0);
	assert_int_equal(put_as(1, "a", 10, "t", S_NS, S_NS, birth), 0);
	assert_false(has("a"));
	assert_int_equal(put_as(1, "b", 10, "u", S_NS, S_NS, birth), 0);
	assert_true(has("b"));
	birth = shm_cache_birth(&seg);
	assert_false(shm_cache_delete(&seg, 1, shm_cache_hash(&seg, text("c")), text("c")));
	assert_int_equal(put_as(1, "c", 10, NULL, S_NS, S_NS, birth), 0);
	assert_false(has("c"));
}

static void test_many_invalidations(void **state)
{
	char tag[16];

	(void)state;
	assert_int_equal(put_as(1, "a", 10, "t", S_NS, S_NS, 0), 0);
	assert_int_equal(put_as(1, "b", 10, "t", S_NS, S_NS, 0), 0);
	for (uint32_t i = 0; i < 3 * CACHE_BANS; i++) {
		snprintf(tag, sizeof(tag), "other%u", i);
		assert_int_equal(shm_cache_invalidate(&seg, 1, SHM_CACHE_TAG, text(tag)), 0);
		if (i < 2 * CACHE_BANS && shm_cache_sweep_due(&seg))
			sweep(1);
		if (i < 2 * CACHE_BANS)
			assert_true(has("a"));
	}
	/* Not swept for a whole ring: what it was cannot be known any more. */
	assert_true(shm_cache_sweep_due(&seg));
	assert_false(has("b"));
	assert_false(shm_cache_birth(&seg) != 3 * CACHE_BANS);
}

/* One that is not complete: what it may touch is looked at again when it is; births stay behind. */
static void test_an_invalidation_is_pending(void **state)
{
	struct cache c = cache_of(&seg);

	(void)state;
	assert_int_equal(put_as(1, "a", 10, "t", S_NS, S_NS, 0), 0);
	shm_set(&c.bans[1].word, 1ULL << 20 | 2u << 2 | CACHE_BAN_PENDING);
	assert_true(has("a"));
	assert_int_equal(shm_cache_invalidate(&seg, 1, SHM_CACHE_TAG, text("u")), 0);
	assert_int_equal(shm_get(&c.head->bans), 2);
	assert_int_equal(shm_cache_birth(&seg), 0);
	assert_true(has("a"));
	/* It goes on. */
	shm_set(&c.bans[1].part[0], 1ULL << 32 | 1 << 16 | SHM_CACHE_TAG);
	shm_set(&c.bans[1].part[3], 1ULL << 32 | 't');
	shm_set(&c.bans[1].word, 1ULL << 20 | 2u << 2 | CACHE_BAN_DONE);
	assert_false(has("a"));
	/* Another one has died. */
	assert_int_equal(put_as(1, "b", 10, "t", S_NS, S_NS, 2), 0);
	shm_set(&c.bans[3].word, 3ULL << 20 | 2u << 2 | CACHE_BAN_PENDING);
	assert_int_equal(shm_cache_invalidate(&seg, 1, SHM_CACHE_TAG, text("u")), 0);
	shm_cache_recover(&seg, 2);
	assert_int_equal(shm_cache_birth(&seg), 4);
	assert_true(has("b"));
}

/* ---- leases ---- */

static void test_one_leads(void **state)
{
	struct shm_cache_fill a, b, c;

	(void)state;
	assert_int_equal(shm_cache_fill_begin(&seg, 1, 42, S_NS, S_NS, &a), SHM_CACHE_LEADER);
	assert_int_equal(shm_cache_fill_begin(&seg, 2, 42, S_NS, S_NS, &b), SHM_CACHE_FOLLOWER);
	assert_int_equal(shm_cache_fill_begin(&seg, 1, 42, S_NS, S_NS, &b), SHM_CACHE_FOLLOWER);
	assert_int_equal(shm_cache_fill_begin(&seg, 2, 42ULL << 43, S_NS, S_NS, &c),
			 SHM_CACHE_LEADER);
	shm_cache_fill_end(&seg, NULL, 1, &a);
	assert_int_equal(shm_cache_fill_begin(&seg, 2, 42, S_NS, S_NS, &b), SHM_CACHE_LEADER);
	shm_cache_fill_end(&seg, NULL, 1, &a); /* again: does nothing */
	assert_int_equal(shm_cache_fill_begin(&seg, 1, 42, S_NS, S_NS, &a), SHM_CACHE_FOLLOWER);
	/* It takes too long. */
	assert_int_equal(shm_cache_fill_begin(&seg, 1, 42, S_NS, 2 * S_NS + 2 * (1u << 26), &a),
			 SHM_CACHE_LEADER);
	shm_cache_fill_end(&seg, NULL, 2, &b); /* has passed on */
	assert_int_equal(shm_cache_fill_begin(&seg, 2, 42, S_NS, 2 * S_NS, &b), SHM_CACHE_FOLLOWER);
	/* It dies. */
	shm_cache_recover(&seg, 1);
	assert_int_equal(shm_cache_fill_begin(&seg, 2, 42, S_NS, 2 * S_NS, &b), SHM_CACHE_LEADER);
	assert_int_equal(view().count[SHM_CACHE_PROMOTED], 1);
}

static bool was_poked(int efd)
{
	uint64_t n;

	return read(efd, &n, sizeof(n)) == sizeof(n);
}

static void test_who_waits_is_poked(void **state)
{
	struct shm_cache_fill a, b;
	int efd[3];
	struct heritage h = {.slot_efd = efd};

	(void)state;
	for (int i = 0; i < 3; i++)
		efd[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_int_equal(shm_cache_fill_begin(&seg, 1, 42, S_NS, S_NS, &a), SHM_CACHE_LEADER);
	assert_int_equal(shm_cache_fill_begin(&seg, 2, 42, S_NS, S_NS, &b), SHM_CACHE_FOLLOWER);
	shm_cache_fill_end(&seg, &h, 1, &a);
	assert_true(was_poked(efd[2]));
	assert_false(was_poked(efd[1]));
	/* It need not wait any more: the next one that ends pokes nobody. */
	assert_int_equal(shm_cache_fill_begin(&seg, 1, 42, S_NS, S_NS, &a), SHM_CACHE_LEADER);
	shm_cache_fill_end(&seg, &h, 1, &a);
	assert_false(was_poked(efd[2]));
	/* It was old: another key's claim took it, and gave way to a lease in another place. */
	assert_int_equal(shm_cache_fill_begin(&seg, 1, 42, S_NS, S_NS, &a), SHM_CACHE_LEADER);
	assert_int_equal(shm_cache_fill_begin(&seg, 2, 42, S_NS, S_NS, &b), SHM_CACHE_FOLLOWER);
	shm_set(&seg.cache_leases[a.index], 0);
	shm_cache_fill_end(&seg, &h, 1, &a);
	assert_true(was_poked(efd[2]));
	for (int i = 0; i < 3; i++)
		close(efd[i]);
}

/* A claim that was taken away must not be taken for that of another lane, in the same place. */
static void test_claims_are_different(void **state)
{
	struct cache c = cache_of(&seg);
	uint64_t claims = shm_get(&c.slots[1].claims);
	struct shm_cache_fill f;

	(void)state;
	for (uint64_t n = 1; n < 4; n++) {
		assert_int_equal(shm_cache_fill_begin(&seg, 1, 42, S_NS, S_NS, &f),
				 SHM_CACHE_LEADER);
		assert_int_equal(shm_get(&c.slots[1].claims), claims + n);
		shm_cache_fill_end(&seg, NULL, 1, &f);
	}
}

static void test_no_more_leases(void **state)
{
	struct shm_cache_fill f;
	uint64_t n = 0;

	(void)state;
	for (uint64_t i = 1; i < 100; i++) {
		enum shm_cache_lease l =
			shm_cache_fill_begin(&seg, 1, i << 43 | i % 8, S_NS, S_NS, &f);

		assert_true(l == SHM_CACHE_LEADER || l == SHM_CACHE_ALONE);
		n += l == SHM_CACHE_LEADER;
	}
	assert_int_equal(n, tiny.cache_leases);
	assert_int_equal(view().leases, n);
	shm_cache_recover(&seg, 1);
	assert_int_equal(view().leases, 0);
	assert_int_equal(shm_cache_fill_begin(&seg, 2, 1, S_NS, S_NS, &f), SHM_CACHE_LEADER);
}

/* ---- geometry ---- */

static void test_memory_is_what_was_said(void **state)
{
	static const uint64_t sizes[] = {SHM_CACHE_MEMORY_MIN, 8 << 20, 16 << 20, 64 << 20,
					 1ULL << 30, 1ULL << 36};
	struct shm_geometry without, with;

	(void)state;
	shm_geometry_for(&without, 16, 1000, 64, 64, 8);
	with = without;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t takes;

		assert_true(shm_cache_geometry(&with, sizes[i]));
		takes = shm_size_for(&with) - shm_size_for(&without);
		assert_true(takes <= sizes[i]);
		assert_true(sizes[i] < 16 << 20 ||
			    (uint64_t)with.cache_segs * with.cache_seg_bytes > sizes[i] / 100 * 85);
		assert_true(shm_cache_object_max(&with) >= with.cache_seg_bytes);
	}
	assert_false(shm_cache_geometry(&with, SHM_CACHE_MEMORY_MIN - 1));
	assert_true(shm_cache_geometry(&with, 0));
	assert_int_equal(shm_size_for(&with), shm_size_for(&without));
}

/* ---- damage ---- */

/* Whatever is written over it: no fault, no endless loop, and never another key's bytes. */
static void test_random_words(void **state)
{
	uint64_t seed = 4242;
	size_t from = (size_t)((char *)seg.cache_head - seg.base), len = seg.size - from;
	struct shm_cache_sweep sw = {0};

	(void)state;
	for (int round = 0; round < 3000; round++) {
		struct shm_cache_fill f;
		struct shm_cache_ref ref;
		char key[24];
		int bits = 1 + round % 8;

		snprintf(key, sizeof(key), "k%llu", (unsigned long long)(rnd(&seed) % 40));
		for (int i = 0; i < bits && round % 2 == 0; i++) {
			size_t at = from + rnd(&seed) % len;

			/* Fewer of the bytes of objects. */
			if (seg.base + at < seg.cache_data || rnd(&seed) % 4 == 0)
				seg.base[at] = (char)(rnd(&seed) >> 40);
		}
		(void)put(key, rnd(&seed) % 1500);
		if (get_at(2, key, 1, &ref) != SHM_CACHE_MISS) {
			assert_memory_equal(ref.key.p, key, strlen(key));
			for (uint32_t i = 0; i < ref.npieces; i++) {
				struct slice p = shm_cache_piece(&seg, &ref, i);

				assert_true(p.p >= seg.cache_data &&
					    p.p + p.len <= seg.base + seg.size);
			}
			shm_cache_unpin(&seg, 2, &ref);
		}
		(void)shm_cache_invalidate(&seg, 1, SHM_CACHE_PATTERN, text("q*"));
		(void)shm_cache_sweep(&seg, 0, &sw, 3, 1);
		if (shm_cache_fill_begin(&seg, 1, rnd(&seed), S_NS, S_NS, &f) == SHM_CACHE_LEADER)
			shm_cache_fill_end(&seg, NULL, 1, &f);
		shm_cache_recover(&seg, 1 + (uint32_t)round % 2);
	}
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_what_was_put_is_found), CASE(test_another_takes_its_place),
		CASE(test_double_entries_go), CASE(test_lengths),
		CASE(test_two_keys_of_one_hash), CASE(test_no_cache),
		CASE(test_edge_of_expiry), CASE(test_sweep_frees_what_has_expired),
		CASE(test_sweep_leaves_a_right_count), CASE(test_sweep_leaves_what_comes),
		CASE(test_history),
		CASE(test_a_full_cache), CASE(test_what_is_used_stays),
		CASE(test_what_comes_back_is_taken_at_once), CASE(test_items_max),
		CASE(test_a_pinned_object_stays), CASE(test_no_more_pins),
		CASE(test_everything_is_pinned), CASE(test_large_objects),
		CASE(test_large_objects_leave), CASE(test_words_do_not_come_back),
		CASE(test_globs), CASE(test_by_tag_and_pattern),
		CASE(test_in_flight), CASE(test_many_invalidations),
		CASE(test_an_invalidation_is_pending), CASE(test_one_leads),
		CASE(test_who_waits_is_poked), CASE(test_claims_are_different),
		CASE(test_no_more_leases), CASE(test_memory_is_what_was_said),
		CASE(test_random_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
