/* SPDX-License-Identifier: MIT */
#ifndef APP_APP_PRIV_H
#define APP_APP_PRIV_H

#include "app/app.h"

extern const struct app app_api;
extern const struct app app_echo;
extern const struct app app_hello;

#define APP_JSON SLICE("application/json")

#endif
