"""Sites: rules, changes, reservations, pages and events; what docs/openapi.yaml cannot say by itself. Statuses: test_openapi.py."""
import asyncio
import json
import signal
import threading
import time
import uuid

import pytest
import websockets

from gateway import Gateway, eventually
from wire import CLOSE, PATIENCE_S, PING, PONG, TEXT, Closed, close_code, frame, read_frame, request_bytes, upgrade_bytes

FORM = ("Content-Type", "application/x-www-form-urlencoded")
JSON = ("Content-Type", "application/json")
STREAM = ("Accept", "text/event-stream")
ROUTES = [{"path": "/count", "serve": "count"}, {"prefix": "/sites", "serve": "count"}]
NOTHING = {"count": 0, "screened": 0, "enrolled": 0, "randomised": 0, "withdrawn": 0, "reserved": 0, "cap": None}


@pytest.fixture(scope="module")
def module_gateway(tmp_path_factory, certificates):
    gateway = Gateway(tmp_path_factory.mktemp("sites"), certificates, routes=ROUTES)
    with gateway.serving():
        yield gateway


@pytest.fixture
def gateway(module_gateway):
    if not module_gateway.alive():
        module_gateway.revive()
    yield module_gateway
    module_gateway.at_rest()


@pytest.fixture
def site():
    return f"site-{uuid.uuid4().hex[:12]}"


def ask(gateway, method, target, body=None, fields=(), **more):
    if body is not None and not isinstance(body, bytes):
        body, fields = json.dumps(body).encode(), [JSON, *fields]
    return gateway.ask(method, target, body, fields, **more)


def done(answer, *statuses):
    assert answer.status in (statuses or (200, 201)), (answer, answer.body)
    return json.loads(answer.body)


def refused(answer, status, name):
    refusal = json.loads(answer.body)
    assert (answer.status, refusal["error"]) == (status, name), (answer, answer.body)
    assert sorted(refusal) == ["error", "message"]
    return refusal["message"]


def look(gateway, site):
    return done(ask(gateway, "GET", f"/sites/{site}"), 200)


# ---- what a site is --------------------------------------------------------------------------------------


def test_sites_every_number_is_its_own_and_the_count_is_enrolled_less_withdrawn(gateway, site):
    for below, by in (("screenings", 9), ("enrolments", 7), ("randomisations", 5), ("withdrawals", 3), ("screenings", -2), ("withdrawals", -1)):
        assert done(ask(gateway, "POST", f"/sites/{site}/{below}", {"by": by, "reason": "seen"})) == {"status": "ok"}
    seen = look(gateway, site)
    assert seen.pop("changed").endswith("Z")
    assert seen == {"site": site, "status": "recruiting", "count": 5, "screened": 7, "enrolled": 7, "randomised": 5, "withdrawn": 2,
                    "reserved": 0, "cap": None, "revision": 6}
    assert done(gateway.ask("GET", f"/count?siteId={site}")) == {"count": 5}


def test_sites_one_is_what_a_change_says_that_says_nothing(gateway, site):
    for body in (None, b"", {}, {"reason": ""}):
        done(ask(gateway, "POST", f"/sites/{site}/enrolments", body))
    assert look(gateway, site)["count"] == 4


@pytest.mark.parametrize("written, read", [
    ("a%20b", "a b"), ("a+b", "a+b"), ("%2541", "%41"), ("x;y=z", "x;y=z"), ("%e6%82%a3", "患"), ("%22%5B%7D", '"[}'), ("y" * 64, "y" * 64)])
def test_sites_a_name_in_a_path_is_decoded_once(gateway, written, read):
    before = done(gateway.ask("GET", f"/count?siteId={written.replace('+', '%2B')}"))["count"]
    done(ask(gateway, "POST", f"/sites/{written}/enrolments", {}))
    seen = look(gateway, written)
    assert (seen["site"], seen["count"]) == (read, before + 1)
    assert done(gateway.ask("GET", f"/count?siteId={written.replace('+', '%2B')}"))["count"] == before + 1


@pytest.mark.parametrize("path, status, name", [
    ("/sites/a%2Fb", 400, "http_path_slash_encoded"), ("/sites/a%5Cb", 400, "http_path_slash_encoded"), ("/sites/%00", 400, "http_path_control"),
    ("/sites/%7f", 400, "http_path_control"), ("/sites/%C2%85", 400, "site_name_bad"), ("/sites/%FF", 400, "site_name_bad"),
    ("/sites/" + "x" * 65, 400, "site_name_bad"), ("/sites/%zz", 400, "http_path_escape_bad"), ("/sites/", 404, "route_none"),
    ("/sites/a/", 404, "route_none"), ("/sites/a/enrollments", 404, "route_none"), ("/sites/a/enrolments/1", 404, "route_none"),
    ("/sites/a/reservations/x/confirm/y", 404, "route_none"), ("/sites/events/enrolments", 404, "route_none")])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_sites_a_path_that_leads_nowhere_is_refused_by_name(gateway, method, path, status, name):
    refused(ask(gateway, method, path), status, name)


def test_sites_empty_segments_are_none(gateway, site):
    done(ask(gateway, "POST", f"/sites//{site}///enrolments", {}))
    assert look(gateway, site)["count"] == 1


@pytest.mark.parametrize("path, allow", [
    ("/sites", "GET, HEAD, PUT"), ("/sites/a", "GET, HEAD, PUT"), ("/sites/events", "GET"), ("/sites/a/enrolments", "POST"),
    ("/sites/a/reservations", "POST"), ("/sites/a/reservations/" + "0" * 16, "DELETE"), ("/sites/a/reservations/" + "0" * 16 + "/confirm", "POST")])
def test_sites_methods_that_are_known_are_named(gateway, path, allow):
    for method in {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"} - set(allow.split(", ")):
        answer = ask(gateway, method, path)
        assert (answer.status, answer.get("Allow")) == (405, allow), method


def test_sites_head_has_no_body(gateway, site):
    done(ask(gateway, "PUT", f"/sites/{site}", {"cap": 1}))
    wire = gateway.connect()
    for path in ("/sites", f"/sites/{site}"):
        answer = wire.ask("HEAD", path)
        assert (answer.status, answer.body) == (200, b"")
    assert answer.get("ETag") == '"1"' and int(answer.get("Content-Length")) > 0
    assert wire.ask("GET", f"/sites/{site}").status == 200


def test_sites_asking_enters_none(gateway, site):
    for number in range(50):
        refused(ask(gateway, "GET", f"/sites/{site}-{number}"), 404, "site_unknown")
        refused(ask(gateway, "PUT", f"/sites/{site}-{number}", {"cap": 1}, [("If-Match", "*")]), 412, "site_changed")
    assert not any(seen["site"].startswith(site) for seen in pages(gateway))


# ---- bodies ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body, says", [
    (b'{"by":1.0}', "by is a whole number"), (b'{"by":"1"}', "by is a whole number"), (b'{"by":0}', "by is a whole number"),
    (b'{"by":1000001}', "by is a whole number"), (b'{"bye":1}', '"bye" is no member here; known are: by and reason'),
    (b'{"by":1,"by":2}', "not JSON"), (b'{"by":1', "not JSON in line 1, column 7"), (b'{"by":1}}', "not JSON"), (b"[]", "not a JSON object"),
    (b"[" * 4096, "not JSON"), (b'{"reason":"\xff"}', "not JSON"), (b'{"reason":"a\\nb"}', "reason is a text"), (b'{"a\\"\\u0001":1}', '"a"\x01"'),
    (b'{"\xe6\x82\xa3":1}', '"患"')])
def test_sites_what_is_wrong_with_a_body_is_said(gateway, site, body, says):
    assert says in refused(ask(gateway, "POST", f"/sites/{site}/enrolments", body, [JSON]), 400, "json_bad")
    refused(ask(gateway, "GET", f"/sites/{site}"), 404, "site_unknown")


def test_sites_a_body_in_chunks_and_one_that_is_asked_for(gateway, site):
    wire = gateway.connect()
    wire.send(request_bytes("POST", f"/sites/{site}/enrolments", fields=[JSON, ("Transfer-Encoding", "chunked")]))
    wire.send(b"".join(b"1\r\n%c\r\n" % byte for byte in b'{"by":2}') + b"0\r\n\r\n")
    assert wire.response().status == 200
    wire.send(request_bytes("POST", f"/sites/{site}/enrolments", fields=[JSON, ("Content-Length", "8"), ("Expect", "100-continue")]))
    assert wire.response(interim=True).status == 100
    wire.send(b'{"by":3}')
    assert wire.response().status == 200
    assert look(gateway, site)["count"] == 5


def test_sites_what_is_refused_at_its_head_is_not_asked_for(gateway, site):
    wire = gateway.connect()
    wire.send(request_bytes("POST", f"/sites/{site}/enrolments", fields=[("Content-Type", "text/plain"), ("Content-Length", "8"),
                                                                        ("Expect", "100-continue")]))
    assert wire.response(interim=True).status == 415


@pytest.mark.parametrize("ending", ["reset", "close"])
def test_sites_half_a_body_changes_nothing(gateway, site, ending):
    wire = gateway.connect()
    wire.send(request_bytes("POST", f"/sites/{site}/enrolments", fields=[JSON, ("Content-Length", "20")]) + b'{"by":1}')
    getattr(wire, ending)()
    wire = gateway.connect()
    wire.send(request_bytes("POST", f"/sites/{site}/enrolments", fields=[JSON, ("Transfer-Encoding", "chunked")]) + b'8\r\n{"by":1}\r\nzz\r\n')
    assert wire.response().status == 400
    gateway.at_rest()
    refused(ask(gateway, "GET", f"/sites/{site}"), 404, "site_unknown")


# ---- rules and conditions ----------------------------------------------------------------------------------


def test_sites_rules_are_set_one_by_one(gateway, site):
    assert done(ask(gateway, "PUT", f"/sites/{site}", {"cap": 5}), 201)["status"] == "recruiting"
    assert done(ask(gateway, "PUT", f"/sites/{site}", {"status": "paused"}), 200)["cap"] == 5
    answer = ask(gateway, "PUT", f"/sites/{site}", {"cap": None, "status": "recruiting", "reason": "reopened"})
    seen = done(answer, 200)
    assert (seen["cap"], seen["status"], seen["revision"]) == (None, "recruiting", 3)
    assert answer.get("ETag") == '"3"' == ask(gateway, "GET", f"/sites/{site}").get("ETag")
    # What changes nothing is no change.
    assert done(ask(gateway, "PUT", f"/sites/{site}", {"cap": None}), 200)["revision"] == 3


def test_sites_a_condition_is_kept(gateway, site):
    put = lambda condition, value: ask(gateway, "PUT", f"/sites/{site}", {"cap": 5}, [(condition, value)])
    refused(put("If-Match", '"1"'), 412, "site_changed")
    assert put("If-None-Match", "*").status == 201
    refused(put("If-None-Match", "*"), 412, "site_changed")
    refused(put("If-Match", 'W/"1"'), 412, "site_changed")
    refused(put("If-Match", '"2", "a,1"'), 412, "site_changed")
    refused(put("If-None-Match", 'W/"1"'), 412, "site_changed")
    assert put("If-Match", '"9", "1"').status == 200
    assert put("If-Match", "*").status == 200
    done(ask(gateway, "POST", f"/sites/{site}/enrolments", {}))
    refused(put("If-Match", '"1"'), 412, "site_changed")
    get = lambda *fields: ask(gateway, "GET", f"/sites/{site}", fields=fields).status
    tag = ask(gateway, "GET", f"/sites/{site}").get("ETag")
    assert get(("If-None-Match", tag)) == get(("If-None-Match", "W/" + tag)) == get(("If-None-Match", f'"x", {tag}')) == get(("If-None-Match", "*")) == 304
    assert get(("If-None-Match", '"1"')) == get(("If-Match", tag)) == 200
    assert get(("If-Match", "W/" + tag)) == 412
    for method, path in (("POST", f"/sites/{site}/enrolments"), ("PUT", "/sites")):
        refused(ask(gateway, method, path, {}, [("If-Match", tag)]), 400, "condition_bad")


def test_sites_of_many_who_put_on_one_condition_one_is_heard(gateway, site):
    done(ask(gateway, "PUT", f"/sites/{site}", {"cap": 0}))
    statuses = []

    def put(number):
        statuses.append(ask(gateway, "PUT", f"/sites/{site}", {"cap": number}, [("If-Match", '"1"')]).status)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(1, 17)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [412] * 15
    assert look(gateway, site)["revision"] == 2


def racing(count, ask_one):
    """What `count` callers get who begin together."""
    barrier, answers = threading.Barrier(count), []

    def run(number):
        barrier.wait()
        answers.append(ask_one(number))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == count
    return answers


def test_sites_of_many_who_put_a_new_site_one_founds_it(gateway):
    for _ in range(12):
        site = f"new-{uuid.uuid4().hex[:12]}"
        answers = racing(8, lambda number: ask(gateway, "PUT", f"/sites/{site}", {"cap": number}))
        assert sorted(answer.status for answer in answers) == [200] * 7 + [201]


def test_sites_tags_hold_at_the_moment_of_the_change(gateway):
    """Not of the arrival: "not 2" is true of one who comes at 1, and "1 or 2" of two."""
    for fields, heard in ((("If-None-Match", '"2"'), 1), (("If-Match", '"1", "x", "2"'), 2), (("If-None-Match", '"7", W/"3"'), 2)):
        site = f"tag-{uuid.uuid4().hex[:12]}"
        done(ask(gateway, "PUT", f"/sites/{site}", {"cap": 100}), 201)
        answers = racing(12, lambda number: ask(gateway, "PUT", f"/sites/{site}", {"cap": number}, [fields]))
        assert sorted(answer.status for answer in answers) == [200] * heard + [412] * (12 - heard), fields
        assert look(gateway, site)["revision"] == 1 + heard


def test_sites_as_many_tags_are_read_as_anybody_needs(gateway, site):
    done(ask(gateway, "PUT", f"/sites/{site}", {"cap": 1}), 201)
    put = lambda condition, tags: ask(gateway, "PUT", f"/sites/{site}", {"cap": 1}, [(condition, ", ".join(tags))])
    for condition, status in (("If-Match", 200), ("If-None-Match", 412)):
        assert put(condition, [f'"{number}"' for number in range(8, 0, -1)]).status == status
        assert put(condition, ['"x"'] * 20 + ['"1"']).status == status
        assert "at most 8" in refused(put(condition, [f'"{number}"' for number in range(9, 0, -1)]), 400, "condition_bad")


def test_sites_a_cap_is_exact_on_all_cores(gateway, site, long):
    cap = 500 if long else 60
    done(ask(gateway, "PUT", f"/sites/{site}", {"cap": cap}))
    statuses = []

    def enrol():
        wire = gateway.connect()
        for _ in range(cap // 8):
            statuses.append(wire.ask("POST", f"/sites/{site}/enrolments", b"{}", [JSON]).status)

    threads = [threading.Thread(target=enrol) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) == {200, 409} and statuses.count(200) == cap
    assert look(gateway, site)["count"] == cap


# ---- reservations --------------------------------------------------------------------------------------------


def test_sites_a_reserved_place_is_confirmed_or_released_once(gateway, site):
    done(ask(gateway, "PUT", f"/sites/{site}", {"cap": 3}))
    first = ask(gateway, "POST", f"/sites/{site}/reservations", {"by": 2})
    kept = done(first, 201)
    assert first.get("Location") == f"/sites/{site}/reservations/{kept['id']}" and (kept["site"], kept["by"]) == (site, 2)
    second = done(ask(gateway, "POST", f"/sites/{site}/reservations", {}), 201)
    refused(ask(gateway, "POST", f"/sites/{site}/enrolments", {}), 409, "site_cap_reached")
    assert look(gateway, site)["reserved"] == 3
    done(ask(gateway, "POST", first.get("Location") + "/confirm", {"reason": "eligible"}))
    done(ask(gateway, "DELETE", f"/sites/{site}/reservations/{second['id']}"))
    seen = look(gateway, site)
    assert (seen["count"], seen["enrolled"], seen["reserved"]) == (2, 2, 0)
    for kept in (kept, second):
        path = f"/sites/{site}/reservations/{kept['id']}"
        refused(ask(gateway, "POST", path + "/confirm"), 404, "reservation_unknown")
        refused(ask(gateway, "DELETE", path), 404, "reservation_unknown")


def test_sites_a_reservation_belongs_to_its_site(gateway, site):
    kept = done(ask(gateway, "POST", f"/sites/{site}/reservations", {}), 201)
    done(ask(gateway, "POST", f"/sites/{site}-b/enrolments", {}))
    for path in (f"/sites/{site}-b/reservations/{kept['id']}", f"/sites/{site}/reservations/{kept['id'].upper()}X"):
        refused(ask(gateway, "DELETE", path), 404, "reservation_unknown")
    done(ask(gateway, "DELETE", f"/sites/{site}/reservations/{kept['id']}"))


def test_sites_a_reservation_expires(gateway, site):
    done(ask(gateway, "PUT", f"/sites/{site}", {"cap": 1}))
    kept = done(ask(gateway, "POST", f"/sites/{site}/reservations", {"ttl": "50ms"}), 201)
    eventually(lambda: look(gateway, site)["reserved"] == 0, "the place is free again")
    refused(ask(gateway, "POST", f"/sites/{site}/reservations/{kept['id']}/confirm"), 404, "reservation_unknown")
    done(ask(gateway, "POST", f"/sites/{site}/enrolments", {}))


# ---- keys ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first, again", [("{}", "{}"), ('"{}"', "{}"), ("{}", '"{}"')])
def test_sites_a_request_that_is_repeated_counts_once(gateway, site, first, again):
    key = uuid.uuid4().hex
    for value in (first, again, again):
        assert done(ask(gateway, "POST", f"/sites/{site}/enrolments", {"by": 3}, [("Idempotency-Key", value.format(key))])) == {"status": "ok"}
    refused(ask(gateway, "POST", f"/sites/{site}/enrolments", {"by": 4}, [("Idempotency-Key", key)]), 422, "idempotency_key_reused")
    refused(ask(gateway, "POST", f"/sites/{site}/screenings", {"by": 3}, [("Idempotency-Key", key)]), 422, "idempotency_key_reused")
    assert look(gateway, site)["count"] == 3


def test_sites_a_reservation_that_is_asked_for_twice_is_one(gateway, site):
    ask_it = lambda: done(ask(gateway, "POST", f"/sites/{site}/reservations", {}, [("Idempotency-Key", site)]), 201)
    assert ask_it() == ask_it()
    assert look(gateway, site)["reserved"] == 1


def test_sites_a_refusal_is_repeated_too(gateway, site):
    done(ask(gateway, "PUT", f"/sites/{site}", {"cap": 0}))
    enrol = lambda: ask(gateway, "POST", f"/sites/{site}/enrolments", {}, [("Idempotency-Key", site)])
    refused(enrol(), 409, "site_cap_reached")
    done(ask(gateway, "PUT", f"/sites/{site}", {"cap": None}))
    refused(enrol(), 409, "site_cap_reached")


@pytest.mark.parametrize("fields", [[""], ['"'], ['"a'], ['"a"b'], ["x" * 256], ["a", "a"], ["\u00fc"], ["a\tb"]])
@pytest.mark.parametrize("target", ["/count", "/sites/{}/enrolments"])
def test_sites_a_key_that_is_none_is_refused(gateway, site, target, fields):
    body, kind = (f"siteId={site}".encode(), FORM) if target == "/count" else (b"{}", JSON)
    refused(ask(gateway, "POST", target.format(site), body, [kind, *(("Idempotency-Key", key) for key in fields)]), 400, "idempotency_key_bad")
    assert done(gateway.ask("GET", f"/count?siteId={site}")) == {"count": 0}


# ---- pages ---------------------------------------------------------------------------------------------------


def pages(gateway, limit=100):
    """All sites, page by page."""
    seen, after = [], ""
    while True:
        page = done(ask(gateway, "GET", f"/sites?limit={limit}{after}"), 200)
        assert len(page["sites"]) <= limit and (page["next"] is None or len(page["sites"]) == limit)
        seen += page["sites"]
        if page["next"] is None:
            return seen
        after = f"&after={page['next']}"


def test_sites_pages_do_not_shift_while_sites_are_added(start_gateway):
    gateway = start_gateway(routes=ROUTES)
    wire = gateway.connect()
    assert done(wire.ask("GET", "/sites")) == {"study": NOTHING, "sites": [], "next": None}
    names = [f"s{number:04}" for number in range(250)]
    for name in names:
        assert wire.ask("POST", f"/sites/{name}/enrolments", b"{}", [JSON]).status == 200
    seen, after, added = [], "", 0
    while after is not None:
        page = done(wire.ask("GET", f"/sites?limit=9{after}"))
        seen += [site["site"] for site in page["sites"]]
        after = page["next"] and f"&after={page['next']}"
        if added < 40:
            assert wire.ask("POST", f"/sites/a{added}/screenings", b"{}", [JSON]).status == 200
            added += 1
    assert sorted(seen[:250]) == names and len(set(seen)) == len(seen)
    assert seen[250:] == [f"a{number}" for number in range(len(seen) - 250)]
    assert done(wire.ask("GET", "/sites"))["study"]["enrolled"] == 250
    # Of another run: numbers are given anew.
    cursor = done(wire.ask("GET", "/sites?limit=1"))["next"]
    gateway.stop()
    gateway.start()
    refused(ask(gateway, "GET", f"/sites?after={cursor}"), 400, "sites_cursor_bad")
    assert len(pages(gateway, 7)) == 250 + added


def test_sites_a_page_of_a_thousand_goes_out_as_it_is_read(start_gateway):
    gateway = start_gateway(routes=ROUTES)
    wire = gateway.connect()
    for number in range(1100):
        wire.send(request_bytes("POST", "/count", f"siteId=site-{number:05}-{'x' * 40}".encode(), [FORM]))
        assert wire.response().status == 200
    slow = gateway.connect(receive_buffer=4096)
    slow.send(request_bytes("GET", "/sites?limit=1000"))
    time.sleep(0.2)
    page = json.loads(slow.response().body)
    assert len(page["sites"]) == 1000 and page["next"]
    # A client of 1.0 knows no chunks: his ends with the connection.
    old = gateway.connect()
    old.send(request_bytes("GET", "/sites?limit=1000", version="1.0"))
    answer = old.response()
    assert answer.get("Transfer-Encoding") is None and len(json.loads(answer.body)["sites"]) == 1000


# ---- events --------------------------------------------------------------------------------------------------


def watch_socket(gateway, query="", **more):
    wire = gateway.connect(**more)
    wire.send(upgrade_bytes("/sites/events" + query))
    assert wire.response().status == 101
    return wire


def watch_stream(gateway, query="", **more):
    wire = gateway.connect(**more)
    wire.send(request_bytes("GET", "/sites/events" + query, fields=[STREAM]))
    head = wire.read_until(b"\r\n\r\n")
    assert b" 200 " in head and b"text/event-stream" in head, head
    return wire


def socket_event(wire):
    opcode, _, payload = read_frame(wire)
    while opcode == PING:                              # heartbeats of a test that takes long
        opcode, _, payload = read_frame(wire)
    assert opcode == TEXT
    return json.loads(payload)


def stream_event(wire):
    """The next one. Chunks end where they end, also in the middle of one."""
    told = getattr(wire, "told", b"")
    while True:
        text, mark, rest = told.partition(b"\n\n")
        if not mark:
            size = int(wire.read_until(b"\r\n"), 16)
            assert size > 0, "it has ended"
            told += wire.read(size)
            assert wire.read(2) == b"\r\n"
            continue
        told = wire.told = rest
        if text.startswith(b"data: "):
            return json.loads(text[6:])


KINDS = [(watch_socket, socket_event), (watch_stream, stream_event)]


@pytest.mark.parametrize("watch, event", KINDS)
def test_sites_changes_of_any_core_are_told_to_watchers_of_all(gateway, site, watch, event):
    watchers = [watch(gateway) for _ in range(8)]
    for number in range(1, 9):
        done(ask(gateway, "POST", f"/sites/{site}/enrolments", {}))
    for wire in watchers:
        counts = []
        while not counts or counts[-1] < 8:
            seen = event(wire)
            if seen["type"] == "site" and seen["site"] == site:
                counts.append(seen["count"])
        assert counts == sorted(counts)
    for wire in watchers:
        wire.reset()


@pytest.mark.parametrize("watch, event", KINDS)
def test_sites_who_watches_one_site_is_told_of_that_one(gateway, site, watch, event):
    wire = watch(gateway, f"?site={site}")
    done(ask(gateway, "POST", f"/sites/{site}-other/enrolments", {}))
    done(ask(gateway, "PUT", "/sites", {"cap": 1000000}))
    done(ask(gateway, "PUT", "/sites", {"cap": None}))
    done(ask(gateway, "PUT", f"/sites/{site}", {"status": "closed", "cap": 4}))
    seen = event(wire)
    assert seen.pop("type") == "site" and seen == look(gateway, site)
    wire.reset()


@pytest.mark.parametrize("watch, event", KINDS)
def test_sites_a_slow_watcher_misses_steps_and_never_the_last(start_gateway, watch, event):
    gateway = start_gateway(routes=ROUTES, cores=1)
    slow = watch(gateway, receive_buffer=4096)
    wire = gateway.connect()
    for round in range(4):
        for number in range(1500):
            wire.send(request_bytes("POST", f"/sites/s{number}/enrolments", b'{"by":1}', [JSON]))
            if number % 50 == 49:
                for _ in range(50):
                    assert wire.response().status == 200
    last = {}
    while len(last) < 1500 or min(last.values()) < 4:
        seen = event(slow)
        if seen["type"] == "missed":
            last = {site["site"]: site["count"] for site in pages(gateway, 1000)}
        else:
            assert seen["count"] >= last.get(seen["site"], 0)
            last[seen["site"]] = seen["count"]
    slow.reset()


@pytest.mark.parametrize("watch, event", KINDS)
def test_sites_who_falls_too_far_behind_is_told_that_he_missed_something(start_gateway, watch, event):
    """Once, and from there on he hears everything again."""
    # He reads nothing until all has been counted, and a machine may take its time for that.
    gateway = start_gateway(routes=ROUTES, cores=1, count={"durability": "memory"}, timeouts={"send": "5m"})
    slow = watch(gateway, receive_buffer=4096)
    wire = gateway.connect()
    # More than are kept for him (8192), and what pipes and sockets hold, which is megabytes: so the names are long. Of one site only one change
    # is told in a turn, so no two of a bundle are alike.
    name = "a-site-whose-name-is-as-long-as-a-name-may-be-and-no-longer"
    for number in range(0, 25000, 50):
        wire.send(b"".join(request_bytes("POST", f"/sites/{name}-{number % 500 + i}/enrolments", b'{"by":1}', [JSON]) for i in range(50)))
        for _ in range(50):
            assert wire.response().status == 200
    before = 0
    while (seen := event(slow)) != {"type": "missed"}:
        assert seen["type"] == "site" and seen["count"] <= 50
        before += 1
    assert 0 < before < 25000 - 8192, "he was told what the sockets held, and not what was dropped"
    fetched = pages(gateway, 1000)
    assert len(fetched) == 500 and all(site["count"] == 50 for site in fetched)
    done(ask(gateway, "POST", f"/sites/{name}-7/enrolments", {}))
    seen = event(slow)
    assert (seen["type"], seen["site"], seen["count"]) == ("site", f"{name}-7", 51)
    slow.reset()


def test_sites_a_library_reads_what_is_told(gateway, site):
    async def run():
        async with websockets.connect(f"ws://127.0.0.1:{gateway.port}/sites/events?site={site}") as client:
            await client.send("what a watcher says is of no interest")
            await asyncio.to_thread(ask, gateway, "POST", f"/sites/{site}/screenings", {"by": 2})
            return json.loads(await asyncio.wait_for(client.recv(), 20))
    assert asyncio.run(run())["screened"] == 2


def test_sites_a_watcher_is_told_goodbye_when_the_gateway_stops(start_gateway, site):
    gateway = start_gateway(routes=ROUTES)
    sockets = [watch_socket(gateway) for _ in range(3)]
    streams = [watch_stream(gateway) for _ in range(3)]
    gateway.signal(signal.SIGTERM)
    for wire in sockets:
        opcode, _, payload = read_frame(wire)
        assert (opcode, close_code(payload)) == (CLOSE, 1001)
        wire.send(frame(CLOSE, payload))
        wire.ended()
        wire.close()
    for wire in streams:
        assert wire.read_chunked() == (b"", [])
        wire.ended()
        wire.close()
    assert gateway.wait() == 0


def test_sites_a_silent_socket_is_pinged_and_closed(start_gateway):
    gateway = start_gateway(routes=[{"prefix": "/sites", "serve": "count", "heartbeat": "200ms"}])
    wire = watch_socket(gateway)
    for _ in range(2):
        opcode, _, payload = read_frame(wire)
        assert opcode == PING
        wire.send(frame(PONG, payload))
    assert read_frame(wire)[0] == PING
    opcode, _, payload = read_frame(wire)
    assert (opcode, close_code(payload)) == (CLOSE, 1001)
    wire.send(frame(CLOSE, payload))
    wire.gone()


def test_sites_a_page_of_an_origin_that_is_named_may_watch(start_gateway):
    gateway = start_gateway(routes=[{"prefix": "/sites", "serve": "count", "origins": ["https://board.example"]}])
    for origin, status in (("https://board.example", 101), ("https://elsewhere.example", 403)):
        wire = gateway.connect()
        wire.send(upgrade_bytes("/sites/events", [("Origin", origin)]))
        assert wire.response().status == status
        wire.reset()


# ---- where it is served ----------------------------------------------------------------------------------------


def test_sites_are_served_below_any_path(start_gateway):
    gateway = start_gateway(routes=[{"prefix": "/api/sites", "serve": "count"}, {"prefix": "/v2", "serve": "count"}, {"path": "/enrolled", "serve": "count"}])
    done(ask(gateway, "POST", "/api/sites/a/enrolments", {}))
    done(ask(gateway, "POST", "/v2/sites/a/enrolments", {}))
    done(ask(gateway, "POST", "/v2/count", b"siteId=a", [FORM]))
    assert done(gateway.ask("GET", "/enrolled?siteId=a")) == {"count": 3}
    refused(gateway.ask("GET", "/v2/other"), 404, "route_none")
    refused(gateway.ask("GET", "/v2"), 404, "route_none")


def test_sites_where_only_rules_found_a_site(start_gateway):
    gateway = start_gateway(routes=ROUTES, count={"new_sites": False})
    refused(ask(gateway, "POST", "/count", b"siteId=a", [FORM]), 404, "site_unknown")
    done(ask(gateway, "PUT", "/sites/a", {"status": "recruiting"}), 201)
    done(ask(gateway, "POST", "/count", b"siteId=a", [FORM]))
    assert done(gateway.ask("GET", "/count?siteId=a")) == {"count": 1}


def test_sites_nothing_that_is_refused_founds_a_site(start_gateway):
    """Or whoever may ask could fill the directory with names, for good."""
    gateway = start_gateway(routes=ROUTES, limits={"sites_max": 3})
    done(ask(gateway, "PUT", "/sites", {"cap": 0}))
    for i in range(6):
        at, key = f"/sites/refused-{i}", lambda: ("Idempotency-Key", uuid.uuid4().hex)
        refused(ask(gateway, "POST", "/count", f"siteId=refused-{i}".encode(), [FORM]), 409, "study_cap_reached")
        refused(ask(gateway, "POST", "/count", f"siteId=refused-{i}".encode(), [FORM, key()]), 409, "study_cap_reached")
        refused(ask(gateway, "POST", f"{at}/enrolments", {"by": 3}), 409, "study_cap_reached")
        refused(ask(gateway, "POST", f"{at}/withdrawals", {}), 409, "count_below_zero")
        refused(ask(gateway, "POST", f"{at}/withdrawals", {"by": -1}, [key()]), 409, "count_below_zero")
        refused(ask(gateway, "POST", f"{at}/screenings", {"by": -2}, [key()]), 409, "count_below_zero")
        refused(ask(gateway, "POST", f"{at}/reservations", {}), 409, "study_cap_reached")
        refused(ask(gateway, "POST", f"{at}/reservations", {}, [key()]), 409, "study_cap_reached")
        refused(ask(gateway, "POST", f"{at}/reservations/{i + 1:016x}/confirm", {}), 404, "reservation_unknown")
        refused(ask(gateway, "DELETE", f"{at}/reservations/{i + 1:016x}"), 404, "reservation_unknown")
        for field in (("If-Match", "*"), ("If-Match", '"1"'), ("If-Match", '"0"')):
            refused(ask(gateway, "PUT", at, {"cap": 1}, [field]), 412, "site_changed")
        refused(ask(gateway, "GET", at), 404, "site_unknown")
        assert done(gateway.ask("GET", f"/count?siteId=refused-{i}")) == {"count": 0}
    assert done(gateway.ask("GET", "/sites"))["sites"] == []
    done(ask(gateway, "PUT", "/sites", {"cap": None}))
    done(ask(gateway, "POST", "/count", b"siteId=a", [FORM]))
    done(ask(gateway, "PUT", "/sites/b", {"cap": 1}, [("If-None-Match", "*")]), 201)
    done(ask(gateway, "POST", "/sites/c/reservations", {}), 201)
    for method, path, body in (("POST", "/sites/d/enrolments", {}), ("POST", "/sites/d/reservations", {}), ("PUT", "/sites/d", {"cap": 1})):
        refused(ask(gateway, method, path, body), 507, "sites_full")
    refused(ask(gateway, "POST", "/sites/d/enrolments", {}, [("Idempotency-Key", "k")]), 507, "sites_full")
    assert [seen["site"] for seen in done(gateway.ask("GET", "/sites"))["sites"]] == ["a", "b", "c"]


def test_sites_changes_under_way_are_bounded(start_gateway):
    gateway = start_gateway(routes=ROUTES, limits={"changes_max": 1})
    counted, surplus = 0, 0
    until = time.monotonic() + PATIENCE_S
    while not (counted and surplus):
        assert time.monotonic() < until
        for answer in racing(24, lambda number: ask(gateway, "POST", "/sites/a/enrolments", {})):
            if answer.status == 200:
                counted += 1
            else:
                surplus += 1
                assert "limits.changes_max" in refused(answer, 503, "changes_full")
        assert look(gateway, "a")["count"] == counted if counted else True
    assert gateway.refused("changes_full") == surplus
    # Who waits for another with his key is under way himself; what was surplus is gone, and its key with it.
    surplus = 0
    while not surplus:
        assert time.monotonic() < until
        key = ("Idempotency-Key", uuid.uuid4().hex)
        answers = racing(24, lambda number: ask(gateway, "POST", "/sites/b/enrolments", {}, [key]))
        surplus = sum(answer.status == 503 for answer in answers)
        assert {answer.status for answer in answers} <= {200, 503}
    done(ask(gateway, "POST", "/sites/b/enrolments", {}, [("Idempotency-Key", "another")]))
