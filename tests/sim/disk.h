/* tests/sim/disk.h — a disk behind a page cache, which forgets and fails; it answers gateway/journal/disk.h and the writes of kernel.c.
 *
 *   write ─▶ page cache (what reads see) ── sync ─▶ durable
 *                 └── power cut: of each sector of 512 bytes any state it was ever in since the last sync; of each file any of its
 *                     sizes since then; of each directory the changes up to some moment. What was never written is zeros or garbage
 *
 * A sync that fails has lost what it was to save: the cache goes on showing it, and the next sync succeeds and does not save it
 * either, as Linux does it.
 *
 * A disk outlives the worlds that use it: after a cut its heir is put into the next one.
 *
 * Owner: the scenario.   Thread: one.   Units: bytes.   Errors: negative errno, by dice.   Limits: none. */
#ifndef TESTS_SIM_DISK_H
#define TESTS_SIM_DISK_H

#include "tests/sim/world.h"

struct node;

struct disk {
	struct world *world;             /* that has it now */
	struct node *root;
	struct node *nodes;              /* all of them, also those without a name */
	uint64_t room;                   /* bytes that may still be written */
	bool indirect;                   /* no direct writes */
	bool polite;                     /* nothing fails, not even by dice: while something is looked at */
	unsigned write_fails, sync_fails; /* per thousand */
	bool failed;                     /* a segment was not written or not synced, and that was told */
	bool directory_failed;           /* a directory was not synced: that of a new segment, or of a snapshot */
};

struct disk *disk_new(void);
void disk_free(struct disk *);

/* Whoever calls gateway/journal/disk.h from now on means this one. There is one at a time. */
void disk_use(struct disk *, struct world *);

/* What is there when the machine comes up again, and when only the process was killed. The old one stays as it is. */
struct disk *disk_after_power_cut(const struct disk *, struct dice *);
struct disk *disk_after_kill(const struct disk *);

/* For kernel.c, of a thing with a node. */
int64_t disk_node_write(struct thing *, const void *bytes, size_t n, uint64_t offset, bool synced);
int disk_node_sync(struct thing *);

#endif
