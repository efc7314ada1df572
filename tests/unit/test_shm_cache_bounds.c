/* SPDX-License-Identifier: MIT */
/*
 * The store of the cache at its bounds: lengths that are just allowed and just not, moments just
 * before and just after, 64 workers in little memory, a million keys.
 */
#include "tests/unit/shm_help.h"

#include <errno.h>
#include <pthread.h>

#include "shm/cache_priv.h"

#define MS_NS 1000000ULL
#define S_NS 1000000000ULL
#define WORKERS 64u

/* The sanitizers take seven times as long. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MANY 100000u
#else
#define MANY 1000000u
#endif

static struct shm seg;

static const struct shm_geometry none = {
	.slots = 3, .rows = 1, .routes = 1, .series = 17, .errors = 17, .ring_bytes = 64,
	.exits = 1, .events = 1,
};

static void make(uint32_t slots, uint64_t memory)
{
	struct shm_geometry g = none;

	g.slots = slots;
	assert_true(shm_cache_geometry(&g, memory));
	fake_init(&seg, &g);
}

static int setup(void **state)
{
	(void)state;
	make(3, SHM_CACHE_MEMORY_MIN);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_fini(&seg);
	return 0;
}

static struct slice text(const char *s) { return (struct slice){s, strlen(s)}; }

static struct shm_cache_view view(void)
{
	struct shm_cache_view v;

	shm_cache_read(&seg, &v);
	return v;
}

/* Bytes that say where they are, and of what. */
static void fill(char *to, size_t len, uint32_t of)
{
	for (size_t i = 0; i < len; i++)
		to[i] = (char)(i * 7 + (i >> 8) * 13 + of * 31);
}

static bool is_filled(const char *p, size_t len, size_t from, uint32_t of)
{
	for (size_t i = from; i < from + len; i++)
		if (p[i - from] != (char)(i * 7 + (i >> 8) * 13 + of * 31))
			return false;
	return true;
}

static int put_it(struct shm_cache_put *p)
{
	p->hash = shm_cache_hash(&seg, p->key);
	if (p->fresh_ns == 0)
		p->fresh_ns = p->stale_ns = 100 * S_NS;
	return shm_cache_put(&seg, 1, p, 1);
}

/* Is what was put found, to the byte? With the value that fill() makes of `of`. */
static bool is_whole(const struct shm_cache_put *p, uint32_t of)
{
	struct shm_cache_ref ref;
	size_t at = 0, len = 0;
	bool same;

	if (shm_cache_get(&seg, 2, p->hash, p->key, true, 1, &ref) == SHM_CACHE_MISS)
		return false;
	for (uint32_t i = 0; i < p->nvalue; i++)
		len += p->value[i].len;
	same = ref.key.len == p->key.len && memcmp(ref.key.p, p->key.p, p->key.len) == 0 &&
	       ref.meta.len == p->meta.len && ref.value_len == len && ref.kind == p->kind &&
	       (p->meta.len == 0 || memcmp(ref.meta.p, p->meta.p, p->meta.len) == 0);
	for (uint32_t i = 0; same && i < ref.npieces; i++) {
		struct slice piece = shm_cache_piece(&seg, &ref, i);

		same = piece.len > 0 && is_filled(piece.p, piece.len, at, of);
		at += piece.len;
	}
	shm_cache_unpin(&seg, 2, &ref);
	assert_true(same);
	assert_int_equal(at, len);
	return true;
}

/* ---- lengths ---- */

/* Put with 0, and found; or refused with `rc`, and not. */
static void check_put(struct shm_cache_put *p, int rc)
{
	uint64_t refused = view().count[SHM_CACHE_REFUSED];

	assert_int_equal(put_it(p), rc);
	assert_int_equal(view().count[SHM_CACHE_REFUSED], refused + (rc != 0));
	if (p->key.len > 0)
		assert_int_equal(is_whole(p, 1), rc == 0);
}

static void test_lengths_of_texts(void **state)
{
	static char room[SHM_CACHE_META_MAX + 2], value[1000];
	static const size_t keys[] = {1, SHM_CACHE_KEY_MAX - 1, SHM_CACHE_KEY_MAX};
	static const size_t metas[] = {0, 1, SHM_CACHE_META_MAX - 1, SHM_CACHE_META_MAX};
	struct slice piece = {value, sizeof(value)};

	(void)state;
	fill(room, sizeof(room), 9);
	fill(value, sizeof(value), 1);
	for (size_t k = 0; k < 3; k++) {
		for (size_t m = 0; m < 4; m++) {
			struct shm_cache_put p = {
				.key = {room, keys[k]}, .meta = {room, metas[m]},
				.value = &piece, .nvalue = 1, .kind = UINT8_MAX,
			};

			check_put(&p, 0);
			p.kind++;
			check_put(&p, -EINVAL);
			p.kind = 0;
			p.meta.len = SHM_CACHE_META_MAX + 1;
			check_put(&p, -EINVAL);
			p.meta.len = metas[m];
			p.key.len = SHM_CACHE_KEY_MAX + 1;
			assert_int_equal(put_it(&p), -EINVAL);
			p.key.len = 0;
			assert_int_equal(put_it(&p), -EINVAL);
		}
	}
}

static void test_tags(void **state)
{
	static char room[256];
	struct slice tags[SHM_CACHE_TAGS_MAX + 1];
	struct shm_cache_put p = {.key = text("k"), .tags = tags};
	uint32_t each = SHM_CACHE_TAGS_BYTES / SHM_CACHE_TAGS_MAX - 1;

	(void)state;
	memset(room, 't', sizeof(room));
	for (uint32_t i = 0; i <= SHM_CACHE_TAGS_MAX; i++)
		tags[i] = (struct slice){room, each};
	for (p.ntags = 0; p.ntags <= SHM_CACHE_TAGS_MAX; p.ntags++)
		check_put(&p, 0);
	check_put(&p, -EINVAL); /* one more than there may be */
	p.ntags = SHM_CACHE_TAGS_MAX;
	tags[3].len++;          /* a byte more than there may be */
	check_put(&p, -EINVAL);
	tags[4].len--;
	check_put(&p, 0);
	p.ntags = 1;
	for (size_t n = 254; n <= 256; n++) {
		tags[0].len = n;
		check_put(&p, n <= 255 ? 0 : -EINVAL);
	}
	tags[0].len = 0;
	check_put(&p, -EINVAL);
}

/* Of an invalidation; and whatever is longer than it can name is dropped with all. */
static void test_texts_of_invalidations(void **state)
{
	static char room[SHM_CACHE_PATTERN_MAX + 1];
	struct slice tag = {room, 0};
	struct shm_cache_put p = {.key = text("k"), .tags = &tag, .ntags = 1};

	(void)state;
	memset(room, 't', sizeof(room));
	for (int what = SHM_CACHE_TAG; what <= SHM_CACHE_PATTERN; what++) {
		for (size_t n = 1; n <= sizeof(room); n++) {
			if (n > 2 && n < SHM_CACHE_PATTERN_MAX - 1)
				continue;
			tag.len = n;
			p.birth = shm_cache_birth(&seg);
			check_put(&p, 0);
			if (n > 1) { /* one byte less is another tag */
				tag.len--;
				assert_int_equal(shm_cache_invalidate(&seg, 1, SHM_CACHE_TAG, tag),
						 0);
				tag.len++;
				assert_true(is_whole(&p, 1));
			}
			assert_int_equal(shm_cache_invalidate(&seg, 1, (enum shm_cache_what)what,
							      tag),
					 n <= SHM_CACHE_PATTERN_MAX ? 0 : -EINVAL);
			assert_int_equal(is_whole(&p, 1), n > SHM_CACHE_PATTERN_MAX);
		}
	}
	assert_int_equal(shm_cache_invalidate(&seg, 1, SHM_CACHE_ALL, text("")), 0);
	assert_false(is_whole(&p, 1));
}

/* Around each length at which a value takes a segment more, and the largest of all; with few texts
 * and with as many as there may be. */
static void test_lengths_of_values(void **state)
{
	static char value[1 << 20], room[SHM_CACHE_META_MAX];
	struct slice pieces[5], tags[SHM_CACHE_TAGS_MAX];
	uint64_t most = shm_cache_object_max(&seg.geo), bytes = seg.geo.cache_seg_bytes;

	(void)state;
	fill(value, sizeof(value), 1);
	memset(room, 'm', sizeof(room));
	for (uint32_t i = 0; i < SHM_CACHE_TAGS_MAX; i++)
		tags[i] = (struct slice){room, 127};
	for (int full = 0; full < 2; full++) {
		struct shm_cache_put p = {
			.key = {room, full ? SHM_CACHE_KEY_MAX : 3},
			.meta = {room, full ? SHM_CACHE_META_MAX : 0},
			.tags = tags, .ntags = full ? SHM_CACHE_TAGS_MAX : 0, .value = pieces,
			.nvalue = 5,
		};
		uint64_t head = sizeof(struct cache_object) + p.key.len + p.meta.len +
				(full ? SHM_CACHE_TAGS_BYTES : 0);
		uint64_t at[8] = {0, 1, bytes - head}, list = (head + 3) & ~3ULL;
		size_t n = 3;

		for (uint64_t k = 1; k < 4; k++)
			at[n++] = bytes - list - 4 * k + k * bytes;
		at[n++] = most - head;
		for (size_t i = 0; i < n; i++) {
			for (uint64_t len = at[i] > 0 ? at[i] - 1 : 0; len <= at[i] + 1; len++) {
				uint64_t third = len / 3;

				/* Pieces of nothing change nothing. */
				pieces[0] = (struct slice){NULL, 0};
				pieces[1] = (struct slice){value, (size_t)third};
				pieces[2] = (struct slice){value + third, 0};
				pieces[3] = (struct slice){value + third, (size_t)(len - third)};
				pieces[4] = (struct slice){value + len, 0};
				check_put(&p, head + len <= most ? 0 : -EFBIG);
			}
		}
	}
	assert_int_equal(view().items, 0); /* what was too large took its own away */
	assert_int_equal(view().by_state[CACHE_EXTENT], 0);
}

/* ---- time ---- */

static enum shm_cache_found found_at(uint64_t now_ns)
{
	struct shm_cache_ref ref;
	enum shm_cache_found f = shm_cache_get(&seg, 2, shm_cache_hash(&seg, text("k")), text("k"),
					       false, now_ns, &ref);

	if (f != SHM_CACHE_MISS)
		shm_cache_unpin(&seg, 2, &ref);
	return f;
}

static void put_until(uint64_t fresh_ns, uint64_t stale_ns)
{
	struct shm_cache_put p = {.key = text("k"), .fresh_ns = fresh_ns, .stale_ns = stale_ns};

	assert_int_equal(put_it(&p), 0);
}

static void sweep_at(uint64_t now_ns)
{
	struct shm_cache_sweep sw = {0};

	while (!shm_cache_sweep(&seg, 0, &sw, 5, now_ns))
		continue;
}

static void test_moments(void **state)
{
	(void)state;
	/* Fresh to the millisecond, never longer; not stale for a moment if it may not be. */
	put_until(5 * S_NS, 5 * S_NS);
	assert_int_equal(found_at(5 * S_NS - 1), SHM_CACHE_HIT);
	sweep_at(5 * S_NS - 1);
	assert_int_equal(found_at(5 * S_NS - 1), SHM_CACHE_HIT);
	assert_int_equal(found_at(5 * S_NS), SHM_CACHE_MISS);
	assert_int_equal(found_at(1), SHM_CACHE_MISS); /* it does not come back */
	put_until(5 * S_NS + MS_NS - 1, 5 * S_NS + MS_NS - 1);
	assert_int_equal(found_at(5 * S_NS - 1), SHM_CACHE_HIT);
	assert_int_equal(found_at(5 * S_NS), SHM_CACHE_MISS);
	/* Less than a millisecond from the start of the clock on is nothing at all. */
	put_until(MS_NS - 1, MS_NS - 1);
	assert_int_equal(found_at(0), SHM_CACHE_MISS);
	/* The window of what is stale, in whole seconds. */
	put_until(5 * S_NS, 6 * S_NS);
	assert_int_equal(found_at(5 * S_NS), SHM_CACHE_STALE);
	assert_int_equal(found_at(6 * S_NS - 1), SHM_CACHE_STALE);
	sweep_at(6 * S_NS - 1);
	assert_int_equal(view().items, 1);
	sweep_at(6 * S_NS);
	assert_int_equal(view().items, 0);
	put_until(5 * S_NS, 5 * S_NS + 1);
	assert_int_equal(found_at(6 * S_NS - 1), SHM_CACHE_STALE);
	assert_int_equal(found_at(6 * S_NS), SHM_CACHE_MISS);
	put_until(5 * S_NS, 6 * S_NS + 1);
	assert_int_equal(found_at(7 * S_NS - 1), SHM_CACHE_STALE);
	assert_int_equal(found_at(7 * S_NS), SHM_CACHE_MISS);
}

/* Times that do not fit, and clocks that are anywhere: sooner over, never later. */
static void test_moments_far_ahead(void **state)
{
	static const uint64_t clocks[] = {
		0, S_NS, (1ULL << 40) * MS_NS - 1, (1ULL << 40) * MS_NS, (1ULL << 41) * MS_NS,
		UINT64_MAX / 2, UINT64_MAX - 2,
	};

	(void)state;
	for (size_t i = 0; i < sizeof(clocks) / sizeof(clocks[0]); i++) {
		for (size_t k = i; k < sizeof(clocks) / sizeof(clocks[0]); k++) {
			put_until(clocks[i] + 1, clocks[k] + 1);
			assert_int_equal(found_at(UINT64_MAX), SHM_CACHE_MISS);
			put_until(clocks[i] + 1, clocks[i] + 1);
			assert_int_equal(found_at(clocks[i] + 1), SHM_CACHE_MISS);
		}
	}
	/* 194 days are the longest that it may be stale. */
	put_until(S_NS, (1ULL << 25) * S_NS);
	assert_int_equal(found_at(S_NS + (((1ULL << 24) - 1) * S_NS) - 1), SHM_CACHE_STALE);
	assert_int_equal(found_at(S_NS + (((1ULL << 24) - 1) * S_NS)), SHM_CACHE_MISS);
	/* The last millisecond that can be said. */
	put_until(((1ULL << 40) - 1) * MS_NS, ((1ULL << 40) - 1) * MS_NS);
	assert_int_equal(found_at(((1ULL << 40) - 1) * MS_NS - 1), SHM_CACHE_HIT);
	assert_int_equal(found_at(((1ULL << 40) - 1) * MS_NS), SHM_CACHE_MISS);
}

/* ---- many workers, little memory ---- */

static _Atomic uint32_t lost, wrong;

static size_t length_of(uint32_t n)
{
	return 100 + n * 2654435761u % 12000;
}

/* Puts object n, of a key of its own, and looks for it and for the one before. */
static void one_of(uint32_t slot, uint32_t n)
{
	char value[12100], key[32];
	struct slice piece = {value, length_of(n)};
	struct shm_cache_put p = {
		.value = &piece, .nvalue = 1, .fresh_ns = S_NS, .stale_ns = S_NS,
		.birth = shm_cache_birth(&seg),
	};

	snprintf(key, sizeof(key), "of %u: %u", slot, n);
	p.key = text(key);
	p.hash = shm_cache_hash(&seg, p.key);
	fill(value, piece.len, n);
	if (shm_cache_put(&seg, slot, &p, 1) != 0) {
		atomic_fetch_add(&lost, 1);
		return;
	}
	for (uint32_t back = 0; back < 2 && back <= n; back++) {
		struct shm_cache_ref ref;

		snprintf(key, sizeof(key), "of %u: %u", slot, n - back);
		p.key = text(key);
		if (shm_cache_get(&seg, slot, shm_cache_hash(&seg, p.key), p.key, true, 1, &ref) !=
		    SHM_CACHE_HIT) {
			atomic_fetch_add(&lost, 1);
			continue;
		}
		if (ref.npieces != 1 || ref.value_len != length_of(n - back) ||
		    !is_filled(ref.first.p, ref.first.len, 0, n - back))
			atomic_fetch_add(&wrong, 1);
		shm_cache_unpin(&seg, slot, &ref);
	}
}

static void *worker(void *arg)
{
	uint32_t slot = (uint32_t)(uintptr_t)arg;

	for (uint32_t n = 0; n < 100; n++)
		one_of(slot, n);
	return NULL;
}

static void test_64_workers_in_16_mib(void **state)
{
	pthread_t threads[WORKERS];
	struct shm_cache_view v;
	struct shm_geometry g = none;

	(void)state;
	make(WORKERS + 1, 16 << 20);
	v = view();
	/* What 64 slots and the index take is not for objects. */
	assert_true(v.memory > (16ULL << 20) / 100 * 85);
	g.slots = WORKERS + 1;
	assert_true(shm_size_for(&seg.geo) - shm_size_for(&g) <= 16 << 20);
	for (uint32_t i = 0; i < WORKERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, worker,
						(void *)(uintptr_t)(i + 1)), 0);
	for (uint32_t i = 0; i < WORKERS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	v = view();
	printf("%u of 12800 had left already, %llu evicted, %llu kept, live %llu of %llu\n",
	       atomic_load(&lost), (unsigned long long)v.count[SHM_CACHE_EVICTED],
	       (unsigned long long)v.count[SHM_CACHE_KEPT], (unsigned long long)v.live_bytes,
	       (unsigned long long)v.memory);
	assert_int_equal(atomic_load(&wrong), 0);
	assert_int_equal(v.count[SHM_CACHE_PUTS] + v.count[SHM_CACHE_REFUSED], 100 * WORKERS);
	assert_int_equal(v.count[SHM_CACHE_PUTS], v.items + v.count[SHM_CACHE_EVICTED]);
	/* 40 MB went through it: it is full, and what is in it can be found. */
	assert_true(v.live_bytes > v.memory / 100 * 70);
	assert_int_equal(v.pinned, 0);
	/* One after the other: what has just come is there. */
	atomic_store(&lost, 0);
	for (uint32_t slot = 1; slot <= WORKERS; slot++)
		for (uint32_t n = 200; n < 203; n++)
			one_of(slot, n);
	assert_int_equal(atomic_load(&lost), WORKERS); /* (199 was never put) */
	/* Each has all of its pins. */
	for (uint32_t slot = 1; slot <= WORKERS; slot++) {
		struct shm_cache_put p = {.key = text("k")};
		struct shm_cache_ref ref;

		if (slot == 1)
			assert_int_equal(put_it(&p), 0);
		for (uint32_t i = 0; i < SHM_CACHE_PINS; i++)
			assert_int_equal(shm_cache_get(&seg, slot,
						       shm_cache_hash(&seg, text("k")), text("k"),
						       true, 1, &ref), SHM_CACHE_HIT);
	}
	assert_int_equal(view().pinned, WORKERS * SHM_CACHE_PINS);
	for (uint32_t slot = 1; slot <= WORKERS; slot++)
		shm_cache_recover(&seg, slot);
	assert_int_equal(view().pinned, 0);
	fake_fini(&seg);
}

/* ---- many keys ---- */

static bool put_number(uint32_t n)
{
	struct slice key = {(char *)&n, sizeof(n)};
	struct shm_cache_put p = {
		.hash = shm_cache_hash(&seg, key), .key = key, .value = &key, .nvalue = 1,
		.fresh_ns = S_NS, .stale_ns = S_NS,
	};

	return shm_cache_put(&seg, 1, &p, 1) == 0;
}

static bool has_number(uint32_t n)
{
	struct slice key = {(char *)&n, sizeof(n)};
	struct shm_cache_ref ref;

	if (shm_cache_get(&seg, 1, shm_cache_hash(&seg, key), key, false, 1, &ref) != SHM_CACHE_HIT)
		return false;
	assert_int_equal(ref.value_len, sizeof(n));
	assert_memory_equal(ref.first.p, &n, sizeof(n));
	shm_cache_unpin(&seg, 1, &ref);
	return true;
}

static uint64_t put_many(void)
{
	uint64_t found = 0;

	for (uint32_t n = 0; n < MANY; n++) {
		assert_true(put_number(n));
		if (n % 64 == 0)
			assert_true(has_number(n));
	}
	for (uint32_t n = 0; n < MANY; n++)
		found += has_number(n);
	return found;
}

/* With places for them in the index, two in three of which are taken. Rarely the 14 places of a key
 * are all taken: of a million keys one or two have had to leave. */
static void test_a_million_keys(void **state)
{
	struct shm_geometry g = none;
	struct shm_cache_view v;
	uint64_t found;

	(void)state;
	g.cache_seg_bytes = (1u << 20) + 1024;
	g.cache_segs = MANY / 16000 + 8; /* 48 bytes each */
	g.cache_segs += g.cache_segs / 5;
	g.cache_buckets = MANY / CACHE_WAYS * 3 / 2;
	g.cache_ghosts = 4096;
	g.cache_leases = 8;
	fake_init(&seg, &g);
	found = put_many();
	v = view();
	printf("%llu of %u found, %llu evicted\n", (unsigned long long)found, MANY,
	       (unsigned long long)v.count[SHM_CACHE_EVICTED]);
	assert_int_equal(found, v.items);
	assert_int_equal(v.count[SHM_CACHE_EVICTED], MANY - found);
	assert_true(MANY - found <= 20);
	fake_fini(&seg);
}

/* The index is full long before the memory is: what comes takes the place of what was used least,
 * and each that is missing has been counted. */
static void test_a_full_index(void **state)
{
	struct shm_cache_view v;
	uint64_t found;

	(void)state;
	make(3, 8 << 20);
	found = put_many();
	v = view();
	printf("%llu of %llu places taken, live %llu of %llu bytes\n", (unsigned long long)found,
	       (unsigned long long)v.entries, (unsigned long long)v.live_bytes,
	       (unsigned long long)v.memory);
	assert_int_equal(found, v.items);
	assert_int_equal(v.count[SHM_CACHE_EVICTED], MANY - found);
	assert_true(found > v.entries / 2 && found <= v.entries);
	assert_int_equal(v.by_state[CACHE_LIMBO], 0);
	fake_fini(&seg);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_lengths_of_texts), CASE(test_tags), CASE(test_texts_of_invalidations),
		CASE(test_lengths_of_values), CASE(test_moments), CASE(test_moments_far_ahead),
		cmocka_unit_test(test_64_workers_in_16_mib),
		cmocka_unit_test(test_a_million_keys), cmocka_unit_test(test_a_full_index),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
