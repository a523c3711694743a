/* ws/extension.h — Sec-WebSocket-Extensions: what a client offers, and what we agree to. Only permessage-deflate is known.
 *
 *   permessage-deflate; server_max_window_bits=10, permessage-deflate; client_max_window_bits
 *   └─────────────── an offer ──────────────────┘  └─────────────── another ───────────────┘
 *
 * Offers stand in the client's order of preference, and the first that can be kept is taken. One that says something that
 * RFC 7692 does not know, or says it wrongly, is declined, as if it were not there; what is no list of extensions at all is
 * refused with the whole request (RFC 6455 §9.1: "the recipient of such malformed data MUST immediately _Fail
 * the WebSocket Connection_").
 *
 * Words:  takeover   a message may refer back to those before it, so that a window is kept between messages
 *         window     how far back, as a power of two: 8 … 15 bits in RFC 7692
 *
 * Owner: the caller; nothing is kept.   Thread: any, pure functions.   Units: bits of a window.
 * Errors: WS_ACCEPT_EXTENSIONS.   Limits: those of the HTTP engine on a head.   Source: RFC 6455 §9.1, RFC 7692 §5, §7.1. */
#ifndef WS_EXTENSION_H
#define WS_EXTENSION_H

#include "ring/base.h"
#include "ring/reason.h"

#define WS_WINDOW_BITS_MIN 9u             /* of our own wish. A client may want 8; but what is made with zlib cannot be told 8, so nobody is asked */
#define WS_WINDOW_BITS_MAX 15u

/* What the place that was asked for wishes. A client may ask for less than this in each point, and then gets less. */
struct ws_deflate_terms {
	bool takeover;
	uint8_t window_bits;             /* WS_WINDOW_BITS_MIN … MAX, each way */
};

struct ws_deflate_agreed {
	bool client_takeover, server_takeover;
	uint8_t client_window_bits, server_window_bits;
};

/* Room for the longest answer and a zero byte. */
#define WS_EXTENSION_ANSWER_BYTES 160u

struct ws_extensions {
	bool deflate;                    /* agreed; else the rest means nothing, and nothing is answered */
	struct ws_deflate_agreed agreed;
	char answer[WS_EXTENSION_ANSWER_BYTES];
};

/* Reads one field line, on top of what earlier lines have brought: begin with zeroes. terms NULL: the lines are judged, and
 * every offer is declined. NULL: the line is well formed. */
const struct reason *ws_extensions_read(struct ws_extensions *, const struct ws_deflate_terms *, const char *line, size_t n);

#endif
