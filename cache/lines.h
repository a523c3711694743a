/* cache/lines.h — a few words per site that one thread writes and all threads read, as they were at one moment.
 *
 * A *line* is six words of one site. Its words belong together, so a reader must never get some from before a change
 * and some from after it; and because other lines of the same site have other writers, a reader must also be able to say
 * whether anything moved while it went through all of them. Both is done by the line's *version*: even while the line rests,
 * odd while it is written, two more after each writing, never less than it was.
 *
 *    │ version │ word 0 │ word 1 │ word 2 │ word 3 │ word 4 │ word 5 │ — │     64 bytes, one cache line
 *
 *    lines ─▶ study
 *             blocks[0] ─▶ │ site 0 │ site 1 │ … │ site 63 │      a block is LINES_BLOCK_SITES lines, made when the first
 *             blocks[1] ─▶ none: nothing was written here         of its sites is, and kept until lines_free
 *             blocks[2] ─▶ │ site 128 │ …
 *
 * Beside the sites there is one line more, LINES_STUDY, which is always there.
 *
 * How to read several tables at one moment (*double collect*): look at the line in each and add up the versions; then
 * add up the versions once more. No version ever goes down, so the sums are equal only if every one of them is: then all
 * that was looked at stood so together, between the first sum and the second. Otherwise begin again.
 *
 * Writing is opening, setting and closing. Who opens several lines, in one table or in several, before closing the first
 * of them, changes them at one moment: no reader sees one changed and, afterwards, another unchanged.
 * The memory orderings, and why this is so, stand in cache/lines.c.
 *
 * Owner: the table owns its blocks; whoever called lines_new calls lines_free.
 * Thread: lines_make, _open, _set, _close and _own by one thread at a time, its *writer* (cache/shard.h says which, and
 * checks it); all else by any thread, at any time before lines_free. Readers never wait in here and change nothing.
 * Units: memory in bytes as asked of the allocator.
 * Errors: no memory, where it says so. A site that cannot be is our own mistake and stops the process.
 * Limits: sites below the `sites_max` given at creation. */
#ifndef CACHE_LINES_H
#define CACHE_LINES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Our own mistake: always on, one fact each. This folder depends on nothing of ours, so it brings its own. */
_Noreturn void cache_check_failed(const char *fact, const char *file, int line);

#define cache_check(fact) ((fact) ? (void)0 : cache_check_failed(#fact, __FILE__, __LINE__))

#define LINES_WORDS 6
#define LINES_LINE_BYTES 64
#define LINES_BLOCK_SITES 64 /* 64 lines of 64 bytes: one page */
#define LINES_STUDY UINT32_MAX

/* Fills its cache line, so that reading one site does not pull in what the writer does to the next. */
struct lines_cell {
	_Alignas(LINES_LINE_BYTES) _Atomic uint64_t version;
	_Atomic int64_t words[LINES_WORDS];
};

struct lines_block {
	struct lines_cell cells[LINES_BLOCK_SITES];
};

/* Its inside is shown for the readers below, which are inlined: the shortest question to the gateway reads lines. */
struct lines {
	unsigned sites_max;
	_Atomic unsigned block_count; /* blocks made so far; stored by the writer */
	struct lines_cell *study;
	_Atomic(struct lines_block *) blocks[];
};

/* Lines for sites 0 … sites_max - 1 and the study, all words zero. NULL: no memory. */
struct lines *lines_new(unsigned sites_max);

/* No thread may still read or write it. NULL is harmless. */
void lines_free(struct lines *lines);

/* The memory of this site's line, so that it can be written. False: no memory, nothing was changed. Writer only. */
bool lines_make(struct lines *lines, uint32_t site);

/* The words as the writer wrote them last, zeros where it never did. Not while the line is open. Writer only. */
void lines_own(const struct lines *lines, uint32_t site, int64_t words[LINES_WORDS]);

/* From here on no reader gets this line until it is closed, so what lies between is short. The line must have been made.
 * Writer only. */
struct lines_cell *lines_open(struct lines *lines, uint32_t site);

/* All words of an open line. Writer only. */
void lines_set(struct lines_cell *cell, const int64_t words[LINES_WORDS]);

void lines_close(struct lines_cell *cell);

/* Memory held: the table of blocks, the study's line and the blocks made so far. */
size_t lines_bytes(const struct lines *lines);

/* The line itself; NULL: never made, so its words and its version are zero. Any thread. */
static inline const struct lines_cell *lines_cell(const struct lines *lines, uint32_t site)
{
	const struct lines_block *block;

	if (site == LINES_STUDY)
		return lines->study;
	cache_check(site < lines->sites_max);
	block = atomic_load_explicit(&lines->blocks[site / LINES_BLOCK_SITES], memory_order_seq_cst);
	return block == NULL ? NULL : &block->cells[site % LINES_BLOCK_SITES];
}

/* Odd: being written just now. Any thread. */
static inline uint64_t lines_cell_version(const struct lines_cell *cell)
{
	return cell == NULL ? 0 : atomic_load_explicit(&cell->version, memory_order_seq_cst);
}

static inline int64_t lines_cell_word(const struct lines_cell *cell, unsigned word)
{
	return cell == NULL ? 0 : atomic_load_explicit(&cell->words[word], memory_order_acquire);
}

/* One line as it was at one moment, and its version then. False: it is being written, or was meanwhile. Any thread. */
static inline bool lines_look(const struct lines *lines, uint32_t site, int64_t words[LINES_WORDS], uint64_t *version)
{
	const struct lines_cell *cell = lines_cell(lines, site);

	*version = lines_cell_version(cell);
	for (unsigned word = 0; word < LINES_WORDS; word++)
		words[word] = lines_cell_word(cell, word);
	return (*version & 1) == 0 && lines_cell_version(cell) == *version;
}

static inline uint64_t lines_version(const struct lines *lines, uint32_t site)
{
	return lines_cell_version(lines_cell(lines, site));
}

#endif
