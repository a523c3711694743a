/* One core's lines: what is added is read, by one writer, within the limits, and without a trace when refused. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>

/* Allocations pass through here, so that a test can have the n-th one refused. */
static int allocations_left = -1; /* -1: all succeed */

static bool allocation_granted(void)
{
	if (allocations_left < 0)
		return true;
	if (allocations_left == 0)
		return false;
	allocations_left--;
	return true;
}

static void *granted_calloc(size_t n, size_t size)
{
	return allocation_granted() ? calloc(n, size) : NULL;
}

static void *granted_aligned_alloc(size_t alignment, size_t size)
{
	return allocation_granted() ? aligned_alloc(alignment, size) : NULL;
}

#define calloc granted_calloc
#define aligned_alloc granted_aligned_alloc
#include "cache/shard.c"
#undef calloc
#undef aligned_alloc

#define SITES 200u /* three blocks and a part of a fourth */

static struct shard *taken_shard(unsigned sites_max)
{
	struct shard *shard = shard_new(sites_max);

	cr_assert_not_null(shard);
	shard_take(shard);
	return shard;
}

static void shard_end(struct shard *shard)
{
	shard_put(shard);
	shard_free(shard);
}

Test(cache_shard, a_new_shard_has_contributed_nothing)
{
	struct shard *shard = shard_new(SITES);

	for (uint32_t site = 0; site < SITES; site++)
		cr_assert_eq(shard_read(shard, site), 0);
	shard_free(shard);
	shard_free(NULL);
}

Test(cache_shard, each_site_has_its_own_line)
{
	struct shard *shard = taken_shard(SITES);

	for (uint32_t site = 0; site < SITES; site++)
		cr_assert_eq(shard_add(shard, site, (int64_t)site * 3 + 1), SHARD_ADDED);
	for (uint32_t site = 0; site < SITES; site++)
		cr_assert_eq(shard_add(shard, site, -1), SHARD_ADDED);
	for (uint32_t site = 0; site < SITES; site++)
		cr_assert_eq(shard_read(shard, site), (int64_t)site * 3);
	shard_end(shard);
}

Test(cache_shard, a_contribution_may_be_negative)
{
	struct shard *shard = taken_shard(1);

	cr_assert_eq(shard_add(shard, 0, -5), SHARD_ADDED);
	cr_assert_eq(shard_read(shard, 0), -5);
	shard_end(shard);
}

Test(cache_shard, a_line_is_one_cache_line_and_aligned_to_it)
{
	struct shard *shard = taken_shard(SITES);
	struct block *block;

	shard_add(shard, 70, 1);
	block = atomic_load(&shard->blocks[1]);
	cr_assert_eq((uintptr_t)block % 64, 0);
	cr_assert_eq((char *)&block->lines[1] - (char *)&block->lines[0], 64);
	cr_assert_eq(atomic_load(&block->lines[6].added), 1);
	shard_end(shard);
}

Test(cache_shard, memory_is_taken_for_blocks_that_are_used_and_for_no_others)
{
	struct shard *shard = taken_shard(SITES);
	size_t empty = shard_bytes(shard);

	shard_add(shard, 63, 1);
	shard_add(shard, 0, 1);
	cr_assert_eq(shard_bytes(shard), empty + SHARD_BLOCK_SITES * SHARD_LINE_BYTES);
	cr_assert_null(atomic_load(&shard->blocks[1]));
	shard_add(shard, 64, 1);
	cr_assert_eq(shard_bytes(shard), empty + 2 * SHARD_BLOCK_SITES * SHARD_LINE_BYTES);
	shard_add(shard, SITES - 1, 1);
	cr_assert_eq(shard_bytes(shard), empty + 3 * SHARD_BLOCK_SITES * SHARD_LINE_BYTES);
	cr_assert_null(atomic_load(&shard->blocks[2]));
	for (uint32_t site = 0; site < SITES; site++)
		cr_assert_eq(shard_read(shard, site), site == 0 || site == 63 || site == 64 || site == SITES - 1);
	shard_end(shard);
}

Test(cache_shard, adding_zero_changes_nothing_and_costs_nothing)
{
	struct shard *shard = taken_shard(SITES);
	size_t empty = shard_bytes(shard);

	cr_assert_eq(shard_add(shard, 5, 0), SHARD_ADDED);
	cr_assert_eq(shard_bytes(shard), empty);
	shard_end(shard);
}

Test(cache_shard, the_last_site_of_a_full_block_and_of_a_short_one_is_inside)
{
	static const unsigned sizes[] = { 1, 63, 64, 65, 128, 129 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct shard *shard = taken_shard(sizes[i]);

		cr_assert_eq(shard_add(shard, sizes[i] - 1, 7), SHARD_ADDED);
		cr_assert_eq(shard_read(shard, sizes[i] - 1), 7);
		shard_end(shard);
	}
}

Test(cache_shard, a_line_holds_its_limit_and_refuses_one_more)
{
	for (int sign = -1; sign <= 1; sign += 2) {
		struct shard *shard = taken_shard(1);

		cr_assert_eq(shard_add(shard, 0, sign * SHARD_LINE_MAX), SHARD_ADDED);
		cr_assert_eq(shard_add(shard, 0, sign), SHARD_LINE_SPENT);
		cr_assert_eq(shard_add(shard, 0, sign * SHARD_LINE_MAX), SHARD_LINE_SPENT);
		cr_assert_eq(shard_read(shard, 0), sign * SHARD_LINE_MAX);
		cr_assert_eq(shard_add(shard, 0, -sign), SHARD_ADDED);
		cr_assert_eq(shard_read(shard, 0), sign * (SHARD_LINE_MAX - 1));
		shard_end(shard);
	}
}

Test(cache_shard, an_add_beyond_any_line_is_refused_without_a_trace)
{
	static const int64_t far[] = { SHARD_LINE_MAX + 1, -SHARD_LINE_MAX - 1, INT64_MAX, INT64_MIN };
	struct shard *shard = taken_shard(SITES);
	size_t empty = shard_bytes(shard);

	for (size_t i = 0; i < sizeof(far) / sizeof(far[0]); i++)
		cr_assert_eq(shard_add(shard, 0, far[i]), SHARD_LINE_SPENT);
	cr_assert_eq(shard_bytes(shard), empty);
	cr_assert_eq(shard_read(shard, 0), 0);
	shard_end(shard);
}

Test(cache_shard, without_memory_there_is_no_shard)
{
	allocations_left = 0;
	cr_assert_null(shard_new(SITES));
}

Test(cache_shard, without_memory_for_a_block_the_add_is_refused_and_may_be_tried_again)
{
	struct shard *shard = taken_shard(SITES);
	size_t empty = shard_bytes(shard);

	allocations_left = 0;
	cr_assert_eq(shard_add(shard, 9, 4), SHARD_MEMORY_SPENT);
	cr_assert_eq(shard_read(shard, 9), 0);
	cr_assert_eq(shard_bytes(shard), empty);
	allocations_left = 1;
	cr_assert_eq(shard_add(shard, 9, 4), SHARD_ADDED);
	cr_assert_eq(shard_add(shard, 10, 4), SHARD_ADDED, "a made block needs no memory");
	cr_assert_eq(shard_read(shard, 9), 4);
	shard_end(shard);
}

static void *add_three_in_a_thread_of_its_own(void *shard)
{
	shard_take(shard);
	shard_add(shard, 1, 3);
	shard_put(shard);
	return NULL;
}

Test(cache_shard, the_next_writer_goes_on_where_the_one_before_stopped)
{
	struct shard *shard = taken_shard(SITES);
	pthread_t thread;

	shard_add(shard, 1, 10);
	shard_put(shard);
	cr_assert_eq(pthread_create(&thread, NULL, add_three_in_a_thread_of_its_own, shard), 0);
	pthread_join(thread, NULL);
	shard_take(shard);
	shard_add(shard, 1, 100);
	cr_assert_eq(shard_read(shard, 1), 113);
	shard_end(shard);
}

static void *add_without_taking(void *shard)
{
	shard_add(shard, 1, 1);
	return NULL;
}

static void *put_without_taking(void *shard)
{
	shard_put(shard);
	return NULL;
}

static void in_another_thread(void *(*run)(void *), struct shard *shard)
{
	pthread_t thread;

	cr_assert_eq(pthread_create(&thread, NULL, run, shard), 0);
	pthread_join(thread, NULL);
}

Test(cache_shard, an_add_without_taking_stops_the_process, .signal = SIGABRT)
{
	shard_add(shard_new(SITES), 1, 1);
}

Test(cache_shard, an_add_by_another_thread_stops_the_process, .signal = SIGABRT)
{
	in_another_thread(add_without_taking, taken_shard(SITES));
}

Test(cache_shard, a_second_writer_stops_the_process, .signal = SIGABRT)
{
	in_another_thread(add_three_in_a_thread_of_its_own, taken_shard(SITES));
}

Test(cache_shard, giving_back_what_another_thread_took_stops_the_process, .signal = SIGABRT)
{
	in_another_thread(put_without_taking, taken_shard(SITES));
}

Test(cache_shard, freeing_a_shard_that_is_written_stops_the_process, .signal = SIGABRT)
{
	shard_free(taken_shard(SITES));
}

Test(cache_shard, adding_beyond_the_last_site_stops_the_process, .signal = SIGABRT)
{
	shard_add(taken_shard(SITES), SITES, 1);
}

Test(cache_shard, reading_beyond_the_last_site_stops_the_process, .signal = SIGABRT)
{
	shard_read(shard_new(SITES), SITES);
}
