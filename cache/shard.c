/* cache/shard.c — one core's lines, and the argument why no update is lost.
 *
 * The orderings, each with what it is for:
 *
 *   line     load relaxed, store release by the writer; load acquire by readers.
 *            Every line has one writer at a time, so between its load and its store no one else stores: the sum it
 *            stores contains every earlier add, and nothing can be lost. (Two threads that ran these two steps on one
 *            line could both load 7 and both store 8; that is why the writer is checked on every add.) The load needs
 *            no ordering, a thread always sees its own last store. The store is a release, so that whoever sees
 *            the raised count sees everything its core did before raising it.
 *   block    store release by the writer after the block is zeroed; load acquire by readers, who thus never see a line
 *            before its zero. A reader that finds no block reads zero, which is what this core had added by then.
 *   writer   compare-and-swap acquire in shard_take, store release in shard_put: the next writer sees all lines and
 *            blocks of the one before. On an add it is only compared, relaxed: a thread sees its own taking.
 *
 * Why a reader that was told of an add sees it: the store comes before the answer in the writer's program order,
 * the answer travels to the client and the client's next request to the reading core through locks, device barriers and
 * the kernel's queues, each of which is at least a release and an acquire. So the store happens before the later load,
 * and by coherence a load that happens after a store returns it or a newer one. No fence of ours is needed. */
#include "cache/shard.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHARD_MAGIC 0x73686172u /* "shar" */

/* A line fills its cache line, so that reading one site does not pull in what the writer does to the next. */
struct line {
	_Alignas(SHARD_LINE_BYTES) _Atomic int64_t added;
};

struct block {
	struct line lines[SHARD_BLOCK_SITES];
};

struct shard {
	uint32_t magic;
	unsigned sites_max;
	_Atomic uintptr_t writer;     /* pthread_self() of the thread that has taken the shard; 0: none */
	_Atomic unsigned block_count; /* blocks made so far; stored by the writer */
	_Atomic(struct block *) blocks[];
};

static_assert(sizeof(struct line) == SHARD_LINE_BYTES, "a line is exactly one cache line");
static_assert(SHARD_LINE_MAX <= INT64_MAX / SHARD_SUM_MAX, "that many lines add up without overflow");
static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_POINTER_LOCK_FREE == 2, "no atomic here hides a lock");
static_assert(sizeof(pthread_t) <= sizeof(uintptr_t), "a thread's name fits into `writer`");

_Noreturn void cache_check_failed(const char *fact, const char *file, int line)
{
	fprintf(stderr, "%s:%d: check failed: %s\n", file, line, fact);
	abort();
}

static size_t shard_table_count(unsigned sites_max)
{
	return ((size_t)sites_max + SHARD_BLOCK_SITES - 1) / SHARD_BLOCK_SITES;
}

struct shard *shard_new(unsigned sites_max)
{
	struct shard *shard;

	cache_check(sites_max > 0);
	shard = calloc(1, sizeof(*shard) + shard_table_count(sites_max) * sizeof(shard->blocks[0]));
	if (shard == NULL)
		return NULL;
	shard->magic = SHARD_MAGIC;
	shard->sites_max = sites_max;
	return shard;
}

void shard_free(struct shard *shard)
{
	if (shard == NULL)
		return;
	cache_check(shard->magic == SHARD_MAGIC);
	cache_check(atomic_load_explicit(&shard->writer, memory_order_acquire) == 0);
	for (size_t i = 0; i < shard_table_count(shard->sites_max); i++)
		free(atomic_load_explicit(&shard->blocks[i], memory_order_relaxed));
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

static bool shard_is_mine(const struct shard *shard)
{
	return atomic_load_explicit(&shard->writer, memory_order_relaxed) == (uintptr_t)pthread_self();
}

void shard_put(struct shard *shard)
{
	cache_check(shard->magic == SHARD_MAGIC);
	cache_check(shard_is_mine(shard));
	atomic_store_explicit(&shard->writer, 0, memory_order_release);
}

/* The writer's block of a site, made when it is the first there; NULL: no memory. */
static struct block *shard_block(struct shard *shard, uint32_t site)
{
	_Atomic(struct block *) *place = &shard->blocks[site / SHARD_BLOCK_SITES];
	struct block *block = atomic_load_explicit(place, memory_order_relaxed);
	unsigned block_count;

	if (block != NULL)
		return block;
	block = aligned_alloc(SHARD_LINE_BYTES, sizeof(*block));
	if (block == NULL)
		return NULL;
	memset(block, 0, sizeof(*block));
	atomic_store_explicit(place, block, memory_order_release);
	block_count = atomic_load_explicit(&shard->block_count, memory_order_relaxed);
	atomic_store_explicit(&shard->block_count, block_count + 1, memory_order_relaxed);
	return block;
}

enum shard_answer shard_add(struct shard *shard, uint32_t site, int64_t by)
{
	struct block *block;
	struct line *line;
	int64_t sum;

	cache_check(shard->magic == SHARD_MAGIC);
	cache_check(site < shard->sites_max);
	cache_check(shard_is_mine(shard));
	if (by == 0)
		return SHARD_ADDED;
	/* Judged before a block is made: an add that cannot fit into an empty line leaves no trace. */
	if (by > SHARD_LINE_MAX || by < -SHARD_LINE_MAX)
		return SHARD_LINE_SPENT;
	block = shard_block(shard, site);
	if (block == NULL)
		return SHARD_MEMORY_SPENT;
	line = &block->lines[site % SHARD_BLOCK_SITES];
	sum = atomic_load_explicit(&line->added, memory_order_relaxed) + by; /* two times 2^53 cannot overflow */
	if (sum > SHARD_LINE_MAX || sum < -SHARD_LINE_MAX)
		return SHARD_LINE_SPENT;
	atomic_store_explicit(&line->added, sum, memory_order_release);
	return SHARD_ADDED;
}

int64_t shard_read(const struct shard *shard, uint32_t site)
{
	const struct block *block;

	cache_check(shard->magic == SHARD_MAGIC);
	cache_check(site < shard->sites_max);
	block = atomic_load_explicit(&shard->blocks[site / SHARD_BLOCK_SITES], memory_order_acquire);
	if (block == NULL)
		return 0;
	return atomic_load_explicit(&block->lines[site % SHARD_BLOCK_SITES].added, memory_order_acquire);
}

size_t shard_bytes(const struct shard *shard)
{
	size_t block_count;

	cache_check(shard->magic == SHARD_MAGIC);
	block_count = atomic_load_explicit(&shard->block_count, memory_order_relaxed);
	return sizeof(*shard) + shard_table_count(shard->sites_max) * sizeof(shard->blocks[0]) +
	       block_count * sizeof(struct block);
}
