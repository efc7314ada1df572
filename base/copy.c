/* SPDX-License-Identifier: MIT */
#include "base/copy.h"

#include <sys/mman.h>
#include <unistd.h>

#define COPY_EXIT 70 /* EX_SOFTWARE of sysexits.h */

static unsigned char here = 1;
static unsigned char *mark = &here;
const volatile unsigned char *copy_mark = &here;

void copy_watch(void)
{
	long size = sysconf(_SC_PAGESIZE);
	unsigned char *page;

	if (mark != &here)
		return;
	page = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return;
	*page = 1;
	if (madvise(page, (size_t)size, MADV_WIPEONFORK) != 0) { /* a kernel before 4.14 */
		munmap(page, (size_t)size);
		return;
	}
	copy_mark = mark = page;
}

void copy_set(void)
{
	*mark = 0;
}

void copy_end(void)
{
	static const char text[] =
		"a process forked by the app came back into the server's code: it ends; "
		"a handler that forks has to end its child, by exec or _exit().\n";

	(void)!write(STDERR_FILENO, text, sizeof(text) - 1); /* nobody else is there to tell */
	_exit(COPY_EXIT);
}
