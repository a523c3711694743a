/* cache/replay.h — records back into what they were records of: lines, rules, reservations, keys.
 *
 *   for each stream, one after another:   snapshot (LINE, RULES, RESERVE, KEY …, END)  ─▶  the journal from there on (or from its beginning)
 *
 * A snapshot is taken while serving, so each of its records says up to which sequence it contains effects; what the journal says up to there
 * of that line, or of those rules, is not done again. In a snapshot nobody acts: RULES and RESERVE without an actor are a snapshot's, with one
 * they are the journal's, where there always is one. A snapshot's RULES has the stamp of the last change in line_stamp_ns. `reserved` is in none of
 * them: it is the sum of the reservations.
 *
 * What is checked, because a journal that does not add up must not be counted on:
 *   - a change's `before` is what the line has; rules' `before` and number are what the rules have; a reservation
 *     that ends was there (where the stream is read from its beginning)
 *   - rules, reservations and lowerings stand in stream 0 alone; numbers are within their bounds; site ids are site ids
 *   - at the end, of all sites and the study: no sum of any kind is below zero, nor the count. One stream's line may be
 *
 * The sums hold for whatever streams were cut off by a crash, as long as what is lowered was on the disk first (SYNC_SITE of decide.h). A journal
 * whose lowerings did not wait for that may, in a weaker mode of durability, have lost in a power cut the end of a stream that a lowering in stream 0
 * rests on; then replay_end says REPLAY_MISSES. How it was written is not known here. What cannot come from that is REPLAY_WRONG: a kind that stream
 * 0 alone changes, or only one stream.
 *
 * Restored lines go to the shard with the number of the stream, when the stream is read: when the next one begins, or at replay_end.
 *
 * Owner: whoever made it.   Thread: one, the start-up's, which has taken the shards of all streams (count_take) for as long as records are given,
 * and gives them back (count_put) after decider_restored.   Units: as in cache/record.h.   Errors: false, and one sentence in `fault`.
 * Limits: sites_max of the count. */
#ifndef CACHE_REPLAY_H
#define CACHE_REPLAY_H

#include "cache/decide.h"
#include "cache/keys.h"

struct replay;

/* All three are empty. `streams`: shards of the count, at most. */
struct replay *replay_new(struct count *, struct decider *, struct keys *, uint64_t now_ms, unsigned streams);
void replay_free(struct replay *);

/* The next one. After false nothing more can be made of what was restored. */
bool replay_record(struct replay *, unsigned stream, const struct record *, char *fault, size_t fault_bytes);

enum replay_answer {
	REPLAY_ADDS_UP,
	REPLAY_MISSES,            /* the end of a stream other than 0 is missing; all that is there has been restored */
	REPLAY_WRONG,             /* no loss explains it, or it cannot be held: nothing more can be made of what was restored */
};

/* There are no more. Once, and afterwards the caller calls decider_restored. The fault is of the first site that does not add up. */
enum replay_answer replay_end(struct replay *, char *fault, size_t fault_bytes);

/* What must have been in the end that is missing, at least: raises of this site, after which nothing of it is below zero. False: none. */
bool replay_missing(const struct count *, uint32_t site, int64_t by[COUNT_KINDS]);

#endif
