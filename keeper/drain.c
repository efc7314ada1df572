/* SPDX-License-Identifier: MIT */
/*
 * Lines leave a ring only after they have been written: a keeper that is killed in between leaves
 * them to its successor, which may write some a second time but loses none.
 *
 * A file that fails (a full disk) costs the lines that it was to have, and they are counted. A file
 * that stalls (a pipe nobody reads) leaves them in the ring, until it is half full: then access
 * lines are given up and counted, so that lines of the error log behind them still get out.
 */
#include "keeper/drain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define BATCH_BYTES   65536u
#define BATCH_RECORDS 1024u
#define BATCHES_MAX   8u    /* of one ring in a round: others wait, too */

struct drain {
	const struct heritage *h;
	/* A run of records of one kind out of one ring. */
	enum shm_record_kind kind;
	size_t n, len;
	/* After each record: bytes of the batch, place in the ring. */
	struct { size_t len; uint64_t pos; } end[BATCH_RECORDS];
	char batch[BATCH_BYTES];
	char wrapped[SHM_RECORD_MAX];
};

int drain_new(const struct heritage *h, struct drain **ret_drain)
{
	struct drain *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->h = h;
	*ret_drain = d;
	return 0;
}

void drain_free(struct drain *d)
{
	free(d);
}

/* Gathers what is next in the ring. false: it is empty. */
static bool collect(struct drain *d, uint32_t slot)
{
	struct shm *s = d->h->shm;
	uint64_t pos = shm_ring_begin(s, slot), next = pos;
	enum shm_record_kind kind;
	const char *p;
	size_t len;

	d->n = d->len = 0;
	while (d->n < BATCH_RECORDS &&
	       shm_ring_peek_at(s, slot, &next, &kind, &p, &len, d->wrapped, sizeof(d->wrapped))) {
		if (d->n > 0 && (kind != d->kind || len > BATCH_BYTES - d->len))
			break;
		d->kind = kind;
		memcpy(d->batch + d->len, p, len);
		d->len += len;
		d->end[d->n].len = d->len;
		d->end[d->n++].pos = pos = next;
	}
	return d->n > 0;
}

/* Takes the first n records of the batch out of the ring. */
static void take(struct drain *d, uint32_t slot, size_t n)
{
	if (n > 0)
		shm_ring_take_to(d->h->shm, slot, d->end[n - 1].pos);
}

/* ... which were not written. */
static void give_up(struct drain *d, uint32_t slot, size_t from)
{
	uint64_t n = d->n - from;

	if (d->kind == SHM_REC_ACCESS_LOG)
		shm_add(&d->h->shm->inst->access_failed, n);
	else
		shm_add(&shm_slot(d->h->shm, d->h->slot)->c.log_lost, n);
	take(d, slot, d->n);
}

static size_t records_within(const struct drain *d, size_t bytes)
{
	size_t n = 0;

	while (n < d->n && d->end[n].len <= bytes)
		n++;
	return n;
}

/* true: go on with this ring. */
static bool write_batch(struct drain *d, uint32_t slot, enum drain_result *result)
{
	bool access = d->kind == SHM_REC_ACCESS_LOG;
	struct log_file *f = access ? d->h->access_log : d->h->error_log;
	size_t done;
	long n;

	if (access && f->fd < 0) { /* switched off by a reload that workers do not know of yet */
		take(d, slot, d->n);
		return true;
	}
	n = log_file_write(f, d->batch, d->len);
	done = records_within(d, n > 0 ? (size_t)n : 0);
	if (access)
		shm_add(&d->h->shm->inst->access_written, done);
	if (n < 0) {
		give_up(d, slot, 0);
		return true;
	}
	take(d, slot, done);
	if (done == d->n)
		return true;
	if (access && shm_ring_half_full(d->h->shm, slot)) {
		give_up(d, slot, done);
		return true;
	}
	*result = DRAIN_STALLED;
	return false;
}

enum drain_result drain_round(struct drain *d)
{
	enum drain_result result = DRAIN_EMPTY;

	for (uint32_t slot = 0; slot < d->h->shm->geo.slots; slot++) {
		for (unsigned i = 0; i < BATCHES_MAX && collect(d, slot); i++) {
			if (result == DRAIN_EMPTY)
				result = DRAIN_SOME;
			if (!write_batch(d, slot, &result))
				break;
		}
	}
	return result;
}
