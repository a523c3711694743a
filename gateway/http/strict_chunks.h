/* gateway/http/strict_chunks.h — where the payload of a chunked body lies.
 *
 *   5;ext=1 CR LF  hello  CR LF  0 CR LF  field lines  CR LF
 *   ╰─ scanned ──╯ ╰moved╯ ╰────────── scanned ───────────╯
 *
 * Pure: it looks at framing alone and tells how many bytes to skip and how many to move.
 *
 * Owner: the struct that embeds it.   Thread: its core's.   Units: bytes.
 * Errors: reasons of gateway/http/reason.h.   Limits: the constants below, and payload_bytes_max. */
#ifndef GATEWAY_HTTP_STRICT_CHUNKS_H
#define GATEWAY_HTTP_STRICT_CHUNKS_H

#include "gateway/http/strict.h"

#define STRICT_CHUNK_LINE_BYTES_MAX 256u      /* size, extensions and CRLF of one chunk */
#define STRICT_CHUNK_WASTE_BYTES_MAX 16384u   /* framing beyond 16 bytes a chunk and twice the payload, over a whole body */
#define STRICT_TRAILER_BYTES_MAX 8192u
#define STRICT_TRAILER_FIELDS_MAX 64u

struct strict_chunks {
	uint8_t state;
	uint8_t digits;
	uint32_t line_bytes;
	uint32_t waste;                  /* see STRICT_CHUNK_WASTE_BYTES_MAX */
	uint64_t size;                   /* of the chunk whose line is being read */
	uint64_t payload_left;           /* of the present chunk: move this much, then tell strict_chunks_moved */
	uint64_t payload_bytes;          /* announced so far */
	uint64_t payload_bytes_max;      /* HTTP_BODY_TOO_LARGE beyond */
	struct strict_head trailer;
};

void strict_chunks_begin(struct strict_chunks *, uint64_t payload_bytes_max);

/* Looks at framing. MORE: *used bytes are framing; if payload_left is not 0 then, payload follows at once, otherwise all was
 * used. DONE: *used bytes end the body. */
enum strict strict_chunks_scan(struct strict_chunks *, const char *bytes, size_t n, size_t *used, const struct reason **reason);

void strict_chunks_moved(struct strict_chunks *, uint64_t n); /* n ≤ payload_left */

#endif
