"""Idempotency-Key: a request that is sent twice, or twenty times at once, is counted once and answered alike."""
import contextlib
import json
import threading
import uuid

import pytest

from count_clients import FORM, JSON, ROUTES, Clients, Question, put_site, site_now
from gateway import eventually
from linearizability import OK
from wire import request_bytes


@pytest.fixture
def counting(start_gateway):
    return start_gateway(routes=ROUTES, cores=2)


@pytest.fixture
def site():
    return f"site-{uuid.uuid4().hex[:12]}"


def quoted(key):
    return "Idempotency-Key", f'"{key}"'


def post(gateway, target, body, *keys, form=False):
    fields = [FORM if form else JSON, *keys]
    return gateway.ask("POST", target, body if isinstance(body, bytes) else json.dumps(body).encode(), fields)


def enrol(gateway, site, key, **values):
    return post(gateway, f"/sites/{site}/enrolments", values, quoted(key))


def count_of(gateway, site):
    return json.loads(gateway.ask("GET", f"/count?siteId={site}").body)["count"]


def alike(answer):
    """All of an answer that must be the same the second time; the rest is of the one request alone."""
    return answer.status, answer.body, answer.get("Content-Type"), answer.get("Location")


def assert_refused(gateway, answer, status, name, before):
    assert answer.status == status, answer
    refusal = json.loads(answer.body)
    assert refusal["error"] == name and refusal["message"], answer
    assert gateway.refused(name) == before + 1


@pytest.mark.parametrize("by_form", [True, False])
def test_duplicates_at_once_on_both_cores_count_once(counting, site, by_form, long):
    """Each round all clients send the same request at the same time."""
    clients = Clients(counting, 16)
    try:
        for number in range(500 if long else 40):
            key, asked, answers = str(uuid.uuid4()), set(), []

            def once(client):
                if client.number in asked:
                    return None
                asked.add(client.number)
                return Question(("change", site, "enrolled", 1), key=key, by_form=by_form)

            clients.run(once, lambda question, told, answer: answers.append((told, alike(answer))))
            assert len(answers) == len(clients.clients) and set(answers) == {answers[0]} and answers[0][0] == OK
            assert count_of(counting, site) == number + 1
    finally:
        clients.close()


def test_duplicates_of_what_is_refused_are_refused_alike(counting, site):
    put_site(counting, site, cap=0)
    clients = Clients(counting, 16)
    asked, answers = set(), []

    def once(client):
        if client.number in asked:
            return None
        asked.add(client.number)
        return Question(("change", site, "enrolled", 1), key="the one")

    clients.run(once, lambda question, told, answer: answers.append(told))
    clients.close()
    assert set(answers) == {("refused", "site_cap_reached")}
    # The first answer is the answer, also when there is room now; another request is another one.
    put_site(counting, site, cap=5)
    again = enrol(counting, site, "the one", by=1, reason="test")
    assert (again.status, json.loads(again.body)["error"]) == (409, "site_cap_reached")
    assert enrol(counting, site, "another", by=1, reason="test").status == 200
    assert site_now(counting, site)["count"] == 1


def test_a_reservation_is_made_once_and_called_the_same(counting, site):
    answers = [post(counting, f"/sites/{site}/reservations", {"by": 2, "ttl": "1h"}, quoted("reserve")) for _ in range(3)]
    assert answers[0].status == 201 and len({alike(answer) for answer in answers}) == 1, answers
    assert site_now(counting, site)["reserved"] == 2
    target = f"/sites/{site}/reservations/{json.loads(answers[0].body)['id']}/confirm"
    confirmed = [post(counting, target, {}, quoted("confirm")) for _ in range(3)]
    assert [answer.status for answer in confirmed] == [200, 200, 200]
    now = site_now(counting, site)
    assert (now["count"], now["reserved"]) == (2, 0)
    # Without the key it is a second confirmation.
    assert json.loads(post(counting, target, {}).body)["error"] == "reservation_unknown"


def test_without_a_key_each_request_counts(counting, site):
    for _ in range(2):
        assert post(counting, "/count", f"siteId={site}".encode(), form=True).status == 200
    assert count_of(counting, site) == 2


@pytest.mark.parametrize("other", ["body", "site", "kind", "path"])
def test_a_key_is_of_one_request(counting, site, other):
    assert enrol(counting, site, site, by=1).status == 200
    before = counting.refused("idempotency_key_reused")
    target, body, form = f"/sites/{site}/enrolments", b'{"by": 2}', False
    if other != "body":
        body = b'{"by": 1}'
    if other == "site":
        target = f"/sites/{site}-other/enrolments"
    if other == "kind":
        target = f"/sites/{site}/screenings"
    if other == "path":
        target, body, form = "/count", f"siteId={site}".encode(), True
    assert_refused(counting, post(counting, target, body, quoted(site), form=form), 422, "idempotency_key_reused", before)
    assert count_of(counting, site) == 1 and site_now(counting, site)["screened"] == 0


def test_another_request_while_the_first_is_under_way_is_refused_too(counting, site):
    clients = Clients(counting, 16)
    asked, answers = set(), []

    def once(client):
        if client.number in asked:
            return None
        asked.add(client.number)
        return Question(("change", site, "enrolled", 1 + client.number % 2), key="two")

    with contextlib.suppress(AssertionError):          # 422 is not one of a Question's answers, and is looked at below
        clients.run(once)
    clients.close()
    eventually(lambda: count_of(counting, site) > 0, "one of the two is counted")
    first = count_of(counting, site)
    assert first in (1, 2)
    for by in (1, 2):
        answer = enrol(counting, site, "two", by=by, reason="test")
        answers.append(answer.status)
        assert count_of(counting, site) == first
    assert sorted(answers) == [200, 422]


def test_a_key_may_stand_bare_or_quoted(counting, site):
    keys = [("Idempotency-Key", "8e03978e-40d5-43dd-bc93-6894a57f9324"), ("Idempotency-Key", '"8e03978e-40d5-43dd-bc93-6894a57f9324"')]
    for key in keys:
        assert post(counting, "/count", f"siteId={site}".encode(), key, form=True).status == 200
    assert count_of(counting, site) == 1


def test_the_longest_key_is_one_and_a_longer_is_none(counting, site):
    for _ in range(2):
        assert enrol(counting, site, "k" * 255, by=1).status == 200
    assert count_of(counting, site) == 1
    before = counting.refused("idempotency_key_bad")
    assert_refused(counting, enrol(counting, site, "k" * 256, by=1), 400, "idempotency_key_bad", before)


@pytest.mark.parametrize("keys", [["\"\""], [""], ["\"a"], ["a\xe4b"], ["\"a\tb\""], ["a", "b"], ["\"a\"", "\"a\""]])
def test_what_is_no_key_is_refused_and_counts_nothing(counting, site, keys):
    before = counting.refused("idempotency_key_bad")
    answer = post(counting, f"/sites/{site}/enrolments", {"by": 1}, *(("Idempotency-Key", key) for key in keys))
    assert_refused(counting, answer, 400, "idempotency_key_bad", before)
    assert count_of(counting, site) == 0


def test_a_key_whose_window_is_over_is_new(start_gateway, site):
    gateway = start_gateway(routes=ROUTES, timeouts={"idempotency_window": "1s"})
    assert enrol(gateway, site, "short", by=1).status == 200
    assert enrol(gateway, site, "short", by=1).status == 200
    assert count_of(gateway, site) == 1
    # To ask again does not lengthen the window: it is counted from the answer.
    eventually(lambda: enrol(gateway, site, "short", by=1).status == 200 and count_of(gateway, site) == 2, "the window ends")
    # And other words are no reuse then.
    eventually(lambda: enrol(gateway, site, "short", by=5).status == 200, "it ends for the second, too")
    assert count_of(gateway, site) == 7


def test_a_full_table_refuses_new_keys_and_knows_the_old(start_gateway, site):
    gateway = start_gateway(routes=ROUTES, limits={"idempotency_keys_max": 8}, timeouts={"idempotency_window": "1h"})
    for number in range(8):
        assert enrol(gateway, site, f"k{number}", by=1).status == 200
    before = gateway.refused("idempotency_keys_full")
    assert_refused(gateway, enrol(gateway, site, "k8", by=1), 503, "idempotency_keys_full", before)
    for number in range(8):
        assert enrol(gateway, site, f"k{number}", by=1).status == 200
    assert count_of(gateway, site) == 8
    # Without a key there is nothing to remember.
    assert post(gateway, f"/sites/{site}/enrolments", {"by": 1}).status == 200
    # Nothing was decided, so the refusal is not the answer that is remembered.
    gateway.stop()
    gateway.configuration["limits"]["idempotency_keys_max"] = 16
    gateway.start()
    assert enrol(gateway, site, "k8", by=1).status == 200
    assert count_of(gateway, site) == 10


def test_who_leaves_before_the_answer_finds_it_when_he_comes_back(counting, site, long):
    for number in range(200 if long else 20):
        key = uuid.uuid4().hex
        wire = counting.connect()
        wire.send(request_bytes("POST", f"/sites/{site}/enrolments", b'{"by":1}', [JSON, quoted(key)]))
        if number % 2:
            wire.reset()
        else:
            wire.close()
        # It has arrived, or has not: this asks the same, and is counted in the one case and repeated in the other.
        answer = counting.ask("POST", f"/sites/{site}/enrolments", b'{"by":1}', [JSON, quoted(key)])
        assert answer.status == 200, answer
        eventually(lambda: count_of(counting, site) == number + 1, "counted once")


@pytest.mark.parametrize("durability", ["always", "everysec", "memory"])
def test_keys_outlive_a_restart(start_gateway, site, durability):
    gateway = start_gateway(routes=ROUTES, cores=2, count={"durability": durability})
    put_site(gateway, site, cap=20)
    first = {}
    for number in range(30):
        first[number] = alike(enrol(gateway, site, f"k{number}", by=1))
    reserved = alike(post(gateway, f"/sites/{site}-b/reservations", {"by": 1, "ttl": "1h"}, quoted("r")))
    assert {status for status, *_ in first.values()} == {200, 409}
    for cores in (1, 2, 3):
        gateway.stop()
        gateway.configuration["cores"] = cores
        gateway.start()
        for number in range(30):
            assert alike(enrol(gateway, site, f"k{number}", by=1)) == first[number]
        assert alike(post(gateway, f"/sites/{site}-b/reservations", {"by": 1, "ttl": "1h"}, quoted("r"))) == reserved
        assert count_of(gateway, site) == 20 and site_now(gateway, f"{site}-b")["reserved"] == 1
        before = gateway.refused("idempotency_key_reused")
        assert_refused(gateway, enrol(gateway, site, "k1", by=2), 422, "idempotency_key_reused", before)


def put(gateway, target, key, *fields, **values):
    return gateway.ask("PUT", target, json.dumps(values).encode(), [JSON, quoted(key), *fields])


def test_rules_that_are_sent_again_do_not_undo_what_was_said_since(start_gateway, site):
    gateway = start_gateway(routes=ROUTES, cores=2)
    target = f"/sites/{site}"
    assert [put(gateway, target, "founds", cap=5).status for _ in range(2)] == [201, 200]
    assert put(gateway, target, "nothing new", cap=5).status == 200
    assert put(gateway, target, "stale", ("If-Match", '"7"'), cap=9).status == 412
    assert put(gateway, "/sites", "study", cap=100).status == 200
    site_before = put_site(gateway, site, cap=7, status="paused")
    assert gateway.ask("PUT", "/sites", b'{"cap": null}', [JSON]).status == 200
    for restarted in (False, True):
        if restarted:
            gateway.stop()
            gateway.start()
        for key in ("founds", "nothing new"):
            answer = put(gateway, target, key, cap=5)
            assert answer.status == 200 and json.loads(answer.body) == site_before, answer
        assert put(gateway, target, "stale", ("If-Match", '"7"'), cap=9).status == 412
        answer = put(gateway, "/sites", "study", cap=100)
        assert answer.status == 200 and json.loads(answer.body)["study"]["cap"] is None, answer
        for where, key, fields, cap in ((target, "founds", (), 6), (target, "stale", (("If-Match", '"3"'),), 9), (target, "stale", (), 9),
                                        ("/sites", "study", (), 101), ("/sites", "founds", (), 5)):
            before = gateway.refused("idempotency_key_reused")
            assert_refused(gateway, put(gateway, where, key, *fields, cap=cap), 422, "idempotency_key_reused", before)
        for where in (target, "/sites"):
            before = gateway.refused("idempotency_key_bad")
            assert_refused(gateway, put(gateway, where, "x" * 256, cap=5), 400, "idempotency_key_bad", before)
        assert site_now(gateway, site) == site_before


def test_many_keys_from_many_hands_are_all_remembered(counting, site, long):
    """Threads, each with requests of its own that are sent twice, the second time over another connection."""
    each, troubles = 200 if long else 30, []

    def work(name):
        try:
            wires = counting.connect(), counting.connect()
            for number in range(each):
                data = request_bytes("POST", "/count", f"siteId={site}".encode(), [FORM, quoted(f"{name}-{number}")])
                for wire in wires:
                    wire.send(data)
                for wire in wires:
                    answer = wire.response()
                    assert (answer.status, answer.body.strip()) == (200, b'{"status":"ok"}'), answer
        except Exception as trouble:           # told by the thread that waits
            troubles.append(trouble)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not troubles, troubles[0]
    assert count_of(counting, site) == 8 * each


def test_json_of_the_same_meaning_and_other_bytes_is_another_request(counting, site):
    assert post(counting, f"/sites/{site}/enrolments", b'{"by":1}', quoted("bytes")).status == 200
    assert post(counting, f"/sites/{site}/enrolments", b'{ "by": 1 }', quoted("bytes")).status == 422
