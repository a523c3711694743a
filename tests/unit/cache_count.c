/* The directory, the sums and the rules, in one thread: ids that are refused, sites that collide, a directory that is
 * full, and thousands of sites against a plain array. What several threads do at once is in tests/threads/cache_count.c. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

/* Allocations pass through here, so that a test can have the n-th one refused. */
static int allocations_left = -1; /* -1: all succeed */

static bool allocation_granted(void)
{
	if (allocations_left < 0)
		return true;
	if (allocations_left == 0)
		return false;
	allocations_left--;
	return true;
}

static void *granted_malloc(size_t size)
{
	return allocation_granted() ? malloc(size) : NULL;
}

static void *granted_calloc(size_t n, size_t size)
{
	return allocation_granted() ? calloc(n, size) : NULL;
}

static void *granted_aligned_alloc(size_t alignment, size_t size)
{
	return allocation_granted() ? aligned_alloc(alignment, size) : NULL;
}

#define malloc granted_malloc
#define calloc granted_calloc
#define aligned_alloc granted_aligned_alloc
#include "cache/lines.c"

/* Closings pass through here, so that a test can look at what is open then. */
static void (*before_closing)(void);

static void watched_close(struct lines_cell *cell)
{
	if (before_closing != NULL)
		before_closing();
	lines_close(cell);
}

#define lines_close watched_close
#include "cache/count.c"
#include "cache/shard.c"
#undef lines_close
#undef malloc
#undef calloc
#undef aligned_alloc

static const uint8_t SEED[COUNT_SEED_BYTES] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };

static struct count *table(unsigned cores, unsigned sites_max)
{
	struct count *count = count_new(cores, sites_max, SEED);

	cr_assert_not_null(count);
	for (unsigned core = 0; core < cores; core++)
		count_take(count, core);
	return count;
}

static void table_end(struct count *count)
{
	for (unsigned core = 0; core < count->cores; core++)
		count_put(count, core);
	count_free(count);
}

static uint32_t entered(struct count *count, const char *id)
{
	uint32_t site = UINT32_MAX;

	cr_assert_eq(count_enter(count, id, strlen(id), &site), COUNT_OK);
	return site;
}

static void enrolled(struct count *count, unsigned core, uint32_t site, int64_t by)
{
	cr_assert_eq(count_reserve(count, core, site), COUNT_OK);
	count_apply(count, core, site, (int64_t[]){ 0, by, 0, 0 }, 1);
}

static struct count_site looked(const struct count *count, uint32_t site)
{
	struct count_site found;

	count_look(count, site, &found);
	cr_assert_eq(found.count, count_read(count, site));
	cr_assert_eq(found.count, found.n[COUNT_ENROLLED] - found.n[COUNT_WITHDRAWN]);
	cr_assert_eq(count_known(count, site), found.revision > 0);
	return found;
}

static void is_rules(struct count_rules rules, struct count_rules expected)
{
	cr_assert_eq(rules.status, expected.status);
	cr_assert_eq(rules.cap, expected.cap);
	cr_assert_eq(rules.reserved, expected.reserved);
	cr_assert_eq(rules.changes, expected.changes);
	cr_assert_eq(rules.stamp_ns, expected.stamp_ns);
}

/* xorshift64: the tests' own numbers, the same in every run. */
static uint64_t next_number(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* --- the id ------------------------------------------------------------------------------------------------------ */

static enum count_answer judged(const char *id)
{
	return count_judge(id, strlen(id));
}

Test(cache_count, an_id_has_one_to_sixty_four_bytes)
{
	char id[COUNT_SITE_BYTES_MAX + 1];

	memset(id, 'x', sizeof(id));
	cr_assert_eq(count_judge(NULL, 0), COUNT_SITE_EMPTY);
	cr_assert_eq(count_judge(id, 0), COUNT_SITE_EMPTY);
	for (size_t n = 1; n <= COUNT_SITE_BYTES_MAX; n++)
		cr_assert_eq(count_judge(id, n), COUNT_OK);
	cr_assert_eq(count_judge(id, COUNT_SITE_BYTES_MAX + 1), COUNT_SITE_TOO_LONG);
	cr_assert_eq(count_judge(id, SIZE_MAX), COUNT_SITE_TOO_LONG, "and the bytes are not looked at");
}

Test(cache_count, ids_of_all_scripts_are_taken)
{
	static const char *const ids[] = { "S", "site 1/a?b&c=d", "berlin-01", "Würzburg", "北京", "\xF0\x9F\x8F\xA5", "~", " ",
		                           "\xC2\xA0", "\xEF\xBF\xBF", "\xF4\x8F\xBF\xBF", "\xED\x9F\xBF", "\xEE\x80\x80" };

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
		cr_assert_eq(judged(ids[i]), COUNT_OK, "%s", ids[i]);
}

static size_t encode(uint32_t point, char text[4])
{
	if (point < 0x80) {
		text[0] = (char)point;
		return 1;
	}
	if (point < 0x800) {
		text[0] = (char)(0xC0 | point >> 6);
		text[1] = (char)(0x80 | (point & 0x3F));
		return 2;
	}
	if (point < 0x10000) {
		text[0] = (char)(0xE0 | point >> 12);
		text[1] = (char)(0x80 | (point >> 6 & 0x3F));
		text[2] = (char)(0x80 | (point & 0x3F));
		return 3;
	}
	text[0] = (char)(0xF0 | point >> 18);
	text[1] = (char)(0x80 | (point >> 12 & 0x3F));
	text[2] = (char)(0x80 | (point >> 6 & 0x3F));
	text[3] = (char)(0x80 | (point & 0x3F));
	return 4;
}

/* What the answer to one character must be, by the definition of the code points and not of the bytes. */
static enum count_answer expected(uint32_t point)
{
	if (point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF))
		return COUNT_SITE_NOT_UTF8;
	return point < 0x20 || (point >= 0x7F && point < 0xA0) ? COUNT_SITE_CONTROL : COUNT_OK;
}

Test(cache_count, every_code_point_is_judged_and_refused_when_cut_anywhere)
{
	char text[4], id[8];

	for (uint32_t point = 0; point < 0x200000; point++) {
		size_t n = encode(point, text);

		if (count_judge(text, n) != expected(point))
			cr_assert_fail("U+%04X alone", (unsigned)point);
		id[0] = 'a';
		memcpy(id + 1, text, n);
		id[n + 1] = 'z';
		if (count_judge(id, n + 2) != expected(point))
			cr_assert_fail("U+%04X between others", (unsigned)point);
		for (size_t cut = 1; cut < n; cut++) {
			if (count_judge(text, cut) != COUNT_SITE_NOT_UTF8)
				cr_assert_fail("U+%04X cut after %zu bytes at the end", (unsigned)point, cut);
			if (count_judge(text + cut, n - cut) != COUNT_SITE_NOT_UTF8)
				cr_assert_fail("U+%04X without its first %zu bytes", (unsigned)point, cut);
			memcpy(id + 1, text, cut);
			id[cut + 1] = 'z';
			if (count_judge(id, cut + 2) != COUNT_SITE_NOT_UTF8)
				cr_assert_fail("U+%04X cut after %zu bytes in the middle", (unsigned)point, cut);
		}
	}
}

/* Is this sequence the encoding of some code point? Decoded by its bit pattern, encoded again, and compared. */
static bool is_one_character(const char *text, size_t n)
{
	const uint8_t *bytes = (const uint8_t *)text;
	uint32_t point = n == 2 ? bytes[0] & 0x1F : n == 3 ? bytes[0] & 0x0F : bytes[0] & 0x07;
	char again[4];

	for (size_t i = 1; i < n; i++)
		point = point << 6 | (bytes[i] & 0x3F);
	return encode(point, again) == n && memcmp(again, text, n) == 0 && expected(point) != COUNT_SITE_NOT_UTF8;
}

Test(cache_count, no_bytes_but_those_of_a_code_point_are_a_character)
{
	static const uint8_t edges[] = { 0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC2, 0xE0, 0xFF };
	size_t edge_count = sizeof(edges);

	for (unsigned first = 0x80; first < 0x100; first++) {
		for (unsigned second = 0; second < 0x100; second++) {
			char text[4] = { (char)first, (char)second };
			bool is_pair = is_one_character(text, 2);

			if ((count_judge(text, 2) != COUNT_SITE_NOT_UTF8) != is_pair)
				cr_assert_fail("%02X %02X", first, second);
			for (size_t i = 0; i < edge_count * edge_count; i++) {
				text[2] = (char)edges[i / edge_count];
				text[3] = (char)edges[i % edge_count];
				if ((count_judge(text, 3) != COUNT_SITE_NOT_UTF8) !=
				    (is_one_character(text, 3) || (is_pair && !(text[2] & 0x80))))
					cr_assert_fail("%02X %02X %02X", first, second, (uint8_t)text[2]);
				if ((count_judge(text, 4) != COUNT_SITE_NOT_UTF8) !=
				    (is_one_character(text, 4) ||
				     (is_one_character(text, 3) && !(text[3] & 0x80)) ||
				     (is_pair && (is_one_character(text + 2, 2) || !((text[2] | text[3]) & 0x80)))))
					cr_assert_fail("%02X %02X %02X %02X", first, second, (uint8_t)text[2],
					               (uint8_t)text[3]);
			}
		}
	}
}

Test(cache_count, a_character_across_the_limit_is_too_long_and_one_that_ends_there_is_not)
{
	char id[COUNT_SITE_BYTES_MAX + 2];

	memset(id, 'x', sizeof(id));
	memcpy(id + COUNT_SITE_BYTES_MAX - 3, "京", 3);
	cr_assert_eq(count_judge(id, COUNT_SITE_BYTES_MAX), COUNT_OK);
	cr_assert_eq(count_judge(id, COUNT_SITE_BYTES_MAX - 1), COUNT_SITE_NOT_UTF8);
	memcpy(id + COUNT_SITE_BYTES_MAX - 2, "京", 3);
	cr_assert_eq(count_judge(id, COUNT_SITE_BYTES_MAX + 1), COUNT_SITE_TOO_LONG);
	cr_assert_eq(count_judge(id, COUNT_SITE_BYTES_MAX), COUNT_SITE_NOT_UTF8);
}

Test(cache_count, bytes_that_are_not_text_are_refused_as_that_wherever_a_control_character_stands)
{
	cr_assert_eq(judged("\n\xFF"), COUNT_SITE_NOT_UTF8);
	cr_assert_eq(judged("\xFF\n"), COUNT_SITE_NOT_UTF8);
	cr_assert_eq(judged("a\nb"), COUNT_SITE_CONTROL);
	cr_assert_eq(count_judge("a\0b", 3), COUNT_SITE_CONTROL);
}

Test(cache_count, a_refused_id_is_refused_by_find_and_by_enter_and_enters_nothing)
{
	static const struct {
		const char *id;
		size_t id_bytes;
		enum count_answer answer;
	} refused[] = {
		{ "", 0, COUNT_SITE_EMPTY },
		{ "12345678901234567890123456789012345678901234567890123456789012345", 65, COUNT_SITE_TOO_LONG },
		{ "\xC0\x80", 2, COUNT_SITE_NOT_UTF8 },
		{ "a\r\nb", 4, COUNT_SITE_CONTROL },
	};
	struct count *count = table(1, 4);
	struct count_stats stats;
	uint32_t site = 77;

	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		cr_assert_eq(count_find(count, refused[i].id, refused[i].id_bytes, &site), refused[i].answer);
		cr_assert_eq(count_enter(count, refused[i].id, refused[i].id_bytes, &site), refused[i].answer);
	}
	cr_assert_eq(site, 77);
	count_stats(count, &stats);
	cr_assert_eq(stats.sites, 0);
	table_end(count);
}

/* --- the hash ---------------------------------------------------------------------------------------------------- */

Test(cache_count, the_hash_is_siphash_2_4)
{
	/* The reference implementation's vectors for the key 00 … 0f and the input 00, 01, 02 … of so many bytes. */
	static const struct {
		size_t n;
		uint64_t hash;
	} vectors[] = {
		{ 0, UINT64_C(0x726fdb47dd0e0e31) }, { 1, UINT64_C(0x74f839c593dc67fd) }, { 7, UINT64_C(0xab0200f58b01d137) },
		{ 8, UINT64_C(0x93f5f5799a932462) }, { 9, UINT64_C(0x9e0082df0ba9e4b0) }, { 15, UINT64_C(0xa129ca6149be45e5) },
		{ 16, UINT64_C(0x3f2acc7f57c29bdb) }, { 31, UINT64_C(0x32d892fad841c342) }, { 63, UINT64_C(0x958a324ceb064572) },
		{ 64, UINT64_C(0xacd2c40b8502cad8) },
	};
	uint8_t input[64];
	uint64_t seed[2] = { load_le64(SEED, 8), load_le64(SEED + 8, 8) };

	for (size_t i = 0; i < sizeof(input); i++)
		input[i] = (uint8_t)i;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++)
		cr_assert_eq(siphash(seed, input, vectors[i].n), vectors[i].hash, "%zu bytes", vectors[i].n);
}

Test(cache_count, another_seed_gives_another_place)
{
	uint64_t one[2] = { 1, 2 }, two[2] = { 1, 3 };
	unsigned same = 0;

	for (uint8_t i = 0; i < 200; i++)
		same += siphash(one, &i, 1) % 1024 == siphash(two, &i, 1) % 1024;
	cr_assert_lt(same, 10);
}

/* --- the directory ----------------------------------------------------------------------------------------------- */

Test(cache_count, sites_are_numbered_as_they_are_first_seen)
{
	struct count *count = table(1, 10);

	cr_assert_eq(entered(count, "c"), 0);
	cr_assert_eq(entered(count, "a"), 1);
	cr_assert_eq(entered(count, "c"), 0);
	cr_assert_eq(entered(count, "b"), 2);
	cr_assert_eq(entered(count, "a"), 1);
	table_end(count);
}

Test(cache_count, asking_for_a_site_does_not_enter_it)
{
	struct count *count = table(1, 1);
	uint32_t site = 77;

	for (int i = 0; i < 3; i++)
		cr_assert_eq(count_find(count, "unseen", 6, &site), COUNT_SITE_UNKNOWN);
	cr_assert_eq(site, 77);
	cr_assert_eq(entered(count, "seen"), 0);
	cr_assert_eq(count_find(count, "unseen", 6, &site), COUNT_SITE_UNKNOWN);
	cr_assert_eq(count_find(count, "seen", 4, &site), COUNT_OK);
	cr_assert_eq(site, 0);
	table_end(count);
}

Test(cache_count, ids_are_compared_byte_for_byte)
{
	struct count *count = table(1, 10);

	cr_assert_eq(entered(count, "Site"), 0);
	cr_assert_eq(entered(count, "site"), 1);
	cr_assert_eq(entered(count, "site "), 2);
	cr_assert_eq(entered(count, "sit"), 3);
	cr_assert_eq(entered(count, "\xC3\xA9"), 4, "e with acute as one character");
	cr_assert_eq(entered(count, "e\xCC\x81"), 5, "and as two");
	table_end(count);
}

Test(cache_count, an_id_is_copied_and_ends_where_its_length_says)
{
	struct count *count = table(1, 10);
	char id[COUNT_SITE_BYTES_MAX];
	uint32_t site = 77;

	memset(id, 'y', sizeof(id));
	for (size_t n = 1; n <= sizeof(id); n += 21) {
		cr_assert_eq(count_enter(count, id, n, &site), COUNT_OK);
		cr_assert_eq(site, n / 21);
	}
	memset(id, 'z', sizeof(id));
	cr_assert_eq(count_find(count, id, 22, &site), COUNT_SITE_UNKNOWN);
	memset(id, 'y', sizeof(id));
	cr_assert_eq(count_find(count, id, 64, &site), COUNT_OK);
	cr_assert_eq(site, 3);
	table_end(count);
}

Test(cache_count, a_directory_takes_exactly_as_many_sites_as_it_was_made_for)
{
	for (unsigned sites_max = 1; sites_max <= 70; sites_max++) {
		struct count *count = table(2, sites_max);
		char id[16];
		uint32_t site = 77;

		for (unsigned i = 0; i < sites_max; i++) {
			snprintf(id, sizeof(id), "site-%u", i);
			cr_assert_eq(entered(count, id), i);
		}
		cr_assert_eq(count_enter(count, "one more", 8, &site), COUNT_SITES_SPENT);
		cr_assert_eq(count_find(count, "one more", 8, &site), COUNT_SITE_UNKNOWN);
		cr_assert_eq(site, 77);
		for (unsigned i = 0; i < sites_max; i++) {
			snprintf(id, sizeof(id), "site-%u", i);
			cr_assert_eq(entered(count, id), i, "the known ones are still known");
			enrolled(count, i % 2, i, 1);
			cr_assert_eq(count_read(count, i), 1, "and still count");
		}
		table_end(count);
	}
}

Test(cache_count, sites_that_all_want_the_last_slot_go_round_and_are_all_found)
{
	enum { SITES = 4 };
	struct count *count = table(1, SITES);
	char ids[SITES][24], stranger[24];
	unsigned found = 0;
	uint32_t site;

	cr_assert_eq(count->slot_count, 8);
	for (unsigned i = 0; found <= SITES; i++) {
		char *id = found < SITES ? ids[found] : stranger;

		snprintf(id, sizeof(stranger), "candidate-%u", i);
		found += siphash(count->seed, (uint8_t *)id, strlen(id)) % 8 == 7;
	}
	for (uint32_t i = 0; i < SITES; i++) {
		cr_assert_eq(entered(count, ids[i]), i);
		cr_assert_eq(atomic_load(&count->slots[(7 + i) % 8])->number, i);
	}
	for (uint32_t i = 0; i < SITES; i++)
		cr_assert_eq(entered(count, ids[i]), i);
	cr_assert_eq(count_find(count, stranger, strlen(stranger), &site), COUNT_SITE_UNKNOWN);
	table_end(count);
}

Test(cache_count, two_ids_of_one_hash_are_two_sites)
{
	struct count *count = table(1, 4);
	uint64_t hash = siphash(count->seed, (const uint8_t *)"a", 1);

	cr_assert_eq(entered(count, "a"), 0);
	cr_assert_not_null(directory_find(count, hash, "a", 1));
	cr_assert_null(directory_find(count, hash, "b", 1));
	cr_assert_null(directory_find(count, hash, "aa", 2));
	table_end(count);
}

Test(cache_count, settling_a_site_again_changes_nothing)
{
	struct count *count = table(1, 8);
	unsigned filled = 0;

	entered(count, "a");
	entered(count, "b");
	for (int i = 0; i < 3; i++) {
		directory_settle(count, atomic_load(&count->order[0]));
		directory_settle(count, atomic_load(&count->order[1]));
	}
	for (size_t i = 0; i < count->slot_count; i++)
		filled += atomic_load(&count->slots[i]) != NULL;
	cr_assert_eq(filled, 2);
	table_end(count);
}

/* A thread may stop between entering a site and settling it; here it stops for good. */
Test(cache_count, a_site_entered_but_not_settled_is_settled_by_the_next_who_enters)
{
	struct count *count = table(1, 8);
	struct site *left = site_new(siphash(count->seed, (const uint8_t *)"left", 4), "left", 4);
	uint32_t site = 77;

	atomic_store(&count->newest, left);
	cr_assert_eq(count_find(count, "left", 4, &site), COUNT_SITE_UNKNOWN);
	cr_assert_eq(count_each(count, 0, NULL, NULL), 0, "what cannot be found is not listed either");
	cr_assert_eq(entered(count, "next"), 1);
	cr_assert_eq(count_find(count, "left", 4, &site), COUNT_OK);
	cr_assert_eq(site, 0);
	table_end(count);
}

Test(cache_count, a_site_entered_but_not_settled_is_not_entered_twice)
{
	struct count *count = table(1, 8);

	atomic_store(&count->newest, site_new(siphash(count->seed, (const uint8_t *)"left", 4), "left", 4));
	cr_assert_eq(entered(count, "left"), 0);
	cr_assert_eq(entered(count, "next"), 1);
	table_end(count);
}

/* --- counting ---------------------------------------------------------------------------------------------------- */

Test(cache_count, a_count_is_the_sum_of_all_cores)
{
	struct count *count = table(3, 10);
	uint32_t a = entered(count, "a"), b = entered(count, "b");

	cr_assert_eq(count_read(count, a), 0);
	enrolled(count, 0, a, 5);
	enrolled(count, 1, a, 1);
	enrolled(count, 2, b, 1);
	enrolled(count, 2, a, -2);
	cr_assert_eq(count_read(count, a), 4);
	cr_assert_eq(count_read(count, b), 1);
	cr_assert_eq(count_read(count, COUNT_STUDY), 5);
	table_end(count);
}

Test(cache_count, everything_about_a_site_is_found_in_one_look)
{
	static const struct count_rules none = { COUNT_RECRUITING, COUNT_NO_CAP, 0, 0, 0 };
	static const struct count_rules paused = { COUNT_PAUSED, 40, 2, 3, 700 };
	struct count *count = table(3, 100);
	uint32_t a = entered(count, "a"), b = entered(count, "b");
	struct count_site found;

	for (unsigned core = 0; core < 3; core++)
		cr_assert_eq(count_reserve(count, core, a), COUNT_OK);
	found = looked(count, a);
	cr_assert_eq(found.revision, 0);
	cr_assert_eq(found.stamp_ns, 0);
	is_rules(found.rules, none);
	count_apply(count, 0, a, (int64_t[]){ 9, 5, 4, 1 }, 500);
	count_apply(count, 2, a, (int64_t[]){ 1, 2, 3, 0 }, 800);
	count_apply(count, 2, a, (int64_t[]){ 0, 0, -1, 2 }, 900);
	count_rule(count, a, &paused);
	found = looked(count, a);
	cr_assert_arr_eq(found.n, ((int64_t[]){ 10, 7, 6, 3 }), sizeof(found.n));
	cr_assert_eq(found.count, 4);
	cr_assert_eq(found.revision, 3 + 3);
	cr_assert_eq(found.stamp_ns, 900);
	is_rules(found.rules, paused);
	found = looked(count, b);
	cr_assert_eq(found.revision, 0);
	is_rules(found.rules, none);
	table_end(count);
}

Test(cache_count, the_study_is_all_sites_and_has_rules_of_its_own)
{
	static const struct count_rules of_a = { COUNT_CLOSED, 0, 0, 2, 950 };
	static const struct count_rules of_study = { COUNT_RECRUITING, 1000, 7, 4, 300 };
	struct count *count = table(2, 100);
	uint32_t a = entered(count, "a"), b = entered(count, "b");
	struct count_site found;

	enrolled(count, 0, a, 3);
	enrolled(count, 1, b, 4);
	enrolled(count, 1, a, 5);
	count_rule(count, a, &of_a);
	count_rule(count, COUNT_STUDY, &of_study);
	found = looked(count, COUNT_STUDY);
	cr_assert_eq(found.count, 12);
	cr_assert_eq(found.revision, 3 + 4, "what is ruled of a site is not a change of the study");
	cr_assert_eq(found.stamp_ns, 300);
	is_rules(found.rules, of_study);
	is_rules(looked(count, a).rules, of_a);
	cr_assert_eq(looked(count, a).stamp_ns, 950);
	cr_assert_eq(count_reserve(count, 0, COUNT_STUDY), COUNT_OK);
	table_end(count);
}

Test(cache_count, the_largest_and_the_smallest_rules_are_kept_as_they_are)
{
	static const struct count_rules rules[] = {
		{ COUNT_CLOSED, INT64_MAX, INT64_MAX, UINT64_MAX, UINT64_MAX },
		{ COUNT_PAUSED, 0, 0, 1, 1 },
		{ COUNT_RECRUITING, COUNT_NO_CAP, 0, 0, 0 },
	};
	struct count *count = table(1, 1);
	uint32_t site = entered(count, "a");

	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		count_rule(count, site, &rules[i]);
		is_rules(looked(count, site).rules, rules[i]);
	}
	table_end(count);
}

Test(cache_count, what_is_published_together_is_all_there)
{
	static const struct count_rules of_a = { COUNT_RECRUITING, 5, 1, 2, 40 };
	static const struct count_rules of_study = { COUNT_RECRUITING, COUNT_NO_CAP, 1, 1, 40 };
	static const struct count_rules later = { COUNT_RECRUITING, 5, 0, 3, 50 };
	struct count *count = table(2, 100);
	uint32_t a = entered(count, "a");

	cr_assert_eq(count_reserve(count, 0, a), COUNT_OK);
	count_publish(count, a, (int64_t[]){ 0, 1, 0, 0 }, &of_a, &of_study, 60);
	is_rules(looked(count, a).rules, of_a);
	is_rules(looked(count, COUNT_STUDY).rules, of_study);
	cr_assert_eq(looked(count, a).count, 1);
	cr_assert_eq(looked(count, a).stamp_ns, 60);
	cr_assert_eq(looked(count, COUNT_STUDY).count, 1);
	count_publish(count, a, NULL, &later, NULL, 0);
	is_rules(looked(count, a).rules, later);
	is_rules(looked(count, COUNT_STUDY).rules, of_study);
	cr_assert_eq(looked(count, a).revision, 1 + 3);
	count_publish(count, a, (int64_t[]){ 0, 0, 0, 1 }, NULL, NULL, 70);
	is_rules(looked(count, a).rules, later);
	cr_assert_eq(looked(count, a).count, 0);
	count_publish(count, a, NULL, NULL, NULL, 80);
	cr_assert_eq(looked(count, a).stamp_ns, 70);
	table_end(count);
}

static struct count *watched;
static unsigned closings, open_at_first;

static void see_what_is_open(void)
{
	if (closings++ > 0)
		return;
	open_at_first = (lines_version(watched->lines[0], 0) & 1) + (lines_version(watched->lines[0], COUNT_STUDY) & 1) +
	                (lines_version(watched->rules, 0) & 1) + (lines_version(watched->rules, COUNT_STUDY) & 1);
}

/* Else a reader could see one of them changed, and another unchanged afterwards. */
Test(cache_count, all_lines_of_a_change_are_open_before_the_first_is_closed)
{
	static const struct count_rules rules = { COUNT_RECRUITING, 5, 1, 2, 40 };
	static const int64_t by[COUNT_KINDS] = { [COUNT_ENROLLED] = 1 };

	watched = table(1, 1);
	entered(watched, "a");
	cr_assert_eq(count_reserve(watched, 0, 0), COUNT_OK);
	before_closing = see_what_is_open;
	count_publish(watched, 0, by, &rules, &rules, 1);
	cr_assert_eq(closings, 4);
	cr_assert_eq(open_at_first, 4);
	closings = 0;
	count_apply(watched, 0, 0, by, 2);
	cr_assert_eq(closings, 2);
	cr_assert_eq(open_at_first, 2);
	closings = 0;
	cr_assert_eq(count_line_restore(watched, 0, 0, &(struct line){ .n = { 1, 2, 3, 4 } }), COUNT_OK);
	cr_assert_eq(closings, 2);
	cr_assert_eq(open_at_first, 2);
	before_closing = NULL;
	table_end(watched);
}

Test(cache_count, while_a_line_is_open_every_look_is_in_vain)
{
	struct count *count = table(2, 1);
	uint32_t site = entered(count, "a");
	struct lines_cell *opened[SHARD_OPENED];
	struct count_site found;
	int64_t sum;

	enrolled(count, 0, site, 1);
	cr_assert(read_look(count, site, &sum));
	cr_assert_eq(sum, 1);
	shard_open(count->shards[0], site, (int64_t[]){ 0, 1, 0, 0 }, 2, opened);
	cr_assert_not(read_look(count, site, &sum));
	cr_assert_not(site_look(count, site, &found));
	cr_assert_not(read_look(count, COUNT_STUDY, &sum));
	cr_assert_not(site_look(count, COUNT_STUDY, &found));
	lines_close(opened[0]);
	lines_close(opened[1]);
	cr_assert(site_look(count, site, &found));
	cr_assert_eq(found.count, 2);
	opened[0] = rules_open(count, site, &(struct count_rules){ COUNT_PAUSED, 9, 0, 1, 3 });
	cr_assert_not(site_look(count, site, &found));
	cr_assert(site_look(count, COUNT_STUDY, &found));
	cr_assert_eq(count_read(count, site), 2, "the count alone does not wait for the rules");
	lines_close(opened[0]);
	is_rules(looked(count, site).rules, (struct count_rules){ COUNT_PAUSED, 9, 0, 1, 3 });
	table_end(count);
}

Test(cache_count, a_look_stands_only_while_no_line_was_written)
{
	struct count *count = table(2, 1);
	uint32_t site = entered(count, "a");

	cr_assert(stands(count, 3, site, 0));
	enrolled(count, 1, site, 1);
	cr_assert_not(stands(count, 3, site, 0));
	cr_assert(stands(count, 3, site, 2));
	count_rule(count, site, &(struct count_rules){ COUNT_PAUSED, 9, 0, 1, 3 });
	cr_assert_not(stands(count, 3, site, 2));
	cr_assert(stands(count, 2, site, 2));
	cr_assert(stands(count, 3, site, 4));
	table_end(count);
}

Test(cache_count, who_looked_in_vain_too_often_is_in_a_hurry_until_it_is_through)
{
	struct count *count = table(1, 1);
	unsigned looks = 0;

	while (looks < COUNT_LOOKS - 1)
		look_again(count, &looks);
	cr_assert_eq(atomic_load(&count->hurry->readers), 0);
	for (int i = 0; i < 3; i++)
		look_again(count, &looks);
	cr_assert_eq(atomic_load(&count->hurry->readers), 1);
	enrolled(count, 0, entered(count, "a"), 1);
	cr_assert_eq(count_read(count, 0), 1, "a change is put off and not given up");
	look_ended(count, looks);
	cr_assert_eq(atomic_load(&count->hurry->readers), 0);
	look_ended(count, COUNT_LOOKS - 1);
	cr_assert_eq(atomic_load(&count->hurry->readers), 0);
	table_end(count);
}

Test(cache_count, a_line_is_told_and_restored_as_it_was)
{
	static const struct line before = { { 4, 3, 2, 1 }, 17, 1234 };
	struct count *count = table(3, 200), *again = table(3, 200);
	uint32_t site = entered(count, "a");
	struct line line;

	entered(again, "a");
	cr_assert_eq(count_line_restore(count, 2, site, &before), COUNT_OK);
	count_line(count, 2, site, &line);
	cr_assert_arr_eq(&line, &before, sizeof(line));
	count_line(count, 2, COUNT_STUDY, &line);
	cr_assert_arr_eq(&line, &before, sizeof(line));
	count_line(count, 1, site, &line);
	cr_assert_arr_eq(&line, &((struct line){ 0 }), sizeof(line));
	enrolled(count, 2, site, 1);
	cr_assert_eq(looked(count, site).revision, 18);
	cr_assert_eq(looked(count, site).count, 3);
	for (unsigned core = 0; core < 3; core++) {
		count_line(count, core, site, &line);
		cr_assert_eq(count_line_restore(again, core, site, &line), COUNT_OK);
	}
	cr_assert_eq(looked(again, site).revision, 18);
	cr_assert_eq(looked(again, COUNT_STUDY).count, 3);
	cr_assert_eq(count_line_restore(again, 0, site, &(struct line){ .n = { SHARD_LINE_MAX + 1 } }), COUNT_LINE_SPENT);
	cr_assert_eq(looked(again, site).revision, 18);
	table_end(count);
	table_end(again);
}

Test(cache_count, the_id_of_a_number_is_told)
{
	struct count *count = table(1, 10);
	const char *id;

	entered(count, "first");
	entered(count, "W\xC3\xBCrzburg");
	cr_assert_eq(count_id(count, 1, &id), 9);
	cr_assert_arr_eq(id, "W\xC3\xBCrzburg", 9);
	cr_assert_eq(count_id(count, 0, &id), 5);
	cr_assert_arr_eq(id, "first", 5);
	table_end(count);
}

static void expect_largest_sum(int64_t enrolled, int64_t withdrawn, int64_t sum)
{
	struct count *count = table(COUNT_CORES_MAX, 1);
	const struct line line = { { 0, enrolled, 0, withdrawn }, 1, 1 };
	uint32_t site = entered(count, "a");

	for (unsigned core = 0; core < COUNT_CORES_MAX; core++)
		cr_assert_eq(count_line_restore(count, core, site, &line), COUNT_OK);
	cr_assert_eq(looked(count, site).count, sum);
	cr_assert_eq(looked(count, COUNT_STUDY).count, sum);
	cr_assert_eq(count_reserve(count, 5, site), COUNT_LINE_SPENT);
	table_end(count);
}

Test(cache_count, the_largest_sum_of_the_most_cores_is_exact)
{
	const int64_t largest = INT64_C(2) * SHARD_LINE_MAX * COUNT_CORES_MAX;

	expect_largest_sum(SHARD_LINE_MAX, -SHARD_LINE_MAX, largest);
	expect_largest_sum(-SHARD_LINE_MAX, SHARD_LINE_MAX, -largest);
}

struct model_check {
	const int64_t *model;
	uint32_t next;
};

static bool seen_as_the_model_has_it(void *user, uint32_t site, const char *id, size_t id_bytes, int64_t n)
{
	struct model_check *check = user;
	char expected_id[24];

	cr_assert_eq(site, check->next++);
	cr_assert_eq(id_bytes, (size_t)snprintf(expected_id, sizeof(expected_id), "site-%05u", (unsigned)site));
	cr_assert_eq(memcmp(id, expected_id, id_bytes), 0);
	cr_assert_eq(n, check->model[site]);
	return true;
}

Test(cache_count, thousands_of_sites_count_as_a_plain_array_does)
{
	enum { SITES = 6000, CORES = 5, STEPS = 300000 };
	struct count *count = table(CORES, SITES);
	static int64_t model[SITES];
	struct model_check check = { model, 0 };
	uint64_t state = 20240229;
	uint32_t known = 0;
	int64_t sum = 0;
	char id[24];

	for (unsigned step = 0; step < STEPS; step++) {
		uint32_t wanted = (uint32_t)(next_number(&state) % SITES);
		int64_t by = (int64_t)(next_number(&state) % 21) - 5;
		uint32_t site = UINT32_MAX;
		size_t n;

		if (wanted > known)
			wanted = known; /* sites are first seen in the order of their names, so that number and name agree */
		n = (size_t)snprintf(id, sizeof(id), "site-%05u", (unsigned)wanted);
		cr_assert_eq(count_find(count, id, n, &site), wanted < known ? COUNT_OK : COUNT_SITE_UNKNOWN);
		cr_assert_eq(count_enter(count, id, n, &site), COUNT_OK);
		cr_assert_eq(site, wanted);
		known += wanted == known;
		enrolled(count, step % CORES, site, by);
		model[site] += by;
		sum += by;
		cr_assert_eq(count_read(count, site), model[site]);
		cr_assert_eq(count_read(count, COUNT_STUDY), sum);
	}
	cr_assert_eq(known, SITES);
	cr_assert_eq(count_each(count, 0, seen_as_the_model_has_it, &check), SITES);
	cr_assert_eq(check.next, SITES);
	table_end(count);
}

static bool three_at_a_time(void *user, uint32_t site, const char *id, size_t id_bytes, int64_t n)
{
	unsigned *calls = user;

	cr_assert_eq(id_bytes, 1);
	cr_assert_eq(id[0], (char)('a' + site));
	cr_assert_eq(n, 0);
	return ++*calls % 3 != 0;
}

Test(cache_count, a_listing_can_be_made_in_turns)
{
	struct count *count = table(1, 10);
	unsigned calls = 0;

	cr_assert_eq(count_each(count, 0, three_at_a_time, &calls), 0, "of nothing");
	for (const char *id = "a\0b\0c\0d\0e\0f\0g\0"; *id != '\0'; id += 2)
		entered(count, id);
	cr_assert_eq(count_each(count, 0, three_at_a_time, &calls), 3);
	cr_assert_eq(count_each(count, 3, three_at_a_time, &calls), 6);
	cr_assert_eq(count_each(count, 6, three_at_a_time, &calls), 7);
	cr_assert_eq(calls, 7);
	cr_assert_eq(count_each(count, 7, three_at_a_time, &calls), 7);
	cr_assert_eq(calls, 7);
	table_end(count);
}

Test(cache_count, the_statistics_tell_sites_and_memory)
{
	struct count *count = table(2, 1000);
	struct count_stats empty, stats;

	count_stats(count, &empty);
	cr_assert_eq(empty.sites, 0);
	cr_assert_eq(empty.sites_max, 1000);
	entered(count, "abcd");
	entered(count, "abcd");
	count_stats(count, &stats);
	cr_assert_eq(stats.sites, 1);
	cr_assert_eq(stats.directory_bytes, empty.directory_bytes + sizeof(struct site) + 4);
	cr_assert_eq(stats.shard_bytes, empty.shard_bytes, "a site costs no line before it is counted");
	enrolled(count, 1, 0, 1);
	count_stats(count, &stats);
	cr_assert_eq(stats.shard_bytes, empty.shard_bytes + sizeof(struct lines_block));
	enrolled(count, 0, 0, 1);
	count_stats(count, &stats);
	cr_assert_eq(stats.shard_bytes, empty.shard_bytes + 3 * sizeof(struct lines_block), "core 0 has the rules as well");
	table_end(count);
}

/* --- scarcity and mistakes --------------------------------------------------------------------------------------- */

Test(cache_count, without_memory_for_any_part_there_is_no_table)
{
	struct count *count = NULL;
	int granted;

	for (granted = 0; count == NULL; granted++) {
		allocations_left = granted;
		count = count_new(3, 10, SEED);
	}
	allocations_left = -1;
	cr_assert_eq(granted, 8 + 3 * 3 + 1, "the table, six parts of which one is two, and three shards of three");
	count_free(count);
	count_free(NULL);
}

Test(cache_count, without_memory_a_site_is_not_entered_and_may_be_tried_again)
{
	struct count *count = table(1, 2);
	uint32_t site = 77;

	allocations_left = 0;
	cr_assert_eq(count_enter(count, "a", 1, &site), COUNT_MEMORY_SPENT);
	cr_assert_eq(count_find(count, "a", 1, &site), COUNT_SITE_UNKNOWN);
	cr_assert_eq(site, 77);
	allocations_left = 1;
	cr_assert_eq(entered(count, "a"), 0);
	cr_assert_eq(entered(count, "a"), 0, "a known site needs no memory");
	for (int granted = 0; granted < 2; granted++) {
		allocations_left = granted;
		cr_assert_eq(count_reserve(count, 0, 0), COUNT_MEMORY_SPENT, "the line, and then the rules");
	}
	cr_assert_eq(count_read(count, 0), 0);
	allocations_left = 1;
	enrolled(count, 0, 0, 1);
	allocations_left = 0;
	count_rule(count, 0, &(struct count_rules){ COUNT_PAUSED, 9, 0, 1, 3 });
	cr_assert_eq(count_read(count, 0), 1);
	table_end(count);
}

static const int64_t ONE_ENROLLED[COUNT_KINDS] = { [COUNT_ENROLLED] = 1 };

Test(cache_count, a_change_on_a_core_that_is_not_there_stops_the_process, .signal = SIGABRT)
{
	struct count *count = table(2, 2);

	count_reserve(count, 2, entered(count, "a"));
}

Test(cache_count, reserving_for_a_number_nobody_was_given_stops_the_process, .signal = SIGABRT)
{
	struct count *count = table(2, 2);

	count_reserve(count, 0, entered(count, "a") + 1);
}

Test(cache_count, a_change_of_a_number_nobody_was_given_stops_the_process, .signal = SIGABRT)
{
	struct count *count = table(2, 2);

	enrolled(count, 0, entered(count, "a"), 1);
	count_apply(count, 0, 1, ONE_ENROLLED, 1);
}

Test(cache_count, a_change_that_was_not_reserved_stops_the_process, .signal = SIGABRT)
{
	struct count *count = table(2, 2);

	count_apply(count, 0, entered(count, "a"), ONE_ENROLLED, 1);
}

Test(cache_count, rules_by_who_has_not_taken_core_0_stop_the_process, .signal = SIGABRT)
{
	struct count *count = table(2, 2);

	count_put(count, 0);
	count_rule(count, entered(count, "a"), &(struct count_rules){ .cap = COUNT_NO_CAP });
}

Test(cache_count, rules_without_memory_for_them_stop_the_process, .signal = SIGABRT)
{
	struct count *count = table(2, 2);
	uint32_t site = entered(count, "a");

	allocations_left = 0;
	count_rule(count, site, &(struct count_rules){ .cap = COUNT_NO_CAP });
}

Test(cache_count, the_id_of_a_number_nobody_was_given_stops_the_process, .signal = SIGABRT)
{
	const char *id;

	count_id(table(2, 2), 0, &id);
}

Test(cache_count, reading_a_number_nobody_was_given_stops_the_process, .signal = SIGABRT)
{
	count_read(table(2, 2), 0);
}

Test(cache_count, a_change_on_a_core_that_was_not_taken_stops_the_process, .signal = SIGABRT)
{
	struct count *count = table(2, 2);
	uint32_t site = entered(count, "a");

	cr_assert_eq(count_reserve(count, 1, site), COUNT_OK);
	count_put(count, 1);
	count_apply(count, 1, site, ONE_ENROLLED, 1);
}

Test(cache_count, taking_a_core_twice_stops_the_process, .signal = SIGABRT)
{
	count_take(table(2, 2), 1);
}

Test(cache_count, freeing_a_table_that_a_core_still_writes_stops_the_process, .signal = SIGABRT)
{
	count_free(table(2, 2));
}
