/* What the records of any run come to when they are read again: from the beginning, and from snapshots that were taken in slices meanwhile.
 * And what is said of records that do not add up. */
#include "cache/decide.c"
#include "cache/permits.c"
#include "cache/replay.c"

#include "tests/unit/cache_cores.h"

/* --- runs and their snapshots ------------------------------------------------------------------------------------------- */

struct snapshot {
	struct record records[2 * REQUESTS_MAX];
	unsigned count;
	uint64_t start;                  /* from which the journal is read on */
	uint64_t place[2];
	bool begun, whole;
};

static bool snapshot_record(const struct cores *w, unsigned core, struct snapshot *s, struct record *record)
{
	const struct stream *stream = &w->stream[core];
	struct count_rules rules;
	struct line line;
	size_t at;
	uint32_t number = 0;

	*record = (struct record){ .sequence = stream->durable, .cap = -1 };
	for (; s->place[0] == 0 && s->place[1] < SITES; s->place[1]++) {
		count_line(w->table, core, w->site[s->place[1]], &line);
		if (line.changes == 0)
			continue;
		record->kind = RECORD_LINE;
		record->site = text_of(SITE_NAMES[s->place[1]++]);
		memcpy(record->before, line.n, sizeof(line.n));
		record->changes = (int64_t)line.changes;
		record->line_stamp_ns = (int64_t)line.stamp_ns;
		return true;
	}
	if (core != 0)
		return false;
	if (s->place[0] == 0)
		s->place[0] = 1, s->place[1] = 0;
	record->sequence = stream->count;
	for (; s->place[0] == 1 && s->place[1] <= STUDY; s->place[1]++) {
		decider_rules(w->decider, number_of(w, (unsigned)s->place[1]), &rules);
		if (rules.changes == 0)
			continue;
		record->kind = RECORD_RULES;
		record->site = s->place[1] == STUDY ? (struct record_text){ 0 } : text_of(SITE_NAMES[s->place[1]]);
		record->status = rules.status;
		record->cap = rules.cap;
		record->rule_changes = (int64_t)rules.changes;
		record->line_stamp_ns = (int64_t)rules.stamp_ns;
		s->place[1]++;
		return true;
	}
	if (s->place[0] == 1)
		s->place[0] = 2, s->place[1] = 0;
	at = (size_t)s->place[1];
	record->kind = RECORD_RESERVE;
	if (s->place[0] == 2 && decider_each_reservation(w->decider, &at, &record->reservation, &number, &record->amount, &record->expires_ms)) {
		s->place[1] = at;
		if (record->reservation == 0)
			return snapshot_record(w, core, s, record);
		record->site = text_of(SITE_NAMES[site_at(w, number)]);
		return true;
	}
	if (s->place[0] == 2)
		s->place[0] = 3, s->place[1] = 0;
	record->kind = RECORD_KEY;
	{
		struct keys_result result;
		const uint8_t *digest;

		if (!keys_each(w->keys, &s->place[1], &record->key, &digest, &result, &record->at_ms))
			return false;
		if (record->key.size == 0)
			return snapshot_record(w, core, s, record);
		record->outcome = result.outcome;
		record->reservation = result.reservation;
		record->expires_ms = result.expires_ms;
		memcpy(record->digest, digest, sizeof(record->digest));
		return true;
	}
}

static void snapshot_step(const struct cores *w, unsigned core, struct snapshot *s)
{
	if (!s->begun) {
		s->begun = true;
		s->start = w->stream[core].durable + 1;
	}
	if (s->whole)
		return;
	s->whole = !snapshot_record(w, core, s, &s->records[s->count++]);
	if (s->whole)
		s->records[s->count - 1] = (struct record){ .kind = RECORD_END, .sequence = s->start - 1, .cap = (int64_t)s->start };
}

/* The records of a run, into tables of their own; `snapshots` NULL: from the beginning. Streams in any order. */
static void read_again(struct cores *w, const struct snapshot *snapshots, unsigned first)
{
	struct cores *again = calloc(1, sizeof(*again));
	char fault[512] = "";
	struct replay *replay;
	struct keys_result answer, same;
	struct key *key;

	cr_assert_not_null(again);
	again->count = w->count;
	again->streams = w->streams;
	again->truth = w->truth;
	tables_open(again);
	replay = replay_new(again->table, again->decider, again->keys, w->clock_ns / 1000000, w->streams);
	for (unsigned i = 0; i < w->streams; i++) {
		const unsigned core = (first + i) % w->streams;
		const struct snapshot *s = snapshots != NULL && snapshots[core].whole ? &snapshots[core] : NULL;

		for (unsigned k = 0; s != NULL && k < s->count; k++)
			cr_assert(replay_record(replay, core, &s->records[k], fault, sizeof(fault)), "%s", fault);
		for (uint64_t k = s != NULL ? s->start - 1 : 0; k < w->stream[core].count; k++)
			cr_assert(replay_record(replay, core, &w->stream[core].entries[k].record, fault, sizeof(fault)), "%s", fault);
	}
	cr_assert_eq(replay_end(replay, fault, sizeof(fault)), REPLAY_ADDS_UP, "%s", fault);
	replay_free(replay);
	tables_restored(again);
	for (unsigned core = 0; core < w->streams; core++) {
		memcpy(&again->stream[core], &w->stream[core], sizeof(again->stream[core]));
		for (unsigned site = 0; site < SITES; site++) {
			struct line line, restored;

			count_line(w->table, core, w->site[site], &line);
			count_line(again->table, core, again->site[site], &restored);
			cr_assert_arr_eq(&line, &restored, sizeof(line));
		}
	}
	check_published(again);
	check_all(again);
	cr_assert_eq(decider_next_expiry_ms(again->decider), decider_next_expiry_ms(w->decider));
	for (unsigned i = 0; i < w->truth.reservation_count; i++) {
		const struct reservation *r = reservations_find(again->decider->reservations, w->truth.reservations[i].number);

		cr_assert_not_null(r);
		cr_assert_eq(r->amount, w->truth.reservations[i].amount);
		cr_assert_eq(r->expires_ms, w->truth.reservations[i].expires_ms);
		cr_assert_eq(r->site, again->site[w->truth.reservations[i].site]);
	}
	cr_assert_eq(keys_count(again->keys), keys_count(w->keys));
	for (unsigned k = 0; k < w->stream[0].count; k++) {
		const struct record *record = &w->stream[0].entries[k].record;

		if (record->key.size == 0)
			continue;
		cr_assert_eq(keys_enter(w->keys, record->key, record->digest, 0, &key, &same), KEYS_ANSWERED);
		cr_assert_eq(keys_enter(again->keys, record->key, record->digest, 0, &key, &answer), KEYS_ANSWERED);
		cr_assert_arr_eq(&answer, &same, sizeof(same));
	}
	tables_close(again);
	free(again);
}

static void run(unsigned count, uint64_t seed)
{
	struct cores *w = cores_open(count, seed % 2 == 0, seed);
	struct snapshot *snapshots = calloc(CORES_MAX, sizeof(*snapshots));
	const unsigned commits = 3 + (unsigned)draw(w, 30), begin = (unsigned)draw(w, 1500);

	cr_assert_not_null(snapshots);
	for (unsigned i = 0; i < 2000; i++) {
		const unsigned core = (unsigned)draw(w, w->count);

		step(w, commits);
		if (i < begin && draw(w, 300) == 0)
			crash(w);
		if (i >= begin)
			snapshot_step(w, core, &snapshots[core]);
	}
	rest(w);
	read_again(w, NULL, (unsigned)draw(w, w->streams));
	read_again(w, snapshots, (unsigned)draw(w, w->streams));
	free(snapshots);
	cores_close(w);
}

Test(cache_replay, records_of_any_run_come_to_the_same_state_with_and_without_a_snapshot_taken_meanwhile)
{
	for (uint64_t seed = 1; seed <= 60; seed++)
		run(1 + (unsigned)(seed % CORES_MAX), seed);
}

/* --- what does not add up -------------------------------------------------------------------------------------------------- */

static struct cores *W;
static struct replay *R;

static void begin(void)
{
	W = calloc(1, sizeof(*W));
	W->count = W->streams = 3;
	tables_open(W);
	R = replay_new(W->table, W->decider, W->keys, 0, 3);
}

static void end(void)
{
	replay_free(R);
	for (unsigned i = 0; i < 3; i++)
		count_put(W->table, i);
	decider_free(W->decider);
	keys_free(W->keys);
	count_free(W->table);
	free(W);
}

static void good(unsigned stream, struct record record)
{
	char fault[512] = "";

	record.actor = text_of("a");
	cr_assert(replay_record(R, stream, &record, fault, sizeof(fault)), "%s", fault);
}

static void bad(unsigned stream, struct record record, const char *sentence)
{
	char fault[512] = "", small[20];

	record.actor = text_of("a");
	cr_assert_not(replay_record(R, stream, &record, fault, sizeof(fault)));
	cr_expect_str_eq(fault, sentence);
	/* However little room there is for it. */
	for (size_t size = 0; size <= sizeof(small); size++) {
		memset(small, 'x', sizeof(small));
		cr_assert_not(replay_record(R, stream, &record, small, size));
		if (size > 0)
			cr_expect_arr_eq(small, fault, size - 1);
		if (size > 0)
			cr_expect_eq(small[size - 1], '\0');
		if (size < sizeof(small))
			cr_expect_eq(small[size], 'x');
	}
}

#define A { "a", 1 }
#define CHANGE(s, k, from, to) (struct record){ .kind = RECORD_CHANGE, .sequence = s, .stamp_ns = s, .site = A, .by = { [k] = (to) - (from) }, .before = { [k] = from } }

Test(cache_replay, a_missing_change_is_named, .init = begin, .fini = end)
{
	good(1, CHANGE(1, COUNT_ENROLLED, 0, 2));
	bad(1, CHANGE(3, COUNT_ENROLLED, 3, 4),
	    "Stream 1, record 3 (change at site \"a\"): it found enrolled at 3, and the records before it come to 2. A record is missing or was changed.");
}

Test(cache_replay, missing_rules_are_named, .init = begin, .fini = end)
{
	good(0, (struct record){ .kind = RECORD_RULES, .sequence = 1, .site = A, .status = 1, .cap = 5, .cap_before = -1, .rule_changes = 1 });
	bad(0, (struct record){ .kind = RECORD_RULES, .sequence = 2, .site = A, .status = 0, .status_before = 1, .cap = 5, .cap_before = 5, .rule_changes = 3 },
	    "Stream 0, record 2 (rules at site \"a\"): change 3 of rules that were status 1 and cap 5, and the records before it come to 1 changes, "
	    "status 1 and cap 5. A record is missing or was changed.");
	bad(0, (struct record){ .kind = RECORD_RULES, .sequence = 2, .site = A, .status = 3, .cap = 5, .rule_changes = 2 },
	    "Stream 0, record 2 (rules at site \"a\"): there is no status 3.");
	bad(0, (struct record){ .kind = RECORD_RULES, .sequence = 2, .status = 1, .cap = 5, .rule_changes = 2 },
	    "Stream 0, record 2 (rules): the study has no status.");
	bad(0, (struct record){ .kind = RECORD_RULES, .sequence = 2, .site = A, .cap = -2, .rule_changes = 2 },
	    "Stream 0, record 2 (rules at site \"a\"): there is no cap of -2.");
	bad(0, (struct record){ .kind = RECORD_RULES, .sequence = 2, .site = A, .cap = 2 },
	    "Stream 0, record 2 (rules at site \"a\"): rules that never changed.");
}

Test(cache_replay, reservations_begin_and_end_once, .init = begin, .fini = end)
{
	good(0, (struct record){ .kind = RECORD_RESERVE, .sequence = 1, .site = A, .reservation = 7, .amount = 1 });
	bad(0, (struct record){ .kind = RECORD_RESERVE, .sequence = 2, .site = A, .reservation = 7, .amount = 1 },
	    "Stream 0, record 2 (reserve at site \"a\"): reservation 0000000000000007 is there already.");
	bad(0, (struct record){ .kind = RECORD_RESERVE, .sequence = 2, .site = A, .reservation = 8, .amount = 0 },
	    "Stream 0, record 2 (reserve at site \"a\"): a reservation has a number, and an amount of 1 to 1000000; this one has 0.");
	good(0, (struct record){ .kind = RECORD_RELEASE, .sequence = 3, .site = A, .reservation = 7 });
	bad(0, (struct record){ .kind = RECORD_CONFIRM, .sequence = 4, .site = A, .reservation = 7 },
	    "Stream 0, record 4 (confirm at site \"a\"): there is no reservation 0000000000000007.");
}

Test(cache_replay, what_only_the_decider_does_stands_in_its_stream, .init = begin, .fini = end)
{
	bad(1, CHANGE(1, COUNT_ENROLLED, 0, -1), "Stream 1, record 1 (change at site \"a\"): only stream 0 lowers a count.");
	bad(1, CHANGE(1, COUNT_WITHDRAWN, 0, 1), "Stream 1, record 1 (change at site \"a\"): only stream 0 lowers a count.");
	bad(2, (struct record){ .kind = RECORD_RELEASE, .sequence = 1, .site = A, .reservation = 7 },
	    "Stream 2, record 1 (release at site \"a\"): only stream 0 has records of this kind.");
}

Test(cache_replay, bounds_and_sites_are_named, .init = begin, .fini = end)
{
	struct record long_key = CHANGE(1, COUNT_ENROLLED, 0, 1);

	bad(0, CHANGE(1, COUNT_ENROLLED, 0, 1000001),
	    "Stream 0, record 1 (change at site \"a\"): it changes by 1000001, and no change is beyond 1000000.");
	bad(0, (struct record){ .kind = RECORD_CHANGE, .sequence = 1, .site = { "a\n", 2 }, .by = { 1 } },
	    "Stream 0, record 1 (change): its site is not a site id (1 to 64 bytes of UTF-8 without control characters).");
	bad(0, (struct record){ .kind = RECORD_LINE, .sequence = 1, .site = A, .before = { INT64_MAX }, .changes = 1 },
	    "Stream 0, record 1 (line at site \"a\"): a number beyond what a line can hold.");
	bad(0, (struct record){ .kind = RECORD_LINE, .sequence = 1, .site = A, .changes = -1 },
	    "Stream 0, record 1 (line at site \"a\"): a number of changes, or a stamp, below zero.");
	bad(0, (struct record){ .kind = RECORD_KEY, .sequence = 1 }, "Stream 0, record 1 (key): an Idempotency-Key without a byte.");
	bad(0, (struct record){ .kind = (enum record_kind)11, .sequence = 1 }, "Stream 0, record 1 (of no kind that there is): kind 11.");
	long_key.key = (struct record_text){ (char[256]){ "k" }, 256 };
	bad(0, (struct record){ .kind = RECORD_REFUSE, .sequence = 1, .key = long_key.key },
	    "Stream 0, record 1 (refuse): an Idempotency-Key of 256 bytes, and none has more than 255.");
	good(0, (struct record){ .kind = RECORD_CHANGE, .sequence = 2, .site = { "b", 1 }, .by = { 1 } });
	good(0, (struct record){ .kind = RECORD_CHANGE, .sequence = 3, .site = { "c", 1 }, .by = { 1 } });
	bad(0, (struct record){ .kind = RECORD_CHANGE, .sequence = 4, .site = { "d", 1 }, .by = { 1 } },
	    "Stream 0, record 4 (change at site \"d\"): there are more sites than limits.sites_max, 3, allows. Raise it; no site is ever forgotten.");
}

Test(cache_replay, a_line_may_be_below_zero, .init = begin, .fini = end)
{
	char fault[512] = "";

	good(0, CHANGE(1, COUNT_ENROLLED, 0, -2));
	good(2, CHANGE(1, COUNT_ENROLLED, 0, 2));
	cr_assert_eq(replay_end(R, fault, sizeof(fault)), REPLAY_ADDS_UP);
}

Test(cache_replay, a_sum_may_not, .init = begin, .fini = end)
{
	char fault[512] = "";

	good(0, CHANGE(1, COUNT_ENROLLED, 0, -2));
	good(2, CHANGE(1, COUNT_ENROLLED, 0, 1));
	cr_assert_eq(replay_end(R, fault, sizeof(fault)), REPLAY_MISSES);
	cr_expect_str_eq(fault, "Site \"a\", all streams together, comes to screened 0, enrolled -1, randomised 0, withdrawn 0, count -1. "
	                        "None of these can be below zero: the end of a stream is missing.");
}

/* Raises of other streams may be lost where answers do not wait for a sync; what stream 0 alone changes stands in it as a whole. */
Test(cache_replay, what_no_loss_explains_is_told_apart, .init = begin, .fini = end)
{
	char fault[512] = "";
	int64_t by[COUNT_KINDS];
	uint32_t site;

	good(0, CHANGE(1, COUNT_WITHDRAWN, 0, -1));
	good(2, CHANGE(1, COUNT_ENROLLED, 0, 1));
	cr_assert_eq(replay_end(R, fault, sizeof(fault)), REPLAY_WRONG);
	cr_assert_eq(count_find(W->table, "a", 1, &site), COUNT_OK);
	cr_assert(replay_missing(W->table, site, by));
	cr_expect_eq(by[COUNT_WITHDRAWN], 1);
}

Test(cache_replay, what_is_missing_is_as_many_as_bring_nothing_below_zero, .init = begin, .fini = end)
{
	char fault[512] = "";
	int64_t by[COUNT_KINDS];
	uint32_t site;

	good(0, (struct record){ .kind = RECORD_CHANGE, .sequence = 1, .stamp_ns = 1, .site = A, .by = { -4, -2, 0, 3 } });
	good(2, CHANGE(1, COUNT_ENROLLED, 0, 1));
	cr_assert_eq(replay_end(R, fault, sizeof(fault)), REPLAY_MISSES);
	cr_assert_eq(count_find(W->table, "a", 1, &site), COUNT_OK);
	cr_assert(replay_missing(W->table, site, by));
	cr_expect_eq(by[COUNT_SCREENED], 4);
	cr_expect_eq(by[COUNT_ENROLLED], 4, "-1 enrolled of 3 withdrawn is a count of -4");
	cr_expect_eq(by[COUNT_RANDOMISED], 0);
	cr_expect_eq(by[COUNT_WITHDRAWN], 0);
}

/* The rules of a snapshot are as decided: their last change may not have had a stamp yet. */
Test(cache_replay, rules_that_a_snapshot_has_before_they_were_durable_get_their_stamp, .init = begin, .fini = end)
{
	struct record snapshot = { .kind = RECORD_RULES, .sequence = 7, .site = A, .status = 1, .cap = 5, .rule_changes = 1 };
	char fault[512] = "";
	struct count_rules rules;
	uint32_t site;

	cr_assert(replay_record(R, 0, &snapshot, fault, sizeof(fault)));
	good(0, (struct record){ .kind = RECORD_RULES, .sequence = 7, .stamp_ns = 70, .site = A, .status = 1, .cap = 5, .cap_before = -1, .rule_changes = 1 });
	cr_assert_eq(count_find(W->table, "a", 1, &site), COUNT_OK);
	decider_rules(W->decider, site, &rules);
	cr_expect_eq(rules.stamp_ns, 70);
	cr_expect_eq(rules.changes, 1);
	cr_expect_eq(rules.cap, 5);
}

Test(cache_replay, a_stream_beyond_what_a_shard_holds_is_named_when_it_is_read, .init = begin, .fini = end)
{
	struct record line = { .kind = RECORD_LINE, .sequence = 1, .site = A, .before = { SHARD_LINE_MAX }, .changes = 1 };
	char fault[512] = "";

	good(1, line);
	line.site = (struct record_text){ "b", 1 };
	good(1, line);
	bad(1, CHANGE(2, COUNT_SCREENED, SHARD_LINE_MAX, SHARD_LINE_MAX + 1),
	    "Stream 1, record 2 (change at site \"a\"): a number beyond what a line can hold.");
	cr_assert_eq(replay_end(R, fault, sizeof(fault)), REPLAY_WRONG);
	cr_expect_str_eq(fault, "Stream 1: a number beyond what a line can hold.");
}
