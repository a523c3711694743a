"""Patients' WebSockets (/live) and what is pushed to them (/push), by python3-websockets and by frames written by hand."""
import asyncio
import json
import re
import selectors
import signal
import time

import pytest
import websockets

from gateway import SLOW, eventually
from wire import BINARY, CLOSE, CONTINUATION, PATIENCE_S, PING, PONG, TEXT, close_code, frame, read_frame, upgrade_bytes

ROUTES = [{"path": "/live", "serve": "live", "heartbeat": "30s"}, {"prefix": "/push", "serve": "push"},
          {"path": "/echo", "serve": "echo"}, {"path": "/count", "serve": "count"}]


@pytest.fixture(scope="module")
def module_gateway(tmp_path_factory, certificates):
    from gateway import Gateway
    gateway = Gateway(tmp_path_factory.mktemp("live"), certificates, routes=ROUTES)
    with gateway.serving():
        yield gateway


@pytest.fixture
def gateway(module_gateway):
    if not module_gateway.alive():
        module_gateway.revive()
    yield module_gateway
    module_gateway.at_rest()
    nobody(module_gateway)


def nobody(gateway):
    live = gateway.total()["live"]
    assert (live["sockets"], live["patients"], live["open"], live["queued"]) == (0, 0, 0, 0), live


def open_live(gateway, patient="p7", tls=False, fields=(), **more):
    wire = gateway.connect(tls, **more)
    wire.send(upgrade_bytes(f"/live?patient={patient}", fields))
    answer = wire.response()
    assert answer.status == 101, answer
    return wire


def entered(gateway, count):
    """The sockets are where a push finds them: the client sees its 101 a moment before."""
    eventually(lambda: gateway.total()["live"]["sockets"] == count, f"{count} sockets are entered")


def push(gateway, patient, message, tls=False):
    answer = gateway.ask("POST", f"/push/{patient}", message if isinstance(message, bytes) else json.dumps(message).encode(), tls=tls)
    assert answer.status == 202, (answer, answer.body)
    assert answer.get("Content-Type") == "application/json"
    return json.loads(answer.body)


def read_json(wire):
    """The next message; on a slow machine a heartbeat may come first."""
    while (seen := read_frame(wire))[0] == PING:
        wire.send(frame(PONG, seen[2]))
    opcode, fin, payload = seen
    assert (opcode, fin) == (TEXT, True), (opcode, payload)
    return json.loads(payload)


def refused(answer, status, name):
    assert (answer.status, json.loads(answer.body)["error"]) == (status, name), (answer, answer.body)


def logged(gateway, error):
    """The access line that tells of this error; None: there is none yet."""
    lines = [json.loads(line) for line in gateway.access_log.read_text().splitlines()]
    return next((line for line in lines if line["error"] == error), None)


def close(wire, code=1000):
    wire.send(frame(CLOSE, code.to_bytes(2, "big")))
    assert read_frame(wire)[0] == CLOSE
    wire.ended()


# ---- a push reaches every socket of its patient --------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True])
def test_a_push_reaches_every_socket_of_its_patient_on_both_cores_and_nobody_else(gateway, tls):
    mine = [open_live(gateway, "p7", tls) for _ in range(12)]
    others = [open_live(gateway, "p8", tls) for _ in range(4)]
    entered(gateway, 16)
    cores = [core["live"]["sockets"] for core in gateway.stats()["cores"]]
    assert all(cores), f"the kernel dealt all to one core: {cores}"
    assert gateway.total()["live"]["patients"] >= 2
    body = {"title": "Diary", "text": "Bitte ausfüllen 患", "n": [1, 2.5, None, True]}
    told = push(gateway, "p7", {"body": body, "ttl": "1h"}, tls)
    assert told["delivered"] == 12 and re.fullmatch("[0-9a-f]{32}", told["id"]) and "cores_silent" not in told
    for wire in mine:
        assert read_json(wire) == {"type": "notification", "id": told["id"], "body": body}
    second = push(gateway, "p8", {"body": "only you"})
    assert second["delivered"] == 4 and second["id"] != told["id"]
    for wire in others:
        assert read_json(wire) == {"type": "notification", "id": second["id"], "body": "only you"}
    for wire in mine + others:
        close(wire)


def test_what_is_counted_as_delivered_comes_before_the_answer_to_a_close(gateway):
    """A client leaves while he is pushed to: either the push does not count him, or he gets it before our Close."""
    said = got = 0
    pusher = gateway.connect()
    for number in range(300 * SLOW):
        wire = open_live(gateway, "leaver")
        body = b'{"body":%d}' % number
        pusher.send(b"POST /push/leaver HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        wire.send(frame(CLOSE, (1000).to_bytes(2, "big")))
        answer = pusher.response()
        said += json.loads(answer.body)["delivered"]
        while (seen := read_frame(wire))[0] != CLOSE:
            got += seen[0] == TEXT
        wire.ended()
    assert got == said > 0, f"{said} said to be delivered, {got} came"
    pusher.sock.close()


@pytest.mark.parametrize("name", ["a%2Fb", "a%5Cb", ".", ".."])
def test_a_patient_whom_no_push_could_name_does_not_come_in(gateway, name):
    wire = gateway.connect()
    wire.send(upgrade_bytes(f"/live?patient={name}"))
    refused(wire.response(), 400, "patient_name_bad")
    wire.sock.close()


@pytest.mark.parametrize("tls", [False, True])
def test_a_page_of_another_origin_does_not_push(gateway, tls):
    own = f"{'https' if tls else 'http'}://localhost"
    for origin, status in ((own, 202), (None, 202), ("https://evil.example", 403), ("null", 403), (own + ".evil.example", 403),
                           (f"{'http' if tls else 'https'}://localhost", 403)):
        wire = gateway.connect(tls)
        field = f"Origin: {origin}\r\n" if origin else ""
        wire.send(f"POST /push/q HTTP/1.1\r\nHost: localhost\r\n{field}Content-Type: text/plain\r\nContent-Length: 10\r\n\r\n{{\"body\":1}}".encode())
        answer = wire.response()
        if status == 202:
            assert answer.status == 202, (origin, answer)
        else:
            refused(answer, 403, "push_origin")
        wire.sock.close()


def test_a_patient_who_is_away_gets_nothing_and_the_answer_says_so(gateway):
    assert push(gateway, "nobody", {"body": 1, "ttl": "1h"})["delivered"] == 0
    wire = open_live(gateway, "gone")
    close(wire)
    entered(gateway, 0)
    assert push(gateway, "gone", {"body": 1})["delivered"] == 0


def test_a_body_arrives_as_it_was_written(gateway):
    wire = open_live(gateway)
    entered(gateway, 1)
    for text in ('1.10', '{"b": 1,  "a":\t2}', '"a\\u00e9\\"}]"', '[ ]', 'null', '12345678901234567', '98765432109876543210', '"\\u0000"', '{"body": {"body": "}"}}'):
        told = push(gateway, "p7", b' {"ttl" : "5m" , "body":  ' + text.encode() + b' }\r\n')
        opcode, _, payload = read_frame(wire)
        assert payload.decode() == '{"type":"notification","id":"%s","body":%s}' % (told["id"], text)


def test_names_of_patients_are_the_same_in_a_query_and_in_a_path(gateway):
    for query, path in (("p%2B7", "p+7"), ("a+b", "a%20b"), ("%E6%82%A3", "%E6%82%A3"), ("a%26b", "a&b"), ("a.b~c", "%61.b~c"),
                        ("x" * 128, "x" * 128)):
        wire = open_live(gateway, query)
        entered(gateway, 1)
        told = push(gateway, path, {"body": path})
        assert told["delivered"] == 1, (query, path)
        assert read_json(wire)["body"] == path
        close(wire)
        entered(gateway, 0)


def test_pushes_keep_their_order(gateway):
    wire, sender = open_live(gateway), gateway.connect()
    entered(gateway, 1)
    for number in range(300):
        answer = sender.ask("POST", "/push/p7", b'{"body":%d}' % number)
        assert json.loads(answer.body)["delivered"] == 1
    assert [read_json(wire)["body"] for _ in range(300)] == list(range(300))


def test_a_large_push_in_chunks(gateway):
    wire = open_live(gateway)
    entered(gateway, 1)
    text = json.dumps({"body": "x" * 60_000}).encode()
    sender = gateway.connect()
    sender.send(b"POST /push/p7 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
    for at in range(0, len(text), 1000):
        piece = text[at:at + 1000]
        sender.send(b"%x\r\n%s\r\n" % (len(piece), piece))
    sender.send(b"0\r\n\r\n")
    assert json.loads(sender.response().body)["delivered"] == 1
    assert read_json(wire)["body"] == "x" * 60_000


def test_two_thousand_sockets_of_one_patient(start_gateway):
    count = 2000 // SLOW
    gateway = start_gateway(routes=ROUTES)

    async def run():
        async def one():
            sock = await websockets.connect(f"ws://127.0.0.1:{gateway.port}/live?patient=p", ping_interval=None, compression=None,
                                            open_timeout=PATIENCE_S * SLOW)
            return sock

        socks = []
        for _ in range(0, count, 100):
            socks += await asyncio.gather(*[one() for _ in range(100)])
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, entered, gateway, len(socks))
        told = await loop.run_in_executor(None, push, gateway, "p", {"body": "all of you"})
        assert told["delivered"] == len(socks)
        for message in await asyncio.gather(*[sock.recv() for sock in socks]):
            assert json.loads(message) == {"type": "notification", "id": told["id"], "body": "all of you"}
        await asyncio.gather(*[sock.close() for sock in socks])

    asyncio.run(asyncio.wait_for(run(), 3 * PATIENCE_S * SLOW))
    eventually(lambda: gateway.total()["live"]["open"] == 0, "all are gone")
    assert gateway.total()["live"]["written"] == count
    nobody(gateway)


# ---- refusals --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body, status, name", [
    (b"", 400, "push_not_json"), (b"[1]", 400, "push_not_json"), (b'{"body":1', 400, "push_not_json"), (b'{"body":1}x', 400, "push_not_json"),
    (b'{"body":1,"body":2}', 400, "push_not_json"), (b'{"body":"\xff"}', 400, "push_not_json"), (b"{}", 400, "push_body_missing"),
    (b'{"ttl":"1h"}', 400, "push_body_missing"), (b'{"body":1,"tll":"1h"}', 400, "push_member_unknown"),
    (b'{"body":1,"ttl":"1"}', 400, "push_ttl_bad"), (b'{"body":1,"ttl":3600}', 400, "push_ttl_bad"),
    (b'{"body":1,"ttl":"31d"}', 400, "push_ttl_bad"), (b'{"body":1,"ttl":"721h"}', 400, "push_ttl_bad"),
    (b'{"body":"' + b"x" * 70_000 + b'"}', 413, "push_too_large")])
def test_a_push_that_is_none_is_refused_by_name(gateway, body, status, name):
    refused(gateway.ask("POST", "/push/p7", body), status, name)


@pytest.mark.parametrize("method, target, status, name", [
    ("POST", "/push", 400, "patient_missing"), ("POST", "/push/", 400, "patient_missing"),
    ("POST", "/push/" + "x" * 129, 400, "patient_name_bad"), ("POST", "/push/%FF", 400, "patient_name_bad"),
    ("POST", "/push/%C2%85", 400, "patient_name_bad"), ("GET", "/push/p7", 405, "method_not_allowed"),
    ("DELETE", "/push/p7", 405, "method_not_allowed"), ("POST", "/push/p7/id", 405, "method_not_allowed"),
    ("GET", "/push/p7/0123", 501, "target_not_built"), ("GET", "/live?patient=p7", 426, "websocket_expected")])
def test_what_leads_nowhere_is_refused_by_name(gateway, method, target, status, name):
    refused(gateway.ask(method, target, b'{"body":1}' if method == "POST" else None), status, name)


@pytest.mark.parametrize("target, name", [
    ("/live", "patient_missing"), ("/live?patient=", "patient_missing"), ("/live?other=1", "patient_missing"),
    ("/live?patient=" + "x" * 129, "patient_name_bad"), ("/live?patient=%FF", "patient_name_bad"), ("/live?patient=a%0Ab", "patient_name_bad"),
    ("/live?patient=a&patient=b", "form_name_several"), ("/live?patient=%zz", "form_escape_bad")])
def test_a_socket_for_nobody_is_refused_by_name(gateway, target, name):
    wire = gateway.connect()
    wire.send(upgrade_bytes(target))
    answer = wire.response()
    assert answer.status == 400 and name in json.loads(answer.body)["error"], answer.body


def test_a_page_of_another_origin_is_refused(gateway):
    wire = gateway.connect()
    wire.send(upgrade_bytes("/live?patient=p7", [("Origin", "https://evil.example")]))
    refused(wire.response(), 403, "ws_accept_origin")


def test_no_name_of_a_patient_is_logged(gateway):
    wire = open_live(gateway, "secret-name")
    entered(gateway, 1)
    push(gateway, "secret-name", {"body": "secret-body"})
    read_json(wire)
    close(wire)
    eventually(lambda: '"route":"/live"' in gateway.access_log.read_text(), "the socket is logged")
    text = gateway.access_log.read_text() + gateway.said() + gateway.admin_text("/scopes?full") + gateway.admin_text("/metrics")
    assert "secret" not in text


# ---- what the client says --------------------------------------------------------------------------------------------------------


def test_acknowledgements_are_counted(gateway):
    wire = open_live(gateway)
    before = gateway.total()["live"]["acks"]
    ack = b'{"type":"ack","id":"0123456789abcdef"}'
    wire.send(frame(TEXT, ack) + frame(TEXT, ack[:9], fin=False) + frame(PING) + frame(CONTINUATION, ack[9:20], fin=False)
              + frame(CONTINUATION, ack[20:]))
    assert read_frame(wire)[0] == PONG
    eventually(lambda: gateway.total()["live"]["acks"] == before + 2, "both are counted")


@pytest.mark.parametrize("opcode, message", [
    (TEXT, b"hello"), (TEXT, b""), (TEXT, b"[]"), (TEXT, b'{"id":"1"}'), (TEXT, b'{"type":7}'), (TEXT, b'{"type":"ack"}'), (TEXT, b'{"type":"ack","id":""}'),
    (TEXT, b'{"type":"ack","id":7}'), (BINARY, b'{"type":"ack","id":"1"}')])
def test_what_is_not_understood_is_told_and_the_socket_stays(gateway, opcode, message):
    wire = open_live(gateway)
    entered(gateway, 1)
    wire.send(frame(opcode, message))
    told = read_json(wire)
    assert (told["type"], told["error"]) == ("error", "live_message_bad") and told["message"]
    wire.send(frame(TEXT, b'{"type":"whatever"}'))
    assert push(gateway, "p7", {"body": 1})["delivered"] == 1
    assert read_json(wire)["body"] == 1


def test_what_breaks_the_protocol_closes_the_socket(gateway):
    for data, code in ((frame(TEXT, b"\xff"), 1007), (frame(TEXT, b"x", mask=None), 1002), (frame(TEXT, b"x" * 4097), 1009)):
        wire = open_live(gateway)
        wire.send(data)
        opcode, _, payload = read_frame(wire)
        assert (opcode, close_code(payload)) == (CLOSE, code)
        wire.gone()


# ---- a slow reader -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limits", [{"live_queue_count_max": 5}, {"live_queue_bytes_max": "100k"}])
@pytest.mark.parametrize("tls", [False, True])
def test_a_slow_reader_is_disconnected_and_the_others_are_not(start_gateway, tls, limits):
    gateway = start_gateway(routes=ROUTES, limits=limits, timeouts={"close": "500ms"})
    slow, quick = open_live(gateway, tls=tls, receive_buffer=4096), open_live(gateway, tls=tls)
    entered(gateway, 2)
    sent = delivered_to_slow = 0
    while gateway.total()["live"]["sockets"] == 2:
        told = push(gateway, "p7", {"body": "x" * 50_000})
        sent += 1
        delivered_to_slow += told["delivered"] == 2
        assert len(read_json(quick)["body"]) == 50_000
        assert sent < 2000, "a reader who does not read is kept for ever"
    assert told["delivered"] == 1, "the push that found no room was not delivered to the slow one"
    live = gateway.total()["live"]
    assert live["dropped"] > 0 and live["queued"] == 0
    assert gateway.refused("live_slow_reader") == 1
    assert push(gateway, "p7", {"body": "after"})["delivered"] == 1
    assert read_json(quick)["body"] == "after"
    # What was written before is still read, and behind it the reason; unless the patience for that was over first.
    try:
        seen = 0
        while True:
            opcode, _, payload = read_frame(slow)
            if opcode == CLOSE:
                break
            seen += 1
        assert close_code(payload) == 1013 and b"slow" in payload and seen < delivered_to_slow
    except OSError:
        pass
    slow.close()
    eventually(lambda: '"error":"live_slow_reader"' in gateway.access_log.read_text(), "it is logged")


# ---- heartbeat, reminder -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True])
def test_a_silent_client_is_pinged_and_a_dead_one_is_closed(start_gateway, tls):
    gateway = start_gateway(routes=[{"path": "/live", "serve": "live", "heartbeat": "300ms"}, *ROUTES[1:]])
    lively, dead = open_live(gateway, "lively", tls), open_live(gateway, "dead", tls)
    for _ in range(4):
        opcode, _, payload = read_frame(lively)
        assert opcode == PING
        lively.send(frame(PONG, payload))
    assert read_frame(dead)[0] == PING
    opcode, _, payload = read_frame(dead)
    assert (opcode, close_code(payload)) == (CLOSE, 1001)
    dead.close()
    line = eventually(lambda: logged(gateway, "websocket_no_pong"), "it is logged")
    assert (line["wait"], line["status"], line["route"]) == ("heartbeat", 101, "/live")
    eventually(lambda: gateway.total()["live"]["sockets"] == 1, "the dead one is gone")
    assert gateway.total()["live"]["heartbeats_lost"] == 1
    assert push(gateway, "dead", {"body": 1})["delivered"] == 0
    assert push(gateway, "lively", {"body": 1})["delivered"] == 1
    while (seen := read_frame(lively))[0] == PING:
        pass
    assert json.loads(seen[2])["body"] == 1


@pytest.mark.parametrize("target, waits, ms", [("/live?patient=p", "heartbeat", 30_000), ("/echo", "frame or pong", 30_001)])
def test_the_wait_that_is_armed_is_named_with_what_is_left_of_it(gateway, target, waits, ms):
    wires = [gateway.connect() for _ in range(3)]
    for wire in wires:
        wire.send(upgrade_bytes(target))
        assert wire.response().status == 101
        wire.send(frame(PING))
        assert read_frame(wire)[0] == PONG
    full = json.loads(gateway.admin_text("/scopes?full"))["scopes"]
    waiting = [scope for scope in full if scope["kind"] == "connection" and scope["waits"] == waits]
    assert len(waiting) == 3 and all(ms - 10_000 * SLOW < scope["wait_left_ms"] <= ms for scope in waiting), waiting
    assert all([op["name"] for op in scope["ops"]] == [waits] for scope in waiting), waiting
    groups = [group for group in json.loads(gateway.admin_text("/scopes"))["scopes"] if group["waits"] == waits]
    assert sum(group["count"] for group in groups) == 3


def test_a_client_that_does_not_answer_close_is_left_and_the_wait_is_named(start_gateway):
    gateway = start_gateway(routes=ROUTES, timeouts={"close": "200ms"}, limits={"live_queue_count_max": 2})
    wire = open_live(gateway, receive_buffer=4096)
    entered(gateway, 1)
    while gateway.total()["live"]["sockets"] == 1:
        push(gateway, "p7", {"body": "x" * 60_000})
    # It reads nothing, not even Close: its memory is given back soon, not when a write would have waited for its whole time.
    began = time.monotonic()
    eventually(lambda: gateway.total()["connections"]["open"] == gateway.baseline["connections"], "it is gone")
    assert time.monotonic() - began < 5 * SLOW
    assert logged(gateway, "live_slow_reader")["wait"] == "close frame"


def test_one_reminder_for_each_time_of_idleness(start_gateway):
    gateway = start_gateway(routes=[{"path": "/live", "serve": "live", "heartbeat": "200ms", "idle_reminder": "1s"}, *ROUTES[1:]])
    began, reminders = time.monotonic(), []
    wire = open_live(gateway)

    def listen(seconds):
        """Answers pings, which is no activity, and notes reminders."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            opcode, _, payload = read_frame(wire)
            if opcode == PING:
                wire.send(frame(PONG, payload))
            else:
                assert json.loads(payload) == {"type": "reminder", "idle_s": 1}, payload
                reminders.append(time.monotonic() - began)

    listen(2.5)
    assert len(reminders) == 1 and reminders[0] >= 1, reminders
    wire.send(frame(TEXT, b'{"type":"here"}'))
    listen(2)
    assert len(reminders) == 2, reminders
    assert gateway.total()["live"]["reminders"] == 2


def test_without_idle_reminder_there_is_none(start_gateway):
    gateway = start_gateway(routes=[{"path": "/live", "serve": "live", "heartbeat": "100ms", "idle_reminder": "off"}])
    wire = open_live(gateway)
    for _ in range(5):
        opcode, _, payload = read_frame(wire)
        assert opcode == PING
        wire.send(frame(PONG, payload))
    assert gateway.total()["live"]["reminders"] == 0


# ---- the end --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["/live?patient=p", "/echo"])
def test_a_drain_tells_each_socket_1001_one_after_the_other(start_gateway, target):
    gateway = start_gateway(routes=ROUTES, timeouts={"drain": "4s"})
    count, told = 400, {}
    wires = [gateway.connect() for _ in range(count)]
    with selectors.DefaultSelector() as selector:
        for wire in wires:
            wire.send(upgrade_bytes(target))
            assert wire.response().status == 101
            selector.register(wire.sock, selectors.EVENT_READ, wire)
        gateway.signal(signal.SIGTERM)
        began = time.monotonic()
        while len(told) < count:
            ready = selector.select(PATIENCE_S)
            assert ready, f"{len(told)} of {count} were told"
            for key, _ in ready:
                told[key.data] = time.monotonic() - began
                selector.unregister(key.fileobj)
    for wire in wires:
        opcode, _, payload = read_frame(wire)
        assert (opcode, close_code(payload)) == (CLOSE, 1001)
        wire.send(frame(CLOSE, payload))
    # A thousand a second: 400 take 0.4 s. Never earlier, and no half of them at once.
    times = sorted(told.values())
    assert times[-1] > 0.3 and times[-1] - times[count // 2] > 0.1, times[::40]
    assert gateway.wait() == 0


def test_a_push_while_draining_counts_who_can_still_be_reached(start_gateway):
    gateway = start_gateway(routes=ROUTES)
    wire, sender = open_live(gateway), gateway.connect()
    entered(gateway, 1)
    sender.send(b"POST /push/p7 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{\"bod")
    eventually(lambda: gateway.total()["requests"]["live"] >= 2, "the push has begun")
    gateway.signal(signal.SIGTERM)
    opcode, _, payload = read_frame(wire)
    assert (opcode, close_code(payload)) == (CLOSE, 1001)
    sender.send(b"y\":1}")
    assert json.loads(sender.response().body)["delivered"] == 0
    wire.send(frame(CLOSE, payload))
    wire.ended()
    assert gateway.wait() == 0


def test_nothing_is_left_behind_by_rude_clients_under_pushes(start_gateway):
    gateway = start_gateway(routes=ROUTES, timeouts={"close": "300ms"})
    sender = gateway.connect()
    for round in range(30 // SLOW):
        wires = [open_live(gateway, "p%d" % (i % 3), tls=i % 4 == 0) for i in range(20)]
        for i, wire in enumerate(wires):
            answer = sender.ask("POST", "/push/p%d" % (i % 3), b'{"body":"%s"}' % (b"x" * 3000))
            assert answer.status == 202
            if i % 4 == 1:
                wire.reset()
            elif i % 4 == 2:
                wire.send(frame(TEXT, b"x" * 100)[:20])
                wire.close()
            elif i % 4 == 3:
                wire.send(frame(CLOSE, b"\x03\xe8"))
                wire.close()
            else:
                wire.close()
    sender.close()
    eventually(lambda: gateway.total()["live"]["open"] == 0, "all are gone")
    nobody(gateway)
