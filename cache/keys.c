/* cache/keys.c — a table by key, and a line by answer.
 *
 *   chains   hash ─▶ key ─▶ key …                     all of them
 *   answers  [ key ][ key ][ — ][ key ] …             the answered ones in the order of their answers: a ring, whose first place has the
 *            first ─▶                                 number `first`, the next first + 1 … A key that leaves from the middle leaves a hole
 *
 * All windows are equally long, so who was answered first is over first, and forgetting looks at the first alone. Only where the clock
 * jumped back one behind it may be over earlier; it waits for the first, or until somebody comes with that key. */
#include "cache/keys.h"

#include "cache/siphash.h"

#include <stdlib.h>
#include <string.h>

#define KEYS_MAGIC 0x6b657973u /* "keys" */
#define ANSWERS_AT_FIRST 64u
#define PLACES_AT_ONCE 64u /* of a listing */
#define CHAINS_MAX (1u << 24)

struct key {
	struct key *next;                /* in its chain */
	void *user;
	uint64_t hash;
	uint64_t number;                 /* in the order of answers, from 1 on; 0: under way */
	uint64_t at_ms;
	struct keys_result result;
	uint8_t digest[RECORD_DIGEST_BYTES];
	uint16_t size;
	char bytes[];
};

struct keys {
	uint32_t magic;
	unsigned keys_max, count;
	uint64_t window_ms;
	uint64_t seed[2];
	size_t chain_count;              /* a power of two */
	size_t key_bytes;
	uint64_t first, end;             /* numbers: of the first answer that is kept, and behind the last */
	size_t answer_space;             /* a power of two */
	struct key **answers;            /* by number; NULL: a hole */
	struct key *chains[];
};

/* --- chains and answers ------------------------------------------------------------------------------------------------ */

static struct key **chain_of(struct keys *keys, uint64_t hash)
{
	return &keys->chains[hash & (keys->chain_count - 1)];
}

static struct key *key_find(struct keys *keys, struct record_text text, uint64_t hash)
{
	struct key *key = *chain_of(keys, hash);

	while (key != NULL && (key->hash != hash || key->size != text.size || memcmp(key->bytes, text.bytes, text.size) != 0))
		key = key->next;
	return key;
}

static struct key *key_new(struct keys *keys, struct record_text text, const uint8_t digest[RECORD_DIGEST_BYTES], uint64_t hash)
{
	struct key *key = calloc(1, sizeof(*key) + text.size);

	cache_check(key != NULL);
	key->hash = hash;
	memcpy(key->digest, digest, RECORD_DIGEST_BYTES);
	key->size = (uint16_t)text.size;
	memcpy(key->bytes, text.bytes, text.size);
	key->next = *chain_of(keys, hash);
	*chain_of(keys, hash) = key;
	keys->count++;
	keys->key_bytes += sizeof(*key) + text.size;
	return key;
}

static struct key **answer_at(const struct keys *keys, uint64_t number)
{
	return &keys->answers[number & (keys->answer_space - 1)];
}

static void answers_grow(struct keys *keys)
{
	struct key **old = keys->answers;
	size_t old_space = keys->answer_space;

	keys->answer_space = old_space == 0 ? ANSWERS_AT_FIRST : 2 * old_space;
	keys->answers = calloc(keys->answer_space, sizeof(keys->answers[0]));
	cache_check(keys->answers != NULL);
	for (uint64_t number = keys->first; number < keys->end; number++)
		*answer_at(keys, number) = old[number & (old_space - 1)];
	free(old);
}

/* Holes in between, made by a clock that jumped, would let the ring grow; where they are half of it they are closed up. All numbers become higher
 * by that and none lower, so a listing may give a key twice, which is harmless, and leaves none out. */
static void answers_make_room(struct keys *keys)
{
	uint64_t first = keys->end;

	if (keys->end - keys->first < keys->answer_space)
		return;
	if (keys->count > keys->answer_space / 2) {
		answers_grow(keys);
		return;
	}
	for (uint64_t number = keys->end; number-- > keys->first;) {
		struct key *key = *answer_at(keys, number);

		*answer_at(keys, number) = NULL;
		if (key == NULL)
			continue;
		key->number = --first;
		*answer_at(keys, first) = key;
	}
	keys->first = first;
}

static void key_answered(struct keys *keys, struct key *key, const struct keys_result *result, uint64_t at_ms)
{
	answers_make_room(keys);
	key->user = NULL;
	key->result = *result;
	key->at_ms = at_ms;
	key->number = keys->end++;
	*answer_at(keys, key->number) = key;
}

static void key_forget(struct keys *keys, struct key *key)
{
	struct key **at = chain_of(keys, key->hash);

	while (*at != key)
		at = &(*at)->next;
	*at = key->next;
	if (key->number != 0)
		*answer_at(keys, key->number) = NULL;
	while (keys->first < keys->end && *answer_at(keys, keys->first) == NULL)
		keys->first++;
	keys->count--;
	keys->key_bytes -= sizeof(*key) + key->size;
	free(key);
}

/* --- the window ---------------------------------------------------------------------------------------------------------- */

static bool is_over(const struct keys *keys, const struct key *key, uint64_t now_ms)
{
	return key->number != 0 && now_ms >= key->at_ms && now_ms - key->at_ms >= keys->window_ms;
}

unsigned keys_expire(struct keys *keys, uint64_t now_ms, unsigned most)
{
	unsigned forgotten = 0;

	cache_check(keys->magic == KEYS_MAGIC);
	while (forgotten < most && keys->first < keys->end) {
		struct key *key = *answer_at(keys, keys->first);

		if (key->at_ms > now_ms && key->at_ms - now_ms > keys->window_ms) {
			/* All at once, or each of them would stay for a window of its own when its turn comes. */
			for (uint64_t number = keys->first; number < keys->end; number++) {
				struct key *late = *answer_at(keys, number);

				if (late != NULL && late->at_ms > now_ms)
					late->at_ms = now_ms;
			}
		}
		if (!is_over(keys, key, now_ms))
			break;
		key_forget(keys, key);
		forgotten++;
	}
	return forgotten;
}

/* --- requests ------------------------------------------------------------------------------------------------------------ */

enum keys_answer keys_enter(struct keys *keys, struct record_text text, const uint8_t digest[RECORD_DIGEST_BYTES], uint64_t now_ms,
	struct key **entered, struct keys_result *answer)
{
	uint64_t hash;
	struct key *key;

	cache_check(keys->magic == KEYS_MAGIC);
	cache_check(text.size > 0 && text.size <= KEYS_BYTES_MAX);
	hash = siphash(keys->seed, (const uint8_t *)text.bytes, text.size);
	key = key_find(keys, text, hash);
	*entered = NULL;
	if (key != NULL && is_over(keys, key, now_ms)) {
		key_forget(keys, key);
		key = NULL;
	}
	if (key == NULL) {
		/* Two for each that comes: the table shrinks faster than it grows. */
		keys_expire(keys, now_ms, 2);
		if (keys->count >= keys->keys_max)
			return KEYS_FULL;
		*entered = key_new(keys, text, digest, hash);
		return KEYS_NEW;
	}
	if (memcmp(key->digest, digest, RECORD_DIGEST_BYTES) != 0)
		return KEYS_OTHER;
	if (key->number == 0) {
		*entered = key;
		return KEYS_UNDER_WAY;
	}
	*answer = key->result;
	return KEYS_ANSWERED;
}

void **key_user(struct key *key)
{
	return &key->user;
}

void keys_finish(struct keys *keys, struct key *key, const struct keys_result *result, uint64_t now_ms)
{
	cache_check(keys->magic == KEYS_MAGIC);
	cache_check(key->number == 0);
	key_answered(keys, key, result, now_ms);
}

void keys_drop(struct keys *keys, struct key *key)
{
	cache_check(keys->magic == KEYS_MAGIC);
	cache_check(key->number == 0);
	key_forget(keys, key);
}

/* --- from the journal, and to its snapshots -------------------------------------------------------------------------------- */

void keys_restore(struct keys *keys, struct record_text text, const uint8_t digest[RECORD_DIGEST_BYTES], const struct keys_result *result,
	uint64_t at_ms, uint64_t now_ms)
{
	struct key *key;
	uint64_t hash;

	cache_check(keys->magic == KEYS_MAGIC);
	cache_check(text.size > 0 && text.size <= KEYS_BYTES_MAX);
	if (now_ms >= at_ms && now_ms - at_ms >= keys->window_ms)
		return;
	hash = siphash(keys->seed, (const uint8_t *)text.bytes, text.size);
	key = key_find(keys, text, hash);
	if (key != NULL) {
		cache_check(key->number != 0);
		if (key->at_ms >= at_ms)
			return;
		key_forget(keys, key);
	}
	if (keys->count >= keys->keys_max)
		key_forget(keys, *answer_at(keys, keys->first));
	key_answered(keys, key_new(keys, text, digest, hash), result, at_ms);
}

unsigned keys_count(const struct keys *keys)
{
	return keys->count;
}

size_t keys_bytes(const struct keys *keys)
{
	return sizeof(*keys) + keys->chain_count * sizeof(keys->chains[0]) + keys->answer_space * sizeof(keys->answers[0]) + keys->key_bytes;
}

bool keys_each(const struct keys *keys, uint64_t *place, struct record_text *text, const uint8_t **digest, struct keys_result *result,
	uint64_t *at_ms)
{
	uint64_t number = *place + 1 > keys->first ? *place + 1 : keys->first;

	cache_check(keys->magic == KEYS_MAGIC);
	*text = (struct record_text){ 0 };
	if (number >= keys->end)
		return false;
	for (unsigned looked = 0; looked < PLACES_AT_ONCE && number < keys->end; looked++) {
		const struct key *key = *answer_at(keys, number);

		*place = number++;
		if (key == NULL)
			continue;
		*text = (struct record_text){ key->bytes, key->size };
		*digest = key->digest;
		*result = key->result;
		*at_ms = key->at_ms;
		break;
	}
	return true;
}

/* --- from the beginning to the end ------------------------------------------------------------------------------------------ */

struct keys *keys_new(unsigned keys_max, uint64_t window_ms, const uint64_t seed[2])
{
	size_t chain_count = 64;
	struct keys *keys;

	cache_check(keys_max > 0);
	while (chain_count < keys_max && chain_count < CHAINS_MAX)
		chain_count *= 2;
	keys = calloc(1, sizeof(*keys) + chain_count * sizeof(keys->chains[0]));
	cache_check(keys != NULL);
	keys->magic = KEYS_MAGIC;
	keys->keys_max = keys_max;
	keys->window_ms = window_ms;
	keys->seed[0] = seed[0];
	keys->seed[1] = seed[1];
	keys->chain_count = chain_count;
	keys->first = 1;
	keys->end = 1;
	return keys;
}

void keys_free(struct keys *keys)
{
	if (keys == NULL)
		return;
	cache_check(keys->magic == KEYS_MAGIC);
	for (size_t i = 0; i < keys->chain_count; i++) {
		struct key *key, *next;

		for (key = keys->chains[i]; key != NULL; key = next) {
			next = key->next;
			free(key);
		}
	}
	free(keys->answers);
	keys->magic = 0;
	free(keys);
}
