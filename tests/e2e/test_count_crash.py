"""kill -9 in the middle of counting, over and over, on the same state directory.

What was acknowledged is there afterwards; what is there was sent; where nothing was under way the two are equal, to the one. What
had a key is asked again and counts once. No cap is exceeded, ever, and the audit trail is sound after every death.

A killed process leaves what it had written to the kernel. So all three modes of durability promise this; they differ in what a power
cut leaves, which tests/sim has. Rounds differ in the number of cores: streams of cores that are no more still count.
"""
import contextlib
import json
import random
import shutil
import signal
import subprocess
import sys
import time
import uuid

import pytest

from count_clients import JSON, ROUTES, Clients, Question, json_bytes, put_site, site_now
from gateway import POSTERNCTL, SLOW, eventually
from linearizability import KEEP, KINDS, OK, Sites, check_each
from wire import PATIENCE_S

SITES = ("open-1", "open-2", "capped")
CAP_STEP = 25
MODES = ("always", "everysec", "memory")
# The smallest there is, so that deaths fall into new segments and snapshots too.
SEGMENT = "64k"


def die(gateway):
    gateway.signal(signal.SIGKILL)
    gateway.process.wait()
    at = time.monotonic_ns()
    gateway.hang_up()
    return at


def restart(gateway, dice, deaths_at_start):
    """Comes up again; before that it may die some times while it reads what there is."""
    gateway.configuration["cores"] = dice.choice([1, 2, 2, 3])
    for _ in range(deaths_at_start):
        gateway.spawn()
        # Somewhere between its first instruction and its first answer.
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = gateway.process.wait(dice.uniform(0, 0.08 * SLOW))
            raise AssertionError(f"the gateway ended with {code}: {gateway.said()}")
        die(gateway)
    gateway.start()


def verify_audit(gateway, directory):
    """On a copy: an auditor has no more, and what is looked at must not move."""
    copy = directory / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(gateway.directory / "state", copy)
    done = subprocess.run([sys.executable, "-B", POSTERNCTL, "audit", "verify", "--json", "--state", copy], capture_output=True, text=True,
                          timeout=PATIENCE_S * SLOW)
    assert done.returncode == 0 and json.loads(done.stdout)["sound"], f"{done.stdout}{done.stderr}{gateway.said()}"


class Ledger:
    """What clients sent and what they were told, for each site and kind: [surely done, perhaps done more]."""

    def __init__(self):
        self.sure = {(site, kind): 0 for site in SITES for kind in KINDS}
        self.perhaps = dict.fromkeys(self.sure, 0)
        self.keyed_lost = []                   # to be asked again
        self.keyed = {}                        # key → (question, what was told)
        self.cap = 0                           # of "capped", the highest that was ever set
        self.cap_reached = False               # … and somebody was refused for it since
        self.acknowledged = self.refused = 0

    def answered(self, question, told, answer):
        word, site, *words = question.command
        if word != "change":
            return
        if told == OK:
            self.sure[site, words[0]] += words[1]
            self.acknowledged += 1
        else:
            assert told in (("refused", "site_cap_reached"), ("refused", "count_below_zero")), (question, told)
            self.refused += 1
            self.cap_reached |= told == ("refused", "site_cap_reached")
        if question.key is not None:
            assert self.keyed.get(question.key, (None, told))[1] == told, "another answer to the same key"
            self.keyed[question.key] = question, told

    def lost(self, questions):
        for question in questions:
            word, site, *words = question.command
            if word != "change":
                continue
            assert words[1] > 0 or question.key, "what lowers has a key here, so that there is one bound to look at"
            if question.key is not None:
                self.keyed_lost.append(question)
            else:
                self.perhaps[site, words[0]] += words[1]

    def compare(self, gateway, exactly):
        """`exactly`: the lost ones with a key have been asked again. What is found is what is sure from now on."""
        for site in SITES:
            now = site_now(gateway, site) or dict.fromkeys(KINDS, 0)
            for kind in KINDS:
                sure, perhaps = self.sure[site, kind], self.perhaps[site, kind]
                least = sure + (0 if exactly else sum(min(q.command[3], 0) for q in self.keyed_lost if q.command[1:3] == (site, kind)))
                most = sure + perhaps + (0 if exactly else sum(max(q.command[3], 0) for q in self.keyed_lost if q.command[1:3] == (site, kind)))
                assert least <= now[kind] <= most, f"{site}, {kind}: {now[kind]} is stored, at least {least} was told, at most {most} sent"
                if exactly:
                    self.sure[site, kind], self.perhaps[site, kind] = now[kind], 0
            if now.get("cap") is not None:
                assert now["count"] <= now["cap"] <= self.cap, now


class Chooser:
    """What the load asks. `key_share`: how many have a key."""

    def __init__(self, dice, ledger, key_share=0.4):
        self.dice, self.ledger, self.key_share = dice, ledger, key_share

    def __call__(self, client):
        dice = self.dice
        site = dice.choice(SITES)
        if client.number == 0 and dice.random() < 0.2:
            return Question(("get", site))
        if client.number == 1 and dice.random() < 0.2 and self.ledger.cap_reached:
            # It grows, so that raises are allowed and refused by turns; by the clock it could grow faster than anybody enrols. It counts as
            # set from when it is asked for.
            self.ledger.cap += CAP_STEP
            self.ledger.cap_reached = False
            return Question(("put", "capped", KEEP, self.ledger.cap, None))
        key = str(uuid.UUID(int=dice.getrandbits(128))) if dice.random() < self.key_share else None
        kind, by = dice.choice([("enrolled", 1), ("enrolled", 1), ("enrolled", 1), ("screened", 3), ("randomised", 1), ("enrolled", -1), ("withdrawn", 1)])
        if by < 0 or kind == "withdrawn":
            key = key or str(uuid.UUID(int=dice.getrandbits(128)))
        return Question(("change", site, kind, by), key=key, by_form=(kind, by) == ("enrolled", 1) and dice.random() < 0.5)


def ask_again(gateway, ledger, dice):
    """What had a key: the lost ones are done now or were done then, the others hear what they heard."""
    some = dice.sample(sorted(ledger.keyed), min(20, len(ledger.keyed)))
    questions = [ledger.keyed[key][0] for key in some] + ledger.keyed_lost
    lost = {question.key for question in ledger.keyed_lost}
    ledger.keyed_lost = []
    clients = Clients(gateway, 4)
    # Twice over, so that duplicates meet.
    left = questions + questions

    def answered(question, told, answer):
        if question.key in lost and question.key not in ledger.keyed:
            ledger.answered(question, told, answer)
        else:
            assert ledger.keyed[question.key][1] == told, f"{question} was answered {ledger.keyed[question.key][1]}, and now {told}"

    clients.run(lambda client: left.pop() if left else None, answered)
    clients.close()


def crash_round(gateway, ledger, dice, directory):
    clients = Clients(gateway, dice.choice([4, 16, 48]))
    quiet = dice.random() < 0.25
    until = time.monotonic() + dice.uniform(0.01, 0.4) * SLOW
    choose = Chooser(dice, ledger)
    if quiet:
        # All that was asked is answered before the death, so nothing may differ.
        assert clients.run(lambda client: choose(client) if time.monotonic() < until else None, ledger.answered)
    else:
        clients.run(choose, ledger.answered, until=until)
    at = die(gateway)
    clients.killed(at)
    assert not (quiet and clients.lost)
    ledger.lost(clients.lost)
    restart(gateway, dice, deaths_at_start=dice.choice([0, 0, 1, 3]))
    ledger.compare(gateway, exactly=False)
    ask_again(gateway, ledger, dice)
    ledger.compare(gateway, exactly=True)
    verify_audit(gateway, directory)


# A state that has seen many deaths takes longer to be looked through, so a long campaign begins anew now and then.
CAMPAIGNS_LONG, ROUNDS_LONG, ROUNDS_SHORT = 3, 20, 4


@pytest.mark.parametrize("durability", MODES)
def test_killed_at_any_moment_it_has_what_it_acknowledged(start_gateway, tmp_path, long, durability):
    for campaign in range(CAMPAIGNS_LONG if long else 1):
        gateway = start_gateway(routes=ROUTES, cores=2, count={"durability": durability, "segment": SEGMENT})
        ledger = Ledger()
        ledger.cap = CAP_STEP
        put_site(gateway, "capped", cap=ledger.cap)
        for number in range(ROUNDS_LONG if long else ROUNDS_SHORT):
            try:
                crash_round(gateway, ledger, random.Random(f"{durability} {campaign} {number}"), tmp_path)
            except Exception as trouble:
                raise AssertionError(f"round {number} of campaign {campaign}, {durability}: {trouble}\n"
                                     f"the gateway says: {gateway.said()}") from trouble
        assert ledger.acknowledged > 50 and ledger.refused > 0 and len(ledger.keyed) > 10
        gateway.stop()
        verify_audit(gateway, tmp_path)
        gateway.start()
        ledger.compare(gateway, exactly=True)
        gateway.stop()


@pytest.mark.parametrize("durability", MODES)
def test_what_was_seen_before_a_death_is_seen_after_it(start_gateway, long, durability):
    """The whole history, over several deaths, has a moment for each operation; of those that were lost, before the death or never."""
    for seed in range(20 if long else 2):
        gateway = start_gateway(routes=ROUTES, cores=2, count={"durability": durability, "segment": SEGMENT})
        dice, sites, history = random.Random(f"{durability} {seed}"), ["a", "b"], []
        model = Sites(sites)
        for _ in range(4):
            clients = Clients(gateway, 8)
            asked = []

            def choose(client):
                site = dice.choice(sites)
                if len(asked) >= 150:
                    return None
                asked.append(site)
                return dice.choice([
                    Question(("change", site, "enrolled", 1), by_form=True), Question(("change", site, "enrolled", 1)),
                    Question(("change", site, "enrolled", -1)), Question(("get", site)), Question(("look", site)),
                    Question(("change", site, "enrolled", 1), key=str(uuid.UUID(int=dice.getrandbits(128)))),
                    Question(("put", site, dice.choice(["recruiting", "recruiting", "closed"]), dice.choice([KEEP, 10, 30, None]), None))])

            clients.run(choose, until=time.monotonic() + dice.uniform(0.01, 0.15) * SLOW)
            clients.killed(die(gateway))
            history += clients.history
            restart(gateway, dice, deaths_at_start=0)
        clients = Clients(gateway, 1)
        for site in sites:
            asked = []
            clients.run(lambda client: None if asked else asked.append(site) or Question(("look", site)))
        clients.close()
        history += clients.history
        check_each(history, model, model.start())
        gateway.stop()


def test_reservations_outlive_a_death_and_end_when_they_said(start_gateway, tmp_path):
    gateway = start_gateway(routes=ROUTES, cores=2, count={"segment": SEGMENT})
    put_site(gateway, "site", cap=3)
    made, over = {}, 0
    for name, ttl in (("kept", "1h"), ("confirmed", "1h"), ("released", "1h"), ("short", "2s")):
        if name == "short":
            gateway.ask("DELETE", f"/sites/site/reservations/{made['released']}")
        answer = gateway.ask("POST", "/sites/site/reservations", json_bytes(by=1, ttl=ttl), [JSON])
        assert answer.status == 201, answer
        made[name] = json.loads(answer.body)["id"]
        over = time.monotonic() + 2.05         # of the last, which is the short one
    full = gateway.ask("POST", "/sites/site/enrolments", json_bytes(by=1), [JSON])
    assert (full.status, json.loads(full.body)["error"]) == (409, "site_cap_reached")
    assert gateway.ask("POST", f"/sites/site/reservations/{made['confirmed']}/confirm").status == 200
    die(gateway)
    time.sleep(max(0, over - time.monotonic()))    # until its time is over, with nobody there to see it
    gateway.start()
    # That its time is over is a record too, and seen when that is on the disk; whatever is decided meanwhile knows already.
    eventually(lambda: (site_now(gateway, "site")["count"], site_now(gateway, "site")["reserved"]) == (1, 1), "the short one has ended")
    for name, status in (("confirmed", 404), ("released", 404), ("short", 404), ("kept", 200)):
        assert gateway.ask("POST", f"/sites/site/reservations/{made[name]}/confirm").status == status, name
    die(gateway)
    gateway.start()
    now = site_now(gateway, "site")
    assert (now["count"], now["reserved"]) == (2, 0)
    verify_audit(gateway, tmp_path)


def test_two_gateways_do_not_share_a_state(start_gateway):
    gateway = start_gateway(routes=ROUTES)
    other = start_gateway(routes=ROUTES, start=False)
    other.configuration["state"] = str(gateway.directory / "state")
    other.spawn()
    assert other.wait() != 0
    assert "state" in other.said(), other.said()
    assert put_site(gateway, "site", cap=1)["cap"] == 1


def test_everysec_syncs_each_second_also_when_records_never_cease(start_gateway):
    gateway = start_gateway(routes=ROUTES, cores=1, count={"durability": "everysec"})
    wire = gateway.connect()
    first = gateway.total()["journal"]["syncs"]
    until, asked = time.monotonic() + 3.5, 0
    while time.monotonic() < until:
        # Many in one go: some are always being written.
        wire.send(b"POST /count HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\nsiteId=s" * 16)
        for _ in range(16):
            assert wire.response().status == 200
        asked += 16
    assert gateway.total()["journal"]["syncs"] >= first + 2, f"{asked} records in three and a half seconds"
    wire.sock.close()
