/* Before any core runs: what the journal says becomes lines, rules, reservations and keys. See gateway/counting/counting.h. */
#include "cache/replay.h"
#include "gateway/counting/configuration.h"
#include "gateway/counting/counting.h"
#include "gateway/gateway.h"
#include "gateway/journal/disk.h"
#include "gateway/journal/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static void stream_seen(void *user, const char *name)
{
	unsigned *count = user;
	char *end;
	const unsigned long number = strtoul(name, &end, 10);

	if (end != name && *end == '\0' && number < COUNT_CORES_MAX && number + 1 > *count)
		*count = (unsigned)number + 1;
}

/* Streams that a directory has, by their names: there may be more than cores now. */
static unsigned streams_found(const char *state)
{
	const int root = disk_directory_root(state, false), journal = root < 0 ? root : disk_directory(root, "journal", false);
	unsigned count = 0;

	if (journal >= 0) {
		disk_names(journal, stream_seen, &count);
		disk_close(journal);
	}
	if (root >= 0)
		disk_close(root);
	return count;
}

static void state_new(struct gateway *gateway, unsigned shards)
{
	const struct config *config = gateway->config;
	uint8_t seed[COUNT_SEED_BYTES];
	uint64_t key_seed[2];

	check(getrandom(seed, sizeof seed, 0) == sizeof seed && getrandom(key_seed, sizeof key_seed, 0) == sizeof key_seed);
	gateway->count = count_new(shards, (unsigned)config->limits.sites_max, seed);
	check(gateway->count);
	gateway->counting.decider = decider_new(gateway->count, gateway->cores.count, (unsigned)config->limits.reservations_max);
	if (config->count.durability != CONFIG_DURABILITY_ALWAYS)
		decider_publishes_early(gateway->counting.decider);
	gateway->counting.keys = keys_new((unsigned)config->limits.idempotency_keys_max, config->timeouts.idempotency_window_ms, key_seed);
}

/* How the last run that stream 0 tells of wrote it. Of an older version nobody knows. */
enum written { WRITTEN_UNKNOWN, WRITTEN_STRICTLY, WRITTEN_WEAKLY };

struct reading {
	struct replay *replay;
	struct counting_start *start;
	unsigned streams;                /* that the directory had … */
	unsigned vouched;                /* … and how many of the others the end of the last run names */
	enum written written;
};

static enum written written_by(const char *words)
{
	const struct record_text told = configuration_value(words, "durability");

	for (unsigned i = CONFIG_DURABILITY_ALWAYS; i <= CONFIG_DURABILITY_MEMORY; i++) {
		const char *name = config_durability_word(i);

		if (told.size == strlen(name) && memcmp(told.bytes, name, told.size) == 0)
			return i == CONFIG_DURABILITY_ALWAYS ? WRITTEN_STRICTLY : WRITTEN_WEAKLY;
	}
	return WRITTEN_UNKNOWN;
}

/* RECORD_STOP, or several, name the head of each other stream that was known to be synced (counting_close). */
static unsigned vouched_for(const struct record *record)
{
	unsigned named = 0;

	for (size_t i = 0; i + 1 < record->detail.size; i++)
		named += record->detail.bytes[i] == ' ' && record->detail.bytes[i + 1] >= '0' && record->detail.bytes[i + 1] <= '9';
	return named;
}

static bool seen(void *user, unsigned stream, const struct record *record, struct recovery_fault *fault)
{
	struct reading *reading = user;
	char *words = stream == 0 ? configuration_told(record) : NULL;

	/* Only what is lowered can miss what it was lowered from, and only stream 0 lowers. A run that ended in order has synced all streams, unless a
	 * sync failed. */
	if (words) {
		free(reading->start->configuration_before);
		reading->start->configuration_before = words;
		reading->written = written_by(words);
		reading->vouched = 0;
	} else if (stream == 0 && record->kind == RECORD_STOP) {
		reading->vouched += vouched_for(record);
		if (reading->vouched + 1 >= reading->streams)
			reading->written = WRITTEN_STRICTLY;
	}
	return replay_record(reading->replay, stream, record, fault->sentence, sizeof fault->sentence);
}

static void lost_add(struct counting_start *counting, uint32_t site, const int64_t by[COUNT_KINDS])
{
	struct lost *lost;

	/* Full at each power of two, and doubled there. */
	if ((counting->lost_count & (counting->lost_count - 1)) == 0) {
		counting->lost = realloc(counting->lost, (counting->lost_count ? 2 * counting->lost_count : 1) * sizeof *lost);
		check(counting->lost);
	}
	lost = &counting->lost[counting->lost_count++];
	lost->site = site;
	memcpy(lost->by, by, sizeof lost->by);
}

/* Without a sync for each answer, and where nothing saw to it that stream 0 builds only on what is synced (cache/decide.h: SYNC_SITE), a power cut may
 * have taken the end of one stream and left what stream 0 built on it. That was chosen; so it is told, and what is missing is recorded as raises in
 * stream 0. From then on the journal adds up again, whatever durability comes next. */
static bool lost_by_choice(struct gateway *gateway, enum written written, struct recovery_fault *fault)
{
	const enum config_durability now = gateway->config->count.durability;
	const size_t n = strlen(fault->sentence);
	struct count_stats stats;
	int64_t by[COUNT_KINDS];

	if (written == WRITTEN_STRICTLY) {
		snprintf(fault->sentence + n, sizeof fault->sentence - n, " The run before waited for every sync, so no durability explains it; restore the "
			"journal from a copy; \"posternctl audit verify\" says more");
		return false;
	}
	if (written == WRITTEN_UNKNOWN && now == CONFIG_DURABILITY_ALWAYS) {
		snprintf(fault->sentence + n, sizeof fault->sentence - n, " With durability: everysec or memory that may be; if the run before had one of them, "
			"start once with it, and what is missing is recorded");
		return false;
	}
	count_stats(gateway->count, &stats);
	for (uint32_t site = 0; site < stats.sites; site++)
		if (replay_missing(gateway->count, site, by))
			lost_add(&gateway->counting, site, by);
	log_say(gateway->config->log.level, CONFIG_LOG_WARN, "count: %s The run before did not wait for syncs, and a power cut may take that; what is "
		"missing at %u sites is recorded as raised by postern", fault->sentence, gateway->counting.lost_count);
	return true;
}

static bool read_all(struct gateway *gateway, struct recovery_fault *fault, unsigned found, unsigned shards)
{
	struct counting_start *counting = &gateway->counting;
	const uint64_t now_ms = kernel_wall_ns(NULL) / 1000000;
	struct replay *replay = replay_new(gateway->count, counting->decider, counting->keys, now_ms, shards);
	struct reading reading = { .replay = replay, .start = counting, .streams = found };
	bool good;

	for (unsigned i = 0; i < shards; i++)
		count_take(gateway->count, i);
	good = recovery_run(&counting->recovery, gateway->config->state, gateway->cores.count, journal_hash, seen, &reading, fault);
	if (good) {
		const enum replay_answer answer = replay_end(replay, fault->sentence, sizeof fault->sentence);

		good = answer == REPLAY_ADDS_UP || (answer == REPLAY_MISSES && lost_by_choice(gateway, reading.written, fault));
	}
	if (good)
		decider_restored(counting->decider);
	for (unsigned i = 0; i < shards; i++)
		count_put(gateway->count, i);
	replay_free(replay);
	return good;
}

bool counting_recover(struct gateway *gateway, struct recovery_fault *fault)
{
	const struct recovery_report *report = &gateway->counting.recovery.report;
	const unsigned found = streams_found(gateway->config->state), cores = gateway->cores.count, shards = found > cores ? found : cores;

	state_new(gateway, shards);
	if (!read_all(gateway, fault, found, shards)) {
		counting_forget(gateway);
		return false;
	}
	gateway->counting.configuration = configuration_words(gateway);
	if (report->records + report->snapshot_records > 0)
		log_say(gateway->config->log.level, CONFIG_LOG_INFO, "count: %" PRIu64 " records of %u streams read in %" PRIu64 " ms (%" PRIu64
		        " from snapshots)", report->records, report->streams, report->took_ns / 1000000, report->snapshot_records);
	return true;
}

void counting_without_journal(struct gateway *gateway)
{
	state_new(gateway, gateway->cores.count);
	count_take(gateway->count, 0);
	decider_restored(gateway->counting.decider);
	count_put(gateway->count, 0);
}

void counting_forget(struct gateway *gateway)
{
	struct counting_start *counting = &gateway->counting;

	recovery_free(&counting->recovery);
	decider_free(counting->decider);
	keys_free(counting->keys);
	free(counting->configuration);
	free(counting->configuration_before);
	free(counting->lost);
	count_free(gateway->count);
	gateway->count = NULL;
	*counting = (struct counting_start){ 0 };
}
