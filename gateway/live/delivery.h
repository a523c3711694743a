/* gateway/live/delivery.h — one push on its way to all cores, and back with how many sockets took it.
 *
 *   asking core: delivery_begin ─▶ message ─▶ core k: live_deliver ─▶ message ─▶ asking core: one less to wait for
 *
 * It outlives an exchange that ends meanwhile: freed when the last answer is back, at the latest when the program delivers what
 * is left in the mailboxes after its cores have ended.
 *
 * Owner: the exchange until delivery_end, then itself.   Thread: the asking core's, but for live_deliver.   Units: counts.
 * Errors: none; a core that has not answered is told by delivery_silent.   Limits: pushes as many as there are exchanges. */
#ifndef GATEWAY_LIVE_DELIVERY_H
#define GATEWAY_LIVE_DELIVERY_H

#include "gateway/exchange.h"
#include "gateway/live/note.h"

struct delivery;

/* The reference to the note moves in; the patient's name is copied. The exchange's task is woken when a core has answered. */
struct delivery *delivery_begin(struct exchange *, struct http_text patient, struct note *);

bool delivery_complete(const struct delivery *);         /* all cores have answered */
unsigned delivery_count(const struct delivery *);        /* sockets that took it, as far as is known */
bool delivery_silent(const struct delivery *, unsigned core); /* it has not answered */

void delivery_end(struct delivery *);                    /* the exchange wants it no more */

#endif
