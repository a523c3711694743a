/* gateway/http/strict.h — what HTTP/1.1 allows, read so that no second reading is possible.
 *
 * Stands above llhttp, whose strict mode still takes a bare LF at the end of a request line, and before it: a bad byte is
 * refused when it comes, not when the head is whole. Two parts, both pure (strict_chunks.h has the third):
 *   strict_head     the lines of a head, as if byte by byte: line ends, characters, limits; finds where the head ends
 *   strict_settle   the meaning of a head: Host, target, framing, what the connection does next
 *
 * Owner: the struct that embeds them.   Thread: its core's.   Units: bytes.
 * Errors: reasons of gateway/http/reason.h.
 * Limits: struct http_limits and the STRICT_ constants below. */
#ifndef GATEWAY_HTTP_STRICT_H
#define GATEWAY_HTTP_STRICT_H

#include "gateway/http/message.h"

/* Empty lines before a request line. RFC 9112 §2.2: "a server … SHOULD ignore at least one empty line (CRLF) received prior
 * to the request-line." */
#define STRICT_BLANK_LINES_MAX 1u

#define STRICT_METHOD_BYTES_MAX 24u

struct strict_head {
	uint8_t state;
	bool answer;
	bool trailer;                    /* fields alone */
	bool begun;                      /* a byte came that is not of a blank line before the start line */
	uint8_t version_bytes;
	uint8_t digits;
	unsigned blank_lines;
	uint32_t part_bytes;             /* of the method or the target */
	uint32_t bytes;                  /* of the head so far, blank lines apart */
	uint32_t skip_bytes;             /* of blank lines before it */
	uint32_t fields;
	char version[8];
};

void strict_head_begin(struct strict_head *, bool answer);
void strict_trailer_begin(struct strict_head *);

/* The reason for a byte that has no place where it stands. Line ends have a rule of their own, whatever else is wrong.
 * RFC 9112 §2.2: "a recipient MAY recognize a single LF as a line terminator and ignore any preceding CR". We do not: one
 * program that does and one that does not see two different messages. */
static inline const struct reason *strict_misplaced(char c, const struct reason *reason)
{
	return c == '\n' ? &HTTP_BARE_LF : reason;
}

enum strict { STRICT_MORE, STRICT_DONE, STRICT_BROKEN };

/* Looks at the next n bytes. DONE: *used of them end the head. MORE: all were used. BROKEN: *reason. */
enum strict strict_head_scan(struct strict_head *, const struct http_limits *, const char *bytes, size_t n, size_t *used,
                             const struct reason **reason);

/* A head whose method_text, status, version_minor and fields are set, and the target of a request: fills in the rest.
 * `asked`: the request, for an answer. NULL: good. */
const struct reason *strict_settle(struct http_head *, struct http_text target, const struct http_head *asked,
                                   const struct http_limits *);

#endif
