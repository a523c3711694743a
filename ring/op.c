/* Operations and their names towards the kernel.
 *
 * A start or a cancel only queues the op; ops_flush, at the end of the turn, is the one place that writes submission
 * entries. So a start cannot fail or complete inside itself, and what is cancelled before the kernel heard of it simply
 * completes with -ECANCELED.
 *
 * user_data = kind (8) | slot (24) | generation (32). The generation of a slot rises with every arm, so a late completion,
 * and above all a late link timeout, of an earlier arm finds nothing. */
#include "ring/op.h"
#include "ring/core.h"
#include "ring/loop.h"

#include <errno.h>
#include <stdlib.h>

#define SLOT_NONE UINT32_MAX
#define SLOTS_FIRST 256u
#define SLOTS_MAX (1u << 24)
#define KIND_OP 1u

static uint64_t user_data_of(const struct op *op)
{
	return (uint64_t)KIND_OP << 56 | (uint64_t)op->slot << 32 | op->scope->core->slots[op->slot].generation;
}

static void slots_grow(struct core *core)
{
	uint32_t count = core->slot_count ? core->slot_count * 2 : SLOTS_FIRST;
	struct op_slot *slots;

	check(count <= SLOTS_MAX);
	slots = realloc(core->slots, count * sizeof *slots);
	check(slots);
	core->slots = slots;
	for (uint32_t i = count; i-- > core->slot_count;) {
		slots[i] = (struct op_slot){ .next_free = core->slot_free };
		core->slot_free = i;
	}
	core->slot_count = count;
}

static void slot_take(struct op *op)
{
	struct core *core = op->scope->core;

	if (core->slot_free == SLOT_NONE)
		slots_grow(core);
	op->slot = core->slot_free;
	core->slot_free = core->slots[op->slot].next_free;
	core->slots[op->slot].op = op;
	core->slots[op->slot].generation++;
}

static void slot_put(struct core *core, uint32_t slot)
{
	core->slots[slot].op = NULL;
	core->slots[slot].next_free = core->slot_free;
	core->slot_free = slot;
}

void ops_fini(struct core *core)
{
	free(core->slots);
	core->slots = NULL;
	core->slot_count = 0;
	core->slot_free = SLOT_NONE;
}

void op_init(struct op *op, struct scope *scope, const char *name, op_done *done)
{
	*op = (struct op){ .scope = scope, .name = name, .done = done, .slot = SLOT_NONE };
	link_init(&op->in_scope);
	link_init(&op->in_queue);
}

static void start(struct op *op)
{
	struct core *core = op->scope->core;

	check(op_idle(op) && scope_live(op->scope));
	op->state = OP_STARTING;
	op->cancelled = false;
	op->armed_ns = core->now_ns;
	link_put_last(&op->scope->ops, &op->in_scope);
	stat_add(&core->stats.ops_started, 1);
	stat_add(&core->stats.ops_live, 1);
}

void op_start(struct op *op)
{
	start(op);
	link_put_last(&op->scope->core->queue, &op->in_queue);
}

void op_start_first(struct op *op)
{
	start(op);
	link_put_first(&op->scope->core->queue, &op->in_queue);
}

void op_cancel(struct op *op)
{
	if (op_idle(op) || op->cancelled)
		return;
	op->cancelled = true;
	if (link_alone(&op->in_queue))
		link_put_last(&op->scope->core->queue, &op->in_queue);
}

/* The last completion of an arm. The scope may be due to end now. */
static void op_ended(struct op *op)
{
	struct core *core = op->scope->core;

	if (op->slot != SLOT_NONE)
		slot_put(core, op->slot);
	op->slot = SLOT_NONE;
	op->state = OP_IDLE;
	link_remove(&op->in_queue);
	link_remove(&op->in_scope);
	stat_add(&core->stats.ops_ended, 1);
	stat_add(&core->stats.ops_live, (uint64_t)-1);
}

bool ops_flush(struct core *core)
{
	struct link *link;

	while (!link_alone(&core->queue)) {
		struct op *op = owner_of(core->queue.next, struct op, in_queue);

		/* A request and its linked timeout are written together or not at all. */
		if (kernel_room(core->kernel) < 2)
			return true;
		link = link_take_first(&core->queue);
		check(link == &op->in_queue);
		if (op->state == OP_LIVE) {
			check(op->cancelled);
			kernel_cancel(core->kernel, user_data_of(op));
		} else if (op->cancelled) {
			const struct completion completion = { .result = -ECANCELED };
			struct scope *scope = op->scope;

			op_ended(op);
			op->done(op, &completion);
			scope_check_ended(scope);
		} else {
			slot_take(op);
			op->state = OP_LIVE;
			kernel_start(core->kernel, &op->request, user_data_of(op));
		}
	}
	return false;
}

static uint32_t slot_of(uint64_t user_data)
{
	return user_data >> 32 & (SLOTS_MAX - 1);
}

void op_expect(const struct core *core, const struct kernel_completion *completion)
{
	uint32_t slot = slot_of(completion->user_data);
	const struct op *op;

	if (completion->user_data >> 56 != KIND_OP || slot >= core->slot_count || !(op = core->slots[slot].op))
		return;
	__builtin_prefetch(op);
	__builtin_prefetch(&op->state);
}

void op_completed(struct core *core, const struct kernel_completion *from)
{
	uint32_t slot = slot_of(from->user_data);
	struct completion completion = { .result = from->result, .more = from->more };
	struct scope *scope;
	struct op *op;

	if (from->user_data >> 56 != KIND_OP)
		return;
	check(slot < core->slot_count);
	op = core->slots[slot].op;
	/* Every completion of an arm comes before its slot is given to another: the last one frees it. */
	check(op && core->slots[slot].generation == (uint32_t)from->user_data);
	if (from->has_buffer)
		completion.chunk = core_take_received(core, from->buffer, from->result > 0 ? (uint32_t)from->result : 0);
	scope = op->scope;
	if (!from->more)
		op_ended(op);
	op->done(op, &completion);
	if (!from->more)
		scope_check_ended(scope);
}
