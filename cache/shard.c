/* cache/shard.c — one core's lines, and the argument why no update is lost.
 *
 * Every line has one writer at a time, so between its load and its store no one else stores: the sum it stores contains
 * every earlier change, and nothing can be lost. (Two threads that ran these two steps on one line could both load 7 and
 * both store 8; that is why the writer is checked on every change.) The load needs no ordering, a thread always sees its
 * own last store.
 * How readers see a line whole is cache/lines.c's.
 *
 *   writer   compare-and-swap acquire in shard_take, store release in shard_put: the next writer sees all lines and
 *            blocks of the one before. On a change it is only compared, relaxed: a thread sees its own taking.
 *
 * Why a reader that was told of a change sees it: the stores come before the answer in the writer's program order,
 * the answer travels to the client and the client's next request to the reading core through locks, device barriers and
 * the kernel's queues, each of which is at least a release and an acquire. So the stores happen before the later load,
 * and by coherence a load that happens after a store returns it or a newer one. No fence of ours is needed. */
#include "cache/shard.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SHARD_MAGIC 0x73686172u /* "shar" */

struct shard {
	uint32_t magic;
	_Atomic uintptr_t writer; /* pthread_self() of the thread that has taken the shard; 0: none */
	struct lines *lines;
};

static_assert(sizeof(struct line) == LINES_WORDS * sizeof(int64_t), "a line's words are those of struct line");
static_assert(2 * SHARD_LINE_MAX <= INT64_MAX / SHARD_SUM_MAX, "that many differences add up without overflow");
static_assert(sizeof(pthread_t) <= sizeof(uintptr_t), "a thread's name fits into `writer`");

struct shard *shard_new(unsigned sites_max)
{
	struct shard *shard = calloc(1, sizeof(*shard));

	if (shard == NULL)
		return NULL;
	shard->magic = SHARD_MAGIC;
	shard->lines = lines_new(sites_max);
	if (shard->lines == NULL) {
		free(shard);
		return NULL;
	}
	return shard;
}

void shard_free(struct shard *shard)
{
	if (shard == NULL)
		return;
	cache_check(shard->magic == SHARD_MAGIC);
	cache_check(atomic_load_explicit(&shard->writer, memory_order_acquire) == 0);
	lines_free(shard->lines);
	shard->magic = 0;
	free(shard);
}

void shard_take(struct shard *shard)
{
	uintptr_t nobody = 0;
	bool taken;

	cache_check(shard->magic == SHARD_MAGIC);
	taken = atomic_compare_exchange_strong_explicit(&shard->writer, &nobody, (uintptr_t)pthread_self(),
	                                                memory_order_acquire, memory_order_relaxed);
	cache_check(taken);
}

bool shard_is_mine(const struct shard *shard)
{
	cache_check(shard->magic == SHARD_MAGIC);
	return atomic_load_explicit(&shard->writer, memory_order_relaxed) == (uintptr_t)pthread_self();
}

void shard_put(struct shard *shard)
{
	cache_check(shard_is_mine(shard));
	atomic_store_explicit(&shard->writer, 0, memory_order_release);
}

static void line_of(const int64_t words[LINES_WORDS], struct line *line)
{
	memcpy(line, words, sizeof(*line));
}

static void shard_own(const struct shard *shard, uint32_t site, struct line *line)
{
	int64_t words[LINES_WORDS];

	lines_own(shard->lines, site, words);
	line_of(words, line);
}

static void cell_set(struct lines_cell *cell, const struct line *line)
{
	int64_t words[LINES_WORDS];

	memcpy(words, line, sizeof(words));
	lines_set(cell, words);
}

static bool line_fits(const struct line *line, int64_t limit)
{
	for (unsigned kind = 0; kind < COUNT_KINDS; kind++) {
		if (line->n[kind] > limit || line->n[kind] < -limit)
			return false;
	}
	return true;
}

enum shard_answer shard_reserve(struct shard *shard, uint32_t site)
{
	struct line line, study;

	cache_check(shard_is_mine(shard));
	shard_own(shard, site, &line);
	shard_own(shard, SHARD_STUDY, &study);
	if (!line_fits(&line, SHARD_LINE_FULL) || !line_fits(&study, SHARD_LINE_FULL))
		return SHARD_LINE_SPENT;
	return lines_make(shard->lines, site) ? SHARD_OK : SHARD_MEMORY_SPENT;
}

/* Opens this line with the change in it. */
static struct lines_cell *line_change(struct shard *shard, uint32_t site, const int64_t by[COUNT_KINDS], uint64_t stamp_ns)
{
	struct lines_cell *cell;
	struct line line;

	shard_own(shard, site, &line);
	for (unsigned kind = 0; kind < COUNT_KINDS; kind++) {
		bool overflows = __builtin_add_overflow(line.n[kind], by[kind], &line.n[kind]);

		cache_check(!overflows);
	}
	cache_check(line_fits(&line, SHARD_LINE_MAX));
	line.changes++;
	if (stamp_ns > line.stamp_ns)
		line.stamp_ns = stamp_ns;
	cell = lines_open(shard->lines, site);
	cell_set(cell, &line);
	return cell;
}

void shard_open(struct shard *shard, uint32_t site, const int64_t by[COUNT_KINDS], uint64_t stamp_ns,
                struct lines_cell *opened[SHARD_OPENED])
{
	cache_check(shard_is_mine(shard));
	cache_check(site != SHARD_STUDY);
	opened[0] = line_change(shard, site, by, stamp_ns);
	opened[1] = line_change(shard, SHARD_STUDY, by, stamp_ns);
}

void shard_apply(struct shard *shard, uint32_t site, const int64_t by[COUNT_KINDS], uint64_t stamp_ns)
{
	struct lines_cell *opened[SHARD_OPENED];

	shard_open(shard, site, by, stamp_ns, opened);
	for (unsigned i = 0; i < SHARD_OPENED; i++)
		lines_close(opened[i]);
}

enum shard_answer shard_restore(struct shard *shard, uint32_t site, const struct line *line)
{
	struct lines_cell *cell, *study_cell;
	struct line before, study;

	cache_check(shard_is_mine(shard));
	cache_check(site != SHARD_STUDY);
	if (!line_fits(line, SHARD_LINE_MAX))
		return SHARD_LINE_SPENT;
	shard_own(shard, site, &before);
	shard_own(shard, SHARD_STUDY, &study);
	for (unsigned kind = 0; kind < COUNT_KINDS; kind++)
		study.n[kind] += line->n[kind] - before.n[kind];
	if (!line_fits(&study, SHARD_LINE_MAX))
		return SHARD_LINE_SPENT;
	if (!lines_make(shard->lines, site))
		return SHARD_MEMORY_SPENT;
	study.changes += line->changes - before.changes;
	if (line->stamp_ns > study.stamp_ns)
		study.stamp_ns = line->stamp_ns;
	cell = lines_open(shard->lines, site);
	study_cell = lines_open(shard->lines, SHARD_STUDY);
	cell_set(cell, line);
	cell_set(study_cell, &study);
	lines_close(cell);
	lines_close(study_cell);
	return SHARD_OK;
}

bool shard_look(const struct shard *shard, uint32_t site, struct line *line, uint64_t *version)
{
	int64_t words[LINES_WORDS];
	bool whole;

	cache_check(shard->magic == SHARD_MAGIC);
	whole = lines_look(shard->lines, site, words, version);
	line_of(words, line);
	return whole;
}

uint64_t shard_version(const struct shard *shard, uint32_t site)
{
	cache_check(shard->magic == SHARD_MAGIC);
	return lines_version(shard->lines, site);
}

const struct lines *shard_lines(const struct shard *shard)
{
	cache_check(shard->magic == SHARD_MAGIC);
	return shard->lines;
}

size_t shard_bytes(const struct shard *shard)
{
	cache_check(shard->magic == SHARD_MAGIC);
	return sizeof(*shard) + lines_bytes(shard->lines);
}
