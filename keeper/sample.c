/* SPDX-License-Identifier: MIT */
#include "keeper/sample.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

struct last {
	uint32_t incarnation;
	uint64_t cpu_ns, at_ns;
};

struct sample {
	const struct heritage *h;
	uint64_t tick_ns, page_bytes;
	struct last last[];      /* one per slot */
};

int sample_new(const struct heritage *h, struct sample **ret_sample)
{
	struct sample *s = calloc(1, sizeof(*s) + h->shm->geo.slots * sizeof(s->last[0]));
	long ticks = sysconf(_SC_CLK_TCK), page = sysconf(_SC_PAGESIZE);

	if (!s)
		return -ENOMEM;
	s->h = h;
	s->tick_ns = NS_PER_S / (uint64_t)(ticks > 0 ? ticks : 100);
	s->page_bytes = page > 0 ? (uint64_t)page : 4096;
	*ret_sample = s;
	return 0;
}

void sample_free(struct sample *s)
{
	free(s);
}

/* A small file of /proc, whole: made by the kernel in one read. */
static bool read_proc(pid_t pid, const char *name, char *out, size_t cap)
{
	char path[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, out, cap - 1);
	close(fd);
	if (n <= 0)
		return false;
	out[n] = '\0';
	return true;
}

bool sample_parse_stat(const char *text, char *ret_state, uint64_t *ret_ticks)
{
	const char *p = strrchr(text, ')');
	unsigned long long user, system;
	char state;

	if (!p)
		return false;
	/* After the name: state, 10 numbers that are not for us, then utime and stime (proc(5)). */
	if (sscanf(p + 1, " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu %llu", &state, &user,
		   &system) != 3)
		return false;
	*ret_state = state;
	*ret_ticks = user + system;
	return true;
}

static void sample_cpu(struct sample *s, uint32_t i, uint64_t cpu_ns, uint64_t now_ns)
{
	struct shm_slot *slot = shm_slot(s->h->shm, i);
	uint32_t incarnation = shm_get(&slot->incarnation);
	struct last *last = &s->last[i];
	uint64_t ppm = 0;

	if (last->incarnation == incarnation && now_ns > last->at_ns && cpu_ns >= last->cpu_ns)
		ppm = (uint64_t)((double)(cpu_ns - last->cpu_ns) * 1e6 /
				 (double)(now_ns - last->at_ns));
	*last = (struct last){incarnation, cpu_ns, now_ns};
	shm_set(&slot->cpu_ns, cpu_ns);
	shm_set(&slot->busy_ppm, ppm);
}

bool sample_parse_private(const char *text, uint64_t *ret_bytes)
{
	const char *p = strstr(text, "\nRssAnon:");
	unsigned long long kb;

	if (!p || sscanf(p, "\nRssAnon: %llu kB", &kb) != 1)
		return false;
	*ret_bytes = kb * 1024;
	return true;
}

static void sample_one(struct sample *s, uint32_t i, pid_t pid, uint64_t now_ns)
{
	struct shm_slot *slot = shm_slot(s->h->shm, i);
	unsigned long long resident;
	char text[4096], state;
	uint64_t ticks, private;

	if (read_proc(pid, "statm", text, sizeof(text)) &&
	    sscanf(text, "%*s %llu", &resident) == 1)
		shm_set(&slot->rss_bytes, resident * s->page_bytes);
	if (read_proc(pid, "stat", text, sizeof(text)) && sample_parse_stat(text, &state, &ticks))
		sample_cpu(s, i, ticks * s->tick_ns, now_ns);
	if (read_proc(pid, "status", text, sizeof(text)) && sample_parse_private(text, &private)) {
		shm_set(&slot->private_bytes, private);
		atomic_store_explicit(&slot->samples, shm_get(&slot->samples) + 1,
				      memory_order_release);
	}
}

/* The pid of the process that has the slot; 0 = none. */
static pid_t slot_pid(const struct shm *shm, uint32_t i)
{
	const struct shm_slot *slot = shm_slot(shm, i);
	pid_t pid = shm_get(&slot->pid);

	if (atomic_load_explicit(&slot->kind, memory_order_acquire) == SHM_FREE)
		return 0;
	return pid > 0 ? pid : 0;
}

void sample_all(struct sample *s, uint64_t now_ns)
{
	for (uint32_t i = 0; i < s->h->shm->geo.slots; i++) {
		pid_t pid = slot_pid(s->h->shm, i);

		if (pid > 0)
			sample_one(s, i, pid, now_ns);
	}
}

bool sample_others_live(const struct heritage *h)
{
	char text[1024], state;
	uint64_t ticks;

	for (uint32_t i = 0; i < h->shm->geo.slots; i++) {
		pid_t pid = slot_pid(h->shm, i);

		if (pid <= 0 || pid == getpid())
			continue;
		if (!read_proc(pid, "stat", text, sizeof(text)))
			continue;
		if (!sample_parse_stat(text, &state, &ticks) || (state != 'Z' && state != 'X'))
			return true;
	}
	return false;
}
