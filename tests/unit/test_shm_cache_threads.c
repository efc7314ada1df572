/* SPDX-License-Identifier: MIT */
/*
 * The store of the cache from several slots at once: as threads of one process, which a thread
 * sanitizer can watch, two lanes to a slot; and as processes that are killed at any moment and
 * recovered. All bytes of an object follow from its key and version, so nobody is ever given half
 * an object, or another one's. In the end every segment is accounted for.
 */
#include "tests/unit/shm_help.h"

#include <pthread.h>
#include <sys/prctl.h>

#include "shm/cache_priv.h"

#define S_NS 1000000000ULL
#define KEYS 60u
#define LANES 4u             /* of the slots 1 and 2; slot 0 sweeps */
#define ROUNDS 4000u
#define KILLS 60u

static const struct shm_geometry geo = {
	.slots = 5, .rows = 1, .routes = 2, .series = 17, .errors = 17, .ring_bytes = 64,
	.exits = 1, .events = 1,
	.cache_segs = 16, .cache_seg_bytes = 1024, .cache_buckets = 8, .cache_ghosts = 64,
	.cache_leases = 8,
};

static struct shm seg;
static _Atomic bool failed, done;
static _Atomic uint32_t leaders[KEYS];

static struct slice key_of(uint32_t k, char buf[16])
{
	int n = snprintf(buf, 16, "key-%u", k % 1000);

	return (struct slice){buf, (size_t)n};
}

static unsigned char byte_of(uint32_t k, uint32_t version, size_t i)
{
	return (unsigned char)(k * 31 + version * 97 + i * 7 + (i >> 8));
}

static void must(bool is, const char *what)
{
	if (!is && !atomic_exchange(&failed, true))
		fprintf(stderr, "not so: %s\n", what);
}

static void put(uint32_t slot, uint32_t k, uint32_t version, size_t len)
{
	unsigned char value[4096];
	char buf[16], tag[8];
	struct slice piece = {(char *)value, len}, tags[1] = {{tag, 3}};
	struct shm_cache_put p = {
		.key = key_of(k, buf), .value = &piece, .nvalue = 1, .tags = tags, .ntags = 1,
		.fresh_ns = S_NS, .stale_ns = S_NS, .kind = version, .birth = shm_cache_birth(&seg),
	};
	int rc;

	snprintf(tag, sizeof(tag), "t:%u", k % 8);
	p.hash = shm_cache_hash(&seg, p.key);
	for (size_t i = 0; i < len; i++)
		value[i] = byte_of(k, version, i);
	rc = shm_cache_put(&seg, slot, &p, 1);
	must(rc == 0 || rc == -28, "a put succeeds, or finds no room");
}

static bool look(uint32_t slot, uint32_t k)
{
	struct shm_cache_ref ref;
	char buf[16];
	struct slice key = key_of(k, buf);
	size_t at = 0;

	if (shm_cache_get(&seg, slot, shm_cache_hash(&seg, key), key, true, 1, &ref) !=
	    SHM_CACHE_HIT)
		return false;
	must(ref.key.len == key.len && memcmp(ref.key.p, key.p, key.len) == 0, "the key");
	for (uint32_t i = 0; i < ref.npieces; i++) {
		struct slice p = shm_cache_piece(&seg, &ref, i);

		for (size_t n = 0; n < p.len; n++, at++)
			must((unsigned char)p.p[n] == byte_of(k, ref.kind, at), "the value");
	}
	must(at == ref.value_len, "the length");
	shm_cache_unpin(&seg, slot, &ref);
	return true;
}

static void compute(uint32_t slot, uint32_t k)
{
	struct shm_cache_fill f;
	char buf[16];
	struct slice key = key_of(k, buf);

	if (shm_cache_fill_begin(&seg, slot, shm_cache_hash(&seg, key), 1000 * S_NS, S_NS, &f) !=
	    SHM_CACHE_LEADER)
		return;
	must(atomic_fetch_add(&leaders[k], 1) == 0, "one computes");
	put(slot, k, k % 200, 50);
	atomic_fetch_sub(&leaders[k], 1);
	shm_cache_fill_end(&seg, NULL, slot, &f);
}

static void invalidate(uint32_t slot, bool by_tag)
{
	if (by_tag)
		(void)shm_cache_invalidate(&seg, slot, SHM_CACHE_TAG, (struct slice){"t:3", 3});
	else
		(void)shm_cache_invalidate(&seg, slot, SHM_CACHE_PATTERN,
					   (struct slice){"key-1*", 6});
}

static void one(uint32_t slot, uint64_t *seed, bool leads)
{
	uint32_t k = (uint32_t)(rnd(seed) >> 33) % KEYS, what = (uint32_t)(rnd(seed) >> 33) % 100;
	char buf[16];
	struct slice key = key_of(k, buf);

	if (what < 50)
		(void)look(slot, k);
	else if (what < 78)
		put(slot, k, (uint32_t)(rnd(seed) >> 33) % 200, (size_t)(rnd(seed) >> 33) % 400);
	else if (what < 82)
		put(slot, k, (uint32_t)(rnd(seed) >> 33) % 200,
		    1000 + (size_t)(rnd(seed) >> 33) % 2500);
	else if (what < 90 && leads)
		compute(slot, k);
	else if (what < 95)
		(void)shm_cache_delete(&seg, slot, shm_cache_hash(&seg, key), key);
	else
		invalidate(slot, what < 98);
}

static void sweep(void)
{
	struct shm_cache_sweep sw = {0};

	while (!shm_cache_sweep(&seg, 0, &sw, 3, 1))
		continue;
}

static void check_end(void)
{
	struct shm_cache_view v;
	uint64_t entries = 0;

	sweep();
	sweep();
	shm_cache_read(&seg, &v);
	for (uint32_t i = 0; i < geo.cache_buckets; i++)
		for (uint32_t w = 0; w < CACHE_WAYS; w++)
			entries += shm_get(&seg.cache_index[i].entry[w]) != 0;
	assert_int_equal(v.items, entries);
	assert_int_equal(v.pinned, 0);
	assert_int_equal(v.by_state[CACHE_FREE] + v.by_state[CACHE_LIVE] + v.by_state[CACHE_EXTENT],
			 geo.cache_segs);
	(void)shm_cache_invalidate(&seg, 1, SHM_CACHE_ALL, (struct slice){"", 0});
	sweep();
	shm_cache_read(&seg, &v);
	assert_int_equal(v.items, 0);
	assert_int_equal(v.live_bytes, 0);
	assert_in_range(v.by_state[CACHE_FREE], geo.cache_segs - 2, geo.cache_segs);
	assert_false(atomic_load(&failed));
}

/* ---- threads ---- */

static void *lane(void *arg)
{
	uint32_t n = (uint32_t)(uintptr_t)arg;
	uint64_t seed = 1234567 + n;

	for (uint32_t i = 0; i < ROUNDS; i++)
		one(1 + n % 2, &seed, true);
	return NULL;
}

static void *sweeper(void *arg)
{
	(void)arg;
	while (!atomic_load(&done)) {
		sweep();
		usleep(500);
	}
	return NULL;
}

static void test_threads(void **state)
{
	pthread_t lanes[LANES], keeper;

	(void)state;
	fake_init(&seg, &geo);
	assert_int_equal(pthread_create(&keeper, NULL, sweeper, NULL), 0);
	for (uintptr_t i = 0; i < LANES; i++)
		assert_int_equal(pthread_create(&lanes[i], NULL, lane, (void *)i), 0);
	for (uint32_t i = 0; i < LANES; i++)
		assert_int_equal(pthread_join(lanes[i], NULL), 0);
	atomic_store(&done, true);
	assert_int_equal(pthread_join(keeper, NULL), 0);
	check_end();
	fake_fini(&seg);
}

/* ---- processes ---- */

static pid_t start(uint32_t slot, uint64_t seed)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (pid == 0) {
		one(slot, &seed, false);
		if (atomic_load(&failed))
			_exit(9);
	}
	return pid;
}

static void test_killed(void **state)
{
	pid_t pid[3];
	uint64_t seed = 99;

	(void)state;
	fake_init(&seg, &geo);
	for (uint32_t i = 0; i < 3; i++)
		pid[i] = start(1 + i, 100 + i);
	for (uint32_t n = 0; n < KILLS; n++) {
		uint32_t i = (uint32_t)(rnd(&seed) >> 33) % 3;
		int status;

		usleep(1000 + (useconds_t)(rnd(&seed) >> 33) % 4000);
		sweep();
		assert_int_equal(kill(pid[i], SIGKILL), 0);
		assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
		assert_true(WIFSIGNALED(status)); /* it has seen nothing wrong */
		shm_slot_recover(&seg, 1 + i);
		pid[i] = start(1 + i, 1000 + n);
	}
	for (uint32_t i = 0; i < 3; i++) {
		kill_child(pid[i]);
		shm_slot_recover(&seg, 1 + i);
	}
	for (uint32_t k = 0; k < KEYS; k++)
		(void)look(4, k);
	check_end();
	fake_fini(&seg);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_killed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
