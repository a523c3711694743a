/* What is on the disk when the gateway starts: real files, damaged in every way that has a name. */
#include "gateway/journal/recovery.c"

#include "tests/unit/journal_files.h"

TestSuite(gateway_recovery, .init = files_setup, .fini = files_teardown);

#define FILE_BYTES_MAX (1u << 20)
#define FIRST_STAMP 1700000000000000000u

/* ---- files, and a stream written by hand, block by block ---- */

static void file_write(unsigned stream, const char *name, const void *bytes, size_t n)
{
	char path[256];
	FILE *file;

	mkdir(state, 0700);
	snprintf(path, sizeof path, "%s/journal", state);
	mkdir(path, 0700);
	snprintf(path, sizeof path, "%s/journal/%02u", state, stream);
	mkdir(path, 0700);
	file_path(path, stream, name);
	file = fopen(path, "w");
	cr_assert_not_null(file);
	cr_assert_eq(fwrite(bytes, 1, n, file), n);
	fclose(file);
}

/* -1: there is none. */
static long file_read(unsigned stream, const char *name, uint8_t *bytes)
{
	char path[256];
	FILE *file;
	size_t n;

	file_path(path, stream, name);
	file = fopen(path, "r");
	if (!file)
		return -1;
	n = fread(bytes, 1, FILE_BYTES_MAX, file);
	fclose(file);
	return (long)n;
}

static bool file_there(unsigned stream, const char *name)
{
	struct stat status;
	char path[256];

	file_path(path, stream, name);
	return lstat(path, &status) == 0;
}

struct made {
	unsigned stream;
	uint64_t sequence, stamp_ns, number;
	uint8_t chain[RECORD_CHAIN_BYTES];
	char name[32];
	uint8_t bytes[FILE_BYTES_MAX];   /* of the file in hand */
	size_t n, last;                  /* last: where its last block begins */
};

static void made_begin(struct made *m, unsigned stream)
{
	memset(m, 0, sizeof *m);
	m->stream = stream;
	m->stamp_ns = FIRST_STAMP;
}

static void made_save(const struct made *m)
{
	file_write(m->stream, m->name, m->bytes, m->n);
}

static void made_segment(struct made *m)
{
	struct segment segment = { .stream = m->stream, .first_sequence = m->sequence + 1, .first_block = m->number + 1, .created_ns = 1 };

	memcpy(segment.chain, m->chain, sizeof segment.chain);
	segment_write(m->bytes, &segment);
	m->n = m->last = SEGMENT_HEADER_BYTES;
	snprintf(m->name, sizeof m->name, "%020llu.journal", (unsigned long long)m->sequence + 1);
	made_save(m);
}

static void made_block_of(struct made *m, unsigned records, struct record *given, uint64_t number)
{
	uint8_t *at = m->bytes + m->n + BLOCK_HEADER_BYTES;
	const uint64_t first = m->sequence + 1;
	size_t n = 0;

	for (unsigned i = 0; i < records; i++) {
		struct record record = { .kind = RECORD_CHANGE, .site = { "site-1", 6 }, .actor = { "tester", 6 }, .by = { 0, 1 }, .cap = -1, .cap_before = -1 };

		if (given)
			record = *given;
		record.sequence = ++m->sequence;
		record.stamp_ns = m->stamp_ns += 10;
		n += record_write(at + n, FILE_BYTES_MAX - m->n, &record, m->chain, journal_hash);
	}
	m->last = m->n;
	m->number = number;
	m->n += block_finish(m->bytes + m->n, n, number, first, records);
	made_save(m);
}

static void made_block(struct made *m, unsigned records)
{
	made_block_of(m, records, NULL, m->number + 1);
}

static void made_words(struct made *m, enum record_kind kind, const char *detail)
{
	struct record record = { .kind = kind, .actor = { "postern", 7 }, .detail = { detail, strlen(detail) }, .cap = -1, .cap_before = -1 };

	made_block_of(m, 1, &record, m->number + 1);
}

/* A snapshot of the stream as it stands, with so many lines in it. Its bytes are left in `to`. */
static size_t made_snapshot(const struct made *m, unsigned lines, const char *kind, uint8_t *to)
{
	struct segment segment = { .snapshot = true, .stream = m->stream, .first_sequence = m->sequence, .first_block = 1, .created_ns = 1 };
	uint8_t chain[RECORD_CHAIN_BYTES] = { 0 };
	size_t at = SEGMENT_HEADER_BYTES, n = 0;
	char name[40];

	segment_write(to, &segment);
	for (unsigned i = 0; i <= lines; i++) {
		struct record record = { .kind = RECORD_LINE, .sequence = m->sequence, .stamp_ns = m->stamp_ns, .site = { "site-1", 6 },
			.before = { 0, (int64_t)m->sequence }, .changes = (int64_t)m->sequence, .cap = -1, .cap_before = -1 };

		if (i == lines)
			record = (struct record){ .kind = RECORD_END, .sequence = m->sequence, .stamp_ns = m->stamp_ns + 1000,
				.cap = (int64_t)m->sequence + 1, .cap_before = -1, .detail = { (const char *)m->chain, RECORD_CHAIN_BYTES } };
		n += record_write(to + at + BLOCK_HEADER_BYTES + n, RECORD_BYTES_MAX, &record, chain, journal_hash);
	}
	at += block_finish(to + at, n, 1, m->sequence, lines + 1);
	snprintf(name, sizeof name, "%020llu.%s", (unsigned long long)m->sequence, kind);
	file_write(m->stream, name, to, at);
	return at;
}

/* ---- what was seen ---- */

struct seen {
	uint64_t journal, snapshot;      /* records */
	uint64_t first, last;            /* of the journal's */
	bool refuses;
};

static bool noted(void *user, unsigned stream, const struct record *record, struct recovery_fault *fault)
{
	struct seen *seen = user;

	(void)stream;
	if (seen->refuses) {
		snprintf(fault->sentence, sizeof fault->sentence, "it does not add up");
		return false;
	}
	if (record->kind >= RECORD_LINE) {
		seen->snapshot++;
		return true;
	}
	if (seen->journal++ == 0)
		seen->first = record->sequence;
	seen->last = record->sequence;
	return true;
}

static struct recovery recovery;
static struct recovery_fault fault;
static struct seen seen;

static bool recovered(unsigned cores)
{
	memset(&seen, 0, sizeof seen);
	return recovery_run(&recovery, state, cores, journal_hash, noted, &seen, &fault);
}

static void good(unsigned cores)
{
	cr_assert(recovered(cores), "%s", fault.sentence);
}

/* Refused in these words, and not a byte is another than before. */
static void refused(unsigned cores, const char *a, const char *b)
{
	char before[1024], after[1024], command[256];
	FILE *sums;

	snprintf(command, sizeof command, "cd '%s' && find . -type f -not -name lock | sort | xargs cksum; find . | grep -v lock | sort", state);
	sums = popen(command, "r");
	before[fread(before, 1, sizeof before - 1, sums)] = 0;
	pclose(sums);
	cr_assert_not(recovered(cores), "it is not refused");
	cr_assert_not_null(strstr(fault.sentence, a), "\"%s\" is not in: %s", a, fault.sentence);
	cr_assert_not_null(strstr(fault.sentence, b), "\"%s\" is not in: %s", b, fault.sentence);
	sums = popen(command, "r");
	after[fread(after, 1, sizeof after - 1, sums)] = 0;
	pclose(sums);
	cr_assert_str_eq(before, after);
	cr_assert_eq(recovery.lock, -1);
}

/* Standard error goes nowhere for a while: hundreds of torn ends have hundreds of lines. */
static int quiet(void)
{
	int kept = dup(STDERR_FILENO), nowhere = open("/dev/null", O_WRONLY);

	dup2(nowhere, STDERR_FILENO);
	close(nowhere);
	return kept;
}

static void loud(int kept)
{
	dup2(kept, STDERR_FILENO);
	close(kept);
}

static void clear(void)
{
	files_teardown();
	files_setup();
}

/* ---- whole journals ---- */

Test(gateway_recovery, where_nothing_is_everything_is_made_for_its_owner_alone)
{
	struct stat status;
	char path[256];

	good(2);
	cr_assert_eq(recovery.stream_count, 2);
	cr_assert_eq(recovery.report.records, 0);
	for (unsigned i = 0; i < 2; i++) {
		cr_assert_eq(recovery.heads[i].sequence, 0);
		cr_assert_eq(recovery.heads[i].segment_bytes, 0);
		cr_assert_geq(recovery.directories[i], 0);
		file_path(path, i, "");
		cr_assert_eq(stat(path, &status), 0);
		cr_assert_eq(status.st_mode & 0777, 0700);
	}
	recovery_free(&recovery);
	recovery_free(&recovery);
}

Test(gateway_recovery, all_segments_of_all_streams_come_back_in_order_and_the_head_is_their_end)
{
	struct made m[2];

	for (unsigned s = 0; s < 2; s++) {
		made_begin(&m[s], s);
		for (unsigned i = 0; i < 3; i++) {
			made_segment(&m[s]);
			made_block(&m[s], 3);
			made_block(&m[s], 1 + s);
		}
	}
	good(1);
	cr_assert_eq(recovery.stream_count, 2, "a stream stays though its core has gone");
	cr_assert_eq(seen.journal, 12 + 15);
	for (unsigned s = 0; s < 2; s++) {
		const struct journal_head *head = &recovery.heads[s];

		cr_assert_eq(head->sequence, m[s].sequence);
		cr_assert_eq(head->block, 6);
		cr_assert_eq(head->stamp_ns, m[s].stamp_ns);
		cr_assert_eq(head->segment_bytes, m[s].n);
		cr_assert_eq(head->segment_first, s ? 11 : 9);
		cr_assert_arr_eq(head->chain, m[s].chain, RECORD_CHAIN_BYTES);
	}
	recovery_free(&recovery);
}

Test(gateway_recovery, a_segment_that_holds_no_block_yet_is_gone_on_with)
{
	struct made m;

	made_begin(&m, 0);
	made_segment(&m);
	made_block(&m, 2);
	made_segment(&m);
	good(1);
	cr_assert_eq(recovery.heads[0].segment_first, 3);
	cr_assert_eq(recovery.heads[0].segment_bytes, SEGMENT_HEADER_BYTES);
	cr_assert_eq(recovery.heads[0].block, 1);
	recovery_free(&recovery);
}

Test(gateway_recovery, a_directory_in_use_is_refused_and_free_again_afterwards)
{
	struct recovery other;

	good(1);
	cr_assert_not(recovery_run(&other, state, 1, journal_hash, noted, &seen, &fault));
	cr_assert_not_null(strstr(fault.sentence, "another gateway"), "%s", fault.sentence);
	recovery_free(&recovery);
	good(1);
	recovery_free(&recovery);
}

/* ---- torn ends ---- */

/* What is recovered is what stands before the last block; the rest is kept aside, bit by bit, and another start is content. */
static void torn(const struct made *whole, const uint8_t *bytes, size_t n, uint64_t records)
{
	uint8_t now[FILE_BYTES_MAX];
	char kept[256];

	file_write(0, whole->name, bytes, n);
	good(1);
	cr_assert_eq(recovery.heads[0].sequence, records, "%zu of %zu bytes: record %llu", n, whole->n,
		(unsigned long long)recovery.heads[0].sequence);
	cr_assert_eq(recovery.heads[0].segment_bytes, whole->last);
	cr_assert_eq(seen.journal, records);
	cr_assert_eq(recovery.report.torn_bytes, n - whole->last);
	cr_assert_eq(file_read(0, whole->name, now), (long)whole->last);
	cr_assert_arr_eq(now, bytes, whole->last);
	cr_assert_eq(files_with(0, ".torn-", kept), n > whole->last ? 1 : 0);
	if (n > whole->last) {
		cr_assert_eq(file_read(0, kept, now), (long)(n - whole->last));
		cr_assert_arr_eq(now, bytes + whole->last, n - whole->last);
	}
	recovery_free(&recovery);
	good(1);
	cr_assert_eq(recovery.heads[0].sequence, records);
	cr_assert_eq(recovery.report.torn_bytes, 0);
	recovery_free(&recovery);
}

Test(gateway_recovery, the_last_block_torn_at_every_byte_is_cut_off_and_kept_aside, .timeout = 100)
{
	int err = quiet();
	struct made m;

	made_begin(&m, 0);
	made_segment(&m);
	made_block(&m, 2);
	made_block(&m, 2);
	for (size_t n = m.last; n < m.n; n++) {
		torn(&m, m.bytes, n, 2);
		clear();
	}
	loud(err);
}

Test(gateway_recovery, the_last_block_with_any_byte_changed_is_cut_off_too, .timeout = 100)
{
	uint8_t bytes[FILE_BYTES_MAX];
	int err = quiet();
	struct made m;

	made_begin(&m, 0);
	made_segment(&m);
	made_block(&m, 2);
	made_block(&m, 1);
	for (size_t at = m.last; at < m.n; at++) {
		memcpy(bytes, m.bytes, m.n);
		bytes[at] ^= 0x40;
		torn(&m, bytes, m.n, 2);
		clear();
	}
	loud(err);
}

Test(gateway_recovery, a_hole_and_garbage_behind_it_are_a_torn_end_and_told, .init = files_setup)
{
	struct made m;
	char said[4096];
	FILE *err;

	cr_redirect_stderr();
	made_begin(&m, 0);
	made_segment(&m);
	made_block(&m, 2);
	made_block(&m, 2);
	memset(m.bytes + m.last, 0, 40);
	memset(m.bytes + m.n, 0xa5, 600);
	torn(&m, m.bytes, m.n + 600, 2);
	err = cr_get_redirected_stderr();
	said[fread(said, 1, sizeof said - 1, err)] = 0;
	cr_assert_not_null(strstr(said, "ended in the middle of a write"), "%s", said);
	cr_assert_not_null(strstr(said, ".torn-20"), "%s", said);
}

Test(gateway_recovery, zeros_behind_the_end_are_cut_off_without_a_word)
{
	struct made m;
	char name[256];

	made_begin(&m, 0);
	made_segment(&m);
	made_block(&m, 2);
	file_write(0, m.name, m.bytes, m.n + 5000);      /* all zero there */
	good(1);
	cr_assert_eq(recovery.heads[0].segment_bytes, m.n);
	cr_assert_eq(recovery.report.torn_bytes, 0);
	cr_assert_eq(files_with(0, ".torn-", name), 0);
	cr_assert_eq(file_read(0, m.name, m.bytes), (long)m.n);
	recovery_free(&recovery);
}

Test(gateway_recovery, of_a_commit_of_several_blocks_any_may_be_torn_and_all_behind_it_go)
{
	int err = quiet();
	struct made m;
	size_t second;

	made_begin(&m, 0);
	made_segment(&m);
	made_block(&m, 2);
	made_block(&m, 2);
	second = m.last;
	made_block_of(&m, 2, NULL, m.number);
	made_block_of(&m, 2, NULL, m.number);
	m.bytes[second + 70] ^= 1;
	m.last = second;
	torn(&m, m.bytes, m.n, 2);
	loud(err);
}

Test(gateway_recovery, a_segment_that_was_being_made_is_put_away)
{
	static const uint8_t garbage[50] = { 'P', 'J', 'S', '1', 1 }, zeros[96] = { 0 };
	const struct { const uint8_t *bytes; size_t n; unsigned kept; } cases[] = { { zeros, 0, 0 }, { zeros, 96, 0 }, { garbage, 50, 1 } };
	int err = quiet();

	for (unsigned i = 0; i < array_count(cases); i++) {
		char name[256];
		struct made m;

		made_begin(&m, 0);
		made_segment(&m);
		made_block(&m, 2);
		file_write(0, "00000000000000000003.journal", cases[i].bytes, cases[i].n);
		good(1);
		cr_assert_eq(recovery.heads[0].sequence, 2);
		cr_assert_eq(recovery.heads[0].segment_first, 1);
		cr_assert_eq(recovery.heads[0].segment_bytes, m.n);
		cr_assert_not(file_there(0, "00000000000000000003.journal"));
		cr_assert_eq(files_with(0, ".torn-", name), cases[i].kept);
		recovery_free(&recovery);
		clear();
	}
	loud(err);
}

/* ---- damage ---- */

Test(gateway_recovery, a_block_that_has_newer_ones_behind_it_is_refused_whichever_byte_changed, .timeout = 100)
{
	struct made m;
	size_t second, end;
	char at[32];

	made_begin(&m, 0);
	made_segment(&m);
	made_block(&m, 1);
	made_block(&m, 1);
	second = m.last;
	end = m.n;
	made_block(&m, 1);
	snprintf(at, sizeof at, "byte %zu: ", second);
	for (size_t i = second; i < end; i++) {
		m.bytes[i] ^= 0x10;
		made_save(&m);
		m.bytes[i] ^= 0x10;
		refused(1, at, "newer records stand behind it");
	}
	cr_assert_not_null(strstr(fault.sentence, "/journal/00/00000000000000000001.journal"), "%s", fault.sentence);
	cr_assert_not_null(strstr(fault.sentence, "posternctl audit verify"));
}

Test(gateway_recovery, a_damaged_end_of_a_segment_that_another_follows_is_refused)
{
	struct made m;

	made_begin(&m, 0);
	made_segment(&m);
	made_block(&m, 1);
	m.bytes[m.n - 9] ^= 1;
	made_save(&m);
	made_segment(&m);
	refused(1, "00000000000000000001.journal, byte 96: ", "newer records stand behind it");
}

Test(gateway_recovery, a_damaged_header_of_a_segment_is_refused_unless_it_was_never_begun)
{
	struct made m;

	made_begin(&m, 0);
	made_segment(&m);
	made_block(&m, 1);
	m.bytes[40] ^= 1;
	made_save(&m);
	refused(1, "00000000000000000001.journal, byte 0: the header is damaged", "newer records");
}

Test(gateway_recovery, a_missing_segment_is_refused_by_name)
{
	struct made m;
	char path[256];

	made_begin(&m, 0);
	for (unsigned i = 0; i < 3; i++) {
		made_segment(&m);
		made_block(&m, 2);
	}
	file_path(path, 0, "00000000000000000003.journal");
	cr_assert_eq(unlink(path), 0);
	refused(1, "00000000000000000005.journal: the segment before it is missing", "begin with record 3");
	clear();
	made_begin(&m, 0);
	for (unsigned i = 0; i < 3; i++) {
		made_segment(&m);
		made_block(&m, 2);
	}
	file_path(path, 0, "00000000000000000001.journal");
	cr_assert_eq(unlink(path), 0);
	refused(1, "00000000000000000001.journal is missing", "later segments");
}

/* The sums are made anew, as somebody would who changes a record on purpose. */
Test(gateway_recovery, a_record_that_was_changed_together_with_its_sums_breaks_the_chain)
{
	struct made m;
	uint8_t *site;

	made_begin(&m, 0);
	made_segment(&m);
	made_block(&m, 2);
	site = memmem(m.bytes, m.n, "site-1", 6);
	cr_assert_not_null(site);
	site[5] = '2';
	block_finish(m.bytes + m.last, (size_t)(m.bytes[m.last + 4] | m.bytes[m.last + 5] << 8), 1, 1, 2);
	made_save(&m);
	refused(1, "byte 160: record 1 does not follow", "changed");
}

Test(gateway_recovery, a_segment_of_another_stream_is_refused)
{
	struct made m;

	made_begin(&m, 3);
	made_segment(&m);
	made_block(&m, 1);
	file_write(0, m.name, m.bytes, m.n);
	refused(1, "by its header it is of stream 03", "00/");
}

Test(gateway_recovery, a_record_older_than_the_one_before_it_is_refused)
{
	struct made m;

	made_begin(&m, 0);
	made_segment(&m);
	made_block(&m, 1);
	m.stamp_ns -= 500;
	made_block(&m, 1);
	refused(1, "record 2 is older", "byte");
}

Test(gateway_recovery, what_cannot_be_read_is_refused)
{
	char path[256];
	struct made m;

	made_begin(&m, 0);
	made_segment(&m);
	made_block(&m, 1);
	file_path(path, 0, "00000000000000000002.journal");
	cr_assert_eq(mkdir(path, 0700), 0);
	refused(1, "00000000000000000002.journal cannot be read", "");
	rmdir(path);
	cr_assert_eq(symlink("00000000000000000001.journal", path), 0);
	refused(1, "00000000000000000002.journal cannot be read", "symbolic link");
	unlink(path);
	cr_assert_eq(mkfifo(path, 0600), 0);
	refused(1, "00000000000000000002.journal cannot be read", "");
}

Test(gateway_recovery, what_does_not_add_up_is_refused_in_the_readers_words)
{
	struct made m;

	made_begin(&m, 0);
	made_segment(&m);
	made_block(&m, 1);
	memset(&seen, 0, sizeof seen);
	seen.refuses = true;
	cr_assert_not(recovery_run(&recovery, state, 1, journal_hash, noted, &seen, &fault));
	cr_assert_str_eq(fault.sentence, "it does not add up");
	file_write(0, "x", "", 0);
}

/* ---- streams that vouch for each other ---- */

static void two_streams(struct made *zero, struct made *one, const char *detail)
{
	made_begin(one, 1);
	made_segment(one);
	made_block(one, 3);
	made_begin(zero, 0);
	made_segment(zero);
	made_words(zero, RECORD_START, detail);
}

Test(gateway_recovery, a_stream_that_another_knows_of_and_is_not_there_is_refused)
{
	char command[160];
	struct made m[2];

	two_streams(&m[0], &m[1], "postern 1.0 cores 2 configuration ab12 heads 1:3:00112233445566778899");
	good(2);
	recovery_free(&recovery);
	snprintf(command, sizeof command, "rm -r '%s/journal/01'", state);
	cr_assert_eq(system(command), 0);
	refused(2, "/journal/01 is missing", "record 1 of stream 00");
	/* An empty directory in its place does not help. */
	snprintf(command, sizeof command, "mkdir '%s/journal/01'", state);
	cr_assert_eq(system(command), 0);
	refused(2, "/journal/01 is missing", "record 1 of stream 00");
	clear();
	two_streams(&m[0], &m[1], "postern 1.0 cores 3 configuration ab12 heads");
	refused(2, "/journal/02 is missing", "stream 00");
}

Test(gateway_recovery, a_stream_that_ends_before_what_another_knows_is_refused)
{
	struct made m[2];

	two_streams(&m[0], &m[1], "heads 1:4:00112233445566778899");
	refused(2, "/journal/01 ends with record 3", "record 4");
}

Test(gateway_recovery, words_of_another_form_know_nothing)
{
	static const char *const words[] = { "heads 1:", "heads 1:x:12", "heads 99999:4:12", "cores many", "cores 4000000000", "heads :", "" };
	struct made m[2];

	for (unsigned i = 0; i < array_count(words); i++) {
		two_streams(&m[0], &m[1], words[i]);
		good(2);
		recovery_free(&recovery);
		clear();
	}
}

/* ---- snapshots ---- */

/* Two snapshots, at records 4 and 6, in a journal of 8 and two segments. */
static void with_snapshots(struct made *m, uint8_t *older, size_t *older_n, uint8_t *newer, size_t *newer_n)
{
	made_begin(m, 0);
	made_segment(m);
	made_block(m, 2);
	made_block(m, 2);
	*older_n = made_snapshot(m, 3, "snapshot", older);
	made_segment(m);
	made_block(m, 2);
	*newer_n = made_snapshot(m, 2, "snapshot", newer);
	made_block(m, 2);
}

static void head_is_end_of(const struct made *m)
{
	const struct journal_head *head = &recovery.heads[0];

	cr_assert_eq(head->sequence, m->sequence);
	cr_assert_eq(head->block, m->number);
	cr_assert_eq(head->segment_bytes, m->n);
	cr_assert_arr_eq(head->chain, m->chain, RECORD_CHAIN_BYTES);
	cr_assert_geq(head->stamp_ns, m->stamp_ns);
}

Test(gateway_recovery, the_newest_snapshot_is_given_and_only_what_is_behind_it_is_read)
{
	static uint8_t older[FILE_BYTES_MAX], newer[FILE_BYTES_MAX];
	size_t older_n, newer_n;
	struct made m;

	with_snapshots(&m, older, &older_n, newer, &newer_n);
	/* What it contains is not even looked at. */
	file_write(0, "00000000000000000001.journal", "x", 1);
	good(1);
	cr_assert_eq(seen.snapshot, 3);
	cr_assert_eq(seen.journal, 2);
	cr_assert_eq(seen.first, 7);
	cr_assert_eq(recovery.heads[0].snapshot_sequence, 6);
	cr_assert_eq(recovery.heads[0].snapshot_behind_bytes, 2 * (m.n - m.last));
	head_is_end_of(&m);
	recovery_free(&recovery);
}

Test(gateway_recovery, a_snapshot_that_ends_where_the_journal_does_is_all_there_is_to_read)
{
	static uint8_t bytes[FILE_BYTES_MAX];
	struct made m;

	made_begin(&m, 0);
	made_segment(&m);
	made_block(&m, 3);
	made_snapshot(&m, 1, "snapshot", bytes);
	good(1);
	cr_assert_eq(seen.journal, 0);
	cr_assert_eq(seen.snapshot, 2);
	head_is_end_of(&m);
	cr_assert_eq(recovery.heads[0].stamp_ns, m.stamp_ns + 1000, "nothing is recorded with an older stamp than the snapshot has");
	recovery_free(&recovery);
	/* Also where the next segment was only begun. */
	file_write(0, "00000000000000000004.journal", "", 0);
	good(1);
	head_is_end_of(&m);
	recovery_free(&recovery);
}

Test(gateway_recovery, a_snapshot_may_end_in_the_middle_of_a_block)
{
	static uint8_t bytes[FILE_BYTES_MAX];
	struct made m, inner;

	made_begin(&m, 0);
	made_segment(&m);
	made_block(&m, 3);
	inner = m;
	made_block(&m, 4);
	made_block_of(&inner, 2, NULL, 2);       /* the same two records, so the same chain */
	made_snapshot(&inner, 1, "snapshot", bytes);
	made_save(&m);
	good(1);
	cr_assert_eq(seen.first, 6);
	cr_assert_eq(seen.journal, 2);
	head_is_end_of(&m);
	recovery_free(&recovery);
}

Test(gateway_recovery, a_damaged_snapshot_gives_way_to_an_older_one_and_that_to_the_journal, .timeout = 100)
{
	static uint8_t older[FILE_BYTES_MAX], newer[FILE_BYTES_MAX];
	size_t older_n, newer_n;
	int err = quiet();
	struct made m;

	with_snapshots(&m, older, &older_n, newer, &newer_n);
	for (size_t i = 0; i < newer_n; i += 3) {
		newer[i] ^= 4;
		file_write(0, "00000000000000000006.snapshot", newer, newer_n);
		newer[i] ^= 4;
		good(1);
		cr_assert_eq(seen.snapshot, 4, "byte %zu", i);
		cr_assert_eq(seen.first, 5);
		cr_assert_eq(seen.last, 8);
		cr_assert_eq(recovery.heads[0].snapshot_sequence, 4);
		head_is_end_of(&m);
		cr_assert_not(file_there(0, "00000000000000000006.snapshot"));
		recovery_free(&recovery);
	}
	for (size_t n = 0; n < newer_n; n += 7) {
		file_write(0, "00000000000000000006.snapshot", newer, n);
		file_write(0, "00000000000000000004.snapshot", older, n < older_n ? n : older_n - 1);
		good(1);
		cr_assert_eq(seen.snapshot, 0, "cut at byte %zu", n);
		cr_assert_eq(seen.journal, 8);
		cr_assert_eq(recovery.heads[0].snapshot_sequence, 0);
		head_is_end_of(&m);
		recovery_free(&recovery);
	}
	loud(err);
}

Test(gateway_recovery, drafts_of_snapshots_go_and_of_whole_ones_two_stay)
{
	static uint8_t bytes[FILE_BYTES_MAX];
	struct made m;
	char name[256];

	made_begin(&m, 0);
	made_segment(&m);
	for (unsigned i = 0; i < 4; i++) {
		made_block(&m, 1);
		made_snapshot(&m, 1, "snapshot", bytes);
		made_snapshot(&m, 1, "snapshot.new", bytes);
	}
	good(1);
	cr_assert_eq(files_with(0, ".snapshot.new", name), 0);
	cr_assert_eq(files_with(0, ".snapshot", name), 2);
	cr_assert(file_there(0, "00000000000000000004.snapshot") && file_there(0, "00000000000000000003.snapshot"));
	recovery_free(&recovery);
}

Test(gateway_recovery, a_snapshot_of_another_journal_or_of_more_than_there_is_is_refused)
{
	static uint8_t bytes[FILE_BYTES_MAX];
	struct made m, other;
	char path[256];

	made_begin(&m, 0);
	made_segment(&m);
	made_block(&m, 2);
	other = m;
	other.chain[0] ^= 1;
	made_snapshot(&other, 1, "snapshot", bytes);
	refused(1, "the snapshot 00000000000000000002 was made from another journal", "record 2");
	file_path(path, 0, "00000000000000000002.snapshot");
	unlink(path);
	made_block(&m, 2);
	made_snapshot(&m, 1, "snapshot", bytes);
	file_write(0, m.name, m.bytes, m.last);
	refused(1, "it ends with record 2, and the snapshot 00000000000000000004 contains more", "");
	file_path(path, 0, m.name);
	unlink(path);
	refused(1, "the segment with record 4 is missing", "");
}
