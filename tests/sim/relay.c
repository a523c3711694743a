/* tests/sim/relay.c — the skeleton of a proxy: what one side sends the other gets, with backpressure both ways.
 *
 *   client ═▶ tcp ─▶ up.in ══move══▶ up.out ─▶ tcp ═▶ upstream
 *   client ◀═ tcp ◀─ down.out ◀══move══ down.in ◀─ tcp ◀═ upstream
 *
 * The upstream connection has a scope of its own under the client's. A half that ends is ended on the other side; one that
 * breaks takes both connections with it, rudely. Between polite ends every byte arrives, both ways. */
#include "tests/sim/peer.h"
#include "tests/sim/sim.h"

#include "ring/listener.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#define CLIENTS_MAX 16u
#define CONNECT_WITHIN_MS 60u

struct relay;

struct client {
	struct peer peer;
	struct peer upstream;            /* acts once a connect for this client has reached it */
	bool has_upstream;
};

struct relay {
	struct sim *sim;
	struct listener listener;
	struct thing *upstream;
	struct sockaddr_in address, upstream_address;
	struct client clients[CLIENTS_MAX];
	unsigned client_count, conn_count;
	struct link conns;
	uint64_t pipe_bytes;
	bool impatient;
};

struct half {
	struct scope scope;
	struct tcp tcp;
	struct pipe in, out;
};

struct relay_conn {
	struct link in_relay;
	struct relay *relay;
	struct client *client;
	struct half down;                /* the client's */
	struct half up;                  /* the upstream's, a child scope */
	struct task engine;              /* belongs to the client's scope */
	struct thing *far;
	bool up_open;
};

static const struct reason RELAY_CUT = { "relay_cut", "the scenario cut the connection short" };

static void half_fini(struct half *half)
{
	tcp_fini(&half->tcp);
	pipe_fini(&half->in);
	pipe_fini(&half->out);
}

static void down_ended(struct scope *scope)
{
	struct relay_conn *c = owner_of(scope, struct relay_conn, down.scope);

	if (c->up_open)
		world_fail(&c->relay->sim->world, "a parent scope ended before its child");
	half_fini(&c->down);
	link_remove(&c->in_relay);
	c->relay->conn_count--;
	listener_closed(&c->relay->listener);
	free(c);
}

static void up_ended(struct scope *scope)
{
	struct relay_conn *c = owner_of(scope, struct relay_conn, up.scope);

	half_fini(&c->up);
	c->up_open = false;
}

static const struct scope_kind down_kind = { .name = "client", .ended = down_ended };
static const struct scope_kind up_kind = { .name = "upstream", .ended = up_ended };

/* True while something may still move this way at once. */
static bool one_way(struct pipe *from, struct pipe *to)
{
	if (pipe_free(to) > 0 && from->bytes > 0)
		pipe_move(to, from, pipe_free(to) < 4096 ? pipe_free(to) : 4096);
	if (pipe_at_end(from) && !from->reason)
		pipe_end(to);
	return from->bytes > 0 && pipe_free(to) > 0;
}

static void relay_close(struct relay_conn *c, const struct reason *reason)
{
	/* Whoever is cut off must not take it for an end. */
	tcp_abort(&c->down.tcp);
	tcp_abort(&c->up.tcp);
	scope_close(&c->down.scope, reason);
}

static void relay_step(struct task *task)
{
	struct relay_conn *c = owner_of(task, struct relay_conn, engine);
	const struct pipe *const pipes[] = { &c->down.in, &c->up.in };
	bool more;

	for (unsigned i = 0; i < array_count(pipes); i++) {
		if (pipes[i]->ended && pipes[i]->reason) {
			relay_close(c, pipes[i]->reason);
			return;
		}
	}
	if (c->down.out.refusal || c->up.out.refusal) {
		relay_close(c, c->down.out.refusal ? c->down.out.refusal : c->up.out.refusal);
		return;
	}
	more = one_way(&c->down.in, &c->up.out);
	more |= one_way(&c->up.in, &c->down.out);
	if (more)
		task_wake(task);
	if (c->down.tcp.fin_sent && c->up.tcp.fin_sent)
		scope_close(&c->down.scope, &RING_DONE);
}

static void half_open(struct relay_conn *c, struct half *half, int fd)
{
	struct scope *scope = &half->scope;

	pipe_init(&half->in, &scope->core->pool, c->relay->pipe_bytes);
	pipe_init(&half->out, &scope->core->pool, c->relay->pipe_bytes);
	tcp_init(&half->tcp, scope, fd, &half->in, &half->out);
	half->tcp.watcher = &c->engine;
	half->in.reader = &c->engine;
	half->out.writer = &c->engine;
}

static void relay_accepted(struct listener *listener, int fd)
{
	struct relay *relay = listener->owner;
	struct relay_conn *c = malloc(sizeof *c);
	struct peer *peer;

	check(c);
	memset(c, 0xa5, sizeof *c);
	c->relay = relay;
	c->far = world_thing(&relay->sim->world, fd)->far;
	peer = c->far->actor ? owner_of(c->far->actor, struct peer, actor) : NULL;
	c->client = peer ? owner_of(peer, struct client, peer) : NULL;
	link_put_last(&relay->conns, &c->in_relay);
	relay->conn_count++;
	scope_open(&c->down.scope, &listener->core->root, &down_kind);
	scope_open(&c->up.scope, &c->down.scope, &up_kind);
	c->up_open = true;
	task_init(&c->engine, &c->down.scope, "relay", relay_step);
	half_open(c, &c->down, fd);
	half_open(c, &c->up, -1);
	tcp_connect(&c->up.tcp, (struct sockaddr *)&relay->upstream_address, sizeof relay->upstream_address,
	            CONNECT_WITHIN_MS);
	if (relay->impatient && dice_chance(sim_dice(relay->sim), 60))
		scope_deadline(&c->down.scope, dice_scaled(sim_dice(relay->sim), 1, 500), &RELAY_CUT);
}

/* A connect has reached the upstream: which client is it for? Its own socket knows the connection. */
static void relay_dialled(struct thing *listener, struct thing *far_end)
{
	struct relay *relay = listener->owner;

	for (struct link *l = relay->conns.next; l != &relay->conns; l = l->next) {
		struct relay_conn *c = owner_of(l, struct relay_conn, in_relay);

		if (!c->up_open || c->up.tcp.fd < 0 || world_thing(&relay->sim->world, c->up.tcp.fd) != far_end->far)
			continue;
		if (!c->client || c->client->peer.done) {
			world_reset(far_end); /* the client has gone already; so does its upstream */
			return;
		}
		c->client->upstream.socket = far_end;
		far_end->actor = &c->client->upstream.actor;
		c->client->has_upstream = true;
		actor_in(&c->client->upstream.actor, 0);
		return;
	}
	world_fail(&relay->sim->world, "a connect reached the upstream and belongs to nobody");
}

static void relay_sleeps(struct world *world, unsigned core)
{
	struct sim *sim = world->owner;
	struct relay *relay = sim->scenario;

	(void)core;
	for (struct link *l = relay->conns.next; l != &relay->conns; l = l->next) {
		struct relay_conn *c = owner_of(l, struct relay_conn, in_relay);

		if (!scope_live(&c->down.scope))
			continue;
		sim_tcp_rests(sim, &c->down.tcp, "client");
		sim_tcp_rests(sim, &c->up.tcp, "upstream");
		if ((c->down.in.bytes > 0 && pipe_free(&c->up.out) > 0) || (c->up.in.bytes > 0 && pipe_free(&c->down.out) > 0))
			world_fail(world, "a quiet core with work left: the relay could move bytes");
		if ((pipe_at_end(&c->down.in) && !c->up.out.ended) || (pipe_at_end(&c->up.in) && !c->down.out.ended))
			world_fail(world, "a quiet core with work left: the relay did not see an end");
		if (c->down.in.reason || c->up.in.reason || c->down.out.refusal || c->up.out.refusal ||
		    (c->down.tcp.fin_sent && c->up.tcp.fin_sent))
			world_fail(world, "a quiet core with work left: the relay did not see that all is over");
	}
}

static void client_act(struct actor *actor)
{
	struct peer *peer = owner_of(actor, struct peer, actor);
	struct sim *sim = actor->world->owner;
	struct relay *relay = sim->scenario;

	if (!peer->socket)
		peer->socket = world_dial(actor->world, (struct sockaddr *)&relay->address, sizeof relay->address, actor);
	if (!peer->socket)
		actor_in(actor, dice_between(&actor->world->dice, WORLD_MS, 20 * WORLD_MS));
	else
		peer_act(peer);
}

static void upstream_act(struct actor *actor)
{
	struct peer *peer = owner_of(actor, struct peer, actor);

	if (peer->socket)
		peer_act(peer);
}

static bool relay_done(struct sim *sim)
{
	struct relay *relay = sim->scenario;

	for (unsigned i = 0; i < relay->client_count; i++) {
		struct client *client = &relay->clients[i];

		if (!client->peer.done || (client->has_upstream && !client->upstream.done))
			return false;
	}
	return relay->conn_count == 0;
}

/* Both ends polite and nobody else at fault: all must have come through. */
static void client_check(struct relay *relay, const struct client *client, unsigned i)
{
	struct world *world = &relay->sim->world;
	const struct peer *down = &client->peer, *up = &client->upstream;
	bool whole = down->received == up->send_bytes && up->received == down->send_bytes && !down->error && !up->error;

	if (down->received > up->sent || up->received > down->sent)
		world_fail(world, "client %u: more arrived than was sent", i);
	if (down->manner != PEER_POLITE || up->manner != PEER_POLITE || relay->impatient)
		return;
	/* Without an upstream the client is cut off rudely, and sees it. */
	if (!client->has_upstream) {
		if (down->end_seen && !down->error)
			world_fail(world, "client %u has no upstream and saw a clean end", i);
		return;
	}
	if (!whole)
		world_fail(world, "client %u: %llu of %llu bytes up, %llu of %llu down, errors %d %d", i,
		           (unsigned long long)up->received, (unsigned long long)down->send_bytes,
		           (unsigned long long)down->received, (unsigned long long)up->send_bytes, down->error, up->error);
}

static void relay_scenario(struct sim *sim)
{
	struct relay relay = { .sim = sim };
	struct dice *dice = sim_dice(sim);
	bool scarce = dice_chance(dice, 25);
	int fd;

	sim_open(sim, 1, 1u << dice_between(dice, scarce ? 0 : 3, scarce ? 2 : 7),
	         scarce ? dice_between(dice, 1, 8) : dice_scaled(dice, 16, 1000));
	sim->scenario = &relay;
	sim->world.sleeps = relay_sleeps;
	link_init(&relay.conns);
	relay.pipe_bytes = dice_scaled(dice, 1, PIPE_BYTES_MAX);
	relay.impatient = dice_chance(dice, 15);
	sim_address(&relay.address, 80);
	sim_address(&relay.upstream_address, 8080);
	relay.upstream = world_listen(&sim->world, (struct sockaddr *)&relay.upstream_address,
	                              sizeof relay.upstream_address, relay_dialled, &relay);
	do {
		fd = kernel_listen(sim->core[0].kernel, (struct sockaddr *)&relay.address, sizeof relay.address, 64);
	} while (fd < 0);
	listener_open(&relay.listener, &sim->core[0], fd, "127.0.0.1:80", (unsigned)dice_between(dice, 1, 20),
	              relay_accepted, &relay);
	relay.client_count = (unsigned)dice_between(dice, 1, CLIENTS_MAX);
	for (unsigned i = 0; i < relay.client_count; i++) {
		struct client *client = &relay.clients[i];
		uint64_t most = relay.pipe_bytes < 64 ? 500 : 30000;

		peer_init(&client->peer, &sim->world, peer_manner_roll(dice), dice_below(dice, most), client_act);
		peer_init(&client->upstream, &sim->world, peer_manner_roll(dice), dice_below(dice, most), upstream_act);
		client->upstream.actor.at_ns = ACTOR_ASLEEP;
		client->peer.send_id = client->upstream.receive_id = 2 * i;
		client->peer.receive_id = client->upstream.send_id = 2 * i + 1;
	}
	if (!sim_run(sim, relay_done))
		world_fail(&sim->world, "nothing moves any more, with %u connections open", relay.conn_count);
	for (unsigned i = 0; i < relay.client_count; i++) {
		client_check(&relay, &relay.clients[i], i);
		peer_fini(&relay.clients[i].peer);
		peer_fini(&relay.clients[i].upstream);
	}
	sim_finish(sim);
}

const struct scenario SCENARIO_RELAY = {
	.name = "relay", .share = 4, .run = relay_scenario,
	.sentence = "a client and an upstream through pipes, with backpressure both ways",
};
