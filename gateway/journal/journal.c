/* See gateway/journal/journal.h. The steps of a commit, in their order:
 *
 *   resting ─┬─▶ making a segment ─▶ writing its header ─▶ syncing it ─▶ syncing the directory ─┐
 *            └──────────────────────────────────────────────────────────────────────────────────┴─▶ [zeroing ─▶] writing ─▶ resting
 *
 * and from resting a sync, where the mode or a snapshot wants one. One operation is in flight, never a write and its sync as a linked pair:
 * a short write does not break such a link, and the sync would vouch for what is not written. None has a deadline: a write cannot be
 * cancelled.
 *
 * In the mode always a write is done when the disk has it (KERNEL_WRITE_DSYNC), and it goes past the page cache where the file system
 * can, in whole pages, over zeros that were written there before. So there is nothing for the file system to note down but the bytes, no
 * worker of the kernel that would wait for this core's processor, and the core answers others while the disk works. The last page, not full
 * yet, is written again with the next block: the same bytes, so that a sector that is torn of them is as it was. */
#include "gateway/journal/state.h"
#include "gateway/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define AGAIN_MS 1000u                   /* a full disk is tried again */
#define SECOND_MS 1000u

const struct reason JOURNAL_FULL = { "journal_full", "the disk of the journal has no room, and the change was not made" };
const struct reason JOURNAL_FAILED = { "journal_failed", "the journal could not be written, and nothing is counted until a restart; nobody knows of a change that was under way then whether it is kept" };
const struct reason JOURNAL_BEHIND = { "journal_behind", "too much waits for the disk of the journal, and the change was not made" };

static_assert(JOURNAL_WAITING_BYTES_MAX % BLOCK_BYTES_MAX == 0, "what may wait is a number of blocks");

/* ---- words ---- */

void journal_say(const struct journal *journal, bool error, const char *format, ...)
{
	const enum config_log_level level = error ? CONFIG_LOG_ERROR : CONFIG_LOG_WARN;
	char text[512];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	log_say(level, level, "journal, stream %02u: %s", journal->settings.stream, text);
}

bool journal_no_room(int error)
{
	return error == ENOSPC || error == EDQUOT;
}

void journal_file_name(char name[32], uint64_t sequence, const char *kind)
{
	snprintf(name, 32, "%020" PRIu64 ".%s", sequence, kind);
}

/* ---- blocks ---- */

static struct journal_block *block_at(struct journal *journal, unsigned i)
{
	return &journal->blocks[(journal->first + i) % BLOCKS];
}

static struct journal_block *block_last(struct journal *journal)
{
	return journal->count > 0 ? block_at(journal, journal->count - 1) : NULL;
}

static struct journal_block *block_begin(struct journal *journal)
{
	struct journal_block *block;

	check(journal->count < BLOCKS);
	block = block_at(journal, journal->count++);
	block->bytes = journal->spare_count > 0 ? journal->spares[--journal->spare_count] : malloc(BLOCK_ROOM);
	check(block->bytes);
	block->record_bytes = block->size = block->records = 0;
	block->synced = false;
	block->first_sequence = journal->sequence + 1;
	link_init(&block->waiters);
	return block;
}

/* How much of the file it will take. */
static size_t block_bytes(const struct journal_block *block)
{
	return BLOCK_HEADER_BYTES + (block->record_bytes + 7) / 8 * 8;
}

/* The first is done with. Its waiters are put behind `waiters`. */
static void block_pop(struct journal *journal, struct link *waiters)
{
	struct journal_block *block = block_at(journal, 0);

	link_move_all(waiters, &block->waiters);
	journal->waiting_bytes -= block->record_bytes;
	if (journal->spare_count < SPARES_MAX)
		journal->spares[journal->spare_count++] = block->bytes;
	else
		free(block->bytes);
	block->bytes = NULL;
	journal->first = (journal->first + 1) % BLOCKS;
	journal->count--;
}

/* ---- settling ---- */

static void settle(struct link *waiters, const struct reason *failure)
{
	struct link *link;

	while ((link = link_take_first(waiters))) {
		struct journal_waiter *waiter = owner_of(link, struct journal_waiter, in_journal);

		waiter->settled(waiter, failure);
	}
}

/* Barriers that had nothing to wait for, and syncs that are over. What they wait for meanwhile is the next round's, in the same turn. */
static void settle_due(struct journal *journal)
{
	struct link now;

	link_init(&now);
	link_move_all(&now, &journal->due);
	settle(&now, journal->failure == &JOURNAL_FAILED ? &JOURNAL_FAILED : NULL);
	if (!link_alone(&journal->due))
		task_wake(&journal->task);
}

/* Readiness is asked of core 0, and is every core's. */
static void failure_set(struct journal *journal, const struct reason *failure)
{
	journal->failure = failure;
	atomic_store_explicit(&journal->statistics->failing, failure, memory_order_relaxed);
}

/* From here on nothing is settled well. `failure` stands first, so that what the waiters append is refused. */
static void fail(struct journal *journal, const char *what, int error)
{
	struct link all;

	if (journal->failure == &JOURNAL_FAILED)
		return;
	failure_set(journal, &JOURNAL_FAILED);
	stat_add(&journal->statistics->failures, 1);
	journal_say(journal, true, "%s: %s; no change of a count is accepted until a restart has read what the disk holds", what,
		strerror(error));
	journal->holds = false;
	link_init(&all);
	while (journal->count > 0)
		block_pop(journal, &all);
	link_move_all(&all, &journal->syncs);
	link_move_all(&all, &journal->due);
	settle(&all, &JOURNAL_FAILED);
}

static void full(struct journal *journal, const char *what, int error)
{
	if (!journal->told_full)
		journal_say(journal, true, "%s: %s; changes of counts are refused until there is room, which is looked for every second", what,
			strerror(error));
	journal->told_full = true;
	failure_set(journal, &JOURNAL_FULL);
	stat_add(&journal->statistics->failures, 1);
	if (scope_live(&journal->scope))
		timer_set(&journal->again, AGAIN_MS);
}

static void full_no_more(struct journal *journal)
{
	if (journal->failure != &JOURNAL_FULL)
		return;
	failure_set(journal, NULL);
	journal->told_full = false;
	journal_say(journal, false, "there is room again, and changes of counts are accepted");
}

/* ---- the window: whole pages of the file ---- */

static uint64_t page_begin(uint64_t at)
{
	return at / DISK_PAGE_BYTES * DISK_PAGE_BYTES;
}

static uint64_t page_end(uint64_t at)
{
	return page_begin(at + DISK_PAGE_BYTES - 1);
}

/* Where the last page is that the block in hand will touch. */
static uint64_t window_end(struct journal *journal)
{
	return page_end(journal->head.segment_bytes + block_at(journal, 0)->size);
}

static void window_fill(struct journal *journal)
{
	const struct journal_block *block = block_at(journal, 0);
	const size_t before = journal->head.segment_bytes % DISK_PAGE_BYTES, used = before + block->size;

	memcpy(journal->window + before, block->bytes, block->size);
	memset(journal->window + used, 0, page_end(used) - used);
}

/* The block is in the file: its last page is the next one's first. */
static void window_move(struct journal *journal)
{
	const size_t used = journal->head.segment_bytes % DISK_PAGE_BYTES + block_at(journal, 0)->size;

	memmove(journal->window, journal->window + page_begin(used), used % DISK_PAGE_BYTES);
}

static void window_open(struct journal *journal)
{
	void *zeros;

	if (journal->settings.mode != JOURNAL_ALWAYS)
		return;
	journal->window = aligned_alloc(DISK_PAGE_BYTES, WINDOW_BYTES);
	/* Pages that are only read are all one and the same page of the kernel's. */
	zeros = mmap(NULL, ZEROS_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(journal->window && zeros != MAP_FAILED);
	journal->zeros = zeros;
}

static void window_close(struct journal *journal)
{
	if (!journal->window)
		return;
	munmap((void *)(uintptr_t)journal->zeros, ZEROS_BYTES);
	free(journal->window);
}

/* For nothing but tidiness: what zeros a crash leaves behind the blocks recovery knows to be none. */
static void zeros_cut(struct journal *journal)
{
	if (journal->fd >= 0 && journal->zeroed_bytes > journal->head.segment_bytes && disk_cut(journal->fd, journal->head.segment_bytes) >= 0)
		disk_sync(journal->fd);
}

/* ---- what one commit does to the state; the same whether a ring or a plain call did the work ---- */

static bool segment_due(struct journal *journal)
{
	return journal->fd < 0 || (journal->head.segment_bytes > SEGMENT_HEADER_BYTES &&
		journal->head.segment_bytes + block_bytes(block_at(journal, 0)) > journal->settings.segment_bytes_max);
}

/* The name of the file in hand: it begins with the first block that waits. */
static void segment_name(struct journal *journal, char name[32])
{
	journal_file_name(name, block_at(journal, 0)->first_sequence, "journal");
}

/* 0: an empty file is there, and its header is in hand. Everything before is synced, so that damage in any but the last
 * segment is never a torn end. */
static int segment_make(struct journal *journal)
{
	struct segment segment = {
		.stream = journal->settings.stream,
		.first_sequence = block_at(journal, 0)->first_sequence,
		.first_block = journal->head.block + 1,
		.created_ns = kernel_wall_ns(journal->core->kernel),
	};
	char name[32];

	check(!journal->unsynced);
	if (journal->fd >= 0)
		disk_close(journal->fd);
	segment_name(journal, name);
	journal->fd = disk_make(journal->settings.directory, name);
	if (journal->fd < 0)
		return journal->fd;
	memcpy(segment.chain, journal->written_chain, RECORD_CHAIN_BYTES);
	segment_write(journal->header, &segment);
	return 0;
}

/* What has no header yet holds nothing, and its name must be free for the next try. */
static void segment_drop(struct journal *journal)
{
	char name[32];

	disk_close(journal->fd);
	journal->fd = -1;
	journal->zeroed_bytes = 0;
	segment_name(journal, name);
	disk_remove(journal->settings.directory, name);
}

static void segment_made(struct journal *journal)
{
	journal->head.segment_first = block_at(journal, 0)->first_sequence;
	journal->head.segment_bytes = SEGMENT_HEADER_BYTES;
	journal->zeroed_bytes = journal->window ? DISK_PAGE_BYTES : 0;
	journal->scant = false;
	stat_add(&journal->statistics->segments, 1);
}

/* A block has the number of its commit: those between two syncs share it, because a power cut may take any of them and leave
 * those behind it. */
static void block_ready(struct journal *journal)
{
	struct journal_block *block = block_at(journal, 0);

	if (block->size == 0)
		block->size = block_finish(block->bytes, block->record_bytes, journal->head.block + 1, block->first_sequence, block->records);
}

static void block_written(struct journal *journal)
{
	struct journal_block *block = block_at(journal, 0);

	journal->head.segment_bytes += block->size;
	journal->bytes_since += block->size;
	stat_add(&journal->statistics->bytes, block->size);
	journal->written_sequence = block->last_sequence;
	memcpy(journal->written_chain, block->chain, RECORD_CHAIN_BYTES);
	journal->unsynced = true;
	full_no_more(journal);
}

/* Everything that was written is on the disk. */
static void file_synced(struct journal *journal)
{
	if (journal->unsynced)
		journal->head.block++;
	journal->unsynced = journal->wants_sync = false;
	journal->synced_sequence = journal->written_sequence;
	link_move_all(&journal->due, &journal->syncs);
	stat_add(&journal->statistics->syncs, 1);
}

/* The first block has come as far as its mode asks. */
static void block_settled(struct journal *journal)
{
	struct journal_block *block = block_at(journal, 0);
	struct link waiters;

	stat_add(&journal->statistics->commits, 1);
	link_init(&waiters);
	journal->head.sequence = block->last_sequence;
	journal->head.stamp_ns = block->last_stamp_ns;
	memcpy(journal->head.chain, block->chain, RECORD_CHAIN_BYTES);
	journal->holds = false;
	block_pop(journal, &waiters);
	settle(&waiters, NULL);
}

/* ---- the steps ---- */

enum { RESTING, MAKING, WRITING_HEADER, SYNCING_HEADER, SYNCING_DIRECTORY, ZEROING, WRITING, CUTTING, SYNCING };

#define WAIT (-1)

static void op_noted(struct op *op, const struct completion *completion)
{
	struct journal *journal = owner_of(op, struct journal, op);

	journal->result = completion->result;
	task_wake(&journal->task);
}

static int ask(struct journal *journal, struct kernel_request request)
{
	journal->op.request = request;
	journal->asked = true;
	op_start_first(&journal->op);
	return WAIT;
}

/* What is left of it. */
static int ask_write(struct journal *journal, enum kernel_code code, const uint8_t *bytes, size_t size, uint64_t offset)
{
	return ask(journal, (struct kernel_request){
		.code = (uint8_t)code,
		.fd = journal->fd,
		.bytes = (void *)(uintptr_t)(bytes + journal->written),
		.size = (uint32_t)(size - journal->written),
		.offset = (int64_t)(offset + journal->written),
	});
}

/* Nothing has happened, and it may be asked again. */
static bool to_be_asked(const struct journal *journal)
{
	return !journal->asked || journal->result == -EINTR || journal->result == -EAGAIN;
}

/* A sync comes first: where records never cease its second would never come. */
static int resting(struct journal *journal)
{
	const bool second = journal->settings.mode == JOURNAL_EVERYSEC && journal->second.fired;

	if (journal->failure == &JOURNAL_FAILED)
		return WAIT;
	if (journal->unsynced && (second || journal->wants_sync || journal->holds))
		return SYNCING;
	if (journal->count == 0 || journal->again.set)
		return WAIT;
	if (!segment_due(journal))
		return WRITING;
	return journal->unsynced ? SYNCING : MAKING;
}

/* Nothing was written yet, so nothing is in doubt: whatever keeps us from making a file may pass. */
static int making(struct journal *journal)
{
	int made = segment_make(journal);

	if (made >= 0 && journal->window) {
		/* Where it cannot be written directly it is written through the cache, to the same end. */
		disk_direct(journal->fd, true);
		memcpy(journal->window, journal->header, SEGMENT_HEADER_BYTES);
		memset(journal->window + SEGMENT_HEADER_BYTES, 0, DISK_PAGE_BYTES - SEGMENT_HEADER_BYTES);
	}
	if (made >= 0)
		return WRITING_HEADER;
	full(journal, "no new segment can be made", -made);
	return RESTING;
}

static int writing_header(struct journal *journal)
{
	const size_t size = journal->window ? DISK_PAGE_BYTES : SEGMENT_HEADER_BYTES;

	if (!to_be_asked(journal)) {
		if (journal->result < 0 && journal_no_room(-journal->result)) {
			segment_drop(journal);
			full(journal, "a new segment cannot be written", -journal->result);
			return RESTING;
		}
		if (journal->result <= 0) {
			fail(journal, "a new segment cannot be written", journal->result < 0 ? -journal->result : EIO);
			return RESTING;
		}
		journal->written += (size_t)journal->result;
	}
	if (journal->written == size)
		return SYNCING_HEADER;
	return ask_write(journal, KERNEL_WRITE, journal->window ? journal->window : journal->header, size, 0);
}

static int syncing_header(struct journal *journal)
{
	if (to_be_asked(journal))
		return ask(journal, (struct kernel_request){ .code = KERNEL_SYNC, .fd = journal->fd });
	if (journal->result >= 0)
		return SYNCING_DIRECTORY;
	fail(journal, "a new segment cannot be synced", -journal->result);
	return RESTING;
}

/* Without it a power cut may take the name of a file whose records were answered. */
static int syncing_directory(struct journal *journal)
{
	if (to_be_asked(journal))
		return ask(journal, (struct kernel_request){ .code = KERNEL_SYNC, .fd = journal->settings.directory });
	/* Some file systems cannot sync a directory, and need not. */
	if (journal->result < 0 && journal->result != -EINVAL && journal->result != -EROFS) {
		fail(journal, "the directory cannot be synced", -journal->result);
		return RESTING;
	}
	segment_made(journal);
	return WRITING;
}

/* No room: cut back to the last whole block, so that what stands behind it is nobody's riddle. */
static int cut_back(struct journal *journal, int error)
{
	int cut = disk_cut(journal->fd, journal->head.segment_bytes);

	block_at(journal, 0)->size = 0;          /* its number may be another by then */
	journal->zeroed_bytes = page_end(journal->head.segment_bytes);
	journal->room_error = error;
	if (cut >= 0)
		return CUTTING;
	fail(journal, "a segment cannot be cut back", -cut);
	return RESTING;
}

/* It may have been the sync that found no room, with the whole block in the file: who hears that his change was not made must not find
 * it there after a crash. */
static int cutting(struct journal *journal)
{
	if (to_be_asked(journal))
		return ask(journal, (struct kernel_request){ .code = KERNEL_SYNC, .fd = journal->fd });
	if (journal->result < 0)
		fail(journal, "a segment cannot be cut back", -journal->result);
	else
		full(journal, "records cannot be written", journal->room_error);
	return RESTING;
}

/* There is not as much room as was wanted ahead: what was written is taken, or else no more is asked for than this block needs. */
static int zeroing_ends_early(struct journal *journal, int error)
{
	const uint64_t whole = page_begin(journal->written);

	journal->zeroed_bytes += whole;
	if ((journal_no_room(error) || error == EFBIG) && (whole > 0 || !journal->scant)) {
		journal->scant = true;
		return WRITING;
	}
	if (journal_no_room(error))
		return cut_back(journal, error);
	fail(journal, "a segment cannot be made longer", error);
	return RESTING;
}

/* Zeros for this block and the next ones, but not for more than the segment will hold. */
static int zeroing(struct journal *journal)
{
	const uint64_t segment = page_end(journal->settings.segment_bytes_max), needed = window_end(journal);
	const uint64_t wanted = (needed > segment || journal->scant ? needed : segment) - journal->zeroed_bytes;
	const size_t size = wanted < ZEROS_BYTES ? (size_t)wanted : ZEROS_BYTES;

	if (!to_be_asked(journal)) {
		if (journal->result <= 0)
			return zeroing_ends_early(journal, journal->result < 0 ? -journal->result : EIO);
		journal->written += (size_t)journal->result;
	}
	if (journal->written < size)
		return ask_write(journal, KERNEL_WRITE, journal->zeros, size, journal->zeroed_bytes);
	journal->zeroed_bytes += size;
	return WRITING;
}

static void sync_noted(struct journal *journal)
{
	const uint64_t took_ns = journal->core->now_ns - journal->op.armed_ns;

	stat_add(&journal->statistics->sync_ns_sum, took_ns);
	if (took_ns > stat_read(&journal->statistics->sync_ns_max))
		atomic_store_explicit(&journal->statistics->sync_ns_max, took_ns, memory_order_relaxed);
	file_synced(journal);
}

static int writing(struct journal *journal)
{
	const enum kernel_code code = journal->window ? KERNEL_WRITE_DSYNC : KERNEL_WRITE;
	struct journal_block *block = block_at(journal, 0);
	uint64_t begin = journal->head.segment_bytes;
	const uint8_t *bytes = block->bytes;
	size_t size;

	block_ready(journal);
	size = block->size;
	if (journal->window) {
		if (window_end(journal) > journal->zeroed_bytes)
			return ZEROING;
		if (!journal->asked)
			window_fill(journal);
		bytes = journal->window;
		begin = page_begin(begin);
		size = window_end(journal) - begin;
	}
	if (!to_be_asked(journal)) {
		if (journal->result < 0 && journal_no_room(-journal->result))
			return cut_back(journal, -journal->result);
		if (journal->result <= 0) {
			fail(journal, "records cannot be written", journal->result < 0 ? -journal->result : EIO);
			return RESTING;
		}
		/* "On success, the number of bytes written is returned": it may be fewer, and the rest is still to come. */
		journal->written += (size_t)journal->result;
	}
	if (journal->written < size)
		return ask_write(journal, code, bytes, size, begin);
	if (journal->window)
		window_move(journal);
	block_written(journal);
	if (journal->window)
		sync_noted(journal);
	/* One that has fired while this was being written is to be obeyed, and not set anew. */
	if (journal->settings.mode == JOURNAL_EVERYSEC && !journal->second.set && !journal->second.fired)
		timer_set(&journal->second, SECOND_MS);
	journal->holds = block->synced && journal->unsynced;
	if (!journal->holds)
		block_settled(journal);
	return RESTING;
}

static int syncing(struct journal *journal)
{
	if (to_be_asked(journal))
		return ask(journal, (struct kernel_request){ .code = KERNEL_SYNC, .fd = journal->fd });
	if (journal->result < 0) {
		fail(journal, "records cannot be synced", -journal->result);
		return RESTING;
	}
	timer_clear(&journal->second);
	journal->second.fired = false;
	sync_noted(journal);
	if (journal->holds)
		block_settled(journal);
	return RESTING;
}

static const struct {
	const char *name;
	int (*run)(struct journal *);
} STEPS[] = {
	[RESTING] = { "resting", resting },
	[MAKING] = { "making a segment", making },
	[WRITING_HEADER] = { "writing its header", writing_header },
	[SYNCING_HEADER] = { "syncing its header", syncing_header },
	[SYNCING_DIRECTORY] = { "syncing the directory", syncing_directory },
	[ZEROING] = { "zeroing", zeroing },
	[WRITING] = { "writing", writing },
	[CUTTING] = { "cutting back", cutting },
	[SYNCING] = { "syncing", syncing },
};

static void journal_step(struct task *task)
{
	struct journal *journal = owner_of(task, struct journal, task);

	check(journal->magic == JOURNAL_MAGIC);
	/* Whoever is settled may have been what a draining core waited for. */
	while (op_idle(&journal->op) && scope_live(&journal->scope)) {
		int next = STEPS[journal->step].run(journal);

		if (next == WAIT)
			break;
		journal->asked = false;
		journal->written = 0;
		journal->step = (unsigned)next;
	}
	if (!scope_live(&journal->scope))
		return; /* journal_close does the rest */
	/* Also where an operation is under way, or nothing works any more. */
	settle_due(journal);
	snapshot_look(journal);
}

/* ---- appending ---- */

uint64_t journal_now_ns(const struct journal *journal)
{
	const uint64_t wall_ns = kernel_wall_ns(journal->core->kernel);

	/* The clock may be set back, and two records may come within one tick of it. */
	return wall_ns > journal->stamp_ns ? wall_ns : journal->stamp_ns + 1;
}

void journal_saw(struct journal *journal, uint64_t stamp_ns)
{
	if (stamp_ns > journal->stamp_ns)
		journal->stamp_ns = stamp_ns;
}

static void append(struct journal *journal, struct record *record, struct journal_waiter *waiter)
{
	struct journal_block *block = block_last(journal);
	size_t n = 0;

	record->sequence = journal->sequence + 1;
	record->stamp_ns = journal_now_ns(journal);
	/* One that is being written takes no more, though not all of it may have been asked for yet. */
	if (block && block->size == 0)
		n = record_write(block->bytes + BLOCK_HEADER_BYTES + block->record_bytes, BLOCK_BYTES_MAX - block->record_bytes, record,
			journal->chain, journal->settings.hash);
	if (n == 0) {
		block = block_begin(journal);
		n = record_write(block->bytes + BLOCK_HEADER_BYTES, BLOCK_BYTES_MAX, record, journal->chain, journal->settings.hash);
		check(n > 0);
	}
	journal->sequence = record->sequence;
	journal->stamp_ns = record->stamp_ns;
	journal->waiting_bytes += n;
	stat_add(&journal->statistics->records, 1);
	block->record_bytes += n;
	block->records++;
	block->last_sequence = record->sequence;
	block->last_stamp_ns = record->stamp_ns;
	memcpy(block->chain, journal->chain, RECORD_CHAIN_BYTES);
	if (!waiter)
		return;
	block->synced |= waiter->synced;
	link_put_last(&block->waiters, &waiter->in_journal);
}

/* Each block may leave room that is a little too small for the next record, so blocks can be spent before bytes are. */
static bool behind(const struct journal *journal)
{
	const struct journal_block *last = &journal->blocks[(journal->first + journal->count + BLOCKS - 1) % BLOCKS];

	if (journal->waiting_bytes + RECORD_BYTES_MAX > JOURNAL_WAITING_BYTES_MAX)
		return true;
	return journal->count == BLOCKS && (last->size > 0 || last->record_bytes + RECORD_BYTES_MAX > BLOCK_BYTES_MAX);
}

const struct reason *journal_failure(const struct journal *journal)
{
	if (journal->failure)
		return journal->failure;
	return behind(journal) ? &JOURNAL_BEHIND : NULL;
}

const struct reason *journal_append(struct journal *journal, struct record *record, struct journal_waiter *waiter)
{
	const struct reason *failure = journal_failure(journal);

	check(journal->magic == JOURNAL_MAGIC);
	if (failure)
		return failure;
	append(journal, record, waiter);
	task_wake(&journal->task);
	return NULL;
}

void journal_barrier(struct journal *journal, struct journal_waiter *waiter)
{
	struct journal_block *last = block_last(journal);

	check(journal->magic == JOURNAL_MAGIC);
	link_put_last(last ? &last->waiters : &journal->due, &waiter->in_journal);
	task_wake(&journal->task);
}

void journal_sync(struct journal *journal, struct journal_waiter *waiter)
{
	const bool waits = journal->unsynced && journal->failure != &JOURNAL_FAILED;

	check(journal->magic == JOURNAL_MAGIC);
	journal->wants_sync |= waits;
	link_put_last(waits ? &journal->syncs : &journal->due, &waiter->in_journal);
	task_wake(&journal->task);
}

/* ---- looking ---- */

uint64_t journal_appended(const struct journal *journal)
{
	return journal->sequence;
}

uint64_t journal_settled(const struct journal *journal)
{
	return journal->head.sequence;
}

void journal_head_now(const struct journal *journal, struct journal_head *head)
{
	*head = journal->head;
}

const struct journal_statistics *journal_statistics(const struct journal *journal)
{
	return journal->statistics;
}

/* ---- opening ---- */

static const char *journal_where(const struct scope *scope)
{
	return STEPS[owner_of(scope, const struct journal, scope)->step].name;
}

static size_t journal_held(const struct scope *scope)
{
	const struct journal *journal = owner_of(scope, const struct journal, scope);

	return (size_t)(journal->count + journal->spare_count) * BLOCK_ROOM + (journal->window ? WINDOW_BYTES : 0) +
	       (journal->snapshot.bytes ? SNAPSHOT_BYTES : 0);
}

static const struct scope_kind journal_kind = { .name = "journal", .step = journal_where, .bytes_held = journal_held };

/* The last page as it is on the disk: what a ring goes on with. */
static int window_fetch(struct journal *journal)
{
	const uint64_t bytes = journal->head.segment_bytes, begin = page_begin(bytes);
	char name[32];

	if (!journal->window || journal->fd < 0)
		return 0;
	journal_file_name(name, journal->head.segment_first, "journal");
	journal->zeroed_bytes = page_end(bytes);
	disk_direct(journal->fd, true);
	return disk_read_at(journal->settings.directory, name, begin, journal->window, bytes - begin);
}

static void segment_continue(struct journal *journal)
{
	char name[32];
	int result;

	journal_file_name(name, journal->head.segment_first, "journal");
	result = journal->fd = disk_open(journal->settings.directory, name);
	if (result >= 0)
		result = window_fetch(journal);
	if (result < 0)
		fail(journal, "the last segment cannot be opened", -result);
}

struct journal *journal_open(struct core *core, const struct journal_settings *settings, const struct journal_head *head)
{
	struct journal *journal = calloc(1, sizeof *journal);

	check(journal && settings->hash && settings->directory >= 0);
	*journal = (struct journal){
		.magic = JOURNAL_MAGIC,
		.core = core,
		.settings = *settings,
		.head = *head,
		.sequence = head->sequence,
		.stamp_ns = head->stamp_ns,
		.written_sequence = head->sequence,
		.synced_sequence = head->sequence,       /* recovery has synced what it found */
		.bytes_since = head->snapshot_behind_bytes,
		.fd = -1,
	};
	memcpy(journal->chain, head->chain, RECORD_CHAIN_BYTES);
	memcpy(journal->written_chain, head->chain, RECORD_CHAIN_BYTES);
	journal->statistics = settings->statistics ? settings->statistics : &journal->own;
	link_init(&journal->due);
	link_init(&journal->syncs);
	scope_open(&journal->scope, &core->root, &journal_kind);
	task_init(&journal->task, &journal->scope, "journal", journal_step);
	op_init(&journal->op, &journal->scope, "journal", op_noted);
	timer_init(&journal->again, &journal->scope, &journal->task);
	timer_init(&journal->second, &journal->scope, &journal->task);
	snapshot_open(journal);
	window_open(journal);
	if (head->segment_bytes > 0)
		segment_continue(journal);
	return journal;
}

/* ---- before the first turn, and closing: the same steps by plain calls ---- */

/* An operation that the end of the core cut may have brought a result that no step has looked at: an error that a second try would
 * not show again. */
static void close_note(struct journal *journal)
{
	if (!journal->asked || journal->result >= 0 || journal->result == -ECANCELED || journal->result == -EINTR ||
	    journal->result == -EAGAIN || journal_no_room(-journal->result))
		return;
	if (journal->step == SYNCING_DIRECTORY && (journal->result == -EINVAL || journal->result == -EROFS))
		return;
	fail(journal, "it cannot be written or synced", -journal->result);
}

static void settle_full(struct journal *journal, int error)
{
	struct link all;

	failure_set(journal, &JOURNAL_FULL);
	journal_say(journal, true, "there is no room (%s), and the gateway ends: the last %" PRIu64 " records are lost, none of which was answered",
		strerror(error), journal->sequence - journal->written_sequence);
	link_init(&all);
	while (journal->count > 0)
		block_pop(journal, &all);
	link_move_all(&all, &journal->due);
	settle(&all, &JOURNAL_FULL);
}

/* True: it is done, or nothing more can be. */
static bool close_sync(struct journal *journal)
{
	int synced = journal->unsynced ? disk_sync(journal->fd) : 0;

	if (synced < 0) {
		fail(journal, "records cannot be synced", -synced);
		return false;
	}
	if (journal->unsynced)
		file_synced(journal);
	return true;
}

static bool close_make(struct journal *journal)
{
	int result;

	if (!close_sync(journal))
		return false;
	result = segment_make(journal);
	if (result < 0) {
		settle_full(journal, -result);
		return false;
	}
	result = disk_write(journal->fd, journal->header, SEGMENT_HEADER_BYTES, 0);
	if (result < 0 && journal_no_room(-result)) {
		segment_drop(journal);
		settle_full(journal, -result);
		return false;
	}
	if (result >= 0)
		result = disk_sync(journal->fd);
	if (result >= 0)
		result = disk_directory_sync(journal->settings.directory);
	if (result < 0) {
		fail(journal, "a new segment cannot be written", -result);
		return false;
	}
	segment_made(journal);
	return true;
}

static bool close_write(struct journal *journal)
{
	struct journal_block *block = block_at(journal, 0);
	int written, cut;

	block_ready(journal);
	written = disk_write(journal->fd, block->bytes, block->size, journal->head.segment_bytes);
	if (written >= 0) {
		block_written(journal);
		return true;
	}
	if (!journal_no_room(-written)) {
		fail(journal, "records cannot be written", -written);
		return false;
	}
	/* For good: nothing will be written over it. */
	cut = disk_cut(journal->fd, journal->head.segment_bytes);
	if (cut >= 0)
		cut = disk_sync(journal->fd);
	if (cut < 0)
		fail(journal, "a segment cannot be cut back", -cut);
	else
		settle_full(journal, -written);
	return false;
}

/* What a step left in the middle is begun anew: the same bytes at the same place, or a file with the same name. */
static void close_rewind(struct journal *journal)
{
	const unsigned step = journal->step;

	journal->step = RESTING;
	journal->asked = false;
	if (journal->failure == &JOURNAL_FAILED)
		return;
	if (step == WRITING_HEADER || step == SYNCING_HEADER || step == SYNCING_DIRECTORY)
		segment_drop(journal);
	if (journal->count > 0 && !journal->holds)
		block_at(journal, 0)->size = 0;
}

static void close_drain(struct journal *journal)
{
	if (journal->holds && close_sync(journal))
		block_settled(journal);
	while (journal->failure != &JOURNAL_FAILED && journal->count > 0) {
		if (segment_due(journal) && !close_make(journal))
			continue;
		if (!close_write(journal))
			continue;
		journal->holds = journal->settings.mode == JOURNAL_ALWAYS || block_at(journal, 0)->synced;
		if (!journal->holds || close_sync(journal))
			block_settled(journal);
	}
	if (journal->failure != &JOURNAL_FAILED)
		close_sync(journal);
	settle_due(journal);
}

static void close_all(struct journal *journal)
{
	/* A waiter may append once more, and be answered; it ends where nobody does. */
	do
		close_drain(journal);
	while (journal->count > 0 || !link_alone(&journal->due) || !link_alone(&journal->syncs));
}

const struct reason *journal_flush(struct journal *journal)
{
	int result;

	check(journal->magic == JOURNAL_MAGIC && journal->step == RESTING && !journal->asked && op_idle(&journal->op));
	if (journal->fd >= 0)
		disk_direct(journal->fd, false);
	close_all(journal);
	result = journal->failure ? 0 : window_fetch(journal);
	if (result < 0)
		fail(journal, "the last segment cannot be read", -result);
	return journal->failure;
}

void journal_close(struct journal *journal, struct record *last, unsigned last_count, struct journal_head *head)
{
	check(journal->magic == JOURNAL_MAGIC && journal->scope.state == SCOPE_ENDED && op_idle(&journal->op));
	close_note(journal);
	close_rewind(journal);
	if (journal->fd >= 0)
		disk_direct(journal->fd, false);
	/* With no room the second before, there may be some now. */
	close_all(journal);
	if (!journal->failure) {
		for (unsigned i = 0; i < last_count; i++)
			append(journal, &last[i], NULL);
		close_all(journal);
	}
	snapshot_close(journal);
	if (head)
		*head = journal->head;
	/* In the weaker modes more was settled than a failed sync may have left, and others are not to vouch for that. */
	if (head && journal->synced_sequence < journal->head.sequence)
		head->sequence = 0;
	/* What failed is left as it is for whoever looks into it. */
	if (journal->failure != &JOURNAL_FAILED)
		zeros_cut(journal);
	if (journal->fd >= 0)
		disk_close(journal->fd);
	disk_close(journal->settings.directory);
	window_close(journal);
	while (journal->spare_count > 0)
		free(journal->spares[--journal->spare_count]);
	journal->magic = 0;
	free(journal);
}
