/* SPDX-License-Identifier: MIT */
/*
 * Names of functions from the symbol table of an ELF file (64 bits, little-endian). Nothing in the
 * file is believed: every offset, size and index is checked, and the work is bounded. Nothing is
 * allocated.
 */
#ifndef BASE_ELF_H
#define BASE_ELF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ELF_NAME_MAX 96 /* with its NUL; a longer name is cut */

/* Reads exactly len bytes at an offset of the file; false when they are not there. */
typedef bool elf_read_f(void *arg, uint64_t offset, void *buf, size_t len);
/* An elf_read_f over a file; arg points to its descriptor (int). */
bool elf_read_fd(void *arg, uint64_t offset, void *buf, size_t len);

struct elf_query {
	uint64_t addr;           /* in: an address as the file has it (without the load bias) */
	uint64_t offset;         /* out: from the begin of the function */
	char name[ELF_NAME_MAX]; /* out: printable ASCII; empty = there is none */
};

/* Fills in n queries from .symtab, else .dynsym: the function that an address lies in, or of those
 * without a size the closest before it. The number of names found; -1: no such file, or without a
 * symbol table that makes sense. */
int elf_resolve(elf_read_f *read, void *arg, struct elf_query *q, size_t n);

#endif
