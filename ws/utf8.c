/* ws/utf8.c — one byte at a time where it must be, thirty-two where the text is plain ASCII. */
#include "ws/utf8.h"

#include <endian.h>
#include <string.h>

#define HIGH_BITS 0x8080808080808080u

static inline uint64_t eight_at(const uint8_t *bytes)
{
	uint64_t eight;

	memcpy(&eight, bytes, sizeof(eight));
	return le64toh(eight);
}

/* How many bytes from here on are ASCII, looked at in steps; up to seven fewer than there are where the bytes end. */
static size_t ascii_run(const uint8_t *bytes, size_t n)
{
	size_t i = 0;

	while (n - i >= 32 && ((eight_at(bytes + i) | eight_at(bytes + i + 8) | eight_at(bytes + i + 16)
			| eight_at(bytes + i + 24)) & HIGH_BITS) == 0)
		i += 32;
	for (; n - i >= 8; i += 8) {
		uint64_t high = eight_at(bytes + i) & HIGH_BITS;

		if (high != 0)
			return i + (size_t)__builtin_ctzll(high) / 8;
	}
	return i;
}

/* The first byte of a character of two or more bytes: how many it wants behind it, and the next one's bounds. 0 when no
 * character begins so. */
static inline unsigned lead_want(unsigned byte, unsigned *low, unsigned *high)
{
	*low = 0x80;
	*high = 0xBF;
	if (byte < 0xC2)                 /* 80 … BF continue nothing; C0 and C1 could only begin an overlong form */
		return 0;
	if (byte < 0xE0)
		return 1;
	if (byte < 0xF0) {
		if (byte == 0xE0)
			*low = 0xA0;     /* below: overlong */
		else if (byte == 0xED)
			*high = 0x9F;    /* above: surrogates, U+D800 … U+DFFF */
		return 2;
	}
	if (byte < 0xF5) {
		if (byte == 0xF0)
			*low = 0x90;     /* below: overlong */
		else if (byte == 0xF4)
			*high = 0x8F;    /* above: beyond U+10FFFF */
		return 3;
	}
	return 0;
}

size_t ws_utf8_feed(struct ws_utf8 *utf8, const uint8_t *bytes, size_t n)
{
	/* In registers: kept in the struct's narrow fields through the loop, it was measurably slower on text that is not ASCII. */
	unsigned left = utf8->left, low = utf8->low, high = utf8->high;
	size_t i = 0;

	while (i < n) {
		if (left == 0 && bytes[i] < 0x80) {
			/* A single one between two others is common (a space); the look ahead pays only in a run. */
			i++;
			if (i < n && bytes[i] < 0x80)
				i += ascii_run(bytes + i, n - i);
			continue;
		}
		if (left == 0) {
			left = lead_want(bytes[i], &low, &high);
			if (left == 0)
				break;
			i++;
		}
		for (; left > 0 && i < n; i++, left--) {
			if (bytes[i] < low || bytes[i] > high)
				goto done;
			low = 0x80;
			high = 0xBF;
		}
	}
done:
	*utf8 = (struct ws_utf8){ (uint8_t)left, (uint8_t)low, (uint8_t)high };
	return i;
}
