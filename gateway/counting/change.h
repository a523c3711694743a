/* gateway/counting/change.h — a change of a count under way: who decides, what is recorded, when it is answered.
 *
 *   serve/… ─▶ change_begin ─┬─ a plain raise that this core has a permit for ─▶ own journal ─▶ durable ─▶ own line ─▶ done
 *                            └─ all else ─▶ core 0: key known? ─▶ decider (recalls what it needs) ─▶ its journal ─▶ … ─▶ done, by message
 *
 * A change goes on when its client has gone: it may be recorded already. So it is not the exchange's; the exchange only looks.
 *
 * Owner: the core whose exchange began it, until change_end; then it frees itself when it is over.   Thread: that core's.
 * Units: as in cache/decide.h.   Errors: reasons.   Limits: limits.changes_max under way per core; those of cache/ and the journal. */
#ifndef GATEWAY_COUNTING_CHANGE_H
#define GATEWAY_COUNTING_CHANGE_H

#include "cache/decide.h"
#include "gateway/exchange.h"

struct change;

struct change_words {                /* copied */
	struct http_text site;           /* its id; empty: the study */
	struct http_text reason;         /* of the one who changes it, may be empty */
	struct http_text key;            /* Idempotency-Key, may be empty */
	struct http_text fingerprint_of; /* with a key: what makes the request this one, i.e. its body; method and target are added here */
};

/* x->task is woken when it is done. `command.site` is filled in here. A site that nothing is recorded of is entered by what is recorded of it, and by
 * nothing that is refused. NULL and a reason: refused at once. */
struct change *change_begin(struct exchange *, struct command *, const struct change_words *, const struct reason **);

bool change_done(const struct change *);
const struct reason *change_failure(const struct change *);                        /* NULL: it was done, or had been done by an earlier request of that key */
/* Of a COMMAND_RULES: nothing was recorded of its site before. False also where an earlier request of its key had done it. */
bool change_founded(const struct change *);
void change_reservation(const struct change *, uint64_t *reservation, uint64_t *expires_ms); /* of a COMMAND_RESERVE */
void change_end(struct change *);                                                  /* the exchange is of no interest any more */

#endif
