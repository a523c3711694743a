/* gateway/route.h — which route a request takes. The first that matches wins.
 *
 * A route may be for certain clients only, told by their verified certificates. It protects what its host and path match:
 * whom it does not name may be served by a later route that names clients too, so that groups of clients can be told apart
 * on one path, and never by one that is open to all; the answer then tells that it was the certificate, and not the path.
 *
 *	/monitor for "site-7"   /monitor for "*.cro"   / for all	a request for /monitor
 *	serves                                                  	of site-7
 *	passed over             serves                          	of a.cro
 *	passed over             passed over            refuses  	of anyone else, with a certificate or without
 *
 * Were it to fall through as other routes do, nearly every file would be a trap: `prefix: /` stands at the end of most, and
 * would give /monitor to everyone. Who wants a path open to all as well says so in front of the route that protects it.
 *
 * Owner: nothing is kept.   Thread: any, pure.   Units: none.   Errors: NULL with a reason: no route matches.
 * Limits: config's; routes are looked through in order, which a benchmark shows to be cheap below some hundreds. */
#ifndef GATEWAY_ROUTE_H
#define GATEWAY_ROUTE_H

#include "gateway/config.h"
#include "gateway/http/message.h"
#include "ring/reason.h"
#include "tls/identity.h"

/* `host_name` without port and dot at its end, in any case of letters; `path` normalised; `client` NULL: no verified certificate was shown.
 * NULL with *refusal: ROUTE_NONE where no route matches host and path; where one does and it or those behind it do not admit
 * this client, CLIENT_CERTIFICATE_MISSING or, where one was shown, CLIENT_CERTIFICATE_REFUSED. */
const struct config_route *route_find(const struct config *, struct http_text host_name, struct http_text path,
	const struct tls_identity *client, const struct reason **refusal);

/* Without regard to the client. A prefix matches at path segments: /sites matches /sites and /sites/7, not /sitemap; "/" matches all.
 * Paths are compared with the case of their letters. A route for certain clients also matches what is its path to a service that
 * takes parameters off segments: /sites;a=b/7 and /;/sites. */
bool route_matches(const struct config_route *, struct http_text host_name, struct http_text path);

/* True when the route has no condition on clients, or `client` meets one of them. */
bool route_admits(const struct config_route *, const struct tls_identity *client);

#endif
