/* SPDX-License-Identifier: MIT */
/*
 * The half of a dump that the thread itself does, in a signal handler on a stack of its own: no
 * allocation, no lock, no text. The unwinder is the compiler's; it is run once at boot, so that
 * nothing is loaded or bound later. Addresses are stored one by one and counted as they come: when
 * the stack is damaged and the unwinder faults, what was found before that is still told.
 */
#include "shm/dump.h"

#include <errno.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>
#include <unwind.h>

#include "shm/shm_priv.h"

#define STACK_BYTES (64u * 1024) /* beside what the kernel needs for its frame */
#define GUARD_BYTES 4096u
#define OVERFLOW_BYTES (64u * 1024) /* a fault so far below the stack pointer is its own */

static struct {
	struct shm_dump *area;
	struct shm_slot *slot;
	pid_t pid;
	int efd;
	unsigned long long loaded, unloaded; /* as last published */
} own;

static _Thread_local struct {
	char *stack;
	size_t size;
	uint32_t row;    /* + 1 */
} me;

pid_t dump_tid(void)
{
	return (pid_t)syscall(SYS_gettid);
}

/* ---- unwinding ---- */

struct walk {
	struct shm_stack *to;
	uint64_t pc;     /* where the thread was interrupted */
	bool seen;       /* the frames of the handler lie behind */
};

static void put(struct shm_stack *to, uint64_t pc)
{
	uint64_t n = shm_get(&to->count);

	if (n >= SHM_FRAMES)
		return;
	shm_set(&to->pc[n], pc);
	atomic_store_explicit(&to->count, n + 1, memory_order_release);
}

static _Unwind_Reason_Code on_frame(struct _Unwind_Context *context, void *arg)
{
	struct walk *w = arg;
	uint64_t pc = _Unwind_GetIP(context);

	if (w->seen && pc != 0)
		put(w->to, pc);
	else if (pc == w->pc)
		w->seen = true; /* stored already */
	return shm_get(&w->to->count) >= SHM_FRAMES ? _URC_END_OF_STACK : _URC_NO_REASON;
}

static void where(const ucontext_t *uc, uint64_t *pc, uint64_t *sp)
{
#if defined(__x86_64__)
	*pc = (uint64_t)uc->uc_mcontext.gregs[REG_RIP];
	*sp = (uint64_t)uc->uc_mcontext.gregs[REG_RSP];
#elif defined(__aarch64__)
	*pc = uc->uc_mcontext.pc;
	*sp = uc->uc_mcontext.sp;
#else
	(void)uc;
	*pc = *sp = 0;
#endif
}

/* After a jump to nowhere (a NULL function pointer, say) there is nothing to unwind from; but where
 * the call came from is known. Read by the kernel, which does not fault. */
static void put_caller(struct shm_stack *to, const ucontext_t *uc)
{
#if defined(__x86_64__)
	uint64_t caller = 0;
	struct iovec mine = {&caller, sizeof(caller)};
	struct iovec there = {(void *)uc->uc_mcontext.gregs[REG_RSP], sizeof(caller)};

	if (process_vm_readv(own.pid, &mine, 1, &there, 1, 0) == (ssize_t)sizeof(caller))
		put(to, caller);
#elif defined(__aarch64__)
	put(to, uc->uc_mcontext.regs[30]);
#else
	(void)to;
	(void)uc;
#endif
}

static void unwind(struct shm_stack *to, const ucontext_t *uc)
{
	struct walk w = {.to = to};
	uint64_t sp;

	where(uc, &w.pc, &sp);
	atomic_store_explicit(&to->count, 0, memory_order_release);
	put(to, w.pc);
	(void)_Unwind_Backtrace(on_frame, &w);
	if (!w.seen)
		put_caller(to, uc);
}

static _Unwind_Reason_Code on_nothing(struct _Unwind_Context *context, void *arg)
{
	(void)arg;
	return _Unwind_GetIP(context) ? _URC_NO_REASON : _URC_END_OF_STACK;
}

/* ---- being asked ---- */

static void answer(uint32_t ticket, const ucontext_t *uc)
{
	uint64_t was = atomic_load_explicit(&own.area->claim, memory_order_acquire), one = 1;

	if (claim_state(was) != CLAIM_ASKED || claim_ticket(was) != ticket ||
	    claim_tid(was) != dump_tid())
		return; /* too late, or not for us */
	if (!atomic_compare_exchange_strong(&own.area->claim, &was, was + CLAIM_FILLING -
					    CLAIM_ASKED))
		return;
	unwind(&own.area->asked, uc);
	was += CLAIM_FILLING - CLAIM_ASKED;
	(void)atomic_compare_exchange_strong(&own.area->claim, &was,
					     was + CLAIM_DONE - CLAIM_FILLING);
	if (own.efd >= 0)
		(void)!write(own.efd, &one, sizeof(one)); /* who asked looks again anyway */
}

static void on_asked(int sig, siginfo_t *si, void *context)
{
	int saved = errno;

	(void)sig;
	/* A forked copy has the handler, but no slot. */
	if (own.area && si->si_code == SI_QUEUE && own.pid == getpid())
		answer((uint32_t)si->si_value.sival_int, context);
	errno = saved;
}

/* ---- last words ---- */

static uint32_t row_now(pid_t tid)
{
	if (me.row != 0)
		return me.row;
	return tid == own.pid ? shm_get(&own.slot->current_row) : 0;
}

static void last_words(int sig, const siginfo_t *si, const ucontext_t *uc)
{
	struct shm_dump *d = own.area;
	bool fault = si->si_code > 0;
	uint64_t addr = fault ? (uint64_t)(uintptr_t)si->si_addr : 0, pc, sp;
	uint32_t none = 0;
	pid_t tid = dump_tid();

	if (!atomic_compare_exchange_strong(&d->crashed, &none, 1))
		return; /* another thread speaks */
	where(uc, &pc, &sp);
	shm_set(&d->sig, sig);
	shm_set(&d->code, si->si_code);
	shm_set(&d->sender, fault ? 0 : si->si_pid);
	shm_set(&d->thread, tid);
	shm_set(&d->row, row_now(tid));
	shm_set(&d->addr, addr);
	shm_set(&d->overflow, sig == SIGSEGV && fault && addr != 0 && addr < sp + 256 &&
			      addr + OVERFLOW_BYTES >= sp);
	unwind(&d->last, uc);
	atomic_store_explicit(&d->crashed, 2, memory_order_release);
}

/* The default action follows: a fault happens again, what was sent is sent again. */
static void on_crash(int sig, siginfo_t *si, void *context)
{
	int saved = errno;

	if (own.area && own.pid == getpid())
		last_words(sig, si, context);
	if (si->si_code <= 0)
		(void)syscall(SYS_tgkill, getpid(), dump_tid(), sig);
	errno = saved;
}

static void catch_crashes(void)
{
	static const int all[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
	struct sigaction sa = {.sa_sigaction = on_crash,
			       .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESETHAND}, was;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (sigaction(all[i], NULL, &was) == 0 && was.sa_handler == SIG_DFL)
			(void)sigaction(all[i], &sa, NULL); /* without: no last words */
}

/* ---- threads ---- */

int dump_thread_init(void)
{
	long least = sysconf(_SC_MINSIGSTKSZ);
	stack_t st, was;

	if (me.stack || (sigaltstack(NULL, &was) == 0 && !(was.ss_flags & SS_DISABLE)))
		return 0; /* a sanitizer's, say, which will free it */
	me.size = GUARD_BYTES + STACK_BYTES;
	if (least > 0)
		me.size += ((size_t)least + 4095) & ~(size_t)4095;
	me.stack = mmap(NULL, me.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (me.stack == MAP_FAILED) {
		me.stack = NULL;
		return -ENOMEM;
	}
	st = (stack_t){.ss_sp = me.stack + GUARD_BYTES, .ss_size = me.size - GUARD_BYTES};
	if (mprotect(me.stack, GUARD_BYTES, PROT_NONE) == 0 && sigaltstack(&st, NULL) == 0)
		return 0;
	munmap(me.stack, me.size);
	me.stack = NULL;
	return -ENOMEM;
}

void dump_thread_fini(void)
{
	stack_t off = {.ss_flags = SS_DISABLE};

	if (!me.stack)
		return;
	(void)sigaltstack(&off, NULL);
	munmap(me.stack, me.size);
	me.stack = NULL;
}

void dump_thread_row(uint32_t row)
{
	me.row = row + 1; /* of none: 0 */
}

/* ---- what is loaded ---- */

static void set_label(struct dump_object *o, const char *name)
{
	static const char deleted[] = " (deleted)";
	const char *slash = strrchr(name, '/');
	size_t len;

	name = slash ? slash + 1 : name;
	if (strncmp(name, "memfd:", 6) == 0)
		name += 6;
	len = strlen(name);
	if (len > sizeof(deleted) && strcmp(name + len - (sizeof(deleted) - 1), deleted) == 0)
		len -= sizeof(deleted) - 1;
	if (len >= sizeof(o->label))
		len = sizeof(o->label) - 1;
	memcpy(o->label, name, len);
	o->label[len] = '\0';
}

static void set_file(struct dump_object *o, const char *name)
{
	char real[PATH_MAX], *at;
	struct stat st;
	ssize_t n;

	if (strcmp(name, "/proc/self/exe") == 0 || strncmp(name, "/proc/self/fd/", 14) == 0) {
		n = readlink(name, real, sizeof(real) - 1);
		real[n > 0 ? n : 0] = '\0';
		set_label(o, n > 0 ? real : name);
		at = real;
		snprintf(real, sizeof(real), "%s", name);
	} else {
		set_label(o, name);
		at = strchr(name, '/') ? realpath(name, real) : NULL;
	}
	if (!at || strlen(at) >= sizeof(o->path) || stat(at, &st) != 0)
		return;
	strcpy(o->path, at);
	o->dev = st.st_dev;
	o->ino = st.st_ino;
}

struct list {
	struct dump_object *o;
	uint32_t n;
};

static int on_object(struct dl_phdr_info *i, size_t size, void *arg)
{
	struct list *l = arg;
	struct dump_object *o = &l->o[l->n];

	(void)size;
	if (l->n == SHM_OBJECTS)
		return 1;
	memset(o, 0, sizeof(*o));
	o->start = UINT64_MAX;
	o->bias = i->dlpi_addr;
	for (int k = 0; k < i->dlpi_phnum; k++) {
		const ElfW(Phdr) *p = &i->dlpi_phdr[k];
		uint64_t from = i->dlpi_addr + p->p_vaddr;

		if (p->p_type != PT_LOAD)
			continue;
		o->start = from < o->start ? from : o->start;
		o->end = from + p->p_memsz > o->end ? from + p->p_memsz : o->end;
	}
	/* The first without a name is the program. */
	set_file(o, i->dlpi_name && i->dlpi_name[0] ? i->dlpi_name :
		 l->n == 0 ? "/proc/self/exe" : "?");
	l->n++;
	return 0;
}

uint32_t dump_own_objects(struct dump_object ret[SHM_OBJECTS])
{
	struct list l = {ret, 0};

	(void)dl_iterate_phdr(on_object, &l);
	return l.n;
}

static void put_words(_Atomic uint64_t *to, const char *from, size_t words)
{
	for (size_t i = 0; i < words; i++) {
		uint64_t w;

		memcpy(&w, from + 8 * i, 8);
		atomic_store_explicit(&to[i], w, memory_order_release);
	}
}

static int on_count(struct dl_phdr_info *i, size_t size, void *arg)
{
	(void)size;
	(void)arg;
	if (own.loaded == i->dlpi_adds && own.unloaded == i->dlpi_subs)
		return 1;
	own.loaded = i->dlpi_adds;
	own.unloaded = i->dlpi_subs;
	return 2;
}

void dump_objects(void)
{
	struct dump_object list[SHM_OBJECTS];
	struct shm_dump *d = own.area;
	uint32_t n, seq;

	if (!d || dl_iterate_phdr(on_count, NULL) != 2)
		return;
	n = dump_own_objects(list);
	seq = shm_get(&d->objects_seq) | 1;
	shm_set(&d->objects_seq, seq);
	for (uint32_t i = 0; i < n; i++) {
		struct shm_object *o = &d->object[i];

		atomic_store_explicit(&o->start, list[i].start, memory_order_release);
		atomic_store_explicit(&o->end, list[i].end, memory_order_release);
		atomic_store_explicit(&o->bias, list[i].bias, memory_order_release);
		atomic_store_explicit(&o->dev, list[i].dev, memory_order_release);
		atomic_store_explicit(&o->ino, list[i].ino, memory_order_release);
		put_words(o->label, list[i].label, 4);
		put_words(o->path, list[i].path, 12);
	}
	atomic_store_explicit(&d->objects, n, memory_order_release);
	atomic_store_explicit(&d->objects_seq, seq + 1, memory_order_release);
}

/* ---- reports ---- */

void dump_report_thread(enum dump_kind kind, pid_t tid, uint32_t row, uint64_t since_ns)
{
	struct shm_dump *d = own.area;
	uint32_t n;
	uint64_t one = 1;

	if (!d)
		return;
	n = shm_get(&d->calls);
	atomic_store_explicit(&d->call[n % SHM_CALLS].about,
			      (uint64_t)(uint32_t)tid << 32 |
			      (uint64_t)((row + 1) & 0xffffff) << 8 | (uint64_t)kind,
			      memory_order_release);
	atomic_store_explicit(&d->call[n % SHM_CALLS].since_ns, since_ns, memory_order_release);
	atomic_store_explicit(&d->calls, n + 1, memory_order_release);
	if (own.efd >= 0)
		(void)!write(own.efd, &one, sizeof(one)); /* the master's tick looks, too */
}

/* ---- open and close ---- */

int dump_open(struct shm *s, uint32_t slot, int efd)
{
	struct sigaction sa = {.sa_sigaction = on_asked,
			       .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
	int rc = dump_thread_init();

	if (rc != 0)
		return rc;
	(void)_Unwind_Backtrace(on_nothing, NULL);
	own.area = &s->dumps[slot];
	own.slot = shm_slot(s, slot);
	own.pid = getpid();
	own.efd = efd;
	own.loaded = own.unloaded = 0;
	dump_objects();
	catch_crashes();
	if (sigaction(DUMP_SIGNAL, &sa, NULL) != 0)
		return -errno;
	shm_set(&own.area->able, 1);
	return 0;
}

void dump_close(void)
{
	own.area = NULL;
}
