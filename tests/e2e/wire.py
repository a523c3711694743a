"""wire.py: bytes on sockets, exactly as a test wants them: a client, and the same for the far end of the gateway.

Nothing here helps or repairs: what is sent is what was written, and what is parsed is refused when it is not right.
"""
import base64
import os
import re
import select
import socket
import ssl
import struct

PATIENCE_S = float(os.environ.get("POSTERN_TEST_PATIENCE", "20"))


class Closed(AssertionError):
    """The connection ended, cleanly, before what was waited for had come."""


class Message:
    """A parsed head, with its body when that was read; fields keep their order and their spelling."""

    def __init__(self, head):
        lines = head.decode("latin-1").split("\r\n")
        self.start = lines[0]
        self.fields = []
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            assert colon and re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name), f"not a field: {line!r}"
            self.fields.append((name, value.strip(" \t")))
        self.body = b""
        self.trailers = []

    def all(self, name):
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def get(self, name):
        """The one value of this field, or None; twice is a fault where one is expected."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} stands {len(values)} times: {values}"
        return values[0] if values else None

    def __repr__(self):
        return f"<{self.start} {self.fields} {self.body[:200]!r}>"


class Response(Message):
    def __init__(self, head):
        super().__init__(head)
        match = re.fullmatch(r"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: (.*))?", self.start)
        assert match, f"not a status line: {self.start!r}"
        self.version, self.status, self.reason = int(match[1]), int(match[2]), match[3]


class Request(Message):
    def __init__(self, head):
        super().__init__(head)
        match = re.fullmatch(r"([A-Z]+) (\S+) HTTP/1\.([01])", self.start)
        assert match, f"not a request line: {self.start!r}"
        self.method, self.target, self.version = match[1], match[2], int(match[3])


class Wire:
    """A connected socket with a read buffer. Every wait ends after PATIENCE_S with an exception."""

    def __init__(self, sock):
        self.sock = sock
        self.sock.settimeout(PATIENCE_S)
        self.buffer = b""

    def send(self, data):
        self.sock.sendall(data)

    def fill(self):
        """Reads some more. False at the end of the stream."""
        more = self.sock.recv(1 << 18)
        self.buffer += more
        return bool(more)

    def read(self, n):
        # In pieces: a buffer that grows by 16 KiB at a time would be copied a thousand times for a large body.
        pieces, self.buffer = [self.buffer[:n]], self.buffer[n:]
        left = n - len(pieces[0])
        while left > 0:
            piece = self.sock.recv(min(left, 1 << 18))
            if not piece:
                raise Closed(f"ended after {n - left} of {n} bytes: {b''.join(pieces)[:200]!r}")
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def read_until(self, mark):
        while mark not in self.buffer:
            if not self.fill():
                raise Closed(f"ended before {mark!r}: {self.buffer[:200]!r}")
        data, _, self.buffer = self.buffer.partition(mark)
        return data

    def read_all(self):
        pieces, self.buffer = [self.buffer], b""
        while piece := self.sock.recv(1 << 18):
            pieces.append(piece)
        return b"".join(pieces)

    def read_body(self, message, bodiless=False):
        coding, length = message.get("Transfer-Encoding"), message.get("Content-Length")
        assert coding is None or length is None, f"two lengths: {message}"
        if bodiless:
            return
        if coding is not None:
            assert coding.lower() == "chunked", f"an unknown coding: {coding}"
            message.body, message.trailers = self.read_chunked()
        elif length is not None:
            message.body = self.read(int(length))
        elif isinstance(message, Response):
            message.body = self.read_all()

    def read_chunked(self):
        pieces = []
        while True:
            size = self.read_until(b"\r\n")
            assert re.fullmatch(rb"[0-9A-Fa-f]{1,16}", size), f"not a chunk size: {size!r}"
            if int(size, 16) == 0:
                break
            pieces.append(self.read(int(size, 16)))
            assert self.read(2) == b"\r\n", "no line end behind a chunk"
        trailers = []
        while line := self.read_until(b"\r\n"):
            trailers.append(tuple(part.strip() for part in line.decode("latin-1").split(":", 1)))
        return b"".join(pieces), trailers

    def response(self, head_only=False, interim=False):
        """The next final response, with its body; an interim one only when it is asked for."""
        while True:
            answer = Response(self.read_until(b"\r\n\r\n"))
            if answer.status >= 200 or answer.status == 101:
                break
            if interim:
                return answer
        self.read_body(answer, bodiless=head_only or answer.status in (101, 204, 304))
        return answer

    def request(self, body=True):
        """The next request, at the far end."""
        message = Request(self.read_until(b"\r\n\r\n"))
        if body:
            self.read_body(message)
        return message

    def ask(self, method, target, body=None, fields=(), host="localhost", version="1.1"):
        """Sends one well-formed request and returns the response."""
        self.send(request_bytes(method, target, body, fields, host, version))
        return self.response(head_only=method == "HEAD")

    def ended(self):
        """Nothing more comes, and the other side has closed in an orderly way."""
        if not self.buffer:
            self.fill()
        assert self.buffer == b"", f"bytes instead of the end: {self.buffer[:200]!r}"

    def gone(self):
        """The other side has closed, whichever way."""
        try:
            while self.fill():
                pass
        except (ConnectionError, ssl.SSLError):
            pass

    def reset(self):
        """Closes with a RST instead of a FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self):
        self.sock.close()


def request_bytes(method, target, body=None, fields=(), host="localhost", version="1.1"):
    lines = [f"{method} {target} HTTP/{version}"]
    if host is not None:
        lines.append(f"Host: {host}")
    lines += [f"{name}: {value}" for name, value in fields]
    if body is not None and not any(name.lower() in ("content-length", "transfer-encoding") for name, _ in fields):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")


def chunked(*pieces, trailers=()):
    data = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return data + b"0\r\n" + b"".join(b"%s: %s\r\n" % pair for pair in trailers) + b"\r\n"


def connect(port, tls=None, receive_buffer=None, name="localhost"):
    """`tls`: an ssl.SSLContext, or None for plain. A small receive buffer makes a slow reader felt early."""
    sock = socket.socket()
    sock.settimeout(PATIENCE_S)
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.connect(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls:
        # An end without close_notify is an error here: that is how a cut answer is told from a whole one.
        sock = tls.wrap_socket(sock, server_hostname=name, suppress_ragged_eofs=False)
    return Wire(sock)


def arrived(wire, within=0):
    """Whether bytes, or the end, are there to be read now, or in so many seconds."""
    return bool(wire.buffer) or bool(select.select([wire.sock], [], [], within)[0])


# ---- WebSocket frames, as right or as wrong as a test needs them -----------------------------------

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def frame(opcode, payload=b"", fin=True, mask=b"\x01\x02\x03\x04", reserved=0, length=None):
    """`mask` None leaves the frame bare; `length` says another length than the payload has."""
    length = len(payload) if length is None else length
    head = bytes([(0x80 if fin else 0) | reserved << 4 | opcode])
    bit = 0x80 if mask else 0
    if length < 126:
        head += bytes([bit | length])
    elif length < 1 << 16:
        head += bytes([bit | 126]) + struct.pack("!H", length)
    else:
        head += bytes([bit | 127]) + struct.pack("!Q", length)
    if not mask:
        return head + payload
    repeated = (mask * (len(payload) // 4 + 1))[:len(payload)]
    masked = (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(len(payload), "big")
    return head + mask + masked


def read_frame(wire):
    """(opcode, fin, payload); what a server sends is never masked and has no reserved bit."""
    first, second = wire.read(2)
    assert not first & 0x70, f"reserved bits in {first:#x}"
    assert not second & 0x80, "a masked frame from a server"
    length = second
    if length == 126:
        length, = struct.unpack("!H", wire.read(2))
    elif length == 127:
        length, = struct.unpack("!Q", wire.read(8))
    return first & 0x0F, bool(first & 0x80), wire.read(length)


def upgrade_bytes(target="/echo", fields=(), key=None, host="localhost"):
    key = key or base64.b64encode(os.urandom(16)).decode()
    given = {name.lower() for name, _ in fields}
    usual = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"),
             ("Sec-WebSocket-Key", key)]
    return request_bytes("GET", target, fields=[pair for pair in usual if pair[0].lower() not in given] + list(fields),
                         host=host)


# RFC 6455 §1.3: a key, and what a server that has read it answers.
SAMPLE_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
AGREED = (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
          b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")


def close_code(payload):
    return int.from_bytes(payload[:2], "big") if payload else None
