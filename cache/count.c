/* cache/count.c — the directory of sites, the rules, and the sums over the shards.
 *
 * The directory only ever grows, and grows without a lock. It is three things that name the same sites:
 *
 *    newest ─▶ the site entered last; its number + 1 is how many there are
 *    order     number ─▶ site                       [ a ][ b ][ c ][   ][   ]          sites_max places
 *    slots     hash of the id ─▶ site               [   ][ c ][   ][ a ][ b ][   ] …   open addressing, half empty
 *
 * Entering a site:                                              what another thread may do meanwhile
 *    1. read newest
 *    2. settle it: make sure it stands in order and in slots    the same; both put the same site into the same place
 *    3. look for the id in slots; found: that is the answer
 *    4. a new site, its number one above newest's
 *    5. newest: compare-and-swap from what 1 read to it         enter a site: the swap fails, and we begin again
 *    6. settle it
 *
 * The swap in 5 is the one moment of decision: it gives the number, it keeps the limit exactly, and it cannot enter an
 * id twice. For when it succeeds, newest has not moved since 1 (sites are never removed, so the same pointer is the
 * same site); all sites up to it stood in slots before 3 looked, each settled before the next was entered; and 3 did not find
 * the id. A swap fails only because another thread's succeeded: someone always moves on. None of this happens for
 * a site that is known: finding is loads alone.
 *
 * The orderings: a site is written before step 5 and step 6 publish it, each with a release, and never after. Whoever
 * comes to it by an acquire load of newest or of a slot sees it whole. order needs no ordering of its own: who reads a
 * place there has read a newest that is at least as new, and every swap of newest is a release, so the site is whole.
 * order is stored before the slot, so a site that can be found can also be listed; and count_enter returns after 6,
 * so whoever learns of its answer finds the site.
 *
 * The orderings of lines, and why what is read of several is of one moment, stand in cache/lines.c; why no change is
 * lost, in cache/shard.c.
 *
 * A reader begins again when a line of its site was written while it looked. A writing is over in some nanoseconds and
 * the next change of the same site is seldom there already, so that is rare; but where many cores change one site without
 * a pause, a reader of many lines might never get through. So whoever has looked in vain COUNT_LOOKS times says so, and
 * until it is through, each change lets others run before it is written: a bounded number of times, so that a reader that
 * is stopped itself holds nobody up for long. */
#include "cache/count.h"

#include "cache/siphash.h"

#include <assert.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define COUNT_MAGIC 0x636f756eu /* "coun" */

struct site {
	uint64_t hash;
	uint32_t number;
	uint32_t id_bytes;
	char id[];
};

#define COUNT_LOOKS 16
#define COUNT_YIELDS 64

/* How many readers have looked in vain too often. On a cache line that stays in all caches, because it seldom changes. */
struct hurry {
	_Alignas(LINES_LINE_BYTES) _Atomic unsigned readers;
};

/* The words of a line of rules. All are zero in a line that was never written, which therefore says: recruiting, no cap. */
enum rules_word { RULES_STATUS, RULES_CAP /* + 1 */, RULES_RESERVED, RULES_CHANGES, RULES_STAMP };

static_assert(COUNT_RECRUITING == 0 && COUNT_NO_CAP == -1, "zeros are the rules of a site for which none were made");

struct count {
	uint32_t magic;
	unsigned cores;
	unsigned sites_max;
	size_t slot_count; /* a power of two, at least twice sites_max: a probe always meets an empty slot */
	uint64_t seed[2];
	struct shard **shards;
	struct lines *rules;        /* written by the thread that has taken shard 0 */
	const struct lines **lines; /* of each shard, and behind them the rules: what a reader looks through */
	struct hurry *hurry;
	_Atomic(struct site *) *slots;
	_Atomic(struct site *) *order;
	_Atomic(struct site *) newest; /* NULL: no site yet */
	_Atomic size_t site_bytes;     /* raised once per site, when it is entered */
};

static_assert(COUNT_CORES_MAX <= SHARD_SUM_MAX, "the sum over all cores cannot overflow");

/* --- the id ------------------------------------------------------------------------------------------------------ */

/* RFC 3629 §4: how many bytes a character has and between which bounds its second byte lies, by its first byte. The
 * narrowed bounds are what excludes overlong forms (E0, F0), surrogates (ED) and what lies above U+10FFFF (F4). */
static const struct utf8_lead {
	uint8_t first, last;
	uint8_t bytes;
	uint8_t second_min, second_max;
} UTF8_LEADS[] = {
	{ 0xC2, 0xDF, 2, 0x80, 0xBF }, { 0xE0, 0xE0, 3, 0xA0, 0xBF }, { 0xE1, 0xEC, 3, 0x80, 0xBF },
	{ 0xED, 0xED, 3, 0x80, 0x9F }, { 0xEE, 0xEF, 3, 0x80, 0xBF }, { 0xF0, 0xF0, 4, 0x90, 0xBF },
	{ 0xF1, 0xF3, 4, 0x80, 0xBF }, { 0xF4, 0xF4, 4, 0x80, 0x8F },
};

/* The length of the character of two or more bytes that stands at the beginning of `text`; 0 when none does. */
static size_t utf8_length(const uint8_t *text, size_t text_bytes)
{
	for (size_t i = 0; i < sizeof(UTF8_LEADS) / sizeof(UTF8_LEADS[0]); i++) {
		const struct utf8_lead *lead = &UTF8_LEADS[i];

		if (text[0] < lead->first || text[0] > lead->last)
			continue;
		if (text_bytes < lead->bytes || text[1] < lead->second_min || text[1] > lead->second_max)
			return 0;
		for (size_t at = 2; at < lead->bytes; at++) {
			if ((text[at] & 0xC0) != 0x80)
				return 0;
		}
		return lead->bytes;
	}
	return 0;
}

enum count_answer count_judge(const char *id, size_t id_bytes)
{
	const uint8_t *text = (const uint8_t *)id;
	bool has_control = false;
	size_t length;

	if (id_bytes == 0)
		return COUNT_SITE_EMPTY;
	if (id_bytes > COUNT_SITE_BYTES_MAX)
		return COUNT_SITE_TOO_LONG;
	for (size_t at = 0; at < id_bytes; at += length) {
		if (text[at] >= 0x20 && text[at] < 0x7F) {
			length = 1; /* most ids are nothing but these */
			continue;
		}
		if (text[at] < 0x80) {
			has_control = true;
			length = 1;
			continue;
		}
		length = utf8_length(text + at, id_bytes - at);
		if (length == 0)
			return COUNT_SITE_NOT_UTF8;
		has_control |= text[at] == 0xC2 && text[at + 1] < 0xA0; /* U+0080-009F */
	}
	/* Last, so that the answer does not depend on which of two faults comes first: bytes that are not text are that. */
	return has_control ? COUNT_SITE_CONTROL : COUNT_OK;
}

/* --- the directory ----------------------------------------------------------------------------------------------- */

static size_t directory_slot_count(unsigned sites_max)
{
	size_t slot_count = 2;

	while (slot_count < 2 * (size_t)sites_max)
		slot_count *= 2;
	return slot_count;
}

static unsigned directory_sites(const struct count *count)
{
	const struct site *newest = atomic_load_explicit(&count->newest, memory_order_acquire);

	return newest == NULL ? 0 : newest->number + 1;
}

static const struct site *directory_find(const struct count *count, uint64_t hash, const char *id, size_t id_bytes)
{
	for (size_t probe = 0; probe < count->slot_count; probe++) {
		size_t at = (hash + probe) & (count->slot_count - 1);
		const struct site *site = atomic_load_explicit(&count->slots[at], memory_order_acquire);

		if (site == NULL)
			return NULL;
		if (site->hash == hash && site->id_bytes == id_bytes && memcmp(site->id, id, id_bytes) == 0)
			return site;
	}
	cache_check(!"a directory is at most half full");
	return NULL;
}

/* Puts an entered site into order and slots, unless it is there. Several threads may do this for one site: all walk the
 * same slots, which never become empty again, so all arrive at the same one, and one of them fills it. */
static void directory_settle(struct count *count, struct site *site)
{
	atomic_store_explicit(&count->order[site->number], site, memory_order_relaxed);
	for (size_t probe = 0; probe < count->slot_count; probe++) {
		size_t at = (site->hash + probe) & (count->slot_count - 1);
		struct site *there = NULL;

		if (atomic_compare_exchange_strong_explicit(&count->slots[at], &there, site, memory_order_acq_rel,
		                                            memory_order_acquire))
			return;
		if (there == site)
			return;
	}
	cache_check(!"a directory is at most half full");
}

static struct site *site_new(uint64_t hash, const char *id, size_t id_bytes)
{
	struct site *site = malloc(sizeof(*site) + id_bytes);

	if (site == NULL)
		return NULL;
	site->hash = hash;
	site->number = 0;
	site->id_bytes = (uint32_t)id_bytes;
	memcpy(site->id, id, id_bytes);
	return site;
}

enum count_answer count_find(const struct count *count, const char *id, size_t id_bytes, uint32_t *number)
{
	enum count_answer answer = count_judge(id, id_bytes);
	const struct site *site;

	cache_check(count->magic == COUNT_MAGIC);
	if (answer != COUNT_OK)
		return answer;
	site = directory_find(count, siphash(count->seed, (const uint8_t *)id, id_bytes), id, id_bytes);
	if (site == NULL)
		return COUNT_SITE_UNKNOWN;
	*number = site->number;
	return COUNT_OK;
}

enum count_answer count_enter(struct count *count, const char *id, size_t id_bytes, uint32_t *number)
{
	enum count_answer answer = count_find(count, id, id_bytes, number);
	struct site *fresh, *newest;
	const struct site *known;

	if (answer != COUNT_SITE_UNKNOWN)
		return answer;
	fresh = site_new(siphash(count->seed, (const uint8_t *)id, id_bytes), id, id_bytes);
	if (fresh == NULL)
		return COUNT_MEMORY_SPENT;
	/* Goes round again only when another thread entered a site meanwhile, which happens sites_max times at most. */
	newest = atomic_load_explicit(&count->newest, memory_order_acquire);
	do {
		if (newest != NULL)
			directory_settle(count, newest);
		known = directory_find(count, fresh->hash, id, id_bytes);
		if (known != NULL) {
			free(fresh);
			*number = known->number;
			return COUNT_OK;
		}
		fresh->number = newest == NULL ? 0 : newest->number + 1;
		if (fresh->number == count->sites_max) {
			free(fresh);
			return COUNT_SITES_SPENT;
		}
	} while (!atomic_compare_exchange_weak_explicit(&count->newest, &newest, fresh, memory_order_acq_rel,
	                                                memory_order_acquire));
	directory_settle(count, fresh);
	atomic_fetch_add_explicit(&count->site_bytes, sizeof(*fresh) + id_bytes, memory_order_relaxed);
	*number = fresh->number;
	return COUNT_OK;
}

/* --- the table --------------------------------------------------------------------------------------------------- */

struct count *count_new(unsigned shards, unsigned sites_max, const uint8_t seed[COUNT_SEED_BYTES])
{
	struct count *count;
	bool whole;

	cache_check(shards > 0 && shards <= COUNT_CORES_MAX);
	cache_check(sites_max > 0 && sites_max <= COUNT_SITES_MAX);
	count = calloc(1, sizeof(*count));
	if (count == NULL)
		return NULL;
	count->magic = COUNT_MAGIC;
	count->cores = shards;
	count->sites_max = sites_max;
	count->slot_count = directory_slot_count(sites_max);
	count->seed[0] = load_le64(seed, 8);
	count->seed[1] = load_le64(seed + 8, 8);
	count->slots = calloc(count->slot_count, sizeof(count->slots[0]));
	count->order = calloc(sites_max, sizeof(count->order[0]));
	count->shards = calloc(shards, sizeof(count->shards[0]));
	count->lines = calloc((size_t)shards + 1, sizeof(count->lines[0]));
	count->rules = lines_new(sites_max);
	count->hurry = aligned_alloc(LINES_LINE_BYTES, sizeof(*count->hurry));
	whole = count->slots != NULL && count->order != NULL && count->shards != NULL && count->lines != NULL &&
	        count->rules != NULL && count->hurry != NULL;
	for (unsigned core = 0; whole && core < shards; core++) {
		count->shards[core] = shard_new(sites_max);
		whole = count->shards[core] != NULL;
		if (whole)
			count->lines[core] = shard_lines(count->shards[core]);
	}
	if (!whole) {
		count_free(count);
		return NULL;
	}
	count->lines[shards] = count->rules;
	atomic_init(&count->hurry->readers, 0);
	return count;
}

void count_free(struct count *count)
{
	if (count == NULL)
		return;
	cache_check(count->magic == COUNT_MAGIC);
	/* Sites are freed by order, not by slots: it is the shorter walk, and every entered site is settled by now. */
	for (unsigned number = 0, sites = directory_sites(count); number < sites; number++)
		free(atomic_load_explicit(&count->order[number], memory_order_relaxed));
	for (unsigned core = 0; count->shards != NULL && core < count->cores; core++)
		shard_free(count->shards[core]);
	lines_free(count->rules);
	free(count->hurry);
	free(count->lines);
	free(count->shards);
	free(count->order);
	free(count->slots);
	count->magic = 0;
	free(count);
}

static struct shard *count_shard(const struct count *count, unsigned core)
{
	cache_check(count->magic == COUNT_MAGIC);
	cache_check(core < count->cores);
	return count->shards[core];
}

void count_take(struct count *count, unsigned core)
{
	shard_take(count_shard(count, core));
}

void count_put(struct count *count, unsigned core)
{
	shard_put(count_shard(count, core));
}

/* --- changing ---------------------------------------------------------------------------------------------------- */

/* Does this number stand for something? One that nobody was given would be counted silently into a site that is yet to come. */
static bool is_site(const struct count *count, uint32_t site)
{
	return site == COUNT_STUDY || site < directory_sites(count);
}

static enum count_answer answer_of(enum shard_answer answer)
{
	switch (answer) {
	case SHARD_OK:
		return COUNT_OK;
	case SHARD_LINE_SPENT:
		return COUNT_LINE_SPENT;
	case SHARD_MEMORY_SPENT:
		return COUNT_MEMORY_SPENT;
	}
	cache_check(!"every answer of a shard has its answer here");
	return COUNT_OK;
}

/* Before a line is opened. */
static void readers_first(const struct count *count)
{
	for (unsigned i = 0; i < COUNT_YIELDS; i++) {
		if (atomic_load_explicit(&count->hurry->readers, memory_order_relaxed) == 0)
			return;
		sched_yield();
	}
}

enum count_answer count_reserve(struct count *count, unsigned core, uint32_t site)
{
	struct shard *shard = count_shard(count, core);
	enum shard_answer answer;

	cache_check(is_site(count, site));
	answer = shard_reserve(shard, site);
	if (answer == SHARD_OK && core == 0 && !lines_make(count->rules, site))
		answer = SHARD_MEMORY_SPENT;
	return answer_of(answer);
}

void count_apply(struct count *count, unsigned core, uint32_t site, const int64_t by[COUNT_KINDS], uint64_t stamp_ns)
{
	struct shard *shard = count_shard(count, core);

	cache_check(is_site(count, site));
	readers_first(count);
	shard_apply(shard, site, by, stamp_ns);
}

/* Opens the line of rules with these in it. */
static struct lines_cell *rules_open(struct count *count, uint32_t site, const struct count_rules *rules)
{
	int64_t words[LINES_WORDS] = {
		[RULES_STATUS] = rules->status,
		[RULES_CAP] = (int64_t)((uint64_t)rules->cap + 1), /* the largest cap wraps round here, and back in rules_of */
		[RULES_RESERVED] = rules->reserved,
		[RULES_CHANGES] = (int64_t)rules->changes,
		[RULES_STAMP] = (int64_t)rules->stamp_ns,
	};
	struct lines_cell *cell;
	bool made = lines_make(count->rules, site);

	cache_check(made);
	cache_check(rules->cap >= COUNT_NO_CAP);
	cell = lines_open(count->rules, site);
	lines_set(cell, words);
	return cell;
}

static void rules_of(const int64_t words[LINES_WORDS], struct count_rules *rules)
{
	rules->status = (enum count_status)words[RULES_STATUS];
	rules->cap = (int64_t)((uint64_t)words[RULES_CAP] - 1);
	rules->reserved = words[RULES_RESERVED];
	rules->changes = (uint64_t)words[RULES_CHANGES];
	rules->stamp_ns = (uint64_t)words[RULES_STAMP];
}

void count_publish(struct count *count, uint32_t site, const int64_t by[COUNT_KINDS], const struct count_rules *rules,
                   const struct count_rules *study, uint64_t stamp_ns)
{
	struct shard *shard = count_shard(count, 0);
	struct lines_cell *opened[SHARD_OPENED + 2];
	unsigned opened_count = 0;

	cache_check(shard_is_mine(shard));
	cache_check(is_site(count, site));
	readers_first(count);
	if (rules != NULL)
		opened[opened_count++] = rules_open(count, site, rules);
	if (study != NULL)
		opened[opened_count++] = rules_open(count, COUNT_STUDY, study);
	if (by != NULL) {
		shard_open(shard, site, by, stamp_ns, opened + opened_count);
		opened_count += SHARD_OPENED;
	}
	for (unsigned i = 0; i < opened_count; i++)
		lines_close(opened[i]);
}

void count_rule(struct count *count, uint32_t site, const struct count_rules *rules)
{
	count_publish(count, site, NULL, rules, NULL, 0);
}

enum count_answer count_line_restore(struct count *count, unsigned core, uint32_t site, const struct line *line)
{
	struct shard *shard = count_shard(count, core);

	cache_check(is_site(count, site));
	return answer_of(shard_restore(shard, site, line));
}

/* --- reading ----------------------------------------------------------------------------------------------------- */

/* A look was in vain, the `looks`-th of this reader. */
static void look_again(const struct count *count, unsigned *looks)
{
	++*looks;
	if (*looks == COUNT_LOOKS)
		atomic_fetch_add_explicit(&count->hurry->readers, 1, memory_order_relaxed);
	/* The writer of an open line may itself have been stopped, and by us. */
	if (*looks >= COUNT_LOOKS)
		sched_yield();
}

static void look_ended(const struct count *count, unsigned looks)
{
	if (looks >= COUNT_LOOKS)
		atomic_fetch_sub_explicit(&count->hurry->readers, 1, memory_order_relaxed);
}

/* The second of a double collect: do the first `tables` lines of this site still have the versions that add up to this? */
static inline bool stands(const struct count *count, unsigned tables, uint32_t site, uint64_t versions)
{
	for (unsigned table = 0; table < tables; table++)
		versions -= lines_version(count->lines[table], site);
	return versions == 0;
}

/* The first is made here for one sum alone, because no question is asked more often. False: in vain. */
static inline bool read_look(const struct count *count, uint32_t site, int64_t *sum)
{
	uint64_t versions = 0, written = 0;

	*sum = 0;
	for (unsigned core = 0; core < count->cores; core++) {
		const struct lines_cell *cell = lines_cell(count->lines[core], site);
		uint64_t version = lines_cell_version(cell);

		versions += version;
		written |= version;
		*sum += lines_cell_word(cell, COUNT_ENROLLED) - lines_cell_word(cell, COUNT_WITHDRAWN);
	}
	return (written & 1) == 0 && stands(count, count->cores, site, versions);
}

int64_t count_read(const struct count *count, uint32_t site)
{
	unsigned looks = 0;
	int64_t sum;

	cache_check(count->magic == COUNT_MAGIC);
	cache_check(is_site(count, site));
	while (!read_look(count, site, &sum))
		look_again(count, &looks);
	look_ended(count, looks);
	return sum;
}

static bool site_look(const struct count *count, uint32_t site, struct count_site *found)
{
	int64_t words[LINES_WORDS];
	uint64_t version, versions = 0;
	struct line line;

	memset(found, 0, sizeof(*found));
	for (unsigned core = 0; core < count->cores; core++) {
		if (!lines_look(count->lines[core], site, words, &version))
			return false;
		versions += version;
		memcpy(&line, words, sizeof(line));
		for (unsigned kind = 0; kind < COUNT_KINDS; kind++)
			found->n[kind] += line.n[kind];
		found->revision += line.changes;
		if (line.stamp_ns > found->stamp_ns)
			found->stamp_ns = line.stamp_ns;
	}
	if (!lines_look(count->rules, site, words, &version))
		return false;
	versions += version;
	rules_of(words, &found->rules);
	found->revision += found->rules.changes;
	if (found->rules.stamp_ns > found->stamp_ns)
		found->stamp_ns = found->rules.stamp_ns;
	found->count = found->n[COUNT_ENROLLED] - found->n[COUNT_WITHDRAWN];
	return stands(count, count->cores + 1, site, versions);
}

void count_look(const struct count *count, uint32_t site, struct count_site *found)
{
	unsigned looks = 0;

	cache_check(count->magic == COUNT_MAGIC);
	cache_check(is_site(count, site));
	while (!site_look(count, site, found))
		look_again(count, &looks);
	look_ended(count, looks);
}

bool count_known(const struct count *count, uint32_t site)
{
	struct count_site found;

	count_look(count, site, &found);
	return found.revision > 0;
}

void count_line(const struct count *count, unsigned core, uint32_t site, struct line *line)
{
	const struct shard *shard = count_shard(count, core);
	unsigned looks = 0;
	uint64_t version;

	cache_check(is_site(count, site));
	while (!shard_look(shard, site, line, &version))
		look_again(count, &looks);
	look_ended(count, looks);
}

size_t count_id(const struct count *count, uint32_t number, const char **id)
{
	const struct site *site;

	cache_check(count->magic == COUNT_MAGIC);
	cache_check(number < directory_sites(count));
	site = atomic_load_explicit(&count->order[number], memory_order_relaxed);
	cache_check(site != NULL);
	*id = site->id;
	return site->id_bytes;
}

uint32_t count_each(const struct count *count, uint32_t first, count_seen *seen, void *user)
{
	unsigned sites;
	uint32_t number;

	cache_check(count->magic == COUNT_MAGIC);
	sites = directory_sites(count);
	for (number = first; number < sites; number++) {
		const struct site *site = atomic_load_explicit(&count->order[number], memory_order_relaxed);

		/* The newest may not be settled yet: it is not there for count_find either, and comes with the next call. */
		if (site == NULL)
			break;
		if (!seen(user, number, site->id, site->id_bytes, count_read(count, number)))
			return number + 1;
	}
	return number;
}

void count_stats(const struct count *count, struct count_stats *stats)
{
	cache_check(count->magic == COUNT_MAGIC);
	stats->sites = directory_sites(count);
	stats->sites_max = count->sites_max;
	stats->directory_bytes = sizeof(*count) + count->slot_count * sizeof(count->slots[0]) +
	                         count->sites_max * sizeof(count->order[0]) + count->cores * sizeof(count->shards[0]) +
	                         ((size_t)count->cores + 1) * sizeof(count->lines[0]) + sizeof(*count->hurry) +
	                         atomic_load_explicit(&count->site_bytes, memory_order_relaxed);
	stats->shard_bytes = lines_bytes(count->rules);
	for (unsigned core = 0; core < count->cores; core++)
		stats->shard_bytes += shard_bytes(count->shards[core]);
}
