"""Counts, caps, states and reservations under many hands on both cores: every answer could have been given at one moment.

Clients lie on both cores and mean the same few sites. What each asked and heard, and when, is given to linearizability.py. A
failure names the seed, and the operation for which there is no moment.
"""
import json
import random
import uuid

import pytest

from count_clients import ROUTES, Clients, Question, put_site, site_now
from linearizability import KEEP, Sites, check, check_each

CLIENTS = 12


@pytest.fixture
def counting(start_gateway):
    return start_gateway(routes=ROUTES, cores=2)


def sites_of(seed):
    """New names; long ones and short ones hash to different places."""
    return [f"{seed}-{uuid.uuid4().hex[:8]}-{name}" for name in "ab"]


def enrol(dice, site):
    """One more; by the article's form, by JSON, or with a key, which core 0 decides."""
    way = dice.randrange(3)
    return Question(("change", site, "enrolled", 1), by_form=way == 0, key=str(uuid.UUID(int=dice.getrandbits(128))) if way == 2 else None)


def change(dice, site, *choices):
    return Question(("change", site, *dice.choice(choices)))


def read(dice, site):
    return Question((dice.choice(["get", "get", "look"]), site))


def run(gateway, sites, choose, each, count=CLIENTS):
    clients = Clients(gateway, count)
    left = {client.number: each for client in clients.clients}

    def next_of(client):
        left[client.number] -= 1
        return choose(client) if left[client.number] >= 0 else None

    try:
        clients.run(next_of)
        # At the end all is quiet, and what was counted stands there.
        for site in sites:
            clients.run(lambda client, asked=[]: None if asked else asked.append(client) or Question(("look", site)))
    finally:
        clients.close()
    return clients.history


def seeds(long, short_count, long_count):
    return range(long_count if long else short_count)


def each_of(long):
    return 60 if long else 25


def test_raises_lowerings_and_reads_without_a_cap(counting, long):
    for seed in seeds(long, 9, 75):
        dice, sites = random.Random(f"open {seed}"), sites_of(seed)

        def choose(client):
            site = dice.choice(sites)
            return dice.choice([enrol, enrol, read, read, lambda dice, site: change(
                dice, site, ("enrolled", 2), ("enrolled", -1), ("screened", 1), ("withdrawn", 1))])(dice, site)

        check_each(run(counting, sites, choose, each_of(long)), Sites(sites), Sites(sites).start())


def test_near_the_cap_nobody_gets_the_last_place_twice(counting, long):
    refused = 0
    for seed in seeds(long, 12, 100):
        dice, sites = random.Random(f"cap {seed}"), sites_of(seed)
        # From nothing to a cap that is soon reached, and one that is not: permits are given, recalled, and used up.
        caps = [dice.choice([0, 1, 3, 10, 40]), dice.choice([10, 100, 1000])]
        for site, cap in zip(sites, caps):
            put_site(counting, site, cap=cap)
        start = Sites(sites).start(**{site: ((0, 0, 0, 0), "recruiting", cap, 1) for site, cap in zip(sites, caps)})

        def choose(client):
            site = dice.choice(sites)
            return dice.choice([enrol, enrol, enrol, enrol, read, lambda dice, site: change(
                dice, site, ("enrolled", 3), ("enrolled", -1), ("withdrawn", 1), ("withdrawn", -1))])(dice, site)

        history = run(counting, sites, choose, each_of(long))
        refused += sum(o.answer == ("refused", "site_cap_reached") for o in history)
        check_each(history, Sites(sites), start)
        for site, cap in zip(sites, caps):
            assert site_now(counting, site)["count"] <= cap
    assert refused > 10, "no cap was ever reached, and nothing was tested"


def test_caps_that_move_while_all_enrol(counting, long):
    for seed in seeds(long, 9, 75):
        dice, sites = random.Random(f"moving {seed}"), sites_of(seed)

        def choose(client):
            site = dice.choice(sites)
            if client.number == 0:             # one who sets caps
                now = dice.choice([5, 20, 60, None])
                return Question(("put", site, KEEP, now, None))
            return dice.choice([enrol, enrol, enrol, read])(dice, site)

        check_each(run(counting, sites, choose, each_of(long)), Sites(sites), Sites(sites).start())


def test_a_closing_is_for_all_before_it_is_answered(counting, long):
    closed = 0
    for seed in seeds(long, 12, 100):
        dice, sites = random.Random(f"closing {seed}"), sites_of(seed)

        def choose(client):
            site = dice.choice(sites)
            if client.number < 2 and dice.random() < 0.5:
                return Question(("put", site, dice.choice(["recruiting", "recruiting", "paused", "closed"]), KEEP, None))
            return dice.choice([enrol, enrol, enrol, read, lambda dice, site: change(
                dice, site, ("withdrawn", 1), ("randomised", 1))])(dice, site)

        history = run(counting, sites, choose, each_of(long))
        closed += sum(o.answer == ("refused", "site_closed") for o in history)
        check_each(history, Sites(sites), Sites(sites).start())
    assert closed > 10


def test_of_those_who_change_what_they_have_seen_one_wins(counting, long):
    won = lost = 0
    for seed in seeds(long, 9, 75):
        dice, sites = random.Random(f"match {seed}"), sites_of(seed)
        known = {site: "new" for site in sites}

        def choose(client):
            site = dice.choice(sites)
            if client.number < 6 and dice.random() < 0.6:
                return Question(("put", site, KEEP, dice.randrange(50, 60), known[site]))
            return dice.choice([enrol, read, read])(dice, site)

        clients = Clients(counting, CLIENTS)
        left = {client.number: each_of(long) for client in clients.clients}

        def next_of(client):
            left[client.number] -= 1
            return choose(client) if left[client.number] >= 0 else None

        def answered(question, told, answer):
            if told[0] == "site":
                known[question.command[1]] = told[1][-1]

        clients.run(next_of, answered)
        clients.close()
        won += sum(o.command[0] == "put" and o.answer == ("ok",) for o in clients.history)
        lost += sum(o.answer == ("refused", "site_changed") for o in clients.history)
        check_each(clients.history, Sites(sites), Sites(sites).start())
    assert won > 5 and lost > 5


def test_the_cap_of_the_study_holds_over_sites_and_cores(start_gateway, long):
    refused = 0
    gateway = start_gateway(routes=ROUTES, cores=2)
    for seed in seeds(long, 9, 75):
        dice = random.Random(f"study {seed}")
        sites = [f"{name}-{seed}" for name in "abc"]
        model = Sites(sites)
        elsewhere = study_now(gateway)["count"]

        def choose(client):
            site = dice.choice(sites)
            if client.number == 0 and dice.random() < 0.3:
                return Question(("cap", dice.choice([None, elsewhere + 5, elsewhere + 30, elsewhere + 100])))
            if client.number == 1 and dice.random() < 0.2:
                return Question(("put", site, KEEP, dice.choice([None, 8, 40]), None))
            return dice.choice([enrol, enrol, enrol, lambda dice, site: Question(("get", site)),
                                lambda dice, site: change(dice, site, ("enrolled", -1))])(dice, site)

        # All sites are bound together, so there are fewer hands: what the checker has to try grows with what may be in any order.
        history = run(gateway, sites, choose, each_of(long), count=8)
        refused += sum(o.answer == ("refused", "study_cap_reached") for o in history)
        check(history, model, model.start(elsewhere=elsewhere))
        gateway.ask("PUT", "/sites", b'{"cap":null}', [("Content-Type", "application/json")])
        assert study_now(gateway)["count"] == elsewhere + sum((site_now(gateway, site) or {"count": 0})["count"] for site in sites)
    assert refused > 10


def study_now(gateway):
    answer = gateway.ask("GET", "/sites?limit=1")
    assert answer.status == 200, answer
    return json.loads(answer.body)["study"]


def test_what_the_study_shows_is_the_sum_of_some_moment(counting, long):
    for seed in seeds(long, 6, 37):
        dice, (site, _) = random.Random(f"sum {seed}"), sites_of(seed)
        elsewhere = study_now(counting)["count"]

        def choose(client):
            return dice.choice([enrol(dice, site), Question(("study",)), change(dice, site, ("enrolled", -1), ("withdrawn", 1))])

        # One site alone changes, so the study is a count like it; the two are not read at one moment.
        model = Sites([site])
        check([o for o in run(counting, [], choose, each_of(long)) if o.command[0] != "get"], model, model.start(elsewhere=elsewhere))


def test_reserved_places_are_taken_once(counting, long):
    taken = 0
    for seed in seeds(long, 9, 75):
        dice, sites = random.Random(f"reserve {seed}"), sites_of(seed)
        cap = dice.choice([2, 5, 12])
        for site in sites:
            put_site(counting, site, cap=cap)
        start = Sites(sites).start(**{site: ((0, 0, 0, 0), "recruiting", cap, 1) for site in sites})
        mine, asked = {}, []                   # reservations that are known by an answer; two clients may go for one

        def choose(client):
            site = dice.choice(sites)
            what = dice.randrange(6)
            if what < 2:
                asked.append(f"r{len(asked)}")
                return Question(("reserve", site, asked[-1], dice.choice([1, 1, 2])))
            if what < 4 and mine:
                token = dice.choice(sorted(mine))
                return Question((dice.choice(["confirm", "release"]), mine[token], token))
            return dice.choice([enrol, read, lambda dice, site: change(dice, site, ("enrolled", -1))])(dice, site)

        clients = Clients(counting, 8)
        left = {client.number: each_of(long) for client in clients.clients}

        def next_of(client):
            left[client.number] -= 1
            return choose(client) if left[client.number] >= 0 else None

        def answered(question, told, answer):
            word, site, *words = question.command
            if word == "reserve" and told == ("ok",):
                mine[words[0]] = site
            # One that is used stays for a while, so that somebody is late.
            if word in ("confirm", "release") and dice.random() < 0.7:
                mine.pop(words[0], None)

        clients.run(next_of, answered)
        clients.close()
        taken += sum(o.command[0] == "confirm" and o.answer == ("ok",) for o in clients.history)
        check_each(clients.history, Sites(sites), start)
        for site in sites:
            now = site_now(counting, site)
            assert now["count"] + now["reserved"] <= cap
    assert taken > 5
