/* SPDX-License-Identifier: MIT */
#include "base/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

#define TIMERS 500

struct tick {
	struct timer timer; /* first */
	int fired;
	uint64_t at_ns;     /* loop time when it fired */
};

static uint64_t last_due;
static int order_errors;

static void on_tick(struct loop *l, struct timer *t)
{
	struct tick *tick = (struct tick *)(void *)t;

	tick->fired++;
	tick->at_ns = loop_now(l);
	if (t->due_ns > loop_now(l) || t->due_ns < last_due)
		order_errors++;
	last_due = t->due_ns;
}

static struct tick *new_ticks(size_t n)
{
	struct tick *ticks = calloc(n, sizeof(*ticks));

	assert_non_null(ticks);
	for (size_t i = 0; i < n; i++)
		ticks[i].timer.cb = on_tick;
	last_due = 0;
	order_errors = 0;
	return ticks;
}

static void test_timers_fire_in_order(void **state)
{
	struct tick *ticks = new_ticks(TIMERS);
	struct loop *l;
	uint64_t t0;

	(void)state;
	srandom(7);
	assert_int_equal(loop_init(&l, TIMERS), 0);
	t0 = loop_now(l);
	for (int i = 0; i < TIMERS; i++)
		timer_arm(l, &ticks[i].timer, t0 + (uint64_t)(random() % 20000) * 1000);
	/* Every third goes, every third moves to an earlier, every third to a later time. */
	for (int i = 0; i < TIMERS; i += 3)
		timer_disarm(l, &ticks[i].timer);
	for (int i = 1; i < TIMERS; i += 3)
		timer_arm(l, &ticks[i].timer, t0 + (uint64_t)(random() % 5000) * 1000);
	for (int i = 2; i < TIMERS; i += 3)
		timer_arm(l, &ticks[i].timer, t0 + 20000000 + (uint64_t)(random() % 9000) * 1000);
	while (loop_clock(l) < t0 + 200 * NS_PER_MS) {
		int left = 0;

		loop_run_once(l, 50);
		for (int i = 0; i < TIMERS; i++)
			left += timer_armed(&ticks[i].timer);
		if (left == 0)
			break;
	}
	for (int i = 0; i < TIMERS; i++)
		assert_int_equal(ticks[i].fired, i % 3 != 0);
	assert_int_equal(order_errors, 0);
	free(ticks);
	loop_free(l);
}

static void test_a_timer_moved_later_fires_once_and_late(void **state)
{
	struct tick *tick = new_ticks(1);
	struct loop *l;
	uint64_t due;

	(void)state;
	assert_int_equal(loop_init(&l, 1), 0);
	timer_arm(l, &tick->timer, loop_now(l) + 2 * NS_PER_MS);
	due = loop_now(l) + 15 * NS_PER_MS;
	timer_arm(l, &tick->timer, due);
	while (!tick->fired)
		loop_run_once(l, 100);
	assert_true(tick->at_ns >= due);
	assert_int_equal(tick->fired, 1);
	assert_false(timer_armed(&tick->timer));
	free(tick);
	loop_free(l);
}

static void rearm_now(struct loop *l, struct timer *t)
{
	((struct tick *)(void *)t)->fired++;
	timer_arm(l, t, loop_now(l));
}

static void test_a_timer_armed_for_now_waits_for_the_next_turn(void **state)
{
	struct tick *tick = new_ticks(1);
	struct loop *l;

	(void)state;
	tick->timer.cb = rearm_now;
	assert_int_equal(loop_init(&l, 1), 0);
	timer_arm(l, &tick->timer, loop_now(l));
	loop_run_once(l, 0);
	assert_int_equal(tick->fired, 1);
	loop_run_once(l, 0);
	assert_int_equal(tick->fired, 2);
	free(tick);
	loop_free(l);
}

struct source {
	struct watch watch; /* first */
	struct source *kill;
	int *clock;
	int served_at;
	unsigned events;
};

static void on_source(struct loop *l, struct watch *w, unsigned events)
{
	struct source *s = (struct source *)(void *)w;

	s->events = events;
	s->served_at = ++*s->clock;
	if (s->kill)
		loop_forget(l, &s->kill->watch);
}

static void open_source(struct source *s, int *clock)
{
	memset(s, 0, sizeof(*s));
	s->clock = clock;
	s->watch.cb = on_source;
	s->watch.fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_true(s->watch.fd >= 0);
}

static void test_first_ones_are_served_first(void **state)
{
	struct source s[5];
	struct loop *l;
	int clock = 0;

	(void)state;
	assert_int_equal(loop_init(&l, 1), 0);
	for (int i = 0; i < 5; i++) {
		open_source(&s[i], &clock);
		s[i].watch.first = i == 4;
		assert_int_equal(loop_watch(l, &s[i].watch, LOOP_IN), 0);
	}
	assert_int_equal(loop_run_once(l, 0), 5);
	assert_int_equal(s[4].served_at, 1);
	for (int i = 0; i < 5; i++) {
		assert_true(s[i].served_at > 0);
		assert_int_equal(s[i].events, LOOP_IN);
		close(s[i].watch.fd);
	}
	loop_free(l);
}

static void test_a_forgotten_watch_gets_no_more_events(void **state)
{
	struct source a, b;
	struct loop *l;
	int clock = 0;

	(void)state;
	assert_int_equal(loop_init(&l, 1), 0);
	open_source(&a, &clock);
	open_source(&b, &clock);
	a.watch.first = true;
	a.kill = &b;
	assert_int_equal(loop_watch(l, &a.watch, LOOP_IN), 0);
	assert_int_equal(loop_watch(l, &b.watch, LOOP_IN), 0);
	assert_int_equal(loop_run_once(l, 0), 1);
	assert_int_equal(b.served_at, 0);
	close(a.watch.fd);
	close(b.watch.fd);
	loop_free(l);
}

static void test_interest_changes(void **state)
{
	struct source a;
	struct loop *l;
	int clock = 0;

	(void)state;
	assert_int_equal(loop_init(&l, 1), 0);
	open_source(&a, &clock);
	assert_int_equal(loop_watch(l, &a.watch, LOOP_IN), 0);
	assert_int_equal(loop_watch(l, &a.watch, LOOP_OUT), 0);
	assert_int_equal(loop_run_once(l, 0), 1);
	assert_int_equal(a.events, LOOP_OUT);
	assert_int_equal(loop_watch(l, &a.watch, 0), 0);
	assert_int_equal(loop_run_once(l, 0), 0);
	assert_int_equal(loop_watch(l, &a.watch, LOOP_IN), 0);
	assert_int_equal(loop_run_once(l, 0), 1);
	assert_int_equal(a.events, LOOP_IN);
	close(a.watch.fd);
	loop_free(l);
}

/* Told once, again when more comes or the interest is set anew; the end of the stream is told
 * too. */
static void test_an_edge_is_told_once(void **state)
{
	struct source a;
	struct loop *l;
	int clock = 0, fd[2];

	(void)state;
	assert_int_equal(loop_init(&l, 1), 0);
	open_source(&a, &clock);
	close(a.watch.fd);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	a.watch.fd = fd[0];
	assert_int_equal(loop_watch(l, &a.watch, LOOP_IN | LOOP_EDGE), 0);
	assert_int_equal(loop_run_once(l, 0), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(write(fd[1], "x", 1), 1);
		assert_int_equal(loop_run_once(l, 0), 1);
		assert_int_equal(a.events, LOOP_IN);
		assert_int_equal(loop_run_once(l, 0), 0);
	}
	assert_int_equal(loop_watch(l, &a.watch, LOOP_IN), 0);
	assert_int_equal(loop_run_once(l, 0), 1);
	assert_int_equal(loop_run_once(l, 0), 1);
	assert_int_equal(loop_watch(l, &a.watch, LOOP_IN | LOOP_EDGE), 0);
	assert_int_equal(loop_run_once(l, 0), 1);
	assert_int_equal(loop_run_once(l, 0), 0);
	close(fd[1]);
	assert_int_equal(loop_run_once(l, 0), 1);
	assert_int_equal(a.events & (LOOP_IN | LOOP_RDHUP), LOOP_IN | LOOP_RDHUP);
	close(fd[0]);
	loop_free(l);
}

static void test_the_bound_holds(void **state)
{
	struct loop *l;
	uint64_t t0 = clock_mono_ns();

	(void)state;
	assert_int_equal(loop_init(&l, 1), 0);
	assert_int_equal(loop_run_once(l, 5), 0);
	assert_true(clock_mono_ns() - t0 >= 4 * NS_PER_MS);
	loop_free(l);
}

static void on_slow(struct loop *l, struct timer *t)
{
	uint64_t until = clock_mono_ns() + 5 * NS_PER_MS;

	(void)l;
	(void)t;
	while (clock_mono_ns() < until)
		;
}

/* What a turn does after its last look at the loop's clock counts, the wait does not. */
static void test_busy_time_is_that_of_the_whole_turn(void **state)
{
	struct timer t = {.cb = on_slow};
	struct loop *l;
	uint64_t begun = clock_mono_ns(), took;

	(void)state;
	assert_int_equal(loop_init(&l, 1), 0);
	timer_arm(l, &t, loop_clock(l) + 20 * NS_PER_MS);
	while (t.pos != 0)
		loop_run_once(l, 1000);
	took = clock_mono_ns() - begun;
	assert_true(loop_stats(l)->last_busy_ns >= 5 * NS_PER_MS);
	assert_true(loop_stats(l)->last_busy_ns <= took - 19 * NS_PER_MS);
	loop_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_timers_fire_in_order),
		cmocka_unit_test(test_a_timer_moved_later_fires_once_and_late),
		cmocka_unit_test(test_a_timer_armed_for_now_waits_for_the_next_turn),
		cmocka_unit_test(test_first_ones_are_served_first),
		cmocka_unit_test(test_a_forgotten_watch_gets_no_more_events),
		cmocka_unit_test(test_interest_changes),
		cmocka_unit_test(test_an_edge_is_told_once),
		cmocka_unit_test(test_the_bound_holds),
		cmocka_unit_test(test_busy_time_is_that_of_the_whole_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
