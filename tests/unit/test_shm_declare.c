/* SPDX-License-Identifier: MIT */
/* The child's half of a declaration; the master's is tested with its own (test_master.c). */
#include "tests/unit/shm_help.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "shm/declare.h"

static int master_fd;
static struct heritage h;

static int setup(void **state)
{
	int fd[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd),
			 0);
	master_fd = fd[0];
	h = (struct heritage){.control_fd = fd[1]};
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (master_fd >= 0)
		close(master_fd);
	close(h.control_fd);
	return 0;
}

/* Answers lie there before they are waited for: numbers go up by one. */
static void answer(uint32_t number, int32_t result, uint32_t index)
{
	struct declare_answer a = {number, result, index};

	assert_int_equal(send(master_fd, &a, sizeof(a), 0), sizeof(a));
}

static void other(char what, int fd)
{
	union { char buf[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } room = {{0}};
	struct iovec iov = {&what, 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = room.buf,
			     .msg_controllen = sizeof(room.buf)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	assert_int_equal(sendmsg(master_fd, &msg, 0), 1);
}

static struct declare_ask taken(void)
{
	struct declare_ask ask;

	assert_int_equal(recv(master_fd, &ask, sizeof(ask), 0), sizeof(ask));
	return ask;
}

/* The number that the next ask will have: one is made that nobody answers. */
static uint32_t next_number(void)
{
	struct declare_ask ask;
	uint32_t index;

	assert_int_equal(shutdown(master_fd, SHUT_WR), 0);
	assert_int_equal(declare_route(&h, "/x", &index), -EPIPE);
	ask = taken();
	close(master_fd);
	close(h.control_fd);
	setup(NULL);
	return ask.number + 1;
}

static void test_answers(void **state)
{
	uint32_t n = next_number(), index = 77;
	struct declare_ask ask;

	(void)state;
	answer(n, 0, 5);
	answer(n + 1, -EEXIST, 6);
	assert_int_equal(declare_metric(&h, SHM_MK_GAUGE, "name", "k=\"v\"", "Help.", &index), 0);
	assert_int_equal(index, 5);
	assert_int_equal(declare_route(&h, "/r", &index), -EEXIST);
	assert_int_equal(index, 5);
	ask = taken();
	assert_int_equal(ask.what, DECLARE_GAUGE);
	assert_string_equal(ask.name, "name");
	assert_string_equal(ask.labels, "k=\"v\"");
	assert_string_equal(ask.help, "Help.");
	ask = taken();
	assert_int_equal(ask.what, DECLARE_ROUTE);
	assert_string_equal(ask.name, "/r");
	assert_string_equal(ask.labels, "");
}

/* What cannot be is not even asked; what is too long for a label of a route is cut. */
static void test_too_long(void **state)
{
	uint32_t n = next_number(), index = 0;
	char text[1000];
	struct declare_ask ask;

	(void)state;
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(declare_metric(&h, SHM_MK_GAUGE, text, NULL, NULL, &index), -EINVAL);
	assert_int_equal(declare_metric(&h, SHM_MK_GAUGE, "a", text, NULL, &index), -EINVAL);
	assert_int_equal(declare_metric(&h, (enum shm_metric_kind)DECLARE_ROUTE, "a", NULL, NULL,
					&index), -EINVAL);
	assert_int_equal(recv(master_fd, &ask, sizeof(ask), 0), -1);
	answer(n, 0, 1);
	answer(n + 1, 0, 2);
	assert_int_equal(declare_metric(&h, SHM_MK_GAUGE, "a", NULL, text, &index), 0);
	assert_int_equal(declare_route(&h, text, &index), 0);
	assert_int_equal(strlen(taken().help), SHM_MODULE_HELP_MAX - 1);
	assert_int_equal(strlen(taken().name), SHM_ROUTE_NAME_MAX - 1);
}

/* Messages of another kind that come meanwhile are there afterwards, in order. */
static void test_others_are_kept(void **state)
{
	uint32_t n = next_number(), index = 0;
	char what;
	int fd;

	(void)state;
	answer(n - 1, 0, 9); /* of an ask that was given up */
	other(HERITAGE_ERROR_LOG, STDERR_FILENO);
	other(HERITAGE_ACCESS_LOG, STDERR_FILENO);
	answer(n, 0, 4);
	other(HERITAGE_ERROR_LOG, STDERR_FILENO);
	assert_int_equal(declare_route(&h, "/r", &index), 0);
	assert_int_equal(index, 4);
	answer(n, 0, 9); /* as if twice */
	for (const char *p = "EAE"; *p; p++) {
		assert_int_equal(declare_other(&h, &what, &fd), 1);
		assert_int_equal(what, *p);
		assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
		close(fd);
	}
	assert_int_equal(declare_other(&h, &what, &fd), 0);
}

static void test_too_many_others(void **state)
{
	uint32_t n = next_number(), index = 0;
	char what;
	int fd;

	(void)state;
	for (int i = 0; i < 8; i++)
		other(HERITAGE_ERROR_LOG, STDERR_FILENO);
	answer(n, 0, 4);
	assert_int_equal(declare_route(&h, "/r", &index), -ENOBUFS);
	for (int i = 0; i < 8; i++) {
		assert_int_equal(declare_other(&h, &what, &fd), 1);
		close(fd);
	}
	assert_int_equal(declare_other(&h, &what, &fd), 0);
}

static void test_master_gone(void **state)
{
	uint32_t index;
	char what;
	int fd;

	(void)state;
	close(master_fd);
	master_fd = -1;
	assert_int_equal(declare_route(&h, "/r", &index), -EPIPE);
	assert_int_equal(declare_other(&h, &what, &fd), -EPIPE);
}

/* A master that is stopped: the time is bounded, whether the ask can be sent or not. */
static void test_no_answer(void **state)
{
	uint64_t begin = clock_mono_ns();
	uint32_t index;

	(void)state;
	assert_int_equal(declare_route(&h, "/r", &index), -ETIMEDOUT);
	assert_in_range((clock_mono_ns() - begin) / NS_PER_MS, 4000, 20000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_long, setup, teardown),
		cmocka_unit_test_setup_teardown(test_others_are_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_many_others, setup, teardown),
		cmocka_unit_test_setup_teardown(test_master_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_answer, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
