/* gateway/route.h — which route a request takes. The first that matches wins.
 *
 * Owner: nothing is kept.   Thread: any, pure.   Units: none.   Errors: NULL: no route matches.
 * Limits: config's; routes are looked through in order, which a benchmark shows to be cheap below some hundreds. */
#ifndef GATEWAY_ROUTE_H
#define GATEWAY_ROUTE_H

#include "gateway/config.h"
#include "gateway/http/message.h"

/* `host_name` without port, in any case of letters; `path` normalised. */
const struct config_route *route_find(const struct config *, struct http_text host_name, struct http_text path);

/* A prefix matches at path segments: /sites matches /sites and /sites/7, not /sitemap; "/" matches all. */
bool route_matches(const struct config_route *, struct http_text host_name, struct http_text path);

#endif
