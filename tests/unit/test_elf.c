/* SPDX-License-Identifier: MIT */
/* Names of functions, of this very program, of libraries, and of files that are damaged. */
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/elf.h"

__attribute__((noinline)) static int some_static_function(int x)
{
	__asm__ volatile("");
	return x + 1;
}

static uint64_t bias_of(const void *p)
{
	struct link_map *map = NULL;
	Dl_info info;

	assert_int_not_equal(dladdr1(p, &info, (void **)&map, RTLD_DL_LINKMAP), 0);
	return map->l_addr;
}

static void test_own_functions(void **state)
{
	uint64_t at = (uint64_t)(uintptr_t)some_static_function;
	uint64_t bias = bias_of((void *)(uintptr_t)some_static_function);
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct elf_query q[3] = {
		{.addr = at - bias + 2},
		{.addr = (uint64_t)(uintptr_t)elf_resolve - bias},
		{.addr = 3}, /* the header: no function */
	};

	(void)state;
	assert_int_equal(some_static_function(1), 2);
	assert_true(fd >= 0);
	assert_int_equal(elf_resolve(elf_read_fd, &fd, q, 3), 2);
	assert_string_equal(q[0].name, "some_static_function");
	assert_int_equal(q[0].offset, 2);
	assert_string_equal(q[1].name, "elf_resolve");
	assert_int_equal(q[1].offset, 0);
	assert_string_equal(q[2].name, "");
	close(fd);
}

/* Stripped, as libraries of a distribution are: .dynsym. */
static void test_library(void **state)
{
	void *at = dlsym(RTLD_NEXT, "strtol");
	struct elf_query q;
	Dl_info info;
	int fd;

	(void)state;
	assert_non_null(at);
	assert_int_not_equal(dladdr(at, &info), 0);
	fd = open(info.dli_fname, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	q.addr = (uint64_t)(uintptr_t)at + 1 - bias_of(at);
	assert_int_equal(elf_resolve(elf_read_fd, &fd, &q, 1), 1);
	assert_non_null(strstr(q.name, "strtol"));
	assert_int_equal(q.offset, 1);
	close(fd);
}

struct image {
	unsigned char *p;
	size_t len;
};

static bool read_image(void *arg, uint64_t offset, void *buf, size_t len)
{
	const struct image *im = arg;

	if (offset > im->len || len > im->len - offset)
		return false;
	memcpy(buf, im->p + offset, len);
	return true;
}

/* One symbol table made by hand: sizes, ties and bounds. */
static void make(struct image *im)
{
	static const char names[] = "\0outer\0inner\0label\0bad\x01name";
	static const Elf64_Sym syms[] = {
		{0},
		{.st_name = 1, .st_info = STT_FUNC, .st_shndx = 1, .st_value = 100, .st_size = 100},
		{.st_name = 7, .st_info = STT_FUNC, .st_shndx = 1, .st_value = 120, .st_size = 10},
		{.st_name = 13, .st_info = STT_NOTYPE, .st_shndx = 1, .st_value = 125},
		{.st_name = 19, .st_info = STT_FUNC, .st_shndx = 1, .st_value = 500, .st_size = 1},
		{.st_name = 9999, .st_info = STT_FUNC, .st_shndx = 1, .st_value = 600,
		 .st_size = 1},
		{.st_name = 1, .st_info = STT_OBJECT, .st_shndx = 1, .st_value = 700, .st_size = 9},
		{.st_name = 1, .st_info = STT_FUNC, .st_shndx = SHN_UNDEF, .st_value = 800,
		 .st_size = 9},
	};
	Elf64_Ehdr e = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB},
			.e_shoff = sizeof(e), .e_shentsize = sizeof(Elf64_Shdr), .e_shnum = 2};
	Elf64_Shdr s[2] = {
		{.sh_type = SHT_SYMTAB, .sh_link = 1, .sh_entsize = sizeof(syms[0]),
		 .sh_offset = sizeof(e) + sizeof(s), .sh_size = sizeof(syms)},
		{.sh_type = SHT_STRTAB, .sh_offset = sizeof(e) + sizeof(s) + sizeof(syms),
		 .sh_size = sizeof(names)},
	};

	im->len = sizeof(e) + sizeof(s) + sizeof(syms) + sizeof(names);
	im->p = malloc(im->len);
	assert_non_null(im->p);
	memcpy(im->p, &e, sizeof(e));
	memcpy(im->p + sizeof(e), s, sizeof(s));
	memcpy(im->p + sizeof(e) + sizeof(s), syms, sizeof(syms));
	memcpy(im->p + sizeof(e) + sizeof(s) + sizeof(syms), names, sizeof(names));
}

static void test_choice(void **state)
{
	static const struct { uint64_t addr, offset; const char *name; } rows[] = {
		{99, 0, ""}, {100, 0, "outer"}, {119, 19, "outer"}, {120, 0, "inner"},
		{126, 6, "inner"}, /* what has a size goes before a label */
		{131, 31, "outer"}, {199, 99, "outer"},
		{200, 75, "label"}, {500, 0, "bad?name"}, {600, 475, ""}, {100000, 0, ""},
	};
	struct image im;

	(void)state;
	make(&im);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct elf_query q = {.addr = rows[i].addr};

		assert_true(elf_resolve(read_image, &im, &q, 1) >= 0);
		assert_string_equal(q.name, rows[i].name);
		if (q.name[0])
			assert_int_equal(q.offset, rows[i].offset);
	}
	free(im.p);
}

/* Cut at each length, and with each byte changed: never more than no name. */
static void test_damage(void **state)
{
	struct elf_query q[2] = {{.addr = 126}, {.addr = 500}};
	struct image im, cut;

	(void)state;
	make(&im);
	for (size_t len = 0; len < im.len; len++) {
		cut = (struct image){malloc(len + 1), len};
		assert_non_null(cut.p);
		memcpy(cut.p, im.p, len);
		(void)elf_resolve(read_image, &cut, q, 2);
		free(cut.p);
	}
	for (size_t i = 0; i < im.len; i++) {
		for (int k = 0; k < 8; k++) {
			im.p[i] ^= (unsigned char)(1 << k);
			(void)elf_resolve(read_image, &im, q, 2);
			im.p[i] ^= (unsigned char)(1 << k);
		}
	}
	im.p[0] = 0;
	assert_int_equal(elf_resolve(read_image, &im, q, 2), -1);
	free(im.p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_own_functions),
		cmocka_unit_test(test_library),
		cmocka_unit_test(test_choice),
		cmocka_unit_test(test_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
