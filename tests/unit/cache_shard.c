/* One core's lines: what is added is read, in the site's line and in the study's, by one writer and within the limits. */
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
#include "cache/lines.c"
#include "cache/shard.c"
#undef calloc
#undef aligned_alloc

#define SITES 200u

static const int64_t ONE_ENROLLED[COUNT_KINDS] = { [COUNT_ENROLLED] = 1 };

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

static void added(struct shard *shard, uint32_t site, const int64_t by[COUNT_KINDS], uint64_t stamp_ns)
{
	cr_assert_eq(shard_reserve(shard, site), SHARD_OK);
	shard_apply(shard, site, by, stamp_ns);
}

static struct line looked(const struct shard *shard, uint32_t site)
{
	struct line line;
	uint64_t version;

	cr_assert(shard_look(shard, site, &line, &version));
	cr_assert_eq(version, shard_version(shard, site));
	return line;
}

static void is_line(struct line line, struct line expected)
{
	cr_assert_arr_eq(line.n, expected.n, sizeof(line.n));
	cr_assert_eq(line.changes, expected.changes);
	cr_assert_eq(line.stamp_ns, expected.stamp_ns);
}

Test(cache_shard, a_new_shard_has_contributed_nothing)
{
	struct shard *shard = shard_new(SITES);

	for (uint32_t site = 0; site < SITES; site++)
		is_line(looked(shard, site), (struct line){ 0 });
	is_line(looked(shard, SHARD_STUDY), (struct line){ 0 });
	shard_free(shard);
	shard_free(NULL);
}

Test(cache_shard, a_change_stands_in_its_line_and_in_the_study)
{
	struct shard *shard = taken_shard(SITES);

	added(shard, 3, (int64_t[]){ 4, 3, 2, 1 }, 100);
	added(shard, 199, (int64_t[]){ 10, 20, 30, 40 }, 200);
	added(shard, 3, (int64_t[]){ -1, 0, 5, 0 }, 300);
	is_line(looked(shard, 3), (struct line){ { 3, 3, 7, 1 }, 2, 300 });
	is_line(looked(shard, 199), (struct line){ { 10, 20, 30, 40 }, 1, 200 });
	is_line(looked(shard, 4), (struct line){ 0 });
	is_line(looked(shard, SHARD_STUDY), (struct line){ { 13, 23, 37, 41 }, 3, 300 });
	shard_end(shard);
}

Test(cache_shard, a_change_by_nothing_is_a_change)
{
	struct shard *shard = taken_shard(SITES);

	added(shard, 1, (int64_t[]){ 0, 0, 0, 0 }, 5);
	is_line(looked(shard, 1), (struct line){ { 0 }, 1, 5 });
	is_line(looked(shard, SHARD_STUDY), (struct line){ { 0 }, 1, 5 });
	shard_end(shard);
}

Test(cache_shard, a_stamp_never_goes_back)
{
	struct shard *shard = taken_shard(SITES);

	added(shard, 1, ONE_ENROLLED, 50);
	added(shard, 1, ONE_ENROLLED, 40);
	added(shard, 2, ONE_ENROLLED, 45);
	cr_assert_eq(looked(shard, 1).stamp_ns, 50);
	cr_assert_eq(looked(shard, 2).stamp_ns, 45);
	cr_assert_eq(looked(shard, SHARD_STUDY).stamp_ns, 50);
	shard_end(shard);
}

Test(cache_shard, reserving_changes_nothing_that_is_read)
{
	struct shard *shard = taken_shard(SITES);
	size_t empty = shard_bytes(shard);

	cr_assert_eq(shard_reserve(shard, 9), SHARD_OK);
	cr_assert_eq(shard_bytes(shard), empty + LINES_BLOCK_SITES * LINES_LINE_BYTES);
	cr_assert_eq(shard_version(shard, 9), 0);
	is_line(looked(shard, 9), (struct line){ 0 });
	cr_assert_eq(shard_reserve(shard, 9), SHARD_OK);
	cr_assert_eq(shard_reserve(shard, SHARD_STUDY), SHARD_OK);
	cr_assert_eq(shard_bytes(shard), empty + LINES_BLOCK_SITES * LINES_LINE_BYTES);
	shard_end(shard);
}

Test(cache_shard, nothing_is_read_of_a_change_before_all_its_lines_are_closed)
{
	struct shard *shard = taken_shard(SITES);
	struct lines_cell *opened[SHARD_OPENED];
	struct line line;
	uint64_t version;

	cr_assert_eq(shard_reserve(shard, 1), SHARD_OK);
	shard_open(shard, 1, ONE_ENROLLED, 7, opened);
	cr_assert_not(shard_look(shard, 1, &line, &version));
	cr_assert_not(shard_look(shard, SHARD_STUDY, &line, &version));
	cr_assert_eq(shard_version(shard, SHARD_STUDY), 1);
	lines_close(opened[0]);
	cr_assert_not(shard_look(shard, SHARD_STUDY, &line, &version));
	lines_close(opened[1]);
	is_line(looked(shard, 1), (struct line){ { 0, 1, 0, 0 }, 1, 7 });
	is_line(looked(shard, SHARD_STUDY), (struct line){ { 0, 1, 0, 0 }, 1, 7 });
	shard_end(shard);
}

Test(cache_shard, a_line_restored_is_that_line_and_the_study_follows_by_the_difference)
{
	struct shard *shard = taken_shard(SITES);

	added(shard, 1, (int64_t[]){ 1, 2, 3, 4 }, 10);
	added(shard, 2, (int64_t[]){ 5, 5, 5, 5 }, 20);
	cr_assert_eq(shard_restore(shard, 1, &(struct line){ { 7, 0, 3, -1 }, 9, 15 }), SHARD_OK);
	is_line(looked(shard, 1), (struct line){ { 7, 0, 3, -1 }, 9, 15 });
	is_line(looked(shard, SHARD_STUDY), (struct line){ { 12, 5, 8, 4 }, 10, 20 });
	cr_assert_eq(shard_restore(shard, 150, &(struct line){ { 1, 1, 1, 1 }, 1, 99 }), SHARD_OK, "it was not reserved");
	is_line(looked(shard, SHARD_STUDY), (struct line){ { 13, 6, 9, 5 }, 11, 99 });
	cr_assert_eq(shard_restore(shard, 1, &(struct line){ 0 }), SHARD_OK);
	is_line(looked(shard, SHARD_STUDY), (struct line){ { 6, 6, 6, 6 }, 2, 99 });
	shard_end(shard);
}

Test(cache_shard, a_line_is_reserved_up_to_its_mark_and_changed_up_to_its_limit)
{
	for (unsigned kind = 0; kind < COUNT_KINDS; kind++) {
		for (int sign = -1; sign <= 1; sign += 2) {
			struct shard *shard = taken_shard(SITES);
			struct line line = { .changes = 1 };
			int64_t by[COUNT_KINDS] = { 0 };

			line.n[kind] = sign * SHARD_LINE_FULL;
			cr_assert_eq(shard_restore(shard, 1, &line), SHARD_OK);
			cr_assert_eq(shard_reserve(shard, 1), SHARD_OK);
			by[kind] = sign;
			shard_apply(shard, 1, by, 1);
			cr_assert_eq(shard_reserve(shard, 1), SHARD_LINE_SPENT);
			cr_assert_eq(shard_reserve(shard, 2), SHARD_LINE_SPENT, "the study is at its limit as well");
			by[kind] = sign * (SHARD_LINE_MAX - SHARD_LINE_FULL - 1);
			shard_apply(shard, 1, by, 2);
			cr_assert_eq(looked(shard, 1).n[kind], sign * SHARD_LINE_MAX, "what was reserved before still fits");
			shard_end(shard);
		}
	}
}

Test(cache_shard, a_study_at_its_limit_refuses_a_site_that_is_not)
{
	struct shard *shard = taken_shard(SITES);
	struct line line = { { 0, SHARD_LINE_FULL, 0, 0 }, 1, 1 };

	cr_assert_eq(shard_restore(shard, 1, &line), SHARD_OK);
	cr_assert_eq(shard_restore(shard, 2, &line), SHARD_OK);
	cr_assert_eq(shard_reserve(shard, 3), SHARD_LINE_SPENT);
	cr_assert_eq(shard_restore(shard, 3, &line), SHARD_LINE_SPENT);
	is_line(looked(shard, 3), (struct line){ 0 });
	is_line(looked(shard, SHARD_STUDY), (struct line){ { 0, 2 * SHARD_LINE_FULL, 0, 0 }, 2, 1 });
	shard_end(shard);
}

Test(cache_shard, a_line_beyond_any_limit_is_not_restored)
{
	static const int64_t far[] = { SHARD_LINE_MAX + 1, -SHARD_LINE_MAX - 1, INT64_MAX, INT64_MIN };
	struct shard *shard = taken_shard(SITES);
	size_t empty = shard_bytes(shard);

	for (unsigned i = 0; i < sizeof(far) / sizeof(far[0]) * COUNT_KINDS; i++) {
		struct line line = { .changes = 1 };

		line.n[i % COUNT_KINDS] = far[i / COUNT_KINDS];
		cr_assert_eq(shard_restore(shard, 0, &line), SHARD_LINE_SPENT);
	}
	cr_assert_eq(shard_bytes(shard), empty);
	is_line(looked(shard, 0), (struct line){ 0 });
	is_line(looked(shard, SHARD_STUDY), (struct line){ 0 });
	shard_end(shard);
}

Test(cache_shard, without_memory_there_is_no_shard)
{
	for (int granted = 0; granted < 3; granted++) {
		allocations_left = granted;
		cr_assert_null(shard_new(SITES));
	}
}

Test(cache_shard, without_memory_for_a_block_reserving_is_refused_and_may_be_tried_again)
{
	struct shard *shard = taken_shard(SITES);
	size_t empty = shard_bytes(shard);

	allocations_left = 0;
	cr_assert_eq(shard_reserve(shard, 9), SHARD_MEMORY_SPENT);
	cr_assert_eq(shard_restore(shard, 9, &(struct line){ { 1 }, 1, 1 }), SHARD_MEMORY_SPENT);
	is_line(looked(shard, 9), (struct line){ 0 });
	is_line(looked(shard, SHARD_STUDY), (struct line){ 0 });
	cr_assert_eq(shard_bytes(shard), empty);
	allocations_left = 1;
	added(shard, 9, ONE_ENROLLED, 1);
	added(shard, 10, ONE_ENROLLED, 2); /* a made block needs no memory */
	cr_assert_eq(looked(shard, SHARD_STUDY).n[COUNT_ENROLLED], 2);
	shard_end(shard);
}

static void *add_three_in_a_thread_of_its_own(void *user)
{
	struct shard *shard = user;

	shard_take(shard);
	added(shard, 1, (int64_t[]){ 0, 3, 0, 0 }, 2);
	shard_put(shard);
	return NULL;
}

Test(cache_shard, the_next_writer_goes_on_where_the_one_before_stopped)
{
	struct shard *shard = taken_shard(SITES);
	pthread_t thread;

	added(shard, 1, (int64_t[]){ 0, 10, 0, 0 }, 1);
	cr_assert(shard_is_mine(shard));
	shard_put(shard);
	cr_assert_not(shard_is_mine(shard));
	cr_assert_eq(pthread_create(&thread, NULL, add_three_in_a_thread_of_its_own, shard), 0);
	pthread_join(thread, NULL);
	shard_take(shard);
	added(shard, 1, (int64_t[]){ 0, 100, 0, 0 }, 3);
	is_line(looked(shard, 1), (struct line){ { 0, 113, 0, 0 }, 3, 3 });
	shard_end(shard);
}

static void *apply_without_taking(void *shard)
{
	shard_apply(shard, 1, ONE_ENROLLED, 1);
	return NULL;
}

static void *put_without_taking(void *shard)
{
	shard_put(shard);
	return NULL;
}

static void *take_a_second_time(void *shard)
{
	shard_take(shard);
	return NULL;
}

static void in_another_thread(void *(*run)(void *), struct shard *shard)
{
	pthread_t thread;

	cr_assert_eq(pthread_create(&thread, NULL, run, shard), 0);
	pthread_join(thread, NULL);
}

static struct shard *reserved_shard(uint32_t site)
{
	struct shard *shard = taken_shard(SITES);

	cr_assert_eq(shard_reserve(shard, site), SHARD_OK);
	return shard;
}

Test(cache_shard, a_change_after_giving_back_stops_the_process, .signal = SIGABRT)
{
	struct shard *shard = reserved_shard(1);

	shard_put(shard);
	shard_apply(shard, 1, ONE_ENROLLED, 1);
}

Test(cache_shard, a_change_by_another_thread_stops_the_process, .signal = SIGABRT)
{
	in_another_thread(apply_without_taking, reserved_shard(1));
}

Test(cache_shard, reserving_without_taking_stops_the_process, .signal = SIGABRT)
{
	shard_reserve(shard_new(SITES), 1);
}

Test(cache_shard, restoring_without_taking_stops_the_process, .signal = SIGABRT)
{
	shard_restore(shard_new(SITES), 1, &(struct line){ 0 });
}

Test(cache_shard, a_second_writer_stops_the_process, .signal = SIGABRT)
{
	in_another_thread(take_a_second_time, taken_shard(SITES));
}

Test(cache_shard, giving_back_what_another_thread_took_stops_the_process, .signal = SIGABRT)
{
	in_another_thread(put_without_taking, taken_shard(SITES));
}

Test(cache_shard, freeing_a_shard_that_is_written_stops_the_process, .signal = SIGABRT)
{
	shard_free(taken_shard(SITES));
}

Test(cache_shard, a_change_that_was_not_reserved_stops_the_process, .signal = SIGABRT)
{
	shard_apply(taken_shard(SITES), 1, ONE_ENROLLED, 1);
}

Test(cache_shard, a_change_of_the_study_alone_stops_the_process, .signal = SIGABRT)
{
	shard_apply(taken_shard(SITES), SHARD_STUDY, ONE_ENROLLED, 1);
}

Test(cache_shard, a_change_beyond_the_limit_stops_the_process, .signal = SIGABRT)
{
	shard_apply(reserved_shard(1), 1, (int64_t[]){ 0, 0, SHARD_LINE_MAX + 1, 0 }, 1);
}

Test(cache_shard, a_change_beyond_all_numbers_stops_the_process, .signal = SIGABRT)
{
	struct shard *shard = reserved_shard(1);

	shard_apply(shard, 1, ONE_ENROLLED, 1);
	shard_apply(shard, 1, (int64_t[]){ 0, INT64_MAX, 0, 0 }, 1);
}

Test(cache_shard, reserving_beyond_the_last_site_stops_the_process, .signal = SIGABRT)
{
	shard_reserve(taken_shard(SITES), SITES);
}

Test(cache_shard, reading_beyond_the_last_site_stops_the_process, .signal = SIGABRT)
{
	shard_version(shard_new(SITES), SITES);
}
