/* ws/accept.h — may this HTTP request become a WebSocket, and what is it answered?
 *
 *   GET /live HTTP/1.1                                       HTTP/1.1 101 Switching Protocols
 *   Host: edc.example                                        Upgrade: websocket
 *   Upgrade: websocket                       ws_accept       Connection: Upgrade
 *   Connection: keep-alive, Upgrade        ───────────▶      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=
 *   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==              Sec-WebSocket-Protocol: chat
 *   Sec-WebSocket-Version: 13
 *   Sec-WebSocket-Protocol: superchat, chat
 *
 * A pure decision: it reads the request through a look-up that the HTTP engine gives, and writes no answer itself. What it
 * fills is what the 101 carries beside the fixed fields. A refusal's status is ws_accept_status(reason); with 405 goes
 * "Allow: GET", with 426 "Sec-WebSocket-Version: 13" and "Upgrade: websocket".
 *
 * Of extensions permessage-deflate is known (ws/extension.h), where the terms have it. All others are declined by silence (RFC 6455
 * §9.1: the client may use only what the answer names).
 *
 * Owner: the caller; a protocol that was chosen points into the terms.   Thread: any, pure functions.   Units: bytes.
 * Errors: reasons WS_ACCEPT_*.   Limits: those of the HTTP engine on a head.   Source: RFC 6455 §4.2, RFC 9110 §5.6. */
#ifndef WS_ACCEPT_H
#define WS_ACCEPT_H

#include "ring/base.h"
#include "ring/reason.h"
#include "ws/extension.h"

struct ws_text {
	const char *at;
	size_t size;
};

/* The index-th field line of that name (compared without regard to case), counted from 0, in the order of the head.
 * False when there are no more. The value stays good while ws_accept runs. */
typedef bool ws_field_find(const void *from, const char *name, unsigned index, struct ws_text *value);

struct ws_request {
	struct ws_text method;
	unsigned http_major, http_minor;
	bool secure;                     /* it came over TLS: of an origin that is this host's, the scheme must say so too */
	ws_field_find *field;
	const void *from;                /* given to `field` */
};

enum ws_origins {
	WS_ORIGINS_SAME_HOST,            /* the page's scheme, host and port are those of this request, or the list has it */
	WS_ORIGINS_LISTED,               /* the list has it */
	WS_ORIGINS_ANY,
};

/* What the place that was asked for offers. */
struct ws_terms {
	const char *const *protocols;    /* subprotocols spoken here; may be NULL with 0 */
	size_t protocol_count;
	bool protocol_required;          /* a client that offers none of them is refused */
	enum ws_origins origins;
	const char *const *origin_list;  /* "https://edc.example", as browsers write it; may be NULL with 0 */
	size_t origin_count;
	const struct ws_deflate_terms *deflate; /* NULL: no compression here */
};

#define WS_ACCEPT_KEY_SIZE 28u

struct ws_acceptance {
	char key[WS_ACCEPT_KEY_SIZE + 1]; /* Sec-WebSocket-Accept, with a zero byte behind it */
	const char *protocol;            /* Sec-WebSocket-Protocol; NULL: the answer has no such field */
	struct ws_extensions extensions; /* Sec-WebSocket-Extensions: `answer`, when `deflate` */
};

/* NULL: accepted, and *acceptance is filled. Otherwise the first rule that the request breaks. */
const struct reason *ws_accept(struct ws_acceptance *, const struct ws_request *, const struct ws_terms *);

/* The rule of `origins` alone, for requests of other kinds that a foreign page must not make. */
bool ws_origin_welcome(const struct ws_request *, const struct ws_terms *);

/* Sec-WebSocket-Accept for a Sec-WebSocket-Key of any size; also what a client compares the answer with. */
void ws_accept_key(char accept[static WS_ACCEPT_KEY_SIZE + 1], struct ws_text key);

#endif
