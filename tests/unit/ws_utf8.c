/* The validator against a table of its own: every sequence of up to four bytes, every cut, every alignment. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "ws/utf8.c"

/* RFC 3629 said the other way round: the code point is put together and then judged. The size of the character that
 * begins at text, or 0. */
static size_t naive_character(const uint8_t *text, size_t n)
{
	static const uint32_t SMALLEST[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t size = text[0] < 0x80 ? 1 : text[0] >> 5 == 6 ? 2 : text[0] >> 4 == 14 ? 3 : text[0] >> 3 == 30 ? 4 : 0;
	uint32_t point;

	if (size == 0 || n < size)
		return 0;
	if (size == 1)
		return 1;
	point = text[0] & (0x7Fu >> size);
	for (size_t i = 1; i < size; i++) {
		if (text[i] >> 6 != 2)
			return 0;
		point = point << 6 | (text[i] & 0x3F);
	}
	if (point < SMALLEST[size] || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF))
		return 0;
	return size;
}

static bool naive_text(const uint8_t *text, size_t n)
{
	for (size_t i = 0; i < n;) {
		size_t size = naive_character(text + i, n - i);

		if (size == 0)
			return false;
		i += size;
	}
	return true;
}

static bool judged(const uint8_t *text, size_t n)
{
	struct ws_utf8 utf8;

	ws_utf8_init(&utf8);
	return ws_utf8_feed(&utf8, text, n) == n && ws_utf8_whole(&utf8);
}

Test(ws_utf8, every_sequence_of_one_to_three_bytes_is_judged_like_the_table)
{
	for (uint32_t v = 0; v < 1u << 24; v++) {
		uint8_t text[3] = { (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v };

		if (judged(text, 3) != naive_text(text, 3))
			cr_assert(false, "%02x %02x %02x", text[0], text[1], text[2]);
		if ((v & 0xFF) == 0 && judged(text, 2) != naive_text(text, 2))
			cr_assert(false, "%02x %02x", text[0], text[1]);
		if ((v & 0xFFFF) == 0 && judged(text, 1) != naive_text(text, 1))
			cr_assert(false, "%02x", text[0]);
	}
}

/* All 2^32 would take minutes. What a byte does depends only on which of these classes it is in, and each class is here with both
 * its ends; the leads of four bytes are here all. */
Test(ws_utf8, every_sequence_of_four_bytes_by_the_ends_of_all_classes_is_judged_like_the_table)
{
	static const uint8_t ENDS[] = { 0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1,
		0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xF7, 0xF8, 0xFF };

	for (unsigned a = 0; a < 256; a++)
		for (unsigned b = 0; b < 256; b++)
			for (size_t c = 0; c < array_count(ENDS); c++)
				for (size_t d = 0; d < array_count(ENDS); d++) {
					uint8_t text[4] = { (uint8_t)a, (uint8_t)b, ENDS[c], ENDS[d] };

					if (judged(text, 4) != naive_text(text, 4))
						cr_assert(false, "%02x %02x %02x %02x", a, b, ENDS[c], ENDS[d]);
				}
}

Test(ws_utf8, all_characters_of_unicode_in_one_text_are_good_and_none_may_be_cut)
{
	uint8_t *text = malloc(0x110000 * 4);
	size_t n = 0;
	struct ws_utf8 utf8;

	cr_assert(text);
	for (uint32_t point = 0; point <= 0x10FFFF; point++) {
		uint8_t *at = text + n;

		if (point >= 0xD800 && point <= 0xDFFF)
			continue;
		if (point < 0x80) {
			*at = (uint8_t)point;
			n += 1;
		} else if (point < 0x800) {
			at[0] = (uint8_t)(0xC0 | point >> 6);
			at[1] = (uint8_t)(0x80 | (point & 0x3F));
			n += 2;
		} else if (point < 0x10000) {
			at[0] = (uint8_t)(0xE0 | point >> 12);
			at[1] = (uint8_t)(0x80 | (point >> 6 & 0x3F));
			at[2] = (uint8_t)(0x80 | (point & 0x3F));
			n += 3;
		} else {
			at[0] = (uint8_t)(0xF0 | point >> 18);
			at[1] = (uint8_t)(0x80 | (point >> 12 & 0x3F));
			at[2] = (uint8_t)(0x80 | (point >> 6 & 0x3F));
			at[3] = (uint8_t)(0x80 | (point & 0x3F));
			n += 4;
		}
	}
	cr_assert(judged(text, n));

	/* Byte by byte: good all the way, and whole exactly where the next byte begins a character. */
	ws_utf8_init(&utf8);
	for (size_t i = 0; i < n; i++) {
		if (ws_utf8_feed(&utf8, text + i, 1) != 1)
			cr_assert(false, "byte %zu", i);
		if (ws_utf8_whole(&utf8) != (i + 1 == n || text[i + 1] >> 6 != 2))
			cr_assert(false, "whole at byte %zu", i);
	}
	free(text);
}

Test(ws_utf8, the_first_impossible_byte_is_named_wherever_the_text_is_cut_and_however_it_is_aligned)
{
	/* Where the impossible byte stands, and what stands there: overlong, surrogate, too high, stray, cut. */
	static const struct { const char *bytes; size_t n, bad; } WRONG[] = {
		{ "\xC0\xAF", 2, 0 }, { "\xE0\x9F\x80", 3, 1 }, { "\xED\xA0\x80", 3, 1 }, { "\xF0\x8F\x80\x80", 4, 1 },
		{ "\xF4\x90\x80\x80", 4, 1 }, { "\xF5", 1, 0 }, { "\x80", 1, 0 }, { "\xC3 ", 2, 1 }, { "\xE2\x82 ", 3, 2 },
		{ "\xF0\x9F\x98 ", 4, 3 }, { "\xFF", 1, 0 }, { "\xCE\xBA\xE1\xBD\xB9\xCF\x83\xED\xA0\x80", 10, 8 },
	};
	uint8_t text[128];

	for (size_t w = 0; w < array_count(WRONG); w++)
		for (size_t before = 0; before <= 70; before++) {
			size_t n = before + WRONG[w].n, bad = before + WRONG[w].bad;

			for (size_t shift = 0; shift < 8; shift++) {
				uint8_t *at = text + shift;

				memset(at, 'a', before);
				memcpy(at + before, WRONG[w].bytes, WRONG[w].n);
				for (size_t cut = 0; cut <= n; cut++) {
					struct ws_utf8 utf8;

					ws_utf8_init(&utf8);
					size_t good = ws_utf8_feed(&utf8, at, cut);

					if (good == cut)
						good += ws_utf8_feed(&utf8, at + cut, n - cut);
					if (good != bad)
						cr_assert(false, "case %zu behind %zu, cut at %zu: %zu", w, before, cut, good);
				}
			}
		}
}

Test(ws_utf8, nothing_is_a_whole_text)
{
	struct ws_utf8 utf8;

	ws_utf8_init(&utf8);
	cr_assert_eq(ws_utf8_feed(&utf8, (const uint8_t *)"", 0), 0);
	cr_assert(ws_utf8_whole(&utf8));
}
