"""websocket_wire.py: conversations with a WebSocket by frames made by hand: what is sent, and everything that is told, to the end."""
import select
import ssl

from wire import CLOSE, CONTINUATION, PING, PONG, TEXT, BINARY, Closed, close_code, frame, read_frame, upgrade_bytes

NOW_CLOSE = frame(CLOSE, b"\x03\xe8")
NAMES = {TEXT: "text", BINARY: "binary", PING: "ping", PONG: "pong"}
SEND_BYTES = 16 << 10


class Socket:
    """An upgraded connection. Reads while it sends: an echo stops reading while nobody reads it. One thread does both, because
    Python's ssl does not take two."""

    def __init__(self, wire):
        self.wire, self.sock = wire, wire.sock
        self.data, self.at = bytearray(wire.buffer), 0
        self.message = []

    def fill(self):
        more = self.sock.recv(1 << 18)
        self.data += more
        return bool(more)

    def read(self, n):
        while len(self.data) - self.at < n:
            if not self.fill():
                raise Closed(f"ended inside a frame, before {n} bytes: {bytes(self.data[self.at:])[:100]!r}")
        piece = bytes(self.data[self.at:self.at + n])
        self.at += n
        if self.at > 1 << 20:                  # seldom: what was read is cut off all at once
            del self.data[:self.at]
            self.at = 0
        return piece

    def readable(self):
        return (isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0) or bool(select.select([self.sock], [], [], 0)[0])

    def send(self, data, chop=None):
        """False when the other side would not take all of it: one that has refused the beginning need not."""
        step = chop or SEND_BYTES
        try:
            for at in range(0, len(data), step):
                if at % SEND_BYTES < step:
                    while self.readable():
                        if not self.fill():
                            return False
                self.sock.sendall(data[at:at + step])
        except OSError:
            return False
        return True

    def event(self):
        """The next ("text", …), ("binary", …), ("pong", …) or ("close", code); messages are put together from their fragments."""
        while True:
            opcode, fin, payload = read_frame(self)
            if opcode == CLOSE:
                return "close", close_code(payload)
            if opcode >= 8:
                assert fin and len(payload) <= 125
                return NAMES[opcode], payload
            assert (opcode == CONTINUATION) == bool(self.message), "fragments in their order"
            self.message.append((opcode, payload))
            if fin:
                kind, data = NAMES[self.message[0][0]], b"".join(piece for _, piece in self.message)
                self.message.clear()
                return kind, data

    def transcript(self):
        events = []
        while not events or events[-1][0] != "close":
            events.append(self.event())
        return events

    def ended(self):
        """Nothing more comes, and the other side has closed in an orderly way."""
        assert self.at == len(self.data) and not self.fill(), f"bytes instead of the end: {bytes(self.data[self.at:])[:100]!r}"

    def gone(self):
        try:
            while self.fill():
                pass
        except OSError:
            pass

    def close(self):
        self.wire.close()


def open_socket(gateway, tls=False, target="/echo", fields=()):
    """(socket, the answer to the upgrade)."""
    wire = gateway.connect(tls)
    wire.send(upgrade_bytes(target, fields))
    answer = wire.response()
    assert answer.status == 101, answer
    return Socket(wire), answer


def fragments(opcode, payload, size):
    pieces = [payload[at:at + size] for at in range(0, len(payload), size)] or [b""]
    return b"".join(frame(opcode if i == 0 else CONTINUATION, piece, fin=i == len(pieces) - 1) for i, piece in enumerate(pieces))


def good(*events):
    """What a conversation that ends in good order is told."""
    return [*events, ("close", 1000)]
