/* SPDX-License-Identifier: MIT */
/* Stacks as lines: names, a module in a sealed memfd, files that changed, addresses of nowhere. */
#include <dlfcn.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include "base/strbuf.h"
#include "master/master_priv.h"
#include "tests/unit/shm_help.h"

static struct shm seg;
static struct dump_object list[SHM_OBJECTS];

__attribute__((noinline)) static void function_here(void)
{
	__asm__ volatile("nop; nop; nop; nop");
}

/* A copy of a library in memory, as a module is. Returns what dlopen() gave. */
static void *open_copy(int *ret_fd)
{
	int from, fd = memfd_create("app.so", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct stat st;
	char path[64];
	Dl_info info;
	void *z = dlopen("libz.so.1", RTLD_NOW), *copy;

	assert_non_null(z);
	assert_int_not_equal(dladdr(dlsym(z, "crc32"), &info), 0);
	from = open(info.dli_fname, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0 && from >= 0 && fstat(from, &st) == 0);
	for (off_t left = st.st_size; left > 0;) {
		ssize_t n = sendfile(fd, from, NULL, (size_t)left);

		assert_true(n > 0);
		left -= n;
	}
	close(from);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	copy = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	assert_non_null(copy);
	assert_ptr_not_equal(dlsym(copy, "crc32"), dlsym(z, "crc32"));
	dlclose(z);
	*ret_fd = fd;
	return copy;
}

static char *lines_of(const struct dump_stack *s, uint32_t n)
{
	struct strbuf text;

	strbuf_init(&text);
	master_resolve(s, list, n, &text);
	return strbuf_take(&text);
}

static void test_names(void **state)
{
	uint64_t at = (uint64_t)(uintptr_t)function_here;
	struct dump_stack s = {.n = 4, .pc = {at + 2, at + 1, 0, 16}};
	char *text = lines_of(&s, dump_read_objects(&seg, 1, list));

	(void)state;
	function_here();
	assert_string_equal(text, "#0 function_here+0x2 (test_master_resolve)\n"
				  "#1 function_here+0x1 (test_master_resolve)\n"
				  "#2 0x0\n#3 0x10\n");
	free(text);
	/* What has not been published lies where this process has it. */
	text = lines_of(&s, 0);
	assert_non_null(strstr(text, "#0 function_here+0x2 (test_master_resolve)\n"));
	free(text);
}

static void test_module_in_memory(void **state)
{
	int fd;
	void *copy = open_copy(&fd);
	uint64_t at = (uint64_t)(uintptr_t)dlsym(copy, "crc32");
	struct dump_stack s = {.n = 1, .pc = {at}};
	uint32_t n;
	char *text;

	(void)state;
	dump_objects();
	n = dump_read_objects(&seg, 1, list);
	text = lines_of(&s, n);
	assert_string_equal(text, "#0 crc32+0x0 (app.so)\n");
	free(text);
	/* Another file has the number: no names from there. */
	for (uint32_t i = 0; i < n; i++)
		list[i].ino++;
	text = lines_of(&s, n);
	assert_non_null(strstr(text, " (app.so+0x"));
	free(text);
	dlclose(copy);
	close(fd);
}

/* What a worker gone mad may have published. */
static void test_odd_objects(void **state)
{
	uint64_t at = (uint64_t)(uintptr_t)function_here;
	struct dump_stack s = {.n = SHM_FRAMES};
	uint64_t seed = 40;
	char fifo[] = "/tmp/capricorn-test-fifo-XXXXXX";

	(void)state;
	assert_int_equal(close(mkstemp(fifo)), 0);
	unlink(fifo);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	for (int i = 0; i < 200; i++) {
		char *text;

		fill_random(list, sizeof(list), &seed);
		for (uint32_t k = 0; k < SHM_OBJECTS; k++) {
			list[k].label[32] = list[k].path[96] = '\0';
			if (k % 2) {
				list[k].start = 0;
				list[k].end = UINT64_MAX;
				snprintf(list[k].path, sizeof(list[k].path), "%s",
					 k % 4 == 1 ? fifo : "/proc/self/mem");
			}
		}
		for (uint32_t k = 0; k < SHM_FRAMES; k++)
			s.pc[k] = k % 2 ? at : rnd(&seed);
		text = lines_of(&s, SHM_OBJECTS);
		for (const char *p = text; *p; p++)
			assert_true(*p == '\n' || (*p >= 0x20 && *p < 0x7f));
		free(text);
	}
	unlink(fifo);
}

static int setup(void **state)
{
	(void)state;
	fake_init(&seg, &small_geo);
	return dump_open(&seg, 1, -1);
}

static int teardown(void **state)
{
	(void)state;
	dump_close();
	dump_thread_fini();
	fake_fini(&seg);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_module_in_memory),
		cmocka_unit_test(test_odd_objects),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
