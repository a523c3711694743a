/* Arenas: aligned, apart from each other, and gone at once. */
#include "ring/arena.c"

#include <criterion/criterion.h>

Test(ring_arena, what_is_taken_is_aligned_and_does_not_overlap)
{
	struct arena arena;
	uint8_t own[300];
	uint8_t *pieces[200];

	arena_init(&arena, own, sizeof own);
	for (unsigned i = 0; i < array_count(pieces); i++) {
		pieces[i] = arena_take(&arena, i * 7);
		cr_assert_eq((uintptr_t)pieces[i] % ARENA_ALIGNMENT, 0);
		memset(pieces[i], (int)i, i * 7);
	}
	for (unsigned i = 0; i < array_count(pieces); i++) {
		for (unsigned at = 0; at < i * 7; at++)
			cr_assert_eq(pieces[i][at], (uint8_t)i);
	}
	arena_fini(&arena);
	arena_fini(&arena);
}

Test(ring_arena, what_fits_into_the_first_buffer_allocates_nothing)
{
	struct arena arena;
	_Alignas(16) uint8_t own[64];

	arena_init(&arena, own, sizeof own);
	cr_assert_eq((uint8_t *)arena_take(&arena, 16), own);
	cr_assert_eq((uint8_t *)arena_take(&arena, 48), own + 16);
	cr_assert_null(arena.blocks);
	arena_take(&arena, 1);
	cr_assert_not_null(arena.blocks);
	arena_fini(&arena);
}

Test(ring_arena, an_arena_without_a_buffer_works)
{
	struct arena arena;

	arena_init(&arena, NULL, 0);
	cr_assert_str_eq(arena_copy(&arena, "text and more", 4), "text");
	cr_assert_str_eq(arena_copy(&arena, NULL, 0), "");
	arena_fini(&arena);
}

Test(ring_arena, a_reset_arena_is_as_new)
{
	struct arena arena;
	_Alignas(16) uint8_t own[64];

	arena_init(&arena, own, sizeof own);
	arena_take(&arena, 100000);
	arena_reset(&arena);
	cr_assert_null(arena.blocks);
	cr_assert_eq(arena.bytes, 0);
	cr_assert_eq((uint8_t *)arena_take(&arena, 1), own);
	arena_fini(&arena);
}
