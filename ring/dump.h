/* ring/dump.h — everything that is alive on a core, for people.
 *
 * Owner: the caller; the lines are valid during the visit.   Thread: the core's own.   Units: ms, bytes.
 * Errors: none.   Limits: none. */
#ifndef RING_DUMP_H
#define RING_DUMP_H

#include "ring/core.h"
#include "ring/scope.h"

struct dump_line {
	const struct scope *scope;
	unsigned depth;
	const char *kind;
	const char *step;                /* "" when it tells none */
	const char *site;
	const char *state;               /* "live", "closing" */
	const char *reason;              /* "" while live */
	uint64_t age_ms;
	uint64_t deadline_left_ms;       /* the scope's own; UINT64_MAX: none */
	size_t bytes_held;
	const char *waits;               /* "" when it waits for nothing that has a name */
	uint64_t wait_left_ms;           /* UINT64_MAX: without end */
	unsigned op_count;
	unsigned task_count;
	unsigned timer_count;
};

typedef void dump_visit(void *argument, const struct dump_line *);

/* Parents before children. */
void dump_scopes(const struct core *, dump_visit *visit, void *argument);

/* One operation of a scope at a time, for the full form: name, age, whether it was cancelled. */
typedef void dump_visit_op(void *argument, const struct op *);
void dump_ops(const struct scope *, dump_visit_op *visit, void *argument);

#endif
