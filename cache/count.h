/* cache/count.h — how many, per site: exact under any number of cores, without a lock.
 *
 * A site has an *id*, the bytes its users call it by, and a *number*, 0, 1, 2 … in the order in which sites were first
 * seen. One directory, shared by all cores, leads from id to number; each core has a shard (cache/shard.h) with its
 * own contribution to every number; a count is the sum over the shards.
 *
 *     "berlin-01" ─ directory ─▶ 2 ─┬▶ shard of core 0, line 2:  +5 ┐
 *                                   ├▶ shard of core 1, line 2:  +1 ├─ sum ─▶ 6
 *                                   └▶ shard of core 2, line 2:   0 ┘
 *
 * A question (GET) uses count_find and must not enter anything: who may ask may not thereby fill the directory.
 * A change (POST) uses count_enter, then count_add on its own core.
 *
 * What is promised:
 *   - no add is lost, whatever runs at the same time;
 *   - who learnt that an add was done, by any way that orders memory (a lock, a message, an answer over a socket),
 *     reads a count that contains it, on every core;
 *   - while counts are only raised, a reader never sees one go down, and sees no more than was added by then.
 *     A read is a sum, not a snapshot: where one core lowers what another core raised, a read that runs meanwhile may
 *     contain the lowering without the raising. Whoever must decide on an exact figure decides in one place.
 *
 * This is pure state: no I/O, no clock, no randomness of its own; the seed is given.
 *
 * Owner: the table owns all it holds; count_free gives it back, and nothing before. An id given in is copied.
 * Thread: any thread may find, enter, read, list; count_add on a core's shard only by the thread that has taken it.
 * Units: a count in whole events; ids in bytes; memory in bytes as asked of the allocator.
 * Errors: enum count_answer. A wrong core, a wrong number, a second writer are our own mistakes: the process stops.
 * Limits: COUNT_CORES_MAX, COUNT_SITES_MAX, COUNT_SITE_BYTES_MAX, and the `sites_max` given at creation, kept exactly. */
#ifndef CACHE_COUNT_H
#define CACHE_COUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COUNT_CORES_MAX 1024
#define COUNT_SITES_MAX (1u << 24)
#define COUNT_SITE_BYTES_MAX 64
#define COUNT_SEED_BYTES 16

enum count_answer {
	COUNT_OK,
	COUNT_SITE_UNKNOWN,    /* not a refusal: no one has counted there, so its count is zero */
	COUNT_SITE_EMPTY,      /* an id has at least one byte */
	COUNT_SITE_TOO_LONG,   /* an id has at most COUNT_SITE_BYTES_MAX bytes */
	COUNT_SITE_NOT_UTF8,   /* RFC 3629: overlong, surrogate, above U+10FFFF, stray or missing continuation byte */
	COUNT_SITE_CONTROL,    /* a control character: U+0000-001F, U+007F, U+0080-009F */
	COUNT_SITES_SPENT,     /* the directory holds `sites_max` sites and this is not one of them */
	COUNT_LINE_SPENT,      /* the core's contribution to this site would leave ±SHARD_LINE_MAX */
	COUNT_MEMORY_SPENT,    /* the allocator refused; nothing was changed */
};

struct count;

struct count_stats {
	unsigned sites;         /* in the directory now */
	unsigned sites_max;     /* what it was created for */
	size_t directory_bytes; /* slots, order, and the sites with their ids */
	size_t shard_bytes;     /* all cores' tables and lines */
};

/* An empty table for `cores` shards and up to `sites_max` sites, both at least 1. The seed should be random and secret:
 * it keys the hash, so that nobody can choose ids that collide. NULL: no memory. */
struct count *count_new(unsigned cores, unsigned sites_max, const uint8_t seed[COUNT_SEED_BYTES]);

/* Frees everything. No shard may be taken, no thread may still use the table. NULL is harmless. */
void count_free(struct count *count);

/* Is this a site id? COUNT_OK or the COUNT_SITE_… that refuses it. Pure. Ids are compared byte for byte: neither case
 * nor Unicode form is folded, a site written in two ways is two sites. */
enum count_answer count_judge(const char *id, size_t id_bytes);

/* The number of a known site: COUNT_OK and *site, COUNT_SITE_UNKNOWN, or what count_judge refused. Never allocates,
 * never waits. `id` needs no terminator and may be NULL when it has no bytes. */
enum count_answer count_find(const struct count *count, const char *id, size_t id_bytes, uint32_t *site);

/* The number of a site, which is entered into the directory when it is not yet known: COUNT_OK and *site, what
 * count_judge refused, COUNT_SITES_SPENT or COUNT_MEMORY_SPENT. The first sight of a site allocates. */
enum count_answer count_enter(struct count *count, const char *id, size_t id_bytes, uint32_t *site);

/* The calling thread becomes the one writer of this core's shard, until count_put. Each core takes its own before its
 * first count_add; a start-up thread may take one before it, and put it. Taking a taken shard stops the process. */
void count_take(struct count *count, unsigned core);
void count_put(struct count *count, unsigned core);

/* Adds `by` to the site on this core: COUNT_OK, COUNT_LINE_SPENT or COUNT_MEMORY_SPENT. Zero changes nothing. Only for
 * the thread that has taken the core's shard. Below zero and above a cap are not looked at here. */
enum count_answer count_add(struct count *count, unsigned core, uint32_t site, int64_t by);

/* The sum over all cores. It cannot overflow. */
int64_t count_read(const struct count *count, uint32_t site);

/* Called for each site with its count at that moment; `id` has no terminator and stays valid until count_free.
 * Returning false stops the listing behind this site. */
typedef bool count_seen(void *user, uint32_t site, const char *id, size_t id_bytes, int64_t n);

/* Lists sites by number from `first` on, that is, in the order they were first seen: the same in every listing, new
 * ones at the end. Returns the number to go on with; a listing is complete when that is `count_stats.sites`, so a
 * long one can be made in turns. Other threads may go on entering and adding. */
uint32_t count_each(const struct count *count, uint32_t first, count_seen *seen, void *user);

void count_stats(const struct count *count, struct count_stats *stats);

#endif
