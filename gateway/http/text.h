/* gateway/http/text.h — bytes of a message and their count.
 *
 * Not ended by zero. bytes NULL: there is none; size 0 with bytes: there is an empty one.
 *
 * Owner: whoever owns the bytes, usually an arena.   Thread: any, pure functions.
 * Units: bytes.   Errors: false.   Limits: none. */
#ifndef GATEWAY_HTTP_TEXT_H
#define GATEWAY_HTTP_TEXT_H

#include "ring/base.h"

#include <string.h>

struct http_text {
	const char *bytes;
	size_t size;
};

#define HTTP_TEXT(literal) ((struct http_text){(literal), sizeof(literal) - 1})

static inline struct http_text http_text_of(const char *string)
{
	return (struct http_text){string, strlen(string)};
}

/* An absent text is nothing, and the same as none. */
static inline bool http_text_same(struct http_text a, struct http_text b)
{
	return a.bytes && b.bytes && a.size == b.size && memcmp(a.bytes, b.bytes, a.size) == 0;
}

bool http_text_same_nocase(struct http_text, struct http_text);  /* ASCII letters alike */

/* Inline, so that what is known of a literal is known when it is compared. */
static inline bool http_text_is(struct http_text text, const char *string)
{
	return http_text_same(text, http_text_of(string));
}

static inline bool http_text_is_nocase(struct http_text text, const char *string)
{
	return text.size == strlen(string) && http_text_same_nocase(text, http_text_of(string));
}

bool http_text_is_token(struct http_text);                       /* RFC 9110 §5.6.2; at least one character */

/* Decimal digits alone, 1 to 19 of them, so that it cannot overflow. */
bool http_number_parse(struct http_text, uint64_t *number);

/* The digits of a number, without printf. Returns how many; `to` holds at least 20. */
size_t http_number_write(char *to, uint64_t number);

/* The same in hexadecimal, small letters, with zeros before them up to `least` (at most 16) digits; `to` holds at least 16. */
size_t http_hex_write(char *to, uint64_t number, unsigned least);

/* The next element of a comma-separated list, blanks taken off, empty ones skipped; false: no more. `rest` moves on. */
bool http_list_next(struct http_text *rest, struct http_text *element);

#endif
