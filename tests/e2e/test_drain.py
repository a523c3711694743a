"""The end of a gateway: what is running finishes, what is idle is told, nothing new begins, and the exit code is 0."""
import json
import signal
import socket
import time

import pytest

from gateway import eventually
from wire import (AGREED, CLOSE, SAMPLE_KEY, TEXT, close_code, frame, read_frame, request_bytes,
                  upgrade_bytes)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def gateway(start_gateway, raw):
    return start_gateway(upstreams={"raw": raw.port}, routes=[
        {"path": "/count", "serve": "count"}, {"path": "/echo", "serve": "echo"}, {"prefix": "/raw", "proxy": "raw"}])


def in_flight(gateway, raw, tls=False):
    """A request that its service has got and not answered."""
    wire = gateway.connect(tls)
    wire.send(request_bytes("GET", "/raw/a"))
    far = raw.accept()
    far.request()
    return wire, far


def logged(gateway):
    return [json.loads(line) for line in gateway.access_log.read_text().splitlines()]


def listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_gateway_ends_at_once(gateway, number):
    gateway.signal(number)
    assert gateway.wait() == 0
    assert not gateway.admin_socket.exists(), "the admin socket was left behind"


@pytest.mark.parametrize("tls", [False, True])
def test_a_request_in_flight_is_finished(gateway, raw, tls):
    wire, far = in_flight(gateway, raw, tls)
    gateway.signal(signal.SIGTERM)
    eventually(lambda: gateway.stats()["state"] == "draining", "the drain has begun")
    far.send(OK)
    answer = wire.response()
    assert (answer.status, answer.body, answer.get("Connection")) == (200, b"ok", "close")
    wire.ended()
    assert gateway.wait() == 0


def test_new_connections_are_refused_while_others_finish(gateway, raw):
    wire, far = in_flight(gateway, raw)
    gateway.signal(signal.SIGTERM)
    eventually(lambda: not listening(gateway.port) and not listening(gateway.tls_port), "the listeners are closed")
    far.send(OK)
    assert wire.response().body == b"ok"
    assert gateway.wait() == 0


@pytest.mark.parametrize("tls", [False, True])
def test_an_idle_connection_is_closed_in_an_orderly_way(gateway, tls):
    used, fresh = gateway.connect(tls), gateway.connect(tls)
    assert used.ask("GET", "/count?siteId=x").status == 200
    gateway.signal(signal.SIGTERM)
    used.ended()
    fresh.gone()
    assert gateway.wait() == 0


@pytest.mark.parametrize("tls", [False, True])
def test_a_websocket_is_told_1001(gateway, tls):
    wire = gateway.connect(tls)
    wire.send(upgrade_bytes())
    assert wire.response().status == 101
    wire.send(frame(TEXT, b"x"))
    assert read_frame(wire) == (TEXT, True, b"x")
    gateway.signal(signal.SIGTERM)
    opcode, _, payload = read_frame(wire)
    assert (opcode, close_code(payload)) == (CLOSE, 1001)
    wire.send(frame(CLOSE, payload))
    wire.ended()
    assert gateway.wait() == 0
    line, = logged(gateway)
    assert (line["error"], line["wait"], line["close_code"], line["closed_by"]) == ("draining", None, 1001, "gateway")


@pytest.mark.parametrize("tls", [False, True])
def test_a_websocket_that_does_not_answer_its_close_does_not_hold_the_end(start_gateway, tls):
    gateway = start_gateway(routes=[{"path": "/echo", "serve": "echo"}], timeouts={"close": "300ms"})
    wire = gateway.connect(tls)
    wire.send(upgrade_bytes())
    assert wire.response().status == 101
    gateway.signal(signal.SIGTERM)
    assert gateway.wait() == 0
    # Why it was told goodbye, and what it was waited for in vain.
    line, = logged(gateway)
    assert (line["error"], line["wait"]) == ("draining", "close frame")


def test_a_half_sent_request_may_be_finished(gateway):
    wire = gateway.connect()
    data = request_bytes("POST", "/count", b"siteId=drained", [("Content-Type", "application/x-www-form-urlencoded")])
    wire.send(data[:-3])
    eventually(lambda: gateway.total()["requests"]["live"] > gateway.baseline["requests"], "the request has begun")
    gateway.signal(signal.SIGTERM)
    eventually(lambda: gateway.stats()["state"] == "draining", "the drain has begun")
    wire.send(data[-3:])
    assert wire.response().status == 200
    assert gateway.wait() == 0


def test_an_answer_in_the_middle_is_finished(gateway, raw):
    wire, far = in_flight(gateway, raw)
    far.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
    assert wire.read_until(b"first")
    gateway.signal(signal.SIGTERM)
    eventually(lambda: gateway.stats()["state"] == "draining", "the drain has begun")
    far.send(b"later")
    assert wire.read(5) == b"later"
    assert gateway.wait() == 0


def test_a_second_signal_ends_it_at_once(gateway, raw):
    wire, _ = in_flight(gateway, raw)
    gateway.signal(signal.SIGTERM)
    eventually(lambda: gateway.stats()["state"] == "draining", "the drain has begun")
    gateway.signal(signal.SIGTERM)
    gateway.wait(10)
    assert gateway.process.returncode >= 0, "it was killed by the signal instead of ending"
    wire.gone()


def test_patience_has_an_end(start_gateway, raw):
    gateway = start_gateway(upstreams={"raw": raw.port}, routes=[{"prefix": "/raw", "proxy": "raw"}], timeouts={"drain": "300ms"})
    wire, _ = in_flight(gateway, raw)
    gateway.signal(signal.SIGTERM)
    wire.gone()
    gateway.wait()
    assert gateway.process.returncode >= 0


def test_drain_by_the_admin_socket(gateway, raw):
    wire, far = in_flight(gateway, raw)
    answer = gateway.admin("POST", "/drain")
    assert 200 <= answer.status < 300
    eventually(lambda: gateway.stats()["state"] == "draining", "the drain has begun")
    far.send(OK)
    assert wire.response().body == b"ok"
    assert gateway.wait() == 0


HALVES = {
    "half a head": (b"GET /count?siteId=a HTTP/1.1\r\nHost: l\r\n", "-"),
    "half a body": (b"POST /count HTTP/1.1\r\nHost: l\r\nContent-Type: application/x-www-form-urlencoded\r\n"
                    b"Content-Length: 20\r\n\r\nsiteId=", "/count"),
    "half a body that is passed on": (b"PUT /raw/a HTTP/1.1\r\nHost: l\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "/raw"),
}


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("half, route", HALVES.values(), ids=HALVES.keys())
def test_half_a_request_is_refused_before_the_end(start_gateway, raw, tls, half, route):
    """It waits as long as it can, and is answered while somebody is there to answer."""
    gateway = start_gateway(cores=1, upstreams={"raw": raw.port}, timeouts={"drain": "1500ms"}, routes=[
        {"path": "/count", "serve": "count"}, {"prefix": "/raw", "proxy": "raw"}])
    wire = gateway.connect(tls)
    wire.send(half)
    if route == "/raw":
        far = raw.accept()
        far.request(body=False)
    eventually(lambda: gateway.total()["bytes"]["received"] > 0 and gateway.total()["connections"]["open"] > 0, "it has arrived")
    gateway.signal(signal.SIGTERM)
    answer = wire.response()
    assert (answer.status, json.loads(answer.body)["error"], answer.get("Connection")) == (503, "draining", "close")
    wire.ended()
    wire.close()
    if route == "/raw":
        far.gone()
        assert not far.buffer.endswith(b"0\r\n\r\n"), "half a body was made whole"
    assert gateway.wait() == 0
    line, = logged(gateway)
    assert (line["status"], line["error"], line["route"]) == (503, "draining", route)


# ---- tunnels -------------------------------------------------------------------------------------------


def open_tunnel(gateway, raw, tls=False):
    wire = gateway.connect(tls)
    wire.send(upgrade_bytes("/raw/socket", key=SAMPLE_KEY))
    far = raw.accept()
    far.request()
    far.send(AGREED)
    assert wire.response().status == 101
    return wire, far


@pytest.fixture
def brief(start_gateway, raw):
    """A gateway whose drain is soon over."""
    return start_gateway(cores=1, upstreams={"raw": raw.port}, timeouts={"drain": "4s", "close": "1s"},
                         routes=[{"path": "/echo", "serve": "echo"}, {"prefix": "/raw", "proxy": "raw"}])


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("whole", [True, False], ids=["at a boundary", "inside a frame"])
def test_a_tunnel_is_ended_in_the_second_half(brief, raw, tls, whole):
    wire, far = open_tunnel(brief, raw, tls)
    said = frame(TEXT, b"said", mask=None, length=4 if whole else 5)
    far.send(said)
    assert wire.read(len(said)) == said
    began = time.monotonic()
    brief.signal(signal.SIGTERM)
    eventually(lambda: brief.stats()["state"] == "draining", "the drain has begun")
    # In the first half it is what it was.
    wire.send(b"up")
    assert far.read(2) == b"up"
    if whole:
        opcode, _, payload = read_frame(wire)
        assert (opcode, close_code(payload)) == (CLOSE, 1001)
    wire.ended()
    assert 2 <= time.monotonic() - began + 0.1 < 4
    far.ended()
    wire.close()
    far.close()
    assert brief.wait() == 0
    assert time.monotonic() - began < 4, "only the deadline ended it"
    assert [line["error"] for line in logged(brief)] == ["draining"]


def test_tunnels_are_told_one_after_the_other(brief, raw):
    tunnels = [open_tunnel(brief, raw) for _ in range(30)]
    brief.signal(signal.SIGTERM)
    for wire, far in tunnels:
        opcode, _, payload = read_frame(wire)
        assert (opcode, close_code(payload)) == (CLOSE, 1001)
        wire.close()
        far.close()
    assert brief.wait() == 0
    assert [line["error"] for line in logged(brief)] == ["draining"] * 30


def test_a_tunnel_whose_service_does_not_end_it_does_not_hold_the_drain(brief, raw):
    wire, far = open_tunnel(brief, raw)
    brief.signal(signal.SIGTERM)
    assert read_frame(wire)[0] == CLOSE
    wire.close()
    assert brief.wait() == 0
    far.gone()


def test_what_the_deadline_cuts_is_logged_as_cut(start_gateway, raw):
    gateway = start_gateway(cores=1, upstreams={"raw": raw.port}, routes=[{"prefix": "/raw", "proxy": "raw"}],
                            timeouts={"drain": "300ms"})
    wire, _ = in_flight(gateway, raw)
    gateway.signal(signal.SIGTERM)
    wire.gone()
    gateway.wait()
    line, = logged(gateway)
    assert (line["status"], line["error"]) == (499, "draining")
