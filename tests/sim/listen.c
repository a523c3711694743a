/* tests/sim/listen.c — a listener that runs out of descriptors, reaches its bound, and is stopped at any moment, also from
 * inside its own callback.
 *
 * Nobody who dialled is forgotten while it listens; after EMFILE it waits before it tries again; every descriptor is
 * closed once, also those that were accepted while it was closing. */
#include "tests/sim/sim.h"

#include "ring/listener.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define CALLERS_MAX 64u

struct caller {
	struct actor actor;
	struct thing *socket;
	unsigned tries;
	bool answered;                   /* the end was seen: it was served, or turned away */
};

struct listen {
	struct sim *sim;
	struct listener listener;
	struct sockaddr_in address;
	struct caller caller[CALLERS_MAX];
	unsigned caller_count;
	struct scope keeper;             /* outside the listener: stops it */
	struct task keeper_task;
	struct timer stop;
	unsigned stop_percent;           /* chance that a callback stops it */
	unsigned open, accepted_count;
	uint64_t hold_ms;
	uint64_t opened_ns;
};

struct held {
	struct scope scope;
	struct listen *listen;
	int fd;
};

static const struct reason LISTEN_OVER = { "listen_over", "the call was long enough" };

static void held_ended(struct scope *scope)
{
	struct held *held = owner_of(scope, struct held, scope);

	kernel_socket_close(scope->core->kernel, held->fd);
	held->listen->open--;
	listener_closed(&held->listen->listener);
	free(held);
}

static const struct scope_kind held_kind = { .name = "held", .ended = held_ended };
static const struct scope_kind keeper_kind = { .name = "keeper" };

static void listen_accepted(struct listener *listener, int fd)
{
	struct listen *listen = listener->owner;
	struct held *held = malloc(sizeof *held);
	struct dice *dice = sim_dice(listen->sim);

	check(held);
	held->listen = listen;
	held->fd = fd;
	listen->open++;
	listen->accepted_count++;
	if (listen->open != listener->open)
		world_fail(&listen->sim->world, "the listener counts %u open connections, not %u", listener->open, listen->open);
	scope_open(&held->scope, &listener->core->root, &held_kind);
	scope_deadline(&held->scope, dice_between(dice, 1, listen->hold_ms), &LISTEN_OVER);
	if (dice_chance(dice, listen->stop_percent))
		listener_stop(listener, &RING_DRAINED);
}

static void keeper_step(struct task *task)
{
	struct listen *listen = owner_of(task, struct listen, keeper_task);

	listener_stop(&listen->listener, &RING_DRAINED);
	listener_stop(&listen->listener, &LISTEN_OVER);
}

static void listen_sleeps(struct world *world, unsigned core)
{
	struct listen *listen = ((struct sim *)world->owner)->scenario;
	struct listener *l = &listen->listener;

	(void)core;
	if (!scope_live(&l->scope))
		return;
	if (l->stopping) {
		if (op_idle(&l->accept))
			world_fail(world, "a quiet core with work left: a stopped listener does not close");
		return;
	}
	if (l->waiting_count > 0)
		world_fail(world, "a quiet core with work left: a connection was accepted and not given on");
	if (op_idle(&l->accept) && l->open < l->open_max && !l->pausing)
		world_fail(world, "a quiet core with work left: the listener does not accept");
	if (op_idle(&l->accept) && l->open < l->open_max && l->pausing && !l->pause.set)
		world_fail(world, "a quiet core with work left: the listener pauses for ever");
	/* A core's clock stands still during a turn and counts whole milliseconds. */
	if (l->pauses > 1 + (world->now_ns - listen->opened_ns) / ((LISTENER_PAUSE_MS - 2) * WORLD_MS))
		world_fail(world, "the listener tries again too soon when descriptors are spent: %llu pauses",
		           (unsigned long long)l->pauses);
}

static void caller_act(struct actor *actor)
{
	struct caller *caller = owner_of(actor, struct caller, actor);
	struct listen *listen = ((struct sim *)actor->world->owner)->scenario;
	uint8_t byte;
	long result;

	if (caller->answered)
		return;
	if (!caller->socket) {
		caller->socket = world_dial(actor->world, (struct sockaddr *)&listen->address, sizeof listen->address, actor);
		if (!caller->socket && ++caller->tries < 50)
			actor_in(actor, dice_between(&actor->world->dice, WORLD_MS, 50 * WORLD_MS));
		else if (!caller->socket)
			caller->answered = true; /* nobody listens any more */
		return;
	}
	result = world_receive(caller->socket, &byte, 1);
	if (result == -EAGAIN)
		return;
	caller->answered = true;
	caller->socket->actor = NULL;
	world_close(caller->socket);
}

static bool listen_done(struct sim *sim)
{
	struct listen *listen = sim->scenario;

	for (unsigned i = 0; i < listen->caller_count; i++) {
		if (!listen->caller[i].answered)
			return false;
	}
	return listen->open == 0;
}

static void listen_scenario(struct sim *sim)
{
	struct listen listen = { .sim = sim };
	struct dice *dice = sim_dice(sim);
	int fd;

	sim_open(sim, 1, 2, 16);
	sim->scenario = &listen;
	sim->world.sleeps = listen_sleeps;
	sim->world.fd_max = (unsigned)dice_scaled(dice, 2, 100);
	if (dice_chance(dice, 30))
		sim->world.habits.descriptors_spent = (unsigned)dice_between(dice, 10, 60);
	listen.hold_ms = dice_scaled(dice, 1, 400);
	sim_address(&listen.address, 80);
	do {
		fd = kernel_listen(sim->core[0].kernel, (struct sockaddr *)&listen.address, sizeof listen.address, 64);
	} while (fd < 0);
	listen.opened_ns = sim->world.now_ns;
	listener_open(&listen.listener, &sim->core[0], fd, "127.0.0.1:80", (unsigned)dice_scaled(dice, 1, 100),
	              listen_accepted, &listen);
	scope_open(&listen.keeper, &sim->core[0].root, &keeper_kind);
	task_init(&listen.keeper_task, &listen.keeper, "keeper", keeper_step);
	timer_init(&listen.stop, &listen.keeper, &listen.keeper_task);
	if (dice_chance(dice, 30))
		timer_set(&listen.stop, dice_scaled(dice, 1, 2000));
	listen.stop_percent = dice_chance(dice, 30) ? 5 : 0;
	listen.caller_count = (unsigned)dice_between(dice, 1, CALLERS_MAX);
	for (unsigned i = 0; i < listen.caller_count; i++)
		actor_init(&listen.caller[i].actor, &sim->world, caller_act, dice_scaled(dice, 1000, 300 * WORLD_MS));
	if (!sim_run(sim, listen_done))
		world_fail(&sim->world, "nothing moves any more: a caller was forgotten, %u connections are open", listen.open);
	if (listen.accepted_count != stat_read(&sim->core[0].stats.accepts) && scope_live(&listen.listener.scope))
		world_fail(&sim->world, "%u connections were given on, %llu accepted", listen.accepted_count,
		           (unsigned long long)stat_read(&sim->core[0].stats.accepts));
	for (unsigned i = 0; i < listen.caller_count; i++) {
		link_remove(&listen.caller[i].actor.in_world);
		if (listen.caller[i].socket)
			listen.caller[i].socket->actor = NULL;
	}
	sim_finish(sim);
}

const struct scenario SCENARIO_LISTEN = {
	.name = "listen", .share = 2, .run = listen_scenario,
	.sentence = "a listener without descriptors, at its bound, and stopped at any moment",
};
