/* tests/sim/scopes.c — a storm: trees of scopes that grow, start operations, set timers and are closed at any moment, from
 * steps, by deadlines, from above and from below.
 *
 * Watched: no step and no start in a closed scope; each arm has one last completion; `ended` runs once, children first, with
 * nothing in flight; the first reason for closing sticks; a deadline is neither early nor forgotten. */
#include "tests/sim/sim.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define NODES_MAX 60u
#define DEPTH_MAX 5u
#define OPS 3u
#define TIMERS 2u
#define TASKS 2u
#define LATE_MS 200u                     /* ticks, stalls of the thread and late wakes together */

struct storm;

struct node {
	struct link in_storm;
	struct storm *storm;
	struct node *parent;
	unsigned id, depth, children;
	struct scope scope;
	struct op op[OPS];               /* a read, a receive, a connect */
	int fd[OPS];
	bool in_flight[OPS];
	uint8_t bytes[16];
	struct sockaddr_in address;
	struct task task[TASKS];
	struct timer timer[TIMERS];
	uint64_t timer_due_ms[TIMERS];
	const struct reason *closed_with; /* by a scope_close of ours; NULL: by a deadline, or not at all */
	uint64_t deadline_ms;            /* 0: none */
};

struct storm {
	struct sim *sim;
	struct link nodes;
	unsigned node_count, node_next;
	uint64_t budget;
	struct actor feeder;
	uint64_t feeds;                  /* left: then the world may become quiet */
	struct thing *fed[NODES_MAX];    /* far ends; the world keeps them */
	unsigned fed_count;
};

static const struct reason STORM_CLOSED = { "storm_closed", "the storm closed it" };
static const struct reason STORM_DEADLINE = { "storm_deadline", "its deadline passed" };

static void node_step(struct task *task);
static void second_step(struct task *task);
static struct node *node_open(struct storm *storm, struct node *parent);

/* Marks what a close of this node closes, as ring/scope.h promises it. */
static void node_close(struct node *node, const struct reason *reason)
{
	struct storm *storm = node->storm;

	if (!scope_live(&node->scope))
		return;
	node->closed_with = reason;
	for (struct link *l = storm->nodes.next; l != &storm->nodes; l = l->next) {
		struct node *below = owner_of(l, struct node, in_storm);
		struct node *above = below->parent;

		while (above && above != node)
			above = above->parent;
		if (above && scope_live(&below->scope))
			below->closed_with = &RING_PARENT_CLOSED;
	}
	scope_close(&node->scope, reason);
}

static void node_ended(struct scope *scope)
{
	struct node *node = owner_of(scope, struct node, scope);
	struct world *world = &node->storm->sim->world;

	if (node->children > 0)
		world_fail(world, "scope %u ended before %u of its children", node->id, node->children);
	if (scope->state != SCOPE_ENDED || !scope->reason)
		world_fail(world, "scope %u ended in state %u", node->id, scope->state);
	/* The root, and a deadline above, close without our doing. */
	if (node->closed_with && scope->reason != node->closed_with)
		world_fail(world, "scope %u was closed with %s and says %s", node->id, node->closed_with->name, scope->reason->name);
	if (scope->reason == &STORM_DEADLINE && (node->deadline_ms == 0 || scope->core->now_ms < node->deadline_ms))
		world_fail(world, "scope %u was ended by a deadline before its time", node->id);
	for (unsigned i = 0; i < OPS; i++) {
		if (node->in_flight[i] || !op_idle(&node->op[i]))
			world_fail(world, "scope %u ended with an operation in flight", node->id);
		if (node->fd[i] >= 0)
			kernel_socket_close(scope->core->kernel, node->fd[i]);
	}
	for (unsigned i = 0; i < TIMERS; i++) {
		if (node->timer[i].set)
			world_fail(world, "scope %u ended with a timer set", node->id);
	}
	if (node->parent)
		node->parent->children--;
	/* An exit may open something new beside it: a pool that replaces what it lost. */
	if (!node->parent && node->storm->budget > 0 && scope_live(scope->parent))
		node_open(node->storm, NULL);
	link_remove(&node->in_storm);
	node->storm->node_count--;
	memset(node, 0xdd, sizeof *node);
	free(node);
}

static const struct scope_kind node_kind = { .name = "node", .ended = node_ended };

static void node_done(struct op *op, const struct completion *completion)
{
	struct node *node = owner_of(op->scope, struct node, scope);
	unsigned i = 0;

	while (op != &node->op[i])
		i++;
	if (!node->in_flight[i])
		world_fail(&node->storm->sim->world, "an operation of scope %u completed twice", node->id);
	if (completion->chunk)
		chunk_put(&node->scope.core->pool, completion->chunk);
	if (!completion->more)
		node->in_flight[i] = false;
	if (!completion->more != op_idle(op))
		world_fail(&node->storm->sim->world, "an operation of scope %u is idle too early or too late", node->id);
	task_wake(&node->task[0]);
}

static struct node *node_open(struct storm *storm, struct node *parent)
{
	struct node *node = malloc(sizeof *node);
	struct scope *above = parent ? &parent->scope : &storm->sim->core[0].root;

	check(node);
	memset(node, 0xa5, sizeof *node);
	node->storm = storm;
	node->parent = parent;
	node->id = storm->node_next++;
	node->depth = parent ? parent->depth + 1 : 0;
	node->children = 0;
	node->closed_with = NULL;
	node->deadline_ms = 0;
	if (parent)
		parent->children++;
	storm->node_count++;
	link_put_last(&storm->nodes, &node->in_storm);
	scope_open(&node->scope, above, &node_kind);
	for (unsigned i = 0; i < OPS; i++) {
		op_init(&node->op[i], &node->scope, "storm", node_done);
		node->fd[i] = -1;
		node->in_flight[i] = false;
	}
	task_init(&node->task[0], &node->scope, "storm", node_step);
	task_init(&node->task[1], &node->scope, "second", second_step);
	for (unsigned i = 0; i < TIMERS; i++)
		timer_init(&node->timer[i], &node->scope, &node->task[i % TASKS]);
	task_wake(&node->task[0]);
	return node;
}

/* Any descriptor that fits operation i; -1 where there is none to be had. */
static int node_descriptor(struct node *node, unsigned i)
{
	struct storm *storm = node->storm;
	struct world *world = &storm->sim->world;
	struct thing *near, *far;

	if (i == 0)
		return world_descriptor(world, world_source(world));
	if (i == 1) {
		world_pair(world, &near, &far);
		storm->fed[storm->fed_count++ % NODES_MAX] = far;
		return world_descriptor(world, near);
	}
	sim_address(&node->address, (unsigned)dice_between(&world->dice, 1, 2));
	return kernel_socket(node->scope.core->kernel, (struct sockaddr *)&node->address);
}

static void node_start(struct node *node, unsigned i)
{
	static const uint8_t codes[OPS] = { KERNEL_READ, KERNEL_RECEIVE, KERNEL_CONNECT };
	struct dice *dice = sim_dice(node->storm->sim);
	struct kernel_request *request = &node->op[i].request;

	if (!op_idle(&node->op[i]))
		return;
	/* A descriptor that was used for a connect cannot be used again; the others sometimes change. */
	if (node->fd[i] >= 0 && (i == 2 || dice_chance(dice, 20))) {
		kernel_socket_close(node->scope.core->kernel, node->fd[i]);
		node->fd[i] = -1;
	}
	if (node->fd[i] < 0)
		node->fd[i] = node_descriptor(node, i);
	if (node->fd[i] < 0)
		return;
	*request = (struct kernel_request){ .code = codes[i], .fd = node->fd[i] };
	if (i == 1 && dice_chance(dice, 30))
		request->code = KERNEL_RECEIVE_ONCE;
	if (dice_chance(dice, 60))
		request->within_ms = (uint32_t)dice_scaled(dice, 1, 60);
	if (i == 0) {
		request->bytes = node->bytes;
		request->size = sizeof node->bytes;
		request->offset = -1;
	} else if (i == 2) {
		request->address = (const struct sockaddr *)&node->address;
		request->size = sizeof node->address;
	}
	node->in_flight[i] = true;
	op_start(&node->op[i]);
	if (op_idle(&node->op[i]))
		world_fail(&node->storm->sim->world, "an operation completed inside its start");
}

static struct node *node_any(struct storm *storm)
{
	struct link *l = storm->nodes.next;

	for (uint64_t n = dice_below(sim_dice(storm->sim), storm->node_count); n > 0; n--)
		l = l->next;
	return owner_of(l, struct node, in_storm);
}

static void node_act(struct node *node)
{
	struct storm *storm = node->storm;
	struct dice *dice = sim_dice(storm->sim);
	struct node *any = node_any(storm);
	unsigned i = (unsigned)dice_below(dice, TIMERS);
	uint64_t ms = dice_scaled(dice, 1, 300);

	switch (dice_below(dice, 20)) {
	case 0: case 1: case 2: case 3: case 4: case 5:
		node_start(node, (unsigned)dice_below(dice, OPS));
		return;
	case 6: case 7:
		op_cancel(&any->op[dice_below(dice, OPS)]);
		return;
	case 8: case 9: case 10:
		if (node->depth < DEPTH_MAX && storm->node_count < NODES_MAX)
			node_open(storm, node);
		return;
	case 11: case 12:
		timer_set(&node->timer[i], ms);
		node->timer_due_ms[i] = node->scope.core->now_ms + ms;
		return;
	case 13:
		timer_clear(&any->timer[i]);
		return;
	case 14: case 15:
		task_wake(&any->task[dice_below(dice, TASKS)]);
		return;
	case 16:
		node_close(any, &STORM_CLOSED);
		return;
	case 17:
		if (dice_chance(dice, 30))
			node_close(node, &STORM_CLOSED);
		return;
	case 18:
		if (scope_live(&any->scope)) {
			scope_deadline(&any->scope, ms, &STORM_DEADLINE);
			any->deadline_ms = any->scope.core->now_ms + ms;
		}
		return;
	case 19:
		if (scope_live(&any->scope) && dice_chance(dice, 50)) {
			scope_deadline(&any->scope, 0, NULL);
			any->deadline_ms = 0;
		}
		return;
	}
}

static void node_step(struct task *task)
{
	struct node *node = owner_of(task, struct node, task[0]);
	struct storm *storm = node->storm;

	if (!scope_live(&node->scope))
		world_fail(&storm->sim->world, "a task of a closed scope runs");
	for (uint64_t n = dice_below(sim_dice(storm->sim), 4); n > 0 && storm->budget > 0; n--) {
		storm->budget--;
		node_act(node);
		if (!scope_live(&node->scope))
			return;
	}
	if (storm->budget > 0 && dice_chance(sim_dice(storm->sim), 30)) {
		uint64_t ms = dice_scaled(sim_dice(storm->sim), 1, 50);

		timer_set(&node->timer[0], ms);
		node->timer_due_ms[0] = node->scope.core->now_ms + ms;
	}
}

/* A task that leaves its scope before that ends, and comes back. */
static void second_step(struct task *task)
{
	struct node *node = owner_of(task, struct node, task[1]);

	if (!scope_live(&node->scope))
		world_fail(&node->storm->sim->world, "a task of a closed scope runs");
	task_fini(task);
	task_wake(task);
	task_init(task, &node->scope, "second", second_step);
	task_wake(&node->task[0]);
}

static void storm_feed(struct actor *actor)
{
	struct storm *storm = owner_of(actor, struct storm, feeder);
	struct dice *dice = &actor->world->dice;
	uint8_t bytes[64] = { 0 };

	if (storm->feeds-- == 0)
		return;
	if (storm->fed_count > 0) {
		unsigned count = storm->fed_count < NODES_MAX ? storm->fed_count : NODES_MAX;
		struct thing *far = storm->fed[dice_below(dice, count)];

		if (!far->closed && dice_chance(dice, 90))
			world_send(far, bytes, dice_between(dice, 1, sizeof bytes));
		else if (!far->closed && dice_chance(dice, 50))
			world_close(far);
		else if (!far->closed)
			world_reset(far);
	}
	actor_in(actor, dice_scaled(dice, 10000, 5 * WORLD_MS));
}

static void storm_sleeps(struct world *world, unsigned core)
{
	struct storm *storm = ((struct sim *)world->owner)->scenario;

	(void)core;
	for (struct link *l = storm->nodes.next; l != &storm->nodes; l = l->next) {
		struct node *node = owner_of(l, struct node, in_storm);
		uint64_t now_ms = node->scope.core->now_ms;

		if (!scope_live(&node->scope)) {
			if (node->children == 0 && link_alone(&node->scope.ops))
				world_fail(world, "scope %u has nothing left and did not end", node->id);
			continue;
		}
		if (node->deadline_ms > 0 && now_ms > node->deadline_ms + LATE_MS)
			world_fail(world, "the deadline of scope %u was forgotten", node->id);
		for (unsigned i = 0; i < TIMERS; i++) {
			if (node->timer[i].set && now_ms > node->timer_due_ms[i] + LATE_MS)
				world_fail(world, "a timer of scope %u was forgotten", node->id);
			if (node->timer[i].set && now_ms + timer_left_ms(&node->timer[i]) < node->timer_due_ms[i])
				world_fail(world, "a timer of scope %u would come too early", node->id);
		}
	}
}

static bool storm_done(struct sim *sim)
{
	struct storm *storm = sim->scenario;

	/* Whatever is in flight or set then is what closing the root must clear up. */
	return storm->budget == 0 || storm->node_count == 0;
}

static void storm_listen(struct thing *listener, struct thing *far_end)
{
	(void)listener;
	if (dice_chance(&far_end->world->dice, 50))
		world_close(far_end);
}

static void scopes_scenario(struct sim *sim)
{
	struct storm storm = { .sim = sim };
	struct dice *dice = sim_dice(sim);
	struct sockaddr_in address;

	sim_open(sim, 1, 1u << dice_between(dice, 1, 5), dice_scaled(dice, 1, 64));
	sim->scenario = &storm;
	sim->world.sleeps = storm_sleeps;
	link_init(&storm.nodes);
	storm.budget = dice_between(dice, 20, 3000);
	storm.feeds = 4 * storm.budget;
	sim_address(&address, 1); /* at port 2 nobody listens */
	world_listen(&sim->world, (struct sockaddr *)&address, sizeof address, storm_listen, &storm);
	for (uint64_t n = dice_between(dice, 1, 5); n > 0; n--)
		node_open(&storm, NULL);
	actor_init(&storm.feeder, &sim->world, storm_feed, 1000);
	/* Quiet before the budget is spent is no fault: whoever closed all but a waiting scope has nothing more to do. */
	sim_run(sim, storm_done);
	storm.budget = 0;
	link_remove(&storm.feeder.in_world);
	/* The root's closing is not the storm's: what is open may say so. */
	sim_finish(sim);
	if (storm.node_count != 0)
		world_fail(&sim->world, "%u scopes did not end", storm.node_count);
}

const struct scenario SCENARIO_SCOPES = {
	.name = "scopes", .share = 4, .run = scopes_scenario,
	.sentence = "trees of scopes with operations and timers, closed at any moment",
};
