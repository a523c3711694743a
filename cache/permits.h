/* cache/permits.h — what a core may raise without asking the decider: cache/decide.h says why that is exact, and what the caller keeps to.
 *
 *   open       a site that recruits and has no cap, as all are at first        take: yes
 *   allotted   so much room of what the decider handed out                     take: as far as it goes
 *   closed     recalled, or ruled before the cores began                       take: no; ask
 *
 * and the study likewise: a raise of the count needs both.
 *
 * Pure.   Owner: the core that made it.   Thread: its core's.   Units: patients.   Errors: none; memory that is spent stops the process.
 * Limits: sites_max of the count. */
#ifndef CACHE_PERMITS_H
#define CACHE_PERMITS_H

#include "cache/decide.h"

struct permits;

/* After decider_restored: what every core starts with. On any thread, even while the decider decides. */
struct permits *permits_new(const struct decider *);
void permits_free(struct permits *);

/* Is it of a kind that is ever permitted: does it raise screened, enrolled, randomised, and nothing else? */
bool permits_cover(const int64_t by[COUNT_KINDS]);

/* May this core do it by itself? True: the room is taken. Only raising of screened, enrolled, randomised is ever permitted. */
bool permits_take(struct permits *, uint32_t site, const int64_t by[COUNT_KINDS]);
/* Would it, of a site that is entered into the directory now? */
bool permits_may_found(const struct permits *, const int64_t by[COUNT_KINDS]);
/* It surely did not happen after all (a record that was not even appended; one whose writing failed may be on the disk, and stays taken). */
void permits_give_back(struct permits *, uint32_t site, const int64_t by[COUNT_KINDS]);
/* permits_take said no to this command, which now goes to the decider: says what an allotment for it would come on top of. */
void permits_ask(const struct permits *, struct command *);
void permits_grant(struct permits *, uint32_t site, int64_t room);   /* adds; PERMIT_UNBOUNDED: no bound */
int64_t permits_recall(struct permits *, uint32_t site);             /* all that is left of it, and from now on this core asks */

#endif
