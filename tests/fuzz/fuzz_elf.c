/* SPDX-License-Identifier: MIT */
/* Symbol tables of any file: names are printable, offsets lie before their address. */
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "base/elf.h"

struct image {
	const uint8_t *p;
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct elf_query q[5] = {{.addr = 0}, {.addr = 110}, {.addr = 126}, {.addr = 4096},
				 {.addr = UINT64_MAX}};
	struct image im = {data, size};
	int found = elf_resolve(read_image, &im, q, 5), names = 0;

	for (int i = 0; i < 5; i++) {
		names += q[i].name[0] != '\0';
		CHECK(memchr(q[i].name, '\0', ELF_NAME_MAX));
		for (const char *p = q[i].name; *p; p++)
			CHECK(*p > 0x20 && *p < 0x7f);
		CHECK(!q[i].name[0] || q[i].offset <= q[i].addr);
	}
	CHECK(found == -1 ? names == 0 : found == names);
	return 0;
}
