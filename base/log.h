/* SPDX-License-Identifier: MIT */
/*
 * The error log. A line is "[2026-01-31 12:00:00 +0000] [pid] [INFO] text" (gunicorn's habit) or
 * one JSON object {"time","pid","level","message"}. A line is made in a buffer of the stack and
 * handed to a sink in one piece: a worker's sink puts it into its ring in the segment, which the
 * keeper writes out; master and keeper write it themselves, never blocking. A line that cannot be
 * written is counted, see log_lost(). Control characters in a text are written as \xNN, so that a
 * client can forge no line. errno is left as it was.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_LV_DEBUG, LOG_LV_INFO, LOG_LV_WARNING, LOG_LV_ERROR, LOG_LV_CRITICAL };
enum log_format { LOG_FMT_TEXT, LOG_FMT_JSON };

#define LOG_LINE_MAX 4096 /* a longer line is cut; PIPE_BUF, so that a pipe never tears one */

/* Takes one finished line with its newline; false = lost. Must not block. */
typedef bool log_sink_f(void *arg, const char *line, size_t len);

void log_set_level(enum log_level level);
void log_set_format(enum log_format format);
void log_set_sink(log_sink_f *sink, void *arg); /* NULL = standard error, blocking (the start) */
bool log_enabled(enum log_level level);
uint64_t log_lost(void); /* lines that this process could not hand over */

__attribute__((format(printf, 2, 3))) void log_at(enum log_level level, const char *fmt, ...);
/* x = without errno text, as in BSD's warnx(). */
__attribute__((format(printf, 1, 2))) void log_debug(const char *fmt, ...);
__attribute__((format(printf, 1, 2))) void log_info(const char *fmt, ...);
__attribute__((format(printf, 1, 2))) void log_warn(const char *fmt, ...);  /* + errno text */
__attribute__((format(printf, 1, 2))) void log_warnx(const char *fmt, ...);
__attribute__((format(printf, 1, 2))) void log_err(const char *fmt, ...);   /* + errno text */
__attribute__((format(printf, 1, 2))) void log_errx(const char *fmt, ...);
__attribute__((format(printf, 1, 2))) void log_crit(const char *fmt, ...);  /* no errno text */

/*
 * A file that lines are appended to: a path, "-" (the descriptor `std`, 1 or 2). It never blocks:
 * a pipe or terminal is opened anew with O_NONBLOCK (its other users are not touched), a socket is
 * written with MSG_DONTWAIT, and what cannot be opened anew is asked with poll() before each line.
 * A line goes out whole or not at all; what a full disk tore is ended with a newline before the
 * next one. SIGPIPE must be ignored by the process.
 */
struct log_file {
	int fd;             /* -1 = closed */
	bool is_sock;
	bool is_pipe;       /* takes at most LOG_LINE_MAX bytes in one piece */
	bool must_poll;     /* shared with others in blocking mode */
	bool torn;          /* the last line was cut by a failed write */
	const char *path;   /* borrowed */
	int std;
};

/* 0, or -1 with errno. The path is borrowed for the life of the file. Mode of a new file: 0640. */
int log_file_open(struct log_file *f, const char *path, int std);
/* Opens the path again (after a rotation); the old descriptor stays in use if that fails: -1. */
int log_file_reopen(struct log_file *f);
/* Uses `fd` from now on (it becomes the file's own; the old one is closed): for a process that is
 * sent the descriptor since it may not open the path. */
void log_file_adopt(struct log_file *f, int fd);
void log_file_close(struct log_file *f);
/* For a file that nobody else writes, after its writer was killed: the kernel may have taken a
 * part of the last write. Takes away what follows the last newline, so that the line can be written
 * anew. Nothing is done to what is no regular file, or may not be read. */
void log_file_mend(struct log_file *f);
/* Writes whole lines; the number of bytes written (0 when it would block), -1 with errno. */
long log_file_write(struct log_file *f, const char *p, size_t len);
bool log_file_sink(void *arg, const char *line, size_t len); /* a log_sink_f over a log_file */

#endif
