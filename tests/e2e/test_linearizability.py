"""The checker itself: histories known to be good pass, and each kind of lie is found."""
import itertools
import random

import pytest

from linearizability import KEEP, OK, NotLinearizable, Operation, Sites, check, check_each

MODEL = Sites(["a", "b"])
ENROL = ("change", "a", "enrolled", 1)


def history(*rows):
    """Rows of (begun, ended, command, answer)."""
    return [Operation(*row) for row in rows]


def refused(name):
    return "refused", name


def capped(cap, count=0, study=None, status="recruiting"):
    return MODEL.start(study_cap=study, a=((0, count, 0, 0), status, cap, 1))


def good(start, *rows):
    check(history(*rows), MODEL, start)


def bad(start, *rows):
    with pytest.raises(NotLinearizable):
        check(history(*rows), MODEL, start)


NEW = MODEL.start()


def test_an_empty_history_is_good():
    good(NEW)


def test_raises_and_reads_one_after_the_other():
    good(NEW, (0, 1, ("get", "a"), ("count", 0)), (2, 3, ENROL, OK), (4, 5, ("get", "a"), ("count", 1)), (6, 7, ("get", "b"), ("count", 0)))


def test_a_read_beside_a_raise_may_see_it_or_not():
    for n in (0, 1):
        good(NEW, (0, 9, ENROL, OK), (1, 2, ("get", "a"), ("count", n)))
    bad(NEW, (0, 9, ENROL, OK), (1, 2, ("get", "a"), ("count", 2)))


def test_a_lost_update_is_found():
    bad(NEW, (0, 5, ENROL, OK), (1, 6, ENROL, OK), (7, 8, ("get", "a"), ("count", 1)))
    good(NEW, (0, 5, ENROL, OK), (1, 6, ENROL, OK), (7, 8, ("get", "a"), ("count", 2)))


def test_an_update_counted_twice_is_found():
    bad(NEW, (0, 1, ENROL, OK), (2, 3, ("get", "a"), ("count", 2)))


def test_a_stale_read_is_found():
    bad(NEW, (0, 1, ENROL, OK), (2, 3, ("get", "a"), ("count", 0)))


def test_reads_that_go_back_in_time_are_found():
    # Both reads lie beside the raise; but who has seen it has seen it for all who ask later.
    bad(NEW, (0, 9, ENROL, OK), (1, 2, ("get", "a"), ("count", 1)), (3, 4, ("get", "a"), ("count", 0)))
    good(NEW, (0, 9, ENROL, OK), (1, 3, ("get", "a"), ("count", 1)), (2, 4, ("get", "a"), ("count", 0)))


def test_two_readers_who_disagree_about_the_order_are_found():
    rows = [(0, 9, ("change", "a", "enrolled", 1), OK), (0, 9, ("change", "a", "enrolled", 2), OK)]
    one = [(1, 2, ("get", "a"), ("count", 1)), (3, 4, ("get", "a"), ("count", 3))]
    good(NEW, *rows, *one)
    bad(NEW, *rows, *one, (1, 2, ("get", "a"), ("count", 2)))


def test_a_count_over_the_cap_is_found():
    good(capped(1), (0, 1, ENROL, OK), (2, 3, ENROL, refused("site_cap_reached")))
    bad(capped(1), (0, 1, ENROL, OK), (2, 3, ENROL, OK))
    bad(capped(1), (0, 5, ENROL, OK), (1, 6, ENROL, OK), (2, 7, ENROL, refused("site_cap_reached")))


def test_a_refusal_without_cause_is_found():
    bad(capped(2), (0, 1, ENROL, OK), (2, 3, ENROL, refused("site_cap_reached")))
    bad(NEW, (0, 1, ENROL, refused("site_closed")))
    bad(NEW, (0, 1, ("change", "a", "enrolled", 1), refused("count_below_zero")))
    bad(NEW, (0, 1, ("change", "a", "enrolled", -1), OK))
    good(NEW, (0, 1, ("change", "a", "enrolled", -1), refused("count_below_zero")))


def test_a_refusal_that_names_the_wrong_cause_is_found():
    bad(capped(0), (0, 1, ENROL, refused("study_cap_reached")))
    bad(capped(9, study=0), (0, 1, ENROL, refused("site_cap_reached")))
    good(capped(9, study=0), (0, 1, ENROL, refused("study_cap_reached")))
    for name in ("site_cap_reached", "study_cap_reached"):
        good(capped(0, study=0), (0, 1, ENROL, refused(name)))


def test_a_refusal_beside_its_cause_needs_the_cause_first():
    # There was room before and after; in between another had it.
    rows = [(0, 2, ENROL, OK), (3, 6, ("change", "a", "enrolled", -1), OK)]
    good(capped(1), *rows, (1, 4, ENROL, refused("site_cap_reached")), (7, 8, ENROL, OK))
    bad(capped(1), *rows, (7, 8, ENROL, refused("site_cap_reached")))


def test_a_closing_that_is_answered_holds_for_all():
    closing = ("put", "a", "closed", KEEP, None)
    good(NEW, (0, 5, closing, OK), (1, 6, ENROL, OK), (2, 7, ENROL, refused("site_closed")))
    bad(NEW, (0, 5, closing, OK), (6, 7, ENROL, OK))
    # Refused, and so closed before it; then nobody may enrol.
    bad(NEW, (0, 9, closing, OK), (1, 2, ENROL, refused("site_closed")), (3, 4, ENROL, OK))


def test_a_paused_site_takes_what_does_not_begin_with_a_patient():
    paused = capped(None, count=1, status="paused")
    good(paused, (0, 1, ("change", "a", "withdrawn", 1), OK), (2, 3, ENROL, refused("site_paused")), (4, 5, ("get", "a"), ("count", 0)))
    bad(paused, (0, 1, ("change", "a", "screened", 1), OK))
    bad(paused, (0, 1, ("change", "a", "randomised", 1), refused("site_paused")))


def test_the_cap_of_the_study_binds_its_sites_together():
    other = ("change", "b", "enrolled", 1)
    good(MODEL.start(study_cap=1), (0, 1, ENROL, OK), (2, 3, other, refused("study_cap_reached")))
    bad(MODEL.start(study_cap=1), (0, 1, ENROL, OK), (2, 3, other, OK))
    bad(MODEL.start(study_cap=2, elsewhere=2), (0, 1, ENROL, OK))
    good(NEW, (0, 1, ("cap", 0), OK), (2, 3, ENROL, refused("study_cap_reached")), (4, 5, ("study",), ("count", 0)))


def test_a_lost_answer_may_mean_anything():
    lost = (0, None, ENROL, None)
    for n in (0, 1):
        good(NEW, lost, (2, 3, ("get", "a"), ("count", n)))
    good(NEW, lost, (2, 3, ("get", "a"), ("count", 0)), (4, 5, ("get", "a"), ("count", 1)))
    bad(NEW, lost, (2, 3, ("get", "a"), ("count", 2)))


def test_an_unacknowledged_change_that_was_seen_and_vanishes_is_found():
    bad(NEW, (0, None, ENROL, None), (2, 3, ("get", "a"), ("count", 1)), (4, 5, ("get", "a"), ("count", 0)))
    bad(NEW, (0, 4, ENROL, None), (2, 3, ("get", "a"), ("count", 1)), (5, 6, ("get", "a"), ("count", 0)))


def test_who_was_killed_cannot_act_later():
    lost = (0, 4, ENROL, None)
    good(NEW, lost, (5, 6, ("get", "a"), ("count", 1)))
    good(NEW, lost, (5, 6, ("get", "a"), ("count", 0)))
    bad(NEW, lost, (5, 6, ("get", "a"), ("count", 0)), (7, 8, ("get", "a"), ("count", 1)))


def test_a_lost_change_may_be_what_filled_the_cap():
    good(capped(1), (0, None, ENROL, None), (2, 3, ENROL, refused("site_cap_reached")))
    bad(capped(1), (0, None, ENROL, None), (2, 3, ENROL, refused("site_cap_reached")), (4, 5, ENROL, OK))


def test_of_two_who_change_the_same_revision_one_wins():
    put = ("put", "a", KEEP, 5, 1), ("put", "a", KEEP, 6, 1)
    start = capped(3)
    good(start, (0, 5, put[0], OK), (1, 6, put[1], refused("site_changed")))
    bad(start, (0, 5, put[0], OK), (1, 6, put[1], OK))
    bad(start, (0, 5, put[0], refused("site_changed")), (1, 6, put[1], refused("site_changed")))
    # What stands already may be said before or after somebody else says otherwise.
    again = [(0, 9, ("put", "a", "closed", KEEP, None), OK), (0, 9, ("put", "a", "recruiting", KEEP, None), OK)]
    for status, revision in (("closed", 2), ("recruiting", 3)):
        good(start, *again, (10, 11, ("look", "a"), ("site", (0, 0, 0, 0, 0, 0, status, 3, revision))))
    # The site is as it was again, and has changed all the same.
    bad(start, (0, 1, ENROL, OK), (2, 3, ("change", "a", "enrolled", -1), OK), (4, 5, put[0], OK))
    good(NEW, (0, 1, ("put", "a", KEEP, 5, "new"), OK), (2, 3, ("put", "a", KEEP, 5, "new"), refused("site_changed")))
    good(NEW, (0, 1, ("put", "a", KEEP, 5, "*"), refused("site_changed")))


def test_all_that_is_seen_of_a_site_is_of_one_moment():
    raise_, look = ("change", "a", "screened", 1), ("look", "a")
    good(NEW, (0, 1, look, refused("site_unknown")), (2, 3, ENROL, OK), (4, 5, look, ("site", (1, 0, 1, 0, 0, 0, "recruiting", None, 1))))
    rows = [(0, 1, ENROL, OK), (2, 3, raise_, OK)]
    good(NEW, *rows, (4, 5, look, ("site", (1, 1, 1, 0, 0, 0, "recruiting", None, 2))))
    bad(NEW, *rows, (0, 5, look, ("site", (0, 1, 0, 0, 0, 0, "recruiting", None, 1))))


def test_reservations_take_their_place_and_give_it_back():
    reserve, confirm, release = ("reserve", "a", "r", 1), ("confirm", "a", "r"), ("release", "a", "r")
    full = refused("site_cap_reached")
    good(capped(1), (0, 1, reserve, OK), (2, 3, ENROL, full), (4, 5, confirm, OK), (6, 7, ("get", "a"), ("count", 1)))
    good(capped(1), (0, 1, reserve, OK), (2, 3, release, OK), (4, 5, ENROL, OK), (6, 7, confirm, refused("reservation_unknown")))
    bad(capped(1), (0, 1, reserve, OK), (2, 3, ENROL, OK))
    bad(capped(1), (0, 1, reserve, OK), (2, 3, confirm, OK), (4, 5, confirm, OK))
    bad(capped(1), (0, 1, reserve, OK), (2, 3, confirm, refused("reservation_unknown")))
    good(capped(1), (0, 1, reserve, OK), (9, None, ("expire", "a", "r"), None), (10, 11, confirm, refused("reservation_unknown")))
    bad(capped(1), (0, 1, reserve, OK), (9, None, ("expire", "a", "r"), None), (2, 3, ENROL, OK))
    # Where confirming and releasing meet, one of them is late.
    bad(capped(1), (0, 1, reserve, OK), (2, 9, confirm, OK), (2, 9, release, OK))


def test_sites_without_a_common_cap_are_checked_each_alone():
    rows = [(0, 1, ENROL, OK), (0, 1, ("change", "b", "enrolled", 1), OK)]
    check_each(history(*rows, (2, 3, ("get", "b"), ("count", 1))), MODEL, NEW)
    with pytest.raises(NotLinearizable):
        check_each(history(*rows, (2, 3, ("get", "b"), ("count", 2))), MODEL, NEW)


# ---- against a machine that is right, and against the plainest search ------------------------------------------------


def commands(dice):
    site = dice.choice("ab")
    return dice.choice([
        ("get", site), ("get", site), ("look", site), ("study",), ("change", site, "enrolled", dice.choice([1, 1, 1, 2, -1])),
        ("change", site, "withdrawn", dice.choice([1, -1])), ("change", site, "screened", 1), ("cap", dice.choice([None, 3, 6])),
        ("put", site, dice.choice(["recruiting", "paused", "closed", KEEP]), dice.choice([KEEP, None, 2, 4]), dice.choice([None, None, 1, 2]))])


def rules(dice):
    """One site, and much that says what another has said already."""
    return dice.choice([("get", "a"), ("look", "a"), ENROL, ("put", "a", dice.choice(["recruiting", "closed", KEEP]), dice.choice([KEEP, 1]), None)])


def done(state, command):
    """What a right machine does and answers."""
    for answer in [OK, *map(refused, ("site_changed", "site_closed", "site_paused", "count_below_zero", "site_cap_reached",
                                      "study_cap_reached", "site_unknown"))]:
        after = MODEL.step(state, command, answer)
        if after is not None:
            return after, answer
    if command[0] == "look":
        return state, ("site", MODEL.seen(state.sites[MODEL.place[command[1]]]))
    n = sum(map(MODEL.count, state.sites)) if command[0] == "study" else MODEL.count(state.sites[MODEL.place[command[1]]])
    return state, ("count", n)


def made_up(dice, clients, each, lost=0.0, choose=commands):
    """A history of a machine that does each operation at one moment, in intervals that overlap."""
    moments = []
    for client in range(clients):
        at = dice.random()
        for _ in range(each):
            begun, at = at, at + dice.random() * 4
            moments.append((dice.uniform(begun, at), begun, at, client))
    state, operations = NEW, []
    for _, begun, ended, client in sorted(moments):
        command = choose(dice)
        happens = dice.random() >= lost / 2
        after, answer = done(state, command) if happens else (state, None)
        state = after
        if dice.random() < lost or not happens:
            ended, answer = None, None
        operations.append(Operation(begun, ended, command, answer, client))
    return operations


def plainest(operations, state):
    """Every order is tried. For a handful of operations."""
    must = [o for o in operations if o.answer is not None]
    for optional in itertools.chain.from_iterable(
            itertools.combinations([o for o in operations if o.answer is None], n) for n in range(len(operations) - len(must) + 1)):
        if ordered(must + list(optional), state):
            return True
    return False


def ordered(left, state):
    if not left:
        return True
    first_end = min(o.ended if o.ended is not None else float("inf") for o in left)
    for o in left:
        if o.begun <= first_end:
            after = MODEL.step(state, o.command, o.answer)
            if after is not None and ordered([other for other in left if other is not o], after):
                return True
    return False


@pytest.mark.parametrize("seed", range(20))
def test_what_a_right_machine_did_is_good(seed):
    dice = random.Random(seed)
    check(made_up(dice, clients=dice.randint(1, 6), each=60, lost=dice.choice([0, 0.05])), MODEL, NEW)


def mutated(dice, operations):
    """One answer is another than it was."""
    operations = [Operation(o.begun, o.ended, o.command, o.answer, o.who) for o in operations]
    o = dice.choice([o for o in operations if o.answer] or [Operation(0, 1, ("get", "a"), ("count", 0))])
    if o.answer[0] == "count":
        o.answer = ("count", o.answer[1] + dice.choice([-1, 1]))
    elif o.answer == OK:
        o.answer = refused(dice.choice(["site_closed", "site_cap_reached", "count_below_zero", "site_changed", "site_paused"]))
    elif o.answer[0] == "refused":
        o.answer = OK
    return operations


def test_the_plainest_search_says_the_same(long):
    verdicts = {True: 0, False: 0}
    for seed in range(4000 if long else 400):
        dice = random.Random(seed)
        operations = made_up(dice, clients=3, each=2, lost=0.2, choose=dice.choice([commands, rules]))
        if seed % 4:
            operations = mutated(dice, operations)
        expected = plainest([o for o in operations if o.answer is not None or o.command[0] not in ("get", "look", "study")], NEW)
        try:
            check(operations, MODEL, NEW)
            found = True
        except NotLinearizable:
            found = False
        assert found == expected, (seed, operations)
        verdicts[found] += 1
    assert min(verdicts.values()) > 50, verdicts


def test_a_lie_in_a_long_history_is_found_and_named(long):
    found = 0
    for seed in range(40 if long else 10):
        dice = random.Random(seed)
        operations = made_up(dice, clients=8, each=40)
        lie = max((o for o in operations if o.command == ("get", "a")), key=lambda o: o.begun)
        lie.answer = ("count", lie.answer[1] + 50)
        with pytest.raises(NotLinearizable, match="there is no moment for") as told:
            check(operations, MODEL, NEW)
        found += repr(lie) in str(told.value)
    assert found > 0
