/* The header codec against a naive decoder that waits for everything, and the mask against a loop. */
#include <criterion/criterion.h>

#include "ws/frame.c"

#define NO_LIMIT UINT64_MAX

static const struct ws_frame_rules FROM_CLIENT = {
	.frame_bytes_max = NO_LIMIT, .message_bytes_left = NO_LIMIT, .from_client = true,
};

/* The byte of a header whose length field ends before `at` that takes the length above `bound`; 99: none. */
static unsigned exceeds_at(uint64_t length, size_t at, uint64_t bound)
{
	for (unsigned i = 2; i < at; i++) {
		unsigned behind = 8 * ((unsigned)at - 1 - i);

		if (length >> behind << behind > bound)
			return i;
	}
	return 99;
}

/* Every rule at once, on 14 bytes. Breaks are listed in the order of the bytes, as the codec promises to find them. */
static enum ws_decode naive_decode(struct ws_frame *frame, size_t *size, const uint8_t *b,
	const struct ws_frame_rules *rules, const struct reason **broken)
{
	unsigned opcode = b[0] % 16, seven = b[1] % 128;
	bool control = opcode > 7, masked = b[1] >= 128;
	uint64_t length = seven, left = b[0] & 0x70 ? rules->coded_bytes_left : rules->message_bytes_left;
	size_t at = 2;

	*broken = NULL;
	if ((b[0] / 16 % 8 & ~(opcode == 1 || opcode == 2 ? rules->reserved_allowed : 0)) != 0)
		*broken = &WS_RESERVED_BIT;
	else if ((opcode > 2 && opcode < 8) || opcode > 10)
		*broken = &WS_OPCODE_RESERVED;
	else if (control && b[0] < 128)
		*broken = &WS_CONTROL_FRAGMENTED;
	else if (opcode == 0 && !rules->in_message)
		*broken = &WS_CONTINUATION_ALONE;
	else if ((opcode == 1 || opcode == 2) && rules->in_message)
		*broken = &WS_MESSAGE_UNFINISHED;
	else if (masked && !rules->from_client)
		*broken = &WS_MASK_FORBIDDEN;
	else if (!masked && rules->from_client)
		*broken = &WS_MASK_MISSING;
	else if (control && seven > 125)
		*broken = &WS_CONTROL_TOO_LONG;
	if (*broken)
		return WS_DECODE_BROKEN;
	if (seven == 126) {
		length = b[2] * 256u + b[3];
		at = 4;
	} else if (seven == 127) {
		length = 0;
		for (int i = 2; i < 10; i++)
			length = length * 256 + b[i];
		at = 10;
	}
	if (length >= (uint64_t)1 << 63)
		*broken = &WS_LENGTH_NEGATIVE;
	else if ((seven == 126 && length < 126) || (seven == 127 && length < 65536))
		*broken = &WS_LENGTH_NOT_MINIMAL;
	else if (!control && exceeds_at(length, at, rules->frame_bytes_max) <= exceeds_at(length, at, left) && length > rules->frame_bytes_max)
		*broken = &WS_FRAME_TOO_LARGE;
	else if (!control && length > left)
		*broken = &WS_MESSAGE_TOO_LARGE;
	if (*broken)
		return WS_DECODE_BROKEN;
	*frame = (struct ws_frame){ .length = length, .opcode = (uint8_t)opcode, .reserved = b[0] / 16 % 8,
		.final = b[0] >= 128, .masked = masked };
	if (masked)
		memcpy(frame->mask, b + at, 4);
	*size = at + (masked ? 4 : 0);
	return WS_DECODE_WHOLE;
}

static void frames_same(const struct ws_frame *a, const struct ws_frame *b)
{
	cr_assert_eq(a->length, b->length);
	cr_assert_eq(a->opcode, b->opcode);
	cr_assert_eq(a->reserved, b->reserved);
	cr_assert_eq(a->final, b->final);
	cr_assert_eq(a->masked, b->masked);
	cr_assert_arr_eq(a->mask, b->mask, 4);
}

/* The codec, fed one byte more each time, decides as the naive decoder does with all of them. */
static void compare(const uint8_t *bytes, const struct ws_frame_rules *rules)
{
	struct ws_frame frame, naive;
	size_t size = 0, naive_size = 0;
	const struct reason *broken = NULL, *naive_broken;
	enum ws_decode expected = naive_decode(&naive, &naive_size, bytes, rules, &naive_broken), found = WS_DECODE_MORE;
	size_t n = 0;

	for (; n <= WS_HEADER_MAX; n++)
		if ((found = ws_frame_decode(&frame, &size, bytes, n, rules, &broken)) != WS_DECODE_MORE)
			break;
	cr_assert_eq(found, expected, "%02x %02x", bytes[0], bytes[1]);
	if (found == WS_DECODE_BROKEN) {
		cr_assert_eq(broken, naive_broken, "%s, not %s", broken->name, naive_broken->name);
		/* With more bytes the answer is the same. */
		cr_assert_eq(ws_frame_decode(&frame, &size, bytes, WS_HEADER_MAX, rules, &broken), WS_DECODE_BROKEN);
		return;
	}
	cr_assert_eq(n, naive_size);
	cr_assert_eq(size, naive_size);
	frames_same(&frame, &naive);
	cr_assert_eq(ws_frame_decode(&frame, &size, bytes, WS_HEADER_MAX, rules, &broken), WS_DECODE_WHOLE);
	frames_same(&frame, &naive);

	/* And back: what was accepted is minimal, so it is encoded to the same bytes. */
	uint8_t header[WS_HEADER_MAX];

	cr_assert_eq(ws_frame_encode(header, &frame), size);
	cr_assert_arr_eq(header, bytes, size);
}

static uint64_t dice(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	return *seed ^= *seed << 17;
}

Test(ws_frame, all_first_two_bytes_under_all_rules_are_judged_like_the_naive_decoder)
{
	static const uint64_t LENGTHS[] = { 0, 1, 125, 126, 127, 255, 256, 1000, 65535, 65536, 1u << 20, UINT32_MAX,
		INT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX };

	for (unsigned place = 0; place < 8; place++)
		for (unsigned head = 0; head < 65536; head++)
			for (size_t i = 0; i < array_count(LENGTHS); i++) {
				struct ws_frame_rules rules = {
					.frame_bytes_max = place & 4 ? 1000 : NO_LIMIT,
					.message_bytes_left = place & 4 ? 255 : NO_LIMIT,
					.from_client = place & 1,
					.in_message = place & 2,
				};
				uint8_t bytes[WS_HEADER_MAX] = { (uint8_t)(head >> 8), (uint8_t)head };
				unsigned wide = (head & 0x7F) == 126 ? 2 : (head & 0x7F) == 127 ? 8 : 0;

				if (wide == 0 && i > 0)
					break;
				for (unsigned k = 0; k < wide; k++)
					bytes[2 + k] = (uint8_t)(LENGTHS[i] >> 8 * (wide - 1 - k));
				memcpy(bytes + 2 + wide, "\xDE\xAD\xBE\xEF", 4);
				compare(bytes, &rules);
			}
}

Test(ws_frame, a_million_thrown_headers_are_judged_like_the_naive_decoder)
{
	uint64_t seed = 6455;

	for (unsigned i = 0; i < 1000000; i++) {
		uint8_t bytes[WS_HEADER_MAX];
		uint64_t a = dice(&seed), b = dice(&seed);
		struct ws_frame_rules rules = {
			.frame_bytes_max = dice(&seed) >> (b & 63),
			.message_bytes_left = dice(&seed) >> (a & 63),
			.coded_bytes_left = dice(&seed) >> (b >> 6 & 63),
			.reserved_allowed = (uint8_t)(a >> 60 & 7),
			.from_client = b >> 63,
			.in_message = b >> 62 & 1,
		};

		memcpy(bytes, &a, 8);
		memcpy(bytes + 8, &b, 6);
		if (a >> 59 & 1)
			memset(bytes + 2, 0, a >> 56 & 7);  /* so that short lengths in long forms come often */
		compare(bytes, &rules);
	}
}

static const struct reason *refusal(const char *bytes, size_t n, const struct ws_frame_rules *rules)
{
	struct ws_frame frame;
	size_t size;
	const struct reason *broken = NULL;

	/* One byte before it nothing is known to be wrong. */
	if (ws_frame_decode(&frame, &size, (const uint8_t *)bytes, n - 1, rules, &broken) != WS_DECODE_MORE)
		return NULL;
	if (ws_frame_decode(&frame, &size, (const uint8_t *)bytes, n, rules, &broken) != WS_DECODE_BROKEN)
		return NULL;
	return broken;
}

Test(ws_frame, each_rule_is_refused_by_its_name_at_the_byte_that_breaks_it)
{
	struct ws_frame_rules in_message = FROM_CLIENT, limited = FROM_CLIENT, from_server = FROM_CLIENT;
	const struct reason *broken;
	struct ws_frame frame;
	size_t size;

	in_message.in_message = true;
	limited.frame_bytes_max = 0x10000;
	limited.message_bytes_left = 0x8000;
	from_server.from_client = false;
	cr_assert_eq(refusal("\xC1", 1, &FROM_CLIENT), &WS_RESERVED_BIT);
	cr_assert_eq(refusal("\xA1", 1, &FROM_CLIENT), &WS_RESERVED_BIT);
	cr_assert_eq(refusal("\x91", 1, &FROM_CLIENT), &WS_RESERVED_BIT);
	for (int opcode = 0; opcode < 16; opcode++)
		if ((opcode > 2 && opcode < 8) || opcode > 10)
			cr_assert_eq(refusal((char[]){ (char)(0x80 | opcode) }, 1, &FROM_CLIENT), &WS_OPCODE_RESERVED);
	cr_assert_eq(refusal("\x09", 1, &FROM_CLIENT), &WS_CONTROL_FRAGMENTED);
	cr_assert_eq(refusal("\x89\xFE", 2, &FROM_CLIENT), &WS_CONTROL_TOO_LONG);
	cr_assert_eq(refusal("\x89\xFF", 2, &FROM_CLIENT), &WS_CONTROL_TOO_LONG);
	cr_assert_eq(refusal("\x80", 1, &FROM_CLIENT), &WS_CONTINUATION_ALONE);
	cr_assert_eq(refusal("\x81", 1, &in_message), &WS_MESSAGE_UNFINISHED);
	cr_assert_eq(refusal("\x81\x05", 2, &FROM_CLIENT), &WS_MASK_MISSING);
	cr_assert_eq(refusal("\x81\x85", 2, &from_server), &WS_MASK_FORBIDDEN);
	cr_assert_eq(refusal("\x82\xFE\x00\x7D", 4, &FROM_CLIENT), &WS_LENGTH_NOT_MINIMAL);
	/* Six zeroes: whatever the last two are, two bytes would have done. */
	cr_assert_eq(refusal("\x82\xFF\0\0\0\0\0\0", 8, &FROM_CLIENT), &WS_LENGTH_NOT_MINIMAL);
	cr_assert_eq(refusal("\x82\xFF\x80", 3, &FROM_CLIENT), &WS_LENGTH_NEGATIVE);
	cr_assert_eq(refusal("\x82\xFF\x00\x00\x01", 5, &limited), &WS_FRAME_TOO_LARGE);
	cr_assert_eq(refusal("\x82\xFE\x80\x01", 4, &limited), &WS_MESSAGE_TOO_LARGE);
	/* The first byte of the length breaks the one bound, the second the other: the first counts, also where both have come. */
	limited.frame_bytes_max = 1000;
	limited.message_bytes_left = 300;
	cr_assert_eq(refusal("\x82\xFE\x03", 3, &limited), &WS_MESSAGE_TOO_LARGE);
	cr_assert_eq(ws_frame_decode(&frame, &size, (const uint8_t *)"\x82\xFE\x03\xFB", 4, &limited, &broken), WS_DECODE_BROKEN);
	cr_assert_eq(broken, &WS_MESSAGE_TOO_LARGE);
}

Test(ws_frame, an_agreed_reserved_bit_passes_and_is_told)
{
	struct ws_frame_rules rules = FROM_CLIENT;
	struct ws_frame frame;
	size_t size;
	const struct reason *broken;

	rules.reserved_allowed = 4;
	rules.coded_bytes_left = 200;
	cr_assert_eq(ws_frame_decode(&frame, &size, (const uint8_t *)"\xC1\x80mask", 6, &rules, &broken), WS_DECODE_WHOLE);
	cr_assert_eq(frame.reserved, 4);
	cr_assert_eq(refusal("\xE1", 1, &rules), &WS_RESERVED_BIT);
}

Test(ws_frame, an_agreed_reserved_bit_stands_on_the_first_frame_of_a_message_alone)
{
	struct ws_frame_rules rules = FROM_CLIENT;

	rules.reserved_allowed = 4;
	rules.coded_bytes_left = 200;
	rules.message_bytes_left = 100;
	cr_assert_eq(refusal("\xC8", 1, &rules), &WS_RESERVED_BIT);
	cr_assert_eq(refusal("\xC9", 1, &rules), &WS_RESERVED_BIT);
	cr_assert_eq(refusal("\xCA", 1, &rules), &WS_RESERVED_BIT);
	rules.in_message = true;
	cr_assert_eq(refusal("\xC0", 1, &rules), &WS_RESERVED_BIT);
	cr_assert_eq(refusal("\x40", 1, &rules), &WS_RESERVED_BIT);
	rules.in_message = false;
	cr_assert_eq(refusal("\x82\xFE\x00\x7F", 4, &rules), &WS_MESSAGE_TOO_LARGE);
	cr_assert_eq(refusal("\xC2\xFE\x00\xC9", 4, &rules), &WS_MESSAGE_TOO_LARGE);
}

Test(ws_frame, a_mask_at_every_alignment_size_and_offset_is_the_plain_loop)
{
	static const uint8_t MASK[4] = { 0x37, 0xFA, 0x21, 0x3D };
	uint8_t bytes[128], plain[128];

	for (size_t shift = 0; shift < 16; shift++)
		for (size_t n = 0; n <= 100; n++)
			for (uint64_t offset = 0; offset < 8; offset++) {
				for (size_t i = 0; i < sizeof(bytes); i++)
					bytes[i] = plain[i] = (uint8_t)(i * 7);
				for (size_t i = 0; i < n; i++)
					plain[shift + i] ^= MASK[(offset + i) % 4];
				ws_mask(bytes + shift, n, MASK, offset);
				cr_assert_arr_eq(bytes, plain, sizeof(bytes)); /* also what lies around it */
			}
}

Test(ws_frame, a_mask_in_two_parts_is_the_mask_in_one)
{
	static const uint8_t MASK[4] = { 1, 2, 3, 4 };
	uint8_t whole[67] = { 0 }, parts[67];

	ws_mask(whole, sizeof(whole), MASK, 0);
	for (size_t cut = 0; cut <= sizeof(whole); cut++) {
		memset(parts, 0, sizeof(parts));
		ws_mask(parts, cut, MASK, 0);
		ws_mask(parts + cut, sizeof(parts) - cut, MASK, cut);
		cr_assert_arr_eq(parts, whole, sizeof(whole));
	}
}
