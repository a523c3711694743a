/* ring/task.h — one function that looks at everything, moves what can be moved, and returns.
 *
 * Level-triggered: a step never asks which event came, so a spare wake is harmless and a wake may be given generously.
 * A task belongs to a scope and runs only while that is live. Steps run from the core's loop, never inside task_wake.
 * A step bounds its loops; when its budget is spent it wakes itself and lets others run.
 *
 * Owner: the struct that embeds it.   Thread: its core's.   Units: none.   Errors: none.   Limits: none. */
#ifndef RING_TASK_H
#define RING_TASK_H

#include "ring/base.h"

struct scope;
struct task;

typedef void task_step(struct task *);

struct task {
	struct link in_run;              /* the core's queue of tasks to run */
	struct link in_scope;
	struct scope *scope;
	task_step *step;
	const char *name;
};

void task_init(struct task *, struct scope *, const char *name, task_step *step);

/* Harmless when it is queued already, when its scope is closed, and on NULL. */
void task_wake(struct task *);

/* In the next turn, behind what its completions wake: for work that must not hold this turn up. The core does not sleep before.
 * Harmless when it is queued already; a task that waits for the next turn stays there when it is woken. */
void task_wake_later(struct task *);

/* Leaves its scope before that ends (an engine detached while its connection goes on). */
void task_fini(struct task *);

#endif
