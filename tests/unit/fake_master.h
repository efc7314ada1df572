/* SPDX-License-Identifier: MIT */
/*
 * The real master with made-up children, for its tests. The master runs in a process of its own;
 * its workers do nothing but what their contract asks for (phase, heartbeat, commands), and a
 * control block that all processes share says where they shall misbehave.
 */
#ifndef TESTS_UNIT_FAKE_MASTER_H
#define TESTS_UNIT_FAKE_MASTER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define FM_SLOTS 256
#define FM_WAIT_MS 20000 /* no condition takes so long, however busy the machine is */

enum fm_boot { FM_BOOT_READY, FM_BOOT_HOLD, FM_BOOT_EXIT, FM_BOOT_APP, FM_BOOT_CRASH };

/* What a worker asks the master for before it is ready. */
enum fm_declare {
	FM_DECLARE_NOTHING,
	FM_DECLARE_SOUND,            /* a route, a counter and a histogram */
	FM_DECLARE_SHORT,            /* first a message of another size */
	FM_DECLARE_NO_END,           /* first a name without an end */
	FM_DECLARE_DEAF,             /* first many, without reading the answers */
	FM_DECLARE_FLOOD,            /* first more than any module can need */
	FM_DECLARE_LATE              /* when it is ready */
};

struct fm_worker {
	_Atomic int32_t pid;         /* 0 = nobody */
	_Atomic uint32_t generation;
	_Atomic uint32_t ready;
	_Atomic uint32_t asking;
	_Atomic uint32_t module;     /* first byte of its module; 0 = none */
	_Atomic uint32_t memfds;     /* memory files that it has open */
};

struct fm_control {
	_Atomic uint32_t boot;       /* enum fm_boot; HOLD waits until it is something else */
	_Atomic uint32_t boot_from;  /* workers before this one (by count) boot as if READY */
	_Atomic uint32_t declare;    /* enum fm_declare */
	_Atomic uint32_t declared;   /* workers that are done with it */
	_Atomic int32_t results[4];  /* of the last: route, counter, histogram, one in vain */
	_Atomic uint32_t indexes[3];
	_Atomic uint32_t deaf;       /* commands are not obeyed */
	_Atomic int32_t frozen;      /* pid whose heart has stopped; -1 = everybody's */
	_Atomic int32_t ask;         /* pid that shall ask to be replaced; -1 = everybody */
	_Atomic int32_t scribble;    /* pid that writes random bytes over the whole segment */
	_Atomic int32_t spin;        /* pid that shall hang in a function, with a request */
	_Atomic int32_t sleep;       /* the same, in a sleep */
	_Atomic uint32_t slept;      /* 1 = the sleep was whole, 2 = it was cut short */
	_Atomic uint32_t last_words; /* crashes are told by us, not by a sanitizer */
	_Atomic int32_t fault;       /* pid that shall crash in a function, with a request */
	_Atomic uint32_t spin_until; /* spinning ends when it is not 0 */
	_Atomic int32_t orphan;      /* pid that shall leave a grandchild behind */
	_Atomic uint32_t workers;    /* ever started */
	_Atomic uint32_t keepers;
	_Atomic uint32_t most;       /* most workers that were there at the same time */
	_Atomic uint32_t fewest_ready; /* fewest that were ready when one began to leave */
	_Atomic uint32_t files;      /* descriptors that the keeper was sent */
	_Atomic uint32_t uid, gid;   /* of the worker that started last */
	_Atomic int32_t report;      /* pid that shall have a stuck thread, and say so */
	_Atomic uint32_t report_flood; /* ... and then report without end */
	_Atomic uint64_t memory;     /* private bytes that the keeper says the oldest worker has */
	_Atomic int32_t memory_pid;  /* ... which this is; -1 = everybody */
	_Atomic uint64_t order, keeper_left, worker_left; /* of leaving */
	struct fm_worker worker[FM_SLOTS]; /* by slot; 0 is the keeper */
};

struct fm {
	struct fm_control *ctl;
	pid_t pid;                   /* the master; 0 = reaped */
	char dir[64];
	char shm[64];                /* name of the segment, without its slash */
	char log[96];                /* path of the error log */
};

/* Starts a master with these settings beside the usual ones ("NAME=value", ended by NULL). */
void fm_prepare(struct fm *f);
void fm_start(struct fm *f, const char *const settings[]);
/* As fm_start(), and waits until n workers are ready. */
void fm_start_ready(struct fm *f, const char *const settings[], uint32_t n);
void fm_signal(const struct fm *f, int sig);
/* Waits for the master's end; its exit code, or 128 + signal. */
int fm_wait_exit(struct fm *f);
/* Stops it if need be, asserts that nothing is left, frees everything. */
void fm_end(struct fm *f);

uint32_t fm_ready(const struct fm *f);                    /* ready workers */
uint32_t fm_ready_of(const struct fm *f, uint32_t generation);
uint32_t fm_alive(const struct fm *f);                    /* workers in any state */
/* Ready workers whose module begins with that byte. */
uint32_t fm_with_module(const struct fm *f, char first);
uint32_t fm_memfds(pid_t pid);                            /* memory files that a process has open */
pid_t fm_some_worker(const struct fm *f);                 /* pid of a ready one */
/* Has it ended? Also true of a zombie: whose child an orphan becomes, and whether that one reaps,
 * differs between machines. */
bool fm_gone(pid_t pid);
uint32_t fm_log_count(const struct fm *f, const char *text);
void fm_wait_log(const struct fm *f, const char *text, uint32_t times);
void fm_write_file(const struct fm *f, const char *name, const char *text);
uint64_t fm_now_ms(void);
void fm_pause(void);                                      /* between two looks at a condition */
__attribute__((noreturn)) void fm_timed_out(const struct fm *f, const char *what);

/* Looks at a condition until it holds; fails the test after FM_WAIT_MS. */
#define FM_WAIT(f, cond)                                                        \
	do {                                                                    \
		uint64_t end_ms_ = fm_now_ms() + FM_WAIT_MS;                    \
		while (!(cond)) {                                               \
			if (fm_now_ms() > end_ms_)                              \
				fm_timed_out(f, #cond);                         \
			fm_pause();                                             \
		}                                                               \
	} while (0)

#endif
