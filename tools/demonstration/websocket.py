"""websocket.py: just enough of RFC 6455 for the demonstration, both roles, on a file or socket pair.

It is written apart from the gateway's own engine on purpose: two ends that share a fault would agree on it.
"""
import base64
import hashlib
import os
import struct

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
MESSAGE_BYTES_MAX = 1 << 20


class Ended(Exception):
    """The other side is gone, or broke a rule; `code` is what a close frame should say."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


def accept_value(key):
    """RFC 6455 section 4.2.2: the proof that the other side read this request and speaks WebSocket."""
    return base64.b64encode(hashlib.sha1(key.encode("latin-1") + GUID).digest()).decode()


def frame(opcode, payload=b"", mask=False, fin=True):
    head = bytes([opcode | (0x80 if fin else 0)])
    masked = 0x80 if mask else 0
    if len(payload) < 126:
        head += bytes([len(payload) | masked])
    elif len(payload) < 1 << 16:
        head += bytes([126 | masked]) + struct.pack("!H", len(payload))
    else:
        head += bytes([127 | masked]) + struct.pack("!Q", len(payload))
    if not mask:
        return head + payload
    key = os.urandom(4)
    return head + key + unmask(payload, key)


def unmask(payload, key):
    repeated = key * (len(payload) // 4 + 1)
    return (int.from_bytes(payload, "big") ^ int.from_bytes(repeated[:len(payload)], "big")).to_bytes(len(payload), "big")


def read_exactly(stream, n):
    data = stream.read(n)
    if len(data) < n:
        raise Ended(1006, "the connection ended inside a frame" if data else "the connection ended")
    return data


def read_frame(stream):
    """(opcode, fin, payload) of the next frame."""
    first, second = read_exactly(stream, 2)
    length = second & 0x7F
    if length == 126:
        length, = struct.unpack("!H", read_exactly(stream, 2))
    elif length == 127:
        length, = struct.unpack("!Q", read_exactly(stream, 8))
    if length > MESSAGE_BYTES_MAX:
        raise Ended(1009, f"a frame of {length} bytes is longer than {MESSAGE_BYTES_MAX}")
    key = read_exactly(stream, 4) if second & 0x80 else None
    payload = read_exactly(stream, length)
    return first & 0x0F, bool(first & 0x80), unmask(payload, key) if key else payload


def read_message(stream, answer):
    """(opcode, payload) of the next whole message; pings are answered on the way, by `answer(opcode, payload)`."""
    kind, parts = None, []
    while True:
        opcode, fin, payload = read_frame(stream)
        if opcode == PING:
            answer(PONG, payload)
        elif opcode == CLOSE:
            return CLOSE, payload
        elif opcode != PONG:
            kind = kind or opcode
            parts.append(payload)
            if sum(map(len, parts)) > MESSAGE_BYTES_MAX:
                raise Ended(1009, "the message is too long")
            if fin:
                return kind, b"".join(parts)
