/* cache/reservations.h — places that are kept for a while: found by their number, given back in the order of their time.
 *
 *   slots   [ r ][ r ][   ][ r ] …    a reservation stays in its slot, so a listing in pieces neither misses nor repeats one
 *   index   number ─▶ slot            open addressing, at most half full
 *   heap    the slots, the one that runs out first on top
 *
 * Numbers are random (whoever reserves draws them), so they need no keyed hash.
 *
 * Owner: the table owns all it holds.   Thread: one at a time.   Units: ms UTC.   Errors: memory that is spent stops the process.
 * Limits: none of its own; it grows as needed and does not shrink. */
#ifndef CACHE_RESERVATIONS_H
#define CACHE_RESERVATIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reservation {
	uint64_t number;                 /* 0: the slot is free */
	uint64_t expires_ms;
	int64_t amount;
	uint32_t site;
	uint32_t in_heap;                /* where; of a free slot: the next free one */
};

struct reservations;

struct reservations *reservations_new(void);
void reservations_free(struct reservations *);

/* NULL: there is none of this number. Good until the table is changed. */
const struct reservation *reservations_find(const struct reservations *, uint64_t number);
void reservations_add(struct reservations *, uint64_t number, uint32_t site, int64_t amount, uint64_t expires_ms); /* check: a new number, not 0 */
void reservations_remove(struct reservations *, uint64_t number);                                                  /* check: it is there */
const struct reservation *reservations_first(const struct reservations *); /* that runs out first; NULL: none */
unsigned reservations_count(const struct reservations *);
/* From `*place` on, 0 at first; false: no more. A bounded part of the table is looked through at once: NULL with true, there was none in it. */
bool reservations_next(const struct reservations *, size_t *place, const struct reservation **);

#endif
