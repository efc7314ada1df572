/* SPDX-License-Identifier: MIT */
/* Strings of JSON (RFC 8259) out of bytes that anybody may have sent. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <stddef.h>

#include "base/slice.h"

#define JSON_QUOTE_MAX 6 /* bytes that one byte of input becomes at most */

/*
 * Writes `s` as the inside of a JSON string (without the quotes around it) and returns the length.
 * The result is valid UTF-8 whatever comes in: a byte that is not part of a well-formed sequence is
 * read as Latin-1 and escaped. Controls, DEL and C1 are escaped too, so that a line of it is one
 * line on every terminal. Stops before a character that does not fit `cap` any more.
 */
size_t json_quote(char *out, size_t cap, struct slice s);

/* Length of the well-formed UTF-8 sequence at p (1 to 4), 0 if there is none. */
size_t json_utf8_len(const unsigned char *p, size_t left);

#endif
