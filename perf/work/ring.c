/* perf/work/ring.c — timers, pipes, mail and scopes, as far as they go without the kernel. */
#include "perf/work/work.h"
#include "ring/loop.h"
#include "ring/pipe.h"

#include <stdlib.h>
#include <string.h>

static struct core *all[2];
static const struct cores cores = { .count = 2, .all = all };
static struct timer timer;
static struct pipe from, to;
static struct message message;
static struct task task;
static unsigned delivered;
static uint8_t bytes[1024];

static const struct scope_kind kind = { .name = "work" };
static const struct reason OVER = { "over", "the work is over" };

static void no_step(struct task *unused)
{
	(void)unused;
}

static void message_came(struct core *core, struct message *came)
{
	(void)core;
	check(came == &message);
	delivered++;
}

/* Two cores without a kernel: what is asked of it would stop the process. */
static void prepare(void)
{
	for (unsigned i = 0; i < 2; i++) {
		struct core *core = aligned_alloc(64, (sizeof *core + 63) / 64 * 64);

		check(core);
		memset(core, 0, sizeof *core);
		core->index = i;
		core->cores = &cores;
		core->now_ms = 1000000;
		link_init(&core->run);
		link_init(&core->later);
		link_init(&core->queue);
		link_init(&core->ended);
		timer_wheel_init(&core->wheel, core->now_ms);
		chunk_pool_init(&core->pool, 1000);
		mailbox_init(&core->mailbox, 2);
		scope_open_root(&core->root, core, &kind, "here");
		all[i] = core;
	}
	task_init(&task, &all[0]->root, "task", no_step);
	timer_init(&timer, &all[0]->root, &task);
	pipe_init(&from, &all[0]->pool, PIPE_BYTES_MAX);
	pipe_init(&to, &all[0]->pool, PIPE_BYTES_MAX);
	to.reader = &task;
	message.deliver = message_came;
}

static void timer_unit(void)
{
	timer_set(&timer, 75000);
	timer_clear(&timer);
}

static void pipe_copy_unit(void)
{
	size_t n;

	pipe_write(&from, bytes, sizeof bytes);
	check(pipe_peek(&from, &n) && n == sizeof bytes);
	pipe_consume(&from, n);
}

/* A chunk as it comes from a socket, through a pipe that a task reads, and out again as it goes to one. */
static void pipe_chunk_unit(void)
{
	struct chunk *chunk = chunk_take(&all[0]->pool);

	chunk->end = 16384;
	pipe_put(&from, chunk);
	check(pipe_move(&to, &from, UINT64_MAX) == 16384);
	chunk = pipe_take(&to);
	chunk_put(&all[0]->pool, chunk);
	link_remove(&task.in_run);
}

static void mail_unit(void)
{
	const unsigned before = delivered;

	core_post(all[0], 1, &message);
	mailbox_deliver(all[1]);
	check(delivered == before + 1);
}

/* A connection's lifetime, without its memory: a scope with a deadline and a task, closed and ended. */
static void scope_unit(void)
{
	struct scope scope;
	struct task step;

	scope_open(&scope, &all[0]->root, &kind);
	task_init(&step, &scope, "step", no_step);
	scope_deadline(&scope, 60000, &OVER);
	task_wake(&step);
	scope_close(&scope, &OVER);
	check(!link_alone(&all[0]->ended));
	link_remove(&scope.in_ended);
	scope_run_ended(&scope);
}

static const struct work works[] = {
	{ "ring-timer", 10000, prepare, timer_unit },
	{ "ring-pipe-copy-1k", 10000, prepare, pipe_copy_unit },
	{ "ring-pipe-chunk", 10000, prepare, pipe_chunk_unit },
	{ "ring-mail", 10000, prepare, mail_unit },
	{ "ring-scope", 10000, prepare, scope_unit },
};

const struct work_list WORK_RING = { works, array_count(works) };
