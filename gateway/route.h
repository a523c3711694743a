/* gateway/route.h — which route a request takes. The first that matches wins.
 *
 * A route may be for certain clients only, told by their verified certificates. To others it is as if it were not there, and
 * a later route may serve them; where none does, the answer tells that it was the certificate, and not the path.
 *
 * Owner: nothing is kept.   Thread: any, pure.   Units: none.   Errors: NULL with a reason: no route matches.
 * Limits: config's; routes are looked through in order, which a benchmark shows to be cheap below some hundreds. */
#ifndef GATEWAY_ROUTE_H
#define GATEWAY_ROUTE_H

#include "gateway/config.h"
#include "gateway/http/message.h"
#include "ring/reason.h"
#include "tls/identity.h"

/* `host_name` without port, in any case of letters; `path` normalised; `client` NULL: no verified certificate was shown.
 * NULL with *refusal: ROUTE_NONE, or CLIENT_CERTIFICATE_MISSING or _REFUSED where a route was kept from matching by its
 * condition on clients alone. */
const struct config_route *route_find(const struct config *, struct http_text host_name, struct http_text path,
	const struct tls_identity *client, const struct reason **refusal);

/* Without regard to the client. A prefix matches at path segments: /sites matches /sites and /sites/7, not /sitemap; "/" matches all. */
bool route_matches(const struct config_route *, struct http_text host_name, struct http_text path);

/* True when the route has no condition on clients, or `client` meets one of them. */
bool route_admits(const struct config_route *, const struct tls_identity *client);

#endif
