/* Chunks: every one comes back, the last one first. */
#include "ring/chunk.c"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

Test(ring_chunk, the_chunk_that_came_back_last_is_given_first)
{
	struct chunk_pool pool;
	struct chunk *a, *b;

	chunk_pool_init(&pool, 10);
	a = chunk_take(&pool);
	b = chunk_take(&pool);
	chunk_put(&pool, a);
	chunk_put(&pool, b);
	cr_assert_eq(chunk_take(&pool), b);
	cr_assert_eq(chunk_take(&pool), a);
	chunk_put(&pool, b);
	chunk_put(&pool, a);
	chunk_pool_fini(&pool);
}

Test(ring_chunk, chunks_are_empty_whole_and_apart)
{
	struct chunk_pool pool;
	struct chunk *chunks[150];

	chunk_pool_init(&pool, 10);
	for (unsigned i = 0; i < array_count(chunks); i++) {
		chunks[i] = chunk_take(&pool);
		cr_assert_eq(chunk_size(chunks[i]), 0);
		memset(chunks[i]->bytes, (int)i, CHUNK_BYTES);
		chunks[i]->end = CHUNK_BYTES;
	}
	cr_assert_eq(chunk_pool_out(&pool), array_count(chunks));
	for (unsigned i = 0; i < array_count(chunks); i++) {
		for (unsigned at = 0; at < CHUNK_BYTES; at++)
			cr_assert_eq(chunks[i]->bytes[at], (uint8_t)i);
		chunk_put(&pool, chunks[i]);
	}
	cr_assert_eq(chunk_pool_out(&pool), 0);
	chunk_pool_fini(&pool);
}

Test(ring_chunk, trimmed_chunks_can_be_used_again)
{
	struct chunk_pool pool;
	struct chunk *chunks[100];

	chunk_pool_init(&pool, 10);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < array_count(chunks); i++) {
			chunks[i] = chunk_take(&pool);
			memset(chunks[i]->bytes, 1, CHUNK_BYTES);
		}
		for (unsigned i = 0; i < array_count(chunks); i++)
			chunk_put(&pool, chunks[i]);
		chunk_pool_trim(&pool, 5);
		cr_assert_eq(chunk_pool_warm(&pool), 5);
		chunk_pool_trim(&pool, 5);
		cr_assert_eq(chunk_pool_warm(&pool), 5);
	}
	chunk_pool_fini(&pool);
}

Test(ring_chunk, closing_a_pool_with_a_chunk_outside_ends_the_process, .signal = SIGABRT)
{
	struct chunk_pool pool;

	chunk_pool_init(&pool, 10);
	chunk_take(&pool);
	chunk_pool_fini(&pool);
}

Test(ring_chunk, a_chunk_that_comes_back_twice_ends_the_process, .signal = SIGABRT)
{
	struct chunk_pool pool;
	struct chunk *chunk;

	chunk_pool_init(&pool, 10);
	chunk = chunk_take(&pool);
	chunk_put(&pool, chunk);
	chunk_put(&pool, chunk);
}
