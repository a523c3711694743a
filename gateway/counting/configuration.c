/* See gateway/counting/configuration.h. */
#include "gateway/counting/configuration.h"

#include "gateway/gateway.h"
#include "gateway/journal/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What of them is compared; the digest first. */
static const char *const NAMES[] = {
	"configuration", "durability", "new_sites", "cores", "sites_max", "changes_max", "idempotency_keys_max", "reservations_max",
	"idempotency_window_ms", "reservation_ms",
};

static void digest_print(const struct config *config, FILE *out)
{
	uint8_t digest[RECORD_CHAIN_BYTES];
	char *text = NULL;
	size_t size = 0;
	FILE *whole = open_memstream(&text, &size);

	check(whole);
	config_print(config, whole);
	check(fclose(whole) == 0);
	journal_hash(digest, (const uint8_t *)text, size, NULL, 0);
	free(text);
	for (unsigned i = 0; i < sizeof digest; i++)
		fprintf(out, "%02x", digest[i]);
}

char *configuration_words(const struct gateway *gateway)
{
	const struct config *config = gateway->config;
	char *words = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&words, &size);

	check(out);
	fprintf(out, "version %s cores %u configuration ", POSTERN_VERSION, gateway->cores.count);
	digest_print(config, out);
	fprintf(out, " durability %s new_sites %s", config_durability_word(config->count.durability), config->count.new_sites ? "true" : "false");
	fprintf(out, " sites_max %" PRIu64 " changes_max %" PRIu64 " idempotency_keys_max %" PRIu64 " reservations_max %" PRIu64,
	        config->limits.sites_max, config->limits.changes_max, config->limits.idempotency_keys_max, config->limits.reservations_max);
	fprintf(out, " idempotency_window_ms %" PRIu32 " reservation_ms %" PRIu32, config->timeouts.idempotency_window_ms, config->timeouts.reservation_ms);
	/* What the start did to the journal belongs into it. */
	if (gateway->counting.recovery.report.torn_bytes > 0)
		fprintf(out, " torn_bytes %" PRIu64, gateway->counting.recovery.report.torn_bytes);
	if (gateway->counting.lost_count > 0)
		fprintf(out, " lost_by_choice_sites %u", gateway->counting.lost_count);
	check(fclose(out) == 0);
	return words;
}

char *configuration_told(const struct record *record)
{
	char *words;

	if (record->kind != RECORD_START && !(record->kind == RECORD_CONFIGURATION && record->actor.size == 0))
		return NULL;
	/* Of a start with many streams a further record, which has heads alone (cache/record.h). */
	if (record->detail.size >= 5 && memcmp(record->detail.bytes, "heads", 5) == 0)
		return NULL;
	/* Not strndup: the text is no string, and may be the last of its file; where strings are checked strictly that is read beyond its end. */
	words = calloc(1, record->detail.size + 1);
	check(words);
	if (record->detail.size > 0)
		memcpy(words, record->detail.bytes, record->detail.size);
	return words;
}

struct record_text configuration_value(const char *words, const char *name)
{
	const size_t size = strlen(name);

	for (const char *at = words; *at; at += strcspn(at, " "), at += *at == ' ')
		if (strncmp(at, name, size) == 0 && at[size] == ' ')
			return (struct record_text){ at + size + 1, strcspn(at + size + 1, " ") };
	return (struct record_text){ "", 0 };
}

char *configuration_changes(const char *before, const char *now)
{
	char *changes = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&changes, &size);
	bool any = false;

	check(out);
	for (unsigned i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
		const struct record_text old = configuration_value(before, NAMES[i]), new = configuration_value(now, NAMES[i]);

		/* An earlier version did not tell it. */
		if (old.size == 0 || (old.size == new.size && memcmp(old.bytes, new.bytes, old.size) == 0))
			continue;
		fprintf(out, "%s%s %.*s → %.*s", any ? "; " : "", NAMES[i], (int)old.size, old.bytes, (int)new.size, new.bytes);
		any = true;
	}
	check(fclose(out) == 0);
	if (any)
		return changes;
	free(changes);
	return NULL;
}
