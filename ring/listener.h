/* ring/listener.h — accepts connections on one address for one core.
 *
 * One listener a core (SO_REUSEPORT), multishot accept. When descriptors run out (EMFILE) accepting pauses for
 * LISTENER_PAUSE_MS: the pending connection stays in the backlog, and an immediate new arm would fail at once, again and
 * again. When `open_max` connections are open accepting stops and goes on when one has ended. Closing a listener resets
 * what is in its queue, so listener_stop first ends the accept, then takes what the queue still holds, and only then closes.
 *
 * Owner: the caller; it has a scope of its own under the core's root, whose `ended` closes the descriptor.   Thread: its core's.
 * Units: none.   Errors: -errno from listener_open.   Limits: open_max, and what was accepted before it was seen to be reached. */
#ifndef RING_LISTENER_H
#define RING_LISTENER_H

#include "ring/base.h"
#include "ring/core.h"
#include "ring/op.h"
#include "ring/scope.h"
#include "ring/task.h"
#include "ring/timer.h"

#define LISTENER_PAUSE_MS 100u
#define LISTENER_AT_ONCE 64u             /* connections made in one step */

struct listener;

/* A new connection; the descriptor is the callee's. Called from the listener's task. */
typedef void listener_accepted(struct listener *, int fd);

struct listener {
	uint32_t magic;
	int fd;
	struct core *core;
	struct scope scope;
	struct op accept;
	struct task task;
	struct timer pause;
	listener_accepted *accepted;
	void (*stopped)(struct listener *); /* set it after listener_open: nobody comes through here any more; may be NULL */
	void *owner;                     /* the caller's word */
	const char *name;                /* the address, for people */
	int *waiting;                    /* descriptors accepted and not yet given on: from waiting_at to waiting_count */
	unsigned waiting_at;
	unsigned waiting_count;
	unsigned waiting_size;
	unsigned open_max;
	unsigned open;                   /* counted by the listener; listener_closed takes one off */
	bool pausing;
	const struct reason *stopping;   /* listener_stop was called */
	uint64_t pauses;                 /* how often descriptors ran out */
	uint64_t refusals;               /* how often open_max stopped accepting */
};

/* The socket is made by kernel_listen beforehand, so that a taken port is told before any core runs. */
void listener_open(struct listener *, struct core *, int fd, const char *name, unsigned open_max,
                   listener_accepted *accepted, void *owner);
void listener_closed(struct listener *); /* one of its connections has ended */

/* Accepts no more; who has dialled already is still given to `accepted`, then its scope closes and the descriptor goes. */
void listener_stop(struct listener *, const struct reason *);

#endif
