/* gateway/serve/admin.h — what the files of the admin target tell each other.
 *
 * Owner: a text belongs to whoever asked for it (free).   Thread: core 0's, but gather's other half.   Units: as named.
 * Errors: none; memory that the system refuses ends the process.   Limits: ADMIN_GATHERS_MAX listings at once. */
#ifndef GATEWAY_SERVE_ADMIN_H
#define GATEWAY_SERVE_ADMIN_H

#include "gateway/exchange.h"
#include "gateway/gateway.h"

#define ADMIN_GATHERS_MAX 4u
#define ADMIN_PATIENCE_MS 2000u          /* for cores to answer */

/* admin_stats.c: from every core's counters, read where they lie. malloc'd text. */
char *admin_stats(const struct gateway *);
char *admin_metrics(const struct gateway *);

/* admin_scopes.c: a core can be walked only by its own thread, so each is asked by a message.
 *
 *   core 0: gather_begin ─▶ message ─▶ core k: copies its scopes into the message ─▶ message ─▶ core 0: one less to wait for
 *
 * The gathering outlives an exchange that ends meanwhile: it is freed when the last answer is back, at the latest when the
 * program delivers what is left in the mailboxes after its cores have ended. */
struct gather;
struct gather *gather_begin(struct exchange *, bool full); /* wakes its task when an answer is back. NULL: too many are under way */
bool gather_complete(const struct gather *);               /* all cores have answered */

/* The next part of the page, as `out` has room; true: it is whole. Cores that have not answered when this is called for the first
 * time are named in `cores_silent`: a core that hangs must not hide the others. */
bool gather_write(struct gather *, struct pipe *out);
void gather_end(struct gather *);                          /* the exchange wants it no more */

/* admin_audit.c: where each stream of the journal ends, asked in the same way. */
struct heads;
struct heads *heads_begin(struct exchange *);
bool heads_complete(const struct heads *);
char *heads_page(const struct heads *);                    /* malloc'd JSON; who has not answered is named in `cores_silent` */
void heads_end(struct heads *);

#endif
