/* SPDX-License-Identifier: MIT */
/*
 * Foreign bytes as settings. The first byte chooses whether the rest is a configuration file, the
 * value of some setting, or the lines of an environment file. Whatever it is, it is either taken,
 * or refused with a line that says why and that has no control character in it.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <jansson.h>

#include "base/check.h"
#include "conf/conf_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An --env-file is read by its name: one in memory has one too. */
static void read_env_file(struct conf_loading *ld, const char *p, size_t len)
{
	int fd = memfd_create("fuzz_settings", MFD_CLOEXEC);
	char path[40];

	CHECK(fd >= 0);
	CHECK(write(fd, p, len) == (ssize_t)len);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	conf_read_env_file(ld, path);
	close(fd);
}

static void read_input(struct conf_loading *ld, const uint8_t *data, size_t size)
{
	const char *p = (const char *)data + 1;

	if (size == 0)
		return;
	switch (data[0] % 4) {
	case 0:
	case 1:
		conf_read_yaml(ld, "fuzz.yaml", p, size - 1);
		break;
	case 2:
		if (size >= 2)
			conf_set_text(ld, &conf_rows[data[1] % CONF_ROWS], CONF_ENV,
				      (struct slice){p + 1, size - 2}, "fuzz");
		break;
	default:
		read_env_file(ld, p, size - 1);
	}
}

/* What a module is given has to be JSON that can be read. */
static void check_section(const struct conf *c)
{
	json_t *doc = json_loads(c->module_json, 0, NULL);

	CHECK(json_is_object(doc));
	json_decref(doc);
	CHECK(conf_module_setting(c, "no.such.value.in.any.input") == NULL);
	(void)conf_module_setting(c, "a.0.b");
}

static void check_lines(const struct strbuf *text)
{
	for (size_t i = 0; i < text->len; i++)
		CHECK(text->p[i] == '\n' || (unsigned char)text->p[i] >= 0x20);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char *const argv[] = {NULL};
	const struct conf_input in = {.argv = argv, .argc = 0};
	struct conf_loading ld = {0};
	struct conf_report report;
	FILE *null = NULL;

	/* The defaults first; the input then comes as from an origin that is stronger. */
	conf_report_init(&report);
	CHECK(conf_load(&in, &ld.conf, &report) == 0);
	ld.report = &report;
	read_input(&ld, data, size);
	conf_derive(&ld);
	CHECK(!ld.no_memory);
	if (report.nerrors == 0) {
		null = fopen("/dev/null", "w");
		CHECK(null != NULL);
		conf_write_print(ld.conf, null);
		fclose(null);
		check_section(ld.conf);
	}
	CHECK((report.nerrors > 0) == (report.errors.len > 0));
	check_lines(&report.errors);
	check_lines(&report.notes);
	conf_report_fini(&report);
	conf_free(ld.conf);
	return 0;
}
