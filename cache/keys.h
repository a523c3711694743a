/* cache/keys.h — Idempotency-Key: the first answer again, and counted once.
 *
 * A key is what a client calls one request of its own; the *digest* says which request it was. Kept for a window of time from the answer
 * on, in bounded memory; the journal and its snapshots bring them back after a restart.
 *
 * Pure: the time is given, and may jump back (then nothing expires meanwhile; what was answered more than a window from now counts as answered
 * now, so that a clock that was wrong for a moment does not keep keys for years).
 * Owner: whoever made it.   Thread: core 0's.   Units: ms UTC.   Errors: enum keys_answer.   Limits: keys_max, KEYS_BYTES_MAX of a key.
 * Source: draft-ietf-httpapi-idempotency-key-header. */
#ifndef CACHE_KEYS_H
#define CACHE_KEYS_H

#include "cache/record.h"

#define KEYS_BYTES_MAX 255u

enum keys_answer {
	KEYS_NEW,                 /* entered, and under way from now on: keys_finish or keys_drop */
	KEYS_ANSWERED,            /* the same request was answered: `answer` says how */
	KEYS_UNDER_WAY,           /* the same request is under way: wait for it (key_user) */
	KEYS_OTHER,               /* it was another request */
	KEYS_FULL,                /* keys_max in the window */
};

struct keys_result {
	int64_t outcome;          /* enum count_refusal */
	uint64_t reservation, expires_ms;
};

struct keys;
struct key;

struct keys *keys_new(unsigned keys_max, uint64_t window_ms, const uint64_t seed[2]);
void keys_free(struct keys *); /* with those under way */

/* *key: the entry if KEYS_NEW or KEYS_UNDER_WAY, else NULL. Good until keys_finish or keys_drop. */
enum keys_answer keys_enter(struct keys *, struct record_text key, const uint8_t digest[RECORD_DIGEST_BYTES], uint64_t now_ms,
	struct key **, struct keys_result *answer);
void **key_user(struct key *); /* the caller's; NULL at first */
void keys_finish(struct keys *, struct key *, const struct keys_result *, uint64_t now_ms);
void keys_drop(struct keys *, struct key *); /* nothing was decided: a retry is a new request */

/* From journal and snapshots, before any is entered: answered at at_ms. Of one key the later answer stays. Ignored when its window is over; where the
 * table is full, what was answered first makes room. */
void keys_restore(struct keys *, struct record_text key, const uint8_t digest[RECORD_DIGEST_BYTES], const struct keys_result *,
	uint64_t at_ms, uint64_t now_ms);

/* Forgets up to `most` whose window is over. Returns how many. */
unsigned keys_expire(struct keys *, uint64_t now_ms, unsigned most);
unsigned keys_count(const struct keys *);
size_t keys_bytes(const struct keys *);
/* For snapshots, answered ones only, in the order of their answers. `*place` is 0 at first; entering, finishing and expiring between two calls
 * is allowed: none that stays is left out. False: no more. A bounded number of places is looked at: a key of size 0 with true, there was none. */
bool keys_each(const struct keys *, uint64_t *place, struct record_text *key, const uint8_t **digest, struct keys_result *, uint64_t *at_ms);

#endif
