/* gateway/live/live.h — the patients' sockets of one core, and how a notification comes to them.
 *
 *   push ─▶ live_deliver ─▶ a reference into each socket's queue ─▶ fan-out wakes a few sockets a turn ─▶ each writes what waits
 *
 * Waking all at once would take a chunk of memory for each before the first could be sent; a few at a time, the chunks that one
 * batch has sent are warm for the next.
 *
 * A reader who is slow has a bounded queue (limits.live_queue_bytes_max, live_queue_count_max). When that is full, what waits is
 * dropped and he is disconnected: a client who comes back knows that he missed something, one with a hole in the
 * middle does not.
 *
 * Owner: the worker; a socket belongs to whoever embeds it and leaves before it ends.   Thread: its core's.   Units: counts.
 * Errors: LIVE_SLOW_READER, as `slow` of a socket.   Limits: as above. */
#ifndef GATEWAY_LIVE_LIVE_H
#define GATEWAY_LIVE_LIVE_H

#include "gateway/live/note.h"
#include "gateway/live/patient.h"
#include "ring/task.h"

struct live;
struct worker;

struct live_socket {
	struct patient_socket entry;
	struct link in_awaited;          /* sockets that are to be woken */
	struct note_queue queue;
	struct live *live;               /* NULL: not entered, or left */
	struct task *task;
	bool slow;                       /* its queue was full; it has left */
};

/* For worker_open and worker_fini. */
void live_open(struct worker *);
void live_fini(struct worker *);         /* check: all sockets have left */

/* `task` is woken when something waits in the queue, and when the socket was found slow. */
void live_enter(struct worker *, struct live_socket *, struct http_text patient, struct task *);
void live_leave(struct live_socket *);   /* what waits is dropped; harmless when it is not in */

/* The note goes to every socket of the patient on this core. Returns how many took it. */
unsigned live_deliver(struct worker *, struct http_text patient, struct note *);

/* The first note that waits is written. */
void live_written(struct live_socket *);

#endif
