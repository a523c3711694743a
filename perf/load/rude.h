/* perf/load/rude.h — how clients leave who do not say goodbye: after which bytes, and by a reset, by a FIN, or not at all.
 *
 * Those who leave by silence keep their connection and are never heard of again: nobody receives on it, nobody closes it, until
 * RUDE_HELD_MAX later ones have vanished, too.
 *
 * Owner: main.c.   Thread: one.   Units: bytes.   Errors: none; what the socket does not take is not said.
 * Limits: RUDE_HELD_MAX connections held.   Source: none. */
#ifndef PERF_LOAD_RUDE_H
#define PERF_LOAD_RUDE_H

#include "perf/load/client.h"

#define RUDE_HELD_MAX 2000u

enum leaves_at { LEAVES_HELLO, LEAVES_CONNECTED, LEAVES_SHAKEN, LEAVES_ASKING, LEAVES_ASKED, LEAVES_UPGRADED };

struct rude {
	struct ask hello;                /* a ClientHello; without TLS none */
	uint64_t begun;                  /* which manner is next */
	uint64_t held_count;
	struct line *held[RUDE_HELD_MAX];
};

void rude_starts(struct client *);                /* the next manner is this client's, for this unit */
bool rude_is_plain(const struct client *);        /* no TLS is wanted for it; also for a client who is not rude: false */
void rude_connects(struct client *);              /* its line is opened and not yet connecting */
bool rude_leaves_at(const struct client *, enum leaves_at);
void rude_leaves(struct client *);                /* now; the unit has ended */

#endif
