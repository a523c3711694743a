/* cache/shard.h — what one core has added to each site's counts.
 *
 * A site's count is the sum of what every core contributed to it. A shard holds the contributions of one core: for each
 * site one line (cache/lines.h), written by that core alone and read by all. Because a line has one writer, adding is a
 * load, an addition and a store: no lock, no compare-and-swap, and nothing that another core's adding could undo.
 *
 * Words: a *line* is one core's contribution to one site, by kind of count. The *writer* is the thread that has taken the
 * shard. The *study's* line, SHARD_STUDY, is the sum of all the shard's other lines; it moves with each of them, at the
 * same moment.
 *
 * Owner: the shard owns its lines; whoever called shard_new calls shard_free.
 * Thread: shard_reserve, _apply and _restore by the writer alone; what looks, by any thread, at any time before shard_free.
 * Units: contributions count whole events; stamps are UTC in ns; memory in bytes as asked of the allocator.
 * Errors: enum shard_answer. A change by a thread that is not the writer is our own mistake and stops the process.
 * Limits: sites below the `sites_max` given at creation; each number of a line stays within ±SHARD_LINE_MAX. */
#ifndef CACHE_SHARD_H
#define CACHE_SHARD_H

#include "cache/lines.h"

enum count_kind { COUNT_SCREENED, COUNT_ENROLLED, COUNT_RANDOMISED, COUNT_WITHDRAWN, COUNT_KINDS };

struct line {
	int64_t n[COUNT_KINDS];
	uint64_t changes;  /* how many went into this line */
	uint64_t stamp_ns; /* of the latest of them; 0: none */
};

#define SHARD_STUDY LINES_STUDY

/* 2^52 - 1: the difference of two of them is what a JSON number holds exactly, and the differences of SHARD_SUM_MAX
 * lines add up without overflow. */
#define SHARD_LINE_MAX INT64_C(4503599627370495)
#define SHARD_SUM_MAX 1024

/* From here on shard_reserve refuses. What lies between the two is for changes that are reserved and not yet applied: two
 * thousand million of a million each. */
#define SHARD_LINE_FULL (SHARD_LINE_MAX / 2)

enum shard_answer {
	SHARD_OK,
	SHARD_LINE_SPENT,   /* the site's line or the study's is at its limit; nothing was changed */
	SHARD_MEMORY_SPENT, /* no memory for a new block; nothing was changed */
};

struct shard;

/* A shard for sites 0 … sites_max - 1, all at zero, without a writer. NULL: no memory. */
struct shard *shard_new(unsigned sites_max);

/* Frees the shard and its lines. It must have no writer, and no thread may still read it. NULL is harmless. */
void shard_free(struct shard *shard);

/* Makes the calling thread the writer; there must be none. What an earlier writer added before its shard_put is kept
 * and continued: a start-up thread may fill a shard and leave it to the core. */
void shard_take(struct shard *shard);

/* The writer gives the shard back. */
void shard_put(struct shard *shard);

/* Is the calling thread the writer? */
bool shard_is_mine(const struct shard *shard);

/* Makes room for this site, so that shard_apply cannot fail: SHARD_OK, or why there is none. Holds for ever, so once per
 * site would do for the memory; before each change, it also keeps lines off their limit. Writer only. */
enum shard_answer shard_reserve(struct shard *shard, uint32_t site);

/* Adds `by`, whose numbers may be negative or all zero, to the site's line and to the study's, at one moment; `changes` of
 * both is one more, their stamp this one (or stays, where it is later). The site must have been reserved. Writer only. */
void shard_apply(struct shard *shard, uint32_t site, const int64_t by[COUNT_KINDS], uint64_t stamp_ns);

/* The same in two steps, for a change of which these lines are a part: both lines are opened, with the change in them,
 * and whoever called closes them (lines_close) when the other lines are opened too. */
#define SHARD_OPENED 2
void shard_open(struct shard *shard, uint32_t site, const int64_t by[COUNT_KINDS], uint64_t stamp_ns,
                struct lines_cell *opened[SHARD_OPENED]);

/* Sets the site's line; the study's follows by the difference. Makes the memory itself: SHARD_OK; SHARD_LINE_SPENT when a
 * number would leave ±SHARD_LINE_MAX, in this line or in the study's; or SHARD_MEMORY_SPENT; nothing is changed by these
 * two. Writer only, at start: it may set `changes` back, and so the revision. */
enum shard_answer shard_restore(struct shard *shard, uint32_t site, const struct line *line);

/* This core's line as it was at one moment, and its version then (cache/lines.h). False: being written just now. */
bool shard_look(const struct shard *shard, uint32_t site, struct line *line, uint64_t *version);

/* The version alone; odd: being written just now. */
uint64_t shard_version(const struct shard *shard, uint32_t site);

/* The lines themselves, for who reads several shards at one moment. Their words are those of struct line, in its order. */
const struct lines *shard_lines(const struct shard *shard);

/* Memory held by the shard. */
size_t shard_bytes(const struct shard *shard);

#endif
