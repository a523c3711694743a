/* ws/boundary.h — where a stream of frames stands, for somebody who passes it on and does not read it.
 *
 *   server ──[header│payload……][header│pay      load]──▶ client
 *                              ▲           ▲
 *                       a frame of ours    here one would be
 *                       may stand here     taken for payload
 *
 * Only headers are looked at, so what passes costs some bytes' look a frame, whatever its payload. What no server may send (a mask, an
 * unknown opcode, a control frame in pieces) shows that this is no stream of frames, or that we have lost our place in it: from
 * then on there is no boundary any more. Nor is there one behind a Close: nothing may follow it (RFC 6455 §5.5.1).
 *
 * Owner: the caller; all zero is the beginning of a stream.   Thread: any, pure functions.   Units: bytes.
 * Errors: none; `lost`.   Limits: none.   Source: RFC 6455 §5.2. */
#ifndef WS_BOUNDARY_H
#define WS_BOUNDARY_H

#include "ring/base.h"
#include "ws/frame.h"

struct ws_boundary {
	uint64_t payload_left;           /* of the present frame */
	uint8_t header[WS_HEADER_MAX];   /* of a frame whose header has not passed wholly */
	uint8_t header_n;
	bool closed;                     /* Close has passed */
	bool lost;
};

/* These bytes pass, from the server to the client; n may be 0. */
void ws_boundary_pass(struct ws_boundary *, const uint8_t *bytes, size_t n);

/* May a frame of our own follow here? Between two frames of a message, too, if it is a control frame. */
static inline bool ws_boundary_here(const struct ws_boundary *b)
{
	return b->payload_left == 0 && b->header_n == 0 && !b->closed && !b->lost;
}

#endif
