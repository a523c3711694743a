/* gateway/journal/state.h — what journal.c and snapshot.c know of each other; nobody outside this folder includes it.
 *
 * Owner: journal.c.   Thread: its core's.   Units: bytes, ns.   Errors: as in journal.h.   Limits: BLOCKS; SNAPSHOT_SLICE_RECORDS. */
#ifndef GATEWAY_JOURNAL_STATE_H
#define GATEWAY_JOURNAL_STATE_H

#include "gateway/journal/disk.h"
#include "gateway/journal/journal.h"

#define JOURNAL_MAGIC 0x70a24a1fu
#define SNAPSHOT_BYTES (128u << 10)      /* of records in a block of a snapshot */
#define SNAPSHOT_SLICE_RECORDS 256u      /* made in one step, or looked for in vain */

/* What waits, and the one that is being written: each begins another, so none is ever full of less than all but one record. */
#define BLOCKS (JOURNAL_WAITING_BYTES_MAX / BLOCK_BYTES_MAX + 1)
#define SPARES_MAX 2u                    /* buffers kept for the next blocks: one is written, one takes records */
#define BLOCK_ROOM (BLOCK_HEADER_BYTES + BLOCK_BYTES_MAX + 8)
#define WINDOW_BYTES ((BLOCK_ROOM / DISK_PAGE_BYTES + 3) * DISK_PAGE_BYTES) /* a block that begins and ends within a page */
#define ZEROS_BYTES (1u << 20)           /* what the file grows by */

struct journal_block {
	uint8_t *bytes;                  /* BLOCK_ROOM; NULL: it is not in use */
	size_t record_bytes;
	size_t size;                     /* finished, this much is to be written; 0: it takes records */
	uint32_t records;
	uint64_t first_sequence, last_sequence, last_stamp_ns;
	uint8_t chain[RECORD_CHAIN_BYTES]; /* after its last record */
	bool synced;                     /* it is settled when it is synced, in every mode */
	struct link waiters;
};

enum snapshot_step { SNAPSHOT_RESTS, SNAPSHOT_FILLS, SNAPSHOT_WRITES, SNAPSHOT_SYNCS, SNAPSHOT_WAITS, SNAPSHOT_SYNCS_DIRECTORY };

struct snapshot {
	journal_snapshot_next *next;     /* NULL: none are taken */
	void *user;
	struct task task;
	struct op op;
	bool asked;
	int result;
	enum snapshot_step step;
	int directory;                   /* a descriptor of its own, so that a sync of it is this one's */
	int draft;                       /* -1: none */
	uint64_t place[4];
	uint64_t begins;                 /* the sequence that was settled when it began; its name */
	uint8_t begins_chain[RECORD_CHAIN_BYTES];
	uint64_t needs;                  /* … that must be synced before it may be used */
	uint8_t chain[RECORD_CHAIN_BYTES]; /* of its own records */
	uint64_t block, records;
	bool ended;                      /* its last record is in the buffer, or in the file */
	uint8_t *bytes;                  /* NULL while it rests */
	size_t record_bytes, size, written;
	uint32_t block_records;
	uint64_t file_bytes;
	uint64_t newest, older;          /* names of whole ones; 0: none */
};

struct journal {
	uint32_t magic;
	struct core *core;
	struct journal_settings settings;
	struct scope scope;
	struct task task;
	struct op op;
	struct timer again;              /* no room: when it is tried again */
	struct timer second;             /* everysec: when it is synced */
	bool asked;                      /* this step's operation was started */
	int result;                      /* … and brought this */
	unsigned step;                   /* index in STEPS of journal.c */

	const struct reason *failure;
	bool told_full;

	/* What was appended. */
	uint64_t sequence, stamp_ns;
	uint8_t chain[RECORD_CHAIN_BYTES];
	struct journal_block blocks[BLOCKS];
	unsigned first, count;           /* a ring: the first is the next to be written, or being written */
	uint8_t *spares[SPARES_MAX];
	unsigned spare_count;
	size_t waiting_bytes;
	struct link due;                 /* barriers and syncs that wait for nothing more: settled in this turn */
	struct link syncs;               /* … and those that wait for the next sync */

	/* What is settled, and what is in the file. */
	struct journal_head head;        /* sequence, stamp, chain: settled; block: synced; segment: written whole */
	uint64_t written_sequence;
	uint8_t written_chain[RECORD_CHAIN_BYTES]; /* before the next block */
	uint64_t synced_sequence;
	bool unsynced;                   /* blocks of the commit head.block + 1 are written */
	bool wants_sync;                 /* a snapshot waits for it, or somebody else */
	bool holds;                      /* the first block is written, and settled only when it is synced */
	uint64_t bytes_since;            /* written since the last snapshot */
	int fd;                          /* the last segment; -1: none, or a new one is due */
	size_t written;                  /* of the header, block or zeros in hand */
	int room_error;                  /* ENOSPC or EDQUOT: why the file is being cut back */
	/* Mode always only; NULL in the others. Whole pages are written there, over zeros that are on the disk already: */
	uint8_t *window;                 /* the file's last page as far as there is one, and behind it the block in hand */
	const uint8_t *zeros;
	uint64_t zeroed_bytes;           /* of the file; a multiple of a page */
	bool scant;                      /* there was not as much room as was wanted ahead: until the next segment no more is asked for than is needed */
	uint8_t header[SEGMENT_HEADER_BYTES];

	struct snapshot snapshot;
	struct journal_statistics *statistics; /* the settings', or … */
	struct journal_statistics own;
};

/* snapshot.c */
void snapshot_open(struct journal *);
void snapshot_look(struct journal *);    /* something was written or synced: is it time? */
void snapshot_close(struct journal *);   /* a draft goes */

/* A line on standard error that names the stream. */
void journal_say(const struct journal *, bool error, const char *format, ...) __attribute__((format(printf, 3, 4)));
bool journal_no_room(int error);         /* ENOSPC, EDQUOT */
void journal_file_name(char name[32], uint64_t sequence, const char *kind);

#endif
