/* SPDX-License-Identifier: MIT */
/* Classes of characters, and the small questions that are answered with them alone. */
#include "http/http_priv.h"

#define ALPHA(c) (((c) >= 'a' && (c) <= 'z') || ((c) >= 'A' && (c) <= 'Z'))
#define DIGIT(c) ((c) >= '0' && (c) <= '9')
#define HEX(c)   (DIGIT(c) || ((c) >= 'a' && (c) <= 'f') || ((c) >= 'A' && (c) <= 'F'))
#define VISIBLE(c) ((c) > 0x20 && (c) < 0x7f)
#define TOKEN(c) \
	(ALPHA(c) || DIGIT(c) || (c) == '!' || (c) == '#' || (c) == '$' || (c) == '%' || \
	 (c) == '&' || (c) == '\'' || (c) == '*' || (c) == '+' || (c) == '-' || (c) == '.' || \
	 (c) == '^' || (c) == '_' || (c) == '`' || (c) == '|' || (c) == '~')
#define METHOD(c) (TOKEN(c) && !((c) >= 'a' && (c) <= 'z') && (c) != '#')
#define VALUE(c)  (VISIBLE(c) || (c) == ' ' || (c) == '\t' || (c) >= 0x80)
#define TARGET(c) ((VISIBLE(c) && (c) != '#') || (c) >= 0x80)
#define HOST(c) \
	(ALPHA(c) || DIGIT(c) || (c) == '-' || (c) == '.' || (c) == '_' || (c) == '~' || \
	 (c) == '!' || (c) == '$' || (c) == '&' || (c) == '\'' || (c) == '(' || (c) == ')' || \
	 (c) == '*' || (c) == '+' || (c) == ',' || (c) == ';' || (c) == '=')
#define ID(c) (ALPHA(c) || DIGIT(c) || (c) == '.' || (c) == '_' || (c) == ':' || (c) == '-')

#define B(c) \
	((TOKEN(c) ? C_TOKEN : 0) | (METHOD(c) ? C_METHOD : 0) | (VALUE(c) ? C_VALUE : 0) | \
	 (TARGET(c) ? C_TARGET : 0) | (HOST(c) ? C_HOST : 0) | (HEX(c) ? C_HEX : 0) | \
	 ((c) == '_' ? C_UNDER : 0) | (ID(c) ? C_ID : 0))
#define B4(c)  B(c), B((c) + 1), B((c) + 2), B((c) + 3)
#define B16(c) B4(c), B4((c) + 4), B4((c) + 8), B4((c) + 12)
#define B64(c) B16(c), B16((c) + 16), B16((c) + 32), B16((c) + 48)

const uint8_t http_class[256] = { B64(0), B64(64), B64(128), B64(192) };

static bool all_of(struct slice s, uint8_t class)
{
	for (size_t i = 0; i < s.len; i++)
		if (!(class_of(s.p[i]) & class))
			return false;
	return true;
}

bool http_token_ok(struct slice s)
{
	return s.len > 0 && all_of(s, C_TOKEN);
}

bool http_value_ok(struct slice value)
{
	return value.len == 0 || scan_value(value.p, value.p + value.len) == value.p + value.len;
}

bool http_field_ok(struct slice name, struct slice value)
{
	return http_token_ok(name) && http_value_ok(value);
}

bool http_request_id_ok(struct slice s)
{
	return s.len >= 1 && s.len <= 128 && all_of(s, C_ID);
}
