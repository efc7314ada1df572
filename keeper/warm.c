/* SPDX-License-Identifier: MIT */
/*
 * A schedule that is due begins a run: a request for each of its URLs, once as a client that
 * accepts gzip and once as one that does not, since these are different answers. At most
 * warmup_concurrency requests are under way at once, those of the higher class first. Answers are
 * read and thrown away; that they are kept is the worker's doing.
 */
#include "keeper/warm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "conf/conf.h"

#define FORMS 2u                     /* of an answer: compressed or not */
#define TEXT_MAX 4096u
#define READS_MAX 16                 /* pieces of an answer that are read in one turn */
#define DEADLINE_NS (60 * NS_PER_S)  /* of a request, without REQUEST_TIMEOUT */

struct run {
	const struct conf_warmup *conf;
	time_t due;                  /* -1 = by no clock */
	bool begun_at_start;
	bool on;
	size_t next, ended, good;    /* of its requests: nurls * FORMS */
};

struct warm_client {
	struct watch watch;          /* first */
	struct timer timer;
	struct warm *w;
	struct run *run;             /* NULL = it is free */
	bool good, heard;
	size_t len, sent;
	char text[TEXT_MAX];
};

struct warm {
	const struct heritage *h;
	struct loop *loop;
	uint64_t deadline_ns;
	uint32_t nclients;
	struct warm_client *client;
	size_t nruns;
	struct run run[];
};

static void begin_some(struct warm *w);

/* ---- one request ---- */

static void end_client(struct warm_client *c, bool good)
{
	struct run *r = c->run;

	timer_disarm(c->w->loop, &c->timer);
	if (c->watch.fd >= 0) {
		loop_forget(c->w->loop, &c->watch);
		close(c->watch.fd);
	}
	c->watch = (struct watch){.fd = -1};
	c->run = NULL;
	r->good += good;
	if (++r->ended < r->conf->nurls * FORMS)
		return;
	r->on = false;
	if (r->good == r->ended)
		log_info("Warm-up %s: %zu URLs", r->conf->name, r->conf->nurls);
	else
		log_warnx("Warm-up %s: %zu of %zu requests failed", r->conf->name,
			  r->ended - r->good, r->ended);
}

static void on_timer(struct loop *l, struct timer *t)
{
	struct warm_client *c = (void *)((char *)t - offsetof(struct warm_client, timer));

	(void)l;
	end_client(c, false);
	begin_some(c->w);
}

/* false: the connection is over. */
static bool send_rest(struct warm_client *c)
{
	ssize_t n = send(c->watch.fd, c->text + c->sent, c->len - c->sent,
			 MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	c->sent += (size_t)n;
	return c->sent < c->len || loop_watch(c->w->loop, &c->watch, LOOP_IN) == 0;
}

/* Good is 2xx and 3xx, as the first piece says; the status line is never cut by a server. */
static bool read_some(struct warm_client *c)
{
	char waste[32768];

	for (int i = 0; i < READS_MAX; i++) {
		ssize_t n = recv(c->watch.fd, waste, sizeof(waste), MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return true;
		if (n <= 0) {
			c->good &= n == 0;
			return false;
		}
		if (!c->heard)
			c->good = n > 12 && memcmp(waste, "HTTP/1.", 7) == 0 &&
				  (waste[9] == '2' || waste[9] == '3');
		c->heard = true;
	}
	return true;
}

static void on_event(struct loop *l, struct watch *watch, unsigned events)
{
	struct warm_client *c = (struct warm_client *)(void *)watch;
	bool goes_on = true;

	(void)l;
	if (c->sent < c->len)
		goes_on = !(events & LOOP_ERR) && send_rest(c);
	else
		goes_on = read_some(c);
	if (goes_on)
		return;
	end_client(c, c->good);
	begin_some(c->w);
}

/* Who listens on every address is asked at the loopback. */
static socklen_t address(const struct warm *w, struct sockaddr_storage *ss)
{
	const struct heritage_listener *to = &w->h->listeners[0];
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	static const uint8_t none[16];
	struct net_addr addr = to->addr;
	size_t n;

	if (addr.family == NET_UNIX) {
		if (strncmp(to->url, "unix:", 5) != 0)
			return 0;
		n = strlen(to->url + 5);
		if (n >= sizeof(sun.sun_path))
			return 0;
		memcpy(sun.sun_path, to->url + 5, n + 1);
		memcpy(ss, &sun, sizeof(sun));
		return sizeof(sun);
	}
	if (memcmp(addr.bytes, none, addr.family == NET_V4 ? 4 : 16) == 0) {
		(void)net_addr_parse(&addr, addr.family == NET_V4 ? SLICE("127.0.0.1")
								   : SLICE("::1"));
		addr.port = to->addr.port;
	}
	return net_addr_to_sockaddr(&addr, ss);
}

static bool write_request(struct warm_client *c, const struct conf_warmup *conf, size_t i)
{
	const char *host = conf->host;
	char local[32];
	int n;

	snprintf(local, sizeof(local), "localhost:%u", c->w->h->listeners[0].addr.port);
	if (!host)
		host = c->w->h->listeners[0].addr.family == NET_UNIX ? "localhost" : local;
	n = snprintf(c->text, sizeof(c->text),
		     "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: capricorn warm-up\r\n%s"
		     "Connection: close\r\n\r\n", conf->url[i / FORMS], host,
		     i % FORMS == 0 ? "Accept-Encoding: gzip\r\n" : "");
	c->len = n > 0 ? (size_t)n : 0;
	c->sent = 0;
	c->good = c->heard = false;
	return n > 0 && (size_t)n < sizeof(c->text);
}

static void begin_client(struct warm_client *c, struct run *r)
{
	struct sockaddr_storage ss = {0};
	socklen_t len = address(c->w, &ss);
	size_t i = r->next++;
	int fd = -1;

	c->run = r;
	c->watch = (struct watch){.fd = -1, .cb = on_event};
	if (write_request(c, r->conf, i) && len > 0)
		fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&ss, len) != 0 && errno != EINPROGRESS) {
		close(fd);
		fd = -1;
	}
	c->watch.fd = fd;
	if (fd < 0 || loop_watch(c->w->loop, &c->watch, LOOP_OUT) != 0) {
		end_client(c, false);
		return;
	}
	timer_arm(c->w->loop, &c->timer, loop_now(c->w->loop) + c->w->deadline_ns);
}

/* ---- runs ---- */

static struct run *next_run(struct warm *w)
{
	struct run *best = NULL;

	for (size_t i = 0; i < w->nruns; i++) {
		struct run *r = &w->run[i];

		if (r->on && r->next < r->conf->nurls * FORMS &&
		    (!best || r->conf->class < best->conf->class))
			best = r;
	}
	return best;
}

static void begin_some(struct warm *w)
{
	for (uint32_t i = 0; i < w->nclients; i++) {
		struct run *r = w->client[i].run ? NULL : next_run(w);

		if (r)
			begin_client(&w->client[i], r);
	}
}

static void begin_run(struct run *r)
{
	if (r->on) {
		log_warnx("Warm-up %s: it is due again, and has not ended yet", r->conf->name);
		return;
	}
	r->on = true;
	r->next = r->ended = r->good = 0;
}

void warm_beat(struct warm *w)
{
	time_t now = time(NULL);
	bool serves;

	if (!w)
		return;
	serves = shm_get(&w->h->shm->inst->state) == SHM_IN_RUN;
	for (size_t i = 0; i < w->nruns; i++) {
		struct run *r = &w->run[i];

		if (r->conf->at_start && !r->begun_at_start && serves) {
			r->begun_at_start = true;
			begin_run(r);
		} else if (!r->conf->at_start && r->due >= 0 && now >= r->due) {
			r->due = cron_next(&r->conf->cron, now);
			begin_run(r);
		}
	}
	begin_some(w);
}

/* ---- set up ---- */

size_t warm_timers(const struct conf *c)
{
	return c->policy->cache.nwarmups > 0 ? c->policy->cache.warmup_concurrency : 0;
}

int warm_new(const struct heritage *h, struct loop *l, bool again, struct warm **ret)
{
	const struct conf_cache *conf = &h->conf->policy->cache;
	uint64_t timeout_ms = (uint64_t)h->conf->s.request_timeout;
	struct warm *w;

	*ret = NULL;
	if (conf->nwarmups == 0 || h->nlisteners == 0 || h->conf->cache_bytes == 0)
		return 0;
	w = calloc(1, sizeof(*w) + conf->nwarmups * sizeof(w->run[0]));
	if (!w)
		return -ENOMEM;
	w->client = calloc(conf->warmup_concurrency, sizeof(w->client[0]));
	if (!w->client) {
		free(w);
		return -ENOMEM;
	}
	w->h = h;
	w->loop = l;
	w->deadline_ns = timeout_ms > 0 ? timeout_ms * NS_PER_MS : DEADLINE_NS;
	w->nclients = conf->warmup_concurrency;
	for (uint32_t i = 0; i < w->nclients; i++) {
		w->client[i].w = w;
		w->client[i].watch.fd = -1;
		w->client[i].timer.cb = on_timer;
	}
	w->nruns = conf->nwarmups;
	for (size_t i = 0; i < w->nruns; i++) {
		const struct conf_warmup *c = &conf->warmup[i];

		w->run[i].conf = c;
		w->run[i].begun_at_start = again;
		w->run[i].due = c->at_start ? -1 : cron_next(&c->cron, time(NULL));
	}
	*ret = w;
	return 0;
}

void warm_free(struct warm *w)
{
	if (!w)
		return;
	for (uint32_t i = 0; i < w->nclients; i++)
		if (w->client[i].run && w->client[i].watch.fd >= 0)
			close(w->client[i].watch.fd);
	free(w->client);
	free(w);
}
