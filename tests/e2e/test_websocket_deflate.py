"""permessage-deflate, the chapters 12 and 13 of the Autobahn suite: by zlib through Python, by python3-websockets, and by hand."""
import asyncio
import json
import random
import zlib

import pytest
import websockets
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from gateway import SLOW, Gateway
from websocket_wire import NOW_CLOSE, open_socket
from wire import BINARY, CLOSE, CONTINUATION, PATIENCE_S, PING, PONG, TEXT, close_code, frame

MESSAGE_BYTES_MAX = 1 << 20
PACKED = 4                                     # RSV1
TAIL = b"\x00\x00\xff\xff"

# What a route offers: (takeover, bits each way).
ROUTES = {"/takeover": (True, 15), "/usual": (False, 12), "/small": (True, 9), "/single": (False, 9)}


@pytest.fixture(scope="module")
def module_gateway(tmp_path_factory, certificates):
    routes = [{"path": "/plain", "serve": "echo"}, {"path": "/threshold", "serve": "echo", "deflate": "true", "deflate_bytes_min": "100"}]
    for path, (takeover, bits) in ROUTES.items():
        routes.append({"path": path, "serve": "echo", "deflate": "true", "deflate_takeover": str(takeover).lower(),
                       "deflate_window_bits": str(bits), "deflate_bytes_min": "0"})
    gateway = Gateway(tmp_path_factory.mktemp("deflate"), certificates, routes=routes,
                      limits={"websocket_message_bytes_max": str(MESSAGE_BYTES_MAX)})
    with gateway.serving():
        yield gateway


@pytest.fixture
def echo(module_gateway):
    yield module_gateway
    module_gateway.at_rest()


def agreed(answer):
    """The parameters of the one extension in the answer; None: there is none."""
    line = answer.get("Sec-WebSocket-Extensions")
    if line is None:
        return None
    name, *parameters = [part.strip() for part in line.split(";")]
    assert name == "permessage-deflate" and "," not in line, line
    found = {key: value for key, _, value in (parameter.partition("=") for parameter in parameters)}
    assert len(found) == len(parameters), f"a parameter twice: {line}"
    return found


class Packer:
    """The client's end. It keeps to what was agreed and to nothing better: a server that goes beyond its window is not understood."""

    def __init__(self, parameters, level=6):
        self.parameters, self.level = parameters, level
        self.out_bits = int(parameters.get("client_max_window_bits", 15))
        self.in_bits = int(parameters.get("server_max_window_bits", 15))
        self.pack, self.unpack = None, None

    def packed(self, payload, flush=zlib.Z_SYNC_FLUSH):
        if self.pack is None or "client_no_context_takeover" in self.parameters:
            # zlib refuses 8 for a raw stream; with 9 it refers back over 250 bytes at most.
            self.pack = zlib.compressobj(self.level, zlib.DEFLATED, -max(self.out_bits, 9))
        data = self.pack.compress(payload) + self.pack.flush(flush)
        return data[:-4] if data else b"\x00"

    def message(self, opcode, payload, size=None):
        """`size`: in fragments of that many packed bytes."""
        data = self.packed(payload)
        size = size or len(data)
        pieces = [data[at:at + size] for at in range(0, len(data), size)]
        return b"".join(frame(CONTINUATION if i else opcode, piece, fin=i == len(pieces) - 1, reserved=0 if i else PACKED)
                        for i, piece in enumerate(pieces))

    def unpacked(self, data):
        if self.unpack is None or "server_no_context_takeover" in self.parameters:
            self.unpack = zlib.decompressobj(-self.in_bits)
        text = self.unpack.decompress(data + TAIL)
        assert not self.unpack.unconsumed_tail
        return text


def read_any(sock):
    """(opcode, fin, reserved bits, payload)."""
    first, second = sock.read(2)
    assert not second & 0x80
    length = second
    if length >= 126:
        length = int.from_bytes(sock.read(2 if length == 126 else 8), "big")
    return first & 15, bool(first & 0x80), first >> 4 & 7, sock.read(length)


def read_message(sock, packer):
    """(opcode, payload, whether it came packed); or (CLOSE, code, False)."""
    opcode, fin, reserved, data = read_any(sock)
    if opcode == CLOSE:
        return CLOSE, close_code(data), False
    assert opcode in (TEXT, BINARY) and reserved in (0, PACKED)
    while not fin:
        more, fin, bits, piece = read_any(sock)
        assert more == CONTINUATION and bits == 0, "the bit stands on the first frame of a message alone"
        data += piece
    return opcode, packer.unpacked(data) if reserved else data, bool(reserved)


def open_deflate(gateway, tls, path, offer="permessage-deflate"):
    sock, answer = open_socket(gateway, tls, path, [("Sec-WebSocket-Extensions", offer)])
    parameters = agreed(answer)
    return sock, parameters, Packer(parameters or {})


def json_like(size, seed=0):
    dice = random.Random(seed)
    text = "".join(f'{{"patient":"P-{dice.randrange(10**6):06}","visit":{dice.randrange(40)},"value":{dice.random():.4f},"unit":"mmol/l"}},'
                   for _ in range(size // 60 + 1))
    return text[:size].encode()


# ---- 13 the parameters -------------------------------------------------------------------------------


def offers():
    """All that RFC 7692 lets a client say: 2 × 2 × 9 × 10."""
    for server_no in ("", "; server_no_context_takeover"):
        for client_no in ("", "; client_no_context_takeover"):
            for server_bits in [None, *range(8, 16)]:
                for client_bits in [None, "", *range(8, 16)]:
                    yield ("permessage-deflate" + server_no + client_no
                           + ("" if server_bits is None else f"; server_max_window_bits={server_bits}")
                           + ("" if client_bits is None else "; client_max_window_bits" + (f"={client_bits}" if client_bits else "")),
                           bool(server_no), bool(client_no), server_bits, client_bits)


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("tls", [False, True])
def test_13_every_combination_of_parameters_is_kept(echo, tls, path):
    takeover, bits = ROUTES[path]
    messages = [json_like(700), json_like(700), b"", json_like(3000, 1), random.Random(1).randbytes(500)]
    for number, (offer, server_no, client_no, server_bits, client_bits) in enumerate(offers()):
        if tls and number % 13:                # TLS changes nothing here; a sample shows it
            continue
        sock, parameters, packer = open_deflate(echo, tls, path, offer)
        assert parameters is not None, offer
        # RFC 7692 §7.1: what was asked for is promised, and nothing is asked of a client that did not offer it.
        assert not server_no or "server_no_context_takeover" in parameters, offer
        assert ("server_no_context_takeover" in parameters) == (server_no or not takeover), offer
        assert ("client_no_context_takeover" in parameters) == (client_no or not takeover), offer
        assert ("server_max_window_bits" in parameters) == (server_bits is not None), offer
        assert ("client_max_window_bits" in parameters) == (client_bits is not None), offer
        if server_bits is not None:
            assert int(parameters["server_max_window_bits"]) == min(server_bits, bits), offer
        if client_bits is not None:
            assert int(parameters["client_max_window_bits"]) == min(client_bits or 15, bits), offer
        packer.in_bits = min(packer.in_bits, bits)         # ours keeps the smaller window without a word
        for data in messages:
            sock.send(packer.message(BINARY, data))
            assert read_message(sock, packer)[:2] == (BINARY, data), offer
        sock.send(NOW_CLOSE)
        assert read_message(sock, packer) == (CLOSE, 1000, False)
        sock.ended()
        sock.close()


@pytest.mark.parametrize("offer, wanted", [
    ("permessage-deflate; unknown", None), ("permessage-deflate; server_max_window_bits", None),
    ("permessage-deflate; server_max_window_bits=7", None), ("permessage-deflate; server_max_window_bits=16", None),
    ("permessage-deflate; client_max_window_bits=08", None), ("permessage-deflate; server_no_context_takeover=1", None),
    ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", None),
    ("permessage-bzip2", None), ("x-webkit-deflate-frame", None), ("Permessage-Deflate", None),
    ("permessage-deflate; unknown, permessage-deflate", {}),
    ("permessage-deflate; server_max_window_bits=99, permessage-deflate; server_max_window_bits=10", {"server_max_window_bits": "10"}),
    ("permessage-deflate; client_no_context_takeover, permessage-deflate", {"client_no_context_takeover": ""}),
    ('permessage-deflate; server_max_window_bits="10"', {"server_max_window_bits": "10"}),
    (",, foo;bar=baz , permessage-deflate ,", {})])
def test_13_an_offer_that_cannot_be_kept_is_declined_and_the_next_one_looked_at(echo, offer, wanted):
    sock, parameters, packer = open_deflate(echo, False, "/takeover", offer)
    assert parameters == wanted
    sock.send(frame(TEXT, b"plain"))
    assert read_message(sock, packer)[:2] == (TEXT, b"plain")
    if wanted is None:
        sock.send(frame(TEXT, b"x", reserved=PACKED))
        assert read_message(sock, packer) == (CLOSE, 1002, False)


@pytest.mark.parametrize("offer", ["permessage-deflate;", ";", "a b", 'permessage-deflate; x="a', "permessage-deflate; =1", "a/b"])
@pytest.mark.parametrize("path", ["/takeover", "/plain"])
def test_13_what_is_no_list_of_extensions_is_refused(echo, path, offer):
    answer = echo.ask("GET", path, fields=[("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"),
                                           ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), ("Sec-WebSocket-Extensions", offer)])
    assert answer.status == 400 and b"ws_accept_extensions" in answer.body


def test_13_compression_is_off_by_default(echo):
    sock, parameters, packer = open_deflate(echo, False, "/plain")
    assert parameters is None
    sock.send(frame(TEXT, b"x", reserved=PACKED))
    assert read_message(sock, packer) == (CLOSE, 1002, False)


# ---- 12 messages -------------------------------------------------------------------------------------

SIZES = {16: 100, 64: 100, 256: 100, 1 << 10: 50, 4 << 10: 20, 8 << 10: 20, 16 << 10: 10, 32 << 10: 5, 64 << 10: 5, 128 << 10: 3, 1 << 20: 1}


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("kind", ["json", "noise", "zeroes"])
def test_12_messages_of_every_size_come_back(echo, tls, path, kind):
    sock, parameters, packer = open_deflate(echo, tls, path, "permessage-deflate; client_max_window_bits")
    packer.in_bits = min(packer.in_bits, ROUTES[path][1])
    for size, count in SIZES.items():
        for turn in range(count):
            data = {"json": json_like, "noise": lambda n, seed: random.Random(seed).randbytes(n), "zeroes": lambda n, _: bytes(n)}[kind](size, turn)
            opcode = TEXT if kind == "json" else BINARY
            # 12.1.11 and on: in fragments of 256 packed bytes.
            sock.send(packer.message(opcode, data, 256 if turn % 2 else None))
            got, back, packed = read_message(sock, packer)
            assert (got, back == data) == (opcode, True), f"{size} bytes, message {turn}"
            if kind != "noise" and size >= 256:
                assert packed, "what becomes smaller is sent so"
    sock.send(NOW_CLOSE)
    assert read_message(sock, packer) == (CLOSE, 1000, False)
    sock.ended()


def test_12_a_message_is_packed_where_it_pays(echo):
    sock, _, packer = open_deflate(echo, False, "/threshold")
    for data, wanted in ((b"a" * 99, False), (b"a" * 100, True), (random.Random(5).randbytes(1000), False), (b"", False)):
        sock.send(packer.message(BINARY, data))
        assert read_message(sock, packer) == (BINARY, data, wanted)
        sock.send(frame(BINARY, data))         # and how it came makes no difference
        assert read_message(sock, packer) == (BINARY, data, wanted)


@pytest.mark.parametrize("tls", [False, True])
def test_12_control_frames_are_never_packed(echo, tls):
    sock, _, packer = open_deflate(echo, tls, "/usual")
    whole = packer.message(TEXT, json_like(2000), 300)
    cut = len(frame(TEXT, b"x" * 300))
    sock.send(whole[:cut] + frame(PING, b"a" * 125) + whole[cut:])
    data, pongs, fin = b"", 0, False
    while not fin:
        opcode, end, reserved, payload = read_any(sock)
        if opcode == PONG:
            assert (reserved, payload) == (0, b"a" * 125)
            pongs += 1
        else:
            data, fin = data + payload, end
    assert packer.unpacked(data) == json_like(2000) and pongs == 1


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE, CONTINUATION])
def test_12_the_bit_on_any_other_frame_is_refused(echo, opcode):
    sock, _, packer = open_deflate(echo, False, "/takeover")
    if opcode == CONTINUATION:
        sock.send(frame(TEXT, packer.packed(b"begun"), fin=False, reserved=PACKED))
    sock.send(frame(opcode, b"", reserved=PACKED))
    opcode, _, _, payload = read_any(sock)
    while opcode != CLOSE:                     # what was begun is echoed as it comes
        opcode, _, _, payload = read_any(sock)
    assert close_code(payload) == 1002


@pytest.mark.parametrize("data, text", [
    (b"\xf2\x48\xcd\xc9\xc9\x07\x00", b"Hello"), (b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", b"Hello"),
    (b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", b"Hello"), (b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", b"Hello"), (b"\x00", b"")])
@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("path", ["/takeover", "/usual"])
def test_12_the_examples_of_the_standard(echo, path, size, data, text):
    sock, _, packer = open_deflate(echo, False, path)
    pieces = [data[at:at + size] for at in range(0, len(data), size)]
    for i, piece in enumerate(pieces):
        sock.send(frame(CONTINUATION if i else TEXT, piece, fin=i == len(pieces) - 1, reserved=0 if i else PACKED))
    assert read_message(sock, packer)[:2] == (TEXT, text)


BROKEN = {
    "no deflate": (TEXT, b"\xff\xff\xff", 1007), "empty": (TEXT, b"", 1007), "a cut symbol": (TEXT, b"\xf2\x48\xcd", 1007),
    "a cut block that stores": (TEXT, b"\x00\x05\x00\xfa\xffHe", 1007), "too far back": (TEXT, b"\x02\x13", 1007),
    "no utf-8 when unpacked": (TEXT, b"\x00\x03\x00\xfc\xff\xed\xa0\x80\x00", 1007),
    "half a character when unpacked": (TEXT, b"\x00\x02\x00\xfd\xff\xe6\x82\x00", 1007),
}


@pytest.mark.parametrize("opcode, data, code", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("path", ["/takeover", "/usual"])
def test_12_what_cannot_be_unpacked_is_refused(echo, path, opcode, data, code):
    sock, _, packer = open_deflate(echo, False, path)
    sock.send(frame(opcode, data, reserved=PACKED))
    assert read_message(sock, packer) == (CLOSE, code, False)
    sock.gone()


# ---- bombs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True])
def test_a_bomb_ends_at_its_bound_and_costs_little(echo, tls):
    """1000:1, a hundred at once: each unpacks to 64 MiB, and none holds more than a chunk and a window."""
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = frame(BINARY, (bomb.compress(bytes(64 << 20)) + bomb.flush(zlib.Z_SYNC_FLUSH))[:-4], reserved=PACKED)
    before = echo.memory_kib()
    sockets = [open_deflate(echo, tls, "/usual")[0] for _ in range(100)]
    for sock in sockets:
        sock.send(data)
    for sock in sockets:
        opcode = None
        while opcode != CLOSE:
            opcode, _, _, payload = read_any(sock)
        assert close_code(payload) == 1009
        sock.gone()
        sock.close()
    assert echo.memory_kib() - before < 100 * 256 * SLOW, "a hundred times a pipe, a chunk and a window"


@pytest.mark.parametrize("path, least, most", [("/takeover", 200_000, 330_000), ("/usual", 0, 10_000)])
def test_what_a_socket_keeps_for_packing_is_told_as_held(echo, path, least, most):
    sock, _, packer = open_deflate(echo, False, path)
    sock.send(packer.message(TEXT, json_like(700)))
    assert read_message(sock, packer)[1] == json_like(700)
    scopes = [scope for scope in json.loads(echo.admin_text("/scopes?full"))["scopes"] if scope["step"] == "echo"]
    assert len(scopes) == 1 and least <= scopes[0]["bytes_held"] <= most, scopes
    sock.send(NOW_CLOSE)
    sock.wire.sock.close()


def test_a_bomb_within_the_bound_is_a_message(echo):
    sock, _, packer = open_deflate(echo, False, "/usual")
    sock.send(packer.message(BINARY, bytes(MESSAGE_BYTES_MAX)))
    assert read_message(sock, packer)[:2] == (BINARY, bytes(MESSAGE_BYTES_MAX))
    sock.send(packer.message(BINARY, bytes(MESSAGE_BYTES_MAX + 1)))
    opcode = None
    while opcode != CLOSE:
        opcode, _, _, payload = read_any(sock)
    assert close_code(payload) == 1009


# ---- a client that we did not write ------------------------------------------------------------------

FACTORIES = [
    {}, {"server_no_context_takeover": True}, {"client_no_context_takeover": True}, {"server_max_window_bits": 9},
    {"client_max_window_bits": 9}, {"client_max_window_bits": True}, {"server_max_window_bits": 8, "client_max_window_bits": 10},
    {"server_no_context_takeover": True, "client_no_context_takeover": True, "server_max_window_bits": 15, "client_max_window_bits": 15},
]


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("path", ROUTES)
def test_python_websockets_agrees_and_is_understood(echo, tls, path):
    async def talk(factory):
        context = {"ssl": echo.certificates.context()} if tls else {}
        address = f"wss://localhost:{echo.tls_port}{path}" if tls else f"ws://127.0.0.1:{echo.port}{path}"
        async with websockets.connect(address, max_size=None, ping_interval=None, compression=None,
                                      extensions=[ClientPerMessageDeflateFactory(**factory)], **context) as sock:
            assert [extension.name for extension in sock.extensions] == ["permessage-deflate"], factory
            for size in (0, 1, 100, 5000, 70_000, 300_000):
                text = json_like(size, size).decode()
                await sock.send(text)
                assert await sock.recv() == text, factory
                await sock.send([text[:size // 2], text[size // 2:], ""])
                assert await sock.recv() == text, factory
            await asyncio.wait_for(await sock.ping(b"alive"), PATIENCE_S)

    async def run():
        for factory in FACTORIES:
            await talk(factory)

    asyncio.run(asyncio.wait_for(run(), PATIENCE_S * SLOW))


def test_compression_is_declined_when_its_memory_is_promised(start_gateway):
    gateway = start_gateway(cores=1, routes=[{"path": "/echo", "serve": "echo", "deflate": "true"}], limits={"deflate_bytes_max": "200k"})
    socks = []
    for number in range(4):
        sock, answer = open_socket(gateway, False, "/echo", [("Sec-WebSocket-Extensions", "permessage-deflate")])
        assert (agreed(answer) is not None) == (number < 2), "each takes some 82 kB at most"
        socks.append(sock)
    assert gateway.total()["websockets"]["deflate_declined"] == 2
    for sock in socks[1:]:
        sock.send(frame(TEXT, b"still an echo") + NOW_CLOSE)
        assert ("text", b"still an echo") in sock.transcript()
        sock.close()
    # What one gave back another has.
    sock, answer = open_socket(gateway, False, "/echo", [("Sec-WebSocket-Extensions", "permessage-deflate")])
    assert agreed(answer) is not None
    sock.close()
    socks[0].close()
