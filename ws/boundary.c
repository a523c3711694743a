/* See ws/boundary.h. */
#include "ws/boundary.h"

static size_t header_size(uint8_t second)
{
	return second == 127 ? 10 : second == 126 ? 4 : 2;
}

/* A header is whole: how much payload follows, if it can be one. */
static void header_passed(struct ws_boundary *b)
{
	const uint8_t opcode = b->header[0] & 0xF;
	const bool final = b->header[0] >> 7;

	b->payload_left = b->header[1];
	if (b->header_n > 2)
		b->payload_left = 0;
	for (unsigned i = 2; i < b->header_n; i++)
		b->payload_left = b->payload_left << 8 | b->header[i];
	/* RFC 6455 §5.2: of 64 bits "the most significant bit MUST be 0"; §5.5: control frames "MUST have a payload length of 125 bytes
	 * or less and MUST NOT be fragmented". */
	b->lost = (opcode > WS_BINARY && opcode < WS_CLOSE) || opcode > WS_PONG || b->payload_left >> 63 ||
	          (ws_opcode_control(opcode) && (!final || b->header_n > 2));
	b->closed = opcode == WS_CLOSE;
	b->header_n = 0;
}

void ws_boundary_pass(struct ws_boundary *b, const uint8_t *bytes, size_t n)
{
	while (n > 0 && !b->lost && !b->closed) {
		if (b->payload_left > 0) {
			const size_t skipped = n < b->payload_left ? n : b->payload_left;

			b->payload_left -= skipped;
			bytes += skipped;
			n -= skipped;
			continue;
		}
		b->header[b->header_n++] = *bytes++;
		n--;
		if (b->header_n < 2)
			continue;
		/* §5.1: "A server MUST NOT mask any frames that it sends to the client." */
		if (b->header[1] >> 7)
			b->lost = true;
		else if (b->header_n == header_size(b->header[1]))
			header_passed(b);
	}
}
