/* SPDX-License-Identifier: MIT */
/* What the tests of shm/ share: a small segment without a file, random bytes, children. */
#ifndef TESTS_UNIT_SHM_HELP_H
#define TESTS_UNIT_SHM_HELP_H

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "shm/shm_priv.h"

static const struct shm_geometry small_geo = {
	.slots = 3, .rows = 4, .routes = 4, .series = 64, .errors = 32,
	.ring_bytes = 512, .exits = 4,
	.events = 4, .module_metrics = 5, .module_hists = 2,
	.sems = 3, .permits = 64, .rate_keys = 32,
};

/* A segment in anonymous shared memory: everything but the file. */
__attribute__((unused)) static void fake_init(struct shm *s, const struct shm_geometry *g)
{
	*s = (struct shm){.geo = *g, .size = shm_size_for(g), .lock_fd = -1};
	assert_true(s->size > 0);
	s->base = mmap(NULL, s->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(s->base != MAP_FAILED);
	s->claimed = calloc(g->slots, sizeof(*s->claimed));
	assert_non_null(s->claimed);
	shm_place(s);
	shm_format(s);
}

__attribute__((unused)) static void fake_fini(struct shm *s)
{
	free(s->claimed);
	assert_int_equal(munmap(s->base, s->size), 0);
}

/* xorshift64*: the same bytes for the same seed. */
__attribute__((unused)) static uint64_t rnd(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dULL;
}

__attribute__((unused)) static void fill_random(void *p, size_t len, uint64_t *state)
{
	unsigned char *to = p;

	for (size_t i = 0; i < len; i++)
		to[i] = (unsigned char)(rnd(state) >> 32);
}

/* Kills a child that this test forked, and takes its end. */
__attribute__((unused)) static void kill_child(pid_t pid)
{
	int status;

	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

/* Spins for so many microseconds: a moment that nothing is in step with. */
__attribute__((unused)) static void spin_us(uint64_t us)
{
	uint64_t end = clock_mono_ns() + us * 1000;

	while (clock_mono_ns() < end)
		continue;
}

#endif
