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

#define ARENA_ALIGNMENT 16u

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
uint8_t *arena_grow(struct arena *, size_t n);               /* for arena_take: a block with room for n */

/* Aligned to 16; contents undefined. */
static inline void *arena_take(struct arena *arena, size_t n)
{
	uint8_t *at = arena->at ? arena->at + (-(uintptr_t)arena->at % ARENA_ALIGNMENT) : NULL;

	if (!at || at > arena->end || n > (size_t)(arena->end - at))
		at = arena_grow(arena, n);
	arena->at = at + n;
	arena->bytes += n;
	return at;
}

char *arena_copy(struct arena *, const void *bytes, size_t n); /* with a zero byte behind it */
void arena_reset(struct arena *);                            /* as new */

#endif
