/* SPDX-License-Identifier: MIT */
/*
 * Files of a directory, with ranges, ETags and conditions. The directory is a setting of the module:
 *
 *   module: {directory: /srv/files}
 *
 *   GET /    GET /files/...
 */
#include <capricorn.h>
#include <string.h>

static const char *directory;

static int file(struct capri_request *r, void *arg)
{
	(void)arg;
	return capri_respond_file_under(r, directory, capri_param(r, "*"), NULL);
}

static int front(struct capri_request *r, void *arg)
{
	struct capri_str name = {"index.html", strlen("index.html")};

	(void)arg;
	return capri_respond_file_under(r, directory, name, NULL);
}

static int start(struct capri_worker *w)
{
	struct capri_str given = capri_setting(w, "directory");

	if (!given.p) {
		capri_log(NULL, CAPRI_ERROR, "module: directory: is missing");
		return CAPRI_E_INVALID;
	}
	directory = given.p; /* it is NUL-terminated, and lives as long as the worker */
	return 0;
}

static const struct capri_route routes[] = {
	{"GET", "/", front, .kind = CAPRI_POOL}, /* a disk may block */
	{"GET", "/files/*", file, .kind = CAPRI_POOL},
	{0}
};
const struct capri_app capricorn_app = {
	CAPRI_APP_INIT, .name = "files", .routes = routes, .start = start,
};
