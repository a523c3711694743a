/* tests/sim/sim.c — see sim.h. */
#include "tests/sim/sim.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#define TURNS_MAX 2000000u

void sim_init(struct sim *sim, const char *scenario, uint64_t seed, bool trace)
{
	memset(sim, 0, sizeof *sim);
	world_init(&sim->world, scenario, seed, trace);
	sim->world.owner = sim;
}

void sim_open(struct sim *sim, unsigned cores, unsigned buffers, uint64_t chunks_max)
{
	check(cores <= WORLD_CORES_MAX);
	/* A scenario may have brought cores of its own, which lie in something larger. */
	for (unsigned i = 0; i < cores; i++) {
		if (!sim->all[i])
			sim->all[i] = &sim->core[i];
	}
	sim->cores = (struct cores){ .count = cores, .all = sim->all };
	for (unsigned i = 0; i < cores; i++) {
		struct world_fault fault = { .magic = WORLD_FAULT_MAGIC, .world = &sim->world };
		const struct core_options options = {
			.index = i, .cores = &sim->cores, .buffer_count = buffers, .chunks_max = chunks_max,
		};

		check(core_open(sim->all[i], &options, &fault.fault));
	}
}

static bool core_may_turn(const struct sim *sim, unsigned i)
{
	const struct kernel *kernel = sim->all[i]->kernel;

	return !sim->ended[i] &&
	       (kernel_has_completions(kernel) || kernel_sleeps_until(kernel) <= sim->world.now_ns);
}

static void turn(struct sim *sim, unsigned i)
{
	struct world *world = &sim->world;

	if (++sim->turns > TURNS_MAX)
		world_fail(world, "the run goes on and on: %u turns", TURNS_MAX);
	kernel_wakes(sim->all[i]->kernel);
	if (sim->on_core)
		sim->on_core(sim, i);
	if (!core_turn(sim->all[i], dice_chance(&world->dice, 95)))
		sim->ended[i] = true;
	/* A turn takes some microseconds; now and then the thread is not scheduled for a while. */
	world->now_ns += dice_chance(&world->dice, 2) ? dice_below(&world->dice, 30 * WORLD_MS)
	                                              : dice_between(&world->dice, 1000, 50000);
}

/* True when a core has turned. */
static bool turn_one(struct sim *sim)
{
	unsigned may[WORLD_CORES_MAX], count = 0, live[WORLD_CORES_MAX], live_count = 0;

	for (unsigned i = 0; i < sim->cores.count; i++) {
		if (core_may_turn(sim, i))
			may[count++] = i;
		if (!sim->ended[i])
			live[live_count++] = i;
	}
	if (count > 0) {
		turn(sim, may[dice_below(&sim->world.dice, count)]);
		return true;
	}
	/* A sleeping core may be woken by nothing: a signal, or an announcement that it had already acted upon. */
	if (live_count > 0 && dice_chance(&sim->world.dice, sim->world.habits.early_return)) {
		turn(sim, live[dice_below(&sim->world.dice, live_count)]);
		return true;
	}
	return false;
}

bool sim_run(struct sim *sim, bool (*done)(struct sim *))
{
	struct world *world = &sim->world;
	unsigned idle = 0;

	for (;;) {
		uint64_t next_ns;

		world_run(world);
		if (done && done(sim))
			return true;
		if (turn_one(sim)) {
			idle = 0;
			continue;
		}
		next_ns = world_next_ns(world);
		for (unsigned i = 0; i < sim->cores.count; i++) {
			if (!sim->ended[i] && kernel_sleeps_until(sim->all[i]->kernel) < next_ns)
				next_ns = kernel_sleeps_until(sim->all[i]->kernel);
		}
		if (next_ns == UINT64_MAX)
			return false;
		if (next_ns > world->now_ns) {
			world->now_ns = next_ns;
			idle = 0;
		}
		check(idle++ < 10000);
	}
}

static bool all_ended(struct sim *sim)
{
	for (unsigned i = 0; i < sim->cores.count; i++) {
		if (!sim->ended[i])
			return false;
	}
	return true;
}

static void same(struct sim *sim, unsigned core, const char *what, uint64_t a, uint64_t b)
{
	if (a != b)
		world_fail(&sim->world, "core %u at the end: %s: %llu and %llu", core, what, (unsigned long long)a,
		           (unsigned long long)b);
}

void sim_finish(struct sim *sim)
{
	struct world *world = &sim->world;

	world_trace(world, "the roots close after %llu turns", (unsigned long long)sim->turns);
	for (unsigned i = 0; i < sim->cores.count; i++)
		scope_close(&sim->all[i]->root, &RING_DRAINED);
	/* A core that sleeps is not woken by a close from outside; in the program a signal or a message does that. */
	for (unsigned i = 0; i < sim->cores.count; i++)
		kernel_wakes(sim->all[i]->kernel);
	if (!sim_run(sim, all_ended))
		world_fail(world, "the root scope does not end");
	for (unsigned i = 0; i < sim->cores.count; i++) {
		struct core *core = sim->all[i];

		same(sim, i, "ops started and ended", stat_read(&core->stats.ops_started), stat_read(&core->stats.ops_ended));
		same(sim, i, "ops live", stat_read(&core->stats.ops_live), 0);
		same(sim, i, "scopes opened and ended", stat_read(&core->stats.scopes_opened),
		     stat_read(&core->stats.scopes_ended));
		same(sim, i, "chunks out and lent", chunk_pool_out(&core->pool), kernel_lent(core->kernel));
		same(sim, i, "chunks out and lent, by its own count", stat_read(&core->stats.chunks_out),
		     stat_read(&core->stats.chunks_lent));
		same(sim, i, "timers set", core->wheel.count, 0);
		if (!kernel_idle(core->kernel))
			world_fail(world, "core %u at the end: the kernel still works for it", i);
	}
	for (unsigned i = 0; i < sim->cores.count; i++)
		core_close(sim->all[i]);
	same(sim, 0, "descriptors opened and closed", world->fds_opened, world->fds_closed);
	if (!link_alone(&world->actors))
		world_fail(world, "an actor was left behind");
	world_fini(world);
}

static void rests(struct sim *sim, const char *which, const char *rule, bool kept)
{
	if (!kept)
		world_fail(&sim->world, "a quiet core with work left: %s: %s", which, rule);
}

void sim_tcp_rests(struct sim *sim, const struct tcp *t, const char *which)
{
	bool sends;

	if (!scope_live(t->scope))
		return;
	rests(sim, which, "a completed send was not looked at", !t->send_noted);
	if (t->fd < 0)
		return;
	rests(sim, which, "a connect is not under way", !t->connecting || !op_idle(&t->send));
	if (t->connecting)
		return;
	sends = !op_idle(&t->send);
	if (!t->out->refusal) {
		rests(sim, which, "bytes wait and no send is under way", sends || (t->out->bytes == 0 && t->lent_count == 0));
		rests(sim, which, "the end of `out` was not sent", sends || !t->out->ended || t->fin_sent);
	}
	if (!t->receive_ended && !t->in->ended && pipe_free(t->in) > 0 && op_idle(&t->receive)) {
		rests(sim, which, "`in` has room and nothing receives", !link_alone(&t->starve.in_starved));
		rests(sim, which, "it starves although there are buffers", !core_has_buffers(t->core));
	}
}

void sim_address(struct sockaddr_in *address, unsigned port)
{
	memset(address, 0, sizeof *address);
	address->sin_family = AF_INET;
	address->sin_port = htons((uint16_t)port);
	address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
}
