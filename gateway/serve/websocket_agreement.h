/* gateway/serve/websocket_agreement.h — does a service's 101 agree to what the client has asked?
 *
 * A client that we do not know fails the connection himself when it does not (RFC 6455 §4.1); but by then we have made a tunnel out of
 * an answer that may have been another's, from a cache or to another request, and bytes go through it that nobody reads as HTTP.
 *
 * Owner: nothing is kept.   Thread: any, pure function.   Errors: false.   Limits: those of a head.   Source: RFC 6455 §4.1. */
#ifndef GATEWAY_SERVE_WEBSOCKET_AGREEMENT_H
#define GATEWAY_SERVE_WEBSOCKET_AGREEMENT_H

#include "gateway/http/message.h"

/* `asked` as it was sent to the service, with Upgrade: websocket; `answer` has status 101. */
bool websocket_agreed(const struct http_head *asked, const struct http_head *answer);

#endif
