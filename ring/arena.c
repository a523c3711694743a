/* A bump pointer over the owner's first buffer, then over blocks that at least double what is needed at once. */
#include "ring/arena.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES_MIN 4096u

struct arena_block {
	_Alignas(ARENA_ALIGNMENT) struct arena_block *next;
	_Alignas(ARENA_ALIGNMENT) uint8_t bytes[];
};

void arena_init(struct arena *arena, void *own, size_t own_size)
{
	*arena = (struct arena){ .own = own, .own_size = own_size };
	arena->at = arena->own;
	arena->end = arena->own ? arena->own + own_size : NULL;
}

void arena_fini(struct arena *arena)
{
	while (arena->blocks) {
		struct arena_block *block = arena->blocks;

		arena->blocks = block->next;
		free(block);
	}
	*arena = (struct arena){ 0 };
}

uint8_t *arena_grow(struct arena *arena, size_t n)
{
	size_t size = n > BLOCK_BYTES_MIN / 2 ? n + BLOCK_BYTES_MIN : BLOCK_BYTES_MIN;
	struct arena_block *block = malloc(sizeof *block + size);

	check(block);
	block->next = arena->blocks;
	arena->blocks = block;
	arena->end = block->bytes + size;
	return block->bytes;
}

char *arena_copy(struct arena *arena, const void *bytes, size_t n)
{
	char *copy = arena_take(arena, n + 1);

	if (n > 0)
		memcpy(copy, bytes, n);
	copy[n] = 0;
	return copy;
}

void arena_reset(struct arena *arena)
{
	uint8_t *own = arena->own;
	size_t own_size = arena->own_size;

	arena_fini(arena);
	arena_init(arena, own, own_size);
}
