/* SPDX-License-Identifier: MIT */
/*
 * floor PORT: what the kernel's part of an answer costs. epoll_wait, recv, send of an answer that
 * is always the same; nothing is parsed, counted, logged or timed. A server that does these three
 * calls for each request cannot be cheaper than this, however fast the rest of it is.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static const char answer[] =
	"HTTP/1.1 200 OK\r\nServer: x\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
	"Content-Type: text/plain\r\nContent-Length: 13\r\n"
	"X-Request-Id: 0123456789abcdef\r\n\r\nHello, World!";

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int listener(int port)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* what is accepted has it */
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(fd, 4096) != 0)
		die("cannot listen");
	return fd;
}

static void watch(int ep, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};

	if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) != 0)
		die("epoll_ctl");
}

static void serve(int fd)
{
	static char buf[32768];
	ssize_t n = recv(fd, buf, sizeof(buf), 0);

	if (n > 0)
		(void)!send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL);
	else if (n == 0 || errno != EAGAIN)
		close(fd);
}

int main(int argc, char **argv)
{
	int ls = listener(argc > 1 ? atoi(argv[1]) : 0), ep = epoll_create1(0), fd;

	watch(ep, ls);
	for (;;) {
		struct epoll_event ev[128];
		int n = epoll_wait(ep, ev, 128, -1);

		for (int i = 0; i < n; i++) {
			if (ev[i].data.fd != ls)
				serve(ev[i].data.fd);
			else
				while ((fd = accept4(ls, NULL, NULL, SOCK_NONBLOCK)) >= 0)
					watch(ep, fd);
		}
	}
}
