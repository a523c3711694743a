/* cache/record.c — a record as bytes and back: two tables of fields, and one loop over each of them both ways.
 *
 * Writing goes through the tables in the order of tags and leaves out what has its default. Reading takes tags only upwards, refuses
 * a default that was written, a number that is longer than it need be and a tag that is in no table: so whatever is read would be
 * written to the same bytes again. That matters here more than elsewhere: the chain is over bytes, and two ways to say the
 * same would be a way to change them unseen. */
#include "cache/record.h"

#include "cache/little.h"

#include <assert.h>
#include <string.h>

#define FORM 1u
#define HEADER_BYTES 24u
#define NUMBER_BYTES_MAX 10u             /* 64 bits, seven in a byte */
#define FIRST_TEXT 0x80u

static const struct number {
	uint8_t tag;
	uint8_t plus;                    /* added before it is written, so that the default is 0 */
	uint16_t offset;
} NUMBERS[] = {
	{ RECORD_TAG_BY, 0, offsetof(struct record, by[0]) },
	{ RECORD_TAG_BY + 1, 0, offsetof(struct record, by[1]) },
	{ RECORD_TAG_BY + 2, 0, offsetof(struct record, by[2]) },
	{ RECORD_TAG_BY + 3, 0, offsetof(struct record, by[3]) },
	{ RECORD_TAG_BEFORE, 0, offsetof(struct record, before[0]) },
	{ RECORD_TAG_BEFORE + 1, 0, offsetof(struct record, before[1]) },
	{ RECORD_TAG_BEFORE + 2, 0, offsetof(struct record, before[2]) },
	{ RECORD_TAG_BEFORE + 3, 0, offsetof(struct record, before[3]) },
	{ RECORD_TAG_CHANGES, 0, offsetof(struct record, changes) },
	{ RECORD_TAG_LINE_STAMP, 0, offsetof(struct record, line_stamp_ns) },
	{ RECORD_TAG_STATUS, 0, offsetof(struct record, status) },
	{ RECORD_TAG_STATUS_BEFORE, 0, offsetof(struct record, status_before) },
	{ RECORD_TAG_CAP, 1, offsetof(struct record, cap) },
	{ RECORD_TAG_CAP_BEFORE, 1, offsetof(struct record, cap_before) },
	{ RECORD_TAG_RULE_CHANGES, 0, offsetof(struct record, rule_changes) },
	{ RECORD_TAG_AMOUNT, 0, offsetof(struct record, amount) },
	{ RECORD_TAG_RESERVATION, 0, offsetof(struct record, reservation) },
	{ RECORD_TAG_EXPIRES, 0, offsetof(struct record, expires_ms) },
	{ RECORD_TAG_AT, 0, offsetof(struct record, at_ms) },
	{ RECORD_TAG_OUTCOME, 0, offsetof(struct record, outcome) },
};

static const struct text {
	uint8_t tag;
	uint16_t bytes_max;
	uint16_t offset;
} TEXTS[] = {
	{ RECORD_TAG_SITE, RECORD_TEXT_BYTES_MAX, offsetof(struct record, site) },
	{ RECORD_TAG_ACTOR, RECORD_TEXT_BYTES_MAX, offsetof(struct record, actor) },
	{ RECORD_TAG_ADDRESS, RECORD_TEXT_BYTES_MAX, offsetof(struct record, address) },
	{ RECORD_TAG_REASON, RECORD_TEXT_BYTES_MAX, offsetof(struct record, reason) },
	{ RECORD_TAG_REQUEST_ID, RECORD_TEXT_BYTES_MAX, offsetof(struct record, request_id) },
	{ RECORD_TAG_KEY, RECORD_TEXT_BYTES_MAX, offsetof(struct record, key) },
	{ RECORD_TAG_DETAIL, RECORD_DETAIL_BYTES_MAX, offsetof(struct record, detail) },
};

#define NUMBER_COUNT (sizeof(NUMBERS) / sizeof(NUMBERS[0]))
#define TEXT_COUNT (sizeof(TEXTS) / sizeof(TEXTS[0]))

/* The tables are looked into by tag. */
static_assert(NUMBER_COUNT == RECORD_TAG_OUTCOME, "every tag of a number is in the table");
static_assert(TEXT_COUNT == RECORD_TAG_DIGEST - FIRST_TEXT, "every tag of a text is in the table");
static_assert(COUNT_KINDS == 4, "by and before have four tags each");
static_assert(HEADER_BYTES + NUMBER_COUNT * (1 + NUMBER_BYTES_MAX) + (TEXT_COUNT - 1) * (3 + RECORD_TEXT_BYTES_MAX) +
	3 + RECORD_DETAIL_BYTES_MAX + 2 + RECORD_DIGEST_BYTES + RECORD_CHAIN_BYTES <= RECORD_BYTES_MAX, "the largest record has room");
static_assert(RECORD_DETAIL_BYTES_MAX < 1 << 14, "a length takes two bytes at most");

const char *record_kind_name(enum record_kind kind)
{
	switch (kind) {
	case RECORD_START: return "start";
	case RECORD_STOP: return "stop";
	case RECORD_CHANGE: return "change";
	case RECORD_RULES: return "rules";
	case RECORD_RESERVE: return "reserve";
	case RECORD_CONFIRM: return "confirm";
	case RECORD_RELEASE: return "release";
	case RECORD_EXPIRE: return "expire";
	case RECORD_REFUSE: return "refuse";
	case RECORD_CONFIGURATION: return "configuration";
	case RECORD_LINE: return "line";
	case RECORD_KEY: return "key";
	case RECORD_END: return "end";
	}
	return NULL;
}

/* A cap of 0 is no default, so a record that has nothing to do with caps would carry two of them. */
static bool has_caps(enum record_kind kind)
{
	return kind == RECORD_RULES || kind == RECORD_END;
}

/* ---- writing ---- */

static size_t put_leb128(uint8_t *bytes, uint64_t value)
{
	size_t n = 0;

	for (; value >= 0x80; value >>= 7)
		bytes[n++] = (uint8_t)(value | 0x80);
	bytes[n++] = (uint8_t)value;
	return n;
}

static size_t put_numbers(uint8_t *bytes, const struct record *record)
{
	size_t n = 0;

	for (size_t i = 0; i < NUMBER_COUNT; i++) {
		uint64_t value;

		if (NUMBERS[i].plus && !has_caps(record->kind))
			continue;
		memcpy(&value, (const char *)record + NUMBERS[i].offset, sizeof(value));
		value += NUMBERS[i].plus;
		if (value == 0)
			continue;
		bytes[n++] = NUMBERS[i].tag;
		/* Zigzag: 0, -1, 1, -2, 2 … are 0, 1, 2, 3, 4 …, so that what is near 0 is short. */
		n += put_leb128(bytes + n, value << 1 ^ (0 - (value >> 63)));
	}
	return n;
}

static size_t put_text(uint8_t *bytes, uint8_t tag, const void *text, size_t size)
{
	size_t n = 0;

	bytes[n++] = tag;
	n += put_leb128(bytes + n, size);
	memcpy(bytes + n, text, size);
	return n + size;
}

static size_t put_texts(uint8_t *bytes, const struct record *record)
{
	static const uint8_t NO_DIGEST[RECORD_DIGEST_BYTES] = { 0 };
	size_t n = 0;

	for (size_t i = 0; i < TEXT_COUNT; i++) {
		struct record_text text;

		memcpy(&text, (const char *)record + TEXTS[i].offset, sizeof(text));
		cache_check(text.size <= TEXTS[i].bytes_max);
		if (text.size > 0)
			n += put_text(bytes + n, TEXTS[i].tag, text.bytes, text.size);
	}
	if (memcmp(record->digest, NO_DIGEST, sizeof(NO_DIGEST)) != 0)
		n += put_text(bytes + n, RECORD_TAG_DIGEST, record->digest, RECORD_DIGEST_BYTES);
	return n;
}

size_t record_write(uint8_t *bytes, size_t room, const struct record *record, uint8_t chain[RECORD_CHAIN_BYTES], record_hash *hash)
{
	uint8_t whole[RECORD_BYTES_MAX];
	uint8_t *fields = whole + HEADER_BYTES;
	size_t n;

	cache_check(record_kind_name(record->kind) != NULL);
	n = put_numbers(fields, record);
	n += put_texts(fields + n, record);

	size_t size = HEADER_BYTES + n + RECORD_CHAIN_BYTES;

	if (size > room)
		return 0;
	little_put(whole, size, 2);
	whole[2] = (uint8_t)record->kind;
	whole[3] = FORM;
	little_put(whole + 4, n, 4);
	little_put(whole + 8, record->sequence, 8);
	little_put(whole + 16, record->stamp_ns, 8);
	hash(fields + n, chain, RECORD_CHAIN_BYTES, whole, HEADER_BYTES + n);
	memcpy(chain, fields + n, RECORD_CHAIN_BYTES);
	memcpy(bytes, whole, size);
	return size;
}

/* ---- reading ---- */

struct reading {
	const uint8_t *at, *end;
};

/* False: it does not end, is longer than it need be, or is more than 64 bits. */
static bool get_leb128(struct reading *reading, uint64_t *value)
{
	*value = 0;
	for (unsigned i = 0; i < NUMBER_BYTES_MAX && reading->at < reading->end; i++) {
		uint8_t byte = *reading->at++;

		*value |= (uint64_t)(byte & 0x7f) << 7 * i;
		if (byte & 0x80)
			continue;
		return (byte != 0 || i == 0) && (i < NUMBER_BYTES_MAX - 1 || byte == 1);
	}
	return false;
}

static bool get_number(struct reading *reading, uint8_t tag, struct record *record)
{
	const struct number *number = &NUMBERS[tag - 1];
	uint64_t value;

	if (!get_leb128(reading, &value) || value == 0)
		return false;
	if (number->plus && !has_caps(record->kind))
		return false;
	value = (value >> 1 ^ (0 - (value & 1))) - number->plus;
	memcpy((char *)record + number->offset, &value, sizeof(value));
	return true;
}

static bool get_text(struct reading *reading, uint8_t tag, struct record *record)
{
	uint64_t size;
	struct record_text text;

	if (!get_leb128(reading, &size) || size == 0 || size > (uint64_t)(reading->end - reading->at))
		return false;
	text = (struct record_text){ (const char *)reading->at, (size_t)size };
	reading->at += size;
	if (tag < RECORD_TAG_DIGEST) {
		if (size > TEXTS[tag - FIRST_TEXT].bytes_max)
			return false;
		memcpy((char *)record + TEXTS[tag - FIRST_TEXT].offset, &text, sizeof(text));
		return true;
	}
	if (size != RECORD_DIGEST_BYTES)
		return false;
	memcpy(record->digest, text.bytes, RECORD_DIGEST_BYTES);
	for (size_t i = 0; i < RECORD_DIGEST_BYTES; i++)
		if (record->digest[i] != 0)
			return true;
	return false;
}

static bool get_fields(struct reading *reading, struct record *record)
{
	for (unsigned last = 0; reading->at < reading->end;) {
		uint8_t tag = *reading->at++;

		if (tag <= last)
			return false;
		if (tag >= FIRST_TEXT ? tag > RECORD_TAG_DIGEST : tag > NUMBER_COUNT)
			return false;
		if (!(tag >= FIRST_TEXT ? get_text : get_number)(reading, tag, record))
			return false;
		last = tag;
	}
	return true;
}

enum record_answer record_read(const uint8_t *bytes, size_t n, size_t *used, struct record *record, uint8_t chain[RECORD_CHAIN_BYTES],
	record_hash *hash)
{
	if (n < HEADER_BYTES)
		return RECORD_SHORT;

	size_t size = little_get(bytes, 2);
	uint64_t field_bytes = little_get(bytes + 4, 4);
	enum record_kind kind = bytes[2];

	if (!record_kind_name(kind) || bytes[3] != FORM || size > RECORD_BYTES_MAX || size != HEADER_BYTES + field_bytes + RECORD_CHAIN_BYTES)
		return RECORD_MALFORMED;
	if (n < size)
		return RECORD_SHORT;
	*record = (struct record){
		.kind = kind,
		.sequence = little_get(bytes + 8, 8),
		.stamp_ns = little_get(bytes + 16, 8),
		.cap = -1,
		.cap_before = -1,
	};

	const uint8_t *written = bytes + HEADER_BYTES + field_bytes;

	if (!get_fields(&(struct reading){ bytes + HEADER_BYTES, written }, record))
		return RECORD_MALFORMED;
	*used = size;
	if (hash) {
		uint8_t follows[RECORD_CHAIN_BYTES];

		hash(follows, chain, RECORD_CHAIN_BYTES, bytes, HEADER_BYTES + field_bytes);
		if (memcmp(follows, written, RECORD_CHAIN_BYTES) != 0)
			return RECORD_CHAIN_BROKEN;
	}
	memcpy(chain, written, RECORD_CHAIN_BYTES);
	return RECORD_OK;
}
