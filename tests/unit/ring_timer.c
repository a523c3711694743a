/* The wheel: nothing early, nothing forgotten, at whatever distance and from whatever tick. */
#include "ring/timer.c"

#include "ring/loop.h"

#include <criterion/criterion.h>
#include <string.h>

struct rig {
	struct core core;
	struct task task;
	struct timer timer;
};

static const struct scope_kind rig_kind = { .name = "rig" };
static const struct reason LATE = { "late", "its time has passed" };

static void no_step(struct task *task)
{
	(void)task;
}

static void rig_init(struct rig *rig, uint64_t now_ms)
{
	memset(rig, 0, sizeof *rig);
	rig->core.now_ms = now_ms;
	link_init(&rig->core.run);
	link_init(&rig->core.ended);
	timer_wheel_init(&rig->core.wheel, now_ms);
	scope_open_root(&rig->core.root, &rig->core, &rig_kind, "here");
	task_init(&rig->task, &rig->core.root, "task", no_step);
	timer_init(&rig->timer, &rig->core.root, &rig->task);
}

static void run_at(struct rig *rig, uint64_t now_ms)
{
	rig->core.now_ms = now_ms;
	timer_wheel_run(&rig->core.wheel, now_ms);
}

Test(ring_timer, a_timer_fires_at_its_time_at_any_distance_from_any_tick)
{
	static const uint64_t begins[] = { 0, 1, 15, 16, 1007, 16 * 63, 16 * 64 - 1, 16 * 4095, 16 * 4096 * 64 - 16,
		(16ull << 24) - 16, (16ull << 24) * 5 - 1 };
	static const uint64_t distances[] = { 0, 1, 15, 16, 17, 100, 1000, 1008, 1024, 5000, 65520, 65536, 65537, 3600000,
		4194304, 16ull << 22 };

	for (unsigned b = 0; b < array_count(begins); b++) {
		for (unsigned d = 0; d < array_count(distances); d++) {
			uint64_t due = begins[b] + distances[d];
			uint64_t turns = 0;
			struct rig rig;

			rig_init(&rig, begins[b]);
			timer_set(&rig.timer, distances[d]);
			/* As a core does: sleep as long as the wheel says, run, and again. */
			while (!rig.timer.fired) {
				uint64_t sleep_ms = timer_wheel_next_ms(&rig.core.wheel, rig.core.now_ms);

				cr_assert_neq(sleep_ms, UINT64_MAX);
				cr_assert_lt(turns++, 300);
				run_at(&rig, rig.core.now_ms + sleep_ms);
			}
			cr_assert_geq(rig.core.now_ms, due, "from %zu, %zu ms", (size_t)begins[b], (size_t)distances[d]);
			cr_assert_lt(rig.core.now_ms, due + 2 * TIMER_TICK_MS);
			cr_assert_eq(rig.core.wheel.count, 0);
			cr_assert_not(link_alone(&rig.task.in_run));
		}
	}
}

Test(ring_timer, a_jump_of_the_clock_fires_all_that_is_due_and_nothing_else)
{
	struct rig rig;
	struct timer timers[200];

	rig_init(&rig, 12345);
	for (unsigned i = 0; i < array_count(timers); i++) {
		timer_init(&timers[i], &rig.core.root, &rig.task);
		timer_set(&timers[i], (uint64_t)i * i * 7);
	}
	run_at(&rig, 12345 + 100000);
	for (unsigned i = 0; i < array_count(timers); i++) {
		cr_assert_eq(timers[i].fired, i * i * 7 + TIMER_TICK_MS <= 100000 || (timers[i].fired && i * i * 7 <= 100000));
		cr_assert_neq(timers[i].fired, timers[i].set);
	}
	run_at(&rig, 12345 + 1000000);
	cr_assert_eq(rig.core.wheel.count, 0);
	cr_assert_eq(timer_wheel_next_ms(&rig.core.wheel, rig.core.now_ms), UINT64_MAX);
}

Test(ring_timer, a_new_time_replaces_the_old_and_a_cleared_timer_is_silent)
{
	struct rig rig;

	rig_init(&rig, 1000);
	timer_clear(&rig.timer);
	timer_set(&rig.timer, 50);
	timer_set(&rig.timer, 500);
	cr_assert_eq(rig.core.wheel.count, 1);
	run_at(&rig, 1200);
	cr_assert_not(rig.timer.fired);
	cr_assert_geq(timer_left_ms(&rig.timer), 300);
	timer_clear(&rig.timer);
	run_at(&rig, 3000);
	cr_assert_not(rig.timer.fired);
	cr_assert_eq(timer_left_ms(&rig.timer), 0);
}

Test(ring_timer, a_deadline_closes_its_scope_and_takes_the_other_timers_of_its_slot_away)
{
	struct rig rig;

	rig_init(&rig, 1000);
	scope_deadline(&rig.core.root, 100, &LATE);
	timer_set(&rig.timer, 100);
	run_at(&rig, 2000);
	cr_assert_eq(rig.core.root.state, SCOPE_CLOSING);
	cr_assert_eq(rig.core.root.reason, &LATE);
	cr_assert_not(rig.timer.set);
	cr_assert_eq(rig.core.wheel.count, 0);
	timer_set(&rig.timer, 10);
	cr_assert_not(rig.timer.set);
}

Test(ring_timer, a_time_beyond_the_wheel_is_cut_and_not_lost)
{
	struct rig rig;

	rig_init(&rig, 1000);
	timer_set(&rig.timer, UINT64_MAX);
	cr_assert(rig.timer.set);
	cr_assert_gt(timer_left_ms(&rig.timer), 24ull * 3600 * 1000);
	timer_clear(&rig.timer);
}
