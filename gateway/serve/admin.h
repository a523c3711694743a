/* gateway/serve/admin.h — what the files of the admin target tell each other.
 *
 * Owner: a text belongs to whoever asked for it (free).   Thread: core 0's, but gather's other half.   Units: as named.
 * Errors: NULL where there is no memory.   Limits: ADMIN_GATHERS_MAX listings at once. */
#ifndef GATEWAY_SERVE_ADMIN_H
#define GATEWAY_SERVE_ADMIN_H

#include "gateway/exchange.h"
#include "gateway/gateway.h"

#define ADMIN_GATHERS_MAX 4u

/* admin_stats.c: from every core's counters, read where they lie. malloc'd text. */
char *admin_stats(const struct gateway *);
char *admin_metrics(const struct gateway *);

/* admin_scopes.c: a core can be walked only by its own thread, so each is asked by a message.
 *
 *   core 0: gather_begin ─▶ message ─▶ core k: walks its scopes into the message's own text ─▶ message ─▶ core 0: one less to wait for
 *
 * The gathering outlives an exchange that ends meanwhile: it is freed when the last answer is back. */
struct gather;
struct gather *gather_begin(struct exchange *, bool full); /* NULL: too many are under way */
char *gather_text(struct gather *);                /* NULL until all cores have answered; malloc'd, once */
void gather_end(struct gather *);                  /* the exchange wants it no more */

#endif
