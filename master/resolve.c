/* SPDX-License-Identifier: MIT */
/*
 * From addresses to names. Runs in the reporter, a short-lived child of the master: files of a slow
 * disk or a damaged symbol table cost its time, not the master's. It has the rights of a worker,
 * since what says which files to read comes from one.
 */
#include "master/master_priv.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/elf.h"
#include "base/strbuf.h"

/* The file that an object was loaded from, if it still is that file; else -1. */
static int open_object(const struct dump_object *o)
{
	struct stat st;
	int fd;

	if (o->path[0] != '/')
		return -1;
	fd = open(o->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return -1;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_dev == o->dev &&
	    st.st_ino == o->ino)
		return fd;
	close(fd);
	return -1;
}

static const struct dump_object *object_of(const struct dump_object *list, uint32_t n, uint64_t pc)
{
	for (uint32_t i = 0; i < n; i++)
		if (pc >= list[i].start && pc < list[i].end)
			return &list[i];
	return NULL;
}

/* All frames of one object are looked up in one pass over its symbols. */
static void resolve_object(const struct dump_object *o, const struct dump_object *const *of,
			   struct elf_query *q, uint32_t n)
{
	struct elf_query mine[SHM_FRAMES];
	uint32_t which[SHM_FRAMES], count = 0;
	int fd = open_object(o);

	if (fd < 0)
		return;
	for (uint32_t i = 0; i < n; i++) {
		if (of[i] != o)
			continue;
		mine[count] = q[i];
		which[count++] = i;
	}
	(void)elf_resolve(elf_read_fd, &fd, mine, count);
	for (uint32_t k = 0; k < count; k++)
		q[which[k]] = mine[k];
	close(fd);
}

static void put_frame(struct strbuf *out, uint32_t i, uint64_t pc, const struct dump_object *o,
		      const struct elf_query *q)
{
	/* The return address is behind the call, which may have been the last of its function. */
	uint64_t back = i > 0;
	char label[sizeof(o->label)] = "?";

	if (o)
		snprintf(label, sizeof(label), "%s", o->label);
	master_clean_text(label);
	if (o && q->name[0])
		strbuf_printf(out, "#%u %s+0x%" PRIx64 " (%s)\n", i, q->name, q->offset + back,
			      label);
	else if (o)
		strbuf_printf(out, "#%u 0x%" PRIx64 " (%s+0x%" PRIx64 ")\n", i, pc, label,
			      pc - o->bias);
	else
		strbuf_printf(out, "#%u 0x%" PRIx64 "\n", i, pc);
}

void master_resolve(const struct dump_stack *s, const struct dump_object *list, uint32_t nlist,
		    struct strbuf *out)
{
	const struct dump_object *of[SHM_FRAMES];
	struct dump_object own[SHM_OBJECTS];
	struct elf_query q[SHM_FRAMES] = {0};
	/* A worker is a fork of us: what it has not told of lies where we have it. */
	uint32_t nown = dump_own_objects(own), n = s->n < SHM_FRAMES ? s->n : SHM_FRAMES;

	for (uint32_t i = 0; i < n; i++) {
		of[i] = object_of(list, nlist, s->pc[i]);
		if (!of[i])
			of[i] = object_of(own, nown, s->pc[i]);
		if (of[i])
			q[i].addr = s->pc[i] - of[i]->bias - (i > 0);
	}
	for (uint32_t i = 0; i < nlist; i++)
		resolve_object(&list[i], of, q, n);
	for (uint32_t i = 0; i < nown; i++)
		resolve_object(&own[i], of, q, n);
	for (uint32_t i = 0; i < n; i++) {
		put_frame(out, i, s->pc[i], of[i], &q[i]);
		/* Below lies how the master came to fork it. */
		if (strcmp(q[i].name, "worker_main") == 0 || strcmp(q[i].name, "keeper_main") == 0)
			break;
	}
}
