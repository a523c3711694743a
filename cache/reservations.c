/* See cache/reservations.h. */
#include "cache/reservations.h"

#include "cache/lines.h"

#include <stdlib.h>
#include <string.h>

#define NO_SLOT UINT32_MAX
#define SLOTS_AT_FIRST 64u
#define SLOTS_AT_ONCE 64u           /* of a listing */

struct reservations {
	unsigned count;
	unsigned space;                  /* slots; a power of two. The index has twice as many places */
	uint32_t free_slot;              /* NO_SLOT: none */
	struct reservation *slots;
	uint32_t *index;                 /* slot + 1; 0: empty */
	uint32_t *heap;
};

/* --- the index ----------------------------------------------------------------------------------------------------- */

static size_t index_mask(const struct reservations *r)
{
	return 2 * (size_t)r->space - 1;
}

/* Where the search for a number begins. */
static size_t index_home(const struct reservations *r, uint64_t number)
{
	return (size_t)((number * UINT64_C(0x9E3779B97F4A7C15)) >> 32) & index_mask(r);
}

/* The place of a number, or the empty one where it would stand. */
static size_t index_find(const struct reservations *r, uint64_t number)
{
	size_t at = index_home(r, number);

	while (r->index[at] != 0 && r->slots[r->index[at] - 1].number != number)
		at = (at + 1) & index_mask(r);
	return at;
}

/* Empties a place. What stands behind it and was pushed there by it moves up, so that a search never meets a gap. */
static void index_remove(struct reservations *r, size_t gap)
{
	for (size_t at = (gap + 1) & index_mask(r); r->index[at] != 0; at = (at + 1) & index_mask(r)) {
		size_t home = index_home(r, r->slots[r->index[at] - 1].number);

		/* Is the gap on the way from its home to where it stands? */
		if (((at - home) & index_mask(r)) >= ((at - gap) & index_mask(r))) {
			r->index[gap] = r->index[at];
			gap = at;
		}
	}
	r->index[gap] = 0;
}

/* --- the heap ------------------------------------------------------------------------------------------------------ */

/* Of equal times the lower number is first, so that the order does not depend on history. */
static bool is_earlier(const struct reservations *r, uint32_t a, uint32_t b)
{
	const struct reservation *x = &r->slots[a], *y = &r->slots[b];

	return x->expires_ms != y->expires_ms ? x->expires_ms < y->expires_ms : x->number < y->number;
}

static void heap_put(struct reservations *r, uint32_t at, uint32_t slot)
{
	r->heap[at] = slot;
	r->slots[slot].in_heap = at;
}

/* Puts a slot into the gap at `at`, or as far above or below as it belongs. */
static void heap_settle(struct reservations *r, uint32_t at, uint32_t slot)
{
	uint32_t child;

	for (; at > 0 && is_earlier(r, slot, r->heap[(at - 1) / 2]); at = (at - 1) / 2)
		heap_put(r, at, r->heap[(at - 1) / 2]);
	for (; (child = 2 * at + 1) < r->count; at = child) {
		if (child + 1 < r->count && is_earlier(r, r->heap[child + 1], r->heap[child]))
			child++;
		if (!is_earlier(r, r->heap[child], slot))
			break;
		heap_put(r, at, r->heap[child]);
	}
	heap_put(r, at, slot);
}

/* --- the table ----------------------------------------------------------------------------------------------------- */

static void table_grow(struct reservations *r, unsigned space)
{
	unsigned old = r->space;

	cache_check(space < NO_SLOT / 4);
	r->slots = realloc(r->slots, space * sizeof(r->slots[0]));
	r->heap = realloc(r->heap, space * sizeof(r->heap[0]));
	free(r->index);
	r->index = calloc(2 * (size_t)space, sizeof(r->index[0]));
	cache_check(r->slots != NULL && r->heap != NULL && r->index != NULL);
	r->space = space;
	for (uint32_t slot = 0; slot < old; slot++) {
		if (r->slots[slot].number != 0)
			r->index[index_find(r, r->slots[slot].number)] = slot + 1;
	}
	for (uint32_t slot = space; slot-- > old;) {
		r->slots[slot] = (struct reservation){ .in_heap = r->free_slot };
		r->free_slot = slot;
	}
}

struct reservations *reservations_new(void)
{
	struct reservations *r = calloc(1, sizeof(*r));

	cache_check(r != NULL);
	r->free_slot = NO_SLOT;
	table_grow(r, SLOTS_AT_FIRST);
	return r;
}

void reservations_free(struct reservations *r)
{
	if (r == NULL)
		return;
	free(r->slots);
	free(r->index);
	free(r->heap);
	free(r);
}

const struct reservation *reservations_find(const struct reservations *r, uint64_t number)
{
	size_t at = index_find(r, number);

	return r->index[at] == 0 ? NULL : &r->slots[r->index[at] - 1];
}

void reservations_add(struct reservations *r, uint64_t number, uint32_t site, int64_t amount, uint64_t expires_ms)
{
	uint32_t slot;
	size_t at;

	cache_check(number != 0);
	if (r->free_slot == NO_SLOT)
		table_grow(r, 2 * r->space);
	at = index_find(r, number);
	cache_check(r->index[at] == 0);
	slot = r->free_slot;
	r->free_slot = r->slots[slot].in_heap;
	r->slots[slot] = (struct reservation){ .number = number, .expires_ms = expires_ms, .amount = amount, .site = site };
	r->index[at] = slot + 1;
	heap_settle(r, r->count++, slot);
}

void reservations_remove(struct reservations *r, uint64_t number)
{
	size_t at = index_find(r, number);
	uint32_t slot, gap, last;

	cache_check(r->index[at] != 0);
	slot = r->index[at] - 1;
	index_remove(r, at);
	gap = r->slots[slot].in_heap;
	last = r->heap[--r->count];
	if (last != slot)
		heap_settle(r, gap, last);
	r->slots[slot] = (struct reservation){ .in_heap = r->free_slot };
	r->free_slot = slot;
}

const struct reservation *reservations_first(const struct reservations *r)
{
	return r->count == 0 ? NULL : &r->slots[r->heap[0]];
}

unsigned reservations_count(const struct reservations *r)
{
	return r->count;
}

bool reservations_next(const struct reservations *r, size_t *place, const struct reservation **found)
{
	*found = NULL;
	if (*place >= r->space)
		return false;
	for (unsigned looked = 0; looked < SLOTS_AT_ONCE && *place < r->space && *found == NULL; looked++) {
		const struct reservation *reservation = &r->slots[(*place)++];

		if (reservation->number != 0)
			*found = reservation;
	}
	return true;
}
