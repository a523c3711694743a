/* ws/reason.h — every rule of RFC 6455 that we hold the other side to, and what its breach is answered with.
 *
 * One reason for one rule. A frame's breach is answered with a Close frame: ws_close_code says with which code.
 * A handshake's breach is answered by HTTP, because no WebSocket exists yet: ws_accept_status says with which status.
 * Both read one const table, so a new rule is one line in each of reason.h and reason.c.
 *
 * Owner: static storage, const.   Thread: any.   Units: close codes of RFC 6455 §7.4, statuses of RFC 9110 §15.
 * Errors: none.   Limits: a sentence fits into a Close frame (WS_CLOSE_TEXT_MAX bytes).   Source: RFC 6455, IANA. */
#ifndef WS_REASON_H
#define WS_REASON_H

#include "ring/reason.h"

/* Close codes we speak of by name. 1005 and 1006 are for ourselves; no frame may carry them. */
enum ws_code {
	WS_CODE_NORMAL = 1000,
	WS_CODE_GOING_AWAY = 1001,
	WS_CODE_PROTOCOL = 1002,
	WS_CODE_UNWELCOME_TYPE = 1003,
	WS_CODE_NONE = 1005,             /* a Close frame came without a code */
	WS_CODE_LOST = 1006,             /* no Close frame came */
	WS_CODE_NOT_UTF8 = 1007,
	WS_CODE_POLICY = 1008,
	WS_CODE_TOO_LARGE = 1009,
	WS_CODE_INTERNAL = 1011,
	WS_CODE_RESTART = 1012,
	WS_CODE_TRY_LATER = 1013,
};

/* ---- frames: ws/frame.c ---- */
extern const struct reason WS_RESERVED_BIT;          /* 1002 */
extern const struct reason WS_OPCODE_RESERVED;       /* 1002 */
extern const struct reason WS_CONTROL_FRAGMENTED;    /* 1002 */
extern const struct reason WS_CONTROL_TOO_LONG;      /* 1002 */
extern const struct reason WS_CONTINUATION_ALONE;    /* 1002 */
extern const struct reason WS_MESSAGE_UNFINISHED;    /* 1002 */
extern const struct reason WS_MASK_MISSING;          /* 1002 */
extern const struct reason WS_MASK_FORBIDDEN;        /* 1002 */
extern const struct reason WS_LENGTH_NOT_MINIMAL;    /* 1002 */
extern const struct reason WS_LENGTH_NEGATIVE;       /* 1002 */
extern const struct reason WS_FRAME_TOO_LARGE;       /* 1009 */
extern const struct reason WS_MESSAGE_TOO_LARGE;     /* 1009 */

/* ---- messages: ws/engine.c ---- */
extern const struct reason WS_TEXT_NOT_UTF8;         /* 1007 */
extern const struct reason WS_DEFLATE_BROKEN;        /* 1007 */
extern const struct reason WS_FRAGMENTS_TOO_SMALL;   /* 1008 */
extern const struct reason WS_CLOSE_TOO_SHORT;       /* 1002 */
extern const struct reason WS_CLOSE_CODE_INVALID;    /* 1002 */
extern const struct reason WS_CLOSE_TEXT_NOT_UTF8;   /* 1007 */
extern const struct reason WS_ENDED_WITHOUT_CLOSE;   /* 1006: told to nobody, there is nobody left */

/* ---- given by those who use the engine and take only one type of message ---- */
extern const struct reason WS_TEXT_UNWELCOME;        /* 1003 */
extern const struct reason WS_BINARY_UNWELCOME;      /* 1003 */

/* ---- the handshake: ws/accept.c ---- */
extern const struct reason WS_ACCEPT_METHOD;             /* 405, with "Allow: GET" */
extern const struct reason WS_ACCEPT_HTTP_TOO_OLD;       /* 400 */
extern const struct reason WS_ACCEPT_HOST;               /* 400 */
extern const struct reason WS_ACCEPT_UPGRADE;            /* 400 */
extern const struct reason WS_ACCEPT_CONNECTION;         /* 400 */
extern const struct reason WS_ACCEPT_KEY;                /* 400 */
extern const struct reason WS_ACCEPT_VERSION;            /* 426, with "Sec-WebSocket-Version: 13" and "Upgrade: websocket" */
extern const struct reason WS_ACCEPT_EXTENSIONS;         /* 400 */
extern const struct reason WS_ACCEPT_ORIGIN;             /* 403 */
extern const struct reason WS_ACCEPT_PROTOCOL_MALFORMED; /* 400 */
extern const struct reason WS_ACCEPT_PROTOCOL_NONE;      /* 400 */

/* The close code for a reason of this header; 1011 for a reason of anyone else, whose own table is asked first.
 * 1006 for WS_ENDED_WITHOUT_CLOSE: ws_close() does not take that one. */
unsigned ws_close_code(const struct reason *);

/* The HTTP status for a reason of ws/accept; 400 for any other. */
unsigned ws_accept_status(const struct reason *);

#endif
