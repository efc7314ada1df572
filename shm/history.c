/* SPDX-License-Identifier: MIT */
/*
 * Histories of exits and of events: the last records of each, written by the master alone.
 *
 * A record lies in a cell: one word that says which record it is (2 * (number + 1), odd while it is
 * being written), then the words of the record. The number lets a reader know that it got the one
 * that it asked for and not the one that has just replaced it. See row.c for why this needs no
 * fence. The master counts privately, so what it writes can be found whatever was scribbled over
 * the counts before. Nothing here waits: who comes in the middle goes without that record.
 */
#include "shm/shm_priv.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

#define READ_TRIES 8

static uint64_t label_of(uint32_t number)
{
	return 2 * ((uint64_t)number + 1);
}

static void cell_write(_Atomic uint64_t *cell, uint32_t number, const void *rec, size_t words)
{
	const char *from = rec;
	uint64_t w;

	shm_set(&cell[0], label_of(number) | 1);
	for (size_t i = 1; i < words; i++, from += 8) {
		memcpy(&w, from, 8);
		atomic_store_explicit(&cell[i], w, memory_order_release);
	}
	atomic_store_explicit(&cell[0], label_of(number), memory_order_release);
}

static bool cell_read(const _Atomic uint64_t *cell, uint32_t number, void *rec, size_t words)
{
	for (int try = 0; try < READ_TRIES; try++) {
		uint64_t label = atomic_load_explicit(&cell[0], memory_order_acquire);
		char *to = rec;

		if (label == (label_of(number) | 1))
			continue;
		if (label != label_of(number))
			return false;
		for (size_t i = 1; i < words; i++, to += 8) {
			uint64_t w = atomic_load_explicit(&cell[i], memory_order_acquire);

			memcpy(to, &w, 8);
		}
		if (shm_get(&cell[0]) == label)
			return true;
	}
	return false;
}

/* The number of the i-th newest of `count` ever written, of which `kept` are at hand. */
static bool number_of(uint32_t count, uint32_t kept, uint32_t i, uint32_t *ret)
{
	if (i >= count || i >= kept)
		return false;
	*ret = count - 1 - i;
	return true;
}

void shm_exit_add(struct shm *s, const struct shm_exit *e)
{
	uint32_t n = s->exits_written++;

	cell_write(&s->exits[(size_t)(n % s->geo.exits) * SHM_EXIT_WORDS], n, e, SHM_EXIT_WORDS);
	atomic_store_explicit(&s->inst->exit_count, n + 1, memory_order_release);
}

void shm_event_add(struct shm *s, const char *kind, const char *text)
{
	uint32_t n = s->events_written++;
	struct shm_event e = {.wall_ns = clock_wall_ns()};

	snprintf(e.kind, sizeof(e.kind), "%s", kind);
	snprintf(e.text, sizeof(e.text), "%s", text);
	cell_write(&s->events[(size_t)(n % s->geo.events) * SHM_EVENT_WORDS], n, &e,
		   SHM_EVENT_WORDS);
	atomic_store_explicit(&s->inst->event_count, n + 1, memory_order_release);
}

bool shm_exit_read(const struct shm *s, uint32_t i, struct shm_exit *ret)
{
	uint32_t count = atomic_load_explicit(&s->inst->exit_count, memory_order_acquire);
	uint32_t n;

	if (!number_of(count, s->geo.exits, i, &n) ||
	    !cell_read(&s->exits[(size_t)(n % s->geo.exits) * SHM_EXIT_WORDS], n, ret,
		       SHM_EXIT_WORDS))
		return false;
	ret->reason[sizeof(ret->reason) - 1] = '\0';
	ret->note[sizeof(ret->note) - 1] = '\0';
	ret->request_id[sizeof(ret->request_id) - 1] = '\0';
	ret->method[sizeof(ret->method) - 1] = '\0';
	ret->path[sizeof(ret->path) - 1] = '\0';
	ret->client[sizeof(ret->client) - 1] = '\0';
	return true;
}

bool shm_event_read(const struct shm *s, uint32_t i, struct shm_event *ret)
{
	uint32_t count = atomic_load_explicit(&s->inst->event_count, memory_order_acquire);
	uint32_t n;

	if (!number_of(count, s->geo.events, i, &n) ||
	    !cell_read(&s->events[(size_t)(n % s->geo.events) * SHM_EVENT_WORDS], n, ret,
		       SHM_EVENT_WORDS))
		return false;
	ret->kind[sizeof(ret->kind) - 1] = '\0';
	ret->text[sizeof(ret->text) - 1] = '\0';
	return true;
}
