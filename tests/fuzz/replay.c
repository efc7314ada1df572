/* SPDX-License-Identifier: MIT */
/*
 * Runs a fuzz harness over the files of a corpus, without a fuzzer: what was found once stays
 * found. Arguments are files or directories (not searched deeper).
 */
#include <dirent.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In a heap block of its exact size, so that the sanitizers see a read beyond the input. */
static int replay_file(const char *path)
{
	struct stat st;
	FILE *f = fopen(path, "re");
	uint8_t *data = NULL;
	size_t size;

	if (!f || fstat(fileno(f), &st) < 0)
		goto fail;
	size = (size_t)st.st_size;
	data = malloc(size ? size : 1);
	if (!data || fread(data, 1, size, f) != size)
		goto fail;
	fclose(f);
	LLVMFuzzerTestOneInput(data, size);
	free(data);
	return 1;
fail:
	fprintf(stderr, "%s: %s\n", path, strerror(errno));
	exit(2);
}

static int replay_dir(DIR *dir, const char *path)
{
	struct dirent *e;
	int n = 0;

	while ((e = readdir(dir))) {
		char name[4096];

		if (e->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
		n += replay_file(name);
	}
	closedir(dir);
	return n;
}

int main(int argc, char **argv)
{
	int n = 0;
	int i;

	for (i = 1; i < argc; i++) {
		DIR *dir = opendir(argv[i]);

		n += dir ? replay_dir(dir, argv[i]) : replay_file(argv[i]);
	}
	printf("%d inputs\n", n);
	return n == 0;
}
