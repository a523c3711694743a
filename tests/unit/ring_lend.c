/* How many buffers are lent to the kernel: few, and more only where receives find none. */
#include "ring/core.c"
#include "ring/reason.h"

#include <criterion/criterion.h>

#define BUFFERS 64u

static struct core core;
static struct cores cores;

static void open_core(void)
{
	static struct core *all[1];
	const struct core_options options = { .cores = &cores, .buffer_count = BUFFERS, .chunks_max = 1000 };
	struct kernel_fault fault;

	all[0] = &core;
	cores.count = 1;
	cores.all = all;
	cr_assert(core_open(&core, &options, &fault), "%s", fault.sentence);
}

static void close_core(void)
{
	scope_close(&core.root, &RING_DONE);
	while (core_turn(&core, false)) {
	}
	core_close(&core);
}

static unsigned lent(void)
{
	return BUFFERS - core.returned_count;
}

/* A window in which so many receives found none. The buffers come back as the kernel would give them. */
static void window(unsigned starved)
{
	core.starved_lately = starved;
	for (unsigned n = 0; n < LEND_WINDOW; n++) {
		unsigned id = 0;

		while (!core.lent[id])
			id++;
		chunk_put(&core.pool, core_take_received(&core, (uint16_t)id, 1));
		if (n + 1 < LEND_WINDOW)
			core_lend(&core);
	}
	core_lend(&core);
}

Test(ring_lend, few_are_lent_until_receives_find_none, .init = open_core, .fini = close_core)
{
	const unsigned least = lend_least(&core);

	cr_assert_lt(least, BUFFERS / 4);
	cr_assert_eq(lent(), least);
	window(LEND_WINDOW / 8);
	cr_assert_eq(lent(), least);
	for (unsigned n = 2 * least; n <= BUFFERS; n *= 2) {
		window(LEND_WINDOW / 8 + 1);
		cr_assert_eq(lent(), n);
	}
	window(LEND_WINDOW);
	cr_assert_eq(lent(), BUFFERS, "more than there are");
}

Test(ring_lend, they_become_fewer_again_when_hardly_any_receive_finds_none, .init = open_core, .fini = close_core)
{
	const unsigned least = lend_least(&core);

	while (lent() < BUFFERS)
		window(LEND_WINDOW);
	window(LEND_WINDOW / 64);
	cr_assert_eq(lent(), BUFFERS);
	for (unsigned n = BUFFERS / 2; n >= least; n /= 2) {
		window(0);
		cr_assert_eq(core.lend_most, n);
	}
	window(0);
	cr_assert_eq(core.lend_most, least, "fewer than the least");
	cr_assert_eq(lent(), least);
}

Test(ring_lend, one_buffer_is_lent_where_there_is_only_one)
{
	core.buffer_count = 1;
	cr_assert_eq(lend_least(&core), 1);
}
