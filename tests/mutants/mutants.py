# SPDX-License-Identifier: MIT
"""Changes that make shm/ wrong, and which tests must find that: (name, file, old, new, tests).

`old` is there exactly once. Of a test `step_x:NAME` only NAME is run, at all instructions. The looks (a) to (e) are those of shm/sem.c; "model: X" is a change of
the model that tests/model/run.sh makes, where the code is the caller's.
"""
SEM = ("sem", "step_sem", "sem_threads")
STEP = ("step_sem",)
READS = ("step_sem:test_between_reads",)
GONE = ("step_sem:test_gone_before",)
RATE = ("rate", "step_rate")
STEP_RATE = ("step_rate",)

_SEM, _DIR, _RATE, _TABLE, _RULE, _CHARGE = (
    "shm/sem.c", "shm/sem_dir.c", "shm/rate.c", "shm/rate_table.c", "shm/rate_rule.c",
    "shm/rate_charge.c")
_PRIV = "shm/rate_priv.h"

MUTANTS = [
    # ---- semaphores: the looks
    ("(a) no try after it has been said that one waits", _SEM,
     "\t\t\ttake_free(m, t, b);\n", "\t\t\t;\n", SEM),
    ("(b) no look after a short release", _SEM,
     "atomic_load(bounds) != raw || !nobody_waits(s, sem), 0)",
     "atomic_load(bounds) != raw, 0)", READS),
    ("(b) no look after a release", _SEM,
     "\tshm_set(&m->cell[slot].freed, i);\n\tlook_after_free(m, except, now_ns, wake);\n",
     "\tshm_set(&m->cell[slot].freed, i);\n", SEM),
    ("(b) no settling after a release", _SEM, "{\n\tsettle(m);\n\tif (anyone", "{\n\tif (anyone", SEM),
    ("(c) no look after a grant", _SEM,
     "if (!waits_in(m, t.slot) && swap(&m->word[i], sem_granted(t.slot, t.class), back))",
     "if (0 && back)", GONE),
    ("(d) recovery leaves grants to nobody", _SEM,
     "\t\t\t  ((w & SEM_GRANTED) && !waits_in(m, owner)));", "\t\t\t  0);", GONE),
    # ---- semaphores: publishing, owners, wake-ups
    ("published before it is filled", _DIR, "\tunpublish(&s->sems[i]);\n\tif (same",
     "\tshm_set(&s->sems[i].last_generation, 9);\n"
     "\tshm_set(&s->sems[i].first_generation, 1);\n\tif (same", STEP),
    ("nobody is told that somebody waits", _SEM,
     "atomic_fetch_or(&m.bits[slot / 64], bit);", "(void)bit;", SEM),
    ("the owner is lost, short", _SEM,
     "atomic_load(word) != 0 ||\n\t    !swap(word, 0, sem_held(slot)))",
     "atomic_load(word) != 0 ||\n\t    !swap(word, 0, sem_held(0)))", SEM),
    ("the owner is lost", _SEM, "if (!swap(&m->word[i], from, sem_held(t->slot)))",
     "if (!swap(&m->word[i], from, sem_held(0)))", SEM),
    ("taken without a compare", _SEM, "if (!swap(&m->word[i], from, sem_held(t->slot)))",
     "if (atomic_store(&m->word[i], sem_held(t->slot)), false)", READS),
    ("released by who does not hold it", _SEM, "if (!swap(word, sem_held(slot), 0))",
     "if (atomic_store(word, 0), false)", SEM),
    ("the wake is lost", _SEM, "\tadd_wake(wake, t.slot);\n", "\t(void)wake;\n", SEM),
    ("a changed limit wakes nobody", _SEM, "\t\twake->all = true;\n\treturn 0;",
     "\t\twake->n = wake->n;\n\treturn 0;", SEM),
    ("too many to wake are forgotten", _SEM, "\telse\n\t\twake->all = true;\n}", "\n}", SEM),
    ("who leaves keeps its grant", _SEM, "\tif (after < before)\n", "\tif (false)\n", SEM),
    ("recovery leaves the bit", _SEM,
     "\tatomic_fetch_and(&m->bits[slot / 64], ~(1ULL << slot % 64));\n\tif (w",
     "\tif (w", SEM),
    ("recovery leaves the words", _SEM, "w != 0 && (owner == dead ||", "w != 0 && (", SEM),
    ("recovery leaves the collector", _SEM, "(sem_word_slot(w) == slot || sem_word_slot(w) >=",
     "(sem_word_slot(w) >=", SEM),
    # ---- semaphores: limits that change
    ("no count after a lowered limit", _SEM, "\t\t\treturn taken <= b.limit;",
     "\t\t\treturn true;", SEM),
    ("no look at the limit after taking", _SEM, "if (__builtin_expect(!is_admitted(m, i), 0)) {",
     "if (false) {", READS),
    ("no second look at bounds, short acquire", _SEM,
     "\tif (__builtin_expect(atomic_load(bounds) != raw, 0)) {\n\t\tstruct sem m = sem_of(s, sem);"
     "\n\n\t\tgive_back", "\tif (false) {\n\t\tstruct sem m = sem_of(s, sem);\n\n\t\tgive_back",
     READS),
    ("no second look at bounds, short release", _SEM,
     "atomic_load(bounds) != raw || !nobody_waits(s, sem), 0)", "!nobody_waits(s, sem), 0)", READS),
    ("limits have no version", _SEM, "b.high > limit ? b.high : limit, (b.raw >> 32) + 1);",
     "b.high > limit ? b.high : limit, b.raw >> 32);", READS),
    ("who holds above a lowered limit is forgotten", _SEM,
     "sem_bounds_make(limit, b.high > limit ? b.high : limit,", "sem_bounds_make(limit, limit,",
     SEM),
    ("handed over above the limit", _SEM, "\t\tif (i >= b.limit)\n\t\t\treturn false;\n\t\ttake",
     "\t\ttake", SEM),
    ("handed over while there are too many", _SEM, "if (c.taken > b.limit || !choose",
     "if (!choose", SEM),
    ("granted while there are enough", _SEM, "c.taken >= b.limit || c.free", "c.free", SEM),
    # ---- semaphores: several at once
    ("a part is kept without the role", _SEM, "\tdrop(m, t);\n\tif (become_collector",
     "\tif (become_collector", SEM),
    ("who stops collecting serves nobody", _SEM, "\t\tserve(m, t->slot, t->now_ns, t->wake);\n}",
     "\t\t(void)t;\n}", SEM),
    # ---- rate limits
    ("no second look after a claim", _TABLE, "done = is_alone(r, room->way, key) &&", "done =",
     STEP_RATE),
    ("a claim is charged by others", _TABLE,
     "return rate_is_pending(at[i].state) ? CLAIMED : FOUND;", "return FOUND;", STEP_RATE),
    ("the key is not looked at again", _TABLE,
     "return !rate_is_pending(ret->state) && load(&ret->way->key) == key;",
     "return !rate_is_pending(ret->state);", ("step_rate:test_interrupt_spent",)),
    ("a live entry is given away", _TABLE, "rate_is_idle(r, at[i].state, now_ns)) {",
     "rate_remaining(r, at[i].state, now_ns) > 0) {", RATE),
    ("an entry is idle too early", _RULE, "return state <= now_ns;\n\tif ((state",
     "return state <= now_ns + 20 * GRACE_NS;\n\tif ((state", RATE),
    ("a claim stays when it has failed", _TABLE,
     "(void)swap_pair(room->way, key, claim, 0, 0);", "(void)claim;", RATE),
    ("a claim of the dead stays in the way", _TABLE,
     "(void)swap_pair(claim->way, claim->key, claim->state, 0, 0); /* fails: it has", "/* it has",
     RATE),
    ("recovery does nothing", _RATE, "\t\trate_set_recover(&s->rate_sets[i], slot);", "\t\t;",
     RATE),
    ("recovery takes all claims", _TABLE,
     "if (rate_is_pending(state) && rate_pending_slot(state) == slot)",
     "if (rate_is_pending(state))", RATE),
    ("recovery says too early that it is done", _RATE,
     "\tfor (uint64_t i = 0; i < rate_sets_of(&s->geo); i++)\n\t\trate_set_recover",
     "\tshm_set(claims, 0);\n\tfor (uint64_t i = 0; i < rate_sets_of(&s->geo); i++)\n"
     "\t\trate_set_recover", STEP_RATE),
    ("claims are not counted", _TABLE, "claims, (1ULL << 32) + 1);", "claims, 1ULL << 32);",
     RATE),
    ("a new key is not charged", _TABLE, "key, claim, key, ret->after);", "key, claim, key, 1);",
     RATE),
    ("one too many in the bucket", _PRIV, "if (owed <= (r->quota - 1) * r->step_ns) {",
     "if (owed <= r->quota * r->step_ns) {", RATE),
    ("one too many in the window", _RULE,
     "\tif (!window_admits(&w, period_ns, quota, 1))\n\t\treturn RATE_REFUSE",
     "\tif (!window_admits(&w, period_ns, quota, 0))\n\t\treturn RATE_REFUSE", RATE),
    ("the window before does not count", _RULE, "\t\tw.before = count;\n", "\t\tw.before = 0;\n",
     RATE),
    ("refund of a bucket is not exact", _RULE, "return state == after;", "return state >= after;",
     RATE),
    ("refund of a window gives two", _RULE, "\t\t*ret = state - 1;", "\t\t*ret = state - 2;", RATE),
    ("charged without looking first", _CHARGE, "!look_at_all(all, uses, n, now_ns)", "true", RATE),
    ("what was charged before a refusal stays", _CHARGE,
     "\t\tshm_rate_refund(s, uses, i);\n", "", RATE),
    ("charged without a compare", _CHARGE,
     "if (!atomic_compare_exchange_weak(r->state, &state, next))",
     "if (atomic_store(r->state, next), false)", RATE),
]
