"""What the Autobahn suite asks of a WebSocket server, in its chapters 1 to 7, 9 and 10, asked by hand of /echo. All of it strict.

A case is what a client sends and what he must be told, in this order, to the end of the connection: messages put together from
their fragments, pongs, the Close with its code. The chapters are Autobahn's, so that a case is found again there."""
import random

import pytest

from gateway import Gateway
from websocket_wire import NAMES, NOW_CLOSE, fragments, good, open_socket
from wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame, read_frame

MESSAGE_BYTES_MAX = 4 << 20


@pytest.fixture(scope="module")
def module_gateway(tmp_path_factory, certificates):
    gateway = Gateway(tmp_path_factory.mktemp("conformance"), certificates, routes=[{"path": "/echo", "serve": "echo"}],
                      limits={"websocket_message_bytes_max": MESSAGE_BYTES_MAX})
    with gateway.serving():
        yield gateway


@pytest.fixture
def echo(module_gateway):
    yield module_gateway
    module_gateway.at_rest()


def run_case(gateway, tls, data, wanted, chop=None):
    sock, _ = open_socket(gateway, tls)
    sock.send(data, chop)
    events = sock.transcript()
    # An answered Close is the end in good order; after a broken rule the client may be sending still.
    sock.ended() if wanted[-1] == ("close", 1000) else sock.gone()
    sock.close()
    assert events == wanted, f"{str(events)[:400]} instead of {str(wanted)[:400]}"


def run_cases(gateway, tls, cases):
    """All, so that one failure does not hide the others."""
    failed = []
    for name, case in cases.items():
        try:
            run_case(gateway, tls, *case)
        except (AssertionError, OSError) as error:
            failed.append(f"{name}: {error!r}")
    assert not failed, "\n".join(failed)


# ---- 1 framing ---------------------------------------------------------------------------------------


def framing():
    for chapter, opcode, letter in ((1, TEXT, b"*"), (2, BINARY, b"\xfe")):
        for number, (size, chop) in enumerate(((0, None), (125, None), (126, None), (127, None), (128, None), (65535, None),
                                               (65536, None), (65536, 997)), 1):
            data = letter * size
            yield f"1.{chapter}.{number}", (frame(opcode, data) + NOW_CLOSE, good((NAMES[opcode], data)), chop)


# ---- 2 pings and pongs -------------------------------------------------------------------------------


def pings():
    binary = b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"
    ten = [b"payload-%d" % i for i in range(10)]
    yield "2.1", (frame(PING) + NOW_CLOSE, good(("pong", b"")))
    yield "2.2", (frame(PING, b"Hello, world!") + NOW_CLOSE, good(("pong", b"Hello, world!")))
    yield "2.3", (frame(PING, binary) + NOW_CLOSE, good(("pong", binary)))
    yield "2.4", (frame(PING, b"\xfe" * 125) + NOW_CLOSE, good(("pong", b"\xfe" * 125)))
    yield "2.5", (frame(PING, b"\xfe" * 126) + NOW_CLOSE, [("close", 1002)])
    yield "2.6", (frame(PING, b"\xfe" * 125) + NOW_CLOSE, good(("pong", b"\xfe" * 125)), 1)
    yield "2.7", (frame(PONG) + NOW_CLOSE, good())
    yield "2.8", (frame(PONG, b"unsolicited pong payload") + NOW_CLOSE, good())
    yield "2.9", (frame(PONG, b"unsolicited pong payload") + frame(PING, b"ping payload") + NOW_CLOSE, good(("pong", b"ping payload")))
    for number, chop in ((10, None), (11, 1)):
        yield f"2.{number}", (b"".join(frame(PING, payload) for payload in ten) + NOW_CLOSE,
                              good(*(("pong", payload) for payload in ten)), chop)


# ---- 3 reserved bits ---------------------------------------------------------------------------------


def reserved_bits():
    hello, echoed, failed = frame(TEXT, b"Hello, world!"), ("text", b"Hello, world!"), ("close", 1002)
    for number, (opcode, bits, chop) in enumerate(((TEXT, 1, None), (TEXT, 2, None), (TEXT, 3, 19), (TEXT, 4, 1), (BINARY, 5, None),
                                                   (PING, 6, None), (CLOSE, 7, None)), 1):
        bad = frame(opcode, b"\x03\xe8" if opcode == CLOSE else b"Hello, world!", reserved=bits)
        yield f"3.{number}", (bad + frame(PING), [failed], chop)
        yield f"3.{number} behind a message", (hello + bad + frame(PING), [echoed, failed], chop)
    for opcode in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
        for bits in range(1, 8):
            yield f"3 opcode {opcode} bits {bits}", (frame(opcode, reserved=bits), [failed])


# ---- 4 opcodes ---------------------------------------------------------------------------------------


def opcodes():
    hello, echoed, failed = frame(TEXT, b"Hello, world!"), ("text", b"Hello, world!"), ("close", 1002)
    for chapter, first in ((1, 3), (2, 11)):
        for number in range(1, 6):
            opcode = first + number - 1
            payload = b"reserved" if number % 2 == 0 else b""
            yield f"4.{chapter}.{number}", (frame(opcode, payload) + frame(PING), [failed])
            yield f"4.{chapter}.{number} behind a message", (hello + frame(opcode, payload) + hello, [echoed, failed])
            yield f"4.{chapter}.{number} octet-wise", (hello + frame(opcode, payload), [echoed, failed], 1)


# ---- 5 fragmentation ---------------------------------------------------------------------------------


def fragmentation():
    one, two = frame(TEXT, b"fragment1", fin=False), frame(CONTINUATION, b"fragment2")
    whole, failed = ("text", b"fragment1fragment2"), ("close", 1002)
    alone, hello, echoed = b"non-continuation payload", frame(TEXT, b"Hello, world!"), ("text", b"Hello, world!")
    yield "5.1", (frame(PING, b"fragment1", fin=False) + frame(CONTINUATION, b"fragment2"), [failed])
    yield "5.2", (frame(PONG, b"fragment1", fin=False) + frame(CONTINUATION, b"fragment2"), [failed])
    for number, chop in ((3, None), (4, 15), (5, 1)):
        yield f"5.{number}", (one + two + NOW_CLOSE, good(whole), chop)
    for number, chop in ((6, None), (7, 15), (8, 1)):
        # The echo streams: a fragment is answered when it comes, and the pong's place is between two of them.
        yield f"5.{number}", (one + frame(PING, b"ping payload") + two + NOW_CLOSE, good(("pong", b"ping payload"), whole), chop)
    for number, (fin, chop) in enumerate(((True, None), (True, 30), (True, 1), (False, None), (False, 30), (False, 1)), 9):
        yield f"5.{number}", (frame(CONTINUATION, alone, fin=fin) + hello, [failed], chop)
    yield "5.15", (one + two + frame(CONTINUATION, alone, fin=False) + hello, [whole, failed])
    yield "5.16", ((frame(CONTINUATION, alone, fin=False) + hello) * 2, [failed])
    yield "5.17", ((frame(CONTINUATION, alone) + hello) * 2, [failed])
    yield "5.18", (one + frame(TEXT, b"fragment2"), [failed])
    parts = [frame(TEXT, b"fragment1", fin=False), frame(CONTINUATION, b"fragment2", fin=False), frame(PING, b"pongme 1!"),
             frame(CONTINUATION, b"fragment3", fin=False), frame(CONTINUATION, b"fragment4", fin=False), frame(PING, b"pongme 2!"),
             frame(CONTINUATION, b"fragment5")]
    five = good(("pong", b"pongme 1!"), ("pong", b"pongme 2!"), ("text", b"fragment1fragment2fragment3fragment4fragment5"))
    yield "5.19", (b"".join(parts) + NOW_CLOSE, five, 15)
    yield "5.20", (b"".join(parts) + NOW_CLOSE, five)
    yield "5 a close between fragments", (one + NOW_CLOSE + two, good())
    yield "5 a message behind a fragmented one", (one + two + hello + NOW_CLOSE, good(whole, echoed))
    yield "5 a binary message inside a text", (one + frame(BINARY, b""), [failed])
    yield "5 all fragments empty", (frame(BINARY, fin=False) + frame(CONTINUATION, fin=False) * 20 + frame(CONTINUATION) + NOW_CLOSE,
                                    good(("binary", b"")))


# ---- 6 UTF-8 -----------------------------------------------------------------------------------------

KOSME = "Hello-µ@ßöäüàá-UTF-8!!".encode()
GREEK = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"

# After Markus Kuhn's stress test, which Autobahn's 6.5 to 6.23 follow.
VALID = {
    "6.5": [GREEK], "6.7 first of each length": [b"\x00", b"\xc2\x80", b"\xe0\xa0\x80", b"\xf0\x90\x80\x80"],
    "6.9 last of each length": [b"\x7f", b"\xdf\xbf", b"\xef\xbf\xbf", b"\xf4\x8f\xbf\xbf"],
    "6.11 other boundaries": [b"\xed\x9f\xbf", b"\xee\x80\x80", b"\xef\xbf\xbd", b"\xf4\x8f\xbf\xbf"],
    "6.22 non-characters": [chr(plane << 16 | low).encode() for plane in range(17) for low in (0xFFFE, 0xFFFF)],
    "6.23 specials": [chr(0xFFF0 + i).encode() for i in range(14)],
}
INVALID = {
    "6.6 beginnings": [GREEK[:n] for n in (1, 3, 4, 6, 8, 10)],
    "6.8 first of five and six bytes": [b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"],
    "6.10 last beyond": [b"\xf7\xbf\xbf\xbf", b"\xfb\xbf\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf\xbf"],
    "6.11 above": [b"\xf4\x90\x80\x80"],
    "6.12 lone continuations": [b"\x80", b"\xbf", b"\x80\xbf", b"\x80\xbf\x80", bytes(range(0x80, 0xC0))],
    "6.13 lone starts": [b"".join(bytes([c, 0x20]) for c in span) for span in
                         (range(0xC0, 0xE0), range(0xE0, 0xF0), range(0xF0, 0xF8), range(0xF8, 0xFC), range(0xFC, 0xFE))],
    "6.14 last byte missing": [b"\xc0", b"\xe0\x80", b"\xf0\x80\x80", b"\xf8\x80\x80\x80", b"\xdf", b"\xef\xbf", b"\xf7\xbf\xbf"],
    "6.15": [b"\xc0\xe0\x80\xf0\x80\x80\xf8\x80\x80\x80\xfc\x80\x80\x80\x80\xdf\xef\xbf\xf7\xbf\xbf\xfb\xbf\xbf\xbf\xfd\xbf\xbf\xbf\xbf"],
    "6.16 impossible bytes": [b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"],
    "6.17 overlong slash": [b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xf8\x80\x80\x80\xaf", b"\xfc\x80\x80\x80\x80\xaf"],
    "6.18 overlong maximum": [b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"\xf8\x87\xbf\xbf\xbf", b"\xfc\x83\xbf\xbf\xbf\xbf"],
    "6.19 overlong zero": [b"\xc0\x80", b"\xe0\x80\x80", b"\xf0\x80\x80\x80", b"\xf8\x80\x80\x80\x80", b"\xfc\x80\x80\x80\x80\x80"],
    "6.20 single surrogates": [b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xae\x80", b"\xed\xaf\xbf", b"\xed\xb0\x80", b"\xed\xbe\x80",
                               b"\xed\xbf\xbf"],
    "6.21 paired surrogates": [high + low for high in (b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xae\x80", b"\xed\xaf\xbf")
                               for low in (b"\xed\xb0\x80", b"\xed\xbf\xbf")],
}


def is_utf8(data):
    try:
        data.decode()
        return True
    except UnicodeDecodeError:
        return False


def bad_at(data):
    """The index of the first byte that no UTF-8 can have there; the length where only the end comes too early. Not by a decoder:
    a beginning is good when some continuation makes text of it."""
    ends = [b""] + [bytes(e) for n in (1, 2, 3) for e in ([0x80] * n, [0xBF] * n, [0x90] + [0x80] * (n - 1), [0x8F] * n, [0x9F] * n, [0xA0] * n)]
    for n in range(1, len(data) + 1):
        if not any(is_utf8(data[:n] + end) for end in ends):
            return n - 1
    return len(data)


def utf8():
    yield "6.1.1", (frame(TEXT) + NOW_CLOSE, good(("text", b"")))
    yield "6.1.2", (frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) + frame(CONTINUATION) + NOW_CLOSE, good(("text", b"")))
    yield "6.1.3", (frame(TEXT, fin=False) + frame(CONTINUATION, b"middle frame payload", fin=False) + frame(CONTINUATION) + NOW_CLOSE,
                    good(("text", b"middle frame payload")))
    yield "6.2.1", (frame(TEXT, KOSME) + NOW_CLOSE, good(("text", KOSME)))
    yield "6.2.2", (fragments(TEXT, KOSME, 12) + NOW_CLOSE, good(("text", KOSME)))
    yield "6.2.3", (fragments(TEXT, KOSME, 1) + NOW_CLOSE, good(("text", KOSME)))
    yield "6.2.4", (fragments(TEXT, GREEK, 1) + NOW_CLOSE, good(("text", GREEK)))
    for chapter, texts in VALID.items():
        for number, text in enumerate(texts, 1):
            yield f"{chapter} ({number})", (frame(TEXT, text) + fragments(TEXT, text, 1) + NOW_CLOSE, good(("text", text), ("text", text)))


def refused_texts():
    for chapter, texts in INVALID.items():
        for number, text in enumerate(texts, 1):
            yield f"{chapter} ({number})", text
    yield "6.3", GREEK + b"\xed\xa0\x80edited"
    yield "6.4", GREEK + b"\xf4\x90\x80\x80edited"


@pytest.mark.parametrize("tls", [False, True])
def test_6_text_that_is_none_is_refused_at_its_very_byte(echo, tls):
    """All bytes before the first impossible one are no fault: a ping behind them is answered. That one byte is, though its frame goes on."""
    failed = []
    for name, text in refused_texts():
        at = bad_at(text)
        for cut in {"whole", "frame", "fragment"}:
            sock, _ = open_socket(echo, tls)
            if cut == "whole":
                sock.send(frame(TEXT, text) + frame(PING, b"behind"))
            elif at == len(text):              # only its end comes too early
                sock.send(frame(TEXT, text, fin=False) + frame(PING, b"good so far"))
                expect_pong(sock)
                sock.send(frame(CONTINUATION) if cut == "fragment" else frame(CONTINUATION, b"!"))
            elif cut == "fragment":            # 6.4.1 and 6.4.2
                sock.send(frame(TEXT, text[:at], fin=False) + frame(PING, b"good so far"))
                expect_pong(sock)
                sock.send(frame(CONTINUATION, text[at:at + 1], fin=False))
            else:                              # 6.4.3 and 6.4.4: the rest of the frame never comes
                sock.send(frame(TEXT, b"", fin=False) + frame(PING, b"good so far"))
                expect_pong(sock)
                sock.send(frame(CONTINUATION, text[:at + 1], length=len(text) + 1000))
            while (event := sock.event())[0] in ("text",):
                failed.append(f"{name}, {cut}: {event} was told as if it were a message")
            if event != ("close", 1007):
                failed.append(f"{name}, {cut}: {event}")
            sock.gone()
            sock.close()
    assert not failed, "\n".join(failed)


def expect_pong(sock):
    """Fragments of the echo may come before it."""
    while (got := read_frame(sock))[0] != PONG:
        assert got[0] in (TEXT, CONTINUATION) and not got[1], f"{got} instead of a pong"
    assert got == (PONG, True, b"good so far")


def test_the_oracle_of_the_very_byte_is_right():
    assert [bad_at(data) for data in (b"\xed\xa0", b"\xed\x9f", b"\xf4\x90", b"\xf4\x8f\xbf", b"\xe0\x9f", b"\xf0\x8f", b"a\xc0", b"\xf5", b"\xc2 ")] \
        == [1, 2, 1, 3, 1, 1, 1, 0, 1]


# ---- 7 the closing handshake -------------------------------------------------------------------------


def closing():
    hello, echoed = frame(TEXT, b"Hello World!"), ("text", b"Hello World!")
    large = b"BAsd7&jh23" * 26214
    yield "7.1.1", (hello + NOW_CLOSE, good(echoed))
    yield "7.1.2", (NOW_CLOSE + NOW_CLOSE, good())
    yield "7.1.3", (NOW_CLOSE + frame(PING), good())
    yield "7.1.4", (NOW_CLOSE + hello, good())
    yield "7.1.6", (frame(TEXT, large) + hello + NOW_CLOSE + frame(PING), good(("text", large), echoed))
    yield "7.3.1", (frame(CLOSE), [("close", None)])
    yield "7.3.2", (frame(CLOSE, b"a"), [("close", 1002)])
    yield "7.3.3", (frame(CLOSE, b"\x03\xe8"), good())
    yield "7.3.4", (frame(CLOSE, b"\x03\xe8Hello World!"), good())
    yield "7.3.5", (frame(CLOSE, b"\x03\xe8" + b"*" * 123), good())
    yield "7.3.6", (frame(CLOSE, b"\x03\xe8" + b"*" * 124), [("close", 1002)])
    yield "7.5.1", (frame(CLOSE, b"\x03\xe8" + GREEK + b"\xed\xa0\x80edited"), [("close", 1007)])
    for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999):
        yield f"7.7 {code}", (frame(CLOSE, code.to_bytes(2, "big")), [("close", code)])
    for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
        yield f"7.9 and 7.13 {code}", (frame(CLOSE, code.to_bytes(2, "big")), [("close", 1002)])


CHAPTERS = {"1 framing": framing, "2 pings": pings, "3 reserved bits": reserved_bits, "4 opcodes": opcodes,
            "5 fragmentation": fragmentation, "6 UTF-8": utf8, "7 closing": closing}


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("chapter", CHAPTERS.values(), ids=CHAPTERS.keys())
def test_chapter(echo, tls, chapter):
    cases = dict(chapter())
    assert len(cases) > 10, "an empty chapter would be green"
    run_cases(echo, tls, cases)


# ---- 9 and 10 limits ---------------------------------------------------------------------------------


def noise(size):
    """The same each time, and every byte occurs."""
    return random.Random(size).randbytes(size)


def large():
    for chapter, opcode in ((1, TEXT), (2, BINARY)):
        for number, size in enumerate((64 << 10, 256 << 10, 1 << 20, MESSAGE_BYTES_MAX), 1):
            data = b"*" * size if opcode == TEXT else noise(size)
            yield f"9.{chapter}.{number}", (frame(opcode, data) + NOW_CLOSE, good((NAMES[opcode], data)))
    for chapter, opcode in ((3, TEXT), (4, BINARY)):
        data = b"+" * (1 << 20) if opcode == TEXT else noise(1 << 20)
        for number, size in enumerate((64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20), 1):
            yield f"9.{chapter}.{number}", (fragments(opcode, data, size) + NOW_CLOSE, good((NAMES[opcode], data)))
    for chapter, opcode in ((5, TEXT), (6, BINARY)):
        data = b"-" * (256 << 10) if opcode == TEXT else noise(256 << 10)
        for number, chop in enumerate((64, 128, 256, 512, 1024, 2048), 1):
            yield f"9.{chapter}.{number}", (frame(opcode, data) + NOW_CLOSE, good((NAMES[opcode], data)), chop)
    yield "9 one byte too many", (frame(BINARY, b"", length=MESSAGE_BYTES_MAX + 1), [("close", 1009)])
    data = b"x" * 65536
    yield "10.1.1", (fragments(TEXT, data, 1300) + NOW_CLOSE, good(("text", data)))


@pytest.mark.parametrize("tls", [False, True])
def test_9_and_10_large_messages(echo, tls):
    run_cases(echo, tls, dict(large()))


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("opcode", [TEXT, BINARY], ids=["9.7", "9.8"])
def test_9_many_messages_one_after_the_other(echo, tls, opcode):
    sock, _ = open_socket(echo, tls)
    for size in (0, 16, 64, 256, 1024, 4096):
        data = b"*" * size
        for _ in range(200):
            sock.send(frame(opcode, data))
            assert sock.event() == (NAMES[opcode], data)
    sock.send(NOW_CLOSE)
    assert sock.transcript() == good()
    sock.ended()


@pytest.mark.parametrize("tls", [False, True])
def test_7_1_5_a_close_inside_a_fragmented_message_ends_it(echo, tls):
    sock, _ = open_socket(echo, tls)
    sock.send(frame(TEXT, b"fragment1", fin=False) + NOW_CLOSE + frame(CONTINUATION, b"fragment2"))
    while (got := read_frame(sock))[0] != CLOSE:
        assert got == (TEXT, False, b"fragment1")
    assert got == (CLOSE, True, b"\x03\xe8")
    sock.ended()


# ---- limits ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True])
def test_frames_and_fragments_have_limits_of_their_own(start_gateway, tls):
    gateway = start_gateway(routes=[{"path": "/echo", "serve": "echo"}],
                            limits={"websocket_frame_bytes_max": 1000, "websocket_small_fragments_max": 10})
    run_cases(gateway, tls, {
        "the largest frame": (frame(BINARY, bytes(1000)) + NOW_CLOSE, good(("binary", bytes(1000)))),
        "one byte more": (frame(BINARY, bytes(1001)), [("close", 1009)]),
        "a large message of small frames": (fragments(BINARY, bytes(5000), 100) + NOW_CLOSE, good(("binary", bytes(5000)))),
        "as many small fragments as may be": (fragments(BINARY, bytes(11), 1) + NOW_CLOSE, good(("binary", bytes(11)))),
        "one more": (fragments(BINARY, bytes(12), 1), [("close", 1008)]),
        "empty ones": (frame(TEXT, b"", fin=False) + 10 * frame(CONTINUATION, b"", fin=False), [("close", 1008)]),
    })
