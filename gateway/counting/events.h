/* gateway/counting/events.h — who wants to know that a count has changed, on this core.
 *
 * What is told is *which* site has changed; the reader looks at the count itself when it writes, so a slow reader misses steps in between and never
 * the last one: of several changes of a site that wait, only the latest is found. Each core keeps the numbers of the last EVENTS_KEPT changes; a reader who has fallen behind further is told so, and starts over.
 *
 * Owner: the worker; a reader belongs to whoever embeds it and leaves before it ends.   Thread: its core's.   Units: changes.
 * Errors: none.   Limits: EVENTS_KEPT. */
#ifndef GATEWAY_COUNTING_EVENTS_H
#define GATEWAY_COUNTING_EVENTS_H

#include "ring/task.h"

#define EVENTS_KEPT 8192u

struct gateway;
struct worker;
struct events;

struct events_reader {
	struct link in_events;
	struct task *task;               /* woken when there is something to read */
	struct worker *worker;           /* NULL: not in */
	uint64_t place;
	uint64_t woken;                  /* for the changes up to here */
};

void events_open(struct worker *);   /* worker_open */
void events_fini(struct worker *);   /* check: all readers have left */

void events_enter(struct worker *, struct events_reader *, struct task *);
void events_leave(struct events_reader *); /* harmless when it is not in */

enum events_found { EVENTS_SITE, EVENTS_NONE, EVENTS_MISSED /* it goes on with what comes from now on */ };
enum events_found events_next(struct events_reader *, uint32_t *site); /* COUNT_STUDY: the study's rules */

/* Has any core a reader? From any thread. */
bool events_wanted(const struct gateway *);

/* From a core whose lines have changed, once per publication: these sites (each at most once) to the readers of all cores. Costs nothing where no core
 * has a reader. */
void events_tell(struct worker *from, const uint32_t *sites, unsigned count);

#endif
