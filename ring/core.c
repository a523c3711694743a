/* The loop. Read core_turn first. */
#include "ring/core.h"
#include "ring/loop.h"

#include <stdlib.h>

#define CORE_MAGIC 0xc04ec04eu
#define COMPLETIONS_AT_ONCE 256u
#define NS_PER_MS 1000000u
#define STARVED_LOOK_MS 500u
#define MAIL_RETRY_MS 1u
#define LEND_LEAST_PART 8u              /* of all buffers: 32 of 256 are what a second-level cache of 512 KiB holds */
#define LEND_WINDOW 256u                 /* buffers received before their number is thought over */
#define TRIM_AFTER_MS 5000u
#define TRIM_KEEP_CHUNKS 512u

static const struct scope_kind root_kind = { .name = "core" };

static void core_clock(struct core *core)
{
	core->now_ns = kernel_now_ns(core->kernel);
	core->now_ms = core->now_ns / NS_PER_MS;
}

/* ---- memory to receive into -------------------------------------------------------------------------------------- */

static unsigned lend_least(const struct core *core)
{
	return core->buffer_count < LEND_LEAST_PART ? 1 : core->buffer_count / LEND_LEAST_PART;
}

/* The kernel takes lent buffers in turn, so each is as cold as there are many of them: with more than are needed a long body goes
 * through memory that the cache has lost. Too few cost more: who finds none must ask again, and then has one piece to send
 * where it would have had four. So more are lent when more than an eighth found none, and fewer when hardly anybody did. */
static void core_lend_fit(struct core *core)
{
	if (core->received_lately < LEND_WINDOW)
		return;
	if (core->starved_lately > core->received_lately / 8 && core->lend_most < core->buffer_count)
		core->lend_most *= 2;
	else if (core->starved_lately < core->received_lately / 64 && core->lend_most > lend_least(core))
		core->lend_most /= 2;
	core->received_lately = core->starved_lately = 0;
}

/* Fresh chunks for the ids that came back, unless the pool's bound says that enough is out: then receiving stops until
 * something has been sent or dropped. */
static void core_lend(struct core *core)
{
	struct chunk_pool *pool = &core->pool;

	core_lend_fit(core);
	while (core->buffer_count - core->returned_count < core->lend_most && chunk_pool_out(pool) < pool->count_max + core->buffer_count) {
		uint16_t id = core->returned[--core->returned_count];
		struct chunk *chunk = chunk_take(pool);

		core->lent[id] = chunk;
		kernel_buffer_lend(core->kernel, id, chunk->bytes, CHUNK_BYTES);
	}
}

struct chunk *core_take_received(struct core *core, uint16_t buffer, uint32_t size)
{
	struct chunk *chunk;

	check(buffer < core->buffer_count && core->lent[buffer] && size <= CHUNK_BYTES);
	chunk = core->lent[buffer];
	core->lent[buffer] = NULL;
	core->returned[core->returned_count++] = buffer;
	core->received_lately++;
	chunk->begin = 0;
	chunk->end = size;
	return chunk;
}

bool core_has_buffers(const struct core *core)
{
	return core->returned_count < core->buffer_count;
}

void core_starve(struct core *core, struct core_starve *starve)
{
	stat_add(&core->stats.starved, 1);
	core->starved_lately++;
	if (link_alone(&starve->in_starved))
		link_put_last(&core->starved, &starve->in_starved);
}

/* As many as there are buffers, first come first served; the others would only find none again. But all are looked at now and
 * then: if what is out of the pool belongs to them alone, nobody else will ever give a buffer back, and only the end of
 * somebody's patience can (ring/tcp.c). */
static void core_feed_starved(struct core *core)
{
	if (core->now_ms >= core->starved_due_ms) {
		core->starved_due_ms = core->now_ms + STARVED_LOOK_MS;
		for (struct link *link = core->starved.next; link != &core->starved; link = link->next)
			task_wake(owner_of(link, struct core_starve, in_starved)->wakes);
	}
	for (unsigned n = core->buffer_count - core->returned_count; n > 0; n--) {
		struct link *link = link_take_first(&core->starved);

		if (!link)
			return;
		task_wake(owner_of(link, struct core_starve, in_starved)->wakes);
	}
}

/* ---- the alarm ------------------------------------------------------------------------------------------------------ */

void core_alarm(struct core *core, uint64_t due_ns, struct task *wakes)
{
	core->alarm_ns = due_ns;
	core->alarm_wakes = wakes;
}

static void core_ring_alarm(struct core *core)
{
	if (core->now_ns < core->alarm_ns)
		return;
	core->alarm_ns = UINT64_MAX;
	task_wake(core->alarm_wakes);
}

/* ---- opening and closing ----------------------------------------------------------------------------------------- */

bool core_open(struct core *core, const struct core_options *options, struct kernel_fault *fault)
{
	*core = (struct core){
		.index = options->index,
		.cores = options->cores,
		.buffer_count = options->buffer_count,
		.slot_free = UINT32_MAX,
		.alarm_ns = UINT64_MAX,
	};
	core->kernel = kernel_open(options->buffer_count, fault);
	if (!core->kernel)
		return false;
	core->magic = CORE_MAGIC;
	core->lend_most = lend_least(core);
	core_clock(core);
	link_init(&core->run);
	link_init(&core->later);
	link_init(&core->queue);
	link_init(&core->ended);
	link_init(&core->starved);
	chunk_pool_init(&core->pool, options->chunks_max);
	timer_wheel_init(&core->wheel, core->now_ms);
	mailbox_init(&core->mailbox, options->cores->count);
	core->lent = calloc(core->buffer_count, sizeof *core->lent);
	core->returned = calloc(core->buffer_count, sizeof *core->returned);
	check(core->lent && core->returned);
	for (unsigned id = core->buffer_count; id-- > 0;)
		core->returned[core->returned_count++] = (uint16_t)id;
	core_lend(core);
	scope_open_root(&core->root, core, &root_kind, __FILE__ ":" SCOPE_SITE_LINE(__LINE__));
	return true;
}

void core_close(struct core *core)
{
	check(core->magic == CORE_MAGIC && core->root.state == SCOPE_ENDED);
	check(stat_read(&core->stats.ops_live) == 0 && core->wheel.count == 0);
	kernel_close(core->kernel);
	for (unsigned id = 0; id < core->buffer_count; id++)
		if (core->lent[id])
			chunk_put(&core->pool, core->lent[id]);
	chunk_pool_fini(&core->pool);
	mailbox_fini(&core->mailbox);
	ops_fini(core);
	free(core->lent);
	free(core->returned);
	core->magic = 0;
}

/* ---- the turn ------------------------------------------------------------------------------------------------------ */

static void core_complete(struct core *core)
{
	struct kernel_completion completions[COMPLETIONS_AT_ONCE];
	unsigned n;

	do {
		n = kernel_reap(core->kernel, completions, COMPLETIONS_AT_ONCE);
		/* Each is about another connection, whose memory has left the near caches since it was last heard of: it is fetched
		 * while those before it are looked at. */
		for (unsigned i = 0; i < n; i++) {
			if (i + 4 < n)
				op_expect(core, &completions[i + 4]);
			op_completed(core, &completions[i]);
		}
	} while (n == COMPLETIONS_AT_ONCE);
}

static void core_end_scopes(struct core *core)
{
	struct link *link;

	while ((link = link_take_first(&core->ended)))
		scope_run_ended(owner_of(link, struct scope, in_ended));
}

/* Tasks, and the scopes that they close, whose ends may wake tasks again: until nothing is left or the budget is spent, because
 * what is done now costs no further entry into the kernel. */
static void core_step(struct core *core)
{
	unsigned steps = 0;

	while (steps < TURN_STEPS_MAX) {
		struct link *link = link_take_first(&core->run);
		struct task *task;

		if (!link) {
			if (link_alone(&core->ended))
				break;
			core_end_scopes(core);
			continue;
		}
		task = owner_of(link, struct task, in_run);
		task->step(task);
		steps++;
	}
	/* Also when tasks never cease: descriptors and memory must come back under the load that needs them. */
	core_end_scopes(core);
	stat_add(&core->stats.steps, steps);
}

static void core_note(struct core *core)
{
	struct core_stats *stats = &core->stats;

	atomic_store_explicit(&stats->chunks_total, core->pool.total_count, memory_order_relaxed);
	atomic_store_explicit(&stats->chunks_out, chunk_pool_out(&core->pool), memory_order_relaxed);
	atomic_store_explicit(&stats->chunks_lent, core->buffer_count - core->returned_count, memory_order_relaxed);
	atomic_store_explicit(&stats->chunk_takes, core->pool.takes, memory_order_relaxed);
	stat_add(&stats->turns, 1);
}

/* After a storm the pool holds what the storm needed. What has not been used for a while gives its pages back: that is what was
 * idle at the busiest moment of that while. */
static void core_trim(struct core *core)
{
	const uint64_t warm_count = chunk_pool_warm(&core->pool);

	if (warm_count <= 2 * TRIM_KEEP_CHUNKS) {
		core->trim_at_ms = 0;
		return;
	}
	if (core->trim_at_ms == 0) {
		core->trim_at_ms = core->now_ms + TRIM_AFTER_MS;
		core->warm_least_count = warm_count;
	}
	if (warm_count < core->warm_least_count)
		core->warm_least_count = warm_count;
	if (core->now_ms >= core->trim_at_ms) {
		chunk_pool_trim(&core->pool, warm_count - (core->warm_least_count - TRIM_KEEP_CHUNKS));
		core->trim_at_ms = 0;
	}
}

static uint64_t lesser(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t core_wait_ns(const struct core *core)
{
	uint64_t ms = timer_wheel_next_ms(&core->wheel, core->now_ms);
	uint64_t alarm_ns = UINT64_MAX;

	if (core->trim_at_ms > 0)
		ms = lesser(ms, core->trim_at_ms - core->now_ms);
	if (!link_alone(&core->starved))
		ms = lesser(ms, core->starved_due_ms - core->now_ms);
	if (mailbox_waits(core))
		ms = lesser(ms, MAIL_RETRY_MS);
	if (core->alarm_ns != UINT64_MAX)
		alarm_ns = core->alarm_ns > core->now_ns ? core->alarm_ns - core->now_ns : 0;

	return lesser(alarm_ns, ms == UINT64_MAX ? UINT64_MAX : ms * NS_PER_MS);
}

bool core_turn(struct core *core, bool wait)
{
	bool busy;

	check(core->magic == CORE_MAGIC);
	core_clock(core);
	core_complete(core);
	timer_wheel_run(&core->wheel, core->now_ms);
	core_ring_alarm(core);
	mailbox_deliver(core);
	core_lend(core);
	core_feed_starved(core);
	link_move_all(&core->run, &core->later);
	core_step(core);
	if (core->root.state == SCOPE_ENDED) {
		/* What the last turn posted is announced, or the others would sleep on it. */
		mailbox_flush(core);
		kernel_enter(core->kernel, 0);
		core_note(core);
		return false;
	}
	core_lend(core);
	core_trim(core);
	/* Where the submission queue was too small the rest goes with the next turn, which then does not sleep. */
	busy = ops_flush(core);
	busy |= mailbox_flush(core);
	busy |= !link_alone(&core->run) || !link_alone(&core->later) || !link_alone(&core->ended);
	busy |= !link_alone(&core->starved) && core_has_buffers(core);
	core_note(core);
	stat_add(&core->stats.enters, 1);
	kernel_enter(core->kernel, busy || !wait ? 0 : core_wait_ns(core));
	return true;
}

void core_run(struct core *core)
{
	while (core_turn(core, true)) {
	}
}
