"""A service that is not there, silent, or talks nonsense: each has its own answer, and none hurts the next request."""
import json
import socket

import pytest

from gateway import eventually
from upstreams import RawUpstream, free_port
from wire import AGREED, PATIENCE_S, SAMPLE_KEY, Closed, arrived, request_bytes, upgrade_bytes

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def assert_refused(answer, status):
    assert answer.status == status, answer
    refusal = json.loads(answer.body)
    assert sorted(refusal) == ["error", "message"] and refusal["error"] and refusal["message"]
    return refusal["error"]


@pytest.mark.parametrize("tls", [False, True])
def test_502_when_the_service_refuses_the_connection(gateway, tls):
    assert_refused(gateway.ask("GET", "/refusing", tls=tls), 502)


GARBAGE = {
    "nothing": b"",
    "no http": b"220 mail.example ESMTP\r\n\r\n",
    "half a status line": b"HTTP/1.1 20",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Len",
    "no status": b"HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bad length": b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok",
    "field without colon": b"HTTP/1.1 200 OK\r\nnonsense\r\nContent-Length: 0\r\n\r\n",
    "folded field": b"HTTP/1.1 200 OK\r\nX-A: 1\r\n folded\r\nContent-Length: 0\r\n\r\n",
    "zero byte": b"HTTP/1.1 200 OK\r\nX-A: 1\x002\r\nContent-Length: 0\r\n\r\n",
    "unasked upgrade": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "head too long": b"HTTP/1.1 200 OK\r\nX-A: " + b"x" * (4 << 20) + b"\r\nContent-Length: 0\r\n\r\n",
    "too many fields": b"HTTP/1.1 200 OK\r\n" + b"X-A: 1\r\n" * 20_000 + b"Content-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("said", GARBAGE.values(), ids=GARBAGE.keys())
def test_502_when_the_service_talks_nonsense(gateway, raw, said):
    wire = gateway.connect()
    wire.send(request_bytes("GET", "/raw/a"))
    far = raw.accept()
    far.request()
    try:
        far.send(said)
        far.sock.shutdown(socket.SHUT_WR)
    except ConnectionError:
        pass                                   # the gateway had seen enough
    assert_refused(wire.response(), 502)
    far.gone()
    # The client's connection is as good as before.
    assert wire.ask("GET", "/count?siteId=x").status == 200


def test_502_when_the_service_resets(gateway, raw):
    wire = gateway.connect()
    wire.send(request_bytes("GET", "/raw/a"))
    far = raw.accept()
    far.request()
    far.reset()
    assert_refused(wire.response(), 502)


def test_502_and_504_and_503_have_different_names(start_gateway, gateway, raw):
    refused = assert_refused(gateway.ask("GET", "/refusing"), 502)
    silent = start_gateway(routes=[{"prefix": "/", "proxy": "raw"}], upstreams={"raw": raw.port},
                           timeouts={"upstream_response": "200ms"})
    wire = silent.connect()
    wire.send(request_bytes("GET", "/x"))
    far = raw.accept()
    far.request()
    late = assert_refused(wire.response(), 504)
    assert late != refused
    far.gone()


def test_504_when_the_first_byte_is_late(start_gateway, raw):
    gateway = start_gateway(routes=[{"prefix": "/", "proxy": "raw"}], upstreams={"raw": raw.port},
                            timeouts={"upstream_response": "200ms"})
    wire = gateway.connect(tls=True)
    for _ in range(3):
        wire.send(request_bytes("POST", "/x", b"body"))
        far = raw.accept()
        assert far.request().body == b"body"
        assert_refused(wire.response(), 504)
        far.gone()


def test_504_when_the_connection_is_late(start_gateway):
    """A listener whose queue is full lets a new connection wait; the kernel drops its SYN."""
    full = RawUpstream(backlog=0)
    filling = []
    try:
        for _ in range(4):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", full.port))
            filling.append(sock)
        gateway = start_gateway(routes=[{"prefix": "/", "proxy": "full"}], upstreams={"full": full.port},
                                timeouts={"upstream_connect": "300ms"})
        assert_refused(gateway.ask("GET", "/x"), 504)
    finally:
        for sock in filling:
            sock.close()
        full.close()


DRIBBLED = {
    "a head": (b"HTTP/1.1 200 OK\r\nX: ", b"a"),
    "an upgrade": (b"HTTP/1.1 101 Switching Protocols\r\nX: ", b"a"),
    "interim answers": (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
}


@pytest.mark.parametrize("body", [None, b"body"])
@pytest.mark.parametrize("first, more", DRIBBLED.values(), ids=DRIBBLED.keys())
def test_504_when_the_head_is_not_whole_in_time(start_gateway, raw, first, more, body):
    """It says something in every while, so that no silence is long: the time for an answer is that of its whole head."""
    gateway = start_gateway(routes=[{"prefix": "/", "proxy": "raw"}], upstreams={"raw": raw.port},
                            timeouts={"upstream_response": "800ms"})
    wire = gateway.connect()
    wire.send(request_bytes("POST", "/x", body) if body else upgrade_bytes("/x"))
    far = raw.accept()
    far.request()
    far.send(first)
    for _ in range(12):                        # three times as long as it has
        if arrived(wire) or arrived(far):
            break
        far.send(more)
        arrived(wire, 0.2)
    assert arrived(wire), "the gateway waits as long as the service dribbles"
    assert assert_refused(wire.response(), 504) == "upstream_response_late"
    far.gone()


def test_an_answer_that_begins_in_time_may_take_its_time(start_gateway, raw):
    gateway = start_gateway(routes=[{"prefix": "/", "proxy": "raw"}], upstreams={"raw": raw.port},
                            timeouts={"upstream_response": "400ms", "upstream_body": "10s"})
    wire = gateway.connect()
    wire.send(request_bytes("GET", "/x"))
    far = raw.accept()
    far.request()
    far.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
    assert wire.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 200")
    # Longer than the deadline of the first byte, told by a clock of the gateway's own: its next timer.
    silent = gateway.connect()
    silent.send(request_bytes("GET", "/y"))
    raw.accept().request()
    assert silent.response().status == 504
    far.send(b"cd")
    assert wire.read(4) == b"abcd"


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("said", [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 50,
                                  b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
                                  b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\nhello",
                                  b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n"],
                         ids=["length", "between chunks", "in a chunk", "bad chunk"])
@pytest.mark.parametrize("end", ["close", "reset"])
def test_an_answer_cut_by_the_service_is_cut_for_the_client_too(gateway, raw, tls, said, end):
    wire = gateway.connect(tls)
    wire.send(request_bytes("GET", "/raw/a"))
    far = raw.accept()
    far.request()
    far.send(said)
    assert wire.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 200")
    # The client has begun to read, so no other answer is possible: the cut must be seen.
    getattr(far, end)()
    wire.gone()
    assert not wire.buffer.endswith(b"0\r\n\r\n") and len(wire.buffer) < 100, "a cut answer was made to look whole"


def test_an_answer_without_a_length_that_is_reset_is_not_made_whole(gateway, raw):
    wire = gateway.connect()
    wire.send(request_bytes("GET", "/raw/a"))
    far = raw.accept()
    far.request()
    far.send(b"HTTP/1.1 200 OK\r\n\r\nsome text")
    wire.read_until(b"some text")
    far.reset()
    wire.gone()
    assert not wire.buffer.endswith(b"0\r\n\r\n")


def test_an_answer_that_stops_halfway_is_cut_after_its_deadline(start_gateway, raw):
    gateway = start_gateway(routes=[{"prefix": "/", "proxy": "raw"}], upstreams={"raw": raw.port},
                            timeouts={"upstream_body": "300ms"})
    wire = gateway.connect()
    wire.send(request_bytes("GET", "/x"))
    far = raw.accept()
    far.request()
    far.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    with pytest.raises((Closed, ConnectionError)):
        wire.response()
    far.gone()


def send_until_stuck(wire):
    """More than lies in all buffers between; some of it is taken by nobody."""
    wire.sock.settimeout(0.3)
    try:
        for _ in range(4000):
            wire.send(b"x" * 10_000)
    except OSError:
        pass                                   # it stands still, or the gateway has given up
    wire.sock.settimeout(PATIENCE_S)


def test_504_when_the_service_stops_reading_the_request(start_gateway, raw):
    """It was not broken off by the service, as upstream_reset would say: it is there, and takes nothing."""
    gateway = start_gateway(cores=1, routes=[{"prefix": "/", "proxy": "raw"}], upstreams={"raw": raw.port},
                            timeouts={"send": "300ms"})
    wire = gateway.connect()
    wire.send(request_bytes("PUT", "/x", fields=[("Content-Length", "40000000")]))
    far = raw.accept(receive_buffer=4096)
    far.request(body=False)
    send_until_stuck(wire)
    assert assert_refused(wire.response(), 504) == "upstream_send_late"
    line = json.loads(eventually(lambda: gateway.access_log.read_text(), "it is logged").splitlines()[0])
    assert (line["status"], line["error"], line["wait"]) == (504, "upstream_send_late", "send")
    wire.close()
    far.gone()


def test_a_service_that_stops_reading_a_tunnel_is_named(start_gateway, raw):
    gateway = start_gateway(routes=[{"prefix": "/", "proxy": "raw"}], upstreams={"raw": raw.port}, timeouts={"send": "300ms"})
    wire = gateway.connect()
    wire.send(upgrade_bytes("/x", key=SAMPLE_KEY))
    far = raw.accept(receive_buffer=4096)
    far.request()
    far.send(AGREED)
    assert wire.response().status == 101
    send_until_stuck(wire)
    wire.gone()
    line = json.loads(eventually(lambda: gateway.access_log.read_text(), "it is logged"))
    assert (line["status"], line["error"], line["wait"]) == (101, "upstream_send_late", "send")
    far.gone()


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("end", ["close", "reset"])
def test_client_gone_frees_upstream(gateway, raw, tls, end):
    """The patient has closed the page: the service is told at once, not when its answer is ready."""
    wire = gateway.connect(tls)
    wire.send(request_bytes("GET", "/raw/a"))
    far = raw.accept()
    far.request()
    getattr(wire, end)()
    far.gone()


@pytest.mark.parametrize("end", ["close", "reset"])
def test_client_gone_in_the_middle_of_its_body_frees_upstream(gateway, raw, end):
    wire = gateway.connect()
    wire.send(request_bytes("POST", "/raw/a", fields=[("Content-Length", "1000")]) + b"x" * 500)
    far = raw.accept()
    far.request(body=False)
    assert far.read(500) == b"x" * 500
    getattr(wire, end)()
    far.gone()
    assert far.buffer == b"", "half a body was made whole"


@pytest.mark.parametrize("end", ["close", "reset"])
def test_client_gone_in_the_middle_of_the_answer_frees_upstream(gateway, raw, end):
    wire = gateway.connect()
    wire.send(request_bytes("GET", "/raw/a"))
    far = raw.accept()
    far.request()
    far.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 1000)
    wire.read_until(b"\r\n\r\n")
    getattr(wire, end)()
    with pytest.raises(OSError):
        for _ in range(10_000):
            far.send(b"x" * 10_000)


def test_a_post_is_never_sent_twice(start_gateway, raw):
    """The kept connection dies under the request: whether it was carried out is unknown, so it is not repeated."""
    gateway = start_gateway(cores=1, routes=[{"prefix": "/", "proxy": "raw"}], upstreams={"raw": raw.port},
                            timeouts={"upstream_keep_alive": "5s"})
    wire = gateway.connect()
    wire.send(request_bytes("GET", "/first"))
    far = raw.accept()
    far.request()
    far.send(OK)
    assert wire.response().body == b"ok"
    wire.send(request_bytes("POST", "/second", b"raise"))
    assert far.request().body == b"raise"
    far.reset()
    assert_refused(wire.response(), 502)
    assert not raw.waiting()


def test_a_server_that_is_down_does_not_take_its_group_with_it(start_gateway, raw):
    """One of two refuses; each request is answered by the other one, or with a 502 of the first one alone."""
    gateway = start_gateway(cores=1, routes=[{"prefix": "/", "proxy": "pair"}],
                            upstreams={"pair": {"servers": [f"127.0.0.1:{free_port()}", f"127.0.0.1:{raw.port}"],
                                                "balance": "round_robin"}})
    answered = 0
    for _ in range(6):
        wire = gateway.connect()
        wire.send(request_bytes("GET", "/x"))
        failed = gateway.total()["upstream"]["failed"]
        found = eventually(lambda: raw.waiting() or arrived(wire), "an attempt at the good server, or an answer")
        if found is not True:
            found[0].request()
            found[0].send(OK)
            found[0].close()  # or the next request would come on this connection, where nobody listens
        answer = wire.response()
        assert answer.status in (200, 502)
        answered += answer.status == 200
        assert gateway.total()["upstream"]["failed"] >= failed
    assert answered >= 3
