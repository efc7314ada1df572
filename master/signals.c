/* SPDX-License-Identifier: MIT */
/*
 * Signals become events of the loop, and signals.def says what each of them means in each phase.
 * There are no handlers: everything is blocked from the start and read from a signalfd.
 */
#include "master/master_priv.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct signal_row {
	int sig;
	const char *name, *text;
	uint8_t action[PHASE_COUNT];
};

#define ROW(name, text, boot, run, recycle, scale, reload, drained, stop, quit)                    \
	{SIG##name, #name, text,                                                                   \
	 {ACTION_##boot, ACTION_##run, ACTION_##recycle, ACTION_##scale, ACTION_##reload,          \
	  ACTION_##drained, ACTION_##stop, ACTION_##quit}},

static const struct signal_row rows[] = {
#define MASTER_SIGNAL ROW
#include "master/signals.def"
};
#define NROWS (sizeof(rows) / sizeof(rows[0]))

static const struct { const char *word, *text; } phases[] = {
#define MASTER_PHASE(sym, word, text) {word, text},
#include "master/signals.def"
};

static const struct { const char *word, *text; } actions[] = {
#define MASTER_ACTION(sym, word, text) {word, text},
#include "master/signals.def"
};

static void act(struct master *m, enum master_action action)
{
	switch (action) {
	case ACTION_STOP:
		master_stop(m, STOP_GRACEFUL);
		break;
	case ACTION_QUIT:
		master_stop(m, STOP_QUICK);
		break;
	case ACTION_KILL:
		master_stop_kill(m);
		break;
	case ACTION_RELOAD:
	case ACTION_LATER:
		master_reload(m); /* knows itself when it is too early */
		break;
	case ACTION_REOPEN:
		master_logs_reopen(m);
		break;
	case ACTION_UPGRADE:
		log_warnx("Upgrading the binary (USR2) is not built yet: stop and start instead");
		break;
	case ACTION_MORE:
		master_scale(m, 1);
		break;
	case ACTION_LESS:
		master_scale(m, -1);
		break;
	case ACTION_DRAIN:
		master_drain_all(m);
		break;
	case ACTION_RESUME:
		master_resume(m);
		break;
	case ACTION_IGNORE:
	case ACTION_COUNT:
		break;
	}
}

static void handle(struct master *m, const struct signal_row *row)
{
	enum master_phase phase = master_phase(m);
	enum master_action action = row->action[phase];

	/* A window that changes its size is no news. */
	if (row->sig == SIGWINCH && !m->cur.conf->s.winch_drains) {
		log_debug("WINCH is ignored: WINCH_DRAINS is off");
		return;
	}
	log_info("Handling signal: %s (phase %s: %s)", row->name, phases[phase].word,
		 action == ACTION_IGNORE ? "ignored" : actions[action].word);
	act(m, action);
	master_settle(m);
}

static void on_signal(struct loop *l, struct watch *w, unsigned events)
{
	struct master *m = (struct master *)((char *)w - offsetof(struct master, sigs));
	struct signalfd_siginfo si;

	(void)l;
	(void)events;
	while (read(w->fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (si.ssi_signo == SIGCHLD) {
			master_reap_all(m);
			continue;
		}
		for (size_t i = 0; i < NROWS; i++)
			if (rows[i].sig == (int)si.ssi_signo)
				handle(m, &rows[i]);
	}
}

int master_signals_open(struct master *m)
{
	/* Children that are stopped or continued are no event. */
	struct sigaction chld = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDSTOP};
	struct sigaction ign = {.sa_handler = SIG_IGN};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	for (size_t i = 0; i < NROWS; i++)
		sigaddset(&set, rows[i].sig);
	if (sigprocmask(SIG_BLOCK, &set, &m->old_mask) != 0 ||
	    sigaction(SIGCHLD, &chld, NULL) != 0 || sigaction(SIGPIPE, &ign, NULL) != 0)
		return -1;
	/* An ignored signal (nohup) would never reach the signalfd. */
	for (size_t i = 0; i < NROWS; i++)
		signal(rows[i].sig, SIG_DFL);
	m->sigs.fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (m->sigs.fd < 0)
		return -1;
	/* Before deaths: after TERM to the whole group, workers that leave are not replaced. */
	m->sigs.first = 1;
	m->sigs.cb = on_signal;
	return loop_watch(m->loop, &m->sigs, LOOP_IN);
}

void master_signals_child(const struct master *m)
{
	for (size_t i = 0; i < NROWS; i++)
		signal(rows[i].sig, rows[i].sig == SIGTERM ? SIG_DFL : SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	signal(DUMP_SIGNAL, SIG_IGN); /* until it can answer */
	sigprocmask(SIG_SETMASK, &m->old_mask, NULL);
}

/* ---- docs/SIGNALS.md ---- */

static void write_table(FILE *f)
{
	fputs("| signal |", f);
	for (size_t p = 0; p < PHASE_COUNT; p++)
		fprintf(f, " %s |", phases[p].word);
	fputs("\n|---|", f);
	for (size_t p = 0; p < PHASE_COUNT; p++)
		fputs("---|", f);
	for (size_t i = 0; i < NROWS; i++) {
		fprintf(f, "\n| %s |", rows[i].name);
		for (size_t p = 0; p < PHASE_COUNT; p++)
			fprintf(f, " %s |", actions[rows[i].action[p]].word);
	}
	fputs("\n", f);
}

int master_write_doc(const char *name, FILE *f)
{
	if (strcmp(name, "signals-md") != 0)
		return -1;
	fputs("<!-- Made from master/signals.def by `capricorn --print-doc signals-md`. -->\n"
	      "# Signals\n\n"
	      "Send them to the master; its pid is in the log and in the pid file.\n\n"
	      "| signal | meaning |\n|---|---|\n", f);
	for (size_t i = 0; i < NROWS; i++)
		fprintf(f, "| %s | %s |\n", rows[i].name, rows[i].text);
	fputs("\nWhat a signal does depends on what the master is about at that moment.\n\n"
	      "| phase | meaning |\n|---|---|\n", f);
	for (size_t p = 0; p < PHASE_COUNT; p++)
		fprintf(f, "| %s | %s |\n", phases[p].word, phases[p].text);
	fputs("\n| action | meaning |\n|---|---|\n", f);
	for (size_t a = 0; a < ACTION_COUNT; a++)
		fprintf(f, "| %s | %s |\n", actions[a].word, actions[a].text);
	fputs("\n", f);
	write_table(f);
	fputs("\nA signal that is pending twice is delivered once: that is how the kernel keeps "
	      "them.\n\n"
	      "## Signals to other processes\n\n"
	      "Workers and keeper ignore INT, QUIT, HUP, USR1, USR2, TTIN, TTOU and WINCH, so that a "
	      "signal\nto the whole process group (Ctrl-C in a terminal) does what the same signal to "
	      "the master\ndoes. TERM to one worker drains that worker, and the master replaces it. "
	      "TERM to the whole\ngroup is one graceful stop.\n\n"
	      "## Exit codes\n\n"
	      "| code | meaning |\n|---|---|\n"
	      "| 0 | stopped as asked |\n"
	      "| 1 | the configuration is wrong, or something could not be opened or bound |\n"
	      "| 3 | no worker could boot |\n"
	      "| 4 | the app cannot be loaded |\n", f);
	return 0;
}
