/* tests/sim/pipes.c — bytes through a chain of pipes, with tasks that pause, and every call a pipe has.
 *
 *   source task ─▶ pipe ─▶ (mover task) ─▶ pipe ─▶ … ─▶ sink task
 *
 * What arrives is what was written, in order, then the end or the break that was given, and never a moment in which a core
 * sleeps while somebody could go on. Memory stays within about four times the bytes. */
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

#define PIPES_MAX 4u

struct stage {
	struct pipes *all;
	unsigned index;                  /* reads pipe[index - 1], writes pipe[index] */
	struct task task;
	struct timer pause;
};

struct pipes {
	struct sim *sim;
	struct scope scope;
	struct pipe pipe[PIPES_MAX];
	unsigned count;                  /* of pipes; stages are one more */
	struct stage stage[PIPES_MAX + 1];
	uint64_t total, written, read;
	uint64_t refuse_at;              /* the sink refuses after so many bytes; UINT64_MAX: never */
	const struct reason *break_with; /* NULL: a clean end */
	unsigned pause_percent;
	bool source_done, sink_done, refused;
};

static const struct reason PIPES_BROKEN = { "pipes_broken", "the source broke off" };
static const struct reason PIPES_REFUSED = { "pipes_refused", "the sink has had enough" };

static void pipes_ended(struct scope *scope)
{
	struct pipes *p = owner_of(scope, struct pipes, scope);

	for (unsigned i = 0; i < p->count; i++) {
		pipe_fini(&p->pipe[i]);
		pipe_fini(&p->pipe[i]);
	}
}

static const struct scope_kind pipes_kind = { .name = "pipes", .ended = pipes_ended };

static bool pauses(struct stage *stage)
{
	struct dice *dice = sim_dice(stage->all->sim);

	if (stage->pause.set)
		return true;
	if (!dice_chance(dice, stage->all->pause_percent))
		return false;
	timer_set(&stage->pause, dice_scaled(dice, 1, 100));
	return true;
}

/* ---- the source ---------------------------------------------------------------------------------------------------------- */

static void source_write(struct pipes *p, struct pipe *to, uint64_t most)
{
	struct world *world = &p->sim->world;
	struct dice *dice = &world->dice;
	uint64_t n = dice_between(dice, 1, most);
	uint8_t bytes[4096];
	struct chunk *chunk;
	uint8_t *room;
	size_t size;

	switch (dice_below(dice, 3)) {
	case 0:
		n = n < sizeof bytes ? n : sizeof bytes;
		world_pattern(world, 1, p->written, bytes, n);
		pipe_write(to, bytes, n);
		break;
	case 1:
		room = pipe_room(to, dice_scaled(dice, 1, CHUNK_BYTES), &size);
		n = n < size ? n : size;
		world_pattern(world, 1, p->written, room, n);
		/* Sometimes the room is left unused, and not even that is said. */
		if (dice_chance(dice, 10)) {
			if (dice_chance(dice, 50))
				pipe_commit(to, 0);
			return;
		}
		pipe_commit(to, n);
		break;
	case 2:
		chunk = chunk_take(to->pool);
		n = n < CHUNK_BYTES - 10 ? n : CHUNK_BYTES - 10;
		chunk->begin = (uint32_t)dice_below(dice, 10);
		chunk->end = chunk->begin + (uint32_t)n;
		world_pattern(world, 1, p->written, chunk->bytes + chunk->begin, n);
		pipe_put(to, chunk);
		break;
	}
	p->written += n;
}

static void source_step(struct task *task)
{
	struct stage *stage = owner_of(task, struct stage, task);
	struct pipes *p = stage->all;
	struct pipe *to = &p->pipe[0];

	if (p->source_done || pauses(stage))
		return;
	for (unsigned budget = 3; budget > 0 && p->written < p->total && pipe_free(to) > 0; budget--) {
		uint64_t left = p->total - p->written;

		source_write(p, to, left < pipe_free(to) ? left : pipe_free(to));
	}
	if (p->written == p->total) {
		if (p->break_with)
			pipe_break(to, p->break_with);
		pipe_end(to);
		p->source_done = true;
		check(pipe_free(to) == 0 || to->refusal);
	} else if (pipe_free(to) > 0) {
		task_wake(task);
	}
}

/* ---- the movers ---------------------------------------------------------------------------------------------------------- */

static void mover_step(struct task *task)
{
	struct stage *stage = owner_of(task, struct stage, task);
	struct pipe *from = &stage->all->pipe[stage->index - 1], *to = &stage->all->pipe[stage->index];
	struct dice *dice = sim_dice(stage->all->sim);

	if (pauses(stage))
		return;
	if (to->refusal && !from->refusal)
		pipe_refuse(from, to->refusal);
	if (from->bytes > 0 && pipe_free(to) > 0) {
		uint64_t before = from->bytes;
		uint64_t n = dice_between(dice, 1, pipe_free(to));
		uint64_t moved = pipe_move(to, from, n);

		check(moved == (n < before ? n : before) && from->bytes == before - moved);
	}
	if (pipe_at_end(from) && !to->ended) {
		if (from->reason)
			pipe_break(to, from->reason);
		else
			pipe_end(to);
	}
	if (from->bytes > 0 && pipe_free(to) > 0)
		task_wake(task);
}

/* ---- the sink ------------------------------------------------------------------------------------------------------------- */

static void sink_see(struct pipes *p, const uint8_t *bytes, size_t n)
{
	if (!world_pattern_is(&p->sim->world, 1, p->read, bytes, n))
		world_fail(&p->sim->world, "wrong bytes at %llu", (unsigned long long)p->read);
	p->read += n;
}

static void sink_read(struct pipes *p, struct pipe *from)
{
	struct dice *dice = sim_dice(p->sim);
	struct chunk *chunk;
	uint8_t *bytes;
	size_t n;

	if (dice_chance(dice, 50)) {
		bytes = pipe_peek(from, &n);
		if (n == 0)
			world_fail(&p->sim->world, "a pipe with %llu bytes shows none", (unsigned long long)from->bytes);
		n = dice_between(dice, 1, n);
		sink_see(p, bytes, n);
		pipe_consume(from, n);
		return;
	}
	chunk = pipe_take(from);
	sink_see(p, chunk->bytes + chunk->begin, chunk_size(chunk));
	chunk_put(from->pool, chunk);
}

static void sink_step(struct task *task)
{
	struct stage *stage = owner_of(task, struct stage, task);
	struct pipes *p = stage->all;
	struct pipe *from = &p->pipe[p->count - 1];

	if (p->sink_done || pauses(stage))
		return;
	for (unsigned budget = 3; budget > 0 && from->bytes > 0; budget--)
		sink_read(p, from);
	if (p->read >= p->refuse_at && !p->refused) {
		pipe_refuse(from, &PIPES_REFUSED);
		p->refused = true;
		check(from->bytes == 0);
	}
	if (pipe_at_end(from)) {
		size_t n;

		check(!pipe_peek(from, &n) && n == 0 && !pipe_take(from));
		p->sink_done = true;
	} else if (from->bytes > 0) {
		task_wake(task);
	}
}

/* ---- the run ---------------------------------------------------------------------------------------------------------------- */

static void pipes_sleeps(struct world *world, unsigned core)
{
	struct pipes *p = ((struct sim *)world->owner)->scenario;
	uint64_t bytes = 0;

	(void)core;
	if (!scope_live(&p->scope))
		return;
	for (unsigned i = 0; i < p->count; i++) {
		struct pipe *pipe = &p->pipe[i];
		const struct stage *reader = &p->stage[i + 1];
		bool last = i + 1 == p->count;

		bytes += pipe->bytes;
		/* The first pipe may keep room that was asked for and not used. */
		if (i > 0 && pipe->bytes == 0 && (pipe->first || pipe->last))
			world_fail(world, "an empty pipe holds a chunk");
		if (!reader->pause.set && pipe->bytes > 0 && (last || pipe_free(&p->pipe[i + 1]) > 0))
			world_fail(world, "a quiet core with work left: pipe %u has a reader who could read", i);
		if (!reader->pause.set && pipe_at_end(pipe) && (last ? !p->sink_done : !p->pipe[i + 1].ended))
			world_fail(world, "a quiet core with work left: the reader of pipe %u did not see its end", i);
	}
	if (!p->stage[0].pause.set && !p->source_done && pipe_free(&p->pipe[0]) > 0)
		world_fail(world, "a quiet core with work left: the source could write");
	/* About four times the bytes (ring/pipe.h), but the ends of a pipe may be small. */
	if (chunk_pool_out(&p->scope.core->pool) - kernel_lent(p->scope.core->kernel) >
	    bytes / (CHUNK_BYTES / 4 - 512) + 3 * p->count)
		world_fail(world, "%llu bytes in the pipes keep %llu chunks", (unsigned long long)bytes,
		           (unsigned long long)chunk_pool_out(&p->scope.core->pool) - kernel_lent(p->scope.core->kernel));
}

static bool pipes_done(struct sim *sim)
{
	struct pipes *p = sim->scenario;

	return p->source_done && p->sink_done;
}

static void pipes_scenario(struct sim *sim)
{
	struct pipes p = { .sim = sim };
	struct dice *dice = sim_dice(sim);

	sim_open(sim, 1, 2, 64);
	sim->scenario = &p;
	sim->world.sleeps = pipes_sleeps;
	p.count = (unsigned)dice_between(dice, 1, PIPES_MAX);
	p.total = dice_chance(dice, 70) ? dice_between(dice, 20000, 300000) : dice_scaled(dice, 0, 20000);
	p.refuse_at = dice_chance(dice, 20) ? dice_below(dice, p.total + 1) : UINT64_MAX;
	p.break_with = dice_chance(dice, 30) ? &PIPES_BROKEN : NULL;
	p.pause_percent = (unsigned)dice_scaled(dice, 0, 30);
	scope_open(&p.scope, &sim->core[0].root, &pipes_kind);
	for (unsigned i = 0; i < p.count; i++) {
		uint64_t bytes_max = dice_chance(dice, 50)
			? dice_between(dice, 1000, 2 * PIPE_BYTES_MAX) : dice_scaled(dice, 1, 2 * PIPE_BYTES_MAX);

		/* A chain of single bytes is as true with few of them. */
		if (bytes_max < 100 && p.total > 3000)
			p.total %= 3000;
		pipe_init(&p.pipe[i], &sim->core[0].pool, bytes_max);
	}
	for (unsigned i = 0; i <= p.count; i++) {
		struct stage *stage = &p.stage[i];

		stage->all = &p;
		stage->index = i;
		task_init(&stage->task, &p.scope, "stage", i == 0 ? source_step : i == p.count ? sink_step : mover_step);
		timer_init(&stage->pause, &p.scope, &stage->task);
		if (i > 0)
			p.pipe[i - 1].reader = &stage->task;
		if (i < p.count)
			p.pipe[i].writer = &stage->task;
		task_wake(&stage->task);
	}
	if (!sim_run(sim, pipes_done))
		world_fail(&sim->world, "nothing moves any more: %llu of %llu written, %llu read", (unsigned long long)p.written,
		           (unsigned long long)p.total, (unsigned long long)p.read);
	world_trace(&sim->world, "%llu bytes went through %u pipes", (unsigned long long)p.read, p.count);
	if (!p.refused && p.read != p.total)
		world_fail(&sim->world, "%llu bytes written, %llu read", (unsigned long long)p.total, (unsigned long long)p.read);
	if (!p.refused && p.pipe[p.count - 1].reason != p.break_with)
		world_fail(&sim->world, "the reason did not come through the pipes");
	sim_finish(sim);
}

const struct scenario SCENARIO_PIPES = {
	.name = "pipes", .share = 2, .run = pipes_scenario,
	.sentence = "bytes through a chain of pipes, with every call a pipe has",
};
