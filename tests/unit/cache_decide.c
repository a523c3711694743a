/* The rules, the permits, and both together on several cores in every order (cache_cores.h). */
#include "cache/decide.c"
#include "cache/permits.c"

#include "tests/unit/cache_cores.h"

static void run(unsigned count, bool patient, uint64_t seed, unsigned steps, unsigned crashes_in, unsigned seen[32])
{
	struct cores *w = cores_open(count, patient, seed);
	const unsigned commits = 3 + (unsigned)draw(w, 30);
	unsigned ends[CORES_MAX];
	struct truth truth;

	for (unsigned i = 0; i < steps; i++) {
		step(w, commits);
		if (crashes_in > 0 && draw(w, crashes_in) == 0)
			crash(w);
	}
	rest(w);
	for (unsigned i = 0; i < w->streams; i++)
		ends[i] = w->stream[i].count;
	history_check(w, ends, &truth);
	cr_assert_arr_eq(truth.n, w->truth.n, sizeof(truth.n));
	for (unsigned i = 0; i < 5; i++)
		seen[i] += w->done[i];
	for (unsigned i = 0; i < 10; i++)
		seen[5 + i] += w->refused[i];
	seen[15] += w->recalls;
	seen[16] += w->grants;
	seen[17] += w->crashes;
	cores_close(w);
}

Test(cache_decide, any_order_of_messages_and_commits_keeps_every_book_and_decides_every_command)
{
	unsigned seen[32] = { 0 };

	for (uint64_t seed = 1; seed <= 80; seed++)
		run(1 + (unsigned)(seed % CORES_MAX), seed % 3 > 0, seed, 2500, 0, seen);
	for (unsigned i = 0; i <= 16; i++)
		cr_expect(seen[i] > 0 || i == 5 || i == 14, "nothing of kind %u happened", i);
}

Test(cache_decide, any_crash_leaves_a_history_without_a_fault)
{
	unsigned seen[32] = { 0 };

	for (uint64_t seed = 1001; seed <= 1080; seed++)
		run(1 + (unsigned)(seed % CORES_MAX), seed % 3 > 0, seed, 2500, 20 + 4 * (unsigned)(seed % 100), seen);
	cr_expect_gt(seen[17], 400);
}

/* --- one rule at a time ------------------------------------------------------------------------------------------------- */

static struct cores *W;

static void begin(void)
{
	W = cores_open(2, true, 1);
}

static void end(void)
{
	cores_close(W);
}

static struct command change(unsigned kind, int64_t by)
{
	struct command command = { .kind = COMMAND_CHANGE, .site = W->site[0] };

	command.by[kind] = by;
	return command;
}

static struct command rules(uint32_t site, bool sets_status, enum count_status status, bool sets_cap, int64_t cap)
{
	return (struct command){ .kind = COMMAND_RULES, .site = site, .sets_status = sets_status, .status = status, .sets_cap = sets_cap, .cap = cap };
}

static struct command reserve(uint64_t number, int64_t amount, uint64_t expires_ms)
{
	return (struct command){ .kind = COMMAND_RESERVE, .site = W->site[0], .reservation = number, .amount = amount, .expires_ms = expires_ms };
}

static struct command reserved(enum command_kind kind, uint64_t number)
{
	return (struct command){ .kind = kind, .site = W->site[0], .reservation = number };
}

/* Decided by itself: whatever is recalled is given back at once, and what is decided is durable at once unless `outcome` is wanted. */
static enum count_refusal told_at(struct command command, unsigned asker, uint64_t now_ms, struct outcome *wanted)
{
	struct outcome own, *outcome = wanted != NULL ? wanted : &own;
	enum decision decision;

	while ((decision = decider_decide(W->decider, &command, asker, now_ms, outcome)) != DECIDED) {
		uint32_t of = decision == RECALL_STUDY ? COUNT_STUDY : command.site;

		cr_assert(decision == RECALL_SITE || decision == RECALL_STUDY, "told %d, where a recall is all that may be wanted", (int)decision);
		for (unsigned core = 0; core < W->count; core++) {
			if (decider_holds(W->decider, of, core))
				decider_recalled(W->decider, of, core, permits_recall(W->permits[core], of));
		}
	}
	if (outcome->refusal == REFUSAL_NONE && wanted == NULL)
		decider_publish(W->decider, &outcome->effect, 1);
	return outcome->refusal;
}

static enum count_refusal told_now(struct command command)
{
	return told_at(command, 0, 0, NULL);
}

#define NO_STATUS false, COUNT_RECRUITING
#define NO_CAP_SET false, 0

Test(cache_decide, every_rule_refuses_by_its_name, .init = begin, .fini = end)
{
	const uint32_t site = W->site[0];

	cr_expect_eq(told_now(change(COUNT_ENROLLED, -1)), REFUSAL_BELOW_ZERO);
	cr_expect_eq(told_now(change(COUNT_WITHDRAWN, 1)), REFUSAL_BELOW_ZERO, "the count, though no kind is below zero");
	cr_expect_eq(told_now(change(COUNT_SCREENED, -1)), REFUSAL_BELOW_ZERO);
	cr_expect_eq(told_now(rules(site, NO_STATUS, true, 3)), REFUSAL_NONE);
	cr_expect_eq(told_now(change(COUNT_ENROLLED, 4)), REFUSAL_SITE_CAP);
	cr_expect_eq(told_now(change(COUNT_ENROLLED, 2)), REFUSAL_NONE);
	cr_expect_eq(told_now(change(COUNT_WITHDRAWN, 3)), REFUSAL_BELOW_ZERO);
	cr_expect_eq(told_now(rules(COUNT_STUDY, NO_STATUS, true, 2)), REFUSAL_NONE);
	cr_expect_eq(told_now(change(COUNT_ENROLLED, 1)), REFUSAL_STUDY_CAP);
	cr_expect_eq(told_now(change(COUNT_ENROLLED, 2)), REFUSAL_SITE_CAP, "the site's is named first");
	cr_expect_eq(told_now(change(COUNT_SCREENED, 5)), REFUSAL_NONE, "no cap is on what is no count");
	cr_expect_eq(told_now(change(COUNT_WITHDRAWN, 1)), REFUSAL_NONE);
	cr_expect_eq(told_now(change(COUNT_WITHDRAWN, -1)), REFUSAL_NONE);
	cr_expect_eq(told_now(change(COUNT_WITHDRAWN, -1)), REFUSAL_BELOW_ZERO);
	cr_expect_eq(told_now(rules(site, true, COUNT_PAUSED, NO_CAP_SET)), REFUSAL_NONE);
	cr_expect_eq(told_now(change(COUNT_ENROLLED, 1)), REFUSAL_SITE_PAUSED);
	cr_expect_eq(told_now(change(COUNT_SCREENED, 1)), REFUSAL_SITE_PAUSED);
	cr_expect_eq(told_now(reserve(1, 1, 9)), REFUSAL_SITE_PAUSED);
	cr_expect_eq(told_now(change(COUNT_RANDOMISED, 1)), REFUSAL_NONE);
	cr_expect_eq(told_now(change(COUNT_ENROLLED, -1)), REFUSAL_NONE);
	cr_expect_eq(told_now(rules(site, true, COUNT_CLOSED, NO_CAP_SET)), REFUSAL_NONE);
	cr_expect_eq(told_now(change(COUNT_ENROLLED, -1)), REFUSAL_SITE_CLOSED);
	cr_expect_eq(told_now(change(COUNT_RANDOMISED, 1)), REFUSAL_SITE_CLOSED);
	cr_expect_eq(told_now(reserve(1, 1, 9)), REFUSAL_SITE_CLOSED);
	cr_expect_eq(told_now(rules(site, true, COUNT_RECRUITING, NO_CAP_SET)), REFUSAL_NONE);
	cr_expect_eq(told_now(change(COUNT_ENROLLED, 1)), REFUSAL_NONE);
}

Test(cache_decide, a_reservation_is_confirmed_released_or_runs_out_once, .init = begin, .fini = end)
{
	struct effect effect;
	struct count_site found;

	cr_assert_eq(told_now(rules(W->site[0], NO_STATUS, true, 4)), REFUSAL_NONE);
	cr_assert_eq(told_now(reserve(1, 2, 10)), REFUSAL_NONE);
	cr_expect_eq(told_now(reserve(2, 3, 10)), REFUSAL_SITE_CAP);
	cr_expect_eq(told_now(change(COUNT_ENROLLED, 3)), REFUSAL_SITE_CAP);
	cr_assert_eq(told_now(reserve(2, 1, 20)), REFUSAL_NONE);
	cr_assert_eq(told_now(reserve(3, 1, 30)), REFUSAL_NONE);
	cr_expect_eq(told_now(reserved(COMMAND_CONFIRM, 1)), REFUSAL_NONE);
	cr_expect_eq(told_now(reserved(COMMAND_CONFIRM, 1)), REFUSAL_RESERVATION_UNKNOWN);
	cr_expect_eq(told_now(reserved(COMMAND_RELEASE, 2)), REFUSAL_NONE);
	cr_expect_eq(told_now(reserved(COMMAND_RELEASE, 2)), REFUSAL_RESERVATION_UNKNOWN);
	cr_expect_eq(told_at(reserved(COMMAND_CONFIRM, 3), 0, 30, NULL), REFUSAL_RESERVATION_UNKNOWN, "its time is over");
	cr_expect_eq(decider_next_expiry_ms(W->decider), 30);
	cr_expect_not(decider_expire(W->decider, 29, &effect));
	cr_assert(decider_expire(W->decider, 30, &effect));
	cr_expect(effect.expired && effect.reservation == 3 && effect.amount == 1 && effect.kind == COMMAND_RELEASE);
	decider_publish(W->decider, &effect, 2);
	cr_expect_not(decider_expire(W->decider, 31, &effect));
	cr_expect_eq(decider_next_expiry_ms(W->decider), UINT64_MAX);
	count_look(W->table, W->site[0], &found);
	cr_expect_eq(found.count, 2);
	cr_expect_eq(found.rules.reserved, 0);
	cr_expect_eq(found.rules.changes, 7);
	cr_expect_eq(found.revision, 8);
	cr_expect_eq(told_now((struct command){ .kind = COMMAND_RELEASE, .site = W->site[1], .reservation = 9 }), REFUSAL_RESERVATION_UNKNOWN);
}

Test(cache_decide, a_cap_below_what_is_there_lets_nothing_rise_and_reservations_only_up_to_it, .init = begin, .fini = end)
{
	cr_assert_eq(told_now(change(COUNT_ENROLLED, 5)), REFUSAL_NONE);
	cr_assert_eq(told_now(reserve(1, 2, 10)), REFUSAL_NONE);
	cr_assert_eq(told_now(reserve(2, 1, 10)), REFUSAL_NONE);
	cr_assert_eq(told_now(rules(W->site[0], NO_STATUS, true, 6)), REFUSAL_NONE);
	cr_expect_eq(told_now(change(COUNT_ENROLLED, 1)), REFUSAL_SITE_CAP, "it is reserved");
	cr_expect_eq(told_now(reserved(COMMAND_CONFIRM, 1)), REFUSAL_SITE_CAP);
	cr_expect_eq(told_now(reserved(COMMAND_CONFIRM, 2)), REFUSAL_NONE);
	cr_expect_eq(told_now(reserved(COMMAND_RELEASE, 1)), REFUSAL_NONE);
	cr_expect_eq(told_now(change(COUNT_ENROLLED, 1)), REFUSAL_SITE_CAP);
}

Test(cache_decide, reservations_are_bounded, .init = begin, .fini = end)
{
	for (uint64_t i = 1; i <= RESERVATIONS_MAX; i++)
		cr_assert_eq(told_now(reserve(i, 1, 10)), REFUSAL_NONE);
	cr_expect_eq(told_now(reserve(100, 1, 10)), REFUSAL_RESERVATIONS_FULL);
	cr_expect_eq(told_now(reserved(COMMAND_RELEASE, 3)), REFUSAL_NONE);
	cr_expect_eq(told_now(reserve(100, 1, 10)), REFUSAL_NONE);
}

Test(cache_decide, the_first_rules_of_a_site_are_recorded_and_then_only_what_changes_something, .init = begin, .fini = end)
{
	struct command command = rules(W->site[0], true, COUNT_RECRUITING, true, COUNT_NO_CAP);
	struct outcome outcome;

	cr_assert_eq(told_at(command, 0, 0, &outcome), REFUSAL_NONE);
	cr_expect_not(outcome.effect.nothing);
	cr_expect(outcome.founds);
	cr_expect_eq(outcome.effect.rules.changes, 1);
	decider_publish(W->decider, &outcome.effect, 5);
	cr_assert_eq(told_at(command, 0, 0, &outcome), REFUSAL_NONE);
	cr_expect(outcome.effect.nothing);
	cr_expect_not(outcome.founds);
	decider_publish(W->decider, &outcome.effect, 6);
	command.if_none_match = (struct condition){ .given = true, .any = true };
	cr_expect_eq(told_now(command), REFUSAL_SITE_CHANGED);
	command.if_none_match = (struct condition){ .given = true, .revision_count = 2, .revisions = { 3, 1 } };
	cr_expect_eq(told_now(command), REFUSAL_SITE_CHANGED);
	command.if_none_match = (struct condition){ 0 };
	command.if_match = (struct condition){ .given = true, .revision_count = 1, .revisions = { 2 } };
	cr_expect_eq(told_now(command), REFUSAL_SITE_CHANGED);
	command.if_match.revisions[0] = 1;
	command.cap = 7;
	cr_expect_eq(told_now(command), REFUSAL_NONE);
	cr_expect_eq(told_now(command), REFUSAL_SITE_CHANGED, "it is at revision 2 by now");
	command.cap = 8;
	command.if_match = (struct condition){ .given = true, .any = true };
	command.if_none_match = (struct condition){ .given = true, .revision_count = 2, .revisions = { 3, 1 } };
	cr_expect_eq(told_now(command), REFUSAL_NONE);
	command.cap = 9;
	cr_expect_eq(told_now(command), REFUSAL_SITE_CHANGED, "it is at revision 3 by now");
}

Test(cache_decide, rules_found_a_site_of_which_nothing_was_recorded_and_none_else, .init = begin, .fini = end)
{
	struct outcome first, second;

	/* Neither is published yet. */
	cr_assert_eq(told_at(rules(W->site[0], NO_STATUS, true, 1), 0, 0, &first), REFUSAL_NONE);
	cr_assert_eq(told_at(rules(W->site[0], NO_STATUS, true, 2), 1, 0, &second), REFUSAL_NONE);
	cr_expect(first.founds);
	cr_expect_not(second.founds);
	decider_publish(W->decider, &first.effect, 1);
	decider_publish(W->decider, &second.effect, 2);
	cr_assert_eq(told_at(change(COUNT_SCREENED, 1), 0, 0, NULL), REFUSAL_NONE);
	count_apply(W->table, 1, W->site[1], (int64_t[COUNT_KINDS]){ 1 }, 3);
	cr_assert_eq(told_at(rules(W->site[1], NO_STATUS, true, 1), 0, 0, &first), REFUSAL_NONE);
	cr_expect_not(first.founds, "it was counted at before");
	decider_publish(W->decider, &first.effect, 4);
}

Test(cache_decide, a_site_that_is_not_entered_is_refused_as_one_and_entered_when_it_would_be_done, .init = begin, .fini = end)
{
	const struct condition one = { .given = true, .revision_count = 1, .revisions = { 1 } }, any = { .given = true, .any = true };
	struct command command = { .site = COUNT_SITE_NONE };
	struct count_stats before, after;
	struct outcome outcome;

	count_stats(W->table, &before);
	for (unsigned kind = 0; kind < COUNT_KINDS; kind++) {
		command.by[kind] = -1;
		cr_expect_eq(told_now(command), REFUSAL_BELOW_ZERO);
		command.by[kind] = 0;
	}
	command.by[COUNT_WITHDRAWN] = 1;
	cr_expect_eq(told_now(command), REFUSAL_BELOW_ZERO);
	command = (struct command){ .site = COUNT_SITE_NONE, .kind = COMMAND_CONFIRM, .reservation = 7 };
	cr_expect_eq(told_now(command), REFUSAL_RESERVATION_UNKNOWN);
	command.kind = COMMAND_RELEASE;
	cr_expect_eq(told_now(command), REFUSAL_RESERVATION_UNKNOWN);
	command = rules(COUNT_SITE_NONE, NO_STATUS, true, 5);
	command.if_match = one;
	cr_expect_eq(told_now(command), REFUSAL_SITE_CHANGED);
	command.if_match = any;
	cr_expect_eq(told_now(command), REFUSAL_SITE_CHANGED);
	command.if_match = (struct condition){ 0 };
	command.if_none_match = one;
	cr_expect_eq(decider_decide(W->decider, &command, 0, 0, &outcome), ENTER_SITE);
	command.if_none_match = any;
	cr_expect_eq(decider_decide(W->decider, &command, 0, 0, &outcome), ENTER_SITE);
	command = (struct command){ .site = COUNT_SITE_NONE, .kind = COMMAND_RESERVE, .reservation = 7, .amount = 1, .expires_ms = 9 };
	cr_expect_eq(decider_decide(W->decider, &command, 0, 0, &outcome), ENTER_SITE);

	/* The study's cap: what cores hold is recalled first, and what they spent counts. */
	cr_expect(permits_may_found(W->permits[1], (int64_t[COUNT_KINDS]){ [COUNT_ENROLLED] = 1 }));
	cr_expect_eq(told_now(rules(COUNT_STUDY, NO_STATUS, true, 2)), REFUSAL_NONE);
	cr_expect_not(permits_may_found(W->permits[1], (int64_t[COUNT_KINDS]){ [COUNT_ENROLLED] = 1 }));
	cr_expect(permits_may_found(W->permits[1], (int64_t[COUNT_KINDS]){ [COUNT_SCREENED] = 1 }), "the study has nothing to say to it");
	cr_expect_not(permits_may_found(W->permits[1], (int64_t[COUNT_KINDS]){ [COUNT_WITHDRAWN] = 1 }));
	command = (struct command){ .site = COUNT_SITE_NONE, .by = { [COUNT_ENROLLED] = 3 } };
	cr_expect_eq(told_now(command), REFUSAL_STUDY_CAP);
	command.by[COUNT_ENROLLED] = 2;
	cr_expect_eq(decider_decide(W->decider, &command, 0, 0, &outcome), ENTER_SITE);
	count_stats(W->table, &after);
	cr_expect_eq(before.sites, after.sites);

	/* Entered meanwhile, it is a site like others. */
	command.site = W->site[0];
	cr_expect_eq(told_now(command), REFUSAL_NONE);
	cr_expect_eq(count_read(W->table, W->site[0]), 2);
}

Test(cache_decide, a_full_line_refuses, .init = begin, .fini = end)
{
	const struct line line = { .n = { [COUNT_ENROLLED] = SHARD_LINE_FULL + 1 }, .changes = 1 };

	cr_assert_eq(count_line_restore(W->table, 0, W->site[0], &line), COUNT_OK);
	cr_expect_eq(told_now(change(COUNT_ENROLLED, 1)), REFUSAL_COUNT_FULL);
}

/* --- permits ------------------------------------------------------------------------------------------------------------- */

static void granted(unsigned core, const struct outcome *outcome)
{
	if (outcome->grant_site > 0)
		permits_grant(W->permits[core], W->site[0], outcome->grant_site);
	if (outcome->grant_study > 0)
		permits_grant(W->permits[core], COUNT_STUDY, outcome->grant_study);
}

static struct outcome asked(unsigned core)
{
	struct command command = change(COUNT_ENROLLED, 1);
	struct outcome outcome;

	permits_ask(W->permits[core], &command);
	cr_assert_eq(told_at(command, core, 0, &outcome), REFUSAL_NONE);
	decider_publish(W->decider, &outcome.effect, 1);
	return outcome;
}

Test(cache_decide, a_core_raises_by_itself_where_nothing_stands_against_it_and_nothing_else, .init = begin, .fini = end)
{
	static const int64_t NOTHING[COUNT_KINDS] = { 0 };

	cr_expect(permits_take(W->permits[1], W->site[0], change(COUNT_ENROLLED, 1000000).by));
	cr_expect(permits_take(W->permits[1], W->site[0], change(COUNT_SCREENED, 1).by));
	cr_expect(permits_take(W->permits[1], W->site[0], change(COUNT_RANDOMISED, 1).by));
	cr_expect_not(permits_take(W->permits[1], W->site[0], change(COUNT_WITHDRAWN, 1).by));
	cr_expect_not(permits_take(W->permits[1], W->site[0], change(COUNT_ENROLLED, -1).by));
	cr_expect_not(permits_take(W->permits[1], W->site[0], NOTHING));
	permits_give_back(W->permits[1], W->site[0], change(COUNT_ENROLLED, 1000000).by);
	cr_expect_eq(permits_recall(W->permits[1], W->site[0]), PERMIT_UNBOUNDED);
	cr_expect_not(permits_take(W->permits[1], W->site[0], change(COUNT_SCREENED, 1).by));
	permits_grant(W->permits[1], W->site[0], PERMIT_UNBOUNDED);
	cr_expect(permits_take(W->permits[1], W->site[0], change(COUNT_SCREENED, 1).by));
}

Test(cache_decide, allotments_grow_less_towards_the_cap_and_end_before_it, .init = begin, .fini = end)
{
	int64_t before = INT64_MAX;
	struct outcome outcome;

	cr_assert_eq(told_now(rules(W->site[0], NO_STATUS, true, 1000)), REFUSAL_NONE);
	while ((outcome = asked(1)).grant_site > 0) {
		cr_assert_lt(outcome.grant_site, before);
		before = outcome.grant_site;
		granted(1, &outcome);
		while (permits_take(W->permits[1], W->site[0], change(COUNT_ENROLLED, 1).by))
			;
	}
	cr_expect_lt(before, 2 * ALLOTMENT_LEAST);
	cr_expect_eq(outcome.grant_study, 0);
	cr_expect_lt(book_free(book_find(W->decider, W->site[0])), 4 * ALLOTMENT_PART * ALLOTMENT_LEAST);
}

Test(cache_decide, many_questions_at_once_are_given_one_allotment, .init = begin, .fini = end)
{
	struct command command[50];
	struct outcome outcome;
	int64_t first;

	cr_assert_eq(told_now(rules(W->site[0], NO_STATUS, true, 10000)), REFUSAL_NONE);
	for (unsigned i = 0; i < 50; i++) {
		command[i] = change(COUNT_ENROLLED, 1);
		permits_ask(W->permits[1], &command[i]);
	}
	cr_assert_eq(told_at(command[0], 1, 0, &outcome), REFUSAL_NONE);
	first = outcome.grant_site;
	cr_expect_eq(first, 9999 / (2 * ALLOTMENT_PART));
	for (unsigned i = 1; i < 50; i++) {
		cr_assert_eq(told_at(command[i], 1, 0, &outcome), REFUSAL_NONE);
		cr_expect_eq(outcome.grant_site, 0);
	}
	/* The other core has its own share of what is left. */
	cr_expect_gt(asked(0).grant_site, first / 2);
}

Test(cache_decide, nothing_is_handed_out_that_a_crash_could_take_back, .init = begin, .fini = end)
{
	struct outcome lower, higher, outcome;

	cr_assert_eq(told_now(rules(W->site[0], NO_STATUS, true, 100)), REFUSAL_NONE);
	cr_assert_eq(told_now(change(COUNT_ENROLLED, 100)), REFUSAL_NONE);
	cr_assert_eq(told_at(change(COUNT_WITHDRAWN, 80), 0, 0, &lower), REFUSAL_NONE);
	cr_expect_eq(asked(1).grant_site, 0, "though there is room, for the decider's own records");
	decider_publish(W->decider, &lower.effect, 2);
	outcome = asked(1);
	cr_expect_gt(outcome.grant_site, 0);
	granted(1, &outcome);
	cr_assert_eq(told_at(rules(W->site[0], NO_STATUS, true, 1000), 0, 0, &higher), REFUSAL_NONE);
	while (permits_take(W->permits[1], W->site[0], change(COUNT_ENROLLED, 1).by))
		;
	cr_expect_eq(asked(1).grant_site, 0);
	decider_publish(W->decider, &higher.effect, 3);
	cr_expect_gt(asked(1).grant_site, 0);
}

Test(cache_decide, who_was_refused_below_zero_is_not_overtaken_by_raises_of_others, .init = begin, .fini = end)
{
	struct outcome raise, lower, outcome;

	cr_assert_eq(told_now(rules(W->site[0], true, COUNT_PAUSED, false, 0)), REFUSAL_NONE);
	cr_assert_eq(told_now(rules(W->site[0], true, COUNT_RECRUITING, false, 0)), REFUSAL_NONE);
	cr_assert_eq(told_at(change(COUNT_ENROLLED, 5), 0, 0, &raise), REFUSAL_NONE);
	decider_publish(W->decider, &raise.effect, 1);
	cr_assert_eq(told_at(change(COUNT_ENROLLED, -5), 0, 0, &lower), REFUSAL_NONE);
	cr_assert_eq(told_at(change(COUNT_ENROLLED, -5), 0, 0, &outcome), REFUSAL_BELOW_ZERO);
	cr_expect_eq(asked(1).grant_site, 0, "what core 1 raises is seen before what was lowered");
	decider_publish(W->decider, &lower.effect, 2);
	cr_expect_eq(asked(1).grant_site, PERMIT_UNBOUNDED);
}

/* As the line of another core's, that a power cut may take. */
static void raised_on_core_1(int64_t by)
{
	const struct command command = change(COUNT_ENROLLED, by);

	cr_assert(permits_take(W->permits[1], W->site[0], command.by));
	cr_assert_eq(count_reserve(W->table, 1, W->site[0]), COUNT_OK);
	count_apply(W->table, 1, W->site[0], command.by, 1);
}

Test(cache_decide, where_cores_publish_early_only_what_is_synced_is_lowered, .init = begin, .fini = end)
{
	struct command lower = change(COUNT_ENROLLED, -3);
	struct outcome outcome;

	W->decider->early = true;
	raised_on_core_1(3);
	cr_assert_eq(decider_decide(W->decider, &lower, 0, 0, &outcome), SYNC_SITE);
	raised_on_core_1(4);
	decider_synced(W->decider, W->site[0]);
	cr_assert_eq(decider_decide(W->decider, &lower, 0, 0, &outcome), DECIDED);
	cr_expect_eq(outcome.refusal, REFUSAL_NONE);
	decider_publish(W->decider, &outcome.effect, 2);
	lower = change(COUNT_ENROLLED, -1);
	cr_expect_eq(decider_decide(W->decider, &lower, 0, 0, &outcome), SYNC_SITE, "the four came behind the sync");
	decider_synced(W->decider, W->site[0]);
	/* What is recorded in stream 0 itself stands before. */
	cr_assert_eq(told_now(change(COUNT_ENROLLED, 2)), REFUSAL_NONE);
	lower = change(COUNT_WITHDRAWN, 6);
	cr_expect_eq(decider_decide(W->decider, &lower, 0, 0, &outcome), DECIDED);
	cr_expect_eq(outcome.refusal, REFUSAL_NONE);
	lower = change(COUNT_SCREENED, -1);
	cr_expect_neq(decider_decide(W->decider, &lower, 0, 0, &outcome), SYNC_SITE, "there is none, synced or not");
	decider_forget(W->decider, &lower);
}

Test(cache_decide, what_others_may_come_to_rest_on_is_told, .init = begin, .fini = end)
{
	struct command reserve = { .kind = COMMAND_RESERVE, .site = W->site[0], .amount = 1, .reservation = 7, .expires_ms = 10 };
	struct outcome outcome;
	struct effect effect;

	cr_assert_eq(told_now(change(COUNT_ENROLLED, 9)), REFUSAL_NONE);
	cr_assert_eq(told_at(change(COUNT_ENROLLED, -1), 0, 0, &outcome), REFUSAL_NONE);
	cr_expect_not(outcome.effect.makes_room, "no cap, no room");
	decider_publish(W->decider, &outcome.effect, 1);
	cr_assert_eq(told_at(rules(COUNT_STUDY, NO_STATUS, true, 1000), 0, 0, &outcome), REFUSAL_NONE);
	cr_expect(outcome.effect.makes_room);
	decider_publish(W->decider, &outcome.effect, 2);
	cr_assert_eq(told_at(rules(COUNT_STUDY, NO_STATUS, true, 1000), 0, 0, &outcome), REFUSAL_NONE);
	cr_expect_not(outcome.effect.makes_room, "it is so already");
	cr_assert_eq(told_at(change(COUNT_ENROLLED, 1), 0, 0, &outcome), REFUSAL_NONE);
	cr_expect_not(outcome.effect.makes_room);
	decider_publish(W->decider, &outcome.effect, 3);
	cr_assert_eq(told_at(change(COUNT_WITHDRAWN, 1), 0, 0, &outcome), REFUSAL_NONE);
	cr_expect(outcome.effect.makes_room);
	decider_publish(W->decider, &outcome.effect, 4);
	cr_assert_eq(told_at(reserve, 0, 0, &outcome), REFUSAL_NONE);
	cr_expect_not(outcome.effect.makes_room);
	decider_publish(W->decider, &outcome.effect, 5);
	cr_assert(decider_expire(W->decider, 10, &effect));
	cr_expect(effect.makes_room);
	decider_publish(W->decider, &effect, 6);
}

Test(cache_decide, what_was_given_back_after_a_recall_had_told_it_as_spent_can_be_spent, .init = begin, .fini = end)
{
	struct permits *p = W->permits[1];
	const struct command one = change(COUNT_ENROLLED, 1);

	cr_assert_eq(told_now(rules(W->site[0], NO_STATUS, true, 1000)), REFUSAL_NONE);
	permits_grant(p, W->site[0], 10);
	cr_assert(permits_take(p, W->site[0], one.by));
	cr_assert_eq(permits_recall(p, W->site[0]), 9);
	permits_give_back(p, W->site[0], one.by);
	cr_assert_not(permits_take(p, W->site[0], one.by), "it asks, all the same");
	permits_grant(p, W->site[0], 10);
	cr_assert_eq(permits_recall(p, W->site[0]), 11);
}

Test(cache_decide, a_command_that_is_given_up_holds_up_nothing, .init = begin, .fini = end)
{
	struct command command = rules(W->site[0], NO_STATUS, true, 1000);
	struct outcome outcome;

	cr_assert_eq(decider_decide(W->decider, &command, 0, 0, &outcome), RECALL_SITE);
	cr_assert(command.waits_site);
	decider_forget(W->decider, &command);
	for (unsigned core = 0; core < 2; core++)
		decider_recalled(W->decider, W->site[0], core, permits_recall(W->permits[core], W->site[0]));
	cr_expect_eq(asked(1).grant_site, PERMIT_UNBOUNDED);
	cr_expect_not(decider_holds(W->decider, W->site[0], 0));
	cr_expect(decider_holds(W->decider, W->site[0], 1));
}
