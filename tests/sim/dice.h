/* tests/sim/dice.h — every decision of a simulated run, from one seed.
 *
 * splitmix64: small, and any seed is as good as another.
 *
 * Owner: the struct that embeds it.   Thread: its own.   Units: none.   Errors: none.   Limits: none.
 * Source: Steele, Lea, Flood: Fast splittable pseudorandom number generators (2014). */
#ifndef TESTS_SIM_DICE_H
#define TESTS_SIM_DICE_H

#include "ring/base.h"

struct dice {
	uint64_t state;
};

static inline uint64_t dice_next(struct dice *dice)
{
	uint64_t z = dice->state += 0x9E3779B97F4A7C15u;

	z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
	z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
	return z ^ (z >> 31);
}

/* 0 … n - 1. The bias of the remainder is far below anything a test could see. */
static inline uint64_t dice_below(struct dice *dice, uint64_t n)
{
	check(n > 0);
	return dice_next(dice) % n;
}

/* Both ends included. */
static inline uint64_t dice_between(struct dice *dice, uint64_t low, uint64_t high)
{
	return low + dice_below(dice, high - low + 1);
}

static inline bool dice_chance(struct dice *dice, unsigned percent)
{
	return dice_below(dice, 100) < percent;
}

/* Small numbers as often as large ones: each power of two between the ends has the same chance. */
static inline uint64_t dice_scaled(struct dice *dice, uint64_t low, uint64_t high)
{
	uint64_t range = high - low;
	unsigned bits = 0;

	while (bits < 64 && range >> bits)
		bits++;
	bits = (unsigned)dice_below(dice, bits + 1);
	return low + dice_below(dice, bits < 64 && 1ull << bits <= range ? 1ull << bits : range + 1);
}

#endif
