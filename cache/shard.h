/* cache/shard.h — what one core has added to each site's count.
 *
 * A site's count is the sum of what every core contributed to it. A shard holds the contributions of one core: for each
 * site one cache line, written by that core alone and read by all. Because a line has one writer, adding is a load, an
 * addition and a store; no lock, no compare-and-swap, no locked instruction, and nothing that another core's adding
 * could slow down or undo. cache/shard.c explains the memory ordering.
 *
 *    shard ─▶ blocks[0] ─▶ │ site 0 │ site 1 │ … │ site 63 │      one block is SHARD_BLOCK_SITES lines, made when the
 *             blocks[1] ─▶ none: this core has added nothing      core first adds to one of its sites, and kept until
 *             blocks[2] ─▶ │ site 128 │ …                         shard_free
 *
 * Words: a *line* is one core's contribution to one site. The *writer* is the thread that has taken the shard.
 *
 * Owner: the shard owns its blocks; whoever called shard_new calls shard_free.
 * Thread: shard_add by the writer alone; shard_read and shard_bytes by any thread, at any time before shard_free.
 * Units: a contribution counts whole events; memory in bytes as asked of the allocator.
 * Errors: enum shard_answer. An add by a thread that is not the writer is our own mistake and stops the process.
 * Limits: sites below the `sites_max` given at creation; a contribution stays within ±SHARD_LINE_MAX. */
#ifndef CACHE_SHARD_H
#define CACHE_SHARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Our own mistake: always on, one fact each. This folder depends on nothing of ours, so it brings its own. */
_Noreturn void cache_check_failed(const char *fact, const char *file, int line);

#define cache_check(fact) ((fact) ? (void)0 : cache_check_failed(#fact, __FILE__, __LINE__))

#define SHARD_LINE_BYTES 64
#define SHARD_BLOCK_SITES 64 /* 64 lines of 64 bytes: one page */

/* 2^53 - 1: what a JSON number holds exactly, and small enough that SHARD_SUM_MAX of them add up without overflow. */
#define SHARD_LINE_MAX INT64_C(9007199254740991)
#define SHARD_SUM_MAX 1024

enum shard_answer {
	SHARD_ADDED,
	SHARD_LINE_SPENT,   /* the contribution would leave ±SHARD_LINE_MAX; nothing was changed */
	SHARD_MEMORY_SPENT, /* no memory for a new block; nothing was changed */
};

struct shard;

/* A shard for sites 0 … sites_max - 1, all at zero, without a writer. NULL: no memory. */
struct shard *shard_new(unsigned sites_max);

/* Frees the shard and its blocks. It must have no writer, and no thread may still read it. NULL is harmless. */
void shard_free(struct shard *shard);

/* Makes the calling thread the writer; there must be none. What an earlier writer added before its shard_put is kept
 * and continued: a start-up thread may fill a shard and leave it to the core. */
void shard_take(struct shard *shard);

/* The writer gives the shard back. */
void shard_put(struct shard *shard);

/* Adds `by`, which may be negative; zero changes nothing and costs no memory. Writer only. */
enum shard_answer shard_add(struct shard *shard, uint32_t site, int64_t by);

/* This core's contribution; zero where it never added. Lock-free, never waits. */
int64_t shard_read(const struct shard *shard, uint32_t site);

/* Memory held by the shard: its table of blocks and the blocks made so far. */
size_t shard_bytes(const struct shard *shard);

#endif
