/* gateway/serve/websocket_terms.h — what a route offers to a WebSocket that ends here, and what came of it.
 *
 * Owner: the caller; terms point into the configuration, which outlives the exchange.   Thread: its core's.   Units: none.
 * Errors: none.   Limits: none. */
#ifndef GATEWAY_SERVE_WEBSOCKET_TERMS_H
#define GATEWAY_SERVE_WEBSOCKET_TERMS_H

#include "gateway/exchange.h"
#include "ws/accept.h"
#include "ws/deflate.h"

struct websocket_terms {
	struct ws_terms terms;           /* for ws_accept */
	struct ws_deflate_terms deflate; /* terms.deflate points here */
};

/* The route's; `otherwise`: whose pages may connect where it does not say. Do not copy: it points into itself. */
void websocket_terms_read(struct websocket_terms *, const struct config_route *, enum ws_origins otherwise);

/* Adds to the answer of a 101: Sec-WebSocket-Accept, and the subprotocol and extension where they were agreed. */
void websocket_terms_answer(struct exchange *, const struct ws_acceptance *);

/* True: permessage-deflate was agreed, *deflate is initialised, for ws_use_deflate; ws_deflate_fini is owed in `ended`. */
bool websocket_terms_deflate(struct ws_deflate *, const struct exchange *, const struct ws_acceptance *);

#endif
