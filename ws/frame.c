/* ws/frame.c — the header's rules in the order of its bytes. */
#include "ws/frame.h"

#include "ws/reason.h"

#include <string.h>

#define LENGTH_16 126u                   /* in the 7 bits: two bytes of length follow */
#define LENGTH_64 127u                   /* eight bytes follow */

static const struct reason *first_byte_judge(const struct ws_frame *frame, const struct ws_frame_rules *rules)
{
	/* RFC 6455 §5.2: "If a nonzero value is received and none of the negotiated extensions defines the meaning of such
	 * a nonzero value, the receiving endpoint MUST _Fail the WebSocket Connection_." */
	bool begins = frame->opcode == WS_TEXT || frame->opcode == WS_BINARY;

	/* RFC 7692 §6.1: "An endpoint MUST NOT set the "Per-Message Compressed" bit of control frames and non-first fragments of a data
	 * message." */
	if (frame->reserved & ~(begins ? rules->reserved_allowed : 0))
		return &WS_RESERVED_BIT;
	switch (frame->opcode) {
	case WS_CONTINUATION:
		return rules->in_message ? NULL : &WS_CONTINUATION_ALONE;
	case WS_TEXT:
	case WS_BINARY:
		/* §5.4: "The fragments of one message MUST NOT be interleaved between the fragments of another message
		 * unless an extension has been negotiated that can interpret the interleaving." */
		return rules->in_message ? &WS_MESSAGE_UNFINISHED : NULL;
	case WS_CLOSE:
	case WS_PING:
	case WS_PONG:
		/* §5.5: "All control frames MUST have a payload length of 125 bytes or less and MUST NOT be fragmented." */
		return frame->final ? NULL : &WS_CONTROL_FRAGMENTED;
	default:
		return &WS_OPCODE_RESERVED;
	}
}

/* The length lies between `low` and `high`, which are what it would be if all missing bits were 0 or 1. */
static const struct reason *length_judge(const struct ws_frame *frame, uint64_t low, uint64_t high, uint64_t shortest,
	const struct ws_frame_rules *rules)
{
	/* §5.2: "the minimal number of bytes MUST be used to encode the length", and of 64 bits "the most significant
	 * bit MUST be 0". */
	if (low >> 63)
		return &WS_LENGTH_NEGATIVE;
	if (high < shortest)
		return &WS_LENGTH_NOT_MINIMAL;
	if (ws_opcode_control(frame->opcode))
		return NULL;             /* 125 at most, or it has been refused */
	if (low > rules->frame_bytes_max)
		return &WS_FRAME_TOO_LARGE;
	if (low > (frame->reserved ? rules->coded_bytes_left : rules->message_bytes_left))
		return &WS_MESSAGE_TOO_LARGE;
	return NULL;
}

/* Of a length of `wide` bytes as much as is there, byte by byte, with zeroes or ones behind it: with several bounds broken it is the first
 * byte that says which, and not how many came with it. */
static const struct reason *wide_judge(const struct ws_frame *frame, const uint8_t *bytes, size_t there, unsigned wide,
	const struct ws_frame_rules *rules, uint64_t *length)
{
	const uint64_t shortest = wide == 2 ? LENGTH_16 : UINT16_MAX + 1u;
	const struct reason *broken = NULL;
	uint64_t low = 0;

	for (size_t i = 0; i < there && !broken; i++) {
		const unsigned place = 8 * (wide - 1 - (unsigned)i);

		low |= (uint64_t)bytes[i] << place;
		broken = length_judge(frame, low, low | (((uint64_t)1 << place) - 1), shortest, rules);
	}
	*length = low;
	return broken;
}

enum ws_decode ws_frame_decode(struct ws_frame *frame, size_t *size, const uint8_t *bytes, size_t n,
	const struct ws_frame_rules *rules, const struct reason **broken)
{
	if (n < 1)
		return WS_DECODE_MORE;
	*frame = (struct ws_frame){
		.final = bytes[0] >> 7,
		.reserved = (bytes[0] >> 4) & 0x7,
		.opcode = bytes[0] & 0xF,
	};
	if ((*broken = first_byte_judge(frame, rules)) != NULL)
		return WS_DECODE_BROKEN;

	if (n < 2)
		return WS_DECODE_MORE;
	frame->masked = bytes[1] >> 7;
	/* §5.1: "The server MUST close the connection upon receiving a frame that is not masked." And: "A client MUST close a
	 * connection if it detects a masked frame." */
	if (frame->masked != rules->from_client) {
		*broken = rules->from_client ? &WS_MASK_MISSING : &WS_MASK_FORBIDDEN;
		return WS_DECODE_BROKEN;
	}

	unsigned seven = bytes[1] & 0x7F;
	unsigned wide = seven == LENGTH_16 ? 2 : seven == LENGTH_64 ? 8 : 0;
	uint64_t length = seven;

	if (wide > 0 && ws_opcode_control(frame->opcode))
		*broken = &WS_CONTROL_TOO_LONG;
	else if (wide > 0)
		*broken = wide_judge(frame, bytes + 2, n - 2 < wide ? n - 2 : wide, wide, rules, &length);
	else
		*broken = length_judge(frame, seven, seven, 0, rules);
	if (*broken != NULL)
		return WS_DECODE_BROKEN;

	size_t whole = 2 + wide + (frame->masked ? sizeof(frame->mask) : 0);

	if (n < whole)
		return WS_DECODE_MORE;
	frame->length = length;
	if (frame->masked)
		memcpy(frame->mask, bytes + 2 + wide, sizeof(frame->mask));
	*size = whole;
	return WS_DECODE_WHOLE;
}

size_t ws_frame_encode(uint8_t header[static WS_HEADER_MAX], const struct ws_frame *frame)
{
	size_t n = 2;
	unsigned wide = 0;

	check(frame->length >> 63 == 0);
	if (ws_opcode_control(frame->opcode))
		check(frame->final && frame->length <= WS_CONTROL_MAX);

	header[0] = (uint8_t)(frame->final << 7 | frame->reserved << 4 | frame->opcode);
	header[1] = (uint8_t)(frame->masked << 7);
	if (frame->length < LENGTH_16) {
		header[1] |= (uint8_t)frame->length;
	} else if (frame->length <= UINT16_MAX) {
		header[1] |= LENGTH_16;
		wide = 2;
	} else {
		header[1] |= LENGTH_64;
		wide = 8;
	}
	while (wide-- > 0)
		header[n++] = (uint8_t)(frame->length >> 8 * wide);
	if (frame->masked) {
		memcpy(header + n, frame->mask, sizeof(frame->mask));
		n += sizeof(frame->mask);
	}
	return n;
}

static inline void eight_mask(uint8_t *bytes, uint64_t key)
{
	uint64_t eight;

	memcpy(&eight, bytes, sizeof(eight));
	eight ^= key;
	memcpy(bytes, &eight, sizeof(eight));
}

void ws_mask(uint8_t *bytes, size_t n, const uint8_t mask[static 4], uint64_t offset)
{
	uint8_t turned[8];               /* the mask as it meets bytes[0], twice */
	uint64_t key;
	size_t i = 0;

	for (unsigned k = 0; k < 8; k++)
		turned[k] = mask[(offset + k) & 3];
	memcpy(&key, turned, sizeof(key));

	/* Any alignment: the copies of eight_mask become plain loads and stores, and the four of them a wide one. */
	for (; n - i >= 32; i += 32) {
		eight_mask(bytes + i, key);
		eight_mask(bytes + i + 8, key);
		eight_mask(bytes + i + 16, key);
		eight_mask(bytes + i + 24, key);
	}
	for (; n - i >= 8; i += 8)
		eight_mask(bytes + i, key);
	for (; i < n; i++)
		bytes[i] ^= turned[i & 7];
}
