"""Large bodies: whole at the other end, and never held in memory while that end is slow."""
import hashlib
import json
import os
import threading

import pytest

from gateway import SANITIZER, eventually
from wire import request_bytes

MIB = 1 << 20
LARGE = 200 * MIB

# What may be on its way through the gateway for one exchange, kernel buffers apart; far below the body's size.
HELD_KIB_MAX = 32 * 1024 * (3 if SANITIZER else 1)


def stalled(read):
    """True when a counter has stopped moving: many equal looks in a row, and no time that was guessed."""
    state = {"value": None, "equal": 0}

    def look():
        value = read()
        state["equal"] = state["equal"] + 1 if value == state["value"] else 0
        state["value"] = value
        return state["equal"] >= 20
    return look


@pytest.mark.parametrize("tls", [False, True])
def test_200_mib_to_a_client_that_pauses(gateway, digest, tls):
    wire = gateway.connect(tls, receive_buffer=65536)
    before = gateway.memory_kib()
    wire.send(request_bytes("GET", f"/digest/{LARGE}"))
    head = wire.read_until(b"\r\n\r\n")
    assert f"content-length: {LARGE}".encode() in head.lower()
    eventually(stalled(lambda: gateway.total()["bytes"]["sent"] // MIB), "the gateway stops sending to who does not read")
    assert gateway.memory_kib() - before < HELD_KIB_MAX
    # Others are served meanwhile.
    assert gateway.ask("GET", "/count?siteId=x", tls=tls).status == 200
    summed, left = hashlib.sha256(wire.buffer), LARGE - len(wire.buffer)
    wire.buffer = b""
    while left > 0:
        piece = wire.sock.recv(min(left, MIB))
        assert piece, f"ended with {left} bytes missing"
        summed.update(piece)
        left -= len(piece)
    assert summed.hexdigest() == digest.pattern_digest(LARGE)
    assert gateway.memory_kib() - before < HELD_KIB_MAX


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_200_mib_from_a_client(gateway, digest, tls, framing):
    wire = gateway.connect(tls)
    before = gateway.memory_kib()
    field = ("Content-Length", str(LARGE)) if framing == "length" else ("Transfer-Encoding", "chunked")
    wire.send(request_bytes("PUT", "/digest/up", fields=[field]))
    piece = os.urandom(MIB)
    summed = hashlib.sha256()
    for _ in range(LARGE // MIB):
        wire.send(b"%x\r\n%s\r\n" % (len(piece), piece) if framing == "chunks" else piece)
        summed.update(piece)
    if framing == "chunks":
        wire.send(b"0\r\n\r\n")
    assert json.loads(wire.response().body) == {"size": LARGE, "sha256": summed.hexdigest()}
    assert gateway.memory_kib() - before < HELD_KIB_MAX


def test_a_service_that_does_not_read_stops_the_client(gateway, raw):
    wire = gateway.connect()
    before = gateway.memory_kib()
    wire.send(request_bytes("PUT", "/raw/a", fields=[("Content-Length", str(LARGE))]))
    far = raw.accept(receive_buffer=65536)
    far.request(body=False)
    sent, done = [0], threading.Event()

    def push():
        try:
            while sent[0] < LARGE:
                wire.send(b"x" * 65536)
                sent[0] += 65536
        except OSError:
            pass
        done.set()

    wire.sock.settimeout(None)
    thread = threading.Thread(target=push)
    thread.start()
    eventually(stalled(lambda: sent[0]), "the client is stopped")
    assert sent[0] < LARGE and gateway.memory_kib() - before < HELD_KIB_MAX
    got = 0
    while got < LARGE:
        got += len(far.sock.recv(MIB))
    thread.join()
    assert got + len(far.buffer) == LARGE
    far.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    wire.sock.settimeout(20)
    assert wire.response().status == 200


def test_a_slow_reader_does_not_slow_the_others(gateway, digest):
    """Promise 3: many clients that stopped reading, and one that reads: its answers come."""
    slow = []
    for _ in range(50):
        wire = gateway.connect(receive_buffer=4096)
        wire.send(request_bytes("GET", f"/digest/{10 * MIB}"))
        slow.append(wire)
    for wire in slow:
        wire.read_until(b"\r\n\r\n")
    quick = gateway.connect()
    for _ in range(200):
        assert quick.ask("GET", "/count?siteId=x").status == 200
    for wire in slow:
        wire.reset()


def test_a_client_that_stops_reading_is_ended_after_its_deadline(start_gateway, digest):
    gateway = start_gateway(routes=[{"prefix": "/", "proxy": "digest"}], upstreams={"digest": digest.port},
                            timeouts={"send": "500ms"})
    wire = gateway.connect(receive_buffer=4096)
    wire.send(request_bytes("GET", f"/{100 * MIB}"))
    wire.read_until(b"\r\n\r\n")
    eventually(gateway.nothing_left, "the connection is ended though the client still holds it")


@pytest.mark.parametrize("tls", [False, True])
def test_a_file_of_nginx_comes_whole(gateway, nginx, tls):
    data = os.urandom(20 * MIB + 7)
    target = nginx.file("large.bin", data)
    answer = gateway.ask("GET", target, tls=tls)
    assert answer.body == data


@pytest.mark.parametrize("tls", [False, True])
def test_an_upload_to_nginx_arrives_whole(gateway, nginx, tls):
    data = os.urandom(10 * MIB + 3)
    assert gateway.ask("PUT", "/nginx/upload/large", data, tls=tls).status in (201, 204)
    assert nginx.uploaded("large") == data


def test_both_directions_at_once(gateway, raw):
    """The service answers while the request still comes: neither waits for the other."""
    size = 8 * MIB
    wire = gateway.connect()
    wire.send(request_bytes("POST", "/raw/a", fields=[("Content-Length", str(size))]))
    far = raw.accept()
    far.request(body=False)
    far.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)

    def mirror():
        for _ in range(size // 65536):
            far.send(far.read(65536))

    def push():
        for number in range(size // 65536):
            wire.send(bytes([number % 256]) * 65536)

    threads = [threading.Thread(target=mirror), threading.Thread(target=push)]
    for thread in threads:
        thread.start()
    body = wire.response().body
    for thread in threads:
        thread.join()
    assert all(body[i * 65536] == i % 256 for i in range(size // 65536)) and len(body) == size
