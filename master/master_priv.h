/* SPDX-License-Identifier: MIT */
/*
 * What the files of this room share. One process, one thread, one loop. The table of children is
 * private memory: what the master believes of them never depends on the segment alone, where a
 * worker gone mad may have written anything.
 */
#ifndef MASTER_MASTER_PRIV_H
#define MASTER_MASTER_PRIV_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/log.h"
#include "base/loop.h"
#include "conf/conf.h"
#include "master/master.h"
#include "shm/dump.h"
#include "shm/heritage.h"
#include "shm/shm.h"

#define TICK_MS          600   /* an idle master wakes less than twice a second */
#define LATE_MS          1000  /* a tick later than this: the machine slept, not the workers */
#define ABORT_MS         2000  /* from ABRT to KILL */
#define QUICK_MS         2000  /* quick stop: from the command to KILL */
#define KEEPER_STOP_MS   5000  /* the keeper writes what is left in the rings */
#define EARLY_DEATH_MS   2000  /* younger than this: it counts for the back-off */
#define MEMORY_AGE_MS    10000 /* a worker younger than this is not replaced for its memory */
#define BACKOFF_MIN_MS   100
#define BACKOFF_MAX_MS   10000

enum shm_reason {
#define SHM_REASON(sym, word, text) REASON_##sym,
#include "shm/reasons.def"
#undef SHM_REASON
	REASON_COUNT
};

enum master_phase {
#define MASTER_PHASE(sym, word, text) PHASE_##sym,
#include "master/signals.def"
	PHASE_COUNT
};

enum master_action {
#define MASTER_ACTION(sym, word, text) ACTION_##sym,
#include "master/signals.def"
	ACTION_COUNT
};

/* A child moves down this list only. From LEAVING on it does not count as one that serves. */
enum child_state {
	CHILD_NONE,        /* the slot has no process */
	CHILD_BOOTING,     /* waits for its "ready", at most BOOT_TIMEOUT */
	CHILD_READY,
	CHILD_ASKED,       /* ready; asks to be replaced, and waits for its turn */
	CHILD_REPLACING,   /* ready; waits until its replacement is ready */
	CHILD_LEAVING,     /* told to leave, or leaving on its own; at most GRACEFUL_TIMEOUT */
	CHILD_DOOMED       /* was sent ABRT or KILL; waits for its death */
};

/* A loop that does not turn and is at a request: since when it was seen so. */
struct hold {
	uint64_t beat, row_since_ns, seen_ns;
	uint32_t row;              /* + 1; 0 = none */
	uint32_t told_row;         /* the request that was told of as slow last */
	uint64_t told_since_ns;
};

/* One per slot, at the slot's index. */
struct child {
	struct master *m;
	enum child_state state;
	enum shm_kind kind;
	uint32_t slot, generation;
	pid_t pid;
	struct watch exit;         /* its pidfd: readable when it has ended; fd -1 = none */
	struct watch control;      /* the master's end of the pair; watched for workers */
	uint32_t asks;             /* that came over it */
	enum shm_command command;  /* the strongest that it was given */
	enum shm_reason reason;    /* why it leaves or is doomed (from LEAVING on) */
	enum shm_reason ask;       /* why it is to be replaced (ASKED and REPLACING) */
	uint64_t samples_seen;     /* of its memory */
	uint32_t over;             /* samples above MAX_WORKER_MEMORY in a row */
	bool kill_sent;
	bool explaining;           /* doomed, but not before its stack is told, or cannot be */
	bool stack_told;
	uint32_t calls_seen;       /* reports of slow and stuck threads */
	uint32_t calls_left;       /* that may be logged until calls_ns */
	uint64_t calls_ns;
	struct hold hold;          /* the request that its loop has been seen at */
	uint64_t born_ns;
	uint64_t since_ns;         /* begin of LEAVING or DOOMED */
	uint64_t beat_word;        /* heartbeat as last read, and when it was seen to change */
	uint64_t beat_seen_ns;
};

/* At most two exist: the one that serves, and the one that a reload brings up. */
struct generation {
	uint32_t number;
	struct conf *conf;
	int app_fd;                /* the module's code, sealed; -1 = a built-in app */
	uint32_t wanted;           /* workers */
	uint32_t boot_spawned;     /* of its first set, before any was ready */
	bool memory_told;          /* that MAX_WORKER_MEMORY is below what a fresh worker takes */
};
#define NO_GENERATION ((struct generation){.app_fd = -1})

struct backoff {
	uint32_t early;            /* early deaths in a row */
	uint64_t last_ns;          /* the latest of them */
	uint64_t not_before_ns;    /* no spawn before */
};

struct listener {
	struct heritage_listener h;
	bool unlink;               /* a unix socket file that we made */
	uint64_t dev, ino;
	char url[160];
	const char *path;          /* unix; the configuration's memory may go, so a copy */
};

/* The log files and the paths that they borrow. */
struct log_set {
	struct log_file error, access;  /* access.fd -1: off */
	char *error_path, *access_path; /* error_path NULL: the set is not open */
};

enum stop_kind { STOP_NONE, STOP_GRACEFUL, STOP_QUICK };

struct master {
	struct conf_input in;
	const struct master_roles *roles;
	struct loop *loop;

	struct generation cur, next; /* next.conf NULL: no reload is bringing one up */
	uint32_t last_generation;    /* number ever given */
	bool reload_again;           /* a HUP that came while it could not be served */
	uint64_t started_ns;
	bool ever_ready;             /* some worker has been ready once */
	bool ready_told;             /* all of them were, and the log says so */
	bool drained;                /* WINCH: none is wanted */
	bool no_slot_told;
	bool keeper_again;           /* a keeper was started for what the last one left */
	bool reload_open;            /* a reload has been begun, and its end not been told */
	struct backoff backoff, keeper_backoff;
	enum stop_kind stop;
	uint64_t stop_ns;
	bool done;
	int exit_code;
	bool boot_app_failed;        /* one of the first set left with "the app cannot be loaded" */

	struct shm shm;
	bool shm_made;
	uint32_t nslots, workers_cap; /* of the segment; what a reload cannot exceed */
	struct child *child;          /* nslots */

	struct listener *listener;    /* nlisteners */
	uint32_t nlisteners;
	struct heritage_listener *heritage_listener;
	struct listener status;
	bool has_status;

	int lifeline[2];
	int *slot_efd;
	struct watch efd;             /* master_efd */
	struct watch sigs;            /* signalfd */
	struct timer tick;
	uint64_t tick_due_ns;
	bool tick_again;              /* a deadline has begun since the tick looked */
	uint64_t fresh_ns;            /* deadlines count from here if they began earlier */
	sigset_t old_mask;

	struct log_set logs, next_logs; /* next: opened by a reload, in use when it succeeds */
	int start_dir;                /* where we were started: relative paths of a reload */
	int pid_fd;
	char *pid_path;
	uid_t uid;                    /* what children become */
	gid_t gid;
	bool drop;
	char *user_name;              /* for initgroups(); NULL: none but gid */

	struct explain *explain;      /* see explain.c */

	int oom_fd;                   /* the kernel's count of OOM kills; -1 = unknown */
	uint64_t oom_seen[2], oom_seen_ns;
};

/* ---- listen.c ---- */
int master_listen_open(struct master *m, const struct conf *c);   /* 0, or -1 after logging */
void master_listen_close(struct master *m);                       /* and removes socket files */
void master_listen_close_status(struct master *m);

/* ---- module.c ---- */
/* Copies the module that `c` names into sealed memory: *ret_fd, or -1 for a built-in app. 0, or -1
 * and the reason in `why`. Blocks for reading the file. */
int master_module_copy(const struct master *m, const struct conf *c, int *ret_fd, char *why,
		       size_t cap);

/* ---- pidfile.c ---- */
int master_pidfile_take(struct master *m, const char *path);      /* 0, or -1 after logging */
void master_pidfile_drop(struct master *m);

/* ---- limits.c: descriptors, user and group ---- */
void master_raise_nofile(const struct master *m, struct conf *c);
int master_resolve_user(struct master *m, const struct conf *c);  /* 0, or -1 after logging */
int master_drop_privileges(const struct master *m);               /* child; 0 or -1 */

/* ---- title.c ---- */
void master_title_init(struct conf_input *in);
void master_title_set(const char *comm, const char *title);

/* ---- spawn.c ---- */
/* In a child of any kind, first of all: what is the master's alone, locks before the rest. */
void master_child_gives_up(struct master *m);
/* Forks one child. 0, or -1 after logging. Does not return in the child. */
int master_spawn(struct master *m, enum shm_kind kind, const struct generation *g);

/* ---- declare.c: names that workers ask for ---- */
void master_declare_watch(struct master *m, struct child *c);

/* ---- children.c: the table ---- */
const char *master_reason_word(enum shm_reason r);
const char *master_reason_text(enum shm_reason r);
const char *master_kind_name(enum shm_kind kind);                 /* "Worker", "Keeper" */
/* Replaced one by one: for its requests or its memory. */
static inline bool reason_recycles(enum shm_reason r)
{
	return r == REASON_MAX_REQUESTS || r == REASON_MAX_MEMORY || r == REASON_STUCK;
}
static inline bool child_is_worker(const struct child *c)
{
	return c->state != CHILD_NONE && c->kind == SHM_WORKER;
}
struct child *master_child_by_pid(struct master *m, pid_t pid);
uint32_t master_count_workers(const struct master *m);            /* processes, in any state */
/* Gives a command (a weaker one than before is not given) and wakes the child. */
void master_tell(struct master *m, struct child *c, enum shm_command command);
/* Tells a child to leave and gives the reason. */
void master_leave(struct master *m, struct child *c, enum shm_reason why,
		  enum shm_command command);
void master_kill(struct child *c, int sig);
/* The child shall die: signal now (0: it follows), KILL later if that was ABRT. */
void master_doom(struct master *m, struct child *c, enum shm_reason why, int sig);
void master_wake_slot(const struct master *m, uint32_t slot);
void master_wake_all(const struct master *m);
/* Reads what the child says in its slot: ready, asks to be replaced, drains. */
void master_look(struct master *m, struct child *c);

/* ---- pool.c: what is wanted against what is there ---- */
/* Does what is needed to come nearer: spawn, drain, promote, end. Idempotent; call after events. */
void master_settle(struct master *m);
enum master_phase master_phase(const struct master *m);
void master_backoff_death(struct master *m, const struct child *c, uint64_t now);
uint64_t master_backoff_tick(struct master *m, uint64_t now);     /* next time it matters, or 0 */

/* ---- scale.c ---- */
void master_scale(struct master *m, int by);
void master_drain_all(struct master *m);
void master_resume(struct master *m);

/* ---- reload.c ---- */
void master_reload(struct master *m);
void master_reload_settle(struct master *m);  /* promotes; ends; begins the remembered one */
/* Enters the semaphores and limits that a configuration names; 0, or -1 with the reason. Numbers of
 * those that are there stay as they are until master_limits_apply(). */
int master_limits_enter(struct master *m, const struct conf *c, uint32_t generation, char *why,
			size_t cap);
void master_limits_apply(struct master *m, const struct conf *from, const struct conf *to,
			 uint32_t generation);
/* What the configuration says of the cache as a whole. */
void master_cache_apply(struct master *m, const struct conf *c);
void master_reload_fail(struct master *m, const char *why);
bool master_reloading(const struct master *m);
void master_generation_end(struct generation *g); /* frees what it owns; it is none then */

/* ---- logs.c ---- */
int master_logs_open(struct log_set *set, const struct conf *c);  /* 0, or -1 after logging */
void master_logs_close(struct log_set *set);
/* Makes the open set the one in use, for this process; level and format too. */
void master_logs_use(struct master *m, const struct conf *c);
bool master_logs_differ(const struct log_set *set, const struct conf *c);
/* After a rotation: opens the paths again and passes the descriptors to the keeper. */
void master_logs_reopen(struct master *m);

/* ---- signals.c ---- */
int master_signals_open(struct master *m);                        /* blocks them; 0 or -1 */
void master_signals_child(const struct master *m);                /* ignores, unblocks */

/* ---- watch.c: the tick ---- */
int master_watch_start(struct master *m);
/* A deadline has begun that may end before the next tick. */
void master_tick_soon(struct master *m);

/* ---- report.c ---- */
/* The request that the slot's loop is at, else the oldest in its rows. false: none. */
bool master_request_of(const struct master *m, uint32_t slot, struct shm_row_view *ret);
bool master_request_at(const struct master *m, uint32_t slot, uint32_t row,
		       struct shm_row_view *ret);
void master_report_timeout(struct master *m, const struct child *c, uint64_t stuck_ns);
/* The loop has been held by the request of `v` for so long: a warning. */
void master_report_slow(struct master *m, const struct child *c, uint64_t held_ns,
			const struct shm_row_view *v);
/* The same of another thread, slow or stuck. */
void master_report_call(struct master *m, const struct child *c, const struct dump_call *call);
/* "process=S wchan=..." of a thread, as far as the kernel tells. */
void master_describe_process(pid_t pid, pid_t tid, char *out, size_t cap);
/* Is it in a sleep that a signal would cut short? */
bool master_sleeps(pid_t pid, pid_t tid);
/* Text of the slot's failed CHECK, cleaned; empty when there is none. */
void master_note_of(const struct master *m, uint32_t slot, char *out, size_t cap);
void master_clean_text(char *s); /* controls, which could forge log lines, become '?' */

/* ---- explain.c: stacks ---- */
enum explain_kind { EXPLAIN_TIMEOUT, EXPLAIN_STUCK, EXPLAIN_SLOW, EXPLAIN_CRASH };
int master_explain_open(struct master *m);                        /* 0, or -1: no memory */
void master_explain_close(struct master *m);
void master_explain_child(struct master *m);                      /* child: its descriptors */
/* Asks a thread for its stack and logs it when it has come; nothing is waited for. false: it cannot
 * be asked. Of a TIMEOUT master_explained() is called at the end, whatever that is. */
bool master_explain(struct master *m, const struct child *c, enum explain_kind kind, pid_t tid);
void master_explain_crash(struct master *m, const struct child *c, const struct dump_stack *stack);
void master_explain_look(struct master *m);                       /* have stacks come? */
void master_explain_died(struct master *m, const struct child *c);
bool master_explain_asks(const struct master *m, const struct child *c);
void master_explain_cancel(struct master *m, const struct child *c);
uint64_t master_explain_tick(struct master *m, uint64_t now);     /* next time, or UINT64_MAX */

/* ---- resolve.c ---- */
struct strbuf;
/* Lines "#0 name+0x12 (object)". May block: for the reporter. */
void master_resolve(const struct dump_stack *s, const struct dump_object *list, uint32_t nlist,
		    struct strbuf *out);

/* ---- watch.c, too ---- */
void master_explained(struct master *m, struct child *c);         /* told: now it may die */

/* ---- reap.c ---- */
void master_reap(struct master *m, struct child *c);              /* if it has ended */
void master_reap_all(struct master *m);                           /* ours, and strangers as pid 1 */

/* ---- oom.c ---- */
void master_oom_open(struct master *m);
void master_oom_tick(struct master *m, uint64_t now);
bool master_oom_happened(struct master *m);                       /* within the last seconds */

/* ---- stop.c ---- */
void master_stop(struct master *m, enum stop_kind kind);
void master_stop_kill(struct master *m);
void master_stop_settle(struct master *m);
/* Ends without ever having served. */
void master_give_up(struct master *m, int exit_code);

#endif
