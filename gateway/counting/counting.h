/* gateway/counting/counting.h — what a core has for counting: its journal, its permits, and on core 0 the decider.
 *
 *   change.c     a change from the exchange that asks for it to its answer; plain raises are done here altogether
 *   deciding.c   core 0: who decides, recalls, keys, reservations that run out
 *   counting.c   opening, snapshots, the end; lines as recorded; who is told of changes
 *   start.c      before any core runs: the journal is read, and what it says becomes lines, rules, reservations, keys
 *
 * Words: a line is *recorded* when a record of it was appended to the journal, and *published* when that is durable and
 * readers see it (cache/count.h). What a record says of the line before it is what was recorded.
 *
 * Owner: the worker; what all cores share, struct gateway's counting_start.   Thread: its core's.   Units: as in cache/decide.h.
 * Errors: reasons, below.   Limits: limits.changes_max, sites_max, idempotency_keys_max, reservations_max; the journal's. */
#ifndef GATEWAY_COUNTING_COUNTING_H
#define GATEWAY_COUNTING_COUNTING_H

#include "cache/decide.h"
#include "cache/keys.h"
#include "cache/permits.h"
#include "gateway/counting/events.h"
#include "gateway/journal/recovery.h"
#include "ring/mailbox.h"

struct change;
struct config;
struct deciding;
struct gateway;
struct worker;

extern const struct reason CHANGES_FULL;           /* 503: limits.changes_max */
extern const struct reason COUNTING_LATE;          /* 504: not known to be durable within ten seconds; it may be counted yet */
extern const struct reason COUNTING_ENDS;          /* 503: not decided before the gateway stopped; not counted */
extern const struct reason IDEMPOTENCY_KEY_REUSED; /* 422 */
extern const struct reason IDEMPOTENCY_KEYS_FULL;  /* 503: limits.idempotency_keys_max */

/* ---- before cores run, and after ---------------------------------------------------------------------------------------- */

struct lost { uint32_t site; int64_t by[COUNT_KINDS]; };

struct counting_start {              /* the gateway's; zeroed where no route counts */
	struct recovery recovery;
	struct decider *decider;
	struct keys *keys;
	char *configuration;             /* words for RECORD_START */
	char *configuration_before;      /* of the latest start that the journal tells of; NULL: it tells of none */
	struct lost *lost;               /* what an end of the journal had that is missing, as the durability it was written with allows */
	unsigned lost_count;
};

/* Makes gateway->count out of what the state directory has. False: *fault says what is wrong, nothing was changed on the disk. */
bool counting_recover(struct gateway *, struct recovery_fault *);
void counting_without_journal(struct gateway *); /* for simulation: nothing is kept */
void counting_forget(struct gateway *); /* when all cores have ended; harmless twice */

/* ---- a core's ------------------------------------------------------------------------------------------------------------ */

struct counting {
	struct worker *worker;
	struct journal *journal;         /* NULL: nothing is kept (in simulation); what is appended is durable at once */
	struct permits *permits;
	struct recorded **recorded;      /* lines as recorded, in blocks; a block is made when it is needed */
	struct link settled;             /* waiters without a journal */
	struct task settle;
	struct task tell;                /* publications of this turn, to who wants to know */
	uint32_t *told;
	unsigned told_count, told_space;
	bool begun;                      /* its journal has RECORD_START, and so gets RECORD_STOP */
	unsigned under_way;              /* changes begun here that are not over */
	unsigned asked;                  /* recalls and syncs that core 0 wants and that are not answered yet */
	struct journal_statistics statistics; /* read by any core */
	uint64_t request_prefix, request_number;
	struct deciding *deciding;       /* core 0's; others NULL */
};

bool counting_open(struct worker *);     /* worker_open; harmless where no route counts. False: the journal takes no record, and said why */
/* The core has ended: what was appended is on the disk, with its end. On the core's thread; core 0 when all others have. */
void counting_close(struct worker *);
void counting_fini(struct worker *);
/* True: nothing of this core's is under way. A draining core ends only then. */
bool counting_rests(const struct worker *);

const struct reason *counting_failure(const struct counting *); /* why nothing can be recorded now; NULL: it can */

/* The same of any core, from any thread. */
const struct reason *counting_failing(const struct gateway *);

/* On core 0: something that decides who may change counts is different now, and who made it so. */
void counting_note(struct worker *, const char *actor, const char *what);

/* ---- for change.c and deciding.c -------------------------------------------------------------------------------------------- */

/* kind, site and texts are given. It cannot fail where counting_failure is NULL. */
void counting_append(struct counting *, struct record *, struct journal_waiter *);
void counting_barrier(struct counting *, struct journal_waiter *);
void counting_sync(struct counting *, struct journal_waiter *); /* what is published here is on the disk, whatever the durability */
/* Before the core's first turn: what was appended is durable, and published. False: it cannot be, and the journal has said why. */
bool counting_flush(struct counting *);
void counting_saw(struct counting *, uint64_t stamp_ns);
uint64_t counting_now_ns(const struct counting *);

/* `before` of a record that changes the line of `site` by `by`; from now on that is recorded. */
void counting_record_line(struct counting *, uint32_t site, const int64_t by[COUNT_KINDS], int64_t before[COUNT_KINDS]);
void counting_published(struct counting *, uint32_t site);

#endif
