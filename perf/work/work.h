/* perf/work/work.h — pieces of work that perf/instructions counts the instructions of.
 *
 * Each is done in this process, without a socket, a clock or chance, so that it takes the same instructions each time.
 *
 * Words:  unit   one piece: a head read, a record sealed
 *
 * Owner: static.   Thread: one; each kind of work has a process of its own.   Units: units.
 * Errors: check() ends the process: what went wrong has no figure.   Limits: none.   Source: none. */
#ifndef PERF_WORK_WORK_H
#define PERF_WORK_WORK_H

#include "ring/base.h"

struct work {
	const char *name;                /* "tls-seal-1k" */
	unsigned count;                  /* units that are counted; some come before and are not */
	void (*prepare)(void);           /* once; not counted; may be NULL */
	void (*unit)(void);
};

struct work_list {
	const struct work *works;
	unsigned count;
};

extern const struct work_list WORK_HTTP, WORK_PROXY, WORK_TLS, WORK_WS, WORK_COUNT, WORK_RING;

#endif
