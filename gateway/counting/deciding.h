/* gateway/counting/deciding.h — on core 0: commands of all cores, one after another.
 *
 *   command ─▶ key: answered before? under way? ─▶ decider ─▶ record ─▶ durable ─▶ published ─▶ back to the core that asked
 *                                                   │ needs what cores hold: a recall, and who needs it waits
 *
 * The order of messages between two cores is what makes permits exact: an allotment is posted when it is decided, so a later recall
 * comes behind it; a core gives back what it holds when everything it spent is durable, and spends no more.
 *
 * Owner: counting.c.   Thread: core 0's.   Units: as in cache/decide.h.   Errors: of each change.   Limits: limits of the configuration. */
#ifndef GATEWAY_COUNTING_DECIDING_H
#define GATEWAY_COUNTING_DECIDING_H

#include "gateway/counting/counting.h"

struct deciding *deciding_open(struct counting *, struct decider *, struct keys *);
void deciding_free(struct deciding *);   /* check: nobody waits */

/* It is this core's from now on, and goes back by change_returned. */
void deciding_take(struct deciding *, struct change *);
/* What the journal has lost is recorded, by "postern", and published when that is durable. Before anything is decided, and before the core's first
 * turn: however much it is, it goes to the disk in as many parts as the journal lets wait at once. False: the journal takes no more; what was
 * recorded stays. */
bool deciding_mend(struct deciding *, uint32_t site, const int64_t by[COUNT_KINDS]);
struct decider *deciding_decider(struct deciding *);
struct keys *deciding_keys(struct deciding *);
bool deciding_rests(const struct deciding *);

#endif
