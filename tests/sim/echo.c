/* tests/sim/echo.c — a listener, connections that give back what they get, peers polite and rude.
 *
 *   peer ═▶ tcp ─▶ in ─▶ (engine: pauses, moves in every way a pipe knows) ─▶ out ─▶ tcp ═▶ peer
 *
 * A polite peer gets every byte back, whatever the kernel does. A stream that was reset never looks whole. The scenario
 * `starve` is the same with next to no receive buffers. */
#include "tests/sim/peer.h"
#include "tests/sim/sim.h"

#include "ring/listener.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#define PEERS_MAX 24u

struct echo {
	struct sim *sim;
	struct listener listener[WORLD_CORES_MAX];
	struct link conns;
	unsigned conn_count;
	struct peer peer[PEERS_MAX];
	unsigned peer_count;
	struct sockaddr_in address;
	uint64_t pipe_bytes;
	unsigned pause_percent;
	bool impatient;                  /* connections have deadlines that cut them short */
};

struct echo_conn {
	struct link in_echo;
	struct echo *echo;
	struct listener *listener;
	struct scope scope;
	struct tcp tcp;
	struct pipe in, out;
	struct task engine;
	struct timer pause;
	struct thing *far;
};

static const struct reason ECHO_CUT = { "echo_cut", "the scenario cut the connection short" };

static void echo_ended(struct scope *scope)
{
	struct echo_conn *c = owner_of(scope, struct echo_conn, scope);

	tcp_fini(&c->tcp);
	pipe_fini(&c->in);
	pipe_fini(&c->out);
	link_remove(&c->in_echo);
	c->echo->conn_count--;
	listener_closed(c->listener);
	free(c);
}

static const struct scope_kind echo_kind = { .name = "echo", .ended = echo_ended };

/* One of the ways in which bytes go from pipe to pipe. */
static void echo_move(struct echo_conn *c)
{
	struct dice *dice = sim_dice(c->echo->sim);
	uint64_t most = pipe_free(&c->out);
	size_t n, size;
	uint8_t *bytes, *room;

	if (dice_chance(dice, 50))
		most = dice_between(dice, 1, most);
	switch (dice_below(dice, 4)) {
	case 0:
		pipe_move(&c->out, &c->in, most);
		return;
	case 1:
		bytes = pipe_peek(&c->in, &n);
		n = n < most ? n : most;
		pipe_write(&c->out, bytes, n);
		pipe_consume(&c->in, n);
		return;
	case 2:
		bytes = pipe_peek(&c->in, &n);
		room = pipe_room(&c->out, dice_between(dice, 1, 64), &size);
		n = n < most ? n : most;
		n = n < size ? n : size;
		memcpy(room, bytes, n);
		pipe_commit(&c->out, n);
		pipe_consume(&c->in, n);
		return;
	case 3:
		/* May go over the bound by one chunk. */
		pipe_put(&c->out, pipe_take(&c->in));
		return;
	}
}

static void echo_step(struct task *task)
{
	struct echo_conn *c = owner_of(task, struct echo_conn, engine);
	struct dice *dice = sim_dice(c->echo->sim);

	if (c->pause.set)
		return;
	if (c->out.refusal) {
		scope_close(&c->scope, c->out.refusal);
		return;
	}
	if (dice_chance(dice, c->echo->pause_percent)) {
		timer_set(&c->pause, dice_scaled(dice, 1, 200));
		return;
	}
	for (unsigned budget = 4; budget > 0 && c->in.bytes > 0 && pipe_free(&c->out) > 0; budget--)
		echo_move(c);
	if (c->in.bytes > 0 && pipe_free(&c->out) > 0)
		task_wake(task);
	if (pipe_at_end(&c->in) && !c->out.ended) {
		if (c->in.reason) {
			scope_close(&c->scope, c->in.reason);
			return;
		}
		/* A stream that the peer never finished must not look finished. */
		if (!c->far->fin_out)
			world_fail(&c->echo->sim->world, "a stream that was reset ended as if it were whole");
		pipe_end(&c->out);
	}
	if (c->tcp.fin_sent)
		scope_close(&c->scope, &RING_DONE);
}

static void echo_accepted(struct listener *listener, int fd)
{
	struct echo *echo = listener->owner;
	struct echo_conn *c = malloc(sizeof *c);

	check(c);
	memset(c, 0xa5, sizeof *c);
	c->echo = echo;
	c->listener = listener;
	c->far = world_thing(&echo->sim->world, fd)->far;
	link_put_last(&echo->conns, &c->in_echo);
	echo->conn_count++;
	scope_open(&c->scope, &listener->core->root, &echo_kind);
	pipe_init(&c->in, &listener->core->pool, echo->pipe_bytes);
	pipe_init(&c->out, &listener->core->pool, echo->pipe_bytes);
	task_init(&c->engine, &c->scope, "echo", echo_step);
	timer_init(&c->pause, &c->scope, &c->engine);
	tcp_init(&c->tcp, &c->scope, fd, &c->in, &c->out);
	c->in.reader = &c->engine;
	c->out.writer = &c->engine;
	c->tcp.watcher = &c->engine;
	if (echo->impatient && dice_chance(sim_dice(echo->sim), 60))
		scope_deadline(&c->scope, dice_scaled(sim_dice(echo->sim), 1, 500), &ECHO_CUT);
}

static void echo_sleeps(struct world *world, unsigned core)
{
	struct sim *sim = world->owner;
	struct echo *echo = sim->scenario;

	for (struct link *l = echo->conns.next; l != &echo->conns; l = l->next) {
		struct echo_conn *c = owner_of(l, struct echo_conn, in_echo);

		if (c->scope.core->index != core || !scope_live(&c->scope))
			continue;
		sim_tcp_rests(sim, &c->tcp, "echo");
		if (c->pause.set)
			continue;
		if (c->in.bytes > 0 && pipe_free(&c->out) > 0)
			world_fail(world, "a quiet core with work left: the engine could move bytes");
		if (pipe_at_end(&c->in) && !c->out.ended)
			world_fail(world, "a quiet core with work left: the engine did not see the end");
		if (c->out.refusal || c->tcp.fin_sent)
			world_fail(world, "a quiet core with work left: the engine did not see that all is over");
	}
}

static void echo_peer_act(struct actor *actor)
{
	struct peer *peer = owner_of(actor, struct peer, actor);
	struct sim *sim = actor->world->owner;
	struct echo *echo = sim->scenario;

	if (!peer->socket)
		peer->socket = world_dial(actor->world, (struct sockaddr *)&echo->address, sizeof echo->address, actor);
	if (!peer->socket)
		actor_in(actor, dice_between(&actor->world->dice, WORLD_MS, 20 * WORLD_MS));
	else
		peer_act(peer);
}

static bool echo_done(struct sim *sim)
{
	struct echo *echo = sim->scenario;

	for (unsigned i = 0; i < echo->peer_count; i++) {
		if (!echo->peer[i].done)
			return false;
	}
	return echo->conn_count == 0;
}

static void echo_run(struct sim *sim, unsigned buffers, uint64_t chunks_max)
{
	struct echo echo = { .sim = sim };
	struct dice *dice = sim_dice(sim);
	unsigned cores = dice_chance(dice, 30) ? 2 : 1;

	sim_open(sim, cores, buffers, chunks_max);
	sim->scenario = &echo;
	sim->world.sleeps = echo_sleeps;
	link_init(&echo.conns);
	echo.pipe_bytes = dice_scaled(dice, 1, PIPE_BYTES_MAX);
	echo.pause_percent = (unsigned)dice_scaled(dice, 0, 30);
	echo.impatient = dice_chance(dice, 20);
	sim_address(&echo.address, 80);
	for (unsigned i = 0; i < cores; i++) {
		int fd;

		do {
			fd = kernel_listen(sim->core[i].kernel, (struct sockaddr *)&echo.address, sizeof echo.address, 64);
		} while (fd < 0);
		listener_open(&echo.listener[i], &sim->core[i], fd, "127.0.0.1:80", (unsigned)dice_between(dice, 1, 30),
		              echo_accepted, &echo);
	}
	echo.peer_count = (unsigned)dice_between(dice, 1, PEERS_MAX);
	for (unsigned i = 0; i < echo.peer_count; i++) {
		enum peer_manner manner = peer_manner_roll(dice);
		uint64_t bytes = dice_chance(dice, 50) ? dice_between(dice, 0, 60000) : dice_scaled(dice, 0, 20000);

		/* Small pipes and small sockets make many small steps. */
		if (echo.pipe_bytes < 64)
			bytes %= 500;
		peer_init(&echo.peer[i], &sim->world, manner, bytes, echo_peer_act);
		echo.peer[i].send_id = echo.peer[i].receive_id = i;
	}
	if (!sim_run(sim, echo_done))
		world_fail(&sim->world, "nothing moves any more, with %u connections open", echo.conn_count);
	for (unsigned i = 0; i < echo.peer_count; i++) {
		struct peer *peer = &echo.peer[i];

		if (peer->manner == PEER_POLITE && !echo.impatient &&
		    (peer->received != peer->send_bytes || peer->error || !peer->end_seen))
			world_fail(&sim->world, "polite peer %u sent %llu of %llu bytes, got %llu back, error %d", i,
			           (unsigned long long)peer->sent, (unsigned long long)peer->send_bytes,
			           (unsigned long long)peer->received, peer->error);
		if (peer->received > peer->sent)
			world_fail(&sim->world, "peer %u got more than it sent", i);
		peer_fini(peer);
	}
	sim_finish(sim);
}

static void echo_scenario(struct sim *sim)
{
	echo_run(sim, 1u << dice_between(sim_dice(sim), 3, 8), dice_scaled(sim_dice(sim), 8, 1000));
}

static void starve_scenario(struct sim *sim)
{
	echo_run(sim, 1u << dice_between(sim_dice(sim), 0, 2), dice_between(sim_dice(sim), 1, 6));
}

const struct scenario SCENARIO_ECHO = {
	.name = "echo", .share = 3, .run = echo_scenario,
	.sentence = "connections that give back what they get, with peers polite and rude",
};

const struct scenario SCENARIO_STARVE = {
	.name = "starve", .share = 2, .run = starve_scenario,
	.sentence = "the same with next to no receive buffers and chunks",
};
