/* SPDX-License-Identifier: MIT */
/*
 * One pass over the symbol table for all addresses that are asked for, through a window on the
 * stack: the file is neither mapped (it may be truncated meanwhile) nor read as a whole.
 */
#include "base/elf.h"

#include <elf.h>
#include <string.h>
#include <unistd.h>

#define SECTIONS_MAX 65536u
#define SYMBOLS_MAX  (4u << 20)
#define WINDOW       128u      /* symbols read at once */
#define QUERIES_MAX  64u
#define UNSIZED_MAX  65536u    /* farther behind a symbol without a size it is another function */

struct best {
	uint64_t value;
	uint32_t name;
	bool found, sized;
};

struct table {
	uint64_t offset, count;            /* of the symbols */
	uint64_t names_offset, names_size;
};

bool elf_read_fd(void *arg, uint64_t offset, void *buf, size_t len)
{
	const int *fd = arg;

	return offset <= INT64_MAX && pread(*fd, buf, len, (off_t)offset) == (ssize_t)len;
}

static bool read_section(elf_read_f *read, void *arg, const Elf64_Ehdr *e, uint32_t i,
			 Elf64_Shdr *ret)
{
	uint64_t offset = e->e_shoff + (uint64_t)i * sizeof(*ret);

	return offset >= e->e_shoff && read(arg, offset, ret, sizeof(*ret));
}

static bool is_elf(const Elf64_Ehdr *e)
{
	return memcmp(e->e_ident, ELFMAG, SELFMAG) == 0 && e->e_ident[EI_CLASS] == ELFCLASS64 &&
	       e->e_ident[EI_DATA] == ELFDATA2LSB && e->e_shentsize == sizeof(Elf64_Shdr) &&
	       e->e_shoff != 0;
}

/* .symtab has static functions too; a file that was stripped has .dynsym alone. */
static bool find_table(elf_read_f *read, void *arg, struct table *ret)
{
	Elf64_Shdr s, symbols = {.sh_type = SHT_NULL}, names;
	Elf64_Ehdr e;
	uint32_t n;

	if (!read(arg, 0, &e, sizeof(e)) || !is_elf(&e))
		return false;
	n = e.e_shnum;
	if (n == 0 && read_section(read, arg, &e, 0, &s)) /* more than fit into the field */
		n = s.sh_size < SECTIONS_MAX ? (uint32_t)s.sh_size : SECTIONS_MAX;
	for (uint32_t i = 0; i < n && symbols.sh_type != SHT_SYMTAB; i++) {
		if (!read_section(read, arg, &e, i, &s))
			return false;
		if ((s.sh_type == SHT_SYMTAB || s.sh_type == SHT_DYNSYM) &&
		    s.sh_entsize == sizeof(Elf64_Sym))
			symbols = s;
	}
	if (symbols.sh_type == SHT_NULL || symbols.sh_link >= n ||
	    !read_section(read, arg, &e, symbols.sh_link, &names) || names.sh_type != SHT_STRTAB)
		return false;
	*ret = (struct table){
		.offset = symbols.sh_offset,
		.count = symbols.sh_size / sizeof(Elf64_Sym),
		.names_offset = names.sh_offset,
		.names_size = names.sh_size,
	};
	if (ret->count > SYMBOLS_MAX)
		ret->count = SYMBOLS_MAX;
	return ret->offset <= INT64_MAX && ret->names_offset <= INT64_MAX;
}

/* Is the symbol a better name for the address than what was found so far? */
static void consider(struct best *b, const Elf64_Sym *s, uint64_t addr)
{
	bool sized = s->st_size != 0;

	if (s->st_value > addr || addr - s->st_value >= (sized ? s->st_size : UNSIZED_MAX))
		return;
	if (b->found && (b->sized != sized ? b->sized : b->value >= s->st_value))
		return;
	*b = (struct best){s->st_value, s->st_name, true, sized};
}

static void scan(const Elf64_Sym *s, size_t count, const struct elf_query *q, size_t n,
		 struct best *best)
{
	for (size_t i = 0; i < count; i++) {
		unsigned type = ELF64_ST_TYPE(s[i].st_info);

		if (s[i].st_shndx == SHN_UNDEF || s[i].st_name == 0 ||
		    (type != STT_FUNC && type != STT_GNU_IFUNC && type != STT_NOTYPE))
			continue;
		for (size_t k = 0; k < n; k++)
			consider(&best[k], &s[i], q[k].addr);
	}
}

static bool read_name(elf_read_f *read, void *arg, const struct table *t, uint32_t at,
		      char ret[ELF_NAME_MAX])
{
	size_t len = ELF_NAME_MAX - 1;

	if (at >= t->names_size)
		return false;
	if (len > t->names_size - at)
		len = (size_t)(t->names_size - at);
	memset(ret, 0, ELF_NAME_MAX);
	if (!read(arg, t->names_offset + at, ret, len)) {
		ret[0] = '\0';
		return false;
	}
	for (char *p = ret; *p; p++)
		if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f)
			*p = '?';
	return ret[0] != '\0';
}

int elf_resolve(elf_read_f *read, void *arg, struct elf_query *q, size_t n)
{
	struct best best[QUERIES_MAX] = {0};
	Elf64_Sym window[WINDOW];
	struct table t;
	int found = 0;

	if (n > QUERIES_MAX)
		n = QUERIES_MAX;
	for (size_t k = 0; k < n; k++)
		q[k].name[0] = '\0';
	if (!find_table(read, arg, &t))
		return -1;
	for (uint64_t i = 0; i < t.count; i += WINDOW) {
		size_t count = t.count - i < WINDOW ? (size_t)(t.count - i) : WINDOW;

		if (!read(arg, t.offset + i * sizeof(window[0]), window,
			  count * sizeof(window[0])))
			break;
		scan(window, count, q, n, best);
	}
	for (size_t k = 0; k < n; k++) {
		if (!best[k].found || !read_name(read, arg, &t, best[k].name, q[k].name))
			continue;
		q[k].offset = q[k].addr - best[k].value;
		found++;
	}
	return found;
}
