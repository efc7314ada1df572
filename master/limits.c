/* SPDX-License-Identifier: MIT */
/* What the kernel grants: the number of descriptors, and whose rights a child has. */
#include "master/master_priv.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* What a worker holds beside its connections: standard ones, loop, timers, logs, spool files. */
#define NOFILE_OWN 64

void master_raise_nofile(const struct master *m, struct conf *c)
{
	/* Eventfds of all slots; in the master a pidfd and one end of a pair for each as well. */
	rlim_t own = NOFILE_OWN + 3 * (rlim_t)m->nslots + 2 * (rlim_t)c->nbinds;
	rlim_t need = own + (rlim_t)c->s.worker_connections;
	struct rlimit lim, wish;

	if (getrlimit(RLIMIT_NOFILE, &lim) != 0) {
		log_warn("getrlimit(RLIMIT_NOFILE)");
		return;
	}
	if (lim.rlim_cur < lim.rlim_max || lim.rlim_max < need) {
		wish.rlim_max = lim.rlim_max > need ? lim.rlim_max : need;
		wish.rlim_cur = wish.rlim_max;
		/* Without the right to raise the hard limit, up to it. */
		if (setrlimit(RLIMIT_NOFILE, &wish) != 0) {
			wish.rlim_max = wish.rlim_cur = lim.rlim_max;
			(void)setrlimit(RLIMIT_NOFILE, &wish); /* what is granted is read below */
		}
		(void)getrlimit(RLIMIT_NOFILE, &lim);
	}
	if (lim.rlim_cur >= need)
		return;
	need = lim.rlim_cur > own + 1 ? lim.rlim_cur - own : 1;
	log_warnx("WORKER_CONNECTIONS: %lld do not fit into RLIMIT_NOFILE (%llu): lowered to %llu",
		  (long long)c->s.worker_connections, (unsigned long long)lim.rlim_cur,
		  (unsigned long long)need);
	c->s.worker_connections = (int64_t)need;
}

/* A number stands for itself; everything else is looked up. */
static bool as_number(const char *text, uint32_t *ret)
{
	char *end;
	unsigned long long n;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno != 0 || *end != '\0' || n >= UINT32_MAX)
		return false;
	*ret = (uint32_t)n;
	return true;
}

static int find_user(struct master *m, const char *name)
{
	const struct passwd *pw;
	uint32_t id;

	if (as_number(name, &id)) {
		m->uid = id;
		pw = getpwuid(id);
	} else {
		pw = getpwnam(name);
		if (!pw) {
			log_errx("CAPRICORN_USER: there is no user %s", name);
			return -1;
		}
		m->uid = pw->pw_uid;
	}
	if (pw) {
		m->gid = pw->pw_gid;
		m->user_name = strdup(pw->pw_name);
	}
	return 0;
}

static int find_group(struct master *m, const char *name)
{
	const struct group *gr;
	uint32_t id;

	if (as_number(name, &id)) {
		m->gid = id;
		return 0;
	}
	gr = getgrnam(name);
	if (!gr) {
		log_errx("CAPRICORN_GROUP: there is no group %s", name);
		return -1;
	}
	m->gid = gr->gr_gid;
	return 0;
}

int master_resolve_user(struct master *m, const struct conf *c)
{
	m->uid = geteuid();
	m->gid = getegid();
	if (c->s.user && find_user(m, c->s.user) != 0)
		return -1;
	if (c->s.group && find_group(m, c->s.group) != 0)
		return -1;
	m->drop = m->uid != geteuid() || m->gid != getegid();
	if (m->drop && geteuid() != 0) {
		log_errx("CAPRICORN_USER, CAPRICORN_GROUP: only root can become another user");
		return -1;
	}
	return 0;
}

int master_drop_privileges(const struct master *m)
{
	int rc;

	if (!m->drop)
		return 0;
	rc = m->user_name ? initgroups(m->user_name, m->gid) : setgroups(1, &m->gid);
	if (rc != 0 || setresgid(m->gid, m->gid, m->gid) != 0 ||
	    setresuid(m->uid, m->uid, m->uid) != 0) {
		log_err("cannot become user %u, group %u", (unsigned)m->uid, (unsigned)m->gid);
		return -1;
	}
	/* Believe nothing: there must be no way back. */
	if (getuid() != m->uid || geteuid() != m->uid || getgid() != m->gid ||
	    getegid() != m->gid || (m->uid != 0 && setuid(0) == 0)) {
		log_errx("privileges were not dropped");
		return -1;
	}
	return 0;
}
