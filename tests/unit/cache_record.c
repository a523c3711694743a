/* Records: one form in bytes for each, and whatever is read would be written so again. The known answers were made by
 * another writer (tests/e2e/journal_files.py). */
#include <criterion/criterion.h>

#include "cache/block.h"
#include "cache/record.c"
#include "tests/unit/cache_record_vectors.h"

#include <openssl/evp.h>
#include <stdlib.h>

#define BEGAN_NS UINT64_C(1764000000000000000)
#define TEXT(s) ((struct record_text){ s, sizeof(s) - 1 })

static void sha256(uint8_t out[RECORD_CHAIN_BYTES], const uint8_t *a, size_t a_bytes, const uint8_t *b, size_t b_bytes)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();

	cr_assert(md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) && EVP_DigestUpdate(md, a, a_bytes) && EVP_DigestUpdate(md, b, b_bytes) &&
		EVP_DigestFinal_ex(md, out, NULL));
	EVP_MD_CTX_free(md);
}

/* The record of the vectors that has every field, each at an end of what it may be. */
static struct record everything(void)
{
	return (struct record){
		.kind = RECORD_RULES, .sequence = 2, .stamp_ns = BEGAN_NS + 1,
		.site = TEXT("Z\xc3\xbcrich-7"), .actor = TEXT("CN=Monitor 4,O=CRO"), .address = TEXT("127.0.0.1:4711"),
		.reason = TEXT("signed; visit 1"), .request_id = TEXT("01J9-000000000007"), .key = TEXT("9b2e"), .detail = TEXT("a detail"),
		.digest = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 },
		.by = { 1, -1, 64, -65 }, .before = { INT64_C(9007199254740991), 0, -INT64_C(9007199254740991), 7 },
		.changes = 3, .line_stamp_ns = (int64_t)BEGAN_NS, .status = 2, .status_before = 1, .cap = 0, .cap_before = INT64_MAX,
		.rule_changes = 300, .amount = 1000000, .reservation = UINT64_MAX, .expires_ms = 1764000000000, .at_ms = 1764000000001, .outcome = 9,
	};
}

static void texts_same(struct record_text a, struct record_text b)
{
	cr_assert_eq(a.size, b.size);
	if (a.size)
		cr_assert_arr_eq(a.bytes, b.bytes, a.size);
}

static void records_same(const struct record *a, const struct record *b)
{
	cr_assert_eq(a->kind, b->kind);
	cr_assert_eq(a->sequence, b->sequence);
	cr_assert_eq(a->stamp_ns, b->stamp_ns);
	texts_same(a->site, b->site);
	texts_same(a->actor, b->actor);
	texts_same(a->address, b->address);
	texts_same(a->reason, b->reason);
	texts_same(a->request_id, b->request_id);
	texts_same(a->key, b->key);
	texts_same(a->detail, b->detail);
	/* From the first number to the last; there is no padding between them. */
	cr_assert_arr_eq((const uint8_t *)a->digest, (const uint8_t *)b->digest,
		offsetof(struct record, outcome) + sizeof(a->outcome) - offsetof(struct record, digest));
}

/* Written, read and written again; returns its bytes. */
static size_t round_trip(uint8_t bytes[RECORD_BYTES_MAX], const struct record *record)
{
	uint8_t chain[2][RECORD_CHAIN_BYTES] = { { 9 }, { 9 } }, again[RECORD_BYTES_MAX], third[RECORD_CHAIN_BYTES] = { 9 };
	size_t n = record_write(bytes, RECORD_BYTES_MAX, record, chain[0], sha256), used = 0;
	struct record back;

	cr_assert_gt(n, 0);
	cr_assert_eq(record_read(bytes, n, &used, &back, chain[1], sha256), RECORD_OK);
	cr_assert_eq(used, n);
	cr_assert_arr_eq(chain[0], chain[1], RECORD_CHAIN_BYTES);
	records_same(record, &back);
	cr_assert_eq(record_write(again, n, &back, third, sha256), n, "its own size is room enough");
	cr_assert_arr_eq(again, bytes, n);
	return n;
}

/* A record made by hand: the header fits its fields, and the chain is not looked at. */
static size_t by_hand(uint8_t *bytes, enum record_kind kind, const uint8_t *fields, size_t n)
{
	size_t size = HEADER_BYTES + n + RECORD_CHAIN_BYTES;

	memset(bytes, 0, size);
	little_put(bytes, size, 2);
	bytes[2] = (uint8_t)kind;
	bytes[3] = FORM;
	little_put(bytes + 4, n, 4);
	little_put(bytes + 8, 1, 8);
	little_put(bytes + 16, BEGAN_NS, 8);
	if (n > 0)
		memcpy(bytes + HEADER_BYTES, fields, n);
	return size;
}

static enum record_answer read_by_hand(enum record_kind kind, const uint8_t *fields, size_t n)
{
	uint8_t bytes[RECORD_BYTES_MAX], chain[RECORD_CHAIN_BYTES] = { 0 };
	struct record record;
	size_t used, size = by_hand(bytes, kind, fields, n);

	return record_read(bytes, size, &used, &record, chain, NULL);
}

#define READ(kind, ...) read_by_hand(kind, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

Test(cache_record, what_another_writer_made_is_read_and_made_the_same)
{
	struct segment segment;
	struct block block;
	uint8_t chain[RECORD_CHAIN_BYTES], chain_written[RECORD_CHAIN_BYTES], bytes[RECORD_BYTES_MAX];
	struct record expected[] = {
		{ .kind = RECORD_START, .sequence = 1, .stamp_ns = BEGAN_NS, .detail = TEXT("postern 1.0.0 cores 1"), .cap = -1, .cap_before = -1 },
		everything(),
		{ .kind = RECORD_CHANGE, .sequence = 3, .stamp_ns = BEGAN_NS + 2, .site = TEXT("07"), .by = { 0, 1 }, .cap = -1, .cap_before = -1 },
	};
	size_t at = 0;

	cr_assert(segment_read(VECTOR_SEGMENT, sizeof(VECTOR_SEGMENT), &segment));
	cr_assert_not(segment.snapshot);
	cr_assert_eq(segment.stream, 3);
	cr_assert_eq(segment.first_sequence, 1);
	cr_assert_eq(segment.first_block, 1);
	cr_assert_eq(segment.created_ns, BEGAN_NS);
	memcpy(chain, segment.chain, sizeof(chain));
	memcpy(chain_written, segment.chain, sizeof(chain));
	cr_assert_eq(block_read(VECTOR_BLOCK, sizeof(VECTOR_BLOCK), &block), BLOCK_FOUND);
	cr_assert_eq(block.size, sizeof(VECTOR_BLOCK));
	cr_assert_eq(block.records, 3);
	for (unsigned i = 0; i < 3; i++) {
		struct record record;
		size_t used, n = record_write(bytes, sizeof(bytes), &expected[i], chain_written, sha256);

		cr_assert_eq(record_read(block.bytes + at, block.record_bytes - at, &used, &record, chain, sha256), RECORD_OK);
		records_same(&record, &expected[i]);
		cr_assert_eq(n, used);
		cr_assert_arr_eq(bytes, block.bytes + at, n);
		at += used;
	}
	cr_assert_eq(at, block.record_bytes);
	cr_assert_arr_eq(chain, VECTOR_CHAIN, RECORD_CHAIN_BYTES);
}

Test(cache_record, each_kind_has_a_name_and_comes_back)
{
	uint8_t bytes[RECORD_BYTES_MAX];
	unsigned kinds = 0;

	for (unsigned kind = 0; kind < 256; kind++) {
		struct record record = { .kind = kind, .sequence = 7, .stamp_ns = 8, .cap = -1, .cap_before = -1 };

		bool known = (kind >= 1 && kind <= 10) || (kind >= 64 && kind <= 66);

		cr_assert_eq(record_kind_name(kind) != NULL, known, "%u", kind);
		cr_assert_eq(read_by_hand(kind, NULL, 0), known ? RECORD_OK : RECORD_MALFORMED, "%u", kind);
		if (!known)
			continue;
		cr_assert_eq(round_trip(bytes, &record), HEADER_BYTES + RECORD_CHAIN_BYTES, "nothing but defaults is no field at all");
		kinds++;
	}
	cr_assert_eq(kinds, 13);
}

Test(cache_record, numbers_at_every_power_of_two_and_every_end_come_back)
{
	uint8_t bytes[RECORD_BYTES_MAX];

	for (unsigned bit = 0; bit < 64; bit++) {
		for (int beside = -1; beside <= 1; beside++) {
			uint64_t n = (UINT64_C(1) << bit) + (uint64_t)beside;
			struct record record = {
				.kind = RECORD_RULES, .by = { (int64_t)n, (int64_t)-n, 0, (int64_t)~n }, .before = { [3] = (int64_t)n },
				.cap = (int64_t)n, .cap_before = (int64_t)-n, .reservation = n, .expires_ms = ~n, .outcome = (int64_t)n,
			};

			round_trip(bytes, &record);
		}
	}
}

Test(cache_record, texts_of_every_length_up_to_their_limit_come_back)
{
	static char letters[RECORD_DETAIL_BYTES_MAX];
	uint8_t bytes[RECORD_BYTES_MAX];

	memset(letters, 'a', sizeof(letters));
	for (size_t n = 0; n <= RECORD_TEXT_BYTES_MAX; n++) {
		struct record_text text = { letters, n };
		struct record record = { .kind = RECORD_CHANGE, .site = text, .actor = text, .address = text, .reason = text, .request_id = text,
			.key = text, .detail = { letters, n * RECORD_DETAIL_BYTES_MAX / RECORD_TEXT_BYTES_MAX }, .cap = -1, .cap_before = -1 };

		round_trip(bytes, &record);
	}
}

Test(cache_record, a_text_above_its_limit_is_refused)
{
	uint8_t fields[3 + RECORD_DETAIL_BYTES_MAX + 1] = { 0 };

	for (unsigned tag = RECORD_TAG_SITE; tag <= RECORD_TAG_DETAIL; tag++) {
		size_t most = tag == RECORD_TAG_DETAIL ? RECORD_DETAIL_BYTES_MAX : RECORD_TEXT_BYTES_MAX;

		for (size_t n = most; n <= most + 1; n++) {
			fields[0] = (uint8_t)tag;
			fields[1] = (uint8_t)(n | 0x80);
			fields[2] = (uint8_t)(n >> 7);
			cr_assert_eq(read_by_hand(RECORD_CHANGE, fields, 3 + n), n == most ? RECORD_OK : RECORD_MALFORMED, "tag %u of %zu", tag, n);
		}
	}
}

Test(cache_record, a_record_without_room_leaves_bytes_and_chain_alone)
{
	struct record record = everything();
	uint8_t bytes[RECORD_BYTES_MAX], chain[RECORD_CHAIN_BYTES] = { 1 }, before[RECORD_CHAIN_BYTES] = { 1 };
	size_t n = round_trip(bytes, &record);

	for (size_t room = 0; room < n; room++) {
		uint8_t *exact = malloc(room + 1);

		memset(exact, 0x5a, room + 1);
		cr_assert_eq(record_write(exact, room, &record, chain, sha256), 0);
		cr_assert_arr_eq(chain, before, RECORD_CHAIN_BYTES);
		for (size_t i = 0; i <= room; i++)
			cr_assert_eq(exact[i], 0x5a);
		free(exact);
	}
}

Test(cache_record, a_record_cut_at_every_byte_is_short)
{
	struct record record = everything(), back;
	uint8_t bytes[RECORD_BYTES_MAX], chain[RECORD_CHAIN_BYTES] = { 1 }, before[RECORD_CHAIN_BYTES] = { 1 };
	size_t used, n = round_trip(bytes, &record);

	for (size_t cut = 0; cut < n; cut++) {
		/* Memory of exactly its size, so that a byte read too many is seen. */
		uint8_t *exact = malloc(cut + (cut == 0));

		memcpy(exact, bytes, cut);
		cr_assert_eq(record_read(exact, cut, &used, &back, chain, sha256), RECORD_SHORT, "%zu", cut);
		cr_assert_arr_eq(chain, before, RECORD_CHAIN_BYTES);
		free(exact);
	}
}

Test(cache_record, what_follows_a_record_is_not_its_concern)
{
	struct record record = everything(), back;
	uint8_t bytes[RECORD_BYTES_MAX + 100], chain[RECORD_CHAIN_BYTES] = { 9 };
	size_t used, n = round_trip(bytes, &record);

	memset(bytes + n, 0xff, 100);
	cr_assert_eq(record_read(bytes, n + 100, &used, &back, chain, sha256), RECORD_OK);
	cr_assert_eq(used, n);
}

Test(cache_record, every_bit_that_flips_is_seen)
{
	struct record record = everything(), back;
	uint8_t bytes[RECORD_BYTES_MAX];
	size_t used, n = round_trip(bytes, &record);

	for (size_t bit = 0; bit < 8 * n; bit++) {
		uint8_t chain[RECORD_CHAIN_BYTES] = { 9 }, before[RECORD_CHAIN_BYTES] = { 9 };

		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		enum record_answer answer = record_read(bytes, n, &used, &back, chain, sha256);

		cr_assert_neq(answer, RECORD_OK, "bit %zu", bit);
		cr_assert_arr_eq(chain, before, RECORD_CHAIN_BYTES);
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

Test(cache_record, whatever_is_read_after_a_byte_was_set_to_anything_would_be_written_so)
{
	struct record record = everything(), back;
	uint8_t bytes[RECORD_BYTES_MAX], again[RECORD_BYTES_MAX];
	size_t used, n = round_trip(bytes, &record), accepted = 0;

	for (size_t i = 0; i < n - RECORD_CHAIN_BYTES; i++) {
		uint8_t was = bytes[i];

		for (unsigned value = 0; value < 256; value++) {
			uint8_t chain[RECORD_CHAIN_BYTES] = { 0 };

			bytes[i] = (uint8_t)value;
			if (record_read(bytes, n, &used, &back, chain, NULL) != RECORD_OK)
				continue;
			accepted++;
			cr_assert_eq(record_write(again, sizeof(again), &back, chain, sha256), n, "byte %zu as %u", i, value);
			cr_assert_arr_eq(again, bytes, n - RECORD_CHAIN_BYTES);
		}
		bytes[i] = was;
	}
	cr_assert_gt(accepted, n, "most of a text may be anything");
}

Test(cache_record, fields_out_of_order_twice_or_unknown_are_refused)
{
	cr_assert_eq(READ(RECORD_CHANGE, 1, 2, 2, 2), RECORD_OK);
	cr_assert_eq(READ(RECORD_CHANGE, 2, 2, 1, 2), RECORD_MALFORMED, "order");
	cr_assert_eq(READ(RECORD_CHANGE, 1, 2, 1, 2), RECORD_MALFORMED, "twice");
	cr_assert_eq(READ(RECORD_CHANGE, 0, 2), RECORD_MALFORMED, "tag 0");
	cr_assert_eq(READ(RECORD_CHANGE, 20, 2), RECORD_OK, "the last number");
	cr_assert_eq(READ(RECORD_CHANGE, 21, 2), RECORD_MALFORMED, "no such number");
	cr_assert_eq(READ(RECORD_CHANGE, 0x7f, 2), RECORD_MALFORMED, "no such number");
	cr_assert_eq(READ(RECORD_CHANGE, 0x80, 1, 'a', 0x81, 1, 'b'), RECORD_OK);
	cr_assert_eq(READ(RECORD_CHANGE, 0x81, 1, 'b', 0x80, 1, 'a'), RECORD_MALFORMED, "order");
	cr_assert_eq(READ(RECORD_CHANGE, 0x80, 1, 'a', 0x80, 1, 'a'), RECORD_MALFORMED, "twice");
	cr_assert_eq(READ(RECORD_CHANGE, 0x80, 1, 'a', 1, 2), RECORD_MALFORMED, "a number behind a text");
	cr_assert_eq(READ(RECORD_CHANGE, 0x88, 1, 'a'), RECORD_MALFORMED, "no such text");
	cr_assert_eq(READ(RECORD_CHANGE, 0xff, 1, 'a'), RECORD_MALFORMED, "no such text");
}

Test(cache_record, a_default_that_is_written_is_refused)
{
	cr_assert_eq(READ(RECORD_CHANGE, 1, 0), RECORD_MALFORMED, "0");
	cr_assert_eq(READ(RECORD_RULES, 13, 0), RECORD_MALFORMED, "no cap");
	cr_assert_eq(READ(RECORD_RULES, 13, 2), RECORD_OK, "cap 0");
	cr_assert_eq(READ(RECORD_CHANGE, 0x80, 0), RECORD_MALFORMED, "an empty text");
	cr_assert_eq(READ(RECORD_CHANGE, 0x87, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), RECORD_MALFORMED, "a digest of zeros");
	cr_assert_eq(READ(RECORD_CHANGE, 0x87, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1), RECORD_OK);
	cr_assert_eq(READ(RECORD_CHANGE, 0x87, 15, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1), RECORD_MALFORMED, "a digest too short");
	cr_assert_eq(READ(RECORD_CHANGE, 0x87, 17, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1), RECORD_MALFORMED, "a digest too long");
}

Test(cache_record, a_cap_where_there_is_none_is_refused_and_not_written)
{
	struct record change = { .kind = RECORD_CHANGE, .cap = 7, .cap_before = 0 };
	uint8_t bytes[RECORD_BYTES_MAX], chain[RECORD_CHAIN_BYTES] = { 0 };

	cr_assert_eq(READ(RECORD_CHANGE, 13, 2), RECORD_MALFORMED);
	cr_assert_eq(READ(RECORD_CHANGE, 14, 2), RECORD_MALFORMED);
	cr_assert_eq(READ(RECORD_END, 13, 2), RECORD_OK);
	cr_assert_eq(record_write(bytes, sizeof(bytes), &change, chain, sha256), HEADER_BYTES + RECORD_CHAIN_BYTES);
}

Test(cache_record, numbers_longer_than_they_need_be_or_without_an_end_are_refused)
{
	cr_assert_eq(READ(RECORD_CHANGE, 1, 0x82, 0), RECORD_MALFORMED, "2 in two bytes");
	cr_assert_eq(READ(RECORD_CHANGE, 1, 0x82, 0x80, 0), RECORD_MALFORMED, "2 in three bytes");
	cr_assert_eq(READ(RECORD_CHANGE, 1, 0x80, 1), RECORD_OK, "64");
	cr_assert_eq(READ(RECORD_CHANGE, 1), RECORD_MALFORMED, "no byte");
	cr_assert_eq(READ(RECORD_CHANGE, 1, 0x80), RECORD_MALFORMED, "no end");
	cr_assert_eq(READ(RECORD_CHANGE, 1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1), RECORD_OK, "64 bits");
	cr_assert_eq(READ(RECORD_CHANGE, 1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2), RECORD_MALFORMED, "65 bits");
	cr_assert_eq(READ(RECORD_CHANGE, 1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 3), RECORD_MALFORMED, "65 bits");
	cr_assert_eq(READ(RECORD_CHANGE, 1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 129, 1), RECORD_MALFORMED, "eleven bytes");
	cr_assert_eq(READ(RECORD_CHANGE, 0x80, 0x81, 0, 'a'), RECORD_MALFORMED, "a length in two bytes");
	cr_assert_eq(READ(RECORD_CHANGE, 0x80, 2, 'a'), RECORD_MALFORMED, "a text longer than the fields");
	cr_assert_eq(READ(RECORD_CHANGE, 0x80, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1), RECORD_MALFORMED, "a text of 2^64 - 1");
	cr_assert_eq(READ(RECORD_CHANGE, 0x80), RECORD_MALFORMED, "a text without a length");
}

Test(cache_record, lengths_that_contradict_each_other_are_refused)
{
	uint8_t bytes[RECORD_BYTES_MAX + 1] = { 0 }, chain[RECORD_CHAIN_BYTES] = { 0 };
	struct record record;
	size_t used, size = by_hand(bytes, RECORD_CHANGE, (const uint8_t[]){ 1, 2 }, 2);

	for (unsigned value = 0; value < 65536; value++) {
		little_put(bytes, value, 2);
		cr_assert_eq(record_read(bytes, sizeof(bytes), &used, &record, chain, NULL), value == size ? RECORD_OK : RECORD_MALFORMED);
	}
	little_put(bytes, size, 2);
	little_put(bytes + 4, UINT32_MAX, 4);
	cr_assert_eq(record_read(bytes, sizeof(bytes), &used, &record, chain, NULL), RECORD_MALFORMED);
	/* Of consistent lengths, but more than any record has. */
	memset(bytes, 0, sizeof(bytes));
	little_put(bytes, RECORD_BYTES_MAX + 1, 2);
	bytes[2] = RECORD_CHANGE;
	bytes[3] = FORM;
	little_put(bytes + 4, RECORD_BYTES_MAX + 1 - HEADER_BYTES - RECORD_CHAIN_BYTES, 4);
	cr_assert_eq(record_read(bytes, sizeof(bytes), &used, &record, chain, NULL), RECORD_MALFORMED);
	by_hand(bytes, RECORD_CHANGE, NULL, 0);
	bytes[3] = FORM + 1;
	cr_assert_eq(record_read(bytes, sizeof(bytes), &used, &record, chain, NULL), RECORD_MALFORMED, "another form");
}

Test(cache_record, a_record_that_is_missing_moved_or_of_another_stream_breaks_the_chain)
{
	uint8_t bytes[3][RECORD_BYTES_MAX], chain[RECORD_CHAIN_BYTES] = { 0 }, begun[RECORD_CHAIN_BYTES];
	size_t n[3], used = 0;
	struct record back;

	for (unsigned i = 0; i < 3; i++) {
		struct record record = { .kind = RECORD_CHANGE, .sequence = i + 1, .stamp_ns = i + 1, .site = TEXT("7"), .by = { 0, 1 } };

		n[i] = record_write(bytes[i], RECORD_BYTES_MAX, &record, chain, sha256);
	}
	static const struct { unsigned order[3]; unsigned good; } CASES[] = {
		{ { 0, 1, 2 }, 3 }, { { 0, 2, 1 }, 1 }, { { 1, 0, 2 }, 0 }, { { 0, 0, 1 }, 1 }, { { 2, 1, 0 }, 0 },
	};
	for (unsigned i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
		unsigned good = 0;

		memset(chain, 0, sizeof(chain));
		for (; good < 3; good++) {
			unsigned which = CASES[i].order[good];

			memcpy(begun, chain, sizeof(chain));
			if (record_read(bytes[which], n[which], &used, &back, chain, sha256) != RECORD_OK)
				break;
		}
		cr_assert_eq(good, CASES[i].good, "case %u", i);
		if (good == 3)
			continue;
		/* It says what it is that does not follow, and where the chain stood. */
		cr_assert_eq(back.sequence, CASES[i].order[good] + 1);
		cr_assert_eq(used, n[CASES[i].order[good]]);
		cr_assert_arr_eq(chain, begun, sizeof(chain));
		/* Without a hash the chain that is written there is taken, and what follows it is right again. */
		cr_assert_eq(record_read(bytes[1], n[1], &used, &back, chain, NULL), RECORD_OK);
		cr_assert_eq(record_read(bytes[2], n[2], &used, &back, chain, sha256), RECORD_OK);
	}
}
