/* Slabs of chunks: dense headers in one allocation, page-aligned bytes in one mapping. */
#include "ring/chunk.h"

#include <stdlib.h>
#include <sys/mman.h>

#define SLAB_CHUNKS 64u
#define PAGE_BYTES 4096u
#define STRIDE_BYTES (5u * PAGE_BYTES)      /* CHUNK_BYTES and room for the colour, in whole pages */
#define COLOURS 32u
#define COLOUR_BYTES 64u

static_assert(CHUNK_BYTES + COLOURS * COLOUR_BYTES <= STRIDE_BYTES, "the colour must fit behind the bytes");

struct chunk_slab {
	struct chunk_slab *next;
	uint8_t *bytes;
	struct chunk chunks[SLAB_CHUNKS];
};

void chunk_pool_grow(struct chunk_pool *pool)
{
	struct chunk_slab *slab = malloc(sizeof *slab);

	check(slab);
	slab->bytes = mmap(NULL, (size_t)SLAB_CHUNKS * STRIDE_BYTES, PROT_READ | PROT_WRITE,
	                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(slab->bytes != MAP_FAILED);
	slab->next = pool->slabs;
	pool->slabs = slab;
	for (unsigned i = SLAB_CHUNKS; i-- > 0;) {
		struct chunk *chunk = &slab->chunks[i];

		chunk->bytes = slab->bytes + (size_t)i * STRIDE_BYTES + (i % COLOURS) * COLOUR_BYTES;
		chunk->begin = chunk->end = 0;
		chunk->next = pool->free;
		pool->free = chunk;
	}
	pool->free_count += SLAB_CHUNKS;
	pool->total_count += SLAB_CHUNKS;
}

void chunk_pool_init(struct chunk_pool *pool, uint64_t count_max)
{
	*pool = (struct chunk_pool){ .count_max = count_max };
}

void chunk_pool_fini(struct chunk_pool *pool)
{
	check(pool->free_count == pool->total_count);
	while (pool->slabs) {
		struct chunk_slab *slab = pool->slabs;

		pool->slabs = slab->next;
		munmap(slab->bytes, (size_t)SLAB_CHUNKS * STRIDE_BYTES);
		free(slab);
	}
	*pool = (struct chunk_pool){ 0 };
}

/* The free list is a stack: the first ones are warm, the last ones may have been trimmed before. The headers stay; only pages
 * go, and come back zeroed when they are touched. */
void chunk_pool_trim(struct chunk_pool *pool, uint64_t keep_count)
{
	const uint64_t warm_count = chunk_pool_warm(pool);
	struct chunk *chunk = pool->free;

	for (uint64_t i = 0; i < warm_count; i++, chunk = chunk->next) {
		if (i >= keep_count) {
			uint8_t *page = chunk->bytes - ((uintptr_t)chunk->bytes % PAGE_BYTES);

			madvise(page, STRIDE_BYTES, MADV_DONTNEED);
		}
	}
	if (warm_count > keep_count)
		pool->cold_count = pool->free_count - keep_count;
}
