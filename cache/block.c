/* cache/block.c — headers and check sums, and where a damaged end is told from a damaged middle. */
#include "cache/block.h"

#include "cache/little.h"

#include <assert.h>
#include <string.h>
#include <zlib.h>

#define FORM 1u
#define PADDED(n) (((n) + 7u) & ~(size_t)7u)

static const uint8_t SEGMENT_MAGIC[4] = { 'P', 'J', 'S', '1' }, SNAPSHOT_MAGIC[4] = { 'P', 'J', 'N', '1' },
	BLOCK_MAGIC[4] = { 'P', 'J', 'B', '1' };

static_assert(SEGMENT_HEADER_BYTES % 8 == 0 && BLOCK_HEADER_BYTES % 8 == 0, "blocks stand at multiples of 8 of their segment");
static_assert(BLOCK_BYTES_MAX >= RECORD_BYTES_MAX, "a block has room for any record");

static uint32_t check_sum(const uint8_t *bytes, size_t n)
{
	return (uint32_t)crc32_z(0, bytes, n);
}

static bool all_zero(const uint8_t *bytes, size_t n)
{
	/* Each byte is the one before it, and the first is 0; memcmp does that a vector at a time. */
	return n == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, n - 1) == 0);
}

/* ---- a segment's header ---- */

void segment_write(uint8_t bytes[SEGMENT_HEADER_BYTES], const struct segment *segment)
{
	memset(bytes, 0, SEGMENT_HEADER_BYTES);
	memcpy(bytes, segment->snapshot ? SNAPSHOT_MAGIC : SEGMENT_MAGIC, 4);
	little_put(bytes + 4, FORM, 4);
	little_put(bytes + 8, segment->stream, 8);
	little_put(bytes + 16, segment->first_sequence, 8);
	little_put(bytes + 24, segment->first_block, 8);
	memcpy(bytes + 32, segment->chain, RECORD_CHAIN_BYTES);
	little_put(bytes + 64, segment->created_ns, 8);
	little_put(bytes + 92, check_sum(bytes, 92), 4);
}

bool segment_read(const uint8_t *bytes, size_t n, struct segment *segment)
{
	if (n < SEGMENT_HEADER_BYTES)
		return false;

	bool snapshot = memcmp(bytes, SNAPSHOT_MAGIC, 4) == 0;

	if (!snapshot && memcmp(bytes, SEGMENT_MAGIC, 4) != 0)
		return false;
	if (little_get(bytes + 4, 4) != FORM || !all_zero(bytes + 72, 20) || little_get(bytes + 92, 4) != check_sum(bytes, 92))
		return false;
	*segment = (struct segment){
		.snapshot = snapshot,
		.stream = little_get(bytes + 8, 8),
		.first_sequence = little_get(bytes + 16, 8),
		.first_block = little_get(bytes + 24, 8),
		.created_ns = little_get(bytes + 64, 8),
	};
	memcpy(segment->chain, bytes + 32, RECORD_CHAIN_BYTES);
	return true;
}

/* ---- blocks ---- */

size_t block_finish(uint8_t *bytes, size_t record_bytes, uint64_t number, uint64_t first_sequence, uint32_t records)
{
	cache_check(record_bytes > 0 && record_bytes <= BLOCK_BYTES_MAX);
	cache_check(records > 0);
	memset(bytes, 0, BLOCK_HEADER_BYTES);
	memset(bytes + BLOCK_HEADER_BYTES + record_bytes, 0, PADDED(record_bytes) - record_bytes);
	memcpy(bytes, BLOCK_MAGIC, 4);
	little_put(bytes + 4, record_bytes, 4);
	little_put(bytes + 8, number, 8);
	little_put(bytes + 16, first_sequence, 8);
	little_put(bytes + 24, records, 4);
	little_put(bytes + 28, check_sum(bytes + BLOCK_HEADER_BYTES, record_bytes), 4);
	little_put(bytes + 60, check_sum(bytes, 60), 4);
	return BLOCK_HEADER_BYTES + PADDED(record_bytes);
}

/* A header by its own parts; whether the records are there is not asked. */
static bool header_read(const uint8_t *bytes, size_t n, struct block *block)
{
	if (n < BLOCK_HEADER_BYTES || memcmp(bytes, BLOCK_MAGIC, 4) != 0)
		return false;
	if (!all_zero(bytes + 32, 28) || little_get(bytes + 60, 4) != check_sum(bytes, 60))
		return false;
	*block = (struct block){
		.record_bytes = little_get(bytes + 4, 4),
		.number = little_get(bytes + 8, 8),
		.first_sequence = little_get(bytes + 16, 8),
		.records = (uint32_t)little_get(bytes + 24, 4),
		.bytes = bytes + BLOCK_HEADER_BYTES,
	};
	block->size = BLOCK_HEADER_BYTES + PADDED(block->record_bytes);
	return block->record_bytes > 0 && block->record_bytes <= BLOCK_BYTES_MAX && block->records > 0;
}

enum block_found block_read(const uint8_t *bytes, size_t n, struct block *block)
{
	if (all_zero(bytes, n))
		return BLOCK_NONE;
	if (!header_read(bytes, n, block) || block->size > n)
		return BLOCK_BAD;
	if (little_get(bytes + 28, 4) != check_sum(block->bytes, block->record_bytes) ||
		!all_zero(block->bytes + block->record_bytes, block->size - BLOCK_HEADER_BYTES - block->record_bytes))
		return BLOCK_BAD;
	return BLOCK_FOUND;
}

bool block_find_later(const uint8_t *bytes, size_t n, uint64_t number, size_t *at)
{
	struct block block;

	for (size_t i = 0; i + BLOCK_HEADER_BYTES <= n; i += 8) {
		if (!header_read(bytes + i, n - i, &block) || block.number <= number)
			continue;
		*at = i;
		return true;
	}
	return false;
}
