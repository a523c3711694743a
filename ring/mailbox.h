/* ring/mailbox.h — messages from core to core.
 *
 * One lock-free queue for each pair of cores: one writer, one reader. A message is a struct that the sender fills in and
 * gives away; its `deliver` runs on the other core's thread, between the completions and the tasks of a turn, and now owns
 * it (typically it posts the same message back as the answer, and the sender's `deliver` frees it). Delivery is announced by a
 * message on the other core's ring (MSG_RING), once a turn for all that was posted.
 *
 * Owner: the message moves.   Thread: core_post on the sender's; deliver on the receiver's.   Units: messages.
 * Errors: none; what does not fit waits at the sender's and goes with the next turn.
 * Limits: MAILBOX_SLOTS under way for each pair. ThreadSanitizer sees the queue's own acquire and release; it cannot see
 * the kernel's through MSG_RING, and need not: the announcement carries nothing. */
#ifndef RING_MAILBOX_H
#define RING_MAILBOX_H

#include "ring/base.h"

#include <stdatomic.h>

#define MAILBOX_SLOTS 1024u

struct core;
struct message;

typedef void message_deliver(struct core *to, struct message *);

struct message {
	message_deliver *deliver;
	struct link in_waiting;          /* at the sender, while the queue is full */
	unsigned from;                   /* index of the core that posted it; filled in by core_post */
};

struct mailbox;

/* `to` may be the sender itself: then it is delivered in the next turn, like any other. */
void core_post(struct core *from, unsigned to, struct message *);

/* ---- for ring/core.c ---- */

struct mail_queue {                  /* from one core to another */
	_Alignas(64) _Atomic uint32_t written;
	_Alignas(64) _Atomic uint32_t read;
	_Alignas(64) struct message *slots[MAILBOX_SLOTS];
};

struct mailbox {
	struct mail_queue *in;           /* by sender's index */
	struct link *waiting;            /* by receiver's index: messages that did not fit yet */
	bool *announce;                  /* by receiver's index: something was posted in this turn */
	unsigned count;
};

void mailbox_init(struct mailbox *, unsigned cores);
void mailbox_fini(struct mailbox *);
void mailbox_deliver(struct core *);   /* all that has arrived */
bool mailbox_flush(struct core *);     /* waiting messages and announcements out; true: this core must turn again at once */
bool mailbox_waits(const struct core *); /* a queue is full: to be tried again soon */

#endif
