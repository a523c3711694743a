/* Who is told of changes: two cores turned by hand, so that one can be as slow as the test wants. */
#include "gateway/counting/events.c"

#include <criterion/criterion.h>

enum { CORES = 2, READERS = 300 };

static const struct scope_kind plain_kind = { .name = "plain" };

struct watch {
	struct scope scope;
	struct task task;
	struct events_reader reader;
	unsigned steps;
};

struct desk {
	struct gateway gateway;
	struct worker *workers[CORES];
	struct core *all[CORES];
	struct watch watches[READERS];
};

static struct desk desk;

static void stepped(struct task *task)
{
	owner_of(task, struct watch, task)->steps++;
}

static void desk_open(void)
{
	struct kernel_fault fault;

	desk = (struct desk){ .gateway = { .workers = desk.workers, .cores = { .count = CORES, .all = desk.all } } };
	for (unsigned i = 0; i < CORES; i++) {
		const struct core_options options = { .index = i, .cores = &desk.gateway.cores, .buffer_count = 16, .chunks_max = 1000 };

		desk.workers[i] = aligned_alloc(64, (sizeof(struct worker) + 63) / 64 * 64);
		memset(desk.workers[i], 0, sizeof(struct worker));
		desk.workers[i]->gateway = &desk.gateway;
		desk.all[i] = &desk.workers[i]->core;
		cr_assert(core_open(desk.all[i], &options, &fault), "%s", fault.sentence);
		desk.all[i]->gateway = desk.workers[i];
		events_open(desk.workers[i]);
	}
}

static void desk_close(void)
{
	for (unsigned i = 0; i < READERS; i++)
		events_leave(&desk.watches[i].reader);
	for (unsigned i = 0; i < CORES; i++)
		scope_close(&desk.all[i]->root, &RING_DONE);
	for (unsigned i = 0; i < CORES; i++)
		while (core_turn(desk.all[i], false)) {
		}
	/* As the program does it: what is left in the mailboxes is delivered when no core runs any more. */
	for (unsigned round = 0; round < 6; round++)
		for (unsigned i = 0; i < CORES; i++)
			mailbox_deliver(desk.all[i]);
	for (unsigned i = 0; i < CORES; i++)
		events_fini(desk.workers[i]);
	for (unsigned i = 0; i < CORES; i++) {
		core_close(desk.all[i]);
		free(desk.workers[i]);
	}
}

static struct events_reader *enter(unsigned core, unsigned which)
{
	struct watch *watch = &desk.watches[which];

	scope_open(&watch->scope, &desk.all[core]->root, &plain_kind);
	task_init(&watch->task, &watch->scope, "watch", stepped);
	events_enter(desk.workers[core], &watch->reader, &watch->task);
	return &watch->reader;
}

static void turn(unsigned core)
{
	core_turn(desk.all[core], false);
}

static void tell(unsigned core, uint32_t site)
{
	events_tell(desk.workers[core], &site, 1);
}

static void finds(struct events_reader *reader, uint32_t wanted)
{
	uint32_t site = 0;

	cr_assert_eq(events_next(reader, &site), EVENTS_SITE, "%u was wanted", wanted);
	cr_assert_eq(site, wanted);
}

static void finds_nothing(struct events_reader *reader)
{
	uint32_t site;

	cr_assert_eq(events_next(reader, &site), EVENTS_NONE);
}

static void finds_missed(struct events_reader *reader)
{
	uint32_t site;

	cr_assert_eq(events_next(reader, &site), EVENTS_MISSED);
}

Test(gateway_events, a_change_of_any_core_reaches_the_readers_of_all, .init = desk_open, .fini = desk_close)
{
	struct events_reader *here = enter(0, 0), *there = enter(1, 1);

	cr_expect(events_wanted(&desk.gateway));
	tell(0, 7);
	tell(1, COUNT_STUDY);
	for (unsigned i = 0; i < 4; i++)
		turn(i % 2);
	cr_expect_gt(desk.watches[0].steps, 0);
	cr_expect_gt(desk.watches[1].steps, 0);
	finds(here, 7);
	finds(here, COUNT_STUDY);
	finds_nothing(here);
	finds(there, COUNT_STUDY);
	finds(there, 7);
	finds_nothing(there);
}

Test(gateway_events, nobody_is_wanted_where_nobody_reads, .init = desk_open, .fini = desk_close)
{
	cr_expect_not(events_wanted(&desk.gateway));
	tell(0, 1);
	events_leave(enter(1, 0));
	cr_expect_not(events_wanted(&desk.gateway));
	events_leave(&desk.watches[0].reader);
	/* What was told before does not come to who enters later. */
	finds_nothing(enter(0, 1));
}

Test(gateway_events, of_several_changes_of_a_site_only_the_latest_is_found, .init = desk_open, .fini = desk_close)
{
	struct events_reader *reader = enter(0, 0);

	for (unsigned i = 0; i < 1000; i++) {
		tell(0, 1);
		tell(0, 2);
	}
	finds(reader, 1);
	finds(reader, 2);
	finds_nothing(reader);
	tell(0, 1);
	finds(reader, 1);
	/* Two sites that share a place are told more often, and never less. */
	tell(0, 3);
	tell(0, 3 + LATEST_PLACES);
	finds(reader, 3);
	finds(reader, 3 + LATEST_PLACES);
	finds_nothing(reader);
}

Test(gateway_events, a_reader_who_has_fallen_behind_is_told_so_once, .init = desk_open, .fini = desk_close)
{
	struct events_reader *slow = enter(0, 0), *exact = enter(0, 1);

	for (unsigned i = 0; i < EVENTS_KEPT; i++)
		tell(0, i);
	finds(exact, 0);
	tell(0, EVENTS_KEPT + 5);
	finds(exact, 1);
	finds_missed(slow);
	finds_nothing(slow);
	tell(0, 9);
	finds(slow, 9);
	finds_nothing(slow);
}

Test(gateway_events, a_core_that_is_held_up_costs_a_bounded_parcel, .init = desk_open, .fini = desk_close)
{
	struct events_reader *reader = enter(1, 0);
	const struct parcel *parcel = &desk.workers[0]->events->parcels[1];

	for (unsigned i = 0; i < 3 * EVENTS_KEPT; i++)
		tell(0, i);
	cr_expect_leq(parcel->gathered_space, EVENTS_KEPT);
	cr_expect(parcel->gathered_lost);
	turn(0);
	turn(1);
	finds(reader, 0); /* the first went at once */
	finds_nothing(reader);
	for (unsigned i = 0; i < 6; i++)
		turn(i % 2);
	finds_missed(reader);
	finds_nothing(reader);
	/* And then it is as before. */
	tell(0, 77);
	for (unsigned i = 0; i < 4; i++)
		turn(i % 2);
	finds(reader, 77);
	finds_nothing(reader);
}

Test(gateway_events, many_readers_are_woken_a_few_a_turn_and_each_once, .init = desk_open, .fini = desk_close)
{
	unsigned woken = 0;

	for (unsigned i = 0; i < READERS; i++)
		enter(0, i);
	turn(0);
	tell(0, 5);
	turn(0);
	for (unsigned i = 0; i < READERS; i++)
		woken += desk.watches[i].steps;
	cr_expect_gt(woken, 0);
	cr_expect_leq(woken, READERS_AT_ONCE);
	for (unsigned i = 0; i < 8; i++)
		turn(0);
	for (unsigned i = 0; i < READERS; i++) {
		cr_expect_eq(desk.watches[i].steps, 1, "reader %u: %u", i, desk.watches[i].steps);
		finds(&desk.watches[i].reader, 5);
	}
}

Test(gateway_events, readers_leave_while_others_are_woken, .init = desk_open, .fini = desk_close)
{
	for (unsigned i = 0; i < READERS; i++)
		enter(i % 2, i);
	tell(0, 5);
	turn(0);
	turn(1);
	for (unsigned i = 0; i < READERS; i += 3)
		events_leave(&desk.watches[i].reader);
	tell(1, 6);
	for (unsigned i = 0; i < 12; i++)
		turn(i % 2);
	for (unsigned i = 0; i < READERS; i++)
		if (i % 3) {
			finds(&desk.watches[i].reader, 5);
			finds(&desk.watches[i].reader, 6);
			finds_nothing(&desk.watches[i].reader);
		}
}

Test(gateway_events, what_is_under_way_when_cores_end_is_let_go, .init = desk_open, .fini = desk_close)
{
	enter(1, 0);
	tell(0, 1);
	tell(0, 2);
	scope_close(&desk.all[1]->root, &RING_DONE);
}
