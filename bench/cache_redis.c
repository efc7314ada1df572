/* SPDX-License-Identifier: MIT */
/*
 * A look-up of a key of 40 bytes with a value of 1 KiB in the store of the cache, beside GET of a
 * Redis on the same machine: one client, one connection, over a socket of Unix and over TCP of
 * the loopback, one command at a time; and 16 at a time, to be fair. All ways in turn in each
 * round, and the medians over the rounds: time for a look-up, CPU time of client and server
 * together, and how many times that of the store with the value copied out, which GET does, too.
 *
 * The server is a process of its own without persistence, in a directory that is removed at the
 * end. Both are on CPU 0, so that no look-up has to wake another CPU, which costs more than it
 * saves on many machines; an argument is another CPU for the server.
 */
#if !__has_include(<hiredis/hiredis.h>)
#error "bench/cache_redis needs libhiredis-dev (and redis-server, when it runs)"
#else
#include <arpa/inet.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "shm/cache.h"
#include "shm/shm_priv.h"

#define ROUNDS 11
#define KEYS   40000u
#define KEY    40
#define VALUE  1024
#define MEMORY (64u << 20)
#define NEVER  (1ULL << 60)
#define BATCH  16u
#define SLOT   1u

static struct shm seg;
static char keys[KEYS][KEY], value[VALUE], copy[VALUE];
static uint64_t found;

static struct { pid_t pid; clockid_t cpu; int port; char dir[32]; } server;
static redisContext *by_unix, *by_tcp;

static void stop(void)
{
	char path[64];

	if (server.pid > 0) {
		kill(server.pid, SIGTERM);
		(void)waitpid(server.pid, NULL, 0);
	}
	server.pid = 0;
	if (!server.dir[0])
		return;
	snprintf(path, sizeof(path), "%s/log", server.dir);
	(void)unlink(path);
	snprintf(path, sizeof(path), "%s/socket", server.dir);
	(void)unlink(path);
	(void)rmdir(server.dir);
}

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "cache_redis: %s\n", what);
	exit(1);
}

static void pin_to(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	(void)sched_setaffinity(0, sizeof(set), &set);
}

/* ---- the store ---- */

static struct slice key_of(uint32_t i) { return (struct slice){keys[i], KEY}; }

static void fill_store(void)
{
	shm_geometry_for(&seg.geo, 4, 100, 64, 0, 0);
	if (!shm_cache_geometry(&seg.geo, MEMORY))
		die("no geometry");
	seg.size = shm_size_for(&seg.geo);
	seg.base = mmap(NULL, seg.size, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	seg.claimed = calloc(seg.geo.slots, sizeof(*seg.claimed));
	if (seg.base == MAP_FAILED || !seg.claimed)
		die("no memory");
	shm_place(&seg);
	shm_format(&seg);
	for (uint32_t i = 0; i < KEYS; i++) {
		struct slice piece = {value, VALUE};
		struct shm_cache_put p = {
			.hash = shm_cache_hash(&seg, key_of(i)), .key = key_of(i),
			.value = &piece, .nvalue = 1, .fresh_ns = NEVER, .stale_ns = NEVER,
			.birth = shm_cache_birth(&seg),
		};

		if (shm_cache_put(&seg, SLOT, &p, 1) != 0)
			die("a value was not kept");
	}
}

/* As a worker does it: hash, look-up, pin; the value is read where it is, or copied. */
static void look_up(uint32_t i, bool copies)
{
	struct shm_cache_ref ref;
	size_t at = 0;

	if (shm_cache_get(&seg, SLOT, shm_cache_hash(&seg, key_of(i)), key_of(i), true, 1, &ref) !=
	    SHM_CACHE_HIT)
		return;
	for (uint32_t k = 0; copies && k < ref.npieces; k++) {
		struct slice part = shm_cache_piece(&seg, &ref, k);

		memcpy(copy + at, part.p, part.len);
		at += part.len;
	}
	__asm__ volatile("" ::"r"(copy) : "memory"); /* it is made, though nobody looks at it */
	found += ref.value_len == VALUE;
	shm_cache_unpin(&seg, SLOT, &ref);
}

static void in_place(uint32_t i) { look_up(i, false); }
static void copied(uint32_t i) { look_up(i, true); }

/* ---- Redis ---- */

static int free_port(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, len) != 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &len) != 0)
		die("no port");
	close(fd);
	return ntohs(a.sin_port);
}

static void start_server(int on)
{
	char port[8];

	strcpy(server.dir, "/tmp/cache_redis.XXXXXX");
	if (!mkdtemp(server.dir))
		die("no directory");
	server.port = free_port();
	snprintf(port, sizeof(port), "%d", server.port);
	server.pid = fork();
	if (server.pid < 0)
		die("fork failed");
	if (server.pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
		pin_to(on);
		if (chdir(server.dir) == 0)
			execlp("redis-server", "redis-server", "--port", port, "--bind", "127.0.0.1",
			       "--unixsocket", "socket", "--save", "", "--appendonly", "no",
			       "--daemonize", "no", "--logfile", "log", (char *)NULL);
		fprintf(stderr, "cache_redis: install redis-server\n");
		_exit(127);
	}
	if (clock_getcpuclockid(server.pid, &server.cpu) != 0)
		die("no CPU clock");
}

static void connect_both(void)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/socket", server.dir);
	for (int tries = 0; tries < 100; tries++) {
		by_unix = redisConnectUnix(path);
		by_tcp = redisConnect("127.0.0.1", server.port);
		if (by_unix && !by_unix->err && by_tcp && !by_tcp->err)
			return;
		if (by_unix)
			redisFree(by_unix);
		if (by_tcp)
			redisFree(by_tcp);
		if (waitpid(server.pid, NULL, WNOHANG) == server.pid) {
			server.pid = 0;
			die("the server has ended");
		}
		nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
	}
	die("the server does not answer");
}

static void fill_server(void)
{
	for (uint32_t i = 0; i < KEYS; i++) {
		redisReply *r = redisCommand(by_unix, "SET %b %b", keys[i], (size_t)KEY, value,
					     (size_t)VALUE);

		if (!r || r->type != REDIS_REPLY_STATUS)
			die("SET failed");
		freeReplyObject(r);
	}
}

static void ask(redisContext *c, uint32_t i)
{
	const char *argv[] = {"GET", keys[i]};
	const size_t lengths[] = {3, KEY};

	if (redisAppendCommandArgv(c, 2, argv, lengths) != REDIS_OK)
		die("no memory");
}

static void take(redisContext *c)
{
	void *reply;
	redisReply *r;

	if (redisGetReply(c, &reply) != REDIS_OK)
		die("no reply");
	r = reply;
	found += r->type == REDIS_REPLY_STRING && r->len == VALUE;
	freeReplyObject(r);
}

static void get(redisContext *c, uint32_t i)
{
	ask(c, i);
	take(c);
}

static void over_unix(uint32_t i) { get(by_unix, i); }
static void over_tcp(uint32_t i) { get(by_tcp, i); }

/* The first of them asks for all. */
static void batch(redisContext *c, uint32_t i)
{
	static uint32_t waiting;

	ask(c, i);
	if (++waiting < BATCH)
		return;
	while (waiting > 0) {
		take(c);
		waiting--;
	}
}

static void batch_unix(uint32_t i) { batch(by_unix, i); }

/* ---- measuring ---- */

static const struct way {
	const char *name;
	void (*look)(uint32_t i);
	uint32_t n; /* a multiple of BATCH */
} ways[] = {
	{"the store, read in place", in_place, 320000},
	{"the store, copied out", copied, 320000},
	{"GET over a socket of Unix", over_unix, 16000},
	{"GET over TCP of the loopback", over_tcp, 16000},
	{"GET over a socket of Unix, 16 at a time", batch_unix, 64000},
};
#define WAYS (sizeof(ways) / sizeof(ways[0]))
#define BASE 1 /* what the others are compared with */

static uint64_t clock_ns(clockid_t id)
{
	struct timespec t;

	if (clock_gettime(id, &t) != 0)
		die("a clock cannot be read");
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static uint64_t cpu_ns(void) { return clock_ns(CLOCK_PROCESS_CPUTIME_ID) + clock_ns(server.cpu); }

static void measure(const struct way *w, double *ret_ns, double *ret_cpu)
{
	uint64_t cpu = cpu_ns(), start = clock_mono_ns();

	found = 0;
	for (uint32_t i = 0; i < w->n; i++)
		w->look((uint32_t)((uint64_t)i * 2654435761u % KEYS));
	*ret_ns = (double)(clock_mono_ns() - start) / w->n;
	*ret_cpu = (double)(cpu_ns() - cpu) / w->n;
	if (found != w->n)
		die("a look-up has found nothing");
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v)
{
	qsort(v, ROUNDS, sizeof(*v), compare);
	return v[ROUNDS / 2];
}

int main(int argc, char **argv)
{
	static double ns[WAYS][ROUNDS], cpu[WAYS][ROUNDS];
	static double slower[WAYS][ROUNDS], dearer[WAYS][ROUNDS]; /* within a round */

	for (uint32_t i = 0; i < KEYS; i++)
		snprintf(keys[i], KEY, "GET localhost /api/v1/items/%010u", i);
	(void)atexit(stop);
	start_server(argc > 1 ? atoi(argv[1]) : 0);
	connect_both();
	pin_to(0);
	fill_store();
	fill_server();
	for (int round = -1; round < ROUNDS; round++) { /* the first one is not counted */
		int r = round < 0 ? 0 : round;

		for (size_t w = 0; w < WAYS; w++)
			measure(&ways[w], &ns[w][r], &cpu[w][r]);
		for (size_t w = 0; w < WAYS; w++) {
			slower[w][r] = ns[w][r] / ns[BASE][r];
			dearer[w][r] = cpu[w][r] / cpu[BASE][r];
		}
	}
	printf("%u keys of %d bytes, values of %d bytes, %d rounds\n\n", KEYS, KEY, VALUE, ROUNDS);
	printf("| look-up | ns | ratio | CPU ns, client and server | ratio |\n"
	       "| --- | --- | --- | --- | --- |\n");
	for (size_t w = 0; w < WAYS; w++)
		printf("| %s | %.0f | %.3g | %.0f | %.3g |\n", ways[w].name, median(ns[w]),
		       median(slower[w]), median(cpu[w]), median(dearer[w]));
	return 0;
}
#endif
