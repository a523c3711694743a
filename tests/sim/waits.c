/* tests/sim/waits.c — deadlines of a receive: waits of every kind, changed at any moment, against peers who speak in time,
 * too late, or never again.
 *
 * A wait never ends a connection whose bytes had arrived in time, by more than the world's own lateness; it never comes
 * before its time; and a silent peer is ended within ring/tcp.c's slack. Silences that are tolerated are told to the reader
 * one by one. */
#include "tests/sim/sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#define CONNS 6u
#define SENDS 64u
/* ring/tcp.c may be late by an eighth of the wait and 100 ms before it tells the kernel anew, and by a thirty-second of it
 * for jitter; a thread may not be scheduled for 30 ms, several times over. */
#define SLACK_MS(ms) ((ms) / 8 + 100 + (ms) / 32 + 200)

struct waits;

struct wait_conn {
	struct waits *all;
	unsigned index;
	struct scope scope;
	struct tcp tcp;
	struct pipe in, out;
	struct task engine;
	struct timer pause;              /* then the engine does not read */
	struct timer change;             /* then it waits for something else */
	struct thing *near;
	bool open;
	uint64_t began_ms;               /* of the present wait */
	uint64_t read;
	uint64_t read_ms;                /* when the engine last saw bytes */
	unsigned silences;
	uint64_t full_ms;                /* when `in` was last seen full: the peer's time stood still */

	struct actor actor;              /* the peer */
	struct thing *far;
	uint64_t sent;
	uint64_t send_count;
	struct { uint64_t end, ns; } sends[SENDS]; /* the last ones: up to which byte, and when */
	unsigned manner;                 /* 0 in time, 1 anyhow, 2 once and never again */
};

struct waits {
	struct sim *sim;
	struct wait_conn conn[CONNS];
	unsigned count, open;
	uint64_t bytes_max;
	uint64_t until_ns;
};

static const struct reason WAITS_LATE = { "waits_late", "the peer was silent for too long" };

static void wait_ended(struct scope *scope)
{
	struct wait_conn *c = owner_of(scope, struct wait_conn, scope);

	tcp_fini(&c->tcp);
	pipe_fini(&c->in);
	pipe_fini(&c->out);
	c->open = false;
	c->all->open--;
}

static const struct scope_kind wait_kind = { .name = "wait", .ended = wait_ended };

static void wait_change(struct wait_conn *c)
{
	struct dice *dice = sim_dice(c->all->sim);
	struct tcp_wait wait = {
		.name = "anything", .late = &WAITS_LATE,
		.ms = dice_chance(dice, 10) ? 0 : (uint32_t)dice_scaled(dice, 20, 4000),
		.silences_max = dice_chance(dice, 30) ? (unsigned)dice_between(dice, 1, 3) : 0,
		.from_start = dice_chance(dice, 30),
	};

	world_trace(&c->all->sim->world, "conn %u waits %u ms, %u silences%s", c->index, wait.ms, wait.silences_max,
	            wait.from_start ? ", from the start" : "");
	tcp_receive_within(&c->tcp, &wait);
	c->began_ms = c->scope.core->now_ms;
	c->silences = 0;
	if (dice_chance(dice, 60))
		timer_set(&c->change, dice_scaled(dice, 20, 3000));
}

/* When the peer sent the first byte that the program has not received; UINT64_MAX: it has them all. */
static uint64_t unheard_since_ns(const struct wait_conn *c)
{
	uint64_t since_ns = UINT64_MAX;

	for (uint64_t i = c->send_count; i > 0 && i + SENDS > c->send_count; i--) {
		if (c->sends[(i - 1) % SENDS].end > c->tcp.bytes_received)
			since_ns = c->sends[(i - 1) % SENDS].ns;
	}
	return since_ns;
}

/* The pipe broke with WAITS_LATE: was that right? */
static void wait_judge(struct wait_conn *c)
{
	struct world *world = &c->all->sim->world;
	const struct tcp_wait *wait = &c->tcp.wait;
	/* The engine may have paused since: ring/tcp.c notes when it lost patience. */
	uint64_t from_ms = c->began_ms, now_ms = c->tcp.wait_began_ms;
	uint64_t excuse_ns = world->habits.late_ns + world->habits.timeout_late_ns + 100 * WORLD_MS;

	if (!wait->from_start && c->tcp.received_ms > from_ms)
		from_ms = c->tcp.received_ms;
	if (now_ms < from_ms + (uint64_t)wait->ms * (wait->silences_max + 1))
		world_fail(world, "conn %u was ended %llu ms after its wait began, which is %u ms and %u silences", c->index,
		           (unsigned long long)(now_ms - from_ms), wait->ms, wait->silences_max);
	if (!wait->from_start && unheard_since_ns(c) < now_ms * WORLD_MS - excuse_ns)
		world_fail(world, "conn %u was ended as silent, but its peer spoke %.1f ms before", c->index,
		           ((double)now_ms * WORLD_MS - (double)unheard_since_ns(c)) / 1e6);
}

static void wait_step(struct task *task)
{
	struct wait_conn *c = owner_of(task, struct wait_conn, engine);
	struct world *world = &c->all->sim->world;
	struct dice *dice = &world->dice;
	uint8_t *bytes;
	size_t n;

	if (c->tcp.silences > 0 && c->tcp.silences != c->silences) {
		if (c->tcp.silences > c->tcp.wait.silences_max + 1)
			world_fail(world, "more silences than are tolerated");
		world_trace(world, "conn %u: silence %u", c->index, c->tcp.silences);
	}
	c->silences = c->tcp.silences;
	if (c->pause.set)
		return;
	while ((bytes = pipe_peek(&c->in, &n))) {
		if (!world_pattern_is(world, c->index, c->read, bytes, n))
			world_fail(world, "conn %u: wrong bytes", c->index);
		c->read += n;
		pipe_consume(&c->in, n);
		c->read_ms = c->scope.core->now_ms;
	}
	if (c->in.ended) {
		if (c->in.reason == &WAITS_LATE)
			wait_judge(c);
		scope_close(&c->scope, c->in.reason ? c->in.reason : &RING_DONE);
		return;
	}
	if (c->change.fired && !c->change.set) {
		c->change.fired = false;
		wait_change(c);
	}
	if (dice_chance(dice, 10))
		timer_set(&c->pause, dice_scaled(dice, 20, 300));
}

static void wait_act(struct actor *actor)
{
	struct wait_conn *c = owner_of(actor, struct wait_conn, actor);
	struct world *world = actor->world;
	uint8_t bytes[512];
	uint64_t n = dice_scaled(&world->dice, 1, sizeof bytes);
	long result;

	if (!c->open || c->far->closed)
		return;
	if (world->now_ns > c->all->until_ns) {
		world_close(c->far);
		return;
	}
	world_pattern(world, c->index, c->sent, bytes, n);
	result = world_send(c->far, bytes, n);
	if (result > 0) {
		c->sent += (uint64_t)result;
		c->sends[c->send_count % SENDS].end = c->sent;
		c->sends[c->send_count++ % SENDS].ns = world->now_ns;
	} else if (result != -EAGAIN) {
		return;
	}
	if (c->manner == 2 && dice_chance(&world->dice, 30))
		return;
	if (c->manner == 0 && c->tcp.wait.ms > 0)
		actor_in(actor, dice_between(&world->dice, WORLD_MS, c->tcp.wait.ms * WORLD_MS * 3 / 4 + WORLD_MS));
	else
		actor_in(actor, dice_scaled(&world->dice, WORLD_MS, 5000 * WORLD_MS));
}

static void waits_sleeps(struct world *world, unsigned core)
{
	struct waits *waits = ((struct sim *)world->owner)->scenario;

	(void)core;
	for (unsigned i = 0; i < waits->count; i++) {
		struct wait_conn *c = &waits->conn[i];
		uint64_t left_ms;

		if (!c->open || !scope_live(&c->scope))
			continue;
		sim_tcp_rests(world->owner, &c->tcp, "wait");
		if (pipe_free(&c->in) == 0)
			c->full_ms = c->scope.core->now_ms;
		left_ms = tcp_left_ms(&c->tcp);
		/* What lies in a pipe that nobody empties is not the peer's fault. */
		if (left_ms > 0 || c->in.ended || pipe_free(&c->in) == 0)
			continue;
		left_ms = c->began_ms;
		if (!c->tcp.wait.from_start && c->tcp.received_ms > left_ms)
			left_ms = c->tcp.received_ms;
		if (c->tcp.wait_began_ms > left_ms)
			left_ms = c->tcp.wait_began_ms;
		if (c->full_ms > left_ms)
			left_ms = c->full_ms;
		if (c->scope.core->now_ms > left_ms + c->tcp.wait.ms + SLACK_MS(c->tcp.wait.ms))
			world_fail(world, "conn %u: the peer is silent for %llu ms and the wait is %u ms", c->index,
			           (unsigned long long)(c->scope.core->now_ms - left_ms), c->tcp.wait.ms);
	}
}

static bool waits_done(struct sim *sim)
{
	struct waits *waits = sim->scenario;

	return waits->open == 0;
}

static void waits_open(struct waits *waits, unsigned i)
{
	struct sim *sim = waits->sim;
	struct wait_conn *c = &waits->conn[i];
	struct core *core = &sim->core[0];
	int fd;

	c->all = waits;
	c->index = i;
	c->open = true;
	waits->open++;
	world_pair(&sim->world, &c->near, &c->far);
	do {
		fd = world_descriptor(&sim->world, c->near);
	} while (fd < 0);
	scope_open(&c->scope, &core->root, &wait_kind);
	pipe_init(&c->in, &core->pool, waits->bytes_max);
	pipe_init(&c->out, &core->pool, waits->bytes_max);
	task_init(&c->engine, &c->scope, "wait", wait_step);
	timer_init(&c->pause, &c->scope, &c->engine);
	timer_init(&c->change, &c->scope, &c->engine);
	tcp_init(&c->tcp, &c->scope, fd, &c->in, &c->out);
	c->in.reader = &c->engine;
	c->out.writer = c->tcp.watcher = &c->engine;
	c->manner = (unsigned)dice_below(sim_dice(sim), 3);
	actor_init(&c->actor, &sim->world, wait_act, dice_scaled(sim_dice(sim), WORLD_MS, 100 * WORLD_MS));
	wait_change(c);
}

static void waits_scenario(struct sim *sim)
{
	struct waits waits = { .sim = sim };
	struct dice *dice = sim_dice(sim);

	/* Hunger for buffers is our fault, never the peer's. */
	if (dice_chance(dice, 25))
		sim_open(sim, 1, 1, 1);
	else
		sim_open(sim, 1, 16, 64);
	sim->scenario = &waits;
	sim->world.sleeps = waits_sleeps;
	waits.count = (unsigned)dice_between(dice, 1, CONNS);
	waits.bytes_max = dice_chance(dice, 70) ? PIPE_BYTES_MAX : dice_scaled(dice, 50, 2000);
	waits.until_ns = sim->world.now_ns + dice_between(dice, 1000, 60000) * WORLD_MS;
	for (unsigned i = 0; i < waits.count; i++)
		waits_open(&waits, i);
	/* A peer of the third manner is silent for ever; where the wait is without end, so is the connection. */
	if (!sim_run(sim, waits_done)) {
		for (unsigned i = 0; i < waits.count; i++) {
			struct wait_conn *c = &waits.conn[i];

			if (c->open && (c->tcp.wait.ms > 0 || c->in.bytes > 0))
				world_fail(&sim->world, "nothing moves any more: conn %u waits for ever", i);
		}
	}
	for (unsigned i = 0; i < waits.count; i++)
		link_remove(&waits.conn[i].actor.in_world);
	sim_finish(sim);
}

const struct scenario SCENARIO_WAITS = {
	.name = "waits", .share = 3, .run = waits_scenario,
	.sentence = "how long a receive waits, with peers in time, too late and silent",
};
