/* perf/load/sockets.h — WebSockets that stay: what may be asked of them while they do. The words are in main.c.
 *
 * Owner: main.c.   Thread: its core's.   Units: ns inside, µs told.   Errors: FATAL for a word that is none.
 * Limits: PUSH_NS_MAX for a push; what has not come by then is not counted.   Source: none. */
#ifndef PERF_LOAD_SOCKETS_H
#define PERF_LOAD_SOCKETS_H

#include "perf/load/load.h"
#include "perf/load/words.h"

/* The load with what only sockets need. */
struct sockets {
	struct load load;
	uint64_t pushed_ns;              /* when the present push began */
	uint64_t expected;               /* how many are to hear it */
};

void sockets_heard(struct client *);              /* for struct work */
void sockets_obey(struct sockets *, struct words *); /* until the input ends */

#endif
