/* cache/block.h — what is written at once: records in a block, blocks in a segment, segments in a stream. And what a damaged end means.
 *
 *   <state>/journal/<stream, 2 digits or more>/<sequence of its first record, 20 digits>.journal      segments, never changed again but for the last
 *   <state>/journal/<stream>/<sequence, 20 digits>.snapshot                                           see cache/record.h
 *
 *   segment = header 96 bytes, blocks …      block = header 64 bytes, records, zeros up to a multiple of 8
 *
 *   segment header   "PJS1" (snapshot: "PJN1") · form u32 = 1 · stream u64 · first sequence u64 · first block's number u64 · chain before 32
 *                    · created, ns UTC u64 · zeros 20 · CRC-32 of the 92 bytes before, u32
 *   block header     "PJB1" · bytes of the records u32 · number u64 · first sequence u64 · records u32 · CRC-32 of the records' bytes u32 · zeros 28
 *                    · CRC-32 of the 60 bytes before, u32
 *
 * A block is one group commit: written, synced, answered. The next one is written only then. So at most the last block of a stream
 * may be torn by a crash. (Where answers do not wait for the sync, all blocks between two syncs are one commit and *have the same number*;
 * any of them may be torn. A number is never more than one above the number before it; the first in a segment is always above all before.)
 * What is wrong is told apart by what stands behind it:
 *   - no valid block header with a higher number anywhere behind (holes, zeros and garbage in between do not matter): a *torn tail*. Nobody
 *     was answered for it; it is cut off and kept aside.
 *   - one with a higher number exists: the block in question was synced once. A *damaged middle*: we do not go on by ourselves.
 * Sectors of the torn block may have reached the disk in any order, so its own parts prove nothing.
 *
 * Pure.   Owner: the caller's bytes.   Thread: any.   Units: bytes.   Errors: enum block_found.   Limits: BLOCK_BYTES_MAX. */
#ifndef CACHE_BLOCK_H
#define CACHE_BLOCK_H

#include "cache/record.h"

#define SEGMENT_HEADER_BYTES 96u
#define BLOCK_HEADER_BYTES 64u
#define BLOCK_BYTES_MAX (1u << 20)       /* of its records */

struct segment {
	bool snapshot;
	uint64_t stream, first_sequence, first_block, created_ns;
	uint8_t chain[RECORD_CHAIN_BYTES]; /* before the first record */
};

void segment_write(uint8_t bytes[SEGMENT_HEADER_BYTES], const struct segment *);
bool segment_read(const uint8_t *bytes, size_t n, struct segment *); /* false: not one, or damaged */

/* A block is built in place, of at least one record: records from bytes + BLOCK_HEADER_BYTES on, then this fills in header and padding. `room` must hold 7 bytes more than
 * the records. Returns the bytes to write. */
size_t block_finish(uint8_t *bytes, size_t record_bytes, uint64_t number, uint64_t first_sequence, uint32_t records);

enum block_found {
	BLOCK_FOUND,              /* whole, and its check sums hold */
	BLOCK_NONE,               /* nothing but zeros, or nothing at all: the end */
	BLOCK_BAD,                /* something else */
};

struct block {
	uint64_t number, first_sequence;
	uint32_t records;
	const uint8_t *bytes;     /* the records */
	size_t record_bytes, size; /* size: header and padding included */
};

/* What stands at `bytes`, up to the end of the segment. */
enum block_found block_read(const uint8_t *bytes, size_t n, struct block *);

/* Is there a whole, valid header of a block with a number above `number` in these bytes (at multiples of 8 from the beginning)? Where: *at. */
bool block_find_later(const uint8_t *bytes, size_t n, uint64_t number, size_t *at);

#endif
