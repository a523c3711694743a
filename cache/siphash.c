/* See cache/siphash.h. */
#include "cache/siphash.h"

static uint64_t rotate_left(uint64_t word, unsigned bits)
{
	return word << bits | word >> (64 - bits);
}

static void siphash_rounds(uint64_t v[4], unsigned rounds)
{
	while (rounds-- > 0) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = rotate_left(v[1], 13) ^ v[0];
		v[3] = rotate_left(v[3], 16) ^ v[2];
		v[0] = rotate_left(v[0], 32);
		v[2] += v[1];
		v[0] += v[3];
		v[1] = rotate_left(v[1], 17) ^ v[2];
		v[3] = rotate_left(v[3], 21) ^ v[0];
		v[2] = rotate_left(v[2], 32);
	}
}

uint64_t siphash(const uint64_t seed[2], const uint8_t *bytes, size_t n)
{
	uint64_t v[4] = {
		seed[0] ^ UINT64_C(0x736f6d6570736575), seed[1] ^ UINT64_C(0x646f72616e646f6d),
		seed[0] ^ UINT64_C(0x6c7967656e657261), seed[1] ^ UINT64_C(0x7465646279746573),
	};
	uint64_t last = (uint64_t)n << 56;

	for (; n >= 8; bytes += 8, n -= 8) {
		uint64_t word = load_le64(bytes, 8);

		v[3] ^= word;
		siphash_rounds(v, 2);
		v[0] ^= word;
	}
	last |= load_le64(bytes, n);
	v[3] ^= last;
	siphash_rounds(v, 2);
	v[0] ^= last;
	v[2] ^= 0xFF;
	siphash_rounds(v, 4);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}
