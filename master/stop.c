/* SPDX-License-Identifier: MIT */
/*
 * The end: workers first (gracefully or quickly), the keeper last because it writes what is left
 * in the rings. A stop is never taken back and only gets harder.
 */
#include "master/master_priv.h"

void master_stop(struct master *m, enum stop_kind kind)
{
	enum shm_command command = kind == STOP_QUICK ? SHM_CMD_QUIT : SHM_CMD_STOP;

	if (kind <= m->stop)
		return;
	m->stop = kind;
	m->stop_ns = loop_now(m->loop);
	m->reload_again = false;
	/* The workers empty the accept queue before they close theirs; the last close ends it. */
	master_listen_close(m);
	for (uint32_t i = 0; i < m->nslots; i++) {
		struct child *c = &m->child[i];

		if (!child_is_worker(c))
			continue;
		if (kind == STOP_QUICK && c->state == CHILD_BOOTING)
			master_doom(m, c, REASON_STOP, SIGKILL); /* serves nobody, hears nothing */
		else
			master_leave(m, c, REASON_STOP, command);
	}
	master_tick_soon(m);
}

void master_stop_kill(struct master *m)
{
	for (uint32_t i = 0; i < m->nslots; i++)
		if (m->child[i].state != CHILD_NONE)
			master_doom(m, &m->child[i], REASON_STOP, SIGKILL);
}

/* Lines that no keeper has written yet. Two words that may hold anything are only compared. */
static bool lines_are_left(const struct master *m)
{
	for (uint32_t i = 0; i < m->nslots; i++)
		if (shm_get(&m->shm.rings[i].head) != shm_get(&m->shm.rings[i].tail))
			return true;
	return false;
}

void master_stop_settle(struct master *m)
{
	struct child *keeper = &m->child[0];

	if (master_count_workers(m) > 0)
		return;
	if (keeper->state == CHILD_NONE && !m->keeper_again && lines_are_left(m)) {
		/* The last one was replaced, or killed, before the workers had said everything. */
		m->keeper_again = true;
		if (master_spawn(m, SHM_KEEPER, &m->cur) != 0)
			m->done = true;
	}
	if (keeper->state == CHILD_NONE)
		m->done = true;
	else
		master_leave(m, keeper, REASON_STOP, SHM_CMD_STOP);
}

void master_give_up(struct master *m, int exit_code)
{
	m->exit_code = exit_code;
	master_stop(m, STOP_QUICK);
}
