/* perf/load/load.h — N clients on one core: when their units begin, and what they saw.
 *
 * Closed loop: each client begins a unit when its last one has ended. Open loop (interval_ns): units begin when the clock says so,
 * spread over the clients, and the time of a unit is counted from when it should have begun. A client that waits for a slow answer
 * then counts the wait of all that would have come meanwhile, which a closed loop leaves out. Units that were due within the time
 * and could not begin begin late, and count from then all the same; those that have not begun LOAD_OWED_NS after the end are told
 * ("owed"), and each gives the time that it has waited by then, which is less than it would have been.
 *
 * The load is a task: it runs in the turn in which a unit has ended, behind the clients that ended theirs, and the units that it
 * begins are in the same entry into the kernel. Where the clock paces it, the core's alarm wakes it.
 *
 * Owner: main.c.   Thread: its core's.   Units: ns inside, µs told.   Errors: FATAL where nobody is answered.
 * Limits: LOAD_SAMPLES_MAX times kept.   Source: none. */
#ifndef PERF_LOAD_LOAD_H
#define PERF_LOAD_LOAD_H

#include "perf/load/client.h"

#define LOAD_SAMPLES_MAX (8u << 20)
#define LOAD_OPENING_MAX 64u             /* connections that stay and shake hands at once */
#define LOAD_DRAIN_NS 10000000000u
#define LOAD_OWED_NS 2000000000u         /* how long units that were due may still begin */

struct load {
	struct work work;
	struct scope scope;
	struct task task;
	struct core *core;
	struct client *clients;
	unsigned client_count;
	struct client **resting;   /* a stack of those who may begin */
	unsigned resting_count;
	unsigned busy, busy_max;
	bool runs;                 /* load_run waits */
	bool begins;               /* units may begin */
	bool once;                 /* each client one unit only */
	uint64_t interval_ns;      /* between the units of one client; 0: closed loop */
	uint64_t ends_ns;          /* no unit begins then or later; open loop: none that is due then or later */
	uint64_t owed;             /* open loop: due in time, and never begun */
	uint64_t left;             /* units that may still begin */
	uint32_t *samples;         /* ns / 100 */
	size_t sample_count;
	bool counted;
};

/* work, client_count, once, interval_ns and left are filled in by the caller. */
void load_open(struct load *, struct core *);
void load_close(struct load *);                   /* its clients hang up; before the core's root closes */
void load_fini(struct load *);                    /* when that has ended */

uint64_t load_run(struct load *, uint64_t run_ns); /* ns until all that was begun has ended */

/* For whoever turns the core himself: one turn, which sleeps until then at most; and in the turn that something he waits for
 * happened, that it does not sleep. */
void load_turn(struct load *, uint64_t until_ns);
void load_look(struct load *);

uint64_t load_now_ns(const struct load *);
void load_sample(struct load *, uint64_t ns);
void load_sort(struct load *);                    /* the samples, before load_sample_us */
double load_sample_us(const struct load *, double share);
unsigned load_connected(const struct load *);     /* clients whose connection the server has not ended */
double load_cpu_s(void);                          /* of this process, so far */
void load_tell(struct load *, uint64_t elapsed_ns, double cpu_s); /* one line of JSON */

#endif
