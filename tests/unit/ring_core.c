/* The core's alarm: a turn sleeps until then and no longer, and the task runs once, in the turn in which it is due. */
#include "ring/core.c"

#include <criterion/criterion.h>

#define MS_NS 1000000u

struct rig {
	struct core core;
	struct core *all[1];
	struct cores cores;
	struct task task;
	unsigned steps;
	bool again;                      /* the step asks for the next one, at a time that has passed */
};

static void rig_step(struct task *task)
{
	struct rig *rig = owner_of(task, struct rig, task);

	rig->steps++;
	if (rig->again)
		core_alarm(&rig->core, rig->core.now_ns, task);
	rig->again = false;
}

static void rig_open(struct rig *rig)
{
	struct kernel_fault fault;

	*rig = (struct rig){ .cores = { .count = 1 } };
	rig->all[0] = &rig->core;
	rig->cores.all = rig->all;
	cr_assert(core_open(&rig->core, &(struct core_options){ .cores = &rig->cores, .buffer_count = 2, .chunks_max = 4 }, &fault),
		"%s", fault.sentence);
	task_init(&rig->task, &rig->core.root, "rig", rig_step);
}

static void rig_close(struct rig *rig)
{
	scope_close(&rig->core.root, &RING_DONE);
	core_run(&rig->core);
	core_close(&rig->core);
}

Test(ring_core, an_alarm_ends_a_turn_s_sleep_finer_than_a_tick_and_wakes_once)
{
	struct rig rig;
	uint64_t due;

	rig_open(&rig);
	due = kernel_now_ns(rig.core.kernel) + 3 * MS_NS;
	core_alarm(&rig.core, due, &rig.task);
	while (kernel_now_ns(rig.core.kernel) < due)
		core_turn(&rig.core, true);
	core_turn(&rig.core, false);
	cr_assert_eq(rig.steps, 1, "in the turn in which it is due");
	cr_assert(stat_read(&rig.core.stats.turns) <= 4, "nobody turns while it waits");
	core_turn(&rig.core, false);
	cr_assert_eq(rig.steps, 1, "once");
	rig_close(&rig);
}

Test(ring_core, an_alarm_that_a_step_sets_to_the_present_lets_its_turn_not_sleep)
{
	struct rig rig;

	rig_open(&rig);
	rig.again = true;
	task_wake(&rig.task);
	core_turn(&rig.core, true);      /* without the alarm it would sleep for ever */
	cr_assert_eq(rig.steps, 1);
	core_turn(&rig.core, false);
	cr_assert_eq(rig.steps, 2);
	rig_close(&rig);
}

Test(ring_core, an_alarm_is_replaced_by_a_new_one_and_taken_away)
{
	struct rig rig;
	uint64_t until;

	rig_open(&rig);
	core_alarm(&rig.core, rig.core.now_ns, &rig.task);
	core_alarm(&rig.core, rig.core.now_ns + 3600000ull * MS_NS, &rig.task);
	core_turn(&rig.core, false);
	core_turn(&rig.core, false);
	cr_assert_eq(rig.steps, 0, "the later one has taken the place of the first");
	core_alarm(&rig.core, kernel_now_ns(rig.core.kernel) + MS_NS, &rig.task);
	core_alarm(&rig.core, UINT64_MAX, NULL);
	until = kernel_now_ns(rig.core.kernel) + 2 * MS_NS;
	while (kernel_now_ns(rig.core.kernel) < until)
		core_turn(&rig.core, false);
	cr_assert_eq(rig.steps, 0, "none is left");
	rig_close(&rig);
}
