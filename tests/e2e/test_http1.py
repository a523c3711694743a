"""HTTP/1.1 between a client and the gateway: connections, order, lengths, and what is said when it goes wrong."""
import json
import re
import socket

import pytest

from gateway import eventually
from wire import chunked, request_bytes

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_a_connection_is_kept_for_the_next_request(gateway):
    wire = gateway.connect()
    before = gateway.total()["connections"]["accepted"]
    for _ in range(50):
        assert wire.ask("GET", "/count?siteId=x").status == 200
    assert gateway.total()["connections"]["accepted"] - before <= 1, "only the question itself came anew"


def test_connection_close_ends_the_connection_behind_the_answer(gateway):
    wire = gateway.connect()
    answer = wire.ask("GET", "/count?siteId=x", fields=[("Connection", "close")])
    assert answer.status == 200 and answer.get("Connection") == "close"
    wire.ended()


@pytest.mark.parametrize("tls", [False, True])
def test_http_1_0_is_answered_and_closed(gateway, tls):
    wire = gateway.connect(tls)
    answer = wire.ask("GET", "/count?siteId=x", version="1.0")
    assert answer.status == 200
    wire.ended()


def test_http_1_0_never_gets_chunks(gateway, raw):
    wire = gateway.connect()
    wire.send(request_bytes("GET", "/raw/a", version="1.0"))
    far = raw.accept()
    far.request()
    far.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"one", b"two"))
    answer = wire.response()
    assert answer.get("Transfer-Encoding") is None and answer.body == b"onetwo"


def test_a_request_that_comes_byte_by_byte_is_the_same_request(gateway):
    wire = gateway.connect()
    for byte in request_bytes("POST", "/count", b"siteId=slowly", [("Content-Type", "application/x-www-form-urlencoded")]):
        wire.send(bytes([byte]))
    assert wire.response().body.strip() == b'{"status":"ok"}'


def test_pipelined_requests_are_answered_in_their_order(gateway, raw):
    """The first one waits for its upstream; the second could be answered at once, and must not overtake it."""
    wire = gateway.connect()
    wire.send(request_bytes("GET", "/raw/first") + request_bytes("GET", "/count?siteId=x") +
              request_bytes("GET", "/nothing/here") + request_bytes("GET", "/raw/last"))
    far = raw.accept()
    assert far.request().target == "/raw/first"
    far.send(b"HTTP/1.1 201 First\r\nContent-Length: 0\r\n\r\n")
    assert wire.response().status == 201
    assert wire.response().body.strip() == b'{"count":0}'
    assert wire.response().status == 404
    try:
        request = far.request()
    except AssertionError:
        far = raw.accept()
        request = far.request()
    assert request.target == "/raw/last"
    far.send(OK)
    assert wire.response().body == b"ok"


def test_many_pipelined_requests_are_all_answered(gateway):
    wire = gateway.connect()
    wire.send(b"".join(request_bytes("GET", f"/count?siteId=x{i}") for i in range(500)))
    for _ in range(500):
        assert wire.response().body.strip() == b'{"count":0}'


def test_an_empty_line_before_a_request_is_forgiven(gateway):
    """RFC 9112 §2.2: a server SHOULD ignore at least one empty line received prior to the request-line."""
    wire = gateway.connect()
    wire.send(b"\r\n" + request_bytes("GET", "/count?siteId=x"))
    assert wire.response().status == 200


def test_an_unknown_address_is_404_in_json(gateway):
    answer = gateway.ask("GET", "/nothing/here")
    assert (answer.status, answer.get("Content-Type")) == (404, "application/json")
    assert sorted(json.loads(answer.body)) == ["error", "message"]


def test_an_unread_body_does_not_become_the_next_request(gateway):
    wire = gateway.connect()
    body = b"GET /count?siteId=smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
    wire.send(request_bytes("POST", "/nothing/here", body))
    assert wire.response().status == 404
    # Either the connection is closed, or the body was read and thrown away: then the next request is answered.
    try:
        assert wire.ask("GET", "/also/nothing").status == 404
    except (ConnectionError, AssertionError) as trouble:
        assert "ended" in str(trouble) or isinstance(trouble, ConnectionError), trouble


def test_expect_100_continue_is_answered_before_the_body(gateway, nginx):
    wire = gateway.connect()
    wire.send(request_bytes("PUT", "/nginx/upload/expected", fields=[("Content-Length", "5"), ("Expect", "100-continue")]))
    assert wire.response(interim=True).status == 100
    wire.send(b"hello")
    assert wire.response().status in (201, 204)
    assert nginx.uploaded("expected") == b"hello"


def test_expect_100_continue_is_not_said_when_the_body_is_unwelcome(gateway):
    wire = gateway.connect()
    wire.send(request_bytes("PUT", "/raw/small", fields=[("Content-Length", "5000"), ("Expect", "100-continue")]))
    assert wire.response(interim=True).status == 413


def test_an_unknown_expectation_is_417(gateway):
    """RFC 9110 §10.1.1: a server that receives another Expect value MAY respond with 417; it must not just go on waiting."""
    wire = gateway.connect()
    wire.send(request_bytes("GET", "/count?siteId=x", fields=[("Expect", "miracles")]))
    assert wire.response().status in (200, 417)


@pytest.mark.parametrize("tls", [False, True])
def test_an_idle_connection_is_closed_after_keep_alive(start_gateway, tls):
    gateway = start_gateway(routes=[{"path": "/count", "serve": "count"}], timeouts={"keep_alive": "300ms"})
    wire = gateway.connect(tls)
    assert wire.ask("GET", "/count?siteId=x").status == 200
    wire.ended()


def test_a_request_head_that_does_not_end_is_408(start_gateway):
    gateway = start_gateway(routes=[{"path": "/count", "serve": "count"}], timeouts={"request_head": "300ms"})
    wire = gateway.connect()
    wire.send(b"GET /count?siteId=x HTTP/1.1\r\nHost: local")
    answer = wire.response()
    assert answer.status == 408 and sorted(json.loads(answer.body)) == ["error", "message"]
    wire.ended()


def test_a_slow_trickle_of_fields_does_not_lengthen_the_deadline(start_gateway):
    """Each byte comes in time; all of them together do not: the deadline is the head's, not the byte's."""
    gateway = start_gateway(routes=[{"path": "/count", "serve": "count"}], timeouts={"request_head": "500ms"})
    wire = gateway.connect()
    wire.send(b"GET /count?siteId=x HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
    wire.sock.settimeout(0.05)
    for _ in range(200):
        try:
            wire.send(b"x")
            if not wire.fill() or b"\r\n\r\n" in wire.buffer:
                break
        except socket.timeout:
            continue
        except ConnectionError:
            break
    assert re.match(rb"HTTP/1\.1 408 ", wire.buffer), wire.buffer[:100]


def test_a_request_body_that_stops_is_408(start_gateway, raw):
    gateway = start_gateway(routes=[{"prefix": "/", "proxy": "raw"}], upstreams={"raw": raw.port},
                            timeouts={"request_body": "300ms"})
    wire = gateway.connect()
    wire.send(request_bytes("POST", "/raw/a", fields=[("Content-Length", "10")]) + b"half")
    far = raw.accept()
    far.request(body=False)
    assert wire.response().status == 408
    far.gone()


def test_a_client_that_never_says_anything_is_closed(start_gateway):
    gateway = start_gateway(routes=[{"path": "/count", "serve": "count"}],
                            timeouts={"request_head": "300ms", "keep_alive": "300ms", "tls_handshake": "300ms"})
    for tls_port in (False, True):
        wire = gateway.connect() if not tls_port else gateway_raw_tls(gateway)
        wire.gone()


def gateway_raw_tls(gateway):
    """TCP to the TLS port, and not a byte of TLS."""
    from wire import connect
    wire = connect(gateway.tls_port)
    gateway.wires.append(wire)
    return wire


def test_a_half_closed_client_still_gets_its_answer(gateway):
    wire = gateway.connect()
    wire.send(request_bytes("GET", "/count?siteId=x"))
    wire.sock.shutdown(socket.SHUT_WR)
    assert wire.response().status == 200
    wire.ended()


def test_requests_are_counted_by_status_and_route(gateway):
    before = gateway.total()["requests"]
    gateway.ask("GET", "/count?siteId=x")
    gateway.ask("GET", "/nothing/here")
    eventually(lambda: gateway.total()["requests"]["by_status"].get("404", 0) ==
               before["by_status"].get("404", 0) + 1, "one more 404")
    assert gateway.total()["requests"]["by_route"]["/count"] == before["by_route"].get("/count", 0) + 1
