/* ring/loop.h — what the files of the engine room tell each other; nobody outside ring/ includes it.
 *
 * Owner: the core.   Thread: its own.   Units: none.   Errors: none.   Limits: none. */
#ifndef RING_LOOP_H
#define RING_LOOP_H

#include "ring/core.h"

/* scope.c */
void scope_open_root(struct scope *, struct core *, const struct scope_kind *, const char *site);
void scope_check_ended(struct scope *);
void scope_run_ended(struct scope *);

/* op.c */
bool ops_flush(struct core *);                           /* asked for ─▶ submission entries; true when some are left */
void op_completed(struct core *, const struct kernel_completion *);
void op_expect(const struct core *, const struct kernel_completion *); /* op_completed comes soon: its memory is asked for */
void ops_fini(struct core *);

/* core.c: buffers to receive into */
struct chunk *core_take_received(struct core *, uint16_t buffer, uint32_t size);

#endif
