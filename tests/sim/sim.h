/* tests/sim/sim.h — one simulated run: cores of ring/ on the fake kernel, turned until nothing moves.
 *
 *   sim_open ─▶ scenario builds scopes and actors ─▶ sim_run ─▶ scenario's own checks ─▶ sim_finish (conservation)
 *
 * Cores turn one at a time, in an order by dice; time passes between their turns and jumps when all of them sleep. When a
 * core goes to sleep the scenario looks at everything that lives there (`sleeps`): a task that could still move something
 * was not woken, and that is a bug whatever comes later to hide it.
 *
 * Owner: main.c.   Thread: one.   Units: ns of virtual time.   Errors: world_fail.   Limits: TURNS_MAX a run. */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include "ring/core.h"
#include "ring/pipe.h"
#include "ring/tcp.h"
#include "tests/sim/world.h"

struct sim {
	struct world world;
	struct core core[WORLD_CORES_MAX];
	struct core *all[WORLD_CORES_MAX]; /* those above, or a scenario's own: put here before sim_open */
	struct cores cores;
	bool ended[WORLD_CORES_MAX];
	uint64_t turns;
	void (*on_core)(struct sim *, unsigned core); /* what follows happens on this core; NULL: nobody asks */
	void *scenario;                  /* the scenario's word */
};

struct scenario {
	const char *name;
	const char *sentence;
	unsigned share;                  /* of the seeds of a mixed run */
	void (*run)(struct sim *);
};

extern const struct scenario SCENARIO_PIPES, SCENARIO_ECHO, SCENARIO_RELAY, SCENARIO_STARVE, SCENARIO_SCOPES,
	SCENARIO_LISTEN, SCENARIO_MAIL, SCENARIO_WAITS, SCENARIO_STALL, SCENARIO_JOURNAL, SCENARIO_COUNT,
	SCENARIO_CLIENTS, SCENARIO_UPSTREAMS, SCENARIO_SOCKETS, SCENARIO_LIVE, SCENARIO_DRAIN, SCENARIO_TLS, SCENARIO_TLS_FAULTS; /* the whole gateway */

void sim_init(struct sim *, const char *scenario, uint64_t seed, bool trace);
void sim_open(struct sim *, unsigned cores, unsigned buffers, uint64_t chunks_max);

/* Turns until `done` (true), or until nothing can happen any more (false). */
bool sim_run(struct sim *, bool (*done)(struct sim *));

/* Closes the roots, turns until they have ended, and checks that nothing is left. */
void sim_finish(struct sim *);

/* Fails when the core sleeps although this socket's task has something to do. */
void sim_tcp_rests(struct sim *, const struct tcp *, const char *which);

static inline struct dice *sim_dice(struct sim *sim)
{
	return &sim->world.dice;
}

/* Fails when the core sleeps although this stream has something to write, to sync or to tell. */
struct journal;
void sim_journal_rests(struct world *, const struct journal *);

/* A loopback address with this port. */
struct sockaddr_in;
void sim_address(struct sockaddr_in *, unsigned port);

#endif
