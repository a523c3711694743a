"""Every limit has a name, a refusal and a metric; and stops at its door, not halfway in."""
import json
import socket

import pytest

from gateway import eventually
from wire import connect, request_bytes

COUNT = [{"path": "/count", "serve": "count"}, {"path": "/echo", "serve": "echo"}]


def assert_refused(gateway, answer, status):
    assert answer.status == status, answer
    refusal = json.loads(answer.body)
    assert sorted(refusal) == ["error", "message"] and refusal["message"]
    assert gateway.refused(refusal["error"]) >= 1, f"{refusal['error']} is not among {gateway.refused()}"
    return refusal["error"]


def test_413_for_a_body_longer_than_its_route_allows(gateway, raw):
    assert_refused(gateway, gateway.ask("PUT", "/raw/small", b"x" * 1025), 413)
    assert not raw.waiting()


def test_a_body_of_exactly_the_limit_passes(gateway, raw):
    wire = gateway.connect()
    wire.send(request_bytes("PUT", "/raw/small", b"x" * 1024))
    far = raw.accept()
    assert len(far.request().body) == 1024
    far.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert wire.response().status == 200


def test_413_for_chunks_that_grow_beyond_the_limit(gateway, raw):
    """The length is not known before; the service must not take what came so far for the whole."""
    wire = gateway.connect()
    wire.send(request_bytes("PUT", "/raw/small", fields=[("Transfer-Encoding", "chunked")]) + b"200\r\n" + b"x" * 512 + b"\r\n")
    far = raw.accept()
    far.request(body=False)
    wire.send(b"201\r\n" + b"x" * 513 + b"\r\n0\r\n\r\n")
    assert_refused(gateway, wire.response(), 413)
    far.gone()
    assert not far.buffer.endswith(b"0\r\n\r\n")


def test_414_for_a_target_that_is_too_long(gateway):
    assert_refused(gateway, gateway.ask("GET", "/count?siteId=x&padding=" + "x" * 9000), 414)


def test_431_for_a_head_that_is_too_long(gateway):
    assert_refused(gateway, gateway.ask("GET", "/count?siteId=x", fields=[("X-Long", "x" * 20_000)]), 431)


def test_431_for_too_many_fields(gateway):
    assert_refused(gateway, gateway.ask("GET", "/count?siteId=x", fields=[(f"X-{i}", "1") for i in range(150)]), 431)


def test_limits_are_read_from_the_configuration(start_gateway):
    gateway = start_gateway(routes=COUNT, limits={"head_bytes_max": "2k", "uri_bytes_max": 100, "fields_max": 10})
    assert_refused(gateway, gateway.ask("GET", "/count?siteId=" + "x" * 100), 414)
    assert_refused(gateway, gateway.ask("GET", "/count?siteId=x", fields=[("X-Long", "x" * 2100)]), 431)
    assert_refused(gateway, gateway.ask("GET", "/count?siteId=x", fields=[("X-A", "1")] * 10), 431)
    assert gateway.ask("GET", "/count?siteId=x", fields=[("X-A", "1")] * 9).status == 200


def test_a_head_that_never_ends_is_refused_before_it_fills_the_memory(gateway):
    wire = gateway.connect()
    wire.send(b"GET /count?siteId=x HTTP/1.1\r\nHost: localhost\r\nX-Endless: ")
    with pytest.raises(ConnectionError):
        for _ in range(10_000):
            wire.send(b"x" * 65536)


@pytest.mark.parametrize("tls", [False, True])
def test_a_connection_beyond_connections_max_is_refused_and_the_others_live(start_gateway, tls):
    gateway = start_gateway(cores=1, routes=COUNT, limits={"connections_max": 20})
    held = [gateway.connect(tls) for _ in range(12)]
    for wire in held:
        assert wire.ask("GET", "/count?siteId=x").status == 200
    before = sum(gateway.refused().values())
    beyond = []
    for _ in range(30):
        wire = connect(gateway.port)
        gateway.wires.append(wire)
        beyond.append(wire)
        try:
            wire.send(request_bytes("GET", "/count?siteId=x"))
        except ConnectionError:
            pass
    statuses = [status_or_gone(wire) for wire in beyond]
    assert statuses.count(200) <= 8 and set(statuses) <= {200, 503, None}, statuses
    for wire in held:
        assert wire.ask("GET", "/count?siteId=x").status == 200
    for wire in beyond:
        wire.close()
    eventually(lambda: sum(gateway.refused().values()) > before, "a refusal that is counted")


def status_or_gone(wire):
    try:
        return wire.response().status
    except (AssertionError, ConnectionError):
        return None


def test_a_connection_is_welcome_again_when_others_have_left(start_gateway):
    gateway = start_gateway(cores=1, routes=COUNT, limits={"connections_max": 10})
    for _ in range(20):
        for _ in range(6):
            gateway.connect()
        gateway.hang_up()
        eventually(lambda: gateway.total()["connections"]["open"] == gateway.baseline["connections"], "all have left")
        assert gateway.ask("GET", "/count?siteId=x").status == 200


def test_few_descriptors_are_lived_with(start_gateway):
    """The process has no descriptor left for a while: nobody is served less who was there before, and all ends well."""
    import resource
    gateway = start_gateway(start=False, cores=1, routes=COUNT)
    gateway.spawn()
    eventually(gateway.ready, "the gateway is up")
    gateway.baseline = gateway.standing()
    now = gateway.descriptors()
    held = gateway.connect()
    assert held.ask("GET", "/count?siteId=x").status == 200
    resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, (now + 8, now + 8))
    crowd = []
    for _ in range(64):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(("127.0.0.1", gateway.port))
        crowd.append(sock)
    for _ in range(20):
        assert held.ask("GET", "/count?siteId=x").status == 200
    for sock in crowd:
        sock.close()
    wire = gateway.connect()
    assert wire.ask("GET", "/count?siteId=x").status == 200
