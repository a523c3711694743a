"""Rude clients by the thousand: each leaves in the worst moment of something, and nothing of any of them stays.

POSTERN_RUDE says how many; --long takes 100 000.
"""
import os
import socket
import ssl
import struct

import pytest

from gateway import SLOW, eventually
from wire import frame, request_bytes, upgrade_bytes

RESET = struct.pack("ii", 1, 0)
HALF_OPEN_MAX = 200


def client_hello(certificates):
    """The first flight of a real client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = certificates.context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def manners(gateway, certificates):
    """(name, is it for the TLS port, the bytes that are sent before the client leaves)."""
    hello = client_hello(certificates)
    form = [("Content-Type", "application/x-www-form-urlencoded"), ("Content-Length", "100")]
    return [
        ("nothing", False, b""),
        ("nothing to tls", True, b""),
        ("half a hello", True, hello[:len(hello) // 2]),
        ("one byte of a hello", True, hello[:1]),
        ("a whole hello", True, hello),
        ("a hello and nonsense", True, hello + b"\x14\x03\x03\x00\x01\x01\x17\x03\x03\x00\x20" + b"x" * 32),
        ("nonsense", False, b"\x00\xff" * 20),
        ("half a head", False, b"GET /count?siteId=x HTTP/1.1\r\nHost: lo"),
        ("a whole request", False, request_bytes("GET", "/count?siteId=x")),
        ("many requests", False, request_bytes("GET", "/count?siteId=x") * 20),
        ("half a form", False, request_bytes("POST", "/count", fields=form) + b"siteId="),
        ("half an upload", False, request_bytes("PUT", "/digest/up", fields=[("Content-Length", "100000")]) + b"x" * 5000),
        ("half a chunk", False, request_bytes("PUT", "/digest/up", fields=[("Transfer-Encoding", "chunked")]) + b"1000\r\nxyz"),
        ("an answer nobody reads", False, request_bytes("GET", "/digest/3000000")),
        ("a page of nginx", False, request_bytes("GET", "/nginx/hello.txt")),
        ("a service that refuses", False, request_bytes("GET", "/refusing")),
        ("an upgrade", False, upgrade_bytes()),
        ("half a frame", False, upgrade_bytes() + frame(1, b"half a frame")[:7]),
        ("half a message", False, upgrade_bytes() + frame(1, b"half a", fin=False)),
        ("many echoes nobody reads", False, upgrade_bytes() + frame(2, b"x" * 3000) * 10),
        ("a close nobody waits for", False, upgrade_bytes() + frame(8, b"\x03\xe8")),
        ("a tunnel", False, upgrade_bytes("/websocket/x") + frame(1, b"through")),
        ("half a frame in a tunnel", False, upgrade_bytes("/websocket/x") + frame(1, b"through")[:5]),
    ]


ENDS = ("reset", "close", "half close", "half open")


def leave(sock, end, half_open):
    if end == "half open":
        half_open.append(sock)
        if len(half_open) > HALF_OPEN_MAX:
            half_open.pop(0).close()
        return
    if end == "half close":
        try:
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass
    if end == "reset":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.close()


def rude_client(port, data, end, half_open):
    sock = socket.socket()
    sock.settimeout(20 * SLOW)
    try:
        sock.connect(("127.0.0.1", port))
        sock.sendall(data)
    except OSError:
        pass                                   # it was thrown out sooner than it could leave
    leave(sock, end, half_open)


def test_nothing_is_left_of_thousands_of_rude_clients(gateway, certificates, nginx, long):
    wanted = int(os.environ.get("POSTERN_RUDE", 100_000 if long else 4000))
    kinds = manners(gateway, certificates)
    half_open = []
    polite = gateway.connect()
    for number in range(wanted):
        _, tls, data = kinds[number % len(kinds)]
        end = ENDS[number // len(kinds) % len(ENDS)]
        rude_client(gateway.tls_port if tls else gateway.port, data, end, half_open)
        if number % 500 == 0:
            # Whoever behaves is served all the while.
            assert polite.ask("GET", "/count?siteId=x").status == 200
    for sock in half_open:
        sock.close()
    gateway.at_rest()


@pytest.mark.parametrize("end", ENDS)
def test_nothing_is_left_of_each_kind_alone(gateway, certificates, nginx, end):
    """Less of everything, and the name of the kind when it fails."""
    for name, tls, data in manners(gateway, certificates):
        half_open = []
        for _ in range(5):
            rude_client(gateway.tls_port if tls else gateway.port, data, end, half_open)
        for sock in half_open:
            sock.close()
        try:
            gateway.at_rest()
        except AssertionError as trouble:
            raise AssertionError(f"{name}, {end}: {trouble}") from None


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("end", ENDS[:3])
def test_nothing_is_left_of_tls_clients_that_leave_in_the_middle(gateway, certificates, nginx, version, end):
    context = certificates.context(version)
    datas = [data for _, tls, data in manners(gateway, certificates) if not tls]
    for data in datas * 3:
        wire = gateway.connect(tls=context)
        gateway.wires.remove(wire)
        try:
            wire.send(data)
        except OSError:
            pass
        # Below TLS: no close_notify, as when a telephone loses its network.
        leave(socket.socket(fileno=wire.sock.detach()), end, [])


def test_half_open_connections_end_by_their_deadlines(start_gateway, certificates, digest, nginx, websocket_upstream):
    """Nobody leaves at all: a thousand clients just fall silent. Each wait has a deadline, and the last one frees the last."""
    silence = {name: "500ms" for name in ("tls_handshake", "request_head", "request_body", "keep_alive", "send", "websocket_idle",
                                          "close", "upstream_body")}
    gateway = start_gateway(timeouts=silence, upstreams={"digest": digest.port, "nginx": nginx.port,
                                                         "websocket": websocket_upstream.port, "refusing": 1},
                            routes=[{"path": "/count", "serve": "count"}, {"path": "/echo", "serve": "echo"},
                                    {"prefix": "/digest", "proxy": "digest"}, {"prefix": "/nginx", "proxy": "nginx"},
                                    {"prefix": "/websocket", "proxy": "websocket"}, {"prefix": "/refusing", "proxy": "refusing"}])
    held = []
    for _ in range(20):
        for _, tls, data in manners(gateway, certificates):
            sock = socket.create_connection(("127.0.0.1", gateway.tls_port if tls else gateway.port), timeout=20)
            # A small window, so that an answer nobody reads is felt as one.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            try:
                sock.sendall(data)
            except OSError:
                pass
            held.append(sock)
    try:
        eventually(gateway.nothing_left, lambda: f"all ended by their deadlines\n{gateway.admin_text('/scopes')}",
                   seconds=30 * SLOW)
    finally:
        for sock in held:
            sock.close()
