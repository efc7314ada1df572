/* SPDX-License-Identifier: MIT */
#ifndef APP_APP_PRIV_H
#define APP_APP_PRIV_H

#include "app/app.h"

extern const struct app app_api;
extern const struct app app_echo;
extern const struct app app_hello;

#define APP_JSON SLICE("application/json")

/* The i-th of the app's routes, for the metrics. */
static inline void app_route(struct request *r, const struct heritage *h, uint32_t i)
{
	if (h->route_ids)
		request_route(r, h->route_ids[i]);
}

#endif
