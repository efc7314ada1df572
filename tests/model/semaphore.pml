/* SPDX-License-Identifier: MIT */
/*
 * Permits, bits of who waits, grants, death at any step, recovery: a model of shm/sem.c for weight
 * one and a limit that stays. What a worker that waits relies on is only that it is woken: there is
 * no look from time to time here.
 *
 * Left out with -DNO_A to -DNO_E, one at a time, are the looks that sem.c names (a) to (e).
 * Sizes: WORKERS, PERMITS, ROUNDS (of each worker), KILLS.
 */
#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef PERMITS
#define PERMITS 1
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef KILLS
#define KILLS 1
#endif

#if WORKERS > 2
#define ANYONE (bit_of[0] || bit_of[1] || bit_of[2])
#else
#define ANYONE (bit_of[0] || bit_of[1])
#endif
#define HELD(w) ((w) + 1)
#define GRANTED(w) ((w) + 17)
#define IS_GRANTED(x) ((x) > 16)
#define OWNER(x) ((x) > 16 -> (x) - 17 : (x) - 1)

byte word[PERMITS];          /* 0 free */
bool bit_of[WORKERS];        /* somebody waits in this slot */
bool woken[WORKERS];         /* the eventfd */
bool asleep[WORKERS];
bool dead[WORKERS];

/* Takes a free word, or one that was granted to w; got = PERMITS: there was none. */
inline try(w)
{
	got = PERMITS;
	do
	:: atomic {
		i < PERMITS && got == PERMITS ->
		if
		:: word[i] == GRANTED(w) || word[i] == 0 -> word[i] = HELD(w); got = i
		:: else
		fi;
		i++
	   }
	:: atomic { i == PERMITS || got != PERMITS -> i = 0 }; break
	od
}

/* Looks for one that waits and has no grant: to = WORKERS: there is none. One look after another
 * at each word and each bit, in any order of who is next. */
inline choose()
{
	to = WORKERS;
	do
	:: atomic {
		i < PERMITS ->
		if
		:: IS_GRANTED(word[i]) -> has = has | (1 << OWNER(word[i]))
		:: else
		fi;
		i++
	   }
	:: atomic { i == PERMITS -> i = 0 }; break
	od;
	do
	:: atomic {
		i < WORKERS ->
		if
		:: bit_of[i] && !(has & (1 << i)) ->
			if
			:: to = i
			:: to != WORKERS -> skip
			fi
		:: else
		fi;
		i++
	   }
	:: atomic { i == WORKERS -> i = 0; has = 0 }; break
	od
}

/* Gives word `mine` back, which w holds. */
inline give(w)
{
	state = HELD(w);             /* what the word is: ours, or 0 when it has been made free */
	do
	:: mine == PERMITS -> break
	:: mine != PERMITS ->
		choose();
		if
		:: atomic { to == WORKERS && state == 0 -> mine = PERMITS }
		:: atomic {
			to == WORKERS && state != 0 ->
			word[mine] = 0;
			state = 0;
#ifdef NO_B
			mine = PERMITS
#endif
		   }
		:: atomic { /* free before, and another was faster */
			to != WORKERS && word[mine] != state -> mine = PERMITS; to = WORKERS
		   }
		:: atomic { to != WORKERS && word[mine] == state -> word[mine] = GRANTED(to) };
#ifdef NO_C
			atomic { woken[to] = true; mine = PERMITS; to = WORKERS }
#else
			if
			:: bit_of[to] ->
				atomic { woken[to] = true; mine = PERMITS; to = WORKERS }
			:: !bit_of[to] ->
				atomic {
					if
					:: word[mine] == GRANTED(to) -> word[mine] = state
					:: else -> mine = PERMITS
					fi;
					to = WORKERS
				}
			fi
#endif
		fi
	od;
	state = 0
}

/* Hands on what is granted to w, who does not wait any more. */
inline hand_on(w)
{
	do
	:: atomic {
		h < PERMITS ->
		if
		:: word[h] == GRANTED(w) -> word[h] = HELD(w); mine = h
		:: else
		fi;
		h++
	   };
	   give(w)
	:: atomic { h == PERMITS -> h = 0 }; break
	od
}

proctype worker(byte w)
{
	byte i, got = PERMITS, to = WORKERS, has, state, h, round, mine = PERMITS;

	{
		do
		:: round < ROUNDS ->
			/* Who comes, without a queue. */
			if /* one word has the bits of all */
			:: !ANYONE -> try(w)
			:: ANYONE
			fi;
			if
			:: got != PERMITS -> skip
			:: got == PERMITS ->
				bit_of[w] = true;
				do
				::
#ifndef NO_A
					try(w);
#endif
					if
					:: got != PERMITS -> break
					:: else
					fi;
					asleep[w] = true;
					atomic { woken[w] -> woken[w] = false; asleep[w] = false };
#ifdef NO_A
					try(w);
					if
					:: got != PERMITS -> break
					:: else
					fi
#endif
				od;
				bit_of[w] = false;
				hand_on(w)
			fi;
			/* Inside. */
			atomic { mine = got; got = PERMITS };
			give(w);
			round++
		:: else -> break
		od
	} unless { dead[w] };
	asleep[w] = false
}

/* Kills up to KILLS workers, at any step of theirs, and recovers each after that. */
proctype master()
{
	byte kills, k, i, x;

end:	do
	:: kills < KILLS ->
		atomic {
			if
			:: k = 0
			:: k = WORKERS - 1
			fi;
			if
			:: !dead[k] -> dead[k] = true; kills++
			:: else -> break
			fi
		};
		bit_of[k] = false;
		do
		:: i < PERMITS ->
			x = word[i];
			atomic {
				if
				:: x != 0 && word[i] == x && (OWNER(x) == k
#ifndef NO_D
					|| (IS_GRANTED(x) && !bit_of[OWNER(x)])
#endif
					) -> word[i] = 0
				:: else
				fi;
				x = 0;
				i++
			}
		:: i == PERMITS -> i = 0; break
		od;
#ifndef NO_E
		do
		:: i < WORKERS -> woken[i] = true; i++
		:: i == WORKERS -> i = 0; break
		od
#endif
	:: break
	od
}

/* When nothing moves any more nobody is asleep, and nothing is left over. */
proctype at_the_end()
{
	byte i = 0;

	timeout;
	atomic {
		do
		:: i < WORKERS ->
			assert(!asleep[i]);
			assert(!bit_of[i]);
			i++
		:: else -> break
		od;
		i = 0;
		do
		:: i < PERMITS -> assert(word[i] == 0); i++
		:: else -> break
		od
	}
}

init
{
	byte n = 0;

	atomic {
		do
		:: n < WORKERS -> run worker(n); n++
		:: else -> break
		od;
		run master();
		run at_the_end()
	}
}
