/* The table of keys: by name, and against a plain list. */
#include "cache/keys.c"

#include <criterion/criterion.h>
#include <stdio.h>

static const uint64_t SEED[2] = { 3, 4 };
static const uint8_t ONE[RECORD_DIGEST_BYTES] = { 1 }, TWO[RECORD_DIGEST_BYTES] = { 2 };

static struct record_text text(const char *words)
{
	return (struct record_text){ words, strlen(words) };
}

static enum keys_answer enter(struct keys *keys, const char *words, const uint8_t *digest, uint64_t now_ms, struct key **key, int64_t *outcome)
{
	struct keys_result result = { -1, 0, 0 };
	enum keys_answer answer = keys_enter(keys, text(words), digest, now_ms, key, &result);

	*outcome = result.outcome;
	return answer;
}

static void finished(struct keys *keys, const char *words, int64_t outcome, uint64_t now_ms)
{
	struct key *key;
	int64_t before;

	cr_assert_eq(enter(keys, words, ONE, now_ms, &key, &before), KEYS_NEW);
	keys_finish(keys, key, &(struct keys_result){ .outcome = outcome }, now_ms);
}

Test(cache_keys, a_listing_looks_at_a_bounded_number_of_places_at_once)
{
	enum { MANY = 5000 };
	struct keys *keys = keys_new(MANY, 1000, SEED);
	uint64_t place = 0, before = 0, at_ms;
	struct keys_result result;
	struct record_text found;
	unsigned listed = 0;
	const uint8_t *digest;
	char name[8];

	for (unsigned i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "%u", i);
		finished(keys, name, 1, 10);
	}
	/* All but the first and the last, which leaves a hole between them. */
	for (uint64_t number = keys->first + 1; number + 1 < keys->end; number++)
		key_forget(keys, *answer_at(keys, number));
	while (keys_each(keys, &place, &found, &digest, &result, &at_ms)) {
		cr_assert_gt(place, before);
		cr_assert_leq(place - before, PLACES_AT_ONCE);
		before = place;
		listed += found.size > 0;
	}
	cr_expect_eq(listed, 2);
	keys_free(keys);
}

Test(cache_keys, a_request_is_new_then_under_way_then_answered_and_another_one_is_refused)
{
	struct keys *keys = keys_new(10, 100, SEED);
	struct key *key, *same;
	int64_t outcome;

	cr_assert_eq(enter(keys, "k", ONE, 0, &key, &outcome), KEYS_NEW);
	cr_assert_null(*key_user(key));
	*key_user(key) = keys;
	cr_assert_eq(enter(keys, "k", ONE, 1, &same, &outcome), KEYS_UNDER_WAY);
	cr_assert_eq(same, key);
	cr_assert_eq(*key_user(same), keys);
	cr_assert_eq(enter(keys, "k", TWO, 1, &same, &outcome), KEYS_OTHER);
	cr_assert_null(same);
	keys_finish(keys, key, &(struct keys_result){ .outcome = 5 }, 10);
	cr_assert_eq(enter(keys, "k", ONE, 109, &same, &outcome), KEYS_ANSWERED);
	cr_assert_eq(outcome, 5);
	cr_assert_eq(enter(keys, "k", TWO, 109, &same, &outcome), KEYS_OTHER);
	cr_assert_eq(enter(keys, "k", TWO, 110, &key, &outcome), KEYS_NEW);
	keys_drop(keys, key);
	cr_assert_eq(keys_count(keys), 0);
	cr_assert_eq(enter(keys, "k", ONE, 110, &key, &outcome), KEYS_NEW);
	keys_free(keys);
}

Test(cache_keys, a_key_that_is_the_beginning_of_another_is_another)
{
	struct keys *keys = keys_new(10, 100, SEED);
	char longest[KEYS_BYTES_MAX + 1];
	struct key *key;
	int64_t outcome;

	memset(longest, 'k', KEYS_BYTES_MAX);
	longest[KEYS_BYTES_MAX] = '\0';
	finished(keys, longest, 1, 0);
	longest[KEYS_BYTES_MAX - 1] = '\0';
	finished(keys, longest, 2, 0);
	longest[KEYS_BYTES_MAX - 1] = 'k';
	cr_assert_eq(enter(keys, longest, ONE, 0, &key, &outcome), KEYS_ANSWERED);
	cr_assert_eq(outcome, 1);
	keys_free(keys);
}

Test(cache_keys, a_full_table_refuses_until_a_window_is_over_and_counts_what_is_under_way)
{
	struct keys *keys = keys_new(2, 100, SEED);
	struct key *key, *late;
	int64_t outcome;

	finished(keys, "a", 0, 0);
	cr_assert_eq(enter(keys, "b", ONE, 1, &key, &outcome), KEYS_NEW);
	cr_assert_eq(enter(keys, "c", ONE, 99, &late, &outcome), KEYS_FULL);
	cr_assert_null(late);
	cr_assert_eq(enter(keys, "a", ONE, 99, &late, &outcome), KEYS_ANSWERED);
	cr_assert_eq(enter(keys, "c", ONE, 100, &late, &outcome), KEYS_NEW);
	cr_assert_eq(enter(keys, "d", ONE, 1000, &late, &outcome), KEYS_FULL, "what is under way has no window");
	keys_free(keys);
}

Test(cache_keys, a_clock_that_jumps_back_ends_no_window_and_one_that_was_far_ahead_keeps_none_for_ever)
{
	struct keys *keys = keys_new(100, 100, SEED);
	struct key *key;
	int64_t outcome;

	finished(keys, "ahead", 0, 1000050);
	finished(keys, "then", 0, 1000000);
	cr_assert_eq(keys_expire(keys, 1000000, 10), 0);
	cr_assert_eq(enter(keys, "ahead", ONE, 1000000, &key, &outcome), KEYS_ANSWERED);
	/* A year back: from here on they have one window more. */
	cr_assert_eq(keys_expire(keys, 500, 10), 0);
	cr_assert_eq(keys_expire(keys, 599, 10), 0);
	cr_assert_eq(keys_expire(keys, 600, 10), 2);
	cr_assert_eq(keys_count(keys), 0);
	keys_free(keys);
}

Test(cache_keys, restoring_keeps_the_later_answer_and_the_latest_keys)
{
	struct keys *keys = keys_new(2, 100, SEED);
	struct key *key;
	int64_t outcome;

	keys_restore(keys, text("old"), ONE, &(struct keys_result){ 1, 0, 0 }, 0, 100);
	cr_assert_eq(keys_count(keys), 0);
	keys_restore(keys, text("a"), ONE, &(struct keys_result){ 1, 0, 0 }, 10, 100);
	keys_restore(keys, text("a"), TWO, &(struct keys_result){ 2, 0, 0 }, 10, 100);
	keys_restore(keys, text("b"), ONE, &(struct keys_result){ 3, 0, 0 }, 20, 100);
	cr_assert_eq(enter(keys, "a", ONE, 100, &key, &outcome), KEYS_ANSWERED);
	cr_assert_eq(outcome, 1);
	keys_restore(keys, text("a"), TWO, &(struct keys_result){ 4, 0, 0 }, 30, 100);
	cr_assert_eq(enter(keys, "a", TWO, 100, &key, &outcome), KEYS_ANSWERED);
	cr_assert_eq(outcome, 4);
	keys_restore(keys, text("c"), ONE, &(struct keys_result){ 5, 0, 0 }, 40, 100);
	cr_assert_eq(keys_count(keys), 2);
	cr_assert_eq(enter(keys, "a", TWO, 100, &key, &outcome), KEYS_ANSWERED);
	cr_assert_eq(enter(keys, "c", ONE, 100, &key, &outcome), KEYS_ANSWERED);
	cr_assert_eq(enter(keys, "b", ONE, 100, &key, &outcome), KEYS_FULL);
	keys_free(keys);
}

static uint64_t draw(uint64_t *state, uint64_t below)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return (*state >> 11) % below;
}

#define NAMES 300

/* The clock jumps both ways, by less than a window; a listing in slices goes on all the time. */
Test(cache_keys, any_run_is_that_of_a_plain_list)
{
	struct { struct key *key; bool is, under_way; uint64_t at_ms; int64_t outcome; bool all_along, listed; } list[NAMES];
	uint64_t state = 88172645463325252u, now_ms = 100000, latest_ms = 0, place = 0;
	struct keys *keys = keys_new(200, 1000, SEED);
	unsigned count = 0, listings = 0, full = 0;

	memset(list, 0, sizeof(list));
	for (unsigned steps = 0; steps < 400000; steps++) {
		const unsigned i = (unsigned)draw(&state, NAMES);
		struct record_text found;
		struct keys_result result;
		const uint8_t *digest;
		struct key *key;
		int64_t outcome;
		uint64_t at_ms;
		char name[8];

		now_ms += draw(&state, 20);
		if (draw(&state, 500) == 0)
			now_ms -= draw(&state, 900);
		latest_ms = now_ms > latest_ms ? now_ms : latest_ms;
		snprintf(name, sizeof(name), "%u", i);
		switch (draw(&state, 4)) {
		case 0: case 1:
			switch (enter(keys, name, ONE, now_ms, &key, &outcome)) {
			case KEYS_NEW:
				cr_assert(!list[i].is || (!list[i].under_way && latest_ms >= list[i].at_ms + 1000));
				list[i].key = key;
				list[i].is = list[i].under_way = true;
				list[i].all_along = false;
				break;
			case KEYS_ANSWERED:
				cr_assert(list[i].is && !list[i].under_way);
				cr_assert_eq(outcome, list[i].outcome);
				cr_assert_lt(now_ms, list[i].at_ms + 1000);
				break;
			case KEYS_UNDER_WAY:
				cr_assert(list[i].is && list[i].under_way);
				break;
			case KEYS_FULL:
				cr_assert_eq(keys_count(keys), 200);
				/* It may have been over, and is forgotten then. */
				list[i].is = false;
				full++;
				break;
			case KEYS_OTHER:
				cr_assert_fail();
			}
			break;
		case 2:
			if (!list[i].is || !list[i].under_way)
				break;
			list[i].under_way = false;
			if (draw(&state, 5) == 0) {
				keys_drop(keys, list[i].key);
				list[i].is = false;
				break;
			}
			list[i].at_ms = now_ms;
			list[i].outcome = (int64_t)steps;
			keys_finish(keys, list[i].key, &(struct keys_result){ steps, 0, 0 }, now_ms);
			break;
		case 3:
			keys_expire(keys, now_ms, (unsigned)draw(&state, 3));
			if (keys_each(keys, &place, &found, &digest, &result, &at_ms)) {
				unsigned at;

				if (found.size == 0)
					break;
				snprintf(name, sizeof(name), "%.*s", (int)found.size, found.bytes);
				at = (unsigned)strtoul(name, NULL, 10);
				cr_assert(list[at].is && !list[at].under_way);
				cr_assert_eq(result.outcome, list[at].outcome);
				cr_assert_eq(at_ms, list[at].at_ms);
				list[at].listed = true;
				break;
			}
			listings++;
			for (unsigned k = 0; k < NAMES; k++) {
				/* Answered before the listing began, and still there. */
				bool there;

				snprintf(name, sizeof(name), "%u", k);
				there = list[k].is && key_find(keys, text(name), siphash(SEED, (const uint8_t *)name, strlen(name))) != NULL;
				cr_assert(!there || !list[k].all_along || list[k].listed, "key %u was left out", k);
				list[k].is = there;
				list[k].all_along = there && !list[k].under_way;
				list[k].listed = false;
			}
			place = 0;
			break;
		}
		count = keys_count(keys);
		cr_assert_leq(count, 200);
	}
	cr_expect_gt(listings, 100);
	cr_expect_gt(full, 100);
	cr_expect_lt(keys_bytes(keys), 64 * 1024);
	keys_free(keys);
}
