"""The site count: two questions, answered exactly."""
import json
import threading
import uuid

import pytest

from wire import request_bytes

FORM = ("Content-Type", "application/x-www-form-urlencoded")


@pytest.fixture
def site():
    return f"site-{uuid.uuid4().hex[:12]}"


def count(gateway, site, **more):
    answer = gateway.ask("GET", f"/count?siteId={site}", **more)
    assert answer.status == 200, answer
    return json.loads(answer.body)["count"]


def post(gateway, form, fields=(FORM,), target="/count", **more):
    return gateway.ask("POST", target, form.encode(), fields, **more)


def assert_refused(answer, *statuses):
    assert answer.status in statuses, answer
    refusal = json.loads(answer.body)
    assert sorted(refusal) == ["error", "message"] and refusal["error"] and refusal["message"]
    assert answer.body.strip().count(b"\n") == 0


@pytest.mark.parametrize("tls", [False, True])
def test_count_and_status_are_written_as_the_contract_says(gateway, site, tls):
    answer = gateway.ask("GET", f"/count?siteId={site}", tls=tls)
    assert (answer.status, answer.body.strip(), answer.get("Content-Type")) == (200, b'{"count":0}', "application/json")
    answer = post(gateway, f"siteId={site}", tls=tls)
    assert (answer.status, answer.body.strip(), answer.get("Content-Type")) == (200, b'{"status":"ok"}', "application/json")
    assert gateway.ask("GET", f"/count?siteId={site}", tls=tls).body.strip() == b'{"count":1}'


@pytest.mark.parametrize("written, site", [
    ("a%2Bb", "a%2Bb"), ("a+b", "a%20b"), ("a%20b", "a+b"), ("%e6%82%a3%e8%80%85", "%E6%82%A3%E8%80%85"), ("a%26b%3dc", "a%26b%3Dc"),
    ("x" * 64, "x" * 64)])
def test_count_reads_a_form_as_browsers_write_it(gateway, written, site):
    before = count(gateway, site)
    assert post(gateway, f"siteId={written}").status == 200
    assert count(gateway, site) == before + 1


@pytest.mark.parametrize("form", ["other=1&siteId={}", "siteId={}&other=1", "other&siteId={}", "&&siteId={}&", "siteid=x&siteId={}"])
def test_count_finds_its_parameter_among_others(gateway, site, form):
    assert post(gateway, form.format(site)).status == 200
    assert count(gateway, site) == 1


@pytest.mark.parametrize("form", [
    "", "siteId=", "siteId", "siteid=x", "siteId=%", "siteId=%1", "siteId=%zz", "siteId=a%00b", "siteId=a%0ab", "siteId=%ff",
    "siteId=a&siteId=b", "siteId=" + "x" * 65])
def test_count_refuses_what_names_no_one_site(gateway, form):
    assert_refused(post(gateway, form), 400)
    assert_refused(gateway.ask("GET", "/count?" + form), 400)


def test_count_without_a_query_is_refused(gateway):
    assert_refused(gateway.ask("GET", "/count"), 400)


def test_count_takes_a_form_with_a_charset(gateway, site):
    assert post(gateway, f"siteId={site}", fields=[("content-type", "Application/X-WWW-Form-Urlencoded; charset=UTF-8")]).status == 200
    assert count(gateway, site) == 1


@pytest.mark.parametrize("kind, status", [
    ("; charset=\"utf-8\"", 200), (" ;charset=US-ASCII", 200), (";boundary=x", 200), ("; charset=ISO-8859-1", 415), (";a=\";\";charset=utf-16", 415)])
def test_count_reads_a_form_in_utf8_alone(gateway, site, kind, status):
    assert post(gateway, f"siteId={site}", fields=[(FORM[0], FORM[1] + kind)]).status == status
    assert count(gateway, site) == (status == 200)


def test_count_without_a_body_names_no_site(gateway):
    for answer in (gateway.ask("POST", "/count"), gateway.ask("POST", "/count", b"")):
        assert_refused(answer, 400)
        assert json.loads(answer.body)["error"] == "site_missing"


@pytest.mark.parametrize("reason, status", [
    ("", 200), ("double+entry", 200), ("%C3%BC", 200), ("x" * 512, 200), ("x" * 513, 400), ("a%0Ab", 400), ("%FF", 400), ("a&reason=b", 400)])
def test_count_takes_a_reason(gateway, site, reason, status):
    assert post(gateway, f"siteId={site}&reason={reason}").status == status
    assert count(gateway, site) == (status == 200)


def test_count_a_form_that_is_repeated_with_its_key_counts_once(gateway, site):
    key = ("Idempotency-Key", site)
    for _ in range(3):
        assert post(gateway, f"siteId={site}", fields=[FORM, key]).body.strip() == b'{"status":"ok"}'
    assert_refused(post(gateway, f"siteId={site}&reason=x", fields=[FORM, key]), 422)
    assert count(gateway, site) == 1


def test_count_asks_for_a_form_that_waits_to_be_asked_for(gateway, site):
    wire = gateway.connect()
    form = f"siteId={site}".encode()
    wire.send(request_bytes("POST", "/count", fields=[FORM, ("Content-Length", str(len(form))), ("Expect", "100-continue")]))
    assert wire.response(interim=True).status == 100
    wire.send(form)
    assert wire.response().status == 200
    assert count(gateway, site) == 1


def test_count_refuses_a_body_that_is_no_form(gateway, site):
    answer = post(gateway, json.dumps({"siteId": site}), fields=[("Content-Type", "application/json")])
    assert_refused(answer, 400, 415)
    assert count(gateway, site) == 0


def test_count_refuses_a_form_that_is_too_long_to_be_one(gateway, site):
    answer = post(gateway, f"siteId={site}&padding=" + "x" * (1 << 20))
    assert_refused(answer, 413)
    assert count(gateway, site) == 0


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_count_names_the_methods_it_knows(gateway, method):
    answer = gateway.ask(method, "/count?siteId=x")
    assert_refused(answer, 405)
    # RFC 9110 §15.5.6: the origin server MUST generate an Allow header field in a 405 response.
    assert {"GET", "POST"} <= set(answer.get("Allow").replace(" ", "").split(","))


def test_count_answers_head_without_a_body(gateway, site):
    wire = gateway.connect()
    answer = wire.ask("HEAD", f"/count?siteId={site}")
    assert (answer.status, answer.body) == (200, b"")
    assert wire.ask("GET", f"/count?siteId={site}").body.strip() == b'{"count":0}'


def test_count_takes_a_form_in_chunks(gateway, site):
    wire = gateway.connect()
    head = request_bytes("POST", "/count", fields=[FORM, ("Transfer-Encoding", "chunked")])
    data = f"siteId={site}".encode()
    wire.send(head + b"".join(b"1\r\n%c\r\n" % byte for byte in data) + b"0\r\n\r\n")
    assert wire.response().status == 200
    assert count(gateway, site) == 1


def test_count_half_a_form_counts_nothing(gateway, site):
    wire = gateway.connect()
    wire.send(request_bytes("POST", "/count", fields=[FORM, ("Content-Length", "50")]) + f"siteId={site}".encode())
    wire.reset()
    gateway.at_rest()
    assert count(gateway, site) == 0


def test_count_a_question_does_not_enter_a_site(gateway, site):
    for number in range(100):
        assert count(gateway, f"{site}-{number}") == 0


@pytest.mark.parametrize("tls", [False, True])
def test_count_of_64_clients_at_once_is_the_exact_sum(gateway, site, tls, long):
    clients, each, troubles = 64, 2000 if long else 50, []

    def enrol(wire):
        try:
            for number in range(each):
                answer = wire.ask("POST", "/count", f"siteId={site}".encode(), [FORM])
                assert (answer.status, answer.body.strip()) == (200, b'{"status":"ok"}')
        except Exception as trouble:
            troubles.append(trouble)

    threads = [threading.Thread(target=enrol, args=(gateway.connect(tls),)) for _ in range(clients)]
    for thread in threads:
        thread.start()
    seen = [count(gateway, site) for _ in range(20)]
    for thread in threads:
        thread.join()
    assert not troubles, troubles[0]
    assert count(gateway, site) == clients * each
    assert seen == sorted(seen), "a count went down while it was only raised"


def test_count_pipelined_posts_are_all_counted(gateway, site):
    wire = gateway.connect()
    wire.send(request_bytes("POST", "/count", f"siteId={site}".encode(), [FORM]) * 200)
    for _ in range(200):
        assert wire.response().body.strip() == b'{"status":"ok"}'
    assert count(gateway, site) == 200
