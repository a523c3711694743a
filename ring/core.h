/* ring/core.h — one pinned thread: one ring, one clock, its own chunks, timers, tasks, and the root of its scopes.
 *
 * A turn of the loop, the only place where anything runs:
 *
 *   completions ─▶ done()s note and wake          nothing else happens in them
 *   timers due, mail from other cores ─▶ wakes
 *   tasks ─▶ look, move bytes, ask for operations (until none is left, or TURN_STEPS_MAX), and in between
 *   scopes with nothing left ─▶ ended()           the only place where memory goes
 *   operations asked for ─▶ submission entries    the only place that writes them
 *   enter the kernel once: submit, and wait unless there is work
 *
 * Everything is passed down from here; there is nothing mutable at file scope. Cores share only messages (ring/mailbox.h),
 * immutable configuration, and atomics.
 *
 * Owner: whoever opens it.   Thread: its own; the `stats` may be read by any (relaxed).   Units: ms, ns as named.
 * Errors: kernel_fault at opening.   Limits: TURN_STEPS_MAX steps a turn. */
#ifndef RING_CORE_H
#define RING_CORE_H

#include "ring/base.h"
#include "ring/chunk.h"
#include "ring/kernel.h"
#include "ring/mailbox.h"
#include "ring/op.h"
#include "ring/scope.h"
#include "ring/task.h"
#include "ring/timer.h"

#include <stdatomic.h>

#define TURN_STEPS_MAX 4096u

struct core;

/* All cores of the process, so that one can write to another. Immutable once the cores run. */
struct cores {
	unsigned count;
	struct core **all;               /* by index */
};

/* Written by the core alone, with relaxed stores; read by any. */
struct core_stats {
	_Atomic uint64_t ops_started;
	_Atomic uint64_t ops_ended;
	_Atomic uint64_t ops_live;
	_Atomic uint64_t scopes_opened;
	_Atomic uint64_t scopes_ended;
	_Atomic uint64_t chunks_total;   /* pool and outside */
	_Atomic uint64_t chunks_out;     /* outside the pool: in pipes, in sends, lent to the kernel to receive into */
	_Atomic uint64_t chunks_lent;    /* of these, lent to receive into and still empty */
	_Atomic uint64_t chunk_takes;
	_Atomic uint64_t turns;
	_Atomic uint64_t enters;         /* calls into the kernel */
	_Atomic uint64_t steps;
	_Atomic uint64_t starved;        /* receives that found no buffer */
	_Atomic uint64_t deadlines_fired;/* operations that their linked timeout ended */
	_Atomic uint64_t bytes_received;
	_Atomic uint64_t bytes_sent;
	_Atomic uint64_t accepts;
	_Atomic uint64_t mail_received;
};

struct op_slot {
	struct op *op;
	uint32_t generation;
	uint32_t next_free;
};

struct core {
	uint32_t magic;
	unsigned index;
	const struct cores *cores;
	struct kernel *kernel;
	uint64_t now_ns;                 /* of this turn */
	uint64_t now_ms;
	struct scope root;

	struct link run;                 /* tasks to run */
	struct link later;               /* tasks to run in the next turn */
	struct link queue;               /* ops with something to tell the kernel */
	struct link ended;               /* scopes whose `ended` is due */

	struct op_slot *slots;
	uint32_t slot_count;
	uint32_t slot_free;              /* head of the free list; UINT32_MAX: none */

	struct chunk_pool pool;
	struct chunk **lent;             /* by buffer id; NULL: that id is with us */
	uint16_t *returned;              /* ids to lend again */
	unsigned returned_count;
	unsigned buffer_count;
	unsigned lend_most;              /* as many of them are lent at once: core_lend_fit */
	unsigned received_lately;        /* of a window: buffers that came back … */
	unsigned starved_lately;         /* … and receives that found none */
	struct link starved;             /* tasks that wait for receive buffers, in order: core_starve */

	uint64_t starved_due_ms;         /* when all that starve are looked at again */
	uint64_t trim_at_ms;             /* when idle memory is given back; 0: there is little */
	uint64_t warm_least_count;       /* idle chunks at the busiest moment since that was decided */
	uint64_t alarm_ns;               /* core_alarm; UINT64_MAX: none */
	struct task *alarm_wakes;
	struct timer_wheel wheel;
	struct mailbox mailbox;
	struct core_stats stats;
	void *gateway;                   /* what the program keeps for each core */
};

struct core_options {
	unsigned index;
	const struct cores *cores;
	unsigned buffer_count;           /* receive buffers, at most; power of two */
	uint64_t chunks_max;             /* see ring/chunk.h */
};

bool core_open(struct core *, const struct core_options *, struct kernel_fault *fault);

/* Turns until the root scope has ended. */
void core_run(struct core *);

/* One turn; `wait` false: never sleeps. For simulation and tests; core_run is this in a loop. False: the root has ended. */
bool core_turn(struct core *, bool wait);

/* check: the root has ended, every op and every chunk has come back. */
void core_close(struct core *);

/* The core sleeps no longer than until then (monotonic, as now_ns), and wakes this task once. A core has one, finer than the ticks of
 * its wheel, for work that is paced by the clock; a new one replaces the old, UINT64_MAX takes it away. The task must outlive it. */
void core_alarm(struct core *, uint64_t due_ns, struct task *wakes);

/* A receive found no buffer (ENOBUFS): the task is woken when there are some again, first come, first served. Each task
 * brings a link of its own. */
struct core_starve {
	struct link in_starved;
	struct task *wakes;
};
void core_starve(struct core *, struct core_starve *);
bool core_has_buffers(const struct core *);

/* Counting with relaxed stores: the core is the only writer. */
static inline void stat_add(_Atomic uint64_t *stat, uint64_t n)
{
	atomic_store_explicit(stat, atomic_load_explicit(stat, memory_order_relaxed) + n, memory_order_relaxed);
}

static inline uint64_t stat_read(const _Atomic uint64_t *stat)
{
	return atomic_load_explicit((_Atomic uint64_t *)stat, memory_order_relaxed);
}

#endif
