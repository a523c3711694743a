/* cache/siphash.h — SipHash-2-4, a keyed hash for short input.
 *
 * Site ids and patient ids come from the world; with a hash that can be computed without the seed, a few thousand chosen ids
 * would turn every look-up into a walk.
 *
 * Owner: nothing is kept.   Thread: any, a pure function.   Units: bytes.   Errors: none.   Limits: none.
 * Source: Aumasson and Bernstein, 2012. */
#ifndef CACHE_SIPHASH_H
#define CACHE_SIPHASH_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Up to eight bytes, the first the lowest. */
static inline uint64_t load_le64(const uint8_t *bytes, size_t n)
{
	uint64_t word = 0;

	if (n == 8) { /* nearly always, and one load */
		memcpy(&word, bytes, 8);
		return le64toh(word);
	}
	for (size_t i = 0; i < n; i++)
		word |= (uint64_t)bytes[i] << (8 * i);
	return word;
}

uint64_t siphash(const uint64_t seed[2], const uint8_t *bytes, size_t n);

#endif
