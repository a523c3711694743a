"""WebSockets opened, upgraded and dropped in every rude way while others talk; and the same beside a Go handler that forgets.

POSTERN_LEAK says how many; --long takes 100 000. The Go servers are perf/gorilla: `perf/bootstrap gorilla` installs what they need
and builds them, and where they are missing only Postern is tested. perf/leak is the long form, with figures.
"""
import contextlib
import http.client
import json
import os
import socket
import ssl
import struct
import subprocess
import threading
import time

import pytest

from gateway import POSTERNCTL, SLOW, TREE, eventually
from upstreams import free_port
from wire import CLOSE, CONTINUATION, TEXT, Wire, connect, frame, read_frame, upgrade_bytes

GORILLA = TREE / "build" / "perf" / "gorilla"
HELD_MAX = 150
# Every deadline is short, so that those who only fall silent are seen to be ended by one.
TIMEOUTS = {"websocket_idle": "1s", "send": "1s", "close": "1s", "tls_handshake": "2s", "request_head": "2s"}

# Where the client leaves; what it says last, or nothing.
MANNERS = {
    "nothing said": ("connected", b""),
    "half a hello": ("hello", b""),
    "a handshake": ("shaken", b""),
    "half an upgrade": ("asking", b""),
    "an upgrade": ("asked", b""),
    "upgraded": ("upgraded", b""),
    "a message": ("upgraded", frame(TEXT, b"hello")),
    "half a header": ("upgraded", frame(TEXT, b"hello")[:1]),
    "half a frame": ("upgraded", frame(TEXT, b"hello")[:8]),
    "half a message": ("upgraded", frame(TEXT, b"hel", fin=False)),
    "two thirds of a message": ("upgraded", frame(TEXT, b"hel", fin=False) + frame(CONTINUATION, b"l", fin=False)),
    "a close": ("upgraded", frame(CLOSE, b"\x03\xe8")),
    "a broken rule": ("upgraded", frame(TEXT, b"hello", mask=None)),
    "echoes nobody reads": ("upgraded", frame(TEXT, b"x" * 4000) * 60),
}
ENDS = ("reset", "fin", "vanished")


class Rude:
    """Leaves, over and over; holds the sockets of those who vanished, up to HELD_MAX, and lets the oldest go."""

    def __init__(self, certificates):
        self.context = certificates.context()
        self.held = []
        self.dropped = 0

    def half_a_hello(self):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        with contextlib.suppress(ssl.SSLWantReadError):
            self.context.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
        hello = outgoing.read()
        return hello[:len(hello) // 2]

    def drop(self, port, tls, target, where, last, end):
        sock = socket.socket()
        sock.settimeout(20 * SLOW)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        # A reset, or a deadline, may come before the client is ready to go.
        with contextlib.suppress(OSError):
            sock.connect(("127.0.0.1", port))
            if where == "hello" and tls:
                sock.sendall(self.half_a_hello())
            elif where != "connected":
                if tls:
                    sock = self.context.wrap_socket(sock, server_hostname="localhost")
                sock.settimeout(0.2 if len(last) > 10000 else 20 * SLOW)     # what is not taken is not waited for
                upgrade = upgrade_bytes(target)
                if where == "asking":
                    sock.sendall(upgrade[:len(upgrade) // 2])
                elif where != "shaken":
                    sock.sendall(upgrade)
                if where == "upgraded":
                    answer = Wire(sock).response()
                    assert answer.status == 101, answer
                    sock.sendall(last)
        self.dropped += 1
        # Below TLS: no close_notify, as when a telephone loses its network.
        sock = socket.socket(fileno=sock.detach())
        if end == "vanished":
            self.held.append(sock)
            if len(self.held) <= HELD_MAX:
                return
            sock = self.held.pop(0)
        if end == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()

    def drop_all(self, count, ports, targets):
        """`ports`: of plain and of TLS, or of one of them, as (port, tls)."""
        kinds = [(port, tls, target, where, last, end) for end in ENDS for where, last in MANNERS.values()
                 for target in targets for port, tls in ports]
        for i in range(count):
            self.drop(*kinds[i % len(kinds)])

    def let_go(self):
        for sock in self.held:
            sock.close()
        self.held = []


class Talk(threading.Thread):
    """A polite client: echoes without end, each checked. What goes wrong is told by stop()."""

    def __init__(self, port, context):
        super().__init__(daemon=True)
        self.wire = connect(port, context)
        self.wire.send(upgrade_bytes("/echo"))
        assert self.wire.response().status == 101
        self.echoes, self.wrong, self.over = 0, None, False
        self.start()

    def run(self):
        try:
            while not self.over:
                text = b"%d" % self.echoes
                self.wire.send(frame(TEXT, text))
                answer = read_frame(self.wire)
                while answer[0] == 9:
                    self.wire.send(frame(10, answer[2]))
                    answer = read_frame(self.wire)
                assert answer == (TEXT, True, text), answer
                self.echoes += 1
                time.sleep(0.002)
        except Exception as trouble:           # told by the thread that waits
            self.wrong = trouble

    def stop(self):
        self.over = True
        self.join()
        self.wire.close()
        assert self.wrong is None, self.wrong
        assert self.echoes > 10


def count_of(long, short):
    return int(os.environ.get("POSTERN_LEAK", 100_000 if long else short))


def leaves_nothing(gateway, what):
    eventually(gateway.nothing_left, lambda: f"{what}: {gateway.admin_text('/scopes?full')}",
               seconds=30 * SLOW)


def test_websockets_dropped_in_every_rude_way_leave_nothing(start_gateway, certificates, long):
    gateway = start_gateway(timeouts=TIMEOUTS, routes=[{"path": "/echo", "serve": "echo"}, {"path": "/count", "serve": "count"}])
    talks = [Talk(gateway.port, None), Talk(gateway.tls_port, certificates.context())]
    rude = Rude(certificates)
    try:
        rude.drop_all(count_of(long, 1500 // SLOW), [(gateway.port, False), (gateway.tls_port, True)], ["/echo"])
        for talk in talks:
            talk.stop()
        # Those who vanished are still held open here: only a deadline of the gateway's own can have ended them.
        leaves_nothing(gateway, "the silent ones")
    finally:
        rude.let_go()
    # As people see it: nobody but the core itself, its listeners, and the one who asks.
    scopes = subprocess.run([POSTERNCTL, "-s", gateway.admin_socket, "scopes"], capture_output=True, text=True, check=True).stdout
    kinds = {line.split()[1] for line in scopes.splitlines()[1:] if line[:1] == " "}
    assert kinds <= {"core", "listener", "signals", "ticket", "access", "connection", "exchange", "journal"}, scopes
    assert not any("/echo" in line or "echo" in line.split() for line in scopes.splitlines()), scopes
    total = gateway.total()
    assert total["websockets"]["opened"] > rude.dropped / 3
    assert total["ops"]["started"] == total["ops"]["ended"] + total["ops"]["live"]


@pytest.mark.parametrize("end", ENDS)
def test_nothing_is_left_of_each_manner_alone(start_gateway, certificates, end):
    """Less of everything, and the name of the manner when it fails."""
    gateway = start_gateway(timeouts=TIMEOUTS, routes=[{"path": "/echo", "serve": "echo"}])
    rude = Rude(certificates)
    for name, (where, last) in MANNERS.items():
        for port, tls in ((gateway.port, False), (gateway.tls_port, True)):
            for _ in range(3):
                rude.drop(port, tls, "/echo", where, last, end)
        # A silence is only ended by its deadline: those are waited for together.
        if end != "vanished":
            leaves_nothing(gateway, f"{name}, {end}")
    try:
        leaves_nothing(gateway, end)
    finally:
        rude.let_go()


# ---- beside Go -----------------------------------------------------------------------------------


class Gorilla:
    def __init__(self, certificates, forgets):
        self.port, self.certificates = free_port(), certificates
        self.process = subprocess.Popen([GORILLA, "-listen", f"127.0.0.1:{self.port}", "-heartbeat", "1s",
                                         "-certificate", certificates / "ecdsa.pem", "-key", certificates / "ecdsa.key",
                                         *(["-forgets"] if forgets else [])], stdin=subprocess.DEVNULL)
        eventually(self.listens, "perf/gorilla is up")

    def listens(self):
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def goroutines(self):
        connection = http.client.HTTPSConnection("localhost", self.port, context=self.certificates.context(), timeout=20)
        try:
            connection.request("GET", "/figures")
            return json.loads(connection.getresponse().read())["goroutines"]
        finally:
            connection.close()

    def end(self):
        self.process.kill()
        self.process.wait()


@pytest.mark.skipif(not os.access(GORILLA, os.X_OK), reason="perf/gorilla is not built: perf/bootstrap gorilla")
@pytest.mark.parametrize("forgets", [True, False], ids=["forgets", "repaired"])
def test_the_same_clients_do_leak_where_a_handler_forgets(certificates, long, forgets):
    """The load is one that shows leaks: else the tests above would prove little."""
    gorilla = Gorilla(certificates, forgets)
    rude = Rude(certificates)
    try:
        before = gorilla.goroutines()
        talk = Talk(gorilla.port, certificates.context())
        rude.drop_all(count_of(long, 300), [(gorilla.port, True)], ["/echo", "/live?patient=one"])
        talk.stop()
        rude.let_go()
        if forgets:
            time.sleep(2)
            # One for each client who was upgraded, for as long as the process lives.
            assert gorilla.goroutines() - before > rude.dropped / 3
        else:
            eventually(lambda: gorilla.goroutines() <= before, lambda: f"{before} goroutines again, and not {gorilla.goroutines()}",
                       seconds=30 * SLOW)
    finally:
        rude.let_go()
        gorilla.end()
