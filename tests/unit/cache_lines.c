/* Lines of words: what is written is read whole, an open line is not read at all, and memory is taken block by block. */
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
#undef calloc
#undef aligned_alloc

#define SITES 200u /* three blocks and a part of a fourth */

static struct lines *new_lines(unsigned sites_max)
{
	struct lines *lines = lines_new(sites_max);

	cr_assert_not_null(lines);
	return lines;
}

/* first, first + 1, … */
static void written(struct lines *lines, uint32_t site, int64_t first)
{
	int64_t words[LINES_WORDS];
	struct lines_cell *cell;

	for (unsigned word = 0; word < LINES_WORDS; word++)
		words[word] = first + word;
	cr_assert(lines_make(lines, site));
	cell = lines_open(lines, site);
	lines_set(cell, words);
	lines_close(cell);
}

static void reads(const struct lines *lines, uint32_t site, int64_t first, uint64_t expected_version)
{
	int64_t words[LINES_WORDS], own[LINES_WORDS];
	uint64_t version;

	cr_assert(lines_look(lines, site, words, &version));
	cr_assert_eq(version, expected_version);
	cr_assert_eq(lines_version(lines, site), expected_version);
	lines_own(lines, site, own);
	for (unsigned word = 0; word < LINES_WORDS; word++) {
		cr_assert_eq(words[word], expected_version == 0 ? 0 : first + word);
		cr_assert_eq(own[word], words[word]);
	}
}

Test(cache_lines, new_lines_are_zero_in_every_word_and_version)
{
	struct lines *lines = new_lines(SITES);

	for (uint32_t site = 0; site < SITES; site++)
		reads(lines, site, 0, 0);
	reads(lines, LINES_STUDY, 0, 0);
	lines_free(lines);
	lines_free(NULL);
}

Test(cache_lines, each_site_and_the_study_have_words_of_their_own)
{
	struct lines *lines = new_lines(SITES);

	for (uint32_t site = 0; site < SITES; site++)
		written(lines, site, 100 * (int64_t)site);
	written(lines, LINES_STUDY, -7);
	for (uint32_t site = 0; site < SITES; site++)
		reads(lines, site, 100 * (int64_t)site, 2);
	reads(lines, LINES_STUDY, -7, 2);
	lines_free(lines);
}

Test(cache_lines, each_writing_makes_the_version_two_more)
{
	struct lines *lines = new_lines(1);

	for (int64_t i = 1; i <= 5; i++) {
		written(lines, 0, INT64_MIN + i);
		reads(lines, 0, INT64_MIN + i, (uint64_t)i * 2);
	}
	lines_free(lines);
}

Test(cache_lines, words_made_and_not_yet_written_are_zero)
{
	struct lines *lines = new_lines(SITES);

	written(lines, 5, 1);
	reads(lines, 4, 0, 0);
	reads(lines, 6, 0, 0);
	lines_free(lines);
}

Test(cache_lines, an_open_line_is_not_read_and_others_are)
{
	struct lines *lines = new_lines(SITES);
	const int64_t words[LINES_WORDS] = { 9, 9, 9, 9, 9, 9 };
	int64_t seen[LINES_WORDS];
	struct lines_cell *cell;
	uint64_t version;

	written(lines, 1, 10);
	written(lines, 2, 20);
	cell = lines_open(lines, 1);
	cr_assert_not(lines_look(lines, 1, seen, &version));
	cr_assert_eq(version, 3);
	reads(lines, 2, 20, 2);
	lines_set(cell, words);
	cr_assert_not(lines_look(lines, 1, seen, &version));
	lines_close(cell);
	cr_assert(lines_look(lines, 1, seen, &version));
	cr_assert_eq(version, 4);
	cr_assert_arr_eq(seen, words, sizeof(words));
	lines_free(lines);
}

Test(cache_lines, a_line_is_one_cache_line_and_aligned_to_it)
{
	struct lines *lines = new_lines(SITES);

	cr_assert(lines_make(lines, 70));
	cr_assert_eq((uintptr_t)lines_cell(lines, 64) % 64, 0);
	cr_assert_eq((const char *)lines_cell(lines, 70) - (const char *)lines_cell(lines, 64), 6 * 64);
	cr_assert_eq((uintptr_t)lines_cell(lines, LINES_STUDY) % 64, 0);
	lines_free(lines);
}

Test(cache_lines, memory_is_taken_for_blocks_that_are_used_and_for_no_others)
{
	struct lines *lines = new_lines(SITES);
	size_t empty = lines_bytes(lines), block = LINES_BLOCK_SITES * LINES_LINE_BYTES;

	written(lines, LINES_STUDY, 1);
	cr_assert_eq(lines_bytes(lines), empty);
	written(lines, 63, 1);
	written(lines, 0, 1);
	cr_assert_eq(lines_bytes(lines), empty + block);
	cr_assert_null(lines_cell(lines, 64));
	written(lines, 64, 1);
	cr_assert_eq(lines_bytes(lines), empty + 2 * block);
	written(lines, SITES - 1, 1);
	cr_assert_eq(lines_bytes(lines), empty + 3 * block);
	cr_assert_null(lines_cell(lines, 128));
	lines_free(lines);
}

Test(cache_lines, the_last_site_of_a_full_block_and_of_a_short_one_is_inside)
{
	static const unsigned sizes[] = { 1, 63, 64, 65, 128, 129 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct lines *lines = new_lines(sizes[i]);

		written(lines, sizes[i] - 1, 7);
		reads(lines, sizes[i] - 1, 7, 2);
		lines_free(lines);
	}
}

Test(cache_lines, without_memory_there_are_no_lines)
{
	for (int granted = 0; granted < 2; granted++) {
		allocations_left = granted;
		cr_assert_null(lines_new(SITES));
	}
}

Test(cache_lines, without_memory_for_a_block_a_line_is_not_made_and_may_be_tried_again)
{
	struct lines *lines = new_lines(SITES);
	size_t empty = lines_bytes(lines);

	allocations_left = 0;
	cr_assert_not(lines_make(lines, 9));
	cr_assert_eq(lines_bytes(lines), empty);
	reads(lines, 9, 0, 0);
	allocations_left = 1;
	cr_assert(lines_make(lines, 9));
	cr_assert(lines_make(lines, 10), "a made block needs no memory");
	cr_assert(lines_make(lines, LINES_STUDY), "nor does the study");
	lines_free(lines);
}

Test(cache_lines, opening_a_line_that_was_not_made_stops_the_process, .signal = SIGABRT)
{
	lines_open(new_lines(SITES), 3);
}

Test(cache_lines, opening_an_open_line_stops_the_process, .signal = SIGABRT)
{
	struct lines *lines = new_lines(SITES);

	lines_open(lines, LINES_STUDY);
	lines_open(lines, LINES_STUDY);
}

Test(cache_lines, closing_a_closed_line_stops_the_process, .signal = SIGABRT)
{
	struct lines *lines = new_lines(SITES);
	struct lines_cell *cell = lines_open(lines, LINES_STUDY);

	lines_close(cell);
	lines_close(cell);
}

Test(cache_lines, reading_beyond_the_last_site_stops_the_process, .signal = SIGABRT)
{
	lines_version(new_lines(SITES), SITES);
}
