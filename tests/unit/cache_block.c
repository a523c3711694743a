/* Segments and blocks, and the decision that matters: is what is damaged an end that nobody was answered for, or a middle? */
#include <criterion/criterion.h>

#include "cache/block.c"

#include <stdlib.h>

#define RECORDS_MAX 400u

/* Blocks of a segment one after the other; what is in them is no record here. */
static size_t blocks_make(uint8_t *bytes, unsigned count, size_t ends[])
{
	size_t n = 0;

	for (unsigned i = 0; i < count; i++) {
		size_t record_bytes = 1 + i * 37 % RECORDS_MAX;

		memset(bytes + n + BLOCK_HEADER_BYTES, 'a' + (int)i, record_bytes);
		n += block_finish(bytes + n, record_bytes, i + 1, 10 * i + 1, 10);
		ends[i] = n;
	}
	return n;
}

/* How many blocks stand there, and what comes then; the decision that a start takes. */
enum end { WHOLE, TORN, MIDDLE };

static enum end walk(const uint8_t *bytes, size_t n, unsigned *whole)
{
	struct block block;
	size_t at = 0, later;

	*whole = 0;
	for (enum block_found found; (found = block_read(bytes + at, n - at, &block)) != BLOCK_NONE; at += block.size) {
		if (found == BLOCK_BAD)
			return block_find_later(bytes + at, n - at, *whole + 1, &later) ? MIDDLE : TORN;
		cr_assert_eq(block.number, ++*whole);
	}
	return WHOLE;
}

static struct segment a_segment(bool snapshot)
{
	return (struct segment){ .snapshot = snapshot, .stream = UINT64_C(0x0102030405060708), .first_sequence = UINT64_MAX, .first_block = 3,
		.created_ns = UINT64_C(1764000000000000000), .chain = { 1, [31] = 32 } };
}

Test(cache_block, a_segments_header_comes_back_and_every_bit_of_it_counts)
{
	uint8_t bytes[SEGMENT_HEADER_BYTES];
	struct segment back;

	for (int snapshot = 0; snapshot < 2; snapshot++) {
		struct segment segment = a_segment(snapshot);

		segment_write(bytes, &segment);
		cr_assert(segment_read(bytes, sizeof(bytes), &back));
		cr_assert_eq(back.snapshot, segment.snapshot);
		cr_assert_eq(back.stream, segment.stream);
		cr_assert_eq(back.first_sequence, segment.first_sequence);
		cr_assert_eq(back.first_block, segment.first_block);
		cr_assert_eq(back.created_ns, segment.created_ns);
		cr_assert_arr_eq(back.chain, segment.chain, RECORD_CHAIN_BYTES);
		for (size_t cut = 0; cut < sizeof(bytes); cut++)
			cr_assert_not(segment_read(bytes, cut, &back));
		for (size_t bit = 0; bit < 8 * sizeof(bytes); bit++) {
			bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
			cr_assert_not(segment_read(bytes, sizeof(bytes), &back), "bit %zu", bit);
			bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
	}
}

Test(cache_block, what_should_be_zero_is_refused_even_where_the_check_sum_holds)
{
	uint8_t bytes[1024] = { 0 };
	struct segment segment = a_segment(false);
	struct block block;

	for (size_t i = 72; i < 92; i++) {
		segment_write(bytes, &segment);
		bytes[i] = 1;
		little_put(bytes + 92, check_sum(bytes, 92), 4);
		cr_assert_not(segment_read(bytes, SEGMENT_HEADER_BYTES, &segment));
	}
	for (size_t i = 32; i < 60; i++) {
		size_t n = block_finish(bytes, 1, 1, 1, 1);

		bytes[i] = 1;
		little_put(bytes + 60, check_sum(bytes, 60), 4);
		cr_assert_eq(block_read(bytes, n, &block), BLOCK_BAD);
	}
	for (size_t i = 65; i < 72; i++) {
		size_t n = block_finish(bytes, 1, 1, 1, 1);

		bytes[i] = 1;
		cr_assert_eq(block_read(bytes, n, &block), BLOCK_BAD, "padding is covered by no check sum");
	}
}

Test(cache_block, a_header_that_claims_nothing_or_too_much_is_refused_by_itself)
{
	static uint8_t bytes[BLOCK_HEADER_BYTES + BLOCK_BYTES_MAX + 16];
	static const struct { uint64_t record_bytes, records; } CASES[] = {
		{ 0, 1 }, { 8, 0 }, { BLOCK_BYTES_MAX + 1, 1 }, { UINT32_MAX, 1 }, { UINT32_MAX - 7, 1 },
	};
	struct block block;
	size_t at;

	for (unsigned i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
		block_finish(bytes, 8, 1, 1, 1);
		little_put(bytes + 4, CASES[i].record_bytes, 4);
		little_put(bytes + 24, CASES[i].records, 4);
		little_put(bytes + 28, check_sum(bytes + BLOCK_HEADER_BYTES, CASES[i].record_bytes == 0 ? 0 : 8), 4);
		little_put(bytes + 60, check_sum(bytes, 60), 4);
		cr_assert_eq(block_read(bytes, sizeof(bytes), &block), BLOCK_BAD, "case %u", i);
		cr_assert_not(block_find_later(bytes, sizeof(bytes), 0, &at), "case %u", i);
	}
	/* The largest there may be. */
	memset(bytes + BLOCK_HEADER_BYTES, 'x', BLOCK_BYTES_MAX);
	size_t n = block_finish(bytes, BLOCK_BYTES_MAX, 1, 1, 1);

	cr_assert_eq(n, BLOCK_HEADER_BYTES + BLOCK_BYTES_MAX);
	cr_assert_eq(block_read(bytes, n, &block), BLOCK_FOUND);
	cr_assert_eq(block_read(bytes, n - 1, &block), BLOCK_BAD);
}

Test(cache_block, a_block_of_every_length_comes_back_with_its_padding)
{
	uint8_t bytes[BLOCK_HEADER_BYTES + 64];
	struct block block;

	for (size_t n = 1; n <= 57; n++) {
		memset(bytes, 0xff, sizeof(bytes));
		size_t size = block_finish(bytes, n, UINT64_MAX, UINT64_MAX - 1, UINT32_MAX);

		cr_assert_eq(size % 8, 0);
		cr_assert(size >= BLOCK_HEADER_BYTES + n && size < BLOCK_HEADER_BYTES + n + 8);
		cr_assert_eq(block_read(bytes, size, &block), BLOCK_FOUND);
		cr_assert_eq(block.number, UINT64_MAX);
		cr_assert_eq(block.first_sequence, UINT64_MAX - 1);
		cr_assert_eq(block.records, UINT32_MAX);
		cr_assert_eq(block.record_bytes, n);
		cr_assert_eq(block.size, size);
		cr_assert_eq(block.bytes, bytes + BLOCK_HEADER_BYTES);
	}
}

Test(cache_block, nothing_and_zeros_of_any_length_are_the_end)
{
	uint8_t bytes[200] = { 0 };
	struct block block;

	for (size_t n = 0; n <= sizeof(bytes); n++)
		cr_assert_eq(block_read(bytes, n, &block), BLOCK_NONE);
	for (size_t i = 0; i < sizeof(bytes); i++) {
		bytes[i] = 1;
		cr_assert_eq(block_read(bytes, sizeof(bytes), &block), BLOCK_BAD, "%zu", i);
		cr_assert_eq(block_read(bytes, i, &block), BLOCK_NONE);
		bytes[i] = 0;
	}
}

Test(cache_block, a_file_cut_at_every_byte_ends_with_a_torn_block_or_between_two)
{
	enum { COUNT = 6 };
	uint8_t bytes[COUNT * (BLOCK_HEADER_BYTES + RECORDS_MAX + 8)];
	size_t ends[COUNT], n = blocks_make(bytes, COUNT, ends);

	for (size_t cut = 0; cut <= n; cut++) {
		uint8_t *exact = malloc(cut + (cut == 0));
		unsigned whole, expected = 0;

		memcpy(exact, bytes, cut);
		while (expected < COUNT && ends[expected] <= cut)
			expected++;
		bool between = cut == 0 || (expected > 0 && ends[expected - 1] == cut);

		cr_assert_eq(walk(exact, cut, &whole), between ? WHOLE : TORN, "%zu", cut);
		cr_assert_eq(whole, expected, "%zu", cut);
		free(exact);
	}
}

Test(cache_block, every_bit_that_flips_is_a_damaged_middle_and_in_the_last_block_a_torn_tail)
{
	enum { COUNT = 4 };
	uint8_t bytes[COUNT * (BLOCK_HEADER_BYTES + RECORDS_MAX + 8)];
	size_t ends[COUNT], n = blocks_make(bytes, COUNT, ends);

	for (size_t bit = 0; bit < 8 * n; bit++) {
		unsigned whole, expected = 0;

		while (ends[expected] <= bit / 8)
			expected++;
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		cr_assert_eq(walk(bytes, n, &whole), expected < COUNT - 1 ? MIDDLE : TORN, "bit %zu", bit);
		cr_assert_eq(whole, expected, "bit %zu", bit);
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

Test(cache_block, sectors_of_the_last_block_that_are_missing_in_any_order_are_a_torn_tail)
{
	enum { SECTOR = 512, SECTORS = 6, COUNT = 2 };
	static uint8_t bytes[BLOCK_HEADER_BYTES + 8 + SECTORS * SECTOR], torn[sizeof(bytes) + 4096];
	size_t first;
	unsigned whole;

	memset(bytes, 'a', sizeof(bytes));
	first = block_finish(bytes, 8, 1, 1, 1);
	block_finish(bytes + first, SECTORS * SECTOR - BLOCK_HEADER_BYTES, 2, 2, 9);
	for (unsigned there = 0; there < 1u << SECTORS; there++) {
		/* The file is longer already, as after a write that only its length came through of; what is missing reads as zeros. */
		memset(torn, 0, sizeof(torn));
		memcpy(torn, bytes, first);
		for (unsigned i = 0; i < SECTORS; i++)
			if (there & 1u << i)
				memcpy(torn + first + i * SECTOR, bytes + first + i * SECTOR, SECTOR);
		cr_assert_eq(walk(torn, sizeof(torn), &whole), there == 0 || there == (1u << SECTORS) - 1 ? WHOLE : TORN, "%x", there);
		cr_assert_eq(whole, there == (1u << SECTORS) - 1 ? 2 : 1);
	}
}

Test(cache_block, a_later_block_is_found_behind_holes_and_garbage_by_its_header_alone)
{
	static uint8_t bytes[8192];
	size_t at = 0, end;
	struct block block;

	memset(bytes, 0xa5, 4096);
	memset(bytes + BLOCK_HEADER_BYTES + 4096, 'r', 100);
	end = 4096 + block_finish(bytes + 4096, 100, 7, 70, 1);
	cr_assert(block_find_later(bytes, sizeof(bytes), 6, &at));
	cr_assert_eq(at, 4096);
	cr_assert_not(block_find_later(bytes, sizeof(bytes), 7, &at), "its own number is not later");
	/* Its records are gone, its header is whole: it was begun when the one before was synced, so that one had been whole. */
	cr_assert_eq(block_read(bytes + 4096, end - 4096, &block), BLOCK_FOUND);
	memset(bytes + 4096 + BLOCK_HEADER_BYTES, 0, 100);
	cr_assert_eq(block_read(bytes + 4096, end - 4096, &block), BLOCK_BAD);
	cr_assert(block_find_later(bytes, sizeof(bytes), 6, &at));
	cr_assert(block_find_later(bytes, 4096 + BLOCK_HEADER_BYTES, 6, &at));
	cr_assert_not(block_find_later(bytes, 4096 + BLOCK_HEADER_BYTES - 1, 6, &at));
	/* Blocks stand at multiples of 8; a header elsewhere is somebody's reason that looks like one. */
	cr_assert_not(block_find_later(bytes + 1, sizeof(bytes) - 1, 6, &at));
	for (size_t n = 0; n < BLOCK_HEADER_BYTES; n++)
		cr_assert_not(block_find_later(bytes + 4096, n, 0, &at));
}
