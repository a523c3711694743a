/* See cache/replay.h. */
#include "cache/replay.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPLAY_MAGIC 0x7265706cu /* "repl" */

struct restored {
	struct line line;
	uint64_t contained;              /* up to which sequence a snapshot has it */
};

struct replay {
	uint32_t magic;
	struct count *count;
	struct decider *decider;
	struct keys *keys;
	uint64_t now_ms;
	unsigned streams, sites_max;
	unsigned stream;                 /* which is being read; `streams` at first */
	bool *begun;                     /* by stream */
	struct restored *restored;       /* by site, of the stream that is being read; it goes to its shard when the next one begins */
	uint64_t *rules_contained;       /* by site, and the study's last: the same of the rules */
	bool has_snapshot;               /* stream 0: it began with one */
	/* For the sentence. */
	const struct record *record;
	char *fault;
	size_t fault_bytes;
};

/* --- sentences ------------------------------------------------------------------------------------------------------------- */

/* Appends, as far as there is room. */
static void say(struct replay *r, const char *format, va_list arguments)
{
	size_t used = strlen(r->fault);

	vsnprintf(r->fault + used, r->fault_bytes - used, format, arguments);
}

__attribute__((format(printf, 2, 3))) static void word(struct replay *r, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	say(r, format, arguments);
	va_end(arguments);
}

/* "Stream 0, record 17 (change at site "S"): " and what is wrong with it; at the end, where there is no record, "Stream 0: ". */
__attribute__((format(printf, 2, 3))) static bool amiss(struct replay *r, const char *format, ...)
{
	const struct record *record = r->record;
	const char *name = record != NULL ? record_kind_name(record->kind) : NULL;
	va_list arguments;

	if (r->fault_bytes == 0)
		return false;
	r->fault[0] = '\0';
	word(r, "Stream %u", r->stream);
	if (record != NULL)
		word(r, ", record %" PRIu64 " (%s", record->sequence, name != NULL ? name : "of no kind that there is");
	/* An id that is none is not repeated: who knows what is in it. */
	if (record != NULL && record->site.size > 0 && count_judge(record->site.bytes, record->site.size) == COUNT_OK)
		word(r, " at site \"%.*s\"", (int)record->site.size, record->site.bytes);
	word(r, record != NULL ? "): " : ": ");
	va_start(arguments, format);
	say(r, format, arguments);
	va_end(arguments);
	return false;
}

static bool is_good(struct replay *r, enum count_answer answer)
{
	switch (answer) {
	case COUNT_OK:
		return true;
	case COUNT_SITES_SPENT:
		return amiss(r, "there are more sites than limits.sites_max, %u, allows. Raise it; no site is ever forgotten.", r->sites_max);
	case COUNT_LINE_SPENT:
		return amiss(r, "a number beyond what a line can hold.");
	case COUNT_MEMORY_SPENT:
		return amiss(r, "there is no memory for it.");
	default:
		return amiss(r, "its site is not a site id (1 to %d bytes of UTF-8 without control characters).", COUNT_SITE_BYTES_MAX);
	}
}

/* --- lines ------------------------------------------------------------------------------------------------------------------- */

static bool site_of(struct replay *r, uint32_t *site)
{
	return is_good(r, count_enter(r->count, r->record->site.bytes, r->record->site.size, site));
}

/* Far from where adding the next change could overflow. */
static bool line_fits(const struct line *line)
{
	for (unsigned kind = 0; kind < COUNT_KINDS; kind++) {
		if (line->n[kind] > SHARD_LINE_MAX || line->n[kind] < -SHARD_LINE_MAX)
			return false;
	}
	return true;
}

static bool line_restored(struct replay *r)
{
	const struct record *record = r->record;
	struct restored *restored;
	uint32_t site;

	if (record->changes < 0 || record->line_stamp_ns < 0)
		return amiss(r, "a number of changes, or a stamp, below zero.");
	if (!site_of(r, &site))
		return false;
	restored = &r->restored[site];
	memcpy(restored->line.n, record->before, sizeof(restored->line.n));
	restored->line.changes = (uint64_t)record->changes;
	restored->line.stamp_ns = (uint64_t)record->line_stamp_ns;
	restored->contained = record->sequence;
	r->has_snapshot |= r->stream == 0;
	return is_good(r, line_fits(&restored->line) ? COUNT_OK : COUNT_LINE_SPENT);
}

/* The stream is read: its lines go to its shard. */
static bool stream_over(struct replay *r)
{
	struct count_stats stats;

	count_stats(r->count, &stats);
	for (uint32_t site = 0; r->stream < r->streams && site < stats.sites; site++) {
		struct restored *restored = &r->restored[site];

		if (restored->line.changes > 0 && !is_good(r, count_line_restore(r->count, r->stream, site, &restored->line)))
			return false;
		*restored = (struct restored){ 0 };
	}
	return true;
}

static bool by_is_sane(struct replay *r)
{
	for (unsigned kind = 0; kind < COUNT_KINDS; kind++) {
		const int64_t by = r->record->by[kind];

		if (by < -COUNT_BY_MAX || by > COUNT_BY_MAX)
			return amiss(r, "it changes by %" PRId64 ", and no change is beyond %d.", by, COUNT_BY_MAX);
		if (r->stream != 0 && (by < 0 || (kind == COUNT_WITHDRAWN && by != 0)))
			return amiss(r, "only stream 0 lowers a count.");
	}
	return true;
}

static bool line_changed(struct replay *r, uint32_t site)
{
	static const char *const NAMES[COUNT_KINDS] = { "screened", "enrolled", "randomised", "withdrawn" };
	const struct record *record = r->record;
	struct restored *restored = &r->restored[site];
	struct line *line = &restored->line;

	if (!by_is_sane(r))
		return false;
	if (record->sequence <= restored->contained)
		return true;
	for (unsigned kind = 0; kind < COUNT_KINDS; kind++) {
		if (record->before[kind] != line->n[kind])
			return amiss(r, "it found %s at %" PRId64 ", and the records before it come to %" PRId64 ". A record is missing or was changed.",
			             NAMES[kind], record->before[kind], line->n[kind]);
	}
	for (unsigned kind = 0; kind < COUNT_KINDS; kind++)
		line->n[kind] += record->by[kind];
	line->changes++;
	if (line->stamp_ns < record->stamp_ns)
		line->stamp_ns = record->stamp_ns;
	return is_good(r, line_fits(line) ? COUNT_OK : COUNT_LINE_SPENT);
}

/* --- rules and reservations ---------------------------------------------------------------------------------------------------- */

static bool is_of_snapshot(const struct record *record)
{
	return record->actor.size == 0;
}

static uint64_t *rules_contained(struct replay *r, uint32_t site)
{
	return &r->rules_contained[site == COUNT_STUDY ? r->sites_max : site];
}

/* The snapshot has these changes already, but perhaps not when the last of them was: they were decided when it was taken, and not durable yet. */
static void rules_stamp(struct replay *r, uint32_t site, struct count_rules *rules)
{
	if (rules->stamp_ns < r->record->stamp_ns)
		rules->stamp_ns = r->record->stamp_ns;
	decider_restore_rules(r->decider, site, rules);
}

static bool rules_changed(struct replay *r)
{
	const struct record *record = r->record;
	struct count_rules rules;
	uint32_t site = COUNT_STUDY;

	if (record->status < COUNT_RECRUITING || record->status > COUNT_CLOSED)
		return amiss(r, "there is no status %" PRId64 ".", record->status);
	if (record->cap < COUNT_NO_CAP || record->cap > SHARD_LINE_MAX)
		return amiss(r, "there is no cap of %" PRId64 ".", record->cap);
	if (record->rule_changes < 1)
		return amiss(r, "rules that never changed.");
	if (record->site.size > 0 && !site_of(r, &site))
		return false;
	if (site == COUNT_STUDY && record->status != COUNT_RECRUITING)
		return amiss(r, "the study has no status.");
	decider_rules(r->decider, site, &rules);
	if (is_of_snapshot(record)) {
		r->has_snapshot = true;
		*rules_contained(r, site) = record->sequence;
		rules.stamp_ns = record->line_stamp_ns < 0 ? 0 : (uint64_t)record->line_stamp_ns;
	} else if (record->sequence <= *rules_contained(r, site)) {
		rules_stamp(r, site, &rules);
		return true;
	} else {
		if ((int64_t)rules.status != record->status_before || rules.cap != record->cap_before ||
		    rules.changes + 1 != (uint64_t)record->rule_changes)
			return amiss(r, "change %" PRId64 " of rules that were status %" PRId64 " and cap %" PRId64 ", and the records before it come to %" PRIu64
			             " changes, status %d and cap %" PRId64 ". A record is missing or was changed.", record->rule_changes,
			             record->status_before, record->cap_before, rules.changes, (int)rules.status, rules.cap);
		rules.stamp_ns = record->stamp_ns;
	}
	rules.status = (enum count_status)record->status;
	rules.cap = record->cap;
	rules.changes = (uint64_t)record->rule_changes;
	decider_restore_rules(r->decider, site, &rules);
	return true;
}

/* What is reserved at a site has changed, so its rules have. */
static void reserved_changed(struct replay *r, uint32_t site)
{
	struct count_rules rules;

	decider_rules(r->decider, site, &rules);
	if (r->record->sequence > *rules_contained(r, site))
		rules.changes++;
	rules_stamp(r, site, &rules);
}

static bool reserved(struct replay *r)
{
	const struct record *record = r->record;
	const unsigned count = decider_reservations(r->decider);
	uint32_t site;

	if (record->reservation == 0 || record->amount < 1 || record->amount > COUNT_BY_MAX)
		return amiss(r, "a reservation has a number, and an amount of 1 to %d; this one has %" PRId64 ".", COUNT_BY_MAX, record->amount);
	if (!site_of(r, &site))
		return false;
	decider_restore_reservation(r->decider, record->reservation, site, record->amount, record->expires_ms);
	if (is_of_snapshot(record)) {
		r->has_snapshot = true;
		return true;
	}
	if (decider_reservations(r->decider) == count && !r->has_snapshot)
		return amiss(r, "reservation %016" PRIx64 " is there already.", record->reservation);
	reserved_changed(r, site);
	return true;
}

static bool reservation_ended(struct replay *r)
{
	const struct record *record = r->record;
	uint32_t site;

	if (!site_of(r, &site))
		return false;
	/* A snapshot came to the reservations when this one had ended, and the journal is read on from before; how far a snapshot knows of
	 * reservations that are gone, nothing in it tells. */
	if (!decider_restore_release(r->decider, record->reservation) && !r->has_snapshot)
		return amiss(r, "there is no reservation %016" PRIx64 ".", record->reservation);
	reserved_changed(r, site);
	return record->kind != RECORD_CONFIRM || line_changed(r, site);
}

/* --- records -------------------------------------------------------------------------------------------------------------------- */

static bool key_answered(struct replay *r, uint64_t at_ms)
{
	const struct record *record = r->record;
	const struct keys_result result = {
		.outcome = record->outcome,
		.reservation = record->reservation,
		.expires_ms = record->expires_ms,
	};

	if (record->key.size == 0)
		return true;
	if (record->key.size > KEYS_BYTES_MAX)
		return amiss(r, "an Idempotency-Key of %zu bytes, and none has more than %u.", record->key.size, KEYS_BYTES_MAX);
	keys_restore(r->keys, record->key, record->digest, &result, at_ms, r->now_ms);
	return true;
}

static bool is_deciders(enum record_kind kind)
{
	return kind == RECORD_RULES || kind == RECORD_RESERVE || kind == RECORD_CONFIRM || kind == RECORD_RELEASE || kind == RECORD_EXPIRE ||
	       kind == RECORD_REFUSE || kind == RECORD_KEY;
}

static bool record_done(struct replay *r)
{
	const struct record *record = r->record;
	uint32_t site;

	if (r->stream != 0 && is_deciders(record->kind))
		return amiss(r, "only stream 0 has records of this kind.");
	switch (record->kind) {
	case RECORD_START:
	case RECORD_STOP:
	case RECORD_CONFIGURATION:
		return true;
	case RECORD_LINE:
		return line_restored(r);
	case RECORD_KEY:
		r->has_snapshot = true;
		if (record->key.size == 0)
			return amiss(r, "an Idempotency-Key without a byte.");
		return key_answered(r, record->at_ms);
	case RECORD_END:
		r->has_snapshot |= r->stream == 0;
		return true;
	case RECORD_CHANGE:
		return site_of(r, &site) && line_changed(r, site) && key_answered(r, record->stamp_ns / 1000000);
	case RECORD_RULES:
		return rules_changed(r) && key_answered(r, record->stamp_ns / 1000000);
	case RECORD_RESERVE:
		return reserved(r) && key_answered(r, record->stamp_ns / 1000000);
	case RECORD_CONFIRM:
	case RECORD_RELEASE:
	case RECORD_EXPIRE:
		return reservation_ended(r) && key_answered(r, record->stamp_ns / 1000000);
	case RECORD_REFUSE:
		return key_answered(r, record->stamp_ns / 1000000);
	}
	return amiss(r, "kind %d.", (int)record->kind);
}

bool replay_record(struct replay *r, unsigned stream, const struct record *record, char *fault, size_t fault_bytes)
{
	cache_check(r->magic == REPLAY_MAGIC);
	cache_check(stream < r->streams);
	r->record = record;
	r->fault = fault;
	r->fault_bytes = fault_bytes;
	if (stream != r->stream) {
		cache_check(!r->begun[stream]);
		if (!stream_over(r))
			return false;
		r->begun[stream] = true;
		r->stream = stream;
	}
	return record_done(r);
}

/* --- the sums --------------------------------------------------------------------------------------------------------------------- */

bool replay_missing(const struct count *count, uint32_t site, int64_t by[COUNT_KINDS])
{
	struct count_site found;
	bool missing = false;

	count_look(count, site, &found);
	for (unsigned kind = 0; kind < COUNT_KINDS; kind++)
		by[kind] = found.n[kind] < 0 ? -found.n[kind] : 0;
	if (found.count + by[COUNT_ENROLLED] - by[COUNT_WITHDRAWN] < 0)
		by[COUNT_ENROLLED] = by[COUNT_WITHDRAWN] - found.count;
	for (unsigned kind = 0; kind < COUNT_KINDS; kind++)
		missing |= by[kind] > 0;
	return missing;
}

static enum replay_answer sums_add_up(struct replay *r, uint32_t site)
{
	struct count_site found;
	int64_t by[COUNT_KINDS];

	if (!replay_missing(r->count, site, by))
		return REPLAY_ADDS_UP;
	count_look(r->count, site, &found);
	if (r->fault_bytes > 0) {
		r->fault[0] = '\0';
		if (site == COUNT_STUDY) {
			word(r, "The study");
		} else {
			const char *id;
			size_t id_bytes = count_id(r->count, site, &id);

			word(r, "Site \"%.*s\"", (int)id_bytes, id);
		}
		word(r, ", all streams together, comes to screened %" PRId64 ", enrolled %" PRId64 ", randomised %" PRId64 ", withdrawn %" PRId64
		     ", count %" PRId64 ". None of these can be below zero: the end of a stream is missing.", found.n[COUNT_SCREENED],
		     found.n[COUNT_ENROLLED], found.n[COUNT_RANDOMISED], found.n[COUNT_WITHDRAWN], found.count);
	}
	/* Stream 0 lowers by what others raised. Of a kind that it alone changes, or where there is no other, what is left of it has all
	 * that it rests on before it. */
	return by[COUNT_WITHDRAWN] > 0 || r->streams == 1 ? REPLAY_WRONG : REPLAY_MISSES;
}

enum replay_answer replay_end(struct replay *r, char *fault, size_t fault_bytes)
{
	enum replay_answer answer = REPLAY_ADDS_UP;
	struct count_stats stats;

	cache_check(r->magic == REPLAY_MAGIC);
	r->fault = fault;
	r->fault_bytes = fault_bytes;
	r->record = NULL; /* the last one was the caller's, and has gone */
	if (!stream_over(r))
		return REPLAY_WRONG;
	r->stream = r->streams;
	count_stats(r->count, &stats);
	for (uint32_t site = 0; site < stats.sites; site++) {
		enum replay_answer one = sums_add_up(r, site);

		if (one == REPLAY_WRONG)
			return one;
		if (one == REPLAY_MISSES) {
			/* The first is told; of the others it matters only whether they are worse. */
			answer = one;
			r->fault_bytes = 0;
		}
	}
	return answer == REPLAY_ADDS_UP ? sums_add_up(r, COUNT_STUDY) : answer;
}

struct replay *replay_new(struct count *count, struct decider *decider, struct keys *keys, uint64_t now_ms, unsigned streams)
{
	struct replay *r = calloc(1, sizeof(*r));
	struct count_stats stats;

	cache_check(r != NULL);
	count_stats(count, &stats);
	*r = (struct replay){
		.magic = REPLAY_MAGIC,
		.count = count,
		.decider = decider,
		.keys = keys,
		.now_ms = now_ms,
		.streams = streams,
		.sites_max = stats.sites_max,
		.stream = streams,
		.begun = calloc(streams, sizeof(bool)),
		.restored = calloc(stats.sites_max, sizeof(struct restored)),
		.rules_contained = calloc((size_t)stats.sites_max + 1, sizeof(uint64_t)),
	};
	cache_check(r->begun != NULL && r->restored != NULL && r->rules_contained != NULL);
	return r;
}

void replay_free(struct replay *r)
{
	if (r == NULL)
		return;
	cache_check(r->magic == REPLAY_MAGIC);
	free(r->begun);
	free(r->restored);
	free(r->rules_contained);
	r->magic = 0;
	free(r);
}
