/* See gateway/counting/counting.h. */
#include "gateway/counting/counting.h"
#include "gateway/counting/configuration.h"
#include "gateway/counting/deciding.h"
#include "gateway/gateway.h"
#include "gateway/journal/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define RECORDED_SITES 64u               /* of a block */
#define HEAD_BYTES_MAX (1u + 4 + 1 + 20 + 1 + 2 * RECORD_CHAIN_BYTES + 1) /* one of heads_write's, with the 0 behind it */
#define SNAPSHOT_SITES_AT_ONCE 16u       /* looked at for one record of a snapshot */
#define SNAPSHOT_AFTER_BYTES (32u << 20) /* of journal: what a start reads at most, besides the snapshot */

const struct reason CHANGES_FULL = { "changes_full",
	"as many changes are under way as limits.changes_max allows a core; nothing was counted, so ask again" };
const struct reason COUNTING_LATE = { "counting_late",
	"the change is under way and not known to be on the disk; it may be counted yet, so ask again with the same Idempotency-Key" };
const struct reason COUNTING_ENDS = { "counting_ends", "the gateway is stopping and has not counted this; ask again, another will answer" };
const struct reason IDEMPOTENCY_KEY_REUSED = { "idempotency_key_reused", "this Idempotency-Key came with another request before" };
const struct reason IDEMPOTENCY_KEYS_FULL = { "idempotency_keys_full",
	"as many keys are remembered as limits.idempotency_keys_max allows; the oldest goes when its window is over" };

struct recorded {
	bool known;
	int64_t n[COUNT_KINDS];
};

/* ---- the journal, or none --------------------------------------------------------------------------------------------------- */

/* Without a journal everything is durable at once, and still told later, as with one. */
static void settle_step(struct task *task)
{
	struct counting *counting = owner_of(task, struct counting, settle);
	struct link *link;

	while ((link = link_take_first(&counting->settled))) {
		struct journal_waiter *waiter = owner_of(link, struct journal_waiter, in_journal);

		waiter->settled(waiter, NULL);
	}
}

static void settle_later(struct counting *counting, struct journal_waiter *waiter)
{
	link_put_last(&counting->settled, &waiter->in_journal);
	task_wake(&counting->settle);
}

const struct reason *counting_failure(const struct counting *counting)
{
	return counting->journal ? journal_failure(counting->journal) : NULL;
}

const struct reason *counting_failing(const struct gateway *gateway)
{
	for (unsigned i = 0; i < gateway->cores.count; i++) {
		const struct counting *counting = gateway->workers[i]->counting;
		const struct reason *failing = counting ? atomic_load_explicit(&counting->statistics.failing, memory_order_relaxed) : NULL;

		if (failing)
			return failing;
	}
	return NULL;
}

void counting_note(struct worker *worker, const char *actor, const char *what)
{
	struct record record = { .kind = RECORD_CONFIGURATION, .actor = { actor, strlen(actor) }, .detail = { what, strlen(what) } };

	if (worker->counting && worker->counting->journal)
		journal_append(worker->counting->journal, &record, NULL);
}

void counting_append(struct counting *counting, struct record *record, struct journal_waiter *waiter)
{
	if (counting->journal) {
		check(!journal_append(counting->journal, record, waiter));
	} else {
		record->stamp_ns = counting_now_ns(counting);
		settle_later(counting, waiter);
	}
}

void counting_barrier(struct counting *counting, struct journal_waiter *waiter)
{
	if (counting->journal)
		journal_barrier(counting->journal, waiter);
	else
		settle_later(counting, waiter);
}

void counting_sync(struct counting *counting, struct journal_waiter *waiter)
{
	if (counting->journal)
		journal_sync(counting->journal, waiter);
	else
		settle_later(counting, waiter);
}

bool counting_flush(struct counting *counting)
{
	return !counting->journal || !journal_flush(counting->journal);
}

void counting_saw(struct counting *counting, uint64_t stamp_ns)
{
	if (counting->journal)
		journal_saw(counting->journal, stamp_ns);
}

uint64_t counting_now_ns(const struct counting *counting)
{
	return counting->journal ? journal_now_ns(counting->journal) : kernel_wall_ns(counting->worker->core.kernel);
}

/* ---- lines as recorded -------------------------------------------------------------------------------------------------------- */

/* Until a core records something of a site its line stands as published. */
static struct recorded *recorded_of(struct counting *counting, uint32_t site)
{
	const struct worker *worker = counting->worker;
	struct recorded **block = &counting->recorded[site / RECORDED_SITES], *recorded;

	if (!*block)
		*block = calloc(RECORDED_SITES, sizeof **block);
	check(*block);
	recorded = &(*block)[site % RECORDED_SITES];
	if (!recorded->known) {
		struct line line;

		count_line(worker->gateway->count, worker->core.index, site, &line);
		memcpy(recorded->n, line.n, sizeof recorded->n);
		recorded->known = true;
	}
	return recorded;
}

void counting_record_line(struct counting *counting, uint32_t site, const int64_t by[COUNT_KINDS], int64_t before[COUNT_KINDS])
{
	struct recorded *recorded = recorded_of(counting, site);

	memcpy(before, recorded->n, sizeof recorded->n);
	for (unsigned i = 0; i < COUNT_KINDS; i++)
		recorded->n[i] += by[i];
}

/* ---- who is told ----------------------------------------------------------------------------------------------------------------- */

static int site_compare(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* One group commit publishes many changes of few sites: each site is told once. */
static void tell_step(struct task *task)
{
	struct counting *counting = owner_of(task, struct counting, tell);
	unsigned count = 0;

	qsort(counting->told, counting->told_count, sizeof *counting->told, site_compare);
	for (unsigned i = 0; i < counting->told_count; i++)
		if (count == 0 || counting->told[count - 1] != counting->told[i])
			counting->told[count++] = counting->told[i];
	counting->told_count = 0;
	events_tell(counting->worker, counting->told, count);
}

void counting_published(struct counting *counting, uint32_t site)
{
	if (!events_wanted(counting->worker->gateway) || !scope_live(&counting->worker->core.root))
		return;
	if (counting->told_count == counting->told_space) {
		counting->told_space = counting->told_space ? 2 * counting->told_space : 64;
		counting->told = realloc(counting->told, counting->told_space * sizeof *counting->told);
		check(counting->told);
	}
	counting->told[counting->told_count++] = site;
	task_wake(&counting->tell);
}

/* ---- snapshots -------------------------------------------------------------------------------------------------------------------- */

/* Each of these looks at a bounded number of places: most of 65536 sites may have no line of this core's, and most of a table that was full once may
 * be holes. True without a record leaves the rest to the next call. */
enum { SNAPSHOT_LINES, SNAPSHOT_RULES, SNAPSHOT_RESERVATIONS, SNAPSHOT_KEYS, SNAPSHOT_CONFIGURATION, SNAPSHOT_OVER };

static struct record_text site_text(const struct count *count, uint32_t site)
{
	struct record_text text = { 0 };

	if (site != COUNT_STUDY)
		text.size = count_id(count, site, &text.bytes);
	return text;
}

static unsigned site_count(const struct count *count)
{
	struct count_stats stats;

	count_stats(count, &stats);
	return stats.sites;
}

static bool snapshot_line(struct counting *counting, uint64_t *site, struct record *record)
{
	const struct count *count = counting->worker->gateway->count;
	struct line line;

	for (unsigned looked = 0; *site < site_count(count); ++*site) {
		if (looked++ == SNAPSHOT_SITES_AT_ONCE)
			return true;
		count_line(count, counting->worker->core.index, (uint32_t)*site, &line);
		if (line.changes == 0)
			continue;
		*record = (struct record){
			.kind = RECORD_LINE,
			.sequence = journal_settled(counting->journal),
			.site = site_text(count, (uint32_t)*site),
			.changes = (int64_t)line.changes,
			.line_stamp_ns = (int64_t)line.stamp_ns,
		};
		memcpy(record->before, line.n, sizeof record->before);
		++*site;
		return true;
	}
	return false;
}

/* The study's rules come last. They are as decided, and so contain what is appended and not settled yet; the journal gives the snapshot
 * its name only when that is. */
static bool snapshot_rules(struct counting *counting, uint64_t *site, struct record *record)
{
	const struct count *count = counting->worker->gateway->count;
	struct count_rules rules;

	for (unsigned looked = 0; *site <= site_count(count); ++*site) {
		if (looked++ == SNAPSHOT_SITES_AT_ONCE)
			return true;
		const uint32_t number = *site < site_count(count) ? (uint32_t)*site : COUNT_STUDY;

		decider_rules(deciding_decider(counting->deciding), number, &rules);
		if (rules.changes == 0)
			continue;
		*record = (struct record){
			.kind = RECORD_RULES,
			.sequence = journal_appended(counting->journal),
			.site = site_text(count, number),
			.status = rules.status,
			.cap = rules.cap,
			.rule_changes = (int64_t)rules.changes,
			.line_stamp_ns = (int64_t)rules.stamp_ns,
		};
		*site = number == COUNT_STUDY ? UINT64_MAX - 1 : *site + 1;
		return true;
	}
	return false;
}

static bool snapshot_reservation(struct counting *counting, uint64_t *place, struct record *record)
{
	size_t at = (size_t)*place;
	uint64_t reservation, expires_ms;
	uint32_t site;
	int64_t amount;

	if (!decider_each_reservation(deciding_decider(counting->deciding), &at, &reservation, &site, &amount, &expires_ms))
		return false;
	*place = at;
	if (reservation == 0)
		return true;
	*record = (struct record){
		.kind = RECORD_RESERVE,
		.sequence = journal_appended(counting->journal),
		.site = site_text(counting->worker->gateway->count, site),
		.reservation = reservation,
		.amount = amount,
		.expires_ms = expires_ms,
	};
	return true;
}

static bool snapshot_key(struct counting *counting, uint64_t *place, struct record *record)
{
	struct keys_result result;
	struct record_text key;
	const uint8_t *digest;
	uint64_t at_ms;

	if (!keys_each(deciding_keys(counting->deciding), place, &key, &digest, &result, &at_ms))
		return false;
	if (key.size == 0)
		return true;
	*record = (struct record){
		.kind = RECORD_KEY,
		.sequence = journal_appended(counting->journal),
		.key = key,
		.outcome = result.outcome,
		.reservation = result.reservation,
		.expires_ms = result.expires_ms,
		.at_ms = at_ms,
	};
	memcpy(record->digest, digest, sizeof record->digest);
	return true;
}

/* The next start compares its own with it, and may not read as far back as to the record of this one. */
static bool snapshot_configuration(struct counting *counting, uint64_t *place, struct record *record)
{
	const char *words = counting->worker->gateway->counting.configuration;

	if ((*place)++ > 0)
		return false;
	*record = (struct record){
		.kind = RECORD_CONFIGURATION,
		.sequence = journal_appended(counting->journal),
		.detail = { words, strlen(words) },
	};
	return true;
}

static bool snapshot_next(void *user, uint64_t place[4], struct record *record)
{
	struct counting *counting = user;

	for (; place[0] < SNAPSHOT_OVER; place[0]++, place[1] = 0) {
		if (place[0] == SNAPSHOT_LINES ? snapshot_line(counting, &place[1], record)
		    : !counting->deciding      ? false
		    : place[0] == SNAPSHOT_RULES ? snapshot_rules(counting, &place[1], record)
		    : place[0] == SNAPSHOT_RESERVATIONS ? snapshot_reservation(counting, &place[1], record)
		    : place[0] == SNAPSHOT_KEYS         ? snapshot_key(counting, &place[1], record)
		                                        : snapshot_configuration(counting, &place[1], record))
			return true;
	}
	return false;
}

/* ---- from the first turn to the last -------------------------------------------------------------------------------------------------- */

static enum journal_mode mode_of(const struct config *config)
{
	switch (config->count.durability) {
	case CONFIG_DURABILITY_ALWAYS:
		return JOURNAL_ALWAYS;
	case CONFIG_DURABILITY_EVERYSEC:
		return JOURNAL_EVERYSEC;
	case CONFIG_DURABILITY_MEMORY:
		return JOURNAL_MEMORY;
	}
	return JOURNAL_ALWAYS;
}

/* " heads 0:17:ab…": where the other streams end, as far as that is known here. So a stream that is cut or taken away is missed by the others.
 * From stream *from on, as many as there is room for; *from becomes the first for the next record, or the number of streams. */
static size_t heads_write(const struct counting *counting, unsigned *from, char *text, size_t size)
{
	const struct recovery *recovery = &counting->worker->gateway->counting.recovery;
	size_t n = (size_t)snprintf(text, size, "heads");

	for (; *from < recovery->stream_count; ++*from) {
		const struct journal_head *head = &recovery->heads[*from];

		if (*from == counting->worker->core.index || head->sequence == 0)
			continue;
		if (n + HEAD_BYTES_MAX > size)
			break;
		n += (size_t)snprintf(text + n, size - n, " %u:%llu:", *from, (unsigned long long)head->sequence);
		for (unsigned k = 0; k < RECORD_CHAIN_BYTES; k++)
			n += (size_t)snprintf(text + n, size - n, "%02x", head->chain[k]);
	}
	return n;
}

static bool begin_record(struct counting *counting, const char *words)
{
	const struct recovery *recovery = &counting->worker->gateway->counting.recovery;
	char detail[RECORD_DETAIL_BYTES_MAX];
	size_t n = (size_t)snprintf(detail, sizeof detail, "%s ", words);
	unsigned from = 0;

	do {
		struct record record = { .kind = RECORD_START, .actor = { "postern", 7 } };

		n += heads_write(counting, &from, detail + n, sizeof detail - n);
		record.detail = (struct record_text){ detail, n };
		if (journal_append(counting->journal, &record, NULL))
			return false;
		n = 0;
	} while (from < recovery->stream_count);
	counting->begun = true;
	return true;
}

/* An auditor sees between two starts what of the configuration is different. */
static void configuration_compare(struct counting *counting)
{
	const struct counting_start *start = &counting->worker->gateway->counting;
	char *changes;

	if (!counting->deciding || !start->configuration_before)
		return;
	changes = configuration_changes(start->configuration_before, start->configuration);
	if (changes)
		counting_note(counting->worker, "postern", changes);
	free(changes);
}

/* What was lost is made good: on the disk and published when this returns, while no core serves yet (gateway/run.c), so that nobody ever reads
 * less than nothing. */
static bool lost_mend(struct counting *counting)
{
	const struct worker *worker = counting->worker;
	const struct counting_start *start = &worker->gateway->counting;
	bool good = true;

	if (!counting->deciding || start->lost_count == 0)
		return true;
	for (unsigned i = 0; good && i < start->lost_count; i++)
		good = deciding_mend(counting->deciding, start->lost[i].site, start->lost[i].by);
	if (counting_flush(counting) && good)
		return true;
	log_say(worker->config->log.level, CONFIG_LOG_ERROR, "count: what was lost cannot be recorded; a further start goes on with it");
	return false;
}

/* False: it takes no record, and has said why. */
static bool journal_begin(struct counting *counting)
{
	struct worker *worker = counting->worker;
	struct recovery *recovery = &worker->gateway->counting.recovery;
	const unsigned index = worker->core.index;
	const struct journal_settings settings = {
		.directory = recovery->directories[index],
		.stream = index,
		.mode = mode_of(worker->config),
		.segment_bytes_max = worker->config->count.segment_bytes,
		.snapshot_bytes = SNAPSHOT_AFTER_BYTES,
		.hash = journal_hash,
		.statistics = &counting->statistics,
	};

	recovery->directories[index] = -1;
	counting->journal = journal_open(&worker->core, &settings, &recovery->heads[index]);
	journal_set_snapshot(counting->journal, snapshot_next, counting);
	/* The clock may have been set back since; the history goes on all the same. */
	for (unsigned i = 0; i < recovery->stream_count; i++)
		journal_saw(counting->journal, recovery->heads[i].stamp_ns);
	/* Before RECORD_START, which says that from now on more is waited for: a start that ends in between finds the rest again. */
	if (!lost_mend(counting))
		return false;
	if (!begin_record(counting, worker->gateway->counting.configuration))
		return false;
	configuration_compare(counting);
	return true;
}

bool counting_open(struct worker *worker)
{
	struct gateway *gateway = worker->gateway;
	struct counting *counting;

	if (!gateway->counting.decider)
		return true;
	counting = calloc(1, sizeof *counting);
	check(counting);
	worker->counting = counting;
	counting->worker = worker;
	counting->recorded = calloc(worker->config->limits.sites_max / RECORDED_SITES + 1, sizeof *counting->recorded);
	check(counting->recorded && getrandom(&counting->request_prefix, sizeof counting->request_prefix, 0) == sizeof counting->request_prefix);
	link_init(&counting->settled);
	task_init(&counting->settle, &worker->core.root, "settle", settle_step);
	task_init(&counting->tell, &worker->core.root, "tell changes", tell_step);
	counting->permits = permits_new(gateway->counting.decider);
	if (worker->core.index == 0)
		counting->deciding = deciding_open(counting, gateway->counting.decider, gateway->counting.keys);
	return !gateway->counting.recovery.heads || journal_begin(counting);
}

/* Core 0 ends last, and knows where all have ended; of those that end meanwhile the others know nothing. */
static struct record *ends_new(const struct counting *counting, unsigned *count)
{
	const struct recovery *recovery = &counting->worker->gateway->counting.recovery;
	struct record *ends = NULL;
	unsigned from = counting->deciding ? 0 : recovery->stream_count;

	*count = 0;
	do {
		ends = realloc(ends, ++*count * sizeof *ends);
		check(ends);

		struct record *end = &ends[*count - 1];

		*end = (struct record){ .kind = RECORD_STOP, .actor = { "postern", 7 } };
		if (from < recovery->stream_count) {
			char *detail = malloc(RECORD_DETAIL_BYTES_MAX);

			check(detail);
			end->detail = (struct record_text){ detail, heads_write(counting, &from, detail, RECORD_DETAIL_BYTES_MAX) };
		}
	} while (from < recovery->stream_count);
	return ends;
}

void counting_close(struct worker *worker)
{
	struct counting *counting = worker->counting;
	struct recovery *recovery = &worker->gateway->counting.recovery;
	struct record *last = NULL;
	unsigned count = 0;

	if (!counting || !counting->journal)
		return;
	/* Without a begin there is no end either. */
	if (counting->begun)
		last = ends_new(counting, &count);
	journal_close(counting->journal, last, count, &recovery->heads[worker->core.index]);
	counting->journal = NULL;
	for (unsigned i = 0; i < count; i++)
		free((void *)(uintptr_t)last[i].detail.bytes);
	free(last);
}

bool counting_rests(const struct worker *worker)
{
	const struct counting *counting = worker->counting;

	return !counting || (counting->under_way + counting->asked == 0 && (!counting->deciding || deciding_rests(counting->deciding)));
}

void counting_fini(struct worker *worker)
{
	struct counting *counting = worker->counting;

	if (!counting)
		return;
	check(counting->under_way == 0);
	deciding_free(counting->deciding);
	permits_free(counting->permits);
	for (unsigned i = 0; i <= worker->config->limits.sites_max / RECORDED_SITES; i++)
		free(counting->recorded[i]);
	free(counting->recorded);
	free(counting->told);
	free(counting);
	worker->counting = NULL;
}
