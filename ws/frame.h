/* ws/frame.h — RFC 6455 §5.2 frame headers, in and out, and the mask.
 *
 *      byte 0              byte 1             0, 2 or 8 bytes        0 or 4 bytes
 *     ┌───┬─────┬────────┬──────┬───────────┬──────────────────────┬──────────────┬─────────
 *     │FIN│RSV×3│ opcode │ MASK │ length 7  │ length 16 or 64      │ masking key  │ payload …
 *     └───┴─────┴────────┴──────┴───────────┴──────────────────────┴──────────────┴─────────
 *
 * Decoding is asked anew with all header bytes so far, at most WS_HEADER_MAX, and keeps nothing. Each rule is judged by the
 * first byte that can break it: reserved bits do not wait for the length, and a 64-bit length is refused
 * as soon as no end of it could be allowed.
 *
 * Owner: the caller owns every buffer; nothing is kept.   Thread: any, pure functions.
 * Units: lengths in bytes of payload.   Errors: a reason from ws/reason.h that names the rule the frame broke.
 * Limits: those of struct ws_frame_rules.   Source: RFC 6455 §5. */
#ifndef WS_FRAME_H
#define WS_FRAME_H

#include "ring/base.h"
#include "ring/reason.h"

#define WS_HEADER_MAX 14u
#define WS_CONTROL_MAX 125u              /* payload of a control frame */
#define WS_CLOSE_TEXT_MAX (WS_CONTROL_MAX - 2u)

enum ws_opcode {
	WS_CONTINUATION = 0x0,
	WS_TEXT = 0x1,
	WS_BINARY = 0x2,
	WS_CLOSE = 0x8,
	WS_PING = 0x9,
	WS_PONG = 0xA,
};

struct ws_frame {
	uint64_t length;
	uint8_t opcode;                  /* enum ws_opcode */
	uint8_t reserved;                /* RSV1 is 4, RSV2 is 2, RSV3 is 1 */
	bool final;
	bool masked;
	uint8_t mask[4];                 /* zeroes when not masked */
};

/* What a frame is held to at the place where it stands. */
struct ws_frame_rules {
	uint64_t frame_bytes_max;        /* of a data frame */
	uint64_t message_bytes_left;     /* that the message may still grow by */
	uint64_t coded_bytes_left;       /* the same of one that begins with an allowed reserved bit */
	uint8_t reserved_allowed;        /* bits to which an extension has given a meaning, on a message's first frame */
	bool from_client;                /* then it must be masked, else it must not be */
	bool in_message;                 /* a fragmented message has begun and not ended */
};

enum ws_decode { WS_DECODE_MORE, WS_DECODE_WHOLE, WS_DECODE_BROKEN };

static inline bool ws_opcode_control(uint8_t opcode)
{
	return (opcode & 0x8) != 0;
}

/* MORE: the n bytes break no rule and are no whole header. WHOLE: *frame is filled and *size is the header's size, at most n.
 * BROKEN: *broken names the rule. *frame and *size mean nothing unless WHOLE. n may be 0, and more than a header. */
enum ws_decode ws_frame_decode(struct ws_frame *frame, size_t *size, const uint8_t *bytes, size_t n,
	const struct ws_frame_rules *, const struct reason **broken);

/* The shortest form; returns its size. check: a control frame is final and has at most WS_CONTROL_MAX bytes. */
size_t ws_frame_encode(uint8_t header[static WS_HEADER_MAX], const struct ws_frame *);

/* Masks or unmasks in place; `offset` is where in the frame's payload bytes[0] stands. */
void ws_mask(uint8_t *bytes, size_t n, const uint8_t mask[static 4], uint64_t offset);

#endif
