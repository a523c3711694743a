/* gateway/serve/serve.h — the targets a route can lead to. Each file beside this one is one of them.
 *
 * Owner: const tables.   Thread: any.   Units: none.   Errors: none.   Limits: none. */
#ifndef GATEWAY_SERVE_SERVE_H
#define GATEWAY_SERVE_SERVE_H

#include "gateway/exchange.h"

extern const struct serve SERVE_PROXY;
extern const struct serve SERVE_COUNT;
extern const struct serve SERVE_SITES, SERVE_SITES_PAGE, SERVE_SITES_EVENTS; /* parts of the count target */
extern const struct serve SERVE_ECHO;
extern const struct serve SERVE_LIVE;
extern const struct serve SERVE_PUSH;
extern const struct serve SERVE_ADMIN;

/* Never NULL. */
const struct serve *serve_of(enum config_target);

#endif
