/* gateway/live/note.h — one notification, as it goes to every socket of a patient, and the queue of those that wait for one.
 *
 *   push ─▶ note ◀── queue of socket 1        one text for all cores and sockets; each waiting place is a reference
 *             ▲ ◀─── queue of socket 2        the text is copied when it goes into a socket's pipe, and not before
 *
 * A note never changes once it is made, so cores share it without a lock; the last reference frees it, on whichever core.
 * An empty queue takes a note of any size, because a limit that no note could pass would be a silence.
 *
 * Owner: whoever holds a reference.   Thread: a note any; a queue its core's.   Units: bytes of text, counts.
 * Errors: none; memory that the system refuses ends the process.   Limits: struct note_limits, for each queue. */
#ifndef GATEWAY_LIVE_NOTE_H
#define GATEWAY_LIVE_NOTE_H

#include "ring/base.h"

#include <stdatomic.h>

#define NOTE_ID_SIZE 32u                 /* hexadecimal digits of 128 random bits: unique without asking anyone */

struct note {
	_Atomic uint32_t references;
	uint32_t size;
	char id[NOTE_ID_SIZE + 1];
	char text[];                     /* {"type":"notification","id":"…","body":…}, UTF-8 */
};

/* With one reference. `body` is JSON. */
struct note *note_new(const char id[static NOTE_ID_SIZE + 1], const char *body, size_t size);
struct note *note_share(struct note *);  /* one reference more */
void note_put(struct note *);            /* one less; NULL is harmless */

void note_id_make(char id[static NOTE_ID_SIZE + 1]);

struct note_limits {
	uint64_t bytes_max;
	uint64_t count_max;
};

struct note_queue {
	struct note **notes;             /* a ring of `space` places; NULL: `own` is it */
	uint32_t space, first, count;
	uint64_t bytes;
	struct note *own[2];
};

void note_queue_init(struct note_queue *);
void note_queue_fini(struct note_queue *);          /* drops what waits; harmless twice, and the queue may be used again */

/* False: the queue is full, and nothing was taken. */
bool note_queue_put(struct note_queue *, struct note *, const struct note_limits *);

struct note *note_queue_first(const struct note_queue *);  /* stays the queue's; NULL: empty */
void note_queue_drop_first(struct note_queue *);    /* harmless when empty */

#endif
