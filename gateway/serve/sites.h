/* gateway/serve/sites.h — the parts of the count target, which gateway/serve/count.c tells apart by the path.
 *
 * Each takes an exchange over: it sets `serve` to a table of its own, and answers or refuses.
 *
 * Owner: the exchange.   Thread: its core's.   Units: none.   Errors: refusals.   Limits: those of sites_request.h, sites_json.h. */
#ifndef GATEWAY_SERVE_SITES_H
#define GATEWAY_SERVE_SITES_H

#include "gateway/exchange.h"
#include "gateway/serve/sites_request.h"

void sites_begin(struct exchange *, const struct sites_target *);        /* sites.c: one site, its changes, the study's cap */
void sites_page_begin(struct exchange *);                                /* sites_page.c: GET /sites */
void sites_events_begin(struct exchange *);                              /* sites_events.c: GET /sites/events */

#endif
