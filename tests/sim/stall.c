/* tests/sim/stall.c — a core that does not run for longer than thousands of its sockets wait.
 *
 *    speaks   ├──wait──┤ byte ……                     the kernel goes on: arms receive, linked timeouts expire, and lie
 *    core     ▓▓▓▓░░░░░░░░░░ stalled ░░░░░░░░▓▓▓▓    there until they are acted upon, some of them only when the core has
 *    old timeouts         x   x x    x         x     made fresh arms already
 *
 * Whoever spoke before his wait was over goes on, however late the core hears it; so does whoever spoke at any time of the stall
 * and is allowed a silence, as a WebSocket is: a stall is one silence at most. The silent are late, each of them, and nobody
 * else. That no old timeout reaches a fresh arm is watched by kernel.c too: it ends the run. */
#include "tests/sim/sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CONNS_MAX 3000u
#define WAIT_MS_MIN 200u
#define WAIT_MS_MAX 1500u
#define TICK_NS (3 * WORLD_MS)       /* peers speak in common ticks, or thousands of them would take thousands of looks at all */

enum stall_manner { SILENT, IN_TIME, TOO_LATE };

struct stalls;

struct stall_conn {
	struct stalls *all;
	unsigned index;
	struct scope scope;
	struct tcp tcp;
	struct pipe in, out;
	struct task engine;
	struct thing *far;
	enum stall_manner manner;
	uint64_t speaks_ns;              /* UINT64_MAX: not of himself */
	uint64_t sent, read;
	const struct reason *end;        /* NULL: open */
	bool open;
};

struct stalls {
	struct sim *sim;
	struct stall_conn *conn;
	unsigned count, open;
	struct actor peers;              /* all of them */
	bool stalled;
	uint64_t until_ns;
};

static const struct reason STALL_LATE = { "stall_late", "the peer was silent for too long" };

static void stall_ended(struct scope *scope)
{
	struct stall_conn *c = owner_of(scope, struct stall_conn, scope);

	tcp_fini(&c->tcp);
	pipe_fini(&c->in);
	pipe_fini(&c->out);
	c->open = false;
	c->all->open--;
}

static const struct scope_kind stall_kind = { .name = "stall", .ended = stall_ended };

static void stall_step(struct task *task)
{
	struct stall_conn *c = owner_of(task, struct stall_conn, engine);
	struct world *world = &c->all->sim->world;
	uint8_t *bytes;
	size_t n;

	while ((bytes = pipe_peek(&c->in, &n))) {
		if (!world_pattern_is(world, c->index, c->read, bytes, n))
			world_fail(world, "conn %u: wrong bytes", c->index);
		c->read += n;
		pipe_consume(&c->in, n);
	}
	if (c->in.ended) {
		c->end = c->in.reason ? c->in.reason : &RING_DONE;
		world_trace(world, "conn %u ends: %s", c->index, c->end->name);
		scope_close(&c->scope, c->end);
	}
}

static void stall_speak(struct stall_conn *c)
{
	uint8_t byte;

	world_pattern(c->far->world, c->index, c->sent, &byte, 1);
	if (world_send(c->far, &byte, 1) == 1)
		c->sent++;
	if (c->all->stalled)
		world_trace(c->far->world, "conn %u speaks in the stall", c->index);
}

/* Whose time has come speaks: outside a stall again and again, well within his wait; in a stall once. */
static void stall_act(struct actor *actor)
{
	struct stalls *stalls = owner_of(actor, struct stalls, peers);
	uint64_t now_ns = actor->world->now_ns;

	for (unsigned i = 0; i < stalls->count; i++) {
		struct stall_conn *c = &stalls->conn[i];

		if (!c->open || c->speaks_ns > now_ns)
			continue;
		stall_speak(c);
		c->speaks_ns = stalls->stalled ? UINT64_MAX : now_ns + c->tcp.wait.ms * WORLD_MS / 4;
	}
	actor_in(actor, TICK_NS);
}

static bool stall_over(struct sim *sim)
{
	const struct stalls *stalls = sim->scenario;

	return sim->world.now_ns >= stalls->until_ns;
}

/* The core runs, and those who speak do. */
static void stall_run(struct stalls *stalls, uint64_t ns)
{
	stalls->stalled = false;
	for (unsigned i = 0; i < stalls->count; i++) {
		struct stall_conn *c = &stalls->conn[i];

		c->speaks_ns = c->manner == SILENT ? UINT64_MAX
			: stalls->sim->world.now_ns + dice_below(sim_dice(stalls->sim), c->tcp.wait.ms * WORLD_MS / 4);
	}
	stalls->until_ns = stalls->sim->world.now_ns + ns;
	sim_run(stalls->sim, stall_over);
}

/* Time passes, peers speak and the kernel works, but the core does not turn. */
static void stall_pass(struct stalls *stalls, uint64_t ns)
{
	struct world *world = &stalls->sim->world;
	const uint64_t until_ns = world->now_ns + ns;

	world_trace(world, "the core stalls for %llu ms", (unsigned long long)(ns / WORLD_MS));
	stalls->stalled = true;
	for (unsigned i = 0; i < stalls->count; i++) {
		struct stall_conn *c = &stalls->conn[i];
		const uint64_t left_ns = c->open ? tcp_left_ms(&c->tcp) * WORLD_MS : 0;

		c->speaks_ns = UINT64_MAX;
		if (!c->open || c->manner == SILENT)
			continue;
		/* Not in the last moment: a tick, and the world's own lateness, would make it the next one. */
		if (c->manner == IN_TIME)
			c->speaks_ns = world->now_ns + dice_below(&world->dice, left_ns / 2 + 1);
		else
			c->speaks_ns = dice_between(&world->dice, world->now_ns + left_ns, until_ns - 2 * TICK_NS);
	}
	while (world->now_ns < until_ns) {
		uint64_t next_ns = world_next_ns(world);

		world->now_ns = next_ns < world->now_ns + TICK_NS ? world->now_ns + TICK_NS : next_ns < until_ns ? next_ns : until_ns;
		world_run(world);
	}
}

/* Everything that was to be seen of the silent has had its time. */
static void stall_judge(struct stalls *stalls, bool last)
{
	struct world *world = &stalls->sim->world;

	for (unsigned i = 0; i < stalls->count; i++) {
		struct stall_conn *c = &stalls->conn[i];
		bool may_end = c->manner == SILENT || (c->manner == TOO_LATE && c->tcp.wait.silences_max == 0);

		if (c->end && c->end != &STALL_LATE)
			world_fail(world, "conn %u was ended by %s", i, c->end->name);
		if (c->end && !may_end)
			world_fail(world, "conn %u was ended as silent, but it spoke %s", i, c->manner == IN_TIME ? "in time" : "in the stall");
		if (!c->end && c->manner == SILENT && last)
			world_fail(world, "conn %u is silent, and nobody ends it", i);
	}
}

static void stall_sleeps(struct world *world, unsigned core)
{
	struct stalls *stalls = ((struct sim *)world->owner)->scenario;

	(void)core;
	for (unsigned i = 0; i < stalls->count; i++) {
		if (stalls->conn[i].open)
			sim_tcp_rests(world->owner, &stalls->conn[i].tcp, "stall");
	}
}

static void stall_open(struct stalls *stalls, unsigned i)
{
	struct sim *sim = stalls->sim;
	struct dice *dice = sim_dice(sim);
	struct stall_conn *c = &stalls->conn[i];
	struct core *core = &sim->core[0];
	const struct tcp_wait wait = {
		.name = "a word", .late = &STALL_LATE, .ms = (uint32_t)dice_between(dice, WAIT_MS_MIN, WAIT_MS_MAX),
		.silences_max = dice_chance(dice, 60) ? 1 : 0,
	};
	struct thing *near;
	int fd;

	c->all = stalls;
	c->index = i;
	c->open = true;
	c->manner = (enum stall_manner)dice_below(dice, 3);
	stalls->open++;
	world_pair(&sim->world, &near, &c->far);
	do {
		fd = world_descriptor(&sim->world, near);
	} while (fd < 0);
	scope_open(&c->scope, &core->root, &stall_kind);
	pipe_init(&c->in, &core->pool, PIPE_BYTES_MAX);
	pipe_init(&c->out, &core->pool, PIPE_BYTES_MAX);
	task_init(&c->engine, &c->scope, "stall", stall_step);
	tcp_init(&c->tcp, &c->scope, fd, &c->in, &c->out);
	c->in.reader = c->out.writer = c->tcp.watcher = &c->engine;
	tcp_receive_within(&c->tcp, &wait);
	world_trace(&sim->world, "conn %u on %d %s, %u silences", i, fd,
	            c->manner == SILENT ? "is silent" : c->manner == IN_TIME ? "speaks in time" : "speaks too late", wait.silences_max);
}

static void stall_scenario(struct sim *sim)
{
	struct stalls stalls = { .sim = sim };
	struct dice *dice = sim_dice(sim);
	unsigned rounds = (unsigned)dice_between(dice, 1, 3);

	/* Expired timeouts lie about for long, so that there are fresh arms for them to find. */
	sim->world.habits.timeout_late_ns = dice_scaled(dice, WORLD_MS, 1000 * WORLD_MS);
	sim->world.habits.stream_bytes = 64;
	sim_open(sim, 1, dice_chance(dice, 25) ? 16 : 256, 1024);
	sim->scenario = &stalls;
	sim->world.sleeps = stall_sleeps;
	stalls.count = (unsigned)dice_scaled(dice, 10, CONNS_MAX);
	stalls.conn = calloc(stalls.count, sizeof *stalls.conn);
	check(stalls.conn);
	for (unsigned i = 0; i < stalls.count; i++)
		stall_open(&stalls, i);
	actor_init(&stalls.peers, &sim->world, stall_act, 0);
	for (unsigned i = 0; i < rounds; i++) {
		stall_run(&stalls, dice_between(dice, 100 * WORLD_MS, 600 * WORLD_MS));
		stall_pass(&stalls, dice_between(dice, 2, 4) * WAIT_MS_MAX * WORLD_MS);
		stall_run(&stalls, dice_between(dice, 100 * WORLD_MS, 600 * WORLD_MS));
		stall_judge(&stalls, false);
	}
	/* Twice the longest wait with all that ring/tcp.c and the world may add to it. */
	stall_run(&stalls, 2 * (WAIT_MS_MAX * 5 / 4 + 300) * WORLD_MS + 2 * sim->world.habits.timeout_late_ns);
	stall_judge(&stalls, true);
	link_remove(&stalls.peers.in_world);
	sim_finish(sim);
	free(stalls.conn);
}

const struct scenario SCENARIO_STALL = {
	.name = "stall", .share = 1, .run = stall_scenario,
	.sentence = "a core that stalls for longer than thousands of its sockets wait",
};
