/* SPDX-License-Identifier: MIT */
/*
 * The child's end of its control socket. Answers are told from the master's other messages by
 * their size; what is not the answer that is waited for is kept, in order, for declare_other().
 */
#include "shm/declare.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"

#define WAIT_NS (5 * NS_PER_S)
#define KEPT_MAX 8u

struct message {
	char what;               /* enum heritage_message */
	int fd;
};

/* A process has one control socket, and one thread that reads it. */
static struct message kept[KEPT_MAX];
static uint32_t nkept;
static uint32_t asked;           /* number of the last ask */

union incoming {
	struct declare_answer answer;
	char what;
};

static int fd_of(struct msghdr *msg)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(msg);
	int fd = -1;

	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	    c->cmsg_len == CMSG_LEN(sizeof(fd)))
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

/* One message: its size, 0: there is none, or -errno. */
static long receive(int control_fd, union incoming *in, int *ret_fd)
{
	union { char buf[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } room;
	struct iovec iov = {in, sizeof(*in)};
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = room.buf, .msg_controllen = sizeof(room.buf),
	};
	ssize_t n;

	do {
		n = recvmsg(control_fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n == 0)
		return -EPIPE;
	if (n < 0)
		return errno == EAGAIN ? 0 : errno == ECONNRESET ? -EPIPE : -errno;
	*ret_fd = fd_of(&msg);
	return n;
}

int declare_other(const struct heritage *h, char *ret_message, int *ret_fd)
{
	union incoming in;
	long n;

	if (nkept > 0) {
		*ret_message = kept[0].what;
		*ret_fd = kept[0].fd;
		memmove(kept, kept + 1, --nkept * sizeof(*kept));
		return 1;
	}
	do { /* an answer that nobody waited for any more is passed over */
		n = receive(h->control_fd, &in, ret_fd);
	} while (n == (long)sizeof(in.answer));
	*ret_message = in.what;
	return n > 0 ? 1 : (int)n;
}

/* Waits until the socket is ready, or `end_ns`. 0 or -errno. */
static int wait_for(int fd, short events, uint64_t end_ns)
{
	struct pollfd p = {.fd = fd, .events = events};

	for (;;) {
		uint64_t now = clock_mono_ns();
		int r;

		if (now >= end_ns)
			return -ETIMEDOUT;
		r = poll(&p, 1, (int)((end_ns - now) / NS_PER_MS) + 1);
		if (r > 0)
			return 0; /* a hang-up, too: the call that follows tells */
		if (r < 0 && errno != EINTR)
			return -errno;
	}
}

static int send_ask(int fd, const struct declare_ask *ask, uint64_t end_ns)
{
	for (;;) {
		int r;

		if (send(fd, ask, sizeof(*ask), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
			return 0;
		if (errno == EPIPE || errno == ECONNRESET)
			return -EPIPE;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		r = wait_for(fd, POLLOUT, end_ns);
		if (r != 0)
			return r;
	}
}

static int wait_answer(int fd, struct declare_answer *ret, uint64_t end_ns)
{
	for (;;) {
		union incoming in;
		int other_fd, r;
		long n;

		if (nkept == KEPT_MAX)
			return -ENOBUFS; /* before one is lost */
		n = receive(fd, &in, &other_fd);
		if (n < 0)
			return (int)n;
		if (n == (long)sizeof(in.answer)) {
			*ret = in.answer;
			if (ret->number == asked)
				return 0;
		} else if (n > 0) {
			kept[nkept++] = (struct message){in.what, other_fd};
		} else if ((r = wait_for(fd, POLLIN, end_ns)) != 0) {
			return r;
		}
	}
}

static int ask_master(const struct heritage *h, struct declare_ask *ask, uint32_t *ret_index)
{
	uint64_t end_ns = clock_mono_ns() + WAIT_NS;
	struct declare_answer answer = {0};
	int r;

	ask->number = ++asked;
	r = send_ask(h->control_fd, ask, end_ns);
	if (r == 0)
		r = wait_answer(h->control_fd, &answer, end_ns);
	if (r != 0)
		return r;
	if (answer.result == 0)
		*ret_index = answer.index;
	return answer.result;
}

/* Into a field of zeros, which ends with one. false: it does not fit. */
static bool put(char *out, size_t cap, const char *text)
{
	size_t len = text ? strlen(text) : 0;
	bool fits = len < cap;

	if (len > 0)
		memcpy(out, text, fits ? len : cap - 1);
	return fits;
}

int declare_route(const struct heritage *h, const char *name, uint32_t *ret_index)
{
	struct declare_ask ask = {.what = DECLARE_ROUTE};

	(void)put(ask.name, sizeof(ask.name), name); /* as shm_route_intern() would */
	return ask_master(h, &ask, ret_index);
}

int declare_metric(const struct heritage *h, enum shm_metric_kind kind, const char *name,
		   const char *labels, const char *help, uint32_t *ret_index)
{
	struct declare_ask ask = {.what = (uint32_t)kind};

	if (kind < SHM_MK_COUNTER || kind > SHM_MK_HISTOGRAM ||
	    !put(ask.name, sizeof(ask.name), name) || !put(ask.labels, sizeof(ask.labels), labels))
		return -EINVAL;
	(void)put(ask.help, sizeof(ask.help), help);
	return ask_master(h, &ask, ret_index);
}
