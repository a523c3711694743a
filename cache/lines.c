/* cache/lines.c — lines of a few words, and the argument why every reader sees them as they were at one moment.
 *
 * A line is a *seqlock*: its version is odd while it is written, and a reader takes what it read only when the version
 * was the same even number before and behind. Usually this is made with fences; here it is made with orderings on the
 * words themselves, which costs the same on the machines we run on, and which ThreadSanitizer understands, so that it is
 * watched in tests.
 *
 *   writer   version  store seq_cst, odd        opening: the moment of the change, see below
 *            words    store release             each: who sees a new word sees the odd version that stood before it
 *            version  store release, even       closing: who sees the new version sees all new words
 *   reader   version  load seq_cst              an even one, of which it then sees all words, or newer ones
 *            words    load acquire              none is read before it, and the version behind is read after all of them
 *            version  load seq_cst              had any word been newer, this would be too, and differ
 *
 *   block    store seq_cst once it is zeroed; load seq_cst by readers, who thus never see a line before its zero. To find
 *            no block is to find the version 0, from before any opening.
 *
 * Why seq_cst, where release and acquire would make one line whole: two cores each change a line of their own, and two
 * readers each look at both. With release and acquire alone, the first reader may see the first change without the
 * second, and the second reader the second without the first; each is told a history, and the histories contradict each
 * other. All seq_cst operations, however, have one order, S, which all threads agree on. In it stand every opening, and
 * every look at a version:
 *   - a look that finds the version from before a change stands in S before its opening: a seq_cst load sees the
 *     latest seq_cst store before it, or something newer;
 *   - a look that finds the version from behind a change stands in S behind its opening: it synchronised with the
 *     closing, which follows the opening.
 * So a change happens at its opening, and a double collect that found the same even versions twice happens between its
 * passes: what it found was opened before the first pass's looks, and what it did not find was not yet opened at the
 * second's. Reads and changes of all threads, taken by these places in S, are one history, which keeps the order of
 * whatever happens one after the other: they are linearizable.
 *
 * The same where several lines are opened before the first of them is closed; the change then happens at the last
 * opening. Who finds any of its lines unchanged looked before that line's opening; who finds any of them changed
 * synchronised with a closing, and all openings come before that.
 *
 * On x86-64 a seq_cst load is a plain load: reading pays nothing for it. An opening is an exchange, some twenty cycles,
 * once per line and change. */
#include "cache/lines.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static_assert(sizeof(struct lines_cell) == LINES_LINE_BYTES, "a line is exactly one cache line");
static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_POINTER_LOCK_FREE == 2, "no atomic here hides a lock");

_Noreturn void cache_check_failed(const char *fact, const char *file, int line)
{
	fprintf(stderr, "%s:%d: check failed: %s\n", file, line, fact);
	abort();
}

static size_t lines_table_count(unsigned sites_max)
{
	return ((size_t)sites_max + LINES_BLOCK_SITES - 1) / LINES_BLOCK_SITES;
}

/* Zeroed and on cache lines of its own; NULL: no memory. */
static void *lines_memory(size_t size)
{
	void *memory = aligned_alloc(LINES_LINE_BYTES, size);

	return memory == NULL ? NULL : memset(memory, 0, size);
}

struct lines *lines_new(unsigned sites_max)
{
	struct lines *lines;

	cache_check(sites_max > 0 && sites_max < LINES_STUDY);
	lines = calloc(1, sizeof(*lines) + lines_table_count(sites_max) * sizeof(lines->blocks[0]));
	if (lines == NULL)
		return NULL;
	lines->sites_max = sites_max;
	lines->study = lines_memory(sizeof(*lines->study));
	if (lines->study == NULL) {
		free(lines);
		return NULL;
	}
	return lines;
}

void lines_free(struct lines *lines)
{
	if (lines == NULL)
		return;
	for (size_t i = 0; i < lines_table_count(lines->sites_max); i++)
		free(atomic_load_explicit(&lines->blocks[i], memory_order_relaxed));
	free(lines->study);
	free(lines);
}

bool lines_make(struct lines *lines, uint32_t site)
{
	struct lines_block *block;
	unsigned block_count;

	if (lines_cell(lines, site) != NULL)
		return true;
	block = lines_memory(sizeof(*block));
	if (block == NULL)
		return false;
	atomic_store_explicit(&lines->blocks[site / LINES_BLOCK_SITES], block, memory_order_seq_cst);
	block_count = atomic_load_explicit(&lines->block_count, memory_order_relaxed);
	atomic_store_explicit(&lines->block_count, block_count + 1, memory_order_relaxed);
	return true;
}

void lines_own(const struct lines *lines, uint32_t site, int64_t words[LINES_WORDS])
{
	const struct lines_cell *cell = lines_cell(lines, site);

	if (cell == NULL) {
		memset(words, 0, LINES_WORDS * sizeof(words[0]));
		return;
	}
	for (unsigned word = 0; word < LINES_WORDS; word++)
		words[word] = atomic_load_explicit(&cell->words[word], memory_order_relaxed);
}

struct lines_cell *lines_open(struct lines *lines, uint32_t site)
{
	/* The one place where a cell found by the readers' way is written: the table is the writer's. */
	struct lines_cell *cell = (struct lines_cell *)lines_cell(lines, site);
	uint64_t version;

	cache_check(cell != NULL);
	version = atomic_load_explicit(&cell->version, memory_order_relaxed);
	cache_check((version & 1) == 0);
	atomic_store_explicit(&cell->version, version + 1, memory_order_seq_cst);
	return cell;
}

void lines_set(struct lines_cell *cell, const int64_t words[LINES_WORDS])
{
	for (unsigned word = 0; word < LINES_WORDS; word++)
		atomic_store_explicit(&cell->words[word], words[word], memory_order_release);
}

void lines_close(struct lines_cell *cell)
{
	uint64_t version = atomic_load_explicit(&cell->version, memory_order_relaxed);

	cache_check((version & 1) == 1);
	atomic_store_explicit(&cell->version, version + 1, memory_order_release);
}

size_t lines_bytes(const struct lines *lines)
{
	size_t block_count = atomic_load_explicit(&lines->block_count, memory_order_relaxed);

	return sizeof(*lines) + lines_table_count(lines->sites_max) * sizeof(lines->blocks[0]) + sizeof(*lines->study) +
	       block_count * sizeof(struct lines_block);
}
