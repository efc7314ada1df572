/* SPDX-License-Identifier: MIT */
/*
 * A module that does what no module should, one misdeed a path: /inline/NAME, /pool/NAME and
 * /async/NAME. /inline/echo/TEXT and /pool/echo/TEXT answer with TEXT: what other clients ask for
 * meanwhile. See tests/blackbox/test_bad_modules.py.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "capricorn.h"

#define NOINLINE __attribute__((noinline, noclone))

/* Each says by its return whether an answer is still to be given. */
typedef int misdeed_f(struct capri_request *r);
enum { GO_ON, ANSWERED, NO_ANSWER = 1000 };

extern char **environ;
static volatile uint64_t sink;
static struct capri_timer *start_timer;
static struct capri_metric *cancels;

static long number(struct capri_request *r, const char *name, long otherwise)
{
	struct capri_str s = capri_query_param(r, name);

	return s.p ? strtol(s.p, NULL, 10) : otherwise;
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int say(struct capri_request *r, const char *text)
{
	(void)capri_respond_text(r, 200, text);
	return ANSWERED;
}

/* ---- time ---- */

NOINLINE static int spin_forever(struct capri_request *r)
{
	(void)r;
	while (sink != UINT64_MAX)
		sink++;
	return GO_ON;
}

NOINLINE static int spin_for(struct capri_request *r)
{
	uint64_t until = now_ms() + (uint64_t)number(r, "ms", 1000);

	while (now_ms() < until)
		sink++;
	return GO_ON;
}

NOINLINE static int block_forever(struct capri_request *r)
{
	static pthread_mutex_t never = PTHREAD_MUTEX_INITIALIZER;

	(void)r;
	pthread_mutex_lock(&never);
	pthread_mutex_lock(&never);
	sink++;
	return GO_ON;
}

/* ---- memory ---- */

static int leak(struct capri_request *r)
{
	size_t n = (size_t)number(r, "kb", 256) * 1024;
	char *p = malloc(n);

	if (p)
		memset(p, 1, n);
	sink = (uint64_t)(uintptr_t)p; /* else the compiler leaves both out */
	return GO_ON;
}

/* ---- ends ---- */

NOINLINE static int call_abort(struct capri_request *r)
{
	(void)r;
	abort();
}

static int call_exit(struct capri_request *r)
{
	exit((int)number(r, "code", 3));
}

static int call__exit(struct capri_request *r)
{
	_exit((int)number(r, "code", 3));
}

NOINLINE static int raise_segv(struct capri_request *r)
{
	(void)r;
	raise(SIGSEGV);
	return GO_ON;
}

NOINLINE static int read_null(struct capri_request *r)
{
	volatile int *volatile p = NULL;

	(void)r;
	sink += (uint64_t)*p;
	return GO_ON;
}

NOINLINE static int divide_by_zero(struct capri_request *r)
{
	volatile int zero = 0;

	(void)r;
	sink += (uint64_t)(1000 / zero);
	return GO_ON;
}

#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Winfinite-recursion"
NOINLINE static int overrun_stack(struct capri_request *r)
{
	volatile char room[512];

	room[0] = (char)(uintptr_t)r;
	(void)overrun_stack(r);
	sink += (uint64_t)room[0];
	return GO_ON;
}

/* ---- copies ---- */

static int fork_return(struct capri_request *r)
{
	pid_t pid = fork();

	if (pid > 0)
		return GO_ON;
	return say(r, "I am the child");
}

/* By the bare system call: nothing is told of it. */
static int raw_fork_return(struct capri_request *r)
{
	long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	if (pid > 0)
		return GO_ON;
	return say(r, "I am the child");
}

static int reap(pid_t pid)
{
	int status = -1;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

static int fork_exec(struct capri_request *r)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		execl("/bin/sh", "sh", "-c", "exit 7", (char *)NULL);
		_exit(1);
	}
	status = reap(pid);
	return say(r, WIFEXITED(status) && WEXITSTATUS(status) == 7 ? "good" : "bad");
}

static int fork_exit(struct capri_request *r)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(9);
	status = reap(pid);
	return say(r, WIFEXITED(status) && WEXITSTATUS(status) == 9 ? "good" : "bad");
}

/* exit() runs the handlers of the worker in the copy. */
static int fork_exit_handlers(struct capri_request *r)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		exit(9);
	status = reap(pid);
	return say(r, WIFEXITED(status) && WEXITSTATUS(status) == 9 ? "good" : "bad");
}

/* Lives on, with all that it has inherited. The answer is its pid. */
static int fork_daemon(struct capri_request *r)
{
	char text[32];
	pid_t pid = fork();

	if (pid == 0) {
		setsid();
		for (;;)
			sleep(60);
	}
	snprintf(text, sizeof(text), "%d", (int)pid);
	return say(r, text);
}

static int run_system(struct capri_request *r)
{
	int status = system("exit 5");

	return say(r, WIFEXITED(status) && WEXITSTATUS(status) == 5 ? "good" : "bad");
}

static int run_popen(struct capri_request *r)
{
	char text[64] = "";
	FILE *f = popen("echo good", "r");

	if (f && !fgets(text, sizeof(text), f))
		text[0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	if (!f || pclose(f) != 0)
		return say(r, "bad");
	return say(r, text);
}

static int run_posix_spawn(struct capri_request *r)
{
	char *argv[] = {"sh", "-c", "exit 4", NULL};
	pid_t pid;
	int status;

	if (posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ) != 0)
		return say(r, "bad");
	status = reap(pid);
	return say(r, WIFEXITED(status) && WEXITSTATUS(status) == 4 ? "good" : "bad");
}

/* ---- descriptors ---- */

static int close_all(struct capri_request *r)
{
	(void)r;
	for (int fd = 3; fd < 1024; fd++)
		close(fd);
	return GO_ON;
}

static int close_a_range(struct capri_request *r)
{
	(void)r;
	(void)close_range(3, ~0u, 0);
	return GO_ON;
}

static int close_one(struct capri_request *r)
{
	close((int)number(r, "fd", 5));
	return GO_ON;
}

static int dup_over(struct capri_request *r)
{
	int fd = open("/dev/null", O_RDWR);

	(void)r;
	for (int i = 3; i < 64; i++)
		if (i != fd && fcntl(i, F_GETFD) >= 0)
			(void)dup2(fd, i);
	return GO_ON;
}

/* A descriptor of its own in the place of each of ours. */
static int replace_all(struct capri_request *r)
{
	close_a_range(r);
	for (int i = 0; i < 64; i++)
		(void)!open("/dev/zero", O_RDWR);
	return GO_ON;
}

/* ---- answers ---- */

static int answer_twice(struct capri_request *r)
{
	int first = capri_respond_text(r, 200, "first");
	int second = capri_respond_text(r, 200, "second");

	capri_log(NULL, CAPRI_INFO, "twice: %d %d", first, second);
	return ANSWERED;
}

static void *answer_late(void *arg)
{
	struct timespec t = {.tv_nsec = 10000000};

	nanosleep(&t, NULL);
	capri_log(NULL, CAPRI_INFO, "late: %d", capri_respond_text(arg, 200, "late"));
	return NULL;
}

static bool start(void *(*fn)(void *), void *arg)
{
	pthread_t t;

	if (pthread_create(&t, NULL, fn, arg) != 0)
		return false;
	pthread_detach(t);
	return true;
}

/* Answers, and a thread that was left behind answers again when the handler has returned. */
static int answer_again_later(struct capri_request *r)
{
	(void)capri_respond_text(r, 200, "first");
	(void)start(answer_late, r);
	return ANSWERED;
}

static int never(struct capri_request *r)
{
	(void)r;
	return NO_ANSWER;
}

static int return_code(struct capri_request *r)
{
	return NO_ANSWER + (int)number(r, "code", 77);
}

static void on_cancel(struct capri_request *r, void *arg)
{
	(void)r;
	(void)arg;
	capri_counter_add(cancels, 1);
	capri_log(NULL, CAPRI_INFO, "cancelled");
}

NOINLINE static void *work_forever(void *arg)
{
	struct timespec t = {.tv_sec = 1};

	capri_working(arg, true);
	for (;;) {
		nanosleep(&t, NULL);
		sink++;
	}
	return NULL;
}

static int never_with_cancel(struct capri_request *r)
{
	capri_on_cancel(r, on_cancel, NULL);
	return NO_ANSWER;
}

static int never_with_thread(struct capri_request *r)
{
	capri_on_cancel(r, on_cancel, NULL);
	(void)start(work_forever, r);
	return NO_ANSWER;
}

/* ---- calls that are wrong ---- */

static long fill_too_much(void *arg, char *buf, size_t cap)
{
	(void)arg;
	(void)buf;
	return (long)cap + 1000;
}

static int respond_too_much(struct capri_request *r)
{
	(void)capri_respond_fill(r, 200, NULL, 100000, fill_too_much, NULL, NULL);
	return ANSWERED;
}

static int write_too_much(struct capri_request *r)
{
	int rc[4];

	rc[0] = capri_stream_begin(r, 200, "text/plain", 4);
	rc[1] = capri_write(r, "12345", 5);
	rc[2] = capri_write(r, "1234", 4);
	rc[3] = capri_write(r, "5", 1);
	capri_log(NULL, CAPRI_INFO, "too much: %d %d %d %d", rc[0], rc[1], rc[2], rc[3]);
	(void)capri_stream_end(r, true);
	return ANSWERED;
}

static int end_stream_twice(struct capri_request *r)
{
	int rc[3];

	rc[0] = capri_stream_begin(r, 200, "text/plain", -1);
	(void)capri_write(r, "whole", 5);
	rc[1] = capri_stream_end(r, true);
	rc[2] = capri_stream_end(r, false);
	capri_log(NULL, CAPRI_INFO, "stream twice: %d %d %d", rc[0], rc[1], rc[2]);
	return ANSWERED;
}

static int begin_and_return(struct capri_request *r)
{
	(void)capri_stream_begin(r, 200, "text/plain", 100);
	(void)capri_write(r, "a part", 6);
	return ANSWERED;
}

static bool on_body(struct capri_request *r, void *arg, struct capri_str data, bool end)
{
	(void)r;
	(void)arg;
	(void)data;
	(void)end;
	return true;
}

static void on_writable(struct capri_request *r, void *arg)
{
	(void)r;
	(void)arg;
}

static void on_time(struct capri_worker *w, struct capri_timer *t, void *arg)
{
	(void)w;
	(void)t;
	(void)arg;
}

static int handler(struct capri_request *r, void *arg);

#define TRY(call) n += (size_t)snprintf(out + n, sizeof(out) - n, "%s = %ld\n", #call, (long)(call))

/* The format and the NULLs are what is wrong with them. */
#pragma GCC diagnostic ignored "-Wnonnull"
static int call_wrongly(struct capri_request *r)
{
	const struct capri_route route = {"GET", "/late", handler, NULL, CAPRI_INLINE};
	const struct capri_str bare = {NULL, 5};
	struct capri_worker *w = capri_worker_of(r);
	struct capri_timer *t;
	char out[8000], buf[16];
	size_t n = 0;

	/* No answer that is none is one: the request must still be free to be answered after. */
	TRY(capri_respond(r, 0, NULL, "", 0));
	TRY(capri_respond(r, 100, NULL, "", 0));
	TRY(capri_respond(r, 199, NULL, "", 0));
	TRY(capri_respond(r, 600, NULL, "", 0));
	TRY(capri_respond(r, -1, NULL, "", 0));
	TRY(capri_respond(r, 200, NULL, NULL, 5));
	TRY(capri_respond(r, 200, "text/plain\r\nX: y", "a", 1));
	TRY(capri_respond_ref(r, 200, NULL, NULL, 5, NULL, NULL));
	TRY(capri_respond_fill(r, 200, NULL, 5, NULL, NULL, NULL));
	TRY(capri_respond_fill(r, 200, NULL, UINT64_MAX, fill_too_much, NULL, NULL));
	TRY(capri_respond_text(r, 200, NULL));
	TRY(capri_respond_json(r, 200, NULL));
	TRY(capri_respond_file(r, NULL, NULL));
	TRY(capri_respond_file_under(r, NULL, bare, NULL));
	TRY(capri_respond_file_under(r, "/etc", bare, NULL));
	TRY(capri_problem(r, 99, NULL));
	TRY(capri_set_header(r, NULL, "a"));
	TRY(capri_set_header(r, "A", NULL));
	TRY(capri_set_header(r, "", "a"));
	TRY(capri_set_header(r, "A", "a\r\nB: b"));
	TRY(capri_set_header(r, "A b", "a"));
	TRY(capri_set_header(r, "Content-Length", "5"));
	TRY(capri_write(r, "a", 1));
	TRY(capri_write(r, NULL, 1));
	TRY(capri_stream_end(r, true));
	TRY(capri_sse_send(r, NULL, NULL, NULL));
	TRY(capri_sse_send(r, NULL, NULL, "a"));
	TRY(capri_stream_begin(r, 99, NULL, -1));
	TRY(capri_on_writable(r, on_writable, NULL));
	TRY(capri_on_cancel(r, on_cancel, NULL));
	TRY(capri_on_body(r, on_body, NULL));
	TRY(capri_body_read(r, buf, SIZE_MAX));
	TRY(capri_add_route(w, &route));
	TRY(capri_add_route(w, NULL));
	TRY(capri_post(w, NULL, NULL));
	TRY(capri_counter(w, "late", NULL, NULL) == NULL ? -1 : 0);
	TRY(capri_alloc(r, SIZE_MAX) == NULL ? -1 : 0);
	TRY(capri_alloc(r, SIZE_MAX - 16) == NULL ? -1 : 0);
	TRY(capri_dup(r, bare) == NULL ? -1 : 0);
	TRY(capri_query_param(r, NULL).p == NULL ? -1 : 0);
	TRY(capri_param(r, NULL).p == NULL ? -1 : 0);
	TRY(capri_header(r, NULL).p == NULL ? -1 : 0);
	TRY(capri_setting(w, NULL).p == NULL ? -1 : 0);
	TRY(capri_header_at(r, SIZE_MAX, NULL, NULL) ? 0 : -1);
	capri_body_resume(r);
	capri_counter_add(NULL, 1);
	capri_gauge_set(NULL, 1);
	capri_histogram_observe(NULL, 0.0 / 0.0);
	capri_log(r, (enum capri_level)99, "%s", "a level that is none");
	capri_log(r, (enum capri_level)-1, "%s", "a level that is none");
	capri_timer_arm(start_timer, 3600 * 1000);
	capri_timer_disarm(start_timer);
	capri_timer_arm(NULL, 1);
	capri_timer_disarm(NULL);
	capri_timer_free(NULL);
	t = capri_timer_new(w, on_time, NULL);
	TRY(t ? 0 : -1);
	TRY(capri_timer_new(w, NULL, NULL) ? 0 : -1);
	capri_timer_arm(t, UINT64_MAX);
	capri_timer_free(t);
	(void)capri_respond(r, 200, "text/plain", out, n);
	return ANSWERED;
}

/* ---- the process ---- */

static void on_signal(int sig)
{
	(void)sig;
}

/* Deaf to everything that it may be deaf to. */
static int spoil_signals(struct capri_request *r)
{
	struct sigaction sa = {.sa_handler = on_signal};
	sigset_t all;

	(void)r;
	for (int i = 1; i < 65; i++)
		(void)sigaction(i, &sa, NULL);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	return GO_ON;
}

static int set_alarm(struct capri_request *r)
{
	(void)r;
	(void)alarm(1);
	return GO_ON;
}

static int lower_limits(struct capri_request *r)
{
	struct rlimit few = {8, 8}, none = {0, 0};

	(void)r;
	(void)setpriority(PRIO_PROCESS, 0, 19);
	(void)setrlimit(RLIMIT_NOFILE, &few);
	(void)setrlimit(RLIMIT_NPROC, &none);
	(void)setrlimit(RLIMIT_FSIZE, &none);
	(void)setrlimit(RLIMIT_CORE, &none);
	return GO_ON;
}

/* ---- the segment ---- */

static struct scribbling {
	uint64_t seed, until_ms;
} scribbling;

static uint64_t draw(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* Where the segment can be written, as the kernel tells. */
static bool find_segment(char **ret_at, size_t *ret_len)
{
	FILE *f = fopen("/proc/self/maps", "re");
	unsigned long from, to;
	char line[512], mode[8];

	*ret_len = 0;
	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, "/dev/shm/") &&
		    sscanf(line, "%lx-%lx %7s", &from, &to, mode) == 3 && mode[1] == 'w') {
			*ret_at = (char *)from;
			*ret_len = to - from;
		}
	if (f)
		fclose(f);
	return *ret_len > 0;
}

NOINLINE static void *scribble(void *arg)
{
	uint64_t seed = scribbling.seed, x;
	size_t len;
	char *at;

	(void)arg;
	if (!find_segment(&at, &len))
		return NULL;
	while (now_ms() < scribbling.until_ms) {
		for (int i = 0; i < 2000; i++) {
			x = draw(&seed);
			switch (x >> 60) {
			case 0: /* small numbers are the ones that look right */
				*(volatile uint64_t *)(at + draw(&seed) % (len / 8) * 8) = x & 0xff;
				break;
			case 1: /* the head of the segment, where most is looked at */
				*(volatile uint64_t *)(at + draw(&seed) % 8192 * 8) = draw(&seed);
				break;
			case 2:
				*(volatile uint64_t *)(at + draw(&seed) % (len / 8) * 8) =
					UINT64_MAX;
				break;
			case 3:
				at[draw(&seed) % len] = (char)x;
				break;
			default:
				*(volatile uint64_t *)(at + draw(&seed) % (len / 8) * 8) = x;
			}
		}
		sched_yield();
	}
	return NULL;
}

static int scribble_on_segment(struct capri_request *r)
{
	char *at;
	size_t len;

	if (!find_segment(&at, &len))
		return say(r, "no segment");
	scribbling.seed = (uint64_t)number(r, "seed", 1) * 0x9e3779b97f4a7c15u + 1;
	scribbling.until_ms = now_ms() + (uint64_t)number(r, "ms", 1000);
	(void)start(scribble, NULL);
	return GO_ON;
}

/* ---- routes ---- */

static const struct {
	const char *name;
	misdeed_f *fn;
} misdeeds[] = {
	{"spin", spin_forever}, {"hold", spin_for}, {"block", block_forever}, {"leak", leak},
	{"abort", call_abort}, {"exit", call_exit}, {"_exit", call__exit}, {"segv", raise_segv},
	{"null", read_null}, {"fpe", divide_by_zero}, {"overflow", overrun_stack},
	{"fork-return", fork_return}, {"raw-fork-return", raw_fork_return},
	{"fork-exec", fork_exec}, {"fork-exit", fork_exit},
	{"fork-exit-handlers", fork_exit_handlers}, {"fork-daemon", fork_daemon},
	{"system", run_system}, {"popen", run_popen}, {"posix-spawn", run_posix_spawn},
	{"close-all", close_all}, {"close-range", close_a_range}, {"close-one", close_one},
	{"dup-over", dup_over}, {"replace-all", replace_all},
	{"twice", answer_twice}, {"again-later", answer_again_later}, {"never", never},
	{"code", return_code}, {"never-cancel", never_with_cancel},
	{"never-thread", never_with_thread}, {"fill-too-much", respond_too_much},
	{"write-too-much", write_too_much}, {"stream-twice", end_stream_twice},
	{"begin-and-return", begin_and_return}, {"wrong-calls", call_wrongly},
	{"signals", spoil_signals}, {"alarm", set_alarm}, {"limits", lower_limits},
	{"scribble", scribble_on_segment},
};

static int handler(struct capri_request *r, void *arg)
{
	struct capri_str name = capri_param(r, "name");

	for (size_t i = 0; i < sizeof(misdeeds) / sizeof(misdeeds[0]); i++) {
		int rc;

		if (strlen(misdeeds[i].name) != name.len ||
		    memcmp(misdeeds[i].name, name.p, name.len) != 0)
			continue;
		rc = misdeeds[i].fn(r);
		if (rc == GO_ON)
			return capri_respond_text(r, 200, "survived");
		if (rc == ANSWERED)
			return CAPRI_DONE;
		return rc != NO_ANSWER || !arg ? rc - NO_ANSWER : CAPRI_PENDING;
	}
	return CAPRI_DECLINED;
}

static int echo(struct capri_request *r, void *arg)
{
	struct capri_str text = capri_param(r, "text");

	(void)arg;
	return capri_respond(r, 200, "text/plain", text.p, text.len);
}

/* module: {start: fork-return}, {start: fork-daemon, pids: FILE}, which gets a line for each. */
static int begin(struct capri_worker *w)
{
	struct capri_str deed = capri_setting(w, "start");

	if (deed.p && strcmp(deed.p, "fork-return") == 0)
		(void)!fork();
	if (deed.p && strcmp(deed.p, "fork-daemon") == 0) {
		struct capri_str path = capri_setting(w, "pids");
		FILE *pids = path.p ? fopen(path.p, "ae") : NULL;
		pid_t pid = pids ? fork() : -1;

		if (pid == 0) {
			setsid();
			for (;;)
				sleep(60);
		}
		if (pid < 0 || fprintf(pids, "%d\n", (int)pid) < 0 || fclose(pids) != 0)
			return -1;
	}
	start_timer = capri_timer_new(w, on_time, NULL);
	cancels = capri_counter(w, "bad_cancels", NULL, "Calls of the cancel call-back");
	return start_timer && cancels ? 0 : -1;
}

static const struct capri_route routes[] = {
	{"*", "/inline/echo/{text}", echo, NULL, CAPRI_INLINE, .name = "echo"},
	{"*", "/pool/echo/{text}", echo, NULL, CAPRI_POOL, .name = "pool echo"},
	{"*", "/inline/{name}", handler, NULL, CAPRI_INLINE, .name = "bad inline"},
	{"*", "/pool/{name}", handler, NULL, CAPRI_POOL, .name = "bad pool"},
	{"*", "/async/{name}", handler, "async", CAPRI_ASYNC, .name = "bad async"},
	{0},
};

const struct capri_app capricorn_app = {CAPRI_APP_INIT, .name = "bad", .routes = routes,
					.start = begin};
