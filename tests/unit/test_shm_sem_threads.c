/* SPDX-License-Identifier: MIT */
/*
 * Semaphores from several slots at once, one of them with eight lanes, as threads of one process,
 * which a thread sanitizer can watch. Each lane takes and gives permits, alone and several at once,
 * queues when it must, and sometimes gives up; the limit changes all the time. Those inside count
 * themselves: they are never more than the limit, and in the end nothing is left over.
 */
#include "tests/unit/shm_help.h"

#include <pthread.h>

#include "shm/sem_priv.h"

#define SLOTS 5u             /* 1 to 4 are used; 1 has eight lanes, the others one */
#define LANES 11u
#define ROUNDS 3000u
#define LIMIT 6u
#define LOST_NS (10 * NS_PER_S)

struct waiter {
	struct waiter *next;
	uint32_t weight, class, have, permit[4];
	uint64_t since;
	bool admitted;
};

/* A process: its queue, and what wakes its lanes. */
struct process {
	pthread_mutex_t lock;
	pthread_cond_t poked;
	uint64_t pokes;
	struct waiter *head, **tail;
};

static struct both {
	struct shm s;
	struct process p[SLOTS];
	_Atomic uint32_t inside;
	_Atomic uint64_t queued, gave_up, took;
	_Atomic bool changing, failed, done;
} b;

/* ---- one process ---- */

static void poke(struct shm_sem_wake *wake)
{
	for (uint32_t slot = 1; slot < SLOTS; slot++) {
		struct process *p = &b.p[slot];
		bool told = wake->all;

		for (uint32_t i = 0; i < wake->n; i++)
			told |= wake->slot[i] == slot;
		if (!told)
			continue;
		pthread_mutex_lock(&p->lock);
		p->pokes++;
		pthread_cond_broadcast(&p->poked);
		pthread_mutex_unlock(&p->lock);
	}
	*wake = (struct shm_sem_wake){0};
}

/* The next three: with the lock held. */
static void tell(struct process *p, uint32_t slot, struct shm_sem_wake *wake)
{
	struct shm_sem_waits w = {0};

	for (struct waiter *i = p->head; i; i = i->next) {
		if (w.count[i->class]++ == 0)
			w.oldest_ns[i->class] = i->since;
		w.permits[i->class] += i->weight - i->have;
	}
	shm_sem_wait(&b.s, 0, slot, &w, clock_mono_ns(), wake);
}

static void unlink_waiter(struct process *p, struct waiter *me)
{
	struct waiter **at = &p->head;

	while (*at != me)
		at = &(*at)->next;
	*at = me->next;
	if (me->next == NULL)
		p->tail = at;
}

static void look(struct process *p, uint32_t slot, struct shm_sem_wake *wake)
{
	while (p->head) {
		struct waiter *h = p->head;
		uint32_t had = h->have;
		bool got = shm_sem_acquire(&b.s, 0, slot, h->weight, true, 0, clock_mono_ns(),
					   h->permit, &h->have, wake);

		if (got) {
			h->admitted = true;
			unlink_waiter(p, h);
			pthread_cond_broadcast(&p->poked);
		}
		if (got || h->have != had)
			tell(p, slot, wake);
		if (!got)
			return;
	}
}

/* Waits in the queue; false: has given up. */
static bool wait_for(struct process *p, uint32_t slot, struct waiter *me, uint64_t *seed)
{
	struct shm_sem_wake wake = {0};
	uint64_t begin = clock_mono_ns(), seen;
	bool patient = rnd(seed) % 8 != 0;

	me->since = begin;
	pthread_mutex_lock(&p->lock);
	*p->tail = me;
	p->tail = &me->next;
	tell(p, slot, &wake);
	look(p, slot, &wake);
	seen = p->pokes;
	while (!me->admitted) {
		pthread_mutex_unlock(&p->lock);
		poke(&wake);
		pthread_mutex_lock(&p->lock);
		if (!me->admitted && !patient) {
			uint32_t n = me->have;

			unlink_waiter(p, me);
			me->have = 0;
			shm_sem_release(&b.s, 0, slot, me->permit, n, clock_mono_ns(), &wake);
			tell(p, slot, &wake);
			look(p, slot, &wake);
			break;
		}
		/* No look without being told: a wake-up that is lost is to be seen. */
		while (!me->admitted && p->pokes == seen) {
			struct timespec until;

			clock_gettime(CLOCK_REALTIME, &until);
			until.tv_sec += 1;
			pthread_cond_timedwait(&p->poked, &p->lock, &until);
			if (!me->admitted && clock_mono_ns() - begin > LOST_NS) {
				atomic_store(&b.failed, true);
				fprintf(stderr, "slot %u: nobody wakes it\n", slot);
				abort();
			}
		}
		seen = p->pokes;
		look(p, slot, &wake);
	}
	pthread_mutex_unlock(&p->lock);
	poke(&wake);
	return me->admitted;
}

/* ---- one lane ---- */

static void be_inside(uint32_t weight, uint64_t *seed)
{
	uint32_t n = atomic_fetch_add(&b.inside, weight) + weight;

	if (n > LIMIT)
		atomic_store(&b.failed, true);
	for (uint64_t i = rnd(seed) % 200; i > 0; i--)
		__asm__ volatile("");
	if (rnd(seed) % 4 == 0)
		sched_yield();
	atomic_fetch_sub(&b.inside, weight);
}

static void *lane(void *arg)
{
	uint32_t nr = (uint32_t)(uintptr_t)arg, slot = nr < 8 ? 1 : nr - 6;
	uint64_t seed = nr + 1;

	for (uint32_t i = 0; i < ROUNDS && !atomic_load(&b.failed); i++) {
		struct shm_sem_wake wake = {0};
		struct waiter me = {.weight = rnd(&seed) % 5 ? 1 : 2 + (uint32_t)rnd(&seed) % 2,
				    .class = (uint32_t)rnd(&seed) % SHM_CLASSES};
		bool got = shm_sem_acquire(&b.s, 0, slot, me.weight, false, 0, clock_mono_ns(),
					   me.permit, &me.have, &wake);

		poke(&wake);
		if (!got) {
			atomic_fetch_add(&b.queued, 1);
			got = wait_for(&b.p[slot], slot, &me, &seed);
		}
		if (!got) {
			atomic_fetch_add(&b.gave_up, 1);
			continue;
		}
		atomic_fetch_add(&b.took, 1);
		be_inside(me.weight, &seed);
		shm_sem_release(&b.s, 0, slot, me.permit, me.have, clock_mono_ns(), &wake);
		poke(&wake);
	}
	return NULL;
}

/* Lowers and raises the limit, never below what a head may want. */
static void *changer(void *arg)
{
	uint64_t seed = 99;

	while (!atomic_load(&b.done)) {
		struct shm_sem_wake wake = {0};
		uint32_t limit = 3 + (uint32_t)(rnd(&seed) % (LIMIT - 2));

		if (shm_sem_set_limit(&b.s, 0, limit, &wake) != 0)
			atomic_store(&b.failed, true);
		poke(&wake);
		spin_us(rnd(&seed) % 300);
		sched_yield();
	}
	return arg;
}

static void run(bool changing)
{
	struct shm_geometry g = small_geo;
	struct shm_sem_spec spec = {"one", LIMIT, LIMIT, {3, 2, 1}};
	pthread_t lanes[LANES], change;
	uint32_t at;

	memset(&b, 0, sizeof(b));
	g.slots = SLOTS;
	fake_init(&b.s, &g);
	assert_int_equal(shm_sem_intern(&b.s, &spec, 1, &at), 0);
	for (uint32_t i = 0; i < SLOTS; i++) {
		pthread_mutex_init(&b.p[i].lock, NULL);
		pthread_cond_init(&b.p[i].poked, NULL);
		b.p[i].tail = &b.p[i].head;
	}
	for (uint32_t i = 0; i < LANES; i++)
		assert_int_equal(pthread_create(&lanes[i], NULL, lane, (void *)(uintptr_t)i), 0);
	if (changing)
		assert_int_equal(pthread_create(&change, NULL, changer, NULL), 0);
	for (uint32_t i = 0; i < LANES; i++)
		assert_int_equal(pthread_join(lanes[i], NULL), 0);
	atomic_store(&b.done, true);
	if (changing)
		assert_int_equal(pthread_join(change, NULL), 0);
	print_message("took %lu, queued %lu, gave up %lu\n", atomic_load(&b.took),
		      atomic_load(&b.queued), atomic_load(&b.gave_up));
	assert_false(atomic_load(&b.failed));
	assert_true(atomic_load(&b.queued) > ROUNDS / 10);
	assert_int_equal(atomic_load(&b.took) + atomic_load(&b.gave_up), LANES * ROUNDS);
	for (uint32_t i = 0; i < b.s.geo.permits; i++)
		assert_int_equal(shm_get(&b.s.permits[i]), 0);
	assert_int_equal(shm_get(&b.s.sems[0].collector), 0);
	assert_int_equal(shm_get(&b.s.sem_bits[0]), 0);
	fake_fini(&b.s);
}

static void test_threads(void **state)
{
	(void)state;
	run(false);
}

static void test_threads_changing(void **state)
{
	(void)state;
	run(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_threads_changing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
