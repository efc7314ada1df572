/* SPDX-License-Identifier: MIT */
/*
 * One segment of the cache, one entry that points into it, readers with pins, writers that put into
 * it, and processes that evict it and open it again; and the lease of one key, with who waits for it.
 * Death at any step, then recovery. A model of shm/cache.c, cache_seg.c and cache_lease.c.
 *
 * Left out, one at a time, with -D: NO_PIN_LOOK (who evicts looks at no pin), NO_ENTRY_LOOK (who
 * reads does not look at entry and use of the segment again once it has its pin), NO_WRITER_LOOK
 * (who evicts does not look for writers before it takes the entries away, and a writer does not look
 * whether the segment still is the open one), NO_AGAIN (who waits for a lease does not look again
 * after saying so), NO_WAKE (recovery wakes nobody). Sizes: PROCS, KILLS, TURNS. With LEASE the lease alone, without it the segment.
 */
#ifndef PROCS
#define PROCS 2
#endif
#ifndef KILLS
#define KILLS 1
#endif
#ifndef TURNS
#define TURNS 2
#endif
#define NONE 255

/* ---- the segment ---- */
mtype = { FREE, OPENING, LIVE, EVICTING, LIMBO };
mtype state = LIVE;
byte owner = NONE;
byte gen = 1;                /* uses of the segment; never comes around here */
bool open_now = true;        /* it is the open segment of its queue */
byte entry = 1;              /* 0 = none, else the use of the segment that it was made in */
bool pin[PROCS];
byte filling[PROCS];         /* use of the segment into which it writes now; 0 = none */
byte reading[PROCS];

/* ---- the lease ---- */
byte lease = NONE;           /* whose */
bool bit_of[PROCS], woken[PROCS];
byte computing;              /* how many that live do */

bool dead[PROCS];
byte kills;

inline take_pin() { pin[me] = true }
inline drop_pin() { pin[me] = false }

/* Looks at the pins, one after another. `any` is what it has seen. */
inline look_at_pins()
{
	any = false;
	i = 0;
	do
	:: i < PROCS -> atomic { any = any || pin[i]; i++ }
	:: else -> break
	od
}

/* EVICTING by me: entries away, and FREE or LIMBO. */
inline finish()
{
	writers = false;
#ifndef NO_WRITER_LOOK
	look_at_pins();
	writers = any;
#endif
	atomic { if :: entry == g -> entry = 0 :: else fi };
	look_at_pins();
#ifdef NO_PIN_LOOK
	any = false; writers = false;
#endif
	atomic {
		if
		:: !writers && !any ->
			state = FREE;
			/* Nobody is in it, and nothing leads to it. */
			i = 0;
			do
			:: i < PROCS -> assert(reading[i] == 0 && filling[i] == 0); i++
			:: else -> break
			od;
			assert(entry != g)
		:: else -> state = LIMBO
		fi;
		owner = NONE;
		i = 0
	}
}

inline evict()
{
	atomic {
		if
		:: (state == LIVE && !open_now) || state == LIMBO ->
			state = EVICTING; owner = me; g = gen
		:: else -> g = 0
		fi
	};
	if
	:: g != 0 -> finish()
	:: else
	fi
}

/* Makes the segment the open one again, or seals it. */
inline open_it()
{
	atomic {
		if
		:: state == FREE -> state = OPENING; owner = me; gen++; g = gen
		:: else -> g = 0
		fi
	};
	if
	:: g != 0 -> atomic { state = LIVE; owner = NONE; open_now = true }
	:: else -> open_now = false /* another one took its place */
	fi
}

inline read_it()
{
	e = entry;
	if
	:: e != 0 ->
		take_pin();
		any = true;
#ifndef NO_ENTRY_LOOK
		if :: entry == e -> skip :: else -> any = false fi;
		if :: any && (gen != e || state == FREE || state == OPENING) -> any = false :: else fi;
#endif
		if
		:: any -> reading[me] = e; assert(gen == e && state != FREE && state != OPENING);
			reading[me] = 0
		:: else
		fi;
		drop_pin()
	:: else
	fi
}

inline put_it()
{
	if
	:: open_now ->
		take_pin();
		any = true;
		g = gen;
#ifndef NO_WRITER_LOOK
		if :: state == LIVE -> skip :: else -> any = false fi;
		if :: open_now && gen == g -> skip :: else -> any = false fi;
#endif
		if
		:: any ->
			filling[me] = g;
			assert(gen == g && state != FREE && state != OPENING);
			/* Its entry takes the place of what there was. */
			entry = g;
			filling[me] = 0
		:: else
		fi;
		drop_pin()
	:: else
	fi
}

/* One computes, the others wait until they are woken. */
inline compute()
{
	do
	:: atomic { lease == NONE -> lease = me; computing++; assert(computing == 1) };
	   atomic { computing--; lease = NONE };
	   i = 0;
	   do
	   :: i < PROCS -> atomic { if :: bit_of[i] -> bit_of[i] = false; woken[i] = true :: else fi; i++ }
	   :: else -> break
	   od;
	   break
	:: lease != NONE ->
	   bit_of[me] = true;
	   if
#ifndef NO_AGAIN
	   :: lease == NONE -> skip
	   :: lease != NONE -> woken[me]; woken[me] = false
#else
	   :: true -> woken[me]; woken[me] = false
#endif
	   fi
	od
}

proctype worker(byte me)
{
	byte turn, i, g, e;
	bool any, writers;

	{
	do
	:: turn < TURNS ->
		turn++;
		if
#ifdef LEASE
		:: skip; compute()
#else
		:: skip; read_it()
		:: skip; put_it()
		:: skip; evict()
		:: skip; open_it()
#endif
		fi
	:: else -> break
	od
	} unless { dead[me] }
}

/* Kills, at any moment, and recovers what was owned; then wakes everybody, and starts another. */
proctype master()
{
	byte w, k;

	do
	:: kills < KILLS ->
		kills++;
		if
		:: w = 0
		:: w = PROCS - 1
		fi;
		dead[w] = true; /* takes no step from here on */
		atomic {
			if
			:: lease == w -> computing = 0; lease = NONE
			:: else
			fi
		};
		atomic {
			if
			:: owner == w && state == OPENING -> state = FREE; owner = NONE
			:: owner == w && state == EVICTING -> state = LIMBO; owner = NONE
			:: else
			fi
		};
		atomic { pin[w] = false; filling[w] = 0; reading[w] = 0 };
#ifndef NO_WAKE
		k = 0;
		do
		:: k < PROCS -> woken[k] = true; k++
		:: else -> break
		od
#endif
	:: break
	od
}

init
{
	atomic {
		byte n = 0;

		do
		:: n < PROCS -> run worker(n); n++
		:: else -> break
		od;
		run master()
	}
}
