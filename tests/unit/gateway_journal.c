/* A stream on disk: real files and a real core, turned by hand. What a disk does wrong is the simulation's to show (tests/sim/journal.c). */
#include "gateway/journal/journal.c"
#include "gateway/journal/recovery.h"

#include "tests/unit/journal_files.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define TURNS_MAX 1000000u

struct waited {
	struct journal_waiter waiter;
	unsigned *order;                 /* counts all that were settled */
	unsigned place;                  /* when this one was; 0: not yet */
	const struct reason *failure;
	struct rig *appends;             /* in settled(): one more */
};

struct rig {
	struct core core, *all[1];
	struct cores list;
	struct recovery recovery;
	struct journal *journal;
	unsigned settled;
	uint64_t lines;                  /* what the snapshot tells */
	unsigned looks;                  /* how often it was asked */
	uint64_t seen, seen_snapshot, first;
	char detail[4000];
};

TestSuite(gateway_journal, .init = files_setup, .fini = files_teardown);

static bool noted(void *user, unsigned stream, const struct record *record, struct recovery_fault *fault)
{
	struct rig *r = user;

	(void)stream, (void)fault;
	if (record->kind >= RECORD_LINE)
		r->seen_snapshot++;
	else if (r->seen++ == 0)
		r->first = record->sequence;
	return true;
}

static void rig_open(struct rig *r, enum journal_mode mode, uint64_t segment_bytes_max, uint64_t snapshot_bytes)
{
	const struct core_options options = { .cores = &r->list, .buffer_count = 8, .chunks_max = 64 };
	struct recovery_fault why;
	struct kernel_fault fault;
	struct journal_settings settings = {
		.mode = mode, .segment_bytes_max = segment_bytes_max, .snapshot_bytes = snapshot_bytes, .hash = journal_hash,
	};

	memset(r, 0, sizeof *r);
	memset(r->detail, 'd', sizeof r->detail);
	r->all[0] = &r->core;
	r->list = (struct cores){ .count = 1, .all = r->all };
	cr_assert(recovery_run(&r->recovery, state, 1, journal_hash, noted, r, &why), "%s", why.sentence);
	cr_assert(core_open(&r->core, &options, &fault), "%s", fault.sentence);
	settings.directory = r->recovery.directories[0];
	r->recovery.directories[0] = -1;
	r->journal = journal_open(&r->core, &settings, &r->recovery.heads[0]);
}

static void rig_close(struct rig *r, struct record *last, struct journal_head *head)
{
	scope_close(&r->core.root, &RING_DONE);
	core_run(&r->core);
	journal_close(r->journal, last, last ? 1 : 0, head);
	core_close(&r->core);
	recovery_free(&r->recovery);
}

static void noted_settled(struct journal_waiter *waiter, const struct reason *failure);

static const struct reason *appended(struct rig *r, struct waited *waited, size_t detail_bytes)
{
	struct record record = { .kind = RECORD_CHANGE, .site = { "site-1", 6 }, .actor = { "tester", 6 }, .by = { 0, 1 },
		.detail = { r->detail, detail_bytes }, .cap = -1, .cap_before = -1 };

	if (waited)
		*waited = (struct waited){ .waiter.settled = noted_settled, .order = &r->settled };
	return journal_append(r->journal, &record, waited ? &waited->waiter : NULL);
}

static void noted_settled(struct journal_waiter *waiter, const struct reason *failure)
{
	struct waited *waited = owner_of(waiter, struct waited, waiter);

	cr_assert_eq(waited->place, 0, "it is settled twice");
	waited->place = ++*waited->order;
	waited->failure = failure;
	if (waited->appends)
		appended(waited->appends, NULL, 0);
}

static void settle_all(struct rig *r, unsigned count)
{
	for (unsigned turns = 0; r->settled < count; turns++) {
		cr_assert(turns < TURNS_MAX, "it is never settled");
		core_turn(&r->core, false);
	}
}

/* What another start finds. */
static void found(struct rig *r, struct recovery *recovery)
{
	struct recovery_fault why;

	r->seen = r->seen_snapshot = r->first = 0;
	cr_assert(recovery_run(recovery, state, 1, journal_hash, noted, r, &why), "%s", why.sentence);
}

/* ---- in order ---- */

Test(gateway_journal, what_was_settled_is_found_and_all_of_one_turn_is_one_commit)
{
	struct journal_head head;
	struct recovery recovery;
	struct waited w[64];
	struct rig r;

	rig_open(&r, JOURNAL_ALWAYS, 1 << 20, 1 << 30);
	for (unsigned i = 0; i < 64; i++)
		cr_assert_null(appended(&r, &w[i], 0));
	cr_assert_eq(journal_appended(r.journal), 64);
	cr_assert_eq(journal_settled(r.journal), 0);
	settle_all(&r, 64);
	for (unsigned i = 0; i < 64; i++) {
		cr_assert_eq(w[i].place, i + 1);
		cr_assert_null(w[i].failure);
	}
	cr_assert_eq(journal_settled(r.journal), 64);
	const struct journal_statistics *statistics = journal_statistics(r.journal);
	cr_assert_eq(statistics->commits, 1);
	cr_assert_eq(statistics->syncs, 1);
	cr_assert_eq(statistics->segments, 1);
	cr_assert_eq(statistics->records, 64);
	rig_close(&r, NULL, &head);
	found(&r, &recovery);
	cr_assert_eq(r.seen, 64);
	cr_assert_arr_eq(recovery.heads[0].chain, head.chain, RECORD_CHAIN_BYTES);
	cr_assert_eq(recovery.heads[0].block, head.block);
	cr_assert_eq(recovery.heads[0].segment_bytes, head.segment_bytes);
	cr_assert_eq(recovery.heads[0].stamp_ns, head.stamp_ns);
	recovery_free(&recovery);
}

Test(gateway_journal, what_comes_while_a_commit_is_under_way_goes_into_the_next)
{
	struct waited w[9], barrier = { .waiter.settled = noted_settled };
	struct rig r;

	rig_open(&r, JOURNAL_ALWAYS, 1 << 20, 1 << 30);
	cr_assert_null(appended(&r, &w[0], 0));
	while (r.journal->step != WRITING)
		core_turn(&r.core, false);
	for (unsigned i = 1; i < 9; i++)
		cr_assert_null(appended(&r, &w[i], 0));
	barrier.order = &r.settled;
	journal_barrier(r.journal, &barrier.waiter);
	settle_all(&r, 10);
	cr_assert_eq(barrier.place, 10);
	const struct journal_statistics *statistics = journal_statistics(r.journal);
	cr_assert_eq(statistics->commits, 2);
	rig_close(&r, NULL, NULL);
}

Test(gateway_journal, a_barrier_before_anything_is_settled_in_the_same_turn)
{
	struct waited barrier = { .waiter.settled = noted_settled };
	struct rig r;

	rig_open(&r, JOURNAL_ALWAYS, 1 << 20, 1 << 30);
	barrier.order = &r.settled;
	journal_barrier(r.journal, &barrier.waiter);
	cr_assert_eq(barrier.place, 0, "never inside the call");
	core_turn(&r.core, false);
	cr_assert_eq(barrier.place, 1);
	rig_close(&r, NULL, NULL);
}

Test(gateway_journal, the_weaker_modes_settle_what_is_written_and_everysec_syncs_within_two_seconds)
{
	for (enum journal_mode mode = JOURNAL_EVERYSEC; mode <= JOURNAL_MEMORY; mode++) {
		uint8_t bytes[4096];
		struct waited w;
		struct rig r;
		uint64_t began_ms, synced = 0;
		char name[256];
		FILE *file;

		rig_open(&r, mode, 1 << 20, 1 << 30);
		cr_assert_null(appended(&r, &w, 0));
		settle_all(&r, 1);
		cr_assert_eq(journal_settled(r.journal), 1);
		/* Any other process sees it already. */
		file_path(name, 0, "00000000000000000001.journal");
		file = fopen(name, "r");
		cr_assert_geq(fread(bytes, 1, sizeof bytes, file), SEGMENT_HEADER_BYTES + BLOCK_HEADER_BYTES);
		fclose(file);
		began_ms = r.core.now_ms;
		while (r.core.now_ms - began_ms < 1500 && !synced) {

			usleep(1000);
			core_turn(&r.core, false);
			synced = journal_statistics(r.journal)->syncs;
		}
		cr_assert_eq(synced, mode == JOURNAL_EVERYSEC);
		rig_close(&r, NULL, NULL);
		files_teardown();
		files_setup();
	}
}

/* Of the block of what is to be synced nothing is settled before it is, not even what stands before it there. */
Test(gateway_journal, what_others_will_rest_on_is_settled_when_synced_in_every_mode_and_nothing_behind_it_before_it)
{
	for (enum journal_mode mode = JOURNAL_EVERYSEC; mode <= JOURNAL_MEMORY; mode++) {
		struct waited first, before, rested_on, behind, next_block, sync = { .waiter.settled = noted_settled };
		const struct record record = { .kind = RECORD_RULES, .cap = 7, .cap_before = -1 };
		struct record rules = record;
		struct rig r;

		rig_open(&r, mode, 1 << 20, 1 << 30);
		sync.order = &r.settled;
		cr_assert_null(appended(&r, &first, 0));
		settle_all(&r, 1);
		cr_assert_eq(journal_statistics(r.journal)->syncs, 0);
		rested_on = (struct waited){ .waiter = { .settled = noted_settled, .synced = true }, .order = &r.settled };
		cr_assert_null(appended(&r, &before, 0));
		cr_assert_null(journal_append(r.journal, &rules, &rested_on.waiter));
		cr_assert_null(appended(&r, &behind, 0));
		while (r.journal->step != WRITING)
			core_turn(&r.core, false);
		cr_assert_null(appended(&r, &next_block, 0));
		while (r.settled == 1) {
			cr_assert_lt(r.journal->synced_sequence, 4);
			core_turn(&r.core, false);
		}
		cr_assert_eq(r.journal->synced_sequence, 4);
		settle_all(&r, 5);
		cr_assert_eq(before.place, 2);
		cr_assert_eq(rested_on.place, 3);
		cr_assert_eq(behind.place, 4);
		cr_assert_eq(next_block.place, 5);
		cr_assert_eq(journal_statistics(r.journal)->syncs, 1, "what comes behind asks for none");
		/* What is settled and not synced is, for who asks. */
		journal_sync(r.journal, &sync.waiter);
		settle_all(&r, 6);
		cr_assert_null(sync.failure);
		cr_assert_eq(r.journal->synced_sequence, 5);
		/* Nothing waits for nothing. */
		sync.place = 0;
		journal_sync(r.journal, &sync.waiter);
		cr_assert_eq(sync.place, 0, "never inside the call");
		core_turn(&r.core, false);
		cr_assert_eq(sync.place, 7);
		cr_assert_eq(journal_statistics(r.journal)->syncs, 2);
		rig_close(&r, NULL, NULL);
		files_teardown();
		files_setup();
	}
}

Test(gateway_journal, what_waits_for_a_sync_at_the_end_is_settled_by_it)
{
	for (unsigned turns = 0; turns < 12; turns++) {
		struct waited before, rested_on, sync = { .waiter.settled = noted_settled };
		struct record record = { .kind = RECORD_RULES, .cap = 7, .cap_before = -1 };
		struct journal_head head;
		struct rig r;

		rig_open(&r, JOURNAL_MEMORY, 1 << 20, 1 << 30);
		sync.order = &r.settled;
		cr_assert_null(appended(&r, &before, 0));
		settle_all(&r, 1);
		rested_on = (struct waited){ .waiter = { .settled = noted_settled, .synced = true }, .order = &r.settled };
		cr_assert_null(journal_append(r.journal, &record, &rested_on.waiter));
		journal_sync(r.journal, &sync.waiter);
		for (unsigned i = 0; i < turns; i++)
			core_turn(&r.core, false);
		rig_close(&r, NULL, &head);
		cr_assert(rested_on.place > 0 && !rested_on.failure && sync.place > 0 && !sync.failure, "after %u turns", turns);
		cr_assert_eq(head.sequence, 2);
		files_teardown();
		files_setup();
	}
}

struct unceasing {
	struct journal_waiter waiter;
	struct rig *rig;
	bool ends;
};

/* Settled, it is the next one already: there is no moment in which nothing waits to be written. */
static void appends_again(struct journal_waiter *waiter, const struct reason *failure)
{
	struct unceasing *unceasing = owner_of(waiter, struct unceasing, waiter);
	struct record record = { .kind = RECORD_CHANGE, .site = { "site-1", 6 }, .by = { 0, 1 }, .cap = -1, .cap_before = -1 };

	cr_assert_null(failure);
	if (!unceasing->ends)
		cr_assert_null(journal_append(unceasing->rig->journal, &record, waiter));
}

Test(gateway_journal, everysec_syncs_each_second_where_records_never_cease)
{
	struct unceasing unceasing = { .waiter.settled = appends_again };
	uint64_t until_ns, commits;
	struct rig r;

	rig_open(&r, JOURNAL_EVERYSEC, 1 << 30, 1 << 30);
	unceasing.rig = &r;
	appends_again(&unceasing.waiter, NULL);
	until_ns = kernel_now_ns(NULL) + 3500000000;
	while (kernel_now_ns(NULL) < until_ns)
		core_turn(&r.core, false);
	commits = journal_statistics(r.journal)->commits;
	cr_assert_gt(commits, 10);
	/* One a second, and not one for each commit. */
	cr_assert_geq(journal_statistics(r.journal)->syncs, 2, "%llu commits, %llu syncs", (unsigned long long)commits,
		(unsigned long long)journal_statistics(r.journal)->syncs);
	cr_assert_leq(journal_statistics(r.journal)->syncs, 4);
	unceasing.ends = true;
	rig_close(&r, NULL, NULL);
}

Test(gateway_journal, a_waiter_may_append_and_stamps_always_rise)
{
	struct recovery recovery;
	struct waited w;
	struct rig r;
	uint64_t far_ns = kernel_wall_ns(NULL) + 86400000000000u;

	rig_open(&r, JOURNAL_ALWAYS, 1 << 20, 1 << 30);
	cr_assert_null(appended(&r, &w, 0));
	w.appends = &r;
	journal_saw(r.journal, far_ns);
	cr_assert_eq(journal_now_ns(r.journal), far_ns + 1, "what was known elsewhere is older than what comes now");
	settle_all(&r, 1);
	cr_assert_eq(journal_appended(r.journal), 2);
	rig_close(&r, NULL, NULL);
	found(&r, &recovery);
	cr_assert_eq(r.seen, 2);
	cr_assert_eq(recovery.heads[0].stamp_ns, far_ns + 1);
	recovery_free(&recovery);
}

/* ---- bounds ---- */

Test(gateway_journal, a_full_segment_is_followed_by_the_next)
{
	struct recovery recovery;
	char name[256];
	struct rig r;

	rig_open(&r, JOURNAL_ALWAYS, 20000, 1 << 30);
	for (unsigned i = 0; i < 20; i++) {
		struct waited w;

		cr_assert_null(appended(&r, &w, 3000));
		settle_all(&r, i + 1);
	}
	rig_close(&r, NULL, NULL);
	cr_assert_eq(files_with(0, ".journal", name), 4);
	found(&r, &recovery);
	cr_assert_eq(r.seen, 20);
	cr_assert_eq(recovery.heads[0].segment_first, 19);
	recovery_free(&recovery);
}

static uint64_t file_bytes(const char *name)
{
	struct stat status;
	char path[256];

	file_path(path, 0, name);
	cr_assert_eq(stat(path, &status), 0);
	return (uint64_t)status.st_size;
}

/* What a killed process leaves: zeros that the next blocks would have been written over. */
static void killed_here(const char *name, uint64_t bytes)
{
	char path[256];

	file_path(path, 0, name);
	cr_assert_eq(truncate(path, (off_t)bytes), 0);
}

Test(gateway_journal, whole_pages_are_written_over_zeros_and_the_next_start_goes_on_within_a_page)
{
	static const size_t sizes[] = { 0, 3000, 1, 4000, 7, 2500 };
	struct recovery recovery;
	struct journal_head head = { 0 };
	uint64_t records = 0;
	char name[256];
	struct rig r;

	for (unsigned life = 0; life < 12; life++) {
		rig_open(&r, JOURNAL_ALWAYS, 1 << 18, 1 << 30);
		cr_assert_eq(r.seen, records);
		for (unsigned i = 0; i < 8; i++) {
			struct waited w;

			cr_assert_null(appended(&r, &w, sizes[(life + i) % array_count(sizes)]));
			settle_all(&r, i + 1);
			cr_assert_null(w.failure);
			records++;
		}
		cr_assert_eq(files_with(0, ".journal", name), 1);
		cr_assert_eq(file_bytes(name), 1 << 18, "the segment is not zeroed ahead");
		cr_assert_eq(journal_statistics(r.journal)->syncs, 8, "one write, synced, for each");
		rig_close(&r, NULL, &head);
		cr_assert_eq(file_bytes(name), head.segment_bytes, "zeros are left behind the last block");
		if (life % 3 == 1)
			killed_here(name, 1 << 18);
		if (life % 3 == 2)
			killed_here(name, page_end(head.segment_bytes) + DISK_PAGE_BYTES);
	}
	found(&r, &recovery);
	cr_assert_eq(r.seen, records);
	cr_assert_eq(recovery.report.torn_bytes, 0, "zeros are taken for the torn end of a write");
	cr_assert_arr_eq(recovery.heads[0].chain, head.chain, RECORD_CHAIN_BYTES);
	recovery_free(&recovery);
}

Test(gateway_journal, where_there_is_less_room_than_is_wanted_ahead_every_page_of_it_is_used)
{
	const struct rlimit limit = { 300000, 300000 };
	struct recovery recovery;
	unsigned count = 0;
	struct rig r;

	signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	rig_open(&r, JOURNAL_ALWAYS, 1 << 20, 1 << 30);
	for (;;) {
		struct waited w;

		if (appended(&r, &w, 3000))
			break;
		settle_all(&r, ++count);
		if (w.failure)
			break;
	}
	/* 3.1 KB each: all that fits but for the last page. */
	cr_assert_geq(count, 94);
	cr_assert_leq(count, 97);
	rig_close(&r, NULL, NULL);
	found(&r, &recovery);
	cr_assert_eq(r.seen, count - 1);
	recovery_free(&recovery);
}

Test(gateway_journal, a_block_of_a_megabyte_has_its_zeros_written_first)
{
	struct recovery recovery;
	struct waited w[512];
	struct rig r;

	rig_open(&r, JOURNAL_ALWAYS, 4096, 1 << 30);
	for (unsigned i = 0; i < array_count(w); i++)
		cr_assert_null(appended(&r, &w[i], 4000));
	settle_all(&r, array_count(w));
	rig_close(&r, NULL, NULL);
	found(&r, &recovery);
	cr_assert_eq(r.seen, array_count(w));
	recovery_free(&recovery);
}

Test(gateway_journal, what_is_flushed_before_the_first_turn_is_on_the_disk_and_the_ring_goes_on_behind_it)
{
	for (unsigned mode = JOURNAL_ALWAYS; mode <= JOURNAL_MEMORY; mode++) {
		struct waited *w = calloc(6000, sizeof *w);
		struct recovery recovery;
		struct rig r;
		unsigned n = 0;

		cr_assert(w);
		for (unsigned round = 0; round < 2; round++) {
			const uint64_t before = round * n;

			rig_open(&r, mode, 3u << 20, UINT64_MAX);
			cr_assert_null(journal_flush(r.journal), "there is nothing to write");
			/* Several segments, and as much as may wait; then a little, so that the end lies within a page. */
			for (n = 0; !appended(&r, &w[n], 3000); n++)
				cr_assert_lt(n, 5000u);
			cr_assert_eq(journal_failure(r.journal), &JOURNAL_BEHIND);
			cr_assert_null(journal_flush(r.journal));
			cr_assert_eq(r.settled, n, "without a turn");
			cr_assert_eq(journal_settled(r.journal), before + n);
			for (unsigned i = 0; i < 3; i++, n++)
				cr_assert_null(appended(&r, &w[n], i));
			cr_assert_null(journal_flush(r.journal));
			cr_assert_eq(r.settled, n);
			for (unsigned i = 0; i < 3; i++, n++)
				cr_assert_null(appended(&r, &w[n], 100 * i));
			settle_all(&r, n);
			for (unsigned i = 0; i < n; i++)
				cr_assert(w[i].place == i + 1 && !w[i].failure);
			rig_close(&r, NULL, NULL);
			found(&r, &recovery);
			cr_assert_eq(recovery.heads[0].sequence, before + n);
			cr_assert_eq(r.seen, before + n);
			recovery_free(&recovery);
		}
		free(w);
		files_teardown();
		files_setup();
	}
}

Test(gateway_journal, too_much_that_waits_is_refused_and_what_was_taken_is_settled)
{
	unsigned taken = 0;
	struct rig r;

	rig_open(&r, JOURNAL_ALWAYS, 64 << 20, 1 << 30);
	while (!journal_failure(r.journal)) {
		cr_assert_null(appended(&r, NULL, 4000));
		taken++;
	}
	cr_assert_eq(appended(&r, NULL, 0), &JOURNAL_BEHIND);
	cr_assert_gt((uint64_t)taken * 4100, JOURNAL_WAITING_BYTES_MAX - 2 * RECORD_BYTES_MAX);
	cr_assert_leq(r.journal->waiting_bytes, JOURNAL_WAITING_BYTES_MAX);
	while (journal_settled(r.journal) < taken)
		core_turn(&r.core, false);
	cr_assert_null(journal_failure(r.journal));
	const struct journal_statistics *statistics = journal_statistics(r.journal);
	cr_assert_geq(statistics->commits, 8);
	rig_close(&r, NULL, NULL);
}

/* ---- the end ---- */

Test(gateway_journal, closing_settles_and_syncs_whatever_step_it_stood_in_and_writes_the_last_word)
{
	/* From before the first turn to after the last. */
	for (unsigned turns = 0; turns < 40; turns++) {
		for (enum journal_mode mode = JOURNAL_ALWAYS; mode <= JOURNAL_MEMORY; mode++) {
			struct record last = { .kind = RECORD_STOP, .actor = { "postern", 7 }, .cap = -1, .cap_before = -1 };
			struct waited w[3], barrier = { .waiter.settled = noted_settled };
			struct recovery recovery;
			struct journal_head head;
			struct rig r;

			rig_open(&r, mode, 1000, 1 << 30);
			barrier.order = &r.settled;
			for (unsigned i = 0; i < 3; i++) {
				cr_assert_null(appended(&r, &w[i], 900));
				for (unsigned k = 0; k < turns / 3; k++) {
					if (turns % 3 == 0)
						usleep(200);
					core_turn(&r.core, false);
				}
			}
			journal_barrier(r.journal, &barrier.waiter);
			w[2].appends = w[2].place ? NULL : &r;
			rig_close(&r, &last, &head);
			for (unsigned i = 0; i < 3; i++)
				cr_assert(w[i].place == i + 1 && !w[i].failure);
			cr_assert_eq(barrier.place, 4);
			found(&r, &recovery);
			cr_assert_eq(r.seen, head.sequence);
			cr_assert_eq(recovery.heads[0].sequence, head.sequence);
			cr_assert_arr_eq(recovery.heads[0].chain, head.chain, RECORD_CHAIN_BYTES);
			cr_assert_eq(recovery.report.torn_bytes, 0);
			recovery_free(&recovery);
			files_teardown();
			files_setup();
		}
	}
}

Test(gateway_journal, one_whose_segment_cannot_be_opened_refuses_and_settles_all_badly)
{
	struct waited barrier = { .waiter.settled = noted_settled };
	struct record last = { .kind = RECORD_STOP, .cap = -1, .cap_before = -1 };
	struct journal_settings settings;
	char path[256];
	struct rig r;

	rig_open(&r, JOURNAL_ALWAYS, 1 << 20, 1 << 30);
	cr_assert_null(appended(&r, NULL, 0));
	rig_close(&r, NULL, NULL);
	rig_open(&r, JOURNAL_ALWAYS, 1 << 20, 1 << 30);
	file_path(path, 0, "00000000000000000001.journal");
	cr_assert_eq(unlink(path), 0);
	settings = r.journal->settings;
	settings.directory = dup(settings.directory);
	scope_close(&r.journal->scope, &RING_DONE);
	core_turn(&r.core, false);
	journal_close(r.journal, NULL, 0, NULL);
	cr_redirect_stderr();
	r.journal = journal_open(&r.core, &settings, &r.recovery.heads[0]);
	cr_assert_eq(journal_failure(r.journal), &JOURNAL_FAILED);
	cr_assert_eq(appended(&r, NULL, 0), &JOURNAL_FAILED);
	barrier.order = &r.settled;
	journal_barrier(r.journal, &barrier.waiter);
	settle_all(&r, 1);
	cr_assert_eq(barrier.failure, &JOURNAL_FAILED);
	rig_close(&r, &last, NULL);
}

/* ---- snapshots ---- */

static bool snapshot_line(void *user, uint64_t place[4], struct record *record)
{
	struct rig *r = user;

	if (place[0] >= r->lines)
		return false;
	place[0]++;
	*record = (struct record){ .kind = RECORD_LINE, .sequence = journal_settled(r->journal), .site = { "site-1", 6 },
		.before = { 0, (int64_t)place[0] }, .changes = 1, .cap = -1, .cap_before = -1 };
	return true;
}

Test(gateway_journal, a_snapshot_is_taken_while_serving_and_the_next_start_reads_from_there)
{
	for (enum journal_mode mode = JOURNAL_ALWAYS; mode <= JOURNAL_MEMORY; mode++) {
		struct recovery recovery;
		char name[256];
		struct rig r;

		rig_open(&r, mode, 1 << 20, 100000);
		r.lines = 5000;                          /* several blocks, and several turns */
		journal_set_snapshot(r.journal, snapshot_line, &r);
		do {
			if (!journal_failure(r.journal))
				cr_assert_null(appended(&r, NULL, 500));
			core_turn(&r.core, false);
		} while (journal_statistics(r.journal)->snapshots < 3);
		rig_close(&r, NULL, NULL);
		/* Two; and a fourth may have got its name before the end came. */
		cr_assert(files_with(0, ".snapshot", name) == 2 || files_with(0, ".snapshot", name) == 3);
		cr_assert_eq(files_with(0, ".snapshot.new", name), 0);
		found(&r, &recovery);
		cr_assert_eq(r.seen_snapshot, 5001);
		cr_assert_eq(r.first, recovery.heads[0].snapshot_sequence + 1);
		cr_assert_eq(recovery.heads[0].sequence, r.first + r.seen - 1);
		recovery_free(&recovery);
		files_teardown();
		files_setup();
	}
}

static bool snapshot_seldom(void *user, uint64_t place[4], struct record *record)
{
	struct rig *r = user;

	r->looks++;
	if (r->looks % 1000 == 0)
		return snapshot_line(user, place, record);
	return place[0] < r->lines;
}

Test(gateway_journal, a_slice_of_a_snapshot_looks_no_further_where_it_finds_nothing)
{
	struct recovery recovery;
	unsigned most = 0;
	struct rig r;

	rig_open(&r, JOURNAL_ALWAYS, 1 << 20, 1000);
	r.lines = 20;
	journal_set_snapshot(r.journal, snapshot_seldom, &r);
	for (unsigned i = 0; i < 4; i++)
		cr_assert_null(appended(&r, NULL, 500));
	while (journal_statistics(r.journal)->snapshots < 1) {
		const unsigned before = r.looks;

		core_turn(&r.core, false);
		if (r.looks - before > most)
			most = r.looks - before;
	}
	cr_assert_gt(r.looks, 19000);
	cr_assert_leq(most, SNAPSHOT_SLICE_RECORDS);
	rig_close(&r, NULL, NULL);
	found(&r, &recovery);
	cr_assert_eq(r.seen_snapshot, 21);
	recovery_free(&recovery);
}

/* One snapshot, or two where a disk is slow, and the end. */
static void life_with_a_snapshot(struct rig *r)
{
	rig_open(r, JOURNAL_ALWAYS, 1 << 20, 10000);
	r->lines = 1;
	journal_set_snapshot(r->journal, snapshot_line, r);
	do {
		if (!journal_failure(r->journal) && journal_statistics(r->journal)->snapshots < 1)
			cr_assert_null(appended(r, NULL, 500));
		core_turn(&r->core, false);
	} while (journal_statistics(r->journal)->snapshots < 1 || r->journal->snapshot.step != SNAPSHOT_RESTS);
	rig_close(r, NULL, NULL);
}

Test(gateway_journal, over_restarts_no_more_than_two_snapshots_stay)
{
	char name[256];
	struct rig r;

	for (unsigned lives = 1; lives <= 5; lives++) {
		life_with_a_snapshot(&r);
		cr_assert_leq(files_with(0, ".snapshot", name), 2, "after %u lives", lives);
		cr_assert_geq(files_with(0, ".snapshot", name), 1);
	}
}

Test(gateway_journal, the_last_words_are_all_written_in_one_block)
{
	struct record last[3] = { { .kind = RECORD_STOP, .detail = { "heads 1:1:ab", 12 } }, { .kind = RECORD_STOP, .detail = { "heads 2:1:cd", 12 } },
		{ .kind = RECORD_STOP } };
	struct journal_head head;
	struct rig r;

	rig_open(&r, JOURNAL_ALWAYS, 1 << 20, 1 << 20);
	cr_assert_null(appended(&r, NULL, 0));
	scope_close(&r.core.root, &RING_DONE);
	core_run(&r.core);
	journal_close(r.journal, last, 3, &head);
	core_close(&r.core);
	recovery_free(&r.recovery);
	cr_assert_eq(head.sequence, 4);
	cr_assert_eq(head.block, 2);
	for (unsigned i = 0; i < 3; i++)
		cr_assert_eq(last[i].sequence, 2 + i);
}

/* ---- the chain ---- */

Test(gateway_journal, the_chain_is_made_with_sha_256)
{
	/* FIPS 180-4's own example, "abc", and nothing at all. */
	static const uint8_t abc[4] = { 0xba, 0x78, 0x16, 0xbf }, nothing[4] = { 0xe3, 0xb0, 0xc4, 0x42 };
	uint8_t out[RECORD_CHAIN_BYTES];

	journal_hash(out, (const uint8_t *)"a", 1, (const uint8_t *)"bc", 2);
	cr_assert_arr_eq(out, abc, sizeof abc);
	cr_assert_eq(out[31], 0xad);
	journal_hash(out, NULL, 0, NULL, 0);
	cr_assert_arr_eq(out, nothing, sizeof nothing);
}
