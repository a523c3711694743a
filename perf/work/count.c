/* perf/work/count.c — the count: reading, raising, deciding, recording, keys. Two cores, a thousand sites. */
#include "cache/block.h"
#include "cache/count.h"
#include "cache/decide.h"
#include "cache/keys.h"
#include "cache/permits.h"
#include "gateway/journal/hash.h"
#include "perf/work/work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SITES 1000u

static struct count *count;
static struct decider *decider;
static struct permits *permits;
static struct keys *keys;
static uint32_t site;
static uint64_t stamp_ns = UINT64_C(1795651200000000000);
static uint64_t sequence;
static uint64_t key_number;
static uint8_t chain[RECORD_CHAIN_BYTES];
static uint8_t block[BLOCK_HEADER_BYTES + 2 * RECORD_BYTES_MAX];

static const char SITE[] = "site-0777";
static const int64_t ONE[COUNT_KINDS] = { [COUNT_ENROLLED] = 1 };
static const uint8_t DIGEST[RECORD_DIGEST_BYTES] = { 1, 2, 3 };

static void prepare(void)
{
	static const uint8_t SEED[COUNT_SEED_BYTES] = "sixteen of bytes";

	count = count_new(2, 4096, SEED);
	check(count);
	count_take(count, 0);
	count_take(count, 1);
	for (unsigned i = 0; i < SITES; i++) {
		char id[16];
		int n = snprintf(id, sizeof id, "site-%04u", i);

		check(count_enter(count, id, (size_t)n, &site) == COUNT_OK);
		for (unsigned core = 0; core < 2; core++) {
			check(count_reserve(count, core, site) == COUNT_OK);
			count_apply(count, core, site, ONE, ++stamp_ns);
		}
	}
	check(count_find(count, SITE, sizeof SITE - 1, &site) == COUNT_OK);
	decider = decider_new(count, 2, 1000);
	check(decider);
	decider_restored(decider);
	permits = permits_new(decider);
	check(permits);
}

static void find_unit(void)
{
	uint32_t found;

	check(count_find(count, SITE, sizeof SITE - 1, &found) == COUNT_OK && found == site);
}

static void read_unit(void)
{
	check(count_read(count, site) == 2);
}

static void look_unit(void)
{
	struct count_site found;

	count_look(count, site, &found);
	check(found.count == 2);
}

/* What a core does by itself for a POST, but for the record (below). */
static void raise_unit(void)
{
	check(permits_take(permits, site, ONE));
	check(count_reserve(count, 1, site) == COUNT_OK);
	count_apply(count, 1, site, ONE, ++stamp_ns);
}

/* The room has been recalled, nobody else has any, and every change is decided by core 0. */
static enum count_refusal decide(struct command *command)
{
	struct outcome outcome;
	enum decision decision;

	while ((decision = decider_decide(decider, command, 0, 1000, &outcome)) != DECIDED) {
		const uint32_t of = decision == RECALL_STUDY ? COUNT_STUDY : command->site;

		for (unsigned core = 0; core < 2; core++)
			if (decider_holds(decider, of, core))
				decider_recalled(decider, of, core, core == 1 ? permits_recall(permits, of) : PERMIT_UNBOUNDED);
	}
	if (outcome.refusal == REFUSAL_NONE) {
		check(count_reserve(count, 0, command->site) == COUNT_OK);
		decider_publish(decider, &outcome.effect, ++stamp_ns);
	}
	return outcome.refusal;
}

static void prepare_capped(void)
{
	struct command cap = { .kind = COMMAND_RULES, .sets_cap = true, .cap = 1000000 };

	prepare();
	cap.site = site;
	check(decide(&cap) == REFUSAL_NONE);
}

static void capped_unit(void)
{
	struct command change = { .kind = COMMAND_CHANGE, .site = site, .by = { [COUNT_ENROLLED] = 1 } };

	check(decide(&change) == REFUSAL_NONE);
}

/* One record in a block of its own: what a POST costs where the disk is waited for and nobody else comes. */
static void record_unit(void)
{
	const struct record record = {
		.kind = RECORD_CHANGE, .sequence = ++sequence, .stamp_ns = ++stamp_ns,
		.site = { SITE, sizeof SITE - 1 }, .actor = { "anonymous", 9 }, .address = { "192.0.2.7", 9 },
		.request_id = { "6f1d0b8f5c0e4f3a", 16 },
		.by = { [COUNT_ENROLLED] = 1 }, .before = { 31, 17, 15, 2 },
		.cap = -1, .cap_before = -1,
	};
	const size_t n = record_write(block + BLOCK_HEADER_BYTES, RECORD_BYTES_MAX, &record, chain, journal_hash);

	check(n > 0 && block_finish(block, n, sequence, sequence, 1) > n);
}

static struct record_text key_text(char text[40], uint64_t number)
{
	/* As long as the UUIDs that clients take, and dear to nobody: the digits cost twenty instructions. */
	memcpy(text, "6f1d0b8f-5c0e-4f3a-b4d9-b5a3d0c7e2f1", 36);
	for (unsigned i = 0; i < 8; i++)
		text[i] = (char)('a' + (number >> 4 * i & 15));
	return (struct record_text){ text, 36 };
}

static void key_unit(void)
{
	static const struct keys_result DONE = { 0 };
	struct keys_result answer;
	struct key *key;
	char text[40];

	key_number++;
	check(keys_enter(keys, key_text(text, key_number), DIGEST, 1000 + key_number, &key, &answer) == KEYS_NEW);
	keys_finish(keys, key, &DONE, 1000 + key_number);
	keys_expire(keys, 1000 + key_number, 2);
}

/* A table in which each new key makes an old one's time run out. */
static void prepare_keys(void)
{
	static const uint64_t SEED[2] = { 1, 2 };

	keys = keys_new(100000, 10000, SEED);
	check(keys);
	for (unsigned i = 0; i < 20000; i++)
		key_unit();
}

static void key_again_unit(void)
{
	struct keys_result answer;
	struct key *key;
	char text[40];

	check(keys_enter(keys, key_text(text, 15000), DIGEST, 1000 + key_number, &key, &answer) == KEYS_ANSWERED);
}

static const struct work works[] = {
	{ "count-find", 10000, prepare, find_unit },
	{ "count-read", 10000, prepare, read_unit },
	{ "count-look", 10000, prepare, look_unit },
	{ "count-raise", 10000, prepare, raise_unit },
	{ "count-decide-capped", 5000, prepare_capped, capped_unit },
	{ "record-block", 1000, prepare, record_unit },
	{ "key-new", 5000, prepare_keys, key_unit },
	{ "key-again", 5000, prepare_keys, key_again_unit },
};

const struct work_list WORK_COUNT = { works, array_count(works) };
