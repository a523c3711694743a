/* ring/timer.h — deadlines that are not one operation's wait: a whole exchange, a drain, a reminder, a polite ending.
 *
 * A coarse hierarchical wheel per core. A timer that fires wakes its task, or closes its scope with a reason; it runs
 * nothing. One operation's own wait is a linked timeout (ring/op.h) and has no business here.
 *
 * Owner: the struct that embeds it.   Thread: its core's.   Units: ms of the core's clock, rounded up to TIMER_TICK_MS.
 * Errors: none.   Limits: 2^24 ticks ahead (74 hours); further is cut to that. */
#ifndef RING_TIMER_H
#define RING_TIMER_H

#include "ring/base.h"
#include "ring/reason.h"

#define TIMER_TICK_MS 16u
#define TIMER_LEVELS 4u
#define TIMER_SLOTS 64u

struct scope;
struct task;

struct timer {
	struct link in_wheel;
	struct link in_scope;
	struct scope *scope;             /* it is taken away when this closes */
	struct task *wakes;              /* either this … */
	const struct reason *closes;     /* … or the scope is closed with this */
	uint64_t due_tick;
	uint8_t level, slot;             /* where in the wheel; for the bitmap of filled slots */
	bool set;
	bool fired;                      /* since the last timer_set */
};

struct timer_wheel {
	uint64_t tick;                   /* the last one that was run */
	uint64_t filled[TIMER_LEVELS];   /* one bit a slot */
	struct link slots[TIMER_LEVELS][TIMER_SLOTS];
	uint64_t count;                  /* set timers */
};

void timer_init(struct timer *, struct scope *, struct task *wakes);
void timer_set(struct timer *, uint64_t ms);    /* from now; replaces an earlier time; clears `fired` */
void timer_clear(struct timer *);               /* harmless when not set */
uint64_t timer_left_ms(const struct timer *);   /* 0 when not set or due */

void timer_wheel_init(struct timer_wheel *, uint64_t now_ms);
void timer_wheel_run(struct timer_wheel *, uint64_t now_ms);          /* fires what is due */
uint64_t timer_wheel_next_ms(const struct timer_wheel *, uint64_t now_ms); /* until something may be due; UINT64_MAX: never */

#endif
