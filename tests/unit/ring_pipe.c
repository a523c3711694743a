/* A pipe alone: its bound, its wakes, its two endings, and where its chunks are. Random use is tests/sim/pipes.c. */
#include "ring/pipe.c"

#include "ring/core.h"
#include "ring/loop.h"

#include <criterion/criterion.h>
#include <signal.h>

struct rig {
	struct core core;
	struct chunk_pool pool;
	struct pipe pipe;
	struct task writer, reader;
};

static const struct scope_kind rig_kind = { .name = "rig" };
static const struct reason FIRST = { "first", "the first reason" };
static const struct reason SECOND = { "second", "the second reason" };

static void no_step(struct task *task)
{
	(void)task;
}

static void rig_init(struct rig *rig, uint64_t bytes_max)
{
	memset(rig, 0, sizeof *rig);
	link_init(&rig->core.run);
	timer_wheel_init(&rig->core.wheel, 0);
	scope_open_root(&rig->core.root, &rig->core, &rig_kind, "here");
	task_init(&rig->writer, &rig->core.root, "writer", no_step);
	task_init(&rig->reader, &rig->core.root, "reader", no_step);
	chunk_pool_init(&rig->pool, 100);
	pipe_init(&rig->pipe, &rig->pool, bytes_max);
	rig->pipe.writer = &rig->writer;
	rig->pipe.reader = &rig->reader;
}

/* chunk_pool_fini checks that every chunk has come back. */
static void rig_fini(struct rig *rig)
{
	pipe_fini(&rig->pipe);
	pipe_fini(&rig->pipe);
	chunk_pool_fini(&rig->pool);
}

static bool woken(struct task *task)
{
	bool is = !link_alone(&task->in_run);

	link_remove(&task->in_run);
	return is;
}

static struct chunk *chunk_of(struct rig *rig, uint32_t n)
{
	struct chunk *chunk = chunk_take(&rig->pool);

	memset(chunk->bytes, 'x', n);
	chunk->end = n;
	return chunk;
}

Test(ring_pipe, a_full_pipe_opens_when_half_of_it_is_read)
{
	struct rig rig;

	rig_init(&rig, 10);
	pipe_write(&rig.pipe, "0123456789", 10);
	cr_assert_eq(pipe_free(&rig.pipe), 0);
	pipe_consume(&rig.pipe, 4);
	cr_assert_eq(pipe_free(&rig.pipe), 0);
	cr_assert_not(woken(&rig.writer));
	pipe_consume(&rig.pipe, 1);
	cr_assert_eq(pipe_free(&rig.pipe), 5);
	cr_assert(woken(&rig.writer));
	rig_fini(&rig);
}

Test(ring_pipe, a_pipe_that_was_never_full_does_not_wake_its_writer)
{
	struct rig rig;

	rig_init(&rig, 10);
	pipe_write(&rig.pipe, "012345678", 9);
	pipe_consume(&rig.pipe, 9);
	cr_assert_not(woken(&rig.writer));
	cr_assert_eq(pipe_free(&rig.pipe), 10);
	rig_fini(&rig);
}

Test(ring_pipe, bytes_and_the_end_wake_the_reader)
{
	struct rig rig;

	rig_init(&rig, 10);
	pipe_write(&rig.pipe, "", 0);
	cr_assert_not(woken(&rig.reader));
	pipe_write(&rig.pipe, "a", 1);
	cr_assert(woken(&rig.reader));
	pipe_end(&rig.pipe);
	cr_assert(woken(&rig.reader));
	pipe_end(&rig.pipe);
	cr_assert_not(woken(&rig.reader));
	rig_fini(&rig);
}

Test(ring_pipe, the_end_comes_after_the_bytes_and_the_first_reason_stays)
{
	struct rig rig;
	size_t n;

	rig_init(&rig, 10);
	pipe_write(&rig.pipe, "ab", 2);
	pipe_break(&rig.pipe, &FIRST);
	pipe_break(&rig.pipe, &SECOND);
	cr_assert_not(pipe_at_end(&rig.pipe));
	cr_assert_eq(pipe_free(&rig.pipe), 0);
	cr_assert_arr_eq(pipe_peek(&rig.pipe, &n), "ab", 2);
	pipe_consume(&rig.pipe, 2);
	cr_assert(pipe_at_end(&rig.pipe));
	cr_assert_eq(rig.pipe.reason, &FIRST);
	rig_fini(&rig);
}

Test(ring_pipe, a_clean_end_is_not_broken_afterwards)
{
	struct rig rig;

	rig_init(&rig, 10);
	pipe_end(&rig.pipe);
	pipe_break(&rig.pipe, &FIRST);
	cr_assert_null(rig.pipe.reason);
	rig_fini(&rig);
}

Test(ring_pipe, behind_a_refusal_bytes_vanish_and_the_writer_goes_on)
{
	struct rig rig;
	size_t size;

	rig_init(&rig, 10);
	pipe_write(&rig.pipe, "0123456789", 10);
	pipe_refuse(&rig.pipe, &FIRST);
	pipe_refuse(&rig.pipe, &SECOND);
	cr_assert_eq(rig.pipe.refusal, &FIRST);
	cr_assert(woken(&rig.writer));
	cr_assert_eq(pipe_free(&rig.pipe), 10);
	pipe_write(&rig.pipe, "abc", 3);
	pipe_put(&rig.pipe, chunk_of(&rig, 5000));
	pipe_room(&rig.pipe, 1, &size);
	pipe_commit(&rig.pipe, 3);
	cr_assert_eq(rig.pipe.bytes, 0);
	cr_assert_eq(chunk_pool_out(&rig.pool), 0);
	rig_fini(&rig);
}

Test(ring_pipe, an_empty_pipe_holds_no_chunk)
{
	struct rig rig;
	size_t size;

	rig_init(&rig, 100000);
	pipe_room(&rig.pipe, 100, &size);
	pipe_commit(&rig.pipe, 0);
	cr_assert_eq(chunk_pool_out(&rig.pool), 0);
	pipe_put(&rig.pipe, chunk_of(&rig, 16000));
	pipe_room(&rig.pipe, CHUNK_BYTES, &size);
	pipe_commit(&rig.pipe, 0);
	cr_assert_eq(chunk_pool_out(&rig.pool), 1);
	pipe_consume(&rig.pipe, 16000);
	cr_assert_eq(chunk_pool_out(&rig.pool), 0);
	rig_fini(&rig);
}

Test(ring_pipe, room_that_was_not_used_does_not_hide_what_follows)
{
	struct rig rig;
	struct chunk *chunk;
	size_t size, n;

	rig_init(&rig, 100000);
	pipe_room(&rig.pipe, 1, &size);
	pipe_put(&rig.pipe, chunk_of(&rig, PIPE_COPY_BYTES_MAX + 1));
	cr_assert_not_null(pipe_peek(&rig.pipe, &n));
	cr_assert_eq(n, PIPE_COPY_BYTES_MAX + 1);
	chunk = pipe_take(&rig.pipe);
	cr_assert_eq(chunk_size(chunk), PIPE_COPY_BYTES_MAX + 1);
	chunk_put(&rig.pool, chunk);
	rig_fini(&rig);
}

Test(ring_pipe, small_pieces_share_a_chunk)
{
	struct rig rig;

	rig_init(&rig, 100000);
	for (unsigned i = 0; i < 1000; i++)
		pipe_put(&rig.pipe, chunk_of(&rig, 1));
	cr_assert_eq(rig.pipe.bytes, 1000);
	cr_assert_eq(chunk_pool_out(&rig.pool), 1);
	rig_fini(&rig);
}

Test(ring_pipe, a_move_cut_at_every_byte_is_the_same_bytes)
{
	static const char text[] = "all of it, in order, wherever the cut is";

	for (size_t cut = 0; cut <= sizeof text; cut++) {
		struct rig rig;
		struct pipe to;
		size_t n;

		rig_init(&rig, 100000);
		pipe_init(&to, &rig.pool, 100000);
		pipe_write(&rig.pipe, text, sizeof text);
		cr_assert_eq(pipe_move(&to, &rig.pipe, cut), cut);
		cr_assert_eq(rig.pipe.bytes, sizeof text - cut);
		cr_assert_eq(pipe_move(&to, &rig.pipe, UINT64_MAX), sizeof text - cut);
		cr_assert_arr_eq(pipe_peek(&to, &n), text, sizeof text);
		cr_assert_eq(n, sizeof text);
		pipe_fini(&to);
		rig_fini(&rig);
	}
}

Test(ring_pipe, consuming_more_than_there_is_ends_the_process, .signal = SIGABRT)
{
	struct rig rig;

	rig_init(&rig, 10);
	pipe_write(&rig.pipe, "a", 1);
	pipe_consume(&rig.pipe, 2);
}

Test(ring_pipe, writing_behind_the_end_ends_the_process, .signal = SIGABRT)
{
	struct rig rig;

	rig_init(&rig, 10);
	pipe_end(&rig.pipe);
	pipe_write(&rig.pipe, "a", 1);
}
