/* gateway/journal/journal.h — a core's stream on disk: group commit, segments, snapshots while serving.
 *
 *   journal_append ─▶ block under construction ─▶ one write that is synced ─▶ settled() of each, in order ─▶ published, answered
 *                     (what comes meanwhile goes into the next)
 *
 * Modes: always — settled when synced. everysec — settled when written, which a killed process cannot undo; synced every second, which is
 * what a power cut may take. memory — the same, synced only where a segment is full, for a snapshot, and at the end. In both a record may ask to be
 * settled when synced (journal_waiter.synced), and whoever needs it asks for a sync of what is settled (journal_sync): what another stream is going
 * to rest on must not be lost alone.
 * A block has the number of its *commit*, which ends with a sync. So in the mode always each block has a number of its own, and in the others
 * those between two syncs share one: a power cut may take any of them and leave those behind it, and that is a torn tail, no damage.
 *
 * What goes wrong, decided:
 *   - no room on the disk (ENOSPC, EDQUOT), while writing or for a new segment: what was appended stays appended, because the state behind it has
 *     moved on; the file is cut back to the last whole block, and the same block is tried again every second until it fits. Meanwhile
 *     journal_append refuses with JOURNAL_FULL at once (journal_failure says so too), and a line tells it, when it begins and when it is over.
 *     In order end (journal_close) with no room left: settled with JOURNAL_FULL, and told.
 *   - a short write: the rest is written. Nothing is synced before all is.
 *   - a failed write (EIO, …) or a failed fdatasync: nobody knows what the disk holds. All that waits is settled with JOURNAL_FAILED, and so is
 *     everything from then on, until a restart has read what there is. The gateway goes on reading counts, /readyz fails, a line says so.
 *   - more than JOURNAL_WAITING_BYTES_MAX waits: JOURNAL_BEHIND, at once.
 *
 * Owner: the worker.   Thread: its core's; recovery the first thread's before cores run.   Units: ns UTC, bytes.
 * Errors: JOURNAL_… below, to `settled`.   Limits: JOURNAL_WAITING_BYTES_MAX; segments of segment_bytes_max. */
#ifndef GATEWAY_JOURNAL_JOURNAL_H
#define GATEWAY_JOURNAL_JOURNAL_H

#include "cache/block.h"
#include "ring/core.h"
#include "ring/op.h"
#include "ring/reason.h"
#include "ring/task.h"
#include "ring/timer.h"

#define JOURNAL_WAITING_BYTES_MAX (8u << 20)

extern const struct reason JOURNAL_FULL;           /* 507: no room on the disk; what was accepted waits for some */
extern const struct reason JOURNAL_FAILED;         /* 503: a write or a sync failed; nothing is recorded until a restart */
extern const struct reason JOURNAL_BEHIND;         /* 503: more than JOURNAL_WAITING_BYTES_MAX waits for the disk */

enum journal_mode { JOURNAL_ALWAYS, JOURNAL_EVERYSEC, JOURNAL_MEMORY };

struct journal;

struct journal_waiter {
	struct link in_journal;
	void (*settled)(struct journal_waiter *, const struct reason *failure); /* NULL: durable (as the mode has it). May append. */
	/* Of journal_append: settled when it is on the disk, in every mode. So is all of its block, also what stands before it there; the blocks behind it
	 * are settled as the mode has it, after that. */
	bool synced;
};

/* Where a stream stands, as recovery found it. */
struct journal_head {
	uint64_t sequence, block;        /* of the last record and block; 0: none */
	uint64_t stamp_ns;
	uint64_t segment_bytes;          /* how much of the last segment is whole; 0: no segment */
	uint64_t segment_first;          /* the last segment's name */
	uint64_t snapshot_sequence;      /* of the newest snapshot; 0: none */
	uint64_t snapshot_older;         /* … and of the one kept beside it; 0: none */
	uint64_t snapshot_behind_bytes;  /* of the journal behind it: what the next start would read */
	uint8_t chain[RECORD_CHAIN_BYTES];
};

/* Written by the journal's core, read by any (stat_read). */
struct journal_statistics {
	_Atomic(const struct reason *) failing; /* JOURNAL_FAILED, JOURNAL_FULL; NULL: it takes records */
	_Atomic uint64_t records, commits, bytes, syncs, sync_ns_sum, sync_ns_max, failures, snapshots, segments;
};

struct journal_settings {
	struct journal_statistics *statistics; /* outlives the journal; NULL: its own */
	int directory;                   /* <state>/journal/<stream>, opened; the journal's to close */
	unsigned stream;
	enum journal_mode mode;
	uint64_t segment_bytes_max;
	uint64_t snapshot_bytes;         /* a new snapshot after so many bytes of journal */
	record_hash *hash;               /* journal_hash of hash.h */
};

/* Gives the next record of a snapshot (kind, sequence and fields are filled in, texts stay until the next call; `place` is the giver's, 0 at
 * first); false: no more. True with a kind of 0: what it looked through in this call, which is bounded, held nothing; it is asked again, and a
 * slice of a snapshot counts calls. Called from the core's tasks, a few hundred times a turn, and never from inside another call of the
 * journal. What it tells must contain all that was settled when the snapshot began, so whoever publishes does it in settled(). */
typedef bool journal_snapshot_next(void *user, uint64_t place[4], struct record *);

struct journal *journal_open(struct core *, const struct journal_settings *, const struct journal_head *);
void journal_set_snapshot(struct journal *, journal_snapshot_next *, void *user);

/* kind and fields are given; sequence, stamp_ns and chain are set here (sequence and stamp_ns also in *record, for the caller). NULL: the waiter
 * will be settled. Otherwise nothing was appended, the waiter is not used, and the reason says why. waiter may be NULL. */
const struct reason *journal_append(struct journal *, struct record *, struct journal_waiter *);
/* Settled when all that was appended before is. In the same turn's task phase if nothing waits. */
void journal_barrier(struct journal *, struct journal_waiter *);
/* Settled when all that is settled now is on the disk, in every mode. */
void journal_sync(struct journal *, struct journal_waiter *);

/* Before the core's first turn: what was appended is written and synced (in every mode) by plain calls, and settled. NULL: it is, and the
 * journal goes on. */
const struct reason *journal_flush(struct journal *);

/* Something that happened at this stamp is known here: later records have later stamps. */
void journal_saw(struct journal *, uint64_t stamp_ns);
uint64_t journal_now_ns(const struct journal *);         /* the stamp that a record would get */
const struct reason *journal_failure(const struct journal *); /* NULL: journal_append would take a record now */
uint64_t journal_appended(const struct journal *);       /* sequence of the last one appended */
uint64_t journal_settled(const struct journal *);        /* … and settled */
void journal_head_now(const struct journal *, struct journal_head *); /* of what is settled */

const struct journal_statistics *journal_statistics(const struct journal *);

/* The core's root is about to close: what was appended is written and synced (in every mode) by plain calls, waiters are settled, the files closed.
 * The records of `last` are appended behind all others if the journal still takes any, in one block where they fit into one. On the core's
 * thread, or when that has ended; after its root has ended, and before core_close. *head, if given: where the stream ends; its sequence is 0 where that is not known,
 * because a sync has failed behind what was settled. */
void journal_close(struct journal *, struct record *last, unsigned last_count, struct journal_head *head);

#endif
