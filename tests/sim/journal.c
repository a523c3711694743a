/* tests/sim/journal.c — streams on a disk that tears, fills up and fails, through several lives of the machine.
 *
 *   a life: recovery ─▶ records by dice, snapshots meanwhile ─▶ the power is cut, the process is killed, or it ends in order
 *
 * After each life the real recovery reads what the disk kept. What was settled (in the mode always; what was synced in the others, where
 * the power was cut) is there; nothing is there that was not appended; it is in order, byte by byte; what a snapshot and the
 * journal behind it add up to is what all records add up to; and the end of a life, however torn, is never taken for damage. */
#include "gateway/journal/hash.h"
#include "gateway/journal/recovery.h"
#include "gateway/journal/state.h"
#include "tests/sim/disk.h"
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STREAMS_MOST 2u
#define SITES 8u
#define LIVES_MAX 4u
#define RECORDS_MAX 100000u

struct entry {                       /* one record that was appended */
	unsigned site;
	int64_t by;
	uint8_t chain[RECORD_CHAIN_BYTES];
};

struct writer {
	struct world_journal *all;
	unsigned number;
	struct journal *journal;
	enum journal_mode mode;
	struct scope scope;
	struct task task;
	struct timer timer;
	unsigned rest_percent;
	unsigned most_at_once;
	unsigned detail_most;
	struct dice dice;

	struct entry *entries;           /* by sequence, from 1 on */
	size_t room;
	uint64_t appended;
	uint64_t settled;                /* well */
	uint64_t settled_any;
	int64_t line[SITES];             /* of what is settled */
	uint64_t waiting;                /* waiters that are not settled */

	/* When the life ended. */
	uint64_t least, most;            /* the sequence that must, and that can have stayed */
	uint64_t snapshot;               /* that was whole */

	/* While recovering. */
	int64_t found[SITES];
	uint64_t upto[SITES];
};

struct world_journal {
	struct sim *sim;
	struct disk *disk, *next;        /* next: what the life's end has left */
	struct writer stream[STREAMS_MOST];
	unsigned streams;
	struct actor end, room;
	enum { IN_ORDER, KILLED, POWER_CUT } ending;
	bool ended;
	bool disk_failed;                /* of the life before */
};

struct waiter {
	struct journal_waiter waiter;
	struct writer *stream;
	uint64_t sequence;               /* 0: a barrier */
	uint64_t behind;                 /* a barrier: what was appended before it */
	uint64_t vouched;                /* well settled: no power cut takes what is up to here */
};

/* ---- appending and settling ---- */

static void append_one(struct writer *stream);

static void settled(struct journal_waiter *journal_waiter, const struct reason *failure)
{
	struct waiter *waiter = owner_of(journal_waiter, struct waiter, waiter);
	struct writer *stream = waiter->stream;
	struct world *world = &stream->all->sim->world;

	stream->waiting--;
	if (!failure && stream->mode == JOURNAL_ALWAYS && stream->all->disk->failed && waiter->sequence)
		world_fail(world, "record %llu is settled well after the disk has failed", (unsigned long long)waiter->sequence);
	if (waiter->sequence) {
		if (waiter->sequence != stream->settled_any + 1)
			world_fail(world, "record %llu is settled after record %llu", (unsigned long long)waiter->sequence,
			           (unsigned long long)stream->settled_any);
		stream->settled_any = waiter->sequence;
		if (!failure) {
			if (stream->settled != waiter->sequence - 1)
				world_fail(world, "record %llu is settled well, though one before it was not", (unsigned long long)waiter->sequence);
			stream->settled = waiter->sequence;
			stream->line[stream->entries[waiter->sequence].site] += stream->entries[waiter->sequence].by;
			if (journal_settled(stream->journal) < waiter->sequence)
				world_fail(world, "a waiter is settled before the journal says so");
		}
	} else if (waiter->behind > stream->settled_any) {
		world_fail(world, "a barrier behind record %llu is settled before it", (unsigned long long)waiter->behind);
	}
	if (!failure && waiter->vouched > stream->journal->synced_sequence)
		world_fail(world, "record %llu is said to be synced, and is not", (unsigned long long)waiter->vouched);
	free(waiter);
	if (scope_live(&stream->scope) && dice_chance(&stream->dice, 5))
		append_one(stream);
}

static struct waiter *waiter_new(struct writer *stream, uint64_t sequence)
{
	struct waiter *waiter = calloc(1, sizeof *waiter);

	check(waiter);
	*waiter = (struct waiter){ .waiter.settled = settled, .stream = stream, .sequence = sequence, .behind = stream->appended };
	stream->waiting++;
	return waiter;
}

static void append_one(struct writer *stream)
{
	const uint64_t sequence = stream->appended + 1;
	static const char detail[4000] = { 0 };
	struct waiter *waiter = waiter_new(stream, sequence);
	struct entry entry = {
		.site = (unsigned)dice_below(&stream->dice, SITES),
		.by = (int64_t)dice_between(&stream->dice, 1, 5),
	};
	char site[16];
	struct record record = {
		.kind = RECORD_CHANGE, .actor = { "actor", 5 }, .by = { 0, entry.by }, .cap = -1, .cap_before = -1,
		.detail = { detail, dice_scaled(&stream->dice, 0, stream->detail_most) },
	};
	const struct reason *failure = journal_failure(stream->journal), *refusal;

	record.site = (struct record_text){ site, (size_t)snprintf(site, sizeof site, "%u", entry.site) };
	if (dice_chance(&stream->dice, 5)) {
		waiter->waiter.synced = true;
		waiter->vouched = sequence;
	}
	refusal = journal_append(stream->journal, &record, &waiter->waiter);
	if (refusal != failure)
		world_fail(&stream->all->sim->world, "the journal says that it would, and then would not");
	if (refusal) {
		stream->waiting--;
		free(waiter);
		return;
	}
	if (record.sequence != sequence)
		world_fail(&stream->all->sim->world, "record %llu was to be %llu", (unsigned long long)record.sequence, (unsigned long long)sequence);
	check(sequence < RECORDS_MAX);
	if (sequence >= stream->room) {
		stream->room = stream->room ? stream->room * 2 : 256;
		stream->entries = realloc(stream->entries, stream->room * sizeof *stream->entries);
		check(stream->entries);
	}
	memcpy(entry.chain, stream->journal->chain, sizeof entry.chain);
	stream->entries[sequence] = entry;
	stream->appended = sequence;
}

/* Whoever rests on what is settled now has it synced. */
static void sync_one(struct writer *stream)
{
	struct waiter *waiter = waiter_new(stream, 0);

	waiter->behind = waiter->vouched = stream->settled;
	journal_sync(stream->journal, &waiter->waiter);
}

static void stream_step(struct task *task)
{
	struct writer *stream = owner_of(task, struct writer, task);

	for (uint64_t n = dice_below(&stream->dice, stream->most_at_once + 1); n > 0; n--)
		append_one(stream);
	if (dice_chance(&stream->dice, 15))
		journal_barrier(stream->journal, &waiter_new(stream, 0)->waiter);
	if (dice_chance(&stream->dice, 10))
		sync_one(stream);
	if (dice_chance(&stream->dice, stream->rest_percent))
		timer_set(&stream->timer, dice_scaled(&stream->dice, 1, 400));
	else
		task_wake_later(&stream->task);
}

static bool line_next(void *user, uint64_t place[4], struct record *record)
{
	static const char *const names[SITES] = { "0", "1", "2", "3", "4", "5", "6", "7" };
	struct writer *stream = user;

	if (place[0] == SITES)
		return false;
	*record = (struct record){
		.kind = RECORD_LINE, .sequence = journal_settled(stream->journal), .site = { names[place[0]], 1 }, .changes = 1,
		.before = { 0, stream->line[place[0]] }, .cap = -1, .cap_before = -1,
	};
	place[0]++;
	return true;
}

/* ---- a life's end ---- */

static void ends(struct actor *actor)
{
	struct world_journal *w = owner_of(actor, struct world_journal, end);

	w->ended = true;
	for (unsigned i = 0; i < w->streams; i++) {
		struct writer *stream = &w->stream[i];

		stream->most = stream->appended;
		stream->snapshot = stream->journal->head.snapshot_sequence;
		stream->least = stream->mode == JOURNAL_ALWAYS || w->ending == KILLED ? stream->settled : stream->journal->synced_sequence;
	}
	if (w->ending == POWER_CUT)
		w->next = disk_after_power_cut(w->disk, &w->sim->world.dice);
	if (w->ending == KILLED)
		w->next = disk_after_kill(w->disk);
	world_trace(actor->world, "%s", w->ending == POWER_CUT ? "the power is cut" : w->ending == KILLED ? "the process is killed" : "it ends");
	actor_in(&w->room, 0);
}

/* Somebody fills the disk and somebody makes room. */
static void room_changes(struct actor *actor)
{
	struct world_journal *w = owner_of(actor, struct world_journal, room);
	struct dice *dice = &actor->world->dice;

	if (w->ended) {
		link_remove(&actor->in_world);
		return;
	}
	w->disk->room = dice_chance(dice, 50) ? UINT64_MAX : dice_below(dice, 20000);
	world_trace(actor->world, "room on the disk: %lld", (long long)w->disk->room);
	actor_in(actor, dice_scaled(dice, WORLD_MS, 3000 * WORLD_MS));
}

static bool is_over(struct sim *sim)
{
	return ((struct world_journal *)sim->scenario)->ended;
}

static bool roots_ended(struct sim *sim)
{
	for (unsigned i = 0; i < sim->cores.count; i++)
		if (!sim->ended[i])
			return false;
	return true;
}

void sim_journal_rests(struct world *world, const struct journal *journal)
{
	const bool works = !op_idle(&journal->op) || journal->again.set || journal->failure == &JOURNAL_FAILED;

	if (!scope_live(&journal->scope))
		return;
	if (journal->count > 0 && !works)
		world_fail(world, "a quiet core with work left: blocks wait, and nothing is written");
	if (!link_alone(&journal->due))
		world_fail(world, "a quiet core with work left: a barrier waits for nothing");
	if (journal->unsynced && journal->settings.mode == JOURNAL_EVERYSEC && !journal->second.set && !works)
		world_fail(world, "a quiet core with work left: nothing will sync what is written");
	if (journal->wants_sync && journal->unsynced && !works)
		world_fail(world, "a quiet core with work left: somebody waits for a sync");
	if ((journal->holds || !link_alone(&journal->syncs)) && !works)
		world_fail(world, "a quiet core with work left: what is written waits for its sync");
	if (journal->snapshot.step == SNAPSHOT_FILLS)
		world_fail(world, "a quiet core with work left: a snapshot is half full");
}

static void rests(struct world *world, unsigned core)
{
	struct world_journal *w = ((struct sim *)world->owner)->scenario;

	for (unsigned i = 0; i < w->streams; i++)
		if (i % w->sim->cores.count == core && w->stream[i].journal)
			sim_journal_rests(world, w->stream[i].journal);
}

/* ---- recovering ---- */

static bool seen(void *user, unsigned number, const struct record *record, struct recovery_fault *fault)
{
	struct world_journal *w = user;
	struct writer *stream = &w->stream[number];
	unsigned site = record->site.size > 0 ? (unsigned)(record->site.bytes[0] - '0') : 0;

	(void)fault;
	if (number >= w->streams || site >= SITES)
		world_fail(&w->sim->world, "a record of a stream or site that there never was");
	if (record->kind == RECORD_LINE) {
		stream->found[site] = record->before[COUNT_ENROLLED];
		stream->upto[site] = record->sequence;
	} else if (record->kind == RECORD_CHANGE && record->sequence > stream->upto[site]) {
		stream->found[site] += record->by[COUNT_ENROLLED];
	}
	return true;
}

static void judge(struct world_journal *w, const struct recovery *recovery)
{
	struct world *world = &w->sim->world;

	if (w->ending == IN_ORDER && !w->disk_failed && recovery->report.torn_bytes > 0)
		world_fail(world, "an end in order has left %llu bytes of a torn end", (unsigned long long)recovery->report.torn_bytes);
	for (unsigned i = 0; i < w->streams; i++) {
		const struct journal_head *head = &recovery->heads[i];
		struct writer *stream = &w->stream[i];
		int64_t sum[SITES] = { 0 };

		if (head->sequence < stream->least)
			world_fail(world, "stream %u ends with record %llu, and record %llu was safe", i, (unsigned long long)head->sequence,
			           (unsigned long long)stream->least);
		if (head->sequence > stream->most)
			world_fail(world, "stream %u ends with record %llu, and %llu were appended", i, (unsigned long long)head->sequence,
			           (unsigned long long)stream->most);
		if (head->sequence > 0 && memcmp(head->chain, stream->entries[head->sequence].chain, RECORD_CHAIN_BYTES) != 0)
			world_fail(world, "stream %u has other records than were appended", i);
		if (head->snapshot_sequence < stream->snapshot)
			world_fail(world, "stream %u has snapshot %llu, and %llu was whole", i, (unsigned long long)head->snapshot_sequence,
			           (unsigned long long)stream->snapshot);
		for (uint64_t s = 1; s <= head->sequence; s++)
			sum[stream->entries[s].site] += stream->entries[s].by;
		for (unsigned site = 0; site < SITES; site++)
			if (sum[site] != stream->found[site])
				world_fail(world, "stream %u, site %u: snapshot and journal add up to %lld, all records to %lld", i, site,
				           (long long)stream->found[site], (long long)sum[site]);
		memcpy(stream->line, sum, sizeof sum);
		stream->appended = stream->settled = stream->settled_any = head->sequence;
		world_trace(world, "stream %u ends with record %llu of %llu, safe were %llu; snapshot %llu", i, (unsigned long long)head->sequence,
		            (unsigned long long)stream->most, (unsigned long long)stream->least, (unsigned long long)head->snapshot_sequence);
	}
}

static void recover(struct world_journal *w, struct recovery *recovery)
{
	struct world *world = &w->sim->world;
	struct recovery_fault fault;
	bool good;

	world_quiet(world);
	/* A machine with descriptors to spare, and a disk that works again. */
	world->habits.descriptors_spent = 0;
	w->disk->polite = true;
	for (unsigned i = 0; i < w->streams; i++) {
		memset(w->stream[i].found, 0, sizeof w->stream[i].found);
		memset(w->stream[i].upto, 0, sizeof w->stream[i].upto);
	}
	good = recovery_run(recovery, "state", w->streams, journal_hash, seen, w, &fault);
	world_loud(world);
	if (!good)
		world_fail(world, "recovery refuses: %s", fault.sentence);
	judge(w, recovery);
}

/* ---- a life ---- */

static void stream_begins(struct world_journal *w, struct writer *stream, struct recovery *recovery)
{
	static const struct scope_kind kind = { .name = "stream" };
	struct core *core = w->sim->all[stream->number % w->sim->cores.count];
	struct dice *dice = &w->sim->world.dice;
	const struct journal_settings settings = {
		.directory = recovery->directories[stream->number],
		.stream = stream->number,
		.mode = (enum journal_mode)dice_below(dice, 3),
		.segment_bytes_max = dice_chance(dice, 50) ? dice_between(dice, 300, 5000) : dice_between(dice, 5000, 40000),
		.snapshot_bytes = dice_between(dice, 500, 12000),
		.hash = journal_hash,
	};

	recovery->directories[stream->number] = -1;
	stream->mode = settings.mode;
	stream->dice.state = dice_next(dice);
	stream->rest_percent = (unsigned)dice_between(dice, 5, 100);
	stream->most_at_once = (unsigned)dice_scaled(dice, 1, 40);
	stream->detail_most = dice_chance(dice, 50) ? 0 : (unsigned)dice_between(dice, 1, 3000);
	stream->journal = journal_open(core, &settings, &recovery->heads[stream->number]);
	if (dice_chance(dice, 80))
		journal_set_snapshot(stream->journal, line_next, stream);
	scope_open(&stream->scope, &core->root, &kind);
	task_init(&stream->task, &stream->scope, "stream", stream_step);
	timer_init(&stream->timer, &stream->scope, &stream->task);
	task_wake(&stream->task);
	world_trace(&w->sim->world, "stream %u: mode %u, segments of %llu, snapshots after %llu", stream->number, settings.mode,
	            (unsigned long long)settings.segment_bytes_max, (unsigned long long)settings.snapshot_bytes);
}

/* As the program ends: the roots, then the journals by plain calls. A process that was killed does not get there, but whoever
 * waits in this one must be settled all the same. */
static void streams_end(struct world_journal *w)
{
	struct sim *sim = w->sim;

	sim->world.sleeps = NULL;
	for (unsigned i = 0; i < sim->cores.count; i++) {
		scope_close(&sim->all[i]->root, &RING_DRAINED);
		kernel_wakes(sim->all[i]->kernel);
	}
	if (!sim_run(sim, roots_ended))
		world_fail(&sim->world, "the root scope does not end");
	for (unsigned i = 0; i < w->streams; i++) {
		struct writer *stream = &w->stream[i];
		const bool whole = !journal_failure(stream->journal) || journal_failure(stream->journal) == &JOURNAL_BEHIND;
		const uint64_t synced = stream->journal->synced_sequence;
		struct journal_head head;

		journal_close(stream->journal, NULL, 0, &head);
		stream->journal = NULL;
		if (stream->waiting > 0)
			world_fail(&sim->world, "%llu waiters are left unsettled", (unsigned long long)stream->waiting);
		if (w->ending != IN_ORDER)
			continue;
		/* With a disk that has failed nothing more is synced. */
		stream->least = stream->mode == JOURNAL_ALWAYS || !w->disk->failed ? stream->settled : synced;
		stream->most = stream->appended;
		if (head.sequence != stream->settled && (head.sequence > 0 || !w->disk->failed || synced >= stream->settled))
			world_fail(&sim->world, "the journal ends with record %llu, and %llu were settled", (unsigned long long)head.sequence,
			           (unsigned long long)stream->settled);
		/* A segment whose directory is not synced takes no record, in the end as before. */
		if (whole && !w->disk->failed && !w->disk->directory_failed && w->disk->room == UINT64_MAX && stream->settled != stream->appended &&
		    sim->world.habits.descriptors_spent == 0)
			world_fail(&sim->world, "an end in order has lost records");
	}
}

static void life(struct world_journal *w)
{
	struct sim *sim = w->sim;
	struct dice *dice = &sim->world.dice;
	const unsigned descriptors_spent = sim->world.habits.descriptors_spent;
	struct recovery recovery;

	disk_use(w->disk, &sim->world);
	recover(w, &recovery);
	sim->world.habits.descriptors_spent = descriptors_spent;
	w->disk->polite = w->disk->failed = w->disk->directory_failed = false;
	w->disk->room = UINT64_MAX;
	w->disk->indirect = dice_chance(dice, 20);
	/* Which stream's disk has failed would not be known of two. */
	w->disk->write_fails = w->streams == 1 && dice_chance(dice, 15) ? (unsigned)dice_between(dice, 1, 150) : 0;
	w->disk->sync_fails = w->streams == 1 && dice_chance(dice, 20) ? (unsigned)dice_between(dice, 1, 150) : 0;
	w->ending = dice_chance(dice, 50) ? POWER_CUT : dice_chance(dice, 50) ? KILLED : IN_ORDER;
	w->ended = false;
	world_quiet(&sim->world);
	sim_open(sim, (unsigned)dice_between(dice, 1, w->streams), 8, 64);
	sim->scenario = w;
	sim->world.sleeps = rests;
	for (unsigned i = 0; i < w->streams; i++)
		stream_begins(w, &w->stream[i], &recovery);
	actor_init(&w->end, &sim->world, ends, dice_between(dice, WORLD_MS, (dice_chance(dice, 50) ? 200 : 3000) * WORLD_MS));
	actor_init(&w->room, &sim->world, room_changes, dice_chance(dice, 40) ? dice_scaled(dice, WORLD_MS, 1000 * WORLD_MS) : ACTOR_ASLEEP / 2);
	if (!sim_run(sim, is_over))
		world_fail(&sim->world, "nothing happens any more");
	link_remove(&w->end.in_world);
	link_remove(&w->room.in_world);
	streams_end(w);
	world_loud(&sim->world);
	w->disk_failed = w->disk->failed;
	if (!w->next)
		w->next = disk_after_power_cut(w->disk, dice);
	recovery_free(&recovery);
}

static void journal_run(struct sim *sim)
{
	struct world_journal *w = calloc(1, sizeof *w);
	unsigned lives;

	check(w);
	w->sim = sim;
	w->disk = disk_new();
	w->streams = (unsigned)dice_between(&sim->world.dice, 1, STREAMS_MOST);
	for (unsigned i = 0; i < w->streams; i++) {
		w->stream[i].all = w;
		w->stream[i].number = i;
	}
	lives = (unsigned)dice_between(&sim->world.dice, 1, LIVES_MAX);
	for (unsigned i = 0; i <= lives; i++) {
		uint64_t dice_state;

		if (i < lives) {
			life(w);
		} else {
			struct recovery recovery;

			disk_use(w->disk, &sim->world);
			recover(w, &recovery);
			recovery_free(&recovery);
			sim_open(sim, 1, 8, 64);
		}
		dice_state = sim->world.dice.state;
		sim_finish(sim);
		disk_free(w->disk);
		w->disk = w->next;
		w->next = NULL;
		if (i == lives)
			break;
		sim_init(sim, sim->world.scenario, sim->world.seed, sim->world.trace);
		sim->world.dice.state = dice_state;
	}
	for (unsigned i = 0; i < w->streams; i++)
		free(w->stream[i].entries);
	free(w);
}

const struct scenario SCENARIO_JOURNAL = {
	.name = "journal",
	.sentence = "streams on a disk that tears, fills up and fails, through several lives",
	.share = 4,
	.run = journal_run,
};
