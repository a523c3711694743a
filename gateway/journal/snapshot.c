/* What a stream's records have come to, written while it serves: a start then reads this and the journal behind it.
 *
 *   resting ─▶ filling ⇄ writing ─▶ syncing ─▶ waiting for the journal ─▶ (renamed) syncing the directory ─▶ resting
 *
 * It is fuzzy: each record in it says up to which sequence it contains effects, so the state need not stand still meanwhile, and is
 * asked for a slice at a time. What it contains may be younger than what is synced; it gets its name only when the journal
 * has caught up, because a snapshot that knows more than the journal would leave a hole in the history.
 *
 * Nothing depends on it: where one cannot be written the next start reads more. So a failure is told, and tried again later. */
#include "gateway/journal/disk.h"
#include "gateway/journal/state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAIT (-1)

static_assert(SNAPSHOT_BYTES >= RECORD_BYTES_MAX && SNAPSHOT_BYTES <= BLOCK_BYTES_MAX, "a block has room for any record");
#define SNAPSHOT_ROOM (BLOCK_HEADER_BYTES + SNAPSHOT_BYTES + 8)

/* ---- its file ---- */

static void draft_drop(struct journal *journal)
{
	struct snapshot *snapshot = &journal->snapshot;
	char name[32];

	if (snapshot->draft < 0)
		return;
	disk_close(snapshot->draft);
	snapshot->draft = -1;
	journal_file_name(name, snapshot->begins, "snapshot.new");
	disk_remove(journal->settings.directory, name);
}

static void rest(struct journal *journal)
{
	free(journal->snapshot.bytes);
	journal->snapshot.bytes = NULL;
}

/* Tried again after half as much as is usual. */
static int give_up(struct journal *journal, const char *what, int error)
{
	journal_say(journal, false, "a snapshot %s: %s; the next start reads more of the journal", what, strerror(error));
	stat_add(&journal->statistics->failures, 1);
	journal->bytes_since = journal->settings.snapshot_bytes / 2;
	draft_drop(journal);
	rest(journal);
	return SNAPSHOT_RESTS;
}

/* ---- filling ---- */

static bool put(struct journal *journal, struct record *record)
{
	struct snapshot *snapshot = &journal->snapshot;
	size_t n;

	record->stamp_ns = journal->stamp_ns;
	n = record_write(snapshot->bytes + BLOCK_HEADER_BYTES + snapshot->record_bytes, SNAPSHOT_BYTES - snapshot->record_bytes, record,
		snapshot->chain, journal->settings.hash);
	snapshot->record_bytes += n;
	snapshot->block_records += n > 0;
	snapshot->records += n > 0;
	return n > 0;
}

static void put_end(struct journal *journal)
{
	struct snapshot *snapshot = &journal->snapshot;
	struct record end = {
		.kind = RECORD_END,
		.sequence = snapshot->begins,
		.cap = (int64_t)snapshot->begins + 1,
		.cap_before = -1,
		.detail = { (const char *)snapshot->begins_chain, RECORD_CHAIN_BYTES },
	};

	check(put(journal, &end));
	snapshot->ended = true;
	if (journal->head.sequence > snapshot->needs)
		snapshot->needs = journal->head.sequence;
}

static int block_ready(struct snapshot *snapshot)
{
	snapshot->size = block_finish(snapshot->bytes, snapshot->record_bytes, ++snapshot->block, snapshot->begins, snapshot->block_records);
	return SNAPSHOT_WRITES;
}

/* No record is ever kept back: the block is full for any before the next is asked for. */
static int fills(struct journal *journal)
{
	struct snapshot *snapshot = &journal->snapshot;

	for (unsigned i = 0; i < SNAPSHOT_SLICE_RECORDS; i++) {
		struct record record = { .cap = -1, .cap_before = -1 };

		if (snapshot->record_bytes + RECORD_BYTES_MAX > SNAPSHOT_BYTES)
			return block_ready(snapshot);
		if (!snapshot->next(snapshot->user, snapshot->place, &record)) {
			put_end(journal);
			return block_ready(snapshot);
		}
		/* Looked through and found nothing: counted all the same, so that a slice stays one. */
		if (record.kind == 0)
			continue;
		if (record.sequence > snapshot->needs)
			snapshot->needs = record.sequence;
		check(put(journal, &record));
	}
	task_wake_later(&snapshot->task);
	return WAIT;
}

/* ---- the steps ---- */

static void op_noted(struct op *op, const struct completion *completion)
{
	struct journal *journal = owner_of(op, struct journal, snapshot.op);

	journal->snapshot.result = completion->result;
	task_wake(&journal->snapshot.task);
}

static int ask(struct snapshot *snapshot, struct kernel_request request)
{
	snapshot->op.request = request;
	snapshot->asked = true;
	op_start(&snapshot->op);
	return WAIT;
}

static bool to_be_asked(const struct snapshot *snapshot)
{
	return !snapshot->asked || snapshot->result == -EINTR || snapshot->result == -EAGAIN;
}

static int rests(struct journal *journal)
{
	struct snapshot *snapshot = &journal->snapshot;
	struct segment segment = {
		.snapshot = true,
		.stream = journal->settings.stream,
		.first_sequence = journal->head.sequence,
		.first_block = 1,
		.created_ns = journal_now_ns(journal),
	};
	char name[32];

	/* One with the same name would say the same. */
	if (!snapshot->next || journal->failure || journal->bytes_since < journal->settings.snapshot_bytes ||
	    journal->head.sequence <= snapshot->newest)
		return WAIT;
	if (snapshot->directory < 0)
		snapshot->directory = disk_directory_again(journal->settings.directory);
	if (snapshot->directory < 0)
		return give_up(journal, "has no directory", -snapshot->directory);
	journal->bytes_since = 0;
	snapshot->begins = journal->head.sequence;
	memcpy(snapshot->begins_chain, journal->head.chain, RECORD_CHAIN_BYTES);
	journal_file_name(name, snapshot->begins, "snapshot.new");
	disk_remove(journal->settings.directory, name);
	snapshot->draft = disk_make(journal->settings.directory, name);
	if (snapshot->draft < 0)
		return give_up(journal, "cannot be made", -snapshot->draft);
	snapshot->bytes = malloc(SNAPSHOT_ROOM);
	check(snapshot->bytes);
	memset(snapshot->place, 0, sizeof snapshot->place);
	memset(snapshot->chain, 0, sizeof snapshot->chain);
	snapshot->needs = snapshot->begins;
	snapshot->block = snapshot->records = snapshot->file_bytes = 0;
	snapshot->record_bytes = snapshot->block_records = 0;
	snapshot->ended = false;
	segment_write(snapshot->bytes, &segment);
	snapshot->size = SEGMENT_HEADER_BYTES;
	return SNAPSHOT_WRITES;
}

static int writes(struct journal *journal)
{
	struct snapshot *snapshot = &journal->snapshot;

	if (!to_be_asked(snapshot)) {
		if (snapshot->result <= 0)
			return give_up(journal, "cannot be written", snapshot->result < 0 ? -snapshot->result : EIO);
		snapshot->written += (size_t)snapshot->result;
	}
	if (snapshot->written < snapshot->size)
		return ask(snapshot, (struct kernel_request){
			.code = KERNEL_WRITE,
			.fd = snapshot->draft,
			.bytes = snapshot->bytes + snapshot->written,
			.size = (uint32_t)(snapshot->size - snapshot->written),
			.offset = (int64_t)(snapshot->file_bytes + snapshot->written),
		});
	snapshot->file_bytes += snapshot->size;
	snapshot->record_bytes = snapshot->block_records = 0;
	return snapshot->ended ? SNAPSHOT_SYNCS : SNAPSHOT_FILLS;
}

static int syncs(struct journal *journal)
{
	struct snapshot *snapshot = &journal->snapshot;

	if (to_be_asked(snapshot))
		return ask(snapshot, (struct kernel_request){ .code = KERNEL_SYNC, .fd = snapshot->draft });
	return snapshot->result >= 0 ? SNAPSHOT_WAITS : give_up(journal, "cannot be synced", -snapshot->result);
}

static int waits(struct journal *journal)
{
	struct snapshot *snapshot = &journal->snapshot;
	char draft[32], name[32];
	int renamed;

	if (journal->failure == &JOURNAL_FAILED) {
		draft_drop(journal);
		rest(journal);
		return SNAPSHOT_RESTS;
	}
	if (journal->synced_sequence < snapshot->needs) {
		if (!journal->wants_sync) {
			journal->wants_sync = true;
			task_wake(&journal->task);
		}
		return WAIT;
	}
	journal_file_name(draft, snapshot->begins, "snapshot.new");
	journal_file_name(name, snapshot->begins, "snapshot");
	renamed = disk_rename(journal->settings.directory, draft, name);
	if (renamed < 0)
		return give_up(journal, "cannot be renamed", -renamed);
	disk_close(snapshot->draft);
	snapshot->draft = -1;
	return SNAPSHOT_SYNCS_DIRECTORY;
}

/* The one before is kept, in case that this one is found damaged; those before are of no use. */
static int syncs_directory(struct journal *journal)
{
	struct snapshot *snapshot = &journal->snapshot;
	char name[32];

	if (to_be_asked(snapshot))
		return ask(snapshot, (struct kernel_request){ .code = KERNEL_SYNC, .fd = snapshot->directory });
	if (snapshot->result < 0 && snapshot->result != -EINVAL && snapshot->result != -EROFS)
		return give_up(journal, "may be lost by a power cut, its directory cannot be synced", -snapshot->result);
	if (snapshot->older) {
		journal_file_name(name, snapshot->older, "snapshot");
		disk_remove(journal->settings.directory, name);
	}
	snapshot->older = snapshot->newest;
	snapshot->newest = snapshot->begins;
	journal->head.snapshot_sequence = snapshot->begins;
	journal->head.snapshot_older = snapshot->older;
	stat_add(&journal->statistics->snapshots, 1);
	rest(journal);
	return SNAPSHOT_RESTS;
}

static int (*const STEPS[])(struct journal *) = {
	[SNAPSHOT_RESTS] = rests,
	[SNAPSHOT_FILLS] = fills,
	[SNAPSHOT_WRITES] = writes,
	[SNAPSHOT_SYNCS] = syncs,
	[SNAPSHOT_WAITS] = waits,
	[SNAPSHOT_SYNCS_DIRECTORY] = syncs_directory,
};

static void snapshot_step(struct task *task)
{
	struct journal *journal = owner_of(task, struct journal, snapshot.task);
	struct snapshot *snapshot = &journal->snapshot;

	while (op_idle(&snapshot->op)) {
		int next = STEPS[snapshot->step](journal);

		if (next == WAIT)
			return;
		snapshot->asked = false;
		snapshot->written = 0;
		snapshot->step = (enum snapshot_step)next;
	}
}

/* ---- from journal.c ---- */

void snapshot_open(struct journal *journal)
{
	struct snapshot *snapshot = &journal->snapshot;

	snapshot->directory = snapshot->draft = -1;
	snapshot->newest = journal->head.snapshot_sequence;
	snapshot->older = journal->head.snapshot_older;
	task_init(&snapshot->task, &journal->scope, "snapshot", snapshot_step);
	op_init(&snapshot->op, &journal->scope, "snapshot", op_noted);
}

void journal_set_snapshot(struct journal *journal, journal_snapshot_next *next, void *user)
{
	journal->snapshot.next = next;
	journal->snapshot.user = user;
	task_wake(&journal->snapshot.task);
}

/* In a step of its own: what was settled just now is then published, whichever of the waiters had to do that. */
void snapshot_look(struct journal *journal)
{
	const struct snapshot *snapshot = &journal->snapshot;

	if (snapshot->step == SNAPSHOT_WAITS ||
	    (snapshot->step == SNAPSHOT_RESTS && snapshot->next && journal->bytes_since >= journal->settings.snapshot_bytes))
		task_wake(&journal->snapshot.task);
}

void snapshot_close(struct journal *journal)
{
	draft_drop(journal);
	rest(journal);
	if (journal->snapshot.directory >= 0)
		disk_close(journal->snapshot.directory);
}
