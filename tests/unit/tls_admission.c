/* Whose turn it is: a core's turns are counted by hand here, and nothing is computed. */
#include "tls/admission.c"

#include "ring/chunk.h"
#include "ring/loop.h"

#include <criterion/criterion.h>

#include <string.h>

/* ---- a core without a kernel, and those who ask ---- */

#define ASKERS_MAX 64u

struct asker {
	struct task task;
	struct admission_place place;
	unsigned wakes;
	unsigned granted_turn;           /* in which he first saw that he was granted; 0: not yet */
};

struct hall {
	struct core core;
	struct scope scope;
	struct admission admission;
	struct asker askers[ASKERS_MAX];
};

static const struct scope_kind HALL_KIND = { .name = "hall" };
static struct hall hall;

static unsigned turn_now(void)
{
	return (unsigned)stat_read(&hall.core.stats.turns);
}

static void asker_woken(struct task *task)
{
	struct asker *a = owner_of(task, struct asker, task);

	a->wakes++;
	if (a->place.granted && a->granted_turn == 0)
		a->granted_turn = turn_now();
}

static void hall_open(unsigned at_work_max, unsigned queued_max)
{
	memset(&hall, 0, sizeof hall);
	link_init(&hall.core.run);
	link_init(&hall.core.later);
	link_init(&hall.core.ended);
	link_init(&hall.core.queue);
	hall.core.now_ms = 1000000;
	stat_add(&hall.core.stats.turns, 1);
	timer_wheel_init(&hall.core.wheel, hall.core.now_ms);
	scope_open_root(&hall.scope, &hall.core, &HALL_KIND, "tests/unit/tls_admission.c");
	admission_open(&hall.admission, &hall.scope, at_work_max, queued_max);
	for (unsigned i = 0; i < ASKERS_MAX; i++) {
		task_init(&hall.askers[i].task, &hall.scope, "asker", asker_woken);
		admission_place_init(&hall.askers[i].place, &hall.askers[i].task);
	}
}

static void run_tasks(void)
{
	for (struct link *link; (link = link_take_first(&hall.core.run));) {
		struct task *task = owner_of(link, struct task, in_run);

		task->step(task);
	}
}

/* What is left of this turn, as ring/core.c does it; then the next one begins. */
static void turn_end(void)
{
	run_tasks();
	stat_add(&hall.core.stats.turns, 1);
	timer_wheel_run(&hall.core.wheel, hall.core.now_ms);
	link_move_all(&hall.core.run, &hall.core.later);
}

/* Time passes, in one turn after another as long as anybody has something to do, and sleeping else. */
static void pass_ms(uint64_t ms)
{
	for (uint64_t end = hall.core.now_ms + ms; hall.core.now_ms < end;) {
		hall.core.now_ms += TIMER_TICK_MS < end - hall.core.now_ms ? TIMER_TICK_MS : end - hall.core.now_ms;
		turn_end();
		run_tasks();
	}
}

static enum admission_answer ask(unsigned i, enum admission_class class, unsigned units)
{
	return admission_ask(&hall.admission, &hall.askers[i].place, class, units);
}

static void leave(unsigned i)
{
	admission_leave(&hall.admission, &hall.askers[i].place);
}

static bool granted(unsigned i)
{
	return hall.askers[i].place.granted;
}

#define STAT(name) stat_read(&hall.admission.stats.name)

/* As many links as the counters say, and everybody in the queue that his state tells of. */
static void consistent(void)
{
	unsigned queued = 0, works = 0;

	for (unsigned class = 0; class < ADMISSION_CLASSES; class++)
		for (struct link *l = hall.admission.queues[class].next; l != &hall.admission.queues[class]; l = l->next) {
			struct admission_place *p = owner_of(l, struct admission_place, in_queue);

			cr_assert(p->queued && !p->granted);
			queued++;
		}
	for (struct link *l = hall.admission.at_work.next; l != &hall.admission.at_work; l = l->next) {
		cr_assert(owner_of(l, struct admission_place, in_work)->works);
		works++;
	}
	cr_assert_eq(hall.admission.queued_count, queued);
	cr_assert_eq(hall.admission.at_work_count, works);
	cr_assert_eq(STAT(queued), queued);
	cr_assert_eq(STAT(at_work), works);
	cr_assert_leq(works, hall.admission.at_work_max);
}

/* ---- units and turns ---- */

Test(tls_admission, as_many_as_the_turn_has_units_for_are_granted_at_once_and_the_others_in_the_next)
{
	hall_open(100, 100);
	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(ask(i, ADMISSION_FULL, 2), ADMISSION_GRANTED);
	for (unsigned i = 4; i < 11; i++)
		cr_assert_eq(ask(i, ADMISSION_FULL, 2), ADMISSION_QUEUED);
	consistent();
	run_tasks();
	for (unsigned i = 0; i < 11; i++)
		cr_assert_eq(granted(i), i < 4);
	cr_assert(!link_alone(&hall.core.later));                /* so the core does not sleep */
	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(hall.askers[i].wakes, 0);           /* he has been told by the answer */
	turn_end();
	run_tasks();
	for (unsigned i = 4; i < 11; i++) {
		cr_assert_eq(granted(i), i < 8);
		cr_assert_eq(hall.askers[i].wakes, i < 8 ? 1 : 0);
	}
	consistent();
	turn_end();
	run_tasks();
	for (unsigned i = 8; i < 11; i++)
		cr_assert_eq(hall.askers[i].granted_turn, 3);
	cr_assert(link_alone(&hall.core.later) && link_alone(&hall.core.run));
	cr_assert_eq(STAT(waited), 7);
	cr_assert_eq(STAT(at_work), 11);
	consistent();
}

Test(tls_admission, units_that_a_turn_leaves_do_not_add_up)
{
	hall_open(100, 100);
	for (unsigned turn = 0; turn < 10; turn++)
		turn_end();
	for (unsigned i = 0; i < 12; i++)
		cr_assert_eq(ask(i, ADMISSION_RESUMING, 1), i < TURN_UNITS ? ADMISSION_GRANTED : ADMISSION_QUEUED);
}

Test(tls_admission, an_expensive_one_takes_a_turn_for_himself_and_holds_up_nobody_for_ever)
{
	hall_open(100, 100);
	/* One unit has gone; he still comes, and pays with the rest of the turn. */
	cr_assert_eq(ask(0, ADMISSION_RESUMING, 1), ADMISSION_GRANTED);
	cr_assert_eq(ask(1, ADMISSION_FULL, 8), ADMISSION_GRANTED);
	cr_assert_eq(hall.admission.units_left, 0);
	for (unsigned i = 2; i < 6; i++)
		cr_assert_eq(ask(i, ADMISSION_FULL, 8), ADMISSION_QUEUED);
	cr_assert_eq(ask(6, ADMISSION_RESUMING, 1), ADMISSION_QUEUED);
	for (unsigned turn = 0; turn < 6; turn++)
		turn_end();
	/* The cheaper one first, in the same turn as an expensive one; then one a turn. */
	cr_assert_eq(hall.askers[6].granted_turn, 2);
	for (unsigned i = 2; i < 6; i++)
		cr_assert_eq(hall.askers[i].granted_turn, i);
	consistent();
}

Test(tls_admission, more_than_a_turn_has_is_granted_in_a_turn_of_its_own)
{
	hall_open(100, 100);
	cr_assert_eq(ask(0, ADMISSION_FULL, 255), ADMISSION_GRANTED);
	cr_assert_eq(ask(1, ADMISSION_FULL, 255), ADMISSION_QUEUED);
	turn_end();
	run_tasks();
	cr_assert(granted(1));
	consistent();
}

/* ---- order ---- */

Test(tls_admission, finishing_goes_before_resuming_before_full_and_each_in_the_order_of_coming)
{
	/* i asks in this order, and is the … -th to be granted */
	static const struct {
		enum admission_class class;
		unsigned place;
	} ORDER[] = {
		{ ADMISSION_FULL, 4 }, { ADMISSION_RESUMING, 2 }, { ADMISSION_FULL, 5 }, { ADMISSION_FINISHING, 0 },
		{ ADMISSION_RESUMING, 3 }, { ADMISSION_FINISHING, 1 },
	};

	hall_open(100, 100);
	cr_assert_eq(ask(60, ADMISSION_FULL, 8), ADMISSION_GRANTED);
	for (unsigned i = 0; i < array_count(ORDER); i++)
		cr_assert_eq(ask(i, ORDER[i].class, 8), ADMISSION_QUEUED);
	for (unsigned turn = 0; turn < 8; turn++)
		turn_end();
	for (unsigned i = 0; i < array_count(ORDER); i++)
		cr_assert_eq(hall.askers[i].granted_turn, 2 + ORDER[i].place, "%u: %u", i, hall.askers[i].granted_turn);
}

Test(tls_admission, nobody_is_overtaken_by_one_of_his_class_who_comes_when_a_turn_is_fresh)
{
	hall_open(100, 100);
	for (unsigned i = 0; i < 5; i++)
		ask(i, ADMISSION_FULL, 2);
	stat_add(&hall.core.stats.turns, 1);                     /* a new turn, and the queue was not looked at yet */
	cr_assert_eq(ask(5, ADMISSION_FULL, 2), ADMISSION_QUEUED);
	cr_assert_eq(ask(6, ADMISSION_FINISHING, 1), ADMISSION_GRANTED);
	run_tasks();
	cr_assert(granted(4) && granted(5));
	consistent();
}

/* However many clients come with a ticket, turn after turn: a new client gets through before he gives up. */
Test(tls_admission, resuming_ones_without_end_do_not_starve_a_full_one)
{
	unsigned turns = 0;

	hall_open(100, 100);
	for (unsigned i = 1; i <= TURN_UNITS; i++)
		cr_assert_eq(ask(i, ADMISSION_RESUMING, 1), ADMISSION_GRANTED);
	cr_assert_eq(ask(0, ADMISSION_FULL, 2), ADMISSION_QUEUED);
	/* A turn with a full budget of them is a millisecond or less, so this is about ten seconds. */
	while (!granted(0) && turns++ < 10000) {
		stat_add(&hall.core.stats.turns, 1);
		link_move_all(&hall.core.run, &hall.core.later);
		for (unsigned i = 1; i <= TURN_UNITS; i++) {
			if (hall.askers[i].place.queued)
				continue;
			leave(i);
			ask(i, ADMISSION_RESUMING, 1);
		}
		hall.core.now_ms++;
		run_tasks();
	}
	cr_assert(granted(0), "not in %u turns", turns);
	consistent();
}

/* ---- places ---- */

Test(tls_admission, of_those_at_work_there_are_no_more_than_the_limit_and_one_who_leaves_lets_the_next_in)
{
	hall_open(3, 100);
	for (unsigned i = 0; i < 6; i++)
		cr_assert_eq(ask(i, ADMISSION_RESUMING, 1), i < 3 ? ADMISSION_GRANTED : ADMISSION_QUEUED);
	for (unsigned turn = 0; turn < 5; turn++)
		turn_end();
	cr_assert(!granted(3) && STAT(at_work) == 3);
	cr_assert(link_alone(&hall.core.later) && link_alone(&hall.core.run)); /* waiting for a place costs no turns */
	leave(1);
	consistent();
	run_tasks();
	cr_assert(granted(3) && !granted(4));
	cr_assert_eq(hall.askers[3].wakes, 1);
	/* Who is at work needs no further place for his next part. */
	hall.askers[0].place.granted = false;
	cr_assert_eq(ask(0, ADMISSION_FINISHING, 1), ADMISSION_GRANTED);
	leave(0);
	leave(2);
	run_tasks();
	cr_assert(granted(4) && granted(5));
	consistent();
}

Test(tls_admission, a_place_of_one_goes_through_everybody)
{
	hall_open(1, 100);
	for (unsigned i = 0; i < 20; i++)
		ask(i, i % 2 ? ADMISSION_RESUMING : ADMISSION_FULL, 2);
	for (unsigned left = 20; left > 0; left--) {
		unsigned who = ASKERS_MAX;

		turn_end();
		run_tasks();
		for (unsigned i = 0; i < 20; i++)
			if (hall.askers[i].place.works) {
				cr_assert_eq(who, ASKERS_MAX);
				who = i;
			}
		cr_assert_neq(who, ASKERS_MAX, "%u are left and nobody works", left);
		consistent();
		leave(who);
	}
	run_tasks();
	cr_assert(STAT(queued) == 0 && STAT(at_work) == 0 && STAT(dropped) == 0);
}

Test(tls_admission, more_than_may_wait_are_refused_but_never_one_at_work)
{
	hall_open(2, 3);
	cr_assert_eq(ask(0, ADMISSION_FULL, 1), ADMISSION_GRANTED);
	cr_assert_eq(ask(1, ADMISSION_FULL, 1), ADMISSION_GRANTED);
	for (unsigned i = 2; i < 5; i++)
		cr_assert_eq(ask(i, ADMISSION_FULL, 1), ADMISSION_QUEUED);
	cr_assert_eq(ask(5, ADMISSION_FULL, 1), ADMISSION_REFUSED);
	cr_assert_eq(ask(6, ADMISSION_RESUMING, 1), ADMISSION_REFUSED);
	cr_assert(!hall.askers[5].place.queued && !hall.askers[5].place.works);
	cr_assert_eq(STAT(refused), 2);
	hall.admission.units_left = 0;
	hall.askers[0].place.granted = false;
	cr_assert_eq(ask(0, ADMISSION_FINISHING, 1), ADMISSION_QUEUED);
	cr_assert_eq(STAT(queued), 4);
	cr_assert_eq(STAT(refused), 2);
	/* Where one has left, another may wait. */
	leave(5);
	leave(2);
	leave(0);
	cr_assert_eq(ask(5, ADMISSION_FULL, 1), ADMISSION_QUEUED);
	consistent();
}

Test(tls_admission, where_nobody_may_wait_the_first_ones_still_work)
{
	hall_open(100, 0);
	cr_assert_eq(ask(0, ADMISSION_FULL, 8), ADMISSION_GRANTED);
	cr_assert_eq(ask(1, ADMISSION_FULL, 8), ADMISSION_REFUSED);
	turn_end();
	cr_assert_eq(ask(1, ADMISSION_FULL, 8), ADMISSION_GRANTED);
}

/* ---- leaving ---- */

Test(tls_admission, anybody_may_leave_at_any_time_and_twice)
{
	hall_open(2, 2);
	leave(0);                                                /* never asked */
	leave(0);
	cr_assert_eq(ask(0, ADMISSION_FULL, 1), ADMISSION_GRANTED);
	cr_assert_eq(ask(1, ADMISSION_FULL, 8), ADMISSION_GRANTED);
	cr_assert_eq(ask(2, ADMISSION_FULL, 1), ADMISSION_QUEUED);
	cr_assert_eq(ask(3, ADMISSION_FULL, 1), ADMISSION_QUEUED);
	cr_assert_eq(ask(4, ADMISSION_FULL, 1), ADMISSION_REFUSED);
	leave(4);
	leave(4);
	cr_assert_eq(STAT(dropped), 0);
	leave(2);                                                /* queued, and nothing was computed for him */
	leave(2);
	cr_assert_eq(STAT(dropped), 1);
	consistent();
	hall.askers[0].place.granted = false;
	cr_assert_eq(ask(0, ADMISSION_FINISHING, 1), ADMISSION_QUEUED);
	leave(0);                                                /* queued and at work: was not for nothing */
	leave(0);
	cr_assert_eq(STAT(dropped), 1);
	consistent();
	leave(1);                                                /* granted, at work */
	leave(1);
	consistent();
	turn_end();
	run_tasks();
	cr_assert(granted(3));
	cr_assert_eq(hall.askers[0].wakes + hall.askers[1].wakes + hall.askers[2].wakes + hall.askers[4].wakes, 0);
	leave(3);                                                /* granted from the queue */
	cr_assert(!granted(3));
	cr_assert(STAT(queued) == 0 && STAT(at_work) == 0);
	cr_assert_eq(STAT(waited), 3);
	/* And may come again. */
	turn_end();
	cr_assert_eq(ask(2, ADMISSION_FULL, 1), ADMISSION_GRANTED);
	consistent();
}

/* ---- displaced ---- */

Test(tls_admission, the_oldest_at_work_goes_after_two_seconds_but_only_for_one_who_waits)
{
	hall_open(2, 100);
	ask(0, ADMISSION_FULL, 2);
	pass_ms(500);
	ask(1, ADMISSION_FULL, 2);
	pass_ms(60000);                                          /* nobody waits: they may take all the time they want */
	cr_assert(!hall.askers[0].place.displaced && !hall.askers[1].place.displaced);
	cr_assert_eq(hall.askers[0].wakes, 0);
	ask(2, ADMISSION_FULL, 2);
	run_tasks();
	cr_assert(hall.askers[0].place.displaced && !hall.askers[1].place.displaced);
	cr_assert_eq(hall.askers[0].wakes, 1);
	cr_assert_eq(STAT(displaced), 1);
	/* As long as he has not gone, the next oldest is safe. */
	ask(3, ADMISSION_FULL, 2);
	pass_ms(5000);
	cr_assert(!hall.askers[1].place.displaced && !granted(2));
	leave(0);
	run_tasks();
	cr_assert(granted(2));
	cr_assert(hall.askers[1].place.displaced);               /* for asker 3 */
	cr_assert_eq(STAT(displaced), 2);
	leave(1);
	run_tasks();
	cr_assert(granted(3));
	consistent();
}

Test(tls_admission, a_timer_displaces_when_nothing_else_happens)
{
	hall_open(1, 100);
	ask(0, ADMISSION_FULL, 2);
	pass_ms(1500);
	ask(1, ADMISSION_FULL, 2);
	run_tasks();
	cr_assert(!hall.askers[0].place.displaced);
	pass_ms(450);
	cr_assert(!hall.askers[0].place.displaced);
	pass_ms(50 + 2 * TIMER_TICK_MS);
	cr_assert(hall.askers[0].place.displaced);
	cr_assert_eq(hall.askers[0].wakes, 1);
	leave(0);
	run_tasks();
	cr_assert(granted(1));
	pass_ms(10000);
	cr_assert(!hall.askers[1].place.displaced);
	cr_assert_eq(STAT(displaced), 1);
	cr_assert_eq(hall.core.wheel.count, 0);
}

Test(tls_admission, a_waiting_one_who_leaves_takes_the_need_with_him)
{
	hall_open(1, 100);
	ask(0, ADMISSION_FULL, 2);
	ask(1, ADMISSION_FULL, 2);
	pass_ms(1000);
	leave(1);
	pass_ms(5000);
	cr_assert(!hall.askers[0].place.displaced);
	consistent();
}

/* One whose client has answered and who waits for us, does not take his time: we do. */
Test(tls_admission, who_waits_for_us_or_was_just_granted_is_not_displaced)
{
	hall_open(1, 100);
	ask(0, ADMISSION_FULL, 8);
	ask(1, ADMISSION_FULL, 2);
	run_tasks();
	hall.core.now_ms += DISPLACED_AFTER_MS;                  /* a turn that took long, or the timer is not due yet */
	hall.admission.units_left = 0;
	hall.askers[0].place.granted = false;
	cr_assert_eq(ask(0, ADMISSION_FINISHING, 1), ADMISSION_QUEUED);
	turn_end();
	run_tasks();
	cr_assert(granted(0));
	cr_assert(!hall.askers[0].place.displaced, "he was granted in this very turn");
}

/* A crowd at work that keeps us busy with crumbs, each of which is worth a turn to us, holds its places no longer than others. */
Test(tls_admission, those_at_work_who_ask_in_each_turn_can_be_displaced_too)
{
	hall_open(TURN_UNITS, 100);
	for (unsigned i = 1; i <= TURN_UNITS; i++)
		cr_assert_eq(ask(i, ADMISSION_FULL, 1), ADMISSION_GRANTED);
	cr_assert_eq(ask(0, ADMISSION_FULL, 2), ADMISSION_QUEUED);
	for (unsigned turn = 0; turn < 10000 && STAT(displaced) == 0; turn++) {
		hall.core.now_ms++;
		stat_add(&hall.core.stats.turns, 1);
		timer_wheel_run(&hall.core.wheel, hall.core.now_ms);
		link_move_all(&hall.core.run, &hall.core.later);
		for (unsigned i = 1; i <= TURN_UNITS; i++) {
			if (hall.askers[i].place.queued)
				continue;
			hall.askers[i].place.granted = false;
			ask(i, ADMISSION_FINISHING, 1);
		}
		run_tasks();
	}
	cr_assert_gt(STAT(displaced), 0, "not in ten seconds");
}

Test(tls_admission, a_place_that_was_displaced_may_be_used_again)
{
	hall_open(1, 100);
	ask(0, ADMISSION_FULL, 2);
	ask(1, ADMISSION_FULL, 2);
	pass_ms(DISPLACED_AFTER_MS + 2 * TIMER_TICK_MS);
	cr_assert(hall.askers[0].place.displaced);
	leave(0);
	cr_assert(!hall.askers[0].place.displaced);
	run_tasks();
	leave(1);
	turn_end();
	cr_assert_eq(ask(0, ADMISSION_FULL, 2), ADMISSION_GRANTED);
	ask(1, ADMISSION_FULL, 2);
	pass_ms(DISPLACED_AFTER_MS + 2 * TIMER_TICK_MS);
	cr_assert_eq(STAT(displaced), 2);
}

/* ---- all at once ---- */

/* Whatever happens in whatever order: the counters agree with the lists, and at the end nobody waits for ever. */
Test(tls_admission, a_long_random_life_stays_consistent_and_ends_with_everybody_served)
{
	uint32_t seed = 20240601;

	for (unsigned round = 0; round < 20; round++) {
		hall_open(1 + round % 7, round % 5 ? 40 : 5);
		for (unsigned step = 0; step < 4000; step++) {
			unsigned who, what;
			struct admission_place *p;

			seed = seed * 1664525u + 1013904223u;
			who = seed >> 26;
			what = seed >> 20 & 63;
			p = &hall.askers[who].place;
			if (what < 8) {
				hall.core.now_ms += what * 20;
				turn_end();
			} else if (what < 14) {
				leave(who);
			} else if (p->displaced) {
				leave(who);
				p->displaced = false;
			} else if (!p->queued) {
				ask(who, p->works ? ADMISSION_FINISHING : what % 3 ? ADMISSION_FULL : ADMISSION_RESUMING, 1 + what % 8);
			}
			consistent();
		}
		/* From now on whoever works, or was told to go, leaves; everyone who waits gets his place. */
		for (unsigned turn = 0; turn < 500; turn++) {
			for (unsigned i = 0; i < ASKERS_MAX; i++)
				if (hall.askers[i].place.works && !hall.askers[i].place.queued)
					leave(i);
			turn_end();
		}
		run_tasks();
		cr_assert_eq(STAT(queued), 0, "round %u", round);
		consistent();
	}
}
