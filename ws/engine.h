/* ws/engine.h — a WebSocket, server's side, between two pipes.
 *
 *   client ─▶ in ──▶ ws_next ──▶ pieces of messages, in place, unmasked ──▶ the caller, who says ws_consumed
 *                       │ pings are answered, rules are kept
 *   client ◀─ out ◀─────┴─────── ws_write, ws_write_begin … ws_write_end, ws_ping, ws_close ◀── the caller
 *
 * The engine is pulled: it calls nobody and waits for nobody. The caller's task reads `in` and writes `out`, so both pipes
 * wake it, and its step is a loop:
 *
 *   for (;;) switch (ws_next(ws, &piece)) {
 *   case WS_DATA:          if (ws_write_free(ws) == 0) return;  out is full: its reader will wake us
 *                          … use piece.bytes … ws_consumed(ws, n); break;
 *   case WS_PONG_RECEIVED: break;                              the peer is alive
 *   case WS_MORE_NEEDED:   return;                              in is empty: its writer will wake us
 *   case WS_CLOSED:        piece.code, piece.bytes; the scope may go when `out` is sent
 *   case WS_BROKEN:        piece.reason; likewise
 *   }
 *
 * Messages are never put together here: a piece is what the pipe holds in one place, so a message of any size costs
 * no memory, and a small one is one piece. Of a packed one (ws_use_deflate) a piece is at most a chunk. Text is known to be UTF-8 up to the end of a piece before the caller sees it.
 *
 * Words:  piece    some bytes of one message            part     one frame of a message that we write
 *         closed   both sides said so with Close        broken   the other side broke a rule, or is gone
 *
 * Closing. ws_close says Close and then only waits for the peer's: what else comes is thrown away. A peer's Close is answered with
 * its own code. After both `out` ends and `in` is refused, so that bytes still on their way cannot turn into a reset
 * that overtakes the Close. A broken rule is answered with Close and its code, and then the same. How long each may take
 * is the caller's deadline, not ours.
 *
 * Pings are answered at once while `out` has room. While it has none only the last one is remembered: RFC 6455 §5.5.3 lets us
 * answer the most recent. So a flood of pings behind a reader who does not read holds 125 bytes.
 *
 * Owner: the struct that embeds it; it owns neither pipe.   Thread: its core's.   Units: bytes of payload.
 * Errors: reasons of ws/reason.h, or the one that `in` was broken or `out` refused with.
 * Limits: struct ws_limits.   Source: RFC 6455 §5-7. */
#ifndef WS_ENGINE_H
#define WS_ENGINE_H

#include "ring/base.h"
#include "ring/pipe.h"
#include "ring/reason.h"
#include "ws/deflate.h"
#include "ws/frame.h"
#include "ws/reason.h"
#include "ws/utf8.h"

#define WS_SMALL_FRAGMENT_BYTES 64u      /* below this a fragment that is not the last counts as small */
#define WS_LENGTH_UNKNOWN UINT64_MAX

/* 0 means no limit. */
struct ws_limits {
	uint64_t frame_bytes_max;
	uint64_t message_bytes_max;
	uint32_t small_fragments_max;    /* in one message */
};

enum ws_event {
	WS_MORE_NEEDED,
	WS_DATA,
	WS_PONG_RECEIVED,
	WS_CLOSED,
	WS_BROKEN,
};

/* What an event is about; fields that are not named for it are zero. Good until the next call with this ws. */
struct ws_piece {
	uint8_t *bytes;                  /* DATA: payload, in the pipe or unpacked; PONG: its payload; CLOSED: the peer's text, UTF-8 */
	size_t n;                        /* of these; 0 is possible in all three */
	uint8_t opcode;                  /* DATA: WS_TEXT or WS_BINARY, of the message */
	bool first;                      /* DATA: nothing of this message was consumed before */
	bool last;                       /* DATA: the message ends with these bytes */
	unsigned code;                   /* CLOSED: the peer's; WS_CODE_NONE when it gave none */
	const struct reason *reason;     /* BROKEN */
};

/* A control frame that waits for a better moment. */
struct ws_waiting {
	uint8_t opcode;                  /* 0: none waits */
	uint8_t n;
	uint8_t bytes[WS_CONTROL_MAX];
};

struct ws {
	uint32_t magic;
	struct pipe *in;
	struct pipe *out;
	struct ws_limits limits;
	struct ws_deflate *deflate;      /* the caller's; NULL: not agreed */

	/* Reading. */
	struct ws_frame frame;           /* the present one, when in_frame */
	uint64_t frame_at;               /* of its payload, consumed */
	uint64_t clear;                  /* the next bytes of `in`, of this frame, unmasked and judged already */
	uint64_t message_bytes;          /* of the present message, in whole frames and the present one; unpacked, as far as it is */
	uint64_t packed_bytes;           /* the same of a packed one, as it came */
	uint32_t small_fragments;
	struct ws_utf8 utf8;
	uint8_t header[WS_HEADER_MAX];   /* of a frame whose header came in pieces */
	uint8_t header_n;
	uint8_t message_opcode;          /* 0: between messages */
	bool message_touched;            /* some of its bytes were consumed */
	bool message_packed;
	bool in_frame;
	uint8_t control[WS_CONTROL_MAX]; /* payload of the present control frame; of a Close, to the end */

	/* Writing. */
	uint64_t part_left;              /* of a part whose length was told; control frames wait until it is whole */
	uint8_t part_opcode;             /* of the next part; WS_CONTINUATION behind the first */
	bool writing;                    /* between ws_write_begin and ws_write_end */
	bool part_open;                  /* part_left is meant */
	bool part_packed;                /* this message goes out packed */
	struct ws_waiting pong;
	struct ws_waiting own;           /* a ping, or the Close that takes its place */

	/* Ending. */
	enum ws_event end;               /* WS_CLOSED or WS_BROKEN, for good; else WS_MORE_NEEDED */
	const struct reason *reason;
	uint16_t peer_code;
	uint16_t own_code;               /* of our Close, WS_CODE_NONE included; 0: we have said none */
	bool close_told;                 /* written, waiting in `own`, or nobody is there; nothing of ours comes behind it */

	/* For metrics and dumps. */
	uint64_t messages_received, messages_sent;
	uint64_t pings_answered, pings_passed_over;
};

/* Both pipes are empty or hold what came behind the handshake; it needs no end: nothing is allocated. */
void ws_init(struct ws *, struct pipe *in, struct pipe *out, const struct ws_limits *);

/* permessage-deflate was agreed: before the first ws_next and write. Pieces are unpacked then, and lie in a chunk of `deflate`; what is
 * written is packed where that pays. The caller still owes ws_deflate_fini, though the end of the conversation frees its memory
 * already; it is initialised with the pipes' pool. */
void ws_use_deflate(struct ws *, struct ws_deflate *);

/* ---- reading ---- */

/* The next event. DATA stands until it is consumed: called again, it gives the same bytes or more. CLOSED and BROKEN are
 * for good. Runs through at most what `in` holds. */
enum ws_event ws_next(struct ws *, struct ws_piece *);

/* n ≤ piece.n bytes of the last DATA were used. A piece of 0 bytes wants its ws_consumed(ws, 0) too; for others that is
 * harmless and says "not yet". */
void ws_consumed(struct ws *, size_t n);

/* ---- writing ---- */

/* Payload bytes that `out` takes now; 0 while it is full (it wakes its writer when it opens) and after a Close.
 * Asked before a write, not asked by it: a single write may go over the bound by what it is given. */
uint64_t ws_write_free(const struct ws *);

/* A whole message in one frame; n may be 0. Nothing is judged: text is UTF-8 by the caller's word.
 * The writing functions return false when the bytes went nowhere, because a Close was said: a message cut by that is
 * seen by nobody. check: no other message is being written. */
bool ws_write(struct ws *, enum ws_opcode, const void *bytes, size_t n);

/* A message piece by piece. Of unknown length: each piece is a fragment, and pings, pongs and a Close may stand between
 * two of them; best where the bytes come from another peer. Of known length: one frame; control frames and a Close wait until
 * all of it was given, and if it never is, the only end is pipe_break(out). check: neither more nor fewer bytes come. */
/* A message of known length is never packed: its packed length would have to be known before its bytes are. */
bool ws_write_begin(struct ws *, enum ws_opcode, uint64_t length);
bool ws_write_piece(struct ws *, const void *bytes, size_t n);
bool ws_write_end(struct ws *, const void *bytes, size_t n);  /* the last piece; NULL and 0 are fine */

/* The first n ≤ piece.n bytes of a piece of another WebSocket, or of this one (an echo), as a fragment of a message like the
 * one they came from: same type, same beginning and end. A message that came in one piece goes out as one frame. */
bool ws_write_like(struct ws *, const struct ws_piece *, size_t n);

/* n ≤ WS_CONTROL_MAX. Of two that had to wait the later one is sent. Nothing after a Close. */
void ws_ping(struct ws *, const void *payload, size_t n);

/* Says Close, once; harmless after. `code` is one that a frame may carry (check), or WS_CODE_NONE for none; `text` is UTF-8,
 * may be NULL, and is cut at a character when it is longer than WS_CLOSE_TEXT_MAX. */
void ws_close(struct ws *, unsigned code, const char *text);

/* May a frame carry this code? */
bool ws_code_sendable(unsigned code);

static inline bool ws_over(const struct ws *ws)
{
	return ws->end != WS_MORE_NEEDED;
}

#endif
