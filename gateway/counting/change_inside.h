/* gateway/counting/change_inside.h — a change as the files of this folder see it.
 *
 * One struct goes from core to core: while it is at core 0 the asking core touches `exchange`, `patience` and `done` alone.
 *
 * Owner, thread: as in change.h.   Units, errors, limits: as in change.h. */
#ifndef GATEWAY_COUNTING_CHANGE_INSIDE_H
#define GATEWAY_COUNTING_CHANGE_INSIDE_H

#include "gateway/counting/change.h"
#include "gateway/counting/counting.h"
#include "gateway/journal/journal.h"

struct change {
	/* The asking core's. */
	struct counting *asker;
	struct exchange *exchange;       /* NULL: it has ended */
	struct timer patience;           /* of the exchange */
	bool done;

	/* Whose it is at the moment. */
	struct message message;
	struct journal_waiter waiter;
	struct link in_line;             /* at core 0: behind a recall, or behind another change with the same key */
	struct link followers;           /* changes with the same key */
	struct command command;
	struct outcome outcome;
	struct record record;            /* its texts lie in `bytes` */
	struct key *key;                 /* entered, and under way */
	struct keys_result result;
	const struct reason *failure;
	uint64_t stamp_ns;               /* on the way there: what the asking core knows; on the way back: when it was recorded */
	char bytes[];
};

/* It is over: on the core that asked, or on core 0, which sends it there. */
void change_return(struct counting *here, struct change *);

#endif
