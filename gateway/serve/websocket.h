/* gateway/serve/websocket.h — a WebSocket that ends here: what the targets echo and live have in common.
 *
 *   websocket_judge ─▶ websocket_accept ─▶ (101) ─▶ websocket_attach ─▶ each step: websocket_watch, then ws_next … ─▶ websocket_over
 *
 * The socket's receive waits under one linked timeout (ring/tcp.h): the first silence asks the client for a pong, the second
 * is a dead peer, and he is told goodbye. While the core drains, each socket is told when its turn comes (worker_goodbye_ms).
 *
 * Owner: the target's state embeds it, in the exchange's arena.   Thread: its core's.   Units: ms.
 * Errors: reasons WS_ACCEPT_*, WEBSOCKET_* for the handshake; what ended it is noted in the exchange.   Limits: struct ws_limits. */
#ifndef GATEWAY_SERVE_WEBSOCKET_H
#define GATEWAY_SERVE_WEBSOCKET_H

#include "gateway/exchange.h"
#include "gateway/serve/websocket_terms.h"
#include "ring/timer.h"
#include "ws/engine.h"

#define WEBSOCKET_PIECES_AT_ONCE 64u     /* of one client, before others have their turn */

struct websocket {
	struct ws ws;
	struct ws_deflate *deflate;      /* NULL: not agreed */
	uint64_t deflate_bytes;          /* promised by … */
	struct worker *worker;
	struct timer goodbye;            /* while draining */
	const char *waits;               /* the name of the wait whose silences are counted */
	bool attached;
	bool pinged;                     /* in this silence */
	bool closing;                    /* our Close is said */
};

/* By what the route says; `otherwise`: whose pages may connect where it does not. NULL: the request may become a WebSocket. */
const struct reason *websocket_judge(const struct exchange *, enum ws_origins otherwise, struct ws_acceptance *);

/* Is this request made by a program, or by a page of the host that it asks? A browser sends Origin with every request that changes
 * something, and the cookies and certificate of whoever sits before it. */
bool websocket_own_page(const struct exchange *);

/* As configured, with messages of that size. */
struct ws_limits websocket_limits(const struct config *, uint64_t message_bytes_max);

/* Answers 101. websocket_ended is owed in the target's `ended`. */
void websocket_accept(struct exchange *, struct websocket *, const struct ws_acceptance *);

/* Once, in the first step after the upgrade: frames from now on. `waits` is a constant. */
void websocket_attach(struct exchange *, struct websocket *, const struct ws_limits *, const char *waits, uint32_t silence_ms);

/* Bytes of one client before others have their turn: as they are for us, because a few on the wire may unpack to a thousand times as
 * many, and packing them again costs most. */
static inline uint64_t websocket_bytes_at_once(const struct websocket *w)
{
	return w->deflate ? CHUNK_BYTES : 4 * CHUNK_BYTES;
}

/* At the beginning of each step: silences and the drain. True: the client has just been found dead. */
bool websocket_watch(struct exchange *, struct websocket *);

/* Says Close with the reason's code and sentence, and waits for the client's for a bounded time. */
void websocket_goodbye(struct exchange *, struct websocket *, const struct reason *);

/* Reads some of what the client says, and leaves the rest to the next turn; `said` is called for each piece of a message, NULL: nobody
 * wants them. False: the socket is over. */
bool websocket_read(struct exchange *, struct websocket *, void (*said)(struct exchange *, const struct ws_piece *));

/* ws_next said WS_CLOSED or WS_BROKEN, and gave this. */
void websocket_over(struct exchange *, struct websocket *, const struct ws_piece *);

/* In the target's `ended`; NULL is harmless. */
void websocket_ended(struct websocket *);

/* What zlib has for it at the moment; NULL is harmless. */
size_t websocket_bytes_held(const struct websocket *);

#endif
