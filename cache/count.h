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
 * A change (POST) uses count_enter, then count_reserve on its own core, and when it is durable, count_apply.
 *
 * Beside the lines each site has *rules* (its status, its cap, what is reserved), written by the thread of core 0 alone.
 * The *study* is all sites together: COUNT_STUDY stands for it wherever a function says so.
 *
 * What is promised:
 *   - no change is lost, whatever runs at the same time;
 *   - a read is of one moment: all lines, all kinds and the rules as they stood together. Reads and changes, on whatever
 *     cores, are as if done one after the other, in an order that every thread agrees on (they are linearizable); a
 *     change of a site changes the study at the same moment;
 *   - who learnt that a change was done, by any way that orders memory (a lock, a message, an answer over a socket),
 *     reads a count that contains it, on every core.
 *
 * This is pure state: no I/O, no clock, no randomness of its own; the seed is given.
 *
 * Owner: the table owns all it holds; count_free gives it back, and nothing before. An id given in is copied.
 * Thread: any thread may find, enter, read, look, list; what writes a core's lines only by the thread that has taken its
 * shard, and what writes rules only by the one that has taken shard 0.
 * Units: a count in whole events; ids in bytes; memory in bytes as asked of the allocator.
 * Errors: enum count_answer. A wrong core, a wrong number, a second writer are our own mistakes: the process stops.
 * Limits: COUNT_CORES_MAX, COUNT_SITES_MAX, COUNT_SITE_BYTES_MAX, and the `sites_max` given at creation, kept exactly. */
#ifndef CACHE_COUNT_H
#define CACHE_COUNT_H

#include "cache/shard.h"

#define COUNT_CORES_MAX 1024
#define COUNT_SITES_MAX (1u << 24)
#define COUNT_SITE_BYTES_MAX 64
#define COUNT_SEED_BYTES 16
#define COUNT_STUDY SHARD_STUDY
#define COUNT_NO_CAP (-1)

enum count_answer {
	COUNT_OK,
	COUNT_SITE_UNKNOWN,    /* not a refusal: no one has counted there, so its count is zero */
	COUNT_SITE_EMPTY,      /* an id has at least one byte */
	COUNT_SITE_TOO_LONG,   /* an id has at most COUNT_SITE_BYTES_MAX bytes */
	COUNT_SITE_NOT_UTF8,   /* RFC 3629: overlong, surrogate, above U+10FFFF, stray or missing continuation byte */
	COUNT_SITE_CONTROL,    /* a control character: U+0000-001F, U+007F, U+0080-009F */
	COUNT_SITES_SPENT,     /* the directory holds `sites_max` sites and this is not one of them */
	COUNT_LINE_SPENT,      /* the core's contribution to this site, or to the study, is at its limit */
	COUNT_MEMORY_SPENT,    /* the allocator refused; nothing was changed */
};

enum count_status { COUNT_RECRUITING, COUNT_PAUSED, COUNT_CLOSED };

/* What holds for a site before any rule was made: recruiting, no cap, nothing reserved, and zeros. */
struct count_rules {
	enum count_status status;
	int64_t cap;       /* COUNT_NO_CAP: none */
	int64_t reserved;
	uint64_t changes;  /* how often any of these was */
	uint64_t stamp_ns; /* when last; 0: never */
};

/* Everything about a site, or the study, at one moment. */
struct count_site {
	int64_t n[COUNT_KINDS];
	int64_t count;      /* enrolled less withdrawn */
	struct count_rules rules;
	uint64_t revision;  /* all changes: of all lines, and of the rules. It never goes down, each makes it larger. */
	uint64_t stamp_ns;  /* of the latest change of all; 0: none */
};

struct count;

struct count_stats {
	unsigned sites;         /* in the directory now */
	unsigned sites_max;     /* what it was created for */
	size_t directory_bytes; /* slots, order, and the sites with their ids */
	size_t shard_bytes;     /* all cores' tables and lines, and those of the rules */
};

/* An empty table for `shards` shards (one per core; more where an earlier run had more cores, whose lines still count) and
 * up to `sites_max` sites, both at least 1. The seed should be random and secret: it keys the hash, so that nobody can
 * choose ids that collide. NULL: no memory. */
struct count *count_new(unsigned shards, unsigned sites_max, const uint8_t seed[COUNT_SEED_BYTES]);

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
 * first change; a start-up thread may take one before it, and put it. Taking a taken shard stops the process. */
void count_take(struct count *count, unsigned core);
void count_put(struct count *count, unsigned core);

/* Makes room for a change of this site by this core, so that applying it cannot fail: COUNT_OK, COUNT_MEMORY_SPENT or
 * COUNT_LINE_SPENT. On core 0 it makes room for the site's rules as well, and COUNT_STUDY is allowed (its room is
 * always there). Before each change, and before it is recorded. Only for the thread that has taken the core's shard. */
enum count_answer count_reserve(struct count *count, unsigned core, uint32_t site);

/* A change of this site on this core has become durable: everyone sees it from now on, in the site and in the study. `by`
 * may be negative, or all zero. Below zero and above a cap are not looked at here. The site was reserved on this core.
 * Only for the thread that has taken the core's shard. */
void count_apply(struct count *count, unsigned core, uint32_t site, const int64_t by[COUNT_KINDS], uint64_t stamp_ns);

/* New rules of a site or of the study (COUNT_STUDY). A site not reserved on core 0 gets its memory here, and the process
 * stops when there is none: that is for the start alone. By the thread that has taken shard 0. */
void count_rule(struct count *count, uint32_t site, const struct count_rules *rules);

/* Both, and the study's rules too, seen by everyone at the same moment: a reservation that is confirmed is at no moment both
 * reserved and enrolled, nor neither. Each of `by` (on core 0), `rules` and `study` may be NULL: that part stays.
 * Reserved on core 0 before; by the thread that has taken shard 0. */
void count_publish(struct count *count, uint32_t site, const int64_t by[COUNT_KINDS], const struct count_rules *rules,
                   const struct count_rules *study, uint64_t stamp_ns);

/* Enrolled less withdrawn, over all lines, at one moment: all that GET /count needs. COUNT_STUDY too. It cannot overflow. */
int64_t count_read(const struct count *count, uint32_t site);

/* Everything, at one moment. COUNT_STUDY too. */
void count_look(const struct count *count, uint32_t site, struct count_site *found);

/* Has the site ever changed, is its revision above 0? */
bool count_known(const struct count *count, uint32_t site);

/* One core's line; exact for its writer, as it was at one moment for others. COUNT_STUDY too. */
void count_line(const struct count *count, unsigned core, uint32_t site, struct line *line);

/* At start: sets one core's line, and the study's with it. Makes its memory itself: COUNT_OK, COUNT_MEMORY_SPENT, or
 * COUNT_LINE_SPENT when a number would be beyond ±SHARD_LINE_MAX. For the thread that has taken the core's shard. */
enum count_answer count_line_restore(struct count *count, unsigned core, uint32_t site, const struct line *line);

/* The id of a site that was found, entered or listed: its bytes, without terminator, valid until count_free; and how many. */
size_t count_id(const struct count *count, uint32_t site, const char **id);

/* Called for each site with its count at that moment; `id` has no terminator and stays valid until count_free.
 * Returning false stops the listing behind this site. */
typedef bool count_seen(void *user, uint32_t site, const char *id, size_t id_bytes, int64_t n);

/* Lists sites by number from `first` on, that is, in the order they were first seen: the same in every listing, new
 * ones at the end. Returns the number to go on with; a listing is complete when that is `count_stats.sites`, so a
 * long one can be made in turns. Other threads may go on entering and adding. */
uint32_t count_each(const struct count *count, uint32_t first, count_seen *seen, void *user);

void count_stats(const struct count *count, struct count_stats *stats);

#endif
