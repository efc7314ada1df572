/* SPDX-License-Identifier: MIT */
/*
 * Rate limits against plain models that are written without looking at theirs: a bucket of credit
 * that fills, and two counters. Times, rates and bursts are random; the decisions must be the same
 * to the single request. Then tables: eviction, full sets, claims that were left; the directory;
 * and threads on several slots, which together must admit what one process would.
 */
#include "tests/unit/shm_help.h"

#include <errno.h>
#include <pthread.h>

#include "shm/rate_priv.h"

__extension__ typedef __int128 int128;

#define SECOND 1000000000ULL
#define LIMITS 300
#define STEPS 3000

static const struct shm_geometry geo = {
	.slots = 6, .rows = 1, .routes = 2, .series = 17, .errors = 17, .ring_bytes = 64,
	.exits = 1, .events = 1, .rate_keys = 64,
};

/* ---- the models ---- */

/* Credit in ns of refill: exactly what "one comes back every step" says. */
struct bucket { int128 credit, size, step; uint64_t last; };

static bool bucket_take(struct bucket *b, uint64_t now)
{
	b->credit += now - b->last;
	b->last = now;
	if (b->credit > b->size)
		b->credit = b->size;
	if (b->credit < b->step)
		return false;
	b->credit -= b->step;
	return true;
}

static struct bucket bucket_of(const struct shm_rate_spec *spec)
{
	int128 step = (spec->period_ns + spec->rate - 1) / spec->rate;
	int128 size = step * (spec->burst > 0 ? spec->burst : 1);

	return (struct bucket){.credit = size, .size = size, .step = step};
}

/* The same with the rate as it was written, in 1 / period of a request: the upper bound. */
static struct bucket rational_of(const struct shm_rate_spec *spec)
{
	int128 one = spec->period_ns, size = one * (spec->burst > 0 ? spec->burst : 1);

	return (struct bucket){.credit = size, .size = size, .step = one};
}

struct counters { uint64_t window, before, count; };

static bool counters_take(struct counters *c, const struct shm_rate_spec *spec, uint64_t now)
{
	uint64_t window = now / spec->period_ns, gone = now % spec->period_ns;

	if (window == c->window + 1)
		c->before = c->count;
	else if (window != c->window)
		c->before = 0;
	if (window != c->window)
		c->count = 0;
	c->window = window;
	if ((int128)c->before * (spec->period_ns - gone) >
	    ((int128)spec->rate + spec->burst - c->count - 1) * spec->period_ns)
		return false;
	c->count++;
	return true;
}

/* ---- help ---- */

static uint32_t intern(struct shm *s, const struct shm_rate_spec *spec, uint32_t generation)
{
	uint32_t at = UINT32_MAX;

	assert_int_equal(shm_rate_intern(s, spec, generation, &at), 0);
	assert_true(at < SHM_RATES);
	return at;
}

static bool charge_in(struct shm *s, uint32_t slot, struct shm_rate_use *uses, uint32_t n,
		      uint64_t now, struct shm_rate_say *say, int *refused)
{
	bool ok = shm_rate_charge(s, slot, now % 2, uses, n, now, refused);

	for (uint32_t i = 0; i < n; i++)
		shm_rate_say(s, &uses[i], now, &say[i]);
	return ok;
}

static struct shm_rate_say ask(struct shm *s, uint32_t rate, uint64_t hash, uint64_t now)
{
	struct shm_rate_use use = {.rate = rate, .hash = hash};
	struct shm_rate_say say;
	int refused;
	bool ok = charge_in(s, 1, &use, 1, now, &say, &refused);

	assert_int_equal(ok, say.admitted || say.shadow);
	assert_int_equal(refused, ok ? -1 : 0);
	return say;
}

/* How many it admits at this moment, with nothing changed. */
static uint32_t admits(struct shm *s, uint32_t rate, uint64_t now)
{
	uint64_t state = shm_get(&s->rate_words[rate].state);
	uint32_t n = 0;

	while (ask(s, rate, 0, now).admitted)
		n++;
	shm_set(&s->rate_words[rate].state, state);
	return n;
}

static struct shm_rate_spec random_spec(enum shm_rate_algorithm a, uint64_t *seed, bool small)
{
	static const uint64_t periods[] = {SECOND, 60 * SECOND, 3600 * SECOND, 86400 * SECOND};
	uint32_t most = small ? 12 : rnd(seed) % 2 ? 50 : 1000;

	return (struct shm_rate_spec){
		.name = "limit", .algorithm = a, .rate = 1 + (uint32_t)(rnd(seed) % most),
		.burst = (uint32_t)(rnd(seed) % most), .period_ns = periods[rnd(seed) % 4],
	};
}

/* Moments that decide: none, a step, a step less one, part of a period, several of them. */
static uint64_t random_gap(const struct shm_rate_spec *spec, uint64_t *seed)
{
	uint64_t step = (spec->period_ns + spec->rate - 1) / spec->rate;

	switch (rnd(seed) % 64) {
	case 0:
		return rnd(seed) % (3 * spec->period_ns);
	case 1:
		return spec->period_ns;
	case 2: case 3: case 4:
		return step;
	case 5: case 6: case 7:
		return step - 1;
	case 8: case 9: case 10: case 11: case 12:
		return rnd(seed) % (2 * step);
	case 13:
		return 1;
	default:
		return 0;
	}
}

/* A limit of its own for each round: a new segment would take longer. */
static uint32_t fresh(struct shm *s, const struct shm_rate_spec *spec, uint32_t generation)
{
	uint32_t at;

	shm_set(&s->inst->generation, generation);
	at = intern(s, spec, generation);
	shm_set(&s->rate_words[at].state, 0);
	return at;
}

/* ---- decisions ---- */

/* A hint of other numbers, or of another window: as another process may leave it at any time. */
static void mislead(struct shm *s, uint32_t at, const struct shm_rate_spec *spec, uint64_t now,
		    uint64_t *seed)
{
	uint64_t number = now / spec->period_ns;
	/* The last one times the rate is the period, but for 2^64. */
	const uint64_t wraps = (uint64_t)((((int128)1 << 64) + spec->period_ns + spec->rate - 1) /
					  spec->rate);
	const uint64_t hints[9] = {
		0, 1, spec->period_ns, rate_step(spec->period_ns, 1 + (uint32_t)(rnd(seed) % 1000)),
		number - 1, number + 1, number + RATE_NUMBER_MASK + 1, rnd(seed), wraps,
	};

	if (rnd(seed) % 4 == 0)
		shm_set(&s->rate_words[at].hint, hints[rnd(seed) % 9]);
}

static void test_bucket(void **state)
{
	struct shm s;
	uint64_t seed = 1, admitted = 0, refused = 0;

	(void)state;
	fake_init(&s, &geo);
	for (uint32_t i = 1; i <= LIMITS; i++) {
		struct shm_rate_spec spec = random_spec(SHM_RATE_BUCKET, &seed, false);
		uint32_t at = fresh(&s, &spec, i);
		struct bucket b = bucket_of(&spec), exact = rational_of(&spec);
		uint64_t now = rnd(&seed) >> 12;

		b.last = exact.last = now;
		for (int k = 0; k < STEPS; k++) {
			uint64_t gap = random_gap(&spec, &seed);
			bool want;

			now += gap;
			want = bucket_take(&b, now);
			mislead(&s, at, &spec, now, &seed);
			assert_int_equal(ask(&s, at, 0, now).admitted, want);
			exact.credit += (int128)gap * spec.rate;
			exact.last = now;
			if (exact.credit > exact.size)
				exact.credit = exact.size;
			if (want)
				assert_true(bucket_take(&exact, now));
			admitted += want;
			refused += !want;
		}
	}
	assert_true(admitted > 10000 && refused > 10000);
	fake_fini(&s);
}

static void test_window(void **state)
{
	struct shm s;
	uint64_t seed = 2, admitted = 0, refused = 0;

	(void)state;
	fake_init(&s, &geo);
	for (uint32_t i = 1; i <= LIMITS; i++) {
		struct shm_rate_spec spec = random_spec(SHM_RATE_WINDOW, &seed, false);
		uint32_t at = fresh(&s, &spec, i);
		struct counters c = {0};
		uint64_t now = rnd(&seed) >> 12;

		for (int k = 0; k < STEPS; k++) {
			bool want;

			now += random_gap(&spec, &seed);
			want = counters_take(&c, &spec, now);
			mislead(&s, at, &spec, now, &seed);
			assert_int_equal(ask(&s, at, 0, now).admitted, want);
			admitted += want;
			refused += !want;
		}
	}
	assert_true(admitted > 10000 && refused > 10000);
	fake_fini(&s);
}

/* The largest numbers there may be. */
static void test_extremes(void **state)
{
	struct shm_rate_spec spec = {
		.name = "w", .algorithm = SHM_RATE_WINDOW, .rate = 1000000, .burst = 1000000,
		.period_ns = 86400 * SECOND,
	};
	struct shm s;
	uint64_t now = 7 * spec.period_ns + 5;
	uint32_t at;

	(void)state;
	fake_init(&s, &geo);
	at = intern(&s, &spec, 1);
	assert_int_equal(admits(&s, at, now), 2000000);
	for (uint32_t i = 0; i < 2000000; i++)
		assert_true(ask(&s, at, 0, now).admitted);
	assert_int_equal(admits(&s, at, now + spec.period_ns - 5), 0);
	assert_int_equal(admits(&s, at, 8 * spec.period_ns + spec.period_ns / 2), 1000000);
	spec = (struct shm_rate_spec){.name = "b", .algorithm = SHM_RATE_BUCKET, .rate = 86,
				      .burst = 1000000, .period_ns = 86400 * SECOND};
	at = intern(&s, &spec, 1);
	assert_int_equal(admits(&s, at, now), 1000000);
	fake_fini(&s);
}

/* What it says is so: that many more and no more; after that time, and not 1 ns before. */
static void check_say(struct shm *s, uint32_t at, const struct shm_rate_say *say, uint64_t now)
{
	assert_int_equal(admits(s, at, now), say->remaining);
	if (!say->admitted) {
		assert_int_equal(say->remaining, 0);
		assert_true(admits(s, at, now + say->retry_ns) >= 1);
		assert_int_equal(admits(s, at, now + say->retry_ns - 1), 0);
		assert_int_equal(say->reset_ns, say->retry_ns);
	} else {
		assert_int_equal(say->retry_ns, 0);
	}
	assert_int_equal(say->reset_ns == 0, say->remaining == say->quota);
	if (say->reset_ns > 0) {
		assert_true(admits(s, at, now + say->reset_ns) > say->remaining);
		assert_int_equal(admits(s, at, now + say->reset_ns - 1), say->remaining);
	}
}

static void test_says(void **state)
{
	struct shm s;
	uint64_t seed = 3;

	(void)state;
	fake_init(&s, &geo);
	for (uint32_t i = 1; i <= 200; i++) {
		struct shm_rate_spec spec = random_spec(
			i % 2 ? SHM_RATE_BUCKET : SHM_RATE_WINDOW, &seed, true);
		uint32_t at = fresh(&s, &spec, i);
		uint64_t now = rnd(&seed) >> 12;

		for (int k = 0; k < 200; k++) {
			struct shm_rate_say say;

			now += random_gap(&spec, &seed);
			say = ask(&s, at, 0, now);
			if (i % 2 == 0)
				assert_int_equal(say.window_ns, spec.period_ns);
			else
				assert_in_range(say.window_ns * spec.rate,
						(say.quota - 1) * spec.period_ns,
						(say.quota + 1) * spec.period_ns);
			assert_int_equal(say.quota, i % 2 == 0      ? spec.rate + spec.burst
						    : spec.burst > 0 ? spec.burst : 1);
			assert_false(say.full || say.shadow);
			check_say(&s, at, &say, now);
		}
	}
	fake_fini(&s);
}

/* A process whose time is late: no more than it would have been admitted in time. */
static void test_late(void **state)
{
	struct shm_rate_spec b = {.name = "b", .algorithm = SHM_RATE_BUCKET, .rate = 10,
				  .burst = 5, .period_ns = SECOND};
	struct shm_rate_spec w = {.name = "w", .algorithm = SHM_RATE_WINDOW, .rate = 5,
				  .period_ns = SECOND};
	struct shm s;
	uint32_t at;

	(void)state;
	fake_init(&s, &geo);
	at = intern(&s, &b, 1);
	for (int i = 0; i < 5; i++)
		assert_true(ask(&s, at, 0, 10 * SECOND).admitted);
	assert_false(ask(&s, at, 0, 9 * SECOND).admitted);
	assert_false(ask(&s, at, 0, 10 * SECOND).admitted);
	at = intern(&s, &w, 1);
	for (int i = 0; i < 4; i++)
		assert_true(ask(&s, at, 0, 10 * SECOND).admitted);
	assert_true(ask(&s, at, 0, 9 * SECOND + 5).admitted); /* counts in the later window */
	assert_false(ask(&s, at, 0, 9 * SECOND + 5).admitted);
	assert_int_equal(ask(&s, at, 0, 9 * SECOND + 5).retry_ns, 2 * SECOND - 5 + SECOND / 5);
	assert_false(ask(&s, at, 0, 10 * SECOND).admitted);
	assert_false(ask(&s, at, 0, 11 * SECOND).admitted);
	assert_true(ask(&s, at, 0, 11 * SECOND + SECOND / 5).admitted);
	fake_fini(&s);
}

/* ---- several limits ---- */

static bool charge(struct shm *s, struct shm_rate_use *uses, uint32_t n, uint64_t now,
		   struct shm_rate_say *say, int *refused)
{
	return charge_in(s, 1, uses, n, now, say, refused);
}

static void test_all_or_none(void **state)
{
	struct shm_rate_spec spec = {.algorithm = SHM_RATE_BUCKET, .rate = 1, .period_ns = SECOND};
	struct shm_rate_use uses[4];
	struct shm_rate_say say[4];
	struct shm_rate_view v;
	struct shm s;
	uint64_t now = 100 * SECOND;
	int refused;

	(void)state;
	fake_init(&s, &geo);
	for (uint32_t i = 0; i < 4; i++) {
		static const char *const names[] = {"a", "b", "c", "d"};

		spec.name = names[i];
		spec.burst = 5 - i;              /* 5 4 3, and the shadow 2 */
		spec.entries = i == 1 ? 8 : 0;
		spec.period_ns = i == 0 ? 60 * SECOND : SECOND;
		spec.shadow = i == 3;
		uses[i] = (struct shm_rate_use){.rate = intern(&s, &spec, 1), .hash = 77};
	}
	for (int i = 0; i < 3; i++) {
		assert_true(charge(&s, uses, 4, now, say, &refused));
		assert_int_equal(refused, -1);
		assert_true(say[3].shadow && say[3].admitted == (i < 2));
	}
	/* c is spent: nobody else is charged for what it refuses. */
	for (int i = 0; i < 3; i++) {
		assert_false(charge(&s, uses, 4, now, say, &refused));
		assert_int_equal(refused, 2);
		assert_true(say[0].admitted && say[1].admitted && !say[2].admitted);
		assert_int_equal(say[0].remaining, 2);
		assert_int_equal(say[1].remaining, 1);
		assert_int_equal(uses[0].before, uses[0].after);
	}
	/* a and c spent: the one that lasts longest is told. */
	for (int i = 0; i < 2; i++)
		assert_true(charge(&s, uses, 1, now, say, &refused));
	assert_false(charge(&s, uses, 4, now, say, &refused));
	assert_int_equal(refused, 0);
	assert_true(shm_rate_read(&s, uses[0].rate, &v));
	assert_int_equal(v.allowed, 5);
	assert_int_equal(v.limited, 1);
	assert_true(shm_rate_read(&s, uses[1].rate, &v));
	assert_int_equal(v.allowed, 3);
	assert_int_equal(v.limited, 0);
	assert_true(shm_rate_read(&s, uses[2].rate, &v));
	assert_int_equal(v.allowed, 3);
	assert_int_equal(v.limited, 4);
	assert_true(shm_rate_read(&s, uses[3].rate, &v));
	assert_int_equal(v.allowed, 2);
	assert_int_equal(v.shadowed, 5);
	assert_int_equal(v.limited, 0);
	/* The next owner of the slot goes on counting. */
	shm_slot_recover(&s, 1);
	assert_true(shm_rate_read(&s, uses[2].rate, &v));
	assert_int_equal(v.limited, 4);
	/* None at all, and no limit: admitted. */
	assert_true(charge(&s, uses, 0, now, say, &refused));
	uses[0].rate = 63;
	assert_true(charge(&s, uses, 1, now, say, &refused));
	assert_int_equal(say[0].quota, 0);
	fake_fini(&s);
}

/* The look finds nothing, and a charge fails: the same limit twice, with one left. */
static void test_lost_race(void **state)
{
	struct shm_rate_spec spec = {.name = "one", .algorithm = SHM_RATE_BUCKET, .rate = 1,
				     .period_ns = SECOND, .burst = 4};
	struct shm_rate_use uses[3];
	struct shm_rate_say say[3];
	struct shm s;
	int refused;

	(void)state;
	for (uint32_t keyed = 0; keyed < 2; keyed++) {
		for (uint32_t a = SHM_RATE_BUCKET; a <= SHM_RATE_WINDOW; a++) {
			fake_init(&s, &geo);
			spec.algorithm = (enum shm_rate_algorithm)a;
			spec.name = "wide";
			spec.burst = 4;
			spec.entries = keyed * 8;
			uses[0] = (struct shm_rate_use){.rate = intern(&s, &spec, 1), .hash = 9};
			spec.name = "one";
			spec.burst = 0;
			uses[1] = (struct shm_rate_use){.rate = intern(&s, &spec, 1), .hash = 9};
			uses[2] = uses[1];
			assert_false(charge(&s, uses, 3, 10 * SECOND, say, &refused));
			assert_int_equal(refused, 2);
			/* Nothing is left of it. */
			assert_int_equal(say[0].remaining, say[0].quota);
			assert_true(charge(&s, uses, 2, 10 * SECOND, say, &refused));
			assert_int_equal(say[0].remaining, say[0].quota - 1);
			assert_int_equal(say[1].remaining, 0);
			fake_fini(&s);
		}
	}
}

static void test_refund(void **state)
{
	struct shm_rate_spec spec = {.name = "x", .algorithm = SHM_RATE_BUCKET, .rate = 10,
				     .period_ns = SECOND, .burst = 3};
	struct shm_rate_use mine, other;
	struct shm_rate_say say;
	struct shm s;
	int refused;

	(void)state;
	for (uint32_t keyed = 0; keyed < 2; keyed++) {
		fake_init(&s, &geo);
		spec.entries = keyed * 8;
		spec.algorithm = SHM_RATE_BUCKET;
		mine = other = (struct shm_rate_use){.rate = intern(&s, &spec, 1), .hash = 5};
		assert_true(charge(&s, &mine, 1, SECOND, &say, &refused));
		shm_rate_refund(&s, &mine, 1);
		shm_rate_refund(&s, &mine, 1); /* does nothing */
		for (uint32_t left = 3; left-- > 0;) {
			assert_true(charge(&s, &mine, 1, SECOND, &say, &refused));
			assert_int_equal(say.remaining, left);
		}
		assert_false(charge(&s, &mine, 1, SECOND, &say, &refused));
		shm_rate_refund(&s, &mine, 1); /* it was not charged */
		assert_false(charge(&s, &mine, 1, SECOND, &say, &refused));
		/* Idle until 2 s. Charged at 2 s, and by another at 2.05 s, 100 ms for each: given
		 * back, the bucket would owe what there was at 2 s, not at 2.05 s. Left out. */
		assert_true(charge(&s, &mine, 1, 2 * SECOND, &say, &refused));
		assert_true(charge(&s, &other, 1, 2 * SECOND + SECOND / 20, &say, &refused));
		assert_int_equal(say.remaining, 1);
		shm_rate_refund(&s, &mine, 1);
		assert_true(charge(&s, &mine, 1, 2 * SECOND + SECOND / 20, &say, &refused));
		assert_int_equal(say.remaining, 0);
		fake_fini(&s);

		fake_init(&s, &geo);
		spec.algorithm = SHM_RATE_WINDOW; /* 13 in a window */
		mine = other = (struct shm_rate_use){.rate = intern(&s, &spec, 1), .hash = 5};
		assert_true(charge(&s, &mine, 1, SECOND, &say, &refused));
		for (int i = 0; i < 12; i++)
			assert_true(charge(&s, &other, 1, SECOND, &say, &refused));
		assert_false(charge(&s, &other, 1, SECOND, &say, &refused));
		shm_rate_refund(&s, &mine, 1);
		assert_true(charge(&s, &mine, 1, SECOND, &say, &refused));
		assert_false(charge(&s, &other, 1, SECOND, &say, &refused));
		/* Next window: 13 before weigh 6.5, so 6 are admitted; one less is 6, so 7. */
		for (int i = 0; i < 6; i++)
			assert_true(charge(&s, &other, 1, 2 * SECOND + SECOND / 2, &say, &refused));
		assert_false(charge(&s, &other, 1, 2 * SECOND + SECOND / 2, &say, &refused));
		shm_rate_refund(&s, &mine, 1);
		assert_true(charge(&s, &mine, 1, 2 * SECOND + SECOND / 2, &say, &refused));
		assert_false(charge(&s, &other, 1, 2 * SECOND + SECOND / 2, &say, &refused));
		fake_fini(&s);
	}
}

static void test_live_change(void **state)
{
	struct shm_rate_spec spec = {.name = "x", .algorithm = SHM_RATE_BUCKET, .rate = 1,
				     .period_ns = 3600 * SECOND, .burst = 10};
	struct shm_rate_view v;
	struct shm s;
	uint64_t now = 5000 * SECOND;
	uint32_t at;

	(void)state;
	fake_init(&s, &geo);
	at = intern(&s, &spec, 1);
	assert_int_equal(admits(&s, at, now), 10);
	assert_int_equal(shm_rate_set(&s, at, 3600, 4, false), 0);
	assert_int_equal(admits(&s, at, now), 4);
	assert_int_equal(shm_rate_set(&s, at, 1, 10, false), 0);
	for (int i = 0; i < 10; i++)
		assert_true(ask(&s, at, 0, now).admitted);
	/* It owes ten hours. Under the new numbers it cannot owe more than 20 s. */
	assert_int_equal(shm_rate_set(&s, at, 3600, 20, true), 0);
	assert_false(ask(&s, at, 0, now).admitted);
	assert_int_equal(admits(&s, at, now + SECOND), 1);
	assert_int_equal(admits(&s, at, now + 20 * SECOND), 20);
	assert_true(shm_rate_read(&s, at, &v));
	assert_true(v.rate == 3600 && v.burst == 20 && v.shadow && v.capacity == 0);
	assert_int_equal(v.period_ns, 3600 * SECOND);
	assert_int_equal(shm_rate_set(&s, at, 0, 1, false), -EINVAL);
	assert_int_equal(shm_rate_set(&s, at, 1000001, 1, false), -EINVAL);
	assert_int_equal(shm_rate_set(&s, at, 1, 1000001, false), -EINVAL);
	assert_int_equal(shm_rate_set(&s, at, 1, 1281024, false), -EINVAL);
	assert_int_equal(shm_rate_set(&s, 5, 1, 1, false), -EINVAL);
	assert_int_equal(shm_rate_set(&s, SHM_RATES, 1, 1, false), -EINVAL);
	fake_fini(&s);
}

/* ---- tables ---- */

#define IN_SET(n) ((uint64_t)(n) + 1) /* hashes of small numbers: the first set twice */

static void test_full(void **state)
{
	struct shm_rate_spec spec = {.name = "deny", .algorithm = SHM_RATE_BUCKET, .rate = 1,
				     .period_ns = 10 * SECOND, .burst = 2, .entries = 8};
	struct shm_rate_view v;
	struct shm_rate_say say;
	struct shm s;
	uint64_t now = 100 * SECOND;
	uint32_t deny, allow;

	(void)state;
	fake_init(&s, &geo);
	deny = intern(&s, &spec, 1);
	spec.name = "allow";
	spec.allow_when_full = true;
	allow = intern(&s, &spec, 1);
	for (uint32_t i = 0; i < 4; i++) {
		assert_int_equal(ask(&s, deny, IN_SET(i), now + i).remaining, 1);
		assert_int_equal(ask(&s, allow, IN_SET(i), now + i).remaining, 1);
	}
	assert_int_equal(shm_rate_keys_in_use(&s, deny, now), 4);
	say = ask(&s, allow, IN_SET(4), now);
	assert_true(say.full && say.admitted);
	say = ask(&s, deny, IN_SET(4), now);
	assert_true(say.full && !say.admitted);
	/* The first of them is idle after 10 s, and given away a second later. */
	assert_int_equal(say.retry_ns, 11 * SECOND);
	assert_true(ask(&s, deny, IN_SET(4), now + 11 * SECOND - 1).full);
	assert_int_equal(shm_rate_keys_in_use(&s, deny, now + 10 * SECOND), 3);
	say = ask(&s, deny, IN_SET(4), now + 11 * SECOND);
	assert_true(!say.full && say.admitted && say.remaining == 1);
	/* The others are still what they were. */
	for (uint32_t i = 1; i < 4; i++)
		assert_int_equal(ask(&s, deny, IN_SET(i), now + SECOND).remaining, 0);
	assert_true(shm_rate_read(&s, deny, &v));
	assert_true(v.overflowed == 2 && v.limited == 2 && v.allowed == 8 && v.capacity == 8);
	assert_true(shm_rate_read(&s, allow, &v));
	assert_true(v.overflowed == 1 && v.limited == 0 && v.allowed == 5);
	assert_true(v.allow_when_full);
	fake_fini(&s);
}

/* Many more keys than entries over a long time. Each is judged as if it had a bucket (a window) of
 * its own for ever, but when there is no room. */
static void run_keys(enum shm_rate_algorithm a, uint64_t seed)
{
	struct shm_rate_spec spec = {.name = "k", .algorithm = a, .rate = 2, .burst = 3,
				     .period_ns = SECOND, .entries = 16};
	struct bucket b[64];
	struct counters c[64] = {{0}};
	struct shm s;
	uint64_t now = 10 * SECOND, full = 0, refused = 0;
	uint32_t at;

	fake_init(&s, &geo);
	at = intern(&s, &spec, 1);
	for (int i = 0; i < 64; i++) {
		b[i] = bucket_of(&spec);
		b[i].last = now;
	}
	for (int n = 0; n < 300000; n++) {
		uint32_t k = (uint32_t)(rnd(&seed) >> 32) % 24;
		uint64_t hash = (k + 1) * 0x9e3779b97f4a7c15ULL;
		struct shm_rate_say say;
		struct bucket was = b[k];
		struct counters had = c[k];
		bool want;

		if (rnd(&seed) % 4 == 0)
			now += rnd(&seed) % (SECOND / 4);
		say = ask(&s, at, hash, now);
		want = a == SHM_RATE_BUCKET ? bucket_take(&b[k], now)
					    : counters_take(&c[k], &spec, now);
		if (say.full) {
			full++;
			b[k] = was;
			c[k] = had;
			continue;
		}
		assert_int_equal(say.admitted, want);
		refused += !want;
	}
	assert_in_range(full, 1000, 200000);
	assert_true(refused > 1000);
	fake_fini(&s);
}

static void test_keys(void **state)
{
	(void)state;
	run_keys(SHM_RATE_BUCKET, 7);
	run_keys(SHM_RATE_WINDOW, 8);
}

/* What a killed process leaves: a claim. It holds nobody up, and recovery takes it away. */
static void test_claim_left(void **state)
{
	struct shm_rate_spec spec = {.name = "k", .algorithm = SHM_RATE_BUCKET, .rate = 1,
				     .period_ns = 60 * SECOND, .burst = 1, .entries = 4};
	struct rate_way *way;
	struct shm s;
	uint64_t now = 100 * SECOND;
	uint32_t at, entries = 0;

	(void)state;
	fake_init(&s, &geo);
	at = intern(&s, &spec, 1);
	way = s.rate_sets[0].way;
	shm_set(&way[2].key, IN_SET(0));
	shm_set(&way[2].state, rate_pending(2, 9));
	assert_int_equal(shm_rate_keys_in_use(&s, at, now), 0);
	assert_true(ask(&s, at, IN_SET(0), now).admitted);
	assert_false(ask(&s, at, IN_SET(0), now).admitted);
	for (uint32_t i = 0; i < 4; i++) {
		entries += shm_get(&way[i].key) == IN_SET(0);
		assert_false(rate_is_pending(shm_get(&way[i].state)));
	}
	assert_int_equal(entries, 1);
	assert_int_equal(shm_get(&s.rate_slots[1].claims) & UINT32_MAX, 0);
	/* In the way of other keys: the last place. */
	for (uint32_t i = 1; i < 3; i++)
		assert_true(ask(&s, at, IN_SET(i), now).admitted);
	for (uint32_t i = 0; i < 4; i++) {
		if (shm_get(&way[i].key) == 0 || shm_get(&way[i].state) == 0) {
			shm_set(&way[i].key, IN_SET(9));
			shm_set(&way[i].state, rate_pending(2, 10));
		}
	}
	assert_true(ask(&s, at, IN_SET(4), now).admitted);
	assert_true(ask(&s, at, IN_SET(5), now).full);
	/* Recovery: of that slot alone. */
	shm_set(&way[1].state, rate_pending(2, 11));
	shm_set(&way[3].state, rate_pending(3, 11));
	shm_set(&s.rate_slots[2].claims, 7ULL << 32 | 1);
	shm_set(&s.rate_slots[3].claims, 7ULL << 32 | 1);
	shm_slot_recover(&s, 2);
	assert_int_equal(shm_get(&way[1].key), 0);
	assert_int_equal(shm_get(&way[3].state), rate_pending(3, 11));
	assert_int_equal(shm_get(&s.rate_slots[2].claims), 7ULL << 32);
	fake_fini(&s);
}

/* At which fill do keys find no room? Keys are random, each is asked once. */
static void test_fill(void **state)
{
	static const uint32_t percent[] = {50, 60, 70, 75, 80, 85, 90, 100};
	struct shm_rate_spec spec = {.name = "k", .algorithm = SHM_RATE_BUCKET, .rate = 1,
				     .period_ns = 86400 * SECOND, .entries = 1u << 20};
	struct shm_geometry g = geo;
	struct shm_bill_line lines[SHM_SECTIONS_MAX];
	uint64_t seed = 11, n = 0, full = 0, first = 0, bytes = 0, used = 0;
	struct rate_rule r;
	struct shm s;
	uint32_t at;

	(void)state;
	g.rate_keys = 1u << 20;
	assert_int_equal(shm_bill(&g, lines, SHM_SECTIONS_MAX), SHM_SEC_COUNT);
	for (int i = SHM_SEC_RATES; i <= SHM_SEC_RATE_SETS; i++)
		bytes += lines[i].bytes;
	assert_true(bytes <= 17u << 20);
	fake_init(&s, &g);
	at = intern(&s, &spec, 1);
	for (size_t i = 0; i < sizeof(percent) / sizeof(percent[0]); i++) {
		for (; n < (uint64_t)percent[i] * (1u << 20) / 100; n++) {
			full += ask(&s, at, rnd(&seed), SECOND).full;
			if (full == 1 && first == 0)
				first = n;
		}
		print_message("keys asked for: %3u%% of the entries; without room: %.3f%%\n",
			      percent[i], 100.0 * (double)full / (double)n);
		assert_true(percent[i] > 50 || full * 10000 < n);
		assert_true(percent[i] > 75 || full * 100 < n);
	}
	print_message("first key without room: number %llu\n", (unsigned long long)first);
	assert_true(rate_rule_of(&s, at, &r));
	for (uint32_t i = 0; i < r.sets; i++)
		used += rate_set_in_use(&r, &r.table[i], SECOND);
	assert_int_equal(used, n - full);
	/* Of a table of this size it is an estimate. */
	assert_true(shm_rate_keys_in_use(&s, at, SECOND) > used * 99 / 100);
	assert_true(shm_rate_keys_in_use(&s, at, SECOND) < used * 101 / 100);
	fake_fini(&s);
}

static void test_hash(void **state)
{
	struct slice ab[] = {SLICE("a"), SLICE("b")}, a_b[] = {SLICE("ab"), SLICE("")};
	struct slice ab1[] = {SLICE("ab")};
	struct shm s, t;

	(void)state;
	fake_init(&s, &geo);
	fake_init(&t, &geo);
	assert_true(shm_rate_hash(&s, ab, 2) == shm_rate_hash(&s, ab, 2));
	assert_true(shm_rate_hash(&s, ab, 2) != shm_rate_hash(&s, a_b, 2));
	assert_true(shm_rate_hash(&s, a_b, 2) != shm_rate_hash(&s, ab1, 1));
	assert_true(shm_rate_hash(&s, ab, 2) != shm_rate_hash(&t, ab, 2)); /* its secret */
	assert_true(s.head->hash_key[0] != 0 && s.head->hash_key[0] != t.head->hash_key[0]);
	fake_fini(&s);
	fake_fini(&t);
}

/* ---- the directory ---- */

static void test_directory(void **state)
{
	struct shm_rate_spec spec = {.name = "a", .algorithm = SHM_RATE_BUCKET, .rate = 5,
				     .period_ns = SECOND, .burst = 5};
	struct shm_rate_view v;
	struct shm s;
	uint32_t a, b, c;
	char name[SHM_RATE_NAME_MAX + 1];

	(void)state;
	fake_init(&s, &geo);
	a = intern(&s, &spec, 1);
	shm_set(&s.inst->generation, 1);
	assert_int_equal(shm_rate_find(&s, "a", 1), a);
	assert_int_equal(shm_rate_find(&s, "a", 2), UINT32_MAX);
	assert_int_equal(shm_rate_find(&s, "b", 1), UINT32_MAX);
	for (int i = 0; i < 5; i++)
		assert_true(ask(&s, a, 0, SECOND).admitted);
	/* The same name again: the same limit, what was counted stays; new numbers hold. */
	spec.burst = 6;
	assert_int_equal(intern(&s, &spec, 2), a);
	assert_int_equal(shm_rate_find(&s, "a", 2), a);
	assert_int_equal(admits(&s, a, SECOND), 1);
	/* Another period: another limit, beside the old one as long as that is known. */
	spec.period_ns = 60 * SECOND;
	b = intern(&s, &spec, 3);
	assert_true(b != a);
	assert_int_equal(shm_rate_find(&s, "a", 2), a);
	assert_int_equal(shm_rate_find(&s, "a", 3), b);
	assert_int_equal(admits(&s, b, SECOND), 6);
	assert_true(shm_rate_read(&s, a, &v));
	assert_true(v.first_generation == 1 && v.last_generation == 2);
	assert_string_equal(v.name, "a");
	/* And the first one again. */
	spec.period_ns = SECOND;
	c = intern(&s, &spec, 4);
	assert_int_equal(c, a);
	assert_int_equal(shm_rate_find(&s, "a", 4), a);
	assert_int_equal(shm_rate_find(&s, "a", 3), b);

	spec.name = "";
	assert_int_equal(shm_rate_intern(&s, &spec, 1, &c), -EINVAL);
	memset(name, 'n', sizeof(name));
	name[SHM_RATE_NAME_MAX] = '\0';
	spec.name = name;
	assert_int_equal(shm_rate_intern(&s, &spec, 1, &c), -EINVAL);
	name[SHM_RATE_NAME_MAX - 1] = '\0';
	assert_int_equal(shm_rate_intern(&s, &spec, 1, &c), 0);
	spec.rate = 0;
	assert_int_equal(shm_rate_intern(&s, &spec, 1, &c), -EINVAL);
	spec.rate = 1;
	spec.algorithm = (enum shm_rate_algorithm)3;
	assert_int_equal(shm_rate_intern(&s, &spec, 1, &c), -EINVAL);
	spec.algorithm = SHM_RATE_BUCKET;
	spec.period_ns = 86400 * SECOND;
	spec.burst = 1000000; /* 2700 years */
	assert_int_equal(shm_rate_intern(&s, &spec, 1, &c), -EINVAL);
	assert_false(shm_rate_read(&s, 60, &v));
	assert_false(shm_rate_read(&s, SHM_RATES, &v));
	fake_fini(&s);
}

static void make_name(char name[16], uint32_t i)
{
	snprintf(name, 16, "limit-%u", i);
}

/* All entries, then all again when their generations are gone. */
static void test_entries_again(void **state)
{
	struct shm_rate_spec spec = {.algorithm = SHM_RATE_BUCKET, .rate = 5, .period_ns = SECOND};
	struct shm_rate_view v;
	struct shm s;
	char name[16];
	uint32_t at, old;

	(void)state;
	fake_init(&s, &geo);
	spec.name = name;
	shm_set(&s.inst->generation, 1);
	for (uint32_t i = 0; i < SHM_RATES; i++) {
		make_name(name, i);
		assert_int_equal(intern(&s, &spec, 1), i);
		assert_true(ask(&s, i, 0, SECOND).admitted);
	}
	make_name(name, 100);
	assert_int_equal(shm_rate_intern(&s, &spec, 2, &at), -ENOSPC);
	/* Generation 2 is complete, but a worker of the first one is there. */
	assert_int_equal(shm_slot_claim(&s, SHM_WORKER, 1, 1), 1);
	shm_set(&s.inst->generation, 2);
	make_name(name, 7);
	assert_int_equal(intern(&s, &spec, 2), 7);
	make_name(name, 100);
	assert_int_equal(shm_rate_intern(&s, &spec, 3, &at), -ENOSPC);
	shm_slot_recover(&s, 1);
	old = intern(&s, &spec, 3);
	assert_int_equal(old, 0);
	assert_int_equal(shm_rate_find(&s, "limit-0", 1), UINT32_MAX);
	assert_int_equal(shm_rate_find(&s, "limit-7", 2), 7);
	assert_int_equal(admits(&s, old, SECOND), 1); /* nothing of the old one */
	assert_true(shm_rate_read(&s, old, &v));
	assert_int_equal(v.allowed, 1);
	assert_true(ask(&s, old, 0, SECOND).admitted);
	assert_true(shm_rate_read(&s, old, &v));
	assert_true(v.allowed == 2 && v.limited == 1);
	fake_fini(&s);
}

static void test_room_for_keys(void **state)
{
	struct shm_rate_spec spec = {.name = "a", .algorithm = SHM_RATE_BUCKET, .rate = 5,
				     .period_ns = SECOND, .entries = 30};
	struct shm_usage use[SHM_SECTIONS_MAX];
	struct shm s;
	uint32_t a, b, at;

	(void)state;
	fake_init(&s, &geo); /* 64 entries */
	shm_set(&s.inst->generation, 1);
	a = intern(&s, &spec, 1);
	spec.name = "b";
	b = intern(&s, &spec, 1);
	assert_int_equal(shm_get(&s.rates[b].first_set), 8);
	spec.name = "c";
	spec.entries = 1;
	assert_int_equal(shm_rate_intern(&s, &spec, 1, &at), -ENOSPC);
	assert_int_equal(shm_usage(&s, use, SHM_SECTIONS_MAX), SHM_SEC_COUNT);
	assert_int_equal(use[SHM_SEC_RATE_SETS].used_bytes, 16 * 64);
	assert_int_equal(use[SHM_SEC_RATES].used_bytes, 2 * sizeof(struct shm_rate));
	for (uint64_t i = 0; i < 8; i++)
		(void)ask(&s, a, i << 60, SECOND);
	/* a is kept though it wants less, c comes in its place when a is gone. */
	spec.name = "a";
	assert_int_equal(intern(&s, &spec, 1), a);
	spec.name = "b";
	assert_int_equal(intern(&s, &spec, 2), b);
	shm_set(&s.inst->generation, 2);
	spec.name = "c";
	spec.entries = 20;
	at = intern(&s, &spec, 2);
	assert_int_equal(shm_get(&s.rates[at].first_set), 0);
	assert_int_equal(shm_rate_find(&s, "a", 1), UINT32_MAX);
	assert_int_equal(shm_rate_keys_in_use(&s, at, SECOND), 0); /* cleared */
	spec.name = "d";
	spec.entries = 12;
	at = intern(&s, &spec, 2);
	assert_int_equal(shm_get(&s.rates[at].first_set), 5);
	spec.entries = 13; /* it would have to grow */
	assert_int_equal(shm_rate_intern(&s, &spec, 2, &at), -ENOSPC);
	spec.entries = 0; /* no table is needed */
	assert_int_equal(shm_rate_intern(&s, &spec, 3, &at), 0);
	fake_fini(&s);
}

/* ---- threads ---- */

#define THREADS 4
#define ROUNDS 1500
#define KEYS 4

struct crowd {
	struct shm s;
	uint32_t rate, nlimits;
	uint64_t now;
	_Atomic uint32_t admitted[KEYS];
	_Atomic uint32_t full;
	pthread_barrier_t begin, end;
	bool many;
};
struct member { struct crowd *crowd; uint32_t slot; };

/* Other keys in each round, so that each round makes all entries anew. */
static uint64_t key_in(uint64_t round, uint32_t k)
{
	return (round * KEYS + k + 1) * 0x9e3779b97f4a7c15ULL;
}

static void *hammer(void *arg)
{
	struct member *m = arg;
	struct crowd *c = m->crowd;
	struct shm_rate_say say[2];
	int refused;

	for (uint64_t round = 0; round < ROUNDS; round++) {
		pthread_barrier_wait(&c->begin);
		for (uint32_t i = 0; i < 8 * KEYS; i++) {
			uint32_t k = (i + m->slot) % KEYS;
			struct shm_rate_use uses[2] = {
				{.rate = c->rate, .hash = key_in(round, k)},
				{.rate = c->rate + 1, .hash = 1},
			};

			if (charge_in(&c->s, m->slot, uses, c->nlimits, c->now, say, &refused))
				atomic_fetch_add(&c->admitted[k], 1);
			if (say[0].full)
				atomic_fetch_add(&c->full, 1);
		}
		pthread_barrier_wait(&c->end);
	}
	return NULL;
}

/* One clock, which stands still in a round: each key admits what its bucket holds, to the one. */
static void run_crowd(const struct shm_rate_spec *spec, uint32_t per_key, uint32_t in_all)
{
	static struct crowd c;
	struct member m[THREADS];
	pthread_t t[THREADS];

	memset(&c, 0, sizeof(c));
	fake_init(&c.s, &geo);
	c.rate = intern(&c.s, spec, 1);
	c.nlimits = in_all > 0 ? 2 : 1;
	if (in_all > 0) {
		struct shm_rate_spec all = {.name = "all", .algorithm = SHM_RATE_BUCKET,
					    .rate = 100, .period_ns = SECOND, .burst = in_all};

		assert_int_equal(intern(&c.s, &all, 1), c.rate + 1);
	}
	assert_int_equal(pthread_barrier_init(&c.begin, NULL, THREADS + 1), 0);
	assert_int_equal(pthread_barrier_init(&c.end, NULL, THREADS + 1), 0);
	for (uint32_t i = 0; i < THREADS; i++) {
		m[i] = (struct member){&c, 1 + i / 2}; /* two lanes of each slot */
		assert_int_equal(pthread_create(&t[i], NULL, hammer, &m[i]), 0);
	}
	for (uint64_t round = 0; round < ROUNDS; round++) {
		uint32_t sum = 0;

		c.now = (round + 2) * 10 * SECOND;
		pthread_barrier_wait(&c.begin);
		pthread_barrier_wait(&c.end);
		for (uint32_t k = 0; k < KEYS; k++) {
			uint32_t n = atomic_exchange(&c.admitted[k], 0);

			if (in_all == 0)
				assert_int_equal(n, spec->entries > 0 ? per_key : n);
			assert_true(n <= per_key || spec->entries == 0);
			sum += n;
		}
		if (spec->entries == 0)
			assert_int_equal(sum, per_key);
		if (in_all > 0)
			assert_true(sum <= in_all);
	}
	for (uint32_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
	assert_int_equal(atomic_load(&c.full), 0);
	for (uint32_t i = 0; i < geo.slots; i++)
		assert_int_equal(shm_get(&c.s.rate_slots[i].claims) & UINT32_MAX, 0);
	pthread_barrier_destroy(&c.begin);
	pthread_barrier_destroy(&c.end);
	fake_fini(&c.s);
}

static void test_threads(void **state)
{
	struct shm_rate_spec spec = {.name = "k", .algorithm = SHM_RATE_BUCKET, .rate = 10,
				     .period_ns = SECOND, .burst = 5};

	(void)state;
	run_crowd(&spec, 5, 0);
	spec.entries = 4;
	run_crowd(&spec, 5, 0);
	run_crowd(&spec, 5, 12);
	spec.entries = 16;
	run_crowd(&spec, 5, 0);
	spec.algorithm = SHM_RATE_WINDOW;
	spec.rate = 2;
	run_crowd(&spec, 7, 0);
	spec.entries = 0;
	run_crowd(&spec, 7, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bucket),	      cmocka_unit_test(test_window),
		cmocka_unit_test(test_extremes),      cmocka_unit_test(test_says),
		cmocka_unit_test(test_late),	      cmocka_unit_test(test_all_or_none),
		cmocka_unit_test(test_lost_race),     cmocka_unit_test(test_refund),
		cmocka_unit_test(test_live_change),   cmocka_unit_test(test_full),
		cmocka_unit_test(test_keys),	      cmocka_unit_test(test_claim_left),
		cmocka_unit_test(test_fill),	      cmocka_unit_test(test_hash),
		cmocka_unit_test(test_directory),     cmocka_unit_test(test_entries_again),
		cmocka_unit_test(test_room_for_keys), cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
