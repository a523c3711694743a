"""The end of a gateway: what is running finishes, what is idle is told, nothing new begins, and the exit code is 0."""
import signal
import socket

import pytest

from gateway import eventually
from wire import CLOSE, TEXT, close_code, frame, read_frame, request_bytes, upgrade_bytes

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


def test_a_websocket_that_does_not_answer_its_close_does_not_hold_the_end(start_gateway):
    gateway = start_gateway(routes=[{"path": "/echo", "serve": "echo"}], timeouts={"close": "300ms"})
    wire = gateway.connect()
    wire.send(upgrade_bytes())
    assert wire.response().status == 101
    gateway.signal(signal.SIGTERM)
    assert gateway.wait() == 0


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
