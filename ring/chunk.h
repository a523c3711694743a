/* ring/chunk.h — the one size of memory that bytes travel in.
 *
 *   bytes ┌────────────┬──────────────────┬──────────────┐ bytes + CHUNK_BYTES
 *         │  consumed  │  begin … end     │  room         │
 *         └────────────┴──────────────────┴──────────────┘
 *
 * A chunk is in exactly one place: the pool, a pipe, or one op. It holds a whole TLS record. The kernel receives into
 * chunks, so bytes are not copied between the socket and the engine that reads them.
 * The pool gives the chunk that came back last (it is warm). Headers lie dense in their slab, apart from the bytes, and the
 * bytes begin at a different cache line in each chunk, because sixteen pages that begin alike would fight for the same lines.
 *
 * Owner: whoever took it, until chunk_put or a pipe takes it over.   Thread: its core's.   Units: bytes.
 * Errors: none; memory that the system refuses ends the process.
 * Limits: receiving stops while more than `count_max` chunks are out of the pool; taking does not, because what transforms
 * or sends bytes that were received must be able to finish. */
#ifndef RING_CHUNK_H
#define RING_CHUNK_H

#include "ring/base.h"

#define CHUNK_BYTES (16384u + 512u)

struct chunk {
	struct chunk *next;
	uint8_t *bytes;
	uint32_t begin;
	uint32_t end;
};

struct chunk_pool {
	struct chunk *free;
	uint64_t free_count;
	uint64_t total_count;
	uint64_t count_max;              /* see Limits */
	uint64_t cold_count;             /* at the bottom of the free stack: their pages were given back and not used since */
	uint64_t takes;                  /* how often one was taken, for the reuse ratio */
	struct chunk_slab *slabs;
};

void chunk_pool_init(struct chunk_pool *, uint64_t count_max);
void chunk_pool_fini(struct chunk_pool *);          /* check: every chunk has come back */

void chunk_pool_grow(struct chunk_pool *);          /* for chunk_take, when nothing is left */

/* Empty: begin == end == 0; never NULL. */
static inline struct chunk *chunk_take(struct chunk_pool *pool)
{
	struct chunk *chunk;

	if (!pool->free)
		chunk_pool_grow(pool);
	chunk = pool->free;
	pool->free = chunk->next;
	pool->free_count--;
	if (pool->cold_count > pool->free_count)
		pool->cold_count = pool->free_count;
	pool->takes++;
	chunk->next = NULL;
	return chunk;
}

static inline void chunk_put(struct chunk_pool *pool, struct chunk *chunk)
{
	check(pool->free_count < pool->total_count);
	chunk->begin = chunk->end = 0;
	chunk->next = pool->free;
	pool->free = chunk;
	pool->free_count++;
}

/* Gives the pages of idle chunks back to the system, all but those of the `keep_count` warmest. */
void chunk_pool_trim(struct chunk_pool *, uint64_t keep_count);

/* Idle chunks that have pages. */
static inline uint64_t chunk_pool_warm(const struct chunk_pool *pool)
{
	return pool->free_count - pool->cold_count;
}

static inline uint64_t chunk_pool_out(const struct chunk_pool *pool)
{
	return pool->total_count - pool->free_count;
}

static inline uint32_t chunk_size(const struct chunk *chunk)
{
	return chunk->end - chunk->begin;
}

#endif
