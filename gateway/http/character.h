/* gateway/http/character.h — what a byte may be part of.
 *
 * Owner: static storage, const.   Thread: any.   Units: none.   Errors: none.   Limits: none. */
#ifndef GATEWAY_HTTP_CHARACTER_H
#define GATEWAY_HTTP_CHARACTER_H

#include "ring/base.h"

enum {
	HTTP_IS_TOKEN = 1,               /* RFC 9110 §5.6.2 tchar */
	HTTP_IS_TARGET = 2,              /* visible ASCII but "#" */
	HTTP_IS_VALUE = 4,               /* RFC 9110 §5.5: HTAB, SP, VCHAR, obs-text */
	HTTP_IS_HEX = 8,
	HTTP_IS_QUOTED = 16,             /* RFC 9110 §5.6.4 qdtext, ASCII alone */
	HTTP_IS_UNRESERVED = 32,         /* RFC 3986 §2.3 */
	HTTP_IS_HOST = 64,               /* of a name or an IPv4 address; see http_host_split */
};

extern const uint8_t http_classes[256];

static inline bool http_is(char c, unsigned class)
{
	return http_classes[(uint8_t)c] & class;
}

/* How many of the n bytes, from the first on, are HTTP_IS_VALUE. */
size_t http_value_run(const char *bytes, size_t n);

static inline bool http_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline char http_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static inline unsigned http_hex_value(char c)
{
	return c <= '9' ? (unsigned)(c - '0') : (unsigned)(http_lower(c) - 'a' + 10);
}

#endif
