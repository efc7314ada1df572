/* SPDX-License-Identifier: MIT */
/*
 * Slots: who is who. Claimed and recovered by the master alone, so no two ever compete; what it has
 * claimed it remembers privately, since the words of a slot may have been scribbled on.
 *
 * Both operations are a list of stores, each of which may be the last if the master is killed, and
 * which may be made again: the word `kind` says that a slot is somebody's, it is written last.
 */
#include "shm/shm.h"

#include <string.h>

#include "base/check.h"
#include "shm/cache.h"
#include "shm/dump.h"
#include "shm/sem.h"
#include "shm/rate.h"

/* The owner's gauges: true only as long as it lives. */
static void clear_gauges(struct shm *s, uint32_t i)
{
	struct shm_slot *slot = shm_slot(s, i);

	shm_set(&slot->connections, 0);
	shm_set(&slot->in_flight, 0);
	shm_set(&slot->abandoned, 0);
	shm_set(&slot->current_row, 0);
	shm_set(&slot->listening, 0);
	shm_set(&slot->phase, SHM_PH_NONE);
	shm_set(&slot->rss_bytes, 0);
	shm_set(&slot->cpu_ns, 0);
	shm_set(&slot->busy_ppm, 0);
	shm_set(&slot->private_bytes, 0);
	shm_set(&slot->samples, 0);
	for (uint32_t k = 0; k < s->geo.module_metrics; k++)
		if (shm_get(&s->module[k].kind) == SHM_MK_GAUGE)
			shm_set(shm_module_cell(s, i, k), 0);
}

/* Everything that one owner says or is told; not what the slot inherits. */
static void clear_incarnation(struct shm *s, uint32_t i)
{
	struct shm_slot *slot = shm_slot(s, i);

	clear_gauges(s, i);
	shm_set(&slot->pid, 0);
	shm_set(&slot->command, SHM_CMD_NONE);
	shm_set(&slot->stuck, 0);
	shm_set(&slot->told_dead_ns, 0);
	shm_set(&slot->heartbeat_ns, 0);
	shm_set(&slot->why, SHM_WHY_NONE);
	shm_set(&slot->requests_life, 0);
	shm_set(&slot->requests_goal, 0);
	shm_set(&slot->exit_code, 0);
	shm_set(&slot->note_len, 0);
}

static int find_free(const struct shm *s, enum shm_kind kind)
{
	if (kind == SHM_KEEPER)
		return s->claimed[0] ? -1 : 0; /* the rings have one consumer */
	for (uint32_t i = 1; i < s->geo.slots; i++)
		if (!s->claimed[i])
			return (int)i;
	return -1;
}

int shm_slot_claim(struct shm *s, enum shm_kind kind, uint32_t generation, uint64_t now_ns)
{
	int i = find_free(s, kind);
	struct shm_slot *slot;

	CHECK(kind == SHM_WORKER || kind == SHM_KEEPER);
	if (i < 0)
		return -1;
	s->claimed[i] = true;
	slot = shm_slot(s, (uint32_t)i);
	clear_incarnation(s, (uint32_t)i);
	dump_clear(&s->dumps[i]);
	shm_set(&slot->generation, generation);
	shm_set(&slot->born_ns, now_ns);
	shm_set(&slot->incarnation, shm_get(&slot->incarnation) + 1);
	atomic_store_explicit(&slot->kind, (uint32_t)kind, memory_order_release);
	return i;
}

void shm_slot_recover(struct shm *s, uint32_t i)
{
	struct shm_slot *slot;

	CHECK(i < s->geo.slots);
	slot = shm_slot(s, i);
	for (uint32_t r = 0; r < s->geo.rows; r++)
		shm_row_end(shm_row(s, i, r));
	shm_sem_recover(s, i);
	clear_gauges(s, i);
	shm_rate_recover(s, i);
	shm_cache_recover(s, i);
	shm_set(&slot->stuck, 0);
	shm_set(&slot->pid, 0);
	atomic_store_explicit(&slot->kind, SHM_FREE, memory_order_release);
	s->claimed[i] = false;
}

void shm_note_set(struct shm_slot *slot, const char *text)
{
	size_t len = strnlen(text, sizeof(slot->note));

	memcpy(slot->note, text, len);
	atomic_store_explicit(&slot->note_len, (uint32_t)len, memory_order_release);
}

size_t shm_note_get(const struct shm_slot *slot, char ret[SHM_NOTE_MAX])
{
	size_t len = atomic_load_explicit(&slot->note_len, memory_order_acquire);

	if (len > sizeof(slot->note))
		len = sizeof(slot->note);
	memcpy(ret, slot->note, len);
	ret[len] = '\0';
	return strlen(ret);
}
