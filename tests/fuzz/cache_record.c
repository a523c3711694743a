/* tests/fuzz/cache_record.c — hostile journals: any bytes are a record or not one, a block or not one, and whatever is read would be written so.
 *
 *   input: one byte of kind, then the bytes
 *   0  a record as it is          1  its fields: header and chain are set right, so that they get past the framing
 *   2  a segment, as recovery walks it          3  the same, with every check sum set right wherever a header stands          */
#include "cache/block.c"
#include "cache/record.c"

#include <stdlib.h>

#define INPUT_BYTES_MAX (1u << 16)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Any function of all the bytes will do here: what is asked is that it is asked, over these bytes in this order. */
static void mix(uint8_t out[RECORD_CHAIN_BYTES], const uint8_t *a, size_t a_bytes, const uint8_t *b, size_t b_bytes)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < a_bytes + b_bytes; i++)
		h = (h ^ (i < a_bytes ? a[i] : b[i - a_bytes])) * 0x100000001b3u;
	for (unsigned i = 0; i < RECORD_CHAIN_BYTES; i++)
		out[i] = (uint8_t)(h >> 8 * (i % 8)) ^ (uint8_t)i;
}

static void inside(const void *at, size_t n, const uint8_t *bytes, size_t size)
{
	const uint8_t *begin = at;

	cache_check(n == 0 || (begin >= bytes && n <= size && begin <= bytes + size - n));
}

/* What is said of a record holds: its texts stand in it, and there is no other way to write it. */
static void record_try(const uint8_t *bytes, size_t n, record_hash *hash)
{
	static const uint8_t BEGIN[RECORD_CHAIN_BYTES] = { 0 };
	uint8_t chain[RECORD_CHAIN_BYTES] = { 0 }, chain_again[RECORD_CHAIN_BYTES] = { 0 }, again[RECORD_BYTES_MAX];
	struct record record, cut_record;
	size_t used = 0, cut_used;
	enum record_answer answer = record_read(bytes, n, &used, &record, chain, hash);

	if (answer == RECORD_OK || answer == RECORD_CHAIN_BROKEN) {
		cache_check(used > 0 && used <= n && used <= RECORD_BYTES_MAX);
		for (size_t i = 0; i < TEXT_COUNT; i++) {
			struct record_text text;

			memcpy(&text, (const char *)&record + TEXTS[i].offset, sizeof(text));
			inside(text.bytes, text.size, bytes, used);
		}
		cache_check(record_write(again, sizeof(again), &record, chain_again, mix) == used);
		cache_check(memcmp(again, bytes, used - RECORD_CHAIN_BYTES) == 0);
		cache_check((memcmp(again, bytes, used) == 0) == (hash && answer == RECORD_OK) || !hash);
	}
	if (answer != RECORD_OK)
		cache_check(memcmp(chain, BEGIN, sizeof(chain)) == 0);
	/* Less of it is short, or no record for the same reason; never another record. */
	for (size_t cut = 0; cut < n && cut < 200; cut++) {
		uint8_t part_chain[RECORD_CHAIN_BYTES] = { 0 };
		enum record_answer part = record_read(bytes, cut, &cut_used, &cut_record, part_chain, hash);

		cache_check(part == RECORD_SHORT || (part == answer && (answer == RECORD_MALFORMED || cut >= used)));
	}
}

static void fields_try(const uint8_t *fields, size_t n)
{
	static const uint8_t ZERO[RECORD_CHAIN_BYTES] = { 0 };
	uint8_t *bytes;
	size_t size;

	if (n < 1 || n - 1 > RECORD_BYTES_MAX - HEADER_BYTES - RECORD_CHAIN_BYTES)
		return;
	size = HEADER_BYTES + n - 1 + RECORD_CHAIN_BYTES;
	/* Memory of exactly its size, or a byte read too many would not be seen. */
	bytes = calloc(1, size);
	cache_check(bytes);
	little_put(bytes, size, 2);
	bytes[2] = fields[0];
	bytes[3] = FORM;
	little_put(bytes + 4, n - 1, 4);
	memcpy(bytes + HEADER_BYTES, fields + 1, n - 1);
	mix(bytes + size - RECORD_CHAIN_BYTES, ZERO, sizeof(ZERO), bytes, size - RECORD_CHAIN_BYTES);
	record_try(bytes, size, mix);
	record_try(bytes, size, NULL);
	free(bytes);
}

static void sums_set(uint8_t *bytes, size_t n)
{
	if (n >= SEGMENT_HEADER_BYTES)
		little_put(bytes + 92, check_sum(bytes, 92), 4);
	for (size_t at = SEGMENT_HEADER_BYTES; at + BLOCK_HEADER_BYTES <= n; at += 8) {
		size_t record_bytes;

		if (memcmp(bytes + at, BLOCK_MAGIC, 4) != 0)
			continue;
		record_bytes = little_get(bytes + at + 4, 4);
		if (record_bytes <= n - at - BLOCK_HEADER_BYTES)
			little_put(bytes + at + 28, check_sum(bytes + at + BLOCK_HEADER_BYTES, record_bytes), 4);
		little_put(bytes + at + 60, check_sum(bytes + at, 60), 4);
	}
}

static void segment_try(const uint8_t *given, size_t n, bool sums)
{
	uint8_t *bytes = malloc(n + 1), header[SEGMENT_HEADER_BYTES];
	struct segment segment;
	struct block block;
	size_t at = SEGMENT_HEADER_BYTES, later;
	uint64_t number = 0;
	enum block_found found;

	cache_check(bytes);
	memcpy(bytes, given, n);
	if (sums)
		sums_set(bytes, n);
	if (segment_read(bytes, n, &segment)) {
		segment_write(header, &segment);
		cache_check(memcmp(header, bytes, sizeof(header)) == 0);
	}
	if (n < at)
		at = n;
	for (; (found = block_read(bytes + at, n - at, &block)) == BLOCK_FOUND; at += block.size) {
		cache_check(block.size % 8 == 0 && block.size <= n - at);
		inside(block.bytes, block.record_bytes, bytes + at, block.size);
		uint8_t *again = malloc(block.size);

		cache_check(again);
		memcpy(again + BLOCK_HEADER_BYTES, block.bytes, block.record_bytes);
		cache_check(block_finish(again, block.record_bytes, block.number, block.first_sequence, block.records) == block.size);
		cache_check(memcmp(again, bytes + at, block.size) == 0);
		free(again);
		for (size_t used, in = 0; in < block.record_bytes; in += used) {
			uint8_t chain[RECORD_CHAIN_BYTES] = { 0 };
			struct record record;

			if (record_read(block.bytes + in, block.record_bytes - in, &used, &record, chain, NULL) != RECORD_OK)
				break;
			record_try(block.bytes + in, block.record_bytes - in, NULL);
		}
		number = block.number;
	}
	if (found == BLOCK_NONE)
		cache_check(!block_find_later(bytes + at, n - at, 0, &later));
	else if (block_find_later(bytes + at, n - at, number, &later))
		cache_check(later % 8 == 0 && later + BLOCK_HEADER_BYTES <= n - at);
	free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1 || size > INPUT_BYTES_MAX)
		return 0;
	switch (data[0] % 4) {
	case 0:
		record_try(data + 1, size - 1, NULL);
		record_try(data + 1, size - 1, mix);
		break;
	case 1:
		fields_try(data + 1, size - 1);
		break;
	default:
		segment_try(data + 1, size - 1, data[0] % 4 == 3);
	}
	return 0;
}
