/* cache/little.h — numbers in files: little-endian, of 1 to 8 bytes, wherever they stand.
 *
 * Owner: the caller's bytes.   Thread: any.   Units: bytes.   Errors: none; what does not fit into n bytes is cut.   Limits: none. */
#ifndef CACHE_LITTLE_H
#define CACHE_LITTLE_H

#include <stdint.h>

static inline void little_put(uint8_t *bytes, uint64_t value, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		bytes[i] = (uint8_t)(value >> 8 * i);
}

static inline uint64_t little_get(const uint8_t *bytes, unsigned n)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < n; i++)
		value |= (uint64_t)bytes[i] << 8 * i;
	return value;
}

#endif
