/* gateway/counting/actor.h — who changes a count, in the words of the audit trail.
 *
 *   a client that showed its certificate     the subject
 *   one on the admin socket                  administrator uid=1000 pid=4711
 *   anybody else                             anonymous
 *
 * Owner: the exchange's, or its arena's.   Thread: its core's.   Units: bytes.   Errors: none.
 * Limits: RECORD_TEXT_BYTES_MAX. A subject that is longer cannot be refused any more; that it was cut is seen at its end. */
#ifndef GATEWAY_COUNTING_ACTOR_H
#define GATEWAY_COUNTING_ACTOR_H

#include "gateway/exchange.h"

/* For the record. */
struct http_text actor_recorded(struct exchange *);

/* Whose a request is: the same for whoever asks again, so an administrator's process is not part of it. */
const char *actor_constant(const struct exchange *);

/* At most `most` bytes (3 at the least) of UTF-8: all of it, or its beginning up to a whole character and "…". `to` has room for so many. */
size_t actor_shorten(char *to, const char *bytes, size_t size, size_t most);

#endif
