/* SPDX-License-Identifier: MIT */
/* Setting up and taking down what conn.c, request.c and answer.c work with. */
#include "serve/serve.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>

#include "base/log.h"
#include "serve/gzip.h"
#include "serve/serve_priv.h"

#define HEAD_MAX 65536u /* of a head as a whole, unless a single line or field may be larger */

size_t serve_timers(uint32_t connections_max)
{
	return connections_max;
}

static size_t slab_size(const struct serve *s)
{
	return (size_t)s->max * sizeof(struct conn);
}

static void read_settings(struct serve *s)
{
	const struct settings *set = s->set;
	size_t two_fields = (size_t)set->limit_request_line +
			    2 * (size_t)set->limit_request_field_size;

	s->limits = (struct http_limits){
		.line_max = (size_t)set->limit_request_line,
		.fields_max = (size_t)set->limit_request_fields,
		.field_size_max = (size_t)set->limit_request_field_size,
		.head_max = two_fields > HEAD_MAX ? two_fields : HEAD_MAX,
	};
	s->huge_cap = (uint32_t)s->limits.head_max + BUF_BIG;
	s->req_size = sizeof(struct request) + s->limits.fields_max * sizeof(struct http_field) +
		      s->limits.line_max + 1;
	s->header_ns = (uint64_t)set->header_timeout * NS_PER_MS;
	s->keepalive_ns = (uint64_t)set->keepalive_timeout * NS_PER_MS;
	s->request_ns = (uint64_t)set->request_timeout * NS_PER_MS;
	s->write_ns = (uint64_t)set->write_timeout * NS_PER_MS;
	s->stream_idle_ns = (uint64_t)set->stream_idle_timeout * NS_PER_MS;
	s->stream_ns = (uint64_t)set->stream_timeout * NS_PER_MS;
	s->slow_ns = set->log_slow_requests && !s->keeper ?
		     (uint64_t)set->slow_request_threshold * NS_PER_MS : UINT64_MAX;
	s->min_body_rate = (uint64_t)set->min_body_rate;
}

#define FDS_MAX (1u << 20)

/* Bits for as many descriptors as there can be; what lies above that is not looked after. */
static int make_fds(struct serve *s)
{
	struct rlimit rl;

	s->fd_max = FDS_MAX;
	if (getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur < FDS_MAX)
		s->fd_max = (uint32_t)rl.rlim_cur;
	s->fd_mine = calloc(s->fd_max / 8 + 1, 1);
	return s->fd_mine ? 0 : -ENOMEM;
}

static int make_rows(struct serve *s)
{
	uint32_t n = s->h->shm->geo.rows;

	if (n > UINT16_MAX)
		n = UINT16_MAX;
	s->row_free = calloc(n, sizeof(s->row_free[0]));
	if (!s->row_free)
		return -ENOMEM;
	while (s->nrow_free < n) {
		s->row_free[s->nrow_free] = (uint16_t)(n - 1 - s->nrow_free);
		s->nrow_free++;
	}
	return 0;
}

int serve_new(const struct serve_options *o, struct serve **ret_serve)
{
	struct serve *s = calloc(1, sizeof(*s));
	int rc = -ENOMEM;

	if (!s)
		return -ENOMEM;
	s->h = o->heritage;
	s->set = &s->h->conf->s;
	s->loop = o->loop;
	s->slot = shm_slot(s->h->shm, s->h->slot);
	s->keeper = o->keeper;
	s->forks = !s->keeper && s->h->conf->app == CONF_APP_MODULE;
	s->handler = o->handler;
	s->handler_arg = o->handler_arg;
	s->max = o->connections_max;
	read_settings(s);
	if (getrandom(&s->id_seed, sizeof(s->id_seed), 0) != (ssize_t)sizeof(s->id_seed))
		s->id_seed = clock_wall_ns() ^ ((uint64_t)s->h->slot << 56);
	/* Not calloc(): pages that no connection has used yet shall not count. */
	s->slab = mmap(NULL, slab_size(s), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (s->slab == MAP_FAILED) {
		s->slab = NULL;
		goto fail;
	}
	rc = make_fds(s);
	if (rc == 0)
		rc = make_rows(s);
	if (rc == 0 && s->set->compression_level > 0) {
		s->gzip = gzip_new((int)s->set->compression_level);
		rc = s->gzip ? 0 : -ENOMEM;
	}
	if (rc == 0 && !s->keeper && s->set->access_log)
		rc = access_log_compile(s->set->access_log_format, &s->access);
	if (rc != 0)
		goto fail;
	*ret_serve = s;
	return 0;
fail:
	serve_free(s);
	return rc;
}

void serve_free(struct serve *s)
{
	if (!s)
		return;
	for (int i = 0; i < CL_COUNT; i++)
		while (s->list[i].first)
			conn_die(s->list[i].first);
	pool_fini(s);
	gzip_free(s->gzip);
	access_log_free(s->access);
	free(s->row_free);
	free(s->fd_mine);
	if (s->slab)
		munmap(s->slab, slab_size(s));
	free(s);
}
