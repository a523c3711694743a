"""A core that does not run for longer than thousands of sockets' waits: SIGSTOP. The kernel's clocks go on meanwhile, so every
linked timeout expires, and lies there until the core comes back; beside it lies what clients have sent in the meantime.

Then nobody may be taken for another, or for silent who has spoken: an old timeout must find no fresh arm.
"""
import contextlib
import resource
import select
import signal
import socket
import time

import pytest

from gateway import SLOW, eventually
from wire import CLOSE, PING, PONG, TEXT, Wire, frame, read_frame, upgrade_bytes

SOCKETS = 1500 // SLOW
IDLE_S = 3                                     # a ping after half of it, the end after all of it


@pytest.fixture
def descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def upgraded(port):
    sock = socket.create_connection(("127.0.0.1", port), timeout=20 * SLOW)
    wire = Wire(sock)
    wire.send(upgrade_bytes("/echo"))
    assert wire.response().status == 101
    return wire


def read_echo(wire, text):
    """The echo; pings before it are answered."""
    while True:
        opcode, fin, payload = read_frame(wire)
        if opcode == PING:
            wire.send(frame(PONG, payload))
            continue
        assert (opcode, fin, payload) == (TEXT, True, text)
        return


def answer_pings(wires):
    """Those that have come by now: a client who watches others is not silent himself."""
    poll, by_descriptor = select.poll(), {wire.sock.fileno(): wire for wire in wires}
    for descriptor in by_descriptor:
        poll.register(descriptor, select.POLLIN)
    for descriptor, _ in poll.poll(0):
        opcode, _, payload = read_frame(by_descriptor[descriptor])
        assert opcode == PING, (opcode, payload)
        by_descriptor[descriptor].send(frame(PONG, payload))


def ending(wire):
    """The code of the Close that follows an unanswered ping."""
    pings = 0
    while True:
        opcode, _, payload = read_frame(wire)
        if opcode == PING:
            pings += 1
            continue
        assert opcode == CLOSE and pings == 1, (opcode, payload, pings)
        with contextlib.suppress(OSError):
            wire.send(frame(CLOSE, payload[:2]))
        return int.from_bytes(payload[:2], "big")


@pytest.mark.parametrize("stalls", [1, 3])
def test_a_stalled_core_ends_the_silent_and_nobody_else(start_gateway, descriptors, stalls):
    gateway = start_gateway(routes=[{"path": "/echo", "serve": "echo"}], timeouts={"websocket_idle": f"{IDLE_S * SLOW}s", "close": "1s"},
                            limits={"connections_max": 4096})
    wires = [upgraded(gateway.port) for _ in range(SOCKETS)]
    # Some speak before their wait is over, some when it was over long ago; every third says nothing, and answers no ping.
    speakers = {"early": wires[0::3], "late": wires[1::3]}
    silent = wires[2::3]
    for _ in range(stalls):
        for wire in speakers["early"] + speakers["late"]:
            wire.send(frame(TEXT, b"before"))
        for wire in speakers["early"] + speakers["late"]:
            read_echo(wire, b"before")
        gateway.signal(signal.SIGSTOP)
        try:
            for wire in speakers["early"]:
                wire.send(frame(TEXT, b"early"))
            time.sleep(IDLE_S * SLOW * 1.2)
            for wire in speakers["late"]:
                wire.send(frame(TEXT, b"late"))
        finally:
            gateway.signal(signal.SIGCONT)
        # Each of them is answered, and stays.
        for when, them in speakers.items():
            for wire in them:
                read_echo(wire, when.encode())
    # The silent were asked by one ping and told by a Close; nobody else was.
    codes = set()
    for wire in silent:
        codes.add(ending(wire))
        answer_pings(speakers["early"] + speakers["late"])
    assert codes == {1001}
    for wire in speakers["early"] + speakers["late"]:
        wire.send(frame(TEXT, b"after"))
        read_echo(wire, b"after")
    assert gateway.refused("websocket_no_pong") == len(silent)
    for wire in wires:
        wire.close()
    eventually(lambda: gateway.total()["websockets"]["open"] == 0, "all sockets are gone", seconds=20 * SLOW)
