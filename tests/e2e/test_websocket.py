"""WebSockets that the gateway itself answers (/echo), by python3-websockets and by frames written by hand."""
import asyncio
import json
import os
import random
import socket

import pytest
import websockets

from gateway import SLOW, eventually
from wire import (BINARY, CLOSE, CONTINUATION, PATIENCE_S, PING, PONG, SAMPLE_KEY, TEXT, arrived, close_code, frame, read_frame, request_bytes,
                  upgrade_bytes)


def address(gateway, tls, target="/echo"):
    return f"wss://localhost:{gateway.tls_port}{target}" if tls else f"ws://127.0.0.1:{gateway.port}{target}"


def with_client(gateway, tls, talk, target="/echo", **more):
    """Runs `talk(socket)` with a connected client of python3-websockets, which sends no pings of its own."""
    async def run():
        context = {"ssl": gateway.certificates.context()} if tls else {}
        async with websockets.connect(address(gateway, tls, target), max_size=None, ping_interval=None, compression=None,
                                      **context, **more) as sock:
            return await talk(sock)

    return asyncio.run(asyncio.wait_for(run(), PATIENCE_S * SLOW))


def open_socket(gateway, tls=False, target="/echo", fields=()):
    """The same by hand; the upgrade is checked, frames follow."""
    wire = gateway.connect(tls)
    wire.send(upgrade_bytes(target, fields, key=SAMPLE_KEY))
    answer = wire.response()
    assert answer.status == 101, answer
    # RFC 6455 §1.3 gives this key and this answer.
    assert answer.get("Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert answer.get("Upgrade").lower() == "websocket" and answer.get("Connection").lower() == "upgrade"
    return wire


# ---- a client that we did not write ------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True])
def test_messages_of_every_size_come_back(gateway, tls):
    sizes = [0, 1, 125, 126, 127, 1000, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537, 300_000, 1 << 20]

    async def talk(sock):
        for size in sizes:
            data = os.urandom(size)
            await sock.send(data)
            assert await sock.recv() == data
            text = "患" * (size // 3)
            await sock.send(text)
            assert await sock.recv() == text

    with_client(gateway, tls, talk)


@pytest.mark.parametrize("tls", [False, True])
def test_many_messages_keep_their_order(gateway, tls):
    async def talk(sock):
        async def send():
            for number in range(2000):
                await sock.send(f"message {number}")

        sender = asyncio.create_task(send())
        for number in range(2000):
            assert await sock.recv() == f"message {number}"
        await sender

    with_client(gateway, tls, talk)


@pytest.mark.parametrize("tls", [False, True])
def test_a_message_in_fragments_is_one_message(gateway, tls):
    async def talk(sock):
        await sock.send(["one ", "two ", "", "three"])
        assert await sock.recv() == "one two three"

    with_client(gateway, tls, talk)


@pytest.mark.parametrize("tls", [False, True])
def test_a_ping_is_answered(gateway, tls):
    async def talk(sock):
        for payload in (b"", b"x", b"y" * 125):
            await asyncio.wait_for(await sock.ping(payload or None), PATIENCE_S)

    with_client(gateway, tls, talk)


@pytest.mark.parametrize("code, reason", [(1000, ""), (1000, "done"), (1001, "leaving"), (1008, ""), (3000, "library"), (4999, "own")])
def test_a_close_is_answered_with_its_code(gateway, code, reason):
    async def talk(sock):
        await sock.close(code, reason)
        return sock.close_code

    assert with_client(gateway, False, talk) == code


def test_many_clients_talk_at_once(gateway):
    async def run():
        context = gateway.certificates.context()

        async def one(number):
            tls = number % 2 == 0
            more = {"ssl": context} if tls else {}
            async with websockets.connect(address(gateway, tls), ping_interval=None, open_timeout=PATIENCE_S, **more) as sock:
                for turn in range(20):
                    await sock.send(f"{number}-{turn}")
                    assert await sock.recv() == f"{number}-{turn}"

        await asyncio.gather(*(one(number) for number in range(100)))

    asyncio.run(asyncio.wait_for(run(), PATIENCE_S * SLOW))


# ---- frames by hand ----------------------------------------------------------------------------------


def test_the_first_message_may_come_with_the_upgrade(gateway):
    wire = gateway.connect()
    wire.send(upgrade_bytes() + frame(TEXT, b"already here"))
    assert wire.response().status == 101
    assert read_frame(wire) == (TEXT, True, b"already here")


def test_frames_that_come_byte_by_byte_are_the_same_frames(gateway):
    wire = open_socket(gateway)
    for byte in frame(TEXT, b"slow", fin=False) + frame(PING, b"p") + frame(CONTINUATION, b"ly") + frame(CLOSE, b"\x03\xe8"):
        wire.send(bytes([byte]))
    # The echo streams: bytes go back as they come, so how they are cut into fragments is open. Their order is not.
    opcode, data, pongs = None, b"", 0
    while (got := read_frame(wire))[0] != CLOSE:
        if got[0] == PONG:
            assert got == (PONG, True, b"p") and pongs == 0 and data.startswith(b"slow"[:len(data)])
            pongs += 1
        else:
            assert got[0] == (TEXT if opcode is None else CONTINUATION)
            opcode, data = TEXT, data + got[2]
    assert (data, pongs, got) == (b"slowly", 1, (CLOSE, True, b"\x03\xe8"))
    wire.ended()


def read_message(wire):
    opcode, fin, data = read_frame(wire)
    while not fin:
        more, fin, piece = read_frame(wire)
        assert more == CONTINUATION
        data += piece
    return opcode, data


def test_a_pong_that_nobody_asked_for_is_ignored(gateway):
    wire = open_socket(gateway)
    wire.send(frame(PONG, b"hello") + frame(TEXT, b"on"))
    assert read_message(wire) == (TEXT, b"on")


BROKEN = {
    "not masked": (frame(TEXT, b"x", mask=None), 1002),
    "reserved bit 1": (frame(TEXT, b"x", reserved=4), 1002),
    "reserved bit 2": (frame(TEXT, b"x", reserved=2), 1002),
    "reserved bit 3": (frame(TEXT, b"x", reserved=1), 1002),
    "reserved bit in a ping": (frame(PING, b"x", reserved=4), 1002),
    "opcode 3": (frame(3, b"x"), 1002),
    "opcode 11": (frame(11, b""), 1002),
    "ping in fragments": (frame(PING, b"x", fin=False), 1002),
    "ping too long": (frame(PING, b"x" * 126), 1002),
    "close too long": (frame(CLOSE, b"\x03\xe8" + b"x" * 124), 1002),
    "continuation of nothing": (frame(CONTINUATION, b"x"), 1002),
    "text inside a text": (frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"), 1002),
    "length in more bytes than needed": (b"\x81\xfe\x00\x05\x01\x02\x03\x04hello", 1002),
    "length in many more bytes": (b"\x81\xff" + bytes(7) + b"\x05\x01\x02\x03\x04hello", 1002),
    "length with the highest bit": (b"\x82\xff\xff" + b"\xff" * 7 + b"\x01\x02\x03\x04", (1002, 1009)),
    "close of one byte": (frame(CLOSE, b"\x03"), 1002),
    "close with 999": (frame(CLOSE, b"\x03\xe7"), 1002),
    "close with 1004": (frame(CLOSE, b"\x03\xec"), 1002),
    "close with 1005": (frame(CLOSE, b"\x03\xed"), 1002),
    "close with 1006": (frame(CLOSE, b"\x03\xee"), 1002),
    "close with 1015": (frame(CLOSE, b"\x03\xf7"), 1002),
    "close with 2999": (frame(CLOSE, b"\x0b\xb7"), 1002),
    "close with 5000": (frame(CLOSE, b"\x13\x88"), 1002),
    "close with bad utf-8": (frame(CLOSE, b"\x03\xe8\xff"), 1007),
    "text with bad utf-8": (frame(TEXT, b"caf\xe9"), 1007),
    "text with an overlong byte": (frame(TEXT, b"\xc0\xaf"), 1007),
    "text with a surrogate": (frame(TEXT, b"\xed\xa0\x80"), 1007),
    "text beyond unicode": (frame(TEXT, b"\xf4\x90\x80\x80"), 1007),
    "text that ends in a character": (frame(TEXT, b"\xe6\x82"), 1007),
    "bad utf-8 in the second fragment": (frame(TEXT, b"\xe6\x82", fin=False) + frame(CONTINUATION, b"\x20"), 1007),
    "message too long": (frame(BINARY, b"", length=(1 << 20) + 1), 1009),
    "message too long in fragments": (frame(BINARY, b"x" * 700_000, fin=False) + frame(CONTINUATION, b"x" * 700_000), 1009),
}


@pytest.mark.parametrize("data, code", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_frame_is_closed_with_its_code(gateway, data, code):
    wire = open_socket(gateway)
    try:
        wire.send(data)
    except ConnectionError:
        pass
    opcode = None
    while opcode != CLOSE:                     # what was echoed before the fault comes first
        opcode, _, payload = read_frame(wire)
    assert close_code(payload) in (code if isinstance(code, tuple) else (code,)), payload
    wire.gone()


def test_a_character_cut_between_fragments_is_whole(gateway):
    wire = open_socket(gateway)
    text = "患者".encode()
    wire.send(b"".join(frame(TEXT if i == 0 else CONTINUATION, text[i:i + 1], fin=i == len(text) - 1) for i in range(len(text))))
    assert read_message(wire) == (TEXT, text)


def test_close_without_a_code_is_answered(gateway):
    wire = open_socket(gateway)
    wire.send(frame(CLOSE))
    opcode, _, payload = read_frame(wire)
    assert opcode == CLOSE and payload in (b"", b"\x03\xe8")
    wire.ended()


def test_nothing_is_answered_behind_a_close(gateway):
    wire = open_socket(gateway)
    wire.send(frame(CLOSE, b"\x03\xe8") + frame(TEXT, b"too late") + frame(PING, b"too"))
    assert read_frame(wire) == (CLOSE, True, b"\x03\xe8")
    wire.ended()


def test_a_reader_that_stops_is_not_fed_for_ever(gateway):
    """What it would be sent has to stay somewhere: the gateway stops reading instead of keeping it."""
    wire = gateway.connect(receive_buffer=4096)
    wire.send(upgrade_bytes())
    assert wire.response().status == 101
    before = gateway.memory_kib()
    wire.sock.settimeout(0.5)
    data = frame(BINARY, b"x" * 100_000)
    try:
        for _ in range(2000):
            wire.send(data)
        raise AssertionError("200 MB were taken from a client that reads nothing")
    except TimeoutError:
        pass
    assert gateway.memory_kib() - before < 64 * 1024
    wire.reset()


def test_a_silent_socket_is_pinged_and_a_dead_one_is_closed(start_gateway):
    gateway = start_gateway(routes=[{"path": "/echo", "serve": "echo"}], timeouts={"websocket_idle": "300ms"})
    lively, dead = open_socket(gateway), open_socket(gateway)
    for _ in range(3):
        opcode, _, payload = read_frame(lively)
        assert opcode == PING
        lively.send(frame(PONG, payload))
    # It gave no answer to its ping: no later than the lively one's third, it is told goodbye, and then left.
    assert read_frame(dead)[0] == PING
    assert read_frame(dead) == (CLOSE, True, b"\x03\xe9the client did not answer our ping")
    lively.send(frame(TEXT, b"still here"))
    while True:
        opcode, _, payload = read_frame(lively)
        if opcode == TEXT:
            break
    assert payload == b"still here"
    dead.gone()


def test_websockets_are_counted(gateway):
    before = gateway.total()["websockets"]
    wires = [open_socket(gateway, tls) for tls in (False, True)]
    assert gateway.total()["websockets"] == {**before, "open": before["open"] + 2, "opened": before["opened"] + 2}
    wires[0].reset()
    wires[1].close()
    eventually(lambda: gateway.total()["websockets"]["open"] == before["open"], "both are gone")


def test_random_cuts_of_random_frames(gateway):
    """A conversation of many messages, cut into pieces at random places; the seed is in the name of the failure."""
    for seed in range(10):
        dice = random.Random(seed)
        wire = open_socket(gateway)
        messages = [bytes(dice.randrange(256) for _ in range(dice.choice((0, 1, 5, 125, 126, 300, 3000)))) for _ in range(20)]
        stream = b""
        for message in messages:
            cut = dice.randrange(len(message) + 1)
            stream += frame(BINARY, message[:cut], fin=False) + frame(PING, b"") * dice.randrange(2) + frame(CONTINUATION, message[cut:])
        position = 0
        while position < len(stream):
            step = dice.choice((1, 2, 7, 100, 4000))
            wire.send(stream[position:position + step])
            position += step
        for message in messages:
            data, fin = b"", False
            while not fin:
                kind, end, piece = read_frame(wire)
                if kind != PONG:
                    data, fin = data + piece, end
            assert data == message, f"seed {seed}"
        wire.close()


# ---- through the proxy -------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True])
def test_a_websocket_goes_through_to_the_service(gateway, tls):
    async def talk(sock):
        for size in (0, 1, 126, 65_536, 1 << 20, 3 << 20):
            data = os.urandom(size)
            await sock.send(data)
            assert await sock.recv() == data
        await asyncio.wait_for(await sock.ping(b"through"), PATIENCE_S)
        return sock.subprotocol

    assert with_client(gateway, tls, talk, "/websocket/diary", subprotocols=["diary.v1"]) == "diary.v1"


@pytest.mark.parametrize("tls", [False, True])
def test_a_close_by_the_client_reaches_the_service(gateway, websocket_upstream, tls):
    async def talk(sock):
        await sock.close(4001, "patient left")
        return sock.close_code

    before = len(websocket_upstream.closed_with)
    assert with_client(gateway, tls, talk, "/websocket/diary") == 4001
    eventually(lambda: len(websocket_upstream.closed_with) > before, "the service has seen the end")
    assert websocket_upstream.closed_with[before:] == [4001]


@pytest.mark.parametrize("tls", [False, True])
def test_a_close_by_the_service_reaches_the_client(gateway, tls):
    async def talk(sock):
        await sock.send("close 4002")
        try:
            await sock.recv()
        except websockets.ConnectionClosed:
            pass
        return sock.close_code

    assert with_client(gateway, tls, talk, "/websocket/diary") == 4002


def logged(gateway):
    """The lines of the access log; none yet is fine."""
    return [json.loads(line) for line in gateway.access_log.read_text().splitlines()] if gateway.access_log.exists() else []


def open_tunnel(gateway, raw, tls=False, early=b"", late=b""):
    wire = gateway.connect(tls)
    wire.send(upgrade_bytes("/raw/socket", [("Sec-WebSocket-Protocol", "o, p")], key=SAMPLE_KEY) + early)
    far = raw.accept()
    seen = far.request()
    assert seen.get("Upgrade").lower() == "websocket" and seen.get("Connection").lower() == "upgrade"
    assert seen.get("Sec-WebSocket-Key") and seen.get("X-Forwarded-For") == "127.0.0.1"
    far.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: p\r\n\r\n" + late)
    answer = wire.response()
    assert (answer.status, answer.get("Sec-WebSocket-Protocol")) == (101, "p")
    return wire, far


@pytest.mark.parametrize("tls", [False, True])
def test_a_tunnel_carries_bytes_as_they_are(gateway, raw, tls):
    wire, far = open_tunnel(gateway, raw, tls)
    for size in (1, 100, 20_000):
        there, back = os.urandom(size), os.urandom(size)
        wire.send(there)
        assert far.read(size) == there
        far.send(back)
        assert wire.read(size) == back


def test_bytes_behind_the_upgrade_are_not_lost_on_either_side(gateway, raw):
    wire, far = open_tunnel(gateway, raw, early=b"eager client", late=b"eager service")
    assert wire.read(13) == b"eager service"
    assert far.read(12) == b"eager client"


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("who", ["client", "service"])
def test_a_tunnel_ends_on_both_sides(gateway, raw, tls, who, end):
    wire, far = open_tunnel(gateway, raw, tls)
    first, other = (wire, far) if who == "client" else (far, wire)
    first.send(b"last words")
    assert other.read(10) == b"last words"
    getattr(first, end)()
    other.gone()


@pytest.mark.parametrize("tls", [False, True])
def test_a_service_that_has_said_all_is_still_told_what_the_client_says(gateway, raw, tls):
    wire, far = open_tunnel(gateway, raw, tls)
    far.send(b"all I had to say")
    far.sock.shutdown(socket.SHUT_WR)
    assert wire.read_all() == b"all I had to say"
    for _ in range(5):
        data = os.urandom(50_000)
        wire.send(data)
        assert far.read(len(data)) == data
    wire.close()
    far.ended()
    line = eventually(lambda: [line for line in logged(gateway) if line["bytes_in"] == 250_000], "it is logged")[0]
    assert line["error"] is None


def test_a_client_who_has_said_all_is_still_told_what_the_service_says(gateway, raw):
    wire, far = open_tunnel(gateway, raw)
    wire.send(b"all I had to say")
    wire.sock.shutdown(socket.SHUT_WR)
    assert far.read_all() == b"all I had to say"
    for _ in range(5):
        data = os.urandom(50_000)
        far.send(data)
        assert wire.read(len(data)) == data
    far.close()
    wire.ended()


@pytest.mark.parametrize("who", ["client", "service"])
def test_half_a_tunnel_that_is_silent_too_long_is_closed(start_gateway, raw, who):
    gateway = start_gateway(routes=[{"prefix": "/", "proxy": "raw"}], upstreams={"raw": raw.port},
                            timeouts={"websocket_idle": "300ms"})
    wire, far = open_tunnel(gateway, raw)
    first, other = (wire, far) if who == "client" else (far, wire)
    first.sock.shutdown(socket.SHUT_WR)
    other.ended()
    for _ in range(5):                         # longer than the time of silence
        assert not arrived(first, 0.1)
        other.send(b"x")
        assert first.read(1) == b"x"
    first.gone()
    assert eventually(lambda: logged(gateway), "it is logged")[0]["error"] == "websocket_idle"


def test_an_upgrade_that_the_service_declines_is_an_ordinary_answer(gateway, raw):
    wire = gateway.connect()
    wire.send(upgrade_bytes("/raw/socket"))
    far = raw.accept()
    far.request()
    far.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
    answer = wire.response()
    assert (answer.status, answer.body) == (403, b"no")
    assert wire.ask("GET", "/count?siteId=x").status == 200


ACCEPT = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
OFFERS = [("Sec-WebSocket-Protocol", "diary.v1"), ("Sec-WebSocket-Protocol", "diary.v2 , x"),
          ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits ,other"), ("Sec-WebSocket-Extensions", "third;a=\"b\"")]
AGREEMENTS = {
    "another key's accept": (["Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA="], OFFERS, 502),
    "other letters": ([ACCEPT.replace("s3pP", "S3pP")], OFFERS, 502),
    "no accept": ([], OFFERS, 502),
    "two accepts": ([ACCEPT, ACCEPT], OFFERS, 502),
    "an extension of its own": ([ACCEPT, "Sec-WebSocket-Extensions: permessage-bzip"], OFFERS, 502),
    "a second extension of its own": ([ACCEPT, "Sec-WebSocket-Extensions: permessage-deflate, permessage-bzip"], OFFERS, 502),
    "an extension that nobody offered": ([ACCEPT, "Sec-WebSocket-Extensions: permessage-deflate"], [], 502),
    "a protocol of its own": ([ACCEPT, "Sec-WebSocket-Protocol: evil"], OFFERS, 502),
    "a protocol in other letters": ([ACCEPT, "Sec-WebSocket-Protocol: Diary.v1"], OFFERS, 502),
    "two protocols": ([ACCEPT, "Sec-WebSocket-Protocol: diary.v1, diary.v2"], OFFERS, 502),
    "a protocol that nobody offered": ([ACCEPT, "Sec-WebSocket-Protocol: diary.v1"], [], 502),
    "nothing more": ([ACCEPT], OFFERS, 101),
    "one of each": ([ACCEPT, "Sec-WebSocket-Protocol: diary.v2", "Sec-WebSocket-Extensions: Permessage-Deflate;x , third"], OFFERS, 101),
}


@pytest.mark.parametrize("fields, offers, status", AGREEMENTS.values(), ids=AGREEMENTS.keys())
def test_an_upgrade_that_does_not_answer_the_request_is_502(gateway, raw, fields, offers, status):
    wire = gateway.connect()
    wire.send(upgrade_bytes("/raw/socket", offers, key=SAMPLE_KEY))
    far = raw.accept()
    far.request()
    far.send("\r\n".join(["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", *fields, "", ""]).encode())
    answer = wire.response()
    assert answer.status == status
    if status == 502:
        assert json.loads(answer.body)["error"] == "upstream_answer_bad"
        far.gone()


def test_a_service_that_never_answers_the_upgrade_is_504(start_gateway, raw):
    gateway = start_gateway(routes=[{"prefix": "/", "proxy": "raw"}], upstreams={"raw": raw.port},
                            timeouts={"upstream_response": "200ms"})
    wire = gateway.connect()
    wire.send(upgrade_bytes("/socket"))
    far = raw.accept()
    far.request()
    assert wire.response().status == 504
    far.gone()


def test_a_tunnel_outlives_the_deadlines_of_requests(start_gateway, raw):
    gateway = start_gateway(routes=[{"prefix": "/", "proxy": "raw"}], upstreams={"raw": raw.port},
                            timeouts={"request_head": "200ms", "keep_alive": "200ms", "upstream_response": "200ms",
                                      "upstream_body": "200ms", "request_body": "200ms"})
    wire, far = open_tunnel(gateway, raw)
    # Another exchange that runs into the same deadline is the clock here: when it is over, so is the time.
    for _ in range(3):
        clock = gateway.connect()
        clock.send(request_bytes("GET", "/clock"))
        raw.accept().request()
        assert clock.response().status == 504
    wire.send(b"still")
    assert far.read(5) == b"still"
    far.send(b"there")
    assert wire.read(5) == b"there"


# What the service has said last, and whether a frame of the gateway's own may stand behind it.
SAID = {
    "nothing": (b"", True),
    "whole frames": (frame(TEXT, b"x" * 300, mask=None) + frame(PING, b"", mask=None), True),
    "a fragment": (frame(TEXT, b"x" * 70_000, fin=False, mask=None), True),
    "half a header": (b"\x81\x7e\x01", False),
    "half a frame": (frame(TEXT, b"x" * 50, mask=None, length=100), False),
    "Close": (frame(CLOSE, b"\x03\xe8", mask=None), False),
    "no frames": (b"these are no frames", False),
}


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("said, boundary", SAID.values(), ids=SAID.keys())
def test_a_tunnel_that_is_silent_too_long_is_ended_in_order(start_gateway, raw, tls, said, boundary):
    """Told by a Close where one can stand, and by an end, not a reset, to both."""
    gateway = start_gateway(routes=[{"prefix": "/", "proxy": "raw"}], upstreams={"raw": raw.port},
                            timeouts={"websocket_idle": "300ms"})
    wire, far = open_tunnel(gateway, raw, tls)
    far.send(said)
    assert wire.read(len(said)) == said
    if boundary:
        opcode, fin, payload = read_frame(wire)
        assert (opcode, fin, close_code(payload)) == (CLOSE, True, 1001)
    wire.ended()
    far.ended()
    far.close()
    line = eventually(lambda: logged(gateway), "it is logged")[0]
    assert (line["status"], line["error"], line["wait"]) == (101, "websocket_idle", "tunnel bytes")
    assert (line.get("close_code"), line.get("closed_by")) == ((1001, "gateway") if boundary else (None, None))


def test_a_service_that_does_not_end_its_tunnel_does_not_hold_it(start_gateway, raw):
    gateway = start_gateway(routes=[{"prefix": "/", "proxy": "raw"}], upstreams={"raw": raw.port},
                            timeouts={"websocket_idle": "300ms", "close": "300ms"})
    wire, far = open_tunnel(gateway, raw)
    assert read_frame(wire)[0] == CLOSE
    wire.ended()
    far.ended()
    assert eventually(lambda: logged(gateway), "the tunnel is over")[0]["error"] == "websocket_idle"
