/* SPDX-License-Identifier: MIT */
/* The texts of http/err.def and the names of the methods. */
#include "http/http.h"

static const struct {
	int status;
	const char *word;
	const char *text;
} errors[HTTP_ERR_COUNT] = {
	[HTTP_OK] = { 200, "ok", "" },
#define HTTP_ERR(sym, status, word, text) [HTTP_E_##sym] = { status, word, text },
#include "http/err.def"
#undef HTTP_ERR
};

static unsigned known(enum http_err e)
{
	return (unsigned)e < HTTP_ERR_COUNT ? (unsigned)e : HTTP_E_BAD_REQUEST_LINE;
}

int http_err_status(enum http_err e)
{
	return errors[known(e)].status;
}

const char *http_err_word(enum http_err e)
{
	return errors[known(e)].word;
}

const char *http_err_text(enum http_err e)
{
	return errors[known(e)].text;
}

const char *http_method_name(enum http_method m)
{
	static const char *const names[HTTP_M_COUNT] = {
		[HTTP_M_OTHER] = "OTHER", [HTTP_M_GET] = "GET", [HTTP_M_HEAD] = "HEAD",
		[HTTP_M_POST] = "POST", [HTTP_M_PUT] = "PUT", [HTTP_M_DELETE] = "DELETE",
		[HTTP_M_CONNECT] = "CONNECT", [HTTP_M_OPTIONS] = "OPTIONS",
		[HTTP_M_TRACE] = "TRACE", [HTTP_M_PATCH] = "PATCH",
	};

	return (unsigned)m < HTTP_M_COUNT ? names[m] : names[HTTP_M_OTHER];
}
