/* SPDX-License-Identifier: MIT */
/*
 * Runs in the copy, between fork() and its return to user code; other threads do not exist in it.
 * The segment is not mapped there at all (MADV_DONTFORK), for ways to fork that come not by here;
 * a private piece of zeros takes its place, so that what user code calls of ours (a log line, say)
 * goes nowhere instead of crashing.
 */
#include "worker/copy.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "base/copy.h"
#include "base/log.h"
#include "shm/dump.h"

static struct {
	const struct heritage *h;
	struct loop *loop;
	struct serve *serve;
	int term_fd;
} own;

static void shut(int fd)
{
	if (fd >= 0)
		close(fd);
}

static void on_copy(void)
{
	const struct heritage *h = own.h;

	if (!h)
		return;
	copy_set();
	own.h = NULL;
	dump_close();
	check_set_sink(NULL);
	log_set_sink(NULL, NULL);
	(void)signal(SIGTERM, SIG_DFL);
	(void)mmap(h->shm->base, h->shm->size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
	serve_abandon(own.serve);
	loop_abandon(own.loop);
	for (uint32_t i = 0; i < h->nlisteners; i++)
		shut(h->listeners[i].fd);
	for (uint32_t i = 0; i < h->shm->geo.slots; i++)
		shut(h->slot_efd[i]);
	shut(h->master_efd);
	shut(h->lifeline_fd);
	shut(h->control_fd);
	shut(own.term_fd);
}

void copy_guard(const struct heritage *h, struct loop *l, struct serve *s, int term_fd)
{
	static bool registered;

	copy_watch();
	own.h = h;
	own.loop = l;
	own.serve = s;
	own.term_fd = term_fd;
	if (madvise(h->shm->base, h->shm->size, MADV_DONTFORK) != 0)
		log_warn("a process forked by the app will see the segment");
	if (!registered && pthread_atfork(NULL, NULL, on_copy) != 0)
		log_warnx("no memory to guard against forks");
	registered = true;
}

void copy_guard_end(void)
{
	own.h = NULL;
}
