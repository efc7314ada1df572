/* SPDX-License-Identifier: MIT */
/*
 * Each signal in each phase: the master is brought into the phase, gets the signal, must say what
 * the table says, and must have the effect of that action. Then everything is let go and the
 * master must stop in good order.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/fake_master.h"

#define WORKERS 2

enum phase {
#define MASTER_PHASE(sym, word, text) PHASE_##sym,
#include "master/signals.def"
	NPHASES
};
static const char *const phase_word[] = {
#define MASTER_PHASE(sym, word, text) word,
#include "master/signals.def"
};

enum action {
#define MASTER_ACTION(sym, word, text) ACTION_##sym,
#include "master/signals.def"
};
static const char *const action_word[] = {
#define MASTER_ACTION(sym, word, text) word,
#include "master/signals.def"
};

static const struct {
	int sig;
	const char *name;
	enum action action[NPHASES];
} cells[] = {
#define MASTER_SIGNAL(name, text, a, b, c, d, e, f, g, h)                               \
	{SIG##name, #name,                                                              \
	 {ACTION_##a, ACTION_##b, ACTION_##c, ACTION_##d, ACTION_##e, ACTION_##f,       \
	  ACTION_##g, ACTION_##h}},
#include "master/signals.def"
};

static const char *const settings[] = {"WEB_WORKERS=2", "WORKERS_MIN=1", "WORKERS_MAX=4",
				       "WINCH_DRAINS=true", "GRACEFUL_TIMEOUT=10s", NULL};

static void enter_phase(struct fm *f, enum phase phase)
{
	fm_prepare(f);
	if (phase == PHASE_BOOT) {
		f->ctl->boot = FM_BOOT_HOLD;
		fm_start(f, settings);
		FM_WAIT(f, fm_alive(f) == WORKERS);
		return;
	}
	fm_start_ready(f, settings, WORKERS);
	fm_wait_log(f, "Booting worker", WORKERS);
	switch (phase) {
	case PHASE_RECYCLE:
		f->ctl->boot = FM_BOOT_HOLD;
		f->ctl->ask = fm_some_worker(f);
		FM_WAIT(f, fm_alive(f) == WORKERS + 1);
		break;
	case PHASE_SCALE:
		f->ctl->boot = FM_BOOT_HOLD;
		fm_signal(f, SIGTTIN);
		FM_WAIT(f, fm_alive(f) == WORKERS + 1);
		break;
	case PHASE_RELOAD:
		f->ctl->boot = FM_BOOT_HOLD;
		fm_signal(f, SIGHUP);
		FM_WAIT(f, fm_alive(f) == 2 * WORKERS);
		break;
	case PHASE_DRAINED:
		fm_signal(f, SIGWINCH);
		FM_WAIT(f, fm_alive(f) == 0);
		fm_wait_log(f, "has left", WORKERS);
		break;
	case PHASE_STOP:
	case PHASE_QUIT:
		f->ctl->deaf = 1;
		fm_signal(f, phase == PHASE_STOP ? SIGTERM : SIGINT);
		fm_wait_log(f, "Handling signal", 1);
		break;
	default:
		break;
	}
}

/* Lets the phase end by itself. */
static void let_go(struct fm *f)
{
	f->ctl->ask = 0;
	f->ctl->deaf = 0;
	f->ctl->boot = FM_BOOT_READY;
}

static uint32_t wanted_in(enum phase phase)
{
	return phase == PHASE_SCALE ? WORKERS + 1 : WORKERS;
}

static void expect_reload(struct fm *f, enum phase phase)
{
	uint32_t n = wanted_in(phase), generation = phase == PHASE_RELOAD ? 3 : 2;

	let_go(f);
	FM_WAIT(f, fm_ready_of(f, generation) == n && fm_alive(f) == n);
}

static void expect(struct fm *f, enum phase phase, enum action action, uint32_t was_alive)
{
	uint32_t n = wanted_in(phase);

	switch (action) {
	case ACTION_STOP:
		let_go(f);
		assert_int_equal(fm_wait_exit(f), 0);
		assert_true(f->ctl->keeper_left > f->ctl->worker_left);
		break;
	case ACTION_QUIT: /* held and deaf ones too */
	case ACTION_KILL:
		assert_int_equal(fm_wait_exit(f), 0);
		break;
	case ACTION_RELOAD:
	case ACTION_LATER:
		expect_reload(f, phase);
		break;
	case ACTION_REOPEN:
		fm_wait_log(f, "Log files are open again", 1);
		break;
	case ACTION_UPGRADE:
		fm_wait_log(f, "not built yet", 1);
		break;
	case ACTION_MORE:
		let_go(f);
		FM_WAIT(f, fm_ready(f) == n + 1 && fm_alive(f) == n + 1);
		break;
	case ACTION_LESS:
		let_go(f);
		FM_WAIT(f, fm_ready(f) == n - 1 && fm_alive(f) == n - 1);
		break;
	case ACTION_DRAIN:
		let_go(f);
		FM_WAIT(f, fm_alive(f) == 0);
		break;
	case ACTION_RESUME:
		FM_WAIT(f, fm_ready(f) == n);
		break;
	case ACTION_IGNORE:
		assert_int_equal(fm_alive(f), was_alive);
		break;
	}
}

static void test_cell(void **state)
{
	size_t cell = (size_t)*state, i = cell / NPHASES;
	enum phase phase = (enum phase)(cell % NPHASES);
	enum action action = cells[i].action[phase];
	uint32_t was_alive;
	char line[128];
	struct fm f;

	enter_phase(&f, phase);
	was_alive = fm_alive(&f);
	snprintf(line, sizeof(line), "Handling signal: %s (phase %s: %s)", cells[i].name,
		 phase_word[phase], action == ACTION_IGNORE ? "ignored" : action_word[action]);
	fm_signal(&f, cells[i].sig);
	fm_wait_log(&f, line, 1);
	expect(&f, phase, action, was_alive);
	if (f.pid && (phase == PHASE_STOP || phase == PHASE_QUIT)) {
		let_go(&f);
		assert_int_equal(fm_wait_exit(&f), 0);
	}
	fm_end(&f);
}

int main(void)
{
	static struct CMUnitTest tests[sizeof(cells) / sizeof(cells[0]) * NPHASES];
	static char names[sizeof(tests) / sizeof(tests[0])][40];
	size_t n = sizeof(tests) / sizeof(tests[0]);

	for (size_t i = 0; i < n; i++) {
		snprintf(names[i], sizeof(names[i]), "%s in %s", cells[i / NPHASES].name,
			 phase_word[i % NPHASES]);
		tests[i] = (struct CMUnitTest){
			.name = names[i], .test_func = test_cell, .initial_state = (void *)i};
	}
	return _cmocka_run_group_tests("signals of the master", tests, n, NULL, NULL);
}
