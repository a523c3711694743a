/* gateway/journal/recovery.h — what is on the disk when the gateway starts: read, checked, cut where it is torn.
 *
 *   for each stream: newest whole snapshot ─▶ records ─▶ `seen`     then segments from there on ─▶ records ─▶ `seen`
 *
 * What is found, and what is done:
 *   - a torn tail (cache/block.h): copied to <segment>.torn-<time>, cut off, told on standard error with what was kept. A segment that was
 *     being made, without a whole header: renamed so
 *   - a damaged middle, a missing segment, a stream that a later record knows of and is not there or ends before what is known of it
 *     (the heads in RECORD_START and RECORD_STOP are of what was synced), a chain that does not hold, a file that cannot
 *     be read: refused, with file and offset and what can be done. Nothing is changed
 *   - a damaged snapshot: an older one, or all segments; told, and removed. Of the whole ones two are kept
 *   - a draft of a snapshot: removed
 *   - the last commit is written again and synced before anybody builds on it: a killed process may have written it a moment ago
 *   - a directory that another running gateway uses (flock on <state>/journal/lock): refused
 *
 * Owner: the caller's.   Thread: the first, before cores run.   Units: bytes.   Errors: a sentence in `fault`.   Limits: none. */
#ifndef GATEWAY_JOURNAL_RECOVERY_H
#define GATEWAY_JOURNAL_RECOVERY_H

#include "gateway/journal/journal.h"

struct recovery_fault { char sentence[1024]; };

struct recovery_report { uint64_t records, bytes, torn_bytes, snapshot_records; unsigned streams; uint64_t took_ns; };

/* In the order of the stream; of a snapshot first all its records (RECORD_END is the last), then the journal behind it. Streams one after another. */
typedef bool recovery_seen(void *user, unsigned stream, const struct record *, struct recovery_fault *); /* false: it does not add up (fault says what) */

struct recovery {
	unsigned stream_count;           /* at least `cores`: streams that exist, and those that are to */
	struct journal_head *heads;
	int *directories;                /* opened, made where they were missing */
	int lock;
	bool begun;
	struct recovery_report report;
};

/* `state`: the directory's name; made when missing (0700). `cores`: streams that will be written. */
bool recovery_run(struct recovery *, const char *state, unsigned cores, record_hash *, recovery_seen *, void *user, struct recovery_fault *);
void recovery_free(struct recovery *); /* harmless on zeroed memory, and twice; directories that were taken over are set to -1 by whoever took them */

#endif
