/* SPDX-License-Identifier: MIT */
/* base/log.c and base/log_file.c: what a line looks like, and what happens when nobody takes it. */
#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"

static char got[2 * LOG_LINE_MAX];
static size_t got_len;
static unsigned got_lines;

static bool capture(void *arg, const char *line, size_t len)
{
	bool ok = *(bool *)arg;

	assert_true(len > 0 && len <= LOG_LINE_MAX);
	memcpy(got, line, len);
	got[len] = '\0';
	got_len = len;
	got_lines++;
	errno = E2BIG; /* a sink may spoil it */
	return ok;
}

static bool sink_ok = true;

static int setup(void **state)
{
	(void)state;
	sink_ok = true;
	got_lines = 0;
	got_len = 0;
	log_set_level(LOG_LV_INFO);
	log_set_format(LOG_FMT_TEXT);
	log_set_sink(capture, &sink_ok);
	return 0;
}

static void assert_matches(const char *pattern)
{
	regex_t re;
	int bad;

	assert_int_equal(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
	bad = regexec(&re, got, 0, NULL, 0);
	regfree(&re);
	if (bad)
		fail_msg("\"%s\" does not match %s", got, pattern);
}

/* ---- lines ---- */

static void test_text_line(void **state)
{
	char pid[32];

	(void)state;
	setenv("TZ", "XXX-5:30", 1);
	tzset();
	log_info("Booting worker with pid: %d", 42);
	assert_matches("^\\[[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} \\+0530\\] "
		       "\\[[0-9]+\\] \\[INFO\\] Booting worker with pid: 42\n$");
	snprintf(pid, sizeof(pid), " [%d] ", (int)getpid());
	assert_non_null(strstr(got, pid));
	unsetenv("TZ");
	tzset();
}

static void test_json_line(void **state)
{
	(void)state;
	setenv("TZ", "XXX3", 1);
	tzset();
	log_set_format(LOG_FMT_JSON);
	log_errx("a \"quote\" and \\ and\ttab \xc3\xa9 \xff \x01");
	assert_matches("^\\{\"time\":\"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\\.[0-9]{3}-03:00\","
		       "\"pid\":[0-9]+,\"level\":\"ERROR\",\"message\":\"");
	assert_non_null(strstr(got, "a \\\"quote\\\" and \\\\ and\\u0009tab \xc3\xa9 \\ufffd "
				    "\\u0001\"}\n"));
	unsetenv("TZ");
	tzset();
}

static void test_levels(void **state)
{
	(void)state;
	log_debug("no");
	assert_int_equal(got_lines, 0);
	assert_false(log_enabled(LOG_LV_DEBUG));
	log_set_level(LOG_LV_ERROR);
	log_warnx("no");
	assert_int_equal(got_lines, 0);
	log_crit("yes");
	assert_int_equal(got_lines, 1);
	assert_non_null(strstr(got, "[CRITICAL] yes\n"));
	log_set_level(LOG_LV_DEBUG);
	log_debug("yes");
	assert_non_null(strstr(got, "[DEBUG] yes\n"));
}

static void test_errno(void **state)
{
	(void)state;
	errno = ENOENT;
	log_warn("cannot open %s", "x");
	assert_int_equal(errno, ENOENT);
	assert_non_null(strstr(got, "[WARNING] cannot open x: No such file or directory\n"));
	log_err("again");
	assert_non_null(strstr(got, "again: No such file or directory\n"));
	log_warnx("plain");
	assert_non_null(strstr(got, "plain\n"));
}

static void test_no_forged_line(void **state)
{
	(void)state;
	log_info("path /a\n[2026-01-01] [1] [INFO] forged\r\x1b[2J\x7f");
	assert_ptr_equal(strchr(got, '\n'), got + got_len - 1);
	assert_non_null(strstr(got, "/a\\x0a[2026"));
	assert_non_null(strstr(got, "forged\\x0d\\x1b[2J\\x7f\n"));
}

static void test_broken_utf8(void **state)
{
	/* overlong, a surrogate, beyond U+10FFFF, cut short */
	static const char *const bad[] = {"\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80",
					  "\xe2\x82"};
	size_t i;

	(void)state;
	log_set_format(LOG_FMT_JSON);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		log_info("<%s>", bad[i]);
		assert_non_null(strstr(got, "<\\ufffd"));
	}
	log_info("<\xe2\x82\xac\xf0\x9f\x90\x90>");
	assert_non_null(strstr(got, "<\xe2\x82\xac\xf0\x9f\x90\x90>\"}\n"));
}

static void test_long_line_is_cut(void **state)
{
	char *big = malloc(3 * LOG_LINE_MAX);

	(void)state;
	memset(big, '"', 3 * LOG_LINE_MAX - 1);
	big[3 * LOG_LINE_MAX - 1] = '\0';
	errno = ENOSPC;
	log_err("%s", big);
	assert_non_null(strstr(got, "\": No space left on device\n"));
	log_set_format(LOG_FMT_JSON);
	log_info("%s", big);
	assert_int_equal(memcmp(got + got_len - 5, "\\\"\"}\n", 5), 0);
	free(big);
}

static void test_lost_lines_are_counted(void **state)
{
	uint64_t before = log_lost();

	(void)state;
	sink_ok = false;
	log_info("one");
	log_info("two");
	sink_ok = true;
	log_info("three");
	assert_int_equal(log_lost() - before, 2);
}

/* ---- files ---- */

static char dir[] = "/tmp/test_log.XXXXXX";
static char path[64];

static int make_dir(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/log", dir);
	return 0;
}

static int remove_dir(void **state)
{
	(void)state;
	return rmdir(dir);
}

static void assert_content(const char *file, const char *want)
{
	char buf[4096];
	FILE *f = fopen(file, "re");
	size_t n;

	assert_non_null(f);
	n = fread(buf, 1, sizeof(buf) - 1, f);
	buf[n] = '\0';
	fclose(f);
	assert_string_equal(buf, want);
}

static void test_file_and_rotation(void **state)
{
	char old[80];
	struct log_file f;
	struct stat st;

	(void)state;
	umask(022);
	snprintf(old, sizeof(old), "%s.1", path);
	assert_int_equal(log_file_open(&f, path, 2), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	assert_true(fcntl(f.fd, F_GETFD) & FD_CLOEXEC);
	assert_true(log_file_sink(&f, "one\n", 4));
	assert_int_equal(rename(path, old), 0);
	assert_true(log_file_sink(&f, "two\n", 4));
	assert_int_equal(log_file_reopen(&f), 0);
	assert_true(log_file_sink(&f, "three\n", 6));
	assert_content(old, "one\ntwo\n");
	assert_content(path, "three\n");
	log_file_close(&f);
	assert_int_equal(f.fd, -1);
	assert_false(log_file_sink(&f, "four\n", 5));
	unlink(old);
	unlink(path);
}

static void test_reopen_fails_old_one_stays(void **state)
{
	struct log_file f;
	int fd;

	(void)state;
	assert_int_equal(log_file_open(&f, path, 2), 0);
	fd = f.fd;
	unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(log_file_reopen(&f), -1);
	assert_int_equal(errno, EISDIR);
	assert_int_equal(f.fd, fd);
	assert_true(log_file_sink(&f, "one\n", 4));
	log_file_close(&f);
	rmdir(path);
	assert_int_equal(log_file_open(&f, "/nonexistent/log", 2), -1);
	assert_int_equal(f.fd, -1);
}

static void test_full_disk(void **state)
{
	struct log_file f;

	(void)state;
	assert_int_equal(log_file_open(&f, "/dev/full", 2), 0);
	assert_int_equal(log_file_write(&f, "one\n", 4), -1);
	assert_int_equal(errno, ENOSPC);
	assert_false(f.torn);
	log_file_close(&f);
}

/* RLIMIT_FSIZE cuts a write exactly as a full disk does. */
static void test_torn_line_is_ended(void **state)
{
	struct log_file f;
	struct rlimit saved, small;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(log_file_open(&f, path, 2), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &saved), 0);
	small = saved;
	small.rlim_cur = 10;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	assert_int_equal(log_file_write(&f, "one\ntwo\nthree\nfour\n", 19), 8);
	assert_true(f.torn);
	assert_int_equal(log_file_write(&f, "three\n", 6), -1);
	assert_int_equal(errno, EFBIG);
	assert_true(f.torn);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &saved), 0);
	assert_int_equal(log_file_write(&f, "three\nfour\n", 11), 11);
	assert_false(f.torn);
	assert_content(path, "one\ntwo\nth\nthree\nfour\n");
	log_file_close(&f);
	unlink(path);
}

static void test_stalled_pipe(void **state)
{
	char line[100];
	struct log_file f;
	size_t sent = 0;
	size_t left;
	char buf[4096];
	int p[2];
	long n;

	(void)state;
	memset(line, 'x', sizeof(line));
	line[sizeof(line) - 1] = '\n';
	assert_int_equal(pipe(p), 0);
	assert_int_equal(dup2(p[1], 100), 100); /* as if it were standard output */
	assert_int_equal(log_file_open(&f, "-", 100), 0);
	assert_true(f.is_pipe);
	assert_false(f.must_poll);
	assert_false(fcntl(100, F_GETFL) & O_NONBLOCK); /* its other users are not touched */
	while ((n = log_file_write(&f, line, sizeof(line))) == sizeof(line))
		sent += sizeof(line);
	assert_int_equal(n, 0);
	assert_int_equal(log_file_reopen(&f), 0);
	for (left = sent; left > 0; left -= (size_t)n) {
		n = read(p[0], buf, sizeof(buf) - sizeof(buf) % sizeof(line));
		assert_true(n > 0);
		assert_int_equal(buf[n - 1], '\n');
	}
	assert_true(log_file_sink(&f, line, sizeof(line)));
	close(p[0]);
	assert_int_equal(log_file_write(&f, line, sizeof(line)), -1);
	assert_int_equal(errno, EPIPE);
	log_file_close(&f);
	close(p[1]);
	close(100);
}

/* A descriptor that could not be opened anew is asked before each piece. */
static void test_blocking_pipe_is_asked(void **state)
{
	static char lines[3 * LOG_LINE_MAX];
	struct log_file f = {.fd = -1, .path = "-", .std = 1};
	size_t i;
	int p[2];
	long n;

	(void)state;
	memset(lines, 'x', sizeof(lines));
	for (i = 99; i < sizeof(lines); i += 100)
		lines[i] = '\n';
	lines[sizeof(lines) - 1] = '\n';
	assert_int_equal(pipe(p), 0);
	log_file_adopt(&f, p[1]);
	assert_true(f.must_poll);
	alarm(10);
	do {
		n = log_file_write(&f, lines, sizeof(lines));
		assert_true(n >= 0);
		assert_true(n == 0 || lines[n - 1] == '\n');
		assert_false(f.torn);
	} while (n > 0);
	alarm(0);
	log_file_close(&f);
	close(p[0]);
}

static void test_fifo_without_reader(void **state)
{
	struct log_file f;

	(void)state;
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(log_file_open(&f, path, 2), 0);
	assert_true(log_file_sink(&f, "one\n", 4));
	log_file_close(&f);
	unlink(path);
}

static void test_socket(void **state)
{
	char buf[8];
	struct log_file f;
	int s[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	assert_int_equal(dup2(s[1], 100), 100);
	close(s[1]);
	assert_int_equal(log_file_open(&f, "-", 100), 0);
	assert_true(f.is_sock);
	assert_true(log_file_sink(&f, "one\n", 4));
	assert_int_equal(read(s[0], buf, sizeof(buf)), 4);
	alarm(10);
	while (log_file_sink(&f, "one\n", 4))
		;
	alarm(0);
	close(s[0]);
	assert_int_equal(log_file_write(&f, "one\n", 4), -1);
	assert_int_equal(errno, EPIPE);
	log_file_close(&f);
	close(100);
}

static void test_regular_stdout_shares_position(void **state)
{
	struct log_file f;
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	(void)state;
	assert_int_equal(dup2(fd, 100), 100);
	close(fd);
	assert_int_equal(write(100, "a\n", 2), 2);
	assert_int_equal(log_file_open(&f, "-", 100), 0);
	assert_true(log_file_sink(&f, "b\n", 2));
	assert_int_equal(write(100, "c\n", 2), 2);
	assert_content(path, "a\nb\nc\n");
	log_file_close(&f);
	close(100);
	unlink(path);
}

/* Several processes on one file: lines may be mixed, never torn. */
static void test_lines_of_many_processes(void **state)
{
	enum { PROCESSES = 4, LINES = 500, WIDTH = 200 };
	char line[WIDTH + 1];
	struct log_file f;
	unsigned n = 0;
	FILE *in;
	int i;

	(void)state;
	assert_int_equal(log_file_open(&f, path, 2), 0);
	for (i = 0; i < PROCESSES; i++) {
		if (fork() == 0) {
			int k;

			memset(line, 'a' + i, WIDTH - 1);
			line[WIDTH - 1] = '\n';
			for (k = 0; k < LINES; k++)
				if (!log_file_sink(&f, line, WIDTH))
					_exit(1);
			_exit(0);
		}
	}
	for (i = 0; i < PROCESSES; i++) {
		int status;

		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
	in = fopen(path, "re");
	assert_non_null(in);
	while (fgets(line, sizeof(line), in)) {
		assert_int_equal(strlen(line), WIDTH);
		assert_int_equal(strspn(line, (char[]){line[0], '\0'}), WIDTH - 1);
		n++;
	}
	fclose(in);
	assert_int_equal(n, PROCESSES * LINES);
	log_file_close(&f);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest lines[] = {
		cmocka_unit_test_setup(test_text_line, setup),
		cmocka_unit_test_setup(test_json_line, setup),
		cmocka_unit_test_setup(test_levels, setup),
		cmocka_unit_test_setup(test_errno, setup),
		cmocka_unit_test_setup(test_no_forged_line, setup),
		cmocka_unit_test_setup(test_broken_utf8, setup),
		cmocka_unit_test_setup(test_long_line_is_cut, setup),
		cmocka_unit_test_setup(test_lost_lines_are_counted, setup),
	};
	const struct CMUnitTest files[] = {
		cmocka_unit_test(test_file_and_rotation),
		cmocka_unit_test(test_reopen_fails_old_one_stays),
		cmocka_unit_test(test_full_disk),
		cmocka_unit_test(test_torn_line_is_ended),
		cmocka_unit_test(test_stalled_pipe),
		cmocka_unit_test(test_blocking_pipe_is_asked),
		cmocka_unit_test(test_fifo_without_reader),
		cmocka_unit_test(test_socket),
		cmocka_unit_test(test_regular_stdout_shares_position),
		cmocka_unit_test(test_lines_of_many_processes),
	};

	return cmocka_run_group_tests(lines, NULL, NULL) +
	       cmocka_run_group_tests(files, make_dir, remove_dir);
}
