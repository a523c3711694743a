/* ring/pipe.h — bytes one way between two tasks of one core.
 *
 *   writer ──commit, put, write, end, break──▶ [chunk][chunk][chunk] ──peek, consume, take──▶ reader
 *          ◀───────────── refuse: "I will read no more" ─────────────
 *
 * Bounded: a full pipe is not filled, and once full it opens again when half of it is read; then the writer is woken.
 * New bytes, the end and a break wake the reader. So backpressure is not code, and nobody waits for a wake of his own.
 * A pipe ends once, cleanly (pipe_end) or broken with a reason (pipe_break); both arrive after the bytes before them.
 * An empty pipe holds no chunk. Small pieces share a chunk, so a full pipe holds at most about five times its bytes.
 *
 * Words:  free   bytes the writer may still add            room   memory to write them into
 *         peek   the first bytes, in place                 take   the first chunk, yours from now on
 *
 * Owner: the struct that embeds it.   Thread: its core's.   Units: bytes.
 * Errors: `reason` after a break.   Limits: bytes_max; one write may go over it by what it was given in one piece. */
#ifndef RING_PIPE_H
#define RING_PIPE_H

#include "ring/base.h"
#include "ring/chunk.h"
#include "ring/reason.h"
#include "ring/task.h"

#define PIPE_BYTES_MAX (64u * 1024u)     /* the usual bound */
#define PIPE_COPY_BYTES_MAX 4096u        /* a piece up to this is copied behind the last bytes where it fits */

struct pipe {
	struct chunk_pool *pool;
	struct chunk *first;
	struct chunk *last;
	uint64_t bytes;                  /* readable now */
	uint64_t bytes_max;
	uint64_t bytes_passed;           /* ever written */
	struct task *writer;             /* woken when a full pipe has opened, and by a refusal; may be NULL */
	struct task *reader;             /* woken by bytes and by the end; may be NULL */
	const struct reason *reason;     /* broken by the writer: why */
	const struct reason *refusal;    /* refused by the reader: why; whatever is written vanishes */
	bool ended;                      /* cleanly or broken: nothing more will come */
	bool full;
	bool more_follows;               /* pipe_expect */
};

void pipe_init(struct pipe *, struct chunk_pool *, uint64_t bytes_max);
void pipe_fini(struct pipe *);                      /* chunks back to the pool; harmless twice */

/* ---- the writer's side ---- */

/* Bytes that may be added; 0 while full and after the end. A refused pipe always has some: they vanish. */
static inline uint64_t pipe_free(const struct pipe *p)
{
	if (p->refusal)
		return p->bytes_max;
	if (p->ended || p->full)
		return 0;
	return p->bytes_max - p->bytes;
}

/* Memory for at least `least` (1 … CHUNK_BYTES) bytes in one piece behind the last byte; *size is what there is.
 * Does not ask pipe_free. Valid until the step returns or another call on this pipe. */
uint8_t *pipe_room(struct pipe *, size_t least, size_t *size);
void pipe_commit(struct pipe *, size_t n);          /* n ≤ *size of the last pipe_room; 0 is fine */

void pipe_write(struct pipe *, const void *bytes, size_t n); /* a copy of all n, whatever pipe_free says */
void pipe_put(struct pipe *, struct chunk *);       /* begin … end, without a copy where that saves one */

/* Up to n bytes from `from` to `to`, whole chunks without a copy; asks nobody's bound. Returns how many. Neither's end moves. */
uint64_t pipe_move(struct pipe *to, struct pipe *from, uint64_t n);

/* What the writer knows of the bytes behind those he wrote last. True: they follow at once, so a reader who passes bytes on may let these
 * wait a moment for them (ring/tcp). False, as at the start: nobody knows, and what is here goes on as it is. */
static inline void pipe_expect(struct pipe *p, bool more)
{
	p->more_follows = more;
}

void pipe_end(struct pipe *);                       /* nothing more will come; harmless after an end */
void pipe_break(struct pipe *, const struct reason *); /* nothing more will come, and it is not whole; the first stays */

/* ---- the reader's side ---- */

/* The first piece; NULL and 0 when empty. May be changed in place. */
static inline uint8_t *pipe_peek(struct pipe *p, size_t *n)
{
	if (p->bytes == 0) {
		*n = 0;
		return NULL;
	}
	*n = chunk_size(p->first);
	return p->first->bytes + p->first->begin;
}

void pipe_consume(struct pipe *, uint64_t n);       /* n ≤ bytes */
struct chunk *pipe_take(struct pipe *);             /* the first chunk with its unread bytes; NULL when empty */
void pipe_refuse(struct pipe *, const struct reason *); /* drops what is there and all that comes; wakes the writer */

/* All is read and nothing more will come. */
static inline bool pipe_at_end(const struct pipe *p)
{
	return p->ended && p->bytes == 0;
}

#endif
