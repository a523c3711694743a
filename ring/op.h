/* ring/op.h — one thing the kernel is doing for us.
 *
 *   op_init ─▶ idle ──op_start──▶ starting ──(end of the turn)──▶ live ──last completion──▶ idle
 *                                     └────────────── op_cancel ──────┴─ completes as always, sooner
 *
 * An op lives inside whoever waits for it, never on a stack. It starts only in a live scope, and a start never fails:
 * failure arrives where success would, through `done`. `done` takes back what was lent, notes the result and wakes a task:
 * no work, no freeing, no start of another op. It never runs inside op_start or op_cancel.
 *
 * Owner: the struct that embeds it; its memory stays until the scope has ended.   Thread: its core's.
 * Units: within_ms is measured from the submission.   Errors: negative errno in the completion.
 * Limits: 2^24 ops of a core live at once; at most one arm per op. */
#ifndef RING_OP_H
#define RING_OP_H

#include "ring/base.h"
#include "ring/kernel.h"

struct chunk;
struct op;
struct scope;

struct completion {
	int result;           /* ≥ 0, or -errno. Cancelled may have succeeded: bytes received are received. */
	bool more;            /* the arm goes on; the op stays live */
	struct chunk *chunk;  /* a receive with bytes: `done` must put it somewhere; otherwise NULL */
};

typedef void op_done(struct op *, const struct completion *);

enum op_state { OP_IDLE, OP_STARTING, OP_LIVE };

struct op {
	struct link in_scope;            /* the scope's ops that are not idle */
	struct link in_queue;            /* the core's queue of what to tell the kernel at the end of the turn */
	struct scope *scope;
	op_done *done;
	const char *name;                /* what is waited for, for people: "receive", "connect" */
	struct kernel_request request;
	uint64_t armed_ns;               /* when this arm was started */
	uint32_t slot;
	uint8_t state;                   /* enum op_state */
	bool cancelled;                  /* by op_cancel or by its scope, since the start */
};

void op_init(struct op *, struct scope *, const char *name, op_done *done);

/* `request` is filled in by the caller first. check: idle, and its scope is live. */
void op_start(struct op *);

/* Before all that this turn has started so far. The kernel sends while it is handed the sends: a disk, or whatever works by itself
 * once it was told to, should be told first. */
void op_start_first(struct op *);

/* Harmless on an idle op and when asked twice. */
void op_cancel(struct op *);

static inline bool op_idle(const struct op *op)
{
	return op->state == OP_IDLE;
}

#endif
