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

/* He has computed what he was granted for, and waits for his client. */
static void computed(unsigned i)
{
	cr_assert(hall.askers[i].place.granted);
	hall.askers[i].place.granted = false;
}

/* Where units are not the matter. */
static void plenty(void)
{
	turn_look(&hall.admission);
	hall.admission.units_left = 100;
}

/* ---- units and turns ---- */

Test(tls_admission, as_many_as_the_turn_has_units_for_are_granted_at_once_and_the_others_in_the_next)
{
	const unsigned n = TURN_UNITS;

	hall_open(100, 100);
	for (unsigned i = 0; i < n; i++)
		cr_assert_eq(ask(i, ADMISSION_FULL, 1), ADMISSION_GRANTED);
	for (unsigned i = n; i < 3 * n + 1; i++)
		cr_assert_eq(ask(i, ADMISSION_FULL, 1), ADMISSION_QUEUED);
	consistent();
	run_tasks();
	for (unsigned i = 0; i < 3 * n + 1; i++) {
		cr_assert_eq(granted(i), i < n);
		cr_assert_eq(hall.askers[i].wakes, 0);           /* the first have been told by the answer */
	}
	for (unsigned turn = 1; turn <= 3; turn++) {
		cr_assert(!link_alone(&hall.core.later));        /* so the core does not sleep */
		turn_end();
		run_tasks();
		for (unsigned i = n; i < 3 * n + 1; i++) {
			cr_assert_eq(granted(i), i < (turn + 1) * n);
			cr_assert_eq(hall.askers[i].wakes, i < (turn + 1) * n ? 1 : 0);
		}
		consistent();
	}
	cr_assert(link_alone(&hall.core.later) && link_alone(&hall.core.run));
	cr_assert_eq(STAT(waited), 2 * n + 1);
	cr_assert_eq(STAT(at_work), 3 * n + 1);
}

Test(tls_admission, units_that_a_turn_leaves_do_not_add_up)
{
	hall_open(100, 100);
	for (unsigned turn = 0; turn < 10; turn++)
		turn_end();
	for (unsigned i = 0; i < 12; i++)
		cr_assert_eq(ask(i, ADMISSION_RESUMING, 1), i < TURN_UNITS ? ADMISSION_GRANTED : ADMISSION_QUEUED);
}

Test(tls_admission, an_expensive_one_comes_as_soon_as_a_unit_is_left_and_the_next_turns_pay)
{
	hall_open(100, 100);
	cr_assert_eq(ask(0, ADMISSION_RESUMING, 1), ADMISSION_GRANTED);
	cr_assert_eq(ask(1, ADMISSION_FULL, 8), ADMISSION_GRANTED);
	cr_assert_eq(hall.admission.units_left, TURN_UNITS - 9);
	cr_assert_eq(ask(2, ADMISSION_FINISHING, 1), ADMISSION_QUEUED);
	for (unsigned turn = 0; turn < 20 && !granted(2); turn++)
		turn_end(), run_tasks();
	/* 9 units were granted in the first turn; in this one there is something left again. */
	cr_assert_eq(hall.askers[2].granted_turn, 1 + 9 / TURN_UNITS);
	consistent();
}

Test(tls_admission, in_the_long_run_no_more_is_granted_than_the_turns_have)
{
	static const unsigned UNITS[] = { 1, 2, 3, 8, 255 };

	for (unsigned u = 0; u < array_count(UNITS); u++) {
		unsigned long long sum = 0;

		hall_open(100, 100);
		for (unsigned turn = 1; turn <= 2000; turn++) {
			for (unsigned i = 0; i < 10; i++) {
				if (hall.askers[i].place.queued)
					continue;
				if (granted(i))
					sum += UNITS[u];
				leave(i);
				ask(i, i % 2 ? ADMISSION_FULL : ADMISSION_RESUMING, UNITS[u]);
			}
			turn_end();
			run_tasks();
			/* One more, the last, is not paid for yet. */
			cr_assert_leq(sum, (turn + 1ull) * TURN_UNITS + UNITS[u]);
		}
		cr_assert_geq(sum, 1990ull * TURN_UNITS - UNITS[u], "%u units: %llu", UNITS[u], sum); /* nor much less */
	}
}

Test(tls_admission, what_turned_out_to_cost_more_is_paid_for_by_the_next_turns)
{
	hall_open(100, 100);
	cr_assert_eq(ask(0, ADMISSION_RESUMING, 1), ADMISSION_GRANTED);
	admission_charge(&hall.admission, 7);
	cr_assert_eq(ask(1, ADMISSION_RESUMING, 1), ADMISSION_QUEUED);
	for (unsigned turn = 0; turn < 20 && !granted(1); turn++)
		turn_end(), run_tasks();
	cr_assert_eq(hall.askers[1].granted_turn, 1 + 8 / TURN_UNITS);
}

/* The core was idle, or busy with others, for as many turns as it takes: nothing is owed any more. */
Test(tls_admission, turns_in_which_nobody_asked_pay_too)
{
	hall_open(100, 100);
	cr_assert_eq(ask(0, ADMISSION_FULL, 8), ADMISSION_GRANTED);
	leave(0);
	for (unsigned turn = 0; turn < 100; turn++)
		turn_end();
	cr_assert_eq(ask(1, ADMISSION_FULL, 8), ADMISSION_GRANTED, "%d units are left", hall.admission.units_left);
}

/* ---- order ---- */

Test(tls_admission, finishing_goes_first_and_the_other_two_take_turns_each_in_the_order_of_coming)
{
	/* i asks in this order, and is granted in the … -th turn from the next one */
	static const struct {
		enum admission_class class;
		unsigned turn;
	} ORDER[] = {
		{ ADMISSION_FULL, 3 }, { ADMISSION_RESUMING, 2 }, { ADMISSION_FULL, 5 }, { ADMISSION_FINISHING, 0 },
		{ ADMISSION_RESUMING, 4 }, { ADMISSION_FINISHING, 1 },
	};

	hall_open(100, 100);
	cr_assert_eq(ask(60, ADMISSION_FULL, TURN_UNITS), ADMISSION_GRANTED);
	for (unsigned i = 0; i < array_count(ORDER); i++)
		cr_assert_eq(ask(i, ORDER[i].class, TURN_UNITS), ADMISSION_QUEUED);
	for (unsigned turn = 0; turn < 8; turn++)
		turn_end();
	for (unsigned i = 0; i < array_count(ORDER); i++)
		cr_assert_eq(hall.askers[i].granted_turn, 2 + ORDER[i].turn, "%u: %u", i, hall.askers[i].granted_turn);
}

Test(tls_admission, nobody_who_waits_is_overtaken_by_one_who_comes_when_a_turn_is_fresh)
{
	hall_open(100, 100);
	cr_assert_eq(ask(0, ADMISSION_FULL, TURN_UNITS), ADMISSION_GRANTED);
	cr_assert_eq(ask(1, ADMISSION_FULL, 1), ADMISSION_QUEUED);
	run_tasks();
	stat_add(&hall.core.stats.turns, 1);                     /* a new turn, and the queue was not looked at yet */
	link_move_all(&hall.core.run, &hall.core.later);
	for (unsigned i = 2; i < 2 + TURN_UNITS; i++)
		cr_assert_eq(ask(i, i % 2 ? ADMISSION_RESUMING : ADMISSION_FULL, 1), ADMISSION_QUEUED);
	run_tasks();
	cr_assert(granted(1));
	cr_assert(!granted(1 + TURN_UNITS) || !granted(TURN_UNITS));
	consistent();
}

/* However many come of one class, turn after turn, and whatever they cost: one of the other class gets through before he gives up. */
static void not_starved(enum admission_class crowd, enum admission_class one)
{
	for (unsigned units = 1; units <= 20; units++) {
		unsigned turns = 0;

		hall_open(100, 100);
		for (unsigned i = 1; i <= 40; i++)
			ask(i, crowd, units);
		cr_assert_eq(ask(0, one, 1), ADMISSION_QUEUED);
		/* A turn with a full budget of them is less than a millisecond. */
		while (!granted(0) && turns++ < 1000) {
			for (unsigned i = 1; i <= 40; i++) {
				if (hall.askers[i].place.queued)
					continue;
				leave(i);
				ask(i, crowd, units);
			}
			turn_end();
			hall.core.now_ms++;
			run_tasks();
		}
		cr_assert(granted(0), "a crowd at %u units each: not in %u turns", units, turns);
		consistent();
	}
}

Test(tls_admission, resuming_ones_without_end_do_not_starve_a_full_one)
{
	not_starved(ADMISSION_RESUMING, ADMISSION_FULL);
}

Test(tls_admission, full_ones_without_end_do_not_starve_a_resuming_one)
{
	not_starved(ADMISSION_FULL, ADMISSION_RESUMING);
}

/* ---- places ---- */

Test(tls_admission, of_those_at_work_there_are_no_more_than_the_limit_and_one_who_leaves_lets_the_next_in)
{
	hall_open(3, 100);
	plenty();
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
	/* Who is at work needs no further place for his next part, though others wait for one. */
	computed(0);
	ask(0, ADMISSION_FINISHING, 1);
	run_tasks();
	cr_assert(granted(0) && !granted(4));
	leave(0);
	leave(2);
	for (unsigned turn = 0; turn < 2; turn++)
		turn_end(), run_tasks();
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
	computed(0);
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
	cr_assert_eq(ask(0, ADMISSION_FULL, TURN_UNITS), ADMISSION_GRANTED);
	cr_assert_eq(ask(1, ADMISSION_FULL, 1), ADMISSION_REFUSED);
	turn_end();
	cr_assert_eq(ask(1, ADMISSION_FULL, 1), ADMISSION_GRANTED);
}

/* ---- leaving ---- */

Test(tls_admission, anybody_may_leave_at_any_time_and_twice)
{
	hall_open(2, 2);
	leave(0);                                                /* never asked */
	leave(0);
	plenty();
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
	computed(0);
	cr_assert_eq(ask(0, ADMISSION_FINISHING, 1), ADMISSION_QUEUED);
	leave(0);                                                /* queued and at work: was not for nothing */
	leave(0);
	cr_assert_eq(STAT(dropped), 1);
	consistent();
	leave(1);                                                /* granted, at work */
	leave(1);
	consistent();
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
	hall_open(4, 100);
	ask(0, ADMISSION_FULL, 2);
	computed(0);
	pass_ms(500);
	ask(1, ADMISSION_FULL, 2);
	computed(1);
	pass_ms(60000);                                          /* nobody waits: they may take all the time they want */
	plenty();
	ask(2, ADMISSION_FULL, 2);
	ask(3, ADMISSION_FULL, 2);
	computed(2);
	computed(3);
	cr_assert(!hall.askers[0].place.displaced && !hall.askers[1].place.displaced);
	cr_assert_eq(hall.askers[0].wakes, 0);
	ask(4, ADMISSION_FULL, 2);
	run_tasks();
	cr_assert(hall.askers[0].place.displaced && !hall.askers[1].place.displaced);
	cr_assert_eq(hall.askers[0].wakes, 1);
	cr_assert_eq(STAT(displaced), 1);
	/* As long as he has not gone, he is the one who goes for that one. */
	pass_ms(1000);
	cr_assert(!hall.askers[1].place.displaced && !granted(4));
	ask(5, ADMISSION_FULL, 2);
	pass_ms(100);
	cr_assert(hall.askers[1].place.displaced && !hall.askers[2].place.displaced);
	cr_assert_eq(STAT(displaced), 2);
	leave(0);
	pass_ms(100);
	cr_assert(granted(4) && !granted(5));
	leave(1);
	pass_ms(100);
	cr_assert(granted(5));
	cr_assert_eq(STAT(displaced), 2);
	consistent();
}

Test(tls_admission, a_timer_displaces_when_nothing_else_happens)
{
	hall_open(2, 100);
	ask(0, ADMISSION_FULL, 1);
	computed(0);
	ask(9, ADMISSION_FULL, 1);                               /* he is granted all the time: we are the slow ones */
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
	computed(1);
	pass_ms(10000);
	cr_assert(!hall.askers[1].place.displaced);
	cr_assert_eq(STAT(displaced), 1);
	cr_assert_eq(hall.core.wheel.count, 0);
}

Test(tls_admission, where_as_many_wait_as_are_at_work_half_a_second_is_enough)
{
	hall_open(1, 100);
	ask(0, ADMISSION_FULL, 1);
	computed(0);
	ask(1, ADMISSION_FULL, 2);
	pass_ms(DISPLACED_SOON_MS - 2 * TIMER_TICK_MS);
	cr_assert(!hall.askers[0].place.displaced);
	pass_ms(4 * TIMER_TICK_MS);
	cr_assert(hall.askers[0].place.displaced);
}

/* Those who are at work and wait for their next part want no place. */
Test(tls_admission, no_more_go_than_places_are_wanted)
{
	hall_open(10, 100);
	plenty();
	for (unsigned i = 0; i < 10; i++) {
		cr_assert_eq(ask(i, ADMISSION_FULL, 1), ADMISSION_GRANTED);
		computed(i);
	}
	cr_assert_eq(ask(10, ADMISSION_FULL, 1), ADMISSION_QUEUED);
	hall.core.now_ms += DISPLACED_AFTER_MS;
	for (unsigned i = 5; i < 10; i++)
		cr_assert_eq(ask(i, ADMISSION_FINISHING, 1), ADMISSION_QUEUED);
	run_tasks();
	cr_assert_eq(STAT(displaced), 1, "%u had to go for one", (unsigned)STAT(displaced));
	cr_assert(hall.askers[0].place.displaced);
}

/* All who have had their time are with us for a moment when it is looked at: soon after, one of them is silent again. */
Test(tls_admission, one_who_was_spared_because_we_were_slow_goes_when_he_is_silent_after_it)
{
	hall_open(1, 100);
	ask(0, ADMISSION_FULL, 2);
	computed(0);
	ask(1, ADMISSION_FULL, 2);
	run_tasks();
	hall.core.now_ms += DISPLACED_AFTER_MS - 1;
	turn_end();
	cr_assert_neq(ask(0, ADMISSION_FINISHING, 1), ADMISSION_REFUSED);
	hall.core.now_ms += TIMER_TICK_MS + 1;
	turn_end();                                              /* the timer is due while he is granted */
	run_tasks();
	cr_assert(granted(0) && !hall.askers[0].place.displaced);
	computed(0);
	pass_ms(1000);
	cr_assert(hall.askers[0].place.displaced, "the one who waits, waits for ever");
}

Test(tls_admission, a_waiting_one_who_leaves_takes_the_need_with_him)
{
	hall_open(2, 100);
	ask(0, ADMISSION_FULL, 1);
	computed(0);
	ask(9, ADMISSION_FULL, 1);
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
	computed(0);
	ask(1, ADMISSION_FULL, 2);
	run_tasks();
	hall.core.now_ms += DISPLACED_AFTER_MS;                  /* a turn that took long, or the timer is not due yet */
	cr_assert_eq(ask(0, ADMISSION_FINISHING, 1), ADMISSION_QUEUED);
	for (unsigned turn = 0; turn < 8 && !granted(0); turn++) {
		turn_end();
		run_tasks();
		cr_assert(!hall.askers[0].place.displaced);
	}
	cr_assert(granted(0));
}

/* A crowd that spends each turn's units does not hide one who sits silent on a place. */
Test(tls_admission, a_silent_one_is_displaced_however_busy_the_others_keep_us)
{
	hall_open(TURN_UNITS + 1, 100);
	plenty();
	for (unsigned i = 1; i <= TURN_UNITS + 1; i++)
		cr_assert_eq(ask(i, ADMISSION_FULL, 1), ADMISSION_GRANTED);
	computed(TURN_UNITS + 1);
	cr_assert_eq(ask(0, ADMISSION_FULL, 2), ADMISSION_QUEUED);
	for (unsigned ms = 0; ms < 2100; ms++) {
		hall.core.now_ms++;
		for (unsigned i = 1; i <= TURN_UNITS; i++) {
			if (hall.askers[i].place.queued)
				continue;
			computed(i);
			ask(i, ADMISSION_FINISHING, 1);
		}
		turn_end();
		run_tasks();
	}
	cr_assert(hall.askers[TURN_UNITS + 1].place.displaced);
	cr_assert_eq(STAT(displaced), 1);
}

Test(tls_admission, a_place_that_was_displaced_may_be_used_again)
{
	hall_open(1, 100);
	ask(0, ADMISSION_FULL, 2);
	computed(0);
	ask(1, ADMISSION_FULL, 2);
	pass_ms(DISPLACED_AFTER_MS + 2 * TIMER_TICK_MS);
	cr_assert(hall.askers[0].place.displaced);
	leave(0);
	cr_assert(!hall.askers[0].place.displaced);
	run_tasks();
	leave(1);
	turn_end();
	turn_end();
	cr_assert_eq(ask(0, ADMISSION_FULL, 2), ADMISSION_GRANTED);
	computed(0);
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
