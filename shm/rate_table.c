/* SPDX-License-Identifier: MIT */
/*
 * Tables of keyed limits: sets of four entries, a line of memory each. A key may be in either of
 * two sets, which its hash chooses, and is put where there is more room: with one set alone, the
 * first keys would find none when a quarter of the table is in use. An entry never moves. It is
 * one word of 16 bytes, {key, state}, and changes by one compare-and-swap of both: who charges a
 * key charges that key or nothing, however long it was held up between looking and charging; the
 * state of an entry and whose it is cannot be taken apart, neither by a kill nor by another
 * process.
 *
 * An entry passes to another key only by a compare-and-swap from a state that means the same as no
 * entry (rate_is_idle), so this loses nothing: the state that it replaces is the one that was
 * judged.
 *
 * No two entries of one key are ever charged. A new entry is first only a claim: the key, with a
 * state that holds who makes it and a ticket (RATE_PENDING), which nobody charges. Who has made
 * the claim then looks through both sets once more, and makes it an entry, with its first charge
 * in it, if the key is nowhere else. Let there be two entries of a key, made from the claims A and
 * B. Claims are compare-and-swaps, which have one order for all: be A the earlier one. From its
 * claim on A's way has the key in it. B looks through the sets after its own claim, so it finds
 * the key in A's way, be it claim or entry, and does not go on. So there are not two. For this it
 * does not matter who gives way, or whether a claim is taken away by others; that is decided such
 * that somebody gets on: an entry goes before a claim, a claim in a lower place before one in a
 * higher place. The lower one waits for the other to give way, which the other does as soon as it
 * looks; nobody waits in a circle.
 *
 * Waiting is bounded. A claim that stands for long is of a process that is dead or stopped: it is
 * taken away, by a compare-and-swap of its ticket. Its maker finds that out when it makes the
 * claim an entry, since the ticket is not there, and begins anew. Tickets of a slot come again
 * after 2^27 claims of that slot: one would have to be held up for so many, and meet the very same
 * way and key. So a process that is killed or stopped anywhere here holds nobody up, and recovery
 * only tidies.
 *
 * Order: the compare-and-swaps are locked instructions, nothing passes them. Loads of an entry's
 * two halves may be of different moments; what is written is safe, since the compare-and-swap
 * compares both, and for a refusal the key is loaded again after the state.
 */
#include "shm/rate_priv.h"

#define TRIES 64         /* claims that failed or were in the way, until the request is refused */
#define SELDOM __attribute__((noinline))
#define SPINS 256        /* looks at somebody's claim before it is taken away */

/*
 * Both halves at once. Not C11's atomics: those call a library, which may take a lock; and
 * compilers make the one instruction of the builtin only if they may use it everywhere. A thread
 * sanitizer knows the builtin, and does not see what is in assembly.
 */
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
static inline bool swap_pair(struct rate_way *w, uint64_t key, uint64_t state, uint64_t new_key,
			     uint64_t new_state)
{
	bool done;

	__asm__ volatile("lock cmpxchg16b %[w]"
			 : [w] "+m"(*w), "=@cce"(done), "+a"(key), "+d"(state)
			 : "b"(new_key), "c"(new_state)
			 : "memory");
	return done;
}
#else
__extension__ typedef unsigned __int128 uint128;

#if defined(__x86_64__)
__attribute__((target("cx16")))
#endif
static bool swap_pair(struct rate_way *w, uint64_t key, uint64_t state, uint64_t new_key,
		      uint64_t new_state)
{
	return __sync_bool_compare_and_swap((uint128 *)(void *)w, (uint128)state << 64 | key,
					    (uint128)new_state << 64 | new_key);
}
#endif

static inline uint64_t load(const _Atomic uint64_t *w)
{
	return atomic_load_explicit(w, memory_order_seq_cst);
}

static inline void pause_a_little(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#endif
}

static inline uint64_t key_of(uint64_t hash)
{
	return hash != 0 ? hash : 1; /* 0 is an empty way */
}

/* The places of a key, first those of one set, then of the other (which may be the same). */
#define PLACES (2 * RATE_WAYS)
struct places { struct shm_rate_set *set[2]; };

static struct places places_of(const struct rate_rule *r, uint64_t key)
{
	return (struct places){{
		&r->table[(key >> 32) * r->sets >> 32],
		&r->table[(key & UINT32_MAX) * r->sets >> 32],
	}};
}

void rate_table_prefetch(const struct rate_rule *r, uint64_t hash)
{
	struct places ps = places_of(r, key_of(hash));

	__builtin_prefetch(ps.set[0], 1);
	__builtin_prefetch(ps.set[1], 1);
}

/* ---- finding ---- */

enum found { FOUND, ROOM, CLAIMED, FULL, MOVED };
struct place { struct rate_way *way; uint64_t key, state; };

static inline struct place read_place(const struct places *ps, uint32_t i)
{
	struct rate_way *w = &ps->set[i / RATE_WAYS]->way[i % RATE_WAYS];
	uint64_t key = load(&w->key);

	return (struct place){w, key, load(&w->state)};
}

/* Which ways of a set have the key, as bits. */
static inline uint32_t ways_of(const struct shm_rate_set *set, uint64_t key)
{
	_Static_assert(RATE_WAYS == 4, "each is looked at");
	return (uint32_t)(load(&set->way[0].key) == key) |
	       (uint32_t)(load(&set->way[1].key) == key) << 1 |
	       (uint32_t)(load(&set->way[2].key) == key) << 2 |
	       (uint32_t)(load(&set->way[3].key) == key) << 3;
}

/*
 * The usual case: there is an entry of the key. Which way of a set has it is found without a
 * branch, which nothing could foretell; the other set comes from memory meanwhile. The key is
 * loaded again after the state, see above.
 */
static inline bool find_entry(const struct rate_rule *r, uint64_t key, struct place *ret)
{
	struct places ps = places_of(r, key);
	struct shm_rate_set *set = ps.set[0];
	uint32_t has;

	__builtin_prefetch(ps.set[1]);
	has = ways_of(set, key);
	if (has == 0) {
		set = ps.set[1];
		has = ways_of(set, key);
	}
	if (has == 0)
		return false;
	ret->way = &set->way[__builtin_ctz(has)];
	ret->key = key;
	ret->state = load(&ret->way->state);
	return !rate_is_pending(ret->state) && load(&ret->way->key) == key;
}

/* No place was found in what was seen. Full is what it was at one moment, not what was seen of
 * eight: so all keys are looked at again. */
static enum found full_or_moved(const struct place at[PLACES])
{
	for (uint32_t i = 0; i < PLACES; i++)
		if (load(&at[i].way->key) != at[i].key)
			return MOVED;
	return FULL;
}

/* FOUND: the entry of the key. ROOM: there is none, but a place. CLAIMED: a claim of the key, or
 * there is no place but a claim. FULL. MOVED: things have changed meanwhile. */
SELDOM static enum found find(const struct rate_rule *r, uint64_t key, uint64_t now_ns,
			      struct place *ret)
{
	struct places ps = places_of(r, key);
	struct place at[PLACES];
	uint32_t rooms[2] = {0, 0}, room[2] = {0, 0}, claim = PLACES;

	__builtin_prefetch(ps.set[1]);
	for (uint32_t i = 0; i < PLACES; i++) {
		at[i] = read_place(&ps, i);
		if (at[i].key == key) {
			*ret = at[i];
			if (load(&at[i].way->key) != key)
				return MOVED;
			return rate_is_pending(at[i].state) ? CLAIMED : FOUND;
		}
		if (at[i].key != 0 && rate_is_pending(at[i].state)) {
			claim = i;
		} else if (at[i].key == 0 || rate_is_idle(r, at[i].state, now_ns)) {
			room[i / RATE_WAYS] = i;
			rooms[i / RATE_WAYS]++;
		}
	}
	if (rooms[0] + rooms[1] > 0) {
		*ret = at[room[rooms[1] > rooms[0]]];
		return ROOM;
	}
	if (claim == PLACES)
		return full_or_moved(at);
	*ret = at[claim];
	return CLAIMED;
}

/* ---- making an entry ---- */

/* Waits until a claim has become something else; in the end takes it away. */
static void settle(const struct place *claim)
{
	for (int i = 0; i < SPINS; i++) {
		if (load(&claim->way->state) != claim->state)
			return;
		pause_a_little();
	}
	(void)swap_pair(claim->way, claim->key, claim->state, 0, 0); /* fails: it has changed */
}

/* Is the key nowhere but in our claim, way `mine`? false: somebody else goes first. */
static bool is_alone(const struct rate_rule *r, const struct rate_way *mine, uint64_t key)
{
	struct places ps = places_of(r, key);
	int tries = TRIES;

	for (uint32_t i = 0; i < PLACES; i++) {
		struct place p = read_place(&ps, i);

		if (p.way == mine || p.key != key)
			continue;
		if (!rate_is_pending(p.state) || p.way < mine || tries-- == 0)
			return false;
		settle(&p);
		i--; /* what is there now? */
	}
	return true;
}

/* Begins a claim: the slot's word tells recovery that there may be one. */
static uint64_t begin_claim(struct shm *s, uint32_t slot)
{
	uint64_t was = atomic_fetch_add(&s->rate_slots[slot].claims, (1ULL << 32) + 1);

	return rate_pending(slot, (uint32_t)(was >> 32));
}

static void end_claim(struct shm *s, uint32_t slot)
{
	atomic_fetch_sub(&s->rate_slots[slot].claims, 1);
}

/* An entry of the key in `room`, charged with one. false: somebody was faster, nothing is left. */
static bool insert(struct shm *s, uint32_t slot, const struct rate_rule *r,
		   const struct place *room, uint64_t key, uint64_t now_ns, struct rate_result *ret)
{
	uint64_t claim = begin_claim(s, slot);
	bool done = false;

	ret->before = 0;
	(void)rate_decide(r, 0, now_ns, &ret->after); /* of nothing: it admits */
	if (swap_pair(room->way, room->key, room->state, key, claim)) {
		done = is_alone(r, room->way, key) &&
		       swap_pair(room->way, key, claim, key, ret->after);
		if (!done)
			(void)swap_pair(room->way, key, claim, 0, 0); /* fails: it was taken away */
	}
	end_claim(s, slot);
	return done;
}

/* ---- charging ---- */

static struct rate_result refused(uint64_t state)
{
	return (struct rate_result){.before = state, .after = state};
}

static struct rate_result no_room(const struct rate_rule *r)
{
	return (struct rate_result){.admitted = r->allow_when_full, .full = true};
}

/* One try at an entry that was found. false: look again. */
static inline bool charge_found(const struct rate_rule *r, const struct place *p, uint64_t now_ns,
			 struct rate_result *ret)
{
	uint64_t next = p->state;
	enum rate_verdict v = rate_decide(r, p->state, now_ns, &next);

	if (v == RATE_REFUSE) {
		*ret = refused(p->state);
		return true;
	}
	if (!swap_pair(p->way, p->key, p->state, p->key, next) || v == RATE_FORGIVE)
		return false;
	*ret = (struct rate_result){
		.admitted = true, .charged = true, .before = p->state, .after = next,
	};
	return true;
}

SELDOM static void charge_slowly(struct shm *s, uint32_t slot, const struct rate_rule *r,
				 uint64_t key, uint64_t now_ns, struct rate_result *ret)
{
	struct place p;

	for (int tries = 0; tries < TRIES;) {
		switch (find(r, key, now_ns, &p)) {
		case FOUND:
			/* Not a try: if it fails, another has charged this key, or given it up. */
			if (charge_found(r, &p, now_ns, ret))
				return;
			break;
		case ROOM:
			*ret = (struct rate_result){.admitted = true, .charged = true};
			if (insert(s, slot, r, &p, key, now_ns, ret))
				return;
			tries++;
			break;
		case CLAIMED:
			settle(&p);
			tries++;
			break;
		case FULL:
			*ret = no_room(r);
			return;
		case MOVED:
			tries++;
			break;
		}
	}
	*ret = refused(0);
}

void rate_table_charge(struct shm *s, uint32_t slot, const struct rate_rule *r, uint64_t hash,
		       uint64_t now_ns, struct rate_result *ret)
{
	uint64_t key = key_of(hash);
	struct place p;

	if (!find_entry(r, key, &p) || !charge_found(r, &p, now_ns, ret))
		charge_slowly(s, slot, r, key, now_ns, ret);
}

void rate_table_look(const struct rate_rule *r, uint64_t hash, uint64_t now_ns,
		     struct rate_result *ret)
{
	uint64_t next;
	struct place p;

	switch (find(r, key_of(hash), now_ns, &p)) {
	case FOUND:
		*ret = refused(p.state);
		ret->admitted = rate_decide(r, p.state, now_ns, &next) == RATE_ADMIT;
		return;
	case FULL:
		*ret = no_room(r);
		return;
	case ROOM:
	case CLAIMED:
	case MOVED:
		break; /* the charge will tell */
	}
	*ret = refused(0);
	ret->admitted = true;
}

void rate_table_refund(const struct rate_rule *r, uint64_t hash, uint64_t before, uint64_t after)
{
	struct place p;
	uint64_t less;

	while (find(r, key_of(hash), 0, &p) == FOUND &&
	       rate_take_off(r, p.state, before, after, &less))
		if (swap_pair(p.way, p.key, p.state, p.key, less))
			return;
}

uint64_t rate_table_wait_ns(const struct rate_rule *r, uint64_t hash, uint64_t now_ns)
{
	struct places ps = places_of(r, key_of(hash));
	uint64_t least = UINT64_MAX;

	for (uint32_t i = 0; i < PLACES; i++) {
		struct place p = read_place(&ps, i);
		uint64_t wait = 1;

		if (p.key != 0 && !rate_is_pending(p.state))
			wait = rate_idle_in_ns(r, p.state, now_ns);
		least = wait < least ? wait : least;
	}
	return least;
}

/* ---- of a whole set ---- */

void rate_set_recover(struct shm_rate_set *set, uint32_t slot)
{
	for (uint32_t i = 0; i < RATE_WAYS; i++) {
		struct rate_way *w = &set->way[i];
		uint64_t key = load(&w->key), state = load(&w->state);

		if (rate_is_pending(state) && rate_pending_slot(state) == slot)
			(void)swap_pair(w, key, state, 0, 0); /* fails: taken away before */
	}
}

uint32_t rate_set_in_use(const struct rate_rule *r, const struct shm_rate_set *set,
			 uint64_t now_ns)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < RATE_WAYS; i++) {
		uint64_t key = load(&set->way[i].key), state = load(&set->way[i].state);

		n += key != 0 && !rate_is_pending(state) &&
		     rate_remaining(r, state, now_ns) < r->quota;
	}
	return n;
}
