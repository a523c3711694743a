/* ring/arena.h — memory that is given piece by piece and taken back at once.
 *
 * An exchange has one; the strings of a request live and die there. The first bytes come from a buffer inside the owner,
 * so a usual request allocates nothing; larger needs take blocks from malloc.
 *
 * Owner: the struct that embeds it.   Thread: its core's.   Units: bytes.
 * Errors: none; memory that the system refuses ends the process.   Limits: bounded by the callers' own (head_bytes_max …). */
#ifndef RING_ARENA_H
#define RING_ARENA_H

#include "ring/base.h"

struct arena_block;

struct arena {
	uint8_t *at;
	uint8_t *end;
	struct arena_block *blocks;
	uint8_t *own;                    /* the first buffer */
	size_t own_size;
	size_t bytes;                    /* given out, for dumps */
};

void arena_init(struct arena *, void *own, size_t own_size); /* own may be NULL with 0 */
void arena_fini(struct arena *);                             /* harmless twice */
void *arena_take(struct arena *, size_t n);                  /* aligned to 16; contents undefined */
char *arena_copy(struct arena *, const void *bytes, size_t n); /* with a zero byte behind it */
void arena_reset(struct arena *);                            /* as new */

#endif
