/* SPDX-License-Identifier: MIT */
/* One file, named by the setting `file`. */
#include <capricorn.h>

static int file(struct capri_request *r, void *arg)
{
	(void)arg;
	return capri_respond_file(r, capri_setting(capri_worker_of(r), "file").p, NULL);
}

static const struct capri_route routes[] = {{"GET", "/", file, .kind = CAPRI_INLINE}, {0}};
const struct capri_app capricorn_app = {CAPRI_APP_INIT, .name = "file", .routes = routes};
