/* SPDX-License-Identifier: MIT */
/* Media types of files (http/types.def), and which of them are worth compressing. */
#ifndef HTTP_TYPES_H
#define HTTP_TYPES_H

#include "http/http.h"

/* Value of Content-Type for a file by the ending of its path, in any case;
 * "application/octet-stream" if the ending is not known or there is none. NUL-terminated. */
struct slice http_type_of(struct slice path);

/* Does gzip make bodies of that Content-Type (parameters may follow) much smaller? Text, and what
 * is text by another name; not what is compressed already, and nothing that is not known. */
bool http_type_is_compressible(struct slice content_type);

#endif
