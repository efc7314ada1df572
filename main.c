/* SPDX-License-Identifier: MIT */
/*
 * argv -> settings -> master. The only file that may see every room: it joins the three kinds of
 * process, which do not know each other, and answers the options that serve nobody.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/app.h"
#include "base/log.h"
#include "conf/conf.h"
#include "keeper/keeper.h"
#include "master/master.h"
#include "shm/shm.h"
#include "status/status.h"
#include "worker/worker.h"

#define EXIT_CONFIG 1

/* What was asked for has to arrive: a full disk is an error for --print-config, too. */
static int finish_output(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	fprintf(stderr, "capricorn: standard output: %s\n", strerror(errno));
	return EXIT_CONFIG;
}

static int print_version(void)
{
	puts("capricorn " PACKAGE_VERSION);
	return finish_output();
}

static int print_help(void)
{
	conf_write_help(stdout);
	return finish_output();
}

static int print_config(const struct conf *conf)
{
	conf_write_print(conf, stdout);
	return finish_output();
}

static int print_doc(const char *name)
{
	if (conf_write_doc(name, stdout) < 0 && master_write_doc(name, stdout) < 0 &&
	    status_write_doc(name, stdout) < 0) {
		fprintf(stderr, "capricorn: --print-doc: there is no document named %s\n", name);
		return EXIT_CONFIG;
	}
	return finish_output();
}

/* The segment's bill: what these settings cost in shared memory, section by section. */
static int print_check(const struct conf *conf, const struct strbuf *notes)
{
	struct shm_bill_line line[SHM_SECTIONS_MAX];
	struct shm_geometry geo;
	uint64_t total = 0;
	size_t i, n;

	master_geometry(conf, conf->s.workers_max, &geo);
	n = shm_bill(&geo, line, SHM_SECTIONS_MAX);
	if (notes->len > 0)
		fputs(notes->p, stderr);
	puts("The configuration is valid.\n\nShared memory, in bytes:");
	for (i = 0; i < n; i++) {
		printf("  %-20s %14" PRIu64 "\n", line[i].section, line[i].bytes);
		total += line[i].bytes;
	}
	printf("  %-20s %14" PRIu64 "\n", "total", total);
	return finish_output();
}

static int ask_health(const struct conf *conf)
{
	if (status_ask_health(conf, STATUS_ASK_MS, stdout, stderr) != 0)
		return EXIT_CONFIG;
	return finish_output();
}

/* What the settings gave reason to say goes to standard error, as the log is not open yet. */
static void log_notes(const struct conf *conf, const struct strbuf *notes)
{
	const char *p = notes->p;
	size_t len;

	log_set_level((enum log_level)conf->s.log_level);
	log_set_format((enum log_format)conf->s.log_format);
	for (; p && *p; p += len + (p[len] == '\n')) {
		len = strcspn(p, "\n");
		log_info("%.*s", (int)len, p);
	}
}

static int run(const struct conf_input *in, struct conf *conf)
{
	static const struct master_roles roles = {
		.worker = worker_main,
		.keeper = keeper_main,
	};

	signal(SIGPIPE, SIG_IGN); /* a log that nobody reads is an error code, not an end */
	return master_run(in, conf, &roles);
}

/*
 * Whoever starts us with a standard descriptor closed shall not have a socket or the segment take
 * its number: a line for the log would be written into it. What takes the place cannot be written
 * to, so that output that gets lost is an error still.
 */
static bool hold_standard_fds(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) != fd)
			return false;
	return true;
}

int main(int argc, char **argv, char **env)
{
	const struct conf_input in = {.argc = argc, .argv = argv, .env = env};
	struct conf_report report;
	struct conf *conf = NULL;
	int code;

	if (!hold_standard_fds())
		return EXIT_CONFIG;
	conf_report_init(&report);
	if (conf_load(&in, &conf, &report) < 0) {
		fputs(report.errors.p ? report.errors.p : "capricorn: out of memory\n", stderr);
		conf_report_fini(&report);
		return EXIT_CONFIG;
	}
	switch (conf->action) {
	case CONF_ACT_RUN:
		log_notes(conf, &report.notes);
		conf_report_fini(&report);
		return run(&in, conf);
	case CONF_ACT_HELP:
		code = print_help();
		break;
	case CONF_ACT_VERSION:
		code = print_version();
		break;
	case CONF_ACT_CHECK:
		code = print_check(conf, &report.notes);
		break;
	case CONF_ACT_PRINT:
		code = print_config(conf);
		break;
	case CONF_ACT_HEALTH:
		code = ask_health(conf);
		break;
	case CONF_ACT_DOC:
		code = print_doc(conf->doc_name);
		break;
	default:
		code = EXIT_CONFIG;
	}
	conf_report_fini(&report);
	conf_free(conf);
	return code;
}
