/* The table of reservations against a plain list. */
#include "cache/reservations.c"

#include <criterion/criterion.h>

#define LIST 700

static uint64_t draw(uint64_t *state, uint64_t below)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return (*state >> 11) % below;
}

Test(cache_reservations, an_empty_table_has_none)
{
	struct reservations *r = reservations_new();
	const struct reservation *found;
	size_t place = 0;

	cr_assert_null(reservations_find(r, 1));
	cr_assert_null(reservations_first(r));
	while (reservations_next(r, &place, &found))
		cr_assert_null(found);
	cr_assert_eq(reservations_count(r), 0);
	reservations_free(r);
	reservations_free(NULL);
}

Test(cache_reservations, a_listing_looks_at_a_bounded_part_at_once)
{
	enum { MANY = 10000 };
	struct reservations *r = reservations_new();
	const struct reservation *found;
	unsigned calls = 0, listed = 0;
	size_t place = 0, before = 0;

	for (uint64_t i = 1; i <= MANY; i++)
		reservations_add(r, i, 0, 1, i);
	for (uint64_t i = 1; i < MANY; i++)
		reservations_remove(r, i);
	for (; reservations_next(r, &place, &found); calls++) {
		cr_assert_leq(place - before, SLOTS_AT_ONCE);
		before = place;
		listed += found != NULL;
	}
	cr_expect_eq(listed, 1);
	cr_expect_geq(calls, MANY / SLOTS_AT_ONCE);
	reservations_free(r);
}

/* Numbers close together, so that in the index many stand where others belong; and a listing in slices all the time. */
Test(cache_reservations, any_run_is_that_of_a_plain_list)
{
	struct { bool is, all_along, listed; uint64_t expires_ms; int64_t amount; } list[LIST + 1];
	uint64_t state = 88172645463325252u;
	struct reservations *r = reservations_new();
	unsigned count = 0, listings = 0;
	size_t place = 0;

	memset(list, 0, sizeof(list));
	for (unsigned steps = 0; steps < 60000; steps++) {
		const uint64_t i = 1 + draw(&state, LIST);
		const struct reservation *found = reservations_find(r, i), *first;
		uint64_t least = UINT64_MAX;

		cr_assert_eq(found != NULL, list[i].is);
		if (found != NULL) {
			cr_assert_eq(found->expires_ms, list[i].expires_ms);
			cr_assert_eq(found->amount, list[i].amount);
			cr_assert_eq(found->site, i % 7);
		}
		/* It fills and empties in turns. */
		if (found == NULL && draw(&state, 20000) >= steps % 20000) {
			list[i].is = true;
			list[i].all_along = false;
			list[i].expires_ms = draw(&state, 50);
			list[i].amount = (int64_t)steps;
			reservations_add(r, i, (uint32_t)(i % 7), list[i].amount, list[i].expires_ms);
			count++;
		} else if (found != NULL && draw(&state, 20000) < steps % 20000) {
			list[i].is = false;
			reservations_remove(r, i);
			count--;
		}
		cr_assert_eq(reservations_count(r), count);
		if (steps % 16 == 0) {
			for (unsigned k = 1; k <= LIST; k++) {
				if (list[k].is && list[k].expires_ms < least)
					least = list[k].expires_ms;
			}
			first = reservations_first(r);
			cr_assert_eq(first != NULL, count > 0);
			cr_assert(first == NULL || first->expires_ms == least);
		}
		if (reservations_next(r, &place, &found)) {
			if (found == NULL)
				continue;
			cr_assert(list[found->number].is);
			cr_assert(!list[found->number].all_along || !list[found->number].listed, "listed twice");
			list[found->number].listed = true;
			continue;
		}
		listings++;
		for (unsigned k = 1; k <= LIST; k++) {
			cr_assert(!list[k].is || !list[k].all_along || list[k].listed, "left out");
			list[k].all_along = list[k].is;
			list[k].listed = false;
		}
		place = 0;
	}
	cr_expect_gt(listings, 50);
	reservations_free(r);
}
