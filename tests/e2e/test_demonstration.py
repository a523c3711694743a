"""The demonstration service of tools/demonstration by itself; tools/run --check is the same behind the gateway."""
import asyncio
import hashlib
import json
import subprocess

import pytest
import websockets

from gateway import TREE, eventually
from upstreams import free_port
from wire import PATIENCE_S, connect, request_bytes


@pytest.fixture(scope="module")
def port():
    port = free_port()
    process = subprocess.Popen(["/usr/bin/python3", "-B", TREE / "tools" / "demonstration" / "upstream.py", str(port)])

    def answers():
        assert process.poll() is None
        try:
            return connect(port).ask("GET", "/healthz").status == 200
        except ConnectionRefusedError:
            return False

    eventually(answers, "the demonstration service is up")
    yield port
    process.terminate()
    process.wait(PATIENCE_S)


def test_its_pages_are_there(port):
    wire = connect(port)
    for target, word in (("/", b"/count"), ("/diary", b"WebSocket"), ("/api/visits", b"Baseline"), ("/healthz", b"ok")):
        answer = wire.ask("GET", target)
        assert answer.status == 200 and word in answer.body
    assert wire.ask("GET", "/none").status == 404
    assert wire.ask("DELETE", "/").status == 405
    assert wire.ask("HEAD", "/diary").body == b""


def test_it_sums_what_is_uploaded(port):
    wire = connect(port)
    data = bytes(range(256)) * 1000
    wanted = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert json.loads(wire.ask("PUT", "/api/upload", data).body) == wanted
    wire.send(request_bytes("POST", "/api/upload", fields=[("Transfer-Encoding", "chunked")]) +
              b"100\r\n" + data[:256] + b"\r\n" + b"%x\r\n" % (len(data) - 256) + data[256:] + b"\r\n0\r\n\r\n")
    assert json.loads(wire.response().body) == wanted


def test_it_streams_as_much_as_is_asked_for(port):
    wire = connect(port)
    for n in (0, 1, 100_000):
        assert len(wire.ask("GET", f"/bytes/{n}").body) == n


def test_its_diary_is_a_websocket(port):
    async def talk():
        async with websockets.connect(f"ws://127.0.0.1:{port}/diary/socket") as sock:
            assert json.loads(await sock.recv())["type"] == "hello"
            await sock.send("slept well")
            assert json.loads(await sock.recv()) == {"type": "saved", "entry": 1, "text": "slept well"}
            await sock.send(["in ", "pieces"])
            assert json.loads(await sock.recv())["text"] == "in pieces"
            await (await sock.ping())
        return sock.close_code

    assert asyncio.run(asyncio.wait_for(talk(), PATIENCE_S)) == 1000
